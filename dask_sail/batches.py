"""The batches that a source's own code gives for one partition, under the contract's rules."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

import pyarrow as pa

from .calls import call_source
from .datasource import PartitionSpec, Scan
from .errors import BatchError, PartitionReadError
from .options import CaseInsensitiveDict, Redactor
from .planning import kind_of

__all__ = ["given_batches"]

_END = object()


def given_batches(
    label: str,
    source: Any,
    spec: PartitionSpec,
    options: CaseInsensitiveDict,
    scan: Scan,
    redact: Redactor,
) -> Generator[pa.RecordBatch, None, None]:
    """Yield what the source's own code yields; what it raises is ours from here on.

    Raises
    ------
    PartitionReadError
        If the source's code raises.
    BatchError
        If it gives something other than batches.
    """
    can_scan = hasattr(source, "scan_partition")
    method = "scan_partition" if can_scan else "read_partition"

    def call(code: Callable[[], Any]) -> Any:
        return call_source(label, method, redact, code, spec, PartitionReadError)

    if can_scan:
        batches = call(lambda: source.scan_partition(spec, options.copy(), scan))
    else:
        batches = call(lambda: source.read_partition(spec, options.copy()))
    if isinstance(batches, pa.Table | pa.RecordBatch):
        batches = [batches]
    if not isinstance(batches, Iterable):
        raise BatchError(
            label,
            redact.value(spec),
            f"{method} must give an iterator of pyarrow.RecordBatch, got {kind_of(batches)}",
        )
    iterator = call(lambda: iter(batches))
    try:
        while True:
            batch = call(lambda: next(iterator, _END))
            if batch is _END:
                return
            if isinstance(batch, pa.Table):
                yield from batch.to_batches()
            elif isinstance(batch, pa.RecordBatch):
                yield batch
            else:
                came = kind_of(batch)
                if iterator is not batches and not isinstance(batches, list | tuple):
                    came = f"{kind_of(batches)}, which yields {came}"  # a pandas.DataFrame: str
                raise BatchError(
                    label,
                    redact.value(spec),
                    f"{method} must yield pyarrow.RecordBatch, got {came}",
                )
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            call(close)
