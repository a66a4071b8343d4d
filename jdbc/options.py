"""The options of one read, parsed and checked once."""

from __future__ import annotations

import difflib
import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from .errors import OptionError
from .params import Params, bind, parse_params
from .tokens import name_parts, tokens
from .url import PROPERTIES, DriverProperties, JDBCUrl, UrlError, parse_url

__all__ = ["JDBCOptions", "JDBCWarning", "option_reference"]

QUERY_ALIAS = "jdbc_query"


class JDBCWarning(UserWarning):
    """An option that changes no row is ignored."""


# What Spark has and we ignore: option -> why no row changes.
_IGNORED = {
    "driver": "it names a Java class, and no JVM is used",
    "keytab": "it is for Kerberos, which is out of scope",
    "principal": "it is for Kerberos, which is out of scope",
    "refreshKrb5Config": "it is for Kerberos, which is out of scope",
    "connectionProvider": "it names a Java class, and no JVM is used",
    "isolationLevel": "it is for writing",
    "truncate": "it is for writing",
    "batchsize": "it is for writing; fetchsize is what sets the rows per batch",
    "preferTimestampNTZ": "a timestamp has a zone here if and only if the database gives it one",
    "pushDownAggregate": "aggregates are computed after reading",
    "pushDownOffset": "offsets are applied after reading",
    "pushDownTableSample": "samples are taken after reading",
    "pushDownJoin": "joins are computed after reading; write one as the query",
}
_WRITING = (
    "mode",
    "saveMode",
    "createTableOptions",
    "createTableColumnTypes",
    "cascadeTruncate",
)
_TUNING = "it tunes a Java driver, and changes no row that is read"
# The bridge's own, which say where to find the source.
_DROPPED = ("python_module", "python_class")


def _metadata(
    name: str, default: str, description: str, parse: Callable[[str, str], Any]
) -> dict[str, Any]:
    return {"name": name, "default": default, "description": description, "parse": parse}


def _option(
    name: str,
    description: str,
    parse: Callable[[str, str], Any],
    *,
    default: Any = None,
    default_text: str | None = None,
    repr: bool = True,
) -> Any:
    if default_text is None:
        default_text = "none" if default is None else str(default).lower()
    metadata = _metadata(name, default_text, description, parse)
    return field(default=default, repr=repr, metadata=metadata)


def _text(name: str, text: str) -> str:
    if not text.strip():
        raise OptionError(name, "is blank", "write a value or leave the option out")
    return text.strip()


def _as_is(name: str, text: str) -> str:
    return text


def _optional(name: str, text: str) -> str | None:
    return text.strip() or None


def _flag(name: str, text: str) -> bool:
    if text.strip().lower() not in ("true", "false"):
        raise OptionError(name, f"must be true or false, got {text!r}", "write 'true' or 'false'")
    return text.strip().lower() == "true"


def _whole(name: str, text: str) -> int:
    found = re.fullmatch(r"[+-]?([0-9]+)", text.strip())
    if found is None or len(found[1]) > 18:
        size = " of at most 18 digits" if found else ""
        raise OptionError(name, f"must be a whole number{size}, got {text!r}", "write e.g. '8'")
    return int(text)


def _count(name: str, text: str) -> int:
    number = _whole(name, text)
    if number < 0:
        raise OptionError(name, f"must be a whole number from 0 up, got {text!r}", "write e.g. '0'")
    return number


def _partitioning(name: str, text: str) -> str:
    kind = text.strip().lower()
    if kind not in ("range", "auto", "physical"):
        raise OptionError(
            name,
            f"must be 'range', 'auto' or 'physical', got {text!r}",
            "write one of them, or leave it out",
        )
    return kind


_BYTES = re.compile(r"([0-9]{1,15})\s*(?:([kmgt])(i?)b)?b?", re.IGNORECASE)


