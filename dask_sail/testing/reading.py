"""One source with one set of options, called as this package calls it; and rows, compared."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from ..arrow import conform, frame_schema
from ..batches import given_batches
from ..calls import call_source
from ..datasource import PartitionSpec, Scan
from ..options import CaseInsensitiveDict, Redactor, SourceOptions
from ..planning import Plan, check_option_names, plan_source
from ..predicate import Predicate
from ..registry import SourceRef, find_source

__all__ = ["Partition", "Reading", "Rows", "differences", "project", "rows"]

Rows: TypeAlias = "Counter[tuple[Any, ...]]"


class Partition(NamedTuple):
    """One planned partition, and all rows of it."""

    spec: PartitionSpec
    table: pa.Table


@dataclass(frozen=True)
class Reading:
    """A source, what it is told, and the snapshot that its partitions read."""

    ref: SourceRef
    given: SourceOptions
    snapshot: str | None = None

    @classmethod
    def of(cls, source: Any, options: Mapping[str, Any]) -> Reading:
        """Find the source as `read_python_source` does."""
        # A class is found once, as it takes a while to pickle all that it may reach.
        ref = _found(source) if isinstance(source, type) else find_source(source)
        return cls(ref, SourceOptions.gather(options, {}))

    @property
    def label(self) -> str:
        return self.ref.label

    @cached_property
    def redact(self) -> Redactor:
        """Takes the options' secrets out of texts."""
        return self.given.resolve()[1]

    @cached_property
    def plan(self) -> Plan:
        """What the source says about the read, as checked as ever."""
        return plan_source(self.ref, self.given, None, None)

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns and types as frames carry them."""
        return frame_schema(self.plan.schema, self.label)

    def check_option_names(self) -> None:
        """Raise what planning raises for options of other names than the source gives, if any."""
        options, redact = self.given.resolve()
        check_option_names(self.label, self.ref.create(redact), options, redact)

    def options(self) -> CaseInsensitiveDict:
        """What the source is handed, a new one each time."""
        return self.given.resolve()[0]

    def has(self, *methods: str) -> bool:
        return all(hasattr(self.ref.load(), method) for method in methods)

    def ask(self, method: str, *arguments: Any, instance: Any = None) -> Any:
        """Call a method of a new instance; what it raises becomes ours, without secrets."""
        source = self.ref.create() if instance is None else instance

        def call() -> Any:
            answer = getattr(source, method)(*arguments)
            return list(answer) if method in _MANY and isinstance(answer, Iterable) else answer

        return call_source(self.label, method, self.redact, call)

    def scan(
        self,
        columns: Sequence[str] | None = None,
        predicates: Sequence[Predicate] = (),
        limit: int | None = None,
    ) -> Scan:
        """Return what a source is asked for; all columns, if none are named."""
        wanted = tuple(self.schema.names if columns is None else columns)
        return Scan(self.plan.schema, wanted, tuple(predicates), limit, self.snapshot)

    def batches(
        self,
        spec: PartitionSpec,
        scan: Scan | None = None,
        *,
        instance: Any = None,
        read_only: bool = False,
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yield what the source yields, on a new instance; by read_partition if ``read_only``."""
        source = self.ref.create() if instance is None else instance
        if read_only:
            source = SimpleNamespace(read_partition=source.read_partition)
        scan = scan or self.scan()
        given = copy.deepcopy(spec)
        return given_batches(self.label, source, given, self.options(), scan, self.redact)

    def table(self, spec: PartitionSpec, scan: Scan | None = None, **how: Any) -> pa.Table:
        """Read a partition whole, into the columns that a scan names."""
        names = self.schema.names if scan is None else scan.columns
        return self.fitted(self.batches(spec, scan, **how), spec, names)

    def fitted(
        self, batches: Iterable[pa.RecordBatch], spec: PartitionSpec, names: Sequence[str]
    ) -> pa.Table:
        """Return batches as one table of some of the columns, in the types of the schema."""
        target = pa.schema([self.schema.field(name) for name in names])
        told = self.redact.value(spec)
        found = [conform(batch, target, self.label, told) for batch in batches]
        if not names:  # pyarrow would forget the rows
            count = sum(batch.num_rows for batch in found)
            return pa.table({"": pa.nulls(count)}).select([])
        return pa.Table.from_batches(found, schema=target)

    def raised_by(
        self, given: SourceOptions, spec: PartitionSpec | None = None
    ) -> list[Exception | SystemExit]:
        """What the source itself raises with other options, or for a spec that is none.

        Not as the errors of this package, which hold no secret and can be pickled in any case.
        """
        try:
            source, handed = self.ref.create(), given.resolve()[0]
            if spec is None:
                source.infer_schema(handed.copy())
                planned = list(source.plan_partitions(handed.copy()))
                spec = planned[0] if planned else None
            if spec is not None:
                list(self.ref.create().read_partition(spec, handed.copy()))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a source raises
            return [error]
        return []

    def with_snapshot(self, name: str) -> Reading:
        return replace(self, snapshot=name)


@cache
def _found(source: type[Any]) -> SourceRef:
    return find_source(source)


_MANY = ("plan_partitions", "partition_statistics")


def rows(table: pa.Table) -> Rows:
    """Count the rows of a table; equal for tables of the same rows in any order, bit for bit."""
    if not table.num_columns:
        return Counter({(): table.num_rows}) if table.num_rows else Counter()
    columns = [[repr(value) for value in _values(column)] for column in table.columns]
    return Counter(zip(*columns, strict=True))


def _values(column: pa.ChunkedArray) -> list[Any]:
    return list(column.cast(_as_numbers(column.type)).to_pylist())


def _as_numbers(kind: pa.DataType) -> pa.DataType:
    """Return a type with numbers for moments, of which there are more than Python has."""
    types = pa.types
    if types.is_date32(kind) or types.is_time32(kind):
        return pa.int32()
    if types.is_temporal(kind) and not types.is_interval(kind):
        return pa.int64()
    if types.is_map(kind):
        return pa.map_(_as_numbers(kind.key_type), _as_numbers(kind.item_type))
    if types.is_struct(kind):
        return pa.struct([field.with_type(_as_numbers(field.type)) for field in kind])
    if types.is_fixed_size_list(kind):
        return pa.list_(_as_numbers(kind.value_type), kind.list_size)
    if types.is_list(kind):
        return pa.list_(_as_numbers(kind.value_type))
    if types.is_large_list(kind):
        return pa.large_list(_as_numbers(kind.value_type))
    return kind


def project(counted: Rows, names: Sequence[str], wanted: Sequence[str]) -> Rows:
    """Return the rows with some of their columns."""
    places = [list(names).index(name) for name in wanted]
    found: Rows = Counter()
    for row, count in counted.items():
        found[tuple(row[place] for place in places)] += count
    return found


def differences(found: Rows, wanted: Rows) -> str | None:
    """Say how rows differ, in a line; None if they do not."""
    lost, extra = wanted - found, found - wanted
    told = [
        f"{total:,} {what} (such as {_shown(next(iter(some)))})"
        for what, some in (("missing", lost), ("too many", extra))
        if (total := sum(some.values()))
    ]
    return f"of {sum(wanted.values()):,} rows " + ", ".join(told) if told else None


def _shown(row: tuple[str, ...]) -> str:
    return f"({', '.join(row)})"[:200]
