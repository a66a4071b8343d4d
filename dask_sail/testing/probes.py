"""Predicates that find out what a source makes of those that it is handed."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import FilterError
from ..predicate import LiteralError, Predicate, typed_predicate

__all__ = ["pairs", "probes"]

_MANY = 3_000
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


def probes(table: pa.Table) -> list[Predicate]:
    """Return predicates of every op on every column of a read, as its types allow them.

    Their values are some that the column holds, and others beside them that it does not: texts of
    another case or with blanks, decimals and numbers just past a value.
    """
    names = table.schema.names
    return [*(p for name in names for p in _on_column(table, name)), *_long_lists(table)]


def pairs(single: list[Predicate], count: int = 40) -> list[tuple[Predicate, ...]]:
    """Return predicates of two columns, both of which are to hold."""
    third = len(single) // 3
    both = zip(single, [*single[third:], *single[:third]], strict=True)
    found: list[tuple[Predicate, ...]] = [
        (one, other) for one, other in both if one.column != other.column
    ]
    return found[:: max(1, len(found) // count)]


def _on_column(table: pa.Table, name: str) -> Iterator[Predicate]:
    nulls = [Predicate(name, "is null"), Predicate(name, "not null")]
    if pa.types.is_nested(table.schema.field(name).type):
        return iter(nulls)  # Arrow compares no lists, structs or maps
    held = _held(table.column(name))
    # Few: each is read with every comparison from every partition, perhaps over a network.
    beside = _beside(held, table.schema.field(name).type)
    values = list(dict.fromkeys([*held[:3], *beside[:5]]))
    made = [*nulls, *(Predicate(name, op, value) for value in values for op in _COMPARISONS)]
    few = tuple(values[:3])
    lists = (few, few[:1], (), tuple(beside[:5]))
    made += [Predicate(name, op, some) for op in ("in", "not in") for some in lists]
    null = Predicate(name, "is null")
    made.append(Predicate(name, "any_of", (null, *(Predicate(name, "==", v) for v in few[:2]))))
    made += [Predicate(name, "any_of", (null, Predicate(name, ">", v))) for v in few[:1]]
    nan = Predicate(name, "is nan")  # nothing but a float can be
    made += [nan, *(Predicate(name, "any_of", (Predicate(name, "<", v), nan)) for v in few[:1])]
    return _typed(made, table.schema)


def _long_lists(table: pa.Table) -> Iterator[Predicate]:
    """A list of whole numbers and one of texts, longer than many servers take in a statement."""
    types = pa.types
    for is_kind, value in ((types.is_int32, int), (types.is_int64, int), (types.is_string, str)):
        name = next((field.name for field in table.schema if is_kind(field.type)), None)
        if name is not None:
            beside = map(value, range(_MANY))
            some = tuple(dict.fromkeys([*_held(table.column(name)), *beside]))
            yield from _typed([Predicate(name, "in", some)], table.schema)


def _typed(predicates: Iterable[Predicate], schema: pa.Schema) -> Iterator[Predicate]:
    for predicate in predicates:
        try:
            yield typed_predicate(predicate, schema)
        except (LiteralError, FilterError):  # means nothing on a column of this type
            continue


def _held(column: pa.ChunkedArray) -> list[Any]:
    """A few values of a column: its first, its least, its greatest, and one in the middle."""
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return []
    present = column.drop_null()
    if pa.types.is_floating(kind):
        present = present.filter(pc.invert(pc.is_nan(present.cast(pa.float64()))))
    if not len(present):
        return []
    try:
        order = pc.sort_indices(present).to_pylist()
    except pa.ArrowNotImplementedError:
        order = list(range(len(present)))
    places = [0, order[0], order[len(order) // 2], order[-1]]
    values = (_python(present[place]) for place in dict.fromkeys(places))
    return [value for value in dict.fromkeys(values) if value is not None]


def _python(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):  # a date that Python has not
        return None


def _beside(held: list[Any], kind: pa.DataType) -> list[Any]:
    """Values that a column may well not hold, next to some that it does."""
    types = pa.types
    middle = held[-1] if held else None
    if types.is_boolean(kind):
        return [True, False]
    if types.is_integer(kind):
        return [0, *(value + step for value in held[:2] for step in (1, -1))]
    if types.is_floating(kind):
        near = [math.nextafter(value, math.inf) for value in held[:1]]
        return [0.0, 1.5, math.inf, *near]
    if types.is_decimal(kind):
        finer = Decimal(5).scaleb(-kind.scale - 1)
        return [Decimal(0), *(value + step for value in held[:2] for step in (finer, -finer))]
    if types.is_string(kind) or types.is_large_string(kind):
        longest = max(held, key=len, default="")
        return [longest.swapcase(), f"{longest} ", longest[:1], "", 'it\'s 100%_\\ "ä"']
    if types.is_binary(kind) or types.is_large_binary(kind):
        return [b"", b"'\x00\xff", *(value + b"\0" for value in held[:1])]
    if types.is_date(kind):
        day = middle or dt.date(2024, 2, 29)
        return [dt.date(1970, 1, 1), *(day + dt.timedelta(n) for n in (1, -1) if _has_room(day))]
    if types.is_timestamp(kind) and isinstance(middle, dt.datetime) and _has_room(middle):
        return [middle + dt.timedelta(microseconds=n) for n in (1, -1, 1_000_000)]
    return []


def _has_room(day: dt.date) -> bool:
    return dt.MINYEAR < day.year < dt.MAXYEAR
