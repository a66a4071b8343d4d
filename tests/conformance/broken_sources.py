"""Sources that break one rule each, and are whole otherwise. `BROKEN` names the rule's test."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import logging
import os
import tempfile
import threading
import time
import uuid
import warnings
from dataclasses import replace
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

SCHEMA = pa.schema(
    [("n", pa.int64()), ("name", pa.string()), ("price", pa.decimal128(9, 2)), ("ok", pa.bool_())]
)
ROWS = [
    {
        "n": n,
        "name": None if n % 4 == 3 else "aBc "[: n % 5],
        "price": None if n % 7 == 2 else f"{n % 5}.{n:02}",
        "ok": None if n % 5 == 0 else n % 2 == 0,
    }
    for n in range(20)
]
TABLE = pa.table(
    {
        "n": pa.array([row["n"] for row in ROWS], pa.int64()),
        "name": pa.array([row["name"] for row in ROWS]),
        "price": pa.array([row["price"] for row in ROWS]).cast(pa.decimal128(9, 2)),
        "ok": pa.array([row["ok"] for row in ROWS], pa.bool_()),
    }
)
OPTIONS = {"size": "8", "password": "hunter2-Tr0ub4dor"}


class BadSizeError(ValueError):
    """Option 'size' is no number."""


class Whole:
    """Keeps every rule."""

    def infer_schema(self, options):
        self._size(options)
        return SCHEMA

    def plan_partitions(self, options):
        size = self._size(options)
        return [{"start": start, "rows": size} for start in range(0, len(ROWS), size)]

    def read_partition(self, spec, options):
        yield from TABLE.slice(spec["start"], spec["rows"]).to_batches(max_chunksize=3)

    def _size(self, options):
        if not options["size"].isdigit():
            raise BadSizeError(f"option 'size' must be a number, got {options['size']!r}")
        return int(options["size"])


class PlansAlone(Whole):
    """Keeps every rule, and leaves out partitions without a way of its own to read the others."""

    def plan_scan(self, specs, options, scan):
        above = [p.value for p in scan.predicates if p.column == "n" and p.op in (">", ">=", "==")]
        last = [spec["start"] + spec["rows"] - 1 for spec in specs]
        return [s for s, end in zip(specs, last, strict=True) if all(end >= v for v in above)], []


class WholeScan(Whole):
    """Keeps every rule, with all abilities."""

    def __init__(self):
        self.cancelled = threading.Event()

    def plan_scan(self, specs, options, scan):
        return [spec for spec in specs if self.may_match(spec, scan)], scan.predicates

    def scan_partition(self, spec, options, scan):
        left = len(ROWS) if scan.limit is None else scan.limit
        for batch in TABLE.slice(spec["start"], spec["rows"]).to_batches(max_chunksize=3):
            if self.cancelled.is_set():
                return
            for predicate in scan.predicates:
                batch = batch.filter(predicate.mask(batch))
            yield batch.slice(0, left).select(scan.columns)
            left -= min(left, batch.num_rows)

    def may_match(self, spec, scan):
        last = spec["start"] + spec["rows"] - 1
        above = [p.value for p in scan.predicates if p.column == "n" and p.op in (">", ">=", "==")]
        return all(last >= value for value in above)

    def cancel(self):
        self.cancelled.set()

    def partition_statistics(self, specs, options):
        return [(min(spec["rows"], len(ROWS) - spec["start"]), True, None) for spec in specs]

    def divisions(self, specs, options, column):
        if column != "n":
            return None
        return [*(spec["start"] for spec in specs), len(ROWS) - 1]

    def version(self, options):
        return "one"

    def option_names(self):
        return ("size", "password", "empty")

    def concurrency(self, options):
        return "the table", 4

    def describe_partition(self, spec, options, scan):
        return {"rows": str(spec["rows"])}


MOMENTS = pa.table(
    {
        "n": pa.array(range(20), pa.int64()),
        "at": pa.array([n * 1_001 for n in range(20)], pa.time64("ns")),
        "far": pa.array([[2**60 + n, None] for n in range(20)], pa.list_(pa.timestamp("us"))),
    }
)


class Moments(Whole):
    """Keeps every rule, with times that Python has not."""

    TABLE = MOMENTS

    def infer_schema(self, options):
        self._size(options)
        return MOMENTS.schema

    def read_partition(self, spec, options):
        yield from MOMENTS.slice(spec["start"], spec["rows"]).to_batches(max_chunksize=3)


# ------------------------------------------------------------------------------ the class


class NeedsArguments(Whole):
    def __init__(self, folder):
        self.folder = folder


class WithoutReading:
    infer_schema = Whole.infer_schema
    plan_partitions = Whole.plan_partitions


class HoldsALock(Whole):
    LOCK = threading.Lock()


# ------------------------------------------------------------------------------- planning


class SchemaOfNames(Whole):
    def infer_schema(self, options):
        return SCHEMA.names


class NotANumber(Whole):
    def plan_partitions(self, options):
        return [{**spec, "share": float("nan")} for spec in super().plan_partitions(options)]


class Dates(Whole):
    def plan_partitions(self, options):
        return [
            {**spec, "day": datetime.date(2025, 1, 1)} for spec in super().plan_partitions(options)
        ]


class Tuples(Whole):
    def plan_partitions(self, options):
        return [
            {**spec, "range": [(spec["start"], spec["rows"])]}
            for spec in super().plan_partitions(options)
        ]


class RandomIds(Whole):
    def plan_partitions(self, options):
        return [{**spec, "id": uuid.uuid4().hex} for spec in super().plan_partitions(options)]


class ChangingSchema(Whole):
    times = 0

    def infer_schema(self, options):
        ChangingSchema.times += 1
        return SCHEMA.with_metadata({"asked": str(ChangingSchema.times)})


class OneSpelling(Whole):
    """Looks for a name among the keys, which are spelt as the person did."""

    def plan_partitions(self, options):
        if "size" in list(options):
            return super().plan_partitions(options)
        return [{"start": 0, "rows": 20}]


class PopsOptions(Whole):
    def infer_schema(self, options):
        options.pop("password", None)
        return super().infer_schema(options)


class PopsSpecs(Whole):
    def read_partition(self, spec, options):
        start = spec.pop("start")
        yield from TABLE.slice(start, spec["rows"]).to_batches()


class OneSpellingWhereItReads(Whole):
    """Looks up by one spelling what only a read needs."""

    def read_partition(self, spec, options):
        if dict(options).get("password"):
            yield from super().read_partition(spec, options)


class SetsVariables(Whole):
    """What a read needs stands in the environment, which workers do not share."""

    def plan_partitions(self, options):
        os.environ["BROKEN_SOURCE_ROWS"] = "20"
        return super().plan_partitions(options)


class GoesElsewhere(Whole):
    def read_partition(self, spec, options):
        os.chdir(tempfile.gettempdir())
        yield from super().read_partition(spec, options)


class RoundsForAll(Whole):
    """Leaves a worker's thread with five digits for whatever is computed next."""

    def read_partition(self, spec, options):
        decimal.getcontext().prec = 5
        yield from super().read_partition(spec, options)


