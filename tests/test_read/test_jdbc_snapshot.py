"""``snapshot=true``: all partitions read one state of a PostgreSQL that never stands still."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import dask.dataframe as dd
import psycopg
import pytest
from distributed import Client

import dask_sail

ENGINES = ["connectorx", "adbc", "fallback"]
ROWS, TOTAL = 400, 400_000


@pytest.fixture(scope="module")
def ledger(postgres: str, jdbc_options: Callable[[str], dict[str, str]]) -> Iterator[Any]:
    """Options for a table whose amounts always add up to the same, while a writer changes it."""
    stop = threading.Event()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS ledger")
        connection.execute("CREATE TABLE ledger (id int PRIMARY KEY, amount int8 NOT NULL)")
        connection.execute(f"INSERT INTO ledger SELECT g, 1000 FROM generate_series(1, {ROWS}) g")

    def write() -> None:
        step = 0
        with psycopg.connect(postgres) as connection:
            while not stop.is_set():
                step += 1
                one, other = step * 37 % ROWS + 1, step * 101 % ROWS + 1
                if one == other:
                    continue
                new = ROWS + step
                connection.execute("UPDATE ledger SET amount = amount - 7 WHERE id = %s", [one])
                connection.execute("INSERT INTO ledger VALUES (%s, 7)", [new])
                connection.commit()
                connection.execute("DELETE FROM ledger WHERE id = %s", [new])
                connection.execute("UPDATE ledger SET amount = amount + 7 WHERE id = %s", [other])
                connection.commit()

    writer = threading.Thread(target=write)
    writer.start()
    yield jdbc_options(postgres) | {
        "dbtable": "ledger",
        "partitionColumn": "id",
        "lowerBound": 1,
        "upperBound": ROWS,
        "numPartitions": 8,
    }
    stop.set()
    writer.join()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP TABLE ledger")


def until_nothing_is_open(uri: str) -> None:
    """Wait until no transaction of ours is open on the server."""
    deadline = time.monotonic() + 20
    with psycopg.connect(uri, autocommit=True) as connection:
        while True:
            rows = connection.execute(
                "SELECT state, query FROM pg_stat_activity"
                " WHERE application_name = 'dask-sail' AND xact_start IS NOT NULL"
            ).fetchall()
            if not rows:
                return
            assert time.monotonic() < deadline, rows
            time.sleep(0.05)


@pytest.mark.majors
@pytest.mark.parametrize("engine", ENGINES)
def test_a_few_reads_on_threads_see_one_state_each(
    engine: str, ledger: dict[str, Any], postgres: str
) -> None:
    frame = dd.read_python_source("jdbc", snapshot=True, engine=engine, **ledger)
    for _ in range(8):
        assert frame.amount.sum().compute(scheduler="threads") == TOTAL
    assert frame[frame.id <= 10].amount.count().compute(scheduler="threads") == 10
    assert len(frame.head(3)) == 3
    until_nothing_is_open(postgres)


def test_without_it_partitions_see_what_is_committed_when_they_run(ledger: dict[str, Any]) -> None:
    frame = dd.read_python_source("jdbc", engine="fallback", **ledger)
    sums = {int(frame.amount.sum().compute(scheduler="synchronous")) for _ in range(60)}
    assert sums - {TOTAL}, "the writer does not write, or this test shows nothing"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_fifty_reads_on_a_cluster_see_one_state_each(
    engine: str, ledger: dict[str, Any], postgres: str, cluster: str
) -> None:
    frame = dd.read_python_source("jdbc", snapshot=True, engine=engine, **ledger)
    with Client(cluster):
        for _ in range(50):
            assert frame.amount.sum().compute() == TOTAL
    until_nothing_is_open(postgres)


def test_a_worker_that_dies_leaves_none_open_and_no_mixture(
    ledger: dict[str, Any], postgres: str, start_cluster: Any, tmp_path: Any
) -> None:
    slow = {
        "query": "SELECT *, pg_sleep(0.01) IS NULL AS slow FROM ledger WHERE id <= 320",
        **{key: value for key, value in ledger.items() if key != "dbtable"},
    }
    with start_cluster(tmp_path, allowed_failures=5) as address, Client(address) as client:
        client.wait_for_workers(2)
        frame = dd.read_python_source("jdbc", snapshot=True, engine="fallback", **slow)
        future = client.compute(frame.id.count())
        with psycopg.connect(postgres, autocommit=True) as connection:
            deadline = time.monotonic() + 20
            while not (
                keepers := connection.execute(
                    "SELECT client_port FROM pg_stat_activity"
                    " WHERE query LIKE '%pg_export_snapshot%' AND application_name = 'dask-sail'"
                ).fetchall()
            ):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        ports = {port for (port,) in keepers}
        pids = client.run(os.getpid)
        import psutil

        owner = next(
            pid
            for pid in pids.values()
            if any(line.laddr.port in ports for line in psutil.Process(pid).net_connections())
        )
        os.kill(owner, signal.SIGKILL)
        with pytest.raises(dask_sail.PythonDataSourceError, match=r"snapshot"):
            future.result(timeout=60)
        del future
        until_nothing_is_open(postgres)


def test_another_database_says_that_it_has_none(tmp_path: Any) -> None:
    import sqlite3

    sqlite3.connect(tmp_path / "x.db").execute("CREATE TABLE t (n INTEGER)").connection.close()
    with pytest.raises(dask_sail.SourceCallError, match=r"'snapshot' cannot be had from SQLite"):
        dd.read_python_source(
            "jdbc", url=f"jdbc:sqlite:{tmp_path / 'x.db'}", dbtable="t", snapshot=True
        )


def test_one_connection_is_too_few(ledger: dict[str, Any]) -> None:
    with pytest.raises(dask_sail.SourceCallError, match=r"'maxConnections' is 1.*write 2"):
        dd.read_python_source("jdbc", snapshot=True, maxConnections=1, **ledger)
    frame = dd.read_python_source("jdbc", snapshot=True, maxConnections=2, **ledger)
    assert frame.amount.sum().compute(scheduler="threads") == TOTAL
