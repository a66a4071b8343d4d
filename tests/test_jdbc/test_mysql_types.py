"""Every kind of column of MariaDB: the same values from each engine, or an error that says why.

What a value should be is written by hand beside the SQL that makes it, or told by the server.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jdbc import ColumnTypeError, ColumnValueError, JDBCArrowDataSource, OptionError, QueryError

pytestmark = pytest.mark.mariadb

ENGINES = ("connectorx", "fallback")


@pytest.fixture(scope="module")
def db(mariadb: str) -> Iterator[Any]:
    """A cursor that takes any date, valid or not."""
    import pymysql

    parts = urlsplit(mariadb)
    with pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=unquote(parts.password or ""),
        database=parts.path[1:],
        autocommit=True,
        charset="utf8mb4",
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
        yield cursor


@pytest.fixture(scope="module")
def server(mariadb: str, jdbc_options: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return jdbc_options(mariadb)


@pytest.fixture
def table(db: Any, server: dict[str, str]) -> Iterator[Callable[..., dict[str, str]]]:
    """From a type and SQL values to the options of a table of them, in that order."""

    def make(declared: str, *values: str, **options: str) -> dict[str, str]:
        db.execute("DROP TABLE IF EXISTS t")
        db.execute(f"CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v {declared})")
        for value in values:
            db.execute(f"INSERT INTO t (v) VALUES ({value})")
        return server | {"query": "SELECT v FROM t ORDER BY id"} | options

    yield make
    db.execute("DROP TABLE IF EXISTS t")


def read(options: dict[str, str], engine: str) -> pa.Table:
    """All rows, as a caller without Dask reads them."""
    source, options = JDBCArrowDataSource(), options | {"engine": engine}
    schema = source.infer_schema(options)
    specs = source.plan_partitions(options)
    assert {spec["engine"] for spec in specs} == {engine}
    batches = [b for spec in specs for b in source.read_partition(spec, options)]
    table = pa.Table.from_batches(batches, schema=schema)
    table.validate(full=True)
    return table


def single(value: float) -> float:
    """The nearest float32."""
    result: float = struct.unpack("f", struct.pack("f", value))[0]
    return result


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)


D, UTC = Decimal, pa.timestamp("us", "UTC")


@pytest.mark.parametrize("engine", ENGINES)
def test_zero_dates_are_null_where_that_is_asked(
    table: Callable[..., dict[str, str]], engine: str
) -> None:
    for declared in ("DATE", "DATETIME(3)", "TIMESTAMP NULL", "DATE NOT NULL"):
        options = table(declared, "0", "'2024-01-31'", zeroDateTimeBehavior="CONVERT_TO_NULL")
        first, second = read(options, engine)["v"].to_pylist()
        assert first is None
        assert second is not None
    options = table("DATE", "'2024-00-00'", zeroDateTimeBehavior="convertToNull")
    with pytest.raises(ColumnValueError, match="'v'"):  # that is no zero date, but no date either
        read(options, engine)


@pytest.mark.parametrize(
    ("key", "value"),
    [("zeroDateTimeBehavior", "round"), ("tinyInt1isBit", "true"), ("yearIsDateType", "true")],
)
def test_what_would_change_values_is_refused(
    table: Callable[..., dict[str, str]], key: str, value: str
) -> None:
    options = table("INT", "1")
    with pytest.raises(OptionError, match=f"{key}.*'{value}'"):
        read(options | {key: value}, "fallback")
    assert read(options | {key: "exception" if value == "round" else "false"}, "fallback").num_rows


# customSchema: declared type, SQL value, DDL type, what comes or None for an error.
ASKED = {
    "int as text": ("INT(5) ZEROFILL", "42", "STRING", "00042"),
    "bigint as decimal": ("BIGINT UNSIGNED", f"{2**64 - 1}", "DECIMAL(20,0)", D(2**64 - 1)),
    "int as a wide one": ("INT", "42", "BIGINT", 42),
    "int as a narrow one": ("INT", "300", "TINYINT", None),
    "tinyint as boolean": ("TINYINT(1)", "1", "BOOLEAN", True),
    "another tinyint as boolean": ("TINYINT(1)", "2", "BOOLEAN", None),
    "decimal as decimal": ("DECIMAL(10,4)", "1.5", "DECIMAL(10,1)", D("1.5")),
    "decimal as too short a decimal": ("DECIMAL(10,4)", "1.55", "DECIMAL(10,1)", None),
    "decimal as double": ("DECIMAL(10,4)", "1.55", "DOUBLE", 1.55),
    "decimal as int": ("DECIMAL(10,4)", "7", "INT", 7),
    "float as text": ("FLOAT", "0.1", "STRING", "0.1"),
    "float as double": ("FLOAT", "0.1", "DOUBLE", single(0.1)),
    "float as decimal": ("FLOAT", "0.1", "DECIMAL(3,1)", D("0.1")),
    "double as float": ("DOUBLE", "0.5", "FLOAT", 0.5),
    "double as too narrow a float": ("DOUBLE", "0.1", "FLOAT", None),
    "double as text": ("DOUBLE", "0.1", "STRING", "0.1"),
    "bit as int": ("BIT(9)", "b'100000001'", "INT", 257),
    "bit as boolean": ("BIT(1)", "b'1'", "BOOLEAN", True),
    "bit as text": ("BIT(8)", "b'101'", "STRING", "5"),
    "blob as text": ("BLOB", "'grüße'", "STRING", "grüße"),
    "blob of other bytes as text": ("BLOB", "x'ff'", "STRING", None),
    "text as bytes": ("TEXT", "'ü'", "BINARY", "ü".encode()),
    "text as int": ("TEXT", "'12'", "INT", 12),
    "other text as int": ("TEXT", "'12a'", "INT", None),
    "text as date": ("VARCHAR(20)", "'2024-01-31'", "DATE", dt.date(2024, 1, 31)),
    "enum as text": ("ENUM('1')", "'1'", "STRING", "1"),
    "year as text": ("YEAR", "2024", "STRING", "2024"),
    "date as text": ("DATE", "'2024-01-31'", "STRING", "2024-01-31"),
    "date as a moment": ("DATE", "'2024-01-31'", "TIMESTAMP_NTZ", dt.datetime(2024, 1, 31)),
    "datetime as an instant": ("DATETIME", "'2024-01-31 01:00'", "TIMESTAMP", utc(2024, 1, 31, 1)),
    "instant as a moment": (
        "TIMESTAMP NULL",
        "'2024-01-31 01:00'",
        "TIMESTAMP_NTZ",
        dt.datetime(2024, 1, 31, 1),
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ASKED)
def test_customschema_converts_exactly_or_fails(
    table: Callable[..., dict[str, str]], name: str, engine: str
) -> None:
    declared, sql, ddl, expected = ASKED[name]
    options = table(declared, sql, "NULL", customSchema=f"v {ddl}")
    if expected is None:
        with pytest.raises(ColumnValueError, match="'v'"):
            read(options, engine)
        return
    assert read(options, engine)["v"].to_pylist() == [expected, None]


def test_bytes_become_no_number(table: Callable[..., dict[str, str]]) -> None:
    with pytest.raises(ColumnTypeError, match=r"'v'.*blob.*int32"):
        read(table("BLOB", "'1'", customSchema="v INT"), "fallback")


# --------------------------------------------------------------------------------- queries

QUERIES: dict[str, tuple[str, dict[str, pa.DataType], list[tuple[Any, ...]]]] = {
    "untyped NULL": ("SELECT NULL AS a, 1 AS b", {"a": pa.binary(), "b": pa.int32()}, [(None, 1)]),
    "all-NULL int": ("SELECT NULLIF(seq, 1) AS a FROM seq_1_to_1", {"a": pa.uint64()}, [(None,)]),
    "quoted names": (
        "SELECT 1 AS `a``b`, 2 AS `c d`, 3 AS `select`, 4 AS `ü%\"'`",
        {"a`b": pa.int32(), "c d": pa.int32(), "select": pa.int32(), "ü%\"'": pa.int32()},
        [(1, 2, 3, 4)],
    ),
    "unnamed columns": (
        "SELECT 1+1, 'x'",
        {"1+1": pa.int32(), "x": pa.string()},
        [(2, "x")],
    ),
    "trailing semicolon": ("SELECT 1 AS a ; ", {"a": pa.int32()}, [(1,)]),
    "trailing comment": ("SELECT 1 AS a -- it's done", {"a": pa.int32()}, [(1,)]),
    "hash comment": ("SELECT 1 AS a # it's done", {"a": pa.int32()}, [(1,)]),
    "percent sign": (
        "SELECT '100%s %d' AS a, 7 % 4 AS b",
        {"a": pa.string(), "b": pa.int32()},
        [("100%s %d", 3)],
    ),
    "CTE": ("WITH w AS (SELECT 1 AS a) SELECT a FROM w", {"a": pa.int32()}, [(1,)]),
    "union": ("SELECT 1 AS a UNION ALL SELECT 2", {"a": pa.int32()}, [(1,), (2,)]),
    "sum of int": ("SELECT sum(seq) AS s FROM seq_1_to_3", {"s": pa.decimal256(42, 0)}, [(D(6),)]),
    "count": ("SELECT count(*) AS c FROM (SELECT 1) q", {"c": pa.int64()}, [(1,)]),
    "avg of decimal": (
        "SELECT avg(CAST(1.25 AS DECIMAL(10,2))) AS a",
        {"a": pa.decimal128(14, 6)},
        [(D("1.250000"),)],
    ),
    "sum of double": ("SELECT sum(0.1e0) AS a", {"a": pa.float64()}, [(0.1,)]),
    "concat of bytes and text": ("SELECT concat(x'61', 'b') AS a", {"a": pa.binary()}, [(b"ab",)]),
    "concat of number and text": ("SELECT concat(1, 'b') AS a", {"a": pa.string()}, [("1b",)]),
    "minus unsigned": ("SELECT CAST(5 AS UNSIGNED) AS a", {"a": pa.uint32()}, [(5,)]),
    "wide row": (
        "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(300)),
        {f"c{i}": pa.int32() for i in range(300)},
        [tuple(range(300))],
    ),
    "empty": (
        "SELECT 1 AS a, 'x' AS b, 1.5 AS c FROM DUAL WHERE 1 = 0",
        {"a": pa.int32(), "b": pa.string(), "c": pa.decimal128(2, 1)},
        [],
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", QUERIES)
def test_a_query_gives_the_same_on_each_engine(
    server: dict[str, str], name: str, engine: str
) -> None:
    query, types, rows = QUERIES[name]
    found = read(server | {"query": query}, engine)
    assert dict(zip(found.schema.names, found.schema.types, strict=True)) == types
    assert [tuple(row.values()) for row in found.to_pylist()] == rows


@pytest.mark.parametrize("engine", ENGINES)
def test_a_name_that_comes_twice_is_an_error(server: dict[str, str], engine: str) -> None:
    with pytest.raises(QueryError, match=r"(?i)duplicate column name 'a'"):
        read(server | {"query": "SELECT 1 AS a, 2 AS A"}, engine)
    join = "(SELECT 1 AS a) l JOIN (SELECT 2 AS a) r"
    with pytest.raises(ColumnTypeError, match="'a' comes 2 times"):
        read(server | {"dbtable": join}, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_within_the_rows_is_an_error(server: dict[str, str], engine: str) -> None:
    query = "SELECT exp(709 + seq) AS a FROM seq_0_to_1"
    with pytest.raises(QueryError, match="out of range") as caught:
        read(server | {"query": query}, engine)
    assert caught.value.sqlstate == "22003"


# ------------------------------------------------------------------------------ any values

FINITE = st.floats(allow_nan=False, allow_infinity=False)
DAYS = st.datetimes(min_value=dt.datetime(1, 1, 1))
INSTANTS = st.datetimes(dt.datetime(1970, 1, 1, 0, 0, 1), dt.datetime(2038, 1, 19, 3, 14, 6))
WIDE = st.decimals(allow_nan=False, allow_infinity=False, places=30).filter(
    lambda number: abs(number) < D(10) ** 35
)
# MariaDB's three-byte characters aside, a text is any text; NULs and backslashes too.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROW = st.tuples(
    *map(st.none().__or__, (FINITE, WIDE, DAYS, INSTANTS, TEXTS, st.binary(max_size=20)))
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(ROW, min_size=1, max_size=20))
def test_any_value_comes_back(db: Any, server: dict[str, str], rows: list[tuple[Any, ...]]) -> None:
    db.execute("DROP TABLE IF EXISTS anything")
    db.execute(
        "CREATE TABLE anything (id INT PRIMARY KEY AUTO_INCREMENT, f DOUBLE, n DECIMAL(65,30),"
        " d DATETIME(6), i TIMESTAMP(6) NULL, t TEXT, b BLOB)"
    )
    insert = "INSERT INTO anything (f, n, d, i, t, b) VALUES (%s, %s, %s, %s, %s, %s)"
    db.executemany(insert, rows)
    options = server | {"query": "SELECT f, n, d, i, t, b FROM anything ORDER BY id"}
    for engine in ENGINES:
        found = [tuple(row.values()) for row in read(options, engine).to_pylist()]
        expected = [(*row[:3], row[3] and row[3].replace(tzinfo=dt.UTC), *row[4:]) for row in rows]
        assert found == expected
    db.execute("DROP TABLE anything")
