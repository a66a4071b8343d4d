"""Cuts that are found: even partitions, and every row in just one of them all the same."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import dask_sail
from jdbc import ConnectError, JDBCArrowDataSource, JDBCError, OptionError, QueryError
from jdbc.cuts import cut_points

SOURCE = JDBCArrowDataSource()
ENGINES = ("connectorx", "adbc", "fallback")
REUSED = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Scan(NamedTuple):
    """As `dask_sail.Scan`, which jdbc does not import."""

    schema: pa.Schema
    columns: tuple[str, ...]
    predicates: tuple[Any, ...] = ()
    limit: int | None = None
    snapshot: str | None = None


class Compared(NamedTuple):
    """As `dask_sail.Predicate`."""

    column: str
    op: str
    value: Any


def plan(options: dict[str, str], **more: str) -> list[dict[str, Any]]:
    # As a scheduler would hand them over.
    return json.loads(json.dumps(SOURCE.plan_partitions(options | more)))


def read(specs: list[dict[str, Any]], options: dict[str, str]) -> list[list[Any]]:
    """The values of the column ``row``, partition by partition."""
    scan = Scan(SOURCE.infer_schema(options), ("row",))
    return [
        [v for b in SOURCE.scan_partition(spec, options, scan) for v in b.column(0).to_pylist()]
        for spec in specs
    ]


def sizes(options: dict[str, str], **more: str) -> list[int]:
    specs = plan(options, **more)
    scan = Scan(SOURCE.infer_schema(options | more), ())
    return [
        sum(b.num_rows for b in SOURCE.scan_partition(spec, options | more, scan)) for spec in specs
    ]


def unevenness(rows: list[int]) -> float:
    return max(rows) * len(rows) / sum(rows)


def log_normal_keys(count: int) -> list[int]:
    generator = np.random.default_rng(7)
    keys = np.exp(generator.normal(16, 1.5, count)).astype(np.int64)
    return [int(key) for key in generator.permutation(np.unique(keys))]


@pytest.fixture(scope="module")
def db(postgres: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS cuts CASCADE")
        connection.execute("CREATE SCHEMA cuts")
        connection.execute("SET search_path = cuts")
        yield connection
        connection.execute("DROP SCHEMA cuts CASCADE")


@pytest.fixture(scope="module")
def server(
    postgres: str, jdbc_options: Callable[[str], dict[str, str]], db: psycopg.Connection[Any]
) -> dict[str, str]:
    return jdbc_options(postgres) | {"currentSchema": "cuts", "engine": "adbc"}


@pytest.fixture
def sqlite(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Runs statements on a file of its own, and gives options that read it."""

    def run(*statements: str, rows: Sequence[tuple[Any, ...]] = ()) -> dict[str, str]:
        with sqlite3.connect(tmp_path / "cuts.db") as db:
            for statement in statements:
                if "?" in statement:
                    db.executemany(statement, rows)
                else:
                    db.execute(statement)
        db.close()
        return {"url": f"jdbc:sqlite:{tmp_path}/cuts.db", "dbtable": "t", "engine": "adbc"}

    return run


# ----------------------------------------------------------------------------- choosing cuts


@given(
    weights=st.dictionaries(st.none() | st.integers(-50, 50), st.integers(1, 40), max_size=40),
    count=st.integers(1, 12),
)
@example(weights={1: 97, 2: 1, 3: 1}, count=3)
@example(weights={1: 1, 2: 1, 3: 97}, count=3)
@example(weights={None: 50, 1: 1}, count=2)
def test_as_many_ranges_as_there_are_values_to_part(weights, count):
    cuts = cut_points(weights.items(), count)
    assert cuts == sorted(set(cuts))
    assert set(cuts) <= set(weights)
    assert len(cuts) == max(min(count, len(weights)) - 1, 0)
    # Something lies below the first cut, and so in every range.
    values = sorted(value for value in weights if value is not None)
    assert None in weights or values[:1] not in [cuts[:1], None] or not cuts


@given(weights=st.lists(st.integers(1, 40), min_size=1, max_size=60), count=st.integers(1, 12))
def test_no_range_is_larger_than_an_even_share_and_one_value(weights, count):
    cuts = [0, *cut_points(enumerate(weights), count), len(weights)]
    for low, high in pairwise(cuts):
        assert sum(weights[low:high]) <= sum(weights) / count + max(weights)


# --------------------------------------------------------------------- each row exactly once

