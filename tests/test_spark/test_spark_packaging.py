"""What engines find in an installation, and what importing costs; without an engine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_pyspark_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['pyspark'] = None\n"
        "try: import dask_sail.spark\n"
        "except ImportError as error: print(error)"
    )
    said = python(code)
    assert "pip install 'dask-sail[spark]'" in said
    assert "'dask-sail[lakesail]'" in said


# A module of PySpark's name is enough: what matters is what was loaded before.
PYSPARK = "import sys, types; sys.modules['pyspark'] = types.ModuleType('pyspark')\n"


@pytest.mark.parametrize(
    "use",
    [
        "import dask.dataframe as dd; read = dd.read_python_source",
        "read = dask_sail.read_python_source",
        "from dask_sail import read_python_source as read",
        "import dask; read = dask_sail.inspect and dask_sail.read_python_source",
    ],
)
def test_beside_pyspark_dask_comes_when_it_is_used(use: str) -> None:
    code = PYSPARK + (
        "import dask_sail, dask_sail.batches, dask_sail.planning\n"
        "loaded = {'dask', 'distributed', 'datafusion'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        f"{use}\n"
        "import dask.dataframe as dd\n"
        "assert read is dd.read_python_source is dask_sail.read_python_source\n"
        "assert hasattr(dd.DataFrame, 'sail')\n"
        "assert all(hasattr(dask_sail, name) for name in dask_sail.__all__)\n"
        "assert dask_sail.read_sql.__name__ == 'read_sql'\n"
        "assert not hasattr(dask_sail, 'nothing')\n"
    )
    python(code)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_an_installation_has_the_module_that_pyspark_looks_for(kind: str, tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    for name in ("dask_sail", "jdbc"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools import build_meta as b; print(b.build_{kind}({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(site)
        assert (
            "pyspark_dask_sail.py"
            in archive.read(
                next(name for name in archive.namelist() if name.endswith("RECORD"))
            ).decode()
        )
    # As PySpark looks: through the folders of the path, those of .pth files included.
    found = python(
        f"import pkgutil, site, sys; before = set(sys.path); site.addsitedir({str(site)!r})\n"
        "added = [folder for folder in sys.path if folder not in before]\n"
        "print(*(m.name for m in pkgutil.iter_modules(added) if m.name.startswith('pyspark_')))"
    )
    assert found.split() == ["pyspark_dask_sail"]
