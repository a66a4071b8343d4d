"""Reads with connectorx: quick, but a partition is in memory before its first batch comes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import connectorx
import pyarrow as pa

from . import primed

if TYPE_CHECKING:
    from ..cancellation import Cancellation
    from ..dialects import Column, ColumnRead, Dialect
    from ..options import JDBCOptions

__all__ = ["read"]


def read(
    dialect: Dialect,
    options: JDBCOptions,
    sql: str,
    columns: Sequence[tuple[Column, ColumnRead]],
    cancellation: Cancellation,
) -> Iterator[pa.RecordBatch]:
    """Run one SELECT, as `jdbc.engines.Engine.read`."""
    # It tries for 30 s where nobody listens or the password is wrong; our own driver knows at once.
    dialect.preflight(options)
    sql, extra = primed(dialect, sql, columns)
    with _ended_by_server(dialect, options, cancellation) as tag:
        table = _table(dialect, options, tag + sql).slice(extra)
    yield from table.to_batches(max_chunksize=options.fetchsize)


@contextmanager
def _ended_by_server(
    dialect: Dialect, options: JDBCOptions, cancellation: Cancellation
) -> Iterator[str]:
    """Give what to put before a query by which the server can find it, to end it."""
    if dialect.cancel_tagged is None:
        yield ""
        return
    # First in the text, of which servers show the beginning only.
    tag = f"/* dask-sail {secrets.token_hex(8)} */ "
    with cancellation.ends(partial(dialect.cancel_tagged, options, tag.strip())):
        yield tag


def _table(dialect: Dialect, options: JDBCOptions, sql: str) -> Any:
    # Not return_type="arrow_stream": it holds the GIL while it waits, which freezes a Dask worker.
    # Not partition_on: it loses rows whose column is NULL.
    arguments: dict[str, Any] = {"return_type": "arrow", "protocol": "binary"}
    if session := dialect.session(options):
        # Its connection is closed after the query, so nothing is left to commit.
        begin = ["BEGIN"] if dialect.in_transaction else []
        arguments["pre_execution_query"] = [*begin, *session]
    try:
        return connectorx.read_sql(dialect.connectorx_uri(options), sql, **arguments)
    except Exception as e:  # noqa: BLE001 - it raises RuntimeError, or whatever it likes
        error = dialect.error(e, options)
    except BaseException as e:
        # A panic in its Rust code is no Exception, and has no public class to catch.
        if type(e).__name__ != "PanicException":
            raise
        error = dialect.error(e, options)
    raise error
