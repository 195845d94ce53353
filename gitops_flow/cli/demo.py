"""``gitflow demo``: the main job on one machine, with nothing made up.

A repository with uncommitted work, a code store, a Prefect server and a worker,
all in one temporary directory; the worker's run is the proof.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, TextIO

from gitops_flow.cli import demoproject
from gitops_flow.cli.demostage import Starter, ended_by_signals, workspace
from gitops_flow.cli.progress import Progress
from gitops_flow.errors import ApiError, GitflowError
from gitops_flow.local import call
from gitops_flow.pin import Pin

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_flow import local
    from gitops_flow.model import Json

_RUN_LIMIT = 90.0
_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def run(keep: bool, out: TextIO) -> int:
    """Run the demo, telling ``out`` what happens; return the exit code.

    Everything it started is ended and its directory removed when it returns or
    raises, also on Ctrl-C (KeyboardInterrupt goes on to the caller) and SIGTERM.

    Args:
        keep: leave server and worker running until Ctrl-C once the run is done.
        out: a terminal gets live lines.

    Raises:
        GitflowError: something failed; the message ends with the log's last lines.
    """
    begun = time.monotonic()
    with (
        Progress(out) as progress,
        ended_by_signals(),
        workspace() as base,
        Starter(base) as starter,
    ):
        progress.text(f"Everything happens in {base}, which is removed at the end.\n")
        starting = starter.start_server()
        project = demoproject.make(base / "project")
        progress.line("project", "hello.py is committed, then edited without a commit;")
        progress.line("", "wording.py is new, imported by hello.py and not even added")
        server = progress.wait_for("server", "starting Prefect on SQLite, about 20 s", starting)
        progress.line("server", f"ready at {server.ui_url} after {time.monotonic() - begun:.0f} s")
        env = _environment(base, server.api_url)
        # The worker comes up while the deploy runs.
        call(server.api_url, "POST", "/work_pools/", {"name": demoproject.POOL, "type": "process"})
        coming = starter.start_worker(server, env)
        pin = _deploy(project, server, env, progress)
        run_id = _create_run(server.api_url)
        worker = progress.wait_for("worker", "starting a process worker", coming)
        progress.line("worker", f"{worker.name} is online")
        printed = _wait_for_run(server, worker, run_id, progress, project)
        _show_proof(project, pin, printed, progress)
        progress.text(f"\nThat took {time.monotonic() - begun:.0f} s.")
        if keep:
            _stay(project, server, worker, env, progress)
        else:
            progress.text(
                f"Prefect's UI was at {server.ui_url}; `gitflow demo --keep` leaves it running."
            )
    return 0


def _environment(base: Path, api_url: str) -> dict[str, str]:
    """Variables that keep what the demo's commands store inside its directory."""
    return {
        "PREFECT_API_URL": api_url,
        "PREFECT_HOME": str(base / "prefect"),
        "GITFLOW_DATA_DIR": str(base / "data"),
        "GITFLOW_CACHE_DIR": str(base / "cache"),
        "TMPDIR": str(base / "tmp"),
    }


