"""IN (SELECT ...) over NULLs: DuckDB's answer, or an error that says what to write instead."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

import dask_sail

TABLES = {
    "t": pa.table({"id": range(6), "k": [1, 2, 3, None, 1, 2], "b": [True, False, None] * 2}),
    "u": pa.table({"id": [0, 1, 4], "k": [1, None, 3], "b": [True, True, False]}),
}


@pytest.fixture(scope="module")
def ctx() -> Any:
    return dask_sail.SQLContext(TABLES, target_partitions=2)


@pytest.mark.parametrize(
    "condition",
    [
        "k NOT IN (SELECT k FROM u) OR id = 3",
        "id = 3 OR NOT (k IN (SELECT k FROM u) AND b)",
        "k NOT IN (SELECT k FROM u WHERE u.id > t.id)",
        "NOT k IN (SELECT k FROM u WHERE u.id > t.id) AND b",
        "k NOT IN (SELECT u.k FROM u WHERE t.b)",
        "(k IN (SELECT k FROM u)) IS NULL",
        "CASE WHEN k NOT IN (SELECT k FROM u) THEN b ELSE id = 1 END",
        "id IN (SELECT id FROM u WHERE k NOT IN (SELECT k FROM t) OR b)",
        "EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND (b OR u.k NOT IN (SELECT k FROM t)))",
    ],
)
def test_what_would_take_unknown_for_false_is_refused(ctx: Any, condition: str) -> None:
    with pytest.raises(dask_sail.SQLNotSupportedError, match="write NOT EXISTS"):
        ctx.sql(f"SELECT id FROM t WHERE {condition}")
    with pytest.raises(dask_sail.SQLNotSupportedError, match="write NOT EXISTS"):
        ctx.sql(f"WITH c AS (SELECT id FROM t WHERE {condition}) SELECT count(*) AS n FROM c")


@pytest.mark.parametrize(
    "condition",
    [
        "NOT EXISTS (SELECT 1 FROM u WHERE (u.k = t.k) IS NOT FALSE) OR id = 3",
        "NOT EXISTS (SELECT 1 FROM u WHERE u.id > t.id AND (u.k = t.k) IS NOT FALSE)",
        "NOT EXISTS (SELECT 1 FROM u WHERE t.b AND (u.k = t.k) IS NOT FALSE)",
        "k NOT IN (SELECT k FROM u)",
        "k NOT IN (SELECT k FROM u WHERE k IS NOT NULL) AND (b OR id > 2)",
        "k NOT IN (SELECT k FROM u WHERE id > 9)",
        "NOT (k IN (SELECT k FROM u WHERE id <> 1) OR id = 3)",
        "k IN (SELECT k FROM u) OR id = 3",
        "k IN (SELECT k FROM u WHERE u.id > t.id) OR NOT b",
        "(k IN (SELECT k FROM u)) IS NOT TRUE",
        "id IN (SELECT id FROM u WHERE k IS NOT NULL AND k NOT IN (SELECT 3))",
        "id = 3 OR 'k NOT IN (SELECT k FROM u) OR' = 'x'",
    ],
)
def test_what_is_not_refused_is_right(ctx: Any, corpus: ModuleType, condition: str) -> None:
    sql = f"SELECT id FROM t WHERE {condition}"
    want = corpus.duckdb_reference(TABLES).sql(sql).to_arrow_table()
    corpus.compare(ctx.to_arrow(sql), want, sql, types=False)
