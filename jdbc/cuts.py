"""Where to cut a relation for which the user gives no bounds: quantiles of a key."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa

from .dialects import Ask, Column, Dialect, Statistics
from .errors import OptionError, QueryError
from .options import JDBCOptions
from .partitioning import (
    MAX_RANGES,
    Position,
    Range,
    bound_value,
    find_column,
    has_positions,
    not_cut,
    parse_bound,
    plan_ranges,
    position_of,
    ranges_between,
)

__all__ = ["Cuts", "asking", "cut_points", "partition_count", "plan_cuts"]

_MOST_SECONDS = 60
"""What finding cuts may take: a query is run once for them, and may be too slow to run twice."""
_MOST_KEYS = 3
_TIMED_OUT = "57014"


@dataclass(frozen=True)
class Cuts:
    """Ranges of a column, and where their ends are from.

    Attributes
    ----------
    key
        The column; None where one range holds all rows.
    ranges
        At least one; ascending, without gaps.
    source
        For a person; empty where the user gave all of it.
    """

    key: Column | None
    ranges: Sequence[Range]
    source: str


@dataclass(frozen=True)
class _Key:
    """A column with its `partition_key`."""

    column: Column
    operand: str
    kind: pa.DataType


def plan_cuts(dialect: Dialect, options: JDBCOptions, columns: Sequence[Column]) -> Cuts:
    """Plan the ranges of a read: between the user's bounds, else of about as many rows each.

    Every row is in just one of them, whatever the database says of its rows. The key is
    ``partitionColumn``, else the best that the database knows. The database is asked only where
    bounds are missing or the number of partitions is.

    Raises
    ------
    OptionError
        If a bound or column is of no use, if there is no column to cut by, or if finding cuts
        takes longer than a minute.
    """
    named = _named_key(dialect, options, columns)
    if options.target_partition_bytes is None:
        count = options.num_partitions or 1
        if named is not None and options.lower_bound is not None:
            return _even_cuts(named, options, count, "")
        if count <= 1:
            return _whole(named, "")
    statistics, session = asking(dialect, options)
    try:
        with session as ask:
            count, why = partition_count(ask, statistics, options, columns)
            if named is not None and options.lower_bound is not None:
                return _even_cuts(named, options, count, why)
            if count == 1:
                return _whole(named, why)
            keys = [named] if named else _usable(dialect, statistics.keys(ask, options, columns))
            found = _best(ask, statistics, dialect, options, keys, count)
    except QueryError as e:
        if e.sqlstate != _TIMED_OUT:
            raise
    else:
        if found is None:
            raise _no_key(options, count)
        return replace(found, source="; ".join(filter(None, (found.source, why))))
    raise _too_slow(options)


def _named_key(dialect: Dialect, options: JDBCOptions, columns: Sequence[Column]) -> _Key | None:
    if options.partition_column is None:
        return None
    by_name = {column.name: column for column in columns}
    column = by_name[find_column(options.partition_column, list(by_name))]
    key = _Key(column, *dialect.partition_key(column))
    if not has_positions(key.kind):
        raise not_cut(str(key.kind))
    return key


def _usable(dialect: Dialect, columns: Iterable[Column]) -> Iterator[_Key]:
    for column in columns:
        try:
            key = _Key(column, *dialect.partition_key(column))
        except OptionError:
            continue
        if has_positions(key.kind):
            yield key


def _even_cuts(key: _Key, options: JDBCOptions, count: int, why: str) -> Cuts:
    lower = parse_bound(options.lower_bound or "", key.kind, "lowerBound")
    upper = parse_bound(options.upper_bound or "", key.kind, "upperBound")
    return Cuts(key.column, plan_ranges(lower, upper, count), why)


def _whole(key: _Key | None, why: str) -> Cuts:
    return Cuts(None if key is None else key.column, ranges_between(()), why)


def asking(
    dialect: Dialect, options: JDBCOptions
) -> tuple[Statistics, AbstractContextManager[Ask]]:
    """Return what the dialect knows to ask, and a session to ask it on, for a minute at most."""
    if dialect.statistics is None or dialect.asking is None:
        raise OptionError(
            _asked_by(options),
            f"needs to know what this version does not ask {dialect.label}",
            "give partitionColumn, lowerBound, upperBound and numPartitions, or predicates",
        )
    bounded = replace(options, query_timeout=_seconds(options))
    return dialect.statistics, dialect.asking(bounded)


def _seconds(options: JDBCOptions) -> int:
    return min(options.query_timeout or _MOST_SECONDS, _MOST_SECONDS)


def _asked_by(options: JDBCOptions) -> str:
    return "numPartitions" if options.target_partition_bytes is None else "targetPartitionBytes"


def _too_slow(options: JDBCOptions) -> OptionError:
    return OptionError(
        _asked_by(options),
        f"needs cuts, and looking for them took longer than {_seconds(options)} seconds",
        "give partitionColumn, lowerBound, upperBound and numPartitions, or predicates",
    )


def _no_key(options: JDBCOptions, count: int) -> OptionError:
    return OptionError(
        _asked_by(options),
        f"asks for {count} partitions, and there is no primary key or index to cut by",
        "name a partitionColumn that holds numbers, dates or timestamps, or write predicates",
    )


def partition_count(
    ask: Ask, statistics: Statistics, options: JDBCOptions, columns: Sequence[Column]
) -> tuple[int, str]:
    """Return how many partitions, and why so many where it is their size that decides."""
    count, why, target = options.num_partitions or 1, "", options.target_partition_bytes
    if target is not None:
        size = statistics.size(ask, options, columns)
        count = max(math.ceil(size / target), 1)
        why = f"{count} for about {size:,} bytes"
    if count > MAX_RANGES:
        raise OptionError(
            _asked_by(options), f"makes {count} partitions", f"ask for at most {MAX_RANGES}"
        )
    return count, why


def _best(
    ask: Ask,
    statistics: Statistics,
    dialect: Dialect,
    options: JDBCOptions,
    keys: Iterable[_Key],
    count: int,
) -> Cuts | None:
    """Return the cuts of the first key that makes enough of them, else the most there are."""
    best = None
    for key in islice(keys, _MOST_KEYS):
        known = statistics.values(ask, options, key.column, key.operand, count)
        cuts = cut_points(_placed(known.weighted, key.kind), count)
        spelt = [cut for cut in cuts if _is_spelt(dialect, cut, key.kind)]
        found = Cuts(key.column, ranges_between(spelt), known.source)
        if best is None or len(found.ranges) > len(best.ranges):
            best = found
        if len(best.ranges) == count:
            break
    return best


def _placed(
    weighted: Iterable[tuple[Any, float]], kind: pa.DataType
) -> Iterator[tuple[Position | None, float]]:
    for value, weight in weighted:
        at = None if value is None else position_of(value, kind)
        if at is not None or value is None:  # an infinity has no place to cut at
            yield at, weight


def _is_spelt(dialect: Dialect, cut: Position, kind: pa.DataType) -> bool:
    try:
        dialect.literal(bound_value(cut, kind), kind)
    except (ValueError, OverflowError):
        return False
    return True


def cut_points(points: Iterable[tuple[Any, float]], count: int) -> list[Any]:
    """Return where to begin the second and every further of ``count`` ranges of equal weight.

    Parameters
    ----------
    points
        Values and their weights, in any order; None lies below all.

    Returns
    -------
    list, of length 0 to ``count - 1``
        Some of the values, ascending. As many as there are values to part, if those are fewer.

    Examples
    --------
    >>> cut_points([(value, 1) for value in range(100)], 4)
    [25, 50, 75]
    >>> cut_points([(1, 97), (2, 1), (3, 1), (None, 1)], 3)
    [1, 2]
    >>> cut_points([(7, 100)], 8)
    []
    """
    weights: defaultdict[Any, float] = defaultdict(float)
    for value, weight in points:
        weights[value] += weight
    gathered = weights.pop(None, 0.0)
    left, room = gathered + sum(weights.values()), count
    cuts = []
    for place, (value, weight) in enumerate(sorted(weights.items())):
        # Here or after this value, whichever comes closer to an even share of what is left.
        full = gathered + weight / 2 >= left / room
        last_chance = len(weights) - place < room
        if gathered and room > 1 and (full or last_chance):
            cuts.append(value)
            left, room, gathered = left - gathered, room - 1, 0.0
        gathered += weight
    return cuts
