"""Keys, values and sizes as PostgreSQL's catalogue, statistics and samples tell them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import OptionError
from ..options import JDBCOptions
from ..query import plain_select
from . import Ask, Column, Estimate, KeyValues, Part

__all__ = ["PLAIN_NAME", "check_encoding", "estimates", "keys", "size", "values"]

_PAGES = 2000
_PAGES_EACH = 200
"""Rows of one page may be neighbours in the key, and then count as one row: so many pages for each
partition put its size right within a tenth or so."""
_ROWS, _ROWS_EACH, _MOST_ROWS = 20_000, 500, 1_000_000
_BOUNDS_EACH = 10
"""Fewer buckets of a histogram for each partition would round its size by more than a tenth."""
_STALE = 0.1


class _Table(NamedTuple):
    """A table, with all that inherits from it; bytes with what is stored out of line."""

    oid: int
    children: int
    pages: int
    bytes: int


_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
PLAIN_NAME = re.compile(rf"\s*{_NAME}(?:\s*\.\s*{_NAME}){{0,2}}\s*")
_TABLE = """
WITH RECURSIVE tree(oid, kind) AS (
    SELECT oid, relkind FROM pg_class WHERE oid = to_regclass(%s) AND relkind IN ('r', 'm', 'p')
    UNION SELECT c.oid, c.relkind
    FROM tree JOIN pg_inherits ON inhparent = tree.oid JOIN pg_class c ON c.oid = inhrelid
)
SELECT to_regclass(%s)::oid, count(*) - 1, bool_or(kind = 'f'),
       sum(pg_relation_size(oid) / current_setting('block_size')::int)::int8,
       sum(pg_table_size(oid))::int8
FROM tree HAVING count(*) > 0
"""


def _table(ask: Ask, options: JDBCOptions) -> _Table | None:
    """Find what ``dbtable`` names; None for a view, a query, or what no sample can be taken of."""
    name = options.dbtable
    if name is None or options.prepare_query or not PLAIN_NAME.fullmatch(name):
        return None
    for oid, children, foreign, pages, size in ask(_TABLE, name, name):
        return None if foreign else _Table(oid, children, pages, size)
    return None


_KEYS = """
SELECT a.attname FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
LEFT JOIN pg_stats d ON d.schemaname = n.nspname AND d.tablename = t.relname
    AND d.attname = a.attname AND d.inherited = (t.relkind = 'p')
WHERE t.oid = %s AND i.indisvalid AND i.indpred IS NULL
ORDER BY i.indisprimary DESC, i.indisunique DESC, i.indnkeyatts,
    CASE WHEN d.n_distinct < 0 THEN -d.n_distinct * t.reltuples ELSE d.n_distinct END
        DESC NULLS LAST, a.attnum
