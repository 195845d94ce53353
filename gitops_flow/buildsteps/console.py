"""What a step prints: shown line by line as it comes, secrets masked, its end remembered."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TAIL = 20
# A line is cut where a secret that began before the cut would still be whole in
# what is read, so that masking comes first.
_READ = 64 << 10
_SHOWN = 60 << 10


class Console:
    """The output of one step.

    Args:
        out: is given each line, without its end.
        secrets: texts to mask.
    """

    def __init__(self, out: Callable[[str], None], secrets: Iterable[str] = ()) -> None:
        self._out = out
        # A key of many lines never shows up in one line of output.
        self._secrets = tuple(
            {part for secret in secrets for part in (secret, *secret.splitlines())}
        )
        self._tail: deque[str] = deque(maxlen=_TAIL)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines that were not empty, masked."""
        return tuple(self._tail)

    def masked(self, text: str) -> str:
        """``text`` without secrets."""
        return redact(text, self._secrets)

    def say(self, line: str, *, live: bool = True) -> None:
        """Take one line; show it unless it is only to be remembered."""
        line = self.masked(line)[:_SHOWN]
        if line.strip():
            self._tail.append(line)
        if live:
            self._out(line)


class Lines:
    """Turns what comes out of one pipe into lines of a console."""

    def __init__(self, console: Console, *, live: bool = True) -> None:
        self._console = console
        self._live = live
        self._line = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what was read; the last line may go on."""
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._add(piece)
            self._say()
        self._add(rest)

    def close(self) -> None:
        """Take a last line that has no end."""
        if self._line:
            self._say()

    def _add(self, piece: bytes) -> None:
        self._line += piece[: max(_READ - len(self._line), 0)]

    def _say(self) -> None:
        # A progress bar writes over its line; its last state is what counts.
        line = bytes(self._line).rstrip(b"\r").rpartition(b"\r")[2]
        self._line.clear()
        self._console.say(line.decode("utf-8", "replace"), live=self._live)
