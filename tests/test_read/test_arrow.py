"""Batches become frames without a changed value, and without a copy where types agree."""

import datetime as dt
import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_sail.arrow import conform, frame_schema, meta, to_frame, to_table
from dask_sail.errors import BatchError, SchemaError

D = Decimal
UTC = dt.UTC
NAN = float("nan")


def addresses(array: pa.Array | pa.ChunkedArray) -> list[int]:
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    return [b.address for chunk in chunks for b in chunk.buffers() if b is not None]


def became(values, came: pa.DataType | pa.Array, target: pa.DataType) -> list:
    """Return values after a batch of them was made to fit, checking type and null count."""
    array = values if isinstance(values, pa.Array) else pa.array(values, came)
    schema = pa.schema([("x", target)])
    batch = conform(pa.record_batch({"x": array}), schema, "rest")
    assert batch.schema.equals(schema, check_metadata=True)
    batch.validate(full=True)
    return batch.column("x").to_pylist()


def refused(values, came: pa.DataType, target: pa.DataType, match: str = "rest: ") -> str:
    with pytest.raises(BatchError, match=match) as caught:
        became(values, came, target)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return str(caught.value)


def finest_digit(value: Decimal) -> int:
    """Return the power of ten of the last digit that is not zero."""
    _, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits))
    return exponent + len(text) - len(text.rstrip("0"))


# Schemas


@pytest.mark.parametrize(
    ("kind", "carried"),
    [
        (pa.string_view(), pa.string()),
        (pa.binary_view(), pa.binary()),
        (pa.dictionary(pa.int8(), pa.large_string()), pa.large_string()),
        (pa.dictionary(pa.int8(), pa.string_view()), pa.string()),
        (pa.run_end_encoded(pa.int32(), pa.float32()), pa.float32()),
        (pa.json_(), pa.string()),
        (pa.uuid(), pa.binary(16)),
        (pa.bool8(), pa.bool_()),
        (pa.decimal32(5, 2), pa.decimal128(5, 2)),
        (pa.decimal64(10, 2), pa.decimal128(10, 2)),
        (pa.list_view(pa.string_view()), pa.list_(pa.string())),
        (pa.large_list_view(pa.int8()), pa.large_list(pa.int8())),
        (pa.list_(pa.json_(), 2), pa.list_(pa.string(), 2)),
        (
            pa.struct([pa.field("a", pa.list_(pa.json_()), metadata={"k": "v"})]),
            pa.struct([("a", pa.list_(pa.string()))]),
        ),
        (pa.map_(pa.string_view(), pa.bool8()), pa.map_(pa.string(), pa.bool_())),
        (pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("ns", "Europe/Berlin")),
        (pa.large_string(), pa.large_string()),
        (pa.decimal256(50, 2), pa.decimal256(50, 2)),
        (pa.null(), pa.null()),
    ],
    ids=str,
)
def test_a_frame_carries_types_that_pandas_works_on(kind, carried):
    schema = pa.schema([pa.field("x", kind, metadata={"k": "v"})], metadata={"pandas": "{}"})
    assert frame_schema(schema, "rest").equals(pa.schema([("x", carried)]), check_metadata=True)
    # And pandas does work on it.
    frame = pa.table({"x": pa.nulls(3, carried)}).to_pandas(types_mapper=pd.ArrowDtype)
    assert frame[frame.x.isna()].take([2, 0]).x.dtype == pd.ArrowDtype(carried)
    assert "x" in repr(frame)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"a": "int64"}, "rest: the schema must be a pyarrow.Schema, got a builtins.dict"),
        (None, "got a builtins.NoneType"),
        (
            pa.schema([("a", "int8"), ("b", "int8"), ("a", "int8")]),
            "columns are called 'a'; .*alias",
        ),
        (
            pa.schema([("u", pa.sparse_union([pa.field("a", pa.int8())]))]),
            "column 'u' .*is a union",
        ),
        (pa.schema([("l", pa.list_(pa.dense_union([pa.field("a", "int8")])))]), "column 'l'"),
        (pa.schema([("t", pa.timestamp("us", "Nowhere/Zone"))]), "column 't' .*zone.*unknown"),
        (pa.schema([("s", pa.struct([("a", "int8"), ("a", "int8")]))]), "column 's' .*called 'a'"),
    ],
)
def test_a_schema_that_no_frame_carries_is_refused_by_name(schema, message):
    with pytest.raises(SchemaError, match=message):
        frame_schema(schema, "rest")


