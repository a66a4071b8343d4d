"""Ranges that a user draws by their divisions: the values of an index where partitions meet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa

from .cuts import Cuts
from .dialects import Column, Dialect
from .errors import OptionError
from .options import JDBCOptions
from .partitioning import Position, find_column, parse_bound, position_of, ranges_between

__all__ = ["division_positions", "plan_divisions"]


def plan_divisions(dialect: Dialect, options: JDBCOptions, columns: Sequence[Column]) -> Cuts:
    """Plan the ranges between the divisions; what lies outside is in the first and the last.

    Raises
    ------
    OptionError
        If the divisions do not ascend or are no values of the column, or if it has no ranges.
    """
    by_name = {column.name: column for column in columns}
    column = by_name[find_column(options.partition_column or "", list(by_name))]
    operand, kind = dialect.partition_key(column)
    positions = division_positions(options, kind)
    if dialect.check_key is not None:
        dialect.check_key(options, operand)
    return Cuts(column, ranges_between(positions[1:-1]), "the divisions given")


def division_positions(options: JDBCOptions, kind: pa.DataType) -> list[Position]:
    """Return the divisions in the unit of a column whose bounds are of that type."""
    positions = [_position(value, kind) for value in options.divisions]
    for low, high in pairwise(positions[:-1]):
        if not low < high:
            raise _not_ascending(options)
    if not positions[-2] <= positions[-1]:
        raise _not_ascending(options)
    return positions


def _position(value: float | str, kind: pa.DataType) -> Any:
    types = pa.types
    if types.is_date(kind) or types.is_timestamp(kind):
        return parse_bound(str(value), kind, "divisions")
    if types.is_string(kind):
        position: Any = value if isinstance(value, str) else None
    else:
        # The digits of a double, not the binary fraction that it is, for a column of decimals.
        position = position_of(f"{value}" if types.is_decimal(kind) else value, kind)
    if position is None:
        raise OptionError("divisions", f"has {value!r}, which is no {kind}", "write values of it")
    return position


def _not_ascending(options: JDBCOptions) -> OptionError:
    return OptionError(
        "divisions",
        f"must ascend, got {list(options.divisions)!r:.200}",
        "sort them, and write each once (the last may come twice); texts by their code points",
    )
