"""Reading SQLite files: where they are, how they are cut, what SQLite filters, who writes."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_sail.datasource import Scan
from dask_sail.predicate import Predicate
from jdbc import (
    ColumnTypeError,
    ColumnValueError,
    ConnectError,
    EngineError,
    JDBCArrowDataSource,
    JDBCError,
    OptionError,
    QueryError,
)

ENGINES = ("connectorx", "adbc", "fallback")
SOURCE = JDBCArrowDataSource()


def make(path: Path | str, *statements: str) -> dict[str, str]:
    """Make a database and return its options."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        for statement in statements:
            db.execute(statement)
        db.commit()
    return {"url": f"jdbc:sqlite:{path}", "dbtable": "t"}


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


# ----------------------------------------------------------------------------------- files


@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
@pytest.mark.parametrize("name", ["plain.db", "a b?c#d%e&f.db", "grüße 🎉.db", 'it\'s "q" `b`;.db'])
def test_a_file_may_have_any_name(tmp_path: Path, name: str, engine: str) -> None:
    folder = tmp_path / name.removesuffix(".db")
    folder.mkdir()
    options = make(folder / name, "CREATE TABLE t (i INTEGER)", "INSERT INTO t VALUES (7)")
    # A bare ? begins properties; a file: URI spells it.
    quoted = str(folder / name).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    table, _ = scan(options | {"url": f"jdbc:sqlite:file:{quoted}", "engine": engine})
    assert table["i"].to_pylist() == [7]
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_relative_path_is_used_as_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    make(tmp_path / "x.db", "CREATE TABLE t (i INTEGER)", "INSERT INTO t VALUES (7)")
    monkeypatch.chdir(tmp_path)
    table, _ = scan({"url": "jdbc:sqlite:x.db", "dbtable": "t", "engine": engine})
    assert table["i"].to_pylist() == [7]


