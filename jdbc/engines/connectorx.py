"""Reads with connectorx: quick, but a partition is in memory before its first batch comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import connectorx
import pyarrow as pa

from . import primed

if TYPE_CHECKING:
    from ..dialects import Column, ColumnRead, Dialect
    from ..options import JDBCOptions

__all__ = ["read"]


def read(
    dialect: Dialect, options: JDBCOptions, sql: str, columns: Sequence[tuple[Column, ColumnRead]]
) -> Iterator[pa.RecordBatch]:
    """Run one SELECT, as `jdbc.engines.Engine.read`."""
    # It tries for 30 s where nobody listens or the password is wrong; our own driver knows at once.
    dialect.preflight(options)
    sql, extra = primed(dialect, sql, columns)
    table = _table(dialect, options, sql).slice(extra)
    yield from table.to_batches(max_chunksize=options.fetchsize)


def _table(dialect: Dialect, options: JDBCOptions, sql: str) -> Any:
    # Not return_type="arrow_stream": it holds the GIL while it waits, which freezes a Dask worker.
    # Not partition_on: it loses rows whose column is NULL.
    arguments: dict[str, Any] = {"return_type": "arrow", "protocol": "binary"}
    if session := dialect.session(options):
        arguments["pre_execution_query"] = list(session)
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
