"""Stages as tasks run them: what goes in and comes out, and what would be wrong without a sign."""

from __future__ import annotations

import datetime as dt
import gc
import pickle
import resource
import signal
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import dask_sail
from dask_sail.sqlengine import leaves, versions
from dask_sail.sqlengine.errors import SQLExecutionError
from dask_sail.sqlengine.exchange import compact
from dask_sail.sqlengine.functions import PythonFunction
from dask_sail.sqlengine.plan import DistributedPlan, Settings, Stage, TableDescription
from dask_sail.sqlengine.planner import Planner
from dask_sail.sqlengine.run_stage import Room, StageRun, run_stage


def planned(
    sql: str,
    tables: dict[str, pa.Schema],
    partitions: int = 3,
    functions: Sequence[PythonFunction] = (),
) -> DistributedPlan:
    described = {
        name: TableDescription(name=name, schema=schema, partitions=partitions)
        for name, schema in tables.items()
    }
    settings = Settings(target_partitions=partitions, broadcast="off")
    plan = Planner(described, {}, functions, settings).plan(sql)
    assert plan.fallback is None, plan.fallback
    return plan


def run(
    stage: Stage, *inputs: Any, room: Room | None = None, functions: Sequence[PythonFunction] = ()
) -> list[pa.Table]:
    given = dict(zip(stage.inputs, inputs, strict=True))
    return run_stage(stage, versions.fingerprint(), functions, given, room)


ROWS = 40_000  # more than one batch


