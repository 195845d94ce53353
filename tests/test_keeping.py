"""``gitflow: {paths: [...]}``: deployments whose code did not change where they need it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gitops_flow import manifest
from gitops_flow.deploy import paths
from gitops_flow.errors import ManifestError
from tests.support.prefect import SharedServer
from tests.support.project import NearProject
from tests.support.repo import Repo

FLOW = 'from prefect import flow\n\n@flow(name="{name}")\ndef hello(x: int = 1):\n    pass\n'
MANIFEST = """\
name: {name}
{head}deployments:
  - name: one
    entrypoint: one/flow.py:hello
    work_pool: {{name: gitflow-tests}}
    gitflow: {{paths: [one, "lib/*.sql"]}}
  - name: two
    entrypoint: two/flow.py:hello
    work_pool: {{name: gitflow-tests}}
"""


@pytest.mark.parametrize(
    ("globs", "path", "needed"),
    [
        (["flows"], "flows/a.py", True),
        (["flows/"], "flows/deep/a.py", True),
        (["flows/*"], "flows/deep/a.py", True),
        (["flows/*.py"], "flows/a.py", True),
        (["flows/*.py"], "flows/a.sql", False),
        (["*.py"], "deep/a.py", False),
        (["**/*.py"], "a.py", True),
        (["**/*.py"], "very/deep/a.py", True),
        (["lib/**"], "lib/x/y", True),
        (["lib"], "libs/x", False),
        (["a?.txt"], "ab.txt", True),
        (["a?.txt"], "a/.txt", False),
        (["a.b"], "axb", False),
        (["x", "README.md"], "README.md", True),
        (["x"], "flow.py", True),
    ],
)
def test_a_file_is_needed_when_a_glob_means_it_or_the_flow_is_in_it(
    globs: list[str], path: str, needed: bool
) -> None:
    assert paths.needed([path], globs, ["flow.py"]) is needed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gitflow: {paths: [../x]}", "gitflow.paths[0]: expected a glob of files"),
        ("gitflow: {paths: ['/']}", "gitflow.paths[0]: expected a glob of files"),
        ("gitflow: {paths: x}", "gitflow.paths: expected a list"),
        (
            "deployments: [{name: a, entrypoint: 'f.py:g', gitflow: {path: [x]}}]",
            "gitflow: unknown key 'path' (did you mean 'paths'?)",
        ),
    ],
)
def test_paths_that_mean_nothing_are_refused(text: str, told: str) -> None:
    with pytest.raises(ManifestError) as error:
        manifest.parse(text.encode(), "p.yaml")
    assert any(told in problem for problem in error.value.lines)


class Shop(NearProject):
    name = ""

    def pins(self) -> tuple[str, str]:
        return self.pin(self.name, "one"), self.pin(f"{self.name}-2", "two")

    def statuses(self, **options: Any) -> list[str]:
        return [each["status"] for each in self.deploy(**options)["deployments"]]


@pytest.fixture
def shop(tmp_path: Path, prefect_server: SharedServer, namespace: str) -> Shop:
    made = Shop(tmp_path / "shop", prefect_server)
    made.name = namespace
    made.repo.write("prefect.yaml", MANIFEST.format(name=namespace, head=""))
    made.repo.write("one/flow.py", FLOW.format(name=namespace))
    made.repo.write("two/flow.py", FLOW.format(name=f"{namespace}-2"))
    made.repo.write("lib/x.sql", "1\n").write("lib/x.txt", "1\n").write("README.md", "1\n")
    made.repo.commit()
    made.repo.git("remote", "add", "origin", str(Repo(tmp_path / "origin.git", bare=True).path))
    made.deploy("--all", "--create-pools")
    return made


@pytest.mark.real
def test_a_change_outside_its_paths_is_no_reason_to_write_a_deployment(shop: Shop) -> None:
    first, _ = shop.pins()
    version = shop.live(shop.name, "one")["version"]
    shop.repo.write("README.md", "2\n").write("lib/x.txt", "2\n")
    shown = shop.gitflow("plan").stdout
    assert f"unchanged (code outside its paths): {shop.name}/one\n" in shown
    assert "1 unchanged, 1 to update" in shown
    report = shop.deploy()
    assert [each["status"] for each in report["deployments"]] == ["unchanged", "updated"]
    one, two = shop.pins()
    assert (one, two) == (first, report["snapshot"]["commit"])
    assert shop.live(shop.name, "one")["version"] == version
    # The release says what was pinned to it.
    assert f"{shop.name}/one" not in shop.gitflow("show", "@1").stdout
    for path in ("lib/x.sql", "one/new.py"):
        shop.repo.write(path, "changed\n")
        report = shop.deploy()
        assert shop.pins()[0] == report["snapshot"]["commit"]


@pytest.mark.real
def test_a_pin_is_not_kept_where_it_is_not_certain_that_it_can_be(shop: Shop) -> None:
    text = (shop.repo.path / "prefect.yaml").read_text()
    # The code store is another one: the old snapshot is not in it.
    other = Repo(shop.repo.path.parent / "other.git", bare=True)
    shop.repo.write("README.md", "3\n")
    report = shop.deploy("--all", "--remote", str(other.path))
    assert shop.pins()[0] == report["snapshot"]["commit"]
    # Another description is written, with the pin as it is.
    before = shop.pins()[0]
    shop.repo.write("README.md", "4\n")
    shop.repo.write("prefect.yaml", text.replace("name: one\n", "name: one\n    description: x\n"))
    shop.deploy("--all", "--remote", str(other.path))
    assert (shop.live(shop.name, "one")["description"], shop.pins()[0]) == ("x", before)


@pytest.mark.real
def test_paths_at_the_top_are_for_all_and_a_slip_in_them_is_told(shop: Shop) -> None:
    head = "gitflow: {paths: [two/**, lbi]}\n"
    shop.repo.write("prefect.yaml", MANIFEST.format(name=shop.name, head=head))
    shop.repo.write("README.md", "5\n")
    report = shop.deploy()
    assert [each["status"] for each in report["deployments"]] == ["unchanged", "unchanged"]
    assert [each for each in report["warnings"] if "the snapshot has no 'lbi'" in each]
