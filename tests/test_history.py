"""Releases read back from the ledger: listed, named, shown, compared, checked out."""

from __future__ import annotations

import contextlib
import errno
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.cli import boundary, streams
from gitops_flow.cli import plan as cli_plan
from gitops_flow.codestore import address, history
from gitops_flow.codestore.history import Entry
from gitops_flow.errors import CodeStoreError, GitflowError, UsageError
from gitops_flow.git import repository
from gitops_flow.model import CodeStoreSettings, Provenance
from gitops_flow.report import words
from tests.support.releases import Shop
from tests.support.repo import Repo
from tests.test_prefect_client import Script


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def gitflow(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a command in the shop's repository; what it prints."""
    monkeypatch.chdir(shop.repo.path)

    def run(*args: str, code: int = 0) -> str:
        assert boundary.run(args) == code
        told = capsys.readouterr()
        return told.out + told.err

    return run


def test_releases_are_read_newest_first_with_what_their_entries_say(shop: Shop) -> None:
    shop.release("1\n")
    second = shop.release("2\n", names=("hello/a", "hello/b"), when=1_700_000_060)
    newest, oldest = shop.chain().entries
    assert newest.id == second.entry
    assert newest.when == 1_700_000_060
    assert newest.origin == Provenance("shop", shop.repo.head, True, "Ann <ann@x>", "main")
    assert [(c.path, c.kind) for c in newest.changes] == [("flow.py", "modified")]
    assert newest.deployments == ("hello/a", "hello/b")
    assert newest.mark == shop.source.mark
    assert oldest.deployments == ("hello/main",)


@pytest.mark.parametrize("bad", ["--upload-pack=x", "A" * 40, "../../HEAD"])
def test_a_commit_whose_parents_are_no_ids_is_no_entry(bad: str) -> None:
    head = f"tree {'c' * 40}\nparent {'a' * 40}\nparent {bad}\n"
    people = "author A <a@x> 0 +0000\ncommitter A <a@x> 0 +0000\n"
    text = f"{head}{people}\nsubject\n\nGitflow-Snapshot: {bad}\n"
    assert history.parse("b" * 40, text.encode()) is None
    assert history.parse("b" * 40, text.replace(bad, "d" * 40).encode()) is not None


def test_a_code_store_that_was_never_published_to_has_no_releases(shop: Shop) -> None:
    assert shop.chain().entries == ()


def test_an_embedded_code_store_that_does_not_exist_yet_has_no_releases(shop: Shop) -> None:
    shop.repo.git("remote", "remove", "origin")
    found = repository.discover(shop.repo.path)
    target = address.resolve(found, CodeStoreSettings(), shop.base / "data")
    assert history.read(shop.base / "cache", found, target).entries == ()


def test_only_commits_are_fetched_where_the_server_can_filter(shop: Shop) -> None:
    shop.release("1\n")
    chain = shop.chain("elsewhere")
    kinds = Repo(chain.path, init=False).git(
        "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"
    )
    assert set(kinds.splitlines()) == {"commit"}


def test_a_server_that_cannot_filter_gives_the_same_releases(shop: Shop) -> None:
    shop.release("1\n")
    shop.server.git("config", "uploadpack.allowFilter", "false")
    assert len(shop.chain("elsewhere").entries) == 1


def test_new_releases_are_seen_by_a_copy_that_is_there_already(shop: Shop) -> None:
    shop.release("1\n")
    assert len(shop.chain("elsewhere").entries) == 1
    shop.release("2\n")
    assert len(shop.chain("elsewhere").entries) == 2


@pytest.mark.parametrize("damaged", ["objects/pack/*.pack", "refs/gitflow/ledger"])
@pytest.mark.parametrize("newer", [False, True], ids=["nothing new", "a new release"])
def test_a_damaged_copy_is_fetched_again(shop: Shop, damaged: str, newer: bool) -> None:
    shop.release("1\n")
    shop.release("2\n")
    before = shop.chain("elsewhere")
    if newer:
        shop.release("3\n")
    (file,) = before.path.glob(damaged)
    file.chmod(0o644)
    file.write_bytes(bytes(file.stat().st_size))
    assert shop.chain("elsewhere").entries[-2:] == before.entries


@pytest.mark.parametrize(
    ("other", "pushed"), [("gitflow:other-01234567", False), (None, True)], ids=["other", "own"]
)
def test_older_code_is_a_release_again_when_its_source_has_made_another_since(
    shop: Shop, other: str | None, pushed: bool
) -> None:
    shop.release("1\n")
    shop.release("2\n", mark=other)
    assert shop.release("1\n", newest=True).pushed == pushed
    assert not shop.release("1\n", newest=True).pushed


def test_code_that_another_source_released_is_a_release_of_this_one_too(shop: Shop) -> None:
    shop.release("1\n", mark="gitflow:other-01234567")
    assert shop.release("1\n", newest=True).pushed
    assert not shop.release("1\n", newest=True).pushed
    assert not shop.release("1\n", mark="gitflow:third-01234567").pushed


def test_a_branch_that_is_no_ledger_is_refused(shop: Shop) -> None:
    shop.repo.git("push", "-q", "origin", "main:code-store")
    with pytest.raises(CodeStoreError, match="is not a code store"):
        shop.chain()


def _entry(number: int, **said: object) -> Entry:
    origin = Provenance("shop", None, False, "A <a@b>")
    made = Entry(
        f"{number:040x}", f"{number + 0xA000:040x}", "", 0, origin, "", (), 0, (), None, None, ""
    )
    return replace(made, **said)  # type: ignore[arg-type]


ENTRIES = (
    _entry(3, id="abc3" + "0" * 36, snapshot="5678" + "1" * 36),
    _entry(2, id="abc2" + "0" * 36, snapshot="5678" + "2" * 36),
    _entry(1, id="def1" + "0" * 36, snapshot="5678" + "1" * 36),
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("@1", 0),
        ("@3", 2),
        ("abc2", 1),
        ("def1" + "0" * 36, 2),
        ("56782", 1),
        ("56781", 0),
    ],
)
def test_a_release_is_named_by_its_place_or_the_beginning_of_an_id(text: str, number: int) -> None:
    assert history.find(ENTRIES, text) is ENTRIES[number]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("@4", "there are 3"),
        ("@0", "does not name a release"),
        ("abc", "does not name a release"),
        ("main", "does not name a release"),
        ("5678", "names several releases"),
        ("0123456", "there is no release"),
    ],
)
def test_a_name_that_is_no_release_or_several_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        history.find(ENTRIES, text)


