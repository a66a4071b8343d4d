"""Databases on a cluster: what is cancelled ends, and there are as many connections as allowed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import dask.dataframe as dd
import psycopg
import pytest
from distributed import Client

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
