"""What push-down is on MariaDB alone: SQL modes, indexes on text, zero dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pyarrow as pa
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


def scanned(
    options: dict[str, str], predicates: Sequence[Predicate], limit: int | None = None
) -> tuple[pa.Table, list[Predicate]]:
    source = JDBCArrowDataSource()
    schema = source.infer_schema(options)
    scan = Scan(schema, schema.names, predicates, limit)
    specs, accepted = source.plan_scan(source.plan_partitions(options), options, scan)
    batches = [b for spec in specs for b in source.scan_partition(spec, options, scan)]
    return pa.Table.from_batches(batches, schema=schema), list(accepted)


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


@pytest.mark.parametrize("indexed", [False, True])
def test_an_index_answers_for_text(
    mariadb: str, db: Any, jdbc_options: Callable[[str], dict[str, str]], indexed: bool
) -> None:
    name = f"text_{indexed}".lower()
    db.execute(f"CREATE OR REPLACE TABLE {name} (t VARCHAR(20) {', KEY (t)' if indexed else ''})")
    db.executemany(f"INSERT INTO {name} VALUES (%s)", [("a",), ("A",), ("a ",), (None,)])
    rows = jdbc_options(mariadb) | {"dbtable": name}
    source = JDBCArrowDataSource()
    schema = source.infer_schema(rows)
    (spec,) = source.plan_partitions(rows)
    scan = Scan(schema, ("t",), [Predicate("t", "==", "A")])
    db.execute("EXPLAIN " + source.describe_partition(spec, rows, scan)["sql"].replace("%", "%%"))
    (plan,) = db.fetchall()
    assert plan[5] == ("t" if indexed else None)  # the key that is used
    assert source.describe_partition(spec, rows, scan)["rows"] == "all"
    assert scanned(rows, scan.predicates)[0]["t"].to_pylist() == ["A"]
    db.execute(f"DROP TABLE {name}")


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
