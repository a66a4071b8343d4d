"""What DataFusion would leave out of a query is refused, and what only looks like it is not."""

from __future__ import annotations

import pyarrow as pa
import pytest

import dask_sail


@pytest.fixture(scope="module")
def ctx():
    tables = {
        "t": pa.table({"a": [1, 1, 2], "b": [1, 2, 3], "totals": [4, 5, 6], "cube": [7, 8, 9]}),
        "u": pa.table({"A": [2, 3], "c": [7, 8]}),
        "v": pa.table({"a": [2, 3], "d": [7, 8]}),
    }
    return dask_sail.SQLContext(tables, target_partitions=2)


@pytest.mark.parametrize(
    ("sql", "column", "instead"),
    [
        ("SELECT * FROM t TABLESAMPLE (10)", 17, "random"),
        ("SELECT * FROM t x tablesample bernoulli (10)", 19, "random"),
        ("SELECT * FROM t tablesample (100 rows)", 17, "random"),
        ("SELECT * FROM t PREWHERE a = 1", 17, "WHERE"),
        ("SELECT a, count(*) FROM t GROUP BY a WITH ROLLUP", 43, "GROUP BY ROLLUP"),
        ("SELECT a, count(*) FROM t GROUP BY a WITH CUBE", 43, "GROUP BY CUBE"),
        ("SELECT a, count(*) FROM t GROUP BY a WITH TOTALS", 43, "GROUP BY ROLLUP"),
        ("SELECT * FROM t PARTITION (p0)", 17, "WHERE"),
        ("SELECT * FROM t WHERE a = 1 CONNECT BY a = b", 29, "WITH RECURSIVE"),
        ("SELECT * ILIKE '%b%' FROM t", 10, "EXCEPT"),
        ("SELECT a FROM t INTERSECT ALL SELECT a FROM v", 17, "INTERSECT, or number"),
        ("(SELECT a FROM t) except all SELECT a FROM v", 19, "EXCEPT, or number"),
        ("CREATE VIEW w AS SELECT * FROM t TABLESAMPLE (10)", 34, "random"),
    ],
)
def test_a_clause_that_would_be_left_out_is_refused(sql, column, instead, ctx):
    with pytest.raises(dask_sail.SQLNotSupportedError, match=instead) as caught:
        ctx.sql(sql)
    assert (caught.value.line, caught.value.column) == (1, column)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT totals, cube FROM t", 3),
        ("WITH totals AS (SELECT 1), cube (x) AS (SELECT 2) SELECT * FROM totals, cube", 1),
        ("SELECT a, count(*) FROM t GROUP BY ROLLUP (a)", 3),
        ("SELECT a, count(*) FROM t GROUP BY CUBE (a)", 3),
        ("SELECT sum(b) OVER (PARTITION BY (a)) AS s FROM t", 3),
        ('SELECT \'with rollup\' AS "prewhere" FROM t AS "tablesample"', 3),
        ("SELECT * FROM t WHERE 'a' ILIKE '%A'", 3),
        ("SELECT * FROM t NATURAL JOIN v", 1),
        ("SELECT * FROM t TABLESAMPLE SYSTEM (100)", 3),
        ("SELECT * EXCEPT (b) FROM t EXCEPT SELECT 1, 4, 7", 2),
        ("SELECT a FROM t INTERSECT DISTINCT SELECT a FROM v", 1),
    ],
)
def test_what_only_looks_like_it_is_a_query(sql, rows, ctx):
    assert ctx.to_arrow(sql).num_rows == rows


@pytest.mark.parametrize("join", ["NATURAL JOIN", "natural left join", "NATURAL FULL JOIN"])
def test_natural_joins_that_would_miss_a_column_are_refused(join, ctx):
    with pytest.raises(dask_sail.SQLAmbiguousNameError, match="a and A; write ON") as caught:
        ctx.sql(f"SELECT count(*) FROM t {join} u")
    assert caught.value.column == 24
