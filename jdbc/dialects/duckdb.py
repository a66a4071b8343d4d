"""DuckDB 1.4 and later, read by its own Arrow stream or as its Python values.

Every connection comes from ``duckdb.connect``, which shares one instance of a file among all
connections of a process. DuckDB's ADBC driver opens the file a second time, and closing that one
frees the process's locks on it, also those of a connection that writes: so the engine ``adbc`` is
the Arrow stream of a connection here.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache, partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..arrow_types import DUCKDB, convert, map_values, plain, string_instead
from ..cancellation import Cancellation
from ..errors import (
    ColumnTypeError,
    ColumnValueError,
    ConnectError,
    JDBCError,
    MissingDriverError,
    OptionError,
    QueryError,
)
from ..options import JDBCOptions
from ..query import comparison
from ..url import PROPERTIES, redact
from . import Ask, Column, ColumnRead, Dialect, duckdb_statistics
from .asking import asking
from .files import existing_path
from .literals import EQUALITY, double_quoted, is_a, least_double, quoted_text

__all__ = ["DIALECT"]

# ------------------------------------------------------------------------------- sessions


def _session(options: JDBCOptions) -> list[str]:
    first = [options.session_init_statement] if options.session_init_statement else []
    tuning = PROPERTIES["duckdb"].passed
    given = {n.lower(): text for n, text in options.url.props.items() if n.lower() in tuning}
    return [
        # Else a table that is missing could be a Python variable of ours.
        "SET python_enable_replacements = false",
        *first,
        "SET TimeZone = 'UTC'",
        *(f"SET {name} = {quoted_text(text)}" for name, text in sorted(given.items())),
    ]


def _open(options: JDBCOptions) -> Any:
    # Absolute, as DuckDB takes what stands before a colon for the name of an extension.
    path = os.path.abspath(existing_path(options))
    try:
        import duckdb
    except ImportError:
        driver = None
    else:
        driver = duckdb
    if driver is None:
        raise MissingDriverError("duckdb", "duckdb")
    try:
        # No settings beside it: they would have to be those of every connection of the process.
        return driver.connect(path, read_only=True)
    except Exception as e:  # noqa: BLE001 - of DuckDB, and OSError
        error = _not_opened(e, options)
    raise error


@contextmanager
def _connected(options: JDBCOptions) -> Iterator[Any]:
    connection = _open(options)
    timer = threading.Timer(
        min(options.query_timeout, threading.TIMEOUT_MAX), partial(_interrupt, connection)
    )
    timer.daemon = True
    try:
        if options.query_timeout:
            timer.start()
        for statement in _session(options):
            connection.execute(statement)
        yield connection
    finally:
        timer.cancel()
        # Closing alone waits for what DuckDB works out ahead of its reader.
        _interrupt(connection)
        connection.close()


def _interrupt(connection: Any) -> None:
    with suppress(Exception):  # closed meanwhile, by the thread that reads
        connection.interrupt()


@contextmanager
def _arrow_batches(
    options: JDBCOptions, sql: str, cancellation: Cancellation
) -> Iterator[Iterator[pa.RecordBatch]]:
    with _connected(options) as connection, cancellation.ends(connection.interrupt):
        # Not execute(), whose result DuckDB 2 copies before Arrow sees it.
        relation = connection.sql(sql)
        # The name since 1.5, and the one before it.
        stream = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
        with closing(stream(options.fetchsize)) as reader:
            yield iter(reader)


@contextmanager
def _dbapi_rows(
    options: JDBCOptions, sql: str, cancellation: Cancellation
) -> Iterator[Iterator[Sequence[Any]]]:
    with _connected(options) as connection, cancellation.ends(connection.interrupt):
        connection.execute(sql)
        yield iter(lambda: connection.fetchmany(options.fetchsize), [])


def _asking(options: JDBCOptions) -> AbstractContextManager[Ask]:
    return asking(
        partial(_connected, options),
        lambda connection, sql, parameters: connection.execute(sql, parameters or None).fetchall(),
        Exception,  # what is raised before DuckDB is there is ours
        partial(_error, options=options),
    )


# --------------------------------------------------------------------------------- errors


def _foreign(storage: str) -> str:
    return f"that is a database of {storage}; write 'jdbc:{storage}:' before its path"


_REASONS = (
    (
        re.compile(r"Could not set lock on file"),
        "another process has it open for writing{pid}, and DuckDB lets nobody else read it"
        " meanwhile; close that connection, or read a copy",
    ),
    (
        re.compile(r"different configuration"),
        "this process has it open for writing, or with settings of its own; close that connection,"
        " or open it with read_only=True alone",
    ),
    (re.compile(r"sqlite_scanner"), _foreign("sqlite")),
    (
        re.compile(r"not a valid DuckDB database|in-memory database|Is a directory"),
        "that is not a DuckDB database",
    ),
)


def _not_opened(exception: Exception, options: JDBCOptions) -> ConnectError:
    text = _shortened(exception, options)
    for pattern, reason in _REASONS:
        if pattern.search(text):
            pid = re.search(r"\(PID \d+\)", text)
            reason = reason.format(pid=f" {pid[0]}" if pid else "")
            locked = "lock" in pattern.pattern
            return ConnectError(f"{options.url.label}: {reason}", transient=locked)
    return ConnectError(f"{options.url.label}: {text}")


def _shortened(exception: BaseException, options: JDBCOptions) -> str:
    """Return DuckDB's words without the line of SQL that it quotes, and without secrets."""
    text = redact(f"{exception}", options.unspoken)
    return re.split(r"\n\s*\nLINE \d+:|\n\nFor more info|See also https?:", text)[0].strip()


