"""The pull step as Prefect calls it."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_flow import settings, worker
from gitops_flow.checkout import sweep
from gitops_flow.errors import CheckoutError, GitflowError, RemoteError
from gitops_flow.git import credentials
from gitops_flow.git.command import Auth
from gitops_flow.steps import pull_code
from tests.support import gitservers
from tests.support.repo import Repo

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "https://git.example.org/store.git"
SECRET = "s3cret-passw0rd"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def test_it_returns_an_absolute_directory_below_the_current_one(repo: Repo, here: Path) -> None:
    commit = repo.write("flow.py", "x").commit()
    done = pull_code(repository=str(repo.path), commit=commit)
    assert list(done) == ["directory"]
    assert Path(done["directory"]).parent == here
    assert (Path(done["directory"]) / "flow.py").read_text() == "x"


def test_one_line_says_what_was_pulled(repo: Repo, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gitops_flow")
    commit = repo.write("x").commit()
    origin = {"commit": "c" * 40, "dirty": True, "name": "n", "author": "A <a@b>"}
    pull_code(str(repo.path), commit, source=origin)
    (line,) = caplog.messages
    whence = "(n, source commit cccccccccccc, with uncommitted changes, by A <a@b>)"
    start = f"pulled project at {commit[:12]} {whence}, 1 files read in place in "
    assert line.startswith(start)
    assert [part.split()[0] for part in line.rsplit(": ", 1)[1].split(", ")] == [
        "fetch",
        "checkout",
        "verify",
    ]


@pytest.mark.parametrize("source", [None, "text", {}, {"commit": None, "dirty": None}, 3])
def test_any_source_is_only_shown(repo: Repo, source: object) -> None:
    assert pull_code(str(repo.path), repo.write("x").commit(), source=source)


def test_a_subdirectory_is_handed_over_when_asked_for(repo: Repo) -> None:
    commit = repo.write("jobs/etl/flow.py", "x").write("lib.py").commit()
    directory = Path(pull_code(str(repo.path), commit, directory="jobs/etl")["directory"])
    assert (directory / "flow.py").read_text() == "x"
    assert (directory.parent.parent / "lib.py").exists()


@pytest.mark.parametrize("directory", ["none", "..", "../..", "/etc", "flow.py", "flow.py/x"])
def test_a_directory_that_is_not_in_the_commit_is_refused(
    repo: Repo, here: Path, directory: str
) -> None:
    commit = repo.write("flow.py").commit()
    with pytest.raises(CheckoutError, match="has no directory"):
        pull_code(str(repo.path), commit, directory=directory)
    assert list(here.iterdir()) == []


@pytest.fixture
def tree(repo: Repo) -> Repo:
    for name in (
        "root.py",
        "a/one.py",
        "a/b/two.py",
        "a/b/c/three.py",
        "a/b/x/five.py",
        "a/z/no.py",
        "d/four.py",
    ):
        repo.write(name, name)
    repo.commit()
    return repo


def pulled(directory: str) -> set[str]:
    base = Path(directory)
    return {path.relative_to(base).as_posix() for path in base.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize(
    "directories",
    [
        ["a/b"],
        ["a/b/"],
        ["/a/b"],
        ["./a/b"],
        "a/b",
        ("a/b",),
        ["d"],
        ["d", "a/b/c"],
        ["a", "a/b"],
        ["a", "a/b/c"],
    ],
)
def test_only_chosen_directories_are_written_as_git_itself_would(
    tree: Repo, directories: object, tmp_path: Path
) -> None:
    names = [directories] if isinstance(directories, str) else list(directories)  # type: ignore[call-overload]
    sparse = tree.clone(tmp_path / "sparse", "--sparse")
    sparse.git("sparse-checkout", "set", *(name.lstrip("/") for name in names))
    expected = {
        path.relative_to(sparse.path).as_posix()
        for path in sparse.path.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }
    assert (
        pulled(pull_code(str(tree.path), tree.head, directories=directories)["directory"])
        == expected
    )
    assert expected < set(tree.files())


@pytest.mark.parametrize("directories", [None, [], ["."], ["a", "/"], ["a", ""]])
def test_without_a_choice_or_with_the_root_everything_is_written(
    tree: Repo, directories: object
) -> None:
    made = pull_code(str(tree.path), tree.head, directories=directories)
    assert pulled(made["directory"]) == set(tree.files())


def test_the_directory_to_hand_over_is_written_beside_the_chosen_ones(tree: Repo) -> None:
    made = Path(
        pull_code(str(tree.path), tree.head, directory="a/z", directories=["d"])["directory"]
    )
    assert pulled(str(made)) == {"no.py"}
    assert pulled(str(made.parent.parent)) == {"root.py", "a/one.py", "a/z/no.py", "d/four.py"}


@pytest.mark.parametrize(
    ("directories", "message"),
    [
        (["none"], "has no directory 'none'"),
        (["d", "a/none"], "has no directory 'a/none'"),
        (["root.py"], "has no directory 'root.py'"),
        (["d/four.py/x"], "has no directory 'd/four.py/x'"),
        (["link"], "has no directory 'link'"),
        (["../x"], "'../x' is not inside"),
        ([3], "directories is int, not text"),
        ({"a": 1}, "directories is not a list"),
        (["{{ dirs }}"], "still holds a placeholder"),
    ],
)
def test_directories_that_cannot_be_chosen_are_refused(
    tree: Repo, here: Path, directories: object, message: str
) -> None:
    commit = tree.symlink("link", "a").commit()
    with pytest.raises(CheckoutError, match=re.escape(message)):
        pull_code(str(tree.path), commit, directories=directories)
    assert list(here.iterdir()) == []


def test_what_is_left_out_is_not_read(tree: Repo, tmp_path: Path) -> None:
    left_out = tree.git("rev-parse", "HEAD:d")
    (tree.path / ".git/objects" / left_out[:2] / left_out[2:]).unlink()
    assert pull_code(str(tree.path), tree.head, directories=["a"])
    with pytest.raises(CheckoutError):
        pull_code(str(tree.path), tree.head, directories=["d"])


def test_an_input_of_a_newer_publisher_is_ignored_with_a_warning(
    repo: Repo, caplog: pytest.LogCaptureFixture
) -> None:
    pull_code(str(repo.path), repo.write("x").commit(), sparse=["a"])
    (line,) = caplog.messages
    assert "does not know the input 'sparse' and ignores it" in line


def test_credentials_that_cannot_be_used_are_told(
    repo: Repo, caplog: pytest.LogCaptureFixture
) -> None:
    pull_code(str(repo.path), repo.write("x").commit(), credentials=SECRET)
    (line,) = caplog.messages
    assert "credentials are not used" in line
    assert SECRET not in line


@pytest.mark.parametrize("inputs", [
    {"repository": "https://{{ prefect.variables.host }}/x.git"}, {"commit": "{{ code.commit }}"},
    {"credentials": "{{ prefect.blocks.secret.token }}", "repository": URL},
    {"credentials": {"token": "{{ $TOKEN }}"}, "repository": URL},
])  # fmt: skip
def test_a_placeholder_that_was_not_filled_in_is_named(inputs: dict[str, object]) -> None:
    with pytest.raises(CheckoutError, match="placeholder"):
        pull_code(**{"repository": "/x", "commit": "a" * 40, **inputs})  # type: ignore[arg-type]


@pytest.mark.parametrize("inputs", [{"repository": None}, {"commit": 7}, {"directory": ["x"]}])
def test_an_input_of_the_wrong_type_is_named(inputs: dict[str, object]) -> None:
    with pytest.raises(CheckoutError, match=f"{next(iter(inputs))} is .*not text"):
        pull_code(**{"repository": "/x", "commit": "a" * 40, **inputs})  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["soon", "-1", "0", "nan", "inf"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(
    repo: Repo, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITFLOW_GIT_TIMEOUT", text)
    with pytest.raises(CheckoutError, match="not a number of seconds"):
        pull_code(str(repo.path), repo.write("x").commit())


def test_the_environment_bounds_how_long_a_server_may_hang(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITFLOW_GIT_TIMEOUT", "0.5")
    with (
        gitservers.hanging() as port,
        pytest.raises(RemoteError, match=r"did not finish within 0\.5 s"),
    ):
        pull_code(f"git://127.0.0.1:{port}/x.git", "a" * 40)
    assert list(here.iterdir()) == []


def test_a_current_directory_that_is_gone_is_told(
    repo: Repo, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repo.write("x").commit()
    here.rmdir()
    with pytest.raises(CheckoutError, match="current directory has been removed"):
        pull_code(str(repo.path), commit)


# Credentials, in every shape in which they come.


class Guarded:
    """Like pydantic's SecretStr."""

    def __init__(self, value: object) -> None:
        self._value = value

    def get_secret_value(self) -> object:
        return self._value


