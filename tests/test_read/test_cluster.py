"""The same results wherever the tasks run, for classes that the workers have never seen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import pyarrow as pa
import pytest
from distributed import Client

import dask_sail

SIBLING = """
OFFSET = 100

class Base:
    def rows(self, start):
        return [shift(start + i) for i in range(4)]

def shift(n):
    return n + OFFSET
"""

SOURCE = """
import pyarrow as pa
import {sibling} as sibling
from {sibling} import Base

class Local(Base):
    def infer_schema(self, options):
        return pa.schema([("n", pa.int64()), ("offset", pa.int32())])
    def plan_partitions(self, options):
        return [{{"start": 4 * i}} for i in range(int(options["parts"]))]
    def read_partition(self, spec, options):
        from {sibling} import OFFSET, Base  # again, by name
        rows = self.rows(spec["start"])
        assert isinstance(self, Base) or OFFSET == 100
        yield pa.record_batch([rows, [sibling.OFFSET] * 4], ["n", "offset"])
"""

SCRIPT = """
import dask, dask.dataframe as dd, dask_sail, sys
{definition}
if __name__ == "__main__":
    from distributed import Client
    frame = dd.read_python_source(Local, parts=3)
    found = []
    for scheduler in ("synchronous", "threads", "processes"):
        found.append(frame.compute(scheduler=scheduler).n.tolist())
    with Client(sys.argv[1]):
        found.append(frame.compute().n.tolist())
        assert set(frame[frame.n > 103].offset.compute()) == {{100}}
    assert found == [list(range(100, 112))] * 4, found
    print("the same")
