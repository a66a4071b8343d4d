"""So many reads at a time: places that reads wait for.

On a cluster the scheduler gives them out, elsewhere lock files do. A read that may be one of ``n``
takes one of the places 0 to n - 1, the highest that is free: so reads with different limits are
never more together than the largest of these, and each kind never more than its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from distributed import Scheduler, SchedulerPlugin

from .dask_compat import ask_scheduler, plug_into_scheduler, worker_of_this_task

__all__ = ["PlacesPlugin", "place"]

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_FILE_POLL_SECONDS = 0.02


@contextlib.contextmanager
def place(key: str, limit: int, stop_if_cancelled: Callable[[], None]) -> Iterator[None]:
    """Wait until fewer than ``limit`` others of the same key are in such a block, and be one.

    Parameters
    ----------
    key
        What is shared; it shows nowhere.
    stop_if_cancelled
        Raises if there is no need to wait any longer; called about once a second.
    """
    name = "dask_sail-" + hashlib.sha256(key.encode()).hexdigest()[:16]
    with (
        _place_of_file(name, limit)
        if worker_of_this_task() is None
        else _place_of_scheduler(name, limit, stop_if_cancelled)
    ):
        yield


# ---------------------------------------------------------------------------- one machine


@contextlib.contextmanager
def _place_of_file(name: str, limit: int) -> Iterator[None]:
    """Hold one of so many lock files: threads and the process scheduler alike see them."""
    import locket  # comes with Dask

    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = os.path.join(tempfile.gettempdir(), f"{name}-{user}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    while True:
        for number in reversed(range(limit)):
            lock = locket.lock_file(os.path.join(folder, str(number)), timeout=0)
            try:
                lock.acquire()
            except locket.LockError:
                continue
            try:
                yield
            finally:
                lock.release()
            return
        time.sleep(_FILE_POLL_SECONDS)


# ------------------------------------------------------------------------------- clusters

_TAKE, _LEAVE = "dask_sail_take_place", "dask_sail_leave_place"


@contextlib.contextmanager
def _place_of_scheduler(
    name: str, limit: int, stop_if_cancelled: Callable[[], None]
) -> Iterator[None]:
    worker = worker_of_this_task()
    plug_into_scheduler(worker, PlacesPlugin)
    asking = {"name": name, "holder": uuid.uuid4().hex}
    wanted = {"limit": limit, "since": time.time(), "address": worker.address}
    try:
        while not ask_scheduler(worker, _TAKE, **asking, **wanted):
            stop_if_cancelled()
        yield
    finally:
        try:
            ask_scheduler(worker, _LEAVE, **asking)
        except OSError as error:
            # What was read is right all the same; the place is free when this worker is gone.
            logger.error("a place at %s could not be given back: %s", name, error)


@dataclass(frozen=True)
class _Waiting:
    since: float
    limit: int
    address: str
    granted: asyncio.Future[bool]


@dataclass
class _Places:
    held: dict[int, tuple[str, str]] = field(default_factory=dict)  # number: holder, address
    waiting: dict[str, _Waiting] = field(default_factory=dict)  # by holder

    def serve(self) -> None:
        """Give free places to those who wait, first come, first served."""
        for holder, one in sorted(self.waiting.items(), key=lambda item: item[1].since):
            free = (n for n in reversed(range(one.limit)) if n not in self.held)
            number = next(free, None)
            if number is not None:
                self.held[number] = holder, one.address
                del self.waiting[holder]
                if not one.granted.done():
                    one.granted.set_result(True)

    def drop(self, matches: Callable[[str, str], bool]) -> None:
        """Free the places of some holders, and let them wait no more."""
        self.held = {number: who for number, who in self.held.items() if not matches(*who)}
        for holder, one in list(self.waiting.items()):
            if matches(holder, one.address):
                del self.waiting[holder]
                if not one.granted.done():
                    one.granted.set_result(False)
        self.serve()


class PlacesPlugin(SchedulerPlugin):  # type: ignore[misc]  # all of distributed is Any to mypy
    """Gives out places on the scheduler, and takes those of a worker that is lost back at once.

    Not `distributed.Semaphore`: its limit is that of whoever came first, for as long as the
    scheduler runs; a lost worker keeps its place for half a minute, and so does one that waits; a
    task that holds the GIL for so long loses its place while it reads.
    """

    name = "dask_sail.places"
    idempotent = True

    def __init__(self) -> None:
        self._places: defaultdict[str, _Places] = defaultdict(_Places)
        self._scheduler: Scheduler | None = None

    def start(self, scheduler: Scheduler) -> None:
        """Answer what workers ask; distributed calls this once."""
        self._scheduler = scheduler
        scheduler.handlers.update({_TAKE: self.take, _LEAVE: self.leave})

    async def take(self, name: str, holder: str, limit: int, since: float, address: str) -> bool:
        """Return whether the holder has a place by now, after at most a second.

        To be asked again with the same ``since``, by which the earlier of two is served first; the
        clocks of two workers need not agree for it to be right, only for it to be fair.
        """
        places = self._places[name]
        granted = asyncio.get_running_loop().create_future()
        if any(holder == who for who, _ in places.held.values()):
            return True
        if self._scheduler is None or address not in self._scheduler.workers:
            return False
        places.waiting[holder] = _Waiting(since, limit, address, granted)
        places.serve()
        await asyncio.wait([granted], timeout=_POLL_SECONDS)
        if not granted.done():
            del places.waiting[holder]
        return granted.done() and granted.result()

    async def leave(self, name: str, holder: str) -> None:
        """Free the holder's place, if it has one."""
        places = self._places[name]
        places.drop(lambda who, _: who == holder)
        if not places.held and not places.waiting:
            del self._places[name]

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """Free the places of a worker that is gone; distributed calls this."""
        for places in self._places.values():
            places.drop(lambda _, address: address == worker)
