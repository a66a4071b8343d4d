"""Each type of each database by each engine: exact, exact as text, or an error that says why.

The cases are in `type_cases.py`; what is seen is docs/reference/type-support.md, word for word.
``python tests/test_jdbc/test_type_support.py`` writes that page anew, and needs every database.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from jdbc import ColumnValueError, EngineError, JDBCArrowDataSource, JDBCError


def load(path: Path) -> ModuleType:
    # Test folders are no packages (--import-mode=importlib), so a sibling is loaded by its path.
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


TABLES = load(Path(__file__).with_name("type_cases.py"))
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "type-support.md"
SOURCE = JDBCArrowDataSource()
MARKS = {"mariadb": pytest.mark.mariadb}


def told(one: Any) -> str:
    return re.sub(r"\W+", " ", getattr(one, "declared", getattr(one, "label", "")))[:30]


def each(argument: str, tables: Mapping[str, Sequence[Any]]) -> pytest.MarkDecorator:
    """Run a test with the cases of each database."""
    given = [
        pytest.param(name, one, marks=MARKS.get(name, ()), id=f"{name}-{i}-{told(one)}")
        for name, those in tables.items()
        for i, one in enumerate(those)
    ]
    return pytest.mark.parametrize(("database", argument), given, indirect=["database"])


def of_cases(*, refused: bool) -> dict[str, list[Any]]:
    return {
        name: [one for one in cases if bool(one.refused) == refused]
        for name, cases in TABLES.CASES.items()
    }


def read(options: dict[str, str], engine: str) -> pa.Table:
    """All rows, as a caller without Dask reads them, in their order."""
    options = options | {"engine": engine}
    schema = SOURCE.infer_schema(options)
    specs = SOURCE.plan_partitions(options)
    assert {spec["engine"] for spec in specs} == {engine}
    batches = [b for spec in specs for b in SOURCE.read_partition(spec, options)]
    table = pa.Table.from_batches(batches, schema=schema)
    table.validate(full=True)
    return table.sort_by("row_id") if "row_id" in table.column_names else table


# ------------------------------------------------------------------- values that come as they are

ROWS = 8
POSITIONS = ("none", "first", "middle", "last", "all", "empty")
"""Where the NULLs are, among the values of a column."""


def arranged(values: Sequence[Any], position: str) -> list[Any]:
    """The values, again and again, with NULL (None) in its place."""
    if position == "empty":
        return []
    if position == "all" or not values:
        return [None] * ROWS
    if position == "middle":
        whole = [pair for value in islice(cycle(values), ROWS) for pair in (value, None)]
        return [*whole, values[-1]]
    full = list(islice(cycle(values), ROWS))
    return {"none": full, "first": [None, *full], "last": [*full, None]}[position]


@dataclass(frozen=True)
class Seen:
    """A column as it came, and as the database's own driver has it."""

    column: pa.ChunkedArray
    own: list[Any]
    database_type: str


@pytest.fixture(scope="module")
def prepare(databases: Any) -> Any:
    """From a name to the database, with the types that cases name."""

    @cache
    def prepare(name: str) -> Any:
        database = databases(name)
        database.run(*TABLES.PREPARED.get(name, ()))
        return database

    return prepare


@pytest.fixture
def prepared(prepare: Any, database: Any) -> Any:
    return prepare(database.name)


@pytest.fixture(scope="module")
def columns(prepare: Any) -> Any:
    """From database, engine and position to the columns of a table that has one for each case."""

    def wide(name: str) -> list[Any]:
        return [case for case in TABLES.CASES[name] if not case.refused]

    @cache
    def own(name: str, position: str) -> list[tuple[Any, ...]]:
        database, cases = prepare(name), wide(name)
        make(database, f"wide_{position}", cases, position)
        items = ", ".join(printed(database, f"c{i}", case) for i, case in enumerate(cases))
        return own_rows(database, f"SELECT {items} FROM wide_{position} ORDER BY row_id")

    @cache
    def seen(name: str, engine: str, position: str) -> dict[int, Seen]:
        rows, options = own(name, position), prepare(name).options
        table = read(options | {"dbtable": f"wide_{position}"}, engine)
        return {
            id(case): Seen(
                table[f"c{i}"],
                [row[i] for row in rows],
                table.schema.field(f"c{i}").metadata[b"jdbc.type"].decode(),
            )
            for i, case in enumerate(wide(name))
        }

    return seen


