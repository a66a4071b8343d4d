"""Every type of PostgreSQL: the same exact values from each engine, or an error that says why."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator
from decimal import Decimal as D
from typing import Any, NamedTuple

import psycopg
import pyarrow as pa
import pytest

from jdbc import ColumnTypeError, ColumnValueError, EngineError, JDBCArrowDataSource, OptionError

pytestmark = pytest.mark.majors

ENGINES = ("connectorx", "adbc", "fallback")
NAN, INF = math.nan, math.inf
MONTHS = pa.month_day_nano_interval()


def read(options: dict[str, str]) -> pa.Table:
    """All rows, as a caller without Dask reads them."""
    source = JDBCArrowDataSource()
    schema = source.infer_schema(options)
    specs = source.plan_partitions(options)
    batches = [b for spec in specs for b in source.read_partition(spec, options)]
    return pa.Table.from_batches(batches, schema=schema)


@pytest.fixture(scope="module")
def shop(postgres: str, jdbc_options: Callable[[str], dict[str, str]]) -> Iterator[dict[str, str]]:
    """Options of a database with types of its own in the schema ``odd``."""
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP SCHEMA IF EXISTS odd CASCADE")
        db.execute("CREATE SCHEMA odd")
        for extension in ("hstore", "citext", "ltree"):
            db.execute(f"DROP EXTENSION IF EXISTS {extension} CASCADE")
            db.execute(f"CREATE EXTENSION {extension} SCHEMA odd")
        db.execute("CREATE TYPE odd.mood AS ENUM ('sad', 'ok')")
        db.execute("CREATE TYPE odd.pair AS (a int, b text)")
        db.execute("CREATE DOMAIN odd.small AS int CHECK (value < 100)")
        # A type of the user's that is called like a built-in one.
        db.execute("CREATE TYPE odd.date AS ENUM ('monday')")
    yield jdbc_options(postgres)
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP SCHEMA odd CASCADE")


class Case(NamedTuple):
    """A type, its Arrow type, and values: as SQL spells them, and as Arrow must."""

    sql_type: str
    arrow: pa.DataType
    values: dict[str, Any]


def as_text(sql_type: str, *values: str) -> Case:
    """A type that arrives as PostgreSQL prints it; psycopg says how that is."""
    return Case(sql_type, pa.string(), dict.fromkeys(values, ...))


UTC = dt.UTC
CASES = [
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
        MONTHS,
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
    Case("xml", pa.string(), {}),  # this server can make none, but NULLs it has
]


def column_of(case: Case) -> list[str]:
    """The values as SQL, so that each stands alone, and beside NULLs on either side."""
    values = [v if v[0] in "'BE" else f"'{v}'" for v in case.values]
    with_nulls = ["NULL"] + [x for v in values for x in (v, "NULL")]
    return with_nulls + values


ROWS = max(len(column_of(case)) for case in CASES)


def wide_query() -> str:
    """One column ``c0``, ``c1``, ... per case, one row per value; what is short ends in NULLs."""
    columns = [column_of(case) + ["NULL"] * ROWS for case in CASES]
    rows = [
        "SELECT "
        + ", ".join(f"{columns[c][r]}::{case.sql_type} AS c{c}" for c, case in enumerate(CASES))
        for r in range(ROWS)
    ]
    return " UNION ALL ".join(rows)


@pytest.fixture(scope="module")
def tables(shop: dict[str, str]) -> dict[str, pa.Table]:
    return {e: read(shop | {"query": wide_query(), "engine": e}) for e in ENGINES}


@pytest.fixture(scope="module")
def printed(shop: dict[str, str], postgres: str) -> list[tuple[str | None, ...]]:
    """What PostgreSQL prints for the same query."""
    items = ", ".join(f"c{c}::text" for c in range(len(CASES)))
    with psycopg.connect(postgres) as db:
        db.execute("SET TimeZone = 'UTC'")
        return db.execute(f"SELECT {items} FROM ({wide_query()}) q".replace("%", "%%")).fetchall()


def plain(value: Any) -> Any:
    """Comparable: NaN equals itself, minus zero differs from zero, an interval is a tuple."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, list):
        return [plain(v) for v in value]
    return tuple(value) if isinstance(value, pa.MonthDayNano) else value


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("number", "case"), list(enumerate(CASES)), ids=[c.sql_type for c in CASES]
)
def test_a_type_is_exact(
    tables: dict[str, pa.Table],
    printed: list[tuple[str | None, ...]],
    number: int,
    case: Case,
    engine: str,
) -> None:
    column = tables[engine].column(number)
    assert column.type == case.arrow
    column.validate(full=True)
    texts = [row[number] for row in printed]
    values = [texts[2 * i + 1] if v is ... else v for i, v in enumerate(case.values.values())]
    expected = [None] + [x for v in values for x in (v, None)] + values
    expected += [None] * (ROWS - len(expected))
    assert plain(column.to_pylist()) == plain(expected)
    # The second source agrees on where the NULLs are.
    assert [t is None for t in texts] == [v is None for v in expected]


