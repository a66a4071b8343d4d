"""Keys of dates and times: each row once where clocks change, wherever server and client are."""

from __future__ import annotations

import datetime as dt
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jdbc import JDBCArrowDataSource

ENGINES = ("connectorx", "adbc", "fallback")
SOURCE = JDBCArrowDataSource()
# New York's clocks go back at 06:00 UTC on the first day, and forward at 07:00 UTC on the second.
AUTUMN, SPRING = dt.datetime(2024, 11, 3), dt.datetime(2025, 3, 9)
MOMENTS = [
    start + dt.timedelta(minutes=minutes)
    for start in (AUTUMN, SPRING)
    for minutes in range(0, 24 * 60, 10)
]
ROWS = [(n, moment, moment.date()) for n, moment in enumerate(MOMENTS)] + [(-1, None, None)]


class Scan(NamedTuple):
    """As `dask_sail.Scan`, which jdbc does not import."""

    schema: pa.Schema
    columns: tuple[str, ...]
    predicates: tuple[Any, ...] = ()
    limit: int | None = None


class Compared(NamedTuple):
    """As `dask_sail.Predicate`."""

    column: str
    op: str
    value: Any


@pytest.fixture(autouse=True)
def client_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process is in a zone that is neither UTC nor the server's, and wants other dates."""
    monkeypatch.setenv("TZ", "Pacific/Chatham")
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    time.tzset()
    yield
    os.environ.pop("TZ", None)
    time.tzset()


@pytest.fixture(scope="module")
def postgresql(
    postgres: str, jdbc_options: Callable[[str], dict[str, str]]
) -> Iterator[dict[str, str]]:
    """Options for the rows in a database in New York; ``z`` is the instant, ``t`` its UTC clock."""
    with psycopg.connect(postgres, autocommit=True) as db:
        ((name,),) = db.execute("SELECT current_database()")
        db.execute(f"ALTER DATABASE {name} SET TimeZone = 'America/New_York'")
        db.execute("DROP TABLE IF EXISTS clocks")
        db.execute("CREATE TABLE clocks (n int, t timestamp, z timestamptz, d date)")
        db.cursor().executemany(
            "INSERT INTO clocks VALUES (%s, %s, %s, %s)",
            [(n, t, t and t.replace(tzinfo=dt.UTC), d) for n, t, d in ROWS],
        )
    with psycopg.connect(postgres, autocommit=True) as db:
        assert db.execute("SHOW TimeZone").fetchone() == ("America/New_York",)
        # What a session of that zone sees: an hour that comes twice, and one that never comes.
        twice = "SELECT count(*) FROM clocks WHERE z::timestamp = '2024-11-03 01:30'"
        never = "SELECT count(*) FROM clocks WHERE extract(hour FROM z) = 2 AND z > '2025-01-01'"
        assert db.execute(twice).fetchone() == (2,)
        assert db.execute(never).fetchone() == (0,)
    yield jdbc_options(postgres) | {"dbtable": "clocks"}
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP TABLE clocks")
        db.execute(f"ALTER DATABASE {name} RESET TimeZone")


@pytest.fixture(scope="module")
def mysql(mariadb: str, jdbc_options: Callable[[str], dict[str, str]]) -> Iterator[dict[str, str]]:
    """Options for the rows; ``z`` is a TIMESTAMP, an instant, ``t`` a DATETIME, a clock's time."""
    import pymysql

    parts = urlsplit(mariadb)
    login = {"host": parts.hostname, "port": parts.port, "user": parts.username}
    password = unquote(parts.password or "")
    with pymysql.connect(**login, password=password, database="test", autocommit=True) as db:
        cursor = db.cursor()
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute("DROP TABLE IF EXISTS clocks")
        cursor.execute("CREATE TABLE clocks (n INT, t DATETIME(6), z TIMESTAMP NULL, d DATE)")
        cursor.executemany(
            "INSERT INTO clocks VALUES (%s, %s, %s, %s)", [(n, t, t, d) for n, t, d in ROWS]
        )
        yield jdbc_options(mariadb) | {"dbtable": "clocks"}
        cursor.execute("DROP TABLE clocks")


@pytest.fixture(scope="module")
def duckdb_file(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    import duckdb

    path = tmp_path_factory.mktemp("times") / "clocks.duckdb"
    with duckdb.connect(str(path)) as db:
        db.execute("SET TimeZone = 'America/New_York'")
        db.execute("CREATE TABLE clocks (n INTEGER, t TIMESTAMP, z TIMESTAMPTZ, d DATE)")
        db.executemany(
            "INSERT INTO clocks VALUES (?, ?, ?, ?)",
            [(n, t, t and t.replace(tzinfo=dt.UTC), d) for n, t, d in ROWS],
        )
    return {"url": f"jdbc:duckdb:{path}", "dbtable": "clocks"}


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """SQLite has no times of its own: a DATE that is kept as text can be cut, as our types say."""
    path = tmp_path_factory.mktemp("times") / "clocks.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE clocks (n INTEGER, d DATE)")
        rows = [(n, d and d.isoformat()) for n, _, d in ROWS]
        db.executemany("INSERT INTO clocks VALUES (?, ?)", rows)
    return {"url": f"jdbc:sqlite:{Path(path)}", "dbtable": "clocks"}


