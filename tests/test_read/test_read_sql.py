"""Databases under pandas' and Dask's names: the rows of `dd.read_sql_table`, and those it loses."""

from __future__ import annotations

import datetime as dt
import pickle
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import cloudpickle
import dask.dataframe as dd
import numpy as np
import pandas as pd
import psycopg
import pytest
import sqlalchemy as sa
from distributed import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dask_sail
from dask_sail import DivisionError, OptionError, SourceCallError, read_sql

DATABASES = ["postgresql", "sqlite"]
ROWS = 300


class Database(NamedTuple):
    """A real database with a table ``Order Lines``, and the same with three NULL keys in ``gaps``.

    ``url`` is as SQLAlchemy has it.
    """

    url: str
    run: Callable[..., list[tuple[Any, ...]]]


def _lines() -> Iterator[tuple[Any, ...]]:
    start = dt.datetime(2024, 3, 30, 22)
    for n in range(ROWS):
        name = ["Äpfel", "pears", "it's", None][n % 4]
        moment = start + dt.timedelta(minutes=37 * n)
        yield 7 + 3 * n, name, n / 8, f"k{n * 7919 % ROWS:03}", f"{moment.date()}", f"{moment}"


@pytest.fixture(scope="module")
def databases(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Database]:
    file = tmp_path_factory.mktemp("read_sql") / "shop.db"

    def on_sqlite(sql: str, *rows: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(file)) as db, db:
            if rows:
                db.executemany(sql, rows)
                return []
            return db.execute(sql).fetchall()

    def on_postgresql(sql: str, *rows: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(postgres, autocommit=True) as server:
            if rows:
                server.cursor().executemany(sql.replace("?", "%s"), rows)
                return []
            found = server.execute(sql.encode())
            return found.fetchall() if found.description else []

    made = {
        "sqlite": Database(f"sqlite:///{file}", on_sqlite),
        "postgresql": Database(postgres.replace("://", "+psycopg://"), on_postgresql),
    }
    for name, database in made.items():
        real = "double precision" if name == "postgresql" else "REAL"
        moment = "timestamp" if name == "postgresql" else "DATETIME"
        for table in ('"Order Lines"', "gaps"):
            database.run(f"DROP TABLE IF EXISTS {table}")
            database.run(
                f"CREATE TABLE {table} (id INTEGER, name VARCHAR(20), price {real},"
                f' "Key" VARCHAR(4), day DATE, at {moment})'
            )
            database.run(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)", *_lines())
        database.run("INSERT INTO gaps (id, name) VALUES (?, ?)", *[(None, "lost")] * 3)
    return made


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, databases: dict[str, Database]) -> Database:
    return databases[request.param]


@pytest.fixture
def server(databases: dict[str, Database]) -> Database:
    return databases["postgresql"]


def values(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Rows with the index first, as Python's values; both ways of dtypes give the same."""

    def plain(value: Any) -> Any:
        if value is None or pd.isna(value):
            return None
        # Dask turns dates into texts.
        return (
            value
            if isinstance(value, dt.datetime) or not isinstance(value, dt.date)
            else str(value)
        )

    rows = frame.reset_index().astype(object).itertuples(index=False)
    return sorted((tuple(map(plain, row)) for row in rows), key=repr)


# ------------------------------------------------------------ the rows of dd.read_sql_table


@pytest.mark.parametrize(
    "cuts",
    [
        {"npartitions": 4},
        {"npartitions": 1},
        {"divisions": [7, 100, 101, 500, 7 + 3 * (ROWS - 1)]},
    ],
    ids=["4", "1", "divisions"],
)
def test_the_rows_of_read_sql_table(database: Database, cuts: dict[str, Any]) -> None:
    ours = read_sql("Order Lines", database.url, "id", **cuts)
    theirs = dd.read_sql_table("Order Lines", database.url, "id", **cuts)
    assert ours.known_divisions
    assert ours.divisions[0] == theirs.divisions[0] == 7
    assert ours.divisions[-1] == theirs.divisions[-1] == 7 + 3 * (ROWS - 1)
    assert ours.npartitions == theirs.npartitions
    if "divisions" in cuts:
        assert list(ours.divisions) == cuts["divisions"]
        sizes = [len(part.compute()) for part in theirs.partitions]
        assert ours.map_partitions(len).compute().tolist() == sizes
    got, expected = ours.compute(), theirs.compute()
    assert len(got) == ROWS
    assert got.index.name == "id"
    assert list(got.columns) == list(expected.columns)
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in [got.index.dtype, *got.dtypes])
    assert values(got) == values(expected)


