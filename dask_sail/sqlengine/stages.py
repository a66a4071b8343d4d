"""Cut a physical plan at its exchanges, into stages that tasks run.

A node of the plan is a part of its parent's bytes, so that a stage is the bytes of its topmost
node, with holes where other stages, or tables, come in. Each rule here keeps a wrong result away;
``docs/adr`` tells which.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
from datafusion import ExecutionPlan, SessionConfig, SessionContext

from . import joins
from .catalog import Catalog, plain_schema
from .functions import PythonFunction
from .plan import (
    FileGroups,
    Hole,
    Mode,
    Producer,
    Settings,
    Stage,
    StageOutput,
    TableDescription,
    TablePartitions,
    TableScan,
    Union,
)
from .pushdown import Expression, Pushed, push_down
from .splice import Template, fields, read_varint, varint

__all__ = ["Cut", "CutError", "Prober", "cut", "schema_of", "wanted_partitions"]

#: Operators whose partitions have nothing to do with each other.
_LOCAL = {
    "AggregateExec",
    "BoundedWindowAggExec",
    "CoalesceBatchesExec",
    "CooperativeExec",
    "FilterExec",
    "GlobalLimitExec",
    "LocalLimitExec",
    "PartialSortExec",
    "ProjectionExec",
    "SortExec",
    "SortMergeJoinExec",
    "UnnestExec",
    "WindowAggExec",
}
#: Operators that take every row for itself, or may give a partial state more than once.
_CHUNKWISE = {
    "CoalesceBatchesExec",
    "CooperativeExec",
    "FilterExec",
    "LocalLimitExec",
    "ProjectionExec",
    "UnnestExec",
}
_WINDOWS = {"BoundedWindowAggExec", "WindowAggExec"}
#: As DataFusion 55 names a function that has them; the one of an argument is in parentheses.
_IN_WINDOW = re.compile(r" FILTER | IGNORE NULLS\b")
_SORTED = {
    "BoundedWindowAggExec",
    "PartialSortExec",
    "SortExec",
    "SortMergeJoinExec",
    "SortPreservingMergeExec",
    "WindowAggExec",
}
#: How much smaller one side of a join must seem to be held in place of the other.
_SMALLER = 2
_JOINS = {"HashJoinExec", "NestedLoopJoinExec", "CrossJoinExec"}
#: Joins that give rows of the left side which no row of the right one has matched, or has: where
#: one task saw all of the left and some of the right, it could not know.
_GIVES_LEFT = {"Left", "Full", "LeftSemi", "LeftAnti", "LeftMark"}
#: Joins for which all of one side may meet the other piece by piece.
_BROADCAST_LEFT = {"Inner", "Right", "RightSemi", "RightAnti", "RightMark"}
_BROADCAST_RIGHT = {"Inner", "Left", "LeftSemi", "LeftAnti", "LeftMark"}
#: What a stage cannot be without all of: the query runs whole then.
_WHOLE = {
    "InterleaveExec": "it wants inputs that are partitioned alike",
    "RecursiveQueryExec": "a recursive query reads what it writes",
    "WorkTableExec": "a recursive query reads what it writes",
}
_WORDS = {
    "AggregateExec": "aggregate",
    "BoundedWindowAggExec": "window",
    "CrossJoinExec": "join",
    "FilterExec": "filter",
    "GlobalLimitExec": "limit",
    "HashJoinExec": "join",
    "LocalLimitExec": "limit",
    "NestedLoopJoinExec": "join",
    "PartialSortExec": "sort",
    "SortExec": "sort",
    "SortMergeJoinExec": "join",
    "SortPreservingMergeExec": "merge",
    "UnnestExec": "unnest",
    "WindowAggExec": "window",
}
#: Aggregates that take several partial states at once for what they are. DataFusion gives a final
#: aggregate without groups one state per batch, and percentile_cont (55.0) sees the first one only;
#: who knows of a Python function.
_TAKES_STATES_TOGETHER = {
    "any_value", "approx_distinct", "approx_median", "approx_percentile_cont",
    "approx_percentile_cont_with_weight", "array_agg", "avg", "bit_and", "bit_or", "bit_xor",
    "bool_and", "bool_or", "corr", "count", "covar_pop", "covar_samp", "first_value",
    "last_value", "max", "median", "min", "nth_value", "regr_avgx", "regr_avgy", "regr_count",
    "regr_intercept", "regr_r2", "regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "stddev",
    "stddev_pop", "string_agg", "sum", "var", "var_pop",
}  # fmt: skip
_VOLATILE = (b"random", b"uuid")
_MANY_ROWS = {"CrossJoinExec", "NestedLoopJoinExec", "RecursiveQueryExec", "UnnestExec"}
_UNKNOWN_ROWS = {*_MANY_ROWS, "ScalarSubqueryExec"}
_CONSTANTS = {"DataSourceExec", "EmptyExec", "PlaceholderRowExec"}
#: Of rows that pass a filter, where nothing is known; DataFusion's own guess.
_SELECTIVITY = 0.2
_LARGEST_GROUP = 256 * 2**20  # bytes of Parquet that one task reads
_PARTITION_BYTES = 256 * 2**20
_MOST_PARTITIONS = 1024
#: What one task has read, and joined, in the time that a dozen small ones and their messages take.
_ONE_TASK_BYTES = 96 * 2**20


class CutError(Exception):
    """Why a plan cannot be cut; the query runs whole then."""


@dataclass(frozen=True)
class Cut:
    """The stages of a plan, each after those that it reads from."""

    stages: tuple[Stage, ...]
    root: Producer
    scans: tuple[TableScan, ...]


def cut(plan: ExecutionPlan, catalog: Catalog, settings: Settings, prober: Prober) -> Cut:
    """Cut a physical plan.

    Raises
    ------
    CutError
        If that cannot be done without a doubt.
    """
    top = _Node(plan, catalog.context)
    _check(top)
    _check_bytes(top, catalog.context)
    cutter = _Cutter(catalog, settings, prober)
    root = cutter.producer(top)
    return Cut(tuple(cutter.stages), root, tuple(cutter.scans))


def wanted_partitions(plan: ExecutionPlan, catalog: Catalog, threads: int) -> int:
    """Return how many partitions exchanges should make, by what a plan reads.

    Enough that about 256 MB of the largest input are in each, and as many for each thread, or some
    would wait for the last ones. One, without any exchange, for little that DataFusion itself reads
    and that cannot become much.
    """
    nodes = list(_nodes(_Node(plan, catalog.context)))
    scans = [node for node in nodes if node.is_file_scan]
    sizes = [_scanned_bytes(node, catalog) for node in scans]
    if sum(sizes) <= _ONE_TASK_BYTES and all(_may_be_small(node, catalog) for node in nodes):
        return 1
    known = [math.ceil(size / _PARTITION_BYTES) for size in sizes if not math.isinf(size)]
    tables = [catalog.of_path(_FileScan(node.message).path) for node in scans]
    # Where nothing is known of a table, it was cut to be handled in such pieces.
    cut_so = [
        table.partitions
        for table, size in zip(tables, sizes, strict=True)
        if table is not None and math.isinf(size)
    ]
    rounds = math.ceil(max([1, *known, *cut_so]) / threads)
    return max(threads, min(rounds * threads, _MOST_PARTITIONS))


def _nodes(node: _Node) -> Iterator[_Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _may_be_small(node: _Node, catalog: Catalog) -> bool:
    """Whether a node gives and costs no more than the size of what it reads suggests."""
    if catalog.calls_python(node.display):
        return False
    if node.is_file_scan:
        return catalog.of_path(_FileScan(node.message).path) is None
    return node.name not in _MANY_ROWS and (bool(node.children) or node.name in _CONSTANTS)


def schema_of(cut: Cut) -> pa.Schema:
    """Return the columns of what a cut plan gives."""
    return _schema_of(cut.root, cut.stages)


def _schema_of(producer: Producer, stages: Sequence[Stage]) -> pa.Schema:
    while isinstance(producer, Union):
        producer = producer.producers[0]
    if not isinstance(producer, StageOutput):
        raise CutError("a table stands where a stage was expected")
    return stages[producer.stage].schema


class _Node:
    """A node of the plan, and what is asked of it again and again."""

    def __init__(self, plan: ExecutionPlan, ctx: SessionContext) -> None:
        self._plan = plan
        self._ctx = ctx
        self.display: str = plan.display().strip()
        self.name = re.match(r"\w*", self.display).group()  # type: ignore[union-attr]  # matches

    @functools.cached_property
    def children(self) -> list[_Node]:
        return [_Node(child, self._ctx) for child in self._plan.children()]

    @functools.cached_property
    def message(self) -> bytes:
        message: bytes = self._plan.to_bytes(self._ctx)
        return message

    @functools.cached_property
    def partitions(self) -> int:
        return int(self._plan.partition_count)

    @property
    def is_file_scan(self) -> bool:
        return self.name == "DataSourceExec" and "file_groups=" in self.display

    def says(self, pattern: str) -> str | None:
        """Return the first group of a pattern, if the description has it."""
        found = re.search(pattern, self.display)
        return found.group(1) if found else None


class _Turned(_Node):
    """A join whose sides have changed places."""

    def __init__(self, node: _Node, message: bytes, ctx: SessionContext) -> None:
        super().__init__(ExecutionPlan.from_bytes(ctx, message), ctx)
        # Not as they are read again: the parts of a plan are found by their bytes.
        self.children = node.children[::-1]
        self.message = message


@dataclass(frozen=True)
class _Scope:
    """The scalar subqueries whose values the plan below them may use."""

    template: Template
    subqueries: tuple[tuple[str, Producer], ...]


@dataclass
class _Draft:
    """A stage that is being put together.

    ``single`` says why it must see all partitions at once, ``chunkwise`` whether all of its
    operators may take them piece by piece, ``constant`` whether it has rows of its own.
    """

    top: _Node
    single: str | None
    inputs: dict[str, Hole] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    chunkwise: bool = True
    constant: bool = False
    _depth: int = 0

    def add(self, line: str) -> None:
        self.lines.append("  " * self._depth + line)

    @contextlib.contextmanager
    def below(self, line: str) -> Iterator[None]:
        """Add a line, and what comes within the context below it."""
        self.add(line)
        self._depth += 1
        yield
        self._depth -= 1

    def say(self, word: str | None) -> None:
        """Add a word to the name of the stage."""
        if word and word not in self.words[-1:]:
            self.words.append(word)

    def hole(self, hole: Hole, line: str | None = None) -> Template:
        name = f"in{len(self.inputs)}"
        self.inputs[name] = hole
        self.add(line or f"Input: {_named(hole.producer)} ({hole.mode})")
        return Template((name,))


class _Cutter:
    def __init__(self, catalog: Catalog, settings: Settings, prober: Prober) -> None:
        self.stages: list[Stage] = []
        self.scans: list[TableScan] = []
        self._catalog = catalog
        self._settings = settings
        self._prober = prober
        self._made: dict[tuple[bytes, _Scope | None], Producer] = {}
        self._scope: _Scope | None = None
        self._sizes: dict[int, float] = {}
        self._finals: dict[bytes, _Node] = {}

    # Producers

    def producer(self, node: _Node) -> Producer:
        """Return what gives the rows of a node, one for nodes that are alike."""
        if node.name == "ScalarSubqueryExec":
            return self._with_subqueries(node)
        if node.name == "UnionExec":
            return Union(tuple(self.producer(child) for child in node.children))
        key = (node.message, self._scope)
        alike = None if _is_volatile(node.message) else self._made.get(key)
        if alike is None:
            alike = self._made[key] = StageOutput(self._stage(node))
        return alike

    def _with_subqueries(self, node: _Node) -> Producer:
        outer, (main, *subqueries) = self._scope, node.children
        # What a subquery reads knows nothing of the plan around it.
        self._scope = None
        holes = [(f"subquery{i}", self.producer(child)) for i, child in enumerate(subqueries)]
        names = ["main", *(name for name, _ in holes)]
        children = [child.message for child in node.children]
        template = Template.compile(node.message, list(zip(children, names, strict=True)), depth=2)
        self._scope = _Scope(template, tuple(holes))
        try:
            return self.producer(main)
        finally:
            self._scope = outer

    # Stages

    def _stage(self, node: _Node) -> int:
        exchange = _exchange(node)
        draft, template = self._draft(node, None)
        if draft.single:  # now that this is known, tables come as one, and files from elsewhere
            draft, template = self._draft(node, draft.single)
        body = node.children[0] if exchange else node
        template, schema, outputs = self._probed(template, draft)
        if exchange:
            outputs = node.partitions
        in_parts = any(hole.mode == "part" for hole in draft.inputs.values())
        if outputs < 1 or (outputs > 1 and not exchange and (in_parts or body.partitions == 1)):
            raise CutError(f"{node.name} came to have {outputs} partitions")
        if draft.constant and in_parts:
            raise CutError(f"{node.name} would repeat its constant rows in every task")
        words = draft.words or ["values"]
        chunked = draft.chunkwise and _is_one_table(draft.inputs)
        self.stages.append(
            Stage(
                name="_".join(words[:6]),
                template=template,
                inputs=draft.inputs,
                schema=schema,
                exchange=exchange,
                outputs=outputs,
                chunked=chunked,
                reducer=self._reducer(body, schema) if chunked else None,
                gathered=draft.single,
                rows=None if math.isinf(rows := self._rows(body)) else round(rows),
                operators="\n".join(draft.lines),
            )
        )
        return len(self.stages) - 1

    def _reducer(self, node: _Node, schema: pa.Schema) -> Template | None:
        """Return what makes one state of several of a group, where that is sure to be right."""
        final = self._finals.get(node.message)
        if final is None or "gby=[]" in node.display or "lim=[" in node.display:
            return None
        if not _aggregates(node) <= _TAKES_STATES_TOGETHER:
            return None
        template = _reducing(node, final)
        states = Hole(StageOutput(len(self.stages)), "cat", schema)
        return template if self._prober.look(template, {"states": states}) == (schema, 1) else None

    def _draft(self, node: _Node, single: str | None) -> tuple[_Draft, Template]:
        draft = _Draft(node, single)
        if _exchange(node) is None:
            return draft, self._build(node, draft, relies=False)
        with draft.below(node.display):
            inner = self._build(node.children[0], draft, relies=False)
        return draft, _around(node, [inner])

    def _probed(self, template: Template, draft: _Draft) -> tuple[Template, pa.Schema, int]:
        """Decode the stage over empty inputs: it must be a plan, and tells what it gives."""
        try:
            schema, partitions = self._prober.look(template, draft.inputs)
        except Exception as error:
            # Values of subqueries are known only within the operator that computes them.
            if self._scope is None or "ScalarSubquery" not in str(error):
                raise
            template = self._scope.template.plug("main", template)
            for name, producer in self._scope.subqueries:
                draft.inputs[name] = Hole(producer, "cat", _schema_of(producer, self.stages))
            draft.chunkwise = False
            schema, partitions = self._prober.look(template, draft.inputs)
        return template, schema, partitions

    # Operators

    def _build(self, node: _Node, draft: _Draft, relies: bool) -> Template:
        """Return the template of a node within its stage.

        ``relies`` says that an operator above it in the same stage needs equal keys in the same
        partition, so that the partitioning must be the planned one.
        """
        name = node.name
        if name == "DataSourceExec":
            return self._scan(node, draft, None) if node.is_file_scan else _constant(node, draft)
        if name in _CONSTANTS:
            return _constant(node, draft)
        if name == "CoalescePartitionsExec":
            return self._coalesce(node, draft)
        if name == "SortPreservingMergeExec":
            return self._operator(node, draft, [lambda: self._hole(node.children[0], draft, "all")])
        if name in ("RepartitionExec", "UnionExec", "ScalarSubqueryExec"):
            return self._hole(node, draft, "part")
        if name in _JOINS:
            return self._join(node, draft, relies)
        if name not in _LOCAL:
            return self._unknown(node, draft, relies)
        below = relies or name in ("SortMergeJoinExec", "WindowAggExec", "BoundedWindowAggExec")
        below = below or (name == "AggregateExec" and "Partitioned" in (_mode(node) or ""))
        if name == "AggregateExec" and (partial := _partial_below(node)) is not None:
            self._finals[partial.message] = node
        if _wants_states_apart(node) and _mode(node) == "Final":
            return self._operator(node, draft, [lambda: self._apart(node.children[0], draft)])
        if name == "FilterExec" and node.children[0].is_file_scan:
            scan = node.children[0]
            return self._operator(node, draft, [lambda: self._scan(scan, draft, node)])
        return self._operator(
            node,
            draft,
            [functools.partial(self._build, child, draft, below) for child in node.children],
        )

    def _operator(self, node: _Node, draft: _Draft, builds: Sequence[_Build]) -> Template:
        """Put an operator around what its children become."""
        is_partial = node.name == "AggregateExec" and _mode(node) == "Partial"
        takes_chunks = (is_partial and not _wants_states_apart(node)) or node.name in _CHUNKWISE
        draft.chunkwise = draft.chunkwise and takes_chunks
        with draft.below(node.display):
            inner = [build() for build in builds]
        draft.say(_WORDS.get(node.name))
        return _around(node, inner)

    def _hole(self, node: _Node, draft: _Draft, mode: Mode) -> Template:
        producer = self.producer(node)
        if mode == "part" and (node.partitions == 1 or draft.single):
            mode = "cat"
        return draft.hole(Hole(producer, mode, _schema_of(producer, self.stages)))

    def _coalesce(self, node: _Node, draft: _Draft) -> Template:
        (child,) = node.children
        if "fetch=" in node.display:
            return self._operator(node, draft, [lambda: self._hole(child, draft, "cat")])
        return self._hole(child, draft, "cat")  # a hole of one partition needs no operator

    def _apart(self, node: _Node, draft: _Draft) -> Template:
        """Gather the partitions of a node without making one table of them."""
        if node.name != "CoalescePartitionsExec":
            raise CutError(f"{node.name} gives partial states, which must come one by one")
        return self._operator(node, draft, [lambda: self._hole(node.children[0], draft, "all")])

    def _unknown(self, node: _Node, draft: _Draft, relies: bool) -> Template:
        """Give an operator that we know nothing of all of its inputs, in a stage of its own."""
        reason = f"{node.name} is not known to run in parts"
        if node is not draft.top:
            if relies:  # its partitions are no longer the planned ones
                draft.single = draft.single or reason
            return self._hole(node, draft, "part")
        if any(child.partitions > 1 for child in node.children):
            draft.single = reason
        draft.say(re.sub(r"Exec$", "", node.name).lower())
        return self._operator(
            node,
            draft,
            [functools.partial(self._hole, child, draft, "cat") for child in node.children],
        )

    # Joins

    def _join(self, node: _Node, draft: _Draft, relies: bool) -> Template:
        node = self._sided(node)
        left, right = node.children
        how = node.says(r"join_type=(\w+)") or "Inner"
        if "mode=Partitioned" in node.display:
            if "null_aware" in node.display:
                raise CutError("a NULL of one partition concerns all of a null-aware join")
            side = None if relies or draft.single else self._small_side(how, left, right)
            build = self._build
            builds = {
                "left": [lambda: self._all_of(left, draft), lambda: self._stream(right, draft)],
                "right": [lambda: self._stream(left, draft), lambda: self._all_of(right, draft)],
                None: [lambda: build(left, draft, True), lambda: build(right, draft, True)],
            }[side]
            return self._operator(node, draft, builds)
        if left.partitions == right.partitions == 1 and not draft.single:
            # Nothing to divide: one task runs both sides, and what is above.
            builds = [functools.partial(self._build, side, draft, relies) for side in (left, right)]
            return self._operator(node, draft, builds)
        if how in _GIVES_LEFT and right.partitions > 1:
            draft.single = draft.single or f"{node.name} gives rows of its left side ({how})"
        if how in _GIVES_LEFT:
            builds = [lambda: self._all_of(left, draft), lambda: self._all_of(right, draft)]
        else:
            builds = [
                lambda: self._all_of(left, draft),
                lambda: self._build(right, draft, relies),
            ]
        return self._operator(node, draft, builds)

    def _sided(self, node: _Node) -> _Node:
        """Return a hash join that holds its smaller side in memory, as far as sizes are known."""
        left, right = node.children
        how = node.says(r"join_type=(\w+)") or ""
        in_parts = "mode=Partitioned" in node.display
        if how not in joins.MIRRORED or not (in_parts or left.partitions == right.partitions == 1):
            return node
        if "null_aware" in node.display or not self._size(right) * _SMALLER < self._size(left):
            return node
        if math.isinf(self._size(left)) or _is_sorted(right):  # as a join leaves its right side
            return node
        widths = joins.widths(node.message, self._catalog.context)
        if widths is None:
            return node
        return _Turned(node, joins.turned(node.message, how, widths), self._catalog.context)

    def _all_of(self, node: _Node, draft: _Draft) -> Template:
        """Give every task all rows of a node, past the exchange that divides or gathers them."""
        is_exchange = node.name in ("RepartitionExec", "CoalescePartitionsExec")
        if is_exchange and "fetch=" not in node.display:
            node = node.children[0]
        return self._hole(node, draft, "cat")

    def _stream(self, node: _Node, draft: _Draft) -> Template:
        """Leave the large side of a broadcast join where it is."""
        if node.name == "RepartitionExec":
            node = node.children[0]
        return self._build(node, draft, relies=False)

    def _small_side(self, how: str, left: _Node, right: _Node) -> str | None:
        if self._settings.broadcast == "off":
            return None
        sizes = {"left": self._size(left), "right": self._size(right)}
        allowed = {
            "left": how in _BROADCAST_LEFT and left.name == "RepartitionExec",
            "right": how in _BROADCAST_RIGHT and right.name == "RepartitionExec",
        }
        other = {"left": "right", "right": "left"}
        limit = self._settings.broadcast_bytes
        for side in sorted(sizes, key=sizes.__getitem__):
            is_small = sizes[side] <= min(limit, sizes[other[side]])
            if allowed[side] and (is_small or self._settings.broadcast == "always"):
                return side
        return None

    def _size(self, node: _Node) -> float:
        """Return about how many bytes a node gives; infinite if unknown."""
        if id(node) not in self._sizes:
            self._sizes[id(node)] = self._estimated(node)
        return self._sizes[id(node)]

    def _estimated(self, node: _Node) -> float:
        if node.name == "DataSourceExec":
            return _scanned_bytes(node, self._catalog) if node.is_file_scan else len(node.message)
        sizes = [self._size(child) for child in node.children]
        fetch = node.says(r"fetch=(\d+)")
        if not sizes:
            return 0 if node.name in ("EmptyExec", "PlaceholderRowExec") else math.inf
        if node.name == "FilterExec":
            total = sizes[0] * _SELECTIVITY
        elif node.name in ("CrossJoinExec", "NestedLoopJoinExec"):
            total = math.inf
        elif "Join" in node.name:
            total = max(sizes)
        elif node.name == "AggregateExec" and "gby=[]" in node.display:
            total = 1024.0
        elif node.name == "UnnestExec":
            total = math.inf
        else:
            total = sum(sizes)
        return min(total, int(fetch) * 256.0) if fetch else total

    def _rows(self, node: _Node) -> float:
        """Return about how many rows a node gives; infinite if unknown."""
        if node.is_file_scan:
            path = _FileScan(node.message).path
            table = self._catalog.of_path(path) or self._catalog.of_parquet(path)
            total = math.inf if table is None or table.rows is None else float(table.rows)
        elif node.name == "AggregateExec":
            total = 1.0 if "gby=[]" in node.display else math.inf
        elif node.name in _UNKNOWN_ROWS or not node.children:
            total = math.inf
        else:
            counts = [self._rows(child) for child in node.children]
            total = max(counts) if "Join" in node.name else sum(counts)
            total *= _SELECTIVITY if node.name == "FilterExec" else 1
        fetch = node.says(r"fetch=(\d+)")
        return min(total, float(fetch)) if fetch else total

    # Scans

    def _scan(self, node: _Node, draft: _Draft, filter_: _Node | None) -> Template:
        scan = _FileScan(node.message)
        table = self._catalog.of_path(scan.path)
        if table is None:
            return self._file_scan(node, scan, draft, filter_)
        schema = plain_schema(table.schema)
        needed = [i for i in scan.plain_columns() if i is not None]
        names = [schema.names[i] for i in needed]
        is_plain = names == scan.aliases and len(set(needed)) == len(needed)
        if not is_plain:
            needed = sorted(scan.needed(node.display))
            names = [schema.names[i] for i in needed]
        asked = self._asked(table, schema, names, scan, filter_)
        producer = TablePartitions(self._number(asked))
        if node.partitions == 1:
            raise CutError(f"table {table.name!r} is planned as one partition")
        mode: Mode = "cat" if draft.single else "part"
        wanted = pa.schema([schema.field(i) for i in needed])
        draft.say("scan")
        template = draft.hole(Hole(producer, mode, wanted), _described(asked))
        if not is_plain:
            template = _computed(scan, schema.names, needed, template)
        return template

    def _asked(
        self,
        table: TableDescription,
        schema: pa.Schema,
        columns: list[str],
        scan: _FileScan,
        filter_: _Node | None,
    ) -> TableScan:
        pushed, limit = Pushed(), scan.limit
        texts: tuple[str, ...] = ()
        if filter_ is not None:
            message = _part(_inside(filter_.message), 2)
            outputs = [None if i is None else schema.names[i] for i in scan.plain_columns()]
            pushed = push_down(message, outputs, schema, self._prober.context)
            texts = (_condition(filter_),)
            fetch = filter_.says(r"fetch=(\d+)$")
            limit = int(fetch) if fetch and pushed.exact else None
        predicates = pushed.predicates if table.takes_predicates else ()
        if len(predicates) < len(pushed.predicates):
            limit = None
        return TableScan(
            table=table.name,
            columns=tuple(columns),
            predicates=predicates,
            filters=texts,
            limit=limit,
        )

    def _file_scan(
        self, node: _Node, scan: _FileScan, draft: _Draft, filter_: _Node | None
    ) -> Template:
        """Leave the reading of Parquet to DataFusion, and divide its files among the tasks."""
        if draft.single:
            if node is draft.top:
                raise CutError("files are read in parts")
            return self._hole(node, draft, "cat")
        table = self._catalog.of_parquet(scan.path)
        texts = (_condition(filter_),) if filter_ is not None else ()
        name = "parquet" if table is None else table.name
        asked = TableScan(table=name, columns=tuple(scan.aliases), filters=texts, limit=scan.limit)
        groups = scan.groups if node.partitions == 1 else _divided(scan.groups)
        producer = FileGroups(
            self._number(asked), tuple(b"\x0a" + varint(len(g)) + g for g in groups)
        )
        draft.say("scan")
        hole = draft.hole(Hole(producer, "part", pa.schema([])), _described(asked))
        return scan.with_groups(hole)

    def _number(self, scan: TableScan) -> int:
        if scan not in self.scans:
            self.scans.append(scan)
        return self.scans.index(scan)


_Build = Callable[[], Template]


# Nodes


def _check(node: _Node) -> None:
    if node.name in _WHOLE:
        raise CutError(f"{node.name} does not run in parts: {_WHOLE[node.name]}")
    if node.name in _WINDOWS and any(map(_IN_WINDOW.search, _window_names(node))):
        raise CutError(
            "the FILTER and IGNORE NULLS of a window function are in no serialised plan; in place "
            "of FILTER write e.g. sum(CASE WHEN condition THEN x END) OVER (...)"
        )
    for child in node.children:
        _check(child)


def _window_names(node: _Node) -> Iterator[str]:
    """Yield how functions are called, without what is in parentheses."""
    inside = _inside(node.message)
    for one in (inside[f.start : f.end] for f in fields(inside) if f.number == 2):
        text = _part(one, 8).decode()
        # A text may hold any parenthesis: all that is said counts then.
        while '"' not in text and (shorter := re.sub(r"\([^()]*\)", "", text)) != text:
            text = shorter
        yield text


def _check_bytes(top: _Node, ctx: SessionContext) -> None:
    """Compare a plan with what its bytes are read as: they do not hold all that it may say."""
    read = _Node(ExecutionPlan.from_bytes(ctx, top.message), ctx)
    lost = Counter(_said(top)) - Counter(_said(read))
    if lost:
        raise CutError(f"a serialised plan does not keep {next(iter(lost))[:200]}")


def _said(node: _Node) -> Iterator[str]:
    # Reading wraps the inputs of a union in one more projection each, and forgets of an exchange
    # that its input happens to be sorted.
    if node.name not in ("ProjectionExec", "RepartitionExec"):
        yield node.display
    for child in node.children:
        yield from _said(child)


def _is_sorted(node: _Node) -> bool:
    """Whether the rows of each partition may come in an order that something relies on."""
    if node.name in _SORTED:
        return True
    if node.name == "CoalescePartitionsExec" or _exchange(node):
        return False
    return any(map(_is_sorted, node.children))


def _exchange(node: _Node) -> Literal["hash", "round_robin"] | None:
    if node.name != "RepartitionExec":
        return None
    if "preserve_order=true" in node.display:
        raise CutError("an exchange must keep the order of its rows")
    return "hash" if "partitioning=Hash(" in node.display else "round_robin"


def _named(producer: Producer) -> str:
    if isinstance(producer, Union):
        return " + ".join(_named(each) for each in producer.producers)
    return f"stage {producer.stage}" if isinstance(producer, StageOutput) else "table"


def _mode(node: _Node) -> str | None:
    return node.says(r"mode=(\w+)")


def _wants_states_apart(node: _Node) -> bool:
    """Whether partial states of an aggregate without groups must not come in one batch."""
    if node.name != "AggregateExec" or "gby=[]" not in node.display:
        return False
    return not _aggregates(node) <= _TAKES_STATES_TOGETHER


def _aggregates(node: _Node) -> set[str]:
    """Return the names of the functions of an aggregate."""
    inside = _inside(node.message)
    aggregates = [inside[f.start : f.end] for f in fields(inside) if f.number == 2]
    return {_part(_inside(aggregate), 4).decode() for aggregate in aggregates}


def _partial_below(node: _Node) -> _Node | None:
    """Return the partial aggregate whose states a final one takes, through an exchange."""
    if not (_mode(node) or "").startswith("Final"):
        return None
    (child,) = node.children
    if child.name in ("RepartitionExec", "CoalescePartitionsExec"):
        (child,) = child.children
    return child if child.name == "AggregateExec" and _mode(child) == "Partial" else None


def _reducing(partial: _Node, final: _Node) -> Template:
    """Return an aggregate of states to states: the final one, with the schema of the partial."""
    (operator,) = fields(final.message)
    inside, given = _inside(final.message), _inside(partial.message)
    kept = [inside[f.head : f.end] for f in fields(inside) if f.number not in _AGGREGATE_RESULT]
    kept += [given[f.head : f.end] for f in fields(given) if f.number == _AGGREGATE_SCHEMA]
    body = b"".join([*kept, _PARTIAL_REDUCE])
    message = final.message[operator.head : operator.tag_end] + varint(len(body)) + body
    return Template.compile(message, [(final.children[0].message, "states")], depth=2)


def _around(node: _Node, inner: Sequence[Template]) -> Template:
    message = _without_filter(node.message) if node.name == "SortExec" else node.message
    if all(len(each.parts) == 1 and isinstance(each.parts[0], bytes) for each in inner):
        return Template((message,))
    names = [str(i) for i in range(len(inner))]
    messages = [child.message for child in node.children]
    template = Template.compile(message, list(zip(messages, names, strict=True)), depth=2)
    for name, each in zip(names, inner, strict=True):
        template = template.plug(name, each)
    return template


def _without_filter(message: bytes) -> bytes:
    """Return a sort for the first rows without the filter that it makes while it runs.

    The filter has a number of its own in each plan, and so would the keys of its tasks; nothing
    below asks for it, and a sort that is read without one makes one.
    """
    (sort,) = fields(message)
    kept = (f for f in fields(message, sort.start, sort.end) if f.number != _SORT_FILTER)
    body = b"".join(message[f.head : f.end] for f in kept)
    return message[sort.head : sort.tag_end] + varint(len(body)) + body


def _constant(node: _Node, draft: _Draft) -> Template:
    draft.constant = True
    draft.add(node.display)
    return Template((node.message,))


def _is_volatile(message: bytes) -> bool:
    return any(name in message for name in _VOLATILE)


def _is_one_table(inputs: Mapping[str, Hole]) -> bool:
    return [(type(h.producer), h.mode) for h in inputs.values()] == [(TablePartitions, "part")]


def _condition(filter_: _Node) -> str:
    return filter_.says(r"^FilterExec: (.*?)(?:, projection=\[[^\]]*\])?(?:, fetch=\d+)?$") or ""


def _described(scan: TableScan) -> str:
    text = f"Table: {scan.table}, columns=[{', '.join(scan.columns)}]"
    if scan.predicates:
        text += f", asked for [{' and '.join(map(str, scan.predicates))}]"
    return text if scan.limit is None else f"{text}, limit={scan.limit}"


def _scanned_bytes(node: _Node, catalog: Catalog) -> float:
    """Return about how many bytes of Arrow data a scan gives; infinite if unknown."""
    scan = _FileScan(node.message)
    table = catalog.of_path(scan.path)
    if table is None:
        table = catalog.of_parquet(scan.path)
        if table is None or table.bytes is None:
            return sum(_file_bytes(f) for group in scan.groups for f in _files(group)) * 2.0
    if table.bytes is None and table.rows is None:
        return math.inf
    widths = _widths(table)
    # Statistics of row groups have positions of their own.
    columns = scan.needed(node.display.partition(", pruning_predicate=")[0])
    needed = sum(widths[i] for i in columns if i < len(widths)) or 1
    if table.rows is not None:
        return table.rows * needed
    return (table.bytes or 0) * needed / (sum(widths) or 1)


_TEXT_WIDTH = 32


def _widths(table: TableDescription) -> list[float]:
    """Return about how many bytes a value of each column takes."""
    widths: list[float | None] = [_width(field.type) for field in table.schema]
    texts, text = widths.count(None), float(_TEXT_WIDTH)
    if texts and table.rows and table.bytes is not None:
        rest = table.bytes / table.rows - sum(filter(None, widths))
        text = max(text, rest / texts)  # of long ones; short ones may be packed where they are
    return [text if width is None else width for width in widths]


def _width(kind: pa.DataType) -> int | None:
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return None  # text and lists, which have as many as they have


# Messages, by the numbers of their fields in DataFusion's datafusion.proto

_CONF_GROUPS, _CONF_LIMIT, _CONF_PROJECTION = 1, 5, 13
_FILE_PATH, _FILE_SIZE, _FILE_RANGE = 1, 2, 5
_SORT_FILTER = 5
_AGGREGATE_MODE, _AGGREGATE_SCHEMA = 3, 14
_AGGREGATE_RESULT = {_AGGREGATE_MODE, _AGGREGATE_SCHEMA}
_PARTIAL_REDUCE = b"\x18\x05"  # the mode that takes states and gives states
_PROJECTION, _LOCAL_LIMIT, _INPUT = b"\x22", b"\x3a", b"\x0a"
_NULL = b"\x12\x05\x8a\x02\x02\x0a\x00"


class _FileScan:
    """A scan of files, as it is serialised."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        (self._source,) = fields(message)
        self._conf = fields(message, self._source.start, self._source.end)[0]
        self._fields = fields(message, self._conf.start, self._conf.end)

    def _parts(self, number: int) -> list[bytes]:
        return [self._message[f.start : f.end] for f in self._fields if f.number == number]

    @property
    def groups(self) -> list[bytes]:
        return self._parts(_CONF_GROUPS)

    @property
    def path(self) -> str:
        """Of its first file."""
        return _part(_files(self.groups[0])[0], _FILE_PATH).decode() if self.groups else ""

    @property
    def limit(self) -> int | None:
        limits = self._parts(_CONF_LIMIT)
        return _number_at(limits[0], 1) if limits else None

    @functools.cached_property
    def projection(self) -> list[tuple[str, bytes]]:
        """Names and serialised expressions of what it gives."""
        projections = self._parts(_CONF_PROJECTION)
        if not projections:
            raise CutError("a scan without a projection")
        (projection,) = projections
        items = [projection[f.start : f.end] for f in fields(projection)]
        return [(_part(item, 1).decode(), _part(item, 2)) for item in items]

    @property
    def aliases(self) -> list[str]:
        return [name for name, _ in self.projection]

    def plain_columns(self) -> list[int | None]:
        """Return positions of the table's columns; None for what is computed."""
        return [Expression(expression).column for _, expression in self.projection]

    def needed(self, display: str) -> set[int]:
        """Return positions of all columns that it may need."""
        # Within an expression, a column is shown with its position.
        computed = {int(number) for number in re.findall(r"@(\d+)", display)}
        return computed | {i for i in self.plain_columns() if i is not None}

    def with_groups(self, hole: Template) -> Template:
        """Return the scan with a hole in place of its file groups."""
        message, source, conf = self._message, self._source, self._conf
        rest = b"".join(message[f.head : f.end] for f in self._fields if f.number != _CONF_GROUPS)
        inner = (message[conf.head : conf.tag_end], (*hole.parts, rest))
        outer = (message[source.head : source.tag_end], (inner, message[conf.end : source.end]))
        return Template((outer,))


