"""The worked source of predictions: scikit-learn's models, over the flowers that it brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import dask.dataframe as dd
import pyarrow as pa
import pytest

import dask_sail
from dask_sail.testing import PythonDataSourceSuite

pytestmark = pytest.mark.sources


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One model, fitted here, and the files that hold it."""
    import joblib
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    flowers = load_iris()
    model = LogisticRegression(max_iter=1000).fit(flowers.data, flowers.target)
    folder = tmp_path_factory.mktemp("models")
    joblib.dump(model, folder / "iris.joblib")
    made = to_onnx(
        model, flowers.data[:1].astype("float32"), options={id(model): {"zipmap": False}}
    )
    (folder / "iris.onnx").write_bytes(made.SerializeToString())
    return {"model": model, "data": flowers.data, "folder": folder}


@pytest.fixture(scope="module")
def module(recipe: Callable[[str], ModuleType]) -> ModuleType:
    return recipe("predictions")


class TestContract(PythonDataSourceSuite):
    @pytest.fixture
    def source(self, module: ModuleType) -> Any:
        return module.Predictions

    @pytest.fixture(params=["iris.joblib", "iris.onnx"])
    def options(self, models: dict[str, Any], request: pytest.FixtureRequest) -> Mapping[str, Any]:
        return {"model": models["folder"] / request.param, "rows": 80}

    @pytest.fixture
    def expected(
        self, models: dict[str, Any], module: ModuleType, request: pytest.FixtureRequest
    ) -> pa.Table | None:
        if "onnx" in request.node.name:  # whose floats are others; see the test of both
            return None
        data = models["data"]
        columns = [range(len(data)), *data.T, models["model"].predict(data)]
        columns.append(models["model"].predict_proba(data).max(axis=1))
        arrays = [pa.array(c, f.type) for c, f in zip(columns, module.SCHEMA, strict=True)]
        return pa.table(arrays, schema=module.SCHEMA)

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        return {"rows": 0, "model": "iris.pickle"}


def test_the_page_is_true(run_page: Callable[[str], None]) -> None:
    run_page("predictions.md")


def test_both_formats_predict_the_same(module: ModuleType, models: dict[str, Any]) -> None:
    for name in ("iris.joblib", "iris.onnx"):
        frame = dd.read_python_source(module.Predictions, model=models["folder"] / name, rows=40)
        found = frame.compute(scheduler="threads")
        assert found.predicted.tolist() == models["model"].predict(models["data"]).tolist()
        shares = models["model"].predict_proba(models["data"]).max(axis=1)
        assert abs(found.probability.to_numpy() - shares).max() < 1e-5


def test_the_model_runs_where_rows_are_wanted_and_only_if_it_is_asked(
    module: ModuleType, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    loads: list[str] = []
    load = module.loaded

    def counted(options: Mapping[str, str], digest: str) -> Any:
        loads.append(digest)
        model = load(options, digest)

        def predict(features: Any) -> Any:
            rows.append(len(features))
            return model(features)

        return predict

    monkeypatch.setattr(module, "MODELS", {})
    monkeypatch.setattr(module, "loaded", counted)
    path = models["folder"] / "iris.joblib"
    frame = dd.read_python_source(module.Predictions, model=path, rows=40)
    assert frame.petal_width.sum().compute(scheduler="synchronous") == pytest.approx(
        models["data"][:, 3].sum()
    )
    assert (rows, loads) == ([], [])
    wide = frame[frame.petal_width > 2.0]
    found = wide.predicted.compute(scheduler="synchronous")
    kept = models["data"][models["data"][:, 3] > 2.0]
    assert found.tolist() == models["model"].predict(kept).tolist()
    wanted = {place // 40 for place, row in enumerate(models["data"]) if row[3] > 2.0}
    assert len(rows) == len(wanted) < frame.npartitions
    assert len(loads) == 1


def test_a_model_that_changed_after_planning_is_an_error(
    module: ModuleType, models: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes((models["folder"] / "iris.joblib").read_bytes() + b" ")
    frame = dd.read_python_source(module.Predictions, model=path)
    path.write_bytes(b"another")
    with pytest.raises(dask_sail.PartitionReadError, match="'model': the file has changed"):
        frame.compute(scheduler="synchronous")


@pytest.mark.parametrize("name", ["iris.joblib", "iris.onnx"])
def test_a_feature_that_is_not_known_is_null_and_so_is_its_prediction(
    module: ModuleType, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = models["data"].copy()
    data[3, 1] = data[149, 0] = float("nan")
    data[40:80, 2] = float("nan")  # a whole partition
    monkeypatch.setitem(module.DATA, "iris", data)
    frame = dd.read_python_source(module.Predictions, model=models["folder"] / name, rows=40)
    found = pa.Table.from_pandas(frame.compute(scheduler="synchronous"), preserve_index=False)
    unknown = {3, 149, *range(40, 80)}
    labels = models["model"].predict(models["data"]).tolist()
    assert found["predicted"].to_pylist() == [
        None if n in unknown else label for n, label in enumerate(labels)
    ]
    shares = found["probability"].to_pylist()
    assert {n for n, share in enumerate(shares) if share is None} == unknown
    assert found["sepal_width"].to_pylist()[2:5] == [3.2, None, 3.6]
    assert len(frame[frame.petal_length.isnull()]) == 40
