"""Predictions of a model as a table: features in batches, through a model, beside them.

Needs ``pip install scikit-learn``, or ``onnxruntime`` for a model in ONNX's format. Here are the
iris flowers that scikit-learn brings; change `NAMES` and `features` to your own.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dask_sail import PartitionSpec, Predicate, Scan
from dask_sail.predicate import apply

NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
SCHEMA = pa.schema(
    [
        ("flower", pa.int64()),
        *((name, pa.float64()) for name in NAMES),
        ("predicted", pa.int64()),
        ("probability", pa.float64()),  # of what is predicted
    ]
)
BATCH = 1_000  # rows that go through the model at once
Model = Callable[[Any], tuple[Any, Any]]


class OfThisProcess(dict[Any, Any]):
    """What a process makes once and keeps; it does not travel with the class to the workers."""

    def __reduce__(self) -> Any:
        return OfThisProcess, ()


MODELS = OfThisProcess()
DATA = OfThisProcess()


def features(start: int, stop: int) -> Any:
    """Return rows of features, as an array; here from a package, perhaps from a file of yours."""
    return all_features()[start:stop]


def all_features() -> Any:
    from sklearn.datasets import load_iris

    if "iris" not in DATA:
        DATA["iris"] = load_iris().data
    return DATA["iris"]


class Predictions:
    """One partition per range of rows.

    Options: ``model``, the path of a ``.joblib`` or ``.onnx`` file that every worker has; ``rows``
    per partition (100,000).
    """

    def option_names(self) -> tuple[str, ...]:
        return "model", "rows"

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return SCHEMA

    def plan_partitions(self, options: dict[str, str]) -> list[PartitionSpec]:
        step, count = whole(options, "rows", 100_000), len(all_features())
        # The model's digest is part of each spec: all partitions come of one model.
        digest = hashlib.sha256(content_of(options)).hexdigest()
        return [
            {"start": start, "stop": min(start + step, count), "model": digest}
            for start in range(0, count, step)
        ]

    def read_partition(
        self, spec: PartitionSpec, options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        return self.scan_partition(spec, options, Scan(SCHEMA, tuple(SCHEMA.names)))

    def plan_scan(
        self, specs: Sequence[PartitionSpec], options: dict[str, str], scan: Scan
    ) -> tuple[Sequence[PartitionSpec], list[Predicate]]:
        # The model does not run on batches in which no features are wanted.
        return specs, [p for p in scan.predicates if p.column in ("flower", *NAMES)]

    def scan_partition(
        self, spec: PartitionSpec, options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        before = [p for p in scan.predicates if p.column in ("flower", *NAMES)]
        predicts = bool({"predicted", "probability"} & set(scan.columns))
        for start in range(spec["start"], spec["stop"], BATCH):
            stop = min(start + BATCH, spec["stop"])
            rows = features(start, stop)
            # NaN is what is not known: null.
            columns = [pa.array(values, from_pandas=True) for values in rows.T]
            flowers = pa.array(range(start, stop), pa.int64())
            batch = pa.record_batch([flowers, *columns], ["flower", *NAMES])
            if not apply(batch, before).num_rows:
                continue
            if predicts:
                # Of all rows of the batch: the last digits of a prediction depend on how many
                # rows are multiplied at once, and they are not to depend on a filter.
                predicted, probability = predict(model_of(options, spec["model"]), rows)
                batch = batch.append_column("predicted", predicted)
                batch = batch.append_column("probability", probability)
            yield apply(batch, before).select(list(scan.columns))

    def partition_statistics(
        self, specs: Sequence[PartitionSpec], options: dict[str, str]
    ) -> list[tuple[int, bool, None]]:
        return [(spec["stop"] - spec["start"], True, None) for spec in specs]


# ------------------------------------------------------------------------------ the model


def predict(model: Model, rows: Any) -> list[pa.Array]:
    """Return predictions and their probabilities: null, where a feature is not known.

    Some models refuse NaN, others take it for what it is, and ONNX's predict something of it.
    """
    known = ~np.isnan(rows).any(axis=1)
    kinds = [SCHEMA.field(name).type for name in ("predicted", "probability")]
    if not known.any():
        return [pa.nulls(len(rows), kind) for kind in kinds]
    places = pa.array(known.cumsum() - 1, mask=~known)
    found = zip(model(rows[known]), kinds, strict=True)
    return [pa.array(values, kind).take(places) for values, kind in found]


def model_of(options: Mapping[str, str], digest: str) -> Model:
    """Return a model that is loaded once per process, by what it is rather than by its path."""
    return MODELS.get(digest) or MODELS.setdefault(digest, loaded(options, digest))


def loaded(options: Mapping[str, str], digest: str) -> Model:
    content = content_of(options)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError("option 'model': the file has changed since the read was planned")
    return onnx_model(content) if options["model"].endswith(".onnx") else joblib_model(content)


def joblib_model(content: bytes) -> Model:
    import joblib

    model = joblib.load(io.BytesIO(content))  # which runs what is in it: only load what you trust

    def predict(rows: Any) -> tuple[Any, Any]:
        shares = model.predict_proba(rows)
        return model.classes_[shares.argmax(axis=1)], shares.max(axis=1)

    return predict


def onnx_model(content: bytes) -> Model:
    import onnxruntime

    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads = 1  # Dask has a thread per partition
    session = onnxruntime.InferenceSession(content, how)
    (name,) = (one.name for one in session.get_inputs())

    def predict(rows: Any) -> tuple[Any, Any]:
        labels, shares = session.run(None, {name: rows.astype(np.float32)})
        return labels, shares.max(axis=1).astype(np.float64)

    return predict


def content_of(options: Mapping[str, str]) -> bytes:
    path = Path(options.get("model", ""))
    if path.suffix not in (".joblib", ".onnx"):
        raise ValueError(f"option 'model' must name a .joblib or .onnx file, got {str(path)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"option 'model': there is no file {str(path)!r} on this machine")
    return path.read_bytes()


def whole(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"option {name!r} must be a number from 1 up, got {text!r}; e.g. '1000'")
    return int(text)
