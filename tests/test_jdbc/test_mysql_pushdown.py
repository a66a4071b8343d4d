"""A predicate that is pushed keeps just the rows that Arrow keeps, on a real MariaDB.

With an index and without: by an index, the database rounds a constant to what its column can hold.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jdbc import JDBCArrowDataSource

pytestmark = pytest.mark.mariadb

ENGINES = ("connectorx", "fallback")


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


D, DAY, NOON = Decimal, dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12)
INSTANT = NOON.replace(tzinfo=dt.UTC)
ALIKE = ["a", "A", "a ", "ä", "", "it's \\ %", None, '"`; -- 🎉']
# Column: its type, and what it holds.
ROWS: dict[str, tuple[str, list[Any]]] = {
    "i": ("INT", [-5, 0, 1, 2, 7, None, 2**31 - 1, 3]),
    "y1": ("TINYINT", [-128, 0, 1, 99, 100, None, 127, 3]),
    "b": ("BIGINT UNSIGNED", [0, 2**63 - 1, 2**63, 2**64 - 1, None, 1, 2**53 + 1, 2**53]),
    "n": ("DECIMAL(12,2)", [D("0"), D("0.10"), D("-1.50"), D("1.05"), D("1.06"), D("1e9")]),
    "w": ("DECIMAL(65,30)", [D("1e-30"), D("9" * 35), D("0.1"), None]),
    "r": ("FLOAT", [0.5, 0.25, 0.0, 2.0**100, 16777216.0, None, 16777218.0]),
    "f": ("DOUBLE", [0.1, 0.5, 0.0, 1e300, 5e-324, None, -0.30000000000000004, 2.0**53]),
    "t": ("VARCHAR(20)", ALIKE),
    "l": ("VARCHAR(20) CHARACTER SET latin1", [*ALIKE[:-1], None]),
    "o": ("VARCHAR(20) COLLATE utf8mb4_bin", ALIKE),
    "c": ("CHAR(20)", [text and text.rstrip(" ") for text in ALIKE]),
    "tx": ("TEXT", ALIKE),
    "vb": ("VARBINARY(9)", [b"", b"\x00", b"'\xff", None, b"a", b"a ", b"A", b"a\x00"]),
    "d": ("DATE", [dt.date.min, dt.date.max, DAY, None, dt.date(1970, 1, 1)]),
    "s": ("DATETIME", [dt.datetime.min, NOON, NOON + dt.timedelta(seconds=1), None]),
    "m": ("DATETIME(3)", [NOON, NOON + dt.timedelta(milliseconds=1), None, dt.datetime.min]),
    "z": ("TIMESTAMP(6) NULL", [INSTANT, INSTANT + dt.timedelta(microseconds=1), None]),
    "y": ("YEAR", [1901, 1924, 2024, 2155, None]),
    # What MariaDB orders, equates or spells in its own way.
    "e": ("ENUM('z','a')", ["z", "a", None, "a"]),
    "g": ("DOUBLE(9,2)", [1.05, 1.06, None]),
    "h": ("TIME", [dt.time(1), dt.time(2), None]),
}  # fmt: skip
COUNT = 8
ORDER = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")
SAME = ("==", "!=", "in", "not in")
PUSHED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["i", "y1", "b", "n", "w", "r", "f", "d", "s", "m", "z", "y"], ORDER),
    **dict.fromkeys(["t", "l", "o", "c", "tx", "vb"], SAME),
}


@pytest.fixture(scope="module")
def db(mariadb: str) -> Iterator[Any]:
    import pymysql

    parts = urlsplit(mariadb)
    with pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=unquote(parts.password or ""),
        database=parts.path[1:],
        autocommit=True,
        init_command="SET time_zone = '+00:00'",
    ) as connection:
        yield connection.cursor()


@pytest.fixture(scope="module", params=["", "ANSI,NO_BACKSLASH_ESCAPES", "ORACLE,TRADITIONAL"])
def mode(request: pytest.FixtureRequest, db: Any) -> Iterator[str]:
    """A server that reads SQL in its own way."""
    db.execute("SELECT @@global.sql_mode")
    ((before,),) = db.fetchall()
    db.execute("SET GLOBAL sql_mode = %s", (request.param,))
    yield request.param
    db.execute("SET GLOBAL sql_mode = %s", (before,))


@pytest.fixture(scope="module", params=["indexed", "bare"])
def rows(
    request: pytest.FixtureRequest,
    mariadb: str,
    db: Any,
    jdbc_options: Callable[[str], dict[str, str]],
) -> Iterator[dict[str, str]]:
    name = f"pushed_{request.param}"
    columns = [f"`{column}` {declared}" for column, (declared, _) in ROWS.items()]
    if request.param == "indexed":
        columns += [f"KEY (`{column}`)" for column in ROWS if column != "tx"]
    db.execute(f"CREATE OR REPLACE TABLE {name} ({', '.join(columns)}) CHARACTER SET utf8mb4")
    padded = [values + [None] * (COUNT - len(values)) for _, values in ROWS.values()]
    marks = ", ".join(["%s"] * len(ROWS))
    for row in zip(*padded, strict=True):
        db.execute(f"INSERT INTO {name} VALUES ({marks})", [plain(value) for value in row])
    yield jdbc_options(mariadb) | {"dbtable": name, "sslMode": "disabled"}
    db.execute(f"DROP TABLE {name}")


def plain(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, dt.datetime) else value


def keeps(table: pa.Table, wanted: Predicate) -> pa.Array:
    """The mask by Arrow's own functions, and pandas' rule that ``~isin`` keeps NULLs."""
    column = table[wanted.column].combine_chunks()
    match wanted.op:
        case "is null":
            return column.is_null()
        case "not null":
            return column.is_valid()
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
    assert whole["t"].to_pylist() == ALIKE
    return whole


@pytest.mark.parametrize("column", PUSHED)
def test_what_means_the_same_is_accepted_and_right(
    rows: dict[str, str], table: pa.Table, column: str
) -> None:
    values = [value for value in ROWS[column][1] if value is not None]
    source, planned = JDBCArrowDataSource(), {}
    for engine in ENGINES:
        options = rows | {"engine": engine}
        planned[engine] = (options, source.plan_partitions(options), source.infer_schema(options))
    for op in PUSHED[column]:
        # connectorx takes its time to connect, and the condition is the same.
        for value in [tuple(values[:2]), tuple(values)] if op.endswith("in") else values:
            options, specs, schema = planned[ENGINES[0 if value == values[0] else 1]]
            wanted = Predicate(column, op, value)
            scan = Scan(schema, schema.names, [wanted])
            (spec,), accepted = source.plan_scan(specs, options, scan)
            assert accepted == [wanted]
            got = pa.Table.from_batches(source.scan_partition(spec, options, scan), schema)
            assert canonical(got) == canonical(table.filter(keeps(table, wanted))), wanted


def test_texts_are_compared_whatever_sql_mode_says(
    mode: str, mariadb: str, db: Any, jdbc_options: Callable[[str], dict[str, str]]
) -> None:
    db.execute("CREATE OR REPLACE TABLE modes (t VARCHAR(20)) CHARACTER SET utf8mb4")
    texts = ["it's", "\\", "\\'", "''", '"', "a\\nb", "' OR 1=1 -- ", "%", "_"]
    db.executemany("INSERT INTO modes VALUES (%s)", [(text,) for text in texts])
    options = jdbc_options(mariadb) | {"dbtable": "modes"}
    for engine in ENGINES:
        for text in texts:
            got, accepted = scanned(options | {"engine": engine}, [Predicate("t", "==", text)])
            assert len(accepted) == 1
            assert got["t"].to_pylist() == [text]
    db.execute("DROP TABLE modes")


@pytest.mark.parametrize(
    "wanted",
    [
        Predicate("t", "<", "b"),  # collations order as Arrow does not
        Predicate("vb", "<", b"b"),
        Predicate("e", "==", "a"),
        Predicate("h", "<", dt.time(2)),  # a duration
        Predicate("g", "==", 1.056),  # by an index, that is 1.06
        Predicate("n", "==", D("1.056")),
        Predicate("n", "<", D("1e11")),
        Predicate("s", "==", NOON + dt.timedelta(microseconds=1)),
        Predicate("m", "<", NOON + dt.timedelta(microseconds=1)),
        Predicate("z", ">", INSTANT.replace(year=2104)),  # which a TIMESTAMP cannot be
        Predicate("z", ">", NOON),  # no zone
        Predicate("s", ">", INSTANT),
        Predicate("y1", "<", 300),
        Predicate("b", ">", -1),
        Predicate("r", "==", 0.1),  # which float is meant by it, Arrow decides
        Predicate("f", "==", float("inf")),
        Predicate("f", "==", float("nan")),
        Predicate("i", "==", True),
        Predicate("i", "<", 0.5),
        Predicate("i", "in", (1, None)),
        Predicate("i", "==", None),
        Predicate("d", "<", NOON),
        Predicate("t", "==", "\ud800"),
        Predicate("t", "==", b"a"),
        Predicate("vb", "==", "a"),
        Predicate("i", "like", "1%"),
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


def test_an_index_answers_for_text(rows: dict[str, str], db: Any) -> None:
    source = JDBCArrowDataSource()
    schema = source.infer_schema(rows)
    (spec,) = source.plan_partitions(rows)
    scan = Scan(schema, ("t",), [Predicate("t", "==", "A")])
    db.execute("EXPLAIN " + source.describe_partition(spec, rows, scan)["sql"].replace("%", "%%"))
    (plan,) = db.fetchall()
    assert plan[5] == ("t" if "indexed" in rows["dbtable"] else None)  # the key that is used
    assert source.describe_partition(spec, rows, scan)["rows"] == "all"


# ------------------------------------------------------------------------------ zero dates


@pytest.fixture(scope="module")
def zeros(
    mariadb: str, db: Any, jdbc_options: Callable[[str], dict[str, str]]
) -> Iterator[dict[str, str]]:
    """Ids by what is in the columns: 1 zero, 2 a day, 3 NULL (zero where that may not be)."""
    db.execute("SET sql_mode = ''")
    db.execute(
        "CREATE OR REPLACE TABLE zeros (id INT, d DATE, k DATE NOT NULL, s DATETIME(2) NOT NULL,"
        " z TIMESTAMP NULL, KEY (d), KEY (k))"
    )
    day = "'2024-02-29'"
    db.execute(f"INSERT INTO zeros VALUES (1, 0, 0, 0, 0), (2, {day}, {day}, {day}, {day})")
    db.execute(f"INSERT INTO zeros VALUES (3, NULL, 0, {day}, NULL)")
    yield jdbc_options(mariadb) | {"dbtable": "zeros"}
    db.execute("DROP TABLE zeros")


NULLS = {"d": [1, 3], "k": [1, 3], "s": [1], "z": [1, 3]}


@pytest.mark.parametrize("column", NULLS)
def test_zero_dates_that_are_null_are_so_in_conditions_too(
    zeros: dict[str, str], column: str
) -> None:
    options = zeros | {"zeroDateTimeBehavior": "convertToNull"}
    table, _ = scanned(options, ())
    assert table.filter(table[column].is_null())["id"].to_pylist() == NULLS[column]
    got, accepted = scanned(options, [Predicate(column, "is null")])
    assert (got["id"].to_pylist(), len(accepted)) == (NULLS[column], 1)
    got, accepted = scanned(options, [Predicate(column, "not null")])
    assert sorted([*got["id"].to_pylist(), *NULLS[column]]) == [1, 2, 3]
    assert len(accepted) == 1
    value = table[column].to_pylist()[1]
    for op in ("<", "!=", "<="):
        assert scanned(options, [Predicate(column, op, value)])[1] == []


def test_is_null_finds_no_zero_date_that_is_none(zeros: dict[str, str]) -> None:
    # MariaDB's own IS NULL does, in a column that is NOT NULL.
    for column, ids in {"d": 1, "k": 0, "s": 0, "z": 1}.items():
        source = JDBCArrowDataSource()
        schema = source.infer_schema(zeros)
        scan = Scan(schema, (), [Predicate(column, "is null")])
        (spec,) = source.plan_partitions(zeros)
        (batch,) = source.scan_partition(spec, zeros, scan)
        assert batch.num_rows == ids, column


def test_ranges_of_a_column_with_zero_dates_hold_every_row_once(zeros: dict[str, str]) -> None:
    cut = {"lowerBound": "2024-01-01", "upperBound": "2024-04-01", "numPartitions": "3"}
    for column in NULLS:
        options = zeros | cut | {"partitionColumn": column, "customSchema": "d STRING"}
        options |= {"zeroDateTimeBehavior": "convertToNull"}
        got, _ = scanned(options, ())
        assert sorted(got["id"].to_pylist()) == [1, 2, 3]
