"""Conditions on rows: parsed, checked against a schema, and evaluated on Arrow batches.

A condition means what the same filter means in pandas on Arrow-backed columns. A comparison drops
rows whose value is null; NaN compares false, but for ``!=``; NaN is not null; ``not in`` keeps
nulls, as ``~isin`` does; text is ordered by code point, which is also the order of its UTF-8 bytes.
"""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .errors import FilterError, PythonDataSourceError
from .spelling import nearest

__all__ = [
    "Condition",
    "Disjunction",
    "LiteralError",
    "Predicate",
    "apply",
    "membership",
    "negate",
    "parse_filters",
    "typed_literal",
    "typed_predicate",
]

_COMPARE = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_OPPOSITE = {"in": "not in", "is null": "not null", "==": "!="}
_OPPOSITE |= {right: left for left, right in _OPPOSITE.items()}
_TESTS = ("is null", "not null", "is nan")
_OPS = (*_COMPARE, "in", "not in", *_TESTS, "any_of")

_Rows: TypeAlias = pa.RecordBatch | pa.Table


class LiteralError(PythonDataSourceError, ValueError):
    """A value that a column of this type cannot be compared with exactly."""


@dataclass(frozen=True)
class Predicate:
    """One condition on one column.

    Parameters
    ----------
    column
        Its name, matched exactly.
    op
        ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``, ``not in``, ``is null``, ``not null``,
        ``is nan`` (of a float: SQL asks for ``any_of`` of ``x < 5`` and it), or ``any_of``.
    value
        For a comparison a value of the column's own type; a tuple of them for ``in`` and
        ``not in``; None for ``is null``, ``not null`` and ``is nan``; for ``any_of`` a tuple of
        predicates on the same column, one of which must hold.
    """

    column: str
    op: str
    value: Any = None

    def __post_init__(self) -> None:
        if self.op not in _OPS:
            raise ValueError(f"op must be one of {', '.join(_OPS)}, got {self.op!r}")
        if self.op in ("in", "not in", "any_of") and not isinstance(self.value, tuple):
            raise TypeError(f"{self.op!r} takes a tuple, got {type(self.value).__name__}")
        if self.op == "any_of" and {p.column for p in self.value} != {self.column}:
            raise ValueError(f"'any_of' takes predicates on {self.column!r} only, at least one")

    def __str__(self) -> str:
        if self.op == "any_of":
            return "(" + " or ".join(map(str, self.value)) + ")"
        if self.op in _TESTS:
            return f"{self.column} {self.op}"
        if self.op in ("in", "not in"):
            return f"{self.column} {self.op} ({', '.join(map(repr, self.value))})"
        return f"{self.column} {self.op} {self.value!r}"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it looks at."""
        return (self.column,)

    def mask(self, batch: _Rows) -> pa.BooleanArray | pa.ChunkedArray:
        """Return a boolean per row, never null, for a value typed as the column is."""
        if self.op == "any_of":
            return functools.reduce(pc.or_, (p.mask(batch) for p in self.value))
        column = batch.column(self.column)
        if self.op == "is null":
            return pc.is_null(column)
        if self.op == "not null":
            return pc.is_valid(column)
        if pa.types.is_float16(column.type):  # the one float without comparison kernels
            column = column.cast(pa.float32())
        if self.op == "is nan":
            return pc.fill_null(pc.is_nan(column), False)
        if self.op in ("in", "not in"):
            found = pc.is_in(column, value_set=_value_set(self.value, column.type))
            return found if self.op == "in" else pc.invert(found)
        return _compare(column, self.op, self.value)


@dataclass(frozen=True)
class Disjunction:
    """An OR of ANDs over several columns; evaluated here, since sources are asked for ANDs only."""

    groups: tuple[tuple[Predicate, ...], ...]

    def __post_init__(self) -> None:
        if not self.groups or not all(self.groups):
            raise ValueError("a disjunction needs at least one predicate in each of its groups")

    def __str__(self) -> str:
        return " or ".join("(" + " and ".join(map(str, group)) + ")" for group in self.groups)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it looks at, each once, in order of appearance."""
        return tuple(dict.fromkeys(p.column for group in self.groups for p in group))

    def mask(self, batch: _Rows) -> pa.BooleanArray | pa.ChunkedArray:
        """Return a boolean per row, never null."""
        return functools.reduce(pc.or_, (_all_hold(batch, group) for group in self.groups))


