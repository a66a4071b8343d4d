"""Sums, means and variances of Arrow floats with NaN and NULL, against pandas on all rows."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

import dask_sail  # noqa: F401 - what is tested is registered by it
from dask_sail import reductions

NAN = math.nan


def frame(**columns: pa.Array) -> pd.DataFrame:
    return pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype)


# Partition by partition: a NaN with another value, a NULL, none of both.
ROWS = frame(
    g=pa.array([1, 1, 2, 2, 1, 2, 3, 3]),
    k=pa.array(["a", None, "a", "b", "a", "b", None, "b"]),
    x=pa.array([1.0, NAN, 3.0, None, 10.0, 20.0, 30.0, 0.0]),
    f=pa.array([1.0, 2.0, NAN, None, None, None, 7.0, NAN], pa.float32()),
    n=pa.array([1, 2, 3, None, 5, None, None, None]),
    d=pa.array([None, None, 1, 2, 3, 4, 5, 6], pa.int32()).cast(pa.decimal128(20, 2)),
)

WHOLE: dict[str, Callable[[Any], Any]] = {
    "sum": lambda df: df.x.sum(),
    "prod": lambda df: df.x.prod(),
    "mean": lambda df: df.x.mean(),
    "var": lambda df: df.x.var(),
    "std": lambda df: df.x.std(ddof=0),
    "sem": lambda df: df.x.sem(),
    "var of a frame": lambda df: df[["x", "g"]].var(),
    "var of integers": lambda df: df.n.var(),
    "var of numbers": lambda df: df[["n", "g", "d"]].var(),
    "std of a frame": lambda df: df[["x", "n"]].std(),
    "var without NaN": lambda df: df[df.x == df.x].x.var(),
    "of float32": lambda df: df.f.sum(),
    "of integers": lambda df: df.n.sum(),
    "of decimals": lambda df: df.d.sum(),
    "without NaN": lambda df: df[df.x == df.x].x.sum(),
    "of a frame": lambda df: df[["x", "n"]].sum(),
    "numeric_only": lambda df: df[["x", "n", "k"]].sum(numeric_only=True),
    "min_count": lambda df: df[df.x > 100].x.sum(min_count=1),
    "skipna": lambda df: df.n.sum(skipna=False),
}
GROUPED: dict[str, Callable[[Any], Any]] = {
    "sum": lambda df: df.groupby("g").x.sum(),
    "prod": lambda df: df.groupby("g").x.prod(),
    "mean": lambda df: df.groupby("g").x.mean(),
    "var": lambda df: df.groupby("g").x.var(),
    "std": lambda df: df.groupby("g").x.std(),
    "of columns": lambda df: df.groupby("g")[["x", "f", "n"]].sum(),
    "means of columns": lambda df: df.groupby("g")[["x", "n"]].mean(),
    "of decimals": lambda df: df.groupby("g")[["d", "x"]].sum(),
    "by two keys": lambda df: df.groupby(["g", "k"], dropna=False)[["x"]].sum(),
    "var by a NULL": lambda df: df.groupby("k", dropna=False).x.var(),
    "agg": lambda df: df.groupby("g").agg({"x": ["sum", "mean", "count", "min"], "n": "sum"}),
    "agg of one": lambda df: df.groupby("g").x.agg("sum"),
    "agg var": lambda df: df.groupby("g").agg({"x": ["var", "prod"]}),
    "integers": lambda df: df.groupby("g").n.sum(),
}


def dasked(rows: pd.DataFrame, partitions: int = 4) -> Any:
    return dd.from_pandas(rows, npartitions=partitions, sort=False)


def same(got: Any, expected: Any) -> None:
    if isinstance(expected, pd.DataFrame | pd.Series):
        # pandas itself has NaN here and NULL there.
        got, expected = (one.sort_index().astype("float64") for one in (got.compute(), expected))
        assert got.index.tolist() == expected.index.tolist() or got.index.equals(expected.index)
        compare = pd.testing.assert_frame_equal
        if isinstance(expected, pd.Series):
            compare = pd.testing.assert_series_equal
        compare(got, expected, check_index_type=False)
    else:
        assert got.compute() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("partitions", [1, 2, 4, 8])
@pytest.mark.parametrize("name", WHOLE)
def test_a_number_of_all_rows_is_that_of_pandas(name: str, partitions: int) -> None:
    expected = WHOLE[name](ROWS)
    got = WHOLE[name](dasked(ROWS, partitions))
    if expected is pd.NA:
        assert pd.isna(got.compute())
    else:
        same(got, expected)


@pytest.mark.parametrize("partitions", [1, 4, 8])
@pytest.mark.parametrize("name", GROUPED)
def test_a_number_of_each_group_is_that_of_pandas(name: str, partitions: int) -> None:
    same(GROUPED[name](dasked(ROWS, partitions)), GROUPED[name](ROWS))


@pytest.mark.parametrize("how", [{"split_every": 2}, {"split_out": 3}])
@pytest.mark.parametrize("step", ["sum", "mean", "var", "prod"])
def test_however_many_steps_it_takes(how: dict[str, int], step: str) -> None:
    rows = pd.concat([ROWS] * 5, ignore_index=True)
    rows["g"] = rows.g + (rows.index.to_series() // 8 % 2 * 10).astype(rows.g.dtype)
    split, whole = dasked(rows, 20).groupby("g"), rows.groupby("g")
    same(getattr(split.x, step)(**how), getattr(whole.x, step)())
    same(split.agg({"x": [step]}, **how), whole.agg({"x": [step]}))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_generated_columns(data: st.DataObject) -> None:
    values = st.one_of(st.none(), st.sampled_from([NAN, 0.0, 1.5, -2.0, 1024.0]))
    drawn = data.draw(st.lists(st.tuples(st.integers(0, 3), values), min_size=1, max_size=24))
    rows = frame(g=pa.array([g for g, _ in drawn]), x=pa.array([x for _, x in drawn], pa.float64()))
    split = dasked(rows, data.draw(st.integers(1, len(rows))))
    for step in ("sum", "mean", "prod", "var"):
        expected = getattr(rows.x, step)()
        found = getattr(split.x, step)().compute()
        assert (pd.isna(found) and pd.isna(expected)) or found == pytest.approx(expected)
    for step in ("sum", "mean", "prod", "var"):
        same(getattr(split.groupby("g").x, step)(), getattr(rows.groupby("g").x, step)())
    same(split.groupby("g").agg({"x": "sum"}), rows.groupby("g").agg({"x": "sum"}))


def test_what_a_person_aggregates_by_is_left_as_it_is() -> None:
    class Total:
        __hash__ = None  # type: ignore[assignment]  # as of a dataclass

        def __call__(self, groups: Any) -> Any:
            return groups.sum()

    own = dd.Aggregation("own", Total(), Total())
    got = dasked(ROWS).groupby("g").agg({"x": own, "n": "sum"}).compute()
    assert got.n.tolist() == ROWS.groupby("g").n.sum().tolist()
    assert got.x.tolist() == [10.0, 23.0, 30.0]


def test_on_worker_processes() -> None:
    rows = dasked(ROWS)
    asked = {name: GROUPED[name](rows) for name in ("sum", "mean", "var", "agg")}
    var = dasked(ROWS[["x", "g"]])[["x", "g"]].var()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        for name, got in asked.items():
            same(got, GROUPED[name](ROWS))
        same(var, ROWS[["x", "g"]].var())


# What a process prints, with and without us.
PLAIN = """
import re, sys
import dask.dataframe as dd, pandas as pd
if sys.argv[1] == "with":
    import dask_sail
