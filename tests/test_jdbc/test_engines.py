"""How an engine is chosen, and that each one stops, closes and shares as it should."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import adbc_driver_manager
import psycopg
import pyarrow as pa
import pytest

from jdbc import EngineError, JDBCArrowDataSource, QueryError

ENGINES = ("connectorx", "adbc", "fallback")


def read(options: dict[str, str]) -> pa.Table:
    source = JDBCArrowDataSource()
    specs = source.plan_partitions(options)
    batches = [b for spec in specs for b in source.read_partition(spec, options)]
    return pa.Table.from_batches(batches, schema=source.infer_schema(options))


@pytest.fixture(scope="module")
def shop(postgres: str, jdbc_options: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return jdbc_options(postgres) | {"query": "SELECT g AS a FROM generate_series(1, 10) g"}


@pytest.fixture
def db(postgres: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


def chosen(options: dict[str, str]) -> tuple[str, str]:
    (spec,) = JDBCArrowDataSource().plan_partitions(options)
    return spec["engine"], spec["why"]


def test_connectorx_is_the_default_and_auto_the_fastest(shop: dict[str, str]) -> None:
    assert chosen(shop) == ("connectorx", "the default")
    assert chosen(shop | {"engine": "auto"})[0] == "adbc"
    for engine in ENGINES:
        assert chosen(shop | {"engine": engine})[0] == engine


def test_a_move_is_logged_and_a_named_engine_never_moves(
    shop: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    # Several hosts: connectorx takes the first and knows no other.
    options = shop | {"url": shop["url"].replace("://", "://127.0.0.1:1,")}
    with caplog.at_level(logging.INFO, "jdbc"):
        engine, why = chosen(options)
    assert engine == "adbc"
    assert "several hosts" in why
    assert "several hosts" in caplog.text
    assert shop["password"] not in caplog.text
    assert read(options).num_rows == 10
    with pytest.raises(EngineError, match=r"several hosts.*'auto'"):
        chosen(options | {"engine": "connectorx"})


def sessions(db: psycopg.Connection[Any]) -> list[tuple[str]]:
    named = "SELECT query FROM pg_stat_activity WHERE application_name = 'watched'"
    return db.execute(named).fetchall()


def until_none(db: psycopg.Connection[Any]) -> list[tuple[str]]:
    for _ in range(100):
        if not (left := sessions(db)):
            return left
        time.sleep(0.05)
    return left


@pytest.mark.parametrize("engine", ["adbc", "fallback"])
@pytest.mark.parametrize(
    "query",
    [
        # 100 million rows: to read them on would take minutes.
        "SELECT generate_series(1, 100000000) AS a",
        # A server that is busy, and would not notice for a minute that nobody listens.
        "SELECT a FROM generate_series(1, 30000) a UNION ALL SELECT 1 FROM pg_sleep(60)",
    ],
    ids=["rows", "sleep"],
)
def test_a_stream_that_is_closed_early_leaves_no_session(
    shop: dict[str, str], db: psycopg.Connection[Any], engine: str, query: str
) -> None:
    options = shop | {
        "query": query,
        "ApplicationName": "watched",
        "engine": engine,
        "fetchsize": "1000",
    }
    source = JDBCArrowDataSource()
    (spec,) = source.plan_partitions(options)
    batches = source.read_partition(spec, options)
    assert next(batches).column(0).to_pylist() == list(range(1, 1001))
    assert len(sessions(db)) == 1
    batches.close()
    assert until_none(db) == []


@pytest.mark.parametrize(
    ("fetchsize", "most"), [({}, 8192), ({"fetchsize": "0"}, 8192), ({"fetchsize": "65536"}, 65536)]
)
def test_python_values_come_in_smaller_batches_unless_fetchsize_is_given(
    shop: dict[str, str], fetchsize: dict[str, str], most: int
) -> None:
    options = shop | {"query": "SELECT generate_series(1, 70000) AS a", "engine": "fallback"}
    options |= fetchsize
    source = JDBCArrowDataSource()
    (spec,) = source.plan_partitions(options)
    assert max(batch.num_rows for batch in source.read_partition(spec, options)) == most


@pytest.mark.parametrize("engine", ENGINES)
def test_a_read_leaves_no_session_behind(
    shop: dict[str, str], db: psycopg.Connection[Any], engine: str
) -> None:
    assert read(shop | {"ApplicationName": "watched", "engine": engine}).num_rows == 10
    assert until_none(db) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_read_at_once(shop: dict[str, str], engine: str) -> None:
    options = shop | {"engine": engine}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: read(options), range(16)))
    assert {tuple(t["a"].to_pylist()) for t in tables} == {tuple(range(1, 11))}


def test_a_connection_that_its_driver_miscounts_ends_no_read(
    shop: dict[str, str], db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A race of the driver's own threads, seen once in many thousand reads: not to be caused.
    class Miscounted(adbc_driver_manager.AdbcConnection):  # type: ignore[misc]
        def close(self) -> None:
            super().close()
            said = "Open connection count underflowed"
            raise adbc_driver_manager.InternalError(
                said, status_code=adbc_driver_manager.AdbcStatusCode.INTERNAL
            )

    monkeypatch.setattr(adbc_driver_manager, "AdbcConnection", Miscounted)
    options = shop | {"ApplicationName": "watched", "engine": "adbc"}
    assert read(options)["a"].to_pylist() == list(range(1, 11))
    assert until_none(db) == []
    with pytest.raises(QueryError, match="division by zero"):
        read(options | {"query": "SELECT 1 / (a - 5) AS a FROM generate_series(1, 9) a"})


def _in_child(options: dict[str, str]) -> list[int]:
    values: list[int] = read(options)["a"].to_pylist()
    return values


@pytest.mark.parametrize("engine", ["adbc", "fallback"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_reads_on_sessions_of_its_own(shop: dict[str, str], engine: str) -> None:
    options = shop | {"engine": engine}
    assert _in_child(options) == list(range(1, 11))  # so that there is something to inherit
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(_in_child, options).result(60) == list(range(1, 11))
    assert _in_child(options) == list(range(1, 11))


def test_the_source_pickles(shop: dict[str, str]) -> None:
    source = pickle.loads(pickle.dumps(JDBCArrowDataSource()))
    assert source.infer_schema(shop).names == ["a"]


def test_a_panic_of_connectorx_is_an_error(shop: dict[str, str]) -> None:
    # Its rewritten queries make it panic no more, so hand it one that was not rewritten.
    from jdbc.cancellation import Cancellation
    from jdbc.dialects import dialect_for
    from jdbc.engines import engine_for
    from jdbc.errors import QueryError
    from jdbc.options import JDBCOptions

    engine = engine_for("connectorx")
    options = JDBCOptions.parse(shop)
    with pytest.raises(QueryError, match="not implemented"):
        list(
            engine.read(
                dialect_for("postgresql"),
                options,
                "SELECT interval '1 day' AS a",
                [],
                Cancellation(),
            )
        )


def test_no_secret_lies_about_in_the_process(shop: dict[str, str]) -> None:
    import jdbc.datasource
    import jdbc.engines.adbc

    read(shop | {"engine": "adbc"})
    held = repr([jdbc.engines.adbc._databases, jdbc.datasource._described_before])
    assert shop["password"] not in held
    assert len(jdbc.engines.adbc._databases) >= 1


def test_queries_that_stall_do_not_hold_the_interpreter(shop: dict[str, str]) -> None:
    # A Dask worker must answer its scheduler while the database thinks.
    for engine in ENGINES:
        options = shop | {"query": "SELECT 1 AS a FROM pg_sleep(0.5)", "engine": engine}
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            job, turns = pool.submit(read, options), 0
            while not job.done():
                time.sleep(0.001)
                turns += 1
            assert job.result().num_rows == 1
        assert turns > 50, engine
