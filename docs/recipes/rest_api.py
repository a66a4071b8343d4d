"""Orders from a REST API: pages, a rate limit, a bearer token, filters as query parameters.

Needs ``pip install httpx``. What is particular to the API stands in the first part.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

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
# What JSON may hold for a column, null aside. Arrow alone would take 1.5 for an int64, as 1.
IN_JSON = {"id": (int,), "customer": (str,), "amount": (int, Decimal), "placed": (str,)}


def query(spec: Mapping[str, str], scan: Scan, page_size: int) -> dict[str, str]:
    """Return the parameters of the first page: a window of time, fields, filters."""
    limit = page_size if scan.limit is None else min(page_size, scan.limit)
    # A count needs rows, if no columns; the shortest will do.
    asked = {**spec, "limit": str(limit), "fields": ",".join(scan.columns or ("id",))}
    return asked | {p.column: p.value for p in accepted(scan)}


def accepted(scan: Scan) -> list[Predicate]:
    """Return the conditions by which the API means what Arrow means: the customer, once."""
    return [p for p in scan.predicates if p.column == "customer" and p.op == "=="][:1]


class ServiceError(Exception):
    """The API answered something that is no page of orders."""

    explains_itself = True

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message, transient)
        self.transient = transient  # dask_sail reads the partition again

    def __str__(self) -> str:
        return str(self.args[0])


class RestOrders:
    """One partition per window of time in which orders were placed.

    Options: ``url``; ``since`` and ``until``, the first day and the day after the last, in UTC;
    ``days`` per partition (31); ``token``; ``pageSize`` (500); ``maxWait``, the seconds that a
    partition waits in all where the API asks it to (60); ``maxReads`` at a time (4).
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def option_names(self) -> tuple[str, ...]:
        return "url", "since", "until", "days", "token", "pageSize", "maxWait", "maxReads"

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return SCHEMA

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, str]]:
        for name, default in (("pageSize", 500), ("maxWait", 60), ("maxReads", 4)):
            whole(options, name, default)
        origin(httpx.URL(options.get("url", "")))
        headers_of(options)
        day, until = (date(options, name) for name in ("since", "until"))
        if until <= day:
            raise ValueError(f"option 'until' must be after 'since', got '{until}' and '{day}'")
        step = dt.timedelta(whole(options, "days", 31))
        windows = []
        while day < until:
            end = min(day + step, until)
            windows.append({"placed_from": day.isoformat(), "placed_before": end.isoformat()})
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
        params = query(spec, scan, whole(options, "pageSize", 500))
        with httpx.Client(headers=headers_of(options), timeout=30, verify=certificates()) as client:
            url, patience = httpx.URL(options["url"]), float(whole(options, "maxWait", 60))
            for rows in self._pages(client, url, params, patience):
                yield checked_window(batch(rows, scan.columns), spec)

    def concurrency(self, options: dict[str, str]) -> tuple[str, int]:
        return f"REST API of {httpx.URL(options['url']).host}", whole(options, "maxReads", 4)

    def cancel(self) -> None:
        self._stopped.set()

    def _pages(
        self, client: httpx.Client, url: httpx.URL, params: dict[str, str] | None, patience: float
    ) -> Iterator[list[dict[str, Any]]]:
        home, base, asked = origin(url), url, params
        seen = set()
        while True:
            answer, patience = self._get(client, url, params, patience)
            body = exact_json(answer)
            yield body["items"]
            if link := answer.links.get("next"):
                url, params = answer.url.join(link["url"]), None
            elif page_token := body.get("nextPageToken"):
                url, params = base, {**(asked or {}), "pageToken": page_token}
            else:
                return
            if origin(url) != home:  # which would be handed the token
                raise ServiceError(f"{home} leads on to another server, {origin(url)}")
            place = (str(url), str(params))
            if place in seen:
                raise ServiceError(f"{home} leads in a circle: it gave the same next page twice")
            seen.add(place)

    def _get(
        self, client: httpx.Client, url: httpx.URL, params: dict[str, str] | None, patience: float
    ) -> tuple[httpx.Response, float]:
        """Ask until the API does not ask to wait; returns the seconds of waiting that are left."""
        for attempt in itertools.count():
            problem = ""
            try:
                # Merged: given as `params` they would replace what 'url' has behind its "?".
                answer = client.get(url.copy_merge_params(params or {}))
            except httpx.RequestError as error:  # its request holds the token
                problem = type(error).__name__
            if problem:
                raise ConnectionError(f"{origin(url)} broke off: {problem}")
            if answer.status_code not in (429, 503):
                return checked(answer), patience
            pause = max(0.1, wait_of(answer, attempt))
            if pause > patience:
                raise ServiceError(
                    f"{origin(url)} asks to wait {pause:.0f} s more ({answer.status_code}), and "
                    f"'maxWait' has {patience:.0f} s left; raise it, or lower 'maxReads'"
                )
            patience -= pause
            if self._stopped.wait(pause):
                raise ServiceError("the read was cancelled")
        raise AssertionError("not reached")


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


