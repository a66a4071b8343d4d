"""Options: checked once, with errors that say what to write instead."""

from __future__ import annotations

import json
import pickle
import sqlite3
import warnings

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdbc.errors import OptionError
from jdbc.options import JDBCOptions, JDBCWarning, option_reference

URL = "jdbc:postgresql://h/d"
SECRET = "hunter2-Zq7"


def parse(**options: str) -> JDBCOptions:
    return JDBCOptions.parse({"url": URL, "dbtable": "t"} | options)


def parse_query(text: str, url: str = URL) -> str | None:
    return JDBCOptions.parse({"url": url, "query": text}).query


def test_what_is_left_out_has_its_default():
    got = parse()
    assert got.dialect == "postgresql"
    assert got.relation == got.dbtable == "t"
    assert (got.user, got.password, got.engine, got.hint) == (None, None, None, None)
    assert (got.fetchsize, got.query_timeout, got.connect_timeout) == (65536, 0, 10.0)
    assert (got.push_down_predicate, got.push_down_limit) == (True, True)
    assert (got.predicates, got.num_partitions, got.secrets) == ((), None, ())
    assert dict(got.driver_properties) == {}


def test_every_option_is_read_whatever_its_case():
    got = JDBCOptions.parse(
        {
            "URL": "jdbc:postgresql://h/d?password=other&connectTimeout=3",
            "USER": "ann",
            "Password": SECRET,
            "DBTABLE": " public.orders ; ",
            "PartitionColumn": "id",
            "LOWERBOUND": "-5",
            "upperbound": "10",
            "NumPartitions": "4",
            "FETCHSIZE": "0",
            "querytimeout": "30",
            "SessionInitStatement": "SET x = 1",
            "preparequery": "WITH a AS (SELECT 1)",
            "customschema": "id DECIMAL(38,0)",
            "PUSHDOWNPREDICATE": "False",
            "pushdownlimit": "FALSE",
            "Hint": "/*+ INDEX(t i) */",
            "ENGINE": "ADBC",
            "python_module": "jdbc.datasource",
            "python_class": "JDBCArrowDataSource",
        }
    )
    assert (got.user, got.password) == (got.url.user, got.url.password) == ("ann", SECRET)
    assert got.relation == "public.orders"
    assert (got.partition_column, got.lower_bound, got.upper_bound) == ("id", "-5", "10")
    assert (got.num_partitions, got.fetchsize, got.query_timeout) == (4, 65536, 30)
    assert got.session_init_statement == "SET x = 1"
    assert got.prepare_query == "WITH a AS (SELECT 1)"
    assert got.custom_schema == "id DECIMAL(38,0)"
    assert not got.push_down_predicate
    assert not got.push_down_limit
    assert got.hint == "/*+ INDEX(t i) */"
    assert got.engine == "adbc"
    assert got.connect_timeout == got.url.connect_timeout_s == 3.0
    assert parse(connectTimeout="2.5").url.connect_timeout_s == 2.5


def test_options_are_frozen_and_go_through_pickle():
    got = parse(user="u", password=SECRET, sslmode="require")
    assert pickle.loads(pickle.dumps(got)) == got
    assert hash(got) == hash(parse(user="u", password=SECRET, sslmode="require"))
    with pytest.raises(AttributeError):
        got.fetchsize = 1


def test_no_secret_is_shown():
    got = JDBCOptions.parse(
        {
            "url": f"jdbc:postgresql://h/d?user=u&password={SECRET}",
            "dbtable": "t",
            "sslpassword": f"{SECRET}-key",
            "sessionInitStatement": f"SET my.key = '{SECRET}'",
        }
    )
    assert SECRET not in f"{got!r} {got} {got.url!r} {got.url.label}"
    assert set(got.secrets) == {SECRET, f"{SECRET}-key"}
    assert SECRET not in repr(parse(password=SECRET))


@pytest.mark.parametrize(
    "url",
    [
        f"jdbc:postgresql://h:x/d?password={SECRET}",
        f"jdbc:postgresql://u:{SECRET}@h/d?unheardOf=1",
        f"jdbc:postgresql://h/d?password=a&{SECRET}=1",
        f"jdbc:postgresql://h/d?password={SECRET}%",
        f"jdbc:postgresql://u:{SECRET}/x@h/d",
        f"jdbc:nosuch://u:{SECRET}@h/d",
        f"u:{SECRET}@h/d",
    ],
)
def test_no_secret_is_in_the_error_of_a_bad_url(url):
    with pytest.raises(OptionError) as caught:
        parse(url=url)
    assert SECRET not in f"{caught.value!r} {caught.value}"
    assert "option 'url'" in str(caught.value)