KEYS = {
    "int8": "((row * 37) % 91 - 45)::int8",
    "numeric": "((row * 37) % 91 - 45) * 0.25",
    "numeric(9,3)": "((row * 37) % 91 - 45) / 7.0",
    "float8": "CASE row % 9 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity'"
    " ELSE ((row * 37) % 91) / 3.0 END",
    "float4": "((row * 37) % 91 - 45) / 10.0",
    "date": "CASE row % 9 WHEN 0 THEN 'infinity' ELSE date '2024-01-01' + (row * 37) % 91 END",
    "timestamp": "timestamp '2024-03-10' + (row * 37) % 91 * interval '41 minutes'",
    "timestamptz": "timestamptz '2024-11-03 00:00+00' + (row * 37) % 91 * interval '7 minutes'",
    "uuid": "md5((row % 91)::text)::uuid",
    "text": "chr((row * 37) % 91 + 32) || E'\\\\ ''é' || row",
}


@pytest.fixture(scope="module")
def keyed(server: dict[str, str], db: psycopg.Connection[Any]) -> dict[str, str]:
    columns = ", ".join(
        f'CASE WHEN row % 11 <> 0 THEN {sql} END::{kind} AS "K {kind}"'
        for kind, sql in KEYS.items()
    )
    # No one but a test may ANALYZE it.
    db.execute(
        "CREATE TABLE keyed WITH (autovacuum_enabled = off) AS"
        f" SELECT row, {columns} FROM generate_series(1, 300) AS row"
    )
    return server | {"dbtable": "keyed"}


@pytest.mark.majors
@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_key_of_each_type_is_cut_evenly(keyed: dict[str, str], kind: str, engine: str) -> None:
    options = keyed | {"partitionColumn": f"K {kind}", "engine": engine, "numPartitions": "5"}
    specs = plan(options)
    parts = read(specs, options)
    assert Counter(v for part in parts for v in part) == Counter(range(1, 301))
    assert len(parts) == 5
    assert min(map(len, parts)) >= 30
    assert specs[0]["cuts"] == f"300 values of K {kind}, all there are"


CUTS = {
    "int8": st.integers(-(2**63), 2**63 - 1) | st.integers(-50, 50),
    "numeric": st.decimals(-50, 50, places=2).map(lambda d: {"decimal": f"{d}"}),
    "float8": st.floats(allow_nan=False, allow_infinity=False) | st.floats(-5, 35),
    "float4": st.floats(-5, 5),
    "date": st.integers(19723, 19830),
    "timestamptz": st.integers(1730592000000000, 1730635200000000),
    "uuid": st.uuids().map(str),
    "text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3),
}


def order_of(cut: Any) -> Any:
    return Decimal(cut["decimal"]) if isinstance(cut, dict) else cut


@pytest.mark.parametrize("kind", CUTS)
@REUSED
@given(data=st.data())
def test_each_row_is_in_one_range_wherever_the_cuts_are(
    keyed: dict[str, str], kind: str, data: st.DataObject
) -> None:
    """Wrong statistics make wrong cuts; here they are as wrong as can be."""
    options = keyed | {
        "partitionColumn": f"K {kind}",
        "numPartitions": "2",
        "engine": "fallback",
    }
    drawn = data.draw(st.lists(CUTS[kind], max_size=4, unique_by=order_of))
    edges = [None, *sorted(drawn, key=order_of), None]
    first = plan(options)[0]
    specs = [
        {**first, "range": {**first["range"], "lower": low, "upper": high, "nulls": low is None}}
        for low, high in pairwise(edges)
    ]
    rows = [v for part in read(specs, options) for v in part]
    assert Counter(rows) == Counter(range(1, 301))


@pytest.mark.majors
def test_statistics_of_other_rows_lose_none(
    server: dict[str, str], db: psycopg.Connection[Any]
) -> None:
    db.execute("CREATE TABLE replaced (row int PRIMARY KEY) WITH (autovacuum_enabled = off)")
    db.execute("INSERT INTO replaced SELECT generate_series(1, 3000)")
    db.execute("ANALYZE replaced")
    options = server | {"dbtable": "replaced"}
    specs = plan(options, numPartitions="6")
    assert specs[0]["cuts"] == "pg_stats of row: 101 bounds"
    # A writer between planning and reading: rows below, between and above, and rows that go.
    db.execute("INSERT INTO replaced SELECT -generate_series(0, 999)")
    db.execute("INSERT INTO replaced SELECT generate_series(5000, 5500)")
    db.execute("DELETE FROM replaced WHERE row BETWEEN 100 AND 1500")
    kept = [*range(-999, 100), *range(1501, 3001), *range(5000, 5501)]
    assert Counter(v for part in read(specs, options) for v in part) == Counter(kept)


