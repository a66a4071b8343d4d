"""The tests themselves: one per rule, whose docstring is the rule."""

from __future__ import annotations

import contextlib
import copy
import decimal
import gc
import inspect
import io
import itertools
import json
import os
import pickle
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import psutil
import pyarrow as pa
import pytest

from .. import planning
from ..arrow import frame_schema, to_table
from ..calls import call_source
from ..datasource import PartitionSpec, Scan
from ..errors import DivisionError, OptionError, PythonDataSourceError, SourceCallError
from ..options import SECRET_NAME, CaseInsensitiveDict, Redactor, SourceOptions
from ..predicate import Predicate, apply
from ..read import read_python_source
from .probes import pairs, probes
from .reading import Partition, Reading, Rows, differences, project, rows

__all__ = ["PythonDataSourceSuite", "Rule"]

_LONG = 300  # characters of a message
PATIENCE = 60.0  # seconds after which a call is taken to hang
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Rule:
    """What a test is about, for the message of its failure."""

    text: str

    def broken(self, seen: str, remedy: str) -> NoReturn:
        """Fail: the rule, what was seen, what to do."""
        told = f"{self.text}\n\nseen: {seen}\nto do: {remedy}"
        raise pytest.fail.Exception(told, pytrace=False) from None

    @contextlib.contextmanager
    def holds(self, remedy: str, asked: str = "") -> Iterator[None]:
        """Fail for an error of the source, or of what it gives."""
        try:
            yield
        except PythonDataSourceError as error:
            seen = f"{asked}: {error}" if asked else str(error)
        else:
            return
        self.broken(seen, remedy)

    def same(self, found: Rows, wanted: Rows, where: str, remedy: str) -> None:
        """Fail if rows differ."""
        if (seen := differences(found, wanted)) is not None:
            self.broken(f"{where}: {seen}", remedy)


@contextlib.contextmanager
def _otherwise_told_by(test: str) -> Iterator[None]:
    """Skip what rests on a rule that is broken, so that only that rule's own test fails."""
    try:
        yield
    except PythonDataSourceError:
        pass
    else:
        return
    pytest.skip(f"rests on what {test} finds broken")