Condition: TypeAlias = Predicate | Disjunction


def apply(batch: _Rows, conditions: Sequence[Condition]) -> _Rows:
    """Keep the rows for which every condition holds.

    Returns
    -------
    pyarrow.RecordBatch or pyarrow.Table
        The very object that came, where all rows are kept.
    """
    if not conditions:
        return batch
    mask = _all_hold(batch, conditions)
    return batch if pc.all(mask, min_count=0).as_py() else batch.filter(mask)


def negate(predicate: Predicate) -> Predicate | None:
    """Return the predicate that pandas' ``~`` stands for, or None where no single one does.

    An ordering has none: ``~(x < 1)`` keeps NaN, and ``x >= 1`` does not.
    """
    opposite = _OPPOSITE.get(predicate.op)
    return None if opposite is None else replace(predicate, op=opposite)


def typed_predicate(predicate: Predicate, schema: pa.Schema) -> Predicate:
    """Check that a predicate is exact on its column, and type its values as the column is.

    Raises
    ------
    FilterError
        If the schema has no such column.
    LiteralError
        If the column's type knows no such comparison, if a value is not exactly comparable (see
        `typed_literal`), or if pandas' ``isin`` would round a value to the column's type: a float
        for decimals, a double for float32, or zero for floats, whose sign ``isin`` looks at.
    """
    kind = _column_type(predicate.column, schema)
    if predicate.op in ("is null", "not null"):
        return replace(predicate, value=None)
    if predicate.op == "is nan":
        if not pa.types.is_floating(kind):
            raise LiteralError(f"'is nan' means nothing on a {kind} column; leave it out")
        return replace(predicate, value=None)
    if predicate.op == "any_of":
        return replace(predicate, value=tuple(typed_predicate(p, schema) for p in predicate.value))
    if predicate.op in ("in", "not in"):
        values = (_typed_member(value, kind) for value in predicate.value)
        return replace(predicate, value=tuple(dict.fromkeys(values)))
    if pa.types.is_boolean(kind) and predicate.op not in ("==", "!="):
        raise LiteralError(f"{predicate.op!r} means nothing on a bool column; write '==' or '!='")
    return replace(predicate, value=typed_literal(predicate.value, kind))


def membership(
    column: str, values: Iterable[Any], schema: pa.Schema, *, negated: bool = False
) -> tuple[Predicate, ...]:
    """Return predicates, all of which must hold, for ``isin(values)`` or ``~isin(values)``.

    None (or another null) among the values stands for null rows, as in pandas.

    Raises
    ------
    FilterError, LiteralError
        As `typed_predicate`.
    """
    listed = list(values)
    present = tuple(value for value in listed if not _is_null(value))
    found = typed_predicate(Predicate(column, "not in" if negated else "in", present), schema)
    if len(present) == len(listed):
        return (found,)
    if negated:
        return (Predicate(column, "not null"), found)
    return (Predicate(column, "any_of", (Predicate(column, "is null"), found)),)


# Masks


def _all_hold(batch: _Rows, conditions: Sequence[Condition]) -> pa.BooleanArray | pa.ChunkedArray:
    return functools.reduce(pc.and_, (condition.mask(batch) for condition in conditions))


