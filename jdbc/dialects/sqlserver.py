"""SQL Server and Azure SQL, read by mssql-python.

Its SQL, URL and errors are tested; no server was asked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ..errors import ColumnTypeError, EngineError
from ..options import JDBCOptions
from . import Column
from .drivers import Driver, Fault, codes, driver_dialect
from .literals import Spelling, quoted_text
from .type_table import TypeRule, TypeTable

__all__ = ["DIALECT"]

# ------------------------------------------------------------------------------- sessions

_ENCRYPT = {
    "disable": ("no", "no"),
    "prefer": ("no", "no"),
    "require": ("yes", "yes"),
    "verify-full": ("yes", "no"),
}
_PASSED = {
    "hostnameincertificate": "HostnameInCertificate",
    "servercertificate": "ServerCertificate",
    "applicationintent": "ApplicationIntent",
    "multisubnetfailover": "MultiSubnetFailover",
    "packetsize": "PacketSize",
}


def _connect(driver: Any, options: JDBCOptions, host: str, port: int | None) -> Any:
    url = options.url
    mode = url.ssl.mode if url.ssl is not None else "verify-full"
    if mode not in _ENCRYPT:
        raise EngineError(f"{url.label}: mssql-python cannot check as {mode!r} says")
    encrypt, trust = _ENCRYPT[mode]
    server = host if url.instance is None else f"{host}\\{url.instance}"
    keywords = {
        "Server": server if port is None else f"{server},{port}",
        "Database": url.database,
        "UID": options.user,
        "PWD": options.password,
        "Encrypt": encrypt,
        "TrustServerCertificate": trust,
        # Whoever reads decides whether to try again.
        "ConnectRetryCount": "0",
    }
    keywords |= {_PASSED[name.lower()]: text for name, text in url.props.items()}
    return driver.connect(
        "".join(f"{name}={_braced(text)};" for name, text in keywords.items() if text),
        autocommit=True,
        timeout=max(math.ceil(options.connect_timeout), 1),
    )


def _braced(text: str) -> str:
    return "{" + text.replace("}", "}}") + "}"


def _session(options: JDBCOptions) -> list[str]:
    # What the driver sets as well; the user's own statement may have changed it.
    return ["SET ANSI_NULLS, ANSI_WARNINGS, ANSI_PADDING, QUOTED_IDENTIFIER, ARITHABORT ON"]


def _cursor(connection: Any, options: JDBCOptions) -> Any:
    connection.timeout = options.query_timeout
    return connection.cursor()


def _columns(connection: Any, options: JDBCOptions, sql: str) -> Sequence[Column]:
    cursor = connection.cursor()
    cursor.execute(f"EXEC sys.sp_describe_first_result_set @tsql = N{quoted_text(sql)}")
    names = [name for name, *_ in cursor.description]
    told = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [_column(one, place) for place, one in enumerate(told, 1) if not one["is_hidden"]]


def _column(told: dict[str, Any], place: int) -> Column:
    if not told["name"]:
        raise ColumnTypeError(f"number {place}", "has no name", "give it one in the query")
    # Of a type that is made of .NET code, only the name that users know is told.
    return _TYPES.column(told["name"], told["system_type_name"] or f"{told['user_type_name']}")


# --------------------------------------------------------------------------------- errors

_NUMBER = re.compile(r"\((\d+)\)\s*(?:\(SQL\w+\))?\s*$|\bError:? (\d+)\b|\bMsg (\d+)\b")


def _fault(exception: BaseException) -> Fault:
    text = f"{exception}"
    found = _NUMBER.search(text)
    if found is not None:
        return Fault(next(number for number in found.groups() if number), text)
    known = next((number for words, number in _WORDS.items() if words in text), "")
    return Fault(known, text)


_WORDS = {
    "Login failed": "18456",
    "deadlock": "1205",
    "Query timeout expired": "HYT00",
    "Timeout expired": "HYT00",
    "Failed to load the driver": "driver",
}
# https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors,
# https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues
_DRIVER = Driver(
    module="mssql_python",
    extra="sqlserver",
    connect=_connect,
    columns=_columns,
    session=_session,
    cursor=_cursor,
    fault=_fault,
    lost=codes("53 64 121 233 10053 10054 10060 10061 17142 40613"),
    passing=codes("1205 1222 3960 10928 10929 40197 40501 49918 49919"),
    unwelcome=codes("4060 18452 18456 driver"),
    timed_out=codes("HYT00"),
)

# ------------------------------------------------------------------------------------ SQL


def _quote(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"


def _text(value: str) -> str:
    return f"N{quoted_text(value)}"


_LITERAL = Spelling(
    label="SQL Server",
    text=_text,
    data="0x{0}",
    true="CAST(1 AS bit)",
    false="CAST(0 AS bit)",
    double="{0}",
    date="CAST('{0}' AS date)",
    time="CAST('{0}' AS time(6))",
    timestamp="CAST('{0}' AS datetime2(6))",
    instant="CAST('{0} +00:00' AS datetimeoffset(6))",
)
_MOMENT = "CONVERT(varchar(40), {0}, 121)"
_MILLISECONDS = "CAST({0} AS datetime2(3))"
_FINER = "a seventh digit other than 0 is an error"
_TYPES = TypeTable(
    quote=_quote,
    literal=_LITERAL,
    rules=[
        # Texts are never compared: most collations ignore case, and all ignore blanks at the end.
        # Nor are bytes, where zeros at the end are ignored.
        TypeRule(names=("bit",), arrow=pa.bool_(), compared="equality"),
        TypeRule(names=("tinyint",), arrow=pa.uint8(), compared="order", cut=True),
        TypeRule(names=("smallint",), arrow=pa.int16(), compared="order", cut=True),
        TypeRule(names=("int",), arrow=pa.int32(), compared="order", cut=True),
        TypeRule(names=("bigint",), arrow=pa.int64(), compared="order", cut=True),
        TypeRule(
            names=("real",), arrow=pa.float32(), read="CAST({0} AS float)", raw=pa.float64(),
            compared="order", cut=True,
        ),
        TypeRule(names=("float",), arrow=pa.float64(), compared="order", cut=True),
        TypeRule(
            names=("decimal(p,s)", "numeric(p,s)"), arrow=None, compared="order", cut=True,
        ),
        TypeRule(
            names=("money",), arrow=pa.decimal128(19, 4), read="CONVERT(varchar(30), {0}, 2)",
            raw=pa.string(), compared="order", cut=True,
        ),
        TypeRule(
            names=("smallmoney",), arrow=pa.decimal128(10, 4), read="CONVERT(varchar(30), {0}, 2)",
            raw=pa.string(), compared="order", cut=True,
        ),
        TypeRule(names=("nchar", "nvarchar", "ntext"), arrow=pa.string()),
        # Whatever the code page of the column is.
        TypeRule(
            names=("char", "varchar", "text", "xml", "json", "hierarchyid", "vector"),
            arrow=pa.string(), read="CAST({0} AS nvarchar(max))", note="char(n) keeps its blanks",
        ),
        TypeRule(
            names=("uniqueidentifier",), arrow=pa.string(), read="CONVERT(char(36), {0})",
            note="in capitals",
        ),
        TypeRule(
            names=("binary", "varbinary", "image", "timestamp", "rowversion"), arrow=pa.binary()
        ),
        TypeRule(names=("date",), arrow=pa.date32(), compared="order", cut=True),
        TypeRule(
            names=("time",), arrow=pa.time64("us"), read=_MOMENT, raw=pa.string(),
            compared="order", note=_FINER,
        ),
        # What it prints is rounded: 1/300 seconds are stored.
        TypeRule(
            names=("datetime", "smalldatetime"), arrow=pa.timestamp("us"),
            read=_MOMENT.format(_MILLISECONDS), raw=pa.string(),
            compared="order", operand=_MILLISECONDS, cut=True, note="to the millisecond",
        ),
        TypeRule(
            names=("datetime2",), arrow=pa.timestamp("us"), read=_MOMENT, raw=pa.string(),
            compared="order", cut=True, note=_FINER,
        ),
        TypeRule(
            names=("datetimeoffset",), arrow=pa.timestamp("us", "UTC"),
            read=_MOMENT.format("CAST(SWITCHOFFSET({0}, '+00:00') AS datetime2(7))"),
            raw=pa.string(), compared="order", cut=True, note=_FINER,
        ),
    ],
)  # fmt: skip

DIALECT = driver_dialect(
    "sqlserver", "SQL Server", _DRIVER, _TYPES, count="count_big(*)", limit=("TOP ({0}) ", "")
)
