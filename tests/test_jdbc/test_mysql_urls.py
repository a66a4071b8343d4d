"""What MySQL's dialect does without a server: URLs for drivers, and a driver that is missing."""

from __future__ import annotations

import pickle
import sys

import pytest

from jdbc import JDBCArrowDataSource, JDBCOptions, MissingDriverError, OptionError
from jdbc.url import EngineUrlError, parse_url

NAMES = ("mysql", "mariadb")
TAIL = "prefer_socket=false&tcp_connect_timeout_ms="


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("rest", "uri"),
    [
        (
            "//h/d?user=u&password=p%26%2F%3A%40+",
            f"mysql://u:p%26%2F%3A%40%20@h:3306/d?{TAIL}10000",
        ),
        ("//u:p@h:3307/d?connectTimeout=2500", f"mysql://u:p@h:3307/d?{TAIL}2500"),
        ("//[::1]:3307/?user=ö", f"mysql://%C3%B6@[::1]:3307/?{TAIL}10000"),
        ("//u@h/d?sslMode=disabled", f"mysql://u@h:3306/d?{TAIL}10000"),
        ("//u@h/d?useSSL=false", f"mysql://u@h:3306/d?{TAIL}10000"),
    ],
)
def test_connectorx_gets_its_own_uri(name: str, rest: str, uri: str) -> None:
    assert parse_url(f"jdbc:{name}:{rest}").connectorx_uri() == uri


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ("//h/d?sslMode=PREFERRED", "engine_sslmode"),
        ("//h/d?sslMode=VERIFY_IDENTITY", "engine_sslmode"),
        ("//h/d?useSSL=true", "engine_sslmode"),
        ("//h/d?serverSslCert=/ca.pem", "engine_sslmode"),
        ("//h/d?localSocket=/run/mysqld.sock", "engine_socket"),
        ("//h,i/d", "engine_hosts"),
    ],
)
def test_connectorx_refuses_what_it_cannot_do(name: str, rest: str, code: str) -> None:
    with pytest.raises(EngineUrlError) as caught:
        parse_url(f"jdbc:{name}:{rest}").connectorx_uri()
    assert caught.value.code == code


def test_an_authority_without_a_mode_is_asked_for_the_name_as_well() -> None:
    for name in ("serverSslCert", "sslrootcert"):
        ssl = parse_url(f"jdbc:mariadb://h/d?{name}=/ca.pem").ssl
        assert ssl is not None
        assert (ssl.mode, ssl.root_cert) == ("verify-full", "/ca.pem")


@pytest.mark.parametrize("engine", ["connectorx", "fallback"])
def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    options = {"url": "jdbc:mysql://h/d", "user": "u", "password": "p", "dbtable": "t"}
    with pytest.raises(MissingDriverError, match=r"PyMySQL.*dask-sail\[mysql\]") as caught:
        JDBCArrowDataSource().infer_schema(options | {"engine": engine})
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_property_of_neither_driver_is_an_error_with_the_nearest_name() -> None:
    options = {"url": "jdbc:mysql://h/d", "user": "u", "dbtable": "t"}
    with pytest.raises(OptionError, match="zeroDateTimeBehavior"):
        JDBCOptions.parse(options | {"zeroDateTimeBehaviour": "convertToNull"})
