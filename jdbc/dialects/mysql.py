"""MySQL 5.7 and later and MariaDB 10.2 and later, read by connectorx or PyMySQL.

PyMySQL describes for both: it tells the flags of a column, and what connectorx makes of a type it
does not tell. Run for real on MariaDB alone.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import ssl
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..arrow_types import MYSQL, convert, decimal_type, string_instead
from ..cancellation import Cancellation
from ..errors import (
    ColumnTypeError,
    ColumnValueError,
    ConnectError,
    EngineError,
    JDBCError,
    MissingDriverError,
    OptionError,
    QueryError,
)
from ..options import JDBCOptions
from ..query import NEVER, comparison
from ..url import Ssl, redact
from . import Ask, Column, ColumnRead, Dialect, mysql_statistics
from .asking import asking
from .literals import EQUALITY, least_double

__all__ = ["DIALECT"]

# ------------------------------------------------------------------------------- sessions

_YEAR = 365 * 86_400


def _session(options: JDBCOptions) -> list[str]:
    """Say the same on every engine: how texts compare, when it is, what may be written.

    The user's own statement comes first, so that it may write and cannot change the rest.
    ``sql_mode`` stays as the server has it: the user's SQL means there what it always means, and
    ours means the same in every mode.
    """
    limits = ""
    if options.query_timeout:
        seconds = min(options.query_timeout, _YEAR)
        milliseconds = min(options.query_timeout * 1000, 2**32 - 1)
        # Each of the two servers takes the other's setting for a comment.
        limits = (
            f"/*M! SESSION max_statement_time = {seconds}, */"
            f" /*!50708 SESSION max_execution_time = {milliseconds}, */ "
        )
    # With the collation that the server has for it, whatever a driver asks; with time for a reader
    # that is slow, as the default is a minute; and with all rows, whatever the server's default.
    settings = (
        f"NAMES utf8mb4, {limits}SESSION time_zone = '+00:00', SESSION net_write_timeout = 600, "
        f"SESSION sql_select_limit = {2**64 - 1}"
    )
    first = [options.session_init_statement] if options.session_init_statement else []
    return [*first, f"SET {settings}", "SET SESSION TRANSACTION READ ONLY"]


def _driver() -> Any:
    try:
        import pymysql
    except ImportError:
        pass
    else:
        return pymysql
    needed = "PyMySQL, which reads MySQL and MariaDB, and describes them for connectorx,"
    raise MissingDriverError(needed, "mysql")


def _open(options: JDBCOptions, **arguments: Any) -> Any:
    """Connect to the first server that answers."""
    driver, url = _driver(), options.url
    if not options.user:
        raise OptionError("user", "is required for MySQL and MariaDB", "write the user's name")
    arguments = _tls(url.ssl) | arguments
    error = ConnectError(f"{url.label}: no server is named")
    for host, port in url.hosts:
        try:
            return driver.connect(
                host=host,
                port=port,
                unix_socket=url.socket,
                user=options.user,
                # As bytes, or the driver would encode it as latin1.
                password=(options.password or "").encode(),
                database=url.database,
                charset="utf8mb4",
                conv=_conversions(driver),
                autocommit=True,
                connect_timeout=options.connect_timeout,
                read_timeout=options.connect_timeout,
                **arguments,
            )
        except Exception as e:  # noqa: BLE001 - what answers need not be such a server
            error = _connect_error(e, options)
        if not error.transient:
            break
    raise error


def _conversions(driver: Any) -> dict[Any, Any]:
    """Return how the driver makes Python values: of numbers alone, all else stays text."""
    types = driver.constants.FIELD_TYPE
    whole = (types.TINY, types.SHORT, types.INT24, types.LONG, types.LONGLONG, types.YEAR)
    return {
        **driver.converters.encoders,
        **dict.fromkeys(whole, int),
        types.FLOAT: float,
        types.DOUBLE: float,
    }


def _tls(asked: Ssl | None) -> dict[str, Any]:
    if asked is None or asked.mode == "prefer":
        return {}  # the driver encrypts where the server can
    if asked.mode == "disable":
        return {"ssl_disabled": True}
    try:
        # Our own, as the driver checks nothing if it is not told an authority.
        context = ssl.create_default_context(cafile=asked.root_cert)
        if asked.cert:
            context.load_cert_chain(asked.cert, asked.key)
    except OSError as e:
        problem = f"or sslcert or sslkey cannot be read ({type(e).__name__})"
    else:
        # Certificates that a server makes for itself do not keep to the letter of the standard.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = asked.mode == "verify-full"
        if asked.mode not in ("verify-ca", "verify-full"):
            context.verify_mode = ssl.CERT_NONE
        return {"ssl": context}
    raise OptionError("sslrootcert", problem, "name PEM files that every worker has")


def _connect(options: JDBCOptions) -> Any:
    connection = _open(options)
    # Only the greeting must come in time; how long a query may take, queryTimeout says.
    connection._read_timeout = None
    try:
        with connection.cursor() as cursor:
            for statement in _session(options):
                cursor.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def _preflight(options: JDBCOptions) -> None:
    # Unencrypted, since that is how connectorx will come.
    try:
        _open(options, ssl_disabled=True).close()
        return
    except ConnectError as e:
        error = e
    if error.sqlstate == "28000" or _INSECURE in str(error):
        # MariaDB says no more to who comes without encryption where it demands that.
        hint = "connectorx does not encrypt: if the server demands it, write sslMode=required"
        error = ConnectError(f"{error}; {hint}", error.sqlstate, error.transient)
    raise error


def _refusal(options: JDBCOptions, engine: str) -> str | None:
    if engine != "connectorx":
        return None
    if options.session_init_statement:
        return "connectorx looks at the query before sessionInitStatement has run"
    try:
        options.url.connectorx_uri()
    except EngineError as e:
        return str(e)
    return None


def _asking(options: JDBCOptions) -> AbstractContextManager[Ask]:
    def run(connection: Any, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall())

    return asking(
        lambda: closing(_connect(options)), run, _driver().Error, partial(_error, options=options)
    )


@contextmanager
def _dbapi_rows(
    options: JDBCOptions, sql: str, cancellation: Cancellation
) -> Iterator[Iterator[Sequence[Any]]]:
    with closing(_connect(options)) as connection:
        cancel = partial(_kill, options, connection, sql, "QUERY")
        with cancellation.ends(cancel):
            try:
                cursor = connection.cursor(_driver().cursors.SSCursor)
                cursor.execute(sql)
                yield iter(lambda: cursor.fetchmany(options.fetchsize), ())
            finally:
                _stop(connection, options, sql)


def _stop(connection: Any, options: JDBCOptions, sql: str) -> None:
    """End a query whose rows nobody wants any more.

    The driver would read them to the end, and the server, if it is busy, not notice that nobody
    listens.
    """
    result = connection._result
    if result is None or not result.unbuffered_active:
        return
    result.unbuffered_active = False
    with suppress(JDBCError, _driver().Error):
        _kill(options, connection, sql, "CONNECTION")


def _kill(options: JDBCOptions, connection: Any, sql: str, what: str) -> None:
    """End a query or its connection.

    By its text as well as its number, which on another server behind the same name would be
    somebody else's.
    """
    with closing(_open(options)) as other, other.cursor() as cursor:
        number = connection.thread_id()
        cursor.execute(
            "SELECT 1 FROM information_schema.processlist"  # noqa: S608 - a number and a literal
            f" WHERE id = {number:d} AND info = {_text(sql)}"
        )
        if cursor.fetchone():
            cursor.execute(f"KILL {what} {number:d}")


def _cancel_tagged(options: JDBCOptions, tag: str) -> None:
    with closing(_open(options)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist"  # noqa: S608 - a literal
            f" WHERE id <> connection_id() AND locate({_text(tag)}, info) > 0"
        )
        for (number,) in cursor.fetchall():
            cursor.execute(f"KILL QUERY {number:d}")


# --------------------------------------------------------------------------------- errors

# https://dev.mysql.com/doc/mysql-errors/8.4/en/, https://mariadb.com/kb/en/mariadb-error-codes/
_LOST = frozenset({1053, 1152, 1158, 1159, 1160, 1161, 1927, 2003, 2006, 2013, 2055, 4031})
_CROWDED = frozenset({1040, 1203, 1226})
_PASSING = _LOST | _CROWDED | {1205, 1213}
_TIMED_OUT = frozenset({1969, 3024})
"""Of MariaDB, and of MySQL: neither has a SQLSTATE of its own."""
_INSECURE = "require_secure_transport"
# connectorx prints what the server said; its own troubles have words alone.
_SAID = re.compile(r"ERROR (\d{4,5}) \((\w{5})\): (.*?)(?: \}|$)", re.DOTALL)
_BROKEN = re.compile(
    r"timed out waiting for connection|IoError|server disconnected|connection (refused|reset)"
    r"|broken pipe",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"Name or service not known|No address associated|nodename nor servname|getaddrinfo|"
    r"CERTIFICATE|\[SSL",
    re.IGNORECASE,
)


def _error(exception: BaseException, options: JDBCOptions) -> JDBCError:
    if isinstance(exception, JDBCError):
        return exception
    number, state, text = _told(exception)
    message = f"{options.url.label}: {redact(text, options.unspoken).strip()}"
    broken = _BROKEN.search(f"{exception}") is not None
    kind = ConnectError if broken or number in _LOST | _CROWDED else QueryError
    state = "57014" if number in _TIMED_OUT else state
    return kind(message, state, number in _PASSING or (broken and number is None))


def _connect_error(exception: BaseException, options: JDBCOptions) -> ConnectError:
    number, state, text = _told(exception)
    message = f"{options.url.label}: {redact(text, options.unspoken).strip()}"
    passing = number in _PASSING and not _FINAL.search(text)
    return ConnectError(message, state, passing)


def _told(exception: BaseException) -> tuple[int | None, str | None, str]:
    """Return the server's number and SQLSTATE of an error, where there are any, and its words."""
    match exception.args:
        case (int(number), str(text)):
            return number, getattr(exception, "sqlstate", None), text
    if said := _SAID.search(f"{exception}"):
        return int(said[1]), said[2], said[3]
    return None, None, f"{exception}" or type(exception).__name__


