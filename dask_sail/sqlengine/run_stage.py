"""What a task runs: one stage of a query, on the tables that have come for it."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from datafusion import ExecutionPlan, RuntimeEnvBuilder, SessionContext

from . import files, leaves, objects, versions
from .catalog import create_parquet, plain_schema, quoted
from .errors import SQLExecutionError
from .exchange import compact, merge
from .functions import PythonFunction
from .plan import Hole, Stage, StageOutput, WholeQuery
from .spill import SpillFile
from .splice import Template

__all__ = ["Figures", "Inputs", "Room", "StageRun", "run_stage", "transport_schema"]

#: What fills the holes: partitions, each of some tables, or one serialised group of files.
Inputs: TypeAlias = Mapping[str, "Sequence[Sequence[pa.Table]] | bytes"]


@dataclass(frozen=True)
class Room:
    """What one task may use.

    Attributes
    ----------
    memory
        Bytes that sorts, aggregates and joins may take before they spill; None for no limit.
    folder
        Where spills go.
    states
        Bytes of partial states that pieces may have given before those of a group become one.
    """

    memory: int | None = None
    folder: str = field(default_factory=tempfile.gettempdir)
    states: int = 64 << 20

    @property
    def kept(self) -> int | None:
        """Bytes of what pieces have given that stay in memory; more goes to the disk."""
        return None if self.memory is None else self.memory // 4


@dataclass
class Figures:
    """What a task took in and gave out.

    Attributes
    ----------
    rows_in, rows_out
        Of tables; files that DataFusion reads count as what it makes of them.
    seconds
        In DataFusion and in the conversions to and from it.
    spills, spilled_bytes
        How often DataFusion wrote to the disk for want of memory, and how much.
    """

    rows_in: int = 0
    rows_out: int = 0
    seconds: float = 0.0
    spills: int = 0
    spilled_bytes: int = 0


def run_stage(
    stage: Stage,
    fingerprint: str,
    functions: Sequence[PythonFunction],
    inputs: Inputs,
    room: Room | None = None,
) -> list[pa.Table]:
    """Run a stage once.

    Parameters
    ----------
    fingerprint
        Of the DataFusion that made the stage; this process must have the same one.
    functions
        Python functions that the stage may call.
    inputs
        What fills each hole. Columns match by position.

    Returns
    -------
    list of pyarrow.Table
        Output partitions, compact; of `transport_schema`.

    Raises
    ------
    SQLExecutionError
        If DataFusion raises, or if its result is not what the plan promised.
    """
    with StageRun(stage, fingerprint, functions, room or Room()) as run:
        run.add(inputs)
        return run.result()


def transport_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of the tables that carry rows of a schema between tasks.

    The same, but for one without columns: a column of nulls keeps the number of rows then, which
    tables without columns lose on their way.
    """
    return schema if schema.names else pa.schema([pa.field("", pa.null())])