class VersionOfNow(Whole):
    def version(self, options):
        return f"{time.perf_counter_ns()}"


class ForgetsAnOption(Whole):
    def option_names(self):
        return {"password"}


class OneNameInPlaceOfAll(Whole):
    def option_names(self):
        return "size, password"


class LimitOfNone(Whole):
    def concurrency(self, options):
        return "the table", 0


class SnapshotWithoutName(WholeScan):
    def wants_snapshot(self, options):
        return True

    def open_snapshot(self, options):
        return contextlib.closing(tempfile.TemporaryFile())


# -------------------------------------------------------------------------------- reading


class Raises(Whole):
    def read_partition(self, spec, options):
        yield from super().read_partition(spec, options)
        raise RuntimeError("the last page is gone")


class Fractions(Whole):
    """The schema says int64, and 0.5 comes."""

    def read_partition(self, spec, options):
        for batch in super().read_partition(spec, options):
            yield batch.set_column(0, "n", pc.divide(batch.column(0).cast(pa.float64()), 2.0))


class LacksColumn(Whole):
    def read_partition(self, spec, options):
        for batch in super().read_partition(spec, options):
            yield batch.drop_columns(["ok"])


class GivesLists(Whole):
    def read_partition(self, spec, options):
        yield TABLE.slice(spec["start"], spec["rows"]).to_pylist()


