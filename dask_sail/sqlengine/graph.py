"""Stages as Dask tasks, and their result as a Dask DataFrame or as Arrow tables."""

from __future__ import annotations

import functools
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask
import pandas as pd
import pyarrow as pa
from dask.base import DaskMethodsMixin, get_scheduler, tokenize

from .. import arrow, shuffle
from ..dask_compat import (
    BlockwiseIO,
    DataNode,
    Expr,
    List,
    PartitionsFiltered,
    Task,
    TaskRef,
    new_collection,
)
from ..expr import SharedPlan
from . import exchange, tasks
from .errors import SQLError
from .inputs import Node, TableInput, table_input
from .plan import (
    DistributedPlan,
    FileGroups,
    Producer,
    Stage,
    StageOutput,
    TablePartitions,
    TableScan,
    Union,
    WholeQuery,
)
from .tasks import ResultWork, StageWork

__all__ = ["QueryTables", "StageFigures", "TableInput", "analyze", "query_frame", "table_input"]

# --- tasks ---


class _Stage(Node):
    """The tasks of a stage; after it, a node for what fills each hole."""

    _parameters = ("work",)

    @functools.cached_property
    def _name(self) -> str:
        return f"{_word(self.stage.name)}-{self.deterministic_token}"

    @property
    def stage(self) -> Stage:
        stage: Stage = self.operand("work").stage
        return stage

    @property
    def sources(self) -> list[Node]:
        """What fills the holes, in their order."""
        return list(self.operands[1:])

    @functools.cached_property
    def tasks(self) -> int:
        """How many there are."""
        holes = zip(self.stage.inputs.values(), self.sources, strict=True)
        counts = {len(source.parts) for hole, source in holes if hole.mode == "part"}
        if len(counts) > 1:
            raise SQLError(
                f"stage {self.stage.name}: its inputs have {sorted(counts)} partitions, which "
                "cannot be taken one by one"
            )
        return max(counts, default=1)

    @functools.cached_property
    def parts(self) -> list[list[Any]]:
        return [[TaskRef((self._name, i))] for i in range(self.tasks)]

    def _layer(self) -> dict[Any, Any]:
        work = self.operand("work")
        plan = (f"plan_{_word(self.stage.name)}-{tokenize(work)}", 0)
        layer: dict[Any, Any] = {plan: DataNode(plan, work)}
        for i in range(self.tasks):
            key = self._name, i
            layer[key] = Task(key, tasks.run_task, TaskRef(plan), *self._arguments(i))
        return layer

    def _arguments(self, task: int) -> list[Any]:
        return [
            _partitions(hole.mode, source, task)
            for hole, source in zip(self.stage.inputs.values(), self.sources, strict=True)
        ]


def _partitions(mode: str, source: Node, task: int) -> Any:
    parts = source.parts
    if mode == "part":
        parts = [parts[task]]
    elif mode == "cat":
        parts = [[rows for part in parts for rows in part]]
    return List(*(List(*part) for part in parts))


class _Split(Node):
    """What each task of a stage has for each output partition, taken apart."""

    _parameters = ("stage",)

    @functools.cached_property
    def _name(self) -> str:
        return f"split_{_word(self.operand('stage').stage.name)}-{self.deterministic_token}"

    @functools.cached_property
    def parts(self) -> list[list[Any]]:
        stage = self.operand("stage")
        if stage.stage.exchange is None:
            keys = [[(i, j)] for i in range(stage.tasks) for j in range(stage.stage.outputs)]
        else:
            keys = [[(i, j) for i in range(stage.tasks)] for j in range(stage.stage.outputs)]
        return [[TaskRef((self._name, *key)) for key in part] for part in keys]

    def _layer(self) -> dict[Any, Any]:
        stage = self.operand("stage")
        keys = [(i, j) for i in range(stage.tasks) for j in range(stage.stage.outputs)]
        return {
            (name := (self._name, i, j)): Task(name, exchange.pick, TaskRef((stage._name, i)), j)
            for i, j in keys
        }


