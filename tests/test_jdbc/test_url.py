"""JDBC URLs: taken apart as the Java drivers do, and never shown with their secrets."""

from __future__ import annotations

import json
import pickle
import sqlite3
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import connectorx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import pq, sql
from psycopg.conninfo import make_conninfo

from jdbc.errors import OptionError
from jdbc.url import PROPERTIES, EngineUrlError, JDBCUrl, UrlError, parse_url, redact

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "jdbc_urls.json").read_text(encoding="utf-8")
)["vectors"]


def with_key(key: str) -> list[Any]:
    return [pytest.param(one, id=one["id"]) for one in VECTORS if key in one]


def as_expected(url: JDBCUrl) -> dict[str, Any]:
    """Every field of the URL that is set, as the vectors write it."""
    found: dict[str, Any] = {
        one.name: getattr(url, one.name) for one in fields(url) if one.name != "safe"
    }
    found["hosts"] = [list(host) for host in url.hosts]
    found["props"] = dict(url.props)
    found["ssl"] = {"mode": url.ssl.mode} if url.ssl else None
    return {name: value for name, value in found.items() if value not in (None, [], {}, False)}


@pytest.mark.parametrize("vector", with_key("expect"))
def test_every_part_is_found_and_nothing_else(vector):
    assert as_expected(parse_url(vector["url"])) == vector["expect"]


@pytest.mark.parametrize("vector", with_key("error"))
def test_a_bad_url_has_its_kind_of_error(vector):
    with pytest.raises(UrlError) as caught:
        parse_url(vector["url"])
    assert caught.value.code == vector["error"]
    assert vector["url"] not in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


@pytest.mark.parametrize("vector", with_key("safe"))
def test_what_may_be_shown(vector):
    assert redact(vector["url"]) == vector["safe"]
    if "expect" in vector:
        url = parse_url(vector["url"])
        assert url.safe == vector["safe"]
        assert repr(url) == f"JDBCUrl({vector['safe']!r})"


@pytest.mark.parametrize("vector", with_key("libpq"))
def test_libpq_keywords(vector):
    assert parse_url(vector["url"]).libpq() == vector["libpq"]


@pytest.mark.parametrize("vector", with_key("connectorx"))
def test_connectorx_gets_all_that_the_url_asks_or_refuses(vector):
    url = parse_url(vector["url"])
    if isinstance(vector["connectorx"], str):
        assert url.connectorx_uri() == vector["connectorx"]
    else:
        with pytest.raises(EngineUrlError) as caught:
            url.connectorx_uri()
        assert caught.value.code == vector["connectorx"]["error"]


