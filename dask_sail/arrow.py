"""Arrow types that a frame carries, and the way of batches into a frame and back.

Buffers are shared wherever types agree, and converted only where no value changes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .errors import BatchError, SchemaError

__all__ = ["conform", "frame_schema", "meta", "to_frame", "to_table"]

# Schemas


def frame_schema(schema: pa.Schema, source: str) -> pa.Schema:
    """Return the schema that frames of a source carry: its columns, in types that pandas works on.

    Metadata goes, that of fields as well. At any depth, views become ``string``, ``binary`` and
    ``list``; dictionaries and run-end encodings their values' type; extension types their storage,
    ``arrow.bool8`` bool; decimals of 32 and 64 bits ``decimal128``.

    Parameters
    ----------
    schema
        What ``infer_schema`` gave.
    source
        Label of the source, for errors.

    Raises
    ------
    SchemaError
        If it is no schema, if two columns (or two fields of a struct) share a name, or if a frame
        cannot carry a column: a union, or a timestamp whose zone is unknown here.
    """
    if not isinstance(schema, pa.Schema):
        kind = f"{type(schema).__module__}.{type(schema).__qualname__}"
        raise SchemaError(source, f"the schema must be a pyarrow.Schema, got a {kind}")
    if twice := _twice(schema):
        raise SchemaError(
            source, f"several columns are called {', '.join(map(repr, twice))}; give them aliases"
        )
    fields = []
    for field in schema:
        try:
            carried = _carried(field.type)
        except _CannotConvertError as reason:
            raise SchemaError(
                source, f"column {field.name!r} of type {field.type} {reason}"
            ) from None
        fields.append(pa.field(field.name, carried, field.nullable))
    return pa.schema(fields)


def meta(schema: pa.Schema) -> pd.DataFrame:
    """Return an empty frame with the columns and dtypes that `to_frame` gives for this schema."""
    return to_frame([], schema)


class _CannotConvertError(ValueError):
    """Why a type or a value cannot be taken over; free of values, which may be private."""


class _ValueWouldChangeError(ValueError):
    """A conversion found a value that would not come back."""


def _carried(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return pa.bool_() if isinstance(kind, pa.Bool8Type) else _carried(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _carried(kind.value_type)
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_decimal32(kind) or types.is_decimal64(kind):  # neither groups nor joins
        return pa.decimal128(kind.precision, kind.scale)
    if types.is_union(kind):
        raise _CannotConvertError("is a union, which pandas cannot hold; give text or a struct")
    if types.is_timestamp(kind) and kind.tz is not None:
        return _known_zone(kind)
    if types.is_fixed_size_list(kind):
        return pa.list_(_carried_field(kind.value_field), kind.list_size)
    if types.is_list(kind) or types.is_list_view(kind):
        return pa.list_(_carried_field(kind.value_field))
    if types.is_large_list(kind) or types.is_large_list_view(kind):
        return pa.large_list(_carried_field(kind.value_field))
    if types.is_struct(kind):
        if twice := _twice(kind):
            names = ", ".join(map(repr, twice))
            raise _CannotConvertError(f"has several fields called {names}; give them aliases")
        return pa.struct([_carried_field(field) for field in kind])
    if types.is_map(kind):
        key, item = _carried_field(kind.key_field), _carried_field(kind.item_field)
        return pa.map_(key, item, kind.keys_sorted)
    return kind


def _carried_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, _carried(field.type), field.nullable)


def _known_zone(kind: pa.TimestampType) -> pa.DataType:
    try:
        pa.scalar(0, kind).as_py()
    except (KeyError, ValueError):
        raise _CannotConvertError(
            "has a zone that is unknown here; install tzdata, or give e.g. 'UTC'"
        ) from None
    return kind


def _twice(fields: Iterable[pa.Field]) -> list[str]:
    return [name for name, n in Counter(field.name for field in fields).items() if n > 1]


# Batches


def conform(
    batch: pa.RecordBatch,
    schema: pa.Schema,
    source: str,
    spec: Mapping[str, Any] | None = None,
) -> pa.RecordBatch:
    """Return a batch with exactly the columns and types of a schema, and unchanged values.

    Parameters
    ----------
    batch
        Columns are matched by name; those that the schema lacks are dropped. They may be missing
        only from a batch without rows.
    schema
        As `frame_schema` gives it.
    source, spec
        What an error is to name; the spec free of secrets.

    Returns
    -------
    pyarrow.RecordBatch
        Columns that came in the right type share their buffers with ``batch``.

    Raises
    ------
    BatchError
        If a column is missing or comes twice, if a value would change, or if nulls come for a
        field that is declared non-nullable. Says which value by position and kind, never the value.

    Notes
    -----
    A value changes if it does not come back from its new type. Integers, floats and decimals turn
    into each other (a float into the decimal that it prints as: 12.1 into 12.10), dates into
    midnights and back, units and layouts into each other, null into anything. Text becomes the
    number, date, time or timestamp that it spells: ``007`` and ``+7`` are the integer 7, and
    hexadecimal is refused. Dates and times are ISO 8601 with dashes and colons, ``T`` or a space,
    and no more digits than the column's unit. UTC (``Z``) in a column without a zone is the wall
    clock there; any other zone is refused, as is text without a zone for a column with one.
    """
    if not schema.names:
        return batch.select([])  # which keeps the number of rows
    came = Counter(batch.schema.names)
    missing = [name for name in schema.names if not came[name]]
    if missing and not batch.num_rows:
        return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
    if missing:
        listed = ", ".join(map(repr, missing))
        raise BatchError(source, spec, f"a batch lacks {listed}, which infer_schema gave")
    columns = []
    for field in schema:
        if came[field.name] > 1:
            raise BatchError(source, spec, f"a batch holds several columns called {field.name!r}")
        column = batch.column(field.name)
        try:
            columns.append(_checked(column, field))
        except _CannotConvertError as reason:
            raise BatchError(
                source,
                spec,
                f"column {field.name!r} came as {column.type}, and the schema says {field.type}: "
                f"{reason}; convert it in the source, or declare another type",
            ) from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _checked(array: pa.Array, field: pa.Field) -> pa.Array:
    array = _converted(array, field.type)
    _refuse_nulls(array, field)
    return array


def _converted(array: pa.Array, target: pa.DataType) -> pa.Array:
    if array.type == target:
        return array
    array = _decoded(array)
    if array.type == target:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), target)
    convert = _CONVERSIONS.get((_family(array.type), _family(target)))
    if convert is None:
        raise _CannotConvertError("there is no lossless conversion between the two")
    try:
        return convert(array, target)
    except (pa.ArrowInvalid, _ValueWouldChangeError):  # Arrow's messages quote the value
        row = _first_that_fails(array, target, convert)
        raise _CannotConvertError(f"value {row}, from 0, is {_describe(array[row])}") from None


def _decoded(array: pa.Array) -> pa.Array:
    """Take off extension types, dictionaries, run-ends and views."""
    while True:
        if isinstance(array.type, pa.Bool8Type):
            return array.storage.cast(pa.bool_())
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        elif pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        elif pa.types.is_run_end_encoded(array.type):
            array = pc.run_end_decode(array)
        elif pa.types.is_string_view(array.type):
            array = array.cast(pa.large_string())  # a view may hold more than 2 GB
        elif pa.types.is_binary_view(array.type):
            array = array.cast(pa.large_binary())
        else:
            return array


_Convert = Callable[[pa.Array, pa.DataType], pa.Array]


def _first_that_fails(array: pa.Array, target: pa.DataType, convert: _Convert) -> int:
    good, bad = 0, len(array)  # array[:good] converts, array[:bad] does not
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            convert(array.slice(good, middle - good), target)
            good = middle
        except (pa.ArrowInvalid, _ValueWouldChangeError):
            bad = middle
    return good


def _describe(scalar: pa.Scalar) -> str:
    """Describe what kind of value it is, without giving it away."""
    kind = scalar.type
    if _family(kind) == "text":
        text = scalar.cast(pa.binary()).as_py().decode(errors="replace")
        shape = re.sub(r"[^\W\d]", "a", re.sub(r"\d", "9", text))
        return f"text of the shape {shape[:40]!r}"
    if _family(kind) in ("float", "decimal"):
        number = Decimal(scalar.as_py())
        if not number.is_finite():
            return "NaN or an infinity"
        whole = number == number.to_integral_value()
        return f"a {'whole number' if whole else 'fraction'} that would be rounded or overflow"
    if _family(kind) == "timestamp":
        return "a timestamp that would be cut or overflow"
    return f"a value of type {kind} that would be cut or overflow"


# Conversions; each raises for a value that would change.


def _cast(array: pa.Array, target: pa.DataType) -> pa.Array:
    return array.cast(target)  # where Arrow's own checks were found to miss nothing


def _relayout(array: pa.Array, target: pa.DataType) -> pa.Array:
    try:
        return array.cast(target)
    except pa.ArrowInvalid:
        if pa.types.is_fixed_size_binary(target):
            raise
        raise _CannotConvertError(
            f"a batch holds more than the 2 GB that a {target} column has room for"
        ) from None


def _cast_and_back(array: pa.Array, target: pa.DataType) -> pa.Array:
    """For casts that round or cut in silence (doubles to float32, timestamps to dates), or refuse
    too much (large whole numbers to double)."""
    result = array.cast(target, safe=False)
    _must_equal(array, result.cast(array.type))
    return result


def _must_equal(before: pa.Array, after: pa.Array) -> None:
    same = pc.equal(before, after)
    if pa.types.is_floating(before.type):
        same = pc.or_(same, pc.and_(pc.is_nan(before), pc.is_nan(after)))
    if not pc.all(same, min_count=0).as_py():  # nulls are skipped
        raise _ValueWouldChangeError


def _integer_to_decimal(array: pa.Array, target: pa.DataType) -> pa.Array:
    # In two steps, since Arrow wants room for the widest integer, whatever the values are.
    return _decimal_to_decimal(array.cast(pa.decimal128(20, 0)), target)


def _decimal_to_decimal(array: pa.Array, target: pa.DataType) -> pa.Array:
    # Back as well: a larger scale makes Arrow's 128 bits wrap around in silence.
    result = array.cast(target)
    _must_equal(array, result.cast(array.type))
    return result


def _float_to_decimal(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Through the shortest text that stands for the float: Arrow's own cast rounds in silence."""
    text = array.cast(pa.string())
    # That text ends in made-up zeros where floats are wider apart than whole numbers.
    wide = pc.fill_null(pc.greater(pc.abs(array), 2.0**53), False)
    if pc.any(pc.and_(wide, pc.is_finite(array))).as_py():
        exact = [format(Decimal(value), "f") for value in array.filter(wide).to_pylist()]
        text = pc.replace_with_mask(text, wide, pa.array(exact, pa.string()))
    return _parse_decimal(text, target)


