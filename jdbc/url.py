"""A ``jdbc:`` URL taken apart, and texts freed of credentials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .errors import EngineError, OptionError

__all__ = ["EngineUrlError", "JDBCUrl", "Ssl", "UrlError", "parse_url", "redact"]


class UrlError(OptionError):
    """The URL is malformed or asks for what this version lacks; ``code`` says which."""


class EngineUrlError(EngineError):
    """An engine cannot honour something that the URL asks for; ``code`` says what."""


@dataclass(frozen=True, kw_only=True)
class Ssl:
    """How the connection is encrypted; ``mode`` in libpq's words."""

    mode: str
    root_cert: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class JDBCUrl:
    """A ``jdbc:`` URL, taken apart; ``repr`` shows ``safe`` alone."""

    dialect: str
    safe: str
    hosts: tuple[tuple[str, int | None], ...] = ()
    database: str | None = None
    user: str | None = None
    password: str | None = None
    ssl: Ssl | None = None
    application_name: str | None = None
    connect_timeout_s: float | None = None
    socket_timeout_s: float | None = None
    socket: str | None = None
    path: str | None = None
    memory: bool = False
    schema: str | None = None
    props: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def label(self) -> str:
        """For messages: dialect and host, or dialect and file."""
        raise NotImplementedError

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret the URL holds, decoded."""
        raise NotImplementedError

    def libpq(self) -> dict[str, str]:
        """Return keyword arguments for psycopg and ADBC's PostgreSQL driver."""
        raise NotImplementedError

    def connectorx_uri(self) -> str:
        """Return the URI for connectorx, or raise `EngineUrlError` if it cannot honour this URL."""
        raise NotImplementedError


def parse_url(text: str, properties: Mapping[str, str] | None = None) -> JDBCUrl:
    """Take a ``jdbc:`` URL apart; ``properties`` are driver properties given beside it."""
    raise NotImplementedError


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without credentials of URLs, keyword strings, and the given secrets."""
    raise NotImplementedError
