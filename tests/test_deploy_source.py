"""What can be deployed, and where it is: working trees, commits of bare repositories, releases."""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitops_flow import manifest, settings
from gitops_flow.cli import options
from gitops_flow.deploy import (
    Commit,
    DeployRequest,
    Options,
    Release,
    Report,
    Which,
    choice,
    every_step,
    preview,
    run,
    source,
)
from gitops_flow.deploy.code import Code, Files, read_code
from gitops_flow.deploy.source import Project, working_tree
from gitops_flow.errors import GitError, ManifestError, RefusedError, UsageError
from gitops_flow.git.objects import Objects
from gitops_flow.git.repository import Author
from gitops_flow.model import FlowInfo, StepPolicy
from tests.support.prefect import SharedServer
from tests.support.project import NearProject
from tests.support.repo import Repo, fingerprint


@pytest.fixture
def files(tmp_path: Path) -> Files:
    repo = Repo(tmp_path / "r").write("real/deep/flow.py", "code\n")
    repo.symlink("flows", "real").symlink("real/again", "deep").symlink("out", "../elsewhere")
    repo.symlink("loop", "loop")
    repo.commit()
    return Files(Objects(repo.path / ".git"), repo.git("rev-parse", "HEAD^{tree}"))


@pytest.mark.parametrize(
    "path",
    ["real/deep/flow.py", "flows/deep/flow.py", "flows/again/flow.py", "./flows/deep/flow.py"],
)
def test_a_file_is_found_through_links_to_directories(files: Files, path: str) -> None:
    assert files.read(path) == b"code\n"


@pytest.mark.parametrize(
    "path", ["out/flow.py", "loop/flow.py", "loop", "real", "flows", "../x", "/x"]
)
def test_what_is_no_file_of_the_snapshot_is_not_found(files: Files, path: str) -> None:
    assert files.read(path) is None


def test_a_manifest_outside_the_working_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="outside the repository's working tree"):
        source.inside(tmp_path / "tree", tmp_path / "prefect.yaml")


def test_a_manifest_that_is_a_link_to_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "secret").touch()
    (tmp_path / "tree/prefect.yaml").symlink_to("../secret")
    with pytest.raises(UsageError, match="a link that leaves the repository's working tree"):
        source.inside(tmp_path / "tree", tmp_path / "tree/prefect.yaml")


def test_a_manifest_that_is_a_link_inside_the_working_tree_is_taken(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").touch()
    (tmp_path / "prefect.yaml").symlink_to("real.yaml")
    assert source.inside(tmp_path, tmp_path / "prefect.yaml") == Path("prefect.yaml")


@pytest.mark.parametrize(
    ("directory", "path", "near"),
    [
        ("", "real/deep/flwo.py", "real/deep/flow.py"),
        ("real", "dep/flow.py", "deep/flow.py"),
        ("", "flow.py", "real/deep/flow.py"),
        ("", "other.py", None),
        ("none", "flow.py", None),
    ],
)
def test_a_misspelt_file_has_a_nearest_name(
    files: Files, directory: str, path: str, near: str | None
) -> None:
    assert files.nearest(directory, path) == near


# Each deployment: its name, its entrypoint, and how its flow is called (None: unreadable).
LISTED = (
    ("d1", "a.py:main", "flow-a"),
    ("d1", "b.py:main", "flow-b"),
    ("d2", "b.py:main", "flow-b"),
    ("d1", "c.py:load_all", "Nice Flow"),
    ("d3", "broken.py:f", None),
    ("[dev] d", "c.py:load_all", "Nice Flow"),
    ("d*", "d.py:main", "flow-d"),
    ("d4", "broken.py:g", None),
    ("d4", "a.py:main", "flow-a"),
)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["d1"], [0, 1, 3]),
        (["flow-a/d1"], [0]),
        (["Nice Flow/d1"], [3]),
        (["flow-b/*"], [1, 2]),
        (["flow-?/d1"], [0, 1]),
        (["*2"], [2]),
        (["*/d1"], [0, 1, 3]),
        (["main/d1"], [0, 1]),
        (["load-all/d1"], [3]),
        (["flow-b/d2", "d3"], [2, 4]),
        (["unread/d3"], [4]),
        (["[dev] d"], [5]),
        (["Nice Flow/[dev] d"], [5]),
        (["load-all/[dev] d"], [5]),
        (["d*"], [6]),
        (["flow-d/d*"], [6]),
        (["d[1*]"], [0, 1, 3, 6]),
        (["d4"], [7, 8]),
        (["*/d4"], [7, 8]),
        (["flow-a/d4"], [8]),
        (["main/d4"], [8]),
    ],
)
def test_a_deployment_is_chosen_by_its_name_its_flows_or_its_functions(
    tmp_path: Path, names: list[str], found: list[int]
) -> None:
    assert _chosen(tmp_path, names) == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("flow-c/d1", "did you mean 'flow-b/d1'?"),
        ("Nice Flo/d1", "did you mean 'Nice Flow/d1'?"),
        ("flow-a/d2", None),
        ("d9", None),
        ("flow-a*", None),
        ("flow-a/de2", "did you mean 'flow-a/d2'?"),
        ("/d1", None),
    ],
)
def test_a_name_that_matches_nothing_is_refused_with_the_nearest(
    tmp_path: Path, name: str, hint: str | None
) -> None:
    with pytest.raises(UsageError, match="no deployment of the manifest is called") as caught:
        _chosen(tmp_path, [name])
    assert hint is None or caught.value.hint == hint


