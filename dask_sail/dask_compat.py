"""Every import of Dask that its documentation does not promise, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
from dask._task_spec import DataNode, Task, TaskRef
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
    determine_column_projection,
)
from dask.dataframe.dask_expr._reductions import Len
from dask.dataframe.dask_expr.io.io import BlockwiseIO

__all__ = [
    "EQ",
    "GE",
    "GT",
    "LE",
    "LT",
    "NE",
    "And",
    "Between",
    "BlockwiseIO",
    "DataNode",
    "Elemwise",
    "Expr",
    "Filter",
    "Head",
    "Index",
    "Invert",
    "IsNa",
    "Isin",
    "Len",
    "Lengths",
    "Literal",
    "NotNull",
    "Or",
    "PartitionsFiltered",
    "Projection",
    "Task",
    "TaskRef",
    "cancellation_of_this_task",
    "determine_column_projection",
    "new_collection",
    "run_in_task",
]


def run_in_task(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in one Dask task and wait for its result."""
    task = dask.delayed(function, pure=False, traverse=False)(*args)
    return task.compute()


def cancellation_of_this_task() -> Callable[[], bool] | None:
    """Return a check whether the distributed task of this thread is no longer wanted.

    The check may be called from any thread. None where the thread runs no distributed task.
    """
    try:
        from distributed.worker import get_worker, thread_state

        worker, key = get_worker(), thread_state.key
    except (ImportError, AttributeError, ValueError):
        return None

    def is_cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state in ("cancelled", "resumed")

    return is_cancelled
