"""Three sealing and three mirror workers that come, go, are killed and restarted under load."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest
from fleet import Fleet
from fleet_load import Size, Totals, read, totals
from traffic import count_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_world import World

pytestmark = pytest.mark.kafka

FULL: Final = os.environ.get("FLEET") == "full"
SIZE: Final = Size(20, 12, 1_000_000, 4000) if FULL else Size(6, 6, 100_000, 1200)
MOST_MEMORY: Final = 300 * 1000 * 1000  # bytes


def test_a_fleet_under_load_delivers_every_record_in_order_whoever_comes_and_goes(
    another: Callable[[str], World], record_property: Callable[[str, object], None]
) -> None:
    fleet = Fleet(another("fleet"), SIZE)
    sealers, mirrors, load = fleet.sealers, fleet.mirrors, fleet.load
    try:
        fleet.begin([*sealers[:2], *mirrors[:2]])
        if FULL:
            for side in (sealers, mirrors):
                fleet.join(side[2])
                fleet.leave(side[1])
                fleet.join(side[1])
                fleet.lose(side[2])
                fleet.join(side[2])
        else:
            fleet.join(sealers[2], mirrors[2])
            fleet.kill(sealers[0], mirrors[0])
        fleet.restart_rolling()
        pids = fleet.freeze(sealers[2], mirrors[2])
        fleet.await_delivered(load.rest())  # what the frozen ones had in hand was done by others
        fleet.thaw(pids, sealers[2], mirrors[2])
        load.per_second = SIZE.per_second
        if FULL:  # once more, waking while others go on
            fleet.thaw(fleet.freeze(sealers[1], mirrors[1]), sealers[1], mirrors[1])
        fleet.leave(*sealers[1:], *mirrors[1:])  # one a side has all partitions
        load.per_second = 20_000
        while load.count < SIZE.records:
            load.join(0.5)
        sent = load.stop()
        fleet.await_delivered(sent)
    finally:
        fleet.close()
    _tell(fleet, record_property)
    source, sink = read(fleet.world.source, SIZE), read(fleet.world.sink, SIZE)
    by_step = fleet.duplicates_by_step(sink)
    found = totals(sink)
    record_property("sent and found", (sent, found))
    record_property("duplicates by step", by_step)
    assert {place: partition.next for place, partition in source.items()} == load.sent
    assert {place: partition.next for place, partition in sink.items()} == load.sent
    assert found._replace(duplicates=0) == Totals(0, 0, 0, 0, 0)
    assert set(by_step) <= _may_repeat(fleet), "only a mirror that ends without a word may deliver again"
    assert max(fleet.sampler.memory.values()) < MOST_MEMORY


def _may_repeat(fleet: Fleet) -> set[str]:
    """The steps in which a mirror ends without a word or wakes, and those right after them."""
    words = [step.words for step in fleet.steps]
    ends = [number for number, each in enumerate(words) if each.startswith(("kill", "lose", "freeze", "thaw"))]
    return {words[number + late] for number in ends for late in (0, 1) if number + late < len(words)}


def _tell(fleet: Fleet, record_property: Callable[[str, object], None]) -> None:
    record_property("steps", [f"{step.words}: {step.took:.1f} s; {step.lanes}" for step in fleet.steps])
    record_property("pauses", fleet.pauses_by_step())
    statements = {topic: count_of(fleet.world.cloud, f"fleet.{topic}") for topic in ("control", "sessions")}
    record_property("statements", statements)
    record_property("counted", fleet.sampler.counted)
    record_property("peak memory, MB", {name: peak // 10**6 for name, peak in sorted(fleet.sampler.memory.items())})