# Beyond the vectors: what the Java drivers' manuals, libpq's and SQLAlchemy's say.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "postgresql+psycopg://ann:p%40w@h/d?sslmode=require",
            {
                "dialect": "postgresql",
                "hosts": [["h", 5432]],
                "database": "d",
                "user": "ann",
                "password": "p@w",
                "ssl": {"mode": "require"},
            },
        ),
        ("sqlite:///rel.db", {"dialect": "sqlite", "path": "rel.db"}),
        ("sqlite:////abs/x.db", {"dialect": "sqlite", "path": "/abs/x.db"}),
        ("jdbc:sqlite:file:///data/x%3F.db", {"dialect": "sqlite", "path": "/data/x?.db"}),
        (
            "jdbc:sqlite:file:x.db?mode=memory",
            {"dialect": "sqlite", "memory": True, "props": {"mode": "memory"}},
        ),
        ("jdbc:sqlite:C:\\data\\x.db", {"dialect": "sqlite", "path": "C:\\data\\x.db"}),
        (
            "jdbc:postgresql://h1:5433,h2,[::1]:5434/d?targetServerType=primary&connectTimeout=0&loginTimeout=3",
            None,
        ),
        (
            "jdbc:postgresql://h1:5433,h2,[::1]:5434/d?targetServerType=primary&socketTimeout=0&loginTimeout=3",
            {
                "dialect": "postgresql",
                "hosts": [["h1", 5433], ["h2", 5432], ["::1", 5434]],
                "database": "d",
                "connect_timeout_s": 3.0,
                "props": {"targetServerType": "primary"},
            },
        ),
        (
            "jdbc:postgresql://%2Fvar%2Frun%2Fpg:5433/d",
            {
                "dialect": "postgresql",
                "hosts": [["localhost", 5433]],
                "database": "d",
                "socket": "/var/run/pg",
            },
        ),
        (
            "jdbc:postgresql:///d?host=/run/pg",
            {
                "dialect": "postgresql",
                "hosts": [["localhost", 5432]],
                "database": "d",
                "socket": "/run/pg",
            },
        ),
        (
            "jdbc:postgresql://h/d?ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory",
            {
                "dialect": "postgresql",
                "hosts": [["h", 5432]],
                "database": "d",
                "ssl": {"mode": "require"},
            },
        ),
        (
            "jdbc:postgresql://{env:PGHOST}/{env:PGDATABASE}",
            {
                "dialect": "postgresql",
                "hosts": [["{env:PGHOST}", 5432]],
                "database": "{env:PGDATABASE}",
            },
        ),
        (
            "jdbc:cockroachdb://h/d",
            {"dialect": "cockroachdb", "hosts": [["h", 26257]], "database": "d"},
        ),
        (
            "jdbc:mariadb://h/d?sslMode=trust&connectTimeout=1500",
            {
                "dialect": "mariadb",
                "hosts": [["h", 3306]],
                "database": "d",
                "ssl": {"mode": "require"},
                "connect_timeout_s": 1.5,
            },
        ),
        (
            "jdbc:mysql://h/d?useSSL=true&verifyServerCertificate=true",
            {
                "dialect": "mysql",
                "hosts": [["h", 3306]],
                "database": "d",
                "ssl": {"mode": "verify-ca"},
            },
        ),
        (  # as SQLAlchemy has it, for Python's drivers
            "mysql+pymysql://u@h/d?charset=utf8mb4&ssl_ca=/ca&connect_timeout=5&unix_socket=/s",
            {
                "dialect": "mysql",
                "hosts": [["h", 3306]],
                "database": "d",
                "user": "u",
                "socket": "/s",
                "ssl": {"mode": "verify-full"},
                "connect_timeout_s": 5.0,
                "props": {"charset": "utf8mb4"},
            },
        ),
        ("sqlite://", {"dialect": "sqlite", "memory": True}),
        (
            "sqlite:///file:/a%20b.db?mode=ro&uri=true",
            {"dialect": "sqlite", "path": "/a b.db", "props": {"mode": "ro", "uri": "true"}},
        ),
        (
            "jdbc:sqlserver://h:1444;encrypt=true;trustServerCertificate=true;",
            {"dialect": "sqlserver", "hosts": [["h", 1444]], "ssl": {"mode": "require"}},
        ),
        (
            "jdbc:sqlserver://h;encrypt=strict;trustServerCertificate=true",
            {"dialect": "sqlserver", "hosts": [["h", 1433]], "ssl": {"mode": "verify-full"}},
        ),
        (
            "jdbc:oracle:thin:scott/tiger@tcps://h:2484/svc",
            {
                "dialect": "oracle",
                "hosts": [["h", 2484]],
                "service": "svc",
                "user": "scott",
                "password": "tiger",
                "ssl": {"mode": "verify-full"},
            },
        ),
        (
            "jdbc:oracle:thin:@h/svc",
            {"dialect": "oracle", "hosts": [["h", 1521]], "service": "svc"},
        ),
        ("jdbc:trino://h", {"dialect": "trino", "hosts": [["h", 80]]}),
        (
            "jdbc:trino://h/c?SSL=true",
            {
                "dialect": "trino",
                "hosts": [["h", 443]],
                "catalog": "c",
                "ssl": {"mode": "verify-full"},
            },
        ),
        (
            "jdbc:ch:https://h/d",
            {
                "dialect": "clickhouse",
                "hosts": [["h", 8443]],
                "database": "d",
                "ssl": {"mode": "verify-full"},
            },
        ),
        (
            "jdbc:clickhouse://h:9/d",
            {"dialect": "clickhouse", "hosts": [["h", 9]], "database": "d"},
        ),
        ("jdbc:duckdb:", {"dialect": "duckdb", "memory": True}),
        (
            " jdbc:postgresql:d\n",
            {"dialect": "postgresql", "hosts": [["localhost", 5432]], "database": "d"},
        ),
    ],
)
def test_more_spellings(text, expected):
    if expected is None:
        with pytest.raises(UrlError) as caught:
            parse_url(text)
        assert caught.value.code == "duplicate_property"
    else:
        assert as_expected(parse_url(text)) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_url"),
        ("postgresql", "bad_url"),
        ("https://example.com", "bad_url"),
        ("jdbc:db2://h/d", "unsupported_subprotocol"),
        ("jdbc:postgresql+psycopg://h/d", "unsupported_subprotocol"),
        ("jdbc:oracle:oci:@h", "unsupported_subprotocol"),
        ("jdbc:postgresql://u:p w@h:1 2/d", "bad_port"),
        ("jdbc:postgresql://a b/d", "bad_url"),
        ("jdbc:postgresql://::1/d", "bad_port"),
        ("jdbc:postgresql://[::1/d", "bad_url"),
        ("jdbc:postgresql://h:/d", "bad_port"),
        ("jdbc:postgresql://h:0/d", "bad_port"),
        ("jdbc:postgresql://h/d?password=100%", "bad_percent"),
        ("jdbc:postgresql://h/d%FF", "bad_percent"),
        ("jdbc:postgresql://h/d?password=a%00b", "control_char"),
        ("jdbc:postgresql://u:p@h/d?password=q", "duplicate_property"),
        ("jdbc:postgresql://h/d?ssl=maybe", "bad_property"),
        ("jdbc:postgresql://h/d?connectTimeout=soon", "bad_property"),
        ("jdbc:postgresql://h/d?sslfactory=com.example.Mine", "bad_property"),
        ("jdbc:postgresql:///d?host=h", "bad_url"),
        ("jdbc:postgresql://ann:12/x@h/d", "bad_url"),
        ("jdbc:mysql://address=(host=h)(port=1)/d", "bad_url"),
        ("jdbc:mysql:h/d", "bad_url"),
        ("jdbc:sqlserver://h;integratedSecurity=true", "unsupported_auth"),
        ("jdbc:sqlserver://h;encrypt=maybe", "bad_sslmode"),
        ("jdbc:oracle:thin:h/svc", "bad_url"),
    ],
)
def test_more_errors(text, code):
    with pytest.raises(UrlError) as caught:
        parse_url(text)
    assert caught.value.code == code
    assert isinstance(caught.value, OptionError | ValueError)


