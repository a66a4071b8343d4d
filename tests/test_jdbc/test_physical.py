"""``partitioning=physical``: each row of a snapshot once, by the pages of tables that change."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jdbc import EngineError, JDBCArrowDataSource, OptionError, QueryError

pytestmark = pytest.mark.majors

SOURCE = JDBCArrowDataSource()
ENGINES = ("connectorx", "adbc", "fallback")


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


@pytest.fixture(scope="module")
def db(postgres: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS pages CASCADE; CREATE SCHEMA pages")
        connection.execute("SET search_path = pages; SET lock_timeout = '300ms'")
        yield connection
        connection.execute("DROP SCHEMA pages CASCADE")


@pytest.fixture(scope="module")
def server(
    postgres: str, jdbc_options: Callable[[str], dict[str, str]], db: psycopg.Connection[Any]
) -> dict[str, str]:
    return jdbc_options(postgres) | {
        "currentSchema": "pages",
        "partitioning": "physical",
        "snapshot": "true",
        "numPartitions": "4",
        "engine": "adbc",
    }


def plan(options: dict[str, str]) -> list[dict[str, Any]]:
    # As a scheduler would hand them over.
    return json.loads(json.dumps(SOURCE.plan_partitions(options)))


def part(spec: dict[str, Any], options: dict[str, str], name: str, **scan: Any) -> pa.Table:
    schema = SOURCE.infer_schema(options)
    wanted = Scan(schema, **{"columns": tuple(schema.names), "snapshot": name} | scan)
    batches = SOURCE.scan_partition(spec, options, wanted)
    return pa.Table.from_batches(batches, pa.schema([schema.field(c) for c in wanted.columns]))


def read(specs: Sequence[dict[str, Any]], options: dict[str, str]) -> list[tuple[Any, ...]]:
    with closing(SOURCE.open_snapshot(options)) as snapshot:
        parts = [part(spec, options, snapshot.name) for spec in specs]
    return [row for table in parts for row in zip(*table.to_pydict().values(), strict=True)]


def seen_by(snapshot: str, uri: str, sql: str) -> Counter[Any]:
    """The rows of a query, as psycopg reads them within a snapshot."""
    with psycopg.connect(uri) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        connection.execute("SET LOCAL search_path = pages")
        return Counter(connection.execute(sql).fetchall())


# --------------------------------------------------------------------- each row exactly once

FAMILIES = {
    "alone": "CREATE TABLE t (id int, pad text) WITH (autovacuum_enabled = off)",
    "inherited": """
        CREATE TABLE t (id int, pad text);
        CREATE TABLE t_a (more int) INHERITS (t);
        CREATE TABLE t_b () INHERITS (t);
        CREATE TABLE t_ab () INHERITS (t_a, t_b)
    """,
    "partitioned": """
        CREATE TABLE t (id int, pad text) PARTITION BY RANGE (id);
        CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (MINVALUE) TO (100);
        CREATE TABLE t_mid (pad text, gone int, id int);
        ALTER TABLE t_mid DROP COLUMN gone;
        ALTER TABLE t ATTACH PARTITION t_mid FOR VALUES FROM (100) TO (400);
        CREATE TABLE "t 'x'\\ü" PARTITION OF t FOR VALUES FROM (400) TO (500);
        CREATE TABLE t_rest PARTITION OF t DEFAULT PARTITION BY HASH (id);
        CREATE TABLE t_rest0 PARTITION OF t_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE t_rest1 PARTITION OF t_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1)
    """,
    "materialised": """
        CREATE TABLE base (id int, pad text);
        CREATE MATERIALIZED VIEW seen_t AS SELECT * FROM base
    """,
}
TARGETS = {"inherited": ("t", "t_a", "t_b", "t_ab"), "materialised": ("base",)}

changes = st.tuples(
    st.sampled_from(["insert", "delete", "update", "nulls", "vacuum", "empty", "rewrite"]),
    st.integers(0, 3),
    st.integers(-20, 800),
    st.integers(1, 300),
)


def change(db: psycopg.Connection[Any], family: str, made: tuple[str, int, int, int]) -> None:
    kind, which, first, count = made
    targets = TARGETS.get(family, ("t",))
    target = targets[which % len(targets)]
    these = f"id BETWEEN {first} AND {first + count}"
    statements = {
        "insert": f"INSERT INTO {target} SELECT g, repeat('x', 90)"
        f" FROM generate_series({first}, {first + count}) g",
        "nulls": f"INSERT INTO {target} SELECT NULL, NULL FROM generate_series(1, {count})",
        "delete": f"DELETE FROM {target} WHERE {these}",
        # Rows move to other pages, and some to other tables.
        "update": f"UPDATE {target} SET id = id + 90, pad = pad || 'y' WHERE {these}",
        "vacuum": f"VACUUM {target}",
        "empty": f"TRUNCATE {target}",
        "rewrite": f"VACUUM FULL {target}",
    }
    db.execute(statements[kind])
    if family == "materialised":
        db.execute("REFRESH MATERIALIZED VIEW seen_t")


@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    before=st.lists(changes, max_size=6),
    between=st.lists(changes, max_size=3),
    after=st.lists(changes.filter(lambda made: made[0] not in ("empty", "rewrite")), max_size=3),
    count=st.integers(1, 9),
    engine=st.sampled_from(ENGINES),
)
@example(
    before=[("insert", 0, 0, 300)] * 3 + [("nulls", 1, 0, 300), ("insert", 2, 300, 300)],
    between=[("update", 0, 0, 300), ("rewrite", 0, 0, 1), ("insert", 1, 50, 300)],
    after=[("update", 0, 0, 800), ("delete", 1, 0, 100), ("vacuum", 0, 0, 1)],
    count=7,
    engine="connectorx",
)
def test_every_row_of_the_snapshot_is_read_once(
    server: dict[str, str],
    db: psycopg.Connection[Any],
    postgres: str,
    family: str,
    before: list[Any],
    between: list[Any],
    after: list[Any],
    count: int,
    engine: str,
) -> None:
    db.execute("DROP MATERIALIZED VIEW IF EXISTS seen_t; DROP TABLE IF EXISTS t, base CASCADE")
    db.execute(FAMILIES[family])
    name = "seen_t" if family == "materialised" else "t"
    options = server | {"dbtable": name, "numPartitions": f"{count}", "engine": engine}
    for made in before:
        change(db, family, made)
    specs = plan(options)
    for made in between:
        change(db, family, made)
    with closing(SOURCE.open_snapshot(options)) as snapshot:
        expected = seen_by(snapshot.name, postgres, f"SELECT id, pad FROM {name}")
        rows: Counter[Any] = Counter()
        for spec in specs:
            # A materialised view is refreshed by what the snapshot keeps out.
            if after and family != "materialised":
                change(db, family, after.pop())
            table = part(spec, options, snapshot.name)
            rows.update(zip(*table.to_pydict().values(), strict=True))
    assert rows == expected


REWRITES = {
    "VACUUM FULL": "VACUUM FULL moved",
    "CLUSTER": "CLUSTER moved USING moved_id",
    "ALTER TABLE": "ALTER TABLE moved ALTER pad TYPE varchar(200)",
    "fewer pages": "DELETE FROM moved WHERE id > 50; VACUUM moved",
    "more pages": "INSERT INTO moved SELECT g, repeat('z', 90) FROM generate_series(1, 5000) g",
    "emptied and filled": "TRUNCATE moved; INSERT INTO moved SELECT generate_series(1, 4000), 'z'",
    "emptied": "TRUNCATE moved",
}


@pytest.mark.parametrize("kind", REWRITES)
def test_a_table_that_is_rewritten_after_planning_is_complete(
    server: dict[str, str], db: psycopg.Connection[Any], kind: str
) -> None:
    db.execute("DROP TABLE IF EXISTS moved; CREATE TABLE moved (id int, pad text)")
    db.execute("INSERT INTO moved SELECT g, repeat('x', 90) FROM generate_series(3000, 1, -1) g")
    db.execute("CREATE INDEX moved_id ON moved (id)")
    options = server | {"dbtable": "moved"}
    specs = plan(options)
    assert len(specs) == 4
    for statement in REWRITES[kind].split("; "):
        db.execute(statement)
    expected = Counter(db.execute("SELECT id, pad FROM moved").fetchall())
    assert Counter(read(specs, options)) == expected


# --------------------------------------------------------------------- which tables there are


@pytest.fixture
def family(db: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """A table ``f`` with two partitions of 100 rows each, and one that is none of them."""
    db.execute("DROP TABLE IF EXISTS f, f_low, f_high, f_new, other CASCADE")
    db.execute("CREATE TABLE f (id int, pad text) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE f_low PARTITION OF f FOR VALUES FROM (0) TO (100)")
    db.execute("CREATE TABLE f_high PARTITION OF f FOR VALUES FROM (100) TO (200)")
    db.execute("CREATE TABLE f_new (id int, pad text)")
    db.execute("INSERT INTO f_new SELECT g, 'new' FROM generate_series(200, 209) g")
    db.execute("INSERT INTO f SELECT g, 'x' FROM generate_series(0, 199) g")
    yield db
    db.execute("DROP SCHEMA IF EXISTS pages_old CASCADE")


OTHER_TABLES = {
    "attached": "ALTER TABLE f ATTACH PARTITION f_new FOR VALUES FROM (200) TO (300)",
    "created": "CREATE TABLE other PARTITION OF f FOR VALUES FROM (300) TO (400)",
    "detached": "ALTER TABLE f DETACH PARTITION f_low",
    "detached without waiting": "ALTER TABLE f DETACH PARTITION f_low CONCURRENTLY",
    "split": "ALTER TABLE f DETACH PARTITION f_low; CREATE TABLE other PARTITION OF f"
    " FOR VALUES FROM (0) TO (100); INSERT INTO f SELECT * FROM f_low",
    "renamed": "ALTER TABLE f_low RENAME TO other; ALTER TABLE f_new RENAME TO f_low",
    "parent replaced": "ALTER TABLE f RENAME TO other; CREATE TABLE f (id int, pad text)",
}


@pytest.mark.parametrize("kind", OTHER_TABLES)
@pytest.mark.parametrize("engine", ENGINES)
def test_other_tables_than_were_planned_are_an_error(
    server: dict[str, str], family: psycopg.Connection[Any], kind: str, engine: str
) -> None:
    options = server | {"dbtable": "f", "engine": engine, "numPartitions": "1"}
    specs = plan(options)
    assert len(specs) == 2
    assert len(read(specs, options)) == 200
    for statement in OTHER_TABLES[kind].split("; "):
        family.execute(statement)
    with closing(SOURCE.open_snapshot(options)) as snapshot:
        for spec in specs:  # also the one whose table is as it was, or holds no row any more
            with pytest.raises(QueryError, match="detached since the read was planned: plan again"):
                part(spec, options, snapshot.name)
    if kind != "parent replaced":
        expected = family.execute("SELECT count(*) FROM f").fetchone()
        assert (len(read(plan(options), options)),) == expected


def test_a_table_that_is_dropped_or_gets_children_is_an_error(
    server: dict[str, str], family: psycopg.Connection[Any]
) -> None:
    options = server | {"dbtable": "f_new"}
    specs = plan(options)
    family.execute("CREATE TABLE other () INHERITS (f_new); INSERT INTO other VALUES (7, 'child')")
    with pytest.raises(QueryError, match="plan again"):
        read(specs, options)
    assert (7, "child") in read(plan(options), options)
    specs = plan(server | {"dbtable": "f"})
    family.execute("DROP TABLE f_high")
    with pytest.raises(QueryError, match=r'plan again|"pages.f_high" does not exist'):
        read(specs, server | {"dbtable": "f"})


def test_what_is_attached_after_the_snapshot_is_not_of_it(
    server: dict[str, str], family: psycopg.Connection[Any]
) -> None:
    options = server | {"dbtable": "f"}
    specs = plan(options)
    with closing(SOURCE.open_snapshot(options)) as snapshot:
        rows = part(specs[0], options, snapshot.name).num_rows
        family.execute(OTHER_TABLES["attached"])
        rows += sum(part(spec, options, snapshot.name).num_rows for spec in specs[1:])
    assert rows == 200
    assert len(read(plan(options), options)) == 210


def test_a_schema_that_is_replaced_under_a_snapshot_is_an_error(
    server: dict[str, str], family: psycopg.Connection[Any]
) -> None:
    family.execute("CREATE SCHEMA blue; CREATE TABLE blue.s AS SELECT generate_series(1, 99) AS id")
    family.execute("CREATE SCHEMA green; CREATE TABLE green.s AS SELECT 1 AS id")
    try:
        options = server | {"dbtable": "blue.s"}
        specs = plan(options)
        with closing(SOURCE.open_snapshot(options)) as snapshot:
            family.execute("ALTER SCHEMA blue RENAME TO old; ALTER SCHEMA green RENAME TO blue")
            for spec in specs:
                with pytest.raises(QueryError, match="plan again"):
                    part(spec, options, snapshot.name)
    finally:
        family.execute("DROP SCHEMA IF EXISTS blue, green, old CASCADE")


REMADE = {
    "emptied": "TRUNCATE f_low",
    "rewritten": "ALTER TABLE f ALTER pad TYPE varchar(9)",
    "dropped": "DROP TABLE f_high",
    "detached": "ALTER TABLE f DETACH PARTITION f_low",
    "renamed": "ALTER TABLE f_high RENAME TO other",
    "vacuumed": "VACUUM FULL f_low",
}
RELATIONS = {
    "by pages": {"dbtable": "f"},
    "by a key": {"dbtable": "f", "partitioning": "auto", "partitionColumn": "id"},
    "a query": {
        "query": "SELECT v.* FROM (SELECT * FROM f WHERE id >= 0) v",
        "partitioning": "auto",
        "partitionColumn": "id",
    },
    "a view": {"dbtable": "seen", "partitioning": "auto", "partitionColumn": "id"},
}


@pytest.mark.parametrize("kind", REMADE)
@pytest.mark.parametrize("relation", RELATIONS)
def test_what_would_empty_a_table_under_a_snapshot_waits_for_it(
    server: dict[str, str], family: psycopg.Connection[Any], kind: str, relation: str
) -> None:
    """To an older snapshot a table that was truncated or rewritten has no rows."""
    family.execute("CREATE OR REPLACE VIEW seen AS SELECT id FROM f")
    options = server | RELATIONS[relation]
    specs = plan(options)
    with closing(SOURCE.open_snapshot(options)) as snapshot:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            family.execute(REMADE[kind])
        family.execute("DELETE FROM f")
        assert sum(part(spec, options, snapshot.name).num_rows for spec in specs) == 200
    family.execute("DROP VIEW seen")
    family.execute(REMADE[kind])


# ------------------------------------------------------------------------------ how they are cut


@pytest.fixture(scope="module")
def sizes(db: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """Partitions of 1, 2 and 5 shares of 8000 rows, and an empty one."""
    db.execute("CREATE TABLE sizes (id int, pad text) PARTITION BY RANGE (id)")
    for name, low, high in (("a", 0, 1e3), ("b", 1e3, 3e3), ("c", 3e3, 8e3), ("d", 8e3, 9e3)):
        bounds = f"FROM ({low:.0f}) TO ({high:.0f})"
        db.execute(f"CREATE TABLE sizes_{name} PARTITION OF sizes FOR VALUES {bounds}")
    db.execute("INSERT INTO sizes SELECT g, repeat('x', 100) FROM generate_series(0, 7999) g")
    return db


def test_a_large_table_has_more_partitions_than_a_small_one(
    server: dict[str, str], sizes: psycopg.Connection[Any]
) -> None:
    options = server | {"dbtable": "sizes", "numPartitions": "8"}
    specs = plan(options)
    tables = Counter(spec["pages"]["table"] for spec in specs)
    assert tables["ONLY pages.sizes_a"] == tables["ONLY pages.sizes_d"] == 1
    assert tables["ONLY pages.sizes_b"] == 2
    assert tables["ONLY pages.sizes_c"] == 5
    with closing(SOURCE.open_snapshot(options)) as snapshot:
        rows = [part(spec, options, snapshot.name, columns=()).num_rows for spec in specs]
    assert sum(rows) == 8000
    assert max(rows) < 1.5 * 1000
    ((pages,),) = sizes.execute(
        "SELECT (sum(pg_relation_size(oid)) / 8192)::int FROM pg_class WHERE relname ~ '^sizes_'"
    )
    assert specs[0]["cuts"] == f"{pages} pages of 4 tables"


def test_as_many_as_the_bytes_need(server: dict[str, str], sizes: psycopg.Connection[Any]) -> None:
    by_bytes = {key: value for key, value in server.items() if key != "numPartitions"}
    ((size,),) = sizes.execute("SELECT pg_table_size('sizes_c')")
    options = by_bytes | {"dbtable": "sizes_c", "targetPartitionBytes": f"{size // 3 + 1}"}
    specs = plan(options)
    assert len(specs) == 3
    assert specs[0]["cuts"].endswith(f"; 3 for about {size:,} bytes")
    assert sorted(row[0] for row in read(specs, options)) == list(range(3000, 8000))


def test_only_the_pages_of_a_partition_are_looked_at(
    server: dict[str, str], sizes: psycopg.Connection[Any]
) -> None:
    options = server | {"dbtable": "sizes", "numPartitions": "8"}
    specs, schema = plan(options), SOURCE.infer_schema(options)
    for spec in specs:
        facts = SOURCE.describe_partition(spec, options, Scan(schema, ("id",)))
        lines = [line for (line,) in sizes.execute(f"EXPLAIN {facts['sql']}")]
        name = spec["pages"]["table"].rpartition(".")[2]
        (scan,) = (line for line in lines if f" on {name}" in line)
        is_cut = spec["pages"]["first"] > 0 or spec["pages"]["stop"] is not None
        assert ("Tid Range Scan" in scan) == is_cut
        assert facts["rows"] == "all" or "ctid" in facts["rows"]
    assert {"ctid" in spec for spec in map(str, specs)} == {False}


@pytest.mark.parametrize("engine", ENGINES)
def test_conditions_columns_limits_and_counts(
    server: dict[str, str], sizes: psycopg.Connection[Any], engine: str
) -> None:
    options = server | {"dbtable": "sizes", "engine": engine}
    schema = SOURCE.infer_schema(options)
    wanted = Scan(schema, ("id",), (Compared("id", ">=", 7990),))
    specs, accepted = SOURCE.plan_scan(plan(options), options, wanted)
    assert len(accepted) == 1
    with closing(SOURCE.open_snapshot(options)) as snapshot:
        more = {"columns": ("id",), "predicates": accepted}
        tables = [part(spec, options, snapshot.name, **more) for spec in specs]
        assert sorted(pa.concat_tables(tables)["id"].to_pylist()) == list(range(7990, 8000))
        counts = [part(spec, options, snapshot.name, columns=()).num_rows for spec in specs]
        assert sum(counts) == 8000
        few = [part(spec, options, snapshot.name, limit=3).num_rows for spec in specs]
        assert few == [min(count, 3) for count in counts]


def test_a_parent_without_parts_has_no_rows(
    server: dict[str, str], db: psycopg.Connection[Any]
) -> None:
    db.execute("CREATE TABLE childless (id int) PARTITION BY HASH (id)")
    options = server | {"dbtable": "childless"}
    specs = plan(options)
    assert len(specs) == 1
    assert read(specs, options) == []
    db.execute("CREATE TABLE child PARTITION OF childless FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    with pytest.raises(QueryError, match="plan again"):
        read(specs, options)


def test_parts_that_are_no_heaps_are_read_whole(
    server: dict[str, str], db: psycopg.Connection[Any], postgres: str
) -> None:
    db.execute("CREATE TABLE mixed (id int) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE far AS SELECT generate_series(100, 149) AS id")
    db.execute("CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA public")
    db.execute("CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw OPTIONS (port '5432')")
    db.execute("CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler")
    try:
        with psycopg.connect(postgres) as there:
            parts = there.info
            db.execute(
                f"ALTER SERVER here OPTIONS (ADD host '{parts.host}', SET port '{parts.port}')"
            )
            db.execute(
                "CREATE USER MAPPING FOR CURRENT_USER SERVER here OPTIONS"
                f" (user '{parts.user}', password '{parts.password}')"
            )
        db.execute(
            "CREATE FOREIGN TABLE mixed_far PARTITION OF mixed FOR VALUES FROM (100) TO (200)"
            " SERVER here OPTIONS (schema_name 'pages', table_name 'far')"
        )
        db.execute(
            "CREATE TABLE mixed_odd PARTITION OF mixed FOR VALUES FROM (200) TO (300) USING heap2"
        )
        db.execute("CREATE TABLE mixed_heap PARTITION OF mixed FOR VALUES FROM (300) TO (9999)")
        db.execute("INSERT INTO mixed SELECT generate_series(200, 5000)")
        options = server | {"dbtable": "mixed"}
        specs = plan(options)
        tables = Counter(spec["pages"]["table"] for spec in specs)
        assert tables["ONLY pages.mixed_far"] == tables["ONLY pages.mixed_odd"] == 1
        assert tables["ONLY pages.mixed_heap"] == 4
        rows = sorted(row[0] for row in read(specs, options))
        assert rows == [*range(100, 150), *range(200, 5001)]
        for name, words in (("mixed_far", "is a foreign table"), ("mixed_odd", "stored as heap2")):
            with pytest.raises(OptionError, match=f"'partitioning' is 'physical'.*{words}"):
                plan(server | {"dbtable": name})
    finally:
        db.execute("DROP TABLE mixed CASCADE; DROP SERVER here CASCADE; DROP ACCESS METHOD heap2")


# ------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"snapshot": "false"}, "'partitioning' is 'physical', which needs 'snapshot'.*'true'"),
        ({"partitionColumn": "id"}, "'partitionColumn' cannot go with partitioning 'physical'"),
        ({"lowerBound": "1"}, "'lowerBound' cannot go with partitioning 'physical'"),
        ({"predicates": '["true"]'}, "'predicates' cannot go with 'numPartitions'|'partitioning'"),
        ({"dbtable": "a_view"}, "a_view is a view; write 'auto'"),
        ({"dbtable": "a_sequence"}, "a_sequence is a sequence"),
        ({"dbtable": "(SELECT 1 AS id) AS q"}, "no table's name alone; write 'auto'"),
        ({"dbtable": "plain p"}, "no table's name alone"),
        ({"dbtable": "plain", "prepareQuery": "WITH plain AS (SELECT 1 AS id)"}, "name alone"),
    ],
)
def test_what_has_no_pages_is_refused(
    server: dict[str, str], db: psycopg.Connection[Any], more: dict[str, str], words: str
) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS plain (id int)")
    db.execute("CREATE OR REPLACE VIEW a_view AS SELECT * FROM plain")
    db.execute("CREATE SEQUENCE IF NOT EXISTS a_sequence")
    with pytest.raises(OptionError, match=words):
        plan(server | {"dbtable": "plain"} | more)


def test_a_query_has_no_pages(server: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="reads a table by its pages, and this is a query"):
        plan(server | {"query": "SELECT 1 AS id"})


def test_a_number_of_partitions_is_needed(server: dict[str, str]) -> None:
    without = {key: value for key, value in server.items() if key != "numPartitions"}
    with pytest.raises(OptionError, match="'partitioning' needs 'numPartitions' beside it"):
        plan(without | {"dbtable": "plain"})


def test_nobody_reads_without_a_snapshot(server: dict[str, str], sizes: Any) -> None:
    options = server | {"dbtable": "sizes"}
    (spec, *_) = plan(options)
    with pytest.raises(EngineError, match="somebody who keeps the snapshot open"):
        list(SOURCE.read_partition(spec, options))


def test_other_databases_have_no_such_pages(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as file:
        file.execute("CREATE TABLE t (n INTEGER)")
    options = {"url": f"jdbc:sqlite:{tmp_path}/x.db", "dbtable": "t", "partitioning": "physical"}
    with pytest.raises(OptionError, match="'physical', which SQLite has not"):
        plan(options | {"snapshot": "true", "numPartitions": "2"})


def test_a_table_whose_rows_cannot_match_hides_no_other_table(
    server: dict[str, str], db: psycopg.Connection[Any]
) -> None:
    """The planner reads nothing of a table whose constraints contradict a condition."""
    db.execute("CREATE TABLE noted (id int)")
    db.execute("CREATE TABLE noted_1 (CHECK (id NOTNULL), CHECK (id < 9)) INHERITS (noted)")
    db.execute("ALTER TABLE noted_1 ALTER id SET NOT NULL; INSERT INTO noted_1 VALUES (1)")
    options = server | {"dbtable": "noted", "options": "-c constraint_exclusion=on"}
    specs = [spec for spec in plan(options) if spec["pages"]["table"].endswith("noted_1")]
    db.execute("CREATE TABLE noted_2 () INHERITS (noted); INSERT INTO noted_2 VALUES (NULL), (50)")
    with closing(SOURCE.open_snapshot(options)) as snapshot:
        for wanted in (Compared("id", "is null", None), Compared("id", ">", 10)):
            for spec in specs:
                with pytest.raises(QueryError, match="plan again"):
                    part(spec, options, snapshot.name, predicates=(wanted,))


@pytest.fixture
def reader(server: dict[str, str], db: psycopg.Connection[Any]) -> Iterator[dict[str, str]]:
    """Options of a user who may read ``guarded`` and its partition, until a test says otherwise."""
    db.execute("CREATE TABLE guarded (id int, owner text) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE guarded_1 PARTITION OF guarded FOR VALUES FROM (0) TO (99)")
    db.execute("INSERT INTO guarded SELECT g, CASE g % 2 WHEN 0 THEN 'reader' END"
               " FROM generate_series(0, 98) g")  # fmt: skip
    db.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'; GRANT USAGE ON SCHEMA pages TO reader")
    db.execute("GRANT SELECT ON guarded, guarded_1 TO reader")
    yield server | {"user": "reader", "password": "reader", "dbtable": "guarded"}
    db.execute("DROP TABLE guarded; DROP OWNED BY reader; DROP ROLE reader")


def test_parts_that_would_show_other_rows_are_refused(
    reader: dict[str, str], db: psycopg.Connection[Any]
) -> None:
    assert len(read(plan(reader), reader)) == 99
    db.execute("REVOKE SELECT ON guarded_1 FROM reader")
    with pytest.raises(OptionError, match=r"reads pages.guarded_1 by itself, which this user may"):
        plan(reader)
    by_key = reader | {"partitioning": "auto", "partitionColumn": "id"}
    assert len(read(plan(by_key), by_key)) == 99
    db.execute("GRANT SELECT ON guarded_1 TO reader")
    db.execute("CREATE POLICY own ON guarded USING (owner = CURRENT_USER)")
    db.execute("ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
    assert len(read(plan(by_key), by_key)) == 50
    with pytest.raises(OptionError, match="row security may not be those of its parent"):
        plan(reader)
    db.execute("ALTER TABLE guarded_1 ENABLE ROW LEVEL SECURITY")
    db.execute("CREATE POLICY own ON guarded_1 USING (owner = CURRENT_USER)")
    alone = reader | {"dbtable": "guarded_1"}
    assert len(read(plan(alone), alone)) == 50  # its own policy, whichever way it is read


def test_a_session_statement_names_the_schema_for_all(
    server: dict[str, str], sizes: psycopg.Connection[Any]
) -> None:
    options = {key: value for key, value in server.items() if key != "currentSchema"}
    options |= {"dbtable": "sizes", "sessionInitStatement": "SET search_path = pages"}
    assert len(read(plan(options), options)) == 8000
