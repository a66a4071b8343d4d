"""What a read costs beside the reading: planning many partitions, and memory.

    python tests/benchmarks/reading.py

Prints, for 10,000 specs and 10 or 1,000 columns, the seconds from the call to the optimised graph
and the bytes that a scheduler receives per task beyond the spec; and by how much the peak of a
process's memory lies above its start while it reads two of twenty columns of 400 MB of batches.
"""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import dask.dataframe as dd
import numpy as np
import psutil
import pyarrow as pa

import dask_sail  # noqa: F401 - attaches dd.read_python_source

SPECS = 10_000
BATCHES, ROWS, COLUMNS = 100, 25_000, 20  # of 8 bytes: 400 MB


class Many:
    """Ten thousand partitions of so many columns."""

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return pa.schema([(f"column_{i}", pa.int64()) for i in range(int(options["width"]))])

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        return [{"start": i * 1000, "stop": (i + 1) * 1000} for i in range(SPECS)]

    def read_partition(self, spec: Any, options: dict[str, str]) -> Iterator[pa.RecordBatch]:
        yield from ()


class Wide:
    """One partition of 400 MB, in batches that exist one at a time."""

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return pa.schema([(f"c{i}", pa.float64()) for i in range(COLUMNS)])

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        return [{}]

    def read_partition(self, spec: Any, options: dict[str, str]) -> Iterator[pa.RecordBatch]:
        for batch in range(BATCHES):
            values = [np.full(ROWS, batch + i, "float64") for i in range(COLUMNS)]
            yield pa.record_batch(values, schema=self.infer_schema(options))


def planning(columns: int) -> dict[str, float]:
    begun = time.perf_counter()
    frame = dd.read_python_source(Many, width=columns)
    query = frame[frame.column_1 > 3][["column_2", "column_3"]]
    optimised = query.optimize()
    graph = optimised.__dask_graph__()
    seconds = time.perf_counter() - begun
    whole = dd.read_python_source(Many, width=columns).optimize()
    spec = len(json.dumps({"start": 9_990_000, "stop": 10_000_000}, separators=(",", ":")))
    tasks = list(whole.__dask_graph__().values())
    return {
        "seconds from call to graph": round(seconds, 3),
        "tasks": len(graph),
        "bytes per task as sent, beyond the spec": round(
            len(pickle.dumps(whole.expr)) / SPECS - spec, 1
        ),
        "bytes of the largest task beyond the spec, shared one aside": max(
            sorted(len(pickle.dumps(task)) for task in tasks)[:-1]
        )
        - spec,
    }


def memory() -> None:
    """Run in a process of its own."""
    frame = dd.read_python_source(Wide)
    start = psutil.Process().memory_info().rss
    result = frame[["c3", "c7"]].compute(scheduler="synchronous")
    assert len(result) == BATCHES * ROWS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{(peak - start) / 1e6:.0f} MB above the start, of 400 MB in batches (result: 40 MB)")


if __name__ == "__main__":
    if sys.argv[1:] == ["memory"]:
        memory()
    else:
        for count in (10, 1_000):
            print(f"{count} columns: {json.dumps(planning(count))}")
        subprocess.run([sys.executable, __file__, "memory"], check=True)
