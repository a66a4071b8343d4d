"""The worked source of ODBC, by the drivers of PostgreSQL and SQLite, on what drivers get wrong."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import dask.dataframe as dd
import pyarrow as pa
import pytest

import dask_sail
from dask_sail.testing import PythonDataSourceSuite

pytestmark = pytest.mark.sources
# Doubles of which 15 digits are not enough, and those that are no numbers.
WEIGHTS = [0.1, 1 / 3, None, 1e300, 5e-324, -0.0, 2**53 + 2.0]


@pytest.fixture(scope="module")
def rows(orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "id": row["id"],
            "customer": row["customer"],
            "amount": row["amount"],
            "weight": WEIGHTS[n % len(WEIGHTS)],
            "placed": row["placed"],
        }
        for n, row in enumerate(orders[:30])
    ]


@pytest.fixture(scope="module")
def table(rows: list[dict[str, Any]]) -> pa.Table:
    kinds = [("id", pa.int64()), ("customer", pa.string()), ("amount", pa.decimal128(12, 2))]
    kinds += [("weight", pa.float64()), ("placed", pa.timestamp("us", "UTC"))]
    return pa.Table.from_pylist(rows, pa.schema(kinds))


@pytest.fixture
def module(recipe: Callable[[str], ModuleType]) -> ModuleType:
    return recipe("odbc_table")


@pytest.fixture(scope="module")
def shop(postgres: str, rows: list[dict[str, Any]]) -> Iterator[Any]:
    """A connection to PostgreSQL with the table ``orders``."""
    import psycopg

    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP SCHEMA IF EXISTS odbc CASCADE")
        db.execute("CREATE SCHEMA odbc")
        db.execute(
            "CREATE TABLE odbc.orders (id bigint PRIMARY KEY, customer text,"
            " amount numeric, weight float8, placed timestamptz)"
        )
        for row in rows:
            values = [*row.values()]
            db.execute("INSERT INTO odbc.orders VALUES (%s, %s, %s, %s, %s)", values)
        yield db
        db.execute("DROP SCHEMA odbc CASCADE")


@pytest.fixture
def postgresql(postgres: str, shop: Any) -> dict[str, Any]:
    at = urlsplit(postgres)
    # Without UseDeclareFetch the driver would keep the whole result.
    connection = f"Driver=PostgreSQL Unicode;Server={at.hostname};Port={at.port}"
    connection += f";Database={at.path[1:]};UseDeclareFetch=1;ConnSettings=SET search_path TO odbc"
    return {
        "connection": connection,
        "user": unquote(at.username or ""),
        "password": unquote(at.password or ""),
        "partitions": 3,
    }


@pytest.fixture(scope="module")
def sqlite_file(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odbc") / "shop.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, amount TEXT, weight REAL,"
            " placed TEXT)"
        )
        for row in rows:
            placed = row["placed"].isoformat().replace("+00:00", "Z")
            amount = None if row["amount"] is None else str(row["amount"])
            values = [*{**row, "placed": placed, "amount": amount}.values()]
            db.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", values)
    return path


@pytest.fixture
def sqlite(sqlite_file: Path) -> dict[str, Any]:
    return {"connection": f"Driver=SQLite3;Database={sqlite_file}", "partitions": 2}


class ODBCSuite(PythonDataSourceSuite):
    @pytest.fixture
    def expected(self, table: pa.Table) -> pa.Table:
        return table

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        return {"connection": "DSN=shop;Pwd=x", "partitions": 0, "maxText": "long", "seconds": "-1"}


class TestPostgreSQL(ODBCSuite):
    @pytest.fixture
    def source(self, module: ModuleType) -> Any:
        return module.Orders

    @pytest.fixture
    def options(self, postgresql: dict[str, Any]) -> Mapping[str, Any]:
        return {**postgresql, "partitions": 2}


class TestSQLite(ODBCSuite):
    @pytest.fixture
    def source(self, module: ModuleType) -> Any:
        return module.SQLiteOrders

    @pytest.fixture
    def expected(self, rows: list[dict[str, Any]], table: pa.Table) -> pa.Table:
        # SQLite itself keeps no sign of a zero.
        weights = [row["weight"] if row["weight"] is None else row["weight"] + 0.0 for row in rows]
        place = table.schema.get_field_index("weight")
        return table.set_column(place, "weight", pa.array(weights, pa.float64()))

    @pytest.fixture
    def options(self, sqlite: dict[str, Any]) -> Mapping[str, Any]:
        return sqlite

    @pytest.fixture
    def empty_options(self, tmp_path: Path) -> Mapping[str, Any]:
        with contextlib.closing(sqlite3.connect(tmp_path / "empty.db")) as db, db:
            db.execute("CREATE TABLE orders (id INTEGER, customer, amount, weight, placed)")
        return {"connection": f"Driver=SQLite3;Database={tmp_path / 'empty.db'}"}


def test_the_page_is_true(
    run_page: Callable[[str], None], postgresql: dict[str, Any], monkeypatch: Any
) -> None:
    for name, value in postgresql.items():
        monkeypatch.setenv(f"SHOP_{name.upper()}", str(value))
    run_page("odbc_table.md")


def test_columns_and_filters_are_in_the_sql(
    module: ModuleType,
    postgres: str,
    postgresql: dict[str, Any],
    shop: Any,
    rows: list[dict[str, Any]],
) -> None:
    shop.execute("ALTER ROLE CURRENT_USER SET log_statement = 'all'")
    try:
        (folder,) = shop.execute("SHOW data_directory").fetchone()
        log = Path(folder).parent / "log"
        before = log.stat().st_size
        last = rows[-1]["id"]
        frame = dd.read_python_source(module.Orders, options=postgresql)
        found = frame[(frame.id > last - 10) & frame.amount.notnull()].customer
        assert found.compute(scheduler="synchronous").dropna().tolist() == [
            row["customer"] for row in rows[-5:] if row["amount"] and row["customer"] is not None
        ]
    finally:
        shop.execute("ALTER ROLE CURRENT_USER RESET log_statement")
    text = log.read_text()[before:]
    (asked,) = [line for line in text.splitlines() if 'customer AS "customer"' in line]
    assert f'"id" > {last - 10} AND "amount" IS NOT NULL' in asked
    assert "placed" not in asked


WRONG_IN_POSTGRESQL = [
    ("amount", "'NaN'", "column 'amount' came as string"),  # which the driver makes 0
    ("amount", "1.005", "column 'amount' came as string"),  # which it makes 1.00
    ("placed", "'infinity'", "column 'placed' came as string"),  # which it makes the year 9999
    ("placed", "'0044-03-15 00:00 BC'", "column 'placed' came as string"),
    ("customer", "repeat('ä', 2001)", "'maxText' allows, 4000 bytes"),
]


@pytest.mark.parametrize(("column", "value", "complaint"), WRONG_IN_POSTGRESQL)
def test_what_the_driver_would_change_is_an_error(
    module: ModuleType,
    postgresql: dict[str, Any],
    shop: Any,
    column: str,
    value: str,
    complaint: str,
) -> None:
    shop.execute(f"INSERT INTO odbc.orders (id, {column}) VALUES (1, {value})")
    try:
        frame = dd.read_python_source(module.Orders, options=postgresql)[[column]]
        with pytest.raises(dask_sail.PythonDataSourceError, match=complaint):
            frame.compute(scheduler="synchronous")
    finally:
        shop.execute("DELETE FROM odbc.orders WHERE id = 1")


def test_doubles_that_are_no_numbers_and_long_texts_arrive(
    module: ModuleType, postgresql: dict[str, Any], shop: Any
) -> None:
    shop.execute(
        "INSERT INTO odbc.orders (id, weight, customer) VALUES (1, 'NaN', repeat('漢', 9000)),"
        " (2, '-Infinity', '')"
    )
    try:
        given = {**postgresql, "maxText": 30_000}
        frame = dd.read_python_source(module.Orders, options=given)
        found = frame[frame.id < 3].compute(scheduler="synchronous")
        assert math.isnan(found.weight.iloc[0])
        assert found.weight.iloc[1] == -math.inf
        assert found.customer.tolist() == ["漢" * 9000, ""]
    finally:
        shop.execute("DELETE FROM odbc.orders WHERE id < 3")


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("weight", "heavy", "Failed to parse string: 'heavy'"),
        ("amount", 1.005, "column 'amount' came as string"),
        ("placed", "yesterday", "column 'placed' came as string"),
        ("customer", b"\xff\xfe", "invalid UTF-8"),
    ],
)
def test_what_sqlite_keeps_in_a_column_of_another_kind_is_an_error(
    module: ModuleType,
    sqlite: dict[str, Any],
    sqlite_file: Path,
    column: str,
    value: Any,
    complaint: str,
) -> None:
    with contextlib.closing(sqlite3.connect(sqlite_file)) as db, db:
        db.execute(f"INSERT INTO orders (id, {column}) VALUES (1, ?)", [value])
    try:
        frame = dd.read_python_source(module.SQLiteOrders, options=sqlite)[[column]]
        with pytest.raises(dask_sail.PythonDataSourceError, match=complaint):
            frame.compute(scheduler="synchronous")
    finally:
        with contextlib.closing(sqlite3.connect(sqlite_file)) as db, db:
            db.execute("DELETE FROM orders WHERE id = 1")


def test_a_session_that_is_ended_is_read_again(
    module: ModuleType, postgresql: dict[str, Any], shop: Any, tmp_path: Path
) -> None:
    # The first read ends its own session; a sequence remembers that it did.
    shop.execute("CREATE SEQUENCE odbc.reads")
    try:

        class Ended(module.OdbcTable):
            table = (
                "(SELECT o.*, CASE WHEN nextval('odbc.reads') = 1"
                " THEN pg_terminate_backend(pg_backend_pid()) END FROM odbc.orders o) AS o"
            )
            columns = module.Orders.columns

            def plan_partitions(self, options: dict[str, str]) -> list[dict[str, int | None]]:
                return [{"first": None, "before": None}]

        frame = dd.read_python_source(Ended, options=postgresql)
        assert len(frame.compute(scheduler="synchronous")) == 30
        (reads,) = shop.execute("SELECT last_value FROM odbc.reads").fetchone()
        assert reads > 30
    finally:
        shop.execute("DROP SEQUENCE odbc.reads")


def test_a_wrong_password_is_told_once_and_not_shown(
    module: ModuleType, postgresql: dict[str, Any]
) -> None:
    wrong = {**postgresql, "password": "wr0ng;}pass"}
    with pytest.raises(dask_sail.SourceCallError, match="password authentication failed") as raised:
        dd.read_python_source(module.Orders, options=wrong)
    assert not raised.value.transient
    assert "wr0ng" not in f"{raised.value}{raised.value.args}"


def test_a_driver_that_is_missing_is_named(module: ModuleType) -> None:
    with pytest.raises(dask_sail.SourceCallError, match="No such"):
        dd.read_python_source(module.Orders, connection="Driver=No such")


def test_a_password_in_the_connection_string_is_refused(module: ModuleType) -> None:
    with pytest.raises(dask_sail.SourceCallError, match="give 'user' and 'password'") as raised:
        dd.read_python_source(module.Orders, connection="DSN=shop;PWD=s3cret-in-it")
    assert "s3cret-in-it" not in raised.value.args[2]


def test_a_filter_on_what_the_sql_computes_is_applied_here(
    module: ModuleType, sqlite: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    class Computed(module.OdbcTable):
        # Of this name the table has none, and another one, which is not what is read.
        columns: Mapping[str, tuple[pa.DataType, str]] = {
            "rest": (pa.int64(), "CAST(id % 10 AS VARCHAR(40))"),
            "id": (pa.int64(), "CAST(id - 9007199254740992 AS VARCHAR(40))"),
            "half": (pa.int64(), "CAST(NULLIF(1, id % 2) AS VARCHAR(40))"),
        }

    frame = dd.read_python_source(Computed, options=sqlite)
    small = [row["id"] - 2**53 for row in rows if row["id"] % 10 > 5]
    found = frame[frame.rest > 5].id.compute(scheduler="synchronous").tolist()
    assert sorted(found) == small
    assert len(frame[frame.id < 8].compute(scheduler="synchronous")) == 4
    assert len(frame[frame.half.isnull()].compute(scheduler="synchronous")) == len(rows)
