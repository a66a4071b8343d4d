"""A ``jdbc:`` URL taken apart, and texts freed of credentials."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from .errors import EngineError, OptionError

__all__ = [
    "DIALECT_GROUP",
    "PROPERTIES",
    "DriverProperties",
    "EngineUrlError",
    "JDBCUrl",
    "Ssl",
    "UrlError",
    "is_registered",
    "is_secret_name",
    "parse_url",
    "redact",
    "registered",
]


class UrlError(OptionError):
    """The URL is malformed or asks for what this version lacks.

    The message holds nothing of the URL but names of properties: what looks like a host or a port
    may be a piece of a password that was not percent-encoded.

    Parameters
    ----------
    code
        Kind of the error, e.g. ``bad_port``.
    problem, fix
        As for `OptionError`.
    """

    def __init__(self, code: str, problem: str, fix: str) -> None:
        super().__init__("url", problem, fix)
        self.args = (code, problem, fix)

    @property
    def code(self) -> str:
        """Kind of the error, e.g. ``bad_port``."""
        return str(self.args[0])

    def __str__(self) -> str:
        _, problem, fix = self.args
        return f"option 'url' {problem}; {fix}"


class EngineUrlError(EngineError):
    """An engine cannot honour something that the URL asks for.

    Parameters
    ----------
    code
        Kind of the error, e.g. ``engine_sslmode``.
    message
        What the engine cannot do, and what to write instead.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)

    @property
    def code(self) -> str:
        """Kind of the error, e.g. ``engine_sslmode``."""
        return str(self.args[0])

    def __str__(self) -> str:
        return str(self.args[1])


class DriverProperties(NamedTuple):
    """The driver properties of one database that this version knows.

    Attributes
    ----------
    passed
        Those that it honours.
    ignored
        Those of the Java driver that change no row; they are dropped with a warning.
    """

    passed: frozenset[str]
    ignored: frozenset[str]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What Python's drivers for MySQL call it, as a URL of SQLAlchemy does -> the Java drivers' name.
