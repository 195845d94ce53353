"""What a worker without this package installs: nothing, unless the user says exactly what."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gitops_flow import manifest, pin
from gitops_flow.buildsteps import has_package
from gitops_flow.deploy import verify
from gitops_flow.deploy.verify import Finding, Python
from gitops_flow.errors import ManifestError
from gitops_flow.model import Deployment
from gitops_flow.pin import PULL_CODE, Pin

DIGEST, COMMIT = "0" * 64, "a" * 40
WHEEL = f"gitops-flow @ https://files.lan/gitops_flow-1.0-py3-none-any.whl#sha256={DIGEST}"
GOOD = [
    "gitops-flow==1.0",
    "gitops_flow == 1.0.post1+local",
    "gitops-flow===1.0",
    WHEEL,
    f"gitops-flow@file:///opt/gitops_flow.whl#egg=x&sha256={DIGEST}",
    f"gitops-flow @ git+https://git.lan/gitops-flow.git@{COMMIT}",
    f"gitops-flow @ git+ssh://git@git.lan/gitops-flow.git@{COMMIT}",
]
BAD = [
    "gitops-flow",
    "gitops-flow>=1.0",
    "gitops-flow~=1.0",
    "gitops-flow==1.*",
    "gitops-flow==1.0,>=0.5",
    "gitops-flow==1.0; python_version > '3'",
    "gitops-flow[controller]==1.0",
    "gitops-flow-extra==1.0",
    "other==1.0",
    "gitops-flow @ https://files.lan/gitops_flow.whl",
    f"gitops-flow @ https://files.lan/gitops_flow.whl#sha256={DIGEST[:-1]}",
    f"gitops-flow @ https://files.lan/gitops_flow.whl#md5={'0' * 32}",
    "gitops-flow @ git+https://git.lan/gitops-flow.git@main",
    f"gitops-flow @ git+https://git.lan/gitops-flow.git@{COMMIT[:12]}",
    f"gitops-flow==1.0\n--index-url=https://evil.lan {WHEEL}",
    "",
]


def parsed(requirement: str) -> str | None:
    text = f"gitflow: {{requires: {requirement!r}}}\ndeployments: []\n"
    return manifest.parse(text.encode(), "p.yaml").gitflow.requires


@pytest.mark.parametrize("requirement", GOOD)
def test_a_requirement_of_one_content_or_version_is_taken(requirement: str) -> None:
    assert parsed(requirement) == requirement


@pytest.mark.parametrize("requirement", BAD)
def test_a_requirement_that_leaves_open_what_is_installed_is_refused(requirement: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parsed(requirement)
    assert "exact version or a hash" in str(caught.value)


def test_a_requirement_with_a_password_is_refused() -> None:
    with pytest.raises(ManifestError, match="problem") as caught:
        parsed(f"gitops-flow @ git+https://me:{'pass' + 'word'}@git.lan/x.git@{COMMIT}")
    assert "holds a user name or password" in str(caught.value)


@pytest.mark.parametrize("required", ["gitops-flow", "Gitops_Flow>=1", "[x==1, gitops-flow]"])
def test_a_step_that_would_install_whatever_has_our_name_is_told(required: str) -> None:
    step = f"{PULL_CODE}: {{requires: {required}, commit: {COMMIT}}}"
    [problem] = manifest.parse(f"pull: [{step}]\n".encode(), "p.yaml").problems
    assert "whatever the index has" in problem.message
    assert str(problem.where).startswith("p.yaml:1:")
    assert problem.severity == "warning"


@pytest.mark.parametrize("required", ["gitops-flow==1.0", "gitops-flow-extra", "prefect-aws"])
def test_a_step_that_requires_one_content_or_another_package_is_not_told(required: str) -> None:
    text = f"pull: [{{{PULL_CODE}: {{requires: {required}, commit: {COMMIT}}}}}]\n"
    assert manifest.parse(text.encode(), "p.yaml").problems == ()


def test_a_pull_step_requires_nothing_unless_it_is_asked_for() -> None:
    assert "requires" not in Pin(("/r",), COMMIT).step()[PULL_CODE]
    assert Pin(("/r",), COMMIT, requires=WHEEL).step()[PULL_CODE]["requires"] == WHEEL
    assert Pin.of([Pin(("/r",), COMMIT, requires=WHEEL).step()]) == Pin(
        ("/r",), COMMIT, requires=WHEEL
    )


OLD = {PULL_CODE: {"requires": "gitops-flow", "repository": "/r", "commit": COMMIT, "source": None}}


def test_an_older_pin_is_read_and_differs_so_that_it_is_written_once() -> None:
    new = Pin(("/r",), COMMIT).step()
    assert Pin.of([OLD]) is not None
    assert pin.comparable([OLD]) != pin.comparable([new])
    assert pin.comparable([new]) == pin.comparable([Pin(("/r",), COMMIT).step()])


def test_a_rollback_of_the_code_alone_does_not_write_the_bare_name_again() -> None:
    (step,) = pin.repin([OLD], Pin(("/r",), "b" * 40))
    assert step == {PULL_CODE: {"repository": "/r", "commit": "b" * 40, "source": None}}
    kept = {PULL_CODE: {**OLD[PULL_CODE], "requires": WHEEL}}
    (step,) = pin.repin([kept], Pin(("/r",), "b" * 40))
    assert step[PULL_CODE]["requires"] == WHEEL


def test_a_python_without_the_package_is_found(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "v"], check=True)
    bare = str(tmp_path / "v/bin/python")
    assert not has_package(bare, "gitops_flow", {})
    assert has_package(sys.executable, "gitops_flow", {})


@pytest.mark.parametrize(
    ("made", "status"),
    [
        (Pin(("/r",), COMMIT), "broken"),
        (Pin(("/r",), COMMIT, requires=WHEEL), "ok"),
        (Pin(("/r",), COMMIT, stock=True), "ok"),
        (None, "ok"),
    ],
    ids=["ours", "installed by Prefect", "stock", "not pinned"],
)
def test_verify_says_what_to_install_where_a_worker_could_not_pull(
    made: Pin | None, status: str
) -> None:
    item = Deployment("f", "a", None)
    found = verify.without_package(Finding("f/a", "ok"), (item, made), Python("/usr/bin/py", {}))
    assert found.status == status
    if found.error:
        assert "/usr/bin/py has no module 'gitops_flow'" in found.error.message
        assert "docs/workers.md" in str(found.error.hint)


@pytest.mark.real
def test_prefect_installs_nothing_on_a_worker_without_the_package_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # nobody is asked
    step = Pin(("/r",), COMMIT).step()
    code = (
        "import asyncio, os, subprocess, sys\n"
        "from prefect.deployments.steps.core import run_step\n"
        "class Absent:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] == 'gitops_flow':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}')\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"def spawned(*_, **__): open({str(tmp_path / 'installed')!r}, 'w')\n"
        "subprocess.run = subprocess.Popen = spawned\n"
        f"asyncio.run(run_step({step!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No module named 'gitops_flow" in done.stderr
    assert not (tmp_path / "installed").exists()
