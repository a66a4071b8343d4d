"""The Arrow type of every database type, and conversions that are exact or an error.

Nothing here rounds, wraps or truncates: a value that has no exact place in the target type raises
`ColumnValueError`, which names the column, what kind of value it is and what to write instead.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import pyarrow as pa
import pyarrow.compute as pc

from .errors import ColumnTypeError, ColumnValueError, OptionError

__all__ = [
    "DUCKDB",
    "MYSQL",
    "POSTGRESQL",
    "SQLITE",
    "TypeRow",
    "convert",
    "decimal_type",
    "map_values",
    "parse_custom_schema",
    "plain",
    "string_instead",
]


@dataclass(frozen=True)
class TypeRow:
    """One row of a table of types: what some types of a database become in Arrow.

    Attributes
    ----------
    names
        As `Column.database_type` has them, modifiers apart.
    arrow
        The Arrow type, or words for one that follows from the modifiers.
    note
        What is an error, and whatever else a user should know.
    """

    names: tuple[str, ...]
    arrow: pa.DataType | str
    note: str = ""


_RANGE = "infinity, and years outside 1 to 9999, are an error"
_TEXT = "as PostgreSQL prints it"
POSTGRESQL = (
    TypeRow(("bool",), pa.bool_()),
    TypeRow(("int2",), pa.int16()),
    TypeRow(("int4",), pa.int32()),
    TypeRow(("int8",), pa.int64()),
    TypeRow(("oid",), pa.uint32()),
    TypeRow(("float4",), pa.float32()),
    TypeRow(("float8",), pa.float64()),
    TypeRow(("numeric(p,s)",), "decimal128(p, s)", "p to 38; NaN and infinity are an error"),
    TypeRow(("numeric(p,s)",), "decimal256(p, s)", "p from 39 to 76"),
    TypeRow(("numeric(p,s)",), "string", "p from 77"),
    TypeRow(("numeric",), pa.decimal128(38, 18), "a value that does not fit is an error"),
    TypeRow(("text", "varchar", "bpchar", "name"), pa.string(), "char(n) keeps its blanks"),
    TypeRow(("bytea",), pa.binary()),
    TypeRow(("date",), pa.date32(), _RANGE),
    TypeRow(("time",), pa.time64("us"), "24:00 is an error"),
    TypeRow(("timestamp",), pa.timestamp("us"), _RANGE),
    TypeRow(("timestamptz",), pa.timestamp("us", "UTC"), _RANGE),
    TypeRow(("interval",), pa.month_day_nano_interval(), "infinity is an error"),
    TypeRow(("uuid", "json", "jsonb", "xml"), pa.string(), _TEXT),
    TypeRow(("timetz", "money", "bit", "varbit", "enum", "composite"), pa.string(), _TEXT),
    TypeRow(("inet", "cidr", "macaddr", "range", "hstore"), pa.string(), _TEXT),
    TypeRow(("every other",), pa.string(), _TEXT),
    TypeRow(
        ("array",),
        "list of the above",
        "two or more dimensions are an error; subscripts are not kept",
    ),
)

_ELSE = "any other storage class is an error"
_ISO = f"ISO text; other text, or {_ELSE}"
SQLITE = (
    TypeRow(
        (
            "INTEGER", "INT", "TINYINT", "SMALLINT", "MEDIUMINT", "BIGINT", "BIG INT", "INT2",
            "INT4", "INT8",
        ),
        pa.int64(),
        f"with or without UNSIGNED; {_ELSE}",
    ),
    TypeRow(("REAL", "FLOAT", "DOUBLE", "DOUBLE PRECISION"), pa.float64(), _ELSE),
    TypeRow(
        ("NUMERIC", "DECIMAL", "DEC", "NUMBER", "MONEY"),
        pa.float64(),
        "what SQLite stores for them is a double, or an integer, which is an error if a double"
        " cannot hold it; customSchema makes decimals of them",
    ),
    TypeRow(("BOOLEAN", "BOOL"), pa.bool_(), "an integer other than 0 and 1 is an error"),
    TypeRow(("TEXT", "CLOB", "CHAR", "VARCHAR"), pa.string(), f"and longer names; {_ELSE}"),
    TypeRow(("DATE",), pa.date32(), _ISO),
    TypeRow(("TIME",), pa.time64("us"), _ISO),
    TypeRow(
        (
            "DATETIME", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE",
            "TIMESTAMP WITHOUT TIME ZONE",
        ),
        pa.timestamp("us"),
        f"{_ISO}; Z and +00:00 are taken off, another offset is an error",
    ),
    TypeRow(
        ("BLOB", "no type", "every other"),
        "int64, double, string or binary",
        "as the first rows have it (integers and reals: double; no value: binary for BLOB, else"
        f" string); {_ELSE}",
    ),
)  # fmt: skip

_ZERO = "a zero date is an error, or NULL with zeroDateTimeBehavior=convertToNull"
MYSQL = (
    TypeRow(("tinyint",), pa.int8(), "tinyint(1), which is what BOOLEAN makes, too"),
    TypeRow(("smallint",), pa.int16()),
    TypeRow(("mediumint", "int"), pa.int32()),
    TypeRow(("bigint",), pa.int64()),
    TypeRow(("tinyint unsigned",), pa.uint8()),
    TypeRow(("smallint unsigned",), pa.uint16()),
    TypeRow(("mediumint unsigned", "int unsigned"), pa.uint32()),
    TypeRow(("bigint unsigned",), pa.uint64()),
    TypeRow(("float",), pa.float32()),
    TypeRow(("double",), pa.float64()),
    TypeRow(("decimal(p,s)",), "decimal128(p, s)", "p to 38"),
    TypeRow(("decimal(p,s)",), "decimal256(p, s)", "p from 39 to 65"),
    TypeRow(("bit",), pa.binary(), "as the database sends it; customSchema makes a number of it"),
    TypeRow(("char", "varchar", "text", "enum", "set", "json"), pa.string()),
    TypeRow(("uuid", "inet4", "inet6"), pa.string(), "which the server calls char"),
    TypeRow(("binary", "varbinary", "blob"), pa.binary(), "so is NULL without a type"),
    TypeRow(("geometry",), pa.binary(), "as the database holds it: SRID, then WKB"),
    TypeRow(("date",), pa.date32(), f"a year 0 is an error; {_ZERO}"),
    TypeRow(("time",), pa.time64("us"), "less than 00:00 and 24:00 or more is an error"),
    TypeRow(("datetime",), pa.timestamp("us"), _ZERO),
    TypeRow(("timestamp",), pa.timestamp("us", "UTC"), _ZERO),
    TypeRow(("year",), pa.int16()),
    TypeRow(("every other",), "an error", "cast it in a query"),
)

_NO_FINITE = "infinity is an error"
_BY_DUCKDB = "as DuckDB prints it"
DUCKDB = (
    TypeRow(("BOOLEAN",), pa.bool_()),
    TypeRow(("TINYINT",), pa.int8()),
    TypeRow(("SMALLINT",), pa.int16()),
    TypeRow(("INTEGER",), pa.int32()),
    TypeRow(("BIGINT",), pa.int64()),
    TypeRow(("UTINYINT",), pa.uint8()),
    TypeRow(("USMALLINT",), pa.uint16()),
    TypeRow(("UINTEGER",), pa.uint32()),
    TypeRow(("UBIGINT",), pa.uint64()),
    TypeRow(("HUGEINT", "UHUGEINT"), pa.decimal128(38, 0), "more than 38 digits are an error"),
    TypeRow(("FLOAT",), pa.float32()),
    TypeRow(("DOUBLE",), pa.float64()),
    TypeRow(("DECIMAL(p,s)",), "decimal128(p, s)"),
    TypeRow(("VARCHAR",), pa.string()),
    TypeRow(("BLOB",), pa.binary()),
    TypeRow(("DATE",), pa.date32(), _RANGE),
    TypeRow(("TIME",), pa.time64("us"), "24:00 is an error"),
    TypeRow(("TIME_NS",), pa.time64("ns"), "24:00 is an error"),
    TypeRow(("TIMESTAMP",), pa.timestamp("us"), _RANGE),
    TypeRow(("TIMESTAMP_S",), pa.timestamp("s"), _RANGE),
    TypeRow(("TIMESTAMP_MS",), pa.timestamp("ms"), _RANGE),
    TypeRow(("TIMESTAMP_NS",), pa.timestamp("ns"), _NO_FINITE),
    TypeRow(("TIMESTAMP WITH TIME ZONE",), pa.timestamp("us", "UTC"), _RANGE),
    TypeRow(("TIMESTAMPTZ_NS",), pa.timestamp("ns", "UTC"), _NO_FINITE),
    TypeRow(
        ("INTERVAL",),
        pa.month_day_nano_interval(),
        "a time of more nanoseconds than 64 bits hold is an error",
    ),
    TypeRow(("JSON", "UUID", "ENUM", "BIT", "TIME WITH TIME ZONE"), "string", _BY_DUCKDB),
    TypeRow(("BIGNUM", "UNION", "VARIANT", "GEOMETRY"), "string", _BY_DUCKDB),
    TypeRow(("every other",), "string", _BY_DUCKDB),
    TypeRow(("list", "array"), "list of the above"),
    TypeRow(("STRUCT",), "struct of the above", "without names of fields: as text"),
    TypeRow(("MAP",), "map of the above", "with lists, maps or structs as keys: as text"),
)


def decimal_type(precision: int, scale: int) -> pa.DataType | None:
    """Return the narrowest decimal that holds ``numeric(precision, scale)``; None if none does.

    Databases allow a negative scale, and one above the precision; Arrow's readers do not.
    """
    precision, scale = max(precision - min(scale, 0), scale), max(scale, 0)
    if precision <= 38:
        return pa.decimal128(precision, scale)
    return pa.decimal256(precision, scale) if precision <= 76 else None


# ------------------------------------------------------------------------------ conversion


def convert(array: pa.Array, target: pa.DataType, column: str) -> pa.Array:
    """Convert what an engine gave to ``target``, exactly.

    A number in text fits a float if the float prints as the same number.

    Parameters
    ----------
    array
        Typed values, or text as a database prints it: ISO dates and times, plain numbers.
    target
        The type wanted.
    column
        Name of the column, for errors.

    Raises
    ------
    ColumnValueError
        If a value does not fit exactly.
    ColumnTypeError
        If no value of the array's type could.
    """
    array = plain(array)
    if pa.types.is_list(target):
        return map_values(array, target, lambda v: convert(v, target.value_type, column))
    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    try:
        if is_text and not pa.types.is_string(target):
            result = _from_text(array, target, column)
        elif pa.types.is_floating(array.type) and target == pa.float32():
            result = _narrowed(array, column)
        else:
            result = array if array.type == target else array.cast(target)
    except pa.ArrowNotImplementedError:
        raise ColumnTypeError(
            column, f"cannot become {target} from {array.type}", string_instead(column)
        ) from None
    except pa.ArrowInvalid:
        raise _misfit(column, _what_misfits(target)) from None
    _check_range(result, column)
    return result


def _what_misfits(target: pa.DataType) -> str:
    if pa.types.is_date(target) or pa.types.is_timestamp(target):
        kind = "date" if pa.types.is_date(target) else "timestamp"
        why = "infinite, outside the years 1 to 9999, not in ISO form, or finer than that"
        return f"a value that as a {kind} would be {why}"
    if pa.types.is_string(target):
        return "bytes that are no UTF-8"
    return f"a value that does not fit {target}"


def plain(array: pa.Array) -> pa.Array:
    """Return the storage of an array of an extension type, else the array."""
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def map_values(
    array: pa.Array, target: pa.ListType, function: Callable[[pa.Array], pa.Array]
) -> pa.Array:
    """Return the list array with its values put through a function of arrays."""
    # flatten(), not .values: it minds slices and what lies under a NULL.
    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    return pa.ListArray.from_arrays(
        offsets, function(plain(array.flatten())), type=target, mask=array.is_null()
    )


def _from_text(array: pa.Array, target: pa.DataType, column: str) -> pa.Array:
    types = pa.types
    if types.is_decimal(target):
        return _decimals(array, target, column)
    if types.is_integer(target):
        # By way of a decimal: Arrow reads '0x10' as a number, and refuses '5.00'.
        return _decimals(array, pa.decimal128(38, 0), column).cast(target)
    if types.is_floating(target):
        return _floats(array, target, column)
    if types.is_boolean(target):
        return _booleans(array, column)
    if types.is_timestamp(target):
        return _timestamps(array, target)
    if types.is_time(target):
        # Arrow casts no text to a time of day.
        moments = pc.binary_join_element_wise("1970-01-01", array.cast(pa.string()), " ")
        return moments.cast(pa.timestamp(target.unit)).cast(target)
    if types.is_date(target):
        return array.cast(target)
    return array.cast(target)


def _decimals(array: pa.Array, target: pa.DataType, column: str) -> pa.Array:
    array = array.cast(pa.string())
    if b"e" in _characters(array).lower():
        array = pa.array([_spelt_out(text, column) for text in array.to_pylist()], pa.string())
    # Arrow's cast overflows in silence where there are more digits than its integers hold, or once
    # shifted by the scale: '1' * 25 as decimal128(38, 18) came out as 89183114247027903192.
    room = (38 if pa.types.is_decimal128(target) else 76) - target.scale
    if (pc.max(pc.binary_length(array)).as_py() or 0) > room:
        array = pc.replace_substring_regex(array, r"\.0+$|(\.\d*[1-9])0+$", r"\1")
        digits = pc.ascii_ltrim(array, "-0")
        length, point = pc.binary_length(digits), pc.find_substring(digits, ".")
        whole = pc.if_else(pc.less(point, 0), length, point)
        behind = pc.subtract(pc.subtract(length, whole), 1)
        too_long = pc.or_(pc.greater(whole, room), pc.greater(behind, target.scale))
        if pc.any(too_long).as_py():
            raise _wide(column, target)
    try:
        return array.cast(target)
    except pa.ArrowInvalid:
        if pc.any(pc.match_substring_regex(array, "(?i)nan|inf")).as_py():
            raise _misfit(column, f"NaN or infinity, which {target} cannot hold") from None
        raise _wide(column, target) from None


def _characters(array: pa.StringArray) -> bytes:
    """Return the texts of an array run together; looking at each took as long as converting it."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return b""
    ends = memoryview(offsets).cast("i")
    first, last = ends[array.offset], ends[array.offset + len(array)]
    return bytes(memoryview(data)[first:last])


