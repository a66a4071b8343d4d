"""On each database: a predicate that is pushed keeps just the rows that Arrow keeps.

With an index and without: by an index, MariaDB rounds a constant to what its column can hold.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, reduce
from operator import and_
from typing import Any

import dask
import dask.dataframe as dd
import duckdb
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dask_sail  # noqa: F401 - attaches dd.read_python_source
from dask_sail import Predicate, Scan
from jdbc import JDBCArrowDataSource

SOURCE = JDBCArrowDataSource()
D, UTC, INF, NAN = Decimal, dt.UTC, math.inf, math.nan
REUSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
ORDER = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")
SAME = ("==", "!=", "in", "not in")
COUNT = 8


@dataclass(frozen=True)
class Columns:
    """What a table of a database holds, what the database is asked, and what not.

    ``values`` go from a column to its type and its values, which are filled up with NULL;
    ``pushed`` to the operators that the database is asked; ``kept`` are other predicates, with
    values that mean something else there; ``bare`` are columns that no index can be on.
    """

    values: dict[str, tuple[str, list[Any]]]
    pushed: dict[str, Sequence[str]]
    kept: list[Predicate]
    made: Sequence[str] = ()
    bare: Sequence[str] = field(default=())


TEXTS = ["a", "A", "a ", "ä", "", "it's \\ %", None, '"`; -- 🎉']
BLOBS = [b"", b"\x00", b"'\xff", None, b"a", b"a ", b"A", b"\\x41"]
INTS = [-5, 0, 1, 2, 7, None, 2**31 - 1, 3]
LONGS = [-(2**63), 2**63 - 1, 0, 1, None, 2**53 + 1, 2**53, 5]
DOUBLES = [0.1, 0.5, 0.0, 1e300, None, 5e-324, -0.30000000000000004, 2.0**53]
CENTS = [D(v) for v in ("0", "0.10", "-1.50", "1.05", "1.06", "7", "9999999999.99")]
DAYS = [dt.date.min, dt.date.max, dt.date(2024, 2, 29), None, dt.date(1970, 1, 1)]
TIMES = [dt.time(), dt.time.max, None, dt.time(12, 30, 0, 5)]
NOON = dt.datetime(2024, 2, 29, 12)
MOMENTS = [dt.datetime.min, dt.datetime.max, NOON, NOON + dt.timedelta(microseconds=1), None]
INSTANTS = [None, *(dt.datetime(y, 11, 3, h, tzinfo=UTC) for y in (1971, 2024) for h in (0, 5, 6))]
TRUTHS = [True, False, None, True, False, None, True, True]
UUIDS = [f"00000000-0000-0000-0000-00000000000{k}" for k in range(8)]
NS = pd.Timestamp("2024-02-29 01:02:03.123456789")

ALWAYS_KEPT = [
    Predicate("i", "==", True),
    Predicate("i", "<", 0.5),
    Predicate("i", "in", (1, None)),
    Predicate("i", "==", None),
    Predicate("i", "any_of", (Predicate("i", "==", 1), Predicate("i", "==", None))),
    Predicate("t", "==", "\ud800"),
    Predicate("f", "==", NAN),
    Predicate("f", "in", (INF, 0.5)),
    Predicate("none", "==", 1),
]
TABLES = {
    "postgresql": Columns(
        {
            "i": ("int", INTS),
            "b": ("bigint", LONGS),
            "n": ("numeric(12,2)", CENTS),
            "u": ("numeric", [D(v) for v in ("0.1", "1e-18", "-3", "12345678901234567890")]),
            "r": ("real", [0.5, 0.25, -0.0, 2.0**100, NAN, None, INF, -INF]),
            "f": ("float8", [*DOUBLES[:5], NAN, INF, -INF]),
            "t": ("text", TEXTS),
            "v": ("varchar(20)", TEXTS),
            "y": ("bytea", BLOBS),
            "l": ("boolean", TRUTHS),
            "d": ("date", DAYS),
            "h": ("time", TIMES),
            "s": ("timestamp", MOMENTS),
            "z": ("timestamptz", INSTANTS),
            # What PostgreSQL orders, equates or spells in its own way.
            "c": ("char(4)", ["a", "b", None, "", "A", "a b", "c", "d"]),
            "e": ("mood", ["sad", "ok", None, "sad"]),
            "x": ("uuid", UUIDS),
        },
        dict.fromkeys("ibnurfdhsz", ORDER) | dict.fromkeys("tvyl", SAME),
        [
            Predicate("t", "<", "b"),  # collations order as Arrow does not
            Predicate("t", "==", "nul \0"),
            Predicate("c", "==", "a"),  # 'a' equals 'a   ' for char(n) only
            Predicate("e", "<", "sad"),  # enums order by their definition
            Predicate("e", "==", "nope"),  # which PostgreSQL would refuse
            Predicate("x", "==", UUIDS[1]),
            Predicate("r", "==", 0.1),  # which float is meant by it, Arrow decides
            Predicate("d", "<", NOON),
            Predicate("z", "<", NOON),  # no zone
            Predicate("s", "<", NOON.replace(tzinfo=UTC)),
        ],
        made=("CREATE TYPE mood AS ENUM ('sad', 'ok')",),
    ),
    "sqlite": Columns(
        {
            "i": ("INTEGER", INTS),
            "b": ("BIGINT", LONGS),
            "f": ("REAL", [*DOUBLES[:5], INF, -INF, 7.0]),
            "n": ("NUMERIC", [0.5, 1.0, 2.25, -3.0, None]),
            "t": ("TEXT", TEXTS),
            "v": ("TEXT COLLATE NOCASE", TEXTS),
            "l": ("BOOLEAN", TRUTHS),
            "d": ("DATE", DAYS),
            # What is compared on the worker.
            "y": ("BLOB", BLOBS),
            "s": ("DATETIME", MOMENTS),
            "h": ("TIME", TIMES),
        },
        dict.fromkeys("ibnd", ORDER) | dict.fromkeys("tv", SAME) | {"l": ("==",)},
        [
            Predicate("t", "<", "b"),
            Predicate("t", "==", "a\0"),
            Predicate("s", ">=", NOON),
            Predicate("y", "==", b"a"),
            Predicate("l", "!=", True),
            Predicate("f", ">", 5e-324),  # for which SQLite has no exact literal
            Predicate("f", "<", 1e300),
        ],
    ),
    "duckdb": Columns(
        {
            "i": ("INTEGER", INTS),
            "b": ("BIGINT", LONGS),
            "w": ("UBIGINT", [0, 2**64 - 1, 2**63, 1, None]),
            "g": ("HUGEINT", [D(v) for v in ("0", "9" * 38, "-" + "9" * 38, f"{2**64}")]),
            "n": ("DECIMAL(12,2)", CENTS),
            "m": ("DECIMAL(38,38)", [D(v) for v in ("0.1", "-0.1", "0." + "9" * 38)]),
            "r": ("FLOAT", [0.5, 0.25, -0.0, 2.0**100, NAN, None, INF, -INF]),
            "f": ("DOUBLE", [*DOUBLES[:5], NAN, INF, 5e-324]),
            "t": ("VARCHAR", TEXTS),
            "v": ("VARCHAR COLLATE NOCASE", TEXTS),
            "y": ("BLOB", BLOBS),
            "l": ("BOOLEAN", TRUTHS),
            "d": ("DATE", DAYS),
            "h": ("TIME", TIMES),
            "s": ("TIMESTAMP", MOMENTS),
            "s0": ("TIMESTAMP_S", [dt.datetime.min, dt.datetime(1969, 12, 31, 23, 59, 59), None]),
            "s3": ("TIMESTAMP_MS", [dt.datetime.min, dt.datetime(1969, 12, 31, 23, 59), None]),
            "s9": ("TIMESTAMP_NS", [NS, pd.Timestamp(0), pd.Timestamp(-1), None]),
            "z": ("TIMESTAMPTZ", INSTANTS),
            # What is compared on the worker.
            "e": ("ENUM('sad', 'ok')", ["sad", "ok", None, "sad"]),
            "x": ("UUID", UUIDS),
        },
        dict.fromkeys(
            [
                "i",
                "b",
                "w",
                "g",
                "n",
                "m",
                "r",
                "f",
                "t",
                "v",
                "d",
                "h",
                "s",
                "s0",
                "s3",
                "s9",
                "z",
            ],
            ORDER,
        )
        | dict.fromkeys("yl", SAME),
        [
            Predicate("e", "==", "sad"),
            Predicate("x", "==", UUIDS[1]),
            Predicate("r", "==", 0.1),
            Predicate("n", "==", D("0.105")),
            Predicate("g", "==", D("0.5")),
            Predicate("d", "<", NOON),
            Predicate("z", "<", NOON),
            Predicate("s", "<", NOON.replace(tzinfo=UTC)),
            Predicate("s", "==", NS),
            Predicate("t", "==", "nul \0"),
        ],
        bare=["g", "m", "e", "v", "w"],
    ),
    "mariadb": Columns(
        {
            "i": ("INT", INTS),
            "y1": ("TINYINT", [-128, 0, 1, 99, 100, None, 127, 3]),
            "b": ("BIGINT", LONGS),
            "ub": ("BIGINT UNSIGNED", [0, 2**63 - 1, 2**63, 2**64 - 1, None, 1, 2**53 + 1]),
            "n": ("DECIMAL(12,2)", CENTS),
            "w": ("DECIMAL(65,30)", [D("1e-30"), D("9" * 35), D("0.1"), None]),
            "r": ("FLOAT", [0.5, 0.25, 0.0, 2.0**100, 16777216.0, None, 16777218.0]),
            "f": ("DOUBLE", DOUBLES),
            "t": ("VARCHAR(20)", TEXTS),
            "l": ("VARCHAR(20) CHARACTER SET latin1", [*TEXTS[:-1], None]),
            "o": ("VARCHAR(20) COLLATE utf8mb4_bin", TEXTS),
            "c": ("CHAR(20)", [text and text.rstrip(" ") for text in TEXTS]),
            "tx": ("TEXT", TEXTS),
            "vb": ("VARBINARY(9)", BLOBS),
            "d": ("DATE", DAYS),
            "s": ("DATETIME", [dt.datetime.min, NOON, NOON + dt.timedelta(seconds=1), None]),
            "m": ("DATETIME(3)", [NOON, NOON + dt.timedelta(milliseconds=1), dt.datetime.min]),
            "z": ("TIMESTAMP(6) NULL", INSTANTS),
            "y": ("YEAR", [1901, 1924, 2024, 2155, None]),
            # What MariaDB orders, equates or spells in its own way.
            "e": ("ENUM('z','a')", ["z", "a", None, "a"]),
            "g": ("DOUBLE(9,2)", [1.05, 1.06, None]),
            "h": ("TIME", [dt.time(1), dt.time(2), None]),
        },
        dict.fromkeys(["i", "y1", "b", "ub", "n", "w", "r", "f", "d", "s", "m", "z", "y"], ORDER)
        | dict.fromkeys(["t", "l", "o", "c", "tx", "vb"], SAME),
        [
            Predicate("t", "<", "b"),
            Predicate("vb", "<", b"b"),
            Predicate("e", "==", "a"),
            Predicate("h", "<", dt.time(2)),  # a duration
            Predicate("g", "==", 1.056),  # by an index, that is 1.06
            Predicate("n", "==", D("1.056")),
            Predicate("n", "<", D("1e11")),
            Predicate("s", "==", NOON + dt.timedelta(microseconds=1)),
            Predicate("m", "<", NOON + dt.timedelta(microseconds=1)),
            Predicate("z", ">", NOON.replace(year=2104, tzinfo=UTC)),  # which it cannot be
            Predicate("z", ">", NOON),
            Predicate("s", ">", NOON.replace(tzinfo=UTC)),
            Predicate("y1", "<", 300),
            Predicate("ub", ">", -1),
            Predicate("r", "==", 0.1),
            Predicate("d", "<", NOON),
            Predicate("t", "==", b"a"),
            Predicate("vb", "==", "a"),
        ],
        bare=["tx"],
    ),
}


@pytest.fixture(scope="module", params=["bare", "indexed"])
def rows(request: pytest.FixtureRequest, database: Any) -> Iterator[dict[str, str]]:
    """Options of a table that has every column."""
    name, held = f"pushed_{request.param}", TABLES[database.name]
    columns = ", ".join(f"{column} {kind}" for column, (kind, _) in held.values.items())
    filled = [values + [None] * (COUNT - len(values)) for _, values in held.values.values()]
    rows = [[stored(database.name, value) for value in row] for row in zip(*filled, strict=True)]
    indexed = [c for c in held.values if request.param == "indexed" and c not in held.bare]
    database.run(
        f"DROP TABLE IF EXISTS {name}",
        *(["DROP TYPE IF EXISTS mood CASCADE"] if held.made else []),
        *held.made,
        f"CREATE TABLE {name} ({columns})",
        *(f"CREATE INDEX by_{column} ON {name} ({column})" for column in indexed),
        f"INSERT INTO {name} VALUES ({{}})",
        rows=rows,
    )
    planned.cache_clear()
    with contextlib.ExitStack() as kept:
        if database.name == "duckdb":  # else each scan opens the file anew
            path = database.options["url"].removeprefix("jdbc:duckdb:")
            kept.enter_context(contextlib.closing(duckdb.connect(path, read_only=True)))
        yield database.options | {"dbtable": name}
    database.run(f"DROP TABLE {name}")


def stored(name: str, value: Any) -> Any:
    """A value as the database's driver takes it."""
    if isinstance(value, dt.datetime) and name in ("mariadb", "sqlite"):
        value = value.replace(tzinfo=None)
    plain = value is None or isinstance(value, bytes | bool | int | float | str)
    is_text = not plain and name in ("sqlite", "duckdb")
    return (value.isoformat(" ") if name == "sqlite" and isinstance(value, dt.datetime)
            else f"{value}") if is_text else value  # fmt: skip


