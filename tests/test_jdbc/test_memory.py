"""What a partition takes beside its result, while its rows stream through a filter."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import psycopg
import pytest


def benchmark() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "memory.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("engine", ["adbc", "fallback"])
def test_a_partition_of_200_mb_takes_80_mb_at_most(postgres: str, engine: str) -> None:
    try:
        peak, rows = benchmark().peak_of(postgres, engine, 200)
    finally:
        with psycopg.connect(postgres, autocommit=True) as db:
            db.execute("DROP TABLE IF EXISTS heavy_200")
    assert rows == 10_000
    assert peak <= 80_000_000
