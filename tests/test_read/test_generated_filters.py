"""Generated filters: what is pushed, and what stays, keeps the rows that pandas keeps."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_sail import Predicate, Scan

START = datetime.datetime(2024, 1, 1)
TABLE = pa.table(
    {
        "i": pa.array([None if n % 7 == 3 else n % 13 - 6 for n in range(60)], pa.int64()),
        "f": pa.array(
            [
                None if n % 6 == 1 else float("nan") if n % 9 == 4 else (n % 8) / 2 - 1
                for n in range(60)
            ],
            pa.float64(),
        ),
        "s": pa.array([None if n % 5 == 2 else "aÄ b'"[: n % 6] for n in range(60)]),
        "d": pa.array(
            [None if n % 8 == 5 else decimal.Decimal(n % 11 - 5) / 4 for n in range(60)],
            pa.decimal128(8, 2),
        ),
        "b": pa.array([None if n % 4 == 0 else n % 3 == 0 for n in range(60)]),
        "t": pa.array(
            [None if n % 9 == 0 else START + datetime.timedelta(days=n % 10) for n in range(60)],
            pa.timestamp("us"),
        ),
        "row": pa.array(range(60), pa.int64()),
    }
)
WHOLE = TABLE.to_pandas(types_mapper=pd.ArrowDtype)


class Plain:
    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return TABLE.schema

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        return [{"start": start, "rows": 17} for start in range(0, 60, 17)]

    def read_partition(
        self, spec: dict[str, Any], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        yield from TABLE.slice(spec["start"], spec["rows"]).to_batches(max_chunksize=5)


class Accepting(Plain):
    """Applies all that it is asked, and leaves out the partitions where nothing matches."""

    def plan_scan(
        self, specs: Sequence[dict[str, Any]], options: dict[str, str], scan: Scan
    ) -> tuple[list[dict[str, Any]], Sequence[Predicate]]:
        return [spec for spec in specs if self.rows(spec, scan).num_rows], scan.predicates

    def scan_partition(
        self, spec: dict[str, Any], options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        yield from self.rows(spec, scan).slice(0, scan.limit).select(scan.columns).to_batches()

    def rows(self, spec: dict[str, Any], scan: Scan) -> pa.Table:
        table = TABLE.slice(spec["start"], spec["rows"])
        for predicate in scan.predicates:
            table = table.filter(predicate.mask(table))
        return table


Filter = Callable[[Any], Any]
LITERALS: dict[str, st.SearchStrategy[Any]] = {
    "i": st.integers(-7, 7) | st.sampled_from([2.0, 2.5, -(2**60)]),
    "f": st.sampled_from([-1, 0, 0.5, 1.25, 2, 1e300]),
    "s": st.sampled_from(["", "a", "aÄ", "aÄ b'", "zz"]),
    "d": st.sampled_from([decimal.Decimal("0.25"), decimal.Decimal("-1.125"), 1, 0]),
    "t": st.integers(-1, 11).map(lambda days: pd.Timestamp(START) + pd.Timedelta(days=days)),
}
OPERATORS = ["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"]


@st.composite
def leaves(draw: st.DrawFn) -> Filter:
    column = draw(st.sampled_from(list(LITERALS)))
    kind = draw(st.sampled_from(["compare", "isin", "null", "bool", "between", "computed"]))
    if kind == "compare":
        operator, value = draw(st.sampled_from(OPERATORS)), draw(LITERALS[column])
        return lambda frame: getattr(frame[column], operator)(value)
    if kind == "isin" and column in "is":
        values = draw(st.lists(LITERALS["s"] if column == "s" else st.integers(-7, 7), max_size=4))
        return lambda frame: frame[column].isin(values)
    if kind == "between" and column in "it":
        low, high = draw(LITERALS[column]), draw(LITERALS[column])
        inclusive = draw(st.sampled_from(["both", "left", "right", "neither"]))
        return lambda frame: frame[column].between(low, high, inclusive=inclusive)
    if kind == "bool":
        return lambda frame: frame.b
    if kind == "computed":
        return lambda frame: frame.i + frame.row > 20
    if draw(st.booleans()):
        return lambda frame: frame[column].isna()
    return lambda frame: frame[column].notnull()


def combine(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    def both(left: Filter, right: Filter) -> Filter:
        return lambda frame: left(frame) & right(frame)

    def either(left: Filter, right: Filter) -> Filter:
        return lambda frame: left(frame) | right(frame)

    def inverse(one: Filter) -> Filter:
        return lambda frame: ~one(frame)

    return (
        st.builds(both, inner, inner) | st.builds(either, inner, inner) | st.builds(inverse, inner)
    )


@pytest.mark.parametrize("source", [Plain, Accepting])
@given(condition=st.recursive(leaves(), combine, max_leaves=5), kept=st.sampled_from(["row", "s"]))
@settings(max_examples=60, deadline=None)
def test_a_filter_keeps_what_pandas_keeps(source: type[Any], condition: Filter, kept: str) -> None:
    frame = dd.read_python_source(source)
    with dask.config.set(scheduler="synchronous"):
        found = frame[condition(frame)][kept].compute()
        first = frame[condition(frame)].head(3, npartitions=-1, compute=False).row.compute()
    expected = WHOLE[condition(WHOLE)]
    assert found.tolist() == expected[kept].tolist()
    assert first.tolist() == expected.row.head(3).tolist()
