"""ClickHouse, read over HTTP by clickhouse-connect.

Run for real on ClickHouse's own engine within a process (chDB) behind a small HTTP server.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ..errors import EngineError
from ..options import JDBCOptions
from . import Column
from .drivers import Driver, Fault, codes, driver_dialect
from .literals import Spelling, escaped_text
from .type_table import TypeRule, TypeTable

__all__ = ["DIALECT"]

# ------------------------------------------------------------------------------- sessions


@dataclass(frozen=True)
class _Connection:
    """A client, and what it takes to open another one."""

    client: Any
    arguments: tuple[Any, JDBCOptions, str, int | None]

    def close(self) -> None:
        self.client.close()


@dataclass
class _Cursor:
    """Rows of a client, as a DB-API cursor gives them."""

    connection: _Connection
    options: JDBCOptions
    query_id: str = field(default_factory=lambda: f"dask-sail-{uuid.uuid4()}")
    _stream: Any = None
    _blocks: Any = None

    def execute(self, sql: str) -> None:
        """Start a query."""
        settings = {**_SETTINGS, "max_block_size": self.options.fetchsize}
        if self.options.query_timeout:
            settings["max_execution_time"] = self.options.query_timeout
        self._stream = self.connection.client.query_row_block_stream(
            sql,
            settings={**settings, "query_id": self.query_id},
            # As bytes: the driver would make up a text for what is no UTF-8.
            query_formats={"String": "bytes", "FixedString": "bytes"},
        )
        self._blocks = iter(self._stream.__enter__())

    def fetchmany(self, size: int) -> Sequence[Any]:
        """Return the next block of rows, which is of about that size; empty at the end."""
        return next((block for block in self._blocks if block), ())

    def close(self) -> None:
        """Stop reading."""
        if self._stream is not None:
            self._stream.__exit__(None, None, None)


_SETTINGS = {
    "readonly": 2,  # no writing, but settings
    "prefer_column_name_to_alias": 1,  # or a condition would see what we make of its column
    "transform_null_in": 0,
    "max_execution_time": 0,
}


def _connect(driver: Any, options: JDBCOptions, host: str, port: int | None) -> Any:
    url = options.url
    if url.ssl is not None and url.ssl.mode not in ("verify-full", "require"):
        raise EngineError(f"{url.label}: clickhouse-connect cannot check as {url.ssl.mode!r} says")
    client = driver.get_client(
        host=host,
        port=port,
        username=options.user or "default",
        password=options.password or "",
        database=url.database or "__default__",
        secure=url.ssl is not None,
        verify=url.ssl is None or url.ssl.mode == "verify-full",
        connect_timeout=options.connect_timeout,
        query_retries=0,
        client_name="dask-sail",
        show_clickhouse_errors=True,
    )
    return _Connection(client, (driver, options, host, port))


def _run(connection: _Connection, statement: str) -> None:
    connection.client.command(statement)


def _cancel(connection: _Connection, cursor: _Cursor) -> None:
    # On a client of its own: within a session there is one query at a time.
    with closing(_connect(*connection.arguments)) as other:
        other.client.command(f"KILL QUERY WHERE query_id = '{cursor.query_id}' ASYNC")


def _columns(connection: _Connection, options: JDBCOptions, sql: str) -> Sequence[Column]:
    described = connection.client.query(f"DESCRIBE TABLE (\n{sql}\n)").result_rows
    return [_TYPES.column(name, _type_name(told)) for name, told, *_ in described]


_WRAPPED = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)|SimpleAggregateFunction\([^,]+, (.*)\)")
_PRINTED_NAMES = re.compile(
    r"(Array|Tuple|Map|Nested|Enum8|Enum16|Variant|Dynamic|JSON)\b.*", re.DOTALL
)


def _type_name(told: str) -> str:
    """Return the type without what says that NULLs may come, or how values are stored."""
    while found := _WRAPPED.fullmatch(told):
        told = found[1] or found[2]
    if found := re.fullmatch(r"DateTime64\((\d)(?:, .*)?\)", told):
        return f"DateTime64({found[1]})"
    found = _PRINTED_NAMES.fullmatch(told)
    return found[1] if found else re.sub(r"\('.*'\)$", "", told)


# --------------------------------------------------------------------------------- errors

_CODE = re.compile(r"(?i)\bcode:? (\d+)")


def _fault(exception: BaseException) -> Fault:
    text = f"{exception}"
    found = _CODE.search(text)
    return Fault(found[1] if found else "", text)


# https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
_DRIVER = Driver(
    module="clickhouse_connect",
    extra="clickhouse",
    connect=_connect,
    columns=_columns,
    run=_run,
    cursor=_Cursor,
    cancel=_cancel,
    fault=_fault,
    lost=codes("209 210 279"),
    passing=codes("202 203 225 242 999"),
    unwelcome=codes("192 193 194 516"),
    timed_out=codes("159 160 394"),
    by_proxy=True,
)

# ------------------------------------------------------------------------------------ SQL


def _quote(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "``") + "`"


_MOMENT = "toDateTime64('{0}', 6, 'UTC')"
_LITERAL = Spelling(
    label="ClickHouse",
    text=escaped_text,
    data="unhex('{0}')",
    true="true",
    false="false",
    # With a point it would be a double, and so would be a whole number beyond 64 bits.
    number="toDecimal256('{0}', {1})",
    digits=76,
    double="{0}",
    date="toDate32('{0}')",
    time=None,
    timestamp=_MOMENT,
    instant=_MOMENT,
    # What is outside, ClickHouse moves inside.
    years=(1900, 2261),
)
_PRINTED = "toString({0})"
_IN_UTC = "toString(toTimeZone({0}, 'UTC'))"


def _moments(unit: str, *digits: int) -> TypeRule:
    return TypeRule(
        names=tuple(f"DateTime64({n})" for n in digits),
        arrow=pa.timestamp(unit, "UTC"),
        read=_IN_UTC,
        raw=pa.binary(),
        compared="order",
        cut=True,
    )


def _numbers(name: str, arrow: pa.DataType) -> TypeRule:
    return TypeRule(names=(name,), arrow=arrow, compared="order", cut=True)


_TYPES = TypeTable(
    quote=_quote,
    literal=_LITERAL,
    rules=[
        TypeRule(names=("Bool",), arrow=pa.bool_(), compared="equality"),
        _numbers("Int8", pa.int8()),
        _numbers("Int16", pa.int16()),
        _numbers("Int32", pa.int32()),
        _numbers("Int64", pa.int64()),
        _numbers("UInt8", pa.uint8()),
        _numbers("UInt16", pa.uint16()),
        _numbers("UInt32", pa.uint32()),
        _numbers("UInt64", pa.uint64()),
        TypeRule(
            names=("Int128", "UInt128"), arrow=pa.decimal256(76, 0), read=_PRINTED, raw=pa.binary()
        ),
        TypeRule(names=("Float32",), arrow=pa.float32(), raw=pa.float64(), compared="order"),
        TypeRule(names=("Float64",), arrow=pa.float64(), compared="order"),
        TypeRule(
            names=("Decimal(p,s)",), arrow=None, read=_PRINTED, raw=pa.binary(),
            compared="order", cut=True, note="decimal256 for p from 39",
        ),
        TypeRule(
            names=("String",), arrow=pa.string(), raw=pa.binary(), compared="order",
            note="what is no UTF-8 is an error; customSchema makes bytes of it",
        ),
        TypeRule(names=("FixedString",), arrow=pa.binary(), note="with its zeros"),
        TypeRule(
            names=("Date", "Date32"), arrow=pa.date32(), read=_PRINTED, raw=pa.binary(),
            compared="order", cut=True,
        ),
        TypeRule(
            names=("DateTime",), arrow=pa.timestamp("s", "UTC"), read=_IN_UTC, raw=pa.binary(),
            compared="order", cut=True,
        ),
        _moments("s", 0),
        _moments("ms", 1, 2, 3),
        _moments("us", 4, 5, 6),
        _moments("ns", 7, 8, 9),
        TypeRule(names=("JSON",), arrow=pa.string(), read="toJSONString({0})", raw=pa.binary()),
    ],
    other=TypeRule(
        names=("every other",), arrow=pa.string(), read=_PRINTED, raw=pa.binary(),
        note="as ClickHouse prints it",
    ),
)  # fmt: skip

DIALECT = driver_dialect("clickhouse", "ClickHouse", _DRIVER, _TYPES)
