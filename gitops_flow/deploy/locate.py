"""Finding the manifest on disk, and the deployments that are chosen in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from gitops_flow.errors import ManifestError, UsageError
from gitops_flow.manifest.wording import shortened
from gitops_flow.names import called, did_you_mean, matching, may_be_called, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
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
        UsageError: it is outside (core.worktree can say so, or a link).
    """
    if not manifest.is_relative_to(root):
        raise UsageError(
            f"the manifest is outside the repository's working tree, {root}",
            where=str(manifest),
            hint="move it there, or correct core.worktree in the repository's configuration",
        )
    if not manifest.resolve().is_relative_to(root):
        raise UsageError(
            f"the manifest is a link that leaves the repository's working tree, {root}",
            where=str(manifest),
            hint="put the file itself there",
        )
    return manifest.relative_to(root)


def below(root: Path, directory: Path) -> str | None:
    """A directory relative to the working tree's root, "" for that; None outside."""
    root, directory = root.resolve(), directory.resolve()
    if not directory.is_relative_to(root):
        return None
    path = directory.relative_to(root).as_posix()
    return "" if path == "." else path


def refuse_beside(root: Path, manifest: Path) -> None:
    """Refuse a manifest that is in no repository, named from within the one at ``root``.

    Raises:
        UsageError: it is not in there.
    """
    if not manifest.resolve().is_relative_to(root.resolve()):
        raise UsageError(
            f"the manifest is outside the repository that you are in, {root}, "
            "so it would not be released with its code",
            where=str(manifest),
            hint="move it into the repository; or run gitflow in the manifest's directory, "
            "to deploy that as a plain folder",
        )


def choose(manifest: Manifest, request: DeployRequest) -> list[DeploymentConfig]:
    """The deployments that may be asked for, in the manifest's order.

    A name is a deployment's, ``flow/deployment``, or a glob of one of these that is none
    itself; a tag is one of the manifest's, as it is written. How a flow is called is known once
    it has been read: then :func:`narrow` has the last word.

    Raises:
        UsageError: a name or tag that matches nothing, or no choice among several.
        ManifestError: there are none, but there are keys that Prefect ignores.
    """
    listed = manifest.deployments
    if not listed:
        message = "the manifest has no deployments"
        if manifest.problems:
            raise ManifestError(f"{manifest.shown}: {message}", tuple(map(str, manifest.problems)))
        raise UsageError(message, where=manifest.shown)
    if not (request.names or request.tags or request.everything or len(listed) == 1):
        names = list(dict.fromkeys(shortened(item.name, 100) for item in listed))
        some = ", ".join(names[:10])
        raise UsageError(
            f"which deployment? The manifest has {len(listed)}: {some}"
            + (", ..." if len(names) > 10 else ""),
            where=manifest.shown,
            hint="name some, or take all with --all",
        )
    found = list(listed)
    if request.names:
        known = {item.index: _names(item) for item in listed}
        meant = set()
        for name in request.names:
            may = called(known, name) | {i.index for i in listed if may_be_called(i.name, name)}
            meant |= may or _unknown(known, name, manifest, "is called")
        found = [item for item in found if item.index in meant]
    if request.tags:
        tagged = {item.index: _tags(item) for item in listed}
        meant = set()
        for tag in request.tags:
            meant |= matching(tagged, tag) or _unknown(tagged, tag, manifest, "has the tag")
        found = [item for item in found if item.index in meant]
    if not found:
        raise _no_overlap(request, manifest)
    return found


def _no_overlap(request: DeployRequest, manifest: Manifest) -> UsageError:
    names, tags = (" or ".join(map(repr, each)) for each in (request.names, request.tags))
    return UsageError(
        f"no deployment of the manifest is called {names} and has the tag {tags}",
        where=manifest.shown,
        hint="leave the names or --tag out",
    )


