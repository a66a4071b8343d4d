"""A package of somebody else's: built, installed into an environment, found, tested and read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

OUTSIDER = Path(__file__).parent.parent / "outsider"


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that has the outsider's wheel, and what we have."""
    folder = tmp_path_factory.mktemp("outsider")
    shutil.copytree(OUTSIDER, folder / "project")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    build = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder)
    run(*pip, *build, folder / "project")
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    # The packages of this environment, also those that are installed as editable.
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    lines = [f"import site; site.addsitedir({path!r})\n" for path in sorted(ours)]
    (Path(site) / "ours.pth").write_text("".join(lines))
    return python


def test_it_is_listed_without_being_imported(python: Path) -> None:
    code = (
        "import sys, dask_sail; print(dask_sail.sources('tides')); "
        "assert 'outsider_tides' not in sys.modules"
    )
    shown = run(python, "-P", "-c", code)
    assert shown == (
        "tides  outsider_tides:Tides  (outsider-tides 1.5)\n"
        "  satellite: needs outsider-satellite-driver>=2, pip install 'outsider-tides[satellite]'\n"
    )


def test_it_passes_the_suite(python: Path, tmp_path: Path) -> None:
    shutil.copy(OUTSIDER / "checks.py", tmp_path)
    plain = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path)
    assert " passed" in run(python, *plain, tmp_path / "checks.py")


def test_it_is_read_on_a_cluster_of_two_processes(
    python: Path, start_cluster: Callable[..., AbstractContextManager[str]], tmp_path: Path
) -> None:
    code = """
import json, os, sys
import dask.dataframe as dd
import dask_sail
from distributed import Client
with Client(sys.argv[1]) as client:
    client.wait_for_workers(2)
    tides = dd.read_python_source("tides", days=8, pid=True)
    found = tides.persist()
    by_name = repr(tides.expr.operand("handle").ref)
    total = str(found.height.sum().compute())
    pids = sorted(set(found.pid.compute()))
    print(json.dumps([len(found), total, pids, os.getpid(), by_name]))
"""
    with start_cluster(tmp_path, workers=2, python=str(python)) as address:
        rows, total, pids, own, ref = json.loads(run(python, "-P", "-c", code, address))
    assert rows == 8 * 24
    assert float(total) == 16 * sum(hour + 0.25 for hour in range(12))
    assert len(pids) == 2
    assert own not in pids
    assert os.getpid() not in pids
    # Each worker imported it by its name: its code did not travel.
    assert ref == "SourceRef('tides', outsider_tides:Tides)"
