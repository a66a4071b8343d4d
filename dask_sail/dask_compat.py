"""Every import of Dask that its documentation does not promise, in one place."""

from __future__ import annotations

import functools
import inspect
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import dask
from dask._expr import optimize_until
from dask._task_spec import DataNode, List, Task, TaskRef
from dask.dataframe.dask_expr import new_collection
from dask.dataframe.dask_expr._expr import (
    EQ,
    GE,
    GT,
    LE,
    LT,
    NE,
    And,
    Between,
    Blockwise,
    Elemwise,
    Expr,
    Filter,
    Head,
    Index,
    Invert,
    Isin,
    IsNa,
    Lengths,
    Literal,
    NotNull,
    Or,
    PartitionsFiltered,
    Projection,
    Tail,
    determine_column_projection,
)
from dask.dataframe.dask_expr._groupby import Mean as GroupByMean
from dask.dataframe.dask_expr._groupby import Var as GroupByVar
from dask.dataframe.dask_expr._reductions import Len, Var
from dask.dataframe.dask_expr.io.io import BlockwiseIO
from dask.system import CPU_COUNT

__all__ = [
    "EQ",
    "GE",
    "GT",
    "LE",
    "LT",
    "NE",
    "And",
    "Between",
    "Blockwise",
    "BlockwiseIO",
    "DataNode",
    "Elemwise",
    "Expr",
    "Filter",
    "GroupByMean",
    "GroupByVar",
    "Head",
    "Index",
    "Invert",
    "IsNa",
    "Isin",
    "Len",
    "Lengths",
    "List",
    "Literal",
    "NotNull",
    "Or",
    "PartitionsFiltered",
    "Projection",
    "ReductionInternals",
    "SortInternals",
    "Tail",
    "Task",
    "TaskRef",
    "Var",
    "ask_scheduler",
    "cancellation_of_this_task",
    "determine_column_projection",
    "find_reduction_internals",
    "find_sort_internals",
    "holders_of_this_task",
    "new_collection",
    "optimize_until",
    "plug_into_scheduler",
    "room_of_this_task",
    "run_in_task",
    "thread_count",
    "worker_of_this_task",
]


