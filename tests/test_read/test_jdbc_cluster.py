"""Databases on a cluster: what is cancelled ends, and there are as many connections as allowed."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import psycopg
import pytest
from distributed import Client, KilledWorker

import dask_sail  # noqa: F401 - gives dask.dataframe its read_python_source

ENGINES = ("connectorx", "adbc", "fallback")


@pytest.fixture
def db(postgres: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


@pytest.fixture
def server(postgres: str, jdbc_options: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return jdbc_options(postgres)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true by then."""
    end = time.monotonic() + seconds
    while not (so := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return so


def asleep(db: psycopg.Connection[Any]) -> int:
    """How many sessions sleep in a query."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    (number,) = db.execute(query).fetchone() or (0,)
    return int(number)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cancelled_future_ends_its_query(
    server: dict[str, str], db: psycopg.Connection[Any], cluster: str, engine: str
) -> None:
    options = server | {"engine": engine}
    frame = dd.read_python_source(
        "jdbc",
        options=options,
        query="SELECT a FROM generate_series(0, 9) a, pg_sleep(60) s",
        predicates=["a < 5", "a >= 5"],
    )
    with Client(cluster) as client:
        future = client.compute(frame)
        assert until(lambda: asleep(db) == 2, 20)
        future.cancel()
        assert until(lambda: asleep(db) == 0, 3)
        # The threads are free for what comes next.
        quick = dd.read_python_source("jdbc", options=options, query="SELECT 1 AS a")
        assert len(client.compute(quick).result(20)) == 1


class Sampler:
    """Looks at the server's sessions all the time, from a thread of its own."""

    def __init__(self, uri: str, name: str) -> None:
        self.most_busy = self.most = 0
        self._uri, self._name = uri, name
        self._over = threading.Event()

    def __enter__(self) -> Sampler:
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        query = (
            "SELECT count(*) FILTER (WHERE state = 'active'), count(*)"
            " FROM pg_stat_activity WHERE application_name LIKE %s"
        )
        with psycopg.connect(self._uri, autocommit=True) as connection:
            while not self._over.wait(0.003):
                busy, all_of_them = connection.execute(query, [self._name]).fetchone() or (0, 0)
                self.most_busy = max(self.most_busy, busy)
                self.most = max(self.most, all_of_them)


def twelve(options: dict[str, str], **more: object) -> dd.DataFrame:
    """Twelve partitions of ten rows, each of which takes the server a while."""
    return dd.read_python_source(
        "jdbc",
        options=options,
        query="SELECT a FROM generate_series(0, 119) a, pg_sleep(0.1) s",
        predicates=[f"a / 10 = {i}" for i in range(12)],
        **more,
    )


@pytest.fixture(scope="module")
def three_workers(start_cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("three")
    with start_cluster(folder, workers=3) as address, Client(address) as client:
        client.wait_for_workers(3)
        yield client


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("allowed", [2, 8])
def test_a_cluster_has_no_more_connections_than_allowed(
    postgres: str, server: dict[str, str], three_workers: Client, engine: str, allowed: int
) -> None:
    options = server | {"engine": engine, "ApplicationName": f"{allowed} of {engine}"}
    frame = twelve(options, maxConnections=allowed)
    with Sampler(postgres, options["ApplicationName"]) as seen:
        values = three_workers.compute(frame.a).result(60)
    assert sorted(values) == list(range(120))
    assert seen.most_busy == min(allowed, 3)
    if engine == "fallback":  # of the others' connections an end may still be going on
        assert seen.most == min(allowed, 3)


def test_reads_with_different_limits_share_the_larger(
    postgres: str, server: dict[str, str], three_workers: Client
) -> None:
    frames = [
        twelve(server | {"ApplicationName": f"at most {limit}"}, maxConnections=limit)
        for limit in (1, 2)
    ]
    with (
        Sampler(postgres, "at most 1") as one,
        Sampler(postgres, "at most 2") as two,
        Sampler(postgres, "at most _") as both,
    ):
        for values in three_workers.gather(three_workers.compute([f.a for f in frames])):
            assert sorted(values) == list(range(120))
    assert one.most_busy == 1
    assert two.most_busy == 2
    assert both.most_busy == 2


def test_a_read_that_waits_for_its_place_can_be_cancelled(
    server: dict[str, str], db: psycopg.Connection[Any], three_workers: Client
) -> None:
    frame = dd.read_python_source(
        "jdbc",
        options=server,
        query="SELECT a FROM generate_series(0, 9) a, pg_sleep(60) s",
        predicates=["a < 5", "a >= 5", "false"],
        maxConnections=1,
    )
    future = three_workers.compute(frame)
    assert until(lambda: asleep(db) == 1, 20)
    future.cancel()
    assert until(lambda: asleep(db) == 0, 3)
    quick = [
        dd.read_python_source("jdbc", options=server, query="SELECT 1 AS a", maxConnections=1)
        for _ in range(3)
    ]
    frames = three_workers.gather(three_workers.compute(quick))
    assert [len(frame) for frame in frames] == [1, 1, 1]


@pytest.mark.slow  # has a cluster of its own
def test_a_lost_worker_keeps_no_place(
    server: dict[str, str], db: psycopg.Connection[Any], start_cluster, tmp_path: Path
) -> None:
    def pids() -> dict[str, int]:
        return client.run(os.getpid)

    frame = dd.read_python_source(
        "jdbc",
        options=server,
        query="SELECT a FROM generate_series(0, 9) a, pg_sleep(60) s",
        maxConnections=1,
    )
    quick = dd.read_python_source("jdbc", options=server, query="SELECT 1 AS a", maxConnections=1)
    with start_cluster(tmp_path) as address, Client(address) as client:
        client.wait_for_workers(2)
        workers = pids()
        lost = client.compute(frame)
        assert until(lambda: asleep(db) == 1, 20)
        (busy,) = (name for name, keys in client.processing().items() if keys)
        os.kill(workers[busy], signal.SIGKILL)
        with pytest.raises(KilledWorker):
            lost.result(20)
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active'"
            " AND wait_event = 'PgSleep'"
        )
        # distributed's own semaphores would keep the place for half a minute.
        assert len(client.compute(quick).result(10)) == 1


# -------------------------------------------------------------------------------- retries


@pytest.fixture
def brake(db: psycopg.Connection[Any]) -> Iterator[None]:
    """A table that says whether queries which look at it take long."""
    db.execute("DROP TABLE IF EXISTS brake; CREATE TABLE brake AS SELECT true AS pulled")
    yield
    db.execute("DROP TABLE brake")


@pytest.mark.usefixtures("brake")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_partition_whose_session_dies_is_read_again_from_its_start(
    server: dict[str, str],
    db: psycopg.Connection[Any],
    engine: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    frame = dd.read_python_source(
        "jdbc",
        options=server,
        # Rows have come, on engines that stream, when the session dies.
        query="SELECT a FROM generate_series(1, 20000) a UNION ALL SELECT -1"
        " FROM pg_sleep(CASE WHEN (SELECT pulled FROM brake) THEN 60 ELSE 0 END)",
        engine=engine,
        fetchsize=1000,
    )
    with caplog.at_level(logging.INFO, "dask_sail"), ThreadPoolExecutor(1) as pool:
        values = pool.submit(lambda: frame.a.compute(scheduler="threads"))
        assert until(lambda: asleep(db) == 1, 20)
        db.execute("UPDATE brake SET pulled = false")
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        )
        assert sorted(values.result(20)) == [-1, *range(1, 20001)]
    assert "attempt 1 of" in caplog.text


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_without_a_free_connection_is_asked_again(
    postgres: str,
    server: dict[str, str],
    db: psycopg.Connection[Any],
    engine: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    role = f"narrow_{engine}"
    db.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'thr3ad' CONNECTION LIMIT 1")
    mine = {"user": role, "password": "thr3ad", "engine": engine}
    frame = dd.read_python_source("jdbc", options=server | mine, query="SELECT 1 AS a")
    occupied = psycopg.connect(postgres, user=role, password="thr3ad")
    with caplog.at_level(logging.INFO, "dask_sail"), ThreadPoolExecutor(1) as pool:
        values = pool.submit(lambda: frame.a.compute(scheduler="threads").tolist())
        assert until(lambda: "attempt 1 of" in caplog.text or values.done(), 20)
        occupied.close()
        assert values.result(20) == [1]
    assert "attempt 1 of" in caplog.text