def _parse_decimal(text: pa.Array, target: pa.DataType) -> pa.Array:
    result = text.cast(target)
    # Past 38 digits (76 for decimal256) Arrow's parser wraps around in silence: that is far off.
    there, here = text.cast(pa.float64()), result.cast(pa.float64())
    near = pc.less_equal(pc.abs(pc.subtract(there, here)), pc.multiply(pc.abs(here), 0.01))
    if not pc.all(near, min_count=0).as_py():
        raise _ValueWouldChangeError
    return result


def _decimal_to_float(array: pa.Array, target: pa.DataType) -> pa.Array:
    # Through text: Arrow's direct cast is off by one place for one value in eight.
    result = array.cast(pa.string()).cast(target)
    _must_equal(array, _float_to_decimal(result, array.type))
    return result


def _text_to_integer(array: pa.Array, target: pa.DataType) -> pa.Array:
    _must_match(array, r"^[+-]?[0-9]+$")  # Arrow reads hexadecimal, too
    return pc.replace_substring_regex(array, r"^\+", "").cast(target)


def _text_to_decimal(array: pa.Array, target: pa.DataType) -> pa.Array:
    _must_match(array, r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
    return _parse_decimal(pc.replace_substring_regex(array, r"^\+", ""), target)


_ZONE = r"(?:Z|[+-][0-9]{2}:?[0-9]{2})"
_UTC = r"(?:Z|[+-]00:?00)"


def _text_to_timestamp(array: pa.Array, target: pa.DataType) -> pa.Array:
    _must_match(
        array,
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
        rf"(?:[T ][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]+)?)?{_ZONE}?)?$",
    )
    if target.tz is None:
        array = pc.replace_substring_regex(array, rf"(:[0-9.]+){_UTC}$", r"\1")
    # Arrow counts digits, so zeros past the column's unit have to go.
    array = pc.replace_substring_regex(array, rf"(\.[0-9]*?)0+({_ZONE}?)$", r"\1\2")
    return pc.replace_substring_regex(array, rf"\.({_ZONE}?)$", r"\1").cast(target)


def _text_to_time(array: pa.Array, target: pa.DataType) -> pa.Array:
    _must_match(array, r"^[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?$")
    day, separator = pa.scalar("1970-01-01", array.type), pa.scalar("T", array.type)
    text = pc.binary_join_element_wise(day, array, separator)
    return _text_to_timestamp(text, pa.timestamp(target.unit)).cast(target)


def _must_match(array: pa.Array, pattern: str) -> None:
    if not pc.all(pc.match_substring_regex(array, pattern), min_count=0).as_py():
        raise _ValueWouldChangeError


def _timestamp_to_timestamp(array: pa.Array, target: pa.DataType) -> pa.Array:
    if array.type.tz == target.tz or (array.type.tz is not None and target.tz is not None):
        return array.cast(target)  # the same instant, whatever the zone
    if array.type.tz in ("UTC", "Etc/UTC", "+00:00", "Z"):
        return array.cast(target)
    raise _CannotConvertError(_ONE_HAS_NO_ZONE)


def _timestamp_to_date(array: pa.Array, target: pa.DataType) -> pa.Array:
    if array.type.tz is not None:
        raise _CannotConvertError(_ONE_HAS_NO_ZONE)
    return _cast_and_back(array, target)


def _date_to_timestamp(array: pa.Array, target: pa.DataType) -> pa.Array:
    if target.tz is not None:
        raise _CannotConvertError(_ONE_HAS_NO_ZONE)
    return array.cast(target)


_ONE_HAS_NO_ZONE = "one of the two has a zone and the other has none"


_CONVERSIONS: dict[tuple[str, str], _Convert] = {
    ("integer", "integer"): _cast,
    ("integer", "float"): _cast_and_back,
    ("integer", "decimal"): _integer_to_decimal,
    ("float", "integer"): _cast,
    ("float", "float"): _cast_and_back,
    ("half float", "float"): _cast,
    ("float", "decimal"): _float_to_decimal,
    ("decimal", "integer"): _cast,
    ("decimal", "float"): _decimal_to_float,
    ("decimal", "decimal"): _decimal_to_decimal,
    ("text", "text"): _relayout,
    ("text", "integer"): _text_to_integer,
    ("text", "decimal"): _text_to_decimal,
    ("text", "date"): _cast,
    ("text", "time"): _text_to_time,
    ("text", "timestamp"): _text_to_timestamp,
    ("binary", "binary"): _relayout,
    ("date", "date"): _cast,
    ("date", "timestamp"): _date_to_timestamp,
    ("timestamp", "date"): _timestamp_to_date,
    ("timestamp", "timestamp"): _timestamp_to_timestamp,
    ("time", "time"): _cast,
    ("duration", "duration"): _cast,
}


_FAMILIES = {
    "integer": (pa.types.is_integer,),
    "half float": (pa.types.is_float16,),  # Arrow can hardly do more than widen it
    "float": (pa.types.is_floating,),
    "decimal": (pa.types.is_decimal,),
    "text": (pa.types.is_string, pa.types.is_large_string),
    "binary": (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary),
    "date": (pa.types.is_date,),
    "timestamp": (pa.types.is_timestamp,),
    "time": (pa.types.is_time,),
    "duration": (pa.types.is_duration,),
    "struct": (pa.types.is_struct,),
    "map": (pa.types.is_map,),
    "list": (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    ),
}


def _family(kind: pa.DataType) -> str:
    return next((name for name, tests in _FAMILIES.items() if any(t(kind) for t in tests)), "")


# Nested types: their shape is kept, and their parts are converted.


def _refuse_nulls(array: pa.Array, field: pa.Field) -> None:
    """Raise for a null where the type or schema allows none; Arrow itself lets it be."""
    if not field.nullable and array.null_count:
        raise _CannotConvertError(f"{field.name!r} is declared non-nullable, and holds nulls")
    family = _family(field.type)
    if family == "struct":
        present = array.filter(array.is_valid()) if array.null_count else array
        for i, child in enumerate(field.type):
            _refuse_nulls(present.field(i), child)
    elif family == "list":
        _refuse_nulls(array.flatten(), field.type.value_field)
    elif family == "map":
        _, _, items = _entries(array)
        _refuse_nulls(items, field.type.item_field)


def _struct(array: pa.StructArray, target: pa.StructType) -> pa.Array:
    came, wanted = [field.name for field in array.type], [field.name for field in target]
    if sorted(came) != sorted(wanted):
        raise _CannotConvertError(f"a struct's fields are {came} in place of {wanted}")
    parts = array.flatten()  # null where the struct is: whatever lies there need not convert
    return pa.StructArray.from_arrays(
        [_converted(parts[came.index(field.name)], field.type) for field in target],
        fields=list(target),
        mask=_null_mask(array),
    )


def _list(array: pa.Array, target: pa.DataType) -> pa.Array:
    values = _converted(array.flatten(), target.value_type)
    large = not pa.types.is_list(target)
    kind, build = (pa.large_list, pa.LargeListArray) if large else (pa.list_, pa.ListArray)
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    ends = pc.cumulative_sum(lengths.cast(pa.int64()))
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), ends])
    result = build.from_arrays(
        offsets.cast(pa.int64() if large else pa.int32()),
        values,
        type=kind(target.value_field),
        mask=_null_mask(array),
    )
    return result.cast(target) if pa.types.is_fixed_size_list(target) else result


