"""A doorbell at each Prefect server: what is changed there is looked at within a second.

The server's events are a hint and nothing more. It sends none for a pause, a schedule or a
concurrency limit, so looks at intervals go on.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gitops_flow.redact import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_flow.model import PrefectConnection

_EVENTS = tuple(f"prefect.deployment.{what}" for what in ("created", "updated", "deleted"))
_RESOURCE = "prefect.deployment."
# Seconds between tries to reach a server, and for it to answer.
_PAUSES = (1.0, 5.0, 30.0, 300.0)
_ANSWER = 20.0
_LARGEST = 4 << 20
_log = get_logger("controller")
# Its own account of a connection that was lost, with a traceback, says nothing that we do not.
_quiet = get_logger("websocket")
_quiet.setLevel(logging.CRITICAL)


class Doorbell:
    """A thread that listens to one server until it is closed, whatever becomes of the server.

    Args:
        connection: the server, and how to log in.
        ring: is called with the id of each deployment that somebody has changed.
    """

    def __init__(self, connection: PrefectConnection, ring: Callable[[str], None]) -> None:
        self._connection = connection
        self._ring = ring
        self._closed = threading.Event()
        self.listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="controller-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; returns at once."""
        self._closed.set()

    def join(self, seconds: float) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            from websockets.exceptions import WebSocketException
        except ImportError:
            return  # the extra is not installed: looks at intervals are enough
        failures = 0
        while not self._closed.is_set():
            try:
                self._listen()
                failures = 0
            except (OSError, ValueError, RecursionError, EOFError, WebSocketException) as error:
                if self.listening.is_set():
                    failures = 0
                _log.debug("the events of %s: %s", self._connection.api_url, error)
            self.listening.clear()
            self._closed.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    def _listen(self) -> None:
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        connection = self._connection
        address = "ws" + connection.api_url.rstrip("/").removeprefix("http") + "/events/out"
        with connect(
            address,
            subprotocols=[Subprotocol("prefect")],
            additional_headers=dict(connection.headers),
            ssl=_tls(connection) if address.startswith("wss") else None,
            open_timeout=_ANSWER,
            close_timeout=1,
            # A busy server may take its time; one that is gone is noticed all the same.
            ping_interval=30,
            ping_timeout=60,
            logger=_quiet,
            max_size=_LARGEST,
        ) as socket:
            token = connection.auth_string or connection.api_key
            socket.send(json.dumps({"type": "auth", "token": token}))
            answer = json.loads(socket.recv(_ANSWER))
            if not isinstance(answer, dict) or answer.get("type") != "auth_success":
                raise ValueError("the server does not let us listen")
            # The server looks at its own clock how far back that is; ours may be hours off.
            now = datetime.now(UTC)
            occurred = {"since": now - timedelta(days=1), "until": now + timedelta(days=365)}
            asked = {
                "event": {"name": _EVENTS},
                "occurred": {key: when.isoformat() for key, when in occurred.items()},
            }
            socket.send(json.dumps({"type": "filter", "filter": asked, "backfill": False}))
            self.listening.set()
            while not self._closed.is_set():
                try:
                    told = json.loads(socket.recv(1.0))
                except TimeoutError:
                    continue
                event = told.get("event") if isinstance(told, dict) else None
                resource = event.get("resource") if isinstance(event, dict) else None
                name = resource.get("prefect.resource.id") if isinstance(resource, dict) else None
                if isinstance(name, str) and name.startswith(_RESOURCE):
                    self._ring(name.removeprefix(_RESOURCE))


def _tls(connection: PrefectConnection) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=connection.ca_file)
    if not connection.tls_verify:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made
