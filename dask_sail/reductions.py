"""Makes Dask's sums of Arrow floats keep the rows of partitions that hold a NaN.

pandas' sum of an Arrow column with a NaN is NaN, and of a group NULL. Dask adds up the sums of
partitions and skips these, with all the rows that they stand for. What is replaced is told in
``docs/adr/0020-sums-with-nan.md``; frames without Arrow floats go through Dask's own functions.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from .dask_compat import (
    Expr,
    GroupByMean,
    GroupByVar,
    ReductionInternals,
    Var,
    find_reduction_internals,
)

__all__ = ["register"]

logger = logging.getLogger(__name__)

_Function = Callable[..., Any]
_Flags = npt.NDArray[np.bool_]


@functools.cache
def register() -> bool:
    """Put our steps in place of Dask's, in this process; a second call does nothing.

    Returns
    -------
    bool
        False if this version of Dask reduces in another way than the tested ones, so that it is
        left as it is.
    """
    dask = find_reduction_internals()
    if dask is None:
        logger.warning(
            "this version of Dask adds up in a way that %s does not know: sums and means of Arrow "
            "floats leave out partitions that hold a NaN",
            __name__.partition(".")[0],
        )
        return False
    for cls in (dask.Sum, dask.GroupBySum, dask.GroupByProd):
        cls.aggregate_kwargs = property(_skips_nothing(cls.aggregate_kwargs.fget))
    dask.Sum.combine_kwargs = property(_skips_nothing(dask.Sum.combine_kwargs.fget))
    agg_args: Any = functools.cached_property(_adds_all(dask, dask.Aggregation.agg_args.func))
    agg_args.__set_name__(dask.Aggregation, "agg_args")
    dask.Aggregation.agg_args = agg_args
    for ours, cls, which in (
        (_ArrowVar, Var, _is_arrow),
        (_ArrowGroupMean, GroupByMean, _is_float),
        (_ArrowGroupVar, GroupByVar, _is_float),
    ):
        cls._lower = _lowers_to(ours, cls, which, cls._lower)
    return True


def _holds(frame: Any, which: Callable[[Any], bool]) -> bool:
    meta = frame._meta
    return any(map(which, meta.dtypes if meta.ndim == 2 else [meta.dtype]))


def _is_arrow(kind: Any) -> bool:
    return isinstance(kind, pd.ArrowDtype)


def _is_float(kind: Any) -> bool:
    return _is_arrow(kind) and pa.types.is_floating(kind.pyarrow_dtype)


# Of NULLs alone pandas makes 0, or 1: a sum of a partition that is none comes from a NaN.


def _skips_nothing(kwargs_of: _Function) -> _Function:
    @functools.wraps(kwargs_of)
    def kwargs(self: Any) -> dict[str, Any]:
        given: dict[str, Any] = kwargs_of(self)
        return {**given, "skipna": False} if _holds(self.frame, _is_float) else given

    return kwargs


def _adds_all(dask: ReductionInternals, args_of: _Function) -> _Function:
    def whole(function: Any) -> Any:
        adds = any(function is one for one in (dask.sum, dask.prod))
        return functools.partial(function, skipna=False) if adds else function

    @functools.wraps(args_of)
    def args(self: Any) -> dict[str, Any]:
        given: dict[str, Any] = args_of(self)
        if not _holds(self.frame, _is_float):
            return given
        steps = [
            (name, step, {k: whole(v) if k == "func" else v for k, v in kwargs.items()})
            for name, step, kwargs in given["aggregate_funcs"]
        ]
        return given | {"aggregate_funcs": steps}

    return args


def _lowers_to(
    ours: type[Expr], cls: type[Expr], which: Callable[[Any], bool], lower: _Function
) -> _Function:
    @functools.wraps(lower)
    def lowered(self: Any) -> Any:
        if type(self) is cls and _holds(self.frame, which):
            return ours(*self.operands)
        return lower(self)

    return lowered


class _ArrowVar(Var):  # type: ignore[misc]  # Dask is untyped
    """The variance of columns; NaN where one is, and NULLs left out."""

    @classmethod
    def reduction_chunk(cls, x: Any, skipna: bool) -> dict[str, Any]:
        # Dask's own makes floats of several columns by way of objects, and fails at a NULL.
        part = super().reduction_chunk(x.astype("float64"), skipna)
        return {**part, "is_nan": _which_hold_nan(x)}

    @classmethod
    def reduction_combine(cls, parts: Any, skipna: bool) -> dict[str, Any]:
        return {**super().reduction_combine(parts, skipna), "is_nan": _any_of(parts)}

    @classmethod
    def reduction_aggregate(cls, vals: Any, ddof: int, skipna: bool) -> Any:
        result = super().reduction_aggregate(vals, ddof, skipna)
        return np.where(_any_of(vals).reshape(np.shape(result)), np.nan, result)[()]


def _which_hold_nan(x: Any) -> _Flags:
    columns = [x] if x.ndim == 1 else [x.iloc[:, i] for i in range(x.shape[1])]
    return np.array([_is_float(one.dtype) and bool((one != one).any()) for one in columns])


def _any_of(parts: Any) -> _Flags:
    each = [part["is_nan"] for part in (parts if isinstance(parts, list) else [parts])]
    found: _Flags = np.logical_or.reduce(each)
    return found


def _combined(sums: pd.DataFrame, levels: Any, **grouping: Any) -> pd.DataFrame:
    return sums.groupby(level=levels, **grouping).sum(skipna=False)


def _aggregated(finish: _Function, sums: pd.DataFrame, levels: Any, **kwargs: Any) -> pd.DataFrame:
    grouping = {name: kwargs[name] for name in ("sort", "observed", "dropna")}
    whole = _combined(sums, levels, **grouping)
    result: pd.DataFrame = finish(whole, levels, **kwargs)
    return result.mask(whole[result.columns].isna())


class _ArrowGroupMean(GroupByMean):  # type: ignore[misc]  # Dask is untyped
    """The mean of groups, from sums that keep a NaN."""

    reduction_combine = staticmethod(_combined)
    reduction_aggregate = staticmethod(
        functools.partial(_aggregated, GroupByMean.reduction_aggregate)
    )


class _ArrowGroupVar(GroupByVar):  # type: ignore[misc]  # Dask is untyped
    """The variance of groups, from sums that keep a NaN."""

    reduction_combine = staticmethod(_combined)
    reduction_aggregate = staticmethod(
        functools.partial(_aggregated, GroupByVar.reduction_aggregate)
    )
