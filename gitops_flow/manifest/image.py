"""Code that is built into an image: the pull steps that Prefect writes for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_flow.pin import SET_DIRECTORY, inputs_of, name_of

if TYPE_CHECKING:
    from gitops_flow.manifest.config import DeploymentConfig, Manifest
    from gitops_flow.model import Json

    Step = dict[str, Json]

_HOME = "/opt/prefect"


def pull_steps(manifest: Manifest, config: DeploymentConfig) -> tuple[Step, ...] | None:
    """The pull steps of a deployment without a ``pull:`` whose code its build puts into an image.

    As Prefect does without asking: the directory that an automatic Dockerfile
    copies to; nothing for a Dockerfile of one's own, which sets it; the home of
    Prefect's images for other builders. None when no build step makes an image.
    """
    spec = config.spec
    for step in spec.build or manifest.build or ():
        name = name_of(step)
        last = name.rpartition(".")[2]
        if last.endswith("build_docker_image"):
            if inputs_of(step).get("dockerfile") != "auto":
                return ()
            return ({SET_DIRECTORY: {"directory": f"{_HOME}/{manifest.directory}"}},)
        if "buildpack" in name or "build_image" in last:
            return ({SET_DIRECTORY: {"directory": _HOME}},)
    return None
