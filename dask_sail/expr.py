"""The Dask expression of a read: what is pushed into the source, and one task per partition."""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from . import arrow, planning, shuffle
from .dask_compat import (
    EQ,
    GE,
    GT,
    LE,
    LT,
    NE,
    And,
    Between,
    BlockwiseIO,
    DataNode,
    Elemwise,
    Expr,
    Filter,
    Head,
    Index,
    Invert,
    Isin,
    IsNa,
    Len,
    Lengths,
    Literal,
    NotNull,
    Or,
    PartitionsFiltered,
    Projection,
    Task,
    TaskRef,
    determine_column_projection,
    run_in_task,
)
from .datasource import PartitionStatistics, Scan
from .options import SourceOptions
from .planning import Specs
from .predicate import (
    Condition,
    LiteralError,
    Predicate,
    membership,
    negate,
    typed_predicate,
)
from .registry import SourceRef
from .snapshot import open_snapshot
from .worker import Division, ReadPlan, read_partition

__all__ = ["ReadPythonSource", "SourceHandle"]

_COMPARISONS = {EQ: "==", NE: "!=", LT: "<", LE: "<=", GT: ">", GE: ">="}


@dataclass(frozen=True)
class SourceHandle:
    """What stays the same however a read is narrowed.

    Attributes
    ----------
    token
        Names this read among all: new for each call, unless the source names its data's version.
    schema
        What ``infer_schema`` gave.
    on_cluster
        Whether the source is asked in a Dask task, since the client cannot reach its server.
    has_snapshot
        Whether all partitions read one state of the data, opened by a task of its own.
    attempts
        How often a partition is read before a transient error is passed on.
    """

    token: str
    ref: SourceRef
    options: SourceOptions
    schema: pa.Schema
    on_cluster: bool
    has_snapshot: bool
    attempts: int

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "SourceHandle", self.token

    @functools.cached_property
    def frame_schema(self) -> pa.Schema:
        """Columns and types as frames carry them."""
        return arrow.frame_schema(self.schema, self.ref.label)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "frame_schema"}

    def __repr__(self) -> str:
        return f"<{self.ref.label}>"

    @property
    def task_name(self) -> str:
        """The source as the dashboard shows it: a word without hyphens."""
        word = re.sub(r"\W+", "_", self.ref.label.rpartition(":")[2].rpartition(".")[2]).strip("_")
        return word.lower() or "source"


class SharedPlan(Expr):  # type: ignore[misc]  # Dask is untyped
    """The one key that all partitions of a read refer to."""

    _parameters = ("name", "plan")

    @functools.cached_property
    def _name(self) -> str:
        return str(self.operand("name"))

    @property
    def _meta(self) -> None:
        return None

    def __dask_tokenize__(self) -> str:
        return self._name

    def _divisions(self) -> tuple[None, None]:
        return None, None

    def _layer(self) -> dict[Any, Any]:
        key = (self._name, 0)
        return {key: DataNode(key, self.operand("plan"))}

    def __str__(self) -> str:
        return "SharedPlan"


class OpenSnapshot(Expr):  # type: ignore[misc]  # Dask is untyped
    """The one task that opens the snapshot of a read, and whose result keeps it open."""

    _parameters = ("handle", "run")

    @functools.cached_property
    def _name(self) -> str:
        return f"snapshot_{self.operand('handle').task_name}-{self.operand('run')}"

    @property
    def _meta(self) -> None:
        return None

    def __dask_tokenize__(self) -> str:
        return self._name

    def _divisions(self) -> tuple[None, None]:
        return None, None

    def _layer(self) -> dict[Any, Any]:
        handle, run, key = self.operand("handle"), self.operand("run"), (self._name, 0)
        return {key: Task(key, open_snapshot, handle.ref, handle.options, run)}

    def __str__(self) -> str:
        return "OpenSnapshot"