def scanned(
    options: dict[str, str],
    predicates: Sequence[Predicate] = (),
    columns: Sequence[str] | None = None,
    limit: int | None = None,
) -> tuple[pa.Table, list[Predicate]]:
    """The rows that a scan gives, before what was not accepted is applied; and what was."""
    schema, specs = planned(tuple(options.items()))
    names = tuple(schema.names if columns is None else columns)
    wanted = Scan(schema, names, tuple(predicates))
    specs, accepted = SOURCE.plan_scan(specs, options, wanted)
    scan = Scan(schema, names, tuple(predicates), limit)
    batches = [b for spec in specs for b in SOURCE.scan_partition(spec, options, scan)]
    return pa.Table.from_batches(batches, pa.schema([schema.field(n) for n in names])), accepted


@cache
def planned(options: tuple[tuple[str, str], ...]) -> tuple[pa.Schema, list[dict[str, Any]]]:
    return SOURCE.infer_schema(dict(options)), SOURCE.plan_partitions(dict(options))


def keeps(table: pa.Table, wanted: Predicate) -> pa.Array:
    """The mask by Arrow's own functions, and pandas' rule that ``~isin`` keeps NULLs."""
    column = table[wanted.column].combine_chunks()
    match wanted.op:
        case "is null":
            return column.is_null()
        case "not null":
            return column.is_valid()
        case "is nan":
            return pc.fill_null(pc.is_nan(column), False)
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


