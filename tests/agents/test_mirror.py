"""The mirror before a cloud that does what it likes: what is delivered, what waits, what is refused and counted."""

from __future__ import annotations

import asyncio
import os
import random
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from batch_made import build, some
from in_loop import until
from world import OPEN_ORDERS, Project, Store, World, in_world

from sealwire.agents import lanes, opening_side
from sealwire.agents.batches import Corrupt, scan, walk
from sealwire.agents.header import read_header, restamp
from sealwire.agents.seat import ReadRefused
from sealwire.agents.single import record_batch
from sealwire.keys import identity, session
from sealwire.keys.delivery import Delivery
from sealwire.keys.envelope import Cause, Compression, Kind, Place, seal, sealed_size
from sealwire.keys.history import LOST, Passed, history
from sealwire.keys.reason import Reason
from sealwire.keys.source import Span
from sealwire.keys.standing import State

if TYPE_CHECKING:
    from world import Station


async def one_by_one(world: World, count: int, start: int = 0) -> None:
    """Send records so that each gets an envelope of its own."""
    for number in range(start, start + count):
        before = world.envelopes.produced
        world.berlin.send(some(1, number))
        await until(lambda before=before: world.envelopes.produced > before)  # type: ignore[misc]


async def flowing(world: World) -> tuple[Station, Station]:
    """Both run, and the first record is through."""
    sealer, mirror = await world.flow()
    await one_by_one(world, 1)
    await until(lambda: len(world.paris.got()) == 1)
    return sealer, mirror


@in_world
async def test_an_envelope_that_the_cloud_repeats_is_delivered_once(world: World) -> None:
    _, mirror = await flowing(world)
    world.envelopes.inject(world.envelopes.value(0))
    await one_by_one(world, 1, 1)
    await until(lambda: len(world.paris.got()) == 2)
    assert world.paris.got() == some(2)
    assert mirror.side.counters["duplicates"] == 1


@in_world
async def test_envelopes_that_the_cloud_reorders_are_delivered_in_order(world: World) -> None:
    await flowing(world)
    world.envelopes.show(1)
    await one_by_one(world, 4, 1)
    world.envelopes.swap(1, 3)
    world.envelopes.show()
    await until(lambda: len(world.paris.got()) == 5)
    assert world.paris.got() == some(5)


@in_world
async def test_a_gap_waits_with_its_span_named_and_goes_on_when_the_missing_envelope_comes_later(world: World) -> None:
    _, mirror = await flowing(world)
    world.envelopes.show(1)
    await one_by_one(world, 3, 1)
    missing = world.envelopes.drop(1)
    world.envelopes.show()
    await until(lambda: mirror.state() == "waiting")
    row = mirror.standing().row()  # type: ignore[union-attr]
    assert row["why"] == "gap: [1, 2) is missing"
    assert world.paris.got() == some(1)
    world.envelopes.inject(missing)
    await until(lambda: len(world.paris.got()) == 4)
    assert world.paris.got() == some(4)
    assert mirror.state() == "flowing"
    await one_by_one(world, 1, 4)
    await until(lambda: len(world.paris.got()) == 5)
    assert world.paris.got() == some(5)


@in_world
async def test_a_waiting_partition_keeps_its_place_over_a_restart(world: World) -> None:
    _, mirror = await flowing(world)
    world.envelopes.show(1)
    await one_by_one(world, 3, 1)
    missing = world.envelopes.drop(1)
    world.envelopes.show()
    await until(lambda: mirror.state() == "waiting")
    await mirror.stop()
    again = world.mirror(mirror.store)
    await again.start()
    await until(again.seated)
    standing = again.standing()
    assert standing is not None
    assert standing.cursor.state is State.WAITING
    assert (standing.cursor.gap.first, standing.cursor.gap.next) == (1, 2)  # type: ignore[union-attr]
    assert standing.cursor.place.offset == 2  # type: ignore[union-attr]
    world.envelopes.inject(missing)
    await until(lambda: len(world.paris.got()) == 4)
    assert world.paris.got() == some(4)


