"""Makes Dask set indexes and sort by Arrow columns of any type, NULLs included.

Dask cuts the values of a key into ranges, one for each new partition, then sends every row to the
partition of its range. What is wrong there with Arrow-backed columns, and what is replaced, is told
in ``docs/adr/0002-shuffles.md``. Keys of other types go through Dask's own functions.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from dask.dataframe import methods

from .dask_compat import Blockwise, Head, SortInternals, Tail, find_sort_internals, new_collection

__all__ = ["register"]

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 1 << 16

_Function = Callable[..., Any]


@functools.cache
def register() -> bool:
    """Put our functions in place of Dask's, in this process; a second call does nothing.

    Returns
    -------
    bool
        False if this version of Dask sorts in another way than the tested ones, so that it is left
        as it is.
    """
    dask = find_sort_internals()
    if dask is None:
        logger.warning(
            "this version of Dask sorts in a way that %s does not know: set_index and sort_values "
            "by Arrow columns are Dask's own, which fail for some types and NULLs",
            __name__.partition(".")[0],
        )
        return False
    module, sort = dask.module, dask.SortValues
    module._calculate_divisions = _with_our_divisions(module._calculate_divisions)
    dask.SetPartition._lower = _with_our_set_index(dask.SetPartition._lower, dask)
    sort._lower = _with_our_sort(sort._lower, dask)
    sort._simplify_up = _with_our_head(sort._simplify_up)
    dask.LocUnknown._lower = _with_our_loc(dask.LocUnknown._lower)
    return True


def _arrow_type(meta: pd.Series | pd.Index) -> pa.DataType | None:
    return meta.dtype.pyarrow_dtype if isinstance(meta.dtype, pd.ArrowDtype) else None


def _arrow_values(keys: pd.Series | pd.Index, kind: pa.DataType) -> pa.ChunkedArray:
    if _arrow_type(keys) is None:  # a partition that is not what its collection's meta says
        return pa.chunked_array([pa.array(keys, kind, from_pandas=True)])
    return keys.array.__arrow_array__()


def _to_numpy(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    return np.asarray(values)


# --- where to cut ---


@dataclass(frozen=True)
class _Sample:
    """Some values of a partition.

    Attributes
    ----------
    values
        Ascending, from the least to the greatest; neither NULL nor NaN.
    weights
        How many rows each of them stands for.
    has_missing
        Whether the partition also holds NULL or NaN.
    """

    values: pa.Array
    weights: npt.NDArray[np.float64]
    has_missing: bool


def _with_our_divisions(before: _Function) -> _Function:
    @functools.wraps(before)
    def calculate(
        frame: Any,
        other: Any,
        npartitions: int,
        ascending: bool = True,
        partition_size: float = 128e6,
        upsample: float = 1.0,
    ) -> tuple[list[Any], list[Any], list[Any], bool]:
        kind = _arrow_type(other._meta)
        if kind is None:
            done: tuple[list[Any], list[Any], list[Any], bool] = before(
                frame, other, npartitions, ascending, partition_size, upsample
            )
            return done
        return _calculate_divisions(other, kind, npartitions, ascending, upsample)

    return calculate


def _calculate_divisions(
    key: Any, kind: pa.DataType, npartitions: int, ascending: bool, upsample: float
) -> tuple[list[Any], list[Any], list[Any], bool]:
    """Return divisions, the least and the greatest values of partitions, and if these are sorted.

    The divisions are unknown (each None) where a key is NULL or NaN: such a row lies between no two
    of them, and Dask drops it as it aligns frames by known divisions. Then the place of the least
    values, which Dask reads of sorted partitions only, holds what divides the other rows.
    """
    _refuse_unsortable(key._meta.name, kind)
    # Much as Dask: per new partition about sqrt(old partitions) values, over all of the old ones.
    per_partition = 2 * npartitions * (key.npartitions + 22) ** 0.5 / key.npartitions
    size = 2 + math.ceil(upsample * per_partition)
    collection = new_collection(key).map_partitions(
        _sample, kind, size, meta=pd.Series(dtype=object), enforce_metadata=False
    )
    samples: list[_Sample] = list(collection.compute())
    has_missing = any(sample.has_missing for sample in samples)
    # NULLs get a partition to themselves, which keeps the others monotonic, and so fit for `loc`.
    spare = int(has_missing and npartitions > 1)
    edges = _find_edges([sample for sample in samples if len(sample.values)], npartitions - spare)
    if not edges:
        return [None, None], [], [], False
    if has_missing:
        return [None] * (len(edges) + spare), edges, [], False
    if not _are_sorted(samples, ascending):
        return edges, [], [], False
    return (
        edges,
        [_scalar(sample.values, 0) for sample in samples],
        [_scalar(sample.values, -1) for sample in samples],
        True,
    )


def _refuse_unsortable(name: Any, kind: pa.DataType) -> None:
    try:
        pc.sort_indices(pa.chunked_array([pa.nulls(1, kind)]))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise TypeError(
            f"the key {name!r} has the Arrow type {kind}, by which rows cannot be sorted or "
            "indexed; cast it, or use a part of it as the key"
        ) from error


def _sample(keys: pd.Series | pd.Index, kind: pa.DataType, size: int) -> pd.Series:
    """Take up to ``size`` values of a partition, evenly spaced among its sorted ones."""
    values = _arrow_values(keys, kind).cast(kind)
    known = values.filter(pc.invert(values.is_null(nan_is_null=True)))
    count = len(known)
    ranks = np.unique(np.linspace(0, count - 1, min(size, count)).round().astype(np.int64))
    places = pc.sort_indices(known).take(pa.array(ranks))
    taken = known.take(places).combine_chunks()
    weights = np.full(len(ranks), count / max(len(ranks), 1))
    return pd.Series([_Sample(taken, weights, count < len(values))], dtype=object)


def _find_edges(samples: Sequence[_Sample], count: int) -> list[Any]:
    """Cut the values into at most ``count`` ranges of about as many rows.

    Returns
    -------
    list
        The least value of each range, then the greatest of all: empty without any value.
    """
    if not samples:
        return []
    values = pa.concat_arrays([sample.values for sample in samples])
    weights = np.concatenate([sample.weights for sample in samples])
    order = pc.sort_indices(values)
    values, weights = values.take(order), weights[_to_numpy(order)]
    is_new = np.append(True, _to_numpy(pc.not_equal(values[1:], values[:-1])))
    # How many rows come before each value that differs from the one before it.
    before = (np.cumsum(weights) - weights)[is_new]
    ranges = np.floor(before * count / weights.sum() + 1e-9)  # whole in spite of float sums
    starts = np.flatnonzero(is_new)[np.diff(ranges, prepend=-1) > 0]
    # Without repeats: a `time` of Python holds no nanoseconds.
    edges = dict.fromkeys(_scalar(values, int(place)) for place in starts)
    return [*edges, _scalar(values, -1)]


def _are_sorted(samples: Sequence[_Sample], ascending: bool) -> bool:
    """Tell whether each partition lies wholly after the one before it."""
    if not all(len(sample.values) for sample in samples):
        return False
    least = pa.concat_arrays([sample.values[:1] for sample in samples])
    greatest = pa.concat_arrays([sample.values[-1:] for sample in samples])
    if not ascending:
        least, greatest = least[::-1], greatest[::-1]
    return bool(_to_numpy(pc.less(greatest[:-1], least[1:])).all())


def _scalar(values: pa.Array, place: int) -> Any:
    """Return what pandas returns for a value of such a column."""
    return pd.arrays.ArrowExtensionArray(pa.chunked_array([values]))[place]


# --- where to send each row ---


def _find_partitions(
    keys: pd.Series | pd.Index,
    edges: pd.Series,
    count: int,
    ascending: bool,
    na_position: str,
    nan_is_null: bool,
    is_strict: bool,
) -> npt.NDArray[np.int64]:
    """Number the partition of each row.

    Parameters
    ----------
    edges
        As `_find_edges` returns them. Values beyond the first and the last, which a source may have
        got in the meantime, go to the nearest partition.
    count
        How many partitions there are: as many as ranges, and maybe one more for NULLs.
    nan_is_null
        Whether NaN goes with the NULLs, or is the greatest of the values.
    is_strict
        Raise for rows that are in none of the ranges, NULLs included.
    """
    values = _arrow_values(keys, edges.dtype.pyarrow_dtype)
    if is_strict:
        _refuse_outsiders(values, edges, keys.name)
    cuts = edges.array.__arrow_array__().combine_chunks()[1:-1]
    partitions = _count_at_most(cuts, values)
    is_null = _to_numpy(values.is_null(nan_is_null=nan_is_null))
    partitions[_to_numpy(values.is_null(nan_is_null=True))] = len(cuts)  # NaN compares as False
    if not ascending:
        partitions = len(cuts) - partitions
    if na_position == "first":
        partitions += count - 1 - len(cuts)
    partitions[is_null] = 0 if na_position == "first" else count - 1
    return partitions


def _count_at_most(cuts: pa.Array, values: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Count the ``cuts``, which ascend, that are less than or equal to each value."""
    pieces = [np.zeros(0, dtype=np.int64)]
    # Piece by piece, since each value is laid beside a copy of a cut.
    for batch in pa.table({"": values}).to_batches(max_chunksize=_ROWS_AT_ONCE):
        counts = np.zeros(len(batch), dtype=np.int64)
        for bit in reversed(range(len(cuts).bit_length())):
            further = np.minimum(counts + (1 << bit), len(cuts))
            is_reached = pc.less_equal(cuts.take(pa.array(further - 1)), batch.column(0))
            counts = np.where(_to_numpy(is_reached.fill_null(False)), further, counts)
        pieces.append(counts)
    return np.concatenate(pieces)


