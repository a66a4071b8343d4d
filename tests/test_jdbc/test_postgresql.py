"""Queries, partitions, scans and errors on a real PostgreSQL, through the three methods."""

from __future__ import annotations

import datetime as dt
import json
import math
import pickle
import socket
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import distributed  # noqa: F401 - it changes how every exception is pickled
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jdbc import (
    ColumnTypeError,
    ConnectError,
    EngineError,
    JDBCArrowDataSource,
    JDBCError,
    OptionError,
    QueryError,
)

pytestmark = pytest.mark.majors

ENGINES = ("connectorx", "adbc", "fallback")


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


def read(options: dict[str, str]) -> pa.Table:
    source = JDBCArrowDataSource()
    schema = source.infer_schema(options)
    specs = source.plan_partitions(options)
    batches = [b for spec in specs for b in source.read_partition(spec, options)]
    return pa.Table.from_batches(batches, schema=schema)


@pytest.fixture(scope="module")
def db(postgres: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def shop(postgres: str, jdbc_options: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return jdbc_options(postgres)


# --------------------------------------------------------------------------------- queries

QUERIES = {
    "SELECT NULL AS a": [{"a": None}],
    "SELECT NULL::int AS a UNION ALL SELECT NULL": [{"a": None}, {"a": None}],
    'SELECT 1 AS "a b", 2 AS "c""d", 3 AS "ÄÖ"': [{"a b": 1, 'c"d': 2, "ÄÖ": 3}],
    "SELECT 1": [{"?column?": 1}],
    "SELECT 1 AS a;": [{"a": 1}],
    "SELECT 1 AS a; -- the end": [{"a": 1}],
    "SELECT 1 AS a -- the end": [{"a": 1}],
    "SELECT 1 AS a /* the end */": [{"a": 1}],
    "WITH t AS (SELECT 1 AS a) SELECT a + 1 AS b FROM t": [{"b": 2}],
    "SELECT 7 % 4 AS a, '%s' AS b, 'x' LIKE '%x' AS c": [{"a": 3, "b": "%s", "c": True}],
    "SELECT '$1; $2' AS a, ';' AS b": [{"a": "$1; $2", "b": ";"}],
    "SELECT 1 AS a WHERE false": [],
    "VALUES (1, 'x')": [{"column1": 1, "column2": "x"}],
    "SELECT a FROM generate_series(3, 1, -1) AS a": [{"a": 3}, {"a": 2}, {"a": 1}],
    "SELECT NULL::interval AS a WHERE false": [],
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sql", QUERIES)
def test_a_query_gives_its_rows(shop: dict[str, str], sql: str, engine: str) -> None:
    assert read(shop | {"query": sql, "engine": engine}).to_pylist() == QUERIES[sql]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_table_as_written_and_a_prefix(
    shop: dict[str, str], db: psycopg.Connection[Any], engine: str
) -> None:
    db.execute('DROP TABLE IF EXISTS "Odd Name"')
    db.execute('CREATE TABLE "Odd Name" AS SELECT 1 AS "Id"')
    table = shop | {"engine": engine, "dbtable": '"Odd Name"'}
    assert read(table).to_pylist() == [{"Id": 1}]
    assert read(table | {"dbtable": '(SELECT "Id" + 1 AS i FROM "Odd Name") AS t'}).to_pylist() == [
        {"i": 2}
    ]
    with_prefix = shop | {"engine": engine, "prepareQuery": "WITH t AS (SELECT 5 AS a)"}
    assert read(with_prefix | {"dbtable": "t"}).to_pylist() == [{"a": 5}]
    hinted = table | {"hint": "/*+ SeqScan(t) */"}
    assert read(hinted).to_pylist() == [{"Id": 1}]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_table_without_columns_has_its_rows(
    shop: dict[str, str], db: psycopg.Connection[Any], engine: str
) -> None:
    db.execute("DROP TABLE IF EXISTS bare; CREATE TABLE bare ()")
    db.execute("INSERT INTO bare SELECT FROM generate_series(1, 3)")
    options = shop | {"dbtable": "bare", "engine": engine}
    source = JDBCArrowDataSource()
    assert source.infer_schema(options) == pa.schema([])
    (spec,) = source.plan_partitions(options)
    assert sum(b.num_rows for b in source.read_partition(spec, options)) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_many_batches_keep_the_order_and_4_mb_texts(shop: dict[str, str], engine: str) -> None:
    sql = (
        "SELECT g, CASE g WHEN 2500 THEN repeat('ä', 2097152) END AS t "
        "FROM generate_series(1, 5000) g"
    )
    options = shop | {"query": sql, "engine": engine, "fetchsize": "1000"}
    source = JDBCArrowDataSource()
    (spec,) = source.plan_partitions(options)
    batches = list(source.read_partition(spec, options))
    assert len(batches) >= 5
    assert max(b.num_rows for b in batches) <= 1000
    table = pa.Table.from_batches(batches)
    assert table["g"].to_pylist() == list(range(1, 5001))
    assert {v for v in table["t"].to_pylist() if v is not None} == {"ä" * 2_097_152}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_in_the_middle_is_an_error(shop: dict[str, str], engine: str) -> None:
    sql = "SELECT 1 / (g - 150000) AS a FROM generate_series(1, 200000) g"
    with pytest.raises(QueryError, match="division by zero") as caught:
        read(shop | {"query": sql, "engine": engine})
    assert caught.value.sqlstate == "22012"
    assert not caught.value.transient


@pytest.mark.parametrize("engine", ENGINES)
def test_a_refused_query_says_why(shop: dict[str, str], engine: str) -> None:
    options = shop | {"query": "SELECT amuont FROM generate_series(1, 2) amount", "engine": engine}
    with pytest.raises(QueryError, match='column "amuont" does not exist') as caught:
        JDBCArrowDataSource().infer_schema(options)
    assert caught.value.sqlstate == "42703"
    assert "postgresql at 127.0.0.1" in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_can_be_written(
    shop: dict[str, str], db: psycopg.Connection[Any], engine: str
) -> None:
    db.execute("DROP TABLE IF EXISTS safe; CREATE TABLE safe AS SELECT 1 AS a")
    db.execute(
        "CREATE OR REPLACE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS "
        "$$ BEGIN DELETE FROM safe; RETURN 1; END $$"
    )
    with pytest.raises(QueryError, match="read-only transaction") as caught:
        read(shop | {"query": "SELECT wipe() AS a", "engine": engine})
    assert caught.value.sqlstate == "25006"
    with pytest.raises(JDBCError):
        read(shop | {"query": "SELECT 1 AS a) q; DELETE FROM safe; --", "engine": engine})
    assert db.execute("SELECT count(*) FROM safe").fetchone() == (1,)


@pytest.mark.parametrize("engine", [None, "adbc", "fallback"])
def test_the_session_statement_runs_first_and_may_write(
    shop: dict[str, str], engine: str | None
) -> None:
    options = shop | {
        **({"engine": engine} if engine else {}),
        "sessionInitStatement": "CREATE TEMP TABLE mine AS SELECT 42 AS a",
        "dbtable": "mine",
    }
    assert read(options).to_pylist() == [{"a": 42}]
    with pytest.raises(QueryError, match="nope"):
        read(options | {"sessionInitStatement": "SET nope = 1"})
    with pytest.raises(EngineError, match="connectorx looks at the query before"):
        JDBCArrowDataSource().plan_partitions(options | {"engine": "connectorx"})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_that_takes_too_long_is_ended(shop: dict[str, str], engine: str) -> None:
    options = shop | {"query": "SELECT 1 AS a FROM pg_sleep(30)", "engine": engine}
    with pytest.raises(QueryError, match="statement timeout") as caught:
        read(options | {"queryTimeout": "1"})
    assert caught.value.sqlstate == "57014"


# ------------------------------------------------------------------------------ partitions

KEYS = {
    "i": ("bigint", 1),
    "n": ("numeric(12,3)", 1),
    "u": ("numeric", 1),
    "f": ("float8", 1),
    "d": ("date", 1),
    "t": ("timestamp", 1),
    "z": ("timestamptz", 1),
}


@pytest.fixture(scope="module")
def keys(shop: dict[str, str], db: psycopg.Connection[Any]) -> dict[str, str]:
    """300 rows with a key of each type around the bounds, NULL and NaN among them."""
    db.execute("DROP TABLE IF EXISTS keys")
    columns = ", ".join(f'"{name.upper()}" {sql}' for name, (sql, _) in KEYS.items())
    db.execute(f"CREATE TABLE keys (row int, {columns})")
    db.execute(
        """
        INSERT INTO keys
        SELECT g, k, k + 0.5, k * 1.001, CASE WHEN g % 17 = 0 THEN 'NaN' ELSE k / 3.0 END,
               DATE '2024-03-20' + k::int, TIMESTAMP '2024-03-20' + k * interval '6 hours',
               TIMESTAMPTZ '2024-03-20 00:00+00' + k * interval '6 hours'
        FROM (SELECT g, CASE WHEN g % 11 <> 0 THEN (g * 37) % 300 - 150 END AS k
              FROM generate_series(1, 298) g) s
        """
    )
    db.execute('INSERT INTO keys (row, "I", "F") VALUES (299, 9223372036854775807, \'Infinity\')')
    db.execute('INSERT INTO keys (row, "I", "F") VALUES (300, -9223372036854775808, \'-Infinity\')')
    return shop | {"dbtable": "keys"}


def bound(name: str, position: int) -> str:
    if name == "d":
        return f"{dt.date(2024, 3, 20) + dt.timedelta(days=position)}"
    if name in "tz":
        return f"{dt.datetime(2024, 3, 20) + dt.timedelta(hours=position)}"
    return f"{position}"


@pytest.mark.parametrize("name", KEYS)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    low=st.integers(-400, 400),
    width=st.integers(0, 800),
    count=st.integers(-1, 12),
    engine=st.sampled_from(["adbc", "fallback"]),
)
@example(low=-150, width=300, count=8, engine="connectorx")
def test_every_row_is_read_once_whatever_the_bounds(
    keys: dict[str, str], name: str, low: int, width: int, count: int, engine: str
) -> None:
    options = keys | {
        "engine": engine,
        "partitionColumn": name,  # the table has it in upper case
        "lowerBound": bound(name, low),
        "upperBound": bound(name, low + width),
        "numPartitions": f"{count}",
    }
    source = JDBCArrowDataSource()
    scan = Scan(source.infer_schema(options), ("row",))
    specs = source.plan_partitions(options)
    assert len(specs) <= max(count, 1)
    rows = [
        row
        for spec in specs
        for batch in source.scan_partition(json.loads(json.dumps(spec)), options, scan)
        for row in batch.column(0).to_pylist()
    ]
    assert Counter(rows) == Counter(range(1, 301))


def test_a_converted_column_is_cut_as_what_it_is_in_the_database(keys: dict[str, str]) -> None:
    options = keys | {
        "customSchema": "I STRING",
        "partitionColumn": "i",
        "lowerBound": "-100",
        "upperBound": "100",
        "numPartitions": "5",
    }
    table = read(options)
    assert Counter(table["row"].to_pylist()) == Counter(range(1, 301))
    assert table.schema.field("I").type == pa.string()


def test_bounds_at_the_ends_of_64_bits(keys: dict[str, str]) -> None:
    options = keys | {
        "partitionColumn": "I",
        "lowerBound": f"{-(2**63)}",
        "upperBound": f"{2**63 - 1}",
        "numPartitions": "5",
    }
    assert Counter(read(options)["row"].to_pylist()) == Counter(range(1, 301))


def test_the_hour_that_comes_twice_is_read_once(
    shop: dict[str, str], db: psycopg.Connection[Any]
) -> None:
    # New York's clocks go back at 06:00 UTC; Spark's local-time literals read rows twice there.
    db.execute("DROP TABLE IF EXISTS fall")
    db.execute(
        "CREATE TABLE fall AS SELECT generate_series(TIMESTAMPTZ '2024-11-03 00:00+00', "
        "'2024-11-03 12:00+00', '10 minutes') AS z"
    )
    options = shop | {
        "dbtable": "fall",
        "partitionColumn": "z",
        "lowerBound": "2024-11-03 00:00:00",
        "upperBound": "2024-11-03 12:00:00",
        "numPartitions": "12",
    }
    rows = read(options)["z"].to_pylist()
    assert (len(rows), len(set(rows))) == (73, 73)


def test_predicates_are_the_users_own(keys: dict[str, str]) -> None:
    # The first must not bind to what follows it, and the second ends in a comment.
    options = keys | {"predicates": '["row < 3 OR row = 5", "row > 298 -- the last"]'}
    assert sorted(read(options)["row"].to_pylist()) == [1, 2, 5, 299, 300]
    source = JDBCArrowDataSource()
    scan = Scan(source.infer_schema(options), ("row",), [Compared("row", ">", 2)], limit=9)
    specs, accepted = source.plan_scan(source.plan_partitions(options), options, scan)
    assert len(accepted) == 1
    batches = [b for spec in specs for b in source.scan_partition(spec, options, scan)]
    assert sorted(v for b in batches for v in b["row"].to_pylist()) == [5, 299, 300]


@pytest.mark.parametrize(
    ("column", "words"),
    [("amuont", "names no column"), ("s", "of type string"), ("b", "of type bool")],
)
def test_a_bad_partition_column_is_an_error(shop: dict[str, str], column: str, words: str) -> None:
    options = shop | {
        "query": "SELECT 1 AS amount, 's' AS s, true AS b",
        "partitionColumn": column,
        "lowerBound": "0",
        "upperBound": "9",
        "numPartitions": "2",
    }
    with pytest.raises(OptionError, match=f"partitionColumn.*{words}"):
        JDBCArrowDataSource().plan_partitions(options)


def test_specs_are_small_and_hold_no_secret(keys: dict[str, str]) -> None:
    options = keys | {
        "partitionColumn": "i",
        "lowerBound": "0",
        "upperBound": "100",
        "numPartitions": "4",
    }
    text = json.dumps(JDBCArrowDataSource().plan_partitions(options))
    assert options["password"] not in text
    assert "127.0.0.1" not in text
    assert len(text) < 4 * 300


# ----------------------------------------------------------------------------------- scans


@pytest.mark.parametrize("engine", ENGINES)
def test_a_scan_takes_columns_in_the_order_wanted_or_counts(
    keys: dict[str, str], engine: str
) -> None:
    options = keys | {"engine": engine}
    source = JDBCArrowDataSource()
    schema = source.infer_schema(options)
    (spec,) = source.plan_partitions(options)
    batches = list(source.scan_partition(spec, options, Scan(schema, ("D", "row"))))
    assert batches[0].schema.names == ["D", "row"]
    assert sum(b.num_rows for b in batches) == 300
    for limit, rows in ((None, 300), (7, 7), (0, 0)):
        counted = list(source.scan_partition(spec, options, Scan(schema, (), limit=limit)))
        assert [b.num_columns for b in counted] == [0]
        assert counted[0].num_rows == rows
        limited = source.scan_partition(spec, options, Scan(schema, ("row",), limit=limit))
        assert sum(b.num_rows for b in limited) == rows


def test_a_schema_that_is_not_ours_is_asked_for_again(keys: dict[str, str]) -> None:
    source = JDBCArrowDataSource()
    specs = source.plan_partitions(keys)
    users = pa.schema([("row", pa.int64())])
    rows = list(source.scan_partition(specs[0], keys, Scan(users, ("row",))))
    assert sum(b.num_rows for b in rows) == 300
    with pytest.raises(ColumnTypeError, match="'rows' is not in the table"):
        list(source.scan_partition(specs[0], keys, Scan(users, ("rows",))))


def test_a_schema_without_the_partition_column_will_do(keys: dict[str, str]) -> None:
    options = keys | {
        "partitionColumn": "i",
        "lowerBound": "-100",
        "upperBound": "100",
        "numPartitions": "3",
    }
    source = JDBCArrowDataSource()
    narrow = pa.schema([source.infer_schema(options).field("row")])
    scan = Scan(narrow, ("row",))
    batches = [
        batch
        for spec in source.plan_partitions(options)
        for batch in source.scan_partition(spec, options, scan)
    ]
    rows = [row for batch in batches for row in batch["row"].to_pylist()]
    assert Counter(rows) == Counter(range(1, 301))


def test_a_partition_can_be_described(keys: dict[str, str], db: psycopg.Connection[Any]) -> None:
    options = keys | {
        "partitionColumn": "i",
        "lowerBound": "0",
        "upperBound": "100",
        "numPartitions": "2",
        "engine": "auto",
    }
    source = JDBCArrowDataSource()
    scan = Scan(source.infer_schema(options), ("row",), limit=3)
    facts = source.describe_partition(source.plan_partitions(options)[0], options, scan)
    assert facts["engine"] == "adbc"
    assert "fastest" in facts["why"]
    # What it shows is what runs: the server takes it, and it gives three of the first range's rows.
    assert len(db.execute(facts["sql"]).fetchall()) == 3


# ---------------------------------------------------------------------------------- errors

SECRET = "hunter2 'x\"&=%"


def unreachable(shop: dict[str, str], kind: str) -> dict[str, str]:
    options = shop | {"query": "SELECT 1 AS a"}
    if kind == "wrong password":
        return options | {"password": SECRET}
    if kind == "no such database":
        return options | {"url": shop["url"].rpartition("/")[0] + "/nope"}
    host = "no-such-host.invalid:5432"
    if kind == "refused port":
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            host = f"127.0.0.1:{s.getsockname()[1]}"
    return options | {"url": f"jdbc:postgresql://{host}/db?password={SECRET.encode().hex()}"}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "kind", ["wrong password", "refused port", "unknown host", "no such database"]
)
@pytest.mark.timeout(10)  # connectorx alone would try for 30 s
def test_no_connection_is_an_error_at_once_without_secrets(
    shop: dict[str, str], kind: str, engine: str
) -> None:
    options = unreachable(shop, kind) | {"engine": engine}
    source = JDBCArrowDataSource()
    spec = {"partition": 0, "dialect": "postgresql", "engine": engine, "why": "a test"}
    good = source.infer_schema(shop | {"query": "SELECT 1 AS a"})
    for attempt in (
        lambda: source.infer_schema(options),
        lambda: list(source.scan_partition(spec, options, Scan(good, ("a",)))),
    ):
        with pytest.raises(ConnectError) as caught:
            attempt()
        error = caught.value
        assert "postgresql at" in str(error)
        assert error.transient == (kind == "refused port")
        told = (
            str(error) + "".join(traceback.format_exception(error, chain=True)) + repr(error.args)
        )
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.args, again.transient) == (
            ConnectError,
            error.args,
            error.transient,
        )
        for secret in (options["password"], SECRET.encode().hex()):
            assert secret not in told
        assert (error.__cause__, error.__context__) == (None, None)


