"""Tables of an Arrow Flight service: its endpoints are the partitions.

Needs pyarrow alone. `FlightTable` reads from any service; `FlightOrders` shows how columns and
filters are pushed into one whose tickets are known.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import flight

from dask_sail import Predicate, Scan

SAME_SERVER = "arrow-flight-reuse-connection"


class FlightTableError(Exception):
    """The service refused, or gave something that cannot be read."""

    explains_itself = True

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message, transient)
        self.transient = transient  # dask_sail reads the partition again

    def __str__(self) -> str:
        return str(self.args[0])


class FlightTable:
    """A table of any Flight service.

    Options: ``location``, such as ``grpc+tls://flight.example.com:443``; ``path``, whose parts are
    separated by ``/``; ``token``; ``seconds`` that a call may take (300).
    """

    def __init__(self) -> None:
        self._reader: Any = None
        self._is_cancelled = False

    def option_names(self) -> tuple[str, ...]:
        return "location", "path", "token", "seconds"

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        with connected(options, home(options)) as (client, how):
            return client.get_flight_info(descriptor(options), how).schema

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        with connected(options, home(options)) as (client, how):
            endpoints = client.get_flight_info(descriptor(options), how).endpoints
        return [
            {
                "ticket": base64.b64encode(endpoint.ticket.ticket).decode(),
                "locations": [told(location.uri) for location in endpoint.locations],
            }
            for endpoint in endpoints
        ]

    def read_partition(
        self, spec: dict[str, Any], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        return self.stream(base64.b64decode(spec["ticket"]), spec, options)

    def stream(
        self, ticket: bytes, spec: Mapping[str, Any], options: Mapping[str, str]
    ) -> Iterator[pa.RecordBatch]:
        """Yield the batches of a ticket as they come, from the place that the endpoint names."""
        with connected(options, place(spec["locations"], options)) as (client, how):
            reader = self._reader = client.do_get(flight.Ticket(ticket), how)
            try:
                if self._is_cancelled:
                    reader.cancel()
                for chunk in reader:
                    yield chunk.data
            finally:
                reader.cancel()  # of no effect where the stream has ended

    def cancel(self) -> None:
        self._is_cancelled = True
        if self._reader is not None:
            self._reader.cancel()


class FlightOrders(FlightTable):
    """A table of a service whose tickets are JSON, and know ``columns`` and ``customer``."""

    def plan_scan(
        self, specs: Sequence[dict[str, Any]], options: dict[str, str], scan: Scan
    ) -> tuple[Sequence[dict[str, Any]], list[Predicate]]:
        return specs, accepted(scan)

    def scan_partition(
        self, spec: dict[str, Any], options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        wanted = json.loads(base64.b64decode(spec["ticket"]))
        # A count needs rows, if no columns.
        wanted["columns"] = list(scan.columns or scan.schema.names[:1])
        wanted |= {p.column: p.value for p in accepted(scan)}
        for batch in self.stream(json.dumps(wanted).encode(), spec, options):
            yield batch.select(list(scan.columns))


def accepted(scan: Scan) -> list[Predicate]:
    """Return the conditions by which the service means what Arrow means: the customer, once."""
    return [p for p in scan.predicates if p.column == "customer" and p.op == "=="][:1]


def descriptor(options: Mapping[str, str]) -> flight.FlightDescriptor:
    parts = [part for part in options.get("path", "").split("/") if part]
    if not parts:
        raise ValueError(f"option 'path' must name a table, got {options.get('path', '')!r}")
    return flight.FlightDescriptor.for_path(*parts)


def home(options: Mapping[str, str]) -> str:
    return options.get("location") or ""


def place(locations: Sequence[str], options: Mapping[str, str]) -> str:
    """Return where to read: at the first place named, with as much protection as was asked for."""
    start = home(options)
    if not locations or locations[0].startswith(SAME_SERVER):
        return start
    safe = "grpc+tls:"
    if start.startswith(safe) and not locations[0].startswith(safe):  # the token would be in clear
        raise FlightTableError(f"{told(start)} sends us to {locations[0]}, which has no TLS")
    return locations[0]


def told(location: bytes | str) -> str:
    text = location.decode() if isinstance(location, bytes) else location
    return text.partition("?")[0]


@contextmanager
def connected(
    options: Mapping[str, str], location: str
) -> Iterator[tuple[flight.FlightClient, flight.FlightCallOptions]]:
    """Open a client; gives it with what goes along with every call. Its errors become ours."""
    if not location.startswith(("grpc:", "grpc+tls:", "grpc+tcp:", "grpc+unix:")):
        raise ValueError("option 'location' must be a Flight URI; write e.g. 'grpc+tls://host:443'")
    seconds = options.get("seconds") or "300"
    if not seconds.isdecimal() or seconds == "0":
        raise ValueError(f"option 'seconds' must be a number from 1 up, got {seconds!r}")
    headers = []
    if "token" in options:
        headers.append((b"authorization", f"Bearer {options['token']}".encode()))
    how = flight.FlightCallOptions(timeout=float(seconds), headers=headers)
    try:
        with flight.connect(location) as client:
            yield client, how
            return
    except flight.FlightUnauthenticatedError:
        problem, transient = "does not take the option 'token'", False
    except (flight.FlightUnavailableError, flight.FlightTimedOutError) as error:
        problem, transient = f"broke off: {first_line(error)}", True
    except flight.FlightError as error:
        problem, transient = f"answered: {first_line(error)}", False
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        problem, transient = f"answered: {first_line(error)}", False
    raise FlightTableError(f"{told(location)} {problem}", transient)


def first_line(error: BaseException) -> str:
    """Leave out what gRPC adds for its own developers."""
    return str(error.args[0] if error.args else error).partition(" gRPC client debug")[0].strip()
