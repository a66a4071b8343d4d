"""How a query runs, for a person: stages, what moves between them, what sources are asked."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .inputs import SourceTable
from .plan import (
    DistributedPlan,
    FileGroups,
    Producer,
    StageOutput,
    TableDescription,
    TablePartitions,
    TableScan,
    Union,
)

__all__ = ["Explanation", "ScanExplanation", "StageExplanation", "explanation"]

_MODES = {
    "part": "a partition each",
    "all": "every partition, kept apart",
    "cat": "all of it",
}


@dataclass(frozen=True)
class ScanExplanation:
    """What one leaf of the plan asks of its table.

    Attributes
    ----------
    table
        Its name.
    partitions, planned_partitions
        Those that are read, and those that there are; a source leaves out those that cannot hold
        wanted rows.
    columns, table_columns
        Those that are read, and how many the table has.
    accepted
        Conditions that the source applies.
    applied
        Conditions that are applied to each batch as it is read, as the source does not.
    filters
        All conditions, which DataFusion applies again.
    limit
        At most so many rows per partition.
    sql
        What the source asks its database for the first partition, if it tells.
    rows
        Of the whole table, as far as that is known; ``exact`` says whether it is a count.
    """

    table: str
    partitions: int
    planned_partitions: int
    columns: tuple[str, ...]
    table_columns: int
    accepted: tuple[str, ...]
    applied: tuple[str, ...]
    filters: tuple[str, ...]
    limit: int | None
    rows: int | None
    exact: bool
    sql: str | None = None

    def _lines(self) -> Iterator[str]:
        pruned = (
            f" of {self.planned_partitions}" if self.partitions < self.planned_partitions else ""
        )
        about = "" if self.exact else "about "
        size = "" if self.rows is None else f", {about}{self.rows:,} rows"
        yield f"table {self.table}: {_count(self.partitions, 'partition')}{pruned}{size}"
        names = ", ".join(self.columns) or "none, rows are counted"
        yield f"  columns: {names} ({len(self.columns)} of {self.table_columns})"
        if self.accepted:
            yield f"  pushed into the source: {' and '.join(self.accepted)}"
        if self.applied:
            yield f"  applied to each batch: {' and '.join(self.applied)}"
        if self.filters:
            yield f"  filter: {' and '.join(self.filters)}"
        if self.limit is not None:
            yield f"  limit: {self.limit} rows per partition"
        if self.sql is not None:
            yield f"  sql of the first partition: {self.sql}"


@dataclass(frozen=True)
class StageExplanation:
    """One stage: a part of the plan that runs without an exchange.

    Attributes
    ----------
    number
        From 0, in an order in which each comes after those it reads from.
    name
        As the dashboard shows its tasks.
    tasks
        How many.
    inputs
        What each task gets, in words.
    reads
        Numbers of the stages that it reads from.
    scans
        What it asks of tables.
    output
        Where its rows go, in words.
    gathered
        Why it runs in one task although its input has several partitions, or None.
    operators
        DataFusion's own description.
    estimated
        About how many rows all tasks will give; None if nothing is known.
    rows, nbytes, seconds, spilled
        What all tasks gave and took, and wrote to the disk for want of memory, if the query was
        run; else None.
    slowest
        Seconds of the task that took longest.
    """

    number: int
    name: str
    tasks: int
    inputs: tuple[str, ...]
    reads: tuple[int, ...]
    scans: tuple[ScanExplanation, ...]
    output: str
    gathered: str | None
    operators: str
    estimated: int | None = None
    rows: int | None = None
    nbytes: int | None = None
    seconds: float | None = None
    slowest: float | None = None
    spilled: int | None = None

    @property
    def figures(self) -> str:
        """Rows, bytes and seconds, if the query was run."""
        if self.rows is None or self.nbytes is None or self.seconds is None:
            return ""
        return _figures(self.rows, self.nbytes, self.seconds, self.spilled or 0)

    def _lines(self) -> Iterator[str]:
        about = "" if self.estimated is None else f"about {_count(self.estimated, 'row')}, "
        tasks = _count(self.tasks, "task")
        yield f"stage {self.number} {self.name}: {tasks}, {about}{self.output}"
        if self.figures:
            slowest = f"; slowest task {self.slowest:.3f} s" if self.tasks > 1 else ""
            yield f"  gave {self.figures}{slowest}"
        for one in self.inputs:
            yield f"  reads {one}"
        for scan in self.scans:
            yield from (f"  {line}" for line in scan._lines())
        if self.gathered is not None:
            yield f"  runs in one task: {self.gathered}"
        yield from textwrap.indent(self.operators.rstrip(), "    ").split("\n")


@dataclass(frozen=True)
class Explanation:
    """How a query runs; prints as text, and a notebook shows it drawn.

    Attributes
    ----------
    stages
        In an order in which each comes after those it reads from; none for a query that runs whole.
    result
        What comes out, in words.
    fallback
        Why the query runs whole, in one task, or None.
    scans
        What is asked of the tables, in a query that runs whole.
    figures
        Rows, bytes and seconds of a query that was run whole; else empty.
    """

    stages: tuple[StageExplanation, ...]
    result: str
    fallback: str | None
    scans: tuple[ScanExplanation, ...] = ()
    figures: str = ""

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        tasks = sum(stage.tasks for stage in self.stages) or 1
        stages = f"{_count(len(self.stages), 'stage')}, " if self.stages else ""
        yield f"{stages}{_count(tasks, 'task')}; result: {self.result}"
        if self.fallback is not None:
            yield f"runs whole, in one task: {self.fallback}"
            if self.figures:
                yield f"  gave {self.figures}"
            for scan in self.scans:
                yield from (f"  {line}" for line in scan._lines())
        for stage in self.stages:
            yield ""
            yield from stage._lines()

    def _repr_html_(self) -> str:
        text = f"<pre>{html.escape(str(self))}</pre>"
        return f"{self.svg()}{text}" if self.stages else text

    def svg(self) -> str:
        """Return the stages as a drawing: boxes, and the ways of the rows between them."""
        places = _places(self.stages)
        width = (max((x for x, _ in places.values()), default=0) + 1) * _STEP_X
        height = (max((y for _, y in places.values()), default=0) + 1) * _STEP_Y
        arrows = "".join(
            _arrow(places[source], places[stage.number])
            for stage in self.stages
            for source in stage.reads
        )
        boxes = "".join(_box(stage, *places[stage.number]) for stage in self.stages)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" font-family="sans-serif" font-size="11">{arrows}{boxes}</svg>'
        )


# The drawing

_BOX_X, _BOX_Y, _STEP_X, _STEP_Y = 210, 62, 230, 92


def _places(stages: Sequence[StageExplanation]) -> dict[int, tuple[int, int]]:
    """Column and row of each stage: below all that it reads from."""
    rows: dict[int, int] = {}
    used: dict[int, int] = {}
    places = {}
    for stage in stages:
        row = rows[stage.number] = 1 + max((rows[one] for one in stage.reads), default=-1)
        column = used.get(row, 0)
        used[row] = column + 1
        places[stage.number] = column, row
    return places


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] * _STEP_X + _BOX_X // 2, start[1] * _STEP_Y + _BOX_Y
    x2, y2 = end[0] * _STEP_X + _BOX_X // 2, end[1] * _STEP_Y
    return f'<path d="M{x1} {y1} L{x2} {y2}" stroke="#888" fill="none"/>'


def _box(stage: StageExplanation, column: int, row: int) -> str:
    x, y = column * _STEP_X, row * _STEP_Y
    name = stage.name if len(stage.name) < 30 else f"{stage.name[:28]}…"
    tables = ", ".join(scan.table for scan in stage.scans)
    lines = [
        f"{stage.number} {name}",
        f"{_count(stage.tasks, 'task')}, {stage.output}"[:38],
        stage.figures or (f"reads {tables}"[:38] if tables else ""),
    ]
    texts = "".join(
        f'<text x="{x + 8}" y="{y + 18 + 17 * i}">{html.escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    fill = "#fff3e0" if stage.gathered else "#eef4fb"
    return (
        f'<g><title>{html.escape(stage.operators)}</title><rect x="{x}" y="{y}" width="{_BOX_X}" '
        f'height="{_BOX_Y}" rx="5" fill="{fill}" stroke="#567"/>{texts}</g>'
    )


# From a plan


def explanation(
    plan: DistributedPlan,
    tables: Mapping[str, TableDescription],
    inputs: Mapping[str, Any],
    figures: Sequence[Any] | None = None,
) -> Explanation:
    """Return what a person is told of a plan.

    Parameters
    ----------
    tables, inputs
        By name; tables that DataFusion reads itself are no inputs.
    figures
        Those of `graph.analyze`, if the query was run.
    """
    scans = tuple(_scan(one, tables[one.table], inputs.get(one.table)) for one in plan.scans)
    told = _Teller(plan, scans)
    stages = [told.stage(i, figures) for i in range(len(plan.stages))]
    whole = figures[0] if figures and plan.fallback is not None else None
    count = 1 if plan.fallback is not None else told.partitions(plan.root)
    order = ", in order" if plan.ordered else ""
    return Explanation(
        stages=tuple(stages),
        result=f"{_count(count, 'partition')}{order}",
        fallback=plan.fallback,
        scans=scans if plan.fallback is not None else (),
        figures=""
        if whole is None
        else _figures(whole.rows_out, whole.bytes_out, whole.seconds, whole.spilled_bytes),
    )


def _scan(scan: TableScan, table: TableDescription, given: Any) -> ScanExplanation:
    partitions = planned = table.partitions
    accepted: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    sql: str | None = None
    if isinstance(given, SourceTable):
        read = given.narrowed(scan)
        taken = read.operand("accepted")
        conditions = read.operand("conditions")
        accepted = tuple(map(str, taken))
        applied = tuple(str(one) for one in conditions if one not in taken)
        partitions, sql = read.npartitions, given.statement(scan)
    return ScanExplanation(
        table=scan.table,
        partitions=partitions,
        planned_partitions=planned,
        columns=scan.columns,
        table_columns=len(table.schema),
        accepted=accepted,
        applied=applied,
        filters=scan.filters,
        limit=scan.limit,
        rows=table.rows,
        exact=table.exact,
        sql=sql,
    )


class _Teller:
    """Counts the partitions and tasks of a plan."""

    def __init__(self, plan: DistributedPlan, scans: tuple[ScanExplanation, ...]) -> None:
        self.plan = plan
        self.scans = scans

    def partitions(self, producer: Producer) -> int:
        match producer:
            case TablePartitions(scan):
                return self.scans[scan].partitions
            case FileGroups(_, groups):
                return len(groups)
            case Union(producers):
                return sum(map(self.partitions, producers))
            case StageOutput(number):
                stage = self.plan.stages[number]
                return stage.outputs if stage.exchange else self.tasks(number) * stage.outputs

    def tasks(self, number: int) -> int:
        holes = self.plan.stages[number].inputs.values()
        counts = [self.partitions(hole.producer) for hole in holes if hole.mode == "part"]
        return max(counts, default=1)

    def stage(self, number: int, figures: Sequence[Any] | None) -> StageExplanation:
        stage = self.plan.stages[number]
        reads: dict[int, None] = {}
        scans: dict[int, None] = {}
        inputs = []
        for hole in stage.inputs.values():
            for leaf in _leaves(hole.producer):
                if isinstance(leaf, StageOutput):
                    reads[leaf.stage] = None
                else:
                    scans[leaf.scan] = None
            inputs.append(f"{self._named(hole.producer)}: {_MODES[hole.mode]}")
        measured = figures[number] if figures else None
        return StageExplanation(
            number=number,
            name=stage.name,
            tasks=self.tasks(number),
            inputs=tuple(inputs),
            reads=tuple(reads),
            scans=tuple(self.scans[one] for one in scans),
            output=self._output(number),
            gathered=stage.gathered,
            operators=stage.operators,
            estimated=stage.rows,
            rows=None if measured is None else measured.rows_out,
            nbytes=None if measured is None else measured.bytes_out,
            seconds=None if measured is None else measured.seconds,
            slowest=None if measured is None else measured.slowest,
            spilled=None if measured is None else measured.spilled_bytes,
        )

    def _output(self, number: int) -> str:
        stage = self.plan.stages[number]
        whole = any(
            hole.mode == "cat" and StageOutput(number) in list(_leaves(hole.producer))
            for one in self.plan.stages
            for hole in one.inputs.values()
        )
        if stage.exchange == "hash":
            return f"hashed into {_count(stage.outputs, 'partition')}"
        if stage.exchange == "round_robin":
            return f"dealt into {_count(stage.outputs, 'partition')}"
        return "sent whole to every task that reads it" if whole else "kept as it is"

    def _named(self, producer: Producer) -> str:
        match producer:
            case TablePartitions(scan):
                return f"table {self.scans[scan].table}"
            case FileGroups(scan, groups):
                return f"files of {self.scans[scan].table} in {_count(len(groups), 'group')}"
            case StageOutput(number):
                return f"stage {number}"
            case Union(producers):
                return " and ".join(map(self._named, producers))


def _leaves(producer: Producer) -> Iterator[TablePartitions | FileGroups | StageOutput]:
    if isinstance(producer, Union):
        for one in producer.producers:
            yield from _leaves(one)
    else:
        yield producer


def _figures(rows: int, size: int, seconds: float, spilled: int) -> str:
    spills = f", {_bytes(spilled)} spilled" if spilled else ""
    return f"{_count(rows, 'row')}, {_bytes(size)}, {seconds:.3f} s{spills}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _bytes(number: int) -> str:
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "B" else f"{number} B"
        size /= 1000
    return f"{size:.3g} TB"