class PythonDataSourceSuite:
    """Tests of the contract that `dask_sail.PythonDataSource` and its optional abilities are.

    Subclass it as ``class TestMySource(PythonDataSourceSuite)`` and override the fixtures
    ``source`` and ``options``; ``expected``, ``bad_options`` and ``empty_options`` tell more. Point
    it at a few hundred rows in several partitions, with nulls: every read is made many times. A
    rule that is not meant to hold is left out by ``test_of_that_rule = None``, with a reason.
    """

    # ------------------------------------------------------------------------ what is tested

    @pytest.fixture
    def source(self) -> Any:
        """The class, its registered name, or ``"module:Class"``."""
        pytest.fail("override the fixture `source` with the class or its name", pytrace=False)

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        """What `read_python_source` would be given as ``options``."""
        return {}

    @pytest.fixture
    def expected(self) -> pa.Table | None:
        """All rows, in any order, in the types of ``infer_schema``; None if they are not known."""
        return None

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        """Options with a value that must be refused, each tried alone beside ``options``."""
        return {}

    @pytest.fixture
    def empty_options(self) -> Mapping[str, Any] | None:
        """Options of a read that has no rows, or no partitions; None if there is none."""
        return None

    # ---------------------------------------------------------------- what the tests rest on

    @pytest.fixture
    def rule(self, request: pytest.FixtureRequest) -> Rule:
        """The rule that a test is about: its docstring."""
        name = request.function.__name__
        own = request.function.__doc__ or getattr(PythonDataSourceSuite, name).__doc__ or name
        return Rule(" ".join(inspect.cleandoc(own).split()))

    @pytest.fixture
    def reading(self, source: Any, options: Mapping[str, Any]) -> Iterator[Reading]:
        """The source and its options, planned; with a snapshot if the options ask for one."""
        with _otherwise_told_by("test_the_class_is_a_source"):
            found = Reading.of(source, options)
        with _otherwise_told_by("test_options_have_names"):
            found.check_option_names()
        with _otherwise_told_by("test_the_plan_can_be_made"):
            has_snapshot, _ = found.plan.has_snapshot, found.schema
        with _otherwise_told_by("test_a_limit_of_reads_is_a_key_and_a_count"):
            limit = _limit_of(found)
        if limit is not None and not _is_key_and_count(limit):
            pytest.skip("rests on what test_a_limit_of_reads_is_a_key_and_a_count finds broken")
        if not has_snapshot:
            yield found
            return
        with _otherwise_told_by("test_a_snapshot_opens_and_closes"):
            snapshot = found.ask("open_snapshot", found.options())
        if not _is_snapshot(snapshot):
            pytest.skip("rests on what test_a_snapshot_opens_and_closes finds broken")
        try:
            yield found.with_snapshot(snapshot.name)
        finally:
            snapshot.close()

    @pytest.fixture
    def partitions(self, reading: Reading) -> list[Partition]:
        """Every partition with all its rows, each read twice."""
        with _otherwise_told_by("test_every_partition_can_be_read or test_a_new_instance_reads"):
            found = [Partition(spec, reading.table(spec)) for spec in reading.plan.specs]
            again = [reading.table(spec) for spec in reading.plan.specs]
        for partition, table in zip(found, again, strict=True):
            if rows(partition.table) != rows(table):
                pytest.skip("rests on what test_a_retry_gives_the_same_rows finds broken")
        return found

    # ------------------------------------------------------------------------------ planning

    def test_the_class_is_a_source(
        self, rule: Rule, source: Any, options: Mapping[str, Any]
    ) -> None:
        """A source is a class with three methods, made without arguments, that can be shipped."""
        with rule.holds("correct the class, its name, or the options as the message says"):
            found = Reading.of(source, options)
            pickle.loads(pickle.dumps(found.ref)).create()

    def test_options_have_names(
        self,
        rule: Rule,
        source: Any,
        options: Mapping[str, Any],
        bad_options: Mapping[str, Any],
        empty_options: Mapping[str, Any] | None,
    ) -> None:
        """option_names() gives every option that the source takes: any other one is refused."""
        with _otherwise_told_by("test_the_class_is_a_source"):
            found = Reading.of(source, options)
        if not found.has("option_names"):
            pytest.skip("the source names no options")
        # What is wrong with a bad one is its value: it must not be refused for its name.
        with rule.holds("return the names of all options, as a tuple or set of str"):
            for given in (options, bad_options, empty_options or {}):
                Reading.of(source, given).check_option_names()

    def test_the_plan_can_be_made(
        self, rule: Rule, source: Any, options: Mapping[str, Any]
    ) -> None:
        """infer_schema gives a pyarrow.Schema, plan_partitions a list of JSON dicts."""
        with _otherwise_told_by("test_the_class_is_a_source"):
            found = Reading.of(source, options)
        with _otherwise_told_by("test_options_have_names"):
            found.check_option_names()
        with rule.holds("correct the method that the message names"):
            frame_schema(found.plan.schema, found.label)
            list(found.plan.specs)

    def test_specs_come_back_from_json(self, rule: Rule, reading: Reading) -> None:
        """A spec is the same after a journey as JSON, which is how it comes to a worker."""
        source = reading.ref.create()
        reading.ask("infer_schema", reading.options(), instance=source)
        planned = reading.ask("plan_partitions", reading.options(), instance=source)
        for position, spec in enumerate(planned):
            arrived = json.loads(json.dumps(spec))
            if (place := _change(spec, arrived, f"plan_partitions()[{position}]")) is not None:
                rule.broken(
                    reading.redact(place), "write str, int, float, bool, None, lists and dicts"
                )

    def test_the_plan_is_stable(self, rule: Rule, reading: Reading) -> None:
        """Planning again gives the same schema, and the same specs in the same order."""
        again = Reading(reading.ref, reading.given)
        if not again.plan.schema.equals(reading.plan.schema, check_metadata=True):
            rule.broken(
                f"first {reading.plan.schema.to_string()}\nthen {again.plan.schema.to_string()}",
                "take the schema from the source's own description, in its own order",
            )
        first, then = (
            [json.dumps(reading.redact.value(spec)) for spec in each.plan.specs]
            for each in (reading, again)
        )
        if first != then:
            pair = next(both for both in itertools.zip_longest(first, then) if both[0] != both[1])
            rule.broken(
                f"first {len(first)} specs, then {len(then)}; one was {pair[0]}, and is {pair[1]}",
                "leave random values, times of now and open handles out of specs, and sort them",
            )

    def test_option_names_match_ignoring_case(self, rule: Rule, reading: Reading) -> None:
        """Options are found by their names in any case, as the dict that is handed over does."""
        _needs_a_stable_plan(reading)
        remedy = "look options up by options['name'] or options.get('name')"
        first = list(reading.plan.specs)[:1]
        with _otherwise_told_by("test_every_partition_can_be_read or test_a_new_instance_reads"):
            wanted, again = ([rows(reading.table(spec)) for spec in first] for _ in range(2))
        if wanted != again:
            pytest.skip("rests on what test_a_retry_gives_the_same_rows finds broken")
        for spell in (str.upper, str.lower):
            given = SourceOptions({spell(name): text for name, text in reading.given.items()})
            other = Reading(reading.ref, given, reading.snapshot)
            told = f"with {', '.join(given) or 'no options'}"
            with rule.holds(remedy):
                same = other.plan.schema.equals(reading.plan.schema)
                if not same or other.plan.specs != reading.plan.specs:
                    rule.broken(f"another plan {told}", remedy)
                for spec, known in zip(first, wanted, strict=True):
                    rule.same(rows(other.table(spec)), known, f"read {told}", remedy)

    def test_nothing_handed_over_is_changed(self, rule: Rule, reading: Reading) -> None:
        """A method leaves the options and specs that it is handed as they are."""
        specs = list(reading.plan.specs)
        for method, call in _calls(reading):
            options, handed = reading.options(), copy.deepcopy(specs)
            # What it gives or raises is another test's affair.
            with contextlib.suppress(Exception):
                call(options, handed)
            changed = "options" if dict(options) != dict(reading.options()) else ""
            changed = changed or ("specs" if handed != specs else "")
            if changed:
                rule.broken(f"{method} changed the {changed}", f"work on {changed}.copy()")

    def test_the_process_is_left_alone(self, rule: Rule, reading: Reading) -> None:
        """A method changes nothing that all share: variables, the folder, the decimal context."""
        for method, call in _calls(reading):
            options, specs = reading.options(), list(reading.plan.specs)
            fresh = decimal.localcontext(decimal.DefaultContext)  # not what a test has left behind
            with fresh as context, contextlib.chdir(os.getcwd()), _watched() as changed:
                with contextlib.suppress(Exception):
                    call(options, specs)
                usual = (decimal.DefaultContext.prec, decimal.DefaultContext.rounding)
                if (context.prec, context.rounding) != usual:
                    changed.append("the decimal context")
            if changed:
                rule.broken(
                    f"{method} changed {', '.join(dict.fromkeys(changed))}",
                    "hand it to what needs it as an argument, or use decimal.localcontext()",
                )

    def test_a_version_is_a_text_that_stays(self, rule: Rule, reading: Reading) -> None:
        """version(options) gives None, or one text for as long as the data do not change."""
        if not reading.has("version"):
            pytest.skip("the source names no version")
        first, then = (reading.ask("version", reading.options()) for _ in range(2))
        if not isinstance(first, str | None) or first != then:
            rule.broken(
                reading.redact(f"first {first!r}, then {then!r}"),
                "make the text of what changes with the data alone, such as times of change",
            )

    def test_a_limit_of_reads_is_a_key_and_a_count(
        self, rule: Rule, source: Any, options: Mapping[str, Any]
    ) -> None:
        """concurrency(options) gives None, or a str and a whole number from 1 up."""
        with _otherwise_told_by("test_the_class_is_a_source"):
            found = Reading.of(source, options)
        if not found.has("concurrency"):
            pytest.skip("the source limits no reads")
        remedy = "write e.g. return 'db.example.com', 8"
        with rule.holds(remedy):
            given = found.ask("concurrency", found.options())
        if given is not None and not _is_key_and_count(given):
            rule.broken(found.redact(f"{given!r}"), remedy)

    def test_a_snapshot_opens_and_closes(
        self, rule: Rule, source: Any, options: Mapping[str, Any]
    ) -> None:
        """open_snapshot gives an object with a text as its name, and a method close()."""
        with _otherwise_told_by("test_the_plan_can_be_made"):
            found = Reading.of(source, options)
            has_snapshot = found.plan.has_snapshot
        if not has_snapshot:
            pytest.skip("the options ask for no snapshot")
        with rule.holds("see dask_sail.Snapshot"):
            snapshot = found.ask("open_snapshot", found.options())
            if not _is_snapshot(snapshot):
                rule.broken(f"{type(snapshot).__name__} is none", "see dask_sail.Snapshot")
            call_source(found.label, "close", found.redact, snapshot.close)

    # ------------------------------------------------------------------------------- reading

    def test_every_partition_can_be_read(self, rule: Rule, reading: Reading) -> None:
        """read_partition yields batches that become the schema, by name and without loss."""
        source = reading.ref.create()
        with _otherwise_told_by("test_the_plan_can_be_made"):
            reading.ask("infer_schema", reading.options(), instance=source)
            reading.ask("plan_partitions", reading.options(), instance=source)
        for spec in reading.plan.specs:
            with rule.holds("correct what the message names, in the source or in infer_schema"):
                reading.table(spec, instance=source)

    def test_batches_have_the_columns_of_the_schema(self, rule: Rule, reading: Reading) -> None:
        """Each batch has the columns that infer_schema gave, no others, always of one type."""
        for spec in reading.plan.specs:
            with _otherwise_told_by("test_every_partition_can_be_read"):
                types = [_types(batch) for batch in reading.batches(spec)]
            for came in types:
                if extra := sorted(set(came) - set(reading.schema.names)):
                    rule.broken(
                        f"columns that infer_schema did not give: {', '.join(extra)}",
                        "add them to the schema, or leave them out of the batches",
                    )
                for name, kind in came.items():
                    if kind != types[0].get(name, kind):
                        rule.broken(
                            f"{name!r} came as {types[0][name]}, then as {kind}, in one partition",
                            "build each batch with the schema's own types, "
                            "e.g. pa.RecordBatch.from_pylist(rows, schema=schema)",
                        )

    def test_batches_stay_as_they_are(self, rule: Rule, reading: Reading) -> None:
        """A batch keeps its values when the next one comes: batches are collected, not copied."""
        for spec in reading.plan.specs:
            with _otherwise_told_by("test_every_partition_can_be_read"):
                came = [(batch, rows(pa.table(batch))) for batch in reading.batches(spec)]
            for batch, then in came:
                where = f"a batch of {reading.redact.value(spec)}, after the last one"
                remedy = "fill a new buffer for each batch, or copy it"
                rule.same(rows(pa.table(batch)), then, where, remedy)

    def test_a_new_instance_reads(self, rule: Rule, reading: Reading) -> None:
        """No call needs what an instance kept of another: planning and reads have new ones."""
        _needs_a_stable_plan(reading)
        remedy = "put what a read needs into its spec, or take it from the options"
        with rule.holds(remedy):
            if planning.plan_specs(reading.ref, reading.given)[0] != reading.plan.specs:
                rule.broken("plan_partitions without infer_schema gives other specs", remedy)
        source = reading.ref.create()
        reading.ask("infer_schema", reading.options(), instance=source)
        reading.ask("plan_partitions", reading.options(), instance=source)
        for spec in reading.plan.specs:
            with _otherwise_told_by("test_every_partition_can_be_read"):
                wanted = rows(reading.table(spec, instance=source))
                again = rows(reading.table(spec, instance=source))
            if wanted != again:
                pytest.skip("rests on what test_a_retry_gives_the_same_rows finds broken")
            with rule.holds(remedy):
                found = rows(reading.table(spec))
            rule.same(found, wanted, f"a new instance reads {reading.redact.value(spec)}", remedy)

    def test_a_retry_gives_the_same_rows(self, rule: Rule, reading: Reading) -> None:
        """A spec pins its rows: a read that begins anew, after a whole or a half, has them all."""
        remedy = "pin the rows in the spec (a file, a range of keys); keep no place in shared state"
        for spec in reading.plan.specs:
            with _otherwise_told_by("test_every_partition_can_be_read"):
                wanted = rows(reading.table(spec))
            where = f"{reading.redact.value(spec)}"
            with rule.holds(remedy):
                rule.same(rows(reading.table(spec)), wanted, f"{where}, read again", remedy)
                with contextlib.closing(reading.batches(spec)) as half:
                    next(half, None)
                after_half = rows(reading.table(spec))
            rule.same(after_half, wanted, f"{where}, read after the half of a read", remedy)

    def test_another_process_reads_the_same(
        self, rule: Rule, reading: Reading, partitions: list[Partition], tmp_path: Path
    ) -> None:
        """A process in another time zone reads the same rows of a spec, and plans the same."""
        remedy = (
            "keep nothing on the class or in globals; import what is used at the module's head; "
            "name the time zone of local times; sort what comes in no order, such as a set"
        )
        asked = {id(p): p for p in (*partitions[:1], *partitions[-1:])}.values()
        specs = [partition.spec for partition in asked]
        task = tmp_path / "task"
        task.write_bytes(
            pickle.dumps((reading.ref, reading.given, reading.plan.schema, specs, reading.snapshot))
        )
        # -P: without the current folder, where modules of the author's may lie.
        command = [sys.executable, "-P", "-c", _OTHER_PROCESS, str(task), str(tmp_path)]
        elsewhere = {**os.environ, "TZ": "<+1245>-12:45", "PYTHONHASHSEED": "4711"}
        limit = 3 * PATIENCE
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=limit,
                env=elsewhere,
            )
        except subprocess.TimeoutExpired:
            rule.broken(f"no answer within {limit:.0f} s", remedy)
        if done.returncode:
            rule.broken(reading.redact(done.stderr.strip()[-2000:]), remedy)
        for position, partition in enumerate(asked):
            with pa.OSFile(str(tmp_path / f"{position}.arrow")) as file:
                found = pa.ipc.open_file(file).read_all()
            where = f"another process reads {reading.redact.value(partition.spec)}"
            rule.same(rows(found), rows(partition.table), where, remedy)
        schema, planned = pickle.loads((tmp_path / "plan").read_bytes())
        if not schema.equals(reading.plan.schema) or planned != reading.plan.specs:
            _needs_a_stable_plan(reading)
            rule.broken("another process plans another schema, or other specs", remedy)

    def test_partitions_are_read_side_by_side(
        self, rule: Rule, reading: Reading, partitions: list[Partition]
    ) -> None:
        """Two reads in two threads of one process do not disturb each other."""
        if not partitions or (_limit_of(reading) or ("", 2))[1] == 1:
            pytest.skip("at most one partition is read at a time")
        pair = (partitions[0], partitions[-1])
        remedy = "give each read a connection, file or cursor of its own, kept in local variables"
        with rule.holds(remedy):
            tables = _in_time(rule, lambda: _side_by_side(reading, [p.spec for p in pair]), remedy)
        for partition, table in zip(pair, tables, strict=True):
            where = f"{reading.redact.value(partition.spec)}, beside another read"
            rule.same(rows(table), rows(partition.table), where, remedy)

    def test_a_read_that_is_closed_lets_go(
        self, rule: Rule, reading: Reading, partitions: list[Partition]
    ) -> None:
        """What planning or a read opened is closed, also if the iterator is before its end."""
        remedy = "use `with` or `try: ... finally:` around the yields"

        def begin_and_close() -> None:
            list(Reading(reading.ref, reading.given).plan.specs)
            for partition in partitions[:1]:
                reading.table(partition.spec)
            for partition in partitions[:2]:
                with contextlib.closing(reading.batches(partition.spec)) as half:
                    next(half, None)

        def begin_often() -> tuple[int, int]:
            begin_and_close()  # pools fill, modules are imported
            begin_and_close()
            gc.collect()
            files, threads = _open_now()
            for _ in range(_TIMES):
                begin_and_close()
            gc.collect()
            return files, threads

        with rule.holds(remedy):
            files, threads = _in_time(rule, begin_often, remedy)
        files_then, threads_then = _open_now()
        if files_then - files >= _TIMES or threads_then - threads >= _TIMES:
            rule.broken(
                f"{_TIMES} times a plan, a whole read and some closed half-way left "
                f"{files_then - files} more open files or sockets, and "
                f"{threads_then - threads} more threads",
                remedy,
            )

    def test_a_read_can_be_cancelled(
        self, rule: Rule, reading: Reading, partitions: list[Partition]
    ) -> None:
        """cancel(), called from another thread, ends the read of its instance, and no other."""
        if not reading.has("cancel") or not partitions:
            pytest.skip("the source cannot be cancelled")
        spec, wanted = partitions[0].spec, rows(partitions[0].table)
        remedy = "let cancel() end the read of this instance alone, and return when it has ended"

        def read_and_cancel() -> None:
            source = reading.ref.create()
            with contextlib.closing(reading.batches(spec, instance=source)) as batches:
                next(batches, None)
                with ThreadPoolExecutor(1) as other:
                    # It may wait for the read to end, which goes on here.
                    cancelled = other.submit(reading.ask, "cancel", instance=source)
                    # Whether it ends with an error or without is the source's own choice.
                    with contextlib.suppress(SourceCallError):
                        list(batches)
                    batches.close()
                    cancelled.result()

        with rule.holds(remedy):
            _in_time(rule, read_and_cancel, remedy)
            after = rows(reading.table(spec))
        rule.same(after, wanted, "the same partition, read by a new instance afterwards", remedy)

    def test_dask_reads_all_rows(
        self,
        rule: Rule,
        source: Any,
        options: Mapping[str, Any],
        expected: pa.Table | None,
        reading: Reading,
        partitions: list[Partition],
    ) -> None:
        """dd.read_python_source gives just the rows that are expected, in their types."""
        if expected is None:
            tables = [partition.table for partition in partitions]
            expected = pa.concat_tables(tables) if tables else reading.schema.empty_table()
        wanted = frame_schema(expected.schema, "expected")
        if dict(zip(wanted.names, wanted.types, strict=True)) != dict(
            zip(reading.schema.names, reading.schema.types, strict=True)
        ):
            rule.broken(
                f"infer_schema gives {_listed(reading.schema)}; expected are {_listed(wanted)}",
                "correct infer_schema, or the fixture `expected`",
            )
        remedy = "correct the source, or the fixture `expected`"
        with rule.holds(remedy):
            frame = read_python_source(source, options=options).compute(scheduler="synchronous")
        found = to_table(frame, reading.schema)
        expected = expected.cast(pa.schema([wanted.field(name) for name in wanted.names]))
        rule.same(rows(found), rows(expected.select(reading.schema.names)), "dask", remedy)

    def test_a_read_without_rows_has_the_schema(
        self, rule: Rule, source: Any, empty_options: Mapping[str, Any] | None
    ) -> None:
        """A read of no rows or no partitions gives an empty frame of the right columns."""
        if empty_options is None:
            pytest.skip("override the fixture `empty_options` to test a read without rows")
        remedy = "give the schema without reading data; return [] or partitions without batches"
        with rule.holds(remedy):
            found = Reading.of(source, empty_options)
            names = found.schema.names
            frame = read_python_source(source, options=empty_options)
            computed, count = frame.compute(scheduler="synchronous"), len(frame)
            kept = frame[frame[names[0]].notnull()].compute(scheduler="synchronous")
        for each in (computed, kept):
            if len(each) or list(each.columns) != names:
                rule.broken(f"{len(each)} rows of {list(each.columns)}", remedy)
        if count:
            rule.broken(f"len() is {count}, and no rows come", remedy)

    # ----------------------------------------------------------------------------- push-down

    def test_reads_and_scans_agree(
        self, rule: Rule, reading: Reading, partitions: list[Partition]
    ) -> None:
        """scan_partition without conditions gives the rows that read_partition gives."""
        if not reading.has("scan_partition"):
            pytest.skip("the source has no scan_partition")
        if reading.snapshot is not None:
            pytest.skip("a snapshot is read by scan_partition alone")
        for partition in partitions:
            with rule.holds("let read_partition read what is scanned"):
                read = rows(reading.table(partition.spec, read_only=True))
            where = f"{reading.redact.value(partition.spec)}, read_partition"
            rule.same(read, rows(partition.table), where, "let both read the same rows")

    def test_columns_are_those_asked_for(
        self, rule: Rule, reading: Reading, partitions: list[Partition]
    ) -> None:
        """A scan of any columns, also of none, has just as many rows, with the right values."""
        _needs_scan(reading)
        names = reading.schema.names
        choices = [(), *((name,) for name in names), tuple(reversed(names)), tuple(names[::2])]
        remedy = "select scan.columns by name; for none, yield batch.select([]), which keeps rows"
        for partition, columns in itertools.product(partitions, dict.fromkeys(choices)):
            with rule.holds(remedy, f"scan.columns {columns!r}"):
                found = rows(reading.table(partition.spec, reading.scan(columns)))
            wanted = project(rows(partition.table), names, columns)
            rule.same(found, wanted, f"scan.columns {columns!r}", remedy)

    def test_planning_a_scan_keeps_its_promises(
        self, rule: Rule, reading: Reading, partitions: list[Partition]
    ) -> None:
        """plan_scan gives specs and predicates of those it was handed, by the predicates alone."""
        _needs_scan(reading)
        remedy = "return some of `specs` in their order, and some of `scan.predicates`"
        for predicates in _questions(partitions):
            with rule.holds(remedy, _said(predicates)):
                first = _planned(reading, predicates)
                narrow = _planned(reading, predicates, reading.schema.names[:1])
                none = planning.plan_scan(
                    reading.ref, reading.given, planning.Specs(()), reading.scan((), predicates)
                )
            if first != narrow:
                rule.broken(
                    f"{_said(predicates)}: another answer when other columns are wanted",
                    "decide by scan.predicates and scan.schema alone",
                )
            if none[0]:
                rule.broken(f"{none[0]} of no specs", remedy)

    def test_partitions_that_are_left_out_hold_no_wanted_row(
        self, rule: Rule, reading: Reading, partitions: list[Partition]
    ) -> None:
        """plan_scan leaves out a spec only if no row of it can match."""
        _needs_scan(reading)
        for predicates in _questions(partitions):
            with _otherwise_told_by("test_planning_a_scan_keeps_its_promises"):
                kept, _ = _planned(reading, predicates)
            for position, partition in enumerate(partitions):
                lost = 0 if position in kept else apply(partition.table, predicates).num_rows
                if lost:
                    rule.broken(
                        f"{_said(predicates)}: left out {reading.redact.value(partition.spec)}, "
                        f"which holds {lost:,} such rows",
                        "keep a spec wherever it is not certain; mind nulls and both ends",
                    )

    def test_a_scan_loses_no_row(
        self, rule: Rule, reading: Reading, partitions: list[Partition]
    ) -> None:
        """A scan gives every row that matches, once; more may come, which is filtered here."""
        remedy = "do not accept such a predicate, or apply it as Arrow does (nulls never match)"
        for asked, partition in _asked(rule, reading, partitions):
            with rule.holds(remedy, _said(asked.scan.predicates)):
                came = reading.table(partition.spec, asked.scan)
            found, wanted = (rows(apply(t, asked.scan.predicates)) for t in (came, partition.table))
            rule.same(found, wanted, f"{_said(asked.scan.predicates)}", remedy)

    def test_what_is_accepted_is_applied(
        self, rule: Rule, reading: Reading, partitions: list[Partition]
    ) -> None:
        """No row comes for which a predicate does not hold that plan_scan accepted."""
        remedy = "apply it in scan_partition, whatever scan.columns are, or do not accept it"
        tried: set[tuple[str, str]] = set()
        for asked, partition in _asked(rule, reading, partitions):
            wrong = None
            with _otherwise_told_by("test_a_scan_loses_no_row"):
                came = reading.table(partition.spec, asked.scan)
            extra = rows(came) - rows(apply(came, asked.accepted))
            if extra:
                wrong = f"{extra.total():,} rows for which it does not hold"
            wanted = apply(partition.table, asked.scan.predicates).num_rows
            narrows = asked.is_exact and wanted < partition.table.num_rows
            if wrong is None and narrows and asked.kind not in tried:
                tried.add(asked.kind)
                # Without the columns that are filtered by, the source alone can have applied it.
                columns = [n for n in reading.schema.names if n not in asked.names][:1]
                with rule.holds(remedy, f"{_said(asked.scan.predicates)} of {columns}"):
                    narrow = reading.scan(columns, asked.scan.predicates)
                    count = reading.table(partition.spec, narrow).num_rows
                if count != wanted:
                    wrong = f"{count:,} rows for {wanted:,} where scan.columns is {columns}"
            if wrong:
                rule.broken(f"{_said(asked.accepted)}: {wrong}", remedy)

    def test_a_limit_leaves_enough_rows(
        self, rule: Rule, reading: Reading, partitions: list[Partition]
    ) -> None:
        """With scan.limit at least so many of the rows come that would without, if there are."""
        remedy = "count after filtering, stop only at scan.limit, or ignore it"
        exact = [(a.scan, p) for a, p in _asked(rule, reading, partitions) if a.is_exact]
        few = exact[:: max(1, len(exact) // 60)]
        for scan, partition in [*((reading.scan(), p) for p in partitions), *few]:
            with _otherwise_told_by("test_a_scan_loses_no_row"):
                every = rows(reading.table(partition.spec, scan))
            for limit in dict.fromkeys((1, max(1, every.total() - 1), every.total() + 1)):
                with rule.holds(remedy, f"limit {limit} with {_said(scan.predicates)}"):
                    found = rows(reading.table(partition.spec, replace(scan, limit=limit)))
                if found.total() < min(limit, every.total()) or found - every:
                    rule.broken(
                        f"limit {limit} with {_said(scan.predicates)}: {found.total():,} rows of "
                        f"{every.total():,}, and {(found - every).total():,} others",
                        remedy,
                    )

    # ------------------------------------------------------------------------- what it tells

    def test_exact_counts_are_exact(
        self, rule: Rule, reading: Reading, partitions: list[Partition]
    ) -> None:
        """partition_statistics gives (rows, exact, bytes) per spec; exact rows are a count."""
        if not reading.has("partition_statistics"):
            pytest.skip("the source has no statistics")
        remedy = "write e.g. (12, True, 4096), or (None, False, None) where nothing is known"
        specs = reading.plan.specs
        with rule.holds(remedy):
            known = planning.statistics(reading.ref, reading.given, specs)
        # As Dask asks of the partitions that a filter has left.
        with rule.holds("answer for the specs that are handed over, in their order"):
            last = planning.statistics(reading.ref, reading.given, specs.take([len(specs) - 1]))
        if last != known[-1:]:
            rule.broken(
                f"{tuple(known[-1])!r} of the last spec, and {tuple(last[0])!r} of it alone",
                "answer for the specs that are handed over, in their order",
            )
        for partition, told in zip(partitions, known, strict=True):
            counts = [told.rows, told.nbytes]
            numbers = all(n is None or (isinstance(n, int) and n >= 0) for n in counts)
            exact = isinstance(told.exact, bool) and (told.exact is False or told.rows is not None)
            if not numbers or not exact:
                rule.broken(f"{tuple(told)!r}", remedy)
            if told.exact and told.rows != partition.table.num_rows:
                rule.broken(
                    f"{reading.redact.value(partition.spec)} is to have {told.rows:,} rows, "
                    f"and has {partition.table.num_rows:,}",
                    "say exact=False of an estimate",
                )

    def test_divisions_hold_every_row(
        self,
        rule: Rule,
        source: Any,
        options: Mapping[str, Any],
        reading: Reading,
        partitions: list[Partition],
    ) -> None:
        """With divisions d, partition i holds values v with d[i] <= v < d[i + 1], and no nulls."""
        if not reading.has("divisions") or not partitions:
            pytest.skip("the source has no divisions")
        remedy = "return None for a column where that is not known, or raise if it cannot be"
        for name in reading.schema.names:
            try:
                frame = read_python_source(source, options=options, index=name)
                if frame.known_divisions:
                    frame.compute(scheduler="synchronous")
                continue
            except SourceCallError:  # the source refuses such an index, which is its right
                continue
            except (DivisionError, PythonDataSourceError) as error:
                seen = str(error)
            rule.broken(f"index={name!r}: {seen}", remedy)

    def test_no_secret_is_told(
        self,
        rule: Rule,
        reading: Reading,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """No secret of the options is in specs, schema, errors, reprs, descriptions or logs."""
        caplog.set_level(1)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            told = list(_told(reading))
            given = _with_wrong_secrets(reading.given)
            errors = reading.raised_by(given)
        told += [("a warning", str(warning.message)) for warning in warned]
        told += [("a log", caplog.text), ("what it prints", "".join(capfd.readouterr()))]
        for place, text in told:
            if reading.redact(text) != text:
                rule.broken(
                    f"a secret of the options stands in {place}: {reading.redact(text)[:500]}",
                    "leave it out, and take it from the options where it is used (if the secret of "
                    "the test is a common word, choose another one)",
                )
        redact = Redactor([_WRONG])
        for error in errors:
            text = "".join(traceback.format_exception(error)) + repr(error.args) + repr(vars(error))
            if redact(text) != text:
                rule.broken(
                    f"with a wrong secret, {type(error).__name__} tells it: {redact(str(error))}",
                    "raise an error of your own, outside `except`, that names host and user only",
                )

    # -------------------------------------------------------------------------------- errors

    def test_a_bad_option_is_refused_at_once(
        self, rule: Rule, reading: Reading, bad_options: Mapping[str, Any]
    ) -> None:
        """A bad value of an option is an error of the planning that names the option."""
        if not bad_options:
            pytest.skip("override the fixture `bad_options` to test bad values")
        for name, value in bad_options.items():
            other = _changed(reading, name, value)
            said = f"{name}={value!r}" if not SECRET_NAME.search(name) else name
            try:
                list(other.plan.specs)
            except SourceCallError as error:
                told = str(error.args[2])
            except OptionError as error:
                told = str(error)
            else:
                rule.broken(
                    f"{said} planned {len(other.plan.specs)} partitions",
                    "check options in infer_schema and in plan_partitions",
                )
            if name.lower() not in told.lower():
                rule.broken(f"{said} gave: {told:.300}", "name the option in the message")

    def test_errors_come_back_from_pickle(
        self, rule: Rule, reading: Reading, bad_options: Mapping[str, Any]
    ) -> None:
        """An error that the source raises is the same after pickling, as between processes."""
        tried = [_changed(reading, name, value).given for name, value in bad_options.items()]
        tried.append(_with_wrong_secrets(reading.given))
        errors = [error for given in tried for error in reading.raised_by(given)]
        errors += reading.raised_by(reading.given, {"no such": "spec"})
        for error in errors:
            try:
                back = _after_pickling(error)
                seen = f"{type(back).__name__}: {back}"
            except Exception as problem:  # noqa: BLE001 - whatever pickling such an error raises
                back, seen = None, f"{type(problem).__name__}: {problem}"
            if type(back) is not type(error) or str(back) != str(error):
                rule.broken(
                    reading.redact(f"{type(error).__name__}: {error}\ncame back as {seen}"),
                    "hand all arguments of __init__ to super().__init__, and keep no handles",
                )


# ------------------------------------------------------------------------------------ asking


@dataclass(frozen=True)
class _Asked:
    """A scan with predicates, and what of them the source accepted."""

    scan: Scan
    accepted: tuple[Predicate, ...]

    @property
    def is_exact(self) -> bool:
        return set(self.accepted) == set(self.scan.predicates)

    @property
    def kind(self) -> tuple[str, str]:
        """Column and op of the first predicate."""
        return self.scan.predicates[0].column, self.scan.predicates[0].op

    @property
    def names(self) -> set[str]:
        return {predicate.column for predicate in self.scan.predicates}


def _needs_a_stable_plan(reading: Reading) -> None:
    if Reading(reading.ref, reading.given).plan.specs != reading.plan.specs:
        pytest.skip("rests on what test_the_plan_is_stable finds broken")


def _calls(
    reading: Reading,
) -> Iterator[tuple[str, Callable[[CaseInsensitiveDict, list[PartitionSpec]], Any]]]:
    """The methods that a source has, each with a call of it with options and all specs."""
    scan = reading.scan()
    ask = reading.ask
    calls: dict[str, Callable[[CaseInsensitiveDict, list[PartitionSpec]], Any]] = {
        "infer_schema": lambda o, s: ask("infer_schema", o),
        "plan_partitions": lambda o, s: ask("plan_partitions", o),
        "partition_statistics": lambda o, s: ask("partition_statistics", s, o),
        "plan_scan": lambda o, s: ask("plan_scan", s, o, scan),
        "scan_partition": lambda o, s: list(ask("scan_partition", s[0], o, scan)),
        "read_partition": lambda o, s: list(ask("read_partition", s[0], o)),
    }
    for method, call in calls.items():
        if reading.has(method) and (reading.plan.specs or not method.endswith("_partition")):
            yield method, call


def _needs_scan(reading: Reading) -> None:
    if not reading.has("plan_scan") and not reading.has("scan_partition"):
        pytest.skip("the source has no plan_scan and no scan_partition")


def _questions(partitions: Sequence[Partition]) -> list[tuple[Predicate, ...]]:
    if not partitions:
        return []
    single = probes(pa.concat_tables([partition.table for partition in partitions]))
    return [*((predicate,) for predicate in single), *pairs(single)]


def _planned(
    reading: Reading, predicates: tuple[Predicate, ...], columns: Sequence[str] | None = None
) -> tuple[list[int], tuple[Predicate, ...]]:
    scan = reading.scan(columns, predicates)
    return planning.plan_scan(reading.ref, reading.given, reading.plan.specs, scan)


def _asked(
    rule: Rule, reading: Reading, partitions: Sequence[Partition]
) -> Iterator[tuple[_Asked, Partition]]:
    """Every question to every partition that is left; of what is not accepted, one of a kind."""
    _needs_scan(reading)
    refused: set[tuple[str, str]] = set()
    for predicates in _questions(partitions):
        with _otherwise_told_by("test_planning_a_scan_keeps_its_promises"):
            kept, accepted = _planned(reading, predicates)
        asked = _Asked(reading.scan(None, predicates), accepted)
        if not accepted and asked.kind in refused:
            continue
        if not accepted:
            refused.add(asked.kind)
        for position in kept:
            yield asked, partitions[position]


def _said(predicates: Sequence[Predicate]) -> str:
    told = " and ".join(map(str, predicates)) or "no predicate"
    return told if len(told) < _LONG else f"{told[:_LONG]}..."


def _side_by_side(reading: Reading, specs: Sequence[PartitionSpec]) -> list[pa.Table]:
    """Read partitions at once, batch by batch in turn, each in a thread of its own."""
    with contextlib.ExitStack() as stack:
        threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in specs]
        reads = [reading.batches(spec) for spec in specs]
        found: list[list[pa.RecordBatch]] = [[] for _ in specs]
        left = set(range(len(specs)))
        while left:
            coming = {i: threads[i].submit(next, reads[i], None) for i in sorted(left)}
            for i, future in coming.items():
                batch = future.result()
                if batch is None:
                    left.remove(i)
                else:
                    found[i].append(batch)
        names = reading.schema.names
        return [reading.fitted(b, s, names) for b, s in zip(found, specs, strict=True)]


def _in_time(rule: Rule, call: Callable[[], _Result], remedy: str) -> _Result:
    """Return what a call returns, made in a thread that is left behind if it hangs."""
    done: list[_Result] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            done.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=run, name="dask_sail-testing", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        rule.broken(f"a call did not come back within {PATIENCE:.0f} s", remedy)
    if raised:
        raise raised[0]
    return done[0]


def _limit_of(reading: Reading) -> Any:
    return reading.ask("concurrency", reading.options()) if reading.has("concurrency") else None


def _is_snapshot(given: Any) -> bool:
    name, close = getattr(given, "name", None), getattr(given, "close", None)
    return isinstance(name, str) and callable(close)


def _is_key_and_count(given: Any) -> bool:
    if not isinstance(given, tuple) or len(given) != 2:
        return False
    key, count = given
    return isinstance(key, str) and type(count) is int and count >= 1


_watched_by: list[list[str]] = []
_hooks: list[Callable[[str, tuple[Any, ...]], None]] = []


def _note(event: str, given: tuple[Any, ...]) -> None:
    if not _watched_by:
        return
    if event in ("os.putenv", "os.unsetenv"):  # its value may be a secret
        _watched_by[-1].append(f"the environment variable {os.fsdecode(given[0])}")
    elif event == "os.chdir":
        _watched_by[-1].append("the current folder")


@contextlib.contextmanager
def _watched() -> Iterator[list[str]]:
    """Notes what is changed, also if it was the same before: a test has called the source."""
    if not _hooks:  # there is no way to remove one
        _hooks.append(_note)
        sys.addaudithook(_note)
    _watched_by.append([])
    try:
        yield _watched_by[-1]
    finally:
        _watched_by.pop()


_TIMES = 8


def _open_now() -> tuple[int, int]:
    """How many files and sockets this process has open, and how many threads of Python's."""
    process = psutil.Process()
    count = process.num_fds if hasattr(process, "num_fds") else process.num_handles
    return int(count()), threading.active_count()


_OTHER_PROCESS = """
import pickle, sys
import pyarrow as pa
from dask_sail.planning import Plan, Specs
from dask_sail.testing.reading import Reading
with open(sys.argv[1], "rb") as file:
    ref, given, schema, specs, snapshot = pickle.load(file)
reading = Reading(ref, given, snapshot)
vars(reading)["plan"] = Plan(schema, Specs(()), None, None, snapshot is not None)
for position, spec in enumerate(specs):
    table = reading.table(spec)
    path = f"{sys.argv[2]}/{position}.arrow"
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
plan = Reading(ref, given).plan
with open(f"{sys.argv[2]}/plan", "wb") as file:
    pickle.dump((plan.schema, plan.specs), file)
"""


def _after_pickling(error: BaseException) -> Any:
    """Return an error as it comes back in a process of anybody's."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file)
    # Without tblib, which distributed brings: it makes up for errors that do not come back alone.
    pickler.dispatch_table = {}
    pickler.dump(error)
    return pickle.loads(file.getvalue())


# ------------------------------------------------------------------------------------- words


def _change(before: Any, after: Any, where: str) -> str | None:
    """Where a value is not what it was; None if it is."""
    if isinstance(before, dict) and isinstance(after, dict):
        places = ((before[key], after.get(key), f"{where}[{key!r}]") for key in before)
    elif isinstance(before, list) and isinstance(after, list):
        places = (
            (b, a, f"{where}[{i}]") for i, (b, a) in enumerate(zip(before, after, strict=True))
        )
    elif type(before) is type(after) and before == after:
        return None
    else:
        return (
            f"{where} is {before!r:.80}, a {type(before).__name__}; "
            f"JSON brings {after!r:.80}, a {type(after).__name__}"
        )
    return next((told for place in places if (told := _change(*place)) is not None), None)


def _types(batch: pa.RecordBatch) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in batch.schema}


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _changed(reading: Reading, name: str, value: Any) -> Reading:
    kept = {key: text for key, text in reading.given.items() if key.lower() != name.lower()}
    return Reading(reading.ref, SourceOptions.gather(kept, {name: value}))


_WRONG = "no-Such-Secret-0f1e2d3c"


def _with_wrong_secrets(given: SourceOptions) -> SourceOptions:
    """Return other options, each secret a wrong one that is easily found in texts."""
    return SourceOptions(
        {name: _WRONG if SECRET_NAME.search(name) else text for name, text in given.items()}
    )


def _told(reading: Reading) -> Iterator[tuple[str, str]]:
    """Every text that a source gives away about a read, and where."""
    options, specs = reading.options(), list(reading.plan.specs)
    source = reading.ref.create()
    schema = reading.ask("infer_schema", options, instance=source)
    yield "the schema", f"{schema} {schema.metadata} {[f.metadata for f in schema]}"
    yield (
        "a spec",
        "\n".join(map(json.dumps, reading.ask("plan_partitions", options, instance=source))),
    )
    if specs:
        with contextlib.suppress(PythonDataSourceError):
            reading.table(specs[0], instance=source)
    yield "the repr of an instance", repr(source)
    for method in ("version", "concurrency"):
        if reading.has(method):
            yield f"what {method} gives", repr(reading.ask(method, options))
    if reading.has("describe_partition"):
        for spec in specs:
            facts = reading.ask("describe_partition", spec, options, reading.scan())
            yield "what describe_partition gives", repr(dict(facts))
