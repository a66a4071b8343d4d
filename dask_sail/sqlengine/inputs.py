"""What can be a table of a query, and how its partitions reach the tasks."""

from __future__ import annotations

import functools
import math
import uuid
from collections import Counter
from typing import Any, Protocol

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
from dask.base import tokenize

from .. import arrow
from ..dask_compat import (
    DataNode,
    Expr,
    List,
    Task,
    TaskRef,
    new_collection,
    optimize_until,
)
from ..errors import SchemaError
from ..expr import ReadPythonSource
from ..inspection import inspect
from .plan import TableDescription, TableScan
from .tasks import LocalRows, arrow_table, read_table

__all__ = ["Node", "TableInput", "table_input"]

_LOCAL_PARTITION = 64 << 20  # bytes


class Node(Expr):  # type: ignore[misc]  # Dask is untyped
    """Tasks whose results are tables, not frames."""

    _pickle_functools_cache = False

    @functools.cached_property
    def parts(self) -> list[list[Any]]:
        """By partition, what stands for its rows as the arguments of a task."""
        raise NotImplementedError

    @property
    def _meta(self) -> Any:
        return None

    @property
    def _projection_columns(self) -> list[str]:
        return []

    def _divisions(self) -> tuple[None, None]:
        return None, None

    def _layer(self) -> dict[Any, Any]:
        return {}

    def _operands_for_repr(self) -> list[str]:
        return []

    def _tree_repr_lines(self, indent: int = 0, recursive: bool = True) -> list[str]:
        # Dask's own would print every operand, rows among them.
        lines = [" " * indent + f"{type(self).__name__}: {self._name}"]
        for operand in self.operands if recursive else ():
            if isinstance(operand, Expr):
                lines += operand._tree_repr_lines(indent + 2)
        return lines


class TableInput(Protocol):
    """A registered table."""

    schema: pa.Schema

    def description(self, name: str) -> TableDescription:
        """Return what planning must know of it."""

    def rows(self, scan: TableScan, *, shared: bool) -> Node:
        """Return the partitions, of the columns that a scan asks for.

        ``shared`` says that several tasks will have the rows of each: a source is read in tasks of
        its own then, and else within the task that needs them.
        """


def table_input(table: Any, label: str = "table") -> TableInput:
    """Return a Dask DataFrame, pandas frame or Arrow table as a table of queries.

    Parameters
    ----------
    label
        What errors call it.

    Raises
    ------
    SchemaError
        If two columns share a name, or a column has no Arrow type.
    TypeError
        If it is something else.
    """
    if isinstance(table, pa.Table):
        return LocalTable(table, label)
    if isinstance(table, pd.DataFrame):
        _check_names(table.columns, label)
        return LocalTable(arrow_table(table, label), label)
    if isinstance(table, dd.DataFrame):
        simplified = table.expr.simplify()
        if isinstance(simplified, ReadPythonSource) and simplified.operand("limit") is None:
            return SourceTable(simplified)
        return FrameTable(table.expr, label)
    kind = f"{type(table).__module__}.{type(table).__qualname__}"
    raise TypeError(
        f"{label} must be a Dask DataFrame, a pandas DataFrame or a pyarrow.Table, got a {kind}"
    )


