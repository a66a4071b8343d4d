"""ClickHouse's own engine (chDB) behind HTTP, as far as clickhouse-connect asks for it.

A program of its own, since the engine holds its process: ``python clickhouse_stand_in.py FOLDER``
prints a port and serves until its input ends.
"""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    session: Session
    settings: frozenset[str]
    lock = threading.Lock()

    def do_POST(self) -> None:
        """Answer a query, given in the address, the body, or a bit in each."""
        length = int(self.headers.get("Content-Length") or 0)
        asked = dict(parse_qsl(urlsplit(self.path).query))
        sql = f"{asked.get('query', '')}\n{self.rfile.read(length).decode()}".strip()
        status, answer, headers = 200, b"", {}
        try:
            answer = self._answer(sql, asked)
        except Exception as e:
            status, answer = 500, f"{e}".encode()
            headers = {
                "X-ClickHouse-Exception-Code": f"{e}".partition("Code: ")[2].partition(".")[0]
            }
        self.send_response(status)
        for name, text in {**headers, "Content-Length": f"{len(answer)}"}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST

    def _answer(self, sql: str, asked: dict[str, str]) -> bytes:
        settings = [f"{name} = '{text}'" for name, text in asked.items() if name in self.settings]
        wants_rows = sql.upper().startswith(("SELECT", "DESCRIBE", "WITH", "SHOW"))
        with self.lock:
            if wants_rows and settings:
                sql = f"{sql}\nSETTINGS {', '.join(settings)}"
            result = self.session.query(sql, asked.get("default_format", "TabSeparated"))
            return bytes(result.bytes() or b"")

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


if __name__ == "__main__":
    _Handler.session = Session(sys.argv[1])
    names = _Handler.session.query("SELECT name FROM system.settings", "TabSeparated")
    _Handler.settings = frozenset(names.bytes().decode().split())
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    _Handler.session.close()
