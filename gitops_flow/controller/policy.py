"""What may be deployed and when: signed commits alone, and not while deploys are frozen."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gitops_flow import files
from gitops_flow.errors import GitflowError
from gitops_flow.git import command
from gitops_flow.worker import signers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gitops_flow.controller.config import FreezeSection

_SIGNATURE = re.compile(rb"^gpgsig -----BEGIN (SSH|PGP) SIGNATURE-----$", re.MULTILINE)
_WEEK = timedelta(days=7)


def frozen(windows: Sequence[FreezeSection], now: datetime) -> tuple[datetime, str] | None:
    """When the freeze that it is in at ``now`` ends, and its reason; None outside of any."""
    ends = [(end, window.reason) for window in windows if (end := _end(window, now))]
    return max(ends, default=None)


def _end(window: FreezeSection, now: datetime) -> datetime | None:
    start, end = window.start, window.end
    if isinstance(start, datetime) and isinstance(end, datetime):
        return end if start <= now < end else None
    if isinstance(start, datetime) or isinstance(end, datetime):
        return None
    zone = ZoneInfo(window.timezone)
    here = now.astimezone(zone).replace(tzinfo=None)
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
    # By the clock on the wall: 17:00 is 17:00 also in the week in which summer time begins.
    monday = midnight - timedelta(days=here.weekday())
    for week in (monday - _WEEK, monday):
        begun = (week + timedelta(minutes=start)).replace(tzinfo=zone)
        over = week + timedelta(minutes=end) + (_WEEK if end <= start else timedelta())
        if begun <= now < over.replace(tzinfo=zone):
            return over.replace(tzinfo=zone).astimezone(UTC)
    return None


def check_signed(git_dir: Path, commit: str, given: Sequence[str]) -> None:
    """Check that one of ``given`` signed ``commit``; nothing is asked if none is given.

    Args:
        git_dir: a repository that has it.
        commit: 40 hex digits.
        given: ssh public keys and gpg fingerprints.

    Raises:
        GitflowError: nobody did, or one of ``given`` is neither key nor fingerprint.
    """
    if not given:
        return
    trusted = signers.parsed(given)
    env = {"GIT_DIR": str(git_dir)}
    header = command.run(["cat-file", "commit", commit], env=env).stdout.partition(b"\n\n")[0]
    kinds = _SIGNATURE.findall(header)

    def verified(allowed: str) -> command.Result:
        with files.temporary("gitflow-signers-") as scratch:
            (scratch / "signers").write_text(allowed)
            config = (("gpg.ssh.allowedSignersFile", str(scratch / "signers")),)
            args = ["verify-commit", "--raw", commit]
            return command.run(args, env=env, config=config, timeout=60, check=False)

    if len(kinds) != 1 or not signers.is_by_one_of(trusted, kinds[0].decode(), verified):
        raise GitflowError(
            f"the commit {commit[:12]} is not signed by one of the signers of this source",
            hint="sign it (git commit -S) and push again; or add its signer to signers: in "
            "gitflow.yaml",
            heals="new commit",
        )