def run_in_task(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in one Dask task and wait for its result."""
    task = dask.delayed(function, pure=False, traverse=False)(*args)
    return task.compute()


def thread_count() -> int:
    """Return how many threads a computation started here would have, at least 1."""
    import distributed

    try:
        client = distributed.default_client()
    except ValueError:
        return int(CPU_COUNT)
    # What the client keeps up to date; asking the scheduler would take milliseconds.
    known = getattr(client, "_scheduler_identity", {})
    return max(1, int(known.get("total_threads", 0)))


def worker_of_this_task() -> Any:
    """Return the worker that runs the distributed task of this thread; None where there is none."""
    return _worker_and_key()[0]


def _worker_and_key() -> tuple[Any, Any]:
    try:
        from distributed.worker import get_worker, thread_state

        return get_worker(), thread_state.key
    except (ImportError, AttributeError, ValueError):
        return None, None


def room_of_this_task() -> tuple[int | None, str]:
    """Return the bytes that each of a worker's threads may take, and the folder for what spills.

    None for a worker without a limit. Outside of a distributed worker this process counts for
    one, whose threads are as many as there are cores.
    """
    worker = worker_of_this_task()
    if worker is None:
        from dask.system import CPU_COUNT
        from distributed.system import MEMORY_LIMIT

        folder = dask.config.get("temporary-directory", None) or tempfile.gettempdir()
        return _room(MEMORY_LIMIT, CPU_COUNT), folder
    limit = worker.memory_manager.memory_limit
    return _room(int(limit), worker.state.nthreads) if limit else None, worker.local_directory


def _room(limit: int, threads: int) -> int:
    """Share what the process has not taken yet: its modules, inputs and kept results count too.

    All of the limit would be more than there is: the nanny ends a worker before anything spills.
    What a task gives has to fit beside it, so that a part stays free.
    """
    import psutil

    free = limit * 7 // 10 - int(psutil.Process().memory_info().rss)
    # A small share, where others have taken all: what they give back need not leave the process.
    return max(free, limit // 5) // threads


_plugged: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def plug_into_scheduler(worker: Any, plugin: Callable[[], Any]) -> None:
    """Have the scheduler of a worker run a plugin, if it does not yet; called from a task."""
    from distributed.protocol.pickle import dumps

    done = _plugged.setdefault(worker, set())
    made = plugin()
    if made.name not in done:
        asking = {"plugin": dumps(made), "name": made.name, "idempotent": True}
        ask_scheduler(worker, "register_scheduler_plugin", **asking)
        done.add(made.name)


def ask_scheduler(worker: Any, handler: str, **arguments: Any) -> Any:
    """Call a handler of the scheduler and wait for what it returns; called from a task."""
    from distributed.utils import sync

    return sync(worker.loop, getattr(worker.scheduler, handler), **arguments)


def cancellation_of_this_task() -> Callable[[], bool] | None:
    """Return a check whether the distributed task of this thread is no longer wanted.

    The check may be called from any thread. None where the thread runs no distributed task.
    """
    worker, key = _worker_and_key()
    if worker is None:
        return None

    def is_cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state in ("cancelled", "resumed")

    return is_cancelled


@dataclass(frozen=True)
class SortInternals:
    """Where Dask decides which partition a sort puts a row into.

    Attributes
    ----------
    module
        Holds ``_calculate_divisions`` and ``_get_divisions``, which calls the former and caches.
    SetPartition, SortValues, LocUnknown
        The expressions of a ``set_index``, a ``sort_values``, and a ``loc`` by unknown divisions.
    SetPartitionsPre
        The expression that numbers the partition of each row, made by the first two as they lower.
    """

    module: Any
    SetPartition: Any
    SortValues: Any
    LocUnknown: Any
    SetPartitionsPre: Any


def find_sort_internals() -> SortInternals | None:
    """Return the sorts of Dask if they are as `dask_sail.sorting` knows them, else None."""
    try:
        from dask.dataframe.dask_expr import _indexing, _shuffle

        found = SortInternals(
            module=_shuffle,
            SetPartition=_shuffle.SetPartition,
            SortValues=_shuffle.SortValues,
            LocUnknown=_indexing.LocUnknown,
            SetPartitionsPre=_shuffle._SetPartitionsPreSetIndex,
        )
        finds = ["frame", "other", "npartitions", "ascending", "partition_size", "upsample"]
        has_parameters = {
            _shuffle._calculate_divisions: finds,
            _shuffle._get_divisions: finds,
            found.LocUnknown.operation: ["df", "iindexer", "cindexer"],
            found.SetPartition._lower: ["self"],
            found.SortValues._lower: ["self"],
            found.SortValues._simplify_up: ["self", "parent", "dependents"],
        }
    except (ImportError, AttributeError):
        return None
    is_known = all(
        list(inspect.signature(function).parameters) == names
        for function, names in has_parameters.items()
    )
    steps = ["frame", "new_divisions", "ascending", "na_position"]
    return found if is_known and found.SetPartitionsPre._parameters == steps else None


@dataclass(frozen=True)
class ReductionInternals:
    """Where Dask adds up what the partitions gave.

    Attributes
    ----------
    Sum
        The expression of ``sum()``, and the base of that of ``prod()``; ``mean()`` becomes one.
    GroupBySum, GroupByProd, Aggregation
        Those of groups; the last one is ``agg()``.
    sum, prod
        What ``agg()`` calls on the groups.
    """

    Sum: Any
    GroupBySum: Any
    GroupByProd: Any
    Aggregation: Any
    sum: Any
    prod: Any


def find_reduction_internals() -> ReductionInternals | None:
    """Return Dask's sums if they are as `dask_sail.reductions` knows them, else None."""
    try:
        from dask.dataframe.dask_expr import _groupby, _reductions
        from dask.utils import M

        found = ReductionInternals(
            Sum=_reductions.Sum,
            GroupBySum=_groupby.Sum,
            GroupByProd=_groupby.Prod,
            Aggregation=_groupby.DecomposableGroupbyAggregation,
            sum=M.sum,
            prod=M.prod,
        )
        sums = (found.Sum, found.GroupBySum, found.GroupByProd)
        kwargs = [getattr(cls, "aggregate_kwargs", None) for cls in sums]
        kwargs.append(found.Sum.combine_kwargs)
        args = found.Aggregation.agg_args
        steps = [Var.reduction_chunk, Var.reduction_combine, Var.reduction_aggregate]
        combines = [cls.reduction_combine for cls in (GroupByMean, GroupByVar)]
    except (ImportError, AttributeError):
        return None
    is_known = (
        all(isinstance(one, property) for one in kwargs)
        and isinstance(args, functools.cached_property)
        and issubclass(_reductions.Prod, found.Sum)
        and [[*inspect.signature(one).parameters] for one in steps]
        == [["x", "skipna"], ["parts", "skipna"], ["vals", "ddof", "skipna"]]
        and all([*inspect.signature(one).parameters][:2] == ["g", "levels"] for one in combines)
    )
    return found if is_known else None


def holders_of_this_task() -> Callable[[], bool] | None:
    """Return a check whether any worker holds the result of this thread's distributed task.

    The check asks the scheduler; it may be called from any thread but an event loop's. None where
    the thread runs no distributed task.
    """
    worker, key = _worker_and_key()
    if worker is None:
        return None
    from distributed.utils import sync

    def are_there() -> bool:
        holders = sync(worker.loop, worker.scheduler.who_has, keys=[key], callback_timeout=10)
        return any(holders.values())

    return are_there
