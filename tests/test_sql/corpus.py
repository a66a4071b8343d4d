"""What queries are tested with: tables, texts of queries, references, and what equal means.

No test module: the fixture ``corpus`` of ``conftest.py`` is this module.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute
from datafusion import SessionContext, udf

VECTORS = Path(__file__).parents[1] / "vectors"
SIZES = {"t": (230, 0, 1, 160, 209), "u": (120, 179, 1), "e": (0, 0)}
"""Rows of each partition: some are empty, some hold one row."""


# Tables


@functools.cache
def tables() -> dict[str, tuple[pa.Table, ...]]:
    """The partitions of t, u and e."""
    return {name: tuple(_cut(_table(name), sizes)) for name, sizes in SIZES.items()}


@functools.cache
def whole_tables() -> dict[str, pa.Table]:
    """t, u and e, each as one table, its dictionary decoded: what a reference reads."""
    decoded = {}
    for name, parts in tables().items():
        table = pa.concat_tables(parts)
        fields = [f.with_type(_plain(f.type)) for f in table.schema]
        decoded[name] = table.cast(pa.schema(fields))
    return decoded


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _cut(table: pa.Table, sizes: Sequence[int]) -> Iterable[pa.Table]:
    starts = np.cumsum([0, *sizes])
    assert starts[-1] == table.num_rows
    return (table.slice(int(a), size) for a, size in zip(starts, sizes, strict=False))


def _table(name: str) -> pa.Table:
    count = sum(SIZES[name])
    rng = np.random.default_rng(len(name) + ord(name))

    def some(values: Sequence[Any], nulls: float = 0.08) -> list[Any]:
        picked = [values[i] for i in rng.integers(0, len(values), count)]
        lost = rng.random(count) < nulls
        return [None if gone else v for v, gone in zip(picked, lost, strict=True)]

    ids = pa.array(rng.permutation(count) if name == "t" else np.arange(count), pa.int64())
    floats = [round(float(v), 2) for v in rng.normal(3, 4, 90)] + [math.nan, -0.0, 0.0, 1e15]
    words = ["", "a", "A", "b b", "ß", "Zürich", "x'y", 'quote"d']
    columns = {
        "id": ids,
        "g": pa.array(some([0, 1, 2, 3, 5, 8, -4, 2**40]), pa.int64()),
        "s": pa.array(some(words), pa.string()),
        "x": pa.array(some(floats), pa.float64()),
    }
    # NaN has a group of its own: elsewhere the order of rows decides what min(x) is, see
    # test_min_and_max_of_a_group_do_not_depend_on_where_nan_stands.
    columns["g"] = pa.compute.if_else(pa.compute.is_nan(columns["x"]), 99, columns["g"])
    if name == "t":
        cents = [decimal.Decimal(int(v)).scaleb(-2) for v in rng.integers(-(10**9), 10**9, 60)]
        start = datetime.datetime(1969, 12, 30, 23, 59, 59, 999_999)
        lists = [[], [1], [2, None, 3], [4, 5, 6, 7]]
        columns |= {
            "dec": pa.array(some(cents), pa.decimal128(12, 2)),
            "ts": pa.array(
                some([start + datetime.timedelta(hours=31 * i) for i in range(50)]),
                pa.timestamp("us"),
            ),
            "dt": pa.array(
                some([start.date() + datetime.timedelta(days=40 * i) for i in range(20)]),
                pa.date32(),
            ),
            "l": pa.array(some(lists), pa.list_(pa.int64())),
            "cat": pa.array(some(["red", "green", "", "blue"]), pa.string()).dictionary_encode(),
            "b": pa.array(some([True, False], 0.2), pa.bool_()),
        }
    return pa.table(columns)


# Queries


def double(values: pa.Array) -> pa.Array:
    """What queries call ``dbl``."""
    return pa.compute.multiply(values, 2.0)


@functools.cache
def queries() -> tuple[str, ...]:
    """The texts over t, u and e."""
    text = (VECTORS / "sql_queries.sql").read_text(encoding="utf-8")
    return tuple(line.strip().rstrip(";") for line in text.splitlines() if line.strip())


def is_ordered(sql: str) -> bool:
    """Whether the query asks for an order: ORDER BY outside of every parenthesis."""
    depth, outer = 0, []
    for character in sql:
        depth += (character == "(") - (character == ")")
        outer.append(character if depth == 0 else " ")
    return re.search(r"\border\s+by\b", "".join(outer), re.IGNORECASE) is not None


DUCKDB_LACKS = {
    "approx_percentile_cont": "has another function for it, with another answer",
    "ignore nulls": "wants it within the parentheses",
    "stddev": "raises an error where a value is NaN",
    "tablesample": "samples blocks of its own",
}
"""What DuckDB does otherwise, so that it is no second source for such a query."""


def duckdb_knows(sql: str) -> bool:
    """Whether DuckDB can be the second source for a query."""
    return not any(word in sql.lower() for word in DUCKDB_LACKS)


def datafusion_knows(sql: str) -> bool:
    """Whether DataFusion's parser takes a query: it refuses FETCH FIRST, written or not."""
    return "fetch first" not in sql.lower()


# References


