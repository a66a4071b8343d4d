"""What is in the tables of `test_type_support.py`: values as SQL, and what they must come as.

What a value must be is written by hand beside it, or, where it is ``...``, told by the database's
own driver: as the database prints it, or (SQLite) as it is stored. Nothing here comes from us.
"""

from __future__ import annotations

import datetime as dt
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.metadata import version
from typing import Any

import pyarrow as pa

D, UTC, NAN, INF = Decimal, dt.UTC, math.nan, math.inf


@dataclass(frozen=True)
class Case:
    """A type, its Arrow type, and values that come as they are.

    ``values`` go from SQL to what `to_pylist` gives, or ``...``; ``label`` tells cases of one type
    apart; ``database_type`` is what the schema calls it, where that is known; ``empty`` the Arrow
    type where there is no value, and it is the values that decide; ``refused`` names the engines
    that do not read it.
    """

    declared: str
    arrow: pa.DataType
    values: Mapping[str, Any]
    label: str = ""
    database_type: str | None = None
    empty: pa.DataType | None = None
    refused: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Loud:
    """A value that has no place in Arrow: an error with these words, and the remedy that it names.

    ``good`` is a value of the column's type, where it is values that decide the type.
    """

    declared: str
    sql: str
    words: str
    good: str | None = None
    remedy: str = "customSchema"


def single(value: float) -> float:
    """The nearest float32."""
    result: float = struct.unpack("f", struct.pack("f", value))[0]
    return result


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=UTC)


# -------------------------------------------------------------------------------- PostgreSQL


def as_text(sql_type: str, *values: str) -> Case:
    return Case(sql_type, pa.string(), dict.fromkeys(values, ...))


