"""How even partitions are: the largest one's rows over the mean, for cuts that are found.

    python tests/benchmarks/cuts.py [--rows 500000] [--partitions 8] [--mariadb]

A table whose keys are log-normal, whose rows lie in no order of the key, and of which half was
deleted: equal widths between the least and the greatest key, as with bounds, against
`partitioning=auto` on PostgreSQL (from what ANALYZE left, and from a sample where it never ran) and
on SQLite (by an indexed column, by a column that is the rowid, by the rowid of a table without such
a column), DuckDB and, where this machine has it, MariaDB.
"""

from __future__ import annotations

import argparse
import importlib.util
import sqlite3
import tempfile
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import duckdb
import numpy as np
import psycopg
import pyarrow as pa

import jdbc


def servers() -> object:
    spec = importlib.util.spec_from_file_location(
        "servers", Path(__file__).parent.parent / "servers.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def log_normal_keys(rows: int) -> list[int]:
    """Distinct keys, in no order."""
    generator = np.random.default_rng(7)
    keys = np.exp(generator.normal(16, 1.5, int(rows * 1.2))).astype(np.int64)
    return [int(key) for key in generator.permutation(np.unique(keys))[:rows]]


def fill_postgresql(uri: str, keys: list[int]) -> None:
    with psycopg.connect(uri, autocommit=True) as server:
        for name in ("analyzed", "fresh"):
            server.execute(
                f"CREATE TABLE {name} (id bigint, note text) WITH (autovacuum_enabled = off)"
            )
            with server.cursor().copy(f"COPY {name} FROM STDIN") as rows:
                for key in keys:
                    rows.write_row((key, "x" * 60))
            server.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
            server.execute(f"DELETE FROM {name} WHERE hashint8(id) % 2 = 0")
        server.execute("ANALYZE analyzed")


def fill_sqlite(path: Path, keys: list[int]) -> None:
    notes = [(key, "x" * 60) for key in keys]
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE by_id (id INTEGER PRIMARY KEY, note TEXT)")
        db.executemany("INSERT INTO by_id VALUES (?, ?)", sorted(notes))
        db.execute("CREATE TABLE by_key (key INTEGER NOT NULL, note TEXT)")
        db.executemany("INSERT INTO by_key VALUES (?, ?)", notes)
        db.execute("CREATE INDEX i ON by_key (key)")
        for name, key in (("by_id", "id"), ("by_key", "key")):
            db.execute(f"DELETE FROM {name} WHERE {key} * 2654435761 % 97 < 48")
    db.close()


def fill_duckdb(path: Path, keys: list[int]) -> None:
    with duckdb.connect(str(path)) as db:
        db.register("given", pa.table({"id": keys}))
        for name, key in (("bare", ""), ("keyed", "PRIMARY KEY")):
            db.execute(f"CREATE TABLE {name} (id BIGINT {key}, note VARCHAR)")
            db.execute(f"INSERT INTO {name} SELECT id, repeat('x', 60) FROM given")
            db.execute(f"DELETE FROM {name} WHERE id * 7 % 97 < 48")


def fill_mariadb(options: dict[str, str], keys: list[int]) -> None:
    import pymysql

    parts = urlsplit(options["url"].removeprefix("jdbc:"))
    with pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=options["user"],
        password=options["password"],
        database=parts.path[1:],
        autocommit=True,
    ) as db:
        cursor = db.cursor()
        cursor.execute("CREATE TABLE keyed (id BIGINT PRIMARY KEY, note VARCHAR(60))")
        for piece in np.array_split(keys, 20):
            rows = ", ".join(f"({key}, repeat('x', 60))" for key in piece)
            cursor.execute(f"INSERT INTO keyed VALUES {rows}")
        cursor.execute("DELETE FROM keyed WHERE id * 7 % 97 < 48")


def measure_mariadb(uri: str, count: dict[str, str], keys: list[int]) -> None:
    parts = urlsplit(uri)
    server = count | {
        "url": f"jdbc:mysql://{parts.hostname}:{parts.port}{parts.path}",
        "user": parts.username or "",
        "password": unquote(parts.password or ""),
    }
    fill_mariadb(server, keys)
    measure("MariaDB, primary key", server | {"dbtable": "keyed"})
    query = {"query": "SELECT * FROM keyed", "partitionColumn": "id"}
    measure("MariaDB, query", server | query)


def measure(label: str, options: dict[str, str]) -> None:
    source = jdbc.JDBCArrowDataSource()
    source.infer_schema(options)
    begun = time.perf_counter()
    specs = source.plan_partitions(options)
    seconds = time.perf_counter() - begun
    rows = [sum(b.num_rows for b in source.read_partition(spec, options)) for spec in specs]
    ratio = max(rows) * len(rows) / sum(rows)
    found = specs[0].get("cuts", "equal widths")
    print(f"{label:24} {len(rows):3} partitions  max/mean {ratio:5.2f}  {seconds:6.3f} s  {found}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--mariadb", action="store_true")
    arguments = parser.parse_args()
    keys, count = log_normal_keys(arguments.rows), {"numPartitions": f"{arguments.partitions}"}
    bounds = {"lowerBound": f"{min(keys)}", "upperBound": f"{max(keys)}"}
    with (
        servers().running_postgres() as uri,  # type: ignore[attr-defined]
        tempfile.TemporaryDirectory() as folder,
    ):
        fill_postgresql(uri, keys)
        parts = urlsplit(uri)
        server = count | {
            "url": f"jdbc:postgresql://{parts.hostname}:{parts.port}{parts.path}",
            "user": parts.username or "",
            "password": unquote(parts.password or ""),
            "engine": "adbc",
        }
        even = {"partitionColumn": "id", **bounds}
        measure("PostgreSQL, equal widths", server | even | {"dbtable": "fresh"})
        measure("PostgreSQL, pg_stats", server | {"dbtable": "analyzed"})
        measure("PostgreSQL, sample", server | {"dbtable": "fresh"})
        query = {"query": "SELECT * FROM fresh", "partitionColumn": "id"}
        measure("PostgreSQL, query", server | query)
        fill_sqlite(Path(folder) / "keys.db", keys)
        file = count | {"url": f"jdbc:sqlite:{folder}/keys.db", "engine": "adbc"}
        measure("SQLite, equal widths", file | even | {"dbtable": "by_id"})
        measure("SQLite, INTEGER key", file | {"dbtable": "by_id"})
        measure("SQLite, named column", file | {"dbtable": "by_key", "partitionColumn": "key"})
        measure("SQLite, rowid", file | {"dbtable": "by_key"})
        fill_duckdb(Path(folder) / "keys.duckdb", keys)
        file = count | {"url": f"jdbc:duckdb:{folder}/keys.duckdb"}
        measure("DuckDB, no key", file | {"dbtable": "bare"})
        measure("DuckDB, primary key", file | {"dbtable": "keyed"})
        measure("DuckDB, query", file | {"query": "SELECT * FROM bare", "partitionColumn": "id"})
    if arguments.mariadb:
        with servers().running_mariadb(tls=False) as uri:  # type: ignore[attr-defined]
            measure_mariadb(uri, count, keys)


if __name__ == "__main__":
    main()
