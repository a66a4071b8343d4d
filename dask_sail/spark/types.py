"""The Arrow types that Spark has, and which of them a column becomes without loss."""

from __future__ import annotations

import inspect

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_type, to_arrow_schema
from pyspark.sql.types import StructField, StructType

from ..arrow import frame_schema
from ..errors import SchemaError

__all__ = ["SparkSchema", "arrow_schema", "spark_schema"]

_MOST_DIGITS = 38
# What a type of the same kind becomes that Spark has.
_WIDER = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.date64(): pa.date32(),
    pa.time32("s"): pa.time64("ns"),
    pa.time32("ms"): pa.time64("ns"),
    pa.time64("us"): pa.time64("ns"),
}


class SparkSchema(StructType):
    """Spark's own schema, which is Arrow's as well: Lakesail takes that one, and loses nothing.

    Parameters
    ----------
    schema
        As `arrow_schema` gives it.
    label
        Of the source, for errors.
    """

    def __init__(self, schema: pa.Schema, label: str) -> None:
        super().__init__([_field(field, label) for field in schema])
        self._arrow = schema

    @classmethod
    def typeName(cls) -> str:
        """Return what Spark calls the type; PySpark would make it of the class's name."""
        return "struct"

    def __arrow_c_schema__(self) -> object:
        return self._arrow.__arrow_c_schema__()


def _field(field: pa.Field, label: str) -> StructField:
    try:
        kind = from_arrow_type(field.type, prefer_timestamp_ntz=True)
    except Exception:  # noqa: BLE001 - PySpark's, of various kinds, of which none names the column
        kind = None
    if kind is None:
        raise _unknown(label, field.name, field.type)
    return StructField(field.name, kind, field.nullable)


def spark_schema(struct: StructType) -> pa.Schema:
    """Return the Arrow schema in which Spark expects the batches of a schema of its own."""
    takes_zone = "timezone" in inspect.signature(to_arrow_schema).parameters  # not so in 4.0
    return to_arrow_schema(struct, **({"timezone": "UTC"} if takes_zone else {}))


def arrow_schema(schema: pa.Schema, label: str) -> pa.Schema:
    """Return what a source's schema is on Spark: each column in the nearest type that holds it.

    Raises
    ------
    SchemaError
        If Spark has no type for a column.
    """
    fields = []
    for field in frame_schema(schema, label):
        try:
            kind = _spark_type(field.type)
        except _NoSuchTypeError:
            kind = None
        if kind is None:
            raise _unknown(label, field.name, field.type)
        fields.append(pa.field(field.name, kind, field.nullable))
    return pa.schema(fields)


class _NoSuchTypeError(Exception):
    """Spark has no type that holds every value of this one."""


def _unknown(label: str, name: str, kind: pa.DataType) -> SchemaError:
    return SchemaError(
        label,
        f"column {name!r} of type {kind} has no counterpart in this version of Spark; give another "
        "type in infer_schema, e.g. string",
    )


def _spark_type(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if kind in _WIDER:
        return _WIDER[kind]
    if types.is_fixed_size_binary(kind):
        return pa.binary()
    if types.is_decimal(kind):
        return _decimal(kind)
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz and "UTC")
    if types.is_duration(kind):
        return pa.duration("us")
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(_spark_field(kind.value_field, "element"))
    if types.is_struct(kind):
        return pa.struct([_spark_field(field, field.name) for field in kind])
    if types.is_map(kind):
        return pa.map_(_spark_field(kind.key_field, "key"), _spark_field(kind.item_field, "value"))
    if types.is_interval(kind):
        raise _NoSuchTypeError
    return kind


def _spark_field(field: pa.Field, name: str) -> pa.Field:
    return pa.field(name, _spark_type(field.type), field.nullable)


def _decimal(kind: pa.DataType) -> pa.DataType:
    digits = max(kind.precision, kind.scale)  # Spark has none past the last one's place
    # Arrow does not compare decimals of hundreds, so nobody could tell whether they stayed equal.
    if digits > _MOST_DIGITS or kind.scale < 0:
        raise _NoSuchTypeError
    return pa.decimal128(digits, kind.scale)
