"""Parquet files under a name: where they are, and what planning must know of them."""

from __future__ import annotations

import functools
import os
import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import OptionError
from . import files
from .catalog import parquet_schema
from .objects import Found, ObjectStore, footers, is_remote, stores_of, told
from .plan import TableDescription

__all__ = ["described"]


def described(
    name: str,
    paths: Any,
    *,
    partitioned_by: str | Sequence[str] = (),
    storage_options: Mapping[str, Any] | None = None,
) -> TableDescription:
    """Look at Parquet files, or objects, and return what there is to know of them.

    Parameters
    ----------
    paths
        A file, a folder, a pattern, or a list of these; or URLs of objects and folders of them.
    partitioned_by
        Columns that the names of folders are to add.
    storage_options
        Of the object store.

    Raises
    ------
    OptionError
        If there are no such files, if they cannot be read, or if their folders add no such column;
        if an option is none of the store's.
    """
    wanted = [partitioned_by] if isinstance(partitioned_by, str) else partitioned_by
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise OptionError("path", "names no file", "name a file, a folder or a pattern")
    remote = [str(one) for one in listed if is_remote(one)]
    if storage_options and not remote:
        raise OptionError(
            "storage_options", "are of object stores, and the path is on none", "leave them out"
        )
    if remote and len(remote) < len(listed):
        raise OptionError("path", "names files and objects", "register a table for each")
    failure: Exception
    try:
        found = _objects(name, remote, storage_options) if remote else _files(listed)
        return _described(name, found, wanted)
    except OptionError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever DataFusion and Arrow raise of a file
        failure = error
    stores = [one for one, _ in stores_of(name, remote, storage_options)] if remote else []
    raise _unreadable(told(str(failure), stores), listed)


@dataclass(frozen=True)
class _Found:
    """What there is at some places.

    Attributes
    ----------
    places
        As a person writes them; folders end in a slash.
    read
        As DataFusion takes them.
    count
        How many files there are.
    folders
        For each file, what its folders name.
    nulls
        What some of these folders name NULL.
    footers
        Reads what the files say of themselves.
    """

    places: tuple[str, ...]
    read: tuple[str, ...]
    count: int
    folders: set[tuple[str, ...]]
    nulls: set[str]
    footers: Callable[[], Iterable[pq.FileMetaData]]
    version: str
    stores: tuple[ObjectStore, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def _files(paths: Sequence[Any]) -> _Found:
    places = tuple(_location(one) for one in paths)
    version = files.version(places)  # before they are looked at
    found: list[str] = []
    folders: set[tuple[str, ...]] = set()
    nulls: set[str] = set()
    for place in places:
        here = files.found(place)
        if not here:
            raise _nothing(place)
        found += here
        folders |= {files.folder_keys(path, place) for path in here}
        nulls = nulls.union(*(files.null_keys(path, place) for path in here))
    footers = functools.partial(map, _footer, found)
    return _Found(places, places, len(found), folders, nulls, footers, version)


def _objects(name: str, urls: Sequence[str], options: Mapping[str, Any] | None) -> _Found:
    pairs = []
    found: list[tuple[ObjectStore, Found]] = []
    taken: list[tuple[ObjectStore, Found]] = []
    folders: set[tuple[str, ...]] = set()
    nulls: set[str] = set()
    for store, path in stores_of(name, urls, options):
        here = files.listed(store, path)
        if not here and path and not path.endswith("/"):
            path += "/"
            here = files.listed(store, path)
        place = f"/{path}"
        read = [one for one in here if one.size and files.is_taken(f"/{one.path}", place)]
        if not read:
            raise _nothing(f"{store.url}/{path}")
        pairs.append((store, path))
        found += ((store, one) for one in here)
        taken += ((store, one) for one in read)
        folders |= {files.folder_keys(f"/{one.path}", place) for one in read}
        nulls = nulls.union(*(files.null_keys(f"/{one.path}", place) for one in read))
    return _Found(
        tuple(f"{store.url}/{path}" for store, path in pairs),
        tuple(store.place(path) for store, path in pairs),
        len(taken),
        folders,
        nulls,
        functools.partial(footers, taken),
        files.objects_version(found),
        tuple(store for store, _ in pairs),
        {f"{store.alias}/{one.path}": one.tag for store, one in found},
    )


def _described(name: str, found: _Found, wanted: Sequence[str]) -> TableDescription:
    folders = _folders(found, wanted)
    rows = size = 0
    written = None
    # First, since of a file that is no Parquet DataFusion panics.
    for footer in found.footers():
        written = written or footer.schema.to_arrow_schema()
        rows += footer.num_rows
        size += sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
    return TableDescription(
        name=name,
        schema=parquet_schema(found.read, folders, found.stores, written),
        partitions=found.count,
        rows=rows,
        bytes=size,
        exact=True,
        takes_predicates=False,
        parquet=found.places,
        folders=folders,
        null_folders=tuple(name for name in folders if name in found.nulls),
        version=found.version,
        stores=found.stores,
        tags=found.tags,
    )


def _nothing(place: str) -> OptionError:
    return _unreadable("there is no such file, or none that holds anything", [place])


def _unreadable(why: str, places: Sequence[Any]) -> OptionError:
    got = list(map(str, places))
    return OptionError(
        "path",
        f"cannot be read as Parquet: {why:.500}",
        f"got {got!r:.300}; of a folder, files whose names end in .parquet are read",
    )


def _location(path: Any) -> str:
    """A path or URL as DataFusion takes it; folders end in a slash."""
    if not isinstance(path, str | os.PathLike):
        kind = type(path).__name__
        raise OptionError("path", f"must be a path, got a {kind}", "name a file or folder")
    text = os.fspath(path)
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "file":
        raise OptionError(
            "path",
            f"must be of files that this process and the workers reach, got {scheme}://...",
            "or of s3://, gs:// or az://; else register what dd.read_parquet() makes of it",
        )
    if separator:
        text = urllib.parse.unquote(rest)
    if re.search(r"(?:\*|\?|\[)[^/]*/", text.replace("**/", "")):
        raise OptionError(
            "path",
            f"has a wildcard in a folder's name, got {text!r}",
            "write '**' for all folders below, e.g. 'lake/**/*.parquet'",
        )
    absolute = os.path.abspath(Path(text).expanduser())
    return f"{absolute}/" if os.path.isdir(absolute) else absolute


def _footer(path: str) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except pa.ArrowInvalid as error:
        problem = str(error)
    raise ValueError(f"{path!r}: {problem}")  # which Arrow does not name


def _folders(found: _Found, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that the folders of all files add."""
    if len(found.folders) > 1:
        one, other = sorted(found.folders)[:2]
        raise _unreadable(
            f"some files lie in folders that name {list(one)}, others in such that name "
            f"{list(other)}",
            found.places,
        )
    (folders,) = found.folders
    for name in wanted:
        if name not in folders:
            raise OptionError(
                "partitioned_by",
                f"names {name!r}, but no folder {name}=... is around the files",
                f"folders name {', '.join(map(repr, folders)) or 'no column'}",
            )
    return folders