def _refuse_outsiders(values: pa.ChunkedArray, edges: pd.Series, name: Any) -> None:
    if values.null_count:
        raise ValueError(
            f"the key {name!r} holds NULLs, which lie in no division; drop them with dropna(), or "
            "leave out divisions="
        )
    least, greatest = edges.array.__arrow_array__()[0], edges.array.__arrow_array__()[-1]
    is_inside = pc.and_(pc.greater_equal(values, least), pc.less_equal(values, greatest))
    outsiders = values.filter(pc.invert(is_inside))
    if len(outsiders):
        raise ValueError(
            f"the key {name!r} holds {_scalar(outsiders.combine_chunks(), 0)!r}, outside of the "
            f"divisions from {edges.iloc[0]!r} to {edges.iloc[-1]!r}; widen them, or leave out "
            "divisions="
        )


class _KeyPartitions(Blockwise):  # type: ignore[misc]  # all of Dask is Any to mypy
    """The number of the partition of each row, in place of Dask's own such step."""

    _parameters = (
        "frame",
        "edges",
        "count",
        "ascending",
        "na_position",
        "nan_is_null",
        "is_strict",
    )
    operation = staticmethod(_find_partitions)
    _is_length_preserving = True

    @functools.cached_property
    def _meta(self) -> pd.Series:
        return pd.Series(dtype="int64")


