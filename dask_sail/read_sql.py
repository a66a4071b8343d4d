"""Databases under the names that pandas and Dask users know."""

from __future__ import annotations

import datetime
import decimal
import inspect
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
from dask.dataframe import DataFrame

from .errors import DivisionError, OptionError, SourceCallError
from .read import read_python_source

__all__ = ["read_sql"]


def read_sql(
    sql: str,
    con: Any,
    index_col: str | None = None,
    npartitions: int | None = None,
    divisions: Sequence[Any] | None = None,
    columns: Sequence[str] | None = None,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    schema: str | None = None,
    filters: Sequence[Any] | None = None,
    plan_on: str = "client",
    **options: Any,
) -> DataFrame:
    """Read a table or a query of a database into a Dask DataFrame whose columns are Arrow arrays.

    Parameters
    ----------
    sql
        A SELECT (or WITH, VALUES, TABLE), or a table's name, ``"orders"`` or ``"sales.orders"``. A
        name is quoted for you, so it is spelt as the database has it, capitals and blanks included;
        one with a dot in it stands in double quotes.
    con
        A URL as SQLAlchemy or JDBC has it, a reference such as ``"{env:DATABASE_URL}"``, or an
        engine, connection or URL of SQLAlchemy, of which the address counts. A reference in place
        of a SQLAlchemy URL's user or password stands for the value as it is, not percent-encoded.
    index_col
        Column that becomes the index.
    npartitions
        How many partitions to aim for. With ``index_col`` the divisions are known, its least and
        greatest value being asked from the database.
    divisions
        ``n + 1`` ascending values of ``index_col``, for n partitions; the last is included.
    columns
        Names to read, in this order; all by default.
    params
        Values for the places of a SELECT, which become literals of the database: by name for
        ``:name`` or ``%(name)s``, or in order for ``?`` or ``%s``. str, bytes, bool, int, float,
        Decimal, date, datetime, time, None, or a list of them for IN. Not for secrets: they are
        shown.
    schema
        The table's schema in the database, as in `dask.dataframe.read_sql_table`.
    filters, plan_on
        As in `read_python_source`.
    **options
        Further options of the ``jdbc`` source by their own names, say ``fetchsize`` or ``engine``.

    Returns
    -------
    dask.dataframe.DataFrame
        Lazy, with ArrowDtype columns.

    Raises
    ------
    DivisionError
        If a row's index is null, or outside the divisions: no row is left out.
    OptionError
        If an argument is malformed or contradicts another one.
    SourceCallError
        If the database cannot be reached, or refuses the query.

    Examples
    --------
    >>> import sqlite3, tempfile, dask_sail
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = f"{folder.name}/shop.db"
    >>> with sqlite3.connect(file) as db:
    ...     _ = db.execute("CREATE TABLE stock (id INTEGER PRIMARY KEY, item TEXT)")
    ...     _ = db.executemany("INSERT INTO stock VALUES (?, ?)", enumerate("abcdef"))
    >>> stock = dask_sail.read_sql("stock", f"sqlite:///{file}", "id", divisions=[0, 3, 5])
    >>> stock.divisions, stock.loc[4].item.compute().tolist()
    ((0, 3, 5), ['e'])
    >>> query = "SELECT count(*) AS n FROM stock WHERE item IN :items"
    >>> n = dask_sail.read_sql(query, f"sqlite:///{file}", params={"items": ["a", "f", "'"]})
    >>> n.compute().n.tolist()
    [2]
    """
    _check_names(options)
    given: dict[str, Any] = {
        **_address(con, options),
        **_relation(sql, schema),
        "params": None if params is None else _params_text(params),
        **_cuts(index_col, npartitions, divisions),
    }
    _check_not_repeated(given, options)
    try:
        return read_python_source(
            "jdbc",
            options={**given, **options},
            columns=_without(columns, index_col),
            filters=filters,
            index=index_col,
            plan_on=plan_on,
        )
    except SourceCallError as error:
        if error.error_type != "jdbc.errors.DivisionError":
            raise
        outside = DivisionError(error.source, None, str(error.args[2]))
    raise outside


def _without(columns: Sequence[str] | None, index_col: str | None) -> Sequence[str] | None:
    if columns is None or isinstance(columns, str):
        return columns
    return [name for name in columns if name != index_col]


