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
POINT = struct.pack("<I", 0) + b"\x01" + struct.pack("<Idd", 1, 1.0, 2.0)
EXACT: dict[str, tuple[str, pa.DataType, list[tuple[str, Any]]]] = {
    "TINYINT": ("tinyint", pa.int8(), [("-128", -128), ("127", 127)]),
    "TINYINT UNSIGNED": ("tinyint unsigned", pa.uint8(), [("255", 255)]),
    "TINYINT(1)": ("tinyint", pa.int8(), [("1", 1), ("-7", -7)]),
    "BOOLEAN": ("tinyint", pa.int8(), [("TRUE", 1), ("FALSE", 0)]),
    "SMALLINT": ("smallint", pa.int16(), [("-32768", -32768), ("32767", 32767)]),
    "SMALLINT UNSIGNED": ("smallint unsigned", pa.uint16(), [("65535", 65535)]),
    "MEDIUMINT": ("mediumint", pa.int32(), [("-8388608", -8388608)]),
    "MEDIUMINT UNSIGNED": ("mediumint unsigned", pa.uint32(), [("16777215", 16777215)]),
    "INT": ("int", pa.int32(), [("-2147483648", -(2**31)), ("2147483647", 2**31 - 1)]),
    "INT UNSIGNED": ("int unsigned", pa.uint32(), [("4294967295", 2**32 - 1)]),
    "INT(8) ZEROFILL": ("int unsigned", pa.uint32(), [("42", 42)]),
    "BIGINT": ("bigint", pa.int64(), [(f"{-(2**63)}", -(2**63)), (f"{2**63 - 1}", 2**63 - 1)]),
    "BIGINT UNSIGNED": ("bigint unsigned", pa.uint64(), [(f"{2**64 - 1}", 2**64 - 1)]),
    "FLOAT": (
        "float",
        pa.float32(),
        [(text, single(float(text))) for text in ("0.1", "16777216", "1e-45", "3.4028234e38")],
    ),
    "FLOAT(10,2)": ("float(10,2)", pa.float32(), [("123456.79", single(123456.79))]),
    "DOUBLE": (
        "double",
        pa.float64(),
        [(text, float(text)) for text in ("0.1", "1e308", "5e-324", "0.30000000000000004")],
    ),
    "DOUBLE(30,20)": ("double(30,20)", pa.float64(), [("0.3", 0.3), ("1e9", 1e9)]),
    "DECIMAL(10,2)": ("decimal(10,2)", pa.decimal128(10, 2), [("-99999999.99", D("-99999999.99"))]),
    "DECIMAL(5,2) UNSIGNED ZEROFILL": (
        "decimal(5,2)",
        pa.decimal128(5, 2),
        [("1.5", D("1.50")), ("999.99", D("999.99"))],
    ),
    "DECIMAL(38,10)": (
        "decimal(38,10)",
        pa.decimal128(38, 10),
        [("9" * 28 + "." + "9" * 10, D("9" * 28 + "." + "9" * 10))],
    ),
    "DECIMAL(39,0)": ("decimal(39,0)", pa.decimal256(39, 0), [("9" * 39, D("9" * 39))]),
    "DECIMAL(65,30)": (
        "decimal(65,30)",
        pa.decimal256(65, 30),
        [
            ("-" + "9" * 35 + "." + "9" * 30, D("-" + "9" * 35 + "." + "9" * 30)),
            ("1e-30", D("1e-30")),
        ],
    ),
    "BIT(1)": ("bit(1)", pa.binary(), [("b'1'", b"\x01"), ("b'0'", b"\x00")]),
    "BIT(9)": ("bit(9)", pa.binary(), [("b'111111111'", b"\x01\xff")]),
    "BIT(64)": ("bit(64)", pa.binary(), [(f"{2**64 - 1}", b"\xff" * 8)]),
    "VARCHAR(10)": (
        "varchar(10)",
        pa.string(),
        [("'grüße 🎉'", "grüße 🎉"), ("''", ""), ("'a '", "a ")],
    ),
    "VARCHAR(9) COLLATE utf8mb4_bin": ("varchar(9)", pa.string(), [("'ä'", "ä")]),
    "VARCHAR(9) CHARACTER SET latin1": ("varchar(9)", pa.string(), [("'äÿ€'", "äÿ€")]),
    "VARCHAR(9) CHARACTER SET utf16": ("varchar(9)", pa.string(), [("'ä🎉'", "ä🎉")]),
    "CHAR(5)": ("char(5)", pa.string(), [("'ab  '", "ab")]),
    "TEXT": ("text", pa.string(), [("'a\\0b'", "a\0b"), ("repeat('ü', 30000)", "ü" * 30000)]),
    "TINYTEXT": ("text", pa.string(), [("'a'", "a")]),
    "LONGTEXT": ("text", pa.string(), [("repeat('x', 17000000)", "x" * 17_000_000)]),
    "VARBINARY(10)": ("varbinary(10)", pa.binary(), [("x'00ff'", b"\x00\xff"), ("''", b"")]),
    "BINARY(4)": ("binary(4)", pa.binary(), [("'a'", b"a\0\0\0")]),
    "BLOB": ("blob", pa.binary(), [("x'ff'", b"\xff"), ("x''", b"")]),
    "LONGBLOB": ("blob", pa.binary(), [("repeat(x'ff', 17000000)", b"\xff" * 17_000_000)]),
    "DATE": (
        "date",
        pa.date32(),
        [
            ("'0001-01-01'", dt.date.min),
            ("'9999-12-31'", dt.date.max),
            ("'2024-02-29'", dt.date(2024, 2, 29)),
        ],
    ),
    "TIME": (
        "time",
        pa.time64("us"),
        [("'00:00:00'", dt.time()), ("'23:59:59'", dt.time(23, 59, 59))],
    ),
    "TIME(6)": ("time(6)", pa.time64("us"), [("'23:59:59.999999'", dt.time.max)]),
    "DATETIME": (
        "datetime",
        pa.timestamp("us"),
        [
            ("'0001-01-01'", dt.datetime.min),
            ("'2024-03-10 02:30:00'", dt.datetime(2024, 3, 10, 2, 30)),
        ],
    ),
    "DATETIME(6)": (
        "datetime(6)",
        pa.timestamp("us"),
        [("'9999-12-31 23:59:59.999999'", dt.datetime.max)],
    ),
    "TIMESTAMP NULL": (
        "timestamp",
        UTC,
        # In the server's time zone, -05:00, it is another day.
        [
            ("'1970-01-01 00:00:01'", utc(1970, 1, 1, 0, 0, 1)),
            ("'2038-01-19 03:14:07'", utc(2038, 1, 19, 3, 14, 7)),
        ],
    ),
    "TIMESTAMP(3) NULL": (
        "timestamp(3)",
        UTC,
        [("'2024-01-31 01:02:03.456'", utc(2024, 1, 31, 1, 2, 3, 456000))],
    ),
    "YEAR": ("year", pa.int16(), [("1901", 1901), ("2155", 2155), ("'0000'", 0)]),
    "ENUM('a','ü b')": ("enum", pa.string(), [("'ü b'", "ü b"), ("1", "a")]),
    "SET('x','y')": ("set", pa.string(), [("'x,y'", "x,y"), ("''", "")]),
    "JSON": (
        "text",
        pa.string(),
        [
            (
                '\'{"b": 1.10, "a": 12345678901234567890123}\'',
                '{"b": 1.10, "a": 12345678901234567890123}',
            )
        ],
    ),
    "UUID": (
        "char(36)",
        pa.string(),
        [("'123E4567-e89b-12d3-a456-426614174000'", "123e4567-e89b-12d3-a456-426614174000")],
    ),
    "INET6": ("char(39)", pa.string(), [("'2001:DB8::1'", "2001:db8::1")]),
    "POINT": ("geometry", pa.binary(), [("POINT(1, 2)", POINT)]),
    "GEOMETRY": ("geometry", pa.binary(), [("ST_GeomFromText('POINT(1 2)')", POINT)]),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("declared", EXACT)
def test_a_value_is_what_was_stored(
    table: Callable[..., dict[str, str]], declared: str, engine: str
) -> None:
    name, kind, pairs = EXACT[declared]
    found = read(table(declared, *[sql for sql, _ in pairs], "NULL"), engine)
    field = found.schema.field("v")
    assert (field.metadata[b"jdbc.type"].decode(), field.type) == (name, kind)
    assert found["v"].to_pylist() == [*[value for _, value in pairs], None]


# What no engine may make a value of: what the error says, and how the server prints it.
LOUD = {
    "DATE zero": ("DATE", "'0000-00-00'", "zero date", "0000-00-00"),
    "DATE in no day": ("DATE", "'2024-00-00'", "not in ISO form", "2024-00-00"),
    "DATE that never was": ("DATE", "'2023-02-31'", "not in ISO form", "2023-02-31"),
    "DATE in no year": ("DATE", "'0000-01-31'", "years", "0000-01-31"),
    "DATETIME zero": ("DATETIME", "'0000-00-00'", "zero date", "0000-00-00 00:00:00"),
    "DATETIME(2) in no day": ("DATETIME(2)", "'2024-01-00'", "ISO", "2024-01-00 00:00:00.00"),
    "TIMESTAMP zero": ("TIMESTAMP NULL", "0", "zero date", "0000-00-00 00:00:00"),
    "TIME of a day": ("TIME", "'24:00:00'", "time64", "24:00:00"),
    "TIME of weeks": ("TIME(3)", "'838:59:59.5'", "time64", "838:59:59.500"),
    "TIME below zero": ("TIME(6)", "'-00:00:00.000001'", "time64", "-00:00:00.000001"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", LOUD)
def test_a_value_without_a_place_is_an_error_that_says_how_to_read_it(
    table: Callable[..., dict[str, str]], name: str, engine: str
) -> None:
    declared, sql, problem, printed = LOUD[name]
    options = table(declared, "NULL", sql)
    with pytest.raises(ColumnValueError, match=rf"'v'.*{problem}.*customSchema 'v STRING'"):
        read(options, engine)
    assert read(options | {"customSchema": "v STRING"}, engine)["v"].to_pylist() == [None, printed]


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
