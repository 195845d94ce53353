"""What a deploy tells while it goes on, as values: a front end makes lines, records or metrics of it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import stop

if TYPE_CHECKING:
    from gitops_flow.apply import Result


class Phase(enum.Enum):
    """What begins now; the value says it in a few words."""

    HISTORY = "reading the history"
    SNAPSHOT = "taking the snapshot"
    COMPARE = "comparing with the server"
    BUILD = "running build steps"
    VERIFY = "verifying"
    PUBLISH = "publishing the snapshot"
    APPLY = "applying"
    CONFIRM = "confirming the release"


@dataclass(frozen=True, slots=True)
class StepLine:
    """A line that a build or push step printed, masked."""

    text: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """What became of one deployment; of each that the plan writes there is one."""

    result: Result


Event = Phase | StepLine | Deployed
OnEvent = Callable[[Event], None]


def ignore(_: Event) -> None:
    """For who does not want to know."""


def asking(on_event: OnEvent) -> OnEvent:
    """Tell of each event, and let no phase begin once the work was stopped.

    Raises:
        StoppedError: by the function that is returned.
    """

    def tell(event: Event) -> None:
        if isinstance(event, Phase):
            stop.current().check()
        on_event(event)

    return tell