def test_columns_of_a_table(database: Database) -> None:
    ours = read_sql(
        "Order Lines", database.url, "id", columns=["price", "id", "name"], npartitions=2
    )
    theirs = dd.read_sql_table(
        "Order Lines", database.url, "id", columns=["price", "name"], npartitions=2
    )
    assert list(ours.columns) == ["price", "name"]
    assert values(ours.compute()) == values(theirs.compute())


def test_a_schema(server: Database) -> None:
    server.run('DROP SCHEMA IF EXISTS "Old.Sales" CASCADE; CREATE SCHEMA "Old.Sales"')
    server.run('CREATE TABLE "Old.Sales"."Orders" AS SELECT 1 AS id, 2 AS n')
    theirs = dd.read_sql_table("Orders", server.url, "id", schema="Old.Sales", npartitions=1)
    for name, more in (("Orders", {"schema": "Old.Sales"}), ('"Old.Sales".Orders', {})):
        ours = read_sql(name, server.url, "id", npartitions=1, **more)
        assert values(ours.compute()) == values(theirs.compute()) == [(1, 2)]
    with pytest.raises(SourceCallError, match='relation "orders" does not exist'):
        read_sql("orders", server.url)
    with pytest.raises(OptionError, match="'schema' is for a table's name"):
        read_sql("SELECT 1 AS n", server.url, schema="Old.Sales")


# ------------------------------------------------------------------- the rows that it loses


def test_null_keys_are_lost_there_and_told_here(database: Database) -> None:
    theirs = dd.read_sql_table("gaps", database.url, "id", npartitions=3)
    assert len(theirs) == ROWS  # of 303
    for cuts in ({"npartitions": 3}, {"divisions": [7, 500, 904]}):
        with pytest.raises(DivisionError, match="column 'id' holds 3 NULLs"):
            read_sql("gaps", database.url, "id", **cuts)
    whole = read_sql("gaps", database.url, numPartitions=3, partitionColumn="id")
    assert len(whole.compute()) == ROWS + 3
    left_out = read_sql(
        "SELECT * FROM gaps WHERE id IS NOT NULL", database.url, "id", npartitions=3
    )
    assert values(left_out.compute()) == values(theirs.compute())


def test_rows_outside_of_divisions_are_lost_there_and_told_here(database: Database) -> None:
    theirs = dd.read_sql_table("Order Lines", database.url, "id", divisions=[10, 400, 901])
    assert len(theirs) == ROWS - 2
    with pytest.raises(DivisionError, match="'id' holds 2 values outside of 10 to 901") as raised:
        read_sql("Order Lines", database.url, "id", divisions=[10, 400, 901])
    assert "read a query with a condition" in str(raised.value)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    kept = read_sql(
        'SELECT * FROM "Order Lines" WHERE id BETWEEN 10 AND 901',
        database.url,
        "id",
        divisions=[10, 400, 901],
    )
    assert values(kept.compute()) == values(theirs.compute())


def test_a_row_that_comes_after_the_plan_is_told_when_it_is_read(database: Database) -> None:
    database.run("DROP TABLE IF EXISTS late")
    database.run("CREATE TABLE late (id INTEGER, n INTEGER)")
    database.run("INSERT INTO late VALUES (?, ?)", *[(n, n) for n in range(10)])
    planned = read_sql("late", database.url, "id", npartitions=2)
    database.run("INSERT INTO late VALUES (11, 11), (NULL, 12)")
    with pytest.raises(DivisionError, match="1 rows have an index 'id' that is null or outside"):
        planned.compute()


