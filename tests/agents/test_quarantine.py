"""What members truly signed and what is refused all the same is kept, still sealed, and bounded; nothing else is."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from batch_made import build, some
from in_loop import until
from world import World, in_world

from sealwire.agents import quarantine
from sealwire.keys.quarantined import Quarantined
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from world import Station

TOPIC = "_sealwire.acme.paris.quarantine"


async def flowing(world: World) -> tuple[Station, Station]:
    """Both run, and the first record is through."""
    sealer, mirror = await world.flow()
    world.berlin.send(some(1))
    await until(lambda: len(world.paris.got()) == 1)
    return sealer, mirror


def kept(world: World) -> list[Quarantined]:
    return [Quarantined.decode(value) for value in world.paris.kafka.at(TOPIC).values()]


def of_another_site(world: World, sealer: Station, first: int = 1) -> bytes:
    """A member of Berlin that speaks for Rome."""
    batch = build(some(1), base=first)
    said = world.inner(
        site="rome", first=first, next=first + 1, record_count=1, batch_count=1, uncompressed_size=len(batch)
    )
    return world.forge(sealer, said, batch)


@in_world
async def test_what_a_member_seals_and_may_not_is_kept_with_its_reason_place_and_sender(world: World) -> None:
    sealer, mirror = await flowing(world)
    envelope = of_another_site(world, sealer)
    offset = world.envelopes.inject(envelope)
    await until(lambda: mirror.side.quarantine.stored)  # type: ignore[union-attr]
    (found,) = kept(world)
    assert found.envelope == envelope
    assert (found.reason, found.cloud_topic, found.partition, found.offset) == (
        Reason.NOT_AUTHORISED, "acme.orders", 0, offset,
    )  # fmt: skip
    assert found.sender == sealer.store.secrets.identity.member_id
    assert found.name.startswith("s")
    assert found.session_id == sealer.side.senders.current("orders").outbound.id  # type: ignore[union-attr]
    assert found.topic_id == world.cloud.topics["acme.orders"][0]
    assert "speaks for site rome" in found.detail
    assert mirror.side.snapshot()["quarantine"] == {"stored": {"not-authorised": 1}, "left_out": {}}


@in_world
async def test_an_envelope_that_the_cloud_carried_elsewhere_is_kept(world: World) -> None:
    world.cloud.grow("acme.orders", 2)
    _, mirror = await flowing(world)
    world.cloud.at("acme.orders", 1).inject(world.envelopes.value(0))
    await until(lambda: kept(world))
    assert [(each.reason, each.partition) for each in kept(world)] == [(Reason.MISPLACED, 1)]
    assert mirror.refused.get("misplaced") == 1


@in_world
async def test_bytes_of_anybody_never_come_to_the_quarantine(world: World) -> None:
    _, mirror = await flowing(world)
    altered = bytearray(world.envelopes.value(0))
    altered[-1] ^= 1
    for value in (b"plain", b"", None, random.Random(1).randbytes(5000), bytes(altered), bytes(altered[:80])):
        world.envelopes.inject(value)
    stranger = bytes((*altered[:4], *os.urandom(32), *altered[36:]))
    world.envelopes.inject(stranger)
    world.berlin.send(some(1, 1))
    await until(lambda: len(world.paris.got()) == 2)
    assert sum(mirror.refused.values()) >= 6
    assert kept(world) == []
    assert mirror.side.snapshot()["quarantine"] == {"stored": {}, "left_out": {}}


@in_world
async def test_a_place_that_is_read_again_is_kept_once(world: World) -> None:
    sealer, mirror = await flowing(world)
    world.envelopes.inject(of_another_site(world, sealer))
    await until(lambda: kept(world))
    work, (seat,) = mirror.work(), mirror.work().seats.values()
    for _ in range(3):
        work._read_again(seat, 0)
        await until(lambda: seat.read_to == world.envelopes.end and seat.catching_up_to == -1)
    assert mirror.refused["not-authorised"] >= 3
    assert len(kept(world)) == 1


@in_world
async def test_a_flood_by_a_member_is_kept_in_part_and_counted_whole(world: World) -> None:
    sealer, mirror = await flowing(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quarantine, "A_MINUTE", 5)
        for _ in range(20):
            world.envelopes.inject(of_another_site(world, sealer))
        await until(lambda: mirror.refused.get("not-authorised") == 20 and len(kept(world)) == 5)
    told = mirror.side.snapshot()["quarantine"]
    assert told == {"stored": {"not-authorised": 5}, "left_out": {"not-authorised": 15}}
    world.berlin.send(some(1, 1))
    await until(lambda: len(world.paris.got()) == 2)


@in_world
async def test_what_waits_to_be_kept_is_bounded_and_holds_nothing_up_while_the_local_cluster_is_away(
    world: World,
) -> None:
    sealer, mirror = await flowing(world)
    log = world.paris.kafka.at(TOPIC)
    log.stored.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quarantine, "_WAITING_BYTES", 2000)
        for _ in range(20):
            world.envelopes.inject(of_another_site(world, sealer))
        world.berlin.send(some(1, 1))
        await until(lambda: len(world.paris.got()) == 2 and mirror.refused.get("not-authorised") == 20)
    left_out = mirror.side.quarantine.left_out["not-authorised"]  # type: ignore[union-attr]
    assert 10 < left_out < 20
    log.stored.set()
    await until(lambda: len(kept(world)) == 20 - left_out)


@in_world
async def test_a_quarantine_that_takes_no_record_so_large_counts_it_and_goes_on(world: World) -> None:
    sealer, mirror = await flowing(world)
    world.paris.kafka.at(TOPIC).refuse = lambda _batch: "too large"
    world.envelopes.inject(of_another_site(world, sealer))
    side = mirror.side
    await until(lambda: side.quarantine.left_out)  # type: ignore[union-attr]
    world.paris.kafka.at(TOPIC).refuse = lambda _batch: ""
    world.envelopes.inject(of_another_site(world, sealer))
    await until(lambda: len(kept(world)) == 1)


@in_world
async def test_a_quarantine_that_is_missing_is_named_and_holds_nothing_up(world: World) -> None:
    world.paris.kafka.topics.pop(TOPIC)
    sealer, mirror = await flowing(world)
    world.envelopes.inject(of_another_site(world, sealer))
    await until(lambda: mirror.side.snapshot()["quarantine"]["left_out"] == {"not-authorised": 1})
    assert "sealwire site init" in mirror.side.troubles[TOPIC]
    world.paris.kafka.make(TOPIC)
    assert TOPIC not in mirror.side.troubles
    world.envelopes.inject(of_another_site(world, sealer))
    await until(lambda: len(kept(world)) == 1)


@in_world
async def test_parked_sessions_are_shown_with_how_many_and_since_when(world: World) -> None:
    _, mirror = await flowing(world)
    before = world.clock.now()
    for _ in range(3):
        stranger = bytearray(world.envelopes.value(0))
        stranger[4:36] = os.urandom(32)
        world.envelopes.inject(bytes(stranger))
    await until(lambda: mirror.side.snapshot()["parked_sessions"] == 3)
    (row,) = mirror.side.snapshot()["parked"]
    assert replace_since(row) == {"topic": "acme.orders", "partition": 0, "sessions": 3}
    assert before <= row["since_ms"] <= world.clock.now()


def replace_since(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != "since_ms"}
