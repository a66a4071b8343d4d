"""Snowflake, read by its connector. Its SQL, URL and errors are tested; no account was asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import pyarrow as pa

from ..errors import EngineError
from ..options import JDBCOptions
from . import Column
from .drivers import Driver, Fault, codes, driver_dialect
from .literals import Spelling, double_quoted, escaped_text
from .type_table import TypeRule, TypeTable

__all__ = ["DIALECT"]


def _connect(driver: Any, options: JDBCOptions, host: str, port: int | None) -> Any:
    url = options.url
    if url.ssl is not None:
        raise EngineError(f"{url.label}: connections to Snowflake are always encrypted and checked")
    limits: dict[str, Any] = {}
    if options.query_timeout:
        limits["STATEMENT_TIMEOUT_IN_SECONDS"] = options.query_timeout
    return driver.connect(
        account=url.account,
        host=host,
        port=port,
        user=options.user,
        password=options.password,
        database=url.database,
        schema=url.schema,
        warehouse=url.warehouse,
        role=next((v for name, v in url.props.items() if name.lower() == "role"), None),
        login_timeout=max(math.ceil(options.connect_timeout), 1),
        # Said, as the connector warns of whoever leaves the choice to it.
        enable_server_session_keep_alive_auto_detection=False,
        session_parameters={"TIMEZONE": "UTC", "QUERY_TAG": "dask-sail", **limits},
    )


def _columns(connection: Any, options: JDBCOptions, sql: str) -> Sequence[Column]:
    names = import_module("snowflake.connector.constants").FIELD_ID_TO_NAME
    found = connection.cursor().describe(sql) or []
    return [_column(one.name, names[one.type_code], one.precision, one.scale) for one in found]


def _column(name: str, kind: str, precision: int | None, scale: int | None) -> Column:
    if kind == "FIXED":
        return _TYPES.column(name, f"NUMBER({precision or 38},{scale or 0})")
    return _TYPES.column(name, kind)


def _cancel(connection: Any, cursor: Any) -> None:
    if cursor.sfqid:
        cursor.abort_query(cursor.sfqid)


def _fault(exception: BaseException) -> Fault:
    number, state = getattr(exception, "errno", None), getattr(exception, "sqlstate", None)
    code = f"{number}" if isinstance(number, int) and number > 0 else ""
    return Fault(code, f"{getattr(exception, 'raw_msg', None) or exception}", state)


# https://github.com/snowflakedb/snowflake-connector-python: errorcode.py and its documentation.
_DRIVER = Driver(
    module="snowflake.connector",
    extra="snowflake",
    connect=_connect,
    columns=_columns,
    cancel=_cancel,
    fault=_fault,
    lost=codes("250001 250002 250003 250006 390111 390112 390114"),
    passing=codes("625 290503 290504 390195"),
    unwelcome=codes("390100 390101 390102 390144 394400"),
    timed_out=codes("604 630"),
    by_proxy=True,
)


# Each with its format, as the account's own may be anything.
_DAY, _CLOCK = "YYYY-MM-DD", "HH24:MI:SS.FF9"
_LITERAL = Spelling(
    label="Snowflake",
    text=escaped_text,
    data="TO_BINARY('{0}', 'HEX')",
    double="TO_DOUBLE('{0}')",
    date=f"TO_DATE('{{0}}', '{_DAY}')",
    time=f"TO_TIME('{{0}}', '{_CLOCK}')",
    timestamp=f"TO_TIMESTAMP_NTZ('{{0}}', '{_DAY} {_CLOCK}')",
    instant=f"TO_TIMESTAMP_TZ('{{0}} +00:00', '{_DAY} {_CLOCK} TZH:TZM')",
)
_MOMENT = f"TO_VARCHAR({{0}}, '{_DAY} {_CLOCK}')"
_FINER = "digits beyond microseconds are an error"
_TYPES = TypeTable(
    quote=double_quoted,
    literal=_LITERAL,
    rules=[
        # Texts are never compared, since a column may have a collation that ignores case; nor are
        # floats, where NaN is above all numbers.
        TypeRule(names=("NUMBER(p,s)",), arrow=None, compared="order", cut=True),
        TypeRule(names=("REAL",), arrow=pa.float64(), note="FLOAT and DOUBLE, too"),
        TypeRule(names=("BOOLEAN",), arrow=pa.bool_(), compared="equality"),
        TypeRule(names=("TEXT",), arrow=pa.string(), note="VARCHAR, CHAR and STRING, too"),
        TypeRule(names=("BINARY",), arrow=pa.binary(), compared="equality"),
        TypeRule(
            names=("DATE",), arrow=pa.date32(), read=f"TO_VARCHAR({{0}}, '{_DAY}')",
            raw=pa.string(), compared="order", cut=True,
        ),
        TypeRule(
            names=("TIME",), arrow=pa.time64("us"), read=f"TO_VARCHAR({{0}}, '{_CLOCK}')",
            raw=pa.string(), note=_FINER,
        ),
        TypeRule(
            names=("TIMESTAMP_NTZ",), arrow=pa.timestamp("us"), read=_MOMENT, raw=pa.string(),
            compared="order", cut=True, note=_FINER,
        ),
        TypeRule(
            names=("TIMESTAMP_LTZ", "TIMESTAMP_TZ"), arrow=pa.timestamp("us", "UTC"),
            read=_MOMENT.format("CONVERT_TIMEZONE('UTC', {0})::TIMESTAMP_NTZ"), raw=pa.string(),
            compared="order", cut=True, note=_FINER,
        ),
        TypeRule(
            names=("VARIANT", "OBJECT", "ARRAY", "MAP"), arrow=pa.string(),
            read="TO_JSON({0}::VARIANT)", note="as JSON",
        ),
        TypeRule(
            names=("GEOGRAPHY", "GEOMETRY"), arrow=pa.string(), read="ST_ASWKT({0})", note="as WKT"
        ),
    ],
)  # fmt: skip

DIALECT = driver_dialect("snowflake", "Snowflake", _DRIVER, _TYPES)