def _error(exception: BaseException, options: JDBCOptions) -> JDBCError:
    if isinstance(exception, JDBCError):
        return exception
    text = _shortened(exception, options)
    if "Interrupted!" not in text:
        return QueryError(f"{options.url.label}: {text}")
    if options.query_timeout:
        text = f"interrupted after queryTimeout={options.query_timeout} seconds"
    return QueryError(f"{options.url.label}: {text}", "57014")


# ------------------------------------------------------------------------------ describing


def _describe(options: JDBCOptions, sql: str) -> list[Column]:
    try:
        with _connected(options) as connection:
            return _described(connection, options, sql)
    except Exception as e:  # noqa: BLE001 - of DuckDB, and ours
        error = _error(e, options)
    raise error


def _described(connection: Any, options: JDBCOptions, sql: str) -> list[Column]:
    # DuckDB would run them one after another.
    if len(connection.extract_statements(sql)) != 1:
        option = "query" if options.query else "dbtable"
        raise OptionError(option, "holds more than one statement", "write one, without ';'")
    kept = "SELECT type FROM duckdb_databases() WHERE database_name = current_database()"
    ((storage,),) = connection.execute(kept).fetchall()
    if storage != "duckdb":  # it has extensions for other files, and loads them unasked
        raise ConnectError(f"{options.url.label}: {_foreign(storage)}")
    described = _names_and_types(connection, sql)
    names = [name for name, _ in described]
    given = _given_names(connection, options)
    if given is not None and given != names:
        raise _named_twice(given)
    return [
        Column(name, _told(database_type), _arrow(_parse(database_type)))
        for name, database_type in described
    ]


def _names_and_types(connection: Any, sql: str) -> list[tuple[str, str]]:
    rows = connection.execute(f"DESCRIBE {sql}").fetchall()
    return [(name, database_type) for name, database_type, *_ in rows]


def _given_names(connection: Any, options: JDBCOptions) -> list[str] | None:
    """Return the names of a subquery as it gives them; None where there is no subquery.

    Around it DuckDB calls the second ``id`` or ``ID`` of two ``id_1``.
    """
    query = options.query
    if options.dbtable and options.dbtable.startswith("("):
        query = options.dbtable[1 : options.dbtable.rfind(")")]
    if query is None:
        return None
    prepared = f"{options.prepare_query}\n" if options.prepare_query else ""
    try:
        return [name for name, _ in _names_and_types(connection, f"{prepared}{query}")]
    except Exception:  # noqa: BLE001 - the brackets were around something else
        return None


