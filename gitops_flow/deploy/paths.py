"""Deployments whose code did not change where they need it: they keep the snapshot they have."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import manifest, pin
from gitops_flow.codestore import changes
from gitops_flow.manifest.wording import quoted
from gitops_flow.model import Entrypoint, Problem, is_our_version
from gitops_flow.pin import Pin
from gitops_flow.plan.equality import same

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.source import Project
    from gitops_flow.manifest import DeploymentConfig
    from gitops_flow.model import Deployment, Position

_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
# The directories, or the file, before the first wildcard.
_LITERAL = re.compile(r"[^*?]+(?=/[^/]*[*?])|[^*?]+$")
_GLOBS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def keep(
    project: Project, code: Code, desired: Sequence[Deployment], live: Iterable[Deployment]
) -> list[Deployment]:
    """``desired``, pinned as now where the new snapshot differs only outside their paths.

    A pin is not kept where that cannot be told for certain: the old snapshot cannot be
    had, the code store is another one, steps build something of the code, or the flow's
    parameters are not those that the server has.
    """
    configs: dict[Position | None, DeploymentConfig] = {
        config.where: config for config in project.chosen
    }
    there = {(item.flow_name, item.name): item for item in live}
    changed: dict[str, tuple[str, ...] | None] = {}

    def between(commit: str) -> tuple[str, ...] | None:
        """The files that differ between a snapshot and the new one; None when not known."""
        if commit not in changed:
            new = code.snapshot.commit
            found = changes.between(code.store, project.target, commit, new)
            changed[commit] = None if found is None else tuple(each.path for each in found.files)
        return changed[commit]

    kept = []
    for item in desired:
        config, old = configs.get(item.where), there.get((item.flow_name, item.name))
        before = Pin.of(old.pull_steps) if old is not None else None
        after = Pin.of(item.pull_steps)
        if (
            config is not None
            and old is not None
            and before is not None
            and after is not None
            and before.commit != after.commit
            and (paths := _paths(project, config))
            and _certain(project, config, item, old)
            and (before.addresses, before.stock, before.signed)
            == (after.addresses, after.stock, after.signed)
            and (files := between(before.commit)) is not None
            and not needed(files, paths, _entrypoint_files(code, item))
        ):
            kept.append(_pinned_as(item, old, before))
        else:
            kept.append(item)
    return kept


def unmatched(project: Project, code: Code) -> list[Problem]:
    """A warning for each glob that begins with what the snapshot does not have: a slip, probably."""
    objects, told = code.store.objects(), dict[str, Problem]()
    for config in project.chosen:
        own = config.spec.gitflow is not None and config.spec.gitflow.paths
        place = ("deployments", config.index, "gitflow", "paths") if own else ("gitflow", "paths")
        for glob in _paths(project, config):
            literal = _LITERAL.match(posixpath.normpath(glob))
            start = literal[0] if literal else ""
            if start and objects.find(code.snapshot.tree, os.fsencode(start)) is None:
                message = f"paths: {quoted(glob)}: the snapshot has no {quoted(start)}"
                where = project.manifest.position(*place)
                hint = "a change there is a reason to deploy only if the path is right"
                told[glob] = Problem(message, where, hint, "warning")
    return list(told.values())


def _paths(project: Project, config: DeploymentConfig) -> tuple[str, ...]:
    """The deployment's globs, or the manifest's, relative to the repository's root."""
    section = config.spec.gitflow
    own = tuple(section.paths or ()) if section is not None else ()
    return tuple(
        glob.lstrip("/") if glob.startswith("/") else posixpath.join(project.base, glob)
        for glob in own or project.manifest.gitflow.paths
    )


def _certain(
    project: Project, config: DeploymentConfig, item: Deployment, live: Deployment
) -> bool:
    steps = manifest.step_sections(project.manifest, config)
    known = item.parameter_schema is None or same(item.parameter_schema, live.parameter_schema)
    return known and not (steps.build or steps.push)


def _entrypoint_files(code: Code, item: Deployment) -> tuple[str, ...]:
    """The file of the flow itself, which always counts."""
    if item.entrypoint is None:
        return ()
    place = Entrypoint.parse(item.entrypoint)
    base = code.directories.get(item.entrypoint, "")
    if place.kind == "file":
        return (posixpath.normpath(posixpath.join(base, place.location)),)
    module = posixpath.join(base, place.location.replace(".", "/"))
    return f"{module}.py", f"{module}/__init__.py"


def needed(files: Iterable[str], globs: Sequence[str], entrypoint: Sequence[str]) -> bool:
    """Whether one of ``files`` is the entrypoint's, or what a glob matches, or below that."""
    wanted = re.compile("|".join(map(_pattern, globs)), re.DOTALL)
    return any(path in entrypoint or wanted.fullmatch(path) for path in files)


def _pattern(glob: str) -> str:
    """A glob as a regular expression; a directory stands for everything below it."""
    parts = _PARTS.findall(posixpath.normpath(glob))
    return "".join(_GLOBS.get(part) or re.escape(part) for part in parts) + "(?:/.*)?"


def _pinned_as(item: Deployment, live: Deployment, old: Pin) -> Deployment:
    ours = item.version_is_ours and is_our_version(live.version)
    return replace(
        item,
        pull_steps=pin.repin(item.pull_steps, old),
        version=live.version if ours else item.version,
        keeps_code=True,
    )
