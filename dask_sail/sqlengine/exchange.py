"""How rows reach the partition that they belong to, in one round of tasks or in two.

Each task of a stage gives one table per output partition. With many partitions that would be a
task for each pair of partitions, and tables of a few rows: then outputs are bundled into about
sqrt(n) groups, gathered per group from about sqrt(n) tasks at a time, and only then taken apart. No
task holds more than one task's or one partition's share of the rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa

__all__ = ["MOST_IN_ONE_ROUND", "Bundles", "bundle", "compact", "copied", "gather", "merge", "pick"]

MOST_IN_ONE_ROUND = 16

_ENDS = b"dask_sail.ends"


class Bundles:
    """How outputs and inputs of a two-round exchange are grouped.

    Attributes
    ----------
    outputs
        Ranges of output partitions, each the content of one bundle.
    inputs
        Ranges of input tasks, of which a gathering task takes one bundle each.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        groups = math.ceil(math.sqrt(outputs))
        self.outputs = _ranges(outputs, groups)
        self.inputs = _ranges(inputs, math.ceil(inputs / groups))


def _ranges(count: int, groups: int) -> list[range]:
    bounds = [count * i // groups for i in range(groups + 1)]
    return [range(low, high) for low, high in pairwise(bounds)]


def bundle(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Return output partitions as the bundles of a two-round exchange."""
    bundles = []
    for group in Bundles(1, len(tables)).outputs:
        members = [tables[i] for i in group]
        ends = [0]
        for table in members:
            ends.append(ends[-1] + table.num_rows)
        whole = merge(members, members[0].schema)  # which leaves on the disk what is there
        bundles.append(whole.replace_schema_metadata({_ENDS: json.dumps(ends)}))
    return bundles


def gather(bundles: Sequence[pa.Table]) -> list[pa.Table]:
    """Return the output partitions of bundles of the same ones, each a table of its own."""
    parts = [_members(one) for one in bundles]
    # Copied, also where only one bundle has any rows: a slice would keep its bundle in memory.
    return [compact(pa.concat_tables(tables)) for tables in zip(*parts, strict=True)]


def _members(bundled: pa.Table) -> list[pa.Table]:
    ends = json.loads(bundled.schema.metadata[_ENDS])
    plain = bundled.replace_schema_metadata(None)
    return [plain.slice(low, high - low) for low, high in pairwise(ends)]


def pick(tables: Sequence[pa.Table], index: int) -> pa.Table:
    """Return one of the tables that a task gave."""
    return tables[index]


# Tables that travel

_SMALL_CHUNK = 1 << 20  # bytes


def copied(array: pa.Array) -> pa.Array:
    """Return a copy, aligned, of the rows of an array alone."""
    return pa.concat_arrays([array, array.slice(0, 0)])  # of one array it makes no copy


def compact(table: pa.Table) -> pa.Table:
    """Return a copy in one chunk that holds the rows of this table alone.

    What comes out of a plan may be slices of what went in, whose buffers tell nothing of it: kept,
    they would keep all of it in memory.
    """
    columns, schema = [], table.schema
    if not table.num_rows:
        return schema.empty_table()
    while table.num_columns:  # column by column, so that never two whole copies are there
        columns.append(_compact_column(table.column(0)))
        table = table.remove_column(0)
    return pa.Table.from_arrays(columns, schema=schema)


def _compact_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.type in _TEXT_OF_VIEWS:
        # Views share the buffers of all that they were ever taken from; texts do not.
        return column.cast(_TEXT_OF_VIEWS[column.type]).cast(column.type)
    if column.num_chunks == 1:
        return pa.chunked_array([copied(column.chunk(0))])
    # By way of a table, as several chunks stay where one would have no room for them.
    return pa.table({"": column}).combine_chunks().column(0)


_TEXT_OF_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


def merge(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Return tables of a schema as one, whose chunks are not small."""
    if len(tables) < 2:
        return tables[0] if tables else schema.empty_table()
    merged = pa.concat_tables(tables)
    chunks = merged.column(0).num_chunks
    return merged.combine_chunks() if merged.nbytes < _SMALL_CHUNK * chunks else merged
