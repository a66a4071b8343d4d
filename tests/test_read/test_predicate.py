"""Conditions mean what pandas means by the same filter on Arrow-backed columns."""

import datetime as dt
import enum
import operator
import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_sail.errors import FilterError
from dask_sail.predicate import (
    Disjunction,
    LiteralError,
    Predicate,
    apply,
    membership,
    negate,
    typed_literal,
    typed_predicate,
)

PANDAS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda column, value: column.isin(list(value)),
    "not in": lambda column, value: ~column.isin(list(value)),
    "is null": lambda column, _: column.isna(),
    "not null": lambda column, _: column.notna(),
}
COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]
UTC = dt.UTC
NAN = float("nan")


def frame_of(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def table_of(values: list, kind: pa.DataType) -> pa.Table:
    """Return values as column x of two chunks, and their positions as column i."""
    half = len(values) // 2
    chunks = [pa.array(values[:half], kind), pa.array(values[half:], kind)]
    return pa.table({"x": pa.chunked_array(chunks, kind), "i": range(len(values))})


def kept(table: pa.Table, *conditions) -> list[int]:
    return apply(table, conditions)["i"].to_pylist()


def kept_by_pandas(table: pa.Table, op: str, value) -> list[int]:
    frame = frame_of(table)
    return frame[PANDAS[op](frame.x, value)].i.tolist()


def typed(op: str, value, table: pa.Table) -> Predicate:
    return typed_predicate(Predicate("x", op, value), table.schema)


# Against pandas

CASES = [
    (pa.int8(), [1, None, -128, 127, 5], [5, np.int64(5), 5.0, -128]),
    (pa.int64(), [0, None, 2**63 - 1, -(2**63), 2**53, 7], [7, 2**53, np.uint8(7), 0.0]),
    (pa.uint16(), [0, None, 65535, 7], [7, 65535]),
    (
        pa.float64(),
        [0.0, -0.0, None, NAN, np.inf, -np.inf, 0.1, 2.0],
        [2, 0.1, np.float64(2.0), np.float32(2.0), np.inf, -np.inf],
    ),
    (pa.float32(), [0.1, None, NAN, 2.0, 2.0**24], [2, 2.0, np.float32(0.1), 2**24]),
    (pa.bool_(), [True, None, False, True], [True, False, np.True_]),
    (
        pa.decimal128(10, 2),
        [Decimal("1.10"), None, Decimal("-2.25"), Decimal("99999999.99"), Decimal(0)],
        [Decimal("1.1"), Decimal("-2.25"), Decimal("1.101"), Decimal("-2.251"), Decimal("-2.249")],
    ),
    (pa.decimal256(50, 3), [Decimal("1e40"), None, Decimal("1.125")], [Decimal("1.125")]),
    (pa.string(), ["a", None, "", "B", "b", "é", "😀", "\uffff", "a%"], ["b", "", "é", "😀"]),
    (pa.large_string(), ["a", None, "b"], ["b", np.str_("a")]),
    (pa.binary(), [b"a", None, b"", b"\xff", b"\x00"], [b"a", b"", b"\xff"]),
    (pa.date32(), [dt.date(2020, 1, 1), None, dt.date(1, 1, 1)], [dt.date(2020, 1, 1)]),
    (
        pa.timestamp("us"),
        [dt.datetime(2020, 1, 1), None, dt.datetime(2020, 1, 1, 0, 0, 0, 1)],
        [dt.datetime(2020, 1, 1), pd.Timestamp(2020, 1, 1), np.datetime64("2020-01-01", "ns")],
    ),
    (
        pa.timestamp("ns"),
        [dt.datetime(2020, 1, 1), None, dt.datetime(1970, 1, 1)],
        [dt.datetime(2020, 1, 1), pd.Timestamp("2019-12-31T23:59:59.999999999")],
    ),
    (
        pa.timestamp("ms", "Europe/Berlin"),
        [dt.datetime(2020, 1, 1, tzinfo=UTC), None, dt.datetime(2021, 1, 1, tzinfo=UTC)],
        [
            dt.datetime(2020, 1, 1, tzinfo=UTC),
            dt.datetime(2020, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
            pd.Timestamp("2020-01-01T01:00", tz="Europe/Berlin"),
        ],
    ),
    (pa.time64("us"), [dt.time(1, 2, 3, 4), None, dt.time(0)], [dt.time(1, 2, 3, 4), dt.time(0)]),
    (
        pa.duration("ms"),
        [dt.timedelta(1), None, dt.timedelta(milliseconds=-5)],
        [dt.timedelta(1), pd.Timedelta(-5, "ms"), np.timedelta64(-5, "ms")],
    ),
]


@pytest.mark.parametrize(
    ("kind", "values", "literals", "op"),
    [
        pytest.param(*case, op, id=f"{case[0]} {op}")
        for case in CASES
        for op in COMPARISONS
        if case[0] != pa.bool_() or op in ("==", "!=")  # booleans have no order, see below
    ],
)
def test_a_comparison_keeps_the_rows_that_pandas_keeps(kind, values, literals, op):
    table = table_of(values, kind)
    for literal in literals:
        assert kept(table, typed(op, literal, table)) == kept_by_pandas(table, op, literal)


@pytest.mark.parametrize(("kind", "values", "literals"), CASES, ids=[str(c[0]) for c in CASES])
@pytest.mark.parametrize("op", ["in", "not in"])
def test_isin_keeps_the_rows_that_pandas_keeps(kind, values, literals, op):
    table = table_of(values, kind)
    # What the column holds, but for zeros and trailing NUL bytes, which pandas' isin gets wrong.
    held = table["x"].to_pylist()
    present = [one for one in held if one is not None and one == one and one not in (0, b"\x00")]
    for listed in ([], present[:1], present, present[1:] * 2, [present[0], None, *present]):
        predicates = membership("x", listed, table.schema, negated=op == "not in")
        assert kept(table, *predicates) == kept_by_pandas(table, op, listed)


def test_a_list_of_nothing_but_null_finds_nulls():
    # pandas raises for text, and finds the null in a float column.
    table = table_of(["a", None, ""], pa.string())
    assert kept(table, *membership("x", [None], table.schema)) == [1]
    assert kept(table, *membership("x", [pd.NA], table.schema, negated=True)) == [0, 2]
    table = table_of([1.5, None, NAN], pa.float64())
    assert kept(table, *membership("x", [None], table.schema)) == [1]
    assert kept_by_pandas(table, "in", [None]) == [1]


def test_bytes_that_end_in_nul_are_told_apart():
    table = table_of([b"", b"\x00", None], pa.binary())  # pandas takes them for the empty ones
    assert kept(table, typed("in", (b"\x00",), table)) == [1]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        *((kind, values) for kind, values, _ in CASES),
        (pa.null(), [None, None]),
        (pa.float16(), [np.float16(1.5), None]),
        (pa.list_(pa.int64()), [[1], None, []]),
        (pa.struct([("a", pa.int64())]), [{"a": 1}, None, {"a": None}]),
        (pa.map_(pa.string(), pa.int64()), [[("a", 1)], None]),
    ],
    ids=str,
)
@pytest.mark.parametrize("op", ["is null", "not null"])
def test_null_is_what_pandas_calls_null(kind, values, op):
    # NaN is a value: isna() on an Arrow-backed float column says so.
    table = table_of(values, kind)
    assert kept(table, typed(op, None, table)) == kept_by_pandas(table, op, None)


