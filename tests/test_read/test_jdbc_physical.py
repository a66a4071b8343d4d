"""Pages, partitioned tables and divisions of PostgreSQL as frames, on a cluster too."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import dask.dataframe as dd
import psycopg
import pyarrow as pa
import pytest
from distributed import Client

import dask_sail

ENGINES = ("connectorx", "adbc", "fallback")
TOTAL = 1000 * 4000


@pytest.fixture(scope="module")
def db(postgres: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def accounts(
    postgres: str, jdbc_options: Callable[[str], dict[str, str]], db: psycopg.Connection[Any]
) -> Iterator[dict[str, Any]]:
    """Options for a partitioned table whose amounts always add up to the same, while rows move."""
    db.execute("DROP TABLE IF EXISTS accounts")
    db.execute("CREATE TABLE accounts (id int, amount int8, pad text) PARTITION BY RANGE (id)")
    for low, high in ((0, 1000), (1000, 3900), (3900, 4000)):
        db.execute(
            f"CREATE TABLE accounts_{low} PARTITION OF accounts FOR VALUES FROM ({low}) TO ({high})"
        )
    rows = "SELECT g, 1000, repeat('x', 99) FROM generate_series(0, 3999) g"
    db.execute(f"INSERT INTO accounts {rows}")
    stop = threading.Event()

    def write() -> None:
        step = 0
        with psycopg.connect(postgres, autocommit=True) as connection:
            while not stop.wait(0.01):
                step += 1
                # Each goes to another page, and now and then to another table.
                first = step * 41 % 3800
                connection.execute(
                    "UPDATE accounts SET id = (id + 1500) %% 4000, pad = pad || 'y'"
                    " WHERE id BETWEEN %s AND %s",
                    [first, first + 40],
                )

    writer = threading.Thread(target=write)
    writer.start()
    yield jdbc_options(postgres) | {
        "dbtable": "accounts",
        "partitioning": "physical",
        "snapshot": True,
        "numPartitions": 8,
    }
    assert writer.is_alive()
    stop.set()
    writer.join()
    db.execute("DROP TABLE accounts")


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_see_each_row_once_while_rows_move(engine: str, accounts: dict[str, Any]) -> None:
    frame = dd.read_python_source("jdbc", engine=engine, **accounts)
    assert frame.npartitions >= 8
    for _ in range(3):
        assert frame.amount.sum().compute(scheduler="threads") == TOTAL
        assert len(frame) == 4000
    assert len(frame.head(3)) == 3
    assert frame[frame.amount > 1000].amount.count().compute(scheduler="threads") == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cluster_sees_each_row_once_while_rows_move(
    engine: str, accounts: dict[str, Any], cluster: str
) -> None:
    frame = dd.read_python_source("jdbc", engine=engine, **accounts)
    with Client(cluster):
        for _ in range(3):
            assert frame.amount.sum().compute() == TOTAL
        assert len(frame) == 4000


def test_without_a_snapshot_it_is_an_error(accounts: dict[str, Any]) -> None:
    with pytest.raises(dask_sail.SourceCallError, match="'physical', which needs 'snapshot'"):
        dd.read_python_source("jdbc", **(accounts | {"snapshot": False}))


def test_inspect_shows_the_pages(accounts: dict[str, Any]) -> None:
    told = str(dask_sail.inspect("jdbc", options=accounts, columns=["id"]))
    assert " pages of 3 tables\n" in told
    assert "ctid < '(" in told
    assert 'SELECT "id" AS "id" FROM ONLY public.accounts_0 WHERE ctid < ' in told


def test_the_bytes_aimed_at(accounts: dict[str, Any], db: psycopg.Connection[Any]) -> None:
    by_bytes = {key: value for key, value in accounts.items() if key != "numPartitions"}
    frame = dd.read_python_source("jdbc", targetPartitionBytes="100kB", **by_bytes)
    assert frame.npartitions >= 4000 * 130 // 100_000
    assert frame.amount.sum().compute(scheduler="threads") == TOTAL


def test_another_list_of_tables_is_an_error_until_read_anew(
    accounts: dict[str, Any], db: psycopg.Connection[Any]
) -> None:
    db.execute("DROP TABLE IF EXISTS daily; CREATE TABLE daily (id int) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE daily_1 PARTITION OF daily FOR VALUES FROM (0) TO (10)")
    db.execute("INSERT INTO daily SELECT generate_series(0, 9)")
    options = accounts | {"dbtable": "daily"}
    frame = dd.read_python_source("jdbc", options=options)
    assert len(frame) == 10
    db.execute("CREATE TABLE daily_2 PARTITION OF daily FOR VALUES FROM (10) TO (20)")
    db.execute("INSERT INTO daily SELECT generate_series(10, 19)")
    with pytest.raises(dask_sail.PartitionReadError, match="attached or detached since the read"):
        frame.compute(scheduler="threads")
    assert len(dd.read_python_source("jdbc", options=options)) == 20
    db.execute("DROP TABLE daily")


# --------------------------------------------------------- partitioned tables, cut by a key


@pytest.fixture(scope="module")
def events(
    postgres: str, jdbc_options: Callable[[str], dict[str, str]], db: psycopg.Connection[Any]
) -> Iterator[dict[str, Any]]:
    """Two families of 9000 rows with skewed keys: ``events`` partitioned, ``older`` inherited."""
    db.execute("DROP TABLE IF EXISTS events; DROP TABLE IF EXISTS older CASCADE")
    db.execute("CREATE TABLE events (id int, at timestamptz, s text) PARTITION BY HASH (id)")
    for part in range(3):
        db.execute(
            f"CREATE TABLE events_{part} PARTITION OF events"
            f" FOR VALUES WITH (MODULUS 3, REMAINDER {part})"
        )
    db.execute("CREATE INDEX ON events (id)")
    rows = (
        "SELECT CASE WHEN g % 100 <> 0 THEN (g::float8 ^ 2.5 / 1e4)::int END,"
        " timestamptz '2025-01-01' + g * interval '1 minute', 'x'"
        " FROM generate_series(1, 9000) g"
    )
    db.execute(f"INSERT INTO events {rows}")
    db.execute("CREATE TABLE older (id int, at timestamptz, s text)")
    db.execute("CREATE TABLE older_1 () INHERITS (older); CREATE TABLE older_2 () INHERITS (older)")
    for place, name in enumerate(("older", "older_1", "older_2")):
        third = f"WHERE extract(minute FROM at)::int % 3 = {place}"
        db.execute(f"INSERT INTO {name} SELECT * FROM ({rows}) AS r (id, at, s) {third}")
    db.execute("CREATE INDEX ON older (id)")
    yield jdbc_options(postgres)
    db.execute("DROP TABLE events; DROP TABLE older CASCADE")


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize("table", ["events", "older"])
def test_cuts_of_a_parent_are_those_of_all_its_rows(
    events: dict[str, Any], db: psycopg.Connection[Any], table: str, analysed: bool
) -> None:
    if analysed:
        db.execute(f"ANALYZE {table}")
    expected = Counter(db.execute(f"SELECT id, at FROM {table}").fetchall())
    for engine in ENGINES:
        frame = dd.read_python_source(
            "jdbc", options=events, dbtable=table, numPartitions=6, engine=engine
        )
        sizes = frame.map_partitions(len).compute(scheduler="threads").tolist()
        assert len(sizes) == 6
        assert max(sizes) < 1.25 * 1500
        read = frame[["id", "at"]].compute(scheduler="threads")
        arrays = (pa.array(read[name]) for name in ("id", "at"))
        rows = zip(*(array.to_pylist() for array in arrays), strict=True)
        assert Counter(rows) == expected


@pytest.mark.parametrize("table", ["events", "older"])
@pytest.mark.parametrize("engine", ENGINES)
def test_ranges_of_a_parent_hold_all_its_rows(
    events: dict[str, Any], table: str, engine: str
) -> None:
    bounds = {"partitionColumn": "id", "lowerBound": 100, "upperBound": 5000, "numPartitions": 5}
    frame = dd.read_python_source("jdbc", options=events | bounds, dbtable=table, engine=engine)
    read = frame.compute(scheduler="threads")
    assert len(read) == len(set(read["at"])) == 9000
    assert read.id.isna().sum() == 90


# ------------------------------------------------------------------- divisions and a snapshot


@pytest.fixture
def sequence(
    postgres: str, jdbc_options: Callable[[str], dict[str, str]], db: psycopg.Connection[Any]
) -> dict[str, Any]:
    """Options for ids 0 to 99 as a sorted index in four partitions."""
    db.execute("DROP TABLE IF EXISTS sequence; CREATE TABLE sequence (id int, pad text)")
    db.execute("INSERT INTO sequence SELECT generate_series(0, 99), 'x'")
    return jdbc_options(postgres) | {
        "dbtable": "sequence",
        "partitionColumn": "id",
        "snapshot": True,
        "numPartitions": 4,
    }


@pytest.mark.parametrize("kind", ["auto", "bounds", "divisions"])
def test_rows_that_came_after_the_divisions_are_an_error_or_in_their_place(
    sequence: dict[str, Any], db: psycopg.Connection[Any], kind: str
) -> None:
    if kind == "bounds":
        sequence |= {"lowerBound": 0, "upperBound": 100}
    elif kind == "divisions":
        sequence |= {"divisions": [0, 25, 50, 75, 99]}
        del sequence["numPartitions"]
    frame = dd.read_python_source("jdbc", options=sequence, index="id")
    assert frame.known_divisions
    assert (frame.divisions[0], frame.divisions[-1]) == (0, 99)
    db.execute("INSERT INTO sequence SELECT 40, 'new' FROM generate_series(1, 500)")
    read = frame.compute(scheduler="threads")
    assert len(read) == 600
    assert read.index.is_monotonic_increasing
    for late in ("150", "-5", "NULL"):
        db.execute(f"INSERT INTO sequence VALUES ({late}, 'late')")
        queries = [lambda: frame, lambda: frame.pad]
        if late != "NULL":
            # Where Dask chooses partitions by their divisions, it may not leave such a row out.
            edge = slice(120, 200) if late == "150" else slice(-20, -1)
            queries.append(lambda edge=edge: frame.loc[edge])
        for query in queries:
            with pytest.raises(dask_sail.DivisionError, match="outside their partition's division"):
                query().compute(scheduler="threads")
        db.execute("DELETE FROM sequence WHERE pad = 'late'")
    assert len(frame.loc[40:40].compute(scheduler="threads")) == 501


def test_a_row_that_came_is_counted_and_found_by_a_condition(
    sequence: dict[str, Any], db: psycopg.Connection[Any]
) -> None:
    frame = dd.read_python_source("jdbc", options=sequence)
    db.execute("INSERT INTO sequence VALUES (150, 'late'), (NULL, 'late')")
    assert len(frame) == 102
    late = frame[frame.id > 120].compute(scheduler="threads")
    assert late.id.tolist() == [150]
    assert len(frame[frame.id.isnull()].compute(scheduler="threads")) == 1
