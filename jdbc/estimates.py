"""About how many rows partitions hold, as the database knows without looking at them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .dialects import Column, Dialect, Estimate, Part
from .options import JDBCOptions

__all__ = ["estimate_parts", "quickly"]

_MOST_SECONDS = 5
_MOST_PARTS = 64
"""Parts that are asked for one by one; of more, the whole is asked for, and shared out."""


def quickly(options: JDBCOptions) -> JDBCOptions:
    """Return the options with a limit to what a statement may take."""
    seconds = min(options.query_timeout or _MOST_SECONDS, _MOST_SECONDS)
    return replace(options, query_timeout=seconds)


def estimate_parts(
    dialect: Dialect, options: JDBCOptions, columns: Sequence[Column], parts: Sequence[Part]
) -> Sequence[Estimate]:
    """Return about how many rows and bytes each part has, as far as that is known at once.

    Raises
    ------
    JDBCError
        If the database does not answer, or not in time.
    """
    if dialect.statistics is None or dialect.asking is None:
        return [(None, None)] * len(parts)
    with dialect.asking(options) as ask:
        if len(parts) <= _MOST_PARTS:
            return dialect.statistics.estimates(ask, options, columns, parts)
        ((rows, size),) = dialect.statistics.estimates(ask, options, columns, [Part(options, "")])
    return [(_share(rows, len(parts)), _share(size, len(parts)))] * len(parts)


def _share(whole: int | None, count: int) -> int | None:
    return None if whole is None else round(whole / count)
