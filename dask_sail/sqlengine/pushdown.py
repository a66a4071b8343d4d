"""The conditions of a plan's filter that a source may apply too.

Filters are read where they stand, in the serialised physical plan: right above the scan they are
for, with literals already of the column's type. The numbers are those of PhysicalExprNode in
DataFusion's ``datafusion.proto``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from datafusion import ExecutionPlan, SessionConfig, SessionContext

from ..errors import FilterError
from ..predicate import LiteralError, Predicate, typed_predicate
from .splice import fields, varint

__all__ = ["Expression", "Pushed", "push_down"]

_COLUMN, _LITERAL, _BINARY, _IS_NULL, _NOT_NULL, _NOT, _IN_LIST = 1, 2, 3, 5, 6, 7, 12
_OPERANDS = {
    _BINARY: (1, 2, 4),
    _IN_LIST: (1, 2),
    _IS_NULL: (1,),
    _NOT_NULL: (1,),
    _NOT: (1,),
}
_COMPARISONS = {"Eq": "==", "NotEq": "!=", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_MOST_LITERALS = 1000  # more values than these would make a query that databases refuse


@dataclass(frozen=True)
class Pushed:
    """What a source may be asked.

    Attributes
    ----------
    predicates
        Each holds for every row that the filter keeps.
    exact
        Whether they say all that the filter says: the other way round then, too.
    """

    predicates: tuple[Predicate, ...] = ()
    exact: bool = True


class Expression:
    """A serialised expression, one level at a time."""

    def __init__(self, message: bytes) -> None:
        (field,) = fields(message)
        self.message = message
        self.number = field.number
        self._body = message[field.start : field.end]

    @property
    def column(self) -> int | None:
        """Position of the column, if the expression is no more than one."""
        if self.number != _COLUMN:
            return None
        return next((self._number(f) for f in fields(self._body) if f.number == 2), 0)

    @functools.cached_property
    def operator(self) -> str:
        """DataFusion's name of a binary operator."""
        found = (self._body[f.start : f.end] for f in fields(self._body) if f.number == 3)
        return next(found, b"").decode() if self.number == _BINARY else ""

    @functools.cached_property
    def operands(self) -> list[Expression]:
        """What it is made of, in order."""
        numbers = _OPERANDS.get(self.number, ())
        found = [f for f in fields(self._body) if f.number in numbers and f.wire_type == 2]
        return [Expression(self._body[f.start : f.end]) for f in found]

    @property
    def negated(self) -> bool:
        """Whether a list is one of values that must not be."""
        return any(f.number == 3 and self._number(f) for f in fields(self._body))

    def _number(self, field: tuple[int, ...]) -> int:
        _, _, _, _, start, end = field
        return sum((byte & 127) << 7 * i for i, byte in enumerate(self._body[start:end]))


def push_down(
    message: bytes, columns: Sequence[str | None], schema: pa.Schema, ctx: SessionContext
) -> Pushed:
    """Read the conditions of a filter.

    Parameters
    ----------
    message
        The serialised condition.
    columns
        Names of the columns that its positions mean; None for what is computed.
    schema
        Types of the table's columns.
    """
    condition = Expression(message)
    literals = list(dict.fromkeys(each.message for each in _literals(condition)))
    values = dict(zip(literals, _evaluated(literals, ctx), strict=True))
    reader = _Reader(columns, schema, values)
    predicates: list[Predicate] = []
    exact = True
    for each in _flat(condition, "And"):
        found = reader.read(each)
        predicates += found.predicates
        exact = exact and found.exact
    return Pushed(tuple(dict.fromkeys(predicates)), exact)


_NONE = Pushed(exact=False)


