"""Ranges: Spark's cuts, and every row in exactly one of them."""

from __future__ import annotations

import json
import math
import operator
import pickle
import re
import sqlite3
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jdbc.errors import OptionError
from jdbc.options import JDBCOptions
from jdbc.partitioning import (
    Range,
    bound_value,
    find_column,
    parse_bound,
    plan_ranges,
    range_condition,
    ranges_between,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "spark_partition_vectors.json").read_text(
        encoding="utf-8"
    )
)
# By note; the reasons are in docs/adr/0003-partition-cuts.md.
LEFT_ON_PURPOSE = {
    "DST fall back inside days",
    "DST spring forward LA",
    "lower bound in the DST gap",
    "DST fall back Berlin",
    "LMT transition",
    "date: 5-digit year",
    "caseSensitive=true -> not found",
    "blank dbtable (only isEmpty is tested, then trim)",
    "batchsize 0",
}
TYPES = {
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "TIMESTAMP_NTZ": pa.timestamp("us"),
    "TIME(6)": pa.time64("us"),
    "INTERVAL DAY TO SECOND": pa.duration("us"),
}
NAIVE, ZONED = pa.timestamp("us"), pa.timestamp("us", "UTC")
DAY = timedelta(days=1) // timedelta(microseconds=1)


def arrow_type(spark: str) -> pa.DataType:
    if found := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", spark):
        return pa.decimal128(int(found[1]), int(found[2]))
    return TYPES[spark]


def cuts_of(vector: dict[str, Any]) -> list[int]:
    """The cuts that our options, bounds and ranges give."""
    options = {
        "url": "jdbc:postgresql://h/d",
        "dbtable": "t",
        "partitionColumn": vector["column"],
        "lowerBound": vector["lower"],
        "upperBound": vector["upper"],
        "numPartitions": str(vector["num_partitions"]),
    }
    for name in vector.get("dropped_options", ()):
        del options[name]
    given = JDBCOptions.parse(options | vector.get("extra_options", {}))
    if given.partition_column is None:
        return []
    name = re.match(r"`(.*)` ", vector["table_schema"])[1]
    assert find_column(given.partition_column, [name]) == name
    bounds = [
        parse_bound(text, arrow_type(vector["column_type"]), option)
        for option, text in (("lowerBound", given.lower_bound), ("upperBound", given.upper_bound))
    ]
    ranges = plan_ranges(*bounds, given.num_partitions)
    assert [piece.nulls for piece in ranges] == [True] + [False] * (len(ranges) - 1)
    assert [piece.upper for piece in ranges] == [*(piece.lower for piece in ranges[1:]), None]
    return [piece.lower for piece in ranges[1:]]


def cuts_of_spark(vector: dict[str, Any]) -> list[int]:
    """The cuts in Spark's SQL, in the column's unit."""
    cuts = []
    for clause in vector["expected"][1:]:
        literal = re.search(r">= (?:'(.*?)'|(-?\d+))", clause)
        if literal[2]:
            cuts.append(int(literal[2]))
        elif vector["column_type"] == "DATE":
            cuts.append((date.fromisoformat(literal[1]) - date(1970, 1, 1)).days)
        else:
            cuts.append(microseconds_of_spark(literal[1], vector))
    return cuts


