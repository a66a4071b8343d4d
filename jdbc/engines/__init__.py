"""What runs a SELECT and hands back Arrow: three engines, found by name.

An engine knows its driver, not a database: what differs between databases (how to connect, how a
column is read exactly) comes from the `Dialect`. So each pair of engine and dialect meets in the
dialect's hooks only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from ..dialects import ColumnRead, Dialect
    from ..options import JDBCOptions

__all__ = ["ENGINES", "Engine", "engine_for"]

ENGINES = ("connectorx", "adbc", "fallback")


class Engine(Protocol):
    """Reads with one driver; a module of this package that has this function."""

    def read(
        self, dialect: Dialect, options: JDBCOptions, sql: str, columns: Sequence[ColumnRead]
    ) -> Iterator[pa.RecordBatch]:
        """Run one SELECT on a session of its own and yield its raw columns, in their order.

        Called on a worker, once per partition and again on a retry. The arrays are what
        ``ColumnRead.convert`` takes; batches may be of any size, and there may be none at all.
        Closing the iterator stops the query and ends the session. Whatever the driver raises
        arrives as `JDBCError`, free of secrets, through ``dialect.error``.
        """
        ...


def engine_for(name: str) -> Engine:
    """Find an engine by its name, importing its driver only now."""
    engine: Engine = import_module(f".{name}", __name__)
    return engine
