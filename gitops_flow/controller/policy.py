"""What may be deployed and when: signed commits alone, and not while deploys are frozen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops_flow.controller.config import FreezeSection

_WEEK = timedelta(days=7)


def frozen(windows: Sequence[FreezeSection], now: datetime) -> tuple[datetime, str] | None:
    """When the freeze that it is in at ``now`` ends, and its reason; None outside of any."""
    ends = [(end, window.reason) for window in windows if (end := _end(window, now)) is not None]
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
