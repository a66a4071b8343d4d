"""One session for all tests of an engine: PySpark with its JVM, or a Lakesail server."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Engine:
    """A session, and which engine it is of."""

    name: str
    session: Any

    def read(self, source: str, **options: Any) -> Any:
        """A DataFrame of a source in ``sources_for_spark``."""
        reader = self.session.read.format("python").option("python_module", "sources_for_spark")
        return reader.option("python_class", source).options(**options).load()

    @contextmanager
    def pushing(self) -> Iterator[None]:
        """Have Spark push filters; Lakesail does it always."""
        if self.name == "lakesail":
            yield
            return
        setting = "spark.sql.python.filterPushdown.enabled"
        self.session.conf.set(setting, "true")
        try:
            yield
        finally:
            self.session.conf.unset(setting)


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("spark", marks=pytest.mark.java),
        pytest.param("lakesail", marks=pytest.mark.lakesail),
    ],
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    # What executors are to import and resolve: they inherit both from here.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    os.environ["SAIL_TEST_SECRET"] = "pa$$word=1"
    # The time zone of this process would show in collected timestamps.
    os.environ["TZ"] = "UTC"
    time.tzset()
    start = {"spark": pyspark_session, "lakesail": lakesail_session}[request.param]
    with start() as session:
        session.conf.set("spark.sql.session.timeZone", "UTC")
        yield Engine(request.param, session)


@contextmanager
def pyspark_session() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    # The plain "python3" of PATH otherwise, which lacks what is installed here.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "2")
    session = builder.config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@contextmanager
def lakesail_session() -> Iterator[Any]:
    """A real ``sail spark server`` in a process of its own, and a client of it."""
    import re
    import subprocess
    import tempfile

    from pyspark.sql import SparkSession

    with tempfile.TemporaryDirectory() as home:
        log = Path(home) / "log"
        command = [sys.executable, "-m", "pysail", "spark", "server", "--port", "0"]
        with log.open("w") as output:
            server = subprocess.Popen(command, cwd=home, stdout=output, stderr=output)
        try:
            for _ in range(600):
                if found := re.search(r"server on (127\.0\.0\.1:\d+)", log.read_text()):
                    break
                assert server.poll() is None, log.read_text()
                time.sleep(0.05)
            else:
                raise AssertionError(log.read_text())
            session = SparkSession.builder.remote(f"sc://{found[1]}").getOrCreate()
            yield session
            session.stop()
        finally:
            server.kill()
            server.wait()


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[Mapping[str, pa.Array]], str]:
    """Keep columns in an Arrow file of one batch; returns its path."""

    def store(columns: Mapping[str, pa.Array] | pa.Table, rows: int | None = None) -> str:
        table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.arrow"
        with pa.OSFile(str(path), "w") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=rows)
        return str(path)

    return store
