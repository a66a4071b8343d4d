"""Values in the places of a query: each comes back from the database as it went in."""

from __future__ import annotations

import datetime as dt
import json
import math
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jdbc import JDBCArrowDataSource, OptionError

DATABASES = ("postgresql", "sqlite")
ENGINES = ("connectorx", "adbc", "fallback")


@pytest.fixture(scope="module")
def databases(
    postgres: str,
    jdbc_options: Callable[[str], dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, dict[str, str]]:
    """Options that name each database; a table ``guard`` in it has one row."""
    file = tmp_path_factory.mktemp("params") / "params.db"
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE guard (t TEXT)")
        db.execute("INSERT INTO guard VALUES ('still here')")
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute("DROP TABLE IF EXISTS guard; CREATE TABLE guard AS SELECT 'still here' AS t")
    return {"postgresql": jdbc_options(postgres), "sqlite": {"url": f"jdbc:sqlite:{file}"}}


def read(options: dict[str, str], query: str, params: Any, **more: str) -> list[dict[str, Any]]:
    source = JDBCArrowDataSource()
    given = {**options, "query": query, "params": json.dumps(params), **more}
    (spec,) = source.plan_partitions(given)
    return pa.Table.from_batches(
        source.read_partition(spec, given), source.infer_schema(given)
    ).to_pylist()


HOSTILE = [
    "'", "''", "\\", "\\'", "'; DROP TABLE guard; --", "\\'; DROP TABLE guard; --", "$$", "$a$",
    "*/", "/*", "--", ":a", ":b", "?", "%s", "%", "%%", "{env:HOME}", '"', "`", "\n", "\r\n--",
    "é'", "\u2019", "\U0001f600'", "E'", "\\\\'", "a\u00a0$x$", "",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE), max_size=4).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
)
# Where a place may stand; the text of the database's own beside it must come back as it is.
QUERIES = [
    "SELECT :a AS a, :b AS b, ':a' AS text FROM guard",
    "SELECT :a AS a /* :a ' */, -- it's :b\n :b AS b, ':a' AS text FROM guard",
    "SELECT %(a)s AS a,%(b)s AS b, ':a' AS text FROM guard WHERE '%(a)s' <> %(a)s||'x' -- %(c)s",
    "SELECT CAST(:a AS text) AS a,CAST(:b AS text)AS b,':a' AS text FROM guard WHERE 'x'<>:a||'yx'",
]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    database=st.sampled_from(DATABASES),
    query=st.sampled_from(QUERIES),
    values=st.tuples(TEXTS, TEXTS),
)
def test_any_text_comes_back_as_it_is(
    databases: dict[str, dict[str, str]], database: str, query: str, values: tuple[str, str]
) -> None:
    a, b = values
    rows = read(databases[database], query, {"a": a, "b": b}, engine="fallback")
    assert rows == [{"a": a, "b": b, "text": ":a"}]
    assert read(databases[database], "SELECT t FROM guard", {}) == [{"t": "still here"}]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.tuples(TEXTS, TEXTS), escapes=st.booleans())
def test_any_text_comes_back_whatever_a_backslash_means(
    databases: dict[str, dict[str, str]], values: tuple[str, str], escapes: bool
) -> None:
    conforming = f"SET standard_conforming_strings = {'off' if escapes else 'on'}"
    rows = read(
        databases["postgresql"],
        "SELECT ? AS a, ? AS b",
        values,
        sessionInitStatement=conforming,
    )
    assert rows == [{"a": values[0], "b": values[1]}]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("database", DATABASES)
def test_hostile_texts_on_each_engine(
    databases: dict[str, dict[str, str]], database: str, engine: str
) -> None:
    query = "SELECT " + ", ".join(f":p{i} AS c{i}" for i in range(len(HOSTILE))) + " FROM guard"
    params = {f"p{i}": text for i, text in enumerate(HOSTILE)}
    (row,) = read(databases[database], query, params, engine=engine)
    assert list(row.values()) == HOSTILE