def test_a_misspelt_deployments_key_is_told_where_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text("name: x\ndeploymnets:\n  - {name: a, entrypoint: 'a.py:f'}\n")
    with pytest.raises(ManifestError, match="has no deployments") as caught:
        choice.choose(manifest.load(path, "prefect.yaml"), Which())
    (told,) = caught.value.lines
    assert told.startswith("prefect.yaml:2:1: ")
    assert "did you mean 'deployments'?" in told


def test_names_and_tags_that_no_deployment_has_both_are_refused(tmp_path: Path) -> None:
    assert _chosen(tmp_path, ["d1"], "t0") == [0]
    with pytest.raises(UsageError, match="is called 'd1' and has the tag 't2'") as caught:
        _chosen(tmp_path, ["d1"], "t2")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("name", "line"), [("flow-b/d1", 3), ("main/d1", 2), ("flow-?/d1", 2)])
def test_a_deployment_that_is_there_without_the_tag_is_not_called_missing(
    tmp_path: Path, name: str, line: int
) -> None:
    with pytest.raises(UsageError, match=f"has a deployment '{re.escape(name)}', but") as caught:
        _chosen(tmp_path, [name], "t3", "t4")
    assert caught.value.where == f"prefect.yaml:{line}:5"
    assert caught.value.message.endswith("without the tag 't3' or 't4'")