@pytest.fixture(scope="module")
def table(rows: dict[str, str], database: Any) -> pa.Table:
    """Every row, unfiltered; as it was written."""
    whole, _ = scanned(rows)
    assert whole.num_rows == COUNT
    held = TABLES[database.name].values
    given = {
        name: [v for v in values if v is not None and v == v] for name, (_, values) in held.items()
    }
    read = {n: [v for v in whole[n].to_pylist() if v is not None and v == v] for n in held}
    char = "c" if database.name == "postgresql" else None  # which is padded
    assert {n: v for n, v in read.items() if n != char} == {
        n: v for n, v in given.items() if n != char
    }
    return whole


def is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def values_of(name: str, column: str) -> list[Any]:
    return [v for v in TABLES[name].values[column][1] if v is not None and is_finite(v)]


@st.composite
def one_of(draw: st.DrawFn, name: str, column: str | None = None) -> Predicate:
    column = column or draw(st.sampled_from(list(TABLES[name].values)))
    ops = TABLES[name].pushed.get(column, SAME)
    op = draw(st.sampled_from([*ops, "is null", "not null"]))
    values = values_of(name, column)
    if any(isinstance(value, float) for value in values):
        values += [NAN, INF, -INF]  # also where no row holds such
    value = st.sampled_from(values)
    if op in ("is null", "not null"):
        return Predicate(column, op)
    if op in ("in", "not in"):
        return Predicate(column, op, tuple(draw(st.lists(value, max_size=3))))
    return Predicate(column, op, draw(value))


