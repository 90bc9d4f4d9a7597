"""Answers received in place are the bytes that were sent, however the network cuts them, and an end is an end."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from sealwire.agents.framing import Frames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

SIZES = (1, 4, 100, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537, 300_000, 5, 70_000, 4, 4, 2_000_000, 1)


class _Transport:
    """Reads only while it may."""

    def __init__(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class _Stream:
    """The stream's protocol that was there before."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def eof_received(self) -> bool:
        self.heard.append("eof")
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self.heard.append("lost")

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")


def _made() -> tuple[Frames, _Transport, _Stream]:
    transport, stream = _Transport(), _Stream()
    return Frames(stream, transport), transport, stream


def _run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(bounded())


async def _feed(frames: Frames, transport: _Transport, data: bytes, most: Callable[[], int]) -> None:
    position = 0
    while position < len(data):
        if transport.reading:
            room = frames.get_buffer(-1)
            assert len(room)
            count = min(len(room), most(), len(data) - position)
            room[:count] = data[position : position + count]
            position += count
            frames.buffer_updated(count)
        await asyncio.sleep(0)


@pytest.mark.parametrize("most", [(4_000, 4_000), (1, 70_000), (10_000_000, 10_000_000)])
def test_what_is_read_is_what_was_sent_however_it_was_cut(most: Sequence[int]) -> None:
    async def work() -> None:
        chance = random.Random(3)
        frames, transport, _ = _made()
        sent = [chance.randbytes(size) for size in SIZES]
        feeding = asyncio.create_task(_feed(frames, transport, b"".join(sent), lambda: chance.randint(*most)))
        for each in sent:
            assert bytes(await frames.readexactly(len(each))) == each
        await feeding

    _run(work)


def test_what_nobody_takes_stops_the_reading_and_taking_it_goes_on() -> None:
    async def work() -> None:
        frames, transport, _ = _made()
        while transport.reading:
            frames.buffer_updated(len(frames.get_buffer(-1)))
        await frames.readexactly(4)
        assert transport.reading

    _run(work)


@pytest.mark.parametrize("size", [4, 100_000])
def test_an_end_in_the_middle_is_an_incomplete_read_and_the_stream_hears_of_it(size: int) -> None:
    async def work() -> None:
        frames, _, stream = _made()
        reading = asyncio.create_task(frames.readexactly(size))
        await asyncio.sleep(0)
        frames.buffer_updated(min(3, len(frames.get_buffer(-1))))
        frames.eof_received()
        frames.connection_lost(None)
        with pytest.raises(asyncio.IncompleteReadError):
            await reading
        assert stream.heard == ["eof", "lost"]

    _run(work)


def test_a_broken_connection_raises_what_broke_it() -> None:
    async def work() -> None:
        frames, _, stream = _made()
        frames.connection_lost(ConnectionResetError("gone"))
        with pytest.raises(ConnectionResetError, match="gone"):
            await frames.readexactly(4)
        frames.pause_writing()
        frames.resume_writing()
        assert stream.heard == ["lost", "pause", "resume"]

    _run(work)


def test_what_came_before_the_end_is_still_read() -> None:
    async def work() -> None:
        frames, _, _ = _made()
        room = frames.get_buffer(-1)
        room[:4] = b"last"
        frames.buffer_updated(4)
        frames.eof_received()
        assert await frames.readexactly(4) == b"last"

    _run(work)
