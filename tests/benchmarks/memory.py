"""How much memory one partition of 200 MB takes that is streamed through a filter, on PostgreSQL.

    python tests/benchmarks/memory.py [--megabytes 200]

Each engine reads the same partition in a fresh process, by the function that a worker runs; one row
in a hundred is kept, by a condition that the database is not asked. Printed is the peak above what
the process took after it had read one row in this way: with its libraries, its connection and the
arenas of its allocators.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg

CREATE = """
CREATE TABLE IF NOT EXISTS heavy_{megabytes} AS
SELECT g AS id, g % 100 AS kept, (g * 1.25)::numeric(12, 2) AS amount,
       timestamptz '2024-01-01' + g * interval '1 second' AS at, repeat(md5(g::text), 5) AS note
FROM generate_series(1, {megabytes}::bigint * 5000) AS g
"""
"""About 200 bytes a row: 160 of text, 8 + 4 of integers, 16 of a decimal, 8 of a timestamp."""

CHILD = """
import json, sys, threading
import dask, dask.dataframe as dd, dask_sail

given = json.loads(sys.argv[1])
dask.config.set(scheduler="synchronous")


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def peak_while(work):
    highest, done = resident(), threading.Event()

    def look():
        nonlocal highest
        while not done.wait(0.002):
            highest = max(highest, resident())

    thread = threading.Thread(target=look)
    thread.start()
    rows = work()
    done.set()
    thread.join()
    return highest, rows


def read(table):
    # A filter that stays on the worker, batch by batch.
    options = given | {"dbtable": table, "pushDownPredicate": "false"}
    frame = dd.read_python_source("jdbc", options=options)
    return len(frame[frame.kept == 7].compute())


read("(SELECT * FROM %s LIMIT 100) AS one" % given["dbtable"])
base = resident()
highest, rows = peak_while(lambda: read(given["dbtable"]))
print(json.dumps({"peak": highest - base, "rows": rows}))
"""


def servers() -> object:
    spec = importlib.util.spec_from_file_location(
        "servers", Path(__file__).parent.parent / "servers.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def peak_of(uri: str, engine: str, megabytes: int) -> tuple[int, int]:
    """Bytes above the base, and rows kept, of one partition read in a process of its own."""
    with psycopg.connect(uri, autocommit=True) as db:
        db.execute(CREATE.format(megabytes=megabytes))
    parts = urlsplit(uri)
    options = {
        "url": f"jdbc:postgresql://{parts.hostname}:{parts.port}{parts.path}",
        "user": parts.username or "",
        "password": unquote(parts.password or ""),
        "dbtable": f"heavy_{megabytes}",
        "engine": engine,
    }
    command = [sys.executable, "-c", CHILD, json.dumps(options)]
    child = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    seen = json.loads(child.stdout)
    return seen["peak"], seen["rows"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=200)
    megabytes = parser.parse_args().megabytes
    with servers().running_postgres() as uri:  # type: ignore[attr-defined]
        for engine in ("adbc", "fallback", "connectorx"):
            peak, rows = peak_of(uri, engine, megabytes)
            print(
                f"{engine:12} {megabytes} MB, {rows:,} rows kept: {peak / 1e6:6.1f} MB above base"
            )


if __name__ == "__main__":
    main()
