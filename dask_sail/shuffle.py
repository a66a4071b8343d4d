"""Makes Dask's own shuffles keep Arrow types, and hash equal Arrow keys equally.

Joins, groupings and sorts of Dask send each row to the partition that the hash of its key names.
What is wrong there with Arrow-backed pandas columns, and what is done about it, is told in
``docs/adr/0002-shuffles.md``.
"""

from __future__ import annotations

import datetime
import functools
import json
import logging
import pkgutil
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from dask.dataframe.dispatch import (
    from_pyarrow_table_dispatch,
    hash_object_dispatch,
    to_pyarrow_table_dispatch,
)
from dask.dataframe.extensions import make_scalar
from distributed import Client, Worker, WorkerPlugin, get_worker

from . import reductions, sorting
from .errors import ClusterError

__all__ = ["ShufflePlugin", "ensure_on_cluster", "register"]

logger = logging.getLogger(__name__)

_PACKAGE = __name__.partition(".")[0]

# What Dask does with pandas objects that hold nothing of Arrow.
_hash_as_before = hash_object_dispatch.dispatch(pd.DataFrame)
_to_table_as_before = to_pyarrow_table_dispatch.dispatch(pd.DataFrame)
_from_table_as_before = from_pyarrow_table_dispatch.dispatch(pd.DataFrame)

_T = TypeVar("_T")
_HashableT = TypeVar("_HashableT", pd.DataFrame, pd.Series, pd.Index)


@functools.cache
def register() -> None:
    """Put our functions in place of Dask's, in this process; a second call does nothing."""
    # MultiIndex by name: Dask may have cached its own function for this subclass already.
    hash_object_dispatch.register((pd.DataFrame, pd.Series, pd.Index, pd.MultiIndex), _hash_object)
    to_pyarrow_table_dispatch.register(pd.DataFrame, _to_table)
    from_pyarrow_table_dispatch.register(pd.DataFrame, _from_table)
    # Without these, Dask raises on the sum, minimum or maximum of such a column.
    make_scalar.register((Decimal, datetime.date, datetime.time), _same_scalar)
    sorting.register()
    reductions.register()


def _same_scalar(scalar: _T) -> _T:
    return scalar


# --- hashes of keys ---


def _hash_object(
    obj: pd.DataFrame | pd.Series | pd.Index, index: bool = True, **options: Any
) -> Any:
    """Hash rows as `pandas.util.hash_pandas_object` does, equal Arrow values equally.

    Raises
    ------
    TypeError
        If a column is nested: pandas cannot join, group or deduplicate by it either.
    """
    stable = _stable_object(obj, index)
    hashes = _hash_as_before(stable, index=index, **options)
    if stable is not obj and not isinstance(obj, pd.MultiIndex):  # hashes of those bear no index
        hashes.index = obj if isinstance(obj, pd.Index) else obj.index
    return hashes


def _stable_object(obj: _HashableT, with_index: bool) -> _HashableT:
    """Return `obj` itself if it holds nothing of Arrow, else a copy in types that hash rightly."""
    if isinstance(obj, pd.Index):
        return _stable_index(obj)
    index = _stable_index(obj.index) if with_index else obj.index
    if isinstance(obj, pd.Series):
        if index is obj.index and not _is_arrow(obj):
            return obj
        return pd.Series(_stable_values(obj), index=index, copy=False)
    columns = [column for _, column in obj.items()]
    if index is obj.index and not any(map(_is_arrow, columns)):
        return obj
    # By position, since names may repeat.
    values = {place: _stable_values(column) for place, column in enumerate(columns)}
    return pd.DataFrame(values, index=index, copy=False)


def _stable_index(index: pd.Index) -> pd.Index:
    if isinstance(index, pd.MultiIndex):
        levels = [index.get_level_values(place) for place in range(index.nlevels)]
        if not any(map(_is_arrow, levels)):
            return index
        return pd.MultiIndex.from_arrays([_stable_values(level) for level in levels])
    return pd.Index(_stable_values(index)) if _is_arrow(index) else index


def _is_arrow(column: pd.Series | pd.Index) -> bool:
    return isinstance(column.dtype, pd.ArrowDtype)


def _stable_values(column: pd.Series | pd.Index) -> Any:
    """Return values whose hash by pandas depends on each value alone, not on its neighbours.

    The types are those that pandas would match in a join: Dask casts numeric keys of either side to
    float64, and a date may meet a Python `datetime.date`.
    """
    if not _is_arrow(column):
        return column.array
    kind = column.dtype.pyarrow_dtype
    data = column.array.__arrow_array__()
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
        data = data.cast(kind)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        data = data.cast(kind)
    for test, convert in _STABLE_VALUES:
        if test(kind):
            return convert(data)
    named = "the key" if column.name is None else f"the key {column.name!r}"
    raise TypeError(
        f"{named} has the Arrow type {kind}, by which rows cannot be joined, grouped or "
        "deduplicated; use a part of it, or a text made of it, as the key"
    )


