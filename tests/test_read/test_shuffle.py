"""Dask's shuffles of Arrow-backed frames give what pandas gives on the same rows."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dask.dataframe.dispatch import hash_object_dispatch
from distributed import Client, LocalCluster, get_client, wait
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_sail import shuffle, sorting
from dask_sail.errors import ClusterError

# Workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

DAY = dt.datetime(2024, 2, 28, 23, 30)

# A value of each key type for a small whole number, different for different numbers from 0 to 5.
KEYS: dict[str, tuple[pa.DataType, Callable[[int], Any]]] = {
    "bool": (pa.bool_(), lambda n: n % 2 == 0),
    "int8": (pa.int8(), lambda n: n - 3),
    "int64": (pa.int64(), lambda n: n - 3),
    "uint64": (pa.uint64(), lambda n: 2**63 + n * 4096),
    "double": (pa.float64(), lambda n: n / 4),
    "decimal128": (pa.decimal128(12, 2), lambda n: Decimal(n) / 4),
    "decimal256": (pa.decimal256(50, 2), lambda n: Decimal(n) / 4),
    "string": (pa.string(), lambda n: "né" * n),
    "large_string": (pa.large_string(), lambda n: "né" * n),
    "binary": (pa.binary(), lambda n: bytes([n, 0, 255])),
    "date32": (pa.date32(), lambda n: DAY.date() + dt.timedelta(n)),
    "time64": (pa.time64("us"), lambda n: dt.time(n, microsecond=n * 7)),
    "timestamp": (pa.timestamp("us"), lambda n: DAY + dt.timedelta(n)),
    "timestamp_tz": (pa.timestamp("ms", "Asia/Tokyo"), lambda n: DAY + dt.timedelta(n)),
    "duration": (pa.duration("us"), lambda n: dt.timedelta(n, microseconds=n)),
}

# The types that a payload can have, with one value of each.
PAYLOADS: dict[str, tuple[pa.DataType, Any]] = {
    **{name: (kind, make(3)) for name, (kind, make) in KEYS.items()},
    "int16": (pa.int16(), -5),
    "uint8": (pa.uint8(), 250),
    "float": (pa.float32(), 0.5),
    "wide_decimal": (pa.decimal128(38, 10), Decimal("1234567890123456789012345678.0123456789")),
    "fixed_binary": (pa.binary(3), b"a\0b"),
    "date64": (pa.date64(), DAY.date()),
    "time32": (pa.time32("s"), dt.time(1, 2, 3)),
    "timestamp_ns": (pa.timestamp("ns"), pd.Timestamp("2024-02-29T01:02:03.123456789")),
    "timestamp_s": (pa.timestamp("s", "UTC"), DAY),
    "list": (pa.list_(pa.int64()), [1, None, 3]),
    "large_list": (pa.large_list(pa.string()), ["x", None]),
    "struct": (pa.struct({"a": pa.int64(), "b": pa.string()}), {"a": 2**53 + 1, "b": None}),
    "map": (pa.map_(pa.string(), pa.decimal128(5, 2)), [("k", Decimal("1.50"))]),
    "null": (pa.null(), None),
}


def arrow_frame(columns: dict[str, pa.Array]) -> pd.DataFrame:
    return pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype)


def arrow_series(values: Any, kind: pa.DataType, chunks: int = 1) -> pd.Series:
    size = -(-max(len(values), 1) // chunks)
    pieces = [pa.array(values[at : at + size], kind) for at in range(0, len(values), size)]
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array(pieces, kind)))


def key_frames(name: str, null_in: int, payload: str, first: int = 0) -> list[pd.DataFrame]:
    """Four partitions of a key, one of which holds NULLs, and of a number unique to each row."""
    kind, make = KEYS[name]
    numbers = [[(first + part + row * row) % 5 for row in range(9)] for part in range(4)]
    frames = []
    for part, row in enumerate(numbers):
        keys = [None if part == null_in and at in (2, 5) else make(n) for at, n in enumerate(row)]
        ids = [first * 1000 + part * 100 + at for at in range(len(row))]
        frames.append(arrow_frame({"key": pa.array(keys, kind), payload: pa.array(ids)}))
    return frames


def collect(frames: list[pd.DataFrame]) -> dd.DataFrame:
    return dd.from_map(pd.DataFrame.copy, frames, meta=frames[0].iloc[:0])


def gather(collection: Any) -> Any:
    """Every partition as it is; ``compute`` might replace a shuffle by one gathering task."""
    return pd.concat(dask.compute(*collection.to_delayed()))


def rows(frame: pd.DataFrame | pd.Series, index: bool = False) -> Counter[str]:
    """The rows as Python values, each with how often it comes, whatever their order."""
    if isinstance(frame, pd.Series):
        frame = frame.to_frame("value")
    if index:
        frame = frame.reset_index()
    frame.columns = [str(label) for label in frame.columns]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return Counter(repr(row) for row in table.to_pylist())


def assert_same(ours: pd.DataFrame, expected: pd.DataFrame, index: bool = False) -> None:
    assert rows(ours, index) == rows(expected, index)
    if isinstance(expected, pd.DataFrame):
        assert ours.dtypes.to_dict() == expected.dtypes.to_dict()
    else:
        assert ours.dtype == expected.dtype
    if index:
        assert ours.index.dtype == expected.index.dtype


@pytest.fixture(autouse=True)
def types_as_given() -> Iterator[None]:
    """Keep Dask from making pandas strings of large ones as it takes our frames."""
    with dask.config.set({"dataframe.convert-string": False}):
        yield


def start_cluster(count: int = 2) -> LocalCluster:
    return LocalCluster(
        n_workers=count, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with start_cluster() as cluster:
        yield cluster


@pytest.fixture(params=["synchronous", "threads", "p2p"])
def scheduler(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where shuffles run: tasks in this thread, on disk in several, and P2P on a cluster."""
    if request.param != "p2p":
        method = {"synchronous": "tasks", "threads": "disk"}[request.param]
        with dask.config.set({"scheduler": request.param, "dataframe.shuffle.method": method}):
            yield request.param
        return
    with Client(request.getfixturevalue("cluster")) as client:
        shuffle.ensure_on_cluster(client)
        yield "p2p"


# --- hashes ---


def hashes(values: Any, kind: pa.DataType, chunks: int = 1) -> list[int]:
    return list(hash_object_dispatch(arrow_series(values, kind, chunks), index=False))


SAME_VALUES = {
    "integers": [pa.int8(), pa.int16(), pa.int32(), pa.int64()],
    "unsigned": [pa.uint8(), pa.uint32(), pa.uint64(), pa.int64()],
    "floats": [pa.float32(), pa.float64()],
    "decimals": [pa.decimal128(9, 2), pa.decimal128(38, 7), pa.decimal256(60, 30)],
    "strings": [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary("int8", "string")],
    "bytes": [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)],
    "dates": [pa.date32(), pa.date64()],
    "times": [pa.time32("ms"), pa.time64("us"), pa.time64("ns")],
    "moments": [pa.timestamp(unit) for unit in ("ms", "us", "ns")],
    "zones": [pa.timestamp("ms", "UTC"), pa.timestamp("us", "Asia/Tokyo")],
    "durations": [pa.duration("ms"), pa.duration("us"), pa.duration("ns")],
    "booleans": [pa.bool_()],
}