def _with_our_steps(lowered: Any, step: Any, key: Any, edges: Sequence[Any], *how: Any) -> Any:
    """Put our step in place of Dask's, which numbers the partitions of the rows by ``key``."""
    ours = _KeyPartitions(key, _typed_edges(edges, key._meta), *how)
    replaced = [old for old in lowered.find_operations(step) if old.frame._name == key._name]
    if not replaced:
        raise RuntimeError("Dask sorts in a way that dask_sail does not know; please report this")
    for old in replaced:
        lowered = lowered.substitute(old, ours)
    return lowered


def _typed_edges(edges: Sequence[Any], meta: pd.Series | pd.Index) -> pd.Series:
    try:
        typed = pd.Series(pd.array(list(edges), dtype=meta.dtype))
    except (TypeError, ValueError, NotImplementedError) as error:  # those of Arrow are such, too
        raise _unlike_key(edges, meta) from error
    # Arrow cuts 1.5 down to an integer, and takes a time without a zone to be in UTC.
    if not all(given == taken for given, taken in zip(edges, typed, strict=True)):
        raise _unlike_key(edges, meta)
    return typed


def _unlike_key(edges: Sequence[Any], meta: pd.Series | pd.Index) -> TypeError:
    return TypeError(
        f"divisions of the key {meta.name!r} must be values of its type {meta.dtype}, got "
        f"{list(edges)!r}"
    )


