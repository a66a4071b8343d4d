"""PostgreSQL 12 and later, read by connectorx, ADBC or psycopg."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.conninfo import make_conninfo
from psycopg.pq import ExecStatus

from ..arrow_types import (
    POSTGRESQL,
    convert,
    decimal_type,
    map_values,
    plain,
    string_instead,
)
from ..cancellation import Cancellation
from ..errors import ColumnValueError, ConnectError, EngineError, JDBCError, QueryError
from ..options import JDBCOptions
from ..partitioning import not_cut
from ..query import comparison, count_sql
from ..url import JDBCUrl, redact
from . import Ask, Column, ColumnRead, Dialect, postgresql_statistics
from .asking import asking
from .literals import EQUALITY, double_quoted, fits_float32, is_a
from .postgresql_pages import CHANGED, page_condition, paged_tables, same_tables
from .snags import snag_in, snag_name

__all__ = ["DIALECT"]

# ------------------------------------------------------------------------------- sessions


def _session(options: JDBCOptions) -> list[str]:
    """Say the same on every engine: what may be written, how long it may take, how values print.

    For the transaction alone: behind a proxy that pools transactions, such as PgBouncer, a session
    is several servers, and each of them is somebody else's next. The user's own statement comes
    first, so that it may write and cannot change the rest.
    """
    settings = {
        "TimeZone": "UTC",
        "DateStyle": "ISO, YMD",
        "IntervalStyle": "postgres",
        "bytea_output": "hex",
        "extra_float_digits": "3",
        "cursor_tuple_fraction": "1.0",  # every row will be fetched: let it plan for that
        "transaction_read_only": "on",
    }
    if options.url.schema:
        settings["search_path"] = options.url.schema
    if options.query_timeout:
        settings["statement_timeout"] = f"{options.query_timeout}s"
    # In one statement, so in one round trip.
    calls = [f"set_config('{key}', {_text(value)}, true)" for key, value in settings.items()]
    if options.pages is not None:
        calls.append(same_tables(options.pages))
    first = [options.session_init_statement] if options.session_init_statement else []
    if options.imported_snapshot is not None:
        # Before any query of the transaction, or it would have a snapshot of its own.
        name = _text(options.imported_snapshot)
        level = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
        first = [level, f"SET TRANSACTION SNAPSHOT {name}", *first]
    return [*first, f"SELECT pg_backend_pid(), {', '.join(calls)}"]


def _conninfo(options: JDBCOptions) -> str:
    # The search path is set by `_session`, since proxies refuse or drop what comes as "options".
    keywords = replace(_named(options), schema=None).libpq()
    # Without an encoding ADBC would hand over the server's bytes as if they were UTF-8.
    return make_conninfo(**{**keywords, "client_encoding": "UTF8"})


def _named(options: JDBCOptions) -> JDBCUrl:
    """Return the URL with a name by which an administrator finds our sessions."""
    return replace(options.url, application_name=options.url.application_name or "dask-sail")


def _connect(
    options: JDBCOptions, isolation: psycopg.IsolationLevel | None = None
) -> psycopg.Connection[Any]:
    """Return a connection within a transaction that has the settings of `_session`."""
    # A statement that is prepared on one server would be run on another by a pooling proxy.
    connection = psycopg.connect(_conninfo(options), prepare_threshold=None)
    try:
        connection.isolation_level = isolation
        for statement in _session(options):
            cursor = connection.execute(statement.encode())
        _look_for_proxy(options, connection, *(cursor.fetchone() or ()))
    except BaseException:
        _close(connection)
        raise
    return connection


@contextmanager
def _open(options: JDBCOptions) -> Iterator[psycopg.Connection[Any]]:
    connection = _connect(options)
    try:
        yield connection
    finally:
        _close(connection)


@contextmanager
def _connected(options: JDBCOptions) -> Iterator[psycopg.Connection[Any]]:
    with _open(options) as connection:
        yield connection
        connection.commit()


_NO_LIMITS = """
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')
"""
"""Limits for transactions that somebody forgot are not meant for one that is kept open."""


class _Snapshot:
    """A snapshot that other sessions may import, as long as its transaction is open.

    Its transaction locks what is read against TRUNCATE, and ALTER TABLE's rewriting, which show an
    older snapshot an empty table. So it locks first, then looks: at the level READ COMMITTED, since
    others have their snapshot from the first statement on.
    """

    def __init__(self, options: JDBCOptions) -> None:
        self._connection = _connect(options, psycopg.IsolationLevel.READ_COMMITTED)
        try:
            self._connection.execute(_NO_LIMITS.encode())
            # Planning locks whatever the query will read, the tables beneath it as well.
            self._connection.execute(f"EXPLAIN {count_sql(options, DIALECT)}".encode())
            row = self._connection.execute(b"SELECT pg_export_snapshot()").fetchone()
        except BaseException:
            self.close()
            raise
        self.name = str(row[0]) if row else ""

    def close(self) -> None:
        """End the transaction, and with it the snapshot."""
        _close(self._connection)


def _open_snapshot(options: JDBCOptions) -> _Snapshot:
    try:
        return _Snapshot(options)
    except psycopg.Error as e:
        error = _error(e, options)
    raise error


def _close(connection: psycopg.Connection[Any]) -> None:
    """Close, and wait until the server has, so that the next connection is not one too many."""
    with suppress(psycopg.Error, OSError):
        # A proxy ends its own session with a server that is left within a transaction.
        connection.rollback()
        with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as line:
            line.settimeout(_GOODBYE_SECONDS)
            connection.close()
            while line.recv(4096):
                pass
    connection.close()


_GOODBYE_SECONDS = 1.0
_CANCEL_SECONDS = 2.0
_proxied: dict[str, bool] = {}
"""By a digest of the connection string: whether a proxy is between us and the server."""


def _look_for_proxy(
    options: JDBCOptions, connection: psycopg.Connection[Any], backend: int, *_: Any
) -> None:
    """Remember whether the server is who the connection says it is; for `_refusal`.

    A proxy that pools makes up the process id that it tells a client, as cancelling goes by it.
    """
    is_proxied = backend != connection.pgconn.backend_pid
    _proxied[_digest(options)] = is_proxied
    if is_proxied and "options" in {name.lower() for name in options.url.props}:
        raise EngineError(
            f"{options.url.label}: behind a pooling proxy the driver property 'options' may not "
            "reach the server; leave it out, or write the settings as sessionInitStatement"
        )


def _digest(options: JDBCOptions) -> str:
    return hashlib.sha256(_conninfo(options).encode()).hexdigest()


def _asking(options: JDBCOptions) -> AbstractContextManager[Ask]:
    def run(
        connection: psycopg.Connection[Any], sql: str, parameters: tuple[Any, ...]
    ) -> list[tuple[Any, ...]]:
        with connection.transaction():  # what fails leaves the session fit for the next
            return connection.execute(sql.encode(), parameters or None).fetchall()

    return asking(partial(_open, options), run, psycopg.Error, partial(_error, options=options))


def _preflight(options: JDBCOptions) -> None:
    try:
        with _connected(options):
            pass
    except psycopg.Error as e:
        error: JDBCError = _error(e, options)
    else:
        if not _proxied[_digest(options)]:
            return
        error = EngineError(f"{options.url.label}: {_PROXY}; plan again, or write engine 'adbc'")
    raise error


_PROXY = "connectorx names what it prepares, which goes wrong behind a pooling proxy"


def _cancel_tagged(options: JDBCOptions, tag: str) -> None:
    with psycopg.connect(_conninfo(options), autocommit=True, prepare_threshold=None) as connection:
        connection.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
            " WHERE state = 'active' AND pid <> pg_backend_pid() AND strpos(query, %s) > 0",
            [tag],
        )


def _refusal(options: JDBCOptions, engine: str) -> str | None:
    if engine != "connectorx":
        return None
    if _proxied.get(_digest(options)):
        return _PROXY
    if options.session_init_statement:
        return "connectorx looks at the query before sessionInitStatement has run"
    try:
        options.url.connectorx_uri()
    except EngineError as e:
        return str(e)
    return None


def _adbc_database(options: JDBCOptions) -> Any:
    import adbc_driver_postgresql

    return adbc_driver_postgresql.connect(_conninfo(options))


def _adbc_statement(options: JDBCOptions) -> dict[str, str]:
    from adbc_driver_postgresql import StatementOptions

    # The driver counts bytes, we count rows, of about 128. Its own 16 MiB took twice the memory.
    return {StatementOptions.BATCH_SIZE_HINT_BYTES.value: f"{options.fetchsize * 128}"}


@contextmanager
def _dbapi_rows(
    options: JDBCOptions, sql: str, cancellation: Cancellation
) -> Iterator[Iterator[Sequence[Any]]]:
    with (
        _connected(options) as connection,
        cancellation.ends(partial(connection.cancel_safe, timeout=_CANCEL_SECONDS)),
        connection.cursor("dask_sail") as cursor,  # named, so its rows stay on the server
    ):
        # Binary, so that no float is printed and parsed.
        cursor.execute(sql.encode(), binary=True)
        yield iter(lambda: cursor.fetchmany(options.fetchsize), [])


# --------------------------------------------------------------------------------- errors

_TRANSIENT = frozenset({"53300", "57P01", "57P02", "57P03", "40001", "40P01"})
# connectorx and libpq's connecting tell no SQLSTATE, only the server's words.
_WORDS = {
    "too many clients": "53300",
    "too many connections for": "53300",  # this role, or this database
    "remaining connection slots": "53300",
    "no more connections allowed": "53300",  # says PgBouncer
    "query_wait_timeout": "53300",
    "terminating connection due to administrator command": "57P01",
    "the database system is": "57P03",
    "could not serialize access": "40001",
    "deadlock detected": "40P01",
    "statement timeout": "57014",
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "read-only transaction": "25006",
    "division by zero": "22012",
}
_NOT_REACHED = re.compile(
    r"connection (to server )?.*(refused|failed|timeout|timed out)|could not connect|"
    r"server closed the connection|connection (is )?(closed|lost|reset)|SSL SYSCALL|"
    r"error communicating with the server|failed to resolve host|could not translate host name|"
    r"Name or service not known",
    re.IGNORECASE | re.DOTALL,
)
_NOISE = re.compile(
    r"^[A-Z_]+: |\[libpq\] |Execution error \[PGRES_FATAL_ERROR\]: |^db error: |"
    r"\s*\.? SQLSTATE: \w{5}$|\n*Query was:.*|^ERROR:\s+",
    re.DOTALL,
)


def _error(exception: BaseException, options: JDBCOptions) -> JDBCError:
    if isinstance(exception, JDBCError):
        return exception
    text = redact(f"{exception}", options.secrets).strip()
    # Without the query, which ADBC quotes: the words are in it before the server says them.
    if snag := snag_in(_shortened(text)):
        kind, column = snag
        return ColumnValueError(column, f"holds {kind}", string_instead(column))
    if CHANGED in text:
        return QueryError(
            f"{options.url.label}: the table, or one that belongs to it, was replaced, attached or "
            "detached since the read was planned: plan again"
        )
    state = getattr(exception, "sqlstate", None)
    state = state or next((s for words, s in _WORDS.items() if words in text), None)
    message = f"{options.url.label}: {redact(_shortened(text), options.unspoken)}"
    if options.imported_snapshot is not None and "snapshot" in text:
        message += "; the snapshot is gone with the process that kept it open: compute again"
    # These are the server's own words, so it was reached.
    answered = "FATAL:" in text or "ERROR:" in text
    lost = state is None and not answered and _NOT_REACHED.search(text) is not None
    lost = lost or (state or "")[:2] == "08"
    if lost or "FATAL:" in text or (state or "")[:2] == "28" or state in ("53300", "57P03"):
        passing = lost and not re.search("resolve host|translate host|not known", text)
        return ConnectError(message, state, passing or state in _TRANSIENT)
    return QueryError(message, state, state in _TRANSIENT)


def _shortened(text: str) -> str:
    while (clean := _NOISE.sub("", text).strip()) != text:
        text = clean
    return text


# ------------------------------------------------------------------------------ describing

_DESCRIBE = """
SELECT t.typname, t.typtype, n.nspname = 'pg_catalog', format('%%I.%%I', n.nspname, t.typname),
       e.typname, en.nspname = 'pg_catalog' AND e.typtype = 'b',
       EXISTS (SELECT FROM pg_collation WHERE NOT collisdeterministic),
       current_setting('server_encoding') <> 'UTF8'
