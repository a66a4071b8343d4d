"""Orders from a GraphQL API: relay cursors, columns as selected fields, filters as variables.

Needs ``pip install httpx``. What is particular to the API stands in the first part.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc

from dask_sail import Predicate, Scan

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("customer", pa.string()),
        ("amount", pa.decimal128(12, 2)),
        ("placed", pa.timestamp("us", "UTC")),
    ]
)
# The fields of the API. Its Int has 32 bits and its Float is a double: ask for ids and money as
# text, which is ID, String, or a scalar of the API's own.
FIELDS = {"id": "id", "customer": "customerName", "amount": "amount", "placed": "placedAt"}
NUMBERS = {pa.int64().id: r"-?\d+", pa.decimal128(1).id: r"-?\d+(\.\d+)?"}
QUERY = """
query Orders($first: Int!, $after: String, $from: DateTime!, $before: DateTime!,
             $customer: String) {
  orders(first: $first, after: $after, placedFrom: $from, placedBefore: $before,
         customer: $customer) {
    edges { node { %s } }
    pageInfo { hasNextPage endCursor }
  }
}
"""


def accepted(scan: Scan) -> list[Predicate]:
    """Return the conditions by which the API means what Arrow means: the customer, once."""
    return [p for p in scan.predicates if p.column == "customer" and p.op == "=="][:1]


class GraphQLError(Exception):
    """The API answered something that is no page of orders."""

    explains_itself = True

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message, transient)
        self.transient = transient  # dask_sail reads the partition again

    def __str__(self) -> str:
        return str(self.args[0])


class GraphQLOrders:
    """One partition per window of time in which orders were placed.

    Options: ``url``; ``since`` and ``until``, the first day and the day after the last, in UTC;
    ``days`` per partition (31); ``token``; ``pageSize`` (500).
    """

    def option_names(self) -> tuple[str, ...]:
        return "url", "since", "until", "days", "token", "pageSize"

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return SCHEMA

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, str]]:
        origin(options.get("url", ""))
        headers_of(options)
        whole(options, "pageSize", 500)
        day, until = (date(options, name) for name in ("since", "until"))
        if until <= day:
            raise ValueError(f"option 'until' must be after 'since', got '{until}' and '{day}'")
        step = dt.timedelta(whole(options, "days", 31))
        windows = []
        while day < until:
            end = min(day + step, until)
            windows.append({"from": f"{day}T00:00:00Z", "before": f"{end}T00:00:00Z"})
            day = end
        return windows

    def read_partition(
        self, spec: dict[str, str], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        return self.scan_partition(spec, options, Scan(SCHEMA, tuple(SCHEMA.names)))

    def plan_scan(
        self, specs: Sequence[dict[str, str]], options: dict[str, str], scan: Scan
    ) -> tuple[list[dict[str, str]], list[Predicate]]:
        kept = [spec for spec in specs if all(may_match(spec, p) for p in scan.predicates)]
        return kept, accepted(scan)

    def scan_partition(
        self, spec: dict[str, str], options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        names = scan.columns or ("id",)  # a count needs rows, if no columns
        size = whole(options, "pageSize", 500)
        variables = {**spec, "first": size if scan.limit is None else min(size, scan.limit)}
        variables |= {p.column: p.value for p in accepted(scan)}
        # Values travel as variables, never within the text: there is nothing to quote.
        text = QUERY % " ".join(FIELDS[name] for name in names)
        with httpx.Client(headers=headers_of(options), timeout=30, verify=certificates()) as client:
            for nodes in pages(client, options["url"], text, variables):
                arrays = [column(nodes, SCHEMA.field(name)) for name in names]
                found = checked_window(pa.record_batch(arrays, list(names)), spec)
                yield found.select(list(scan.columns))


class OfThisProcess(dict[str, Any]):
    """What a process makes once and keeps; it does not travel with the class to the workers."""

    def __reduce__(self) -> Any:
        return OfThisProcess, ()


KEPT = OfThisProcess()


def certificates() -> Any:
    """Return the certificates to trust, of which reading takes longer than many an answer."""
    return KEPT.get("tls") or KEPT.setdefault("tls", httpx.create_ssl_context())


def headers_of(options: Mapping[str, str]) -> dict[str, str]:
    token = options.get("token", "")
    if not token.isascii() or not token.isprintable():
        raise ValueError("option 'token' must be ASCII; is there a line break at its end?")
    return {"Authorization": f"Bearer {token}"} if token else {}


def pages(
    client: httpx.Client, url: str, text: str, variables: Mapping[str, Any]
) -> Iterator[list[dict[str, Any]]]:
    after: str | None = None
    seen: set[str | None] = {None}
    while True:
        body = {"query": text, "variables": {**variables, "after": after}}
        found = ask(client, url, body)["orders"]
        if found is None:
            raise GraphQLError(f"{origin(url)} gave null for 'orders', and no error")
        yield [edge["node"] for edge in found["edges"]]
        if not found["pageInfo"]["hasNextPage"]:
            return
        after = found["pageInfo"]["endCursor"]
        if after in seen:
            raise GraphQLError(f"{origin(url)} says that there is more, and gives no new cursor")
        seen.add(after)


def ask(client: httpx.Client, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    problem = ""
    try:
        answer = client.post(url, json=body)
    except httpx.RequestError as error:  # its request holds the token
        problem = type(error).__name__
    if problem:
        raise ConnectionError(f"{origin(url)} broke off: {problem}")
    told = f"{origin(url)} answered {answer.status_code} {answer.reason_phrase}"
    if answer.status_code in (401, 403):
        raise GraphQLError(f"{told}; check the option 'token'")
    if answer.status_code == 429 or answer.status_code >= 500:
        raise GraphQLError(told, transient=True)
    try:
        given = json.loads(answer.content, parse_float=Decimal)
    except ValueError:
        given = None
    if not isinstance(given, dict) or not (given.get("errors") or given.get("data")):
        raise GraphQLError(f"{told}, and no JSON object with 'data'")
    # With errors come also data: whatever could not be made is null in them.
    if errors := given.get("errors"):
        codes = {str((error.get("extensions") or {}).get("code")) for error in errors}
        messages = "; ".join(str(error.get("message")) for error in errors[:3])
        # A cursor that is no more is no hindrance to a read from the start.
        raise GraphQLError(f"{told}: {messages}", transient="CURSOR_EXPIRED" in codes)
    return given["data"]


def column(nodes: list[dict[str, Any]], field: pa.Field) -> pa.Array:
    """Make a column of texts, each checked."""
    if None in nodes:
        raise GraphQLError("an order is null, of which nothing is known")
    values = [node[FIELDS[field.name]] for node in nodes]
    for value in values:
        if value is not None and not isinstance(value, str):
            raise GraphQLError(
                f"{FIELDS[field.name]!r} came as {type(value).__name__}, which may have been "
                "rounded; have the API give it as text (ID or String)"
            )
        shape = NUMBERS.get(field.type.id)
        if value is not None and shape and not re.fullmatch(shape, value):
            raise GraphQLError(f"{FIELDS[field.name]!r} is {value!r}, which is no such number")
    if pa.types.is_decimal(field.type):
        decimals = [None if value is None else Decimal(value) for value in values]
        return pa.array(decimals, field.type)  # refuses to round, as a cast does not
    return pa.array(values, pa.string()).cast(field.type)


def window(spec: Mapping[str, str]) -> tuple[dt.datetime, dt.datetime]:
    """Return the first moment of a window, and the first one after it."""
    return dt.datetime.fromisoformat(spec["from"]), dt.datetime.fromisoformat(spec["before"])


def checked_window(orders: pa.RecordBatch, spec: Mapping[str, str]) -> pa.RecordBatch:
    """Refuse orders of another window, which the other window would give as well."""
    if not orders.num_rows or "placed" not in orders.schema.names:
        return orders
    (start, end), found = window(spec), pc.min_max(orders["placed"]).as_py()
    if orders["placed"].null_count or found["min"] < start or found["max"] >= end:
        raise GraphQLError(
            f"the API gave an order that was not placed from {start:%Y-%m-%d} until before "
            f"{end:%Y-%m-%d}; see what its arguments for a window mean, and whether the end counts"
        )
    return orders


def may_match(spec: Mapping[str, str], predicate: Predicate) -> bool:
    """Whether a window can hold rows for which a condition on the time holds."""
    if predicate.column != "placed" or predicate.op not in ("==", "<", "<=", ">", ">="):
        return True
    start, end = window(spec)
    if predicate.op in ("<", "<="):
        return start <= predicate.value
    if predicate.op in (">", ">="):
        return predicate.value < end
    return start <= predicate.value < end


def origin(text: str) -> str:
    """Return what may be told of a URL: scheme, host and port."""
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("option 'url' must be a URL; write e.g. 'https://api.example.com/graphql'")
    return f"{url.scheme}://{url.netloc.decode()}"


def date(options: Mapping[str, str], name: str) -> dt.date:
    text = options.get(name) or ""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        problem = f"option {name!r} must be a day, got {text!r}; write e.g. '2025-01-31'"
    raise ValueError(problem)


def whole(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 10**6:
        raise ValueError(f"option {name!r} must be a number from 1 up, got {text!r}; write e.g. 31")
    return int(text)
