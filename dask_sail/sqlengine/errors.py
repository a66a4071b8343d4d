"""What goes wrong between a query and its rows, in kinds that a caller can catch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from .. import spelling
from ..errors import PythonDataSourceError

__all__ = [
    "SQLAmbiguousNameError",
    "SQLError",
    "SQLExecutionError",
    "SQLNameError",
    "SQLNotSupportedError",
    "SQLQueryError",
    "SQLStatementError",
    "SQLSyntaxError",
    "SQLTypeError",
    "SQLVersionError",
    "nearest",
    "place",
    "query_error",
]


class SQLError(PythonDataSourceError):
    """Base of what goes wrong with a query."""


class SQLExecutionError(SQLError, RuntimeError):
    """A stage of a query failed where it ran.

    Parameters
    ----------
    stage
        Its name, as the dashboard and ``explain`` show it.
    message
        What is wrong, and what to do.
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(stage, message)  # the same arguments, or it will not unpickle

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"stage {self.args[0]}: {self.args[1]}"


class SQLVersionError(SQLError, RuntimeError):
    """A process has another DataFusion than the one that planned the query.

    Parameters
    ----------
    place
        Which process.
    here, planned
        Fingerprints of its DataFusion, and of the one that planned.
    """

    def __init__(self, place: str, here: str, planned: str) -> None:
        super().__init__(place, here, planned)

    def __str__(self) -> str:
        place, here, planned = self.args
        return (
            f"{place} has DataFusion {here}, and the query was planned by {planned}; "
            "install the same version of datafusion everywhere"
        )


class SQLQueryError(SQLError, ValueError):
    """A query cannot be planned.

    Parameters
    ----------
    message
        What is wrong: DataFusion's own words where it found the mistake.
    line, column
        Where, from 1, in the text that the person wrote; 0 if that is not known.
    excerpt
        That line, without the values of options; empty if it is not to be shown.
    """

    def __init__(self, message: str, line: int = 0, column: int = 0, excerpt: str = "") -> None:
        super().__init__(message, line, column, excerpt)

    @property
    def line(self) -> int:
        """Line of the mistake, from 1; 0 if unknown."""
        return int(self.args[1])

    @property
    def column(self) -> int:
        """Column of the mistake, from 1; 0 if unknown."""
        return int(self.args[2])

    def __str__(self) -> str:
        message, line, column, excerpt = self.args
        if not line:
            return str(message)
        where = f"{message}\nline {line}, column {column}"
        if not excerpt:
            return where
        # A tab before the mistake is as wide below as above.
        pad = "".join("\t" if character == "\t" else " " for character in excerpt[: column - 1])
        return f"{where}:\n  {excerpt}\n  {pad}^"


class SQLSyntaxError(SQLQueryError):
    """The text is no SQL, or more than one statement."""


class SQLNameError(SQLQueryError, LookupError):
    """There is no table, column or function of that name."""


class SQLAmbiguousNameError(SQLQueryError):
    """A name means several tables or columns."""


class SQLTypeError(SQLQueryError, TypeError):
    """An operator or function does not take values of these types."""


class SQLNotSupportedError(SQLQueryError, NotImplementedError):
    """A statement that is SQL, but nothing that is done here."""


class SQLStatementError(SQLQueryError):
    """A CREATE, DROP or DESCRIBE names an option wrongly, or contradicts what is registered."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean ...?`` for a name, or what there is if nothing is near."""
    names = [*known]
    there_is = f"there is {', '.join(map(repr, names)) or 'none':.300}"
    return spelling.nearest(name, names, there_is)