class _Exchange(Node):
    """An exchange in two rounds: bundles are split off, gathered, and only then taken apart."""

    _parameters = ("stage",)

    @functools.cached_property
    def _name(self) -> str:
        return f"exchange_{_word(self.operand('stage').stage.name)}-{self.deterministic_token}"

    @functools.cached_property
    def _bundles(self) -> exchange.Bundles:
        stage = self.operand("stage")
        return exchange.Bundles(stage.tasks, stage.stage.outputs)

    @functools.cached_property
    def parts(self) -> list[list[Any]]:
        inputs = range(len(self._bundles.inputs))
        outputs = range(self.operand("stage").stage.outputs)
        return [[TaskRef((self._prefixed("pick"), h, j)) for h in inputs] for j in outputs]

    def _prefixed(self, step: str) -> str:
        return f"{step}_{self._name}"

    def _layer(self) -> dict[Any, Any]:
        stage, bundles, layer = self.operand("stage"), self._bundles, {}
        split, pick = self._prefixed("split"), self._prefixed("pick")
        for g, outputs in enumerate(bundles.outputs):
            for h, inputs in enumerate(bundles.inputs):
                for i in inputs:
                    taken = TaskRef((stage._name, i))
                    layer[split, i, g] = Task((split, i, g), exchange.pick, taken, g)
                members = List(*(TaskRef((split, i, g)) for i in inputs))
                key = self._name, g, h
                layer[key] = Task(key, exchange.gather, members)
                for place, j in enumerate(outputs):
                    layer[pick, h, j] = Task((pick, h, j), exchange.pick, TaskRef(key), place)
        return layer


class _Union(Node):
    """Partitions of several nodes, one after the other."""

    _parameters = ()

    @functools.cached_property
    def _name(self) -> str:
        return f"union-{self.deterministic_token}"

    @functools.cached_property
    def parts(self) -> list[list[Any]]:
        return [part for source in self.operands for part in source.parts]


class _Files(Node):
    """Groups of files that a stage itself reads."""

    _parameters = ("groups",)

    @functools.cached_property
    def _name(self) -> str:
        return f"files-{self.deterministic_token}"

    @functools.cached_property
    def parts(self) -> list[list[Any]]:
        return [[group] for group in self.operand("groups")]


class _Query(Node):
    """A query that runs whole in one task; after it, a node for each of its tables."""

    _parameters = ("work",)

    @functools.cached_property
    def _name(self) -> str:
        return f"whole_query-{self.deterministic_token}"

    @functools.cached_property
    def parts(self) -> list[list[Any]]:
        return [[TaskRef((self._name, 0))]]

    def _layer(self) -> dict[Any, Any]:
        key, work = (self._name, 0), self.operand("work")
        given = [
            List(*(rows for part in source.parts for rows in part)) for source in self.operands[1:]
        ]
        return {key: Task(key, tasks.run_query, work, *given)}


def _word(name: str) -> str:
    """Return a name as part of a key: Dask takes what stands before a hyphen for the prefix."""
    return re.sub(r"\W+", "_", name).strip("_") or "stage"


# --- from a plan to tasks ---


class _Builder:
    """Makes the nodes of a plan, each once."""

    def __init__(
        self, plan: DistributedPlan, inputs: Mapping[str, TableInput], measured: bool = False
    ) -> None:
        self._plan = plan
        self._inputs = inputs
        self._measured = measured
        self._stages: dict[int, _Stage] = {}
        self._outputs: dict[int, Node] = {}
        holes = [hole.producer for stage in plan.stages for hole in stage.inputs.values()]
        self._uses = Counter(scan for one in [plan.root, *holes] for scan in _scans(one))

    def root(self) -> Node:
        """Return the node whose partitions are the result."""
        if self._plan.fallback is not None:
            return self._whole()
        return self._node(self._plan.root)

    def stages(self) -> list[_Stage]:
        """Return the nodes of all stages, in the plan's order."""
        for number in range(len(self._plan.stages)):
            self._output(number)
        return [self._stages[number] for number in range(len(self._plan.stages))]

    def _node(self, producer: Producer, mode: str = "part") -> Node:
        if isinstance(producer, Union):
            return _Union(*(self._node(one, mode) for one in producer.producers))
        if isinstance(producer, StageOutput):
            return self._output(producer.stage)
        if isinstance(producer, FileGroups):
            return _Files(producer.groups)
        scan = self._plan.scans[producer.scan]
        shared = mode != "part" or self._uses[producer.scan] > 1
        return self._inputs[scan.table].rows(scan, shared=shared)

    def _output(self, number: int) -> Node:
        if number not in self._outputs:
            self._outputs[number] = self._made_output(number)
        return self._outputs[number]

    def _made_output(self, number: int) -> Node:
        plan, stage = self._plan, self._plan.stages[number]
        in_two_rounds = stage.exchange is not None and stage.outputs > exchange.MOST_IN_ONE_ROUND
        scans = {
            name: [plan.scans[scan] for scan in _scans(hole.producer)]
            for name, hole in stage.inputs.items()
        }
        work = StageWork(
            stage,
            plan.fingerprint,
            plan.functions,
            tables={name: ", ".join(one.table for one in found) for name, found in scans.items()},
            limits={
                name: found[0].limit
                for name, found in scans.items()
                if len(found) == 1 and found[0].limit is not None and not found[0].filters
            },
            bundled=in_two_rounds,
            measured=self._measured,
        )
        holes = stage.inputs.values()
        made = _Stage(work, *(self._node(hole.producer, hole.mode) for hole in holes))
        self._stages[number] = made
        if in_two_rounds:
            return _Exchange(made)
        return made if stage.exchange is None and stage.outputs == 1 else _Split(made)

    def _whole(self) -> Node:
        plan = self._plan
        names = tuple(dict.fromkeys(scan.table for scan in plan.scans))
        given = tuple(name for name in names if name in self._inputs)  # not files
        work = WholeQuery(
            sql=plan.sql,
            reason=str(plan.fallback),
            fingerprint=plan.fingerprint,
            functions=plan.functions,
            schema=plan.schema,
            tables=plan.tables,
            views=dict(plan.views),
            given=given,
        )
        return _Query(work, *(self._whole_table(name) for name in given))

    def _whole_table(self, name: str) -> Node:
        # Neither conditions nor limits: a table that the query names twice has one of each.
        table = self._inputs[name]
        return table.rows(TableScan(table=name, columns=tuple(table.schema.names)), shared=True)