def _spelt_out(text: str | None, column: str) -> str | None:
    """Return a number without its exponent, which Arrow's cast reads wrongly when it is large."""
    if text is None or "e" not in text.lower():
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise _misfit(column, "text that is no number") from None
    if not -100 < number.adjusted() < 100:
        raise _misfit(column, "a number beyond a decimal's reach")
    return f"{number:f}"


def _wide(column: str, target: pa.DataType) -> ColumnValueError:
    return ColumnValueError(
        column,
        f"holds a value that does not fit {target} exactly",
        f"give its size in customSchema, e.g. {column!r}: DECIMAL(38, 0), or read it as STRING",
    )


def _floats(array: pa.Array, target: pa.DataType, column: str) -> pa.Array:
    result = array.cast(target)
    # Up to 15 digits come back from a double, 6 from a float. Longer ones are looked at.
    digits = 15 if target == pa.float64() else 6
    doubtful = pc.or_(
        pc.greater(pc.binary_length(array), digits), pc.match_substring_regex(array, "[eE]")
    )
    pairs = zip(array.filter(doubtful).to_pylist(), result.filter(doubtful), strict=True)
    for text, number in pairs:
        # The shortest text of the number read, as its own type prints it.
        shown = number.cast(pa.string()).as_py()
        if not _same_number(text, shown):
            raise _misfit(column, f"a number with more digits than {target} can hold")
    return result


