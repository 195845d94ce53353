"""The one place that spawns git: what git gets to see, and what ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from gitops_flow.errors import GitError
from gitops_flow.git import command
from gitops_flow.git.command import Auth
from tests.support.repo import Repo

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret-passw0rd"
URL = "https://git.example.org/store.git"


def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put a program called git first on PATH."""
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\n{text}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")


def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: object) -> dict[str, str]:
    script(tmp_path, monkeypatch, "env -0")
    out = command.run(["x"], **more).stdout  # type: ignore[arg-type]
    return dict(pair.split("=", 1) for pair in os.fsdecode(out).split("\0") if pair)


def ask_for_credentials(url: str, auth: Auth | None) -> str:
    """What git itself would send to ``url``."""
    scheme, _, rest = url.partition("://")
    question = f"protocol={scheme}\nhost={rest.split('/')[0]}\n\n".encode()
    return command.run(
        ["credential", "fill"], auth=auth, stdin=question, check=False
    ).stdout.decode()


def test_an_inherited_repository_index_or_program_does_not_reach_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inherited = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY",
                 "GIT_EXTERNAL_DIFF", "GIT_CONFIG_PARAMETERS", "GIT_TRACE_CURL", "GIT_NAMESPACE", "GIT_EDITOR"]  # fmt: skip
    for name in inherited:
        monkeypatch.setenv(name, "/inherited")
    assert not set(inherited) & set(environment(tmp_path, monkeypatch))


def test_how_to_reach_servers_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {
        "GIT_SSH_COMMAND": "ssh -i key",
        "GIT_SSL_CAINFO": "/ca",
        "GIT_ASKPASS": "/askpass",
        "SSH_ASKPASS": "/ssh-askpass",
        "SSH_ASKPASS_REQUIRE": "force",
        "SSH_AUTH_SOCK": "/agent",
        "https_proxy": "p",
    }
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    assert kept.items() <= environment(tmp_path, monkeypatch).items()