def everything() -> pa.Table:
    """A column of each type that frames carry, with nulls, of several batches."""
    base = dt.datetime(2024, 2, 29, 23, 59, 59)

    def of(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([values[i % len(values)] for i in range(ROWS)], kind)

    return pa.table(
        {
            "id": pa.array(range(ROWS), pa.int64()),
            "i8": of([1, None, -128], pa.int8()),
            "u64": of([2**64 - 1, None], pa.uint64()),
            "f16": of([np.float16(1.5), None], pa.float16()),
            "f64": of([1.5, None, float("nan"), -0.0], pa.float64()),
            "b": of([True, None, False], pa.bool_()),
            "dec": of([Decimal("1.10"), None], pa.decimal128(38, 2)),
            "big": of([Decimal("1.10"), None], pa.decimal256(60, 2)),
            "s": of(["ä", None, "", "x" * 40], pa.string()),
            "ls": of(["ä", None], pa.large_string()),
            "bin": of([b"\0", None], pa.binary()),
            "fix": of([b"ab", None], pa.binary(2)),
            "d32": of([base.date(), None], pa.date32()),
            "t64": of([base.time(), None], pa.time64("us")),
            "ts": of([base, None], pa.timestamp("ns")),
            "tz": of([base, None], pa.timestamp("us", "Europe/Berlin")),
            "dur": of([dt.timedelta(1), None], pa.duration("ms")),
            "list": of([[1, None], None, []], pa.list_(pa.int32())),
            "fsl": of([[1, 2], None], pa.list_(pa.int32(), 2)),
            "struct": of(
                [{"a": 1, "b": ["x"]}, None],
                pa.struct({"a": pa.int8(), "b": pa.list_(pa.string())}),
            ),
            "map": of([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
            "null": pa.nulls(ROWS),
        }
    )


def bits(table: pa.Table) -> pa.Table:
    """The same rows with floats as the bits that they are: NaN equals nothing, itself included."""
    width = {pa.float16(): pa.int16(), pa.float64(): pa.int64()}
    columns = [
        pa.chunked_array([chunk.view(width.get(c.type, c.type)) for chunk in c.chunks])
        if c.type in width
        else c
        for c in table.columns
    ]
    return pa.table(columns, names=table.column_names)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return everything()


def filtered(table: pa.Table, *partitions: list[pa.Table]) -> pa.Table:
    plan = planned("SELECT * FROM t WHERE id >= 0", {"t": table.schema})
    (stage,) = plan.stages
    (out,) = run(stage, list(partitions))
    return out


def test_every_type_comes_through_a_leaf_unchanged(table: pa.Table) -> None:
    out = filtered(table, [table])
    assert out.schema.equals(table.schema, check_metadata=True)
    assert bits(out).equals(bits(table))


def test_chunks_slices_and_several_tables_are_one_partition(table: pa.Table) -> None:
    pieces = [table.slice(0, 1), table.slice(1, 32_000), table.slice(32_001)]
    chunked = pa.concat_tables([table.slice(i, 7_001) for i in range(0, ROWS, 7_001)])
    assert bits(filtered(table, pieces)).equals(bits(table))
    assert bits(filtered(table, [chunked])).equals(bits(table))
    assert filtered(table, [table.schema.empty_table()]).equals(table.schema.empty_table())
    assert filtered(table, []).equals(table.schema.empty_table())


def askew(array: pa.Array) -> pa.Array:
    """The same array, its buffers an odd number of bytes off, as those off a network are."""
    buffers = [
        None if one is None else pa.py_buffer(b"\0" + one.to_pybytes()).slice(1)
        for one in array.buffers()
    ]
    return pa.Array.from_buffers(array.type, len(array), buffers, array.null_count, array.offset)


def test_misaligned_buffers_are_read_as_they_are(table: pa.Table) -> None:
    flat = table.select(["id", "f64", "dec", "s", "ts"])
    moved = pa.table([askew(column.chunk(0)) for column in flat.columns], schema=flat.schema)
    assert moved.column(0).chunk(0).buffers()[1].address % 8
    assert bits(filtered(flat, [moved])).equals(bits(flat))


def test_rows_without_columns_are_counted() -> None:
    plan = planned("SELECT count(*) FROM t", {"t": pa.schema([("a", pa.int64())])})
    first, last = plan.stages
    (hole,) = first.inputs.values()
    assert hole.schema.names == []
    counts = [run(first, [[pa.table({"a": range(n)})]])[0] for n in (0, 70_000)]
    assert run(
        last,
        [[one] for one in counts] if next(iter(last.inputs.values())).mode == "all" else [counts],
    )[0].to_pydict() == {"count(*)": [70_000]}


def test_an_exchange_gives_each_key_one_place_whatever_its_table_is_cut_into() -> None:
    rows = 100_000
    keys = pa.array([None if i % 11 == 0 else i % 1000 for i in range(rows)])
    table = pa.table({"k": keys, "v": pa.array(range(rows))})
    plan = planned("SELECT k, array_agg(v) AS vs FROM t GROUP BY k", {"t": table.schema}, 5)
    stage = plan.stages[0]
    assert (stage.exchange, stage.outputs) == ("hash", 5)
    whole = run(stage, [[table]])
    parts = [run(stage, [[table.slice(i, 33_333)]]) for i in range(0, rows, 33_333)]
    places: dict[Any, int] = {}
    for outputs in (whole, *parts):
        for place, output in enumerate(outputs):
            for key in output.column(0).to_pylist():
                assert places.setdefault(key, place) == place
    assert len(set(places.values())) == 5
    assert sum(map(len, whole[0].column(1).to_pylist())) > 0
    assert sum(len(vs) for one in whole for vs in one.column(1).to_pylist()) == rows


def test_what_comes_out_keeps_nothing_of_what_went_in() -> None:
    gc.collect()
    before = pa.total_allocated_bytes()
    table = pa.table({"a": pa.array(range(3_000_000)), "s": pa.array(["x" * 20] * 3_000_000)})
    plan = planned("SELECT a, s FROM t WHERE a % 300000 = 1", {"t": table.schema})
    out = run(plan.stages[0], [[table]])
    del table
    gc.collect()
    assert out[0].num_rows == 10
    assert pa.total_allocated_bytes() - before < 1 << 20
    assert len(pickle.dumps(out, 5)) < 10_000


def test_compact_tables_are_theirs_alone_views_too() -> None:
    texts = pa.array(["long enough to be no inline view " + str(i) for i in range(100_000)])
    table = pa.table(
        {"v": texts.cast(pa.string_view()), "s": texts, "l": [[i] for i in range(100_000)]}
    )
    small = compact(table.slice(50, 3))
    assert small.equals(table.slice(50, 3))
    assert small.schema.equals(table.schema)
    assert sum(b.size for c in small.columns for b in c.chunk(0).buffers() if b) < 2_000


def test_names_that_are_there_twice_stay_two_columns() -> None:
    schema = pa.schema([("id", pa.int64()), ('odd "name"', pa.string())])
    sql = 'SELECT a.id, b.id, a."odd ""name""" FROM t a JOIN t b ON a.id = b.id + 1'
    plan = planned(sql, {"t": schema}, 2)
    rows = pa.table([range(10), [f"n{i}" for i in range(10)]], schema=schema)
    *exchanges, join = plan.stages
    sides = [
        run(stage, [[rows.select(hole.schema.names)]])
        for stage in exchanges
        for hole in stage.inputs.values()
    ]
    out = [run(join, [[sides[0][j]]], [[sides[-1][j]]])[0] for j in range(2)]
    found = pa.concat_tables(out)
    assert found.schema.names == plan.schema.names
    assert len(found) == 9
    assert found.column(0).to_pylist() == [i + 1 for i in found.column(1).to_pylist()]


def test_python_functions_run_by_name() -> None:
    double = PythonFunction.scalar(
        "twice", lambda a: pa.compute.multiply(a, 2), [pa.int64()], pa.int64()
    )
    schema = pa.schema([("a", pa.int64())])
    plan = planned("SELECT twice(a) AS b FROM t", {"t": schema}, functions=[double])
    out = run(plan.stages[0], [[pa.table({"a": [1, None, 3]})]], functions=[double])
    assert out[0].to_pydict() == {"b": [2, None, 6]}


def test_a_python_function_that_raises_is_quoted_without_our_own_frames() -> None:
    def broken(a: pa.Array) -> pa.Array:
        raise LookupError("no such rate, sorry")

    function = PythonFunction.scalar("rate", broken, [pa.int64()], pa.int64())
    plan = planned(
        "SELECT rate(a) AS b FROM t", {"t": pa.schema([("a", pa.int64())])}, 3, [function]
    )
    with pytest.raises(SQLExecutionError) as caught:
        run(plan.stages[0], [[pa.table({"a": [1]})]], functions=[function])
    said = str(caught.value)
    assert "function 'rate' raised LookupError('no such rate, sorry')" in said
    assert "File" not in said


# Errors


def test_an_error_names_the_stage_and_comes_back_whole_from_pickle() -> None:
    plan = planned("SELECT 10 / a AS q FROM t", {"t": pa.schema([("a", pa.int64())])})
    with pytest.raises(SQLExecutionError) as caught:
        run(plan.stages[0], [[pa.table({"a": [1, 0]})]])
    assert "Divide by zero" in str(caught.value)
    assert caught.value.stage == plan.stages[0].name
    assert caught.value.__context__ is None
    back = pickle.loads(pickle.dumps(caught.value))
    assert (type(back), str(back)) == (SQLExecutionError, str(caught.value))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pa.table({"a": ["text"]}), "column 'a' came as string, and the plan says int64"),
        (pa.table({"a": [1], "b": [2]}), "came with 2 columns in place of 1"),
    ],
)
def test_rows_of_other_columns_are_refused(table: pa.Table, says: str) -> None:
    plan = planned("SELECT a FROM t WHERE a > 0", {"t": pa.schema([("a", pa.int64())])})
    with pytest.raises(SQLExecutionError, match=says):
        run(plan.stages[0], [[table]])