class MoreColumns(Whole):
    def read_partition(self, spec, options):
        for batch in super().read_partition(spec, options):
            yield batch.append_column("page", pa.repeat(spec["start"], batch.num_rows))


class TypesByBatch(Whole):
    """What inference makes of each page: int64 here, int32 there, null for a page without any."""

    def read_partition(self, spec, options):
        for i, batch in enumerate(super().read_partition(spec, options)):
            narrow = batch.column(0).cast(pa.int32())
            yield batch.set_column(0, "n", narrow) if i % 2 else batch


class FillsOneBuffer(Whole):
    """Yields the same memory again and again."""

    TABLE = None  # what it is to give is known to nobody

    def read_partition(self, spec, options):
        buffer = bytearray(8)
        for n in TABLE["n"].to_pylist()[spec["start"] : spec["start"] + spec["rows"]]:
            buffer[:] = n.to_bytes(8, "little")
            row = TABLE.slice(n, 1).to_batches()[0]
            array = pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(buffer)])
            yield row.set_column(0, "n", array)


class NeedsItsSchema(Whole):
    """Plans by what infer_schema left on the instance."""

    def infer_schema(self, options):
        self.count = len(ROWS)
        return super().infer_schema(options)

    def plan_partitions(self, options):
        size = self._size(options)
        return [{"start": start, "rows": size} for start in range(0, self.count, size)]


class KeepsItsPlan(Whole):
    def plan_partitions(self, options):
        self.rows = TABLE
        return super().plan_partitions(options)

    def read_partition(self, spec, options):
        yield from self.rows.slice(spec["start"], spec["rows"]).to_batches()


class ReadsOnce(Whole):
    """A queue: what was read is gone, until somebody fills it again."""

    taken: ClassVar = set()

    def read_partition(self, spec, options):
        if spec["start"] in ReadsOnce.taken:
            ReadsOnce.taken.remove(spec["start"])
            return
        ReadsOnce.taken.add(spec["start"])
        yield from super().read_partition(spec, options)


class GoesOn(Whole):
    """Begins where a read that was broken off had come to."""

    done: ClassVar = {}

    def read_partition(self, spec, options):
        batches = list(super().read_partition(spec, options))
        while GoesOn.done.setdefault(spec["start"], 0) < len(batches):
            GoesOn.done[spec["start"]] += 1
            yield batches[GoesOn.done[spec["start"]] - 1]
        GoesOn.done[spec["start"]] = 0


class KeepsAPage(Whole):
    """What it plans stays in the process that planned."""

    pages: ClassVar = {}

    def plan_partitions(self, options):
        KeepsAPage.pages["pid"] = os.getpid()
        return super().plan_partitions(options)

    def read_partition(self, spec, options):
        if KeepsAPage.pages.get("pid") == os.getpid():
            yield from super().read_partition(spec, options)


class TimesOfHere(Whole):
    """Tells the hour as the clock on the wall of each process does."""

    TABLE = None

    def read_partition(self, spec, options):
        hour = datetime.datetime.fromtimestamp(1_700_000_000).hour
        for batch in super().read_partition(spec, options):
            yield batch.set_column(0, "n", pc.multiply(batch.column(0), hour))


