"""Finding the manifest on disk, and the deployments that are chosen in it."""

from __future__ import annotations

import difflib
import fnmatch
from typing import TYPE_CHECKING

from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gitops_flow.deploy.request import DeployRequest
    from gitops_flow.manifest import DeploymentConfig, Manifest

NAME = "prefect.yaml"


def manifest_path(directory: Path, named: Path | None) -> Path:
    """The manifest: the named file, or the nearest ``prefect.yaml`` from ``directory`` upwards.

    Raises:
        UsageError: there is none.
    """
    if named is not None:
        return _named(directory, named)
    top = directory.resolve()
    for place in (top, *top.parents):
        if (place / NAME).is_file():
            return place / NAME
        if (place / ".git").exists():
            break
    raise UsageError(
        f"there is no {NAME} here",
        where=str(directory),
        hint="write one (README.md shows how), or name yours with --file",
    )


def _named(directory: Path, named: Path) -> Path:
    path = directory / named
    try:
        if path.is_dir():
            path = path / NAME
        if path.is_file():
            return path.parent.resolve() / path.name
    except OSError as error:
        reason = f"the manifest cannot be read: {error.strerror}"
        raise UsageError(reason, where=str(named)) from None
    raise UsageError("there is no such manifest", where=str(named))


def inside(root: Path, manifest: Path) -> Path:
    """The manifest's path relative to the working tree's root.

    Raises:
        UsageError: it is outside (core.worktree can say so).
    """
    if not manifest.is_relative_to(root):
        raise UsageError(
            f"the manifest is outside the repository's working tree, {root}",
            where=str(manifest),
            hint="move it there, or correct core.worktree in the repository's configuration",
        )
    return manifest.relative_to(root)


def choose(manifest: Manifest, request: DeployRequest) -> list[DeploymentConfig]:
    """The deployments that are asked for, in the manifest's order.

    A name is a deployment's, ``flow/deployment``, or a glob of either; a tag is
    one of the manifest's, as it is written.

    Raises:
        UsageError: a name or tag that matches nothing, or no choice among several.
    """
    listed = manifest.deployments
    if not listed:
        raise UsageError("the manifest has no deployments", where=manifest.shown)
    if not (request.names or request.tags or request.everything or len(listed) == 1):
        some = ", ".join(item.name for item in listed[:10])
        raise UsageError(
            f"which deployment? The manifest has {len(listed)}: {some}"
            + (", ..." if len(listed) > 10 else ""),
            where=manifest.shown,
            hint="name some, or take all with --all",
        )
    known = {item.index: _names(item) for item in listed}
    tagged = {item.index: _tags(item) for item in listed}
    found = [
        _matching(known, request.names, manifest, "is called"),
        _matching(tagged, request.tags, manifest, "has the tag"),
    ]
    return [item for item in listed if all(hits is None or item.index in hits for hits in found)]


def _matching(
    known: Mapping[int, Sequence[str]], wanted: Sequence[str], manifest: Manifest, relation: str
) -> set[int] | None:
    """The deployments that any of ``wanted`` matches; None when nothing is asked for."""
    if not wanted:
        return None
    chosen: set[int] = set()
    for name in wanted:
        hits = {i for i, own in known.items() if any(fnmatch.fnmatchcase(o, name) for o in own)}
        if not hits:
            near = difflib.get_close_matches(name, [o for own in known.values() for o in own], 1)
            raise UsageError(
                f"no deployment of the manifest {relation} {name!r}",
                where=manifest.shown,
                hint=f"did you mean {near[0]!r}?" if near else None,
            )
        chosen |= hits
    return chosen


def _tags(item: DeploymentConfig) -> list[str]:
    tags = item.spec.tags
    return [str(tag) for tag in ([tags] if isinstance(tags, str) else tags or [])]


def _names(item: DeploymentConfig) -> list[str]:
    """What a deployment answers to; the flow's own name is not known before it is read."""
    flow = item.spec.flow_name or item.entrypoint.replace(":", ".").rsplit(".", 1)[-1]
    return [item.name, f"{flow}/{item.name}", f"{flow.replace('_', '-')}/{item.name}"]
