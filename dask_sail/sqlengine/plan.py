"""What planning hands to execution: stages, what flows into them, and what is asked of each table.

Plain frozen values that pickle and tokenize; nothing here knows DataFusion or Dask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import pyarrow as pa

from ..predicate import Predicate
from .splice import Template

if TYPE_CHECKING:
    from .functions import PythonFunction
    from .objects import ObjectStore

__all__ = [
    "DistributedPlan",
    "FileGroups",
    "Hole",
    "Mode",
    "Producer",
    "Settings",
    "Stage",
    "StageOutput",
    "TableDescription",
    "TablePartitions",
    "TableScan",
    "Union",
    "WholeQuery",
]

#: How the partitions of a producer reach the tasks of a stage. ``part``: task i gets partition i.
#: ``all``: every task gets all partitions, kept apart. ``cat``: every task gets all of them as one.
Mode = Literal["part", "all", "cat"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How queries are planned.

    Attributes
    ----------
    target_partitions
        How many partitions an exchange makes; None for as many as what a query reads asks for.
    threads
        How many the tasks have, all workers together.
    broadcast
        ``off``: no side of a join is broadcast. ``small``: a side is, if its table's known or
        estimated size is at most ``broadcast_bytes``. ``always``: wherever it would be right.
    broadcast_bytes
        Limit for ``small``, in bytes of Arrow data.
    """

    target_partitions: int | None = None
    threads: int = 1
    broadcast: Literal["off", "small", "always"] = "small"
    broadcast_bytes: int = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class TableDescription:
    """What planning must know of a registered table.

    Attributes
    ----------
    name
        As registered; found ignoring case.
    schema
        Its columns, in their own spelling. A frame's index is none of them.
    partitions
        How many there are, at least 0.
    rows, bytes
        Known or estimated size, None if unknown.
    exact
        Whether ``rows`` is exact.
    takes_predicates
        Whether it is worth to split off predicates for it.
    parquet
        Paths or URLs of Parquet files that DataFusion reads itself on the workers; empty for a
        table that Dask brings.
    folders
        Columns that the names of folders, ``key=value``, add to them: the last ones of ``schema``.
    null_folders
        Those of them that are NULL for some folder.
    version
        Of these files: another one once any of them is another.
    stores
        Where each of ``parquet`` is, if that is an object store; empty for files.
    tags
        Of the objects, by alias of the store and path, the entity tags at planning.
    """

    name: str
    schema: pa.Schema
    partitions: int
    rows: int | None = None
    bytes: int | None = None
    exact: bool = False
    takes_predicates: bool = False
    parquet: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    null_folders: tuple[str, ...] = ()
    version: str = ""
    stores: tuple[ObjectStore, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class TableScan:
    """What one leaf of the plan asks of its table.

    Attributes
    ----------
    table
        Name as registered.
    columns
        The columns that the leaf needs, in the order of its hole's schema; may be empty (a count).
    predicates
        Conditions that may be given to the source. The plan keeps every filter, so a source may
        return more rows than they allow.
    filters
        All of the leaf's filters as DataFusion spells them, for ``explain``.
    limit
        No more rows than these are needed of any partition, given that all ``filters`` hold of
        every row; None without such a limit, or if a filter is no predicate.
    """

    table: str
    columns: tuple[str, ...]
    predicates: tuple[Predicate, ...] = ()
    filters: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True)
class TablePartitions:
    """The partitions of a table that Dask brings; ``scan`` counts in `DistributedPlan.scans`."""

    scan: int


@dataclass(frozen=True)
class FileGroups:
    """Parquet files, or parts of them, that the stage itself reads.

    ``groups`` are serialised file groups, one per partition: they fill the hole as they are.
    """

    scan: int
    groups: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class StageOutput:
    """The output partitions of another stage."""

    stage: int


@dataclass(frozen=True)
class Union:
    """The partitions of several producers, one after the other."""

    producers: tuple[Producer, ...]


Producer = TablePartitions | FileGroups | StageOutput | Union


@dataclass(frozen=True)
class Hole:
    """A place in a stage's template, and what fills it.

    ``schema`` is that of the tables that come, matched by position: names may repeat, there may be
    no column at all (only the number of rows counts then), every column is nullable.
    """

    producer: Producer
    mode: Mode
    schema: pa.Schema


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the physical plan that runs without an exchange.

    Attributes
    ----------
    name
        What it does, as the dashboard shows it: ``scan_filter_aggregate``.
    template
        The serialised plan, with holes for its inputs.
    inputs
        What fills each hole of the template.
    exchange
        How its rows leave. ``None``: each task gives one partition. ``hash`` and ``round_robin``:
        each task gives ``outputs`` tables, of which table j goes into output partition j.
    outputs
        Number of output partitions of an exchange. Without one: how many tables each task gives
        (1 but for a stage that runs whole in one task).
    schema
        Of what leaves, nullable, names may repeat.
    chunked
        Whether a task may run it over one partition piece by piece, and give the pieces' outputs
        one after the other: scans, filters, projections and partial aggregates.
    reducer
        For a stage of partial aggregates by groups: a plan that takes states of them, in a hole
        called ``states``, and gives fewer, each group once; None if there is none.
    gathered
        Why it runs in one task although its inputs have several partitions, or None.
    rows
        About how many it gives, all tasks together; None if nothing is known.
    operators
        DataFusion's own description of the plan, a line per operator.
    stores
        Object stores that it reads.
    """

    name: str
    template: Template
    inputs: Mapping[str, Hole]
    schema: pa.Schema
    exchange: Literal["hash", "round_robin"] | None = None
    outputs: int = 1
    chunked: bool = False
    reducer: Template | None = None
    gathered: str | None = None
    rows: int | None = None
    operators: str = ""
    stores: tuple[ObjectStore, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DistributedPlan:
    """A query, ready to be turned into tasks.

    Attributes
    ----------
    sql
        The query, for the fallback and for messages.
    stages
        In an order in which each stage comes after those it reads from.
    root
        Whose partitions are the result.
    scans
        What is asked of the tables.
    schema
        Names, types of the result; names may repeat.
    ordered
        Whether the order of the result's rows is asked for; it has one partition then.
    functions
        The Python functions that it calls; each task defines them in its own context.
    fingerprint
        Names the DataFusion that made the templates; each task compares it with its own.
    fallback
        Why the query runs whole in one task, on the tables of ``scans``, or None. It has no
        stages then.
    tables, views
        What ``sql`` may name, for the fallback: all tables, and views in the order in which they
        were made.
    """

    sql: str
    stages: tuple[Stage, ...]
    root: Producer
    scans: tuple[TableScan, ...]
    schema: pa.Schema
    fingerprint: str
    ordered: bool = False
    functions: tuple[PythonFunction, ...] = field(default=(), repr=False)
    fallback: str | None = None
    tables: tuple[TableDescription, ...] = field(default=(), repr=False)
    views: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class WholeQuery:
    """A query that runs whole in one task.

    Attributes
    ----------
    reason
        Why it does.
    schema
        Of its result.
    tables, views
        All that its text may name.
    given
        Names of the tables whose rows the task is given; nothing needs those of others.
    """

    name: ClassVar[str] = "whole_query"  # as a stage is called

    sql: str
    reason: str
    fingerprint: str
    functions: tuple[PythonFunction, ...]
    schema: pa.Schema
    tables: tuple[TableDescription, ...]
    views: Mapping[str, str]
    given: tuple[str, ...]
