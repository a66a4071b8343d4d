"""What a read will do, for a person: its schema, its partitions, and what is pushed into it."""

from __future__ import annotations

import html
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from .calls import call_source
from .datasource import PartitionSpec, PartitionStatistics
from .errors import PlanError
from .expr import ReadPythonSource
from .planning import kind_of
from .read import read_python_source

__all__ = ["Inspection", "PartitionInspection", "ReadInspection", "inspect"]

SHOWN = 12  # partitions that the text lists; all are in the object


@dataclass(frozen=True)
class PartitionInspection:
    """One partition: its spec, what the source says of its reading, and what is known of it."""

    spec: PartitionSpec
    facts: Mapping[str, str]
    statistics: PartitionStatistics


@dataclass(frozen=True)
class ReadInspection:
    """One read of a query.

    Attributes
    ----------
    source
        The source's label.
    options
        As they may be shown: secrets masked, references as written.
    schema
        What the source has.
    columns
        What of it is asked for.
    pushed, kept
        Conditions that the source applies, and those that the worker applies to its batches.
    limit
        At most so many rows per partition.
    partitions
        In the order of the collection's own.
    """

    source: str
    options: Mapping[str, str]
    schema: pa.Schema
    columns: tuple[str, ...]
    pushed: tuple[str, ...]
    kept: tuple[str, ...]
    limit: int | None
    partitions: tuple[PartitionInspection, ...]

    def _lines(self) -> Iterator[str]:
        count = len(self.partitions)
        yield f"{self.source}: {count} partition{'' if count == 1 else 's'}"
        for name, text in self.options.items():
            yield f"  {name} = {text:.200}"
        yield "columns"
        width = max((len(name) for name in self.columns), default=0)
        for name in self.columns:
            yield f"  {name:<{width}}  {self.schema.field(name).type}"
        left = len(self.schema.names) - len(self.columns)
        if left:
            yield f"  ({left} more in the source are not read)"
        yield "pushed into the source"
        yield f"  columns: {'all' if not left else f'{len(self.columns)} of {len(self.schema)}'}"
        yield f"  filter:  {' and '.join(self.pushed) or 'none'}"
        if self.limit is not None:
            yield f"  limit:   {self.limit} rows per partition"
        if self.kept:
            yield f"applied on the worker, batch by batch\n  filter:  {' and '.join(self.kept)}"
        yield from self._partition_lines()

    def _partition_lines(self) -> Iterator[str]:
        yield "partitions"
        shared = self._shared_facts()
        for name, fact in shared.items():
            yield f"  {name}: {fact}"
        for position, partition in enumerate(self.partitions[:SHOWN]):
            own = {name: text for name, text in partition.facts.items() if name not in shared}
            # A statement is long and much the same for each: the first stands for all, below.
            own.pop("sql", None)
            rows = partition.statistics.rows
            about = "" if partition.statistics.exact else "about "
            size = [] if rows is None else [f"{about}{rows:,} rows"]
            yield f"  {position}: {'; '.join([*size, *(own.values() or [repr(partition.spec)])])}"
        if len(self.partitions) > SHOWN:
            yield f"  ... and {len(self.partitions) - SHOWN} more"
        if "sql" not in shared and self.partitions and "sql" in self.partitions[0].facts:
            yield f"  sql of partition 0: {self.partitions[0].facts['sql']}"
        counts = [partition.statistics.rows for partition in self.partitions]
        known = [count for count in counts if count is not None]
        if len(known) == len(counts) > 1 and any(known):
            yield f"  largest / mean rows: {max(known) / statistics.fmean(known):.2f}"

    def _shared_facts(self) -> dict[str, str]:
        """Facts that are the same for each of several partitions, to be said once."""
        if len(self.partitions) < 2:
            return {}
        first, *others = [partition.facts for partition in self.partitions]
        return {
            name: fact
            for name, fact in first.items()
            if all(other.get(name) == fact for other in others)
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())


@dataclass(frozen=True)
class Inspection:
    """All reads of a collection; prints as text, and shows in a notebook.

    Attributes
    ----------
    reads
        One for each read that is left after Dask's optimisation.
    """

    reads: tuple[ReadInspection, ...]

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.reads)) or "reads no Python data source"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def inspect(source: Any, **arguments: Any) -> Inspection:
    """Say what a read will do, without reading.

    Parameters
    ----------
    source
        A Dask DataFrame (or series, or scalar) whose reads to look at, after Dask's optimisation;
        or whatever `read_python_source` takes, with its ``arguments``.

    Returns
    -------
    Inspection
        One `ReadInspection` per read; prints as text.

    Raises
    ------
    PythonDataSourceError
        As `read_python_source` does.
    """
    if hasattr(source, "expr") and hasattr(source, "optimize"):
        collection = source
    else:
        collection = read_python_source(source, **arguments)
    optimised = collection.optimize(fuse=False).expr
    return Inspection(tuple(map(_inspect, optimised.find_operations(ReadPythonSource))))


def _inspect(read: ReadPythonSource) -> ReadInspection:
    handle, plan = read.operand("handle"), read.read_plan
    options = handle.options
    # A class that the cluster alone has is asked nothing here.
    source: Any = None if handle.on_cluster else handle.ref.create(options.redactor)

    def facts(spec: PartitionSpec) -> Mapping[str, str]:
        if not hasattr(source, "describe_partition"):
            return {}
        told = call_source(
            handle.ref.label,
            "describe_partition",
            options.redactor,
            lambda: source.describe_partition(spec, options.unresolved(), plan.scan),
            spec,
        )
        if not isinstance(told, Mapping):
            raise PlanError(
                handle.ref.label,
                f"describe_partition must return a dict of facts, got {kind_of(told)}",
            )
        return {name: options.redactor(str(text)) for name, text in told.items()}

    return ReadInspection(
        source=handle.ref.label,
        options=options.shown(),
        schema=handle.schema,
        columns=plan.scan.columns,
        pushed=tuple(map(str, read.operand("accepted"))),
        kept=tuple(map(str, plan.conditions)),
        limit=read.operand("limit"),
        partitions=tuple(
            PartitionInspection(spec, facts(spec), known)
            for spec, known in zip(read.selected_specs, read.statistics, strict=True)
        ),
    )
