"""Keys, values and sizes as DuckDB's catalogue and samples tell them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ..options import JDBCOptions
from ..query import plain_select, sum_sql
from ..tokens import name_parts
from . import Ask, Column, KeyValues

__all__ = ["keys", "size", "values"]

_ROWS, _ROWS_EACH, _MOST_ROWS = 20_000, 500, 1_000_000
_WIDTHS = 5000
"""Rows whose length is looked at."""

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


def keys(ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> list[Column]:
    """Return what leads the primary key or a unique one; else any column, many values first.

    DuckDB keeps each column apart, with the least and the greatest value of every piece, so that a
    range needs no index. Not the rowid: a checkpoint numbers rows anew, and nothing tells of it.
    """
    parts = name_parts(options.dbtable or "") or []
    if options.prepare_query or options.session_init_statement or len(parts) not in (1, 2):
        return []  # a WITH clause or a temporary table may go by the same name
    if len(parts) == 1:
        parts = [*(schema for (schema,) in ask("SELECT current_schema()")), *parts]
    if not ask(_TABLE, *parts):
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