@pytest.mark.timeout(20)  # connectorx alone would try for 30 s
@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_file_is_an_error_and_stays_missing(tmp_path: Path, engine: str) -> None:
    options = make(tmp_path / "x.db", "CREATE TABLE t (i INTEGER)") | {"engine": engine}
    specs = SOURCE.plan_partitions(options)
    assert list(SOURCE.read_partition(specs[0], options)) is not None
    (tmp_path / "x.db").unlink()
    with pytest.raises(ConnectError, match=r"x\.db.*no such file") as caught:
        SOURCE.infer_schema(options)
    assert caught.value.transient is False
    with pytest.raises(ConnectError, match="no such file"):
        list(SOURCE.read_partition(specs[0], options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_no_database_is_an_error(tmp_path: Path, engine: str) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to be read as one" * 100)
    cases = {tmp_path: "no file", tmp_path / "text.db": "not a database"}
    for path, says in cases.items():
        options = {"url": f"jdbc:sqlite:{path}", "dbtable": "t", "engine": engine}
        with pytest.raises(ConnectError, match=says):
            scan(options)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    options = make(tmp_path / "x.db", "CREATE TABLE t (i INTEGER)")
    (tmp_path / "x.db").chmod(0)
    with pytest.raises(ConnectError, match="may not read"):
        scan(options)
    (tmp_path / "x.db").chmod(stat.S_IRUSR)


@pytest.mark.filterwarnings("ignore:option .mode.")
@pytest.mark.parametrize(
    "url", ["jdbc:sqlite::memory:", "jdbc:sqlite:", "jdbc:sqlite:file:x?mode=memory"]
)
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(OptionError, match="in memory"):
        SOURCE.infer_schema({"url": url, "dbtable": "t"})


# --------------------------------------------------------------------------------- sessions


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("statement", ["CREATE TABLE u (i INTEGER)", "DROP TABLE t"])
def test_sessions_cannot_write(tmp_path: Path, statement: str, engine: str) -> None:
    options = make(tmp_path / "x.db", "CREATE TABLE t (i INTEGER)")
    with pytest.raises(JDBCError, match=r"readonly|sessionInitStatement"):
        scan(options | {"engine": engine, "sessionInitStatement": statement})
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("t",)]


def test_a_statement_for_the_session_is_run_or_refused(tmp_path: Path) -> None:
    options = make(
        tmp_path / "x.db", "CREATE TABLE t (s TEXT)", "INSERT INTO t VALUES ('A'), ('a')"
    )
    options |= {"dbtable": "(SELECT s FROM t WHERE s LIKE 'a') x"}
    options |= {"sessionInitStatement": "PRAGMA case_sensitive_like = 1"}
    for engine in ("adbc", "fallback"):
        assert scan(options | {"engine": engine})[0]["s"].to_pylist() == ["a"]
    with pytest.raises(EngineError, match="sessionInitStatement"):
        scan(options | {"engine": "connectorx"})
    spec = SOURCE.plan_partitions(options)[0]
    assert spec["engine"] == "adbc"
    assert "sessionInitStatement" in spec["why"]


ENDLESS = (
    "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS i FROM n)"
)


@pytest.mark.timeout(30)
def test_a_query_stops_after_its_timeout(tmp_path: Path) -> None:
    options = make(tmp_path / "x.db", "CREATE TABLE t (i INTEGER)")
    slow = options | {"dbtable": f"{ENDLESS} x", "queryTimeout": "1"}
    with pytest.raises(QueryError, match="queryTimeout=1"):
        SOURCE.infer_schema(slow)
    # One that is quick to describe and slow to read.
    slow["dbtable"] = f"(SELECT i FROM t UNION ALL SELECT i FROM {ENDLESS}) x"
    slow["customSchema"] = "i BIGINT"
    assert SOURCE.plan_partitions(options | {"queryTimeout": "9"})[0]["engine"] == "fallback"
    with pytest.raises(QueryError, match="queryTimeout=1"):
        scan(slow)
    for engine in ("connectorx", "adbc"):
        with pytest.raises(EngineError, match="queryTimeout"):
            scan(options | {"queryTimeout": "9", "engine": engine})


def test_connectorx_leaves_to_others_what_it_cannot_do(tmp_path: Path) -> None:
    options = make(tmp_path / "x.db", "CREATE TABLE t (`a``b` INTEGER)", "INSERT INTO t VALUES (1)")
    assert SOURCE.plan_partitions(options)[0]["engine"] == "adbc"
    assert scan(options)[0].to_pydict() == {"a`b": [1]}
    for engine in ("adbc", "fallback"):
        assert scan(options | {"engine": engine})[0].to_pydict() == {"a`b": [1]}
    with pytest.raises(EngineError, match="connectorx"):
        scan(options | {"engine": "connectorx"})


@contextmanager
def elsewhere(script: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a script on a database in another process, up to its first line of output.

    SQLite's locks are the process's own: in one process, two copies of the library see none.
    """
    head = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)"
    command = [sys.executable, "-c", f"{head}\n{script}", str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate("\n")
        assert process.returncode == 0


WRITE = """
import select
number = 0
while not select.select([sys.stdin], [], [], 0.001)[0]:
    number += 1
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO t VALUES (?, 0)", (number,))
    db.execute("INSERT INTO t VALUES (0, ?)", (-number,))
    db.execute("COMMIT")
    if number == 1:
        print("ready", flush=True)
"""
LOCK = """
db.execute("BEGIN EXCLUSIVE")
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_eight_threads_read_while_another_process_writes(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "x.db"
    options = make(path, "PRAGMA journal_mode = WAL", "CREATE TABLE t (a INTEGER, b INTEGER)")
    options |= {"engine": engine}
    schema = SOURCE.infer_schema(options)
    (spec,) = SOURCE.plan_partitions(options)

    def total(_: int) -> tuple[int, int]:
        batches = list(SOURCE.scan_partition(spec, options, Scan(schema, ("a", "b"))))
        rows = [row for batch in batches for row in batch.to_pylist()]
        return sum(row["a"] + row["b"] for row in rows), len(rows)

    with elsewhere(WRITE, path), ThreadPoolExecutor(8) as pool:
        totals = list(pool.map(total, range(24)))
    # Each transaction adds two rows, and nothing to the sum.
    assert [(amount, rows % 2) for amount, rows in totals] == [(0, 0)] * 24
    assert all(rows >= 2 for _, rows in totals)


@pytest.mark.parametrize(
    # connectorx waits for five seconds, whatever it is told.
    "engine",
    [pytest.param("connectorx", marks=pytest.mark.slow), "adbc", "fallback"],
)
def test_a_locked_file_may_be_tried_again(tmp_path: Path, engine: str) -> None:
    options = make(tmp_path / "x.db", "CREATE TABLE t (i INTEGER)") | {"engine": engine}
    (spec,) = SOURCE.plan_partitions(options)
    if engine != "connectorx":
        options |= {"busy_timeout": "1"}
        SOURCE.infer_schema(options)
    lock = elsewhere(LOCK, tmp_path / "x.db")
    with lock, pytest.raises(QueryError, match="locked") as caught:
        list(SOURCE.read_partition(spec, options))
    assert caught.value.transient is True


# ---------------------------------------------------------------------------------- ranges

MIXED = [
    "NULL", "0", "-5", "7", "19", "20", "21", "9223372036854775807", "-9223372036854775808",
    "1.5", "-1e300", "1e300", "9e999", "''", "'7'", "'abc'", "'2024-01-31'", "'2024-06-30'",
    "'1999-12-31'", "'2024-1-5'", "'9999'", "x''", "x'ff'",
]  # fmt: skip
KEYS = {"k_int": "INTEGER", "k_real": "REAL", "k_num": "DECIMAL(9,2)", "k_date": "DATE"}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Options of a table whose keys are of every storage class, whatever they are declared."""
    keys = ", ".join(f"{name} {declared}" for name, declared in KEYS.items())
    rows = [f"INSERT INTO t VALUES ({i}, {v}, {v}, {v}, {v})" for i, v in enumerate(MIXED)]
    path = tmp_path_factory.mktemp("mixed") / "x.db"
    return make(path, f"CREATE TABLE t (id INTEGER PRIMARY KEY, {keys})", *rows)


def ids_of(options: dict[str, str]) -> Counter[int]:
    # The key itself is not read: a text among numbers would be an error, and rightly.
    return Counter(scan(options, ["id"])[0]["id"].to_pylist())


@given(
    key=st.sampled_from(["id", "k_int", "k_real", "k_num"]),
    low=st.one_of(st.integers(-30, 30), st.integers(-(2**63), 2**62)),
    width=st.one_of(st.integers(0, 60), st.integers(0, 2**62)),
    count=st.integers(1, 9),
    engine=st.sampled_from(ENGINES),
)
def test_every_row_is_in_one_partition_whatever_its_key(
    mixed: dict[str, str], key: str, low: int, width: int, count: int, engine: str
) -> None:
    cut = {
        "lowerBound": f"{low}",
        "upperBound": f"{min(low + width, 2**63 - 1)}",
        "numPartitions": f"{count}",
    }
    options = mixed | cut | {"partitionColumn": key, "engine": engine}
    assert ids_of(options) == Counter(range(len(MIXED)))


@given(
    low=st.dates(max_value=dt.date(5000, 1, 1)),
    days=st.integers(0, 500_000),
    count=st.integers(1, 9),
    engine=st.sampled_from(ENGINES),
)
def test_every_row_is_in_one_partition_whatever_its_date(
    mixed: dict[str, str], low: dt.date, days: int, count: int, engine: str
) -> None:
    cut = {"lowerBound": f"{low}", "upperBound": f"{low + dt.timedelta(days)}"}
    cut |= {"numPartitions": f"{count}", "partitionColumn": "K_DATE", "engine": engine}
    assert ids_of(mixed | cut) == Counter(range(len(MIXED)))


def test_ranges_are_where_their_bounds_say(tmp_path: Path) -> None:
    options = make(
        tmp_path / "x.db",
        "CREATE TABLE t (i INTEGER, d DATE)",
        "INSERT INTO t VALUES (NULL, NULL), (0, '2024-01-01'), (49, '2024-01-15'),"
        " (50, '2024-01-17'), (150, '2025-01-01')",
    )
    cuts = {
        "i": {"partitionColumn": "i", "lowerBound": "0", "upperBound": "100"},
        "d": {"partitionColumn": "d", "lowerBound": "2024-01-01", "upperBound": "2024-01-31"},
    }
    for cut in cuts.values():
        cut |= options | {"numPartitions": "2"}
        parts = [list(SOURCE.read_partition(s, cut)) for s in SOURCE.plan_partitions(cut)]
        found = [[n for b in part for n in b["i"].to_pylist()] for part in parts]
        assert found == [[None, 0, 49], [50, 150]]


@pytest.mark.parametrize("declared", ["DATETIME", "TIME", "BLOB", "BOOLEAN"])
def test_a_column_that_cannot_be_cut_is_refused(tmp_path: Path, declared: str) -> None:
    options = make(tmp_path / "x.db", f"CREATE TABLE t (k {declared})")
    cut = {"partitionColumn": "k", "lowerBound": "0", "upperBound": "9", "numPartitions": "3"}
    with pytest.raises(OptionError, match=r"'k'.*INTEGER"):
        SOURCE.plan_partitions(options | cut)


# ------------------------------------------------------------------------------- push-down


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Options of a table whose every value is as its column's type wants it, or NULL."""
    rows = ", ".join(
        f"({i}, {v(i % 7 == 3, i % 10 - 3)}, {v(i % 5 == 0, (i % 9) / 8 - 0.3)},"
        f" {v(i % 11 == 0, repr('aAbB é'[i % 6]))}, {v(i % 6 == 0, i % 2)},"
        f" {v(i % 8 == 0, repr(f'2024-01-{i % 28 + 1:02}'))},"
        f" {v(i % 9 == 0, repr(f'2024-01-{i % 28 + 1:02} 10:00:00'))}, {i % 3}.0)"
        for i in range(200)
    )
    return make(
        tmp_path_factory.mktemp("orders") / "x.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, i INT, r REAL, s TEXT COLLATE NOCASE, b BOOLEAN,"
        " d DATE, m DATETIME, n NUMERIC)",
        f"INSERT INTO t VALUES {rows}",
        "CREATE INDEX by_i ON t (i)",
    )


def v(null: bool, value: Any) -> str:
    return "NULL" if null else f"{value}"


@pytest.mark.parametrize("predicate", [Predicate("i", "==", 2), Predicate("id", "<", 5)], ids=str)
def test_a_filter_that_sqlite_applies_can_use_an_index(
    orders: dict[str, str], predicate: Predicate
) -> None:
    wanted = Scan(SOURCE.infer_schema(orders), ("r",), (predicate,))
    (spec,) = SOURCE.plan_partitions(orders)
    sql = SOURCE.describe_partition(spec, orders, wanted)["sql"]
    with closing(sqlite3.connect(orders["url"].removeprefix("jdbc:sqlite:"))) as db:
        steps = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert any("SEARCH" in step for step in steps)
    assert not any("SCAN t" in step for step in steps)


DAY = dt.date(2024, 1, 10)
BAD = [
    ("INTEGER", "'n/a'", [Predicate("v", op, 5) for op in ("==", "!=", "<", "<=", ">", ">=")]),
    ("INTEGER", "x'0500000000000000'", [Predicate("v", "==", 5), Predicate("v", "in", (1, 5))]),
    ("INTEGER", "4.5", [Predicate("v", "<", 5), Predicate("v", "!=", 4)]),
    ("REAL", "'1.5?'", [Predicate("v", "==", 1.5), Predicate("v", "<", 0.0)]),
    ("TEXT", "x'61'", [Predicate("v", "==", "a"), Predicate("v", "in", ("a",)),
                       Predicate("v", "not in", ("a",)), Predicate("v", "!=", "a")]),
    ("BOOLEAN", "2", [Predicate("v", "==", True), Predicate("v", "==", False)]),
    ("BOOLEAN", "'yes'", [Predicate("v", "==", True), Predicate("v", "==", False)]),
    ("DATE", "'10.01.2024'", [Predicate("v", op, DAY) for op in ("==", "<", ">")]),
    ("DATE", "1704844800", [Predicate("v", "==", DAY), Predicate("v", "in", (DAY,))]),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("declared", "bad", "predicates"), BAD, ids=lambda x: str(x)[:12])
def test_a_filter_does_not_hide_a_value_that_is_an_error(
    tmp_path: Path, declared: str, bad: str, predicates: list[Predicate], engine: str
) -> None:
    options = make(
        tmp_path / "x.db", f"CREATE TABLE t (v {declared})", f"INSERT INTO t VALUES ({bad})"
    )
    for predicate in predicates:
        for pushed in ("true", "false"):
            asked = options | {"engine": engine, "pushDownPredicate": pushed}
            with pytest.raises(ColumnValueError, match="'v'"):
                scan(asked, None, [predicate])
            assert (scan(asked, [], [predicate])[1] == [predicate]) == (pushed == "true")


# ------------------------------------------------------------------------------------ names


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_column_is_no_text(tmp_path: Path, engine: str) -> None:
    # SQLite reads "typo" as the text 'typo' where there is no such column.
    options = make(
        tmp_path / "x.db", "CREATE TABLE t (a INTEGER, b TEXT)", "INSERT INTO t VALUES (1, 'x')"
    )
    options |= {"engine": engine}
    schema = SOURCE.infer_schema(options)
    (spec,) = SOURCE.plan_partitions(options)
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        db.execute("ALTER TABLE t RENAME COLUMN b TO c")
    with pytest.raises(QueryError, match=r"no such column: b$"):
        list(SOURCE.scan_partition(spec, options, Scan(schema, ("b",))))


def test_errors_come_back_from_pickle_and_say_no_secret(tmp_path: Path) -> None:
    import pickle

    options = make(
        tmp_path / "x.db", "CREATE TABLE t (v INTEGER)", "INSERT INTO t VALUES ('s3cret')"
    )
    with pytest.raises(ColumnTypeError) as caught:
        scan(options | {"password": "hunter2"})
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert "s3cret" not in str(again)
    assert "hunter2" not in repr(again)
