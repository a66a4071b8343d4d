"""Parquet files under a name: where they are, and what planning must know of them."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import OptionError
from . import files
from .catalog import parquet_schema
from .plan import TableDescription

__all__ = ["described"]


def described(
    name: str,
    paths: Any,
    *,
    partitioned_by: str | Sequence[str] = (),
) -> TableDescription:
    """Look at Parquet files, and return what there is to know of them.

    Parameters
    ----------
    paths
        A file, a folder, a pattern, or a list of these.
    partitioned_by
        Columns that the names of folders are to add.

    Raises
    ------
    OptionError
        If there are no such files, if they cannot be read, or if their folders add no such column.
    """
    wanted = [partitioned_by] if isinstance(partitioned_by, str) else partitioned_by
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    places = tuple(_location(one) for one in listed)
    if not places:
        raise OptionError("path", "names no file", "name a file, a folder or a pattern")
    version = files.version(places)  # before they are looked at
    found: list[str] = []
    keys: set[tuple[str, ...]] = set()
    for place in places:
        here = files.found(place)
        if not here:
            raise _unreadable("there is no such file, or none that holds anything", [place])
        found += here
        keys |= {files.folder_keys(path, place) for path in here}
    folders = _folders(keys, places, wanted)
    failure = ""
    try:
        # First, since of a file that is no Parquet DataFusion panics.
        rows, size = _size(found)
        schema = parquet_schema(places, folders)
    except Exception as error:  # noqa: BLE001 - whatever DataFusion and Arrow raise of a file
        failure = str(error)
    if failure:
        raise _unreadable(failure, places)
    return TableDescription(
        name=name,
        schema=schema,
        partitions=len(found),
        rows=rows,
        bytes=size,
        exact=True,
        takes_predicates=False,
        parquet=places,
        folders=folders,
        version=version,
    )


def _unreadable(why: str, places: Sequence[str]) -> OptionError:
    return OptionError(
        "path",
        f"cannot be read as Parquet: {why:.500}",
        f"got {list(places)!r:.300}; of a folder, files whose names end in .parquet are read",
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
            "or register what dd.read_parquet() makes of it",
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


def _size(paths: Sequence[str]) -> tuple[int, int]:
    """Rows and bytes, from the files' own footers."""
    rows = size = 0
    for path in paths:
        try:
            footer = pq.read_metadata(path)
        except pa.ArrowInvalid as error:  # which does not name it
            raise ValueError(f"{path!r}: {error}") from None
        rows += footer.num_rows
        size += sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
    return rows, size


def _folders(
    keys: set[tuple[str, ...]], places: Sequence[str], wanted: Sequence[str]
) -> tuple[str, ...]:
    """Return the columns that the folders of all files add."""
    if len(keys) > 1:
        one, other = sorted(keys)[:2]
        raise _unreadable(
            f"some files lie in folders that name {list(one)}, others in such that name "
            f"{list(other)}",
            places,
        )
    (folders,) = keys
    for name in wanted:
        if name not in folders:
            raise OptionError(
                "partitioned_by",
                f"names {name!r}, but no folder {name}=... is around the files",
                f"folders name {', '.join(map(repr, folders)) or 'no column'}",
            )
    return folders
