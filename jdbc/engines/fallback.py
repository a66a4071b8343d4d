"""Reads with the database's Python driver: slower, but it streams and needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..errors import ColumnValueError

if TYPE_CHECKING:
    from ..cancellation import Cancellation
    from ..dialects import Column, ColumnRead, Dialect
    from ..options import JDBCOptions

__all__ = ["read"]

_ROWS = 8192
"""Rows at a time: as Python values they take several times the memory of Arrow's."""


def read(
    dialect: Dialect,
    options: JDBCOptions,
    sql: str,
    columns: Sequence[tuple[Column, ColumnRead]],
    cancellation: Cancellation,
) -> Iterator[pa.RecordBatch]:
    """Run one SELECT, as `jdbc.engines.Engine.read`."""
    names = [f"{i}" for i in range(len(columns))]
    if not options.chose_fetchsize:
        options = replace(options, fetchsize=_ROWS)
    try:
        with dialect.dbapi_rows(options, sql, cancellation) as chunks:
            for rows in chunks:
                values = zip(*rows, strict=True)
                arrays = [_array(v, *c) for v, c in zip(values, columns, strict=True)]
                del rows, values  # not beside the next ones
                yield pa.RecordBatch.from_arrays(arrays, names)
        return
    except Exception as e:  # noqa: BLE001 - each driver has classes of its own
        error = dialect.error(e, options)
    raise error


def _array(values: Sequence[Any], column: Column, read: ColumnRead) -> pa.Array:
    try:
        return pa.array(values, read.raw_type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise ColumnValueError(
            column.name,
            f"of database type {column.database_type} holds a value that is no {read.raw_type}",
            "cast it in the query, or write customSchema to read it as STRING",
        ) from None