class ReadPythonSource(PartitionsFiltered, BlockwiseIO):  # type: ignore[misc]  # Dask is untyped
    """Rows of a Python data source, one task per planned partition.

    Projections, filters and ``head`` that sit on it are taken into its operands while Dask
    simplifies a query, on the client. Whatever needs the source's class has happened then, so that
    a scheduler without the class can make the tasks.
    """

    _parameters = (
        "handle",
        "specs",
        "columns",  # of the frame, without the index
        "index",
        "conditions",  # all hold for every row
        "accepted",  # those of the conditions that the source applies exactly
        "limit",  # at most so many rows per partition
        "bounds",  # one Division per spec, or None
        "run",  # names the computation, if all of it reads one snapshot
        "_partitions",
    )
    _defaults = {  # noqa: RUF012 - Dask's own name and kind
        "index": None,
        "conditions": (),
        "accepted": (),
        "limit": None,
        "bounds": None,
        "run": None,
        "_partitions": None,
    }
    _absorb_projections = True
    # Without it a Filter that can be pushed would block projections, see Filter._simplify_up.
    _filter_passthrough = True
    # Cached properties hold the meta of every column: no use on the scheduler.
    _pickle_functools_cache = False

    # What the expression is.

    @functools.cached_property
    def _funcname(self) -> str:
        return f"read_{self.operand('handle').task_name}"

    @functools.cached_property
    def _name(self) -> str:
        return f"{self._funcname}-{self.deterministic_token}"

    @property
    def columns(self) -> list[str]:
        return list(self.operand("columns"))

    @functools.cached_property
    def _meta(self) -> pd.DataFrame:
        handle, index = self.operand("handle"), self.operand("index")
        names = [*self.columns, *([] if index is None else [index])]
        schema = pa.schema([handle.schema.field(name) for name in names])
        meta = arrow.meta(arrow.frame_schema(schema, handle.ref.label))
        return meta if index is None else meta.set_index(index)

    def _divisions(self) -> tuple[Any, ...]:
        bounds = self.operand("bounds")
        if bounds is None:
            return (None,) * (len(self.operand("specs").texts) + 1)
        return (*(bound.low for bound in bounds), bounds[-1].high)

    def _operands_for_repr(self) -> list[str]:
        shown = {
            "columns": f"{len(self.columns)} columns" if len(self.columns) > 8 else self.columns,
            "index": self.operand("index"),
            "conditions": " and ".join(map(str, self.operand("conditions"))),
            "limit": self.operand("limit"),
            "partitions": self.npartitions,
        }
        return [f"{name}={value}" for name, value in shown.items() if value not in (None, "")]

    def __str__(self) -> str:
        return f"{self._funcname}({', '.join(self._operands_for_repr())})"

    def _tree_repr_lines(self, indent: int = 0, recursive: bool = True) -> list[str]:
        # Dask's own would print every operand, options and specs among them.
        return [" " * indent + f"{type(self).__name__}: {' '.join(self._operands_for_repr())}"]

    # Its graph.

    @functools.cached_property
    def _shared(self) -> SharedPlan:
        """All that is equal for every partition; one key, so that tasks stay small."""
        whole = self.substitute_parameters(
            {"specs": Specs(()), "bounds": None, "_partitions": None}
        )
        name = f"plan_{whole._name.removeprefix('read_')}"
        return SharedPlan(name, self.read_plan)

    @property
    def read_plan(self) -> ReadPlan:
        """What all partitions share."""
        handle, index = self.operand("handle"), self.operand("index")
        conditions, accepted = self.operand("conditions"), self.operand("accepted")
        left = tuple(condition for condition in conditions if condition not in accepted)
        wanted = [*self.columns, *([] if index is None else [index])]
        for condition in left:
            wanted.extend(condition.columns)
        scan = Scan(
            schema=handle.schema,
            columns=tuple(dict.fromkeys(wanted)),
            predicates=tuple(c for c in conditions if isinstance(c, Predicate)),
            limit=None if left else self.operand("limit"),
        )
        return ReadPlan(
            source=handle.ref,
            options=handle.options,
            scan=scan,
            columns=tuple(self.columns),
            index=index,
            conditions=left,
            limit=self.operand("limit"),
            attempts=handle.attempts,
        )

    @functools.cached_property
    def _snapshot(self) -> OpenSnapshot | None:
        run = self.operand("run")
        return None if run is None else OpenSnapshot(self.operand("handle"), run)

    def dependencies(self) -> list[Expr]:
        return [self._shared] if self._snapshot is None else [self._shared, self._snapshot]

    def _filtered_task(self, name: Any, index: int) -> Task:
        bounds = self.operand("bounds")
        return Task(
            name,
            read_partition,
            TaskRef((self._shared._name, 0)),
            self.operand("specs").texts[index],
            bounds[index] if bounds else None,
            None if self._snapshot is None else TaskRef((self._snapshot._name, 0)),
            _data_producer=True,
        )

    def lower_once(self, lowered: dict[str, Any]) -> Expr:
        handle = self.operand("handle")
        if handle.has_snapshot and self.operand("run") is None:
            # Dask lowers a whole computation with one such dict: all reads of this source in it
            # share a snapshot, and another computation has other keys, so another snapshot.
            run = lowered.setdefault(f"run of {handle.token}", uuid.uuid4().hex)
            return lowered.setdefault(self._name, self.substitute_parameters({"run": run}))
        return super().lower_once(lowered)

    def _lower(self) -> None:
        # The last moment on the client before the tasks go out, wherever a Client was made.
        shuffle.ensure_on_cluster()

    @property
    def selected_specs(self) -> Specs:
        """The partitions that are read."""
        specs: Specs = self.operand("specs")
        return specs.take(self._partitions) if self._filtered and len(specs) else specs

    @property
    def statistics(self) -> tuple[PartitionStatistics, ...]:
        """What the source knows of each partition, before conditions narrow it."""
        known = _statistics(self.operand("handle"), self.operand("specs"))
        return tuple(known[i] for i in self._partitions) if self._filtered and known else known

    # What it takes in.

    def filtered_by(self, conditions: Iterable[Condition]) -> ReadPythonSource:
        """Return the read of the rows for which the conditions hold as well.

        Asks the source which partitions can hold such rows, and which conditions it applies.
        """
        handle = self.operand("handle")
        every = tuple(dict.fromkeys([*self.operand("conditions"), *conditions]))
        selected, specs = list(self._partitions), self.selected_specs
        scan = Scan(
            schema=handle.schema,
            columns=tuple(self.read_plan.kept),
            predicates=tuple(c for c in every if isinstance(c, Predicate)),
        )
        kept, accepted = planning.plan_scan(handle.ref, handle.options, specs, scan)
        bounds = self.operand("bounds")
        if bounds is not None:
            bounds = [bounds[selected[i]] for i in kept] or None
        narrowed: ReadPythonSource = self.substitute_parameters(
            {
                "specs": specs.take(kept),
                "bounds": bounds,
                "conditions": every,
                "accepted": accepted,
                "_partitions": None,
            }
        )
        return narrowed

    def _filter_passthrough_available(self, parent: Expr, dependents: Any) -> bool:
        return (
            isinstance(parent, Filter)
            and super()._filter_passthrough_available(parent, dependents)
            and bool(self._split(parent.predicate)[0])
        )

    def _split(self, predicate: Expr) -> tuple[list[Condition], list[Expr]]:
        """Split an AND into what the source can be asked, and what stays with Dask.

        All stays where a part is more than a condition on a row of this very read: once rows or
        partitions are gone, an aggregate, a shift, or another collection would not fit any more.
        """
        if self.operand("limit") is not None or not self._is_rowwise(predicate):
            return [], [predicate]
        taken: list[Condition] = []
        left: list[Expr] = []
        for part in _and_parts(predicate):
            found = self._conditions(part)
            if found is None:
                left.append(part)
            else:
                taken.extend(found)
        return taken, left

    def _is_rowwise(self, expr: Any) -> bool:
        if not isinstance(expr, Expr) or expr._name == self._name:
            return True
        if isinstance(expr, Isin):
            return self._is_rowwise(expr.frame)
        if isinstance(expr, Index) or not isinstance(expr, Elemwise):
            return False
        return all(self._is_rowwise(operand) for operand in expr.operands)

    def _conditions(self, expr: Expr) -> tuple[Predicate, ...] | None:
        """Return an expression as conditions that must all hold, or None."""
        try:
            return self._translated(expr)
        except LiteralError:
            return None  # pandas knows more comparisons than a source does

    def _translated(self, expr: Expr) -> tuple[Predicate, ...] | None:
        schema = self.operand("handle").frame_schema
        if isinstance(expr, Or):
            sides = [self._conditions(expr.left), self._conditions(expr.right)]
            return _any_of([one for side in sides for one in side or (None,)])
        if isinstance(expr, Invert) and not isinstance(expr.frame, Isin):
            inner = self._conditions(expr.frame) or ()
            opposite = negate(inner[0]) if len(inner) == 1 else None
            return None if opposite is None else (opposite,)
        if (column := self._column(expr)) is not None:
            if not pa.types.is_boolean(schema.field(column).type):
                return None
            return (Predicate(column, "==", True),)
        negated = isinstance(expr, Invert)
        inside = expr.frame if negated else expr
        column = self._column(inside.operands[0]) if inside.operands else None
        if column is None:
            return None
        if isinstance(inside, Isin):
            values = _literal_of(inside.operand("values"))
            return None if values is None else membership(column, values, schema, negated=negated)
        if isinstance(expr, IsNa | NotNull):
            return (Predicate(column, "is null" if isinstance(expr, IsNa) else "not null"),)
        if type(expr) in _COMPARISONS and not isinstance(expr.right, Expr):
            predicate = Predicate(column, _COMPARISONS[type(expr)], expr.right)
            return (typed_predicate(predicate, schema),)
        return None

    def _column(self, expr: Any) -> str | None:
        """Name of the column of this read that an expression is, or None."""
        if isinstance(expr, Projection) and expr.frame._name == self._name and expr.ndim == 1:
            return str(expr.columns[0])
        return None

    def _row_counts(self) -> list[int] | None:
        """Exact rows per partition, where the source knows them and nothing narrows them."""
        if self.operand("conditions") or self.operand("limit") is not None:
            return None
        if not len(self.operand("specs")):
            return [0]
        known = self.statistics
        counts = [one.rows for one in known if one.exact and one.rows is not None]
        return counts if len(counts) == len(known) else None

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        if isinstance(parent, Filter) and parent.frame._name == self._name:
            return self._take_filter(parent, dependents)
        if isinstance(parent, Head) and type(parent) is Head:
            return self._take_limit(parent)
        if isinstance(parent, Len | Lengths) and parent.frame._name == self._name:
            counts = self._row_counts()
            if counts is not None:
                return Literal(tuple(counts) if isinstance(parent, Lengths) else sum(counts))
            if self.columns or self.operand("index") is not None:
                return type(parent)(
                    self.substitute_parameters({"columns": [], "index": None, "bounds": None})
                )
            return None
        if isinstance(parent, Index):
            wanted = determine_column_projection(self, parent, dependents)
            columns = [name for name in self.columns if name in wanted]
            if columns == self.columns:
                return None
            return Index(self.substitute_parameters({"columns": columns}))
        return super()._simplify_up(parent, dependents)

    def _take_filter(self, parent: Expr, dependents: Any) -> Expr | None:
        if not self._filter_passthrough_available(parent, dependents):
            return None
        conditions, left = self._split(parent.predicate)
        narrowed = self.filtered_by(conditions)
        if not left:
            return narrowed
        rest = functools.reduce(And, [part.substitute(self, narrowed) for part in left])
        return Filter(narrowed, rest)

    def _take_limit(self, parent: Expr) -> Expr | None:
        limit = self.operand("limit")
        if parent.n < 0 or (limit is not None and limit <= parent.n):
            return None
        narrowed = self.substitute_parameters({"limit": parent.n})
        return Head(narrowed, parent.n, parent.operand("npartitions"))