def test_a_result_of_other_types_than_planned_is_no_result() -> None:
    plan = planned("SELECT a + 1 AS b FROM t", {"t": pa.schema([("a", pa.int64())])})
    wrong = replace(plan.stages[0], schema=pa.schema([("b", pa.int32())]))
    with pytest.raises(SQLExecutionError, match="types int64, and the plan says int32"):
        run(wrong, [[pa.table({"a": [1]})]])


def test_rows_that_a_plan_leaves_unread_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned("SELECT count(a) FROM t", {"t": pa.schema([("a", pa.int64())])})
    rows = pa.table({"a": range(100_000)})
    assert run(plan.stages[0], [[rows]])[0].column(0).to_pylist() == [100_000]
    # What no released DataFusion does: the leaf says 10 rows fewer than there are.
    counted = leaves._count_up
    monkeypatch.setattr(leaves, "_count_up", lambda rows: counted(max(rows - 10, 1)))
    with pytest.raises(SQLExecutionError, match="it took 99990 of 100000 rows"):
        run(plan.stages[0], [[rows]])


def test_an_exchange_that_loses_rows_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"k": range(1000)})
    plan = planned("SELECT k, count(*) FROM t GROUP BY k", {"t": table.schema}, 3)
    partition = StageRun._partition

    def lossy(self: StageRun, filled: Any, index: int) -> pa.Table:
        return partition(self, filled, index).slice(index)

    monkeypatch.setattr(StageRun, "_partition", lossy)
    with pytest.raises(SQLExecutionError, match="of 1000 rows 997 left the exchange"):
        run(plan.stages[0], [[table]])


def test_another_datafusion_is_named_by_the_process_that_has_it() -> None:
    plan = planned("SELECT a FROM t WHERE a > 0", {"t": pa.schema([("a", pa.int64())])})
    with pytest.raises(Exception, match=r"has DataFusion 55.*planned by 54\.0\.0 \(abc\)"):
        run_stage(plan.stages[0], "54.0.0 (abc)", (), {})


# Memory


def test_a_sort_larger_than_its_memory_spills_there_and_cleans_up(tmp_path: Path) -> None:
    rows = 2_000_000
    table = pa.table(
        {"a": pa.array(np.random.default_rng(1).permutation(rows)), "b": np.arange(rows)}
    )
    plan = planned("SELECT a, b FROM t ORDER BY a", {"t": table.schema}, 2)
    stage = next(one for one in plan.stages if "Sort" in one.operators)
    room = Room(memory=16 << 20, folder=str(tmp_path))
    seen: list[Path] = []
    with StageRun(stage, versions.fingerprint(), (), room) as run_:
        run_.add({name: [[table]] for name in stage.inputs})
        seen += tmp_path.rglob("*")
        out = run_.result()
    assert run_.figures.spills > 0
    assert run_.figures.spilled_bytes > 1 << 20
    assert seen, "spills went elsewhere"
    assert list(tmp_path.iterdir()) == []
    assert sum(one.num_rows for one in out) == rows
    assert all(np.all(np.diff(one.column(0).to_numpy()) > 0) for one in out)


