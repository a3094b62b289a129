"""A TCP proxy in front of the service that breaks connections off."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


class CuttingProxy:
    """Passes bytes on; the first `cuts` connections whose answer grows beyond `limit` bytes end there."""

    def __init__(self, target: str, *, limit: int, cuts: int) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._limit = limit
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.cuts_left = cuts
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Accepts until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def close(self) -> None:
        # Closing alone would leave accept() waiting.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            forth = threading.Thread(target=_copy, args=(client, server), daemon=True)
            forth.start()
            self._answer(server, client)
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            forth.join()

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while block := server.recv(16_384):
                passed += len(block)
                if passed > self._limit and self.cuts_left > 0:
                    self.cuts_left -= 1
                    return
                client.sendall(block)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(16_384):
            target.sendall(block)


@contextlib.contextmanager
def cutting_proxy(target: str, *, limit: int, cuts: int) -> Iterator[CuttingProxy]:
    """A proxy that serves in the block."""
    proxy = CuttingProxy(target, limit=limit, cuts=cuts)
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
