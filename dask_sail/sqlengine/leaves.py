"""Arrow tables as leaves of a serialised plan, without copying them.

A leaf counts rows up, and one function per column, which the task's context knows by name, gives
the column's values for these rows: slices of the table itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datafusion import SessionConfig, SessionContext, udf

from .exchange import copied
from .splice import Template, fields, varint

__all__ = ["BATCH_SIZE", "Leaf", "SchemaMismatchError", "conform", "new_config"]

#: Rows per batch. Each costs a call of Python per column, so that few large ones are cheaper.
BATCH_SIZE = 32768

_ALIGNMENT = 16  # bytes; what arrow-rs asks of decimals, the most of all types


class SchemaMismatchError(TypeError):
    """Tables whose columns are not those that were promised."""


def new_config() -> SessionConfig:
    """Return the settings of a context that runs one stage: one partition at a time."""
    settings = {"datafusion.execution.batch_size": str(BATCH_SIZE)}
    return SessionConfig(settings).with_target_partitions(1)


class Leaf:
    """What fills one hole of a stage: some partitions, each of them a table.

    Parameters
    ----------
    number
        Tells the leaves of one context apart.
    partitions
        Each has exactly the columns of ``schema``; see `conform`.
    """

    def __init__(self, number: int, schema: pa.Schema, partitions: Sequence[pa.Table]) -> None:
        self._schema = schema
        self._partitions = partitions
        self._names = [f"leaf{number}_{i}_" for i in range(len(partitions))]
        self._given = [0] * len(partitions)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(table.num_rows for table in self._partitions)

    @property
    def rows_given(self) -> int:
        """How many rows the plan has taken until now."""
        return sum(self._given) if self._schema.names else self.rows

    def register(self, ctx: SessionContext) -> None:
        """Make the columns known to the context that runs the plan."""
        for place, (name, table) in enumerate(zip(self._names, self._partitions, strict=True)):
            for i, field in enumerate(self._schema):
                # The first column counts for all of them: every batch asks each of them once.
                count = functools.partial(self._count, place) if i == 0 else None
                give = _giver(_aligned(table.column(i)), count)
                ctx.register_udf(udf(give, [pa.int64()], field.type, "volatile", f"{name}{i}"))

    def forget(self, ctx: SessionContext) -> None:
        """Take the columns from the context again, which would keep them in memory."""
        for name in self._names:
            for i in range(len(self._schema)):
                ctx.deregister_udf(f"{name}{i}")

    def _count(self, place: int, rows: int) -> None:
        self._given[place] += rows

    def to_bytes(self) -> bytes:
        """Return the serialised plan, with as many partitions as there are tables."""
        key = _key(self._schema)
        plans = [
            _columns(key, name).fill({"rows": [_count_up(table.num_rows)]})
            for name, table in zip(self._names, self._partitions, strict=True)
        ]
        return plans[0] if len(plans) == 1 else _union(plans)


def _giver(column: pa.ChunkedArray, count: Callable[[int], None] | None) -> Callable[..., Any]:
    whole = column.chunk(0) if column.num_chunks == 1 else None

    def give(rows: pa.Array) -> pa.Array:
        start, length = rows[0].as_py(), len(rows)
        if count is not None:
            count(length)
        if whole is not None:
            return _rebased(whole.slice(start, length))
        chunks = column.slice(start, length).chunks
        return _rebased(chunks[0]) if len(chunks) == 1 else pa.concat_arrays(chunks)

    return give


def _rebased(array: pa.Array) -> pa.Array:
    """Return a slice over parts of its buffers, as if they were all there is.

    DataFusion counts the memory of a slice from where its buffers begin: the later in its table it
    lies, the larger it would seem, and sorts would spill, or fail, for want of memory that they
    never took.
    """
    start, length, kind = array.offset, len(array), array.type
    if not start or pa.types.is_null(kind):
        return array
    if array.null_count and start % 8:
        return copied(array)
    validity, *others = array.buffers()
    validity = validity.slice(start // 8, (length + 7) // 8) if array.null_count else None
    if _TEXTS.get(kind) is not None:
        offsets = pa.Array.from_buffers(_TEXTS[kind], length + 1, [None, others[0]], 0, start)
        first, last = offsets[0].as_py(), offsets[length].as_py()
        moved = pc.subtract(offsets, offsets[0]).buffers()[1]
        data = None if others[1] is None else others[1].slice(first, last - first)
        return pa.Array.from_buffers(kind, length, [validity, moved, data])
    if _is_plain(kind):
        width = kind.bit_width // 8
        data = others[0].slice(start * width, length * width)
        return pa.Array.from_buffers(kind, length, [validity, data])
    return copied(array)


_TEXTS = {
    pa.string(): pa.int32(),
    pa.binary(): pa.int32(),
    pa.large_string(): pa.int64(),
    pa.large_binary(): pa.int64(),
}


def _is_plain(kind: pa.DataType) -> bool:
    """Whether a type's values are so many whole bytes each, and nothing else."""
    types = pa.types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_temporal(kind)
        or types.is_decimal128(kind)
        or types.is_decimal256(kind)
        or types.is_fixed_size_binary(kind)
    )


# Serialised plans


def _key(schema: pa.Schema) -> bytes:
    # The bytes, since schemas that differ in the names of a list's items alone are equal.
    serialised: bytes = schema.serialize().to_pybytes()
    return serialised