@pytest.mark.majors
def test_statistics_are_used_while_the_table_is_as_they_saw_it(
    server: dict[str, str], db: psycopg.Connection[Any]
) -> None:
    db.execute("CREATE TABLE drifting (row int PRIMARY KEY) WITH (autovacuum_enabled = off)")
    db.execute("INSERT INTO drifting SELECT generate_series(1, 3000)")
    options = server | {"dbtable": "drifting", "numPartitions": "6"}

    def cuts() -> str:
        db.execute("SELECT pg_stat_force_next_flush()")
        return plan(options)[0]["cuts"]

    assert cuts() == "3,000 values of row, all there are"
    db.execute("ANALYZE drifting")
    assert cuts() == "pg_stats of row: 101 bounds"
    db.execute("DELETE FROM drifting WHERE row <= 200")
    assert cuts() == "pg_stats of row: 101 bounds"
    db.execute("DELETE FROM drifting WHERE row <= 2000")  # the table is as large as before
    assert cuts() == "1,000 values of row, all there are"
    db.execute("ANALYZE drifting")
    assert cuts() == "pg_stats of row: 101 bounds"
    # As after a crash, which loses the counts of changes.
    db.execute("INSERT INTO drifting SELECT generate_series(5001, 9000)")
    db.execute("SELECT pg_stat_force_next_flush()")
    db.execute("SELECT pg_stat_reset_single_table_counters('drifting'::regclass)")
    assert cuts() == "5,000 values of row, all there are"
    assert unevenness(sizes(options)) <= 1.01


@REUSED
@given(
    keys=st.lists(st.none() | st.integers(-40, 40) | st.floats(-9, 9), max_size=60),
    later=st.lists(st.integers(-60, 60), max_size=9),
    count=st.integers(1, 9),
    column=st.sampled_from(["k", None]),
)
def test_each_row_of_sqlite_is_read_once_while_another_writes(
    sqlite: Callable[..., dict[str, str]],
    keys: list[float | None],
    later: list[int],
    count: int,
    column: str | None,
) -> None:
    options = sqlite(
        "DROP TABLE IF EXISTS t",
        "CREATE TABLE t (row INTEGER NOT NULL, k REAL)",
        "INSERT INTO t VALUES (?, ?)",
        rows=list(enumerate(keys)),
    )
    more = {"numPartitions": f"{count}"} | ({"partitionColumn": column} if column else {})
    specs = plan(options, **more)
    assert len(specs) <= count
    if column is None:
        assert len(specs) == max(min(count, len(keys)), 1)
    # These count from 1000.
    sqlite("INSERT INTO t VALUES (?, ?)", rows=[(1000 + i, k) for i, k in enumerate(later)])
    rows = [v for part in read(specs, options) for v in part]
    assert Counter(rows) == Counter([*range(len(keys)), *range(1000, 1000 + len(later))])


# ---------------------------------------------------------------------------------- evenness


@pytest.fixture(scope="module")
def skewed(server: dict[str, str], db: psycopg.Connection[Any]) -> dict[str, str]:
    """Log-normal keys in no order, half of them deleted: ``analyzed``, and ``fresh`` as it fell."""
    for name in ("analyzed", "fresh"):
        db.execute(f"CREATE TABLE {name} (id int8, s text) WITH (autovacuum_enabled = off)")
        with db.cursor().copy(f"COPY {name} FROM STDIN") as rows:
            for key in log_normal_keys(100_000):
                rows.write_row((key, "x" * 300))
        db.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
        db.execute(f"DELETE FROM {name} WHERE hashint8(id) % 2 = 0")
    # Else the server may hear of the DELETE after it, and think that the rows have changed since.
    db.execute("SELECT pg_stat_force_next_flush()")
    db.execute("ANALYZE analyzed")
    return server


@pytest.mark.parametrize(
    ("relation", "whence"),
    [
        ({"dbtable": "analyzed"}, "pg_stats of id: 101 bounds"),
        ({"dbtable": "fresh"}, "values of id, of "),
        ({"query": "SELECT * FROM fresh", "partitionColumn": "ID"}, "20,000 values of id"),
    ],
)
def test_partitions_of_a_skewed_table_are_even(
    skewed: dict[str, str], relation: dict[str, str], whence: str
) -> None:
    options = skewed | relation
    assert whence in plan(options, numPartitions="8")[0]["cuts"]
    rows = sizes(options, numPartitions="8")
    assert len(rows) == 8
    assert unevenness(rows) <= 1.25
    even = {"lowerBound": "0", "upperBound": f"{max(log_normal_keys(100_000))}"}
    equal_widths = sizes(options, numPartitions="8", partitionColumn="id", **even)
    assert unevenness(equal_widths) > 4
    assert sum(rows) == sum(equal_widths)