rows = pd.DataFrame({"g": [1, 1, 2, 2], "x": [1.0, float("nan"), 3.0, 4.0]})
split = dd.from_pandas(rows, npartitions=2, sort=False)
groups = split.groupby("g")
for one in (split.x.sum(), split.x.mean(), groups.x.sum(), groups.x.mean(), groups.x.var(),
            groups.agg({"x": "sum"}), split.x.var()):
    print(one.compute(scheduler="sync"))
    made = one.optimize()
    tasks = map(str, made.__dask_graph__().values())
    print(made.__dask_keys__(), [re.sub("0x[0-9a-f]+", "", task) for task in tasks])
"""


def test_columns_of_numpy_go_through_dasks_own_functions() -> None:
    run = [
        subprocess.run(
            [sys.executable, "-c", PLAIN, how], capture_output=True, text=True, check=True
        ).stdout
        for how in ("with", "without")
    ]
    assert run[0] == run[1]
    assert "8.0" in run[0]


# Dask's fault, so that we notice when it is mended.
FAULT = """
import dask.dataframe as dd, pandas as pd, pyarrow as pa
table = pa.table({"x": [1.0, float("nan"), 2.0, 3.0]})
rows = table.to_pandas(types_mapper=pd.ArrowDtype)
print(dd.from_pandas(rows, npartitions=2, sort=False).x.sum().compute(scheduler="sync"))
"""


def test_dask_alone_leaves_rows_out() -> None:
    run = subprocess.run(
        [sys.executable, "-c", FAULT], capture_output=True, text=True, check=True
    ).stdout
    assert run.strip() == "5.0"


def test_the_dask_that_is_tested_is_known() -> None:
    assert reductions.register() is True