# ------------------------------------------------------------------------------ describing

_NAMES = {
    0: "decimal", 1: "tinyint", 2: "smallint", 3: "int", 4: "float", 5: "double", 7: "timestamp",
    8: "bigint", 9: "mediumint", 10: "date", 11: "time", 12: "datetime", 13: "year", 14: "date",
    15: "varchar", 16: "bit", 245: "json", 246: "decimal", 247: "enum", 248: "set", 249: "text",
    250: "text", 251: "text", 252: "text", 253: "varchar", 254: "char", 255: "geometry",
}  # fmt: skip
"""By the protocol's number of a type:
https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html"""
_OF_BYTES = {"char": "binary", "varchar": "varbinary", "text": "blob"}
_UNSIGNED, _ENUM, _SET = 32, 256, 2048
_BYTES = 63
"""Number of the character set "binary"."""
_UTF8 = 4
"""Bytes of a character at most, in the character set of our sessions."""
_FREE = 31
"""What stands for the number of decimals of a float that has no fixed one."""
_NULLED = " zero as null"
"""Mark on moments of a read in which zero dates are NULL."""


def _describe(options: JDBCOptions, sql: str) -> list[Column]:
    mark = _NULLED if _zero_is_null(options) else ""
    driver = _driver()
    try:
        with closing(_connect(options)) as connection, connection.cursor() as cursor:
            cursor.execute(f"{sql}\nLIMIT 0")
            # `description` lacks the flags.
            fields = cursor._result.fields
    except driver.Error as e:
        error = _error(e, options)
    else:
        # Not nullable would need the whole query: an outer join empties a NOT NULL column.
        return [_column(field, mark) for field in fields]
    raise error