@dataclass(frozen=True)
class _Reader:
    columns: Sequence[str | None]
    schema: pa.Schema
    values: Mapping[bytes, pa.Scalar]

    def read(self, expression: Expression) -> Pushed:
        try:
            found = self._read(expression)
            typed = tuple(typed_predicate(p, self.schema) for p in found.predicates)
        except (LiteralError, FilterError):
            return _NONE
        return replace(found, predicates=typed)

    def _read(self, expression: Expression) -> Pushed:
        number, operands = expression.number, expression.operands
        if expression.operator == "Or":
            return self._any_of(list(_flat(expression, "Or")))
        if expression.operator in _COMPARISONS and len(operands) == 2:
            return self._comparison(_COMPARISONS[expression.operator], *operands)
        if number == _IN_LIST:
            return self._members(operands[0], operands[1:], expression.negated)
        if number in (_IS_NULL, _NOT_NULL):
            name = self._name(operands[0])
            op = "is null" if number == _IS_NULL else "not null"
            return _NONE if name is None else Pushed((Predicate(name, op),))
        if number == _COLUMN or (number == _NOT and operands[0].number == _COLUMN):
            name = self._name(expression if number == _COLUMN else operands[0])
            return _NONE if name is None else Pushed((Predicate(name, "==", number == _COLUMN),))
        return _NONE

    def _name(self, expression: Expression) -> str | None:
        return None if expression.column is None else self.columns[expression.column]

    def _comparison(self, op: str, left: Expression, right: Expression) -> Pushed:
        if left.number == _LITERAL:
            op, left, right = _FLIPPED[op], right, left
        name = self._name(left)
        if name is None or right.number != _LITERAL:
            return _NONE
        kind = self.schema.field(name).type
        value = self.values[right.message]
        if value.type != kind or not value.is_valid:
            return _NONE
        wanted = Predicate(name, op, value.as_py())
        if pa.types.is_floating(kind) and op not in ("==", "!="):
            # NaN is above all numbers here, or below them where its sign says so, which is how
            # processors spell 0/0; it compares false for sources.
            either = Predicate(name, "any_of", (wanted, Predicate(name, "is nan")))
            return Pushed((either,), exact=False)
        return Pushed((wanted,))

    def _members(self, left: Expression, values: list[Expression], negated: bool) -> Pushed:
        name = self._name(left)
        if name is None or len(values) >= _MOST_LITERALS:
            return _NONE
        if any(value.number != _LITERAL for value in values):
            return _NONE
        kind = self.schema.field(name).type
        scalars = [self.values[value.message] for value in values]
        if any(value.type != kind for value in scalars if value.is_valid):
            return _NONE
        if negated and not all(value.is_valid for value in scalars):
            return _NONE
        present = tuple(value.as_py() for value in scalars if value.is_valid)
        # The source keeps nulls by "not in", SQL does not.
        return Pushed((Predicate(name, "not in" if negated else "in", present),), not negated)

    def _any_of(self, alternatives: list[Expression]) -> Pushed:
        found = [self.read(each) for each in alternatives]
        if any(len(each.predicates) != 1 for each in found):
            return _NONE
        predicates = [each.predicates[0] for each in found]
        exact = all(each.exact for each in found)
        if len({predicate.column for predicate in predicates}) > 1:
            return _NONE
        name = predicates[0].column
        flat = [
            inner
            for predicate in predicates
            for inner in (predicate.value if predicate.op == "any_of" else (predicate,))
        ]
        kind = self.schema.field(name).type
        if all(p.op in ("==", "in") for p in flat) and not pa.types.is_floating(kind):
            values = [v for p in flat for v in (p.value if p.op == "in" else (p.value,))]
            return Pushed((Predicate(name, "in", tuple(values)),), exact)
        return Pushed((Predicate(name, "any_of", tuple(dict.fromkeys(flat))),), exact)


def _literals(expression: Expression) -> Iterator[Expression]:
    if expression.number == _LITERAL:
        yield expression
    if expression.number != _IN_LIST or len(expression.operands) <= _MOST_LITERALS:
        for operand in expression.operands:
            yield from _literals(operand)


def _evaluated(literals: Sequence[bytes], ctx: SessionContext) -> list[pa.Scalar]:
    """Let DataFusion itself say what the literals are."""
    if not literals:
        return []
    tag, body = _one_row()
    body += b"".join(b"\x12" + varint(len(literal)) + literal for literal in literals)
    body += b"\x1a\x01c" * len(literals)
    plan = ExecutionPlan.from_bytes(ctx, tag + varint(len(body)) + body)
    (batch,) = [batch.to_pyarrow() for batch in ctx.execute(plan, 0)]
    return [column[0] for column in batch.columns]


def _flat(expression: Expression, operator: str) -> Iterator[Expression]:
    if expression.operator != operator:
        yield expression
        return
    for operand in expression.operands:
        yield from _flat(operand, operator)


@functools.cache
def _one_row() -> tuple[bytes, bytes]:
    """Return the tag of a projection, and its input: one row without columns."""
    ctx = SessionContext(SessionConfig().with_target_partitions(1))
    message = ctx.sql("SELECT 1 AS c0").execution_plan().to_bytes()
    (projection,) = fields(message)
    input_ = fields(message, projection.start, projection.end)[0]
    return message[projection.head : projection.tag_end], message[input_.head : input_.end]
