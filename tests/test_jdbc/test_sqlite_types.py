"""Every kind of column of SQLite: the same values from each engine, or an error that says why.

What a value should be comes from Python's own driver, by ``typeof`` and the bytes stored, turned
into Python without Arrow.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jdbc import ColumnTypeError, ColumnValueError, EngineError, JDBCArrowDataSource, JDBCError

ENGINES = ("connectorx", "adbc", "fallback")
INT, REAL, TEXT, BLOB = pa.int64(), pa.float64(), pa.string(), pa.binary()
DATE, TIME, MOMENT = pa.date32(), pa.time64("us"), pa.timestamp("us")


@pytest.fixture
def database(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """From SQL statements to the options of a database that ran them."""

    def make(*statements: str, **options: str) -> dict[str, str]:
        path = tmp_path / "test.db"
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA synchronous = OFF")
            for statement in statements:
                db.execute(statement)
            db.commit()
        return {"url": f"jdbc:sqlite:{path}", "dbtable": "t", **options}

    return make


def read(options: dict[str, str], engine: str) -> pa.Table:
    """All rows, as a caller without Dask reads them."""
    source, options = JDBCArrowDataSource(), options | {"engine": engine}
    schema = source.infer_schema(options)
    specs = source.plan_partitions(options)
    batches = [b for spec in specs for b in source.read_partition(spec, options)]
    table = pa.Table.from_batches(batches, schema=schema)
    table.validate(full=True)
    return table


def stored(options: dict[str, str], columns: str = "*") -> list[tuple[Any, ...]]:
    """The rows as Python's driver has them, text as bytes."""
    relation = options.get("dbtable") or f"({options['query']})"
    with closing(sqlite3.connect(options["url"].removeprefix("jdbc:sqlite:"))) as db:
        db.text_factory = bytes
        return db.execute(f"SELECT {columns} FROM {relation}").fetchall()


def as_arrow(value: Any, kind: pa.DataType) -> Any:
    """What a stored value is in an Arrow column of a type."""
    if value is None:
        return None
    if kind == REAL:
        assert float(value) == value
        return struct.pack("<d", value)
    text = value.decode() if isinstance(value, bytes) and kind != BLOB else value
    match kind:
        case _ if kind == DATE:
            return dt.date.fromisoformat(text)
        case _ if kind == TIME:
            return dt.time.fromisoformat(text)
        case _ if kind == MOMENT:
            return dt.datetime.fromisoformat(text).replace(tzinfo=None)
        case _ if kind == pa.bool_():
            return {0: False, 1: True}[text]
    return text


def python_values(column: pa.ChunkedArray) -> list[Any]:
    """The column's values, doubles as their bytes."""
    values = column.to_pylist()
    if column.type == REAL:
        return [None if v is None else struct.pack("<d", v) for v in values]
    return values