def test_an_empty_frame_has_the_types_of_a_full_one():
    schema = pa.schema([("a", pa.int32()), ("s", pa.string()), ("m", pa.decimal128(38, 2))])
    empty = meta(schema)
    assert len(empty) == 0
    assert [str(kind) for kind in empty.dtypes] == [
        "int32[pyarrow]",
        "string[pyarrow]",
        "decimal128(38, 2)[pyarrow]",
    ]
    batch = pa.record_batch([[1], ["a"], [D(1)]], schema=schema)
    pd.testing.assert_frame_equal(to_frame([batch], schema).iloc[:0], empty)


# The layout of batches


SCHEMA = pa.schema([("a", pa.int64()), ("s", pa.string())])


def test_columns_are_matched_by_name_and_shared():
    batch = pa.record_batch({"s": ["x", None], "extra": [1, 2], "a": [1, 2]})
    fitted = conform(batch, SCHEMA, "rest")
    assert fitted.schema.equals(SCHEMA)
    assert fitted.to_pydict() == {"a": [1, 2], "s": ["x", None]}
    for name in SCHEMA.names:
        assert addresses(fitted[name]) == addresses(batch[name])


def test_metadata_of_batches_is_dropped():
    field = pa.field("a", pa.int64(), metadata={"k": "v"})
    batch = pa.record_batch([[1]], schema=pa.schema([field], metadata={"k": "v"}))
    target = pa.schema([("a", pa.int64())])
    assert conform(batch, target, "rest").schema.equals(target, check_metadata=True)


def test_rows_survive_without_columns():
    batch = pa.record_batch({"a": [1, 2, 3]})
    assert conform(batch, pa.schema([]), "rest").num_rows == 3


def test_a_missing_column_matters_where_there_are_rows():
    batch = pa.record_batch({"a": [1]})
    with pytest.raises(BatchError, match=r"rest, partition {'page': 1}: a batch lacks 's'"):
        conform(batch, SCHEMA, "rest", {"page": 1})
    empty = conform(batch.slice(0, 0), SCHEMA, "rest")
    assert (empty.num_rows, empty.schema) == (0, SCHEMA)
    assert conform(pa.RecordBatch.from_arrays([], names=[]), SCHEMA, "rest").schema == SCHEMA


def test_a_column_that_comes_twice_is_refused():
    batch = pa.record_batch([[1], [2], ["x"]], names=["a", "a", "s"])
    with pytest.raises(BatchError, match="several columns called 'a'"):
        conform(batch, SCHEMA, "rest")
    kept = conform(batch, pa.schema([("s", pa.string())]), "rest")
    assert kept.to_pydict() == {"s": ["x"]}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.int64(), [1, None]),
        (pa.list_(pa.field("item", pa.int64(), nullable=False)), [[1, 2], [None]]),
        (pa.struct([pa.field("f", pa.int64(), nullable=False)]), [{"f": 1}, {"f": None}]),
        (
            pa.map_(pa.string(), pa.field("value", pa.int64(), nullable=False)),
            [[("k", 1)], [("k", None)]],
        ),
    ],
)
@pytest.mark.parametrize("came", ["same type", "nullable type"])
def test_a_null_where_none_was_declared_is_an_error(kind, values, came):
    top = not pa.types.is_nested(kind)
    array = pa.array(values, kind)
    if came == "nullable type" and not top:
        loose = {
            "list": pa.list_(pa.int64()),
            "struct": pa.struct([("f", pa.int64())]),
            "map": pa.map_(pa.string(), pa.int64()),
        }[str(kind).split("<")[0]]
        array = pa.array(values, loose)
    schema = pa.schema([pa.field("x", kind, nullable=not top)])
    with pytest.raises(BatchError, match="non-nullable, and holds nulls"):
        conform(pa.record_batch({"x": array}), schema, "rest")
    good = conform(pa.record_batch({"x": array.slice(0, 1)}), schema, "rest")
    assert good["x"].to_pylist() == values[:1]


def test_a_null_struct_may_hide_nulls_of_non_nullable_fields():
    kind = pa.struct([pa.field("f", pa.int64(), nullable=False)])
    assert became([{"f": 1}, None], pa.struct([("f", pa.int32())]), kind) == [{"f": 1}, None]
    assert became([{"f": 1}, None], kind, kind) == [{"f": 1}, None]


# Values that stay the same


