"""The repository that ``gitflow demo`` deploys, and the proof about it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.errors import GitflowError
from gitops_flow.git import command

if TYPE_CHECKING:
    from pathlib import Path

POOL = "demo"

_MANIFEST = f"""\
name: gitflow-demo
deployments:
- name: demo
  entrypoint: hello.py:hello
  work_pool:
    name: {POOL}
"""

_COMMITTED = '''\
from prefect import flow


@flow(log_prints=True)
def hello(name: str = "world"):
    """Greets somebody."""
    print(f"Hello, {name}!")
'''


@dataclass(frozen=True)
class Project:
    """The demo's repository. ``edit`` is the line that is on disk and in no commit."""

    root: Path
    edit: str
    phrase: str


def make(root: Path) -> Project:
    """Make the repository: one commit, an edit on top, and a new module beside it."""
    root.mkdir()
    identity = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "Demo"), ("EMAIL", "demo@example.invalid"))
    }
    (root / "prefect.yaml").write_text(_MANIFEST)
    (root / "hello.py").write_text(_COMMITTED)
    for args in (
        ["init", "-q", "--template=", "--initial-branch=main", "--object-format=sha1"],
        ["add", "prefect.yaml", "hello.py"],
        ["commit", "-q", "--message=A flow"],
    ):
        command.run(args, cwd=root, env=identity, config=[("commit.gpgSign", "false")])
    # New in every demo, so that nothing but this edit can have printed it.
    phrase = f"uncommitted-{secrets.token_hex(4)}"
    edit = f'    print(wording.of("{phrase}"))'
    edited = _COMMITTED.replace("\n\n\n", "\n\nimport wording\n\n\n", 1) + edit + "\n"
    (root / "hello.py").write_text(edited)
    (root / "wording.py").write_text(
        'def of(phrase):\n    return f"This line is {phrase}, by a module git has never seen."\n'
    )
    return Project(root, edit.strip(), phrase)


def prove(project: Project, printed: list[str]) -> tuple[str, str]:
    """Check that a run printed the uncommitted line, and that HEAD does not have it.

    Returns:
        HEAD's id, and what ``git status --short`` says.

    Raises:
        GitflowError: it is not so, or git failed.
    """
    found = command.run(
        ["grep", "--count", "--fixed-strings", project.phrase, "HEAD"],
        cwd=project.root,
        check=False,
    )
    if found.returncode != 1 or not any(project.phrase in line for line in printed):
        raise GitflowError("the line that the run printed is not an uncommitted one")
    head = command.run(["rev-parse", "HEAD"], cwd=project.root).stdout.decode().strip()
    status = command.run(["status", "--short"], cwd=project.root).stdout.decode().rstrip()
    return head, status