def test_more_partitions_than_a_histogram_can_part_are_even_too(skewed: dict[str, str]) -> None:
    rows = sizes(skewed | {"dbtable": "analyzed"}, numPartitions="40")
    assert len(rows) == 40
    assert unevenness(rows) <= 1.25


@pytest.mark.parametrize("clustered", [True, False])
def test_partitions_of_a_skewed_sqlite_table_are_even(
    sqlite: Callable[..., dict[str, str]], clustered: bool
) -> None:
    keys = log_normal_keys(60_000)
    options = sqlite(
        f"CREATE TABLE t (k INTEGER {'PRIMARY KEY' if clustered else 'NOT NULL'}, s TEXT)",
        "INSERT INTO t VALUES (?, 'x')",
        "DELETE FROM t WHERE k % 2 = 0 OR rowid BETWEEN 1000 AND 9000",
        rows=[(key,) for key in keys],
    )
    for more in ({}, {"partitionColumn": "K"}):
        rows = sizes(options, numPartitions="8", **more)
        assert len(rows) == 8
        assert unevenness(rows) <= 1.25


def test_rowids_in_clusters_far_apart_are_found(sqlite: Callable[..., dict[str, str]]) -> None:
    starts = (-(2**63), 0, 10**9, 10**15, 2**63 - 30_000)
    options = sqlite(
        "CREATE TABLE t (k INTEGER PRIMARY KEY)",
        "INSERT INTO t VALUES (?)",
        rows=[(start + i,) for start in starts for i in range(30_000)],
    )
    rows = sizes(options, numPartitions="10")
    assert sum(rows) == 150_000
    assert len(rows) == 10
    assert unevenness(rows) <= 1.25


# ------------------------------------------------------------------------------------- keys


def key_of(options: dict[str, str], **more: str) -> str:
    (key,) = {spec["range"]["column"] for spec in plan(options, **({"numPartitions": "3"} | more))}
    return key


def test_the_key_of_a_table(server: dict[str, str], db: psycopg.Connection[Any]) -> None:
    db.execute("CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')")
    db.execute(
        'CREATE TABLE chosen ("Odd "" key" int, few int, many int, e mood, flag bool, half int)'
    )
    db.execute(
        "INSERT INTO chosen SELECT g, g % 2, g % 50, 'ok', g % 2 = 0, g % 60"
        " FROM generate_series(1, 600) g"
    )
    options = server | {"dbtable": "chosen"}
    with pytest.raises(OptionError, match="'numPartitions' asks for 3 partitions, and there is no"):
        plan(options, numPartitions="3")
    db.execute("CREATE INDEX ON chosen (flag)")
    db.execute("CREATE INDEX ON chosen (e)")
    db.execute("CREATE INDEX ON chosen (half) WHERE half > 30")
    db.execute("CREATE INDEX ON chosen ((many + 1))")
    with pytest.raises(OptionError, match="name a partitionColumn"):
        plan(options, numPartitions="3")
    db.execute("CREATE INDEX ON chosen (few)")
    assert key_of(options, numPartitions="2") == "few"
    db.execute("CREATE INDEX ON chosen (many)")
    db.execute("ANALYZE chosen")
    assert key_of(options) == "many"  # it has more values
    db.execute('CREATE UNIQUE INDEX ON chosen ("Odd "" key", few)')
    assert key_of(options, dbtable='cuts."chosen"') == 'Odd " key'
    db.execute('ALTER TABLE chosen ADD PRIMARY KEY (few, many, "Odd "" key")')
    assert key_of(options, numPartitions="2") == "few"
    assert key_of(options, numPartitions="9") == 'Odd " key'  # the first has two values
    assert key_of(options, partitionColumn="MANY") == "many"