def _column(field: Any, mark: str) -> Column:
    database_type = _type_name(field)
    if _base(database_type) in _MOMENTS:
        database_type += mark
    try:
        return Column(field.name, database_type, _arrow_type(database_type))
    except KeyError:
        raise ColumnTypeError(
            field.name,
            f"is of a type that this version does not know, number {field.type_code}",
            f"cast it in a query, e.g. SELECT CAST({_quote(field.name)} AS CHAR)",
        ) from None


def _type_name(field: Any) -> str:
    name = _NAMES.get(field.type_code, "unknown")
    if name in (*_OF_BYTES, "enum", "set"):
        return _name_of_text(field, name)
    if name in ("float", "double"):
        return name if field.scale >= _FREE else f"{name}({field.length},{field.scale})"
    if name == "decimal":
        # The length is that of the longest text, with a sign and a point.
        digits = field.length - (not field.flags & _UNSIGNED) - (field.scale > 0)
        return f"decimal({digits},{field.scale})"
    if name in ("time", "datetime", "timestamp"):
        return f"{name}({field.scale})" if 0 < field.scale <= 6 else name
    if name == "bit":
        return f"bit({field.length})"
    unsigned = field.flags & _UNSIGNED and name.endswith("int")
    return f"{name} unsigned" if unsigned else name