@st.composite
def some_of(draw: st.DrawFn, name: str) -> list[Predicate]:
    found = []
    for _ in range(draw(st.integers(1, 3))):
        first = draw(one_of(name))
        others = draw(st.lists(one_of(name, first.column), max_size=2))
        either = Predicate(first.column, "any_of", (first, *others))
        found.append(either if draw(st.booleans()) else first)
    return found


@settings(max_examples=30, deadline=None, suppress_health_check=REUSED)
@given(data=st.data())
def test_rows_counts_and_limits_are_those_of_arrow(
    rows: dict[str, str], table: pa.Table, database: Any, data: st.DataObject
) -> None:
    predicates = data.draw(some_of(database.name))
    options = rows | {"engine": data.draw(st.sampled_from(database.engines))}
    expected = table
    for predicate in predicates:
        expected = expected.filter(keeps(expected, predicate))
    got, accepted = scanned(options, predicates)
    filtered = got
    for predicate in predicates:
        filtered = filtered.filter(keeps(filtered, predicate))
        # What was accepted was truly applied by the database.
        assert predicate not in accepted or got.filter(keeps(got, predicate)).num_rows == len(got)
    assert canonical(filtered) == canonical(expected)
    if len(accepted) == len(predicates):
        assert len(scanned(options, predicates, columns=())[0]) == len(expected)
        limit = data.draw(st.integers(0, COUNT))
        some = scanned(options, predicates, limit=limit)[0]
        assert len(some) == min(limit, len(expected))
        assert set(canonical(some)) <= set(canonical(expected))