def _compare(
    column: pa.Array | pa.ChunkedArray, op: str, value: Any
) -> pa.BooleanArray | pa.ChunkedArray:
    kind = column.type
    if pa.types.is_decimal(kind):
        op, value = _at_scale(op, value, kind)
    if op == "not null":
        return pc.is_valid(column)
    if op == "never":
        return pc.and_(pc.is_valid(column), False)
    # A double even for float32: pandas compares in double, so 0.1 equals no float32.
    literal = pa.scalar(value, pa.float64() if pa.types.is_floating(kind) else kind)
    return pc.fill_null(_COMPARE[op](column, literal), False)


def _value_set(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(kind):
        snapped = (_at_scale("==", value, kind) for value in values)
        values = tuple(value for op, value in snapped if op == "==")
    return pa.array(values, kind)


def _at_scale(op: str, value: Decimal, kind: pa.DataType) -> tuple[str, Decimal | None]:
    """Rewrite a comparison so that its value has the column's scale, and means the same.

    Left to itself, Arrow looks for a type that holds both sides, and fails past 38 digits.
    ``never`` holds for no row.
    """
    limit = kind.precision - kind.scale  # digits before the point
    if value and value.adjusted() >= limit:
        floor, exact = Decimal(1 if value > 0 else -1).scaleb(limit), False
    else:
        grid = Decimal(1).scaleb(-kind.scale)
        floor = value.quantize(grid, decimal.ROUND_FLOOR, decimal.Context(prec=100))
        exact = floor == value
    if exact:
        return op, floor
    if op == "==":
        return "never", None
    if op == "!=":
        return "not null", None
    below = op in ("<", "<=")
    if floor.adjusted() >= limit:  # below or above whatever the column can hold
        return ("not null" if below == (floor > 0) else "never"), None
    return ("<=" if below else ">"), floor


# Literals

_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_EXACT = 2**53  # doubles below it hold every whole number
_DECIMAL_DIGITS_OF_DOUBLE = 15


def typed_literal(value: Any, arrow_type: pa.DataType) -> Any:
    """Return a value as one of the column's own: the comparison is then the same everywhere.

    Parameters
    ----------
    value
        numpy and Arrow scalars are taken for the Python value that they hold.
    arrow_type
        One that a frame carries, see `dask_sail.arrow.frame_schema`.

    Returns
    -------
    bool, int, float, Decimal, str, bytes, date, time, datetime or timedelta
        An aware datetime, in UTC, for a timestamp with a zone. A `pandas.Timestamp` or `Timedelta`
        only where there are nanoseconds that Python's own types have no room for.

    Raises
    ------
    LiteralError
        If the value is null or NaN, is of another kind, lies outside the type's range, is finer
        than its unit, or has a zone where the column has none or the other way round.

    Notes
    -----
    A whole float stands for an int below 2**53 only: past it Arrow rounds the column to compare.
    A float stands for the decimal that it prints as if the column has at most 15 digits. No two
    such decimals share a double, so comparing as doubles or as decimals is the same, rounding
    errors aside: Arrow's own cast of decimals to double is off by one place for one value in eight.
    """
    plain = _plain(value)
    if _is_null(plain):
        raise LiteralError(
            f"{value!r} is no value to compare with; write 'is null' or 'not null' for nulls"
        )
    for holds, convert in _LITERALS:
        if holds(arrow_type):
            return convert(plain, arrow_type)
    raise LiteralError(f"a {arrow_type} column can only be tested for 'is null' and 'not null'")


def _typed_member(value: Any, kind: pa.DataType) -> Any:
    literal = typed_literal(value, kind)
    if pa.types.is_decimal(kind) and isinstance(_plain(value), float):
        raise LiteralError(f"'in' would round {value!r} to {kind}; write {_repr_decimal(literal)}")
    if pa.types.is_floating(kind):
        if literal == 0:
            raise LiteralError(f"'in' would tell 0.0 from -0.0; compare with {value!r} by '=='")
        if not _holds_float(literal, kind):
            raise LiteralError(f"'in' would round {value!r} to {kind}; compare with it by '=='")
    return literal


def _plain(value: Any) -> Any:
    if isinstance(value, pa.Scalar):
        return value.as_py()
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value)
    if isinstance(value, np.timedelta64):
        return pd.Timedelta(value)
    return value.item() if isinstance(value, np.generic) else value


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT


