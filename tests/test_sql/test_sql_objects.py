"""Parquet on servers of S3, Azure Blob Storage and Google Cloud: rows, versions, secrets."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import http.client
import importlib.util
import io
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

import dask_sail
from dask_sail.errors import OptionError

pytestmark = pytest.mark.sources
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
WHOLE = (
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 2) "
    "SELECT sum(x) AS s FROM t CROSS JOIN r"
)


def parquet(*values: int, **columns: Any) -> bytes:
    """A file of five rows per group."""
    file = io.BytesIO()
    table = pa.table({"x": pa.array(values, pa.int64()), **columns})
    pq.write_table(table, file, row_group_size=5, compression="none", use_dictionary=False)
    return file.getvalue()


@pytest.fixture(scope="session")
def stores() -> ModuleType:
    """Servers of stored data, to be started, as the worked sources have them."""
    path = Path(__file__).parent.parent / "test_sources" / "stores.py"
    spec = importlib.util.spec_from_file_location("stores", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["stores"] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


@dataclass
class Bucket:
    """A bucket, what reaches it, and what is asked of it."""

    proxy: Any
    options: dict[str, str]
    put: Callable[..., None]
    delete: Callable[[str], None]

    def asked(self, what: Callable[[Any], bool]) -> list[Any]:
        return [one for one in self.proxy.seen if what(one)]


@pytest.fixture(scope="module")
def server(stores: ModuleType) -> Iterator[Bucket]:
    import boto3

    with stores.running_moto() as proxy:
        keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": SECRET}
        client = boto3.client("s3", endpoint_url=proxy.behind, region_name="us-east-1", **keys)
        for name in ("shop", "other"):
            client.create_bucket(Bucket=name)

        def put(name: str, content: bytes, bucket: str = "shop", **more: str) -> None:
            client.put_object(Bucket=bucket, Key=name, Body=content, **more)

        def delete(name: str) -> None:
            client.delete_object(Bucket="shop", Key=name)

        options = {"aws_endpoint": proxy.url, "aws_region": "us-east-1", "allow_http": "true"}
        yield Bucket(proxy, keys | options, put, delete)
        client.close()


_number = iter(range(10**6))


@pytest.fixture
def s3(server: Bucket) -> Bucket:
    """The bucket with nothing asked of it yet."""
    server.proxy.seen.clear()
    return server


@pytest.fixture
def lake(s3: Bucket) -> str:
    """A folder of two objects, of which each year has one, and of others that are no Parquet."""
    folder = f"lake {next(_number)}"
    s3.put(f"{folder}/year=2024/a b.parquet", parquet(*range(20)))
    s3.put(f"{folder}/year=2025/c%2F=é.parquet", parquet(*range(100, 120)))
    s3.put(f"{folder}/_SUCCESS", b"")
    s3.put(f"{folder}/year=2025/readme.txt", b"by hand")
    return folder


# The key of the emulator, which its documentation tells everybody.
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@contextmanager
def azure(stores: ModuleType) -> Iterator[Callable[[str, bytes], None]]:
    """Run Azure's stand-in with a container, and give what puts an object there."""
    import obstore

    with (
        stores.running_azurite() as proxy,
        pytest.MonkeyPatch.context() as patched,
        dask.config.set(scheduler="sync"),  # workers do not have the variable
    ):
        patched.setenv("AZURITE_BLOB_STORAGE_URL", proxy.url)
        now = dt.datetime.now(dt.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {"x-ms-date": now, "x-ms-version": "2021-08-06"}
        told = "".join(f"{header}:{value}\n" for header, value in headers.items())
        resource = "/devstoreaccount1/devstoreaccount1/shop\nrestype:container"
        text = "PUT" + "\n" * 12 + told + resource
        digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey devstoreaccount1:{base64.b64encode(digest).decode()}"
        connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"))
        connection.request("PUT", "/devstoreaccount1/shop?restype=container", headers=headers)
        assert connection.getresponse().status == 201
        connection.close()
        store = obstore.store.from_url("az://shop", config={"azure_storage_use_emulator": "true"})
        yield lambda name, content: obstore.put(store, name, content) and None


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit="2GiB"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


ANSWER = {"year": ["2024", "2025"], "n": [20, 20], "s": [190, 2190]}
SQL = "SELECT year, count(*) AS n, sum(x) AS s FROM t GROUP BY year ORDER BY year"


def registered(s3: Bucket, lake: str, **more: str) -> dask_sail.SQLContext:
    ctx = dask_sail.SQLContext()
    ctx.register_parquet("t", f"s3://shop/{lake}", storage_options=s3.options | more)
    return ctx


def test_a_folder_is_a_table(s3: Bucket, lake: str) -> None:
    ctx = registered(s3, lake)
    assert ctx.to_arrow(SQL).to_pydict() == ANSWER
    assert "whole" not in str(ctx.explain(SQL))  # in stages
    assert ctx.to_arrow("SHOW TABLES").to_pylist() == [
        {"table_name": "t", "table_type": "parquet", "partitions": 2, "rows": 40}
    ]
    frame = ctx.sql("SELECT x, year FROM t WHERE x % 10 = 3").compute()
    assert sorted(zip(frame.x, frame.year, strict=True)) == [
        (3, "2024"),
        (13, "2024"),
        (103, "2025"),
        (113, "2025"),
    ]


@pytest.mark.parametrize("sql", [SQL, WHOLE], ids=["stages", "whole"])
def test_worker_processes_read_with_references(
    s3: Bucket, lake: str, client: Client, tmp_path: Path, sql: str
) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    ctx = registered(s3, lake, aws_secret_access_key=f"{{file:{tmp_path}/secret}}")
    frame = ctx.sql(sql)
    graph = frame.optimize().__dask_graph__()
    assert SECRET.encode() not in pickle.dumps(dict(graph))
    s3.proxy.seen.clear()
    wanted = ANSWER if sql is SQL else {"s": [2 * (190 + 2190)]}
    assert frame.compute().to_dict("list") == wanted
    read = {
        one.path for one in s3.asked(lambda one: one.method == "GET" and "range" in one.headers)
    }
    assert len(read) == 2
    planned = ctx.sql(f"{sql} LIMIT 5")
    (tmp_path / "secret").unlink()
    with pytest.raises(
        (OptionError, dask_sail.SQLExecutionError), match=r"holds the reference .*cannot be read"
    ) as caught:
        planned.compute()
    assert "aws_secret_access_key" in str(caught.value)


def test_a_secret_is_shown_nowhere(s3: Bucket, lake: str) -> None:
    ctx = registered(s3, lake)
    frame = ctx.sql(SQL)
    graph = frame.optimize().__dask_graph__()
    told = [
        repr(ctx),
        repr(frame),
        repr(dict(graph)),
        str(list(graph)),
        str(ctx.explain(SQL, analyze=True)),
        repr(ctx._parquet),
        repr(frame.expr),
        str(ctx._plan(SQL)),
    ]
    for text in told:
        assert SECRET not in text
        assert "AKIAEXAMPLE" not in text
    assert f"{len(graph)}" != "0"


def test_keys_do_not_tell_secrets_and_tell_versions(s3: Bucket, lake: str) -> None:
    def keys(**more: str) -> set[Any]:
        graph = registered(s3, lake, **more).sql(SQL).optimize().__dask_graph__()
        return set(graph)

    before = keys()
    assert before == keys() == keys(aws_secret_access_key="another")
    s3.put(f"{lake}/year=2024/a b.parquet", parquet(*range(1, 21)))
    # What is called a plan is the same work, on whatever objects.
    assert {key for key in keys() & before if not key[0].startswith("plan_")} == set()


def test_statements_take_options(s3: Bucket, lake: str) -> None:
    options = ", ".join(f"{key} '{value}'" for key, value in s3.options.items())
    ctx = dask_sail.SQLContext()
    create = f"CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://shop/{lake}/'"
    ctx.sql(f"{create} PARTITIONED BY (year) OPTIONS ({options})")
    assert ctx.to_arrow(SQL).to_pydict() == ANSWER
    ctx.sql("DROP TABLE t")
    with pytest.raises(dask_sail.SQLStatementError, match="'PARTITIONED BY' names 'month'"):
        ctx.sql(f"{create} PARTITIONED BY (month) OPTIONS ({options})")
    with pytest.raises(
        dask_sail.SQLStatementError, match="not an option of S3; write 'aws_secret_access_key'"
    ) as caught:
        ctx.sql(f"{create} OPTIONS (secret '{SECRET}')")
    assert caught.value.line == 1
    assert SECRET not in str(caught.value)
    with pytest.raises(dask_sail.SQLStatementError, match="'OPTIONS' are of object stores"):
        ctx.sql("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/x' OPTIONS (aws_region 'r')")
    assert ctx.tables() == []


def test_row_groups_are_left_out(s3: Bucket) -> None:
    folder = f"groups {next(_number)}"
    noise = base64.b85encode(bytes(range(256)) * 400).decode()
    texts = [noise[i : i + 20_000] + str(i) for i in range(0, 40_000, 1000)]
    s3.put(f"{folder}/a.parquet", parquet(*range(40), text=texts))
    ctx = registered(s3, folder)

    def sent(sql: str) -> int:
        frame = ctx.sql(sql)
        s3.proxy.seen.clear()
        assert len(frame) > 0
        ctx.to_arrow(sql)
        return sum(one.sent for one in s3.asked(lambda one: one.path.endswith("a.parquet")))

    everything = sent("SELECT x, max(text) AS t FROM t GROUP BY x")
    assert sent("SELECT x, max(text) AS t FROM t WHERE x >= 37 GROUP BY x") < everything / 2
    assert sent("SELECT sum(x) AS t FROM t") < everything / 2
    assert ctx.to_arrow("SELECT text FROM t WHERE x = 38").to_pydict() == {"text": [texts[38]]}


CHANGES: dict[str, Callable[[Bucket, str], None]] = {
    # As many bytes, and within the second that stores tell times by.
    "written": lambda s3, lake: s3.put(f"{lake}/year=2024/a b.parquet", parquet(*range(20, 0, -1))),
    "added": lambda s3, lake: s3.put(f"{lake}/year=2024/b.parquet", parquet(7)),
    "removed": lambda s3, lake: s3.delete(f"{lake}/year=2024/a b.parquet"),
}
AFTER = {"written": 210 + 2190, "added": 7 + 190 + 2190, "removed": 2190}


@pytest.mark.parametrize("change", CHANGES)
def test_a_query_sees_the_objects_that_there_are_now(s3: Bucket, lake: str, change: str) -> None:
    ctx = registered(s3, lake)
    assert ctx.to_arrow("SELECT sum(x) AS s FROM t").to_pydict() == {"s": [190 + 2190]}
    CHANGES[change](s3, lake)
    assert ctx.to_arrow("SELECT sum(x) AS s FROM t").to_pydict() == {"s": [AFTER[change]]}


@pytest.mark.parametrize("sql", [SQL, WHOLE], ids=["stages", "whole"])
@pytest.mark.parametrize("change", ["written", "removed"])
def test_an_object_that_changed_after_planning_is_an_error(
    s3: Bucket, lake: str, sql: str, change: str
) -> None:
    ctx = registered(s3, lake)
    planned = ctx.sql(sql)
    planned.compute()
    CHANGES[change](s3, lake)
    with pytest.raises(dask_sail.SQLExecutionError, match=r"404|not found|written after the query"):
        planned.compute()
    assert len(ctx.sql(sql)) > 0


def test_an_object_of_the_old_size_is_told_by_its_tag(s3: Bucket, lake: str) -> None:
    before, after = parquet(*range(20)), parquet(*range(20, 0, -1))
    assert len(before) == len(after)
    planned = registered(s3, lake).sql("SELECT sum(x) AS s FROM t")
    s3.put(f"{lake}/year=2024/a b.parquet", after)
    message = rf"the object 's3://shop/{lake}/year=2024/a b.parquet' was written after"
    with pytest.raises(dask_sail.SQLExecutionError, match=message):
        planned.compute()


def test_tables_of_one_name_in_two_buckets(s3: Bucket, lake: str) -> None:
    s3.put(f"{lake}/year=2024/a b.parquet", parquet(1000), bucket="other")
    ctx = registered(s3, lake)
    ctx.register_parquet("u", f"s3a://other/{lake}/", storage_options=s3.options)
    ctx.register_parquet(
        "v", [f"s3://other/{lake}", f"s3://shop/{lake}"], storage_options=s3.options
    )
    got = ctx.to_arrow(
        "SELECT (SELECT sum(x) FROM t) AS t, (SELECT sum(x) FROM u) AS u, sum(x) AS v FROM v"
    )
    assert got.to_pydict() == {"t": [2380], "u": [1000], "v": [3380]}
    joined = ctx.to_arrow("SELECT count(*) AS n FROM t JOIN u ON t.year = u.year AND t.x < u.x")
    assert joined.to_pydict() == {"n": [20]}
    s3.put(f"{lake}/year=2024/a b.parquet", parquet(1001), bucket="other")
    assert ctx.to_arrow("SELECT sum(x) AS s FROM u").to_pydict() == {"s": [1001]}


def test_what_is_not_there_is_told(s3: Bucket, lake: str) -> None:
    ctx = registered(s3, lake)
    for url, message in (
        ("s3://nosuch/a/", "s3://nosuch is not there"),
        (f"s3://shop/{lake}/nothing", "there is no such file"),
        (f"s3://shop/{lake}/nothing.parquet", "there is no such file"),
        (
            f"s3://shop/{lake}/year=2025/readme.txt",
            "Parquet magic bytes not found|too small|smaller",
        ),
        (f"s3://shop/{lake}/year=*", "wildcard"),
        (f"s3://key:{SECRET}@shop/{lake}", "must name a bucket, and nothing else before"),
        ([f"s3://shop/{lake}", "/tmp"], "names files and objects"),
        ([f"s3://shop/{lake}", "gs://shop/a"], "several kinds"),
    ):
        with pytest.raises(OptionError, match=message) as caught:
            ctx.register_parquet("u", url, storage_options=s3.options)
        assert SECRET not in str(caught.value)
        assert "AKIAEXAMPLE" not in str(caught.value)
    assert ctx.tables() == ["t"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": SECRET}, "option 'key' is not an option of S3; write 'aws_access_key_id'"),
        ({"endpoint_url": "x"}, "write 'aws_endpoint'"),
        ({"aws_secret_acces_key": SECRET}, "did you mean 'aws_secret_access_key'"),
        ({"google_service_account": "x"}, "is not an option of S3; "),
        ({"allow_http": "yes"}, "'allow_http' must be 'true' or 'false', got 'yes'"),
        ({"aws_endpoint": "http://127.0.0.1:9"}, "write allow_http='true' as well"),
        (
            {
                "aws_endpoint": "http://127.0.0.1:9",
                "allow_http": True,
                "aws_access_key_id": "A",
                "aws_secret_access_key": SECRET,
            },
            "s3://shop does not answer; check the endpoint",
        ),
        ({"aws_secret_access_key": "{env:NO_SUCH_NAME}"}, "NO_SUCH_NAME.* is not set"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        dask_sail.SQLContext().register_parquet("t", "s3://shop/a/", storage_options=options)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None or SECRET not in str(caught.value.__context__)


def test_a_secret_that_a_store_refuses(stores: ModuleType) -> None:
    """Azure's stand-in checks signatures; that of S3 does not."""
    with azure(stores) as put:
        put("t/a.parquet", parquet(1, 2))
        wrong = base64.b64encode(b"not the key of anybody").decode()
        for key in (AZURE_KEY, wrong):
            ctx = dask_sail.SQLContext()
            options = {
                "azure_storage_account_name": "devstoreaccount1",
                "azure_storage_account_key": key,
                "azure_storage_use_emulator": True,
            }
            if key == AZURE_KEY:
                ctx.register_parquet("t", "az://shop/t", storage_options=options)
                assert ctx.to_arrow("SELECT sum(x) AS s FROM t").to_pydict() == {"s": [3]}
                planned = ctx.sql("SELECT sum(x) AS s FROM t")
                put("t/a.parquet", parquet(3, 4))
                with pytest.raises(dask_sail.SQLExecutionError, match="was written after"):
                    planned.compute(scheduler="sync")
                continue
            with pytest.raises(OptionError, match="az://shop refuses, with status 403") as caught:
                ctx.register_parquet("t", "az://shop/t", storage_options=options)
            assert wrong not in str(caught.value)


def test_a_key_that_only_the_worker_has_wrongly(stores: ModuleType, tmp_path: Path) -> None:
    with azure(stores) as put:
        put("t/a.parquet", parquet(1, 2))
        (tmp_path / "key").write_text(AZURE_KEY)
        options = {
            "azure_storage_account_name": "devstoreaccount1",
            "azure_storage_account_key": f"{{file:{tmp_path}/key}}",
            "azure_storage_use_emulator": True,
        }
        ctx = dask_sail.SQLContext()
        ctx.register_parquet("t", "abfs://shop/t/", storage_options=options)
        planned = ctx.sql("SELECT sum(x) AS s FROM t")
        wrong = base64.b64encode(b"not the key of anybody").decode()
        (tmp_path / "key").write_text(wrong)
        with pytest.raises((dask_sail.SQLExecutionError, OptionError), match="403") as caught:
            planned.compute(scheduler="sync")
        assert wrong not in str(caught.value)
        assert "Signature" not in str(caught.value)
        assert "<" not in str(caught.value)


def test_google(stores: ModuleType, tmp_path: Path) -> None:
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
        with client.open_output_stream("shop/t/a.parquet") as file:
            file.write(parquet(1, 2))
        account = {"client_email": "", "private_key": "", "private_key_id": ""}
        account |= {"gcs_base_url": proxy.url, "disable_oauth": True}
        (tmp_path / "account.json").write_text(json.dumps(account))
        ctx = dask_sail.SQLContext()
        options = {"google_service_account": tmp_path / "account.json"}
        ctx.register_parquet("t", "gs://shop/t", storage_options=options)
        assert ctx.to_arrow("SELECT sum(x) AS s FROM t").to_pydict() == {"s": [3]}
        planned = ctx.sql("SELECT sum(x) AS s FROM t")
        with client.open_output_stream("shop/t/a.parquet") as file:
            file.write(parquet(3, 4))
        with pytest.raises(dask_sail.SQLExecutionError, match="was written after"):
            planned.compute(scheduler="sync")
        assert ctx.to_arrow("SELECT sum(x) AS s FROM t").to_pydict() == {"s": [7]}


@pytest.mark.parametrize("public", [False, True])
def test_without_options_the_environment_counts(
    s3: Bucket, lake: str, monkeypatch: pytest.MonkeyPatch, public: bool
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.options["aws_endpoint"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    if public:
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    ctx = dask_sail.SQLContext()
    url = f"s3://shop/{lake}/public.parquet"
    s3.put(f"{lake}/public.parquet", parquet(*range(20)), ACL="public-read")
    ctx.register_parquet("t", url, storage_options={"allow_http": True})
    with dask.config.set(scheduler="sync"):
        assert ctx.to_arrow("SELECT sum(x) AS s FROM t").to_pydict() == {"s": [190]}
    signed = {"AKIAOTHER" in one.headers.get("authorization", "") for one in s3.proxy.seen}
    assert signed == {not public}