def _and_parts(expr: Expr) -> list[Expr]:
    if isinstance(expr, And):
        return [*_and_parts(expr.left), *_and_parts(expr.right)]
    if isinstance(expr, Between) and expr.inclusive in ("both", "left", "right", "neither"):
        low = GE if expr.inclusive in ("both", "left") else GT
        high = LE if expr.inclusive in ("both", "right") else LT
        return [low(expr.frame, expr.left), high(expr.frame, expr.right)]
    return [expr]


def _any_of(sides: Sequence[Predicate | None]) -> tuple[Predicate] | None:
    """OR of conditions on one column."""
    known = [side for side in sides if side is not None]
    if len(known) < len(sides) or len(known) != 2 or known[0].column != known[1].column:
        return None
    flat = [one for side in known for one in (side.value if side.op == "any_of" else (side,))]
    return (Predicate(known[0].column, "any_of", tuple(flat)),)


def _literal_of(values: Any) -> list[Any] | None:
    """The list behind ``isin``, which Dask wraps as a Delayed."""
    if isinstance(values, Expr):
        node = values.obj.dask.get(values.obj.key) if hasattr(values, "obj") else None
        values = getattr(node, "value", None)
    if isinstance(values, np.ndarray):  # as newer versions of Dask do, whose rounding stays theirs
        # Not times, whose nanoseconds would come as integers.
        return values.tolist() if values.ndim == 1 and values.dtype.kind in "biufUO" else None
    return list(values) if isinstance(values, list | tuple | set | frozenset) else None


_known: dict[tuple[str, str], tuple[PartitionStatistics, ...]] = {}


def _statistics(handle: SourceHandle, specs: Specs) -> tuple[PartitionStatistics, ...]:
    """What the source knows of its partitions, asked for once per read."""
    key = handle.token, specs.digest
    if key not in _known:
        if len(_known) >= 64:  # reads come and go, the process stays
            _known.clear()
        asked = planning.statistics, handle.ref, handle.options, specs
        _known[key] = run_in_task(*asked) if handle.on_cluster else asked[0](*asked[1:])
    return _known[key]


def division_bounds(divisions: Sequence[Any] | None) -> list[Division] | None:
    """Return what each partition may hold, from a collection's divisions."""
    if divisions is None:
        return None
    last = len(divisions) - 2
    return [Division(low, high, i == last) for i, (low, high) in enumerate(pairwise(divisions))]
