"""The worked source of DynamoDB, against moto's server."""

from __future__ import annotations

import datetime as dt
import json
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
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def server(moto: Any) -> Iterator[SimpleNamespace]:
    import boto3

    keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": SECRET}
    # To the server itself, as only what the source asks is looked at.
    client = boto3.client("dynamodb", endpoint_url=moto.behind, region_name="eu-west-1", **keys)
    yield SimpleNamespace(proxy=moto, client=client)
    client.close()


def as_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """An item by hand; nulls in turn as NULL and as no attribute."""
    item: dict[str, Any] = {"other": {"M": {"deep": {"L": []}}}}
    for name, value in row.items():
        if value is None:
            item |= {name: {"NULL": True}} if row["id"] % 4 == 1 else {}
        elif isinstance(value, str):
            item[name] = {"S": value}
        elif isinstance(value, dt.datetime):
            item[name] = {"S": value.isoformat()}
        else:
            item[name] = {"N": f"{value}"}
    return item


@pytest.fixture(scope="module")
def make_table(server: SimpleNamespace) -> Callable[..., dict[str, str]]:
    """Fill a table; gives the options that read it."""

    def make(name: str, items: list[dict[str, Any]]) -> dict[str, str]:
        server.client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for item in items:
            server.client.put_item(TableName=name, Item=item)
        return {
            "table": name,
            "region": "eu-west-1",
            "endpoint": server.proxy.url,
            "keyId": "AKIAEXAMPLE",
            "secretKey": SECRET,
            "segments": "3",
        }

    return make


@pytest.fixture(scope="module")
def table(
    make_table: Callable[..., dict[str, str]], orders: list[dict[str, Any]]
) -> dict[str, str]:
    return make_table("orders", [as_item(row) for row in orders])


@pytest.fixture(scope="module")
def few(make_table: Callable[..., dict[str, str]], orders: list[dict[str, Any]]) -> dict[str, str]:
    """As many as have every customer and every null, for moto looks at each item at length."""
    return make_table("few", [as_item(row) for row in orders[:20]])


@pytest.fixture(scope="module")
def nothing(make_table: Callable[..., dict[str, str]]) -> dict[str, str]:
    return make_table("nothing", [])


@pytest.fixture(scope="module")
def module(recipe: Callable[[str], ModuleType]) -> ModuleType:
    return recipe("dynamodb")


def scans(server: SimpleNamespace) -> list[dict[str, Any]]:
    """What was asked of the server since, of scans."""
    asked = [
        json.loads(one.body)
        for one in server.proxy.seen
        if one.headers.get("x-amz-target", "").endswith(".Scan")
    ]
    server.proxy.seen.clear()
    return asked


class TestContract(PythonDataSourceSuite):
    @pytest.fixture
    def source(self, module: ModuleType) -> Any:
        return module.DynamoDBItems

    @pytest.fixture
    def options(self, few: dict[str, str], server: SimpleNamespace) -> Mapping[str, Any]:
        return {**few, "segments": "2", "endpoint": server.proxy.behind}

    @pytest.fixture
    def expected(self, orders_table: pa.Table) -> pa.Table:
        return orders_table.slice(0, 20)

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        return {"segments": 0, "table": "", "consistent": "perhaps", "pageItems": "-1"}

    @pytest.fixture
    def empty_options(self, nothing: dict[str, str]) -> Mapping[str, Any]:
        return nothing