class PlansASet(Whole):
    """Its order is another one in each process."""

    def plan_partitions(self, options):
        starts = {f"{start:02}" for start in range(len(ROWS))}
        return [{"start": int(start), "rows": 1} for start in starts if self._size(options)]


class OneCursor(Whole):
    """All reads of a process share the place where they are."""

    place = 0

    def read_partition(self, spec, options):
        OneCursor.place = spec["start"]
        end = min(spec["start"] + spec["rows"], len(ROWS))
        while OneCursor.place < end:
            yield TABLE.slice(OneCursor.place, 1).to_batches()[0]
            OneCursor.place += 1


class LeavesFilesOpen(Whole):
    def read_partition(self, spec, options):
        file = os.open(os.devnull, os.O_RDONLY)
        yield from super().read_partition(spec, options)
        os.close(file)


class LeavesThreadsBehind(Whole):
    def read_partition(self, spec, options):
        done = threading.Event()
        threading.Thread(target=done.wait, args=(20,), daemon=True).start()
        yield from super().read_partition(spec, options)
        done.set()


class LeavesFilesOpenAtTheEnd(Whole):
    """Closes if it is broken off, and keeps what it has read to its end."""

    def read_partition(self, spec, options):
        file = os.open(os.devnull, os.O_RDONLY)
        try:
            yield from super().read_partition(spec, options)
        except GeneratorExit:
            os.close(file)
            raise


class LeavesFilesOpenWhenItPlans(Whole):
    def plan_partitions(self, options):
        os.open(os.devnull, os.O_RDONLY)
        return super().plan_partitions(options)


class CancelsAnother(WholeScan):
    """Cancels the read that begins next in the process, not its own."""

    next_one = False

    def scan_partition(self, spec, options, scan):
        stopped, CancelsAnother.next_one = CancelsAnother.next_one, False
        if not stopped:
            yield from super().scan_partition(spec, options, scan)

    def cancel(self):
        CancelsAnother.next_one = True


class CannotBeCancelled(WholeScan):
    def cancel(self):
        raise NotImplementedError("there is no way")


class LosesTheLastRow(Whole):
    def read_partition(self, spec, options):
        yield from TABLE.slice(spec["start"], min(spec["rows"], 19 - spec["start"])).to_batches()


class NeedsRows(Whole):
    """Makes its first batch of whatever comes first."""

    def plan_partitions(self, options):
        specs = [] if options.get("empty") else super().plan_partitions(options)
        return [dict(specs[0]), *specs[1:]]


# ------------------------------------------------------------------------------ push-down


class ReadsLess(WholeScan):
    def read_partition(self, spec, options):
        yield from list(super().read_partition(spec, options))[1:]


class CutsTimes(Moments):
    """Scans microseconds where it reads nanoseconds."""

    TABLE = None

    def plan_scan(self, specs, options, scan):
        return specs, []

    def scan_partition(self, spec, options, scan):
        for batch in self.read_partition(spec, options):
            cut = batch.column("at").cast(pa.time64("us"), safe=False).cast(pa.time64("ns"))
            yield batch.set_column(1, "at", cut).select(scan.columns)


class WrongColumns(WholeScan):
    """Gives one column the name of the other."""

    def scan_partition(self, spec, options, scan):
        for batch in super().scan_partition(spec, options, scan):
            if batch.schema.names == ["price"]:
                batch = pa.record_batch([pc.add(batch.column(0), batch.column(0))], ["price"])
            yield batch


class CountsNone(WholeScan):
    def scan_partition(self, spec, options, scan):
        for batch in super().scan_partition(spec, options, scan):
            yield pa.RecordBatch.from_arrays([batch.column(n) for n in scan.columns], scan.columns)


class ForeignPredicates(WholeScan):
    def plan_scan(self, specs, options, scan):
        return specs, [str(predicate) for predicate in scan.predicates]


class ForeignSpecs(WholeScan):
    def plan_scan(self, specs, options, scan):
        return [{**spec, "n": 1} for spec in specs], scan.predicates


