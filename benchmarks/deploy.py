"""``gitflow deploy --all`` against ``prefect deploy --all``: 100 deployments, one real server.

The floors are measured beside them: the server's own listing of 100 deployments, and 100 bare
``POST /deployments/`` of the same bodies, one after the other.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx
from support import BIN, command, compare, isolate, seconds

from gitops_flow import localprefect

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


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        isolate(base)
        with localprefect.start_server(base / "server") as server:
            measure(base, server.api_url)


def measure(base: Path, api_url: str) -> None:
    api = {"PREFECT_API_URL": api_url}
    client = httpx.Client(base_url=api_url, timeout=60)
    command(BIN / "prefect", "work-pool", "create", "bench", "--type", "process", **api)

    def gitflow(path: Path) -> dict[str, object]:
        return json.loads(command(BIN / "gitflow", "deploy", "--all", "--json", cwd=path, **api))

    def prefect(path: Path) -> None:
        command(BIN / "prefect", "--no-prompt", "deploy", "--all", cwd=path, **api)

    # Twice in turns: the server gets slower with what it has to schedule.
    first, posts = [], []
    for name in ("one", "two"):
        path = project(base / name, name)
        first.append(seconds(lambda path=path: gitflow(path)))
        created = bodies(client, name, f"bare-{name}")
        posts.append(seconds(lambda created=created: [post(client, body) for body in created]))
    ours = base / "two"
    time.sleep(SETTLE)
    if any(item["status"] != "unchanged" for item in gitflow(ours)["deployments"]):
        sys.exit("the second deploy changed something")
    again = median(seconds(lambda: gitflow(ours)) for _ in range(5))
    query = {"deployments": {"name": {"like_": "two-"}}, "limit": 200}
    listing = median(
        seconds(lambda: client.post("/deployments/filter", json=query).raise_for_status())
        for _ in range(5)
    )
    theirs = project(base / "theirs", "theirs")
    their_first = seconds(lambda: prefect(theirs))
    time.sleep(SETTLE)
    their_again = seconds(lambda: prefect(theirs))
    work = f"deploy --all, {COUNT} deployments"
    compare(f"{work}, first time", sum(first) / 2, their_first, "prefect  ")
    compare(f"{work}, first time", sum(first) / 2, sum(posts) / 2, "bare POST")
    compare(f"{work}, nothing changed", again, their_again, "prefect  ")
    compare(f"{work}, nothing changed", again, listing, "listing  ")


if __name__ == "__main__":
    main()
