"""Keys, values and sizes as the indexes and samples of MySQL and MariaDB tell them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..options import JDBCOptions
from ..query import plain_select, sum_sql
from ..tokens import name_parts
from . import Ask, Column, Estimate, KeyValues, Part

__all__ = ["estimates", "keys", "size", "values"]

_ROWS, _ROWS_EACH, _MOST_ROWS = 20_000, 500, 1_000_000
_WIDTHS = 1000
"""Rows whose length is looked at."""


class _Table(NamedTuple):
    """A table as the server's catalogue has it."""

    schema: str
    name: str
    bytes: int


_TABLE = """
SELECT table_schema, table_name, coalesce(data_length, 0) FROM information_schema.tables
WHERE table_schema = coalesce(%s, database()) AND table_name = %s AND table_type = 'BASE TABLE'
ORDER BY table_schema = binary coalesce(%s, database()) DESC, table_name = binary %s DESC LIMIT 1
"""


def _table(ask: Ask, options: JDBCOptions) -> _Table | None:
    """Find what ``dbtable`` names; None for a view or a query."""
    parts = name_parts(options.dbtable or "") or []
    if options.prepare_query or options.session_init_statement or len(parts) not in (1, 2):
        return None  # a WITH clause or a temporary table may go by the same name
    schema, name = parts if len(parts) == 2 else (None, parts[0])
    for found_schema, found_name, size in ask(_TABLE, schema, name, schema, name):
        return _Table(found_schema, found_name, int(size))
    return None


_KEYS = """
SELECT column_name FROM information_schema.statistics
WHERE table_schema = %s AND table_name = %s AND seq_in_index = 1 AND sub_part IS NULL
    AND index_type = 'BTREE' AND column_name IS NOT NULL
ORDER BY index_name <> 'PRIMARY', non_unique, cardinality DESC
"""


def keys(ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> list[Column]:
    """Return what leads the primary key, then unique and other indexes, many values first."""
    table = _table(ask, options)
    if table is None:
        return []
    by_name = {column.name: column for column in columns}
    names = dict.fromkeys(name for (name,) in ask(_KEYS, table.schema, table.name))
    return [by_name[name] for name in names if name in by_name]  # one may be invisible


def values(ask: Ask, options: JDBCOptions, column: Column, operand: str, count: int) -> KeyValues:
    """Return values of random rows; with an index on the column it alone is read for them."""
    # A FLOAT is printed with six digits, and would be cut beside its values.
    item = f"({operand} * 1e0)" if column.database_type.startswith("float") else operand
    most = min(max(_ROWS, _ROWS_EACH * count), _MOST_ROWS)
    sample, rows = _sampled(ask, options, item, most)
    what = "all there are" if len(sample) == rows else f"of about {rows:,} rows"
    weighted = [(value, rows / len(sample)) for (value,) in sample]
    return KeyValues(weighted, f"{len(sample):,} values of {column.name}, {what}")


def _sampled(
    ask: Ask, options: JDBCOptions, item: str, most: int
) -> tuple[list[tuple[Any, ...]], int]:
    """Return an expression of random rows, and about how many rows there are."""
    if _table(ask, options) is not None:
        rows = _expected(ask, options)
        if rows > 2 * most:
            # Several times as fast as an order. What the server expects may be quite wrong.
            tail = f"WHERE rand() < {most / rows} LIMIT {4 * most}"
            sample = ask(plain_select(options, item, tail))
            if most < 4 * len(sample) < 16 * most:
                return sample, round(len(sample) * rows / most)
    sample = ask(plain_select(options, item, f"ORDER BY rand() LIMIT {most}"))
    return sample, len(sample) if len(sample) < most else _counted(ask, options)


def _counted(ask: Ask, options: JDBCOptions) -> int:
    ((rows,),) = ask(plain_select(options, "count(*)"))
    return int(rows)


def _expected(ask: Ask, options: JDBCOptions) -> int:
    """Return how many rows the server expects in a table; the catalogue may be a day behind."""
    return _planned(ask, Part(options, "")) or 0


def _planned(ask: Ask, part: Part) -> int | None:
    """Return how many rows the server plans for."""
    where = f"WHERE {part.condition}" if part.condition else ""
    ((plan,),) = ask(f"EXPLAIN FORMAT=JSON {plain_select(part.options, '1', where)}")
    try:
        tables = list(_tables(json.loads(plan)))
    except (
        ValueError
    ):  # MariaDB does not escape the names that it quotes if sql_mode has ANSI_QUOTES
        return None
    counts = [_rows_of(table) for table in tables]
    return round(math.prod(counts)) if counts else None


def _tables(plan: Any) -> Iterator[dict[str, Any]]:
    """Give the tables that a plan joins, without those that subqueries read."""
    if isinstance(plan, list):
        for step in plan:
            yield from _tables(step)
    elif isinstance(plan, dict):
        for name, step in plan.items():
            if name == "table":
                yield step
            elif "subquer" not in name:
                yield from _tables(step)


def _rows_of(table: dict[str, Any]) -> float:
    # The name in MariaDB, and in MySQL; neither where no row can match.
    rows = table.get("rows", table.get("rows_examined_per_scan", 0))
    return float(rows) * float(table.get("filtered", 100)) / 100


def size(ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> int:
    """Return the bytes of a table on disk, or of its rows as text where those are more."""
    table = _table(ask, options)
    rows = _counted(ask, options) if table is None else _expected(ask, options)
    names = ["`" + column.name.replace("`", "``") + "`" for column in columns]
    width = sum_sql([f"coalesce(length({name}), 0)" for name in names])
    lengths = ask(plain_select(options, width, f"LIMIT {_WIDTHS}"))
    text = sum(int(length) for (length,) in lengths) * rows // max(len(lengths), 1)
    # The catalogue is behind after many INSERTs.
    return max(text, table.bytes if table else 0)


_ROW_BYTES = """
SELECT avg_row_length FROM information_schema.tables WHERE table_schema = %s AND table_name = %s
"""


def estimates(
    ask: Ask, options: JDBCOptions, columns: Sequence[Column], parts: Sequence[Part]
) -> list[Estimate]:
    """Return what the server plans for, and how long it holds the rows of a table to be."""
    table = _table(ask, options)
    found = [] if table is None else ask(_ROW_BYTES, table.schema, table.name)
    width = next((int(length) for (length,) in found if length), None)
    counts = [_planned(ask, part) for part in parts]
    return [(n, None if n is None or width is None else n * width) for n in counts]