@pytest.mark.parametrize(
    ("came", "target", "values", "expected"),
    [
        (pa.null(), pa.decimal128(5, 2), [None, None], None),
        (pa.null(), pa.list_(pa.int8()), [None], None),
        (pa.int64(), pa.int8(), [-128, 127, None], None),
        (pa.uint64(), pa.int64(), [2**63 - 1, None], None),
        (pa.int64(), pa.float64(), [2**53, -(2**53), 2**60, None], None),
        (pa.int64(), pa.float32(), [2**24, None], None),
        (pa.float64(), pa.int64(), [-(2.0**53), 2.0**62, None, -0.0], [-(2**53), 2**62, None, 0]),
        (pa.float32(), pa.float64(), [0.5, None, np.inf], None),
        (pa.float64(), pa.float32(), [0.5, None, -np.inf], None),
        (pa.float16(), pa.float64(), [np.float16(0.1), None], [float(np.float16(0.1)), None]),
        (pa.int64(), pa.decimal128(5, 2), [999, -999, None], [D("999.00"), D("-999.00"), None]),
        (pa.uint64(), pa.decimal128(20, 0), [2**64 - 1], [D(2**64 - 1)]),
        (pa.int64(), pa.decimal256(76, 50), [2**63 - 1], [D(2**63 - 1)]),
        (
            pa.float64(),
            pa.decimal128(10, 2),
            [12.1, None, 929.31, -0.0],
            ["12.10", None, "929.31", "0"],
        ),
        (pa.float64(), pa.decimal128(38, 18), [12.1, 1e-7, 1e19], ["12.1", "0.0000001", "1e19"]),
        (pa.float64(), pa.decimal128(38, 0), [2.0**70, 1.0, None], [2**70, 1, None]),
        (pa.float32(), pa.decimal128(10, 2), [0.1, 16777216.0], ["0.1", "16777216"]),
        (pa.decimal128(10, 2), pa.int32(), [D("7.00"), None], [7, None]),
        (pa.decimal128(10, 2), pa.float64(), [D("929.31"), None, D("12.10")], [929.31, None, 12.1]),
        (pa.decimal128(38, 18), pa.float64(), [D("0.1"), D("1e-18")], [0.1, 1e-18]),
        (pa.decimal128(10, 3), pa.decimal128(4, 2), [D("1.100"), None], [D("1.10"), None]),
        (pa.decimal32(5, 2), pa.decimal128(5, 2), [D("1.10"), None], None),
        (pa.decimal256(50, 2), pa.decimal128(38, 2), [D("1.10"), None], None),
        (pa.string(), pa.large_string(), ["a", None, "é"], None),
        (pa.large_string(), pa.string(), ["a", None, "é"], None),
        (pa.string_view(), pa.string(), ["a", None, "longer than twelve"], None),
        (pa.string_view(), pa.large_string(), ["a", None], None),
        (pa.binary(2), pa.binary(), [b"ab", None], None),
        (pa.binary_view(), pa.binary(), [b"ab", None], None),
        (pa.large_binary(), pa.binary(2), [b"ab", None], None),
        (pa.date32(), pa.date64(), [dt.date(2020, 1, 1), None], None),
        (
            pa.date32(),
            pa.timestamp("us"),
            [dt.date(2020, 1, 1), None],
            [dt.datetime(2020, 1, 1), None],
        ),
        (
            pa.timestamp("ns"),
            pa.date32(),
            [dt.datetime(1960, 1, 2), None],
            [dt.date(1960, 1, 2), None],
        ),
        (pa.timestamp("us"), pa.timestamp("s"), [dt.datetime(1960, 1, 1, 0, 0, 1)], None),
        (
            pa.timestamp("us", "Europe/Berlin"),
            pa.timestamp("ms", "America/New_York"),
            [dt.datetime(2020, 1, 1, 12, tzinfo=UTC), None],
            None,
        ),
        (
            pa.timestamp("us", "UTC"),
            pa.timestamp("us"),
            [dt.datetime(2020, 1, 1, 12, tzinfo=UTC)],
            [dt.datetime(2020, 1, 1, 12)],
        ),
        (pa.time64("us"), pa.time32("s"), [dt.time(1, 2, 3), None], None),
        (pa.time32("ms"), pa.time64("ns"), [dt.time(1, 2, 3, 4000), None], None),
        (pa.duration("us"), pa.duration("ms"), [dt.timedelta(milliseconds=-1), None], None),
        (pa.string(), pa.int64(), ["007", "+7", "-0", None], [7, 7, 0, None]),
        (pa.string(), pa.uint64(), [str(2**64 - 1)], [2**64 - 1]),
        (
            pa.large_string(),
            pa.decimal128(10, 2),
            ["1.5", "-.50", "1e2", "007", "1.10000", "3.", None],
            ["1.5", "-.5", "100", "7", "1.1", "3", None],
        ),
        (pa.string(), pa.date32(), ["2020-02-29", None], [dt.date(2020, 2, 29), None]),
        (
            pa.string_view(),
            pa.time64("us"),
            ["10:20", "10:20:30", "10:20:30.5", "23:59:59.999999000", None],
            [
                dt.time(10, 20),
                dt.time(10, 20, 30),
                dt.time(10, 20, 30, 500_000),
                dt.time(23, 59, 59, 999_999),
                None,
            ],
        ),
    ],
    ids=str,
)
def test_a_value_that_stays_the_same_is_taken_over(came, target, values, expected):
    if expected is None:
        expected = values
    elif pa.types.is_decimal(target):
        expected = [None if value is None else D(value) for value in expected]
    assert became(values, came, target) == expected
    padded = pa.concat_arrays([pa.nulls(1, came), pa.array(values, came)]).slice(1)
    assert became(padded, came, target) == expected  # from a slice
    assert became([], came, target) == []