POSTGRESQL = [
    Case("boolean", pa.bool_(), {"true": True, "false": False}),
    Case("smallint", pa.int16(), {"-32768": -32768, "32767": 32767}),
    Case("integer", pa.int32(), {"-2147483648": -(2**31), "2147483647": 2**31 - 1}),
    Case("bigint", pa.int64(), {f"{-(2**63)}": -(2**63), f"{2**63 - 1}": 2**63 - 1}),
    Case("odd.small", pa.int32(), {"99": 99}),
    Case("oid", pa.uint32(), {"0": 0, "4294967295": 2**32 - 1}),
    Case(
        "real",
        pa.float32(),
        # 0.1 as the nearest float has it, the largest, and the smallest above zero.
        {
            "0.1": 13421773 / 2**27,
            "3.4028235e38": (2 - 2**-23) * 2.0**127,
            "1e-45": 2.0**-149,
            "-0": -0.0,
            "NaN": NAN,
            "-Infinity": -INF,
        },
    ),
    Case(
        "double precision",
        pa.float64(),
        {
            "0.1": 0.1,
            "1.7976931348623157e308": 1.7976931348623157e308,
            "5e-324": 5e-324,
            "0.30000000000000004": 0.30000000000000004,
            "-0": -0.0,
            "NaN": NAN,
            "Infinity": INF,
        },
    ),
    Case("numeric(10,2)", pa.decimal128(10, 2), {"-99999999.99": D("-99999999.99"), "0": D(0)}),
    Case(
        "numeric(38,10)",
        pa.decimal128(38, 10),
        {"-" + "9" * 28 + "." + "9" * 10: D("-" + "9" * 28 + "." + "9" * 10), "1e-10": D("1e-10")},
    ),
    Case("numeric(20,0)", pa.decimal128(20, 0), {"9" * 20: D("9" * 20)}),
    Case("numeric(38,38)", pa.decimal128(38, 38), {"0." + "9" * 38: D("0." + "9" * 38)}),
    Case("numeric(5,-2)", pa.decimal128(7, 0), {"1234567": D(1234600)}),
    Case("numeric(3,5)", pa.decimal128(5, 5), {"0.00123": D("0.00123")}),
    Case(
        "numeric",
        pa.decimal128(38, 18),
        {
            "1e-18": D("1e-18"),
            "-" + "9" * 20 + "." + "9" * 18: D("-" + "9" * 20 + "." + "9" * 18),
            "12345678901.000": D("12345678901"),
            "1.50000000000000000000000": D("1.5"),
        },
    ),
    Case(
        "numeric(60,5)",
        pa.decimal256(60, 5),
        {"9" * 55 + ".12345": D("9" * 55 + ".12345"), "-0.00001": D("-0.00001")},
    ),
    Case("numeric(80,2)", pa.string(), {"9" * 78 + ".99": "9" * 78 + ".99"}),
    Case("text", pa.string(), {"''": "", "'a''b\\n'": "a'b\\n", "'日本 🍣'": "日本 🍣"}),
    Case("varchar(10)", pa.string(), {"'%s $1 {}'": "%s $1 {}"}),
    Case("char(5)", pa.string(), {"'ab'": "ab   ", "''": "     "}),
    Case("name", pa.string(), {"'pg_class'": "pg_class"}),
    Case('"char"', pa.string(), {"'x'": "x"}),
    Case("bytea", pa.binary(), {r"'\x00ff27'": b"\x00\xff'", "''": b""}),
    Case(
        "date",
        pa.date32(),
        {
            "'0001-01-01'": dt.date.min,
            "'9999-12-31'": dt.date.max,
            "'1970-01-01'": dt.date(1970, 1, 1),
        },
    ),
    Case(
        "time",
        pa.time64("us"),
        {"'00:00'": dt.time(), "'23:59:59.999999'": dt.time.max, "'12:30'": dt.time(12, 30)},
    ),
    Case(
        "timestamp",
        pa.timestamp("us"),
        {
            "'0001-01-01 00:00'": dt.datetime.min,
            "'9999-12-31 23:59:59.999999'": dt.datetime.max,
            "'1969-12-31 23:59:59.5'": dt.datetime(1969, 12, 31, 23, 59, 59, 500_000),
        },
    ),
    Case(
        "timestamp(0)",
        pa.timestamp("us"),
        {"'2024-02-29 12:00:00.5'": dt.datetime(2024, 2, 29, 12, 0, 1)},
    ),
    Case(
        "timestamptz",
        pa.timestamp("us", "UTC"),
        {
            "'0001-01-01 00:00+00'": dt.datetime.min.replace(tzinfo=UTC),
            "'9999-12-31 23:59:59.999999+00'": dt.datetime.max.replace(tzinfo=UTC),
            "'2024-07-01 00:00+05:30'": dt.datetime(2024, 6, 30, 18, 30, tzinfo=UTC),
        },
    ),
    Case(
        "interval",
        pa.month_day_nano_interval(),
        {
            "'1 year 2 mons 3 days 04:05:06.789'": (14, 3, 14_706_789_000_000),
            "'-1 mon +2 days -00:00:00.000001'": (-1, 2, -1000),
            "'0'": (0, 0, 0),
            "'2000000 hours'": (0, 0, 2_000_000 * 3600 * 10**9),
        },
    ),
    Case("integer[]", pa.list_(pa.int32()), {"'{}'": [], "'{1,NULL,-3}'": [1, None, -3]}),
    Case("smallint[]", pa.list_(pa.int16()), {"'{1,NULL}'": [1, None]}),
    Case("bigint[]", pa.list_(pa.int64()), {"'{9223372036854775807}'": [2**63 - 1]}),
    Case("oid[]", pa.list_(pa.uint32()), {"'{4294967295,NULL}'": [2**32 - 1, None]}),
    Case("real[]", pa.list_(pa.float32()), {"'{0.1,NULL}'": [13421773 / 2**27, None]}),
    Case(
        "float8[]", pa.list_(pa.float64()), {"'{0.1,NaN,-Infinity,NULL}'": [0.1, NAN, -INF, None]}
    ),
    Case("boolean[]", pa.list_(pa.bool_()), {"'{t,NULL,f}'": [True, None, False]}),
    Case("numeric(10,2)[]", pa.list_(pa.decimal128(10, 2)), {"'{1.5,NULL}'": [D("1.5"), None]}),
    Case("numeric[]", pa.list_(pa.decimal128(38, 18)), {"'{1e-18,NULL}'": [D("1e-18"), None]}),
    Case(
        "text[]",
        pa.list_(pa.string()),
        {"""'{"a,b",NULL,"NULL","","{x}"}'""": ["a,b", None, "NULL", "", "{x}"]},
    ),
    Case("varchar(3)[]", pa.list_(pa.string()), {"'{abc}'": ["abc"]}),
    Case("bytea[]", pa.list_(pa.binary()), {r"""'{"\\x00ff",NULL}'""": [b"\x00\xff", None]}),
    Case("date[]", pa.list_(pa.date32()), {"'{9999-12-31,NULL}'": [dt.date.max, None]}),
    Case("time[]", pa.list_(pa.time64("us")), {"'{12:30,NULL}'": [dt.time(12, 30), None]}),
    Case("timestamp[]", pa.list_(pa.timestamp("us")), {"'{0001-01-01 00:00}'": [dt.datetime.min]}),
    Case(
        "timestamptz[]",
        pa.list_(pa.timestamp("us", "UTC")),
        {"'{2024-07-01 00:00+02,NULL}'": [dt.datetime(2024, 6, 30, 22, tzinfo=UTC), None]},
    ),
    Case(
        "uuid[]",
        pa.list_(pa.string()),
        {
            "'{A0EEBC999C0B4EF8BB6D6BB9BD380A11,NULL}'": [
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                None,
            ]
        },
    ),
    Case("interval[]", pa.list_(pa.string()), {"'{1 mon,NULL}'": ["1 mon", None]}),
    Case("odd.mood[]", pa.list_(pa.string()), {"'{sad,NULL}'": ["sad", None]}),
    Case("jsonb[]", pa.list_(pa.string()), {"""'{"{\\"a\\":1.10}"}'""": ['{"a": 1.10}']}),
    as_text("uuid", "'A0EEBC999C0B4EF8BB6D6BB9BD380A11'"),
    # Numbers beyond a double's digits, a key twice, JSON's own null.
    as_text("json", """'{"a": 12345678901234567890123, "b": 1.10, "a": 2}'""", "'null'"),
    as_text("jsonb", """'{"a": 12345678901234567890123, "b": 1.10}'""", "'null'"),
    as_text("timetz", "'12:30:00.5+05:30'"),
    as_text("money", "'-1234.56'"),
    as_text("bit(3)", "B'101'"),
    as_text("varbit", "B''", "B'1010101010'"),
    as_text("inet", "'10.0.0.1/8'", "'::1'"),
    as_text("cidr", "'10.0.0.0/8'"),
    as_text("macaddr", "'08:00:2b:01:02:03'"),
    as_text("point", "'(1.5,-0.1)'"),
    as_text("int4range", "'[1,5)'", "'empty'"),
    as_text("int4multirange", "'{[1,5),[7,9)}'"),
    as_text("tstzrange", "'[2024-01-01 00:00+00,)'"),
    as_text("tsvector", "'a fat cat'"),
    as_text("pg_lsn", "'16/B374D848'"),
    as_text("regclass", "'pg_class'"),
    as_text("odd.mood", "'sad'", "'ok'"),
    as_text("odd.pair", """'(1,"a b")'"""),
    as_text("odd.date", "'monday'"),
    as_text("odd.hstore", "'a=>1,b=>NULL'"),
    as_text("odd.citext", "'Ab'"),
    as_text("odd.ltree", "'Top.Science'"),
    Case(
        "char(3)[]",
        pa.list_(pa.string()),
        {"'{ab,NULL}'": ["ab ", None]},
        refused=("connectorx",),  # as text it has lost its blanks
    ),
    Case("xml", pa.string(), {}),  # this server can make none, but NULLs it has
]

