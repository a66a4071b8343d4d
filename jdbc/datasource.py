"""The data source: three methods with Spark's JDBC options, and the abilities of a Dask one."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

import pyarrow as pa

from .arrow_types import parse_custom_schema
from .cancellation import Cancellation
from .cuts import plan_cuts
from .dialects import Column, ColumnRead, Dialect, Part, dialect_for
from .divisions import division_positions, plan_divisions
from .engines import choose_engine, engine_for
from .errors import ColumnTypeError, DivisionError, EngineError, JDBCError, OptionError
from .estimates import estimate_parts, quickly
from .options import JDBCOptions
from .pages import plan_pages
from .partitioning import Range, bound_value
from .query import (
    Condition,
    count_sql,
    describe_sql,
    first_sql,
    null_test,
    predicate_condition,
    range_sql,
    select_sql,
)
from .url import redact

__all__ = ["JDBCArrowDataSource"]

_log = logging.getLogger(__name__)

_TYPE = b"jdbc.type"


class WantedScan(Protocol):
    """What of a partition is wanted, as `dask_sail.Scan`."""

    @property
    def schema(self) -> pa.Schema: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def predicates(self) -> Sequence[Condition]: ...
    @property
    def limit(self) -> int | None: ...


class JDBCArrowDataSource:
    """Rows of a database by its ``jdbc:`` URL, as Arrow, with neither Java nor JDBC.

    The options are Spark's (`JDBCOptions`). Each column comes in one Arrow type, whatever engine
    reads it, each value exactly or as an error. An instance keeps nothing but what it takes to
    cancel its reads.

    Notes
    -----
    A spec holds what was decided on the client: the engine and why, and the range of the partition
    column (or the number of the predicate). It holds neither URL nor secrets.
    """

    def __init__(self) -> None:
        self._cancellation = Cancellation()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()  # a read and its locks stay where they are

    def infer_schema(self, options: Mapping[str, str], /) -> pa.Schema:
        """Describe the table or query, without reading its rows.

        The database's own type of each column is in its field's metadata, under ``jdbc.type``.
        """
        parsed = JDBCOptions.parse(options)
        return _schema(_described(options, parsed, fresh=True))

    def plan_partitions(self, options: Mapping[str, str], /) -> list[dict[str, Any]]:
        """Choose the engine and cut the rows; reads no row."""
        parsed = JDBCOptions.parse(options)
        dialect = dialect_for(parsed.dialect)
        columns = _described(options, parsed)
        choice = choose_engine(dialect, parsed, columns)
        common: dict[str, Any] = {
            "dialect": dialect.name,
            "engine": choice.engine,
            "why": choice.why,
        }
        if not parsed.push_down_predicate:
            common["pushDownPredicate"] = False
        pieces = _pieces(dialect, parsed, columns)
        return [{"partition": i, **common, **piece} for i, piece in enumerate(pieces)]

    def read_partition(
        self, spec: Mapping[str, Any], options: Mapping[str, str], /
    ) -> Iterator[pa.RecordBatch]:
        """Yield every row and column of one partition."""
        parsed = JDBCOptions.parse(options)
        dialect = dialect_for(parsed.dialect)
        columns = _described(options, parsed)
        _check_snapshot(parsed)
        return _Read(dialect, parsed, spec, columns).batches(self._cancellation)

    # ------------------------------------------------------------------- SupportsDivisions

    def divisions(
        self, specs: Sequence[Mapping[str, Any]], options: Mapping[str, str], column: str, /
    ) -> list[Any] | None:
        """Return where the partitions begin and end, if they are ranges of the column.

        Asks the database whether every row has a place there; if the option ``divisions`` does not
        say so, the ends are the least and the greatest value.

        Raises
        ------
        DivisionError
            If the column holds NULLs (or NaN), or values outside the option's divisions.
        """
        ranges = [
            Range.from_json(spec["range"])
            for spec in specs
            if spec.get("range", {}).get("column") == column
        ]
        if not ranges or len(ranges) < len(specs):
            return None
        parsed = JDBCOptions.parse(options)
        by_name = {c.name: c for c in _described(options, parsed)}
        dialect, engine = dialect_for(parsed.dialect), specs[0]["engine"]
        index = _Index(dialect, parsed, by_name[column], engine, self._cancellation)
        return index.divisions(ranges)

    # ------------------------------------------------------------------ SupportsStatistics

    def partition_statistics(
        self, specs: Sequence[Mapping[str, Any]], options: Mapping[str, str], /
    ) -> list[tuple[int | None, bool, int | None]]:
        """Return about how many rows and bytes each partition has, as the database expects.

        Never exact, and None where it knows nothing at once. Takes a connection for a moment.
        """
        parsed = quickly(JDBCOptions.parse(options))
        dialect = dialect_for(parsed.dialect)
        parts = [
            Part(
                replace(parsed, pages=spec.get("pages")),
                _Read(dialect, parsed, spec, ()).own_rows(),
            )
            for spec in specs
        ]
        try:
            known = estimate_parts(dialect, parsed, _described(options, parsed), parts)
        except JDBCError as e:  # a plan may be worse for it, but no result
            _log.info("how many rows to expect is not known: %s", e)
            return [(None, False, None)] * len(specs)
        return [(rows, False, nbytes) for rows, nbytes in known]

    # ------------------------------------------------------------------------ SupportsScan

    def plan_scan(
        self, specs: Sequence[dict[str, Any]], options: Mapping[str, str], scan: WantedScan, /
    ) -> tuple[list[dict[str, Any]], list[Any]]:  # of the predicates' own type, whatever it is
        """Keep the partitions that can hold wanted rows, and say which predicates are pushed.

        Needs neither the database nor its options, which may hold references not yet resolved.
        """
        kept = list(specs)
        if not kept or kept[0].get("pushDownPredicate") is False:
            return kept, []
        pushed = _pushed(dialect_for(kept[0]["dialect"]), scan)
        accepted = [predicate for predicate, _ in pushed]
        return [spec for spec in kept if _may_match(spec, accepted)], accepted

    def scan_partition(
        self, spec: Mapping[str, Any], options: Mapping[str, str], scan: WantedScan, /
    ) -> Iterator[pa.RecordBatch]:
        """Yield the wanted columns of the wanted rows of one partition."""
        read = _wanted(spec, options, scan)
        _check_snapshot(read.options)
        return read.batches(self._cancellation)

    def describe_partition(
        self, spec: Mapping[str, Any], options: Mapping[str, str], scan: WantedScan, /
    ) -> dict[str, str]:
        """Return rows, SQL, engine and why, and whence the cuts, without asking the database."""
        facts = {name: str(spec[name]) for name in ("engine", "why", "cuts") if name in spec}
        if _columns_of(scan.schema) is None:
            return facts
        try:
            read = _wanted(spec, options, scan)
            told = {"rows": read.own_rows() or "all", "sql": read.sql}
            return {name: redact(text, read.options.secrets) for name, text in told.items()} | facts
        except JDBCError:  # a reference in the options that only a worker can resolve
            return facts

    # ---------------------------------------------------- SupportsConcurrency, SupportsCancel

    def concurrency(self, options: Mapping[str, str], /) -> tuple[str, int] | None:
        """Return a name for the database and its user, and how many connections they may have.

        A read has one at a time. None for a database that is a file, unless a limit was given.
        """
        parsed = JDBCOptions.parse(options)
        limit = parsed.max_connections
        if limit is None:
            return None
        if parsed.snapshot:
            limit -= 1  # one connection keeps the snapshot open
        url = parsed.url
        place = (url.dialect, url.hosts, url.socket, url.path, url.database, url.user)
        return hashlib.sha256(repr(place).encode()).hexdigest(), limit

    def wants_snapshot(self, options: Mapping[str, str], /) -> bool:
        """Whether all partitions of a computation are to read one state of the database."""
        parsed = JDBCOptions.parse(options)
        dialect = dialect_for(parsed.dialect)
        if parsed.snapshot and dialect.open_snapshot is None:
            raise OptionError(
                "snapshot",
                f"cannot be had from {dialect.label}",
                "leave it out; each partition reads what is committed when it runs",
            )
        if parsed.snapshot and parsed.max_connections == 1:
            raise OptionError(
                "maxConnections",
                "is 1, and a snapshot keeps one connection open beside those that read",
                "write 2 or more, or leave out snapshot",
            )
        return parsed.snapshot

    def open_snapshot(self, options: Mapping[str, str], /) -> Any:
        """Open a snapshot on a connection of its own, until it is closed."""
        parsed = JDBCOptions.parse(options)
        dialect = dialect_for(parsed.dialect)
        if dialect.open_snapshot is None:
            raise EngineError(f"{dialect.label} has no snapshots to share")
        return dialect.open_snapshot(parsed)

    def cancel(self) -> None:
        """End the queries that run on this instance, from another thread; returns when they have.

        Connects to the database, beside ``maxConnections``, where its driver cannot end one.
        """
        self._cancellation.cancel()


# ---------------------------------------------------------------------------------- schema

_FRESH_SECONDS = 60.0
_described_before: dict[str, tuple[float, list[Column]]] = {}


def _described(
    raw: Mapping[str, str], options: JDBCOptions, *, fresh: bool = False
) -> list[Column]:
    """Return the columns, as ``customSchema`` has them.

    Remembered for a minute, so that a plan needs no second connection after its schema, nor each
    partition of a read without one.
    """
    # A digest, so that no password lies about in a long-lived process.
    key = hashlib.sha256(repr(sorted(raw.items())).encode()).hexdigest()
    now = time.monotonic()
    if not fresh and key in _described_before and now - _described_before[key][0] < _FRESH_SECONDS:
        return _described_before[key][1]
    columns = list(dialect_for(options.dialect).describe(options, describe_sql(options)))
    _check_names(columns)
    names = [column.name for column in columns]
    if options.custom_schema:
        types = parse_custom_schema(options.custom_schema, names)
        columns = [replace(c, arrow_type=types.get(c.name, c.arrow_type)) for c in columns]
    for stale in [k for k, (when, _) in _described_before.items() if now - when > _FRESH_SECONDS]:
        _described_before.pop(stale, None)
    _described_before[key] = (now, columns)
    return columns


def _check_names(columns: Sequence[Column]) -> None:
    for name, times in Counter(column.name for column in columns).items():
        if times > 1:
            raise ColumnTypeError(
                name,
                f"comes {times} times in the result",
                "give each a name of its own in the query, e.g. SELECT a.id AS a_id, b.id AS b_id",
            )


def _schema(columns: Sequence[Column]) -> pa.Schema:
    return pa.schema(
        [
            pa.field(c.name, c.arrow_type, c.nullable, {_TYPE: c.database_type.encode()})
            for c in columns
        ]
    )


def _columns_of(schema: pa.Schema) -> list[Column] | None:
    """Return the columns that `_schema` wrote; None for a schema that is not ours."""
    columns = []
    for field in schema:
        if _TYPE not in (field.metadata or {}):
            return None
        database_type = field.metadata[_TYPE].decode()
        columns.append(Column(field.name, database_type, field.type, field.nullable))
    return columns


# ------------------------------------------------------------------------------------ plan


def _pieces(
    dialect: Dialect, options: JDBCOptions, columns: Sequence[Column]
) -> list[dict[str, Any]]:
    """Return what each spec says of its rows."""
    if options.predicates:
        return [{"predicate": i} for i in range(len(options.predicates))]
    if options.partitioning == "physical":
        places, source = plan_pages(dialect, options, columns)
        return [{"pages": place, "cuts": source} for place in places]
    plan = plan_divisions if options.divisions else plan_cuts
    cuts = plan(dialect, options, columns)
    told = {"cuts": cuts.source} if cuts.source else {}
    if cuts.key is None:
        return [told]
    key = {"column": cuts.key.name, "type": cuts.key.database_type}
    return [{"range": {**key, **piece.to_json()}, **told} for piece in cuts.ranges]


def _may_match(spec: Mapping[str, Any], predicates: Sequence[Condition]) -> bool:
    cut = spec.get("range")
    if cut is None:
        return True
    piece = Range.from_json(cut)
    on_key = (p for p in predicates if p.column == cut["column"])
    return all(piece.may_match(p.op, p.value) for p in on_key)


def _pushed(dialect: Dialect, scan: WantedScan) -> list[tuple[Condition, str]]:
    """Return the predicates that the database applies just as Arrow would, each with its SQL."""
    by_name = {column.name: column for column in _columns_of(scan.schema) or ()}
    found = []
    for predicate in scan.predicates:
        if (column := by_name.get(predicate.column)) is not None:
            sql = predicate_condition(dialect, column, predicate)
            if sql is not None:
                found.append((predicate, sql))
    return found


# ------------------------------------------------------------------------------------ read


@dataclass(frozen=True)
class _Read:
    """One partition, the columns wanted of it, and further conditions on its rows."""

    dialect: Dialect
    options: JDBCOptions
    spec: Mapping[str, Any]
    wanted: Sequence[Column]
    conditions: Sequence[str] = ()
    limit: int | None = None

    @property
    def sql(self) -> str:
        """The SELECT; of the number of rows if no column is wanted."""
        conditions = [self.own_rows(), *self.conditions]
        if not self.wanted:
            return count_sql(self.options, self.dialect, conditions, self.limit)
        return select_sql(self.options, self.dialect, self._reads(), conditions, self.limit)

    def batches(self, cancellation: Cancellation) -> Iterator[pa.RecordBatch]:
        """Yield the rows, every value as its column's one Arrow type or an error."""
        engine = engine_for(self.spec["engine"])
        if not self.wanted:
            raw = engine.read(self.dialect, self.options, self.sql, _COUNT, cancellation)
            yield from _rows_without_columns(raw)
            return
        reads, schema, most = self._reads(), _schema(self.wanted), self.options.fetchsize
        for batch in engine.read(self.dialect, self.options, self.sql, reads, cancellation):
            for start in range(0, batch.num_rows, most):
                arrays = batch.slice(start, most).columns
                exact = [read.convert(a) for a, (_, read) in zip(arrays, reads, strict=True)]
                yield pa.RecordBatch.from_arrays(exact, schema=schema)

    def own_rows(self) -> str:
        """Return the condition for the rows of this partition; empty for all rows."""
        if "predicate" in self.spec:
            # On lines of its own, as it may end in a comment.
            return f"(\n{self.options.predicates[self.spec['predicate']]}\n)"
        if "pages" in self.spec and self.dialect.page_condition is not None:
            return self.dialect.page_condition(self.spec["pages"])
        if "range" not in self.spec:
            return ""
        cut = self.spec["range"]
        # The schema of a scan may lack the partition column, and ``customSchema`` does not matter.
        column = Column(cut["column"], cut["type"], pa.null())
        return range_sql(self.dialect, column, Range.from_json(cut))

    def _reads(self) -> list[tuple[Column, ColumnRead]]:
        reads = []
        for column in self.wanted:
            read = self.dialect.read_column(column, self.spec["engine"])
            if read is None:
                raise ColumnTypeError(
                    column.name,
                    f"({column.database_type}) cannot be read exactly by {self.spec['engine']}",
                    "plan again: the table has changed since the partitions were planned",
                )
            reads.append((column, read))
        return reads