class StageRun:
    """One task's run of a stage: over everything at once, or piece by piece.

    To be used as a context manager: what was spilled is gone after it.
    """

    def __init__(
        self, stage: Stage, fingerprint: str, functions: Sequence[PythonFunction], room: Room
    ) -> None:
        versions.check(fingerprint)
        self.figures = Figures()
        self._stage = stage
        self._fingerprint = fingerprint
        self._functions = functions
        self._room = room
        self._schema = transport_schema(stage.schema)
        self._out: list[list[pa.Table]] = []
        self._spilled: SpillFile | None = None
        self._reduce_from = room.states
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> StageRun:
        self._folder = folder = self._closing.enter_context(
            # DataFusion's own folder lives as long as any object of the plan, in a traceback too.
            tempfile.TemporaryDirectory(
                prefix="dask_sail-spill-", dir=self._room.folder, ignore_cleanup_errors=True
            )
        )
        self._ctx = SessionContext(leaves.new_config(), _environment(self._room, folder))
        for function in self._functions:
            function.define(self._ctx)
        for store in self._stage.stores:
            store.register(self._ctx)
        return self

    def __exit__(self, *_: object) -> None:
        del self._ctx
        self._closing.close()

    def add(self, inputs: Inputs) -> None:
        """Run the stage on these inputs; what comes out is added to what is there."""
        start = time.perf_counter()
        tables = self._run(inputs)
        self._out = self._out or [[] for _ in tables]
        for partition, table in zip(self._out, tables, strict=True):
            if table.num_rows:
                partition.append(table)
        if self._stage.reducer is not None and self._held() > self._reduce_from:
            self._reduce(self._stage.reducer)
        if self._room.kept is not None and self._held() > self._room.kept:
            self._spill()
        self.figures.seconds += time.perf_counter() - start

    def result(self) -> list[pa.Table]:
        """Return the output partitions; without any input these are empty."""
        out = self._out or [[] for _ in range(self._stage.outputs)]
        if self._spilled is None:
            tables = [merge(partition, self._schema) for partition in out]
        else:
            self._spill()
            tables = self._spilled.tables([self._schema] * len(out))
        self._out = []
        self.figures.rows_out = sum(table.num_rows for table in tables)
        return tables

    def _held(self) -> int:
        return sum(table.nbytes for partition in self._out for table in partition)

    def _spill(self) -> None:
        """Write what came out so far to the disk: Dask is given all of it at the end only."""
        try:
            if self._spilled is None:
                self._spilled = SpillFile(os.path.join(self._folder, "outputs"))
            for i, partition in enumerate(self._out):
                if partition:
                    table = merge(partition, self._schema)
                    self._spilled.add(i, table)
                    self.figures.spilled_bytes += table.nbytes
                    partition.clear()
            self.figures.spills += 1
            return
        except OSError as error:
            message = f"what it gives has no room in memory, and on the disk: {error}"
        raise SQLExecutionError(self._stage.name, message)

    def _reduce(self, reducer: Template) -> None:
        """Make one state of those that pieces have given for the same group."""
        # Not of the stage's own exchange: a group is in one of its outputs already.
        hole = Hole(StageOutput(0), "cat", self._stage.schema)
        stage = replace(
            self._stage,
            template=reducer,
            inputs={"states": hole},
            exchange=None,
            outputs=1,
            reducer=None,
        )
        for partition in self._out:
            if len(partition) > 1:
                given = {"states": [partition]}
                partition[:] = run_stage(
                    stage, self._fingerprint, self._functions, given, self._room
                )
        # Where they are groups of their own, and stay as many, this is not to be done all the time.
        self._reduce_from = max(self._room.states, 2 * self._held())

    def _run(self, inputs: Inputs) -> list[pa.Table]:
        groups = [given for given in inputs.values() if isinstance(given, bytes)]
        try:
            filled = self._filled(inputs)
            try:
                tables = self._execute(filled)
            finally:
                for leaf in filled.leaves:
                    leaf.forget(self._ctx)
                # After the reading, and also where it failed: that may be why.
                for group in groups:
                    files.check_group(group, self._stage.stores)
            return tables
        except (_BrokenPromiseError, leaves.SchemaMismatchError, files.FileChangedError) as error:
            message = str(error)
        except BaseException as error:  # noqa: BLE001 - a panic is no Exception
            message = objects.told(_explained(error), self._stage.stores)
            if groups and _is_of_a_file(error):
                message += _reading(groups, self._stage.stores)
        raise SQLExecutionError(self._stage.name, message)

    def _filled(self, inputs: Inputs) -> _Filled:
        """Put the inputs into the holes of the plan."""
        values: dict[str, list[bytes]] = {}
        filled: list[leaves.Leaf] = []
        for number, (name, hole) in enumerate(self._stage.inputs.items()):
            given = inputs[name]
            if isinstance(given, bytes):
                values[name] = [given]
                continue
            partitions = [leaves.conform(tables, hole.schema) for tables in given or [[]]]
            leaf = leaves.Leaf(number, hole.schema, partitions)
            leaf.register(self._ctx)
            values[name] = [leaf.to_bytes()]
            filled.append(leaf)
        self.figures.rows_in += sum(leaf.rows for leaf in filled)
        message = self._stage.template.fill(values)
        return _Filled(ExecutionPlan.from_bytes(self._ctx, message), filled)

    def _execute(self, filled: _Filled) -> list[pa.Table]:
        plan, expected = filled.plan, self._stage.outputs
        if plan.partition_count != expected:
            raise _BrokenPromiseError(
                f"the plan has {plan.partition_count} output partitions in place of {expected}"
            )
        # One after the other: an exchange keeps the rows of those whose turn is yet to come, or
        # spills them.
        tables = [self._partition(plan, i) for i in range(expected)]
        nodes = list(_nodes(plan))
        _check_leaves(filled.leaves, nodes)
        if self._stage.exchange is not None:
            _check_exchange(nodes, sum(table.num_rows for table in tables))
        self._count(nodes)
        return tables

    def _partition(self, plan: ExecutionPlan, index: int) -> pa.Table:
        batches = [batch.to_pyarrow() for batch in self._ctx.execute(plan, index)]
        if not self._stage.schema.names:
            return pa.table({"": pa.nulls(sum(batch.num_rows for batch in batches))})
        if not batches:
            return self._schema.empty_table()
        whole = [_typed(batch, self._schema) for batch in batches]
        del batches
        return compact(pa.Table.from_batches(whole, schema=self._schema))

    def _count(self, nodes: Sequence[ExecutionPlan]) -> None:
        for node in nodes:
            if (metrics := node.metrics()) is None:
                continue
            self.figures.spills += metrics.spill_count or 0
            self.figures.spilled_bytes += metrics.spilled_bytes or 0
            if node.display().startswith("DataSourceExec"):
                self.figures.rows_in += metrics.output_rows or 0


