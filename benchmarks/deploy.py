"""``gitflow deploy --all`` against ``prefect deploy --all``: 100 deployments, one real server.

The floors are measured beside them: the server's own listing of 100 deployments, and 100 bare
``POST /deployments/`` of the same bodies, one after the other.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import httpx
from support import BIN, command, compare, isolate, seconds

from gitops_flow import localprefect

COUNT = 100
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


def bodies(client: httpx.Client, name: str) -> list[dict[str, object]]:
    """What is there, as the bodies that would create it once more under other names."""
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
    found = client.post("/deployments/filter", json={"limit": 200}).raise_for_status().json()
    made = []
    for number, item in enumerate(d for d in found if d["name"].startswith("ours-")):
        body = {key: item[key] for key in keys}
        schedules = [{"schedule": s["schedule"], "active": True} for s in item["schedules"]]
        made.append({**body, "name": f"{name}-{number}", "schedules": schedules})
    return made


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        isolate(base)
        with localprefect.start_server(base / "server") as server:
            measure(base, server.api_url)


def measure(base: Path, api_url: str) -> None:
    api = {"PREFECT_API_URL": api_url}
    ours = project(base / "ours", "ours")
    theirs = project(base / "theirs", "theirs")
    client = httpx.Client(base_url=api_url, timeout=60)
    command(BIN / "prefect", "work-pool", "create", "bench", "--type", "process", **api)
    command(BIN / "gitflow", "--version")

    def gitflow() -> dict[str, object]:
        return json.loads(command(BIN / "gitflow", "deploy", "--all", "--json", cwd=ours, **api))

    def prefect() -> None:
        command(BIN / "prefect", "--no-prompt", "deploy", "--all", cwd=theirs, **api)

    first = seconds(gitflow)
    again = sorted(seconds(gitflow) for _ in range(5))[2]
    if any(item["status"] != "unchanged" for item in gitflow()["deployments"]):
        sys.exit("the second deploy changed something")
    mark = {"deployments": {"name": {"like_": "ours-"}}, "limit": 200}
    listing = sorted(
        seconds(lambda: client.post("/deployments/filter", json=mark).raise_for_status())
        for _ in range(5)
    )[2]
    created = bodies(client, "bare")

    def bare() -> None:
        for body in created:
            client.post("/deployments/", json=body).raise_for_status()

    posts = seconds(bare)
    their_first = seconds(prefect)
    their_again = seconds(prefect)
    compare(f"deploy --all, {COUNT} deployments, first time", first, their_first, "prefect  ")
    compare(f"deploy --all, {COUNT} deployments, first time", first, posts, "bare POST")
    compare(f"deploy --all, {COUNT} deployments, nothing changed", again, their_again, "prefect  ")
    compare(f"deploy --all, {COUNT} deployments, nothing changed", again, listing, "listing  ")


if __name__ == "__main__":
    main()