# --------------------------------------------------------------------------------- divisions

DAY = dt.date(2024, 3, 31)
MOMENT = dt.datetime(2024, 4, 2, 12, 30)


@pytest.mark.parametrize(
    ("column", "divisions"),
    [
        ("day", [dt.date(2024, 1, 1), DAY, dt.date(2024, 4, 3), dt.date(2025, 1, 1)]),
        ("day", [pd.Timestamp("2024-01-01"), pd.Timestamp(DAY), pd.Timestamp("2025-01-01")]),
        ("price", [0.0, 0.1, 12.5, 37.375]),
        ("price", [np.float64(0), np.int64(10), np.float32(37.5)]),
    ],
    ids=["dates", "timestamps for dates", "floats", "of numpy"],
)
def test_divisions_of_other_types(database: Database, column: str, divisions: list[Any]) -> None:
    ours = read_sql("Order Lines", database.url, column, divisions=divisions)
    assert ours.npartitions == len(divisions) - 1
    rows = [part.compute().index.tolist() for part in ours.partitions]
    assert sum(map(len, rows)) == ROWS
    kind = dt.date if column == "day" else float
    inner = [d.date() if isinstance(d, dt.datetime) else d for d in divisions]
    for low, high, part, last in zip(
        inner, inner[1:], rows, [0] * (len(rows) - 1) + [1], strict=False
    ):
        assert all(isinstance(value, kind) for value in part)
        assert all(low <= value < high or (last and value == high) for value in part)


@pytest.mark.parametrize("zoned", [False, True])
def test_divisions_of_moments(server: Database, zoned: bool) -> None:
    kind, zone = (
        ("timestamptz", dt.timezone(dt.timedelta(hours=5))) if zoned else ("timestamp", None)
    )
    query = f'SELECT at::{kind} AS at, id FROM "Order Lines"'
    divisions = [dt.datetime(2024, 1, 1, tzinfo=zone), MOMENT.replace(tzinfo=zone),
                 pd.Timestamp("2025-01-01", tz=zone)]  # fmt: skip
    ours = read_sql(query, server.url, "at", divisions=divisions)
    assert list(ours.divisions) == divisions
    below = sum(dt.datetime.fromisoformat(line[5]).replace(tzinfo=dt.UTC if zoned else None)
                < divisions[1] for line in _lines())  # fmt: skip
    assert ours.map_partitions(len).compute().tolist() == [below, ROWS - below]
    assert 0 < below < ROWS
    wrong = [d.replace(tzinfo=dt.UTC) for d in divisions]
    if not zoned:
        with pytest.raises(
            SourceCallError, match="'divisions' has a zone but the partition column"
        ):
            read_sql(query, server.url, "at", divisions=wrong)


def test_divisions_of_decimals(server: Database) -> None:
    query = 'SELECT price::numeric(9, 3) AS price, id FROM "Order Lines"'
    divisions = [0, Decimal("0.125"), Decimal("12.3"), 0.1 + 37.9]
    ours = read_sql(query, server.url, "price", divisions=divisions)
    expected = [n / 8 for n in range(ROWS)]
    sizes = [sum(a <= v < b for v in expected) for a, b in ((0, 0.125), (0.125, 12.3), (12.3, 99))]
    assert ours.map_partitions(len).compute().tolist() == sizes


@pytest.mark.parametrize("divisions", [None, [-(10**22), 0, 5 * 10**20, 10**22]])
def test_divisions_of_decimals_beyond_64_bits(
    server: Database, divisions: list[int] | None
) -> None:
    unit = 10**20
    key = f"(n * {unit}::numeric)::numeric(38, 0) AS key"
    query = f"SELECT {key}, n FROM generate_series(-100, 100) AS n"
    cut = {"npartitions": 4} if divisions is None else {"divisions": divisions}
    ours = read_sql(query, server.url, "key", **cut)
    assert ours.npartitions > 2
    assert [int(key) for key in ours.compute().index] == [n * unit for n in range(-100, 101)]
    assert ours.loc[Decimal(7 * unit) :].compute().n.tolist() == list(range(7, 101))
    halves = ours.repartition(divisions=[ours.divisions[i] for i in (0, 2, -1)])
    assert halves.map_partitions(len).compute().sum() == 201