@dataclass(frozen=True)
class _Filled:
    """A plan whose holes are filled."""

    plan: ExecutionPlan
    leaves: Sequence[leaves.Leaf]


class _BrokenPromiseError(RuntimeError):
    """What DataFusion did is not what the plan says."""


def _environment(room: Room, folder: str) -> RuntimeEnvBuilder:
    builder = RuntimeEnvBuilder().with_disk_manager_specified(folder)
    return builder if room.memory is None else builder.with_fair_spill_pool(room.memory)


_RAISED = re.compile(r"PyErr \{ type: .*?, value: (.*), traceback: ", re.DOTALL)

# What functions.py says.
_TOLD = re.compile(r"FunctionError\((.*)\)", re.DOTALL)
_OF_AGGREGATE = "FunctionError: "


def _explained(error: BaseException) -> str:
    """Return what DataFusion's one class of errors, or a panic in its Rust code, says."""
    if _panicked(error):
        return f"DataFusion broke off: {error}"
    if not isinstance(error, Exception):
        raise error
    message = str(error).removeprefix("DataFusion error: ")
    if (raised := _RAISED.search(message)) is not None:
        told = _TOLD.fullmatch(raised[1])
        message = ast.literal_eval(told[1]) if told else f"a Python function raised {raised[1]}"
    elif _OF_AGGREGATE in message:
        message = message.partition(_OF_AGGREGATE)[2]
    if "Resources exhausted" in message or "ResourcesExhausted" in message:
        message += (
            "\nRaise target_partitions, so that each task has less to do, or the workers' memory "
            "(or lower their number of threads, which share it)"
        )
    return message


