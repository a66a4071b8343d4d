"""Statements that are no query: tables made and dropped, views, what there is, and plans.

Read by us: DataFusion demands a LOCATION of every external table, and quotes statements, with the
passwords in their OPTIONS, in its errors. Nothing here shows the value of an option.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from .errors import SQLNotSupportedError, SQLQueryError, SQLStatementError, SQLSyntaxError, place
from .tokens import SQLTokenError, Token, TokenType, tokens

__all__ = [
    "CreateTable",
    "CreateView",
    "Describe",
    "Drop",
    "Explain",
    "Name",
    "Query",
    "ShowTables",
    "Statement",
    "parse_statement",
]


@dataclass(frozen=True)
class Name:
    """A name as written; an unquoted one is found ignoring case."""

    text: str
    quoted: bool
    start: int


@dataclass(frozen=True)
class Query:
    """What DataFusion plans; the text as long as the statement was, so that places agree."""

    sql: str


@dataclass(frozen=True)
class Explain:
    """``EXPLAIN [ANALYZE] query``."""

    sql: str
    analyze: bool


@dataclass(frozen=True)
class CreateView:
    """``CREATE [OR REPLACE] VIEW [IF NOT EXISTS] name AS query``."""

    name: Name
    sql: str
    replace: bool
    if_not_exists: bool


@dataclass(frozen=True)
class CreateTable:
    """``CREATE [OR REPLACE] EXTERNAL TABLE [IF NOT EXISTS] name ... STORED AS ...``.

    Attributes
    ----------
    schema
        Columns, where the statement names them.
    stored_as
        Name of a source, in small letters; ``python`` and ``parquet`` are none.
    """

    name: Name
    stored_as: str
    replace: bool
    if_not_exists: bool
    schema: pa.Schema | None = None
    location: str | None = field(default=None, repr=False)
    partitioned_by: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict, repr=False)
    option_starts: dict[str, int] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Drop:
    """``DROP TABLE|VIEW [IF EXISTS] name``."""

    name: Name
    view: bool
    if_exists: bool


@dataclass(frozen=True)
class ShowTables:
    """``SHOW TABLES``."""


@dataclass(frozen=True)
class Describe:
    """``DESCRIBE name`` or ``SHOW COLUMNS FROM name``; of a query if ``sql`` is given."""

    name: Name | None = None
    sql: str = ""


Statement = Query | Explain | CreateView | CreateTable | Drop | ShowTables | Describe

_REFUSED = {
    "INSERT": "nothing is written by SQL; write the result, e.g. with to_parquet()",
    "COPY": "nothing is written by SQL; write the result, e.g. with to_parquet()",
    "UPDATE": "tables are read only; SELECT what the rows should be",
    "DELETE": "tables are read only; SELECT the rows that should stay",
    "MERGE": "tables are read only; SELECT what the rows should be",
    "TRUNCATE": "tables are read only; DROP TABLE forgets one",
    "ALTER": "tables are read only; CREATE VIEW with the columns that are wanted",
    "SET": "settings are arguments of SQLContext",
    "USE": "there is one schema only",
    "PREPARE": "write the values into the query",
    "EXECUTE": "write the values into the query",
    "BEGIN": "there are no transactions",
    "COMMIT": "there are no transactions",
    "GRANT": "there are no users",
}

_QUERIES = ("SELECT", "WITH", "VALUES", "(", "FROM")


def parse_statement(sql: str) -> Statement:
    """Read one statement; a query is handed on as it is.

    Raises
    ------
    SQLSyntaxError
        If there is no statement, or there are several.
    SQLStatementError
        If a statement is malformed.
    SQLNotSupportedError
        If it would change data, or settings.
    """
    return _Reader(sql).statement()


class _Reader:
    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.at = 0
        try:
            found = tokens(sql)
        except SQLTokenError as error:
            # DataFusion has a better word for it, but quotes the text, which may hold a password.
            self.tokens: list[Token] = []
            self.failure = str(error)
            return
        self.failure = ""
        while found and found[-1].token_type is TokenType.SEMICOLON:
            last = found.pop()
            self.sql = self.sql[: last.start] + " " + self.sql[last.end + 1 :]
        self.tokens = found
        second = next((t for t in found if t.token_type is TokenType.SEMICOLON), None)
        if second is not None:
            raise self._error(
                SQLSyntaxError, "write one statement at a time; another one follows", second.end
            )

    # The text.

    def _error(
        self, kind: type[SQLQueryError], message: str, start: int | None = None
    ) -> SQLQueryError:
        if start is None:
            start = self.tokens[self.at].start if self.at < len(self.tokens) else len(self.sql)
        line, column, excerpt = place(self.sql, start)
        first = start - column + 1
        last = first + len(excerpt)
        # From OPTIONS on, a password without quotes is a word like any other.
        options = (one.start for one in self.tokens if one.text.upper() == "OPTIONS")
        shown = last <= next(options, last) and not any(
            token.token_type is not TokenType.IDENTIFIER
            and "STRING" in token.token_type.name
            and token.end >= first
            and token.start <= last
            for token in self.tokens
        )
        return kind(message, line, column, excerpt if shown else "")

    def _peek(self, ahead: int = 0) -> str:
        """The next word in capitals, or sign; empty for a string, a quoted name, or the end."""
        if self.at + ahead >= len(self.tokens):
            return ""
        token = self.tokens[self.at + ahead]
        literal = token.token_type is TokenType.IDENTIFIER or "STRING" in token.token_type.name
        return "" if literal else str(token.text).upper()

    def _skip(self, *words: str) -> bool:
        """Pass some words if they come next."""
        if any(self._peek(i) != word for i, word in enumerate(words)):
            return False
        self.at += len(words)
        return True

    def _expect(self, *words: str) -> None:
        if not self._skip(*words):
            raise self._error(SQLStatementError, f"expected {' '.join(words)} here")

    def _name(self) -> Name:
        if self.at >= len(self.tokens):
            raise self._error(SQLStatementError, "expected a name here")
        token = self.tokens[self.at]
        quoted = token.token_type is TokenType.IDENTIFIER
        if not quoted and not self._peek().isidentifier():
            raise self._error(SQLStatementError, "expected a name here")
        self.at += 1
        if self._peek() == ".":
            raise self._error(SQLStatementError, "a table's name has one part only")
        return Name(str(token.text), quoted, token.start)

    def _rest(self) -> str:
        """The text from here on, where it stands in the statement."""
        if self.at >= len(self.tokens):
            raise self._error(SQLStatementError, "expected a query here")
        start = self.tokens[self.at].start
        before = "".join("\n" if one == "\n" else " " for one in self.sql[:start])
        return before + self.sql[start:]

    def _end(self) -> None:
        if self.at < len(self.tokens):
            raise self._error(SQLStatementError, "the statement should end here")

    # Statements.

    def statement(self) -> Statement:
        first = self._peek()
        if self.failure:
            return self._unreadable()
        if not self.tokens:
            raise SQLSyntaxError("there is no statement in the text")
        if self._skip("EXPLAIN"):
            return self._explain()
        if self._skip("CREATE"):
            return self._create()
        if self._skip("DROP"):
            return self._drop()
        if self._skip("SHOW"):
            return self._show()
        if self._skip("DESCRIBE") or self._skip("DESC"):
            return self._describe()
        if first in _REFUSED:
            raise self._error(
                SQLNotSupportedError, f"{first} is not done here: {_REFUSED[first]}", None
            )
        if first not in _QUERIES:
            # DataFusion would say so as well, but the line may hold the values of options.
            raise self._error(SQLSyntaxError, "not valid SQL: expected a statement here")
        return Query(self.sql)

    def _unreadable(self) -> Statement:
        if self.sql.lstrip().upper().startswith(_QUERIES):
            return Query(self.sql)  # nothing secret in it: DataFusion says what is wrong, and where
        raise SQLSyntaxError(self.failure)

    def _explain(self) -> Explain:
        analyze = self._skip("ANALYZE") or self._skip("ANALYSE")
        self._skip("VERBOSE")
        if self._peek() == "FORMAT":
            raise self._error(SQLNotSupportedError, "EXPLAIN has one format only")
        return Explain(self._query(), analyze)

    def _query(self) -> str:
        rest = self._rest()
        if self._peek() in ("CREATE", "DROP", "SHOW", "EXPLAIN", "DESCRIBE", *_REFUSED):
            raise self._error(SQLNotSupportedError, "expected a query here")
        return rest

    def _create(self) -> Statement:
        replace = self._skip("OR", "REPLACE")
        if self._skip("VIEW"):
            if_not_exists = self._skip("IF", "NOT", "EXISTS")
            name = self._name()
            if self._peek() == "(":
                raise self._error(
                    SQLNotSupportedError, "name the columns of a view in its query, with AS"
                )
            self._expect("AS")
            return CreateView(name, self._query(), replace, if_not_exists)
        if self._skip("EXTERNAL", "TABLE"):
            return self._create_external(replace)
        if self._peek() == "TABLE" or self._peek(1) == "TABLE":
            raise self._error(
                SQLNotSupportedError,
                "CREATE TABLE would have to keep rows; write CREATE VIEW for a query's text, "
                "CREATE EXTERNAL TABLE for a source, or register ctx.sql(...).persist()",
            )
        raise self._error(
            SQLNotSupportedError, "only EXTERNAL TABLE and VIEW can be created; expected one here"
        )

    def _create_external(self, replace: bool) -> CreateTable:
        if_not_exists = self._skip("IF", "NOT", "EXISTS")
        name = self._name()
        schema = self._columns() if self._peek() == "(" else None
        stored_as = location = None
        partitioned_by: tuple[str, ...] = ()
        options: dict[str, str] = {}
        starts: dict[str, int] = {}
        while self.at < len(self.tokens):
            if self._skip("STORED", "AS"):
                stored_as = self._name().text
            elif self._skip("LOCATION"):
                location = self._string("the location")
            elif self._skip("PARTITIONED BY") or self._skip("PARTITIONED", "BY"):
                partitioned_by = self._names()
            elif self._skip("OPTIONS"):
                options, starts = self._options()
            else:
                raise self._error(
                    SQLStatementError,
                    "expected STORED AS, LOCATION, PARTITIONED BY or OPTIONS here",
                )
        if stored_as is None:
            raise self._error(
                SQLStatementError, "STORED AS is missing; write e.g. STORED AS PARQUET, or JDBC"
            )
        return CreateTable(
            name=name,
            stored_as=stored_as.lower(),
            replace=replace,
            if_not_exists=if_not_exists,
            schema=schema,
            location=location,
            partitioned_by=partitioned_by,
            options=options,
            option_starts=starts,
        )

    def _names(self) -> tuple[str, ...]:
        self._expect("(")
        names = [self._name().text]
        while self._skip(","):
            names.append(self._name().text)
        self._expect(")")
        return tuple(names)

    def _string(self, what: str) -> str:
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.token_type in (TokenType.STRING, TokenType.HEREDOC_STRING):
                self.at += 1
                return str(token.text)
        raise self._error(SQLStatementError, f"{what} must be a text in single quotes")

    def _options(self) -> tuple[dict[str, str], dict[str, int]]:
        self._expect("(")
        options: dict[str, str] = {}
        starts: dict[str, int] = {}
        while not self._skip(")"):
            if options and not self._skip(","):
                raise self._error(SQLStatementError, "expected ',' or ')' here")
            start = self.tokens[self.at].start if self.at < len(self.tokens) else len(self.sql)
            key = self._key()
            self._skip("=")
            if key.lower() in map(str.lower, options):
                raise self._error(SQLStatementError, f"option {key!r} is given twice", start)
            options[key], starts[key] = self._value(key), start
        return options, starts

    def _key(self) -> str:
        if self.at < len(self.tokens) and self.tokens[self.at].token_type is TokenType.STRING:
            return self._string("an option's name")
        parts = [self._word("an option's name")]
        while self._skip("."):
            parts.append(self._word("an option's name"))
        return ".".join(parts)

    def _word(self, what: str) -> str:
        if not self._peek().isidentifier():
            raise self._error(SQLStatementError, f"expected {what} here")
        self.at += 1
        return str(self.tokens[self.at - 1].text)

    def _value(self, key: str) -> str:
        sign = "-" if self._skip("-") else ""
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.token_type is TokenType.NUMBER:
                self.at += 1
                return f"{sign}{token.text}"
        if not sign and self._peek() in ("TRUE", "FALSE"):
            return self._word("a value").lower()
        return self._string(f"the value of option {key!r}")

    def _columns(self) -> pa.Schema:
        """Names and types in parentheses, as DataFusion reads types."""
        from datafusion import SessionContext

        start = self.tokens[self.at].start
        self._expect("(")
        fields = []
        while True:
            name = self._name()
            first, depth = self.at, 0
            while self.at < len(self.tokens) and not (depth == 0 and self._peek() in (",", ")")):
                depth += (self._peek() in ("(", "<")) - (self._peek() in (")", ">"))
                self.at += 1
            words = self.tokens[first : self.at]
            texts = [str(one.text).upper() for one in words]
            required = texts[-2:] == ["NOT", "NULL"]
            words = words[: len(words) - 2 if required else len(words)]
            if not words:
                raise self._error(SQLStatementError, f"column {name.text!r} needs a type")
            text = self.sql[words[0].start : words[-1].end + 1]
            kind = None
            try:
                kind = SessionContext().sql(f"SELECT CAST(NULL AS {text})").schema().field(0).type
            except Exception:  # noqa: BLE001 - whatever DataFusion raises of a type it does not know
                kind = None
            if kind is None:
                message = f"{text!r} is no type of a column; write e.g. BIGINT, or DECIMAL(10, 2)"
                raise self._error(SQLStatementError, message, words[0].start)
            fields.append(pa.field(name.text, kind, nullable=not required))
            if not self._skip(","):
                break
        if not self._skip(")"):
            raise self._error(SQLStatementError, "the list of columns is not closed", start)
        return pa.schema(fields)

    def _drop(self) -> Drop:
        view = self._peek() == "VIEW"
        if not view and self._peek() != "TABLE":
            raise self._error(SQLNotSupportedError, "only TABLE and VIEW can be dropped")
        self.at += 1
        if_exists = self._skip("IF", "EXISTS")
        name = self._name()
        self._end()
        return Drop(name, view, if_exists)

    def _show(self) -> Statement:
        if self._skip("TABLES"):
            self._end()
            return ShowTables()
        if self._skip("COLUMNS"):
            if not self._skip("FROM"):
                self._expect("IN")
            name = self._name()
            self._end()
            return Describe(name)
        raise self._error(SQLNotSupportedError, "only TABLES, and COLUMNS FROM a table, are shown")

    def _describe(self) -> Describe:
        self._skip("TABLE")
        if self._peek() in ("SELECT", "WITH", "VALUES", "("):
            return Describe(sql=self._query())
        name = self._name()
        self._end()
        return Describe(name)