def test_the_flow_of_a_deployment_without_the_tag_is_read_to_say_so(tmp_path: Path) -> None:
    for name in ("a", "b"):
        text = f"from prefect import flow\n@flow(name='flow-{name}')\ndef main(): ...\n"
        (tmp_path / f"{name}.py").write_text(text)
    listed = "".join(
        f"  - {{name: d, entrypoint: '{name}.py:main', tags: [{name}]}}\n" for name in "ab"
    )
    (tmp_path / "prefect.yaml").write_text(f"deployments:\n{listed}")
    environ = {"HOME": str(tmp_path / "home"), "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    request = DeployRequest(working_tree(tmp_path), Which(("flow-a/d",), tags=("b",)))
    with pytest.raises(UsageError, match="has a deployment 'flow-a/d', but without the tag 'b'"):
        preview(
            request,
            settings.load(environ, tmp_path),
            environ,
            author=Author(),
            policy=StepPolicy(None, environ),
        )


def test_a_name_that_no_flow_makes_true_is_missing_whatever_the_tag(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no deployment of the manifest is called 'flow-c/d1'"):
        _chosen(tmp_path, ["flow-c/d1"], "t3")


def _chosen(directory: Path, names: list[str], *tags: str) -> list[int]:
    path = directory / "prefect.yaml"
    lines = [
        f"  - {{name: '{name}', entrypoint: '{at}', tags: [t{number}]}}\n"
        for number, (name, at, _) in enumerate(LISTED)
    ]
    path.write_text("deployments:\n" + "".join(lines))
    document = manifest.load(path, "prefect.yaml")
    chosen = choice.choose(document, Which(tuple(names), tags))
    meant = choice.narrow(chosen, names, lambda item: LISTED[item.index][2], document, tags)
    return [item.index for item in meant]


def test_gitflows_own_directories_are_known_to_what_reads_the_working_tree(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "r").write(
        "prefect.yaml", "deployments: [{name: d, entrypoint: 'f.py:f'}]\n"
    )
    environ = {"HOME": str(repo.path), "GITFLOW_CACHE_DIR": "cache"}
    found = source.read(working_tree(repo.path), settings.load(environ, repo.path))
    own = (repo.path / "cache", repo.path / ".local/share/gitops-flow")
    assert found.repository.own == own


@pytest.mark.parametrize("python", ["/nope/python", "nope-python", "f.py"])
def test_a_python_that_is_not_there_is_refused_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    (tmp_path / "f.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--python: there is no program") as error:
        options.request({"python": python})
    assert python in error.value.message


def test_a_python_named_from_here_is_found_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    assert options.program("./python") == str(tmp_path / "python")


TEMPLATE = """\
deployments:
- &defaults
  name: null
  entrypoint: null
  tags: [nightly]
- {<<: *defaults, name: d, entrypoint: 'f.py:f'}
"""


@pytest.mark.parametrize(
    "text", [TEMPLATE, TEMPLATE.replace("  name: null\n  entrypoint: null\n", "")]
)
def test_a_deployment_without_name_and_entrypoint_is_skipped_with_a_warning(text: str) -> None:
    read = manifest.parse(text.encode(), "p.yaml")
    [deployment] = read.deployments
    assert (deployment.name, deployment.index, deployment.spec.tags) == ("d", 1, ["nightly"])
    [warning] = read.problems
    assert warning.severity == "warning"
    assert str(warning) == (
        "p.yaml:2:3: deployments[0]: neither a name nor an entrypoint: it is not deployed "
        "(give it both, or take it out)"
    )


def test_a_deployment_without_name_and_entrypoint_is_an_error_when_strict() -> None:
    with pytest.raises(ManifestError, match="1 problem in"):
        manifest.parse(TEMPLATE.encode(), "p.yaml", strict=True)


def test_the_flows_of_deployments_after_a_skipped_one_are_their_own(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "r").write("prefect.yaml", TEMPLATE).write("f.py", FLOW)
    found, project = _read(repo.path)
    assert [item.name for item in project.chosen] == ["d"]
    assert list(found.flows) == [("f.py:f", None)]


FLOW = "from prefect import flow\n@flow(name='etl')\ndef f(): ...\n"


def _read(directory: Path, named: str | None = None) -> tuple[Code, Project]:
    environ = {"HOME": str(directory / "home")}
    tree = working_tree(directory, Path(named) if named else None)
    project = source.read(tree, settings.load(environ, directory))
    project = choice.select(project, DeployRequest(tree))
    return read_code(project, Options(), manifest.Answers(environ), Author()), project


def test_an_entrypoint_may_be_relative_to_the_current_directory(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "r").write("sub/flows/f.py", FLOW)
    text = "deployments: [{name: d, entrypoint: 'flows/f.py:f'}]\n"
    repo.write("sub/conf/prefect.yaml", text)
    found, _ = _read(repo.path / "sub", "conf/prefect.yaml")
    assert found.directories == {"flows/f.py:f": "sub"}
    repo.write("flows/f.py", FLOW)
    found, _ = _read(repo.path / "sub", "conf/prefect.yaml")
    assert found.directories == {"flows/f.py:f": ""}


@pytest.mark.parametrize("inside", [True, False])
def test_a_manifest_beside_the_repository_is_refused_and_one_in_a_folder_is_not(
    tmp_path: Path, inside: bool
) -> None:
    here = Repo(tmp_path / "r").path if inside else tmp_path / "r"
    here.mkdir(exist_ok=True)
    text = "deployments: [{name: d, entrypoint: 'f.py:f'}]\n"
    Repo(tmp_path / "out", init=False).write("prefect.yaml", text).write("f.py", FLOW)
    if not inside:
        assert _read(here, "../out")[1].repository.root == tmp_path / "out"
        return
    with pytest.raises(UsageError, match="outside the repository that you are in") as caught:
        _read(here, "../out/prefect.yaml")
    assert caught.value.where == str(tmp_path / "out/prefect.yaml")


def test_a_manifest_in_another_repository_is_that_ones(tmp_path: Path) -> None:
    text = "deployments: [{name: d, entrypoint: 'f.py:f'}]\n"
    other = Repo(tmp_path / "other").write("prefect.yaml", text).write("f.py", FLOW)
    found, project = _read(Repo(tmp_path / "r").path, "../other")
    assert project.repository.root == other.path
    assert list(found.flows) == [("f.py:f", None)]


COMPUTED = """\
from prefect import flow
NAME = "".join(["com", "puted"])
@flow(name=NAME)
def f(): ...
"""


def _mirror(directory: Path, files: dict[str, str] | None = None) -> tuple[Path, str]:
    """A bare repository without any working tree, and its newest commit."""
    repo = Repo(directory / "made")
    for name, text in (files or {"f.py": FLOW, "prefect.yaml": TEMPLATE}).items():
        repo.write(name, text)
    sha = repo.commit()
    return repo.clone(directory / "mirror.git", "--bare").path, sha


def _settings(directory: Path) -> settings.Settings:
    return settings.load({"HOME": str(directory / "home")}, directory)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"sha": "0" * 40}, GitError, "does not have the commit 0000"),
        ({"sha": "main"}, UsageError, "'main' is no commit's id"),
        ({"manifest": "conf/prefect.yaml"}, UsageError, "has no conf/prefect.yaml"),
        ({"manifest": "../prefect.yaml"}, UsageError, "outside the repository"),
        ({"manifest": "/prefect.yaml"}, UsageError, "outside the repository"),
        ({"git_dir": Path("/nowhere")}, GitError, "there is no bare git repository"),
    ],
)
def test_what_cannot_be_a_commit_to_deploy_is_refused(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], told: str
) -> None:
    origin = Commit(*_mirror(tmp_path))
    assert source.read(origin, _settings(tmp_path)).manifest.deployments
    with pytest.raises(error, match=told):
        source.read(replace(origin, **change), _settings(tmp_path))


