"""MySQL's dialect on a real MariaDB: sessions, errors, secrets, partitions, and engines."""

from __future__ import annotations

import concurrent.futures
import json
import pickle
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jdbc import (
    ConnectError,
    EngineError,
    JDBCArrowDataSource,
    JDBCError,
    JDBCWarning,
    OptionError,
    QueryError,
)

pytestmark = pytest.mark.mariadb

ENGINES = ("connectorx", "fallback")
# More than connectorx takes to say what we say at once: it tries for 30 seconds.
AT_ONCE = 10


def connected(uri: str, **arguments: Any) -> Any:
    """A connection of the test's own, as `uri` has it."""
    import pymysql

    parts = urlsplit(uri)
    given = {
        "host": parts.hostname,
        "port": parts.port,
        "user": parts.username,
        "password": unquote(parts.password or ""),
        "database": parts.path[1:],
    }
    return pymysql.connect(**given | arguments, autocommit=True)


@pytest.fixture(scope="module")
def db(mariadb: str) -> Iterator[Any]:
    with connected(mariadb) as connection:
        yield connection.cursor()


@pytest.fixture(scope="module")
def server(mariadb: str, jdbc_options: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return jdbc_options(mariadb)


def read(options: dict[str, str], engine: str = "connectorx") -> pa.Table:
    source, options = JDBCArrowDataSource(), {"engine": engine} | options
    schema = source.infer_schema(options)
    batches = [
        b for spec in source.plan_partitions(options) for b in source.read_partition(spec, options)
    ]
    return pa.Table.from_batches(batches, schema=schema)


def value(options: dict[str, str], query: str, engine: str) -> Any:
    ((found,),) = (row.values() for row in read(options | {"query": query}, engine).to_pylist())
    return found


# -------------------------------------------------------------------------------- sessions


@pytest.mark.parametrize("engine", ENGINES)
def test_a_session_is_in_utc_and_in_utf8_with_the_servers_collation(
    server: dict[str, str], db: Any, engine: str
) -> None:
    db.execute("SELECT @@global.sql_mode")
    ((mode,),) = db.fetchall()
    query = "SELECT @@time_zone AS zone, @@character_set_results AS encoding, @@sql_mode AS mode"
    (row,) = read(server | {"query": query}, engine).to_pylist()
    assert row == {"zone": "+00:00", "encoding": "utf8mb4", "mode": mode}


@pytest.mark.parametrize("engine", ENGINES)
def test_no_limit_of_the_servers_cuts_rows_off(
    server: dict[str, str], mariadb: str, db: Any, engine: str
) -> None:
    query = "SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3"
    db.execute("SET GLOBAL sql_select_limit = 2")
    try:
        with connected(mariadb) as other:
            assert other.cursor().execute(query) == 2
        assert read(server | {"query": query}, engine)["n"].to_pylist() == [1, 2, 3]
    finally:
        db.execute("SET GLOBAL sql_select_limit = DEFAULT")


def test_each_engine_compares_texts_alike(server: dict[str, str]) -> None:
    query = "SELECT @@collation_connection AS a"
    assert len({value(server, query, engine) for engine in ENGINES}) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_can_be_written(server: dict[str, str], db: Any, engine: str) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS kept (a INT)")
    db.execute("DROP FUNCTION IF EXISTS writes")
    db.execute(
        "CREATE FUNCTION writes() RETURNS INT MODIFIES SQL DATA"
        " BEGIN INSERT INTO kept VALUES (1); RETURN 1; END"
    )
    with pytest.raises(QueryError, match="READ ONLY") as caught:
        read(server | {"query": "SELECT writes() AS a"}, engine)
    assert caught.value.sqlstate == "25006"
    db.execute("SELECT count(*) FROM kept")
    assert db.fetchall() == ((0,),)


@pytest.mark.parametrize("engine", ENGINES)
def test_only_one_statement_runs(server: dict[str, str], db: Any, engine: str) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS kept (a INT)")
    for query in ("SELECT 1 AS a; DROP TABLE kept", "SELECT 1 AS a) q; DROP TABLE kept; -- "):
        with pytest.raises((OptionError, QueryError)):
            read(server | {"query": query}, engine)
    with pytest.raises((OptionError, QueryError)):
        read(server | {"query": "SELECT 1 AS a", "predicates": '["1=1); DROP TABLE kept; -- "]'})
    db.execute("SELECT count(*) FROM kept")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_ends_at_its_timeout(server: dict[str, str], engine: str) -> None:
    # Long enough to be told from one that was not ended; describing reads no row.
    query = "SELECT sleep(60) + seq AS a FROM seq_1_to_2"
    with pytest.raises(QueryError, match="max_statement_time") as caught:
        read(server | {"query": query, "queryTimeout": "1"}, engine)
    assert not caught.value.transient
    assert value(server | {"queryTimeout": "999999999999"}, "SELECT 1 AS a", engine) == 1


def test_a_statement_of_the_users_runs_first_and_not_on_connectorx(server: dict[str, str]) -> None:
    options = server | {"sessionInitStatement": "SET @a = 41, time_zone = '+05:00'"}
    query = "SELECT concat(@a + 1, @@time_zone) AS a"
    assert value(options, query, "fallback") == "42+00:00"
    with pytest.raises(EngineError, match="sessionInitStatement"):
        read(options | {"query": query}, "connectorx")
    (spec,) = JDBCArrowDataSource().plan_partitions(options | {"query": query})
    assert spec["engine"] == "fallback"


@pytest.mark.parametrize("engine", ENGINES)
def test_describing_reads_no_row(server: dict[str, str], engine: str) -> None:
    schema = JDBCArrowDataSource().infer_schema(
        server | {"query": "SELECT sleep(60) AS a, seq FROM seq_1_to_9", "engine": engine}
    )
    assert schema.names == ["a", "seq"]


def test_adbc_is_no_engine_here(server: dict[str, str]) -> None:
    with pytest.raises(EngineError, match="adbc does not read MySQL and MariaDB"):
        read(server | {"query": "SELECT 1 AS a"}, "adbc")


def test_both_names_of_the_database_mean_it(server: dict[str, str]) -> None:
    for scheme in ("mysql", "mariadb"):
        url = server["url"].replace("mysql", scheme, 1)
        assert value(server | {"url": url}, "SELECT 1 AS a", "connectorx") == 1


# --------------------------------------------------------------------- errors and secrets


def seen(error: BaseException) -> str:
    """All that a person may see of an error, and what comes with it."""
    chain = [error, error.__cause__, error.__context__]
    text = "".join(traceback.format_exception(error, chain=True))
    return "\n".join([text, *(f"{e!r} {e.args!r} {e.__dict__!r}" for e in chain if e)])


def failed(options: dict[str, str], engine: str, kind: type[JDBCError] = ConnectError) -> Any:
    """The error of a read, which comes at once, holds no password and comes back from pickle."""
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        read({"query": "SELECT 1 AS a"} | options, engine)
    assert time.monotonic() - began < AT_ONCE
    for secret in (options["password"], "hunter2"):
        assert secret not in seen(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))
    return caught.value


