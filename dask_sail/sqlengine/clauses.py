"""Clauses that DataFusion reads and then leaves out, so that rows would be others than asked for.

``FROM t TABLESAMPLE (10)`` gives it all rows of t, and ``GROUP BY a WITH ROLLUP`` no totals. By
INTERSECT ALL it keeps each of the equal rows on the left if there is one on the right, and by
EXCEPT ALL none, however many there are on either side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import SQLNotSupportedError, place
from .tokens import Token, TokenType, tokens

__all__ = ["check_clauses"]


@dataclass(frozen=True, slots=True)
class _Around:
    """A token, and the words around it in small letters, without those in quotes."""

    words: Sequence[str]
    i: int

    def after(self, count: int = 1) -> str:
        at = self.i + count
        return self.words[at] if at < len(self.words) else ""

    @property
    def before(self) -> str:
        return self.words[self.i - 1] if self.i else ""


def _is_sample(at: _Around) -> bool:
    named = 1 if at.after() in _SAMPLES else 0
    whole = at.after(named + 2) == "100" and at.after(named + 3) == ")"  # percent: all rows
    return at.before not in (".", "select", ",") and at.after(named + 1) == "(" and not whole


_SAMPLES = ("bernoulli", "block", "reservoir", "row", "system")


def _is_with(at: _Around) -> bool:
    # A CTE may be called so: WITH rollup AS (...), WITH totals (a, b) AS (...).
    return at.before == "with" and at.after() not in ("as", "(")


def _is_of_all(at: _Around) -> bool:
    return at.after() == "all" and at.before != "."


_CLAUSES: dict[str, tuple[Callable[[_Around], bool], str]] = {
    "tablesample": (_is_sample, "TABLESAMPLE is not done here: write WHERE random() < 0.1"),
    "prewhere": (lambda at: at.before != ".", "PREWHERE is not done here: write WHERE"),
    "rollup": (_is_with, "WITH ROLLUP is not done here: write GROUP BY ROLLUP (...)"),
    "cube": (_is_with, "WITH CUBE is not done here: write GROUP BY CUBE (...)"),
    "totals": (_is_with, "WITH TOTALS is not done here: write GROUP BY ROLLUP (...)"),
    "partition": (
        lambda at: at.after() == "(" and at.before != ".",
        "PARTITION (...) of a table is not done here: write WHERE",
    ),
    "connect": (
        lambda at: at.after() == "by",
        "CONNECT BY is not done here: write WITH RECURSIVE",
    ),
    "connect by": (lambda at: True, "CONNECT BY is not done here: write WITH RECURSIVE"),
    "intersect": (
        _is_of_all,
        "INTERSECT ALL is not done here: write INTERSECT, or number equal rows in both queries by "
        "row_number() OVER (PARTITION BY ...)",
    ),
    "except": (
        _is_of_all,
        "EXCEPT ALL is not done here: write EXCEPT, or number equal rows in both queries by "
        "row_number() OVER (PARTITION BY ...)",
    ),
    "ilike": (
        lambda at: at.before == "*",
        "* ILIKE is not done here: name the columns, or leave some out by * EXCEPT (...)",
    ),
}


def check_clauses(sql: str) -> None:
    """Refuse what would be left out of a query.

    Raises
    ------
    SQLNotSupportedError
        With what to write instead.
    """
    found = tokens(sql)
    words = [_word(token) for token in found]
    for i, word in enumerate(words):
        known = _CLAUSES.get(word)
        if known is not None and known[0](_Around(words, i)):
            raise SQLNotSupportedError(known[1], *place(sql, found[i].start))


def _word(token: Token) -> str:
    kind = token.token_type
    is_quoted = kind is TokenType.IDENTIFIER or kind.name.endswith("STRING")
    return "" if is_quoted else " ".join(token.text.lower().split())
