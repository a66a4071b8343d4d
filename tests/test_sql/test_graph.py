"""Queries as Dask collections: what is read, how often, and what comes out."""

from __future__ import annotations

import ast
import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import dask_sail
from dask_sail.datasource import Scan
from dask_sail.errors import BatchError, SchemaError
from dask_sail.sqlengine import graph, tasks
from dask_sail.sqlengine.errors import SQLError, SQLExecutionError
from dask_sail.sqlengine.functions import PythonFunction
from dask_sail.sqlengine.plan import DistributedPlan, Settings
from dask_sail.sqlengine.planner import Planner

ROWS = 1_000
SCHEMA = pa.schema([("id", pa.int64()), ("g", pa.int32()), ("s", pa.string())])


def rows_of(ids: Any) -> pa.Table:
    ids = np.asarray(ids, "int64")
    names = pa.array([None if i % 10 == 0 else f"s{i % 13}" for i in ids])
    return pa.table([ids, (ids % 7).astype("int32"), names], schema=SCHEMA)


class Query:
    """Some tables, and queries over them."""

    def __init__(self, partitions: int = 3, broadcast: Any = "off", **tables: Any) -> None:
        self.inputs = {name: graph.table_input(one, name) for name, one in tables.items()}
        self.described = {name: one.description(name) for name, one in self.inputs.items()}
        settings = Settings(target_partitions=partitions, broadcast=broadcast)
        self.planner = Planner(self.described, {}, (), settings)

    def plan(self, sql: str) -> DistributedPlan:
        return self.planner.plan(sql)

    def frame(self, sql: str, label: str = "sql") -> Any:
        return graph.query_frame(self.plan(sql), self.inputs, label)

    def tables(self, sql: str) -> graph.QueryTables:
        return graph.QueryTables(self.plan(sql), self.inputs)

    def rows(self, sql: str, **kwargs: Any) -> list[dict[str, Any]]:
        return self.tables(sql).compute(**kwargs).to_pylist()