@in_world
async def test_what_one_source_partition_waits_for_holds_up_no_other(world: World) -> None:
    world.berlin.kafka.grow("orders", 2)
    world.cloud.grow("acme.orders", 2)
    world.paris.kafka.grow("orders", 2)
    _, mirror = await flowing(world)
    world.envelopes.show(1)
    await one_by_one(world, 2, 1)
    world.envelopes.drop(1)
    world.envelopes.show()
    await until(lambda: mirror.state() == "waiting")
    world.berlin.send(some(3), partition=1)
    await until(lambda: len(world.paris.got(partition=1)) == 3)
    assert mirror.state(1) == "flowing"


@in_world
async def test_overlap_is_trimmed(world: World) -> None:
    sealer, mirror = await flowing(world)
    batch = build(some(5), base=0)
    said = world.inner(next=5, record_count=5, batch_count=1, uncompressed_size=len(batch))
    world.envelopes.inject(world.forge(sealer, said, batch))
    await until(lambda: len(world.paris.got()) == 5)
    assert world.paris.got() == some(5)
    assert mirror.side.counters["trimmed"] == 1


@in_world
async def test_envelopes_of_a_session_not_known_yet_are_parked_and_delivered_when_the_grant_comes_in_order(
    world: World,
) -> None:
    mirror, sealer = world.mirror(), world.sealer()
    await mirror.start()
    await until(lambda: mirror.control.caught_up.is_set() and mirror.seated())
    world.cloud.at("acme.sessions").show(0)
    await sealer.start()
    await until(sealer.seated)
    await one_by_one(world, 3)
    await until(lambda: mirror.refused.get("parked", 0) == 3)
    assert world.paris.got() == []
    work = mirror.work()
    (seat,) = work.seats.values()
    await until(lambda: seat.done_to == 3)
    assert seat.position == 0, "a restart must find what is parked"
    world.cloud.at("acme.sessions").show()
    await until(lambda: len(world.paris.got()) == 3)
    assert world.paris.got() == some(3)
    await until(lambda: seat.position == 3)


@in_world
async def test_what_is_parked_is_found_again_after_a_restart(world: World) -> None:
    mirror, sealer = world.mirror(), world.sealer()
    await mirror.start()
    await until(lambda: mirror.control.caught_up.is_set() and mirror.seated())
    world.cloud.at("acme.sessions").show(0)
    await sealer.start()
    await until(sealer.seated)
    await one_by_one(world, 3)
    await until(lambda: mirror.refused.get("parked", 0) == 3)
    await mirror.stop()
    again = world.mirror(mirror.store)
    world.cloud.at("acme.sessions").show()
    await again.start()
    await until(lambda: len(world.paris.got()) == 3)
    assert world.paris.got() == some(3)


@in_world
async def test_a_stranger_s_session_holds_up_nobody(world: World) -> None:
    _, mirror = await flowing(world)
    before = mirror.refused.get("parked", 0)  # the first envelope may have come before its grant
    stranger = bytearray(world.envelopes.value(0))
    stranger[4:36] = os.urandom(32)
    world.envelopes.inject(bytes(stranger))
    await one_by_one(world, 2, 1)
    await until(lambda: len(world.paris.got()) == 3)
    assert mirror.refused == {"parked": before + 1}


