"""The data source ``python`` of PySpark 4, behind which stands one with three methods."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from ..arrow import conform, frame_schema
from ..batches import given_batches
from ..datasource import Scan
from ..errors import OptionError, ReadOnlyError, SchemaError, SnapshotError
from ..options import CaseInsensitiveDict, SourceOptions
from ..planning import Specs, infer_schema, plan_scan, plan_specs
from ..predicate import Predicate
from ..registry import SourceRef, find_source, source_by_path
from .filters import ON_LAKESAIL, ON_SPARK, translate
from .types import SparkSchema, arrow_schema, spark_schema

__all__ = ["JDBCSource", "PythonSource"]

_BRIDGE = ("python_module", "python_class")
# Where Lakesail would keep a table's files; a path of the person's own has another form.
_MADE_UP = re.compile(r"(^|/)spark-warehouse/[^/]+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/?$")


class PythonSource(DataSource):
    """Any data source with three methods, as ``spark.read.format("python")``.

    The options ``python_module`` and ``python_class`` name its class, which every executor must be
    able to import; the source is handed all others. Names match ignoring case.
    ``{env:NAME}`` and ``{file:PATH}`` are replaced where the option is used.

    Notes
    -----
    PySpark finds it by the module ``pyspark_dask_sail``, Lakesail by the entry point group
    ``pysail.datasources``; ``spark.dataSource.register(PythonSource)`` works as well.
    """

    def __init__(self, options: dict[str, str]) -> None:
        super().__init__(options)
        self._own = _own_options(options, self.name())
        self._inferred: pa.Schema | None = None

    @classmethod
    def name(cls) -> str:
        """Return what ``format()`` takes."""
        return "python"

    def schema(self) -> StructType:
        """Return the source's schema in Spark's types.

        Raises
        ------
        SchemaError
            If Spark has no type for a column.
        """
        ref = self._find()
        self._inferred = infer_schema(ref, self._given())
        return SparkSchema(arrow_schema(self._inferred, ref.label), ref.label)

    def reader(self, schema: StructType | pa.Schema) -> SourceReader:
        """Return what plans and reads, in the schema that Spark (or Lakesail) settled on."""
        ref, options = self._find(), self._given()
        # Spark keeps the instance that it asked for the schema; a person may have given one.
        inferred = infer_schema(ref, options) if self._inferred is None else self._inferred
        return SourceReader(ref, options, inferred, schema)

    def _find(self) -> SourceRef:
        if not self._own:
            raise OptionError(
                "python_module",
                "did not arrive, nor did any other",
                "write .option('python_module', '...') and so on; for a table, whose options Spark "
                "keeps to itself, write CREATE TEMPORARY VIEW ... USING python OPTIONS (...), or "
                "SELECT ... FROM the_table WITH (...)",
            )
        return source_by_path(*map(self._own.get, _BRIDGE))

    def _given(self) -> SourceOptions:
        given = {key: text for key, text in self._own.items() if key.lower() not in _BRIDGE}
        return SourceOptions.gather(given, {})

    def writer(self, schema: StructType, overwrite: bool) -> NoReturn:
        """Refuse to write."""
        self._refuse("write")

    def streamReader(self, schema: StructType) -> NoReturn:
        """Refuse to stream."""
        self._refuse("be read as a stream")

    def streamWriter(self, schema: StructType, overwrite: bool) -> NoReturn:
        """Refuse to write a stream."""
        self._refuse("write")

    def _refuse(self, what: str) -> NoReturn:
        raise ReadOnlyError(
            f"the format {self.name()!r} cannot {what}; read it with "
            f"spark.read.format({self.name()!r})"
        )


def _own_options(options: Mapping[str, str], format_name: str) -> CaseInsensitiveDict:
    """Return what a person gave: CREATE TABLE adds properties on Spark, a folder on Lakesail."""
    given = options
    if options.get("provider", "").lower() == format_name.lower():
        # There each option comes twice; what comes once describes the table, such as its owner.
        given = {k: text for k, text in options.items() if f"option.{k}" in options} or options
    return CaseInsensitiveDict(
        {k: text for k, text in given.items() if k.lower() != "path" or not _MADE_UP.search(text)}
    )


class JDBCSource(PythonSource):
    """The source registered as ``jdbc``, as ``spark.read.format("jdbc")`` on Lakesail.

    On Spark that name is the Java one's; there it is ``format("python")`` with the options
    ``python_module="jdbc.datasource"`` and ``python_class="JDBCArrowDataSource"``.
    """

    @classmethod
    def name(cls) -> str:
        """Return what ``format()`` takes."""
        return "jdbc"

    def _find(self) -> SourceRef:
        return find_source("jdbc")


class SourceReader(DataSourceReader):
    """Plans one read on the driver, and reads one partition at a time on an executor."""

    def __init__(
        self,
        ref: SourceRef,
        options: SourceOptions,
        inferred: pa.Schema,
        schema: StructType | pa.Schema,
    ) -> None:
        self._ref = ref
        self._options = options
        self._inferred = inferred
        on_lakesail = isinstance(schema, pa.Schema)
        self._literals = ON_LAKESAIL if on_lakesail else ON_SPARK
        self._wanted = schema if on_lakesail else spark_schema(schema)
        missing = [name for name in self._wanted.names if name not in inferred.names]
        if missing:
            raise SchemaError(
                ref.label,
                f"the schema that was given names {', '.join(map(repr, missing))}, which the "
                f"source does not have; it has {', '.join(inferred.names)}",
            )
        self._predicates: tuple[Predicate, ...] = ()
        self._specs: Specs | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A reader travels with every task, and each task is handed its own partition.
        return self.__dict__ | {"_specs": None}

    @property
    def pushFilters(self) -> Callable[[Iterable[Any]], Iterator[Any]]:
        """What takes Spark's filters, and yields those that Spark has to apply itself."""
        return _PushFilters(self._push)

    def partitions(self) -> list[InputPartition]:
        """Return one partition per spec of the source, pruned by the filters."""
        specs = self._planned()
        return [InputPartition(text) for text in specs.texts if text != Specs.NONE]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one partition, exactly, in the types that Spark expects.

        Raises
        ------
        PartitionReadError
            If the source's code raises, with its own traceback.
        BatchError
            If a value would change; names the column.
        """
        if partition.value is None:  # what PySpark makes of no partitions
            return
        spec = json.loads(partition.value)
        options, redact = self._options.resolve()
        label, told = self._ref.label, False
        source = self._ref.create(redact, spec)
        given = given_batches(label, source, spec, options, self._scan(), redact)
        for batch in given:
            extra = set(batch.schema.names) - set(self._inferred.names)
            if extra and not told:
                told = True
                warnings.warn(
                    f"{label}: batches hold columns that infer_schema did not give, which are "
                    f"dropped: {', '.join(sorted(extra))}",
                    stacklevel=1,
                )
            fitted = conform(batch, self._wanted, label, redact.value(spec))
            if fitted.num_rows:
                yield fitted

    def _scan(self) -> Scan:
        return Scan(self._inferred, tuple(self._wanted.names), self._predicates)

    def _planned(self) -> Specs:
        if self._specs is None:
            self._specs, wants_snapshot = plan_specs(self._ref, self._options)
            if wants_snapshot:
                raise SnapshotError(
                    self._ref.label,
                    "nobody keeps a snapshot open on Spark; leave the option out, and each "
                    "partition reads what is committed when it runs",
                )
            self._warn_of_connections()
        return self._specs

    def _warn_of_connections(self) -> None:
        """Tell who limits reads at a time that here nobody counts them."""
        limit = self._options.unresolved().get("maxConnections")
        if limit is not None and hasattr(self._ref.load(), "concurrency"):
            warnings.warn(
                f"{self._ref.label}: option 'maxConnections' is ignored here, as it holds on Dask "
                f"only; leave it out, and write numPartitions={limit} or less: each partition "
                "has one connection while it is read",
                stacklevel=1,
            )

    def _push(self, filters: Iterable[Any]) -> Iterator[Any]:
        same = self._same_columns()
        found = [(one, translate(one, same, self._literals)) for one in filters]
        asked = dict.fromkeys(p for _, predicates in found for p in predicates or ())
        self._predicates = tuple(asked)
        kept, accepted = plan_scan(self._ref, self._options, self._planned(), self._scan())
        self._specs = self._planned().take(kept)
        return iter(
            [
                one
                for one, predicates in found
                if not predicates or not set(predicates) <= {*accepted}
            ]
        )

    def _same_columns(self) -> pa.Schema:
        """Return the columns whose type a person did not change by a schema of their own."""
        label = self._ref.label
        own = arrow_schema(self._inferred, label)
        carried = frame_schema(self._inferred, label)
        return pa.schema(
            [
                carried.field(field.name)
                for field in self._wanted
                if field.type == own.field(field.name).type
            ]
        )


class _PushFilters:
    """Where filters are handed over, if Spark was told to push any.

    Without ``spark.sql.python.filterPushdown.enabled`` PySpark refuses a reader whose method
    ``pushFilters`` is another function than the default one. This one is told by ``__func__``.
    """

    def __init__(self, push: Callable[[Iterable[Any]], Iterator[Any]]) -> None:
        self._push = push
        self.__func__ = getattr(DataSourceReader, "pushFilters", None)

    def __call__(self, filters: Iterable[Any]) -> Iterator[Any]:
        return self._push(filters)