class LooksAtColumns(WholeScan):
    def plan_scan(self, specs, options, scan):
        return specs, [p for p in scan.predicates if p.column in scan.columns]


class NeedsSpecs(WholeScan):
    def plan_scan(self, specs, options, scan):
        assert specs[0]["rows"]
        return super().plan_scan(specs, options, scan)


class LeavesOutTooMuch(WholeScan):
    """Takes the end of a range for part of it, and so drops the partition that it begins."""

    def may_match(self, spec, scan):
        values = [p.value for p in scan.predicates if p.column == "n" and p.op == "<="]
        return all(spec["start"] < value for value in values)


class IgnoresCase(WholeScan):
    """A collation that orders and equates as Arrow does not: != loses rows."""

    def scan_partition(self, spec, options, scan):
        for batch in super().scan_partition(spec, options, replace(scan, limit=None)):
            for p in scan.predicates:
                if (p.column, p.op) == ("name", "!=") and "name" in batch.schema.names:
                    lower = pc.utf8_lower(batch.column("name"))
                    batch = batch.filter(pc.not_equal(lower, p.value.lower()))
            yield batch


class TakesShortLists(WholeScan):
    """Accepts what its server refuses: lists of more than a thousand."""

    def scan_partition(self, spec, options, scan):
        if any(p.op == "in" and len(p.value) > 1000 for p in scan.predicates):
            raise ValueError("too many parameters")
        yield from super().scan_partition(spec, options, scan)


class FiltersTwice(WholeScan):
    """Applies what it did not accept, and wrongly: nulls go."""

    def plan_scan(self, specs, options, scan):
        return specs, [p for p in scan.predicates if p.op != "not in"]

    def scan_partition(self, spec, options, scan):
        for batch in super().scan_partition(spec, options, scan):
            for p in scan.predicates:
                if p.op == "not in":
                    batch = batch.filter(pc.is_valid(batch.column(p.column)))
            yield batch


class AcceptsAll(WholeScan):
    """Accepts what it does not apply."""

    def scan_partition(self, spec, options, scan):
        for batch in TABLE.slice(spec["start"], spec["rows"]).to_batches(max_chunksize=3):
            yield batch.select(scan.columns)

    def may_match(self, spec, scan):
        return True


class AcceptsAlone(PlansAlone):
    """Accepts what nobody applies."""

    def plan_scan(self, specs, options, scan):
        return super().plan_scan(specs, options, scan)[0], scan.predicates


class IgnoresCaseInLists(WholeScan):
    def scan_partition(self, spec, options, scan):
        listed = [p for p in scan.predicates if p.op == "in" and p.column == "name"]
        others = tuple(p for p in scan.predicates if p not in listed)
        every = replace(scan, columns=tuple(SCHEMA.names), predicates=others, limit=None)
        for batch in super().scan_partition(spec, options, every):
            for predicate in listed:
                lower = pa.array([value.lower() for value in predicate.value], pa.string())
                batch = batch.filter(pc.is_in(pc.utf8_lower(batch["name"]), value_set=lower))
            yield batch.select(scan.columns)


class FiltersWhatItGives(WholeScan):
    """Applies a predicate only if its column is wanted as well."""

    def scan_partition(self, spec, options, scan):
        for batch in TABLE.slice(spec["start"], spec["rows"]).to_batches():
            for p in scan.predicates:
                if p.column in scan.columns:
                    batch = batch.filter(p.mask(batch))
            yield batch.slice(0, scan.limit).select(scan.columns)


class LimitsFirst(WholeScan):
    """Stops after so many rows, and filters what is left."""

    def scan_partition(self, spec, options, scan):
        rows = spec["rows"] if scan.limit is None else min(spec["rows"], scan.limit)
        for batch in TABLE.slice(spec["start"], rows).to_batches():
            for predicate in scan.predicates:
                batch = batch.filter(predicate.mask(batch))
            yield batch.select(scan.columns)


