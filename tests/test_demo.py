from __future__ import annotations

import errno
import io
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from gitops_flow.cli import demoproject
from gitops_flow.cli.demostage import workspace
from gitops_flow.cli.progress import Progress
from gitops_flow.cli.streams import OutputError
from gitops_flow.errors import GitError, GitflowError, LocalPrefectError
from tests.support.prefect import DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = [sys.executable, "-m", "gitops_flow", "demo"]
# The same with a server that finds its database migrated: DATABASE, then the demo's arguments.
HASTENED = """\
import shutil, sys
from gitops_flow import cli, local
start, database = local.start_server, sys.argv.pop(1)

def start_on_a_copy(home, **options):
    home.mkdir()
    shutil.copy(database, home)
    return start(home, **options)

local.start_server = start_on_a_copy
sys.exit(cli.main())
"""


class TestProject:
    def test_has_one_commit_an_edit_and_an_untracked_module(self, tmp_path: Path) -> None:
        project = demoproject.make(tmp_path / "p")
        head, status = demoproject.prove(project, [f"... {project.phrase} ..."])
        assert re.fullmatch("[0-9a-f]{40}", head)
        assert status.splitlines() == [" M hello.py", "?? wording.py"]

    def test_commits_where_no_git_identity_is_configured(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        assert demoproject.make(tmp_path / "p").root.is_dir()

    def test_takes_no_template_or_signing_from_the_user(self, tmp_path: Path, home: Path) -> None:
        (home / ".gitconfig").write_text(
            f"[init]\n\ttemplateDir = {tmp_path}/none\n[commit]\n\tgpgSign = true\n"
            "[gpg]\n\tprogram = /bin/false\n"
        )
        assert not (demoproject.make(tmp_path / "p").root / ".git/hooks").exists()

    def test_the_line_differs_from_demo_to_demo(self, tmp_path: Path) -> None:
        one, two = demoproject.make(tmp_path / "1"), demoproject.make(tmp_path / "2")
        assert one.phrase != two.phrase
        assert one.phrase in (one.root / "hello.py").read_text()

    def test_a_run_that_did_not_print_the_line_proves_nothing(self, tmp_path: Path) -> None:
        project = demoproject.make(tmp_path / "p")
        with pytest.raises(GitflowError, match="not an uncommitted one"):
            demoproject.prove(project, ["Hello, world!"])

    def test_a_committed_line_proves_nothing(self, tmp_path: Path) -> None:
        project = demoproject.make(tmp_path / "p")
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", *identity, "commit", "-qam", "x"], cwd=project.root, check=True)
        with pytest.raises(GitflowError, match="not an uncommitted one"):
            demoproject.prove(project, [project.phrase])


class TestProgress:
    def test_a_pipe_gets_one_calm_line_for_a_wait(self) -> None:
        out = io.StringIO()
        future: Future[int] = Future()
        threading.Timer(0.3, future.set_result, [7]).start()
        assert Progress(out).wait_for("server", "starting", future) == 7
        assert out.getvalue() == "server     starting\n"

    def test_a_terminal_gets_a_live_line_that_is_cleared(self) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        out = Terminal()
        future: Future[int] = Future()
        threading.Timer(0.3, future.set_result, [7]).start()
        progress = Progress(out)
        progress.wait_for("server", "starting", future)
        progress.line("server", "ready")
        assert out.getvalue().startswith("\r\x1b[Kserver     starting 0 s")
        assert out.getvalue().endswith("\r\x1b[Kserver     ready\n")

    def test_an_error_in_the_background_is_raised(self) -> None:
        future: Future[int] = Future()
        future.set_exception(TimeoutError("late"))
        with pytest.raises(TimeoutError, match="late"):
            Progress(io.StringIO()).wait_for("server", "starting", future)

    def test_an_output_that_is_full_is_no_full_directory(self) -> None:
        with (
            pytest.raises(OutputError, match="standard output cannot be written: No space left"),
            workspace(),
            Path("/dev/full").open("w") as full,
        ):
            Progress(full).text("Everything happens here.")


class TestWorkspace:
    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device"),
            GitError("git commit failed: fatal: unable to write: No space left on device"),
        ],
    )
    def test_a_full_disk_is_told_with_what_to_do(self, temporary: Path, error: Exception) -> None:
        with (
            pytest.raises(GitflowError, match="cannot be written: No space left") as told,
            workspace(),
        ):
            raise error
        assert told.value.where == str(temporary)
        assert "TMPDIR" in str(told.value.hint)
        assert told.value.retry
        assert list(temporary.iterdir()) == []

    @pytest.mark.parametrize(("free", "said"), [(0, "No space left"), (1 << 30, "the server")])
    def test_what_fails_for_want_of_room_is_told_so_whatever_it_says(
        self, temporary: Path, monkeypatch: pytest.MonkeyPatch, free: int, said: str
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
        with pytest.raises(GitflowError, match=said), workspace():
            raise LocalPrefectError("the server ended with status 3")

    def test_no_room_for_the_directory_itself_is_told(
        self, temporary: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", f"{temporary}/gitflow-demo-x")

        monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: full())
        with pytest.raises(GitflowError, match="can be made: No space left") as told, workspace():
            raise AssertionError("it cannot begin")
        assert (told.value.where, told.value.retry) == (str(temporary), True)

    def test_an_error_elsewhere_stays_what_it_is(self, temporary: Path) -> None:
        with pytest.raises(PermissionError), workspace():
            raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere")


def left_behind(home: Path) -> list[str]:
    """Processes that still have this test's HOME, and temporary directories."""
    needle = b"HOME=" + os.fsencode(home)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if needle in (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its directory."""
    path = tmp_path / "tmp"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return path


@pytest.mark.real
class TestDemo:
    def test_runs_the_uncommitted_line_and_leaves_nothing_behind(
        self, temporary: Path, home: Path
    ) -> None:
        done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        phrases = re.findall(r"uncommitted-[0-9a-f]{8}", done.stdout)
        assert len(phrases) == 2
        assert len(set(phrases)) == 1
        assert re.search(r"^snapshot +[0-9a-f]{40}, pinned", done.stdout, re.MULTILINE)
        assert "?? wording.py" in done.stdout
        assert "\x1b[K" not in done.stdout
        assert list(temporary.iterdir()) == []
        assert left_behind(home) == []

    @pytest.mark.parametrize(
        ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
    )
    def test_cleans_up_when_it_is_interrupted_while_the_server_starts(
        self, temporary: Path, home: Path, number: signal.Signals, status: int
    ) -> None:
        process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True)
        read_until(process, "starting Prefect")
        until = time.monotonic() + 60
        while len(left_behind(home)) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(left_behind(home)) > 1
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == status
        assert list(temporary.iterdir()) == []
        assert left_behind(home) == []

    def test_keep_leaves_server_and_worker_running_until_ctrl_c(
        self, temporary: Path, home: Path, prefect_home: Path
    ) -> None:
        leader, follower = pty.openpty()
        command = [sys.executable, "-c", HASTENED, prefect_home / DATABASE, "demo", "--keep"]
        process = subprocess.Popen(command, stdout=follower, start_new_session=True)
        os.close(follower)
        try:
            seen = read_terminal(leader, lambda text: "Ctrl-C ends it all" in text)
            assert "starting Prefect on SQLite, about 20 s 1 s" in seen
            assert any(" worker start " in line for line in left_behind(home))
            process.send_signal(signal.SIGINT)
            read_terminal(leader, lambda _: False)
            assert process.wait(60) == 0
        finally:
            os.close(leader)
            process.terminate()
            process.wait(60)
        assert list(temporary.iterdir()) == []
        assert left_behind(home) == []


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the demo ended without saying {text!r}")


def read_terminal(leader: int, enough: Callable[[str], bool]) -> str:
    """What arrives on a terminal until it is enough, or its other end is closed."""
    seen = ""
    while not enough(seen):
        try:
            data = os.read(leader, 65536)
        except OSError:  # how Linux tells that nobody holds the other end
            break
        if not data:
            break
        seen += data.decode("utf-8", "replace")
    return seen