def make(database: Any, table: str, cases: Sequence[Any], position: str) -> None:
    arrangements = [arranged(list(case.values), position) for case in cases]
    length = max(map(len, arrangements))
    columns = ", ".join(f"c{i} {case.declared}" for i, case in enumerate(cases))
    rows = [
        ", ".join(
            written(database, given[row] if row < len(given) else None, case.declared)
            for given, case in zip(arrangements, cases, strict=True)
        )
        for row in range(length)
    ]
    database.run(
        f"DROP TABLE IF EXISTS {table}",
        f"CREATE TABLE {table} (row_id INTEGER, {columns})",
        *(f"INSERT INTO {table} SELECT {i}, {row}" for i, row in enumerate(rows)),
    )


def written(database: Any, sql: str | None, declared: str) -> str:
    """A value as its column's type, where an INSERT alone would not make it that."""
    if database.name == "postgresql":
        is_sql = sql is None or sql[0] in "'BE" or sql.startswith("array")
        return f"CAST({sql or 'NULL'} AS {declared})" if is_sql else f"CAST('{sql}' AS {declared})"
    if database.name == "duckdb":
        return f"CAST({sql or 'NULL'} AS {declared.partition(' COLLATE')[0]})"
    return sql or "NULL"


def printed(database: Any, column: str, case: Any) -> str:
    """The column as the database prints it; as it is where that is not needed, or on SQLite."""
    if ... not in case.values.values() or database.name in ("sqlite", "mariadb"):
        return column if database.name == "sqlite" else f"{column} IS NULL"
    return f"CAST({column} AS {'text' if database.name == 'postgresql' else 'VARCHAR'})"


def own_rows(database: Any, sql: str) -> list[tuple[Any, ...]]:
    if database.name != "sqlite":
        return database.run(sql)
    connection = database.connect()
    connection.text_factory = bytes
    return connection.execute(sql).fetchall()


@pytest.mark.parametrize("position", POSITIONS)
@each("case", of_cases(refused=False))
def test_a_value_comes_as_it_is(columns: Any, database: Any, case: Any, position: str) -> None:
    first = None
    for engine in database.engines:
        seen = columns(database.name, engine, position)[id(case)]
        check(case, seen, position)
        if case.database_type:
            assert seen.database_type == case.database_type
        first = first or seen
        assert seen.column.type == first.column.type
        assert seen.database_type == first.database_type


def check(case: Any, seen: Seen, position: str) -> None:
    has_values = bool(case.values) and position not in ("all", "empty")
    kind = case.arrow if has_values or case.empty is None else case.empty
    assert seen.column.type == kind
    given = arranged(list(case.values), position)
    given += [None] * (len(seen.column) - len(given))
    values = [None if sql is None else case.values[sql] for sql in given]
    own = [
        as_arrow(text, kind) if v is ... else v for v, text in zip(values, seen.own, strict=True)
    ]
    assert held(seen.column) == [plain(v, kind) for v in own]


@pytest.mark.parametrize("position", POSITIONS)
@each("case", of_cases(refused=True))
def test_a_type_that_an_engine_does_not_read_is_read_by_another(
    prepared: Any, case: Any, position: str
) -> None:
    make(prepared, "refused", [case], position)
    options = prepared.options | {"dbtable": "refused"}
    rows = own_rows(
        prepared, f"SELECT {printed(prepared, 'c0', case)} FROM refused ORDER BY row_id"
    )
    for engine in prepared.engines:
        if engine in case.refused:
            with pytest.raises(EngineError, match="cannot read column 'c0'"):
                read(options, engine)
        else:
            column = read(options, engine)["c0"]
            check(case, Seen(column, [own for (own,) in rows], ""), position)
    assert SOURCE.plan_partitions(options)[0]["engine"] not in case.refused


