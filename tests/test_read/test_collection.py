"""The collection that a read gives: what is pushed, what is pruned, and what stays with Dask."""

import datetime
import decimal
from collections.abc import Iterator, Sequence
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pytest

import dask_sail
from dask_sail import Predicate, Scan

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("amount", pa.decimal128(12, 2)),
        ("name", pa.string()),
        ("paid", pa.bool_()),
        ("weight", pa.float64()),
        ("at", pa.timestamp("us", "UTC")),
    ]
)
PARTITIONS, ROWS = 5, 8


def rows(partition: int) -> pa.RecordBatch:
    """Rows of one partition: ids are 0 to 39 over all, every column has NULLs but id."""
    ids = range(partition * ROWS, (partition + 1) * ROWS)
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    columns = {
        "id": list(ids),
        "amount": [None if i % 7 == 0 else decimal.Decimal(i * 25) / 100 for i in ids],
        "name": [None if i % 5 == 0 else f"n{i % 3}" for i in ids],
        "paid": [None if i % 4 == 0 else i % 3 == 0 for i in ids],
        "weight": [None if i % 6 == 0 else float("nan") if i % 11 == 0 else i / 4 for i in ids],
        "at": [None if i % 9 == 0 else start + datetime.timedelta(hours=i) for i in ids],
    }
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


WHOLE = pa.Table.from_batches([rows(i) for i in range(PARTITIONS)]).to_pandas(
    types_mapper=pd.ArrowDtype
)

calls: list[tuple[Any, ...]] = []


@pytest.fixture(autouse=True)
def _synchronous() -> Iterator[None]:
    calls.clear()
    with dask.config.set(scheduler="synchronous"):
        yield