BOUNDS = {"partitionColumn": "id", "lowerBound": "1", "upperBound": "2", "numPartitions": "2"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numPartition": "4"}, "not an option of jdbc; did you mean 'numPartitions'"),
        ({"sslmod": "require"}, "did you mean 'sslmode'"),
        ({"zzz": "1"}, "'zzz' is not an option of jdbc; leave it out"),
        ({"DBTABLE": "u"}, "'DBTABLE' is also given as 'dbtable'"),
        ({"fetchsize": "many"}, "'fetchsize' must be a whole number, got 'many'"),
        ({"dbtable": "t\0"}, "'dbtable' holds a NUL, where drivers end a text; remove it"),
        ({"ApplicationName": "a\0b"}, "'ApplicationName' holds a NUL"),
        ({"fetchsize": "9" * 19}, "'fetchsize' must be a whole number of at most 18 digits, got"),
        ({"fetchsize": "-1"}, "'fetchsize' must be a whole number from 0 up, got '-1'"),
        ({"fetchsize": "1e5"}, "got '1e5'"),
        ({"queryTimeout": "0.5"}, "'queryTimeout' must be a whole number, got '0.5'"),
        ({"connectTimeout": "0"}, "'connectTimeout' must be a number of seconds above 0, got '0'"),
        ({"connectTimeout": "inf"}, "got 'inf'"),
        ({"pushDownPredicate": "yes"}, "'pushDownPredicate' must be true or false, got 'yes'"),
        ({"engine": "odbc"}, "'engine' must be an engine, got 'odbc'"),
        ({"hint": "INDEX(t)"}, "'hint' must be an SQL hint, got 'INDEX(t)'"),
        ({"hint": "/*+ a */; DROP TABLE t; /* */"}, "'hint' must be an SQL hint"),
        ({"dbtable": "  "}, "'dbtable' is blank"),
        ({"dbtable": ";"}, "'dbtable' holds no SQL"),
        ({"query": "SELECT 1"}, "'dbtable' and 'query' are both given"),
        ({"url": "jdbc:postgresql://h/d?sslmod=require"}, "'sslmod'; did you mean 'sslmode'"),
        ({"url": "jdbc:postgresql://h/d?zzz=1"}, "unknown property 'zzz'"),
        ({"url": "jdbc:postgresql://h/d?sslmode=require", "sslmode": "disable"}, "'sslmode' twice"),
        # Would make the drivers read text in another encoding.
        ({"lowerBound": "1"}, "needs 'partitionColumn', 'upperBound', 'numPartitions'"),
        ({"partitionColumn": "id"}, "'partitionColumn' needs 'numPartitions' beside it"),
        ({"upperBound": "9", "partitionColumn": "id"}, "needs 'lowerBound', 'numPartitions'"),
        ({"partitionColumn": "id", "lowerBound": "1", "upperBound": "2"}, "needs 'numPartitions'"),
        ({"partitioning": "range"}, "needs 'partitionColumn', 'lowerBound', 'upperBound', 'num"),
        ({"partitioning": "range", "numPartitions": "4"}, "needs 'partitionColumn', 'lowerBound',"),
        ({"partitioning": "auto"}, "'partitioning' needs 'numPartitions' beside it"),
        ({"partitioning": "even"}, "must be 'range', 'auto' or 'physical', got 'even'"),
        ({**BOUNDS, "partitioning": "auto"}, "'lowerBound' cannot go with partitioning 'auto'"),
        ({**BOUNDS, "targetPartitionBytes": "1"}, "'targetPartitionBytes' and 'numPartitions' are"),
        ({"targetPartitionBytes": "0"}, "must be a number of bytes above 0, got '0'; write e.g."),
        ({"targetPartitionBytes": "1 XB"}, "must be a number of bytes above 0, got '1 XB'"),
        ({"predicates": '["a"]', "targetPartitionBytes": "9"}, "cannot go with 'targetPartitionB"),
        ({"predicates": '["a"]', "partitioning": "auto"}, "cannot go with 'partitioning'"),
        ({"numPartitions": "2.0"}, "'numPartitions' must be a whole number, got '2.0'"),
        ({"predicates": "id < 10"}, "'predicates' is not JSON; write a JSON array"),
        ({"predicates": '{"a": 1}'}, "'predicates' must be a JSON array"),
        ({"predicates": "[]"}, "'predicates' must be a JSON array that is not empty"),
        ({"predicates": '["a", 1]'}, "'predicates' must hold texts"),
        ({"predicates": '["a", " "]'}, "'predicates' must hold texts that are not blank"),
        ({"predicates": '["a; b"]'}, "'predicates' holds more than one statement"),
        ({"predicates": '["1=0) OR (1=1"]'}, "'predicates' holds a condition whose brackets do"),
        ({"predicates": '["(id < 10"]'}, "write conditions that stand alone"),
        ({"predicates": '["a"]', "partitionColumn": "id"}, "cannot go with 'partitionColumn'"),
        ({"predicates": '["a"]', "numPartitions": "4"}, "is 4 but there are 1 predicates"),
        ({"mode": "append"}, "'mode' is for writing, and writing is out of scope"),
        ({"createTableOptions": "x"}, "writing is out of scope"),
        ({"partitioning": "physical"}, "'partitioning' is 'physical', which needs 'snapshot'"),
        ({"snapshot": "yes"}, "'snapshot' must be true or false"),
        ({"maxConnections": "0"}, "'maxConnections' must be a whole number from 1 up, got '0'"),
    ],
)  # fmt: skip
def test_bad_options_say_what_to_write(options, message):
    with pytest.raises(OptionError) as caught:
        parse(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("64000000", 64 * 10**6), ("128MB", 128 * 10**6), (" 2 gib ", 2**31), ("5kB", 5000)],
)
def test_sizes_as_people_write_them(text, size):
    assert parse(targetPartitionBytes=text).target_partition_bytes == size


