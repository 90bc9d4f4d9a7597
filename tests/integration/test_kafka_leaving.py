"""A member leaves while records flow: nothing more of it is delivered, and nobody else notices."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from kafka_world import await_, sealwire
from pauses import Pauses
from traffic import Load, await_more, await_whole, count_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_world import World

    Record = Callable[[str, object], None]

pytestmark = pytest.mark.kafka

PER_SECOND = 500
GONE_WITHIN = 5.0  # seconds from the command to the last record of the member, where the cloud delivers the news
PAUSE = 1.0  # seconds that the others may pause
PLACES = [(topic, partition) for topic in ("left", "stays") for partition in range(3)]


def test_nothing_more_of_a_revoked_sender_is_delivered_and_the_others_flow_on(
    another: Callable[[str], World], record_property: Record
) -> None:
    world = another("leaving")
    world.make_source_topics(("left", "stays"))
    world.admit("berlin", "leaver")
    world.admit("hamburg", "stayer")
    world.admit("lisbon", "reader")
    channel = {"left": "orders", "stays": "orders"}
    leaver = world.sealing("leaver", ["left"], channels=channel)
    stayer = world.sealing("stayer", ["stays"], site="hamburg", channels=channel)
    reader = world.opening("reader", ["left", "stays"], channels=channel)
    for node in (leaver, stayer):
        sealwire("topics", "apply", "--yes", node.file)
    for node in (leaver, stayer, reader):
        sealwire("site", "init", node.file)
        node.start(ready=False)
    for node in (leaver, stayer, reader):
        node.await_ready()
    with Load(world.source, "left", PER_SECOND), Load(world.source, "stays", PER_SECOND) as load:
        for topic in channel:
            await_more(world.sink, topic, 4 * PER_SECOND)
        pauses = Pauses(world.sink, PLACES)
        pauses.start()
        await_(lambda: all(len(pauses.grew[place]) > 10 for place in PLACES), "that all of them flow")  # noqa: PLR2004
        asked = time.monotonic()
        sealwire("revoke", "leaver", "--why", "its machine was stolen", "--directory", world.directory / "project")
        await_more(world.sink, "stays", 10 * PER_SECOND)
        pauses.stop()
        there = count_of(world.sink, "left")
        await_more(world.sink, "stays", 2 * PER_SECOND)
        sent = load.stop()
    last = max(pauses.grew["left", partition][-1] for partition in range(3)) - asked
    longest = max(after - before for place in PLACES[3:] for before, after in pairwise(pauses.grew[place]))
    record_property("last record of the revoked member after, s", round(last, 2))
    record_property("longest pause of the other, s", round(longest, 2))
    assert last < GONE_WITHIN
    assert longest < PAUSE
    assert count_of(world.sink, "left") == there
    whole = await_whole(world.source, world.sink, "stays")
    assert (whole.sent, whole.missing, whole.foreign, whole.disordered, whole.duplicates) == (sent, 0, 0, 0, 0)
    await_(lambda: leaver.said("the charter refuses this member"), "that the member is told")
