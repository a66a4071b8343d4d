"""What is pushed down, as the servers' own logs have it: the statements that truly arrived."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

import dask_sail

ENGINES = ("connectorx", "adbc", "fallback")


@dataclass(frozen=True)
class Logged:
    """Options of a read, and the SELECTs of a table that its server has logged since a mark."""

    options: dict[str, Any]
    log: Path
    table: str
    mark: Callable[[str], None]

    def frame(self, engine: str, **more: Any) -> Any:
        options = {"dbtable": self.table, "engine": engine} | self.options
        return dask_sail.read_python_source("jdbc", options=options, **more)

    def statements(self, compute: Callable[[], Any]) -> tuple[Any, list[str]]:
        """What a computation gives, and the SELECTs that read rows for it, each once."""
        begin = f"begin {time.monotonic_ns()}"
        self.mark(begin)
        result = compute()
        end = f"end {time.monotonic_ns()}"
        self.mark(end)
        deadline = time.monotonic() + 20
        while end not in (text := self.log.read_text(errors="replace")):
            assert time.monotonic() < deadline, "the server writes no log"
            time.sleep(0.02)
        lines = text.partition(begin)[2].partition(end)[0].splitlines()
        found = []
        for line in lines:
            select = re.search(rf"SELECT .*FROM (ONLY public.)?{self.table}.*", line)
            # Described, planned for a snapshot, or prepared: not what reads the rows.
            if select and not re.search(r"EXPLAIN|LIMIT 0$|Prepare\s|parse ", line):
                found.append(select[0].strip())
        return result, sorted(set(found))


@pytest.fixture(scope="module")
def postgresql(
    start_postgres: Callable[..., AbstractContextManager[str]],
    jdbc_options: Callable[[str], dict[str, str]],
) -> Iterator[Logged]:
    with ExitStack() as running:
        uri = running.enter_context(start_postgres(settings="-c log_statement=all"))
        with psycopg.connect(uri, autocommit=True) as db:
            db.execute("CREATE TABLE sales (id int, country text, amount numeric(9,2), at date)")
            db.execute(
                "INSERT INTO sales SELECT g, (ARRAY['DE', 'FR'])[g % 2 + 1], g / 4.0,"
                " date '2025-01-01' + g % 90 FROM generate_series(0, 999) g"
            )
            ((data,),) = db.execute("SHOW data_directory")
            yield Logged(
                jdbc_options(uri),
                Path(data).parent / "log",
                "sales",
                lambda text: db.execute(f"SELECT '{text}'") and None,
            )


@pytest.fixture(scope="module")
def mysql(mariadb: str, jdbc_options: Callable[[str], dict[str, str]]) -> Iterator[Logged]:
    import pymysql

    parts = urlsplit(mariadb)
    login = {"host": parts.hostname, "port": parts.port, "user": parts.username}
    password = unquote(parts.password or "")
    with pymysql.connect(**login, password=password, database="test", autocommit=True) as db:
        cursor = db.cursor()
        cursor.execute("DROP TABLE IF EXISTS sales")
        cursor.execute("CREATE TABLE sales (id int, country text, amount decimal(9,2), at date)")
        cursor.execute(
            "INSERT INTO sales SELECT seq, elt(seq % 2 + 1, 'DE', 'FR'), seq / 4.0,"
            " date '2025-01-01' + INTERVAL seq % 90 DAY FROM seq_0_to_999"
        )
        cursor.execute("SELECT @@datadir, @@general_log_file")
        ((home, name),) = cursor.fetchall()
        cursor.execute("SET GLOBAL general_log = 1")
        yield Logged(
            jdbc_options(mariadb),
            Path(home) / name,
            "sales",
            lambda text: cursor.execute(f"SELECT '{text}'") and None,
        )
        cursor.execute("SET GLOBAL general_log = 0")
        cursor.execute("DROP TABLE sales")


@pytest.fixture(
    params=[
        *(("postgresql", engine) for engine in ENGINES),
        pytest.param(("mysql", "connectorx"), marks=pytest.mark.mariadb),
        pytest.param(("mysql", "fallback"), marks=pytest.mark.mariadb),
    ],
    ids="-".join,
)
def server(request: pytest.FixtureRequest) -> tuple[Logged, str, str]:
    """The server, an engine, and how the server quotes a name."""
    name, engine = request.param
    return request.getfixturevalue(name), engine, '"' if name == "postgresql" else "`"


CUTS = {"partitionColumn": "id", "lowerBound": 0, "upperBound": 1000, "numPartitions": 10}


def local(frame: Any) -> Any:
    return frame.compute(scheduler="threads")


def test_columns_and_conditions_arrive(server: tuple[Logged, str, str]) -> None:
    logged, engine, q = server
    frame = logged.frame(engine)
    frame = frame[(frame.id >= 10) & (frame.id < 14)][["amount", "id"]]
    rows, statements = logged.statements(lambda: local(frame))
    assert sorted(rows.id) == [10, 11, 12, 13]
    (statement,) = statements
    items, _, rest = statement.partition(" FROM ")
    assert f"{q}amount{q}" in items
    assert f"{q}id{q}" in items
    assert "country" not in statement
    assert f"{q}at{q}" not in statement
    assert f"{q}id{q} >= 10" in rest
    assert f"{q}id{q} < 14" in rest


def test_a_limit_arrives(server: tuple[Logged, str, str]) -> None:
    logged, engine, _ = server
    frame = logged.frame(engine)
    rows, statements = logged.statements(lambda: frame.head(3))
    assert len(rows) == 3
    (statement,) = statements
    assert re.search(r"\bLIMIT 3\b", statement)


def test_rows_are_counted_where_they_are(server: tuple[Logged, str, str]) -> None:
    logged, engine, _ = server
    frame = logged.frame(engine, **CUTS)
    rows, statements = logged.statements(lambda: len(frame))
    assert rows == 1000
    assert len(statements) == 10
    assert all(one.startswith("SELECT count(*)") for one in statements)


def test_only_partitions_that_can_match_are_asked(server: tuple[Logged, str, str]) -> None:
    logged, engine, q = server
    frame = logged.frame(engine, **CUTS)
    rows, statements = logged.statements(lambda: local(frame[frame.id == 555]))
    assert rows.id.tolist() == [555]
    (statement,) = statements
    assert f"{q}id{q} >= 500 AND {q}id{q} < 600" in statement
    rows, statements = logged.statements(lambda: local(frame[(frame.id > 250) & (frame.id < 401)]))
    assert sorted(rows.id) == list(range(251, 401))
    assert len(statements) == 3
    rows, statements = logged.statements(lambda: local(frame[frame.id.isin([5, 999, 5000])]))
    assert sorted(rows.id) == [5, 999]
    assert len(statements) == 2
    rows, statements = logged.statements(lambda: local(frame[frame.id.isnull()]))
    assert len(rows) == 0
    assert len(statements) == 1
    assert f"{q}id{q} IS NULL" in statements[0]


def test_what_the_server_would_compare_otherwise_stays_here(
    server: tuple[Logged, str, str],
) -> None:
    logged, engine, _ = server
    frame = logged.frame(engine)
    rows, statements = logged.statements(lambda: local(frame[frame.country < "E"]))
    assert set(rows.country) == {"DE"}
    (statement,) = statements
    assert "WHERE" not in statement


def test_a_switch_keeps_everything_here(server: tuple[Logged, str, str]) -> None:
    logged, engine, _ = server
    frame = logged.frame(engine, **CUTS, pushDownPredicate=False)
    rows, statements = logged.statements(lambda: local(frame[frame.id == 555]))
    assert rows.id.tolist() == [555]
    assert len(statements) == 10
    assert not any("555" in one for one in statements)


@pytest.mark.parametrize("engine", ENGINES)
def test_pages_arrive_as_they_were_planned(postgresql: Logged, engine: str) -> None:
    frame = postgresql.frame(engine, partitioning="physical", snapshot=True, numPartitions=3)
    assert frame.npartitions == 3
    rows, statements = postgresql.statements(lambda: local(frame[frame.id < 5][["id"]]))
    assert sorted(rows.id) == [0, 1, 2, 3, 4]
    assert len(statements) == 3
    for statement in statements:
        assert "FROM ONLY public.sales WHERE ctid" in statement
        assert '"id" < 5' in statement
        assert "amount" not in statement
