"""Objects of S3, Google Cloud Storage or Azure Blob as rows: CSV, NDJSON and Parquet, in slices.

Needs ``pip install obstore``. A slice is a range of bytes, or some row groups of a Parquet object.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import obstore
import obstore.exceptions
import obstore.store
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from dask_sail import PartitionSpec, Predicate, Scan

SUFFIXES = {"csv": (".csv",), "ndjson": (".ndjson", ".jsonl"), "parquet": (".parquet",)}
MB = 2**20
BLOCK = 4 * MB  # is parsed at once
HEAD = 64 * 1024  # holds the first line of a CSV object


class ObjectsError(Exception):
    """A store refuses, or an object is not what it was when the read was planned."""

    explains_itself = True

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message, transient)
        self.transient = transient

    def __str__(self) -> str:
        return str(self.args[0])


class Objects:
    """Rows of all objects under a URL that have the suffix of their format.

    Options: ``url`` (``s3://bucket/folder``, ``gs://...``, ``az://container/...``); ``format``
    (``csv``, ``ndjson`` or ``parquet``); ``columnTypes``, a JSON object of columns and Arrow types,
    for CSV and NDJSON; ``sliceBytes`` (64 MiB), or 0 for whole objects; ``delimiter`` of CSV;
    ``allow_http``; and what the store needs, as `obstore.store` calls it: ``aws_region``,
    ``aws_secret_access_key``, ``google_service_account``, ``azure_storage_account_key``...
    """

    def option_names(self) -> tuple[str, ...]:
        return "url", "format", "columnTypes", "sliceBytes", "delimiter", "allow_http", *OF_STORES

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        if format_of(options) != "parquet":
            return schema_of(options)
        if "columnTypes" in options:
            raise ObjectsError("option 'columnTypes' is for CSV and NDJSON; Parquet has its own")
        store = store_of(options)
        return parquet_file(store, listed(store, options)[0]).schema_arrow

    def plan_partitions(self, options: dict[str, str]) -> list[PartitionSpec]:
        store, size = store_of(options), slice_bytes(options)
        delimiter_of(options)
        objects = listed(store, options)
        if format_of(options) != "parquet":
            return [spec for found in objects for spec in byte_slices(found, size)]
        with ThreadPoolExecutor(16) as threads:
            footers = threads.map(lambda found: parquet_file(store, found).metadata, objects)
            both = zip(objects, footers, strict=True)
            return [spec for found, footer in both for spec in row_groups(found, footer, size)]

    def read_partition(
        self, spec: PartitionSpec, options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        if "row_groups" in spec:
            schema = parquet_file(store_of(options), spec).schema_arrow
        else:
            schema = schema_of(options)
        return self.scan_partition(spec, options, Scan(schema, tuple(schema.names)))

    def plan_scan(
        self, specs: Sequence[PartitionSpec], options: dict[str, str], scan: Scan
    ) -> tuple[Sequence[PartitionSpec], list[Predicate]]:
        # Columns are chosen, and row groups left out, where a partition is read.
        return specs, []

    def scan_partition(
        self, spec: PartitionSpec, options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        store = store_of(options)
        if "row_groups" in spec:
            yield from read_parquet(store, spec, scan)
            return
        # A count needs a column to count by.
        wanted = [scan.schema.field(name) for name in scan.columns or scan.schema.names[:1]]
        read = read_csv if format_of(options) == "csv" else read_ndjson
        for batch in read(store, spec, options, pa.schema(wanted)):
            yield batch.select(list(scan.columns))

    def partition_statistics(
        self, specs: Sequence[PartitionSpec], options: dict[str, str]
    ) -> list[tuple[int | None, bool, int | None]]:
        # Bytes of text, or of what Parquet had before it was compressed: about what the rows take.
        return [
            (s.get("rows"), "rows" in s, s["bytes"] if "bytes" in s else s["stop"] - s["start"])
            for s in specs
        ]


# ----------------------------------------------------------------------------- the store

# What obstore takes, behind the name of the store: `aws_region`.
AWS = """
access_key_id bucket bucket_name checksum_algorithm conditional_put
container_authorization_token_file container_credentials_full_uri
container_credentials_relative_uri copy_if_not_exists default_region disable_bulk_delete
disable_tagging endpoint endpoint_url endpoint_url_sts imdsv1_fallback metadata_endpoint region
request_payer role_arn role_session_name s3_express secret_access_key server_side_encryption
session_token skip_signature sse_bucket_key_enabled sse_customer_key_base64 sse_kms_key_id token
unsigned_payload virtual_hosted_style_request web_identity_token_file
"""
GOOGLE = """
application_credentials base_url bearer_token bucket bucket_name service_account
service_account_key service_account_path skip_signature
"""
AZURE = """
authority_host authority_id client_id client_secret container_name credential_type
disable_tagging endpoint fabric_cluster_identifier fabric_session_token fabric_token_service_url
fabric_workload_host federated_token_file identity_endpoint msi_endpoint msi_resource_id object_id
skip_signature storage_access_key storage_account_key storage_account_name storage_authority_host
storage_authority_id storage_client_id storage_client_secret storage_encryption_key
storage_endpoint storage_master_key storage_sas_key storage_sas_token storage_tenant_id
storage_token storage_use_emulator tenant_id use_azure_cli use_fabric_endpoint
"""
OF_STORES = tuple(
    f"{store}_{name}"
    for store, names in (("aws", AWS), ("google", GOOGLE), ("azure", AZURE))
    for name in names.split()
)


def store_of(options: Mapping[str, str]) -> Any:
    url = options.get("url", "")
    if not re.match(r"(s3|gs|az|file)://", url):
        raise ObjectsError(
            f"option 'url' must name a store, got {url!r}; write e.g. 's3://bucket/folder'"
        )
    config = {
        name.lower(): text
        for name, text in options.items()
        if name.lower().startswith(("aws_", "google_", "azure_"))
    }
    if url.startswith("file:"):
        return obstore.store.from_url(url)
    how = {
        "client_options": {"allow_http": options.get("allow_http", "").lower() == "true"},
        "retry_config": {"max_retries": 3, "retry_timeout": dt.timedelta(seconds=60)},
    }
    asked = json.dumps([url, config, how["client_options"]])
    return STORES.get(asked) or STORES.setdefault(
        asked, ask("the store", lambda: obstore.store.from_url(url, config=config, **how))
    )


class OfThisProcess(dict[str, Any]):
    """What a process makes once and keeps; it does not travel with the class to the workers."""

    def __reduce__(self) -> Any:
        return OfThisProcess, ()


STORES = OfThisProcess()  # they keep connections, which partitions share


def listed(store: Any, options: Mapping[str, str]) -> list[PartitionSpec]:
    """Return what pins the objects of a read, by their names."""
    suffixes = SUFFIXES[format_of(options)]
    found = ask("the listing", lambda: [one for some in obstore.list(store) for one in some])
    objects = [
        {"path": one["path"], "e_tag": plain(one["e_tag"]), "size": one["size"]}
        for one in sorted(found, key=lambda one: one["path"])
        if one["path"].lower().endswith(suffixes)
    ]
    if not objects:  # rather a slip in the URL than no rows
        raise ObjectsError(
            f"option 'url': there is no object under {options['url']!r} whose name ends in "
            f"{' or '.join(suffixes)}; it must name a folder, and 'format' what is in it"
        )
    return objects


def ask(what: str, call: Callable[[], Any]) -> Any:
    """Call the store; its errors become ours, as theirs may quote URLs that are signed."""
    try:
        return call()
    except FileNotFoundError:
        problem = ObjectsError(f"{what} is not there (any more); read anew")
    except obstore.exceptions.BaseError as error:
        status = re.search(r"status code: (\d{3})", str(error))
        told = f"status {status[1]}" if status else type(error).__name__
        final = (type(error) is not obstore.exceptions.GenericError) or (
            status is not None and status[1][0] == "4" and status[1] not in ("408", "429")
        )
        remedy = "check the store's options and its rights" if final else "it did not answer"
        problem = ObjectsError(f"{what} cannot be read ({told}); {remedy}", transient=not final)
    raise problem  # here, or their error would be the context of ours


def plain(e_tag: str | None) -> str | None:
    """Return an entity tag without the quotes, which listings leave out."""
    return e_tag and e_tag.removeprefix("W/").strip('"')


def stream(store: Any, spec: PartitionSpec, start: int, stop: int) -> Iterator[bytes]:
    """Yield bytes of an object, which must still be the one that was planned."""
    if start >= stop:
        return
    path = spec["path"]
    got = ask(path, lambda: obstore.get(store, path, options={"range": (start, stop)}))
    meta = got.meta
    if plain(meta["e_tag"]) != spec["e_tag"] or meta["size"] != spec["size"]:
        raise ObjectsError(f"{path} has changed since the read was planned; read anew")
    if encoding := got.attributes.get("Content-Encoding"):
        raise ObjectsError(f"{path} is stored with Content-Encoding {encoding}; store it plainly")
    chunks, left = got.stream(min_chunk_size=BLOCK), stop - start
    while (chunk := ask(path, lambda: next(chunks, None))) is not None:
        left -= len(chunk)
        yield bytes(chunk)
    if left:
        raise ObjectsError(f"{path} broke off {left} bytes too early", transient=True)


class ObjectFile(io.RawIOBase):
    """An object as a file that is read here and there."""

    def __init__(self, store: Any, spec: PartitionSpec) -> None:
        self._store, self._spec, self._position = store, spec, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._spec["size"]}
        self._position = base[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        stop = self._spec["size"] if size < 0 else min(self._position + size, self._spec["size"])
        content = b"".join(stream(self._store, self._spec, self._position, stop))
        self._position += len(content)
        return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


# --------------------------------------------------------------------------------- lines


def byte_slices(found: PartitionSpec, size: int) -> Iterator[PartitionSpec]:
    cuts = range(0, found["size"], size or found["size"] or 1)
    for start, stop in pairwise([*cuts, found["size"]]):
        yield {**found, "start": start, "stop": stop}


def lines(store: Any, spec: PartitionSpec, start: int) -> Iterator[bytes]:
    """Yield whole lines, some MB at a time: all that begin from ``start`` to the slice's end.

    So each line of an object is in one slice, wherever the cuts are.
    """
    stop, size = spec["stop"], spec["size"]
    held, is_ours = b"", start == 0
    # From the byte before: if that ends a line, the next one is ours.
    for chunk in stream(store, spec, max(0, start - 1), stop):
        if not is_ours:
            _, newline, chunk = chunk.partition(b"\n")
            is_ours = bool(newline)
        if is_ours:
            whole, newline, held = (held + chunk).rpartition(b"\n")
            if newline:
                yield whole + newline
    for begin in range(stop, size, MB):
        if not held or held.endswith(b"\n"):
            break
        more = b"".join(stream(store, spec, begin, min(begin + MB, size)))
        whole, newline, _ = more.partition(b"\n")
        held += whole + newline
    if held:
        yield held


def read_ndjson(
    store: Any, spec: PartitionSpec, options: Mapping[str, str], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    # Dates and times are read as text, and turned into the schema's types as ISO 8601.
    temporal = pa.types.is_temporal
    read_as = [f.with_type(pa.string()) if temporal(f.type) else f for f in schema]
    parse = pa.json.ParseOptions(pa.schema(read_as), unexpected_field_behavior="ignore")
    for block in lines(store, spec, spec["start"]):
        how = pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
        yield from pa.json.read_json(io.BytesIO(block), how, parse).to_batches()


def read_csv(
    store: Any, spec: PartitionSpec, options: Mapping[str, str], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    names, start = csv_header(store, spec, delimiter_of(options))
    start = max(start, spec["start"])
    if lacking := [name for name in schema.names if names.count(name) != 1]:
        raise ObjectsError(
            f"{spec['path']} must have one column {lacking[0]!r}; its first line names {names}"
        )
    if start >= spec["stop"]:
        return
    # Of one column, a line with nothing in it is a null.
    parse = pa.csv.ParseOptions(delimiter=delimiter_of(options), ignore_empty_lines=len(names) > 1)
    # An empty field is null, "" in quotes is an empty text, and NA is Namibia.
    convert = pa.csv.ConvertOptions(
        column_types=schema,
        include_columns=schema.names,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    how = {"use_threads": False, "column_names": names}
    if slice_bytes(options) == 0:
        parse.newlines_in_values = True
        read = pa.csv.ReadOptions(**how, block_size=BLOCK, skip_rows=1)
        file = io.BufferedReader(ObjectFile(store, spec), BLOCK)
        with pa.csv.open_csv(file, read, parse, convert) as batches:
            yield from batches
        return
    for block in lines(store, spec, start):
        check_quotes(block, spec)
        read = pa.csv.ReadOptions(**how, block_size=len(block) + 1)
        yield from pa.csv.read_csv(io.BytesIO(block), read, parse, convert).to_batches()


def csv_header(store: Any, spec: PartitionSpec, delimiter: str) -> tuple[list[str], int]:
    """Return the names of the first line, and where the second begins."""
    head = b"".join(stream(store, spec, 0, min(HEAD, spec["size"])))
    line, newline, _ = head.partition(b"\n")
    if not newline and spec["size"] > HEAD:
        raise ObjectsError(f"{spec['path']} has no line break in its first {HEAD} bytes")
    check_quotes(line, spec)
    names = next(csv.reader([line.decode("utf-8-sig").rstrip("\r")], delimiter=delimiter), [])
    return names, len(line + newline)


def check_quotes(block: bytes, spec: PartitionSpec) -> None:
    """Refuse a line break in quotes: a slice that begins there would read half a record.

    The line where such a record begins has an odd number of quotes, and is in one of the slices.
    """
    if b'"' in block and any(line.count(b'"') % 2 for line in block.split(b"\n")):
        raise ObjectsError(
            f"{spec['path']} has a record with a line break or a lone quote in it; "
            "write 'sliceBytes': '0', to read each object as a whole"
        )


# ------------------------------------------------------------------------------- Parquet


def parquet_file(store: Any, spec: PartitionSpec) -> pq.ParquetFile:
    return pq.ParquetFile(pa.PythonFile(ObjectFile(store, spec), "r"), pre_buffer=True)


def row_groups(found: PartitionSpec, footer: pq.FileMetaData, size: int) -> Iterator[PartitionSpec]:
    """Yield slices of whole row groups, about as large as is asked for."""
    groups: list[int] = []
    rows = packed = 0
    for position in range(footer.num_row_groups):
        group = footer.row_group(position)
        groups.append(position)
        rows += group.num_rows
        packed += group.total_byte_size
        if (size and packed >= size) or position == footer.num_row_groups - 1:
            yield {**found, "row_groups": groups, "rows": rows, "bytes": packed}
            groups, rows, packed = [], 0, 0


def read_parquet(store: Any, spec: PartitionSpec, scan: Scan) -> Iterator[pa.RecordBatch]:
    if not scan.columns:
        yield pa.record_batch([pa.nulls(spec["rows"])], [""]).select([])
        return
    file = parquet_file(store, spec)
    for name in scan.columns:
        if name not in file.schema_arrow.names:
            raise ObjectsError(f"{spec['path']} has no column {name!r}, which another object has")
    of_file = {field.name: field.type for field in file.schema_arrow}
    # Statistics of another type than the schema's do not compare as the schema's values do.
    ordered = {f.name for f in scan.schema if f.type == of_file.get(f.name) and is_ordered(f.type)}
    predicates = [p for p in scan.predicates if p.column in ordered]
    groups = [n for n in spec["row_groups"] if may_match(file.metadata.row_group(n), predicates)]
    if groups:
        columns = list(scan.columns)
        for batch in file.iter_batches(MB // 16, groups, columns, use_threads=False):
            yield batch.select(columns)


COMPARE: dict[str, Callable[[Any, Any, Any], bool]] = {
    "==": lambda low, high, value: low <= value <= high,
    "<": lambda low, high, value: low < value,
    "<=": lambda low, high, value: low <= value,
    ">": lambda low, high, value: high > value,
    ">=": lambda low, high, value: high >= value,
    "in": lambda low, high, values: any(low <= value <= high for value in values),
}


def may_match(group: pq.RowGroupMetaData, predicates: Sequence[Predicate]) -> bool:
    """Whether, by its statistics, a row group can hold rows that are wanted."""
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    for predicate in predicates:
        column = columns.get(predicate.column)
        compare = COMPARE.get(predicate.op)
        if column is None or compare is None:
            continue
        told = column.statistics
        if (
            told is not None
            and told.has_min_max
            and not compare(told.min, told.max, predicate.value)
        ):
            return False
    return True


def is_ordered(kind: pa.DataType) -> bool:
    """Whether statistics of a column compare as its values do; floats have NaN and -0.0."""
    types = pa.types
    tests = (types.is_integer, types.is_string, types.is_date32, types.is_decimal)
    return any(test(kind) for test in (*tests, types.is_timestamp))


# ------------------------------------------------------------------------------- options


def format_of(options: Mapping[str, str]) -> str:
    text = options.get("format", "").lower()
    if text not in SUFFIXES:
        raise ObjectsError(f"option 'format' must be one of {', '.join(SUFFIXES)}, got {text!r}")
    return text


def slice_bytes(options: Mapping[str, str]) -> int:
    text = options.get("sliceBytes", str(64 * MB))
    if not text.isdecimal():
        raise ObjectsError(f"option 'sliceBytes' must be a number of bytes, got {text!r}")
    return int(text)


def delimiter_of(options: Mapping[str, str]) -> str:
    text = options.get("delimiter", ",")
    if len(text) != 1 or text in '"\r\n':
        raise ObjectsError(
            f"option 'delimiter' must be one character, got {text!r}; write e.g. ';'"
        )
    return text


def schema_of(options: Mapping[str, str]) -> pa.Schema:
    try:
        named = json.loads(options.get("columnTypes", ""))
        return pa.schema([(name, type_of(text)) for name, text in named.items()])
    except (ValueError, TypeError, AttributeError) as error:
        problem = str(error)
    raise ObjectsError(
        f"option 'columnTypes' must be a JSON object of columns and Arrow types ({problem}); write "
        """e.g. '{"id": "int64", "price": "decimal128(12, 2)", "at": "timestamp[us, tz=UTC]"}'"""
    )


def type_of(text: str) -> pa.DataType:
    if found := re.fullmatch(r"decimal128\((\d+), *(\d+)\)", text):
        return pa.decimal128(int(found[1]), int(found[2]))
    if found := re.fullmatch(r"timestamp\[(s|ms|us|ns), *tz=(.+)\]", text):
        return pa.timestamp(found[1], found[2])
    kind = pa.type_for_alias(text)
    if pa.types.is_floating(kind) and kind != pa.float64():  # its text would be rounded
        raise ValueError(f"{text} would round; write float64 or a decimal128")
    return kind