POSTGRESQL_LOUD = [
    Loud("numeric", "'NaN'", "NaN"),
    Loud("numeric(10,2)", "'NaN'", "NaN"),
    Loud("numeric", "'Infinity'", "infinity"),
    Loud("numeric", "'1e-19'", "does not fit"),
    # Arrow's own cast of text makes another number of this, without a word.
    Loud("numeric", f"'{'1' * 25}'", "customSchema.*DECIMAL"),
    Loud("numeric", "'1e40'", "does not fit"),
    Loud("numeric[]", "'{1,NaN}'", "NaN"),
    Loud("date", "'infinity'", "infinite"),
    Loud("date", "'-infinity'", "infinite"),
    Loud("date", "'0044-03-15 BC'", "years 1 to 9999"),
    Loud("date", "'12345-01-01'", "years 1 to 9999"),
    Loud("date[]", "'{infinity}'", "infinite|does not fit"),
    Loud("time", "'24:00'", "24:00|does not fit"),
    Loud("timestamp", "'infinity'", "infinite"),
    Loud("timestamp", "'-infinity'", "infinite"),
    Loud("timestamp", "'0044-03-15 BC'", "years 1 to 9999"),
    Loud("timestamptz", "'infinity'", "infinite"),
    Loud("timestamptz", "'12345-01-01'", "years 1 to 9999"),
    Loud("interval", "'infinity'", "infinite interval"),
    Loud("interval", "'3000000 hours'", "nanoseconds"),
    Loud("int[]", "'{{1,2},{3,4}}'", "two or more dimensions"),
    Loud("uuid[]", "array[array[gen_random_uuid()]]", "two or more dimensions"),
]

# ----------------------------------------------------------------------------------- MariaDB

_POINT = struct.pack("<I", 0) + b"\x01" + struct.pack("<Idd", 1, 1.0, 2.0)
_MARIADB: dict[str, tuple[str, pa.DataType, list[tuple[str, Any]]]] = {
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
    "LONGTEXT": ("text", pa.string(), [("repeat('x', 70000)", "x" * 70_000)]),
    "VARBINARY(10)": ("varbinary(10)", pa.binary(), [("x'00ff'", b"\x00\xff"), ("''", b"")]),
    "BINARY(4)": ("binary(4)", pa.binary(), [("'a'", b"a\0\0\0")]),
    "BLOB": ("blob", pa.binary(), [("x'ff'", b"\xff"), ("x''", b"")]),
    "LONGBLOB": ("blob", pa.binary(), [("repeat(x'ff', 70000)", b"\xff" * 70_000)]),
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
        pa.timestamp("us", "UTC"),
        # In the server's time zone, -05:00, it is another day.
        [
            ("'1970-01-01 00:00:01'", utc(1970, 1, 1, 0, 0, 1)),
            ("'2038-01-19 03:14:07'", utc(2038, 1, 19, 3, 14, 7)),
        ],
    ),
    "TIMESTAMP(3) NULL": (
        "timestamp(3)",
        pa.timestamp("us", "UTC"),
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
    "INET4": ("char(15)", pa.string(), [("'10.0.0.1'", "10.0.0.1")]),
    "POINT": ("geometry", pa.binary(), [("POINT(1, 2)", _POINT)]),
    "GEOMETRY": ("geometry", pa.binary(), [("ST_GeomFromText('POINT(1 2)')", _POINT)]),
}
MARIADB = [
    Case(declared, arrow, dict(pairs), database_type=name)
    for declared, (name, arrow, pairs) in _MARIADB.items()
]
MARIADB_LOUD = [
    Loud("DATE", "'0000-00-00'", "zero date"),
    Loud("DATE", "'2024-00-00'", "not in ISO form"),
    Loud("DATE", "'2023-02-31'", "not in ISO form"),
    Loud("DATE", "'0000-01-31'", "years"),
    Loud("DATETIME", "'0000-00-00'", "zero date"),
    Loud("DATETIME(2)", "'2024-01-00'", "ISO"),
    Loud("TIMESTAMP NULL", "0", "zero date"),
    Loud("TIME", "'24:00:00'", "time64"),
    Loud("TIME(3)", "'838:59:59.5'", "time64"),
    Loud("TIME(6)", "'-00:00:00.000001'", "time64"),
]