def _bytes(name: str, text: str) -> int:
    found = _BYTES.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise OptionError(
            name, f"must be a number of bytes above 0, got {text!r}", "write e.g. '128MB'"
        )
    power = "kmgt".index(found[2].lower()) + 1 if found[2] else 0
    return int(found[1]) * int((1024 if found[3] else 1000) ** power)


def _seconds(name: str, text: str) -> float:
    found = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text.strip())
    if found is None or float(text) == 0:
        raise OptionError(name, f"must be a number of seconds above 0, got {text!r}", "write '10'")
    return float(text)


def _connections(name: str, text: str) -> int:
    number = _whole(name, text)
    if number < 1:
        raise OptionError(name, f"must be a whole number from 1 up, got {text!r}", "write e.g. '8'")
    return number


def _engine(name: str, text: str) -> str:
    engine = text.strip().lower()
    if engine not in ("connectorx", "adbc", "fallback", "auto"):
        raise OptionError(
            name,
            f"must be an engine, got {text!r}",
            "write 'connectorx', 'adbc', 'fallback' or 'auto', or leave it out",
        )
    return engine


def _hint(name: str, text: str) -> str | None:
    if not text.strip():
        return None
    # Spark's pattern; a second */ would let the rest run as SQL.
    if not re.fullmatch(r"/\*\+ ((?!\*/).)* \*/", text.strip(), re.DOTALL):
        raise OptionError(
            name, f"must be an SQL hint, got {text!r}", "write e.g. '/*+ INDEX(t i) */'"
        )
    return text.strip()


def _predicates(name: str, text: str) -> tuple[str, ...]:
    fix = """write a JSON array of SQL conditions, e.g. '["id < 10", "id >= 10 OR id IS NULL"]'"""
    try:
        conditions = json.loads(text)
    except ValueError:
        raise OptionError(name, "is not JSON", fix) from None
    if not isinstance(conditions, list) or not conditions:
        raise OptionError(name, "must be a JSON array that is not empty", fix)
    if not all(isinstance(one, str) and one.strip() for one in conditions):
        raise OptionError(name, "must hold texts that are not blank", fix)
    return tuple(conditions)


def _divisions(name: str, text: str) -> tuple[float | str, ...]:
    fix = "write a JSON array of numbers or texts, e.g. '[0, 100, 200]'"
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, list) or len(values) < 2:
        raise OptionError(name, f"is no JSON array of at least two values, got {text!r:.80}", fix)
    if not all(isinstance(one, int | float | str) and not isinstance(one, bool) for one in values):
        raise OptionError(name, f"must hold numbers or texts, got {text!r:.80}", fix)
    return tuple(values)