@pytest.mark.mariadb
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.tuples(TEXTS, TEXTS), escapes=st.booleans())
def test_any_text_comes_back_from_mariadb(
    mariadb: str,
    jdbc_options: Callable[[str], dict[str, str]],
    values: tuple[str, str],
    escapes: bool,
) -> None:
    rows = read(
        jdbc_options(mariadb),
        "SELECT :a AS a, 1-:n AS n, -- it's :a\n # ' :b\n :b AS b, \"it's :a\" AS t, `x`.`:y` FROM"
        " (SELECT 1 AS `:y`) AS x LIMIT :n",
        {"a": values[0], "b": values[1], "n": 1},
        sessionInitStatement=f"SET sql_mode = '{'' if escapes else 'NO_BACKSLASH_ESCAPES'}'",
    )
    assert rows == [{"a": values[0], "n": 0, "b": values[1], "t": "it's :a", ":y": 1}]


@pytest.mark.mariadb
@pytest.mark.parametrize("query", [r"SELECT 'it\'s', :a, ''", r'SELECT "a\" :a \" b"'])
def test_what_mariadb_may_read_in_two_ways_is_refused(
    mariadb: str, jdbc_options: Callable[[str], dict[str, str]], query: str
) -> None:
    with pytest.raises(OptionError, match="a backslash before a quote"):
        read(jdbc_options(mariadb), query, {"a": "x"})


VALUES: list[tuple[str, Any, Any, str]] = [
    # as JSON, as Python, the type to cast it to on PostgreSQL
    ("int", 5, 5, "int4"),
    ("negative", -5, -5, "int4"),
    ("large", 2**63 - 1, 2**63 - 1, "int8"),
    ("small", -(2**63), -(2**63), "int8"),
    ("beyond 64 bits", 10**20, Decimal(10**20), "numeric(30)"),
    ("float", 0.1, 0.1, "float8"),
    ("tiny float", -5e-324, -5e-324, "float8"),
    ("bool", True, True, "bool"),
    ("null", None, None, "text"),
    ("decimal", {"decimal": "1.10"}, Decimal("1.10"), "numeric(5,2)"),
    ("negative decimal", {"decimal": "-1E-5"}, Decimal("-0.00001"), "numeric(9,5)"),
    ("date", {"date": "2024-02-29"}, dt.date(2024, 2, 29), "date"),
    ("time", {"time": "23:59:59.000001"}, dt.time(23, 59, 59, 1), "time"),
    (
        "timestamp",
        {"timestamp": "2024-03-31T02:30:00.5"},
        dt.datetime(2024, 3, 31, 2, 30, 0, 500000),
        "timestamp",
    ),
    (
        "instant",
        {"timestamp": "2024-03-31T02:30:00+05:30"},
        dt.datetime(2024, 3, 30, 21, tzinfo=dt.UTC),
        "timestamptz",
    ),
    ("binary", {"binary": "00ff27"}, b"\x00\xff'", "bytea"),
]


@pytest.mark.parametrize(
    ("value", "expected", "kind"), [v[1:] for v in VALUES], ids=[v[0] for v in VALUES]
)
def test_values_on_postgresql(
    databases: dict[str, dict[str, str]], postgres: str, value: Any, expected: Any, kind: str
) -> None:
    (row,) = read(databases["postgresql"], f"SELECT 1-:one AS one, :v::{kind} AS v",
                  {"v": value, "one": -1})  # fmt: skip
    assert row == {"one": 2, "v": expected}
    # The driver's own binding of the same value says the same.
    with psycopg.connect(postgres) as server:
        bound = server.execute(f"SELECT %s::{kind}", [expected]).fetchone()
    assert bound is not None
    assert bound[0] == expected or bound[0].astimezone(dt.UTC) == expected


SQLITE_VALUES = [5, -5, 2**63 - 1, 0.1, -1.5, 1e15, None, "a'b", b"\x00'\xff", dt.date(2024, 2, 29)]


@pytest.mark.parametrize("value", SQLITE_VALUES, ids=repr)
def test_values_on_sqlite(databases: dict[str, dict[str, str]], value: Any) -> None:
    typed: Any = value
    if isinstance(value, bytes):
        typed = {"binary": value.hex()}
    elif isinstance(value, dt.date):
        typed = {"date": value.isoformat()}
    (row,) = read(databases["sqlite"], "SELECT 1-:one AS one, :v AS v", {"v": typed, "one": -1})
    with closing(sqlite3.connect(":memory:")) as db:
        bound = value.isoformat() if isinstance(value, dt.date) else value
        assert (row["one"], row["v"]) == db.execute("SELECT 1 - ?, ?", (-1, bound)).fetchone()