def _name_of_text(field: Any, name: str) -> str:
    if field.charsetnr == _BYTES:
        name = _OF_BYTES.get(name, "binary")
        return name if name == "blob" else f"{name}({field.length})"
    if field.flags & _ENUM or field.flags & _SET or name in ("enum", "set"):
        return "set" if field.flags & _SET or name == "set" else "enum"
    return name if name == "text" else f"{name}({field.length // _UTF8})"


def _zero_is_null(options: JDBCOptions) -> bool:
    """Return what zeroDateTimeBehavior says; refuse what properties of the Java drivers ask."""
    given = {name.lower(): (name, text) for name, text in options.driver_properties.items()}
    for name, fix in (
        ("tinyint1isbit", "a TINYINT(1) is an int8; write customSchema 'c BOOLEAN'"),
        ("yearisdatetype", "a YEAR is an int16; convert it in a query"),
    ):
        spelt, text = given.get(name, (name, "false"))
        if text.strip().lower() != "false":
            raise OptionError(spelt, f"can only be false, got {text!r}", fix)
    spelt, text = given.get("zerodatetimebehavior", ("", "exception"))
    behaviour = text.strip().lower().replace("_", "")
    if behaviour not in ("exception", "converttonull"):
        raise OptionError(
            spelt,
            f"must be exception or convertToNull, got {text!r}",
            "leave it out for an error, or write convertToNull; no date is made up",
        )
    return behaviour == "converttonull"


_ARROW = {
    name: row.arrow for row in MYSQL for name in row.names if isinstance(row.arrow, pa.DataType)
}
_SIZED = re.compile(r"decimal\((\d+),(\d+)\)")


def _base(database_type: str) -> str:
    """Return the name without sizes and marks, but with "unsigned"."""
    return database_type.removesuffix(_NULLED).partition("(")[0]


def _arrow_type(database_type: str) -> pa.DataType:
    if found := _SIZED.fullmatch(database_type):
        return decimal_type(int(found[1]), int(found[2])) or pa.string()
    return _ARROW[_base(database_type)]


# -------------------------------------------------------------------------------- reading

