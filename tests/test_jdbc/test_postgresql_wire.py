"""Redshift and CockroachDB, for whose protocol a real PostgreSQL stands in.

What of PostgreSQL they lack, these tests cannot see; that the rows come exactly, they can.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dask_sail
from jdbc import ConnectError, JDBCArrowDataSource, QueryError

BOTH = pytest.mark.parametrize("name", ["redshift", "cockroachdb"])
NOON = dt.datetime(2025, 1, 31, 12, 0, 0, 123456)
_38 = "1234567890123456789012345678.0123456789"
# Values as SQL, and as Python has them.
VALUES: dict[str, list[tuple[str, Any]]] = {
    "bool": [("true", True), ("false", False)],
    "int2": [("-32768", -(2**15)), ("32767", 2**15 - 1)],
    "int4": [("-2147483648", -(2**31)), ("2147483647", 2**31 - 1)],
    "int8": [("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1)],
    "float4": [("0.1", 0.10000000149011612), ("3.4028235e38", 3.4028234663852886e38)],
    "float8": [("0.1", 0.1), ("5e-324", 5e-324), ("1.7e308", 1.7e308)],
    "numeric(38,10)": [
        (_38, Decimal(_38)),
        ("-0.0000000001", Decimal("-0.0000000001")),
    ],
    "text": [("''", ""), ("E'it''s \\\\ \u00e4 \U0001f600'", "it's \\ \u00e4 \U0001f600")],
    "varchar(9)": [("'a  '", "a  ")],
    "date": [("'0001-01-01'", dt.date(1, 1, 1)), ("'9999-12-31'", dt.date(9999, 12, 31))],
    "time": [("'23:59:59.999999'", dt.time(23, 59, 59, 999999))],
    "timestamp": [(f"'{NOON}'", NOON), ("'0001-01-01'", dt.datetime(1, 1, 1))],
    "timestamptz": [(f"'{NOON}+05:30'", NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=5.5))))],
}  # fmt: skip


@pytest.fixture(scope="module")
def options(
    postgres: str, jdbc_options: Callable[[str], dict[str, str]]
) -> Iterator[Callable[..., dict[str, str]]]:
    with psycopg.connect(postgres, autocommit=True) as db:
        columns = ", ".join(f'"{kind}" {kind}' for kind in VALUES)
        db.execute(f"DROP TABLE IF EXISTS wire_types; CREATE TABLE wire_types ({columns})")
        for kind, values in VALUES.items():
            for sql, _ in values:
                db.execute(f'INSERT INTO wire_types ("{kind}") VALUES ({sql})'.encode())
        db.execute("DROP TABLE IF EXISTS wire")
        db.execute(
            "CREATE TABLE wire AS SELECT n AS id, n / 7.0::float8 AS f, 'k' || n % 5 AS k,"
            " date '2024-01-01' + n AS day FROM generate_series(0, 499) AS n"
        )
        db.execute("INSERT INTO wire VALUES (NULL, 'NaN', NULL, NULL), (-5, NULL, '', NULL)")
        db.execute("ALTER DATABASE " + db.info.dbname + " SET TimeZone = 'America/New_York'")

    def given_for(name: str, **more: str) -> dict[str, str]:
        base = jdbc_options(postgres)
        return {**base, "url": base["url"].replace("postgresql", name), **more}

    yield given_for
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP TABLE wire; DROP TABLE wire_types")
        db.execute("ALTER DATABASE " + db.info.dbname + " RESET TimeZone")


def read(given: dict[str, str]) -> pa.Table:
    source = JDBCArrowDataSource()
    schema = source.infer_schema(given)
    specs = source.plan_partitions(given)
    assert {spec["engine"] for spec in specs} == {"fallback"}
    batches = [batch for spec in specs for batch in source.read_partition(spec, given)]
    return pa.Table.from_batches(batches, schema)


@BOTH
def test_every_type_comes_exactly_from_a_postgresql_that_stands_in(
    name: str, options: Callable[..., dict[str, str]]
) -> None:
    table = read(options(name, dbtable="wire_types"))
    assert table.num_rows == sum(map(len, VALUES.values()))
    for kind, values in VALUES.items():
        found = [value for value in table[kind].to_pylist() if value is not None]
        assert found == [value for _, value in values], kind
    assert table.schema.field("numeric(38,10)").type == pa.decimal128(38, 10)
    assert table.schema.field("timestamptz").type == pa.timestamp("us", "UTC")


def test_what_redshift_cannot_print_is_an_error_and_cockroachdb_prints_it(
    options: Callable[..., dict[str, str]],
) -> None:
    query = "SELECT ARRAY[1, 2] AS a, '{\"b\": 1}'::jsonb AS b, interval '1 mon 2 d' AS c"
    printed = read(options("cockroachdb", query=query))
    assert printed.to_pylist() == [{"a": "{1,2}", "b": '{"b": 1}', "c": "1 mon 2 days"}]
    with pytest.raises(TypeError, match=r"column 'a' is of type int4\[\].*cast it in a query"):
        read(options("redshift", query=query))


@BOTH
@given(low=st.integers(-600, 600), width=st.integers(0, 900), count=st.integers(1, 7))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_row_is_read_once_from_a_postgresql_that_stands_in(
    name: str, options: Callable[..., dict[str, str]], low: int, width: int, count: int
) -> None:
    cut = {"lowerBound": f"{low}", "upperBound": f"{low + width}", "numPartitions": f"{count}"}
    ids = read(options(name, dbtable="wire", partitionColumn="id", **cut))["id"].to_pylist()
    assert Counter(ids) == Counter([*range(500), None, -5])


@BOTH
def test_days_are_cut_on_a_postgresql_that_stands_in(
    name: str, options: Callable[..., dict[str, str]]
) -> None:
    cut = {"lowerBound": "2024-03-01", "upperBound": "2024-11-01", "numPartitions": "5"}
    given = options(name, dbtable="wire", partitionColumn="day", **cut)
    assert len(JDBCArrowDataSource().plan_partitions(given)) == 5
    assert read(given).num_rows == 502


@BOTH
def test_conditions_limits_and_counts_on_a_postgresql_that_stands_in(
    name: str, options: Callable[..., dict[str, str]]
) -> None:
    frame = dask_sail.read_python_source("jdbc", options=options(name, dbtable="wire"))
    wanted = frame[(frame.id >= 490) & (frame.day < dt.date(2025, 5, 10))]
    (planned,) = wanted.sail.inspect().reads
    assert len(planned.pushed) == 2
    assert sorted(wanted.id.compute()) == list(range(490, 495))
    assert len(frame) == 502
    assert len(frame.head(7)) == 7
    # Texts are compared by the worker, by what they are and not by a collation.
    texts = frame[frame.k == "k3"]
    (planned,) = texts.sail.inspect().reads
    assert not planned.pushed
    assert len(texts) == 100
    assert len(frame[frame.k == ""]) == 1
    assert sorted(frame[frame.f > 71].id.compute().dropna()) == [498, 499]


@BOTH
def test_sessions_cannot_write_to_a_postgresql_that_stands_in(
    name: str, options: Callable[..., dict[str, str]]
) -> None:
    # Described, a function that writes is only prepared; run, it is refused.
    with pytest.raises(QueryError, match="read-only transaction") as raised:
        read(options(name, query="SELECT lo_create(0)::int8 AS a"))
    assert name in f"{raised.value}"


@BOTH
def test_a_query_is_ended_after_querytimeout(
    name: str, options: Callable[..., dict[str, str]]
) -> None:
    query = "SELECT pg_sleep(30)::text AS a FROM generate_series(1, 3)"
    given = options(name, query=query, queryTimeout="1")
    begun = time.monotonic()
    with pytest.raises(QueryError) as raised:
        read(given)
    assert raised.value.sqlstate == "57014"
    assert time.monotonic() - begun < 10


@BOTH
def test_a_read_is_cancelled_from_another_thread(
    name: str, options: Callable[..., dict[str, str]]
) -> None:
    source = JDBCArrowDataSource()
    given = options(name, query="SELECT pg_sleep(60)::text AS a")
    (spec,) = source.plan_partitions(given)
    timer = threading.Timer(1, source.cancel)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(QueryError, match="cancel"):
        list(source.read_partition(spec, given))
    timer.join()
    assert time.monotonic() - begun < 20


@BOTH
def test_a_wrong_password_is_told_without_it(
    name: str, options: Callable[..., dict[str, str]]
) -> None:
    with pytest.raises(ConnectError, match="password authentication failed") as raised:
        read(options(name, dbtable="wire", password="hunter2"))
    assert "hunter2" not in repr(raised.value)
    assert not raised.value.transient
    assert raised.value.sqlstate in (None, "28P01")


@BOTH
def test_an_error_of_the_server_has_its_sqlstate(
    name: str, options: Callable[..., dict[str, str]]
) -> None:
    with pytest.raises(QueryError, match="does not exist") as raised:
        read(options(name, dbtable="no_such_table"))
    assert raised.value.sqlstate == "42P01"
    with pytest.raises(QueryError, match="division by zero") as raised:
        read(options(name, query="SELECT 1 / (id - 400) AS a FROM wire"))
    assert raised.value.sqlstate == "22012"
