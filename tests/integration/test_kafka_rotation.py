"""All is made anew every few seconds while records flow on real clusters: nothing is lost and nothing comes twice."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from kafka_world import await_, sealwire
from pauses import Pauses
from traffic import Load, await_more, await_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_world import World

    Record = Callable[[str, object], None]

pytestmark = pytest.mark.kafka

PER_SECOND = 500
ROUNDS = 4
PAUSE = 1.0  # seconds at the sink, transactions and all; what a rotation itself adds is measured where nothing else is
PLACES = [("turns", partition) for partition in range(3)]


def test_rotations_every_few_seconds_under_load_lose_nothing(
    another: Callable[[str], World], record_property: Record
) -> None:
    world = another("turning")
    world.make_source_topics(["turns"])
    world.admit("berlin", "writer")
    world.admit("lisbon", "reader")
    sealer, mirror = world.sealing("writer", ["turns"]), world.opening("reader", ["turns"])
    for node in (sealer, mirror):
        node.file.write_text("rotate: {session: 10s}\n" + node.file.read_text())
    sealwire("topics", "apply", "--yes", sealer.file)
    for node in (sealer, mirror):
        sealwire("site", "init", node.file)
        node.start(ready=False)
    for node in (sealer, mirror):
        node.await_ready()
    with Load(world.source, "turns", PER_SECOND) as load:
        await_more(world.sink, "turns", 4 * PER_SECOND)
        pauses = Pauses(world.sink, PLACES)
        pauses.start()
        await_(lambda: all(len(pauses.grew[place]) > 10 for place in PLACES), "that all of them flow")  # noqa: PLR2004
        said = ""
        for _ in range(ROUNDS):
            said += sealwire("rotate", sealer.file, "all") + sealwire("rotate", mirror.file, "all")
            await_more(world.sink, "turns", 2 * PER_SECOND)
        pauses.stop()
        sent = load.stop()
    longest = max(after - before for place in PLACES for before, after in pairwise(pauses.grew[place]))
    sessions = sealer.said("turns: session ")
    record_property("sessions", sessions)
    record_property("longest pause, s", round(longest, 2))
    assert said.count("windows have new receiving keys") == ROUNDS
    assert len(set(re.findall(r"identity: credential \d+ counts, for (\w+)", said))) == 2 * ROUNDS
    assert sessions > 2 * ROUNDS  # by order, for new receiving keys and identities, and of themselves
    assert longest < PAUSE
    whole = await_whole(world.source, world.sink, "turns")
    assert (whole.sent, whole.missing, whole.foreign, whole.disordered, whole.duplicates) == (sent, 0, 0, 0, 0)