def _reject(value: Any, kind: pa.DataType, fix: str) -> NoReturn:
    name = type(value).__name__
    raise LiteralError(f"{value!r} ({name}) does not compare exactly with {kind}; {fix}")


def _boolean(value: Any, kind: pa.DataType) -> bool:
    if not isinstance(value, bool):
        _reject(value, kind, "write True or False")
    return value


def _integer(value: Any, kind: pa.DataType) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        _reject(value, kind, "write a whole number")
    bits = kind.bit_width
    signed = pa.types.is_signed_integer(kind)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if not low <= value <= high:
        _reject(value, kind, f"write a number from {low} to {high}")
    return int(value)


def _floating(value: Any, kind: pa.DataType) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        _reject(value, kind, "write a float that is not NaN")
    # Arrow rounds a whole number to the column's width, but compares a float in double.
    if isinstance(value, int) and not _holds_float(value, kind):
        _reject(value, kind, "write a number that the column can hold")
    return float(value)


def _holds_float(value: float, kind: pa.DataType) -> bool:
    try:
        with np.errstate(over="ignore"):
            return float(kind.to_pandas_dtype()(float(value))) == value
    except OverflowError:
        return False


def _decimal(value: Any, kind: pa.DataType) -> Decimal:
    if isinstance(value, float) and kind.precision <= _DECIMAL_DIGITS_OF_DOUBLE:
        value = Decimal(repr(float(value)))
    if isinstance(value, float):
        _reject(value, kind, f"write {_repr_decimal(value)}")
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        _reject(value, kind, "write a whole number or a decimal.Decimal")
    literal = Decimal(value)
    if not literal.is_finite():
        _reject(value, kind, "write a finite number")
    return literal


def _repr_decimal(value: float | Decimal) -> str:
    return f"Decimal('{value}')"


def _text(value: Any, kind: pa.DataType) -> str:
    if not isinstance(value, str):
        _reject(value, kind, "write a str")
    try:
        value.encode()
    except UnicodeEncodeError:
        _reject(value, kind, "write text without lone surrogates, which UTF-8 cannot hold")
    return str.__str__(value)  # str() of an enumeration's member would be its name


def _bytes(value: Any, kind: pa.DataType) -> bytes:
    if not isinstance(value, bytes):
        _reject(value, kind, "write bytes")
    if _types.is_fixed_size_binary(kind) and len(value) != kind.byte_width:
        _reject(value, kind, f"write {kind.byte_width} bytes")
    return bytes(value)


def _date(value: Any, kind: pa.DataType) -> dt.date:
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        _reject(value, kind, "write a datetime.date")
    return value


def _timestamp(value: Any, kind: pa.DataType) -> dt.datetime:
    if not isinstance(value, dt.datetime):
        _reject(value, kind, "write a datetime.datetime")
    aware = value.utcoffset() is not None
    if aware != (kind.tz is not None):
        _reject(value, kind, "write one without a zone" if aware else "write one with a zone")
    epoch = _EPOCH_UTC if aware else _EPOCH
    finer = 0
    try:
        if isinstance(value, pd.Timestamp):
            finer = value.nanosecond
            value = value.to_pydatetime(warn=False)
        micros = (value - epoch) // _MICROSECOND
        literal: dt.datetime = epoch + micros * _MICROSECOND
    except (ValueError, OverflowError):
        _reject(value, kind, "write a year from 1 to 9999")
    _check_unit(literal, micros * 1000 + finer, kind)
    if finer:
        literal = pd.Timestamp(literal).as_unit("ns") + pd.Timedelta(finer, "ns")
    return literal


