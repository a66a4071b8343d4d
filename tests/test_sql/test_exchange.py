"""Exchanges: where rows go, what the tables on the way hold, and how many tasks it takes."""

from __future__ import annotations

import pickle

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_sail.sqlengine.exchange import Bundles, bundle, gather, pick


@given(inputs=st.integers(1, 300), outputs=st.integers(17, 300))
def test_bundles_hold_each_input_and_output_once_and_little_of_all(
    inputs: int, outputs: int
) -> None:
    bundles = Bundles(inputs, outputs)
    assert [j for group in bundles.outputs for j in group] == list(range(outputs))
    assert [i for group in bundles.inputs for i in group] == list(range(inputs))
    # A gathering task's share of all rows is about that of the larger of an input and an output.
    most = max(map(len, bundles.outputs)) / outputs * max(map(len, bundles.inputs)) / inputs
    assert most <= 4 / min(inputs, outputs)


@given(
    inputs=st.integers(1, 12),
    outputs=st.integers(17, 40),
    sizes=st.lists(st.integers(0, 3), min_size=1, max_size=12),
)
@settings(max_examples=30, deadline=None)
def test_two_rounds_bring_each_row_to_its_output_in_the_order_of_inputs(
    inputs: int, outputs: int, sizes: list[int]
) -> None:
    def table(i: int, j: int) -> pa.Table:
        rows = sizes[(i * outputs + j) % len(sizes)]
        return pa.table(
            {
                "to": pa.array([j] * rows, pa.int64()),
                "at": pa.array([f"{i}.{n}" for n in range(rows)], pa.string()),
            }
        )

    given_ = [[table(i, j) for j in range(outputs)] for i in range(inputs)]
    bundled = [bundle(tables) for tables in given_]
    bundles = Bundles(inputs, outputs)
    arrived: list[list[pa.Table]] = [[] for _ in range(outputs)]
    for g, group in enumerate(bundles.outputs):
        for members in bundles.inputs:
            gathered = gather([bundled[i][g] for i in members])
            for place, j in enumerate(group):
                arrived[j].append(pick(gathered, place))
    for j in range(outputs):
        direct = pa.concat_tables([tables[j] for tables in given_])
        assert pa.concat_tables(arrived[j]).equals(direct)


def test_what_is_gathered_is_as_small_on_the_wire_as_its_rows() -> None:
    big = pa.table({"a": pa.array(range(200_000)), "s": pa.array(["x" * 10] * 200_000)})
    parts = [big.slice(0, 5), big.slice(5)] + [big.slice(0, 0)] * 15
    bundled = bundle(parts)
    gathered = gather(bundled[:1])
    assert gathered[0].equals(big.slice(0, 5))
    assert len(pickle.dumps(gathered[0], 5)) < 2_000
    assert gathered[2].num_rows == 0
