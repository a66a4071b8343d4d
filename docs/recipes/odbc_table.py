"""A table of any database with an ODBC driver, each value as the text that the database makes.

Needs ``pip install arrow-odbc``, unixODBC and the driver. ODBC drivers convert in silence: whole
numbers wrap around, decimals lose digits, infinity becomes the year 9999, text in a column of
numbers becomes null. So no driver converts anything here: the database casts to text, and text that
does not become the column's type exactly is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import arrow_odbc
import pyarrow as pa

from dask_sail import Predicate, Scan

ROWS_PER_BATCH = 5_000
BYTES_PER_BATCH = 4 * 2**20  # fewer rows, where they might be wider
COMPARE = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


class OdbcError(Exception):
    """The database, its driver or the driver manager refused."""

    explains_itself = True

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message, transient)
        self.transient = transient  # dask_sail reads the partition again

    def __str__(self) -> str:
        return str(self.args[0])


class OdbcTable:
    """One table, to be told by a subclass; a partition is a range of its key.

    Options: ``connection``, such as ``Driver=PostgreSQL Unicode;Server=db;Database=shop``, without
    user and password; ``user``; ``password``; ``partitions`` (4); ``maxText``, the bytes that the
    longest text takes (4000); ``seconds`` that a statement may take (300).

    Attributes
    ----------
    table, key
        As in SQL. The key is a whole number.
    columns
        By the name of each column, its type, and the SQL that gives its text: never shortened, with
        all digits, and a ``Z`` after times that have a zone.
    """

    table = "orders"
    key = "id"
    columns: Mapping[str, tuple[pa.DataType, str]] = {}

    def option_names(self) -> tuple[str, ...]:
        return "connection", "user", "password", "partitions", "maxText", "seconds"

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return pa.schema([(name, kind) for name, (kind, _) in self.columns.items()])

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, int | None]]:
        count = whole(options, "partitions", 4)
        ends = [f"CAST({function}({self.key}) AS VARCHAR(40))" for function in ("MIN", "MAX")]
        sql = f"SELECT {ends[0]} AS low, {ends[1]} AS high FROM {self.table}"  # noqa: S608 - the class's own
        (found,) = (
            row for batch in rows(sql, ["low", "high"], options) for row in batch.to_pylist()
        )
        if found["low"] is None:
            return [{"first": None, "before": None}]
        low, high = int(found["low"]), int(found["high"])
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
        on_key = [p for p in self.accepted(scan) if p.column == self.key]
        kept = [spec for spec in specs if all(may_match(spec, p) for p in on_key)]
        return kept, self.accepted(scan)

    def scan_partition(
        self, spec: dict[str, int | None], options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        texts = {name: self.columns[name][1] for name in scan.columns}
        # A count needs rows, if no columns.
        selected = [f'{sql} AS "{name}"' for name, sql in texts.items()] or ["'' AS one"]
        where = [*in_range(self.key, spec), *(condition(p) for p in self.accepted(scan))]
        sql = f"SELECT {', '.join(selected)} FROM {self.table}"  # noqa: S608 - numbers, the class's own
        sql += f" WHERE {' AND '.join(where)}" if where else ""
        for batch in rows(sql, list(texts) or ["one"], options):
            columns = [typed(batch[name], self.columns[name][0]) for name in texts]
            fields = [(name, column.type) for name, column in zip(texts, columns, strict=True)]
            if not texts:
                columns, fields = batch.columns, [("one", pa.string())]
            yield pa.record_batch(columns, pa.schema(fields)).select(list(texts))

    def accepted(self, scan: Scan) -> list[Predicate]:
        """Return the conditions that every database means as Arrow does.

        Not those on text, which collations compare; nor on decimals and times, which some databases
        keep as something else; nor on what is more than a column of the table.
        """
        return [
            p
            for p in scan.predicates
            if is_plain(p.column, self.columns[p.column][1])
            and (
                p.op in ("is null", "not null")
                or (p.op in COMPARE and pa.types.is_integer(scan.schema.field(p.column).type))
            )
        ]


def is_plain(name: str, sql: str) -> bool:
    """Whether a column is one of the table by its name, cast at most.

    SQLite takes the name of a column that it does not have, in quotes, for a text.
    """
    column = f'(?:{re.escape(name)}|"{re.escape(name)}")'
    return re.fullmatch(rf"{column}|CAST\({column} AS [\w() ]+\)", sql, re.IGNORECASE) is not None


def typed(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Parse what dask_sail does not; the rest it makes of text itself, exactly or with an error."""
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return texts.cast(kind)
    return texts


