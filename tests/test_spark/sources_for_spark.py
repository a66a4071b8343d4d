"""Data sources of a person's own, which every executor can import; none knows of Spark."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from jdbc import JDBCArrowDataSource

Spec = dict[str, Any]


class Stored:
    """An Arrow file at the option ``file``: a partition for each of its batches."""

    def infer_schema(self, options: Mapping[str, str]) -> pa.Schema:
        with pa.ipc.open_file(options["file"]) as file:
            return file.schema

    def plan_partitions(self, options: Mapping[str, str]) -> list[Spec]:
        with pa.ipc.open_file(options["file"]) as file:
            return [{"batch": i} for i in range(file.num_record_batches)]

    def read_partition(self, spec: Spec, options: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        with pa.ipc.open_file(options["file"]) as file:
            yield file.get_batch(spec["batch"])


class Filtering(Stored):
    """Applies what it is asked for, and writes down what that was, into the file ``seen``."""

    def plan_scan(
        self, specs: Sequence[Spec], options: Mapping[str, str], scan: Any
    ) -> tuple[Sequence[Spec], Sequence[Any]]:
        kept = [spec for spec in specs if not self._is_pruned(spec, scan)]
        return kept, scan.predicates

    def _is_pruned(self, spec: Spec, scan: Any) -> bool:
        # Batch 0 is known to hold no id from 1000 up.
        return spec["batch"] == 0 and any(
            p.column == "id" and p.op == ">=" and p.value >= 1000 for p in scan.predicates
        )

    def scan_partition(
        self, spec: Spec, options: Mapping[str, str], scan: Any
    ) -> Iterator[pa.RecordBatch]:
        with Path(options["seen"]).open("a") as seen:
            told = [spec["batch"], list(scan.columns), [str(p) for p in scan.predicates]]
            seen.write(json.dumps(told) + "\n")
        for batch in self.read_partition(spec, options):
            for predicate in scan.predicates:
                batch = batch.filter(predicate.mask(batch))
            yield batch.select(scan.columns)


class Halves(Filtering):
    """Accepts only what is said of ``id``."""

    def plan_scan(
        self, specs: Sequence[Spec], options: Mapping[str, str], scan: Any
    ) -> tuple[Sequence[Spec], Sequence[Any]]:
        return specs, [p for p in scan.predicates if p.column == "id"]

    def scan_partition(
        self, spec: Spec, options: Mapping[str, str], scan: Any
    ) -> Iterator[pa.RecordBatch]:
        for batch in self.read_partition(spec, options):
            for predicate in scan.predicates:
                if predicate.column == "id":
                    batch = batch.filter(predicate.mask(batch))
            yield batch


class Numbers:
    """The numbers below the option ``n``, a partition each; told what to do by further options."""

    def option_names(self) -> set[str]:
        return {"n", "password", "failSchema", "fail", "extra", "missing", "noBatch"}

    def infer_schema(self, options: Mapping[str, str]) -> pa.Schema:
        if "failSchema" in options:
            raise LookupError(f"no table for {options['password']}")
        return pa.schema([("n", pa.int64())])

    def plan_partitions(self, options: Mapping[str, str]) -> list[Spec]:
        return [{"n": n} for n in range(int(options["n"]))]

    def read_partition(self, spec: Spec, options: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        batch = pa.record_batch([pa.array([spec["n"]], pa.int64())], ["n"])
        yield batch.slice(0, 0)
        yield batch
        if "fail" in options:
            self._divide(spec["n"], options["password"])
        if "extra" in options:
            yield batch.append_column("more", pa.array(["x"]))
        if "missing" in options:
            yield batch.rename_columns(["other"])
        if "noBatch" in options:
            yield {"n": 1}  # type: ignore[misc] - a mistake that people make
        yield batch.slice(0, 0)

    def _divide(self, n: int, password: str) -> None:
        raise ZeroDivisionError(f"cannot divide {n} by {password}")


class Echo:
    """A row per option, as the executor has it, and what the executor has imported."""

    def infer_schema(self, options: Mapping[str, str]) -> pa.Schema:
        return pa.schema([("key", pa.string()), ("value", pa.string())])

    def plan_partitions(self, options: Mapping[str, str]) -> list[Spec]:
        return [{}]

    def read_partition(self, spec: Spec, options: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        # In another spelling than anybody gave them in: names match ignoring case.
        rows = {key: options[key.upper()] for key in options}
        rows["(modules)"] = " ".join(m for m in ("dask", "distributed") if m in sys.modules)
        yield pa.record_batch([list(rows), list(rows.values())], ["key", "value"])


class WantsSnapshot(Numbers):
    def wants_snapshot(self, options: Mapping[str, str]) -> bool:
        return True

    def open_snapshot(self, options: Mapping[str, str]) -> Any:
        raise AssertionError("not reached")


class Told(JDBCArrowDataSource):
    """The source jdbc; writes what it is warned of, here and in what called it, beside its file."""

    def plan_partitions(self, options: Mapping[str, str], /) -> list[Spec]:
        self._listen(options)
        return super().plan_partitions(options)

    def scan_partition(
        self, spec: Mapping[str, Any], options: Mapping[str, str], scan: Any, /
    ) -> Iterator[pa.RecordBatch]:
        self._listen(options)
        yield from super().scan_partition(spec, options, scan)

    def _listen(self, options: Mapping[str, str]) -> None:
        path = options["url"].removeprefix("jdbc:sqlite:") + ".warnings"

        def write(message: Warning | str, *_: Any) -> None:
            with Path(path).open("a") as file:
                file.write(f"{message}\n")

        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = write
