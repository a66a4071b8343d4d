"""Queries on two worker processes and other schedulers: the same rows, and who is to blame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pytest
from distributed import Client, LocalCluster

import dask_sail  # noqa: F401 - attaches dd.read_python_source
from dask_sail.sqlengine import graph
from dask_sail.sqlengine.errors import SQLError
from dask_sail.sqlengine.plan import DistributedPlan, Settings
from dask_sail.sqlengine.planner import Planner

ROWS = 20_000


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit="2GiB"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def source(**options: Any) -> Any:
    """A read of 8 partitions; the class is defined here so that it travels to the workers."""

    class Numbers:
        def infer_schema(self, options: Any) -> Any:
            import pyarrow as pa

            return pa.schema([("id", pa.int64()), ("g", pa.int64()), ("s", pa.string())])

        def plan_partitions(self, options: Any) -> list[dict[str, int]]:
            return [{"start": start} for start in range(0, 20_000, 2_500)]

        def read_partition(self, spec: Any, options: Any) -> Any:
            import time

            import pyarrow as pa

            if "log" in options:
                with open(options["log"], "a") as log:
                    log.write("began\n")
            ids = range(spec["start"], spec["start"] + 2_500)
            for low in range(0, 2_500, 500):
                time.sleep(float(options.get("pause", 0)))
                part = ids[low : low + 500]
                yield pa.record_batch(
                    [
                        pa.array(part, pa.int64()),
                        pa.array([None if i % 17 == 0 else i % 301 for i in part], pa.int64()),
                        pa.array([f"name {i % 50}" for i in part]),
                    ],
                    ["id", "g", "s"],
                )

    return dd.read_python_source(Numbers, **options)


def inputs(**options: Any) -> dict[str, Any]:
    names = pd.DataFrame({"g": pd.array(range(301), pd.ArrowDtype(pa.int64()))})
    names["name"] = [None if g % 5 == 0 else f"group {g}" for g in names["g"]]
    tables = {"t": source(**options), "d": dd.from_pandas(names, npartitions=3), "u": names}
    return {name: graph.table_input(one, name) for name, one in tables.items()}


def planned(tables: dict[str, Any], sql: str, partitions: int) -> DistributedPlan:
    described = {name: one.description(name) for name, one in tables.items()}
    settings = Settings(target_partitions=partitions, broadcast="off")
    return Planner(described, {}, (), settings).plan(sql)


QUERIES = [
    "SELECT g, count(*) AS n, sum(id) AS x, min(s) AS m FROM t GROUP BY g",
    "SELECT s, count(DISTINCT g) AS n FROM t GROUP BY s",
    "SELECT d.name, count(*) AS n FROM t LEFT JOIN d ON t.g = d.g GROUP BY d.name",
    "SELECT t.id, u.name FROM t JOIN u ON t.g = u.g WHERE t.id < 200 ORDER BY t.id",
    "SELECT count(*) AS n FROM t WHERE g NOT IN (SELECT g FROM d WHERE name IS NULL)",
    "SELECT id, row_number() OVER (PARTITION BY g ORDER BY id DESC) AS r FROM t WHERE g < 9",
    "SELECT 1 AS one, 'x' AS x",
]


@pytest.mark.parametrize("partitions", [3, 20])
def test_rows_are_the_same_and_in_the_same_order_on_every_scheduler(
    client: Client, partitions: int
) -> None:
    tables = inputs()
    for sql in QUERIES:
        result = graph.QueryTables(planned(tables, sql, partitions), tables)
        here = result.compute(scheduler="sync")
        assert here.num_rows, sql
        assert result.compute().equals(here), sql
        assert result.compute(scheduler="threads").equals(here), sql
        batches = list(result.batches())
        assert pa.Table.from_batches(batches, schema=here.schema).equals(here), sql


def test_separate_processes_without_a_cluster_give_the_same() -> None:
    tables = inputs()
    for sql in (QUERIES[0], QUERIES[4]):
        result = graph.QueryTables(planned(tables, sql, 17), tables)
        assert result.compute(scheduler="processes").equals(result.compute(scheduler="sync"))


def test_tasks_are_named_by_what_they_do(client: Client) -> None:
    tables = inputs()
    plan = planned(tables, QUERIES[0], 20)
    frame = graph.query_frame(plan, tables, "totals")
    prefixes = {str(key[0] if isinstance(key, tuple) else key).split("-")[0] for key in frame.dask}
    first, last = (stage.name for stage in plan.stages)
    assert {first, last, "totals", f"exchange_{first}"} <= prefixes


def test_a_worker_with_another_datafusion_is_named(client: Client) -> None:
    tables = inputs()
    plan = planned(tables, QUERIES[0], 3)
    (odd, _) = sorted(client.scheduler_info()["workers"])

    def other_version() -> str:
        from dask_sail.sqlengine import versions

        versions.fingerprint.cache_clear()
        versions.datafusion.__version__ = "54.1.0"
        return versions.fingerprint()

    def as_before(version: str) -> None:
        from dask_sail.sqlengine import versions

        versions.datafusion.__version__ = version
        versions.fingerprint.cache_clear()

    (there,) = client.run(other_version, workers=[odd]).values()
    (pid,) = client.run(lambda: __import__("os").getpid(), workers=[odd]).values()
    try:
        with pytest.raises(SQLError) as caught:
            graph.QueryTables(plan, tables).compute(workers=[odd])
        said = str(caught.value)
        assert there in said
        assert plan.fingerprint in said
        assert str(pid) in said
    finally:
        client.run(as_before, plan.fingerprint.split()[0], workers=[odd])
    assert graph.QueryTables(plan, tables).compute().num_rows == 302


def test_spills_go_to_the_workers_own_folder_within_its_share_of_memory(client: Client) -> None:
    def room() -> Any:
        import psutil

        from dask_sail.dask_compat import room_of_this_task, worker_of_this_task

        taken = psutil.Process().memory_info().rss
        return (*room_of_this_task(), worker_of_this_task().local_directory, taken)

    memory, folder, own, taken = client.submit(room, pure=False).result()
    # With what the process has itself it stays well below the limit, where the nanny ends it.
    assert (2 << 30) // 5 <= memory <= (2 << 30) * 3 // 4 - taken
    assert folder == own


def test_a_query_that_is_no_longer_wanted_stops_reading(client: Client, tmp_path: Path) -> None:
    log = tmp_path / "began"
    tables = inputs(log=log, pause="0.3")
    plan = planned(tables, QUERIES[0], 3)
    future = client.compute(graph.query_frame(plan, tables))
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    future.cancel()
    del future
    while any(client.processing().values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)
    assert len(log.read_text().split()) < 8


def test_workers_forget_what_a_query_held(client: Client) -> None:
    tables = inputs()
    result = graph.QueryTables(planned(tables, QUERIES[0], 20), tables)
    assert result.compute().num_rows == 302
    batches = result.batches()
    next(batches)
    batches.close()
    deadline = time.monotonic() + 30
    while any(client.has_what().values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(client.has_what().values())
