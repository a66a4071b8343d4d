"""Partitions by where rows lie: ranges of the pages of a table, and of each table beneath it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from .cuts import asking, partition_count
from .dialects import Column, Dialect, PagedTable
from .errors import OptionError
from .options import JDBCOptions
from .partitioning import MAX_RANGES

__all__ = ["plan_pages"]


def plan_pages(
    dialect: Dialect, options: JDBCOptions, columns: Sequence[Column]
) -> tuple[list[dict[str, Any]], str]:
    """Return the pages of each partition, at least one per table, and a word on them for a person.

    Every page is in just one partition, however many there are when it is read: the first pages of
    a table begin at 0, the last have no end.

    Raises
    ------
    OptionError
        If the rows of this relation do not lie on pages that can be read so.
    """
    if dialect.paged_tables is None:
        raise OptionError(
            "partitioning",
            f"is 'physical', which {dialect.label} has not",
            "write 'auto', which cuts a key",
        )
    statistics, session = asking(dialect, options)
    with session as ask:
        count, why = partition_count(ask, statistics, options, columns)
        tables = dialect.paged_tables(ask, options)
    total = sum(table.pages or 0 for table in tables)
    pieces = [piece for table in tables for piece in _pieces(table, count, total)]
    if len(pieces) > MAX_RANGES:
        raise OptionError(
            "partitioning", f"makes {len(pieces)} partitions", f"ask for at most {MAX_RANGES}"
        )
    beneath = f" of {len(tables):,} tables" if len(tables) > 1 else ""
    return pieces, "; ".join(filter(None, (f"{total:,} pages{beneath}", why)))


def _pieces(table: PagedTable, count: int, total: int) -> Iterator[dict[str, Any]]:
    pages = table.pages or 0
    share = min(max(round(count * pages / max(total, 1)), 1), max(pages, 1))
    edges = [*(step * pages // share for step in range(share)), None]
    for first, stop in pairwise(edges):
        yield {"table": table.sql, "first": first, "stop": stop, **table.identity}
