"""The suite finds what is broken: for each broken source the test of its rule fails, and no other.

``broken_sources.py`` is read by the pytest that these tests start, as an author would start it.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dask_sail.testing import PythonDataSourceSuite

pytestmark = pytest.mark.timeout(900)  # all sources are tried before the first test

HERE = Path(__file__).parent

TESTS = """
import pyarrow as pa
import pytest
from broken_sources import BROKEN, OPTIONS, TABLE, Moments, PlansAlone, Whole, WholeScan
from dask_sail.testing import PythonDataSourceSuite

def suite_of(cls):
    class Suite(PythonDataSourceSuite):
        @pytest.fixture
        def source(self):
            return cls

        @pytest.fixture
        def options(self):
            return OPTIONS

        @pytest.fixture
        def expected(self):
            return getattr(cls, "TABLE", TABLE)

        @pytest.fixture
        def bad_options(self):
            return {"size": "eight"}

        @pytest.fixture
        def empty_options(self):
            return {**OPTIONS, "empty": "yes"} if cls.__name__ == "NeedsRows" else None

    # It starts a process, which takes seconds: for those that it is about alone.
    process = "test_another_process_reads_the_same"
    if BROKEN.get(cls, process) != process:
        Suite.test_another_process_reads_the_same = None
    return Suite

for cls in [Whole, PlansAlone, WholeScan, Moments, *BROKEN]:
    globals()[f"Test{cls.__name__}"] = suite_of(cls)
"""


def broken() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("broken_sources", HERE / "broken_sources.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {cls.__name__: test for cls, test in module.BROKEN.items()}


BROKEN = broken()


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, tuple[str, str]]]:
    """By class and test of the suite: passed, failed or skipped, and what was said."""
    folder = tmp_path_factory.mktemp("author")
    (folder / "test_broken.py").write_text(TESTS)
    (folder / "broken_sources.py").write_text((HERE / "broken_sources.py").read_text())
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml"]
    done = subprocess.run(
        [sys.executable, *command, "test_broken.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    assert (folder / "report.xml").exists(), done.stdout + done.stderr
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for case in ElementTree.parse(folder / "report.xml").iter("testcase"):
        kind, text = "passed", ""
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                kind = {"failure": "failed"}.get(child.tag, child.tag)
                text = f"{child.get('message')}\n{child.text}"
        name = case.get("classname", "").rpartition(".")[2].removeprefix("Test")
        found.setdefault(name, {})[case.get("name", "")] = kind, text
    return found


@pytest.mark.parametrize("name", BROKEN)
def test_the_test_of_the_broken_rule_fails_and_no_other(
    outcomes: dict[str, dict[str, tuple[str, str]]], name: str
) -> None:
    wrong = {test: said for test, said in outcomes[name].items() if said[0] in ("failed", "error")}
    assert list(wrong) == [BROKEN[name]], wrong


@pytest.mark.parametrize("name", ["Whole", "PlansAlone", "WholeScan", "Moments"])
def test_a_source_that_keeps_all_rules_passes(
    outcomes: dict[str, dict[str, tuple[str, str]]], name: str
) -> None:
    assert len(outcomes[name]) > 25
    wrong = {t: s for t, s in outcomes[name].items() if s[0] in ("failed", "error")}
    assert not wrong
    skipped = {test for test, (kind, _) in outcomes[name].items() if kind == "skipped"}
    assert "test_every_partition_can_be_read" not in skipped
    assert ("test_what_is_accepted_is_applied" in skipped) == (name in ("Whole", "Moments"))
    if name == "WholeScan":
        assert skipped == {
            "test_a_snapshot_opens_and_closes",
            "test_a_read_without_rows_has_the_schema",
        }


def test_every_rule_has_a_source_that_breaks_it() -> None:
    rules = {name for name in vars(PythonDataSourceSuite) if name.startswith("test_")}
    assert set(BROKEN.values()) == rules


@pytest.mark.parametrize("name", BROKEN)
def test_a_failure_tells_the_rule_what_was_seen_and_what_to_do(
    outcomes: dict[str, dict[str, tuple[str, str]]], name: str
) -> None:
    _, text = outcomes[name][BROKEN[name]]
    rule = getattr(PythonDataSourceSuite, BROKEN[name]).__doc__
    assert " ".join(rule.split()) in text
    assert re.search(r"\nseen: .+\nto do: \w", text, re.DOTALL), text
    assert "hunter2" not in text


def test_a_failure_of_a_scan_tells_what_was_asked(
    outcomes: dict[str, dict[str, tuple[str, str]]],
) -> None:
    _, text = outcomes["TakesShortLists"]["test_a_scan_loses_no_row"]
    assert re.search(
        r"\nseen: n in \([\d, ]+\.\.\.: TakesShortLists, partition .*too many", text
    ), text


def test_without_pytest_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['pytest'] = None; import dask_sail; import dask_sail.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: dask_sail.testing needs pytest; pip install 'dask-sail[testing]'" in (
        done.stderr
    )
    assert "During handling" not in done.stderr
