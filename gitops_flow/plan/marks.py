"""Whose a deployment or an automation is, by the ownership marks among its tags."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gitops_flow.git import identity
from gitops_flow.model import MARK_PREFIX
from gitops_flow.pin import Pin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_flow.model import Deployment

_DIGEST = re.compile(r"-([0-9a-f]{8})$")


def owned(tags: Iterable[str], marks: Iterable[str]) -> bool:
    """Whether one of ``marks`` is among ``tags``, also under the source's former name."""
    # By digest: a source keeps what it owns when it is given another name.
    there = {_digest(tag) for tag in tags if tag.startswith(MARK_PREFIX)}
    return not there.isdisjoint(_digest(mark) for mark in marks)


def same_repository(desired: Deployment, live: Deployment) -> bool:
    """Whether both get their code from one repository, by whatever addresses.

    The names of the sources are the same as well: several may use one code store.
    """
    pins = Pin.of(desired.pull_steps), Pin.of(live.pull_steps)
    ours, theirs = ({identity.of(each) for each in pin.addresses} if pin else () for pin in pins)
    names = [{_DIGEST.sub("", mark) for mark in side.marks} for side in (desired, live)]
    return not set(ours).isdisjoint(theirs) and not names[0].isdisjoint(names[1])


def _digest(mark: str) -> str:
    found = _DIGEST.search(mark)
    return found[1] if found else mark