def _deploy(
    project: demoproject.Project,
    server: local.Server,
    env: dict[str, str],
    progress: Progress,
) -> str:
    """Run ``gitflow deploy --all`` as anyone would; the pin that the server then has."""
    progress.text("\n$ gitflow deploy --all")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "GITFLOW_"))}
    done = subprocess.run(
        [sys.executable, "-m", "gitops_flow", "deploy", "--all"],
        cwd=project.root,
        env={**inherited, **env},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    progress.text(textwrap.indent(done.stdout.rstrip(), "  ") + "\n")
    if done.returncode:
        raise GitflowError(f"the deploy ended with status {done.returncode}")
    deployment = call(server.api_url, "GET", "/deployments/name/hello/demo")
    if pinned := Pin.of(deployment["pull_steps"]):
        return pinned.commit
    raise GitflowError("the deployment on the server has no pinned commit")


def _create_run(api_url: str) -> str:
    deployment = call(api_url, "GET", "/deployments/name/hello/demo")
    created = call(api_url, "POST", f"/deployments/{deployment['id']}/create_flow_run", {})
    return str(created["id"])


def _wait_for_run(
    server: local.Server,
    worker: local.Worker,
    run_id: str,
    progress: Progress,
    project: demoproject.Project,
) -> list[str]:
    """Wait until the run ended; the lines that it printed."""
    deadline = time.monotonic() + _RUN_LIMIT

    def ended() -> Json | None:
        if time.monotonic() > deadline:
            raise GitflowError(
                f"the run did not end within {_RUN_LIMIT:g} s; the worker's last lines:\n"
                f"{worker.child.log_tail()}"
            )
        if worker.child.exit_status is not None:
            raise GitflowError(f"the worker ended; its last lines:\n{worker.child.log_tail()}")
        with contextlib.suppress(ApiError):
            found = call(server.api_url, "GET", f"/flow_runs/{run_id}")
            return found if found["state_type"] in _FINAL else None
        return None

    found, _ = progress.poll("run", "waiting for the worker to run it", ended)
    if found["state_type"] != "COMPLETED":
        raise GitflowError(
            f"the run ended as {found['state_name']}; the worker's last lines:\n"
            f"{worker.child.log_tail(60)}"
        )
    progress.line("run", f"{found['name']} completed; it printed:\n")
    lines = _printed(server.api_url, run_id, project.phrase)
    for line in lines:
        progress.text(f"  | {line}")
    return lines


def _printed(api_url: str, run_id: str, expected: str) -> list[str]:
    """What the flow printed. A run's log may reach the server a little after its end."""
    query = {
        "logs": {"flow_run_id": {"any_": [run_id]}},
        "sort": "TIMESTAMP_ASC",
        "limit": 200,
        "offset": 0,
    }
    for _ in range(100):
        logs = call(api_url, "POST", "/logs/filter", query)
        messages = [str(entry["message"]) for entry in logs]
        if any(expected in message for message in messages):
            first = next(n for n, text in enumerate(messages) if text.startswith("Hello, "))
            last = max(n for n, text in enumerate(messages) if expected in text)
            return messages[first : last + 1]
        time.sleep(0.1)
    raise GitflowError(
        "the run's log does not have the uncommitted line; it has:\n" + "\n".join(messages)
    )


def _show_proof(
    project: demoproject.Project, pin: str, printed: list[str], progress: Progress
) -> None:
    head, status = demoproject.prove(project, printed)
    progress.text()
    progress.line("snapshot", f"{pin}, pinned by the deployment")
    progress.line("HEAD", f"{head}, which does not have this line of hello.py:")
    progress.line("", project.edit)
    progress.text("\n$ git status --short\n" + textwrap.indent(status, "  "))
    progress.text("\nThe worker ran the code as it is on disk, not as it was committed.")


def _stay(
    project: demoproject.Project,
    server: local.Server,
    worker: local.Worker,
    env: dict[str, str],
    progress: Progress,
) -> None:
    """Keep server and worker until Ctrl-C, or until one of them ends."""
    progress.text(f"\nPrefect's UI: {server.ui_url}")
    progress.text("To edit, deploy and run it again, in another terminal:\n")
    for name, value in env.items():
        if name != "TMPDIR":
            progress.text(f"  export {name}={value}")
    progress.text(f"  cd {project.root}\n  gitflow deploy --all")
    with contextlib.suppress(KeyboardInterrupt):
        # In here, because somebody may press it the moment they read it.
        progress.text("  prefect deployment run hello/demo --watch\n\nCtrl-C ends it all.")
        while True:
            time.sleep(0.5)
            for child in (server.child, worker.child):
                if child.exit_status is not None:
                    raise GitflowError(
                        f"the Prefect {child.name} ended; its last lines:\n{child.log_tail()}"
                    )
    progress.text("\nEnding server and worker.")