LONG = "z" * 5000
TEXTS = [
    "k000",
    LONG,
    LONG + "z",
    "k0",
    "k1",
    "kA",
    "Zoë",
    "z",
    "~",
    "ä",
    "\U0001f600",
    "\uffff",
    "",
    " ",
]


def test_divisions_of_texts(database: Database) -> None:
    """They ascend by code points, as Python sorts them, whatever the database's language is."""
    database.run("DROP TABLE IF EXISTS words")
    other_order = "COLLATE NOCASE" if database.url.startswith("sqlite") else ""
    database.run(f"CREATE TABLE words (word TEXT {other_order}, n INTEGER)")
    database.run("INSERT INTO words VALUES (?, ?)", *[(word, n) for n, word in enumerate(TEXTS)])
    divisions = ["", "Z", "k1", "z", LONG + "y", "\U0001f600"]
    ours = read_sql("words", database.url, "word", divisions=divisions)
    parts = [sorted(part.compute().index) for part in ours.partitions]
    assert [word for part in parts for word in part] == sorted(TEXTS)
    assert [part[0] for part in parts] == ["", "Zoë", "k1", "z", LONG + "z"]
    assert list(ours.divisions) == divisions
    assert ours.loc["ä"].compute().n.tolist() == [TEXTS.index("ä")]


@pytest.mark.parametrize("column", ["Key", "price", "day", "at"])
def test_npartitions_of_other_types(database: Database, column: str) -> None:
    if column == "at" and database.url.startswith("sqlite"):
        with pytest.raises(
            SourceCallError, match="'at', which SQLite holds as 'DATETIME' and canno"
        ):
            read_sql("Order Lines", database.url, column, npartitions=4)
        return
    frame = read_sql("Order Lines", database.url, column, npartitions=4)
    parts = [part.compute().index.tolist() for part in frame.partitions]
    ordered = [value for part in parts for value in part]
    assert len(ordered) == ROWS
    assert ordered == sorted(ordered)
    assert len(parts) > 1
    assert (frame.divisions[0], frame.divisions[-1]) == (ordered[0], ordered[-1])
    low, high = database.run(f'SELECT min("{column}"), max("{column}") FROM "Order Lines"')[0]
    assert [str(low), str(high)] == [str(ordered[0]), str(ordered[-1])]


def test_known_divisions_spare_a_shuffle(database: Database) -> None:
    lines = read_sql("Order Lines", database.url, "id", divisions=[7, 250, 500, 904])
    prices = read_sql("Order Lines", database.url, "id", columns=["price"], npartitions=2)
    part = lines.loc[100:300]
    assert part.npartitions == 2
    assert sorted(part.compute().index) == [n for n in range(7, 905, 3) if 100 <= n <= 300]
    assert lines.loc[250].compute().name.tolist() == ["pears"]
    merged = lines.merge(prices, left_index=True, right_index=True)
    assert merged.known_divisions
    assert not any("shuffle" in str(key) for key in merged.optimize().dask)
    rows = merged.compute()
    assert len(rows) == ROWS
    assert (rows.price_x == rows.price_y).all()
    again = lines.repartition(divisions=[7, 300, 904])
    assert again.divisions == (7, 300, 904)
    assert len(again.compute()) == ROWS


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(DATABASES),
    inner=st.lists(st.integers(-50, 1000), max_size=4, unique=True),
    count=st.integers(1, 7),
)
def test_every_row_is_read_once(
    databases: dict[str, Database], name: str, inner: list[int], count: int
) -> None:
    url = databases[name].url
    drawn = read_sql("Order Lines", url, "id", divisions=[-51, *sorted(inner), 1001])
    found = read_sql("Order Lines", url, "id", npartitions=count)
    for frame in (drawn, found):
        parts = [part.compute() for part in frame.partitions]
        assert sorted(n for part in parts for n in part.index) == list(range(7, 905, 3))
        ends = list(zip(frame.divisions, frame.divisions[1:], strict=False))
        for (low, high), part in zip(ends, parts, strict=True):
            assert all(low <= n < high or n == high == frame.divisions[-1] for n in part.index)


