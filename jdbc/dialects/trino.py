"""Trino, read by its Python client. Its SQL, URL and errors are tested; no server was asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ..errors import EngineError, OptionError
from ..options import JDBCOptions
from . import Column
from .drivers import Driver, Fault, codes, driver_dialect
from .literals import Spelling, double_quoted
from .type_table import TypeRule, TypeTable

__all__ = ["DIALECT"]


def _connect(driver: Any, options: JDBCOptions, host: str, port: int | None) -> Any:
    url = options.url
    if not options.user:
        raise OptionError("user", "is required for Trino", "write the user's name")
    if options.password and url.ssl is None:
        raise OptionError(
            "password", "would go to Trino unencrypted", "write SSL=true in the URL, or no password"
        )
    if url.ssl is not None and url.ssl.mode == "verify-ca":
        raise EngineError(
            f"{url.label}: Trino's client checks the host's name if it checks the authority;"
            " write SSLVerification=FULL"
        )
    login = None
    if options.password:
        login = driver.auth.BasicAuthentication(options.user, options.password)
    limit = {"query_max_run_time": f"{options.query_timeout}s"} if options.query_timeout else {}
    return driver.dbapi.connect(
        host=host,
        port=port,
        user=options.user,
        auth=login,
        http_scheme="http" if url.ssl is None else "https",
        verify=url.ssl is None or url.ssl.mode == "verify-full",
        catalog=url.catalog,
        schema=url.schema,
        source="dask-sail",
        timezone="UTC",
        session_properties=limit,
        # What fails is told: whoever reads decides whether to try again.
        max_attempts=1,
        request_timeout=max(math.ceil(options.connect_timeout), 1),
    )


def _columns(connection: Any, options: JDBCOptions, sql: str) -> Sequence[Column]:
    cursor = connection.cursor()
    cursor.execute(f"{sql}\nLIMIT 0")
    cursor.fetchall()
    return [_TYPES.column(name, database_type) for name, database_type, *_ in cursor.description]


def _fault(exception: BaseException) -> Fault:
    if name := getattr(exception, "error_name", None):
        return Fault(f"{name}", f"{getattr(exception, 'message', exception)}")
    text = f"{exception}"
    return Fault("401" if "error 401" in text else "", text)


# https://trino.io/docs/current/develop/spi-overview.html; StandardErrorCode in its sources.
_DRIVER = Driver(
    module="trino",
    extra="trino",
    connect=_connect,
    columns=_columns,
    cancel=lambda connection, cursor: cursor.cancel(),
    fault=_fault,
    passing=codes(
        """NO_NODES_AVAILABLE SERVER_STARTING_UP SERVER_SHUTTING_DOWN
        CLUSTER_OUT_OF_MEMORY QUERY_QUEUE_FULL PAGE_TRANSPORT_ERROR
        PAGE_TRANSPORT_TIMEOUT REMOTE_HOST_GONE REMOTE_TASK_ERROR
        TOO_MANY_REQUESTS_FAILED TRANSACTION_CONFLICT"""
    ),
    unwelcome=codes("401"),
    timed_out=codes("EXCEEDED_TIME_LIMIT USER_CANCELED"),
    by_proxy=True,
)

_LITERAL = Spelling(
    label="Trino",
    data="X'{0}'",
    number="DECIMAL '{0}'",
    double="DOUBLE '{0}'",
    instant="TIMESTAMP '{0} UTC'",
)
_PRINTED = "CAST({0} AS VARCHAR)"
_FINER = "digits beyond microseconds are an error"
_TYPES = TypeTable(
    quote=double_quoted,
    literal=_LITERAL,
    rules=[
        TypeRule(names=("boolean",), arrow=pa.bool_(), compared="equality"),
        TypeRule(names=("tinyint",), arrow=pa.int8(), compared="order", cut=True),
        TypeRule(names=("smallint",), arrow=pa.int16(), compared="order", cut=True),
        TypeRule(names=("integer",), arrow=pa.int32(), compared="order", cut=True),
        TypeRule(names=("bigint",), arrow=pa.int64(), compared="order", cut=True),
        # As a double, since the text of a real is the shortest for four bytes.
        TypeRule(
            names=("real",), arrow=pa.float32(), read="CAST({0} AS DOUBLE)", raw=pa.float64()
        ),
        TypeRule(names=("double",), arrow=pa.float64()),
        TypeRule(
            names=("decimal(p,s)",), arrow=None, read=_PRINTED, raw=pa.string(),
            compared="order", cut=True,
        ),
        TypeRule(names=("varchar",), arrow=pa.string(), compared="order"),
        TypeRule(names=("char",), arrow=pa.string(), note="with its blanks"),
        TypeRule(names=("varbinary",), arrow=pa.binary(), compared="equality"),
        TypeRule(
            names=("date",), arrow=pa.date32(), read=_PRINTED, raw=pa.string(),
            compared="order", cut=True, note="years outside 1 to 9999 are an error",
        ),
        TypeRule(
            names=("time",), arrow=pa.time64("us"), read=_PRINTED, raw=pa.string(), note=_FINER
        ),
        TypeRule(
            names=("timestamp",), arrow=pa.timestamp("us"), read=_PRINTED, raw=pa.string(),
            compared="order", cut=True, note=_FINER,
        ),
        TypeRule(
            names=("timestamp with time zone",), arrow=pa.timestamp("us", "UTC"),
            # at_timezone keeps the instant; the cast then drops the name of the zone.
            read="CAST(CAST(at_timezone({0}, 'UTC') AS TIMESTAMP(12)) AS VARCHAR)",
            raw=pa.string(), compared="order", cut=True, note=_FINER,
        ),
        TypeRule(
            names=("json", "array", "map", "row"), arrow=pa.string(),
            read="json_format(CAST({0} AS JSON))", note="as JSON",
        ),
        TypeRule(
            names=("time with time zone", "interval day to second", "interval year to month",
                   "uuid", "ipaddress"),
            arrow=pa.string(), read=_PRINTED, note="as Trino prints it",
        ),
    ],
)  # fmt: skip

DIALECT = driver_dialect("trino", "Trino", _DRIVER, _TYPES)