class Calls:
    """What sources were asked: lines of a file, as their classes travel by value."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clear()

    def clear(self) -> None:
        self.path.write_text("")

    @property
    def counts(self) -> Counter[Any]:
        return Counter(ast.literal_eval(line) for line in self.path.read_text().splitlines())


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(tmp_path / "calls")


def note(options: Any, what: Any) -> int:
    """Write a line, if there is a file for them, and return how often it is there."""
    if "log" not in options:
        return 0
    with open(options["log"], "a+") as log:
        log.write(f"{what!r}\n")
        log.flush()
        log.seek(0)
        return log.read().splitlines().count(repr(what))


class Plain:
    """Four partitions of 250 rows, each in batches of 60."""

    def infer_schema(self, options: Any) -> pa.Schema:
        return SCHEMA

    def plan_partitions(self, options: Any) -> list[dict[str, Any]]:
        return [{"start": start} for start in range(0, ROWS, 250)]

    def read_partition(self, spec: Any, options: Any) -> Iterator[pa.RecordBatch]:
        note(options, ("read", spec["start"]))
        start = spec["start"]
        yield from rows_of(range(start, start + 250)).to_batches(max_chunksize=60)


class Scanning(Plain):
    """One that is asked for columns, conditions and limits."""

    def plan_scan(self, specs: Any, options: Any, scan: Scan) -> Any:
        note(options, ("plan", scan.columns, tuple(map(str, scan.predicates))))
        low = max((p.value for p in scan.predicates if p.op in (">", ">=")), default=0)
        return [spec for spec in specs if spec["start"] + 250 > low], ()

    def scan_partition(self, spec: Any, options: Any, scan: Scan) -> Iterator[pa.RecordBatch]:
        note(options, ("scan", spec["start"], scan.columns, scan.limit))
        start = spec["start"]
        table = rows_of(range(start, start + 250)).select(list(scan.columns))
        yield from table.to_batches(max_chunksize=60)


EXPECTED = rows_of(range(ROWS))


def test_a_source_is_read_once_piece_by_piece(calls: Calls, monkeypatch: Any) -> None:
    monkeypatch.setattr(tasks, "PIECE_ROWS", 100)
    query = Query(t=dd.read_python_source(Plain, log=calls.path))
    plan = query.plan("SELECT g, count(*) AS n, sum(id) AS x, count(s) AS k FROM t GROUP BY g")
    assert plan.stages[0].chunked
    found = graph.QueryTables(plan, query.inputs).compute().sort_by("g")
    grouped = EXPECTED.group_by("g").aggregate([("id", "count"), ("id", "sum"), ("s", "count")])
    expected = grouped.sort_by("g").rename_columns(["g", "n", "x", "k"])
    assert found.to_pylist() == expected.to_pylist()
    assert calls.counts == {("read", start): 1 for start in range(0, ROWS, 250)}


def test_columns_conditions_and_limits_reach_the_source(calls: Calls) -> None:
    query = Query(t=dd.read_python_source(Scanning, log=calls.path))
    assert query.rows("SELECT sum(g) AS x FROM t WHERE id >= 700") == [
        {"x": pc.sum(EXPECTED["g"].slice(700)).as_py()}
    ]
    ((_, columns, predicates),) = [key for key in calls.counts if key[0] == "plan"]
    assert (set(columns), predicates) == ({"id", "g"}, ("id >= 700",))
    assert sorted(key[1] for key in calls.counts if key[0] == "scan") == [500, 750]
    calls.clear()
    assert len(query.rows("SELECT s FROM t LIMIT 3")) == 3
    assert {key[2:] for key in calls.counts if key[0] == "scan"} == {(("s",), 3)}


def test_limits_hold_for_frames_and_tables_too() -> None:
    frame = dd.from_pandas(EXPECTED.to_pandas(types_mapper=pd.ArrowDtype), npartitions=4)
    for table in (frame, EXPECTED):
        query = Query(t=table)
        assert len(query.rows("SELECT id FROM t LIMIT 3")) == 3
        figures = graph.analyze(query.plan("SELECT id FROM t LIMIT 3"), query.inputs)
        assert sum(one.rows_in for one in figures) < 50


def test_a_transient_fault_reads_and_runs_the_partition_anew(
    calls: Calls, monkeypatch: Any
) -> None:
    monkeypatch.setattr(tasks, "PIECE_ROWS", 100)

    class Failing(Plain):
        def read_partition(self, spec: Any, options: Any) -> Iterator[pa.RecordBatch]:
            attempt = note(options, ("read", spec["start"]))
            start = spec["start"]
            for i, batch in enumerate(rows_of(range(start, start + 250)).to_batches(60)):
                if i == 3 and attempt == 1:
                    raise ConnectionResetError("gone")
                yield batch

    query = Query(t=dd.read_python_source(Failing, log=calls.path))
    assert query.rows("SELECT count(*) AS n, sum(id) AS x FROM t") == [
        {"n": ROWS, "x": sum(range(ROWS))}
    ]
    assert set(calls.counts.values()) == {2}


def test_what_two_queries_have_in_common_is_computed_once(calls: Calls) -> None:
    query = Query(t=dd.read_python_source(Plain, log=calls.path))
    inner = "(SELECT g, sum(id) AS x FROM t GROUP BY g)"
    one = query.frame(f"SELECT sum(x) AS y FROM {inner}")
    two = query.frame(f"SELECT count(x) AS n FROM {inner} WHERE x > 0")
    a, b = dask.compute(one, two)
    assert a["y"].tolist() == [sum(range(ROWS))]
    assert b["n"].tolist() == [7]
    assert set(calls.counts.values()) == {1}


def test_one_snapshot_for_all_tables_of_one_computation(calls: Calls) -> None:
    class Kept:
        def __init__(self, options: Any) -> None:
            self.options = options
            self.name = f"state {note(options, 'opened')}"

        def close(self) -> None:
            note(self.options, "closed")

    class WithSnapshot(Plain):
        def wants_snapshot(self, options: Any) -> bool:
            return True

        def open_snapshot(self, options: Any) -> Kept:
            return Kept(options)

        def scan_partition(self, spec: Any, options: Any, scan: Scan) -> Iterator[pa.RecordBatch]:
            note(options, ("seen", scan.snapshot))
            yield from (
                rows_of(range(spec["start"], spec["start"] + 250))
                .select(list(scan.columns))
                .to_batches()
            )

    query = Query(t=dd.read_python_source(WithSnapshot, log=calls.path))
    sql = "SELECT count(*) AS n FROM t a JOIN t b ON a.id = b.id WHERE b.g > 2"
    for computation in (1, 2):
        assert query.rows(sql) == [{"n": sum(i % 7 > 2 for i in range(ROWS))}]
        assert calls.counts["opened"] == computation
        assert calls.counts["seen", f"state {computation}"] == 8


def test_no_secret_is_in_the_graph_its_text_or_an_error() -> None:
    class Secretive(Plain):
        def read_partition(self, spec: Any, options: Any) -> Iterator[pa.RecordBatch]:
            raise ValueError(f"cannot log in with {options['password']}")

    frame = Query(t=dd.read_python_source(Secretive, password="hunter2x")).frame("SELECT id FROM t")
    shown = [
        repr(frame),
        str(frame.expr),
        repr(frame.expr),
        frame.expr.tree_repr(),
        str(frame.dask),
    ]
    assert not any("hunter2x" in text for text in shown)
    with pytest.raises(dask_sail.PartitionReadError) as caught:
        frame.compute()
    assert "hunter2x" not in str(caught.value)


def test_a_source_without_partitions_has_no_rows() -> None:
    class Nothing(Plain):
        def plan_partitions(self, options: Any) -> list[dict[str, Any]]:
            return []

    query = Query(t=dd.read_python_source(Nothing))
    assert query.rows("SELECT count(*) AS n, sum(id) AS x FROM t") == [{"n": 0, "x": None}]
    assert query.rows("SELECT g, count(*) AS n FROM t GROUP BY g") == []


# Frames and tables


def test_any_frame_is_a_table() -> None:
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], "Int64"),
            "f": [1.5, float("nan"), 3.0],
            "o": pd.Series(["a", None, "c"], dtype=object),
            "s": pd.Series(["a", None, "c"], dtype="str"),
            "c": pd.Categorical(["x", "y", "x"]),
            "t": pd.to_datetime(["2024-01-01", None, "2024-01-03"]),
            "a": pd.array([1, None, 3], pd.ArrowDtype(pa.int8())),
        },
        index=pd.Index([10, 20, 30], name="gone"),
    )
    query = Query(t=frame, d=dd.from_pandas(frame, npartitions=2))
    local, distributed = (
        query.tables(f"SELECT * FROM {name} ORDER BY i").compute() for name in "td"
    )
    assert local.column_names == list("ifosCta".lower())
    assert local.to_pylist() == distributed.to_pylist()
    assert local["f"].to_pylist() == [1.5, 3.0, None]  # as pandas means it: NaN is missing there
    assert local["c"].to_pylist() == ["x", "x", "y"]
    assert query.rows("SELECT count(*) AS n FROM d") == [{"n": 3}]


@pytest.mark.parametrize(
    ("frame", "error", "says"),
    [
        (pd.DataFrame({0: [1]}), SchemaError, "names that are no str"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), SchemaError, "several columns are called 'a'"),
        (pd.DataFrame({"ok": [1], "odd": [1 + 2j]}), BatchError, "column 'odd' holds values"),
        (pd.DataFrame({"mixed": [1, "x"]}), BatchError, "column 'mixed' holds values"),
    ],
)
def test_a_frame_that_is_no_table_is_refused_by_name(frame: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        graph.table_input(frame, "t")
    assert str(caught.value).startswith("t: ")


def test_something_else_is_no_table() -> None:
    with pytest.raises(TypeError, match=r"t must be a Dask DataFrame.*got a builtins\.list"):
        graph.table_input([1], "t")


def test_a_partition_that_breaks_its_frames_word_is_refused() -> None:
    meta = pd.DataFrame({"a": pd.array([], pd.ArrowDtype(pa.int64()))})

    def part(i: int) -> pd.DataFrame:
        return pd.DataFrame({"a": [0.5 + i]})

    query = Query(t=dd.from_map(part, [0, 1], meta=meta))
    with pytest.raises(BatchError, match="t: column 'a' came as double, and the schema says int64"):
        query.rows("SELECT sum(a) FROM t")


def test_local_rows_travel_without_the_table_they_are_cut_from() -> None:
    rows = tasks.LocalRows(rows_of(range(100_000)).slice(500, 10))
    data = pickle.dumps(rows, 5)
    assert len(data) < 3_000
    assert pickle.loads(data).table.equals(rows.table)


# Results


def test_the_result_is_a_plain_dask_dataframe(tmp_path: Path) -> None:
    query = Query(partitions=3, t=dd.read_python_source(Plain))
    frame = query.frame("SELECT g, sum(id) AS x FROM t GROUP BY g", "totals")
    assert isinstance(frame, dd.DataFrame)
    assert frame.npartitions == 3
    assert list(frame.dtypes) == [pd.ArrowDtype(pa.int32()), pd.ArrowDtype(pa.int64())]
    assert len(frame) == 7
    assert "totals" in repr(frame)
    names = pd.DataFrame(
        {"g": pd.array(range(7), pd.ArrowDtype(pa.int32())), "name": list("abcdefg")}
    )
    merged = frame.merge(dd.from_pandas(names, npartitions=2), on="g").compute()
    assert dict(zip(merged["name"], merged["x"], strict=True)) == {
        name: sum(range(g, ROWS, 7)) for g, name in enumerate("abcdefg")
    }
    kept = frame.persist()
    assert kept.x.sum().compute() == sum(range(ROWS))
    assert len(frame.head(2, npartitions=-1)) == 2
    assert frame.partitions[1].compute().equals(frame.get_partition(1).compute())
    frame.to_parquet(tmp_path)
    assert dd.read_parquet(tmp_path).x.sum().compute() == sum(range(ROWS))


def test_a_result_is_a_table_of_another_query() -> None:
    first = Query(t=dd.read_python_source(Plain)).frame("SELECT g, sum(id) AS x FROM t GROUP BY g")
    assert Query(partitions=2, r=first).rows("SELECT max(x) AS m FROM r WHERE g <> 6") == [
        {"m": max(sum(range(g, ROWS, 7)) for g in range(6))}
    ]


def test_names_that_are_there_twice_are_refused_in_frames_and_kept_in_arrow() -> None:
    query = Query(t=EXPECTED)
    sql = "SELECT a.id, b.id FROM t a JOIN t b ON a.id = b.id + 1 WHERE a.id < 3"
    with pytest.raises(SQLError, match=r"several columns called 'id'.*by AS"):
        query.frame(sql)
    assert query.tables(sql).compute().column_names == ["id", "id"]


def test_batches_come_in_order_and_are_those_of_the_whole(calls: Calls) -> None:
    query = Query(partitions=20, t=dd.read_python_source(Plain, log=calls.path))
    tables = query.tables("SELECT g, id FROM t WHERE id % 3 = 0")
    batches = tables.batches()
    first = next(batches)
    assert first.column("id").to_pylist()[0] == 0
    found = pa.Table.from_batches([first, *batches])
    assert found["id"].to_pylist() == list(range(0, ROWS, 3))
    calls.clear()
    exchanged = query.tables("SELECT id, count(*) AS n FROM t GROUP BY id")
    assert sorted(r for b in exchanged.batches() for r in b.column("id").to_pylist()) == list(
        range(ROWS)
    )
    assert set(calls.counts.values()) == {1}, "the source was read again for each window"


def test_figures_of_each_stage_add_up() -> None:
    query = Query(partitions=20, t=dd.read_python_source(Plain))
    plan = query.plan("SELECT id, count(*) AS n FROM t GROUP BY id")
    first, last = graph.analyze(plan, query.inputs)
    assert (first.tasks, first.rows_in, first.rows_out) == (4, ROWS, ROWS)
    assert (last.tasks, last.rows_in, last.rows_out) == (20, ROWS, ROWS)
    assert last.bytes_out == ROWS * 16
    assert 0 < first.slowest <= first.seconds


RECURSIVE = """
    WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5)
    SELECT count(*) AS c, sum(t.id) AS x FROM r JOIN t ON t.id = r.n