# ------------------------------------------------------------------------------------ DuckDB

TEXT, WHOLE = pa.string(), pa.decimal128(38, 0)
MOMENT, INSTANT = pa.timestamp("us"), pa.timestamp("us", "UTC")
_DUCKDB: dict[str, tuple[pa.DataType, list[str]]] = {
    "BOOLEAN": (pa.bool_(), ["true", "false", "NULL"]),
    "TINYINT": (pa.int8(), ["-128", "127", "NULL"]),
    "SMALLINT": (pa.int16(), ["-32768", "32767"]),
    "INTEGER": (pa.int32(), ["-2147483648", "2147483647", "NULL"]),
    "BIGINT": (pa.int64(), ["-9223372036854775808", "9223372036854775807", "9007199254740993"]),
    "UTINYINT": (pa.uint8(), ["0", "255"]),
    "USMALLINT": (pa.uint16(), ["65535", "NULL"]),
    "UINTEGER": (pa.uint32(), ["4294967295"]),
    "UBIGINT": (pa.uint64(), ["18446744073709551615", "0"]),
    "HUGEINT": (WHOLE, ["9" * 38, "-" + "9" * 38, "0", "NULL", "18446744073709551616"]),
    "UHUGEINT": (WHOLE, ["9" * 38, "0", "NULL"]),
    "FLOAT": (pa.float32(), ["0.1", "'nan'", "'-inf'", "3.4028235e38", "1e-45", "16777216"]),
    "DOUBLE": (pa.float64(), ["0.1", "'nan'", "'inf'", "5e-324", "1.7976931348623157e308", "'-0'"]),
    "DECIMAL(4,2)": (pa.decimal128(4, 2), ["99.99", "-0.01", "NULL"]),
    "DECIMAL(9,0)": (pa.decimal128(9, 0), ["999999999"]),
    "DECIMAL(18,3)": (pa.decimal128(18, 3), ["123456789012345.678", "0"]),
    "DECIMAL(38,10)": (pa.decimal128(38, 10), ["1234567890123456789012345678.0123456789"]),
    "DECIMAL(38,38)": (pa.decimal128(38, 38), ["0.1", "'-0." + "9" * 38 + "'"]),
    "VARCHAR": (TEXT, ["'a'", "''", "NULL", "'grüße 🎉'", "'a' || chr(0)", "repeat('x', 99)"]),
    "VARCHAR COLLATE NOCASE": (TEXT, ["'A'", "'a'"]),
    "CHAR(5)": (TEXT, ["'ab   '"]),
    "BLOB": (pa.binary(), [r"'\xAA\x00\x5C'::BLOB", "''::BLOB", "NULL", "'abc'::BLOB"]),
    "DATE": (pa.date32(), ["'0001-01-01'", "'9999-12-31'", "'1969-12-31'", "NULL"]),
    "TIME": (pa.time64("us"), ["'00:00:00'", "'23:59:59.999999'", "'10:20:30.5'", "NULL"]),
    "TIME_NS": (pa.time64("ns"), ["'23:59:59.999999999'", "'10:20:30'", "NULL"]),
    "TIMESTAMP": (MOMENT, ["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'", "NULL"]),
    "TIMESTAMP_S": (pa.timestamp("s"), ["'1969-12-31 23:59:59'", "'9999-12-31 23:59:59'", "NULL"]),
    "TIMESTAMP_MS": (pa.timestamp("ms"), ["'0001-01-01 00:00:00.001'", "'2024-02-29 10:11:12.5'"]),
    "TIMESTAMP_NS": (
        pa.timestamp("ns"),
        ["'2024-01-31 10:11:12.123456789'", "'1677-09-22 00:00:00'", "'2262-04-11 23:47:16'",
         "'1969-12-31 23:59:59.999999999'", "NULL"],
    ),
    "TIMESTAMPTZ": (
        INSTANT,
        ["'2024-11-03 01:30:00.123456-04'", "'2024-11-03 01:30:00-05'", "'0001-01-01 00:00:00+00'"],
    ),
    "UUID": (TEXT, ["'123e4567-e89b-12d3-a456-426614174000'", "NULL"]),
    "JSON": (TEXT, ["'{\"a\": 1.10,  \"b\":null}'", "'null'", "NULL"]),
    "BIT": (TEXT, ["'010110011'", "'1'", "NULL"]),
    "ENUM('sad', 'it''s (ok)', '')": (TEXT, ["'it''s (ok)'", "''", "NULL"]),
    "TIMETZ": (TEXT, ["'10:11:12.5+02:00'", "'24:00:00-15:59'", "NULL"]),
    "UNION(n INTEGER, s VARCHAR)": (TEXT, ["1", "'x'", "NULL"]),
    "BIGNUM": (TEXT, ["'" + "7" * 60 + "'", "'-1'", "NULL"]),
}  # fmt: skip
_DUCKDB_2: dict[str, tuple[pa.DataType, list[str]]] = {
    "TIMESTAMPTZ_NS": (
        pa.timestamp("ns", "UTC"), ["'2024-01-31 10:11:12.123456789+02'", "NULL"],
    ),
    "VARIANT": (TEXT, ["42", "'x'", "{'a': [1, NULL]}", "NULL"]),
    "GEOMETRY": (TEXT, ["'POINT (1 2.5)'", "NULL"]),
}  # fmt: skip
_DAY, _HOUR = dt.date(2024, 1, 31), dt.time(10, 11, 12)
_NIGHT = dt.datetime(2024, 1, 31, tzinfo=UTC)
_UUID = "123e4567-e89b-12d3-a456-426614174000"
_NESTED: list[tuple[str, pa.DataType, list[tuple[str, Any]]]] = [
    ("INTEGER[]", pa.list_(pa.int32()), [("[1, NULL]", [1, None]), ("[]", []), ("NULL", None)]),
    ("INTEGER[][]", pa.list_(pa.list_(pa.int32())), [("[[1], [2, 3], NULL]", [[1], [2, 3], None])]),
    ("VARCHAR[2]", pa.list_(TEXT), [("['a', NULL]", ["a", None]), ("NULL", None)]),
    ("DATE[]", pa.list_(pa.date32()), [("['2024-01-31', NULL]", [_DAY, None])]),
    ("TIMESTAMPTZ[]", pa.list_(INSTANT), [("['2024-01-31 00:00:00+00']", [_NIGHT])]),
    ("HUGEINT[]", pa.list_(WHOLE), [("[1, NULL]", [Decimal(1), None])]),
    ("DECIMAL(5,2)[]", pa.list_(pa.decimal128(5, 2)), [("[1.5]", [Decimal("1.50")])]),
    ("UUID[]", pa.list_(TEXT), [(f"['{_UUID}']", [_UUID])]),
    (
        'STRUCT(a INTEGER, "b ""c" TIME, s BIT[])',
        pa.struct([("a", pa.int32()), ('b "c', pa.time64("us")), ("s", pa.list_(TEXT))]),
        [
            ("{'a': 1, 'b \"c': '10:11:12', 's': ['01']}", {"a": 1, 'b "c': _HOUR, "s": ["01"]}),
            ("NULL", None),
            ("{'a': NULL, 'b \"c': NULL, 's': NULL}", {"a": None, 'b "c': None, "s": None}),
        ],
    ),
    (
        "MAP(VARCHAR, INTEGER)",
        pa.map_(TEXT, pa.int32()),
        [("MAP {'k': 1, 'l': NULL}", [("k", 1), ("l", None)]), ("MAP {}", []), ("NULL", None)],
    ),
    (
        "MAP(DATE, DATE[])",
        pa.map_(pa.date32(), pa.list_(pa.date32())),
        [("MAP {'2024-01-31': ['2024-01-31']}", [(_DAY, [_DAY])])],
    ),
    (
        "STRUCT(m MAP(INTEGER, DATE))[]",
        pa.list_(pa.struct([("m", pa.map_(pa.int32(), pa.date32()))])),
        [("[{'m': MAP {1: '2024-01-31'}}, NULL]", [{"m": [(1, _DAY)]}, None])],
    ),
    ("MAP(INTEGER[], INTEGER)", TEXT, [("MAP {[1]: 2}", "{[1]=2}")]),
    (
        "INTERVAL[]",
        pa.list_(pa.month_day_nano_interval()),
        [("['1 month']", [pa.MonthDayNano([1, 0, 0])])],
    ),
    ("ENUM('a', 'b')[]", pa.list_(TEXT), [("['b']", ["b"])]),
]  # fmt: skip