def _inside(message: bytes) -> bytes:
    (operator,) = fields(message)
    return message[operator.start : operator.end]


def _part(message: bytes, number: int) -> bytes:
    return next((message[f.start : f.end] for f in fields(message) if f.number == number), b"")


def _number_at(message: bytes, number: int) -> int:
    digits = _part(message, number)  # Protocol Buffers leave out a zero
    return read_varint(digits, 0, len(digits))[0] if digits else 0


def _files(group: bytes) -> list[bytes]:
    return [group[f.start : f.end] for f in fields(group) if f.number == 1]


def _file_range(file: bytes) -> tuple[int, int]:
    found = _part(file, _FILE_RANGE)
    return (_number_at(found, 1), _number_at(found, 2)) if found else (0, _number_at(file, 2))


def _file_bytes(file: bytes) -> int:
    start, end = _file_range(file)
    return end - start


def _divided(groups: Sequence[bytes]) -> list[bytes]:
    """Divide groups of files that are too large for a task; a row group is of where it begins."""
    out: list[bytes] = []
    for group in groups:
        taken, size = b"", 0
        for piece in (piece for file in _files(group) for piece in _pieces(file)):
            if taken and size + _file_bytes(piece) > _LARGEST_GROUP:
                out.append(taken)
                taken, size = b"", 0
            taken += b"\x0a" + varint(len(piece)) + piece
            size += _file_bytes(piece)
        out.append(taken)
    return out


