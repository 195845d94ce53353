"""What is told of sources, and who may be left alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitops_flow.controller.state import Kept, SourceState, State, Suspension
from gitops_flow.errors import UsageError

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def test_a_state_that_was_read_does_not_change_and_listeners_hear_of_each_change() -> None:
    state, heard = State(), []
    state.listen(lambda before, after: heard.append((before and before.word, after and after.word)))
    first = state.update("shop", condition="progressing")
    state.update("shop", condition="degraded", error="all of it\nto the end")
    state.update("shop", condition="degraded")
    state.remove("shop")
    state.remove("shop")
    assert first.word == "progressing"
    assert heard == [(None, "progressing"), ("progressing", "degraded"), ("degraded", None)]


def test_a_suspended_source_is_that_in_one_word_whatever_else_it_is() -> None:
    state = SourceState("shop", condition="degraded", suspension=Suspension("why"))
    assert state.word == "suspended"


def test_a_state_is_json_without_losing_a_line_of_its_error() -> None:
    state = SourceState(
        "shop@f/x", error="a\nb", looked_at=NOW, snapshots=(("p.yaml", "0" * 40),), heals="server"
    )
    document = json.loads(json.dumps(state.document()))
    assert (document["word"], document["error"], document["looked_at"]) == (
        "progressing",
        "a\nb",
        "2026-11-28T12:00:00+00:00",
    )
    assert document["snapshots"] == {"p.yaml": "0" * 40}
    assert (state.source, state.branch) == ("shop", "f/x")


def test_a_suspension_survives_a_restart_with_its_reason_author_and_end(tmp_path: Path) -> None:
    path = tmp_path / "data/controller.json"
    asked = Suspension("moving", "ann", NOW, NOW + timedelta(hours=1))
    Kept(path).suspend("shop", asked)
    Kept(path).suspend("till", Suspension())
    Kept(path).keep_previews("shop", ["b", "a"])
    kept = Kept(path)
    assert (kept.suspension("shop"), kept.suspension("till")) == (asked, Suspension())
    assert kept.previews("shop") == ("a", "b")
    assert asked.is_over(NOW + timedelta(hours=1))
    assert not asked.is_over(NOW)
    kept.suspend("shop", None)
    kept.keep_previews("shop", [])
    assert (Kept(path).suspension("shop"), Kept(path).previews("shop")) == (None, ())


@pytest.mark.parametrize("content", ["", "[]", '{"suspended": {"shop": 3}}', '{"other": {}}'])
def test_a_file_that_is_damaged_is_not_taken_for_one_that_suspends_nothing(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "controller.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="it is not what gitflow wrote"):
        Kept(path)