@pytest.mark.parametrize("npartitions", [None, 3])
def test_an_empty_table_and_a_single_value(database: Database, npartitions: int | None) -> None:
    database.run("DROP TABLE IF EXISTS few")
    database.run("CREATE TABLE few (id INTEGER, n INTEGER)")
    empty = read_sql("few", database.url, "id", npartitions=npartitions)
    assert not empty.known_divisions
    assert empty.compute().shape == (0, 1)
    database.run("INSERT INTO few VALUES (?, ?)", (5, 1), (5, 2))
    single = read_sql("few", database.url, "id", npartitions=npartitions)
    assert single.compute().n.tolist() == [1, 2]
    assert single.divisions == ((5, 5) if npartitions else (None, None))
    assert read_sql("few", database.url, "id", divisions=[5, 5]).compute().n.tolist() == [1, 2]


def test_nan_has_no_place_in_an_order(server: Database) -> None:
    query = "SELECT v::float8 AS v FROM unnest(ARRAY[1, 2, 'NaN']::float8[]) AS v"
    for cuts in ({"divisions": [0.0, 1.5, 9.0]}, {"npartitions": 2}):
        with pytest.raises(DivisionError, match=r"'v' holds (1 values outside of|NaN)"):
            read_sql(query, server.url, "v", **cuts)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"divisions": [1, 2]}, "'divisions' are those of an index; give index_col"),
        ({"index_col": ["id", "n"]}, "'index_col' must be one column, got"),
        ({"index_col": "id", "npartitions": 2, "divisions": [1, 2]}, "and divisions are both"),
        ({"index_col": "id", "divisions": [1]}, "'divisions' is no JSON array of at least two"),
        ({"index_col": "id", "divisions": [3, 1, 5]}, "'divisions' must ascend"),
        ({"index_col": "id", "divisions": [1, 1, 5]}, "'divisions' must ascend"),
        ({"index_col": "id", "divisions": [1, 5, 3]}, "'divisions' must ascend"),
        ({"index_col": "id", "divisions": [1, 2.5, 5]}, "'divisions' has 2.5, which is no int32"),
        ({"index_col": "id", "divisions": ["a", "b"]}, "'divisions' has 'a', which is no int32"),
        ({"index_col": "name", "divisions": [1, 2]}, "'divisions' has 1, which is no string"),
        ({"index_col": "day", "divisions": ["x", "y"]}, "'divisions' must be a date .* got 'x'"),
        ({"index_col": "id", "divisions": [None, 5]}, "'divisions' has as a value a NoneType"),
        ({"index_col": "id", "divisions": [True, 5]}, "'divisions' has as a value a bool"),
        ({"index_col": "id", "divisions": [1.0, float("nan")]}, "has as a value a float that"),
        ({"index_col": "id", "divisions": [1, 5], "numPartitions": 2}, "cannot go with 'numPart"),
        ({"index_col": "id", "divisions": [7, 904], "customSchema": "id STRING"}, "customSchema"),
        ({"index_col": "idd", "npartitions": 2}, "idd.* did you mean 'id'"),
        ({"url": "sqlite:///x"}, "'url' is what con of read_sql says"),
        ({"DBTABLE": "x"}, "'DBTABLE' is what sql of read_sql says"),
        ({"index_col": "id", "npartitions": 2, "numpartitions": 2}, "what npartitions of read_sql"),
        ({"bytes_per_chunk": "1 MiB"}, "'bytes_per_chunk' .* write targetPartitionBytes="),
        ({"index_col": "id", "npartitions": 2, "limits": (1, 5)}, "'limits' .* write lowerBound="),
        ({"parse_dates": ["day"]}, "'parse_dates' .* columns keep the database's types"),
        ({"chunksize": 10}, "'chunksize' .* npartitions=, or fetchsize="),
    ],
)
def test_mistakes(server: Database, arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(dask_sail.PythonDataSourceError, match=complaint):
        read_sql("Order Lines", server.url, **arguments)


def test_partitions_without_an_index(database: Database) -> None:
    database.run("DROP TABLE IF EXISTS keyed")
    database.run("CREATE TABLE keyed (id INTEGER PRIMARY KEY, n INTEGER)")
    database.run("INSERT INTO keyed VALUES (?, ?)", *[(n, n % 7) for n in range(90)])
    frame = read_sql("keyed", database.url, npartitions=3)
    assert frame.npartitions == 3
    assert not frame.known_divisions
    assert sorted(frame.compute().id) == list(range(90))
    bounded = read_sql("keyed", database.url, "id", npartitions=3, lowerBound=30, upperBound=60)
    assert bounded.divisions == (0, 40, 50, 89)
    assert bounded.map_partitions(len).compute().tolist() == [40, 10, 40]
    for low, high, divisions in (
        (100, 400, (0, 200, 300, 300)),
        (-400, -100, (-300, -300, -200, 89)),
    ):
        beside = read_sql(
            "keyed", database.url, "id", npartitions=3, lowerBound=low, upperBound=high
        )
        assert beside.divisions == divisions
        assert sorted(beside.compute().index) == list(range(90))


# ------------------------------------------------------------------------- tables and queries


@pytest.mark.parametrize("name", ["select", "values", "table", "with", "SELECT x", "a -- b"])
def test_names_that_look_like_queries(database: Database, name: str) -> None:
    database.run(f'DROP TABLE IF EXISTS "{name}"')
    database.run(f'CREATE TABLE "{name}" AS SELECT 7 AS n')
    spelt = f'"{name}"' if name == "SELECT x" else name
    assert read_sql(spelt, database.url).compute().n.tolist() == [7]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 7 AS n",
        "select\n7 as n;",
        "-- a comment\nSELECT/**/7 AS n -- another",
        "/* select */ WITH w AS (SELECT 7 AS n) SELECT * FROM w",
        "SELECT n FROM (VALUES (7)) AS v(n)",
    ],
)
def test_queries(server: Database, query: str) -> None:
    assert read_sql(query, server.url).compute().n.tolist() == [7]