def _same_number(one: str, other: str) -> bool:
    try:
        left, right = Decimal(one), Decimal(other)
    except InvalidOperation:
        return False
    return left == right or (left.is_nan() and right.is_nan())


def _narrowed(array: pa.Array, column: str) -> pa.Array:
    result = array.cast(pa.float32())
    both_nan = pc.and_(pc.is_nan(array), pc.is_nan(result))
    same = pc.or_(pc.equal(array, result.cast(array.type)), both_nan)
    if pc.all(same).as_py() not in (True, None):
        raise _misfit(column, "a number with more digits than float can hold")
    return result


_TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False, None: None}


def _booleans(array: pa.Array, column: str) -> pa.Array:
    known = array.dictionary_encode()
    try:
        truth = [_TRUTH[text and text.lower()] for text in known.dictionary.to_pylist()]
    except KeyError:
        raise _misfit(column, "text that is neither true nor false") from None
    return pa.array(truth, pa.bool_()).take(known.indices)


def _timestamps(array: pa.Array, target: pa.DataType) -> pa.Array:
    zoned = pc.match_substring_regex(array, r"\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)$")
    marked = pc.any(zoned).as_py()
    if not marked:
        moments = array.cast(pa.timestamp(target.unit))
        # As the database itself does in a session whose time zone is UTC.
        return moments if target.tz is None else pc.assume_timezone(moments, "UTC").cast(target)
    moments = array.cast(pa.timestamp(target.unit, "UTC"))
    return moments.cast(target if target.tz else pa.timestamp(target.unit))