def _time(value: Any, kind: pa.DataType) -> dt.time:
    if not isinstance(value, dt.time) or value.tzinfo is not None:
        _reject(value, kind, "write a datetime.time without a zone")
    since = dt.datetime.combine(_EPOCH, value) - _EPOCH
    _check_unit(value, since // _MICROSECOND * 1000, kind)
    return value


def _duration(value: Any, kind: pa.DataType) -> dt.timedelta:
    if not isinstance(value, dt.timedelta):
        _reject(value, kind, "write a datetime.timedelta")
    try:
        # Not to_pytimedelta(), which divides as a float.
        nanos = (
            value.as_unit("ns").value
            if isinstance(value, pd.Timedelta)
            else value // _MICROSECOND * 1000
        )
    except (ValueError, OverflowError):
        _reject(value, kind, "write a datetime.timedelta")
    _check_unit(value, nanos, kind)
    return pd.Timedelta(nanos, "ns") if nanos % 1000 else nanos // 1000 * _MICROSECOND


def _check_unit(value: Any, nanos: int, kind: pa.DataType) -> None:
    ticks, finer = divmod(nanos, _NANOSECONDS[kind.unit])
    if finer:
        _reject(value, kind, f"write whole {kind.unit}")
    if not -(2**63) < ticks < 2**63:  # Arrow's own minimum is pandas' NaT
        _reject(value, kind, f"write a value that 64 bits of {kind.unit} can hold")


_types = pa.types
_LITERALS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any, pa.DataType], Any]], ...] = (
    (_types.is_boolean, _boolean),
    (_types.is_integer, _integer),
    (_types.is_floating, _floating),
    (_types.is_decimal, _decimal),
    (lambda kind: _types.is_string(kind) or _types.is_large_string(kind), _text),
    (lambda kind: _types.is_binary(kind) or _types.is_large_binary(kind), _bytes),
    (_types.is_fixed_size_binary, _bytes),
    (_types.is_date, _date),
    (_types.is_timestamp, _timestamp),
    (_types.is_time, _time),
    (_types.is_duration, _duration),
)


# filters=

_SHAPE = "write a list of tuples, [(column, op, value), ...], or a list of such lists for OR"
_SPELLINGS = {op: op for op in _OPS[:-1]} | {"=": "==", "is": "is null", "is not": "not null"}


def parse_filters(filters: Any, schema: pa.Schema) -> tuple[Condition, ...]:
    """Turn what ``dd.read_parquet(filters=...)`` takes into conditions, all of which must hold.

    Parameters
    ----------
    filters
        ``[(column, op, value), ...]`` is an AND, ``[[...], [...]]`` an OR of them; None or an empty
        list keeps all rows. Ops are those of `Predicate`, ``=``, and ``("x", "is", None)`` or
        ``("x", "is not", None)``. ISO text will do for a date or timestamp. None inside an ``in``
        list stands for null.
    schema
        Columns are matched exactly.

    Raises
    ------
    FilterError
        Quotes the tuple at fault, and says what was expected.

    Notes
    -----
    ``!=`` drops nulls, as in pandas and SQL; ``dd.read_parquet`` keeps or drops them depending on
    its file system. ``is`` does not find NaN, which is a value here.
    """
    if filters is None or (isinstance(filters, list | tuple) and not filters):
        return ()
    if not isinstance(filters, list | tuple) or any(
        not isinstance(item, list | tuple) for item in filters
    ):
        raise FilterError(f"filters is {filters!r}; {_SHAPE}")
    nested = all(
        isinstance(item, list | tuple) and all(isinstance(term, list | tuple) for term in item)
        for item in filters
    )
    groups = [
        tuple(predicate for term in group for predicate in _parse_term(term, schema))
        for group in (filters if nested else [filters])
    ]
    if not all(groups):
        raise FilterError(f"filters holds an empty list: {filters!r}; {_SHAPE}")
    return groups[0] if len(groups) == 1 else (_disjunction(groups),)


