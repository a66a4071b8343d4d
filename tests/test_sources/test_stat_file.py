"""The worked source of SPSS, Stata and SAS files, against files that pyreadstat wrote."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pytest

import dask_sail
from dask_sail.testing import PythonDataSourceSuite

pytestmark = pytest.mark.sources
ROWS = [
    {
        "ID": float(n + 1),
        "NAME": ["Ada", "", "Zoë", "漢字", "it's"][n % 5],
        "BORN": None if n % 4 == 1 else dt.date(1850 + 3 * n, 2, 28),
        "SEEN": None if n % 3 == 2 else dt.datetime(1999, 12, 31, 23, 59, 59) + n * SECONDS,
        "SCORE": None if n % 5 == 3 else n / 8 - 1,
    }
    for SECONDS in [dt.timedelta(days=40, milliseconds=125)]
    for n in range(50)
]
IN_ASCII = [{**row, "NAME": row["NAME"].encode("ascii", "replace").decode()} for row in ROWS]
TABLE = pa.Table.from_pylist(
    ROWS,
    pa.schema(
        [
            ("ID", pa.float64()),
            ("NAME", pa.string()),
            ("BORN", pa.date32()),
            ("SEEN", pa.timestamp("us")),
            ("SCORE", pa.float64()),
        ]
    ),
)


def write(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    import pyreadstat

    frame = pd.DataFrame(rows)
    frame["SEEN"] = pd.to_datetime(frame["SEEN"])
    writers = {
        ".sav": pyreadstat.write_sav,
        ".zsav": pyreadstat.write_sav,
        ".dta": pyreadstat.write_dta,
        ".xpt": pyreadstat.write_xport,
        ".por": pyreadstat.write_por,
    }
    more: dict[str, Any] = {}
    if path.suffix == ".sav":
        more["variable_value_labels"] = {"SCORE": {1.5: "fair", 2.0: "good"}}
    if path.suffix == ".zsav":
        more["compress"] = True
    writers[path.suffix](frame, path, column_labels={"ID": "Identity"}, **more)
    return path


@pytest.fixture(scope="module")
def source(recipe: Callable[[str], ModuleType]) -> Any:
    return recipe("stat_file").StatFile


@pytest.fixture(scope="module", params=["sav", "por", "dta", "xpt"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = IN_ASCII if request.param == "por" else ROWS  # pyreadstat writes no other into it
    return write(tmp_path_factory.mktemp("stat") / f"people.{request.param}", rows)


@pytest.fixture(scope="module")
def sas_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that SAS 9.4 wrote: of Debian's r-cran-haven, or what the environment names."""
    if given := os.environ.get("DASK_SAIL_TEST_SAS7BDAT"):
        return Path(given)
    folder = tmp_path_factory.mktemp("haven")
    how: dict[str, Any] = {"cwd": folder, "check": True, "timeout": 120}
    subprocess.run(["apt-get", "download", "r-cran-haven"], **how)
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder], **how)
    (path,) = folder.rglob("iris.sas7bdat")
    return path


class TestContract(PythonDataSourceSuite):
    @pytest.fixture
    def source(self, source: Any) -> Any:
        return source

    @pytest.fixture
    def options(self, path: Path) -> Mapping[str, Any]:
        return {"path": path, "rows": 17}

    @pytest.fixture
    def expected(self, path: Path) -> pa.Table:
        return pa.Table.from_pylist(IN_ASCII, TABLE.schema) if path.suffix == ".por" else TABLE

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        return {"rows": "many", "path": "people.doc"}


def test_the_page_is_true(run_page: Callable[[str], None], tmp_path: Path) -> None:
    write(tmp_path / "people.sav")
    run_page("stat_file.md")


def test_types_and_labels_are_told(source: Any, tmp_path: Path) -> None:
    schema = source().infer_schema({"path": f"{write(tmp_path / 'people.sav')}"})
    assert schema.field("ID").metadata == {b"label": b"Identity"}
    assert schema.field("SCORE").metadata == {b"value_labels": b'{"1.5": "fair", "2.0": "good"}'}
    small = pd.DataFrame({"n": pd.Series([1, -2], dtype="int32"), "x": pd.Series([0.5, 2.0])})
    import pyreadstat

    pyreadstat.write_dta(small, tmp_path / "small.dta")
    assert source().infer_schema({"path": f"{tmp_path / 'small.dta'}"}).types == [
        pa.int32(),
        pa.float64(),
    ]


def test_only_the_columns_that_are_wanted_are_read(
    source: Any, path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Callable[[str], ModuleType]
) -> None:
    asked = []
    reader = recipe("stat_file").read

    def seen(options: Mapping[str, str], **what: Any) -> Any:
        asked.append(what)
        return reader(options, **what)

    monkeypatch.setattr(recipe("stat_file"), "read", seen)
    frame = dd.read_python_source(source, path=path, rows=17)
    asked.clear()
    assert frame.SCORE.sum().compute(scheduler="synchronous") == sum(
        row["SCORE"] or 0 for row in ROWS
    )
    reads = [what for what in asked if "usecols" in what]
    assert [what["usecols"] for what in reads] == [["SCORE"]] * 3
    assert sorted(what["row_offset"] for what in reads) == [0, 17, 34]
    asked.clear()
    assert len(frame) == len(ROWS)
    assert asked == []


