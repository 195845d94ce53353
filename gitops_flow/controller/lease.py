"""Who of several controllers works on a repository now: a ref that is moved by compare-and-swap.

Releases are compare-and-swap anyway. A lease saves work; it is not what keeps us safe.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import uuid
from typing import TYPE_CHECKING

from gitops_flow.errors import GitflowError, RemoteError
from gitops_flow.git import environment, remote
from gitops_flow.git.objects import EMPTY_TREE, Objects
from gitops_flow.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gitops_flow.controller.repository import Login

# Seconds without a move of the ref, by the clock of who watches it, after which it is free.
SECONDS = 30.0
_IDENT = "gitops-flow <lease@gitops-flow.invalid> 0 +0000"


class Lease:
    """The lease of one repository.

    Args:
        git_dir: a bare repository for the objects that the ref names.
        login: the repository, read at each use.
        ref: its full name; shards have one each.
        holder: who we are; no other controller has the same.
        clock: seconds, which only go forward; nobody else's clock is looked at.
        seconds: how long a lease is good without being renewed; :data:`SECONDS`.
    """

    def __init__(
        self,
        git_dir: Path,
        login: Callable[[], Login],
        ref: str,
        *,
        clock: Callable[[], float],
        holder: str | None = None,
        seconds: float | None = None,
    ) -> None:
        self.ref = ref
        self.seconds = seconds or SECONDS
        self._git_dir = git_dir
        self._login = login
        self._holder = holder or uuid.uuid4().hex
        self._clock = clock
        self._lock = threading.Lock()
        self._ours: str | None = None
        self._moved = clock()
        self._seen: str | None = None
        self._users = 0
        self._stop = Stop()
        self._ended = threading.Event()

    def seen(self, value: str | None, asked: float) -> None:
        """What the ref was when it was asked for; from when it last moved counts whether it is free.

        An answer from before our own last move is old, and while we work on it nobody else moves it.
        """
        with self._lock:
            if value != self._seen and not self._users and asked >= self._moved:
                self._seen, self._moved = value, self._clock()

    @property
    def is_free(self) -> bool:
        """Whether nobody has it, or it is ours, or whoever has it has not renewed it in time."""
        with self._lock:
            return self._is_free()

    def _is_free(self) -> bool:
        late = self._clock() - self._moved >= self.seconds
        return self._seen is None or self._seen == self._ours or late

    @contextlib.contextmanager
    def held(self) -> Iterator[Stop | None]:
        """Have the lease in the block: what ends the work once it is lost; None if it is not ours.

        It is renewed while it is needed, and by nobody when there is nothing to do.

        Raises:
            GitflowError: the repository cannot be asked.
        """
        with self._lock:
            if not self._users:
                if not (self._is_free() and self._move()):
                    taken = None
                else:
                    taken = self._stop = Stop()
                    self._ended = threading.Event()
                    context = contextvars.copy_context()
                    threading.Thread(
                        target=context.run, args=(self._renew, self._stop, self._ended), daemon=True
                    ).start()
            else:
                taken = self._stop
            self._users += taken is not None
        try:
            yield taken
        finally:
            if taken is not None:
                with self._lock:
                    self._users -= 1
                    if not self._users:
                        self._ended.set()

    def _renew(self, lost: Stop, ended: threading.Event) -> None:
        renewed = self._clock()
        while not ended.wait(self.seconds / 3):
            try:
                with self._lock:
                    ours = ended.is_set() or self._move()
                if not ours:
                    lost.set("another controller has taken the lease")
                    return
                renewed = self._clock()
            except GitflowError:
                # For all we know it is still ours, until nobody can know that any more.
                if self._clock() - renewed >= self.seconds * 2 / 3:
                    lost.set("the lease could not be renewed")
                    return

    def _move(self) -> bool:
        """Move the ref on; whether nobody else had moved it since it was seen."""
        login = self._login()
        objects = Objects(self._git_dir)
        objects.write_tree({})
        message = f"lease of {self._holder}: {uuid.uuid4().hex}\n"
        value = objects.write_commit(EMPTY_TREE, (), message, _IDENT)
        try:
            with environment.using(login.git):
                outcome = remote.push(
                    self._git_dir,
                    login.address,
                    f"{value}:{self.ref}",
                    expect=self._seen,
                    auth=login.auth,
                )
        except RemoteError as error:
            if error.kind != "refused":
                raise
            return True  # a server that keeps no such ref has no leases
        if outcome is not remote.PushOutcome.OK:
            return False
        self._ours = self._seen = value
        self._moved = self._clock()
        return True
