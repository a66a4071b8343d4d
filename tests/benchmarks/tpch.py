"""TPC-H by SQL on Dask, beside DataFusion in one process, Spark and dask.dataframe.

    python tests/benchmarks/tpch.py [--scale 1] [--rounds 3] [--spark-python /path/to/python]
    python tests/benchmarks/tpch.py --growth

Prints seconds of the 22 queries on the same Parquet files, the best of some rounds in which all
take turns, after one that warms up: DataFusion in one process with two threads, dask-sail on two
threads and on two worker processes, and Spark (local[2]) if the given Python has PySpark; Q1, Q3
and Q6 as a person writes them with dask.dataframe; CPU milliseconds of planning, first and
repeated; and how far the memory of a worker process rises above what it had before a query. With
``--growth``: an aggregate over 2 to 1,000 partitions.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import importlib.util
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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


def seconds(run: Callable[[], Any]) -> float:
    time.sleep(0.1)  # else a cluster may still have the result of the run before
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


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
            start = time.process_time()
            ctx.sql(sql)
            times.append((time.process_time() - start) * 1e3)
    print(
        f"planning, cutting and the frame, CPU: median {np.median(first):.1f} ms, most "
        f"{max(first):.1f} ms (Q{1 + int(np.argmax(first))}); repeated: median "
        f"{np.median(again):.2f} ms, most {max(again):.2f} ms"
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


SPARK = """
import sys, time
from pathlib import Path
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
builder = builder.config("spark.driver.memory", "4g").config("spark.sql.shuffle.partitions", "2")
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")
folder = Path(sys.argv[1])
for file in folder.glob("*.parquet"):
    spark.read.parquet(str(file)).createOrReplaceTempView(file.stem)
print("Spark", spark.version, flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    spark.sql((folder / f"{int(line):02}.sql").read_text()).write.format("noop").mode(
        "overwrite"
    ).save()
    print(time.perf_counter() - start, flush=True)
"""


@contextmanager
def spark(python: str, folder: Path) -> Iterator[Callable[[int], float] | None]:
    """Give what runs a query on Spark and returns its seconds; None without PySpark."""
    if subprocess.run([python, "-c", "import pyspark"], capture_output=True).returncode:
        print("no PySpark; --spark-python names a Python that has it")
        yield None
        return
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([python, "-c", SPARK, folder], stderr=subprocess.DEVNULL, **pipes) as it:
        print(it.stdout.readline().strip())

        def run(number: int) -> float:
            it.stdin.write(f"{number}\n")
            it.stdin.flush()
            return float(it.stdout.readline())

        yield run
        it.stdin.close()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def watched(dask_worker: Any) -> None:
    """Note the most memory of this process, by the hundredth of a second."""

    def look() -> None:
        while True:
            dask_worker.peak = max(dask_worker.peak, resident())
            time.sleep(0.01)

    dask_worker.peak = 0
    threading.Thread(target=look, daemon=True).start()


def freed(dask_worker: Any) -> int:
    pa.default_memory_pool().release_unused()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    dask_worker.peak = now = resident()
    return now


def risen(client: Client, run: Callable[[], Any]) -> int:
    """Return how many bytes a worker came to have above what it had, at most."""
    before = client.run(freed)
    run()
    peaks = client.run(lambda dask_worker: dask_worker.peak)
    return max(peaks[worker] - before[worker] for worker in before)


def compare(scale: float, rounds: int, spark_python: str) -> None:
    tpch = corpus()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(dask.config.set(num_workers=THREADS))
        files = tpch.make_tpch(folder, scale)
        queries = {number: tpch.tpch_query(folder, number) for number in range(1, 23)}
        on_spark = stack.enter_context(spark(spark_python, folder))
        single = SessionContext(SessionConfig().with_target_partitions(THREADS))
        for table, path in files.items():
            single.register_parquet(table, str(path))
        hand = by_hand(folder)
        local = LocalCluster(n_workers=THREADS, threads_per_worker=1, dashboard_address=None)
        stack.enter_context(local)
        client = stack.enter_context(Client(local, set_as_default=False))
        with client.as_current():
            there = new_context(files)
        here = new_context(files)
        planning(files, queries)

        def in_processes(sql: str) -> Any:
            with client.as_current():
                return there.to_arrow(sql)

        took: dict[int, dict[str, list[float]]] = {}
        client.run(watched)
        rises = {}
        for number, sql in queries.items():
            runs: dict[str, Callable[[], float]] = {
                "DataFusion": lambda q=sql: seconds(lambda: single.sql(q).collect()),
                "threads": lambda q=sql: seconds(lambda: here.to_arrow(q)),
                "processes": lambda q=sql: seconds(lambda: in_processes(q)),
            }
            if on_spark:
                runs["Spark"] = lambda n=number: on_spark(n)
            if number in hand:
                runs["dask.dataframe"] = lambda n=number: seconds(hand[n])
            each = took[number] = {name: [] for name in runs}
            for _ in range(1 + rounds):
                for name, run in runs.items():
                    each[name].append(run())
            rises[number] = risen(client, lambda q=sql: in_processes(q))
        show(took, rises, scale)


def show(took: dict[int, dict[str, list[float]]], rises: dict[int, int], scale: float) -> None:
    best = {n: {name: min(times[1:]) for name, times in each.items()} for n, each in took.items()}
    names = list(max(best.values(), key=len))
    print(f"\nscale {scale:g}, seconds; in parentheses, DataFusion's times so much\n")
    print("| Q |", " | ".join(names), "| memory of a worker rose by |")
    print("|---|" + "---|" * (len(names) + 1))

    def line(label: Any, found: dict[str, float], rise: int) -> None:
        one = found["DataFusion"]
        cells = [f"{found[n]:.2f} ({found[n] / one:.1f})" if n in found else "" for n in names]
        cells[0] = f"{one:.2f}"
        print(f"| {label} |", " | ".join(cells), f"| {rise / 1e6:.0f} MB |")

    for number, found in best.items():
        line(number, found, rises[number])
    whole = [name for name in names if all(name in found for found in best.values())]
    sums = {name: sum(found[name] for found in best.values()) for name in whole}
    line("all", sums, max(rises.values()))


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
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spark-python", default=sys.executable)
    parser.add_argument("--growth", action="store_true")
    given = parser.parse_args()
    if given.growth:
        growth()
    else:
        compare(given.scale, given.rounds, given.spark_python)