def held(column: pa.ChunkedArray) -> list[Any]:
    """The column's values; nanoseconds as integers, since Python has none."""
    kind = column.type
    if (pa.types.is_timestamp(kind) or pa.types.is_time(kind)) and kind.unit == "ns":
        return column.cast(pa.int64()).to_pylist()
    return [plain(value, kind) for value in column.to_pylist()]


def plain(value: Any, kind: pa.DataType) -> Any:
    """Comparable: NaN equals itself, minus zero differs from zero, an interval is a tuple."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, list):
        return [plain(v, kind) for v in value]
    return tuple(value) if isinstance(value, pa.MonthDayNano) else value


def as_arrow(own: Any, kind: pa.DataType) -> Any:
    """What the driver's own value, most often text, is in an Arrow column; made without Arrow."""
    types = pa.types
    if own is None or (types.is_binary(kind) and isinstance(own, bytes)):
        return own
    text = own.decode() if isinstance(own, bytes) else own
    if types.is_string(kind):
        assert isinstance(text, str)
        return text
    if types.is_boolean(kind):
        return {"true": True, "false": False, 1: True, 0: False}[text]
    if types.is_integer(kind):
        assert not isinstance(text, float)
        return int(text)
    if types.is_decimal(kind):
        return Decimal(text)
    if types.is_floating(kind):
        return TABLES.single(float(text)) if kind == pa.float32() else float(text)
    if types.is_date(kind):
        return dt.date.fromisoformat(text)
    if types.is_binary(kind):  # as DuckDB prints it
        return re.sub(r"\\x(..)", lambda found: chr(int(found[1], 16)), text).encode("latin1")
    if kind.unit == "ns":
        return nanoseconds(text)
    if types.is_time(kind):
        return dt.time.fromisoformat(text)
    moment = dt.datetime.fromisoformat(text)
    assert moment.utcoffset() in (None, dt.timedelta(0))
    return moment.replace(tzinfo=dt.UTC if kind.tz else None)


def nanoseconds(text: str) -> int:
    """A printed moment or time of day as nanoseconds."""
    day, clock = text.split(" ") if " " in text else ("1970-01-01", text)
    whole, _, fraction = clock.removesuffix("+00").partition(".")
    hours, minutes, seconds = map(int, whole.split(":"))
    days = (dt.date.fromisoformat(day) - dt.date(1970, 1, 1)).days
    passed = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return passed * 10**9 + int(fraction.ljust(9, "0") or 0)


# --------------------------------------------------------------------- values without a place


def fill_loud(database: Any, table: str, loud: Any, filler: str | None) -> dict[str, str]:
    """A table whose bad value comes after 2048 others, with one more behind it."""
    good = written(database, filler, loud.declared)
    double = [f"INSERT INTO {table} SELECT row_id + {2**k}, v FROM {table}" for k in range(11)]
    database.run(
        f"DROP TABLE IF EXISTS {table}",
        f"CREATE TABLE {table} (row_id INTEGER, v {loud.declared})",
        f"INSERT INTO {table} SELECT 0, {good}",
        *double,
        f"INSERT INTO {table} SELECT 5000, {written(database, loud.sql, loud.declared)}",
        f"INSERT INTO {table} SELECT 5001, {good}",
    )
    return database.options | {"dbtable": table, "fetchsize": "1000"}


MESSAGES: dict[tuple[str, int, str], str] = {}