def narrow(
    chosen: Sequence[DeploymentConfig],
    names: Sequence[str],
    flow_of: Callable[[DeploymentConfig], str | None],
    manifest: Manifest,
    tags: Sequence[str] = (),
) -> list[DeploymentConfig]:
    """Those of :func:`choose` that ``names`` mean, now that the flows have been read.

    The flow's own name counts first, as the server has it; a name that means
    none so is a function's, as in Prefect. ``flow_of`` is None where a flow
    cannot be read: such a deployment is meant by its own name, and never keeps
    others from being found. ``tags`` are those that the others lack.

    Raises:
        UsageError: a name that matches nothing.
    """
    if not (names and chosen):
        return list(chosen)
    functions = {item.index: _names(item) for item in chosen}
    known = _by_flow(chosen, flow_of)
    unread = [item for item in chosen if item.index not in known]
    meant: set[int] = set()
    for name in names:
        # A name that says nothing of the flow means those that cannot be read as well.
        of_flow = "/" in name and not name.startswith("*/")
        meant |= (
            (of_flow and called(known, name))
            or called(functions, name)
            # Why it cannot be read is what there is to say then.
            or {item.index for item in unread if may_be_called(item.name, name)}
            or _untagged(_others(manifest, chosen, name), name, flow_of, tags, manifest)
            or _unknown({**functions, **known}, name, manifest, "is called")
        )
    return [item for item in chosen if item.index in meant]


def _by_flow(
    items: Sequence[DeploymentConfig], flow_of: Callable[[DeploymentConfig], str | None]
) -> dict[int, list[str]]:
    return {
        item.index: [item.name, f"{flow}/{item.name}"]
        for item in items
        if (flow := flow_of(item)) is not None
    }


def _others(
    manifest: Manifest, chosen: Sequence[DeploymentConfig], name: str
) -> list[DeploymentConfig]:
    """Those that were not chosen for another reason than this name."""
    indexes = {item.index for item in chosen}
    return [
        item
        for item in manifest.deployments
        if item.index not in indexes and may_be_called(item.name, name)
    ]


def _untagged(
    others: Sequence[DeploymentConfig],
    name: str,
    flow_of: Callable[[DeploymentConfig], str | None],
    tags: Sequence[str],
    manifest: Manifest,
) -> set[int]:
    """Refuse a name that is one of ``others``, which have not the tags; else nothing."""
    found = tags and (
        called(_by_flow(others, flow_of), name)
        or called({item.index: _names(item) for item in others}, name)
    )
    if found:
        listed = " or ".join(map(repr, tags))
        raise UsageError(
            f"the manifest has a deployment {name!r}, but without the tag {listed}",
            where=str(manifest.position("deployments", min(found))),
            hint="leave --tag out, or add the tag in the manifest",
        )
    return set()


def _unknown(
    known: Mapping[int, Sequence[str]], wanted: str, manifest: Manifest, relation: str
) -> NoReturn:
    texts = [text for own in known.values() for text in own]
    hint = did_you_mean(wanted, texts)
    if not hint:
        # The flow may be right, and not known yet.
        flow, slash, own = wanted.rpartition("/")
        near = nearest(own, texts) if slash else None
        hint = f"did you mean {flow + slash + near!r}?" if near else None
    raise UsageError(
        f"no deployment of the manifest {relation} {wanted!r}",
        where=manifest.shown,
        hint=hint,
    )


def _tags(item: DeploymentConfig) -> list[str]:
    tags = item.spec.tags
    return [str(tag) for tag in ([tags] if isinstance(tags, str) else tags or [])]


def _names(item: DeploymentConfig) -> list[str]:
    """What a deployment answers to before its flow is read: as in Prefect, by the function."""
    flow = item.spec.flow_name or item.entrypoint.replace(":", ".").rsplit(".", 1)[-1]
    return [item.name, f"{flow}/{item.name}", f"{flow.replace('_', '-')}/{item.name}"]
