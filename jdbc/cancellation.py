"""Ending a query from another thread than the one that waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .errors import QueryError

__all__ = ["Cancellation"]

_AGAIN_SECONDS = 0.25
_LAST_SECONDS = 30.0


class Cancellation:
    """Whether the reads of one source are still wanted, and how to end those that run."""

    def __init__(self) -> None:
        self._running: dict[object, Callable[[], None]] = {}
        self._changed = threading.Condition()
        self._wanted = False

    @contextmanager
    def ends(self, end: Callable[[], None]) -> Iterator[None]:
        """Have ``end`` called, from another thread and more than once, to end what runs in here.

        It is never called outside the block, so it may use what the block closes on leaving.

        Raises
        ------
        QueryError
            If the reads were cancelled before.
        """
        key = object()
        with self._changed:
            if self._wanted:
                raise QueryError("the read was cancelled", "57014")
            self._running[key] = end
        try:
            yield
        finally:
            with self._changed:
                del self._running[key]
                self._changed.notify_all()

    def cancel(self) -> None:
        """End what runs and let nothing more begin; return when nothing runs, or after a while."""
        deadline = time.monotonic() + _LAST_SECONDS
        with self._changed:
            self._wanted = True
            # Again and again: between two statements of a session there is nothing to cancel.
            while self._running and time.monotonic() < deadline:
                for end in self._running.values():
                    # Nobody waits for the rows, and what the driver says may hold secrets.
                    with suppress(Exception):
                        end()
                self._changed.wait(_AGAIN_SECONDS)