def test_nan_stays_nan():
    narrow, infinite = became([NAN, np.inf], pa.float64(), pa.float32())
    assert narrow != narrow
    assert infinite == np.inf


NOON = dt.datetime(2020, 1, 1, 12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-01-01", NOON.replace(hour=0)),
        ("2020-01-01T12:00", NOON),
        ("2020-01-01 12:00:00", NOON),
        ("2020-01-01T12:00:00Z", NOON),
        ("2020-01-01T12:00Z", NOON),
        ("2020-01-01T12:00:00+00:00", NOON),
        ("2020-01-01T12:00:00.5", NOON.replace(microsecond=500_000)),
        ("2020-01-01T12:00:00.123456Z", NOON.replace(microsecond=123_456)),
        ("2020-01-01T12:00:00.120000000Z", NOON.replace(microsecond=120_000)),
        ("2020-01-01T12:00:00.000000000", NOON),
        ("2020-01-01T12:00:10.000Z", NOON.replace(second=10)),
    ],
)
def test_iso_text_becomes_the_wall_clock_it_spells(text, expected):
    mixed = [text, None, "2020-01-01T12:00:00Z", "2020-01-01 12:00:00"]
    wanted = [expected, None, NOON, NOON]
    assert became(mixed, pa.string(), pa.timestamp("us")) == wanted
    encoded = pa.array(mixed).dictionary_encode()
    assert became(encoded, pa.string(), pa.timestamp("us")) == wanted


def test_iso_text_with_a_zone_becomes_an_instant():
    texts = [
        "2020-01-01T12:00:00Z",
        "2020-01-01T14:00:00.000+02:00",
        "2020-01-01 07:00:00-0500",
        "2020-01-01T12:00Z",
        None,
    ]
    for zone in ("UTC", "Europe/Berlin"):
        instants = became(texts, pa.string(), pa.timestamp("ms", zone))
        assert instants == [NOON.replace(tzinfo=UTC)] * 4 + [None]


@given(
    moment=st.datetimes(min_value=dt.datetime(1000, 1, 1)),
    digits=st.integers(0, 9),
    separator=st.sampled_from("T "),
    zone=st.sampled_from(["", "Z", "+00:00"]),
)
def test_any_iso_text_is_read_as_python_reads_it(moment, digits, separator, zone):
    fraction = f"{moment.microsecond:06}000"[:digits]
    spelt = f"{moment:%Y-%m-%d}{separator}{moment:%H:%M:%S}{'.' if digits else ''}{fraction}{zone}"
    expected = dt.datetime.fromisoformat(spelt).replace(tzinfo=None)
    assert became([spelt], pa.string(), pa.timestamp("us")) == [expected]


@pytest.mark.parametrize(
    ("came", "values"),
    [
        (None, pa.array(["a", None, "a"]).dictionary_encode()),
        (None, pa.array(["a", None, "a"]).cast(pa.string_view())),
        (None, pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), ["a", None])),
        (
            None,
            pa.RunEndEncodedArray.from_arrays(
                pa.array([1, 2, 3, 4], pa.int32()), pa.array(["z", "a", None, "a"])
            ).slice(1),
        ),
        (None, pa.ExtensionArray.from_storage(pa.json_(), pa.array(["a", None, "a"]))),
    ],
    ids=["dictionary", "view", "null in dictionary", "run ends", "extension"],
)
def test_encodings_are_decoded(came, values):
    assert became(values, values.type, pa.string()) == ["a", None, "a"]
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 3], pa.int32()), values)
    assert became(lists, lists.type, pa.list_(pa.string())) == [["a"], [None, "a"]]


def test_bool8_becomes_bool():
    stored = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None, 5], pa.int8()))
    assert became(stored, stored.type, pa.bool_()) == [True, False, None, True]


