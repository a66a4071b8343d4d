"""Items of a DynamoDB table as rows, by a parallel scan.

Needs ``pip install boto3``. What is particular to the table stands in the first part.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pyarrow as pa

from dask_sail import PartitionSpec, Predicate, Scan

# Items have no schema: here are the attributes that are wanted, others are not read. Dates and
# times, which DynamoDB has no type for, are ISO 8601 text in it, and become the type named here.
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("customer", pa.string()),
        ("amount", pa.decimal128(12, 2)),
        ("placed", pa.timestamp("us", "UTC")),
    ]
)


class DynamoDBError(Exception):
    """The server refuses, or an item does not fit the schema."""

    explains_itself = True

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message, transient)
        self.transient = transient

    def __str__(self) -> str:
        return str(self.args[0])


class DynamoDBItems:
    """One partition per segment of a parallel scan.

    Options: ``table``; ``segments`` (8); ``pageItems`` (as many as a page of 1 MB holds);
    ``consistent`` (true); ``region``, ``endpoint``, ``keyId`` and ``secretKey``, each by
    default from where AWS's own tools have it.
    """

    def option_names(self) -> tuple[str, ...]:
        return "table", "segments", "pageItems", "consistent", *CLIENT

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return SCHEMA

    def plan_partitions(self, options: dict[str, str]) -> list[PartitionSpec]:
        count = whole(options, "segments", 8)
        request(options, Scan(SCHEMA, ()))
        client = client_of(options)
        ask(options, lambda: client.describe_table(TableName=options["table"]))
        return [{"segment": n, "segments": count} for n in range(count)]

    def read_partition(
        self, spec: PartitionSpec, options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        return self.scan_partition(spec, options, Scan(SCHEMA, tuple(SCHEMA.names)))

    def plan_scan(
        self, specs: Sequence[PartitionSpec], options: dict[str, str], scan: Scan
    ) -> tuple[Sequence[PartitionSpec], list[Predicate]]:
        return specs, [p for p in scan.predicates if is_exact(p)]

    def scan_partition(
        self, spec: PartitionSpec, options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        place = {"Segment": spec["segment"], "TotalSegments": spec["segments"]}
        asked = request(options, scan) | place
        client, left = client_of(options), scan.limit
        while True:
            page = ask(options, lambda: client.scan(**asked))
            if scan.columns:
                yield batch(page["Items"], scan.columns)
            else:
                yield pa.record_batch([pa.nulls(page["Count"])], [""]).select([])
            # A page may be empty, as all of its items were filtered out, and not be the last.
            if "LastEvaluatedKey" not in page:
                return
            if left is not None and (left := left - page["Count"]) <= 0:
                return
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]


class OfThisProcess(dict[Any, Any]):
    """What a process makes once and keeps; it does not travel with the class to the workers."""

    def __reduce__(self) -> Any:
        return OfThisProcess, ()


CLIENTS = OfThisProcess()


def client_of(options: Mapping[str, str]) -> Any:
    """Return a client, which takes a while to make, and which threads may share."""
    asked = tuple(options.get(name) for name in CLIENT)
    return CLIENTS.get(asked) or CLIENTS.setdefault(asked, ask(options, lambda: made(*asked)))


CLIENT = ("region", "endpoint", "keyId", "secretKey")


def made(region: str | None, endpoint: str | None, *keys: str | None) -> Any:
    # A session of our own, as boto3's own one is not made for threads.
    session = boto3.session.Session(*keys, region_name=region)
    # It waits and asks again where it is throttled, before the partition is read anew.
    config = botocore.config.Config(retries={"mode": "standard", "total_max_attempts": 3})
    return session.client("dynamodb", endpoint_url=endpoint, config=config)


def request(options: Mapping[str, str], scan: Scan) -> dict[str, Any]:
    """Return what a scan asks for; a name of an attribute may be a reserved word, so none is."""
    if not options.get("table"):
        raise DynamoDBError("option 'table' must name a table, got ''; write e.g. 'orders'")
    text = options.get("consistent", "true").lower()
    if text not in ("true", "false"):
        raise DynamoDBError(f"option 'consistent' must be 'true' or 'false', got {text!r}")
    asked: dict[str, Any] = {"TableName": options["table"], "ConsistentRead": text == "true"}
    if "pageItems" in options:
        asked["Limit"] = whole(options, "pageItems", 1)
    terms = Terms()
    conditions = [condition(p, terms) for p in scan.predicates if is_exact(p)]
    if scan.columns:
        asked["ProjectionExpression"] = ", ".join(map(terms.name, scan.columns))
    else:
        asked["Select"] = "COUNT"
    if conditions:
        asked["FilterExpression"] = " AND ".join(conditions)
    if terms.names:
        asked["ExpressionAttributeNames"] = {place: name for name, place in terms.names.items()}
    if terms.values:
        asked["ExpressionAttributeValues"] = terms.values
    return asked


# ----------------------------------------------------------------------------- conditions


class Terms:
    """Places that stand for names and values in an expression."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, dict[str, Any]] = {}

    def name(self, name: str) -> str:
        return self.names.setdefault(name, f"#n{len(self.names)}")

    def value(self, value: Any) -> str:
        place = f":v{len(self.values)}"
        if isinstance(value, bool | str):
            self.values[place] = {"S" if isinstance(value, str) else "BOOL": value}
        else:
            self.values[place] = {"N": f"{Decimal(value):f}"}
        return place


