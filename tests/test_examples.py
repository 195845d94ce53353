from __future__ import annotations

import ast
import importlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.repo import Repo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gitops_flow import local
    from tests.support.prefect import SharedServer

EXAMPLES = Path(__file__).parent.parent / "examples"
DEPLOYMENTS = yaml.safe_load((EXAMPLES / "prefect.yaml").read_text())["deployments"]


@pytest.fixture
def flows(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import a module of the examples as Prefect does, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "flows"))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if Path(file).parent == EXAMPLES / "flows":
            del sys.modules[name]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda entry: entry["name"])
def test_every_entrypoint_names_a_flow_that_is_there(deployment: dict[str, Any]) -> None:
    file, _, function = deployment["entrypoint"].partition(":")
    module = ast.parse((EXAMPLES / file).read_text())
    (found,) = [
        node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    taken = {argument.arg for argument in found.args.args}
    assert set(deployment["parameters"]) <= taken


def test_totals_are_per_day_and_customer(flows: Callable[[str], Any]) -> None:
    shop = flows("shop")
    rows = [
        {"day": "2025-03-03", "customer": "Ada", "amount": "0.1"},
        {"day": "2025-03-03", "customer": "ada ", "amount": "0.2"},
        {"day": "2025-03-04", "customer": "Ada", "amount": "1"},
    ]
    found = shop.totals([shop.Order.read(row) for row in rows])
    assert found == [("2025-03-03", "ada", 0.3), ("2025-03-04", "ada", 1.0)]


@pytest.mark.real
def test_retention_deletes_only_when_it_is_told_to(
    flows: Callable[[str], Any], tmp_path: Path
) -> None:
    retention = flows("retention").retention.fn
    for name in ("old.csv", "new.csv", "old.txt"):
        (tmp_path / name).touch()
    long_ago = time.time() - 30 * 86_400
    for name in ("old.csv", "old.txt"):
        os.utime(tmp_path / name, (long_ago, long_ago))
    assert retention(str(tmp_path)) == [str(tmp_path / "old.csv")]
    assert (tmp_path / "old.csv").exists()
    retention(str(tmp_path), dry_run=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "old.txt"]


@pytest.mark.real
def test_the_examples_deploy_and_run(
    prefect_server: SharedServer,
    own_worker: Callable[..., local.Worker],
    prefect_api_url: str,
    tmp_path: Path,
) -> None:
    own_worker("local")
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    repo = Repo(tmp_path / "examples")
    repo.commit("examples")
    repo.write("data/orders.csv", "day,customer,amount\n2025-01-01,Ada,2\n2025-01-02,Ada,3\n")
    deployed = subprocess.run(
        [sys.executable, "-m", "gitops_flow", "deploy", "--all"],
        cwd=repo.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert deployed.returncode == 0, deployed.stderr

    deployment = prefect_server.call("GET", "/deployments/name/orders/backfill")
    database = str(tmp_path / "totals.db")
    run = prefect_server.call(
        "POST",
        f"/deployments/{deployment['id']}/create_flow_run",
        {"parameters": {"minimum_amount": 0, "database": database}},
    )
    deadline = time.monotonic() + 90
    while run["state_type"] not in ("COMPLETED", "FAILED", "CRASHED"):
        assert time.monotonic() < deadline, run
        time.sleep(0.3)
        run = prefect_server.call("GET", f"/flow_runs/{run['id']}")
    assert run["state_type"] == "COMPLETED", run["state"]["message"]

    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT * FROM totals ORDER BY day").fetchall()
    assert rows == [("2025-01-01", "ada", 2.0), ("2025-01-02", "ada", 3.0)]