def test_a_problem_of_a_commits_manifest_is_told_with_its_place_in_it(tmp_path: Path) -> None:
    mirror, sha = _mirror(tmp_path, {"conf/prefect.yaml": "deployments: 3\n"})
    with pytest.raises(ManifestError) as caught:
        source.read(Commit(mirror, sha, "conf/prefect.yaml"), _settings(tmp_path))
    assert str(caught.value.problems[0]).startswith("conf/prefect.yaml:1:14: ")


@pytest.mark.parametrize("head", ["", "gitflow: {source: https://git.example/team/shop}\n"])
def test_one_identity_is_one_mark_by_whatever_address_a_repository_is_reached(
    tmp_path: Path, head: str
) -> None:
    mirrors = [
        _mirror(tmp_path / name, {"prefect.yaml": f"name: shop\n{head}deployments: []\n"})
        for name in ("lan", "public")
    ]
    named = None if head else "https://git.example/team/shop"
    found = [source.find(Commit(*each), _settings(tmp_path)).source.mark for each in mirrors]
    one, other = (Commit(*each, identity=named) for each in mirrors)
    marks = {
        source.find(origin, _settings(tmp_path)).source.mark
        for origin in (one, other, Release(other))
    }
    assert len(marks) == 1
    assert (found[0] == found[1]) is bool(head)