@functools.lru_cache
def _encoder() -> SessionContext:
    return SessionContext(new_config())


@functools.lru_cache(512)
def _columns(schema_bytes: bytes, prefix: str) -> Template:
    """Return a plan of a table's columns, with a hole for the one that counts its rows."""
    schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
    if not schema.names:
        return _no_columns()
    ctx = SessionContext(new_config()).with_python_udf_inlining(enabled=False)
    selected = []
    for i, field in enumerate(schema):
        ctx.register_udf(udf(_never, [pa.int64()], field.type, "volatile", f"{prefix}{i}"))
        selected.append(f'{prefix}{i}(value) AS "{_placeholder(i)}"')
    # Placeholders, since SQL wants a name once and a stage's columns may share one.
    sql = f"SELECT {', '.join(selected)} FROM generate_series(0, 0)"  # noqa: S608 - all ours
    plan = ctx.sql(sql).execution_plan()
    named = Template.compile(
        plan.to_bytes(ctx), [(_placeholder(i).encode(), str(i)) for i in range(len(schema))]
    ).fill({str(i): [name.encode()] for i, name in enumerate(schema.names)})
    return Template.compile(named, [(_count_up(1), "rows")])


def _placeholder(column: int) -> str:
    return f"__column_{column:06}__"


def _never(rows: pa.Array) -> pa.Array:
    raise AssertionError("a plan that is only serialised runs nothing")


@functools.cache
def _no_columns() -> Template:
    sql = "SELECT count(*) FROM generate_series(0, 0) WHERE value >= 0"
    plan = _encoder().sql(sql).execution_plan()
    while not plan.display().startswith("FilterExec: value@0 >= 0, projection=[]"):
        (plan,) = plan.children()
    return Template.compile(plan.to_bytes(_encoder()), [(_count_up(1), "rows")])


@functools.lru_cache(1024)
def _count_up(rows: int) -> bytes:
    """Return the plan that gives the numbers below ``rows``."""
    first, last = (0, rows - 1) if rows else (1, 0)
    ctx = _encoder()
    sql = f"SELECT value FROM generate_series({first}, {last})"  # noqa: S608 - two numbers
    plan = ctx.sql(sql).execution_plan()
    serialised: bytes = plan.to_bytes(ctx)
    return serialised


@functools.cache
def _union_tags() -> tuple[bytes, bytes]:
    """Return the tags of a union within a plan, and of a plan within a union."""
    ctx, one = _encoder(), "SELECT value FROM generate_series(0, 0)"
    message = ctx.sql(f"{one} UNION ALL {one}").execution_plan().to_bytes(ctx)
    (union,) = fields(message)
    child = fields(message, union.start, union.end)[0]
    return message[union.head : union.tag_end], message[child.head : child.tag_end]


def _union(plans: Sequence[bytes]) -> bytes:
    outer, inner = _union_tags()
    body = b"".join(part for plan in plans for part in (inner, varint(len(plan)), plan))
    return b"".join((outer, varint(len(body)), body))


# Tables


def conform(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Return tables as one, with the columns of a schema, matched by position.

    Parameters
    ----------
    schema
        Without columns only rows count; the result has one column of nulls then, since a table
        without columns does not keep its rows wherever it goes.

    Raises
    ------
    SchemaMismatchError
        If a column is missing or has another type.
    """
    if not schema.names:
        return pa.table({"": pa.nulls(sum(table.num_rows for table in tables))})
    fitted = [_fitted(table, schema) for table in tables if table.num_rows]
    if len(fitted) == 1:
        return fitted[0]
    return pa.concat_tables(fitted) if fitted else schema.empty_table()


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.num_columns != len(schema):
        raise SchemaMismatchError(
            f"a table came with {table.num_columns} columns in place of {len(schema)}"
        )
    columns = [
        _fitted_column(column, field) for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _fitted_column(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    if column.type.equals(field.type, check_metadata=True):
        return column
    # Only what fields inside it are called, or whether they may be null.
    if _shape(column.type) != _shape(field.type):
        raise SchemaMismatchError(
            f"column {field.name!r} came as {column.type}, and the plan says {field.type}"
        )
    return column.cast(field.type)


_SAME = {pa.string_view(): pa.string(), pa.large_string(): pa.string()}
_SAME |= {pa.binary_view(): pa.binary(), pa.large_binary(): pa.binary()}


def _shape(kind: pa.DataType) -> Any:
    """Return a type without what casts change at no cost and no risk."""
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind):
        return "list", _shape(kind.value_type)
    if types.is_fixed_size_list(kind):
        return "list", kind.list_size, _shape(kind.value_type)
    if types.is_struct(kind):
        return "struct", tuple((field.name, _shape(field.type)) for field in kind)
    if types.is_map(kind):
        return "map", _shape(kind.key_type), _shape(kind.item_type)
    return _SAME.get(kind, kind)


def _aligned(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Copy what lies askew, as all that came off a network does, once.

    Otherwise arrow-rs copies the whole buffer anew for each batch.
    """
    if all(_is_aligned(chunk) for chunk in column.chunks):
        return column
    return pa.chunked_array([copied(chunk) for chunk in column.chunks], type=column.type)


def _is_aligned(array: pa.Array) -> bool:
    return all(buffer is None or not buffer.address % _ALIGNMENT for buffer in array.buffers())
