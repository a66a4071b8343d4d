"""`filters=` means what it means for `dd.read_parquet`, but where that depends on the engine."""

import datetime as dt
import pickle
from decimal import Decimal

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_sail.errors import FilterError
from dask_sail.predicate import Disjunction, Predicate, apply, parse_filters

D = dt.date
ROWS = pa.table(
    {
        "i": pa.array(range(8)),
        "n": pa.array([1, 2, None, 4, 5, -1, None, 2], pa.int32()),
        "f": pa.array([0.5, None, float("nan"), -1.0, 2.0, 1e300, 0.1, 2.0]),
        "s": pa.array(["a", "b", None, "B", "", "é", "ab", "b"]),
        "d": pa.array([D(2020, 1, 1), None, *[D(2021, 5, day) for day in range(1, 7)]]),
        "t": pa.array(
            [dt.datetime(2020, 1, 1, hour) for hour in range(7)] + [None], pa.timestamp("us")
        ),
        "m": pa.array([Decimal("1.10"), None, *map(Decimal, range(6))], pa.decimal128(10, 2)),
        "b": pa.array([True, None, False, True, False, None, True, False]),
    }
)


@pytest.fixture(scope="module")
def parquet(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("filters") / "rows.parquet"
    pq.write_table(ROWS, path)
    return str(path)


def kept(filters) -> list[int]:
    return apply(ROWS, parse_filters(filters, ROWS.schema))["i"].to_pylist()


def kept_by_dask(path: str, filters) -> list[int]:
    frame = dd.read_parquet(path, filters=filters, columns=["i"])
    return frame.compute(scheduler="sync").i.tolist()


@pytest.mark.parametrize(
    "filters",
    [
        [("n", ">", 1)],
        [("n", ">=", 2), ("s", "==", "b")],
        [("n", "=", 2)],
        [("s", "<", "b")],
        [("f", ">", 0.1)],
        [("m", "<=", Decimal("1.10"))],
        [("d", ">=", D(2021, 5, 2))],
        [("d", "==", D(2020, 1, 1))],
        [("t", "<", dt.datetime(2020, 1, 1, 3))],
        [("t", "<", pd.Timestamp("2020-01-01T03:00"))],
        [("b", "==", True)],
        [("n", "in", [1, 2, 99])],
        [("n", "in", {1, 2})],
        [("n", "in", (1,))],
        [("s", "in", ["b", "é"])],
        [("f", "in", [0.5, 2.0])],
        [("n", "not in", [1, 2])],
        [("s", "not in", ["b"])],
        [("n", "is", None)],
        [("s", "is not", None)],
        [[("n", ">", 3)], [("n", "<", 0)]],
        [[("n", ">", 3)], [("s", "==", "b"), ("f", "==", 2.0)]],
        [[("n", "is", None)], [("s", "in", ["a"])]],
        [[("n", "==", 1)]],
    ],
    ids=str,
)
def test_filters_keep_the_rows_that_read_parquet_keeps(parquet, filters):
    assert kept(filters) == kept_by_dask(parquet, filters)


terms = st.one_of(
    st.tuples(st.just("n"), st.sampled_from(["==", "<", "<=", ">", ">="]), st.integers(-2, 6)),
    st.tuples(st.just("s"), st.sampled_from(["==", "<", ">="]), st.sampled_from(["", "a", "b"])),
    st.tuples(st.just("n"), st.sampled_from(["in", "not in"]), st.lists(st.integers(-1, 6))),
    st.tuples(st.just("f"), st.sampled_from(["<", ">", "!="]), st.sampled_from([0.0, 0.5, 2.0])),
)


@settings(max_examples=60)
@given(groups=st.lists(st.lists(terms, min_size=1, max_size=3), min_size=1, max_size=3))
def test_any_and_of_ors_keeps_the_rows_that_pyarrow_keeps(groups):
    wanted = ROWS.filter(pq.filters_to_expression(groups))["i"].to_pylist()
    assert kept(groups) == wanted


def test_unequal_drops_nulls_as_pandas_and_pyarrow_do(parquet):
    filters = [("n", "!=", 2)]
    frame = ROWS.to_pandas(types_mapper=pd.ArrowDtype)
    assert kept(filters) == frame[frame.n != 2].i.tolist() == [0, 3, 4, 5]
    assert pq.read_table(parquet, filters=filters)["i"].to_pylist() == [0, 3, 4, 5]
    # The one difference from read_parquet, which differs here from itself:
    assert kept_by_dask(parquet, filters) == [0, 2, 3, 4, 5, 6]
    by_arrow = dd.read_parquet(parquet, filters=filters, filesystem="arrow")
    assert by_arrow.i.compute(scheduler="sync").tolist() == [0, 3, 4, 5]


def test_none_in_a_list_stands_for_null_as_in_pandas():
    frame = ROWS.to_pandas(types_mapper=pd.ArrowDtype)
    assert kept([("n", "in", [1, None])]) == frame[frame.n.isin([1, None])].i.tolist() == [0, 2, 6]
    wanted = frame[~frame.n.isin([1, None])].i.tolist()
    assert kept([("n", "not in", [1, None])]) == wanted == [1, 3, 4, 5, 7]
    assert kept([("f", "in", [0.5, None])]) == [0, 1]


def test_a_list_of_floats_is_equality_with_any():
    table = pa.table({"x": pa.array([0.0, -0.0, 0.1, None], pa.float32()), "i": range(4)})
    conditions = parse_filters([("x", "in", [0.0, 0.1])], table.schema)
    assert apply(table, conditions)["i"].to_pylist() == [0, 1]  # no float32 equals 0.1
    assert apply(table, parse_filters([("x", "in", [])], table.schema)).num_rows == 0


# What sources are asked


def parsed(filters):
    return parse_filters(filters, ROWS.schema)


def test_values_are_typed_as_the_column_is():
    (date,) = parsed([("d", ">", "2021-05-01")])
    assert date == Predicate("d", ">", D(2021, 5, 1))
    (moment,) = parsed([("t", ">", "2021-05-01 10:00:00.5")])
    assert moment.value == dt.datetime(2021, 5, 1, 10, 0, 0, 500_000)
    (number,) = parsed([("n", "==", np.int64(3))])
    assert type(number.value) is int
    (price,) = parsed([("m", "<", 1.1)])
    assert repr(price.value) == "Decimal('1.1')"


def test_an_or_over_one_column_is_one_predicate():
    (either,) = parsed([[("n", ">", 3)], [("n", "in", [1, None])]])
    assert either == Predicate(
        "n",
        "any_of",
        (Predicate("n", ">", 3), Predicate("n", "is null"), Predicate("n", "in", (1,))),
    )


def test_an_or_over_several_columns_is_a_disjunction():
    (either,) = parsed([[("n", ">", 3)], [("s", "==", "b")]])
    assert either == Disjunction(((Predicate("n", ">", 3),), (Predicate("s", "==", "b"),)))
    assert pickle.loads(pickle.dumps(either)) == either


def test_an_and_is_one_predicate_each():
    assert parsed([("n", ">", 3), ("s", "IS NOT", None), ("b", "is null")]) == (
        Predicate("n", ">", 3),
        Predicate("s", "not null"),
        Predicate("b", "is null"),
    )


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_no_filters_keep_everything(nothing):
    assert parsed(nothing) == ()


def test_a_set_gives_the_same_order_in_every_process():
    names = {"n", "b", "a", "zz", "é", "ab"}
    (found,) = parsed([("s", "in", names)])
    assert list(found.value) == sorted(names, key=repr)


def test_zoned_timestamps_take_zoned_text():
    schema = pa.schema([("z", pa.timestamp("us", "Europe/Berlin"))])
    (moment,) = parse_filters([("z", ">", "2021-05-01T10:00:00+02:00")], schema)
    assert moment.value == dt.datetime(2021, 5, 1, 8, tzinfo=dt.UTC)
    with pytest.raises(FilterError, match=r"no ISO text for .*Berlin.*; write '.*Z'"):
        parse_filters([("z", ">", "2021-05-01T10:00:00")], schema)


# What is refused


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ([("N", ">", 1)], r"filter \('N', '>', 1\): there is no column 'N'; did you mean 'n'"),
        ([("q", ">", 1)], r"no column 'q'; there are 'b', 'd', 'f', 'i', 'm', 'n', 's', 't'"),
        ([("n", "=>", 1)], r"filter \('n', '=>', 1\): '=>' is no operator; did you mean"),
        ([("n", "like", "a%")], r"'like' is no operator; there are "),
        ([("n", "any_of", ())], r"'any_of' is no operator"),
        ([("n", ">", "1")], r"filter \('n', '>', '1'\): '1' \(str\) does not compare exactly"),
        (
            [("n", "==", None)],
            r"\('n', '==', None\): None is no value to compare with; .*'is null'",
        ),
        ([("f", "==", float("nan"))], "write a float that is not NaN"),
        ([("f", "is", float("nan"))], "'is null' takes None, got nan"),
        ([("n", "is", 1)], "'is null' takes None, got 1"),
        ([("n", "in", 1)], "'in' takes a list of values, got 1"),
        ([("s", "in", "ab")], "'in' takes a list of values, got 'ab'"),
        ([("n", "in", [1, "2"])], r"filter \('n', 'in', \[1, '2'\]\): '2' \(str\)"),
        ([("b", "<", True)], "'<' means nothing on a bool column"),
        ([("d", ">", "01/02/2020")], "'01/02/2020' is no ISO text for date32.*'2024-05-31'"),
        ([("t", ">", "today")], "'today' is no ISO text for timestamp"),
        ([("t", ">", "2020-01-01T00:00:00.1234567")], "is no ISO text"),
        ([("m", "not in", [1.1])], r"'in' would round 1.1 .*write Decimal\('1.1'\)"),
        (("n", ">", 1), r"filters is \('n', '>', 1\); write a list of tuples"),
        ([["n", ">", 1], ("s", "==", "a")], None),
        ("n > 1", "filters is 'n > 1'; write a list of tuples"),
        (pc.field("n") > 1, "write a list of tuples"),
        ([[]], r"filters holds an empty list: \[\[\]\]"),
        ([[("n", ">", 1)], []], "filters holds an empty list"),
        ([("n", ">")], r"filter \('n', '>'\)"),
        ([("n", ">", 1, 2)], r"filter \('n', '>', 1, 2\) is no \(column, op, value\)"),
        ([(1, ">", 1)], r"filter \(1, '>', 1\) is no \(column, op, value\)"),
        ([("n", ">", 1), [("n", ">", 1)]], "is no "),
    ],
    ids=str,
)
def test_what_is_wrong_is_quoted(filters, message):
    if message is None:  # lists will do for tuples
        assert kept(filters) == []
        return
    with pytest.raises(FilterError, match=message):
        parsed(filters)
