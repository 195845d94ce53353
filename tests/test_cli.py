"""The command as a shell sees it: exit codes, and what is on each of its streams."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MANIFEST = """
deployments:
  - {name: d, entrypoint: "flow.py:f", work_pool: {name: p}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    (tmp_path / "prefect.yaml").write_text(MANIFEST)
    return tmp_path


def gitflow(
    cwd: Path, line: str, **environment: str
) -> subprocess.CompletedProcess[str]:  # the shell redirects, as users do
    program = f"{shlex.quote(sys.executable)} -m gitops_flow"
    return subprocess.run(
        ["bash", "-c", line.replace("gitflow", program, 1)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def document(answer: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.stdout)
    assert found["ok"] is False
    error: dict[str, Any] = found["error"]
    return error


@pytest.mark.parametrize(
    "streams", [">&-", ">&- 2>&-", "<&- >&- 2>&-", "--json >&-", "2>/dev/full", "--json >/dev/full"]
)
def test_streams_that_are_closed_or_full_do_not_change_the_exit_code(
    project: Path, streams: str
) -> None:
    answer = gitflow(project, f"gitflow deploy nope {streams}")
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr


def test_an_error_that_does_not_fit_on_standard_output_is_told_on_standard_error(
    project: Path,
) -> None:
    answer = gitflow(project, "gitflow deploy nope --json >/dev/full")
    assert "no deployment of the manifest is called 'nope'" in answer.stderr


def test_version_is_told_to_nobody_without_a_traceback(project: Path) -> None:
    answer = gitflow(project, "gitflow --version >&-")
    assert (answer.returncode, answer.stderr) == (0, "")


def test_an_encoding_without_the_character_does_not_stop_a_message(project: Path) -> None:
    answer = gitflow(project, "gitflow deploy nö", PYTHONIOENCODING="ascii", PYTHONUTF8="1")
    assert answer.returncode == 2
    assert "called 'n\\xf6'" in answer.stderr


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("gitflow deploy --json nope", 2, "no deployment of the manifest is called 'nope'"),
        ("gitflow deploy --json --wrong", 2, "No such option: --wrong"),
        ("gitflow deploy --json --file no.yaml", 2, "there is no such manifest"),
        ("gitflow deploy --json --max-file-size big", 2, "--max-file-size: 'big' is not a size"),
        ("gitflow history --json --remote nope", 2, "'nope' is not a remote of this repository"),
        ("gitflow history --json --branch a..b", 2, "'a..b' is not a valid branch name"),
        ("gitflow verify --json --python /nope", 2, "--python: there is no program '/nope'"),
    ],
)
def test_json_says_what_is_wrong(project: Path, line: str, code: int, message: str) -> None:
    answer = gitflow(project, line)
    assert answer.returncode == code
    assert message in document(answer)["message"]


def test_markdown_says_what_is_wrong_where_a_comment_is_made_of_it(project: Path) -> None:
    (project / "prefect.yaml").write_text("deployments: [{name: d}]\n")
    answer = gitflow(project, "gitflow plan --markdown")
    assert answer.returncode == 1
    assert answer.stdout.startswith("### gitflow plan: failed\n\n`")
    assert "| error | `prefect.yaml:1:15` | `deployments[0] 'd'" in answer.stdout
    assert "error: " in answer.stderr


def test_json_and_markdown_exclude_each_other(project: Path) -> None:
    answer = gitflow(project, "gitflow deploy --all --markdown --json")
    assert answer.returncode == 2
    assert "--json and --markdown exclude each other" in document(answer)["message"]


def test_json_says_where_a_bug_was_logged(project: Path, tmp_path: Path) -> None:
    (project / "gitops_flow_bug.py").write_text(
        "import sys\nfrom gitops_flow.cli import boundary, options\n"
        "options.size = None\nsys.exit(boundary.run(sys.argv[1:]))\n"
    )
    program = shlex.join([sys.executable, "gitops_flow_bug.py", "deploy", "--json"])
    answer = gitflow(project, program, GITFLOW_CACHE_DIR=str(tmp_path / "cache"))
    error = document(answer)
    assert answer.returncode == 3
    assert error["message"] == "bug: TypeError: 'NoneType' object is not callable"
    assert str(tmp_path / "cache" / "bug-") in error["hint"]


def test_json_says_that_it_was_interrupted(project: Path) -> None:
    (project / "interrupted.py").write_text(
        "import sys\nfrom gitops_flow.cli import boundary, options\n"
        "def stop(*_):\n    raise KeyboardInterrupt\n"
        "options.size = stop\nsys.exit(boundary.run(sys.argv[1:]))\n"
    )
    answer = gitflow(project, shlex.join([sys.executable, "interrupted.py", "deploy", "--json"]))
    assert answer.returncode == 130
    assert document(answer)["message"] == "interrupted"


@pytest.mark.parametrize(
    ("options", "told"),
    [("deploy", None), ("deploy --json", "interrupted"), ("deploy -- --json", None)],
)
def test_ctrl_c_before_anything_is_loaded_is_told_as_later(
    project: Path, options: str, told: str | None
) -> None:
    (project / "typer.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n"
    )
    answer = gitflow(project, f"gitflow {options}")
    assert (answer.returncode, answer.stderr) == (130, "interrupted\n")
    assert (document(answer)["message"] if answer.stdout else None) == told


def _python(*lines: str) -> str:
    program = [sys.executable, "-c", "\n".join(lines)]
    return subprocess.run(program, capture_output=True, text=True, check=False).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process began")
def test_the_seconds_count_from_the_start_of_the_process() -> None:
    told = _python(
        "import time",
        "time.sleep(0.3)",
        "from gitops_flow.cli import progress",
        "progress.start_clock(time.monotonic())",
        "print(progress.elapsed(time.monotonic()))",
    )
    assert float(told) >= 0.3


def test_a_process_that_became_gitflow_long_after_its_start_does_not_count_that() -> None:
    told = _python(
        "import time",
        "from gitops_flow.cli import progress",
        "progress._LONGEST_START = -1.0",
        "print(progress.process_began(1.5) == 1.5)",
    )
    assert told == "True\n"


def test_a_command_ends_through_what_is_registered_for_the_exit_and_what_it_has_written() -> None:
    told = _python(
        "import atexit, sys",
        "atexit.register(print, 'at exit', flush=True)",
        "from gitops_flow import cli",
        "sys.argv = ['gitflow', 'plan', '--help']",
        "cli.main()",
    )
    assert told.startswith("Usage: gitflow plan")
    assert told.endswith("at exit\n")


def test_a_name_after_two_dashes_is_no_option(project: Path) -> None:
    answer = gitflow(project, "gitflow deploy -- --json")
    assert answer.returncode == 2
    assert "called '--json'" in answer.stderr


def test_a_directory_that_is_gone_is_told(project: Path) -> None:
    (project / "gone").mkdir()
    answer = gitflow(project, "cd gone && rmdir ../gone && gitflow deploy")
    assert answer.returncode == 2
    assert "the current directory cannot be used" in answer.stderr


def test_a_manifest_name_that_no_file_system_takes_is_told(project: Path) -> None:
    answer = gitflow(project, f"gitflow deploy --file {'x' * 5000}")
    assert answer.returncode == 2
    assert "the manifest cannot be read: File name too long" in answer.stderr


@pytest.mark.parametrize("line", ["--version", "--help", "plan --help"])
def test_output_that_a_full_disk_does_not_take_is_one_line_and_code_1(
    project: Path, line: str
) -> None:
    answer = gitflow(project, f"gitflow {line} >/dev/full")
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: standard output cannot be written: No space left")
