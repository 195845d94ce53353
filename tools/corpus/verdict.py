"""Deploying one manifest with both commands, and what to say about it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.differences import ONLY_WE_REFUSE, explained
from tests.support.differential import Call, State, read
from tools.corpus import world
from tools.corpus.project import Project
from tools.corpus.survey import survey

_CONTROL = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did. ``state`` is what the server has; ``told`` what it printed."""

    accepted: bool
    told: str
    state: State

    @property
    def reason(self) -> str:
        """The first lines that say what is wrong, as one."""
        lines = [line.strip(" │╭╮╰╯─•") for line in self.told.splitlines()]
        wrong = [line for line in lines if re.search(r"error|problem|:\d+:\d+:|Error", line)]
        return " / ".join((wrong or [line for line in lines if line][-3:])[:3])[:600]


@dataclass(frozen=True, slots=True)
class Verdict:
    """``kind`` in a few words, and the details that go with it."""

    kind: str
    detail: str = ""


def judge(ask: Call, api_url: str, manifest: Path, *, only_ours: bool, timeout: float) -> Verdict:
    """Deploy ``manifest`` with both, or with ours alone, in a world made for it."""
    text = manifest.read_bytes()
    needs = survey(text.decode("utf-8", "replace"))
    base = Path(tempfile.mkdtemp(prefix="gitflow-corpus-"))
    try:
        project = Project(base, text, needs)
        world.make(ask, needs)
        theirs = None
        if not only_ours:
            theirs = _deploy(ask, project, api_url, timeout, "prefect", "--no-prompt")
            world.clear(ask)
        ours = _deploy(ask, project, api_url, timeout, "gitops_flow")
        return _verdict(theirs, ours)
    finally:
        world.remove(ask)
        shutil.rmtree(base, ignore_errors=True)


def _deploy(ask: Call, project: Project, api_url: str, timeout: float, *words: str) -> Outcome:
    try:
        done = subprocess.run(
            [sys.executable, "-m", *words, "deploy", "--all"],
            cwd=project.directory,
            env={**project.environ, "PREFECT_API_URL": api_url},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(False, f"error: no end within {timeout:g} s", read(ask))
    told = (done.stdout + done.stderr).decode("utf-8", "replace")
    return Outcome(done.returncode == 0, _CONTROL.sub("", told), read(ask))


def _verdict(theirs: Outcome | None, ours: Outcome) -> Verdict:
    if re.search(r"^(bug:|Traceback)", ours.told, re.MULTILINE):
        return Verdict("TRACEBACK", ours.told[-600:])
    if theirs is None:
        return Verdict("accepted") if ours.accepted else Verdict("refused", ours.reason)
    if not theirs.accepted and not ours.accepted:
        left = f" (prefect left {len(theirs.state)} behind)" if theirs.state else ""
        return Verdict("both refuse", f"{ours.reason}{left}")
    if not ours.accepted:
        why = [item.id for item in ONLY_WE_REFUSE if re.search(item.pattern, ours.told)]
        kind = f"only we refuse, documented ({', '.join(why)})" if why else "only we refuse"
        return Verdict(kind, ours.reason)
    if not theirs.accepted:
        return Verdict("only prefect refuses", theirs.reason)
    used, left_over = explained(theirs.state, ours.state)
    if left_over:
        return Verdict("differ", "; ".join(map(str, left_over[:8])))
    return Verdict("agree", f"{len(ours.state)} ({', '.join(sorted(used)) or 'nothing'})")
