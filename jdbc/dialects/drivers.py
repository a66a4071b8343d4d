"""Databases that their Python driver alone reads: connecting, reading, ending, errors."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple
from urllib.request import getproxies, proxy_bypass

from ..cancellation import Cancellation
from ..errors import ConnectError, JDBCError, MissingDriverError, QueryError
from ..options import JDBCOptions
from ..url import redact
from . import Column, Dialect
from .type_table import TypeTable

__all__ = ["Driver", "Fault", "codes", "driver_dialect"]

_TIMED_OUT = "57014"


class Fault(NamedTuple):
    """What a driver tells of an error.

    Attributes
    ----------
    code
        The database's own number or name of it; empty where there is none.
    text
        Its words.
    sqlstate
        Where there is one.
    """

    code: str
    text: str
    sqlstate: str | None = None


def codes(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


def _execute(connection: Any, statement: str) -> None:
    with _closing(connection.cursor()) as cursor:
        cursor.execute(statement)


@contextmanager
def _closing(thing: Any) -> Iterator[Any]:
    try:
        yield thing
    finally:
        with suppress(Exception):  # the connection may be broken, which is told already
            thing.close()


def _rows(cursor: Any, sql: str, fetchsize: int) -> Iterator[Sequence[Any]]:
    cursor.execute(sql)
    while rows := cursor.fetchmany(fetchsize):
        yield rows


@dataclass(frozen=True, kw_only=True)
class Driver:
    """A Python driver and the database behind it; its methods are hooks of a `Dialect`.

    Attributes
    ----------
    module, extra
        The driver's module, and the extra of ours that installs it.
    connect
        ``(module, options, host, port)``: a connection. Its session is read-only, in UTC and named
        "dask-sail" where the database can.
    columns
        ``(connection, options, sql)``: the columns of a SELECT, of which no row is read.
    run
        Runs a statement on a connection.
    cursor
        ``(connection, options)``: a DB-API cursor that streams.
    cancel
        ``(connection, cursor)``: ends a query, from another thread; None for a driver that cannot,
        of which no more rows are asked for.
    session
        Statements to run on each new connection, after ``sessionInitStatement``.
    fault
        What an exception of the driver tells.
    lost, passing, unwelcome
        Codes: the connection is gone; the same may work when tried again; the login was refused.
    timed_out
        Codes of a query that took longer than ``queryTimeout``.
    by_proxy
        Whether the driver goes by way of an HTTP proxy that the environment names.
    """

    module: str
    extra: str
    connect: Callable[[Any, JDBCOptions, str, int | None], Any]
    columns: Callable[[Any, JDBCOptions, str], Sequence[Column]]
    run: Callable[[Any, str], None] = _execute
    cursor: Callable[[Any, JDBCOptions], Any] = lambda connection, options: connection.cursor()
    cancel: Callable[[Any, Any], None] | None = None
    session: Callable[[JDBCOptions], Sequence[str]] = lambda options: ()
    fault: Callable[[BaseException], Fault]
    lost: frozenset[str] = frozenset()
    passing: frozenset[str] = frozenset()
    unwelcome: frozenset[str] = frozenset()
    timed_out: frozenset[str] = frozenset()
    by_proxy: bool = False

    def describe(self, options: JDBCOptions, sql: str) -> Sequence[Column]:
        """Return the columns of a SELECT, as `Dialect.describe`."""
        try:
            with self._connected(options) as connection:
                return self.columns(connection, options, sql)
        except Exception as e:  # noqa: BLE001 - of the driver, and ours
            error = self.error(e, options)
        raise error

    @contextmanager
    def dbapi_rows(
        self, options: JDBCOptions, sql: str, cancellation: Cancellation
    ) -> Iterator[Iterator[Sequence[Any]]]:
        """Give the rows of a query, as `Dialect.dbapi_rows`."""
        with (
            self._connected(options) as connection,
            _closing(self.cursor(connection, options)) as cursor,
        ):
            label = options.url.label
            end = _End(partial(self.cancel, connection, cursor) if self.cancel else None)
            with (
                cancellation.ends(partial(end, f"{label}: the read was cancelled")),
                _after(options.query_timeout, end, label),
            ):
                yield end.unless_ended(_rows(cursor, sql, options.fetchsize))

    def error(self, exception: BaseException, options: JDBCOptions) -> JDBCError:
        """Return our error for one of the driver's, as `Dialect.error`."""
        if isinstance(exception, JDBCError):
            return exception
        code, words, state = self.fault(exception)
        text = redact(words, options.unspoken).strip() or type(exception).__name__
        if code in self.timed_out:
            state = _TIMED_OUT
        lost = code in self.lost or (not code and _BROKEN.search(text) is not None)
        lost = lost or (state or "").startswith("08")
        kind = ConnectError if lost or code in self.unwelcome else QueryError
        passing = code in self.passing or (lost and code not in self.unwelcome)
        return kind(f"{options.url.label}: {text}", state, passing)

    @contextmanager
    def _connected(self, options: JDBCOptions) -> Iterator[Any]:
        with _closing(self._open(options)) as connection:
            first = [options.session_init_statement] if options.session_init_statement else []
            for statement in (*first, *self.session(options)):
                self.run(connection, statement)
            yield connection

    def _open(self, options: JDBCOptions) -> Any:
        driver = self._driver()
        host, port = self._reached(options)
        answer: Future[Any] = Future()

        def connect() -> None:
            try:
                made = self.connect(driver, options, host, port)
            except Exception as e:  # noqa: BLE001 - each driver has classes of its own
                made = self._not_connected(e, options)
            try:
                answer.set_result(made)
            except InvalidStateError:  # nobody waits any more
                with suppress(Exception):
                    made.close()

        # Not all drivers give up on a host that takes the connection and says nothing.
        threading.Thread(target=connect, name="dask-sail connecting", daemon=True).start()
        try:
            wait([answer], options.connect_timeout)
        finally:  # also where it is interrupted
            is_given_up = answer.cancel()  # not if it is there by now; then it is this thread's
        if is_given_up:
            seconds = f"{options.connect_timeout:g} seconds"
            raise ConnectError(f"{options.url.label}: no answer within {seconds}", None, True)
        made = answer.result()
        if isinstance(made, JDBCError):
            raise made
        return made

    def _driver(self) -> Any:
        # Not within the except clause, or the import's own error would be the context of ours.
        with suppress(ImportError):
            return import_module(self.module)
        raise MissingDriverError(self.module, self.extra)

    def _reached(self, options: JDBCOptions) -> tuple[str, int | None]:
        """Return the first host that takes a connection.

        By a socket of ours: some drivers try for a minute where nobody listens.
        """
        error = ConnectError(f"{options.url.label}: no server is named")
        for host, port in options.url.hosts or (("", None),):
            if port is None or (self.by_proxy and _goes_by_proxy(host)):
                return host, port
            try:
                socket.create_connection((host, port), options.connect_timeout).close()
            except OSError as e:
                unknown = isinstance(e, socket.gaierror)
                what = "unknown host" if unknown else e.strerror or "no answer"
                error = ConnectError(f"{options.url.label}: {what}", None, not unknown)
            else:
                return host, port
        raise error

    def _not_connected(self, exception: BaseException, options: JDBCOptions) -> JDBCError:
        error = self.error(exception, options)
        if isinstance(error, ConnectError) or not isinstance(error, QueryError):
            return error
        return ConnectError(f"{error}", error.sqlstate, error.transient)


