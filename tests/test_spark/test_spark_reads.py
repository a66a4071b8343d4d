"""What a person meets on Spark and Lakesail: options, partitions, SQL, errors, secrets."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import traceback
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import jdbc

PATH = {"python_module": "sources_for_spark", "python_class": "Numbers"}


def message(action: Any) -> str:
    """All that a person sees of an error."""
    with pytest.raises(Exception, match=r".") as raised:
        action()
    return "".join(traceback.format_exception(raised.value))


def numbers(frame: Any) -> list[int]:
    return sorted(row.n for row in frame.collect())


def test_every_partition_is_read_once_without_its_empty_batches(engine: Any) -> None:
    frame = engine.read("Numbers", n=5)
    assert numbers(frame) == [0, 1, 2, 3, 4]
    assert frame.count() == 5


def test_a_source_without_partitions_has_columns_and_no_rows(engine: Any) -> None:
    frame = engine.read("Numbers", n=0)
    assert frame.columns == ["n"]
    assert frame.collect() == []
    assert frame.count() == 0


def test_options_match_ignoring_case_and_none_of_ours_reaches_the_source(engine: Any) -> None:
    reader = engine.session.read.format("python").option("PYTHON_MODULE", "sources_for_spark")
    rows = reader.option("Python_Class", "Echo").option("fetchSize", "7").load().collect()
    given = {row.key.lower(): row.value for row in rows}
    assert given.pop("(modules)") == ""  # no executor imports Dask
    assert given == {"fetchsize": "7"}


def test_an_option_whose_name_begins_as_those_of_tables_leaves_the_others(engine: Any) -> None:
    given = {"b": "1", "option.b": "2", "option.c": "3", "provider": "x", "owner": "y"}
    rows = engine.read("Echo", **given).collect()
    found = dict(tuple(row) for row in rows)
    del found["(modules)"]
    assert found == given


def test_references_are_resolved_where_the_source_is(engine: Any) -> None:
    rows = engine.read("Echo", password="{env:SAIL_TEST_SECRET}").collect()
    assert ("password", "pa$$word=1") in [tuple(row) for row in rows]


def test_a_reference_to_nothing_is_an_error(engine: Any) -> None:
    frame_or_error = message(lambda: engine.read("Echo", password="{env:SAIL_NOT_SET}").collect())
    assert "environment variable 'SAIL_NOT_SET' is not set" in frame_or_error


def test_the_path_of_load_is_an_option(engine: Any) -> None:
    reader = engine.session.read.format("python").options(**PATH | {"python_class": "Echo"})
    rows = reader.load("some/where").collect()
    assert ("path", "some/where") in [tuple(row) for row in rows]


def test_a_misspelt_option_of_a_source_that_names_its_own(engine: Any) -> None:
    read = engine.session.read.format("python").options(**PATH, n="2", passwort="hush-hush-1")
    said = message(lambda: read.load().collect())
    assert "is none of the source 'sources_for_spark:Numbers'; did you mean 'password'?" in said
    assert "hush-hush-1" not in said


OPTIONS = "(python_module = 'sources_for_spark', python_class = 'Numbers', n = '4')"


def test_a_view_in_sql(engine: Any) -> None:
    if engine.name == "lakesail":  # which has tables of sources, and no views
        return
    sql = engine.session.sql
    sql(f"CREATE TEMPORARY VIEW counts USING python OPTIONS {OPTIONS}")
    assert sql("SELECT sum(n) AS total FROM counts WHERE n > 1").collect()[0].total == 5


def test_a_table_in_sql(engine: Any) -> None:
    sql = engine.session.sql
    sql("DROP TABLE IF EXISTS counted")
    sql(f"CREATE TABLE counted USING python OPTIONS {OPTIONS}")
    try:
        # Spark hands a table's options to no Python source; a query may say them again.
        again = f" WITH {OPTIONS}" if engine.name == "spark" else ""
        query = f"SELECT sum(n) AS total FROM counted{again} WHERE n > 1"
        assert sql(query).collect()[0].total == 5
        if engine.name == "spark":
            said = message(sql("SELECT * FROM counted").collect)
            assert "write CREATE TEMPORARY VIEW ... USING python OPTIONS (...)" in said
    finally:
        sql("DROP TABLE counted")


def test_a_table_of_a_database_in_sql(engine: Any, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        db.execute("CREATE TABLE orders AS SELECT 7 AS id")
        db.commit()
    given = (
        "(python_module 'jdbc.datasource', python_class 'JDBCArrowDataSource', dbtable 'orders', "
        f"url 'jdbc:sqlite:{tmp_path}/shop.db')"
    )
    sql = engine.session.sql
    sql("DROP TABLE IF EXISTS of_a_database")
    sql(f"CREATE TABLE of_a_database USING python OPTIONS {given}")
    try:
        again = f" WITH {given}" if engine.name == "spark" else ""
        assert [row.id for row in sql(f"SELECT id FROM of_a_database{again}").collect()] == [7]
    finally:
        sql("DROP TABLE of_a_database")


@pytest.fixture
def four(tmp_path: Path) -> dict[str, str]:
    """Options of four rows in as many partitions of a SQLite file."""
    with contextlib.closing(sqlite3.connect(tmp_path / "four.db")) as db:
        db.execute("CREATE TABLE four AS SELECT value AS n FROM json_each('[0, 1, 2, 3]')")
        db.commit()
    cuts = {"partitionColumn": "n", "lowerBound": "0", "upperBound": "4", "numPartitions": "4"}
    return {"url": f"jdbc:sqlite:{tmp_path}/four.db", "dbtable": "four", **cuts}


def told(tmp_path: Path) -> list[str]:
    found = (tmp_path / "four.db.warnings").read_text().splitlines()
    (tmp_path / "four.db.warnings").unlink()
    return found


def test_maxconnections_is_told_to_be_ignored_once_a_read(
    engine: Any, four: dict[str, str], tmp_path: Path
) -> None:
    warning = (
        "sources_for_spark:Told: option 'maxConnections' is ignored here, as it holds on Dask only;"
        " leave it out, and write numPartitions=3 or less: each partition has one connection while"
        " it is read"
    )
    frame = engine.read("Told", **four, maxConnections=3)
    assert numbers(frame) == [0, 1, 2, 3]
    assert told(tmp_path) == [warning]
    with engine.pushing():
        assert numbers(frame.filter("n > 1")) == [2, 3]
    assert told(tmp_path) == [warning]
    # Others are told as ever, by planning and by each partition.
    assert numbers(engine.read("Told", **four, driver="org.sqlite.JDBC")) == [0, 1, 2, 3]
    assert {line.partition(" is ")[0] for line in told(tmp_path)} == {"option 'driver'"}


def test_an_option_of_that_name_is_a_sources_own(engine: Any) -> None:
    rows = engine.read("Echo", maxConnections=3).collect()
    assert ("maxconnections", "3") in [(row.key.lower(), row.value) for row in rows]


def test_the_class_can_be_registered(engine: Any) -> None:
    from dask_sail.spark import PythonSource

    class Renamed(PythonSource):
        @classmethod
        def name(cls) -> str:
            return "meters"

    engine.session.dataSource.register(Renamed)
    frame = engine.session.read.format("meters").options(**PATH, n=3).load()
    assert numbers(frame) == [0, 1, 2]


@pytest.mark.parametrize("when", ["failSchema", "fail"])
@pytest.mark.parametrize("password", ["pa$$word=1", "{env:SAIL_TEST_SECRET}"])
def test_an_error_shows_the_sources_own_traceback_and_no_secret(
    engine: Any, when: str, password: str
) -> None:
    said = message(
        lambda: engine.read("Numbers", n=2, password=password, **{when: "yes"}).collect()
    )
    assert "sources_for_spark.py" in said
    if when == "fail":
        assert "partition {'n': " in said
        assert "in _divide" in said
        assert "ZeroDivisionError: cannot divide" in said
    else:
        assert "LookupError: no table for ***" in said
    assert "pa$$word" not in said


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("missing", "a batch lacks 'n', which infer_schema gave"),
        ("noBatch", "read_partition must yield pyarrow.RecordBatch, got a builtins.dict"),
    ],
)
def test_batches_that_break_the_contract_are_refused(
    engine: Any, option: str, complaint: str
) -> None:
    said = message(lambda: engine.read("Numbers", n=1, **{option: "yes"}).collect())
    assert complaint in said


def test_columns_that_the_schema_lacks_are_dropped(engine: Any) -> None:
    frame = engine.read("Numbers", n=1, extra="yes")
    assert [row.asDict() for row in frame.collect()] == [{"n": 0}, {"n": 0}]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "'python_module' did not arrive, nor did any other; write .option('python_module', "),
        ({"python_module": "sources_for_spark"}, "option 'python_class' must be a name, got None"),
        ({**PATH, "python_module": "no_such"}, "module 'no_such' cannot be imported"),
        ({**PATH, "python_class": "Number"}, "has no 'Number'; did you mean 'Numbers'"),
        ({**PATH, "python_class": "Any"}, "lacks infer_schema"),
        ({**PATH, "python_class": "WantsSnapshot", "n": 1}, "nobody keeps a snapshot open"),
    ],
)
def test_a_mistake_is_told_at_once(engine: Any, options: Any, complaint: str) -> None:
    read = engine.session.read.format("python").options(**options)
    assert complaint in message(lambda: read.load().collect())


def test_writing_is_refused(engine: Any) -> None:
    frame = engine.session.createDataFrame([(1,)], "n long")
    writer = frame.write.format("python").options(**PATH, n=1).mode("append")
    assert "the format 'python' cannot write" in message(writer.save)


def test_streaming_is_refused(engine: Any, tmp_path: Any) -> None:
    def stream() -> None:
        frame = engine.session.readStream.format("python").options(**PATH, n=1).load()
        writer = frame.writeStream.format("console").option("checkpointLocation", str(tmp_path))
        query = writer.start()
        try:
            query.processAllAvailable()
        finally:
            query.stop()

    said = message(stream)
    if engine.name == "spark":
        assert "the format 'python' cannot be read as a stream" in said
    else:  # which asks the source for nothing before it refuses
        assert "only supports streaming data" in said


# ------------------------------------------------------------------------------ a real database


@pytest.fixture(scope="module")
def shop(postgres: str, engine: Any) -> Iterator[dict[str, str]]:
    """Options of a table on a real PostgreSQL, 500 rows and one of NULLs."""
    from urllib.parse import unquote, urlsplit

    import psycopg

    parts = urlsplit(postgres)
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP TABLE IF EXISTS spark_orders")
        db.execute(
            "CREATE TABLE spark_orders AS SELECT i::int AS id, (i / 7.0)::numeric(12, 4) AS amount,"
            " 'customer ' || i AS name, timestamptz '2024-01-01 00:00Z' + i * interval '1 hour'"
            " AS at, i / 3.0::float8 AS ratio, i % 2 = 0 AS paid, date '2024-01-01' + i AS day"
            " FROM generate_series(1, 500) i"
        )
        db.execute("INSERT INTO spark_orders (id) VALUES (NULL)")
        os.environ["SAIL_TEST_PGPASSWORD"] = unquote(parts.password or "")
        yield {
            "url": f"jdbc:{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}",
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "dbtable": "spark_orders",
            "partitionColumn": "id",
            "lowerBound": "1",
            "upperBound": "500",
            "numPartitions": "4",
        }
        db.execute("DROP TABLE spark_orders")


JDBC = {"python_module": "jdbc.datasource", "python_class": "JDBCArrowDataSource"}


def plain(table: pa.Table) -> list[str]:
    rows = table.to_pylist()
    for row in rows:
        row["at"] = row["at"] and row["at"].timestamp()
    return sorted(map(repr, rows))


def test_postgresql_gives_the_rows_that_dask_gives(engine: Any, shop: dict[str, str]) -> None:
    import dask.dataframe as dd

    import dask_sail

    assert dask_sail.read_python_source is dd.read_python_source
    frame = dd.read_python_source("jdbc", options=shop).compute()
    expected = pa.Table.from_pandas(frame, preserve_index=False)
    spark = engine.session.read.format("python").options(**JDBC, **shop).load()
    if engine.name == "spark":
        assert spark.rdd.getNumPartitions() == 4
    found = spark.toArrow()
    assert found.num_rows == 501
    assert plain(found) == plain(expected)


def test_postgresql_filters_for_spark(engine: Any, shop: dict[str, str]) -> None:
    spark = engine.session.read.format("python").options(**JDBC, **shop).load()
    condition = "id > 100 AND amount < 20 AND name <> 'customer 120'"
    with engine.pushing():
        pushed = spark.filter(condition).toArrow()
        if engine.name == "spark":
            plan = spark.filter(condition)._jdf.queryExecution().toString()
            assert "id" in plan
            assert shop["password"] not in plan
    assert sorted(pushed.column("id").to_pylist()) == [i for i in range(101, 140) if i != 120]
    assert pushed.column("amount").type == pa.decimal128(12, 4)
    assert min(pushed.column("amount").to_pylist()) == Decimal("14.4286")


def test_a_wrong_password_is_told_without_it(engine: Any, shop: dict[str, str]) -> None:
    wrong = {**shop, "password": "hush-hush-1"}
    read = engine.session.read.format("python").options(**JDBC, **wrong)
    said = message(lambda: read.load().collect())
    assert "ConnectError" in said
    assert "hush-hush-1" not in said


def test_jdbc_is_a_format_of_lakesail_and_not_of_spark(engine: Any, shop: dict[str, str]) -> None:
    if engine.name == "spark":
        # Java's own, which has no driver here: ours is never in its place.
        said = message(engine.session.read.format("jdbc").options(**shop).load)
        assert "No suitable driver" in said
        return
    frame = engine.session.read.format("jdbc").options(**shop).load()
    assert frame.filter("id <= 10").count() == 10
    assert dict(frame.dtypes)["amount"] == "decimal(12,4)"
    read = engine.session.read.format("jdbc").options(**shop, colour="blue")
    said = message(lambda: read.load().collect())
    assert "'colour' is not an option of jdbc" in said


def test_an_option_error_of_jdbc_explains_itself(engine: Any, shop: dict[str, str]) -> None:
    read = engine.session.read.format("python").options(**JDBC, **{**shop, "numPartitions": "x"})
    said = message(lambda: read.load().collect())
    assert "option 'numpartitions' must be a whole number, got 'x'" in said.replace("P", "p")
    assert jdbc.OptionError.__name__ in said
