"""Names are matched ignoring case: what a query means is what DuckDB takes it to mean."""

from __future__ import annotations

import re
from types import ModuleType

import duckdb
import pyarrow as pa
import pytest
from datafusion import SessionConfig, SessionContext
from hypothesis import given
from hypothesis import strategies as st

from dask_sail.sqlengine.errors import SQLAmbiguousNameError
from dask_sail.sqlengine.identifiers import spell

TABLES = {
    "Orders": pa.table(
        {
            "Id": [1, 2, 3],
            "Customer": [7, 8, 7],
            "Amount": [10, 20, 30],
            "Date": pa.array([0, 1, 2], pa.date32()),
        }
    ),
    "customers": pa.table({"id": [7, 8], "NAME": ["Ada", "Bob"], "orders": [2, 1]}),
    "Größe": pa.table({"Länge": [1], "b": [2]}),
}
NAMES = {name: table.schema.names for name, table in TABLES.items()}

QUERIES = [
    "SELECT ID, AMOUNT FROM ORDERS WHERE AMOUNT > 10",
    "select sum(AMOUNT) from orders group by customer",
    "select date '2020-01-01', DATE, cast(date as DATE) d, extract(YEAR from date) from orders",
    "select 'ID', ID /* ID */ from orders -- AMOUNT\nwhere 'AMOUNT' <> 'amount'",
    'select "Id", ID + 1 from ORDERS o where O."Id" = 1',
    "select O.ID, c.Id, c.name from orders o join CUSTOMERS C on o.CUSTOMER = C.ID",
    "select id from orders where customer in (select ID from customers where name = 'Ada')",
    "select id from orders where exists (select 1 from customers where ID = customer)",
    "select id, (select max(name) from customers where ID = Orders.Customer) n from orders",
    "select id from customers where id > (select min(ID) from Orders where Orders.ID < 3)",
    "select AMOUNT from (select sum(Amount) as amount from orders) s where amount > 1",
    "select -AMOUNT as amount from orders order by AMOUNT",
    "select -AMOUNT as amount from orders order by AMOUNT + 0 limit 1",
    "select sum(amount) TOTAL from orders group by CUSTOMER having SUM(Amount) > 1 order by total",
    "with Q as (select ID, 1 as One from orders) select one, q.id from q",
    "with q as (select * from customers) select Q.ID, o.ID from Q join orders o on o.ID <= q.ID",
    "with Q(A, B) as (select ID, AMOUNT from orders) select b, a from q where A > 1",
    "select * from (select ID as x, customer from orders) T join customers c on t.CUSTOMER = c.ID",
    "select ORDERS from customers, Orders where orders.ID = customers.ID - 6",
    "select ID from customers union all select ID from orders",
    "select ID from orders union select ID from customers order by id desc limit 2",
    "select ROW_NUMBER() over (partition by CUSTOMER order by ID) R, id from orders order by R, ID",
    "select COUNT(*) COUNT from orders having Count(*) > 1",
    "select LäNGE, GRößE.B from größe",
    "select * from (values (1, 2)) as V(A, b) where v.a = 1 and V.B = 2",
    "select case When AMOUNT > 10 Then ID End from orders",
    "select o.* from ORDERS O, customers C where C.ID = o.customer and c.orders = 1",
    "select a.id, b.ID from orders a join Orders B on A.Id = b.ID - 1",
    "with r as (select ID from customers), s as (select Id from orders, (select 1) y) "
    "select r.id from r where id - 6 in (select ID from S)",
]


@pytest.fixture(scope="module")
def exact() -> SessionContext:
    """DataFusion that takes names as they are written."""
    settings = {"datafusion.sql_parser.enable_ident_normalization": "false"}
    ctx = SessionContext(SessionConfig(settings))
    for name, table in TABLES.items():
        ctx.register_record_batches(f'"{name}"', [table.to_batches()])
    return ctx


@pytest.fixture(scope="module")
def ignoring_case() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    for name, table in TABLES.items():
        con.register(name, table)
    return con


@pytest.mark.parametrize("sql", QUERIES)
def test_a_query_means_what_it_means_to_duckdb(
    corpus: ModuleType,
    exact: SessionContext,
    ignoring_case: duckdb.DuckDBPyConnection,
    sql: str,
) -> None:
    spelt = spell(sql, NAMES)
    assert spelt.lower() == sql.lower()
    got = exact.sql(spelt).to_arrow_table()
    corpus.compare(got, ignoring_case.sql(sql).to_arrow_table(), sql, types=False)


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("select ID, amount from orders", ["Id", "Amount"]),
        ("select ID as number, AMOUNT as Amount from orders", ["number", "Amount"]),
        ("select sum(AMOUNT) as amount from orders", ["amount"]),
        ("select sum(AMOUNT) amount from orders", ["amount"]),
        ("select AMOUNT from (select 2 * AMOUNT as amount from orders)", ["amount"]),
        ("select o.ID, c.ID from orders o join customers c on o.ID = c.ID", ["Id", "id"]),
        ('select ID as "ID" from orders', ["ID"]),
    ],
)
def test_results_keep_the_spelling_of_the_table_or_the_alias(
    exact: SessionContext, sql: str, names: list[str]
) -> None:
    assert exact.sql(spell(sql, NAMES)).schema().names == names


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("select k from dup", """'k' may mean "k" or "K"; write .*\nline 1, column 8:"""),
        ("select *\nfrom dup d\nwhere D.K = 1", r"line 3, column 9:\n  where D.K = 1\n {10}\^$"),
        ("select ID from orders, customers", '''"Id" or "id"'''),
        ("select * from orders join customers using (ID)", "write ON, with the table"),
        ("select * from orders natural join customers", "write ON"),
        ("select 1 from Twice", '''"twice" or "TWICE"'''),
    ],
)
def test_what_may_mean_two_things_is_an_error(sql: str, complaint: str) -> None:
    tables = {**NAMES, "dup": ["k", "K"], "twice": ["a"], "TWICE": ["a"]}
    with pytest.raises(SQLAmbiguousNameError) as raised:
        spell(sql, tables)
    assert re.search(complaint, str(raised.value)), raised.value


def test_quotes_tell_apart_what_differs_in_case_alone() -> None:
    sql = 'select "k", d."K", `K` from dup d'
    assert spell(sql, {"dup": ["k", "K"]}) == sql


def test_what_cannot_be_cut_into_words_is_left_to_datafusion() -> None:
    assert spell("select 'a", NAMES) == "select 'a"


PIECES = [
    "select",
    "Amount",
    '"Amount"',
    "'Amount'",
    "AS",
    "total",
    ",",
    "(",
    ")",
    "from",
    "Orders",
]
PIECES += ["customers", "id", "--id\n", "/*ID*/", "`Id`", "date", "$$ID$$", ".", "1.5e3"]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_strings_comments_and_quoted_names_stay_and_nothing_moves(pieces: list[str]) -> None:
    sql = " ".join(pieces)
    try:
        spelt = spell(sql, NAMES)
    except SQLAmbiguousNameError:
        return
    kept = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|--.*|/\*.*?\*/|\$\$.*?\$\$""")
    assert [(m.start(), m[0]) for m in kept.finditer(spelt)] == [
        (m.start(), m[0]) for m in kept.finditer(sql)
    ]
    assert spelt.lower() == sql.lower()