@dataclass(frozen=True)
class _Index:
    """A column that becomes the index, as the database tells of it."""

    dialect: Dialect
    options: JDBCOptions
    column: Column
    engine: str
    cancellation: Cancellation

    def divisions(self, ranges: Sequence[Range]) -> list[Any] | None:
        """Return the values where ascending ranges meet, with both ends; None if unknown."""
        _, kind = self._key
        own = self.column.arrow_type
        # customSchema makes other values, in another order; decimals of whole numbers keep it.
        if own != kind and not (pa.types.is_integer(kind) and pa.types.is_decimal(own)):
            self._refuse_given_divisions()
            return None
        self._refuse(null_test(self.dialect, self.column), "NULLs")
        inner = [self._value(bound_value(piece.lower, kind)) for piece in ranges[1:]]
        if self.options.divisions:
            positions = division_positions(self.options, kind)
            low, high = (bound_value(end, kind) for end in (positions[0], positions[-1]))
            self._refuse(self._outside(low, high), f"values outside of {low} to {high}")
            return [self._value(low), *inner, self._value(high)]
        low, high = self._edge(""), self._edge(" DESC")
        if low is None:
            return None  # there are no rows
        if high != high:
            raise self._error("NaN")
        return [min([low, *inner[:1]]), *inner, max([*inner[-1:], high])]

    def _value(self, value: Any) -> Any:
        """Return a value as the column's are; pandas compares no int beyond 64 bits."""
        return Decimal(value) if pa.types.is_decimal(self.column.arrow_type) else value

    @property
    def _key(self) -> tuple[str, pa.DataType]:
        return self.dialect.partition_key(self.column)

    def _outside(self, low: Any, high: Any) -> str:
        operand, kind = self._key
        below, above = (self.dialect.literal(value, kind) for value in (low, high))
        return f"({operand} < {below} OR {operand} > {above})"

    def _refuse(self, condition: str, what: str) -> None:
        """Raise if a condition holds for any row, saying for how many."""
        spec = {"engine": self.engine}
        read = _Read(self.dialect, self.options, spec, [], [condition])
        if count := sum(batch.num_rows for batch in read.batches(self.cancellation)):
            raise self._error(f"{count:,} {what}")

    def _error(self, what: str) -> DivisionError:
        return DivisionError(
            self.column.name,
            f"holds {what}, with no place in an index that has divisions",
            "read a query with a condition that leaves such rows out; or do without the index,"
            " which reads all rows",
        )

    def _refuse_given_divisions(self) -> None:
        if self.options.divisions:
            raise OptionError(
                "divisions",
                f"are of {self.column.name!r}, which customSchema reads as another type",
                "leave it out of customSchema",
            )

    def _edge(self, direction: str) -> Any:
        """Return the first value in an order, read as every other value of the column is."""
        operand, _ = self._key
        present = f"NOT ({null_test(self.dialect, self.column)})"
        tail = f"WHERE {present} ORDER BY {operand}{direction}"
        name = self.dialect.quote(self.column.name)
        query = first_sql(self.options, self.dialect, name, tail)
        options = replace(self.options, dbtable=None, query=query, prepare_query=None, hint=None)
        read = _Read(self.dialect, options, {"engine": self.engine}, [self.column])
        batches = list(read.batches(self.cancellation))
        return pa.Table.from_batches(batches).column(0)[0].as_py() if batches else None


