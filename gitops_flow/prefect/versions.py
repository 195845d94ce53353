"""What servers of each version cannot do, as data.

A version decides nothing anywhere else: whoever does a thing in another way, or
refuses it, asks for a feature by its name in :data:`SINCE`. Read from the sources
of Prefect 3.2.0 to 3.9.1; ``make versions`` tries it on real servers.
"""

from __future__ import annotations

import re

from gitops_flow.errors import ApiError

Version = tuple[int, int, int]

OLDEST: Version = (3, 2, 0)

# The first version with each feature that not every supported server has.
SINCE: dict[str, Version] = {
    # Of our own bookkeeping: without it the same is done in another way.
    # A write deletes the automatic runs that are still to come, and not those that
    # are late or wait for a concurrency slot.
    "late runs survive writes": (3, 3, 4),
    # Automations carry tags and can be listed by them.
    "automation tags": (3, 4, 7),
    # The filter of flow runs takes `created_by`.
    "runs by schedule": (3, 6, 13),
    # Of a manifest: without it a plan says so.
    "git_clone commit_sha": (3, 4, 0),
    "several match_related": (3, 4, 1),
    "schedule_after": (3, 4, 15),
    "grace_period_seconds": (3, 6, 6),
    "git_clone clone_directory_name": (3, 6, 9),
    "leaving a work pool": (3, 6, 27),
    "emptying job_variables": (3, 8, 7),
}

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def parse(answer: object) -> Version | None:
    """The version in an answer of ``/admin/version``; None when there is none in it.

    A pre-release counts as its release.
    """
    match = _VERSION.match(answer) if isinstance(answer, str) else None
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def text(version: Version) -> str:
    """As people write it: ``3.2``, ``3.6.13``."""
    major, minor, patch = version
    return f"{major}.{minor}.{patch}" if patch else f"{major}.{minor}"


def lacking(version: Version | None) -> dict[str, str]:
    """The features that ``version`` lacks, each with the words that say so.

    None, a server that does not tell its version, lacks nothing.
    """
    if version is None:
        return {}
    return {
        name: f"needs Prefect {text(since)} or newer, and the server is {_full(version)}"
        for name, since in SINCE.items()
        if version < since
    }


def refuse_too_old(version: Version | None, where: str) -> None:
    """Refuse a server that is older than :data:`OLDEST`.

    Raises:
        ApiError: it is.
    """
    if version is not None and version < OLDEST:
        raise ApiError(
            f"this server is Prefect {_full(version)}, and gitflow needs {text(OLDEST)} or newer",
            where=where,
            hint="upgrade the server; docs/versions.md says which versions are tested",
        )


def _full(version: Version) -> str:
    return ".".join(map(str, version))
