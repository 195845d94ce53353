"""Running the tests, and what came of them."""

from __future__ import annotations

import os
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools.versions.environments import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The end-to-end tests, by what they are about: a heading of the table and its files.
PARTS = {
    "deploy and run": ("tests/test_e2e.py",),
    "second deploy, runs kept": ("tests/test_apply.py", "tests/test_prefect_server.py"),
    "triggers": ("tests/test_apply_automations.py",),
    "prune": ("tests/test_apply_prune.py",),
    "rollback": ("tests/test_rollback.py",),
    "release pointer": ("tests/test_pointer.py",),
}


@dataclass(frozen=True, slots=True)
class Count:
    """How many tests passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        if self == Count():
            return ""
        words = [f"{self.passed} passed"]
        words += [f"{self.failed} failed"] if self.failed else []
        words += [f"{self.skipped} skipped"] if self.skipped else []
        return ", ".join(words)


def run(python: Path | str, arguments: Sequence[str], env: Mapping[str, str]) -> dict[str, Count]:
    """Run pytest; the counts by file, ``tests/test_e2e.py``. Empty when it was cut short."""
    with tempfile.TemporaryDirectory(prefix="gitflow-versions-") as made:
        report = Path(made) / "report.xml"
        done = subprocess.run(
            [
                str(python),
                "-m",
                "pytest",
                "-q",
                "--timeout=900",
                f"--junitxml={report}",
                *arguments,
            ],
            cwd=ROOT,
            env={**os.environ, **env},
            check=False,
        )
        # Anything else than passed and failed: interrupted, or never begun.
        return _counts(report) if done.returncode in (0, 1) and report.exists() else {}


def total(counts: Mapping[str, Count], files: Sequence[str] | None = None) -> Count:
    """The sum of some files, or of all."""
    chosen = [counts[name] for name in (counts if files is None else files) if name in counts]
    return Count(
        sum(each.passed for each in chosen),
        sum(each.failed for each in chosen),
        sum(each.skipped for each in chosen),
    )


def _counts(report: Path) -> dict[str, Count]:
    found: dict[str, Count] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it
        # `tests.test_apply`, or with a class behind it.
        file = "/".join(case.get("classname", "").split(".")[:2]) + ".py"
        kinds = {child.tag for child in case}
        failed, skipped = bool(kinds & {"failure", "error"}), "skipped" in kinds
        one = Count(not (failed or skipped), failed, skipped and not failed)
        found[file] = total({"a": found.get(file, Count()), "b": one})
    return found