def microseconds_of_spark(literal: str, vector: dict[str, Any]) -> int:
    when = datetime.fromisoformat(literal)
    if vector["lower"].endswith("Z") and vector["session_tz"] != "UTC":
        # An instant, which Spark prints as the local time of its session.
        zone = vector["session_tz"]
        offset = timezone(timedelta(hours=5, minutes=30)) if zone == "+05:30" else ZoneInfo(zone)
        when = when.replace(tzinfo=offset).astimezone(UTC).replace(tzinfo=None)
    return (when - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def options_at_fault(vector: dict[str, Any]) -> set[str]:
    """The options that Spark's error is about."""
    text = vector["error"]
    if "specify all or none" in text:
        return {"partitionColumn", "lowerBound", "upperBound", "numPartitions"}
    if "lower bound of partitioning column is larger" in text:
        return {"lowerBound"}
    if "artition column" in text:
        return {"partitionColumn"}
    if found := re.search(r"'?`?\b(dbtable|url)\b", text):
        return {found[1]}
    quoted = re.search(r"For input string: \"(.*)\"|bound value (.*) as", text)
    got = quoted[1] or quoted[2]
    fields = {"lower": "lowerBound", "upper": "upperBound", "num_partitions": "numPartitions"}
    named = {name for field, name in fields.items() if str(vector[field]) == got}
    return named | {name for name, text in vector.get("extra_options", {}).items() if text == got}


def matches_spark(vector: dict[str, Any]) -> bool:
    try:
        cuts = cuts_of(vector)
    except OptionError as error:
        return "error" in vector and error.args[0] in options_at_fault(vector)
    return "error" not in vector and cuts == cuts_of_spark(vector)


@pytest.mark.filterwarnings("ignore::jdbc.options.JDBCWarning")
def test_cuts_and_errors_are_those_of_spark_but_for_the_listed_ones():
    different = {vector["note"] for vector in VECTORS if not matches_spark(vector)}
    assert different == LEFT_ON_PURPOSE
    assert len(VECTORS) == 167


def test_the_listed_ones_are_explained():
    text = (Path(__file__).parents[2] / "docs" / "adr" / "0003-partition-cuts.md").read_text()
    assert [note for note in LEFT_ON_PURPOSE if f"`{note}`" not in text] == []


INT64 = st.integers(-(2**63), 2**63 - 1)


@given(bounds=st.tuples(INT64, INT64).map(sorted), count=st.integers(-3, 60))
@example(bounds=[-(2**63), 2**63 - 1], count=60)
# One range per value and a rounded stride below 1, by which Spark divides by zero.
@example(bounds=[59999999999999999, 60000000000000005], count=6)
@example(bounds=[89999999999999993, 90000000000000002], count=9)
def test_ranges_tile_all_numbers_and_null(bounds, count):
    ranges = plan_ranges(*bounds, count)
    assert 1 <= len(ranges) <= max(count, 1)
    assert ranges[0].lower is None
    assert ranges[-1].upper is None
    assert [piece.nulls for piece in ranges] == [True] + [False] * (len(ranges) - 1)
    assert all(left.upper == right.lower for left, right in pairwise(ranges))
    cuts = [piece.lower for piece in ranges[1:]]
    assert cuts == sorted(set(cuts))
    assert all(bounds[0] <= cut <= bounds[1] for cut in cuts)


@given(
    lower=st.integers(-30, 30),
    width=st.integers(0, 60),
    count=st.integers(0, 9),
    values=st.lists(st.none() | st.integers(-50, 90) | st.floats(-50, 90), max_size=40),
)
def test_a_database_gives_every_row_to_one_range(lower, width, count, values):
    ranges = plan_ranges(lower, lower + width, count)
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE TABLE t (`a b`)")
        db.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        read: list[Any] = []
        for piece in ranges:
            condition = range_condition(piece, "`a b`", str)
            # Beside another condition, as a pushed filter would be.
            where = f"WHERE 1 = 1 AND {condition}" if condition else ""
            read += (value for (value,) in db.execute(f"SELECT `a b` FROM t {where}"))
    db.close()
    assert Counter(read) == Counter(values)


def test_conditions():
    pieces = [*plan_ranges(0, 9, 3), Range(None, None, nulls=True), Range(None, None, nulls=False)]
    assert [range_condition(piece, '"c"', lambda at: f"<{at}>") for piece in pieces] == [
        '("c" < <3> OR "c" IS NULL)',
        '"c" >= <3> AND "c" < <6>',
        '"c" >= <6>',
        "",
        '"c" IS NOT NULL',
    ]


def holds(piece: Range, value: Any) -> bool:
    """Whether a row belongs to a range, with NaN above all as in PostgreSQL."""
    if value is None:
        return piece.nulls
    if value != value:
        return piece.upper is None
    return (piece.lower is None or piece.lower <= value) and (
        piece.upper is None or value < piece.upper
    )


COMPARE = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
NUMBERS = (
    st.integers(-40, 40)
    | st.floats(-40, 40)
    | st.decimals(-40, 40, places=2)
    | st.sampled_from([math.inf, -math.inf])
)


@given(
    bounds=st.tuples(st.integers(-30, 30), st.integers(-30, 30)).map(sorted),
    count=st.integers(1, 6),
    row=st.none() | NUMBERS | st.just(math.nan),
    op=st.sampled_from(sorted(COMPARE)),
    value=NUMBERS,
)
def test_no_range_that_holds_a_matching_row_is_pruned(bounds, count, row, op, value):
    piece = next(one for one in plan_ranges(*bounds, count) if holds(one, row))
    if row is None:
        assert piece.may_match("is null")
    else:
        assert piece.may_match("not null")
        assert row == row or piece.may_match("is nan")
        assert piece.may_match("==", row)
        assert piece.may_match("in", (value, row))
        # Apart, since a Decimal raises when it is compared with NaN.
        matches = op == "!=" if row != row else COMPARE[op](row, value)
        if matches:
            assert piece.may_match(op, value)
            pieces = (SimpleNamespace(op="==", value=99), SimpleNamespace(op=op, value=value))
            assert piece.may_match("any_of", pieces)


def kept(ranges: list[Range], op: str, value: Any = None) -> list[int]:
    return [number for number, piece in enumerate(ranges) if piece.may_match(op, value)]


def test_ranges_that_cannot_match_are_pruned():
    ranges = plan_ranges(0, 40, 4)  # cut at 10, 20, 30
    assert kept(ranges, "==", 15) == [1]
    assert kept(ranges, "==", 10) == [1]
    assert kept(ranges, "==", Decimal("9.99")) == [0]
    assert kept(ranges, "<", 10) == [0]
    assert kept(ranges, "<=", 10) == [0, 1]
    assert kept(ranges, ">", 29.5) == [2, 3]
    assert kept(ranges, ">=", 30) == [3]
    assert kept(ranges, "in", (5, 35)) == [0, 3]
    assert kept(ranges, "in", ()) == []
    assert kept(ranges, "is null") == [0]
    assert kept(ranges, "not null") == [0, 1, 2, 3]
    assert kept(ranges, "!=", 15) == [0, 1, 2, 3]
    assert kept(ranges, "not in", (15,)) == [0, 1, 2, 3]
    assert kept(ranges, "==", math.nan) == [0, 1, 2, 3]
    assert kept(ranges, "is nan") == [3]
    below = (SimpleNamespace(op="<", value=5), SimpleNamespace(op="is nan", value=None))
    assert kept(ranges, "any_of", below) == [0, 3]
    pieces = (SimpleNamespace(op="is null", value=None), SimpleNamespace(op=">", value=32))
    assert kept(ranges, "any_of", pieces) == [0, 3]


def test_texts_are_pruned_by_their_code_points_and_kept_where_an_encoding_may_differ():
    ranges = ranges_between(["Z", "k1", "ä"])
    assert kept(ranges[:2], "==", "a") == [1]
    assert kept(ranges[:2], "==", "Z") == [1]
    assert kept(ranges[:2], "in", ("", "Y")) == [0]
    assert kept(ranges[:2], "<", "Z") == [0]
    assert kept(ranges[:2], ">=", "a") == [1]
    assert kept(ranges, "==", "é") == [0, 1, 2, 3]
    assert kept(ranges, "==", "A") == [0, 2, 3]
    assert kept(plan_ranges(0, 40, 4), "==", "5") == [0, 1, 2, 3]


@given(
    cuts=st.lists(st.text(max_size=3), unique=True, max_size=4).map(sorted),
    row=st.text(max_size=3),
    op=st.sampled_from(sorted(COMPARE)),
    value=st.text(max_size=3),
)
def test_no_range_of_texts_that_holds_a_matching_row_is_pruned(cuts, row, op, value):
    piece = next(one for one in ranges_between(cuts) if holds(one, row))
    assert piece.may_match("==", row)
    assert piece.may_match(op, value) or not COMPARE[op](row, value)


def test_dates_and_instants_are_pruned_in_the_unit_of_the_column():
    days = plan_ranges(
        *(parse_bound(text, pa.date32()) for text in ("2024-01-01", "2024-01-05")), 4
    )
    assert kept(days, "==", date(2024, 1, 3)) == [2]
    zoned = pa.timestamp("us", "UTC")
    hours = plan_ranges(
        parse_bound("2024-01-01T00:00:00Z", zoned), parse_bound("2024-01-01T04:00:00Z", zoned), 4
    )
    one_o_clock = datetime(2024, 1, 1, 3, tzinfo=timezone(timedelta(hours=2)))
    assert kept(hours, "==", one_o_clock) == [1]
    assert kept(hours, "<", one_o_clock) == [0]
    assert kept(hours, "==", datetime(2024, 1, 1, 1)) == [1]  # naive: UTC

    class Nanoseconds(datetime):
        """As pandas.Timestamp: a datetime that is finer than it looks."""

        nanosecond = 7

    just_after = Nanoseconds(2024, 1, 1, 1, tzinfo=UTC)
    assert kept(hours, "<", just_after) == [0, 1]
    assert kept(hours, ">=", just_after) == [1, 2, 3]


@given(bounds=st.tuples(INT64, INT64).map(sorted), count=st.integers(1, 5))
def test_a_range_goes_through_json_and_pickle(bounds, count):
    for piece in plan_ranges(*bounds, count):
        assert Range.from_json(json.loads(json.dumps(piece.to_json()))) == piece
        assert pickle.loads(pickle.dumps(piece)) == piece


def test_a_slip_in_the_number_of_partitions_is_an_error():
    with pytest.raises(OptionError, match=r"numPartitions.*asks for 10000000000"):
        plan_ranges(0, 10**12, 10**10)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Europe/Berlin"])
@pytest.mark.parametrize("day", ["2021-03-14", "2021-03-28", "2021-10-31", "2021-11-07"])
def test_cuts_ascend_through_a_change_of_daylight_saving_time(zone, day):
    """Where Spark's local literals run backwards, every instant is in one range, and once."""
    kind = pa.timestamp("us", "UTC")
    lower = parse_bound(f"{day} 00:00:00 {zone}", kind)
    ranges = plan_ranges(lower, lower + DAY // 4, 12)
    cuts = [bound_value(piece.lower, kind) for piece in ranges[1:]]
    assert all(cut.utcoffset() == timedelta() for cut in cuts)
    assert all(right - left == timedelta(minutes=30) for left, right in pairwise(cuts))
    for minute in range(-60, 24 * 60, 7):
        instant = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        assert len(kept(ranges, "==", instant + timedelta(minutes=minute))) == 1


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("-9223372036854775808", pa.int64(), -(2**63)),
        ("9223372036854775807", pa.decimal128(38, 0), 2**63 - 1),
        ("+7", pa.float64(), 7),
        ("2018-7-6", pa.date32(), date(2018, 7, 6)),
        (" 2018 ", pa.date32(), date(2018, 1, 1)),
        ("1969-12-31 23:59:59Z", pa.date64(), date(1969, 12, 31)),
        ("0001-01-01", NAIVE, datetime(1, 1, 1)),
        ("9999-12-31 23:59:59.999999", NAIVE, datetime(9999, 12, 31, 23, 59, 59, 999999)),
        ("2020-1-2 3:4", pa.timestamp("ns"), datetime(2020, 1, 2, 3, 4)),
        ("2020-01-02T03:04:05.5", NAIVE, datetime(2020, 1, 2, 3, 4, 5, 500000)),
        ("2020-01-02 03:04:05", ZONED, datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2020-01-02 03:04:05-0330", ZONED, datetime(2020, 1, 2, 6, 34, 5, tzinfo=UTC)),
        ("2020-01-02 03:04:05 UTC+1", ZONED, datetime(2020, 1, 2, 2, 4, 5, tzinfo=UTC)),
        (
            "2020-07-02 03:04:05 Europe/Berlin",
            pa.timestamp("s", "UTC"),
            datetime(2020, 7, 2, 1, 4, 5, tzinfo=UTC),
        ),
        # In the gap, as java.time: on by the length of the gap.
        (
            "2021-03-14 02:30:00 America/Los_Angeles",
            ZONED,
            datetime(2021, 3, 14, 10, 30, tzinfo=UTC),
        ),
    ],
)
def test_bounds_as_people_write_them(text, kind, value):
    assert bound_value(parse_bound(text, kind), kind) == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("-9223372036854775809", pa.int64()),
        ("१२", pa.int64()),
        ("", pa.int64()),
        ("2020-13-01", pa.date32()),
        ("0000-01-01", pa.date32()),
        ("-0001-01-01", pa.date32()),
        ("2020-01-01 25:00:00", pa.date32()),
        ("2020-01-01 junk", pa.date32()),
        ("now", pa.timestamp("us")),
        ("2020-01-01 12", pa.timestamp("us")),
        ("2020-01-01 12:00:60", pa.timestamp("us")),
        ("2020-01-01 12:00:00+19:00", pa.timestamp("us", "UTC")),
        ("2020-01-01 12:00:00+01:60", pa.timestamp("us", "UTC")),
        ("2020-01-01 12:00:00 Mars/Olympus", pa.timestamp("us", "UTC")),
        ("2020-01-01 12:00:00 /etc/passwd", pa.timestamp("us", "UTC")),
        ("0001-01-01 00:00:00+01:00", pa.timestamp("us", "UTC")),
        ("0001-01-01 00:00:00 Asia/Tokyo", pa.timestamp("us", "UTC")),
    ],
)
def test_a_bad_bound_is_an_error_that_quotes_it(text, kind):
    with pytest.raises(OptionError, match=re.escape(repr(text))) as caught:
        parse_bound(text, kind, "upperBound")
    assert caught.value.args[0] == "upperBound"


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.bool_(), pa.time64("us"), pa.binary(), pa.list_(pa.int64())]
)
def test_columns_that_cannot_be_cut(kind):
    with pytest.raises(OptionError, match=r"partitionColumn.*predicates"):
        parse_bound("0", kind)


def test_the_column_is_found_in_the_spelling_of_the_table():
    assert find_column("ID", ["x", "Id"]) == "Id"
    assert find_column("id", ["ID", "id"]) == "id"
    assert find_column('"Id"', ["id"]) == "id"
    assert find_column("`a``b`", ["a`b"]) == "a`b"
    assert find_column('"quoted"', ["quoted", '"quoted"']) == '"quoted"'
    with pytest.raises(OptionError, match="could mean any of"):
        find_column("id", ["ID", "Id"])
    with pytest.raises(OptionError, match="did you mean 'order_id'"):
        find_column("orderid", ["order_id", "amount"])
    with pytest.raises(OptionError, match=r"the columns are \['a'\]"):
        find_column("zzz", ["a"])
