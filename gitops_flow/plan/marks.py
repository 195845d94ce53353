"""Whose a deployment or an automation is, by the ownership marks among its tags."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gitops_flow.model import MARK_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

_DIGEST = re.compile(r"-([0-9a-f]{8})$")


def owned(tags: Iterable[str], marks: Iterable[str]) -> bool:
    """Whether one of ``marks`` is among ``tags``, also under the source's former name."""
    # By digest: a source keeps what it owns when it is given another name.
    there = {_digest(tag) for tag in tags if tag.startswith(MARK_PREFIX)}
    return not there.isdisjoint(_digest(mark) for mark in marks)


def _digest(mark: str) -> str:
    found = _DIGEST.search(mark)
    return found[1] if found else mark