@in_world
async def test_what_is_refused_is_counted_by_reason_and_the_rest_goes_on(world: World) -> None:
    world.cloud.grow("acme.orders", 2)
    sealer, mirror = await flowing(world)
    envelope = world.envelopes.value(0)
    altered = bytearray(envelope)
    altered[len(altered) // 2] ^= 1
    other = Project.make(world.clock.now(), "other")
    who = identity.create(os.urandom, world.clock.now())
    theirs, _ = session.start(
        who, other.admit(who, "x", "x", world.clock.now()), other.root.project_id, "orders", 0, 1,
        world.clock.now(), os.urandom,
    )  # fmt: skip
    place = Place(other.root.project_id, "orders", "acme.orders", 0)
    batch = build(some(1), base=0)
    said = world.inner(record_count=1, batch_count=1, uncompressed_size=len(batch))
    foreign = bytearray(sealed_size(said, len(batch)))
    seal(theirs, place, said, [batch], os.urandom, memoryview(foreign))
    bomb = zstandard.compress(bytes(64 * 1024 * 1024))
    squeezed = {"record_count": 1, "batch_count": 1, "compression": Compression.ZSTD}
    for value in (
        b'{"order": 1}',
        b"",
        None,
        random.Random(1).randbytes(5000),
        bytes(8 * 1024 * 1024),
        bytes(altered),
        envelope[:-1],
        envelope[:80],
        world.forge(sealer, world.inner(**squeezed, uncompressed_size=65 * 1024 * 1024), bomb),
        world.forge(sealer, world.inner(**squeezed, uncompressed_size=1000), bomb),
        world.forge(sealer, world.inner(site="rome", **squeezed, uncompressed_size=1000), bomb),
    ):
        world.envelopes.inject(value)
    world.envelopes.inject(envelope, b"k")
    world.envelopes.inject(bytes(foreign))
    world.cloud.at("acme.orders", 1).inject(envelope)
    await one_by_one(world, 2, 1)
    await until(lambda: len(world.paris.got()) == 3)
    assert world.paris.got() == some(3)
    await until(lambda: mirror.refused.get("misplaced"))
    assert {reason: count for reason, count in mirror.refused.items() if reason != "parked"} == {
        Reason.FOREIGN: 5,
        Reason.BAD_SIGNATURE: 3,  # altered, cut short by a byte, under a record key
        Reason.TRUNCATED: 1,
        Reason.TOO_LARGE: 1,
        Reason.MALFORMED: 1,
        Reason.NOT_AUTHORISED: 1,
        Reason.MISPLACED: 1,
    }
    assert mirror.refused["parked"] >= 1, "another project's session is one that nobody knows here"
    assert sum(log.produced for log in world.paris.kafka.topics["orders"][1]) == 3


@in_world
async def test_an_envelope_copied_from_another_topic_is_misplaced(world: World) -> None:
    world.cloud.make("acme.other")
    opener = world.mirror(route=OPEN_ORDERS)
    opener.settings = replace(opener.settings, open=(OPEN_ORDERS, replace(OPEN_ORDERS, cloud_topic="acme.other")))
    opener.side.settings = opener.settings
    opener.watch.settings = opener.settings
    await opener.start()
    sealer = world.sealer()
    await sealer.start()
    await until(sealer.seated)
    await one_by_one(world, 1)
    await until(lambda: len(world.paris.got()) == 1)
    world.cloud.at("acme.other").inject(world.envelopes.value(0))
    await until(lambda: opener.refused.get("misplaced") == 1)
    assert opener.refused.keys() <= {"misplaced", "parked"}  # the first envelope may have come before its grant


@in_world
async def test_an_implausible_span_is_held_and_moves_nothing(world: World) -> None:
    sealer, mirror = await flowing(world)
    batch = build(some(1), base=1)
    said = world.inner(first=1, next=1 << 30, record_count=1, batch_count=1, uncompressed_size=len(batch))
    world.envelopes.inject(world.forge(sealer, said, batch))
    await until(lambda: mirror.state() == "held")
    standing = mirror.standing()
    assert standing is not None
    assert (standing.cursor.next, standing.cursor.reason) == (1, Reason.IMPLAUSIBLE)


@in_world
async def test_a_sink_that_refuses_for_good_holds_only_that_source_partition(world: World) -> None:
    world.berlin.kafka.grow("orders", 2)
    world.cloud.grow("acme.orders", 2)
    world.paris.kafka.grow("orders", 2)
    _, mirror = await flowing(world)
    world.paris.kafka.at("orders").refuse = lambda _: "the timestamp is out of bounds"
    await one_by_one(world, 2, 1)
    await until(lambda: mirror.state() == "held")
    row = mirror.standing().row()  # type: ignore[union-attr]
    assert row["why"] == "sink-refused: the timestamp is out of bounds"
    assert row["cursor"] == 1
    world.paris.kafka.at("orders").refuse = lambda _: ""
    world.berlin.send(some(3), partition=1)
    await until(lambda: len(world.paris.got(partition=1)) == 3)
    await one_by_one(world, 1, 3)
    await until(lambda: mirror.work().seats["acme.orders", 0].position == 4)
    assert world.paris.got() == some(1), "nothing may overtake what was refused"


@in_world
async def test_the_cursor_stands_at_what_was_stored_when_the_sink_refuses_in_the_middle(world: World) -> None:
    sealer, mirror = await flowing(world)
    world.paris.kafka.at("orders").refuse = lambda batch: "out of bounds" if b"v5v5" in batch else ""
    parts = [build(some(2, at), at) for at in range(1, 9, 2)]
    said = world.inner(first=1, next=9, record_count=8, batch_count=4, uncompressed_size=sum(map(len, parts)))
    world.envelopes.inject(world.forge(sealer, said, b"".join(parts)))
    await until(lambda: mirror.state() == "held" and mirror.standing().written.next == 5)  # type: ignore[union-attr]
    cursor = mirror.standing().written  # type: ignore[union-attr]
    assert (cursor.next, cursor.gap, cursor.reason) == (5, Span(5, 9), Reason.SINK_REFUSED)
    assert world.paris.got() == some(5)
    await mirror.stop()
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: again.standing() is not None)
    assert again.standing().cursor == cursor  # type: ignore[union-attr]