_FROM_PYTHON = {
    "unix_socket": "localSocket",
    "ssl_ca": "sslrootcert",
    "ssl_cert": "sslcert",
    "ssl_key": "sslkey",
}
# What the Java driver calls it, in lower case -> libpq's keyword, and libpq's words for its values.
_FROM_PGJDBC: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "gssencmode": ("gssencmode", {}),
    "channelbinding": ("channel_binding", {}),
    "requireauth": ("require_auth", {}),
    "kerberosservername": ("krbsrvname", {}),
    "sslnegotiation": ("sslnegotiation", {}),
    "tcpkeepalive": ("keepalives", {"true": "1", "false": "0"}),
    "loadbalancehosts": ("load_balance_hosts", {"true": "random", "false": "disable"}),
    "targetservertype": (
        "target_session_attrs",
        {
            "any": "any",
            "primary": "primary",
            "master": "primary",
            "secondary": "standby",
            "slave": "standby",
            "preferSecondary": "prefer-standby",
            "preferSlave": "prefer-standby",
        },
    ),
}
_LIBPQ_KEYWORDS = _names(
    """channel_binding gssencmode keepalives keepalives_count keepalives_idle
    keepalives_interval krbsrvname load_balance_hosts options passfile require_auth service
    ssl_max_protocol_version ssl_min_protocol_version sslcertmode sslcrl sslcrldir sslnegotiation
    sslpassword sslsni target_session_attrs tcp_user_timeout"""
)
# Of the above, those that rust-postgres knows, on which connectorx stands; it refuses the others.
_CONNECTORX_KEYWORDS = _names(
    """channel_binding keepalives keepalives_idle load_balance_hosts options
    target_session_attrs tcp_user_timeout"""
)
_POSTGRESQL = DriverProperties(
    # Those before the libpq keywords are fields of `JDBCUrl`, not left in its ``props``.
    passed=_names(
        """ssl sslmode sslfactory sslrootcert sslcert sslkey ApplicationName application_name
        connect_timeout loginTimeout socketTimeout currentSchema gssEncMode channelBinding
        requireAuth kerberosServerName sslNegotiation tcpKeepAlive loadBalanceHosts
        targetServerType"""
    )
    | _LIBPQ_KEYWORDS,
    ignored=_names(
        """adaptiveFetch adaptiveFetchMaximum adaptiveFetchMinimum allowEncodingChanges
        assumeMinServerVersion autosave binaryTransfer binaryTransferDisable binaryTransferEnable
        cancelSignalTimeout cleanupSavepoints client_encoding databaseMetadataCacheFields
        databaseMetadataCacheFieldsMiB defaultRowFetchSize disableColumnSanitiser
        escapeSyntaxCallMode hideUnprivilegedObjects hostRecheckSeconds logServerErrorDetail
        logUnclosedConnections loggerFile loggerLevel maxResultBuffer maxSendBufferSize
        prepareThreshold preparedStatementCacheQueries preparedStatementCacheSizeMiB preferQueryMode
        quoteReturningIdentifiers readOnly readOnlyMode reWriteBatchedInserts receiveBufferSize
        sendBufferSize sslResponseTimeout stringtype tcpNoDelay unknownLength"""
    ),
)
_MYSQL = DriverProperties(
    # Those up to serverTimezone are fields of `JDBCUrl`, not left in its ``props``.
    passed=_names(
        """sslMode useSSL verifyServerCertificate sslrootcert serverSslCert sslcert sslkey
        localSocket socketTimeout connectionTimeZone serverTimezone zeroDateTimeBehavior
        tinyInt1isBit yearIsDateType connect_timeout"""
    )
    | _FROM_PYTHON.keys(),
    ignored=_names(
        """allowPublicKeyRetrieval autoReconnect cachePrepStmts cacheServerConfiguration
        characterEncoding charset use_unicode defaultFetchSize elideSetAutoCommits
        forceConnectionTimeZoneToSession maintainTimeStats maxReconnects noDatetimeStringSync
        permitMysqlScheme prepStmtCacheSize prepStmtCacheSqlLimit preserveInstants
        rewriteBatchedStatements tcpKeepAlive tcpNoDelay useBatchMultiSend useCompression
        useCursorFetch useLegacyDatetimeCode useLocalSessionState useServerPrepStmts useUnicode"""
    ),
)
PROPERTIES: Mapping[str, DriverProperties] = MappingProxyType(
    {
        "postgresql": _POSTGRESQL,
        "redshift": _POSTGRESQL,
        "cockroachdb": _POSTGRESQL,
        "mysql": _MYSQL,
        "mariadb": _MYSQL,
        "sqlite": DriverProperties(
            passed=frozenset({"busy_timeout", "cache_size", "mmap_size"}),
            ignored=_names(
                """cache cached_statements check_same_thread date_class date_precision
                date_string_format detect_types encoding foreign_keys immutable isolation_level
                journal_mode journal_size_limit locking_mode mode open_mode page_size shared_cache
                synchronous temp_store timeout transaction_mode uri"""
            ),
        ),
        "duckdb": DriverProperties(
            passed=_names("max_memory max_temp_directory_size memory_limit temp_directory threads"),
            ignored=_names(
                """access_mode duckdb.read_only jdbc_auto_commit jdbc_pin_db
                jdbc_stream_results"""
            ),
        ),
        "sqlserver": DriverProperties(
            passed=_names(
                """applicationIntent applicationName database databaseName encrypt
                hostNameInCertificate instanceName integratedSecurity loginTimeout
                multiSubnetFailover packetSize port portNumber server serverCertificate serverName
                socketTimeout trustServerCertificate userName"""
            ),
            ignored=_names(
                """cancelQueryTimeout columnEncryptionSetting disableStatementPooling
                lastUpdateCount lockTimeout queryTimeout responseBuffering selectMethod
                sendStringParametersAsUnicode sendTimeAsDatetime sslProtocol
                statementPoolingCacheSize transparentNetworkIPResolution useBulkCopyForBatchInsert
                workstationID xopenStates"""
            ),
        ),
        "oracle": DriverProperties(
            passed=_names("TNS_ADMIN"),
            ignored=_names(
                """defaultRowPrefetch oracle.jdbc.defaultRowPrefetch
                oracle.jdbc.implicitStatementCacheSize oracle.jdbc.mapDateToTimestamp
                oracle.jdbc.timezoneAsRegion oracle.net.keepAlive
                oracle.net.networkCompression useFetchSizeWithLongColumn"""
            ),
        ),
        "trino": DriverProperties(
            passed=_names("SSL SSLVerification"),
            ignored=_names(
                """applicationNamePrefix clientInfo clientTags disableCompression encoding
                explicitPrepare source
                traceToken validateConnection"""
            ),
        ),
        "snowflake": DriverProperties(
            passed=_names("database db role schema warehouse"),
            ignored=_names(
                """CLIENT_PREFETCH_THREADS CLIENT_RESULT_CHUNK_SIZE CLIENT_SESSION_KEEP_ALIVE
                JDBC_QUERY_RESULT_FORMAT application loginTimeout networkTimeout queryTimeout
                tracing"""
            ),
        ),
        "clickhouse": DriverProperties(
            passed=_names("ssl sslmode"),
            ignored=_names(
                """client_name compress compress_algorithm decompress http_connection_provider
                max_open_connections"""
            ),
        ),
    }
)
"""By dialect; one that is missing here passes on no properties beyond the fields of `JDBCUrl`."""

_KNOWN_NAMES = {
    name.lower()
    for known in PROPERTIES.values()
    for name in known.passed | known.ignored | {"user", "password", "connectTimeout"}
}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_LIBPQ_DIALECTS = ("postgresql", "redshift", "cockroachdb")
_MYSQL_DIALECTS = ("mysql", "mariadb")