def _pieces(file: bytes) -> Iterator[bytes]:
    start, end = _file_range(file)
    count = -(-(end - start) // _LARGEST_GROUP)
    if count <= 1:
        yield file
        return
    rest = b"".join(file[f.head : f.end] for f in fields(file) if f.number != _FILE_RANGE)
    cuts = [start + (end - start) * i // count for i in range(count + 1)]
    for low, high in itertools.pairwise(cuts):
        range_ = b"\x08" + varint(low) + b"\x10" + varint(high)
        yield rest + b"\x2a" + varint(len(range_)) + range_


def _computed(
    scan: _FileScan, names: Sequence[str], needed: Sequence[int], hole: Template
) -> Template:
    """Compute a scan's expressions from the columns that it needs.

    They know columns by their positions in the table: what is not needed is a column of nulls.
    """
    place = {column: i for i, column in enumerate(needed)}
    wide = [
        (names[i], _column(names[i], place[i]) if i in place else _NULL)
        for i in range(max(needed, default=-1) + 1)
    ]
    return _projected(scan.projection, _projected(wide, hole))


def _column(name: str, position: int) -> bytes:
    text = name.encode()
    body = b"\x0a" + varint(len(text)) + text + (b"\x10" + varint(position) if position else b"")
    return b"\x0a" + varint(len(body)) + body


def _projected(expressions: Sequence[tuple[str, bytes]], inner: Template) -> Template:
    body = b"".join(b"\x12" + varint(len(e)) + e for _, e in expressions)
    texts = [name.encode() for name, _ in expressions]
    body += b"".join(b"\x1a" + varint(len(text)) + text for text in texts)
    return Template(((_PROJECTION, ((_INPUT, inner.parts), body)),))


def _limited(inner: Template, limit: int) -> Template:
    return Template(((_LOCAL_LIMIT, ((_INPUT, inner.parts), b"\x10" + varint(limit))),))


# Looking at plans


class Prober:
    """Decodes stages over inputs without rows, to see that they are plans, and what they give."""

    def __init__(self, functions: Sequence[PythonFunction]) -> None:
        config = SessionConfig().with_target_partitions(1)
        self.context = SessionContext(config).with_python_udf_inlining(enabled=False)
        for function in functions:
            function.define(self.context)
        self._seen: dict[bytes, tuple[pa.Schema, int]] = {}

    def look(self, template: Template, inputs: Mapping[str, Hole]) -> tuple[pa.Schema, int]:
        """Return the schema and the number of partitions of a stage."""
        empty = {name: [_empty_input(hole)] for name, hole in inputs.items()}
        message = template.fill(empty)
        if message not in self._seen:
            plan = ExecutionPlan.from_bytes(self.context, message)
            self._seen[message] = self._schema(message), int(plan.partition_count)
        return self._seen[message]

    def _schema(self, message: bytes) -> pa.Schema:
        # A row that nothing matches is joined to none of the stage's rows, so that it comes out
        # with a null in each of the stage's columns, and nothing of the stage is run.
        limited = _limited(Template((message,)), 0).fill({})
        plan = ExecutionPlan.from_bytes(self.context, _unmatched().fill({"stage": [limited]}))
        for partition in range(plan.partition_count):
            for batch in self.context.execute(plan, partition):
                return plain_schema(pa.schema(list(batch.to_pyarrow().schema)[1:]))
        raise CutError("a stage does not tell its columns")


def _empty_input(hole: Hole) -> bytes:
    if isinstance(hole.producer, FileGroups):
        return b"\x0a\x00"
    return _no_rows(hole.schema.serialize().to_pybytes())


@functools.lru_cache(1024)
def _no_rows(schema_bytes: bytes) -> bytes:
    """Return a serialised plan that gives columns and no rows."""
    schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
    placeholders = [f"__column_{i:06}__" for i in range(len(schema))]
    named = pa.schema([pa.field(p, f.type) for p, f in zip(placeholders, schema, strict=True)])
    ctx = SessionContext(SessionConfig().with_target_partitions(1))
    batch = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in named], schema=named)
    ctx.register_record_batches("t", [[batch]])
    message = ctx.sql("SELECT * FROM t WHERE false").execution_plan().to_bytes()
    template = Template.compile(message, [(p.encode(), p) for p in placeholders], depth=4)
    names = {p: [f.name.encode()] for p, f in zip(placeholders, schema, strict=True)}
    return template.fill(names)


@functools.cache
def _unmatched() -> Template:
    ctx = SessionContext(SessionConfig().with_target_partitions(1))
    ctx.register_record_batches("one", [[pa.record_batch({"found": pa.array([False])})]])
    ctx.register_record_batches("stage", [[pa.record_batch({"k": pa.array([1])})]])
    plan = ctx.sql("SELECT * FROM one LEFT JOIN stage ON one.found").execution_plan()
    child = plan.children()[1].to_bytes()
    if not plan.display().startswith("NestedLoopJoinExec") or "projection" in plan.display():
        raise CutError(f"DataFusion plans a join otherwise than expected: {plan.display()}")
    return Template.compile(plan.to_bytes(), [(child, "stage")], depth=2)