def milliseconds(moment: Any) -> Any:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


MOMENTS = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)).map(milliseconds)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "integers": st.integers(-128, 127),
    "unsigned": st.integers(0, 255),
    "floats": st.floats(width=32) | st.sampled_from([0.0, -0.0, float("nan")]),
    "decimals": st.decimals(-(10**6), 10**6, places=2),
    "strings": st.text(max_size=4),
    "bytes": st.binary(min_size=2, max_size=2),
    "dates": st.dates(),
    "times": st.times().map(milliseconds),
    "moments": MOMENTS,
    "zones": MOMENTS,
    "durations": st.integers(-(10**9), 10**9).map(lambda n: dt.timedelta(milliseconds=n)),
    "booleans": st.booleans(),
}


@settings(deadline=None)
@given(data=st.data(), family=st.sampled_from(sorted(SAME_VALUES)))
def test_equal_keys_hash_equally_whatever_is_beside_them(data: st.DataObject, family: str) -> None:
    value = data.draw(VALUES[family])
    seen = set()
    for kind in SAME_VALUES[family]:
        beside = data.draw(st.lists(st.none() | VALUES[family], max_size=5))
        place = data.draw(st.integers(0, len(beside)))
        column = [*beside[:place], value, *beside[place:]]
        seen.add(hashes(column, kind, chunks=data.draw(st.integers(1, 3)))[place])
    assert len(seen) == 1


@pytest.mark.parametrize("family", sorted(SAME_VALUES))
def test_null_has_one_hash_and_values_have_many(family: str) -> None:
    sample = {
        "integers": range(-50, 50),
        "unsigned": range(100),
        "floats": [n / 8 for n in range(100)],
        "decimals": [Decimal(n) / 4 for n in range(100)],
        "strings": [str(n) for n in range(100)],
        "bytes": [bytes([n, n]) for n in range(100)],
        "dates": [DAY.date() + dt.timedelta(n) for n in range(100)],
        "times": [dt.time(n % 24, n % 60) for n in range(100)],
        "moments": [DAY + dt.timedelta(n) for n in range(100)],
        "zones": [DAY + dt.timedelta(n) for n in range(100)],
        "durations": [dt.timedelta(n) for n in range(100)],
        "booleans": [True, False],
    }[family]
    nulls, everything = set(), set()
    for kind in SAME_VALUES[family]:
        nulls.update(hashes([None, *sample, None], kind)[:: len(sample) + 1])
        nulls.update(hashes([None], kind))
        everything.update(hashes([*sample], kind))
    assert len(nulls) == 1
    # No two of so few values meet in 64 bits, unless the hash is blind to them.
    assert len(everything | nulls) == len(set(sample)) + 1


@pytest.mark.parametrize(
    ("values", "kind", "other"),
    [
        ([1, -2], pa.int8(), pd.Series([1, -2])),
        ([1, None], pa.int64(), pd.Series([1, None], dtype="Int64")),
        ([0.5, None], pa.float32(), pd.Series([0.5, None])),
        ([Decimal("0.5"), None], pa.decimal128(9, 4), pd.Series([0.5, None])),
        # As Dask hashes numpy's: it casts them first, those of Arrow not.
        ([True, False, None], pa.bool_(), pd.Series([1.0, 0.0, None])),
        (["a", None], pa.string(), pd.Series(["a", None], dtype=object)),
        (["a", None], pa.large_string(), pd.Series(["a", None], dtype="str")),
        (["a", None], pa.string(), pd.Series(["a", None], dtype="string")),
        (["a", None], pa.string(), pd.Series(["a", None], dtype="category")),
        ([b"a", None], pa.binary(), pd.Series([b"a", None], dtype=object)),
        ([DAY, None], pa.timestamp("ns"), pd.Series([DAY, None], dtype="datetime64[us]")),
        ([DAY], pa.timestamp("s", "UTC"), pd.Series([DAY]).dt.tz_localize("UTC").dt.as_unit("us")),
        ([dt.timedelta(3)], pa.duration("s"), pd.Series([dt.timedelta(3)], dtype="m8[us]")),
        ([DAY.date(), None], pa.date32(), pd.Series([DAY.date(), None], dtype=object)),
        ([dt.time(1, 2), None], pa.time32("s"), pd.Series([dt.time(1, 2), None], dtype=object)),
        ([dt.time(1, 2, 3, 4)], pa.time64("us"), pd.Series([dt.time(1, 2, 3, 4)], dtype=object)),
    ],
    ids=str,
)
def test_arrow_hashes_like_the_pandas_type_it_may_meet(
    values: list[Any], kind: pa.DataType, other: pd.Series
) -> None:
    assert hashes(values, kind) == list(pd.util.hash_pandas_object(other, index=False))


def test_frames_without_arrow_hash_exactly_as_pandas_does() -> None:
    frame = pd.DataFrame(
        {
            "i": np.array([1, -2], "i4"),
            "f": [-0.0, np.nan],
            "b": [True, False],
            "o": pd.Series(["a", None], dtype=object),
            "s": pd.Series(["a", None], dtype="str"),
            "c": pd.Series(["a", None], dtype="category"),
            "t": pd.to_datetime(["2024-01-01", None]),
            "n": pd.Series([1, None], dtype="Int8"),
        },
        index=["x", "y"],
    )
    pairs = frame.set_index(["i", "o"]).index
    for thing in (frame, frame["f"], frame["o"], frame.index, pairs, frame.set_axis(pairs)):
        for index in (True, False):
            ours = hash_object_dispatch(thing, index=index)
            pd.testing.assert_series_equal(ours, pd.util.hash_pandas_object(thing, index=index))