def _arrow_backed(data: pa.ChunkedArray) -> pd.api.extensions.ExtensionArray:
    return pd.arrays.ArrowExtensionArray(data)


def _as_float(data: pa.ChunkedArray) -> Any:
    # pandas' cast, which is what Dask applies to numeric keys; that of Arrow rounds some decimals
    # to the neighbouring float.
    return _arrow_backed(data).astype("float64")


def _as_integer(data: pa.ChunkedArray, kind: pa.DataType) -> Any:
    mask = data.is_null().to_numpy()
    values = pc.fill_null(data.cast(kind), 0).to_numpy()
    return pd.arrays.IntegerArray(values, mask)


def _as_microseconds(data: pa.ChunkedArray, kind: pa.DataType) -> Any:
    # Unsafe, as pandas' merge matches units too: nanoseconds may go, and years past 294000 wrap.
    return data.cast(kind, safe=False).to_numpy()


def _as_text(data: pa.ChunkedArray) -> Any:
    return _arrow_backed(data.cast(pa.string()))


def _as_time_text(data: pa.ChunkedArray) -> Any:
    """Write times as Python does: the fraction stands only where there is one."""
    exact = data.cast(pa.time64("us"), safe=False)
    whole = exact.cast(pa.time32("s"), safe=False)
    has_fraction = pc.not_equal(exact, whole.cast(pa.time64("us")))
    return _arrow_backed(pc.if_else(has_fraction, exact.cast("string"), whole.cast("string")))


# Pandas hashes these rightly by itself, as the Python objects that they hold.
_PLAIN_TYPES: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_null,
)

_STABLE_VALUES: list[tuple[Callable[[pa.DataType], bool], Callable[[pa.ChunkedArray], Any]]] = [
    *((test, _arrow_backed) for test in _PLAIN_TYPES),
    (pa.types.is_signed_integer, lambda data: _as_integer(data, pa.int64())),
    (pa.types.is_unsigned_integer, lambda data: _as_integer(data, pa.uint64())),
    # Booleans too: Dask casts bool and boolean of pandas, but not those of Arrow.
    (pa.types.is_boolean, _as_float),
    (pa.types.is_floating, _as_float),
    (pa.types.is_decimal, _as_float),
    # In UTC, whatever the time zone.
    (pa.types.is_timestamp, lambda data: _as_microseconds(data, pa.timestamp("us", data.type.tz))),
    (pa.types.is_duration, lambda data: _as_microseconds(data, pa.duration("us"))),
    (pa.types.is_date, lambda data: _as_text(data.cast(pa.date32()))),
    (pa.types.is_time, _as_time_text),
    (pa.types.is_string_view, _as_text),
    (pa.types.is_binary_view, lambda data: _arrow_backed(data.cast(pa.binary()))),
]


# --- Arrow tables, as P2P shuffles send them ---


def _to_table(frame: pd.DataFrame, **kwargs: Any) -> pa.Table:
    """Make a table as Dask does, without the names of pandas types that cannot be read back."""
    table = _to_table_as_before(frame, **kwargs)
    metadata = table.schema.pandas_metadata
    if not metadata:
        return table
    for column in metadata["columns"]:
        place = table.schema.get_field_index(column["field_name"])
        if place >= 0 and not _can_read_back(column["numpy_type"], table.schema.field(place).type):
            column.update(pandas_type="object", numpy_type="object", metadata=None)
    return table.replace_schema_metadata(
        {**table.schema.metadata, b"pandas": json.dumps(metadata).encode()}
    )


@functools.lru_cache
def _can_read_back(name: str, kind: pa.DataType) -> bool:
    """Tell whether pandas finds the type again by the name that stands in a table's metadata."""
    if not name.endswith("[pyarrow]"):
        return True
    try:
        return bool(pd.api.types.pandas_dtype(name) == pd.ArrowDtype(kind))
    except (TypeError, NotImplementedError):  # pandas' answers to names that it cannot parse
        return False


