"""Reading DuckDB files: who has them open, how they are cut, what DuckDB filters."""

from __future__ import annotations

import datetime as dt
import math
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

import dask_sail  # noqa: F401 - attaches dd.read_python_source
from dask_sail.datasource import Scan
from dask_sail.predicate import Predicate
from jdbc import (
    ConnectError,
    EngineError,
    JDBCArrowDataSource,
    JDBCError,
    JDBCWarning,
    OptionError,
    QueryError,
)

ENGINES = ("adbc", "fallback")
SOURCE = JDBCArrowDataSource()
SLOW = """(
    SELECT count(*) AS i FROM range(10000000) a, range(10000000) b WHERE (a.range * b.range) % 7 = 3
) AS slow"""
ENDLESS = "(SELECT range AS i FROM range(1000000000000)) AS endless"


def make(path: Path | str, *statements: str) -> dict[str, str]:
    """Make a database and return its options."""
    with closing(duckdb.connect(str(path))) as db:
        for statement in statements:
            db.execute(statement)
    return {"url": f"jdbc:duckdb:{path}", "dbtable": "t"}


def scan(
    options: dict[str, str],
    columns: Sequence[str] | None = None,
    predicates: Sequence[Predicate] = (),
    limit: int | None = None,
) -> tuple[pa.Table, list[Predicate]]:
    """The rows that a scan gives, before what was not accepted is applied; and what was."""
    schema = SOURCE.infer_schema(options)
    wanted = Scan(schema, tuple(schema.names if columns is None else columns), tuple(predicates))
    specs, accepted = SOURCE.plan_scan(SOURCE.plan_partitions(options), options, wanted)
    wanted = Scan(schema, wanted.columns, wanted.predicates, limit)
    batches = [b for spec in specs for b in SOURCE.scan_partition(spec, options, wanted)]
    kept = pa.schema([schema.field(name) for name in wanted.columns])
    return pa.Table.from_batches(batches, schema=kept), accepted


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("seven") / "x.duckdb"
    return make(path, "CREATE TABLE t AS SELECT 7 AS i")


# ----------------------------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["plain.db", "a b#c%d&e=f", "grüße 🎉.duckdb", 'it\'s "q":x.db'])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    options = make(folder / name, "CREATE TABLE t AS SELECT 7 AS i")
    for engine in ENGINES:
        assert scan(options | {"engine": engine})[0]["i"].to_pylist() == [7]
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_relative_path_is_used_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "sqlite:x.db", "CREATE TABLE t AS SELECT 7 AS i")
    monkeypatch.chdir(tmp_path)
    table, _ = scan({"url": "jdbc:duckdb:sqlite:x.db", "dbtable": "t"})
    assert table["i"].to_pylist() == [7]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_file_is_an_error_and_stays_missing(tmp_path: Path, engine: str) -> None:
    options = make(tmp_path / "x.db", "CREATE TABLE t AS SELECT 7 AS i") | {"engine": engine}
    (spec,) = SOURCE.plan_partitions(options)
    (tmp_path / "x.db").unlink()
    with pytest.raises(ConnectError, match=r"x\.db.*no such file") as caught:
        SOURCE.infer_schema(options)
    assert caught.value.transient is False
    with pytest.raises(ConnectError, match="no such file"):
        list(SOURCE.read_partition(spec, options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 1000, b"a,b\n1,2\n"])
def test_what_is_no_database_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / ("x.csv" if content and b"," in content else "x.db")
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConnectError, match=r"no file|not a DuckDB database"):
        scan({"url": f"jdbc:duckdb:{path}", "dbtable": "t"})


