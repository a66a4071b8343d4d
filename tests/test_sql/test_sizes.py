"""How many partitions a query's exchanges make, by the size of what it reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dask_sail
from dask_sail.sqlengine import stages

GROUPED = "SELECT k, count(*) AS n FROM t GROUP BY k"
JOINED = "SELECT a.k, sum(b.x) AS s FROM t a JOIN t b ON a.k = b.k WHERE a.x > 5 GROUP BY a.k"
ROWS = 10_000
TABLE = pa.table(
    {
        "k": np.arange(ROWS) % 7,
        "x": np.arange(ROWS) / 8,
        "s": [f"text {i % 100}" for i in range(ROWS)],
    }
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sizes") / "t.parquet"
    pq.write_table(TABLE, path, row_group_size=500)
    return path


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dask_sail.sqlengine.context.thread_count", lambda: 4)


def over(path: Path, **settings: Any) -> dask_sail.SQLContext:
    ctx = dask_sail.SQLContext(**settings)
    ctx.register_parquet("t", path)
    return ctx


def tasks(ctx: dask_sail.SQLContext, sql: str) -> int:
    found = re.search(r"(\d+) tasks?\b", str(ctx.explain(sql)))
    assert found is not None
    return int(found[1])


def hashed(ctx: dask_sail.SQLContext, sql: str) -> set[int]:
    """Return how many partitions the exchanges of a query make."""
    return set(map(int, re.findall(r"hashed into (\d+) partitions", str(ctx.explain(sql)))))


def rows(ctx: dask_sail.SQLContext, sql: str) -> list[dict[str, Any]]:
    with dask.config.set(num_workers=2):
        return sorted(ctx.to_arrow(sql).to_pylist(), key=repr)


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("sql", [GROUPED, JOINED])
def test_little_is_read_and_joined_in_one_task(place: Path, sql: str) -> None:
    ctx, divided = over(place), over(place, target_partitions=4)
    assert tasks(ctx, sql) == 1
    assert hashed(divided, sql) == {4}
    assert rows(ctx, sql) == rows(divided, sql)


@pytest.mark.usefixtures("four_threads")
def test_what_may_become_much_is_divided(place: Path) -> None:
    ctx = over(place)
    ctx.register_udf(lambda a: a, "slow", input_types=[pa.int64()], return_type=pa.int64())
    assert hashed(ctx, "SELECT slow(k) AS k, count(*) FROM t GROUP BY slow(k)") == {4}
    assert hashed(ctx, "SELECT k, sum(slow(k)) AS n FROM t GROUP BY k") == {4}
    crossed = "SELECT a.k, count(*) FROM t a JOIN t b ON a.x < b.x GROUP BY a.k"
    assert hashed(ctx, crossed) == {4}
    assert tasks(ctx, GROUPED) == 1  # which calls nothing
    frame = dd.from_pandas(pd.DataFrame({"k": [1, 2, 3]}), npartitions=2)
    ctx.register("frame", frame)
    assert hashed(ctx, "SELECT k, count(*) FROM frame GROUP BY k") == {4}


@pytest.mark.usefixtures("four_threads")
def test_exchanges_grow_with_the_columns_that_are_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_ONE_TASK_BYTES", 1000)
    ctx = over(place)
    assert hashed(ctx, GROUPED) == {4}
    monkeypatch.setattr(stages, "_PARTITION_BYTES", 10_000)
    # 10,000 rows of 8 bytes are 8 partitions of 10,000 bytes, 2 for each thread; of 16 bytes, 16.
    fresh = over(place)
    assert hashed(fresh, GROUPED) == {8}
    assert hashed(fresh, "SELECT k, sum(x) FROM t GROUP BY k") == {16}
    # A condition's own columns count; positions among the statistics of row groups do not.
    assert hashed(fresh, "SELECT k, count(*) FROM t WHERE x > 50 GROUP BY k") == {16}
    # 48 bytes, for a text is taken to have 32; at most 8 partitions, by the limit below.
    assert hashed(fresh, "SELECT k, sum(x), max(s) FROM t GROUP BY k") == {48}
    monkeypatch.setattr(stages, "_MOST_PARTITIONS", 8)
    assert hashed(over(place), "SELECT k, sum(x), max(s) FROM t GROUP BY k") == {8}
    assert rows(fresh, GROUPED) == rows(over(place, target_partitions=2), GROUPED)


@pytest.mark.usefixtures("four_threads")
def test_long_texts_are_taken_for_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [np.random.default_rng(i).bytes(500).hex() for i in range(1000)]
    pq.write_table(pa.table({"k": range(1000), "s": texts}), tmp_path / "t.parquet")
    monkeypatch.setattr(stages, "_ONE_TASK_BYTES", 500_000)
    ctx = over(tmp_path / "t.parquet")
    assert tasks(ctx, "SELECT k % 7, count(*) FROM t GROUP BY 1") == 1
    assert hashed(ctx, "SELECT k % 7, max(s) FROM t GROUP BY 1") == {4}


@pytest.mark.usefixtures("four_threads")
def test_a_table_of_unknown_size_is_taken_in_its_own_partitions() -> None:
    frame = dd.from_map(lambda i: pd.DataFrame({"k": [i]}), range(10))
    ctx = dask_sail.SQLContext({"big": frame, "t": pa.table({"k": [1]})})
    assert hashed(ctx, "SELECT k, count(*) FROM big GROUP BY k") == {12}  # 3 for each thread
    # A table counts for the queries that read it.
    assert hashed(ctx, GROUPED) == {4}


def test_a_query_keeps_its_size_when_the_cluster_grows(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_ONE_TASK_BYTES", 1000)
    ctx = over(place)
    for threads in (2, 6):
        monkeypatch.setattr("dask_sail.sqlengine.context.thread_count", lambda n=threads: n)
        assert hashed(ctx, GROUPED) == {threads}