def _from_table(meta: pd.DataFrame, table: pa.Table, **kwargs: Any) -> pd.DataFrame:
    """Make a frame of a table: Arrow columns of `meta` as they are, others as Dask does."""
    labels = {
        str(label): label
        for label, dtype in meta.dtypes.items()
        if isinstance(dtype, pd.ArrowDtype) and str(label) in table.column_names
    }
    index_name = _arrow_index_name(meta, table)
    if not labels and index_name is None:
        return _from_table_as_before(meta, table, **kwargs)
    taken = [*labels] if index_name is None else [*labels, index_name]
    others = [label for label in meta.columns if str(label) not in labels]
    rest = _from_table_as_before(meta[others], table.drop_columns(taken), **kwargs)
    if index_name is not None:
        values = _arrow_column(table, index_name, meta.index.dtype)
        rest = rest.set_axis(pd.Index(values, name=meta.index.name), axis=0)
    arrow = {
        label: _arrow_column(table, name, meta.dtypes[label]) for name, label in labels.items()
    }
    order = [labels.get(name, name) for name in table.column_names if name != index_name]
    frame = pd.concat([rest, pd.DataFrame(arrow, index=rest.index, copy=False)], axis=1)
    present = set(frame.columns)
    return frame[[label for label in order if label in present]]


def _arrow_index_name(meta: pd.DataFrame, table: pa.Table) -> str | None:
    """Return the column of `table` that holds the index, if `meta` has an Arrow-backed one."""
    metadata = table.schema.pandas_metadata
    if not metadata or not isinstance(meta.index.dtype, pd.ArrowDtype):
        return None
    (name,) = metadata["index_columns"]
    return name if name in table.column_names else None


def _arrow_column(
    table: pa.Table, name: str, dtype: pd.ArrowDtype
) -> pd.api.extensions.ExtensionArray:
    column = table[name]
    if column.type != dtype.pyarrow_dtype:
        try:
            column = column.cast(dtype.pyarrow_dtype)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise TypeError(
                f"column {name!r} holds {column.type} in some partition where the collection's "
                f"meta promises {dtype.pyarrow_dtype}, and the values do not fit ({error}); give "
                "meta= the type that the partitions hold"
            ) from error
    return pd.arrays.ArrowExtensionArray(column)


# --- clusters ---


class ShufflePlugin(WorkerPlugin):  # type: ignore[misc]  # all of distributed is Any to mypy
    """Registers in every worker of a cluster, those that join later included."""

    name = "dask_sail.shuffle"
    idempotent = True

    def setup(self, worker: Worker) -> None:
        """Register; distributed calls this once on each worker."""
        register()


# By client: None while all is well (or not yet known), else what to raise at the next call.
_clusters: WeakKeyDictionary[Client, Exception | None] = WeakKeyDictionary()


def ensure_on_cluster(client: Client | None = None) -> None:
    """Register on a client's cluster, once; without one, or within a task, do nothing.

    Workers that join later register as they start, so a further call costs a look-up.

    Parameters
    ----------
    client
        By default the current one, if there is any.

    Raises
    ------
    ClusterError
        If the scheduler or a worker cannot import this package. With an asynchronous client, which
        cannot be waited for here, the error is logged as soon as it is known, and raised by the
        next call.
    """
    if _is_in_task() or (client := client or _find_client()) is None:
        return
    if client in _clusters:
        error = _clusters[client]
        if error is not None:
            del _clusters[client]  # so that the call after it looks anew
            raise error
        return
    if (loop := client.loop) is None or client.status != "running":
        return  # nothing can be computed on it either
    if client.asynchronous:
        _clusters[client] = None
        loop.add_callback(_prepare_later, client)
    else:
        client.sync(_prepare, client)
        _clusters[client] = None


def _is_in_task() -> bool:
    # Waiting for the cluster there could wait for the very worker that waits.
    try:
        get_worker()
    except ValueError:
        return False
    return True


def _find_client() -> Client | None:
    try:
        client: Client = Client.current()
    except ValueError:
        return None
    return client


async def _prepare(client: Client) -> None:
    # The import itself, not the installed version: a source tree on the path has none, and an
    # installation can be broken.
    probe = pkgutil.resolve_name, f"{_PACKAGE}:__name__"
    try:
        await client.run_on_scheduler(*probe)
    except ImportError as error:
        raise _lack("the scheduler", error) from error
    results = await client.run(*probe, on_error="return")
    errors = {worker: said for worker, said in results.items() if isinstance(said, ImportError)}
    if errors:
        raise _lack(f"the workers {', '.join(sorted(errors))}", next(iter(errors.values())))
    await client.register_plugin(ShufflePlugin())


async def _prepare_later(client: Client) -> None:
    try:
        await _prepare(client)
    except Exception as error:  # noqa: BLE001 - nobody awaits this; the next call raises it
        logger.error("Arrow types may be lost in shuffles on this cluster: %s", error)
        _clusters[client] = error


def _lack(place: str, error: ImportError) -> ClusterError:
    return ClusterError(
        f"{_PACKAGE} cannot be imported on {place} ({error}); install dask-sail there, in the "
        "version that the client has"
    )
