"""What a session is set to, for how long, and behind a proxy that pools transactions."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from jdbc import EngineError, JDBCArrowDataSource, JDBCError, QueryError
from jdbc.errors import ConnectError

POOLED = ("adbc", "fallback")
ENGINES = ("connectorx", *POOLED)


def read(options: dict[str, str]) -> pa.Table:
    source = JDBCArrowDataSource()
    specs = source.plan_partitions(options)
    batches = [b for spec in specs for b in source.read_partition(spec, options)]
    return pa.Table.from_batches(batches, schema=source.infer_schema(options))


@pytest.fixture(scope="module")
def direct(postgres: str, jdbc_options: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return jdbc_options(postgres)


@pytest.fixture
def db(postgres: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


# -------------------------------------------------------------------------------- sessions


@pytest.mark.parametrize("engine", ENGINES)
def test_sessions_have_a_name_and_take_the_users(direct: dict[str, str], engine: str) -> None:
    options = direct | {"query": "SELECT current_setting('application_name') AS a"}
    options["engine"] = engine
    assert read(options)["a"].to_pylist() == ["dask-sail"]
    assert read(options | {"ApplicationName": "billing"})["a"].to_pylist() == ["billing"]


@pytest.mark.parametrize("engine", POOLED)
def test_what_the_users_statement_writes_stays_if_the_read_ends_well(
    direct: dict[str, str], db: psycopg.Connection[Any], engine: str
) -> None:
    db.execute("DROP TABLE IF EXISTS told; CREATE TABLE told (what text)")
    options = direct | {"query": "SELECT 1 AS a", "engine": engine}
    source = JDBCArrowDataSource()
    (spec,) = source.plan_partitions(options)
    source.infer_schema(options)

    def told(statement: str, query: str = "SELECT 1 AS a") -> list[tuple[str]]:
        now = options | {"sessionInitStatement": statement, "query": query}
        schema = source.infer_schema(options | {"query": query})
        list(source.scan_partition(spec, now, _Scan(schema)))
        return db.execute("SELECT what FROM told").fetchall()

    assert told("INSERT INTO told VALUES ('a read')") == [("a read",)]
    with pytest.raises(QueryError, match="division by zero"):
        told("INSERT INTO told VALUES ('a failure')", "SELECT 1 / (SELECT 0) AS a")
    assert db.execute("SELECT what FROM told").fetchall() == [("a read",)]


class _Scan:
    def __init__(self, schema: pa.Schema) -> None:
        self.schema, self.columns = schema, schema.names
        self.predicates, self.limit = (), None


@pytest.mark.parametrize("engine", ENGINES)
def test_a_schema_in_the_url_is_where_names_are_looked_up(
    direct: dict[str, str], db: psycopg.Connection[Any], engine: str
) -> None:
    db.execute('DROP SCHEMA IF EXISTS "Sales 24" CASCADE; CREATE SCHEMA "Sales 24"')
    db.execute('CREATE TABLE "Sales 24".only_here AS SELECT 7 AS a')
    options = direct | {"dbtable": "only_here", "engine": engine}
    assert read(options | {"currentSchema": '"Sales 24", public'})["a"].to_pylist() == [7]
    with pytest.raises(JDBCError, match="does not exist"):
        read(options | {"currentSchema": "public"})


def test_the_key_of_a_limit_tells_databases_apart_and_no_secret(direct: dict[str, str]) -> None:
    source, options = JDBCArrowDataSource(), direct | {"dbtable": "t"}

    def key(**more: str) -> str:
        found = source.concurrency(options | more)
        assert found is not None
        return found[0]

    assert source.concurrency(options) == (key(), 32)
    assert source.concurrency(options | {"maxConnections": "3"}) == (key(), 3)
    assert key(maxConnections="3", fetchsize="10", ApplicationName="x") == key()
    assert key(user="somebody else") != key()
    assert key(url=options["url"] + "_of_tests") != key()
    assert options["password"] not in key()
    assert source.concurrency({"url": "jdbc:sqlite:a.db", "dbtable": "t"}) is None
    limited = {"url": "jdbc:sqlite:a.db", "dbtable": "t", "maxConnections": "1"}
    assert (source.concurrency(limited) or ("", 0))[1] == 1


# ------------------------------------------------------------------------------- PgBouncer

pooled_test = pytest.mark.pgbouncer


@pytest.fixture(scope="module")
def pooled(pgbouncer: str, jdbc_options: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return jdbc_options(pgbouncer)


@pytest.fixture
def others(pgbouncer: str) -> Iterator[None]:
    """Other clients of the proxy, who set its servers to everything that we are not."""
    over = threading.Event()

    def spoil() -> None:
        settings = {
            "TimeZone": "Asia/Tokyo",
            "DateStyle": "German, DMY",
            "IntervalStyle": "iso_8601",
            "bytea_output": "escape",
            "extra_float_digits": "-10",
            "search_path": "pg_catalog",
        }
        calls = ", ".join(f"set_config('{name}', '{to}', false)" for name, to in settings.items())
        with psycopg.connect(pgbouncer, autocommit=True, prepare_threshold=None) as connection:
            while not over.wait(0.001):
                connection.execute(f"SELECT {calls}")

    threads = [threading.Thread(target=spoil) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join()


@pooled_test
@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("engine", POOLED)
def test_values_are_right_whatever_others_set(pooled: dict[str, str], engine: str) -> None:
    query = (
        "SELECT timestamptz '2025-03-01 12:00+00' AS at, 0.1::float8 + 0.2 AS f, "
        "ARRAY[0.1::float4] AS fs, '\\x00ff'::bytea AS b, 1.10::numeric(5, 2) AS n, "
        "interval '1 month 2 days 3 hours' AS i, "
        "ARRAY[interval '1 month 2 days'] AS i_s, "
        "tstzrange('2025-03-01 12:00+00', NULL) AS r, daterange('2025-03-04', NULL) AS d, "
        "ARRAY['\\x00ff'::bytea] AS bs, current_setting('transaction_read_only') AS ro"
    )
    options = pooled | {
        "query": f"{query} FROM generate_series(1, 3)",
        "predicates": str(["true"] * 8).replace("'", '"'),
        "engine": engine,
    }
    source = JDBCArrowDataSource()
    specs = source.plan_partitions(options)
    schema = source.infer_schema(options)

    def part(spec: dict[str, Any]) -> pa.Table:
        batches = JDBCArrowDataSource().scan_partition(spec, options, _Scan(schema))
        return pa.Table.from_batches(batches, schema=schema)

    with ThreadPoolExecutor(4) as pool:
        rows = pa.concat_tables(pool.map(part, specs)).to_pylist()
    utc = dt.UTC
    expected = {
        "at": dt.datetime(2025, 3, 1, 12, tzinfo=utc),
        "f": 0.30000000000000004,
        "fs": [0.10000000149011612],
        "b": b"\x00\xff",
        "n": Decimal("1.10"),
        "i": pa.MonthDayNano([1, 2, 3 * 3600 * 10**9]),
        "i_s": ["1 mon 2 days"],
        "r": '["2025-03-01 12:00:00+00",)',
        "d": "[2025-03-04,)",
        "bs": [b"\x00\xff"],
        "ro": "on",
    }
    assert rows == [expected] * 24


@pooled_test
@pytest.mark.parametrize("engine", POOLED)
def test_others_keep_their_settings(pooled: dict[str, str], pgbouncer: str, engine: str) -> None:
    options = pooled | {"query": "SELECT 1 AS a", "engine": engine, "queryTimeout": "100"}
    names = ("TimeZone", "default_transaction_read_only", "transaction_read_only")
    names += ("statement_timeout", "search_path")
    shown = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
    with psycopg.connect(pgbouncer, autocommit=True, prepare_threshold=None) as other:
        for _ in range(8):
            assert read(options | {"currentSchema": "archive"})["a"].to_pylist() == [1]
            zone, *rest, path = other.execute(shown).fetchone() or ()
            assert zone in ("America/New_York", "Asia/Tokyo")  # the server's, or of a test above
            assert rest == ["off", "off", "0"]
            assert path != "archive"
        other.execute("DROP TABLE IF EXISTS public.written; CREATE TABLE public.written (a int)")
        other.execute("DROP TABLE public.written")


@pooled_test
def test_connectorx_is_passed_over_and_refuses(
    pooled: dict[str, str], direct: dict[str, str]
) -> None:
    source, query = JDBCArrowDataSource(), {"query": "SELECT 1 AS a"}
    (spec,) = source.plan_partitions(pooled | query)
    assert spec["engine"] == "adbc"
    assert "behind a pooling proxy" in spec["why"]
    with pytest.raises(EngineError, match="behind a pooling proxy"):
        source.plan_partitions(pooled | query | {"engine": "connectorx"})
    # Planned where there is no proxy, read where there is one.
    (spec,) = source.plan_partitions(direct | query)
    assert spec["engine"] == "connectorx"
    with pytest.raises(EngineError, match="write engine 'adbc'"):
        list(source.read_partition(spec, pooled | query))


@pooled_test
@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("engine", POOLED)
def test_options_of_the_session_reach_the_query(
    pooled: dict[str, str], db: psycopg.Connection[Any], engine: str
) -> None:
    db.execute("DROP SCHEMA IF EXISTS archive CASCADE; CREATE SCHEMA archive")
    db.execute("CREATE TABLE archive.kept AS SELECT 7 AS a")
    mine = pooled | {"engine": engine}
    for _ in range(5):
        assert read(mine | {"dbtable": "kept", "currentSchema": "archive"})["a"].to_pylist() == [7]
        made = {"sessionInitStatement": "CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT 42 AS a"}
        assert read(mine | made | {"dbtable": "pg_temp.mine"})["a"].to_pylist() == [42]
    with pytest.raises(QueryError, match="read-only"):
        read(mine | {"query": "SELECT lo_create(0) AS a"})
    slow = {"query": "SELECT 1 AS a FROM pg_sleep(60)", "queryTimeout": "1"}
    with pytest.raises(QueryError, match="statement timeout"):
        read(mine | slow)


@pooled_test
@pytest.mark.parametrize("engine", POOLED)
def test_the_property_that_a_proxy_drops_is_refused(pooled: dict[str, str], engine: str) -> None:
    options = pooled | {"query": "SELECT 1 AS a", "engine": engine}
    with pytest.raises(EngineError, match="'options' may not reach the server"):
        read(options | {"options": "-c work_mem=1MB"})


@pooled_test
@pytest.mark.parametrize("engine", POOLED)
def test_a_query_is_cancelled_through_the_proxy(
    pooled: dict[str, str], db: psycopg.Connection[Any], engine: str
) -> None:
    options = pooled | {"query": "SELECT a FROM (SELECT 1 AS a) t, pg_sleep(60)", "engine": engine}
    source = JDBCArrowDataSource()
    (spec,) = source.plan_partitions(options)

    def asleep() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        return int((db.execute(query).fetchone() or (0,))[0])

    with ThreadPoolExecutor(1) as pool:
        rows = pool.submit(lambda: list(source.read_partition(spec, options)))
        end = time.monotonic() + 20
        while not asleep() and time.monotonic() < end:
            time.sleep(0.02)
        assert asleep() == 1
        source.cancel()
        assert asleep() == 0
        assert isinstance(rows.exception(10), QueryError)


@pooled_test
@pytest.mark.parametrize("engine", POOLED)
def test_a_wrong_password_is_known_to_be_one(pooled: dict[str, str], engine: str) -> None:
    options = pooled | {"query": "SELECT 1 AS a", "engine": engine, "password": "wr0ng-s3cret"}
    with pytest.raises(ConnectError, match=r"(?i)authentication failed") as raised:
        read(options)
    assert not raised.value.transient
    assert "wr0ng" not in f"{raised.value!r}"