@in_world
async def test_what_the_sink_refused_goes_on_when_its_topic_has_other_settings(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening_side, "_HELD_EVERY", 0.05)
        _, mirror = await flowing(world)
        log = world.paris.kafka.at("orders")
        log.refuse = lambda _: "the timestamp is out of bounds"
        await one_by_one(world, 3, 1)
        await until(lambda: mirror.state() == "held")
        refused = log.refused
        log.refuse = lambda _: ""
        await until(lambda: mirror.side.sink.rooms._seen)  # type: ignore[union-attr]
        assert (mirror.state(), log.refused) == ("held", refused), "nothing changed that is known here"
        log.most -= 1
        await until(lambda: world.paris.got() == some(4))
        assert (mirror.state(), mirror.standing().row()["why"]) == ("flowing", "")  # type: ignore[union-attr]
        await one_by_one(world, 1, 4)
        await until(lambda: world.paris.got() == some(5))


@in_world
async def test_a_held_partition_is_still_held_after_a_restart(world: World) -> None:
    _, mirror = await flowing(world)
    world.paris.kafka.at("orders").refuse = lambda _: "no"
    await one_by_one(world, 1, 1)
    await until(lambda: mirror.state() == "held")
    await mirror.stop()
    world.paris.kafka.at("orders").refuse = lambda _: ""
    again = world.mirror(mirror.store)
    await again.start()
    await until(again.seated)
    await until(lambda: again.work().seats["acme.orders", 0].read_to == 2)
    standing = again.standing()
    assert standing is not None
    assert (standing.cursor.state, standing.cursor.reason) == (State.HELD, Reason.SINK_REFUSED)
    assert world.paris.got() == some(1)


@in_world
async def test_a_lost_span_counts_even_while_the_sink_is_slow_and_the_worker_dies(world: World) -> None:
    sealer, mirror = await flowing(world)
    sink = world.paris.kafka.at("orders")
    await until(lambda: mirror.standing().written.next == 1)  # type: ignore[union-attr]
    sink.acked.clear()
    await one_by_one(world, 1, 1)
    await until(lambda: sink.produced == 2)
    lost = {"kind": Kind.LOST, "cause": Cause.DELETED, "first": 2, "next": 5}
    world.envelopes.inject(world.forge(sealer, world.inner(**lost)))
    await until(lambda: mirror.standing().cursor.next == 5)  # type: ignore[union-attr]
    assert mirror.standing().written.next == 1  # type: ignore[union-attr]
    sink.acked.set()
    await until(lambda: mirror.standing().written.next == 5)  # type: ignore[union-attr]
    await mirror.stop()
    again = world.mirror(mirror.store)
    await again.start()
    await until(again.seated)
    assert again.standing().cursor.next == 5  # type: ignore[union-attr]
    batch = build(some(1, 5), base=5)
    said = world.inner(first=5, next=6, record_count=1, batch_count=1, uncompressed_size=len(batch))
    world.envelopes.inject(world.forge(sealer, said, batch))
    await until(lambda: world.paris.got() == [*some(2), *some(1, 5)])