COMPARE = {"==": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def is_exact(predicate: Predicate) -> bool:
    """Whether DynamoDB means by a condition what Arrow means.

    It compares text by its bytes and numbers by 38 digits, and a value of one type is never equal
    to, nor less than, one of another. Text that stands for a time may be written in several ways.
    """
    kind = SCHEMA.field(predicate.column).type
    types = pa.types
    if predicate.op == "not null":
        return not types.is_temporal(kind)
    values = predicate.value if predicate.op == "in" else (predicate.value,)
    if predicate.op not in (*COMPARE, "in") or not 0 < len(values) <= 100:
        return False  # "!=" holds where there is no attribute
    if types.is_decimal(kind) or types.is_integer(kind):
        return all(len(Decimal(value).as_tuple().digits) <= 38 for value in values)
    return bool(types.is_boolean(kind) or types.is_string(kind))


def condition(predicate: Predicate, terms: Terms) -> str:
    name = terms.name(predicate.column)
    if predicate.op == "not null":
        null = ":null"
        terms.values[null] = {"S": "NULL"}
        return f"(attribute_exists({name}) AND NOT attribute_type({name}, {null}))"
    if predicate.op == "in":
        return f"{name} IN ({', '.join(map(terms.value, predicate.value))})"
    return f"{name} {COMPARE[predicate.op]} {terms.value(predicate.value)}"


# ---------------------------------------------------------------------------------- items


def batch(items: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pa.RecordBatch:
    arrays = [column([item.get(name) for item in items], SCHEMA.field(name)) for name in columns]
    return pa.record_batch(arrays, list(columns))


def column(values: Sequence[Mapping[str, Any] | None], field: pa.Field) -> pa.Array:
    """Turn the values of an attribute, such as ``{"N": "12.5"}``, into a column."""
    kind, take = reader_of(field.type)
    taken = []
    for value in values:
        tag, inner = next(iter(value.items())) if value else ("NULL", True)
        if tag not in (kind, "NULL"):
            raise DynamoDBError(
                f"{field.name!r} is of DynamoDB's type {tag} in an item, and SCHEMA says "
                f"{field.type}, which is {kind}"
            )
        taken.append(None if tag == "NULL" else take(inner))
    # Times stay text here: dask_sail makes the schema's type of it, and refuses what is cut off.
    return pa.array(taken, pa.string() if pa.types.is_temporal(field.type) else field.type)


EXACT = decimal.Context(prec=38, traps=[decimal.Inexact, decimal.InvalidOperation])


def reader_of(kind: pa.DataType) -> tuple[str, Callable[[Any], Any]]:
    """Return the type that DynamoDB has for a column, and what makes Python's value of one."""
    types = pa.types
    if types.is_integer(kind):
        return "N", whole_number
    if types.is_decimal(kind):
        return "N", EXACT.create_decimal
    if types.is_string(kind) or types.is_temporal(kind):
        return "S", str
    if types.is_boolean(kind):
        return "BOOL", bool
    if types.is_binary(kind):
        return "B", bytes
    raise DynamoDBError(f"SCHEMA: {kind} has no type in DynamoDB; numbers are decimals there")


def whole_number(text: str) -> int:
    number = EXACT.create_decimal(text)
    if number != number.to_integral_value():
        raise DynamoDBError("a number that SCHEMA says is whole has a fraction")
    return int(number)


# --------------------------------------------------------------------------------- asking


def ask(options: Mapping[str, str], call: Callable[[], Any]) -> Any:
    table = options["table"]
    try:
        return call()
    except botocore.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        slow = any(word in code for word in ("Throttl", "Exceeded", "Limit")) or status >= 500
        remedy = "lower 'segments', or raise the table's capacity" if slow else REMEDY
        problem = DynamoDBError(f"table {table!r}: {code} ({status}); {remedy}", transient=slow)
    except (
        botocore.exceptions.HTTPClientError,
        botocore.exceptions.ConnectionError,
    ) as error:
        problem = DynamoDBError(
            f"table {table!r}: {type(error).__name__}, no answer of the server", transient=True
        )
    except (botocore.exceptions.BotoCoreError, ValueError) as error:  # such as for an endpoint
        problem = DynamoDBError(f"table {table!r}: {type(error).__name__}; {REMEDY}")
    raise problem  # here, or an error that quotes the request would be the context of ours


REMEDY = "check 'table', 'region', 'endpoint' and the keys"


def whole(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) <= 10**6:
        raise DynamoDBError(f"option {name!r} must be a number from 1 up, got {text!r}; e.g. '8'")
    return int(text)
