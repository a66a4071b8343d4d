"""How the scheduler gives out places, in the orders that real clusters take too seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from dask_sail.places import PlacesPlugin

A, B = "tcp://worker-a", "tcp://worker-b"


class Scheduler:
    """Of the real one, what the plugin knows; the tests in test_jdbc_cluster.py have a real one."""

    def __init__(self) -> None:
        self.plugin = PlacesPlugin()
        self.workers, self.handlers = {A: SimpleNamespace(), B: SimpleNamespace()}, {}
        self.plugin.start(self)

    def take(self, holder: str, limit: int, since: float, address: str = A) -> asyncio.Task[bool]:
        take: Coroutine[Any, Any, bool] = self.handlers["dask_sail_take_place"](
            name="db", holder=holder, limit=limit, since=since, address=address
        )
        return asyncio.ensure_future(take)

    async def leave(self, holder: str) -> None:
        await self.handlers["dask_sail_leave_place"](name="db", holder=holder)

    def lose(self, address: str) -> None:
        del self.workers[address]
        self.plugin.remove_worker(self, address, stimulus_id="lost")


async def settled(*tasks: asyncio.Task[bool]) -> list[bool | None]:
    """What has been answered, once nothing more happens by itself; None for who still waits."""
    for _ in range(5):
        await asyncio.sleep(0)
    return [task.result() if task.done() else None for task in tasks]


def test_who_asked_first_is_served_first() -> None:
    async def scenario() -> None:
        server = Scheduler()
        assert await server.take("first", 1, since=1)
        late, early = server.take("late", 1, since=3), server.take("early", 1, since=2)
        assert await settled(late, early) == [None, None]
        await server.leave("first")
        assert await settled(late, early) == [None, True]
        await server.leave("early")
        assert await settled(late) == [True]

    asyncio.run(scenario())


def test_who_waits_is_answered_after_a_while_and_may_ask_again() -> None:
    async def scenario() -> None:
        server = Scheduler()
        assert await server.take("first", 1, since=1)
        assert not await server.take("second", 1, since=2)
        await server.leave("first")
        assert await server.take("second", 1, since=2)
        # Asked again, as after a lost answer: it has one place, not two.
        assert await server.take("second", 1, since=2)
        await server.leave("second")
        assert await server.take("third", 1, since=3)

    asyncio.run(scenario())


def test_a_small_limit_does_not_wait_for_a_larger_one_nor_the_reverse() -> None:
    async def scenario() -> None:
        server = Scheduler()
        assert await server.take("wide 1", 3, since=1)
        assert await server.take("narrow 1", 1, since=2)
        narrow = server.take("narrow 2", 1, since=3)
        assert await server.take("wide 2", 3, since=4)
        wide = server.take("wide 3", 3, since=5)
        assert await settled(narrow, wide) == [None, None]  # three of three
        await server.leave("wide 1")
        assert await settled(narrow, wide) == [None, True]
        await server.leave("narrow 1")
        assert await settled(narrow) == [True]

    asyncio.run(scenario())


@pytest.mark.parametrize("waits", [False, True])
def test_a_lost_worker_neither_keeps_nor_gets_a_place(waits: bool) -> None:
    async def scenario() -> None:
        server = Scheduler()
        assert await server.take("first", 1, since=1, address=A if waits else B)
        lost, other = server.take("lost", 1, since=2, address=B), server.take("other", 1, since=3)
        await settled()
        server.lose(B)
        assert await settled(lost) == [False]
        if waits:
            await server.leave("first")
        assert await settled(other) == [True]
        assert await server.take("late", 1, since=4, address=B) is False

    asyncio.run(scenario())


def test_nothing_is_remembered_of_who_has_left() -> None:
    async def scenario() -> None:
        server = Scheduler()
        for i in range(3):
            assert await server.take(f"{i}", 2, since=i)
            await server.leave(f"{i}")
        assert not server.plugin._places

    asyncio.run(scenario())