def _disjunction(groups: Sequence[tuple[Predicate, ...]]) -> Condition:
    columns = {predicate.column for group in groups for predicate in group}
    if len(columns) > 1 or any(len(group) > 1 for group in groups):
        return Disjunction(tuple(groups))
    alternatives = (p.value if p.op == "any_of" else (p,) for (p,) in groups)
    return Predicate(columns.pop(), "any_of", tuple(p for each in alternatives for p in each))


def _parse_term(term: Sequence[Any], schema: pa.Schema) -> tuple[Predicate, ...]:
    if len(term) == 2 and term[1] in ("is null", "not null"):
        term = (*term, None)
    if len(term) != 3 or not isinstance(term[0], str) or not isinstance(term[1], str):
        raise FilterError(f"filter {term!r} is no (column, op, value); {_SHAPE}")
    column, spelling, value = term
    try:
        kind = _column_type(column, schema)
        op = _SPELLINGS.get(spelling.strip().lower())
        if op is None:
            near = _nearest(spelling, _SPELLINGS)
            raise LiteralError(f"{spelling!r} is no operator; {near}")
        return _parse_values(column, op, value, kind, schema)
    except (LiteralError, FilterError) as error:
        raise FilterError(f"filter {tuple(term)!r}: {error}") from None


def _parse_values(
    column: str, op: str, value: Any, kind: pa.DataType, schema: pa.Schema
) -> tuple[Predicate, ...]:
    if op in ("is null", "not null"):
        if not _is_null(value):
            raise LiteralError(f"{op!r} takes None, got {value!r}; compare with '==' or '!='")
        return (Predicate(column, op),)
    if op not in ("in", "not in"):
        return (typed_predicate(Predicate(column, op, _from_iso(value, kind)), schema),)
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise LiteralError(f"{op!r} takes a list of values, got {value!r}")
    # A set has another order in every process, and the order goes into the keys of tasks.
    listed = sorted(value, key=repr) if isinstance(value, set | frozenset) else list(value)
    values = [_from_iso(each, kind) for each in map(_plain, listed)]
    if op == "in" and pa.types.is_floating(kind) and values:
        # Spelt out, since `in` would look at the sign of zero and round doubles to float32.
        return (_any_equal(column, values, schema),)
    return membership(column, values, schema, negated=op == "not in")


def _any_equal(column: str, values: Sequence[Any], schema: pa.Schema) -> Predicate:
    alternatives = tuple(
        Predicate(column, "is null") if _is_null(value) else Predicate(column, "==", value)
        for value in values
    )
    return typed_predicate(Predicate(column, "any_of", alternatives), schema)


def _from_iso(value: Any, kind: pa.DataType) -> Any:
    if not isinstance(value, str) or not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return value
    try:
        # Arrow's parser is strict; Python's drops digits past the microsecond, pandas' guesses.
        return pa.scalar(str.__str__(value)).cast(kind).as_py()
    except (pa.ArrowInvalid, OverflowError, ValueError):
        example = "2024-05-31" if pa.types.is_date(kind) else "2024-05-31T12:00:00"
        zone = "Z" if pa.types.is_timestamp(kind) and kind.tz is not None else ""
        raise LiteralError(
            f"{value!r} is no ISO text for {kind}; write {example + zone!r}"
        ) from None


def _column_type(column: str, schema: pa.Schema) -> pa.DataType:
    index = schema.get_field_index(column)
    if index < 0:
        raise FilterError(f"there is no column {column!r}; {_nearest(column, schema.names)}")
    return schema.field(index).type


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known, key=operator.methodcaller("lower"))
    more = ", ..." if len(names) > 20 else ""
    return nearest(name, names, f"there are {', '.join(map(repr, names[:20]))}{more}")
