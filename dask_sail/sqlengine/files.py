"""Parquet files as they were when a query was planned, and whether they still are.

A plan names its files with their sizes and times, and Dask takes tasks that are called alike for
the same: both are right as long as nothing has changed.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from .objects import Found, ObjectStore, heads, path_of
from .plan import FileGroups, Stage, TableDescription
from .splice import Part, fields, read_varint, varint

__all__ = [
    "NULL_FOLDER",
    "FileChangedError",
    "check_group",
    "check_version",
    "folder_keys",
    "found",
    "is_taken",
    "listed",
    "marked",
    "names_of_group",
    "null_keys",
    "objects_version",
    "version",
    "version_of",
]

#: What Hive, Spark and Arrow call a folder whose value is NULL.
NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"

# Numbers of PartitionedFile in DataFusion's datafusion.proto.
_PATH, _SIZE, _MODIFIED = 1, 2, 3
# Of ours: readers of such messages leave out what they do not know.
_MARK = 2047


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
    return tuple(key for key, _ in _folders(path, place))


def null_keys(path: str, place: str) -> set[str]:
    """Return those of `folder_keys` whose value is NULL."""
    if not place.endswith("/"):
        return set()
    return {key for key, value in _folders(path, place) if value == NULL_FOLDER}


def _folders(path: str, place: str) -> list[tuple[str, str]]:
    folders = path.removeprefix(place).split("/")[:-1]
    parted = (one.partition("=") for one in folders)
    return [(key, value) for key, sign, value in parted if sign]


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


def version_of(table: TableDescription) -> str:
    """Return the `version` of a table's files, or objects, as they are now."""
    if not table.stores:
        return version(table.parquet)
    urls = zip(table.stores, map(path_of, table.parquet), strict=True)
    return objects_version([(store, one) for store, path in urls for one in listed(store, path)])


def listed(store: ObjectStore, path: str) -> list[Found]:
    """Return all objects of a folder (with a slash at the end, but for a whole bucket), or one."""
    if not path or path.endswith("/"):
        return store.listed(path)
    one = store.head(path)
    return [] if one is None else [one]


def objects_version(found: Iterable[tuple[ObjectStore, Found]]) -> str:
    """Return a text that changes whenever an object is added, removed or written anew."""
    texts = sorted((store.url, one.path, one.size, one.tag) for store, one in found)
    return hashlib.sha256(repr(texts).encode()).hexdigest()


def check_version(table: TableDescription) -> None:
    """Compare the files of a table with those that a query was planned for.

    Raises
    ------
    FileChangedError
    """
    if version_of(table) != table.version:
        raise _changed(f"a file of table {table.name!r}")


def marked(stage: Stage, tables: Iterable[TableDescription]) -> Stage:
    """Return a stage whose groups tell which objects they are of, and which version of them.

    A plan has neither entity tags, nor more of a store than its alias.
    """
    tags = {store.alias: table.tags for table in tables for store in table.stores}
    known = {store.alias: store for table in tables for store in table.stores}
    inputs, used = dict(stage.inputs), {}
    for name, hole in stage.inputs.items():
        if isinstance(hole.producer, FileGroups):
            alias = _alias_beside(name, stage.template.parts, known)
            if alias is not None:
                used[alias] = known[alias]
                groups = tuple(_marked(one, alias, tags[alias]) for one in hole.producer.groups)
                inputs[name] = replace(hole, producer=replace(hole.producer, groups=groups))
    return replace(stage, inputs=inputs, stores=tuple(used.values())) if used else stage


def _alias_beside(hole: str, parts: Sequence[Part], known: Iterable[str]) -> str | None:
    """Return the alias in the message of a scan, whose groups are the hole."""
    if hole in parts:
        message = b"".join(part for part in parts if isinstance(part, bytes))
        return next((alias for alias in known if alias.encode() in message), None)
    inner = (_alias_beside(hole, part[1], known) for part in parts if isinstance(part, tuple))
    return next(filter(None, inner), None)


def _marked(group: bytes, alias: str, tags: Mapping[str, str]) -> bytes:
    (outer,) = fields(group)
    files = []
    for file in fields(group, outer.start, outer.end):
        content = group[file.start : file.end]
        if file.number == 1:
            path = _of(content)[_PATH].decode()
            # One that was not there when objects were listed has no tag, and has changed so.
            mark = f"{alias} {tags.get(f'{alias}/{path}', '')}".encode()
            content += varint(_MARK << 3 | 2) + varint(len(mark)) + mark
        files.append(group[file.head : file.tag_end] + varint(len(content)) + content)
    body = b"".join(files)
    return group[outer.head : outer.tag_end] + varint(len(body)) + body


def check_group(group: bytes, stores: Iterable[ObjectStore] = ()) -> None:
    """Compare the files of a serialised group with what it says of them.

    Raises
    ------
    FileChangedError
    ObjectError
        If a store does not tell.
    """
    (outer,) = fields(group)
    remote = {}
    for file in fields(group, outer.start, outer.end):
        if file.number == 1:
            found = _of(group[file.start : file.end])
            if _MARK in found:
                remote[found[_PATH].decode(), found[_MARK].decode()] = _number(found.get(_SIZE))
            else:
                _check_file(found)
    _check_objects(remote, {store.alias: store for store in stores})


def names_of_group(group: bytes, stores: Iterable[ObjectStore] = ()) -> list[str]:
    """Return the paths of the files of a serialised group, or the URLs of its objects."""
    urls = {store.alias: store.url for store in stores}
    (outer,) = fields(group)
    names = []
    for file in fields(group, outer.start, outer.end):
        if file.number == 1:
            found = _of(group[file.start : file.end])
            alias = found.get(_MARK, b"").decode().partition(" ")[0]
            names.append(f"{urls.get(alias, '')}/{found[_PATH].decode()}")
    return names


def _check_objects(
    planned: Mapping[tuple[str, str], int], stores: Mapping[str, ObjectStore]
) -> None:
    asked = [(stores[mark.partition(" ")[0]], path) for path, mark in planned]
    for (store, path), (_, mark), one in zip(asked, planned, heads(asked), strict=True):
        planned_as = planned[path, mark], mark.partition(" ")[2]
        # Of one that is gone DataFusion's own error says more.
        if one is not None and (one.size, one.tag) != planned_as:
            raise _changed(f"the object '{store.url}/{path}'")


def _of(message: bytes) -> dict[int, bytes]:
    return {one.number: message[one.start : one.end] for one in fields(message)}


def _check_file(found: Mapping[int, bytes]) -> None:
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