def test_flows_of_a_commit_are_imported_from_a_checkout_of_it(tmp_path: Path) -> None:
    origin = Commit(*_mirror(tmp_path, {"f.py": COMPUTED, "prefect.yaml": TEMPLATE}))
    project = source.read(origin, _settings(tmp_path))
    project = choice.select(project, DeployRequest(origin))
    asked = Options(import_flows=True, python=sys.executable)
    environ = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    code = read_code(project, asked, manifest.Answers(environ), Author())
    (info,) = code.flows.values()
    assert isinstance(info, FlowInfo), info
    assert info.name == "computed"


DEPLOYED = """\
name: {name}
build:
- prefect.deployments.steps.run_shell_script:
    id: told
    script: |
      pwd
      cat note
      sh -c "echo built > f.py"
deployments:
- name: main
  entrypoint: f.py:f
  description: "{{{{ told.stdout }}}}"
  work_pool: {{name: gitflow-tests}}
"""


WITH_STEPS = """
name: {name}
build:
- tool:make:
    id: tool
- prefect.deployments.steps.run_shell_script: {{script: touch {done}}}
deployments:
- name: main
  entrypoint: f.py:f
  push:
  - ours.py:make: {{}}
  description: "{{{{ tool.seen }}}}"
  work_pool: {{name: gitflow-tests}}
"""


class Pushed:
    """A server's repository, a mirror of it without a working tree, and a clone with one."""

    def __init__(self, directory: Path, server: SharedServer, name: str) -> None:
        self.name, self.directory = name, directory
        self.origin = Repo(directory / "origin.git", bare=True)
        self.clone = NearProject(directory / "clone", server)
        self.clone.repo.git("remote", "add", "origin", self.origin.path.as_uri())
        self.mirror = directory / "mirror.git"
        flow = FLOW.replace("etl", name)
        self.clone.repo.write("f.py", flow).write("prefect.yaml", DEPLOYED.format(name=name))
        self.environ = {**os.environ, "PREFECT_API_URL": server.api_url}
        self.first = self.push("first")

    def push(self, note: str) -> str:
        """Commit and push a change of one file; the commit, which the mirror has as well."""
        sha = self.clone.repo.write("note", f"{note}\n").commit(note)
        self.clone.repo.git("push", "-q", "origin", "HEAD:refs/heads/main")
        if not self.mirror.exists():
            self.origin.clone(self.mirror, "--mirror")
        Repo(self.mirror, init=False).git("fetch", "-q", "origin")
        return sha

    def with_steps(self, done: Path) -> Commit:
        """A commit with steps of several kinds, of which one makes the file ``done``."""
        repo = self.clone.repo
        before = (repo.path / "prefect.yaml").read_text()
        repo.write("prefect.yaml", WITH_STEPS.format(name=self.name, done=done))
        repo.write("ours.py", "def make(): ...\n")
        made = Commit(self.mirror, self.push("with steps"))
        repo.write("prefect.yaml", before)
        return made

    def deploy(self, origin: Commit | Release, policy: StepPolicy | None = None) -> Report:
        """Deploy without the clone."""
        found = settings.load(self.environ, self.directory)
        request = DeployRequest(origin, Which(everything=True), Options(create_pools=True))
        author, policy = Author("Ann", "ann@example.org"), policy or every_step(found, self.environ)
        return run(request, found, self.environ, author=author, policy=policy)


@pytest.fixture(scope="module")
def pushed(
    tmp_path_factory: pytest.TempPathFactory, prefect_server: SharedServer
) -> Iterator[Pushed]:
    name = f"commits-{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}"
    made = Pushed(tmp_path_factory.mktemp("pushed"), prefect_server, name)
    yield made
    made.clone.gitflow("destroy", "--yes")


