"""TPC-H by SQL on Dask, beside DataFusion in one process and dask.dataframe.

    python tests/benchmarks/tpch.py [scale, by default 1] [growth]

Prints seconds of the 22 queries, the better of two runs after one that warms up: DataFusion in one
process with two threads, dask-sail on two threads, and on two worker processes, all on the same
Parquet files; milliseconds of planning, first and repeated; and Q1, Q3 and Q6 as a person writes
them with dask.dataframe. With ``growth``: an aggregate over 2 to 1,000 partitions.
"""

from __future__ import annotations

import datetime
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pyarrow as pa
from datafusion import SessionConfig, SessionContext
from distributed import Client, LocalCluster

import dask_sail

THREADS = 2


def corpus() -> ModuleType:
    path = Path(__file__).parents[1] / "test_sql" / "corpus.py"
    spec = importlib.util.spec_from_file_location("sql_corpus", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(run: Callable[[], Any], times: int = 2) -> float:
    run()
    best = float("inf")
    for _ in range(times):
        time.sleep(0.2)  # else a cluster may still have the result of the run before
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def new_context(files: dict[str, Path]) -> dask_sail.SQLContext:
    ctx = dask_sail.SQLContext()
    for name, path in files.items():
        ctx.register_parquet(name, path)
    return ctx


def planning(files: dict[str, Path], queries: dict[int, str]) -> None:
    ctx, first, again = new_context(files), [], []
    ctx.explain("SELECT 1")
    for sql in queries.values():
        for times in (first, again):
            start = time.perf_counter()
            ctx.sql(sql)
            times.append(time.perf_counter() - start)
    print(
        f"planning, cutting and the frame: median {np.median(first) * 1e3:.1f} ms, most "
        f"{max(first) * 1e3:.1f} ms; repeated: median {np.median(again) * 1e3:.2f} ms, most "
        f"{max(again) * 1e3:.2f} ms"
    )


def by_hand(folder: Path) -> dict[int, Callable[[], Any]]:
    def table(name: str, columns: list[str]) -> Any:
        path = folder / f"{name}.parquet"
        df = dd.read_parquet(path, columns=columns, dtype_backend="pyarrow")
        # As floats: the product of three such decimals has more digits than pandas can hold.
        money = {"l_quantity", "l_extendedprice", "l_discount", "l_tax"}
        return df.astype({column: "double[pyarrow]" for column in columns if column in money})

    def q1() -> Any:
        names = "l_returnflag l_linestatus l_quantity l_extendedprice l_discount l_tax l_shipdate"
        df = table("lineitem", names.split())
        df = df[df.l_shipdate <= datetime.date(1998, 9, 2)]
        df["disc_price"] = df.l_extendedprice * (1 - df.l_discount)
        df["charge"] = df.disc_price * (1 + df.l_tax)
        grouped = df.groupby(["l_returnflag", "l_linestatus"])
        sums = {"l_quantity": "sum", "disc_price": "sum", "charge": "sum", "l_discount": "count"}
        return grouped.agg(sums).compute()

    def q3() -> Any:
        day = datetime.date(1995, 3, 15)
        customer = table("customer", ["c_custkey", "c_mktsegment"])
        orders = table("orders", ["o_orderkey", "o_custkey", "o_orderdate", "o_shippriority"])
        items = table("lineitem", ["l_orderkey", "l_extendedprice", "l_discount", "l_shipdate"])
        customer = customer[customer.c_mktsegment == "BUILDING"]
        joined = customer.merge(
            orders[orders.o_orderdate < day], left_on="c_custkey", right_on="o_custkey"
        ).merge(items[items.l_shipdate > day], left_on="o_orderkey", right_on="l_orderkey")
        joined["revenue"] = joined.l_extendedprice * (1 - joined.l_discount)
        keys = ["l_orderkey", "o_orderdate", "o_shippriority"]
        return joined.groupby(keys).revenue.sum().nlargest(10).compute()

    def q6() -> Any:
        df = table("lineitem", ["l_quantity", "l_extendedprice", "l_discount", "l_shipdate"])
        first, last = datetime.date(1994, 1, 1), datetime.date(1995, 1, 1)
        df = df[(df.l_shipdate >= first) & (df.l_shipdate < last)]
        df = df[(df.l_discount >= 0.0499) & (df.l_discount <= 0.0701) & (df.l_quantity < 24)]
        return (df.l_extendedprice * df.l_discount).sum().compute()

    return {1: q1, 3: q3, 6: q6}


def compare(scale: float) -> None:
    tpch = corpus()
    with tempfile.TemporaryDirectory() as name, dask.config.set(num_workers=THREADS):
        folder = Path(name)
        files = tpch.make_tpch(folder, scale)
        queries = {number: tpch.tpch_query(folder, number) for number in range(1, 23)}
        planning(files, queries)
        single = SessionContext(SessionConfig().with_target_partitions(THREADS))
        for table, path in files.items():
            single.register_parquet(table, str(path))
        alone = {
            number: seconds(lambda sql=sql: single.sql(sql).collect())
            for number, sql in queries.items()
        }
        ctx = new_context(files)
        threads = {
            number: seconds(lambda sql=sql: ctx.to_arrow(sql)) for number, sql in queries.items()
        }
        hand = {number: seconds(run, 1) for number, run in by_hand(folder).items()}
        with (
            LocalCluster(n_workers=THREADS, threads_per_worker=1, dashboard_address=None) as local,
            Client(local),
        ):
            there = new_context(files)
            processes = {
                number: seconds(lambda sql=sql: there.to_arrow(sql))
                for number, sql in queries.items()
            }
        print(
            f"scale {scale}, seconds\n  Q  alone  threads  ratio  processes  ratio  dask.dataframe"
        )
        for number, one in alone.items():
            written = f"{hand[number]:10.3f}" if number in hand else ""
            print(
                f" {number:2} {one:6.3f} {threads[number]:8.3f} {threads[number] / one:6.1f} "
                f"{processes[number]:10.3f} {processes[number] / one:6.1f} {written}"
            )
        total, by_threads, by_processes = (sum(x.values()) for x in (alone, threads, processes))
        print(
            f"all {total:6.2f} {by_threads:8.2f} {by_threads / total:6.1f} {by_processes:10.2f} "
            f"{by_processes / total:6.1f}"
        )


def growth() -> None:
    print("partitions  tasks  to plan and make the graph (ms)  to run (s)  CPU per task (ms)")
    for count in (2, 8, 32, 128, 1000):
        table = pa.table({"g": np.arange(count * 100) % 17, "x": np.arange(count * 100)})
        frame = dd.from_map(lambda i, t=table: t.slice(i * 100, 100).to_pandas(), range(count))
        ctx = dask_sail.SQLContext({"t": frame}, target_partitions=min(count, 32))
        start = time.perf_counter()
        result = ctx.sql("SELECT g, sum(x) AS s FROM t GROUP BY g")
        graph = result.optimize().__dask_graph__()
        planned = time.perf_counter() - start
        start, used = time.perf_counter(), time.process_time()
        result.compute()
        took, used = time.perf_counter() - start, time.process_time() - used
        print(
            f"{count:10} {len(graph):6} {planned * 1e3:20.0f} {took:23.2f} "
            f"{used / len(graph) * 1e3:13.2f}"
        )


if __name__ == "__main__":
    if "growth" in sys.argv[1:]:
        growth()
    else:
        compare(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