"""


def run_script(folder: Path, definition: str, address: str) -> str:
    """Run the script with its sibling modules, which only it can import."""
    (folder / "client_only_sibling.py").write_text(SIBLING)
    script = folder / "script.py"
    script.write_text(SCRIPT.format(definition=definition))
    result = subprocess.run(
        [sys.executable, str(script), address], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_class_defined_in_main(tmp_path: Path, cluster: str) -> None:
    definition = SOURCE.format(sibling="client_only_sibling")
    assert "the same" in run_script(tmp_path, definition, cluster)


def test_a_class_in_a_module_that_only_the_client_has(tmp_path: Path, cluster: str) -> None:
    (tmp_path / "client_only_source.py").write_text(SOURCE.format(sibling="client_only_sibling"))
    assert "the same" in run_script(tmp_path, "from client_only_source import Local", cluster)


def test_a_class_that_refers_to_a_lock_says_what_stops_it(tmp_path: Path, cluster: str) -> None:
    definition = "import threading\nlock = threading.Lock()\n" + SOURCE.format(
        sibling="client_only_sibling"
    ).replace("rows = self", "lock.acquire; rows = self")
    with pytest.raises(AssertionError, match=r"Local.*by value, but cannot be pickled"):
        run_script(tmp_path, definition, cluster)


class Numbers:
    """A source of this test module, which is installed nowhere."""

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return pa.schema([("n", pa.int64()), ("pid", pa.int64())])

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        return [{"i": i} for i in range(4)]

    def read_partition(
        self, spec: dict[str, Any], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        import os

        yield pa.record_batch([[spec["i"]], [os.getpid()]], ["n", "pid"])


def test_a_class_of_an_installed_package_travels_by_path(cluster: str) -> None:
    from dask_sail.registry import find_source

    assert "by value" not in repr(find_source("jdbc"))
    assert "by value" in repr(find_source(Numbers))


def test_python_module_and_python_class(cluster: str, monkeypatch: Any, tmp_path: Path) -> None:
    (tmp_path / "bridge_module.py").write_text(SOURCE.format(sibling="bridge_sibling"))
    (tmp_path / "bridge_sibling.py").write_text(SIBLING)
    monkeypatch.syspath_prepend(str(tmp_path))
    with Client(cluster):
        frame = dd.read_python_source(python_module="bridge_module", python_class="Local", parts=2)
        assert frame.n.compute().tolist() == list(range(100, 108))
        same = dd.read_python_source("bridge_module:Local", parts=2)
        assert same.n.compute().tolist() == list(range(100, 108))


def test_the_client_may_come_after_the_collection(cluster: str) -> None:
    import os

    frame = dd.read_python_source(Numbers)
    with Client(cluster):
        result = frame.compute()
    assert result.n.tolist() == [0, 1, 2, 3]
    assert os.getpid() not in set(result.pid)


class Hidden:
    """A source whose server only workers reach."""

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        self.only_on_a_worker()
        return pa.schema([("n", pa.int64())])

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        self.only_on_a_worker()
        return [{"i": i} for i in range(int(options["parts"]))]

    def read_partition(
        self, spec: dict[str, Any], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        self.only_on_a_worker()
        yield pa.record_batch([[spec["i"]]], ["n"])

    def partition_statistics(self, specs: Any, options: Any) -> list[tuple[int, bool, None]]:
        self.only_on_a_worker()
        return [(1, True, None) for _ in specs]

    def only_on_a_worker(self) -> None:
        from distributed import get_worker

        try:
            get_worker()
        except ValueError:
            raise ConnectionError("no route to the server") from None


def test_planning_on_the_cluster(cluster: str) -> None:
    with pytest.raises(dask_sail.SourceCallError, match="infer_schema raised ConnectionError"):
        dd.read_python_source(Hidden, parts=3)
    with Client(cluster):
        frame = dd.read_python_source(Hidden, plan_on="cluster", parts=3)
        assert frame.n.compute().tolist() == [0, 1, 2]
        assert len(frame) == 3
        assert frame[frame.n > 0].n.sum().compute() == 3
        assert "3 partitions" in str(dask_sail.inspect(frame))


def test_a_class_that_only_the_cluster_has(tmp_path: Path, start_cluster: Any) -> None:
    (tmp_path / "cluster_only.py").write_text(SOURCE.format(sibling="cluster_sibling"))
    (tmp_path / "cluster_sibling.py").write_text(SIBLING)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    with start_cluster(tmp_path, workers=1, worker_code=code) as address, Client(address):
        with pytest.raises(dask_sail.SourceNotFoundError, match="cluster_only"):
            dd.read_python_source("cluster_only:Local", parts=2)
        frame = dd.read_python_source("cluster_only:Local", plan_on="cluster", parts=2)
        assert frame[frame.n > 101].n.compute().tolist() == list(range(102, 108))


def test_workers_without_the_library_are_named(cluster_without_workers_library: str) -> None:
    frame = dd.read_python_source(Numbers)
    with Client(cluster_without_workers_library) as client:
        client.wait_for_workers(1)
        with pytest.raises(dask_sail.ClusterError, match=r"(?s)tcp://127\.0\.0\.1:\d+.*dask-sail"):
            frame.compute()


def test_a_scheduler_without_the_library_is_named(cluster_without_schedulers_library: str) -> None:
    frame = dd.read_python_source(Numbers)
    with Client(cluster_without_schedulers_library) as client:
        client.wait_for_workers(1)
        with pytest.raises(dask_sail.ClusterError, match="scheduler"):
            frame.compute()


def test_an_error_on_a_worker_arrives_whole(cluster: str) -> None:
    class Failing(Numbers):
        def read_partition(
            self, spec: dict[str, Any], options: dict[str, str]
        ) -> Iterator[pa.RecordBatch]:
            class OnlyHereError(Exception):  # the client cannot import it
                pass

            raise OnlyHereError(f"part {spec['i']} is broken")
            yield

    with Client(cluster), pytest.raises(dask_sail.PartitionReadError) as raised:
        dd.read_python_source(Failing).partitions[2].compute()
    error = raised.value
    assert error.spec == {"i": 2}
    assert error.error_type.endswith("OnlyHereError")
    assert "part 2 is broken" in str(error)
    assert "raise OnlyHereError" in error.traceback_text


def test_transient_errors_are_tried_again_and_others_are_not(cluster: str, tmp_path: Path) -> None:
    class Flaky(Numbers):
        def read_partition(
            self, spec: dict[str, Any], options: dict[str, str]
        ) -> Iterator[pa.RecordBatch]:
            log = Path(options["folder"]) / str(spec["i"])
            tries = len(log.read_text()) if log.exists() else 0
            log.write_text("x" * (tries + 1))
            yield pa.record_batch([[spec["i"]], [0]], ["n", "pid"])
            if tries < 2:
                kind: dict[str, type[Exception]] = {"reset": ConnectionResetError, "bug": KeyError}
                raise kind[options["kind"]]("again")

    with Client(cluster):
        frame = dd.read_python_source(Flaky, folder=tmp_path, kind="reset")
        # What was yielded before an error is thrown away: each row arrives once.
        assert frame.n.compute().tolist() == [0, 1, 2, 3]
        assert {path.read_text() for path in tmp_path.iterdir()} == {"xxx"}
        for path in tmp_path.iterdir():
            path.unlink()
        with pytest.raises(dask_sail.PartitionReadError, match="KeyError"):
            dd.read_python_source(Flaky, folder=tmp_path, kind="bug").partitions[0].compute()
        assert (tmp_path / "0").read_text() == "x"


def test_a_cancelled_read_stops_between_batches(cluster: str, tmp_path: Path) -> None:
    import time

    class Slow(Numbers):
        def read_partition(
            self, spec: dict[str, Any], options: dict[str, str]
        ) -> Iterator[pa.RecordBatch]:
            log = Path(options["log"])
            try:
                for _ in range(600):
                    time.sleep(0.05)
                    with log.open("a") as file:
                        file.write("batch\n")
                    yield pa.record_batch([[1], [1]], ["n", "pid"])
            finally:
                with log.open("a") as file:
                    file.write("closed\n")

    log = tmp_path / "log"
    with Client(cluster) as client:
        future = client.compute(dd.read_python_source(Slow, log=log).partitions[0])
        _until(lambda: log.exists() and log.read_text().count("batch") > 3)
        future.cancel()
        del future
        _until(lambda: log.read_text().endswith("closed\n"))


def test_a_blocked_read_is_told_to_stop(cluster: str, tmp_path: Path) -> None:
    import threading

    class Blocked(Numbers):
        def __init__(self) -> None:
            self.stopped = threading.Event()

        def read_partition(
            self, spec: dict[str, Any], options: dict[str, str]
        ) -> Iterator[pa.RecordBatch]:
            Path(options["log"]).write_text("begun")
            self.stopped.wait(60)
            Path(options["log"]).write_text("stopped" if self.stopped.is_set() else "too late")
            yield pa.record_batch([[1], [1]], ["n", "pid"])

        def cancel(self) -> None:
            self.stopped.set()
            raise OSError("cannot log out hunter2")  # is nobody's affair, nor is the secret

    log = tmp_path / "log"
    with Client(cluster) as client:
        blocked = dd.read_python_source(Blocked, log=log, password="hunter2")
        future = client.compute(blocked.partitions[0])
        _until(lambda: log.exists() and log.read_text() == "begun")
        future.cancel()
        del future
        _until(lambda: log.read_text() == "stopped")


def _until(condition: Any, seconds: float = 20) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


class Limited(Numbers):
    """Bears so many reads at a time; each read notes how many run."""

    def concurrency(self, options: dict[str, str]) -> tuple[str, int]:
        return options["folder"], int(options["limit"])

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        return [{"i": i} for i in range(8)]

    def read_partition(
        self, spec: dict[str, Any], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        import time

        mine = Path(options["folder"]) / f"{spec['i']}.running"
        mine.touch()
        time.sleep(0.15)
        running = len(list(Path(options["folder"]).glob("*.running")))
        mine.unlink()
        yield pa.record_batch([[running], [0]], ["n", "pid"])


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_a_limit_of_concurrent_reads_holds(scheduler: str, tmp_path: Path) -> None:
    frame = dd.read_python_source(Limited, folder=tmp_path, limit=2)
    running = frame.n.compute(scheduler=scheduler, num_workers=4)
    assert len(running) == 8
    assert max(running) == 2


def test_a_limit_below_one_is_an_error_and_no_endless_wait(tmp_path: Path) -> None:
    frame = dd.read_python_source(Limited, folder=tmp_path, limit=0)
    with pytest.raises(dask_sail.PlanError, match=r"a limit of 1 or more, got .*, 0\)"):
        frame.compute(scheduler="threads")


def test_a_limit_of_concurrent_reads_holds_over_a_cluster(cluster: str, tmp_path: Path) -> None:
    with Client(cluster):
        running = dd.read_python_source(Limited, folder=tmp_path, limit=1).n.compute()
        assert running.tolist() == [1] * 8
