"""Planning: its cache, its refusals, its fallbacks, and its trust in DataFusion's bytes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time

import datafusion
import pyarrow as pa
import pytest

from dask_sail.sqlengine import catalog, stages, versions
from dask_sail.sqlengine.errors import SQLError, SQLVersionError
from dask_sail.sqlengine.functions import PythonFunction
from dask_sail.sqlengine.splice import Template


@pytest.fixture
def planner(in_process, corpus):
    return in_process.planner_over(corpus.tables(), views={"few": "SELECT id FROM t WHERE id < 9"})


def test_a_plan_is_a_plain_value(planner):
    plan = planner.plan(
        "SELECT t.g, count(*) FROM t JOIN u ON t.g = u.g WHERE t.x < 3 GROUP BY t.g"
    )
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert plan.schema == pa.schema({"g": pa.int64(), "count(*)": pa.int64()})
    assert plan.fingerprint == versions.fingerprint()
    assert plan.fallback is None


def test_a_plan_holds_no_path_of_this_machine(planner):
    plan = planner.plan("SELECT t.g, sum(u.x + 1) FROM t JOIN u ON t.g = u.g GROUP BY t.g")
    assert b"dask_sail-" not in pickle.dumps(plan)


def test_planning_again_costs_nothing(planner):
    sql = "SELECT g, count(*) FROM t GROUP BY g"
    first = planner.plan(sql)
    start = time.perf_counter()
    assert planner.plan(sql) is first
    assert time.perf_counter() - start < 0.002


def test_what_planning_makes_of_the_clock_is_not_kept(planner):
    sql = "SELECT now() AS n, id FROM t LIMIT 1"
    assert planner.plan(sql) is not planner.plan(sql)


def test_schema_and_logical_plan(planner):
    sql = "SELECT id AS k, s FROM t WHERE id > 3"
    assert planner.schema(sql) == pa.schema({"k": pa.int64(), "s": pa.string()})
    assert "TableScan: t" in planner.logical(sql)


def test_a_result_may_name_two_columns_alike(planner, in_process, corpus):
    got = in_process.answer(planner, corpus.tables(), "SELECT u.id, e.id FROM u, e")
    assert got.schema.names == ["id", "id"]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT nothing FROM t", "nothing"),
        ("SELECT id FROM missing", "missing"),
        ("SELECT ID FROM t", "ID"),  # spelt as it is not
        ("SELEC id", "SELEC"),
        ("SELECT id FROM t; SELECT 2", "single SQL statement"),
        ("CREATE TABLE x AS SELECT 1", "DDL not supported"),
        ("DROP TABLE t", "DDL not supported"),
        ("INSERT INTO t SELECT * FROM t", "DML not supported"),
        ("SET datafusion.execution.batch_size = 1", "Statement not supported"),
    ],
)
def test_what_is_no_query_is_refused_in_the_words_of_datafusion(sql, message, planner):
    with pytest.raises(ValueError, match=message):
        planner.plan(sql)


def test_explain_is_refused(planner):
    with pytest.raises(SQLError, match="EXPLAIN is no query"):
        planner.plan("EXPLAIN SELECT 1")


def test_names_may_hold_anything(in_process):
    name = 'My "t".x; --'
    part = pa.table({'a "b"': [1, 2], "A": [3, 4], "ä ö": [5, 6]})
    planner = in_process.planner_over({name: [part, part]})
    sql = 'SELECT "a ""b""", "A", "ä ö" + 1 AS p FROM "My ""t"".x; --" WHERE "A" > 3'
    got = in_process.answer(planner, {name: [part, part]}, sql)
    assert got.to_pylist() == [{'a "b"': 2, "A": 4, "p": 7}] * 2


def test_types_come_through(in_process):
    part = pa.table(
        {
            "view": pa.array(["a", None], pa.string_view()),
            "large": pa.array(["a", None], pa.large_string()),
            "half": pa.array([1.5, None], pa.float16()),
            "time": pa.array([1, None], pa.time64("ns")),
            "gap": pa.array([1, None], pa.duration("ms")),
            "zoned": pa.array([1, None], pa.timestamp("ns", "Europe/Vienna")),
            "wide": pa.array([1, None], pa.decimal256(60, 5)),
            "fixed": pa.array([b"ab", None], pa.binary(2)),
            "nested": pa.array([{"a": [1, None]}, None], pa.struct({"a": pa.list_(pa.int8())})),
            "nothing": pa.nulls(2),
        }
    )
    planner = in_process.planner_over({"t": [part, part.slice(0, 0), part]})
    got = in_process.answer(planner, {"t": [part, part.slice(0, 0), part]}, "SELECT * FROM t")
    assert got == pa.concat_tables([part, part])
    assert got.schema == part.schema


# Fallbacks