# -------------------------------------------------------------------------- what it tells


class CountsByGuess(WholeScan):
    def partition_statistics(self, specs, options):
        return [(spec["rows"], True, None) for spec in specs]  # the last one has fewer


class StatisticsOfOne(WholeScan):
    def partition_statistics(self, specs, options):
        return [(1, False, None)]


class StatisticsOfAll(WholeScan):
    """Does not look at the specs that it is asked about."""

    def partition_statistics(self, specs, options):
        return [(8, True, None), (8, True, None), (4, True, None)]


class DivisionsBesideTheRows(WholeScan):
    def divisions(self, specs, options, column):
        given = super().divisions(specs, options, column)
        return given and [value + 1 for value in given]


class TooFewDivisions(WholeScan):
    def divisions(self, specs, options, column):
        given = super().divisions(specs, options, column)
        return given and given[:-1]


class PasswordInSpecs(Whole):
    def plan_partitions(self, options):
        url = f"https://me:{options['password']}@example.com"
        return [{**spec, "url": url} for spec in super().plan_partitions(options)]


class PasswordInSchema(Whole):
    def infer_schema(self, options):
        return SCHEMA.with_metadata({"options": str(dict(options))})


class PasswordInErrors(Whole):
    def infer_schema(self, options):
        if options["password"] != OPTIONS["password"]:
            raise PermissionError(f"no login with {dict(options)}")
        return SCHEMA


class PasswordInRepr(Whole):
    def infer_schema(self, options):
        self.password = options["password"]
        return SCHEMA

    def __repr__(self):
        return f"PasswordInRepr({getattr(self, 'password', None)})"


class PasswordInLogs(Whole):
    def read_partition(self, spec, options):
        logging.getLogger("broken").debug("login with %s", options["password"])
        yield from super().read_partition(spec, options)


class PasswordPrinted(Whole):
    def plan_partitions(self, options):
        print("login with", options["password"])
        return super().plan_partitions(options)


class PasswordInWarnings(Whole):
    def infer_schema(self, options):
        warnings.warn(f"{options['password']} is a weak password", stacklevel=2)
        return super().infer_schema(options)


# --------------------------------------------------------------------------------- errors


class TakesAnything(Whole):
    def _size(self, options):
        return int(options["size"]) if options["size"].isdigit() else 8


class NamesNoOption(Whole):
    def _size(self, options):
        return int(options["size"])


class TwoFactsError(ValueError):
    """Does not unpickle: it hands on one argument of two."""

    def __init__(self, option, value):
        super().__init__(f"option {option!r} must be a number, got {value!r}")


class ErrorsThatDoNotTravel(Whole):
    def _size(self, options):
        if not options["size"].isdigit():
            raise TwoFactsError("size", options["size"])
        return int(options["size"])