integers = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3) | st.integers(2**53, 2**53 + 3)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_nan_is_found_whatever_its_sign(kind):
    table = table_of([np.float16(v) for v in (NAN, -NAN, 1.0, float("inf"))] + [None], kind)
    predicate = typed("is nan", None, table)
    assert str(predicate) == "x is nan"
    assert kept(table, predicate) == [0, 1]
    assert kept(table, Predicate("x", "any_of", (typed("<", 2.0, table), predicate))) == [0, 1, 2]


def test_nan_is_asked_of_floats_only():
    with pytest.raises(LiteralError, match="'is nan' means nothing on a int64 column"):
        typed("is nan", None, table_of([1], pa.int64()))


floats = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, 2.0**53, -1.5])


@given(
    column=st.lists(integers | st.none(), max_size=8),
    literal=integers,
    op=st.sampled_from(COMPARISONS),
)
def test_integers_compare_as_in_pandas(column, literal, op):
    table = table_of(column, pa.int64())
    assert kept(table, typed(op, literal, table)) == kept_by_pandas(table, op, literal)


@given(
    column=st.lists(integers | st.none(), max_size=8),
    literal=floats,
    op=st.sampled_from(COMPARISONS),
)
def test_a_float_taken_for_an_integer_compares_as_in_pandas(column, literal, op):
    table = table_of(column, pa.int64())
    try:
        predicate = typed(op, literal, table)
    except LiteralError:
        return  # then it stays with pandas
    assert kept(table, predicate) == kept_by_pandas(table, op, literal)


