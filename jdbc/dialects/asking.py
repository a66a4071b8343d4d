"""A session to ask a database on, beside what reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

from ..errors import JDBCError
from . import Ask

__all__ = ["asking"]

_Connection = TypeVar("_Connection")


@contextmanager
def asking(
    connect: Callable[[], AbstractContextManager[_Connection]],
    run: Callable[[_Connection, str, tuple[Any, ...]], list[tuple[Any, ...]]],
    kinds: type[Exception],
    error: Callable[[Exception], JDBCError],
) -> Iterator[Ask]:
    """Connect, and give what asks; for a dialect's ``asking``.

    Parameters
    ----------
    connect
        Gives a connection until it is left.
    run
        ``(connection, sql, parameters)``: the rows of a statement.
    kinds, error
        What the driver raises, and from that to our error.
    """

    # Ours is raised outside `except`, or what the driver says, secrets too, would be its context.
    def ask(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        try:
            return run(connection, sql, parameters)
        except kinds as e:
            failure = error(e)
        raise failure

    with ExitStack() as session:
        failure = None
        try:
            connection = session.enter_context(connect())
        except kinds as e:
            failure = error(e)
        if failure is not None:
            raise failure
        yield ask