def condition(predicate: Predicate) -> str:
    name = f'"{predicate.column}"'
    if predicate.op in COMPARE:
        return f"{name} {COMPARE[predicate.op]} {int(predicate.value)}"
    return f"{name} IS NULL" if predicate.op == "is null" else f"{name} IS NOT NULL"


def in_range(key: str, spec: Mapping[str, int | None]) -> list[str]:
    first, before = spec["first"], spec["before"]
    lower = [] if first is None else [f"{key} >= {int(first)}"]
    upper = [] if before is None else [f"{key} < {int(before)}"]
    if before is None and lower:  # a key that is null is of the last range
        return [f"({lower[0]} OR {key} IS NULL)"]
    return lower + upper


def may_match(spec: Mapping[str, int | None], predicate: Predicate) -> bool:
    """Whether a range can hold rows for which a condition on the key holds."""
    first, before = spec["first"], spec["before"]
    if predicate.op in ("==", "<", "<=") and first is not None and predicate.value < first:
        return False
    is_above = predicate.op in ("==", ">", ">=") and before is not None
    return not (is_above and predicate.value >= before)


def rows(sql: str, names: Sequence[str], options: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """Run a query whose columns are all text; yields batches as they are fetched."""
    connection = connection_string(options)
    size, seconds = whole(options, "maxText", 4000), whole(options, "seconds", 300)
    try:
        yield from arrow_odbc.read_arrow_batches_from_odbc(
            sql,
            connection,
            batch_size=ROWS_PER_BATCH,
            max_bytes_per_batch=BYTES_PER_BATCH,
            max_text_size=size,
            query_timeout_sec=seconds,
            # Always all of it: what arrow-odbc infers is float32 for doubles, int32 for int64.
            schema=pa.schema([(name, pa.string()) for name in names]),
            fetch_concurrently=False,  # which would keep two batches
        )
        return
    except arrow_odbc.Error as error:
        text = str(error).strip()
    state = re.search(r"State: (\w{5})", text)
    code = state[1] if state else ""
    # 08001 is "no connection", for which a wrong password is a reason too: it is not tried again.
    passes = code[:2] in ("08", "40") or code in ("57P01", "HYT00", "HYT01")
    if "without truncation" in text:
        text = f"a text is longer than the option 'maxText' allows, {size} bytes; raise it"
    raise OdbcError(text, transient=passes and "password" not in text.lower())


def connection_string(options: Mapping[str, str]) -> str:
    text = (options.get("connection") or "").rstrip("; ")
    if "=" not in text:
        raise ValueError(
            "option 'connection' must be an ODBC connection string; write e.g. 'DSN=shop'"
        )
    if re.search(r"(^|;)\s*(pwd|password|uid)\s*=", text, re.IGNORECASE):
        raise ValueError("option 'connection' must not log in; give 'user' and 'password'")
    # Not as arrow-odbc's own arguments: it puts braces around the user, which psqlodbc keeps.
    if user := options.get("user"):
        if re.search("[;{}]", user):
            raise ValueError("option 'user' must not have ; { or }")
        text += f";UID={user}"
    if password := options.get("password"):
        text += ";PWD={" + password.replace("}", "}}") + "}"
    return text


def whole(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 10**8:
        raise ValueError(f"option {name!r} must be a number from 1 up, got {text!r}; write e.g. 8")
    return int(text)


class Orders(OdbcTable):
    """The table of this example, in PostgreSQL."""

    columns: Mapping[str, tuple[pa.DataType, str]] = {
        "id": (pa.int64(), "CAST(id AS VARCHAR(40))"),
        "customer": (pa.string(), "customer"),
        "amount": (pa.decimal128(12, 2), "CAST(amount AS VARCHAR(100))"),
        "weight": (pa.float64(), "CAST(weight AS VARCHAR(40))"),
        # A Z, as AT TIME ZONE gives the time of UTC without its name.
        "placed": (
            pa.timestamp("us", "UTC"),
            "CAST(placed AT TIME ZONE 'UTC' AS VARCHAR(40)) || 'Z'",
        ),
    }


class SQLiteOrders(OdbcTable):
    """The same in SQLite, whose columns hold what was put in: text, of times and decimals."""

    columns: Mapping[str, tuple[pa.DataType, str]] = {
        **Orders.columns,
        # A cast leaves the last digits away, and printf makes 0.0 of what is no number.
        "weight": (
            pa.float64(),
            "CASE typeof(weight) WHEN 'real' THEN printf('%!.17g', weight) ELSE weight END",
        ),
        # Bytes as they are, which must be UTF-8; of a BLOB the driver would give hex digits.
        "customer": (pa.string(), "CAST(customer AS TEXT)"),
        "placed": (pa.timestamp("us", "UTC"), "placed"),
    }
