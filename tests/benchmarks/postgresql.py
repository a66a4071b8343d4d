"""Rows per second from PostgreSQL, as ratios between rivals that take turns in one run.

    python tests/benchmarks/postgresql.py [--rows 2000000] [--rounds 3]

Two million rows of ten mixed columns, four ranges of the key, threads: this package with each of
its engines, `dask.dataframe.read_sql_table` on the same ranges, and each engine called by hand with
the same four statements and casts.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

import dask
import dask.dataframe as dd
import pandas as pd
import psycopg
import pyarrow as pa

import dask_sail

CREATE = """
CREATE TABLE IF NOT EXISTS bench AS
SELECT g AS id, (g * 7919 % 100000)::int AS customer, (g % 100)::smallint AS quantity,
       round((random() * 10000)::numeric, 2)::numeric(12, 2) AS amount, random() AS weight,
       md5(g::text) AS code, (ARRAY['open','paid','sent','void'])[g % 4 + 1]::varchar(8) AS status,
       g % 3 = 0 AS paid, timestamptz '2024-01-01' + g * interval '1 second' AS at,
       date '2024-01-01' + (g % 365)::int AS day
FROM generate_series(1, {rows}::bigint) AS g
"""
RANGES = 4


def servers() -> object:
    spec = importlib.util.spec_from_file_location(
        "servers", Path(__file__).parent.parent / "servers.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ours(uri: str, rows: int, engine: str) -> dd.DataFrame:
    parts = urlsplit(uri)
    return dd.read_python_source(
        "jdbc",
        url=f"jdbc:postgresql://{parts.hostname}:{parts.port}{parts.path}",
        user=parts.username,
        password=unquote(parts.password or ""),
        dbtable="bench",
        partitionColumn="id",
        lowerBound=1,
        upperBound=rows,
        numPartitions=RANGES,
        engine=engine,
    )


def whole(frame: dd.DataFrame) -> int:
    """Rows, of partitions that are made whole: `len` alone would read no column."""
    parts = dask.compute(*frame.to_delayed(optimize_graph=True))
    return sum(map(len, parts))


def by_hand_adbc(uri: str, statements: list[str], schema: pa.Schema) -> int:
    import adbc_driver_postgresql.dbapi as adbc

    def one(sql: str) -> int:
        with adbc.connect(uri) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            table = cursor.fetch_arrow_table()
        return len(as_frame(table, schema))

    with ThreadPoolExecutor(RANGES) as pool:
        return sum(pool.map(one, statements))


def by_hand_connectorx(uri: str, statements: list[str], schema: pa.Schema) -> int:
    import connectorx

    def one(sql: str) -> int:
        table = connectorx.read_sql(uri, sql, return_type="arrow")
        return len(as_frame(table, schema))

    with ThreadPoolExecutor(RANGES) as pool:
        return sum(pool.map(one, statements))


def as_frame(table: pa.Table, schema: pa.Schema) -> pd.DataFrame:
    storage = [
        column.cast(column.type.storage_type)
        if isinstance(column.type, pa.BaseExtensionType)
        else column
        for column in table.columns
    ]
    table = pa.Table.from_arrays(storage, names=schema.names).cast(schema)
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def rival(uri: str, rows: int) -> dd.DataFrame:
    bounds = [1 + rows * i // RANGES for i in range(RANGES)] + [rows]
    return dd.read_sql_table(
        "bench", uri.replace("postgresql://", "postgresql+psycopg://"), "id", divisions=bounds
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows = arguments.rows
    dask.config.set(scheduler="threads", num_workers=RANGES)
    with servers().running_postgres() as uri:  # type: ignore[attr-defined]
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute(CREATE.format(rows=rows))
            connection.execute("CREATE UNIQUE INDEX ON bench (id)")
            connection.execute("VACUUM ANALYZE bench")
        runs: dict[str, Callable[[], int]] = {}
        for engine, by_hand in (("adbc", by_hand_adbc), ("connectorx", by_hand_connectorx)):
            frame = ours(uri, rows, engine)
            facts = dask_sail.inspect(frame).reads[0]
            statements = [partition.facts["sql"] for partition in facts.partitions]
            schema = pa.schema([(field.name, field.type) for field in facts.schema])
            runs[engine] = lambda engine=engine: whole(ours(uri, rows, engine))
            runs[f"{engine} by hand"] = (
                lambda by_hand=by_hand, statements=statements, schema=schema: by_hand(
                    uri, statements, schema
                )
            )
        runs["fallback"] = lambda: whole(ours(uri, rows, "fallback"))
        runs["read_sql_table"] = lambda: whole(rival(uri, rows))
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(arguments.rounds + 1):  # the first is to warm up
            for name, run in runs.items():
                if turn and name in ("fallback", "read_sql_table") and len(seconds[name]) >= 2:
                    continue
                begun = time.perf_counter()
                found = run()
                assert found == rows, f"{name}: {found} rows"
                if turn or name in ("fallback", "read_sql_table"):
                    seconds[name].append(time.perf_counter() - begun)
    best = {name: min(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        print(
            f"{name:20} {rows / best[name] / 1e6:6.2f}M rows/s, best of {len(times)}, "
            f"median {statistics.median(times):.2f} s"
        )
    report = {
        f"{engine} / read_sql_table, rows per second": best["read_sql_table"] / best[engine]
        for engine in ("adbc", "connectorx", "fallback")
    } | {
        f"{engine} / {engine} by hand, time": best[engine] / best[f"{engine} by hand"]
        for engine in ("adbc", "connectorx")
    }
    print(json.dumps({name: round(ratio, 2) for name, ratio in report.items()}, indent=1))
    print(f"Python {sys.version.split()[0]}, dask {dask.__version__}, pyarrow {pa.__version__}")


if __name__ == "__main__":
    main()
