"""What a task runs: one partition of one source, read into an ArrowDtype frame."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from . import arrow
from .batches import given_batches
from .calls import call_or_log, call_source, is_transient
from .dask_compat import cancellation_of_this_task
from .datasource import PartitionSpec, Scan
from .errors import DivisionError, PlanError
from .options import CaseInsensitiveDict, Redactor, SourceOptions
from .places import place
from .planning import Specs
from .predicate import Condition, apply
from .registry import SourceRef
from .snapshot import OpenedSnapshot, collect_soon

__all__ = ["Division", "ReadPlan", "consume_partition", "read_partition"]

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Division:
    """The index values that one partition may hold: ``low <= v < high``, or ``<=`` if last."""

    low: Any
    high: Any
    is_last: bool


@dataclass(frozen=True)
class ReadPlan:
    """What all partitions of one read share: one key of the graph, whatever their number.

    Attributes
    ----------
    scan
        What the source is asked for, if it can be asked.
    columns
        Of the frame, without the index.
    conditions
        What the source does not apply; all of them hold for every row of the frame.
    limit
        At most so many rows per partition, after the conditions.
    attempts
        How often a partition is read before a transient error is passed on.
    """

    source: SourceRef
    options: SourceOptions
    scan: Scan
    columns: tuple[str, ...]
    index: str | None
    conditions: tuple[Condition, ...]
    limit: int | None
    attempts: int

    @property
    def kept(self) -> list[str]:
        """Columns that stay after the conditions are applied."""
        return list(dict.fromkeys([*self.columns, *([] if self.index is None else [self.index])]))


def read_partition(
    plan: ReadPlan,
    spec_text: str,
    division: Division | None = None,
    snapshot: OpenedSnapshot | None = None,
) -> pd.DataFrame:
    """Read one partition into a frame whose columns are Arrow arrays, the source's own buffers.

    Raises
    ------
    PartitionReadError
        If the source's code raises, after the attempts that its error is worth.
    BatchError
        If a batch cannot become the schema without loss.
    DivisionError
        If a row lies outside ``division``, or its index is null.
    """
    with _freeing(snapshot):
        frame = consume_partition(plan, spec_text, snapshot, arrow.to_frame)
        if plan.index is None:
            return frame
        frame = frame.set_index(plan.index)
        spec = None if spec_text == Specs.NONE else json.loads(spec_text)
        return _in_division(plan, spec, frame, division) if division else frame


def consume_partition(
    plan: ReadPlan,
    spec_text: str,
    snapshot: OpenedSnapshot | None,
    consume: Callable[[Iterator[pa.RecordBatch], pa.Schema], T],
) -> T:
    """Read one partition, and make something of its batches as they come.

    Parameters
    ----------
    consume
        Takes the batches and their schema. Called anew, with the batches from the first one on,
        after a transient error of the source: what it made before is thrown away.
    """
    if snapshot is not None:
        plan = replace(plan, scan=replace(plan.scan, snapshot=snapshot.name))
    schema = arrow.frame_schema(_select(plan.scan.schema, plan.kept), plan.source.label)

    def read() -> T:
        if spec_text == Specs.NONE:
            return consume(iter(()), schema)
        # Closed at once, not when a traceback lets go of it: it holds a place and a connection.
        with contextlib.closing(_batches(plan, json.loads(spec_text))) as batches:
            return consume(batches, schema)

    with _freeing(snapshot):
        return _attempt(read, plan.attempts)


@contextlib.contextmanager
def _freeing(snapshot: OpenedSnapshot | None) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if snapshot is not None:
            collect_soon()
        raise


def _select(schema: pa.Schema, names: list[str] | tuple[str, ...]) -> pa.Schema:
    return pa.schema([schema.field(name) for name in names])


def _attempt(read: Callable[[], T], attempts: int) -> T:
    """Read from the start again after a transient error; what was read before is thrown away."""
    for attempt in itertools.count(1):
        try:
            return read()
        except Exception as error:
            if attempt >= attempts or not is_transient(error):
                raise
            pause = 0.1 * 3 ** (attempt - 1)
            logger.info("attempt %d of %d failed, next in %.1f s", attempt, attempts, pause)
            time.sleep(pause)
    raise AssertionError("not reached")


def _batches(plan: ReadPlan, spec: PartitionSpec) -> Generator[pa.RecordBatch, None, None]:
    """Read one partition: each batch is made to fit, filtered and projected as it arrives."""
    options, redact = plan.options.resolve()
    label = plan.source.label
    target = arrow.frame_schema(_select(plan.scan.schema, plan.scan.columns), label)
    source = plan.source.create(redact, spec)
    with _turn(source, options, label, redact), _cancellation(source, label, redact):
        left = plan.limit
        given = given_batches(plan.source.label, source, spec, options, plan.scan, redact)
        with contextlib.closing(given):
            for batch in given:
                _stop_if_cancelled()
                fitted = apply(_fit(plan, spec, batch, target, redact), plan.conditions)
                fitted = fitted.select(plan.kept)
                if left is not None:
                    fitted = fitted.slice(0, left)
                    left -= fitted.num_rows
                if fitted.num_rows:
                    yield fitted
                if left == 0:
                    break
            _stop_if_cancelled()


def _fit(
    plan: ReadPlan, spec: PartitionSpec, batch: pa.RecordBatch, target: pa.Schema, redact: Redactor
) -> pa.RecordBatch:
    extra = sorted(set(batch.schema.names) - set(plan.scan.schema.names))
    if extra:
        _warn_once(
            f"{plan.source.label}: batches hold columns that infer_schema did not give, which are "
            f"dropped: {', '.join(extra)}"
        )
    return arrow.conform(batch, target, plan.source.label, redact.value(spec))


_warned: set[str] = set()


def _warn_once(message: str) -> None:
    """Warn the person who computes, once per process: a worker's own warnings go unseen."""
    if message in _warned:
        return
    _warned.add(message)
    if cancellation_of_this_task() is None:
        warnings.warn(message, UserWarning, stacklevel=2)
        return
    from distributed.worker import warn

    warn(message, UserWarning)


