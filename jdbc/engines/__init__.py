"""What runs a SELECT and hands back Arrow: three engines, found by name.

An engine knows its driver, not a database: what differs between databases (how to connect, how a
column is read exactly) comes from the `Dialect`. So each pair of engine and dialect meets in the
dialect's hooks only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from ..errors import EngineError

if TYPE_CHECKING:
    from ..cancellation import Cancellation
    from ..dialects import Column, ColumnRead, Dialect
    from ..options import JDBCOptions

__all__ = ["ENGINES", "Choice", "Engine", "choose_engine", "engine_for", "primed"]

_log = logging.getLogger(__name__)

ENGINES = ("connectorx", "adbc", "fallback")


class Engine(Protocol):
    """Reads with one driver; a module of this package that has this function."""

    def read(
        self,
        dialect: Dialect,
        options: JDBCOptions,
        sql: str,
        columns: Sequence[tuple[Column, ColumnRead]],
        cancellation: Cancellation,
    ) -> Iterator[pa.RecordBatch]:
        """Run one SELECT on a session of its own and yield its raw columns, in their order.

        Called on a worker, once per partition and again on a retry. The arrays are what
        ``ColumnRead.convert`` takes; batches may be of any size, and there may be none at all.
        At most one connection is open at a time. Closing the iterator stops the query and ends the
        session, and so does ``cancellation``, from another thread. Whatever the driver raises
        arrives as `JDBCError`, through ``dialect.error``, and raised where the driver's error is no
        longer its context: that one may hold secrets, and some come back from no pickle.
        """
        ...


def engine_for(name: str) -> Engine:
    """Find an engine by its name, importing its driver only now."""
    engine: Engine = import_module(f".{name}", __name__)
    return engine


@dataclass(frozen=True)
class Choice:
    """The engine of a read, and why it is that one."""

    engine: str
    why: str


def choose_engine(dialect: Dialect, options: JDBCOptions, columns: Sequence[Column]) -> Choice:
    """Choose the first engine that honours all options and reads all columns exactly.

    Raises
    ------
    EngineError
        If the engine that the options name, or else each of them, cannot.
    """
    asked = options.engine
    order: tuple[str, ...]
    if asked in ENGINES:
        order, reason = (asked,), "named by the option 'engine'"
    elif asked == "auto":
        order, reason = dialect.fastest, f"the fastest measured for {dialect.label}"
    else:
        order, reason = dialect.engines, "the default"
    refusals: list[str] = []
    for name in order:
        refusal = _refusal(dialect, options, columns, name)
        if refusal is None:
            why = reason if not refusals else "; ".join(refusals)
            if refusals:
                _log.info("read with engine %s: %s", name, why)
            return Choice(name, why)
        refusals.append(refusal)
    fix = "; leave out the option 'engine', or write 'auto'" if asked in ENGINES else ""
    raise EngineError("; ".join(refusals) + fix)


def _refusal(
    dialect: Dialect, options: JDBCOptions, columns: Sequence[Column], name: str
) -> str | None:
    if name not in dialect.engines:
        return f"{name} does not read {dialect.label}"
    if refusal := dialect.refusal(options, name):
        return refusal
    for column in columns:
        if dialect.read_column(column, name) is None:
            return f"{name} cannot read column {column.name!r} ({column.database_type}) exactly"
    return None


def primed(
    dialect: Dialect, sql: str, columns: Sequence[tuple[Column, ColumnRead]]
) -> tuple[str, int]:
    """Return the query with the dialect's first row before it, and how many rows that is."""
    if dialect.first_row is None:
        return sql, 0
    first = dialect.first_row([read for _, read in columns])
    return f"{first} UNION ALL SELECT * FROM (\n{sql}\n)", 1  # noqa: S608 - both are made here