@pytest.mark.parametrize("engine", ENGINES)
def test_a_wrong_password_is_an_error_at_once(server: dict[str, str], engine: str) -> None:
    error = failed(server | {"password": "hunter2"}, engine)
    assert "Access denied for user 'tester'" in str(error)
    assert (error.sqlstate, error.transient) == ("28000", False)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_unknown_host_is_an_error_at_once(server: dict[str, str], engine: str) -> None:
    error = failed(server | {"url": "jdbc:mysql://nowhere.invalid/test"}, engine)
    assert "nowhere.invalid" in str(error)
    assert not error.transient


@pytest.mark.parametrize("engine", ENGINES)
def test_a_refused_port_is_an_error_that_may_pass(server: dict[str, str], engine: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"jdbc:mysql://127.0.0.1:{taken.getsockname()[1]}/test"
        error = failed(server | {"url": url}, engine)
    assert "refused" in str(error)
    assert error.transient


@pytest.mark.parametrize("engine", ENGINES)
def test_silence_ends_at_connecttimeout(server: dict[str, str], engine: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"jdbc:mysql://127.0.0.1:{silent.getsockname()[1]}/test"
        assert failed(server | {"url": url, "connectTimeout": "1"}, engine).transient


def test_what_is_no_such_server_is_an_error(server: dict[str, str]) -> None:
    def answer(listener: socket.socket) -> None:
        with listener.accept()[0] as peer:
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=[listener])
        thread.start()
        url = f"jdbc:mysql://127.0.0.1:{listener.getsockname()[1]}/test"
        failed(server | {"url": url, "connectTimeout": "1"}, "fallback")
        thread.join()


def test_an_unknown_database_and_no_user_are_errors(server: dict[str, str]) -> None:
    url = server["url"].removesuffix("/test")
    assert failed(server | {"url": f"{url}/nowhere"}, "connectorx").sqlstate == "42000"
    with pytest.raises(OptionError, match="'user'"):
        read({"url": server["url"], "query": "SELECT 1 AS a"})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("query", "sqlstate", "words"),
    [
        ("SELECT * FROM nowhere", "42S02", "nowhere"),
        ("SELECT nothing FROM (SELECT 1 AS a) q", "42S22", "nothing"),
        ("SELECT 1 AS a FROM", "42000", "syntax"),
    ],
)
def test_what_the_server_refuses_is_an_error_with_its_sqlstate(
    server: dict[str, str], engine: str, query: str, sqlstate: str, words: str
) -> None:
    error = failed(server | {"query": query}, engine, QueryError)
    assert words in str(error)
    assert (error.sqlstate, error.transient) == (sqlstate, False)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_session_is_an_error_that_may_pass(
    server: dict[str, str], db: Any, engine: str
) -> None:
    query = "SELECT 'to be killed' AS a, sleep(60) FROM seq_1_to_2"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(failed, server | {"query": query}, engine, QueryError)
        (number,) = until(lambda: running(db, "to be killed"))
        db.execute(f"KILL {number}")
        assert job.result().transient


