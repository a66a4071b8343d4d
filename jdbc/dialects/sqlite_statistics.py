"""Keys, values and sizes as a look into SQLite's own B-trees tells them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from ..options import JDBCOptions
from ..query import plain_select, sum_sql
from ..tokens import name_parts
from . import Ask, Column, Estimate, KeyValues, Part

__all__ = ["ROWID", "estimates", "keys", "size", "values"]

ROWID = "rowid of schema "
"""Begins the database type of a rowid that is no column, and so is the same row only as long as the
file's schema version, which follows, does not change: VACUUM may number the rows anew."""

_ROWS, _ROWS_EACH, _MOST_ROWS = 20_000, 500, 1_000_000
_RUN = 32
"""Rows that are read at a place, to know how close to each other they are there."""
_PLACES, _PLACES_EACH, _MOST_PLACES = 1024, 16, 65_536
_FEW_PLACES = 256


class _Table(NamedTuple):
    """A table of the file, with its name in it."""

    name: str
    rowid: str | None
    is_column: bool


def _table(ask: Ask, options: JDBCOptions) -> _Table | None:
    """Find what ``dbtable`` names; None for a view, a query, or a table of another kind."""
    parts = name_parts(options.dbtable or "")
    if not parts or options.prepare_query or options.session_init_statement:
        return None  # a WITH clause or a temporary table may go by the same name
    if len(parts) > 1 and parts[0].lower() != "main":
        return None
    found = ask(
        "SELECT name, sql FROM main.sqlite_master"
        " WHERE type = 'table' AND name = ? COLLATE NOCASE AND sql NOT LIKE 'CREATE VIRTUAL%'",
        parts[-1],
    )
    for name, _ in found:
        return _Table(name, *_rowid(ask, name))
    return None


def _rowid(ask: Ask, table: str) -> tuple[str | None, bool]:
    """Return the name of the table's rowid, and whether it is a column, so that it stays."""
    columns = ask("SELECT name, upper(type), pk FROM pragma_table_info(?)", table)
    indexes = ask("SELECT name FROM pragma_index_list(?) WHERE origin = 'pk'", table)
    names = {name.lower() for name, _, _ in columns}
    key = [(name, declared) for name, declared, place in columns if place]
    if len(key) == 1 and key[0][1] == "INTEGER" and not indexes:
        return key[0][0], True
    # https://www.sqlite.org/withoutrowid.html: its primary key is no index of the file.
    for (index,) in indexes:
        if not ask("SELECT 1 FROM main.sqlite_master WHERE name = ?", index):
            return None, False
    return next((name for name in ("rowid", "_rowid_", "oid") if name not in names), None), False