def _named(*snapshots: str, back: dict[int, int]) -> list[Entry]:
    """Entries, newest first; ``back`` says which went back to which (99: to one that is gone)."""
    return [
        _entry(n, snapshot=each, rollback=f"{back[n]:040x}" if n in back else None)
        for n, each in enumerate(snapshots)
    ]


@pytest.mark.parametrize(
    ("chain", "back", "pinned", "expected"),
    [
        ("cba", {}, "c", "b"),
        ("cba", {}, "b", "a"),
        ("cba", {}, "a", None),
        ("ccb", {}, "c", "b"),
        ("bcba", {0: 2}, "b", "a"),
        ("bcba", {0: 99}, "b", "a"),
        ("bca", {0: 99}, "b", "c"),
        ("bcba", {}, "b", "c"),
        ("abaz", {}, "a", "b"),
        ("babaz", {0: 2}, "b", "a"),
        ("ababaz", {0: 4, 1: 3}, "a", "z"),
        ("aababaz", {0: 1, 1: 5}, "a", "z"),
        ("cba", {}, "x", None),
    ],
)
def test_the_release_before_is_further_back_after_a_rollback(
    chain: str, back: dict[int, int], pinned: str, expected: str | None
) -> None:
    found = history.before(_named(*chain, back=back), pinned)
    assert (found.snapshot if found else None) == expected


def test_releases_of_other_sources_are_listed_only_when_asked_for(
    shop: Shop, gitflow: Callable[..., str]
) -> None:
    shop.release("1\n")
    shop.release("2\n", mark="gitflow:other-01234567")
    assert json.loads(gitflow("history", "--json"))["total"] == 1
    assert json.loads(gitflow("history", "--all", "--json"))["total"] == 2


def test_an_entry_without_a_mark_belongs_to_the_source_of_its_name(shop: Shop) -> None:
    shop.release("1\n", mark="")
    (entry,) = shop.chain().entries
    assert entry.of_source(shop.source)
    assert not entry.of_source(replace(shop.source, name="other"))