BROKEN = {
    NeedsArguments: "test_the_class_is_a_source",
    WithoutReading: "test_the_class_is_a_source",
    HoldsALock: "test_the_class_is_a_source",
    SchemaOfNames: "test_the_plan_can_be_made",
    NotANumber: "test_the_plan_can_be_made",
    Dates: "test_the_plan_can_be_made",
    Tuples: "test_specs_come_back_from_json",
    RandomIds: "test_the_plan_is_stable",
    ChangingSchema: "test_the_plan_is_stable",
    OneSpelling: "test_option_names_match_ignoring_case",
    OneSpellingWhereItReads: "test_option_names_match_ignoring_case",
    PopsOptions: "test_nothing_handed_over_is_changed",
    PopsSpecs: "test_nothing_handed_over_is_changed",
    SetsVariables: "test_the_process_is_left_alone",
    GoesElsewhere: "test_the_process_is_left_alone",
    RoundsForAll: "test_the_process_is_left_alone",
    VersionOfNow: "test_a_version_is_a_text_that_stays",
    ForgetsAnOption: "test_options_have_names",
    OneNameInPlaceOfAll: "test_options_have_names",
    LimitOfNone: "test_a_limit_of_reads_is_a_key_and_a_count",
    SnapshotWithoutName: "test_a_snapshot_opens_and_closes",
    Raises: "test_every_partition_can_be_read",
    Fractions: "test_every_partition_can_be_read",
    LacksColumn: "test_every_partition_can_be_read",
    GivesLists: "test_every_partition_can_be_read",
    MoreColumns: "test_batches_have_the_columns_of_the_schema",
    TypesByBatch: "test_batches_have_the_columns_of_the_schema",
    FillsOneBuffer: "test_batches_stay_as_they_are",
    KeepsItsPlan: "test_a_new_instance_reads",
    NeedsItsSchema: "test_a_new_instance_reads",
    ReadsOnce: "test_a_retry_gives_the_same_rows",
    GoesOn: "test_a_retry_gives_the_same_rows",
    KeepsAPage: "test_another_process_reads_the_same",
    TimesOfHere: "test_another_process_reads_the_same",
    PlansASet: "test_another_process_reads_the_same",
    OneCursor: "test_partitions_are_read_side_by_side",
    LeavesFilesOpen: "test_a_read_that_is_closed_lets_go",
    LeavesFilesOpenAtTheEnd: "test_a_read_that_is_closed_lets_go",
    LeavesFilesOpenWhenItPlans: "test_a_read_that_is_closed_lets_go",
    LeavesThreadsBehind: "test_a_read_that_is_closed_lets_go",
    CancelsAnother: "test_a_read_can_be_cancelled",
    CannotBeCancelled: "test_a_read_can_be_cancelled",
    LosesTheLastRow: "test_dask_reads_all_rows",
    NeedsRows: "test_a_read_without_rows_has_the_schema",
    ReadsLess: "test_reads_and_scans_agree",
    CutsTimes: "test_reads_and_scans_agree",
    WrongColumns: "test_columns_are_those_asked_for",
    CountsNone: "test_columns_are_those_asked_for",
    ForeignPredicates: "test_planning_a_scan_keeps_its_promises",
    ForeignSpecs: "test_planning_a_scan_keeps_its_promises",
    LooksAtColumns: "test_planning_a_scan_keeps_its_promises",
    NeedsSpecs: "test_planning_a_scan_keeps_its_promises",
    LeavesOutTooMuch: "test_partitions_that_are_left_out_hold_no_wanted_row",
    IgnoresCase: "test_a_scan_loses_no_row",
    TakesShortLists: "test_a_scan_loses_no_row",
    FiltersTwice: "test_a_scan_loses_no_row",
    AcceptsAll: "test_what_is_accepted_is_applied",
    AcceptsAlone: "test_what_is_accepted_is_applied",
    IgnoresCaseInLists: "test_what_is_accepted_is_applied",
    FiltersWhatItGives: "test_what_is_accepted_is_applied",
    LimitsFirst: "test_a_limit_leaves_enough_rows",
    CountsByGuess: "test_exact_counts_are_exact",
    StatisticsOfOne: "test_exact_counts_are_exact",
    StatisticsOfAll: "test_exact_counts_are_exact",
    DivisionsBesideTheRows: "test_divisions_hold_every_row",
    TooFewDivisions: "test_divisions_hold_every_row",
    PasswordInSpecs: "test_no_secret_is_told",
    PasswordInSchema: "test_no_secret_is_told",
    PasswordInErrors: "test_no_secret_is_told",
    PasswordInRepr: "test_no_secret_is_told",
    PasswordInLogs: "test_no_secret_is_told",
    PasswordPrinted: "test_no_secret_is_told",
    PasswordInWarnings: "test_no_secret_is_told",
    TakesAnything: "test_a_bad_option_is_refused_at_once",
    NamesNoOption: "test_a_bad_option_is_refused_at_once",
    ErrorsThatDoNotTravel: "test_errors_come_back_from_pickle",
}