def datafusion_reference(named: Mapping[str, pa.Table]) -> SessionContext:
    """DataFusion in one process, with its own settings, over the same rows."""
    ctx = SessionContext()
    for name, table in named.items():
        ctx.register_record_batches(name, [table.to_batches() or _no_rows(table.schema)])
    ctx.register_udf(udf(double, [pa.float64()], pa.float64(), "immutable", "dbl"))
    return ctx


def _no_rows(schema: pa.Schema) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)]


def duckdb_reference(named: Mapping[str, pa.Table]) -> duckdb.DuckDBPyConnection:
    """DuckDB over the same rows, with DataFusion's places for NULLs."""
    con = duckdb.connect()
    con.execute("SET default_null_order = 'NULLS_LAST_ON_ASC_FIRST_ON_DESC'")
    con.execute("SET threads = 1")
    for name, table in named.items():
        con.register(f"{name}_arrow", table)
        con.execute(f"CREATE TABLE {name} AS SELECT * FROM {name}_arrow")
    con.create_function("dbl", double, ["DOUBLE"], "DOUBLE", type="arrow")
    return con


# Equality

_FLOAT_AGGREGATES = re.compile(
    r"\b(sum|avg|mean|stddev\w*|var\w*|corr|covar\w*|regr_\w*|approx_\w+|median|percentile\w*)\s*\(",
    re.IGNORECASE,
)


def compare(
    got: pa.Table, want: pa.Table, sql: str, *, types: bool = True, ordered: bool | None = None
) -> None:
    """Assert that two results are equal, as the documentation defines it.

    Names, types and values are the same, in any order of rows unless the query names one. Floats
    are the same bits, or within 1e-9 where the query adds floats up, since the order varies.

    Parameters
    ----------
    types
        Whether names and types are compared, too; not against another engine.
    ordered
        Whether the order is asked for; read from the query if None.
    """
    if types:
        assert got.schema.names == want.schema.names
        assert [_plain(f.type) for f in got.schema] == [_plain(f.type) for f in want.schema]
    assert got.num_columns == want.num_columns
    assert got.num_rows == want.num_rows, f"{got.num_rows} rows, not {want.num_rows}"
    loose = _FLOAT_AGGREGATES.search(sql) is not None or not types
    left, right = _rows(got), _rows(want)
    if not (is_ordered(sql) if ordered is None else ordered):
        left, right = sorted(left, key=_sort_key), sorted(right, key=_sort_key)
    for position, (a, b) in enumerate(zip(left, right, strict=True)):
        assert _same(a, b, loose), f"row {position}: {a!r}, not {b!r}"


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = [_values(column) for column in table.columns]
    return list(zip(*columns, strict=True)) if columns else [()] * table.num_rows


def _values(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz))
    return [_number(value) for value in column.to_pylist()]


def _number(value: Any) -> Any:
    """Counts come as decimals from one engine and as integers from another; 2 is 2."""
    if isinstance(value, decimal.Decimal) and value == value.to_integral_value():
        return int(value)
    return value


def _sort_key(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Exact values first: floats that differ in their last bits must not change the order."""
    exact = [repr(v) for v in row if not isinstance(v, float | decimal.Decimal)]
    inexact = [float(v) for v in row if isinstance(v, float | decimal.Decimal)]
    return len(inexact), exact, [(math.isnan(v), 0.0 if math.isnan(v) else v) for v in inexact]


def _same(a: Any, b: Any, loose: bool) -> bool:
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(_same(x, y, loose) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k], loose) for k in a)
    if isinstance(a, float) and isinstance(b, float | int | decimal.Decimal):
        if not loose:
            return repr(a) == repr(b)
        other = float(b)
        # An average of decimals is a float in DuckDB, and a decimal cut after six digits here.
        digits = 1.01e-6 if isinstance(b, decimal.Decimal) else 0.0
        near = math.isclose(a, other, rel_tol=1e-9, abs_tol=digits)
        return near or (math.isnan(a) and math.isnan(other))
    if loose and isinstance(b, float):
        return _same(b, a, loose)
    return bool(a == b)


# TPC-H

TPCH_TABLES = (
    "customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier",
)  # fmt: skip


def make_tpch(folder: Path, scale: float) -> dict[str, Path]:
    """Write the TPC-H tables as Parquet files, one each, and return their paths."""
    import duckdb_extension_tpch

    [extension] = Path(duckdb_extension_tpch.__file__).parent.rglob("*.duckdb_extension")
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as con:
        con.execute(f"LOAD '{extension}'")
        con.execute(f"CALL dbgen(sf={scale})")
        for name in TPCH_TABLES:
            con.execute(
                f"COPY {name} TO '{folder}/{name}.parquet' "
                "(FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 131072)"
            )
        rows = con.execute("SELECT query_nr, query FROM tpch_queries() ORDER BY 1").fetchall()
    for number, text in rows:
        (folder / f"{number:02}.sql").write_text(text.strip().rstrip(";"), encoding="utf-8")
    return {name: folder / f"{name}.parquet" for name in TPCH_TABLES}


def tpch_query(folder: Path, number: int) -> str:
    """The text of a query, from 1 to 22, of a folder that `make_tpch` filled."""
    return (folder / f"{number:02}.sql").read_text(encoding="utf-8")