@pytest.mark.slow  # DuckDB tries to get an extension for such a file
def test_a_file_of_sqlite_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setenv("HOME", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        db.execute("CREATE TABLE t (i INTEGER)")
    with pytest.raises(ConnectError, match="jdbc:sqlite:"):
        scan({"url": f"jdbc:duckdb:{tmp_path}/x.db", "dbtable": "t"})


@pytest.mark.parametrize("url", ["jdbc:duckdb::memory:", "jdbc:duckdb:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(OptionError, match=r"memory.*jdbc:duckdb:/data"):
        SOURCE.infer_schema({"url": url, "dbtable": "t"})


@contextmanager
def elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have a database open for writing in another process."""
    script = "import duckdb, sys; db = duckdb.connect(sys.argv[1]); print('ready', flush=True)"
    command = [sys.executable, "-c", f"{script}; sys.stdin.readline()", str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate("\n")
        assert process.returncode == 0


def can_be_opened(path: Path, *, read_only: bool = False) -> bool:
    """Whether another process can open a database."""
    script = f"import duckdb, sys; duckdb.connect(sys.argv[1], read_only={read_only})"
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_another_process_writes_may_be_tried_again(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "x.db"
    options = make(path, "CREATE TABLE t AS SELECT 7 AS i") | {"engine": engine}
    (spec,) = SOURCE.plan_partitions(options)
    with elsewhere(path) as writer:
        for attempt in (lambda: SOURCE.infer_schema(options), lambda: read_one(spec, options)):
            with pytest.raises(ConnectError, match=f"open for writing .*{writer.pid}") as caught:
                attempt()
            assert caught.value.transient is True
    assert read_one(spec, options) == [7]


def read_one(spec: dict[str, Any], options: dict[str, str]) -> list[Any]:
    return [n for batch in SOURCE.read_partition(spec, options) for n in batch["i"].to_pylist()]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_process_that_writes_keeps_its_lock(tmp_path: Path, engine: str) -> None:
    # DuckDB's ADBC driver would open the file beside it, and drop the lock on closing.
    path = tmp_path / "x.db"
    options = make(path, "CREATE TABLE t AS SELECT 7 AS i") | {"engine": engine}
    (spec,) = SOURCE.plan_partitions(options)
    with closing(duckdb.connect(str(path))) as db:
        for attempt in (lambda: SOURCE.infer_schema(options), lambda: read_one(spec, options)):
            with pytest.raises(ConnectError, match="this process has it open") as caught:
                attempt()
            assert caught.value.transient is False
        assert not can_be_opened(path)
        db.execute("INSERT INTO t VALUES (8)")
    assert read_one(spec, options) == [7, 8]


def test_who_reads_as_well_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    options = make(path, "CREATE TABLE t AS SELECT 7 AS i")
    with closing(duckdb.connect(str(path), read_only=True)) as db:
        db.execute("SET TimeZone = 'Asia/Tokyo'")
        assert scan(options)[0]["i"].to_pylist() == [7]
        assert db.execute("SELECT current_setting('TimeZone')").fetchall() == [("Asia/Tokyo",)]
        assert can_be_opened(path, read_only=True)
        assert not can_be_opened(path)
    assert can_be_opened(path)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_can_be_written(tmp_path: Path, engine: str) -> None:
    options = make(tmp_path / "x.db", "CREATE TABLE t AS SELECT 7 AS i") | {"engine": engine}
    for statement in ("INSERT INTO t VALUES (8)", "DROP TABLE t", "CREATE TABLE u (i INTEGER)"):
        with pytest.raises(QueryError, match="read-only"):
            scan(options | {"sessionInitStatement": statement})
    for evil in ("t; DROP TABLE t", "(SELECT 1 AS i) x; DELETE FROM t"):
        with pytest.raises(OptionError, match="more than one statement"):
            scan(options | {"dbtable": evil})
    with pytest.raises(OptionError, match="more than one statement"):
        scan(options | {"prepareQuery": "SET threads = 1;"})
    assert scan(options)[0]["i"].to_pylist() == [7]


# -------------------------------------------------------------------------------- sessions


@pytest.mark.parametrize("engine", ENGINES)
def test_the_session_is_the_users_first_and_then_ours(seven: dict[str, str], engine: str) -> None:
    options = seven | {
        "engine": engine,
        "dbtable": "(SELECT plus(i) AS i, TIMESTAMPTZ '2024-01-01 00:00:00+00' AS z,"
        " TIMESTAMPTZ '2024-01-01 00:00:00+00'::VARCHAR AS s, current_setting('threads') AS n"
        " FROM t) q",
        "sessionInitStatement": "CREATE TEMP MACRO plus(x) AS x + 1; SET TimeZone = 'Asia/Tokyo'",
        "THREADS": "1",
        "memory_limit": "500MB",
    }
    assert scan(options)[0].to_pylist() == [
        {"i": 8, "z": dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "s": "2024-01-01 00:00:00+00", "n": 1}
    ]


def test_driver_properties(seven: dict[str, str]) -> None:
    with pytest.raises(OptionError, match=r"'theads'.*'threads'"):
        SOURCE.infer_schema(seven | {"theads": "2"})
    with pytest.warns(JDBCWarning, match="access_mode"):
        SOURCE.infer_schema(seven | {"url": f"{seven['url']};access_mode=READ_WRITE"})
    with pytest.raises(QueryError, match=r"Memory .*must have a number"):
        SOURCE.infer_schema(seven | {"memory_limit": "'; DROP TABLE t --"})


def test_a_missing_table_is_no_python_variable(seven: dict[str, str]) -> None:
    for name in ("options", "sql", "pa", "DIALECT"):
        with pytest.raises(QueryError, match=f"{name} does not exist"):
            SOURCE.infer_schema(seven | {"dbtable": name})


def test_connectorx_does_not_read_duckdb(seven: dict[str, str]) -> None:
    (spec,) = SOURCE.plan_partitions(seven)
    assert spec["engine"] == "adbc"
    (spec,) = SOURCE.plan_partitions(seven | {"engine": "auto"})
    assert (spec["engine"], spec["why"]) == ("adbc", "the fastest measured for DuckDB")
    with pytest.raises(EngineError, match="connectorx does not read DuckDB"):
        SOURCE.plan_partitions(seven | {"engine": "connectorx"})


def test_values_and_names_of_the_user(seven: dict[str, str]) -> None:
    asked = {"query": "SELECT :n + i AS n, :t AS t, :d AS d, :big AS big FROM t"}
    asked["params"] = (
        '{"n": 1, "t": "it\'s \\\\ :n", "d": {"decimal": "1.50"}, "big": 9223372036854775808}'
    )
    options = {"url": seven["url"]} | asked
    assert scan(options)[0].to_pylist() == [
        {"n": 8, "t": "it's \\ :n", "d": Decimal("1.50"), "big": Decimal(2**63)}
    ]
    assert scan({"url": seven["url"], "table": "main.t"})[0].num_rows == 1


def test_errors_come_back_from_pickle_and_say_no_secret(seven: dict[str, str]) -> None:
    for options in (
        seven | {"sessionInitStatement": "ATTACH 'no/such/hunter2.db' AS x (READ_ONLY)"},
        seven | {"sessionInitStatement": "CREATE SECRET s (TYPE nope, KEY_ID 'hunter2')"},
        seven | {"dbtable": "t JOIN nope USING (i)", "password": "hunter2"},
    ):
        with pytest.raises(QueryError) as caught:
            SOURCE.infer_schema(options)
        again = pickle.loads(pickle.dumps(caught.value))
        assert str(again) == str(caught.value)
        assert "hunter2" not in str(again)
        assert "LINE" not in str(again)
        assert caught.value.__context__ is None


# ----------------------------------------------------------------------- ends and timeouts


@pytest.mark.parametrize("engine", ENGINES)
def test_a_slow_query_ends_after_its_timeout(seven: dict[str, str], engine: str) -> None:
    options = seven | {"engine": engine, "dbtable": SLOW, "queryTimeout": "1"}
    with pytest.raises(QueryError, match="queryTimeout=1") as caught:
        scan(options)
    assert caught.value.sqlstate == "57014"
    # The same for one that gives rows, to a reader that takes its time.
    (spec,) = SOURCE.plan_partitions(options | {"dbtable": ENDLESS})
    batches = SOURCE.read_partition(spec, options | {"dbtable": ENDLESS, "fetchsize": "1000"})
    with pytest.raises(QueryError, match="queryTimeout=1"):
        [time.sleep(0.01) for _ in batches]
    enough = seven | {"engine": engine, "queryTimeout": "999999999999999999"}
    assert scan(enough)[0]["i"].to_pylist() == [7]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stream_that_is_closed_early_leaves_the_file(tmp_path: Path, engine: str) -> None:
    options = make(tmp_path / "x.db", "CREATE TABLE t AS SELECT 7 AS i")
    options |= {"engine": engine, "dbtable": ENDLESS, "fetchsize": "1000"}
    (spec,) = SOURCE.plan_partitions(options)
    batches = SOURCE.read_partition(spec, options)
    assert next(batches)["i"].to_pylist() == list(range(1000))
    assert not can_be_opened(tmp_path / "x.db")
    batches.close()
    assert can_be_opened(tmp_path / "x.db")


@pytest.mark.parametrize("engine", ENGINES)
def test_cancelling_ends_a_query_that_gives_nothing(seven: dict[str, str], engine: str) -> None:
    options = seven | {"engine": engine, "dbtable": SLOW}
    source = JDBCArrowDataSource()
    (spec,) = source.plan_partitions(options)
    timer = threading.Timer(0.5, source.cancel)
    timer.start()
    with pytest.raises(QueryError) as caught:
        list(source.read_partition(spec, options))
    timer.join()
    assert caught.value.sqlstate == "57014"


def test_queries_that_think_do_not_hold_the_interpreter(seven: dict[str, str]) -> None:
    slow = SLOW.replace("10000000", "8000")
    for engine in ENGINES:
        options = seven | {"engine": engine, "dbtable": slow}
        with ThreadPoolExecutor(1) as pool:
            job, turns = pool.submit(scan, options), 0
            while not job.done():
                time.sleep(0.001)
                turns += 1
            assert job.result()[0].num_rows == 1
        assert turns > 50, engine


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_read_at_once(tmp_path: Path, engine: str) -> None:
    options = make(tmp_path / "x.db", "CREATE TABLE t AS SELECT range AS i FROM range(5000)")
    options |= {"engine": engine, "partitionColumn": "i", "lowerBound": "0", "upperBound": "5000"}
    options |= {"numPartitions": "16", "fetchsize": "100"}
    specs = SOURCE.plan_partitions(options)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda spec: read_one(spec, options), specs * 2))
    assert sorted(n for part in parts for n in part) == sorted([*range(5000)] * 2)
    assert can_be_opened(tmp_path / "x.db")


@pytest.mark.parametrize("engine", ENGINES)
def test_batches_are_as_many_rows_as_asked(tmp_path: Path, engine: str) -> None:
    options = make(tmp_path / "x.db", "CREATE TABLE t AS SELECT range AS i FROM range(10000)")
    options |= {"engine": engine, "fetchsize": "3000"}
    (spec,) = SOURCE.plan_partitions(options)
    sizes = [batch.num_rows for batch in SOURCE.read_partition(spec, options)]
    assert sum(sizes) == 10_000
    assert max(sizes) <= 3000


# ---------------------------------------------------------------------------------- ranges

LAST = "9999-12-31 23:59:59.999999"
KEYS: dict[str, list[str]] = {
    "TINYINT": ["-128", "127", "0", "5", "NULL"],
    "BIGINT": ["-9223372036854775808", "9223372036854775807", "0", "5", "20", "NULL"],
    "UBIGINT": ["0", "18446744073709551615", "9223372036854775807", "5", "NULL"],
    "HUGEINT": ["'-1" + "0" * 37 + "'", "'9223372036854775808'", "0", "5", "NULL"],
    "UHUGEINT": ["0", "'9223372036854775806'", "'9223372036854775807'", "'1" + "0" * 37 + "'"],
    "DECIMAL(4,2)": ["99.99", "-99.99", "5", "4.99", "NULL"],
    "DECIMAL(38,38)": ["'0.5'", "'-0.5'", "0", "NULL"],
    "DECIMAL(38,0)": ["'" + "9" * 38 + "'", "'9223372036854775807'", "5", "NULL"],
    "FLOAT": ["'nan'", "'inf'", "'-inf'", "16777216", "4.5", "-0.0", "NULL"],
    "DOUBLE": ["'nan'", "'inf'", "'-inf'", "9007199254740992", "9007199254740994", "4.5", "NULL"],
}  # fmt: skip
MOMENTS: dict[str, list[str]] = {
    "DATE": ["'0001-01-01'", "'9999-12-31'", "'1969-12-31'", "'1970-01-01'", "NULL"],
    "TIMESTAMP": ["'0001-01-01 00:00:00'", f"'{LAST}'", "'1970-01-01 00:00:00.000001'", "NULL"],
    "TIMESTAMP_S": ["'0001-01-01 00:00:00'", "'1969-12-31 23:59:59'", "'1970-01-01 00:00:00'"],
    "TIMESTAMP_MS": ["NULL", "'1969-12-31 23:59:59.999'", "'1970-01-01 00:00:00'"],
    "TIMESTAMP_NS": [
        "'1677-09-22 00:00:00'", "'2262-04-11 23:47:16'", "'1969-12-31 23:59:59.999999999'",
        "'1969-12-31 23:59:59.999999'", "'1970-01-01 00:00:00.000000999'", "NULL",
    ],
    "TIMESTAMPTZ": ["'0001-01-01 00:00:00+00'", f"'{LAST}+00'", "'1970-01-01 00:00:00+01'"],
}  # fmt: skip


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Options of a database with a table for each type of key, ``k_0`` and so on."""
    path = tmp_path_factory.mktemp("keys") / "x.db"
    tables = []
    for i, (kind, literals) in enumerate((KEYS | MOMENTS).items()):
        rows = (f"SELECT {j} AS id, CAST({v} AS {kind}) AS k" for j, v in enumerate(literals))
        tables.append(f"CREATE TABLE k_{i} AS {' UNION ALL '.join(rows)}")
    options = make(path, *tables)
    with closing(duckdb.connect(str(path), read_only=True)):
        yield options


def check_ranges(keyed: dict[str, str], kind: str, cut: dict[str, str], engine: str) -> None:
    """Each row is in one range, and in one where a plan for its key looks for it."""
    number = list(KEYS | MOMENTS).index(kind)
    options = keyed | cut | {"dbtable": f"k_{number}", "partitionColumn": "K", "engine": engine}
    schema = SOURCE.infer_schema(options)
    specs = SOURCE.plan_partitions(options)
    found: Counter[int] = Counter()
    for spec in specs:
        for batch in SOURCE.scan_partition(spec, options, Scan(schema, ("id", "k"))):
            for row in batch.to_pylist():
                found[row["id"]] += 1
                op = "is null" if row["k"] is None else "=="
                if not is_nan(row["k"]):
                    wanted = Scan(schema, ("id",), (Predicate("k", op, row["k"]),))
                    assert spec in SOURCE.plan_scan(specs, options, wanted)[0], row
    assert found == Counter(range(len((KEYS | MOMENTS)[kind])))


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


EDGES = [0, 5, 127, 2**24 + 1, 2**53 + 1, 2**53 - 1, 2**63 - 1, -(2**63), -5]


@settings(max_examples=50, deadline=None)
@given(
    kind=st.sampled_from(list(KEYS)),
    bounds=st.lists(st.one_of(st.sampled_from(EDGES), st.integers(-(2**63), 2**63 - 1),
                              st.integers(-30, 30)), min_size=2, max_size=2),
    count=st.integers(1, 9),
    engine=st.sampled_from(ENGINES),
)  # fmt: skip
def test_every_row_is_in_one_partition_whatever_its_key(
    keyed: dict[str, str], kind: str, bounds: list[int], count: int, engine: str
) -> None:
    cut = {"lowerBound": f"{min(bounds)}", "upperBound": f"{max(bounds)}"}
    check_ranges(keyed, kind, cut | {"numPartitions": f"{count}"}, engine)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(list(MOMENTS)),
    low=st.one_of(st.datetimes(max_value=dt.datetime(9000, 1, 1)), st.just(dt.datetime.min)),
    span=st.one_of(st.timedeltas(dt.timedelta(0), dt.timedelta(9999)), st.just(dt.timedelta(0, 2))),
    count=st.integers(1, 9),
    engine=st.sampled_from(ENGINES),
)
def test_every_row_is_in_one_partition_whatever_its_moment(
    keyed: dict[str, str],
    kind: str,
    low: dt.datetime,
    span: dt.timedelta,
    count: int,
    engine: str,
) -> None:
    cut = {"lowerBound": low.isoformat(" "), "upperBound": (low + span).isoformat(" ")}
    check_ranges(keyed, kind, cut | {"numPartitions": f"{count}"}, engine)


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE", "DECIMAL(38,0)", "BIGINT"])
def test_a_cut_between_two_doubles(keyed: dict[str, str], kind: str) -> None:
    for middle in (2**53 + 1, 2**24 + 1, 2**63 - 5):
        cut = {"lowerBound": f"{middle - 2}", "upperBound": f"{middle + 2}", "numPartitions": "2"}
        check_ranges(keyed, kind, cut, "adbc")


@pytest.mark.parametrize("kind", MOMENTS)
def test_cuts_close_to_the_moments(keyed: dict[str, str], kind: str) -> None:
    cut = {"lowerBound": "1969-12-31 23:59:59.999998", "upperBound": "1970-01-01 00:00:00.000004"}
    check_ranges(keyed, kind, cut | {"numPartitions": "6"}, "adbc")


def test_ranges_are_where_their_bounds_say(tmp_path: Path) -> None:
    options = make(
        tmp_path / "x.db",
        "CREATE TABLE t AS SELECT * FROM (VALUES (NULL, NULL, NULL),"
        " (0, DATE '2024-01-01', -0.5), (49, DATE '2024-01-15', 49.9),"
        " (50, DATE '2024-01-17', 50.0), (150, DATE '2025-01-01', 1e9::DECIMAL(11,1)))"
        ' AS v (i, d, "n N")',
    )
    cuts = {
        "i": ("0", "100"),
        "d": ("2024-01-01", "2024-01-31"),
        "n N": ("0", "100"),
    }
    for key, (low, high) in cuts.items():
        cut = options | {"partitionColumn": key, "lowerBound": low, "upperBound": high}
        cut |= {"numPartitions": "2"}
        assert [read_one(s, cut) for s in SOURCE.plan_partitions(cut)] == [[None, 0, 49], [50, 150]]


@pytest.mark.parametrize("kind", ["BLOB", "BOOLEAN", "UUID", "TIME", "INTEGER[]", "INTERVAL"])
def test_a_column_that_cannot_be_cut_is_refused(tmp_path: Path, kind: str) -> None:
    options = make(tmp_path / "x.db", f"CREATE TABLE t (k {kind})")
    cut = {"partitionColumn": "k", "lowerBound": "0", "upperBound": "9", "numPartitions": "3"}
    with pytest.raises(OptionError, match=r"'k'.*numbers, dates or timestamps"):
        SOURCE.plan_partitions(options | cut)


# ------------------------------------------------------------------------------- push-down


def test_no_collation_of_the_user_changes_what_equal_means(tmp_path: Path) -> None:
    rows = make(tmp_path / "x.db", "CREATE TABLE t AS SELECT unnest(['B', 'b', NULL]) AS t")
    options = rows | {"sessionInitStatement": "SET SESSION default_collation = 'NOCASE'"}
    try:
        assert scan(options, ["t"], [Predicate("t", "==", "b")])[0]["t"].to_pylist() == ["b"]
    finally:  # whatever it says, it holds for the whole instance
        scan(options | {"sessionInitStatement": "SET default_collation = ''"})


# ---------------------------------------------------------------------------------- cluster


def test_processes_read_one_file_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    options = make(
        path,
        "CREATE TABLE t AS SELECT range AS i, range % 7 AS k FROM range(20000)",
    )
    options |= {"partitionColumn": "i", "lowerBound": "0", "upperBound": "20000"}
    options |= {"numPartitions": "8"}
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
    ):
        frame = dd.read_python_source("jdbc", options=options)
        assert frame.map_partitions(lambda _: pd.Series([os.getpid()])).compute().nunique() == 2
        assert frame[frame.k == 3].i.sum().compute() == sum(n for n in range(20000) if n % 7 == 3)
        for engine in ENGINES:
            frame = dd.read_python_source("jdbc", options=options, engine=engine)
            assert frame.i.nunique().compute() == 20_000
        # While a worker waits, the file is nobody's.
        with closing(duckdb.connect(str(path))) as db:
            db.execute("INSERT INTO t VALUES (-1, 0)")
        assert len(dd.read_python_source("jdbc", options=options)) == 20_001
        with pytest.raises(Exception, match="no such file"):
            make_missing(options, path).compute()


def make_missing(options: dict[str, str], path: Path) -> Any:
    frame = dd.read_python_source("jdbc", options=options)
    path.unlink()
    return frame


def test_every_error_is_of_the_package(seven: dict[str, str]) -> None:
    bad = {
        "dbtable": "nope",
        "query": "SELECT 1 / 'x' AS i",
        "customSchema": "nope INT",
        "partitionColumn": "nope",
    }
    for name, text in bad.items():
        options = dict(seven)
        if name == "query":
            del options["dbtable"]
        options |= {name: text}
        if name == "partitionColumn":
            options |= {"lowerBound": "0", "upperBound": "9", "numPartitions": "2"}
        with pytest.raises(JDBCError, match=r"nope|'x'"):
            scan(options)


@pytest.mark.parametrize(
    "options",
    [
        {"dbtable": "wide", "partitionColumn": "huge"},
        {"dbtable": "wide", "partitionColumn": "n", "customSchema": "n DECIMAL(38, 0)"},
    ],
    ids=["hugeint", "customSchema"],
)
@pytest.mark.parametrize("divisions", [None, [-(10**23), 0, 5 * 10**21, 10**23]])
def test_an_index_of_whole_numbers_that_come_as_decimals_has_divisions(
    tmp_path: Path, options: dict[str, str], divisions: list[int] | None
) -> None:
    unit = 10**21 if options["partitionColumn"] == "huge" else 1
    with duckdb.connect(f"{tmp_path}/wide.duckdb") as db:
        db.execute("CREATE TABLE wide (n BIGINT, huge HUGEINT)")
        db.execute(f"INSERT INTO wide SELECT n, n * {10**21}::HUGEINT FROM range(-50, 50) AS r(n)")
    cut = {"numPartitions": "4"}
    if divisions is not None:
        cut = {"divisions": str([place * unit // 10**21 for place in divisions])}
    frame = dd.read_python_source(
        "jdbc",
        options=options | cut,
        url=f"jdbc:duckdb:{tmp_path}/wide.duckdb",
        index=options["partitionColumn"],
    )
    assert frame.known_divisions
    assert frame.npartitions > 2
    assert [int(key) for key in frame.compute().index] == [n * unit for n in range(-50, 50)]
    assert len(frame.loc[Decimal(7 * unit) :].compute()) == 43
