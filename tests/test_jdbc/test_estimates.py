"""On each database: what it expects of partitions that nobody has read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import dask.dataframe as dd
import pytest

import dask_sail
from jdbc import JDBCArrowDataSource

SOURCE = JDBCArrowDataSource()
COUNT = 40_000
CUT = {"partitionColumn": "id", "lowerBound": "0", "upperBound": f"{COUNT}", "numPartitions": "4"}


@pytest.fixture(scope="module")
def uneven(database: Any) -> dict[str, str]:
    """Keys of which most lie in the first and the last of four ranges, and none in the third.

    Not more than half of them in one range: MariaDB takes that for half.
    """
    keys = [*range(12_000), *range(30_000, COUNT)]
    pieces = [
        f"INSERT INTO uneven VALUES {', '.join(f'({key}, {key % 10})' for key in keys[i::8])}"
        for i in range(8)
    ]
    analyze = "ANALYZE TABLE uneven" if database.name == "mariadb" else "ANALYZE uneven"
    database.run(
        "DROP TABLE IF EXISTS uneven",
        "CREATE TABLE uneven (id INTEGER PRIMARY KEY, n INTEGER)",
        *pieces,
        analyze,
    )
    return database.options | {"dbtable": "uneven"}


def expected(options: dict[str, str]) -> list[tuple[int | None, bool, int | None]]:
    specs = json.loads(json.dumps(SOURCE.plan_partitions(options)))
    return SOURCE.partition_statistics(specs, options)


def near(wanted: float, database: Any) -> Any:
    # InnoDB looks at the ends of a range, and at a few pages of an index between them.
    return pytest.approx(wanted, rel=1.1 if database.name == "mariadb" else 0.25, abs=600)


def test_ranges_that_are_not_even(uneven: dict[str, str], database: Any) -> None:
    known = expected(uneven | CUT)
    assert [rows for rows, _, _ in known] == [
        near(10_000, database),
        near(2000, database),
        near(0, database),
        near(10_000, database),
    ]
    assert not any(exact for _, exact, _ in known)
    # Two integers, with what the database adds to a row.
    assert 8 <= (known[0][2] or 0) / (known[0][0] or 1) <= 80


def test_a_table_as_a_whole(uneven: dict[str, str], database: Any) -> None:
    ((rows, exact, size),) = expected(uneven)
    assert rows == near(22_000, database)
    assert not exact
    assert size is not None


def test_of_many_partitions_the_whole_is_shared_out(uneven: dict[str, str], database: Any) -> None:
    known = expected(uneven | CUT | {"numPartitions": "1000"})
    assert len(known) == 1000
    assert sum(rows or 0 for rows, _, _ in known) == near(22_000, database)


def test_conditions_of_ones_own_may_overlap(uneven: dict[str, str], database: Any) -> None:
    given = {"predicates": json.dumps(["id < 10000", "id < 5000 -- half", "id >= 39999999"])}
    known = expected(uneven | given)
    assert [rows for rows, _, _ in known] == [
        near(10_000, database),
        near(5000, database),
        near(0, database),
    ]


def test_a_query_is_what_the_planner_says_if_there_is_one(
    uneven: dict[str, str], database: Any
) -> None:
    query = {"query": "SELECT a.id FROM uneven a JOIN uneven b ON a.id = b.id"}
    ((rows, exact, _),) = expected(database.options | query)
    assert rows == (None if database.name == "sqlite" else near(22_000, database))
    assert not exact


def test_what_the_database_does_not_tell_is_not_known(database: Any) -> None:
    database.run("DROP TABLE IF EXISTS gone", "CREATE TABLE gone (id INTEGER)")
    options = database.options | {"dbtable": "gone"}
    specs = SOURCE.plan_partitions(options)
    database.run("DROP TABLE gone")
    assert SOURCE.partition_statistics(specs, options) == [(None, False, None)]


SLOW = {
    "postgresql": "SELECT pg_sleep(60)::text AS s",
    "mariadb": "SELECT sleep(60) AS s FROM uneven",
    "sqlite": "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1e10)"
    " SELECT max(i) AS i FROM s",
    "duckdb": "SELECT count(*) AS n FROM range(1000000) a, range(1000000) b"
    " WHERE a.range * 7 > b.range",
}


def test_no_query_is_run_for_it(uneven: dict[str, str], database: Any) -> None:
    options = database.options | {"query": SLOW[database.name]}
    specs = [{"partition": 0, "dialect": database.name, "engine": "fallback", "why": ""}]
    begun = time.monotonic()
    ((_, exact, _),) = SOURCE.partition_statistics(specs, options)
    assert not exact
    assert time.monotonic() - begun < 20


def test_len_counts_and_inspect_estimates(uneven: dict[str, str], database: Any) -> None:
    database.run("DROP TABLE IF EXISTS changed", "CREATE TABLE changed AS SELECT * FROM uneven")
    frame = dd.read_python_source("jdbc", options=database.options, dbtable="changed")
    assert "0: about " in str(dask_sail.inspect(frame))
    database.run("DELETE FROM changed WHERE n > 0")
    assert len(frame) == database.run("SELECT count(*) FROM changed")[0][0] == 2200
    database.run("DROP TABLE changed")


@pytest.mark.mariadb
def test_where_names_stand_in_double_quotes(databases: Callable[[str], Any]) -> None:
    # MariaDB's plan in JSON is none then: it prints such names as they are, within its own quotes.
    database = databases("mariadb")
    database.run(
        "DROP TABLE IF EXISTS quoted",
        "CREATE TABLE quoted (id INTEGER PRIMARY KEY)",
        "INSERT INTO quoted SELECT seq FROM seq_1_to_100",
    )
    mode = {"sessionInitStatement": "SET sql_mode = 'ANSI_QUOTES'"}
    known = expected(database.options | mode | CUT | {"dbtable": "quoted"})
    assert [exact for _, exact, _ in known] == [False] * 4
    frame = dd.read_python_source("jdbc", options=database.options | mode | CUT, dbtable="quoted")
    assert sorted(frame.compute().id) == list(range(1, 101))


def test_pages_of_a_table(databases: Callable[[str], Any], postgres: str) -> None:
    database = databases("postgresql")
    database.run(
        "DROP TABLE IF EXISTS paged",
        "CREATE TABLE paged AS SELECT generate_series(1, 50000) AS id",
        "ANALYZE paged",
    )
    options = database.options | {"dbtable": "paged", "numPartitions": "4"}
    options |= {"partitioning": "physical", "snapshot": "true"}
    assert [rows for rows, _, _ in expected(options)] == [near(12_500, database)] * 4
