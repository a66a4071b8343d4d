"""What differs between databases: one frozen `Dialect` per database, found by its URL's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

import pyarrow as pa

from ..errors import EngineError, JDBCError, OptionError
from ..url import DIALECT_GROUP, registered

if TYPE_CHECKING:
    from ..arrow_types import TypeRow
    from ..cancellation import Cancellation
    from ..options import JDBCOptions

__all__ = [
    "SUPPORTED",
    "Ask",
    "Column",
    "ColumnRead",
    "Dialect",
    "Estimate",
    "KeyValues",
    "PagedTable",
    "Part",
    "Statistics",
    "dialect_for",
    "register_dialect",
    "type_reference",
]

Ask = Callable[..., list[tuple[Any, ...]]]
"""``ask(sql, *parameters)``: the rows of a statement, or `JDBCError`. Parameters are spelt as the
driver spells them, and a statement without any may hold such characters."""

_MODULES = {
    "postgresql": "postgresql",
    "sqlite": "sqlite",
    "mysql": "mysql",
    "mariadb": "mysql",
    "duckdb": "duckdb",
    "sqlserver": "sqlserver",
    "oracle": "oracle",
    "redshift": "redshift",
    "cockroachdb": "cockroachdb",
    "trino": "trino",
    "snowflake": "snowflake",
    "clickhouse": "clickhouse",
}
SUPPORTED = tuple(_MODULES)
"""Dialects that this version reads."""


@dataclass(frozen=True)
class Column:
    """One column of the described query.

    Attributes
    ----------
    name
        As the database spells it.
    database_type
        The database's own name with its modifiers, e.g. ``numeric(10,2)``, ``text``, ``int4[]``.
        Kept in the Arrow field's metadata under ``jdbc.type``, so that a worker need not ask again.
    arrow_type
        The one Arrow type that every engine delivers for this column. It is the dialect's own
        choice from ``describe``, or what ``customSchema`` put in its place.
    nullable
        Whether NULLs may come, as far as the database says.
    """

    name: str
    database_type: str
    arrow_type: pa.DataType
    nullable: bool = True


@dataclass(frozen=True)
class ColumnRead:
    """How one engine reads one column exactly.

    Attributes
    ----------
    expression
        The select-list expression, without an alias.
    convert
        From the engine's raw array to ``Column.arrow_type``; raises `ColumnValueError` for a value
        that does not fit, never changes one.
    raw_type
        The Arrow type in which the fallback engine collects the driver's Python values before
        ``convert``; a value that is not of this type is a `ColumnValueError`. The other engines
        hand ``convert`` whatever their driver made.
    """

    expression: str
    convert: Callable[[pa.Array], pa.Array]
    raw_type: pa.DataType


@dataclass(frozen=True)
class KeyValues:
    """Some values of a key, to cut it by.

    Attributes
    ----------
    weighted
        Each value with the share of rows for which it stands, in any unit; a value may come more
        than once. Integers, floats, or texts as the database prints them; None is NULL.
    source
        Where they are from, for a person: ``"sample of id: 20,000 values"``.
    """

    weighted: Sequence[tuple[Any, float]]
    source: str


class Part(NamedTuple):
    """Some rows of a relation: its options, and the SQL condition for the rows; empty for all."""

    options: JDBCOptions
    condition: str


Estimate = tuple[int | None, int | None]
"""About how many rows, and about how many bytes; each None where that is not known."""


class Statistics(Protocol):
    """What a database tells of a relation before it is read; a module that has these functions.

    Called while partitions are planned, on the client, on a session whose statements end after a
    minute. What they tell decides how even the partitions are, never which rows they hold.
    """

    def keys(self, ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> Sequence[Column]:
        """Return columns to cut by, the best first; none for a query.

        They need not be of the described ones, but a worker must be able to compare them.
        """
        ...

    def values(
        self, ask: Ask, options: JDBCOptions, column: Column, operand: str, count: int
    ) -> KeyValues:
        """Return values of a column (``operand`` is its ``partition_key``) to cut ``count`` by."""
        ...

    def size(self, ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> int:
        """Return about how many bytes the rows take in the database."""
        ...

    def estimates(
        self, ask: Ask, options: JDBCOptions, columns: Sequence[Column], parts: Sequence[Part]
    ) -> Sequence[Estimate]:
        """Return what is known at once of parts of a relation, each for itself; they may overlap.

        Called when somebody asks, after planning, on a session whose statements end after seconds.
        """
        ...


@dataclass(frozen=True)
class PagedTable:
    """A table whose rows lie on numbered pages.

    Attributes
    ----------
    sql
        What to write after FROM for its rows alone.
    pages
        How many it has; None for a table that is read as a whole.
    identity
        What ``session`` needs to see whether they are still the tables to read; JSON.
    """

    sql: str
    pages: int | None
    identity: Mapping[str, Any]


def _has_no_such_engine(options: JDBCOptions, *_: Any) -> NoReturn:
    raise EngineError(f"{options.dialect} is not read by this engine")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One database: how it quotes, which engines read it, how its columns become Arrow.

    Whoever gives what has no default has a database that the engine ``fallback`` reads, whole or in
    ranges between bounds; the rest adds engines and abilities.

    Attributes
    ----------
    name, label
        As in the URL, and as in a sentence.
    types
        What each of its types becomes in Arrow, for the documentation.
    quote
        An identifier in SQL.
    literal
        A Python value in SQL, typed by the Arrow type that it is compared with. `ValueError` for
        one that this database cannot spell.
    describe
        The columns of a SELECT, without reading rows. Connects. Names that come twice are for the
        caller to refuse.
    read_column
        How an engine (by name) reads a column as ``column.arrow_type``, also where that is not this
        dialect's own choice but ``customSchema``'s; None if this engine cannot do so exactly,
        `ColumnTypeError` if none can.
    condition
        ``(column, op, values)``: SQL that is true for just the rows for which Arrow says so, or
        None where that is not certain. ``op`` is == != < <= > >= (one value), or in, "not in" (one
        or more). No value is None. NULL gives NULL: what "not in" makes of it is the caller's.
    partition_key
        SQL for a partition column that orders all values as its bounds do, and the Arrow type of
        those bounds (the dialect's own, whatever ``customSchema`` says); `OptionError` for a column
        that cannot be cut so. A string is a type of bounds only where the SQL orders texts by their
        code points.
    engines, fastest
        Names of engines in the order of the default choice, and of ``engine=auto`` (as measured).
    count
        What counts rows, in 64 bits.
    limit
        What stands before the select list and at the end of a SELECT that gives at most ``{0}``
        rows; also after ORDER BY.
    session
        Statements that connectorx and adbc run on each new session before the query.
    in_transaction
        Whether the engines run these statements and the query in one transaction, as they must
        where a proxy may hand each transaction to another server.
    refusal
        Why an engine (by name) cannot honour the options, e.g. "connectorx does not check the
        server's name"; None if it can.
    connectorx_uri
        For `connectorx.read_sql`. Called after ``refusal`` had nothing to say.
    preflight
        Connects and disconnects with our own driver, so that a wrong password or a dead host is an
        error at once: connectorx tries for 30 s.
    adbc_database
        Makes an `adbc_driver_manager.AdbcDatabase`, which is kept for the life of the process.
    adbc_statement
        Statement options of ADBC.
    adbc_misfit
        ``(exception, options, sql, columns)``: for an ADBC driver that itself refuses a value which
        is not of its column's type, from what it raised to our error; None if that is not it.
    dbapi_rows
        ``(options, sql, cancellation)``: a context manager that gives an iterator of lists of row
        tuples from the Python driver, about ``fetchsize`` rows each; leaving it ends query and
        session, and so does ``cancellation``, from another thread.
    error
        From what a driver raised to ours: redacted, with SQLSTATE and ``transient`` where known.
    first_row
        For a database whose drivers guess a column's type from its first rows: from the reads of a
        query to a SELECT of one row with a value of each ``raw_type``. connectorx and adbc run
        ``{first_row} UNION ALL SELECT * FROM ({sql})`` and drop the first row of the result.
    arrow_batches
        ``(options, sql, cancellation)``: for a database whose Python driver has an Arrow stream, a
        context manager that gives an iterator of batches of about ``fetchsize`` rows; leaving it
        ends query and session, and so does ``cancellation``, from another thread. The engine adbc
        reads it in place of an ADBC driver.
    statistics, asking
        What is known of keys and sizes, and a session to ask it on; for a database without them,
        bounds have to be given.
    range_bound
        ``(column, literal)``: SQL for a bound, for keys that mean the same rows only as long as
        nothing else changes; fails when that has changed.
    check_key
        ``(options, operand)``: raises an `OptionError` for a ``partition_key`` whose order may
        not be that of its values in Python. Connects. Only for cuts that come from the user, as
        ``statistics`` looks for itself.
    is_null
        For a database where ``IS NULL`` is not quite Arrow's NULL: SQL for a column that is true
        where Arrow has a NULL, else false.
    is_nan
        SQL that is true for just the rows where Arrow has a NaN in a column of floats,
        ``query.NEVER`` where there can be none; None (also of a column) where that is not certain.
    cancel_tagged
        ``(options, tag)``: has the server end the statements whose text holds a tag. Connects. For
        connectorx, which cannot be interrupted.
    open_snapshot
        Open a snapshot that other sessions can read by its ``name``, until its ``close()``; None
        for a database without such.
    paged_tables, page_condition
        For a database whose rows can be read by where they lie, within a snapshot: from the options
        to the tables whose rows ``dbtable`` shows, each row in one of them; and from a spec's pages
        (``table``, ``first``, ``stop`` and the identity) to SQL for their rows. A session whose
        options have ``pages`` fails where the tables are others now.
    """

    name: str
    label: str
    types: Sequence[TypeRow]
    quote: Callable[[str], str]
    literal: Callable[[Any, pa.DataType], str]
    describe: Callable[[JDBCOptions, str], Sequence[Column]]
    read_column: Callable[[Column, str], ColumnRead | None]
    condition: Callable[[Column, str, Sequence[Any]], str | None]
    partition_key: Callable[[Column], tuple[str, pa.DataType]]
    error: Callable[[BaseException, JDBCOptions], JDBCError]
    dbapi_rows: Callable[
        [JDBCOptions, str, Cancellation], AbstractContextManager[Iterator[Sequence[Any]]]
    ] = _has_no_such_engine
    engines: tuple[str, ...] = ("fallback",)
    fastest: tuple[str, ...] = ("fallback",)
    count: str = "count(*)"
    limit: tuple[str, str] = ("", "LIMIT {0}")
    session: Callable[[JDBCOptions], Sequence[str]] = lambda options: ()
    refusal: Callable[[JDBCOptions, str], str | None] = lambda options, engine: None
    connectorx_uri: Callable[[JDBCOptions], str] = _has_no_such_engine
    preflight: Callable[[JDBCOptions], None] = _has_no_such_engine
    adbc_database: Callable[[JDBCOptions], Any] = _has_no_such_engine
    adbc_statement: Callable[[JDBCOptions], Mapping[str, str]] = lambda options: {}
    adbc_misfit: Callable[[BaseException, JDBCOptions, str, Sequence[Column]], JDBCError | None] = (
        lambda *_: None
    )
    first_row: Callable[[Sequence[ColumnRead]], str] | None = None
    arrow_batches: (
        Callable[[JDBCOptions, str, Cancellation], AbstractContextManager[Iterator[pa.RecordBatch]]]
        | None
    ) = None
    statistics: Statistics | None = None
    asking: Callable[[JDBCOptions], AbstractContextManager[Ask]] | None = None
    range_bound: Callable[[Column, str], str] | None = None
    check_key: Callable[[JDBCOptions, str], None] | None = None
    is_null: Callable[[Column], str] | None = None
    is_nan: Callable[[Column], str | None] | None = None
    in_transaction: bool = False
    cancel_tagged: Callable[[JDBCOptions, str], None] | None = None
    open_snapshot: Callable[[JDBCOptions], Any] | None = None
    paged_tables: Callable[[Ask, JDBCOptions], Sequence[PagedTable]] | None = None
    page_condition: Callable[[Mapping[str, Any]], str] | None = None


