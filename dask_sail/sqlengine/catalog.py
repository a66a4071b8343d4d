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
from datafusion import DataFrame, ExecutionPlan, SessionConfig, SessionContext

from .files import NULL_FOLDER
from .functions import PythonFunction
from .objects import ObjectStore, path_of
from .plan import TableDescription

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
    ) -> None:
        config = SessionConfig(_PLANNING)
        # Functions travel by name: tasks define them, and their code is in no plan.
        self.context = SessionContext(config).with_python_udf_inlining(enabled=False)
        self._by_folder: dict[str, TableDescription] = {}
        self._parquet: list[TableDescription] = []
        self._calls = tuple(f"{function.name}(" for function in functions)
        for function in functions:
            function.define(self.context)
        for name, table in tables.items():
            if table.parquet:
                self._register_parquet(table)
            else:
                self._register_empty(name, table)
        for name, sql in views.items():
            self.add_view(name, sql)

    def add_view(self, name: str, sql: str) -> None:
        """Give a query over what there is a name."""
        self.context.sql(f"CREATE VIEW {quoted(name)} AS {sql}")

    def physical(self, frame: DataFrame, partitions: int) -> ExecutionPlan:
        """Return the physical plan of a query, whose exchanges make so many partitions."""
        self.context.sql(f"SET datafusion.execution.target_partitions = {partitions}")
        # The frame itself keeps the settings under which it was made.
        anew = self.context.create_dataframe_from_logical_plan(frame.logical_plan())
        return anew.execution_plan()

    def calls_python(self, described: str) -> bool:
        """Whether an operator, as DataFusion describes it, may call a function of the user's."""
        return any(call in described for call in self._calls)

    def of_path(self, path: str) -> TableDescription | None:
        """Return the table whose empty files lie there, or None for a file that holds data."""
        return self._by_folder.get(os.path.dirname(path).strip("/"))

    def of_parquet(self, path: str) -> TableDescription | None:
        """Return the table that a Parquet file is of."""
        for table in self._parquet:
            if any(f"{store.alias}/{path}" in table.tags for store in table.stores):
                return table
        for table in self._parquet:
            if any(path.lstrip("/").startswith(_fixed_part(place)) for place in table.parquet):
                return table
        return None

    def _register_empty(self, name: str, table: TableDescription) -> None:
        schema = plain_schema(table.schema)
        folder = _empty_files(name, schema.serialize().to_pybytes())
        self._by_folder[folder.strip("/")] = table
        self.context.register_arrow(quoted(name), folder, schema=schema)

    def _register_parquet(self, table: TableDescription) -> None:
        self._parquet.append(table)
        create_parquet(self.context, table)


def parquet_schema(
    places: Sequence[str],
    folders: Sequence[str],
    stores: Sequence[ObjectStore] = (),
    written: pa.Schema | None = None,
) -> pa.Schema:
    """Return the columns of Parquet files by their names, those that folders add at the end.

    Parameters
    ----------
    written
        The columns that one of the files says it has.
    """
    written = pa.schema([]) if written is None else written
    ctx = SessionContext(SessionConfig(_PLANNING))
    for store in stores:
        store.register(ctx)
    schemas = []
    for i, place in enumerate(places):
        _create_listing(ctx, str(i), place, folders)
        schemas.append(plain_schema(ctx.table(quoted(str(i))).schema()))
    whole = pa.unify_schemas(
        [pa.schema([f for f in schema if f.name not in folders]) for schema in schemas]
    )
    columns = [*whole, *(schemas[0].field(name) for name in folders)]
    return pa.schema([pa.field(f.name, _as_written(f, written)) for f in columns])


_OF_VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}


def _as_written(inferred: pa.Field, written: pa.Schema) -> pa.DataType:
    # A listing makes views of all text, whatever its context is set to; told which type a column
    # has, it reads that.
    if inferred.type not in _OF_VIEWS:
        return inferred.type
    place = written.get_field_index(inferred.name)
    kind = written.field(place).type if place >= 0 else None
    return kind if _is_text(kind) else _OF_VIEWS[inferred.type]


def _is_text(kind: pa.DataType | None) -> bool:
    texts = (pa.string(), pa.large_string(), pa.string_view())
    return kind in (*texts, pa.binary(), pa.large_binary(), pa.binary_view())


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema without metadata, extension types as what they store, all nullable."""
    return pa.schema([pa.field(f.name, getattr(f.type, "storage_type", f.type)) for f in schema])


def quoted(name: str) -> str:
    """Return an identifier as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def create_parquet(ctx: SessionContext, table: TableDescription) -> None:
    """Give the files of a table its name; their columns are found by their own names."""
    places: Sequence[str] = table.parquet
    if table.stores:
        places = [
            store.place(path_of(url)) for store, url in zip(table.stores, places, strict=True)
        ]
    for store in table.stores:
        store.register(ctx)
    is_plain = len(places) == 1 and not table.null_folders
    names = [table.name] if is_plain else [f"{table.name} #{i}" for i in range(len(places))]
    own = pa.schema(list(table.schema)[: len(table.schema) - len(table.folders)])
    for each, place in zip(names, places, strict=True):
        _create_listing(ctx, each, place, table.folders, own)
    if not is_plain:
        columns = ", ".join(_read(name, table) for name in table.schema.names)
        union = " UNION ALL ".join(
            f"SELECT {columns} FROM {quoted(each)}"  # noqa: S608 - the names are quoted
            for each in names
        )
        ctx.sql(f"CREATE VIEW {quoted(table.name)} AS {union}")


def _read(column: str, table: TableDescription) -> str:
    name = quoted(column)
    # DataFusion takes it for a text. Files are chosen by what this gives for their folders.
    return f"nullif({name}, '{NULL_FOLDER}') AS {name}" if column in table.null_folders else name


_FOLDER_VALUES = pa.dictionary(pa.uint16(), pa.string())


def _create_listing(
    ctx: SessionContext,
    name: str,
    place: str,
    folders: Sequence[str],
    schema: pa.Schema | None = None,
) -> None:
    # By CREATE EXTERNAL TABLE, a file such as _SUCCESS beside the folders would be an error.
    ctx.register_listing_table(
        quoted(name),
        place,
        [(key, _FOLDER_VALUES) for key in folders],
        ".parquet" if place.endswith("/") else "",
        schema,
    )


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