def _scans(producer: Producer) -> Iterator[int]:
    if isinstance(producer, Union):
        for one in producer.producers:
            yield from _scans(one)
    elif isinstance(producer, TablePartitions):
        yield producer.scan


# --- results ---


class SQLQuery(PartitionsFiltered, BlockwiseIO):  # type: ignore[misc]  # Dask is untyped
    """The result of a query as a frame, a partition for each of the last stage's."""

    _parameters = ("work", "label", "tables", "_partitions")
    _defaults = {"_partitions": None}  # noqa: RUF012 - Dask's own name and kind
    _pickle_functools_cache = False

    @functools.cached_property
    def _name(self) -> str:
        return f"{_word(self.operand('label'))}-{self.deterministic_token}"

    @functools.cached_property
    def _meta(self) -> pd.DataFrame:
        return arrow.meta(arrow.frame_schema(self.operand("work").schema, "the query"))

    def _divisions(self) -> tuple[None, ...]:
        return (None,) * (max(1, len(self.operand("tables").parts)) + 1)

    @functools.cached_property
    def _shared(self) -> SharedPlan:
        work = self.operand("work")
        return SharedPlan(f"plan_{_word(self.operand('label'))}-{tokenize(work)}", work)

    def dependencies(self) -> list[Expr]:
        return [self._shared, self.operand("tables")]

    def _filtered_task(self, name: Any, index: int) -> Task:
        parts = self.operand("tables").parts
        rows = List(*(parts[index] if parts else []))
        return Task(name, tasks.result_frame, TaskRef((self._shared._name, 0)), rows)

    def _lower(self) -> None:
        # The last moment on the client before the tasks go out, wherever a Client was made.
        shuffle.ensure_on_cluster()

    def __str__(self) -> str:
        return f"{_word(self.operand('label'))}({', '.join(self.columns)})"

    def _tree_repr_lines(self, indent: int = 0, recursive: bool = True) -> list[str]:
        # Dask's own would print every operand.
        lines = [" " * indent + str(self)]
        if recursive:
            lines += self.operand("tables")._tree_repr_lines(indent + 2)
        return lines


class _Result(Node):
    """The result of a query as Arrow tables."""

    _parameters = ("work", "tables")

    @functools.cached_property
    def _name(self) -> str:
        return f"arrow-{self.deterministic_token}"

    @property
    def npartitions(self) -> int:
        return max(1, len(self.operand("tables").parts))

    @functools.cached_property
    def _shared(self) -> SharedPlan:
        work = self.operand("work")
        return SharedPlan(f"plan_arrow-{tokenize(work)}", work)

    def dependencies(self) -> list[Expr]:
        return [self._shared, self.operand("tables")]

    def _layer(self) -> dict[Any, Any]:
        parts = self.operand("tables").parts or [[]]
        work = TaskRef((self._shared._name, 0))
        return {
            key: Task(key, tasks.result_table, work, List(*part))
            for key, part in zip(self.__dask_keys__(), parts, strict=True)
        }

    def _lower(self) -> None:
        shuffle.ensure_on_cluster()

    def finalize_compute(self) -> Expr:
        return _Whole(self)


