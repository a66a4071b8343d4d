"""From a source and its options to a Dask DataFrame."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import dask
import pyarrow as pa
from dask.dataframe import DataFrame

from . import planning, shuffle
from .arrow import frame_schema
from .dask_compat import new_collection, run_in_task
from .errors import OptionError, SchemaError
from .expr import ReadPythonSource, SourceHandle, division_bounds
from .options import SourceOptions
from .predicate import parse_filters
from .registry import SourceRef, find_source
from .spelling import nearest

__all__ = ["read_python_source"]


def read_python_source(
    source: str | type[Any] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    columns: Sequence[str] | None = None,
    filters: Sequence[Any] | None = None,
    index: str | None = None,
    schema: pa.Schema | None = None,
    plan_on: str = "client",
    python_module: str | None = None,
    python_class: str | None = None,
    **more_options: Any,
) -> DataFrame:
    """Read a data source written in Python into a Dask DataFrame whose columns are Arrow arrays.

    Parameters
    ----------
    source
        A registered name (``"jdbc"``), a class with the methods of `PythonDataSource`, or
        ``"module:Class"``. A class of no installed package travels to the workers by value, with
        the modules of yours that it imports.
    options, **more_options
        What the source is told, as text: str as it is; bool, int, integral float, Decimal, date,
        datetime and paths as a person would type them; a list as a JSON array; None is left out.
        ``{env:NAME}`` and ``{file:PATH}`` are replaced where the option is used, so that a secret
        stays out of the graph. Use ``options`` for a name that is also a parameter here.
    columns
        Names to read, in this order; all by default.
    filters
        As in `dask.dataframe.read_parquet`: ``[(column, op, value), ...]`` for AND, a list of such
        lists for OR. Every row is tested, by the source or on the worker.
    index
        Column that becomes the index, with known divisions where the source gives them.
    schema
        Columns and types, in place of asking ``infer_schema``.
    plan_on
        ``"client"`` asks the source for schema and partitions in this process, ``"cluster"`` in a
        Dask task, for a client that cannot reach the source's server.
    python_module, python_class
        Names of a module and a class in it, in place of ``source``, as Lakesail's bridge has them.

    Returns
    -------
    dask.dataframe.DataFrame
        Lazy; one partition per planned one, in the source's order, ArrowDtype columns. Every call
        reads afresh, unless the source names its data's version.

    Raises
    ------
    SourceNotFoundError, SourceDefinitionError
        If there is no such source, or it is none.
    OptionError
        If an option has no plain spelling, is given twice, refers to nothing, or is none of a
        source that names its options.
    SchemaError, PlanError
        If what ``infer_schema`` or ``plan_partitions`` give breaks the contract.
    SourceCallError
        If the source's own code raises while it is asked.
    FilterError
        If ``filters`` is malformed, or does not fit the schema.

    Examples
    --------
    >>> import dask.dataframe as dd, dask_sail, pyarrow as pa
    >>> class Squares:
    ...     def infer_schema(self, options):
    ...         return pa.schema([("n", pa.int64()), ("square", pa.int64())])
    ...     def plan_partitions(self, options):
    ...         return [{"start": start} for start in range(0, int(options["stop"]), 10)]
    ...     def read_partition(self, spec, options):
    ...         numbers = list(range(spec["start"], spec["start"] + 10))
    ...         yield pa.record_batch([numbers, [n * n for n in numbers]], ["n", "square"])
    >>> squares = dd.read_python_source(Squares, stop=30)
    >>> squares.npartitions, int(squares[squares.n >= 28].square.sum().compute())
    (3, 1625)
    """
    if plan_on not in ("client", "cluster"):
        raise OptionError("plan_on", f"must be 'client' or 'cluster', got {plan_on!r}", "write one")
    on_cluster = plan_on == "cluster"
    if schema is not None and not isinstance(schema, pa.Schema):
        raise OptionError(
            "schema", f"must be a pyarrow.Schema, got {schema!r:.80}", "or leave it out"
        )
    ref = find_source(source, python_module, python_class, must_load=not on_cluster)
    given = SourceOptions.gather(options, more_options)
    if on_cluster:
        shuffle.ensure_on_cluster()
        plan = run_in_task(planning.plan_source, ref, given, schema, index)
    else:
        plan = planning.plan_source(ref, given, schema, index)
    handle = SourceHandle(
        token=_token(ref, given, plan, index),
        ref=ref,
        options=given,
        schema=plan.schema,
        on_cluster=on_cluster,
        has_snapshot=plan.has_snapshot,
        attempts=_attempts(),
    )
    expr = ReadPythonSource(
        handle,
        plan.specs,
        columns=_columns(ref.label, columns, index, plan.schema),
        index=index,
        bounds=division_bounds(plan.divisions),
    )
    if filters is not None:
        expr = expr.filtered_by(parse_filters(filters, frame_schema(plan.schema, ref.label)))
    collection = new_collection(expr)
    return collection[columns] if isinstance(columns, str) else collection


def _attempts() -> int:
    """Taken from the person's configuration here, as workers have one of their own."""
    attempts = dask.config.get("dask_sail.attempts", 4)
    if not isinstance(attempts, int) or attempts < 1:
        raise OptionError(
            "dask_sail.attempts", f"must be a whole number from 1 up, got {attempts!r}", "write 4"
        )
    return attempts


def _token(ref: SourceRef, options: SourceOptions, plan: planning.Plan, index: str | None) -> str:
    if plan.version is None:
        return uuid.uuid4().hex
    parts = [ref.digest, options.identity(), plan.version, str(plan.schema), plan.specs.digest]
    return hashlib.sha256("\n".join([*parts, str(index)]).encode()).hexdigest()


def _columns(
    label: str, columns: Sequence[str] | None, index: str | None, schema: pa.Schema
) -> list[str]:
    if columns is None:
        return [name for name in schema.names if name != index]
    names = [columns] if isinstance(columns, str) else list(columns)
    for name in names:
        if name not in schema.names:
            hint = nearest(str(name), schema.names, f"it has {', '.join(schema.names)[:300]}")
            raise SchemaError(
                label, f"columns= names {name!r}, which is no column of the source; {hint}"
            )
    if len(set(names)) < len(names):
        raise SchemaError(label, f"columns= names a column twice: {names!r:.300}; name each once")
    if index in names:
        raise SchemaError(label, f"columns= names {index!r}, which is the index; leave it out")
    return names