def _duckdb(table: Mapping[str, tuple[pa.DataType, list[str]]]) -> list[Case]:
    return [
        Case(declared, arrow, dict.fromkeys((v for v in values if v != "NULL"), ...))
        for declared, (arrow, values) in table.items()
    ]


DUCKDB_NEWER = _duckdb(_DUCKDB_2)
IS_NEWER = int(version("duckdb").partition(".")[0]) >= 2
"""Whether the DuckDB that is here has these, too."""
DUCKDB = [*_duckdb(_DUCKDB), *(DUCKDB_NEWER if IS_NEWER else ())]
DUCKDB += [
    Case(declared, arrow, {sql: value for sql, value in pairs if value is not None})
    for declared, arrow, pairs in _NESTED
]
DUCKDB += [
    Case(
        "INTERVAL",
        pa.month_day_nano_interval(),
        {
            "INTERVAL '1 year 2 months 3 days 04:05:06.789'": (14, 3, 14_706_789_000_000),
            "INTERVAL '-1 month' - INTERVAL '1 microsecond'": (-1, 0, -1000),
        },
    )
]
DUCKDB_LOUD = [
    Loud("HUGEINT", "100000000000000000000000000000000000000", "decimal128"),
    Loud("HUGEINT", "-170141183460469231731687303715884105728", "decimal128"),
    Loud("UHUGEINT", "340282366920938463463374607431768211455", "decimal128"),
    Loud("DATE", "'infinity'", "infinite"),
    Loud("DATE", "'-infinity'", "infinite"),
    Loud("DATE", "'0044-03-15 (BC)'", "years 1 to 9999"),
    Loud("DATE", "'10000-01-01'", "years 1 to 9999"),
    Loud("TIME", "'24:00:00'", "24:00|does not fit"),
    Loud("TIMESTAMP", "'infinity'", "infinite"),
    Loud("TIMESTAMP", "'-infinity'", "infinite"),
    Loud("TIMESTAMP", "'10000-01-01 00:00:00'", "years 1 to 9999"),
    Loud("TIMESTAMP_S", "'infinity'", "infinite"),
    Loud("TIMESTAMP_MS", "'-infinity'", "infinite"),
    Loud("TIMESTAMP_NS", "'infinity'", "infinite"),
    Loud("TIMESTAMP_NS", "'-infinity'", "infinite"),
    Loud("TIMESTAMPTZ", "'infinity'", "infinite"),
    Loud("INTERVAL", "to_microseconds(9223372036854775807)", "nanoseconds"),
    Loud("HUGEINT[]", "[100000000000000000000000000000000000000]", "decimal128"),
    Loud("DATE[]", "['infinity']", "infinite"),
    Loud("STRUCT(a TIMESTAMP)", "{'a': 'infinity'}", "infinite"),
    Loud("MAP(VARCHAR, DATE)", "MAP {'k': 'infinity'}", "infinite"),
]