def test_a_lost_session_is_transient(shop: dict[str, str], db: psycopg.Connection[Any]) -> None:
    kill = "SELECT pg_terminate_backend(pg_backend_pid()) AS a"
    for engine in ENGINES:
        with pytest.raises(QueryError) as caught:
            read(shop | {"query": kill, "engine": engine})
        assert caught.value.transient, (engine, str(caught.value))


def test_a_database_that_we_cannot_read_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"not of a known database.*postgresql.*trino"):
        JDBCArrowDataSource().infer_schema({"url": "jdbc:db2://h:50000/d", "dbtable": "t"})


def test_verify_full_is_never_weakened(shop: dict[str, str]) -> None:
    # This server has no TLS at all, so every engine that honours the option refuses it.
    options = shop | {"query": "SELECT 1 AS a", "sslmode": "verify-full"}
    with pytest.raises(ConnectError, match="SSL"):
        read(options)
    spec = {"partition": 0, "dialect": "postgresql", "engine": "connectorx", "why": "a test"}
    good = JDBCArrowDataSource().infer_schema(shop | {"query": "SELECT 1 AS a"})
    with pytest.raises((ConnectError, EngineError)):
        list(JDBCArrowDataSource().scan_partition(spec, options, Scan(good, ("a",))))


def test_nan_is_a_float_key_like_any_other(keys: dict[str, str]) -> None:
    options = keys | {
        "partitionColumn": "f",
        "lowerBound": "-40",
        "upperBound": "40",
        "numPartitions": "4",
    }
    source = JDBCArrowDataSource()
    specs = source.plan_partitions(options)
    last = [v for b in source.read_partition(specs[-1], options) for v in b["F"].to_pylist()]
    assert sum(math.isnan(v) for v in last) == sum(1 for g in range(1, 299) if g % 17 == 0)