@given(
    column=st.lists(st.floats() | st.sampled_from([0.0, -0.0]) | st.none(), max_size=8),
    literal=floats | integers,
    op=st.sampled_from(COMPARISONS),
    kind=st.sampled_from([pa.float64(), pa.float32()]),
)
def test_floats_compare_as_in_pandas(column, literal, op, kind):
    table = table_of(column, pa.float64()).cast(
        pa.schema([("x", kind), ("i", pa.int64())]), safe=False
    )
    try:
        predicate = typed(op, literal, table)
    except LiteralError:
        return
    assert kept(table, predicate) == kept_by_pandas(table, op, literal)


PYTHON = {op: PANDAS[op] for op in COMPARISONS}
decimals = st.decimals(-200, 200, places=2) | st.sampled_from([Decimal("99.99"), Decimal("-99.99")])
wild = st.decimals(allow_nan=False, allow_infinity=False) | st.decimals(-101, 101, places=4)


@given(
    column=st.lists(decimals.filter(lambda d: abs(d) < 100), max_size=8),
    literal=wild,
    op=st.sampled_from(COMPARISONS),
)
def test_decimals_of_any_scale_and_size_compare_exactly(column, literal, op):
    # Against Python's arithmetic: Arrow fails where both sides need more than 38 digits.
    table = table_of([None, *column], pa.decimal128(4, 2))
    expected = [i for i, value in enumerate(column, 1) if PYTHON[op](value, literal)]
    assert kept(table, typed(op, literal, table)) == expected


@given(column=st.lists(decimals.filter(lambda d: abs(d) < 100), max_size=8), listed=st.lists(wild))
def test_decimals_of_any_scale_and_size_are_looked_up_exactly(column, listed):
    table = table_of([None, *column], pa.decimal128(4, 2))
    expected = [i for i, value in enumerate(column, 1) if value in listed]
    assert kept(table, typed("in", tuple(listed), table)) == expected


@given(
    unscaled=st.lists(st.integers(-(10**15) + 1, 10**15 - 1), min_size=1, max_size=6),
    scale=st.integers(0, 15),
    steps=st.sampled_from([-1, 0, 1]),
    op=st.sampled_from(COMPARISONS),
)
def test_a_float_compares_with_decimals_as_doubles_do(unscaled, scale, steps, op):
    # Against Python's correctly rounded doubles; Arrow's cast is off by one place now and then.
    column = [Decimal(value).scaleb(-scale) for value in unscaled]
    literal = float(column[0])
    literal = float(np.nextafter(literal, steps * np.inf)) if steps else literal
    table = table_of(column, pa.decimal128(15, scale))
    expected = [i for i, value in enumerate(column) if PYTHON[op](float(value), literal)]
    assert kept(table, typed(op, literal, table)) == expected


@given(
    column=st.lists(st.text(max_size=3) | st.none(), max_size=8),
    literal=st.text(max_size=2),
    op=st.sampled_from(COMPARISONS),
)
def test_text_is_ordered_by_code_point(column, literal, op):
    table = table_of(column, pa.string())
    expected = [
        i for i, text in enumerate(column) if text is not None and PYTHON[op](text, literal)
    ]
    assert kept(table, typed(op, literal, table)) == expected
    assert kept_by_pandas(table, op, literal) == expected


# Combining


def test_alternatives_and_groups_are_pandas_ors_and_ands():
    table = pa.table({"x": [1, None, 5, 9], "s": ["a", "b", None, "d"], "i": range(4)})
    frame = frame_of(table)
    either = Predicate("x", "any_of", (Predicate("x", "<", 2), Predicate("x", "is null")))
    assert kept(table, either) == frame[(frame.x < 2) | frame.x.isna()].i.tolist() == [0, 1]
    groups = Disjunction(
        ((Predicate("x", ">", 2), Predicate("s", "==", "d")), (Predicate("s", "!=", "a"),))
    )
    wanted = frame[((frame.x > 2) & (frame.s == "d")) | (frame.s != "a")]
    assert kept(table, groups) == wanted.i.tolist() == [1, 3]
    assert kept(table, groups, either) == [1]
    assert groups.columns == ("x", "s")
    assert either.columns == ("x",)
    assert str(groups) == "(x > 2 and s == 'd') or (s != 'a')"


def test_a_mask_is_never_null():
    batch = pa.record_batch({"x": [1, None, 3]})
    for op, value in [("==", 1), ("!=", 1), ("not in", (1,)), ("is null", None), ("in", (1,))]:
        mask = Predicate("x", op, value).mask(batch)
        assert isinstance(mask, pa.BooleanArray)
        assert (len(mask), mask.null_count) == (3, 0)