def test_a_text_is_cut_in_the_order_of_its_bytes(
    server: dict[str, str], db: psycopg.Connection[Any]
) -> None:
    # One that puts a before B, where bytes have B before a; if this server has any.
    found = db.execute("SELECT collname FROM pg_collation WHERE collname ~ '^(und|en)[-_]' LIMIT 1")
    collation = next((name for (name,) in found), "default")
    db.execute(f'CREATE TABLE names (row text COLLATE "{collation}" PRIMARY KEY, n int)')
    words = ["a", "B", "c", "D", "é", "E", "z", "Z", "", "\U0001f600", "\uffee", "it's", "\\"]
    db.cursor().executemany("INSERT INTO names VALUES (%s, 1)", [(word,) for word in words])
    options = server | {"dbtable": "names", "numPartitions": "6"}
    schema = SOURCE.infer_schema(options)
    parts = read(plan(options), options)
    assert sorted(v for part in parts for v in part) == sorted(words)
    ordered = [sorted(part) for part in parts]
    assert [v for part in ordered for v in part] == sorted(words)
    assert len(parts) == 6
    if collation == "default":  # where bytes decide all the same, rows do not tell
        told = SOURCE.describe_partition(plan(options)[1], options, Scan(schema, ("row",)))
        assert told["rows"].count('"row" COLLATE "C"') == 2


def test_long_texts_make_small_specs(server: dict[str, str], db: psycopg.Connection[Any]) -> None:
    words = [f"{n:02}" + "é" * 5000 + f"{n}" for n in range(40)]
    words += ["x" * 150 + f"{n:02}" for n in range(40)]  # these begin alike
    db.execute("CREATE TABLE long_names (row text)")
    db.cursor().executemany("INSERT INTO long_names VALUES (%s)", [(word,) for word in words])
    options = server | {
        "dbtable": "long_names",
        "partitionColumn": "row",
        "numPartitions": "8",
    }
    specs = plan(options)
    assert max(len(json.dumps(spec)) for spec in specs) < 2000
    parts = read(specs, options)
    assert sorted(v for part in parts for v in part) == sorted(words)
    *others, alike = map(len, parts)
    assert (alike, len(others)) == (40, 7)
    assert max(others) <= 10


@pytest.mark.parametrize("column", ["e", "j", "b"])
def test_a_column_without_an_order_that_we_know_is_an_error(
    server: dict[str, str], db: psycopg.Connection[Any], column: str
) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS odd (e text[], j json, b bool)")
    with pytest.raises(OptionError, match="'partitionColumn' names a column of type"):
        plan(server | {"dbtable": "odd"}, numPartitions="3", partitionColumn=column)


def test_relations_that_are_no_plain_table(
    server: dict[str, str], db: psycopg.Connection[Any]
) -> None:
    db.execute("CREATE TABLE parent (row int PRIMARY KEY, s text) PARTITION BY RANGE (row)")
    for low in (0, 1000, 2000):
        db.execute(
            f"CREATE TABLE p{low} PARTITION OF parent FOR VALUES FROM ({low}) TO ({low + 1000})"
        )
    db.execute("INSERT INTO parent SELECT g, 'x' FROM generate_series(0, 2999) g")
    db.execute("CREATE TABLE old (row int PRIMARY KEY)")
    db.execute("CREATE TABLE new () INHERITS (old)")
    db.execute("INSERT INTO old SELECT generate_series(0, 199)")
    db.execute("INSERT INTO new SELECT generate_series(200, 2999)")
    db.execute("CREATE TABLE lone AS SELECT generate_series(0, 199) AS row")
    db.execute("ANALYZE parent, old, lone")  # what it says of `old` alone is not taken for both
    db.execute("CREATE VIEW seen AS SELECT * FROM parent")
    db.execute("CREATE MATERIALIZED VIEW kept AS SELECT * FROM parent")
    db.execute("CREATE UNIQUE INDEX ON kept (row)")
    by_row = {"partitionColumn": "row"}
    for relation in (
        {"dbtable": "parent"},
        {"dbtable": "old"},
        {"dbtable": "kept"},
        {"dbtable": "seen"} | by_row,
        {"dbtable": "parent AS p"} | by_row,
        {"dbtable": "(SELECT row + 0 AS row FROM parent) AS q"} | by_row,
        {"query": "SELECT row, s FROM parent -- all\n;"} | by_row,
        # Not the table of that name.
        {"dbtable": "lone", "prepareQuery": "WITH lone AS (SELECT * FROM parent)"} | by_row,
    ):
        options = server | relation | {"numPartitions": "5"}
        parts = read(plan(options), options)
        assert sorted(v for part in parts for v in part) == list(range(3000)), relation
        assert len(parts) == 5, relation
        assert unevenness([len(part) for part in parts]) <= 1.25, relation
    for relation in ({"dbtable": "seen"}, {"query": "SELECT * FROM parent"}):
        with pytest.raises(OptionError, match="no primary key or index to cut by"):
            plan(server | relation, numPartitions="5")


