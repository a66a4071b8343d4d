"""Tables under names, and queries over them: what a person works with."""

from __future__ import annotations

import functools
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyarrow as pa

from ..dask_compat import thread_count
from ..errors import OptionError, PythonDataSourceError
from ..read import read_python_source
from . import ddl, files, graph, objects, parquet
from .catalog import quoted
from .errors import (
    SQLAmbiguousNameError,
    SQLNameError,
    SQLQueryError,
    SQLStatementError,
    nearest,
    place,
    query_error,
)
from .explain import Explanation, explanation
from .functions import PythonFunction
from .identifiers import fold, spell, tables_of
from .inputs import FrameTable, LocalTable, SourceTable
from .plan import DistributedPlan, Settings, TableDescription
from .planner import Planner

__all__ = ["Explanation", "SQLContext", "sql"]

_BROADCAST = ("off", "small", "always")
_KINDS = {LocalTable: "local", FrameTable: "frame", SourceTable: "source"}
#: What SQL calls the arguments of `SQLContext.register_parquet`.
_CLAUSES = {"path": "LOCATION", "partitioned_by": "PARTITIONED BY", "storage_options": "OPTIONS"}
_TEXTS_KEPT = 256
#: How much of the largest table an exchange's partition is to hold.

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _alone(
    method: Callable[Concatenate[SQLContext, _P], _R],
) -> Callable[Concatenate[SQLContext, _P], _R]:
    """Let threads share a context: a query sees all of a registration, or nothing of it."""

    @functools.wraps(method)
    def alone(self: SQLContext, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self._lock:
            return method(self, *args, **kwargs)

    return alone


class SQLContext:
    """Tables, views and functions under names, and SQL over them.

    Queries are planned by DataFusion and run as Dask tasks, in which DataFusion's own operators
    work on Arrow.

    Parameters
    ----------
    tables
        What to `register`, by name.
    target_partitions
        How many partitions an exchange of rows makes. By default enough for about 256 MB of the
        largest input of the query in each, as far as sizes are known, and at least one per thread
        of the cluster, or of this process; none, and one task, where Parquet files alone are read
        and little of them.
    broadcast
        ``"small"`` sends a whole side of a join to all tasks if it has at most ``broadcast_bytes``,
        ``"always"`` wherever that is right, ``"off"`` never.
    broadcast_bytes
        As Arrow data.

    Raises
    ------
    OptionError
        If an argument is none of these.

    Examples
    --------
    >>> import dask_sail, pyarrow as pa
    >>> ctx = dask_sail.SQLContext({"orders": pa.table({"Country": ["DE", "FR"], "n": [2, 3]})})
    >>> ctx.to_arrow("SELECT COUNTRY, n + 1 AS more FROM orders ORDER BY n").to_pydict()
    {'Country': ['DE', 'FR'], 'more': [3, 4]}
    """

    def __init__(
        self,
        tables: Mapping[str, Any] | None = None,
        *,
        target_partitions: int | None = None,
        broadcast: str = "small",
        broadcast_bytes: int = 32 * 2**20,
    ) -> None:
        if target_partitions is not None:
            _check_count("target_partitions", target_partitions, 1)
        if broadcast not in _BROADCAST:
            raise OptionError(
                "broadcast", f"must be one of {_BROADCAST}, got {broadcast!r}", "or leave it out"
            )
        _check_count("broadcast_bytes", broadcast_bytes, 0)
        self._lock = threading.RLock()
        self._target_partitions = target_partitions
        self._broadcast: Any = broadcast
        self._broadcast_bytes = broadcast_bytes
        self._inputs: dict[str, Any] = {}
        self._parquet: dict[str, TableDescription] = {}
        self._views: dict[str, str] = {}
        self._functions: dict[str, PythonFunction] = {}
        # What follows from the registrations, made when it is first needed.
        self._described: dict[str, TableDescription] | None = None
        self._columns: dict[str, list[str]] = {}
        self._broken: dict[str, str] = {}
        self._planned: tuple[Settings, Planner] | None = None
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._frames: OrderedDict[str, tuple[DistributedPlan, Any]] = OrderedDict()
        for name, data in _mapping("tables", tables).items():
            self.register(name, data)

    def __repr__(self) -> str:
        return f"SQLContext({', '.join(self.tables()) or 'no tables'})"

    # What there is.

    @_alone
    def register(self, name: str, data: Any) -> None:
        """Give data a name, which may have been another table's before.

        Parameters
        ----------
        name
            Found ignoring case, unless quoted in a query.
        data
            A Dask DataFrame, among them those of `read_python_source` and of other queries; a
            pandas frame; a `pyarrow.Table`. An index is no column of the table.

        Raises
        ------
        OptionError
            If it is something else.
        """
        _check_name(name)
        if isinstance(data, pa.RecordBatchReader):
            raise OptionError(
                f"tables[{name!r}]",
                "must be readable more than once, got a pyarrow.RecordBatchReader",
                "write reader.read_all()",
            )
        given = graph.table_input(data, f"table {name!r}")
        self._forget(name)
        self._inputs[name] = given

    @_alone
    def register_parquet(
        self,
        name: str,
        path: str | os.PathLike[str] | Sequence[Any],
        *,
        partitioned_by: str | Sequence[str] = (),
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Give Parquet files a name; DataFusion reads them where the queries run.

        Parameters
        ----------
        name
            Found ignoring case, unless quoted in a query.
        path
            A file, a folder, a pattern (``"lake/*.parquet"``), or a list of these, that all workers
            can reach. Folders named ``key=value`` add the columns that they name. Or objects and
            folders of ``s3://``, ``gs://`` or ``az://``, without patterns.
        partitioned_by
            Such columns that there must be.
        storage_options
            Of the object store, such as ``aws_region``; ``docs/reference/sql.md`` lists them. A
            reference, ``{env:NAME}``, keeps a secret out of the graph.

        Raises
        ------
        OptionError
            If there are no such files, if they cannot be read, or if an option is wrong.
        """
        _check_name(name)
        table = parquet.described(
            name, path, partitioned_by=partitioned_by, storage_options=storage_options
        )
        self._forget(name)
        self._parquet[name] = table

    @_alone
    def register_udf(
        self,
        function: Callable[..., pa.Array],
        name: str | None = None,
        *,
        input_types: Sequence[pa.DataType],
        return_type: pa.DataType,
        volatility: str = "immutable",
    ) -> None:
        """Let queries call a function of Arrow arrays that returns one as long as they are.

        Parameters
        ----------
        name
            The function's own by default; found ignoring case.
        input_types, return_type
            Arrow types. Arguments are cast to them.
        volatility
            ``"immutable"``, ``"stable"`` within a query, or ``"volatile"``.
        """
        name = _function_name(function, name, volatility)
        types = _checked_types("input_types", input_types)
        [returned] = _checked_types("return_type", [return_type])
        self._functions[name] = PythonFunction.scalar(name, function, types, returned, volatility)
        self._forget_plans()

    @_alone
    def register_udaf(
        self,
        accumulator: Callable[[], Any],
        name: str | None = None,
        *,
        input_types: Sequence[pa.DataType],
        return_type: pa.DataType,
        state_types: Sequence[pa.DataType],
        volatility: str = "immutable",
    ) -> None:
        """Let queries call an aggregate, made of `datafusion.user_defined.Accumulator` objects.

        Parameters
        ----------
        accumulator
            A class, or what makes such an object without arguments. Each task aggregates its rows
            in one, and states of several are merged.
        name
            The class's own by default; found ignoring case.
        input_types, return_type, state_types
            Arrow types, the last of what ``state()`` returns.
        volatility
            ``"immutable"``, ``"stable"`` within a query, or ``"volatile"``.
        """
        name = _function_name(accumulator, name, volatility)
        types = _checked_types("input_types", input_types)
        states = _checked_types("state_types", state_types)
        [returned] = _checked_types("return_type", [return_type])
        self._functions[name] = PythonFunction.aggregate(
            name, accumulator, types, returned, states, volatility
        )
        self._forget_plans()

    @_alone
    def unregister(self, name: str) -> None:
        """Forget a table or view, by its exact name.

        Raises
        ------
        SQLNameError
            If there is none.
        """
        if name not in self.tables():
            raise SQLNameError(f"there is no table {name!r}; {nearest(name, self.tables())}")
        self._forget(name)

    @_alone
    def tables(self) -> list[str]:
        """Return the names of tables and views."""
        return sorted([*self._inputs, *self._parquet, *self._views])

    # Queries.

    @_alone
    def sql(self, query: str, /) -> Any:
        """Plan a statement; nothing runs until the result is asked for.

        Parameters
        ----------
        query
            One statement: a query, or what ``docs/reference/sql.md`` lists. Names match ignoring
            case unless they are quoted.

        Returns
        -------
        dask.dataframe.DataFrame
            Lazy, of ArrowDtype columns. With ORDER BY it has one partition. Statements that are no
            query are done at once, and return what they say as such a frame.

        Raises
        ------
        SQLQueryError
            If the statement is wrong; its kinds say how, and where.
        """
        statement = ddl.parse_statement(_text(query))
        if isinstance(statement, ddl.Query):
            return self._frame(self._plan(statement.sql))
        return graph.query_frame(*_constant(self._done(statement, query)), "sql")

    def to_arrow(self, query: str, /) -> pa.Table:
        """Run a statement and return its result, where columns may share a name."""
        statement = ddl.parse_statement(_text(query))
        if not isinstance(statement, ddl.Query):
            return self._done(statement, query)
        return self._query_tables(statement.sql).compute()

    def to_batches(self, query: str, /) -> Iterator[pa.RecordBatch]:
        """Run a statement and yield its result's batches, holding few of them at a time."""
        statement = ddl.parse_statement(_text(query))
        if not isinstance(statement, ddl.Query):
            return iter(self._done(statement, query).to_batches())
        batches: Iterator[pa.RecordBatch] = self._query_tables(statement.sql).batches()
        return batches

    @_alone
    def _query_tables(self, sql: str) -> Any:
        return graph.QueryTables(self._plan(sql), self._inputs)

    def explain(self, query: str, /, *, analyze: bool = False) -> Explanation:
        """Say how a query runs: its stages, what moves between them, what is asked of sources.

        Parameters
        ----------
        analyze
            Whether to run it as well, and tell the rows, bytes and seconds of each stage.

        Returns
        -------
        Explanation
            Prints as text; a notebook shows it drawn.
        """
        statement = ddl.parse_statement(_text(query))
        if isinstance(statement, ddl.Explain):
            analyze = analyze or statement.analyze
        if not isinstance(statement, ddl.Query | ddl.Explain):
            raise SQLStatementError("only a query can be explained")
        return self._explained(statement.sql, analyze, query)

    def _explained(self, sql: str, analyze: bool, whole: str) -> Explanation:
        with self._lock:
            plan, inputs = self._plan(sql, whole), dict(self._inputs)
            described = self._descriptions()
        figures = graph.analyze(plan, inputs) if analyze else None
        return explanation(plan, described, inputs, figures)

    # Planning.

    def _frame(self, plan: DistributedPlan) -> Any:
        """Return a frame of its own for each call, of an expression that is made once per plan."""
        known = self._frames.get(plan.sql)
        if known is None or known[0] is not plan:
            known = self._frames[plan.sql] = plan, graph.query_frame(plan, self._inputs, "sql")
            if len(self._frames) > _TEXTS_KEPT:
                self._frames.popitem(last=False)
        return known[1].copy()

    def _names(self) -> dict[str, list[str]]:
        """Columns by table, also of views."""
        self._planner()
        return self._columns

    def _descriptions(self) -> dict[str, TableDescription]:
        if self._described is None:
            given = {name: one.description(name) for name, one in self._inputs.items()}
            self._described = {**given, **self._parquet}
        return self._described

    def _planner(self) -> Planner:
        settings = Settings(
            target_partitions=self._target_partitions,
            threads=thread_count(),
            broadcast=self._broadcast,
            broadcast_bytes=self._broadcast_bytes,
        )
        if self._planned is None or self._planned[0] != settings:
            self._planned = settings, self._new_planner(settings)
        return self._planned[1]

    def _new_planner(self, settings: Settings) -> Planner:
        """Make a planner that knows all views which still are queries over what there is."""
        tables, functions = self._descriptions(), list(self._functions.values())
        self._columns = {name: list(one.schema.names) for name, one in tables.items()}
        self._broken = {}
        planner = Planner(tables, {}, functions, settings)
        for name, text in self._ordered_views().items():
            try:
                # Anew, since a table may have come that spells its columns differently.
                spelt = self._spelt_now(text)
                columns = self._checked(planner.schema, spelt, text).names
                self._checked(functools.partial(planner.add_view, name), spelt, text)
            except SQLQueryError as error:
                self._broken[name] = str(error.args[0])
                continue
            self._columns[name] = list(columns)
        return planner

    def _ordered_views(self) -> dict[str, str]:
        """Views in an order in which each comes after those that it reads."""
        ordered: dict[str, str] = {}

        def add(name: str, around: tuple[str, ...] = ()) -> None:
            if name in around:
                path = " -> ".join((*around, name))
                raise SQLStatementError(f"view {name!r} reads itself: {path}")
            if name not in ordered:
                text = self._views[name]
                for inner in tables_of(text, (one for one in self._views if one != name)):
                    add(inner, (*around, name))
                ordered[name] = text

        for name in self._views:
            add(name)
        return ordered

    def _plan(self, sql: str, whole: str = "") -> DistributedPlan:
        """Plan a query; ``whole`` is the statement around it, if it is not all of that."""
        self._look_at_files()
        plan: DistributedPlan = self._checked(self._planner().plan, self._spelt(sql), whole or sql)
        return plan

    def _spelt(self, sql: str) -> str:
        if sql not in self._texts:
            self._planner()
            self._texts[sql] = self._spelt_now(sql)
            if len(self._texts) > _TEXTS_KEPT:
                self._texts.popitem(last=False)
        return self._texts[sql]

    def _spelt_now(self, sql: str) -> str:
        for name in tables_of(sql, self._broken):
            raise SQLStatementError(f"view {name!r} is no query any more: {self._broken[name]}")
        return spell(sql, self._columns)

    def _checked(self, ask: Callable[[str], Any], spelt: str, sql: str) -> Any:
        """Ask the planner, and tell what is wrong with a query in a person's words."""
        failure: Exception
        try:
            return ask(spelt)
        except PythonDataSourceError:
            raise
        except Exception as error:  # noqa: BLE001 - DataFusion raises bare exceptions
            stores = (store for table in self._parquet.values() for store in table.stores)
            failure = RuntimeError(objects.told(str(error), stores))
        raise query_error(failure, sql, self._columns)

    def _look_at_files(self) -> None:
        """Register Parquet files anew if any was added, removed or written since."""
        for name, table in list(self._parquet.items()):
            if not _is_as_it_was(table):
                options = dict(table.stores[0].options) if table.stores else None
                self.register_parquet(name, table.parquet, storage_options=options)

    def _forget(self, name: str) -> None:
        self._inputs.pop(name, None)
        self._parquet.pop(name, None)
        self._views.pop(name, None)
        self._forget_plans()

    def _forget_plans(self) -> None:
        self._described = self._planned = None
        self._texts.clear()
        self._frames.clear()

    # Statements that are no query.

    @_alone
    def _done(self, statement: ddl.Statement, sql: str) -> pa.Table:
        self._look_at_files()
        match statement:
            case ddl.Explain():
                text = str(self._explained(statement.sql, statement.analyze, sql))
                return pa.table({"plan": text.split("\n")})
            case ddl.CreateTable():
                return self._create_table(statement, sql)
            case ddl.CreateView():
                return self._create_view(statement, sql)
            case ddl.Drop():
                return self._drop(statement, sql)
            case ddl.Describe():
                return self._describe(statement, sql)
        return self._show_tables()

    def _is_free(self, name: ddl.Name, replace: bool, if_not_exists: bool, sql: str) -> bool:
        """Whether a name is to be given to something; an error if it must not be."""
        taken = [one for one in self.tables() if fold(one) == fold(name.text)]
        if not taken or (replace and taken == [name.text]):
            return True
        if if_not_exists:
            return False
        fix = "write OR REPLACE, or IF NOT EXISTS"
        if replace:
            fix = f"write its name as it is, {quoted(taken[0])}, or DROP it before"
        raise SQLStatementError(
            f"there is a table {taken[0]!r} already; {fix}", *_place_only(sql, name.start)
        )

    def _found(self, name: ddl.Name, sql: str) -> str | None:
        """The table or view that a statement means, or None."""
        same = [one for one in self.tables() if fold(one) == fold(name.text)]
        if name.quoted:
            same = [one for one in same if one == name.text]
        if len(same) > 1:
            choices = " or ".join(map(quoted, same))
            raise SQLAmbiguousNameError(
                f"{name.text!r} may mean {choices}; write the one that is meant, in double quotes",
                *place(sql, name.start),
            )
        return same[0] if same else None

    def _existing(self, name: ddl.Name, sql: str) -> str:
        found = self._found(name, sql)
        if found is None:
            raise SQLNameError(
                f"there is no table {name.text!r}; {nearest(name.text, self.tables())}",
                *place(sql, name.start),
            )
        return found

    def _create_table(self, statement: ddl.CreateTable, sql: str) -> pa.Table:
        name = statement.name
        if not self._is_free(name, statement.replace, statement.if_not_exists, sql):
            return _said(f"table {name.text} was there already")
        failure: PythonDataSourceError
        try:
            self._register_external(statement, sql)
            return _said(f"table {name.text} created")
        except PythonDataSourceError as error:
            failure = error
        raise _without_values(failure, statement, sql)

    def _register_external(self, statement: ddl.CreateTable, sql: str) -> None:
        name = statement.name
        if statement.stored_as == "parquet":
            self._register_external_parquet(statement, sql)
            return
        if statement.location is not None or statement.partitioned_by:
            clause = "PARTITIONED BY" if statement.location is None else "LOCATION"
            raise SQLStatementError(
                f"{clause} is for STORED AS PARQUET; say it in the OPTIONS of the source",
                *_place_only(sql, name.start),
            )
        options = dict(statement.options)
        source: str | None = statement.stored_as
        module = cls = None
        if source == "python":
            source = None
            spelt = {key.lower(): key for key in options}
            if not {"python_module", "python_class"} <= spelt.keys():
                raise SQLStatementError(
                    "STORED AS PYTHON needs the options 'python_module' and 'python_class'",
                    *_place_only(sql, name.start),
                )
            module = options.pop(spelt["python_module"])
            cls = options.pop(spelt["python_class"])
        frame = read_python_source(
            source,
            options=options,
            schema=statement.schema,
            python_module=module,
            python_class=cls,
        )
        self.register(name.text, frame)

    def _register_external_parquet(self, statement: ddl.CreateTable, sql: str) -> None:
        at = _place_only(sql, statement.name.start)
        if statement.location is None:
            raise SQLStatementError("STORED AS PARQUET needs a LOCATION", *at)
        if statement.schema is not None:
            raise SQLStatementError("Parquet files bring their columns; leave them out", *at)
        failure: OptionError
        try:
            self.register_parquet(
                statement.name.text,
                statement.location,
                partitioned_by=statement.partitioned_by,
                storage_options=statement.options,
            )
        except OptionError as error:
            failure = error
        else:
            return
        option, problem, fix = failure.args
        raise OptionError(_CLAUSES.get(option, option), problem, fix)

    def _create_view(self, statement: ddl.CreateView, sql: str) -> pa.Table:
        name = statement.name
        if not self._is_free(name, statement.replace, statement.if_not_exists, sql):
            return _said(f"view {name.text} was there already")
        spelt = self._spelt(statement.sql)
        columns = self._checked(self._planner().schema, spelt, sql).names
        replaced = name.text in self.tables()
        if not replaced and not self._broken:
            # Nothing reads the name, so that what is planned stays as it is.
            self._checked(functools.partial(self._planner().add_view, name.text), spelt, sql)
            self._views[name.text] = statement.sql.strip()
            self._columns[name.text] = list(columns)
            return _said(f"view {name.text} created")
        before = dict(self._inputs), dict(self._parquet), dict(self._views)
        self._forget(name.text)
        failure: SQLQueryError
        try:
            if replaced:
                self._check_reads_others(name.text, statement.sql, sql)
            self._views[name.text] = statement.sql.strip()
            self._ordered_views()
            self._forget_plans()
            return _said(f"view {name.text} created")
        except SQLQueryError as error:
            failure = error
        self._inputs, self._parquet, self._views = before
        self._forget_plans()
        raise failure

    def _check_reads_others(self, name: str, query: str, sql: str) -> None:
        """See that a query over all there was is one without what it is to replace as well."""
        self._views[name] = query
        self._ordered_views()  # tells the way round
        del self._views[name]
        try:
            self._checked(self._planner().schema, self._spelt(query), sql)
        except SQLQueryError:
            failed = True
        else:
            failed = False
        if failed:
            raise SQLStatementError(
                f"view {name!r} reads itself; give it a name of its own, or its query in place of "
                "its name"
            )

    def _drop(self, statement: ddl.Drop, sql: str) -> pa.Table:
        kind = "view" if statement.view else "table"
        found = self._found(statement.name, sql)
        if found is None and statement.if_exists:
            return _said(f"there was no {kind} {statement.name.text}")
        found = self._existing(statement.name, sql)
        if (found in self._views) != statement.view:
            other = "table" if statement.view else "view"
            raise SQLStatementError(
                f"{found!r} is a {other}; write DROP {other.upper()}",
                *place(sql, statement.name.start),
            )
        self._forget(found)
        return _said(f"{kind} {found} dropped")

    def _describe(self, statement: ddl.Describe, sql: str) -> pa.Table:
        text, original = statement.sql, statement.sql
        if statement.name is not None:
            text = _all_of(self._existing(statement.name, sql))
            original = text
        else:
            text = self._spelt(text)
        schema: pa.Schema = self._checked(self._planner().schema, text, original)
        return pa.table(
            {
                "column_name": schema.names,
                "data_type": [str(field.type) for field in schema],
            }
        )

    def _show_tables(self) -> pa.Table:
        described = self._descriptions()
        rows: list[tuple[str, str, int | None, int | None]] = []
        for name in self.tables():
            if name in self._views:
                rows.append((name, "view", None, None))
                continue
            one = described[name]
            kind = "parquet" if one.parquet else _KINDS[type(self._inputs[name])]
            rows.append((name, kind, one.partitions, one.rows))
        kinds = (pa.string(), pa.string(), pa.int64(), pa.int64())
        names = ("table_name", "table_type", "partitions", "rows")
        columns = zip(*rows, strict=True) if rows else ([],) * 4
        arrays = [pa.array(list(c), k) for c, k in zip(columns, kinds, strict=True)]
        return pa.Table.from_arrays(arrays, names=names)


def sql(query: str, /, tables: Mapping[str, Any] | None = None, **frames: Any) -> Any:
    """Plan one query over some tables, as `SQLContext.sql` does.

    Parameters
    ----------
    query
        SQL; it sees the tables given here, and nothing else.
    tables, **frames
        What to register, by name. Use ``tables`` for a name that is also a parameter here.

    Returns
    -------
    dask.dataframe.DataFrame
        Lazy, of ArrowDtype columns.

    Examples
    --------
    >>> import dask_sail, pandas as pd
    >>> dask_sail.sql("SELECT count(*) AS n FROM t", t=pd.DataFrame({"a": [1, 2]})).compute()
       n
    0  2
    """
    given = _mapping("tables", tables)
    twice = sorted(given.keys() & frames.keys())
    if twice:
        raise OptionError("tables", f"names {twice[0]!r}, which is given again", "give it once")
    return SQLContext({**given, **frames}).sql(query)


# Arguments


def _text(query: Any) -> str:
    if not isinstance(query, str):
        kind = type(query).__name__
        raise OptionError("query", f"must be a text, got a {kind}", "write e.g. 'SELECT 1'")
    return query


def _mapping(option: str, tables: Any) -> Mapping[str, Any]:
    if tables is not None and not isinstance(tables, Mapping):
        kind = type(tables).__name__
        raise OptionError(option, f"must be a mapping, got a {kind}", "write e.g. {'t': frame}")
    return tables or {}


def _check_count(option: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise OptionError(
            option, f"must be a whole number from {least} up, got {value!r}", "or leave it out"
        )


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise OptionError("name", f"must be a text, got {name!r:.80}", "write e.g. 'orders'")


def _function_name(function: Any, name: str | None, volatility: str) -> str:
    if not callable(function):
        raise OptionError("function", f"must be callable, got {function!r:.80}", "pass a function")
    if volatility not in ("immutable", "stable", "volatile"):
        raise OptionError(
            "volatility",
            f"must be 'immutable', 'stable' or 'volatile', got {volatility!r}",
            "or leave it out",
        )
    given = getattr(function, "__name__", "") if name is None else name
    if not isinstance(given, str) or not given.isidentifier():
        raise OptionError("name", f"must be a word, got {given!r}", "write e.g. name='double'")
    return given.lower()  # DataFusion looks functions up by their small letters


def _checked_types(option: str, types: Any) -> list[pa.DataType]:
    listed = list(types) if isinstance(types, list | tuple) else [types]
    for one in listed:
        if not isinstance(one, pa.DataType):
            raise OptionError(
                option, f"must be Arrow types, got {one!r:.80}", "write e.g. pyarrow.int64()"
            )
    return listed


def _is_as_it_was(table: TableDescription) -> bool:
    try:
        return files.version_of(table) == table.version
    except objects.ObjectError:
        return False  # to look at it anew is to say why


# Results of statements


def _all_of(name: str) -> str:
    return f"SELECT * FROM {quoted(name)}"  # noqa: S608 - the name is quoted


def _said(text: str) -> pa.Table:
    return pa.table({"status": [text]})


def _constant(table: pa.Table) -> tuple[DistributedPlan, dict[str, Any]]:
    """A plan that gives a table which is here already."""
    given = {"result": graph.table_input(table)}
    described = {"result": given["result"].description("result")}
    planner = Planner(described, {}, (), Settings(target_partitions=1))
    return planner.plan("SELECT * FROM result"), given


def _place_only(sql: str, start: int) -> tuple[int, int]:
    """Line and column, without the line: it may hold the values of options."""
    line, column, _ = place(sql, start)
    return line, column


def _without_values(
    error: PythonDataSourceError, statement: ddl.CreateTable, sql: str
) -> SQLQueryError:
    """An error about an external table that shows none of the values in the statement."""
    if isinstance(error, SQLQueryError):
        return error
    message = str(error)
    values = {text for value in statement.options.values() for text in (value, repr(value)[1:-1])}
    for value in sorted(values - {""}, key=len, reverse=True):
        message = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "***", message)
    starts = {key.lower(): start for key, start in statement.option_starts.items()}
    # A source's own error comes as text.
    named = re.search(r"\boption '([^']+)'", message)
    start = starts.get(named[1].lower() if named else "", statement.name.start)
    return SQLStatementError(message, *_place_only(sql, start))