@dataclass(frozen=True, kw_only=True)
class JDBCOptions:
    """The options of one read, from `parse`; every combination that it allows makes sense.

    Fields carry our names, and Spark's in their metadata; see ``option_reference`` for what they
    mean. ``url`` has user, password, connectTimeout and driver properties merged in.
    """

    url: JDBCUrl = field(metadata=_metadata("url", "required", "JDBC URL of the database", _as_is))
    user: str | None = _option("user", "User; wins over the URL's", _as_is)
    password: str | None = _option("password", "Password; wins over the URL's", _as_is, repr=False)
    dbtable: str | None = _option(
        "dbtable", "Table, or subquery in parentheses with an alias, as written after FROM", _text
    )
    query: str | None = _option("query", "SELECT to read, in place of dbtable", _text)
    table: str | None = _option(
        "table",
        "Table by its name, in place of dbtable; quoted for you, so spelt as the database has it",
        _text,
    )
    divisions: tuple[float | str, ...] = _option(
        "divisions",
        "JSON array of n + 1 values of partitionColumn for n ranges; no row may be outside",
        _divisions,
        default=(),
        default_text="none",
    )
    params: Params | None = field(
        default=None,
        hash=False,
        repr=False,
        metadata=_metadata(
            "params",
            "none",
            "JSON of values for query: by name for :name or %(name)s, or in order for ? or %s",
            parse_params,
        ),
    )
    partition_column: str | None = _option(
        "partitionColumn", "Column to cut into ranges: numbers, dates or timestamps", _text
    )
    lower_bound: str | None = _option(
        "lowerBound", "Where the cuts begin; rows below are read too", _as_is
    )
    upper_bound: str | None = _option(
        "upperBound", "Where the cuts end; rows above are read too", _as_is
    )
    num_partitions: int | None = _option(
        "numPartitions", "How many ranges to aim for; 1 or less reads everything at once", _whole
    )
    target_partition_bytes: int | None = _option(
        "targetPartitionBytes",
        "Size to aim for in place of numPartitions, e.g. 128MB; the database's estimate counts",
        _bytes,
    )
    partitioning: str | None = _option(
        "partitioning",
        "range: between the bounds; auto: of about as many rows each, the default without bounds;"
        " physical: by the table's pages, with snapshot",
        _partitioning,
    )
    predicates: tuple[str, ...] = _option(
        "predicates",
        "JSON array of SQL conditions, one partition each; overlaps are read twice",
        _predicates,
        default=(),
        default_text="none",
    )
    fetchsize: int = _option("fetchsize", "Rows per batch; 0 is the default", _count, default=65536)
    query_timeout: int = _option(
        "queryTimeout", "Seconds until a query is cancelled; 0 is never", _count, default=0
    )
    session_init_statement: str | None = _option(
        "sessionInitStatement", "SQL to run on each new session", _optional, repr=False
    )
    prepare_query: str | None = _option(
        "prepareQuery", "Text to put before the SELECT, e.g. a WITH clause", _optional
    )
    custom_schema: str | None = _option(
        "customSchema", "Spark DDL of columns to convert, e.g. 'id DECIMAL(38,0)'", _optional
    )
    push_down_predicate: bool = _option(
        "pushDownPredicate", "Whether the database may filter", _flag, default=True
    )
    push_down_limit: bool = _option(
        "pushDownLimit", "Whether the database may stop at a number of rows", _flag, default=True
    )
    hint: str | None = _option("hint", "Optimizer hint, as /*+ ... */", _hint)
    engine: str | None = _option(
        "engine", "connectorx, adbc, fallback, or auto for the fastest measured", _engine
    )
    connect_timeout: float = _option(
        "connectTimeout",
        "Seconds until a connection attempt is given up; wins over the URL's",
        _seconds,
        default=10.0,
        default_text="10",
    )
    max_connections: int | None = _option(
        "maxConnections",
        "At most so many connections at a time, over all reads of this database by this user; "
        "on Dask only",
        _connections,
        default_text="32; none for a file",
    )
    snapshot: bool = _option(
        "snapshot",
        "Whether all partitions of a computation read one state of the database; PostgreSQL only",
        _flag,
        default=False,
    )
    driver_properties: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    # No options: whether fetchsize is the user's, what the source opened for a computation, and the
    # pages of one partition.
    chose_fetchsize: bool = False
    imported_snapshot: str | None = None
    pages: Mapping[str, Any] | None = field(default=None, hash=False)

    @classmethod
    def parse(cls, raw: Mapping[str, str]) -> Self:
        """Parse and check options as a person writes them; keys ignore case.

        Warns
        -----
        JDBCWarning
            For each option that is ignored, and why no row changes.

        Raises
        ------
        OptionError
            If an option is missing, unknown or malformed, or contradicts another one.
        """
        given = _relevant(_by_lower_key(raw))
        for name, text in given.values():
            if "\0" in text:
                raise OptionError(name, "holds a NUL, where drivers end a text", "remove it")
        known = _named_fields()
        extra = [item for key, item in given.items() if key not in known]
        if "url" not in given:
            raise OptionError("url", "is required", "write e.g. 'jdbc:postgresql://host/database'")
        url = _parse_url(given["url"][1], extra)
        values = {
            known[key].name: known[key].metadata["parse"](*item)
            for key, item in given.items()
            if key in known and key != "url"
        }
        if values.get("fetchsize") == 0:
            del values["fetchsize"]
        values["chose_fetchsize"] = "fetchsize" in values
        _check_relation(values)
        for name in ("dbtable", "query"):
            if name in values:
                values[name] = _one_statement(name, values[name], url.dialect)
        _write_for_database(values, url.dialect)
        if "predicates" in values:
            values["predicates"] = tuple(
                _one_condition("predicates", one, url.dialect) for one in values["predicates"]
            )
        _check_partitioning(values)
        values.setdefault("connect_timeout", url.connect_timeout_s or 10.0)
        if url.path is None:
            values.setdefault("max_connections", 32)
        for name in ("user", "password"):
            if values.get(name) is None:
                values[name] = getattr(url, name)
        url = replace(
            url,
            user=values["user"],
            password=values["password"],
            connect_timeout_s=values["connect_timeout"],
        )
        return cls(url=url, driver_properties=url.props, **values)

    @property
    def dialect(self) -> str:
        """Name of the database, e.g. ``postgresql``."""
        return self.url.dialect

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold; for `redact`."""
        return self.url.secrets

    @property
    def unspoken(self) -> tuple[str, ...]:
        """What no error may quote: secrets, and texts in ``sessionInitStatement``, such as keys."""
        literals = re.findall(r"'((?:[^']|'')+)'", self.session_init_statement or "")
        return (*self.secrets, *literals)

    @property
    def relation(self) -> str:
        """SQL text to put after FROM."""
        if self.pages is not None:
            return str(self.pages["table"])
        # On a line of its own, since the query may end in a comment.
        return self.dbtable or f"({self.query}\n) {QUERY_ALIAS}"


def option_reference() -> list[tuple[str, str, str]]:
    """Return name, default and description of every option, for the documentation."""
    return [
        (one.metadata["name"], one.metadata["default"], one.metadata["description"])
        for one in _named_fields().values()
    ]


def _named_fields() -> dict[str, Any]:
    return {one.metadata["name"].lower(): one for one in fields(JDBCOptions) if one.metadata}


def _by_lower_key(raw: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    given: dict[str, tuple[str, str]] = {}
    for key, text in raw.items():
        if not isinstance(text, str):
            raise OptionError(
                str(key), f"must be text, got {type(text).__name__}", "write it in quotes"
            )
        if key.lower() in given:
            raise OptionError(key, f"is also given as {given[key.lower()][0]!r}", "give it once")
        given[key.lower()] = (key, text)
    return given


def _relevant(given: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Refuse what this version cannot do; warn of what is ignored, and leave it out."""
    for name in _WRITING:
        if name.lower() in given:
            raise OptionError(
                given[name.lower()][0],
                "is for writing, and writing is out of scope",
                "leave it out, and write with the database's own tools",
            )
    for name, why in _IGNORED.items():
        if name.lower() in given:
            _warn(given[name.lower()][0], why)
    left_out = {name.lower() for name in (*_IGNORED, *_DROPPED)}
    return {key: item for key, item in given.items() if key not in left_out}