@pytest.mark.parametrize(
    ("rows", "count"),
    [("SELECT 1 WHERE false", 1), ("SELECT NULL::int", 1), ("VALUES (1), (1)", 1),
     ("VALUES (1), (2), (2)", 2), ("VALUES (1), (NULL)", 2), ("VALUES (3), (1), (2)", 3)],
)  # fmt: skip
def test_fewer_keys_make_fewer_partitions(
    server: dict[str, str], db: psycopg.Connection[Any], rows: str, count: int
) -> None:
    db.execute("DROP TABLE IF EXISTS few")
    db.execute(f"CREATE TABLE few (row) AS {rows}")
    for analyzed in (False, True):
        if analyzed:
            db.execute("ANALYZE few")
        parts = sizes(server | {"dbtable": "few", "partitionColumn": "row"}, numPartitions="8")
        assert len(parts) == count
        assert min(parts) > 0 or rows.endswith("false")


def test_found_cuts_prune(server: dict[str, str], db: psycopg.Connection[Any]) -> None:
    db.execute("CREATE TABLE priced (row serial, price numeric(8, 2), weight float8)")
    db.execute(
        "INSERT INTO priced (price, weight)"
        " SELECT g / 100.0, g / 10.0 FROM generate_series(1, 90) g"
    )
    for column, values in (
        ("price", [Decimal(n) / 100 for n in range(1, 91)]),
        ("weight", [n / 10 for n in range(1, 91)]),
    ):
        options = server | {
            "dbtable": "priced",
            "partitionColumn": column,
            "numPartitions": "30",
        }
        specs = plan(options)
        schema = SOURCE.infer_schema(options)
        for number, value in enumerate(values, 1):
            scan = Scan(schema, ("row",), (Compared(column, "==", value),))
            kept, accepted = SOURCE.plan_scan(specs, options, scan)
            assert (len(specs), len(kept), len(accepted)) == (30, 1, 1)
            (batch,) = SOURCE.scan_partition(kept[0], options, scan)
            assert batch.column(0).to_pylist() == [number]


# ------------------------------------------------------------------------------------ sizes


def test_as_many_partitions_as_the_size_needs(
    server: dict[str, str], db: psycopg.Connection[Any]
) -> None:
    db.execute("CREATE TABLE wide (row int PRIMARY KEY, s text)")
    db.execute("ALTER TABLE wide ALTER s SET STORAGE EXTERNAL")
    db.execute("INSERT INTO wide SELECT g, repeat('x', 4000) FROM generate_series(1, 500) g")
    ((size, heap),) = db.execute(
        "SELECT pg_total_relation_size('wide') - pg_indexes_size('wide'), pg_relation_size('wide')"
    )
    assert size > 2_000_000 > 10 * heap  # the texts are stored out of line
    options = server | {"dbtable": "wide"}
    specs = plan(options, targetPartitionBytes="200kB")
    assert len(specs) == math.ceil(size / 200_000)
    assert specs[0]["cuts"].endswith(f"; {len(specs)} for about {size:,} bytes")
    bounds = {"partitionColumn": "row", "lowerBound": "0", "upperBound": "500"}
    assert len(plan(options, targetPartitionBytes="200kB", **bounds)) == len(specs)
    assert len(plan(options, targetPartitionBytes="1GB")) == 1
    db.execute("ANALYZE wide")
    query = {"query": "SELECT row, s FROM wide"} | {"partitionColumn": "row"}
    assert 8 <= len(plan(server | query, targetPartitionBytes="200kB")) <= 13
    with pytest.raises(OptionError, match="'targetPartitionBytes' makes"):
        plan(options, targetPartitionBytes="1")


def test_the_size_of_a_partitioned_table_is_that_of_its_parts(
    server: dict[str, str], db: psycopg.Connection[Any]
) -> None:
    db.execute("CREATE TABLE sized (row int) PARTITION BY HASH (row)")
    for part in range(2):
        db.execute(
            f"CREATE TABLE s{part} PARTITION OF sized FOR VALUES WITH (MODULUS 2, REMAINDER {part})"
        )
    db.execute("INSERT INTO sized SELECT generate_series(1, 20000)")
    ((size,),) = db.execute("SELECT pg_table_size('s0') + pg_table_size('s1')")
    options = server | {"dbtable": "sized", "partitionColumn": "row"}
    assert len(plan(options, targetPartitionBytes="100000")) == math.ceil(size / 100_000) > 5