def test_an_error_in_cutting_means_that_the_query_runs_whole(planner, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("bytes that nobody expected\nPlan: with all its values")

    assert versions.doubt() is None
    monkeypatch.setattr(Template, "compile", refuse)
    plan = planner.plan("SELECT few.id, t.s FROM few JOIN t ON few.id = t.id")
    assert plan.fallback == "the plan cannot be cut: bytes that nobody expected"
    assert plan.stages == ()
    assert {scan.table: len(scan.columns) for scan in plan.scans} == {"t": 10}
    assert [table.name for table in plan.tables] == ["t", "u", "e"]
    assert plan.views == {"few": "SELECT id FROM t WHERE id < 9"}
    assert plan.schema.names == ["id", "s"]


def test_stages_of_other_types_than_the_query_has_are_not_trusted(planner, monkeypatch):
    monkeypatch.setattr(stages, "schema_of", lambda cut: pa.schema({"id": pa.int32()}))
    assert "in place of" in planner.plan("SELECT id FROM t").fallback


# Trust


def test_an_untested_version_runs_queries_whole_and_says_so(planner, monkeypatch):
    monkeypatch.setattr(versions, "TESTED", ("54.0.0",))
    versions.doubt.cache_clear()
    try:
        with pytest.warns(UserWarning, match="not among the tested versions"):
            plan = planner.plan("SELECT id FROM t")
    finally:
        versions.doubt.cache_clear()
    assert datafusion.__version__ in plan.fallback


def test_a_process_that_splices_wrongly_is_found(monkeypatch):
    versions.doubt.cache_clear()
    rows = versions._rows
    monkeypatch.setattr(versions, "_spliced", lambda before, after: versions._native(rows(0)))
    try:
        assert "wrongly" in versions.doubt()
    finally:
        versions.doubt.cache_clear()


def test_this_version_is_trusted():
    assert versions.doubt() is None


def test_the_fingerprint_is_the_same_in_another_process():
    code = "from dask_sail.sqlengine import versions; print(versions.fingerprint())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == versions.fingerprint()
    versions.check(versions.fingerprint())


def test_another_fingerprint_names_the_process_and_both_versions():
    with pytest.raises(SQLVersionError) as caught:
        versions.check("54.0.0 (0123456789ab)")
    message = str(caught.value)
    assert f"process {os.getpid()}" in message
    assert "54.0.0 (0123456789ab)" in message
    assert versions.fingerprint() in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


# Tables without data


def test_empty_files_are_gone_after_the_process(in_process, corpus, tmp_path):
    code = (
        "import pyarrow as pa\n"
        "from dask_sail.sqlengine.plan import Settings, TableDescription\n"
        "from dask_sail.sqlengine.planner import Planner\n"
        "t = TableDescription(name='t', schema=pa.schema({'a': pa.int64()}), partitions=2)\n"
        "print(Planner({'t': t}, {}, (), Settings(target_partitions=2)).plan('SELECT a FROM t'))\n"
        "import os; assert os.listdir(os.environ['TMPDIR'])\n"
    )
    env = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, capture_output=True)
    assert list(tmp_path.iterdir()) == []


def test_empty_files_that_were_cleaned_away_are_made_again(in_process, corpus):
    import shutil

    in_process.planner_over(corpus.tables()).plan("SELECT id FROM t")
    shutil.rmtree(catalog._root())
    again = in_process.planner_over(corpus.tables())
    assert again.plan("SELECT id, s FROM t").fallback is None


def test_functions_travel_by_name(in_process, corpus):
    function = PythonFunction.scalar("dbl", corpus.double, [pa.float64()], pa.float64())
    planner = in_process.planner_over(corpus.tables(), functions=[function])
    plan = planner.plan("SELECT dbl(x) FROM t WHERE dbl(x) < 3")
    assert plan.functions == (function,)
    assert b"pickle" not in pickle.dumps(plan.stages)
    assert "pickled" not in repr(plan)


def test_a_query_has_the_same_keys_whoever_plans_it(in_process, corpus):
    for sql in (
        "SELECT id, s FROM t ORDER BY id LIMIT 3",
        "SELECT g, count(*) FROM t JOIN u USING (g) GROUP BY g ORDER BY 2 DESC, g LIMIT 2",
        "SELECT * FROM (SELECT id FROM t ORDER BY id LIMIT 3) UNION ALL "
        "(SELECT id FROM u ORDER BY id DESC LIMIT 2)",
    ):
        first, second = (in_process.planner_over(corpus.tables()).plan(sql) for _ in range(2))
        assert first == second
        wanted = corpus.datafusion_reference(corpus.whole_tables()).sql(sql).to_arrow_table()
        planner = in_process.planner_over(corpus.tables())
        corpus.compare(in_process.answer(planner, corpus.tables(), sql), wanted, sql)