def _in_division(
    plan: ReadPlan, spec: PartitionSpec | None, frame: pd.DataFrame, division: Division
) -> pd.DataFrame:
    index = frame.index
    low, high = _comparable(division.low), _comparable(division.high)
    below_end = index <= high if division.is_last else index < high
    outside = len(index) - int(((index >= low) & below_end).sum())
    if outside:
        end = "<=" if division.is_last else "<"
        raise DivisionError(
            plan.source.label,
            spec,
            f"{outside:,} rows have an index {plan.index!r} that is null or outside their "
            f"partition's division {division.low!r} <= {plan.index} {end} {division.high!r}; "
            "correct the source's divisions, or read without index=",
        )
    # Dask takes partitions with known divisions to be sorted (loc, merge on the index).
    return frame if index.is_monotonic_increasing else frame.sort_index(kind="stable")


def _comparable(value: Any) -> Any:
    """Return a value that pandas can compare: it makes any int one of 64 bits, and fails."""
    fits = not isinstance(value, int) or -(2**63) <= value < 2**63
    return value if fits else Decimal(value)


def _stop_if_cancelled() -> None:
    is_cancelled = cancellation_of_this_task()
    if is_cancelled is not None and is_cancelled():
        from distributed import Reschedule

        # Whatever is returned now could still be taken for the partition, and an error for its
        # result, if somebody asks for it again at this moment: this is neither.
        raise Reschedule


@contextlib.contextmanager
def _cancellation(source: Any, label: str, redact: Redactor) -> Iterator[None]:
    """Tell a source that can stop a blocked call when its task is cancelled."""
    is_cancelled = cancellation_of_this_task()
    if is_cancelled is None or not hasattr(source, "cancel"):
        yield
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.25):
            if is_cancelled():
                call_or_log(label, "cancel", redact, source.cancel)
                return

    watcher = threading.Thread(target=watch, name="dask_sail-cancel", daemon=True)
    watcher.start()
    try:
        yield
    except Exception:
        _stop_if_cancelled()  # the error is that of a call that was stopped
        raise
    finally:
        done.set()
        watcher.join()


@contextlib.contextmanager
def _turn(
    source: Any, options: CaseInsensitiveDict, label: str, redact: Redactor
) -> Iterator[None]:
    """Wait until fewer than the source's limit of reads run, over the cluster."""
    limit = None
    if hasattr(source, "concurrency"):
        limit = call_source(
            label, "concurrency", redact, lambda: source.concurrency(options.copy())
        )
    if limit is None:
        yield
        return
    match limit:
        case (key, int(places)) if places >= 1:
            with place(str(key), places, _stop_if_cancelled):
                yield
        case _:
            raise PlanError(
                label,
                "concurrency must return None or (key, limit) with a limit of 1 or more, "
                # The key may be made of secrets.
                f"got {redact(repr(limit)):.200}",
            )
