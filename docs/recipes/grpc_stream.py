"""Orders from a gRPC service that streams them: messages to Arrow, ranges of ids as partitions.

Needs ``pip install grpcio protobuf``, and what ``python -m grpc_tools.protoc -I. --python_out=.
--grpc_python_out=. orders.proto`` makes, where this process and the workers can import it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

import grpc
import pyarrow as pa

from dask_sail import Predicate, Scan

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("customer", pa.string()),
        ("amount", pa.decimal128(12, 2)),
        ("placed", pa.timestamp("us", "UTC")),
    ]
)
CHUNK_ROWS = 1000
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED)


def generated() -> tuple[Any, Any]:
    """Import what protoc made, where it is used: its classes cannot travel with this one."""
    import orders_pb2
    import orders_pb2_grpc

    return orders_pb2, orders_pb2_grpc


def microseconds(order: Any) -> int | None:
    """Return a Timestamp as what the column holds; it has nanoseconds, which are not cut off."""
    if not order.HasField("placed"):
        return None
    if order.placed.nanos % 1000:
        raise OrdersError(f"order {order.id} was placed at {order.placed.nanos} ns past a second")
    return order.placed.seconds * 1_000_000 + order.placed.nanos // 1000


def decimal(order: Any) -> Decimal | None:
    if not order.HasField("amount"):
        return None
    try:
        return Decimal(order.amount)
    except InvalidOperation:
        problem = f"order {order.id} has the amount {order.amount!r}, which is no number"
    raise OrdersError(problem)


# An optional field that is not set is null; without `optional` it would be 0 or "".
VALUES = {
    "id": lambda order: order.id,
    "customer": lambda order: order.customer if order.HasField("customer") else None,
    "amount": decimal,
    "placed": microseconds,
}


class OrdersError(Exception):
    """The service refused, or gave something that is no order."""

    explains_itself = True

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message, transient)
        self.transient = transient  # dask_sail reads the partition again

    def __str__(self) -> str:
        return str(self.args[0])


class GrpcOrders:
    """One partition per range of ids, as the service cuts them.

    Options: ``target``, host and port; ``token``; ``partitions`` (4); ``seconds`` that a call may
    take (300); ``tls``, ``false`` for a service that has none.
    """

    def __init__(self) -> None:
        self._call: Any = None
        self._is_cancelled = False

    def option_names(self) -> tuple[str, ...]:
        return "target", "token", "partitions", "seconds", "tls"

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return SCHEMA

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, int]]:
        messages, _ = generated()
        asked = messages.RangesRequest(count=whole(options, "partitions", 4))
        with service(options) as (stub, how), errors_of(options):
            ranges = stub.Ranges(asked, **how).ranges
        found = [{"first": cut.first, "before": cut.before} for cut in ranges]
        if any(cut["before"] > then["first"] for cut, then in pairwise(found)):
            raise OrdersError(f"{options['target']} gave ranges that overlap, or do not ascend")
        return found

    def read_partition(
        self, spec: dict[str, int], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        return self.scan_partition(spec, options, Scan(SCHEMA, tuple(SCHEMA.names)))

    def plan_scan(
        self, specs: Sequence[dict[str, int]], options: dict[str, str], scan: Scan
    ) -> tuple[list[dict[str, int]], list[Predicate]]:
        kept = [spec for spec in specs if all(may_match(spec, p) for p in scan.predicates)]
        return kept, accepted(scan)

    def scan_partition(
        self, spec: dict[str, int], options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        messages, _ = generated()
        names = scan.columns or ("id",)  # a count needs rows, if no columns
        asked = messages.ReadRequest(
            range=messages.Range(**spec),
            fields=names,
            chunk_rows=CHUNK_ROWS,
            **{p.column: p.value for p in accepted(scan)},
        )
        with service(options) as (stub, how), errors_of(options):
            self._call = stub.Read(asked, **how)
            try:
                if self._is_cancelled:
                    self._call.cancel()
                for chunk in self._call:
                    yield batch(chunk.orders, names).select(list(scan.columns))
            finally:
                self._call.cancel()  # of no effect where the stream has ended

    def cancel(self) -> None:
        self._is_cancelled = True
        if self._call is not None:
            self._call.cancel()


def accepted(scan: Scan) -> list[Predicate]:
    """Return the conditions by which the service means what Arrow means: the customer, once."""
    return [p for p in scan.predicates if p.column == "customer" and p.op == "=="][:1]


def may_match(spec: Mapping[str, int], predicate: Predicate) -> bool:
    """Whether a range can hold rows for which a condition on the id holds."""
    if predicate.column != "id" or predicate.op not in ("==", "<", "<=", ">", ">="):
        return True
    first, last = spec["first"], spec["before"] - 1
    return {
        "==": first <= predicate.value <= last,
        "<": first < predicate.value,
        "<=": first <= predicate.value,
        ">": predicate.value < last,
        ">=": predicate.value <= last,
    }[predicate.op]


def batch(orders: Sequence[Any], names: Sequence[str]) -> pa.RecordBatch:
    columns = [pa.array(map(VALUES[name], orders), SCHEMA.field(name).type) for name in names]
    return pa.record_batch(columns, list(names))


@contextmanager
def service(options: Mapping[str, str]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Open a channel; gives the stub, and what goes with every call."""
    target = options.get("target") or ""
    if not target.rpartition(":")[2].isdecimal():
        raise ValueError(
            f"option 'target' must be host:port, got {target!r}; write e.g. 'shop:443'"
        )
    how: dict[str, Any] = {"timeout": whole(options, "seconds", 300)}
    if "token" in options:
        how["metadata"] = [("authorization", f"Bearer {options['token']}")]
    tls = (options.get("tls") or "true").lower()
    if tls not in ("true", "false"):
        raise ValueError(f"option 'tls' must be true or false, got {tls!r}")
    if tls == "true":
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials())
    else:
        channel = grpc.insecure_channel(target)
    with channel:
        yield generated()[1].OrdersStub(channel), how


@contextmanager
def errors_of(options: Mapping[str, str]) -> Iterator[None]:
    """Turn errors of gRPC, which hold the call and cannot be pickled, into ours."""
    try:
        yield
        return
    except grpc.RpcError as error:
        code, details = error.code(), error.details()
    hint = "; check the option 'token'" if code == grpc.StatusCode.UNAUTHENTICATED else ""
    told = f"{options['target']} ended the call with {code.name}: {details}{hint}"
    raise OrdersError(told, transient=code in AGAIN)


def whole(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 10**6:
        raise ValueError(f"option {name!r} must be a number from 1 up, got {text!r}; write e.g. 8")
    return int(text)
