"""SQLite 3, read by connectorx, ADBC or Python's own driver.

A declared type is a wish there: each value carries a storage class of its own (null, integer,
real, text or blob), and drivers guess a column's type from its first rows. So every column is read
through an expression that lets the expected class pass and makes the statement fail on any other,
whichever engine steps through it, and wherever in the result the value stands.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from ..arrow_types import SQLITE, convert
from ..cancellation import Cancellation
from ..errors import (
    ColumnTypeError,
    ColumnValueError,
    ConnectError,
    JDBCError,
    OptionError,
    QueryError,
)
from ..options import JDBCOptions
from ..query import NEVER, comparison
from ..url import redact
from . import Ask, Column, ColumnRead, Dialect, sqlite_statistics
from .asking import asking
from .files import existing_path
from .snags import snag_in, snag_name
from .sqlite_statistics import ROWID

__all__ = ["DIALECT"]

# ------------------------------------------------------------------------------- sessions


def _uri(options: JDBCOptions) -> str:
    """Return SQLite's own URI of the file, read-only: opening it never creates a file."""
    path = existing_path(options)
    # An empty host and an absolute path; a path that begins with // would be taken for a host.
    return f"file://{quote(os.path.abspath(path))}?mode=ro"


_TUNING = ("cache_size", "mmap_size")


def _session(options: JDBCOptions) -> list[str]:
    first = [options.session_init_statement] if options.session_init_statement else []
    props = {name.lower(): text for name, text in options.url.props.items()}
    # A writer holds the file for moments only; its readers wait instead of failing.
    wait = props.get("busy_timeout", f"{math.ceil(options.connect_timeout * 1000)}")
    pragmas = {"busy_timeout": wait} | {n: props[n] for n in _TUNING if n in props}
    return first + [f"PRAGMA {name} = {_whole(name, text)}" for name, text in pragmas.items()]


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise OptionError(name, f"must be a whole number, got {text!r}", "write e.g. '5000'")
    return int(text)