def _named_twice(names: Sequence[str]) -> ColumnTypeError:
    lower = [name.lower() for name in names]
    name = next((n for n in names if lower.count(n.lower()) > 1), names[0])
    return ColumnTypeError(
        name,
        "comes several times in the result, where DuckDB ignores case",
        f"give each a name of its own, e.g. SELECT a.{name} AS a_{name}",
    )


def _told(database_type: str) -> str:
    """Return the type without the values of an enum, which may be many."""
    return "ENUM" if re.match(r"ENUM\(.*\)$", database_type, re.DOTALL) else database_type


# ----------------------------------------------------------------------------------- types


@dataclass(frozen=True)
class _Kind:
    """A type taken apart.

    Attributes
    ----------
    name
        As in the table of types; LIST, ARRAY, MAP and STRUCT for those that hold others.
    numbers
        Precision and scale of a decimal.
    fields
        What it holds: names in SQL, empty but for a struct, and types.
    """

    name: str
    numbers: tuple[int, ...] = ()
    fields: tuple[tuple[str, _Kind], ...] = ()


_LEAVES = {
    name: row.arrow for row in DUCKDB for name in row.names if isinstance(row.arrow, pa.DataType)
}
_PRINTED = _Kind("printed")
"""What is read as DuckDB prints it."""
_NESTED = ("LIST", "ARRAY", "MAP", "STRUCT")
_TOKEN = re.compile(r'\s*("(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'|\w+(?: WITH TIME ZONE)?|[(),\[\]])')


@lru_cache(maxsize=1024)
def _parse(database_type: str) -> _Kind:
    tokens = [found[1] for found in _TOKEN.finditer(database_type)][::-1]
    try:
        kind = _take_kind(tokens)
    except (IndexError, ValueError):
        return _PRINTED
    return _PRINTED if tokens else kind


def _take_kind(tokens: list[str]) -> _Kind:
    """Take a type off the end of some tokens, the first of which comes last."""
    name = tokens.pop()
    if name == "DECIMAL":
        _, precision, _, scale, _ = (tokens.pop() for _ in range(5))
        kind = _Kind(name, (int(precision), int(scale)))
    elif name == "STRUCT":
        kind = _Kind(name, fields=tuple(_take_fields(tokens, named=True)))
    elif name == "MAP":
        kind = _Kind(name, fields=tuple(_take_fields(tokens, named=False)))
        if kind.fields[0][1].name in _NESTED:
            kind = _PRINTED  # no Python value can be such a key
    else:
        kind = _Kind(name) if name in _LEAVES else _PRINTED
        _skip_brackets(tokens)
    while tokens and tokens[-1] == "[":
        tokens.pop()
        name = "LIST" if tokens[-1] == "]" else "ARRAY"
        while tokens.pop() != "]":
            pass
        kind = _Kind(name, fields=(("", kind),))
    return kind


def _take_fields(tokens: list[str], *, named: bool) -> Iterator[tuple[str, _Kind]]:
    separator = tokens.pop()
    while separator != ")":
        name = tokens.pop() if named else ""
        yield name, _take_kind(tokens)
        separator = tokens.pop()


def _skip_brackets(tokens: list[str]) -> None:
    depth = 0
    while tokens and (depth or tokens[-1] == "("):
        depth += {"(": 1, ")": -1}.get(tokens.pop(), 0)


def _arrow(kind: _Kind) -> pa.DataType:
    inner = [_arrow(held) for _, held in kind.fields]
    match kind.name:
        case "DECIMAL":
            return pa.decimal128(*kind.numbers)
        case "LIST" | "ARRAY":
            return pa.list_(inner[0])
        case "MAP":
            return pa.map_(*inner)
        case "STRUCT":
            names = [_unquoted(name) for name, _ in kind.fields]
            return pa.struct(list(zip(names, inner, strict=True)))
    return _LEAVES.get(kind.name, pa.string())


# -------------------------------------------------------------------------------- reading