_MOMENTS = frozenset({"date", "datetime", "timestamp"})
_AS_BYTES = frozenset({"binary", "varbinary", "blob", "geometry"})
_FLOATS = frozenset({"float", "double"})


def _read_column(column: Column, engine: str) -> ColumnRead | None:
    own, name = _arrow_type(column.database_type), _base(column.database_type)
    quoted, asked = _quote(column.name), column.arrow_type != own
    printed = f"CAST({quoted} AS CHAR)"
    if name in _FLOATS:
        return _read_float(column, quoted, asked=asked)
    if name in _AS_BYTES:
        return _read_bytes(column, quoted, engine)
    if name == "bit" and asked:
        return _checked(column, f"CAST(({quoted} + 0) AS CHAR)", pa.string())
    if name == "json":
        return _read_json(column, quoted, engine)
    if name in _MOMENTS and not pa.types.is_string(column.arrow_type):
        return ColumnRead(printed, partial(_moments, column=column), pa.string())
    if name in ("decimal", "time", *_MOMENTS) or (asked and not pa.types.is_string(own)):
        return _checked(column, printed, pa.string())
    return _checked(column, quoted, own)


def _checked(column: Column, expression: str, raw_type: pa.DataType) -> ColumnRead:
    return ColumnRead(
        expression, partial(convert, target=column.arrow_type, column=column.name), raw_type
    )


def _read_float(column: Column, quoted: str, *, asked: bool) -> ColumnRead:
    # As text, which PyMySQL gets, a FLOAT has six digits, and one with fixed decimals has those.
    expression = quoted if column.database_type == "double" else f"({quoted} * 1e0)"
    if not asked or pa.types.is_floating(column.arrow_type):
        return _checked(column, expression, pa.float64())
    return ColumnRead(expression, partial(_shortest, column=column), pa.float64())


def _shortest(array: pa.Array, column: Column) -> pa.Array:
    """Convert by way of the shortest text that is this number."""
    own = _arrow_type(column.database_type)
    text = convert(array, own, column.name).cast(pa.string())
    return convert(text, column.arrow_type, column.name)


def _read_bytes(column: Column, quoted: str, engine: str) -> ColumnRead:
    if not (pa.types.is_binary(column.arrow_type) or pa.types.is_string(column.arrow_type)):
        raise ColumnTypeError(
            column.name,
            f"({column.database_type}) cannot become {column.arrow_type}",
            "write BINARY or STRING in customSchema, or convert it in a query",
        )
    if column.database_type == "geometry" and engine == "connectorx":
        return _unless_too_long(column, f"UNHEX(HEX({quoted}))", quoted, pa.binary())
    return _checked(column, quoted, pa.binary())


def _read_json(column: Column, quoted: str, engine: str) -> ColumnRead:
    if engine == "connectorx":  # parses it, and prints it anew
        return _unless_too_long(column, f"CAST({quoted} AS CHAR)", quoted, pa.string())
    return _checked(column, quoted, pa.string())


def _unless_too_long(
    column: Column, expression: str, quoted: str, raw_type: pa.DataType
) -> ColumnRead:
    """Read what is never empty by an expression that is NULL beyond max_allowed_packet."""
    return ColumnRead(
        f"IF({quoted} IS NULL, NULL, COALESCE({expression}, ''))",
        partial(_never_empty, column=column),
        raw_type,
    )


def _never_empty(array: pa.Array, column: Column) -> pa.Array:
    if pc.any(pc.equal(pc.binary_length(array), 0)).as_py():
        raise ColumnValueError(
            column.name,
            "holds a value that is longer than the server's max_allowed_packet",
            "write engine 'fallback', or raise max_allowed_packet",
        )
    return convert(array, column.arrow_type, column.name)


_ZERO = "0000-00-00"