def driver_dialect(name: str, label: str, driver: Driver, types: TypeTable, **more: Any) -> Dialect:
    """Return the dialect of a database that its driver alone reads.

    Parameters
    ----------
    name, label
        As in the URL, and as in a sentence.
    **more
        What else the dialect says, such as ``limit``.
    """
    return Dialect(
        name=name,
        label=label,
        types=types.reference(),
        quote=types.quote,
        literal=types.literal,
        describe=driver.describe,
        read_column=types.read_column,
        condition=types.condition,
        partition_key=types.partition_key,
        dbapi_rows=driver.dbapi_rows,
        error=driver.error,
        **more,
    )


_BROKEN = re.compile(
    r"connection (was )?(refused|reset|aborted|closed|lost)|broken pipe|timed out|unreachable|"
    r"remote end closed|Name or service not known|failed to resolve",
    re.IGNORECASE,
)


def _goes_by_proxy(host: str) -> bool:
    return bool(getproxies().keys() & {"http", "https", "all"}) and not proxy_bypass(host)


class _End:
    """Ends a query once, for a reason that the reader is then told."""

    def __init__(self, cancel: Callable[[], None] | None) -> None:
        self._cancel = cancel
        self._reason: str | None = None

    def __call__(self, reason: str) -> None:
        self._reason = self._reason or reason
        if self._cancel is not None:
            with suppress(Exception):  # what it says may hold secrets, and the query may be over
                self._cancel()

    def unless_ended(self, chunks: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        """Yield some rows; an error with the reason once they were ended."""
        while True:
            rows = None
            try:
                rows = next(chunks, ())
            except Exception:
                if self._reason is None:  # else it is what ending a query makes
                    raise
            if self._reason is not None:
                raise QueryError(self._reason, _TIMED_OUT)
            if not rows:
                return
            yield rows


@contextmanager
def _after(seconds: int, end: _End, label: str) -> Iterator[None]:
    """End what runs in here after some seconds; 0 is never."""
    limit = min(seconds, threading.TIMEOUT_MAX)
    reason = f"{label}: interrupted after queryTimeout={seconds} seconds"
    timer = threading.Timer(limit, end, [reason])
    timer.daemon = True
    if seconds:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