class SecretBlock:
    """Like Prefect's Secret block."""

    def __init__(self, value: object) -> None:
        self.value = Guarded(value)

    def get(self) -> object:
        return self.value.get_secret_value()


class TokenBlock:
    """Like the blocks of prefect-github and its sisters."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


@pytest.mark.parametrize(("given", "username", "secret"), [
    ("tok", None, "tok"),
    (" tok\n", None, "tok"),
    ("me:tok", "me", "tok"),
    ("x-token-auth:to:k", "x-token-auth", "to:k"),
    ({"token": "tok"}, None, "tok"),
    ({"token": "tok", "url": "https://x"}, None, "tok"),
    ({"access_token": "a", "token": "b", "password": "c"}, None, "a"),
    ({"username": "me", "password": "p:w"}, "me", "p:w"),
    ({"username": None, "token": None, "password": "pw"}, None, "pw"),
    ({"value": "tok"}, None, "tok"),
    ({"token": Guarded("tok")}, None, "tok"),
    (Guarded("tok"), None, "tok"),
    (SecretBlock("me:tok"), "me", "tok"),
    (TokenBlock(token=Guarded("tok")), None, "tok"),
    (TokenBlock(token=None, username="me", password=Guarded("pw")), "me", "pw"),
])  # fmt: skip
def test_credentials_are_understood(given: object, username: str | None, secret: str) -> None:
    assert credentials.resolve(given, URL) == Auth(URL, secret, username)


def test_a_real_prefect_secret_block_is_understood() -> None:
    from prefect.blocks.system import Secret

    found = credentials.resolve(Secret(value="tok"), URL)
    assert found == Auth(URL, "tok", None)


@pytest.mark.parametrize(("host", "username"), [
    ("github.com", None), ("gitlab.com", "oauth2"), ("gitlab.corp.example", "oauth2"), ("bitbucket.org", "x-token-auth"),
])  # fmt: skip
def test_a_bare_token_gets_the_user_name_that_the_host_wants(
    host: str, username: str | None
) -> None:
    found = credentials.resolve("tok", f"https://{host}/a/b.git")
    assert found is not None
    assert found.username == username


def test_userinfo_leaves_the_address() -> None:
    address = f"http://me:{SECRET}@host:8080/x.git"
    assert credentials.resolve(None, address) == Auth("http://host:8080/x.git", SECRET, "me")
    assert credentials.resolve("tok", address) == Auth("http://host:8080/x.git", "tok", "me")
    assert credentials.resolve(None, URL) is None


@pytest.mark.parametrize(
    "given",
    [
        "",
        "  ",
        {},
        {"token": None},
        {"token": ""},
        7,
        [],
        TokenBlock(),
        "a\nb",
        {"token": "a\0b"},
        {"username": "a\nb", "token": "t"},
    ],
)
def test_credentials_without_a_usable_secret_are_an_error_that_does_not_tell_them(
    given: object,
) -> None:
    with pytest.raises(CheckoutError, match="credentials") as caught:
        credentials.resolve(given, URL)
    assert caught.value.hint


# Over real servers.


@pytest.fixture
def served(repo: Repo, tmp_path: Path) -> Iterator[tuple[gitservers.GitServer, str]]:
    root = tmp_path / "srv"
    root.mkdir()
    store = gitservers.bare(root / "store.git")
    commit = repo.write("flow.py", "x").commit()
    repo.git("push", "-q", store, f"{commit}:refs/heads/code-store")
    with gitservers.smart_http(root, tmp_path / "http", login=("worker", SECRET)) as server:
        yield server, commit


@pytest.mark.real
def test_a_token_opens_an_http_server_and_is_seen_nowhere(
    served: tuple[gitservers.GitServer, str],
    tmp_path: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, commit = served
    caplog.set_level(logging.DEBUG)
    record = tmp_path / "record"
    # What ps would show and what is on disk, at the moment each git runs.
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    real = subprocess.run(
        ["which", "git"], check=True, capture_output=True, text=True
    ).stdout.strip()
    fake.write_text(
        f'#!/bin/sh\nexec 3<&0\nprintf "%s\\n" "$*" >> {record}\n'
        f"(ps axww -o args; find {here} -name config -exec cat {{}} +) >> {record} 2>&1\n"
        f'{real} "$@" <&3 & pid=$!\n'
        f"while kill -0 $pid 2>/dev/null; do ps axww -o args >> {record}; sleep 0.01; done\nwait $pid\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    for given, url in [
        ({"username": "worker", "password": SECRET}, server.url("store.git")),
        (None, server.url("store.git").replace("//", f"//worker:{SECRET}@")),
    ]:
        directory = Path(pull_code(url, commit, credentials=given)["directory"])
        assert (directory / "flow.py").read_text() == "x"
    seen = record.read_text(errors="replace")
    assert "fetch" in seen
    assert "remote-http" in seen
    assert SECRET not in seen + caplog.text
    for file in here.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


@pytest.mark.real
def test_a_worker_asks_the_program_that_its_environment_names(
    served: tuple[gitservers.GitServer, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, commit = served
    program = tmp_path / "askpass"
    program.write_text(
        f'#!/bin/sh\ncase "$1" in Username*) echo worker;; *) echo {SECRET};; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("GIT_ASKPASS", str(program))
    directory = Path(pull_code(server.url("store.git"), commit)["directory"])
    assert (directory / "flow.py").read_text() == "x"


@pytest.mark.real
@pytest.mark.parametrize(
    "given", ["wrong-t0ken", {"username": "worker", "password": "wrong-t0ken"}]
)
def test_wrong_credentials_are_told_without_them(
    served: tuple[gitservers.GitServer, str], here: Path, given: object
) -> None:
    server, commit = served
    with pytest.raises(RemoteError) as caught:
        pull_code(server.url("store.git"), commit, credentials=given)
    assert caught.value.kind == "auth"
    assert "wrong-t0ken" not in str(caught.value)
    assert list(here.iterdir()) == []


@pytest.mark.real
def test_no_credentials_and_a_wrong_repository_are_told(
    served: tuple[gitservers.GitServer, str], here: Path
) -> None:
    server, commit = served
    with pytest.raises(RemoteError) as caught:
        pull_code(server.url("store.git"), commit)
    assert caught.value.kind == "auth"
    with pytest.raises(RemoteError) as caught:
        pull_code(server.url("none.git"), commit, credentials=f"worker:{SECRET}")
    assert caught.value.kind == "not-found"
    assert list(here.iterdir()) == []


@pytest.mark.real
def test_ssh_uses_the_workers_own_key(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repo.write("flow.py", "x").commit()
    with gitservers.ssh(repo.path.parent, tmp_path / "ssh") as server:
        monkeypatch.setenv("GIT_SSH_COMMAND", server.environment["GIT_SSH_COMMAND"])
        directory = Path(pull_code(server.url("project"), commit)["directory"])
    assert (directory / "flow.py").read_text() == "x"


@pytest.mark.real
def test_git_daemon_serves_a_pull(repo: Repo, tmp_path: Path) -> None:
    commit = repo.write("flow.py", "x").commit()
    with gitservers.git_daemon(repo.path.parent, tmp_path / "daemon") as server:
        directory = Path(pull_code(server.url("project"), commit)["directory"])
    assert (directory / "flow.py").read_text() == "x"


@pytest.mark.parametrize(
    ("named", "place"),
    [("~/x", "home/x"), ("~", "home"), ("x", "here/x"), ("", "home/.cache/gitops-flow")],
)
def test_a_pull_keeps_its_cache_where_a_deploy_does(
    repo: Repo, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, place: str
) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GITFLOW_CACHE_DIR", named)
    pull_code(str(repo.path), repo.write("x").commit())
    expected = {"home": tmp_path / "home", "here": here}[place.partition("/")[0]]
    expected /= place.partition("/")[2]
    assert (expected / "checkout").is_dir()
    assert settings.load(os.environ, here).cache_dir == expected


# What the step loads, and how Prefect runs it.


def test_pulling_loads_nothing_that_only_publishing_needs(repo: Repo) -> None:
    commit = repo.write("x").commit()
    code = (
        "import json, sys\nfrom gitops_flow.steps import pull_code\n"
        f"pull_code({str(repo.path)!r}, {commit!r})\nprint(json.dumps(sorted(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    loaded = set(json.loads(out))
    heavy = {
        "pygit2",
        "typer",
        "jinja2",
        "watchfiles",
        "httpx",
        "starlette",
        "pydantic",
        "yaml",
        "prefect",
    }
    assert loaded & heavy == set()
    ours = {name for name in loaded if name.startswith("gitops_flow.")}
    assert {name.split(".")[1] for name in ours} == {
        "steps",
        "worker",
        "checkout",
        "git",
        "pin",
        "files",
        "errors",
        "redact",
        "stop",
    }
    assert "gitops_flow.steps.push" not in ours
    assert "gitops_flow.git.objects" not in ours


def test_an_unknown_step_is_an_attribute_error() -> None:
    import gitops_flow.steps

    with pytest.raises(AttributeError, match="no attribute 'pull_coed'"):
        gitops_flow.steps.pull_coed  # noqa: B018


@pytest.mark.real
def test_prefect_finds_and_runs_the_step_and_shows_the_whole_error(
    repo: Repo, here: Path, tmp_path: Path, prefect_api_url: str
) -> None:
    commit = repo.write("flow.py", "x").commit()
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio, os, sys, traceback\n"
        "from prefect.deployments.steps.core import run_steps\n"
        "def step(commit):\n"
        f"    return {{'gitops_flow.steps.pull_code': {{'requires': 'gitops-flow', 'repository': {str(repo.path)!r}, 'commit': commit}}}}\n"
        f"print(asyncio.run(run_steps([step({commit!r})]))['directory'])\n"
        "try:\n"
        "    asyncio.run(run_steps([step('a' * 40)]))\n"
        "except Exception:\n"
        "    traceback.print_exc(file=sys.stdout)\n"
    )
    out = subprocess.run(
        [sys.executable, str(script)], check=True, capture_output=True, text=True
    ).stdout
    assert f"{here}/project-{commit[:12]}-" in out
    assert "the commit is not on the server" in out
    assert "hint: it was published to another repository" in out


def test_every_error_is_one_of_ours(here: Path) -> None:
    for repository in [
        "",
        "-x",
        "\0",
        "http://[",
        "ext::x",
        "ssh://-oProxyCommand=x/y",
        "a b",
        "file://x",
    ]:
        with pytest.raises(GitflowError):
            pull_code(repository, "a" * 40)
    assert list(here.iterdir()) == []


# Mirrors, sharing, and what the environment sets.


def test_a_repository_may_be_several_addresses_tried_in_order(
    repo: Repo, caplog: pytest.LogCaptureFixture
) -> None:
    commit = repo.write("flow.py", "x").commit()
    dead = f"git://127.0.0.1:{gitservers.refused_port()}/x"
    made = pull_code([dead, f"file://{repo.path}"], commit)
    assert (Path(made["directory"]) / "flow.py").read_text() == "x"
    assert any(dead in text for text in caplog.messages)


def test_shared_runs_get_one_directory_and_leave_no_bytecode_in_it(
    repo: Repo, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")
    commit = repo.write("jobs/flow.py", "x = 1").commit()
    first = pull_code(f"file://{repo.path}", commit, isolation="shared", directory="jobs")
    monkeypatch.syspath_prepend(first["directory"])
    subprocess.run([sys.executable, "-c", "import flow"], check=True, cwd=first["directory"])
    second = pull_code(f"file://{repo.path}", commit, isolation="shared", directory="jobs")
    assert first == second
    assert sys.dont_write_bytecode
    assert list(here.iterdir()) == []


def test_without_a_cache_a_shared_run_gets_a_directory_of_its_own(
    repo: Repo, here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GITFLOW_PULL_CACHE", "off")
    made = pull_code(str(repo.path), repo.write("x").commit(), isolation="shared")
    assert Path(made["directory"]).parent == here
    assert any("isolation: shared needs the cache" in text for text in caplog.messages)


def test_an_unknown_isolation_is_refused(repo: Repo) -> None:
    with pytest.raises(CheckoutError, match="'link' is none of copy, shared"):
        pull_code(str(repo.path), repo.write("x").commit(), isolation="link")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GITFLOW_CACHE_MAX_SIZE", "much"),
        ("GITFLOW_CACHE_MAX_SIZE", "2d"),
        ("GITFLOW_CACHE_MAX_AGE", "-1"),
        ("GITFLOW_RUNS_MAX_AGE", "1G"),
        ("GITFLOW_MIRROR_TIMEOUT", "never"),
        ("GITFLOW_PULL_CACHE", "of"),
    ],
)
def test_a_setting_that_cannot_be_understood_is_named(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(CheckoutError, match=f"{name}='{value}'"):
        pull_code(str(repo.path), repo.write("x").commit())


def test_the_environment_says_what_the_cache_and_runs_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITFLOW_CACHE_MAX_SIZE", "1.5G")
    monkeypatch.setenv("GITFLOW_CACHE_MAX_AGE", "2d")
    monkeypatch.setenv("GITFLOW_RUNS_MAX_AGE", "90")
    assert worker.limits(os.environ) == sweep.Limits(1.5e9, 2 * 86400, 90)


def test_the_log_says_what_came_and_that_the_next_run_needed_nothing(
    repo: Repo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    commit = repo.write("x", "1").commit()
    for _ in range(2):
        pull_code(f"file://{repo.path}", commit, source={"dirty": False})
    first, second = caplog.messages
    assert re.search(r"\(clean\), 1 files fetched, \d+ kB in ", first)
    assert "(clean), 1 files cached in " in second
