"""Deleting what is no longer wanted, within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_flow.plan import marks
from gitops_flow.plan.actions import Delete, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitops_flow.model import Deployment


def prune_refusal(planned: Plan) -> str | None:
    """Why so much is not deleted without being told twice, or None.

    More than a third of a source, or all of it, is rather a wrong manifest
    than a wish.
    """
    gone, owned = len(planned.deletes), planned.owned
    if not gone:
        return None
    if gone >= owned:
        return f"this would delete every deployment of the source ({gone})"
    if gone * 3 > owned:
        return f"this would delete {gone} of the source's {owned} deployments, more than a third"
    return None


def destroy(live: Iterable[Deployment], source_mark: str, former_marks: Sequence[str] = ()) -> Plan:
    """Delete every deployment of a source.

    Args:
        live: what the server has; what is another's, or nobody's, stays.
        source_mark: the source's ownership tag.
        former_marks: marks that it had before.
    """
    own = (source_mark, *former_marks)
    gone = tuple(Delete(item) for item in live if marks.owned(item.tags, own))
    return Plan(actions=gone, owned=len(gone))