@pytest.mark.parametrize("value", [{"decimal": "0.1"}, {"timestamp": "2024-01-01T00:00"},
                                   {"time": "12:00:00"}, 2**63], ids=repr)  # fmt: skip
def test_what_sqlite_stores_in_no_one_way_is_refused(
    databases: dict[str, dict[str, str]], value: Any
) -> None:
    with pytest.raises(OptionError, match=r"'params' has as 'v' a \w+ that SQLite has no literal"):
        read(databases["sqlite"], "SELECT :v AS v", {"v": value})


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize(
    "condition",
    [
        "t IN :list",
        "t IN (:list)",
        "t IN %(list)s",
        "t IN (%(list)s)",
        "t IN ( /* x */ :list )",
        "t IN ?",
        "t IN(?)",
    ],
)
def test_lists(databases: dict[str, dict[str, str]], database: str, condition: str) -> None:
    def count(values: Sequence[str]) -> int:
        params: Any = {"list": values} if "list" in condition else [values]
        query = f"SELECT count(*) AS n FROM guard WHERE {condition}"
        return int(read(databases[database], query, params)[0]["n"])

    assert count(["still here", "x'"]) == 1
    assert count(["still here"]) == 1
    assert count(["x", "y"]) == 0


def test_a_place_is_found_where_a_driver_would_find_it(
    databases: dict[str, dict[str, str]],
) -> None:
    server = databases["postgresql"]
    assert read(
        server,
        "SELECT (ARRAY[1,2,3])[1:n] AS a, :n::text AS b, n FROM generate_series(2, 2) AS n",
        {"n": 7},
    ) == [{"a": [1, 2], "b": "7", "n": 2}]
    assert read(server, "SELECT '{\"a\": 1}'::jsonb ? 'a' AS has, %s AS v", ["x"]) == [
        {"has": True, "v": "x"}
    ]
    assert read(server, "SELECT $x$ :a ? %s $x$ AS t, :a AS a", {"a": "1"}) == [
        {"t": " :a ? %s ", "a": "1"}
    ]
    assert read(server, r"SELECT E'it\'s' || :a AS a", {"a": "!"}) == [{"a": "it's!"}]
    assert read(server, 'SELECT :a AS ":a", 7 %sum(3) AS m', {"a": "1"}) == [{":a": "1", "m": 1}]
    file = databases["sqlite"]
    assert read(file, r"SELECT '\' || :a || '\' AS [a :b]", {"a": "x"}) == [{"a :b": "\\x\\"}]


@pytest.mark.parametrize(
    ("query", "params", "complaint"),
    [
        ("SELECT :a, :b, :c", {"b": 1}, "has no value for :a, :c of the query"),
        ("SELECT :a", {"a": 1, "b": 2}, "has 'b', for which the query has no place"),
        ("SELECT ':a'", {"a": 1}, "has 'a', for which .* without quotes around it"),
        ("SELECT 1", {"a": 1}, "has 'a', for which the query has no place"),
        ("SELECT ?, ?", [1], r"has 1 values in order, but the query has 2 places \(\?\)"),
        ("SELECT %s", [1, 2], r"has 2 values in order, but the query has 1 places \(%s\)"),
        ("SELECT :a", [1], "has 0 places.*by name, with :name"),
        ("SELECT ?", {"a": 1}, "has 'a', for which the query has no place"),
        ("SELECT '100%%' || %s", ["a"], "also %%"),
        ("SELECT '100%%' || %(a)s", {"a": "a"}, "also %%"),
        ("SELECT %(a)s", {"b": 1}, "has no value for :a of the query"),
        ("SELECT :a IN :b", {"a": 1, "b": []}, "has an empty list as 'b'"),
        ("SELECT :a IN :b", {"a": 1, "b": [1, None]}, "a list with a null .* as 'b'"),
        ("SELECT :a IN :b", {"a": 1, "b": [[1]]}, "a list with .* a list in it as 'b'"),
        ("SELECT :a", {"a": "x\0y"}, "has as 'a' a str that PostgreSQL has no literal"),
        ("SELECT :a", {"a": "\ud800"}, "has as 'a' a str that PostgreSQL has no literal"),
        ("SELECT :a", {"a": {"time": "12:00+01:00"}}, "has as 'a' a time that PostgreSQL"),
        ("SELECT :a", {"a": {"date": "2024-02-30"}}, "an object as 'a' that is no typed value"),
        ("SELECT ?", [{"when": "2024-02-28"}], "an object as value 1 that is no typed value"),
        ("SELECT :a", {"a b": 1}, "names 'a b'"),
        # Whether these are quoted is for a setting to say, or the text is broken.
        (r"SELECT 'a\' || :a || 'b'", {"a": "; --"}, "a backslash before a quote"),
        (r"SELECT 'a\' || :a", {"a": "; --"}, "a backslash before a quote"),
        ("SELECT E'a'\n'b\\' || :a || '", {"a": "x"}, "a backslash before a quote"),
        ("SELECT 'it''s || :a", {"a": 1}, "is not closed"),
        ("SELECT $x$ :a $y$", {"a": 1}, "is not closed"),
        ("SELECT :a /* /* */", {"a": 1}, "is not closed"),
    ],
)
def test_mistakes(
    databases: dict[str, dict[str, str]], query: str, params: Any, complaint: str
) -> None:
    with pytest.raises(OptionError, match=complaint):
        read(databases["postgresql"], query, params)


