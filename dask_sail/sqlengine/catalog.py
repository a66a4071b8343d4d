"""Registered tables as DataFusion tables without data, and the context that plans over them.

A table that Dask brings is a folder of empty Arrow files: such a table has unknown statistics, can
be serialised, and leaves every filter in the plan. An empty table in memory would not do: it is
known to have no rows, so ``count(*)`` over it becomes the constant 0.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from datafusion import SessionConfig, SessionContext

from .functions import PythonFunction
from .plan import Settings, TableDescription

__all__ = ["Catalog", "create_parquet", "parquet_schema", "plain_schema", "quoted"]

_PLANNING = {
    # Columns and tables are found as they are spelt; identifiers.py finds the spelling.
    "datafusion.sql_parser.enable_ident_normalization": "false",
    # A filter that a join makes while it runs does not cross an exchange between tasks.
    "datafusion.optimizer.enable_dynamic_filter_pushdown": "false",
    # No side of a join is known to be small; stages.py decides on broadcasts.
    "datafusion.optimizer.hash_join_single_partition_threshold": "0",
    "datafusion.optimizer.hash_join_single_partition_threshold_rows": "0",
    "datafusion.execution.collect_statistics": "false",
    # Exchanges for the sake of more threads only.
    "datafusion.optimizer.enable_round_robin_repartition": "false",
    # InterleaveExec asks its inputs for a hash partitioning, which leaves in a task do not have.
    "datafusion.optimizer.prefer_existing_union": "true",
    # It may turn round the order of files, which are ours to divide.
    "datafusion.optimizer.enable_sort_pushdown": "false",
    # Text stays text, as pandas and Arrow have it, and is no view.
    "datafusion.execution.parquet.schema_force_view_types": "false",
}


class Catalog:
    """The tables, views and functions of one set of registrations, ready to be planned over."""

    def __init__(
        self,
        tables: Mapping[str, TableDescription],
        views: Mapping[str, str],
        functions: Sequence[PythonFunction],
        settings: Settings,
    ) -> None:
        # One partition would do without any exchange, and all of the data in one task.
        self.partitions = max(2, settings.target_partitions)
        config = SessionConfig(_PLANNING).with_target_partitions(self.partitions)
        # Functions travel by name: tasks define them, and their code is in no plan.
        self.context = SessionContext(config).with_python_udf_inlining(enabled=False)
        self._by_folder: dict[str, TableDescription] = {}
        self._parquet: list[TableDescription] = []
        for function in functions:
            function.define(self.context)
        for name, table in tables.items():
            if table.parquet:
                self._register_parquet(name, table)
            else:
                self._register_empty(name, table)
        for name, sql in views.items():
            self.add_view(name, sql)

    def add_view(self, name: str, sql: str) -> None:
        """Give a query over what there is a name."""
        self.context.sql(f"CREATE VIEW {quoted(name)} AS {sql}")

    def of_path(self, path: str) -> TableDescription | None:
        """Return the table whose empty files lie there, or None for a file that holds data."""
        return self._by_folder.get(os.path.dirname(path).strip("/"))

    def of_parquet(self, path: str) -> TableDescription | None:
        """Return the table that a Parquet file is of."""
        for table in self._parquet:
            if any(path.lstrip("/").startswith(_fixed_part(place)) for place in table.parquet):
                return table
        return None

    def _register_empty(self, name: str, table: TableDescription) -> None:
        schema = plain_schema(table.schema)
        folder = _empty_files(name, schema.serialize().to_pybytes())
        self._by_folder[folder.strip("/")] = table
        self.context.register_arrow(quoted(name), folder, schema=schema)

    def _register_parquet(self, name: str, table: TableDescription) -> None:
        self._parquet.append(table)
        create_parquet(self.context, name, table.parquet)


def parquet_schema(paths: Sequence[str]) -> pa.Schema:
    """Return the columns of Parquet files, those of their folders' names (``k=1``) at the end."""
    ctx = SessionContext(SessionConfig(_PLANNING))
    create_parquet(ctx, "t", paths)
    return plain_schema(ctx.table("t").schema())


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema without metadata, extension types as what they store, all nullable."""
    return pa.schema([pa.field(f.name, getattr(f.type, "storage_type", f.type)) for f in schema])


def quoted(name: str) -> str:
    """Return an identifier as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def create_parquet(ctx: SessionContext, name: str, paths: Sequence[str]) -> None:
    names = [name] if len(paths) == 1 else [f"{name} #{i}" for i in range(len(paths))]
    for each, path in zip(names, paths, strict=True):
        place = path.replace("'", "''")
        ctx.sql(f"CREATE EXTERNAL TABLE {quoted(each)} STORED AS PARQUET LOCATION '{place}'")
    if len(paths) > 1:
        union = " UNION ALL ".join(
            f"SELECT * FROM {quoted(each)}"  # noqa: S608 - the name is quoted
            for each in names
        )
        ctx.sql(f"CREATE VIEW {quoted(name)} AS {union}")


def _fixed_part(place: str) -> str:
    """Return a path as DataFusion has it in a plan, up to the first wildcard."""
    for wildcard in "*?[":
        place = place.partition(wildcard)[0]
    return place.lstrip("/")


# Empty files

#: Of one partition, an operator may take all rows to come at once: a limit would be the scan's own.
_FILES = 2

_lock = threading.Lock()


@functools.cache
def _root() -> str:
    root = tempfile.mkdtemp(prefix="dask_sail-")
    atexit.register(_remove, root, os.getpid())
    return root


def _remove(root: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked process must not take it from the one that forked it
        shutil.rmtree(root, ignore_errors=True)


@functools.lru_cache(4096)
def _folder_of(name: str, schema: bytes) -> Path:
    folder = Path(tempfile.mkdtemp(dir=_root()))
    columns = pa.ipc.read_schema(pa.py_buffer(schema))
    for i in range(_FILES):
        with pa.ipc.new_file(str(folder / f"{i}.arrow"), columns):
            pass
    return folder


def _empty_files(name: str, schema: bytes) -> str:
    with _lock:
        folder = _folder_of(name, schema)
        if not folder.exists():  # something that cleans temporary folders was here
            _folder_of.cache_clear()
            Path(_root()).mkdir(exist_ok=True)
            folder = _folder_of(name, schema)
    return str(folder)