def running(db: Any, words: str) -> list[int]:
    """Sessions whose query holds the words, describing apart."""
    db.execute(
        "SELECT id FROM information_schema.processlist WHERE info LIKE %s"
        " AND info NOT LIKE '%%LIMIT 0' AND id <> connection_id()",
        (f"%{words}%",),
    )
    return [number for (number,) in db.fetchall()]


def until(found: Callable[[], list[int]], *, none: bool = False) -> list[int]:
    for _ in range(100):
        if bool(numbers := found()) != none:
            return numbers
        time.sleep(0.05)
    return numbers


def test_a_lock_that_is_waited_for_too_long_may_pass(
    server: dict[str, str], mariadb: str, db: Any
) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS locked (a INT)")
    options = server | {"query": "SELECT a FROM locked"}
    source = JDBCArrowDataSource()
    waiting = options | {"sessionInitStatement": "SET lock_wait_timeout = 1"}
    (spec,) = source.plan_partitions(waiting)
    with connected(mariadb) as other:
        other.cursor().execute("LOCK TABLES locked WRITE")
        with pytest.raises(QueryError, match="Lock wait timeout") as caught:
            list(source.read_partition(spec, waiting))
    assert caught.value.transient


@pytest.mark.parametrize("engine", ENGINES)
def test_too_many_sessions_may_pass(
    server: dict[str, str], mariadb: str, db: Any, engine: str
) -> None:
    db.execute(
        "CREATE OR REPLACE USER 'single'@'%' IDENTIFIED BY 'hunter2' WITH MAX_USER_CONNECTIONS 1"
    )
    db.execute("GRANT SELECT ON test.* TO 'single'@'%'")
    options = server | {"user": "single", "password": "hunter2"}
    with connected(mariadb, user="single", password="hunter2"):
        error = failed(options, engine)
    assert error.transient
    db.execute("DROP USER 'single'@'%'")


ODD = "pä$s wörd%&@/:?#[]'\"\\+"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_odd_password_is_understood_and_never_shown(
    server: dict[str, str], db: Any, engine: str
) -> None:
    db.execute("CREATE OR REPLACE USER 'ö x'@'%%' IDENTIFIED BY %s", (ODD,))
    db.execute("GRANT SELECT ON *.* TO 'ö x'@'%'")
    options = server | {"user": "ö x", "password": ODD}
    assert value(options, "SELECT current_user() AS a", engine) == "ö x@%"
    failed(options | {"query": "SELECT nothing"}, engine, QueryError)
    source = JDBCArrowDataSource()
    specs = source.plan_partitions(options | {"query": "SELECT 1 AS a", "engine": engine})
    assert ODD not in json.dumps(specs, ensure_ascii=False)
    db.execute("DROP USER 'ö x'@'%'")