@pytest.mark.parametrize("sql", ["", "  ", None, 7, sa.text("SELECT 1")])
def test_what_is_no_table_and_no_query(sql: Any) -> None:
    with pytest.raises(OptionError, match=r"'sql' (is blank|must be a table's name or a SELECT)"):
        read_sql(sql, "sqlite:///x.db")


# -------------------------------------------------------------------------------- parameters


def test_parameters(database: Database) -> None:
    table = 'FROM "Order Lines" WHERE'
    named = read_sql(
        f"SELECT id {table} name = :name AND price >= :price AND id IN (:ids)",
        database.url,
        params={"name": "it's", "price": np.float64(1.25), "ids": {np.int64(37), 7, 61}},
    )
    assert sorted(named.compute().id) == [37, 61]
    ordered = f"SELECT id {table} name = ? AND day = ? AND id < ?"
    both = [
        read_sql(query, database.url, params=("Äpfel", DAY, np.int64(300)))
        for query in (ordered, ordered.replace("?", "%s"))
    ]
    expected = database.run(
        "SELECT id FROM \"Order Lines\" WHERE name = 'Äpfel' AND day = '2024-03-31' AND id < 300"
    )
    assert len(expected) > 5
    assert [list(f.compute().itertuples(index=False, name=None)) for f in both] == [expected] * 2