def _moments(array: pa.Array, column: Column) -> pa.Array:
    zero = pc.starts_with(array, _ZERO)
    if pc.any(zero).as_py():
        if not column.database_type.endswith(_NULLED):
            instead = string_instead(column.name)
            raise ColumnValueError(
                column.name,
                f"holds the zero date {_ZERO}",
                f"set zeroDateTimeBehavior to convertToNull, or {instead}",
            )
        array = pc.if_else(zero, pa.scalar(None, array.type), array)
    return convert(array, column.arrow_type, column.name)


# ------------------------------------------------------------------------------------ SQL


def _quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _literal(value: Any, arrow_type: pa.DataType) -> str:
    if getattr(value, "nanosecond", 0):  # of a pandas.Timestamp: MySQL would round it
        raise ValueError("MySQL has no nanoseconds")
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int() if pa.types.is_floating(arrow_type):
            return _double(least_double(value))
        case int():
            return f"{value}"
        case float() if math.isfinite(value):
            return _double(value)
        case Decimal() if value.is_finite() and -66 < value.adjusted() < 66:
            return f"{value:f}"
        case str():
            return _text(value)
        case bytes():
            return f"x'{value.hex()}'"
        case dt.datetime() if value.tzinfo is None or arrow_type.tz is not None:
            moment = value if value.tzinfo is None else value.astimezone(dt.UTC)
            return f"TIMESTAMP'{moment.replace(tzinfo=None).isoformat(' ')}'"
        case dt.date() if not isinstance(value, dt.datetime):
            return f"DATE'{value.isoformat()}'"
        case dt.time() if value.tzinfo is None:
            return f"TIME'{value.isoformat()}'"
    raise ValueError(f"MySQL has no literal for this {type(value).__name__} as {arrow_type}")


def _text(value: str) -> str:
    # By its bytes, which is right whatever sql_mode says of backslashes and quotes.
    return f"_utf8mb4 x'{value.encode().hex()}'"


def _double(value: float) -> str:
    spelt = repr(value)
    return spelt if "e" in spelt else f"{spelt}e0"  # without an exponent it would be a DECIMAL


_TEXTS = frozenset({"char", "varchar", "text"})
_STRINGS = frozenset({"binary", "varbinary", "blob"})
# Those that each character set can spell, so that the column's own can be compared.
_PLAIN = re.compile(r"[A-Za-z0-9 _.,:/+-]*")


def _condition(column: Column, op: str, values: Sequence[Any]) -> str | None:
    """Compare where the database does so as Arrow would.

    Never with a value that the column could not hold: by an index, the database takes the nearest
    one that it can, so that ``c = 1.056`` finds 1.06 in a DECIMAL(10,2).
    """
    name, own = _base(column.database_type), _arrow_type(column.database_type)
    if column.arrow_type != own or column.database_type.endswith(_NULLED):
        return None
    texts = name in _TEXTS or name in _STRINGS
    if texts and op not in EQUALITY:
        return None
    fits = _FITS.get(name, _fits_text if texts else None)
    if fits is None or not all(fits(value, column) for value in values):
        return None
    try:
        literals = [_literal(value, own) for value in values]
    except ValueError:
        return None
    if name in _TEXTS:
        return _same_text(_quote(column.name), op, values, literals)
    return comparison(_operand(column), op, literals)


def _same_text(quoted: str, op: str, values: Sequence[str], literals: Sequence[str]) -> str:
    # By its bytes: collations ignore case, and most of them blanks at the end.
    stored = f"CAST(CONVERT({quoted} USING utf8mb4) AS BINARY)"
    exact = comparison(stored, op, [f"x'{value.encode().hex()}'" for value in values])
    if op in ("==", "in") and all(_PLAIN.fullmatch(value) for value in values):
        # The same bytes are the same under any collation, and this half an index can answer.
        return f"{comparison(quoted, op, literals)} AND {exact}"
    return exact


def _operand(column: Column) -> str:
    # A YEAR takes the number 24 for 2024, and what is beyond it for nothing.
    quoted = _quote(column.name)
    return f"({quoted} + 0)" if column.database_type == "year" else quoted


