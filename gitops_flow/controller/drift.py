"""What differs on a Prefect server: one listing for all its sources says where to look closer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_flow import prefect
from gitops_flow.controller.queue import Alone
from gitops_flow.plan import Conflict, Create, Delete, Update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gitops_flow.deploy import Preview
    from gitops_flow.model import PrefectConnection, Source


class Server:
    """One Prefect server, for all the sources that are deployed to it.

    Args:
        connection: the server, and how to log in.
        clients: whose connections are used.
        clock: seconds, which only go forward.
    """

    def __init__(
        self, connection: PrefectConnection, clients: prefect.Clients, clock: Callable[[], float]
    ) -> None:
        self.connection = connection
        self.wanted: dict[str, tuple[Source, ...]] = {}
        self._clients = clients
        self._clock = clock
        self._asking = Alone()
        self._asked = 0.0
        self._found: dict[str, str] = {}

    def fingerprint(self, name: str, since: float, call: Callable[[], None]) -> str | None:
        """What changes when anything does that the source ``name`` owns; as it was after ``since``.

        None while another worker asks: ``call`` is called once there is an answer.

        Raises:
            ApiError: the server cannot be asked.
        """
        with self._asking.entered(call) as entered:
            if not entered:
                return None
            marks = [source.mark for source in self.wanted.get(name, ())]
            if self._asked < since or not self._found.keys() >= set(marks):
                asked = self._clock()
                sources = [each for some in list(self.wanted.values()) for each in some]
                pointers = {source.mark: source.pointer for source in sources}
                with self._clients.borrow(self.connection) as client:
                    self._found = prefect.fingerprints(client, pointers)
                self._asked = asked
            return " ".join(self._found[mark] for mark in marks)


def differences(preview: Preview) -> Iterator[str]:
    """A line for each deployment that a deploy would change."""
    for action in preview.plan.actions:
        match action:
            case Create():
                yield f"{action.full_name}: is missing"
            case Update() if not action.maybe:
                yield f"{action.full_name}: differs in {', '.join(action.fields)}"
            case Delete():
                yield f"{action.full_name}: is not in the manifest"
            case Conflict():
                yield f"{action.full_name}: {action.reason}"
    yield from (f"the work pool {pool} is missing" for pool in preview.missing_pools)


def switched(preview: Preview) -> Iterator[str]:
    """A line for all that somebody switched on purpose, which a deploy leaves as it is."""
    for full_name, changes in preview.drift.items():
        yield from (f"{full_name}: {change.field}" for change in changes)