NESTED = [
    (pa.list_(pa.int32()), pa.list_(pa.int64()), [[1, 2], None, [], [3, None]]),
    (pa.large_list(pa.string_view()), pa.list_(pa.string()), [["a"], None, [None]]),
    (pa.list_view(pa.int8()), pa.list_(pa.int8()), [[1], None, [2, 3], []]),
    (pa.large_list_view(pa.int8()), pa.large_list(pa.int8()), [[1], None, [2, 3]]),
    (pa.list_(pa.int8(), 2), pa.list_(pa.int64(), 2), [[1, 2], None, [3, None]]),
    (pa.list_(pa.int8(), 2), pa.large_list(pa.int8()), [[1, 2], None]),
    (pa.list_(pa.int8()), pa.list_(pa.int16(), 1), [[1], None, [2]]),
    (
        pa.struct([("b", pa.int8()), ("a", pa.string())]),
        pa.struct([("a", pa.date32()), ("b", pa.int64())]),
        [{"b": 1, "a": "2020-01-01"}, None, {"b": None, "a": None}],
    ),
    (
        pa.map_(pa.string(), pa.int32()),
        pa.map_(pa.large_string(), pa.int64()),
        [[("a", 1), ("b", None)], None, [], [("c", 3)]],
    ),
    (
        pa.list_(pa.struct([("a", pa.list_(pa.float64()))])),
        pa.list_(pa.struct([("a", pa.list_(pa.decimal128(4, 1)))])),
        [[{"a": [0.5, None]}, None], None, [{"a": None}]],
    ),
]


@pytest.mark.parametrize(("came", "target", "values"), NESTED, ids=str)
def test_nested_values_are_converted_part_by_part(came, target, values):
    expected = pa.array(values, came).to_pylist()
    if pa.types.is_struct(came):
        expected[0]["a"] = dt.date(2020, 1, 1)
    array = pa.array(values, came)
    assert became(array, came, target) == expected
    assert became(array.slice(1), came, target) == expected[1:]
    assert became(array.slice(1, 1), came, target) == expected[1:2]
    assert became(array.slice(0, 0), came, target) == []


def test_what_lies_under_a_null_need_not_convert():
    hidden = pa.array(["no date", "2020-01-01"])
    structs = pa.StructArray.from_arrays([hidden], ["a"], mask=pa.array([True, False]))
    target = pa.struct([("a", pa.date32())])
    assert became(structs, structs.type, target) == [None, {"a": dt.date(2020, 1, 1)}]
    lists = pa.ListArray.from_arrays(
        pa.array([0, 1, 2], pa.int32()), hidden, mask=pa.array([True, False])
    )
    assert became(lists, lists.type, pa.list_(pa.date32())) == [None, [dt.date(2020, 1, 1)]]


@given(values=st.lists(st.floats(width=64) | st.none()), scale=st.integers(0, 18))
def test_a_float_comes_back_from_its_decimal_or_is_refused(values, scale):
    try:
        decimals = became(values, pa.float64(), pa.decimal128(38, scale))
    except BatchError:
        present = [value for value in values if value is not None]
        exact = [D(repr(v)) if np.isfinite(v) and abs(v) <= 2**53 else D(v) for v in present]
        assert any(
            not d.is_finite() or d.adjusted() >= 38 - scale or -d.as_tuple().exponent > scale
            for d in exact
        )
        return
    assert [None if value is None else float(value) for value in decimals] == values


@given(unscaled=st.lists(st.integers(-(10**20), 10**20) | st.none()), scale=st.integers(0, 18))
def test_a_decimal_comes_back_from_its_double_or_is_refused(unscaled, scale):
    values = [None if v is None else D(f"{v}e-{scale}") for v in unscaled]
    try:
        doubles = became(values, pa.decimal128(38, scale), pa.float64())
    except BatchError:
        assert any(value is not None and D(repr(float(value))) != value for value in values)
        return
    # Python rounds correctly, Arrow's own cast does not always.
    assert doubles == [None if value is None else float(value) for value in values]


@given(
    unscaled=st.lists(st.integers(-(10**38) + 1, 10**38 - 1), min_size=1, max_size=3),
    scale=st.integers(0, 38),
    wide=st.booleans(),
    target_scale=st.integers(0, 38),
)
def test_a_decimal_keeps_its_value_or_is_refused(unscaled, scale, wide, target_scale):
    # Arrow's own cast to a larger scale wraps around in silence.
    values = [D(f"{value}e-{scale}") for value in unscaled]
    target = pa.decimal256(76, target_scale) if wide else pa.decimal128(38, target_scale)
    try:
        assert became(values, pa.decimal128(38, scale), target) == values
    except BatchError:
        digits = 76 if wide else 38
        assert any(
            value.adjusted() >= digits - target_scale or finest_digit(value) < -target_scale
            for value in values
        )


@given(
    digits=st.from_regex(r"\A[+-]?0{0,3}[0-9]{1,90}(\.[0-9]{0,40})?(e-?[0-9]{1,2})?\Z"),
    target=st.sampled_from(
        [pa.decimal128(38, 0), pa.decimal128(38, 18), pa.decimal256(76, 0), pa.decimal256(76, 30)]
    ),
)
def test_text_is_the_decimal_that_it_spells_or_is_refused(digits, target):
    # Arrow's own parser wraps around in silence past 38 or 76 digits.
    spelt = D(digits)
    try:
        assert became([digits], pa.string(), target) == [spelt]
    except BatchError:
        finest = -target.scale
        too_large = spelt and spelt.adjusted() >= target.precision - target.scale
        too_fine = finest_digit(spelt) < finest
        many = len(spelt.as_tuple().digits) > 38  # zeros at the end that Arrow has no room for
        assert too_large or too_fine or many


