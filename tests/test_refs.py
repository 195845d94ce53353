"""A pull step that names a branch, tag or commit is only replaced by the pin where that means the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitops_flow import manifest, settings
from gitops_flow.deploy import DeployRequest, Options, Which, build, choice, refs, source
from gitops_flow.deploy.code import read_code
from gitops_flow.deploy.source import Project
from gitops_flow.errors import ManifestError
from gitops_flow.git.repository import Author, branch_of_ci
from tests.support.repo import Repo

CLONE = "prefect.deployments.steps.git_clone"
OURS = "gitops_flow.steps.pull_code"
SHELL = "prefect.deployments.steps.run_shell_script"


class Place:
    """A clone of a repository with the branches ``main`` and ``develop``; ``develop`` is on disk."""

    def __init__(self, tmp_path: Path) -> None:
        origin = Repo(tmp_path / "origin").write("flow.py", "def f(): ...\n")
        origin.commit("first")
        self.address = origin.path.as_uri()
        origin.git("branch", "-q", "develop")
        origin.write("later.py").commit("on main")
        self.repo = origin.clone(tmp_path / "clone")
        self.main = self.repo.head
        self.repo.git("checkout", "-q", "develop")

    def problems(
        self,
        step: str,
        *,
        environ: Mapping[str, str] | None = None,
        variables: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        head: str = "",
        clean: bool = False,
    ) -> list[str]:
        """What there is to say of a manifest with this pull step."""
        text = f"{head}pull:\n- {step}\ndeployments:\n- {{name: d, entrypoint: 'flow.py:f'}}\n"
        self.repo.write("prefect.yaml", text)
        exclude = self.repo.path / ".git/info/exclude"
        exclude.write_text("prefect.yaml\n")
        project = _project(self.repo, clean=clean)
        answers = manifest.Answers(
            environ or {}, {}, variables or {}, None if outputs is None else {0: outputs}
        )
        snap = read_code(project, Options(), answers, Author()).snapshot
        return [str(each) for each in refs.problems(project, snap, answers)]

    def clone(self, inputs: str, **given: Any) -> list[str]:
        """The same for a clone of the repository with these inputs."""
        return self.problems(f"{CLONE}: {{repository: '{self.address}', {inputs}}}", **given)


def _project(repo: Repo, *, clean: bool = False) -> Project:
    tree = source.working_tree(repo.path, clean=clean)
    project = source.read(tree, settings.load({"HOME": str(repo.path.parent)}, repo.path))
    return choice.select(project, DeployRequest(tree, Which(everything=True)))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_branch_that_is_checked_out_may_have_uncommitted_changes(place: Place) -> None:
    place.repo.write("flow.py", "changed")
    assert place.clone("branch: develop") == []


def test_another_branch_is_refused_with_its_place_and_what_to_do(place: Place) -> None:
    head = place.repo.head[:12]
    [told] = place.clone("branch: main")
    line = (place.repo.path / "prefect.yaml").read_text().splitlines()[1]
    assert told == (
        f"prefect.yaml:2:{line.index(' main') + 2}: pull[0].{CLONE}.branch: 'main' is not what is deployed, which is branch 'develop' at "
        f"{head} (check 'main' out and deploy from there, or take the line out)"
    )


def test_another_branch_at_the_same_commit_is_the_same_code_while_nothing_is_changed(
    place: Place,
) -> None:
    place.repo.git("checkout", "-q", "-b", "same")
    assert place.clone("branch: develop") == []
    place.repo.write("flow.py", "changed")
    [told] = place.clone("branch: develop")
    assert "with uncommitted changes (commit the changes, leave them out with ‹clean›" in told
    assert place.clone("branch: develop", clean=True) == []


def test_a_detached_head_is_the_branch_of_the_remote_that_ends_there(place: Place) -> None:
    place.repo.git("checkout", "-q", "--detach", "origin/main")
    place.repo.git("branch", "-q", "-D", "main")
    assert place.clone("branch: main") == []
    [told] = place.clone("branch: develop")
    assert f"which is commit {place.main[:12]}, on no branch" in told


CI = [
    ("GITHUB_REF_NAME", "GITHUB_SHA"),
    ("CI_COMMIT_REF_NAME", "CI_COMMIT_SHA"),
    ("BITBUCKET_BRANCH", "BITBUCKET_COMMIT"),
    ("BUILD_SOURCEBRANCHNAME", "BUILD_SOURCEVERSION"),
    ("BRANCH_NAME", "GIT_COMMIT"),
]


@pytest.mark.parametrize(("name", "commit"), CI)
def test_in_ci_a_detached_head_is_the_branch_that_the_job_is_for(
    place: Place, name: str, commit: str
) -> None:
    place.repo.git("checkout", "-q", "--detach", "develop")
    place.repo.write("generated.py", "by an earlier step of the job")
    assert len(place.clone("branch: develop")) == 1
    assert place.clone("branch: develop", environ={name: "develop"}) == []
    assert place.clone("branch: develop", environ={name: "develop", commit: place.repo.head}) == []
    elsewhere = {name: "main", commit: place.main}
    assert len(place.clone("branch: main", environ=elsewhere)) == 1


def test_the_branch_that_is_checked_out_beats_what_ci_says(place: Place) -> None:
    assert len(place.clone("branch: main", environ={"GITHUB_REF_NAME": "main"})) == 1


@pytest.mark.parametrize(
    ("environ", "branch"),
    [
        ({}, None),
        ({"GITHUB_REF_NAME": "v1", "GITHUB_REF_TYPE": "tag"}, None),
        ({"GITHUB_REF_NAME": "main", "GITHUB_REF_TYPE": "branch"}, "main"),
        ({"GITHUB_REF_NAME": "main", "GITHUB_SHA": "b" * 40}, None),
        ({"GITHUB_REF_NAME": "5/merge", "GITHUB_HEAD_REF": "main"}, "5/merge"),
        ({"CI_COMMIT_REF_NAME": "v1", "CI_COMMIT_TAG": "v1"}, None),
        (
            {
                "CI_COMMIT_REF_NAME": "main",
                "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2",
                "CI_MERGE_REQUEST_PROJECT_ID": "1",
            },
            None,
        ),
        ({"BUILD_SOURCEBRANCH": "refs/heads/a/b", "BUILD_SOURCEBRANCHNAME": "b"}, "a/b"),
        ({"BUILD_SOURCEBRANCH": "refs/tags/v1", "BUILD_SOURCEBRANCHNAME": "v1"}, None),
        ({"BRANCH_NAME": "v1", "TAG_NAME": "v1"}, None),
        ({"BRANCH_NAME": "not a\nbranch"}, None),
    ],
)
def test_what_ci_says_of_a_branch(environ: dict[str, str], branch: str | None) -> None:
    assert branch_of_ci(environ, "a" * 40) == branch


def test_steps_are_told_the_branch_that_ci_names(place: Place) -> None:
    place.repo.git("checkout", "-q", "--detach", "develop")
    place.repo.write("prefect.yaml", "deployments: [{name: d, entrypoint: 'flow.py:f'}]\n")
    environ = {"HOME": str(place.repo.path.parent), "CI_COMMIT_REF_NAME": "develop"}
    code = read_code(_project(place.repo), Options(), manifest.Answers(environ), Author())
    with build.told_of([], code) as told:
        assert told["gitflow"]["branch"] == "develop"


def test_a_branch_that_nobody_knows_is_told_to_be_a_detached_head() -> None:
    text = f"build: [{{{SHELL}: {{script: 'echo {{{{ gitflow.branch }}}}'}}}}]\n"
    text += "deployments: [{name: d, entrypoint: 'f.py:g'}]\n"
    read = manifest.parse(text.encode(), "p.yaml")
    [step] = manifest.step_sections(read, read.deployments[0]).build
    told = {"gitflow": {"snapshot": "a" * 40}}
    with pytest.raises(ManifestError) as caught:
        manifest.fill_step(read, read.deployments[0], "build", 0, step, manifest.Answers(), told)
    assert "HEAD is detached" in caught.value.lines[0]


def test_the_branch_of_another_remote_is_another_branch(place: Place, tmp_path: Path) -> None:
    fork = Repo(tmp_path / "fork").write("flow.py", "the fork's")
    fork.commit()
    place.repo.git("remote", "add", "fork", fork.path.as_uri())
    place.repo.git("fetch", "-q", "fork")
    place.repo.git("checkout", "-q", "--detach", "fork/main")
    assert len(place.clone("branch: main")) == 1
    step = f"{CLONE}: {{repository: '{fork.path.as_uri()}', branch: main}}"
    assert place.problems(step) == []


def test_a_tag_is_its_commit_without_changes(place: Place) -> None:
    place.repo.git("tag", "-a", "v1", "-m", "annotated")
    place.repo.git("tag", "v2", "main")
    assert place.clone("branch: v1") == place.clone("tag: v1") == []
    assert len(place.clone("branch: v2")) == len(place.clone("tag: v2")) == 1
    assert len(place.clone("tag: develop")) == 1
    place.repo.write("flow.py", "changed")
    assert len(place.clone("branch: v1")) == 1


def test_a_commit_is_what_is_checked_out_without_changes(place: Place) -> None:
    head = place.repo.head
    assert place.clone(f"commit_sha: '{head}'") == []
    assert place.clone(f"commit_sha: '{head[:8].upper()}'") == []
    [told] = place.clone(f"commit_sha: '{place.main}'")
    assert "check that commit out" in told
    place.repo.write("flow.py", "changed")
    assert len(place.clone(f"commit_sha: '{head}'")) == 1
    assert place.clone(f"commit_sha: '{head}'", clean=True) == []


@pytest.mark.parametrize("name", ["no-such-branch", "de*", "develop/..", "-x", "a b", "HEAD"])
def test_a_name_that_is_no_branch_is_refused(place: Place, name: str) -> None:
    assert len(place.clone(f"branch: '{name}'")) == 1


def test_a_branch_from_the_environment_or_a_variable_is_its_value(place: Place) -> None:
    env = "branch: '{{ $BRANCH }}'"
    assert place.clone(env, environ={"BRANCH": "develop"}) == []
    assert "'main' is not what" in place.clone(env, environ={"BRANCH": "main"})[0]
    variable = "branch: '{{ prefect.variables.branch }}'"
    assert place.clone(variable, variables={"branch": "develop"}) == []
    assert "'main' is not what" in place.clone(variable, variables={"branch": "main"})[0]


@pytest.mark.parametrize("value", ["''", "null", "'{{ $EMPTY }}'"])
def test_a_step_that_names_no_branch_is_replaced(place: Place, value: str) -> None:
    place.repo.write("flow.py", "changed")
    assert place.clone(f"branch: {value}", environ={"EMPTY": ""}) == []


@pytest.mark.parametrize("name", ["$BRANCH", "prefect.variables.branch", "prefect.blocks.x.y"])
def test_a_branch_that_only_a_worker_would_know_is_refused(place: Place, name: str) -> None:
    [told] = place.clone(f"branch: '{{{{ {name} }}}}'")
    assert f"{{{{ {name} }}}} is not known here, so what it names cannot be pinned" in told


def test_a_commit_out_of_a_build_step_is_judged_when_the_step_has_run(place: Place) -> None:
    head = f"build:\n- {SHELL}: {{id: sha, script: git rev-parse HEAD}}\n"
    step = "commit_sha: '{{ sha.stdout }}'"
    assert place.clone(step, head=head) == []
    right, wrong = ({"sha": {"stdout": commit}} for commit in (place.repo.head, place.main))
    assert place.clone(step, head=head, outputs=right) == []
    assert len(place.clone(step, head=head, outputs=wrong)) == 1


def test_a_variable_that_names_a_branch_is_asked_of_the_server() -> None:
    step = f"{CLONE}: {{repository: x, branch: '{{{{ prefect.variables.branch }}}}'}}"
    text = f"pull: [{step}]\ndeployments: [{{name: d, entrypoint: 'f.py:g'}}]\n"
    assert manifest.lookups(manifest.parse(text.encode(), "p.yaml")).variables == ("branch",)


def test_other_repositories_are_kept_whatever_they_name(place: Place) -> None:
    step = f"{CLONE}: {{repository: 'https://git.example/other.git', branch: main}}"
    assert place.problems(step) == []


def test_a_pull_step_of_ours_with_another_commit_of_this_repository_is_refused(
    place: Place,
) -> None:
    [told] = place.problems(f"{OURS}: {{repository: '{place.address}', commit: {'a' * 40}}}")
    assert told.endswith("(take the line out: a deploy writes the pin)")


def test_only_chosen_deployments_are_looked_at(place: Place) -> None:
    item = "- {{name: {0}, entrypoint: 'flow.py:f', pull: [{1}: {{repository: '{2}', branch: {0}}}]}}\n"
    listed = "".join(item.format(name, CLONE, place.address) for name in ("main", "develop"))
    place.repo.write("prefect.yaml", f"deployments:\n{listed}")
    place.repo.commit()
    project = _project(place.repo)
    snap = read_code(project, Options(), manifest.Answers(), Author()).snapshot
    [told] = refs.problems(project, snap, manifest.Answers())
    assert "deployments[0] 'main'" in str(told)
    only = replace(project, chosen=project.chosen[1:])
    assert refs.problems(only, snap, manifest.Answers()) == []