_ELSEWHERE = {
    "limits": "write lowerBound= and upperBound=",
    "bytes_per_chunk": "write targetPartitionBytes=",
    "chunksize": "write npartitions=, or fetchsize= for the rows of a batch",
    "head_rows": "leave it out: the database tells the types",
    "meta": "leave it out: the database tells the types; customSchema= changes them",
    "dtype": "write customSchema=, e.g. 'price DECIMAL(10, 2)'",
    "dtype_backend": "leave it out: columns are Arrow arrays",
    "parse_dates": "leave it out: columns keep the database's types; customSchema= changes them",
    "coerce_float": "leave it out: decimals stay decimals",
    "engine_kwargs": "write driver properties as arguments, or in the URL",
    "table_name": "write it as the first argument",
}
"""What to write in place of arguments that pandas' and Dask's functions have besides."""


def _check_names(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _ELSEWHERE:
            raise OptionError(name, "is no argument of read_sql", _ELSEWHERE[name])


_ARGUMENTS = {"url": "con", "dbtable": "sql", "query": "sql", "table": "sql"}
_CUTS = {"partitioncolumn": "index_col", "numpartitions": "npartitions"}


def _check_not_repeated(given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    told = _ARGUMENTS | {name.lower(): _CUTS.get(name.lower(), "an argument") for name in given}
    for name in options:
        if (argument := told.get(name.lower())) is not None:
            argument = _ARGUMENTS.get(name.lower(), argument)
            raise OptionError(name, f"is what {argument} of read_sql says", "leave it out")


# ------------------------------------------------------------------------------- the address

_LOGIN = re.compile(
    r"""(?P<scheme>[\w+]+://) (?P<user>[^:/?#@]*) (?: :(?P<password>.*?) )?
    @(?= [^/?#@]* (?:[/?#]|$) )""",
    re.VERBOSE | re.DOTALL,
)
"""User and password of a URL, as SQLAlchemy understands it: what is special need not be encoded."""


def _address(con: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that say where the database is, the password as one of its own.

    There it is known to be secret, whatever it looks like.
    """
    text = con if isinstance(con, str) else _sqlalchemy_url(con)
    if not text.strip():
        raise OptionError("con", "is blank", "write e.g. 'postgresql://host/database'")
    found = _LOGIN.match(text)
    if found is None:
        return {"url": text}
    named = {name.lower() for name, value in options.items() if value is not None}
    login = {
        name: unquote(found[name])
        for name in ("user", "password")
        if found[name] and name not in named
    }
    return {"url": found["scheme"] + text[found.end() :], **login}


def _sqlalchemy_url(con: Any) -> str:
    """Return the URL of an engine, connection or URL of SQLAlchemy, with its password."""
    engine = getattr(con, "engine", con)  # that of a connection; an engine is its own
    engine = getattr(engine, "sync_engine", engine)
    url = getattr(engine, "url", con)
    if not type(url).__module__.startswith("sqlalchemy."):
        kind = f"{type(con).__module__}.{type(con).__qualname__}".removeprefix("builtins.")
        raise OptionError(
            "con",
            f"must be a URL, got a {kind}, which workers cannot share",
            "write e.g. 'postgresql://host/database' or 'sqlite:///file.db'",
        )
    if url is not con:
        _check_engine(engine)
    return str(url.render_as_string(hide_password=False))


def _check_engine(engine: Any) -> None:
    """Refuse an engine that connects in a way that its URL does not tell: it may see other data."""
    creator = getattr(engine.pool, "_creator", None)
    closure = inspect.getclosurevars(creator).nonlocals if inspect.isfunction(creator) else {}
    if "cparams" not in closure:
        raise OptionError("con", "is an engine made with creator=", "write the database's URL")
    _, told = engine.dialect.create_connect_args(engine.url)
    if untold := [name for name, value in closure["cparams"].items() if told.get(name) != value]:
        raise OptionError(
            "con",
            f"is an engine made with connect_args, which its URL does not tell: {untold}",
            "write the URL, and what connect_args say as driver properties in it",
        )


# ------------------------------------------------------------------------- the table or query

_BLANK = r"\s | --[^\n]*(?:\n|$) | /\*.*?\*/"
# A table may well be called "values" or "select": a query goes on.
_SELECT = re.compile(
    rf"(?:{_BLANK} | \()* (?:SELECT | WITH | VALUES | TABLE)(?![\w$]) (?:{_BLANK})* [^\s.;]",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def _relation(sql: Any, schema: str | None) -> dict[str, str]:
    if not isinstance(sql, str):
        raise OptionError(
            "sql",
            f"must be a table's name or a SELECT as text, got a {type(sql).__qualname__}",
            "write the text of a SQLAlchemy query, with params for its values",
        )
    if not sql.strip():
        raise OptionError("sql", "is blank", "write a table's name or a SELECT")
    if _SELECT.match(sql):
        if schema is not None:
            raise OptionError("schema", "is for a table's name", "write it in the SELECT")
        return {"query": sql}
    if schema is None:
        return {"table": sql}
    quoted = schema.replace('"', '""')
    return {"table": f'"{quoted}".{sql}'}


def _cuts(
    index_col: str | None, npartitions: int | None, divisions: Sequence[Any] | None
) -> dict[str, Any]:
    """Return the options that cut the rows into partitions."""
    if index_col is not None and not isinstance(index_col, str):
        raise OptionError("index_col", f"must be one column, got {index_col!r:.80}", "name one")
    if divisions is None:
        cut = {} if npartitions is None else {"numPartitions": npartitions}
        return cut if index_col is None or not cut else {"partitionColumn": index_col, **cut}
    if npartitions is not None:
        raise OptionError("npartitions", "and divisions are both given", "give one of the two")
    if index_col is None:
        raise OptionError("divisions", "are those of an index", "give index_col as well")
    texts = json.dumps([_division(value) for value in divisions])
    return {"partitionColumn": index_col, "divisions": texts}


# ------------------------------------------------------------------------------- the values


def _division(value: Any) -> int | float | str:
    plain = _plain(value, "divisions", "a value")
    if isinstance(plain, bool | bytes | datetime.time | None):
        raise _refused(value, "divisions", "a value", "write numbers, texts, dates or timestamps")
    if isinstance(plain, datetime.datetime):
        return plain.isoformat(" ")
    return plain if isinstance(plain, int | float | str) else str(plain)


def _params_text(params: Any) -> str:
    """Return values as the text of the source's option of that name."""
    if isinstance(params, Mapping):
        typed: Any = {str(key): _typed(value, repr(key)) for key, value in params.items()}
    elif isinstance(params, list | tuple):
        typed = [_typed(value, f"value {i}") for i, value in enumerate(params, 1)]
    else:
        raise OptionError(
            "params",
            f"must be values by name or a list of values, got a {type(params).__qualname__}",
            "write e.g. {'country': 'DE'} for :country, or ['DE'] for ?",
        )
    # A value that looks like a reference is none, and no stranger may have one resolved.
    return re.sub(r"\{(?=\w)", r"\\u007b", json.dumps(typed))


def _typed(value: Any, which: str) -> Any:
    """Return a value as JSON of the source's option: what JSON lacks with the name of its type."""
    if isinstance(value, list | tuple | set | frozenset):
        return [_typed(item, which) for item in value]
    plain = _plain(value, "params", which)
    match plain:
        case decimal.Decimal():
            return {"decimal": str(plain)}
        case bytes():
            return {"binary": plain.hex()}
        case datetime.datetime():
            return {"timestamp": plain.isoformat()}
        case datetime.date():
            return {"date": plain.isoformat()}
        case datetime.time():
            return {"time": plain.isoformat()}
    return plain


_PLAIN = bool | str | bytes | datetime.date | datetime.time | None


def _plain(value: Any, name: str, which: str) -> Any:
    """Return a value as one of Python's own types, NumPy's and pandas' numbers and times too."""
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    elif isinstance(value, np.generic) and not isinstance(value, np.timedelta64):
        value = value.item()
    if value is pd.NaT or (isinstance(value, pd.Timestamp) and value.nanosecond):
        raise _refused(value, name, which, "round it to microseconds; None is NULL")
    if isinstance(value, _PLAIN | int):
        return value
    if isinstance(value, float | decimal.Decimal) and math.isfinite(value):
        return value
    fix = "write str, bytes, bool, int, float, Decimal, date, datetime, time or None"
    raise _refused(value, name, which, fix)


def _refused(value: Any, name: str, which: str, fix: str) -> OptionError:
    kind = type(value).__qualname__
    return OptionError(name, f"has as {which} a {kind} that has no plain value", fix)