def test_every_shape_hashes_like_its_pandas_twin() -> None:
    """Several keys, an index, several levels: combined as pandas does, under the same index."""
    arrow = pd.DataFrame(
        {
            "i": arrow_series([1, -2, 3], pa.int16()),
            "s": arrow_series(["a", None, "b"], pa.large_string()),
            "o": pd.Series(["a", "b", None], dtype=object),
            "d": arrow_series([DAY.date(), None, DAY.date()], pa.date32()),
        }
    )
    twin = arrow.assign(
        i=pd.Series([1, -2, 3]),
        s=pd.Series(["a", None, "b"]),
        d=pd.Series([DAY.date(), None, DAY.date()], dtype=object),
    )
    shapes: list[Callable[[pd.DataFrame], Any]] = [
        lambda frame: frame,
        lambda frame: frame["s"],
        lambda frame: frame.set_index("i"),
        lambda frame: frame.set_index("d")["o"],
        lambda frame: frame.set_index("i").index,
        lambda frame: frame.set_index(["i", "d", "o"]).index,
        lambda frame: frame.set_index(["i", "d"]),
        lambda frame: frame.set_axis(["x", "x", "y", "y"], axis=1),
        lambda frame: frame.iloc[:0],
    ]
    for shape in shapes:
        for index in (True, False):
            ours = hash_object_dispatch(shape(arrow), index=index)
            theirs = pd.util.hash_pandas_object(shape(twin), index=index)
            assert list(ours) == list(theirs)
            thing = shape(arrow)
            if isinstance(thing, pd.DataFrame | pd.Series):
                pd.testing.assert_index_equal(ours.index, thing.index)


def test_hash_options_are_passed_on() -> None:
    ours = hash_object_dispatch(arrow_series(["a"], pa.string()), index=False, hash_key="k" * 16)
    twin = pd.util.hash_pandas_object(pd.Series(["a"]), index=False, hash_key="k" * 16)
    assert list(ours) == list(twin)


@pytest.mark.parametrize("name", ["list", "large_list", "struct", "map"])
def test_nested_keys_are_refused_by_name(name: str) -> None:
    kind, value = PAYLOADS[name]
    frame = pd.DataFrame({"tags": arrow_series([value], kind)})
    with pytest.raises(TypeError, match=r"key 'tags' has the Arrow type .*cannot be joined"):
        hash_object_dispatch(frame, index=False)


# --- joins ---


# One of each way to be hashed; after the joins, enough where tests take long.
SOME_KEYS = ("bool", "int64", "decimal128", "string", "date32", "timestamp")


@pytest.mark.parametrize(
    ("scheduler", "how", "name"),
    [
        *(("synchronous", "outer", name) for name in sorted(KEYS)),
        *(("synchronous", how, name) for how in ("inner", "left") for name in SOME_KEYS),
        *(("threads", "outer", name) for name in SOME_KEYS),
        *(("p2p", "outer", name) for name in sorted(KEYS)),
    ],
    indirect=["scheduler"],
)
def test_merge_is_that_of_pandas(scheduler: str, how: str, name: str) -> None:
    left, right = key_frames(name, 1, "x"), key_frames(name, 2, "y", first=2)
    for part, frame in enumerate(left):
        frame["tags"] = arrow_series([[part, row] for row in range(9)], PAYLOADS["list"][0])
    right[0]["deep"] = arrow_series([{"a": n, "b": "x"} for n in range(9)], PAYLOADS["struct"][0])
    for frame in right[1:]:
        frame["deep"] = arrow_series([None] * 9, PAYLOADS["struct"][0])
    expected = pd.concat(left).merge(pd.concat(right), on="key", how=how)
    ours = collect(left).merge(collect(right), on="key", how=how)
    assert ours.npartitions > 1
    assert_same(gather(ours), expected)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("int8", pa.int64()),
        ("string", pa.large_string()),
        ("large_string", pa.dictionary(pa.int32(), pa.string())),
        ("decimal128", pa.decimal256(50, 7)),
        ("date32", pa.date64()),
        ("time64", pa.time64("ns")),
        ("timestamp", pa.timestamp("ns")),
        ("timestamp", pa.timestamp("s")),
        ("timestamp_tz", pa.timestamp("us", "UTC")),
        ("duration", pa.duration("ns")),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*data type mismatches")
def test_merge_matches_equal_keys_of_different_types(name: str, kind: pa.DataType) -> None:
    ours, theirs = key_frames(name, 1, "x"), key_frames(name, 2, "y", first=1)
    for frame in theirs:
        frame["key"] = frame["key"].astype(pd.ArrowDtype(kind))
    expected = pd.concat(ours).merge(pd.concat(theirs), on="key", how="outer")
    merged = collect(ours).merge(collect(theirs), on="key", how="outer", shuffle_method="tasks")
    with dask.config.set(scheduler="synchronous"):
        assert rows(gather(merged)) == rows(expected)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("bool", "bool"), ("int64", "int64"), ("string", "object"), ("string", "str")],
)
@pytest.mark.filterwarnings("ignore:.*data type mismatches")
def test_merge_matches_keys_of_numpy(name: str, dtype: str) -> None:
    arrow, numpy = key_frames(name, 1, "x"), key_frames(name, 9, "y", first=1)
    for frame in numpy:
        frame["key"] = frame["key"].astype(dtype)
    expected = pd.concat(arrow).merge(pd.concat(numpy), on="key", how="outer")
    merged = collect(arrow).merge(collect(numpy), on="key", how="outer", shuffle_method="tasks")
    with dask.config.set(scheduler="synchronous"):
        assert rows(gather(merged)) == rows(expected)


def test_merge_on_several_keys_and_on_an_index(scheduler: str) -> None:
    left, right = key_frames("bool", 1, "x"), key_frames("bool", 2, "y")
    for part, (one, other) in enumerate(zip(left, right, strict=True)):
        one["day"] = key_frames("date32", 3, "x")[part]["key"]
        other["day"] = key_frames("date32", 0, "x")[part]["key"]
    expected = pd.concat(left).merge(pd.concat(right), on=["key", "day"], how="outer")
    ours = collect(left).merge(collect(right), on=["key", "day"], how="outer")
    assert_same(gather(ours), expected)

    indexed = [frame.set_index("day") for frame in right]
    expected = pd.concat(left).merge(pd.concat(indexed), left_on="day", right_index=True)
    ours = collect(left).merge(collect(indexed), left_on="day", right_index=True)
    assert_same(gather(ours), expected)


# --- groupings, sorts and the rest ---

WHERE = [
    *(("synchronous", name) for name in sorted(KEYS)),
    *((where, name) for where in ("threads", "p2p") for name in SOME_KEYS),
]


@pytest.mark.parametrize(("scheduler", "name"), WHERE, indirect=["scheduler"])
def test_reductions_by_key_are_those_of_pandas(scheduler: str, name: str) -> None:
    frames = key_frames(name, 1, "x")
    whole, ours = pd.concat(frames), collect(frames)
    grouped = gather(ours.groupby("key", dropna=False).agg({"x": ["sum", "max"]}, split_out=3))
    assert_same(grouped, whole.groupby("key", dropna=False).agg({"x": ["sum", "max"]}), index=True)
    counted = gather(ours["key"].value_counts(dropna=False, split_out=3))
    assert_same(counted, whole["key"].value_counts(dropna=False), index=True)
    deduplicated = gather(ours[["key"]].drop_duplicates(split_out=3))
    assert_same(deduplicated, whole[["key"]].drop_duplicates())
    assert_same(gather(ours["key"].unique(split_out=3)), whole["key"].drop_duplicates())
    assert ours["key"].nunique().compute() == whole["key"].nunique()


