"""Run a distributed plan in this process, stage after stage, without Dask.

No test module: the fixture ``in_process`` of ``conftest.py`` is this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from dask_sail.predicate import apply
from dask_sail.sqlengine.plan import (
    DistributedPlan,
    FileGroups,
    Producer,
    Stage,
    TableDescription,
    TablePartitions,
    Union,
)
from dask_sail.sqlengine.planner import Planner, Settings
from dask_sail.sqlengine.run_stage import Room, StageRun, run_stage

#: A stage that may run piece by piece is run in pieces of so many rows here, or in so many pieces.
PIECE, PIECES = 50, 12


def describe(name: str, parts: Sequence[pa.Table], **more: Any) -> TableDescription:
    """What planning knows of a table that is held here."""
    known = {
        "rows": sum(part.num_rows for part in parts),
        "bytes": sum(part.nbytes for part in parts),
        "exact": True,
        "takes_predicates": True,
    }
    return TableDescription(
        name=name, schema=parts[0].schema, partitions=len(parts), **(known | more)
    )


def planner_over(
    tables: Mapping[str, Sequence[pa.Table]],
    *,
    views: Mapping[str, str] | None = None,
    functions: Sequence[Any] = (),
    target_partitions: int = 4,
    known: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Planner:
    """A planner over tables that are given as partitions."""
    described = {name: describe(name, parts, **(known or {})) for name, parts in tables.items()}
    chosen = Settings(target_partitions=target_partitions, **settings)
    return Planner(described, views or {}, functions, chosen)


def execute(plan: DistributedPlan, tables: Mapping[str, Sequence[pa.Table]]) -> list[pa.Table]:
    """Run the stages; returns the partitions of the result."""
    assert plan.fallback is None, plan.fallback
    run = _Run(plan, tables)
    for stage in plan.stages:
        run.stage(stage)
    return [run.joined(partition, plan.schema) for partition in run.partitions(plan.root)]


def answer(planner: Planner, tables: Mapping[str, Sequence[pa.Table]], sql: str) -> pa.Table:
    """Plan a query and run it."""
    return pa.concat_tables(execute(planner.plan(sql), tables))


class _Run:
    def __init__(self, plan: DistributedPlan, tables: Mapping[str, Sequence[pa.Table]]) -> None:
        self.plan = plan
        self.tables = tables
        self.done: list[list[list[pa.Table]]] = []

    def partitions(self, producer: Producer) -> list[list[pa.Table]]:
        """Partitions, each of some tables."""
        if isinstance(producer, Union):
            return [p for each in producer.producers for p in self.partitions(each)]
        if isinstance(producer, TablePartitions):
            return [[self.read(producer.scan, part)] for part in self.source(producer.scan)]
        return self.done[producer.stage]

    def source(self, scan: int) -> Sequence[pa.Table]:
        return self.tables[self.plan.scans[scan].table]

    def read(self, number: int, part: pa.Table) -> pa.Table:
        """What a source gives that applies predicates and limit to the letter."""
        scan = self.plan.scans[number]
        for predicate in scan.predicates:
            part = apply(part, [predicate])
        if scan.limit is not None:
            part = part.slice(0, scan.limit)
        return part.select(list(scan.columns)) if scan.columns else _rows_only(part)

    def stage(self, stage: Stage) -> None:
        filled: dict[str, Any] = {}
        counts = set()
        for name, hole in stage.inputs.items():
            if isinstance(hole.producer, FileGroups):
                filled[name] = list(hole.producer.groups)
            else:
                filled[name] = self.partitions(hole.producer)
            if hole.mode == "part":
                counts.add(len(filled[name]))
        assert len(counts) <= 1, f"{stage.name}: holes of {counts} partitions"
        assert stage.exchange or stage.outputs == 1 or not counts
        tasks = [self.task(stage, filled, i) for i in range(counts.pop() if counts else 1)]
        outputs = range(stage.outputs)
        if stage.exchange:
            self.done.append([[task[j] for task in tasks] for j in outputs])
        else:
            self.done.append([[task[j]] for task in tasks for j in outputs])

    def task(self, stage: Stage, filled: Mapping[str, Any], index: int) -> list[pa.Table]:
        given: dict[str, Any] = {}
        for name, hole in stage.inputs.items():
            if hole.mode == "part":
                given[name] = [filled[name][index]]
            elif hole.mode == "cat":
                given[name] = [[t for partition in filled[name] for t in partition]]
            else:
                given[name] = filled[name]
            if isinstance(hole.producer, FileGroups):
                assert hole.mode == "part"
                given[name] = filled[name][index]
        if not stage.chunked:
            return self.once(stage, given)
        ((name, [[whole]]),) = given.items()
        size = max(PIECE, -(-whole.num_rows // PIECES))
        starts = range(0, max(whole.num_rows, 1), size)
        room = Room(states=0)  # so that states of the pieces are put together early
        with StageRun(stage, self.plan.fingerprint, self.plan.functions, room) as run:
            for i in starts:
                run.add({name: [[whole.slice(i, size)]]})
            return run.result()

    def once(self, stage: Stage, given: Mapping[str, Any]) -> list[pa.Table]:
        return run_stage(stage, self.plan.fingerprint, self.plan.functions, given)

    def joined(self, partition: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
        if not schema.names:
            return pa.concat_tables(partition)
        named = [pa.Table.from_arrays(table.columns, schema=schema) for table in partition]
        return pa.concat_tables(named) if named else schema.empty_table()


def _rows_only(table: pa.Table) -> pa.Table:
    return pa.table({"": pa.nulls(table.num_rows)})