@pytest.mark.parametrize(
    ("came", "target", "value"),
    [
        (pa.int64(), pa.decimal128(38, 37), 35),
        (pa.decimal128(25, 19), pa.decimal128(38, 35), D("-759068.4398041879638741349")),
        (pa.string(), pa.decimal128(38, 0), "3e38"),
        (pa.string(), pa.decimal128(38, 0), "1" + "7" * 39),
        (pa.string(), pa.decimal256(76, 0), "5" + "7" * 79),
        (pa.float64(), pa.decimal128(38, 0), 3e38),
    ],
    ids=str,
)
def test_a_decimal_that_arrow_would_wrap_around_is_refused(came, target, value):
    refused([value], came, target, "value 0, from 0, is ")


# Values that would change


@pytest.mark.parametrize(
    ("came", "target", "values"),
    [
        (pa.int64(), pa.int8(), [1, 128]),
        (pa.int64(), pa.uint64(), [1, -1]),
        (pa.int64(), pa.float64(), [1, 2**53 + 1]),
        (pa.int64(), pa.float64(), [1, 2**63 - 1]),
        (pa.uint64(), pa.float64(), [1, 2**64 - 1]),
        (pa.int32(), pa.float32(), [1, 2**24 + 1]),
        (pa.float64(), pa.int64(), [1.0, 1.5]),
        (pa.float64(), pa.int64(), [1.0, NAN]),
        (pa.float64(), pa.int64(), [1.0, 2.0**63]),
        (pa.float64(), pa.float32(), [1.0, 0.1]),
        (pa.float64(), pa.float32(), [1.0, 1e300]),
        (pa.float64(), pa.decimal128(10, 2), [1.0, 12.111]),
        (pa.float64(), pa.decimal128(10, 2), [1.0, NAN]),
        (pa.float64(), pa.decimal128(10, 2), [1.0, np.inf]),
        (pa.float64(), pa.decimal128(10, 2), [1.0, 1e20]),
        (pa.int64(), pa.decimal128(5, 2), [1, 1000]),
        (pa.decimal128(10, 2), pa.int64(), [D(1), D("1.50")]),
        (pa.decimal128(10, 2), pa.int8(), [D(1), D(128)]),
        (pa.decimal128(38, 2), pa.float64(), [D(1), D("12345678901234567.89")]),
        (pa.decimal128(10, 2), pa.float32(), [D(1), D("99999999.99")]),
        (pa.decimal128(10, 3), pa.decimal128(10, 2), [D(1), D("1.101")]),
        (pa.decimal128(10, 2), pa.decimal128(4, 2), [D(1), D(100)]),
        (pa.string(), pa.int64(), ["1", "0x10"]),
        (pa.string(), pa.int64(), ["1", "1.0"]),
        (pa.string(), pa.int64(), ["1", " 1"]),
        (pa.string(), pa.int64(), ["1", ""]),
        (pa.string(), pa.int64(), ["1", "1\n"]),
        (pa.string(), pa.int8(), ["1", "128"]),
        (pa.string(), pa.decimal128(10, 2), ["1", "1.234"]),
        (pa.string(), pa.decimal128(10, 2), ["1", "NaN"]),
        (pa.string(), pa.decimal128(10, 2), ["1", "1,5"]),
        (pa.string(), pa.decimal128(10, 2), ["1", "123456789"]),
        (pa.string(), pa.date32(), ["2020-01-01", "2020-02-30"]),
        (pa.string(), pa.date32(), ["2020-01-01", "2020-01-01T00:00:00"]),
        (pa.string(), pa.time64("us"), ["10:20", "24:00:00"]),
        (pa.string(), pa.time64("us"), ["10:20", "10:20Z"]),
        (pa.string(), pa.time32("s"), ["10:20", "10:20:30.5"]),
        (pa.string(), pa.timestamp("us"), ["2020-01-01", "2020-01-01T12:00:00+02:00"]),
        (pa.string(), pa.timestamp("us"), ["2020-01-01", "2020-01-01T12:00:00.1234567"]),
        (pa.string(), pa.timestamp("us"), ["2020-01-01", "2020-01-01T12"]),
        (pa.string(), pa.timestamp("us"), ["2020-01-01", "01/02/2020"]),
        (pa.string(), pa.timestamp("us"), ["2020-01-01", "2020-01-01T24:00:00"]),
        (pa.string(), pa.timestamp("ns"), ["2020-01-01", "1600-01-01"]),
        (
            pa.string(),
            pa.timestamp("us", "UTC"),
            ["2020-01-01T12:00:00Z", "2020-01-01T12:00:00"],
        ),
        (pa.timestamp("us"), pa.date32(), [dt.datetime(2020, 1, 1), NOON]),
        (pa.timestamp("us"), pa.timestamp("s"), [NOON, NOON.replace(microsecond=1)]),
        (pa.timestamp("s"), pa.timestamp("ns"), [NOON, dt.datetime(1600, 1, 1)]),
        (pa.date32(), pa.timestamp("ns"), [dt.date(2020, 1, 1), dt.date(1600, 1, 1)]),
        (pa.time64("us"), pa.time32("s"), [dt.time(1), dt.time(1, 2, 3, 4)]),
        (
            pa.duration("us"),
            pa.duration("s"),
            [dt.timedelta(1), dt.timedelta(microseconds=1)],
        ),
        (pa.binary(), pa.binary(2), [b"ab", b"abc"]),
        (pa.list_(pa.int64()), pa.list_(pa.int8()), [[1, 128]]),
        (pa.struct([("a", pa.string())]), pa.struct([("a", pa.int8())]), [{"a": "1"}, {"a": "x"}]),
        (
            pa.map_(pa.string(), pa.int64()),
            pa.map_(pa.string(), pa.int8()),
            [[("a", 1), ("b", 999)]],
        ),
    ],
    ids=str,
)
def test_a_value_that_would_change_is_an_error_that_points_at_it(came, target, values):
    refused(values, came, target, "value 1, from 0, is ")


