"""Looks that need no Prefect server: what is asked of git, what is not deployed, who is left alone."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.controller import repository as repositories
from gitops_flow.controller.queue import Outcome, Turn
from gitops_flow.controller.run import Controller
from gitops_flow.controller.state import SourceState
from gitops_flow.errors import ProblemsError, UsageError
from tests.support.controller import Place, Pushed
from tests.support.repo import Repo


class Still:
    """A controller whose queue takes no turns: the test does, at its own time."""

    def __init__(self, place: Place, **options: Any) -> None:
        self.now = 1000.0
        self.date = datetime(2026, 11, 27, 12, tzinfo=UTC)
        self.made = Controller(
            place.path,
            place.environ,
            place.directory,
            clock=lambda: self.now,
            now=lambda: self.date,
            **options,
        )
        self.made._follow(self.made.config)

    def look(self, name: str, after: float = 1.0, **more: Any) -> tuple[Outcome, SourceState]:
        """Take a turn, some seconds after the last."""
        self.now += after
        outcome = self.made.reconciler.look(Turn(name, self.now, **more))
        state = self.made.state.get(name)
        assert state is not None
        return outcome, state


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def pushed(tmp_path: Path) -> Pushed:
    return Pushed(tmp_path, "shop")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of git servers: ``refs`` and ``fetch``, in order."""
    told: list[str] = []

    def noted(what: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            told.append(what)
            return real(*args, **more)

        return call

    for what, where, name in (
        ("refs", repositories.Repository, "_ask"),
        ("fetch", repositories.remote, "fetch"),
    ):
        monkeypatch.setattr(where, name, noted(what, getattr(where, name)))
    return told


def test_sources_of_one_repository_are_one_question_and_one_fetch(
    place: Place, pushed: Pushed, asked: list[str]
) -> None:
    pushed.push()
    for name in ("a", "b", "c"):
        place.sources[name] = {"repository": str(pushed.origin.path), "ref": "main"}
    place.write()
    still = Still(place)
    commits = {still.look(name, after=0)[1].commit for name in ("a", "b", "c")}
    assert len(commits) == 1
    assert asked == ["refs", "fetch"]
    still.now += 300
    for name in ("a", "b", "c"):
        still.look(name, after=0, retry=False)
    assert asked == ["refs", "fetch", "refs"]


def test_a_server_that_is_away_is_told_of_whole_and_tried_again_later_and_not_for_every_look(
    place: Place, pushed: Pushed
) -> None:
    first = pushed.push()
    place.source(pushed)
    still = Still(place)
    outcome, state = still.look("shop")
    assert outcome is Outcome.FAILED_AFRESH
    assert (state.word, state.commit, state.heals) == ("degraded", first, "server")
    assert "127.0.0.1:9" in state.error.splitlines()[0]
    assert still.look("shop", retry=False)[0] is Outcome.UNTRIED
    assert still.look("shop")[0] is Outcome.FAILED
    pushed.push(2)
    # Another commit is tried at once, whatever became of the one before.
    outcome, state = still.look("shop", retry=False)
    assert (outcome, state.failures) == (Outcome.FAILED_AFRESH, 3)


@pytest.mark.parametrize(
    ("section", "told", "outcome"),
    [
        ({"ref": "gone"}, "the repository has no gone; what was deployed", Outcome.WAITING),
        ({"manifest": "none.yaml"}, "has no none.yaml", Outcome.WAITING),
        ({"manifest": "*/prefect.yaml"}, "has no file */prefect.yaml", Outcome.WAITING),
        ({"environment": "none"}, "the manifest has no environment 'none'", Outcome.WAITING),
        ({"repository": "/nowhere/at/all.git"}, "at/all.git", Outcome.WAITING),
        ({"prefect": {"api_key": {"env": "NONE"}}}, "a secret is empty", Outcome.FAILED),
        ({"credentials": {"token": {"file": "none"}}}, "file of a secret", Outcome.FAILED),
    ],
)
def test_what_is_wrong_with_a_source_is_in_its_state_and_says_when_it_is_tried_again(
    place: Place, pushed: Pushed, section: dict[str, Any], told: str, outcome: Outcome
) -> None:
    pushed.push()
    place.source(pushed, **section)
    found, state = Still(place).look("shop")
    assert told in state.error
    assert state.word == "degraded"
    assert found in (outcome, {Outcome.FAILED: Outcome.FAILED_AFRESH}.get(outcome))


def test_a_broken_manifest_waits_for_a_commit_or_a_request(
    place: Place, pushed: Pushed, asked: list[str]
) -> None:
    pushed.push_file("prefect.yaml", "deployments: 3\n")
    place.source(pushed)
    still = Still(place)
    assert still.look("shop")[0] is Outcome.WAITING
    failures = []
    for forced in (False, False, True):
        still.now += 300
        outcome, state = still.look("shop", forced=forced)
        assert outcome is Outcome.WAITING
        failures.append(state.failures)
    assert failures == [1, 1, 2]
    assert state.error.startswith("prefect.yaml:1:14: deployments: expected a list")


def test_no_deploy_begins_while_deploys_are_frozen(place: Place, pushed: Pushed) -> None:
    first = pushed.push()
    place.source(pushed, freeze=[{"from": "Fri 11:00", "to": "Mon 08:00", "reason": "calm"}])
    still = Still(place)
    for forced in (False, True):
        outcome, state = still.look("shop", forced=forced)
        assert (outcome, state.word, state.commit) == (Outcome.DONE, "out-of-sync", first)
        assert state.differences == (
            f"{first[:12]} is not deployed: frozen until 2026-11-30 08:00 UTC (calm)",
        )
    still.date += timedelta(days=3)
    assert still.look("shop")[1].word == "degraded"  # it was tried: the server is away
    # What was begun before a freeze is carried on.
    still.date += timedelta(days=4)
    assert still.look("shop")[0] is Outcome.FAILED


def _key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text()


def test_only_a_commit_that_one_of_the_signers_signed_is_deployed(
    place: Place, pushed: Pushed, tmp_path: Path
) -> None:
    ann, eve = _key(tmp_path / "ann"), _key(tmp_path / "eve")
    assert ann != eve
    pushed.push()
    place.source(pushed, signers=[ann.strip()])
    still = Still(place)
    for signer, signed in ((None, False), ("eve", False), ("ann", True)):
        if signer:
            for key, value in (
                ("gpg.format", "ssh"),
                ("user.signingkey", str(tmp_path / signer)),
                ("commit.gpgsign", "true"),
            ):
                pushed.clone.git("config", key, value)
            pushed.push(tag=signer)
        outcome, state = still.look("shop")
        assert ("is not signed by one of the signers" in state.error) is not signed, state.error
        assert (outcome is Outcome.WAITING) is not signed


def test_a_suspended_source_is_left_alone_until_its_end_and_a_request_says_so(
    place: Place, pushed: Pushed, asked: list[str]
) -> None:
    pushed.push()
    place.source(pushed)
    still = Still(place)
    end = still.date + timedelta(hours=1)
    state = still.made.suspend("shop", reason="moving", author="ann", until=end)
    assert state.word == "suspended"
    with pytest.raises(UsageError, match="suspended by ann until 2026-11-27 13:00 UTC: moving"):
        still.made.sync("shop")
    assert still.look("shop")[1].word == "suspended"
    assert Still(place).look("shop")[1].word == "suspended"  # after a restart
    assert asked == []
    still.date = end
    assert still.look("shop")[1].word == "degraded"
    still.made.suspend("shop", reason="", author="")
    assert still.made.resume("shop").word == "degraded"
    with pytest.raises(UsageError, match="no source 'shpo'") as caught:
        still.made.sync("shpo")
    assert caught.value.hint == "did you mean 'shop'?"


def test_what_the_file_suspends_only_the_file_takes_back(place: Place, pushed: Pushed) -> None:
    place.source(pushed, suspend="for now")
    still = Still(place)
    assert still.look("shop")[1].word == "suspended"
    with pytest.raises(UsageError, match=r"suspended in gitflow\.yaml"):
        still.made.resume("shop")
    with pytest.raises(UsageError, match="suspended: for now"):
        still.made.sync("shop")


def test_a_file_that_is_still_being_written_is_not_followed(place: Place, pushed: Pushed) -> None:
    place.source(pushed)
    still = Still(place)
    whole = place.path.read_text() + "  next: {repository: there}\n"
    for half in ("sources: {}", whole[:-10]):
        place.path.write_text(half)
        still.made._read_again()
        assert list(still.made.config.sources) == ["shop"]
    place.path.write_text(whole)
    for followed in (["shop"], ["shop", "next"]):
        still.made._read_again()
        assert list(still.made.config.sources) == followed


def test_an_edit_with_problems_keeps_the_last_good_file_and_says_so(
    place: Place, pushed: Pushed
) -> None:
    place.source(pushed)
    still = Still(place)
    good = place.path.read_text()
    for bad in ("sources: [", "sources: {shop: {repositroy: x}}", ""):
        place.path.write_text(bad)
        still.made._reload()
        if bad:
            assert still.made.config_error.startswith(str(place.path))
            assert list(still.made.config.sources) == ["shop"]
    assert (still.made.config_error, list(still.made.config.sources)) == ("", [])
    assert still.made.state.all() == ()
    place.path.write_text(good)
    still.made._reload()
    assert list(still.made.config.sources) == ["shop"]
    place.path.unlink()
    still.made._reload()
    assert list(still.made.config.sources) == ["shop"]
    with pytest.raises(UsageError, match="cannot be read"):
        Controller(place.path, place.environ, place.directory)
    place.path.write_text("sources: [")
    with pytest.raises(ProblemsError):
        Controller(place.path, place.environ, place.directory)


def test_a_source_that_nobody_has_looked_at_for_three_intervals_is_degraded(
    place: Place, pushed: Pushed
) -> None:
    place.source(pushed, interval=100)
    still = Still(place)
    still.now += 299
    still.made._watch()
    state = still.made.state.get("shop")
    assert state is not None
    assert state.word == "progressing"
    still.now += 2
    still.made._watch()
    state = still.made.state.get("shop")
    assert state is not None
    assert (state.word, state.error) == (
        "degraded",
        "nobody has looked at it for 301 s, which is three intervals",
    )


def test_each_source_is_in_one_shard(place: Place, tmp_path: Path) -> None:
    for number in range(40):
        place.sources[f"s{number}"] = {"repository": "/r"}
    place.write()
    shards = [set(Still(place, shard=(number, 3)).made.config.sources) for number in (1, 2, 3)]
    assert set().union(*shards) == set(place.sources)
    assert sum(map(len, shards)) == 40
    assert min(map(len, shards)) > 5


def test_what_a_source_may_see_of_the_controller_is_next_to_nothing(
    place: Place, pushed: Pushed
) -> None:
    place.environ["CONTROLLERS_OWN"] = "hush"
    manifest = "deployments: [{name: main, entrypoint: 'flow.py:work', description: '{{ $CONTROLLERS_OWN }}'}]"
    pushed.push()
    pushed.push_file("prefect.yaml", manifest)
    place.source(pushed)
    _, state = Still(place).look("shop")
    assert "hush" not in state.error
    assert "hush" not in repr(state)


def test_the_mirror_may_be_deleted_and_two_names_of_branches_may_be_in_each_others_way(
    place: Place, pushed: Pushed, tmp_path: Path
) -> None:
    pushed.push(branch="a")
    place.source(pushed, ref="a")
    still = Still(place)
    assert still.look("shop")[0] is Outcome.FAILED_AFRESH
    shutil.rmtree(Path(place.environ["XDG_CACHE_HOME"]) / "gitops-flow", ignore_errors=True)
    pushed.origin.git("update-ref", "-d", "refs/heads/a")
    second = pushed.push(2, branch="a/b")
    place.source(pushed, ref="a/b")
    still.made._reload()
    assert still.look("shop")[1].commit == second
    assert Repo(still.made.reconciler._repositories["shop"].mirror, init=False).git("fsck") == ""
