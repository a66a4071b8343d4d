"""What goes wrong between a JDBC option and a row. Each error knows whether a retry may help."""

from __future__ import annotations

from typing import Any

__all__ = [
    "ColumnTypeError",
    "ColumnValueError",
    "ConnectError",
    "DivisionError",
    "EngineError",
    "JDBCError",
    "MissingDriverError",
    "OptionError",
    "QueryError",
]


class JDBCError(Exception):
    """Base of every error of this package; comes back whole from ``pickle``.

    No message holds a secret or the user's URL: drivers' texts pass through ``redact``, and
    ours is raised ``from None``.
    """

    transient: bool = False
    """Whether the same read may succeed when tried again."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Our own, since with `distributed` imported an error that is both a RuntimeError and an
        # OSError would otherwise not come back: tblib makes it by RuntimeError.__new__.
        return type(self), self.args, self.__dict__

    explains_itself: bool = True
    """Our messages say what to do, so callers leave out the traceback."""


class OptionError(JDBCError, ValueError):
    """An option is missing, unknown or malformed, or contradicts another one."""

    def __init__(self, option: str, problem: str, fix: str) -> None:
        super().__init__(option, problem, fix)  # the same arguments, or it will not unpickle

    def __str__(self) -> str:
        option, problem, fix = self.args
        return f"option {option!r} {problem}; {fix}"


class MissingDriverError(JDBCError, ImportError):
    """The driver that a database or engine needs is not installed; names the extra that has it."""

    def __init__(self, driver: str, extra: str) -> None:
        super().__init__(driver, extra)

    def __str__(self) -> str:
        driver, extra = self.args
        return f"{driver} is not installed; pip install 'dask-sail[{extra}]'"


class EngineError(JDBCError, RuntimeError):
    """The engine that was asked for cannot do what the options or the columns need."""


class ColumnTypeError(JDBCError, TypeError):
    """A column's database type cannot be read; names the column, its type and what to write."""

    def __init__(self, column: str, problem: str, fix: str) -> None:
        super().__init__(column, problem, fix)

    def __str__(self) -> str:
        column, problem, fix = self.args
        return f"column {column!r} {problem}; {fix}"


class ColumnValueError(ColumnTypeError, ValueError):
    """A value of a column does not fit its Arrow type exactly; names the column and the remedy."""


class DivisionError(ColumnValueError):
    """Rows have no place among the divisions of their index: it is NULL there, or lies outside."""


class QueryError(JDBCError, RuntimeError):
    """The database refused or broke off a statement."""

    def __init__(self, message: str, sqlstate: str | None = None, transient: bool = False) -> None:
        super().__init__(message, sqlstate, transient)
        self.transient = transient

    @property
    def sqlstate(self) -> str | None:
        """Five-character SQLSTATE, where the database gave one."""
        state: str | None = self.args[1]
        return state

    def __str__(self) -> str:
        return str(self.args[0])


class ConnectError(QueryError, ConnectionError):
    """No connection: wrong password, unknown host, refused port, or silence until the timeout."""