def _warn(name: str, why: str) -> None:
    # The level of whoever called JDBCOptions.parse.
    warnings.warn(f"option {name!r} is ignored: {why}", JDBCWarning, stacklevel=4)


def _parse_url(text: str, extra: Iterable[tuple[str, str]]) -> JDBCUrl:
    """Parse the URL together with the driver properties that are given beside it."""
    url = parse_url(text)
    known = PROPERTIES.get(url.dialect, DriverProperties(frozenset(), frozenset()))
    passed = {name.lower() for name in known.passed}
    ignored = {name.lower() for name in known.ignored}
    beside = {}
    for key, value in extra:
        if key.lower() in passed:
            beside[key] = value
        elif key.lower() in ignored:
            _warn(key, _TUNING)
        else:
            raise OptionError(key, "is not an option of jdbc", _nearest(key, known.passed))
    url = parse_url(text, beside) if beside else url
    for name, value in url.props.items():
        if name.lower() in ignored and (name, value) != ("mode", "ro"):
            _warn(name, _TUNING)
        elif name.lower() not in passed | ignored and known.passed:
            raise _unknown_property(name, known, url)
    if url.socket_timeout_s is not None:
        _warn("socketTimeout", "queryTimeout is what ends a slow query")
    if url.timezone is not None:
        _warn("serverTimezone", "a TIMESTAMP is read as the instant that it is, in UTC")
    return replace(url, props={k: v for k, v in url.props.items() if k.lower() not in ignored})


