"""Databases that are not run here: what is told when a driver or its server is missing."""

from __future__ import annotations

import pickle
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import dask.dataframe as dd
import pytest

import dask_sail
from jdbc import ConnectError, JDBCArrowDataSource, JDBCOptions, MissingDriverError
from jdbc.dialects.drivers import Driver, Fault

SECRET = "hunter2 'x\"}&=%"
# By dialect: the URL, the module that reads it, and the extra that brings that.
DRIVERS = {
    "sqlserver": (
        "jdbc:sqlserver://{host};databaseName=d;encrypt=false",
        "mssql_python",
        "sqlserver",
    ),
    "oracle": ("jdbc:oracle:thin:@//{host}/s", "oracledb", "oracle"),
    "trino": ("jdbc:trino://{host}/c/s", "trino", "trino"),
    "snowflake": ("jdbc:snowflake://{host}/?db=d", "snowflake.connector", "snowflake"),
    "clickhouse": ("jdbc:clickhouse://{host}/d", "clickhouse_connect", "clickhouse"),
    "mysql": ("jdbc:mysql://{host}/d", "pymysql", "mysql"),
}
EVERY = pytest.mark.parametrize("name", sorted(DRIVERS))
# The first two need nothing that a plain installation lacks.
WIRES = {
    "redshift": "jdbc:redshift://{host}/d",
    "cockroachdb": "jdbc:cockroachdb://{host}/d",
}
REACHED = {**WIRES, **{name: url for name, (url, *_) in DRIVERS.items()}}
OUT_OF_REACH = [
    pytest.param(name, marks=[] if name in WIRES else pytest.mark.drivers) for name in REACHED
]


def options(name: str, host: str, **more: str) -> dict[str, str]:
    # Trino refuses a password that would travel in the clear.
    secret = {} if name == "trino" else {"password": SECRET}
    return {"url": REACHED[name].format(host=host), "user": "u", "dbtable": "t", **secret, **more}


@EVERY
def test_a_missing_driver_is_told_with_the_extra_that_brings_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, module, extra = DRIVERS[name]
    for part in (module, module.partition(".")[0]):
        monkeypatch.setitem(sys.modules, part, None)
    with pytest.raises(MissingDriverError) as raised:
        JDBCArrowDataSource().infer_schema(options(name, "127.0.0.1:9"))
    assert f"pip install 'dask-sail[{extra}]'" in f"{raised.value}"
    assert raised.value.__context__ is None
    with pytest.raises(dask_sail.SourceCallError, match=rf"dask-sail\[{extra}\]"):
        dd.read_python_source("jdbc", options=options(name, "127.0.0.1:9"))


def test_the_extras_are_those_of_the_package() -> None:
    from importlib.metadata import metadata

    extras = set(metadata("dask-sail").get_all("Provides-Extra") or ())
    assert {extra for *_, extra in DRIVERS.values()} <= extras


@pytest.fixture(scope="module")
def refused() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


def failure(given: dict[str, str]) -> tuple[ConnectError, float]:
    begun = time.monotonic()
    with pytest.raises(ConnectError) as raised:
        JDBCArrowDataSource().infer_schema(given)
    seconds = time.monotonic() - begun
    told = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    assert SECRET not in told
    assert "hunter2" not in told
    assert raised.value.__context__ is None
    assert f"{pickle.loads(pickle.dumps(raised.value))}" == f"{raised.value}"
    return raised.value, seconds


@pytest.fixture(autouse=True)
def imported(request: pytest.FixtureRequest) -> None:
    """Import the driver beforehand: what that takes is not the time of a connection."""
    name = request.node.callspec.params.get("name") if hasattr(request.node, "callspec") else None
    if name in DRIVERS and request.node.get_closest_marker("drivers"):
        __import__(DRIVERS[name][1])


@pytest.mark.parametrize("name", OUT_OF_REACH)
def test_a_refused_port_is_told_within_two_seconds(name: str, refused: int) -> None:
    error, seconds = failure(options(name, f"127.0.0.1:{refused}"))
    assert f"{name} at 127.0.0.1:{refused}" in f"{error}"
    assert "refused" in f"{error}".lower()
    assert error.transient
    assert seconds < 2


@pytest.mark.parametrize("name", OUT_OF_REACH)
def test_an_unknown_host_is_told_within_two_seconds(name: str) -> None:
    error, seconds = failure(options(name, "no-such-host.invalid:1234"))
    assert f"{name} at no-such-host.invalid:1234" in f"{error}"
    assert not error.transient
    assert seconds < 2


@pytest.mark.parametrize("name", OUT_OF_REACH)
def test_a_silent_host_is_given_up_after_connecttimeout(name: str, silent: int) -> None:
    error, seconds = failure(options(name, f"127.0.0.1:{silent}", connectTimeout="2"))
    assert f"{name} at 127.0.0.1:{silent}" in f"{error}"
    assert seconds < 5


def test_a_connection_made_just_when_it_is_given_up_is_closed() -> None:
    made: list[threading.Event] = []
    seconds = 0.002

    class Connection:
        def __init__(self) -> None:
            made.append(threading.Event())
            self.close = made[-1].set

    def connect(*_: Any) -> Connection:
        time.sleep(seconds)
        return Connection()

    driver = Driver(
        module="sqlite3",
        extra="",
        connect=connect,
        columns=lambda *_: [],
        fault=lambda e: Fault("", f"{e}"),
    )
    given = {"url": "jdbc:sqlite:not-read", "dbtable": "t", "connectTimeout": f"{seconds}"}
    parsed, rounds, in_time = JDBCOptions.parse(given), 300, 0
    for _ in range(rounds):
        try:
            driver.describe(parsed, "")
        except ConnectError:
            seconds /= 1.01  # so that about half are in time, and many just about
        else:
            in_time += 1
            seconds *= 1.01
    assert 0 < in_time < rounds
    deadline = time.monotonic() + 10
    while len(made) < rounds and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(made) == rounds
    assert all(closed.wait(10) for closed in made)


@pytest.mark.drivers
def test_trino_is_told_no_password_in_the_clear() -> None:
    given = options("trino", "127.0.0.1:9", password=SECRET)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        given["url"] = f"jdbc:trino://127.0.0.1:{listener.getsockname()[1]}/c/s"
        with pytest.raises(ValueError, match="'password' would go to Trino unencrypted") as raised:
            JDBCArrowDataSource().infer_schema(given)
    assert "hunter2" not in f"{raised.value}"
