"""Which deployments are meant: those of the manifest, and those that are on the server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from gitops_flow import manifest as manifests
from gitops_flow.errors import ManifestError, UsageError
from gitops_flow.manifest.wording import shortened
from gitops_flow.names import both, called, did_you_mean, matching, may_be_called, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gitops_flow.deploy.request import DeployRequest, Which
    from gitops_flow.deploy.source import Project
    from gitops_flow.manifest import DeploymentConfig, Manifest
    from gitops_flow.model import Deployment


def select(project: Project, request: DeployRequest) -> Project:
    """``project`` with the deployments that may be meant, and the request's overrides in them.

    Raises:
        UsageError: as for :func:`choose`.
        ManifestError: an override that the manifest could not have either.
    """
    chosen = choose(project.manifest, unsuffixed(request.which, project))
    if overrides := request.options.overrides:
        checked = manifests.check_overrides(overrides)
        chosen = [manifests.override(each, overrides, checked) for each in chosen]
    return replace(project, chosen=tuple(chosen))


def unsuffixed(which: Which, project: Project) -> Which:
    """``which`` by the manifest's names, for those that are as the server has them."""
    suffix = project.source.suffix
    known = {item.index: _names(item) for item in project.manifest.deployments}
    names = [name if called(known, name) else name.removesuffix(suffix) for name in which.names]
    return replace(which, names=tuple(names))


def choose(manifest: Manifest, which: Which) -> list[DeploymentConfig]:
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
            raise ManifestError(f"{manifest.shown}: {message}", tuple(manifest.problems))
        raise UsageError(message, where=manifest.shown)
    if not (which.names or which.tags or which.everything or len(listed) == 1):
        names = list(dict.fromkeys(shortened(item.name, 100) for item in listed))
        some = ", ".join(names[:10])
        raise UsageError(
            f"which deployment? The manifest has {len(listed)}: {some}"
            + (", ..." if len(names) > 10 else ""),
            where=manifest.shown,
            hint="name some, or take all with ‹everything›",
        )
    found = list(listed)
    if which.names:
        known = {item.index: _names(item) for item in listed}
        meant = set()
        for name in which.names:
            may = called(known, name) | {i.index for i in listed if may_be_called(i.name, name)}
            meant |= may or _unknown(known, name, manifest, "is called")
        found = [item for item in found if item.index in meant]
    if which.tags:
        tagged = {item.index: _tags(item) for item in listed}
        meant = set()
        for tag in which.tags:
            meant |= matching(tagged, tag) or _unknown(tagged, tag, manifest, "has the tag")
        found = [item for item in found if item.index in meant]
    if not found:
        raise _no_overlap(which, manifest)
    return found


def _no_overlap(which: Which, manifest: Manifest) -> UsageError:
    names, tags = (" or ".join(map(repr, each)) for each in (which.names, which.tags))
    return UsageError(
        f"no deployment of the manifest is called {names} and has the tag {tags}",
        where=manifest.shown,
        hint="leave the names or ‹tags› out",
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
            hint="leave ‹tags› out, or add the tag in the manifest",
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


def choose_live(live: Iterable[Deployment], which: Which, suffix: str) -> list[Deployment]:
    """The live deployments that any name of ``which`` (``flow/name``, a glob) matches.

    ``suffix`` is what their names end in; it may be left out.

    Raises:
        UsageError: a name matches none of them, or there is no choice among several.
    """
    known, names = list(live), which.names
    some = ", ".join(item.full_name for item in known[:10]) + (", ..." if known[10:] else "")
    if len(known) > 1 and not names and not which.everything:
        raise UsageError(
            f"which deployment? There are {len(known)}: {some}",
            hint="name some, or take all with ‹everything›",
        )
    own = {at: both(item.full_name, suffix) for at, item in enumerate(known)}
    meant: set[int] = set()
    for name in names:
        named = matching(own, name)
        meant |= named
        if not named:
            raise UsageError(
                f"this source has no deployment {name!r} on the server",
                hint=did_you_mean(name, [text for words in own.values() for text in words])
                or f"it has {some or 'none'}",
            )
    return [item for at, item in enumerate(known) if at in meant or not names]