def _map(array: pa.MapArray, target: pa.MapType) -> pa.Array:
    offsets, keys, items = _entries(array)
    return pa.MapArray.from_arrays(
        offsets,
        _converted(keys, target.key_type),
        _converted(items, target.item_type),
        type=target,
        mask=_null_mask(array),
    )


def _entries(array: pa.MapArray) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return offsets from 0, keys and items of these rows alone; a slice has its parent's."""
    start = array.offsets[0]
    length = array.offsets[-1].as_py() - start.as_py()
    slices = (part.slice(start.as_py(), length) for part in (array.keys, array.items))
    return (pc.subtract(array.offsets, start), *slices)


def _null_mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None


_CONVERSIONS |= {("struct", "struct"): _struct, ("list", "list"): _list, ("map", "map"): _map}


# Frames

_MANY_CHUNKS = 256
_SMALL = 1 << 20  # bytes; what is larger is never copied
_MERGED = 16 << 20


def to_frame(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pd.DataFrame:
    """Return batches as one frame of Arrow-backed columns that share their buffers.

    Parameters
    ----------
    batches
        All of ``schema``. Past 256 of them, neighbours below 1 MiB are copied into larger ones as
        they come, since pandas' work grows with the number of chunks; larger ones never are.
    schema
        As `frame_schema` gives it.

    Returns
    -------
    pandas.DataFrame
        With a `pandas.RangeIndex`, also where there are rows and no columns.
    """
    chunks = _few(batches)
    table = pa.Table.from_batches(chunks, schema=schema)
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def _few(batches: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
    chunks: list[pa.RecordBatch] = []
    most = _MANY_CHUNKS
    for batch in batches:
        chunks.append(batch)
        if len(chunks) > most:
            chunks = _merge_small(chunks)
            most = max(_MANY_CHUNKS, 2 * len(chunks))  # so that large ones are not counted anew
    return chunks


def _merge_small(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    merged: list[pa.RecordBatch] = []
    run: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        small = batch.num_columns > 0 and batch.nbytes < _SMALL
        if run and (not small or size + batch.nbytes > _MERGED):
            merged.append(pa.concat_batches(run))
            run, size = [], 0
        if small:
            run.append(batch)
            size += batch.nbytes
        else:
            merged.append(batch)
    return [*merged, pa.concat_batches(run)] if run else merged


def to_table(frame: pd.DataFrame, schema: pa.Schema | None = None) -> pa.Table:
    """Return a frame's columns as a table, Arrow-backed ones without copying; the index is dropped.

    Parameters
    ----------
    frame
        Any frame; what pandas keeps in numpy is copied.
    schema
        Columns and types to give; None takes them from the frame.
    """
    if not frame.columns.size:  # pyarrow would forget the rows
        return pa.table({"": pa.nulls(len(frame))}).select([])
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    return table.replace_schema_metadata(None)