def wait_of(answer: httpx.Response, attempt: int) -> float:
    """Return the seconds that the API asks to wait: a number, a date, or what is usual."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return float(2 ** min(attempt, 6))
    until = until if until.tzinfo else until.replace(tzinfo=dt.UTC)  # as all dates of HTTP
    return (until - dt.datetime.now(dt.UTC)).total_seconds()


def checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code == 200:
        return answer
    told = f"{origin(answer.url)} answered {answer.status_code} {answer.reason_phrase}"
    if answer.status_code in (401, 403):
        raise ServiceError(f"{told}; check the option 'token'")
    # A redirect is not followed: it might lead the token elsewhere.
    raise ServiceError(f"{told}: {answer.text:.200}", transient=answer.status_code >= 500)


def exact_json(answer: httpx.Response) -> dict[str, Any]:
    """Parse without floats: 0.1 is a Decimal here, and a whole number has all its digits."""
    try:
        body = json.loads(answer.content, parse_float=Decimal, parse_constant=refuse)
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("items"), list):
        raise ServiceError(f"{origin(answer.url)} gave no JSON object with a list 'items'")
    return body


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def batch(rows: list[dict[str, Any]], columns: Sequence[str]) -> pa.RecordBatch:
    """Turn rows into exactly the columns that are wanted."""
    names = columns or ("id",)
    arrays = [column(rows, SCHEMA.field(name)) for name in names]
    return pa.record_batch(arrays, list(names)).select(list(columns))


def column(rows: list[dict[str, Any]], field: pa.Field) -> pa.Array:
    values = []
    for row in rows:
        # Missing is not null: perhaps the API has renamed it.
        if not isinstance(row, dict) or field.name not in row:
            raise ServiceError(f"an order has no field {field.name!r}, not even null")
        value = row[field.name]
        if value is not None and type(value) not in IN_JSON[field.name]:
            raise ServiceError(f"{field.name!r} is {type(value).__name__} in an order")
        values.append(value)
    if pa.types.is_timestamp(field.type):
        return pa.array(values, pa.string()).cast(field.type)  # refuses what it would cut off
    return pa.array(values, field.type)


def window(spec: Mapping[str, str]) -> tuple[dt.datetime, dt.datetime]:
    """Return the first moment of a window, and the first one after it."""
    first, after = (dt.datetime.fromisoformat(spec[n]) for n in ("placed_from", "placed_before"))
    return first.replace(tzinfo=dt.UTC), after.replace(tzinfo=dt.UTC)


def checked_window(orders: pa.RecordBatch, spec: Mapping[str, str]) -> pa.RecordBatch:
    """Refuse orders of another window, which the other window would give as well.

    So does an API that ignores a parameter it does not know, or counts ``placed_before`` in.
    """
    if not orders.num_rows or "placed" not in orders.schema.names:
        return orders
    (start, end), found = window(spec), pc.min_max(orders["placed"]).as_py()
    if orders["placed"].null_count or found["min"] < start or found["max"] >= end:
        raise ServiceError(
            f"the API gave an order that was not placed from {start:%Y-%m-%d} until before "
            f"{end:%Y-%m-%d}; see what parameters it has for a window, and whether its end counts"
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


def origin(url: httpx.URL) -> str:
    """Return what may be told of a URL, and shared with: scheme, host and port."""
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("option 'url' must be a URL; write e.g. 'https://api.example.com/orders'")
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
