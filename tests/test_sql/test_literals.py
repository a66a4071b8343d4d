"""Numbers with a point that meet decimals: they are those that the query says."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dask_sail

D = Decimal
ROWS = pa.table(
    {
        "i": [1, 2, 3, 4],
        "d": pa.array([D("17.69"), D("1234567.89"), D("0.10"), None], pa.decimal128(12, 2)),
        "w": pa.array(
            [D("1234567890123456789012345678.0123456789"), D("0.1"), D(1), None],
            pa.decimal128(38, 10),
        ),
        "x": [17.69, math.nan, 1e300, None],
    }
)


@pytest.fixture(scope="module")
def ctx():
    return dask_sail.SQLContext({"t": ROWS}, target_partitions=2)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("d = 17.69", [1]),
        ("17.69 >= d", [1, 3]),
        ("d = -17.69", []),
        ("d <> 17.69", [2, 3]),
        ("d in (17.69, 1234567.89)", [1, 2]),
        ("d not in (17.69, 0.5)", [2, 3]),
        ("d between 17.69 and 1234567.89", [1, 2]),
        ("d > 1234567.885", [2]),  # finer than the column
        ("d + 0 = 17.69", [1]),
        ("case d when 17.69 then true else false end", [1]),
        ("(select sum(d) from t) = 1234585.68", [1, 2, 3, 4]),
        ("w = 1234567890123456789012345678.0123456789", [1]),
        ("w >= 1234567890123456789012345678", [1]),
        # Doubles stay doubles, NaN and all, beside a decimal that meets the same number.
        ("x > 17.6", [1, 2, 3]),
        ("x = 17.69 and d = 17.69", [1]),
        ("x = 17.69 or d = 1234567.89", [1, 2]),
        ("d = 17.69 or x >= 17.69", [1, 2, 3]),
        ("x > 1e-16 and d > 0", [1, 2, 3]),
    ],
)
def test_a_decimal_is_compared_with_the_number_that_is_written(condition, rows, ctx):
    sql = f"SELECT i FROM t WHERE {condition} ORDER BY i"
    assert ctx.to_arrow(sql)["i"].to_pylist() == rows
    ctx.sql(f"CREATE OR REPLACE VIEW seen AS SELECT i FROM t WHERE {condition}")
    assert ctx.to_arrow("SELECT i FROM seen ORDER BY i")["i"].to_pylist() == rows


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_amount_is_found(data, ctx):
    cents = data.draw(st.lists(st.integers(-(10**11), 10**11), min_size=1, max_size=5, unique=True))
    amounts = [D(one).scaleb(-2) for one in cents]
    table = pa.table({"d": pa.array(amounts, pa.decimal128(14, 2))})
    one = dask_sail.SQLContext({"t": table}, target_partitions=2)
    op = data.draw(st.sampled_from(["=", "<>", "<", "<=", ">", ">="]))
    sql = f"SELECT count(*) AS n FROM t WHERE d {op} {data.draw(st.sampled_from(amounts))}"
    with duckdb.connect() as db:
        db.register("t", table)
        (wanted,) = db.sql(sql).fetchone()
    assert one.to_arrow(sql)["n"].to_pylist() == [wanted]


def test_many_amounts_in_a_list_are_found():
    amounts = [D(n * 7919 + 1).scaleb(-2) for n in range(300)]
    table = pa.table({"d": pa.array(amounts, pa.decimal128(12, 2))})
    sql = f"SELECT d FROM t WHERE d IN ({', '.join(map(str, amounts))})"
    assert dask_sail.SQLContext({"t": table}).to_arrow(sql).num_rows == 300


def test_the_types_of_a_result_are_those_of_doubles(ctx):
    """What is written as 17.69 gives the same type as what is written as 0.5."""
    for number, value in (("17.69", D("17.69")), ("0.5", D("0.5"))):
        sql = f"SELECT coalesce(d, {number}) AS r, sum(x) * {number} AS y FROM t GROUP BY d"
        got = ctx.to_arrow(sql)
        assert got.schema.types == [pa.decimal128(30, 15), pa.float64()]
        assert value in got["r"].to_pylist()


def test_an_exact_number_goes_into_the_source(tmp_path):
    import sqlite3

    import dask.dataframe as dd

    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, price DECIMAL(12, 2))")
        db.executemany("INSERT INTO items VALUES (?, ?)", [(1, 17.69), (2, 17.7), (3, 1)])
    frame = dd.read_python_source("jdbc", url=f"jdbc:sqlite:{tmp_path}/shop.db", dbtable="items")
    one = dask_sail.SQLContext({"items": frame})
    assert one.to_arrow("SELECT id FROM items WHERE price <= 17.69")["id"].to_pylist() == [1, 3]


def test_a_query_that_runs_whole_compares_exactly(ctx):
    sql = """
        WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3)
        SELECT n FROM r JOIN t ON n = i WHERE d <= 17.69 ORDER BY n
    """
    assert ctx.explain(sql).fallback is not None
    assert ctx.to_arrow(sql)["n"].to_pylist() == [1, 3]


def test_mistakes_are_told_in_the_words_of_the_query(ctx):
    with pytest.raises(dask_sail.SQLNameError) as caught:
        ctx.sql("SELECT d = 17.69 FROM t WHERE nope = 17.69")
    assert (caught.value.line, caught.value.column) == (1, 31)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("ts < TIMESTAMP(6) '3000-01-01'", [1]),
        ("zoned < TIMESTAMP(6) '3000-01-01'", [1]),
        ("at < '12:00:00'", [1]),
    ],
)
def test_times_are_compared_as_the_documentation_says(condition, rows):
    years = [dt.datetime(2024, 1, 1), dt.datetime(9999, 12, 31)]
    table = pa.table(
        {
            "i": [1, 2],
            "ts": pa.array(years, pa.timestamp("us")),
            "zoned": pa.array(years, pa.timestamp("us", "UTC")),
            "at": pa.array([dt.time(1), dt.time(13)], pa.time64("us")),
        }
    )
    found = dask_sail.sql(f"SELECT i FROM t WHERE {condition}", t=table).compute()
    assert found["i"].tolist() == rows
