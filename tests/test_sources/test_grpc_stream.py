"""The worked source of a gRPC service, against one in this process that streams and breaks off."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import dask.dataframe as dd
import pyarrow as pa
import pytest

import dask_sail
from dask_sail.testing import PythonDataSourceSuite

pytestmark = pytest.mark.sources
TOKEN = "s3cret-t0ken"
RECIPES = Path(__file__).parent.parent.parent / "docs" / "recipes"
CHUNK = 7


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """The generated modules, where this process and those that it starts find them."""
    folder = tmp_path_factory.mktemp("generated")
    command = ["-m", "grpc_tools.protoc", f"-I{RECIPES}", f"--python_out={folder}"]
    command += [f"--grpc_python_out={folder}", "orders.proto"]
    subprocess.run([sys.executable, *command], check=True, timeout=120)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [f"{folder}", before]))
    sys.path.insert(0, f"{folder}")
    import orders_pb2
    import orders_pb2_grpc

    yield orders_pb2, orders_pb2_grpc
    sys.path.remove(f"{folder}")
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def server(stubs: tuple[Any, Any]) -> Iterator[SimpleNamespace]:
    import grpc

    messages, services = stubs
    state = SimpleNamespace(asked=[], orders=[], fault=lambda asked, sent, context: None)

    def message(row: dict[str, Any], fields: list[str]) -> Any:
        given = {name: row[name] for name in fields if row[name] is not None}
        if "amount" in given:
            given["amount"] = str(given["amount"])
        if isinstance(given.get("placed"), dt.datetime):
            since = given["placed"] - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
            nanos = since // dt.timedelta(microseconds=1) * 1000
            seconds, nanos = divmod(nanos, 10**9)
            given["placed"] = messages_timestamp(seconds=seconds, nanos=nanos)
        return messages.Order(**given)

    from google.protobuf.timestamp_pb2 import Timestamp as messages_timestamp

    class Orders(services.OrdersServicer):
        def check(self, context: Any) -> None:
            if ("authorization", f"Bearer {TOKEN}") not in context.invocation_metadata():
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

        def Ranges(self, request: Any, context: Any) -> Any:
            self.check(context)
            ids = [row["id"] for row in state.orders]
            count = min(request.count, len(ids))
            cuts = [ids[len(ids) * n // count] for n in range(count)]
            ends = [*cuts[1:], *(id_ + 1 for id_ in ids[-1:])]
            ends = [end + state.overlap for end in ends]
            ranges = [messages.Range(first=a, before=b) for a, b in zip(cuts, ends, strict=True)]
            return messages.RangesReply(ranges=ranges)

        def Read(self, request: Any, context: Any) -> Iterator[Any]:
            self.check(context)
            state.asked.append(request)
            found = [
                row
                for row in state.orders
                if request.range.first <= row["id"] < request.range.before
                and (not request.HasField("customer") or row["customer"] == request.customer)
            ]
            for sent in range(0, len(found), CHUNK):
                state.fault(len(state.asked), sent, context)
                rows = found[sent : sent + CHUNK]
                yield messages.Chunk(orders=[message(row, request.fields) for row in rows])

    with ThreadPoolExecutor(8) as pool:
        running = grpc.server(pool)
        services.add_OrdersServicer_to_server(Orders(), running)
        port = running.add_insecure_port("127.0.0.1:0")
        running.start()
        state.target = f"127.0.0.1:{port}"
        yield state
        running.stop(None).wait()


@pytest.fixture
def service(server: SimpleNamespace, orders: list[dict[str, Any]]) -> SimpleNamespace:
    server.orders, server.fault = orders, lambda asked, sent, context: None
    server.overlap = 0
    server.asked.clear()
    return server


@pytest.fixture
def module(recipe: Callable[[str], ModuleType]) -> ModuleType:
    return recipe("grpc_stream")


@pytest.fixture
def options(service: SimpleNamespace) -> dict[str, Any]:
    return {"target": service.target, "token": TOKEN, "partitions": 3, "tls": False}


class TestContract(PythonDataSourceSuite):
    @pytest.fixture
    def source(self, module: ModuleType) -> Any:
        return module.GrpcOrders

    @pytest.fixture
    def options(self, options: dict[str, Any]) -> Mapping[str, Any]:
        return options

    @pytest.fixture
    def expected(self, orders_table: pa.Table) -> pa.Table:
        return orders_table

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        return {"target": "shop", "partitions": 0, "seconds": "long", "tls": "perhaps"}


def test_a_service_without_orders_is_an_empty_frame(
    module: ModuleType, service: SimpleNamespace, options: dict[str, Any]
) -> None:
    service.orders = []
    frame = dd.read_python_source(module.GrpcOrders, options=options)
    assert list(frame.compute(scheduler="synchronous").columns) == module.SCHEMA.names
    assert len(frame) == 0


def test_ranges_that_overlap_are_an_error_rather_than_orders_doubled(
    module: ModuleType, service: SimpleNamespace, options: dict[str, Any]
) -> None:
    service.overlap = 1
    with pytest.raises(dask_sail.SourceCallError, match="gave ranges that overlap"):
        dd.read_python_source(module.GrpcOrders, options=options)


def test_the_page_is_true(
    run_page: Callable[[str], None], service: SimpleNamespace, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SHOP_TARGET", service.target)
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    run_page("grpc_stream.md")


def test_fields_filters_and_ranges_reach_the_service(
    module: ModuleType, service: SimpleNamespace, options: dict[str, Any]
) -> None:
    frame = dd.read_python_source(module.GrpcOrders, options=options)
    last = service.orders[-1]["id"]
    found = frame[(frame.customer == "Ada") & (frame.id > last - 20)].amount
    assert found.compute(scheduler="synchronous").dropna().tolist() == [
        row["amount"]
        for row in service.orders
        if row["customer"] == "Ada" and row["id"] > last - 20 and row["amount"] is not None
    ]
    (asked,) = service.asked
    assert list(asked.fields) == ["amount", "id"]
    assert asked.customer == "Ada"


@pytest.mark.parametrize(
    ("code", "times"), [("UNAVAILABLE", 2), ("DATA_LOSS", 1), ("RESOURCE_EXHAUSTED", 1)]
)
def test_a_stream_that_breaks_off_is_read_again_or_is_an_error(
    module: ModuleType, service: SimpleNamespace, options: dict[str, Any], code: str, times: int
) -> None:
    import grpc

    def break_off(asked: int, sent: int, context: Any) -> None:
        if asked == 1 and sent >= CHUNK:
            context.abort(grpc.StatusCode[code], "lost the disk")

    service.fault = break_off
    frame = dd.read_python_source(module.GrpcOrders, options=options).partitions[0]
    if times == 1:
        with pytest.raises(dask_sail.PartitionReadError, match=f"{code}: lost the disk"):
            frame.compute(scheduler="synchronous")
    else:
        found = frame.id.compute(scheduler="synchronous").tolist()
        assert found == [row["id"] for row in service.orders[:20]]
    assert len(service.asked) == times


def test_a_stream_that_hangs_ends_by_its_deadline_or_by_cancelling(
    module: ModuleType, service: SimpleNamespace, options: dict[str, Any]
) -> None:
    go_on = threading.Event()
    service.fault = lambda asked, sent, context: go_on.wait(60)
    source = module.GrpcOrders()
    given = {name: str(value).lower() for name, value in options.items() if name != "token"}
    given["token"] = TOKEN
    spec = source.plan_partitions(given)[0]
    try:
        with pytest.raises(module.OrdersError, match="DEADLINE_EXCEEDED") as raised:
            list(source.read_partition(spec, {**given, "seconds": "1"}))
        assert raised.value.transient
        threading.Timer(0.3, source.cancel).start()
        with pytest.raises(module.OrdersError, match="CANCELLED"):
            list(source.read_partition(spec, given))
    finally:
        go_on.set()


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("amount", "NaN", "'NaN' is not a valid decimal"),
        ("amount", "1,5", "'1,5', which is no number"),
        ("amount", Decimal("0.001"), "data loss"),
    ],
)
def test_what_does_not_fit_is_an_error(
    module: ModuleType,
    service: SimpleNamespace,
    options: dict[str, Any],
    field: str,
    value: Any,
    complaint: str,
) -> None:
    service.orders = [{**service.orders[0], field: value}]
    frame = dd.read_python_source(module.GrpcOrders, options=options)
    with pytest.raises(dask_sail.PartitionReadError, match=complaint):
        frame.compute(scheduler="synchronous")


def test_nanoseconds_are_not_cut_off(module: ModuleType, stubs: tuple[Any, Any]) -> None:
    order = stubs[0].Order(id=7, placed={"seconds": -1, "nanos": 1_000})
    assert module.microseconds(order) == -999_999
    order.placed.nanos += 1
    with pytest.raises(module.OrdersError, match="order 7 was placed at 1001 ns"):
        module.microseconds(order)


def test_a_wrong_token_is_told_and_not_shown(
    module: ModuleType, service: SimpleNamespace, options: dict[str, Any]
) -> None:
    wrong = {**options, "token": "wr0ng-t0ken"}
    with pytest.raises(dask_sail.SourceCallError, match="check the option 'token'") as raised:
        dd.read_python_source(module.GrpcOrders, options=wrong)
    assert "wr0ng-t0ken" not in f"{raised.value}{raised.value.args}"
    assert not raised.value.transient