_AT = re.compile(r" at Line: (\d+), Column: (\d+)")
_SYNTAX = re.compile(r'(?:Parser|Tokenizer)Error\("(.*)"\)$', re.DOTALL)
_NO_TABLE = re.compile(r"table '(?:datafusion\.)?(?:public\.)?(.+?)' not found")
_NO_FUNCTION = re.compile(r"(?:Invalid function|table function) '(.+?)'")
_NO_FIELD = re.compile(r"No field named (.+?)\.(?:\s|$)")
_AMBIGUOUS = re.compile(r"Ambiguous reference to unqualified field (\S+)")
_TYPES = re.compile(
    r"[Cc]annot coerce|No function matches|failed to match any signature|Cannot cast|"
    r"Cast error|Cannot infer common argument type|non-boolean predicate|is not Struct|"
    r"type_coercion"
)
# What would be advice for another program: names are matched ignoring case here.
_NOT_FOR_US = re.compile(r"\nColumn names are case sensitive\.[^\n]*")
# What DataFusion prints for its own developers.
_INSIDES = re.compile(r"(does not support logical expression \w+)\(.*", re.DOTALL)
# It prints what it read, word by word, of what it cannot do.
_NO_OPERATOR = re.compile(r"Unsupported (?:ast node(?: in sqltorel:)?|(JOIN) operator) (\w+)")
# The types are listed again below it, and nobody has to report what is no bug.
_EACH_SIGNATURE = re.compile(r", errors: .*?No function matches", re.DOTALL)
_PREFIX = re.compile(
    r"^(?:DataFusion error: |Error during planning: |Schema error: |SQL error: |Internal error: |"
    r"(?:Optimizer rule '\w+' failed|type_coercion)\ncaused by\n|Arrow error: |Execution error: )+"
)


def query_error(
    error: BaseException, sql: str, tables: Mapping[str, Sequence[str]]
) -> SQLQueryError:
    """Return what a person is told of DataFusion's error about a query.

    Parameters
    ----------
    error
        As DataFusion raised it.
    sql
        The person's own text.
    tables
        Names of the tables, and their columns.
    """
    text = _NOT_FOR_US.sub("", str(error)).strip()
    text = _EACH_SIGNATURE.sub(". No function matches", text)
    message = _INSIDES.sub(r"\1", _PREFIX.sub("", text))
    if found := _SYNTAX.search(text):
        place = _AT.search(found[1])
        message = _AT.sub("", found[1])
        position = _offset(sql, *map(int, place.groups())) if place else len(sql.rstrip())
        return _at(SQLSyntaxError, f"not valid SQL: {message}", sql, position)
    if "only supports a single SQL statement" in text:
        return SQLSyntaxError("write one statement at a time; several were given")
    if found := _NO_TABLE.search(text):
        name = found[1]
        message = f"there is no table {name!r}; {nearest(name, tables)}"
        return _at(SQLNameError, message, sql, _find(sql, name))
    if found := _NO_FIELD.search(text):
        return _missing_column(found[1], message, sql, tables)
    if found := _AMBIGUOUS.search(text):
        name = _unquoted(found[1])
        message = f"{message}; write the table in front of it"
        return _at(SQLAmbiguousNameError, message, sql, _find(sql, name))
    if found := _NO_FUNCTION.search(text):
        return _at(SQLNameError, message, sql, _find(sql, found[1]))
    if found := _NO_OPERATOR.search(text):
        name = found[2].upper()
        message = f"{name} JOIN is not done here" if found[1] else f"{name} is not done here"
        if name in ("SEMI", "ANTI"):
            message += f"; write LEFT {name} JOIN"
        return _at(SQLNotSupportedError, message, sql, _only(sql, name))
    if "not implemented" in text:
        return SQLNotSupportedError(message)
    kind = SQLTypeError if _TYPES.search(text) else SQLQueryError
    return _at(kind, message, sql, _culprit(message, sql))