class Plain:
    """The three methods alone."""

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return SCHEMA

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        return [{"part": i} for i in range(PARTITIONS)]

    def read_partition(
        self, spec: dict[str, Any], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        calls.append(("read", spec["part"]))
        batch = rows(spec["part"])
        for start in range(0, ROWS, 3):
            calls.append(("batch", spec["part"]))
            yield batch.slice(start, 3)


class Scanning(Plain):
    """Chooses columns, prunes partitions by id, and applies exactly what is on id."""

    def plan_scan(
        self, specs: Sequence[dict[str, Any]], options: dict[str, str], scan: Scan
    ) -> tuple[list[dict[str, Any]], list[Predicate]]:
        accepted = [p for p in scan.predicates if p.column == "id" and p.op in ("<", ">=", "==")]
        kept = []
        for spec in specs:
            low, high = spec["part"] * ROWS, (spec["part"] + 1) * ROWS
            possible = all(
                {"<": low < p.value, ">=": high > p.value, "==": low <= p.value < high}[p.op]
                for p in accepted
            )
            if possible:
                kept.append(spec)
        return kept, accepted

    def scan_partition(
        self, spec: dict[str, Any], options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        calls.append(("scan", spec["part"], scan.columns, scan.predicates, scan.limit))
        table = pa.Table.from_batches([rows(spec["part"])])
        for p in scan.predicates:
            if p.column == "id" and p.op in ("<", ">=", "=="):
                table = table.filter(p.mask(table))
        yield from table.slice(0, scan.limit).select(scan.columns).combine_chunks().to_batches()


class Counted(Plain):
    """Knows its row counts."""

    def partition_statistics(
        self, specs: Sequence[dict[str, Any]], options: dict[str, str]
    ) -> list[tuple[int | None, bool, int | None]]:
        return [(ROWS, options.get("exact", "true") == "true", None) for _ in specs]


SOURCES = [Plain, Scanning, Counted]


def same(result: Any, expected: Any) -> None:
    """Rows, order, types and names are equal; the index is each partition's own."""
    if isinstance(expected, pd.Series):
        result, expected = result.to_frame(), expected.to_frame()
    pd.testing.assert_frame_equal(
        result.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True
    )


def utc(day: int) -> datetime.datetime:
    return datetime.datetime(2024, 1, day, tzinfo=datetime.UTC)


QUERIES = {
    "all": lambda f: f,
    "column": lambda f: f["name"],
    "columns in another order": lambda f: f[["weight", "id"]],
    "comparison": lambda f: f[f.id >= 17],
    "reversed comparison": lambda f: f[17 <= f.id],  # noqa: SIM300 - the point of it
    "and": lambda f: f[(f.id >= 5) & (f.id < 29) & (f.name == "n1")],
    "filter then column": lambda f: f[f.id < 11].amount,
    "filter on a column that is not kept": lambda f: f[f.name != "n2"][["id"]],
    "filters one after another": lambda f: f[f.id >= 5][f.paid][["name", "id"]],
    "isin": lambda f: f[f.name.isin(["n0", "n2"])],
    "isin with null": lambda f: f[f.name.isin(["n0", None])],
    "not isin": lambda f: f[~f.id.isin([1, 2, 3])],
    "isna": lambda f: f[f.amount.isna()],
    "notna": lambda f: f[f.weight.notnull()],
    "not isna": lambda f: f[~f.paid.isna()],
    "between": lambda f: f[f.id.between(7, 23)],
    "between, open": lambda f: f[f.weight.between(1.0, 5.5, inclusive="neither")],
    "or of one column": lambda f: f[(f.id < 3) | (f.id >= 37)],
    "or of two columns": lambda f: f[(f.id < 3) | (f.name == "n1")],
    "bool column": lambda f: f[f.paid],
    "not bool column": lambda f: f[~f.paid],
    "bool equals": lambda f: f[f.paid == False],  # noqa: E712 - a column
    "decimal": lambda f: f[f.amount > decimal.Decimal("3.50")],
    "decimal and int": lambda f: f[f.amount <= 4],
    "decimal and float": lambda f: f[f.amount >= 2.25],
    "NaN is not below": lambda f: f[f.weight < 6],
    "NaN is unequal": lambda f: f[f.weight != 2.5],
    "timestamp": lambda f: f[f["at"] >= pd.Timestamp("2024-01-02", tz="UTC")],
    "two columns": lambda f: f[f.id / 4 == f.weight],
    "aggregate in the filter": lambda f: f[(f.id >= 4) & (f.id > f.id.mean())],
    "arithmetic in the filter": lambda f: f[(f.id >= 4) & (f.id * 2 > 30)],
    "string method in the filter": lambda f: f[f.name.str.upper() == "N1"],
    "new column in the filter": lambda f: f.assign(twice=f.id * 2).query("twice > 30"),
    "filter after rename": lambda f: f.rename(columns={"id": "key"}).query("key >= 20"),
    "nothing matches": lambda f: f[f.id >= 1000],
    "sum": lambda f: f[f.id >= 9].amount.sum(),
    "count": lambda f: f.count(),
    "groupby": lambda f: f[f.id < 30].groupby("name").id.sum(),
    "drop": lambda f: f.drop(columns=["at", "weight"]),
    "dropna": lambda f: f.dropna(subset=["name", "amount"]),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("query", QUERIES)
def test_every_query_gives_the_rows_that_pandas_gives(source: type[Any], query: str) -> None:
    expected = QUERIES[query](WHOLE)
    result = QUERIES[query](dd.read_python_source(source)).compute()
    if isinstance(expected, pd.DataFrame):
        same(result, expected)
    elif isinstance(expected, pd.Series) and query in ("groupby", "count"):
        pd.testing.assert_series_equal(result.sort_index(), expected.sort_index())
    elif isinstance(expected, pd.Series):
        same(result, expected)
    else:
        assert result == expected


def test_what_a_filter_on_the_partition_column_leaves() -> None:
    frame = dd.read_python_source(Scanning)
    result = frame[(frame.id >= 17) & (frame.id < 25) & (frame.name == "n1")].amount
    optimised = result.optimize(fuse=False)
    assert optimised.npartitions == 2
    same(result.compute(), WHOLE[(WHOLE.id >= 17) & (WHOLE.id < 25) & (WHOLE.name == "n1")].amount)
    assert sorted((call[0], call[1]) for call in calls) == [("scan", 2), ("scan", 3)]
    _, _, columns, predicates, limit = calls[0]
    assert columns == ("amount", "name")  # name is tested here, id by the source
    assert set(predicates) == {
        Predicate("id", ">=", 17),
        Predicate("id", "<", 25),
        Predicate("name", "==", "n1"),
    }
    assert limit is None


def test_a_projection_is_pushed_with_the_columns_of_conditions() -> None:
    frame = dd.read_python_source(Scanning)
    frame[["weight"]].compute()
    assert {call[2] for call in calls} == {("weight",)}


def test_head_reads_one_partition_up_to_the_limit() -> None:
    frame = dd.read_python_source(Scanning)
    same(frame.head(3), WHOLE.head(3))
    assert calls == [("scan", 0, tuple(SCHEMA.names), (), 3)]


def test_head_after_an_exact_filter_passes_the_limit_on() -> None:
    frame = dd.read_python_source(Scanning)
    same(frame[frame.id >= 10].head(2), WHOLE[WHOLE.id >= 10].head(2))
    assert [call[-1] for call in calls] == [2]


def test_head_after_another_filter_does_not_pass_the_limit_on() -> None:
    frame = dd.read_python_source(Scanning)
    same(frame[frame.name == "n2"].head(1), WHOLE[WHOLE.name == "n2"].head(1))
    assert [call[-1] for call in calls] == [None]


def test_head_stops_a_source_that_knows_no_limit() -> None:
    frame = dd.read_python_source(Plain)
    same(frame.head(2), WHOLE.head(2))
    assert calls == [("read", 0), ("batch", 0)]


def test_head_over_all_partitions() -> None:
    frame = dd.read_python_source(Plain)
    same(frame[frame.id >= 14].head(4, npartitions=-1), WHOLE[WHOLE.id >= 14].head(4))


def test_filtering_what_head_left_is_not_pushed_below_it() -> None:
    frame = dd.read_python_source(Scanning)
    first = frame.head(4, compute=False)
    same(first[first.id >= 2].compute(), WHOLE.head(4)[WHOLE.head(4).id >= 2])


def test_len_from_exact_statistics_reads_nothing() -> None:
    assert len(dd.read_python_source(Counted)) == len(WHOLE)
    assert calls == []


def test_len_of_chosen_partitions() -> None:
    assert len(dd.read_python_source(Counted).partitions[[1, 3]]) == 2 * ROWS


@pytest.mark.parametrize("source", [Plain, Scanning])
def test_len_without_statistics_reads_no_column(source: type[Any]) -> None:
    assert len(dd.read_python_source(source)) == len(WHOLE)
    assert all(call[2] == () for call in calls if call[0] == "scan")


def test_len_does_not_trust_estimates() -> None:
    frame = dd.read_python_source(Counted, exact="false")
    assert len(frame) == len(WHOLE)
    assert sorted(call[1] for call in calls if call[0] == "read") == list(range(PARTITIONS))


def test_len_of_a_filter_counts_rows() -> None:
    frame = dd.read_python_source(Counted)
    assert len(frame[frame.id >= 35]) == 5


def test_one_partition_reads_one_spec() -> None:
    same(dd.read_python_source(Plain).partitions[3].compute(), WHOLE[24:32])
    assert [call for call in calls if call[0] == "read"] == [("read", 3)]


def test_partitions_then_filter_then_partitions() -> None:
    frame = dd.read_python_source(Scanning).partitions[[1, 2, 4]]
    result = frame[frame.id >= 20]
    same(result.compute(), WHOLE[(WHOLE.id >= 20) & ((WHOLE.id < 24) | (WHOLE.id >= 32))])
    assert sorted(call[1] for call in calls) == [2, 4]


def test_two_differently_filtered_reads_in_one_computation() -> None:
    frame = dd.read_python_source(Scanning)
    low, high = dask.compute(frame[frame.id < 4].id.sum(), frame[frame.id >= 36].id.sum())
    assert (low, high) == (6, 150)


def test_a_filter_by_a_function_of_the_partition_keeps_every_partition() -> None:
    frame = dd.read_python_source(Scanning)
    mask = frame.id.map_partitions(lambda s: s.isin([30, 34, 38]))
    same(frame[(frame.id >= 33) & mask].compute(), WHOLE[WHOLE.id.isin([34, 38])])


@pytest.mark.parametrize("source", SOURCES)
def test_filters_argument_is_applied_to_every_row(source: type[Any]) -> None:
    filters = [[("id", ">=", 30), ("name", "==", "n0")], [("paid", "==", True), ("id", "<", 10)]]
    result = dd.read_python_source(source, filters=filters, columns=["id"]).compute()
    expected = WHOLE[
        ((WHOLE.id >= 30) & (WHOLE.name == "n0")) | ((WHOLE.paid == True) & (WHOLE.id < 10))  # noqa: E712
    ]
    same(result, expected[["id"]])


def test_filters_prune_partitions_at_once() -> None:
    frame = dd.read_python_source(Scanning, filters=[("id", "<", 9)])
    assert frame.npartitions == 2


def test_columns_argument_gives_the_order() -> None:
    frame = dd.read_python_source(Plain, columns=["name", "id"])
    same(frame.compute(), WHOLE[["name", "id"]])
    same(dd.read_python_source(Plain, columns="name").compute(), WHOLE["name"])


def test_the_index_of_a_frame_without_columns() -> None:
    assert len(dd.read_python_source(Plain).index.compute()) == len(WHOLE)


def test_the_dashboard_shows_the_source() -> None:
    frame = dd.read_python_source(Plain)
    names = {key[0] if isinstance(key, tuple) else key for key in frame.optimize().dask}
    assert {dask.utils.key_split(name) for name in names} == {"read_plain", "plan_plain"}


def test_one_spec_is_one_task_and_the_rest_is_shared() -> None:
    graph = (dd.read_python_source(Plain)[["id"]] + 1).optimize().dask
    assert len(graph) == PARTITIONS + 1


def test_two_reads_do_not_share_keys_since_the_data_may_have_changed() -> None:
    first, second = dd.read_python_source(Plain), dd.read_python_source(Plain)
    assert first._name != second._name


def test_reads_of_one_version_share_their_keys() -> None:
    class Versioned(Plain):
        def version(self, options: dict[str, str]) -> str:
            return options["v"]

    first, second, third = (dd.read_python_source(Versioned, v=v) for v in ("1", "1", "2"))
    assert first._name == second._name
    assert first._name != third._name


def test_a_version_that_is_not_known_is_none() -> None:
    class Unversioned(Plain):
        def version(self, options: dict[str, str]) -> str | None:
            return None

    first, second = (dd.read_python_source(Unversioned) for _ in range(2))
    assert first._name != second._name


@pytest.mark.parametrize("specs", [[], [{"part": 0}]])
def test_no_partition_and_no_batch_give_an_empty_frame_with_its_types(specs: list[Any]) -> None:
    class Empty(Plain):
        def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
            return specs

        def read_partition(self, spec: Any, options: Any) -> Iterator[pa.RecordBatch]:
            return iter(())

    frame = dd.read_python_source(Empty)
    same(frame.compute(), WHOLE.head(0))
    assert len(frame) == 0
    assert len(frame[frame.id > 3].name.compute()) == 0
    assert frame.id.sum().compute() == 0
    same(frame.head(), WHOLE.head(0))


def test_many_small_batches_and_one_huge_batch() -> None:
    class Ragged:
        def infer_schema(self, options: dict[str, str]) -> pa.Schema:
            return pa.schema([("n", pa.int64())])

        def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
            return [{"batches": 5000, "rows": 1}, {"batches": 1, "rows": 2_000_000}]

        def read_partition(self, spec: Any, options: Any) -> Iterator[pa.RecordBatch]:
            for _ in range(spec["batches"]):
                yield pa.record_batch([pa.array(range(spec["rows"]))], names=["n"])

    frame = dd.read_python_source(Ragged)
    assert frame.map_partitions(len).compute().tolist() == [5000, 2_000_000]
    assert frame.n.sum().compute() == sum(range(2_000_000))


class Sorted(Plain):
    """Partitions hold ascending, disjoint ids."""

    def divisions(
        self, specs: Sequence[dict[str, Any]], options: dict[str, str], column: str
    ) -> list[int] | None:
        if column != "id":
            return None
        shift = int(options.get("shift", "0"))
        return [spec["part"] * ROWS + shift for spec in specs] + [PARTITIONS * ROWS - 1]


def test_an_index_with_known_divisions() -> None:
    frame = dd.read_python_source(Sorted, index="id")
    assert frame.divisions == (0, 8, 16, 24, 32, 39)
    expected = WHOLE.set_index("id")
    pd.testing.assert_frame_equal(frame.compute(), expected)
    calls.clear()
    pd.testing.assert_frame_equal(frame.loc[9:12].compute(), expected.loc[9:12])
    assert {call[1] for call in calls} == {1}
    merged = frame[["name"]].merge(frame[["weight"]], left_index=True, right_index=True)
    pd.testing.assert_frame_equal(merged.compute(), expected[["name", "weight"]])
    assert len(frame) == len(WHOLE)


def test_known_divisions_beyond_64_bits() -> None:
    low, high = 2**63 + 5, 2**64 - 1

    class Unsigned:
        def infer_schema(self, options: dict[str, str]) -> pa.Schema:
            return pa.schema([("key", pa.uint64()), ("n", pa.int8())])

        def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
            return [{"keys": [0, 7]}, {"keys": [low, high]}]

        def read_partition(self, spec: Any, options: Any) -> Iterator[pa.RecordBatch]:
            keys = pa.array(spec["keys"], pa.uint64())
            yield pa.record_batch([keys, pa.array([1, 2], pa.int8())], names=["key", "n"])

        def divisions(self, specs: Any, options: dict[str, str], column: str) -> list[int]:
            return [0, low + int(options.get("shift", "0")), high]

    frame = dd.read_python_source(Unsigned, index="key")
    assert frame.divisions == (0, low, high)
    assert frame.compute().index.tolist() == [0, 7, low, high]
    with pytest.raises(dask_sail.DivisionError, match="1 rows have an index 'key'"):
        dd.read_python_source(Unsigned, index="key", shift=1).compute()


def test_divisions_after_partitions_were_pruned() -> None:
    class Both(Sorted, Scanning):
        pass

    frame = dd.read_python_source(Both, index="id", filters=[("id", ">=", 20)])
    assert frame.divisions == (16, 24, 32, 39)
    pd.testing.assert_frame_equal(frame.compute(), WHOLE[WHOLE.id >= 20].set_index("id"))


def test_an_index_without_divisions() -> None:
    frame = dd.read_python_source(Sorted, index="name")
    assert not frame.known_divisions
    pd.testing.assert_frame_equal(frame.compute(), WHOLE.set_index("name"))


def test_a_row_outside_its_division_is_an_error() -> None:
    frame = dd.read_python_source(Sorted, index="id", shift=1)
    with pytest.raises(dask_sail.DivisionError, match="1 rows have an index 'id'") as raised:
        frame.compute()
    assert raised.value.spec in [{"part": i} for i in range(PARTITIONS)]


def test_a_null_in_the_index_is_an_error() -> None:
    class WithNull(Sorted):
        def read_partition(self, spec: Any, options: Any) -> Iterator[pa.RecordBatch]:
            for batch in super().read_partition(spec, options):
                ids = [None if i == 20 else i for i in batch.column("id").to_pylist()]
                yield batch.set_column(0, "id", pa.array(ids, pa.int64()))

    with pytest.raises(dask_sail.DivisionError, match="null or outside"):
        dd.read_python_source(WithNull, index="id").compute()


def test_rows_of_a_partition_with_known_divisions_come_sorted() -> None:
    class Shuffled(Sorted):
        def read_partition(self, spec: Any, options: Any) -> Iterator[pa.RecordBatch]:
            yield rows(spec["part"]).take(pa.array([3, 1, 0, 2, 7, 6, 5, 4]))

    frame = dd.read_python_source(Shuffled, index="id")
    pd.testing.assert_frame_equal(frame.compute(), WHOLE.set_index("id"))
