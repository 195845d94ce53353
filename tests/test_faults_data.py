"""Malformed commits, trees and ledger entries: read with tolerance, or an error that says so."""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_flow.checkout import tree
from gitops_flow.checkout.objects import Store, opened
from gitops_flow.cli import boundary
from gitops_flow.codestore import history, ledger, trim
from gitops_flow.errors import CheckoutError, GitflowError
from gitops_flow.git.objects import DamagedError, Objects
from gitops_flow.steps import pull_code
from tests.support.releases import Shop
from tests.support.repo import Repo
from tests.test_checkout import blob, make, raw_commit

DATES = {
    "missing": None,
    "empty": b"Ann <ann@x>  +0000",
    "no people": b"",
    "textual": b"Ann <ann@x> yesterday +0000",
    "5000 digits": b"Ann <ann@x> %s +0000" % (b"9" * 5000),
    "other digits": "Ann <ann@x> ١٢٣ +0000".encode(),
    "negative": b"Ann <ann@x> -5 +0000",
    "bytes": b"\xff\xfe",
}


@pytest.fixture
def bare(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "bare.git", bare=True)


@pytest.fixture
def objects(bare: Repo) -> Objects:
    return Objects(bare.path)


def loose(repo: Repo, kind: bytes, data: bytes) -> str:
    """Write an object that git itself would refuse to make."""
    whole = b"%s %d\0%s" % (kind, len(data), data)
    name = hashlib.sha1(whole).hexdigest()
    path = repo.path / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(whole))
    return name


# Ledger entries without a date that can be read.


@pytest.fixture
def undated(tmp_path: Path) -> Shop:
    """A shop whose releases but the first and the last have no usable date."""
    shop = Shop(tmp_path)
    for content in "123":
        shop.release(f"{content}\n")
    objects = Objects(shop.server.path)
    newest, middle, oldest = [each.id for each in shop.chain().entries]
    tip = oldest
    for date in DATES.values():
        head, _, rest = objects.data(middle).partition(b"committer ")
        line = b"" if date is None else b"committer " + date + b"\n"
        head = head.replace(oldest.encode(), tip.encode())
        tip = loose(shop.server, b"commit", head + line + rest.partition(b"\n")[2])
    data = objects.data(newest).replace(middle.encode(), tip.encode())
    tip = loose(shop.server, b"commit", data)
    shop.server.git("update-ref", "refs/heads/code-store", tip)
    return shop


def test_a_release_without_a_usable_date_is_read_with_the_others(undated: Shop) -> None:
    dates = [each.when for each in undated.chain("elsewhere").entries]
    assert dates == [1_700_000_000, *[0] * len(DATES), 1_700_000_000]