def _nearest(key: str, properties: Iterable[str]) -> str:
    names = {one.metadata["name"] for one in _named_fields().values()} | set(properties)
    folded = {name.lower(): name for name in names}
    close = difflib.get_close_matches(key.lower(), folded, n=1)
    return f"did you mean {folded[close[0]]!r}?" if close else "leave it out"


def _unknown_property(name: str, known: DriverProperties, url: JDBCUrl) -> OptionError:
    folded = {one.lower(): one for one in known.passed}
    close = difflib.get_close_matches(name.lower(), folded, n=1)
    if close:
        fix = f"did you mean {folded[close[0]]!r}?"
        return UrlError("unknown_property", f"has an unknown property {name!r}", fix)
    if url.password is None:
        return UrlError("unknown_property", f"has an unknown property {name!r}", "leave it out")
    # The name may be the tail of a password that has a bare & in it.
    return UrlError(
        "unknown_property",
        "has an unknown property",
        "leave it out, or write %26 for a & in a password",
    )


def _check_relation(values: Mapping[str, Any]) -> None:
    given = [name for name in ("dbtable", "query", "table") if name in values]
    if len(given) > 1:
        raise OptionError(given[0], f"and {given[1]!r} are both given", "give one of the two")
    if not given:
        raise OptionError("dbtable", "or 'query' is required", "write e.g. 'public.orders'")
    if "params" in values and "query" not in values:
        raise OptionError("params", "goes with 'query' alone", "write a SELECT as the query")


def _write_for_database(values: dict[str, Any], name: str) -> None:
    """Write what only the dialect can: a table's name becomes dbtable, values go into query."""
    if "table" not in values and "params" not in values:
        return
    from .dialects import dialect_for  # not above, since dialects take options

    dialect = dialect_for(name)
    if "params" in values:
        values["query"] = bind(values["query"], values["params"], dialect)
    else:
        parts = name_parts(values["table"])
        if parts is None:
            raise OptionError(
                "table",
                f"must be a name, got {values['table']!r}",
                """write e.g. 'orders', 'sales.orders', or '"odd.name"' in quotes""",
            )
        values["dbtable"] = ".".join(map(dialect.quote, parts))


_GROUP = {
    "partition_column": "partitionColumn",
    "lower_bound": "lowerBound",
    "upper_bound": "upperBound",
    "num_partitions": "numPartitions",
    "target_partition_bytes": "targetPartitionBytes",
    "partitioning": "partitioning",
}
_BOUNDS = ("lowerBound", "upperBound")
_COUNTS = ("numPartitions", "targetPartitionBytes")


def _check_partitioning(values: Mapping[str, Any]) -> None:
    given = {name: values[key] for key, name in _GROUP.items() if key in values}
    if "predicates" in values:
        _check_predicates(given, len(values["predicates"]))
        return
    if "divisions" in values:
        _check_divisions(given)
        return
    if all(name in given for name in _COUNTS):
        raise OptionError(
            "targetPartitionBytes", "and 'numPartitions' are both given", "give one of the two"
        )
    kind = given.get("partitioning")
    bounded = [name for name in _BOUNDS if name in given]
    if kind == "auto" and bounded:
        raise OptionError(
            bounded[0], "cannot go with partitioning 'auto'", "leave out one of the two"
        )
    if kind == "physical":
        _check_physical(given, values.get("snapshot", False))
    needed: list[str] = []
    if bounded or kind == "range":
        needed = ["partitionColumn", *_BOUNDS]
    missing = [name for name in needed if name not in given]
    if given and not any(name in given for name in _COUNTS):
        missing.append("numPartitions")
    if missing:
        raise OptionError(
            next(iter(given)),
            f"needs {', '.join(map(repr, missing))} beside it",
            "give partitionColumn, lowerBound, upperBound and numPartitions, or none of the bounds"
            " to have the cuts found",
        )