# --- sorts and indexes ---


def assert_in_order(ours: pd.DataFrame, expected: pd.DataFrame, index: bool = False) -> None:
    """Check the rows, whatever the order of equal keys, and the order of the keys."""
    assert_same(ours, expected, index)
    if index:
        ours, expected = ours.reset_index(), expected.reset_index()
    keys, in_order = ours["key"], expected["key"]
    pd.testing.assert_series_equal(keys, in_order, check_index=False)


def assert_within(pieces: Sequence[pd.DataFrame], divisions: Sequence[Any]) -> None:
    """Check that known divisions are those of the pieces, the last of which includes its end."""
    if divisions[0] is None:
        return
    for piece, low, high in zip(pieces, divisions[:-1], divisions[1:], strict=True):
        assert all(low <= value <= high for value in piece.index)
        assert piece is pieces[-1] or high not in list(piece.index)
    assert pieces[0].index[0] == divisions[0]
    assert pieces[-1].index[-1] == divisions[-1]


@pytest.mark.parametrize(("scheduler", "name"), WHERE, indirect=["scheduler"])
@pytest.mark.parametrize("null_in", [1, 9])
def test_sort_and_index_are_those_of_pandas(scheduler: str, name: str, null_in: int) -> None:
    frames = key_frames(name, null_in, "x")
    whole, ours = pd.concat(frames), collect(frames)
    assert_same(gather(ours.repartition(npartitions=2).shuffle("key", npartitions=3)), whole)
    indexed = ours.set_index("key")
    if scheduler == "p2p":
        assert any("p2p" in str(key) for key in indexed.optimize().dask)
    assert indexed.npartitions > 1
    assert indexed.known_divisions == (null_in == 9)
    pieces = dask.compute(*indexed.to_delayed())
    assert_in_order(pd.concat(pieces), whole.set_index("key").sort_index(), index=True)
    assert_within(pieces, indexed.divisions)
    # Sorted by the unique number last, so that there is one order.
    by, how = ["key", "x"], {"ascending": [False, True], "na_position": "first"}
    for options in ({}, how):
        in_order = gather(ours.sort_values(by, **options)).reset_index(drop=True)
        expected = whole.sort_values(by, ignore_index=True, **options)
        pd.testing.assert_frame_equal(in_order, expected)


@pytest.mark.parametrize("na_position", ["first", "last"])
@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("name", [*SOME_KEYS, "timestamp_tz", "duration", "binary"])
@pytest.mark.parametrize("scheduler", ["synchronous"], indirect=True)
def test_sort_puts_nulls_where_they_are_wanted(
    scheduler: str, name: str, ascending: bool, na_position: str
) -> None:
    frames = key_frames(name, 1, "x")
    whole, ours = pd.concat(frames), collect(frames)
    how: dict[str, Any] = {"ascending": ascending, "na_position": na_position}
    assert_in_order(
        gather(ours.sort_values("key", **how)), whole.sort_values("key", kind="stable", **how)
    )
    in_order = ours.sort_values(["key", "x"], **how)
    pieces = dask.compute(*in_order.to_delayed())
    assert all(len(piece) for piece in pieces)
    assert [piece["key"].isna().all() for piece in pieces].count(True) == 1
    expected = whole.sort_values(["key", "x"], ignore_index=True, **how)
    pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), expected)
    for count in (1, 7, 99):  # a shortcut of their own
        first, last = in_order.head(count), in_order.tail(count)
        pd.testing.assert_frame_equal(first.reset_index(drop=True), expected.head(count))
        pd.testing.assert_frame_equal(
            last.reset_index(drop=True), expected.tail(count).reset_index(drop=True)
        )


@settings(deadline=None, max_examples=60)
@given(data=st.data(), family=st.sampled_from(sorted({*VALUES} - {"floats"})))
def test_any_rows_in_any_partitions_are_sorted(data: st.DataObject, family: str) -> None:
    """Empty partitions, partitions and columns of NULLs alone, repeats, extremes."""
    sortable = [kind for kind in SAME_VALUES[family] if not is_unsortable(kind)]
    kind = data.draw(st.sampled_from(sortable))
    value = VALUES[family] | st.none() if data.draw(st.booleans()) else VALUES[family]
    few = data.draw(st.lists(value, min_size=1, max_size=3))
    parts = data.draw(
        st.lists(st.lists(value | st.sampled_from(few), max_size=8), min_size=2, max_size=5)
    )
    numbers = iter(range(100))
    frames = [
        arrow_frame(
            {"key": pa.array(part, kind), "x": pa.array([next(numbers) for _ in part])}
        ).astype({"x": "int64[pyarrow]"})
        for part in parts
    ]
    whole, ours = pd.concat(frames), collect(frames)
    ascending, na_position = data.draw(st.booleans()), data.draw(st.sampled_from(["first", "last"]))
    how: dict[str, Any] = {"ascending": ascending, "na_position": na_position}
    npartitions = data.draw(st.none() | st.integers(1, 7))
    with dask.config.set({"scheduler": "synchronous", "dataframe.shuffle.method": "tasks"}):
        in_order = gather(ours.sort_values(["key", "x"], npartitions=npartitions, **how))
        indexed = ours.set_index("key", npartitions=npartitions)
        pieces = dask.compute(*indexed.to_delayed())
        divisions = indexed.optimize().divisions
    expected = whole.sort_values(["key", "x"], ignore_index=True, **how)
    pd.testing.assert_frame_equal(in_order.reset_index(drop=True), expected)
    assert_in_order(pd.concat(pieces), whole.set_index("key").sort_index(), index=True)
    assert_within(pieces, divisions)


def is_unsortable(kind: pa.DataType) -> bool:
    """What pandas cannot sort either."""
    views = pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)
    return bool(views or pa.types.is_dictionary(kind))


