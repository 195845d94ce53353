"""Counting what a server sends: a relay between a client and an http server."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def counted(address: str) -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield another address for ``address``, and how many bytes have come through it so far."""
    parts = urlsplit(address)
    target = (parts.hostname or "", parts.port or 80)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    total = [0]

    def pump(source: socket.socket, sink: socket.socket, count: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                total[0] += len(data) if count else 0
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(target)
                threading.Thread(target=pump, args=(client, server, False), daemon=True).start()
                threading.Thread(target=pump, args=(server, client, True), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        port = listener.getsockname()[1]
        yield parts._replace(netloc=f"127.0.0.1:{port}").geturl(), lambda: total[0]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
