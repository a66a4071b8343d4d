"""The worked source of SPSS, Stata and SAS files, against files that pyreadstat wrote."""

from __future__ import annotations

import datetime as dt
import os
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
        ".dta": pyreadstat.write_dta,
        ".xpt": pyreadstat.write_xport,
        ".por": pyreadstat.write_por,
    }
    more: dict[str, Any] = {}
    if path.suffix == ".sav":
        more["variable_value_labels"] = {"SCORE": {1.5: "fair", 2.0: "good"}}
    if path.suffix == ".por":
        more["variable_format"] = {"ID": "F8.2"}
    writers[path.suffix](frame, path, column_labels={"ID": "Identity"}, **more)
    return path


@pytest.fixture(scope="module")
def source(recipe: Callable[[str], ModuleType]) -> Any:
    return recipe("stat_file").StatFile


@pytest.fixture(scope="module", params=["sav", "dta", "xpt"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("stat") / f"people.{request.param}")


class TestContract(PythonDataSourceSuite):
    @pytest.fixture
    def source(self, source: Any) -> Any:
        return source

    @pytest.fixture
    def options(self, path: Path) -> Mapping[str, Any]:
        return {"path": path, "rows": 17}

    @pytest.fixture
    def expected(self) -> pa.Table:
        return TABLE

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