FROM unnest(%s::oid[]) WITH ORDINALITY AS wanted(oid, position)
JOIN pg_type t ON t.oid = wanted.oid
JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' AND t.typlen = -1
LEFT JOIN pg_namespace en ON en.oid = e.typnamespace
ORDER BY position
"""
_KINDS = {"e": "enum ", "c": "composite ", "r": "range ", "m": "multirange "}
_UNSURE = " collate nondeterministic"
"""Mark on texts of a database in which equal need not mean the same bytes."""
_ENCODED = " not in UTF8"
"""Mark on texts of a database that knows some characters alone, and refuses a query with others."""


def _describe(options: JDBCOptions, sql: str) -> list[Column]:
    try:
        with _connected(options) as connection:
            return _described(connection, sql)
    except psycopg.Error as e:
        error = _error(e, options)
    raise error


def _described(connection: psycopg.Connection[Any], sql: str) -> list[Column]:
    # Prepared, not run: nothing is planned or locked for long, and one statement is all it takes.
    server = connection.pgconn
    for result in (server.prepare(b"", sql.encode()), server.describe_prepared(b"")):
        if result.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)
    fields = range(result.nfields)
    oids = ",".join(f"{result.ftype(i)}" for i in fields)
    types = connection.execute(_DESCRIBE, [f"{{{oids}}}"]).fetchall()
    columns = []
    for i, row in zip(fields, types, strict=True):
        name = (result.fname(i) or b"").decode()
        # Not nullable would need the whole query: an outer join empties a NOT NULL column.
        database_type = _type_name(result.fmod(i), *row)
        columns.append(Column(name, database_type, _arrow_type(database_type)))
    return columns


def _type_name(
    modifier: int,
    name: str,
    kind: str,
    built_in: bool,
    qualified: str,
    element: str | None,
    element_built_in: bool | None,
    odd_collations: bool,
    odd_encoding: bool,
) -> str:
    if element is not None:
        known = built_in and element_built_in
        return f"{_modified(element, modifier)}[]" if known else f"{qualified}[]"
    if not built_in:
        return _KINDS.get(kind, "") + qualified
    if name in ("text", "varchar"):
        mark = _UNSURE if odd_collations else _ENCODED if odd_encoding else ""
        return _modified(name, modifier) + mark
    return _modified(name, modifier)


def _modified(name: str, modifier: int) -> str:
    if name == "numeric" and modifier >= 4:
        precision, scale = (modifier - 4) >> 16, (modifier - 4) & 0x7FF
        return f"numeric({precision},{(scale ^ 1024) - 1024})"
    if name in ("varchar", "bpchar") and modifier >= 4:
        return f"{name}({modifier - 4})"
    return name


_ARROW = {name: row.arrow for row in POSTGRESQL for name in row.names if row.arrow != "string"}
_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")


def _base(database_type: str) -> str:
    """Return the name without modifiers and marks."""
    return database_type.removesuffix(_UNSURE).removesuffix(_ENCODED).partition("(")[0]


def _arrow_type(database_type: str) -> pa.DataType:
    if database_type.endswith("[]"):
        return pa.list_(_arrow_type_of_element(database_type[:-2]))
    if found := _NUMERIC.fullmatch(database_type):
        return decimal_type(int(found[1]), int(found[2])) or pa.string()
    return _ARROW.get(_base(database_type), pa.string())


def _arrow_type_of_element(database_type: str) -> pa.DataType:
    # A list of intervals would need its own converter on every engine: text is exact as well.
    return pa.string() if database_type == "interval" else _arrow_type(database_type)


# -------------------------------------------------------------------------------- reading

_TYPED = frozenset({"bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "bpchar",
                    "name", "bytea"})  # fmt: skip
_NATIVE = {
    "connectorx": _TYPED | {"date", "timestamp", "timestamptz"},
    "adbc": _TYPED | {"date", "timestamp", "timestamptz", "time"},
    "fallback": _TYPED,
}
"""What each engine reads as it is; all else is read as text that the database prints. ADBC would
print a numeric itself, which takes it five times as long as the server."""
_NATIVE_ELEMENTS = {
    "connectorx": frozenset({"int2", "int4", "int8", "float4", "float8", "text", "varchar"}),
    "adbc": _NATIVE["adbc"],
    "fallback": _TYPED,
}


def _read_column(column: Column, engine: str) -> ColumnRead | None:
    native = _arrow_type(column.database_type)
    if column.arrow_type != native:
        return _read_as_asked(column, native)
    if column.database_type.endswith("[]"):
        return _read_array(column, engine)
    name, quoted = _base(column.database_type), double_quoted(column.name)
    if name == "oid":
        return _checked(column, f"{quoted}::int8", pa.int64())
    if name == "interval":
        return _read_interval(column)
    if name in _NATIVE[engine]:
        return _checked(column, quoted, native)
    return _checked(column, f"{quoted}::text", pa.string())


def _checked(column: Column, expression: str, raw_type: pa.DataType) -> ColumnRead:
    return ColumnRead(
        expression, partial(convert, target=column.arrow_type, column=column.name), raw_type
    )


def _read_as_asked(column: Column, native: pa.DataType) -> ColumnRead:
    """Read by way of text, which holds what the usual type could not."""
    quoted = double_quoted(column.name)
    if pa.types.is_list(column.arrow_type) and pa.types.is_list(native):
        expression = _flat_array(column, f"{quoted}::text[]", "text[]")
        return _checked(column, expression, pa.list_(pa.string()))
    return _checked(column, f"{quoted}::text", pa.string())


def _read_array(column: Column, engine: str) -> ColumnRead | None:
    element = column.database_type[:-2]
    name, quoted = _base(element), double_quoted(column.name)
    if name == "oid":
        expression, cast, raw = f"{quoted}::int8[]", "int8[]", pa.int64()
    elif name in _NATIVE_ELEMENTS[engine]:
        expression, cast, raw = quoted, f"{name}[]", column.arrow_type.value_type
    elif name == "bpchar":
        return None  # its text has lost the trailing blanks
    else:
        expression, cast, raw = f"{quoted}::text[]", "text[]", pa.string()
    read = _checked(column, _flat_array(column, expression, cast), pa.list_(raw))
    if name == "bytea" and raw == pa.string():
        return ColumnRead(read.expression, partial(_unhex, column.arrow_type), read.raw_type)
    return read


def _unhex(target: pa.ListType, array: pa.Array) -> pa.Array:
    def values(texts: pa.Array) -> pa.Array:
        pairs = (None if t is None else bytes.fromhex(t[2:]) for t in texts.to_pylist())
        return pa.array(pairs, pa.binary())

    return map_values(array, target, values)


def _flat_array(column: Column, expression: str, cast: str) -> str:
    """Have the server refuse arrays of arrays, which drivers flatten in silence."""
    quoted = double_quoted(column.name)
    snag = _snag("an array of two or more dimensions", column.name, quoted, cast)
    return f"CASE WHEN array_ndims({quoted}) > 1 THEN {snag} ELSE {expression} END"


def _snag(kind: str, column: str, quoted: str, cast: str) -> str:
    """Return an expression that fails with words that `_error` understands.

    It names the column's value, as PostgreSQL works out what is constant before any row is read.
    """
    words = f"dask-sail {kind} in {snag_name(column)}"
    return f"CAST(concat('{words}', left({quoted}::text, 0)) AS {cast})"


_MICROSECONDS = (
    "(extract(hour FROM {0}) * 3600 + extract(minute FROM {0}) * 60)::int8 * 1000000"
    " + extract(microseconds FROM {0})::int8"
)


def _read_interval(column: Column) -> ColumnRead:
    # As numbers, on every engine: connectorx has no interval, psycopg makes a month of 30 days.
    quoted = double_quoted(column.name)
    months = f"(extract(year FROM {quoted}) * 12 + extract(month FROM {quoted}))::int8"
    parts = f"{months}, extract(day FROM {quoted})::int8, {_MICROSECONDS.format(quoted)}"
    snag = _snag("an infinite interval", column.name, quoted, "int8[]")
    expression = (
        f"CASE WHEN {quoted} IS NULL THEN NULL WHEN NOT isfinite({quoted}) THEN {snag}"
        f" ELSE ARRAY[{parts}] END"
    )
    return ColumnRead(expression, partial(_intervals, column.name), pa.list_(pa.int64()))


def _intervals(column: str, array: pa.Array) -> pa.Array:
    try:
        return pa.array(
            [
                None if parts is None else pa.MonthDayNano([parts[0], parts[1], parts[2] * 1000])
                for parts in plain(array).to_pylist()
            ],
            pa.month_day_nano_interval(),
        )
    except (OverflowError, pa.ArrowInvalid):
        raise ColumnValueError(
            column,
            "holds an interval whose time has more nanoseconds than 64 bits",
            string_instead(column),
        ) from None


# ------------------------------------------------------------------------------------ SQL


def _literal(value: Any, arrow_type: pa.DataType) -> str:
    if getattr(value, "nanosecond", 0):  # of a pandas.Timestamp: PostgreSQL would round it
        raise ValueError("PostgreSQL has no nanoseconds")
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return f"({value})" if value < 0 else f"{value}"
        case float() if math.isfinite(value):
            return f"'{value!r}'::float8"
        case Decimal() if value.is_finite() and -1000 < value.adjusted() < 1000:
            return f"'{value:f}'::numeric"
        case str() if "\0" not in value:
            return _text(value)
        case bytes():
            return f"{_text(chr(92) + 'x' + value.hex())}::bytea"
        case dt.datetime() if arrow_type.tz is not None and value.tzinfo is not None:
            utc = value.astimezone(dt.UTC).replace(tzinfo=None)
            return f"TIMESTAMPTZ '{utc.isoformat(' ')}+00'"
        case dt.datetime() if arrow_type.tz is None and value.tzinfo is None:
            return f"TIMESTAMP '{value.isoformat(' ')}'"
        case dt.date() if not isinstance(value, dt.datetime):
            return f"DATE '{value.isoformat()}'"
        case dt.time() if value.tzinfo is None:
            return f"TIME '{value.isoformat()}'"
    raise ValueError(f"PostgreSQL has no literal for this {type(value).__name__}")


def _text(value: str) -> str:
    value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    quoted = value.replace("'", "''")
    # Right whatever standard_conforming_strings says.
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in value else f"'{quoted}'"


_ORDERED: Mapping[str, type] = {
    "int2": int,
    "int4": int,
    "int8": int,
    "numeric": Decimal,
    "float4": float,
    "float8": float,
    "date": dt.date,
    "time": dt.time,
    "timestamp": dt.datetime,
    "timestamptz": dt.datetime,
}
_EQUAL: Mapping[str, type] = {"bool": bool, "text": str, "varchar": str, "bytea": bytes}


def _condition(column: Column, op: str, values: Sequence[Any]) -> str | None:
    name = _base(column.database_type)
    kind = _ORDERED.get(name) or (_EQUAL.get(name) if op in EQUALITY else None)
    if kind is None or column.arrow_type != _arrow_type(column.database_type):
        return None  # texts and their likes order by rules that Arrow does not know
    if column.database_type.endswith(_UNSURE) or not all(is_a(value, kind) for value in values):
        return None
    if column.database_type.endswith(_ENCODED) and not all(value.isascii() for value in values):
        return None
    if name == "float4" and not all(fits_float32(value) for value in values):
        return None
    quoted = double_quoted(column.name)
    try:
        literals = [_literal(value, column.arrow_type) for value in values]
    except (ValueError, OverflowError):
        return None
    condition = comparison(quoted, op, literals)
    if kind is float and op in (">", ">="):
        return f"{condition} AND {quoted} <> 'NaN'"  # PostgreSQL sorts NaN above every number
    return condition


def _is_nan(column: Column) -> str | None:
    """Return a test that an index knows: all NaN are equal here."""
    if _ORDERED.get(_base(column.database_type)) is not float:
        return None
    if column.arrow_type != _arrow_type(column.database_type):
        return None
    return f"{double_quoted(column.name)} = 'NaN'"


_CUT_AS_TEXT = {"text": ' COLLATE "C"', "varchar": ' COLLATE "C"', "uuid": ""}


def _partition_key(column: Column) -> tuple[str, pa.DataType]:
    quoted, kind = double_quoted(column.name), _arrow_type(column.database_type)
    if not pa.types.is_string(kind):
        return quoted, kind
    collation = _CUT_AS_TEXT.get(_base(column.database_type))
    if collation is None:  # an enum and its like have an order of their own
        raise not_cut(column.database_type)
    return f"{quoted}{collation}", kind


def _check_key(options: JDBCOptions, operand: str) -> None:
    if operand.endswith(_CUT_AS_TEXT["text"]):
        with _asking(options) as ask:
            postgresql_statistics.check_encoding(ask)


DIALECT = Dialect(
    name="postgresql",
    label="PostgreSQL",
    engines=("connectorx", "adbc", "fallback"),
    fastest=("adbc", "connectorx", "fallback"),
    types=POSTGRESQL,
    quote=double_quoted,
    literal=_literal,
    describe=_describe,
    read_column=_read_column,
    condition=_condition,
    is_nan=_is_nan,
    partition_key=_partition_key,
    session=_session,
    open_snapshot=_open_snapshot,
    paged_tables=paged_tables,
    page_condition=page_condition,
    refusal=_refusal,
    connectorx_uri=lambda options: _named(options).connectorx_uri(),
    preflight=_preflight,
    adbc_database=_adbc_database,
    adbc_statement=_adbc_statement,
    dbapi_rows=_dbapi_rows,
    error=_error,
    statistics=postgresql_statistics,
    asking=_asking,
    in_transaction=True,
    cancel_tagged=_cancel_tagged,
    check_key=_check_key,
)
