"""A table of a database that speaks Arrow Flight SQL, such as Lakesail, Dremio, Doris or InfluxDB.

Needs ``pip install adbc-driver-flightsql``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from adbc_driver_flightsql import DatabaseOptions, dbapi
from adbc_driver_manager import AdbcStatusCode, Error

from dask_sail import Predicate, Scan

COMPARE = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
AGAIN = (AdbcStatusCode.IO, AdbcStatusCode.TIMEOUT, AdbcStatusCode.CANCELLED)


class FlightSQLError(Exception):
    """The database refused, or broke off."""

    explains_itself = True

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message, transient)
        self.transient = transient  # dask_sail reads the partition again

    def __str__(self) -> str:
        return str(self.args[0])


class FlightSQLTable:
    """A table; with a key, a partition is a range of it.

    Options: ``uri``, such as ``grpc+tls://db.example.com:443``; ``table``, as in SQL; ``token``;
    ``key``, a column of whole numbers, and ``partitions`` (4); ``quote`` around names, ``"`` or a
    backtick; ``seconds`` that a call may take (300).
    """

    def __init__(self) -> None:
        self._cursor: Any = None
        self._is_cancelled = False

    def option_names(self) -> tuple[str, ...]:
        return "uri", "table", "token", "key", "partitions", "quote", "seconds"

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        # Asked for without rows: not every server answers GetSchema, or prepares statements.
        with results(f"SELECT * FROM {table(options)} WHERE 1 = 0", options) as reader:  # noqa: S608 - the user names the table
            # Some say "not null" of columns that have nulls.
            return pa.schema([field.with_nullable(True) for field in reader.schema])

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, int | None]]:
        count = whole(options, "partitions", 4)
        everything: dict[str, int | None] = {"first": None, "before": None}
        if not options.get("key"):
            return [everything]
        key = column(options["key"], options)
        sql = f"SELECT MIN({key}) AS low, MAX({key}) AS high FROM {table(options)} AS t"  # noqa: S608 - the user names the table
        with results(sql, options) as reader:
            (found,) = reader.read_all().to_pylist()
        low, high = found["low"], found["high"]
        if low is None:
            return [everything]
        if type(low) is not int:
            raise ValueError(f"option 'key' must name a column of whole numbers, got {low!r} in it")
        count = min(count, high - low + 1)
        cuts = [low + (high - low + 1) * n // count for n in range(1, count)]
        # Open at both ends, for rows that come meanwhile.
        return [
            {"first": first, "before": before}
            for first, before in zip([None, *cuts], [*cuts, None], strict=True)
        ]

    def read_partition(
        self, spec: dict[str, int | None], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        schema = self.infer_schema(options)
        return self.scan_partition(spec, options, Scan(schema, tuple(schema.names)))

    def plan_scan(
        self, specs: Sequence[dict[str, int | None]], options: dict[str, str], scan: Scan
    ) -> tuple[list[dict[str, int | None]], list[Predicate]]:
        on_key = [p for p in accepted(scan) if p.column == options.get("key")]
        kept = [spec for spec in specs if all(may_match(spec, p) for p in on_key)]
        return kept, accepted(scan)

    def scan_partition(
        self, spec: dict[str, int | None], options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        with results(query(spec, options, scan), options, self) as reader:
            for batch in reader:
                yield batch.select(list(scan.columns))

    def describe_partition(
        self, spec: dict[str, int | None], options: dict[str, str], scan: Scan
    ) -> dict[str, str]:
        return {"sql": query(spec, options, scan)}

    def cancel(self) -> None:
        self._is_cancelled = True
        if self._cursor is not None:
            self._cursor.adbc_cancel()

    def begin(self, cursor: Any) -> None:
        self._cursor = cursor
        if self._is_cancelled:
            raise FlightSQLError("the read was cancelled")


def accepted(scan: Scan) -> list[Predicate]:
    """Return the conditions that every database means as Arrow does.

    Not those on text, which collations compare; nor on floats, decimals and times, which databases
    round, cast and order in ways of their own.
    """
    return [
        p
        for p in scan.predicates
        if p.op in ("is null", "not null")
        or (p.op in COMPARE and pa.types.is_integer(scan.schema.field(p.column).type))
    ]


def query(spec: Mapping[str, int | None], options: Mapping[str, str], scan: Scan) -> str:
    """Return the SQL of a partition; of values there are whole numbers alone, nothing to quote."""
    selected = ", ".join(column(name, options) for name in scan.columns) or "1 AS one"
    where = [condition(p, options) for p in accepted(scan)]
    if spec["first"] is not None or spec["before"] is not None:
        where += in_range(column(options["key"], options), spec)
    sql = f"SELECT {selected} FROM {table(options)} AS t"  # noqa: S608 - names are quoted, values numbers
    sql += f" WHERE {' AND '.join(where)}" if where else ""
    return sql if scan.limit is None else f"{sql} LIMIT {scan.limit}"


def table(options: Mapping[str, str]) -> str:
    if not options.get("table"):
        raise ValueError("option 'table' must name a table, got ''; write e.g. 'orders'")
    return options["table"]


def column(name: str, options: Mapping[str, str]) -> str:
    """Quote a name. With its table: in Spark's SQL "id" alone is a text, and t."id" an error."""
    quote = options.get("quote") or '"'
    if quote not in ('"', "`"):
        raise ValueError(f"option 'quote' must be \" or `, got {quote!r}")
    return f"t.{quote}{name.replace(quote, quote * 2)}{quote}"


