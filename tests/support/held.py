"""A ``git`` that waits where a test wants it to: a wrapper that is first on the PATH."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

_WRAPPER = """\
#!/bin/sh
held() {{
    mkdir {base}/reached 2>/dev/null || return
    until [ -e {base}/go ]; do sleep 0.02; done
}}
if [ -e {base}/hold ]; then
    read -r when pattern <{base}/hold
    case $* in $pattern)
        [ "$when" = before ] && held
        {git} "$@"
        code=$?
        [ "$when" = after ] && held
        exit $code;;
    esac
fi
exec {git} "$@"
"""


class HeldGit:
    """Git, of which one command waits before or after its work; ``path`` is the PATH for it.

    Args:
        base: a directory for it.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        git = shutil.which("git")
        assert git is not None
        program = base / "bin/git"
        program.parent.mkdir(parents=True)
        program.write_text(_WRAPPER.format(base=base, git=git))
        program.chmod(0o755)
        self.path = f"{program.parent}:{os.environ['PATH']}"

    def hold(self, when: str, pattern: str) -> None:
        """Have the next git wait ``"before"`` or ``"after"`` its work whose arguments match."""
        (self._base / "go").unlink(missing_ok=True)
        shutil.rmtree(self._base / "reached", ignore_errors=True)
        new = self._base / "new"
        new.write_text(f"{when} {pattern.replace(' ', '?')}\n")
        new.rename(self._base / "hold")

    def reached(self, seconds: float = 60) -> None:
        """Return once it waits."""
        until = time.monotonic() + seconds
        while not (self._base / "reached").exists():
            assert time.monotonic() < until, "git was not run"
            time.sleep(0.02)

    def release(self) -> None:
        """Have it go on; nothing waits any more."""
        (self._base / "hold").unlink(missing_ok=True)
        (self._base / "go").touch()
