"""Tables that wait on the disk until the task that made them is done."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

__all__ = ["SpillFile"]


class SpillFile:
    """Tables of several partitions in one file.

    Parameters
    ----------
    path
        Of a file that is to be there until `tables` was called, and may be removed then: what is
        read maps the file into memory, and the system keeps it for as long as that is in use.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._sink = pa.OSFile(path, "wb")
        self._places: list[tuple[int, int]] = []

    def add(self, partition: int, table: pa.Table) -> None:
        """Append a table to a partition."""
        self._places.append((partition, self._sink.tell()))
        with pa.ipc.new_stream(self._sink, table.schema) as writer:
            writer.write_table(table)

    def tables(self, schemas: Sequence[pa.Schema]) -> list[pa.Table]:
        """Return each partition's rows in the order in which they came, and write no more.

        Parameters
        ----------
        schemas
            Of each partition.
        """
        self._sink.close()
        source = pa.memory_map(self._path)
        found: list[list[pa.Table]] = [[] for _ in schemas]
        for partition, place in self._places:
            source.seek(place)
            found[partition].append(pa.ipc.open_stream(source).read_all())
        pairs = zip(found, schemas, strict=True)
        return [pa.concat_tables(own) if own else schema.empty_table() for own, schema in pairs]