def test_a_file_that_sas_wrote_is_read(source: Any, sas_file: Path) -> None:
    from sklearn.datasets import load_iris

    frame = dd.read_python_source(source, path=sas_file, rows=40)
    assert frame.npartitions == 4
    found = frame.compute(scheduler="synchronous")
    flowers = load_iris()  # the same ones, from somewhere else
    names = ["Sepal_Length", "Sepal_Width", "Petal_Length", "Petal_Width"]
    assert found[names].to_numpy(dtype="float64").tolist() == flowers.data.tolist()
    kinds = [flowers.target_names[kind][:6] for kind in flowers.target]  # as wide as the column is
    assert found["Species"].tolist() == kinds
    assert len(frame) == 150
    assert frame["Petal_Width"].partitions[3].compute(scheduler="synchronous").tolist() == [
        row[3] for row in flowers.data[120:].tolist()
    ]


@pytest.mark.parametrize("kind", ["sav", "zsav", "por", "dta", "xpt"])
@pytest.mark.parametrize("count", [0, 1])
def test_files_of_no_row_and_of_one(source: Any, tmp_path: Path, kind: str, count: int) -> None:
    import pyreadstat

    path = tmp_path / f"few.{kind}"
    frame = pd.DataFrame({"ID": [2.5], "NAME": ["Ada"]})[:count]
    if kind == "zsav":
        pyreadstat.write_sav(frame, path, compress=True)
    else:
        name = {"sav": "sav", "por": "por", "dta": "dta", "xpt": "xport"}[kind]
        getattr(pyreadstat, f"write_{name}")(frame, path)
    found = dd.read_python_source(source, path=path).compute(scheduler="synchronous")
    assert found["ID"].tolist() == [2.5][:count]
    assert found["NAME"].tolist() == ["Ada"][:count]


@pytest.mark.parametrize(
    ("kind", "format", "number", "expected"),
    [
        ("dta", "%td", 20000.0, dt.date(2014, 10, 4)),
        ("dta", "%d", 20000.0, dt.date(2014, 10, 4)),
        ("dta", "%-tdD_m_Y", 20000.0, dt.date(2014, 10, 4)),
        ("dta", "%-tc", 20000.0, dt.datetime(1960, 1, 1, 0, 0, 20)),
        ("dta", "%tm", 20000.0, 20000.0),
        ("dta", "%tC", 20000.0, 20000.0),  # has leap seconds
        ("xpt", "YYMMDDN8", 20000.0, dt.date(2014, 10, 4)),
        ("xpt", "E8601DA", 20000.0, dt.date(2014, 10, 4)),
        ("xpt", "E8601DT", 20000.0, dt.datetime(1960, 1, 1, 5, 33, 20)),
        ("xpt", "DTDATE9", 20000.0, 20000.0),  # seconds, of which it shows the date
        ("xpt", "MONYY7", 20000.0, 20000.0),
        ("sav", "DATE11", 86400.0, dt.date(1582, 10, 15)),
        ("sav", "EDATE10", 265621593600.0, dt.date(9999, 12, 31)),
        ("sav", "MOYR8", 86400.0, 86400.0),
    ],
)
def test_dates_go_by_their_formats(
    source: Any, tmp_path: Path, kind: str, format: str, number: float, expected: Any
) -> None:
    import pyreadstat

    path = tmp_path / f"dates.{kind}"
    writer = {"dta": "write_dta", "xpt": "write_xport", "sav": "write_sav"}[kind]
    frame = pd.DataFrame({"D": [number, None]})
    getattr(pyreadstat, writer)(frame, path, variable_format={"D": format})
    read = dd.read_python_source(source, path=path).compute(scheduler="synchronous")
    assert pa.array(read["D"]).to_pylist() == [expected, None]


def test_user_missing_values_are_null(source: Any, tmp_path: Path) -> None:
    import pyreadstat

    path = tmp_path / "answers.sav"
    frame = pd.DataFrame({"answer": [1.0, 9.0, None, 8.5]})
    pyreadstat.write_sav(frame, path, missing_ranges={"answer": [9, {"lo": 8, "hi": 8.6}]})
    found = dd.read_python_source(source, path=path).compute(scheduler="synchronous")
    assert [None if pd.isna(value) else value for value in found.answer] == [1.0, None, None, None]


def test_a_date_with_a_time_of_day_is_an_error(source: Any, tmp_path: Path) -> None:
    import pyreadstat

    path = tmp_path / "odd.sav"
    frame = pd.DataFrame({"day": [13928544000.0, 13928544000.0 + 3600]})
    pyreadstat.write_sav(frame, path, variable_format={"day": "DATE11"})
    read = dd.read_python_source(source, path=path)
    with pytest.raises(dask_sail.PartitionReadError, match="holds a time of day"):
        read.compute(scheduler="synchronous")


def test_a_file_that_changed_after_planning_is_an_error(source: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "people.sav")
    frame = dd.read_python_source(source, path=path, rows=17)
    write(path, ROWS[:40])
    os.utime(path, ns=(1, 1))
    with pytest.raises(dask_sail.PartitionReadError, match=r"people.sav has changed since"):
        frame.compute(scheduler="synchronous")
    path.unlink()
    with pytest.raises(dask_sail.PartitionReadError, match="there is no file"):
        frame.compute(scheduler="synchronous")


def test_what_is_no_such_file_is_an_error(source: Any, tmp_path: Path) -> None:
    (tmp_path / "torn.sav").write_bytes(write(tmp_path / "whole.sav").read_bytes()[:600])
    with pytest.raises(dask_sail.PythonDataSourceError):
        dd.read_python_source(source, path=tmp_path / "torn.sav").compute(scheduler="synchronous")
