"""Types of databases whose columns are told by a name with sizes, as one table each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from ..arrow_types import TypeRow, convert, decimal_type
from ..errors import ColumnTypeError, OptionError
from ..query import comparison
from . import Column, ColumnRead
from .literals import EQUALITY, fits_float32, is_a, python_type

__all__ = ["TypeRule", "TypeTable"]


@dataclass(frozen=True, kw_only=True)
class TypeRule:
    """What some types of a database become, and how they are read and compared.

    Attributes
    ----------
    names
        The types, in the spelling of the documentation: without sizes, or with ``(p,s)`` for what
        differs with sizes.
    arrow
        The Arrow type; None for a decimal of the sizes that the type's name has.
    read
        SQL for the quoted column ``{0}``, so that the driver loses nothing.
    raw
        What the driver makes of that, where it is not ``arrow``.
    compared
        Whether the database is asked to compare: not at all, for equality, or for order as well.
        Only where it does so as Arrow would, whatever a column's collation is.
    operand
        SQL to compare, for the quoted column.
    cut
        Whether the column can be cut into ranges: every value has its place in a total order.
    note
        For the documentation.
    """

    names: tuple[str, ...]
    arrow: pa.DataType | None
    read: str = "{0}"
    raw: pa.DataType | None = None
    compared: Literal["", "equality", "order"] = ""
    operand: str = "{0}"
    cut: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class TypeTable:
    """The types of a database; its methods are hooks of a `Dialect`.

    Attributes
    ----------
    rules
        The types that are known.
    other
        For every other type; None makes of these an error.
    quote, literal
        Of the dialect.
    """

    rules: Sequence[TypeRule]
    other: TypeRule | None = None
    quote: Callable[[str], str]
    literal: Callable[[Any, pa.DataType], str]

    @cached_property
    def _by_name(self) -> dict[str, TypeRule]:
        return {name.lower(): rule for rule in self.rules for name in rule.names}

    def reference(self) -> list[TypeRow]:
        """Return the table for the documentation."""
        rows: list[TypeRow] = []
        for rule in (*self.rules, *([self.other] if self.other else [])):
            if rule.arrow is not None:
                rows.append(TypeRow(rule.names, rule.arrow, rule.note))
            else:
                rows.append(TypeRow(rule.names, "decimal128(p, s)", rule.note))
        if self.other is None:
            rows.append(TypeRow(("every other",), "an error", "cast it in a query"))
        return rows

    def column(self, name: str, database_type: str, *, nullable: bool = True) -> Column:
        """Return a described column.

        Raises
        ------
        ColumnTypeError
            If this version does not know the type.
        """
        if self._rule(database_type) is None:
            raise ColumnTypeError(
                name,
                f"is of type {database_type}, which this version does not read",
                "cast it in a query, e.g. to text",
            )
        return Column(name, database_type, self._arrow(database_type), nullable)

    def read_column(self, column: Column, engine: str) -> ColumnRead | None:
        """Return how the driver reads a column, as `Dialect.read_column`."""
        rule, own = self._rule(column.database_type), self._arrow(column.database_type)
        if rule is None:
            return None
        raw = rule.raw or own
        function = partial(_by_text if column.arrow_type != own else _exact, column=column, own=own)
        return ColumnRead(rule.read.format(self.quote(column.name)), function, raw)

    def condition(self, column: Column, op: str, values: Sequence[Any]) -> str | None:
        """Return a comparison, as `Dialect.condition`."""
        rule, own = self._rule(column.database_type), self._arrow(column.database_type)
        if rule is None or column.arrow_type != own:
            return None
        if not (rule.compared == "order" or (rule.compared and op in EQUALITY)):
            return None
        kind = python_type(own)
        if kind is None or not all(is_a(value, kind) for value in values):
            return None
        if own == pa.float32() and not all(fits_float32(value) for value in values):
            return None
        try:
            literals = [self.literal(value, own) for value in values]
        except (ValueError, OverflowError):
            return None
        return comparison(rule.operand.format(self.quote(column.name)), op, literals)

    def partition_key(self, column: Column) -> tuple[str, pa.DataType]:
        """Return what to cut, as `Dialect.partition_key`."""
        rule, own = self._rule(column.database_type), self._arrow(column.database_type)
        if rule is None or not rule.cut:
            why = ", and may hold NaN, which has no place" if pa.types.is_floating(own) else ""
            raise OptionError(
                "partitionColumn",
                f"names {column.name!r}, of type {column.database_type}, which cannot be cut{why}",
                "name a column of numbers, dates or timestamps, or write predicates",
            )
        return rule.operand.format(self.quote(column.name)), own

    def _rule(self, database_type: str) -> TypeRule | None:
        base = _base(database_type)
        sized = [database_type.lower(), f"{base}(p,s)"] if "(" in database_type else []
        found = [self._by_name[name] for name in (*sized, base) if name in self._by_name]
        return found[0] if found else self.other

    def _arrow(self, database_type: str) -> pa.DataType:
        rule = self._rule(database_type)
        if rule is None:
            return pa.null()
        if rule.arrow is not None:
            return rule.arrow
        precision, scale = _sizes(database_type)
        return decimal_type(precision, scale) or pa.string()


def _base(database_type: str) -> str:
    return re.sub(r"\s*\([^()]*\)", "", database_type).lower()


def _sizes(database_type: str) -> tuple[int, int]:
    precision, scale, *_ = [*map(int, re.findall(r"-?\d+", database_type.partition("(")[2])), 0, 0]
    return precision, scale


def _exact(array: pa.Array, column: Column, own: pa.DataType) -> pa.Array:
    target = column.arrow_type
    if pa.types.is_binary(array.type) and not pa.types.is_binary(target):
        array = convert(array, pa.string(), column.name)
    if pa.types.is_string(array.type) and (
        pa.types.is_timestamp(target) or pa.types.is_time(target)
    ):
        array = _without_zeros(array, target)
    return convert(array, target, column.name)


def _by_text(array: pa.Array, column: Column, own: pa.DataType) -> pa.Array:
    """Convert to another type than the usual one by way of the shortest text of a value."""
    if not (pa.types.is_string(array.type) or pa.types.is_binary(array.type)):
        array = convert(array, own, column.name).cast(pa.string())
    return _exact(array, column, own)


_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def _without_zeros(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Take off zeros that a database prints beyond the digits that Arrow has room for."""
    some = rf"(\.\d{{{_DIGITS[target.unit]}}})" if _DIGITS[target.unit] else "()\\."
    return pc.replace_substring_regex(array, rf"{some}0+$", r"\1")
