"""The worked source of object stores, against S3, Google Cloud Storage and Azure Blob."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import hashlib
import hmac
import http.client
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dask_sail
from dask_sail.testing import PythonDataSourceSuite

pytestmark = pytest.mark.sources
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
# The key of the emulator, which its documentation tells everybody.
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
SCHEMA = json.dumps(
    {
        "id": "int64",
        "customer": "string",
        "amount": "decimal128(12, 2)",
        "placed": "timestamp[us, tz=UTC]",
    }
)


@dataclass
class Store:
    """A bucket, what reaches it, and what is asked of it."""

    proxy: Any
    url: str
    options: dict[str, str]
    put: Callable[[str, bytes], None]

    def read(self, folder: str, kind: str, **more: str) -> dict[str, str]:
        schema = {} if kind == "parquet" else {"columnTypes": SCHEMA}
        where = {"url": f"{self.url}/{folder}", "format": kind}
        return where | self.options | schema | more


Seed: TypeAlias = Callable[[Callable[[str, bytes], None], str, str], None]


@dataclass
class Folder:
    """The same of a folder of this machine."""

    path: Path

    def put(self, name: str, content: bytes) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_bytes(content)

    def read(self, folder: str, kind: str, **more: str) -> dict[str, str]:
        schema = {} if kind == "parquet" else {"columnTypes": SCHEMA}
        return {"url": f"file://{self.path}/{folder}", "format": kind, **schema, **more}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture(scope="module")
def s3(moto: Any) -> Iterator[Store]:
    import boto3

    keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": SECRET}
    client = boto3.client("s3", endpoint_url=moto.behind, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="shop")
    options = {**keys, "aws_endpoint": moto.url, "aws_region": "us-east-1"}

    def put(name: str, content: bytes) -> None:
        client.put_object(Bucket="shop", Key=name, Body=content)

    yield Store(moto, "s3://shop", {**options, "allow_http": "true"}, put)
    client.close()


@pytest.fixture(scope="module")
def gcs(stores: ModuleType) -> Iterator[Store]:
    from pyarrow import fs

    with stores.running_gcs() as proxy:
        client = fs.GcsFileSystem(
            anonymous=True,
            scheme="http",
            endpoint_override=proxy.url.removeprefix("http://"),
            project_id="shop",
            retry_time_limit=dt.timedelta(seconds=10),
        )
        client.create_dir("shop")
        options = {"google_base_url": proxy.url, "google_skip_signature": "true"}

        def put(name: str, content: bytes) -> None:
            with client.open_output_stream(f"shop/{name}") as file:
                file.write(content)

        yield Store(proxy, "gs://shop", {**options, "allow_http": "true"}, put)


@pytest.fixture(scope="module")
def azure(stores: ModuleType) -> Iterator[Store]:
    import obstore

    with stores.running_azurite() as proxy:
        make_container(proxy.url.removeprefix("http://"), "shop")
        options = {
            "azure_storage_account_name": "devstoreaccount1",
            "azure_storage_account_key": AZURE_KEY,
            "azure_storage_endpoint": f"{proxy.url}/devstoreaccount1",
        }
        client = obstore.store.from_url(
            "az://shop", config=options, client_options={"allow_http": True}
        )

        def put(name: str, content: bytes) -> None:
            obstore.put(client, name, content)

        yield Store(proxy, "az://shop", {**options, "allow_http": "true"}, put)


def make_container(address: str, name: str) -> None:
    """Make an Azure container, which obstore has no function for."""
    now = dt.datetime.now(dt.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": now, "x-ms-version": "2021-08-06"}
    told = "".join(f"{header}:{value}\n" for header, value in headers.items())
    resource = f"/devstoreaccount1/devstoreaccount1/{name}\nrestype:container"
    text = "PUT" + "\n" * 12 + told + resource
    digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey devstoreaccount1:{base64.b64encode(digest).decode()}"
    connection = http.client.HTTPConnection(address)
    connection.request("PUT", f"/devstoreaccount1/{name}?restype=container", headers=headers)
    assert connection.getresponse().status == 201
    connection.close()


@pytest.fixture(scope="module")
def source(recipe: Callable[[str], ModuleType]) -> Any:
    return recipe("objects").Objects


# ----------------------------------------------------------------- orders as objects hold them


def as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else f"{value}"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Text in quotes, null as nothing; `csv` itself would write the two alike."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow(rows[0])
    for row in rows:
        cells = [
            "" if v is None else '"' + v.replace('"', '""') + '"' if type(v) is str else as_text(v)
            for v in row.values()
        ]
        file.write(",".join(cells) + "\n")
    return file.getvalue().encode()


def as_ndjson(rows: Sequence[Mapping[str, Any]]) -> bytes:
    def written(value: Any) -> str:
        if isinstance(value, Decimal):
            return f"{value}"
        return json.dumps(as_text(value) if isinstance(value, dt.datetime) else value)

    made = (", ".join(f'"{k}": {written(v)}' for k, v in row.items()) for row in rows)
    return "".join(f"{{{line}}}\n" for line in made).encode()


def as_parquet(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, group: int = 8) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema), file, row_group_size=group)
    return file.getvalue()


@pytest.fixture(scope="module")
def seed(orders: list[dict[str, Any]], orders_table: pa.Table) -> Seed:
    """Put the orders into a folder as two objects, beside one that is none of them."""

    def seeded(put: Callable[[str, bytes], None], folder: str, kind: str) -> None:
        for name, rows in (("a", orders[:37]), ("b", orders[37:])):
            written = {
                "csv": lambda: as_csv(rows),  # noqa: B023 - called at once
                "ndjson": lambda: as_ndjson(rows),  # noqa: B023 - called at once
                "parquet": lambda: as_parquet(rows, orders_table.schema),  # noqa: B023 - at once
            }[kind]()
            put(f"{folder}/{name}.{kind}", written)
        put(f"{folder}/_SUCCESS", b"")
        put(f"{folder}2/c.{kind}", b"another folder")

    return seeded


def all_rows(frame: Any) -> list[dict[str, Any]]:
    table = pa.Table.from_pandas(frame.compute(scheduler="synchronous"), preserve_index=False)
    return table.to_pylist()


# ------------------------------------------------------------------------------- the contract


class ObjectsSuite(PythonDataSourceSuite):
    @pytest.fixture
    def source(self, source: Any) -> Any:
        return source

    @pytest.fixture
    def expected(self, orders_table: pa.Table) -> pa.Table | None:
        return orders_table

    @pytest.fixture
    def bad_options(self) -> Mapping[str, Any]:
        return {
            "format": "xml",
            "sliceBytes": "many",
            "url": "shop",
            "delimiter": "tab",
            "columnTypes": "id",
        }


class TestCSVOnS3(ObjectsSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, s3: Store, seed: Seed) -> Mapping[str, Any]:
        seed(s3.put, "contract", "csv")
        return s3.read("contract", "csv", sliceBytes="1800", aws_endpoint=s3.proxy.behind)


class TestFiles(ObjectsSuite):
    @pytest.fixture(params=["csv", "ndjson", "parquet"])
    def options(
        self, folder: Folder, seed: Seed, request: pytest.FixtureRequest
    ) -> Mapping[str, Any]:
        seed(folder.put, "contract", request.param)
        return folder.read("contract", request.param, sliceBytes="1000")


def test_every_format_of_every_store(
    request: pytest.FixtureRequest,
    source: Any,
    seed: Seed,
    orders: list[dict[str, Any]],
) -> None:
    for name, kind in itertools.product(("s3", "gcs", "azure"), ("csv", "ndjson", "parquet")):
        store = request.getfixturevalue(name)
        seed(store.put, f"every/{kind}", kind)
        frame = dd.read_python_source(
            source, options=store.read(f"every/{kind}", kind, sliceBytes="1500")
        )
        assert frame.npartitions > 2, name
        assert all_rows(frame) == orders, (name, kind)


def test_the_page_is_true(
    run_page: Callable[[str], None],
    s3: Store,
    seed: Seed,
    orders_table: pa.Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seed(s3.put, "orders", "csv")
    seed(s3.put, "history", "parquet")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.proxy.url)
    monkeypatch.setenv("SHOP_KEY", s3.options["aws_access_key_id"])
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    run_page("objects.md")


# --------------------------------------------------------------------------------- push-down


def test_columns_and_row_groups_that_are_not_wanted_are_not_fetched(
    s3: Store, source: Any, orders: list[dict[str, Any]]
) -> None:
    ids = pa.array(range(40_000))
    noise = pa.array([hashlib.sha256(f"{n}".encode()).hexdigest() for n in range(40_000)])
    file = io.BytesIO()
    pq.write_table(
        pa.table({"id": ids, "noise": noise, "more": noise}), file, row_group_size=10_000
    )
    s3.put("wide/w.parquet", file.getvalue())
    frame = dd.read_python_source(source, options=s3.read("wide", "parquet", sliceBytes="1"))
    assert frame.npartitions == 4

    def fetched() -> tuple[int, int]:
        asked = [one for one in s3.proxy.seen if one.method == "GET" and "w.parquet" in one.path]
        s3.proxy.seen.clear()
        return len(asked), sum(one.sent for one in asked)

    fetched()
    assert frame.compute(scheduler="synchronous").noise.tolist() == noise.to_pylist()
    _, everything = fetched()
    assert frame.id.sum().compute(scheduler="synchronous") == sum(range(40_000))
    _, one_column = fetched()
    assert one_column < everything / 5
    few = frame[(frame.id >= 12_345) & (frame.id < 12_350)]
    assert few.noise.compute(scheduler="synchronous").tolist() == noise.to_pylist()[12_345:12_350]
    _, one_group = fetched()
    assert one_group < everything / 2
    assert len(frame) == 40_000
    assert fetched()[0] <= 4  # as the footers tell, at planning or now


def test_row_groups_are_left_out_by_times_and_dates_and_told_by_their_bytes(
    s3: Store, source: Any
) -> None:
    start, count = dt.datetime(2025, 1, 1, tzinfo=dt.UTC), 20_000
    moments = [start + dt.timedelta(hours=n) for n in range(count)]
    table = pa.table(
        {
            "at": pa.array(moments, pa.timestamp("us", "UTC")),
            "nano": pa.array([None if n % 9 == 4 else n for n in range(count)], pa.timestamp("ns")),
            "day": pa.array([moment.date() for moment in moments]),
            "noise": [hashlib.sha256(f"{n}".encode()).hexdigest() for n in range(count)],
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=5_000)
    s3.put("times/t.parquet", file.getvalue())
    options = s3.read("times", "parquet", sliceBytes="1")
    frame = dd.read_python_source(source, options=options)
    evening = pd.Timestamp("2025-01-05 06:00", tz="Asia/Tokyo")  # 93 hours after the start
    for condition, kept in (
        (frame["at"] < evening, table.slice(0, 93)),
        (frame["at"] == evening, table.slice(93, 1)),
        (frame["nano"] >= pd.Timestamp(19_998), table.slice(19_998)),
        (frame["day"] <= dt.date(2025, 1, 1), table.slice(0, 24)),
    ):
        s3.proxy.seen.clear()
        found = frame[condition].noise.compute(scheduler="synchronous")
        assert found.tolist() == kept["noise"].to_pylist()
        # Each of the four partitions reads the footer, and one of them a row group.
        sent = [one.sent for one in s3.proxy.seen if "t.parquet" in one.path]
        assert sum(sent) < 0.6 * len(file.getvalue()), sent
    specs = source().plan_partitions(options)
    bytes_told = [told for *_, told in source().partition_statistics(specs, options)]
    assert sum(bytes_told) == sum(
        pq.ParquetFile(file).metadata.row_group(n).total_byte_size for n in range(4)
    )


def test_parquet_objects_whose_columns_differ_are_an_error(source: Any, folder: Folder) -> None:
    def write(name: str, table: pa.Table) -> None:
        file = io.BytesIO()
        pq.write_table(table, file)
        folder.put(name, file.getvalue())

    write("a.parquet", pa.table({"n": [1], "text": ["x"]}))
    write("b.parquet", pa.table({"text": ["y"]}))
    options = folder.read("", "parquet")
    frame = dd.read_python_source(source, options=options)
    with pytest.raises(dask_sail.PartitionReadError, match=r"b.parquet has no column 'n'"):
        frame.compute(scheduler="synchronous")
    assert frame.text.compute(scheduler="synchronous").tolist() == ["x", "y"]
    write("b.parquet", pa.table({"n": ["1"], "text": ["y"]}))
    frame = dd.read_python_source(source, options=options)
    assert len(frame[frame.n == 1].compute(scheduler="synchronous")) == 2  # the text is a number
    write("b.parquet", pa.table({"n": ["?"], "text": ["y"]}))
    frame = dd.read_python_source(source, options=options)
    with pytest.raises(dask_sail.BatchError, match="'n' came as string"):
        frame[frame.n == 1].compute(scheduler="synchronous")


def test_a_slice_fetches_little_more_than_its_bytes(s3: Store, source: Any) -> None:
    rows = [{"id": n, "customer": "x" * 90, "amount": None, "placed": None} for n in range(40_000)]
    content = as_csv(rows)
    s3.put("long/l.csv", content)
    frame = dd.read_python_source(source, options=s3.read("long", "csv", sliceBytes="1300000"))
    s3.proxy.seen.clear()
    middle = frame.partitions[1].id.compute(scheduler="synchronous").tolist()
    asked = [one for one in s3.proxy.seen if "l.csv" in one.path]
    assert sum(one.sent for one in asked) < 1_300_000 + 2**20 + 70_000
    assert len(asked) == 3  # the first line, the slice, the end of its last line
    assert middle == list(range(middle[0], middle[0] + len(middle)))
    assert frame.id.compute(scheduler="synchronous").tolist() == list(range(40_000))


# ------------------------------------------------------------------------------------ slices

LINE = st.text(st.sampled_from("ab,; é漢\"\\{}[]'\t\r"), max_size=12)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.none() | LINE, min_size=1, max_size=12), size=st.integers(1, 60))
@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_each_record_is_in_one_slice_wherever_the_cuts_are(
    source: Any,
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    texts: list[str | None],
    size: int,
) -> None:
    rows = [{"text": text, "n": n} for n, text in enumerate(texts)]
    folder = Folder(tmp_path_factory.mktemp("slices"))
    folder.put(f"a.{kind}", as_csv(rows) if kind == "csv" else as_ndjson(rows))
    options = folder.read("", kind, sliceBytes=f"{size}") | {
        "columnTypes": '{"n": "int64", "text": "string"}'
    }
    batches = [
        b for s in source().plan_partitions(options) for b in source().read_partition(s, options)
    ]
    found = [(row["n"], row["text"]) for batch in batches for row in batch.to_pylist()]
    assert found == list(enumerate(texts))


@pytest.mark.parametrize("size", range(1, 12))
def test_an_object_of_one_column_with_nothing_in_some_lines(
    source: Any, folder: Folder, size: int
) -> None:
    folder.put("a.csv", b'word\nx\n\n""\r\nlast')  # and no line break at the end
    options = folder.read("", "csv", sliceBytes=f"{size}", columnTypes='{"word": "string"}')
    frame = dd.read_python_source(source, options=options)
    assert [row["word"] for row in all_rows(frame)] == ["x", None, "", "last"]


def test_a_line_break_in_quotes_is_refused_and_read_from_whole_objects(
    source: Any, folder: Folder, orders: list[dict[str, Any]]
) -> None:
    rows = [{**row, "customer": 'two\nlines, "so"'} for row in orders]
    folder.put("a.csv", as_csv(rows))
    for size in (400, 10**6):
        options = folder.read("", "csv", sliceBytes=f"{size}")
        with pytest.raises(dask_sail.PartitionReadError, match=r"line break.*'sliceBytes': '0'"):
            dd.read_python_source(source, options=options).compute(scheduler="synchronous")
    whole = dd.read_python_source(source, options=folder.read("", "csv", sliceBytes="0"))
    assert all_rows(whole) == rows


def test_objects_may_have_their_columns_in_another_order(source: Any, folder: Folder) -> None:
    folder.put("a.csv", b"\xef\xbb\xbfid,word\n\n1,x\n\n")
    folder.put("b.csv", b"more,word,id\n?,y,2\n")
    options = folder.read(
        "", "csv", columnTypes='{"id": "int64", "word": "string"}', sliceBytes="7"
    )
    found = all_rows(dd.read_python_source(source, options=options))
    assert found == [{"id": 1, "word": "x"}, {"id": 2, "word": "y"}]
    folder.put("c.csv", b"id;word\n3;z\n")
    with pytest.raises(dask_sail.PartitionReadError, match=r"c.csv must have one column 'id'"):
        dd.read_python_source(source, options=options).compute(scheduler="synchronous")


# --------------------------------------------------------------------------------- exactness


@pytest.mark.parametrize(
    ("kind", "content", "complaint"),
    [
        ("csv", b"n,d\n1.0,1\n", "int64"),
        ("csv", b"n,d\n1,0.001\n", "cause data loss"),
        ("csv", b"n,d\n1\n", "Expected 2 columns"),
        ("csv", b"n,n,d\n1,2,3\n", "one column 'n'"),
        ("csv", b"m,d\n1,2\n", "one column 'n'"),
        ("ndjson", b'{"n": 1.5}\n', "int64"),
        ("ndjson", b'{"n": 1, "n": 2}\n', "twice"),
        ("ndjson", b'{"n": 1, "d": 0.001}\n', "decimal128"),
        ("ndjson", b'{"n": 1}\n{"n": 2', "JSON parse error"),
        ("ndjson", b'{"n": 1}\n[2]\n', "JSON parse error"),
    ],
)
def test_what_does_not_fit_is_an_error(
    source: Any, folder: Folder, kind: str, content: bytes, complaint: str
) -> None:
    folder.put(f"a.{kind}", content)
    schema = '{"n": "int64", "d": "decimal128(10, 2)"}'
    frame = dd.read_python_source(source, options=folder.read("", kind, columnTypes=schema))
    with pytest.raises(dask_sail.PartitionReadError, match=complaint):
        frame.compute(scheduler="synchronous")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("csv", b"n,d,day\n9007199254740993,1234567890123456.78,2024-02-29\nNA,,\n"),
        ("ndjson", b'{"n": 9007199254740993, "d": 1234567890123456.78, "day": "2024-02-29"}\n{}\n'),
    ],
)
def test_numbers_keep_their_digits(source: Any, folder: Folder, kind: str, content: bytes) -> None:
    folder.put(f"a.{kind}", content.replace(b"NA", b""))
    schema = '{"n": "int64", "d": "decimal128(20, 2)", "day": "date32"}'
    frame = dd.read_python_source(source, options=folder.read("", kind, columnTypes=schema))
    first = {
        "n": 9007199254740993,
        "d": Decimal("1234567890123456.78"),
        "day": dt.date(2024, 2, 29),
    }
    assert all_rows(frame) == [first, dict.fromkeys(first)]


def test_na_is_a_text(source: Any, folder: Folder) -> None:
    folder.put("a.csv", b'code,name\nNA,"Namibia"\nNULL,""\n,\n')
    schema = '{"code": "string", "name": "string"}'
    frame = dd.read_python_source(source, options=folder.read("", "csv", columnTypes=schema))
    assert [tuple(row.values()) for row in all_rows(frame)] == [
        ("NA", "Namibia"),
        ("NULL", ""),
        (None, None),
    ]


# ------------------------------------------------------------------------------------ faults


@pytest.mark.parametrize("name", ["s3", "gcs", "azure"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_object_that_changed_after_planning_is_an_error(
    request: pytest.FixtureRequest, source: Any, seed: Seed, name: str, kind: str
) -> None:
    store = request.getfixturevalue(name)
    seed(store.put, f"changing/{kind}", kind)
    options = store.read(f"changing/{kind}", kind)
    frame = dd.read_python_source(source, options=options)
    (last,) = {spec["size"] for spec in source().plan_partitions(options)[-1:]}
    store.put(f"changing/{kind}/b.{kind}", b"x" * last)  # the size alone would not tell
    with pytest.raises(dask_sail.PartitionReadError, match=r"b\.\w+ has changed since") as raised:
        frame.compute(scheduler="synchronous")
    assert not raised.value.transient


def test_connections_that_break_off_and_busy_answers_lose_no_row(
    s3: Store, source: Any, seed: Seed, orders: list[dict[str, Any]]
) -> None:
    seed(s3.put, "faulty", "csv")
    options = s3.read("faulty", "csv")
    frame = dd.read_python_source(source, options=options)

    def reads(method: str, path: str) -> bool:
        return method == "GET" and path.endswith("b.csv")

    s3.proxy.faults += [(reads, kind) for kind in ("busy", "cut", "cut", "busy", "cut")]
    assert all_rows(frame) == orders
    assert s3.proxy.faults == []


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_store_that_stays_busy_is_a_transient_error(
    s3: Store, source: Any, seed: Seed, kind: str
) -> None:
    seed(s3.put, f"busy/{kind}", kind)
    options = s3.read(f"busy/{kind}", kind)
    plan = source().plan_partitions(options)
    s3.proxy.faults += [(lambda method, path: path.endswith(f"a.{kind}"), "busy")] * 9
    try:
        with pytest.raises(Exception, match=r"a\.\w+ cannot be read \(status 503\)") as raised:
            list(source().read_partition(plan[0], options))
    finally:
        s3.proxy.faults.clear()
    assert raised.value.transient


def test_no_key_is_told(s3: Store, azure: Store, source: Any, seed: Seed) -> None:
    seed(azure.put, "denied", "csv")
    wrong = base64.b64encode(b"not the key of anybody").decode()
    given = azure.read("denied", "csv") | {"azure_storage_account_key": wrong}
    with pytest.raises(dask_sail.SourceCallError, match=r"listing cannot .*status 403") as raised:
        dd.read_python_source(source, options=given)
    assert wrong not in f"{raised.value}{raised.value.args}"
    given["azure_storage_account_key"] = "no base64, but a s3cret"
    with pytest.raises(Exception, match="the store cannot be read") as plainly:
        source().plan_partitions(given)
    assert plainly.value.__context__ is None
    assert "s3cret" not in f"{plainly.value}"


def test_the_options_of_the_stores_are_those_that_obstore_takes(source: Any) -> None:
    from obstore import store

    def is_taken(name: str) -> bool:
        scheme = {"aws": "s3", "google": "gs", "azure": "az"}[name.partition("_")[0]]
        try:
            store.from_url(f"{scheme}://shop", config={name: "true"})
        except Exception as error:
            return "is not valid for store" not in str(error)
        return True

    named = {n for n in source().option_names() if n.startswith(("aws_", "google_", "azure_"))}
    assert {name for name in named if not is_taken(name)} == set()
    documented = set()
    for prefix, module in (("aws", "_aws"), ("google", "_gcs"), ("azure", "_azure")):
        text = Path(store.__file__).parent.joinpath("_store", f"{module}.pyi").read_text()
        fields = re.findall(r"^    (\w+): ", text, re.MULTILINE)
        documented |= {n if n.startswith(f"{prefix}_") else f"{prefix}_{n}" for n in fields}
        documented |= set(map(str.lower, re.findall(rf"`({prefix.upper()}_[A-Z0-9_]+)`", text)))
    documented = {name for name in documented if is_taken(name)}
    assert len(documented) > 70
    assert documented <= named


def test_a_misspelt_option_is_an_error(source: Any, folder: Folder) -> None:
    folder.put("a.csv", b"id\n1\n")
    given = folder.read("", "csv", aws_secret_acces_key=SECRET)
    with pytest.raises(
        dask_sail.OptionError, match="did you mean 'aws_secret_access_key'"
    ) as found:
        dd.read_python_source(source, options=given)
    assert SECRET not in f"{found.value!r}"


def test_a_folder_without_objects_is_an_error(source: Any, folder: Folder) -> None:
    folder.put("data/a.txt", b"x")
    with pytest.raises(dask_sail.SourceCallError, match=r"no object under .*ends in \.csv"):
        dd.read_python_source(source, options=folder.read("data", "csv"))


def test_objects_without_rows_have_none(source: Any, folder: Folder) -> None:
    folder.put("a.csv", b"id,customer,amount,placed")
    folder.put("b.csv", b"")
    frame = dd.read_python_source(source, options=folder.read("", "csv"))
    assert len(frame) == 0
    assert list(frame.compute(scheduler="synchronous").columns) == [
        "id",
        "customer",
        "amount",
        "placed",
    ]