"""


def test_a_query_that_cannot_be_cut_runs_whole_up_to_a_limit(monkeypatch: Any) -> None:
    query = Query(t=dd.read_python_source(Plain))
    assert query.plan(RECURSIVE).fallback
    assert query.rows(RECURSIVE) == [{"c": 5, "x": 15}]
    monkeypatch.setattr(tasks, "room_of_this_task", lambda: (10_000, "/tmp"))
    with pytest.raises(SQLExecutionError, match=r"whole in one task \(.*recursive.*\).*more than"):
        query.rows(RECURSIVE)


def test_a_python_function_reaches_every_stage() -> None:
    double = PythonFunction.scalar("twice", lambda a: pc.multiply(a, 2), [pa.int64()], pa.int64())
    table = graph.table_input(EXPECTED)
    described = {"t": table.description("t")}
    plan = Planner(described, {}, [double], Settings(target_partitions=2)).plan(
        "SELECT sum(twice(id)) AS x FROM t"
    )
    found = graph.QueryTables(plan, {"t": table}).compute().to_pylist()
    assert found == [{"x": 2 * sum(range(ROWS))}]


@pytest.mark.parametrize("partitions", [4, 16, 17, 40])
def test_many_partitions_take_tasks_of_about_n_to_the_one_and_a_half(partitions: int) -> None:
    frame = dd.from_map(
        lambda i: rows_of(range(i * 10, i * 10 + 10)).to_pandas(types_mapper=pd.ArrowDtype),
        range(partitions),
        meta=SCHEMA.empty_table().to_pandas(types_mapper=pd.ArrowDtype),
    )
    query = Query(partitions=partitions, t=frame)
    result = query.frame("SELECT id, count(*) AS n FROM t GROUP BY id")
    size = len(result.optimize().dask)
    assert size < 2.6 * partitions**1.5 + 6 * partitions + 10 or partitions <= 16
    assert size <= partitions**2 + 5 * partitions + 10
    assert sorted(result.compute()["id"]) == list(range(partitions * 10))
