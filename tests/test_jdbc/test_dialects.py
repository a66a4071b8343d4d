"""The SQL of databases that are not run here, read by a parser that is not ours (sqlglot)."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import re
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

import dask_sail
import jdbc
from jdbc.dialects import Column, dialect_for
from jdbc.errors import EngineError, OptionError
from jdbc.options import JDBCOptions
from jdbc.partitioning import Range
from jdbc.query import count_sql, first_sql, predicate_condition, range_sql, select_sql

URLS = {
    "sqlserver": "jdbc:sqlserver://127.0.0.1:{port};databaseName=d;encrypt=false",
    "oracle": "jdbc:oracle:thin:@//127.0.0.1:{port}/s",
    "redshift": "jdbc:redshift://127.0.0.1:{port}/d",
    "cockroachdb": "jdbc:cockroachdb://127.0.0.1:{port}/d",
    "trino": "jdbc:trino://127.0.0.1:{port}/c/s",
    "snowflake": "jdbc:snowflake://127.0.0.1:{port}/?db=d&schema=s&warehouse=w",
    "clickhouse": "jdbc:clickhouse://127.0.0.1:{port}/d",
}
PARSED_AS = {"sqlserver": "tsql", "cockroachdb": "postgres"}
NAMES = sorted(URLS)
EVERY = pytest.mark.parametrize("name", NAMES)
# As each database calls them: a whole number, a decimal, a moment, a text.
COLUMNS = {
    "sqlserver": ("int", "decimal(9,2)", "datetime2(6)", "nvarchar(9)"),
    "oracle": ("NUMBER(9,0)", "NUMBER(9,2)", "TIMESTAMP", "VARCHAR2"),
    "redshift": ("int4", "numeric(9,2)", "timestamp", "varchar"),
    "cockroachdb": ("int4", "numeric(9,2)", "timestamp", "text"),
    "trino": ("integer", "decimal(9,2)", "timestamp(6)", "varchar"),
    "snowflake": ("NUMBER(9,0)", "NUMBER(9,2)", "TIMESTAMP_NTZ", "TEXT"),
    "clickhouse": ("Int32", "Decimal(9, 2)", "DateTime64(6)", "String"),
}


def described(name: str, column: str, database_type: str) -> Column:
    """A column with the type that the dialect itself gives it."""
    blank = Column(column, database_type, pa.null())
    dialect = dialect_for(name)
    try:
        return replace(blank, arrow_type=dialect.partition_key(blank)[1])
    except OptionError:
        return replace(blank, arrow_type=pa.string())


def whole(column: Column, *numbers: int) -> Any:
    """Whole numbers as the column has them; one alone, or several as a tuple."""
    made = Decimal if pa.types.is_decimal(column.arrow_type) else int
    values = tuple(map(made, numbers))
    return values if len(values) > 1 else values[0]


def options(name: str, **given: str) -> JDBCOptions:
    url = URLS[name].format(port=1)
    return JDBCOptions.parse({"url": url, "user": "u", "dbtable": "orders", **given})


def parsed(name: str, sql: str) -> exp.Expression:
    statements = sqlglot.parse(sql, read=PARSED_AS.get(name, name))
    assert len(statements) == 1, sql
    assert statements[0] is not None
    return statements[0]


def limit_of(select: exp.Expression) -> str | None:
    limit = select.args.get("limit")
    if limit is None:
        return None
    return (limit.args.get("count") or limit.expression).sql()


def plain(number: exp.Expression) -> str:
    return number.sql().replace("(", "").replace(")", "")


@EVERY
def test_a_select_is_what_was_asked_for(name: str) -> None:
    dialect = dialect_for(name)
    columns = [described(name, f"c{i}", kind) for i, kind in enumerate(COLUMNS[name])]
    reads = [(c, dialect.read_column(c, "fallback")) for c in columns]
    assert all(read is not None for _, read in reads)
    where = predicate_condition(
        dialect, columns[0], dask_sail.Predicate("c0", ">", whole(columns[0], 7))
    )
    found = parsed(name, select_sql(options(name), dialect, reads, [where], 5))
    assert [item.alias for item in found.selects] == [c.name for c in columns]
    for item, column in zip(found.selects, columns, strict=True):
        assert {c.name for c in item.find_all(exp.Column)} == {column.name}
        assert all(c.this.quoted for c in item.find_all(exp.Column))
    assert [table.name for table in found.find_all(exp.Table)] == ["orders"]
    (greater,) = found.args["where"].find_all(exp.GT)
    assert (greater.this.name, greater.expression.sql()) == ("c0", "7")
    assert limit_of(found) == "5"


@EVERY
def test_rows_are_counted_in_64_bits_and_up_to_a_limit(name: str) -> None:
    dialect = dialect_for(name)
    every = parsed(name, count_sql(options(name), dialect))
    limited = parsed(name, count_sql(options(name), dialect, ["1 = 1"], 9))
    for found in (every, limited):
        (item,) = found.selects
        assert isinstance(item, exp.Count)
        # SQL Server's count(*) is an error from 2**31 rows up.
        assert bool(item.args.get("big_int")) or name != "sqlserver"
    inner = limited.find(exp.Subquery)
    assert inner is not None
    assert limit_of(inner.this) == "9"
    assert all(item.alias for item in inner.this.selects)  # SQL Server wants names
    assert " AS counted" not in count_sql(options(name), dialect, (), 9)  # Oracle takes no AS


@EVERY
def test_the_first_row_of_an_order(name: str) -> None:
    dialect = dialect_for(name)
    sql = first_sql(options(name), dialect, dialect.quote("c"), f"ORDER BY {dialect.quote('c')}")
    found = parsed(name, sql)
    assert limit_of(found) == "1"
    assert found.args["order"] is not None


@EVERY
@given(cuts=st.lists(st.integers(-(2**31), 2**31), min_size=1, max_size=4, unique=True))
def test_ranges_hold_each_whole_number_once(name: str, cuts: list[int]) -> None:
    dialect, column = dialect_for(name), described(name, "c", COLUMNS[name][0])
    edges = [None, *sorted(cuts), None]
    ranges = [Range(low, high, low is None) for low, high in pairwise(edges)]
    found = [parsed(name, f"SELECT 1 FROM t WHERE {range_sql(dialect, column, r)}") for r in ranges]
    below = [[plain(c.expression) for c in one.find_all(exp.LT)] for one in found]
    above = [[plain(c.expression) for c in one.find_all(exp.GTE)] for one in found]
    assert below == [*([str(cut)] for cut in sorted(cuts)), []]
    assert above == [[], *([str(cut)] for cut in sorted(cuts))]
    assert [one.find(exp.Is) is not None for one in found] == [True, *[False] * len(cuts)]
    assert found[0].find(exp.Or) is not None


@EVERY
@pytest.mark.parametrize("place", [1, 2], ids=["decimal", "timestamp"])
def test_decimals_and_timestamps_are_cut(name: str, place: int) -> None:
    dialect, column = dialect_for(name), described(name, "c", COLUMNS[name][place])
    sql = range_sql(dialect, column, Range(1_700_000_000_000_000, None, nulls=False))
    condition = parsed(name, f"SELECT 1 FROM t WHERE {sql}").find(exp.GTE)
    assert condition is not None
    literal = condition.expression.sql()
    assert ("2023-11-14 22:13:20" if place == 2 else "1700000000000000") in literal


@EVERY
def test_what_cannot_be_cut_is_told(name: str) -> None:
    dialect = dialect_for(name)
    with pytest.raises(OptionError, match=r"'partitionColumn' names 'c', .*cannot be cut"):
        dialect.partition_key(Column("c", COLUMNS[name][3], pa.string()))


FLOATS = {
    "oracle": "BINARY_DOUBLE", "redshift": "float8", "cockroachdb": "float8", "trino": "double",
    "snowflake": "REAL", "clickhouse": "Float64",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FLOATS))
def test_a_column_that_may_hold_nan_is_not_cut(name: str) -> None:
    # On some of these a NaN is in no range, so that its row would be lost.
    column = Column("c", FLOATS[name], pa.float64())
    with pytest.raises(OptionError, match="may hold NaN"):
        dialect_for(name).partition_key(column)


@EVERY
def test_a_number_of_partitions_alone_asks_for_bounds(name: str) -> None:
    given = options(name, numPartitions="4")
    from jdbc.cuts import plan_cuts

    columns = [described(name, "c", COLUMNS[name][0])]
    with pytest.raises(OptionError, match=r"'numPartitions' needs to know .*give partitionColumn"):
        plan_cuts(dialect_for(name), given, columns)


# ---------------------------------------------------------------------------- names and values

# Whatever a column may be called; no database takes a NUL.
IDENTIFIERS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20) | (
    st.text(st.sampled_from("\"'`[]\\;-/* a"), min_size=1, max_size=12)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30) | (
    st.text(st.sampled_from("'\"\\%;-/*n\n\t0 ä"), max_size=12)
)


@EVERY
@given(column=IDENTIFIERS)
def test_an_identifier_is_quoted_whatever_it_holds(name: str, column: str) -> None:
    sql = f"SELECT {dialect_for(name).quote(column)} FROM t"
    (item,) = parsed(name, sql).selects
    assert isinstance(item, exp.Column)
    assert item.this.quoted
    assert item.name == column


@EVERY
@given(value=TEXTS)
def test_a_text_is_a_literal_whatever_it_holds(name: str, value: str) -> None:
    try:
        literal = dialect_for(name).literal(value, pa.string())
    except ValueError:
        assert (name, value) == ("oracle", "")
        return
    (item,) = parsed(name, f"SELECT {literal}").selects
    if name == "oracle" and literal.startswith("UNISTR"):
        (given_units,) = re.findall(r"UNISTR\('([\\0-9a-f]*)'\)", literal)
        assert bytes.fromhex(given_units.replace("\\", "")).decode("utf-16-be") == value
        return
    assert isinstance(item, exp.Literal | exp.National | exp.ByteString)
    assert item.name == value


@EVERY
def test_oracles_empty_text_is_no_literal(name: str) -> None:
    literal = dialect_for(name).literal
    if name != "oracle":
        assert literal("", pa.string()).endswith("''")
        return
    with pytest.raises(ValueError, match="NULL"):
        literal("", pa.string())
    # So neither is a condition, nor a value of a query.
    with pytest.raises(OptionError, match="no literal"):
        JDBCOptions.parse(
            {
                "url": URLS[name].format(port=1),
                "query": "SELECT * FROM t WHERE a = :a",
                "params": '{"a": ""}',
            }
        )


NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.decimals(
    -(10**18), 10**18, places=6, allow_nan=False, allow_infinity=False
)


@EVERY
@given(value=NUMBERS)
def test_a_number_is_spelt_digit_by_digit(name: str, value: int | Decimal) -> None:
    kind = pa.int64() if isinstance(value, int) else pa.decimal128(38, 6)
    literal = dialect_for(name).literal(value, kind)
    spelt = parsed(name, f"SELECT {literal}").sql()
    digits = re.search(r"(?<!\w)-? ?\d+(?:\.\d+)?", spelt)
    assert digits is not None
    assert Decimal(digits[0].replace(" ", "")) == value
    assert "e" not in digits[0].lower()


@EVERY
@given(value=st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2261, 12, 31)))
def test_a_moment_is_spelt_to_the_microsecond(name: str, value: dt.datetime) -> None:
    literal = dialect_for(name).literal
    for moment, kind in (
        (value, pa.timestamp("us")),
        (value.replace(tzinfo=dt.UTC), pa.timestamp("us", "UTC")),
    ):
        spelt = literal(moment, kind)
        parsed(name, f"SELECT {spelt}")
        found = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", spelt)
        assert found is not None
        assert dt.datetime.fromisoformat(found[0]) == value


@EVERY
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), Decimal("NaN"), "\ud800", "a\0b", object()], ids=repr
)
def test_what_has_no_literal_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError):
        dialect_for(name).literal(value, pa.string())


# ------------------------------------------------------------------------------- conditions


def pushed(name: str, database_type: str, op: str, value: Any) -> bool:
    column = described(name, "c", database_type)
    wanted = dask_sail.Predicate("c", op, value)
    return predicate_condition(dialect_for(name), column, wanted) is not None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sqlserver", "varchar(9)"),  # most collations ignore case
        ("sqlserver", "binary(4)"),  # and zeros at the end of bytes do not count
        ("oracle", "VARCHAR2"),
        ("oracle", "CHAR"),
        ("redshift", "varchar"),
        ("cockroachdb", "text"),
        ("snowflake", "TEXT"),
        ("trino", "char(3)"),  # blanks at the end do not count
    ],
)
def test_texts_are_not_compared_where_equal_need_not_mean_the_same(name: str, kind: str) -> None:
    column = Column("c", kind, pa.binary() if "binary" in kind else pa.string())
    value = b"a" if "binary" in kind else "a"
    for op in ("==", "<"):
        wanted = dask_sail.Predicate("c", op, value)
        assert predicate_condition(dialect_for(name), column, wanted) is None
    missing = predicate_condition(dialect_for(name), column, dask_sail.Predicate("c", "is null"))
    assert parsed(name, f"SELECT 1 FROM t WHERE {missing}").find(exp.Is) is not None


@EVERY
def test_numbers_and_moments_are_compared(name: str) -> None:
    number, decimal, moment, _ = COLUMNS[name]
    seven, one_two = (whole(described(name, "c", number), *n) for n in ((7,), (1, 2)))
    for op in ("==", "!=", "<", "<=", ">", ">="):
        assert pushed(name, number, op, seven)
        assert pushed(name, decimal, op, Decimal("1.50"))
    assert pushed(name, number, "in", one_two)
    stamp = dt.datetime(2025, 1, 31, 12)
    column = described(name, "c", moment)
    value = stamp if column.arrow_type.tz is None else stamp.replace(tzinfo=dt.UTC)
    assert pushed(name, moment, "<", value)
    assert not pushed(name, number, "==", True)
    assert not pushed(name, number, "==", 1.5)


@EVERY
def test_not_in_keeps_nulls_as_pandas_does(name: str) -> None:
    column = described(name, "c", COLUMNS[name][0])
    wanted = dask_sail.Predicate("c", "not in", whole(column, 1, 2))
    sql = predicate_condition(dialect_for(name), column, wanted)
    found = parsed(name, f"SELECT 1 FROM t WHERE {sql}")
    assert found.find(exp.In) is not None
    assert found.find(exp.Or) is not None
    assert found.find(exp.Is) is not None


# ------------------------------------------------------------------- what the options may say


@EVERY
@pytest.mark.parametrize("engine", ["connectorx", "adbc"])
def test_an_engine_that_cannot_read_it_is_told(name: str, engine: str) -> None:
    from jdbc.engines import choose_engine

    dialect = dialect_for(name)
    with pytest.raises(EngineError, match=f"{engine} does not read {dialect.label}"):
        choose_engine(dialect, options(name, engine=engine), [])
    assert choose_engine(dialect, options(name), []).engine == "fallback"


@pytest.mark.parametrize(
    ("name", "tail", "near"),
    [
        ("sqlserver", ";trustServerCertficate=true", "trustServerCertificate"),
        ("oracle", "?TNS_ADMN=/w", "TNS_ADMIN"),
        ("redshift", "?sslmod=require", "sslmode"),
        ("trino", "?SSLVerificatio=NONE", "SSLVerification"),
        ("snowflake", "&warehous=w2", "warehouse"),
        ("clickhouse", "?sslmod=none", "sslmode"),
    ],
)
def test_an_unknown_property_is_named_with_the_nearest(name: str, tail: str, near: str) -> None:
    url = URLS[name].format(port=1) + tail
    with pytest.raises(OptionError, match=f"did you mean '{near}'"):
        JDBCOptions.parse({"url": url, "dbtable": "t"})


@EVERY
def test_an_unknown_option_is_named(name: str) -> None:
    with pytest.raises(OptionError, match="'fetchsise' is not an option of jdbc; did you mean"):
        options(name, fetchsise="9")


@EVERY
def test_a_snapshot_is_refused(name: str) -> None:
    given = {"url": URLS[name].format(port=1), "dbtable": "t", "snapshot": "true"}
    with pytest.raises(OptionError, match=dialect_for(name).label):
        jdbc.JDBCArrowDataSource().wants_snapshot(given)


def test_a_bound_that_clickhouse_cannot_spell_is_an_error_of_the_option() -> None:
    column = described("clickhouse", "c", "Date32")
    with pytest.raises(OptionError, match="'partitionColumn' names 'c'"):
        range_sql(dialect_for("clickhouse"), column, Range(-200_000, None, nulls=False))


@EVERY
def test_its_types_travel_in_the_schema(name: str) -> None:
    dialect = dialect_for(name)
    for row in dialect.types:
        assert row.names
    assert json.dumps([str(row.arrow) for row in dialect.types])
    error = dialect.error(RuntimeError("x"), options(name))
    assert f"{pickle.loads(pickle.dumps(error))}" == f"{error}"


def test_a_database_that_two_packages_announce_is_an_error_that_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package, place in (("one", "jdbc.dialects.sqlite"), ("two", "jdbc.dialects.duckdb")):
        info = tmp_path / f"{package}-1.{len(place)}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {package}\nVersion: 1.{len(place)}\n")
        (info / "entry_points.txt").write_text(f"[jdbc.dialects]\nnewbase = {place}:DIALECT\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        OptionError, match=r"'newbase', a database that one 1\.20 and two 1\.20 announce; uninstall"
    ):
        dialect_for("newbase")
    (tmp_path / "two-1.20.dist-info" / "entry_points.txt").unlink()
    assert dialect_for("newbase").name == "sqlite"
