"""Every Arrow type reaches Spark and Lakesail with every value, or the read fails."""

from __future__ import annotations

import datetime as dt
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

UTC, EXACT = dt.UTC, Context(prec=40)
MAX = 2**63 - 1
NAN, INF = float("nan"), float("inf")
DAY, MOMENT = dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12, 30, 15, 250_000)
FIRST, LAST = dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)
PAIR = pa.struct([("a", pa.uint8()), pa.field("b", pa.large_string())])

# Name: the values, the type that the source gives, and what Spark calls it.
COLUMNS: dict[str, tuple[list[Any], pa.DataType, str]] = {
    "bool": ([True, False], pa.bool_(), "boolean"),
    "int8": ([-128, 127], pa.int8(), "tinyint"),
    "int16": ([-(2**15), 2**15 - 1], pa.int16(), "smallint"),
    "int32": ([-(2**31), 2**31 - 1], pa.int32(), "int"),
    "int64": ([-(2**63), MAX], pa.int64(), "bigint"),
    "uint8": ([0, 255], pa.uint8(), "smallint"),
    "uint16": ([0, 2**16 - 1], pa.uint16(), "int"),
    "uint32": ([0, 2**32 - 1], pa.uint32(), "bigint"),
    "uint64": ([Decimal(0), Decimal(2**64 - 1)], pa.uint64(), "decimal(20,0)"),
    "float16": ([65504.0, NAN], pa.float16(), "float"),
    "float32": ([3.4028234663852886e38, 1.401298464324817e-45], pa.float32(), "float"),
    "float32_odd": ([-INF, NAN], pa.float32(), "float"),
    "float64": ([1.7976931348623157e308, 5e-324], pa.float64(), "double"),
    "float64_odd": ([INF, NAN], pa.float64(), "double"),
    "minus_zero": ([-0.0, 0.0], pa.float64(), "double"),
    "decimal": ([Decimal("-0.01"), Decimal("999.99")], pa.decimal128(5, 2), "decimal(5,2)"),
    "decimal_38": (
        [Decimal("9" * 28 + "." + "9" * 10), Decimal("-" + "9" * 28 + "." + "9" * 10)],
        pa.decimal128(38, 10),
        "decimal(38,10)",
    ),
    "decimal32": ([Decimal("1.5"), Decimal("-9.9")], pa.decimal32(2, 1), "decimal(2,1)"),
    "decimal64": ([Decimal("1.50"), Decimal("-9.99")], pa.decimal64(12, 2), "decimal(12,2)"),
    "decimal256": ([Decimal("9" * 38), Decimal(1)], pa.decimal256(38, 0), "decimal(38,0)"),
    "decimal_small": (
        [Decimal("0.00099"), Decimal("-0.00001")],
        pa.decimal128(2, 5),
        "decimal(5,5)",
    ),
    "string": (["", "Zoë \N{SNOWMAN} \N{GRINNING FACE} \x00'\""], pa.string(), "string"),
    "large_string": (["a", "b" * 10_000], pa.large_string(), "string"),
    "string_view": (["a", "longer than twelve bytes"], pa.string_view(), "string"),
    "dictionary": (["a", "b"], pa.dictionary(pa.int8(), pa.string()), "string"),
    "binary": ([b"", b"\x00\xff"], pa.binary(), "binary"),
    "large_binary": ([b"a", b"\xff" * 1000], pa.large_binary(), "binary"),
    "fixed_binary": ([b"abc", b"\x00\x00\x00"], pa.binary(3), "binary"),
    "binary_view": ([b"a", b"longer than twelve bytes"], pa.binary_view(), "binary"),
    "date32": ([dt.date(1, 1, 1), dt.date(9999, 12, 31)], pa.date32(), "date"),
    "date64": ([DAY, dt.date(1969, 12, 31)], pa.date64(), "date"),
    "timestamp_s": ([MOMENT.replace(microsecond=0), FIRST], pa.timestamp("s"), "timestamp_ntz"),
    "timestamp_ms": (
        [MOMENT, LAST.replace(microsecond=999_000)],
        pa.timestamp("ms"),
        "timestamp_ntz",
    ),
    "timestamp_us": ([FIRST, LAST], pa.timestamp("us"), "timestamp_ntz"),
    "timestamp_ns": ([MOMENT, dt.datetime(1969, 12, 31)], pa.timestamp("ns"), "timestamp_ntz"),
    "instant_us": (
        [FIRST.replace(tzinfo=UTC), LAST.replace(tzinfo=UTC)],
        pa.timestamp("us", "UTC"),
        "timestamp",
    ),
    "instant_ns": (
        [MOMENT.replace(tzinfo=UTC), dt.datetime(1969, 12, 31, tzinfo=UTC)],
        pa.timestamp("ns", "Europe/Berlin"),
        "timestamp",
    ),
    "duration_s": (
        [dt.timedelta(days=-1), dt.timedelta(seconds=1)],
        pa.duration("s"),
        "interval day to second",
    ),
    "duration_us": (
        [dt.timedelta(microseconds=-1), dt.timedelta(days=100_000_000)],
        pa.duration("us"),
        "interval day to second",
    ),
    "list": ([[1, None], []], pa.list_(pa.int32()), "array<int>"),
    "large_list": ([["a"], [None]], pa.large_list(pa.large_string()), "array<string>"),
    "fixed_list": ([[1, 2], [None, 3]], pa.list_(pa.uint8(), 2), "array<smallint>"),
    "list_view": ([[1.5], []], pa.list_view(pa.float64()), "array<double>"),
    "struct": (
        [{"a": 255, "b": "x"}, {"a": None, "b": None}],
        PAIR,
        "struct<a:smallint,b:string>",
    ),
    "map": (
        [[("k", MOMENT)], []],
        pa.map_(pa.string(), pa.timestamp("ns")),
        "map<string,timestamp_ntz>",
    ),
    "nested": (
        [[{"a": 1, "b": "x"}, None], [None]],
        pa.large_list(PAIR),
        "array<struct<a:smallint,b:string>>",
    ),
    "bool8": ([True, False], pa.bool8(), "boolean"),
    "uuid": ([b"\x01" * 16, b"\xff" * 16], pa.uuid(), "binary"),
    "run_ends": (["a", "b"], pa.run_end_encoded(pa.int32(), pa.string()), "string"),
    "null": ([None, None], pa.null(), "void"),
}


