"""Our own sources keep the contract, as tested by the suite that authors of others use."""

from __future__ import annotations

import contextlib
import datetime as dt
import doctest
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pytest

from dask_sail.demo import make_shop
from dask_sail.testing import PythonDataSourceSuite

DOCS = Path(__file__).parent.parent.parent / "docs" / "howto"
DAYS = [dt.date(2024, 2, 29), dt.date(1969, 12, 31), None]
NAMES = ["it's", "", None, "a", "A", "a ", "ä"]
# Twelve rows that every database is given, and must give back; some of each column are null.
ROWS = [
    {
        "id": n,
        "big": None if n % 5 == 2 else 2**53 + n,
        "ratio": None if n % 4 == 3 else n / 8 - 0.5,
        "name": NAMES[n % 7],
        "day": DAYS[n % 3],
    }
    for n in range(1, 13)
]
TABLE = pa.Table.from_pylist(
    ROWS,
    pa.schema(
        [
            ("id", pa.int64()),
            ("big", pa.int64()),
            ("ratio", pa.float64()),
            ("name", pa.string()),
            ("day", pa.date32()),
        ]
    ),
)
CUT = {"partitionColumn": "id", "lowerBound": "1", "upperBound": "12", "numPartitions": "2"}


class JDBCSuite(PythonDataSourceSuite):
    """What the databases share."""

    @pytest.fixture
    def source(self) -> Any:
        return "jdbc"

    @pytest.fixture
    def expected(self) -> pa.Table | None:
        return TABLE

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        return {"numPartitions": "eight", "lowerBound": "soon", "fetchsize": "-2", "colour": "red"}

    @pytest.fixture
    def empty_options(self, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        left = {name: text for name, text in options.items() if name not in {*CUT, "dbtable"}}
        return {**left, "query": f"SELECT * FROM {options['dbtable']} WHERE id > 12"}


class TestSQLite(JDBCSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
        path = tmp_path_factory.mktemp("sqlite") / "t.db"
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute(
                "CREATE TABLE t"
                " (id INTEGER PRIMARY KEY, big INTEGER, ratio REAL, name TEXT, day DATE)"
            )
            db.executemany(
                "INSERT INTO t VALUES (:id, :big, :ratio, :name, :day)",
                [{**row, "day": row["day"] and row["day"].isoformat()} for row in ROWS],
            )
        return {"url": f"jdbc:sqlite:{path}", "dbtable": "t", **CUT}


@pytest.mark.parametrize("engine", ["adbc", "fallback"])
class TestDuckDB(JDBCSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def database(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        import duckdb

        path = tmp_path_factory.mktemp("duckdb") / "t.duckdb"
        with duckdb.connect(str(path)) as db:
            db.execute(
                "CREATE TABLE t (id BIGINT, big BIGINT, ratio DOUBLE, name VARCHAR, day DATE)"
            )
            db.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", [[*r.values()] for r in ROWS])
        return path

    @pytest.fixture
    def options(self, database: Path, engine: str) -> Mapping[str, Any]:
        return {"url": f"jdbc:duckdb:{database}", "dbtable": "t", "engine": engine, **CUT}


@pytest.mark.parametrize("engine", ["connectorx", "adbc", "fallback"])
class TestPostgreSQL(JDBCSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def database(
        cls, postgres: str, jdbc_options: Callable[[str], dict[str, str]]
    ) -> Iterator[dict[str, str]]:
        import psycopg

        with psycopg.connect(postgres, autocommit=True) as db:
            db.execute("DROP TABLE IF EXISTS conformance")
            db.execute(
                "CREATE TABLE conformance"
                " (id bigint PRIMARY KEY, big bigint, ratio float8, name text, day date)"
            )
            for row in ROWS:
                db.execute("INSERT INTO conformance VALUES (%s, %s, %s, %s, %s)", [*row.values()])
            yield {**jdbc_options(postgres), "dbtable": "conformance"}
            db.execute("DROP TABLE conformance")

    @pytest.fixture
    def options(self, database: dict[str, str], engine: str) -> Mapping[str, Any]:
        return {**database, "engine": engine, **CUT}


class TestPostgreSQLSnapshot(TestPostgreSQL):
    @pytest.fixture
    def options(self, database: dict[str, str], engine: str) -> Mapping[str, Any]:
        return {**database, "engine": engine, "snapshot": "true", **CUT}


@pytest.mark.mariadb
@pytest.mark.parametrize("engine", ["connectorx", "fallback"])
class TestMariaDB(JDBCSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def database(
        cls, mariadb: str, jdbc_options: Callable[[str], dict[str, str]]
    ) -> Iterator[dict[str, str]]:
        import pymysql

        parts = urlsplit(mariadb)
        with pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=unquote(parts.password or ""),
            database=parts.path[1:],
            autocommit=True,
        ) as connection:
            db = connection.cursor()
            db.execute(
                "CREATE OR REPLACE TABLE conformance (id bigint PRIMARY KEY, big bigint,"
                " ratio double, name varchar(20), day date) CHARACTER SET utf8mb4"
            )
            db.executemany(
                "INSERT INTO conformance VALUES (%s, %s, %s, %s, %s)", [[*r.values()] for r in ROWS]
            )
            options = {**jdbc_options(mariadb), "dbtable": "conformance", "sslMode": "disabled"}
            yield options
            db.execute("DROP TABLE conformance")

    @pytest.fixture
    def options(self, database: dict[str, str], engine: str) -> Mapping[str, Any]:
        return {**database, "engine": engine, **CUT}


class TestTheDemosShop(JDBCSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
        path = tmp_path_factory.mktemp("shop") / "shop.db"
        make_shop(path, 60)
        return {"url": f"jdbc:sqlite:{path}", "dbtable": "orders", "numPartitions": "3"}

    @pytest.fixture
    def expected(self) -> pa.Table | None:
        return None

    @pytest.fixture
    def empty_options(self, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return {"url": options["url"], "query": "SELECT * FROM orders WHERE id < 0"}


# ---------------------------------------------------------------- the sources of the docs


def blocks(page: str) -> list[str]:
    """The Python code of a page, block by block."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def howto(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the blocks that define the sources of a page leave behind, run in a folder."""
    wanted = ("folder =", *(f"class {name}" for name in DOCUMENTED))
    names: dict[str, Any] = {"__name__": "howto"}
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("howto"))
    try:
        for code in blocks("write-a-source.md"):
            if any(word in code for word in wanted):
                exec(code, names)
        names["folder"] = names["folder"].resolve()
    finally:
        os.chdir(before)
    return names


DOCUMENTED = (
    "Readings:",
    "NamedReadings(",
    "ScannedReadings(",
    "IndexedReadings(",
    "VersionedReadings(",
    "PoliteReadings(",
    "DescribedReadings(",
    "Versioned:",
)


@pytest.mark.parametrize("name", [name.rstrip(":(") for name in DOCUMENTED])
class TestTheHowTos(PythonDataSourceSuite):
    @pytest.fixture
    def source(self, howto: dict[str, Any], name: str) -> Any:
        return howto[name]

    @pytest.fixture
    def options(self, howto: dict[str, Any]) -> Mapping[str, Any]:
        return {"folder": howto["folder"]}

    @pytest.fixture
    def expected(self, name: str) -> pa.Table | None:
        if name == "Versioned":
            return pa.table({"version": ["version 7"] * 3})
        rows = [
            {"day": dt.date(2025, 1, day), "meter": meter, "kwh": f"{day * meter / 8}"}
            for day in range(1, 5)
            for meter in range(1, 4)
        ]
        table = pa.Table.from_pylist(rows)
        kinds = [("day", pa.date32()), ("meter", pa.int32()), ("kwh", pa.decimal128(10, 3))]
        return pa.table({name: table[name].cast(kind) for name, kind in kinds})

    @pytest.fixture
    def empty_options(self, name: str, tmp_path: Path) -> Mapping[str, Any] | None:
        return None if name in ("Versioned", "PoliteReadings") else {"folder": tmp_path}


def test_the_page_on_tests_is_true(tmp_path: Path) -> None:
    source, suite, broken = blocks("test-a-source.md")
    (tmp_path / "meters.py").write_text(source)
    (tmp_path / "test_meters.py").write_text(suite)
    plain = ["-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]

    def run() -> str:
        command = [sys.executable, *plain, str(tmp_path / "test_meters.py")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
        return done.stdout

    good = run()
    assert re.search(r"=+ \d\d passed, \d\d skipped", good), good
    assert "failed" not in good
    hasty = suite.replace("return Meters\n", "return HastyMeters\n")
    (tmp_path / "test_meters.py").write_text(f"from meters import Meters\n{broken}\n{hasty}")
    bad = run()
    text = (DOCS / "test-a-source.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert "= 1 failed, " in bad
    assert doctest.OutputChecker().check_output(f"...{shown}...", bad, doctest.ELLIPSIS), bad


def test_the_template_of_a_package_is_the_one_that_is_installed() -> None:
    text = (DOCS / "publish-a-source.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    outsider = (DOCS.parent.parent / "tests" / "outsider" / "pyproject.toml").read_text()
    assert tomllib.loads(shown) == tomllib.loads(outsider)
