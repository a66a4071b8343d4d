"""A secret is in no message, log line, repr, task key, graph, dashboard or performance report."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import logging
import pickle
import subprocess
import sys
import traceback
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cloudpickle
import dask.dataframe as dd
import pyarrow as pa
import pytest
import requests
from distributed import Client, LocalCluster, performance_report

import dask_sail
from dask_sail.options import _RESOLVERS, Redactor, SourceOptions

SECRET = 'hunter2/ünï"c\\ode&@ %'
# The source below travels by value, and must not take the secret with it itself.
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()
FORMS = [SECRET, quote(SECRET, safe=""), quote(SECRET), repr(SECRET)[1:-1]]


def shows(text: str | bytes) -> bool:
    """Whether a text holds the secret, in any of its spellings."""
    if isinstance(text, bytes):
        return any(form.encode() in text for form in FORMS)
    return any(form in text for form in FORMS)


class Vault:
    """A source that is careless with what it is told."""

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        if options.get("fail") == "schema":
            raise ValueError(f"cannot log in with {dict(options)}")
        return pa.schema([("n", pa.int64()), ("right", pa.bool_())])

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        return [{"i": i, "note": "plain"} for i in range(2)]

    def read_partition(
        self, spec: dict[str, Any], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        password = options["password"]
        if options.get("fail") == "read":
            try:
                raise KeyError(f"inner {password}")
            except KeyError as error:
                raise ConnectionAbortedError(
                    f"no login with {password} or {quote(password, safe='')}", options
                ) from error
        right = hashlib.sha256(password.encode()).hexdigest() == DIGEST
        yield pa.record_batch([[spec["i"]], [right]], ["n", "right"])


REFERENCES = ["{env:VAULT_PASSWORD}", "{file:PATH}"]


@pytest.fixture(params=[*REFERENCES, "literal"])
def password(request: Any, monkeypatch: Any, tmp_path: Path) -> str:
    """The password option, as a reference or as it is."""
    monkeypatch.setenv("VAULT_PASSWORD", SECRET)
    file = tmp_path / "password"
    file.write_text(SECRET + "\n", encoding="utf-8")
    if request.param == "literal":
        return SECRET
    return str(request.param.replace("PATH", str(file)))


def test_reprs_keys_and_inspection(password: str) -> None:
    frame = dd.read_python_source(Vault, password=password)
    filtered = frame[frame.n > 0]
    texts = [repr(frame), str(frame.expr), frame.expr.tree_repr(), str(filtered.expr)]
    texts += [repr(key) for key in filtered.optimize().dask]
    texts += [str(dask_sail.inspect(frame)), dask_sail.inspect(frame)._repr_html_()]
    texts += [repr(task) for task in filtered.optimize().dask.values()]
    texts += [repr(vars(frame.expr.operand("handle")))]
    for text in texts:
        assert not shows(text), text
    assert filtered.compute(scheduler="synchronous").right.tolist() == [True]


def test_reads_that_differ_by_a_secret_are_two() -> None:
    class Tenants:
        """What there is to read depends on who asks."""

        def infer_schema(self, options: dict[str, str]) -> pa.Schema:
            return pa.schema([("tenant", pa.string())])

        def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
            return [{}]

        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            yield pa.record_batch([[options["token"][:1]]], ["tenant"])

        def version(self, options: dict[str, str]) -> str:
            return "1"

    first, again, other = (
        dd.read_python_source(Tenants, token=token) for token in ("a-1234", "a-1234", "b-1234")
    )
    assert first._name == again._name
    both = dd.concat([first, other]).compute(scheduler="synchronous")
    assert both.tenant.tolist() == ["a", "b"]
    in_url = [dd.read_python_source(Tenants, token=f"{n}", url=f"http://u:{n}@h/") for n in "ab"]
    assert in_url[0]._name != in_url[1]._name


def test_a_key_gives_no_hold_to_guess_a_secret_by() -> None:
    code = (
        "from dask_sail.options import SourceOptions as S; "
        "print(S({'token': 'a'}).identity(), S({'token': '{env:HOME}'}).identity())"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        for _ in range(2)
    ]
    (first, reference), (second, same_reference) = (run.stdout.split() for run in runs)
    assert first != second  # nobody else can make it from a guess
    assert reference == same_reference


def test_only_a_reference_keeps_it_out_of_the_graph(password: str) -> None:
    frame = dd.read_python_source(Vault, password=password)
    in_graph = shows(pickle.dumps(frame.optimize().expr)) or shows(
        cloudpickle.dumps(dict(frame.optimize().dask))
    )
    assert in_graph == (password == SECRET)


@pytest.mark.parametrize("fail", ["schema", "read"])
def test_errors(password: str, fail: str) -> None:
    with pytest.raises(dask_sail.SourceCallError) as raised:
        dd.read_python_source(Vault, password=password, fail=fail).compute(scheduler="threads")
    error = raised.value
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(error.args)
    assert not shows(told), told
    assert "***" in told
    assert "log in" in told or "login" in told
    assert not shows(pickle.dumps(error))


def test_a_cluster_and_its_reports(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("VAULT_PASSWORD", SECRET)
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger("distributed").addHandler(handler)
    try:
        with (
            LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
            Client(cluster) as client,
        ):
            frame = dd.read_python_source(Vault, password="{env:VAULT_PASSWORD}")
            with performance_report(str(tmp_path / "report.html")):
                persisted = frame.persist()
                assert persisted.right.all().compute()
            client.dump_cluster_state(str(tmp_path / "state"), format="yaml")
            with pytest.raises(dask_sail.PartitionReadError):
                dd.read_python_source(Vault, password="{env:VAULT_PASSWORD}", fail="read").compute()
            scheduler = cluster.scheduler
            port = scheduler.http_server.port
            pages = [
                requests.get(f"http://127.0.0.1:{port}/info/task/{quote(str(key), safe='')}.html")
                for key in list(scheduler.tasks)
            ]
            assert pages
            texts = [
                *(page.text for page in pages),
                (tmp_path / "report.html").read_text(),
                (tmp_path / "state.yaml").read_text(),
                repr(client.get_events()),
                repr([task.run_spec for task in scheduler.tasks.values()]),
                repr([task.exception_text for task in scheduler.tasks.values()]),
                repr([task.traceback_text for task in scheduler.tasks.values()]),
                repr(client.get_worker_logs()),
                repr(client.get_scheduler_logs()),
            ]
        for text in [*texts, log.getvalue()]:
            assert not shows(text)
    finally:
        logging.getLogger("distributed").removeHandler(handler)


def test_a_reference_that_has_no_value_says_where_it_is_needed() -> None:
    with pytest.raises(
        dask_sail.OptionError, match=r"'password' holds the reference \{env:NOT_SET_HERE\}"
    ):
        dd.read_python_source(Vault, password="{env:NOT_SET_HERE}")
    with pytest.raises(dask_sail.OptionError, match=r"cannot be read \(FileNotFoundError\)"):
        dd.read_python_source(Vault, password="{file:/no/such/file}")


def test_references_are_resolved_on_the_worker(cluster: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("ONLY_ON_THE_CLIENT", SECRET)
    frame = dd.read_python_source(Vault, password="{env:ONLY_ON_THE_CLIENT}")
    with (
        Client(cluster),
        pytest.raises(dask_sail.OptionError, match=r"ONLY_ON_THE_CLIENT.*not set in this process"),
    ):
        frame.compute()


def test_references_within_a_text_and_of_a_registered_kind() -> None:
    dask_sail.register_resolver("shout", str.upper)
    resolved, redact = SourceOptions({"url": "x://u:{shout:abc}@h/{shout:d}"}).resolve()
    assert resolved["url"] == "x://u:ABC@h/D"
    assert redact("ABC and D") == "*** and ***"
    with pytest.raises(dask_sail.OptionError, match="scheme"):
        dask_sail.register_resolver("env", str.upper)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"password": "p"}, {"password": "***"}),
        ({"apiKey": "p", "api_key": "q"}, {"apiKey": "***", "api_key": "***"}),
        ({"secretAccessKey": "p"}, {"secretAccessKey": "***"}),
        ({"Authorization": "Bearer p"}, {"Authorization": "***"}),
        ({"partitionColumn": "key"}, {"partitionColumn": "key"}),
        ({"url": "https://u:p@h/x?token=t&page=1"}, {"url": "https://u:***@h/x?token=***&page=1"}),
        (
            {"url": "jdbc:postgresql://h/d?password=p"},
            {"url": "jdbc:postgresql://h/d?password=***"},
        ),
        (
            {"url": "jdbc:sqlserver://h;password=p;x=1"},
            {"url": "jdbc:sqlserver://h;password=***;x=1"},
        ),
        ({"url": "https://u:{env:P}@h"}, {"url": "https://u:{env:P}@h"}),
        ({"password": "{env:P}"}, {"password": "{env:P}"}),
        ({"password": "x{env:P}"}, {"password": "***"}),
    ],
)
def test_what_may_be_shown(options: dict[str, str], shown: dict[str, str]) -> None:
    assert SourceOptions(options).shown() == shown


def test_the_longest_secret_goes_first() -> None:
    assert Redactor(["abc", "abcdef"])("xabcdefx abc") == "x***x ***"


@pytest.mark.parametrize(
    "spelt",
    [
        repr,
        lambda text: repr(repr(text)),
        lambda text: repr(text.encode()),
        html.escape,
        json.dumps,
        quote,
        lambda text: quote(text, safe="").replace("%2F", "%2f"),
        urllib.parse.quote_plus,
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.b64encode(f"u:{text}".encode()).decode(),
        lambda text: base64.b64encode(f"user:{text}\n".encode()).decode(),
    ],
)
def test_other_spellings_are_masked_as_well(spelt: Any) -> None:
    redact = Redactor([SECRET])
    shown = redact(f"<{spelt(SECRET)}>")
    assert "***" in shown
    assert "nter2" not in shown
    assert len(shown) < 20  # of base64, the characters that it shares with its neighbours stay


def test_a_resolver_that_is_none_or_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dask_sail.options._RESOLVERS", dict(_RESOLVERS))
    for scheme, resolve in [("env", str), (1, str), ("Vault", str), ("vault", "secret")]:
        with pytest.raises(dask_sail.OptionError):
            dask_sail.register_resolver(scheme, resolve)  # type: ignore[arg-type]
    answers: dict[str, Any] = {"number": 5, "none": None, "text": "x"}
    dask_sail.register_resolver("vault", answers.__getitem__)
    with pytest.raises(dask_sail.OptionError, match=r"'p' holds .*\{vault:nope\}, but .*knows no"):
        SourceOptions({"p": "{vault:nope}"}).resolve()
    for name in ("number", "none"):
        with pytest.raises(dask_sail.OptionError, match=rf"'p' .*vault:{name}\}}, but .*no text"):
            SourceOptions({"p": f"{{vault:{name}}}"}).resolve()
    assert SourceOptions({"p": "{vault:text}"}).resolve()[0]["p"] == "x"