@pytest.mark.real
def test_a_commit_is_deployed_without_a_working_tree_as_a_clean_clone_would(
    pushed: Pushed,
) -> None:
    before = fingerprint(pushed.mirror)
    report = pushed.deploy(Commit(pushed.mirror, pushed.first, branch="main"))
    assert fingerprint(pushed.mirror) == before
    assert [each.status for each in report.results] == ["created"]
    origin = report.snapshot.provenance
    assert (origin.commit, origin.ref, origin.dirty) == (pushed.first, "main", False)
    assert origin.author == "Ann <ann@example.org>"
    pushed.clone.repo.write("uncommitted.py")
    told = json.loads(pushed.clone.gitflow("plan", "--clean", "--json").stdout)
    pushed.clone.repo.remove("uncommitted.py")
    assert told["snapshot"]["commit"] == report.snapshot.commit
    assert told["source"]["mark"] == report.source.mark


@pytest.mark.real
def test_steps_of_a_commit_run_in_a_checkout_that_is_gone_afterwards(pushed: Pushed) -> None:
    report = pushed.deploy(Commit(pushed.mirror, pushed.push("second")))
    place, note = pushed.clone.live(pushed.name, "main")["description"].split("\n")[:2]
    assert note == "second"
    assert not Path(place).exists()
    assert not Path(place).is_relative_to(pushed.directory)
    shown = pushed.clone.gitflow("show", "@1", "--json").stdout
    assert json.loads(shown)["snapshot"] == report.snapshot.commit
    assert pushed.clone.pin(pushed.name, "main") == report.snapshot.commit


@pytest.mark.real
def test_steps_that_the_policy_does_not_allow_are_refused_before_anything_is_done(
    pushed: Pushed, tmp_path: Path
) -> None:
    pushed.deploy(Commit(pushed.mirror, pushed.first))
    done, allowed = tmp_path / "done", "prefect.deployments.steps.run_shell_script"
    refused = pushed.with_steps(done)
    before = pushed.clone.live(pushed.name, "main"), fingerprint(pushed.origin.path)
    with pytest.raises(RefusedError) as caught:
        pushed.deploy(refused, StepPolicy(frozenset({allowed}), pushed.environ))
    assert caught.value.lines == (
        "prefect.yaml:4:3: the step tool:make may not run here",
        "prefect.yaml:11:5: the step ours.py:make may not run here",
    )
    assert caught.value.heals == "new commit"
    assert f"(now: {allowed})" in (caught.value.hint or "")
    assert not done.exists()
    assert (pushed.clone.live(pushed.name, "main"), fingerprint(pushed.origin.path)) == before


@pytest.mark.real
def test_steps_that_the_policy_allows_know_its_environment_and_nothing_of_the_server(
    pushed: Pushed, tmp_path: Path
) -> None:
    source = "import os\ndef make(): return {'seen': sorted(os.environ)}\n"
    (tmp_path / "tool.py").write_text(source)
    allowed = {"prefect.deployments.steps.run_shell_script", "ours.py:make", "tool.make"}
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}
    policy = StepPolicy(frozenset(allowed), environ)
    assert pushed.deploy(pushed.with_steps(tmp_path / "done"), policy).ok
    seen = ast.literal_eval(pushed.clone.live(pushed.name, "main")["description"])
    # Python and the system's shell add these by themselves.
    assert set(seen) - {"LC_CTYPE", "PWD", "OLDPWD", "SHLVL", "_"} == set(environ)


@pytest.mark.real
def test_a_release_is_gone_back_to_without_a_working_tree(pushed: Pushed) -> None:
    first = pushed.deploy(Commit(pushed.mirror, pushed.first)).snapshot.commit
    third = Commit(pushed.mirror, pushed.push("third"))
    assert pushed.deploy(third).snapshot.commit != first
    back = pushed.deploy(Release(third, code_only=True))
    assert back.restored is not None
    assert back.snapshot.commit == pushed.clone.pin(pushed.name, "main") == first
