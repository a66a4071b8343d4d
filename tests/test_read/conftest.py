"""Clusters of real processes that share nothing with the test but what is installed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

WITHOUT_DASK_SAIL = "import sys; sys.modules['dask_sail'] = None; "


@contextlib.contextmanager
def running_cluster(
    folder: Path,
    *,
    workers: int = 2,
    scheduler_code: str = "",
    worker_code: str = "",
    allowed_failures: int = 0,
    python: str = sys.executable,
) -> Iterator[str]:
    """Address of a scheduler with worker processes of one thread each, started in ``folder``."""
    file = folder / "scheduler.json"
    environment = {
        **os.environ,
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": f"{allowed_failures}",
        "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
    }
    environment.pop("SHOP_PASSWORD", None)

    def start(code: str, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        program = f"{code}import sys; from distributed.cli.{command} import main; main()"
        return subprocess.Popen(
            [python, "-c", program, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=(folder / f"{command}.log").open("ab"),
        )

    processes = [
        start(
            scheduler_code,
            "dask_scheduler",
            *("--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
            *("--scheduler-file", str(file)),
        )
    ]
    try:
        deadline = time.monotonic() + 60
        while not (file.exists() and file.read_text().strip()):
            assert processes[0].poll() is None, (folder / "dask_scheduler.log").read_text()
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        for _ in range(workers):
            processes.append(
                start(
                    worker_code,
                    "dask_worker",
                    *(address, "--no-nanny", "--nthreads", "1", "--no-dashboard"),
                    *("--local-directory", str(folder), "--memory-limit", "1GiB"),
                )
            )
        yield address
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


@pytest.fixture(scope="session")
def start_cluster() -> Callable[..., AbstractContextManager[str]]:
    """Start a cluster in a folder: ``with start_cluster(folder, workers=2) as address``."""
    return running_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler and two workers, each a process of its own in an empty folder."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield address


@pytest.fixture
def cluster_without_workers_library(tmp_path: Path) -> Iterator[str]:
    """Address of a cluster whose workers cannot import dask_sail."""
    with running_cluster(tmp_path, workers=1, worker_code=WITHOUT_DASK_SAIL) as address:
        yield address


@pytest.fixture
def cluster_without_schedulers_library(tmp_path: Path) -> Iterator[str]:
    """Address of a cluster whose scheduler cannot import dask_sail."""
    with running_cluster(tmp_path, workers=1, scheduler_code=WITHOUT_DASK_SAIL) as address:
        yield address