_TYPED = frozenset({
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER",
    "UBIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "BLOB",
})  # fmt: skip
_AS_IT_IS = {
    "adbc": _TYPED
    | {
        "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS",
        "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS",
    },
    "fallback": _TYPED,
}  # fmt: skip
"""What each engine reads as it is; all else is cast to text, also within lists and the like.

Arrow's stream wraps UHUGEINT and long intervals, and drops the zone of a time. A Python value has
no infinity among dates, no nanoseconds, no months, and needs pytz for a zone.
"""


def _read_column(column: Column, engine: str) -> ColumnRead | None:
    kind, quoted = _parse(column.database_type), double_quoted(column.name)
    target, native = column.arrow_type, _arrow(kind)
    if target != native:
        expression, raw = _read_as_asked(column, kind)
    else:
        cast, raw = _raw(kind, engine)
        own, _ = _raw(kind, None)
        expression = quoted if cast == own else f"CAST({quoted} AS {cast})"
    return ColumnRead(expression, partial(_exact, target=target, column=column.name), raw)


def _read_as_asked(column: Column, kind: _Kind) -> tuple[str, pa.DataType]:
    """Read by way of text, which holds what the usual type could not."""
    quoted = double_quoted(column.name)
    if not pa.types.is_list(column.arrow_type):
        return f"CAST({quoted} AS VARCHAR)", pa.string()
    if kind.name not in ("LIST", "ARRAY"):
        raise ColumnTypeError(
            column.name,
            f"({column.database_type}) cannot become {column.arrow_type}",
            "choose another type in customSchema",
        )
    return f"CAST({quoted} AS VARCHAR[])", pa.list_(pa.string())


def _raw(kind: _Kind, engine: str | None) -> tuple[str, pa.DataType]:
    """Return the type to cast to in DuckDB, and in Arrow; without an engine the type as it is."""
    inner = [_raw(held, engine) for _, held in kind.fields]
    casts, arrows = [cast for cast, _ in inner], [arrow for _, arrow in inner]
    match kind.name:
        case "ARRAY" if engine is None:
            return f"{casts[0]}[n]", pa.list_(arrows[0])
        case "LIST" | "ARRAY":
            return f"{casts[0]}[]", pa.list_(arrows[0])
        case "MAP":
            return f"MAP({', '.join(casts)})", pa.map_(*arrows)
        case "STRUCT":
            names = [name for name, _ in kind.fields]
            fields = ", ".join(f"{n} {c}" for n, c in zip(names, casts, strict=True))
            columns = zip(map(_unquoted, names), arrows, strict=True)
            return f"STRUCT({fields})", pa.struct(list(columns))
    if engine is not None and kind.name not in _AS_IT_IS[engine]:
        return "VARCHAR", pa.string()
    numbers = f"({', '.join(map(str, kind.numbers))})" if kind.numbers else ""
    return f"{kind.name}{numbers}", _arrow(kind)


# ----------------------------------------------------------------------------- converting


def _exact(array: pa.Array, target: pa.DataType, column: str) -> pa.Array:
    array, types = plain(array), pa.types
    if types.is_list(target):
        inner = partial(_exact, target=target.value_type, column=column)
        return map_values(array, target, inner)
    if types.is_struct(target):
        # flatten(), not field(): it minds slices and what lies under a NULL.
        held = zip(array.flatten(), target, strict=True)
        arrays = [_exact(values, field.type, column) for values, field in held]
        return pa.StructArray.from_arrays(arrays, fields=list(target), mask=array.is_null())
    if types.is_map(target):
        return _maps(array, target, column)
    if types.is_interval(target):
        return _intervals(array, column)
    if array.type == _HUGE:
        _check_digits(array, column)
    return convert(array, target, column)


def _maps(array: pa.Array, target: pa.MapType, column: str) -> pa.Array:
    entries = pa.list_(pa.struct([("key", target.key_type), ("value", target.item_type)]))
    given = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
    lists = _exact(array.cast(pa.list_(given)), entries, column)
    keys, items = lists.values.flatten()
    return pa.MapArray.from_arrays(lists.offsets, keys, items, type=target, mask=lists.is_null())


_HUGE = pa.decimal128(38, 0)


