"""The worked source of a REST API, against a server that counts, pages, waits and breaks off."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from email.utils import format_datetime
from types import ModuleType, SimpleNamespace
from typing import Any

import dask.dataframe as dd
import pyarrow as pa
import pytest

import dask_sail
from dask_sail.testing import PythonDataSourceSuite

pytestmark = pytest.mark.sources
TOKEN = "s3cret-t0ken"


def as_json(value: Any) -> str:
    """JSON whose decimals keep their digits, which json.dumps has no way to write."""
    if isinstance(value, Decimal):
        return f"{value}"
    if isinstance(value, dt.datetime):
        return json.dumps(value.isoformat().replace("+00:00", "Z"))
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{as_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(as_json, value)) + "]"
    return json.dumps(value)


class API:
    """Pages of orders by keyset, which stays right while others add and delete."""

    def __init__(self, orders: list[dict[str, Any]]) -> None:
        self.orders = list(orders)
        self.asked: list[dict[str, str]] = []
        self.by_link = True
        # Each is called with a request's parameters; what it returns is answered instead.
        self.instead: Callable[[dict[str, str]], Any] = lambda params: None

    def page(self, params: dict[str, str]) -> tuple[list[dict[str, Any]], int | None]:
        after = int(params.get("after") or params.get("pageToken") or 0)
        first, before = (
            dt.datetime.fromisoformat(params[name]).replace(tzinfo=dt.UTC)
            for name in ("placed_from", "placed_before")
        )
        found = [
            row
            for row in sorted(self.orders, key=lambda row: row["id"])
            if row["id"] > after
            and first <= row["placed"] < before
            and ("customer" not in params or row["customer"] == params["customer"])
        ]
        page = found[: int(params["limit"])]
        fields = params["fields"].split(",")
        more = page[-1]["id"] if len(found) > len(page) else None
        return [{name: row[name] for name in fields} for row in page], more

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import Request
        from starlette.responses import Response

        if scope["type"] != "http":
            return
        request = Request(scope)
        params = dict(request.query_params)
        self.asked.append(params)
        response = self.instead(params)
        if response is None and request.headers.get("authorization") != f"Bearer {TOKEN}":
            response = Response("who are you?", 401)
        if response is None:
            rows, more = self.page(params)
            body: dict[str, Any] = {"items": rows}
            headers = {}
            if more is not None and self.by_link:
                following = request.url.include_query_params(after=more)
                headers["Link"] = f'<{following}>; rel="next", </orders>; rel="first"'
            elif more is not None:
                body["nextPageToken"] = str(more)
            response = Response(as_json(body), headers=headers, media_type="application/json")
        await response(scope, receive, send)


@pytest.fixture(scope="module")
def server(
    orders: list[dict[str, Any]], serve_http: Callable[[Any], Any]
) -> Iterator[SimpleNamespace]:
    api = API(orders)
    with serve_http(api) as address:
        yield SimpleNamespace(api=api, url=f"{address}/orders")


@pytest.fixture
def api(server: SimpleNamespace, orders: list[dict[str, Any]]) -> API:
    fresh = API(orders)
    server.api.__dict__.update(fresh.__dict__)
    return server.api


@pytest.fixture
def options(server: SimpleNamespace) -> dict[str, Any]:
    return {
        "url": server.url,
        "since": "2025-01-01",
        "until": "2025-04-02",
        "token": TOKEN,
        "pageSize": 9,
    }


@pytest.fixture
def module(recipe: Callable[[str], ModuleType]) -> ModuleType:
    return recipe("rest_api")


class TestContract(PythonDataSourceSuite):
    @pytest.fixture
    def source(self, module: ModuleType, api: API) -> Any:
        return module.RestOrders

    @pytest.fixture
    def options(self, options: dict[str, Any]) -> Mapping[str, Any]:
        return {**options, "days": 46}

    @pytest.fixture
    def expected(self, orders_table: pa.Table) -> pa.Table:
        return orders_table

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        return {"url": "shop", "since": "soon", "until": "", "days": 0, "pageSize": "-1"}

    @pytest.fixture
    def empty_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "since": "2030-01-01", "until": "2030-02-01"}


def test_the_page_is_true(
    run_page: Callable[[str], None], api: API, server: SimpleNamespace, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SHOP_URL", server.url)
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    run_page("rest_api.md")


def test_columns_filters_and_windows_reach_the_server(
    module: ModuleType, api: API, options: dict[str, Any], orders: list[dict[str, Any]]
) -> None:
    frame = dd.read_python_source(module.RestOrders, options=options)
    assert frame.npartitions == 3
    february = dt.datetime(2025, 2, 2, tzinfo=dt.UTC)
    asked = frame[(frame.customer == "Zoë 漢字 😀") & (frame.placed >= february)]
    found = asked.amount.compute(scheduler="synchronous")
    assert found.dropna().tolist() == [
        row["amount"]
        for row in orders
        if row["customer"] == "Zoë 漢字 😀" and row["placed"] >= february and row["amount"]
    ]
    assert {params["placed_from"] for params in api.asked} == {"2025-02-01", "2025-03-04"}
    assert {params["customer"] for params in api.asked} == {"Zoë 漢字 😀"}
    assert {params["fields"] for params in api.asked} == {"amount,placed"}
    api.asked.clear()
    assert len(frame) == len(orders)
    assert {params["fields"] for params in api.asked} == {"id"}


def test_pages_are_led_to_by_tokens_too(
    module: ModuleType, api: API, options: dict[str, Any], orders: list[dict[str, Any]]
) -> None:
    api.by_link = False
    frame = dd.read_python_source(module.RestOrders, options={**options, "days": 46})
    found = frame.compute(scheduler="synchronous")
    assert found.id.tolist() == [row["id"] for row in orders]
    assert found.customer.fillna("none").tolist() == [
        "none" if row["customer"] is None else row["customer"] for row in orders
    ]
    assert [params.get("pageToken") for params in api.asked].count(None) == 2
    assert len(api.asked) == 8


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock shows another time than that of HTTP's dates."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
@pytest.mark.parametrize("form", ["seconds", "date", "old date", "none"])
def test_a_rate_limit_is_honoured(
    module: ModuleType, api: API, options: dict[str, Any], orders_table: pa.Table, form: str
) -> None:
    from starlette.responses import Response

    moments: list[float] = []

    def limited(params: dict[str, str]) -> Any:
        moments.append(time.monotonic())
        if len(moments) != 2:
            return None
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
        headers = {"seconds": "1", "date": format_datetime(soon, usegmt=True)}
        headers["old date"] = f"{soon:%a %b %e %H:%M:%S %Y}"  # which RFC 9110 has servers read
        return Response(status_code=429, headers={"Retry-After": headers.get(form, "")})

    api.instead = limited
    frame = dd.read_python_source(module.RestOrders, options=options)
    found = frame.compute(scheduler="synchronous")
    assert found.id.tolist() == orders_table["id"].to_pylist()
    assert moments[2] - moments[1] >= 0.95  # a date has whole seconds, of which one is left


def test_a_wait_without_end_is_refused(
    module: ModuleType, api: API, options: dict[str, Any]
) -> None:
    from starlette.responses import Response

    api.instead = lambda params: Response(status_code=429, headers={"Retry-After": "3600"})
    frame = dd.read_python_source(module.RestOrders, options=options)
    begun = time.monotonic()
    with pytest.raises(dask_sail.PartitionReadError, match=r"wait 3600 s more.*'maxWait' has 60"):
        frame.partitions[0].compute(scheduler="synchronous")
    assert time.monotonic() - begun < 30
    assert len(api.asked) == 1


def test_a_wait_can_be_cancelled(module: ModuleType, api: API, options: dict[str, Any]) -> None:
    from starlette.responses import Response

    api.instead = lambda params: Response(status_code=429, headers={"Retry-After": "50"})
    source = module.RestOrders()
    given = {name: str(value) for name, value in options.items()}
    batches = source.read_partition(source.plan_partitions(given)[0], given)
    timer = threading.Timer(0.3, source.cancel)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(module.ServiceError, match="cancelled"):
        list(batches)
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("status", [500, 502])
def test_a_server_that_fails_once_is_asked_again(
    module: ModuleType, api: API, options: dict[str, Any], orders_table: pa.Table, status: int
) -> None:
    from starlette.responses import Response

    api.instead = lambda params: Response("oops", status) if len(api.asked) == 2 else None
    frame = dd.read_python_source(module.RestOrders, options=options)
    found = frame.compute(scheduler="synchronous")
    assert found.id.tolist() == orders_table["id"].to_pylist()


def test_rows_that_come_and_go_between_pages_move_no_others(
    module: ModuleType, api: API, options: dict[str, Any], orders: list[dict[str, Any]]
) -> None:
    deleted, last = orders[3], orders[-1]

    def meanwhile(params: dict[str, str]) -> None:
        if len(api.asked) == 2 and deleted in api.orders:
            api.orders.remove(deleted)  # already read
            api.orders.append({**last, "id": 1})  # before the place that was reached

    api.instead = meanwhile
    frame = dd.read_python_source(module.RestOrders, options={**options, "days": 100})
    found = frame.compute(scheduler="synchronous")
    assert found.id.tolist() == [row["id"] for row in orders]


@contextlib.contextmanager
def breaking_off(answers: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers each connection with bytes as they are, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asked: list[bytes] = []

        def serve() -> None:
            for answer in answers:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/orders", asked
        listener.shutdown(socket.SHUT_RDWR)  # wakes a thread that still waits
    thread.join(10)


def test_an_answer_that_is_cut_off_is_asked_for_again(
    module: ModuleType, options: dict[str, Any]
) -> None:
    as_of = "2025-01-05T00:00:00Z"
    body = as_json({"items": [{"id": 7, "customer": None, "amount": 3, "placed": as_of}]}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    with breaking_off([head + body[:-9], b"", head + body]) as (url, asked):
        frame = dd.read_python_source(
            module.RestOrders, options={**options, "url": url, "days": 100}
        )
        found = frame.compute(scheduler="synchronous")
    assert found.id.tolist() == [7]
    assert found.amount.tolist() == [Decimal("3.00")]
    assert len(asked) == 3


def page_of(**fields: Any) -> str:
    order = {"id": 1, "customer": "x", "amount": Decimal(1), "placed": "2025-01-01T00:00:00Z"}
    return as_json({"items": [{**order, **fields}]})


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("<html>", "gave no JSON object with a list 'items'"),
        ('{"items": {}}', "gave no JSON object"),
        ('{"items": [{"id": 1}]}', "has no field 'customer', not even null"),
        (page_of(id=Decimal("1.5")), "'id' is Decimal in an order"),
        (page_of(id=True), "'id' is bool"),
        (page_of(id=2**63), "too large|Overflow"),
        (page_of(amount=Decimal("0.001")), "cause data loss"),
        (page_of(amount="1.00"), "'amount' is str"),
        (page_of(placed="2025-01-01T00:00:00.123456789Z"), "Failed to parse string"),
        (page_of(placed="2025-01-01T00:00:00"), "Failed to parse string"),
        ('{"items": [{"id": 1, "amount": NaN}]}', "gave no JSON object"),
    ],
)
def test_what_is_no_order_is_an_error(
    module: ModuleType, api: API, options: dict[str, Any], body: str, complaint: str
) -> None:
    from starlette.responses import Response

    api.instead = lambda params: Response(body, media_type="application/json")
    frame = dd.read_python_source(module.RestOrders, options=options)
    with pytest.raises(dask_sail.PartitionReadError, match=complaint):
        frame.partitions[0].compute(scheduler="synchronous")
    assert len(api.asked) == 1  # asking again would change nothing


def test_the_token_goes_to_no_other_server_and_into_no_message(
    module: ModuleType, api: API, options: dict[str, Any]
) -> None:
    from starlette.responses import Response

    frame = dd.read_python_source(module.RestOrders, options=options).partitions[0]
    with breaking_off([b""]) as (elsewhere, asked):
        link = {"Link": f'<{elsewhere}>; rel="next"'}
        api.instead = lambda params: Response('{"items": []}', headers=link)
        with pytest.raises(dask_sail.PartitionReadError, match="leads on to another server"):
            frame.compute(scheduler="synchronous")
        api.instead = lambda params: Response(status_code=302, headers={"Location": elsewhere})
        with pytest.raises(dask_sail.PartitionReadError, match="answered 302 Found"):
            frame.compute(scheduler="synchronous")
        assert asked == []
    api.instead = lambda params: Response(f"no {TOKEN} here", 403)
    with pytest.raises(dask_sail.PartitionReadError, match=r"403.*'token'") as raised:
        frame.compute(scheduler="synchronous")
    assert TOKEN not in f"{raised.value}{raised.value.args}"


def test_pages_in_a_circle_are_an_error(
    module: ModuleType, api: API, options: dict[str, Any], server: SimpleNamespace
) -> None:
    from starlette.responses import Response

    link = {"Link": f'<{server.url}?after=1>; rel="next"'}
    api.instead = lambda params: Response('{"items": []}', headers=link)
    frame = dd.read_python_source(module.RestOrders, options=options).partitions[0]
    with pytest.raises(dask_sail.PartitionReadError, match="in a circle"):
        frame.compute(scheduler="synchronous")
    assert len(api.asked) == 2


@pytest.mark.parametrize("by_link", [True, False])
def test_what_the_url_has_behind_its_question_mark_is_asked_for_on_every_page(
    module: ModuleType,
    api: API,
    options: dict[str, Any],
    orders: list[dict[str, Any]],
    by_link: bool,
) -> None:
    api.by_link = by_link
    frame = dd.read_python_source(
        module.RestOrders, options={**options, "url": f"{options['url']}?tenant=7"}
    )
    assert len(frame.compute(scheduler="synchronous")) == len(orders)
    assert {params.get("tenant") for params in api.asked} == {"7"}
    assert len(api.asked) > frame.npartitions


@pytest.mark.parametrize("fault", ["ignored", "end counts", "no time"])
def test_orders_of_another_window_are_an_error_rather_than_doubled(
    module: ModuleType, api: API, options: dict[str, Any], orders: list[dict[str, Any]], fault: str
) -> None:
    from starlette.responses import Response

    def answered(params: dict[str, str]) -> Any:
        last = f"{params['placed_before']}T00:00:00Z"
        placed = {"end counts": last, "no time": None}.get(fault, "2025-01-07T00:00:00Z")
        return Response(page_of(placed=placed), media_type="application/json")

    api.instead = answered
    frame = dd.read_python_source(module.RestOrders, options=options)
    with pytest.raises(
        dask_sail.PartitionReadError, match=r"was not placed from 2025-\d\d-\d\d until"
    ):
        frame.compute(scheduler="synchronous")


def test_options_that_would_read_nothing_or_hang_are_refused_at_once(
    module: ModuleType, api: API, options: dict[str, Any]
) -> None:
    for given, complaint in (
        ({"since": "2025-02-01", "until": "2025-01-01"}, "'until' must be after 'since'"),
        ({"token": f"{TOKEN}\n"}, "option 'token' must be ASCII"),
        ({"url": ""}, "option 'url' must be a URL"),
    ):
        with pytest.raises(dask_sail.SourceCallError, match=complaint) as raised:
            dd.read_python_source(module.RestOrders, options={**options, **given})
        assert TOKEN not in f"{raised.value}{raised.value.args}"
    assert api.asked == []
