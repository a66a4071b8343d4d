"""Which sources installed packages announce, what they lack, and what a name shared by two does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dask.dataframe as dd
import pytest

import dask_sail

METHODS = """
    def infer_schema(self, options):
        return pa.schema([("n", pa.int64())])
    def plan_partitions(self, options):
        return [{}]
    def read_partition(self, spec, options):
        yield pa.record_batch([[1]], ["n"])
"""


def announce(
    folder: Path, package: str, entry: str, *metadata: str, module: str | None = None
) -> None:
    """Write what an installer leaves behind of a package that announces a source."""
    info = folder / f"{package}-1.5.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.4", f"Name: {package}", "Version: 1.5", *metadata]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (info / "entry_points.txt").write_text(f"[dask_sail.datasources]\n{entry}\n")
    if module is not None:
        code = f"import pyarrow as pa\n{module}\nclass Source:{METHODS}"
        (folder / f"{package}_source.py").write_text(code)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_our_own_source_is_announced_with_its_drivers() -> None:
    (jdbc,) = dask_sail.sources("jdbc")
    assert (jdbc.name, jdbc.package, jdbc.problem) == ("jdbc", "dask-sail", None)
    assert jdbc.path == "jdbc.datasource:JDBCArrowDataSource"
    assert jdbc.version == "0.1.0"
    assert jdbc.extras["duckdb"] == ()
    assert "duckdb: installed" in str(jdbc)


def test_missing_drivers_are_told_extra_by_extra(site: Path) -> None:
    announce(
        site,
        "acme",
        "tides = acme_source:Source [fast, slow, other, none]",
        "Requires-Dist: pyarrow>=1",
        "Requires-Dist: pandas>=999",
        "Requires-Dist: no-such-driver>=2; extra == 'fast'",
        "Requires-Dist: pyarrow>=999; extra == 'fast'",
        "Requires-Dist: pyarrow; extra == 'slow'",
        "Requires-Dist: nothing-for-this; python_version < '3' and extra == 'slow'",
        "Requires-Dist: pandas[no-such-extra]; extra == 'other'",
        "Provides-Extra: fast",
        "Provides-Extra: slow",
        "Provides-Extra: other",
        module="raise SystemExit('nobody may import this to list it')",
    )
    (tides,) = dask_sail.sources("tides")
    pandas = pytest.importorskip("pandas").__version__
    arrow = pytest.importorskip("pyarrow").__version__
    assert tides.missing == (f"pandas>=999 (here is {pandas})",)
    assert tides.extras == {
        "fast": ("no-such-driver>=2", f"pyarrow>=999 (here is {arrow})"),
        "slow": (),
        "other": ("pandas[no-such-extra], which that package does not define",),
        "none": ("acme[none], which that package does not define",),
    }
    shown = str(dask_sail.sources())
    assert "tides  acme_source:Source  (acme 1.5)" in shown
    assert "fast: needs no-such-driver>=2" in shown
    assert "pip install 'acme[fast]'" in shown
    assert "slow: installed" in shown
    assert "jdbc" in shown
    page = dask_sail.sources("tides")._repr_html_()
    assert "no-such-driver&gt;=2" in page


def test_a_driver_that_is_missing_is_named_with_the_extra(site: Path) -> None:
    announce(
        site,
        "acme",
        "tides = acme_source:Source [fast]",
        "Requires-Dist: no-such-driver; extra == 'fast'",
        "Provides-Extra: fast",
        module="import no_such_driver",
    )
    with pytest.raises(dask_sail.SourceNotFoundError) as raised:
        dd.read_python_source("tides")
    assert "'no_such_driver' cannot be imported" in str(raised.value)
    assert "pip install 'acme[fast]'" in str(raised.value)


def test_a_name_that_two_packages_give_is_an_error_that_names_both(site: Path) -> None:
    announce(site, "acme", "tides = acme_source:Source", module="")
    announce(site, "zenith", "tides = zenith_source:Source", module="")
    shared = dask_sail.sources("tides")
    assert [(s.package, s.also) for s in shared] == [
        ("acme", ("zenith 1.5",)),
        ("zenith", ("acme 1.5",)),
    ]
    for source in shared:
        assert "acme 1.5" in str(source)
        assert "zenith 1.5" in str(source)
    with pytest.raises(dask_sail.SourceNotFoundError) as raised:
        dd.read_python_source("tides")
    for word in ("acme 1.5", "zenith 1.5", "uninstall", "'acme_source:Source'"):
        assert word in str(raised.value)
    # Who names the class does not need the name.
    assert dd.read_python_source("acme_source:Source").compute().n.tolist() == [1]


def test_two_packages_give_one_class_one_name(site: Path) -> None:
    announce(site, "acme", "tides = acme_source:Source", module="")
    announce(site, "fork-of-acme", "tides = acme_source:Source")
    with pytest.raises(dask_sail.SourceNotFoundError, match=r"acme 1.5 and fork-of-acme 1.5"):
        dd.read_python_source("tides")


def test_a_name_of_ours_that_is_taken_is_an_error_as_well(site: Path) -> None:
    announce(site, "acme", "jdbc = acme_source:Source", module="")
    with pytest.raises(dask_sail.SourceNotFoundError, match=r"acme 1.5 and dask-sail 0.1.0"):
        dd.read_python_source("jdbc", url="jdbc:sqlite:x.db", dbtable="t")


def test_an_entry_that_is_malformed_is_listed_and_told_when_used(site: Path) -> None:
    announce(site, "acme", "tides = no module at all")
    assert [s.package for s in dask_sail.sources("tides")] == ["acme"]
    with pytest.raises(dask_sail.SourceNotFoundError, match="tides"):
        dd.read_python_source("tides")


def test_a_name_that_is_not_there_lists_those_that_are() -> None:
    assert len(dask_sail.sources("jdcb")) == 0
    assert "no package announces" in repr(dask_sail.sources("jdcb"))
    with pytest.raises(dask_sail.SourceNotFoundError, match="did you mean 'jdbc'"):
        dd.read_python_source("jdcb")


def test_listing_imports_no_source() -> None:
    code = (
        "import sys, dask_sail; text = repr(dask_sail.sources()); "
        "assert 'jdbc.datasource' in text; assert 'jdbc' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