def test_a_batch_of_which_all_rows_match_is_not_copied():
    batch = pa.record_batch({"x": [1, 2, 3]})
    assert apply(batch, [Predicate("x", ">", 0)]) is batch
    assert apply(batch, []) is batch
    assert apply(batch, [Predicate("x", ">", 1)]).to_pydict() == {"x": [2, 3]}
    assert apply(batch.slice(0, 0), [Predicate("x", ">", 1)]).num_rows == 0


@pytest.mark.parametrize("op", ["in", "not in", "is null", "not null", "==", "!="])
@pytest.mark.parametrize("values", [[1.5, NAN, None, 2.0], [None], []])
def test_negation_is_pandas_tilde(op, values):
    table = table_of(values, pa.float64())
    value = (1.5,) if op in ("in", "not in") else 1.5 if op in ("==", "!=") else None
    opposite = negate(typed(op, value, table))
    frame = frame_of(table)
    assert kept(table, opposite) == frame[~PANDAS[op](frame.x, value)].i.tolist()


def test_an_ordering_has_no_opposite():
    # ~(NaN < 1) is true, and NaN >= 1 is false.
    assert negate(Predicate("x", "<", 1)) is None
    assert negate(Predicate("x", "any_of", (Predicate("x", "==", 1),))) is None


def test_a_predicate_is_a_value_that_people_can_read():
    predicate = Predicate("amount", ">", 100)
    assert str(predicate) == "amount > 100"
    assert str(Predicate("name", "in", ("a", "b"))) == "name in ('a', 'b')"
    assert str(Predicate("name", "is null")) == "name is null"
    either = Predicate("x", "any_of", (Predicate("x", "<", 1), Predicate("x", "is null")))
    assert str(either) == "(x < 1 or x is null)"
    assert pickle.loads(pickle.dumps(either)) == either
    assert len({either, pickle.loads(pickle.dumps(either)), predicate}) == 2
    with pytest.raises(AttributeError):
        predicate.op = "<"


def test_a_malformed_predicate_is_refused_at_once():
    with pytest.raises(ValueError, match="got '~'"):
        Predicate("x", "~", 1)
    with pytest.raises(TypeError, match="'in' takes a tuple, got list"):
        Predicate("x", "in", [1])
    with pytest.raises(ValueError, match="on 'x' only"):
        Predicate("x", "any_of", (Predicate("y", "==", 1),))
    with pytest.raises(ValueError, match="on 'x' only"):
        Predicate("x", "any_of", ())
    with pytest.raises(ValueError, match="at least one"):
        Disjunction(((),))


# Literals


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


BERLIN = pa.timestamp("us", "Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (np.int8(3), pa.int64(), 3),
        (3.0, pa.int32(), 3),
        (Level.HIGH, pa.int8(), 3),
        (pa.scalar(3), pa.int8(), 3),
        (3, pa.float64(), 3.0),
        (np.float32(0.1), pa.float32(), 0.10000000149011612),
        (np.bool_(True), pa.bool_(), True),
        (1.1, pa.decimal128(15, 2), Decimal("1.1")),
        (1, pa.decimal128(38, 2), Decimal(1)),
        (Decimal("1.10000"), pa.decimal128(5, 2), Decimal("1.1")),
        (Colour.RED, pa.string(), "red"),
        (np.str_("a"), pa.large_string(), "a"),
        (np.bytes_(b"a"), pa.binary(), b"a"),
        (np.datetime64("2020-01-01"), pa.timestamp("s"), dt.datetime(2020, 1, 1)),
        (pd.Timestamp("2020-01-01", tz="Europe/Berlin"), BERLIN, None),
        (np.timedelta64(1, "h"), pa.duration("s"), dt.timedelta(hours=1)),
        (pd.Timedelta(-1, "us"), pa.duration("us"), dt.timedelta(microseconds=-1)),
    ],
)
def test_a_literal_is_what_a_column_holds(value, kind, expected):
    if kind == BERLIN:
        expected = dt.datetime(2019, 12, 31, 23, tzinfo=UTC)
    literal = typed_literal(value, kind)
    assert literal == expected
    assert type(literal) is type(expected)