# ------------------------------------------------------------------------------- transport

CIPHER = "SELECT variable_value AS a FROM information_schema.session_status" + (
    " WHERE variable_name = 'Ssl_cipher'"
)


def authority(db: Any) -> str:
    db.execute("SELECT @@ssl_ca")
    ((path,),) = db.fetchall()
    return str(path)


def test_encryption_that_is_asked_for_is_used_and_checked(server: dict[str, str], db: Any) -> None:
    url, ca = server["url"], authority(db)
    by_name = server | {"url": url.replace("127.0.0.1", "localhost")}
    for options in (
        server | {"sslMode": "required"},
        server | {"sslMode": "VERIFY_CA", "serverSslCert": ca},
        by_name | {"sslMode": "VERIFY_IDENTITY", "sslrootcert": ca},
        by_name | {"sslrootcert": ca},
    ):
        assert value(options, CIPHER, "fallback")
        (spec,) = JDBCArrowDataSource().plan_partitions(options | {"query": CIPHER})
        assert spec["engine"] == "fallback"  # by itself, since connectorx cannot
        with pytest.raises(EngineError, match="cannot encrypt"):
            read(options | {"query": CIPHER}, "connectorx")
    # The certificate is of localhost, and of an authority that this machine does not know.
    for options in (
        server | {"sslMode": "VERIFY_IDENTITY", "sslrootcert": ca},
        by_name | {"sslMode": "VERIFY_IDENTITY"},
        by_name | {"sslMode": "VERIFY_CA"},
    ):
        error = failed(options, "fallback")
        assert "CERTIFICATE_VERIFY_FAILED" in str(error)
        assert not error.transient
    with pytest.raises(OptionError, match="sslrootcert"):
        read(
            server | {"query": CIPHER, "sslMode": "verify-ca", "sslrootcert": "/no/such"},
            "fallback",
        )


def test_without_a_mode_connectorx_does_not_encrypt(server: dict[str, str]) -> None:
    assert value(server, CIPHER, "connectorx") == ""
    assert value(server, CIPHER, "fallback")  # the driver does where the server can
    assert value(server | {"sslMode": "disabled"}, CIPHER, "fallback") == ""


def test_a_server_that_wants_encryption_says_so_at_once(server: dict[str, str], db: Any) -> None:
    db.execute("CREATE OR REPLACE USER 'careful'@'%' IDENTIFIED BY 'hunter2' REQUIRE SSL")
    db.execute("GRANT SELECT ON test.* TO 'careful'@'%'")
    options = server | {"user": "careful", "password": "hunter2"}
    error = failed(options, "connectorx")
    assert not error.transient
    assert value(options | {"sslMode": "required"}, "SELECT 1 AS a", "fallback") == 1
    db.execute("SET GLOBAL require_secure_transport = ON")
    try:
        assert "write sslMode=required" in str(failed(server, "connectorx"))
    finally:
        db.execute("SET GLOBAL require_secure_transport = OFF")
        db.execute("DROP USER 'careful'@'%'")


def test_the_first_server_that_answers_is_read_and_a_socket_is_used(
    server: dict[str, str], db: Any
) -> None:
    several = server["url"].replace("://", ":failover://127.0.0.1:1,")
    assert value(server | {"url": several}, "SELECT 1 AS a", "fallback") == 1
    db.execute("SELECT @@socket")
    ((path,),) = db.fetchall()
    options = server | {"localSocket": path}
    assert value(options, "SELECT 1 AS a", "fallback") == 1
    for refused in (server | {"url": several}, options):
        with pytest.raises(EngineError, match=r"several hosts|unix socket"):
            read(refused | {"query": "SELECT 1 AS a"}, "connectorx")


def test_a_property_that_changes_no_row_is_ignored_with_a_warning(server: dict[str, str]) -> None:
    for key, text in (("useUnicode", "true"), ("serverTimezone", "Asia/Tokyo")):
        with pytest.warns(JDBCWarning, match=key):
            assert value(server | {key: text}, "SELECT 1 AS a", "fallback") == 1


# ------------------------------------------------------------------------------ partitions

