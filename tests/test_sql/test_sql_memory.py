"""Memory that a query takes while it runs: of a process of its own, looked at all the time."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

_PROLOGUE = """
import threading, time
import dask, psutil
import dask.dataframe as dd
import numpy as np
import pyarrow as pa
import dask_sail
from dask_sail.sqlengine import graph
from dask_sail.sqlengine.plan import Settings
from dask_sail.sqlengine.planner import Planner

ROWS = 1 << 17  # of a batch: 4 columns of 8 bytes, 4 MiB


class Generated:
    def infer_schema(self, options):
        return pa.schema([(name, pa.int64()) for name in "abcd"])

    def plan_partitions(self, options):
        return [{}]

    def read_partition(self, spec, options):
        for i in range(int(options["batches"])):
            a = np.arange(i * ROWS, (i + 1) * ROWS)
            yield pa.record_batch([a, a % 97, a * 3, a & 1023], list("abcd"))


def planned(sql, batches):
    table = graph.table_input(dd.read_python_source(Generated, batches=batches))
    tables = {"t": table.description("t")}
    plan = Planner(tables, {}, [], Settings(target_partitions=2)).plan(sql)
    assert plan.fallback is None, plan.fallback
    return plan, table


def result(sql, batches):
    plan, table = planned(sql, batches)
    return graph.QueryTables(plan, {"t": table})


def peak_of(run):
    process, done, seen = psutil.Process(), threading.Event(), []

    def look():
        while not done.wait(0.01):
            seen.append(process.memory_info().rss)

    base = process.memory_info().rss
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        answer = run()
    finally:
        done.set()
        watcher.join()
    return answer, (max(seen) - base) / 2**20


"""


def printed(code: str) -> str:
    """Run code in a process of its own and return what it prints."""
    whole = _PROLOGUE + textwrap.dedent(code)
    ran = subprocess.run(
        [sys.executable, "-c", whole], capture_output=True, text=True, timeout=280, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout


def test_an_aggregate_over_a_partition_of_4_gb_holds_little_of_it() -> None:
    code = """
    sql = "SELECT b, count(*) AS n, sum(a) AS s, max(c) AS m FROM t WHERE d < 1000 GROUP BY b"
    result(sql, 2).compute()  # what is imported and cached once is no part of it
    query = result(sql, 1024)
    table, grown = peak_of(query.compute)
    n = 1024 * ROWS
    a = np.arange(ROWS, dtype="int64")
    kept = sum(int(((a + i * ROWS) & 1023 < 1000).sum()) for i in range(1024))
    assert table.num_rows == 97, table.num_rows
    assert sum(table["n"].to_pylist()) == kept
    print(grown)
    """
    assert float(printed(code)) < 300  # MiB


def test_partial_states_of_many_groups_take_no_more_than_the_groups() -> None:
    code = """
    sql = "SELECT a % 200000 AS g, count(*) AS n, sum(c) AS s, max(b) AS m FROM t GROUP BY 1"
    result(sql, 2).compute()
    query = result(sql, 512)
    table, grown = peak_of(query.compute)
    n = 512 * ROWS
    assert table.num_rows == 200000, table.num_rows
    assert sum(table["n"].to_pylist()) == n
    assert sum(table["s"].to_pylist()) == 3 * n * (n - 1) // 2
    print(grown)
    """
    # 67 million rows in pieces, whose states would be 64 million of 32 bytes: 1,950 MiB and more.
    assert float(printed(code)) < 600  # MiB


def test_as_many_groups_as_rows_go_to_the_disk() -> None:
    code = """
    import os, tempfile
    from dask_sail.sqlengine import versions
    from dask_sail.sqlengine.run_stage import Room, StageRun

    plan, _ = planned("SELECT a, count(*) AS n, sum(c) AS s FROM t GROUP BY a", 1)
    stage = plan.stages[0]
    assert stage.exchange == "hash", stage

    def run(batches, folder):
        room = Room(memory=400 << 20, folder=folder)
        source = Generated().read_partition({}, {"batches": batches})
        with StageRun(stage, versions.fingerprint(), (), room) as one:
            held = []
            for batch in source:
                held.append(batch.select(["a", "c"]))
                if len(held) == 8:
                    one.add({next(iter(stage.inputs)): [[pa.Table.from_batches(held)]]})
                    held = []
            return one.result()

    with tempfile.TemporaryDirectory() as folder:
        run(8, folder)
        tables, grown = peak_of(lambda: run(512, folder))
        assert os.listdir(folder) == []
    n = 512 * ROWS
    assert sum(t.num_rows for t in tables) == n
    assert sum(pa.compute.sum(t.column(0)).as_py() for t in tables) == n * (n - 1) // 2
    assert sum(t.nbytes for t in tables) > 1500 << 20
    print(grown)
    """
    # 67 million groups, whose states are 1,536 MiB.
    assert float(printed(code)) < 700  # MiB