def test_what_must_be_there():
    with pytest.raises(OptionError, match="'url' is required"):
        JDBCOptions.parse({"dbtable": "t"})
    with pytest.raises(OptionError, match="'dbtable' or 'query' is required"):
        JDBCOptions.parse({"url": URL})
    with pytest.raises(OptionError, match="'numPartitions' must be text, got int"):
        JDBCOptions.parse({"url": URL, "dbtable": "t", "numPartitions": 4})


@pytest.mark.parametrize(
    "options",
    [
        {"snapshot": "FALSE"},
        {"partitioning": "AUTO", "numPartitions": "1"},
        {"numPartitions": "1"},
        {"numPartitions": "0"},
        {"predicates": '["a", "b"]', "numPartitions": "2"},
        {"url": "jdbc:sqlite:file:x.db?mode=ro"},
    ],
)
def test_what_asks_for_nothing_is_silent(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"driver": "org.postgresql.Driver"}, "'driver' is ignored: it names a Java class"),
        ({"batchSize": "10"}, "'batchSize' is ignored: it is for writing; fetchsize is"),
        ({"prepareThreshold": "0"}, "'prepareThreshold' is ignored"),
        ({"url": f"{URL}?reWriteBatchedInserts=true"}, "'reWriteBatchedInserts' is ignored"),
        ({"url": f"{URL}?socketTimeout=5"}, "'socketTimeout' is ignored: queryTimeout"),
        ({"url": "jdbc:sqlite:file:x.db?mode=rwc"}, "'mode' is ignored"),
        ({"url": "mysql+pymysql://u@h/d?charset=utf8mb4"}, "'charset' is ignored"),
        ({"url": "postgresql+psycopg2://h/d?client_encoding=utf8"}, "'client_encoding' is ignored"),
    ],
)
def test_what_is_ignored_is_named(options, message):
    with pytest.warns(JDBCWarning) as caught:
        got = parse(**options)
    assert len(caught) == 1
    assert message in str(caught[0].message)
    assert caught[0].filename == __file__
    assert not {name.lower() for name in got.driver_properties} & {
        "preparethreshold", "rewritebatchedinserts", "mode",
    }  # fmt: skip


def test_driver_properties_are_those_of_the_url_and_those_beside_it():
    got = parse(
        url=f"{URL}?gssEncMode=disable", ssl="true", tcp_user_timeout="5", currentSchema="s"
    )
    assert got.driver_properties == {"gssEncMode": "disable", "tcp_user_timeout": "5"}
    keywords = got.url.libpq()
    assert keywords["sslmode"] == "verify-full"
    assert keywords["options"] == "-c search_path=s"
    assert keywords["connect_timeout"] == "10"
    got = JDBCOptions.parse({"url": "jdbc:sqlite:x.db?busy_timeout=9", "dbtable": "t"})
    assert got.driver_properties == {"busy_timeout": "9"}


TRAILING = ["", ";", " ; ", ";;\n", "; -- done", " -- done", ";/* a; */ ; -- b;\n\n", "\n;\t/**/"]
ENDINGS = st.sampled_from(TRAILING)
PIECES = st.sampled_from(
    [
        "1", "'a;b'", "'it''s;'", '"c;d"', "'-- no'", "'/* no'", "/* yes; */ 2", "-- yes;\n3",
        "'é;\"'", '4 AS "x -- y"', "'--' /* ' */",
    ]
)  # fmt: skip


