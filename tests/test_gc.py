"""Dropping old releases: what goes, what stays, and that nobody loses a pinned commit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gitops_flow.codestore import ledger, publish, snapshot, trim
from gitops_flow.codestore.history import Entry
from gitops_flow.codestore.store import open_store
from gitops_flow.deploy import gc, working_tree
from gitops_flow.errors import RemoteError
from gitops_flow.git import repository
from gitops_flow.model import CodeStoreSettings, PrefectConnection, Provenance, is_of_copy
from gitops_flow.report import releases as report
from gitops_flow.settings import Settings
from gitops_flow.threads import Threads
from tests.support.prefect import SharedServer, SharedWorker
from tests.support.project import NearProject, Project
from tests.support.proxy import Proxy
from tests.support.releases import Shop
from tests.support.repo import Repo

DAY = 86400
NOW = 1_700_000_000


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def _entry(age: float, snapshot: str, mark: str = "gitflow:shop-00000000") -> Entry:
    origin = Provenance("shop", None, False, "A <a@b>")
    when = int(NOW - age)
    return Entry(f"{when:040x}", snapshot, "", when, origin, mark, (), 0, (), None, None, "")


def _names(entries: tuple[Entry, ...]) -> str:
    return "".join(entry.snapshot for entry in entries)


def _sorted(entries: list[Entry], pins: str = "", keep: int = 1, days: float = 1) -> trim.Sorted:
    return trim.sort(entries, set(pins), keep=keep, older_than=days * DAY, now=NOW)


OLD = [_entry(n * 10 * DAY, name) for n, name in enumerate("edcba", 1)]


@pytest.mark.parametrize(
    ("pins", "keep", "days", "kept"),
    [
        ("", 1, 1, "e"),
        ("", 3, 1, "edc"),
        ("", 1, 25, "ed"),
        ("a", 1, 1, "ea"),
        ("ac", 2, 1, "edca"),
        ("x", 9, 1, "edcba"),
    ],
)
def test_what_is_new_enough_or_among_the_newest_or_pinned_stays(
    pins: str, keep: int, days: float, kept: str
) -> None:
    found = _sorted(OLD, pins, keep, days)
    assert _names(found.kept) == kept
    assert _names(found.dropped) == "".join(name for name in "edcba" if name not in kept)


def test_each_source_keeps_its_own_newest() -> None:
    quiet = _entry(99 * DAY, "q", mark="gitflow:quiet-11111111")
    assert _names(_sorted([*OLD, quiet]).kept) == "eq"


def test_of_a_copy_that_is_gone_nothing_stays_for_being_new() -> None:
    marks = "gitflow:shop-one-1111111111111111", "gitflow:shop-two-2222222222222222"
    copies = [_entry(99 * DAY, name, mark) for name, mark in zip("pq", marks, strict=True)]
    recent = _entry(DAY / 2, "r", marks[0])
    found = trim.sort(
        [*OLD, recent, *copies], {"a"}, keep=1, older_than=DAY, now=NOW, gone={"1" * 16}
    )
    assert _names(found.kept) == "earq"
    assert [is_of_copy(each.mark) for each in (OLD[0], *copies)] == [False, True, True]


def test_a_release_of_the_last_hour_stays_whatever_is_asked_for() -> None:
    young = [_entry(10, "z"), _entry(3700, "y"), _entry(4000, "x")]
    found = _sorted(young, days=0)
    assert (_names(found.kept), _names(found.young)) == ("zy", "y")
    assert _names(_sorted(young, keep=2, days=0).young) == ""


def test_what_a_slow_clock_dated_is_as_young_as_what_came_after_it() -> None:
    # Published a moment ago by a machine whose clock is two hours slow; then others published.
    slow = _entry(7200, "s")
    others = [_entry(5, "z"), _entry(10, "y")]
    assert _names(_sorted([*others, slow, _entry(DAY, "old")], days=0).kept) == "zys"


def test_what_a_fast_clock_dated_in_the_future_stays(shop: Shop) -> None:
    entries = [_entry(-9 * DAY, "z"), _entry(-9 * DAY, "y"), _entry(DAY, "x"), _entry(DAY, "w")]
    assert _names(_sorted(entries, days=0).kept) == "zyx"


@pytest.mark.parametrize(
    ("before", "own", "dated"),
    [(7200, 0, 7200), (0, 7200, 7200), (DAY, 0, DAY), (300 * DAY, 0, 0)],
)
def test_an_entry_is_not_dated_before_its_predecessor_unless_that_is_days_ahead(
    shop: Shop, before: int, own: int, dated: int
) -> None:
    shop.release("1\n", when=NOW + before)
    shop.release("2\n", when=NOW + own)
    assert shop.chain().entries[0].when == NOW + dated


def _confirm(shop: Shop, done: publish.Publication, content: str) -> publish.Publication | None:
    store = open_store(shop.base / "cache", shop.found, shop.target.url)
    shop.repo.write("flow.py", content)
    snap = snapshot.take(shop.found, store, snapshot.Options(), source="shop", author="Ann <ann@x>")
    made = ledger.Release(snap, (), NOW)
    return publish.confirm(shop.base / "cache", store, shop.target, made, done.entry)[0]


@pytest.mark.parametrize("others", [0, 1])
def test_what_is_still_released_when_it_is_pinned_is_not_published_again(
    shop: Shop, others: int
) -> None:
    done = shop.release("1\n")
    for number in range(others):
        shop.release(f"other {number}\n")
    assert _confirm(shop, done, "1\n") is None
    assert len(shop.chain().entries) == 1 + others


def test_what_was_dropped_before_it_was_pinned_is_published_again(shop: Shop) -> None:
    done = shop.release("1\n")
    mine = shop.chain().entries[0].snapshot
    shop.release("2\n")
    _rewrite(shop, {shop.chain().entries[0].snapshot})
    again = _confirm(shop, done, "1\n")
    assert again is not None
    assert again.pushed
    assert shop.chain().entries[0].snapshot == mine


def _collect(shop: Shop) -> gc.Collected:
    settings = Settings(
        prefect=PrefectConnection("http://127.0.0.1:9/api"),
        default_work_pool=None,
        code_store=CodeStoreSettings(),
        cache_dir=shop.base / "cache",
        data_dir=shop.base / "data",
    )
    tree = working_tree(shop.repo.path)
    return gc.collect(tree, settings, [], keep=1, older_than=0, really=True)


def test_gc_puts_back_what_was_pinned_while_it_dropped(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        shop.release(f"{number}\n")
    before = shop.chain().entries
    late = before[2].snapshot
    pins = iter([set(), {late}])
    monkeypatch.setattr(gc, "_pins", lambda _: (next(pins), set(), time.time()))
    done = _collect(shop)
    assert {each.snapshot for each in shop.chain().entries} == {before[0].snapshot, late}
    assert late not in {each.snapshot for each in done.sorted.dropped}
    assert done.tip == shop.chain().tip


def test_gc_whose_own_clock_is_fast_believes_the_prefect_server(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    for number in range(3):
        shop.release(f"{number}\n", when=int(now))
    monkeypatch.setattr(gc.time, "time", lambda: now + 5 * 3600)
    monkeypatch.setattr(gc, "_pins", lambda _: (set(), set(), now))
    assert _collect(shop).tip is None


@pytest.mark.parametrize(
    ("pins", "told"),
    [
        (
            "",
            "nothing to drop: 2 releases stay, 1 of them because nothing of the last hour is dropped",
        ),
        ("c", "nothing to drop: 3 releases stay, 1 of them because something is pinned to them, 1"),
    ],
)
def test_gc_says_why_more_stays_than_was_asked_for(pins: str, told: str) -> None:
    entries = [_entry(10, "z"), _entry(3700, "y"), *[_entry(DAY, name) for name in pins]]
    done: Any = SimpleNamespace(sorted=_sorted(entries, pins, days=0), servers=())
    assert report.dropped_text(done, False)[0].startswith(told)


def test_of_a_pinned_snapshot_the_newest_entry_is_enough() -> None:
    found = _sorted([_entry(DAY * 9, "z"), _entry(DAY * 10, "p"), _entry(DAY * 11, "p")], "p")
    assert _names(found.kept) == "zp"
    assert [entry.when for entry in found.dropped] == [NOW - DAY * 11]


def _rewrite(shop: Shop, snapshots: set[str]) -> str | None:
    chain = shop.chain()
    kept = [entry for entry in chain.entries if entry.snapshot in snapshots]
    return trim.rewrite(chain, kept, shop.found, shop.target)


def test_snapshots_keep_their_ids_and_stay_fetchable_and_a_clone_is_smaller(
    shop: Shop, tmp_path: Path
) -> None:
    for number in range(4):
        shop.repo.write("big.bin", (b"%d" % number) * 50_000)
        shop.release(f"{number}\n")
    before = shop.chain().entries
    wanted = {before[0].snapshot, before[3].snapshot}
    assert _rewrite(shop, wanted) is not None
    after = shop.chain().entries
    assert [entry.snapshot for entry in after] == [before[0].snapshot, before[3].snapshot]
    assert [entry.message for entry in after] == [before[0].message, before[3].message]
    shop.server.git("fsck", "--strict")
    clone = Repo(tmp_path / "clone.git", bare=True)
    clone.git("fetch", "-q", shop.server.path.as_uri(), "code-store:ledger")
    held = clone.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    assert wanted <= set(held)
    assert before[1].snapshot not in held
    worker = Repo(tmp_path / "worker.git", bare=True)
    worker.git("fetch", "-q", "--depth=1", shop.server.path.as_uri(), before[3].snapshot)


def test_a_rewrite_sends_commits_only(shop: Shop) -> None:
    shop.repo.write("big.bin", bytes(range(256)) * 4000)
    shop.release("1\n")
    shop.release("2\n")
    shop.server.git("repack", "-adq")
    _rewrite(shop, {shop.chain().entries[0].snapshot})
    sizes = [p.stat().st_size for p in (shop.server.path / "objects").glob("??/*")]
    assert sum(sizes) < 5000


def test_a_rewrite_loses_to_whoever_published_meanwhile(shop: Shop) -> None:
    shop.release("1\n")
    shop.release("2\n")
    chain = shop.chain()
    newer = shop.release("3\n")
    assert trim.rewrite(chain, chain.entries[:1], shop.found, shop.target) is None
    assert shop.chain().entries[0].id == newer.entry


def test_a_server_that_lets_no_branch_be_rewritten_says_so(shop: Shop) -> None:
    shop.release("1\n")
    shop.release("2\n")
    before = shop.chain()
    shop.server.git("config", "receive.denyNonFastForwards", "true")
    with pytest.raises(RemoteError) as caught:
        _rewrite(shop, {before.entries[0].snapshot})
    assert caught.value.kind == "refused"
    assert shop.chain().entries == before.entries


def test_a_rollback_goes_on_naming_the_entry_that_it_went_back_to(shop: Shop) -> None:
    shop.release("0\n")
    first = shop.release("1\n")
    shop.release("2\n")
    shop.release("1\n", rollback=first.entry)
    chain = shop.chain()
    trim.rewrite(chain, chain.entries[:-1], shop.found, shop.target)
    newest, _, target = shop.chain().entries
    assert newest.rollback == target.id != first.entry


def test_publishing_goes_on_after_a_rewrite(shop: Shop) -> None:
    shop.release("1\n")
    shop.release("2\n")
    _rewrite(shop, {shop.chain().entries[0].snapshot})
    shop.release("3\n")
    assert len(shop.chain().entries) == 2


def test_an_old_release_is_published_again_before_something_is_pinned_to_it(shop: Shop) -> None:
    shop.release("1\n", when=NOW)
    assert not shop.release("1\n", when=NOW + 60).pushed
    assert shop.release("1\n", when=NOW + 60, since=NOW + 30).pushed
    assert not shop.release("1\n", when=NOW + 90, since=NOW + 30).pushed


def test_publishes_and_rewrites_at_once_lose_no_young_release(shop: Shop) -> None:
    now = int(time.time())
    for number in range(5):
        shop.release(f"old {number}\n", when=now - 9 * DAY)
    found: list[publish.Publication] = []

    def deploy() -> None:
        found.extend(
            shop.release(f"young {number}\n", when=int(time.time())) for number in range(8)
        )

    def drop() -> None:
        repo = repository.discover(shop.repo.path)
        for _ in range(12):
            chain = shop.chain()
            kept = trim.sort(chain.entries, (), keep=1, older_than=0, now=time.time()).kept
            if len(kept) < len(chain.entries):
                trim.rewrite(chain, kept, repo, shop.target)

    with Threads(2) as pool:
        for done in [pool.submit(deploy), pool.submit(drop)]:
            done.result()
    young = [entry for entry in shop.chain().entries if entry.when >= now]
    assert len(young) == len(found) == 8


MANIFEST = """\
name: {name}
deployments:
  - {{name: main, entrypoint: "flow.py:hello", work_pool: {{name: gitflow-tests}}}}
