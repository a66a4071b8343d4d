"""Each database that these tests read for real, under one interface."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


@dataclass(frozen=True)
class Database:
    """A real database that tests may write to.

    ``connect`` opens a connection of the database's own Python driver, in UTC and in autocommit;
    ``options`` are those of ``jdbc`` that find it; ``mark`` stands for a parameter in its SQL.
    """

    name: str
    engines: Sequence[str]
    options: dict[str, str]
    connect: Callable[[], Any]
    mark: str

    def run(self, *statements: str, rows: Sequence[Sequence[Any]] = ()) -> list[tuple[Any, ...]]:
        """Run statements, those with ``({})`` once for each row; returns the last one's rows."""
        with closing(self.connect()) as connection:
            cursor = connection.cursor()
            for statement in statements:
                if "({})" not in statement:
                    cursor.execute(statement)
                elif rows:
                    marks = ", ".join([self.mark] * len(rows[0]))
                    cursor.executemany(statement.replace("({})", f"({marks})"), rows)
            return list(cursor.fetchall()) if cursor.description else []


@contextmanager
def _postgresql(request: pytest.FixtureRequest) -> Iterator[Database]:
    import psycopg

    uri: str = request.getfixturevalue("postgres")

    def connect() -> Any:
        return psycopg.connect(uri, autocommit=True, options="-c search_path=every -c TimeZone=UTC")

    options = request.getfixturevalue("jdbc_options")(uri) | {"currentSchema": "every"}
    engines = ("connectorx", "adbc", "fallback")
    database = Database("postgresql", engines, options, connect, "%s")
    database.run("DROP SCHEMA IF EXISTS every CASCADE", "CREATE SCHEMA every")
    yield database
    database.run("DROP SCHEMA every CASCADE")


@contextmanager
def _mariadb(request: pytest.FixtureRequest) -> Iterator[Database]:
    import pymysql

    uri: str = request.getfixturevalue("mariadb")
    parts = urlsplit(uri)

    def connect(database: str | None = "every") -> Any:
        return pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=unquote(parts.password or ""),
            database=database,
            autocommit=True,
            charset="utf8mb4",
            init_command="SET time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'",
        )

    with closing(connect(None)) as connection:
        connection.cursor().execute("CREATE OR REPLACE DATABASE every CHARACTER SET utf8mb4")
    options = request.getfixturevalue("jdbc_options")(uri.rpartition("/")[0] + "/every")
    database = Database("mariadb", ("connectorx", "fallback"), options, connect, "%s")
    yield database
    database.run("DROP DATABASE every")


@contextmanager
def _sqlite(request: pytest.FixtureRequest) -> Iterator[Database]:
    path = request.getfixturevalue("tmp_path_factory").mktemp("every") / "every.db"

    def connect() -> Any:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
        return connection

    options = {"url": f"jdbc:sqlite:{path}"}
    yield Database("sqlite", ("connectorx", "adbc", "fallback"), options, connect, "?")


@contextmanager
def _duckdb(request: pytest.FixtureRequest) -> Iterator[Database]:
    import duckdb

    path = request.getfixturevalue("tmp_path_factory").mktemp("every") / "every.duckdb"

    def connect() -> Any:
        connection = duckdb.connect(str(path))
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    yield Database("duckdb", ("adbc", "fallback"), {"url": f"jdbc:duckdb:{path}"}, connect, "?")


_MADE = {"postgresql": _postgresql, "sqlite": _sqlite, "duckdb": _duckdb, "mariadb": _mariadb}


@pytest.fixture(scope="module")
def databases(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Database]]:
    """From a name to the database, with a place of its own for tables until the module ends."""
    with ExitStack() as opened:
        yield cache(lambda name: opened.enter_context(_MADE[name](request)))


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=pytest.mark.mariadb if n == "mariadb" else ()) for n in _MADE],
)
def database(request: pytest.FixtureRequest, databases: Callable[[str], Database]) -> Database:
    """Each of the databases in turn."""
    return databases(request.param)
