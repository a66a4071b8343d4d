"""Style, types and architecture: the checks that need no running code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"


def test_ruff_finds_nothing() -> None:
    run("ruff", "check", ".")


def test_ruff_would_format_nothing() -> None:
    run("ruff", "format", "--check", ".")


@pytest.mark.slow
def test_types_hold_strictly() -> None:
    run("mypy")


def test_packages_import_only_what_they_may() -> None:
    code = "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"\b0 broken", result.stdout), result.stdout


def test_private_dask_imports_stay_in_one_module() -> None:
    private = re.compile(r"^\s*(from|import) (dask|distributed)[\w.]*\._", re.MULTILINE)
    expressions = re.compile(r"^\s*(from|import) dask\.dataframe\.dask_expr", re.MULTILINE)
    found = [
        path.name
        for path in (ROOT / "dask_sail").rglob("*.py")
        if private.search(path.read_text()) or expressions.search(path.read_text())
    ]
    assert found == ["dask_compat.py"]


def test_importing_starts_nothing_and_finds_no_optional_driver() -> None:
    code = (
        "import threading, logging, sys; import dask_sail, jdbc; "
        "assert threading.active_count() == 1, threading.enumerate(); "
        "assert not logging.getLogger('dask_sail').handlers; "
        "drivers = {'connectorx', 'psycopg', 'adbc_driver_postgresql', 'datafusion'}; "
        "loaded = drivers & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
