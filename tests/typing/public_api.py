"""The public API as a person's typed code calls it; read by mypy, run by nobody."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

import dask_sail
from jdbc import JDBCArrowDataSource


class Source:
    """The contract, with arguments named as their author likes."""

    def infer_schema(self, opts: Mapping[str, str]) -> pa.Schema:
        return pa.schema([("n", pa.int64())])

    def plan_partitions(self, opts: dict[str, str]) -> list[dict[str, Any]]:
        return [{"i": 0}]

    def read_partition(
        self, partition_spec: dict[str, Any], opts: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([[1]], ["n"])


class Naming(Source):
    def option_names(self) -> set[str]:
        return {"n"}


class Scanning(Source):
    def plan_scan(
        self, specs: Sequence[dict[str, Any]], opts: dict[str, str], scan: dask_sail.Scan
    ) -> tuple[Sequence[dict[str, Any]], Sequence[dask_sail.Predicate]]:
        return specs, [p for p in scan.predicates if p.op == "=="]

    def scan_partition(
        self, spec: dict[str, Any], opts: dict[str, str], scan: dask_sail.Scan
    ) -> Iterator[pa.RecordBatch]:
        names: tuple[str, ...] = scan.columns
        limit: int | None = scan.limit
        yield pa.record_batch([[limit]], names[:1])


source: dask_sail.PythonDataSource = Source()
scanning: dask_sail.SupportsScan = Scanning()
naming: dask_sail.SupportsOptionNames = Naming()
built_in: dask_sail.PythonDataSource = JDBCArrowDataSource()
abilities: dask_sail.SupportsScan = JDBCArrowDataSource()
described: dask_sail.SupportsDescription = JDBCArrowDataSource()
sorted_by: dask_sail.SupportsDivisions = JDBCArrowDataSource()

frame = dask_sail.read_python_source(Source, n=1, columns=["n"], filters=[("n", ">", 0)])
named = dask_sail.read_python_source("jdbc", options={"url": "jdbc:sqlite:x.db"}, dbtable="t")
table = dask_sail.read_sql("t", "sqlite:///x.db", "id", npartitions=4, columns=["n"], engine="adbc")
cut = dask_sail.read_sql("t", "sqlite:///x.db", index_col="id", divisions=[0, 10, 20])
query = dask_sail.read_sql("SELECT 1 WHERE :a = 1", "{env:URL}", params={"a": 1}, fetchsize=10)
ordered = dask_sail.read_sql("SELECT 1 WHERE ? = 1", "{env:URL}", params=[1], plan_on="cluster")
text: str = str(dask_sail.inspect(frame))
inspection: dask_sail.Inspection = dask_sail.inspect("jdbc", url="jdbc:sqlite:x.db", dbtable="t")

try:
    frame.compute()
except dask_sail.PartitionReadError as error:
    where: str = error.source
    spec: Mapping[str, Any] | None = error.spec
    told: str = error.traceback_text

ctx = dask_sail.SQLContext({"t": frame}, target_partitions=8, broadcast="off")
ctx.register("u", pa.table({"n": [1]}))
ctx.register_parquet("lake", ["lake/a.parquet", "lake/b.parquet"])
ctx.register_udf(lambda n: n, "same", input_types=[pa.int64()], return_type=pa.int64())
lazy = ctx.sql("SELECT count(*) AS n FROM t")
arrow: pa.Table = ctx.to_arrow("SELECT count(*) AS n FROM t")
batches: Iterator[pa.RecordBatch] = ctx.to_batches("SELECT * FROM t")
plan: dask_sail.Explanation = ctx.explain("SELECT * FROM t", analyze=True)
names: list[str] = ctx.tables()
once = dask_sail.sql("SELECT * FROM a, b", {"a": frame}, b=lazy)
try:
    ctx.sql("SELECT")
except dask_sail.SQLQueryError as wrong:
    position: tuple[int, int] = (wrong.line, wrong.column)
