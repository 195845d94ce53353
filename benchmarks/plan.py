"""Resolving and planning: what our own code takes for 1,000 deployments of one manifest.

Filling the manifest in and comparing it with the server's deployments: a second deploy with no
change, with every deployment changed, and a first one. What flows say is known, and the server's
listing is made from what is desired. Reading the YAML is a figure of its own.
"""

from __future__ import annotations

import gc
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow import manifest, plan
from gitops_flow.cli import for_one_command
from gitops_flow.model import Deployment, FlowInfo, Json
from gitops_flow.pin import PULL_CODE
from gitops_flow.prefect import shape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIZES = (250, 500, 1000, 2000)
ROUNDS = 5
MARK = "gitflow:bench-0123abcd"
STEP: dict[str, Json] = {PULL_CODE: {"repository": "https://git.example/r.git", "commit": "a" * 40}}
SCHEMA = {
    "title": "Parameters",
    "type": "object",
    "properties": {
        name: {"title": name, "type": "string", "default": "x", "position": at}
        for at, name in enumerate("abcdefgh")
    },
}


def text(count: int) -> str:
    """A manifest in which every deployment sets what real ones set."""
    lines = ["name: bench", "pull: null", "deployments:"]
    for number in range(count):
        lines += [
            f"  - name: deployment-{number}",
            f"    entrypoint: flows/flow_{number % 100}.py:main",
            f"    description: number {number}, by {{{{ $BENCH_WHO }}}}",
            f"    tags: [team-{number % 7}, nightly]",
            "    parameters:",
            f"      a: value-{number}",
            "      b: '{{ $BENCH_WHO }}'",
            "      c: [1, 2, {deep: true}]",
            "    work_pool:",
            f"      name: pool-{number % 3}",
            "      work_queue_name: default",
            "      job_variables: {env: {LEVEL: info, TOKEN: '{{ prefect.blocks.secret.t }}'}}",
            "    concurrency_limit: {limit: 3, collision_strategy: ENQUEUE}",
            "    schedules:",
            f"      - {{cron: '{number % 60} 3 * * *', timezone: Europe/Berlin, slug: night}}",
            "      - {interval: 3600, anchor_date: '2024-01-01T00:00:00Z', slug: hourly}",
        ]
    return "\n".join(lines) + "\n"


def desire(document: manifest.Manifest, flows: dict[str, FlowInfo]) -> list[Deployment]:
    """What a manifest asks for."""
    desired, problems = manifest.resolve(
        document,
        mark=MARK,
        pull_step=STEP,
        default_version="0123abcd",
        flows=flows,
        environ={"BENCH_WHO": "somebody"},
        default_work_pool=None,
    )
    if problems:
        raise SystemExit("\n".join(map(str, problems[:5])))
    return desired


def live(desired: Sequence[Deployment]) -> list[Deployment]:
    """What the server would answer after an apply, as our client reads it."""
    return [
        shape.deployment({**_answer(item), "id": f"d{number}", "flow_id": "f"}, item.flow_name)
        for number, item in enumerate(desired)
    ]


def _answer(item: Deployment) -> dict[str, Json]:
    body: dict[str, Json] = json.loads(json.dumps(shape.new_deployment(item, "f")))
    limit = {"limit": body["concurrency_limit"], "name": "deployment:d"}
    schedules = [{**one, "id": f"s{at}"} for at, one in enumerate(body["schedules"])]
    return {**body, "global_concurrency_limit": limit, "schedules": schedules}


def once(
    document: manifest.Manifest, flows: dict[str, FlowInfo], server: Sequence[Deployment]
) -> plan.Plan:
    """What is measured."""
    return plan.make(desire(document, flows), server, source_mark=MARK, adopt=False)


def busy(work: Callable[[], object]) -> float:
    """The processor's seconds for ``work``, which waits for nothing: other programs don't count."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(directory: Path, count: int) -> dict[str, float]:
    """The median seconds of each part, for ``count`` deployments."""
    path = directory / f"{count}.yaml"
    path.write_text(text(count))
    document = manifest.load(path, path.name)
    flows = {
        f"flows/flow_{number}.py:main": FlowInfo(f"flow-{number}", "Does it.", None, SCHEMA)
        for number in range(100)
    }
    there = live(desire(document, flows))
    moved = live(desire(document, flows | {name: _edited(flow) for name, flow in flows.items()}))
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        gc.collect()
        taken.setdefault("reading the YAML", []).append(
            busy(lambda: manifest.load(path, path.name))
        )
        for name, server in (
            ("resolve and plan, unchanged", there),
            ("resolve and plan, all changed", moved),
            ("resolve and plan, all new", []),
        ):
            gc.collect()
            taken.setdefault(name, []).append(
                busy(lambda server=server: once(document, flows, server))  # type: ignore[misc]
            )
    made = once(document, flows, there)
    if made.writes:
        raise SystemExit(f"{len(made.writes)} of {count} differ right after an apply")
    return {name: statistics.median(times) for name, times in taken.items()}


def _edited(flow: FlowInfo) -> FlowInfo:
    return FlowInfo(flow.name, "Did something else.", None, {**SCHEMA, "required": ["a"]})


def main() -> None:
    for_one_command()
    with tempfile.TemporaryDirectory() as directory:
        before: dict[str, float] = {}
        for count in SIZES:
            taken = measure(Path(directory), count)
            for name, value in taken.items():
                growth = f"   {value / before[name]:5.2f} x for twice as many" if before else ""
                print(
                    f"{count:>5} deployments, {name:<30} {value * 1000:9.1f} ms{growth}",
                    flush=True,
                )
            before = taken


if __name__ == "__main__":
    main()