def _fits_integer(value: Any, column: Column) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    try:
        pa.scalar(value, column.arrow_type)
    except (pa.ArrowException, OverflowError):
        return False
    return True


def _fits_decimal(value: Any, column: Column) -> bool:
    if not isinstance(value, Decimal) or not value.is_finite():
        return False
    try:
        pa.scalar(value, column.arrow_type)
    except pa.ArrowException:
        return False
    return True


def _fits_float(value: Any, column: Column) -> bool:
    if not isinstance(value, float) or column.database_type not in _FLOATS:
        return False  # one with fixed decimals is rounded like a decimal
    if column.database_type == "double":
        return math.isfinite(value)
    try:
        packed: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return False
    return math.isfinite(value) and packed == value


def _fits_date(value: Any, column: Column) -> bool:
    return isinstance(value, dt.date) and not isinstance(value, dt.datetime)


_DIGITS = re.compile(r"\((\d)\)")
_EPOCH = dt.datetime(1970, 1, 2, tzinfo=dt.UTC), dt.datetime(2038, 1, 1, tzinfo=dt.UTC)


def _fits_moment(value: Any, column: Column) -> bool:
    if not isinstance(value, dt.datetime):
        return False
    found = _DIGITS.search(column.database_type)
    if value.microsecond % 10 ** (6 - int(found[1] if found else 0)):
        return False
    if _base(column.database_type) == "datetime":
        return value.tzinfo is None
    return value.tzinfo is not None and _EPOCH[0] <= value < _EPOCH[1]


def _fits_text(value: Any, column: Column) -> bool:
    if isinstance(value, str):
        with suppress(UnicodeEncodeError):  # a lone surrogate
            return value.encode() is not None and _base(column.database_type) in _TEXTS
    return isinstance(value, bytes) and _base(column.database_type) in _STRINGS


_FITS: Mapping[str, Callable[[Any, Column], bool]] = {
    **{name: _fits_integer for name, arrow in _ARROW.items() if pa.types.is_integer(arrow)},
    "decimal": _fits_decimal,
    "float": _fits_float,
    "double": _fits_float,
    "date": _fits_date,
    "datetime": _fits_moment,
    "timestamp": _fits_moment,
}


def _is_null(column: Column) -> str:
    """Test for NULL as Arrow has it.

    ``IS NULL`` also finds the zero dates of a column that is NOT NULL, for ODBC's sake.
    """
    quoted = _quote(column.name)
    if _base(column.database_type) not in _MOMENTS:
        return f"{quoted} IS NULL"
    null = f"{quoted} <=> NULL"
    if not column.database_type.endswith(_NULLED) or pa.types.is_string(column.arrow_type):
        return null
    return f"{null} OR CAST({quoted} AS CHAR) LIKE '{_ZERO}%'"


def _partition_key(column: Column) -> tuple[str, pa.DataType]:
    kind = _arrow_type(column.database_type)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        raise OptionError(
            "partitionColumn",
            f"names {column.name!r}, which is a {column.database_type} and cannot be cut",
            "name one that holds numbers, dates or timestamps, or write predicates",
        )
    return _operand(column), kind


DIALECT = Dialect(
    name="mysql",
    label="MySQL and MariaDB",
    engines=("connectorx", "fallback"),
    fastest=("connectorx", "fallback"),
    types=MYSQL,
    quote=_quote,
    literal=_literal,
    describe=_describe,
    read_column=_read_column,
    condition=_condition,
    is_nan=lambda _: NEVER,  # it stores none
    partition_key=_partition_key,
    session=_session,
    refusal=_refusal,
    connectorx_uri=lambda options: options.url.connectorx_uri(),
    preflight=_preflight,
    dbapi_rows=_dbapi_rows,
    error=_error,
    is_null=_is_null,
    statistics=mysql_statistics,
    asking=_asking,
    cancel_tagged=_cancel_tagged,
)
