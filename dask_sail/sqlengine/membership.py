"""Subqueries behind IN whose NULLs DataFusion 55 does not see, so that rows would be wrong.

``k NOT IN (SELECT ...)`` holds for no row if the subquery gives a NULL, and does not hold for a
NULL in ``k``. DataFusion knows that where such a condition stands alone or among others that all
must hold, and the subquery does not depend on the row. Elsewhere it takes "unknown" for "no"; and a
subquery that depends on the row it takes for one that gives a NULL if any row of its table has one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from datafusion import ExecutionPlan, LogicalPlan

from .errors import SQLNotSupportedError

__all__ = ["check_conditions", "check_joins"]

_INSTEAD = "write NOT EXISTS (SELECT 1 FROM ... WHERE (a = b) IS NOT FALSE) in place of a NOT IN"


def check_conditions(plan: LogicalPlan) -> None:
    """Refuse a query that asks whether an IN (SELECT ...) is false or unknown within a condition.

    Raises
    ------
    SQLNotSupportedError
        With what to write instead.
    """
    shown = plan.display_indent()
    if "(<subquery>)" not in shown:
        return
    seen = set()
    for predicate in _predicates(plan):
        seen.add(predicate.canonical_name())
        for part, wanted in _conjuncts(predicate, wanted=True):
            if _kind(part) != "InSubquery" and _sees_unknown(part, wanted):
                raise _within()
    # The bindings do not give what is within a subquery: only how it is shown.
    filters = {line.strip().removeprefix("Filter: ") for line in shown.split("\n")}
    if any(map(_MAY_SEE.search, filters - seen)):
        raise _within()


# Refuses some that are right as well: what NOT is about is not looked at.
_MAY_SEE = re.compile(
    r"\(<subquery>\)\)* IS |^(?=.*\bNOT\b.* IN \(<subquery>\))(?=.*(?: OR |\bCASE )).*$"
)


def _within() -> SQLNotSupportedError:
    return SQLNotSupportedError(
        "NOT IN (SELECT ...), and whatever else asks if an IN (SELECT ...) does not hold, is not "
        f"done here within OR, CASE or IS: {_INSTEAD}"
    )


def check_joins(plan: ExecutionPlan) -> None:
    """Refuse a plan of a NOT IN (SELECT ...) whose subquery depends on the row.

    Raises
    ------
    SQLNotSupportedError
        With what to write instead.
    """
    shown = plan.display().strip()
    if shown.startswith("HashJoinExec") and "null_aware" in shown and ", filter=" in shown:
        raise SQLNotSupportedError(
            f"a subquery that uses columns from around it is not done behind NOT IN: {_INSTEAD}"
        )
    for child in plan.children():
        check_joins(child)


def _predicates(plan: LogicalPlan) -> Iterator[Any]:
    """Yield the conditions of all filters but those within subqueries."""
    try:
        node = plan.to_variant()
    except Exception:  # noqa: BLE001 - the bindings lack some nodes, and none of these filters
        node = None
    if type(node).__name__ == "Filter":
        yield node.predicate()
    for child in plan.inputs():
        yield from _predicates(child)


def _conjuncts(expression: Any, *, wanted: bool) -> Iterator[tuple[Any, bool]]:
    """Yield what must all be ``wanted``, which is the other way round within NOT."""
    if _kind(expression) == "Not":
        yield from _conjuncts(_operands(expression)[0], wanted=not wanted)
    elif _operator(expression) == ("AND" if wanted else "OR"):
        for operand in _operands(expression):
            yield from _conjuncts(operand, wanted=wanted)
    else:
        yield expression, wanted


def _sees_unknown(expression: Any, wanted: bool) -> bool:
    """Whether it matters that an IN within a condition is unknown, and not false."""
    kind = _kind(expression)
    if kind == "InSubquery":
        return bool(expression.to_variant().negated()) == wanted
    if kind == "Not":
        return _sees_unknown(_operands(expression)[0], not wanted)
    if kind in ("IsTrue", "IsNotTrue"):
        return _sees_unknown(_operands(expression)[0], wanted=True)
    if _operator(expression) in ("AND", "OR"):
        return any(_sees_unknown(operand, wanted) for operand in _operands(expression))
    return any(_has_membership(operand) for operand in _operands(expression))


def _has_membership(expression: Any) -> bool:
    return _kind(expression) == "InSubquery" or any(map(_has_membership, _operands(expression)))


def _kind(expression: Any) -> str:
    return str(expression.variant_name())


def _operator(expression: Any) -> str:
    return str(expression.to_variant().op()) if _kind(expression) == "BinaryExpr" else ""


def _operands(expression: Any) -> list[Any]:
    try:
        operands = list(expression.rex_call_operands())
    except Exception:  # noqa: BLE001 - the bindings know of no operands there
        return []
    itself = expression.canonical_name()  # what a column, or a number, is made of
    return [one for one in operands if one.canonical_name() != itself]
