"""JDBC URLs: taken apart as the Java drivers do, and never shown with their secrets."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from jdbc.url import EngineUrlError, JDBCUrl, UrlError, parse_url, redact

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
