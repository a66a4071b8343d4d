"""Spark's filters as predicates on a source's columns, where both mean the same rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa

from ..errors import FilterError
from ..predicate import LiteralError, Predicate, typed_predicate

__all__ = ["ON_LAKESAIL", "ON_SPARK", "Literals", "translate"]

_types = pa.types
Literals = tuple[tuple[Callable[[pa.DataType], bool], type], ...]
"""Which Python type a literal has for a column of which Arrow type."""

ON_LAKESAIL: Literals = (
    # It drops a cast around the column: ``CAST(price AS INT) = 5`` arrives as ``price = 5``. The
    # literal's type tells of the cast, but for floats and decimals; dates and timestamps come as
    # numbers.
    (_types.is_boolean, bool),
    (_types.is_integer, int),
    (_types.is_string, str),
    (_types.is_large_string, str),
)
ON_SPARK: Literals = (
    *ON_LAKESAIL,
    (_types.is_floating, float),
    (_types.is_decimal, Decimal),
    (_types.is_binary, bytes),
    (_types.is_large_binary, bytes),
    (_types.is_fixed_size_binary, bytes),
    (_types.is_date, dt.date),
    (_types.is_timestamp, dt.datetime),
)

# Spark hands over the ten days before it as this one: with Pope Gregory's calendar they were left
# out, and Java's old dates, through which literals go, still do.
_AFTER_THE_GAP = dt.date(1582, 10, 15)

_COMPARISONS = {
    "EqualTo": "==",
    "EqualNullSafe": "==",
    "LessThan": "<",
    "LessThanOrEqual": "<=",
    "GreaterThan": ">",
    "GreaterThanOrEqual": ">=",
}


def translate(given: Any, schema: pa.Schema, literals: Literals) -> tuple[Predicate, ...] | None:
    """Return predicates that all hold for exactly the rows that a filter keeps; None if unknown.

    Parameters
    ----------
    given
        A `pyspark.sql.datasource.Filter`, known by the name of its class: they are not in
        PySpark 4.0.
    schema
        The columns whose values Spark sees as the source has them.

    Notes
    -----
    Spark holds NaN for greater than any number and equal to itself, Arrow for neither, so that
    ``>`` and ``>=`` are not asked of floats.
    """
    name = type(given).__name__
    child = given.child if name == "Not" else given
    path: tuple[str, ...] = getattr(child, "attribute", ())
    if len(path) != 1 or path[0] not in schema.names:
        return None
    kind = schema.field(path[0]).type
    wanted = _wanted(path[0], kind, type(child).__name__, child, name == "Not", literals)
    try:
        return None if wanted is None else tuple(typed_predicate(p, schema) for p in wanted)
    except (LiteralError, FilterError):
        return None


def _wanted(
    column: str, kind: pa.DataType, name: str, given: Any, negated: bool, literals: Literals
) -> tuple[Predicate, ...] | None:
    if name in ("IsNull", "IsNotNull"):
        is_null = (name == "IsNull") != negated
        if is_null and literals is ON_LAKESAIL:
            return None  # a cast that was dropped may have made the nulls
        return (Predicate(column, "is null" if is_null else "not null"),)
    if name == "In":
        # A null among them finds no row, and negated it leaves none: x <> NULL is never true.
        values = [_literal(value, kind, literals) for value in given.value if value is not None]
        if not values or None in values or (negated and len(values) < len(given.value)):
            return None
        if negated:
            return (Predicate(column, "not null"), Predicate(column, "not in", tuple(values)))
        return (Predicate(column, "in", tuple(values)),)
    op = _COMPARISONS.get(name)
    if negated:
        op = "!=" if name == "EqualTo" else None
    if op is None or (op in (">", ">=") and _types.is_floating(kind)):
        return None
    value = _literal(given.value, kind, literals)
    return None if value is None else (Predicate(column, op, value),)


def _literal(value: Any, kind: pa.DataType, literals: Literals) -> Any:
    """Return a literal as the source's column has its values, or None."""
    if isinstance(value, bytearray):
        value = bytes(value)
    if _types.is_uint64(kind) and isinstance(value, Decimal) and value == int(value):
        value = int(value)  # such a column is a decimal on Spark
    if type(value) is dt.date and value == _AFTER_THE_GAP:
        return None
    expected = next((python for test, python in literals if test(kind)), None)
    return value if type(value) is expected else None