def test_what_means_the_same_is_accepted_and_right(
    rows: dict[str, str], table: pa.Table, database: Any
) -> None:
    for column, ops in TABLES[database.name].pushed.items():
        values = values_of(database.name, column)
        for op in ops:
            # As many as there is time for.
            some = values if op in ("==", "<") else values[:2]
            for value in [tuple(values[:2]), tuple(values)] if op.endswith("in") else some:
                wanted = Predicate(column, op, value)
                got, accepted = scanned(rows | {"engine": "fallback"}, [wanted])
                assert accepted == [wanted]
                assert canonical(got) == canonical(table.filter(keeps(table, wanted))), wanted


def test_what_might_mean_something_else_is_not_accepted(
    rows: dict[str, str], database: Any
) -> None:
    for wanted in [*TABLES[database.name].kept, *ALWAYS_KEPT]:
        got, accepted = scanned(rows, [wanted], columns=["i"])
        assert (accepted, got.num_rows) == ([], COUNT), wanted


def test_ranges_of_floats_are_asked_with_nan_as_sql_wants_them(
    rows: dict[str, str], table: pa.Table, database: Any
) -> None:
    for column in TABLES[database.name].values:
        if not pa.types.is_floating(table.schema.field(column).type):
            continue
        either = [
            Predicate(column, "any_of", (Predicate(column, op, 0.5), Predicate(column, "is nan")))
            for op in ("<", "<=", ">", ">=")
        ]
        asked = column in TABLES[database.name].pushed
        for wanted in [Predicate(column, "is nan"), *(either if asked else [])]:
            got, accepted = scanned(rows, [wanted])
            assert accepted == ([wanted] if asked or wanted.op == "is nan" else [])
            assert canonical(got) == canonical(table.filter(keeps(table, wanted))), wanted