@given(st.lists(PIECES, min_size=1, max_size=4), ENDINGS)
def test_a_query_is_trimmed_and_still_means_the_same(pieces, ending):
    """SQLite's own tokeniser is the judge: the trimmed text gives the same row in a subquery."""
    select = "SELECT " + ", ".join(pieces)
    got = JDBCOptions.parse({"url": "jdbc:sqlite:x.db", "query": f" {select}{ending}"})
    assert not got.query.endswith((";", " ", "\n"))
    with sqlite3.connect(":memory:") as db:
        expected = db.execute(select).fetchall()
        assert db.execute(f"SELECT * FROM {got.relation}").fetchall() == expected
        assert db.execute(got.query).fetchall() == expected
    db.close()


def test_postgresql_reads_what_was_trimmed(postgres):
    selects = [
        "SELECT $$a;b$$, $x$ ' ; $$ $x$",
        r"SELECT E'it\'s; ''x', 'a\'",
        "SELECT 1 /* a /* nested; */ ; */, ';'",
        "WITH a AS (SELECT ';' AS \"x;y\") SELECT * FROM a",
        "SELECT '{1}'::int[], (ARRAY[1, 2])[1], 5 # 3, 1 --1\n",
        "SELECT 'C:\\', 1",
    ]
    with psycopg.connect(postgres) as db:
        for select in selects:
            expected = db.execute(select).fetchall()
            for ending in TRAILING:
                got = JDBCOptions.parse({"url": URL, "query": select + ending})
                assert db.execute(f"SELECT * FROM {got.relation}").fetchall() == expected


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("SELECT 1; DROP TABLE t", URL),
        ("SELECT 1; -- a\nSELECT 2", URL),
        ("; SELECT 1", URL),
        ("SELECT $$a$$; SELECT $$b$$", URL),
        (r"SELECT 'it\'s'; DROP TABLE t", "jdbc:mysql://h/d"),
        (r"SELECT 'a\'; SELECT 2", URL),
        (r"SELECT 'a\'; SELECT 'b\';", URL),
        ("SELECT 1 # a\n; SELECT 2", "jdbc:mysql://h/d"),
        ("SELECT [a;b]; SELECT 2", "jdbc:sqlserver://h"),
    ],
)
def test_two_statements_are_refused(text, url):
    with pytest.raises(OptionError, match="'query' holds more than one statement"):
        parse_query(text, url)


@pytest.mark.parametrize(
    ("text", "url", "kept"),
    [
        # One string or two, depending on a setting of the session: for the database to say.
        (
            r"SELECT 'it\'s'; DROP TABLE t; -- '",
            "jdbc:mysql://h/d",
            r"SELECT 'it\'s'; DROP TABLE t; -- '",
        ),
        ("SELECT 'open; SELECT 2", URL, "SELECT 'open; SELECT 2"),
        ("SELECT 1 /* open; SELECT 2", URL, "SELECT 1 /* open; SELECT 2"),
        (
            "SELECT q'[it's; x]' FROM dual;",
            "jdbc:oracle:thin:@h/s",
            "SELECT q'[it's; x]' FROM dual",
        ),
        ("SELECT a--1;", "jdbc:mysql://h/d", "SELECT a--1"),
        ("SELECT `a;b`, [c;d]", "jdbc:sqlite:x.db", "SELECT `a;b`, [c;d]"),
        ("SELECT a$1;", URL, "SELECT a$1"),
    ],
)
def test_what_is_not_certainly_two_statements_is_left_to_the_database(text, url, kept):
    assert parse_query(text, url) == kept


def test_predicates_keep_their_order_and_lose_their_comments():
    got = parse(predicates=json.dumps(["a < 1 -- small", "a >= 1; ", "a IS NULL"]))
    assert got.predicates == ("a < 1", "a >= 1", "a IS NULL")


def test_brackets_within_quotes_and_comments_need_not_match():
    conditions = ["a = '(' OR (b = ')')", "a /* :) */ > 1", '"odd(" = 1']
    assert list(parse(predicates=json.dumps(conditions)).predicates) == conditions


def test_the_reference_names_every_option_of_the_specification():
    reference = option_reference()
    names = {name for name, _, _ in reference}
    spark = """url dbtable query user password partitionColumn lowerBound upperBound numPartitions
    predicates fetchsize queryTimeout sessionInitStatement prepareQuery customSchema
    pushDownPredicate pushDownLimit hint engine table params divisions connectTimeout
    partitioning targetPartitionBytes maxConnections snapshot"""
    assert names == set(spark.split())
    assert ("fetchsize", "65536") in {(name, default) for name, default, _ in reference}
    assert all(description for _, _, description in reference)
