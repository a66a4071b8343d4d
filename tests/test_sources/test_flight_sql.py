"""The worked source of Flight SQL, against Lakesail's server, by way of a proxy that listens."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import dask.dataframe as dd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dask_sail
from dask_sail.testing import PythonDataSourceSuite

pytestmark = pytest.mark.sources
TOKEN = "s3cret-t0ken"
# What runs a query; that the driver tries to prepare it before is another command.
QUERY = b"flight.protocol.sql.CommandStatementQuery"


class Proxy:
    """Passes bytes on, keeps what is asked, and may cut off what is answered."""

    def __init__(self, port: int) -> None:
        self.server, self.asked, self.cut_after = port, bytearray(), 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.server))
                for way in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self.pass_on, args=way, daemon=True).start()

    def pass_on(self, here: socket.socket, there: socket.socket, is_asked: bool) -> None:
        passed = 0
        with suppress(OSError):
            while data := here.recv(65536):
                passed += len(data)
                if is_asked:
                    self.asked += data
                elif 0 < self.cut_after < passed:
                    self.cut_after = 0  # once
                    break
                there.sendall(data)
        for end in (here, there):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture(scope="module")
def server(orders_table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Lakesail server with the table ``orders``, from a Parquet file."""
    from adbc_driver_flightsql import dbapi

    folder = tmp_path_factory.mktemp("sail")
    (folder / "orders").mkdir()
    pq.write_table(orders_table, folder / "orders" / "part.parquet")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("sail")
    with (folder / "log").open("w") as log:
        command = [program, "flight", "server", "--port", str(port)]
        sail = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        give_up = time.monotonic() + 60
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            assert sail.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < give_up, (folder / "log").read_text()
            time.sleep(0.05)
        with (
            dbapi.connect(f"grpc://127.0.0.1:{port}", autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(f"CREATE TABLE orders USING parquet LOCATION 'file://{folder}/orders'")
            cursor.execute("CREATE TABLE wide AS SELECT id, uuid() AS code FROM range(200000)")
            cursor.execute("CREATE TABLE nobody (id BIGINT, name STRING)")
        yield port
    finally:
        sail.kill()
        sail.wait()


@pytest.fixture
def proxy(server: int) -> Iterator[Proxy]:
    between = Proxy(server)
    yield between
    between.listener.close()


@pytest.fixture
def module(recipe: Callable[[str], ModuleType]) -> ModuleType:
    return recipe("flight_sql")


@pytest.fixture
def options(proxy: Proxy) -> dict[str, Any]:
    return {
        "uri": f"grpc://127.0.0.1:{proxy.port}",
        "table": "orders",
        "token": TOKEN,
        "key": "id",
        "partitions": 2,
        "quote": "`",
    }


class TestContract(PythonDataSourceSuite):
    @pytest.fixture
    def source(self, module: ModuleType) -> Any:
        return module.FlightSQLTable

    @pytest.fixture
    def options(self, options: dict[str, Any], server: int) -> Mapping[str, Any]:
        return {**options, "uri": f"grpc://127.0.0.1:{server}"}

    @pytest.fixture
    def expected(self, orders_table: pa.Table) -> pa.Table:
        return orders_table

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        return {
            "uri": "http://shop",
            "partitions": 0,
            "quote": "'",
            "seconds": "x",
            "key": "amount",
        }

    @pytest.fixture
    def empty_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "table": "nobody"}


def test_the_page_is_true(
    run_page: Callable[[str], None], options: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.setenv("SHOP_URI", options["uri"])
    run_page("flight_sql.md")


def test_columns_filters_and_limits_are_in_the_sql(
    module: ModuleType, proxy: Proxy, options: dict[str, Any], orders: list[dict[str, Any]]
) -> None:
    frame = dd.read_python_source(module.FlightSQLTable, options=options)
    last = orders[-1]["id"]
    asked = frame[(frame.id > last - 12) & frame.amount.notnull()]
    proxy.asked.clear()
    found = asked.customer.compute(scheduler="synchronous").dropna()
    assert sorted(found) == sorted(
        row["customer"]
        for row in orders[-6:]
        if row["amount"] is not None and row["customer"] is not None
    )
    where = f"WHERE t.`id` > {last - 12} AND t.`amount` IS NOT NULL AND (t.`id` >= "
    assert f"SELECT t.`customer` FROM orders AS t {where}".encode() in proxy.asked
    assert proxy.asked.count(QUERY) == 1  # the other range has no such ids
    proxy.asked.clear()
    assert len(frame.head(3)) == 3
    assert b" LIMIT 3" in proxy.asked


def test_a_stream_that_is_cut_off_is_read_again(
    module: ModuleType, proxy: Proxy, options: dict[str, Any]
) -> None:
    given = {**options, "table": "wide", "partitions": 1}
    frame = dd.read_python_source(module.FlightSQLTable, options=given)
    proxy.asked.clear()
    proxy.cut_after = 2_000_000
    found = frame.compute(scheduler="synchronous")
    assert proxy.cut_after == 0
    assert sorted(found.id) == list(range(200_000))
    assert proxy.asked.count(QUERY) == 2


def test_a_server_that_is_gone_is_told(
    module: ModuleType, proxy: Proxy, options: dict[str, Any]
) -> None:
    frame = dd.read_python_source(module.FlightSQLTable, options=options).partitions[0]
    proxy.listener.shutdown(socket.SHUT_RDWR)
    proxy.listener.close()
    with pytest.raises(dask_sail.PartitionReadError, match="refused") as raised:
        frame.compute(scheduler="synchronous")
    assert raised.value.transient
    assert TOKEN not in f"{raised.value}{raised.value.args}"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"table": "nope"}, "Table or view not found: nope"),
        # Where " is no quote for names, a name is no text: t."id" does not parse.
        ({"quote": '"'}, "parse error"),
    ],
)
def test_what_the_server_refuses_is_told(
    module: ModuleType, options: dict[str, Any], changed: dict[str, str], complaint: str
) -> None:
    with pytest.raises(dask_sail.SourceCallError, match=complaint) as raised:
        dd.read_python_source(module.FlightSQLTable, options={**options, **changed})
    assert not raised.value.transient
