"""Keys, values and sizes as DuckDB's catalogue and samples tell them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

from ..options import JDBCOptions
from ..query import plain_select, sum_sql
from ..tokens import name_parts
from . import Ask, Column, Estimate, KeyValues, Part

__all__ = ["estimates", "keys", "size", "values"]

_ROWS, _ROWS_EACH, _MOST_ROWS = 20_000, 500, 1_000_000
_WIDTHS = 5000
"""Rows whose length is looked at."""
_SHARES = 1_000_000
"""Rows whose part of a table is looked at."""

_KEYS = """
SELECT list_extract(constraint_column_names, 1) FROM duckdb_constraints()
WHERE database_name = current_database() AND lower(schema_name) = lower(?)
    AND lower(table_name) = lower(?) AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')
ORDER BY constraint_type, constraint_index
"""
_TABLE = """
SELECT 1 FROM duckdb_tables()
WHERE database_name = current_database() AND lower(schema_name) = lower(?)
    AND lower(table_name) = lower(?)
"""


def _table(ask: Ask, options: JDBCOptions) -> list[str] | None:
    """Return schema and name of the table that ``dbtable`` names; None for a view or a query."""
    parts = name_parts(options.dbtable or "") or []
    if options.prepare_query or options.session_init_statement or len(parts) not in (1, 2):
        return None  # a WITH clause or a temporary table may go by the same name
    if len(parts) == 1:
        parts = [*(schema for (schema,) in ask("SELECT current_schema()")), *parts]
    return parts if ask(_TABLE, *parts) else None


def keys(ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> list[Column]:
    """Return what leads the primary key or a unique one; else any column, many values first.

    DuckDB keeps each column apart, with the least and the greatest value of every piece, so that a
    range needs no index. Not the rowid: a checkpoint numbers rows anew, and nothing tells of it.
    """
    parts = _table(ask, options)
    if parts is None:
        return []
    by_name = {column.name: column for column in columns}
    names = dict.fromkeys(name for (name,) in ask(_KEYS, *parts))
    unique = [by_name[name] for name in names]
    return unique + _varied(ask, options, [c for c in columns if c not in unique])


def _varied(ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> list[Column]:
    """Return the columns that have an order, those with more values in a sample first."""
    types = pa.types
    ordered = [
        column
        for column in columns
        if types.is_integer(column.arrow_type)
        or types.is_temporal(column.arrow_type)
        or types.is_decimal(column.arrow_type)
        or types.is_floating(column.arrow_type)
        or types.is_string(column.arrow_type)
    ]
    if not ordered:
        return []
    counts = ", ".join(f"approx_count_distinct({_quoted(column)})" for column in ordered)
    names = ", ".join(map(_quoted, ordered))
    rows = plain_select(options, names, f"USING SAMPLE reservoir({_WIDTHS} ROWS)")
    (found,) = ask(f"SELECT {counts} FROM ({rows}) AS sampled")  # noqa: S608 - made here
    by_count = sorted(zip(found, ordered, strict=True), key=lambda pair: -pair[0])
    return [column for _, column in by_count]


def values(ask: Ask, options: JDBCOptions, column: Column, operand: str, count: int) -> KeyValues:
    """Return values of random rows, for which DuckDB reads the column alone."""
    most = min(max(_ROWS, _ROWS_EACH * count), _MOST_ROWS)
    item, some = f"CAST({operand} AS VARCHAR)", f"USING SAMPLE reservoir({most} ROWS)"
    sample = ask(plain_select(options, item, some))
    rows = len(sample) if len(sample) < most else _counted(ask, options)
    what = "all there are" if len(sample) == rows else f"of {rows:,} rows"
    weighted = [(value, rows / len(sample)) for (value,) in sample]
    return KeyValues(weighted, f"{len(sample):,} values of {column.name}, {what}")


def size(ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> int:
    """Return about how many bytes the values take in Arrow; on disk they are compressed."""
    names = ", ".join(map(_quoted, columns))
    rows = plain_select(options, names, f"USING SAMPLE reservoir({_WIDTHS} ROWS)")
    width = sum_sql([_width(column) for column in columns])
    sample = ask(f"SELECT {width} FROM ({rows}) AS sampled")  # noqa: S608 - made here
    total = sum(int(length) for (length,) in sample)
    return total * _counted(ask, options) // max(len(sample), 1)


def _width(column: Column) -> str:
    try:
        return f"{max(column.arrow_type.bit_width // 8, 1)}"
    except ValueError:  # of a type whose values take more or less
        return f"coalesce(strlen(CAST({_quoted(column)} AS VARCHAR)), 0)"


def _counted(ask: Ask, options: JDBCOptions) -> int:
    ((rows,),) = ask(plain_select(options, "count(*)"))
    return int(rows)


def _quoted(column: Column) -> str:
    return '"' + column.name.replace('"', '""') + '"'


def estimates(
    ask: Ask, options: JDBCOptions, columns: Sequence[Column], parts: Sequence[Part]
) -> Sequence[Estimate]:
    """Return what the planner expects of the whole, shared out as rows of some pieces lie.

    Of a condition it knows too little itself.
    """
    (((_, plan),)) = ask(f"EXPLAIN (FORMAT JSON) {plain_select(options, '*')}")
    known = json.loads(plan)[0]["extra_info"].get("Estimated Cardinality")
    if known is None:
        return [(None, None)] * len(parts)
    whole = int(known)
    if _table(ask, options) is None:
        return [(round(whole / len(parts)), None)] * len(parts)
    some = plain_select(options, ", ".join(map(_quoted, columns)), f"LIMIT {_WIDTHS}")
    width = sum_sql([_width(column) for column in columns])
    ((mean,),) = ask(f"SELECT avg({width}) FROM ({some}) AS sampled")  # noqa: S608 - made here
    counts = [round(whole * share) for share in _shares(ask, options, parts, whole)]
    return [(rows, None if mean is None else round(rows * float(mean))) for rows in counts]


def _shares(ask: Ask, options: JDBCOptions, parts: Sequence[Part], whole: int) -> Sequence[float]:
    """Return which share of a table's rows each part has, by whole vectors of them."""
    if not any(part.condition for part in parts):
        return [1.0] * len(parts)
    percent = 100 * _SHARES / whole if whole > 2 * _SHARES else 100
    rows = plain_select(options, "*", f"USING SAMPLE {percent:.6f} PERCENT (system)")
    items = ", ".join(f"count(*) FILTER (WHERE {part.condition or 'true'})" for part in parts)
    ((total, *counts),) = ask(f"SELECT count(*), {items} FROM ({rows}) AS sampled")  # noqa: S608 - made here
    return [count / max(total, 1) for count in counts]