def test_decimals_are_not_floats_on_the_way(shop: dict[str, str]) -> None:
    query = "SELECT g::numeric(38,18) / 3 AS a FROM generate_series(1, 50) g"
    options = shop | {"query": f"SELECT round(a, 18)::numeric(38,18) AS a FROM ({query}) q"}
    exact = [(Decimal(g) / 3).quantize(Decimal("1e-18")) for g in range(1, 51)]
    for engine in ENGINES:
        assert read(options | {"engine": engine})["a"].to_pylist() == exact


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_beside_a_column_of_arrays_is_told_as_it_is(
    shop: dict[str, str], postgres: str, engine: str
) -> None:
    # The words that the server is to say of such a column are in the query, which ADBC quotes.
    source, options = JDBCArrowDataSource(), shop | {"dbtable": "lists", "engine": engine}
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP TABLE IF EXISTS lists")
        db.execute("CREATE TABLE lists AS SELECT ARRAY[1] AS a, 1 AS b")
        scan = Scan(source.infer_schema(options), ("a", "b"))
        (spec,) = source.plan_partitions(options)
        db.execute("ALTER TABLE lists DROP COLUMN b")
        with pytest.raises(QueryError, match='column "b" does not exist'):
            list(source.scan_partition(spec, options, scan))
        db.execute("DROP TABLE lists")