@in_world
async def test_a_lost_span_stands_in_the_ledger_as_one_of_which_nothing_is_at_the_sink(world: World) -> None:
    sealer, mirror = await flowing(world)
    for first, following in ((1, 4), (4, 7)):
        lost = {"kind": Kind.LOST, "cause": Cause.DELETED, "first": first, "next": following}
        world.envelopes.inject(world.forge(sealer, world.inner(**lost)))
    batch = build(some(1, 7), base=7)
    said = world.inner(first=7, next=8, record_count=1, batch_count=1, uncompressed_size=len(batch))
    world.envelopes.inject(world.forge(sealer, said, batch))
    await until(lambda: mirror.standing().written.next == 8)  # type: ignore[union-attr]
    logs = world.paris.kafka.topics["_sealwire.acme.paris.ledger"][1]
    told = [Delivery.decode(value) for log in logs for value in log.values() if value]
    (source,) = {each.cursor.source for each in told}
    assert source.partition == 0
    runs = history(told, world.paris.kafka.topics["orders"][0]).runs
    passed = [each for run in runs for each in run.passed]
    assert passed == [Passed(Span(1, 4), LOST), Passed(Span(4, 7), LOST)]
    assert (runs[0].span.first, runs[-1].span.next) == (0, 8)
    assert all(each.delivered is not None and each.delivered.sink_end > 0 for each in told)


@in_world
async def test_going_back_for_a_parked_session_never_passes_what_the_sink_has_not_acknowledged(world: World) -> None:
    """Else a worker that dies then begins behind an envelope that nobody delivered."""
    _, mirror = await flowing(world)
    second = world.sealer()
    sink = world.paris.kafka.at("orders")
    sink.stored.clear()
    await one_by_one(world, 1, 1)
    seat = mirror.work().seats["acme.orders", 0]
    await until(lambda: seat.read_to == 2)
    assert seat.done_to == 1
    world.cloud.at("acme.sessions").show(world.cloud.at("acme.sessions").end)
    world.berlin.kafka.make("orders")
    await second.start()
    await until(second.seated)
    await one_by_one(world, 1)
    await until(lambda: mirror.refused.get("parked", 0) > 0)
    world.cloud.at("acme.sessions").show()
    await until(lambda: seat.read_to == world.envelopes.end and not seat.parked)
    assert seat.done_to == 1
    sink.stored.set()
    await until(lambda: seat.done_to == world.envelopes.end)


@in_world
async def test_a_cloud_that_was_rolled_back_is_read_again_and_delivers_nothing_twice(world: World) -> None:
    _, mirror = await flowing(world)
    await one_by_one(world, 3, 1)
    await until(lambda: len(world.paris.got()) == 4)
    kept = world.envelopes.values()[:2]
    topic_id = world.cloud.topics["acme.orders"][0]
    world.cloud.make("acme.orders")
    world.cloud.topics["acme.orders"] = (topic_id, world.cloud.topics["acme.orders"][1])
    for value in kept:
        world.envelopes.inject(value)
    await until(lambda: mirror.side.counters["duplicates"] >= 2)
    await one_by_one(world, 1, 4)
    await until(lambda: len(world.paris.got()) == 5)
    assert world.paris.got() == some(5)


@in_world
async def test_any_bytes_at_all_in_a_cloud_batch_end_no_worker(world: World) -> None:
    """Not only values: lengths, counts, codecs and offsets of the batches are the cloud's to choose as well."""
    _, mirror = await flowing(world)
    dice = random.Random(7)
    whole = record_batch(world.envelopes.value(0), 1)
    restamp(whole)
    for number in range(300):
        altered = bytearray(whole)
        for _ in range(1 + number % 3):
            at = dice.choice([dice.randrange(17, 61), dice.randrange(61, len(altered))])
            altered[at] = dice.randrange(256)
        altered[23:27] = bytes(4)  # the last offset delta: what a broker leaves out of the log is another matter
        try:
            scan(memoryview(altered), check_crc=False)
        except Corrupt:
            continue  # the reader asks again, and says so in the end
        world.envelopes.append(altered)
    await one_by_one(world, 2, 1)
    await until(lambda: len(world.paris.got()) == 3)
    assert world.paris.got() == some(3)
    assert not mirror.errors


def test_an_implausible_hole_is_found_where_batches_are_walked() -> None:
    batch = build(some(2), base=0, offsets=[0, 9], last_delta=9)
    assert read_header(batch).record_count == 2
    assert len(walk(memoryview(batch), 0, 10)) == 1


