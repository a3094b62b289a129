"""A network between two TCP peers that can fail in every way a real one does, and heal.

The proxy runs an event loop in a thread of its own; its methods may be called from any thread and return when
the change is in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_BLOCK_BYTES = 1 << 16
_SPLIT_BYTES = 512
"""Of each block so many bytes go one by one: heads of commands and frames, not megabytes of payload."""
_CALL_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What happens to the bytes that pass now."""

    is_silent: bool = False
    """Nothing passes; what was sent arrives after the end of it, as retransmitted segments do."""
    is_refusing: bool = False
    delay_seconds: float = 0.0
    is_splitting: bool = False


class _Link:
    """One connection: two sockets and the bytes between them."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server

    def abort(self) -> None:
        """Ends both halves with a reset, so that neither side takes it for an orderly end."""
        for writer in (self.client, self.server):
            _reset_on_close(writer)
            writer.transport.abort()

    def half_close(self) -> None:
        """The client reads an end, while what it writes still arrives."""
        with contextlib.suppress(OSError, RuntimeError):
            self.client.write_eof()


class Proxy:
    """Passes bytes on to `target`, a URL, from its own port: `url` is the same URL through the proxy."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._links: set[_Link] = set()
        self._weather = Weather()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f"127.0.0.1:{self.port}"))

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._links)

    def heal(self) -> None:
        """Fine weather: what is held back arrives, new connections are let in."""
        self._call(self._change(Weather()))

    def cut(self) -> None:
        """Resets every connection, and every new one until it heals."""
        self._call(self._change(Weather(is_refusing=True)))
        self.reset()

    def black_hole(self) -> None:
        """Accepts and never answers until it heals; nothing tells either side."""
        self._call(self._change(Weather(is_silent=True)))

    def delay(self, seconds: float) -> None:
        """Every block arrives so much later, in both directions."""
        self._call(self._change(Weather(delay_seconds=seconds)))

    def split(self) -> None:
        """The first bytes of every block arrive one by one."""
        self._call(self._change(Weather(is_splitting=True)))

    def half_close(self) -> None:
        """Every open connection: commands still arrive, answers do not. New ones are whole."""
        self._call(self._for_each(_Link.half_close))

    def reset(self) -> None:
        """Every open connection ends at once. New ones are let in."""
        self._call(self._for_each(_Link.abort))

    def close(self) -> None:
        """Ends it, with every connection."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_SECONDS)
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_SECONDS)

    async def _listen(self) -> asyncio.Server:
        self._fine = asyncio.Event()
        self._fine.set()
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _change(self, weather: Weather) -> None:
        self._weather = weather
        if weather.is_silent:
            self._fine.clear()
        else:
            self._fine.set()

    async def _for_each(self, act: Any) -> None:
        for link in list(self._links):
            act(link)

    async def _end(self) -> None:
        self._server.close()
        await self._change(Weather(is_refusing=True))
        await self._for_each(_Link.abort)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._fine.wait()
            if self._weather.is_refusing:
                _reset_on_close(writer)
                writer.transport.abort()
                return
            server_reader, server = await asyncio.open_connection(*self._target)
        except OSError:  # the server itself is away
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            # Not passed on: the streams' own callback would log it. Only `close` cancels.
            writer.transport.abort()
            return
        await self._carry(_Link(writer, server), reader, server_reader)

    async def _carry(
        self, link: _Link, from_client: asyncio.StreamReader, from_server: asyncio.StreamReader
    ) -> None:
        self._links.add(link)
        try:
            forth = self._pump(from_client, link.server)
            back = self._pump(from_server, link.client)
            await asyncio.gather(forth, back, return_exceptions=True)
        except asyncio.CancelledError:
            return
        finally:
            self._links.discard(link)
            link.client.transport.abort()
            link.server.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        _send_at_once(target)
        while block := await source.read(_BLOCK_BYTES):
            await self._fine.wait()
            if self._weather.delay_seconds:
                await asyncio.sleep(self._weather.delay_seconds)
            for piece in _pieces(block, is_splitting=self._weather.is_splitting):
                target.write(piece)
                await target.drain()
                await asyncio.sleep(0)
        target.write_eof()


def _pieces(block: bytes, *, is_splitting: bool) -> list[bytes]:
    if not is_splitting:
        return [block]
    head, rest = block[:_SPLIT_BYTES], block[_SPLIT_BYTES:]
    return [head[index : index + 1] for index in range(len(head))] + ([rest] if rest else [])


def _socket_of(writer: asyncio.StreamWriter) -> Any:
    return writer.get_extra_info("socket")


def _send_at_once(writer: asyncio.StreamWriter) -> None:
    """Without this the kernel would join the pieces again."""
    with contextlib.suppress(OSError):
        _socket_of(writer).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        _socket_of(writer).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