def dialect_for(name: str) -> Dialect:
    """Find a dialect by its name in the URL, importing what it needs only now.

    Raises
    ------
    OptionError
        If this version cannot read such a database, or several packages say that they can.
    """
    dialect: Dialect
    if name in _registered:
        return _registered[name]
    if name in _MODULES:
        dialect = import_module(f".{_MODULES[name]}", __name__).DIALECT
        return dialect
    announced = list(entry_points(group=DIALECT_GROUP, name=name))
    if len({entry.value for entry in announced}) > 1:
        packages = sorted({f"{e.dist.name} {e.dist.version}" for e in announced if e.dist})
        raise OptionError(
            "url",
            f"is of {name!r}, a database that {' and '.join(packages)} announce",
            "uninstall all but one",
        )
    if announced:
        dialect = announced[0].load()
        return dialect
    raise OptionError(
        "url",
        f"is of {name!r}, which this version does not read",
        f"databases that it reads: {', '.join(SUPPORTED)}",
    )


_registered: dict[str, Dialect] = {}


def register_dialect(dialect: Dialect) -> None:
    """Read URLs that begin with ``jdbc:`` and the dialect's name by it, in this process.

    For other processes, such as the workers of a cluster, a package names it as an entry point of
    the group ``jdbc.dialects``.

    Raises
    ------
    ValueError
        If the name is that of a database which is read already.
    """
    if dialect.name in _MODULES or not dialect.name.isidentifier():
        raise ValueError(f"a dialect cannot be called {dialect.name!r}")
    _registered[dialect.name] = dialect
    registered.add(dialect.name)


def type_reference() -> dict[str, Sequence[TypeRow]]:
    """Return the tables of types, by dialect, as the documentation prints them."""
    dialects = {name: dialect_for(name) for name in SUPPORTED}
    return {name: one.types for name, one in dialects.items() if one.name == name}
