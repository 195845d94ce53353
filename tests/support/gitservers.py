"""Real git servers on loopback, each on a free port, each stopped by its process group."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SBIN = "/usr/sbin:/usr/local/sbin"


@dataclass(frozen=True)
class GitServer:
    """A running server; ``url(name)`` is the address of the bare repository ``name``."""

    base: str
    environment: dict[str, str]
    log: Path | None = None
    username: str = ""
    password: str = ""

    def url(self, name: str) -> str:
        return f"{self.base}/{name}"


def bare(path: Path, **settings: str) -> Path:
    """A bare repository that accepts pushes over http; settings as ``http_receivepack="true"``."""
    _git("init", "-q", "--bare", "-b", "code-store", str(path))
    for key, value in {"http_receivepack": "true", **settings}.items():
        _git("-C", str(path), "config", key.replace("_", "."), value)
    return path


@contextlib.contextmanager
def smart_http(
    root: Path,
    workdir: Path,
    *,
    login: tuple[str, str] | None = ("worker", "s3cret-passw0rd"),
    body_limit: str = "0",
) -> Iterator[GitServer]:
    """Serve the repositories below ``root`` by nginx and ``git http-backend``.

    ``login`` is the basic-auth user and password, None for none;
    ``body_limit`` is nginx's ``client_max_body_size``.
    """
    nginx, fcgiwrap = program("nginx", "nginx-light"), program("fcgiwrap", "fcgiwrap")
    workdir.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    socket_path = workdir / "fcgi.sock"
    (workdir / "htpasswd").write_text(f"{login[0]}:{{PLAIN}}{login[1]}\n" if login else "")
    (workdir / "nginx.conf").write_text(
        _NGINX.format(
            user="user root;" if os.getuid() == 0 else "",
            dir=workdir,
            port=port,
            auth=f'auth_basic "git"; auth_basic_user_file {workdir}/htpasswd;' if login else "",
            limit=body_limit,
            backend=f"{_git('--exec-path')}/git-http-backend",
            root=root,
            socket=socket_path,
        )
    )
    environment = _server_environment(workdir)
    with (
        running([fcgiwrap, "-c", "16", "-s", f"unix:{socket_path}"], workdir, environment),
        running(
            [nginx, "-p", str(workdir), "-c", str(workdir / "nginx.conf"), "-e", "error.log"],
            workdir,
            environment,
        ),
    ):
        _wait_for(port)
        user, password = login or ("", "")
        yield GitServer(f"http://127.0.0.1:{port}", {}, workdir / "access.log", user, password)


@contextlib.contextmanager
def ssh(root: Path, workdir: Path) -> Iterator[GitServer]:
    """Serve the repositories below ``root`` by sshd; set ``environment`` to be let in."""
    sshd, keygen = program("sshd", "openssh-server"), program("ssh-keygen", "openssh-client")
    workdir.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "client"):
        subprocess.run(
            [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(workdir / name)], check=True
        )
    port = _free_port()
    (workdir / "authorized_keys").write_bytes((workdir / "client.pub").read_bytes())
    (workdir / "sshd_config").write_text(_SSHD.format(port=port, dir=workdir))
    host_key = " ".join((workdir / "host.pub").read_text().split()[:2])
    (workdir / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    command = (
        f"ssh -F none -i {workdir}/client -o IdentitiesOnly=yes -o BatchMode=yes "
        f"-o UserKnownHostsFile={workdir}/known_hosts -o StrictHostKeyChecking=yes"
    )
    arguments = [sshd, "-D", "-e", "-f", str(workdir / "sshd_config")]
    with running(arguments, workdir, _server_environment(workdir)):
        _wait_for(port)
        yield GitServer(
            f"ssh://{getpass.getuser()}@127.0.0.1:{port}{root}", {"GIT_SSH_COMMAND": command}
        )


@contextlib.contextmanager
def git_daemon(root: Path, workdir: Path, *, receive: bool = False) -> Iterator[GitServer]:
    """Serve the repositories below ``root`` by ``git daemon``, read-only unless ``receive``."""
    workdir.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    arguments = ["git", "daemon", "--listen=127.0.0.1", f"--port={port}", f"--base-path={root}"]
    arguments += ["--export-all", "--reuseaddr", *(["--enable=receive-pack"] if receive else [])]
    with running([*arguments, str(root)], workdir, _server_environment(workdir)):
        _wait_for(port)
        yield GitServer(f"git://127.0.0.1:{port}", {})


@contextlib.contextmanager
def hanging() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)
    held: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                held.append(listener.accept()[0])

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # A blocked accept() outlives close(); shutting the socket down wakes it.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in (listener, *held):
            connection.close()


def refused_port() -> int:
    """A port of loopback on which nothing listens."""
    return _free_port()


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], check=True, capture_output=True, text=True).stdout.strip()


def program(name: str, package: str) -> str:
    """Where a program is; a test that lacks it is skipped, with the Debian package to install."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_for(port: int, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _server_environment(workdir: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    neutral = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return {**kept, **neutral, "HOME": str(workdir)}


@contextlib.contextmanager
def running(
    arguments: Sequence[str], workdir: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with (workdir / f"{Path(arguments[0]).name}.out").open("ab") as out:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            cwd=workdir,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)


_NGINX = """
{user}
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log {dir}/access.log;
  client_body_temp_path {dir}/body;
  fastcgi_temp_path {dir}/fcgi;
  proxy_temp_path {dir}/proxy;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  server {{
    listen 127.0.0.1:{port};
    {auth}
    client_max_body_size {limit};
    location / {{
      fastcgi_read_timeout 120;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_PROJECT_ROOT {root};
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param PATH_INFO $uri;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_pass unix:{socket};
    }}
  }}
}}
"""

_SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {dir}/host
AuthorizedKeysFile {dir}/authorized_keys
PidFile {dir}/sshd.pid
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
MaxStartups 64
AcceptEnv GIT_PROTOCOL
SetEnv GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
"""