_DAYS = (-719_162, 2_932_896)
_DAY_SECONDS = 86_400
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_INT64_MAX = 2**63 - 1


def _check_range(array: pa.Array, column: str) -> None:
    """Refuse what Python, pandas and most readers of Arrow cannot hold, infinities among it."""
    types = pa.types
    if types.is_date32(array.type):
        _within(array.view(pa.int32()), *_DAYS, column, "date")
    elif types.is_timestamp(array.type):
        day = _DAY_SECONDS * _PER_SECOND[array.type.unit]
        # The largest integer and its negative are infinities, where the years do not end before.
        low, high = max(_DAYS[0] * day, 1 - _INT64_MAX), (_DAYS[1] + 1) * day - 1
        _within(array.view(pa.int64()), low, min(high, _INT64_MAX - 1), column, "timestamp")
    elif types.is_time64(array.type):
        day = _DAY_SECONDS * _PER_SECOND[array.type.unit]
        if (pc.max(array.view(pa.int64())).as_py() or 0) >= day:
            raise _misfit(column, "a time of 24:00 or later")


def _within(numbers: pa.Array, low: int, high: int, column: str, kind: str) -> None:
    ends = pc.min_max(numbers)
    least, most = ends["min"].as_py(), ends["max"].as_py()
    if least is not None and (least < low or most > high):
        raise _misfit(column, f"a {kind} that is infinite or outside the years 1 to 9999")


