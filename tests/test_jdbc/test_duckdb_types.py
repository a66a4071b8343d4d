"""Every kind of column of DuckDB: the same values from each engine, or an error that says why.

What a value should be comes from DuckDB's own text of it, turned into Python without Arrow.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
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
