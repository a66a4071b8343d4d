"""What the tasks of a query call; whatever of DataFusion they need they import where they run."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
import pyarrow as pa

from .. import arrow
from ..dask_compat import room_of_this_task, worker_of_this_task
from ..errors import BatchError
from ..worker import ReadPlan, consume_partition
from .errors import SQLExecutionError
from .exchange import bundle
from .plan import Stage, WholeQuery

if TYPE_CHECKING:
    from .functions import PythonFunction
    from .run_stage import Figures, Room

__all__ = [
    "LocalRows",
    "ResultWork",
    "StageWork",
    "figures_of",
    "read_table",
    "result_frame",
    "result_table",
    "run_query",
    "run_task",
]

#: Rows of a partition as a task is given them: a table, a frame, rows that were here before, a
#: read yet to be done (plan, spec and snapshot), or a group of files that DataFusion reads.
Rows: TypeAlias = "pa.Table | pd.DataFrame | LocalRows | list[Any] | bytes"

# Key of a table's metadata under which a measured stage leaves its figures.
_FIGURES = b"dask_sail.figures"

# What is read before a stage runs on it: enough that its fixed costs do not matter, and little
# beside what a worker has.
PIECE_BYTES = 32 << 20
PIECE_ROWS = 1 << 20


class LocalRows:
    """Some rows of a table of the client's.

    A table would be pickled with all rows that it was cut from.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __reduce__(self) -> tuple[Any, ...]:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as writer:
            writer.write_table(self.table)
        return _local_rows, (sink.getvalue(),)


def _local_rows(stream: pa.Buffer) -> LocalRows:
    return LocalRows(pa.ipc.open_stream(stream).read_all())


@dataclass(frozen=True)
class StageWork:
    """What all tasks of a stage share: one key of the graph, whatever their number.

    Attributes
    ----------
    tables
        By hole, the name of the table that fills it, for errors.
    limits
        By hole, how many rows of each partition are enough.
    bundled
        Whether the stage's outputs leave for an exchange in two rounds.
    measured
        Whether the first output carries figures of the run.
    """

    stage: Stage
    fingerprint: str
    functions: tuple[PythonFunction, ...]
    tables: Mapping[str, str]
    limits: Mapping[str, int]
    bundled: bool = False
    measured: bool = False


@dataclass(frozen=True)
class ResultWork:
    """What all partitions of a result share."""

    schema: pa.Schema
    table: str = "the query"


def run_task(work: StageWork, *given: list[list[Rows]]) -> Any:
    """Run a stage on what fills its holes, each given as partitions of rows.

    Returns
    -------
    pyarrow.Table or list of pyarrow.Table
        A table, if that is all the stage gives.
    """
    _import_engine(work.stage.name)
    holes = dict(zip(work.stage.inputs, given, strict=True))
    streamed = _streamed(work.stage, holes)
    if streamed is None:
        tables, figures = _run_whole(work, holes)
    else:
        name, (plan, spec_text, snapshot) = streamed
        tables, figures = consume_partition(
            plan, spec_text, snapshot, functools.partial(_run_pieces, work, name)
        )
    size = sum(table.nbytes for table in tables) if work.measured else 0
    if work.bundled:
        tables = bundle(tables)
    if work.measured:
        tables[0] = _with_figures(tables[0], {**asdict(figures), "bytes_out": size})
    is_single = work.stage.exchange is None and work.stage.outputs == 1
    return tables[0] if is_single else tables


def _import_engine(stage: str) -> None:
    try:
        import datafusion  # noqa: F401 - whether it is there
    except ImportError as error:
        reason = str(error)
    else:
        return
    worker = worker_of_this_task()
    place = "this process" if worker is None else f"worker {worker.address}"
    raise SQLExecutionError(
        stage, f"datafusion cannot be imported on {place} ({reason}); install dask-sail there"
    )


def _room() -> Room:
    from .run_stage import Room

    return Room(*room_of_this_task())


def _streamed(stage: Stage, holes: dict[str, list[list[Rows]]]) -> tuple[str, list[Any]] | None:
    """Return the read on whose batches the stage can run as they come."""
    if not stage.chunked or len(holes) != 1:
        return None
    ((name, partitions),) = holes.items()
    rows = [item for partition in partitions for item in partition]
    return (name, rows[0]) if len(rows) == 1 and isinstance(rows[0], list) else None


def _run_whole(
    work: StageWork, holes: dict[str, list[list[Rows]]]
) -> tuple[list[pa.Table], Figures]:
    from .run_stage import StageRun

    inputs = {name: _filling(work, name, partitions) for name, partitions in holes.items()}
    holes.clear()
    with StageRun(work.stage, work.fingerprint, work.functions, _room()) as run:
        run.add(inputs)
        return run.result(), run.figures


def _run_pieces(
    work: StageWork, name: str, batches: Iterator[pa.RecordBatch], schema: pa.Schema
) -> tuple[list[pa.Table], Figures]:
    """Run a stage on a partition piece by piece, as what comes out is the same then."""
    from .run_stage import StageRun

    with StageRun(work.stage, work.fingerprint, work.functions, _room()) as run:
        for piece in _pieces(batches, schema):
            run.add({name: [[piece]]})
        return run.result(), run.figures