def _check_snapshot(options: JDBCOptions) -> None:
    if options.snapshot and options.imported_snapshot is None:
        raise EngineError(
            "the option 'snapshot' needs somebody who keeps the snapshot open, as "
            "dd.read_python_source does; leave it out here"
        )


def _wanted(spec: Mapping[str, Any], raw: Mapping[str, str], scan: WantedScan) -> _Read:
    options = JDBCOptions.parse(raw)
    dialect = dialect_for(options.dialect)
    columns = _columns_of(scan.schema)
    if columns is None:
        columns = _described(raw, options)
    # Of a computation's scan only: a scan that merely describes has none.
    snapshot = getattr(scan, "snapshot", None)
    options = replace(options, imported_snapshot=snapshot, pages=spec.get("pages"))
    by_name = {column.name: column for column in columns}
    pushed = _pushed(dialect, scan) if options.push_down_predicate else []
    whole = len(pushed) == len(scan.predicates) and options.push_down_limit
    return _Read(
        dialect,
        options,
        spec,
        [_column(by_name, name) for name in scan.columns],
        [sql for _, sql in pushed],
        scan.limit if whole else None,
    )


def _column(by_name: Mapping[str, Column], name: str) -> Column:
    if name not in by_name:
        raise ColumnTypeError(
            name,
            "is not in the table",
            f"the columns are {list(by_name)}, as the database has them",
        )
    return by_name[name]


_COUNT = [
    (
        Column("count", "int8", pa.int64(), nullable=False),
        # As a decimal, which some drivers make of any whole number.
        ColumnRead("count(*)", lambda array: array, pa.decimal128(38, 0)),
    )
]


def _rows_without_columns(counts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows = sum(int(n) for batch in counts for n in batch.column(0).to_pylist())
    # An array of nulls takes no memory; a batch made of no arrays would have no rows.
    yield pa.RecordBatch.from_arrays([pa.nulls(rows)], ["rows"]).select([])