def _panicked(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"  # which has no public name


def _is_of_a_file(error: BaseException) -> bool:
    return _panicked(error) or "parquet" in str(error).lower()


_NAMED_FILES = 3


def _reading(groups: Iterable[bytes], stores: Sequence[objects.ObjectStore]) -> str:
    """Return which files a task reads, as errors about what is in one do not name it."""
    names = [name for group in groups for name in files.names_of_group(group, stores)]
    more = f" and {len(names) - _NAMED_FILES} more" if len(names) > _NAMED_FILES else ""
    return f"\nThe task reads {', '.join(map(repr, names[:_NAMED_FILES]))}{more}"


# Queries that run whole

# As planner.py plans them.
_NAMES_AS_SPELT = ("datafusion.sql_parser.enable_ident_normalization", "false")
_NO_VIEWS = ("datafusion.execution.parquet.schema_force_view_types", "false")


def _batches(table: pa.Table) -> list[pa.RecordBatch]:
    """Return a table's batches, one at least: its columns are known by them."""
    return table.to_batches() or [
        pa.RecordBatch.from_arrays(
            [pa.array([], field.type) for field in table.schema], schema=table.schema
        )
    ]


def run_whole(work: WholeQuery, rows: Mapping[str, Sequence[pa.Table]], room: Room) -> pa.Table:
    """Plan and run a query on all rows of its tables, as one process would.

    Raises
    ------
    SQLExecutionError
        If the rows are more than this task has room for, or DataFusion raises.
    """
    versions.check(work.fingerprint)
    stores = [store for table in work.tables for store in table.stores]
    size = sum(table.nbytes for tables in rows.values() for table in tables)
    if room.memory is not None and size > room.memory / 2:
        raise SQLExecutionError(
            work.name,
            f"this query runs whole in one task ({work.reason}), and its tables hold "
            f"{size / 2**20:,.0f} MiB, more than half of the {room.memory / 2**20:,.0f} MiB that "
            "the task may take; give it less, e.g. by a filter in a query before it, or give the "
            "workers more memory",
        )
    with tempfile.TemporaryDirectory(
        prefix="dask_sail-spill-", dir=room.folder, ignore_cleanup_errors=True
    ) as folder:
        try:
            try:
                return _whole_result(work, rows, _environment(room, folder))
            finally:
                for table in work.tables:
                    if table.parquet:
                        files.check_version(table)
        except (_BrokenPromiseError, leaves.SchemaMismatchError, files.FileChangedError) as error:
            message = str(error)
        except BaseException as error:  # noqa: BLE001 - a panic is no Exception
            message = objects.told(_explained(error), stores)
    raise SQLExecutionError(work.name, message)


def _whole_result(
    work: WholeQuery, rows: Mapping[str, Sequence[pa.Table]], environment: RuntimeEnvBuilder
) -> pa.Table:
    ctx = SessionContext(leaves.new_config().set(*_NAMES_AS_SPELT).set(*_NO_VIEWS), environment)
    for function in work.functions:
        function.define(ctx)
    for table in work.tables:
        if table.parquet:
            create_parquet(ctx, table)
        else:
            whole = leaves.conform(rows.get(table.name, ()), plain_schema(table.schema))
            ctx.register_record_batches(quoted(table.name), [_batches(whole)])
    for name, sql in work.views.items():
        ctx.sql(f"CREATE VIEW {quoted(name)} AS {sql}")
    result = ctx.sql(work.sql)
    batches = [batch.to_pyarrow() for batch in result.execute_stream()]
    return pa.Table.from_batches(
        [_typed(batch, work.schema) for batch in batches], schema=work.schema
    )


# Checks: each is for a wrong answer that would not show.


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch under the names of the plan, if it has the plan's types."""
    came = [column.type for column in batch.columns]
    if came != schema.types:
        raise _BrokenPromiseError(
            f"its rows are of the types {', '.join(map(str, came))}, and the plan says "
            f"{', '.join(map(str, schema.types))}"
        )
    # By way of the plan's own types, whose inner fields may be called otherwise.
    columns = [column.cast(kind) for column, kind in zip(batch.columns, schema.types, strict=True)]
    return pa.RecordBatch.from_arrays(list(map(_without_null_values, columns)), schema=schema)


def _without_null_values(column: pa.Array) -> pa.Array:
    """Return nulls as such: Arrow puts no dictionaries together that hold one, as nullif() does."""
    if not pa.types.is_dictionary(column.type) or not column.dictionary.null_count:
        return column
    valid = column.dictionary.is_valid().to_numpy(zero_copy_only=False)
    places = pa.array(np.cumsum(valid) - 1, mask=~valid).cast(column.type.index_type)
    values = column.dictionary.drop_null()
    return pa.DictionaryArray.from_arrays(places.take(column.indices), values)


_READS_ALL = {
    "AggregateExec",
    "BoundedWindowAggExec",
    "CoalesceBatchesExec",
    "CoalescePartitionsExec",
    "CooperativeExec",
    "FilterExec",
    "LazyMemoryExec",
    "ProjectionExec",
    "RepartitionExec",
    "SortExec",
    "SortPreservingMergeExec",
    "UnionExec",
    "UnnestExec",
    "WindowAggExec",
}
_MAY_STOP = re.compile(r"fetch=\d|limit=\d|lim=\[")


def _check_leaves(given: Sequence[leaves.Leaf], nodes: Sequence[ExecutionPlan]) -> None:
    """Compare the rows that the plan took with those that were there."""
    reads_all = all(
        _name(node) in _READS_ALL and not _MAY_STOP.search(node.display()) for node in nodes
    )
    for leaf in given:
        if leaf.rows_given > leaf.rows or (reads_all and leaf.rows_given < leaf.rows):
            raise _BrokenPromiseError(f"it took {leaf.rows_given} of {leaf.rows} rows")


def _check_exchange(nodes: Sequence[ExecutionPlan], rows_out: int) -> None:
    """Compare the rows that left an exchange with those that came to it."""
    exchange = next((node for node in nodes if _name(node) == "RepartitionExec"), None)
    if exchange is None:
        raise _BrokenPromiseError("it ends in no exchange")
    (child,) = exchange.children()
    rows_in = None if (metrics := child.metrics()) is None else metrics.output_rows
    if rows_in is not None and rows_in != rows_out:
        raise _BrokenPromiseError(f"of {rows_in} rows {rows_out} left the exchange")


def _nodes(plan: ExecutionPlan) -> Iterator[ExecutionPlan]:
    yield plan
    for child in plan.children():
        yield from _nodes(child)


def _name(node: ExecutionPlan) -> str:
    return str(node.display()).partition(":")[0].strip()