@pytest.fixture(scope="module")
def encoded(shop: dict[str, str], postgres: str) -> Iterator[Callable[[str], dict[str, str]]]:
    """From an encoding to options of a database in it, with texts ``é`` and ``''``."""
    made = set()

    def database(encoding: str) -> dict[str, str]:
        name = f"in_{encoding.lower()}"
        with psycopg.connect(postgres, autocommit=True) as db:
            db.execute(f"DROP DATABASE IF EXISTS {name}")
            db.execute(
                f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
            )
        made.add(name)
        home = postgres.rpartition("/")[0]
        client = "utf8" if encoding.startswith("WIN") else "latin1"
        with psycopg.connect(f"{home}/{name}", client_encoding=client, autocommit=True) as db:
            db.execute("CREATE TABLE texts AS SELECT 'é' AS t UNION ALL SELECT ''")
        return shop | {"url": f"{shop['url'].rpartition('/')[0]}/{name}", "dbtable": "texts"}

    yield database
    with psycopg.connect(postgres, autocommit=True) as db:
        for name in made:
            db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def test_a_server_of_another_encoding_is_read_right(
    encoded: Callable[[str], dict[str, str]],
) -> None:
    options = encoded("LATIN1")
    for engine in ENGINES:
        assert sorted(read(options | {"engine": engine})["t"].to_pylist()) == ["", "é"]