# ------------------------------------------------------------------------------------ SQLite

_SQLITE = {
    "INTEGER": (pa.int64(), ["9223372036854775807", "-9223372036854775808", "0", "NULL"]),
    "INT": (pa.int64(), ["1", "NULL"]),
    "SMALLINT": (pa.int64(), ["40000"]),
    "TINYINT": (pa.int64(), ["300"]),
    "BIGINT": (pa.int64(), ["9007199254740993"]),
    "UNSIGNED BIG INT": (pa.int64(), ["9223372036854775807"]),
    "REAL": (
        pa.float64(),
        ["0.1", "1e308", "5e-324", "9e999", "-9e999", "7", "2.5000000000000004", "NULL"],
    ),
    "FLOAT": (pa.float64(), ["0.30000000000000004", "123456789.123456789"]),
    "DOUBLE": (pa.float64(), ["1.7976931348623157e308"]),
    "DOUBLE PRECISION": (pa.float64(), ["3"]),
    "NUMERIC": (pa.float64(), ["1", "1.5", "9007199254740992", "1152921504606846976", "NULL"]),
    "DECIMAL(10,2)": (pa.float64(), ["12.10", "0.07", "7", "-99999999.99"]),
    "DECIMAL(38,10)": (pa.float64(), ["'12345678901234567890.0123456789'", "NULL"]),
    "BOOLEAN": (pa.bool_(), ["1", "0", "NULL", "TRUE"]),
    "TEXT": (pa.string(), ["'a'", "''", "NULL", "'grüße 🎉'", "7"]),
    "VARCHAR(10)": (pa.string(), ["'longer than ten'", "1.5"]),
    "CHAR(5)": (pa.string(), ["'ab   '"]),
    "CLOB": (pa.string(), ["'a'"]),
    "TEXT with NUL": (pa.string(), ["'a' || char(0) || 'b'", "char(0)"]),
    "BLOB": (pa.binary(), ["x'00ff'", "x''", "NULL"]),
    "BLOB that holds text": (pa.string(), ["'a'", "NULL"]),
    "DATE": (pa.date32(), ["'2024-02-29'", "'0001-01-01'", "'9999-12-31'", "NULL"]),
    "TIME": (pa.time64("us"), ["'10:20:30.123456'", "'00:00:00'", "'23:59:59.9'", "'10:20'"]),
    "DATETIME": (pa.timestamp("us"), ["'2024-01-31 10:20:30'", "'0001-01-01 00:00:00'", "NULL"]),
    "DATETIME of fractions": (
        pa.timestamp("us"),
        ["'9999-12-31 23:59:59.999999'", "'2024-01-31 10:20:30.50'"],
    ),
    "DATETIME of noughts": (
        pa.timestamp("us"),
        ["'2024-01-31 10:20:30.1234560'", "'2024-01-31 10:20:30.5'"],
    ),
    "DATETIME with T and Z": (
        pa.timestamp("us"),
        ["'2024-01-31T10:20:30Z'", "'2024-01-31 10:20:30.25+00:00'"],
    ),
    "TIMESTAMP": (
        pa.timestamp("us"),
        ["'2024-01-31 10:20'", "'2024-01-31'", "'2024-01-31T10:20:30.123456'"],
    ),
    "TIMESTAMP WITH TIME ZONE": (pa.timestamp("us"), ["'2024-01-31 10:20:30+00:00'"]),
    "TIMESTAMP(6)": (pa.timestamp("us"), ["'2024-01-31 10:20:30+00:00'"]),
    "INT UNSIGNED": (pa.int64(), ["7"]),
    "NVARCHAR(7)": (pa.string(), ["7"]),
    "": (pa.int64(), ["1", "NULL"]),
    " of text": (pa.string(), ["'a'", "NULL"]),
    " of numbers": (pa.float64(), ["1", "1.5"]),
    "JSON": (pa.string(), ["'{\"a\": 1.10}'", "NULL"]),
    "UUID": (pa.string(), ["'123e4567-e89b-12d3-a456-426614174000'"]),
    "STRING": (pa.int64(), ["'007'"]),  # the number 7 is all that SQLite keeps of it
    "STRING of text": (pa.string(), ["'seven'"]),
    "INTEGER of NULL": (pa.int64(), ["NULL", "NULL"]),
    " of NULL": (pa.string(), ["NULL", "NULL"]),
}
_BAD_TEXT = {
    "DATE": ("'31.01.2024'", "'2024-1-31'", "'2024-02-30'", "'2024-01-31 00:00:00'", "''"),
    "TIME": ("'24:00:00'", "'10:20:30.1234567'", "'10:20:30Z'"),
    "DATETIME": (
        "'2024-01-31 10'",
        "'2024-01-31 10:20:30+02:00'",
        "'2024-01-31 24:00:00'",
        "'2024-01-31 10:20:30.1234567'",
        "'yesterday'",
        "''",
    ),
}
_WRONG = [
    ("INTEGER", "1", "'a'", "text", "STRING"),
    ("INTEGER", "1", "1.5", "real", "DOUBLE"),
    ("INTEGER", "1", "1e300", "real", "DOUBLE"),
    ("INTEGER", "1", "x'07'", "blob", "BINARY"),
    ("REAL", "1.5", "'a'", "text", "STRING"),
    ("REAL", "1.5", "x'07'", "blob", "BINARY"),
    ("NUMERIC", "1.5", "'a'", "text", "STRING"),
    ("NUMERIC", "1.5", "9007199254740993", "integer", "DECIMAL"),
    ("NUMERIC", "1.5", "9223372036854775807", "integer", "DECIMAL"),
    ("BOOLEAN", "1", "2", "integer", "BIGINT"),
    ("BOOLEAN", "1", "'yes'", "text", "STRING"),
    ("TEXT", "'a'", "x'61'", "blob", "BINARY"),
    ("TEXT", "'a'", "CAST(x'ff' AS TEXT)", "text", "BLOB"),
    ("DATE", "'2024-01-31'", "1706659200", "integer", "BIGINT"),
    ("DATE", "'2024-01-31'", "2460340.5", "real", "DOUBLE"),
    ("DATE", "'2024-01-31'", "'0000-01-01'", "years 1 to 9999", "STRING"),
    ("DATETIME", "'2024-01-31 10:20:30'", "1706659200", "integer", "BIGINT"),
    ("DATETIME", "'2024-01-31 10:20:30'", "x'32'", "blob", "BINARY"),
    ("TIME", "'10:20:30'", "37230", "integer", "BIGINT"),
    *(("DATE", "'2024-01-31'", bad, "text", "STRING") for bad in _BAD_TEXT["DATE"]),
    *(("TIME", "'10:20:30'", bad, "text", "STRING") for bad in _BAD_TEXT["TIME"]),
    *(("DATETIME", "'2024-01-31'", bad, "text", "STRING") for bad in _BAD_TEXT["DATETIME"]),
]


