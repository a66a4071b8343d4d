"""SQL text taken apart, just enough to know what is quoted and what is a name."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["can_escape", "name_parts", "tokens"]

_DOLLARS = ("postgresql", "redshift", "cockroachdb", "duckdb", "snowflake")
_MYSQL = ("mysql", "mariadb")
_NESTED_COMMENTS = ("postgresql", "redshift", "cockroachdb", "sqlserver", "duckdb")
_NEVER_ESCAPE = ("sqlite", "duckdb", "sqlserver", "oracle", "trino")
# What is not ASCII belongs to a name in every database, be it a letter or a blank.
_WORD = r"[\w\u0080-\U0010ffff]"
_BRACKETS = {"sqlite": r"\[[^\]]*\]", "sqlserver": r"\[(?:[^\]]|\]\])*\]"}


def can_escape(dialect: str) -> bool:
    """Say whether a backslash may escape a quote, which a setting of the session decides."""
    return dialect not in _NEVER_ESCAPE


def tokens(text: str, dialect: str, *, escapes: bool) -> Iterator[tuple[str, int]]:
    """Yield kind and end of each piece of SQL, without a gap.

    Kinds are space (comments too), quoted, semicolon, open (a quote or comment that is not closed)
    and other: a word, or a single character.
    """
    pattern, at = _pattern(dialect, escapes=escapes), 0
    # The pattern ends in "any character", so it always matches.
    while found := pattern.match(text, at):
        kind, at = found.lastgroup or "", found.end()
        if kind == "comment":
            kind, at = _block_comment(text, found.start(), nested=dialect in _NESTED_COMMENTS)
        yield kind, at


def _pattern(dialect: str, *, escapes: bool) -> re.Pattern[str]:
    line = r"--[^\n]*"
    if dialect in _MYSQL:
        line = r"--(?=\s|$)[^\n]*|\#[^\n]*"
    elif dialect in _DOLLARS:
        line = r"--[^\r\n]*"
    escaped, double = r"'(?:[^'\\]|''|\\.)*'", r'"(?:[^"]|"")*"'
    if escapes and dialect in _MYSQL:
        double = r'"(?:[^"\\]|""|\\.)*"'  # a text there
    quoted = [escaped if escapes else r"'(?:[^']|'')*'", double, r"`(?:[^`]|``)*`"]
    open_quote = "['\"`]"
    if dialect in _DOLLARS:
        tag = rf"(?:(?!\d){_WORD}{_WORD}*)?"
        quoted += [f"[eE]{escaped}", rf"\$(?P<tag>{tag})\$.*?\$(?P=tag)\$"]
        open_quote += rf"|\${tag}\$"
    if dialect in _BRACKETS:
        quoted.append(_BRACKETS[dialect])
    return re.compile(
        rf"(?P<space>[ \t\n\r\f\v]+|{line})|(?P<comment>/\*)|(?P<quoted>{'|'.join(quoted)})"
        rf"|(?P<semicolon>;)|(?P<open>{open_quote})|(?P<other>{_WORD}(?:{_WORD}|\$)*|.)",
        re.DOTALL,
    )


def _block_comment(text: str, at: int, *, nested: bool) -> tuple[str, int]:
    depth = 0
    for found in re.compile(r"/\*|\*/").finditer(text, at):
        if found[0] == "*/":
            depth -= 1
        elif nested or depth == 0:
            depth += 1
        if depth == 0:
            return "space", found.end()
    return "open", len(text)


_NAME_PART = re.compile(
    r"""\s*(?: "(?P<ansi>(?:[^"]|"")+)" | `(?P<tick>(?:[^`]|``)+)` | \[(?P<bracket>[^\[\]]+)\]
    | (?P<bare>[^."`\[\]\s](?:[^."`\[\]]*[^."`\[\]\s])?) )\s*(?P<dot>\.|$)""",
    re.VERBOSE,
)


def name_parts(text: str) -> list[str] | None:
    """Return the parts of a dotted name such as ``sales."Order.Lines"``, unquoted.

    None if the text is no name.

    Examples
    --------
    >>> name_parts('sales."Order.Lines"'), name_parts("Order Lines"), name_parts("a..b")
    (['sales', 'Order.Lines'], ['Order Lines'], None)
    """
    parts, at = [], 0
    while found := _NAME_PART.match(text, at):
        ansi, tick, bracket, bare, dot = found.groups()
        doubled = (ansi or "").replace('""', '"') or (tick or "").replace("``", "`")
        parts.append(doubled or bracket or bare)
        if not dot:
            return parts
        at = found.end()
    return None