def message_of(database: Any, loud: Any, engine: str) -> str:
    """The error of one value, after many NULLs and after many values of its column's type."""
    key = (database.name, id(loud), engine)
    if key not in MESSAGES:
        number = TABLES.LOUD[database.name].index(loud)
        found = set()
        for filler in {None, loud.good}:
            options = fill_loud(database, f"loud_{number}_{filler is None}", loud, filler)
            with pytest.raises(ColumnValueError) as caught:
                read(options, engine)
            assert caught.value.args[0] == "v"
            found.add(f"{caught.value}")
        (MESSAGES[key],) = found
    return MESSAGES[key]


@each("loud", TABLES.LOUD)
def test_a_value_without_a_place_is_an_error_that_says_what_to_do(prepared: Any, loud: Any) -> None:
    for engine in prepared.engines:
        message = message_of(prepared, loud, engine)
        assert re.search(rf"column 'v' .*({loud.words})", message), message
        assert loud.remedy in message


# What SQLite's remedies give depends on the storage class: see test_sqlite_types.py.
@each("loud", {name: those for name, those in TABLES.LOUD.items() if name != "sqlite"})
def test_a_value_without_a_place_can_be_read_as_text(prepared: Any, loud: Any) -> None:
    prepared.run("DROP TABLE IF EXISTS remedy", f"CREATE TABLE remedy (v {loud.declared})")
    prepared.run(f"INSERT INTO remedy SELECT {written(prepared, loud.sql, loud.declared)}")
    kind = {"postgresql": "text", "duckdb": "VARCHAR", "mariadb": "CHAR"}[prepared.name]
    own = prepared.run(f"SELECT CAST(v AS {kind}) FROM remedy")
    options = prepared.options | {"dbtable": "remedy", "customSchema": "v STRING"}
    for engine in prepared.engines:
        column = read(options, engine)["v"]
        assert (column.type, column.to_pylist()) == (pa.string(), [own[0][0]])


# --------------------------------------------------------------------------------- queries


@each("question", TABLES.QUESTIONS)
def test_a_query_gives_the_same_by_each_engine(prepared: Any, question: Any) -> None:
    options = prepared.options | {"query": question.sql}
    for engine in prepared.engines:
        if isinstance(question.rows, str):
            with pytest.raises(JDBCError, match=question.rows):
                read(options, engine)
            continue
        table = read(options, engine)
        assert dict(zip(table.column_names, table.schema.types, strict=True)) == question.types
        assert [tuple(row.values()) for row in table.to_pylist()] == question.rows


LONG = {
    "postgresql": (
        "text",
        "repeat('xä', {})",
        "bytea",
        r"'\xff00'::bytea || repeat('y', {})::bytea",
    ),
    "sqlite": ("TEXT", "replace(hex(zeroblob({})), '00', 'xä')", "BLOB", "zeroblob({})"),
    "duckdb": ("VARCHAR", "repeat('xä', {})", "BLOB", r"'\xFF\x00'::BLOB || repeat('y', {})::BLOB"),
    "mariadb": ("LONGTEXT", "repeat('xä', {})", "LONGBLOB", "concat(x'ff00', repeat('y', {}))"),
}


def test_long_values_are_whole(prepared: Any) -> None:
    text, long_text, binary, long_bytes = LONG[prepared.name]
    # A packet of MariaDB's holds 16 MB.
    times = 6_000_000 if prepared.name == "mariadb" else 2_000_000
    prepared.run(
        "DROP TABLE IF EXISTS long_ones",
        f"CREATE TABLE long_ones (row_id INTEGER, t {text}, b {binary})",
        f"INSERT INTO long_ones SELECT 0, {long_text.format(times)}, NULL",
        "INSERT INTO long_ones VALUES (1, 'short', NULL)",
        f"INSERT INTO long_ones SELECT 2, NULL, {long_bytes.format(3 * times)}",
    )
    given = b"\0" * 3 * times if prepared.name == "sqlite" else b"\xff\x00" + b"y" * 3 * times
    for engine in prepared.engines:
        table = read(prepared.options | {"dbtable": "long_ones"}, engine)
        assert table["t"].to_pylist() == ["xä" * times, "short", None]
        assert table["b"].to_pylist() == [None, None, given]


# --------------------------------------------------------------------------------- the page

