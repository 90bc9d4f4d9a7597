"""What is tried again is told once a minute, whatever number of tries and partitions it has."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from aiokafka.structs import TopicPartition
from virtual_loop import VirtualLoop

from sealwire.agents.troubles import Troubles

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

MINUTE = 60.0  # seconds
PLACES = [TopicPartition("orders", each) for each in range(240)]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "sealwire")
    return lambda: [record.getMessage() for record in caplog.records]


def in_virtual_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Run an async function in a loop whose time jumps: no machine is too slow for it."""

    def run() -> None:
        loop = VirtualLoop()
        loop.run_until_complete(test())
        loop.close()

    return run


async def tries(troubles: Troubles, seconds: float) -> None:
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        for where in PLACES:
            troubles.note(where, "nobody is there")
        await asyncio.sleep(0.5)


def over(troubles: Troubles) -> None:
    for where in PLACES:
        troubles.over(where)


def test_many_partitions_are_one_line_and_their_end_is_another(said: Callable[[], list[str]]) -> None:
    @in_virtual_loop
    async def scenario() -> None:
        troubles = Troubles("writing")
        await tries(troubles, MINUTE / 2)
        assert len(troubles.words) == len(PLACES)
        over(troubles)
        assert not troubles.words
        await asyncio.sleep(6)

    scenario()
    assert said() == ["writing: orders[0] and 239 more: nobody is there; trying again", "writing: goes on"]


def test_what_lasts_is_told_again_each_minute(said: Callable[[], list[str]]) -> None:
    @in_virtual_loop
    async def scenario() -> None:
        troubles = Troubles("writing")
        troubles.note(PLACES[0], "nobody is there")
        await asyncio.sleep(MINUTE * 2.5)
        troubles.close()

    scenario()
    assert said() == ["writing: orders[0]: nobody is there; trying again"] * 3


def test_what_comes_back_again_and_again_is_told_once_a_minute(said: Callable[[], list[str]]) -> None:
    @in_virtual_loop
    async def scenario() -> None:
        troubles = Troubles("writing")
        for _ in range(5):
            await tries(troubles, 5)
            over(troubles)
            await asyncio.sleep(4)
        troubles.close()

    scenario()
    assert len(said()) == 2


def test_a_cause_of_its_own_is_told_beside_the_others(said: Callable[[], list[str]]) -> None:
    @in_virtual_loop
    async def scenario() -> None:
        troubles = Troubles("reading")
        troubles.note(PLACES[0], "nobody is there")
        troubles.note(PLACES[1], "a lie", "a lie")
        troubles.close()

    scenario()
    assert said() == [
        "reading: orders[0]: nobody is there; trying again",
        "reading: orders[1]: a lie; trying again",
    ]


def test_what_the_log_was_told_already_is_kept_and_not_told_again(said: Callable[[], list[str]]) -> None:
    @in_virtual_loop
    async def scenario() -> None:
        troubles = Troubles("writing")
        troubles.known(PLACES[0], "our login may not")
        await asyncio.sleep(6)
        assert troubles.words == {PLACES[0]: "our login may not"}
        troubles.over(PLACES[0])
        troubles.close()
        assert not troubles.words

    scenario()
    assert said() == []


def test_what_is_not_asked_for_any_more_is_not_said_to_go_on(said: Callable[[], list[str]]) -> None:
    @in_virtual_loop
    async def scenario() -> None:
        troubles = Troubles("reading")
        troubles.note(PLACES[0], "nobody is there")
        await asyncio.sleep(6)
        troubles.forget(PLACES[0])
        await asyncio.sleep(6)
        assert not troubles.words

    scenario()
    assert said() == ["reading: orders[0]: nobody is there; trying again"]
