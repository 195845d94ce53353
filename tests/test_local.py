from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_flow import local
from gitops_flow.errors import ApiError, LocalPrefectError
from gitops_flow.local import guard, processes
from gitops_flow.local.server import start_server
from gitops_flow.local.worker import start_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.prefect import SharedServer, SharedWorker

GUARD = Path(guard.__file__)
# A command that tells its own pid and that of a grandchild in another session,
# which a signal to the command's process group does not reach.
FAMILY = """\
import os, subprocess, sys, time
p = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
open("pids.tmp", "w").write(f"{os.getpid()} {p.pid}")
os.rename("pids.tmp", "pids")
time.sleep(300)
"""


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def eventually(what: Callable[[], object], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.02)
    return False


def guarded(
    tmp_path: Path, code: str = FAMILY, grace: float = 3, **options: object
) -> subprocess.Popen[str]:
    program = [sys.executable, "-I", "-S", str(GUARD), str(grace), str(tmp_path / "log")]
    return subprocess.Popen(
        [*program, sys.executable, "-c", code],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def family(tmp_path: Path) -> list[int]:
    assert eventually((tmp_path / "pids").exists)
    return [int(pid) for pid in (tmp_path / "pids").read_text().split()]


class TestGuard:
    def test_prints_the_commands_pid_and_ends_with_its_status(self, tmp_path: Path) -> None:
        with guarded(tmp_path, "import os, sys; print(os.getpid()); sys.exit(7)") as process:
            assert process.stdout
            shown = process.stdout.readline().strip()
            assert process.wait(10) == 7
        assert (tmp_path / "log").read_text().strip() == shown

    def test_reports_death_by_a_signal_as_128_and_its_number(self, tmp_path: Path) -> None:
        with guarded(tmp_path, "import os; os.kill(os.getpid(), 9)") as process:
            assert process.wait(10) == 137

    def test_ends_the_whole_family_when_the_pipe_closes(self, tmp_path: Path) -> None:
        with guarded(tmp_path) as process:
            pids = family(tmp_path)
            assert all(map(alive, pids))
            assert process.stdin
            process.stdin.close()
            process.wait(10)
        assert not any(map(alive, pids))

    def test_kills_a_command_that_ignores_sigterm_after_the_grace(self, tmp_path: Path) -> None:
        code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FAMILY
        with guarded(tmp_path, code, grace=0.2) as process:
            pids = family(tmp_path)
            assert process.stdin
            process.stdin.close()
            assert process.wait(10) == 137
        assert not any(map(alive, pids))

    def test_ends_orphans_of_a_command_that_died_first(self, tmp_path: Path) -> None:
        with guarded(tmp_path) as process:
            pids = family(tmp_path)
            os.kill(pids[0], signal.SIGKILL)
            process.wait(10)
        assert not any(map(alive, pids))

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_ends_the_family_when_it_is_signalled_itself(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        with guarded(tmp_path, start_new_session=True) as process:
            pids = family(tmp_path)
            process.send_signal(number)
            process.wait(10)
        assert not any(map(alive, pids))

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
    def test_takes_the_command_with_it_when_it_is_killed(self, tmp_path: Path) -> None:
        with guarded(tmp_path) as process:
            command, grandchild = family(tmp_path)
            process.kill()
            process.wait(10)
            assert eventually(lambda: not alive(command))
        os.kill(grandchild, signal.SIGKILL)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_ends_the_family_of_a_caller_that_was_killed(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        caller = textwrap.dedent(f"""\
            import subprocess, sys, time
            p = subprocess.Popen(
                [sys.executable, "-I", "-S", {str(GUARD)!r}, "3", "log",
                 sys.executable, "-c", {FAMILY!r}],
                stdin=subprocess.PIPE, start_new_session=True)
            time.sleep(300)
            """)
        process = subprocess.Popen([sys.executable, "-c", caller], cwd=tmp_path)
        pids = family(tmp_path)
        process.send_signal(number)
        process.wait(10)
        assert eventually(lambda: not any(map(alive, pids)))

    def test_gives_the_command_a_working_sigint_under_a_caller_that_ignores_it(
        self, tmp_path: Path
    ) -> None:
        code = "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with guarded(tmp_path, code) as process:
                process.wait(10)
        finally:
            signal.signal(signal.SIGINT, before)
        assert (tmp_path / "log").read_text().strip() == "False"


class TestEnvironment:
    def test_drops_the_callers_prefect_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PREFECT_API_KEY", "pnu_caller")
        monkeypatch.setenv("PREFECT_PROFILE", "cloud")
        env = processes.environment(
            os.environ, Path("/h"), {"PREFECT_API_URL": "http://127.0.0.1:1/api"}
        )
        assert "PREFECT_API_KEY" not in env
        assert "PREFECT_PROFILE" not in env
        assert env["PREFECT_API_URL"] == "http://127.0.0.1:1/api"

    def test_turns_telemetry_off(self) -> None:
        env = processes.environment(os.environ, Path("/h"), {})
        assert (env["DO_NOT_TRACK"], env["PREFECT_SERVER_ANALYTICS_ENABLED"]) == ("1", "false")

    def test_reaches_loopback_without_a_proxy_and_keeps_other_exceptions(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NO_PROXY", "intranet.example")
        env = processes.environment(os.environ, Path("/h"), {})
        assert env["NO_PROXY"] == env["no_proxy"] == "intranet.example,127.0.0.1,localhost,::1"


class TestErrors:
    def test_names_the_extra_to_install_when_prefect_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(processes.importlib.util, "find_spec", lambda _: None)
        with pytest.raises(LocalPrefectError, match="not installed") as caught:
            start_server(tmp_path / "h", environ=os.environ)
        assert caught.value.hint == "pip install '.[prefect]' in a checkout of gitops-flow"

    def test_says_that_the_port_is_taken_before_anything_starts(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(LocalPrefectError, match=f"port {port} on 127.0.0.1 cannot be used"):
                start_server(tmp_path / "h", environ=os.environ, port=port)
        assert not (tmp_path / "h/server.log").exists()

    @pytest.mark.real
    def test_shows_the_logs_last_lines_when_the_server_dies_at_start(self, tmp_path: Path) -> None:
        broken = {"PREFECT_SERVER_API_KEEPALIVE_TIMEOUT": "nonsense://user:hunter2@host/db"}
        with pytest.raises(LocalPrefectError, match="ended with status 1 before") as caught:
            start_server(tmp_path / "h", environ=os.environ, env=broken, ui=False)
        assert "its last lines:\n" in caught.value.message
        assert "hunter2" in (tmp_path / "h/server.log").read_text()
        assert "nonsense://****@host/db" in caught.value.message
        assert "hunter2" not in str(caught.value)

    def test_ends_a_server_that_is_not_ready_in_time(self, tmp_path: Path) -> None:
        waited: list[float] = []
        with pytest.raises(LocalPrefectError, match=r"not ready within 0\.3 s") as caught:
            start_server(tmp_path / "h", environ=os.environ, timeout=0.3, on_wait=waited.append)
        assert caught.value.retry
        assert waited == sorted(waited)
        assert 0 < len(waited) < 20
        assert not running_below(tmp_path)

    def test_ends_a_server_when_the_wait_is_interrupted(self, tmp_path: Path) -> None:
        def interrupt(_: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            start_server(tmp_path / "h", environ=os.environ, on_wait=interrupt)
        assert not running_below(tmp_path)

    def test_ends_a_worker_whose_server_is_away(self, tmp_path: Path) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/api"
            with pytest.raises(LocalPrefectError, match="the Prefect worker"):
                start_worker(url, "p", tmp_path, tmp_path / "h", environ=os.environ, timeout=0.3)
        assert not running_below(tmp_path)

    def test_a_refused_connection_is_an_api_error_that_can_be_retried(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/api"
            with pytest.raises(ApiError, match="no answer") as caught:
                local.call(url, "GET", "/health")
        assert (caught.value.status, caught.value.retry) == (None, True)


def running_below(directory: Path) -> list[str]:
    """Command lines of processes whose environment or arguments name ``directory``."""
    needle = os.fsencode(directory)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if int(entry.name) != os.getpid() and needle in command + environment:
            found.append(command.replace(b"\0", b" ").decode())
    return found


@pytest.mark.real
class TestRealServer:
    def test_answers_on_loopback_only_with_prefects_version(
        self, prefect_server: SharedServer
    ) -> None:
        assert prefect_server.api_url.startswith("http://127.0.0.1:")
        assert prefect_server.call("GET", "/admin/version") == metadata.version("prefect")
        port = int(prefect_server.api_url.rsplit(":", 1)[1].split("/")[0])
        assert listening(port) == {"0100007F"}

    def test_refusals_keep_their_status_and_do_not_repeat_the_request(
        self, prefect_server: SharedServer
    ) -> None:
        with pytest.raises(ApiError) as caught:
            prefect_server.call("POST", "/flows/", {"name": "a/b", "secret": "hunter2"})
        assert caught.value.status == 422
        assert "hunter2" not in str(caught.value)

    def test_a_worker_is_online_when_it_is_handed_over(
        self, prefect_server: SharedServer, prefect_worker: Callable[..., SharedWorker]
    ) -> None:
        worker = prefect_worker()
        online = prefect_server.call(
            "POST",
            f"/work_pools/{worker.pool}/workers/filter",
            {"workers": {"status": {"any_": ["ONLINE"]}}},
        )
        assert worker.name in [entry["name"] for entry in online]
        assert prefect_worker() == worker

    def test_stopping_a_worker_leaves_no_process_of_it(
        self,
        own_worker: Callable[..., local.Worker],
        namespace: str,
        tmp_path: Path,
    ) -> None:
        worker = own_worker(namespace, env={"WITNESS": str(tmp_path)}, cwd=tmp_path)
        assert running_below(tmp_path)
        worker.stop()
        worker.stop()
        assert not running_below(tmp_path)
        assert not alive(worker.pid)


def listening(port: int) -> set[str]:
    """Local addresses, as /proc/net shows them, that accept connections on ``port``."""
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    pairs = [row[1].split(":") for row in rows if row[3] == "0A"]
    return {address for address, hexport in pairs if int(hexport, 16) == port}