LABELS = {"postgresql": "PostgreSQL", "sqlite": "SQLite", "duckdb": "DuckDB", "mariadb": "MariaDB"}
TEXTS = re.compile(r"(?i)(n?var)?char\b|(tiny|long)?text|clob|name\b|string|(odd\.)?citext")


def rows_of(database: Any, columns: Any) -> Iterator[list[str]]:
    """The cells of each type, as they are seen: types, values, Arrow, and one for each engine."""
    for case in TABLES.CASES[database.name]:
        if case.refused:
            cells = [
                "not read" if engine in case.refused else "exact" for engine in database.engines
            ]
        else:
            cells = []
            for engine in database.engines:
                for position in POSITIONS:
                    check(case, columns(database.name, engine, position)[id(case)], position)
                printed = pa.types.is_string(case.arrow) and not TEXTS.match(case.declared)
                is_text = printed and database.name != "sqlite"  # where it is what is stored
                cells.append("as text" if is_text else "exact")
        values = ", ".join(map(shortened, case.values)) or "NULL"
        yield [f"`{case.declared or 'no type'}`", values, f"`{case.arrow}`", *cells]
    for loud in TABLES.LOUD[database.name]:
        arrow = SOURCE.infer_schema(fill_loud(database, "shown", loud, loud.good)).field("v").type
        cells = []
        for engine in database.engines:
            problem = message_of(database, loud, engine).removeprefix("column 'v' ")
            cells.append(f"error: {problem.partition(';')[0]}")
        yield [f"`{loud.declared}`", shortened(loud.sql), f"`{arrow}`", *cells]


def shortened(sql: str) -> str:
    spelt = sql if len(sql) <= 40 else f"{sql[:30]}…{sql[-6:]}"
    return "`" + spelt.replace("|", "\\|").replace("`", "'") + "`"


def section(database: Any, columns: Any) -> str:
    head = ["type", "values", "Arrow", *database.engines]
    lines = [head, ["---"] * len(head), *rows_of(database, columns)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def test_the_page_tells_what_is_seen(prepared: Any, columns: Any) -> None:
    text = PAGE.read_text(encoding="utf-8")
    label = LABELS[prepared.name]
    pattern = rf"(?<=<!-- seen: {label} -->\n).*?(?=<!-- end -->)"
    found = re.search(pattern, text, re.DOTALL)
    assert found, f"no place for {label}"
    seen = section(prepared, columns)
    if os.environ.get("DASK_SAIL_WRITE_PAGES") == "1":
        PAGE.write_text(text[: found.start()] + seen + text[found.end() :], encoding="utf-8")
        return
    newer = {f"| `{case.declared}` |" for case in TABLES.DUCKDB_NEWER}
    lines = found[0].splitlines(keepends=True)
    if prepared.name == "duckdb" and not TABLES.IS_NEWER:
        lines = [line for line in lines if not line.startswith(tuple(newer))]
    assert "".join(lines) == seen, "run: python tests/test_jdbc/test_type_support.py"


def test_every_type_of_the_reference_is_seen() -> None:
    """No type of the code's own tables is without a case."""
    from jdbc.dialects import dialect_for

    for name, cases in TABLES.CASES.items():
        dialect = dialect_for("mysql" if name == "mariadb" else name)
        newer = TABLES.DUCKDB_NEWER if name == "duckdb" else ()
        kinds = {f"{case.arrow}" for case in (*cases, *newer)}
        for row in dialect.types:
            if isinstance(row.arrow, pa.DataType):
                assert f"{row.arrow}" in kinds, (name, row)


if __name__ == "__main__":
    assert TABLES.IS_NEWER, "the page has types that only DuckDB 2 has"
    os.environ |= {"DASK_SAIL_WRITE_PAGES": "1", "DASK_SAIL_SERVERS": "1"}
    raise SystemExit(
        pytest.main([__file__, "-q", "-k", "the_page", "-m", "mariadb or not mariadb"])
    )