def _check_names(names: Any, label: str) -> None:
    strange = [name for name in names if not isinstance(name, str)]
    if strange:
        raise SchemaError(
            label,
            f"the columns {', '.join(map(repr, strange[:3]))} have names that are no str; rename "
            "them, e.g. by df.rename(columns=str)",
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SchemaError(label, f"several columns are called {', '.join(map(repr, twice[:3]))}")


# Rows of this process


class LocalTable:
    """An Arrow table, cut into partitions that the graph carries."""

    def __init__(self, table: pa.Table, label: str) -> None:
        self.schema = arrow.frame_schema(table.schema, label)
        if table.schema.equals(self.schema):
            self._table = table
        else:
            batches = [arrow.conform(one, self.schema, label) for one in table.to_batches()]
            self._table = pa.Table.from_batches(batches, schema=self.schema)
        self._token = uuid.uuid4().hex

    @property
    def partitions(self) -> int:
        """How many, of 64 MiB each."""
        return max(1, math.ceil(int(self._table.nbytes) / _LOCAL_PARTITION))

    def description(self, name: str) -> TableDescription:
        """Return what planning must know of it."""
        return TableDescription(
            name=name,
            schema=self.schema,
            partitions=self.partitions,
            rows=self._table.num_rows,
            bytes=self._table.nbytes,
            exact=True,
        )

    def rows(self, scan: TableScan, *, shared: bool) -> Node:
        """Return the partitions as values of the graph."""
        columns = self._table.select(list(scan.columns))
        size = math.ceil(self._table.num_rows / self.partitions)
        pieces = [
            LocalRows(
                columns.slice(i * size, size)
                if scan.columns
                else pa.table({"": pa.nulls(len(self._table.slice(i * size, size)))})
            )
            for i in range(self.partitions)
        ]
        return _LocalRowsNode(f"table-{tokenize(self._token, scan.columns)}", pieces)


class _LocalRowsNode(Node):
    _parameters = ("name", "pieces")

    @functools.cached_property
    def _name(self) -> str:
        return str(self.operand("name"))

    def __dask_tokenize__(self) -> str:
        return self._name  # not the rows

    @functools.cached_property
    def parts(self) -> list[list[Any]]:
        return [[TaskRef((self._name, i))] for i in range(len(self.operand("pieces")))]

    def _layer(self) -> dict[Any, Any]:
        keys = ((self._name, i) for i in range(len(self.operand("pieces"))))
        return {
            key: DataNode(key, piece)
            for key, piece in zip(keys, self.operand("pieces"), strict=True)
        }


# Dask DataFrames


class FrameTable:
    """A Dask DataFrame, whose partitions become tables where they are needed."""

    def __init__(self, expr: Expr, label: str) -> None:
        _check_names(expr.columns, label)
        self._expr = expr
        self.schema = arrow.frame_schema(_frame_types(expr._meta, label), label)

    def description(self, name: str) -> TableDescription:
        """Return what planning must know of it."""
        return TableDescription(name=name, schema=self.schema, partitions=self._expr.npartitions)

    def rows(self, scan: TableScan, *, shared: bool) -> Node:
        """Return the frame's own partitions."""
        frame = new_collection(self._expr)[list(scan.columns)]
        # Now, since it may change how many partitions there are, e.g. of Parquet files.
        return _FrameRows(optimize_until(frame.expr, "tuned-logical"))


def _frame_types(meta: pd.DataFrame, label: str) -> pa.Schema:
    fields = []
    for name, dtype in meta.dtypes.items():
        if isinstance(dtype, np.dtype) and dtype.kind == "O":
            kind = pa.string()  # nothing else is known of it
        else:
            (kind,) = arrow_table(meta[[name]], label).schema.types
        if pa.types.is_dictionary(kind) and pa.types.is_null(kind.value_type):
            kind = pa.string()  # categories that are not known yet
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


class _FrameRows(Node):
    _parameters = ("frame",)

    @functools.cached_property
    def _name(self) -> str:
        return f"rows-{self.deterministic_token}"

    @property
    def _projection_columns(self) -> list[str]:
        return list(self.operand("frame").columns)  # all of them, whatever other parents want

    @functools.cached_property
    def parts(self) -> list[list[Any]]:
        return [[TaskRef(key)] for key in self.operand("frame").__dask_keys__()]


# Python data sources


class SourceTable:
    """A read of a Python data source: what a query needs of it is pushed into it."""

    def __init__(self, read: ReadPythonSource) -> None:
        self._read = read
        carried = read.operand("handle").frame_schema
        self.schema = pa.schema([carried.field(name) for name in read.columns])

    def description(self, name: str) -> TableDescription:
        """Return what planning must know of it, asking the source."""
        read = self._read
        known = read.statistics
        rows = [one.rows for one in known]
        sizes = [one.nbytes for one in known]
        narrowed = bool(read.operand("conditions"))
        return TableDescription(
            name=name,
            schema=self.schema,
            partitions=read.npartitions,
            rows=None if None in rows else sum(filter(None, rows)),
            bytes=None if None in sizes else sum(filter(None, sizes)),
            exact=not narrowed and all(one.exact for one in known),
            takes_predicates=self._takes_predicates,
        )

    @property
    def _takes_predicates(self) -> bool:
        try:
            source = self._read.operand("handle").ref.create()
        except LookupError:  # planned on a cluster that alone has the class
            return False
        return any(hasattr(source, name) for name in ("plan_scan", "scan_partition"))

    def narrowed(self, scan: TableScan) -> ReadPythonSource:
        """Return the read of what a scan asks for; asks the source which partitions that takes."""
        read: ReadPythonSource = self._read.substitute_parameters(
            {"columns": list(scan.columns), "index": None, "bounds": None}
        )
        if scan.predicates:
            read = read.filtered_by(scan.predicates)
        if scan.limit is not None:
            read = read.substitute_parameters({"limit": scan.limit})
        return read

    def statement(self, scan: TableScan) -> str | None:
        """Return what the source asks its database for the first partition, if it tells."""
        read = self.narrowed(scan)
        if not read.npartitions or not self._takes_predicates:
            return None
        for one in inspect(new_collection(read).partitions[0]).reads:
            for partition in one.partitions:
                return partition.facts.get("sql")
        return None

    def rows(self, scan: TableScan, *, shared: bool) -> Node:
        """Return reads: tasks of their own, or for the task that needs the rows."""
        return (_ReadRows if shared else _RowsToRead)(self.narrowed(scan))


class _RowsToRead(Node):
    """Reads that are yet to be done, by the task that takes them."""

    _parameters = ("read",)

    @functools.cached_property
    def _name(self) -> str:
        return f"rows-{self.deterministic_token}"

    def dependencies(self) -> list[Expr]:
        # The read has no tasks of its own in this graph, but for those that its partitions share.
        shared: list[Expr] = self.operand("read").dependencies()
        return shared

    @functools.cached_property
    def _reads(self) -> list[list[Any]]:
        read = self.operand("read")
        plan, *snapshots = (TaskRef((one._name, 0)) for one in read.dependencies())
        return [[plan, text, *(snapshots or [None])] for text in read.selected_specs.texts]

    @functools.cached_property
    def parts(self) -> list[list[Any]]:
        return [[List(*read)] for read in self._reads]


class _ReadRows(_RowsToRead):
    """Reads in tasks of their own."""

    @functools.cached_property
    def _name(self) -> str:
        return f"{self.operand('read')._funcname}_rows-{self.deterministic_token}"

    @functools.cached_property
    def parts(self) -> list[list[Any]]:
        return [[TaskRef((self._name, i))] for i in range(len(self._reads))]

    def _layer(self) -> dict[Any, Any]:
        keys = ((self._name, i) for i in range(len(self._reads)))
        return {
            key: Task(key, read_table, *read, _data_producer=True)
            for key, read in zip(keys, self._reads, strict=True)
        }