def test_parameters_of_each_type_are_those_of_the_driver(server: Database) -> None:
    zone = dt.timezone(dt.timedelta(hours=-3))
    given_values: dict[str, tuple[Any, str]] = {
        "a": (Decimal("1.10"), "numeric(4,2)"),
        "b": (pd.Timestamp("2024-03-31 02:30:00.5"), "timestamp"),
        "c": (dt.datetime(2024, 3, 31, 2, 30, tzinfo=zone), "timestamptz"),
        "d": (dt.time(12, 30, 1, 5), "time"),
        "e": (b"\x00'\\", "bytea"),
        "f": (None, "text"),
        "g": (np.bool_(True), "bool"),
        "h": (np.datetime64("2024-03-31T02:30:00.000001000"), "timestamp"),
        "i": (float("1e-300"), "float8"),
    }
    query = "SELECT " + ", ".join(f":{k}::{kind} AS {k}" for k, (_, kind) in given_values.items())
    row = read_sql(query, server.url, params={k: v for k, (v, _) in given_values.items()})
    got = row.compute().astype(object).iloc[0].tolist()
    plain = [v.item() if isinstance(v, np.bool_) else pd.Timestamp(v).to_pydatetime()
             if isinstance(v, np.datetime64) else v for v, _ in given_values.values()]  # fmt: skip
    with psycopg.connect(server.url.replace("+psycopg", "")) as db:
        marks = ", ".join(f"%s::{kind}" for _, kind in given_values.values())
        bound = db.execute(f"SELECT {marks}", plain).fetchone()
    assert bound is not None
    assert [None if v is pd.NA else v for v in got] == list(bound)


REFERENCES = st.sampled_from(["{env:READ_SQL_SECRET}", "{file:/etc/hostname}", "\\{env:HOME}", "{"])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(DATABASES),
    text=st.lists(REFERENCES | st.text(max_size=5), max_size=4).map("".join),
)
def test_a_text_is_a_value_and_nothing_else(
    databases: dict[str, Database], name: str, text: str
) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        text = "no surrogates"
    text = text.replace("\0", "")
    frame = read_sql("SELECT CAST(:v AS text) AS v", databases[name].url, params={"v": text})
    assert frame.compute(scheduler="synchronous").v.tolist() == [text]


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ("DE", "'params' must be values by name or a list of values, got a str"),
        ({"v": object()}, "has as 'v' a object that has no plain value"),
        ({"v": pd.NaT}, "has as 'v' a NaTType that has no plain value"),
        ({"v": pd.Timestamp("2024-01-01 00:00:00.000000001")}, "round it to microseconds"),
        ({"v": float("inf")}, "has as 'v' a float that has no plain value"),
        ({"v": uuid.UUID(int=1)}, "has as 'v' a UUID that has no plain value"),
        ({"v": np.timedelta64(1, "ns")}, "has as 'v' a timedelta64 that has no plain value"),
        ([[1, []]], "has a list with a null or a list in it|empty list"),
        ({"w": 1}, "has no value for :v of the query"),
    ],
)
def test_mistakes_in_parameters(server: Database, params: Any, complaint: str) -> None:
    with pytest.raises(dask_sail.PythonDataSourceError, match=complaint):
        read_sql("SELECT :v AS v", server.url, params=params)


def test_parameters_need_a_query(server: Database) -> None:
    with pytest.raises(SourceCallError, match="'params' goes with 'query' alone"):
        read_sql("Order Lines", server.url, params={"v": 1})


# ------------------------------------------------------------------------------- connections