@in_world
async def test_what_is_sealed_ahead_of_our_clock_is_parked_and_delivered_when_its_time_has_come(world: World) -> None:
    sealer, mirror = await world.flow()
    batch = build(some(1), base=0)
    said = world.inner(record_count=1, batch_count=1, uncompressed_size=len(batch))
    ahead = replace(said, sealed_at=world.clock.now() + 20 * 60_000)
    world.envelopes.inject(world.forge(sealer, ahead, batch))
    (seat,) = mirror.work().seats.values()
    await until(lambda: b"ahead of our clock" in seat.parked)
    assert world.paris.got() == []
    world.clock.ahead = 16 * 60_000
    mirror.work().revisit_ahead()
    await until(lambda: len(world.paris.got()) == 1)


@in_world
async def test_a_bomb_inside_a_batch_holds_its_source_partition_and_no_more(world: World) -> None:
    sealer, mirror = await flowing(world)
    bombs = []
    for number in (1, 3):
        batch = bytearray(build(some(1), base=number, last_delta=1))  # a gap: it has to be opened
        packed = zstandard.compress(bytes(80 * 1024 * 1024))
        batch[61:] = packed
        batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
        batch[21:23] = (4).to_bytes(2, "big")
        restamp(batch)
        batch[0:8] = number.to_bytes(8, "big")
        bombs.append(bytes(batch))
    data = b"".join(bombs)
    said = world.inner(first=1, next=5, record_count=2, batch_count=2, uncompressed_size=len(data))
    world.envelopes.inject(world.forge(sealer, said, data))
    await until(lambda: mirror.state() == "held")
    assert mirror.standing().cursor.reason is Reason.SINK_REFUSED  # type: ignore[union-attr]


@in_world
async def test_a_member_that_is_not_in_the_vault_has_nothing_delivered(world: World) -> None:
    """A session whose statement is not in the control log of this project never becomes one."""
    mirror = world.mirror()
    await mirror.start()
    await until(mirror.seated)
    other = Project.make(world.clock.now(), "acme")
    who = identity.create(os.urandom, world.clock.now())
    _, statement = session.start(
        who, other.admit(who, "x", "berlin", world.clock.now()), world.project.root.project_id, "orders", 0, 1,
        world.clock.now(), os.urandom,
    )  # fmt: skip
    world.tell(statement, "acme.sessions")
    await until(lambda: sum(mirror.control.refused.values()) == 1)
    assert isinstance(mirror.store, Store)
    assert mirror.control.sessions == {}


@pytest.mark.parametrize(("base", "delta"), [(2**63 - 1, 0), (2**63 - 3, 2), (2**63 - 2**30, 2**31 - 1), (-1, 0)])
def test_offsets_that_no_log_can_have_are_damage(base: int, delta: int) -> None:
    """A position beyond them could be written down, and never be read back."""
    batch = record_batch(b"x", 1)
    struct.pack_into(">q", batch, 0, base)
    struct.pack_into(">i", batch, 23, delta)
    with pytest.raises(Corrupt):
        scan(memoryview(batch), check_crc=False)