def _check_digits(array: pa.Array, column: str) -> None:
    """Refuse what DuckDB's HUGEINT holds and 38 digits do not."""
    # Not validate(full=True), which lets -2**127 pass.
    ends = pc.min_max(array).as_py().values()
    if any(end is not None and abs(int(end)) >= 10**38 for end in ends):
        raise ColumnValueError(
            column, f"holds a value that does not fit {_HUGE}", string_instead(column)
        )


_INTERVAL = re.compile(
    r"(?:(-?\d+) years? ?)?(?:(-?\d+) months? ?)?(?:(-?\d+) days? ?)?"
    r"(?:(-?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?"
)


def _intervals(array: pa.Array, column: str) -> pa.Array:
    try:
        values = [None if text is None else _interval(text) for text in array.to_pylist()]
        return pa.array(values, pa.month_day_nano_interval())
    except (OverflowError, pa.ArrowInvalid):
        raise ColumnValueError(
            column,
            "holds an interval whose time has more nanoseconds than 64 bits",
            string_instead(column),
        ) from None


def _interval(text: str) -> pa.MonthDayNano:
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise pa.ArrowInvalid("an interval that DuckDB prints in a new way")
    years, months, days = (int(part or 0) for part in found.groups()[:3])
    hours, minutes, seconds = (int(part or 0) for part in found.groups()[4:7])
    micros = int((found[8] or "").ljust(6, "0"))
    nanos = ((hours * 60 + minutes) * 60 + seconds) * 10**9 + micros * 1000
    return pa.MonthDayNano([years * 12 + months, days, -nanos if found[4] else nanos])


# ------------------------------------------------------------------------------------ SQL


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _literal(value: Any, arrow_type: pa.DataType) -> str:
    """Spell a value as the type that it is compared with, as DuckDB converts a literal or fails.

    A number or a moment beyond that type's reach is an infinity.
    """
    types = pa.types
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int() if types.is_floating(arrow_type):
            return _double(least_double(value))
        case int() if types.is_integer(arrow_type):
            return f"({value})" if value < 0 else f"{value}"
        case int() if types.is_decimal256(arrow_type) and -(2**127) < value < 2**127:
            return f"'{value}'::HUGEINT"
        case int() | Decimal() if types.is_decimal128(arrow_type):
            return _decimal(Decimal(value), arrow_type)
        case float() if math.isfinite(value):
            return _double(value)
        case str():
            return quoted_text(value)
        case bytes():
            return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"
        case dt.datetime() if (value.tzinfo is None) == (arrow_type.tz is None):
            return _moment(value, arrow_type)
        case dt.date() if not isinstance(value, dt.datetime):
            return f"DATE '{value.isoformat()}'"
        case dt.time() if value.tzinfo is None:
            return f"TIME '{value.isoformat()}'"
    raise ValueError(f"DuckDB has no literal for this {type(value).__name__} as {arrow_type}")


def _double(value: float) -> str:
    return f"'{value!r}'::DOUBLE"


def _decimal(value: Decimal, arrow_type: pa.DataType) -> str:
    if not value.is_finite() or abs(value.adjusted()) > 100 or arrow_type.scale < 0:
        raise ValueError("no number that a decimal can be")
    scaled = value.scaleb(arrow_type.scale, _EXACT)
    units = int(scaled)
    if units != scaled:
        raise ValueError("more decimals than the column has")
    if abs(units) >= 10**arrow_type.precision:
        return f"'{'-' if units < 0 else ''}inf'::DOUBLE"
    return f"'{value:f}'::DECIMAL({arrow_type.precision},{arrow_type.scale})"


def _moment(value: dt.datetime, arrow_type: pa.DataType) -> str:
    nanoseconds = arrow_type.unit == "ns"
    if getattr(value, "nanosecond", 0) and not nanoseconds:  # of a pandas.Timestamp
        raise ValueError("more digits than the column has")
    utc = value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
    zone = "" if value.tzinfo is None else "+00"
    if not nanoseconds:
        return f"{'TIMESTAMPTZ' if zone else 'TIMESTAMP'} '{utc.isoformat(' ')}{zone}'"
    text = f"{utc.isoformat(' ')}{zone}"
    if not _FIRST_NS <= utc <= _LAST_NS:
        text = "-infinity" if utc < _FIRST_NS else "infinity"
    return f"'{text}'::{'TIMESTAMPTZ_NS' if zone else 'TIMESTAMP_NS'}"