def askpass(path: Path) -> str:
    """A program that answers git's questions as a CI system's does."""
    path.write_text(f'#!/bin/sh\ncase "$1" in Username*) echo someone;; *) echo {SECRET};; esac\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("name", ["GIT_ASKPASS", "SSH_ASKPASS", "core.askPass"])
def test_git_asks_the_program_that_the_user_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    program = askpass(tmp_path / "askpass")
    if name.startswith("core"):
        subprocess.run(["git", "config", "--global", name, program], check=True)
    else:
        monkeypatch.setenv(name, program)
    assert f"username=someone\npassword={SECRET}\n" in ask_for_credentials(URL, None)


def test_a_given_secret_comes_before_the_program_that_the_user_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_ASKPASS", askpass(tmp_path / "askpass"))
    told = ask_for_credentials(URL, Auth(URL, "given", "me"))
    assert "username=me\npassword=given\n" in told


@pytest.mark.parametrize("program", ["exit 1", "exit 0", "cat"], ids=["fails", "silent", "reads"])
def test_a_program_that_gives_no_answer_ends_in_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    path = tmp_path / "askpass"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    monkeypatch.setenv("GIT_ASKPASS", str(path))
    assert SECRET not in ask_for_credentials(URL, None)


def test_a_program_that_waits_for_somebody_is_ended_with_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "askpass"
    path.write_text("#!/bin/sh\nexec sleep 300\n")
    path.chmod(0o755)
    monkeypatch.setenv("GIT_ASKPASS", str(path))
    question = b"protocol=https\nhost=git.example.org\n\n"
    with pytest.raises(command.GitTimeoutError):
        command.run(["credential", "fill"], stdin=question, timeout=0.5)


def test_without_a_program_of_the_users_ssh_looks_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_ASKPASS", raising=False)
    assert environment(tmp_path, monkeypatch)["SSH_ASKPASS_REQUIRE"] == "never"


def test_git_never_asks_and_speaks_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    expected = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_LFS_SKIP_SMUDGE": "1"}
    assert expected.items() <= environment(tmp_path, monkeypatch).items()


def test_settings_in_the_callers_environment_are_kept_and_ours_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    for number, (key, value) in enumerate([("user.name", "kept"), ("core.hooksPath", str(hooks))]):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    assert command.run(["config", "user.name"]).stdout == b"kept\n"
    assert command.run(["config", "core.hooksPath"]).stdout == b"/dev/null\n"


@pytest.mark.parametrize("count", ["x", "-1", "", "99999999999"])
def test_a_broken_count_of_settings_does_no_harm(
    count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", count)
    assert command.run(["config", "core.hooksPath"]).stdout == b"/dev/null\n"


def test_hooks_of_the_repository_do_not_run(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "r").write("x")
    for name in ("pre-commit", "post-commit", "reference-transaction"):
        hook = repo.path / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        hook.chmod(0o755)
    command.run(["commit", "-q", "--allow-empty", "-m", "x"], cwd=repo.path)
    assert not (tmp_path / "ran").exists()


def test_a_transport_that_runs_programs_is_not_allowed(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="transport 'ext' not allowed"):
        command.run(["ls-remote", f"ext::touch {tmp_path}/ran"])
    assert not (tmp_path / "ran").exists()


def test_a_secret_is_in_the_environment_and_neither_in_arguments_nor_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = environment(tmp_path, monkeypatch, auth=Auth(URL, SECRET, "me"))
    assert [name for name, value in seen.items() if SECRET in value] == ["GITFLOW_GIT_SECRET"]


@pytest.mark.parametrize(
    "secret",
    [SECRET, "per%cent", "back\\slash", "quo'te\"", "$(touch x)", "`x`", "uml\u00e4ut", "a b"],
)
def test_git_gets_the_secret_exactly(secret: str) -> None:
    answer = ask_for_credentials(URL, Auth(URL, secret, "me"))
    assert f"username=me\npassword={secret}\n" in answer


def test_a_secret_goes_to_its_own_host_and_scheme_only() -> None:
    auth = Auth("https://git.example.org:8443/x", SECRET)
    assert SECRET in ask_for_credentials("https://git.example.org:8443/other", auth)
    for other in [
        "https://git.example.org/x",
        "http://git.example.org:8443/x",
        "https://evil.example/x",
    ]:
        assert SECRET not in ask_for_credentials(other, auth)


def test_a_given_secret_comes_before_the_machines_helper() -> None:
    helper = "!f() { echo username=machine; echo password=other; }; f"
    subprocess.run(["git", "config", "--global", "credential.helper", helper], check=True)
    assert "username=me" in ask_for_credentials(URL, Auth(URL, SECRET, "me"))
    assert "username=machine" in ask_for_credentials(URL, None)


def test_a_bare_token_has_the_user_name_that_forges_accept() -> None:
    assert "username=x-access-token" in ask_for_credentials(URL, Auth(URL, SECRET))


def test_a_secret_on_stderr_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, f"echo 'fatal: {SECRET} at https://me:other@host/' >&2; exit 128")
    with pytest.raises(GitError) as caught:
        command.run(["fetch"], auth=Auth(URL, SECRET))
    assert SECRET not in str(caught.value)
    assert "other" not in str(caught.value)
    assert "status 128" in str(caught.value)


def test_a_secret_is_not_in_what_python_shows() -> None:
    assert SECRET not in repr(Auth(URL, SECRET))


def test_standard_input_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, "cat")
    assert command.run(["x"], timeout=5).stdout == b""


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_a_git_that_takes_too_long_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, monkeypatch, f"sleep 100 & echo $! > {tmp_path}/pid; wait")
    started = time.monotonic()
    with pytest.raises(
        command.GitTimeoutError, match=r"git fetch did not finish within 0\.3 s"
    ) as caught:
        command.run(["-C", "/", "fetch"], timeout=0.3)
    assert time.monotonic() - started < 3
    assert caught.value.retry
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_helper_that_left_and_holds_the_pipes_does_not_hold_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, monkeypatch, f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 100' & wait")
    started = time.monotonic()
    try:
        with pytest.raises(command.GitTimeoutError):
            command.run(["fetch"], timeout=0.5)
        assert time.monotonic() - started < 6
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_git_that_cannot_be_started_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="could not be started"):
        command.run(["status"], cwd=tmp_path / "none")
    with pytest.raises(GitError, match="could not be started"):
        command.run(["status", "a\0b"])


def test_the_last_telling_lines_are_the_message() -> None:
    stderr = "Cloning...\nremote: counting\nerror: one\nfatal: two\n\nhint: three\n"
    assert command.tidy(stderr) == "error: one; fatal: two"
    assert command.tidy("only this") == "only this"
    assert command.tidy("") == "git said nothing"


def test_the_version_is_numbers() -> None:
    assert command.version() >= command.MINIMUM_VERSION
