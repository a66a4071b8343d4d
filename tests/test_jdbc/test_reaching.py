"""A database that cannot be reached is an error in two seconds, or after ``connectTimeout``."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import dask.dataframe as dd
import pyarrow as pa
import pytest

import dask_sail
from jdbc import ConnectError, JDBCArrowDataSource, JDBCError

SECRET = "hunter2 'x\"&=%"
FAULTS = ("wrong password", "unknown host", "refused port", "silent host")
SCHEMA = pa.schema([pa.field("a", pa.int32(), metadata={"jdbc.type": "int4"})])
MARIADB = pa.schema([pa.field("a", pa.int64(), metadata={"jdbc.type": "bigint"})])


class Scan(NamedTuple):
    """As `dask_sail.Scan`, which jdbc does not import."""

    schema: pa.Schema
    columns: tuple[str, ...] = ("a",)
    predicates: tuple[Any, ...] = ()
    limit: int | None = None


@pytest.fixture(
    params=[
        *(("postgres", engine) for engine in ("connectorx", "adbc", "fallback")),
        *(
            pytest.param(("mariadb", engine), marks=pytest.mark.mariadb)
            for engine in ("connectorx", "fallback")
        ),
    ],
    ids="-".join,
)
def server(
    request: pytest.FixtureRequest, jdbc_options: Callable[[str], dict[str, str]]
) -> dict[str, str]:
    name, engine = request.param
    options = jdbc_options(request.getfixturevalue(name))
    return options | {"engine": engine, "query": "SELECT 1 AS a"}


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


def out_of_reach(server: dict[str, str], fault: str, silent: int) -> tuple[dict[str, str], str]:
    """Options that cannot work, and the host that an error has to name."""
    scheme, _, rest = server["url"].partition("://")
    address, _, database = rest.partition("/")
    if fault == "unknown host":
        address = "no-such-host.invalid:5432"
    elif fault == "refused port":
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{s.getsockname()[1]}"
    elif fault == "silent host":
        address = f"127.0.0.1:{silent}"
    url = f"{scheme}://{address}/{database}"
    return server | {"url": url, "password": SECRET, "connectTimeout": "1"}, address


def told_by(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error.args) + repr(error)


def attempts(options: dict[str, str]) -> list[Callable[[], Any]]:
    source = JDBCArrowDataSource()
    dialect = "mysql" if "mysql" in options["url"] else "postgresql"
    schema = SCHEMA if dialect == "postgresql" else MARIADB
    spec = {"partition": 0, "dialect": dialect, "engine": options["engine"], "why": "a test"}
    return [
        lambda: source.infer_schema(options),
        lambda: source.plan_partitions(options | {"partitionColumn": "a", "numPartitions": "2"}),
        lambda: list(source.scan_partition(spec, options, Scan(schema))),
    ]


@pytest.mark.timeout(60)  # connectorx alone would try for 30 s, and others without end
@pytest.mark.parametrize("fault", FAULTS)
def test_each_engine_gives_up_in_time_and_names_host_and_dialect(
    server: dict[str, str], fault: str, silent: int
) -> None:
    options, address = out_of_reach(server, fault, silent)
    dialect = "mysql" if "mysql" in options["url"] else "postgresql"
    for attempt in attempts(options):
        start = time.monotonic()
        with pytest.raises(ConnectError) as caught:
            attempt()
        # connectTimeout is a second here, which libpq takes for two.
        assert time.monotonic() - start < (4 if fault == "silent host" else 2)
        assert f"{dialect} at {address}" in str(caught.value)
        assert caught.value.transient == (fault in ("refused port", "silent host"))
        assert SECRET not in told_by(caught.value)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", ["read_python_source", "read_sql"])
def test_so_does_whoever_calls_it(
    server: dict[str, str], fault: str, way: str, silent: int
) -> None:
    options, address = out_of_reach(server, fault, silent)
    if way == "read_sql":
        url, query = options.pop("url"), options.pop("query")
        read = partial(dask_sail.read_sql, query, url, **options)
    else:
        read = partial(dd.read_python_source, "jdbc", options=options)
    start = time.monotonic()
    with pytest.raises(dask_sail.SourceCallError) as caught:
        read()
    assert time.monotonic() - start < (4 if fault == "silent host" else 2)
    assert f" at {address}" in str(caught.value)
    assert caught.value.error_type == "jdbc.errors.ConnectError"
    assert SECRET not in told_by(caught.value)


def test_the_password_is_right_otherwise(server: dict[str, str]) -> None:
    """Or the tests above would show nothing."""
    assert len(dd.read_python_source("jdbc", options=server)) == 1


def test_no_error_quotes_a_text_of_the_users_statement(database: Any) -> None:
    # Servers say what part of a statement they stumbled over.
    for statement in ("SELECT 'hunter2' FROM nope", "SELEC 'hunter2'", "SELECT nope('hunter2')"):
        options = database.options | {"query": "SELECT 1 AS a", "sessionInitStatement": statement}
        with pytest.raises(JDBCError) as caught:
            JDBCArrowDataSource().infer_schema(options)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None
