"""All partitions of a computation read one snapshot, opened by one task and closed after it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import psutil
import pyarrow as pa
import pytest
from distributed import Client, wait

import dask_sail
from dask_sail import Scan


class Opened:
    """A snapshot whose opening and closing a file tells."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.name = f"snapshot {time.monotonic_ns()} of {os.getpid()}"
        self.note("open")

    def close(self) -> None:
        self.note("close")

    def note(self, what: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{what} {self.name}\n")


class Changing:
    """Rows say which snapshot they were read from."""

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return pa.schema([("i", pa.int64()), ("snapshot", pa.string())])

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        return [{"i": i} for i in range(6)]

    def read_partition(self, spec: Any, options: Any) -> Iterator[pa.RecordBatch]:
        raise NotImplementedError

    def plan_scan(self, specs: Any, options: Any, scan: Scan) -> Any:
        return specs, []

    def scan_partition(
        self, spec: dict[str, Any], options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        hold = Path(options["hold"]) if "hold" in options else None
        while spec["i"] > 1 and hold is not None and hold.exists():
            time.sleep(0.02)
        if scan.snapshot is not None:
            keeper = psutil.Process(int(scan.snapshot.split()[-1]))
            if keeper.status() == psutil.STATUS_ZOMBIE:
                raise ValueError("no such snapshot")
        yield pa.record_batch([[spec["i"]], [scan.snapshot]], ["i", "snapshot"])

    def wants_snapshot(self, options: dict[str, str]) -> bool:
        return options.get("snapshot") == "true"

    def open_snapshot(self, options: dict[str, str]) -> Opened:
        return Opened(Path(options["log"]))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def told(log: Path) -> list[str]:
    return [line.split()[0] for line in log.read_text().splitlines()]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_each_computation_has_its_own(scheduler: str, log: Path) -> None:
    frame = dd.read_python_source(Changing, snapshot=True, log=log)
    with dask.config.set(scheduler=scheduler):
        first, second = frame.compute(), frame.compute()
        frame.head(1)
        assert len(frame[frame.i > 2]) == 3
    assert first.i.tolist() == [0, 1, 2, 3, 4, 5]
    assert first.snapshot.nunique() == second.snapshot.nunique() == 1
    assert first.snapshot.iloc[0] != second.snapshot.iloc[0]
    assert told(log) == ["open", "close"] * 4


def test_what_is_no_snapshot_is_refused(log: Path) -> None:
    class Wrong(Changing):
        def open_snapshot(self, options: dict[str, str]) -> Any:
            return "state 7"

    frame = dd.read_python_source(Wrong, snapshot=True, log=log)
    with pytest.raises(
        dask_sail.PlanError, match=r"name and a method close\(\), got a builtins.str"
    ):
        frame.compute(scheduler="threads")


def test_an_error_of_closing_is_logged_without_secrets(
    log: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    class Stuck(Opened):
        def close(self) -> None:
            raise OSError("cannot log out hunter2")

    class Sticking(Changing):
        def open_snapshot(self, options: dict[str, str]) -> Opened:
            return Stuck(Path(options["log"]))

    frame = dd.read_python_source(Sticking, snapshot=True, log=log, password="hunter2")
    assert len(frame.compute(scheduler="synchronous")) == 6
    assert "Sticking: close raised OSError: cannot log out ***" in caplog.text
    assert "hunter2" not in caplog.text + "".join(capfd.readouterr())


def test_two_narrowings_in_one_computation_share_it(log: Path) -> None:
    frame = dd.read_python_source(Changing, snapshot=True, log=log)
    left, right = dask.compute(
        frame[frame.i < 3].snapshot, frame[["snapshot"]], scheduler="threads"
    )
    assert set(left) == set(right.snapshot)
    assert told(log) == ["open", "close"]


def test_none_is_opened_unless_wanted(log: Path) -> None:
    result = dd.read_python_source(Changing, log=log).compute(scheduler="threads")
    assert result.snapshot.isna().all()
    assert not log.exists()


def test_the_process_scheduler_refuses(log: Path) -> None:
    frame = dd.read_python_source(Changing, snapshot=True, log=log)
    with pytest.raises(dask_sail.SnapshotError, match="use threads or a distributed Client"):
        frame.compute(scheduler="processes")
    assert told(log) == ["open", "close"]


def test_over_a_cluster(cluster: str, log: Path) -> None:
    frame = dd.read_python_source(Changing, snapshot=True, log=log)
    with Client(cluster):
        first, second = frame.compute(), frame.compute()
        assert first.snapshot.nunique() == second.snapshot.nunique() == 1
        assert first.snapshot.iloc[0] != second.snapshot.iloc[0]
        until(lambda: told(log).count("close") == 2)


def test_a_client_that_goes_away_leaves_none_open(cluster: str, log: Path, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    with Client(cluster) as client:
        futures = client.compute(dd.read_python_source(Changing, snapshot=True, log=log, hold=hold))
        until(lambda: log.exists() and told(log) == ["open"])
        assert futures.status == "pending"
    hold.unlink()
    until(lambda: told(log) == ["open", "close"])


@pytest.mark.slow
def test_one_that_is_lost_with_its_worker_is_an_error(
    start_cluster: Any, log: Path, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    with start_cluster(tmp_path, allowed_failures=5) as address, Client(address) as client:
        client.wait_for_workers(2)
        frame = dd.read_python_source(Changing, snapshot=True, log=log, hold=hold)
        persisted = client.persist(frame)
        until(lambda: log.exists() and told(log) == ["open"])
        owner = int(log.read_text().split()[-1])
        os.kill(owner, signal.SIGKILL)
        until(lambda: len(client.scheduler_info()["workers"]) == 1)
        hold.unlink()
        wait(persisted)
        # Whether it was to be opened again, or its name was known elsewhere already.
        with pytest.raises(
            dask_sail.PythonDataSourceError, match=r"lost with the worker|no such snapshot"
        ):
            persisted.compute()
        assert len(frame.compute()) == 6  # another computation is free to open its own