def array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """The values and a NULL between them, made by Arrow in the source's own type."""
    values = [values[0], None, values[1]]
    if pa.types.is_uint64(kind):
        return pa.array([None if v is None else int(v) for v in values], kind)
    if pa.types.is_float16(kind):
        return pa.array([None if v is None else np.float16(v) for v in values], kind)
    if pa.types.is_decimal128(kind):  # by its digits: Arrow refuses scales past the precision
        digits = [0 if v is None else int(v.scaleb(kind.scale, EXACT)) for v in values]
        data = b"".join(n.to_bytes(16, "little", signed=True) for n in digits)
        return pa.Array.from_buffers(kind, 3, [pa.py_buffer(b"\x05"), pa.py_buffer(data)])
    if isinstance(kind, pa.Bool8Type):
        storage = pa.array([None if v is None else int(v) for v in values], pa.int8())
        return pa.ExtensionArray.from_storage(kind, storage)
    if isinstance(kind, pa.UuidType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, pa.binary(16)))
    if pa.types.is_run_end_encoded(kind):
        return pa.RunEndEncodedArray.from_arrays([1, 2, 3], pa.array(values, kind.value_type))
    return pa.array(values, kind)


@pytest.fixture(scope="module")
def everything(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, pa.Table]:
    table = pa.table({name: array(values, kind) for name, (values, kind, _) in COLUMNS.items()})
    path = tmp_path_factory.mktemp("types") / "everything.arrow"
    with pa.OSFile(str(path), "w") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    frame = engine.read("Stored", file=path)
    return frame.schema, frame.toArrow()


