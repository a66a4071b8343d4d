"""A mistake in a query is told with its place, the nearest names, and nothing of the inside."""

from __future__ import annotations

import pickle
import traceback

import pyarrow as pa
import pytest

import dask_sail

TABLE = pa.table({"Id": [1], "Amount": [1.5], "name": ["a"], "st": pa.array([{"f": 1}])})


@pytest.fixture(scope="module")
def ctx() -> dask_sail.SQLContext:
    return dask_sail.SQLContext({"Orders": TABLE}, target_partitions=2)


@pytest.mark.parametrize(
    ("sql", "kind", "line", "marked", "says"),
    [
        ("SELECT *\nFROM Oders", dask_sail.SQLNameError, 2, "Oders", "did you mean 'Orders'"),
        ("SELECT amont FROM orders", dask_sail.SQLNameError, 1, "amont", "did you mean 'Amount'"),
        ("SELECT o.ID,\n o.nme FROM orders o", dask_sail.SQLNameError, 2, "nme", "'name'"),
        ("SELECT zzz FROM orders", dask_sail.SQLNameError, 1, "zzz", 'Valid fields are "Orders"'),
        ("SELECT summ(id) FROM orders", dask_sail.SQLNameError, 1, "summ", "'sum'"),
        (
            "SELECT id FROM orders a, orders b",
            dask_sail.SQLAmbiguousNameError,
            1,
            "id",
            "the table in front",
        ),
        (
            "SELECT 'x' FROM orders\n WHERE amount - name > 1",
            dask_sail.SQLTypeError,
            2,
            "- name",
            "Cannot coerce arithmetic expression Float64 - Utf8",
        ),
        ("SELECT abs(name) FROM orders", dask_sail.SQLTypeError, 1, "abs", "expects Numeric"),
        ("SELECT sum(st) FROM orders", dask_sail.SQLTypeError, 1, "sum", "No function matches"),
        ("SELECT 1 FROM orders WHERE id = 'b1'", dask_sail.SQLTypeError, 1, "'b1'", "Int64"),
        ("SELECT id FROM orders WHERE name", dask_sail.SQLTypeError, 1, "name", "non-boolean"),
        (
            "SELECT id FROM orders WHERE name > 5 + true",
            dask_sail.SQLTypeError,
            1,
            "+ true",
            "Cannot coerce arithmetic expression Int64 + Boolean to valid types\nline",
        ),
        ("SELECT id FROM orders GROUP BY name", dask_sail.SQLQueryError, 1, "id", "GROUP BY"),
        ("SELECT id FROM orders ORDER  BY 9", dask_sail.SQLQueryError, 1, "ORDER", "max: 1"),
        ("SELECT 1 FROM orders\nWHERE sum(id) > 1", dask_sail.SQLQueryError, 2, "WHERE", "HAVING"),
        ("SELECT id FROM orders HAVING id > 1", dask_sail.SQLQueryError, 1, "HAVING", "GROUP BY"),
        ("SELECT id FROM orders LIMIT -1", dask_sail.SQLQueryError, 1, "LIMIT", ">= 0"),
        ("SELECT 1 UNION SELECT 1, 2", dask_sail.SQLQueryError, 1, "UNION", "number of columns"),
        (
            "SELECT a.id FROM orders a JOIN orders b ON a.id",
            dask_sail.SQLTypeError,
            1,
            "ON a",
            "must be boolean",
        ),
        (
            "SELECT id FROM orders WHERE id LIKE 3",
            dask_sail.SQLTypeError,
            1,
            "LIKE",
            "common type to coerce",
        ),
        (
            "SELECT * FROM orders PIVOT (sum(id) FOR name IN ('a'))",
            dask_sail.SQLNotSupportedError,
            1,
            "PIVOT",
            "PIVOT is not done here\nline",
        ),
        (
            "SELECT id FROM orders ORDER BY name COLLATE nocase",
            dask_sail.SQLNotSupportedError,
            1,
            "COLLATE",
            "COLLATE is not done here\nline",
        ),
        (
            "SELECT id FROM orders\nSEMI JOIN orders b ON true",
            dask_sail.SQLNotSupportedError,
            2,
            "SEMI",
            "SEMI JOIN is not done here; write LEFT SEMI JOIN\nline",
        ),
        (
            "SELECT (1 + 2 FROM orders",
            dask_sail.SQLSyntaxError,
            1,
            "FROM",
            "Expected: ), found: FROM",
        ),
        ("SELECT id\n\tFROM orders WHERE", dask_sail.SQLSyntaxError, 2, "", "found: EOF"),
        ("SELECT 'a", dask_sail.SQLSyntaxError, 1, "'a", "Unterminated string"),
        ("EXPLAIN SELECT amont FROM orders", dask_sail.SQLNameError, 1, "amont", "Amount"),
        ("CREATE VIEW v AS\n SELECT amont FROM orders", dask_sail.SQLNameError, 2, "amont", ""),
    ],
)
def test_a_mistake_has_its_place(
    ctx: dask_sail.SQLContext,
    sql: str,
    kind: type[dask_sail.SQLQueryError],
    line: int,
    marked: str,
    says: str,
) -> None:
    with pytest.raises(dask_sail.SQLQueryError) as raised:
        ctx.to_arrow(sql)
    error = raised.value
    assert type(error) is kind
    assert says in str(error)
    assert "case sensitive" not in str(error)
    assert error.line == line
    written = sql.split("\n")[line - 1]
    assert written[error.column - 1 :].startswith(marked)
    *_, excerpt, caret = str(error).split("\n")
    assert excerpt == f"  {written}"
    assert caret.index("^") == len("  ") + error.column - 1
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "datafusion" not in "".join(traceback.format_exception(error)).lower()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_error_where_a_stage_runs_names_the_stage(ctx: dask_sail.SQLContext) -> None:
    with pytest.raises(dask_sail.SQLExecutionError, match="Divide by zero") as raised:
        ctx.sql("SELECT 1 / (id - 1) AS x FROM orders").compute()
    assert raised.value.stage


def test_what_is_printed_for_developers_is_left_out(ctx: dask_sail.SQLContext) -> None:
    with pytest.raises(dask_sail.SQLNotSupportedError) as raised:
        ctx.to_arrow("SELECT id FROM orders WHERE row_number() OVER () = 1")
    assert str(raised.value).endswith("does not support logical expression WindowFunction")