def condition(predicate: Predicate, options: Mapping[str, str]) -> str:
    name = column(predicate.column, options)
    if predicate.op in COMPARE:
        return f"{name} {COMPARE[predicate.op]} {int(predicate.value)}"
    return f"{name} IS NULL" if predicate.op == "is null" else f"{name} IS NOT NULL"


def in_range(key: str, spec: Mapping[str, int | None]) -> list[str]:
    first, before = spec["first"], spec["before"]
    lower = [] if first is None else [f"{key} >= {int(first)}"]
    upper = [] if before is None else [f"{key} < {int(before)}"]
    if before is None:  # a key that is null is of the last range
        return [f"({lower[0]} OR {key} IS NULL)"]
    return lower + upper


def may_match(spec: Mapping[str, int | None], predicate: Predicate) -> bool:
    """Whether a range can hold rows for which a condition on the key holds."""
    first, before = spec["first"], spec["before"]
    if predicate.op in ("==", "<", "<=") and first is not None and predicate.value < first:
        return False
    is_above = predicate.op in ("==", ">", ">=") and before is not None
    return not (is_above and predicate.value >= before)


@contextmanager
def results(
    sql: str, options: Mapping[str, str], source: FlightSQLTable | None = None
) -> Iterator[pa.RecordBatchReader]:
    """Run a query; gives its batches as they come. The driver's errors become ours."""
    uri = options.get("uri") or ""
    if not uri.startswith(("grpc://", "grpc+tls://", "grpc+tcp://")):
        raise ValueError("option 'uri' must be one of Flight; write e.g. 'grpc+tls://host:443'")
    seconds = str(float(whole(options, "seconds", 300)))
    given = {
        DatabaseOptions.TIMEOUT_QUERY.value: seconds,
        DatabaseOptions.TIMEOUT_FETCH.value: seconds,
    }
    if "token" in options:
        given[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {options['token']}"
    try:
        with (
            dbapi.connect(uri, db_kwargs=given, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            if source is not None:
                source.begin(cursor)
            cursor.execute(sql)
            with cursor.fetch_record_batch() as reader:
                yield reader
            return
    except Error as error:
        told, passes = str(error), error.status_code in AGAIN
    except (OSError, pa.ArrowException) as error:  # what the stream raises
        told, passes = str(error), isinstance(error, OSError)
    raise FlightSQLError(f"{uri.partition('?')[0]}: {told}", transient=passes)


def whole(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 10**6:
        raise ValueError(f"option {name!r} must be a number from 1 up, got {text!r}; write e.g. 8")
    return int(text)
