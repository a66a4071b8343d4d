"""Statements that are no query are read whole, and their mistakes named where they stand."""

from __future__ import annotations

import pickle
import re

import pyarrow as pa
import pytest

from dask_sail.sqlengine import ddl
from dask_sail.sqlengine.errors import SQLNotSupportedError, SQLQueryError, SQLStatementError


def test_an_external_table_is_read_whole() -> None:
    statement = ddl.parse_statement(
        """
        create or replace external table if not exists "My Orders" (
            id BIGINT NOT NULL, amount decimal(10, 2), "at" timestamp, tags array<text>
        )
        stored as JDBC -- the source
        options ('url' 'jdbc:postgresql://h/d', user reader, 'password' = 'it''s ; --secret',
                 fetch.size 100, "pushDown" true)
        """.replace("user reader", "user 'reader'").replace('"pushDown"', "pushDown")
    )
    assert isinstance(statement, ddl.CreateTable)
    assert (statement.name.text, statement.name.quoted) == ("My Orders", True)
    assert (statement.stored_as, statement.replace, statement.if_not_exists) == ("jdbc", True, True)
    assert statement.options == {
        "url": "jdbc:postgresql://h/d",
        "user": "reader",
        "password": "it's ; --secret",
        "fetch.size": "100",
        "pushDown": "true",
    }
    assert statement.schema is not None
    assert statement.schema.names == ["id", "amount", "at", "tags"]
    assert statement.schema.field("id") == pa.field("id", pa.int64(), nullable=False)
    assert statement.schema.field("amount").type == pa.decimal128(10, 2)
    assert pa.types.is_timestamp(statement.schema.field("at").type)
    assert pa.types.is_list(statement.schema.field("tags").type)
    assert "secret" not in repr(statement)


def test_parquet_has_a_location_and_hive_partitions() -> None:
    statement = ddl.parse_statement(
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://lake/t/' PARTITIONED BY (y, m);"
    )
    assert isinstance(statement, ddl.CreateTable)
    assert (statement.stored_as, statement.location) == ("parquet", "s3://lake/t/")
    assert statement.partitioned_by == ("y", "m")
    assert not statement.replace


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("select 1;", ddl.Query),
        ("(select 1)", ddl.Query),
        ("WITH q AS (SELECT 1) SELECT * FROM q", ddl.Query),
        ("explain select 1", ddl.Explain),
        ("explain analyze verbose select 1", ddl.Explain),
        ("show tables", ddl.ShowTables),
        ("show columns from t", ddl.Describe),
        ("describe t", ddl.Describe),
        ("desc select 1", ddl.Describe),
        ("drop view if exists v", ddl.Drop),
        ("create view v as select 1", ddl.CreateView),
        ("-- a comment; with a semicolon\nselect ';'", ddl.Query),
        ("select 'a", ddl.Query),
    ],
)
def test_statements_are_told_apart(sql: str, kind: type) -> None:
    assert type(ddl.parse_statement(sql)) is kind


def test_the_query_within_a_statement_stays_where_it_is() -> None:
    sql = "create view\n  v as\n select a,\n b from t;"
    view = ddl.parse_statement(sql)
    assert isinstance(view, ddl.CreateView)
    assert view.sql.find("b from") == sql.find("b from")
    assert view.sql.count("\n") == sql.count("\n")
    assert view.sql.split() == ["select", "a,", "b", "from", "t"]


MISTAKES = [
    ("create external table t options ('a' 'b')", "STORED AS is missing"),
    ("create external table t stored as", "expected a name here"),
    ("create external table t stored as jdbc\noptions ('a' 'b' 'c' 'd')", r"',' or '\)'.*line 2"),
    ("create external table t stored as jdbc options ('a' b)", "value of option 'a' must be"),
    ("create external table t stored as jdbc options ('a' 'b', A 'c')", "'A' is given twice"),
    ("create external table t stored as jdbc options ('a'", "value of option 'a'"),
    ("create external table t stored as jdbc locaton 'x'", "expected STORED AS, LOCATION"),
    ("create external table t (a strin) stored as jdbc", "'strin' is no type"),
    ("create external table a.b stored as jdbc", "one part only"),
    ("drop table t u", "the statement should end here"),
    ("create view v", "expected AS here"),
    ("create view v as", "expected a query here"),
    ("", "no statement"),
    (" ; -- nothing", "no statement"),
    ("select 1; drop table t", "one statement at a time"),
]


@pytest.mark.parametrize(("sql", "complaint"), MISTAKES)
def test_a_mistake_is_named_with_its_place(sql: str, complaint: str) -> None:
    with pytest.raises(SQLQueryError) as raised:
        ddl.parse_statement(sql)
    assert re.search(complaint, str(raised.value), re.DOTALL), raised.value
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


@pytest.mark.parametrize(
    "sql",
    [
        "insert into t values (1)",
        "update t set a = 1",
        "copy t to 'x'",
        "delete from t",
        "set a = 1",
        "create table t as select 1",
        "create temporary table t (a int)",
        "create database d",
        "drop schema s",
        "show functions",
        "explain insert into t values (1)",
    ],
)
def test_what_would_change_data_is_refused(sql: str) -> None:
    with pytest.raises(SQLNotSupportedError):
        ddl.parse_statement(sql)


@pytest.mark.parametrize(
    "broken",
    [
        "create external table t stored as jdbc options ('password' 'hunter2' 'x')",
        "create external table t stored as jdbc options ('password' 'hunter2', b)",
        "create external table t stored as jdbc options ('password' 'hunter2')\nwith header",
        "create external table t stored as jdbc options ('a' 1, 'password' 'hunter2) foo",
        "create external table t stored as jdbc options ('password' $$hunter2$$, 'a')",
        "create external table t stored as jdbc options ('password' E'hunter2')",
        "create external table t stored as jdbc options (password hunter2)",
        "create external table t stored as jdbc options password hunter2",
        "create extrnal table t options (password hunter2)",
        "creat external table t stored as jdbc options ('password' 'hunter2')",
        "create externl table t stored as jdbc options ('password' 'hunter2')",
        "create external table t stored as jdbc options ('password' 'hunter2'); select 1",
        "copy t to 'x' options ('password' 'hunter2')",
    ],
)
def test_no_mistake_shows_the_value_of_an_option(broken: str) -> None:
    with pytest.raises(SQLQueryError) as raised:
        ddl.parse_statement(broken)
    assert "hunter2" not in f"{raised.value!r} {raised.value} {raised.value.__context__!r}"


def test_a_mistake_without_values_in_its_line_shows_the_line() -> None:
    with pytest.raises(SQLStatementError) as raised:
        ddl.parse_statement("create external table t\nstored in jdbc\noptions ('a' 'b')")
    assert str(raised.value).endswith("line 2, column 1:\n  stored in jdbc\n  ^")