def test_the_size_of_sqlite_rows(sqlite: Callable[..., dict[str, str]]) -> None:
    options = sqlite(
        "CREATE TABLE t (k INTEGER PRIMARY KEY, s TEXT, b BLOB, n INTEGER)",
        "CREATE TABLE other (s TEXT)",
        "INSERT INTO other VALUES (zeroblob(9000000))",
        "INSERT INTO t VALUES (?, ?, zeroblob(100), NULL)",
        rows=[(i * i, "é" * (i % 100)) for i in range(50_000)],
    )
    size = sum(8 + 2 * (i % 100) + 100 + 8 for i in range(50_000))
    for relation in ({"dbtable": "t"}, {"query": "SELECT * FROM t", "partitionColumn": "k"}):
        given = {name: options[name] for name in ("url", "engine")} | relation
        specs = plan(given, targetPartitionBytes="1MB")
        assert len(specs) == pytest.approx(size / 1_000_000, rel=0.15)
        assert unevenness(sizes(given, targetPartitionBytes="1MB")) <= 1.25


# ----------------------------------------------------------------------------------- SQLite


def test_the_key_of_a_sqlite_table(sqlite: Callable[..., dict[str, str]]) -> None:
    rows = [(i, f"{i:03}", i % 7) for i in range(200)]
    options = sqlite(
        'CREATE TABLE ipk ("the key" INTEGER PRIMARY KEY, row TEXT)',
        "CREATE TABLE text_key (row TEXT PRIMARY KEY, n INTEGER)",
        "CREATE TABLE named (rowid TEXT, _ROWID_ INTEGER, row INTEGER)",
        "CREATE TABLE bare (row INTEGER, k INTEGER PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE bare_text (k TEXT PRIMARY KEY, row INTEGER UNIQUE) WITHOUT ROWID",
        "CREATE TABLE bare_alone (k TEXT PRIMARY KEY, row INTEGER) WITHOUT ROWID",
        "CREATE VIEW seen AS SELECT * FROM ipk",
    )
    for name, values in (
        ("ipk", "?1, ?2"), ("text_key", "?2, ?3"), ("named", "?2, ?3, ?1"), ("bare", "?1, ?1"),
        ("bare_text", "?2, ?1"), ("bare_alone", "?2, ?1"),
    ):  # fmt: skip
        sqlite(
            f"INSERT INTO {name} SELECT {values} WHERE ?1 + 1 AND ?2 <> '' AND ?3 + 1", rows=rows
        )
    for name, key in (
        ("ipk", "the key"), ("main.`IPK`", "the key"), ("text_key", "rowid"), ("named", "oid"),
        ("bare", "k"), ("bare_text", "k"), ("bare_alone", "k"),
    ):  # fmt: skip
        for engine in ENGINES:
            more = {"dbtable": name, "engine": engine}
            assert key_of(options, **more) == key
            parts = read(plan(options, numPartitions="4", **more), options | more)
            assert len(parts) == 4
            assert len({v for part in parts for v in part}) == sum(map(len, parts))
            assert unevenness([len(part) for part in parts]) <= 1.25
            assert sum(map(len, parts)) == 200
    for name in ("seen", "(SELECT * FROM ipk)"):
        with pytest.raises(OptionError, match="no primary key or index to cut by"):
            plan(options, dbtable=name, numPartitions="4")
    by_key = {"dbtable": "seen", "partitionColumn": "THE KEY"}
    assert sizes(options, numPartitions="4", **by_key) == [50, 50, 50, 50]


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_that_vacuum_numbers_anew_are_an_error(
    sqlite: Callable[..., dict[str, str]], engine: str
) -> None:
    options = sqlite(
        "CREATE TABLE t (row INTEGER)",
        "INSERT INTO t VALUES (?)",
        "DELETE FROM t WHERE row % 2 = 0",
        rows=[(i,) for i in range(2000)],
    ) | {"engine": engine}
    specs = plan(options, numPartitions="3")
    assert Counter(v for part in read(specs, options) for v in part) == Counter(range(1, 2000, 2))
    db = sqlite3.connect(options["url"].removeprefix("jdbc:sqlite:"), isolation_level=None)
    db.execute("VACUUM")
    assert db.execute("SELECT max(rowid) FROM t").fetchone() == (1000,)  # it was 2000
    db.close()
    for spec in specs:  # also the one that now has no row
        with pytest.raises(QueryError, match="VACUUM may have numbered the rows anew: plan again"):
            read([spec], options)
    again = plan(options, numPartitions="3")
    assert Counter(v for part in read(again, options) for v in part) == Counter(range(1, 2000, 2))


