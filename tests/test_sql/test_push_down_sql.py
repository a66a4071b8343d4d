"""What queries ask of their tables: columns, conditions, limits."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import dask.dataframe as dd
import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dask_sail
from dask_sail.predicate import Predicate, apply

SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "small": pa.int8(),
        "x": pa.float64(),
        "f": pa.float32(),
        "s": pa.string(),
        "big": pa.large_string(),
        "dec": pa.decimal128(12, 2),
        "day": pa.date32(),
        "ts": pa.timestamp("us"),
        "zoned": pa.timestamp("us", "UTC"),
        "b": pa.bool_(),
        "raw": pa.binary(),
        "cat": pa.dictionary(pa.int32(), pa.string()),
        "l": pa.list_(pa.int64()),
    }
)
P = Predicate
NEGATIVE_NAN = -math.nan  # what x86 makes of 0/0: below all numbers in the order of DataFusion


def or_nan(column: str, op: str, value: float) -> Predicate:
    return P(column, "any_of", (P(column, op, value), P(column, "is nan")))


@pytest.fixture(scope="module")
def planner(in_process):
    return in_process.planner_over({"t": [SCHEMA.empty_table()] * 3, "u": [SCHEMA.empty_table()]})


@pytest.fixture(scope="module")
def scans(planner):
    def of(sql: str):
        plan = planner.plan(sql)
        assert plan.fallback is None
        return plan.scans

    return of


@pytest.mark.parametrize(
    ("condition", "predicates"),
    [
        ("id = 5", [P("id", "==", 5)]),
        ("5 < id", [P("id", ">", 5)]),
        ("id <> 5 and small >= 3", [P("id", "!=", 5), P("small", ">=", 3)]),
        ("id between 3 and 7", [P("id", ">=", 3), P("id", "<=", 7)]),
        ("not (id between 3 and 7)", [P("id", "any_of", (P("id", "<", 3), P("id", ">", 7)))]),
        ("id in (1, 2)", [P("id", "in", (1, 2))]),  # an OR in the plan
        ("id in (1, 2, 3, 4, 5, 6)", [P("id", "in", (1, 2, 3, 4, 5, 6))]),
        ("id not in (1, 2, 3, 4, 5)", [P("id", "not in", (1, 2, 3, 4, 5))]),
        ("id in (1, 2, 3, 4, 5, null)", [P("id", "in", (1, 2, 3, 4, 5))]),
        ("id not in (1, 2, 3, 4, 5, null)", []),
        ("id = 1 or id is null", [P("id", "any_of", (P("id", "==", 1), P("id", "is null")))]),
        ("id = 1 or s = 'a'", []),
        ("id = 1 or abs(id) = 3", []),
        ("s is null and x is not null", [P("s", "is null"), P("x", "not null")]),
        ("s = 'it''s' and s > 'a'", [P("s", "==", "it's"), P("s", ">", "a")]),
        ("dec > 1.5", [P("dec", ">", Decimal("1.50"))]),
        ("day >= date '1995-01-01'", [P("day", ">=", dt.date(1995, 1, 1))]),
        ("day = '1995-01-01'", [P("day", "==", dt.date(1995, 1, 1))]),
        (
            "day < date '1995-01-01' + interval '1' month",
            [P("day", "<", dt.date(1995, 2, 1))],
        ),
        ("ts < timestamp '1970-02-01'", [P("ts", "<", dt.datetime(1970, 2, 1))]),
        (
            "zoned < timestamp '1970-02-01'",
            [P("zoned", "<", dt.datetime(1970, 2, 1, tzinfo=dt.UTC))],
        ),
        ("b", [P("b", "==", True)]),
        ("not b", [P("b", "==", False)]),
        # NaN has a place above or below all numbers in SQL, and compares false for sources.
        ("x > 3", [or_nan("x", ">", 3.0)]),
        ("x >= 3", [or_nan("x", ">=", 3.0)]),
        ("x < 3", [or_nan("x", "<", 3.0)]),
        ("x <= 3", [or_nan("x", "<=", 3.0)]),
        ("x between 1 and 3", [or_nan("x", ">=", 1.0), or_nan("x", "<=", 3.0)]),
        (
            "not (x between 1 and 3)",
            [P("x", "any_of", (P("x", "<", 1.0), P("x", "is nan"), P("x", ">", 3.0)))],
        ),
        ("x = 3", [P("x", "==", 3.0)]),
        ("x <> 4", [P("x", "!=", 4.0)]),
        ("x < 0", [or_nan("x", "<", 0.0)]),
        ("x <> 0", [P("x", "!=", 0.0)]),
        ("x = 'NaN'", []),
        ("x in (0, 1, 2, 3, 4)", []),
        # What DataFusion computes stays there.
        ("id + 1 = 5", []),
        ("s like 'a%'", []),
        ("upper(s) = 'A'", []),
        ("id = small", []),
        ("cast(s as int) = 5", []),
        ("f = 0.1", []),  # compared as a double
        ("random() < 0.5", []),
        ("cat = 'red'", []),
        ("l[1] = 3", []),
        ("id > 3 and s like '%z' and x < 2", [P("id", ">", 3), or_nan("x", "<", 2.0)]),
    ],
)
def test_simple_conditions_go_to_the_source(condition, predicates, scans):
    (scan,) = scans(f"SELECT count(*) FROM t WHERE {condition}")
    assert list(scan.predicates) == predicates
    assert len(scan.filters) == 1


def test_the_types_of_literals_are_those_of_the_columns(scans):
    (scan,) = scans("SELECT id FROM t WHERE dec = 3 AND small = 3 AND x = 3")
    assert [type(p.value) for p in scan.predicates] == [Decimal, int, float]


def test_columns_are_those_that_are_needed(scans):
    assert [s.columns for s in scans("SELECT s FROM t WHERE id > 3")] == [("id", "s")]
    assert [s.columns for s in scans("SELECT count(*) FROM t")] == [()]
    assert [s.columns for s in scans("SELECT 1 FROM t")] == [()]
    assert [s.columns for s in scans("SELECT x * id + small, s FROM t")] == [
        ("id", "small", "x", "s")
    ]
    assert [s.columns for s in scans("SELECT id, id AS again FROM t")] == [("id",)]
    assert [s.columns for s in scans("SELECT * FROM t")] == [tuple(SCHEMA.names)]


def test_each_scan_of_a_table_has_its_own_conditions(scans):
    both = scans("SELECT a.s FROM t a JOIN t b ON a.id = b.id WHERE a.small > 1 AND b.small < 0")
    assert {scan.predicates for scan in both} == {
        (P("small", ">", 1),),
        (P("small", "<", 0),),
    }
    union = scans("SELECT id FROM t WHERE id > 5 UNION ALL SELECT id FROM t")
    assert [scan.predicates for scan in union] == [(P("id", ">", 5),), ()]
    subquery = scans("SELECT id FROM t WHERE small = 1 AND x > (SELECT max(x) FROM t WHERE id = 2)")
    assert {scan.predicates for scan in subquery} == {(P("small", "==", 1),), (P("id", "==", 2),)}
    assert len(scans("SELECT id FROM t UNION ALL SELECT id FROM t")) == 1


@pytest.mark.parametrize(
    ("sql", "limit"),
    [
        ("SELECT id FROM t LIMIT 3", 3),
        ("SELECT id FROM t LIMIT 3 OFFSET 4", 7),
        ("SELECT id + 1 FROM t LIMIT 3", 3),
        ("SELECT id FROM t WHERE id > 5 LIMIT 3", 3),
        ("SELECT id FROM t WHERE s LIKE 'a%' LIMIT 3", None),
        ("SELECT id FROM t WHERE id > 5 AND s LIKE 'a%' LIMIT 3", None),
        ("SELECT id FROM t WHERE x <> 0 LIMIT 3", 3),
        ("SELECT id FROM t WHERE x < 0 LIMIT 3", None),
        ("SELECT id FROM t WHERE x > 0 LIMIT 3", None),
        ("SELECT id FROM t WHERE id NOT IN (1, 2, 3, 4, 5) LIMIT 3", None),  # sources keep nulls
        ("SELECT id FROM t ORDER BY id LIMIT 3", None),
        ("SELECT count(*) FROM t LIMIT 3", None),
        ("SELECT t.id FROM t JOIN u ON t.id = u.id LIMIT 3", None),
        ("SELECT id FROM t", None),
    ],
)
def test_a_limit_goes_where_it_cannot_lose_a_row(sql, limit, scans):
    assert {scan.limit for scan in scans(sql)} == {limit}


def test_a_table_that_takes_no_predicates_is_asked_for_none(in_process):
    described = {"t": [SCHEMA.empty_table()]}
    planner = in_process.planner_over(described, known={"takes_predicates": False})
    (scan,) = planner.plan("SELECT id FROM t WHERE id > 3 LIMIT 2").scans
    assert (scan.predicates, scan.limit) == ((), None)
    assert scan.filters == ("id@0 > 3",)


def test_very_long_lists_stay_here(scans):
    listed = ", ".join(map(str, range(2000)))
    (scan,) = scans(f"SELECT count(*) FROM t WHERE id IN ({listed}) AND small = 1")
    assert scan.predicates == (P("small", "==", 1),)


NUMBERS = [math.nan, NEGATIVE_NAN, -0.0, 0.0, 1.5, -1.5, math.inf, -math.inf, 5e-324, None]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_source_that_applies_predicates_loses_no_row_of_the_result(data, in_process, corpus):
    """Whatever is asked of the source, the answer is that of all rows."""
    ops = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
    values = {
        "x": [repr(v) for v in NUMBERS if v is not None and math.isfinite(v)],
        "i": ["0", "1"],
    }
    terms = []
    for _ in range(data.draw(st.integers(1, 3))):
        column = data.draw(st.sampled_from(["x", "i"]))
        literal = st.sampled_from(values[column])
        shape = data.draw(st.sampled_from(["compare", "in", "not in", "null", "or"]))
        if shape == "compare":
            terms.append(f"{column} {data.draw(ops)} {data.draw(literal)}")
        elif shape == "or":
            alternatives = [f"{column} {data.draw(ops)} {data.draw(literal)}" for _ in range(2)]
            terms.append("(" + " or ".join(alternatives) + ")")
        elif shape == "null":
            terms.append(f"{column} is {data.draw(st.sampled_from(['', 'not ']))}null")
        else:
            listed = ", ".join(data.draw(st.lists(literal, min_size=1, max_size=6)))
            terms.append(f"{column} {shape} ({listed})")
    table = pa.table(
        {"x": [v for v in NUMBERS for _ in range(3)], "i": [0, 1, None] * len(NUMBERS)}
    )
    named = {"t": [table.slice(0, 10), table.slice(10)]}
    tail = data.draw(st.sampled_from(["", " limit 2"]))
    sql = f"select x, i from t where {' and '.join(terms)}{tail}"
    wanted = corpus.datafusion_reference({"t": table}).sql(sql).to_arrow_table()
    planner = in_process.planner_over(named)
    got = in_process.answer(planner, named, sql)
    if tail:
        assert got.num_rows == wanted.num_rows, sql
    else:
        corpus.compare(got, wanted, sql)


def test_predicates_mean_to_sources_what_the_tests_take_them_for():
    rows = pa.table({"x": [math.nan, -0.0, 0.0, None]})
    assert apply(rows, [or_nan("x", "<", 0.0)]).num_rows == 1
    assert apply(rows, [P("x", "<=", 0.0)]).num_rows == 2
    assert apply(rows, [P("x", "<", 0.0)]).num_rows == 0
    assert apply(rows, [P("x", "!=", 1.0)]).num_rows == 3
    assert apply(rows, [P("x", ">", -1.0)]).num_rows == 2  # SQL keeps NaN


@pytest.mark.parametrize(
    ("condition", "partitions"),
    [
        ("x < 1", 2),  # that of the numbers below, and that of NaN
        ("x <= 0.75", 2),
        ("x > 2", 1),
        ("x >= 100", 1),
        ("x between 1 and 2", 2),
        ("not (x between 1 and 2)", 2),
        ("x <> 1", 3),
        ("x = 1", 1),
    ],
)
def test_a_database_gives_its_rows_of_nan_to_ranges(condition, partitions, tmp_path, corpus):
    values = [math.nan, NEGATIVE_NAN, 0.5, 1.0, 1.75, 2.0, 7.0, math.inf, None]
    table = pa.table({"id": range(len(values)), "x": values})
    path = tmp_path / "nan.duckdb"
    with duckdb.connect(str(path)) as db:
        db.register("rows", table)
        db.execute("CREATE TABLE t AS FROM rows")
    frame = dd.read_python_source(
        "jdbc",
        url=f"jdbc:duckdb:{path}",
        dbtable="t",
        partitionColumn="x",
        lowerBound=0,
        upperBound=3,
        numPartitions=3,
    )
    ctx = dask_sail.SQLContext({"t": frame})
    sql = f"SELECT id, x FROM t WHERE {condition}"
    wanted = corpus.datafusion_reference({"t": table}).sql(sql).to_arrow_table()
    corpus.compare(ctx.to_arrow(sql), wanted, sql)
    (scan,) = ctx.explain(sql).stages[0].scans
    assert scan.partitions == partitions
    assert scan.accepted
    assert not scan.applied