def test_null_tests_are_right_for_every_type(
    rows: dict[str, str], table: pa.Table, database: Any
) -> None:
    for column in TABLES[database.name].values:
        for op in ("is null", "not null"):
            got, accepted = scanned(rows, [Predicate(column, op)])
            assert len(accepted) == 1
            assert canonical(got) == canonical(table.filter(keeps(table, Predicate(column, op))))


# ----------------------------------------------------------------------------- through Dask


def asked(frame: Any, wanted: Predicate) -> Any:
    """The condition as a user writes it."""
    column = frame[wanted.column]
    match wanted.op:
        case "is null":
            return column.isna()
        case "not null":
            return column.notnull()
        case "any_of":
            return reduce(lambda a, b: a | b, [asked(frame, piece) for piece in wanted.value])
        case "in":
            return column.isin(list(wanted.value))
        case "not in":
            return ~column.isin(list(wanted.value))
    return {
        "==": column.__eq__,
        "!=": column.__ne__,
        "<": column.__lt__,
        "<=": column.__le__,
        ">": column.__gt__,
        ">=": column.__ge__,
    }[wanted.op](wanted.value)


# pandas' own comparisons of these are not at stake here.
PLAIN = {"int32", "int64", "double", "string", "bool", "decimal128(12, 2)", "timestamp[us]"}


def is_plain(wanted: Predicate, columns: set[str]) -> bool:
    values = wanted.value if isinstance(wanted.value, tuple) else (wanted.value,)
    if wanted.op == "any_of":
        return all(is_plain(piece, columns) for piece in values)
    # A NaN that a frame is compared with is a NULL to pandas.
    return wanted.column in columns and not any(value != value for value in values)


@settings(max_examples=6, deadline=None, suppress_health_check=REUSED)
@given(data=st.data())
def test_len_and_head_are_the_same_pushed_or_not(
    rows: dict[str, str], table: pa.Table, database: Any, data: st.DataObject
) -> None:
    held = {n for n in table.column_names if f"{table.schema.field(n).type}" in PLAIN}
    predicates = data.draw(
        some_of(database.name).filter(lambda ps: all(is_plain(p, held) for p in ps))
    )
    n = data.draw(st.integers(0, COUNT))
    expected = reduce(lambda left, p: left.filter(keeps(left, p)), predicates, table)
    columns = [name for name in table.column_names if name in held]
    with dask.config.set(scheduler="synchronous"):
        for pushed in ("true", "false"):
            options = rows | {"pushDownPredicate": pushed, "pushDownLimit": pushed}
            frame = dd.read_python_source("jdbc", options=options, columns=columns)
            some = frame[reduce(and_, [asked(frame, p) for p in predicates])]
            assert len(some) == len(expected), predicates
            assert len(some.head(n)) == min(n, len(expected)), predicates
            got = pa.Table.from_pandas(some.compute(), preserve_index=False)
            assert canonical(got.cast(expected.select(columns).schema)) == canonical(
                expected.select(columns)
            )


# --------------------------------------------------------------------------------- the rest


def test_pushing_can_be_switched_off(rows: dict[str, str]) -> None:
    wanted = [Predicate("i", "==", 1)]
    assert scanned(rows, wanted)[0].num_rows == 1
    got, accepted = scanned(rows | {"pushDownPredicate": "false"}, wanted)
    assert (got.num_rows, accepted) == (COUNT, [])
    assert scanned(rows, limit=3)[0].num_rows == 3
    assert scanned(rows | {"pushDownLimit": "false"}, limit=3)[0].num_rows == COUNT


def test_columns_come_in_the_order_asked_for(rows: dict[str, str], database: Any) -> None:
    for engine in database.engines:
        got, _ = scanned(rows | {"engine": engine}, columns=["t", "i"], limit=3)
        assert (got.column_names, got.num_rows) == (["t", "i"], 3)
        assert scanned(rows | {"engine": engine}, columns=[])[0].num_rows == COUNT
        assert scanned(rows | {"engine": engine}, columns=[], limit=7)[0].num_rows == 7