def test_properties_beside_the_url_mean_what_they_mean_in_it():
    url = parse_url("jdbc:postgresql://h/d", {"SSL": "true", "currentSchema": "a b"})
    assert url.libpq()["sslmode"] == "verify-full"
    assert url.libpq()["options"] == r"-c search_path=a\ b"
    with pytest.raises(UrlError, match=r"(?i)'ssl' twice"):
        parse_url("jdbc:postgresql://h/d?SSL=true", {"ssl": "false"})


def test_every_keyword_is_one_that_libpq_knows():
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    for name in sorted(PROPERTIES["postgresql"].passed - {"ssl", "sslfactory", "socketTimeout"}):
        text = {"tcpKeepAlive": "true", "loadBalanceHosts": "true", "targetServerType": "any"}.get(
            name, "7" if "imeout" in name else "require"
        )
        keywords = parse_url("jdbc:postgresql://h/d", {name: text}).libpq()
        assert set(keywords) <= known
        assert set(keywords) > {"host", "port", "dbname"}, f"{name} is swallowed"


def test_a_property_that_libpq_lacks_is_refused():
    for text in ("surprise=1", "targetServerType=whichever"):
        url = parse_url(f"jdbc:postgresql://h/d?{text}")
        with pytest.raises(UrlError, match="libpq lacks"):
            url.libpq()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("sslmode=allow", "engine_sslmode"),
        ("sslmode=verify-ca", "engine_sslmode"),
        ("sslmode=require&sslrootcert=/ca.pem", "engine_sslmode"),
        ("sslcert=/me.pem&sslkey=/me.key", "engine_sslmode"),
        ("sslpassword=x", "engine_property"),
        ("gssEncMode=require", "engine_property"),
    ],
)
def test_connectorx_refuses_what_it_would_weaken(query, code):
    with pytest.raises(EngineUrlError) as caught:
        parse_url(f"jdbc:postgresql://h/d?{query}").connectorx_uri()
    assert caught.value.code == code
    assert pickle.loads(pickle.dumps(caught.value)).code == code