def test_history_and_show_say_that_a_date_is_unknown(
    undated: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(undated.repo.path)
    for command in (["history"], ["show", "@2"]):
        assert boundary.run(command) == 0
        assert "unknown" in capsys.readouterr().out


def test_a_ledger_is_rewritten_with_dates_that_servers_accept(undated: Shop) -> None:
    chain = undated.chain()
    assert trim.rewrite(chain, chain.entries, undated.found, undated.target)
    assert [each.when for each in undated.chain().entries] == [each.when for each in chain.entries]


def test_a_snapshot_is_released_on_top_of_an_entry_without_a_date(undated: Shop) -> None:
    assert undated.release("4\n").pushed
    assert not undated.release("3\n", since=1.0).pushed


@given(st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_committer_has_a_date_or_none(data: bytes) -> None:
    ident = data.decode("utf-8", "replace")
    assert 0 <= ledger.made_at(ident) < 10**11
    assert ledger.made_at(ledger.dated(ident)) == ledger.made_at(ident)


LINES = st.sampled_from(
    [
        b"tree " + b"c" * 40,
        b"parent " + b"a" * 40,
        b"parent " + b"b" * 40,
        b"committer A <a@x> 1700000000 +0000",
        b"committer",
        b"mergetag object x",
        b" folded",
        b"",
        b"Gitflow-Snapshot: " + b"b" * 40,
        b"Gitflow-Dirty: true",
        b"Gitflow-Source",
        b"and 99999999999999999999 more",
        b"M file",
        b"\xff\x00",
    ]
)


@given(st.lists(LINES, max_size=16))
@settings(max_examples=500, deadline=None)
def test_any_commit_is_an_entry_or_none(lines: list[bytes]) -> None:
    found = history.parse("d" * 40, b"\n".join(lines))
    assert found is None or found[0].snapshot == "b" * 40


# Trees and commits.


@pytest.mark.parametrize("mode", ["100888", "8", "0o100644", "", "+10064", "1_0644"])
def test_a_tree_with_a_mode_that_is_none_is_refused_on_both_sides(
    tmp_path: Path, mode: str
) -> None:
    repo = Repo(tmp_path / "project")
    commit = raw_commit(repo, (mode, b"x", blob(repo, b"")))
    here = tmp_path / "here"
    here.mkdir()
    for address in (str(repo.path), f"file://{repo.path}"):
        with pytest.raises(GitflowError):
            make(address, commit, here)
    assert list(here.iterdir()) == []
    objects = Objects(repo.path / ".git")
    with pytest.raises(DamagedError, match="malformed"):
        objects.find(objects.commit(commit).tree, b"x")


PIECES = st.sampled_from(
    [b"100644 ", b"40000 ", b"100888 ", b"x", b"\0", b"a" * 20, b"b" * 19, b"/", b".git", b"\xff"]
)


def test_any_tree_is_listed_or_an_error_of_ours(bare: Repo, objects: Objects) -> None:
    store = Store.create(bare.path / "store")
    store.lend([bare.path / "objects"])

    @given(st.lists(PIECES, max_size=9).map(b"".join))
    @settings(max_examples=200, deadline=None)
    def check(data: bytes) -> None:
        made = loose(bare, b"tree", data)
        commit = objects.write_commit(made, (), "x\n", "A <a@x> 0 +0000")
        with contextlib.suppress(GitflowError):
            objects.tree(made)
        with contextlib.suppress(GitflowError), opened(store, 20) as reader:
            tree.read(reader, commit)

    check()


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"tree\n",
        b"tree abc\n",
        b"tree %s\nparent x\n" % (b"a" * 40),
        b"\xff\n",
        b"parent \xff",
    ],
)
def test_a_commit_that_names_no_tree_is_damaged(
    bare: Repo, objects: Objects, header: bytes
) -> None:
    made = loose(bare, b"commit", header + b"\nx")
    with pytest.raises(DamagedError, match="malformed"):
        objects.commit(made)


# What the pull step is told.


@pytest.mark.parametrize(
    "directory",
    ["." * 5000, "a/" * 5000, "a" * 300, "loop", "x\0y", "\ud800", "…" * 2000],
    ids=["dots", "deep", "long", "loop", "zero", "surrogate", "other letters"],
)
def test_a_directory_that_cannot_exist_is_refused_shortly_and_the_checkout_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str
) -> None:
    repo = Repo(tmp_path / "project").symlink("loop", "loop")
    commit = repo.write("x").commit()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(CheckoutError) as caught:
        pull_code(str(repo.path), commit, directory=directory)
    assert len(str(caught.value)) < 4000
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["repository", "directories", "release", "verify_signers"])
@pytest.mark.parametrize("value", ["/" + "x" * 5000, "\ud800", "x\0"], ids=["long", "odd", "zero"])
def test_any_text_given_to_the_step_is_an_error_of_ours_or_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    repo = Repo(tmp_path / "project")
    inputs = {"repository": str(repo.path), "commit": repo.write("x").commit(), name: value}
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("GITFLOW_GIT_TIMEOUT", "5")
    try:
        assert Path(pull_code(**inputs)["directory"]).is_dir()  # type: ignore[arg-type]
    except GitflowError:
        assert list(here.iterdir()) == []
