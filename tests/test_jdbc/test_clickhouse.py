"""ClickHouse's own engine, in a process of its own behind HTTP, read by clickhouse-connect."""

from __future__ import annotations

import datetime as dt
import math
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dask_sail
from jdbc import ColumnValueError, JDBCArrowDataSource, OptionError, QueryError
from jdbc.dialects import dialect_for

pytestmark = pytest.mark.drivers
UTC = dt.UTC
NOON = dt.datetime(2025, 1, 31, 12, 0, 0, 123456, UTC)


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a ClickHouse that tests may write to."""
    import clickhouse_connect

    program = Path(__file__).with_name("clickhouse_stand_in.py")
    folder = tmp_path_factory.mktemp("clickhouse")
    with subprocess.Popen(
        [sys.executable, program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        client = clickhouse_connect.get_client(host="127.0.0.1", port=port, query_retries=0)
        client.command("CREATE TABLE seq (id Nullable(Int32), f Float64, k String, d Date32)"
                       " ENGINE = MergeTree ORDER BY tuple()")  # fmt: skip
        client.command(
            "INSERT INTO seq SELECT number, number / 7, concat('k', toString(number % 5)),"
            " toDate32('2024-01-01') + number FROM numbers(500)"
        )
        client.command(
            "INSERT INTO seq VALUES (NULL, nan, '', '1900-01-01'), (-5, inf, 'K3', '2299-12-31')"
        )
        yield client
        client.close()
        process.stdin.close()
        process.wait(30)


def options(client: Any, **given: str) -> dict[str, str]:
    port = client.url.rpartition(":")[2].rstrip("/")
    return {"url": f"jdbc:clickhouse://127.0.0.1:{port}", **given}


def read(given: dict[str, str]) -> pa.Table:
    source = JDBCArrowDataSource()
    schema = source.infer_schema(given)
    specs = source.plan_partitions(given)
    batches = [batch for spec in specs for batch in source.read_partition(spec, given)]
    return pa.Table.from_batches(batches, schema)


_DECIMAL = "1234567890123456789012345678.0123456789"
_UUID = "61f0c404-5cb3-11e7-907b-a6006ad3dba0"
LAST_SECOND = dt.datetime(2299, 12, 31, 23, 59, 59, tzinfo=UTC)


def days(*texts: str) -> list[tuple[str, Any]]:
    return [(f"'{text}'", dt.date.fromisoformat(text)) for text in texts]


# By type: values as SQL and as Python has them.
VALUES: dict[str, tuple[pa.DataType, list[tuple[str, Any]]]] = {
    "Bool": (pa.bool_(), [("true", True), ("false", False)]),
    "Int8": (pa.int8(), [("-128", -128), ("127", 127)]),
    "UInt8": (pa.uint8(), [("255", 255)]),
    "Int16": (pa.int16(), [("-32768", -(2**15))]),
    "UInt16": (pa.uint16(), [("65535", 2**16 - 1)]),
    "Int32": (pa.int32(), [("-2147483648", -(2**31))]),
    "UInt32": (pa.uint32(), [("4294967295", 2**32 - 1)]),
    "Int64": (pa.int64(), [("-9223372036854775808", -(2**63))]),
    "UInt64": (pa.uint64(), [("18446744073709551615", 2**64 - 1)]),
    "Int128": (pa.decimal256(76, 0), [(f"'{-(2**127)}'", Decimal(-(2**127)))]),
    "UInt128": (pa.decimal256(76, 0), [(f"'{2**128 - 1}'", Decimal(2**128 - 1))]),
    "Int256": (pa.string(), [(f"'{-(2**255)}'", f"{-(2**255)}")]),
    "Float32": (pa.float32(), [("0.1", 0.10000000149011612), ("inf", math.inf)]),
    "Float64": (pa.float64(), [("0.1", 0.1), ("-1.7e308", -1.7e308), ("-inf", -math.inf)]),
    "Decimal(9, 2)": (pa.decimal128(9, 2), [("'1234567.89'", Decimal("1234567.89"))]),
    "Decimal(38, 10)": (pa.decimal128(38, 10), [(f"'{_DECIMAL}'", Decimal(_DECIMAL))]),
    "Decimal(76, 3)": (pa.decimal256(76, 3), [(f"'{'9' * 73}.125'", Decimal(f"{'9' * 73}.125"))]),
    "String": (
        pa.string(),
        [("''", ""), (r"'it\'s \\ ä 😀'", "it's \\ ä 😀"), (r"'a\0b'", "a\0b")],
    ),
    "LowCardinality(Nullable(String))": (pa.string(), [("'a'", "a")]),
    "FixedString(3)": (pa.binary(), [("'a'", b"a\0\0")]),
    "Date": (pa.date32(), days("1970-01-01", "2149-06-06")),
    "Date32": (pa.date32(), days("1900-01-01", "2299-12-31")),
    "DateTime('UTC')": (
        pa.timestamp("s", "UTC"),
        [("'1970-01-01 00:00:00'", dt.datetime(1970, 1, 1, tzinfo=UTC))],
    ),
    "DateTime('America/New_York')": (
        pa.timestamp("s", "UTC"),
        # The second 01:30 of that night: its wall clock stands for two instants.
        [("toDateTime(1730615400)", dt.datetime(2024, 11, 3, 6, 30, tzinfo=UTC))],
    ),
    "DateTime64(0, 'UTC')": (
        pa.timestamp("s", "UTC"),
        [("'2299-12-31 23:59:59'", LAST_SECOND)],
    ),
    "DateTime64(3, 'Asia/Tokyo')": (
        pa.timestamp("ms", "UTC"),
        [("'2025-01-31 21:00:00.123'", NOON.replace(microsecond=123000))],
    ),
    "DateTime64(6, 'UTC')": (pa.timestamp("us", "UTC"), [("'2025-01-31 12:00:00.123456'", NOON)]),
    "UUID": (pa.string(), [(f"'{_UUID}'", _UUID)]),
    "IPv4": (pa.string(), [("'127.0.0.1'", "127.0.0.1")]),
    "IPv6": (pa.string(), [("'::1'", "::1")]),
    "Enum8('a)(, \\'x' = 1, 'b' = 2)": (pa.string(), [(r"'a)(, \'x'", "a)(, 'x")]),
    # Printed as ClickHouse's own toString does.
    "Array(Int32)": (pa.string(), [("[1, 2]", "[1,2]")]),
    "Map(String, Int8)": (pa.string(), [("{'a': 1}", "{'a':1}")]),
    "Tuple(a Int8, b String)": (pa.string(), [("(1, 'x')", "(1,'x')")]),
}
NEVER_NULL = ("Array", "Map", "Tuple", "LowCardinality")
_ROWS = 3


@pytest.fixture(scope="module", params=[False, True], ids=["", "with NULLs"])
def typed(clickhouse: Any, request: pytest.FixtureRequest) -> tuple[pa.Table, pa.Table]:
    """Every type in one table, read; and what is read of it where no row is wanted."""
    kinds = {
        kind: f"Nullable({kind})" if request.param and not kind.startswith(NEVER_NULL) else kind
        for kind in VALUES
    }
    columns = ", ".join(f"c{place} {kind}" for place, kind in enumerate(kinds.values()))
    clickhouse.command("DROP TABLE IF EXISTS typed")
    clickhouse.command(f"CREATE TABLE typed (n Int8, {columns}) ENGINE = MergeTree ORDER BY n")
    for n in range(_ROWS + request.param):
        row = [values[min(n, len(values) - 1)][0] for _, values in VALUES.values()]
        if n == _ROWS:
            nullable = ("Nullable" in kind for kind in kinds.values())
            row = ["NULL" if may else sql for may, sql in zip(nullable, row, strict=True)]
        clickhouse.command(f"INSERT INTO typed VALUES ({n}, {', '.join(row)})")
    some = read(options(clickhouse, dbtable="typed")).sort_by("n")
    return some, read(options(clickhouse, query="SELECT * FROM typed WHERE 1 = 0"))


@pytest.mark.parametrize("kind", VALUES)
def test_every_type_comes_exactly(typed: tuple[pa.Table, pa.Table], kind: str) -> None:
    (found, empty), (arrow, values) = typed, VALUES[kind]
    column = found[f"c{list(VALUES).index(kind)}"]
    assert column.type == arrow
    expected = [values[min(n, len(values) - 1)][1] for n in range(_ROWS)]
    assert column.to_pylist()[:_ROWS] == expected
    may_be_null = not kind.startswith(NEVER_NULL) or "Nullable" in kind
    assert column.to_pylist()[_ROWS:] in ([], [None] if may_be_null else expected[-1:])
    assert (empty.num_rows, empty.schema) == (0, found.schema)


def test_nanoseconds_come_whole(clickhouse: Any) -> None:
    query = "SELECT toDateTime64('2025-01-31 12:00:00.123456789', 9, 'UTC') AS c"
    (value,) = read(options(clickhouse, query=query))["c"]
    assert value.type == pa.timestamp("ns", "UTC")
    assert value.value == int(NOON.replace(microsecond=0).timestamp()) * 10**9 + 123_456_789


def test_a_text_that_is_no_utf8_is_an_error_and_can_be_read_as_bytes(clickhouse: Any) -> None:
    given = options(clickhouse, query="SELECT unhex('ff00') AS c")
    with pytest.raises(ColumnValueError, match="'c' holds bytes that are no UTF-8"):
        read(given)
    assert read({**given, "customSchema": "c BINARY"})["c"].to_pylist() == [b"\xff\0"]


@given(low=st.integers(-600, 600), width=st.integers(0, 900), count=st.integers(1, 6))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_row_is_read_once(clickhouse: Any, low: int, width: int, count: int) -> None:
    cut = {"lowerBound": f"{low}", "upperBound": f"{low + width}", "numPartitions": f"{count}"}
    given = options(clickhouse, dbtable="seq", partitionColumn="id", **cut)
    assert Counter(read(given)["id"].to_pylist()) == Counter([*range(500), None, -5])


def test_days_are_cut_and_floats_are_not(clickhouse: Any) -> None:
    cut = {"lowerBound": "2024-03-01", "upperBound": "2024-11-01", "numPartitions": "5"}
    days = options(clickhouse, dbtable="seq", partitionColumn="d", **cut)
    assert len(JDBCArrowDataSource().plan_partitions(days)) == 5
    assert read(days).num_rows == 502
    # NaN would be in no range.
    floats = {**days, "partitionColumn": "f", "lowerBound": "0", "upperBound": "70"}
    with pytest.raises(OptionError, match="may hold NaN"):
        read(floats)


def rows_of(frame: Any) -> Counter[Any]:
    # By what they look like, as NaN is not equal to itself.
    return Counter(
        map(repr, pa.Table.from_pandas(frame.compute(), preserve_index=False).to_pylist())
    )


@pytest.mark.parametrize(
    ("condition", "pushes"),
    [
        (lambda f: f.id >= 490, True),
        (lambda f: f.id != 3, True),
        (lambda f: ~f.id.isin([1, 2, 400]), True),
        (lambda f: f.f > 71.0, True),
        (lambda f: f.f != 1.0, True),
        (lambda f: f.f < 0.5, True),
        (lambda f: f.k == "k3", True),
        (lambda f: f.k < "k1", True),
        (lambda f: f.k == "it's \\ none", True),
        (lambda f: f.d == dt.date(2299, 12, 31), False),
        (lambda f: f.d > dt.date(2025, 5, 1), True),
        (lambda f: f.d >= dt.date(1800, 1, 1), False),
        (lambda f: f.id.isna(), True),
    ],
    ids=range(13),
)
def test_pushed_or_not_the_rows_are_the_same(clickhouse: Any, condition: Any, pushes: bool) -> None:
    given = options(clickhouse, dbtable="seq")
    asked = dask_sail.read_python_source("jdbc", options=given)
    kept = dask_sail.read_python_source("jdbc", options=given, pushDownPredicate=False)
    wanted = asked[condition(asked)]
    (planned,) = wanted.sail.inspect().reads
    assert bool(planned.pushed) == pushes
    assert rows_of(wanted) == rows_of(kept[condition(kept)])
    assert len(wanted) == len(kept[condition(kept)])


def test_limits_and_counts(clickhouse: Any) -> None:
    frame = dask_sail.read_python_source("jdbc", options=options(clickhouse, dbtable="seq"))
    assert len(frame) == 502
    assert len(frame.head(7)) == 7


def test_rows_come_in_batches(clickhouse: Any) -> None:
    source = JDBCArrowDataSource()
    given = options(clickhouse, query="SELECT number AS n FROM numbers(10000)", fetchsize="1000")
    (spec,) = source.plan_partitions(given)
    sizes = [batch.num_rows for batch in source.read_partition(spec, given)]
    assert sum(sizes) == 10_000
    assert max(sizes) <= 1000


def test_an_odd_name_is_read(clickhouse: Any) -> None:
    name = "a`b\\c \"d' ;--"
    clickhouse.command("DROP TABLE IF EXISTS odd")
    spelt = name.replace("\\", "\\\\").replace("`", "\\`")
    clickhouse.command(f"CREATE TABLE odd (`{spelt}` Int32) ENGINE = MergeTree ORDER BY tuple()")
    clickhouse.command("INSERT INTO odd VALUES (7)")
    assert read(options(clickhouse, dbtable="odd")).to_pylist() == [{name: 7}]


def test_queries_cannot_write(clickhouse: Any) -> None:
    query = "SELECT CAST(getSetting('readonly'), 'Int32') AS a"
    assert read(options(clickhouse, query=query))["a"].to_pylist() == [2]


def test_a_decimal_is_compared_digit_by_digit(clickhouse: Any) -> None:
    # As doubles, all of these would be equal.
    numbers = [Decimal(f"1234567890123456789.{digit}") for digit in range(10)]
    clickhouse.command("DROP TABLE IF EXISTS exact")
    clickhouse.command("CREATE TABLE exact (c Decimal(38, 10)) ENGINE = MergeTree ORDER BY c")
    clickhouse.command(f"INSERT INTO exact VALUES {', '.join(f'({number})' for number in numbers)}")
    frame = dask_sail.read_python_source("jdbc", options=options(clickhouse, dbtable="exact"))
    wanted = frame[frame.c == numbers[4]]
    (planned,) = wanted.sail.inspect().reads
    assert planned.pushed
    assert [value.normalize() for value in wanted.c.compute()] == [numbers[4]]
    assert len(frame[frame.c > numbers[4]]) == 5


def test_a_double_is_compared_bit_by_bit(clickhouse: Any) -> None:
    literal = dialect_for("clickhouse").literal
    random = Random(7)
    packed = [random.randbytes(8) for _ in range(500)]
    values = [value for (value,) in map(struct.Struct("<d").unpack, packed) if math.isfinite(value)]
    pairs = (
        f"({literal(value, pa.float64())}, unhex('{struct.pack('<d', value).hex()}'))"
        for value in values
        if abs(value) > 1e-307
    )
    rows = f"SELECT arrayJoin([{', '.join(pairs)}]) AS pair"
    wrong = f"SELECT count() FROM ({rows}) WHERE pair.1 != reinterpretAsFloat64(pair.2)"
    assert clickhouse.query(wrong).result_rows == [(0,)]


def test_errors_name_the_database_and_hold_no_password(clickhouse: Any) -> None:
    given = options(clickhouse, dbtable="no_such", user="u", password="hunter2")
    with pytest.raises(QueryError, match=r"clickhouse at 127.0.0.1:\d+: .*no_such") as raised:
        read(given)
    assert "hunter2" not in repr(raised.value)
    assert not raised.value.transient


def test_a_query_is_ended_after_querytimeout(clickhouse: Any) -> None:
    query = "SELECT sum(sleepEachRow(0.1)) AS a FROM numbers(600)"
    given = options(clickhouse, query=query, queryTimeout="1")
    begun = time.monotonic()
    with pytest.raises(QueryError) as raised:
        read(given)
    assert raised.value.sqlstate == "57014"
    assert time.monotonic() - begun < 20
    assert threading.active_count() < 50