@pytest.mark.parametrize(
    "catalog", ["pg_class", "pg_attribute", "pg_type", "pg_proc", "pg_index", "pg_stats"]
)
def test_engines_agree_on_the_servers_own_catalogs(shop: dict[str, str], catalog: str) -> None:
    # They hold types that nobody thinks of: aclitem[], oidvector, pg_node_tree, anyarray, xid.
    options = shop | {"query": f"SELECT * FROM {catalog} q ORDER BY q::text LIMIT 200"}
    tables = [read(options | {"engine": engine}) for engine in ENGINES]
    assert tables[0].num_rows > 50
    for table in tables[1:]:
        assert table.schema == tables[0].schema
        assert plain([list(r.values()) for r in table.to_pylist()]) == plain(
            [list(r.values()) for r in tables[0].to_pylist()]
        )


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_engines_agree_on_the_whole_schema(tables: dict[str, pa.Table], engine: str) -> None:
    assert tables[engine].schema.equals(tables["connectorx"].schema, check_metadata=True)


def test_a_padded_array_moves_away_from_connectorx(shop: dict[str, str]) -> None:
    # char(n)[] as text has lost its blanks, and connectorx reads it as nothing else.
    query = shop | {"query": "SELECT '{ab,NULL}'::char(3)[] AS v"}
    source = JDBCArrowDataSource()
    (spec,) = source.plan_partitions(query)
    assert spec["engine"] == "adbc"
    assert "'v'" in spec["why"]
    for engine in ("adbc", "fallback"):
        assert read(query | {"engine": engine})["v"].to_pylist() == [["ab ", None]]
    with pytest.raises(EngineError, match="connectorx cannot read column 'v'"):
        source.plan_partitions(query | {"engine": "connectorx"})


