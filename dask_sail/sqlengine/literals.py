"""Numbers with a point, exact where they meet decimals.

DataFusion reads ``17.69`` as a double, which a decimal column is compared with as
17.690000000000001: ``price = 17.69`` finds nothing, and ``price <= 17.69`` loses rows. Its setting
that reads all such numbers as decimals turns columns of doubles into decimals in turn, and fails at
their NaN. So the numbers that a plan holds otherwise than they are written, and only these, are
given to it as decimals.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from .errors import SQLTypeError, place
from .tokens import SQLTokenError, TokenType, tokens

__all__ = ["Planned", "exact"]

#: Names and types of a query's columns, and its optimised plan.
Planned = tuple[pa.Schema, str]

_PLANNED = re.compile(r"Decimal(?:128|256)\((-?\d[\d.]*),\d+,-?\d+\)")
_CANNOT = "Cannot cast to Decimal"  # a double with more digits than decimals have
# What DataFusion makes of a double that meets a decimal: as in its own plan, results keep their
# types.
_OF_DOUBLES = (30, 15)
_MOST_DIGITS = 38
_DIGITS_OF_DOUBLES = 15
_MOST_TRIED = 64  # one by one, each with a plan of its own


@dataclass(frozen=True, slots=True)
class _Number:
    """A number of the text."""

    value: Decimal
    start: int
    end: int

    @property
    def own_type(self) -> tuple[int, int] | None:
        """Precision and scale that hold it, or None if no decimal does."""
        _, digits, exponent = self.value.as_tuple()
        assert isinstance(exponent, int)
        scale = max(0, -exponent)
        precision = max(len(digits) + max(0, exponent), scale, 1)
        return (precision, scale) if precision <= _MOST_DIGITS else None

    def is_near(self, other: Decimal) -> bool:
        """Whether the other is what a double makes of it."""
        return abs(other - self.value) <= abs(self.value) * Decimal("4e-16") + Decimal("1e-15")


def exact(sql: str, plan: Callable[[str], Planned]) -> str:
    """Return a query that compares decimals with the numbers that it says.

    Parameters
    ----------
    sql
        The query, with names as they are spelt.
    plan
        Asks DataFusion; raises what it raises.

    Raises
    ------
    SQLTypeError
        If a number would be rounded, and cannot be written as a decimal without changing the
        types of the result.
    """
    numbers = _numbers(sql)
    doubles = [one for one in numbers if _is_double(sql[one.start : one.end], one.value)]
    if not doubles:
        return sql
    written = {abs(one.value) for one in numbers}
    try:
        schema, text = plan(sql)
    except Exception as error:  # noqa: BLE001 - DataFusion raises bare exceptions
        # Whoever asks next is told of all else that is wrong.
        return _of_many_digits(sql, doubles, plan) if _CANNOT in str(error) else sql
    rounded = _rounded(text, written, doubles)
    if not rounded:
        return sql
    suspects = [one for one in doubles if any(one.is_near(value) for value in rounded)]
    return _Rewriting(sql, plan, schema, written, doubles).run(suspects, len(rounded))


def _numbers(sql: str) -> list[_Number]:
    try:
        found = tokens(sql)
    except SQLTokenError:
        return []
    result = []
    for token in found:
        text = sql[token.start : token.end + 1]
        if token.token_type is TokenType.NUMBER and re.fullmatch(r"[\d.]+(e[+-]?\d+)?", text, re.I):
            result.append(_Number(Decimal(text), token.start, token.end + 1))
    return result


def _is_double(text: str, value: Decimal) -> bool:
    return not text.isdigit() or value >= 2**64


def _rounded(text: str, written: Iterable[Decimal], doubles: Sequence[_Number]) -> list[Decimal]:
    """Decimals of a plan that are nearly, and not quite, numbers of the query."""
    found = (abs(Decimal(value)) for value in _PLANNED.findall(text))
    return [v for v in found if v not in written and any(one.is_near(v) for one in doubles)]


def _of_many_digits(sql: str, doubles: Sequence[_Number], plan: Callable[[str], Planned]) -> str:
    long = [one for one in doubles if len(one.value.as_tuple().digits) > _DIGITS_OF_DOUBLES]
    if not long or any(one.own_type is None for one in long):
        return sql
    changed = _replaced(sql, {one: one.own_type for one in long})
    try:
        plan(changed)
    except Exception:  # noqa: BLE001 - DataFusion raises bare exceptions
        return sql
    return changed


def _replaced(sql: str, types: Mapping[_Number, tuple[int, int] | None]) -> str:
    def pieces() -> Iterator[str]:
        end = 0
        for one in sorted(types, key=lambda number: number.start):
            precision, scale = types[one] or _OF_DOUBLES
            yield sql[end : one.start]
            yield f"CAST('{one.value:f}' AS DECIMAL({precision}, {scale}))"
            end = one.end
        yield sql[end:]

    return "".join(pieces())


@dataclass(frozen=True)
class _Rewriting:
    """A query some numbers of which are rounded."""

    sql: str
    plan: Callable[[str], Planned]
    schema: pa.Schema
    written: set[Decimal]
    doubles: Sequence[_Number]

    def run(self, suspects: Sequence[_Number], rounded: int) -> str:
        """Write those as decimals that are rounded less for it: the others meet doubles."""
        every = {one: one.own_type for one in suspects}
        # Of values that stand there once, none can meet a double elsewhere.
        once = len({one.value for one in every}) == len(every)
        if len(every) > _MOST_TRIED and once and self._tried(every) == (0, True):
            return _replaced(self.sql, every)
        chosen: dict[_Number, tuple[int, int] | None] = {}
        kept = None  # a number that other types would come of
        for one in suspects:
            for kind in dict.fromkeys((one.own_type, _OF_DOUBLES)):
                left, same_types = self._tried({**chosen, one: kind})
                if left < rounded and same_types:
                    chosen[one], rounded = kind, left
                    break
                if left < rounded:
                    kept = one
            if not rounded:
                break
        if rounded and kept is not None:
            raise self._error(kept)
        return _replaced(self.sql, chosen)

    def _tried(self, types: Mapping[_Number, tuple[int, int] | None]) -> tuple[int, bool]:
        """How many numbers are rounded yet, and whether the result's types stay."""
        try:
            schema, text = self.plan(_replaced(self.sql, types))
        except Exception:  # noqa: BLE001 - DataFusion raises bare exceptions
            return sys.maxsize, False
        left = len(_rounded(text, self.written, self.doubles))
        return left, schema.types == self.schema.types

    def _error(self, number: _Number) -> SQLTypeError:
        text = self.sql[number.start : number.end]
        return SQLTypeError(
            f"{text} meets a decimal, and would be rounded as a double; write "
            f"CAST('{text}' AS DECIMAL(...)) with its digits",
            *place(self.sql, number.start),
        )
