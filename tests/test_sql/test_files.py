"""Parquet files that change: between queries, and between the planning and the reading of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dask_sail
from dask_sail.errors import OptionError

SQL = "SELECT x % 2 AS odd, sum(x) AS s FROM t GROUP BY 1 ORDER BY 1"
WHOLE = (
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 2) "
    "SELECT sum(x) AS s FROM t CROSS JOIN r"
)


def write(path: Path, *values: int) -> None:
    """Write a file, at another time than whatever was there before."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    pq.write_table(pa.table({"x": pa.array(values, pa.int64())}), path)
    if path.stat().st_mtime_ns // 1000 == before // 1000:
        os.utime(path, ns=(before + 2000, before + 2000))


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    folder = tmp_path / "lake" / "year=2024"
    folder.mkdir(parents=True)
    write(folder / "a.parquet", 1, 2)
    return tmp_path / "lake"


CHANGES: dict[str, Callable[[Path], Any]] = {
    "written": lambda lake: write(lake / "year=2024" / "a.parquet", 5, 8),  # as many bytes
    "added": lambda lake: write(lake / "year=2024" / "b.parquet", 7),
    "moved": lambda lake: (lake / "year=2024").rename(lake / "year=2025"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("place", ["", "**/*.parquet"])
def test_a_query_sees_the_files_that_there_are_now(lake: Path, change: str, place: str) -> None:
    ctx = dask_sail.SQLContext()
    ctx.register_parquet("t", f"{lake}/{place}")
    sql = "SELECT x, year FROM t ORDER BY x"
    if place:  # DataFusion makes no columns of a pattern's folders
        sql = "SELECT x FROM t ORDER BY x"
    ctx.to_arrow(sql)
    CHANGES[change](lake)
    wanted = {"written": [5, 8], "added": [1, 2, 7], "moved": [1, 2]}[change]
    got = ctx.to_arrow(sql)
    assert got["x"].to_pylist() == wanted
    if "year" in got.schema.names:
        years = [int(year) for year in got["year"].to_pylist()]
        assert years == [2025 if change == "moved" else 2024] * len(wanted)
    listed = ctx.to_arrow("SHOW TABLES").to_pylist()
    assert listed == [
        {
            "table_name": "t",
            "table_type": "parquet",
            "partitions": 2 if change == "added" else 1,
            "rows": len(wanted),
        }
    ]


def test_files_that_are_gone_are_an_error_until_they_are_back(lake: Path) -> None:
    ctx = dask_sail.SQLContext()
    file = lake / "year=2024" / "a.parquet"
    ctx.register_parquet("t", file)
    file.rename(lake / "elsewhere")
    for _ in range(2):
        with pytest.raises(OptionError, match="cannot be read as Parquet"):
            ctx.sql(SQL)
    (lake / "elsewhere").rename(file)
    assert ctx.to_arrow(SQL).to_pydict() == {"odd": [0, 1], "s": [2, 1]}


@pytest.mark.parametrize("sql", [SQL, WHOLE], ids=["stages", "whole"])
@pytest.mark.parametrize("change", CHANGES)
def test_no_key_names_both_an_old_result_and_a_new_one(lake: Path, sql: str, change: str) -> None:
    def keys() -> set[Any]:
        ctx = dask_sail.SQLContext()
        ctx.register_parquet("t", lake)
        graph = ctx.sql(sql).optimize().__dask_graph__()
        # What is called a plan is the same work, on whatever files.
        return {key for key in graph if not key[0].startswith("plan_")}

    before = keys()
    assert before
    assert keys() == before
    CHANGES[change](lake)
    assert not keys() & before


@pytest.mark.parametrize("sql", [SQL, WHOLE], ids=["stages", "whole"])
@pytest.mark.parametrize("change", ["written", "moved"])
def test_a_file_that_changed_after_planning_is_an_error(lake: Path, sql: str, change: str) -> None:
    ctx = dask_sail.SQLContext()
    ctx.register_parquet("t", lake)
    planned = ctx.sql(sql)
    planned.compute()
    CHANGES[change](lake)
    with pytest.raises(dask_sail.SQLExecutionError, match=r"not found|written after the query was"):
        planned.compute()
    assert len(ctx.sql(sql)) > 0


def test_a_query_that_runs_whole_misses_a_new_file_too(lake: Path) -> None:
    ctx = dask_sail.SQLContext()
    ctx.register_parquet("t", lake)
    planned = ctx.sql(WHOLE)
    CHANGES["added"](lake)
    with pytest.raises(dask_sail.SQLExecutionError, match="written after the query was planned"):
        planned.compute()


def test_other_urls_than_files_are_refused(lake: Path) -> None:
    ctx = dask_sail.SQLContext()
    ctx.register_parquet("t", f"file://{lake}/year%3D2024/a.parquet")
    assert ctx.to_arrow("SELECT sum(x) AS s FROM t").to_pydict() == {"s": [3]}
    with pytest.raises(OptionError, match=r"got s3://\.\.\.; or register what dd.read_parquet"):
        ctx.register_parquet("u", "s3://key:secret@bucket/t/")


def test_a_folder_is_not_taken_for_another_one_whose_name_goes_on(tmp_path: Path) -> None:
    ctx = dask_sail.SQLContext()
    for name in ("t", "t2"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.parquet", 1)
        ctx.register_parquet(name, tmp_path / name)
    told = str(ctx.explain("SELECT * FROM t2"))
    assert "table t2: " in told
    assert "table t: " not in told