@dataclass(frozen=True, kw_only=True)
class Ssl:
    """How the connection is encrypted.

    Attributes
    ----------
    mode
        In libpq's words: disable, allow, prefer, require, verify-ca or verify-full.
    root_cert, cert, key
        Paths of PEM files.
    """

    mode: str
    root_cert: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class JDBCUrl:
    """A ``jdbc:`` URL, taken apart. Its `repr` shows ``safe`` alone.

    Attributes
    ----------
    dialect
        postgresql, redshift, cockroachdb, mysql, mariadb, sqlite, duckdb, sqlserver, oracle, trino,
        snowflake or clickhouse.
    safe
        The URL without credentials, for logs and messages.
    hosts
        Names or addresses (IPv6 without brackets), each with its port; the port is None where a
        service on the host tells it.
    connect_timeout_s, socket_timeout_s
        Seconds; None where there is no limit.
    socket
        Path of a unix socket: the directory for PostgreSQL, the socket itself for MySQL.
    path, memory
        The file of an embedded database, or that it has none.
    ha
        What the URL says about several hosts, e.g. ``loadbalance``.
    props
        Driver properties that are no field here: decoded, as spelt.
    """

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
    timezone: str | None = None
    socket: str | None = None
    path: str | None = None
    memory: bool = False
    schema: str | None = None
    catalog: str | None = None
    ha: str | None = None
    instance: str | None = None
    service: str | None = None
    sid: str | None = None
    descriptor: str | None = None
    tns_alias: str | None = None
    tns_admin: str | None = None
    account: str | None = None
    warehouse: str | None = None
    props: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __repr__(self) -> str:
        return f"JDBCUrl({self.safe!r})"

    @property
    def label(self) -> str:
        """Name the database in a message: its dialect and where it is, nothing else."""
        if self.path is not None or self.memory:
            return (
                f"{self.dialect} file {self.path!r}" if self.path else f"{self.dialect} in memory"
            )
        if self.socket:
            return f"{self.dialect} at {self.socket}"
        hosts = ", ".join(host if port is None else f"{host}:{port}" for host, port in self.hosts)
        return f"{self.dialect} at {hosts}" if hosts else self.dialect

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password, and the value of every property whose name says that it is secret."""
        found = [
            self.password,
            *(text for name, text in self.props.items() if is_secret_name(name)),
        ]
        return tuple(text for text in found if text)

    def libpq(self) -> dict[str, str]:
        """Return keyword arguments for libpq, as psycopg and ADBC's PostgreSQL driver take them.

        Raises
        ------
        EngineUrlError
            If the database does not speak PostgreSQL's protocol.
        UrlError
            If the URL has a property that libpq does not know.
        """
        if self.dialect not in _LIBPQ_DIALECTS:
            raise EngineUrlError("engine_dialect", f"libpq cannot connect to {self.dialect}")
        ssl = self.ssl or Ssl(mode="")
        keywords = {
            "host": self.socket or ",".join(host for host, _ in self.hosts),
            "port": ",".join(str(port) for _, port in self.hosts),
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "sslmode": ssl.mode,
            "sslrootcert": ssl.root_cert,
            "sslcert": ssl.cert,
            "sslkey": ssl.key,
            "application_name": self.application_name,
            # Whole seconds, where 0 would be for ever.
            "connect_timeout": self.connect_timeout_s and str(math.ceil(self.connect_timeout_s)),
        }
        extra = dict(_libpq_property(name, text) for name, text in self.props.items())
        if self.schema:
            path = re.sub(r"([\\\s])", r"\\\1", self.schema)
            extra["options"] = f"{extra.get('options', '')} -c search_path={path}".strip()
        return {name: text for name, text in keywords.items() if text} | extra

    def connectorx_uri(self) -> str:
        """Return the URI for connectorx.

        Raises
        ------
        EngineUrlError
            If connectorx cannot do all that the URL asks for.
        """
        if self.dialect == "sqlite" and self.path:
            return f"sqlite://{quote(self.path)}"
        if self.dialect in _MYSQL_DIALECTS:
            return self._connectorx_mysql()
        if self.dialect not in _LIBPQ_DIALECTS:
            raise EngineUrlError(
                "engine_dialect", f"connectorx cannot connect to {self.dialect} in this version"
            )
        keywords = self.libpq()
        self._check_connectorx(keywords)
        query = "&".join(
            f"{name}={quote(text, safe='')}"
            for name, text in keywords.items()
            if name not in ("host", "port", "dbname", "user", "password")
        )
        return f"postgresql://{self._server_and_database()}{'?' if query else ''}{query}"

    def _server_and_database(self) -> str:
        host, port = self.hosts[0]
        secret = "" if self.password is None else f":{quote(self.password, safe='')}"
        login = f"{quote(self.user or '', safe='')}{secret}"
        server = f"[{host}]:{port}" if ":" in host else f"{quote(host, safe='')}:{port}"
        database = quote(self.database or "", safe="")
        return f"{login}{'@' if login else ''}{server}/{database}"

    def _connectorx_mysql(self) -> str:
        # Its MySQL driver is built without TLS.
        if self.ssl is not None and self.ssl.mode != "disable":
            raise EngineUrlError(
                "engine_sslmode", "connectorx cannot encrypt a connection to MySQL or MariaDB"
            )
        self._check_one_server()
        # It would look on this machine for the socket that the server names, and where a port leads
        # to another machine, the socket may be another server's.
        wait = math.ceil((self.connect_timeout_s or 10) * 1000)
        query = f"prefer_socket=false&tcp_connect_timeout_ms={wait}"
        return f"mysql://{self._server_and_database()}?{query}"

    def _check_connectorx(self, keywords: Mapping[str, str]) -> None:
        # It checks the authority but never the host's name, knows no 'allow', and turns 'require'
        # with an authority into something of its own.
        if keywords.get("sslmode") in ("allow", "verify-ca", "verify-full"):
            raise EngineUrlError(
                "engine_sslmode", f"connectorx cannot do sslmode {keywords['sslmode']!r}"
            )
        for name in ("sslrootcert", "sslcert", "sslkey"):
            if name in keywords:
                raise EngineUrlError("engine_sslmode", f"connectorx cannot do {name!r} safely")
        self._check_one_server()
        for name in keywords:
            if name in _LIBPQ_KEYWORDS - _CONNECTORX_KEYWORDS:
                raise EngineUrlError("engine_property", f"connectorx cannot do {name!r}")

    def _check_one_server(self) -> None:
        if self.socket:
            raise EngineUrlError("engine_socket", "connectorx cannot use a unix socket")
        if len(self.hosts) > 1:
            raise EngineUrlError("engine_hosts", "connectorx cannot choose between several hosts")


def _libpq_property(name: str, text: str) -> tuple[str, str]:
    if name.lower() in _LIBPQ_KEYWORDS:
        return name.lower(), text
    try:
        keyword, words = _FROM_PGJDBC[name.lower()]
    except KeyError:
        raise UrlError(
            "unknown_property", "has a property that libpq lacks", "leave it out"
        ) from None
    if words and text not in words:
        raise UrlError(
            "bad_property",
            f"has a value of {name!r} that libpq lacks",
            f"write one of {', '.join(words)}",
        )
    return keyword, words.get(text, text)


def parse_url(text: str, properties: Mapping[str, str] | None = None) -> JDBCUrl:
    """Take a ``jdbc:`` URL apart.

    Parameters
    ----------
    text
        The URL. The addresses that SQLAlchemy takes (``postgresql+psycopg://...``,
        ``sqlite:///file.db``) are understood too.
    properties
        Driver properties given beside the URL; they mean what they mean in it.

    Raises
    ------
    UrlError
        If the URL is malformed, or asks for what this version lacks. Its ``code`` says which.

    Examples
    --------
    >>> url = parse_url("jdbc:postgresql://db/shop?user=ann&password=s%26cret")
    >>> url.password, url.hosts
    ('s&cret', (('db', 5432),))
    >>> url
    JDBCUrl('jdbc:postgresql://db/shop?user=ann&password=***')
    """
    text = text.strip()
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise UrlError("control_char", "has a control character", "remove line breaks and tabs")
    name, rest = _split_scheme(text)
    parser = _PARSERS.get(name) or (_other if is_registered(name) else None)
    if parser is None:
        known = ", ".join(sorted(_PARSERS))
        raise UrlError(
            "unsupported_subprotocol",
            "is not of a known database",
            f"write jdbc: and one of {known}",
        )
    props = _Properties(properties or {})
    parts = parser(rest, props)
    for key in ("user", "password"):
        if (value := props.take(key)) is not None:
            if parts.get(key) is not None:
                raise _duplicate(key)
            parts[key] = value
    dialect = _ALIASES.get(name, name)
    url = JDBCUrl(dialect=dialect, safe="", props=props.rest(), **parts)
    # Not the short ones, which may well stand in the URL as words.
    long_secrets = [secret for secret in url.secrets if len(secret) > 3]
    return replace(url, safe=redact(text, long_secrets))


def _split_scheme(text: str) -> tuple[str, str]:
    """Return the database's name and what follows it and its colon."""
    found = re.match(r"(?i)(jdbc:)?([a-z]\w*)(\+\w+)?:", text)
    if found is None or (found[1] and found[3]):
        raise UrlError(
            "unsupported_subprotocol" if found else "bad_url",
            "is not a JDBC URL" if found is None else "asks for a protocol that is not supported",
            "write e.g. 'jdbc:postgresql://host:5432/database'",
        )
    name, rest = found[2].lower(), text[found.end() :]
    if found[1] is None:
        name = {"postgres": "postgresql", "mssql": "sqlserver"}.get(name, name)
        if name not in (
            "postgresql",
            "redshift",
            "cockroachdb",
            "mysql",
            "mariadb",
            "sqlite",
            "duckdb",
        ):
            raise UrlError(
                "bad_url", "is not a JDBC URL", "write e.g. 'jdbc:sqlserver://host;databaseName=db'"
            )
        if name in ("sqlite", "duckdb"):
            # SQLAlchemy: three slashes before a relative path, four before an absolute one; with
            # two it is a database in memory.
            rest = rest.removeprefix("///") if rest != "//" else ""
    return name, rest


class _Properties:
    """Driver properties by name, ignoring case; each may come once."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._items: dict[str, tuple[str, str]] = {}
        for name, text in given.items():
            self.add(name, text)

    def add(self, name: str, text: str) -> None:
        if name.lower() in self._items:
            raise _duplicate(name)
        self._items[name.lower()] = (name, text)

    def add_query(self, query: str, separator: str = "&") -> None:
        for item in query.split(separator):
            if item:
                name, _, text = item.partition("=")
                if not re.fullmatch(r"[\w.\-]+", name := _decode(name, plus=True)):
                    raise _bad_url(
                        "has a property whose name cannot be read",
                        "write ?name=value&..., %3F for a question mark in a password, and "
                        "jdbc:sqlite:file:... with %3F for one in the path of a file",
                    )
                self.add(name, _decode(text, plus=True))

    def take(self, *names: str) -> str | None:
        """Remove a property that has several names, and return its value."""
        found = [item for name in names if (item := self._items.pop(name.lower(), None))]
        if len(found) > 1:
            raise _duplicate(found[1][0])
        return found[0][1] if found else None

    def take_flag(self, *names: str) -> bool | None:
        text = self.take(*names)
        if text is None:
            return None
        # A bare name counts as true, as in the Java drivers.
        word = text.lower() or "true"
        if word not in ("true", "false"):
            raise UrlError(
                "bad_property",
                f"has a value of {names[0]!r} that is neither true nor false",
                "write one",
            )
        return word == "true"

    def take_seconds(self, *names: str, per_second: int = 1) -> float | None:
        text = self.take(*names)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise UrlError(
                "bad_property",
                f"has a value of {names[0]!r} that is no whole number",
                "write e.g. 30",
            )
        return int(text) / per_second or None

    def rest(self) -> dict[str, str]:
        return dict(self._items.values())


def _duplicate(name: str) -> UrlError:
    # An unknown name may be a piece of a password that has a bare & in it.
    what = repr(name) if name.lower() in _KNOWN_NAMES else "a property"
    return UrlError(
        "duplicate_property", f"has {what} twice, or an option repeats it", "give it once"
    )


def _decode(text: str, *, plus: bool = False) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise UrlError(
            "bad_percent",
            "has a '%' without two hex digits after it",
            "write %25 for a percent sign",
        )
    try:
        # Java's URLDecoder, which the drivers use for properties, takes + for a space.
        decoded = unquote_to_bytes(text.replace("+", " ") if plus else text).decode()
    except UnicodeDecodeError:
        raise UrlError(
            "bad_percent", "has %-escapes that are not UTF-8", "encode it as UTF-8"
        ) from None
    if "\0" in decoded:
        raise UrlError("control_char", "has an encoded NUL", "remove %00")
    return decoded


def _bad_url(problem: str, fix: str) -> UrlError:
    return UrlError("bad_url", problem, fix)


def _network(rest: str, props: _Properties, port: int | None) -> tuple[dict[str, Any], str]:
    """Take ``//[user[:password]@]host[:port][,...][/path][?query]`` apart.

    Returns what `JDBCUrl` takes, and the path without its first slash, not decoded.
    """
    if not rest.startswith("//"):
        raise _bad_url("lacks the // before the host", "write e.g. 'jdbc:mysql://host/database'")
    head, _, query = rest[2:].partition("?")
    authority, _, path = head.partition("/")
    if "@" in path:
        raise _bad_url(
            "has an @ after the first slash", "write %40 for it, and %2F for a slash in a password"
        )
    parts: dict[str, Any] = {}
    login, at, servers = authority.rpartition("@")
    if at:
        user, colon, password = login.partition(":")
        parts["user"] = _decode(user) or None
        parts["password"] = _decode(password) if colon else None
    props.add_query(query)
    parts["hosts"] = tuple(_host(server, port) for server in servers.split(","))
    return parts, path


def _host(server: str, default_port: int | None) -> tuple[str, int | None]:
    # In braces stands a reference that is resolved later, e.g. {env:PGHOST}.
    found = re.fullmatch(r"(\[[^\[\]]+\]|\{[^{}]*\}|[^:\[\]]*)(?::(.*))?", server)
    if found is None or re.search(r"[\s()=;@?]", found[1]):
        raise _bad_url(
            "has a host that cannot be read",
            "write host:port, an IPv6 address in brackets, and what is special as %XX",
        )
    port = default_port if found[2] is None else _port(found[2])
    return _decode(found[1].strip("[]")) or "localhost", port


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise UrlError(
            "bad_port",
            "has a port that is not a number from 1 to 65535",
            "write host:port, an IPv6 address in brackets, and what is special as %XX",
        )
    return int(text)


def _ssl(mode: str | None, props: _Properties | None = None) -> Ssl | None:
    """Return the SSL settings; certificates count where there is no mode, too."""
    files = {}
    if props is not None:
        files = {
            "root_cert": props.take("sslrootcert"),
            "cert": props.take("sslcert"),
            "key": props.take("sslkey"),
        }
    if mode is None and not any(files.values()):
        return None
    return Ssl(mode=mode or "prefer", **files)


def _ssl_mode(text: str | None, words: Mapping[str, str]) -> str | None:
    if text is None:
        return None
    mode = words.get(text.lower())
    if mode is None:
        raise UrlError("bad_sslmode", "has an unknown SSL mode", f"write one of {', '.join(words)}")
    return mode


def _postgresql(rest: str, props: _Properties, port: int = 5432) -> dict[str, Any]:
    if rest.lower().startswith("iam:"):
        raise UrlError("unsupported_auth", "asks for IAM", "write a user and a password")
    if not rest.startswith("//"):
        rest = "///" + rest.removeprefix("/")  # no host: jdbc:postgresql:database
    parts, path = _network(rest, props, port)
    parts["database"] = _decode(path, plus=True) or None
    directory = props.take("host") if parts["hosts"] == (("localhost", port),) else None
    if directory is None and parts["hosts"][0][0].startswith("/"):
        directory = parts["hosts"][0][0]
    if directory is not None:
        if not directory.startswith("/"):
            raise _bad_url("has 'host' as a property that is no directory", "write //host:port")
        parts |= {"socket": directory, "hosts": (("localhost", parts["hosts"][0][1]),)}
    mode = _ssl_mode(props.take("sslmode"), {mode: mode for mode in _SSL_MODES})
    if mode is None and props.take_flag("ssl"):
        mode = "verify-full"
    else:
        props.take("ssl")  # the mode says more
    mode = _ssl_factory(props.take("sslfactory"), mode)
    return parts | {
        "ssl": _ssl(mode, props),
        "application_name": props.take("ApplicationName", "application_name"),
        "connect_timeout_s": props.take_seconds(
            "connectTimeout", "connect_timeout", "loginTimeout"
        ),
        "socket_timeout_s": props.take_seconds("socketTimeout"),
        "schema": props.take("currentSchema"),
    }


def _ssl_factory(java_class: str | None, mode: str | None) -> str | None:
    if java_class in (None, "", "org.postgresql.ssl.LibPQFactory"):
        return mode
    if java_class != "org.postgresql.ssl.NonValidatingFactory":
        raise UrlError(
            "bad_property", "has an sslfactory, a Java class", "write sslmode and sslrootcert"
        )
    return "require" if mode is not None else None


def _mysql(rest: str, props: _Properties) -> dict[str, Any]:
    ha = None
    if (
        found := re.match(r"(?i)(loadbalance|replication|sequential|failover)(?=://)", rest)
    ) is not None:
        ha, rest = found[0].lower(), rest[found.end() + 1 :]
    parts, path = _network(rest, props, 3306)
    words = {
        "disabled": "disable", "disable": "disable", "preferred": "prefer",
        "required": "require", "trust": "require", "verify_ca": "verify-ca",
        "verify-ca": "verify-ca", "verify_identity": "verify-full", "verify-full": "verify-full",
    }  # fmt: skip
    for python_name, name in _FROM_PYTHON.items():
        if (text := props.take(python_name)) is not None:
            props.add(name, text)
    mode = _ssl_mode(props.take("sslMode"), words)
    use, verify = props.take_flag("useSSL"), props.take_flag("verifyServerCertificate")
    if mode is None and use is not None:
        mode = ("verify-ca" if verify else "require") if use else "disable"
    if (pinned := props.take("serverSslCert")) is not None:
        props.add("sslrootcert", pinned)
    ssl = _ssl(mode, props)
    if ssl is not None and mode is None:
        ssl = replace(ssl, mode="verify-full")  # who names an authority wants it to be asked
    seconds = props.take_seconds("connect_timeout")
    milliseconds = props.take_seconds("connectTimeout", per_second=1000)
    return parts | {
        "database": _decode(path, plus=True) or None,
        "ha": ha,
        "ssl": ssl,
        "socket": props.take("localSocket"),
        "connect_timeout_s": seconds if milliseconds is None else milliseconds,
        "socket_timeout_s": props.take_seconds("socketTimeout", per_second=1000),
        "timezone": props.take("serverTimezone", "connectionTimeZone"),
    }


def _sqlite(rest: str, props: _Properties) -> dict[str, Any]:
    path, _, query = rest.partition("?")
    if path.lower().startswith(":resource:"):
        raise UrlError("unsupported_resource", "asks for a Java resource", "write the file's path")
    if is_uri := path.startswith("file:"):
        path = _decode(re.sub(r"^//(localhost)?(?=/)", "", path.removeprefix("file:")))
    props.add_query(query)
    if path in ("", ":memory:") or (is_uri and (props.rest().get("mode") == "memory")):
        return {"memory": True}
    return {"path": path}


def _duckdb(rest: str, props: _Properties) -> dict[str, Any]:
    path, _, settings = rest.partition(";")
    props.add_query(settings, separator=";")
    return {"memory": True} if path in ("", ":memory:") else {"path": path}


def _sqlserver(rest: str, props: _Properties) -> dict[str, Any]:
    if not rest.startswith("//"):
        raise _bad_url("lacks the // before the host", "write e.g. 'jdbc:sqlserver://host:1433'")
    server, _, settings = rest[2:].partition(";")
    if re.search(r"[/?&]", server):
        raise _bad_url(
            "has a path or a query, which SQL Server's URLs have not",
            "write //host;databaseName=db",
        )
    _add_braced(settings, props)
    if props.take_flag("integratedSecurity"):
        raise UrlError(
            "unsupported_auth", "asks for integrated security", "write a user and a password"
        )
    host, port = _host(server, None)
    host, _, instance = host.partition("\\")
    parts: dict[str, Any] = {
        "instance": instance or props.take("instanceName"),
        "database": props.take("databaseName", "database"),
        "user": props.take("user", "userName"),
        "application_name": props.take("applicationName"),
        "connect_timeout_s": props.take_seconds("loginTimeout"),
        "socket_timeout_s": props.take_seconds("socketTimeout", per_second=1000),
    }
    named, given = props.take("serverName", "server"), props.take("portNumber", "port")
    if port is None and given is not None:
        port = _port(given)
    if port is None and not parts["instance"]:
        port = 1433  # else the browser service tells it
    return parts | {"hosts": ((named or host, port),), "ssl": _ssl(_encrypt(props))}


def _encrypt(props: _Properties) -> str:
    # mssql-jdbc encrypts and checks the host by default since 10.2.
    text, trust = props.take("encrypt"), props.take_flag("trustServerCertificate")
    words = {
        "true": "verify-full", "yes": "verify-full", "mandatory": "verify-full",
        "strict": "verify-full", "false": "prefer", "no": "prefer", "optional": "prefer",
    }  # fmt: skip
    mode = _ssl_mode(text, words) or "verify-full"
    return "require" if trust and mode == "verify-full" and text != "strict" else mode


def _add_braced(settings: str, props: _Properties) -> None:
    """Add ``name=value;...``, where braces keep ``;`` and ``=`` and ``}}`` is a literal brace."""
    at = 0
    item = re.compile(
        r"\s*([^=;]*?)\s*(?:=(?:\{((?:[^}]|\}\})*)\}(?=;|$)|([^;{][^;]*|))|(?=;|$))(;|$)"
    )
    while at < len(settings):
        found = item.match(settings, at)
        if found is None:
            raise UrlError(
                "unbalanced_brace",
                "has a brace that is not closed",
                "write }} for a brace in {...}",
            )
        name, braced, plain, _ = found.groups()
        if name:
            props.add(name, braced.replace("}}", "}") if braced is not None else plain or "")
        at = found.end()


def _oracle(rest: str, props: _Properties) -> dict[str, Any]:
    kind, _, rest = rest.partition(":")
    if kind.lower() != "thin":
        raise UrlError(
            "unsupported_subprotocol",
            "asks for a driver other than thin",
            "write jdbc:oracle:thin:@//host/service",
        )
    found = re.fullmatch(r'([^/@]*)(?:/(?:"([^"]*)"|(.*)))?@([^@]*)', rest)
    if found is None:
        raise _bad_url("lacks the @ before the host", "write jdbc:oracle:thin:@//host:1521/service")
    user, quoted, plain, target = found.groups()
    target, _, query = target.partition("?")
    props.add_query(query)
    parts: dict[str, Any] = {
        "user": user or None,
        "password": plain if quoted is None else quoted,
        "tns_admin": props.take("TNS_ADMIN"),
    }
    return parts | _oracle_target(target)


def _oracle_target(target: str) -> dict[str, Any]:
    if target.startswith("("):
        return {"descriptor": target}
    found = re.fullmatch(r"(?:(tcps?):)?//([^/]+)/([^/:]+)", target)
    if found is not None:
        ssl = Ssl(mode="verify-full") if found[1] == "tcps" else None
        return {"hosts": (_host(found[2], 1521),), "service": found[3], "ssl": ssl}
    if (found := re.fullmatch(r"([^:/]+(?::[^:/]*)?)/([^/:]+)", target)) is not None:
        return {"hosts": (_host(found[1], 1521),), "service": found[2]}
    if (found := re.fullmatch(r"([^:/]+:[^:/]*):([^:/]+)", target)) is not None:
        return {"hosts": (_host(found[1], 1521),), "sid": found[2]}
    if re.fullmatch(r"[\w.\-]+", target):
        return {"tns_alias": target}
    raise _bad_url(
        "has an address that cannot be read", "write jdbc:oracle:thin:@//host:1521/service"
    )


def _trino(rest: str, props: _Properties) -> dict[str, Any]:
    parts, path = _network(rest, props, None)
    checks = {"full": "verify-full", "ca": "verify-ca", "none": "require"}
    mode = _ssl_mode(props.take("SSLVerification") or "full", checks)
    encrypted = bool(props.take_flag("SSL"))
    catalog, _, schema = path.partition("/")
    return parts | {
        "hosts": _with_port(parts["hosts"], 443 if encrypted else 80),
        "ssl": _ssl(mode if encrypted else None),
        "catalog": _decode(catalog) or None,
        "schema": _decode(schema) or None,
    }


def _snowflake(rest: str, props: _Properties) -> dict[str, Any]:
    parts, _ = _network(rest, props, 443)
    host = parts["hosts"][0][0]
    return parts | {
        "account": re.sub(r"(?i)\.snowflakecomputing\.com(\.cn)?$", "", host),
        "database": props.take("db", "database"),
        "schema": props.take("schema"),
        "warehouse": props.take("warehouse"),
    }


def _clickhouse(rest: str, props: _Properties) -> dict[str, Any]:
    scheme, _, server = rest.partition("//")
    if scheme.lower() not in ("", "http:", "https:"):
        raise UrlError("unsupported_subprotocol", "asks for a protocol other than HTTP", "write //")
    parts, path = _network(f"//{server}", props, None)
    checks = {"strict": "verify-full", "none": "require"}
    mode = _ssl_mode(props.take("sslmode") or "strict", checks)
    encrypted = bool(props.take_flag("ssl")) or scheme.lower() == "https:"
    return parts | {
        "hosts": _with_port(parts["hosts"], 8443 if encrypted else 8123),
        "ssl": _ssl(mode if encrypted else None),
        "database": _decode(path) or None,
    }


def _with_port(
    hosts: Iterable[tuple[str, int | None]], default: int
) -> tuple[tuple[str, int | None], ...]:
    return tuple((host, default if port is None else port) for host, port in hosts)


def _other(rest: str, props: _Properties) -> dict[str, Any]:
    """Parse the URL of a database that is none of ours: a server, else a file."""
    if not rest.startswith("//"):
        path, _, query = rest.partition("?")
        props.add_query(query)
        return {"path": path}
    parts, path = _network(rest, props, None)
    return parts | {"database": _decode(path) or None}


registered: set[str] = set()
"""Databases whose dialects were given to `jdbc.dialects.register_dialect`."""


def is_registered(name: str) -> bool:
    """Say whether somebody brings a dialect of this name, here or by an entry point."""
    return name in registered or name in entry_points(group=DIALECT_GROUP).names


_PARSERS: Mapping[str, Callable[[str, _Properties], dict[str, Any]]] = {
    "postgresql": _postgresql,
    "redshift": lambda rest, props: _postgresql(rest, props, 5439),
    "cockroachdb": lambda rest, props: _postgresql(rest, props, 26257),
    "mysql": _mysql,
    "mariadb": _mysql,
    "sqlite": _sqlite,
    "duckdb": _duckdb,
    "sqlserver": _sqlserver,
    "oracle": _oracle,
    "trino": _trino,
    "snowflake": _snowflake,
    "clickhouse": _clickhouse,
    "ch": _clickhouse,
}
_ALIASES = {"ch": "clickhouse"}

DIALECT_GROUP = "jdbc.dialects"
"""Entry points of dialects that other packages bring."""

_MASK = "***"
_SECRET_WORDS = (
    r"password|passwd|passphrase|passcode|\bpass\b|pwd|secret|token|credentials?"
    r"|(?:api|access|account|private)[_-]?key"
)
_SECRET_KEY = re.compile(rf"(?i)(?:{_SECRET_WORDS})\w*(?:\s*=\s*|[\"']\s*:\s*)")
_USERINFO = (
    # Not everyone encodes a slash, an @ or a question mark in a password. But digits and then
    # name=value are a port, and an @ further on is in a value, say an e-mail address.
    re.compile(r"://(?!\[)[^\s/?#:@]*:(?!\d+(?:;|(?:[/,][^\s?@]*)?\?)[^\s@]*=)(\S*)@"),
    re.compile(r"(?i):thin:[^\s/@]*/(\"[^\"]*\"|\S*)@"),
)
_QUOTED = r"""\\*'(?:[^'\\]|\\.|'')*'|\\*"(?:[^"\\]|\\.|"")*"|\{(?:[^}]|\}\})*\}"""
# By what stands before the name: how far an unquoted value goes.
_QUERY_VALUE = re.compile(r"[^&\s]*")
_BRACED_VALUE = re.compile(rf"{_QUOTED}|[^;\r\n]*", re.DOTALL)
_KEYWORD_VALUE = re.compile(rf"{_QUOTED}|\S*", re.DOTALL)


