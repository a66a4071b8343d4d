"""The words of an SQL text and where they stand, by the tokenizer of sqlglot."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from sqlglot import Token, TokenType
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import TokenError

__all__ = ["DataFusionDialect", "SQLTokenError", "Token", "TokenType", "Word", "tokens", "words"]


class DataFusionDialect(Postgres):
    """PostgreSQL's lexical rules, as DataFusion's parser has them, with backticks for names."""

    class Tokenizer(Postgres.Tokenizer):
        IDENTIFIERS = ['"', "`"]  # noqa: RUF012 - sqlglot's own name and kind
        # Else the rest of a SHOW, EXPLAIN or FETCH would be one token.
        COMMANDS = set()  # noqa: RUF012 - sqlglot's own name and kind


class SQLTokenError(ValueError):
    """A text that cannot be cut into words; says nothing of it, as it may hold a password."""


def tokens(sql: str) -> list[Token]:
    """Return the tokens of a text, comments left out, each with its first and last position."""
    return list(_tokens(sql))


@functools.lru_cache(maxsize=4)  # all steps of planning ask, one after the other
def _tokens(sql: str) -> tuple[Token, ...]:
    try:
        return tuple(DataFusionDialect().tokenize(sql))
    except TokenError:
        pass
    raise SQLTokenError("a string, a comment or a quoted name is not closed")


@dataclass(frozen=True, slots=True)
class Word:
    """A name or keyword of a text.

    Attributes
    ----------
    name
        As written, without quotes.
    start
        Position of its first character.
    quoted
        Whether it stood in quotes, and so is a name.
    """

    name: str
    start: int
    quoted: bool


def word_of(token: Token) -> Word | None:
    """Return a token as a word, or None for a literal or a sign."""
    quoted = token.token_type is TokenType.IDENTIFIER
    length = token.end - token.start + 1
    # A token of several words (ORDER BY), or a string whose text looks like a word, is none.
    if quoted or (token.text.isidentifier() and length == len(token.text) and not _literal(token)):
        return Word(token.text, token.start, quoted)
    return None


def _literal(token: Token) -> bool:
    return token.token_type.name.endswith("STRING")


def words(sql: str) -> list[Word]:
    """Return the names and keywords of a text, in order."""
    return [word for token in tokens(sql) if (word := word_of(token)) is not None]
