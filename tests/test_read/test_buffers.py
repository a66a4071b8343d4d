"""Partitions share the buffers of the batches that the source yields: nothing is copied."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator
from typing import Any

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pytest

import dask_sail  # noqa: F401 - attaches dd.read_python_source

DAY = datetime.date(2024, 2, 29)
NOON = datetime.datetime(2024, 2, 29, 12)
VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int": (pa.int64(), [1, -(2**63), None]),
    "small int": (pa.uint8(), [0, 255, None]),
    "float": (pa.float64(), [1.5, float("nan"), None]),
    "string": (pa.string(), ["a", "", None]),
    "large string": (pa.large_string(), ["ü" * 40, None, "b"]),
    "binary": (pa.binary(), [b"\0", None, b""]),
    "decimal": (pa.decimal128(38, 10), [decimal.Decimal("1.5"), None, decimal.Decimal(-2)]),
    "wide decimal": (pa.decimal256(50, 5), [decimal.Decimal("1.5"), None, decimal.Decimal(0)]),
    "timestamp with zone": (pa.timestamp("us", "Europe/Vienna"), [NOON, None, NOON]),
    "timestamp": (pa.timestamp("ns"), [NOON, None, NOON]),
    "date": (pa.date32(), [DAY, None, DAY]),
    "time": (pa.time64("us"), [datetime.time(1, 2, 3, 4), None, datetime.time(0)]),
    "duration": (pa.duration("ms"), [datetime.timedelta(1), None, datetime.timedelta(0)]),
    "bool": (pa.bool_(), [True, None, False]),
    "list": (pa.list_(pa.int32()), [[1, None], None, []]),
    "struct": (
        pa.struct([("x", pa.int8()), ("y", pa.string())]),
        [{"x": 1, "y": "z"}, None, {"x": None, "y": None}],
    ),
    "map": (pa.map_(pa.string(), pa.int64()), [[("k", 1)], None, []]),
}
CHUNKS = 3


def batches() -> list[pa.RecordBatch]:
    schema = pa.schema([(name, kind) for name, (kind, _) in VALUES.items()])
    columns = {name: values * 5 for name, (_, values) in VALUES.items()}
    whole = pa.RecordBatch.from_pydict(columns, schema=schema)
    # Sliced in part: a buffer may begin before its chunk.
    return [whole.slice(0, 6), pa.RecordBatch.from_pydict(columns, schema=schema), whole.slice(6)]


YIELDED = batches()


class Source:
    """Yields the very batches that the test holds, since its tasks run in this process."""

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return YIELDED[0].schema

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        return [{}]

    def read_partition(
        self, spec: dict[str, Any], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        yield from YIELDED


def addresses(array: pa.Array) -> list[int | None]:
    return [None if buffer is None else buffer.address for buffer in array.buffers()]


@pytest.fixture(scope="module")
def partition() -> pd.DataFrame:
    frame = dd.read_python_source(Source)
    result: pd.DataFrame = frame.to_delayed()[0].compute(scheduler="synchronous")
    return result


@pytest.mark.parametrize("name", VALUES)
def test_a_column_is_the_batches_own(partition: pd.DataFrame, name: str) -> None:
    column = partition[name].array.__arrow_array__()
    assert column.type == VALUES[name][0]
    assert partition[name].dtype == pd.ArrowDtype(VALUES[name][0])
    assert [addresses(chunk) for chunk in column.chunks] == [
        addresses(batch.column(name)) for batch in YIELDED
    ]
    expected = pa.chunked_array([batch.column(name) for batch in YIELDED])
    assert str(column.to_pylist()) == str(expected.to_pylist())  # as text, since NaN is not NaN


def test_a_projection_and_a_true_filter_copy_nothing() -> None:
    frame = dd.read_python_source(Source)
    query = frame[frame.bool.isna() | frame.bool.notnull()]["string"]
    result = query.to_delayed()[0].compute(scheduler="synchronous")
    column = result.array.__arrow_array__()
    assert [addresses(chunk) for chunk in column.chunks] == [
        addresses(batch.column("string")) for batch in YIELDED
    ]
