"""The contract between a data source and this package: three methods, and optional abilities.

A source need not inherit from anything here. Each ability is a small Protocol of its own; a source
has it when it has the methods.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

from .predicate import Predicate

__all__ = [
    "PartitionSpec",
    "PartitionStatistics",
    "PythonDataSource",
    "Scan",
    "Snapshot",
    "SupportsCancel",
    "SupportsConcurrency",
    "SupportsDescription",
    "SupportsDivisions",
    "SupportsOptionNames",
    "SupportsScan",
    "SupportsSnapshot",
    "SupportsStatistics",
    "SupportsVersion",
]

PartitionSpec: TypeAlias = dict[str, Any]
"""One planned partition: JSON-serialisable, its keys the author's own."""


@runtime_checkable
class PythonDataSource(Protocol):
    """Where rows come from: three methods, no state, each handed the user's options.

    ``infer_schema`` and ``plan_partitions`` run once, on the client (or in one Dask task with
    ``plan_on="cluster"``). ``read_partition`` runs on a worker, once per spec and again on a retry,
    so it must give the same rows each time. The class is constructed without arguments, anew for
    each use. The contract is that of Lakesail's Python data source bridge.
    """

    # Positional-only, so that a source may name its own arguments.
    def infer_schema(self, options: dict[str, str], /) -> pa.Schema:
        """Return the columns, by name and Arrow type, without reading the data."""
        ...

    def plan_partitions(self, options: dict[str, str], /) -> Sequence[PartitionSpec]:
        """Return one JSON-serialisable dict per partition; none means no rows."""
        ...

    def read_partition(
        self, spec: PartitionSpec, options: dict[str, str], /
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one partition, in batches whose columns are matched by name."""
        ...


@runtime_checkable
class SupportsOptionNames(Protocol):
    """A source that names the options it takes, so that a misspelt one is an error."""

    def option_names(self) -> Collection[str]:
        """Return the names of all options, which match ignoring case.

        Runs before ``infer_schema`` and before ``plan_partitions``, where they run. An option of
        any other name is an `OptionError` that says which name is near.
        """
        ...


@dataclass(frozen=True)
class Scan:
    """What of a partition is wanted.

    Attributes
    ----------
    schema
        What ``infer_schema`` gave, field metadata included: a source may keep facts about its
        columns there and find them again without asking its server.
    columns
        Names to return, in order. Includes those of predicates that were not accepted; may be empty
        (a count: zero-column batches, made by ``.select([])``, as ``from_arrays([])`` has no rows).
    predicates
        All of them hold for every wanted row (AND).
    limit
        At most so many rows are wanted; given only when every predicate was accepted.
    snapshot
        Name of the snapshot that `SupportsSnapshot.open_snapshot` opened for this computation.
    """

    schema: pa.Schema
    columns: tuple[str, ...]
    predicates: tuple[Predicate, ...] = ()
    limit: int | None = None
    snapshot: str | None = None


@runtime_checkable
class SupportsScan(Protocol):
    """A source that can choose columns, filter, or stop early."""

    def plan_scan(
        self, specs: Sequence[PartitionSpec], options: dict[str, str], scan: Scan, /
    ) -> tuple[Sequence[PartitionSpec], Sequence[Predicate]]:
        """Choose the specs that can hold wanted rows, and the predicates applied exactly.

        Runs on the client while a query is optimised, any number of times, without I/O. References
        such as ``{env:NAME}`` in the options are left as they are. The specs returned are some of
        those given, in their order, and depend on ``scan.predicates`` alone; the predicates
        returned are some of ``scan.predicates``.
        """
        ...

    def scan_partition(
        self, spec: PartitionSpec, options: dict[str, str], scan: Scan, /
    ) -> Iterator[pa.RecordBatch]:
        """Yield the wanted rows of one partition, on a worker, in place of ``read_partition``.

        More rows or columns than wanted may come, never fewer; predicates that ``plan_scan`` did
        not accept are applied afterwards.
        """
        ...


class PartitionStatistics(NamedTuple):
    """What is known of a partition.

    Attributes
    ----------
    rows
        How many, or None.
    exact
        Whether ``rows`` is a count, not an estimate.
    nbytes
        About how many bytes they are, or None.
    """

    rows: int | None = None
    exact: bool = False
    nbytes: int | None = None


@runtime_checkable
class SupportsStatistics(Protocol):
    """A source that knows how many rows its partitions hold."""

    def partition_statistics(
        self, specs: Sequence[PartitionSpec], options: dict[str, str], /
    ) -> Sequence[tuple[int | None, bool, int | None]]:
        """Return ``(rows or None, exact, bytes or None)`` per spec.

        Exact counts answer ``len()``; estimates steer how tables are joined. Runs at most once per
        collection, where ``plan_partitions`` ran, when something asks.
        """
        ...


@runtime_checkable
class SupportsDivisions(Protocol):
    """A source whose partitions hold disjoint, ascending ranges of a column."""

    def divisions(
        self, specs: Sequence[PartitionSpec], options: dict[str, str], column: str, /
    ) -> Sequence[Any] | None:
        """Return ``len(specs) + 1`` ascending values for ``index=column``, or None if unknown.

        Partition i holds values v with ``d[i] <= v < d[i + 1]``, the last one ``v <= d[-1]`` too.
        """
        ...


@runtime_checkable
class SupportsVersion(Protocol):
    """A source that can name the version of its data, so that equal reads share their keys."""

    def version(self, options: dict[str, str], /) -> str | None:
        """Return a text that changes whenever the data do; None where it is not known."""
        ...


@runtime_checkable
class SupportsConcurrency(Protocol):
    """A source whose server bears only so many reads at a time."""

    def concurrency(self, options: dict[str, str], /) -> tuple[str, int] | None:
        """Return ``(key, limit)``: over the cluster, at most ``limit`` reads of ``key`` at once."""
        ...


@runtime_checkable
class SupportsCancel(Protocol):
    """A source whose blocked call can be stopped from another thread."""

    def cancel(self) -> None:
        """Stop the read that runs on this instance; called once, when its task is cancelled."""
        ...


class Snapshot(Protocol):
    """One state of the data, kept by whoever opened it until it is closed."""

    @property
    def name(self) -> str:
        """What any worker needs to read that state."""
        ...

    def close(self) -> None:
        """Let go of the state; called once, by the process that opened it."""
        ...


@runtime_checkable
class SupportsSnapshot(Protocol):
    """A source whose partitions can all read one state of data that are being changed.

    Needs `SupportsScan` as well, since the name comes as `Scan.snapshot`.
    """

    def wants_snapshot(self, options: dict[str, str], /) -> bool:
        """Say whether the options ask for one; runs where ``plan_partitions`` runs."""
        ...

    def open_snapshot(self, options: dict[str, str], /) -> Snapshot:
        """Open one, on a worker, before the first partition of a computation is read.

        It is closed when the computation needs it no more. Each computation has its own; one that
        is lost, say with its worker, is an error and never followed by another one.
        """
        ...


@runtime_checkable
class SupportsDescription(Protocol):
    """A source that can say how it will read a partition, for `dask_sail.inspect`."""

    def describe_partition(
        self, spec: PartitionSpec, options: dict[str, str], scan: Scan, /
    ) -> Mapping[str, str]:
        """Return facts for a person, say ``{"sql": ...}``, without I/O or secrets."""
        ...