def _check_physical(given: Mapping[str, Any], snapshot: bool) -> None:
    if others := [name for name in ("partitionColumn", *_BOUNDS) if name in given]:
        raise OptionError(
            others[0],
            "cannot go with partitioning 'physical', which cuts no column",
            "leave out one of the two",
        )
    if not snapshot:
        raise OptionError(
            "partitioning",
            "is 'physical', which needs 'snapshot': an UPDATE moves its row to another page",
            "write snapshot 'true' beside it, or partitioning 'auto'",
        )


def _check_divisions(given: Mapping[str, Any]) -> None:
    if "partitionColumn" not in given:
        raise OptionError("divisions", "needs 'partitionColumn' beside it", "name their column")
    if others := [name for name in given if name != "partitionColumn"]:
        raise OptionError("divisions", f"cannot go with {others[0]!r}", "give one of the two")


def _check_predicates(given: Mapping[str, Any], count: int) -> None:
    others = [name for name in given if name != "numPartitions"]
    if others:
        raise OptionError("predicates", f"cannot go with {others[0]!r}", "give one of the two")
    if given.get("numPartitions", count) != count:
        raise OptionError(
            "numPartitions",
            f"is {given['numPartitions']} but there are {count} predicates",
            "leave it out; each predicate is one partition",
        )


def _one_statement(name: str, text: str, dialect: str) -> str:
    """Return one statement without the semicolons, comments and white space after it.

    Two statements are refused where it is certain that they are two.
    """
    # Whether a backslash escapes a quote depends on a setting of the session. A reading that ends
    # within quotes is not the one that was meant.
    readings = {_read_statement(text, dialect, escapes=escapes) for escapes in (False, True)} - {
        None
    }
    # Oracle's q'[...]' may quote anything.
    if len(readings) != 1 or dialect == "oracle":
        return text.lstrip().rstrip("; \t\r\n")
    end, many = readings.pop() or (0, False)
    if not end:
        raise OptionError(name, "holds no SQL", "write a table or a SELECT")
    if many:
        raise OptionError(name, "holds more than one statement", "write one, without ';'")
    return text[:end].strip()


def _one_condition(name: str, text: str, dialect: str) -> str:
    """Return one condition like `_one_statement`; it must close each bracket that it opens.

    ``a) OR (b`` would take apart the brackets that keep it from the conditions beside it.
    """
    condition = _one_statement(name, text, dialect)
    balanced = [_is_balanced(condition, dialect, escapes=escapes) for escapes in (False, True)]
    if dialect != "oracle" and not any(balanced):
        raise OptionError(
            name,
            f"holds a condition whose brackets do not match, {condition!r:.100}",
            "write conditions that stand alone, such as 'a = 1 OR b = 2'",
        )
    return condition


def _is_balanced(text: str, dialect: str, *, escapes: bool) -> bool:
    depth, start = 0, 0
    for _, stop in tokens(text, dialect, escapes=escapes):
        depth += {"(": 1, ")": -1}.get(text[start:stop], 0)
        start = stop
        if depth < 0:
            return False
    return depth == 0


def _read_statement(text: str, dialect: str, *, escapes: bool) -> tuple[int, bool] | None:
    """Return where the last statement ends and whether there are others.

    None if quotes are left open.
    """
    end, semicolon, many = 0, False, False
    for kind, stop in tokens(text, dialect, escapes=escapes):
        if kind == "open":
            return None
        if kind == "semicolon":
            semicolon = True
        elif kind != "space":
            many = many or semicolon
            end = stop
    return end, many
