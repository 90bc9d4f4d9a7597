"""Following: what is read until a topic's end is reached is judged together, later answers as they come."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sealwire.agents import following
from sealwire.agents.following import Following

if TYPE_CHECKING:
    import pytest


class Topic:
    """A topic whose answers the test gives."""

    def __init__(self, end: int) -> None:
        self.end, self.take = end, None

    async def end_offset(self, _topic: str, _partition: int) -> int:
        return self.end

    async def log_start(self, _topic: str, _partition: int) -> int:
        return 0

    def seat(self, _topic: str, _partition: int, _offset: int, take: Any, _failed: Any) -> object:  # noqa: ANN401
        self.take = take
        return object()


class Answers(Following):
    """Takes statements as they are."""

    def _statements(self, fetched: Any) -> list[bytes]:  # noqa: ANN401
        return list(fetched.statements)


def answer(*statements: bytes, to: int) -> SimpleNamespace:
    return SimpleNamespace(statements=statements, next=to)


async def begun(end: int) -> tuple[Topic, list[list[bytes]], asyncio.Task[None]]:
    handed: list[list[bytes]] = []

    async def take(statements: list[bytes]) -> None:
        handed.append(statements)

    topic = Topic(end)
    task = asyncio.create_task(Answers(topic, take, Counter()).follow("control"))
    while topic.take is None:
        await asyncio.sleep(0)
    return topic, handed, task


def test_until_the_end_is_reached_statements_are_handed_on_together() -> None:
    async def run() -> None:
        topic, handed, task = await begun(3)
        await topic.take(answer(b"a", to=1))
        await topic.take(answer(b"b", to=2))
        assert handed == []
        await topic.take(answer(b"c", to=3))
        await task
        await topic.take(answer(b"d", to=4))
        assert handed == [[b"a", b"b", b"c"], [b"d"]]

    asyncio.run(run())


def test_what_is_large_is_handed_on_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_TOGETHER", 2)

    async def run() -> None:
        topic, handed, task = await begun(9)
        await topic.take(answer(b"a", to=1))
        await topic.take(answer(b"b", to=2))
        assert handed == [[b"a", b"b"]]
        task.cancel()

    asyncio.run(run())


def test_what_comes_slowly_is_not_kept_for_an_end_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_END_AGAIN", 0.01)

    async def run() -> None:
        topic, handed, task = await begun(9)
        await topic.take(answer(b"a", to=1))
        async with asyncio.timeout(5):
            while not handed:
                await asyncio.sleep(0)
        await topic.take(answer(b"b", to=2))
        topic.end = 2
        async with asyncio.timeout(5):
            await task
        assert handed == [[b"a"], [b"b"]]

    asyncio.run(run())
