"""On each database: cuts that are found are even, and every row is in just one partition."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jdbc import JDBCArrowDataSource, OptionError

SOURCE = JDBCArrowDataSource()
REUSED = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


PLANNED = ("partitionColumn", "numPartitions")


class Scan(NamedTuple):
    """As `dask_sail.Scan`, which jdbc does not import."""

    schema: pa.Schema
    columns: tuple[str, ...]
    predicates: tuple[Any, ...] = ()
    limit: int | None = None
    snapshot: str | None = None


def plan(options: dict[str, str], **more: str) -> list[dict[str, Any]]:
    # As a scheduler would hand them over.
    return json.loads(json.dumps(SOURCE.plan_partitions(options | more)))


def parts(options: dict[str, str], specs: Sequence[dict[str, Any]], column: str) -> list[list[Any]]:
    options = {name: text for name, text in options.items() if name not in PLANNED}
    scan = Scan(SOURCE.infer_schema(options), (column,))
    return [
        [v for b in SOURCE.scan_partition(spec, options, scan) for v in b.column(0).to_pylist()]
        for spec in specs
    ]


def unevenness(rows: Sequence[int]) -> float:
    return max(rows) * len(rows) / sum(rows)


# ---------------------------------------------------------------------------------- evenness

COUNT = 60_000


@pytest.fixture(scope="module")
def skewed(database: Any) -> dict[str, str]:
    """Log-normal keys, written in no order, every second one deleted."""
    generator = np.random.default_rng(7)
    keys = np.unique(np.exp(generator.normal(16, 1.5, COUNT)).astype(np.int64))
    # In pieces, as one statement may only be so long.
    pieces = [
        f"INSERT INTO skewed VALUES {', '.join(f'({key}, {key % 97})' for key in piece)}"
        for piece in np.array_split(generator.permutation(keys), 20)
    ]
    database.run(
        "DROP TABLE IF EXISTS skewed",
        "CREATE TABLE skewed (id BIGINT PRIMARY KEY, n INTEGER)",
        *pieces,
        "DELETE FROM skewed WHERE id % 2 = 0",
    )
    return database.options | {"dbtable": "skewed", "left": f"{np.count_nonzero(keys % 2)}"}


@pytest.mark.parametrize("count", [2, 8, 40])
@pytest.mark.parametrize("relation", ["table", "column", "query"])
def test_partitions_of_a_skewed_table_are_even(
    skewed: dict[str, str], relation: str, count: int
) -> None:
    options = dict(skewed)
    left = int(options.pop("left"))
    if relation == "query":
        options["query"] = f"SELECT * FROM {options.pop('dbtable')}"
    if relation != "table":
        options["partitionColumn"] = "ID"
    specs = plan(options, numPartitions=f"{count}")
    rows = [len(part) for part in parts(options, specs, "id")]
    assert (sum(rows), len(rows)) == (left, count)
    assert unevenness(rows) <= 1.25
    assert {spec["range"]["column"] for spec in specs} == {"id"} or relation == "table"


def test_as_many_partitions_as_the_size_needs(skewed: dict[str, str], database: Any) -> None:
    options = dict(skewed)
    left = int(options.pop("left"))
    specs = plan(options, targetPartitionBytes="100kB")
    # Twelve bytes at least as the database stores or sends them, and not ten times as many.
    assert left * 12 // 100_000 <= len(specs) <= left * 120 // 100_000
    rows = [len(part) for part in parts(options, specs, "id")]
    assert sum(rows) == left
    assert unevenness(rows) <= 1.25
    assert f"; {len(specs)} for about " in specs[0]["cuts"]


def test_the_size_of_a_table_of_very_many_columns(database: Any) -> None:
    columns = ", ".join(f"c{i} INTEGER" for i in range(1000))
    database.run(
        "DROP TABLE IF EXISTS broad",
        f"CREATE TABLE broad ({columns}, id INTEGER PRIMARY KEY)",
        "INSERT INTO broad (c0, id) VALUES (1, 1), (2, 2), (3, 3)",
    )
    options = database.options | {"dbtable": "broad"}
    specs = plan(options, targetPartitionBytes="100")
    # PostgreSQL and SQLite count what is stored, a page at least; the others what comes in Arrow.
    assert "3 values of id, " in specs[0]["cuts"]
    assert len(specs) == 3
    assert sum(len(part) for part in parts(options, specs, "id")) == 3
    database.run("DROP TABLE broad")


# --------------------------------------------------------------------- each row exactly once

ROUND = st.floats(-(10**6), 10**6).map(lambda number: round(number, 3))
KINDS = {
    "i": ("BIGINT", st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20)),
    "f": ("DOUBLE PRECISION", st.floats(allow_nan=False, allow_infinity=False) | ROUND),
    "n": ("DECIMAL(12, 3)", st.decimals(-(10**6), 10**6, places=3)),
    "d": ("DATE", st.dates()),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, list[Any]]:
    name = draw(st.sampled_from(list(KINDS)))
    # Anything from no NULLs to nothing else.
    value = st.none() if draw(st.integers(0, 9)) == 0 else KINDS[name][1]
    if draw(st.booleans()):
        value = value | st.none()
    return name, draw(st.lists(value, max_size=40))


@REUSED
@given(table=tables(), indexed=st.booleans(), count=st.integers(1, 9))
def test_found_cuts_hold_every_row_once(
    database: Any, table: tuple[str, list[Any]], indexed: bool, count: int
) -> None:
    options = filled(database, *table, indexed=indexed) | {"numPartitions": f"{count}"}
    specs = plan(options, partitionColumn="K")
    found = parts(options, specs, "row_id")
    assert Counter(v for part in found for v in part) == Counter(range(len(table[1])))
    assert len(specs) <= count


def filled(database: Any, name: str, keys: Sequence[Any], *, indexed: bool) -> dict[str, str]:
    """A table ``row_id`` and ``k``, one for each kind: a schema is remembered for a minute."""
    declared = KINDS[name][0]
    database.run(
        f"DROP TABLE IF EXISTS drawn_{name}",
        f"CREATE TABLE drawn_{name} (row_id INTEGER, k {declared})",
        *([f"CREATE INDEX drawn_{name}_k ON drawn_{name} (k)"] if indexed else []),
        f"INSERT INTO drawn_{name} VALUES ({{}})",
        rows=[
            (row, key if isinstance(key, int | float | None) else f"{key}")
            for row, key in enumerate(keys)
        ],
    )
    return database.options | {"dbtable": f"drawn_{name}", "partitionColumn": "k"}


@REUSED
@given(
    table=tables(),
    indexed=st.booleans(),
    bounds=st.tuples(st.integers(-(2**63), 2**63 - 1) | st.integers(-30, 30), st.integers(0, 90)),
    days=st.tuples(st.dates(), st.dates()),
    count=st.integers(1, 9),
)
def test_ranges_hold_every_row_once_whatever_the_bounds(
    database: Any,
    table: tuple[str, list[Any]],
    indexed: bool,
    bounds: tuple[int, int],
    days: tuple[Any, Any],
    count: int,
) -> None:
    options = filled(database, *table, indexed=indexed) | {"numPartitions": f"{count}"}
    low, high = days if table[0] == "d" else (bounds[0], min(sum(bounds), 2**63 - 1))
    assume(low <= high)
    specs = plan(options, lowerBound=f"{low}", upperBound=f"{high}")
    found = parts(options, specs, "row_id")
    assert Counter(v for part in found for v in part) == Counter(range(len(table[1])))


@REUSED
@given(table=tables(), indexed=st.booleans(), data=st.data())
def test_every_row_is_in_one_range_wherever_the_cuts_are(
    database: Any, table: tuple[str, list[Any]], indexed: bool, data: st.DataObject
) -> None:
    """Wrong statistics make wrong cuts; here they are as wrong as can be."""
    options = filled(database, *table, indexed=indexed)
    # SQLite has no exact literal for each double; a plan cuts at none that has not.
    is_double = table[0] == "f" or (table[0] == "n" and database.name == "sqlite")
    cuts = ROUND if is_double else KINDS[table[0]][1]
    drawn = data.draw(st.lists(cuts, max_size=4, unique=True))
    edges = [None, *map(position, sorted(drawn)), None]
    first = plan(options, numPartitions="2")[0]
    specs = [
        {**first, "range": {**first["range"], "lower": low, "upper": high, "nulls": low is None}}
        for low, high in pairwise(edges)
    ]
    found = parts(options, specs, "row_id")
    assert Counter(v for part in found for v in part) == Counter(range(len(table[1])))


def position(value: Any) -> Any:
    """Where a value lies, as a spec has it."""
    if isinstance(value, Decimal):
        return {"decimal": f"{value}"}
    return value if isinstance(value, int | float) else value.toordinal() - 719_163


# -------------------------------------------------------------------------------------- keys


def test_the_key_of_a_table(database: Any) -> None:
    database.run(
        "DROP TABLE IF EXISTS keyed",
        "CREATE TABLE keyed (few INTEGER, many INTEGER, t VARCHAR(9), PRIMARY KEY (few, many))",
        "INSERT INTO keyed VALUES ({})",
        rows=[(i % 2, i, f"t{i}") for i in range(200)],
    )
    options = database.options | {"dbtable": "keyed"}
    two = plan(options, numPartitions="2")
    leads = "rowid" if database.name == "sqlite" else "few"
    assert {spec["range"]["column"] for spec in two} == {leads}
    assert plan(options, numPartitions="2", partitionColumn="MANY")[0]["range"]["column"] == "many"
    found = parts(options, two, "many")
    assert sorted(v for part in found for v in part) == list(range(200))
    assert unevenness([len(part) for part in found]) <= 1.25


def test_a_query_has_no_key(database: Any) -> None:
    database.run("DROP TABLE IF EXISTS seen", "CREATE TABLE seen (id INTEGER PRIMARY KEY)")
    for relation in ({"query": "SELECT * FROM seen"}, {"dbtable": "(SELECT * FROM seen) q"}):
        with pytest.raises(OptionError, match="no primary key or index to cut by; name a part"):
            plan(database.options | relation, numPartitions="3")


ENDLESS = {
    "postgresql": "SELECT g AS n, pg_sleep(0.1)::text AS s FROM generate_series(1, 600) g",
    "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c",
    "duckdb": "SELECT (a.range * b.range) % 7 AS n"
    " FROM range(10000000) a, range(10000000) b WHERE (a.range * b.range) % 7 = 9",
    "mariadb": "SELECT seq + sleep(60) AS n FROM seq_1_to_9",
}


def test_looking_for_cuts_ends(database: Any) -> None:
    query = {"query": ENDLESS[database.name], "partitionColumn": "n", "queryTimeout": "1"}
    with pytest.raises(OptionError, match="looking for them took longer than 1 seconds; give"):
        plan(database.options | query, numPartitions="3")