RANGES = {
    "tinyint": ("TINYINT", ["-128", "127", "0", "NULL", "5", "5"], "-200", "200"),
    "bigint unsigned": (
        "BIGINT UNSIGNED",
        ["0", "9223372036854775807", "9223372036854775808", "18446744073709551615", "NULL"],
        "0",
        "9223372036854775807",
    ),
    "decimal": ("DECIMAL(10,2)", ["-1.05", "0", "1.05", "99999999.99", "NULL"], "-2", "3"),
    "float": ("FLOAT", ["16777216", "16777218", "0.5", "-1e30", "NULL"], "16777215", "16777220"),
    "double": (
        "DOUBLE",
        ["9007199254740992", "9007199254740994", "1e300", "-0.5", "NULL"],
        "9007199254740990",
        "9007199254740999",
    ),
    "double of two decimals": ("DOUBLE(10,2)", ["1.05", "1.99", "2", "NULL"], "0", "3"),
    # Where 24 means 2024, and nothing is found beyond 2155.
    "year": ("YEAR", ["1901", "1970", "1999", "2024", "2155", "0", "NULL"], "0", "100"),
    "year beyond": ("YEAR", ["1901", "2024", "2155", "0", "NULL"], "0", "4400"),
    "date": (
        "DATE",
        ["'0001-01-01'", "'2024-02-29'", "'9999-12-31'", "NULL"],
        "2024-01-01",
        "2024-03-01",
    ),
    "datetime": (
        "DATETIME",
        ["'2024-01-01 00:00:01'", "'2024-01-01 00:00:02'", "'0001-01-01'", "NULL"],
        "2024-01-01 00:00:00",
        "2024-01-01 00:00:04.7",
    ),
    "datetime(1)": (
        "DATETIME(1)",
        ["'2024-01-01 00:00:00.1'", "'2024-01-01 00:00:00.2'", "NULL"],
        "2024-01-01 00:00:00",
        "2024-01-01 00:00:00.33",
    ),
    "timestamp": (
        "TIMESTAMP NULL",
        ["'2024-01-01 00:00:01'", "'2037-01-01 00:00:02'", "'1970-01-02'", "NULL"],
        "1960-01-01 00:00:00",
        "2050-01-01T00:00:00+02:00",
    ),
}


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("name", RANGES)
def test_ranges_hold_every_row_once(
    server: dict[str, str], db: Any, name: str, indexed: bool
) -> None:
    declared, values, low, high = RANGES[name]
    db.execute("DROP TABLE IF EXISTS ranged")
    index = ", KEY (c)" if indexed else ""
    db.execute(f"CREATE TABLE ranged (id INT PRIMARY KEY AUTO_INCREMENT, c {declared}{index})")
    for one in values:
        db.execute(f"INSERT INTO ranged (c) VALUES ({one})")
    cut = {"partitionColumn": "C", "lowerBound": low, "upperBound": high}
    for count in (1, 2, 5, 9):
        options = server | {"dbtable": "ranged", **cut, "numPartitions": f"{count}"}
        ids = read(options)["id"].to_pylist()
        assert sorted(ids) == list(range(1, len(values) + 1)), count
    db.execute("DROP TABLE ranged")


@pytest.fixture(scope="module")
def orders(server: dict[str, str], db: Any) -> Iterator[dict[str, str]]:
    db.execute("CREATE OR REPLACE TABLE orders (id INT, at DATETIME(3), KEY (id), KEY (at))")
    db.execute(
        "INSERT INTO orders SELECT seq, '2024-01-01' + INTERVAL seq * 250000 MICROSECOND"
        " FROM seq_0_to_99 UNION ALL SELECT NULL, NULL FROM seq_1_to_2"
    )
    yield server | {"dbtable": "orders"}
    db.execute("DROP TABLE orders")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(low=st.integers(-200, 200), width=st.integers(0, 400), count=st.integers(1, 9))
def test_every_row_is_read_once_whatever_the_bounds(
    orders: dict[str, str], low: int, width: int, count: int
) -> None:
    source = JDBCArrowDataSource()
    cut = {"lowerBound": f"{low}", "upperBound": f"{low + width}", "numPartitions": f"{count}"}
    options = orders | cut | {"partitionColumn": "id"}
    rows = [b for s in source.plan_partitions(options) for b in source.read_partition(s, options)]
    ids = [i for batch in rows for i in batch.column("id").to_pylist()]
    assert Counter(ids) == Counter([*range(100), None, None])