def _misfit(column: str, kind: str) -> ColumnValueError:
    return ColumnValueError(column, f"holds {kind}", string_instead(column))


def string_instead(column: str) -> str:
    """Return what to write so that a column comes as text, for the end of an error."""
    return f"write customSchema '{_ddl_name(column)} STRING' to read it as text"


def _ddl_name(column: str) -> str:
    if re.fullmatch(r"\w+", column):
        return column
    return "`" + column.replace("`", "``") + "`"


# ---------------------------------------------------------------------------- customSchema

_PRIMITIVE = {
    "boolean": pa.bool_(),
    "byte": pa.int8(),
    "tinyint": pa.int8(),
    "short": pa.int16(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "real": pa.float32(),
    "double": pa.float64(),
    "decimal": pa.decimal128(10, 0),
    "dec": pa.decimal128(10, 0),
    "numeric": pa.decimal128(10, 0),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ltz": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}
_TOKEN = re.compile(r"\s*(?:(`(?:[^`]|``)+`)|(\w+)|([(),:<>]))")


def parse_custom_schema(text: str, names: Sequence[str]) -> Mapping[str, pa.DataType]:
    """Parse Spark's DDL, e.g. ``"id DECIMAL(38, 0), name STRING"``.

    Parameters
    ----------
    text
        Columns with types, separated by commas; a name with other than word characters stands in
        backticks. ``TIMESTAMP`` is UTC, ``TIMESTAMP_NTZ`` has no zone.
    names
        The columns of the table; matched as spelt, else ignoring case.

    Returns
    -------
    mapping of str to pyarrow.DataType
        The table's own spelling of each name, and its type.

    Raises
    ------
    OptionError
        If the text is malformed, or names a type or column that does not exist.

    Examples
    --------
    >>> parse_custom_schema("ID DECIMAL(38, 0)", ["id"])
    {'id': Decimal128Type(decimal128(38, 0))}
    """
    tokens = _Tokens(text)
    result: dict[str, pa.DataType] = {}
    while True:
        name = _spelling(tokens.name(), names)
        if name in result:
            raise _malformed(text, f"names {name!r} twice")
        tokens.skip(":")
        result[name] = tokens.type()
        if tokens.ended:
            return result
        tokens.expect(",")


def _spelling(wanted: str, names: Sequence[str]) -> str:
    found = [n for n in names if n == wanted]
    found = found or [n for n in names if n.casefold() == wanted.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        raise OptionError(
            "customSchema", f"could mean any of {found}, got {wanted!r}", "spell it as the table"
        )
    near = difflib.get_close_matches(wanted, names, n=1)
    fix = f"did you mean {near[0]!r}?" if near else f"the columns are {list(names)}"
    raise OptionError("customSchema", f"names no column, got {wanted!r}", fix)


def _malformed(text: str, problem: str) -> OptionError:
    return OptionError(
        "customSchema", f"{problem}, got {text!r}", "write e.g. 'id DECIMAL(38, 0), name STRING'"
    )


class _Tokens:
    """A reader of DDL, one token ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._rest = self._split(text)
        self._next = next(self._rest, None)

    def _split(self, text: str) -> Iterator[str]:
        position, end = 0, len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                raise _malformed(self._text, f"has {text[position:].strip()[0]!r} out of place")
            position = found.end()
            yield found[0].strip()

    @property
    def ended(self) -> bool:
        return self._next is None

    def take(self) -> str:
        if self._next is None:
            raise _malformed(self._text, "ends too early")
        taken, self._next = self._next, next(self._rest, None)
        return taken

    def skip(self, token: str) -> bool:
        found = self._next == token
        if found:
            self.take()
        return found

    def expect(self, token: str) -> None:
        if (taken := self.take()) != token:
            raise _malformed(self._text, f"has {taken!r} where {token!r} belongs")

    def name(self) -> str:
        taken = self.take()
        if taken.startswith("`"):
            return taken[1:-1].replace("``", "`")
        if not re.fullmatch(r"\w+", taken):
            raise _malformed(self._text, f"has {taken!r} where a name belongs")
        return taken

    def type(self) -> pa.DataType:
        word = self.name().lower()
        if word == "array":
            self.expect("<")
            inner = self.type()
            self.expect(">")
            return pa.list_(inner)
        sizes = self._sizes()
        if word in ("char", "varchar") and len(sizes) == 1:
            return pa.string()
        if word in ("decimal", "dec", "numeric") and sizes:
            return self._decimal(sizes)
        if word not in _PRIMITIVE or sizes:
            raise _malformed(self._text, f"has the unknown type {word.upper()!r}")
        return _PRIMITIVE[word]

    def _sizes(self) -> list[int]:
        sizes: list[int] = []
        if self.skip("("):
            while True:
                size = self.take()
                if not size.isascii() or not size.isdigit():
                    raise _malformed(self._text, f"has {size!r} where a number belongs")
                sizes.append(int(size))
                if not self.skip(","):
                    break
            self.expect(")")
        return sizes

    def _decimal(self, sizes: list[int]) -> pa.DataType:
        precision, scale = sizes if len(sizes) == 2 else (sizes[0], 0)
        if len(sizes) > 2 or not 1 <= precision <= 76 or scale > precision:
            raise _malformed(self._text, "has a decimal without 1 to 76 digits")
        wide = pa.decimal256 if precision > 38 else pa.decimal128
        return wide(precision, scale)
