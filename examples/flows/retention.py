"""Deletes files that nobody has changed for a while."""

from __future__ import annotations

import time
from pathlib import Path

from prefect import flow


@flow(log_prints=True)
def retention(
    directory: str = "/var/tmp/reports",  # noqa: S108
    pattern: str = "*.csv",
    keep_days: int = 14,
    dry_run: bool = True,
) -> list[str]:
    """Delete old files of one directory, or say which ones it would delete.

    Args:
        directory: where to look; its subdirectories are left alone.
        pattern: which names to look at, as a shell would match them.
        keep_days: age in days up to which a file is kept.
        dry_run: only list the files.
    """
    limit = time.time() - keep_days * 86_400
    old = sorted(
        path
        for path in Path(directory).glob(pattern)
        if path.is_file() and not path.is_symlink() and path.stat().st_mtime < limit
    )
    for path in old:
        print(f"{'would delete' if dry_run else 'deleting'} {path}")
        if not dry_run:
            path.unlink()
    return [str(path) for path in old]


if __name__ == "__main__":
    retention()
