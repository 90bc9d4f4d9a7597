"""What a topic takes is asked of it; what it did not tell when it refused is asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from in_loop import in_loop

from sealwire.agents.admin import Admin
from sealwire.agents.blocking import ClusterAway
from sealwire.agents.room import Room, Rooms
from sealwire.agents.settings import Cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

START = Room(1_000_000, 1_000_000)


class Told:
    """What a topic's settings are, as the cluster tells them; None: it does not answer."""

    settings: Mapping[str, str] | None = None

    async def config(self, _admin: Admin, _topic: str) -> Mapping[str, str]:
        if self.settings is None:
            raise ClusterAway("busy")  # noqa: EM101, TRY003 -- as short as the case
        return self.settings


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    found = Told()
    monkeypatch.setattr(Admin, "config", lambda admin, topic: found.config(admin, topic))  # noqa: PLW0108  (a bound method is handed no Admin)
    return found


def rooms() -> Rooms:
    return Rooms(Cluster("127.0.0.1:9", embedded=True), "test", START, 600.0)


@in_loop
async def test_what_was_not_told_at_the_refusal_is_worth_another_try_once_it_is_told(told: Told) -> None:
    found = rooms()
    guess = await found.refused("orders", 50_000)
    assert guess == Room(25_000, 49_999)
    assert "it did not tell us" in guess.words
    told.settings = {"max.message.bytes": "30000"}
    await found.note("orders")  # the topic has not changed since: it was only not heard
    assert await found.changed("orders")
    assert await found.refused("orders", 50_000) == Room(30_000, 30_000)
    await found.note("orders")
    assert not await found.changed("orders")


@in_loop
async def test_a_topic_that_refuses_what_it_says_it_takes_is_not_tried_again_for_that(told: Told) -> None:
    found, told.settings = rooms(), {"max.message.bytes": "60000"}
    await found.refused("orders", 50_000)
    await found.note("orders")
    assert not await found.changed("orders")


@in_loop
async def test_other_settings_are_worth_another_try_with_all_that_is_taken(told: Told) -> None:
    found, told.settings = rooms(), {"max.message.bytes": "30000"}
    assert await found.refused("orders", 50_000) == Room(30_000, 30_000)
    await found.note("orders")
    told.settings = {"max.message.bytes": "80000"}
    assert await found.changed("orders")
    assert found.of("orders") == START