class _Whole(Node):
    """All partitions of a result as one table."""

    _parameters = ("result",)

    @functools.cached_property
    def _name(self) -> str:
        return f"whole-{self.deterministic_token}"

    @property
    def npartitions(self) -> int:
        return 1

    def _layer(self) -> dict[Any, Any]:
        key = self._name, 0
        tables = List(*(TaskRef(part) for part in self.operand("result").__dask_keys__()))
        return {key: Task(key, pa.concat_tables, tables)}


def query_frame(plan: DistributedPlan, inputs: Mapping[str, TableInput], label: str = "sql") -> Any:
    """Return a query's result as a lazy Dask DataFrame of Arrow columns.

    Parameters
    ----------
    inputs
        The registered tables, by name.
    label
        What the dashboard calls the tasks of the result.

    Raises
    ------
    SQLError
        If two columns of the result share a name, which a frame cannot carry.
    """
    twice = [name for name, count in Counter(plan.schema.names).items() if count > 1]
    if twice:
        raise SQLError(
            f"the result has several columns called {', '.join(map(repr, twice))}; give each a "
            "name of its own by AS, or take the result by to_arrow(), which keeps them"
        )
    root = _Builder(plan, inputs).root()
    return new_collection(SQLQuery(_result_work(plan), label, root))


def _result_work(plan: DistributedPlan) -> ResultWork:
    tables = ", ".join(plan.scans[scan].table for scan in _scans(plan.root))
    return ResultWork(plan.schema, tables or "the query")


class QueryTables(DaskMethodsMixin):  # type: ignore[misc]  # Dask is untyped
    """A query's result as Arrow tables: a Dask collection whose partitions are `pyarrow.Table`."""

    def __init__(self, plan: DistributedPlan, inputs: Mapping[str, TableInput]) -> None:
        self.schema = plan.schema
        self.expr = _Result(_result_work(plan), _Builder(plan, inputs).root())

    __dask_scheduler__ = staticmethod(dask.threaded.get)

    def __dask_graph__(self) -> Any:
        return self.expr.optimize(fuse=True).__dask_graph__()

    def __dask_keys__(self) -> list[Any]:
        return list(self.expr.optimize(fuse=True).__dask_keys__())

    def __dask_tokenize__(self) -> Any:
        return self.expr.__dask_tokenize__()

    def compute(self, **kwargs: Any) -> pa.Table:
        """Run the query; the partitions are put together here, not in a task.

        Parameters
        ----------
        **kwargs
            For Dask's scheduler, as in `dask.compute`.
        """
        expr = self.expr.optimize(fuse=True)
        schedule = get_scheduler(scheduler=kwargs.pop("scheduler", None), collections=[self])
        tables = schedule(expr, list(expr.__dask_keys__()), **kwargs)
        return pa.concat_tables(tables)

    def batches(self, scheduler: Any = None) -> Iterator[pa.RecordBatch]:
        """Yield the result's batches, partition after partition, as they get ready.

        Never more than some of the partitions are in this process; what several of them need is
        computed once.
        """
        expr = self.expr.optimize(fuse=True)
        schedule = get_scheduler(scheduler=scheduler, collections=[self])
        client = getattr(schedule, "__self__", None)
        tables = _gathered if hasattr(client, "gather") else _in_windows
        for table in tables(schedule, expr):
            yield from table.to_batches()


def _gathered(get: Any, expr: Expr) -> Iterator[pa.Table]:
    """Yield results of a cluster, whose workers keep them until they are asked for."""
    futures = list(get(expr, list(expr.__dask_keys__()), sync=False))
    futures.reverse()
    while futures:
        future = futures.pop()
        table = future.result()
        del future  # so that its worker forgets it
        yield table


_WINDOW = 4  # partitions


def _in_windows(get: Any, expr: Expr) -> Iterator[pa.Table]:
    """Yield results of a scheduler that gives all it was asked for at once: ask by and by."""
    graph, keys = dict(expr.__dask_graph__()), list(expr.__dask_keys__())
    shared = _shared_keys(graph, keys)
    graph |= {
        key: DataNode(key, value)
        for key, value in zip(shared, get(graph, shared) if shared else (), strict=True)
    }
    for i in range(0, len(keys), _WINDOW):
        window = keys[i : i + _WINDOW]
        yield from get(_needed(graph, window), window)


