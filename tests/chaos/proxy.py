"""A TCP proxy that fails as networks do: connections are reset, or stay open while nothing comes, or are slow.

It runs in a thread with a loop of its own; what it is told to do is done when the call returns.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random
    from typing import Any

    End = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_CHUNK: Final = 64 * 1024  # bytes
_AHEAD: Final = 32  # chunks of one connection and direction that may wait for their time
_WITHIN: Final = 10.0  # seconds for anything that is asked of the loop


class Proxy:
    """The thread in which doors stand; a context manager."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_WITHIN)
        self.loop.close()

    async def _close(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        """Have it done in the loop; give what it gives."""
        return asyncio.run_coroutine_threadsafe(what, self.loop).result(_WITHIN)

    def door(self, name: str, port: int, behind: int) -> Door:
        """Open a door at a port of this machine, with what listens on another one behind it."""
        door = Door(self, name, port, behind)
        self.run(door.open())
        return door


class Door:
    """Where clients knock for a broker. It needs nobody behind it to be open: then it closes what comes."""

    def __init__(self, proxy: Proxy, name: str, port: int, behind: int) -> None:
        self._proxy, self.name, self.port, self._behind = proxy, name, port, behind
        self.address = f"127.0.0.1:{port}"
        self._flows = asyncio.Event()
        self._flows.set()
        self._delay = 0.0
        self._passages: set[_Passage] = set()
        self.passed = 0  # bytes, both ways

    async def open(self) -> None:
        """Listen."""
        await asyncio.start_server(self._came, "127.0.0.1", self.port, limit=_CHUNK)

    @property
    def connections(self) -> int:
        """How many stand now."""
        return len(self._passages)

    def cut(self, random: Random | None = None) -> int:
        """Reset all connections, or of ``random``'s choice about a half; how many."""
        return int(self._proxy.run(self._cut(random)))

    def stall(self) -> None:
        """Let nothing through, also not for who comes from now on; whoever is connected stays so."""
        self._proxy.run(self._set(self._flows.clear))

    def flow(self) -> None:
        """Let all through again, in order and whole."""
        self._proxy.run(self._set(self._flows.set))

    def delay(self, seconds: float) -> None:
        """Let all that comes from now on through so much later; 0 ends it."""

        def slow() -> None:
            self._delay = seconds

        self._proxy.run(self._set(slow))

    async def _set(self, how: Callable[[], None]) -> None:
        how()

    async def _cut(self, random: Random | None) -> int:
        chosen = [each for each in self._passages if random is None or random.random() < 0.5]  # noqa: PLR2004
        for each in chosen:
            each.cut()
        return len(chosen)

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self._behind, limit=_CHUNK)
        except OSError:
            writer.transport.abort()
            return
        passage = _Passage((writer, there[1]))
        passage.carriers = self._ways((reader, writer), there)
        self._passages.add(passage)
        try:
            # One side that has said all ends both: Kafka's protocol knows no half-closed connections.
            await asyncio.wait(passage.carriers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._passages.discard(passage)
            passage.cut()

    def _ways(self, client: End, broker: End) -> list[asyncio.Task[None]]:
        """Carry both ways; each is done at its end."""
        return [self._way(client[0], broker[1]), self._way(broker[0], client[1])]

    def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> asyncio.Task[None]:
        """Carry one way; done at its end."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_AHEAD)
        taking = asyncio.create_task(self._take(reader, waiting))
        carrying = asyncio.create_task(self._carry(waiting, writer))
        carrying.add_done_callback(lambda _: taking.cancel())
        return carrying

    async def _take(self, reader: asyncio.StreamReader, waiting: asyncio.Queue[tuple[float, bytes]]) -> None:
        time = asyncio.get_running_loop().time
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await waiting.put((time() + self._delay, chunk))
        await waiting.put((time() + self._delay, b""))

    async def _carry(self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        time = asyncio.get_running_loop().time
        while True:
            due, chunk = await waiting.get()
            await asyncio.sleep(max(due - time(), 0))
            await self._flows.wait()
            if not chunk:
                return
            self.passed += len(chunk)
            writer.write(chunk)
            try:
                await writer.drain()
            except OSError:
                return


class _Passage:
    """One connection: towards the client, and towards the broker."""

    def __init__(self, ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self._ends = ends
        self.carriers: list[asyncio.Task[None]] = []

    def cut(self) -> None:
        """Reset both; what is on its way is lost."""
        for carrier in self.carriers:
            carrier.cancel()
        for end in self._ends:
            end.transport.abort()