"""
FLOW = """\
from prefect import flow

@flow(name="{name}", log_prints=True)
def hello():
    print("version {version}")
"""


@pytest.fixture
def project(tmp_path: Path, prefect_server: SharedServer, namespace: str) -> Project:
    """A source with one deployment, pinned to the first of twelve old releases."""
    made = NearProject(tmp_path / "project", prefect_server)
    bare = Repo(tmp_path / "origin.git", bare=True)
    bare.git("config", "receive.fsckObjects", "true")
    made.repo.write("prefect.yaml", MANIFEST.format(name=namespace))
    made.repo.write("flow.py", FLOW.format(name=namespace, version=1)).commit()
    made.repo.git("remote", "add", "origin", str(bare.path))
    made.deploy("--all", "--create-pools")
    return made


def _age(project: Project, origin: Path, count: int) -> None:
    """Put ``count`` releases on top of the first, all of them 40 days old."""
    shop = Shop.__new__(Shop)
    shop.base, shop.repo, shop.server = origin.parent, project.repo, Repo(origin, init=False)
    shop.attach()
    shop.backdate(40 * DAY)
    for number in range(count):
        shop.release(f"{number}\n", when=int(time.time()) - 40 * DAY, name="notes")


@pytest.mark.real
def test_gc_keeps_what_a_deployment_or_unfinished_run_needs_and_a_worker_still_runs_it(
    project: Project,
    tmp_path: Path,
    namespace: str,
    prefect_worker: Callable[[], SharedWorker],
) -> None:
    prefect_worker()
    pin = project.pin(namespace, "main")
    _age(project, tmp_path / "origin.git", 6)
    before = json.loads(project.gitflow("history", "--json").stdout)["releases"]
    assert len(before) == 7
    later = {"scheduled_time": "2099-01-01T00:00:00Z"}
    for name, release in (("AwaitingRetry", before[3]), ("Scheduled", before[4])):
        run = {
            "state": {"type": "SCHEDULED", "name": name, "state_details": later},
            "labels": {"gitflow.commit": release["snapshot"]},
        }
        deployment = project.live(namespace, "main")["id"]
        project.server.call("POST", f"/deployments/{deployment}/create_flow_run", run)
    planned = json.loads(project.gitflow("gc", "--keep", "2", "--json").stdout)
    assert (len(planned["dropped"]), planned["done"]) == (3, False)
    assert json.loads(project.gitflow("history", "--json").stdout)["releases"] == before
    done = json.loads(project.gitflow("gc", "--keep", "2", "--yes", "--json").stdout)
    assert (len(done["dropped"]), done["done"]) == (3, True)
    left = json.loads(project.gitflow("history", "--json").stdout)["releases"]
    assert [each["snapshot"] for each in left][-1] == pin
    assert len(left) == 4
    assert before[3]["snapshot"] in {each["snapshot"] for each in left}
    assert "version 1" in project.run(namespace, "main")


@pytest.mark.real
def test_a_deploy_whose_release_is_dropped_before_it_pins_it_publishes_it_again(
    project: Project, tmp_path: Path, namespace: str, prefect_server: SharedServer
) -> None:
    origin = tmp_path / "origin.git"
    project.repo.write("flow.py", FLOW.format(name=namespace, version=2))
    with Proxy(prefect_server.api_url) as proxy:
        project.api_url = proxy.api_url
        rule = proxy.rule("hold", "PATCH", "/deployments/")
        process = project.start("deploy", "--all", "--json")
        assert rule.reached.wait(60)
        project.api_url = prefect_server.api_url
        _age(project, origin, 2)
        dropped = project.gitflow("gc", "--keep", "1", "--older-than", "0s", "--yes", "--json")
        rule.release.set()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    commit = json.loads(out)["snapshot"]["commit"]
    assert commit in {each["snapshot"] for each in json.loads(dropped.stdout)["dropped"]}
    assert project.pin(namespace, "main") == commit
    left = json.loads(project.gitflow("history", "--all", "--json").stdout)["releases"]
    assert commit in {each["snapshot"] for each in left}


@pytest.mark.real
def test_gc_refuses_while_a_server_cannot_be_asked(project: Project, tmp_path: Path) -> None:
    _age(project, tmp_path / "origin.git", 3)
    away = project.gitflow(
        "gc",
        *("--keep", "1", "--yes", "--server", "http://127.0.0.1:9/api"),
        code=1,
        env={"PREFECT_CLIENT_MAX_RETRIES": "0"},
    )
    assert "nothing was dropped, because a server cannot be asked" in away.stderr
    assert len(json.loads(project.gitflow("history", "--json").stdout)["releases"]) == 4


@pytest.mark.parametrize("text", ["30", "d", "-1d", "1y", "1.5d"])
def test_an_age_that_cannot_be_read_is_refused(text: str) -> None:
    from gitops_flow.cli.releases import age
    from gitops_flow.errors import UsageError

    with pytest.raises(UsageError, match="is not an age"):
        age(text)


@pytest.mark.parametrize(("text", "seconds"), [("30d", 30 * DAY), ("12h", 43200), ("2w", 14 * DAY)])
def test_an_age_is_days_hours_or_weeks(text: str, seconds: float) -> None:
    from gitops_flow.cli.releases import age

    assert age(text) == seconds
