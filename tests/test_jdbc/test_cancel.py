"""A read that is no longer wanted ends in the database too, soon, on each engine."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

from jdbc import JDBCArrowDataSource, JDBCError
from jdbc.cancellation import Cancellation
from jdbc.errors import QueryError

ENGINES = ("connectorx", "adbc", "fallback")


@pytest.fixture
def db(postgres: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


@pytest.fixture
def asleep(postgres: str, jdbc_options: Callable[[str], dict[str, str]]) -> dict[str, str]:
    """Options of a read of two partitions that take a minute each before their first row."""
    return jdbc_options(postgres) | {
        "query": "SELECT a FROM generate_series(0, 9) a, pg_sleep(60) s",
        "predicates": '["a < 5", "a >= 5"]',
    }


def running(db: psycopg.Connection[Any]) -> list[str]:
    """Who of our sessions sleeps in a query."""
    query = (
        "SELECT application_name FROM pg_stat_activity"
        " WHERE state = 'active' AND wait_event = 'PgSleep'"
    )
    return [name for (name,) in db.execute(query)]


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true by then."""
    end = time.monotonic() + seconds
    while not (so := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return so


@pytest.mark.majors
@pytest.mark.parametrize("engine", ENGINES)
def test_cancel_ends_a_read_that_waits_and_returns_when_it_has(
    asleep: dict[str, str], db: psycopg.Connection[Any], engine: str
) -> None:
    options = asleep | {"engine": engine}
    source = JDBCArrowDataSource()
    spec = source.plan_partitions(options)[0]
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(lambda: list(source.read_partition(spec, options)))
        assert until(lambda: running(db) == ["dask-sail"], 20)
        source.cancel()
        assert running(db) == []
        error = read.exception(10)
    assert isinstance(error, QueryError)
    assert not error.transient, "a retry would run it again"
    assert options["password"] not in f"{error!r}"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_read_that_is_cancelled_before_it_runs_does_not_run(
    asleep: dict[str, str], engine: str
) -> None:
    options = asleep | {"engine": engine}
    source = JDBCArrowDataSource()
    spec = source.plan_partitions(options)[0]
    batches = source.read_partition(spec, options)
    source.cancel()
    with pytest.raises(QueryError, match="was cancelled"):
        next(iter(batches))


@pytest.mark.parametrize("engine", ENGINES)
def test_cancelling_ends_the_reads_of_this_instance_alone(
    asleep: dict[str, str], db: psycopg.Connection[Any], engine: str
) -> None:
    sources = {name: JDBCArrowDataSource() for name in ("mine", "other")}

    def read(name: str) -> None:
        options = asleep | {"engine": engine, "ApplicationName": name}
        spec = sources[name].plan_partitions(options)[0]
        list(sources[name].read_partition(spec, options))

    with ThreadPoolExecutor(2) as pool:
        reads = {name: pool.submit(read, name) for name in sources}
        try:
            assert until(lambda: sorted(running(db)) == ["mine", "other"], 20)
            sources["mine"].cancel()
            assert running(db) == ["other"]
            assert not reads["other"].done()
        finally:
            sources["other"].cancel()
        for one in reads.values():
            assert isinstance(one.exception(10), JDBCError)


@pytest.mark.mariadb
@pytest.mark.parametrize("engine", ["connectorx", "fallback"])
def test_a_query_of_mariadb_ends_too(
    mariadb: str, jdbc_options: Callable[[str], dict[str, str]], engine: str
) -> None:
    import pymysql

    options = jdbc_options(mariadb) | {"engine": engine}
    options |= {"query": "SELECT 1 AS a", "predicates": '["sleep(60) = 0"]'}
    parts = urlsplit(mariadb)
    watch = pymysql.connect(
        host="127.0.0.1",
        port=parts.port or 0,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )

    def sleeping() -> int:
        with watch.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM information_schema.processlist"
                " WHERE info LIKE '%sleep(60)%' AND id <> connection_id()"
            )
            return len(cursor.fetchall())

    source = JDBCArrowDataSource()
    (spec,) = source.plan_partitions(options)
    with watch, ThreadPoolExecutor(1) as pool:
        rows = pool.submit(lambda: list(source.read_partition(spec, options)))
        assert until(lambda: sleeping() == 1, 20)
        source.cancel()
        assert sleeping() == 0
        error = rows.exception(10)
    assert isinstance(error, QueryError)
    assert not error.transient


def test_pythons_own_driver_ends_a_query_of_sqlite(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "eleven.db")) as db:
        db.execute("CREATE TABLE eleven (a INTEGER)")
        db.executemany("INSERT INTO eleven VALUES (?)", [(i,) for i in range(11)])
        db.commit()
    endless = "WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n) SELECT max(a) FROM n"
    options = {
        "url": f"jdbc:sqlite:{tmp_path}/eleven.db",
        "query": f"SELECT a FROM eleven WHERE a < 10 OR ({endless}) > 0",
        "engine": "fallback",
        "fetchsize": "5",  # its driver is a row ahead
    }
    source = JDBCArrowDataSource()
    (spec,) = source.plan_partitions(options)
    batches = source.read_partition(spec, options)
    assert next(batches)["a"].to_pylist() == list(range(5))
    with ThreadPoolExecutor(1) as pool:
        last = pool.submit(next, batches)
        assert not last.done()
        source.cancel()
        with pytest.raises(QueryError, match="interrupted"):
            last.result(10)


def test_what_a_driver_raises_while_it_ends_a_query_goes_nowhere() -> None:
    cancellation, tries = Cancellation(), []

    def end() -> None:
        tries.append(1)
        raise RuntimeError("could not send the cancel request")

    with cancellation.ends(end):
        thread = threading.Thread(target=cancellation.cancel)
        thread.start()
        assert until(lambda: len(tries) > 1, 5), "tried again, as the first may have come too early"
    thread.join(5)
    assert not thread.is_alive()
