"""What tests share: real repositories, real servers, and no access to the machine's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

# Read here, once: the fixtures take GITFLOW_* out of each test's environment.
NO_SKIP = os.environ.get("GITFLOW_TESTS_NO_SKIP", "") not in ("", "0")

# Servers live where an ordinary user's PATH does not lead.
_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")


def require_program(name: str) -> str:
    """The path of a program; without it the test skips, or fails where CI must not skip."""
    found = shutil.which(name)
    if found is None:
        found = next((str(Path(d, name)) for d in _SBIN if os.access(Path(d, name), os.X_OK)), None)
    if found is None:
        cannot(f"the program {name} is not installed")
    return found


def cannot(reason: str) -> NoReturn:
    """Skip the running test for ``reason``, or fail it where CI must not skip."""
    if NO_SKIP:
        pytest.fail(f"{reason}, and GITFLOW_TESTS_NO_SKIP is set", pytrace=False)
    pytest.skip(reason)
