"""Where the rows of a PostgreSQL table lie: its pages, and those of each table that belongs to it.

Each table is read by itself, so that no row of another one is looked at. What the tables are is
looked up when the read is planned. That they still are is asked within the snapshot of each
partition, beside its query: as a condition of it, it would not be looked at where the planner finds
that no row of this table can match.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import OptionError, QueryError
from ..options import JDBCOptions
from . import Ask, PagedTable
from .postgresql_statistics import PLAIN_NAME

__all__ = ["CHANGED", "page_condition", "paged_tables", "same_tables"]

CHANGED = "dask-sail other tables than were planned"
"""Words of the server's error, which `jdbc.dialects.postgresql` makes a sentence of."""

_OLDEST = 140000  # ranges of ctid are scanned, rather than searched for in the whole table

_TREE = """WITH RECURSIVE tree(oid) AS (
    SELECT c.oid FROM pg_class c WHERE c.oid = {root}
    UNION SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
    WHERE NOT i.inhdetachpending
)"""
_IDENTITY = (
    "md5(string_agg(format('%s %s %I.%I', c.oid, c.relkind, n.nspname, c.relname), ','"
    " ORDER BY c.oid))"
)
_OF_TREE = (
    "FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace"
)
_TABLES = f"""{_TREE}
SELECT c.oid::int8, c.relkind::text, m.amname, format('%I.%I', n.nspname, c.relname),
    coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::int,
    has_any_column_privilege(c.oid, 'SELECT'), row_security_active(c.oid),
    EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 'v'),
    (SELECT {_IDENTITY} {_OF_TREE})
{_OF_TREE} LEFT JOIN pg_am m ON m.oid = c.relam
ORDER BY c.oid <> {{root}}, c.oid
"""  # noqa: S608 - made here
_KINDS = {"v": "a view", "f": "a foreign table", "S": "a sequence", "i": "an index"}


class _Table(NamedTuple):
    oid: int
    kind: str
    method: str | None
    name: str
    pages: int
    is_readable: bool
    has_policies: bool
    is_computed: bool
    identity: str


def paged_tables(ask: Ask, options: JDBCOptions) -> list[PagedTable]:
    """Return the table that ``dbtable`` names, or the tables whose rows it shows.

    Raises
    ------
    OptionError
        If that is no table of pages, or if its parts show other rows than it does.
    """
    ((version,),) = ask("SELECT current_setting('server_version_num')::int")
    if version < _OLDEST:
        raise _refusal(f"needs PostgreSQL 14, and this is {version // 10000}")
    root = _root(ask, options)
    tables = [_Table(*row) for row in ask(_TABLES.format(root=root))]
    _check_root(tables[0], options)
    if len(tables) > 1:
        _check_parts(tables)
    stored = [table for table in tables if table.kind != "p"] or tables  # a parent without parts
    return [
        PagedTable(
            f"ONLY {table.name}",
            table.pages if table.method == "heap" else None,
            {"oid": table.oid, "root": root, "tables": table.identity},
        )
        for table in stored
    ]


def _root(ask: Ask, options: JDBCOptions) -> int:
    name = options.dbtable
    if name is None or options.prepare_query or not PLAIN_NAME.fullmatch(name):
        what = "a query" if name is None else "no table's name alone"
        raise _refusal(f"reads a table by its pages, and this is {what}")
    ((root,),) = ask("SELECT to_regclass(%s)::oid::int8", name)
    if root is None:
        raise QueryError(f'{options.url.label}: relation "{name}" does not exist', "42P01")
    return int(root)


def _check_root(table: _Table, options: JDBCOptions) -> None:
    if table.kind not in ("r", "m", "p"):
        kind = _KINDS.get(table.kind, "no table")
        raise _refusal(f"reads a table by its pages, and {options.dbtable} is {kind}")
    if table.kind != "p" and table.method != "heap":
        raise _refusal(f"needs a heap, and {options.dbtable} is stored as {table.method}")


def _check_parts(tables: list[_Table]) -> None:
    for table in tables:
        if not table.is_readable:
            raise _refusal(
                f"reads {table.name} by itself, which this user may not",
                f"GRANT SELECT ON {table.name}, or write 'auto', which reads by way of its parent",
            )
        if table.has_policies or table.is_computed:
            what = "row security" if table.has_policies else "virtual columns"
            raise _refusal(
                f"reads {table.name} by itself, whose {what} may not be those of its parent"
            )


def _refusal(problem: str, fix: str = "write 'auto', which cuts a key") -> OptionError:
    return OptionError("partitioning", f"is 'physical', which {problem}", fix)


def page_condition(pages: Mapping[str, Any]) -> str:
    """Return SQL for the rows of some pages; empty for all."""
    bounds = ((">=", pages["first"] or None), ("<", pages["stop"]))
    return " AND ".join(f"ctid {op} '({int(at)},0)'::tid" for op, at in bounds if at is not None)


def same_tables(pages: Mapping[str, Any]) -> str:
    """Return an expression that fails if other tables are to be read now than were planned."""
    name = pages["table"].removeprefix("ONLY ").replace("\\", "\\\\").replace("'", "''")
    # The name goes by the catalogue of now, which renaming a schema changes under a snapshot.
    is_known = f"known = '{pages['tables']}' AND to_regclass(E'{name}') = {int(pages['oid'])}"
    found = f"{_TREE.format(root=int(pages['root']))} SELECT {_IDENTITY} AS known {_OF_TREE}"
    failing = f"CAST(concat('{CHANGED} ', known) AS boolean)"  # not constant, or planning fails
    checked = f"CASE WHEN {is_known} THEN true ELSE {failing} END"
    return f"(SELECT {checked} FROM ({found}) AS tables)"  # noqa: S608 - made here