LOUD = {
    "numeric NaN": ("'NaN'::numeric", "NaN"),
    "numeric(10,2) NaN": ("'NaN'::numeric(10,2)", "NaN"),
    "numeric Infinity": ("'Infinity'::numeric", "infinity"),
    "numeric with 19 decimals": ("'1e-19'::numeric", "does not fit"),
    # Arrow's own cast of text makes another number of this, without a word.
    "numeric of 25 digits": (f"'{'1' * 25}'::numeric", "customSchema.*DECIMAL"),
    "numeric 1e40": ("'1e40'::numeric", "does not fit"),
    "numeric[] NaN": ("'{1,NaN}'::numeric[]", "NaN"),
    "date infinity": ("'infinity'::date", "infinite"),
    "date -infinity": ("'-infinity'::date", "infinite"),
    "date BC": ("'0044-03-15 BC'::date", "years 1 to 9999"),
    "date 12345": ("'12345-01-01'::date", "years 1 to 9999"),
    "date[] infinity": ("'{infinity}'::date[]", "infinite|does not fit"),
    "time 24:00": ("'24:00'::time", "24:00|does not fit"),
    "timestamp infinity": ("'infinity'::timestamp", "infinite"),
    "timestamp -infinity": ("'-infinity'::timestamp", "infinite"),
    "timestamp BC": ("'0044-03-15 BC'::timestamp", "years 1 to 9999"),
    "timestamptz infinity": ("'infinity'::timestamptz", "infinite"),
    "timestamptz 12345": ("'12345-01-01'::timestamptz", "years 1 to 9999"),
    "interval infinity": ("'infinity'::interval", "infinite interval"),
    "interval too long": ("'3000000 hours'::interval", "nanoseconds"),
    "int[] of two dimensions": ("'{{1,2},{3,4}}'::int[]", "two or more dimensions"),
    "uuid[] of two dimensions": ("array[array[gen_random_uuid()]]", "two or more dimensions"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", LOUD)
def test_what_arrow_cannot_hold_is_an_error(shop: dict[str, str], name: str, engine: str) -> None:
    sql, words = LOUD[name]
    options = shop | {"engine": engine, "query": f'SELECT 1 AS a, {sql} AS "the Column"'}
    with pytest.raises(ColumnValueError, match=words) as caught:
        read(options)
    assert "'the Column'" in str(caught.value)
    # And the way out that the message shows is one.
    table = read(options | {"customSchema": "`the Column` STRING"})
    assert table.column("the Column").type == pa.string()
    assert table.column("the Column").null_count == 0


CUSTOM = {
    "1e40::numeric": ("DECIMAL(60, 0)", pa.decimal256(60, 0), D("1e40")),
    "'1e-20'::numeric": ("DECIMAL(38, 20)", pa.decimal128(38, 20), D("1e-20")),
    "5.00::numeric": ("INT", pa.int32(), 5),
    "9223372036854775807::numeric": ("BIGINT", pa.int64(), 2**63 - 1),
    "0.1::numeric": ("DOUBLE", pa.float64(), 0.1),
    "0.1::float8": ("DECIMAL(10, 3)", pa.decimal128(10, 3), D("0.100")),
    "1e20::float8": ("DECIMAL(38, 0)", pa.decimal128(38, 0), D(10**20)),
    "0.5::float8": ("FLOAT", pa.float32(), 0.5),
    "7::int8": ("TINYINT", pa.int8(), 7),
    "true": ("STRING", pa.string(), "true"),
    "'f'::text": ("BOOLEAN", pa.bool_(), False),
    "' 12'::char(3)": ("STRING", pa.string(), " 12"),
    "'2024-02-29'::text": ("DATE", pa.date32(), dt.date(2024, 2, 29)),
    "'2024-02-29'::date": (
        "TIMESTAMP_NTZ",
        pa.timestamp("us"),
        dt.datetime(2024, 2, 29),
    ),
    "'2024-02-29 01:02'::timestamp": (
        "TIMESTAMP",
        pa.timestamp("us", "UTC"),
        dt.datetime(2024, 2, 29, 1, 2, tzinfo=UTC),
    ),
    "'2024-02-29 01:02+02'::timestamptz": (
        "TIMESTAMP_NTZ",
        pa.timestamp("us"),
        dt.datetime(2024, 2, 28, 23, 2),
    ),
    "'{1.5,NULL}'::numeric[]": (
        "ARRAY<DECIMAL(4, 1)>",
        pa.list_(pa.decimal128(4, 1)),
        [D("1.5"), None],
    ),
    "'1 mon'::interval": ("STRING", pa.string(), "1 mon"),
    "'x'::text": ("BINARY", pa.binary(), b"x"),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_custom_schema_converts_exactly(shop: dict[str, str], engine: str) -> None:
    items = [f'{sql} AS "V {i}"' for i, sql in enumerate(CUSTOM)]
    nulls = [f"CASE WHEN false THEN {sql} END" for sql in CUSTOM]
    options = shop | {
        "engine": engine,
        "query": f"SELECT {', '.join(items)} UNION ALL SELECT {', '.join(nulls)}",
        # Names ignore case.
        "customSchema": ", ".join(f"`v {i}` {t}" for i, (t, _, _) in enumerate(CUSTOM.values())),
    }
    table = read(options)
    assert table.schema.types == [arrow for _, arrow, _ in CUSTOM.values()]
    assert [c.to_pylist() for c in table.columns] == [[v, None] for _, _, v in CUSTOM.values()]


MISFITS = {
    "3000000000::int8": "INT",
    "5.5::numeric": "INT",
    "0.10000000000000000001::numeric": "DOUBLE",
    "'1e400'::text": "DOUBLE",
    "0.123456789::float8": "FLOAT",
    "2::int": "BOOLEAN",
    "'0x10'::text": "INT",
    "'2024-02-30'::text": "DATE",
    "12345.6::numeric": "DECIMAL(5, 1)",
    "'NaN'::float8": "DECIMAL(5, 1)",
    "'x'::text": "DECIMAL(5, 1)",
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sql", MISFITS)
def test_custom_schema_never_changes_a_value(shop: dict[str, str], sql: str, engine: str) -> None:
    options = shop | {"engine": engine, "query": f"SELECT {sql} AS v"}
    with pytest.raises(ColumnValueError, match="column 'v' holds"):
        read(options | {"customSchema": f"v {MISFITS[sql]}"})


@pytest.mark.parametrize(
    ("ddl", "words"),
    [
        ("amuont INT", "names no column, got 'amuont'; did you mean 'amount'"),
        ("amount FLOTA", "unknown type 'FLOTA'"),
        ("amount DECIMAL(77, 0)", "1 to 76 digits"),
        ("amount DECIMAL(3, 5)", "1 to 76 digits"),
        ("amount", "ends too early"),
        ("amount INT,", "ends too early"),
        ("amount INT, AMOUNT INT", "'amount' twice"),
        ("amount INT; DROP TABLE x", "';' out of place"),
        ("amount ARRAY<INT", "ends too early"),
    ],
)
def test_a_malformed_custom_schema_says_what_to_write(
    shop: dict[str, str], ddl: str, words: str
) -> None:
    options = shop | {"query": "SELECT 1 AS amount", "customSchema": ddl}
    with pytest.raises(OptionError, match="customSchema.*" + words):
        JDBCArrowDataSource().infer_schema(options)


def test_two_columns_of_one_name_are_an_error(shop: dict[str, str]) -> None:
    with pytest.raises(ColumnTypeError, match=r"'a' comes 2 times.*AS"):
        JDBCArrowDataSource().infer_schema(shop | {"query": "SELECT 1 AS a, 2 AS a"})


def test_types_print_the_same_whatever_the_server_and_the_user_set(shop: dict[str, str]) -> None:
    settings = (
        "SELECT set_config('DateStyle', 'German', false), set_config('TimeZone', 'Asia/Tokyo', "
        "false), set_config('extra_float_digits', '0', false), "
        "set_config('bytea_output', 'escape', false), "
        "set_config('IntervalStyle', 'iso_8601', false)"
    )
    query = (
        "SELECT '2024-02-29 01:02+00'::timestamptz AS t, '2024-02-29'::date AS d, "
        "0.1::float8 + 0.2 AS f, '{\"\\\\x00\"}'::bytea[] AS b, '1 day'::interval AS i"
    )
    custom = {"customSchema": "f DECIMAL(20, 18), i STRING, t STRING"}
    for engine in ("adbc", "fallback"):
        options = shop | {"query": query, "engine": engine, "sessionInitStatement": settings}
        assert plain(read(options).to_pylist()[0]["i"]) == (0, 1, 0)
        assert read(options | custom).to_pylist() == [
            {
                "t": "2024-02-29 01:02:00+00",
                "d": dt.date(2024, 2, 29),
                "f": D("0.300000000000000040"),
                "b": [b"\x00"],
                "i": "1 day",
            }
        ]