def _missing_column(
    quoted: str, message: str, sql: str, tables: Mapping[str, Sequence[str]]
) -> SQLQueryError:
    name = _unquoted(quoted)
    first, _, rest = message.partition("\n")
    # DataFusion says what is valid where the name stands; it does not look far for what is near.
    valid = re.findall(r'(?:"(?:[^"]|"")*"|\w+)(?=[,.]?(?:\s|,|$))', rest.partition("are ")[2])
    known = [_unquoted(one) for one in valid] or [c for names in tables.values() for c in names]
    first = first.partition(". Did you mean")[0].rstrip(".")
    hint = nearest(name, known) if known else "no column is in scope there"
    if rest and not hint.startswith("did"):
        hint = rest
    return _at(SQLNameError, f"{first}; {hint}", sql, _find(sql, *_parts(quoted)[-2:]))


_FUNCTION = re.compile(r"[Ff]unction '(\w+)'")
_OPERATION = re.compile(r"(?:expression|operation) \S+(?: \S+)*? ([^\w\s]{1,3}|AND|OR) ")
_LITERAL = re.compile(r"[Cc]annot cast string '(.*)' to value")
# Of DataFusion's own, each about one clause.
_CLAUSES = re.compile(
    r"^(Order by) column out of|not allowed in the (WHERE) clause|^(?:Expected )?(LIMIT|OFFSET) |"
    r"^Join condition must (be)|^(HAVING) clause|^(UNION|INTERSECT|EXCEPT) queries|"
    r"in (I?LIKE) expression"
)
_COLUMN = re.compile(r"(?:column \"|predicate ')([\w.]+)[\"'] (?:must|returning)")


def _culprit(message: str, sql: str) -> int | None:
    """Where the one thing stands that a message can mean, or None."""
    for pattern in (_FUNCTION, _OPERATION, _LITERAL):
        if match := pattern.search(message):
            return _only(sql, match[1])
    if match := _CLAUSES.search(message):
        word = next(filter(None, match.groups()))
        return _only(sql, "ON" if word == "be" else word)
    column = _COLUMN.search(message)
    return _find(sql, _unquoted(column[1])) if column else None


def _only(sql: str, word: str) -> int | None:
    """Where a word, sign or literal stands that a query has once."""
    # Workers raise errors of this module, and need no tokenizer for that.
    from .tokens import SQLTokenError, tokens

    try:
        found = tokens(sql)
    except SQLTokenError:
        return None
    same = [one.start for one in found if " ".join(one.text.split()).lower() == word.lower()]
    return same[0] if len(same) == 1 else None


def _unquoted(name: str) -> str:
    """The last part of a name as DataFusion writes it."""
    return _parts(name)[-1]


def _parts(name: str) -> list[str]:
    parts = re.findall(r'"(?:[^"]|"")*"|[^."]+', name) or [name]
    return [one[1:-1].replace('""', '"') if one.startswith('"') else one for one in parts]


def _find(sql: str, *parts: str) -> int | None:
    """Where a name stands in a query, if it stands there at all; strings and comments aside."""
    from .tokens import SQLTokenError, words

    try:
        found = words(sql)
    except SQLTokenError:
        return None
    wanted = [part.lower() for part in parts]
    for i, first in enumerate(found):
        together = found[i : i + len(wanted)]
        if [one.name.lower() for one in together] == wanted:
            between = sql[first.start : together[-1].start]
            if between.count(".") == len(wanted) - 1:
                return together[-1].start
    return None


def _offset(sql: str, line: int, column: int) -> int:
    lines = sql.split("\n")
    return sum(len(one) + 1 for one in lines[: line - 1]) + column - 1


def _at(kind: type[SQLQueryError], message: str, sql: str, position: int | None) -> SQLQueryError:
    return kind(message, *place(sql, position))


def place(sql: str, position: int | None) -> tuple[int, int, str]:
    """Return line, column and text of the line of a position; zeros and nothing for None."""
    if position is None:
        return 0, 0, ""
    line = sql.count("\n", 0, position) + 1
    begin = sql.rfind("\n", 0, position) + 1
    return line, position - begin + 1, sql[begin:].partition("\n")[0].rstrip("\r")
