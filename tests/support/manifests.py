"""Manifests in a few lines, resolved with a flow that says little."""

from __future__ import annotations

from typing import Any

from gitops_flow import manifest
from gitops_flow.model import Deployment, FlowInfo

MARK = "gitflow:shop-0123abcd"
OURS = {"gitops_flow.steps.pull_code": {"repository": "/store", "commit": "c" * 40}}
SCHEMA = {"title": "Parameters", "type": "object", "properties": {}}
FLOW = FlowInfo("etl", "from the flow", "9", SCHEMA, takes_more=True)
OWN = "https://example.com/own.git"
BASE = "deployments:\n- name: daily\n  entrypoint: f.py:g\n"
CLONE = "prefect.deployments.steps.git_clone"
GO_TO = "prefect.deployments.steps.set_working_directory"
PIP = "prefect.deployments.steps.pip_install_requirements"


def resolve(
    text: str,
    *,
    env: dict[str, str] | None = None,
    blocks: dict[str, Any] | None = None,
    variables: dict[str, Any] | None = None,
    outputs: dict[int, dict[str, Any]] | None = None,
    environment: str | None = None,
    **given: Any,
) -> tuple[list[Deployment], list[str]]:
    """The deployments, and the problems as ``severity: text``."""
    read = manifest.parse(text.encode(), "p.yaml", environment=environment)
    arguments: dict[str, Any] = {
        "mark": MARK,
        "pull_step": OURS,
        "default_version": None,
        "flows": {"f.py:g": FLOW},
        "answers": manifest.Answers(env or {}, blocks or {}, variables or {}, outputs),
        "default_work_pool": "pool",
        "is_own_repository": lambda address: address == OWN,
        **given,
    }
    deployments, problems = manifest.resolve(read, **arguments)
    return deployments, [f"{problem.severity}: {problem}" for problem in problems]


def one(*lines: str, **given: Any) -> Deployment:
    """The deployment with these lines, of which there is nothing to say."""
    deployments, problems = resolve(BASE + "".join(f"  {line}\n" for line in lines), **given)
    assert problems == []
    [deployment] = deployments
    return deployment


def problems_of(*lines: str, **given: Any) -> list[str]:
    """What there is to say of the deployment with these lines."""
    deployments, problems = resolve(BASE + "".join(f"  {line}\n" for line in lines), **given)
    assert not [each for each in problems if each.startswith("error")] or deployments == []
    return problems


def pulled(text: str, **given: Any) -> tuple[tuple[dict[str, Any], ...] | None, list[str]]:
    """The pull steps of a file that starts with ``text``, and the problems."""
    [deployment], problems = resolve(text + BASE, **given)
    return deployment.pull_steps, problems
