"""What a manifest asks for and no worker could do is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_flow import manifest, settings
from gitops_flow.deploy import DeployRequest, Options, choice, source
from gitops_flow.deploy.code import read_code
from gitops_flow.deploy.plan import desire
from gitops_flow.errors import ManifestError
from gitops_flow.git.repository import Author
from gitops_flow.model import Deployment
from tests.support.repo import Repo

TOKEN = "{{ prefect.blocks.secret.token }}"
WHOLE = "{{ prefect.blocks.gitlab-credentials.mine }}"
ITEM = "deployments: [{name: d, entrypoint: 'flow.py:f', work_pool: {name: p}}]\n"


def desired(tmp_path: Path, head: str, address: str) -> list[Deployment]:
    """What a manifest that begins with ``head`` asks for, in a repository with this remote."""
    repo = Repo(tmp_path / "r").write("flow.py", "from prefect import flow\n@flow\ndef f(): ...\n")
    repo.write("prefect.yaml", f"{head}{ITEM}").commit()
    repo.git("remote", "add", "origin", address)
    environ = {"HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    tree = source.working_tree(repo.path)
    project = source.read(tree, settings.load(environ, repo.path))
    project = choice.select(project, DeployRequest(tree))
    answers = manifest.Answers(environ)
    code = read_code(project, Options(), answers, Author())
    return desire(project, Options(), code, answers)[0]


def stock(credentials: str, checkout: str = "stock") -> str:
    return f"gitflow: {{checkout: {checkout}, code_store: {{credentials: '{credentials}'}}}}\n"


@pytest.mark.parametrize("credentials", [TOKEN, WHOLE])
def test_prefects_clone_with_credentials_for_plain_http_is_refused(
    tmp_path: Path, credentials: str
) -> None:
    with pytest.raises(ManifestError, match="1 problem") as caught:
        desired(tmp_path, stock(credentials), "http://git.example/r.git")
    assert caught.value.lines == (
        (
            "prefect.yaml:1:21: Prefect's git_clone sends no credentials to "
            "http://git.example/r.git, so every run would fail (name an https:// address with "
            "code_store: {pull_url: ...}, or leave checkout: stock out: gitflow's own step sends them)"
        ),
    )


def test_credentials_that_a_clone_brings_along_count_as_well(tmp_path: Path) -> None:
    clone = "prefect.deployments.steps.git_clone"
    pull = f"pull: [{{{clone}: {{repository: 'http://git.example/r.git', access_token: '{TOKEN}'}}}}]\n"
    with pytest.raises(ManifestError, match="1 problem"):
        desired(tmp_path, f"gitflow: {{checkout: stock}}\n{pull}", "http://git.example/r.git")


@pytest.mark.parametrize(
    ("head", "address"),
    [
        (stock(TOKEN), "https://git.example/r.git"),
        (stock(TOKEN, "pinned"), "http://git.example/r.git"),
        ("gitflow: {checkout: stock}\n", "http://git.example/r.git"),
    ],
    ids=["https", "our own step", "no credentials"],
)
def test_what_reaches_the_server_is_deployed(tmp_path: Path, head: str, address: str) -> None:
    [deployment] = desired(tmp_path, head, address)
    assert deployment.pull_steps