_EXACT = Context(prec=400)
_FIRST_NS = dt.datetime(1677, 9, 22)
_LAST_NS = dt.datetime(2262, 4, 11)
"""Nanoseconds of 64 bits reach a little further on either side."""

_WHOLE = frozenset({
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
})  # fmt: skip
_ORDERED: Mapping[str, type] = {
    **dict.fromkeys(_WHOLE, int),
    "HUGEINT": Decimal,
    "DECIMAL": Decimal,
    "FLOAT": float,
    "DOUBLE": float,
    "VARCHAR": str,
    "DATE": dt.date,
    "TIME": dt.time,
    **{name: dt.datetime for name, arrow in _LEAVES.items() if pa.types.is_timestamp(arrow)},
}
_EQUAL: Mapping[str, type] = {"BOOLEAN": bool, "BLOB": bytes}


def _operand(column: Column, name: str) -> tuple[str, pa.DataType]:
    """Return what to compare of a column, and the type of literals that it is compared with."""
    quoted = double_quoted(column.name)
    match name:
        case "VARCHAR":
            # By its bytes, as Arrow does, whatever collation the column or the database has.
            return f'{quoted} COLLATE "binary"', pa.string()
        case "HUGEINT":
            return quoted, pa.int64()  # of a plain whole number, which may be as long
        case "UHUGEINT":
            return f"CAST({quoted} AS HUGEINT)", pa.int64()
    return quoted, _arrow(_parse(column.database_type))


def _condition(column: Column, op: str, values: Sequence[Any]) -> str | None:
    kind = _parse(column.database_type)
    expected = _ORDERED.get(kind.name) or (_EQUAL.get(kind.name) if op in EQUALITY else None)
    if expected is None or column.arrow_type != _arrow(kind):
        return None  # DuckDB and Arrow would compare something else
    if not all(is_a(value, expected) for value in values):
        return None
    if kind.name == "FLOAT" and any(pa.scalar(v, pa.float32()).as_py() != v for v in values):
        return None
    operand, literal_type = _operand(column, kind.name)
    try:
        whole = kind.name == "HUGEINT"
        literals = [_literal(_integer(v) if whole else v, literal_type) for v in values]
    except (ValueError, OverflowError):
        return None
    condition = comparison(operand, op, literals)
    if expected is float and op in (">", ">="):
        return f"{condition} AND NOT isnan({operand})"  # DuckDB sorts NaN above every number
    return condition


def _is_nan(column: Column) -> str | None:
    kind = _parse(column.database_type)
    if _ORDERED.get(kind.name) is not float or column.arrow_type != _arrow(kind):
        return None
    return f"isnan({double_quoted(column.name)})"


def _integer(value: Decimal) -> int:
    if value != value.to_integral_value():
        raise ValueError("a fraction")
    return int(value)


def _partition_key(column: Column) -> tuple[str, pa.DataType]:
    kind = _parse(column.database_type)
    if kind.name == "UHUGEINT" or (kind.name in _ORDERED and kind.name != "TIME"):
        return _operand(column, kind.name)
    raise OptionError(
        "partitionColumn",
        f"names {column.name!r}, of type {column.database_type}, which cannot be cut",
        "name a column of numbers, dates or timestamps, or write predicates",
    )


DIALECT = Dialect(
    name="duckdb",
    label="DuckDB",
    engines=("adbc", "fallback"),
    fastest=("adbc", "fallback"),
    types=DUCKDB,
    quote=double_quoted,
    literal=_literal,
    describe=_describe,
    read_column=_read_column,
    condition=_condition,
    is_nan=_is_nan,
    partition_key=_partition_key,
    session=_session,
    arrow_batches=_arrow_batches,
    dbapi_rows=_dbapi_rows,
    error=_error,
    statistics=duckdb_statistics,
    asking=_asking,
)
