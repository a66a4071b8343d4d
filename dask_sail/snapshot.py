"""One state of the data for all partitions of a computation, open as long as Dask needs it."""

from __future__ import annotations

import functools
import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from .calls import call_or_log, call_source
from .dask_compat import holders_of_this_task
from .errors import PlanError, SnapshotError
from .options import SourceOptions
from .planning import kind_of
from .registry import SourceRef

__all__ = ["OpenedSnapshot", "collect_soon", "open_snapshot"]


class OpenedSnapshot:
    """The result of the task that opens a snapshot: closes it when Dask lets go of the result.

    In other processes it is a name only; what keeps the snapshot open stays where it was opened.
    """

    def __init__(
        self,
        label: str,
        name: str,
        close: Callable[[], None] | None = None,
        is_needed: Callable[[], bool] | None = None,
    ) -> None:
        self.label = label
        self.name = name
        if close is not None:
            weakref.finalize(self, _release, close, is_needed)

    def __reduce__(self) -> tuple[Any, ...]:
        if not _in_distributed_worker():
            # The process scheduler gives results away and forgets them: the snapshot would close.
            raise SnapshotError(
                self.label,
                "a snapshot cannot be kept open by the process scheduler, which hands each result "
                "to another process; use threads or a distributed Client",
            )
        return OpenedSnapshot, (self.label, self.name)


def _release(close: Callable[[], None], is_needed: Callable[[], bool] | None) -> None:
    if is_needed is None:
        close()
        return
    try:
        # In a thread of its own: it asks the scheduler, and this may be the thread that answers.
        threading.Thread(target=_close_when_free, args=(close, is_needed), daemon=True).start()
    except RuntimeError:  # the interpreter is shutting down
        close()


def _close_when_free(close: Callable[[], None], is_needed: Callable[[], bool]) -> None:
    """Close, but not before the last copy of the result is gone from the cluster.

    Dask moves results and drops what it takes for a superfluous copy, this one too: other workers
    may hold the name, and still read by it.
    """
    try:
        while is_needed():
            time.sleep(0.2)
    finally:
        close()


def _in_distributed_worker() -> bool:
    try:
        from distributed.worker import Worker
    except ImportError:
        return False
    return any(worker.status.name != "closed" for worker in list(Worker._instances))


def open_snapshot(ref: SourceRef, options: SourceOptions, run: str) -> OpenedSnapshot:
    """Open the snapshot of one computation, as a task; its result keeps it open.

    Parameters
    ----------
    run
        Names the computation. A second opening under the same name means that the first one was
        lost with its worker: partitions that were read before would not fit those read now.

    Raises
    ------
    SnapshotError
        If this computation's snapshot was open before.
    """
    is_needed = holders_of_this_task()
    if is_needed is not None:
        from distributed import Event

        opened = Event(f"dask_sail-snapshot-{run}")
        if opened.is_set():
            raise SnapshotError(
                ref.label,
                "the snapshot was lost with the worker that kept it open, and another one would "
                "show another state of the data; compute again",
            )
        opened.set()
    resolved, redact = options.resolve()
    source = ref.create(redact)
    keeper = call_source(
        ref.label, "open_snapshot", redact, lambda: source.open_snapshot(resolved.copy())
    )
    name = getattr(keeper, "name", None)
    if name is None or not callable(getattr(keeper, "close", None)):
        raise PlanError(
            ref.label,
            "open_snapshot must return an object with a name and a method close(), "
            f"got {kind_of(keeper)}",
        )
    close = functools.partial(call_or_log, ref.label, "close", redact, keeper.close)
    return OpenedSnapshot(ref.label, str(name), close, is_needed)


def collect_soon() -> None:
    """Free what a failed task's traceback holds in a cycle: its arguments, the snapshot as well."""
    timer = threading.Timer(1.0, gc.collect)
    timer.daemon = True
    timer.start()
