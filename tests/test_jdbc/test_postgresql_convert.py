"""Conversions are exact or an error for any text, checked against Python's own arithmetic."""

from __future__ import annotations

from decimal import Context, Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdbc.arrow_types import convert, parse_custom_schema
from jdbc.dialects import type_reference
from jdbc.errors import ColumnValueError

WIDE = Context(prec=400)


def held(text: str, precision: int, scale: int) -> Decimal | None:
    """The decimal that holds this number exactly, by Python's arithmetic; None if none does."""
    number = Decimal(text)
    rounded = number.quantize(Decimal(1).scaleb(-scale), context=WIDE)
    digits = len(str(abs(int(rounded.scaleb(scale, context=WIDE)))))
    return rounded if rounded == number and (digits <= precision or number == 0) else None


@st.composite
def numbers(draw: st.DrawFn) -> tuple[str, int, int]:
    """A number as a database prints it, often just at the edge of the type it is read as."""
    precision = draw(st.sampled_from([1, 5, 18, 19, 38, 39, 76]))
    scale = draw(st.integers(0, precision))
    about = st.sampled_from([0, 1, precision - scale, precision, 38, 39, 77])
    whole = draw(st.text("0123456789", max_size=draw(about)).map(lambda t: t.lstrip("0") or "0"))
    places = draw(st.sampled_from([0, scale, scale + 1, 40, 80]))
    behind = draw(st.text("0000123456789", max_size=places))
    zeros = "0" * draw(st.sampled_from([0, 0, 3, 50])) if behind else ""
    sign = draw(st.sampled_from(["", "-"]))
    return f"{sign}{whole}{'.' if behind else ''}{behind}{zeros}", precision, scale


@given(numbers())
def test_a_number_becomes_a_decimal_exactly_or_not_at_all(case: tuple[str, int, int]) -> None:
    text, precision, scale = case
    make = pa.decimal128 if precision <= 38 else pa.decimal256
    expected = held(text, precision, scale)
    texts = pa.array([None, "0", text], pa.large_string())
    if expected is None:
        with pytest.raises(ColumnValueError, match="'amount'"):
            convert(texts, make(precision, scale), "amount")
    else:
        result = convert(texts, make(precision, scale), "amount")
        assert result.type == make(precision, scale)
        assert result.to_pylist() == [None, Decimal(0), expected]


@given(st.floats(allow_nan=False), st.sampled_from(["{!r}", "{:.17e}", "{:.30f}", "{:.3f}"]))
def test_a_number_becomes_a_float_that_prints_it_or_not_at_all(value: float, form: str) -> None:
    text = form.format(value)
    try:
        (number,) = convert(pa.array([text]), pa.float64(), "f").to_pylist()
    except ColumnValueError:
        assert Decimal(repr(float(text))) != Decimal(text)
    else:
        assert Decimal(repr(number)) == Decimal(text)


@given(st.lists(st.lists(st.integers(-9, 9) | st.none()) | st.none()), st.data())
def test_a_slice_of_lists_keeps_its_own_values(
    rows: list[list[int] | None], data: st.DataObject
) -> None:
    texts = pa.array(
        [None if r is None else [None if v is None else f"{v}" for v in r] for r in rows],
        pa.large_list(pa.string()),
    )
    start = data.draw(st.integers(0, len(rows)))
    result = convert(texts.slice(start), pa.list_(pa.int64()), "v")
    result.validate(full=True)
    assert result.to_pylist() == rows[start:]


def test_names_in_a_custom_schema_may_hold_anything() -> None:
    names = ["a b", "c`d", "ÄÖ", "n:m"]
    ddl = "`a b` INT, `c``d`: ARRAY<ARRAY<STRING>>, äö varchar ( 10 ), `n:m` dec(5)"
    assert parse_custom_schema(ddl, names) == {
        "a b": pa.int32(),
        "c`d": pa.list_(pa.list_(pa.string())),
        "ÄÖ": pa.string(),
        "n:m": pa.decimal128(5, 0),
    }


def test_the_documentation_has_a_row_for_each_type_read_as_more_than_text() -> None:
    rows = type_reference()["postgresql"]
    named = {name for row in rows for name in row.names}
    assert {"bool", "int8", "numeric", "timestamptz", "interval", "json", "array"} <= named
