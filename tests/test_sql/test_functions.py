"""Functions of a person's own: right with any number of partitions, and their mistakes by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from datafusion.user_defined import Accumulator

import dask_sail

FLOAT = pa.float64()
ROWS = pa.table(
    {
        "id": range(100),
        "g": [i % 3 for i in range(100)],
        "x": [None if i % 7 == 0 else float(i) for i in range(100)],
    }
)


class Mean(Accumulator):
    """The mean of what is not NULL, NULL where there is nothing."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def update(self, values: pa.Array) -> None:
        self.total += pc.sum(values, min_count=0).as_py() or 0.0
        self.count += len(values) - values.null_count

    def state(self) -> list[pa.Scalar]:
        return [pa.scalar(self.total), pa.scalar(self.count)]

    def merge(self, states: list[pa.Array]) -> None:
        self.total += sum(states[0].to_pylist())
        self.count += sum(states[1].to_pylist())

    def evaluate(self) -> pa.Scalar:
        return pa.scalar(self.total / self.count if self.count else None, FLOAT)


@pytest.fixture(params=["threads", "sync"])
def ctx(request: pytest.FixtureRequest) -> Iterator[dask_sail.SQLContext]:
    frame = dd.from_pandas(ROWS.to_pandas(types_mapper=pd.ArrowDtype), npartitions=5)
    with dask.config.set(scheduler=request.param):
        yield dask_sail.SQLContext({"t": frame}, target_partitions=3)


def aggregate(ctx: dask_sail.SQLContext, accumulator: Any, name: str) -> None:
    ctx.register_udaf(
        accumulator,
        name,
        input_types=[FLOAT],
        return_type=FLOAT,
        state_types=[FLOAT, pa.int64()],
    )


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT g, {}(x) AS r FROM t GROUP BY g ORDER BY g",
        "SELECT {}(x) AS r FROM t",
        "SELECT {}(x) AS r FROM t WHERE id < 0",
        "SELECT g, {}(x) AS r FROM t WHERE id < 0 GROUP BY g",
        "SELECT {}(x) FILTER (WHERE id > 50) AS r FROM t",
        "SELECT {}(x) AS r FROM t WHERE x IS NULL",
        "SELECT id, {}(x) OVER (PARTITION BY g) AS r FROM t ORDER BY id LIMIT 5",
    ],
)
def test_an_aggregate_is_what_the_built_in_one_is(sql: str, ctx: dask_sail.SQLContext) -> None:
    aggregate(ctx, Mean, "mine")
    got, wanted = (ctx.to_arrow(sql.format(name)).to_pydict() for name in ("mine", "avg"))
    assert got.pop("r") == pytest.approx(wanted.pop("r"))
    assert got == wanted


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x.cast(pa.int64()), "returned int64 in place of its return_type double"),
        (lambda x: x.slice(1), "returned 19 values for 20 rows"),
        (lambda x: pa.concat_arrays([x, x]), "returned 40 values for 20 rows"),
        (lambda x: x.to_pylist(), "must return a pyarrow.Array, got list"),
        (lambda x: None, "must return a pyarrow.Array, got NoneType"),
        (lambda x: {}["no 'such' \"key\"\n"], "raised KeyError('no \\'such\\' \"key\"\\n')"),
    ],
)
@pytest.mark.parametrize("sql", ["SELECT f(x) FROM t", "SELECT sum(f(x)) FROM t WHERE f(x) > 1"])
def test_a_function_that_errs_is_named(
    function: Any, said: str, sql: str, ctx: dask_sail.SQLContext
) -> None:
    ctx.register_udf(function, "f", input_types=[FLOAT], return_type=FLOAT)
    with pytest.raises(dask_sail.SQLExecutionError) as caught:
        ctx.to_arrow(sql)
    assert f"function 'f' {said}" in str(caught.value)
    assert "DataFusion" not in str(caught.value)


class Raises(Mean):
    def update(self, values: pa.Array) -> None:
        raise LookupError("no such rate")


class OfAnotherType(Mean):
    def evaluate(self) -> Any:
        return pa.scalar(3)


@pytest.mark.parametrize(
    ("accumulator", "said"),
    [
        (Raises, "function 'agg' raised LookupError('no such rate')"),
        (OfAnotherType, "evaluate() of function 'agg' gave int64 in place of double"),
    ],
)
def test_an_aggregate_that_errs_is_named(
    accumulator: Any, said: str, ctx: dask_sail.SQLContext
) -> None:
    aggregate(ctx, accumulator, "agg")
    with pytest.raises(dask_sail.SQLExecutionError) as caught:
        ctx.to_arrow("SELECT g, agg(x) AS r FROM t GROUP BY g")
    assert said in str(caught.value)


def test_what_can_never_run_is_refused_at_once(ctx: dask_sail.SQLContext) -> None:
    import threading

    lock = threading.Lock()

    class NoAccumulator:
        pass

    class Wants(Mean):
        def __init__(self, something: int) -> None:
            super().__init__()

    with pytest.raises(dask_sail.OptionError, match=r"accumulator.*NoAccumulator without update"):
        aggregate(ctx, NoAccumulator, "agg")
    with pytest.raises(dask_sail.OptionError, match=r"accumulator.*TypeError.*something"):
        aggregate(ctx, Wants, "agg")
    with pytest.raises(dask_sail.OptionError, match=r"function.*cannot travel.*lock"):
        ctx.register_udf(lambda x: lock and x, "f", input_types=[FLOAT], return_type=FLOAT)
    # Other queries go on.
    assert ctx.to_arrow("SELECT count(*) AS n FROM t").to_pydict() == {"n": [100]}
