"""Reads with ADBC: streams Arrow batches, in the memory of one batch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import adbc_driver_manager
import pyarrow as pa

# Private, but the one reader whose errors have an SQLSTATE; pyarrow's own has a text only.
from adbc_driver_manager._reader import AdbcRecordBatchReader

from . import primed

if TYPE_CHECKING:
    from ..cancellation import Cancellation
    from ..dialects import Column, ColumnRead, Dialect
    from ..options import JDBCOptions

__all__ = ["read"]

_databases: dict[tuple[int, str], Any] = {}


def read(
    dialect: Dialect,
    options: JDBCOptions,
    sql: str,
    columns: Sequence[tuple[Column, ColumnRead]],
    cancellation: Cancellation,
) -> Iterator[pa.RecordBatch]:
    """Run one SELECT, as `jdbc.engines.Engine.read`."""
    try:
        if dialect.arrow_batches is not None:
            with dialect.arrow_batches(options, sql, cancellation) as own_batches:
                yield from own_batches
            return
        with (
            _connected(dialect, options) as connection,
            cancellation.ends(partial(_cancel, connection)),
            _transaction(connection, dialect),
        ):
            for statement in dialect.session(options):
                _run(connection, statement)
            query, extra = primed(dialect, sql, columns)
            # Closed before its connection, also where the reader of this generator gives up.
            with closing(_batches(connection, dialect, options, query)) as batches:
                for batch in batches:
                    yield batch.slice(extra)
                    extra = max(0, extra - batch.num_rows)
        return
    except Exception as e:  # noqa: BLE001 - errors of the driver, of Arrow, and OSError
        misfit = dialect.adbc_misfit(e, options, sql, [column for column, _ in columns])
        error = misfit or dialect.error(e, options)
    raise error


@contextmanager
def _connected(dialect: Dialect, options: JDBCOptions) -> Iterator[Any]:
    """Give a connection, and close it whatever its driver says of that."""
    connection = adbc_driver_manager.AdbcConnection(_database(dialect, options))
    try:
        yield connection
    finally:
        # PostgreSQL's driver counts a database's connections without a lock. Threads that open
        # and close at once make it miscount, and it then calls each close a failure. By then the
        # connection is closed, and every row was read or an error of its own is on its way.
        with suppress(adbc_driver_manager.InternalError):
            connection.close()


@contextmanager
def _transaction(connection: Any, dialect: Dialect) -> Iterator[None]:
    """Keep session and query together, where the dialect asks for that."""
    if not dialect.in_transaction:
        yield
        return
    connection.set_autocommit(False)
    yield
    connection.set_autocommit(True)  # commits


def _cancel(connection: Any) -> None:
    # SQLite's driver has no cancel: it works only while it is asked for rows.
    with suppress(adbc_driver_manager.NotSupportedError):
        connection.cancel()


def _database(dialect: Dialect, options: JDBCOptions) -> Any:
    """Return the process's database for these options: it has asked for the types, which costs."""
    # A digest, so that no password lies about. With the process, as a fork may not use what its
    # parent opened.
    parts = repr([getattr(options.url, field.name) for field in fields(options.url)])
    key = (os.getpid(), hashlib.sha256(parts.encode()).hexdigest())
    if (known := _databases.get(key)) is not None:
        return known
    fresh = dialect.adbc_database(options)  # not under a lock, as a dead host takes its time
    if (kept := _databases.setdefault(key, fresh)) is not fresh:
        fresh.close()  # another thread was first
    return kept


def _run(connection: Any, sql: str) -> None:
    with closing(adbc_driver_manager.AdbcStatement(connection)) as statement:
        statement.set_sql_query(sql)
        statement.execute_update()


def _batches(
    connection: Any, dialect: Dialect, options: JDBCOptions, sql: str
) -> Generator[pa.RecordBatch, None, None]:
    with closing(adbc_driver_manager.AdbcStatement(connection)) as statement:
        statement.set_options(**dialect.adbc_statement(options))
        statement.set_sql_query(sql)
        handle, _ = statement.execute_query()
        with closing(AdbcRecordBatchReader._import_from_c(handle.address)) as reader:
            try:
                yield from reader
            except GeneratorExit:
                # Without it the server would work on until it next writes to the closed socket.
                _cancel(connection)
                raise
