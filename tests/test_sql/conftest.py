"""Fixtures of the tests of SQL: tables, queries and references."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dask.dataframe as dd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

import dask_sail  # noqa: F401 - attaches dd.read_python_source


@pytest.fixture(scope="session")
def corpus() -> ModuleType:
    """The module ``corpus.py``; test folders are no packages, so it is loaded by its path."""
    path = Path(__file__).with_name("corpus.py")
    spec = importlib.util.spec_from_file_location("sql_corpus", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tpch(corpus: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the TPC-H tables, scale 0.01, as ``<table>.parquet``, and ``01.sql`` to 22."""
    folder = tmp_path_factory.mktemp("tpch")
    corpus.make_tpch(folder, 0.01)
    return folder


@pytest.fixture(scope="session")
def datafusion_reference(corpus: ModuleType) -> Any:
    """Single-process DataFusion over t, u and e."""
    return corpus.datafusion_reference(corpus.whole_tables())


@pytest.fixture(scope="session")
def duckdb_reference(corpus: ModuleType) -> Any:
    """DuckDB over t, u and e."""
    return corpus.duckdb_reference(corpus.whole_tables())


@pytest.fixture(scope="session")
def tpch_tables(corpus: ModuleType, tpch: Path) -> Any:
    """The TPC-H tables in memory."""
    return {name: pq.read_table(tpch / f"{name}.parquet") for name in corpus.TPCH_TABLES}


@pytest.fixture(scope="session")
def tpch_answers(corpus: ModuleType, tpch: Path, tpch_tables: Any) -> Any:
    """From the number of a TPC-H query to DataFusion's answer, and DuckDB's."""
    datafusion = corpus.datafusion_reference(tpch_tables)
    duckdb = corpus.duckdb_reference(tpch_tables)

    @functools.cache
    def answers(number: int) -> tuple[pa.Table, pa.Table]:
        sql = corpus.tpch_query(tpch, number)
        return datafusion.sql(sql).to_arrow_table(), duckdb.sql(sql).to_arrow_table()

    return answers


class Pieces:
    """A source whose partitions are those of a table of the corpus, in a file."""

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        with pa.ipc.open_file(options["file"]) as file:
            return file.schema

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        with pa.ipc.open_file(options["file"]) as file:
            return [{"batch": i} for i in range(file.num_record_batches)]

    def read_partition(self, spec: Any, options: dict[str, str]) -> Any:
        with pa.ipc.open_file(options["file"]) as file:
            batch = file.get_batch(spec["batch"])
        for start in range(0, max(1, batch.num_rows), 64):
            yield batch.slice(start, 64)


@pytest.fixture(scope="session")
def pieces(corpus: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """t, u and e as a source, with partitions that are empty or hold one row."""
    folder = tmp_path_factory.mktemp("pieces")
    for name, parts in corpus.tables().items():
        schema = corpus.whole_tables()[name].schema
        with pa.ipc.new_file(str(folder / name), schema) as file:
            for part in parts:
                decoded = part.cast(schema)
                batches = decoded.combine_chunks().to_batches()
                file.write_batch(
                    batches[0] if batches else pa.RecordBatch.from_pylist([], schema=schema)
                )
    return {name: dd.read_python_source(Pieces, file=folder / name) for name in corpus.tables()}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A client of two worker processes with one thread each."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def in_process() -> ModuleType:
    """The module ``in_process.py``, which runs plans without Dask."""
    path = Path(__file__).with_name("in_process.py")
    spec = importlib.util.spec_from_file_location("sql_in_process", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