@pytest.mark.parametrize("name", COLUMNS)
def test_a_type_arrives_with_its_extremes_and_nulls(name: str, everything: Any) -> None:
    values, _, spark_type = COLUMNS[name]
    schema, table = everything
    assert schema[name].dataType.simpleString() == spark_type
    low, null, high = table.column(name).to_pylist()
    assert null is None
    if spark_type == "timestamp":
        low, high = (value.astimezone(UTC) for value in (low, high))
    assert repr([low, high]) == repr(values)  # by their text: NaN, and the sign of zero


def test_a_time_of_day_arrives_where_the_engine_has_the_type(engine: Any, stored: Any) -> None:
    import pyspark

    noon = dt.time(12, 30, 15, 250_000)
    path = stored({"id": pa.array([1]), "at": pa.array([noon], pa.time64("us"))})
    lacks = "Time64" if engine.name == "lakesail" else None
    if pyspark.__version__.startswith("4.0."):
        lacks = r"column 'at' of type time64\[ns\] has no counterpart"
    if lacks:
        with pytest.raises(Exception, match=lacks):
            engine.read("Stored", file=path).collect()
        return
    assert engine.read("Stored", file=path).toArrow().column("at").to_pylist() == [noon]


@pytest.mark.parametrize(
    "kind",
    [pa.decimal256(39, 0), pa.decimal128(3, -2), pa.month_day_nano_interval()],
    ids=str,
)
def test_a_type_that_spark_has_not_is_refused_by_name(
    engine: Any, stored: Any, kind: pa.DataType
) -> None:
    path = stored({"id": pa.array([1]), "odd": pa.nulls(1, kind)})
    with pytest.raises(Exception, match=r"column 'odd' of type .* has no counterpart") as raised:
        engine.read("Stored", file=path).collect()
    assert str(kind) in str(raised.value)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (
            pa.array([1_001], pa.timestamp("ns")),
            "column 'v' came as timestamp\\[ns\\].*would be cut",
        ),
        (pa.array([MAX], pa.duration("s")), "column 'v' came as duration\\[s\\]"),
        (pa.array([[1_001]], pa.list_(pa.timestamp("ns", "UTC"))), "column 'v' came as list"),
    ],
    ids=["nanoseconds", "too long", "within a list"],
)
def test_a_value_that_would_change_is_an_error(
    engine: Any, stored: Any, values: pa.Array, complaint: str
) -> None:
    with pytest.raises(Exception, match=complaint):
        engine.read("Stored", file=stored({"v": values})).collect()


def test_nulls_where_the_source_declared_none_are_an_error(engine: Any, stored: Any) -> None:
    schema = pa.schema([pa.field("v", pa.int64(), nullable=False)])
    path = stored(pa.Table.from_arrays([pa.array([1, None])], schema=schema))
    with pytest.raises(Exception, match="'v' is declared non-nullable, and holds nulls"):
        engine.read("Stored", file=path).collect()


def test_a_schema_of_ones_own_chooses_columns_and_types(engine: Any, stored: Any) -> None:
    path = stored({"a": pa.array([1, 2]), "b": pa.array(["x", "y"]), "c": pa.array([1.5, 2.0])})
    reader = engine.session.read.format("python").schema("c double, a decimal(10,2)")
    options = {"python_module": "sources_for_spark", "python_class": "Stored", "file": path}
    rows = reader.options(**options).load().collect()
    assert [tuple(row) for row in rows] == [(1.5, Decimal("1.00")), (2.0, Decimal("2.00"))]


@pytest.mark.parametrize(
    ("ddl", "complaint"),
    [
        ("c int", "column 'c' came as double, and the schema says int32.*a fraction"),
        ("z int", "names 'z', which the source does not have; it has a, c"),
    ],
    ids=["that does not fit", "that names no column"],
)
def test_a_schema_of_ones_own_that_is_wrong_is_refused(
    engine: Any, stored: Any, ddl: str, complaint: str
) -> None:
    path = stored({"a": pa.array([1]), "c": pa.array([1.5])})
    reader = engine.session.read.format("python").schema(ddl)
    options = {"python_module": "sources_for_spark", "python_class": "Stored", "file": path}
    with pytest.raises(Exception, match=complaint):
        reader.options(**options).load().collect()
