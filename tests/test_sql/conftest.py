"""Fixtures of the tests of SQL: tables, queries and references."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster


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