def test_every_way_to_name_a_database(
    server: Database, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(postgres)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    monkeypatch.setenv("READ_SQL_URL", server.url)
    monkeypatch.setenv("READ_SQL_PASSWORD", password)
    engine = sa.create_engine(server.url)
    place = f"{parts.hostname}:{parts.port}{parts.path}"
    with engine.connect() as connection:
        for con, more in [
            (postgres, {}),
            (server.url, {}),
            ("{env:READ_SQL_URL}", {}),
            (f"postgresql://{user}:{{env:READ_SQL_PASSWORD}}@{place}", {}),
            (f"jdbc:postgresql://{place}", {"user": user, "password": "{env:READ_SQL_PASSWORD}"}),
            (f"postgresql://nobody:wrong@{place}", {"user": user, "password": password}),
            (engine, {}),
            (connection, {}),
            (engine.url, {}),
        ]:
            assert read_sql("SELECT 7 AS n", con, **more).compute().n.tolist() == [7]


SECRET = "p w'd/%:?x"


@pytest.fixture
def secretive(server: Database) -> Iterator[sa.URL]:
    """The URL of a user whose password needs every kind of quoting."""
    server.run("DROP ROLE IF EXISTS secretive")
    server.run(f"CREATE ROLE secretive LOGIN PASSWORD '{SECRET.replace(chr(39), chr(39) * 2)}'")
    yield sa.make_url(server.url).set(username="secretive", password=SECRET)
    server.run("DROP ROLE secretive")


def test_a_password_is_shown_nowhere(secretive: sa.URL) -> None:
    text = secretive.render_as_string(hide_password=False)
    for con in (secretive, sa.create_engine(secretive), text):
        frame = read_sql("SELECT 7 AS n", con)
        assert frame.compute(scheduler="threads").n.tolist() == [7]
        shown = [
            repr(frame),
            str(frame.expr),
            frame.expr.tree_repr(),
            str(dask_sail.inspect(frame)),
        ]
        shown += map(repr, frame.optimize().dask.items())
        with pytest.raises(SourceCallError) as raised:
            read_sql("SELECT 7 AS n FROM nowhere", con)
        shown += [str(raised.value), repr(raised.value.args)]
        with pytest.raises(SourceCallError) as raised:
            read_sql("SELECT 1", secretive.set(password=SECRET + "!"))
        shown += [str(raised.value), repr(raised.value.args)]
        for each in shown:
            assert "p w" not in each
            assert "p%20w" not in each
    assert "***" in str(dask_sail.inspect(frame))
    assert "p w" in str(cloudpickle.dumps(frame))  # as the documentation tells: only a reference


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: sqlite3.connect(":memory:"), "must be a URL, got a sqlite3.Connection"),
        (lambda: None, "must be a URL, got a NoneType"),
        (lambda: " ", "'con' is blank"),
        (
            lambda: sa.create_engine("sqlite://", creator=lambda: sqlite3.connect("x.db")),
            "is an engine made with creator=",
        ),
        (
            lambda: sa.create_engine(
                "postgresql+psycopg://u:hush@h/d", connect_args={"options": "-csearch_path=hush"}
            ),
            r"connect_args, which its URL does not tell: \['options'\]",
        ),
    ],
)
def test_connections_that_workers_cannot_make(make: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint) as raised:
        read_sql("SELECT 1 AS n", make())
    assert "hush" not in str(raised.value)


def test_filters_and_options_of_the_source(server: Database) -> None:
    frame = read_sql(
        "Order Lines",
        server.url,
        columns=["id"],
        filters=[("id", "<", 20)],
        engine="adbc",
        fetchsize=2,
    )
    assert sorted(frame.id.compute()) == [7, 10, 13, 16, 19]
    read = dask_sail.inspect(frame).reads[0]
    assert read.pushed == ("id < 20",)
    assert read.partitions[0].facts["engine"] == "adbc"


def test_on_a_cluster(server: Database, cluster: str) -> None:
    with Client(cluster):
        frame = read_sql(
            "Order Lines", server.url, "id", divisions=[7, 300, 904], plan_on="cluster"
        )
        assert frame.divisions == (7, 300, 904)
        assert sorted(frame.compute().index) == list(range(7, 905, 3))
        with pytest.raises(DivisionError, match="holds 3 NULLs"):
            read_sql("gaps", server.url, "id", npartitions=2, plan_on="cluster")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceCallError, match="no such file"):
        read_sql("t", f"sqlite:///{tmp_path}/none.db")
