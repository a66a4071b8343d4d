"""What speaks PostgreSQL's protocol and is not PostgreSQL: psycopg, and types by their numbers.

Nothing of PostgreSQL's own is asked for: neither catalogs, cursors nor a transaction's settings.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.pq import ExecStatus

from ..options import JDBCOptions
from . import Column, Dialect
from .drivers import Driver, Fault, codes, driver_dialect
from .literals import double_quoted
from .postgresql import DIALECT as POSTGRESQL
from .type_table import TypeRule, TypeTable

__all__ = ["PRINTED", "RULES", "wire_dialect"]


def _connect(driver: Any, options: JDBCOptions, host: str, port: int | None) -> Any:
    name = options.url.application_name or "dask-sail"
    url = replace(options.url, application_name=name, hosts=((host, port),), schema=None)
    return driver.connect(
        **{**url.libpq(), "client_encoding": "UTF8"}, autocommit=True, prepare_threshold=None
    )


def _columns(connection: Any, sql: str, types: TypeTable) -> Sequence[Column]:
    server = connection.pgconn
    # Prepared, not run.
    for result in (server.prepare(b"", sql.encode()), server.describe_prepared(b"")):
        if result.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)
    return [
        types.column((result.fname(i) or b"").decode(), _type_name(result.ftype(i), result.fmod(i)))
        for i in range(result.nfields)
    ]


def _type_name(oid: int, modifier: int) -> str:
    info = psycopg.adapters.types.get(oid)
    if info is None:
        return f"number {oid}"
    if info.oid != oid:
        return f"{info.name}[]"
    if info.name == "numeric" and modifier >= 4:
        return f"numeric({(modifier - 4) >> 16},{(modifier - 4) & 0x7FF})"
    return info.name


@dataclass
class _Cursor:
    """Rows as they come, without a cursor on the server: each of these databases limits its own."""

    connection: Any
    options: JDBCOptions
    _rows: Generator[Any, None, None] | None = None

    def execute(self, sql: str) -> None:
        """Start a query."""
        self._rows = self.connection.cursor().stream(sql.encode())

    def fetchmany(self, size: int) -> Sequence[Any]:
        """Return the next rows; empty at the end."""
        return list(islice(self._rows or (), size))

    def close(self) -> None:
        """End the query."""
        if self._rows is not None:
            self._rows.close()


_CANCEL_SECONDS = 2.0


def _run(connection: Any, statement: str) -> None:
    connection.execute(statement.encode())


def _fault(exception: BaseException) -> Fault:
    state = getattr(exception, "sqlstate", None)
    return Fault(state or "", f"{exception}", state)


PRINTED = TypeRule(
    names=("every other",), arrow=pa.string(), read="{0}::text", note="as the database prints it"
)
_RANGE = "infinity, and years outside 1 to 9999, are an error"
# NaN is not above all numbers in each of these databases, so floats are neither compared nor cut.
RULES = (
    TypeRule(names=("bool",), arrow=pa.bool_(), compared="equality"),
    TypeRule(names=("int2",), arrow=pa.int16(), compared="order", cut=True),
    TypeRule(names=("int4",), arrow=pa.int32(), compared="order", cut=True),
    TypeRule(names=("int8",), arrow=pa.int64(), compared="order", cut=True),
    # As a double: old servers print too few digits of a float4.
    TypeRule(names=("float4",), arrow=pa.float32(), read="{0}::float8", raw=pa.float64()),
    TypeRule(names=("float8",), arrow=pa.float64()),
    TypeRule(
        names=("numeric(p,s)",), arrow=None, read="{0}::text", raw=pa.string(),
        compared="order", cut=True,
    ),
    TypeRule(names=("text", "varchar", "bpchar", "name"), arrow=pa.string()),
    TypeRule(
        names=("date",), arrow=pa.date32(), read="{0}::text", raw=pa.string(),
        compared="order", cut=True, note=_RANGE,
    ),
    TypeRule(
        names=("time",), arrow=pa.time64("us"), read="{0}::text", raw=pa.string(),
        note="24:00 is an error",
    ),
    TypeRule(
        names=("timestamp",), arrow=pa.timestamp("us"), read="{0}::text", raw=pa.string(),
        compared="order", cut=True, note=_RANGE,
    ),
    TypeRule(
        names=("timestamptz",), arrow=pa.timestamp("us", "UTC"), read="{0}::text",
        raw=pa.string(), compared="order", cut=True, note=_RANGE,
    ),
)  # fmt: skip


def wire_dialect(
    *,
    name: str,
    label: str,
    rules: Sequence[TypeRule],
    other: TypeRule | None,
    session: Callable[[JDBCOptions], Sequence[str]],
) -> Dialect:
    """Return the dialect of a database that psycopg reads, with PostgreSQL's names and literals.

    Parameters
    ----------
    name, label
        As in the URL, and as in a sentence.
    rules, other
        Of its `TypeTable`.
    session
        Statements for a new session, which has no transaction yet.
    """
    types = TypeTable(rules=rules, other=other, quote=double_quoted, literal=POSTGRESQL.literal)
    driver = Driver(
        module="psycopg",
        extra="",
        connect=_connect,
        columns=lambda connection, options, sql: _columns(connection, sql, types),
        session=session,
        run=_run,
        cursor=_Cursor,
        cancel=lambda connection, cursor: connection.cancel_safe(timeout=_CANCEL_SECONDS),
        fault=_fault,
        lost=codes("57P01 57P02 57P03"),
        passing=codes("53300 57P01 57P02 57P03 40001 40P01"),
        unwelcome=codes("28000 28P01 3D000"),
    )
    return driver_dialect(name, label, driver, types)
