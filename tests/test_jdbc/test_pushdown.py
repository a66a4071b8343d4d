"""A predicate that is pushed keeps just the rows that Arrow keeps, on a real PostgreSQL."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jdbc import JDBCArrowDataSource

ENGINES = ("connectorx", "adbc", "fallback")


@dataclass(frozen=True)
class Predicate:
    """As `dask_sail.Predicate`, which jdbc does not import."""

    column: str
    op: str
    value: Any = None


class Scan(NamedTuple):
    schema: pa.Schema
    columns: Sequence[str]
    predicates: Sequence[Predicate] = ()
    limit: int | None = None


UTC = dt.UTC
ROWS: dict[str, tuple[str, list[Any]]] = {
    "i": ("int", [-5, 0, 1, 2, 7, None, 2**31 - 1, 3]),
    "b": ("bigint", [-(2**63), 2**63 - 1, 0, 1, None, 2**53 + 1, 2**53, 5]),
    "n": ("numeric(12,2)", [Decimal(v) for v in ("0", "0.10", "-1.50", "7", "9999999999.99")]),
    "u": ("numeric", [Decimal(v) for v in ("0.1", "1e-18", "-3", "12345678901234567890")]),
    "r": ("real", [0.5, 0.25, -0.0, 2.0**100, math.nan, None, math.inf, -math.inf]),
    "f": ("float8", [0.1, 0.5, 0.0, 1e300, math.nan, None, math.inf, -math.inf]),
    "t": ("text", ["a", "B", "", "ä", "a ", "it's \\ %", None, "b"]),
    "v": ("varchar(8)", ["a", "A", "", None, "a ", "\\'", "z", "ß"]),
    "y": ("bytea", [b"", b"\x00", b"'\xff", None, b"a", b"b", b"c", b"d"]),
    "l": ("boolean", [True, False, None, True, False, None, True, True]),
    "d": ("date", [dt.date.min, dt.date.max, dt.date(2024, 2, 29), None, dt.date(1970, 1, 1)]),
    "h": ("time", [dt.time(), dt.time.max, None, dt.time(12, 30, 0, 5)]),
    "s": ("timestamp", [dt.datetime.min, dt.datetime.max, dt.datetime(2024, 2, 29, 1, 2), None]),
    "z": (
        "timestamptz",
        [None, *(dt.datetime(y, 11, 3, h, tzinfo=UTC) for y in (1, 2024) for h in (0, 5, 6))],
    ),
    # What PostgreSQL orders, equates or spells in its own way.
    "c": ("char(4)", ["a", "b", None, "", "A", "a b", "c", "d"]),
    "e": ("push.mood", ["sad", "ok", None, "sad"]),
    "x": ("uuid", [f"00000000-0000-0000-0000-00000000000{k}" for k in range(8)]),
    "ci": ("text COLLATE push.ci", ["a", "A", "b", None, "B", "", "ä", "c"]),
}
COUNT = 8


@pytest.fixture(scope="module")
def rows(postgres: str, jdbc_options: Callable[[str], dict[str, str]]) -> Iterator[dict[str, str]]:
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP SCHEMA IF EXISTS push CASCADE; CREATE SCHEMA push")
        db.execute("CREATE TYPE push.mood AS ENUM ('sad', 'ok')")
        # A collation that ignores case needs ICU, which this server may lack; all that matters is
        # what the catalog says of it.
        db.execute('CREATE COLLATION push.ci FROM "C"; SET allow_system_table_mods = on')
        db.execute("UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'ci'")
        db.execute(
            f"CREATE TABLE push.rows ({', '.join(f'{c} {t}' for c, (t, _) in ROWS.items())})"
        )
        padded = [values + [None] * (COUNT - len(values)) for _, values in ROWS.values()]
        marks = ", ".join(f"%s::{t.partition(' ')[0]}" for t, _ in ROWS.values())
        for row in zip(*padded, strict=True):
            db.execute(f"INSERT INTO push.rows VALUES ({marks})", row)
        db.execute("CREATE TABLE push.plain AS SELECT t, v FROM push.rows")
    yield jdbc_options(postgres) | {"dbtable": "push.rows"}
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP SCHEMA push CASCADE")


def keeps(table: pa.Table, wanted: Predicate) -> pa.Array:
    """The mask by Arrow's own functions, and pandas' rule that ``~isin`` keeps NULLs."""
    column = table[wanted.column].combine_chunks()
    match wanted.op:
        case "is null":
            return column.is_null()
        case "not null":
            return column.is_valid()
        case "any_of":
            masks = [keeps(table, piece) for piece in wanted.value]
            either = zip(*(mask.to_pylist() for mask in masks), strict=True)
            return pa.array([any(bits) for bits in either], pa.bool_())
        case "in" | "not in":
            inside = pc.is_in(column, value_set=pa.array(wanted.value, column.type))
            return inside if wanted.op == "in" else pc.invert(inside)
    compare = {
        "==": pc.equal,
        "!=": pc.not_equal,
        "<": pc.less,
        "<=": pc.less_equal,
        ">": pc.greater,
        ">=": pc.greater_equal,
    }[wanted.op]
    return pc.fill_null(compare(column, pa.scalar(wanted.value, column.type)), False)


def canonical(table: pa.Table) -> list[str]:
    return sorted(repr(row) for row in table.to_pylist())


def scanned(
    options: dict[str, str], predicates: Sequence[Predicate], limit: int | None = None
) -> tuple[pa.Table, list[Predicate]]:
    source = JDBCArrowDataSource()
    schema = source.infer_schema(options)
    scan = Scan(schema, schema.names, predicates, limit)
    specs, accepted = source.plan_scan(source.plan_partitions(options), options, scan)
    batches = [b for spec in specs for b in source.scan_partition(spec, options, scan)]
    return pa.Table.from_batches(batches, schema=schema), list(accepted)


@pytest.fixture(scope="module")
def table(rows: dict[str, str]) -> pa.Table:
    """Every row, unfiltered."""
    whole, _ = scanned(rows, ())
    assert whole.num_rows == COUNT
    return whole


ORDER = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")
SAME = ("==", "!=", "in", "not in")
PUSHED = dict.fromkeys("ibnurfdhsz", ORDER) | {"y": SAME, "l": SAME}


def values_of(column: str) -> list[Any]:
    return [v for v in ROWS[column][1] if v is not None]


@st.composite
def simple(draw: st.DrawFn) -> Predicate:
    column = draw(st.sampled_from(list(ROWS)))
    ops = PUSHED.get(column, ("==", "!=", "in", "not in"))
    op = draw(st.sampled_from([*ops, "is null", "not null"]))
    value = st.sampled_from(values_of(column))
    if op in ("is null", "not null"):
        return Predicate(column, op)
    if op in ("in", "not in"):
        return Predicate(column, op, tuple(draw(st.lists(value, max_size=3))))
    return Predicate(column, op, draw(value))


@st.composite
def any_predicate(draw: st.DrawFn) -> Predicate:
    first = draw(simple())
    if not draw(st.booleans()):
        return first
    others = draw(st.lists(simple().filter(lambda p: p.column == first.column), max_size=2))
    return Predicate(first.column, "any_of", (first, *others))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    predicates=st.lists(any_predicate(), min_size=1, max_size=3), engine=st.sampled_from(ENGINES)
)
def test_pushed_and_unpushed_agree(
    rows: dict[str, str], table: pa.Table, predicates: list[Predicate], engine: str
) -> None:
    expected = table
    for predicate in predicates:
        expected = expected.filter(keeps(expected, predicate))
    got, accepted = scanned(rows | {"engine": engine}, predicates)
    filtered = got
    for predicate in predicates:
        filtered = filtered.filter(keeps(filtered, predicate))
        # What was accepted was truly applied by the database.
        assert predicate not in accepted or got.filter(keeps(got, predicate)).num_rows == len(got)
    assert canonical(filtered) == canonical(expected)


@pytest.mark.parametrize("column", PUSHED)
def test_what_means_the_same_is_accepted_and_right(
    rows: dict[str, str], table: pa.Table, column: str
) -> None:
    finite = [v for v in values_of(column) if not (isinstance(v, float) and not math.isfinite(v))]
    for op in PUSHED[column]:
        for value in [tuple(finite[:2])] if op.endswith("in") else finite:
            wanted = Predicate(column, op, value)
            got, accepted = scanned(rows, [wanted])
            assert accepted == [wanted]
            assert canonical(got) == canonical(table.filter(keeps(table, wanted))), wanted


@pytest.mark.parametrize(
    "wanted",
    [
        Predicate("t", "<", "b"),  # collations order as Arrow does not
        Predicate("c", "==", "a"),  # 'a' equals 'a   ' for char(n) only
        Predicate("ci", "==", "a"),  # this collation ignores case
        Predicate("e", "<", "sad"),  # enums order by their definition
        Predicate("e", "==", "nope"),  # which PostgreSQL would refuse
        Predicate("x", "==", "00000000-0000-0000-0000-000000000001"),
        Predicate("f", "==", math.nan),  # NaN equals NaN in PostgreSQL alone
        Predicate("f", "in", (math.nan, 0.5)),
        Predicate("r", "==", 0.1),  # which float is meant by it, Arrow decides
        Predicate("i", "==", True),
        Predicate("i", "<", 0.5),
        Predicate("i", "in", (1, None)),
        Predicate("i", "==", None),
        Predicate("d", "<", dt.datetime(2024, 1, 1)),
        Predicate("z", "<", dt.datetime(2024, 1, 1)),  # no zone
        Predicate("s", "<", dt.datetime(2024, 1, 1, tzinfo=UTC)),
        Predicate("t", "==", "nul \0"),
        Predicate("t", "==", "\ud800"),
        Predicate("i", "any_of", (Predicate("i", "==", 1), Predicate("i", "==", None))),
        Predicate("i", "like", "1%"),
        Predicate("none", "==", 1),
    ],
    ids=repr,
)
def test_what_might_mean_something_else_is_not_accepted(
    rows: dict[str, str], wanted: Predicate
) -> None:
    got, accepted = scanned(rows, [wanted])
    assert accepted == []
    assert got.num_rows == COUNT


@pytest.mark.parametrize("op", ["is null", "not null"])
def test_null_tests_are_right_for_every_type(
    rows: dict[str, str], table: pa.Table, op: str
) -> None:
    for column in ROWS:
        got, accepted = scanned(rows, [Predicate(column, op)])
        assert len(accepted) == 1
        assert canonical(got) == canonical(table.filter(keeps(table, Predicate(column, op))))


def test_texts_are_pushed_where_equal_means_the_same_bytes(
    rows: dict[str, str], postgres: str
) -> None:
    # The collation that ignores case makes every text of this database doubtful.
    wanted = [Predicate("t", "==", "it's \\ %"), Predicate("v", "not in", ("a", "\\'"))]
    assert scanned(rows, wanted)[1] == []
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS plain_texts")
        db.execute("CREATE DATABASE plain_texts")
    try:
        other = postgres.rpartition("/")[0] + "/plain_texts"
        with psycopg.connect(other, autocommit=True) as db:
            db.execute("CREATE TABLE plain (t text, v varchar(8))")
            for t, v in zip(ROWS["t"][1], ROWS["v"][1], strict=True):
                db.execute("INSERT INTO plain VALUES (%s, %s)", (t, v))
        options = rows | {
            "url": rows["url"].rpartition("/")[0] + "/plain_texts",
            "dbtable": "plain",
        }
        table, _ = scanned(options, ())
        for column in "tv":
            for value in values_of(column):
                for op in SAME:
                    many = (value,) if op.endswith("in") else value
                    predicate = Predicate(column, op, many)
                    got, accepted = scanned(options, [predicate])
                    assert accepted == [predicate]
                    assert canonical(got) == canonical(table.filter(keeps(table, predicate)))
    finally:
        with psycopg.connect(postgres, autocommit=True) as db:
            db.execute("DROP DATABASE plain_texts WITH (FORCE)")


def test_pushing_can_be_switched_off(rows: dict[str, str]) -> None:
    wanted = [Predicate("i", "==", 1)]
    assert scanned(rows, wanted)[0].num_rows == 1
    got, accepted = scanned(rows | {"pushDownPredicate": "false"}, wanted)
    assert (got.num_rows, accepted) == (COUNT, [])
    assert scanned(rows, (), limit=3)[0].num_rows == 3
    assert scanned(rows | {"pushDownLimit": "false"}, (), limit=3)[0].num_rows == COUNT


def test_a_limit_comes_after_all_predicates_or_not_at_all(rows: dict[str, str]) -> None:
    unaccepted = Predicate("t", "<", "zz")
    assert scanned(rows, [unaccepted], limit=1)[0].num_rows == COUNT


def test_a_converted_column_is_not_compared_by_the_database(rows: dict[str, str]) -> None:
    options = rows | {"customSchema": "i STRING"}
    got, accepted = scanned(options, [Predicate("i", "==", "1")])
    assert (accepted, got.num_rows) == ([], COUNT)
    assert scanned(options, [Predicate("i", "is null")])[0].num_rows == 1


def test_a_partition_that_holds_no_wanted_row_is_left_out(rows: dict[str, str]) -> None:
    options = rows | {
        "partitionColumn": "i",
        "lowerBound": "0",
        "upperBound": "8",
        "numPartitions": "4",
    }
    source = JDBCArrowDataSource()
    schema = source.infer_schema(options)
    specs = source.plan_partitions(options)

    def left(*predicates: Predicate) -> list[int]:
        scan = Scan(schema, ("i",), predicates)
        return [s["partition"] for s in source.plan_scan(specs, options, scan)[0]]

    assert left() == [0, 1, 2, 3]
    assert left(Predicate("i", "==", 3)) == [1]
    assert left(Predicate("i", "is null")) == [0]
    assert left(Predicate("i", ">=", 4), Predicate("i", "<", 6)) == [2]
    assert left(Predicate("i", "in", (0, 7))) == [0, 3]
    assert left(Predicate("b", "==", 3)) == [0, 1, 2, 3]


def test_planning_a_scan_needs_neither_options_nor_server(rows: dict[str, str]) -> None:
    source = JDBCArrowDataSource()
    scan = Scan(source.infer_schema(rows), ("i",), [Predicate("i", "==", 1)])
    specs = json.loads(json.dumps(source.plan_partitions(rows)))
    unresolved = {"url": "{env:SHOP_URL}", "dbtable": "{env:SHOP_TABLE}"}
    assert source.plan_scan(specs, unresolved, scan) == (specs, list(scan.predicates))
    assert source.describe_partition(specs[0], unresolved, scan)["engine"] == "connectorx"


def test_a_pushed_value_cannot_break_out_of_its_quotes(rows: dict[str, str]) -> None:
    for evil in ("'; DROP TABLE push.rows; --", "\\'; DROP TABLE push.rows; --"):
        got, _ = scanned(rows, [Predicate("v", "==", evil), Predicate("y", "==", evil.encode())])
        assert got.num_rows == 0
    assert scanned(rows, ())[0].num_rows == COUNT


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("setting", ["on", "off"])
def test_literals_mean_the_same_where_backslashes_escape(
    rows: dict[str, str], table: pa.Table, postgres: str, setting: str, engine: str
) -> None:
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute(f"ALTER ROLE CURRENT_USER SET standard_conforming_strings = {setting}")
        try:
            # connectorx and ADBC sessions have it as well, or this would show nothing.
            asked = {"query": "SELECT current_setting('standard_conforming_strings') AS now"}
            server = {key: value for key, value in rows.items() if key != "dbtable"}
            server |= {"engine": engine}
            assert scanned(server | asked, ())[0].to_pylist() == [{"now": setting}]
            for wanted in (
                *(Predicate("y", "==", value) for value in values_of("y")),
                Predicate("y", "in", (b"\x00", b"'\xff", b"\\")),
                Predicate("y", "not in", (b"a", b"\\x61")),
            ):
                got, accepted = scanned(rows | {"engine": engine}, [wanted])
                assert accepted == [wanted]
                assert canonical(got) == canonical(table.filter(keeps(table, wanted)))
            places = {"query": "SELECT :b AS b, :t AS t"}
            values = json.dumps({"b": {"binary": "5c27ff00"}, "t": "\\x61 '"})
            read, _ = scanned(server | places | {"params": values}, ())
            assert read.to_pylist() == [{"b": b"\\'\xff\x00", "t": "\\x61 '"}]
        finally:
            db.execute("ALTER ROLE CURRENT_USER RESET standard_conforming_strings")
