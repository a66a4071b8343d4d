"""Parquet files as they were when a query was planned, and whether they still are.

A plan names its files with their sizes and times, and Dask takes tasks that are called alike for
the same: both are right as long as nothing has changed.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence

from .splice import fields, read_varint

__all__ = [
    "FileChangedError",
    "check_group",
    "check_version",
    "folder_keys",
    "found",
    "is_taken",
    "version",
]

# Numbers of PartitionedFile in DataFusion's datafusion.proto.
_PATH, _SIZE, _MODIFIED = 1, 2, 3


class FileChangedError(RuntimeError):
    """A file is not the one that a query was planned for."""


def version(places: Sequence[str]) -> str:
    """Return a text that changes whenever a file is added, removed or written anew.

    Parameters
    ----------
    places
        Files, folders (with a slash at the end) or patterns, as a table was registered with.
    """
    found = sorted(
        (path, stat.st_size, stat.st_mtime_ns) for place in places for path, stat in _listed(place)
    )
    return hashlib.sha256(repr(found).encode()).hexdigest()


def found(place: str) -> list[str]:
    """Return the files that DataFusion reads there, by their names."""
    return sorted(
        path
        for path, stat in _listed(place)
        if stat.st_size and not os.path.isdir(path) and is_taken(path, place)
    )


def is_taken(path: str, place: str) -> bool:
    """Whether DataFusion takes a file for one of a place: in a folder not all are."""
    if not place.endswith("/"):
        return True
    folders = path.removeprefix(place).split("/")[:-1]
    hidden = any(one.startswith((".", "_")) and "=" not in one for one in folders)
    return path.endswith(".parquet") and not hidden


def folder_keys(path: str, place: str) -> tuple[str, ...]:
    """Return the columns that folders ``key=value`` add to a file of a place."""
    if not place.endswith("/"):  # DataFusion makes no columns of a pattern's folders
        return ()
    folders = path.removeprefix(place).split("/")[:-1]
    return tuple(key for key, sign, _ in (one.partition("=") for one in folders) if sign)


def _listed(place: str) -> Iterator[tuple[str, os.stat_result]]:
    if any(sign in place for sign in "*?["):
        for path in glob.iglob(place, recursive=True):
            yield path, os.stat(path)
    elif place.endswith("/"):
        yield from _below(place)
    elif os.path.exists(place):
        yield place, os.stat(place)


def _below(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _below(entry.path)
            else:
                yield entry.path, entry.stat()


def check_version(name: str, places: Sequence[str], planned: str) -> None:
    """Compare the files of a table with those that a query was planned for.

    Raises
    ------
    FileChangedError
    """
    if version(places) != planned:
        raise _changed(f"a file of table {name!r}")


def check_group(group: bytes) -> None:
    """Compare the files of a serialised group with what it says of them.

    Raises
    ------
    FileChangedError
    """
    (outer,) = fields(group)
    for file in fields(group, outer.start, outer.end):
        if file.number == 1:
            _check_file(group[file.start : file.end])


def _check_file(message: bytes) -> None:
    found = {one.number: message[one.start : one.end] for one in fields(message)}
    path = f"/{found[_PATH].decode()}"
    try:
        stat = os.stat(path)
    except OSError:  # DataFusion's own error says more
        return
    # To the microsecond: not every file system that is shared gives more.
    now = stat.st_size, stat.st_mtime_ns // 1000
    if now != (_number(found.get(_SIZE)), _number(found.get(_MODIFIED)) // 1000):
        raise _changed(f"the file {path!r}")


def _changed(what: str) -> FileChangedError:
    return FileChangedError(
        f"{what} was written after the query was planned; plan it again, by SQLContext.sql(). (If "
        "nothing wrote to it, its time differs from machine to machine.)"
    )


def _number(digits: bytes | None) -> int:
    # Protocol Buffers leave out a zero.
    return read_varint(digits, 0, len(digits))[0] if digits else 0