def test_a_column_that_cannot_be_cut_is_an_error(server: dict[str, str]) -> None:
    cut = {"partitionColumn": "a", "lowerBound": "0", "upperBound": "9", "numPartitions": "3"}
    for query in ("SELECT 'x' AS a", "SELECT x'00' AS a", "SELECT curtime() AS a"):
        with pytest.raises(OptionError, match="partitionColumn"):
            read(server | cut | {"query": query})


def test_conditions_of_the_users_own_may_end_in_a_comment(orders: dict[str, str]) -> None:
    predicates = json.dumps(["id < 40 -- small", "id >= 40 OR id IS NULL # the rest"])
    assert read(orders | {"predicates": predicates}).num_rows == 102


# --------------------------------------------------------------------------------- engines


def test_connectorx_is_the_default_and_the_fastest(server: dict[str, str]) -> None:
    for extra in ({}, {"engine": "auto"}):
        options = server | {"query": "SELECT 1 AS a", **extra}
        (spec,) = JDBCArrowDataSource().plan_partitions(options)
        assert spec["engine"] == "connectorx"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT seq AS a, 'watched' AS w FROM seq_1_to_100000000",
        # Busy, so that it would not notice for a minute that nobody listens.
        "SELECT seq AS a, 'watched' AS w, IF(seq > 20000, sleep(60), 0) AS s FROM seq_1_to_30000",
    ],
    ids=["rows", "sleep"],
)
def test_a_stream_that_is_closed_early_leaves_no_session(
    server: dict[str, str], db: Any, query: str
) -> None:
    options = server | {"query": query, "engine": "fallback", "fetchsize": "1000"}
    source = JDBCArrowDataSource()
    (spec,) = source.plan_partitions(options)
    batches = source.read_partition(spec, options)
    assert next(batches).column("a").to_pylist() == list(range(1, 1001))
    assert len(running(db, "watched")) == 1
    batches.close()
    assert until(lambda: running(db, "watched"), none=True) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_read_that_is_cancelled_ends_in_the_server_too(
    server: dict[str, str], db: Any, engine: str
) -> None:
    query = "SELECT 'no longer wanted' AS a, sleep(60) FROM seq_1_to_2"
    options = server | {"query": query, "engine": engine}
    source = JDBCArrowDataSource()
    (spec,) = source.plan_partitions(options)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(lambda: list(source.read_partition(spec, options)))
        assert until(lambda: running(db, "no longer wanted"))
        source.cancel()
        assert running(db, "no longer wanted") == []
        with pytest.raises(QueryError) as caught:
            job.result(10)
    assert not caught.value.transient
    assert options["password"] not in seen(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_read_at_once(orders: dict[str, str], engine: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: read(orders, engine), range(16)))
    assert {table.num_rows for table in tables} == {102}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_that_stalls_does_not_hold_the_interpreter(
    server: dict[str, str], engine: str
) -> None:
    # A Dask worker must answer its scheduler while the database thinks. And only connecting is
    # what connectTimeout ends.
    query = "SELECT sleep(1.2) + seq AS a FROM seq_1_to_1"
    options = server | {"query": query, "connectTimeout": "1"}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        job, turns = pool.submit(read, options, engine), 0
        while not job.done():
            time.sleep(0.001)
            turns += 1
        assert job.result().num_rows == 1
    assert turns > 50


def test_batches_are_as_long_as_fetchsize_says(orders: dict[str, str]) -> None:
    source = JDBCArrowDataSource()
    for engine in ENGINES:
        options = orders | {"engine": engine, "fetchsize": "40"}
        (spec,) = source.plan_partitions(options)
        assert [b.num_rows for b in source.read_partition(spec, options)] == [40, 40, 22]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_frame_of_dask_reads_filters_and_counts(orders: dict[str, str], engine: str) -> None:
    import dask.dataframe as dd

    import dask_sail

    frame = dask_sail.read_python_source(
        "jdbc",
        options=orders | {"engine": engine},
        partitionColumn="id",
        lowerBound=0,
        upperBound=100,
        numPartitions=4,
    )
    assert isinstance(frame, dd.DataFrame)
    assert len(frame) == 102
    late = frame[frame["id"] >= 90]
    assert sorted(late["id"].compute(scheduler="threads").tolist()) == list(range(90, 100))
    assert frame["id"].isna().sum().compute() == 2
