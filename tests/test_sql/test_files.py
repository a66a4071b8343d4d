"""Parquet files that change: between queries, and between the planning and the reading of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
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
    with pytest.raises(OptionError, match=r"got hdfs://\.\.\.; .* register what dd.read_parquet"):
        ctx.register_parquet("u", "hdfs://key:secret@bucket/t/")


def test_a_folder_is_not_taken_for_another_one_whose_name_goes_on(tmp_path: Path) -> None:
    ctx = dask_sail.SQLContext()
    for name in ("t", "t2"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.parquet", 1)
        ctx.register_parquet(name, tmp_path / name)
    told = str(ctx.explain("SELECT * FROM t2"))
    assert "table t2: " in told
    assert "table t: " not in told


def unreadable(folder: Path, kind: str) -> Path:
    """Make what is no table of Parquet files."""
    folder = folder / kind
    if kind != "missing":
        folder.mkdir()
    if kind == "corrupt":
        (folder / "a.parquet").write_bytes(b"PAR1 nonsense PAR1")
    if kind == "cut":
        write(folder / "a.parquet", *range(1000))
        (folder / "a.parquet").write_bytes((folder / "a.parquet").read_bytes()[:-9])
    if kind == "others":
        (folder / "a.csv").write_text("x\n1\n")
        (folder / "b.parquet").touch()
    if kind == "clash":
        write(folder / "a.parquet", 1)
        pq.write_table(pa.table({"x": ["one"]}), folder / "b.parquet")
    if kind == "levels":
        for key in ("year", "month"):
            (folder / f"{key}=1").mkdir()
            write(folder / f"{key}=1" / "a.parquet", 1)
    return folder


UNREADABLE = {
    "missing": "there is no such file",
    "empty": "there is no such file",
    "others": "there is no such file, or none .* files whose names end in .parquet are read",
    "corrupt": r"corrupt/a\.parquet': ",
    "cut": r"cut/a\.parquet': ",
    "clash": "Fail to merge schema field 'x'",
    "levels": r"folders that name \['month'\], others in such that name \['year'\]",
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_is_an_error_of_ours(tmp_path: Path, kind: str) -> None:
    place = unreadable(tmp_path, kind)
    ctx = dask_sail.SQLContext({"t": pa.table({"x": [1]})})
    with pytest.raises(
        OptionError, match=f"'path' cannot be read as Parquet: .*{UNREADABLE[kind]}"
    ):
        ctx.register_parquet("t", place)
    with pytest.raises(
        dask_sail.SQLStatementError, match=f"'LOCATION' cannot be .*{UNREADABLE[kind]}"
    ) as caught:
        ctx.sql(f"CREATE OR REPLACE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{place}'")
    assert caught.value.line == 1
    assert str(place) in str(caught.value)
    # What had the name keeps it.
    assert ctx.to_arrow("SELECT x FROM t").to_pydict() == {"x": [1]}


def test_a_file_that_turned_corrupt_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1, 2, 3]}), path, use_dictionary=False, compression="none")
    ctx = dask_sail.SQLContext()
    ctx.register_parquet("t", path)
    frame, stat, whole = ctx.sql(SQL), path.stat(), path.read_bytes()

    def told(changed: bytes) -> str:
        assert changed != whole
        path.write_bytes(changed)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        with pytest.raises(dask_sail.SQLExecutionError) as caught:
            frame.compute(scheduler="threads")
        return str(caught.value)

    header = told(whole[:4] + b"\xff" * 8 + whole[12:])
    assert header.endswith(f"\nThe task reads '{path}'")
    # A data page at the offset -4: DataFusion's reader does not foresee that, and panics.
    panicked = told(whole.replace(b"\x26\x08", b"\x26\x07"))
    assert "DataFusion broke off: column start and length should not be negative" in panicked
    assert panicked.endswith(f"\nThe task reads '{path}'")


def test_one_place_of_several_that_is_missing_is_told(lake: Path) -> None:
    with pytest.raises(OptionError, match=r"no such file.*got \['[^',]*/gone'\]"):
        dask_sail.SQLContext().register_parquet("t", [lake, lake.parent / "gone"])


def test_files_of_other_kinds_in_a_folder_are_no_part_of_it(lake: Path) -> None:
    (lake / "_SUCCESS").touch()  # as Spark leaves it beside the folders
    (lake / "year=2024" / "README.txt").write_text("by hand")
    (lake / "year=2024" / "_temporary").mkdir()
    write(lake / "year=2024" / "_temporary" / "a.parquet", 9)
    ctx = dask_sail.SQLContext()
    ctx.register_parquet("t", lake)
    assert ctx.to_arrow("SELECT x, year FROM t ORDER BY x").to_pydict() == {
        "x": [1, 2],
        "year": ["2024", "2024"],
    }
    (listed,) = ctx.to_arrow("SHOW TABLES").to_pylist()
    assert (listed["partitions"], listed["rows"]) == (1, 2)


def test_columns_that_only_some_files_have_are_null_in_others(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", 1)
    pq.write_table(pa.table({"x": [2], "y": ["b"]}), tmp_path / "b.parquet")
    ctx = dask_sail.SQLContext()
    ctx.register_parquet("t", tmp_path)
    assert ctx.to_arrow("SELECT * FROM t ORDER BY x").to_pydict() == {"x": [1, 2], "y": [None, "b"]}


def test_columns_of_several_places_are_found_by_their_names(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1], "y": [10]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"y": [20], "x": [2], "z": ["b"]}), tmp_path / "b.parquet")
    ctx = dask_sail.SQLContext()
    ctx.register_parquet("t", [tmp_path / "a.parquet", tmp_path / "b.parquet"])
    wanted = {"x": [1, 2], "y": [10, 20], "z": [None, "b"]}
    assert ctx.to_arrow("SELECT * FROM t ORDER BY x").to_pydict() == wanted
    pq.write_table(pa.table({"x": ["one"]}), tmp_path / "c.parquet")
    with pytest.raises(OptionError, match="Field x has incompatible types: int64 vs string"):
        ctx.register_parquet("t", [tmp_path / "a.parquet", tmp_path / "c.parquet"])


def test_partitioned_by_is_compared_with_the_folders(lake: Path) -> None:
    ctx = dask_sail.SQLContext()
    ctx.register_parquet("t", lake, partitioned_by=["year"])
    create = f"CREATE EXTERNAL TABLE u STORED AS PARQUET LOCATION '{lake}' PARTITIONED BY"
    ctx.sql(f"{create} (year)")
    assert ctx.to_arrow("SELECT sum(x) AS s FROM u WHERE year = '2024'").to_pydict() == {"s": [3]}
    ctx.sql("DROP TABLE u")
    for name in ("x", "month"):  # a column of the files, and nothing at all
        with pytest.raises(
            dask_sail.SQLStatementError, match=f"names '{name}', but .* folders name 'year'"
        ):
            ctx.sql(f"{create} ({name})")
        with pytest.raises(OptionError, match=f"'partitioned_by' names '{name}'"):
            ctx.register_parquet("u", lake, partitioned_by=["year", name])
    assert ctx.tables() == ["t"]


def test_columns_have_the_types_that_the_file_says(tmp_path: Path) -> None:
    text, data = ["x", None], [b"x", None]
    table = pa.table(
        {
            "text": text,
            "large": pa.array(text, pa.large_string()),
            "view": pa.array(text, pa.string_view()),
            "data": pa.array(data),
            "large_data": pa.array(data, pa.large_binary()),
            "fixed": pa.array([b"xx", None], pa.binary(2)),
            "packed": pa.array(text).dictionary_encode(),
            "texts": [["x"], None],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    ctx = dask_sail.SQLContext(target_partitions=2)
    ctx.register_parquet("t", tmp_path)
    got = ctx.to_arrow("SELECT * FROM t")
    as_written = pq.read_schema(tmp_path / "t.parquet")
    assert [(f.name, f.type) for f in got.schema] == [(f.name, f.type) for f in as_written]
    assert got.to_pylist() == table.to_pylist()
    assert ctx.to_arrow("SELECT max(text) AS m FROM t").schema.types == [pa.string()]


@pytest.fixture
def nulls(tmp_path: Path) -> tuple[pa.Table, Path]:
    """A table with NULLs in two columns, and the folder that Arrow writes it to by these."""
    table = pa.table(
        {
            "v": [1, 2, 3, 4, 5],
            "k": ["1", None, "2", None, "1"],
            "city": ["Köln", "Rom", None, None, "a b/c"],
        }
    )
    pq.write_to_dataset(table, tmp_path / "nulls", partition_cols=["k", "city"])
    return table, tmp_path / "nulls"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT v, k, city FROM t",
        "SELECT v FROM t WHERE k IS NULL",
        "SELECT v FROM t WHERE k IS NOT NULL AND city IS NULL",
        "SELECT v, city FROM t WHERE k <> '1'",
        "SELECT v FROM t WHERE k IS NULL AND city = 'Rom' OR city = 'a b/c'",
        "SELECT v FROM t WHERE k = '__HIVE_DEFAULT_PARTITION__'",
        "SELECT v FROM t WHERE k NOT IN ('2')",
        "SELECT k, count(*) AS n, count(city) AS c, min(city) AS m FROM t GROUP BY k",
        "SELECT count(*) AS n, count(k) AS k, count(DISTINCT city) AS c FROM t",
        "SELECT a.v, b.v AS w FROM t a JOIN t b ON a.k = b.k",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) "
        "SELECT v, k FROM t JOIN r ON v = n",
    ],
)
@pytest.mark.parametrize("partitions", [None, 3])
@pytest.mark.parametrize("places", [1, 2])
def test_a_folder_that_stands_for_null_is_null(
    nulls: tuple[pa.Table, Path],
    corpus: ModuleType,
    sql: str,
    partitions: int | None,
    places: int,
) -> None:
    table, folder = nulls
    ctx = dask_sail.SQLContext(target_partitions=partitions)
    ctx.register_parquet("t", [folder] * places)
    want = corpus.duckdb_reference({"t": pa.concat_tables([table] * places)}).sql(sql)
    corpus.compare(ctx.to_arrow(sql), want.to_arrow_table(), sql, types=False)


def test_only_folders_that_a_condition_on_null_is_about_are_read(
    nulls: tuple[pa.Table, Path],
) -> None:
    ctx = dask_sail.SQLContext(target_partitions=2)
    ctx.register_parquet("t", nulls[1])
    for file in nulls[1].glob("k=[12]/**/*.parquet"):
        before = file.stat()
        file.write_bytes(bytes(before.st_size))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = ctx.to_arrow("SELECT v FROM t WHERE k IS NULL")
    assert sorted(found["v"].to_pylist()) == [2, 4]
    with pytest.raises(dask_sail.SQLExecutionError):
        ctx.to_arrow("SELECT v FROM t WHERE k IS NOT NULL")


def test_nulls_that_datafusion_keeps_as_values_of_a_dictionary_are_nulls(lake: Path) -> None:
    other = lake / "year=2025"
    other.mkdir()
    write(other / "a.parquet", 3)
    ctx = dask_sail.SQLContext(target_partitions=2)
    ctx.register_parquet("t", lake)
    sql = "SELECT x, nullif(year, '2025') AS y, nullif(year, '2024') AS z FROM t ORDER BY x"
    assert ctx.to_arrow(sql).to_pydict() == {
        "x": [1, 2, 3],
        "y": ["2024", "2024", None],
        "z": [None, None, "2025"],
    }
