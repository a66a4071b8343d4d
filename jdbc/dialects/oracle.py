"""Oracle Database, read by python-oracledb without Oracle's own client.

Its SQL, URL and errors are tested; no server was asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ..errors import EngineError
from ..options import JDBCOptions
from . import Column
from .drivers import Driver, Fault, codes, driver_dialect
from .literals import Spelling, double_quoted, quoted_text
from .type_table import TypeRule, TypeTable

__all__ = ["DIALECT"]

# ------------------------------------------------------------------------------- sessions

_ROWS_AHEAD = 5000
"""The driver keeps so many rows beside those that were asked for."""


def _connect(driver: Any, options: JDBCOptions, host: str, port: int | None) -> Any:
    url = options.url
    address: dict[str, Any] = {"dsn": url.descriptor or url.tns_alias}
    if address["dsn"] is None:
        address = {"host": host, "port": port, "service_name": url.service, "sid": url.sid}
        address |= {"protocol": "tcps"} if url.ssl is not None else {}
    if url.tns_admin:
        address |= {"config_dir": url.tns_admin, "wallet_location": url.tns_admin}
    if not options.user:
        raise EngineError(f"{url.label}: a user is needed; a wallet alone is not enough here")
    connection = driver.connect(
        user=options.user,
        password=options.password,
        tcp_connect_timeout=options.connect_timeout,
        retry_count=0,
        **address,
    )
    connection.outputtypehandler = _whole_values(driver)
    connection.module = "dask-sail"
    return connection


def _whole_values(driver: Any) -> Any:
    """Have long values come with their rows, not as places to read them from."""
    long_types = {
        driver.DB_TYPE_CLOB: driver.DB_TYPE_LONG,
        driver.DB_TYPE_NCLOB: driver.DB_TYPE_LONG_NVARCHAR,
        driver.DB_TYPE_BLOB: driver.DB_TYPE_LONG_RAW,
    }

    def handler(cursor: Any, column: Any) -> Any:
        instead = long_types.get(column.type_code)
        return None if instead is None else cursor.var(instead, arraysize=cursor.arraysize)

    return handler


def _session(options: JDBCOptions) -> list[str]:
    settings = (
        "TIME_ZONE = '+00:00' NLS_NUMERIC_CHARACTERS = '.,' NLS_CALENDAR = GREGORIAN"
        " NLS_COMP = BINARY NLS_SORT = BINARY"
    )
    # Last, since it holds for one transaction and must be its first statement.
    return [f"ALTER SESSION SET {settings}", "SET TRANSACTION READ ONLY"]


def _cursor(connection: Any, options: JDBCOptions) -> Any:
    cursor = connection.cursor()
    cursor.arraysize = cursor.prefetchrows = min(options.fetchsize, _ROWS_AHEAD)
    return cursor


def _columns(connection: Any, options: JDBCOptions, sql: str) -> Sequence[Column]:
    cursor = connection.cursor()
    cursor.parse(sql)
    return [
        _TYPES.column(name, _type_name(code.name.removeprefix("DB_TYPE_"), precision, scale))
        for name, code, _, _, precision, scale, _ in cursor.description
    ]


_NAMES = {
    "VARCHAR": "VARCHAR2",
    "NVARCHAR": "NVARCHAR2",
    "LONG_NVARCHAR": "LONG",
    "LONG_RAW": "LONG RAW",
    "TIMESTAMP_TZ": "TIMESTAMP WITH TIME ZONE",
    "TIMESTAMP_LTZ": "TIMESTAMP WITH LOCAL TIME ZONE",
    "INTERVAL_YM": "INTERVAL YEAR TO MONTH",
    "INTERVAL_DS": "INTERVAL DAY TO SECOND",
}
_NO_SCALE = -127
"""Scale of a NUMBER without a size, and of a FLOAT, whose precision is in binary digits."""


def _type_name(name: str, precision: int | None, scale: int | None) -> str:
    if name != "NUMBER":
        return _NAMES.get(name, name)
    if scale == _NO_SCALE or not precision:
        return "FLOAT" if precision else "NUMBER"
    return f"NUMBER({precision},{scale or 0})"


# --------------------------------------------------------------------------------- errors

_CODE = re.compile(r"\b(ORA-\d{5}|DPY-\d{4})\b")


def _fault(exception: BaseException) -> Fault:
    text = f"{exception}"
    # The driver's own number comes first, and the server's says more.
    found = sorted(_CODE.findall(text), reverse=True)
    return Fault(found[0] if found else "", text)


# https://docs.oracle.com/en/error-help/db/,
# https://python-oracledb.readthedocs.io/en/latest/user_guide/troubleshooting.html
_DRIVER = Driver(
    module="oracledb",
    extra="oracle",
    connect=_connect,
    columns=_columns,
    session=_session,
    cursor=_cursor,
    cancel=lambda connection, cursor: connection.cancel(),
    fault=_fault,
    lost=codes(
        """ORA-00028 ORA-01012 ORA-01033 ORA-01034 ORA-01089 ORA-01090 ORA-02396
        ORA-03113 ORA-03114 ORA-03135 ORA-12514 ORA-12528 ORA-12537 ORA-12541
        ORA-12547 DPY-1001 DPY-4011 DPY-6000 DPY-6005"""
    ),
    passing=codes("ORA-00018 ORA-00020 ORA-00060 ORA-08177 ORA-12516"),
    unwelcome=codes("ORA-01017 ORA-01045 ORA-28000 ORA-28001 ORA-12505"),
    timed_out=codes("DPY-4024 ORA-01013"),
)

# ------------------------------------------------------------------------------------ SQL


def _text(value: str) -> str:
    if not value:
        raise ValueError("Oracle takes the empty text for NULL")
    if value.isascii():
        return quoted_text(value)
    # By its code units, as the database's own character set may lack some.
    units = value.encode("utf-16-be")
    pairs = (units[at : at + 2] for at in range(0, len(units), 2))
    return "UNISTR('" + "".join(f"\\{pair.hex()}" for pair in pairs) + "')"


_LITERAL = Spelling(
    label="Oracle",
    text=_text,
    data="HEXTORAW('{0}')",
    true=None,
    false=None,
    double="{0}d",
    time=None,
    instant="TIMESTAMP '{0} +00:00'",
)
_DIGITS = "TO_CHAR({0}, 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')"
# SYYYY puts a blank before a year of our era.
_SECONDS = "LTRIM(TO_CHAR({0}, 'SYYYY-MM-DD HH24:MI:SS'))"
_MOMENT = "LTRIM(TO_CHAR({0}, 'SYYYY-MM-DD HH24:MI:SS.FF9'))"
_FINER = "digits beyond microseconds are an error"
_TYPES = TypeTable(
    quote=double_quoted,
    literal=_LITERAL,
    rules=[
        # Texts are never compared: a column may have a collation that ignores case, CHAR ignores
        # blanks, and '' is NULL.
        TypeRule(
            names=("NUMBER(p,s)",), arrow=None, read=_DIGITS, raw=pa.string(),
            compared="order", cut=True, note="p to 38; a negative scale is 0",
        ),
        TypeRule(
            names=("NUMBER", "FLOAT"), arrow=pa.decimal128(38, 10), read=_DIGITS, raw=pa.string(),
            compared="order", cut=True, note="a value that does not fit is an error",
        ),
        TypeRule(names=("BINARY_FLOAT",), arrow=pa.float32(), raw=pa.float64()),
        TypeRule(names=("BINARY_DOUBLE",), arrow=pa.float64()),
        TypeRule(
            names=("VARCHAR2", "NVARCHAR2", "CHAR", "NCHAR", "CLOB", "NCLOB", "LONG"),
            arrow=pa.string(), note="CHAR keeps its blanks; Oracle has no empty text, but NULL",
        ),
        TypeRule(names=("RAW", "BLOB", "LONG RAW"), arrow=pa.binary()),
        TypeRule(names=("BOOLEAN",), arrow=pa.bool_()),
        TypeRule(
            names=("DATE",), arrow=pa.timestamp("us"), read=_SECONDS, raw=pa.string(),
            compared="order", cut=True, note="years before 1 are an error",
        ),
        TypeRule(
            names=("TIMESTAMP",), arrow=pa.timestamp("us"), read=_MOMENT, raw=pa.string(),
            compared="order", cut=True, note=_FINER,
        ),
        TypeRule(
            names=("TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH LOCAL TIME ZONE"),
            arrow=pa.timestamp("us", "UTC"), read=_MOMENT.format("SYS_EXTRACT_UTC({0})"),
            raw=pa.string(), compared="order", cut=True, note=_FINER,
        ),
        TypeRule(
            names=("INTERVAL YEAR TO MONTH", "INTERVAL DAY TO SECOND", "ROWID", "UROWID"),
            arrow=pa.string(), read="TO_CHAR({0})", note="as Oracle prints it",
        ),
        TypeRule(
            names=("JSON",), arrow=pa.string(), read="JSON_SERIALIZE({0} RETURNING CLOB)",
        ),
    ],
)  # fmt: skip

DIALECT = driver_dialect(
    "oracle", "Oracle", _DRIVER, _TYPES, limit=("", "FETCH FIRST {0} ROWS ONLY")
)