def test_a_limit_comes_after_all_predicates_or_not_at_all(rows: dict[str, str]) -> None:
    unaccepted = Predicate("i", "<", 0.5)
    assert scanned(rows, [unaccepted], limit=1)[0].num_rows == COUNT


def test_a_converted_column_is_not_compared_by_the_database(rows: dict[str, str]) -> None:
    options = rows | {"customSchema": "i STRING"}
    got, accepted = scanned(options, [Predicate("i", "==", "1")])
    assert (accepted, got.num_rows) == ([], COUNT)
    assert scanned(options, [Predicate("i", "is null")])[0].num_rows == 1


def test_a_partition_that_holds_no_wanted_row_is_left_out(rows: dict[str, str]) -> None:
    cut = {"partitionColumn": "i", "lowerBound": "0", "upperBound": "8", "numPartitions": "4"}
    options = rows | cut
    schema = SOURCE.infer_schema(options)
    specs = SOURCE.plan_partitions(options)

    def left(*predicates: Predicate) -> list[int]:
        scan = Scan(schema, ("i",), predicates)
        return [s["partition"] for s in SOURCE.plan_scan(specs, options, scan)[0]]

    assert left() == [0, 1, 2, 3]
    assert left(Predicate("i", "==", 3)) == [1]
    assert left(Predicate("i", "is null")) == [0]
    assert left(Predicate("i", ">=", 4), Predicate("i", "<", 6)) == [2]
    assert left(Predicate("i", "in", (0, 7))) == [0, 3]
    assert left(Predicate("b", "==", 3)) == [0, 1, 2, 3]


def test_planning_a_scan_needs_neither_options_nor_server(rows: dict[str, str]) -> None:
    scan = Scan(SOURCE.infer_schema(rows), ("i",), (Predicate("i", "==", 1),))
    specs = json.loads(json.dumps(SOURCE.plan_partitions(rows)))
    unresolved = {"url": "{env:SHOP_URL}", "dbtable": "{env:SHOP_TABLE}"}
    assert SOURCE.plan_scan(specs, unresolved, scan) == (specs, list(scan.predicates))
    told = SOURCE.describe_partition(specs[0], unresolved, scan)
    assert told["engine"] == specs[0]["engine"]


EVIL = ["'; DROP TABLE {t}; --", "\\'; DROP TABLE {t}; --", '"; DROP TABLE {t}; --', "$$", "\\"]


def test_a_pushed_value_cannot_break_out_of_its_quotes(rows: dict[str, str], database: Any) -> None:
    for engine in database.engines:
        for evil in EVIL:
            wanted = Predicate("t", "==", evil.format(t=rows["dbtable"]))
            got, accepted = scanned(rows | {"engine": engine}, [wanted])
            assert (got.num_rows, accepted) == (0, [wanted])
    assert scanned(rows)[0].num_rows == COUNT


# ----------------------------------------------------------------------- PostgreSQL's texts


def test_texts_are_pushed_where_equal_means_the_same_bytes(
    postgres: str, jdbc_options: Callable[[str], dict[str, str]]
) -> None:
    """A collation that ignores case makes every text of its database doubtful."""
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS doubtful")
        db.execute("CREATE DATABASE doubtful")
    other = postgres.rpartition("/")[0] + "/doubtful"
    options = jdbc_options(other) | {"dbtable": "plain"}
    wanted = [Predicate("t", "==", "it's \\ %"), Predicate("t", "not in", ("a", "\\'"))]
    try:
        with psycopg.connect(other, autocommit=True) as db:
            db.execute("CREATE TABLE plain (t text)")
            assert scanned(options, wanted)[1] == wanted
            # One that ignores case needs ICU, which this server may lack; all that matters is what
            # the catalog says of it.
            db.execute('CREATE COLLATION ci FROM "C"; SET allow_system_table_mods = on')
            db.execute("UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'ci'")
            db.execute("CREATE TABLE doubted (t text, ci text COLLATE ci)")
            options |= {"dbtable": "doubted"}
            assert scanned(options, [*wanted, Predicate("ci", "==", "a")])[1] == []
    finally:
        with psycopg.connect(postgres, autocommit=True) as db:
            db.execute("DROP DATABASE doubtful WITH (FORCE)")
