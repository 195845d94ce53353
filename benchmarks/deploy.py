"""``gitflow deploy --all`` against ``prefect deploy --all``: 100 deployments, one real server.

The floors are measured beside them: the server's own listing of 100 deployments, and 100 bare
``POST /deployments/`` of the same bodies, one after the other. New code for all of them is measured
with a commit in each deployment, and with one write of the release pointer.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import httpx
from support import BIN, command, compare, in_turns, isolate, seconds

from gitops_flow import local

COUNT = 100
SETTLE = 30  # seconds in which the server makes the runs of new schedules, and little else
FLOW = """\
from prefect import flow


@flow(log_prints=True)
def hello(who: str = "world", times: int = 3):
    print(who * times)
"""


def project(path: Path, name: str) -> Path:
    """A repository with one flow and 100 deployments, each with a schedule."""
    path.mkdir()
    command("git", "init", "-q", cwd=path)
    lines = [f"name: {name}", "pull: null", "deployments:"]
    for number in range(COUNT):
        lines += [
            f"  - name: {name}-{number}",
            "    entrypoint: flow.py:hello",
            "    parameters: {times: 2}",
            "    work_pool: {name: bench}",
            "    schedules:",
            f'      - cron: "{number % 60} 3 * * *"',
        ]
    (path / "prefect.yaml").write_text("\n".join(lines) + "\n")
    (path / "flow.py").write_text(FLOW)
    command("git", "add", "-A", cwd=path)
    command("git", "commit", "-qm", "all", cwd=path)
    return path


def bodies(client: httpx.Client, name: str, copy: str) -> list[dict[str, object]]:
    """The deployments of project ``name``, as the bodies that would create them once more."""
    keys = [
        "flow_id",
        "entrypoint",
        "parameters",
        "parameter_openapi_schema",
        "pull_steps",
        "work_pool_name",
        "enforce_parameter_schema",
        "tags",
        "version",
        "path",
    ]
    query = {"deployments": {"name": {"like_": f"{name}-"}}, "limit": 200}
    found = client.post("/deployments/filter", json=query).raise_for_status().json()
    made = []
    for number, item in enumerate(found):
        body = {key: item[key] for key in keys}
        schedules = [{"schedule": s["schedule"], "active": True} for s in item["schedules"]]
        made.append({**body, "name": f"{copy}-{number}", "schedules": schedules})
    return made


def post(client: httpx.Client, body: dict[str, object]) -> None:
    """One bare POST, sent again while SQLite is busy, which any client has to do."""
    while (answer := client.post("/deployments/", json=body)).status_code == 503:
        time.sleep(0.05)
    answer.raise_for_status()


def gitflow(path: Path, api_url: str, *more: str) -> dict[str, object]:
    """``gitflow deploy --all``; its report."""
    args = (BIN / "gitflow", "deploy", "--all", "--create-pools", "--json", *more)
    return json.loads(command(*args, cwd=path, PREFECT_API_URL=api_url))


def ours(base: Path) -> tuple[float, float, float, float]:
    """Seconds of the first deploy, of 100 bare POSTs, of a deploy without change, of a listing."""
    with local.start_server(base / "server-ours", environ=os.environ) as server:
        client = httpx.Client(base_url=server.api_url, timeout=60)
        path = project(base / "one", "one")
        first = seconds(lambda: gitflow(path, server.api_url))
        time.sleep(SETTLE)
        if any(
            item["status"] != "unchanged" for item in gitflow(path, server.api_url)["deployments"]
        ):
            sys.exit("the second deploy changed something")
        query = {"deployments": {"name": {"like_": "one-"}}, "limit": 200}
        again, listing = in_turns(
            lambda: gitflow(path, server.api_url),
            lambda: client.post("/deployments/filter", json=query).raise_for_status(),
            rounds=5,
        )
        created = bodies(client, "one", "bare")
    # On a server of their own, as the first deploy was: it gets slower with what it has.
    with local.start_server(base / "server-bare", environ=os.environ) as server:
        client = httpx.Client(base_url=server.api_url, timeout=60)
        gitflow(single(base / "pool"), server.api_url)
        flow = client.post("/flows/", json={"name": "hello"}).raise_for_status().json()["id"]
        bare = seconds(lambda: [post(client, {**body, "flow_id": flow}) for body in created])
    return first, bare, again, listing


def switches(base: Path) -> tuple[float, float]:
    """Seconds of a deploy of new code, one write for each deployment, and by the release pointer."""
    found = []
    for mode in ("--no-atomic", "--atomic"):
        with local.start_server(base / f"server{mode}", environ=os.environ) as server:
            path = project(base / f"switch{mode}", "switch")
            gitflow(path, server.api_url, mode)
            time.sleep(SETTLE)
            (path / "flow.py").write_text(FLOW + "\n# edited\n")
            found.append(seconds(lambda: gitflow(path, server.api_url, mode)))  # noqa: B023
    return found[0], found[1]


def prefects(base: Path) -> tuple[float, float]:
    """Seconds of Prefect's first deploy and of the one after it."""
    with local.start_server(base / "server-prefect", environ=os.environ) as server:
        api = {"PREFECT_API_URL": server.api_url}
        args = (BIN / "prefect", "--no-prompt", "deploy", "--all")
        command(BIN / "prefect", "work-pool", "create", "bench", "--type", "process", **api)
        path = project(base / "theirs", "theirs")
        first = seconds(lambda: command(*args, cwd=path, **api))
        time.sleep(SETTLE)
        return first, seconds(lambda: command(*args, cwd=path, **api))


def single(path: Path) -> Path:
    """A project of one deployment, which brings the work pool into being."""
    project(path, "pool")
    text = (path / "prefect.yaml").read_text().splitlines()
    (path / "prefect.yaml").write_text("\n".join(text[:9]) + "\n")
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        isolate(base)
        first, bare, again, listing = ours(base)
        literal, pointer = switches(base)
        their_first, their_again = prefects(base)
    work = f"deploy --all, {COUNT} deployments"
    compare(f"{work}, first time", first, their_first, "prefect  ")
    compare(f"{work}, first time", first, bare, "bare POST")
    compare(f"{work}, nothing changed", again, their_again, "prefect  ")
    compare(f"{work}, nothing changed", again, listing, "listing  ")
    compare(f"{work}, one file changed, by the pointer", pointer, literal, "literal  ")
    compare(f"{work}, one file changed, by the pointer", pointer, their_again, "prefect  ")


if __name__ == "__main__":
    main()