def test_history_says_who_when_from_what_and_for_which_deployments(
    shop: Shop, gitflow: Callable[..., str]
) -> None:
    done = shop.release("1\n")
    text = gitflow("history")
    assert f"@1  {done.entry[:12]}  2023-11-14 22:13Z  Ann" in text
    assert f"main {shop.repo.head[:8]} + 1 file\n" in text
    assert "    pinned: hello/main\n" in text


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_history_fits_the_terminal_whatever_the_names_are(
    shop: Shop, gitflow: Callable[..., str], columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("GIT_AUTHOR_NAME", "\u5c71\u7530\u592a\u90ce " * 5)
    shop.repo.git("checkout", "-q", "-b", "a-branch-with-a-name-" + "x" * 60)
    wide = "\u6ce8\u6587/" + "\u591c" * 60
    shop.release("1\n", names=(wide, "hello/b"))
    shop.release("2\n", names=tuple(f"hello/deployment-{n}" for n in range(30)))
    lines = [line for line in gitflow("history").splitlines() if line[0] in "@ "]
    assert max(map(words.columns, lines)) <= int(columns)
    assert any(re.search(r"hello/deployment-0\b.* and \d+ more$", line) for line in lines)


def _server(script: Script, monkeypatch: pytest.MonkeyPatch, pins: dict[str, str]) -> None:
    """Have ``script`` answer as a Prefect server with these pins by deployment."""
    live = [
        {"id": name, "name": name, "flow_id": "f", "tags": tags.split()}
        | {"pull_steps": [{"gitops_flow.steps.pull_code": {"commit": pin}}]}
        for key, pin in pins.items()
        for name, _, tags in [key.partition(" ")]
    ]

    def answer(_method: str, path: str, _headers: object, body: Any) -> Any:
        if path.endswith("/admin/version"):
            return 200, "3.9.1"
        if path.endswith("/flows/filter"):
            return 200, [{"id": "f", "name": "hello"}]
        if path.endswith("/admin/version"):
            return 200, "3.8.8"
        wanted = body.get("deployments", {}).get("tags", {}).get("all_", [])
        return 200, [each for each in live if set(wanted) <= set(each["tags"])]

    script.seen.clear()
    script.answers = [answer]
    monkeypatch.setenv("PREFECT_API_URL", script.connection.api_url)


@pytest.fixture
def script() -> Iterator[Script]:
    with contextlib.closing(Script()) as made:
        yield made


def test_history_marks_what_is_pinned_now_and_lists_deployments_once(
    shop: Shop, gitflow: Callable[..., str], script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in "1231":
        shop.release(f"{content}\n", newest=True)
    first, third, second, again = [entry.snapshot for entry in shop.chain().entries]
    assert first == again
    mark = shop.source.mark
    pins = {f"b {mark}": first, f"a {mark}": first, f"c {mark}": second, "stranger": third}
    _server(script, monkeypatch, pins)
    now: dict[str, str] = {}
    place = ""
    for line in gitflow("history").splitlines():
        place = line.split()[0] if line.startswith("@") else place
        if "pinned now" in line:
            now[place] = line.strip()
    assert now == {"@1": "pinned now: hello/a, hello/b", "@3": "pinned now: hello/c"}
    asked = [path for _, path, *_ in script.seen]
    assert sum(path.endswith("/deployments/filter") for path in asked) == 1
    _server(script, monkeypatch, pins)
    told = json.loads(gitflow("history", "main", "--json"))
    assert [each["pinned_now"] for each in told["releases"]] == [
        ["hello/a", "hello/b"],
        [],
        ["hello/c"],
        [],
    ]
    assert told["warnings"] == []


def test_a_snapshot_of_two_sources_is_pinned_by_each_of_them(
    shop: Shop, gitflow: Callable[..., str], script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "gitflow:other-01234567"
    shop.release("1\n", mark=other)
    shop.release("1\n", since=2e9)
    snapshot = shop.chain().entries[0].snapshot
    _server(script, monkeypatch, {f"a {shop.source.mark}": snapshot, f"b {other}": snapshot})
    told = json.loads(gitflow("history", "--all", "--json"))["releases"]
    assert [each["pinned_now"] for each in told] == [["hello/a"], ["hello/b"]]


@pytest.mark.parametrize("api", ["http://127.0.0.1:9/api", ""])
def test_history_goes_on_without_a_server_and_says_so(
    shop: Shop, gitflow: Callable[..., str], monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    shop.release("1\n")
    monkeypatch.setenv("PREFECT_API_URL", api)
    row, warning = gitflow("history").split("warning: ")
    assert row.startswith("@1 ")
    assert warning.startswith("it is not known which releases are pinned now: ")
    told = json.loads(gitflow("history", "--json"))
    assert (told["ok"], told["releases"][0]["pinned_now"]) == (True, None)
    assert len(told["warnings"]) == 1


@pytest.mark.parametrize("name", ["b", "hello/b", "hello/*b"])
def test_history_of_a_deployment_leaves_the_others_out(
    shop: Shop, gitflow: Callable[..., str], name: str
) -> None:
    shop.release("1\n", names=("hello/a",))
    second = shop.release("2\n", names=("hello/b",))
    listed = json.loads(gitflow("history", name, "--json"))["releases"]
    assert [each["id"] for each in listed] == [second.entry]


BROKEN = """\
deployments:
  - {name: main, name: twice, entrypoint: 7, work_pool: {nmae: p}, schedules: [{cron: x}]}
  - hello
pull: 5
"""


def test_a_manifest_that_is_broken_elsewhere_still_says_which_releases_are_meant(
    shop: Shop, gitflow: Callable[..., str], tmp_path: Path
) -> None:
    shop.release("1\n")
    shop.repo.write("prefect.yaml", BROKEN + "name: shop\n")
    assert json.loads(gitflow("history", "--json"))["total"] == 1
    assert "hello/main" in gitflow("show", "@1")
    gitflow("checkout", "@1", str(tmp_path / "out"))
    assert (tmp_path / "out/flow.py").read_text() == "1\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("gitflow: {code_stroe: {branch: x}}\n" + BROKEN, "1:11"),
        (BROKEN + "name: 7\n", "5:7"),
        ("name: a\n" + BROKEN + "name: b\n", "6:1"),
        (BROKEN + "gitflow: {lfs: no, lfs: include}\n", "5:20"),
        ("deployments: [\n", "2:1"),
    ],
)
def test_a_manifest_that_does_not_say_which_releases_are_meant_is_refused(
    shop: Shop, gitflow: Callable[..., str], text: str, place: str
) -> None:
    shop.repo.write("prefect.yaml", text)
    told = gitflow("history", code=1)
    assert f"prefect.yaml:{place}: " in told
    assert "schedules" not in told


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_history_of_a_deployment_that_no_release_names_asks_what_was_meant(
    shop: Shop, gitflow: Callable[..., str], options: list[str]
) -> None:
    shop.release("1\n", names=("hello/nightly",))
    told = gitflow("history", "nigthly", *options, code=2)
    assert "no release pinned a deployment 'nigthly'" in told
    assert "did you mean 'nightly'?" in told


def test_history_before_the_first_release_says_how_to_make_one(
    shop: Shop, gitflow: Callable[..., str]
) -> None:
    assert "there is no release yet" in gitflow("history", "nightly")


def test_history_is_limited_and_says_how_many_are_left(
    shop: Shop, gitflow: Callable[..., str]
) -> None:
    for content in "123":
        shop.release(f"{content}\n")
    assert "and 2 older" in gitflow("history", "--limit", "1")


def test_show_tells_what_changed_since_the_release_before(
    shop: Shop, gitflow: Callable[..., str]
) -> None:
    shop.release("1\n")
    shop.repo.write("new.py", "n\n")
    shop.release("2\n")
    told = json.loads(gitflow("show", "@1", "--json"))
    assert {(file["path"], file["kind"]) for file in told["changed"]["files"]} == {
        ("flow.py", "modified"),
        ("new.py", "added"),
    }
    assert "M flow.py" in gitflow("show", "@1")


def test_diff_of_two_releases_compares_their_code(shop: Shop, gitflow: Callable[..., str]) -> None:
    shop.release("1\n")
    shop.release("2\n")
    assert "1 line added, 1 removed" in gitflow("diff", "@2", "@1")
    assert gitflow("diff", "@2", "@2", "--exit-code").startswith("code:")
    gitflow("diff", "@2", "@1", "--exit-code", code=4)


def test_the_patch_between_two_releases_is_one_that_git_applies(
    shop: Shop, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.repo.path)
    (shop.repo.path / "latin.txt").write_bytes(b"gr\xfcn\n")
    shop.release("1\n")
    (shop.repo.path / "latin.txt").write_bytes(b"blau \x1b[1m\xfc\n")
    shop.release("2\n")
    assert boundary.run(["checkout", "@2", "../before"]) == 0
    capfdbinary.readouterr()
    assert boundary.run(["diff", "@2", "@1", "--patch"]) == 0
    (shop.base / "patch").write_bytes(capfdbinary.readouterr().out)
    Repo(shop.base / "before").git("apply", "../patch")
    for name in ("latin.txt", "flow.py"):
        written = (shop.base / "before" / name).read_bytes()
        assert written == (shop.repo.path / name).read_bytes()


def test_a_patch_on_a_terminal_has_colours_of_its_own_only(
    shop: Shop, gitflow: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.release("1\n")
    shop.release("\x1b[2Jtwo\n")
    monkeypatch.setattr(streams, "is_terminal", lambda: True)
    told = gitflow("diff", "@2", "@1", "--patch")
    assert "\x1b[32m+\\x1b[2Jtwo\x1b[0m" in told
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in gitflow("diff", "@2", "@1", "--patch")


def test_a_patch_ends_somewhere_and_says_so(
    shop: Shop, gitflow: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_plan, "_LONGEST_PATCH", 1000)
    monkeypatch.setattr(streams, "is_terminal", lambda: True)
    shop.release("1\n")
    shop.release("x\n" * 5000)
    told = gitflow("diff", "@2", "@1", "--patch")
    assert len(told) < 20_000
    assert "the patch is longer than" in told


@pytest.mark.parametrize("options", [["@2", "@1", "--json"], ["main"]])
def test_a_patch_is_of_two_releases_and_not_json(
    shop: Shop, gitflow: Callable[..., str], options: list[str]
) -> None:
    for content in "12":
        shop.release(f"{content}\n")
    assert "--patch" in gitflow("diff", *options, "--patch", code=2)


def test_diff_of_a_release_that_is_not_there_says_so(
    shop: Shop, gitflow: Callable[..., str]
) -> None:
    shop.release("1\n")
    assert "there is no release @9" in gitflow("diff", "@9", "@1", code=2)


def test_checkout_writes_the_files_of_a_release(
    shop: Shop, gitflow: Callable[..., str], tmp_path: Path
) -> None:
    shop.release("1\n")
    shop.release("2\n")
    gitflow("checkout", "@2", str(tmp_path / "old"))
    assert (tmp_path / "old/flow.py").read_text() == "1\n"
    assert sorted(path.name for path in (tmp_path / "old").iterdir()) == ["flow.py", "prefect.yaml"]


def test_checkout_never_writes_into_a_directory_that_exists(
    shop: Shop, gitflow: Callable[..., str], tmp_path: Path
) -> None:
    shop.release("1\n")
    assert "exists already" in gitflow("checkout", "@1", str(tmp_path), code=2)


@pytest.mark.parametrize(
    "line", ["history", "show @1", "diff @1 @1", "checkout @1 out", "history --json"]
)
def test_a_cache_that_cannot_be_written_is_told_with_what_to_do(
    shop: Shop, gitflow: Callable[..., str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITFLOW_CACHE_DIR", "/dev/null/cache")
    told = gitflow(*line.split(), code=1)
    assert "the cache cannot be written: Not a directory" in told
    assert "set GITFLOW_CACHE_DIR" in told


def test_a_cache_that_is_full_while_the_ledger_is_read_is_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    shop.release("1\n")
    monkeypatch.setattr(history, "_copy", full)
    with pytest.raises(GitflowError, match="the cache cannot be written: No space left"):
        shop.chain()


def test_an_embedded_code_store_that_cannot_be_looked_for_is_told(
    shop: Shop, gitflow: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.repo.git("remote", "remove", "origin")
    monkeypatch.setenv("GITFLOW_DATA_DIR", f"/{'x' * 300}")
    told = gitflow("history", code=1)
    assert "the embedded code store cannot be read: File name too long" in told


@pytest.mark.parametrize("name", ["flow.py/out", "x" * 300])
def test_checkout_to_a_place_that_cannot_be_made_is_told(
    shop: Shop, gitflow: Callable[..., str], name: str
) -> None:
    shop.release("1\n")
    assert "error: " in (told := gitflow("checkout", "@1", name, code=1))
    assert "cannot write " in told


def test_what_was_released_before_the_source_got_a_name_is_still_the_sources(
    shop: Shop, gitflow: Callable[..., str], script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.release("1\n")
    [entry] = shop.chain().entries
    _server(script, monkeypatch, {f"a {shop.source.mark}": entry.snapshot})
    manifest = shop.repo.path / "prefect.yaml"
    manifest.write_text(manifest.read_text() + "gitflow: {source: acme/shop}\n")
    assert [
        each["pinned_now"] for each in json.loads(gitflow("history", "--json"))["releases"]
    ] == [["hello/a"]]