def test_too_little_memory_says_what_to_raise(tmp_path: Path) -> None:
    table = pa.table({"a": np.arange(1_000_000)})
    plan = planned("SELECT count(*) FROM t x JOIN t y ON x.a = y.a", {"t": table.schema}, 2)
    join = next(stage for stage in plan.stages if "Join" in stage.operators)
    with pytest.raises(
        SQLExecutionError, match=r"(?s)exhausted.*Raise target_partitions"
    ) as caught:
        run(join, *[[[table]]] * len(join.inputs), room=Room(memory=1 << 20, folder=str(tmp_path)))
    assert str(tmp_path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_aggregate_larger_than_its_memory_spills_and_gives_every_group(tmp_path: Path) -> None:
    rows = 3_000_000
    keys = np.random.default_rng(2).permutation(rows) // 2 * 7_919  # each twice
    table = pa.table({"k": keys, "v": np.arange(rows)})
    sql = "SELECT k, count(*) AS n, sum(v) AS s, max(v) AS m FROM t GROUP BY k"
    plan = planned(sql, {"t": table.schema}, 2)
    partial, final = plan.stages
    states = pa.concat_tables(run(partial, [[table]]))
    room = Room(memory=48 << 20, folder=str(tmp_path))
    with StageRun(final, versions.fingerprint(), (), room) as run_:
        run_.add({name: [[states]] for name in final.inputs})
        (out,) = run_.result()
    assert run_.figures.spills > 0
    assert run_.figures.spilled_bytes > 1 << 20
    assert list(tmp_path.iterdir()) == []
    by_key = np.argsort(keys, kind="stable").reshape(-1, 2)
    wanted = pa.table(
        {
            "k": keys[by_key[:, 0]],
            "n": np.full(rows // 2, 2),
            "s": by_key.sum(axis=1),
            "m": by_key.max(axis=1),
        }
    )
    assert out.sort_by("k").equals(wanted)


def test_what_has_no_room_waits_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = everything()
    plan = planned("SELECT * FROM t", {"t": table.schema})
    (stage,) = plan.stages
    room = Room(memory=1 << 30, folder=str(tmp_path))
    expected = pa.concat_tables([table, table]).drop_columns("f64")
    for kept in (0, 3 << 20):
        monkeypatch.setattr(Room, "kept", kept)
        with StageRun(stage, versions.fingerprint(), (), room) as one:
            for piece in (table, table.slice(0, 0), table):
                one.add({next(iter(stage.inputs)): [[piece]]})
            assert len(list(tmp_path.rglob("outputs"))) == 1
            (got,) = one.result()
        assert one.figures.spilled_bytes > expected.nbytes / 2
        assert not list(tmp_path.iterdir())
        # Long after the file is gone.
        assert got.drop_columns("f64").cast(expected.schema).equals(expected)
        doubles = [float(x) for x in table["f64"].to_numpy(zero_copy_only=False)]
        assert np.array_equal(
            got["f64"].to_numpy(zero_copy_only=False), doubles + doubles, equal_nan=True
        )
    with StageRun(stage, versions.fingerprint(), (), room) as one:
        assert one.result()[0].num_rows == 0


@pytest.mark.parametrize("outputs", [3, 20])
def test_states_on_the_disk_reach_their_partition(
    monkeypatch: pytest.MonkeyPatch, outputs: int
) -> None:
    monkeypatch.setattr(Room, "kept", 0)
    count = 50_000
    pieces = [pa.table({"k": range(i * count, (i + 1) * count)}) for i in range(4)]
    table = pa.concat_tables(pieces)
    frame = dd.from_pandas(table.to_pandas(types_mapper=pd.ArrowDtype), npartitions=3)
    ctx = dask_sail.SQLContext({"t": frame}, target_partitions=outputs)
    sql = "SELECT k % 60000 AS k, count(*) AS n, sum(k) AS s, max(k) AS m FROM t GROUP BY 1"
    got = ctx.to_arrow(sql).sort_by("k")
    con = duckdb.connect()
    con.register("t", table)
    assert got.to_pylist() == con.execute(f"{sql} ORDER BY 1").to_arrow_table().to_pylist()


def test_a_disk_without_room_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Room, "kept", 0)
    plan = planned("SELECT * FROM t", {"t": everything().schema})
    (stage,) = plan.stages
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limit[1]))
    try:
        with pytest.raises(SQLExecutionError, match=r"no room in memory, and on the disk: .*large"):
            run(stage, [[everything()]], room=Room(memory=1 << 30, folder=str(tmp_path)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
