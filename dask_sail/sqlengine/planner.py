"""From the text of a query to stages that tasks can run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
from datafusion import DataFrame, ExecutionPlan, LogicalPlan, SQLOptions

from . import files, literals, membership, stages, versions
from .catalog import Catalog, plain_schema, quoted
from .errors import SQLError
from .functions import PythonFunction
from .plan import DistributedPlan, Settings, TableDescription, TableScan, Union

__all__ = ["Planner"]

#: What planning turns into a constant: such a plan is good for one query only.
_NOW = re.compile(r"\b(now|current_date|current_time|current_timestamp|today)\b", re.IGNORECASE)
_NO_QUERIES = {"Analyze", "CopyTo", "DescribeTable", "DmlStatement", "Explain"}
_MOST_PLANS = 256


class Planner:
    """Plans queries over one set of tables, views and functions.

    Parameters
    ----------
    tables
        By the names that queries use, as they are spelt there.
    views
        Their queries, in an order in which each comes after those that it uses.
    """

    def __init__(
        self,
        tables: Mapping[str, TableDescription],
        views: Mapping[str, str],
        functions: Sequence[PythonFunction],
        settings: Settings,
    ) -> None:
        self._tables = dict(tables)
        self._views = dict(views)
        self._functions = tuple(functions)
        self._settings = settings
        self._catalog = Catalog(tables, views, functions)
        self._prober = stages.Prober(functions)
        for table in tables.values():
            for store in table.stores:
                store.register(self._prober.context)
        self._plans: dict[str, DistributedPlan] = {}

    def add_view(self, name: str, sql: str) -> None:
        """Let queries use a view over what there is; its name must be new."""
        exact = self.exact(sql)
        self._catalog.add_view(name, exact)
        self._views[name] = exact

    def plan(self, sql: str) -> DistributedPlan:
        """Plan a query.

        Raises
        ------
        Exception
            DataFusion's own, if it is no query, or one over what is not there.
        SQLError
            If it is a statement that gives no rows.
        """
        if sql in self._plans:
            return self._plans[sql]
        plan = self._planned(self.exact(sql))
        if not _NOW.search(sql):
            if len(self._plans) >= _MOST_PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[sql] = plan
        return plan

    def logical(self, sql: str) -> str:
        """Return DataFusion's optimised logical plan."""
        return str(self._frame(self.exact(sql)).optimized_logical_plan().display_indent())

    def schema(self, sql: str) -> pa.Schema:
        """Return the names and types of a query's columns."""
        frame = self._frame(self.exact(sql))
        return self._schema(frame, frame.optimized_logical_plan())

    def exact(self, sql: str) -> str:
        """Return a query whose numbers are not rounded where they meet decimals."""

        def plan(text: str) -> literals.Planned:
            frame = self._frame(text)
            optimized = frame.optimized_logical_plan()
            return self._schema(frame, optimized), str(optimized.display_indent())

        return literals.exact(sql, plan)

    def _frame(self, sql: str) -> DataFrame:
        options = SQLOptions().with_allow_ddl(allow=False).with_allow_dml(allow=False)
        options = options.with_allow_statements(allow=False)
        frame = self._catalog.context.sql_with_options(sql, options)
        kind = type(frame.logical_plan().to_variant()).__name__
        if kind in _NO_QUERIES:
            raise SQLError(f"{kind.upper()} is no query; write SELECT")
        membership.check_conditions(frame.logical_plan())
        return frame

    def _schema(self, frame: DataFrame, optimized: LogicalPlan) -> pa.Schema:
        """Return names as they are written, and types as they are after coercion.

        Before it, a UNION or a CASE of several types has that of the first.
        """
        typed = self._catalog.context.create_dataframe_from_logical_plan(optimized).schema()
        pairs = zip(frame.schema(), typed, strict=True)
        return plain_schema(pa.schema([given.with_type(kind.type) for given, kind in pairs]))

    def _planned(self, sql: str) -> DistributedPlan:
        frame = self._frame(sql)
        physical = self._physical(frame)
        membership.check_joins(physical)
        optimized = frame.optimized_logical_plan()
        schema = self._schema(frame, optimized)
        reason = versions.doubt()
        if reason is None:
            try:
                return self._cut(sql, optimized, physical, schema)
            except stages.CutError as error:
                reason = str(error)
            except Exception as error:  # noqa: BLE001 - the query can still run whole
                # DataFusion quotes the whole plan.
                short = str(error).partition("Plan: ")[0].partition("\n")[0][:300]
                reason = f"the plan cannot be cut: {short}"
        else:
            warnings.warn(f"queries run whole, in one task: {reason}", UserWarning, stacklevel=4)
        return DistributedPlan(
            sql=sql,
            stages=(),
            root=Union(()),
            scans=self._whole_tables(sql),
            schema=schema,
            fingerprint=versions.fingerprint(),
            ordered=_is_ordered(optimized),
            functions=self._functions,
            fallback=reason,
            # Tasks compare versions.
            tables=tuple(replace(table, tags={}) for table in self._tables.values()),
            views=dict(self._views),
        )

    def _physical(self, frame: DataFrame) -> ExecutionPlan:
        target = self._settings.target_partitions
        if target is None:
            # Without exchanges, which say nothing of what is read.
            plan = self._catalog.physical(frame, 1)
            target = stages.wanted_partitions(plan, self._catalog, self._settings.threads)
            if target == 1:
                return plan
        # One partition would do without any exchange, and all of the data in one task.
        return self._catalog.physical(frame, max(2, target))

    def _cut(
        self, sql: str, optimized: LogicalPlan, physical: ExecutionPlan, schema: pa.Schema
    ) -> DistributedPlan:
        cut = stages.cut(physical, self._catalog, self._settings, self._prober)
        given = stages.schema_of(cut)
        tables = self._tables.values()
        if [field.type for field in given] != [field.type for field in schema]:
            raise stages.CutError(f"the stages give {given.types} in place of {schema.types}")
        return DistributedPlan(
            sql=sql,
            stages=tuple(files.marked(stage, tables) for stage in cut.stages),
            root=cut.root,
            scans=cut.scans,
            schema=schema,
            fingerprint=versions.fingerprint(),
            ordered=_is_ordered(optimized),
            functions=self._functions,
        )

    def _whole_tables(self, sql: str) -> tuple[TableScan, ...]:
        """Return scans of all that the query may name, with all columns: what it reads is unknown.

        A name that stands for something else there costs a scan, and no row.
        """
        texts = [sql]

        def is_named(name: str) -> bool:
            word = rf"(?<!\w){re.escape(quoted(name)[1:-1])}(?!\w)"
            return any(re.search(word, text) for text in texts)

        for name, view in reversed(self._views.items()):
            if is_named(name):
                texts.append(view)
        return tuple(
            TableScan(table=name, columns=tuple(table.schema.names))
            for name, table in self._tables.items()
            if is_named(name)
        )


def _is_ordered(plan: LogicalPlan) -> bool:
    """Whether rows leave the plan in an order that was asked for."""
    while True:
        kind = type(plan.to_variant()).__name__
        if kind == "Sort":
            return True
        if kind not in ("Limit", "Projection", "SubqueryAlias"):
            return False
        (plan,) = plan.inputs()