def test_a_text_that_the_servers_encoding_lacks_equals_none_of_its_rows(
    encoded: Callable[[str], dict[str, str]],
) -> None:
    options = encoded("LATIN1")
    source = JDBCArrowDataSource()
    schema = source.infer_schema(options)
    for engine in ENGINES:
        (spec,) = source.plan_partitions(options | {"engine": engine})
        for op, text in (("==", "\U0001f600"), ("in", ("€", ""))):
            scan = Scan(schema, ("t",), (Compared("t", op, text),))
            batches = source.scan_partition(spec, options, scan)
            # Not asked of the server, so the worker will filter.
            assert sorted(t for b in batches for t in b["t"].to_pylist()) == ["", "é"]
        scan = Scan(schema, ("t",), (Compared("t", "==", ""),))
        (batch,) = source.scan_partition(spec, options, scan)
        assert batch["t"].to_pylist() == [""]


@pytest.mark.parametrize("cuts", [{"divisions": '["a", "é", "€"]'}, {"numPartitions": "3"}])
def test_texts_that_the_server_orders_by_other_bytes_are_not_cut(
    encoded: Callable[[str], dict[str, str]], cuts: dict[str, str]
) -> None:
    # There the euro is 0x80 and é 0xE9: a euro would be below "é" and not below "€" as well.
    options = encoded("WIN1252") | cuts | {"partitionColumn": "t"}
    with pytest.raises(OptionError, match="in databases that hold UTF8 only, and this one WIN1252"):
        JDBCArrowDataSource().plan_partitions(options)


def test_bytes_that_are_no_text_are_an_error(encoded: Callable[[str], dict[str, str]]) -> None:
    # SQL_ASCII promises nothing: the server hands over whatever bytes were put in.
    options = encoded("SQL_ASCII")
    for engine in ENGINES:
        with pytest.raises(JDBCError, match=r"(?i)utf-?8"):
            read(options | {"engine": engine})
