"""What build and push steps are told of the code: ``{{ gitflow.snapshot }}`` and its kin."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.manifest.placeholders import placeholders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gitops_flow.buildsteps import Job
    from gitops_flow.deploy.code import Code
    from gitops_flow.model import Json

ID = "gitflow"
_DIRECTORY = "directory"


@contextlib.contextmanager
def told(jobs: Iterable[Job], code: Code) -> Iterator[dict[str, Json]]:
    """The outputs, by :data:`ID`, that every step finds as if an earlier one had given them.

    ``snapshot`` is the commit that is to be pinned, ``commit`` and ``branch``
    what it was made from, if there are such. ``directory`` has exactly its
    files; it is made only where a step names it, and gone after the block.

    Raises:
        GitflowError: the directory cannot be made.
    """
    origin = code.snapshot.provenance
    known = {"snapshot": code.snapshot.commit, "commit": origin.commit, "branch": origin.ref}
    given: dict[str, Json] = {name: value for name, value in known.items() if value is not None}
    steps = [[*job.build, *job.push] for job in jobs]
    if all(mark.name != f"{ID}.{_DIRECTORY}" for mark in placeholders(steps)):
        yield {ID: given}
        return
    from gitops_flow import checkout  # seldom needed, and slow to load

    with files.temporary("gitflow-code-") as top:
        lender = code.store.lend(top / "snapshot.git")
        made = checkout.make(str(lender), code.snapshot.commit, top)
        yield {ID: {**given, _DIRECTORY: str(made.directory)}}


def kept(outputs: dict[str, Json]) -> dict[str, Json]:
    """What is still true of :func:`told`'s outputs when the steps have run."""
    return {ID: {name: value for name, value in outputs[ID].items() if name != _DIRECTORY}}