CASES = [
    *(pytest.param("postgresql", e, c, id=f"postgresql-{e}-{c}") for e in ENGINES for c in "tzd"),
    *(
        pytest.param("mysql", e, c, id=f"mysql-{e}-{c}", marks=pytest.mark.mariadb)
        for e in ("connectorx", "fallback")
        for c in "tzd"
    ),
    *(
        pytest.param("duckdb_file", e, c, id=f"duckdb-{e}-{c}")
        for e in ("adbc", "fallback")
        for c in "tzd"
    ),
    *(pytest.param("sqlite", e, "d", id=f"sqlite-{e}-d") for e in ENGINES),
]


def bound(column: str, hours: float) -> str:
    moment = AUTUMN + dt.timedelta(hours=hours)
    return f"{moment:%Y-%m-%d}" if column == "d" else f"{moment:%Y-%m-%d %H:%M:%S}"


def parts(options: dict[str, str], *predicates: Compared) -> list[list[int]]:
    scan = Scan(SOURCE.infer_schema(options), ("n",), predicates)
    specs, accepted = SOURCE.plan_scan(SOURCE.plan_partitions(options), options, scan)
    assert list(accepted) == list(predicates)
    return [
        [n for b in SOURCE.scan_partition(spec, options, scan) for n in b["n"].to_pylist()]
        for spec in json.loads(json.dumps(specs))
    ]


def once(rows: Sequence[Sequence[int]]) -> bool:
    return Counter(n for part in rows for n in part) == Counter(n for n, _, _ in ROWS)


@pytest.mark.parametrize(("database", "engine", "column"), CASES)
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(low=st.integers(-30, 3100), width=st.integers(1, 3200), count=st.integers(2, 9))
@example(low=3, width=5, count=20)  # a cut every quarter of an hour, around the hour twice there
@example(low=126 * 24 + 5, width=4, count=16)  # and around that which is not there
def test_each_row_is_read_once_where_clocks_change(
    request: pytest.FixtureRequest,
    database: str,
    engine: str,
    column: str,
    low: int,
    width: int,
    count: int,
) -> None:
    options = request.getfixturevalue(database) | {
        "engine": engine,
        "partitionColumn": column,
        "lowerBound": bound(column, low),
        "upperBound": bound(column, low + width),
        "numPartitions": f"{count}",
    }
    assert once(parts(options))


@pytest.mark.parametrize(("database", "engine", "column"), CASES)
def test_a_cut_is_where_it_says(
    request: pytest.FixtureRequest, database: str, engine: str, column: str
) -> None:
    """Not hours away: what lies before a bound that was given in UTC is in the first partition."""
    options = request.getfixturevalue(database) | {"engine": engine, "partitionColumn": column}
    days = column == "d"
    for start in (AUTUMN, SPRING):
        first = (start - AUTUMN).days * 24 + (0 if days else 5.5)
        width = 48 if days else 1
        cuts = {"lowerBound": bound(column, first), "upperBound": bound(column, first + width)}
        cut = start + (dt.timedelta(days=1) if days else dt.timedelta(hours=6))
        before, after = parts(options | cuts | {"numPartitions": "2"})
        assert sorted(before) == sorted(n for n, t, _ in ROWS if t is None or t < cut)
        assert len(before) + len(after) == len(ROWS)


@pytest.mark.parametrize(("database", "engine", "column"), CASES)
def test_values_come_back_as_the_instants_they_are(
    request: pytest.FixtureRequest, database: str, engine: str, column: str
) -> None:
    options = request.getfixturevalue(database) | {"engine": engine}
    schema = SOURCE.infer_schema(options)
    (spec,) = SOURCE.plan_partitions(options)
    batches = list(SOURCE.scan_partition(spec, options, Scan(schema, ("n", column))))
    values = dict(zip(*pa.Table.from_batches(batches).to_pydict().values(), strict=True))
    zone = dt.UTC if column == "z" else None
    expected = {n: d if column == "d" else t and t.replace(tzinfo=zone) for n, t, d in ROWS}
    assert values == expected


@pytest.mark.parametrize("kind", ["auto", "divisions"])
@pytest.mark.parametrize("column", "tzd")
@pytest.mark.parametrize("engine", ENGINES)
def test_so_do_cuts_that_are_found_or_drawn(
    postgresql: dict[str, str], engine: str, column: str, kind: str
) -> None:
    options = postgresql | {"engine": engine, "partitionColumn": column}
    if kind == "divisions":
        edges = [bound(column, hours) for hours in (0, 48, 3024, 3072)]
        options |= {"divisions": json.dumps(edges)}
    else:
        options |= {"numPartitions": "4"}
    rows = parts(options)
    assert len(rows) == (4 if kind == "auto" and column != "d" else len(rows)) > 1
    assert once(rows)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_condition_on_an_instant_reads_what_it_means(
    postgresql: dict[str, str], engine: str
) -> None:
    options = postgresql | {
        "engine": engine,
        "partitionColumn": "z",
        "lowerBound": bound("z", 0),
        "upperBound": bound("z", 24),
        "numPartitions": "24",
    }
    # Half past one in New York, the second time; the first was an hour before.
    second = dt.datetime(2024, 11, 3, 6, 30, tzinfo=dt.UTC)
    rows = parts(options, Compared("z", "==", second))
    assert len(rows) == 1
    assert [MOMENTS[n] for n in rows[0]] == [second.replace(tzinfo=None)]