def test_connectorx_refuses_where_it_cannot_go():
    for text, code in (
        ("jdbc:postgresql://a,b/d", "engine_hosts"),
        ("jdbc:postgresql://%2Frun/d", "engine_socket"),
        ("jdbc:oracle:thin:@h/svc", "engine_dialect"),
        ("jdbc:sqlite::memory:", "engine_dialect"),
    ):
        with pytest.raises(EngineUrlError) as caught:
            parse_url(text).connectorx_uri()
        assert caught.value.code == code
    with pytest.raises(EngineUrlError, match="mysql"):
        parse_url("jdbc:mysql://h/d").libpq()


AWKWARD = "sé &=%;'\"\\ @:/?#+{}[]$"


def test_awkward_names_and_passwords_reach_postgresql(postgres):
    given = parse_url(f"jdbc:{postgres}")
    with psycopg.connect(**given.libpq(), autocommit=True) as db:
        name = sql.Identifier(AWKWARD)
        db.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
        db.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))
        db.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, AWKWARD))
        db.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
        coded = quote(AWKWARD, safe="")
        host, port = given.hosts[0]
        url = parse_url(
            f"jdbc:postgresql://{host}:{port}/{coded}?user={coded}&password={coded}"
            f"&ApplicationName={coded.replace('%20', '+')}&currentSchema=pg_catalog"
        )
        who = "SELECT current_database()::text, current_user::text, current_schema()::text"
        with psycopg.connect(**url.libpq()) as session:
            assert session.execute(who).fetchone() == (AWKWARD, AWKWARD, "pg_catalog")
            assert url.application_name == AWKWARD
        rows = connectorx.read_sql(url.connectorx_uri(), who, return_type="arrow").to_pylist()
        assert [tuple(row.values()) for row in rows] == [(AWKWARD, AWKWARD, "pg_catalog")]
        db.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
        db.execute(sql.SQL("DROP ROLE {}").format(name))


def test_connectorx_takes_each_property_that_is_handed_to_it(postgres):
    values = {
        "channel_binding": "prefer", "keepalives": "1", "keepalives_idle": "60",
        "load_balance_hosts": "disable", "target_session_attrs": "any", "tcp_user_timeout": "9000",
        "options": "-c geqo=off", "connect_timeout": "9", "sslmode": "prefer",
    }  # fmt: skip
    for name, text in values.items():
        url = parse_url(f"jdbc:{postgres}", {name: text})
        assert f"{name}=" in url.connectorx_uri()
        rows = connectorx.read_sql(
            url.connectorx_uri(), "SELECT current_setting('geqo')", return_type="arrow"
        ).to_pylist()
        assert [*rows[0].values()] == ["off" if name == "options" else "on"]


@pytest.mark.parametrize("name", ["a b.db", "q?x.db", "h#x.db", "p%20x.db", "é.db"])
def test_awkward_paths_reach_sqlite(tmp_path, name):
    path = tmp_path / name
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t AS SELECT 7 AS x")
    db.close()
    url = parse_url(f"jdbc:sqlite:file:{quote(str(path))}")
    assert url.path == str(path)
    found = connectorx.read_sql(url.connectorx_uri(), "SELECT x FROM t", return_type="arrow")
    assert found["x"].to_pylist() == [7]


MARK = "Zq7Mark"
PIECES = st.text(alphabet="ab1 @:/?#=%+{}[]'\"\\;,&$-é", max_size=4)


@given(PIECES, PIECES, st.sampled_from(["", "?user=x", "?ApplicationName=a@b"]))
def test_no_piece_of_a_raw_password_is_shown(before, after, query):
    """Whether the URL can be read or not, and although its password was not encoded."""
    secret = f"{before}{MARK}{after}"
    try:
        url = parse_url(f"jdbc:postgresql://ann:{secret}@h:5432/d{query}")
        shown = f"{url!r} {url.safe} {url.label}"
    except UrlError as error:
        shown = f"{error} {error.args}"
    assert MARK not in shown


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_an_encoded_password_comes_back_and_is_not_shown(tail):
    secret = f"{MARK}{tail}"
    coded = quote(secret, safe="")
    for text in (
        f"jdbc:postgresql://h/d?user=u&password={coded}&ssl=true",
        f"jdbc:postgresql://u:{coded}@h/d",
        f"jdbc:mysql://u:{coded}@h/d",
        f"jdbc:trino://h/c?user=u&password={coded}",
    ):
        url = parse_url(text)
        assert url.password == secret
        assert secret in url.secrets
        assert MARK not in f"{url!r} {url.safe} {redact(f'cannot open {text}: refused')}"
    # A braced value may hold all but what parse_url refuses anywhere in a URL.
    if tail.isprintable():
        braced = secret.replace("}", "}}")
        url = parse_url(f"jdbc:sqlserver://h;user=u;password={{{braced}}};databaseName=d")
        assert url.password == secret
        assert url.safe == "jdbc:sqlserver://h;user=u;password=***;databaseName=d"


