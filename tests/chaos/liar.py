"""A door whose broker lies: it knows each answer that goes through, and sends another one in the place of some."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from answers import HOST, Asked, asked, framed
from lies import Lie, lies_about, told
from proxy import Door

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from proxy import End, Proxy

_SLOWLY: Final = (0.001, 0.02, 0.1)  # seconds between two bytes that trickle
_SILENCE: Final = 12.0  # seconds for which an answer without an end keeps its connection: longer than a client waits
_REMEMBERED: Final = 100  # answers
_LARGEST_REMEMBERED: Final = 1 << 20  # bytes


class Liar:
    """Decides what is said. ``share`` of the answers are lies; 0 is honest. It counts both."""

    def __init__(self, random: Random) -> None:
        self.share = 0.0
        self.answers = 0
        self.lies: Counter[Lie] = Counter()
        self.random = random
        self._earlier: deque[bytes] = deque(maxlen=_REMEMBERED)

    def say(self, answer: bytes, to: Asked) -> tuple[Lie | None, Iterable[bytes]]:
        """Tell what is sent for a true answer."""
        self.answers += 1
        found: tuple[Lie | None, Iterable[bytes]] = (None, [framed(answer)])
        if self.random.random() < self.share:
            lie = self.random.choice(lies_about(to, answer))
            found = (lie, told(lie, self.random, answer, to, self._earlier))
            self.lies[lie] += 1
        if len(answer) <= _LARGEST_REMEMBERED:
            self._earlier.append(answer)
        return found


class LyingDoor(Door):
    """A door before one broker, which is told to be where the door is: nobody who comes here is sent past it."""

    def __init__(self, proxy: Proxy, port: int, behind: int, liar: Liar) -> None:
        super().__init__(proxy, "lying", port, behind)
        self._liar = liar
        self._true, self._ours = (HOST + struct.pack(">i", each) for each in (behind, port))

    def _ways(self, client: End, broker: End) -> list[asyncio.Task[None]]:
        waiting: deque[Asked] = deque()
        return [
            asyncio.create_task(self._requests(client[0], broker[1], waiting)),
            asyncio.create_task(self._answers(broker[0], client[1], waiting)),
        ]

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: deque[Asked]
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                request = await _frame(reader)
                waiting.append(asked(request))
                writer.write(framed(request))
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: deque[Asked]) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                answer = (await _frame(reader)).replace(self._true, self._ours)
                lie, pieces = self._liar.say(answer, waiting.popleft())
                pause = self._liar.random.choice(_SLOWLY) if lie is Lie.TRICKLE else 0.0
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    self.passed += len(piece)
                    if pause:
                        await asyncio.sleep(pause)
                if lie is Lie.ENDLESS:
                    await asyncio.sleep(_SILENCE)
                    return


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)