def _connect(options: JDBCOptions, text_factory: type = str) -> sqlite3.Connection:
    # A generator may be closed by another thread than the one that began it.
    connection = sqlite3.connect(
        _uri(options), uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        for statement in _session(options):
            connection.execute(statement)
        connection.text_factory = text_factory
        if options.query_timeout:
            deadline = time.monotonic() + options.query_timeout
            connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    except BaseException:
        connection.close()
        raise
    return connection


def _asking(options: JDBCOptions) -> AbstractContextManager[Ask]:
    return asking(
        lambda: closing(_connect(options)),
        lambda connection, sql, parameters: connection.execute(sql, parameters).fetchall(),
        sqlite3.Error,
        partial(_error, options=options),
    )


def _preflight(options: JDBCOptions) -> None:
    existing_path(options)


def _refusal(options: JDBCOptions, engine: str) -> str | None:
    if engine == "fallback":
        return None
    if options.query_timeout:
        return f"{engine} cannot stop a query on SQLite, which queryTimeout asks for"
    if engine == "adbc":
        return None
    if options.session_init_statement:
        return "connectorx runs no sessionInitStatement on SQLite"
    if options.url.props:
        return f"connectorx cannot set {next(iter(options.url.props))!r} on SQLite"
    return None


def _connectorx_uri(options: JDBCOptions) -> str:
    # It decodes what follows sqlite:// and gives it to SQLite, which takes a URI as well as a path.
    return f"sqlite://{quote(_uri(options), safe='')}"


def _adbc_database(options: JDBCOptions) -> Any:
    import adbc_driver_sqlite

    return adbc_driver_sqlite.connect(_uri(options))


def _adbc_statement(options: JDBCOptions) -> dict[str, str]:
    from adbc_driver_sqlite import StatementOptions

    return {StatementOptions.BATCH_ROWS.value: f"{options.fetchsize}"}


@contextmanager
def _dbapi_rows(
    options: JDBCOptions, sql: str, cancellation: Cancellation
) -> Iterator[Iterator[Sequence[Any]]]:
    with (
        # Text as bytes: whether they are UTF-8 is checked a column at a time.
        closing(_connect(options, bytes)) as connection,
        cancellation.ends(connection.interrupt),
        closing(connection.execute(sql)) as rows,
    ):
        yield iter(lambda: rows.fetchmany(options.fetchsize), [])


# --------------------------------------------------------------------------------- errors

_REMEDY = {"integer": "BIGINT", "real": "DOUBLE", "text": "STRING", "blob": "BINARY"}
_NOT_OPENED = re.compile(r"unable to open|not a database|file is encrypted|disk image is malformed")
_BUSY = re.compile(r"database (table |schema )?is locked|database is busy")
_NOISE = re.compile(
    r"^[A-Z_]+: (\[SQLite\] )?|Failed to \w+ query: |\nquery: .*| in SELECT .* at offset \d+$",
    re.DOTALL,
)


def _error(exception: BaseException, options: JDBCOptions) -> JDBCError:
    if isinstance(exception, JDBCError):
        return exception
    text = redact(f"{exception}", options.secrets).strip()
    if snag := snag_in(text):
        storage, column = snag
        return _wrong_class(column, storage)
    message = f"{options.url.label}: {redact(_NOISE.sub('', text), options.unspoken)}"
    if "interrupted" in text and options.query_timeout:
        return QueryError(f"{message} after queryTimeout={options.query_timeout} seconds", "57014")
    if _NOT_OPENED.search(text):
        try:
            existing_path(options)
        except JDBCError as e:
            return e
        return ConnectError(message)
    return QueryError(message, transient=_BUSY.search(text) is not None)


def _wrong_class(column: str, storage: str) -> JDBCError:
    if storage == "rowid":
        return QueryError(
            f"the schema of the file has changed since {column} was cut into ranges, and VACUUM may"
            " have numbered the rows anew: plan again, or name a partitionColumn"
        )
    if storage == "wide":
        problem, remedy = "holds an integer that a double cannot hold exactly", "DECIMAL(38, 0)"
    else:
        problem = f"holds a value of storage class {storage}, which its type does not take"
        remedy = _REMEDY[storage]
    return ColumnValueError(column, problem, _fix(column, remedy))


def _fix(column: str, ddl_type: str) -> str:
    name = column if re.fullmatch(r"\w+", column) else _quote(column)
    return f"write customSchema '{name} {ddl_type}' if all values are so, or convert it in a query"


# ------------------------------------------------------------------------------ describing

_DECLARED = {
    name: row.arrow for row in SQLITE for name in row.names if isinstance(row.arrow, pa.DataType)
}
_HOLDING = " holding "
_ENCODED = " in UTF-16"
_STORED = {
    "integer": pa.int64(),
    "real": pa.float64(),
    "text": pa.string(),
    "blob": pa.binary(),
    "nothing": pa.string(),
}
_SAMPLE = 10_000
_VIEW = "dask_sail_described"


def _declared_type(declared: str) -> pa.DataType | None:
    """Return the Arrow type of a declared type; None where only the stored values can tell.

    A blob column, or one without a type, keeps whatever was stored. JSON, UUID, STRING and other
    names that SQLite does not know turn what looks like a number into one.
    """
    bare = re.sub(r"\([^)]*\)|\bUNSIGNED\b", " ", declared.upper())
    return pa.string() if _is_text(declared) else _DECLARED.get(" ".join(bare.split()))


def _is_text(declared: str) -> bool:
    """Say whether a declared type has text affinity (https://www.sqlite.org/datatype3.html)."""
    name = declared.upper()
    return "INT" not in name and re.search("CHAR|CLOB|TEXT", name) is not None


def _own_type(database_type: str) -> pa.DataType:
    """Return the Arrow type that `_describe` chose for a database type."""
    plain = database_type.partition(_ENCODED)[0]
    _, holding, storage = plain.rpartition(_HOLDING)
    if holding and storage in _STORED:
        return _STORED[storage]
    arrow_type = _declared_type(plain)
    return pa.string() if arrow_type is None else arrow_type


def _describe(options: JDBCOptions, sql: str) -> list[Column]:
    """Describe a SELECT, by its declared types as far as they go.

    For other columns the first rows are looked at, and for those that hold NULL there the first row
    that does not: integers are int64, reals (and integers among them) float64, blobs binary, and
    text, or a mixture, or nothing at all, string. That is a choice of type, not a promise: a later
    value of another storage class is an error when it is read.
    """
    try:
        with closing(_connect(options)) as connection:
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(f"CREATE TEMP VIEW {_VIEW} AS {sql}")
            rows = connection.execute(f"PRAGMA temp.table_xinfo({_VIEW})").fetchall()
            types = {name: declared for _, name, declared, *_ in rows}
            unsure = [name for name, declared in types.items() if _declared_type(declared) is None]
            classes = _stored_classes(connection, unsure)
            types |= {name: _held_type(types[name], classes[name]) for name in unsure}
            (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    except sqlite3.Error as e:
        raise _error(e, options) from None
    mark = "" if encoding == "UTF-8" else f" in {encoding}"
    return [
        Column(_given_name(name, types), database_type + mark, _own_type(database_type))
        for name, database_type in types.items()
    ]


def _given_name(name: str, names: Mapping[str, str]) -> str:
    """Return the name in the query: SQLite calls the second ``id`` of a subquery ``id:1``."""
    stem, colon, number = name.rpartition(":")
    return stem if colon and number.isdigit() and stem in names else name


def _stored_classes(connection: sqlite3.Connection, names: list[str]) -> dict[str, set[str]]:
    """Return the storage classes, NULL apart, in the first rows of some columns of the view."""
    if not names:
        return {}
    columns = [_quote(name) for name in names]
    rows = f"SELECT {', '.join(columns)} FROM temp.{_VIEW} LIMIT {_SAMPLE}"  # noqa: S608 - quoted
    items = ", ".join(f"group_concat(DISTINCT typeof({column}))" for column in columns)
    found = connection.execute(f"SELECT {items} FROM ({rows})").fetchone()  # noqa: S608 - quoted
    classes = {
        name: set((text or "").split(",")) - {"", "null"}
        for name, text in zip(names, found, strict=True)
    }
    for name in (name for name in names if not classes[name]):
        column = _quote(name)
        first = f"SELECT typeof({column}) FROM temp.{_VIEW} WHERE {column} IS NOT NULL LIMIT 1"  # noqa: S608 - quoted
        classes[name] = {storage for (storage,) in connection.execute(first)}
    return classes


def _held_type(declared: str, classes: set[str]) -> str:
    """Return the declared type with the storage class that the column's type is made for."""
    if classes == {"integer", "real"}:
        storage = "real"
    elif len(classes) > 1:
        storage = "text"
    else:
        # A declared type that holds BLOB means bytes.
        nothing = "blob" if "BLOB" in declared.upper() else "nothing"
        storage = next(iter(classes), nothing)
    return f"{declared or 'untyped'}{_HOLDING}{storage}"


# -------------------------------------------------------------------------------- reading


def _read_column(column: Column, engine: str) -> ColumnRead | None:
    raw = _raw_type(column)
    if engine == "connectorx" and ("`" in column.name or _ENCODED in column.database_type):
        # It parses and prints the query to look at one row, and forgets to double a backtick. And
        # the bytes of a text, which it needs below, are those of UTF-16 there.
        return None
    quoted = _quote(column.name)
    accepted = {
        pa.int64(): {"integer": quoted},
        pa.float64(): {"real": quoted, "integer": _exact_double(column)},
        pa.string(): {"text": quoted},
        pa.binary(): {"blob": quoted},
    }[raw]
    if raw == pa.string():
        own = _own_type(column.database_type)
        if pa.types.is_string(column.arrow_type) and own != pa.string():
            accepted["integer"] = f"CAST({quoted} AS TEXT)"  # a cast that customSchema asked for
        if engine == "connectorx":
            # It gives up on text that is not UTF-8 without naming the column.
            accepted = {name: f"CAST({text} AS BLOB)" for name, text in accepted.items()}
        raw = pa.string() if engine == "adbc" else pa.binary()
    if engine == "adbc" and accepted == {"integer": quoted}:
        # Its driver takes any other value to be another type, which costs less than to ask of each.
        return ColumnRead(quoted, partial(_integers, column=column), raw)
    return ColumnRead(
        expression=_only(column, accepted),
        convert=partial(_converted, column=column, through=_raw_type(column)),
        raw_type=raw,
    )


_CLASSES = {pa.float64(): "real", pa.string(): "text", pa.binary(): "blob"}


def _integers(array: pa.Array, column: Column) -> pa.Array:
    if array.type != pa.int64():  # of the first batch, whose values decide
        raise _wrong_class(column.name, _CLASSES[array.type])
    return _converted(array, column=column, through=pa.int64())


_MISMATCH = re.compile(r"Type mismatch in column (\d+): expected INT64 but got")


def _adbc_misfit(
    exception: BaseException, options: JDBCOptions, sql: str, columns: Sequence[Column]
) -> JDBCError | None:
    """Return the error for a value, of a later batch, that is no integer."""
    found = _MISMATCH.search(f"{exception}")
    if found is None:
        return None
    name = columns[int(found[1])].name
    kind = f"typeof({_quote(name)})"
    # The driver does not tell texts from blobs.
    first = f"SELECT {kind} FROM (\n{sql}\n) WHERE {kind} NOT IN ('integer', 'null') LIMIT 1"  # noqa: S608 - quoted
    with suppress(sqlite3.Error), closing(_connect(options)) as connection:
        for (storage,) in connection.execute(first):
            return _wrong_class(name, storage)
    return None


def _raw_type(column: Column) -> pa.DataType:
    """Return what is read from SQLite on the way to the column's type."""
    types, target, own = pa.types, column.arrow_type, _own_type(column.database_type)
    if types.is_date32(target) or types.is_time64(target) or types.is_timestamp(target):
        return pa.string()
    if types.is_binary(target):
        return pa.binary()
    if types.is_string(target):
        return own if own == pa.float64() else pa.string()
    if types.is_integer(target) or types.is_boolean(target):
        return own if own == pa.string() else pa.int64()
    if types.is_floating(target):
        return own if own == pa.string() else pa.float64()
    if types.is_decimal(target):
        numbers = pa.int64() if target.scale == 0 else pa.float64()
        return own if own == pa.string() else numbers
    raise ColumnTypeError(
        column.name, f"cannot become {target} from SQLite", "choose another type in customSchema"
    )


def _only(column: Column, accepted: Mapping[str, str]) -> str:
    """Return an expression that fails on a value of any other storage class."""
    quoted = _quote(column.name)
    cases = "".join(f" WHEN '{name}' THEN {value}" for name, value in accepted.items())
    snag = _snag(column, f"typeof({quoted})")
    return f"CASE typeof({quoted}){cases} WHEN 'null' THEN NULL ELSE {snag} END"


def _exact_double(column: Column) -> str:
    # SQLite compares an integer with a real exactly, without turning one into the other.
    quoted = _quote(column.name)
    double, snag = f"CAST({quoted} AS REAL)", _snag(column, "'wide'")
    return f"CASE WHEN {double} = {quoted} THEN {double} ELSE {snag} END"


def _snag(column: Column, storage: str) -> str:
    """Return an expression that fails with words that `_error` understands.

    SQLite raises only in triggers; but a JSON path that is none fails, and is quoted.
    """
    name = snag_name(column.name)
    return f"json_extract('0', 'dask-sail ' || {storage} || ' in {name}')"


def _first_row(reads: Sequence[ColumnRead]) -> str:
    values = {pa.int64(): "0", pa.float64(): "0.0", pa.string(): "''", pa.binary(): "x''"}
    values[pa.decimal128(38, 0)] = "0"  # of a number of rows
    return f"SELECT {', '.join(values[read.raw_type] for read in reads)}"


# ----------------------------------------------------------------------------- converting


def _converted(array: pa.Array, *, column: Column, through: pa.DataType) -> pa.Array:
    types, target, name = pa.types, column.arrow_type, column.name
    if through == pa.string():
        array = _utf8(array, name)
        for fits, parse in _PARSERS:
            if fits(target):
                array = parse(array, column)
    elif types.is_boolean(target):
        array = _truth(array, name)
    elif types.is_floating(through) and (types.is_decimal(target) or types.is_string(target)):
        array = array.cast(pa.string())  # the shortest text that is this double
    elif types.is_binary(target):
        array = array.cast(target)
    return convert(array, target, name)


def _utf8(array: pa.Array, column: str) -> pa.Array:
    try:
        # The cast from bytes checks; text that ADBC gave was never looked at.
        text = array.cast(pa.string())
        text.validate(full=True)
    except pa.ArrowInvalid:
        raise ColumnValueError(
            column,
            "holds a value of storage class text that is not UTF-8, or too much text for a batch",
            f"read CAST({_quote(column)} AS BLOB) in a query, or lower fetchsize",
        ) from None
    return text


def _truth(array: pa.Array, column: str) -> pa.Array:
    ends = pc.min_max(array).as_py()
    if ends["min"] is not None and (ends["min"] < 0 or ends["max"] > 1):
        raise ColumnValueError(
            column, "holds an integer that is neither 0 nor 1", _fix(column, "BIGINT")
        )
    return array.cast(pa.bool_())


def _dates(array: pa.Array, column: Column) -> pa.Array:
    try:
        return array.cast(pa.date32())
    except pa.ArrowInvalid:
        raise _no_iso_text(column, "date (YYYY-MM-DD)") from None


def _times(array: pa.Array, column: Column) -> pa.Array:
    try:
        # Arrow casts no text to a time of day. It takes a bare hour, which SQLite does not.
        if pc.any(pc.less(pc.binary_length(array), 5)).as_py():
            raise pa.ArrowInvalid("an hour alone")
        moments = pc.binary_join_element_wise("1970-01-01", array, " ")
        return moments.cast(pa.timestamp("us")).cast(pa.time64("us"))
    except pa.ArrowInvalid:
        raise _no_iso_text(column, "time (HH:MM:SS.ffffff)") from None


def _timestamps(array: pa.Array, column: Column) -> pa.Array:
    try:
        moments = _moments(array)
    except pa.ArrowInvalid:
        kind = "timestamp (YYYY-MM-DD HH:MM:SS.ffffff) of UTC"
        raise _no_iso_text(column, kind) from None
    # Without a zone it is UTC, as in SQLite's own functions.
    return moments if column.arrow_type.tz is None else pc.assume_timezone(moments, "UTC")


def _moments(array: pa.Array) -> pa.Array:
    if pc.any(pc.equal(pc.binary_length(array), len("2024-01-31T10"))).as_py():
        raise pa.ArrowInvalid("an hour without minutes")
    try:
        return array.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        # UTC is what there is without a zone; noughts after the microseconds say nothing.
        bare = pc.replace_substring_regex(array, r"^(.{16,})(Z|\+00:00)$", r"\1")
        bare = pc.replace_substring_regex(bare, r"^(.{19}\.\d{6})0+$", r"\1")
        return bare.cast(pa.timestamp("us"))


def _no_iso_text(column: Column, kind: str) -> ColumnValueError:
    return ColumnValueError(
        column.name,
        f"holds a value of storage class text that is no ISO {kind}",
        _fix(column.name, "STRING"),
    )


_PARSERS: tuple[
    tuple[Callable[[pa.DataType], bool], Callable[[pa.Array, Column], pa.Array]], ...
] = (
    (pa.types.is_date32, _dates),
    (pa.types.is_time64, _times),
    (pa.types.is_timestamp, _timestamps),
)


# ------------------------------------------------------------------------------------ SQL


def _quote(name: str) -> str:
    # In backticks, since a "name" that is no column would be a text.
    return "`" + name.replace("`", "``") + "`"


def _literal(value: Any, arrow_type: pa.DataType) -> str:
    match value:
        case bool() | int() if -(2**63) <= value < 2**63:
            return f"{int(value)}"
        case float() if math.isfinite(value):
            return _double(value)
        case str() if "\0" not in value:
            value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
            return _text(value)
        case bytes():
            return f"x'{value.hex()}'"
        case dt.date() if not isinstance(value, dt.datetime):
            return f"'{value.isoformat()}'"
    raise ValueError(f"SQLite has no literal for this {type(value).__name__} as {arrow_type}")


def _text(value: str) -> str:
    quoted = "'" + value.replace("'", "''") + "'"
    if r"\''" not in quoted:
        return quoted
    # connectorx parses the query and prints it anew to look at one row, and forgets to double a
    # quote behind a backslash. So two texts meet there.
    return "(" + quoted.replace(r"\''", r"\'||'''") + ")"


def _double(value: float) -> str:
    """Spell a double as a fraction: SQLite's own reading of decimals may be off by one bit."""
    above, below = value.as_integer_ratio()
    if abs(above) >= 2**63 or below >= 2**63:
        raise ValueError("SQLite has no exact literal for so large or small a number")
    # Casting an integer of up to 53 bits, and dividing by a power of two, are exact.
    return f"(CAST({above} AS REAL) / CAST({below} AS REAL))"


_KINDS = {pa.int64(): int, pa.float64(): float, pa.string(): str, pa.bool_(): bool}


def _is_of(value: Any, arrow_type: pa.DataType) -> bool:
    """Say whether Arrow compares a value with a column as it is; True is an int in Python alone."""
    if arrow_type == pa.date32():
        return isinstance(value, dt.date) and not isinstance(value, dt.datetime)
    kind = _KINDS.get(arrow_type, ())
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _condition(column: Column, op: str, values: Sequence[Any]) -> str | None:
    """Compare where SQLite does so as Arrow would, without hiding a value that is an error.

    A value of a storage class that the column's type does not take satisfies every condition, so
    that reading it fails with or without the condition. (Of an INTEGER column that is text and
    blobs; a fraction must satisfy the comparison itself.) The additions are ranges, as an index
    knows them.
    """
    own, quoted = _own_type(column.database_type), _quote(column.name)
    if column.arrow_type != own or not all(_is_of(value, own) for value in values):
        return None  # as read, it is not what is stored
    try:
        literals = [_literal(value, own) for value in values]
    except ValueError:
        return None
    if own in (pa.int64(), pa.float64()) and not _has_text_affinity(column):
        return f"{comparison(quoted, op, literals)} OR {quoted} >= ''"
    if own == pa.string() and _has_text_affinity(column) and op in ("==", "!=", "in", "not in"):
        # The column's own collation may ignore case.
        binary = f"{quoted} COLLATE BINARY"
        return f"{comparison(binary, op, literals)} OR {binary} < '' OR {binary} >= x''"
    if own == pa.bool_() and op == "==":
        return f"{quoted} <> {1 - values[0]}"  # neither 0 nor 1 is an error
    if own == pa.date32():
        return f"{comparison(quoted, op, literals)} OR {quoted} IS NOT date({quoted})"
    return None


def _has_text_affinity(column: Column) -> bool:
    """Say whether SQLite compares the column's numbers as text."""
    return _is_text(re.split(f"{_HOLDING}|{_ENCODED}", column.database_type)[0])


def _partition_key(column: Column) -> tuple[str, pa.DataType]:
    """Order numbers, then text, then blobs, as SQLite does: each value has one place."""
    if column.database_type.startswith(ROWID):
        return _quote(column.name), pa.int64()
    own = _own_type(column.database_type)
    if own in (pa.int64(), pa.float64(), pa.date32()) and not _has_text_affinity(column):
        return _quote(column.name), own
    if own == pa.string() and _has_text_affinity(column) and _ENCODED not in column.database_type:
        # The bytes of UTF-8 are in the order of code points; the column's own collation may not be.
        return f"{_quote(column.name)} COLLATE BINARY", own
    raise OptionError(
        "partitionColumn",
        f"names {column.name!r}, which SQLite holds as {column.database_type!r} and cannot cut",
        "name an INTEGER column (the primary key, or rowid in a query), or write predicates",
    )


def _range_bound(column: Column, literal: str) -> str:
    """Have a bound of rowids fail once they may be those of other rows.

    SQLite works out a bound before it looks for rows, so also where it will find none.
    """
    before, found, version = column.database_type.partition(ROWID)
    if before or not found:
        return literal
    now, snag = "(SELECT schema_version FROM pragma_schema_version)", _snag(column, "'rowid'")
    return f"(CASE WHEN {now} = {int(version)} THEN {literal} ELSE {snag} END)"


DIALECT = Dialect(
    name="sqlite",
    label="SQLite",
    engines=("connectorx", "adbc", "fallback"),
    fastest=("adbc", "connectorx", "fallback"),
    types=SQLITE,
    quote=_quote,
    literal=_literal,
    describe=_describe,
    read_column=_read_column,
    condition=_condition,
    is_nan=lambda _: NEVER,  # it stores none
    partition_key=_partition_key,
    session=_session,
    refusal=_refusal,
    connectorx_uri=_connectorx_uri,
    preflight=_preflight,
    adbc_database=_adbc_database,
    adbc_statement=_adbc_statement,
    adbc_misfit=_adbc_misfit,
    dbapi_rows=_dbapi_rows,
    error=_error,
    first_row=_first_row,
    statistics=sqlite_statistics,
    asking=_asking,
    range_bound=_range_bound,
)