SECRETS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="*"), min_size=4, max_size=12
)


@given(SECRETS)
def test_a_given_secret_is_masked_however_it_is_written(secret):
    spellings = [
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        quote(quote(secret, safe=""), safe=""),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        secret.replace("'", "''"),
        secret.replace("}", "}}"),
        make_conninfo(password=secret.replace("\0", "")),
        "".join(f"%{byte:02x}" for byte in secret.encode()),
    ]
    for text in spellings[:10] + spellings[11:]:
        assert redact(f"<{text}>", [secret]) == "<***>"
    assert redact(spellings[10], [secret]).endswith("=***")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("host=h password=hunter2 dbname=d", "host=h password=*** dbname=d"),
        (r"password = 'it\'s me' user=u", "password = *** user=u"),
        ("Server=h;PWD={a;b}};c};UID=sa", "Server=h;PWD=***;UID=sa"),
        ("h;Password=two words;UID=sa", "h;Password=***;UID=sa"),
        ('{"user": "u", "password": "a\\"b", "x": 1}', '{"user": "u", "password": ***, "x": 1}'),
        ("{'sslpassword': 'x y'}", "{'sslpassword': ***}"),
        ("?accessToken=ab&keyPassword=d&x=1", "?accessToken=***&keyPassword=***&x=1"),
        ("see postgresql://u:p/w@h/d and mysql://v:q@i", "see postgresql://u:***@h/d and mysql://v:***@i"),
        ("postgresql://u:12/p=x@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@a?b@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p?w#x@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:1?w@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h:5432/d?user=a@b.com", "postgresql://h:5432/d?user=a@b.com"),
        ("jdbc:postgresql://[::1]:5432/d?user=a@b", "jdbc:postgresql://[::1]:5432/d?user=a@b"),
        ("jdbc:sqlserver://h:1433;user=a@b", "jdbc:sqlserver://h:1433;user=a@b"),
        ("postgresql://ann@h/d", "postgresql://ann@h/d"),
        ("jdbc:oracle:thin:scott/tiger@h:1521:X", "jdbc:oracle:thin:scott/***@h:1521:X"),
        ("password authentication failed for 'ann'", "password authentication failed for 'ann'"),
    ],
)  # fmt: skip
def test_credentials_are_masked_by_their_look(text, shown):
    assert redact(text) == shown


def test_a_secret_does_not_hide_another():
    assert redact("password=two words password=other", ["two words", "pass"]) == (
        "***word=*** ***word=***"
    )


def test_a_secret_that_begins_as_another_is_masked_whole():
    assert redact("it is abcdefgh", ["abcd", "abcdefgh"]) == "it is ***"


def test_a_short_secret_is_masked_where_it_stands_alone():
    assert redact("user ann, password: a; u:a@h", ["a"]) == "user ann, password: ***; u:***@h"


def test_long_texts_are_masked_in_linear_work():
    # 4 MB, which a pattern that backtracks would not finish.
    text = "ab" * 2_000_000 + " password=x"
    assert redact(text, ["secret-of-mine"]).endswith("b password=***")


def test_what_a_message_may_name():
    assert parse_url("jdbc:postgresql://u:p@h1,h2:1/d").label == "postgresql at h1:5432, h2:1"
    assert parse_url("jdbc:sqlite:x.db").label == "sqlite file 'x.db'"
    assert parse_url("jdbc:sqlite:").label == "sqlite in memory"
    assert parse_url("jdbc:postgresql://%2Frun/d").label == "postgresql at /run"
    assert parse_url("jdbc:oracle:thin:@alias").label == "oracle"
    assert parse_url("jdbc:sqlserver://h\\I").label == "sqlserver at h"