def _pieces(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield batches as tables of some size, at least one."""
    held: list[pa.RecordBatch] = []
    rows = size = given = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if size >= PIECE_BYTES or rows >= PIECE_ROWS:
            piece, held, rows, size = _table(held, schema), [], 0, 0
            given += 1
            yield piece
            del piece
    if held or not given:
        yield _table(held, schema)


def _table(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(batches, schema=schema)


def _filling(work: StageWork, name: str, partitions: list[list[Rows]]) -> Any:
    if partitions and partitions[0] and isinstance(partitions[0][0], bytes):
        return partitions[0][0]
    schema, table = work.stage.inputs[name].schema, work.tables.get(name, "")
    limit = work.limits.get(name)
    return [
        [_first(as_table(rows, schema, table), limit) for rows in partition]
        for partition in partitions
    ]


def _first(table: pa.Table, limit: int | None) -> pa.Table:
    # A slice of a table without columns has as many rows as it is told.
    return table if limit is None else table.slice(0, min(limit, table.num_rows))


def as_table(rows: Any, schema: pa.Schema, table: str) -> pa.Table:
    """Return rows as a table.

    Parameters
    ----------
    schema
        Columns to take from rows that are not of this query's making.
    table
        Where they come from, for errors.
    """
    if isinstance(rows, LocalRows):
        return rows.table
    if isinstance(rows, list):
        return read_table(*rows)
    return _frame_to_table(rows, schema, table) if isinstance(rows, pd.DataFrame) else rows


def read_table(plan: ReadPlan, spec_text: str, snapshot: Any) -> pa.Table:
    """Read one partition of a source."""
    table = consume_partition(
        plan, spec_text, snapshot, lambda batches, schema: _table(list(batches), schema)
    )
    # A table without columns loses its rows on the way to another process.
    return table if table.num_columns else pa.table({"": pa.nulls(table.num_rows)})


def _frame_to_table(frame: pd.DataFrame, schema: pa.Schema, table: str) -> pa.Table:
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        listed = ", ".join(map(repr, missing))
        raise BatchError(table, None, f"a partition lacks {listed}, which the frame's meta has")
    came = arrow_table(frame[schema.names], table)
    if came.schema.equals(schema):
        return came
    batches = came.to_batches()
    return pa.Table.from_batches([arrow.conform(one, schema, table) for one in batches], schema)


def arrow_table(frame: pd.DataFrame, table: str) -> pa.Table:
    """Return a frame as Arrow has it; raises `BatchError` for a column that is no Arrow column."""
    try:
        return arrow.to_table(frame)
    except (pa.ArrowException, TypeError, ValueError):  # whose messages quote values
        names = [name for name in frame.columns if not _is_arrow(frame[[name]])]
    raise BatchError(
        table,
        None,
        f"column {', '.join(map(repr, names[:3]))} holds values of several types, or of one that "
        "Arrow lacks; convert it, e.g. by .astype(pandas.ArrowDtype(...))",
    )


def _is_arrow(frame: pd.DataFrame) -> bool:
    try:
        arrow.to_table(frame)
    except (pa.ArrowException, TypeError, ValueError):
        return False
    return True


def run_query(work: WholeQuery, *given: list[Rows]) -> pa.Table:
    """Run a query whole, on the rows of each table of ``work.given``.

    Raises
    ------
    SQLExecutionError
        If the tables are too large for one task, or DataFusion raises.
    """
    _import_engine(WholeQuery.name)
    from .run_stage import run_whole

    schemas = {table.name: table.schema for table in work.tables}
    rows = {
        name: [as_table(one, schemas[name], name) for one in partitions]
        for name, partitions in zip(work.given, given, strict=True)
    }
    return run_whole(work, rows, _room())


# Results


def result_table(work: ResultWork, rows: list[Rows]) -> pa.Table:
    """Return one partition of a result, under the names and types of the plan."""
    from .leaves import conform

    tables = [as_table(one, work.schema, work.table) for one in rows]
    return conform([one.replace_schema_metadata(None) for one in tables], work.schema)


def result_frame(work: ResultWork, rows: list[Rows]) -> pd.DataFrame:
    """Return one partition of a result as a frame of Arrow columns."""
    table = result_table(work, rows)
    schema = arrow.frame_schema(work.schema, work.table)
    if not table.schema.equals(schema):
        batches = [arrow.conform(one, schema, work.table) for one in table.to_batches()]
        return arrow.to_frame(batches, schema)
    return arrow.to_frame(table.to_batches(), schema)


# Figures


def _with_figures(table: pa.Table, figures: Mapping[str, Any]) -> pa.Table:
    metadata = table.schema.metadata or {}
    return table.replace_schema_metadata({**metadata, _FIGURES: json.dumps(figures)})


def figures_of(given: Any) -> dict[str, Any]:
    """Return the figures that a measured stage left in what it gave."""
    table = given if isinstance(given, pa.Table) else given[0]
    figures: dict[str, Any] = json.loads(table.schema.metadata[_FIGURES])
    return figures
