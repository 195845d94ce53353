from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import urllib.request
from http.client import HTTPConnection, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from tests import support
from tests.support.prefect import SharedServer
from tests.support.project import NearProject, Project
from tests.support.proxy import Proxy
from tests.support.repo import Repo, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator


class TestIsolation:
    def test_home_is_the_tests_own_and_empty(self, home: Path) -> None:
        assert Path.home() == home
        assert [entry.name for entry in home.iterdir()] == [".gitconfig"]

    def test_git_sees_no_configuration_of_the_machine(self, home: Path) -> None:
        listing = subprocess.run(
            ["git", "config", "--list", "--show-origin", "--name-only"],
            cwd=home,
            capture_output=True,
            text=True,
            check=True,
        )
        origins = {line.split("\t")[0] for line in listing.stdout.splitlines()}
        assert origins == {f"file:{home}/.gitconfig"}

    @pytest.mark.parametrize("prefix", ["PREFECT_API", "GITFLOW_", "GIT_DIR"])
    def test_settings_of_the_caller_are_gone(self, prefix: str) -> None:
        assert not [name for name in os.environ if name.startswith(prefix)]


class TestRequireProgram:
    def test_finds_programs(self) -> None:
        assert Path(support.require_program("git")).name == "git"

    def test_skips_with_the_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(support, "NO_SKIP", False)
        with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
            support.require_program("no-such-program")

    def test_fails_where_ci_must_not_skip(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(support, "NO_SKIP", True)
        with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
            support.require_program("no-such-program")


class TestRepo:
    def test_commits_what_was_written(self, tmp_path: Path) -> None:
        repo = Repo(tmp_path / "r").write("a/b.txt", "hello")
        assert repo.commit("first") == repo.head
        assert repo.files() == ["a/b.txt"]
        assert repo.show("a/b.txt") == "hello"

    def test_clones_shallow(self, tmp_path: Path) -> None:
        repo = Repo(tmp_path / "r").write("a", "1")
        repo.commit()
        repo.write("a", "2").commit()
        clone = repo.clone(tmp_path / "c", "--depth=1")
        assert clone.git("rev-list", "--count", "HEAD") == "1"

    def test_a_failing_git_fails_the_test(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match="git rev-parse HEAD"):
            _ = Repo(tmp_path / "r").git("rev-parse", "HEAD")


class TestFingerprint:
    @pytest.fixture
    def repo(self, tmp_path: Path) -> Repo:
        repo = Repo(tmp_path / "r").write("a", "1")
        repo.commit()
        return repo

    def test_is_the_same_when_nothing_happened(self, repo: Repo) -> None:
        assert fingerprint(repo.path) == fingerprint(repo.path)

    @pytest.mark.parametrize(
        "change",
        [
            ["tag", "t"],
            ["update-ref", "refs/x", "HEAD"],
            ["config", "a.b", "c"],
            ["add", "-f", "new"],
            ["hash-object", "-w", "new"],
            ["stash", "create"],
        ],
        ids=lambda change: change[0],
    )
    def test_shows_a_write(self, repo: Repo, change: list[str]) -> None:
        repo.write("new", "2").write("a", "other")
        before = fingerprint(repo.path)
        repo.git(*change)
        assert fingerprint(repo.path) != before

    def test_shows_a_file_that_came_and_went(self, repo: Repo) -> None:
        before = fingerprint(repo.path)
        (repo.path / ".git/refs/heads/x.lock").touch()
        (repo.path / ".git/refs/heads/x.lock").unlink()
        assert fingerprint(repo.path) != before

    def test_follows_a_linked_worktree(self, repo: Repo, tmp_path: Path) -> None:
        repo.git("worktree", "add", "-q", tmp_path / "w")
        assert "HEAD" in fingerprint(tmp_path / "w")


class TestNearProject:
    @pytest.mark.parametrize(
        ("line", "code"),
        [("deploy nope --json", 2), ("plan", 1), ("plan --wrong", 2), ("--help", 0)],
    )
    def test_says_what_a_process_says(self, tmp_path: Path, line: str, code: int) -> None:
        away = SharedServer("http://127.0.0.1:9/api", tmp_path, 0, tmp_path)
        near = NearProject(tmp_path / "project", away)
        near.repo.write(
            "prefect.yaml",
            'deployments: [{name: d, entrypoint: "f.py:f", work_pool: {name: p}}]\n',
        )
        near.repo.write("f.py", "from prefect import flow\n@flow\ndef f(): ...\n").commit()
        own = Project(near.repo.path, away).gitflow(*line.split(), code=code)
        assert vars(near.gitflow(*line.split(), code=code)) == vars(own)

    def test_leaves_the_process_as_it_was(self, tmp_path: Path) -> None:
        def state() -> object:
            handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
            return Path.cwd(), dict(os.environ), handlers

        before = state()
        away = SharedServer("http://127.0.0.1:9/api", tmp_path, 0, tmp_path)
        NearProject(tmp_path / "project", away).gitflow("plan", code=2, env={"X": "y"})
        assert state() == before


class TestProxy:
    @pytest.fixture
    def upstream(self) -> Iterator[HTTPServer]:
        class Echo(BaseHTTPRequestHandler):
            served: list[str] = []  # noqa: RUF012

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.served.append(self.path)
                self.send_response(201)
                self.send_header("X-Seen", self.headers.get("X-Sent", ""))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        server = HTTPServer(("127.0.0.1", 0), Echo)
        server.served = Echo.served  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        server.server_close()

    @pytest.fixture
    def proxy(self, upstream: HTTPServer) -> Iterator[Proxy]:
        with Proxy(f"http://127.0.0.1:{upstream.server_address[1]}/api") as proxy:
            yield proxy

    @staticmethod
    def post(proxy: Proxy, path: str, body: object = None) -> object:
        request = urllib.request.Request(
            proxy.api_url + path, json.dumps(body).encode(), {"X-Sent": "yes"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert (answer.status, answer.headers["X-Seen"]) == (201, "yes")
            return json.load(answer)

    def test_passes_requests_on_and_counts_them(self, proxy: Proxy) -> None:
        assert self.post(proxy, "/flows/?x=1", {"a": 1}) == {"a": 1}
        self.post(proxy, "/flows/")
        assert proxy.counts == {"POST /flows/": 2}

    def test_tells_writes_from_reads(self, proxy: Proxy) -> None:
        self.post(proxy, "/flows/filter")
        self.post(proxy, "/flows/")
        assert proxy.writes == ["POST /flows/"]

    def test_answers_the_nth_request_with_a_status_of_its_own(
        self, proxy: Proxy, upstream: HTTPServer
    ) -> None:
        proxy.rule("status", "POST", "^/flows/$", nth=2)
        self.post(proxy, "/flows/")
        with pytest.raises(HTTPError, match="503") as caught:
            self.post(proxy, "/flows/")
        caught.value.close()
        self.post(proxy, "/flows/")
        assert len(upstream.served) == 2  # type: ignore[attr-defined]

    @pytest.mark.parametrize(("action", "served"), [("drop", 0), ("drop-after", 1)])
    def test_drops_a_connection_before_or_after_the_server_saw_it(
        self, proxy: Proxy, upstream: HTTPServer, action: str, served: int
    ) -> None:
        proxy.rule(action, path="/flows/")  # type: ignore[arg-type]
        with pytest.raises(RemoteDisconnected):
            self.post(proxy, "/flows/")
        assert len(upstream.served) == served  # type: ignore[attr-defined]

    def test_holds_a_request_until_released(self, proxy: Proxy, upstream: HTTPServer) -> None:
        rule = proxy.rule("hold", path="/flows/")
        thread = threading.Thread(target=self.post, args=(proxy, "/flows/"))
        thread.start()
        assert rule.reached.wait(10)
        assert upstream.served == []  # type: ignore[attr-defined]
        rule.release.set()
        thread.join(10)
        assert upstream.served == ["/api/flows/"]  # type: ignore[attr-defined]

    def test_ends_with_a_keep_alive_connection_open(self, upstream: HTTPServer) -> None:
        with Proxy(f"http://127.0.0.1:{upstream.server_address[1]}/api") as proxy:
            client = HTTPConnection(urlsplit(proxy.api_url).netloc)
            client.request("POST", "/api/flows/", b"1")
            assert client.getresponse().read() == b"1"
        client.close()