def _with_our_set_index(before: _Function, dask: SortInternals) -> _Function:
    @functools.wraps(before)
    def _lower(self: Any) -> Any:
        lowered = before(self)
        if _arrow_type(self.other._meta) is None:
            return lowered
        edges = divisions = self._divisions()
        is_given = self.user_divisions is not None
        if not is_given and divisions[0] is None:
            edges = dask.module._get_divisions(
                self.frame,
                self.other,
                self._npartitions_input,
                self.ascending,
                upsample=self.upsample,
            )[1]
        how = len(divisions) - 1, True, "last", True, is_given
        return _with_our_steps(lowered, dask.SetPartitionsPre, self.other, edges, *how)

    return _lower


def _with_our_sort(before: _Function, dask: SortInternals) -> _Function:
    @functools.wraps(before)
    def _lower(self: Any) -> Any:
        lowered = before(self)
        key = self.frame[self.by[0]]
        if _arrow_type(key._meta) is None or self.frame.npartitions == 1:
            return lowered
        divisions, least, _, is_sorted = dask.module._get_divisions(
            self.frame,
            key,
            self._npartitions_input,
            self._divisions_ascending,
            upsample=self.upsample,
        )
        if is_sorted and self.npartitions == self.frame.npartitions:
            return lowered  # sorted in place, without a step of ours
        edges = least if divisions[0] is None else divisions
        # In a sort by several columns, pandas takes NaN to be a value.
        nan_is_null = len(self.by) == 1
        how = len(divisions) - 1, self._divisions_ascending, self.na_position, nan_is_null, False
        return _with_our_steps(lowered, dask.SetPartitionsPre, key, edges, *how)

    return _lower


# --- what reads a sorted frame ---


def _with_our_head(before: _Function) -> _Function:
    """Heed ``na_position`` in the first and last rows of a sort; Dask's shortcut forgets it."""

    @functools.wraps(before)
    def _simplify_up(self: Any, parent: Any, dependents: Any) -> Any:
        keys = [self.frame._meta[name] for name in self.by]
        if (
            self.na_position != "first"
            or not isinstance(parent, Head | Tail)
            or not any(map(_arrow_type, keys))
        ):
            return before(self, parent, dependents)
        if self.frame.npartitions == 1:
            return None
        ends = new_collection(self.frame).map_partitions(
            _sorted_end,
            self.sort_function,
            self.sort_function_kwargs,
            parent.n if isinstance(parent, Head) else -parent.n,
            meta=self.frame._meta,
        )
        gathered = ends.repartition(npartitions=1).expr
        return type(parent)(type(self)(gathered, *self.operands[1:]), parent.n)

    return _simplify_up


def _sorted_end(
    frame: pd.DataFrame, sort: _Function, how: dict[str, Any], count: int
) -> pd.DataFrame:
    ordered: pd.DataFrame = sort(frame, **how)
    return ordered.head(count) if count >= 0 else ordered.tail(-count)


def _with_our_loc(before: _Function) -> _Function:
    @functools.wraps(before)
    def _lower(self: Any) -> Any:
        if _arrow_type(self.frame._meta.index) is None or not isinstance(self.iindexer, slice):
            return before(self)
        return _LocNullsLast(self.frame, self.iindexer, self.cindexer)

    return _lower


def _loc_nulls_last(
    frame: pd.DataFrame | pd.Series, rows: slice, columns: Any = None
) -> pd.DataFrame | pd.Series:
    """Take a range of a sorted index, whose NULLs pandas would not take for sorted."""
    if _arrow_type(frame.index) is None:  # a partition that is not what its meta says
        return methods.try_loc(frame, rows, columns)
    is_null = _to_numpy(frame.index.array.__arrow_array__().is_null(nan_is_null=True))
    count = len(is_null) - is_null.sum()
    known = frame.index[:count]
    if is_null.any() and not is_null[:count].any() and known.is_monotonic_increasing:
        start, stop = known.slice_locs(rows.start, rows.stop)
        frame = frame.iloc[start : len(frame) if rows.stop is None else stop]
        rows = slice(None, None, rows.step)
    return methods.try_loc(frame, rows, columns)


class _LocNullsLast(Blockwise):  # type: ignore[misc]  # all of Dask is Any to mypy
    """`loc` by unknown divisions."""

    _parameters = ("frame", "iindexer", "cindexer")
    operation = staticmethod(_loc_nulls_last)