@pytest.mark.parametrize("ascending", [True, False, [True, False], [False, True]])
@pytest.mark.parametrize("na_position", ["first", "last"])
def test_nan_sorts_as_in_pandas(ascending: Any, na_position: str) -> None:
    """By one column pandas puts NaN beside the NULLs, by several above all values."""
    nan = float("nan")
    frames = [
        arrow_frame({"key": pa.array(values, pa.float64()), "x": pa.array(numbers)})
        for values, numbers in (([2.0, nan, 0.5], [0, 1, 2]), ([None, 1.0, nan, 9.0], [3, 4, 5, 6]))
    ]
    whole, ours = pd.concat(frames), collect(frames)
    how: dict[str, Any] = {"ascending": ascending, "na_position": na_position}
    with dask.config.set(scheduler="synchronous"):
        in_order = gather(ours.sort_values(["key", "x"], npartitions=4, **how))
        expected = whole.sort_values(["key", "x"], **how)
        assert list(in_order["x"]) == list(expected["x"])
        if isinstance(ascending, bool):
            alone = gather(ours.sort_values("key", npartitions=4, **how))
            # Two NaN are in any order.
            expected = whole.sort_values("key", kind="stable", **how)
            assert list(alone["x"].replace(5, 1)) == list(expected["x"].replace(5, 1))
        indexed = ours.set_index("key")
        assert not indexed.known_divisions
        assert sorted(gather(indexed)["x"]) == list(range(7))
        assert sorted(indexed.partitions[-1].compute()["x"]) == [1, 3, 5]
        assert list(gather(indexed.loc[0.7:3.0])["x"]) == [4, 0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Paris"])
@pytest.mark.parametrize("scheduler", ["synchronous"], indirect=True)
def test_ranges_of_moments(scheduler: str, unit: str, zone: str | None) -> None:
    # Around the hour that Paris has twice; in nanoseconds, values that only these tell apart.
    start = pd.Timestamp("2023-10-29T00:00:00", tz="UTC").value
    step = 7 if unit == "ns" else 600 * 10**9
    kind = pa.timestamp(unit, zone)
    numbers = [(n * 17) % 40 for n in range(40)]
    exact = [pa.scalar(start + n * step, pa.timestamp("ns")).cast(kind) for n in numbers]
    whole = arrow_frame({"key": pa.array(exact, kind), "x": pa.array(numbers)})
    ours = collect([whole[:15], whole[15:20], whole[20:]])
    indexed = ours.set_index("key")
    assert indexed.npartitions == 3
    assert indexed.divisions[0] == whole["key"].min()
    assert indexed.divisions[-1] == whole["key"].max()
    assert indexed.index.dtype == whole["key"].dtype
    pieces = dask.compute(*indexed.to_delayed())
    assert [n for piece in pieces for n in piece["x"]] == list(range(40))
    by_number = dict(zip(whole["x"], whole["key"], strict=True))
    for low, high in ((0, 39), (3, 17), (12, 12), (25, 39)):
        found = indexed.loc[by_number[low] : by_number[high]]
        assert list(gather(found)["x"]) == list(range(low, high + 1))
    assert list(gather(indexed.loc[by_number[30] :])["x"]) == list(range(30, 40))
    assert list(gather(indexed.loc[by_number[30]])["x"]) == [30]
    if unit != "ns":
        between = by_number[10] + pd.Timedelta(seconds=1), by_number[30] - pd.Timedelta(seconds=1)
        assert list(gather(indexed.loc[slice(*between)])["x"]) == list(range(11, 30))


@pytest.mark.parametrize("name", sorted({*KEYS} - {"bool"}))  # pandas: no slices of booleans
@pytest.mark.parametrize("scheduler", ["synchronous"], indirect=True)
def test_an_index_with_nulls_loses_no_row(scheduler: str, name: str) -> None:
    """Dask drops NULLs as it aligns known divisions, so there must be none."""
    left, right = key_frames(name, 1, "x"), key_frames(name, 2, "y", first=2)
    ours, theirs = collect(left).set_index("key"), collect(right).set_index("key")
    here, there = (pd.concat(frames).set_index("key").sort_index() for frames in (left, right))
    assert not ours.known_divisions
    pieces = dask.compute(*ours.to_delayed())
    assert [piece.index.isna().any() for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].index.isna().all()
    assert_same(gather(ours.join(theirs, how="outer")), here.join(there, how="outer"), index=True)
    labels = list(here.index.dropna().unique())
    for low, high in ((0, 2), (1, len(labels) - 1), (0, -1)):
        for rows in (slice(labels[low], labels[high]), slice(labels[low], None)):
            assert_in_order_of_index(ours.loc[rows], here.loc[rows])
        assert_in_order_of_index(ours.loc[: labels[high]], here.loc[: labels[high]])
        assert sorted(gather(ours.loc[labels[low] : labels[high], "x"])) == sorted(
            here.loc[labels[low] : labels[high], "x"]
        )
    assert_in_order_of_index(ours.loc[labels[1]], here.loc[labels[1] : labels[1]])


def assert_in_order_of_index(ours: dd.DataFrame, expected: pd.DataFrame) -> None:
    assert_in_order(gather(ours), expected, index=True)


@pytest.mark.parametrize("scheduler", ["synchronous"], indirect=True)
def test_a_range_of_one_partition_with_nulls_and_of_unsorted_ones(scheduler: str) -> None:
    whole = arrow_frame({"key": pa.array([5, None, 1, 9]), "x": pa.array(range(4))})
    one = dd.from_pandas(whole, npartitions=1).set_index("key")
    assert list(gather(one.loc[2:6])["x"]) == [0]
    assert list(gather(one.loc[2:])["x"]) == [0, 3, 1]
    unsorted = collect([whole]).set_index("key", sort=False)
    assert list(gather(unsorted.loc[5:9])["x"]) == list(whole.set_index("key").loc[5:9]["x"])
    with pytest.raises(KeyError):  # as pandas says of labels that are not there
        gather(unsorted.loc[2:6])


@pytest.mark.parametrize("scheduler", ["synchronous"], indirect=True)
def test_sorted_partitions_stay_where_they_are(scheduler: str) -> None:
    values = ["a", "b", "c", "d", "e", "f"]
    whole = arrow_frame({"key": pa.array(values), "x": pa.array(range(6))})
    parts = [whole[:2], whole[2:3], whole[3:]]
    indexed = collect(parts).set_index("key")
    assert indexed.divisions == ("a", "c", "d", "f")
    assert not any("shuffle" in str(key) or "split" in str(key) for key in indexed.optimize().dask)
    backwards = collect(parts[::-1]).sort_values("key", ascending=False)
    assert not any("split" in str(key) for key in backwards.optimize().dask)
    assert list(gather(backwards)["x"]) == [5, 4, 3, 2, 1, 0]
    # A NULL in one of them must go to the end, past those that follow.
    parts[0] = arrow_frame({"key": pa.array(["b", None, "a"]), "x": pa.array([1, 9, 0])})
    in_order = collect(parts).sort_values("key")
    assert list(gather(in_order)["x"]) == [0, 1, 2, 3, 4, 5, 9]


@pytest.mark.parametrize("scheduler", ["synchronous"], indirect=True)
def test_partitions_get_equal_shares(scheduler: str) -> None:
    random = np.random.default_rng(7)
    values = [Decimal(int(n)) / 100 for n in random.integers(0, 10**9, 4000)]
    # Every fourth row the same.
    values = [Decimal("4000000.00") if n % 4 == 0 else value for n, value in enumerate(values)]
    whole = arrow_frame({"key": pa.array(values, pa.decimal128(20, 2)), "x": pa.array(range(4000))})
    indexed = collect([whole[:100], whole[100:2000], whole[2000:]]).set_index("key", npartitions=20)
    sizes = [len(piece) for piece in dask.compute(*indexed.to_delayed())]
    assert sum(sizes) == 4000
    jumbo = max(sizes)
    assert 1000 <= jumbo <= 1000 + 400
    assert all(size <= 2 * 4000 / 20 for size in sizes if size != jumbo)
    assert len(sizes) >= 12


@pytest.mark.parametrize("scheduler", ["synchronous"], indirect=True)
def test_other_ways_to_give_the_index(scheduler: str) -> None:
    frames = key_frames("timestamp", 1, "x")
    whole, ours = pd.concat(frames), collect(frames)
    expected = whole.set_index("key").sort_index()
    kept = gather(ours.set_index("key", drop=False))
    assert_in_order(kept[["x"]], expected, index=True)
    assert list(kept["key"].dropna()) == list(kept.index.dropna())
    assert_in_order(gather(ours.set_index(ours["key"]))[["x"]], expected, index=True)
    later = gather(ours.set_index(ours["key"] + pd.Timedelta(days=1)))
    assert_in_order(later[["x"]], expected.set_axis(later.index), index=True)
    assert list(later.index.dropna()) == list(expected.index.dropna() + pd.Timedelta(days=1))
    by_index = collect([frame.set_index("key", drop=False) for frame in frames])
    assert_in_order(gather(ours.set_index(by_index.index))[["x"]], expected, index=True)
    pieces = dask.compute(*ours.set_index("key", npartitions=2).to_delayed())
    assert len(pieces) == 2


@pytest.mark.parametrize("scheduler", ["synchronous"], indirect=True)
def test_divisions_that_are_given(scheduler: str) -> None:
    frames = key_frames("timestamp", 9, "x")
    whole, ours = pd.concat(frames), collect(frames)
    days = [pd.Timestamp(DAY) + pd.Timedelta(days=n) for n in range(5)]
    given = (days[0], days[1] + pd.Timedelta(hours=1), days[4])
    indexed = ours.set_index("key", divisions=list(given))
    assert indexed.divisions == given
    first, last = dask.compute(*indexed.to_delayed())
    assert set(first.index) == set(days[:2])
    assert set(last.index) == set(days[2:])
    assert_same(pd.concat([first, last]), whole.set_index("key"), index=True)

    with pytest.raises(ValueError, match=r"key 'key' holds Timestamp.* outside of the divisions"):
        gather(ours.set_index("key", divisions=[days[1], days[4]]))
    with pytest.raises(ValueError, match=r"key 'key' holds NULLs.* drop them with dropna"):
        gather(collect(key_frames("timestamp", 1, "x")).set_index("key", divisions=list(given)))
    for wrong in (["2024-02-28", "2024-05-01"], [day.tz_localize("UTC") for day in given], [1, 2]):
        with pytest.raises(TypeError, match=r"'key' must be values of its type timestamp\[us\]"):
            gather(ours.set_index("key", divisions=wrong))
    numbers = collect(key_frames("int8", 9, "x"))
    with pytest.raises(TypeError, match=r"int8\[pyarrow\], got \[-3, 0\.5, 1\]"):
        gather(numbers.set_index("key", divisions=[-3, 0.5, 1]))


@pytest.mark.parametrize(
    "kind",
    [PAYLOADS["list"][0], PAYLOADS["struct"][0], pa.float16(), pa.dictionary("int8", "string")],
    ids=str,
)
def test_keys_that_have_no_order_are_refused(kind: pa.DataType) -> None:
    frame = pd.DataFrame({"key": arrow_series([None, None], kind), "x": [1, 2]})
    ours = collect([frame, frame])
    for sort in (ours.set_index, ours.sort_values):
        with pytest.raises(TypeError, match=r"key 'key' has the Arrow type .* cannot be sorted"):
            gather(sort("key"))


@pytest.mark.parametrize("kind", [pa.null(), pa.timestamp("us")], ids=str)
@pytest.mark.parametrize("scheduler", ["synchronous", "p2p"], indirect=True)
def test_keys_that_are_all_null_or_absent(scheduler: str, kind: pa.DataType) -> None:
    frames = [
        arrow_frame({"key": pa.nulls(3, kind), "x": pa.array(range(first, first + 3))})
        for first in (3, 0, 6)
    ]
    ours = collect(frames)
    in_order = gather(ours.sort_values(["key", "x"]))
    assert list(in_order["x"]) == list(range(9))
    indexed = gather(ours.set_index("key"))
    assert_same(indexed, pd.concat(frames).set_index("key"), index=True)
    none = ours[ours["x"] > 9]
    for empty in (gather(none.set_index("key")).reset_index(), gather(none.sort_values("key"))):
        assert_same(empty, pd.concat(frames)[:0])


@pytest.mark.parametrize("scheduler", ["synchronous"], indirect=True)
def test_partitions_that_differ_from_the_meta(scheduler: str) -> None:
    parts: list[pd.DataFrame] = [
        pd.DataFrame({"key": arrow_series([5, 900, None], pa.int64()), "x": [0, 1, 2]}),
        pd.DataFrame({"key": arrow_series([7, -3], pa.int8()), "x": [3, 4]}),
        pd.DataFrame({"key": pd.Series([6, 800], dtype="int64"), "x": [5, 6]}),
    ]
    ours = gather(collect(parts).sort_values("key"))
    assert list(ours["x"]) == [4, 0, 5, 3, 6, 1, 2]


def test_sorts_on_a_scheduler_that_nobody_prepared(
    start_cluster: Callable[..., AbstractContextManager[str]], tmp_path: Path
) -> None:
    """A process of its own materialises the graph; all it needs is to find us."""
    frames = key_frames("timestamp", 1, "x")
    whole, ours = pd.concat(frames), collect(frames)
    with start_cluster(tmp_path) as address, Client(address):
        indexed, in_order = gather(ours.set_index("key")), gather(ours.sort_values(["key", "x"]))
    assert_in_order(indexed, whole.set_index("key").sort_index(), index=True)
    pd.testing.assert_frame_equal(
        in_order.reset_index(drop=True), whole.sort_values(["key", "x"], ignore_index=True)
    )


def test_frames_without_arrow_sort_as_dask_does() -> None:
    """Their graphs know nothing of us, and so run on clusters that lack us."""
    frame = pd.DataFrame({"key": [3.0, np.nan, 1.0, 2.0], "x": range(4)})
    ours = dd.from_pandas(frame, npartitions=3, sort=False)
    sort, index = ours.sort_values("key", na_position="first"), ours.set_index("key")
    unknown = ours.set_index("key", sort=False).loc[1.0:2.0]
    for collection in (sort, index, unknown):
        assert b"dask_sail" not in cloudpickle.dumps(collection.optimize().dask)
    assert index.known_divisions
    arrow = ours.astype({"key": "double[pyarrow]"})
    assert b"dask_sail" in cloudpickle.dumps(arrow.set_index("key").optimize().dask)


def test_sorts_of_an_unknown_dask_are_left_alone() -> None:
    answer = run(
        """
        import json, logging
        from dask.dataframe.dask_expr import _shuffle
        found = _shuffle._SetPartitionsPreSetIndex
        del _shuffle._SetPartitionsPreSetIndex
        before = _shuffle._calculate_divisions, _shuffle.SortValues._lower
        said = []
        logger = logging.getLogger("dask_sail.sorting")
        logger.addFilter(lambda line: said.append(line.getMessage()))
        import dask_sail
        after = _shuffle._calculate_divisions, _shuffle.SortValues._lower
        print(json.dumps({"same": before == after, "said": said}))
        """
    )
    assert answer["same"] is True
    assert "set_index and sort_values by Arrow columns are Dask's own" in answer["said"][0]


def test_sorts_of_this_dask_are_known() -> None:
    assert sorting.register() is True


# --- frames through P2P ---


def payload_frames() -> list[pd.DataFrame]:
    """Partitions with each type: all rows, some NULL, none at all, and several chunks."""
    columns = {}
    for name, (kind, value) in PAYLOADS.items():
        some = pa.array([value, None, value], kind)
        columns[name] = pa.chunked_array([some, pa.array([value], kind)])
    whole = arrow_frame(columns).assign(
        key=range(4),
        nullable=pd.array([1, None, 3, 2**53 + 1], dtype="Int64"),
        category=pd.Categorical(["a", None, "b", "a"]),
        moment=pd.date_range("2024-01-01", periods=4, tz="UTC"),
        text=pd.Series(["a", None, "b", "a"], dtype="str"),
    )
    more = whole.assign(key=range(4, 8))
    return [whole, whole.iloc[:0], more.iloc[:1], more.iloc[1:]]


@pytest.mark.parametrize("scheduler", ["p2p"], indirect=True)
@pytest.mark.parametrize("index", [None, "string", "decimal128", "timestamp_ns", "int64", "bool"])
def test_p2p_keeps_every_type_and_value(scheduler: str, index: str | None) -> None:
    frames = payload_frames()
    if index is not None:
        frames = [frame.set_index(index) for frame in frames]
    ours = collect(frames).shuffle("key", npartitions=3)
    assert any("p2p" in str(key) for key in ours.optimize().dask)
    parts = list(dask.compute(*ours.to_delayed()))
    assert len(parts) == 3
    expected = pd.concat(frames)
    for part in parts:
        assert part.dtypes.to_dict() == {**expected.dtypes, "category": part["category"].dtype}
        assert list(part["category"].cat.categories) in (["a", "b"], [])
        assert part.index.dtype == expected.index.dtype
        assert part.index.name == expected.index.name
    key = [*expected.columns].index("key")
    together = pd.concat([part.astype({"category": expected["category"].dtype}) for part in parts])
    together = together.sort_values("key", kind="stable")
    expected = expected.sort_values("key", kind="stable")
    assert [*together.columns][key] == "key"
    pd.testing.assert_frame_equal(together, expected)


@pytest.mark.parametrize("scheduler", ["p2p"], indirect=True)
def test_p2p_of_arrow_columns_alone_and_of_none(scheduler: str) -> None:
    only_arrow = [frame[["list", "int8"]] for frame in payload_frames()]
    assert_same(gather(collect(only_arrow).shuffle("int8")), pd.concat(only_arrow))
    columns_too = [frame[["map", "int8", "decimal256"]] for frame in payload_frames()]
    by_arrow = [frame.set_index("decimal256") for frame in columns_too]
    assert_same(gather(collect(by_arrow).shuffle("int8")), pd.concat(by_arrow), index=True)
    no_arrow = [frame[["key", "text", "moment"]] for frame in payload_frames()]
    assert_same(gather(collect(no_arrow).shuffle("key")), pd.concat(no_arrow))


@pytest.mark.parametrize("scheduler", ["p2p"], indirect=True)
def test_p2p_brings_partitions_to_the_promised_type_or_says_why_not(scheduler: str) -> None:
    frames = [
        arrow_frame({"k": pa.array([0, 1]), "n": pa.array([1, None], pa.int64())}),
        arrow_frame({"k": pa.array([2, 3]), "n": pa.array([5, 6], pa.int8())}),
    ]
    ours = gather(collect(frames).shuffle("k"))
    assert ours.dtypes["n"] == pd.ArrowDtype(pa.int64())
    assert sorted(ours["n"].dropna()) == [1, 5, 6]

    frames[1] = arrow_frame({"k": pa.array([2]), "n": pa.array([Decimal("2.5")])})
    with pytest.raises(Exception, match="P2P") as caught:
        gather(collect(frames).shuffle("k"))
    assert "column 'n' holds decimal128" in str(caught.value.__cause__)
    assert "promises int64" in str(caught.value.__cause__)


# --- single values ---


def test_reductions_to_one_value_are_those_of_pandas() -> None:
    names = ["int64", "double", "decimal128", "string", "date32", "time64", "timestamp"]
    for name in names:
        frames = key_frames(name, 1, "x")
        whole, ours = pd.concat(frames)["key"], collect(frames)["key"]
        lowest, highest = dask.compute(ours.min(), ours.max(), scheduler="synchronous")
        assert (lowest, highest) == (whole.min(), whole.max())
        assert isinstance(lowest, type(whole.min())) or name == "int64"  # numpy's own, from Dask
    frames = key_frames("decimal128", 1, "x")
    total = collect(frames)["key"].sum().compute(scheduler="synchronous")
    assert total == sum(pd.concat(frames)["key"].dropna())
    assert isinstance(total, Decimal)
    grouped = collect(frames).groupby("x")["key"].sum().compute(scheduler="synchronous")
    assert_same(grouped, pd.concat(frames).groupby("x")["key"].sum(), index=True)


# --- clusters ---


def plugins(dask_worker: Any) -> list[str]:
    return [name for name in dask_worker.plugins if "dask_sail" in name]


def test_a_client_made_after_the_collection(cluster: LocalCluster) -> None:
    left, right = key_frames("bool", 1, "x"), key_frames("bool", 2, "y")
    merged = collect(left).merge(collect(right), on="key")
    with Client(cluster) as client:
        shuffle.ensure_on_cluster()
        assert list(client.run(plugins).values()) == [["dask_sail.shuffle"]] * 2
        assert rows(gather(merged)) == rows(pd.concat(left).merge(pd.concat(right), on="key"))


def test_a_cluster_is_asked_once(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(cluster) as client:
        shuffle.ensure_on_cluster(client)

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise AssertionError("asked again")

        for method in ("sync", "run", "run_on_scheduler", "register_plugin"):
            monkeypatch.setattr(client, method, refuse)
        shuffle.ensure_on_cluster(client)
        shuffle.ensure_on_cluster()
        monkeypatch.undo()


def test_workers_that_join_later_register_too() -> None:
    with start_cluster(1) as cluster, Client(cluster) as client:
        shuffle.ensure_on_cluster(client)
        cluster.scale(2)
        client.wait_for_workers(2)
        assert list(client.run(plugins).values()) == [["dask_sail.shuffle"]] * 2


def test_without_a_client_nothing_happens() -> None:
    assert shuffle.ensure_on_cluster() is None
    with pytest.raises(ValueError, match="No clients"):
        Client.current()


def test_within_a_task_nothing_waits(cluster: LocalCluster) -> None:
    def ensure_in_task() -> str:  # local, so that it travels by value: workers lack this module
        with get_client() as client:
            client.sync = None  # so that asking the cluster anything would raise
            shuffle.ensure_on_cluster(client)
            shuffle.ensure_on_cluster()
        return "done"

    with Client(cluster) as client:
        futures = [client.submit(ensure_in_task, pure=False) for _ in range(4)]
        wait(futures, timeout=60)
        assert [future.result() for future in futures] == ["done"] * 4


def hide() -> None:
    """Make the package impossible to import in this process, as where it is not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "dask_sail"]:
        del sys.modules[name]
    sys.modules["dask_sail"] = None  # type: ignore[assignment]  # how Python marks what is not there


def test_a_worker_without_the_package_is_named() -> None:
    with start_cluster() as cluster, Client(cluster) as client:
        lacking, other = client.scheduler_info()["workers"]
        client.run(hide, workers=[lacking])
        for _ in range(2):
            with pytest.raises(ClusterError, match="install dask-sail there") as caught:
                shuffle.ensure_on_cluster(client)
            assert lacking in str(caught.value)
            assert other not in str(caught.value)


@pytest.fixture
def bare_scheduler() -> Iterator[str]:
    """The address of a scheduler that cannot import the package."""
    code = """
    import asyncio, sys
    from distributed import Scheduler
    sys.modules["dask_sail"] = None
    async def main():
        async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
            print(scheduler.address, flush=True)
            await scheduler.finished()
    asyncio.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


def test_a_scheduler_without_the_package_is_named(bare_scheduler: str) -> None:
    with (
        Client(bare_scheduler) as client,
        pytest.raises(ClusterError, match=r"cannot be imported on the scheduler .*install"),
    ):
        shuffle.ensure_on_cluster(client)


def test_an_asynchronous_client_is_not_waited_for(
    bare_scheduler: str, cluster: LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    async def prepare(address: str) -> list[str]:
        async with Client(address, asynchronous=True) as client:
            shuffle.ensure_on_cluster(client)
            for _ in range(300):
                await asyncio.sleep(0.1)
                shuffle.ensure_on_cluster(client)
                found = await client.run(plugins)
                if found and all(found.values()):
                    return list(found.values())
        return []

    assert asyncio.run(prepare(cluster.scheduler_address)) == [["dask_sail.shuffle"]] * 2
    with pytest.raises(ClusterError, match="the scheduler"):
        asyncio.run(prepare(bare_scheduler))
    assert "Arrow types may be lost" in caplog.text


def test_register_may_be_called_again() -> None:
    before = hashes([True, None], pa.bool_())
    shuffle.register()
    assert hashes([True, None], pa.bool_()) == before


# --- what is wrong in Dask by itself ---


def run(code: str) -> dict[str, Any]:
    """Run code in a fresh process, and return the JSON that it prints last."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_dask_alone_still_needs_us() -> None:
    """When this fails, Dask has mended something: see the ADR and drop what mends it here."""
    answer = run(
        """
        import json, sys
        import dask, dask.dataframe as dd, pandas as pd, pyarrow as pa
        from decimal import Decimal

        def frame(keys, number):
            table = pa.table({"key": pa.array(keys), number: pa.array(range(len(keys)))})
            return table.to_pandas(types_mapper=pd.ArrowDtype)

        def collect(frames):
            return dd.from_map(pd.DataFrame.copy, frames, meta=frames[0].iloc[:0])

        answer = {}
        left = [frame([True, False, None], "x"), frame([True, False], "x")]
        right = [frame([True, False], "y"), frame([False], "y")]
        expected = pd.concat(left).merge(pd.concat(right), on="key")
        merged = collect(left).merge(collect(right), on="key", shuffle_method="tasks")
        answer["expected"] = len(expected)
        answer["bool"] = len(merged.compute(scheduler="synchronous"))

        decimals = collect([frame([Decimal("1.5")], "x"), frame([Decimal("2.5")], "x")])
        try:
            decimals["key"].sum().compute(scheduler="synchronous")
        except Exception as error:
            answer["sum"] = type(error).__name__

        from dask.dataframe.dispatch import from_pyarrow_table_dispatch, to_pyarrow_table_dispatch

        def through_table(kind, value):
            table = pa.table({"c": pa.array([value], kind)})
            pandas = table.to_pandas(types_mapper=pd.ArrowDtype)
            sent = to_pyarrow_table_dispatch(pandas, preserve_index=True)
            try:
                return str(from_pyarrow_table_dispatch(pandas.iloc[:0], sent).dtypes["c"])
            except Exception as error:
                return type(error).__name__

        answer["string"] = through_table(pa.string(), "a")
        answer["decimal"] = through_table(pa.decimal128(9, 2), Decimal("1.5"))
        answer["list"] = through_table(pa.list_(pa.int64()), [1])

        def rows(collection):
            return pd.concat(dask.compute(*collection.to_delayed(), scheduler="synchronous"))

        def failure(collection):
            try:
                rows(collection())
            except Exception as error:
                return type(error).__name__

        days = pd.Timestamp(2024, 1, 2), pd.Timestamp(2024, 1, 1)
        moments = collect([frame(days, "x"), frame(days, "x")])
        texts = collect([frame(["b", "a"], "x"), frame([None, "c"], "x")])
        answer["moments"] = failure(lambda: moments.set_index("key"))
        answer["texts"] = failure(lambda: texts.sort_values("key"))
        numbers = [frame([5, None, 1], "x"), frame([2, 7, 3], "x"), frame([9, None, 4], "x")]
        ours = collect(numbers)
        answer["first"] = pd.isna(rows(ours.sort_values("key", na_position="first"))["key"].iloc[0])
        joined = ours.set_index("key").join(collect(numbers[:2]).set_index("key"), rsuffix="y")
        left, right = (pd.concat(part).set_index("key") for part in (numbers, numbers[:2]))
        answer["lost"] = len(left.join(right, rsuffix="y")) - len(rows(joined))
        assert "dask_sail" not in sys.modules
        print(json.dumps(answer, default=bool))
        """
    )
    assert answer["bool"] < answer["expected"]
    assert answer["sum"] == "TokenizationError"
    assert "[pyarrow]" not in answer["string"] + answer["decimal"]
    assert "Error" in answer["list"]
    assert answer["moments"] == "TypeError"
    assert answer["texts"] == "NotImplementedError"
    assert not answer["first"]
    assert answer["lost"] > 0