"""


def keys(ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> list[Column]:
    """Return what leads the primary key, then unique and other indexes, many values first."""
    table = _table(ask, options)
    if table is None:
        return []
    by_name = {column.name: column for column in columns}
    names = dict.fromkeys(name for (name,) in ask(_KEYS, table.oid))
    return [by_name[name] for name in names]


def values(ask: Ask, options: JDBCOptions, column: Column, operand: str, count: int) -> KeyValues:
    """Return what ANALYZE found if that is fresh and fine enough, else a sample."""
    table = _table(ask, options)
    is_text = operand.endswith(' COLLATE "C"')
    if is_text:
        check_encoding(ask)
    elif table is not None and not table.children:
        known = _analyzed(ask, table, column, count)
        if known is not None:
            return known
    return _sampled(ask, options, table, column, operand, count)


def check_encoding(ask: Ask) -> None:
    """Refuse to cut texts that the database orders by other bytes than those of UTF-8.

    Cuts ascend by code points, as UTF-8 does. In WIN1252 some would come in another order, and
    rows between them be in two ranges or in none.
    """
    ((encoding,),) = ask("SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        raise OptionError(
            "partitionColumn",
            f"is a text, which is cut in databases that hold UTF8 only, and this one {encoding}",
            "name a column of numbers, dates or timestamps, or write predicates",
        )


_ANALYZED = """
SELECT c.reltuples, c.relpages, coalesce(pg_stat_get_mod_since_analyze(c.oid), 0), d.null_frac,
    d.most_common_vals::text::text[], d.most_common_freqs::float8[],
    d.histogram_bounds::text::text[]
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stats d ON d.schemaname = n.nspname AND d.tablename = c.relname AND NOT d.inherited
WHERE c.oid = %s AND d.attname = %s
"""


def _analyzed(ask: Ask, table: _Table, column: Column, count: int) -> KeyValues | None:
    for rows, pages, changed, nulls, common, shares, bounds in ask(
        _ANALYZED, table.oid, column.name
    ):
        grown = abs(table.pages - pages) > _STALE * pages + 1
        if rows <= 0 or changed > _STALE * rows or grown:
            return None
        common, shares, bounds = common or [], shares or [], bounds or []
        rest = 1 - nulls - sum(shares)
        if rest > 0.001 and len(bounds) <= _BOUNDS_EACH * count:
            return None
        # A bucket counts where it begins; the last bound begins none.
        bucket = rest / max(len(bounds) - 1, 1)
        weighted: list[tuple[Any, float]] = [(None, nulls), *zip(common, shares, strict=True)]
        weighted += [(bound, bucket) for bound in bounds[:-1]]
        parts = [f"{len(bounds)} bounds"] if bounds else []
        parts += [f"{len(common)} common values"] if common else []
        return KeyValues(weighted, f"pg_stats of {column.name}: {', '.join(parts) or 'NULL alone'}")
    return None


def _sampled(
    ask: Ask,
    options: JDBCOptions,
    table: _Table | None,
    column: Column,
    operand: str,
    count: int,
) -> KeyValues:
    most = min(max(_ROWS, _ROWS_EACH * count), _MOST_ROWS)
    expression, tail = f"({operand})::text", f"ORDER BY random() LIMIT {most}"
    pages = max(_PAGES, _PAGES_EACH * count)
    if table is not None and table.pages > pages:
        share = 100 * pages / table.pages
        some = f"TABLESAMPLE SYSTEM ({share:.6f})"
        sample = ask(plain_select(options, expression, f"{some} {tail}"))
        if len(sample) >= 100 * count:  # else the pages are nearly empty, after a DELETE
            return _known(sample, f"{column.name}, of {share:.3g} % of the pages")
    sample = ask(plain_select(options, expression, tail))
    return _known(sample, f"{column.name}{'' if len(sample) == most else ', all there are'}")


def _known(sample: Sequence[tuple[str | None]], what: str) -> KeyValues:
    return KeyValues([(value, 1) for (value,) in sample], f"{len(sample):,} values of {what}")


def size(ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> int:
    """Return the bytes of a table on disk; of a view or query, as many rows as are expected."""
    table = _table(ask, options)
    if table is not None:
        return table.bytes
    expected, _ = _expected(ask, Part(options, ""))
    # The width that it expects leaves out what is stored out of line.
    rows = plain_select(options, "*", "LIMIT 1000")
    ((width,),) = ask(f"SELECT avg(pg_column_size(t.*)) FROM ({rows}\n) AS t")  # noqa: S608 - made here
    return round(expected * float(width or 0))


def estimates(
    ask: Ask, options: JDBCOptions, columns: Sequence[Column], parts: Sequence[Part]
) -> list[Estimate]:
    """Return what the planner expects, as it does for the reads."""
    return [(rows, rows * width) for rows, width in (_expected(ask, part) for part in parts)]


def _expected(ask: Ask, part: Part) -> tuple[int, int]:
    """Return how many rows the planner expects, and the bytes of each."""
    where = f"WHERE {part.condition}" if part.condition else ""
    query = plain_select(part.options, "*", where)
    (((plan, *_),),) = ask(f"EXPLAIN (FORMAT JSON) {query}")
    return round(plan["Plan"]["Plan Rows"]), int(plan["Plan"]["Plan Width"])
