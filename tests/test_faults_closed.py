"""A code store on this machine that the worker's user may not read."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops_flow import files
from gitops_flow.deploy.run import reach
from tests.support.repo import Repo

NOBODY = 65534


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory that everybody may enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="closed-") as made:
        path = Path(made)
        path.chmod(0o755)
        yield path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as another user")
@pytest.mark.parametrize("scheme", ["", "file://"], ids=["path", "URL"])
@pytest.mark.parametrize("closed", ["home", "home/store.git", "home/store.git/objects"])
def test_a_worker_of_another_user_names_the_directory_that_is_closed(
    base: Path, scheme: str, closed: str
) -> None:
    repo = Repo(base / "home/store.git").write("flow.py", "x")
    commit = repo.commit()
    if closed.endswith("objects"):
        (repo.path / ".git").rename(base / "home/bare")
        subprocess.run(["rm", "-r", str(repo.path)], check=True)
        (base / "home/bare").rename(repo.path)
    (base / closed).chmod(0o750)
    here = base / "worker"
    here.mkdir()
    os.chown(here, NOBODY, NOBODY)
    # Python itself may be closed to that user: what is needed is loaded before.
    code = (
        "import os\n"
        "from gitops_flow.steps import pull_code\n"
        f"pull_code({scheme + str(repo.path)!r}, {commit!r})\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        f"pull_code({scheme + str(repo.path)!r}, {commit!r})"
    )
    environ = {**os.environ, "HOME": str(here), "GITFLOW_PULL_CACHE": "off"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=here,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"this user may not enter {base / closed}" in done.stderr
    assert "cannot write" not in done.stderr


def test_the_first_deploy_to_a_directory_that_is_closed_to_others_warns(base: Path) -> None:
    store = base / "home/store.git"
    store.mkdir(parents=True)
    store.parent.chmod(0o755)
    store.chmod(0o755)
    assert reach(str(store), True) == ()
    store.parent.chmod(0o750)
    (warning,) = reach(store.as_uri(), True)
    assert str(store.parent) in warning.message
    assert reach(str(store), False) == ()
    assert reach("https://git.lan/store.git", True) == ()


def test_what_is_closed_is_found_from_the_top(base: Path) -> None:
    below = base / "a/b"
    below.mkdir(parents=True)
    for each in (base / "a", below):
        each.chmod(0o755)
    assert files.closed_to_others(below) is None
    below.chmod(0o700)
    assert files.closed_to_others(below / "none") == below
    (base / "a").chmod(0o700)
    assert files.closed_to_others(below) == base / "a"
    assert files.closed_to_us(base / "none") is None