@pytest.mark.parametrize(
    "text", ["", "{", "1", '"a"', '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": Infinity}', "[" * 100000]
)
def test_what_is_no_json_of_values(databases: dict[str, dict[str, str]], text: str) -> None:
    options = {**databases["sqlite"], "query": "SELECT :a AS a", "params": text}
    with pytest.raises(OptionError, match="'params' is no JSON object or array"):
        JDBCArrowDataSource().infer_schema(options)


def test_a_float_that_no_literal_can_spell(databases: dict[str, dict[str, str]]) -> None:
    assert math.isinf(json.loads("1e999"))
    options = {**databases["postgresql"], "query": "SELECT :a AS a", "params": '{"a": 1e999}'}
    with pytest.raises(OptionError, match="a float that PostgreSQL has no literal"):
        JDBCArrowDataSource().infer_schema(options)


# ------------------------------------------------------------------------------------- table

NAMES = ["Orders", "order lines", 'a"b', "a`b", "a]b", "select", "it's; DROP TABLE guard", "ä.b"]


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_found_by_the_name_that_the_database_has(
    databases: dict[str, dict[str, str]], postgres: str, database: str, name: str
) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    options, schema = databases[database], "public"
    if database == "postgresql":
        with psycopg.connect(postgres, autocommit=True) as server:
            server.execute(f"DROP TABLE IF EXISTS {quoted}; CREATE TABLE {quoted} AS SELECT 7 AS n")
    else:
        schema = "main"
        with closing(sqlite3.connect(options["url"].removeprefix("jdbc:sqlite:"))) as db, db:
            db.execute(f"DROP TABLE IF EXISTS {quoted}")
            db.execute(f"CREATE TABLE {quoted} AS SELECT 7 AS n")
    plain = quoted if set('."`[]') & set(name) else name
    for spelt in (plain, quoted, f"{schema}.{plain}", f' "{schema}" . {quoted} '):
        source, given = JDBCArrowDataSource(), {**options, "table": spelt}
        (spec,) = source.plan_partitions(given)
        assert [batch.to_pylist() for batch in source.read_partition(spec, given)] == [[{"n": 7}]]


@pytest.mark.parametrize("name", ["a..b", ".", "a.", '"a', 'a"b', "a`b`", "[a]b"])
def test_what_is_no_name(databases: dict[str, dict[str, str]], name: str) -> None:
    with pytest.raises(OptionError, match="'table' must be a name, got"):
        JDBCArrowDataSource().infer_schema({**databases["sqlite"], "table": name})


def test_one_relation_is_read(databases: dict[str, dict[str, str]]) -> None:
    source, file = JDBCArrowDataSource(), databases["sqlite"]
    with pytest.raises(OptionError, match="'dbtable' and 'table' are both given"):
        source.infer_schema({**file, "dbtable": "guard", "table": "guard"})
    with pytest.raises(OptionError, match="'params' goes with 'query' alone"):
        source.infer_schema({**file, "table": "guard", "params": "[]"})
