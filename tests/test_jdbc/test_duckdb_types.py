"""Every kind of column of DuckDB: the same values from each engine, or an error that says why.

What a value should be comes from DuckDB's own text of it, turned into Python without Arrow.
"""

from __future__ import annotations

import datetime as dt
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdbc import ColumnTypeError, ColumnValueError, JDBCArrowDataSource

ENGINES = ("adbc", "fallback")
TWO = int(duckdb.__version__.partition(".")[0]) >= 2
US, UTC = pa.timestamp("us"), pa.timestamp("us", "UTC")
TEXT, WHOLE = pa.string(), pa.decimal128(38, 0)
EPOCH = dt.datetime(1970, 1, 1)


@pytest.fixture
def database(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """From SQL statements to the options of a database that ran them."""

    def make(*statements: str, **options: str) -> dict[str, str]:
        path = tmp_path / "test.duckdb"
        with closing(duckdb.connect(str(path))) as db:
            db.execute("SET TimeZone = 'America/New_York'")
            for statement in statements:
                db.execute(statement)
        return {"url": f"jdbc:duckdb:{path}", "dbtable": "t", **options}

    return make


def read(options: dict[str, str], engine: str) -> pa.Table:
    """All rows, as a caller without Dask reads them."""
    source, options = JDBCArrowDataSource(), options | {"engine": engine}
    schema = source.infer_schema(options)
    specs = source.plan_partitions(options)
    batches = [b for spec in specs for b in source.read_partition(spec, options)]
    table = pa.Table.from_batches(batches, schema=schema)
    table.validate(full=True)
    return table


def printed(options: dict[str, str]) -> list[str | None]:
    """The column as DuckDB prints it in UTC."""
    path = options["url"].removeprefix("jdbc:duckdb:")
    with closing(duckdb.connect(path, read_only=True)) as db:
        db.execute("SET TimeZone = 'UTC'")
        rows = db.execute(f"SELECT v::VARCHAR FROM {options['dbtable']} ORDER BY id").fetchall()
    return [text for (text,) in rows]


def units(text: str, kind: pa.DataType) -> int:
    """A printed moment or time of day as the integer that Arrow holds."""
    day, clock = text.split(" ") if " " in text else ("1970-01-01", text)
    whole, _, fraction = clock.removesuffix("+00").partition(".")
    hours, minutes, seconds = map(int, whole.split(":"))
    days = (dt.date.fromisoformat(day) - EPOCH.date()).days
    passed = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[kind.unit]
    return passed * 10**digits + int(fraction.ljust(digits, "0") or 0)


def as_arrow(text: str | None, kind: pa.DataType) -> Any:
    """What a printed value is in an Arrow column of a type."""
    types = pa.types
    if text is None or types.is_string(kind):
        return text
    if types.is_boolean(kind):
        return {"true": True, "false": False}[text]
    if types.is_integer(kind):
        return int(text)
    if types.is_decimal(kind):
        return Decimal(text)
    if types.is_floating(kind):
        return struct.pack("<f" if kind == pa.float32() else "<d", float(text))
    if types.is_date(kind):
        return dt.date.fromisoformat(text)
    if types.is_binary(kind):
        plain = re.sub(r"\\x([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)
        return plain.encode("latin1")
    return units(text, kind)


def held(column: pa.ChunkedArray) -> list[Any]:
    """The column's values, floats as their bytes and moments as their integers."""
    kind, types = column.type, pa.types
    if types.is_floating(kind):
        code = "<f" if kind == pa.float32() else "<d"
        return [None if v is None else struct.pack(code, v) for v in column.to_pylist()]
    if types.is_timestamp(kind) or types.is_time(kind):
        return column.cast(pa.int64()).to_pylist()
    return column.to_pylist()


EXACT: dict[str, tuple[pa.DataType, list[str]]] = {
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
    "TIMESTAMP": (US, ["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'", "NULL"]),
    "TIMESTAMP_S": (pa.timestamp("s"), ["'1969-12-31 23:59:59'", "'9999-12-31 23:59:59'", "NULL"]),
    "TIMESTAMP_MS": (pa.timestamp("ms"), ["'0001-01-01 00:00:00.001'", "'2024-02-29 10:11:12.5'"]),
    "TIMESTAMP_NS": (
        pa.timestamp("ns"),
        ["'2024-01-31 10:11:12.123456789'", "'1677-09-22 00:00:00'", "'2262-04-11 23:47:16'",
         "'1969-12-31 23:59:59.999999999'", "NULL"],
    ),
    "TIMESTAMPTZ": (
        UTC,
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
if TWO:
    EXACT |= {
        "TIMESTAMPTZ_NS": (
            pa.timestamp("ns", "UTC"), ["'2024-01-31 10:11:12.123456789+02'", "NULL"],
        ),
        "VARIANT": (TEXT, ["42", "'x'", "{'a': [1, NULL]}", "NULL"]),
        "GEOMETRY": (TEXT, ["'POINT (1 2.5)'", "NULL"]),
    }  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Options of a database that has a table for each case below, named after the list and case."""
    path = str(tmp_path_factory.mktemp("types") / "test.duckdb")
    with closing(duckdb.connect(path)) as db:
        db.execute("SET TimeZone = 'America/New_York'")
        for i, (name, (_, literals)) in enumerate(EXACT.items()):
            fill(db, f"exact_{i}", name, literals)
        for i, (name, _, cases) in enumerate(NESTED):
            fill(db, f"nested_{i}", name, [literal for literal, _ in cases * 3])
        for i, (name, bad, _) in enumerate(MISFITS):
            fill(db, f"misfit_{i}", name, ["NULL"] * 5 + [bad])
    with closing(duckdb.connect(path, read_only=True)):  # so that no test need open it anew
        yield {"url": f"jdbc:duckdb:{path}", "fetchsize": "2"}


def fill(db: duckdb.DuckDBPyConnection, table: str, name: str, literals: list[str]) -> None:
    db.execute(f"CREATE TABLE {table} (id INTEGER, v {name})")
    cast = name.partition(" COLLATE")[0]
    rows = (f"SELECT {i}, CAST({v} AS {cast})" for i, v in enumerate(literals))
    db.execute(f"INSERT INTO {table} {' UNION ALL '.join(rows)}")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", EXACT)
def test_a_value_is_what_duckdb_prints(filled: dict[str, str], name: str, engine: str) -> None:
    kind, _ = EXACT[name]
    options = filled | {"dbtable": f"exact_{list(EXACT).index(name)}"}
    table = read(options, engine).sort_by("id")
    assert table.schema.field("v").type == kind
    assert held(table["v"]) == [as_arrow(text, kind) for text in printed(options)]


DAY, HOUR = dt.date(2024, 1, 31), dt.time(10, 11, 12)
NIGHT = dt.datetime(2024, 1, 31, tzinfo=dt.UTC)
UUID = "123e4567-e89b-12d3-a456-426614174000"
NESTED: list[tuple[str, pa.DataType, list[tuple[str, Any]]]] = [
    ("INTEGER[]", pa.list_(pa.int32()), [("[1, NULL]", [1, None]), ("[]", []), ("NULL", None)]),
    ("INTEGER[][]", pa.list_(pa.list_(pa.int32())), [("[[1], [2, 3], NULL]", [[1], [2, 3], None])]),
    ("VARCHAR[2]", pa.list_(TEXT), [("['a', NULL]", ["a", None]), ("NULL", None)]),
    ("DATE[]", pa.list_(pa.date32()), [("['2024-01-31', NULL]", [DAY, None])]),
    ("TIMESTAMPTZ[]", pa.list_(UTC), [("['2024-01-31 00:00:00+00']", [NIGHT])]),
    ("HUGEINT[]", pa.list_(WHOLE), [("[1, NULL]", [Decimal(1), None])]),
    ("DECIMAL(5,2)[]", pa.list_(pa.decimal128(5, 2)), [("[1.5]", [Decimal("1.50")])]),
    ("UUID[]", pa.list_(TEXT), [(f"['{UUID}']", [UUID])]),
    (
        'STRUCT(a INTEGER, "b ""c" TIME, s BIT[])',
        pa.struct([("a", pa.int32()), ('b "c', pa.time64("us")), ("s", pa.list_(TEXT))]),
        [
            ("{'a': 1, 'b \"c': '10:11:12', 's': ['01']}", {"a": 1, 'b "c': HOUR, "s": ["01"]}),
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
        [("MAP {'2024-01-31': ['2024-01-31']}", [(DAY, [DAY])])],
    ),
    (
        "STRUCT(m MAP(INTEGER, DATE))[]",
        pa.list_(pa.struct([("m", pa.map_(pa.int32(), pa.date32()))])),
        [("[{'m': MAP {1: '2024-01-31'}}, NULL]", [{"m": [(1, DAY)]}, None])],
    ),
    ("MAP(INTEGER[], INTEGER)", TEXT, [("MAP {[1]: 2}", "{[1]=2}")]),
    (
        "INTERVAL[]",
        pa.list_(pa.month_day_nano_interval()),
        [("['1 month']", [pa.MonthDayNano([1, 0, 0])])],
    ),
    ("ENUM('a', 'b')[]", pa.list_(TEXT), [("['b']", ["b"])]),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", range(len(NESTED)), ids=[name for name, *_ in NESTED])
def test_what_holds_other_values_is_exact(filled: dict[str, str], case: int, engine: str) -> None:
    _, kind, cases = NESTED[case]
    table = read(filled | {"dbtable": f"nested_{case}"}, engine).sort_by("id")
    assert table.schema.field("v").type == kind
    assert table["v"].to_pylist() == [value for _, value in cases * 3]


MISFITS = [
    ("HUGEINT", "1" + "0" * 38, "decimal128"),
    ("HUGEINT", "-170141183460469231731687303715884105728", "decimal128"),
    ("UHUGEINT", "340282366920938463463374607431768211455", "decimal128"),
    ("DATE", "'infinity'", "infinite"),
    ("DATE", "'-infinity'", "infinite"),
    ("DATE", "'0044-03-15 (BC)'", "years 1 to 9999"),
    ("DATE", "'10000-01-01'", "years 1 to 9999"),
    ("TIME", "'24:00:00'", "24:00|does not fit"),
    ("TIMESTAMP", "'infinity'", "infinite"),
    ("TIMESTAMP", "'-infinity'", "infinite"),
    ("TIMESTAMP", "'10000-01-01 00:00:00'", "years 1 to 9999"),
    ("TIMESTAMP_S", "'infinity'", "infinite"),
    ("TIMESTAMP_MS", "'-infinity'", "infinite"),
    ("TIMESTAMP_NS", "'infinity'", "infinite"),
    ("TIMESTAMP_NS", "'-infinity'", "infinite"),
    ("TIMESTAMPTZ", "'infinity'", "infinite"),
    ("INTERVAL", "to_microseconds(9223372036854775807)", "nanoseconds"),
    ("HUGEINT[]", "[1" + "0" * 38 + "]", "decimal128"),
    ("DATE[]", "['infinity']", "infinite"),
    ("STRUCT(a TIMESTAMP)", "{'a': 'infinity'}", "infinite"),
    ("MAP(VARCHAR, DATE)", "MAP {'k': 'infinity'}", "infinite"),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "case", range(len(MISFITS)), ids=[f"{name} {bad[:12]}" for name, bad, _ in MISFITS]
)
def test_a_value_without_a_place_in_arrow_is_an_error(
    filled: dict[str, str], case: int, engine: str
) -> None:
    _, _, says = MISFITS[case]
    options = filled | {"dbtable": f"misfit_{case}"}
    with pytest.raises(ColumnValueError, match=f"'v' .*({says})") as caught:
        read(options, engine)
    assert "customSchema" in str(caught.value)
    as_text = read(options | {"customSchema": "v STRING"}, engine).sort_by("id")
    assert as_text["v"].to_pylist() == printed(options)


@pytest.fixture(scope="module")
def anywhere() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect()) as db:
        yield db


@settings(max_examples=60, deadline=None)
@given(
    months=st.integers(-(2**31) + 1, 2**31 - 1),
    days=st.integers(-(2**31) + 1, 2**31 - 1),
    micros=st.integers(-9223372036854775, 9223372036854775),
)
def test_an_interval_is_its_three_numbers(
    anywhere: duckdb.DuckDBPyConnection, months: int, days: int, micros: int
) -> None:
    from jdbc.dialects.duckdb import _intervals

    value = f"to_months({months}) + to_days({days}) + to_microseconds({micros})"
    texts = anywhere.execute(f"SELECT ({value})::VARCHAR").fetchone()
    numbers = pa.MonthDayNano([months, days, micros * 1000])
    assert _intervals(pa.array(texts), "v").to_pylist() == [numbers]


@pytest.mark.parametrize("engine", ENGINES)
def test_intervals_are_read(database: Callable[..., dict[str, str]], engine: str) -> None:
    options = database(
        "CREATE TABLE t AS SELECT 1 AS id, INTERVAL '1 year 2 months 3 days 04:05:06.789' AS v"
        " UNION ALL SELECT 2, INTERVAL '-1 month' - INTERVAL '1 microsecond'"
        " UNION ALL SELECT 3, NULL"
    )
    table = read(options, engine).sort_by("id")
    assert table["v"].to_pylist() == [
        pa.MonthDayNano([14, 3, 14_706_789_000_000]),
        pa.MonthDayNano([-1, 0, -1000]),
        None,
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_custom_schema_converts_exactly(
    database: Callable[..., dict[str, str]], engine: str
) -> None:
    options = database(
        "CREATE TABLE t AS SELECT '007' s, 12.5::DOUBLE d, 7::UHUGEINT u,"
        " TIMESTAMP '2024-01-31 10:11:12' m, ['1', NULL] l, 1.25::DECIMAL(5,2) n,"
        " DATE 'infinity' i",
        customSchema="s INT, d DECIMAL(5, 1), u BIGINT, m TIMESTAMP, l ARRAY<INT>, n DOUBLE,"
        " i STRING",
    )
    table = read(options, engine)
    assert table.to_pylist() == [
        {
            "s": 7,
            "d": Decimal("12.5"),
            "u": 7,
            "m": dt.datetime(2024, 1, 31, 10, 11, 12, tzinfo=dt.UTC),
            "l": [1, None],
            "n": 1.25,
            "i": "infinity",
        }
    ]
    for wrong in ("s DATE", "d INT", "m DATE"):
        with pytest.raises(ColumnValueError, match=f"'{wrong[0]}'"):
            read(options | {"customSchema": f"{wrong}, i STRING"}, engine)
    with pytest.raises(ColumnTypeError, match=r"'s' .*list"):
        read(options | {"customSchema": "s ARRAY<INT>"}, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_columns_of_a_query(database: Callable[..., dict[str, str]], engine: str) -> None:
    options = database("CREATE TABLE t AS SELECT range AS i FROM range(4)")
    del options["dbtable"]
    options["query"] = (
        'SELECT sum(i) AS total, NULL AS nothing, 1 AS "we ""ird", {\'a\': 1} AS s FROM t -- sums'
    )
    table = read(options, engine)
    kinds = dict(zip(table.column_names, table.schema.types, strict=True))
    assert kinds["total"] == WHOLE
    # DuckDB 1 says that such a column is of integers.
    assert kinds["nothing"] == (TEXT if TWO else pa.int32())
    assert list(kinds) == ["total", "nothing", 'we "ird', "s"]
    assert [*table.to_pylist()[0].values()] == [Decimal(6), None, 1, {"a": 1}]
    empty = read(
        options | {"query": "SELECT * FROM t, (SELECT DATE '2024-01-31' AS d) WHERE i < 0"}, engine
    )
    assert (empty.num_rows, empty.schema.types) == (0, [pa.int64(), pa.date32()])


TWICE = [
    {"query": "SELECT 1 AS a, 2 AS a"},
    {"query": "SELECT 1 AS a, 2 AS A"},
    {
        "query": "SELECT * FROM x, y",
        "prepareQuery": "WITH x AS (SELECT 1 AS a), y AS (SELECT 2 AS a)",
    },
    {"dbtable": "(SELECT 1 AS a, 2 AS a) AS q"},
    {"dbtable": "(SELECT 1 AS a) x, (SELECT 2 AS a) y"},
]


@pytest.mark.parametrize("relation", TWICE, ids=str)
def test_a_name_that_comes_twice_is_an_error(
    database: Callable[..., dict[str, str]], relation: dict[str, str]
) -> None:
    options = database("CREATE TABLE t (i INTEGER)")
    del options["dbtable"]
    with pytest.raises(ColumnTypeError, match="'a' comes"):
        JDBCArrowDataSource().infer_schema(options | relation)


def test_a_name_that_looks_like_a_second_one_is_none(
    database: Callable[..., dict[str, str]],
) -> None:
    options = database("CREATE TABLE t AS SELECT 1 AS a, 2 AS a_1, 3 AS a_2")
    for relation in ("t", "(SELECT * FROM t) q", "(FROM t)", "(SELECT 1 b) x, (SELECT 2 a) y"):
        JDBCArrowDataSource().infer_schema(options | {"dbtable": relation})
    assert read(options, "adbc").to_pylist() == [{"a": 1, "a_1": 2, "a_2": 3}]


def test_the_values_of_an_enum_are_not_in_the_schema(
    database: Callable[..., dict[str, str]],
) -> None:
    names = ", ".join(f"'name {i}'" for i in range(500))
    options = database(f"CREATE TABLE t (v ENUM({names}))")
    field = JDBCArrowDataSource().infer_schema(options).field("v")
    assert field.metadata == {b"jdbc.type": b"ENUM"}


SETTINGS = ("arrow_large_buffer_size", "arrow_lossless_conversion", "produce_arrow_string_view")


def test_arrow_settings_of_the_user_change_no_value(
    database: Callable[..., dict[str, str]],
) -> None:
    options = database(
        "CREATE TABLE t AS SELECT 'a' s, true b, ['x'] l, '1'::JSON j, '01'::BIT i, TIME '10:00' h"
    )
    expected = read(options, "adbc").to_pylist()
    for setting in (
        "arrow_large_buffer_size",
        "arrow_lossless_conversion",
        "produce_arrow_string_view",
    ):
        init = {"sessionInitStatement": f"SET {setting} = true"}
        assert read(options | init, "adbc").to_pylist() == expected, setting


def test_a_missing_driver_names_the_extra(database: Callable[..., dict[str, str]]) -> None:
    options = database("CREATE TABLE t (i INTEGER)")
    from jdbc import MissingDriverError

    with (
        mock.patch.dict("sys.modules", {"duckdb": None}),
        pytest.raises(MissingDriverError, match=r"pip install 'dask-sail\[duckdb\]'"),
    ):
        JDBCArrowDataSource().infer_schema(options)
