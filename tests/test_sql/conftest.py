"""Fixtures of the tests of SQL: tables, queries and references."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest


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