@in_world
async def test_what_is_read_again_in_the_middle_of_an_answer_is_neither_lost_nor_delivered_twice(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_TURN", -1.0)  # a turn for others after each envelope
        _, mirror = await flowing(world)
        world.envelopes.show(1)
        await one_by_one(world, 8, 1)
        work, looked = mirror.work(), 0
        seat = next(iter(work.seats.values()))
        first = seat.read_to
        decide = work._decide

        def decided(*opened: Any) -> None:
            nonlocal looked
            looked += 1
            decide(*opened)
            if looked in {3, 7}:
                asyncio.get_running_loop().call_soon(work._read_again, seat, first)

        patch.setattr(work, "_decide", decided)
        world.envelopes.show()
        await until(lambda: len(world.paris.got()) == 9)
        assert world.paris.got() == some(9)
        await until(lambda: seat.position == world.envelopes.end)
        assert looked == 3 + 4 + 8  # each time from the first on, and no further than that
        assert not seat.pending


@in_world
async def test_a_partition_given_up_in_the_middle_of_an_answer_stands_at_what_was_looked_at(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_TURN", -1.0)
        _, mirror = await flowing(world)
        world.envelopes.show(1)
        await one_by_one(world, 8, 1)
        work, looked = mirror.work(), 0
        seat = next(iter(work.seats.values()))
        decide = work._decide

        def decided(*opened: Any) -> None:
            nonlocal looked
            looked += 1
            decide(*opened)
            if looked == 3:
                asyncio.get_running_loop().call_soon(work._unseat, seat)

        patch.setattr(work, "_decide", decided)
        world.envelopes.show()
        await until(lambda: len(world.paris.got()) == 4)
        await until(lambda: not seat.pending)
        assert (seat.position, looked) == (4, 3)


@in_world
async def test_small_envelopes_on_their_way_count_for_what_they_take_besides_their_bytes(world: World) -> None:
    _, mirror = await flowing(world)
    await until(lambda: mirror.side.budget.used == 0)
    world.paris.kafka.at("orders").acked.clear()
    await one_by_one(world, 5, 1)
    await until(lambda: mirror.side.budget.used > 5 * 4096)
    world.paris.kafka.at("orders").acked.set()
    await until(lambda: mirror.side.budget.used == 0)


@in_world
async def test_a_cloud_partition_that_cannot_be_read_is_tried_again_from_where_it_stood(world: World) -> None:
    _, mirror = await flowing(world)
    (seat,) = mirror.work().seats.values()
    assert seat.seat is not None
    seat.seat.fail(ReadRefused("not authorised"))
    assert mirror.side.why_not.endswith("[0]: not authorised")
    await one_by_one(world, 3, 1)
    await until(lambda: len(world.paris.got()) == 4)
    assert world.paris.got() == some(4)
    assert not mirror.side.why_not


@in_world
async def test_trying_again_never_skips_what_someone_else_went_back_for(world: World) -> None:
    _, mirror = await flowing(world)
    await one_by_one(world, 3, 1)
    await until(lambda: len(world.paris.got()) == 4)
    work = mirror.work()
    (seat,) = work.seats.values()
    assert seat.seat is not None
    seat.seat.fail(ReadRefused("not authorised"))
    assert seat.read_to == 4
    work._read_again(seat, 1)
    now = seat.seat
    work._read_on(seat)
    assert seat.seat is now
    await until(lambda: seat.read_to == 4)


@in_world
async def test_a_gap_is_healed_through_a_cloud_topic_that_was_made_anew(world: World) -> None:
    _, mirror = await flowing(world)
    world.envelopes.show(1)
    await one_by_one(world, 3, 1)
    lost, *kept = world.envelopes.values()[1:]
    world.envelopes.drop(1)
    world.envelopes.show()
    await until(lambda: mirror.state() == "waiting")
    world.cloud.make("acme.orders")
    for value in (*kept, lost):
        world.envelopes.inject(value)
    await until(lambda: len(world.paris.got()) == 4)
    assert world.paris.got() == some(4)


@in_world
async def test_a_lane_whose_local_cluster_hangs_is_closed_all_the_same(world: World) -> None:
    """Else what it wrote later could overtake its successor's cursors."""
    _, mirror = await flowing(world)
    for log in world.paris.kafka.topics["_sealwire.acme.paris.cursors"][1]:
        log.stored.clear()
    await one_by_one(world, 1, 1)
    await until(lambda: world.paris.kafka.at("orders").produced == 2)
    work = mirror.work()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await work.close(orderly=True)
    assert work.closed
    assert len(world.paris.got()) == 1, "a successor begins with nothing of it"


@in_world
async def test_counts_that_are_not_those_of_the_batches_hold_the_source_partition(world: World) -> None:
    sealer, mirror = await flowing(world)
    batch = build(some(1), base=1)
    said = world.inner(first=1, next=3, record_count=2, batch_count=1, uncompressed_size=len(batch))
    world.envelopes.inject(world.forge(sealer, said, batch))
    await until(lambda: mirror.state() == "held")
    assert mirror.standing().row()["why"].startswith("implausible: 1 records in 1 batches")  # type: ignore[union-attr]


@in_world
async def test_batches_that_no_broker_has_stored_hold_the_source_partition(world: World) -> None:
    sealer, mirror = await flowing(world)
    said = world.inner(first=1, next=2, record_count=1, batch_count=1, uncompressed_size=100)
    world.envelopes.inject(world.forge(sealer, said, bytes(100)))
    await until(lambda: mirror.state() == "held")
    assert mirror.standing().cursor.next == 1  # type: ignore[union-attr]
    assert world.paris.got() == some(1)