def _sqlite(name: str, arrow: pa.DataType, values: Sequence[str]) -> Case:
    """Take the declared type from a name, which may go on with `` of `` or the like."""
    declared, _, label = name.partition(" of ")
    for word in (" with NUL", " with T and Z", " that holds text"):
        declared = declared.removesuffix(word)
    untyped = {"": pa.string(), "JSON": pa.string(), "UUID": pa.string(), "STRING": pa.string()}
    empty = untyped.get(declared, pa.binary() if declared == "BLOB" else None)
    given = dict.fromkeys((value for value in values if value != "NULL"), ...)
    return Case(declared, arrow, given, label, empty=empty)


SQLITE = [_sqlite(name, arrow, values) for name, (arrow, values) in _SQLITE.items()]
SQLITE_LOUD = [
    Loud(declared, bad, storage, good, remedy) for declared, good, bad, storage, remedy in _WRONG
]

# ------------------------------------------------------------------------------- all of them

CASES = {"postgresql": POSTGRESQL, "sqlite": SQLITE, "duckdb": DUCKDB, "mariadb": MARIADB}
LOUD = {
    "postgresql": POSTGRESQL_LOUD,
    "sqlite": SQLITE_LOUD,
    "duckdb": DUCKDB_LOUD,
    "mariadb": MARIADB_LOUD,
}
PREPARED = {
    "postgresql": [
        "DROP SCHEMA IF EXISTS odd CASCADE",
        "CREATE SCHEMA odd",
        *(
            statement
            for extension in ("hstore", "citext", "ltree")
            for statement in (
                f"DROP EXTENSION IF EXISTS {extension} CASCADE",
                f"CREATE EXTENSION {extension} SCHEMA odd",
            )
        ),
        "CREATE TYPE odd.mood AS ENUM ('sad', 'ok')",
        "CREATE TYPE odd.pair AS (a int, b text)",
        "CREATE DOMAIN odd.small AS int CHECK (value < 100)",
        # A type of the user's that is called like a built-in one.
        "CREATE TYPE odd.date AS ENUM ('monday')",
    ],
}
"""Statements that make what cases name."""


