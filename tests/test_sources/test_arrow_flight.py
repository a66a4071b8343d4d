"""The worked source of Arrow Flight, against a service in this process."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import dask.dataframe as dd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import flight

import dask_sail
from dask_sail.testing import PythonDataSourceSuite

pytestmark = pytest.mark.sources
TOKEN = "s3cret-t0ken"
ROWS = 22  # per endpoint


class NeedsToken(flight.ServerMiddlewareFactory):
    def start_call(self, info: Any, headers: dict[str, list[str]]) -> None:
        if headers.get("authorization") != [f"Bearer {TOKEN}"]:
            raise flight.FlightUnauthenticatedError("who are you?")


class Service(flight.FlightServerBase):
    """Tables by path, in endpoints of some rows each, whose tickets take columns and a filter."""

    def __init__(self) -> None:
        super().__init__("grpc://127.0.0.1:0", middleware={"token": NeedsToken()})
        self.tables: dict[str, pa.Table] = {}
        self.locations: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.fault: Callable[[int], None] = lambda sent: None

    def get_flight_info(self, context: Any, descriptor: Any) -> flight.FlightInfo:
        name = b"/".join(descriptor.path).decode()
        if name not in self.tables:
            raise flight.FlightServerError(f"there is no table {name}")
        table = self.tables[name]
        endpoints = [
            flight.FlightEndpoint(json.dumps({"table": name, "from": n}).encode(), self.locations)
            for n in range(0, table.num_rows, ROWS)
        ]
        return flight.FlightInfo(table.schema, descriptor, endpoints, table.num_rows, -1)

    def do_get(self, context: Any, ticket: flight.Ticket) -> flight.GeneratorStream:
        wanted = json.loads(ticket.ticket)
        self.asked.append(wanted)
        table = self.tables[wanted["table"]].slice(wanted["from"], ROWS)
        if "customer" in wanted:
            table = table.filter(pc.equal(table["customer"], wanted["customer"]))
        table = table.select(wanted.get("columns", table.schema.names))

        def batches() -> Iterator[pa.RecordBatch]:
            for sent, batch in enumerate(table.to_batches(max_chunksize=5)):
                self.fault(sent)
                yield batch

        return flight.GeneratorStream(table.schema, batches())


@pytest.fixture(scope="module")
def server() -> Iterator[Service]:
    with Service() as running:
        yield running


@pytest.fixture
def service(server: Service, orders_table: pa.Table) -> Service:
    server.tables = {"shop/orders": orders_table, "empty": orders_table.slice(0, 0)}
    server.locations, server.fault = [], lambda sent: None
    server.asked.clear()
    return server


@pytest.fixture
def module(recipe: Callable[[str], ModuleType]) -> ModuleType:
    return recipe("arrow_flight")


@pytest.fixture
def options(service: Service) -> dict[str, Any]:
    location = f"grpc://127.0.0.1:{service.port}"
    return {"location": location, "path": "shop/orders", "token": TOKEN}


class TestContract(PythonDataSourceSuite):
    @pytest.fixture
    def source(self, module: ModuleType) -> Any:
        return module.FlightOrders

    @pytest.fixture
    def options(self, options: dict[str, Any]) -> Mapping[str, Any]:
        return options

    @pytest.fixture
    def expected(self, orders_table: pa.Table) -> pa.Table:
        return orders_table

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        return {"location": "http://shop", "path": "/", "seconds": "soon"}

    @pytest.fixture
    def empty_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "path": "empty"}


def test_the_page_is_true(
    run_page: Callable[[str], None], options: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.setenv("SHOP_FLIGHT", options["location"])
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    run_page("arrow_flight.md")


def test_columns_and_filters_are_in_the_ticket(
    module: ModuleType, service: Service, options: dict[str, Any], orders: list[dict[str, Any]]
) -> None:
    frame = dd.read_python_source(module.FlightOrders, options=options)
    found = frame[frame.customer == "Ada"].id.compute(scheduler="synchronous")
    assert found.tolist() == [row["id"] for row in orders if row["customer"] == "Ada"]
    assert sorted(service.asked, key=lambda ticket: ticket["from"]) == [
        {"table": "shop/orders", "from": n, "columns": ["id"], "customer": "Ada"}
        for n in (0, 22, 44)
    ]


def test_types_that_only_arrow_has_arrive(
    module: ModuleType, service: Service, options: dict[str, Any]
) -> None:
    table = pa.table(
        {
            "when": pa.array([1, -1, None], pa.timestamp("ns")),
            "tags": pa.array([["a"], [], None], pa.list_(pa.string())),
            "deep": pa.array([{"a": 1}, None, {"a": None}], pa.struct([("a", pa.uint64())])),
        }
    )
    service.tables["types"] = table
    frame = dd.read_python_source(module.FlightTable, options={**options, "path": "types"})
    found = pa.Table.from_pandas(frame.compute(scheduler="synchronous"), preserve_index=False)
    assert found["when"].cast(pa.int64()).to_pylist() == [1, -1, None]
    for name in ("tags", "deep"):
        assert found[name].to_pylist() == table[name].to_pylist()


@pytest.mark.parametrize(
    ("error", "told", "times"),
    [
        (flight.FlightUnavailableError, "broke off: lost the disk", 2),
        (flight.FlightInternalError, "answered: lost the disk", 1),
    ],
)
def test_a_stream_that_breaks_off_is_read_again_or_is_an_error(
    module: ModuleType,
    service: Service,
    options: dict[str, Any],
    orders: list[dict[str, Any]],
    error: type[Exception],
    told: str,
    times: int,
) -> None:
    def break_off(sent: int) -> None:
        if len(service.asked) == 1 and sent == 2:
            raise error("lost the disk")

    service.fault = break_off
    frame = dd.read_python_source(module.FlightTable, options=options).partitions[0]
    if times == 1:
        with pytest.raises(dask_sail.PartitionReadError, match=told):
            frame.compute(scheduler="synchronous")
    else:
        found = frame.compute(scheduler="synchronous")
        assert found.id.tolist() == [row["id"] for row in orders[:ROWS]]
    assert len(service.asked) == times


def test_a_stream_that_hangs_ends_by_its_time_or_by_cancelling(
    module: ModuleType, service: Service, options: dict[str, Any]
) -> None:
    go_on = threading.Event()
    service.fault = lambda sent: None if sent == 0 else go_on.wait(60)
    source = module.FlightTable()
    spec = source.plan_partitions(options)[0]
    try:
        with pytest.raises(module.FlightTableError, match="broke off") as raised:
            list(source.read_partition(spec, {**options, "seconds": "1"}))
        assert raised.value.transient
        batches = source.read_partition(spec, options)
        assert next(batches).num_rows == 5
        threading.Timer(0.3, source.cancel).start()
        with pytest.raises(module.FlightTableError, match=r"(?i)cancel"):
            list(batches)
    finally:
        go_on.set()


def test_places_are_followed_and_the_token_stays_protected(
    module: ModuleType, service: Service, options: dict[str, Any]
) -> None:
    with Service() as other:
        other.tables = service.tables
        service.locations = [f"grpc://127.0.0.1:{other.port}"]
        frame = dd.read_python_source(module.FlightTable, options=options)
        assert len(frame) == 60
        assert service.asked == []
        assert len(other.asked) == 3
    spec = {"ticket": base64.b64encode(b"{}").decode(), "locations": ["grpc://127.0.0.1:1"]}
    given = {**options, "location": "grpc+tls://127.0.0.1:1"}
    with pytest.raises(module.FlightTableError, match=r"sends us to .*, which has no TLS"):
        list(module.FlightTable().read_partition(spec, given))
    service.locations = ["arrow-flight-reuse-connection://?"]
    assert len(dd.read_python_source(module.FlightTable, options=options)) == 60


def test_what_is_wrong_is_told_without_the_token(
    module: ModuleType, service: Service, options: dict[str, Any]
) -> None:
    for changed, complaint in (
        ({"path": "nope"}, "there is no table nope"),
        ({"token": "wr0ng-t0ken"}, "does not take the option 'token'"),
        ({"location": "grpc://127.0.0.1:1"}, r"grpc://127.0.0.1:1 broke off: .*refused"),
    ):
        with pytest.raises(dask_sail.SourceCallError, match=complaint) as raised:
            dd.read_python_source(module.FlightTable, options={**options, **changed})
        assert "t0ken" not in f"{raised.value}{raised.value.args}"
