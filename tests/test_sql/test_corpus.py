"""The references agree with each other, and the comparison tells results apart."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pyarrow as pa
import pytest


@pytest.mark.parametrize("number", range(42))
def test_the_references_agree(
    corpus: ModuleType, datafusion_reference: Any, duckdb_reference: Any, number: int
) -> None:
    sql = corpus.queries()[number]
    if not corpus.datafusion_knows(sql):
        with pytest.raises(ValueError, match="FETCH clause is not supported"):
            datafusion_reference.sql(sql)
        return
    want = datafusion_reference.sql(sql).to_arrow_table()
    if corpus.duckdb_knows(sql):
        got = duckdb_reference.sql(sql).to_arrow_table()
        corpus.compare(got, want, sql, types=False)


MORE = Path(__file__).parents[1] / "vectors" / "sql_more_queries.sql"
#: Words of DataFusion that DuckDB has not, and names that test_stages.py defines.
ITS_OWN = re.compile(
    r"first_value\(\w+ order|approx_distinct|(semi|anti) join|\bvalue\b|to_char|struct\("
    r"|biggest|\bseen\b"
)


@pytest.mark.parametrize("sql", MORE.read_text(encoding="utf-8").removesuffix(";\n").split(";\n"))
def test_the_references_agree_on_more_queries(
    corpus: ModuleType, datafusion_reference: Any, duckdb_reference: Any, sql: str
) -> None:
    if ITS_OWN.search(sql):
        with pytest.raises(duckdb.Error):
            duckdb_reference.sql(sql).to_arrow_table()
        return
    want = datafusion_reference.sql(sql).to_arrow_table()
    corpus.compare(duckdb_reference.sql(sql).to_arrow_table(), want, sql, types=False)


@pytest.mark.parametrize("number", range(1, 23))
def test_the_references_agree_on_tpch(
    corpus: ModuleType, tpch: Path, tpch_tables: dict[str, pa.Table], number: int
) -> None:
    sql = corpus.tpch_query(tpch, number)
    want = corpus.datafusion_reference(tpch_tables).sql(sql).to_arrow_table()
    got = corpus.duckdb_reference(tpch_tables).sql(sql).to_arrow_table()
    corpus.compare(got, want, sql, types=False)


ONE = pa.table({"n": [1, 2], "x": [0.5, float("nan")]})


@pytest.mark.parametrize(
    "other",
    [
        ONE.slice(0, 1),
        ONE.rename_columns(["N", "x"]),
        ONE.set_column(0, "n", pa.array([1, 2], pa.int32())),
        ONE.set_column(0, "n", pa.array([1, None], pa.int64())),
        ONE.set_column(1, "x", pa.array([0.5, None])),
        ONE.set_column(1, "x", pa.array([0.5000000001, float("nan")])),
    ],
)
def test_the_comparison_tells_results_apart(corpus: ModuleType, other: pa.Table) -> None:
    corpus.compare(ONE, ONE, "select n, x from t")
    corpus.compare(ONE.take([1, 0]), ONE, "select n, x from t")
    with pytest.raises(AssertionError):
        corpus.compare(other, ONE, "select n, x from t")
    with pytest.raises(AssertionError):
        corpus.compare(ONE.take([1, 0]), ONE, "select n, x from t order by n")