def test_the_page_is_true(
    run_page: Callable[[str], None], table: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNAMODB_ENDPOINT", table["endpoint"])
    monkeypatch.setenv("SHOP_KEY", "AKIAEXAMPLE")
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    run_page("dynamodb.md")


def test_segments_and_pages_hold_each_item_once(
    module: ModuleType,
    server: SimpleNamespace,
    table: dict[str, str],
    orders: list[dict[str, Any]],
) -> None:
    source = module.DynamoDBItems()
    options = {**table, "pageItems": "4"}
    server.proxy.seen.clear()
    parts = [list(source.read_partition(s, options)) for s in source.plan_partitions(options)]
    counts = [sum(batch.num_rows for batch in batches) for batches in parts]
    assert all(counts), counts
    assert sum(counts) == len(orders)
    ids = [i for batches in parts for batch in batches for i in batch["id"].to_pylist()]
    assert sorted(ids) == [row["id"] for row in orders]
    asked = scans(server)
    assert {(one["Segment"], one["TotalSegments"]) for one in asked} == {(n, 3) for n in range(3)}
    assert sum("ExclusiveStartKey" in one for one in asked) >= len(orders) // 4 - 3


def test_columns_and_conditions_reach_the_server(
    module: ModuleType,
    server: SimpleNamespace,
    table: dict[str, str],
    orders: list[dict[str, Any]],
) -> None:
    frame = dd.read_python_source(module.DynamoDBItems, options=table)
    asked_for = frame[(frame.amount >= Decimal("100000000.50")) & frame.customer.isin(["ada"])]
    scans(server)
    found = asked_for.id.compute(scheduler="synchronous").tolist()
    assert sorted(found) == [
        row["id"]
        for row in orders
        if row["customer"] == "ada" and (row["amount"] or 0) >= Decimal("100000000.50")
    ]
    for one in scans(server):
        assert one["ProjectionExpression"] == "#n2"
        assert one["ExpressionAttributeNames"] == {"#n0": "amount", "#n1": "customer", "#n2": "id"}
        assert one["FilterExpression"] == "#n0 >= :v0 AND #n1 IN (:v1)"
        assert one["ExpressionAttributeValues"] == {
            ":v0": {"N": "100000000.50"},
            ":v1": {"S": "ada"},
        }
    assert len(frame) == len(orders)
    assert {one["Select"] for one in scans(server)} == {"COUNT"}
    frame.head(1, npartitions=1)
    assert len(scans(server)) == 1


DIGITS = "12345678901234567890123456789012345.678"


def test_numbers_have_38_digits(
    module: ModuleType,
    make_table: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wide = pa.schema([("id", pa.int64()), ("amount", pa.decimal128(38, 3))])
    monkeypatch.setattr(module, "SCHEMA", wide)
    options = make_table("wide", [{"id": {"N": "9007199254740993"}, "amount": {"N": DIGITS}}])
    frame = dd.read_python_source(module.DynamoDBItems, options=options)
    hit = frame[(frame.amount == Decimal(DIGITS)) & (frame.id == 9007199254740993)]
    found = hit.compute(scheduler="synchronous")
    assert found.amount.tolist() == [Decimal(DIGITS)]
    assert found.id.tolist() == [9007199254740993]
    assert len(frame[frame.amount > Decimal(DIGITS)]) == 0


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({"amount": {"S": "12"}}, "'amount' is of DynamoDB's type S in an item"),
        ({"customer": {"N": "12"}}, "'customer' is of DynamoDB's type N in an item"),
        ({"customer": {"SS": ["a"]}}, "type SS"),
        ({"amount": {"N": "0.001"}}, "data loss"),
        ({"amount": {"N": "1E+30"}}, "Precision|precision"),
        ({"placed": {"S": "2025-01-01"}}, "placed"),
        ({"placed": {"S": "2025-01-01T00:00:00.1234567Z"}}, "placed"),
    ],
)
def test_what_does_not_fit_is_an_error(
    module: ModuleType,
    make_table: Callable[..., dict[str, str]],
    attributes: dict[str, Any],
    complaint: str,
    request: pytest.FixtureRequest,
) -> None:
    place = next(iter(request.node.callspec.indices.values()))
    options = make_table(f"bad{place}", [{"id": {"N": "1"}, **attributes}])
    frame = dd.read_python_source(module.DynamoDBItems, options=options)
    with pytest.raises(dask_sail.PythonDataSourceError, match=complaint):
        frame.compute(scheduler="synchronous")


@pytest.mark.parametrize("kind", ["throttled", "cut", "busy"])
def test_a_fault_on_a_later_page_loses_no_item(
    module: ModuleType,
    server: SimpleNamespace,
    table: dict[str, str],
    orders: list[dict[str, Any]],
    kind: str,
) -> None:
    frame = dd.read_python_source(
        module.DynamoDBItems, options={**table, "segments": "1", "pageItems": "25"}
    )
    seen: list[str] = []

    def second(method: str, path: str) -> bool:
        seen.append(path)
        return len(seen) == 2

    server.proxy.faults.append((second, kind))
    found = frame.compute(scheduler="synchronous")
    assert sorted(found.id.tolist()) == [row["id"] for row in orders]
    assert server.proxy.faults == []


def test_what_the_server_refuses_is_told_without_keys(
    module: ModuleType, server: SimpleNamespace, table: dict[str, str]
) -> None:
    given = {**table, "table": "no-such-table"}
    with pytest.raises(dask_sail.SourceCallError, match="ResourceNotFoundException") as raised:
        dd.read_python_source(module.DynamoDBItems, options=given)
    assert SECRET not in f"{raised.value}{raised.value.args}"
    server.proxy.faults += [(lambda method, path: True, "throttled")] * 3
    with pytest.raises(module.DynamoDBError, match=r"Throttling.*lower 'segments'") as slow:
        module.DynamoDBItems().plan_partitions(table)
    assert server.proxy.faults == []
    assert slow.value.transient
    assert slow.value.__context__ is None