def test_vacuum_leaves_a_key_that_is_a_column(sqlite: Callable[..., dict[str, str]]) -> None:
    options = sqlite(
        "CREATE TABLE t (row INTEGER PRIMARY KEY)",
        "INSERT INTO t VALUES (?)",
        "DELETE FROM t WHERE row % 2 = 0",
        rows=[(i,) for i in range(2000)],
    )
    specs = plan(options, numPartitions="3")
    db = sqlite3.connect(options["url"].removeprefix("jdbc:sqlite:"), isolation_level=None)
    db.execute("VACUUM")
    db.close()
    assert Counter(v for part in read(specs, options) for v in part) == Counter(range(1, 2000, 2))


# ------------------------------------------------------------------------- errors, and telling


def test_looking_for_cuts_ends(
    server: dict[str, str], sqlite: Callable[..., dict[str, str]]
) -> None:
    more = {"numPartitions": "3", "partitionColumn": "n", "queryTimeout": "1"}
    message = "looking for them took longer than 1 seconds; give partitionColumn, lowerBound"
    slow = "SELECT g AS n, pg_sleep(0.1)::text FROM generate_series(1, 600) g"
    with pytest.raises(OptionError, match=message):
        plan(server | {"query": slow} | more)
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
    url = {"url": sqlite()["url"]}
    with pytest.raises(OptionError, match=message):
        plan(url | {"query": endless} | more)


def test_a_database_that_is_gone_is_told_without_its_password(server: dict[str, str]) -> None:
    wrong = server | {"password": "hunter2&", "dbtable": "few", "numPartitions": "3"}
    SOURCE.infer_schema(server | {"query": "SELECT 1 AS a"})
    with pytest.raises(ConnectError) as caught:
        SOURCE.plan_partitions(wrong)
    assert "hunter2" not in f"{caught.value} {caught.value!r}"
    assert caught.value.__context__ is None


def test_a_login_that_ends_before_the_cuts_is_an_error_without_the_drivers(
    server: dict[str, str], postgres: str
) -> None:
    login = {"user": "passing", "password": "hunter2&", "engine": "fallback"}
    query = {"query": "SELECT g AS n FROM generate_series(1, 9) g", "numPartitions": "3"}
    given = server | login | query | {"partitionColumn": "n"}
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("CREATE ROLE passing LOGIN PASSWORD 'hunter2&'")
        try:
            SOURCE.infer_schema(given)
            db.execute("ALTER ROLE passing NOLOGIN")
            with pytest.raises(ConnectError, match="not permitted to log in") as caught:
                SOURCE.plan_partitions(given)
        finally:
            db.execute("DROP ROLE passing")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_a_failing_query_is_an_error_without_the_drivers(server: dict[str, str]) -> None:
    query = {"query": "SELECT 1 / (g - 5) AS n FROM generate_series(1, 9) g"}
    with pytest.raises(JDBCError, match="division by zero") as caught:
        plan(server | query, numPartitions="3", partitionColumn="n")
    assert isinstance(caught.value, QueryError)
    assert not isinstance(caught.value.__context__, psycopg.Error)


def test_inspect_says_where_the_cuts_are_from(keyed: dict[str, str]) -> None:
    told = dask_sail.inspect(
        "jdbc", options=keyed, partitionColumn="K int8", numPartitions=3, columns=["row"]
    )
    assert "\n  cuts: 300 values of K int8, all there are\n" in str(told)
    bounds = {"lowerBound": 0, "upperBound": 9}
    even = dask_sail.inspect(
        "jdbc", options=keyed, partitionColumn="K int8", numPartitions=3, **bounds
    )
    assert "cuts:" not in str(even)


def test_one_partition_asks_nothing(server: dict[str, str]) -> None:
    (spec,) = plan(server | {"query": "SELECT 1 AS n"}, numPartitions="1")
    assert "range" not in spec
    (spec,) = plan(server | {"query": "SELECT 1 AS n"}, numPartitions="1", partitionColumn="n")
    assert (spec["range"]["lower"], spec["range"]["upper"]) == (None, None)
    with pytest.raises(OptionError, match="names no column, got 'm'"):
        plan(server | {"query": "SELECT 1 AS n"}, numPartitions="1", partitionColumn="m")