def is_secret_name(name: str) -> bool:
    """Say whether the name of an option or property says that its value is secret."""
    return re.search(f"(?i){_SECRET_WORDS}", name) is not None


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without credentials.

    Masks the passwords of URLs and of keyword strings (libpq's, SQL Server's, JSON), by their
    look, and every given secret: raw, percent-encoded and escaped as in `repr`, JSON or SQL. Rather
    masks too much than too little.

    Examples
    --------
    >>> redact("jdbc:postgresql://h/d?password=x%26y: no user with x&y", ["x&y"])
    'jdbc:postgresql://h/d?password=*** no user with ***'
    """
    spans = [found.span(1) for pattern in _USERINFO for found in pattern.finditer(text)]
    spans += _value_spans(text)
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    if known:
        spans += (
            found.span() for found in re.finditer("|".join(map(_secret_pattern, known)), text)
        )
    # All are found in the text as it came: a mask would hide from one what another looks for.
    pieces: list[str] = []
    at = 0
    for start, stop in sorted(spans):
        if not pieces or start > at:
            pieces += [text[at:start], _MASK]
        at = max(at, stop)
    return "".join([*pieces, text[at:]])


def _value_spans(text: str) -> Iterator[tuple[int, int]]:
    """Find what follows the name of a secret and an equals sign (or, in JSON, a colon)."""
    at = 0
    for found in _SECRET_KEY.finditer(text):
        if found.start() < at:
            continue  # inside a value
        before = re.sub(r"[\w.\-]*$", "", text[max(0, found.start() - 40) : found.start()])[-1:]
        pattern = {"?": _QUERY_VALUE, "&": _QUERY_VALUE, ";": _BRACED_VALUE}.get(
            before, _KEYWORD_VALUE
        )
        value = pattern.match(text, found.end())
        at = value.end() if value else found.end()
        yield found.end(), at


def _secret_pattern(secret: str) -> str:
    body = "".join(map(_character_pattern, secret))
    # A short one is in half of all words: mask it only where it stands alone.
    return body if len(secret) > 3 else f"(?<![A-Za-z0-9])(?:{body})(?![A-Za-z0-9])"


def _character_pattern(character: str) -> str:
    """Match a character raw, percent-encoded (any number of times), or behind backslashes."""
    percent = "".join(f"%(?:25)*{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
    forms = [f"(?i:{percent})"]
    if character.isascii() and character.isalnum():
        forms.append(character)
    else:
        units = character.encode("utf-16-be", "surrogatepass").hex()
        json = "".join(rf"\\+u{units[at : at + 4]}" for at in range(0, len(units), 4))
        code = ord(character)
        forms += [rf"(?i:{json})", rf"(?i:\\+(?:x{code:02x}|u{code:04x}|U{code:08x}))"]
        doubled = "{1,2}" if character in "'\"`}]" else ""
        forms.append(rf"\\*{re.escape(character)}{doubled}")
        short = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r"}
        if character in short:
            forms.append(rf"\\+{short[character]}")
        if character == " ":
            forms.append(r"\+")
    return f"(?:{'|'.join(forms)})"
