"""Names and values in SQL, as far as databases agree on them."""

from __future__ import annotations

import datetime as dt
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

__all__ = [
    "EQUALITY",
    "Spelling",
    "double_quoted",
    "escaped_text",
    "fits_float32",
    "is_a",
    "least_double",
    "python_type",
    "quoted_text",
]

EQUALITY = frozenset({"==", "!=", "in", "not in"})
"""Comparisons that need no order."""


def double_quoted(name: str) -> str:
    """Return an identifier as the SQL standard quotes it."""
    return '"' + name.replace('"', '""') + '"'


def quoted_text(value: str) -> str:
    """Return a text literal of a database for which a backslash is a character like any other."""
    value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    if "\0" in value:
        raise ValueError("a text that holds a NUL")
    return "'" + value.replace("'", "''") + "'"


def escaped_text(value: str) -> str:
    """Return a text literal of a database for which a backslash begins an escape."""
    return quoted_text(value.replace("\\", "\\\\"))


def is_a(value: Any, kind: type) -> bool:
    """Say whether a value compares as this type: True is no int, a datetime no date."""
    odd = (kind is int and isinstance(value, bool)) or (
        kind is dt.date and isinstance(value, dt.datetime)
    )
    return isinstance(value, kind) and not odd


def fits_float32(value: float) -> bool:
    """Say whether a number is one that four bytes hold."""
    try:
        packed: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return False
    return packed == value


def least_double(number: int) -> float:
    """Return the smallest double from a number up: just the same doubles are below both."""
    double = float(number)
    return double if double >= number else math.nextafter(double, math.inf)


def python_type(arrow_type: pa.DataType) -> type | None:
    """Return what Python makes of the values of an Arrow type; None where they do not compare."""
    types = pa.types
    known: tuple[tuple[Callable[[pa.DataType], bool], type], ...] = (
        (types.is_boolean, bool),
        (types.is_integer, int),
        (types.is_floating, float),
        (types.is_decimal, Decimal),
        (types.is_string, str),
        (types.is_binary, bytes),
        (types.is_date, dt.date),
        (types.is_time, dt.time),
        (types.is_timestamp, dt.datetime),
    )
    return next((kind for test, kind in known if test(arrow_type)), None)


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """The literals of one database; called with a value and the Arrow type it is compared with.

    Each field but ``label``, ``text``, ``digits`` and ``years`` is a format of the plain text, or
    None where the database has no such literal: what cannot be spelt is a `ValueError`.

    Attributes
    ----------
    label
        The database, for errors.
    text
        From a text to its literal.
    data
        Of bytes, in hexadecimal.
    true, false
        The truth values.
    number
        Of a decimal's digits, with the number of those after the point as ``{1}``; also of whole
        numbers beyond 64 bits.
    digits
        How many digits a number may have.
    double
        Of a number with an exponent.
    date, time, timestamp
        Of ISO texts; times have six digits after the point.
    instant
        Of a moment in UTC, written without its zone.
    years
        The first and the last that dates and moments may have.
    """

    label: str
    text: Callable[[str], str] = quoted_text
    data: str | None
    true: str | None = "TRUE"
    false: str | None = "FALSE"
    number: str = "{0}"
    digits: int = 38
    double: str
    date: str = "DATE '{0}'"
    time: str | None = "TIME '{0}'"
    timestamp: str = "TIMESTAMP '{0}'"
    instant: str
    years: tuple[int, int] = (1, 9999)

    def __call__(self, value: Any, arrow_type: pa.DataType) -> str:
        """Return the literal."""
        form, text = self._parts(value, arrow_type)
        if form is None:
            kind = type(value).__name__
            raise ValueError(f"{self.label} has no literal for this {kind} as {arrow_type}")
        literal = form.format(text, len(text.partition(".")[2]))
        return f"({literal})" if literal.startswith("-") else literal

    def _parts(self, value: Any, arrow_type: pa.DataType) -> tuple[str | None, str]:
        match value:
            case bool():
                return (self.true if value else self.false), ""
            case int() if pa.types.is_floating(arrow_type):
                return self.double, _with_exponent(least_double(value))
            case int() if -(2**63) <= value < 2**63:
                return "{0}", f"{value}"
            case int():
                return self._number(f"{value}")
            case float() if math.isfinite(value) and (not value or abs(value) >= _LEAST_NORMAL):
                return self.double, _with_exponent(value)
            case Decimal() if value.is_finite() and -100 < value.adjusted() < 100:
                return self._number(f"{value:f}")
            case str():
                return "{0}", self.text(value)
            case bytes():
                return self.data, value.hex()
            case dt.datetime() if (value.tzinfo is None) == (arrow_type.tz is None):
                form = self.timestamp if value.tzinfo is None else self.instant
                return self._in_reach(form, value), _moment(value)
            case dt.date() if not isinstance(value, dt.datetime):
                return self._in_reach(self.date, value), value.isoformat()
            case dt.time() if value.tzinfo is None:
                return self.time, value.isoformat("microseconds")
        return None, ""

    def _in_reach(self, form: str, value: dt.date) -> str | None:
        first, last = self.years
        return form if first <= value.year <= last else None

    def _number(self, text: str) -> tuple[str | None, str]:
        digits = text.lstrip("-0.").replace(".", "")
        return (self.number if len(digits) <= self.digits else None), text


_LEAST_NORMAL = 2.0**-1022
"""Some databases take what is closer to zero for zero."""


def _with_exponent(value: float) -> str:
    spelt = repr(value)
    return spelt if "e" in spelt else f"{spelt}e0"


def _moment(value: dt.datetime) -> str:
    if getattr(value, "nanosecond", 0):  # of a pandas.Timestamp
        raise ValueError("more digits than a literal has")
    utc = value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
    return utc.isoformat(" ", "microseconds")