def test_nanoseconds_survive():
    moment = pd.Timestamp("2020-01-01T00:00:00.000000001")
    assert typed_literal(moment, pa.timestamp("ns")) == moment
    aware = moment.tz_localize("Europe/Berlin")
    literal = typed_literal(aware, pa.timestamp("ns", "UTC"))
    assert (literal, literal.nanosecond, str(literal.tz)) == (aware, 1, "UTC")
    short = pd.Timedelta(-1, "ns")
    assert typed_literal(short, pa.duration("ns")) == short


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, pa.int64()),
        (pd.NA, pa.string()),
        (pd.NaT, pa.timestamp("us")),
        (np.datetime64("NaT"), pa.timestamp("us")),
        (NAN, pa.float64()),
        (True, pa.int64()),
        (np.True_, pa.float64()),
        (1, pa.bool_()),
        (1.5, pa.int64()),
        (2.0**53, pa.int64()),  # Arrow would find 2**53 + 1 equal
        (128, pa.int8()),
        (-1, pa.uint64()),
        (2**64, pa.uint64()),
        ("1", pa.int64()),
        (Decimal(1), pa.int64()),
        (2**53 + 1, pa.float64()),
        (2**24 + 1, pa.float32()),  # Arrow would round it
        (10**400, pa.float64()),
        (Decimal("0.5"), pa.float64()),
        (1.1, pa.decimal128(16, 2)),
        (NAN, pa.decimal128(10, 2)),
        (np.inf, pa.decimal128(10, 2)),
        (Decimal("NaN"), pa.decimal128(10, 2)),
        (Decimal("-Infinity"), pa.decimal128(10, 2)),
        (True, pa.decimal128(10, 2)),
        (1, pa.string()),
        (b"a", pa.string()),
        ("\ud800", pa.string()),
        ("a", pa.binary()),
        (dt.datetime(2020, 1, 1), pa.date32()),
        (pd.Timestamp(2020, 1, 1), pa.date32()),
        ("2020-01-01", pa.date32()),
        (dt.date(2020, 1, 1), pa.timestamp("us")),
        (dt.datetime(2020, 1, 1, tzinfo=UTC), pa.timestamp("us")),
        (dt.datetime(2020, 1, 1), BERLIN),
        (dt.datetime(2020, 1, 1, 0, 0, 0, 1), pa.timestamp("ms")),
        (pd.Timestamp("2020-01-01T00:00:00.000000001"), pa.timestamp("us")),
        (dt.datetime(1600, 1, 1), pa.timestamp("ns")),
        (np.datetime64("20000-01-01"), pa.timestamp("s")),
        (dt.time(1, tzinfo=UTC), pa.time64("us")),
        (dt.time(1, 2, 3, 4), pa.time32("ms")),
        (dt.timedelta(microseconds=1), pa.duration("ms")),
        (1, pa.duration("ms")),
        ([1], pa.list_(pa.int64())),
        ({"a": 1}, pa.struct([("a", pa.int64())])),
        (1, pa.null()),
    ],
)
def test_a_literal_that_might_compare_otherwise_elsewhere_is_refused(value, kind):
    with pytest.raises(LiteralError):
        typed_literal(value, kind)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(pa.decimal128(5, 2), 1.101), (pa.float32(), 0.1), (pa.float64(), 0.0), (pa.float64(), -0.0)],
)
def test_isin_is_refused_where_pandas_would_round_or_look_at_the_sign_of_zero(kind, value):
    with pytest.raises(LiteralError, match="'in' would"):
        typed_predicate(Predicate("x", "in", (value,)), pa.schema([("x", kind)]))


def test_the_order_of_booleans_and_of_lists_is_refused():
    schema = pa.schema([("b", pa.bool_()), ("l", pa.list_(pa.int64()))])
    with pytest.raises(LiteralError, match="'<' means nothing on a bool column"):
        typed_predicate(Predicate("b", "<", True), schema)
    with pytest.raises(LiteralError, match="only be tested for 'is null'"):
        typed_predicate(Predicate("l", "==", [1]), schema)
    assert typed_predicate(Predicate("l", "is null"), schema) == Predicate("l", "is null")


def test_an_unknown_column_is_named_with_its_neighbours():
    schema = pa.schema([("amount", pa.int64()), ("country", pa.string())])
    with pytest.raises(FilterError, match="no column 'Amount'; did you mean 'amount'"):
        typed_predicate(Predicate("Amount", ">", 1), schema)


def test_errors_come_back_whole_from_pickle():
    with pytest.raises(LiteralError) as caught:
        typed_literal("1", pa.int64())
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert "'1' (str) does not compare exactly with int64; write a whole number" in str(again)
