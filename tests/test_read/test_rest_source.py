"""A paginated REST source written by somebody who knows Lakesail's bridge and nothing of ours."""

import datetime
import json
import warnings
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pytest
import requests

import dask_sail

PAGES = [
    [
        {"id": 1, "name": "Ada", "created_at": "2024-01-01T00:00:00Z", "tags": ["x"]},
        {"id": 2, "name": None, "created_at": "2024-01-02T03:04:05.678901Z"},
    ],
    [{"id": 3, "name": "Zoë", "created_at": "2024-02-29T12:00:00"}],
    [],
    [
        {"id": 4, "name": "", "created_at": None, "note": {"deep": 1}},
        {"id": 5, "name": "Eve", "created_at": "1969-12-31 23:59:59.5"},
    ],
]
EXPECTED = {
    "id": [1, 2, 3, 4, 5],
    "name": ["Ada", None, "Zoë", "", "Eve"],
    "created_at": [
        datetime.datetime(2024, 1, 1),
        datetime.datetime(2024, 1, 2, 3, 4, 5, 678901),
        datetime.datetime(2024, 2, 29, 12),
        None,
        datetime.datetime(1969, 12, 31, 23, 59, 59, 500000),
    ],
}


class RESTDataSource:
    """As the bridge's documentation shows one."""

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        requests.get(f"{options['endpoint']}?limit=1", timeout=10).raise_for_status()
        return pa.schema(
            [("id", pa.int64()), ("name", pa.string()), ("created_at", pa.timestamp("us"))]
        )

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        answer = requests.get(f"{options['endpoint']}?limit=1", timeout=10).json()
        return [{"page": i} for i in range(answer["total_pages"])]

    def read_partition(
        self, partition_spec: dict[str, Any], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        page = partition_spec["page"]
        answer = requests.get(f"{options['endpoint']}?page={page}", timeout=10)
        answer.raise_for_status()
        yield from pa.Table.from_pylist(answer.json()["items"]).to_batches()


@pytest.fixture
def api() -> Iterator[tuple[str, Counter[str]]]:
    """Endpoint of a real HTTP server, and how often each query was asked."""
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            asked[urlsplit(self.path).query] += 1
            if "page" in query:
                body: dict[str, Any] = {"items": PAGES[int(query["page"][0])]}
            else:
                body = {"items": PAGES[0][:1], "total_pages": len(PAGES)}
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/items", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_it_runs_unchanged(api: tuple[str, Counter[str]], scheduler: str) -> None:
    endpoint, asked = api
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the fields that the schema lacks
        frame = dd.read_python_source(RESTDataSource, endpoint=endpoint)
        assert frame.npartitions == len(PAGES)
        result = frame.compute(scheduler=scheduler)
    assert (
        result.to_dict("list")
        == {
            name: [pd.NA if value is None else value for value in values]
            for name, values in EXPECTED.items()
        }
        or _plain(result) == EXPECTED
    )
    assert [str(dtype) for dtype in result.dtypes] == [
        "int64[pyarrow]",
        "string[pyarrow]",
        "timestamp[us][pyarrow]",
    ]
    assert {query: n for query, n in asked.items() if "page" in query} == {
        f"page={i}": 1 for i in range(len(PAGES))
    }


def _plain(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return pa.Table.from_pandas(frame, preserve_index=False).to_pydict()


def test_fields_that_the_schema_lacks_are_named_in_one_warning(
    api: tuple[str, Counter[str]],
) -> None:
    class Fresh(RESTDataSource):  # warnings come once per source and process
        pass

    with pytest.warns(UserWarning, match="Fresh: .*dropped: tags") as caught:
        dd.read_python_source(Fresh, endpoint=api[0]).compute(scheduler="synchronous")
    texts = [str(one.message) for one in caught if "dropped" in str(one.message)]
    assert sorted(texts) == [text for text in texts if "note" in text or "tags" in text]
    assert len(texts) == len(set(texts))


def test_one_page_is_asked_for_one_partition(api: tuple[str, Counter[str]]) -> None:
    endpoint, asked = api
    frame = dd.read_python_source(RESTDataSource, endpoint=endpoint)
    result = frame.partitions[3].id.compute(scheduler="synchronous")
    assert result.tolist() == [4, 5]
    assert [query for query in asked if "page" in query] == ["page=3"]


def test_a_server_error_names_source_page_and_cause(api: tuple[str, Counter[str]]) -> None:
    endpoint, _ = api

    class Broken(RESTDataSource):
        def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
            return [{"page": 99}]

        def read_partition(
            self, partition_spec: dict[str, Any], options: dict[str, str]
        ) -> Iterator[pa.RecordBatch]:
            raise ValueError("no page 99")
            yield

    with pytest.raises(dask_sail.PartitionReadError) as raised:
        dd.read_python_source(Broken, endpoint=endpoint).compute(scheduler="threads")
    assert raised.value.spec == {"page": 99}
    assert raised.value.error_type == "ValueError"
    assert "Broken" in raised.value.source
    assert "raise ValueError" in raised.value.traceback_text
    assert "worker.py" not in raised.value.traceback_text