def keys(ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> list[Column]:
    """Return the rowid, in whose order the rows lie; without one, what leads an index."""
    table = _table(ask, options)
    if table is None:
        return []
    by_name = {column.name: column for column in columns}
    if table.is_column:
        return [by_name[table.rowid or ""]]
    if table.rowid is not None:
        ((version,),) = ask("SELECT schema_version FROM pragma_schema_version")
        return [Column(table.rowid, f"{ROWID}{version}", pa.int64(), nullable=False)]
    found = ask(
        "SELECT c.name FROM pragma_index_list(?) AS i, pragma_index_info(i.name) AS c"
        " WHERE c.seqno = 0 AND NOT i.partial AND c.name IS NOT NULL"
        " ORDER BY i.origin = 'pk' DESC, i.\"unique\" DESC",
        table.name,
    )
    return [by_name[name] for name in dict.fromkeys(name for (name,) in found)]


def values(ask: Ask, options: JDBCOptions, column: Column, operand: str, count: int) -> KeyValues:
    """Return values of rows at many places of a table; of a view or query, of random rows."""
    weighted, how = _sampled(ask, options, operand, count)
    return KeyValues(weighted, f"{len(weighted):,} values of {column.name}, {how}")


def size(ask: Ask, options: JDBCOptions, columns: Sequence[Column]) -> int:
    """Return about how many bytes the values take: texts and blobs their own, numbers eight."""
    weighted, _ = _sampled(ask, options, _width(columns), 1)
    return round(sum(float(value) * weight for value, weight in weighted))


def _width(columns: Sequence[Column]) -> str:
    quoted = ["`" + column.name.replace("`", "``") + "`" for column in columns]
    items = [
        f"CASE WHEN typeof({name}) IN ('text', 'blob') THEN length(CAST({name} AS BLOB)) ELSE 8 END"
        for name in quoted
    ]
    return sum_sql(items)


def estimates(
    ask: Ask, options: JDBCOptions, columns: Sequence[Column], parts: Sequence[Part]
) -> Sequence[Estimate]:
    """Return what rows at some places of a table tell; nothing of a view or query."""
    table = _table(ask, options)
    if table is None or table.rowid is None:
        return [(None, None)] * len(parts)
    # Of each row a nought or one for each part, then its bytes.
    flags = " || ".join(f"(({part.condition or 1}) IS TRUE)" for part in parts)
    expression = f"{flags} || ({_width(columns)})"
    seen = [
        (text[: len(parts)], int(text[len(parts) :]), weight)
        for segment in _walk(ask, options, table.rowid, expression, _FEW_PLACES)
        for text, weight in segment.weighted
    ]
    found = []
    for i in range(len(parts)):
        own = [(width, weight) for belongs, width, weight in seen if belongs[i] == "1"]
        found.append((round(sum(w for _, w in own)), round(sum(n * w for n, w in own))))
    return found


def _sampled(
    ask: Ask, options: JDBCOptions, expression: str, count: int
) -> tuple[list[tuple[Any, float]], str]:
    """Return values of an expression, with the rows for which each stands, and how it was done."""
    table = _table(ask, options)
    if table is not None and table.rowid is not None:
        places = min(max(_PLACES, _PLACES_EACH * count), _MOST_PLACES)
        segments = _walk(ask, options, table.rowid, expression, places)
        weighted = [pair for segment in segments for pair in segment.weighted]
        return weighted, f"at {len(segments):,} places of the table"
    most = min(max(_ROWS, _ROWS_EACH * count), _MOST_ROWS)
    rows = ask(plain_select(options, expression, f"ORDER BY random() LIMIT {most}"))
    if len(rows) < most:
        return [(value, 1.0) for (value,) in rows], "all there are"
    ((total,),) = ask(plain_select(options, "count(*)"))
    return [(value, total / most) for (value,) in rows], "of random rows"


@dataclass(frozen=True)
class _Segment:
    """Rows from a place of a table up to another, of which the first few have been read.

    Attributes
    ----------
    end
        The first rowid behind it.
    run
        Rowids and values of the first rows, in order; also of rows behind the end.
    after
        How many rows there are for each rowid behind the end, as far as is known.
    """

    end: int
    run: Sequence[tuple[int, Any]]
    after: float

    @property
    def density(self) -> float:
        """Rows for each rowid, at the beginning."""
        return len(self.run) / (self.run[-1][0] - self.run[0][0] + 1)

    @property
    def unread(self) -> int:
        """How many rowids nothing is known of: those between the rows read and the end."""
        return max(self.end - self.run[-1][0] - 1, 0) if len(self.run) == _RUN else 0

    @property
    def most(self) -> float:
        """How many rows may be unread, if they lie as close as at the closer end."""
        return self.unread * max(self.density, self.after)

    @property
    def weighted(self) -> list[tuple[Any, float]]:
        """The values read, with the rows of the segment for which each stands."""
        own = [value for rowid, value in self.run if rowid < self.end]
        rows = len(own) + self.unread * (self.density + self.after) / 2
        return [(value, rows / len(own)) for value in own]


def _walk(
    ask: Ask, options: JDBCOptions, rowid: str, expression: str, places: int
) -> list[_Segment]:
    """Read a table at some places, most of them where most of its rows seem to be.

    A look for a rowid takes a few pages of the B-tree, however large the table. Rowids alone say
    little of where the rows are: after a DELETE, or where the key means something, they lie close
    in one place and far apart in another. So each step halves the segment that may hold most.
    """
    name = f"`{rowid.replace('`', '``')}`"
    run = plain_select(
        options, f"{name}, {expression}", f"WHERE {name} >= ? ORDER BY 1 LIMIT {_RUN}"
    )
    # Apart: SQLite looks both up, but together it reads every row.
    ((first,),) = ask(plain_select(options, f"min({name})"))
    ((last,),) = ask(plain_select(options, f"max({name})"))
    if first is None:
        return []
    whole = _Segment(last + 1, ask(run, first), 0.0)
    heap = [(-whole.most, first, whole)]
    while len(heap) < places and heap[0][0] < 0:
        _, begin, left = heapq.heappop(heap)
        middle = left.end - (left.unread + 1) // 2
        rows = ask(run, middle)
        # From the middle on, since there may be nothing for a while.
        density = len(rows) / (rows[-1][0] - middle + 1) if rows else 0.0
        halves = [(begin, _Segment(middle, left.run, density))]
        if rows and rows[0][0] < left.end:
            halves.append((middle, _Segment(left.end, rows, left.after)))
        for at, half in halves:
            heapq.heappush(heap, (-half.most, at, half))
    return [segment for _, _, segment in heap]
