"""Build steps are told of the code that is deployed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gitops_flow import files, manifest
from gitops_flow.errors import GitflowError, ManifestError
from tests.support.prefect import SharedServer, SharedWorker
from tests.support.project import NearProject
from tests.support.repo import Repo

SHELL = "prefect.deployments.steps.run_shell_script"
TEXT = """\
name: {name}
build:
  - {shell}: {{id: told, script: "echo {{{{ gitflow.commit }}}} {{{{ gitflow.branch }}}}"}}
  - {shell}: {{id: listed, script: "ls -A {{{{ gitflow.directory }}}}"}}
deployments:
  - name: main
    entrypoint: flow.py:hello
    description: "{{{{ told.stdout }}}} | {{{{ listed.stdout }}}}"
    work_pool:
      name: {pool}
      job_variables: {{env: {{IMAGE: "shop:{{{{ gitflow.snapshot }}}}"}}}}
"""


@pytest.mark.real
def test_steps_and_fields_know_the_snapshot_its_source_and_its_files(
    tmp_path: Path, prefect_server: SharedServer, prefect_worker: object, namespace: str
) -> None:
    worker = prefect_worker()  # type: ignore[operator]
    assert isinstance(worker, SharedWorker)
    project = NearProject(tmp_path / "project", prefect_server)
    Repo(tmp_path / "origin.git", bare=True)
    project.repo.write(
        "flow.py", f'from prefect import flow\n@flow(name="{namespace}")\ndef hello(): ...\n'
    )
    project.repo.write(".gitignore", "secret\n")
    project.repo.write("prefect.yaml", TEXT.format(name=namespace, shell=SHELL, pool=worker.pool))
    head = project.repo.commit()
    project.repo.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    project.repo.write("secret", "ignored").write("uncommitted.py", "x = 1\n")

    told = json.loads(project.gitflow("plan", "--json").stdout)
    assert told["ok"], told
    snapshot = project.deploy()["snapshot"]["commit"]
    live = project.live(namespace, "main")
    said, listed = live["description"].split(" | ")
    assert said.split() == [head, "main"]
    assert listed.split() == [".gitignore", "flow.py", "prefect.yaml", "uncommitted.py"]
    assert live["job_variables"] == {"env": {"IMAGE": f"shop:{snapshot}"}}
    assert project.deploy()["deployments"][0]["status"] == "unchanged"


@pytest.mark.parametrize("name", ["snapshot", "commit", "branch", "directory", "snapshit"])
def test_only_what_steps_are_told_is_known_before_the_first_one_runs(name: str) -> None:
    text = (
        f"build: [{{{SHELL}: {{script: 'echo {{{{ gitflow.{name} }}}}'}}}}]\n"
        "deployments: [{name: d, entrypoint: 'f.py:g', flow_name: g, work_pool: {name: p}}]\n"
    )
    document = manifest.parse(text.encode(), "p.yaml")
    _, problems = manifest.resolve(
        document,
        mark="gitflow:x-00000000",
        pull_step={},
        default_version="1",
        flows={},
        default_work_pool=None,
    )
    found = [str(each) for each in problems if "gitflow." in str(each)]
    assert bool(found) == (name == "snapshit")


def test_a_step_of_the_same_id_counts_for_those_after_it() -> None:
    text = "deployments: [{name: d, entrypoint: 'f.py:g'}]\n"
    document = manifest.parse(text.encode(), "p.yaml")
    step = {SHELL: {"script": "echo {{ gitflow.snapshot }}"}}
    given = {"gitflow": {"stdout": "own"}}
    with pytest.raises(ManifestError, match="placeholder"):
        manifest.fill_step(
            document, document.deployments[0], "build", 0, step, manifest.Answers(), given
        )


def test_a_temporary_directory_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/dev/null/temporary")
    with pytest.raises(GitflowError, match="no temporary directory can be made: Not a dir"):
        files.temporary("x").__enter__()
