"""Databases in Dask DataFrames: the same rows and types wherever tasks run, on every engine."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import pandas as pd
import psycopg
import pytest
from distributed import Client

import dask_sail

ENGINES = ["connectorx", "adbc", "fallback"]


@pytest.fixture(scope="module")
def shop(postgres: str, jdbc_options: Callable[[str], dict[str, str]]) -> Iterator[dict[str, Any]]:
    """Options for a table of 1,000 orders and 3 whose id is NULL, on a real PostgreSQL."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS frame_orders")
        connection.execute(
            "CREATE TABLE frame_orders AS SELECT nullif(g, g / 1001 * g)::int8 AS id,"
            " (g * 31 % 997 / 100.0)::numeric(12, 2) AS amount,"
            " CASE WHEN g % 7 > 0 THEN 'c' || g % 5 END AS country, g % 3 = 0 AS paid,"
            " timestamptz '2024-03-31 00:00+00' + g * interval '7 minutes' AS at"
            " FROM generate_series(1, 1003) AS g"
        )
    yield jdbc_options(postgres) | {
        "dbtable": "frame_orders",
        "partitionColumn": "ID",
        "lowerBound": 1,
        "upperBound": 1000,
        "numPartitions": 4,
    }
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP TABLE frame_orders")


@pytest.fixture(scope="module")
def expected(postgres: str, shop: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What the database itself says, by its own driver."""
    with psycopg.connect(postgres) as connection:
        return connection.execute("SELECT * FROM frame_orders ORDER BY at").fetchall()


def as_rows(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    ordered = frame.sort_values("at")
    return [
        tuple(None if value is pd.NA else value for value in row)
        for row in ordered.astype(object).itertuples(index=False)
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("where", ["synchronous", "threads", "processes", "cluster"])
def test_postgresql(
    engine: str,
    where: str,
    shop: dict[str, Any],
    expected: list[tuple[Any, ...]],
    request: pytest.FixtureRequest,
) -> None:
    frame = dd.read_python_source("jdbc", engine=engine, **shop)
    if where == "cluster":
        with Client(request.getfixturevalue("cluster")):
            result = frame.compute()
    else:
        result = frame.compute(scheduler=where)
    assert [str(dtype) for dtype in result.dtypes] == [
        "int64[pyarrow]",
        "decimal128(12, 2)[pyarrow]",
        "string[pyarrow]",
        "bool[pyarrow]",
        "timestamp[us, tz=UTC][pyarrow]",
    ]
    assert as_rows(result) == expected
    assert result.id.isna().sum() == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_pushed_into_postgresql(
    engine: str, shop: dict[str, Any], expected: list[tuple[Any, ...]]
) -> None:
    frame = dd.read_python_source("jdbc", engine=engine, **shop)
    moment = datetime.datetime(2024, 4, 1, tzinfo=datetime.UTC)
    query = frame[(frame.id >= 600) & (frame.amount > Decimal("5.5")) & (frame["at"] >= moment)]
    read = dask_sail.inspect(query[["id", "country"]]).reads[0]
    assert len(read.pushed) == 3
    assert read.kept == ()
    assert read.columns == ("id", "country")
    assert len(read.partitions) == 2  # of four: the ranges that can hold such ids
    wanted = [
        row[0]
        for row in expected
        if row[0] is not None and row[0] >= 600 and row[1] > Decimal("5.5") and row[4] >= moment
    ]
    assert sorted(query.id.compute()) == sorted(wanted)
    assert len(frame) == len(expected)
    assert len(query) == len(wanted)
    assert len(query.head(2, npartitions=-1)) == 2


def test_an_aggregate_over_postgresql(shop: dict[str, Any], postgres: str) -> None:
    frame = dd.read_python_source("jdbc", **shop)
    totals = frame.groupby("country", dropna=False).amount.sum().compute()
    with psycopg.connect(postgres) as connection:
        rows = connection.execute(
            "SELECT country, sum(amount) FROM frame_orders GROUP BY country"
        ).fetchall()
    assert {None if k is pd.NA else k: v for k, v in totals.items()} == dict(rows)


@pytest.fixture
def secret_shop(
    shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> dict[str, Any]:
    monkeypatch.setenv("SHOP_PASSWORD", shop["password"])
    return shop | {"password": "{env:SHOP_PASSWORD}"}


def test_a_password_by_reference(secret_shop: dict[str, Any]) -> None:
    frame = dd.read_python_source("jdbc", **secret_shop)
    assert len(frame.compute(scheduler="threads")) == 1003
    query = frame[frame.id > 990]
    assert dask_sail.inspect(query).reads[0].pushed == ("id > 990",)
    assert "{env:SHOP_PASSWORD}" in str(dask_sail.inspect(query))


def test_a_wrong_password_is_told_without_it(shop: dict[str, Any]) -> None:
    with pytest.raises(dask_sail.SourceCallError, match="postgresql at 127") as raised:
        dd.read_python_source("jdbc", **(shop | {"password": "not-this-one"}))
    assert "not-this-one" not in str(raised.value)
    assert "password authentication failed" in str(raised.value)
    assert "Traceback" not in str(raised.value)


def test_a_wrong_option_is_told_with_the_right_one(shop: dict[str, Any]) -> None:
    with pytest.raises(dask_sail.SourceCallError, match="numPartitions"):
        dd.read_python_source("jdbc", **(shop | {"numPartition": 4}))
    with pytest.raises(dask_sail.SourceCallError, match=r"no_such_table.*does not exist"):
        dd.read_python_source("jdbc", **(shop | {"dbtable": "no_such_table"}))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_value_that_does_not_fit_is_told_by_its_column(engine: str, shop: dict[str, Any]) -> None:
    options = {key: shop[key] for key in ("url", "user", "password")} | {
        "query": "SELECT 1 AS n, 'infinity'::timestamp AS when_done",
        "engine": engine,
    }
    frame = dd.read_python_source("jdbc", **options)
    assert frame.n.compute().tolist() == [1]
    with pytest.raises(dask_sail.PartitionReadError, match=r"'when_done'.*customSchema"):
        frame.compute()


@pytest.mark.parametrize("engine", ENGINES)
def test_sqlite_on_a_cluster(engine: str, cluster: str, tmp_path: Path) -> None:
    path = tmp_path / "shop %ü.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (id INTEGER, name TEXT, price REAL, made DATE)")
    rows = [
        (None if i % 50 == 0 else i, f"n{i}", i / 3, f"2024-01-{i % 28 + 1:02}") for i in range(500)
    ]
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    frame = dd.read_python_source(
        "jdbc",
        url=f"jdbc:sqlite:{path}",
        dbtable="t",
        partitionColumn="id",
        lowerBound=0,
        upperBound=100,  # places cuts, filters nothing
        numPartitions=5,
        engine=engine,
    )
    with Client(cluster):
        result = frame.compute()
    found = [
        (None if i is pd.NA else i, name, price, made.isoformat())
        for i, name, price, made in result.astype(object).itertuples(index=False)
    ]
    assert sorted(found, key=lambda row: row[2]) == rows


def test_the_bridges_own_names_for_the_jdbc_source(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t AS SELECT 1 AS n")
    connection.close()
    frame = dd.read_python_source(
        python_module="pysail.jdbc.datasource",
        python_class="JDBCArrowDataSource",
        url=f"jdbc:sqlite:{path}",
        dbtable="t",
    )
    assert frame.n.compute().tolist() == [1]


@pytest.mark.parametrize("key", [2.0**53 - 1, 2.0**53, 2.0**53 + 2, -(2.0**53)])
@pytest.mark.parametrize("cut", [2**53 - 1, 2**53, 2**53 + 1, 2**53 + 2, 2**53 + 3])
def test_a_double_beyond_whole_numbers_is_in_one_range(
    key: float, cut: int, shop: dict[str, Any], tmp_path: Path
) -> None:
    import duckdb

    with duckdb.connect(tmp_path / "x.duckdb") as connection:
        connection.execute(f"CREATE TABLE t AS SELECT {key!r}::double AS k")
    options = {name: shop[name] for name in ("url", "user", "password")} | {"engine": "adbc"}
    databases = [
        options | {"query": f"SELECT '{key!r}'::float8 AS k"},
        {"url": f"jdbc:duckdb:{tmp_path / 'x.duckdb'}", "dbtable": "t"},
    ]
    for database in databases:
        frame = dd.read_python_source(
            "jdbc",
            **database,
            partitionColumn="k",
            lowerBound=cut - 2,
            upperBound=cut + 2,
            numPartitions=4,
        )
        assert frame.k.compute(scheduler="synchronous").tolist() == [key]
        for query in (frame[frame.k == key], frame[frame.k >= key], frame[frame.k <= key]):
            assert query.k.compute(scheduler="synchronous").tolist() == [key]
