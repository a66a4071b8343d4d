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
    "determine_column_projection",
    "new_collection",
    "run_in_task",
    "task_is_cancelled",
]


def run_in_task(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in one Dask task and wait for its result."""
    task = dask.delayed(function, pure=False, traverse=False)(*args)
    return task.compute()


def task_is_cancelled() -> bool:
    """Whether the distributed task that this thread runs is no longer wanted."""
    try:
        from distributed.worker import get_worker, thread_state

        key = thread_state.key
        state: Any = get_worker().state.tasks.get(key)
    except (ImportError, AttributeError, ValueError):  # not in a distributed task
        return False
    return state is None or state.state in ("cancelled", "resumed")
