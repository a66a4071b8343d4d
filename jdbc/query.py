"""The SELECT of one partition: what is read, which rows, how many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from .dialects import Column, ColumnRead, Dialect
from .errors import OptionError
from .partitioning import Range, bound_value, range_condition

if TYPE_CHECKING:
    from .options import JDBCOptions

__all__ = [
    "NEVER",
    "Condition",
    "comparison",
    "count_sql",
    "describe_sql",
    "first_sql",
    "null_test",
    "plain_select",
    "predicate_condition",
    "range_sql",
    "select_sql",
    "sum_sql",
]

_MAX_VALUES = 10_000
"""Longer lists of values cost a database more to plan than they save."""
NEVER = "1 = 0"
"""A condition that no row satisfies."""
_OPERATORS = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


class Condition(Protocol):
    """A condition on one column, as `dask_sail.Predicate`; a value is typed by the Arrow schema."""

    @property
    def column(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def value(self) -> Any: ...


def describe_sql(options: JDBCOptions) -> str:
    """Return a SELECT of every column of the table or query."""
    return _select(options, "*")


def select_sql(
    options: JDBCOptions,
    dialect: Dialect,
    columns: Sequence[tuple[Column, ColumnRead]],
    conditions: Iterable[str] = (),
    limit: int | None = None,
) -> str:
    """Return the SELECT of some columns, each read as an engine needs it."""
    items = (f"{read.expression} AS {dialect.quote(column.name)}" for column, read in columns)
    return _limited(options, dialect, ", ".join(items), conditions, limit)


def count_sql(
    options: JDBCOptions,
    dialect: Dialect,
    conditions: Iterable[str] = (),
    limit: int | None = None,
) -> str:
    """Return a SELECT of the number of rows."""
    if limit is None:
        return _select(options, dialect.count, conditions)
    # Named, as SQL Server wants; without AS, which Oracle does not take.
    rows = _limited(options, dialect, "1 AS one", conditions, limit, prepared=False)
    return f"{_prefix(options)}SELECT {dialect.count} FROM ({rows}) counted"  # noqa: S608 - made here


def sum_sql(items: Sequence[str]) -> str:
    """Return the sum of expressions, however many: databases limit how deep they may nest."""
    groups = (f"({' + '.join(items[i : i + 100])})" for i in range(0, len(items), 100))
    return " + ".join(groups)


def plain_select(options: JDBCOptions, items: str, tail: str = "") -> str:
    """Return a SELECT of the relation with text of a dialect after it; for statistics."""
    return f"{_select(options, items)} {tail}".rstrip()


def first_sql(options: JDBCOptions, dialect: Dialect, items: str, tail: str) -> str:
    """Return a SELECT of the first row, where ``tail`` ends in an ORDER BY."""
    before, after = (part.format(1) for part in dialect.limit)
    return plain_select(options, f"{before}{items}", f"{tail} {after}")


def _limited(
    options: JDBCOptions,
    dialect: Dialect,
    items: str,
    conditions: Iterable[str],
    limit: int | None,
    *,
    prepared: bool = True,
) -> str:
    if limit is None:
        return _select(options, items, conditions, prepared=prepared)
    before, after = (part.format(int(limit)) for part in dialect.limit)
    selected = _select(options, f"{before}{items}", conditions, prepared=prepared)
    return f"{selected} {after}".rstrip()


def _select(
    options: JDBCOptions,
    items: str,
    conditions: Iterable[str] = (),
    *,
    prepared: bool = True,
) -> str:
    hint = f"{options.hint} " if options.hint else ""
    where = " AND ".join(condition for condition in conditions if condition)
    parts = [
        f"{_prefix(options) if prepared else ''}SELECT {hint}{items}",
        f"FROM {options.relation}",
        f"WHERE {where}" if where else "",
    ]
    return " ".join(part for part in parts if part)


def _prefix(options: JDBCOptions) -> str:
    return f"{options.prepare_query}\n" if options.prepare_query else ""


def range_sql(dialect: Dialect, column: Column, piece: Range) -> str:
    """Return the condition for one range of the partition column; empty if it holds all rows."""
    operand, kind = dialect.partition_key(column)

    def literal(position: Any) -> str:
        text = _bound(dialect, column, position, kind)
        return text if dialect.range_bound is None else dialect.range_bound(column, text)

    return range_condition(piece, operand, literal)


def _bound(dialect: Dialect, column: Column, position: Any, kind: pa.DataType) -> str:
    with suppress(ValueError, OverflowError):
        return dialect.literal(bound_value(position, kind), kind)
    raise OptionError(
        "partitionColumn",
        f"names {column.name!r}, and {dialect.label} has no {kind} for a cut at {position!r}",
        "write lowerBound and upperBound that the column could hold",
    )


def comparison(operand: str, op: str, literals: Sequence[str]) -> str:
    """Return ``operand op literals`` in SQL; the literals are already spelt for the database."""
    if op in ("in", "not in"):
        return f"{operand} {op.upper()} ({', '.join(literals)})"
    (literal,) = literals
    return f"{operand} {_OPERATORS[op]} {literal}"


def predicate_condition(dialect: Dialect, column: Column, wanted: Condition) -> str | None:
    """Return SQL that keeps the rows that Arrow would keep; None where that is not certain.

    A comparison with NULL is never true, as in SQL; ``not in`` keeps NULLs, as pandas' ``~isin``.
    """
    match wanted.op:
        case "is null":
            return null_test(dialect, column)
        case "not null" if dialect.is_null is None:
            return f"{dialect.quote(column.name)} IS NOT NULL"
        case "not null":
            return f"NOT {null_test(dialect, column)}"
        case "is nan":
            return None if dialect.is_nan is None else _parenthesised(dialect.is_nan(column))
        case "any_of":
            pieces = [predicate_condition(dialect, column, piece) for piece in wanted.value]
            known = [piece for piece in pieces if piece is not None]
            some = [piece for piece in known if piece != f"({NEVER})"] or known
            return f"({' OR '.join(some)})" if some and len(known) == len(pieces) else None
        case "in" | "not in":
            return _membership(dialect, column, wanted.op, list(wanted.value))
        case op if op in _OPERATORS and wanted.value is not None:
            return _parenthesised(dialect.condition(column, op, [wanted.value]))
    return None


def _membership(dialect: Dialect, column: Column, op: str, values: list[Any]) -> str | None:
    if not values:
        return NEVER if op == "in" else "1 = 1"
    if len(values) > _MAX_VALUES or any(value is None for value in values):
        return None
    condition = dialect.condition(column, op, values)
    if condition is None or op == "in":
        return _parenthesised(condition)
    return f"({condition} OR {null_test(dialect, column)})"


def null_test(dialect: Dialect, column: Column) -> str:
    """Return SQL that is true where the column, as it is read, is NULL."""
    if dialect.is_null is None:
        return f"{dialect.quote(column.name)} IS NULL"
    return f"({dialect.is_null(column)})"


def _parenthesised(condition: str | None) -> str | None:
    return None if condition is None else f"({condition})"
