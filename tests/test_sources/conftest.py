"""What the tests of the worked sources share: the recipes as a user has them, rows, pages."""

from __future__ import annotations

import contextlib
import datetime as dt
import doctest
import importlib
import importlib.util
import io
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

RECIPES = Path(__file__).parent.parent.parent / "docs" / "recipes"


@pytest.fixture(scope="session")
def recipe() -> Iterator[Callable[[str], ModuleType]]:
    """Import a recipe by its name, as a script beside it would."""
    sys.path.insert(0, str(RECIPES))
    yield importlib.import_module
    sys.path.remove(str(RECIPES))


@pytest.fixture(scope="session")
def stores() -> ModuleType:
    """Servers of stored data, to be started: `stores.py` beside this file."""
    spec = importlib.util.spec_from_file_location("stores", Path(__file__).with_name("stores.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["stores"] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def moto(stores: ModuleType) -> Iterator[Any]:
    """What stands in for S3 and DynamoDB, behind a proxy; one server, as it takes long to start."""
    with stores.running_moto() as proxy:
        yield proxy


@pytest.fixture
def run_page(
    recipe: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Run the Python blocks of a recipe's page, one after another, and compare what they print."""

    def run(name: str) -> None:
        text = (RECIPES / name).read_text(encoding="utf-8")
        found = re.findall(
            r"^```python\n(.*?)^```$(?:\s*^```text\n(.*?)^```$)?", text, re.MULTILINE | re.DOTALL
        )
        assert found, name
        monkeypatch.chdir(tmp_path)
        names: dict[str, Any] = {"__name__": "__main__"}
        for code, shown in found:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(code, name, "exec", dont_inherit=True), names)
            assert not shown or doctest.OutputChecker().check_output(
                shown, printed.getvalue(), doctest.ELLIPSIS
            ), f"{name} prints\n{printed.getvalue()}\nnot\n{shown}"

    return run


_CUSTOMERS = ["Ada", None, "Zoë 漢字 😀", 'it\'s "q" \\ %', "", "ada", "Ada "]


def make_orders(count: int) -> list[dict[str, Any]]:
    """Orders with numbers past 2**53, decimals that no float holds, nulls, and odd texts."""
    start = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    return [
        {
            "id": 2**53 + 2 * n + 1,
            "customer": _CUSTOMERS[n % len(_CUSTOMERS)],
            "amount": None if n % 5 == 2 else Decimal(f"{n * 10**7}.{n % 100:02}") - 5,
            "placed": start + dt.timedelta(hours=36 * n, microseconds=n % 3),
        }
        for n in range(count)
    ]


ORDER_FIELDS = [
    ("id", pa.int64()),
    ("customer", pa.string()),
    ("amount", pa.decimal128(12, 2)),
    ("placed", pa.timestamp("us", "UTC")),
]


@pytest.fixture(scope="session")
def orders() -> list[dict[str, Any]]:
    """60 orders of the 90 days from 2025-01-01 on, as they are put into the servers."""
    return make_orders(60)


@pytest.fixture(scope="session")
def orders_table(orders: list[dict[str, Any]]) -> pa.Table:
    """The same as a table, which every read is compared with."""
    return pa.Table.from_pylist(orders, pa.schema(ORDER_FIELDS))


@pytest.fixture(scope="session")
def serve_http() -> Callable[[Any], contextlib.AbstractContextManager[str]]:
    """Serve an ASGI application by uvicorn, in a thread; gives its address."""

    @contextmanager
    def serve(application: Any) -> Iterator[str]:
        import uvicorn

        config = uvicorn.Config(application, host="127.0.0.1", port=0, log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        give_up = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "uvicorn did not start"
            assert time.monotonic() < give_up, "uvicorn did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(30)

    return serve