@pytest.mark.parametrize(
    ("came", "target"),
    [
        (pa.string(), pa.bool_()),
        (pa.int64(), pa.bool_()),
        (pa.bool_(), pa.int64()),
        (pa.int64(), pa.string()),
        (pa.binary(), pa.string()),
        (pa.string(), pa.binary()),
        (pa.string(), pa.float64()),
        (pa.int64(), pa.timestamp("us")),
        (pa.int64(), pa.date32()),
        (pa.int64(), pa.duration("us")),
        (pa.date32(), pa.string()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us", "Europe/Berlin"), pa.timestamp("us")),
        (pa.timestamp("us", "UTC"), pa.date32()),
        (pa.date32(), pa.timestamp("us", "UTC")),
        (pa.list_(pa.int64()), pa.int64()),
        (pa.int64(), pa.list_(pa.int64())),
        (pa.list_(pa.int64()), pa.struct([("a", pa.int64())])),
    ],
    ids=str,
)
def test_types_that_do_not_go_together_are_named(came, target):
    text = refused([None], came, target)
    assert f"rest: column 'x' came as {came}, and the schema says {target}: " in text
    assert "no lossless conversion" in text or "has a zone" in text


def test_a_structs_fields_must_be_those_declared():
    came = pa.struct([("a", pa.int8()), ("b", pa.int8())])
    refused([{"a": 1, "b": 2}], came, pa.struct([("a", pa.int8())]), r"fields are \['a', 'b'\]")


@pytest.mark.parametrize(
    ("came", "target", "values", "shape"),
    [
        (pa.string(), pa.date32(), ["Geheim-4711"], "aaaaaa-9999"),
        (pa.string(), pa.int64(), ["4711€é"], "9999€a"),
        (pa.float64(), pa.int64(), [4711.25], "a fraction"),
        (pa.float64(), pa.decimal128(4, 2), [4711.0], "a whole number"),
        (pa.float64(), pa.int64(), [NAN], "NaN"),
        (pa.decimal128(10, 2), pa.int64(), [D("4711.25")], "a fraction"),
        (pa.timestamp("us"), pa.date32(), [dt.datetime(4711, 1, 1, 12)], "a timestamp"),
        (pa.int64(), pa.int8(), [4711], "a value of type int64"),
    ],
)
def test_an_error_tells_the_kind_of_value_and_never_the_value(came, target, values, shape):
    text = refused(values, came, target, shape)
    assert "4711" not in text
    assert "Geheim" not in text


# Frames


def several(kind: pa.DataType, values: list) -> list[pa.RecordBatch]:
    """Two batches, the second a slice, so that offsets count."""
    array = pa.array([*values, None, *values], kind)
    return [pa.record_batch({"x": array}), pa.record_batch({"x": array}).slice(1, len(array) - 2)]


SHARED = [
    *((kind, [1, 0, 3]) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *((kind, [1, 0, 3]) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
    *((kind, [1.5, NAN]) for kind in (pa.float32(), pa.float64())),
    (pa.float16(), [np.float16(1.5)]),
    (pa.bool_(), [True, False]),
    *((kind, ["a", "", "é"]) for kind in (pa.string(), pa.large_string())),
    *((kind, [b"ab", b"cd"]) for kind in (pa.binary(), pa.large_binary(), pa.binary(2))),
    (pa.decimal128(10, 2), [D("1.10"), D("-2.5")]),
    (pa.decimal256(50, 2), [D("1.10")]),
    *((kind, [dt.date(2020, 1, 1)]) for kind in (pa.date32(), pa.date64())),
    *((pa.timestamp(unit), [dt.datetime(2020, 1, 1)]) for unit in ("s", "ms", "us", "ns")),
    *((pa.timestamp(unit, "Europe/Berlin"), [NOON.replace(tzinfo=UTC)]) for unit in ("us", "ns")),
    *((pa.duration(unit), [dt.timedelta(1)]) for unit in ("s", "ms", "us", "ns")),
    *((kind, [dt.time(1, 2, 3)]) for kind in (pa.time32("s"), pa.time32("ms"))),
    *((kind, [dt.time(1, 2, 3)]) for kind in (pa.time64("us"), pa.time64("ns"))),
    (pa.list_(pa.int64()), [[1, None], []]),
    (pa.large_list(pa.string()), [["a"], []]),
    (pa.list_(pa.int8(), 2), [[1, 2]]),
    (pa.struct([("a", pa.int64()), ("b", pa.string())]), [{"a": 1, "b": "x"}]),
    (pa.map_(pa.string(), pa.int64()), [[("a", 1)]]),
    (pa.month_day_nano_interval(), [pa.scalar((1, 2, 3), pa.month_day_nano_interval())]),
    (pa.null(), [None]),
]


@pytest.mark.parametrize(("kind", "values"), SHARED, ids=[str(kind) for kind, _ in SHARED])
def test_a_frame_shares_the_buffers_of_its_batches_and_gives_them_back(kind, values):
    batches = several(kind, values)
    schema = pa.schema([("x", kind)])
    fitted = [conform(batch, schema, "rest") for batch in batches]
    frame = to_frame(fitted, schema)
    assert frame.x.dtype == pd.ArrowDtype(kind)
    assert frame.index.equals(pd.RangeIndex(sum(batch.num_rows for batch in batches)))
    expected = [address for batch in batches for address in addresses(batch["x"])]
    assert addresses(pa.chunked_array(frame.x.array.__arrow_array__())) == expected
    table = to_table(frame)
    assert addresses(table["x"]) == expected
    assert table.schema.equals(schema, check_metadata=True)
    assert str(table.to_pylist()) == str(pa.Table.from_batches(batches).to_pylist())


def test_no_batches_give_an_empty_frame():
    pd.testing.assert_frame_equal(to_frame([], SCHEMA), meta(SCHEMA))
    assert to_frame(iter([]), pa.schema([])).shape == (0, 0)


def test_a_frame_without_columns_keeps_its_rows_there_and_back():
    batch = pa.record_batch({"a": [1, 2]}).select([])
    frame = to_frame([batch, batch], pa.schema([]))
    assert frame.index.equals(pd.RangeIndex(4))
    assert frame.shape == (4, 0)
    table = to_table(frame)
    assert (table.num_rows, table.num_columns) == (4, 0)


def test_very_many_small_batches_become_few_chunks():
    schema = pa.schema([("a", pa.int64()), ("s", pa.string())])
    batches = (pa.record_batch([[i], [str(i)]], schema=schema) for i in range(1000))
    frame = to_frame(batches, schema)
    assert frame.a.tolist() == list(range(1000))
    assert frame.s.tolist() == [str(i) for i in range(1000)]
    assert to_table(frame)["a"].num_chunks <= 256


def test_large_batches_among_small_ones_are_never_copied():
    schema = pa.schema([("a", pa.int64())])
    large = pa.record_batch([np.arange(200_000)], schema=schema)
    small = [pa.record_batch([[-1]], schema=schema)] * 300
    frame = to_frame([*small, large, *small], schema)
    chunks = to_table(frame)["a"].chunks
    assert len(chunks) <= 256
    (biggest,) = [chunk for chunk in chunks if len(chunk) == 200_000]
    assert addresses(biggest) == addresses(large["a"])
    assert frame.a.tolist() == [-1] * 300 + list(range(200_000)) + [-1] * 300


def test_any_frame_becomes_a_table():
    frame = pd.DataFrame({"a": [1, 2], "s": ["x", None]}, index=[5, 6])
    table = to_table(frame)
    assert table.schema.metadata is None
    assert table.to_pydict() == {"a": [1, 2], "s": ["x", None]}
    typed = to_table(frame, pa.schema([("a", pa.int8()), ("s", pa.string())]))
    assert typed.schema.types == [pa.int8(), pa.string()]