@dataclass(frozen=True)
class Question:
    """A query with its columns and rows, or the words of its error."""

    label: str
    sql: str
    types: Mapping[str, pa.DataType]
    rows: Sequence[tuple[Any, ...]] | str


def _questions(
    whole: pa.DataType, nothing: pa.DataType, count: pa.DataType, quote: str, twice: str
) -> list[Question]:
    """What each database understands; ``whole`` is the type of 1, ``nothing`` that of NULL."""
    odd = f'{quote}a "b" %s{quote}' if quote == "`" else '"a ""b"" %s"'
    one: dict[str, pa.DataType] = {"a": whole}
    return [
        Question("untyped NULL", "SELECT NULL AS a", {"a": nothing}, [(None,)]),
        Question("duplicate names", "SELECT 1 AS a, 2 AS a", {}, twice),
        Question("quoted names", f"SELECT 1 AS {odd}", {'a "b" %s': whole}, [(1,)]),
        Question("trailing ;", "SELECT 1 AS a ;", one, [(1,)]),
        Question("trailing ; and comment", "SELECT 1 AS a ; -- the end", one, [(1,)]),
        Question("trailing comment", "SELECT 1 AS a -- it's the end", one, [(1,)]),
        Question("other comment", "SELECT 1 AS a /* the end */", one, [(1,)]),
        Question("CTE", "WITH q AS (SELECT 1 AS a) SELECT a FROM q", one, [(1,)]),
        Question("percent signs", "SELECT '%s %d' AS a", {"a": pa.string()}, [("%s %d",)]),
        Question("marks in text", "SELECT '$1 ? :b' AS a", {"a": pa.string()}, [("$1 ? :b",)]),
        Question("union", "SELECT 1 AS a UNION ALL SELECT 2", one, [(1,), (2,)]),
        Question("count", "SELECT count(*) AS a FROM (SELECT 1 AS b) q", {"a": count}, [(1,)]),
        Question("syntax error", "SELEC 1", {}, "(?i)syntax|parser"),
        Question("unknown column", "SELECT nope FROM (SELECT 1 AS a) q", {}, "nope"),
        Question("two statements", "SELECT 1 AS a; SELECT 2 AS a", {}, "."),
    ]


QUESTIONS = {
    "postgresql": [
        *_questions(pa.int32(), pa.string(), pa.int64(), '"', "'a' comes 2 times"),
        Question("no row", "SELECT 1 AS a WHERE false", {"a": pa.int32()}, []),
        Question("division by zero", "SELECT 1 / (i - 2) AS a FROM generate_series(1, 3) i", {},
                 "division by zero"),
    ],
    "sqlite": [
        *_questions(pa.int64(), pa.string(), pa.int64(), "`", "'a' comes 2 times"),
        Question("no row", "SELECT 1 AS a WHERE 0", {"a": pa.string()}, []),
        Question("sum overflow", f"SELECT sum(i) AS a FROM (SELECT {2**63 - 1} AS i"
                 " UNION ALL SELECT 1) q", {}, "integer overflow"),
    ],
    "duckdb": [
        *_questions(
            pa.int32(), TEXT if IS_NEWER else pa.int32(), pa.int64(), '"', "'a' comes several times"
        ),
        Question("no row", "SELECT 1 AS a WHERE false", {"a": pa.int32()}, []),
        Question("sum", "SELECT sum(range) AS a FROM range(4)", {"a": WHOLE}, [(D(6),)]),
    ],
    "mariadb": [
        *_questions(pa.int32(), pa.binary(), pa.int64(), "`", "(?i)duplicate column name 'a'"),
        Question("no row", "SELECT 1 AS a FROM DUAL WHERE 1 = 0", {"a": pa.int32()}, []),
        Question("out of range", "SELECT exp(709 + seq) AS a FROM seq_0_to_1", {}, "out of range"),
    ],
}  # fmt: skip