def _shared_keys(graph: Mapping[Any, Any], keys: Sequence[Any]) -> list[Any]:
    """Return what several of the keys need, without what is needed for that alone."""
    owner: dict[Any, int | None] = {}  # None once there are several

    def visit(start: Any, number: int) -> None:
        stack = [start]
        while stack:
            key = stack.pop()
            if key in owner and owner[key] in (None, number):
                continue
            owner[key] = None if key in owner else number
            stack.extend(graph[key].dependencies)

    for number, key in enumerate(keys):
        visit(key, number)
    own = (key for key, number in owner.items() if number is not None)
    needed = dict.fromkeys(d for key in own for d in graph[key].dependencies if owner[d] is None)
    return list(needed)


def _needed(graph: Mapping[Any, Any], keys: Sequence[Any]) -> dict[Any, Any]:
    needed: dict[Any, Any] = {}
    stack = list(keys)
    while stack:
        if (key := stack.pop()) not in needed:
            needed[key] = graph[key]
            stack.extend(graph[key].dependencies)
    return needed


# --- figures ---


@dataclass(frozen=True)
class StageFigures:
    """What the tasks of one stage did.

    Attributes
    ----------
    stage
        Its number in the plan.
    rows_in, rows_out, bytes_out, spilled_bytes
        Of all tasks together.
    seconds, slowest
        Of all tasks together, and of the one that took longest; without the reading of sources.
    """

    stage: int
    name: str
    tasks: int
    rows_in: int
    rows_out: int
    bytes_out: int
    seconds: float
    slowest: float
    spilled_bytes: int


class _Figures(Node):
    """Figures of the tasks of some measured stages, which come after it, and of all of a result."""

    _parameters = ()

    @functools.cached_property
    def _name(self) -> str:
        return f"figures-{self.deterministic_token}"

    @property
    def npartitions(self) -> int:
        return sum(stage.tasks for stage in self.operands)

    def _layer(self) -> dict[Any, Any]:
        parts = [rows for stage in self.operands for (rows,) in stage.parts]
        return {
            key: Task(key, tasks.figures_of, rows)
            for key, rows in zip(self.__dask_keys__(), parts, strict=True)
        }

    def _lower(self) -> None:
        shuffle.ensure_on_cluster()


def analyze(
    plan: DistributedPlan, inputs: Mapping[str, TableInput], scheduler: Any = None
) -> list[StageFigures]:
    """Run a query, throw its result away, and return what each stage did.

    A query that runs whole counts as one stage, whose seconds are those until it was here.
    """
    if plan.fallback is not None:
        return [_whole_figures(plan, inputs, scheduler)]
    stages = _Builder(plan, inputs, measured=True).stages()
    if not stages:
        return []
    expr = _Figures(*stages).optimize(fuse=True)
    collection = QueryTables.__new__(QueryTables)
    schedule = get_scheduler(scheduler=scheduler, collections=[collection])
    figures = iter(schedule(expr, list(expr.__dask_keys__())))
    summaries = []
    for number, stage in enumerate(expr.operands):
        ran = [next(figures) for _ in range(stage.tasks)]
        summaries.append(
            StageFigures(
                stage=number,
                name=stage.stage.name,
                tasks=len(ran),
                rows_in=sum(one["rows_in"] for one in ran),
                rows_out=sum(one["rows_out"] for one in ran),
                bytes_out=sum(one["bytes_out"] for one in ran),
                seconds=sum(one["seconds"] for one in ran),
                slowest=max(one["seconds"] for one in ran),
                spilled_bytes=sum(one["spilled_bytes"] for one in ran),
            )
        )
    return summaries


def _whole_figures(
    plan: DistributedPlan, inputs: Mapping[str, TableInput], scheduler: Any
) -> StageFigures:
    start = time.perf_counter()
    table = QueryTables(plan, inputs).compute(scheduler=scheduler)
    seconds = time.perf_counter() - start
    return StageFigures(
        stage=0,
        name=WholeQuery.name,
        tasks=1,
        rows_in=0,
        rows_out=table.num_rows,
        bytes_out=table.nbytes,
        seconds=seconds,
        slowest=seconds,
        spilled_bytes=0,
    )
