"""Every type of PostgreSQL: the same exact values from each engine, or an error that says why."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator
from decimal import Decimal as D
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from jdbc import ColumnTypeError, ColumnValueError, JDBCArrowDataSource, OptionError

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


def plain(value: Any) -> Any:
    """Comparable: NaN equals itself, minus zero differs from zero, an interval is a tuple."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, list):
        return [plain(v) for v in value]
    return tuple(value) if isinstance(value, pa.MonthDayNano) else value


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
        dt.datetime(2024, 2, 29, 1, 2, tzinfo=dt.UTC),
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
