"""The worked source of a GraphQL API, against a real schema that keeps what it is asked."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any

import dask.dataframe as dd
import pyarrow as pa
import pytest

import dask_sail
from dask_sail.testing import PythonDataSourceSuite

pytestmark = pytest.mark.sources
TOKEN = "s3cret-t0ken"


def make_schema(state: SimpleNamespace) -> Any:
    """Orders as a relay connection of keyset cursors."""
    import strawberry
    from graphql import GraphQLError

    class Order:
        id: strawberry.ID
        customer_name: str | None
        placed_at: dt.datetime | None

        def __init__(self, row: dict[str, Any]) -> None:
            self.row, self.id = row, strawberry.ID(str(row["id"]))
            self.customer_name, self.placed_at = row["customer"], row["placed"]

        def amount(self) -> Decimal | None:
            if self.row["id"] == state.cannot_tell_amount_of:
                raise ValueError("the ledger is closed")
            return self.row["amount"]

    Order.amount = strawberry.field(Order.amount)

    def built(name: str, annotations: dict[str, Any]) -> Any:
        return strawberry.type(type(name, (), {"__annotations__": annotations}))

    # By hand: annotations that are texts are looked up among the names of a module.
    Order.__annotations__ = {
        "id": strawberry.ID,
        "customer_name": str | None,
        "placed_at": dt.datetime | None,
    }
    Order.amount.base_resolver.wrapped_func.__annotations__["return"] = Decimal | None
    order = strawberry.type(Order)
    edge = built("OrderEdge", {"node": order})
    info = built("PageInfo", {"has_next_page": bool, "end_cursor": str | None})
    connection = built("OrderConnection", {"edges": list[edge], "page_info": info})

    def orders(
        first: int,
        placed_from: dt.datetime,
        placed_before: dt.datetime,
        after: str | None = None,
        customer: str | None = None,
    ) -> Any:
        if after is not None and after in state.expired:
            state.expired.discard(after)
            raise GraphQLError("this cursor is no more", extensions={"code": "CURSOR_EXPIRED"})
        found = [
            row
            for row in state.orders
            if row["id"] > int(after or 0)
            and placed_from <= row["placed"] < placed_before
            and customer in (None, row["customer"])
        ]
        page = found[:first]
        cursor = str(page[-1]["id"]) if page else None
        return connection(
            edges=[edge(node=order(row)) for row in page],
            page_info=info(has_next_page=len(found) > first, end_cursor=cursor),
        )

    orders.__annotations__ = {
        "first": int,
        "placed_from": dt.datetime,
        "placed_before": dt.datetime,
        "after": str | None,
        "customer": str | None,
        "return": connection,
    }
    query = strawberry.type(type("Query", (), {"orders": strawberry.field(orders)}))
    return strawberry.Schema(query=query)


@pytest.fixture(scope="module")
def server(
    orders: list[dict[str, Any]], serve_http: Callable[[Any], Any]
) -> Iterator[SimpleNamespace]:
    from starlette.requests import Request
    from starlette.responses import Response
    from strawberry.asgi import GraphQL

    state = SimpleNamespace(asked=[], expired=set(), instead=lambda: None)
    graphql = GraphQL(make_schema(state))

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        state.asked.append(await request.json())
        response = state.instead()
        if response is None and request.headers.get("authorization") != f"Bearer {TOKEN}":
            response = Response("who are you?", 401)
        if response is not None:
            await response(scope, receive, send)
            return
        body = [{"type": "http.request", "body": await request.body(), "more_body": False}]

        async def again() -> Any:
            return body.pop() if body else await receive()

        await graphql(scope, again, send)

    with serve_http(application) as address:
        state.url = f"{address}/graphql"
        yield state


@pytest.fixture
def api(server: SimpleNamespace, orders: list[dict[str, Any]]) -> SimpleNamespace:
    server.orders, server.cannot_tell_amount_of, server.instead = orders, None, lambda: None
    server.asked.clear()
    server.expired.clear()
    return server


@pytest.fixture
def module(recipe: Callable[[str], ModuleType]) -> ModuleType:
    return recipe("graphql_api")


@pytest.fixture
def options(api: SimpleNamespace) -> dict[str, Any]:
    return {
        "url": api.url,
        "since": "2025-01-01",
        "until": "2025-04-02",
        "token": TOKEN,
        "pageSize": 20,
        "days": 46,
    }


class TestContract(PythonDataSourceSuite):
    @pytest.fixture
    def source(self, module: ModuleType) -> Any:
        return module.GraphQLOrders

    @pytest.fixture
    def options(self, options: dict[str, Any]) -> Mapping[str, Any]:
        # Few, as the server takes its time to check and build what it gives.
        return {**options, "until": "2025-01-25", "days": 12, "pageSize": 5}

    @pytest.fixture
    def expected(self, orders_table: pa.Table) -> pa.Table:
        return orders_table.slice(0, 16)

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        return {"url": "shop", "since": "soon", "until": "", "days": 0, "pageSize": "-1"}

    @pytest.fixture
    def empty_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "since": "2030-01-01", "until": "2030-02-01"}


def test_the_page_is_true(
    run_page: Callable[[str], None], api: SimpleNamespace, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SHOP_URL", api.url)
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    run_page("graphql_api.md")


def test_fields_variables_and_windows_reach_the_server(
    module: ModuleType, api: SimpleNamespace, options: dict[str, Any]
) -> None:
    frame = dd.read_python_source(module.GraphQLOrders, options=options)
    name = 'it\'s "q" \\ %'
    february = dt.datetime(2025, 2, 16, tzinfo=dt.UTC)
    asked = frame[(frame.customer == name) & (frame.placed >= february)].amount
    found = asked.compute(scheduler="synchronous").dropna()
    assert found.tolist() == [
        row["amount"]
        for row in api.orders
        if row["customer"] == name and row["placed"] >= february and row["amount"] is not None
    ]
    (request,) = api.asked
    assert re.search(r"node \{ (.*?) \}", request["query"])[1] == "amount placedAt"
    assert name not in request["query"]
    assert request["variables"]["customer"] == name
    assert request["variables"]["from"] == "2025-02-16T00:00:00Z"


def test_an_expired_cursor_is_read_again_from_the_start(
    module: ModuleType, api: SimpleNamespace, options: dict[str, Any]
) -> None:
    api.expired.add(str(api.orders[19]["id"]))
    frame = dd.read_python_source(module.GraphQLOrders, options=options)
    found = frame.partitions[0].compute(scheduler="synchronous")
    first = [
        row["id"] for row in api.orders if row["placed"] < dt.datetime(2025, 2, 16, tzinfo=dt.UTC)
    ]
    assert found.id.tolist() == first
    cursors = [request["variables"]["after"] for request in api.asked]
    last = str(api.orders[19]["id"])
    assert cursors == [None, last, None, last]


def test_data_with_errors_are_an_error(
    module: ModuleType, api: SimpleNamespace, options: dict[str, Any]
) -> None:
    api.cannot_tell_amount_of = api.orders[3]["id"]
    frame = dd.read_python_source(module.GraphQLOrders, options=options).partitions[0]
    with pytest.raises(dask_sail.PartitionReadError, match="the ledger is closed"):
        frame.compute(scheduler="synchronous")
    # Whoever does not ask for amounts is not concerned.
    assert len(frame[["id"]].compute(scheduler="synchronous")) == 31


@pytest.mark.parametrize(
    ("status", "body", "complaint", "times"),
    [
        (403, f"not {TOKEN}", "403 Forbidden; check the option 'token'", 1),
        (503, "", "answered 503", 4),
        (200, "<html>", "no JSON object with 'data'", 1),
        (200, '{"data": {"orders": {"edges": [{"node": {"id": 7}}]}}}', "'id' came as int", 1),
        (
            200,
            '{"data": {"orders": {"edges": [{"node": {"id": "7.5"}}]}}}',
            "'7.5', which is no such number",
            1,
        ),
        (
            200,
            '{"data": {"orders": {"edges": [], "pageInfo": {"hasNextPage": true,'
            ' "endCursor": null}}}}',
            "gives no new cursor",
            1,
        ),
        (200, '{"data": null}', "no JSON object with 'data'", 1),
        (200, '{"data": {"orders": null}}', "gave null for 'orders'", 1),
        (200, '{"data": {"orders": {"edges": [{"node": null}]}}}', "an order is null", 1),
    ],
)
def test_what_is_no_page_is_an_error(
    module: ModuleType,
    api: SimpleNamespace,
    options: dict[str, Any],
    status: int,
    body: str,
    complaint: str,
    times: int,
) -> None:
    from starlette.responses import Response

    api.instead = lambda: Response(body, status)
    frame = dd.read_python_source(module.GraphQLOrders, options=options)[["id"]].partitions[0]
    with pytest.raises(dask_sail.PartitionReadError, match=complaint) as raised:
        frame.compute(scheduler="synchronous")
    assert TOKEN not in f"{raised.value}{raised.value.args}"
    assert len(api.asked) == times


def test_cursors_in_a_circle_are_an_error(
    module: ModuleType, api: SimpleNamespace, options: dict[str, Any]
) -> None:
    from starlette.responses import Response

    def answered() -> Any:
        cursor = "ab"[len(api.asked) % 2]
        page = f'{{"edges": [], "pageInfo": {{"hasNextPage": true, "endCursor": "{cursor}"}}}}'
        return Response(f'{{"data": {{"orders": {page}}}}}', 200 if len(api.asked) < 9 else 403)

    api.instead = answered
    frame = dd.read_python_source(module.GraphQLOrders, options=options).partitions[0]
    with pytest.raises(dask_sail.PartitionReadError, match="gives no new cursor"):
        frame.compute(scheduler="synchronous")
    assert len(api.asked) == 3


def test_orders_of_another_window_are_an_error_rather_than_doubled(
    module: ModuleType, api: SimpleNamespace, options: dict[str, Any]
) -> None:
    from starlette.responses import Response

    node = '{"id": "1", "customerName": "x", "amount": "1", "placedAt": "2025-01-07T00:00:00Z"}'
    page = f'{{"edges": [{{"node": {node}}}], "pageInfo": {{"hasNextPage": false}}}}'
    api.instead = lambda: Response(f'{{"data": {{"orders": {page}}}}}')
    frame = dd.read_python_source(module.GraphQLOrders, options=options)
    assert frame.partitions[0].id.compute(scheduler="synchronous").tolist() == [1]
    with pytest.raises(dask_sail.PartitionReadError, match="was not placed from 2025-02-16 until"):
        frame.compute(scheduler="synchronous")


def test_options_that_would_read_nothing_are_refused_at_once(
    module: ModuleType, api: SimpleNamespace, options: dict[str, Any]
) -> None:
    for given, complaint in (
        ({"since": "2025-02-01", "until": "2025-01-01"}, "'until' must be after 'since'"),
        ({"token": f"{TOKEN}\n"}, "option 'token' must be ASCII"),
        ({"url": ""}, "option 'url' must be a URL"),
    ):
        with pytest.raises(dask_sail.SourceCallError, match=complaint):
            dd.read_python_source(module.GraphQLOrders, options={**options, **given})
    assert api.asked == []