def many(value: str, times: int) -> str:
    """A statement that inserts a value so many times."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    return f"INSERT INTO t (v) {numbers} SELECT {value} FROM n LIMIT {times}"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("declared", "good", "bad", "storage"),
    [
        ("BLOB", "x'61'", "'a'", "text"),
        ("BLOB", "x'61'", "7", "integer"),
        ("BLOB", "'a'", "x'61'", "blob"),
        ("JSON", "'{}'", "7", "integer"),
        ("", "'a'", "1.5", "real"),
        ("", "1", "'7'", "text"),
        ("", "1", "1.0", "real"),
        ("", "1.5", "9007199254740993", "integer"),
    ],
)
def test_a_type_found_by_looking_at_rows_is_no_promise(
    database: Callable[..., dict[str, str]],
    declared: str,
    good: str,
    bad: str,
    storage: str,
    engine: str,
) -> None:
    table = f"CREATE TABLE t (v {declared})"
    options = database(table, many(good, 12_000), f"INSERT INTO t VALUES ({bad})")
    with pytest.raises(ColumnValueError, match=f"'v' holds an? .*{storage}"):
        read(options, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("before", [0, 3, 12_000])
@pytest.mark.parametrize(
    ("value", "storage"), [("2.5", "real"), ("'abc'", "text"), ("x'6162'", "blob")]
)
@pytest.mark.parametrize("kind", ["", "v SMALLINT", "v BOOLEAN", "v DECIMAL(38, 0)"])
def test_an_integer_column_gives_integers_or_an_error(
    database: Callable[..., dict[str, str]],
    kind: str,
    value: str,
    storage: str,
    before: int,
    engine: str,
) -> None:
    # In the first batch or a later one, where a driver sees it as late as this.
    inserts = [many("1", before), f"INSERT INTO t VALUES ({value})"]
    options = database("CREATE TABLE t (v INTEGER)", *inserts, fetchsize="1000")
    options |= {"customSchema": kind} if kind else {}
    with pytest.raises(ColumnValueError, match=f"'v' holds a value of storage class {storage}"):
        read(options, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("declared", "value", "kind"),
    [
        ("INTEGER", "7", INT),
        ("REAL", "0.1", REAL),
        ("TEXT", "'a'", TEXT),
        ("BLOB", "x'61'", BLOB),
        ("DATE", "'2024-01-31'", DATE),
        ("BOOLEAN", "1", pa.bool_()),
        ("", "'a'", TEXT),
        ("", "0.1", REAL),
    ],
)
def test_a_value_after_many_nulls_keeps_its_type(
    database: Callable[..., dict[str, str]],
    declared: str,
    value: str,
    kind: pa.DataType,
    engine: str,
) -> None:
    # More NULLs than are looked at to find a type, and than fit the first batch.
    inserts = [many("NULL", 12_000), f"INSERT INTO t VALUES ({value})"]
    options = database(f"CREATE TABLE t (v {declared})", *inserts, fetchsize="1000")
    table = read(options, engine)
    assert table.schema.types == [kind]
    assert table.num_rows == 12_001
    assert table["v"].null_count == 12_000
    assert python_values(table["v"])[-1] == as_arrow(stored(options)[-1][0], kind)


QUERIES = {
    "expr int": ("SELECT 1 + i AS v FROM t", [INT]),
    "expr float": ("SELECT i * 0.5 AS v FROM t", [REAL]),
    "expr text": ("SELECT upper(s) || 'x' AS v FROM t", [TEXT]),
    "expr null": ("SELECT NULL AS v", [TEXT]),
    "expr NULL then int": ("SELECT NULL AS v UNION ALL SELECT 1", [INT]),
    "expr NULL then text": ("SELECT NULL AS v UNION ALL SELECT 'a'", [TEXT]),
    "count": ("SELECT count(*) AS n FROM t", [INT]),
    "count of nothing": ("SELECT count(*) AS n FROM t WHERE 1 = 0", [INT]),
    "cast": ("SELECT CAST(i AS TEXT) AS v FROM t", [TEXT]),
    "no rows of an expression": ("SELECT 1 + i AS v FROM t WHERE 1 = 0", [TEXT]),
    "odd names": ("SELECT i AS `a b`, s AS 'c\"d', d AS [é'%:?$1] FROM t", [INT, TEXT, DATE]),
    "trailing semicolon": ("SELECT i FROM t;", [INT]),
    "trailing comment": ("SELECT i FROM t; -- all of them", [INT]),
    "comment without semicolon": ("SELECT i FROM t -- all of them", [INT]),
    "CTE": ("WITH x AS (SELECT i, s FROM t) SELECT * FROM x ORDER BY i DESC LIMIT 2", [INT, TEXT]),
    "percent and placeholders": ("SELECT '%s :a ? $1' AS v, i % 2 AS m FROM t", [TEXT, INT]),
    "join": ("SELECT a.i, b.d FROM t a LEFT JOIN t b ON a.i = b.i + 1", [INT, DATE]),
    "group": ("SELECT s, sum(i) AS n, avg(i) AS a FROM t GROUP BY s", [TEXT, INT, REAL]),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", QUERIES)
def test_a_query_reads_as_sqlite_runs_it(
    database: Callable[..., dict[str, str]], name: str, engine: str
) -> None:
    query, kinds = QUERIES[name]
    options = database(
        "CREATE TABLE t (i INTEGER, s TEXT, d DATE)",
        "INSERT INTO t VALUES (1, 'a', '2024-01-31'), (2, NULL, NULL), (3, 'b', '1999-12-31')",
    )
    options = {"url": options["url"], "query": query}
    table = read(options, engine)
    plain = {"query": query.partition(";")[0] + "\n"}
    rows = stored(options | plain)
    assert table.schema.types == kinds
    for i, (column, kind) in enumerate(zip(table.columns, kinds, strict=True)):
        assert python_values(column) == [as_arrow(row[i], kind) for row in rows]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nope FROM t", "nope"),
        ("SELECT `i`, `typo` FROM t", "typo"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT sum(i) AS n FROM t", "integer overflow"),
        ("SELECT 1 AS a; SELECT 2 AS a", "more than one statement"),
        ("DELETE FROM t", "syntax error"),
    ],
)
def test_what_sqlite_refuses_is_an_error(
    database: Callable[..., dict[str, str]], query: str, says: str, engine: str
) -> None:
    options = database(
        "CREATE TABLE t (i INTEGER)", "INSERT INTO t VALUES (9223372036854775807), (1)"
    )
    with pytest.raises(JDBCError, match=says):
        read({"url": options["url"], "query": query}, engine)
    assert len(stored(options)) == 2


def test_names_that_come_twice_are_refused(database: Callable[..., dict[str, str]]) -> None:
    options = database("CREATE TABLE t (i INTEGER)")
    query = {"url": options["url"], "query": "SELECT a.i, b.i FROM t a, t b"}
    with pytest.raises(ColumnTypeError, match=r"'i' comes 2 times.* AS "):
        JDBCArrowDataSource().infer_schema(query)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_text_is_whole_in_any_encoding(
    database: Callable[..., dict[str, str]], encoding: str, engine: str
) -> None:
    options = database(
        f"PRAGMA encoding = '{encoding}'",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)",
        "INSERT INTO t (s) VALUES ('é🎉'), (''), (NULL), ('a' || char(0) || 'b')",
        "INSERT INTO t (s) VALUES (replace(hex(zeroblob(2000000)), '00', 'xé'))",
    )
    if engine == "connectorx" and encoding != "UTF-8":
        with pytest.raises(EngineError, match=encoding):
            read(options, engine)
        assert JDBCArrowDataSource().plan_partitions(options)[0]["engine"] == "adbc"
        return
    expected = ["é🎉", "", None, "a\0b", "xé" * 2_000_000]
    assert read(options, engine)["s"].to_pylist() == expected


CONVERSIONS = [
    ("INTEGER", ["1", "-1"], "INT", pa.int32(), [1, -1]),
    ("INTEGER", ["1", "NULL"], "STRING", TEXT, ["1", None]),
    ("INTEGER", ["12"], "DECIMAL(5, 2)", pa.decimal128(5, 2), [Decimal("12.00")]),
    ("DECIMAL(20, 0)", ["9223372036854775807"], "DECIMAL(38, 0)", pa.decimal128(38, 0),
     [Decimal(2**63 - 1)]),
    ("DECIMAL(10, 2)", ["12.1", "0.07", "3", "NULL"], "DECIMAL(10, 2)", pa.decimal128(10, 2),
     [Decimal("12.10"), Decimal("0.07"), Decimal(3), None]),
    ("REAL", ["0.1", "1e20"], "STRING", TEXT, ["0.1", "1e+20"]),
    ("REAL", ["0.5"], "FLOAT", pa.float32(), [0.5]),
    ("TEXT", ["'12.34567890123456789'"], "DECIMAL(38, 20)", pa.decimal128(38, 20),
     [Decimal("12.34567890123456789")]),
    ("TEXT", ["'42'", "NULL"], "BIGINT", INT, [42, None]),
    ("TEXT", ["'2024-01-31'"], "DATE", DATE, [dt.date(2024, 1, 31)]),
    ("TEXT", ["'2024-01-31T10:20:30Z'"], "TIMESTAMP_NTZ", MOMENT,
     [dt.datetime(2024, 1, 31, 10, 20, 30)]),
    ("TEXT", ["'2024-01-31 10:20:30'"], "TIMESTAMP", pa.timestamp("us", "UTC"),
     [dt.datetime(2024, 1, 31, 10, 20, 30, tzinfo=dt.UTC)]),
    ("DATE", ["1706659200", "NULL"], "BIGINT", INT, [1706659200, None]),
    ("DATE", ["1706659200", "'soon'"], "STRING", TEXT, ["1706659200", "soon"]),
    ("DATETIME", ["2460340.5"], "DOUBLE", REAL, [2460340.5]),
    ("BOOLEAN", ["2"], "BIGINT", INT, [2]),
    ("INTEGER", ["1", "0"], "BOOLEAN", pa.bool_(), [True, False]),
    ("TEXT", ["x'00'"], "BINARY", BLOB, [b"\0"]),
    ("", ["7"], "STRING", TEXT, ["7"]),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("declared", "literals", "ddl", "kind", "values"), CONVERSIONS)
def test_custom_schema_converts(
    database: Callable[..., dict[str, str]],
    declared: str,
    literals: list[str],
    ddl: str,
    kind: pa.DataType,
    values: list[Any],
    engine: str,
) -> None:
    inserts = [f"INSERT INTO t VALUES ({literal})" for literal in literals]
    options = database(f"CREATE TABLE t (v {declared})", *inserts, customSchema=f"v {ddl}")
    table = read(options, engine)
    assert table.schema.types == [kind]
    assert table["v"].to_pylist() == values


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("declared", "literal", "ddl"),
    [
        ("INTEGER", "2147483648", "INT"),
        ("INTEGER", "2", "BOOLEAN"),
        ("INTEGER", "1", "DATE"),
        ("INTEGER", "'a'", "STRING, w INT"),
        ("DECIMAL(10, 2)", "12.105", "DECIMAL(10, 2)"),
        ("DECIMAL(10, 2)", "123456789", "DECIMAL(4, 2)"),
        ("REAL", "0.1", "FLOAT"),
        ("TEXT", "'1.5'", "BIGINT"),
        ("TEXT", "'0.123'", "DECIMAL(5, 2)"),
        ("TEXT", "'a'", "DOUBLE"),
        ("TEXT", "'10'", "TIME"),
        ("TEXT", "'a'", "BINARY"),
        ("REAL", "1.5", "BIGINT"),
    ],
)
def test_custom_schema_never_rounds(
    database: Callable[..., dict[str, str]], declared: str, literal: str, ddl: str, engine: str
) -> None:
    insert = f"INSERT INTO t VALUES ({literal}, 1.5)"
    options = database(f"CREATE TABLE t (v {declared}, w REAL)", insert, customSchema=f"v {ddl}")
    with pytest.raises(ColumnValueError, match=r"'[vw]' "):
        read(options, engine)
