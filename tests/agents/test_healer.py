"""What the cloud lost comes again: a mirror asks, the sealer seals it again, nothing is delivered twice or skipped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import world as worlds
from batch_made import some
from in_loop import until
from test_mirror import flowing, one_by_one
from test_resealing import sealer_counters, source_of
from world import World, begin_site, in_world

from sealwire.agents import healer
from sealwire.keys.primitives import ED25519, SigningKey
from sealwire.keys.source import Span
from sealwire.keys.standing import State

if TYPE_CHECKING:
    from world import Station


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for a gap a moment after it is met, not after two seconds."""
    hurried = worlds.hurry

    def hurry(patch: pytest.MonkeyPatch) -> None:
        hurried(patch)
        patch.setattr(healer, "_AFTER", 0.1)

    monkeypatch.setattr(worlds, "hurry", hurry)


HOUR = 3600_000
HALF = 31_000  # ms: more than half of stale_after, after which a tail that does not come is stale


def asked(mirror: Station) -> int:
    return mirror.side.counters["reseals asked"]


async def lose(world: World, *offsets: int, start: int = 1, count: int = 6) -> None:
    """Have records sealed one by one, and some of their envelopes lost before anybody sees them."""
    world.envelopes.show(world.envelopes.end)
    await one_by_one(world, count, start)
    for offset in offsets:
        world.envelopes.drop(offset)
    world.envelopes.show()


@in_world
async def test_an_envelope_that_the_cloud_lost_is_sealed_again_and_delivered_in_its_place(world: World) -> None:
    sealer, mirror = await flowing(world)
    await lose(world, 2)
    await until(lambda: world.paris.got() == some(7))
    assert mirror.state() == "flowing"
    assert (asked(mirror), sealer_counters(sealer)["spans sealed again"]) == (1, 1)
    await one_by_one(world, 2, 7)
    await until(lambda: world.paris.got() == some(9))


@in_world
async def test_a_run_of_envelopes_and_a_second_one_are_healed_one_after_the_other(world: World) -> None:
    _, mirror = await flowing(world)
    await lose(world, 2, 3, 4, 7, 9, count=12)
    await until(lambda: world.paris.got() == some(13))
    assert asked(mirror) == 3
    assert mirror.state() == "flowing"


@in_world
async def test_a_tail_that_the_cloud_truncated_is_asked_for_when_it_is_stale(world: World) -> None:
    sealer, mirror = await flowing(world)
    world.envelopes.show(1)
    await one_by_one(world, 5, 1)
    world.envelopes.truncate(world.envelopes.end)
    world.envelopes.show()
    await until(lambda: mirror.standing().awaited is not None)  # type: ignore[union-attr]
    await asyncio.sleep(0.3)
    assert asked(mirror) == 0, "it may be on its way"
    world.clock.ahead += HALF
    await until(lambda: world.paris.got() == some(6))
    assert sealer_counters(sealer)["spans sealed again"] == 1


@in_world
async def test_what_was_cut_off_under_a_mirror_that_did_not_run_is_healed_when_it_does(world: World) -> None:
    _, mirror = await flowing(world)
    await mirror.stop()
    await one_by_one(world, 5, 1)
    world.envelopes.truncate(world.envelopes.end)
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: again.standing() is not None and again.standing().awaited is not None)  # type: ignore[union-attr]
    world.clock.ahead += HALF
    await until(lambda: world.paris.got() == some(6))


@in_world
async def test_a_cloud_topic_made_anew_loses_nothing(world: World) -> None:
    _, mirror = await flowing(world)
    world.envelopes.show(1)
    await one_by_one(world, 4, 1)
    world.cloud.make("acme.orders")
    await one_by_one(world, 2, 5)
    await until(lambda: world.paris.got() == some(7))
    assert mirror.state() == "flowing"


@in_world
async def test_a_reader_from_a_later_time_gets_no_history_by_asking(world: World) -> None:
    sealer, first = await flowing(world)
    await one_by_one(world, 4, 1)
    await first.stop()
    world.paris.kafka.make("orders")
    begin_site(world.paris.kafka)
    late = world.mirror(world.member("late", "paris", admitted=world.clock.now()))
    await late.start()
    await until(lambda: late.control.sessions)
    await one_by_one(world, 2, 5)
    await until(lambda: late.state() == "waiting")
    await until(lambda: asked(late) > 0)
    await until(lambda: not sealer.side.resealing._serving.going)  # type: ignore[union-attr]
    assert sealer_counters(sealer)["spans sealed again"] == 0
    assert world.envelopes.end == 7
    assert str(late.standing().cursor.reason) == "no-start"  # type: ignore[union-attr]


@in_world
async def test_two_mirrors_that_lack_the_same_have_it_sealed_again_once(world: World) -> None:
    sealer, mirror = await flowing(world)
    second = world.mirror()
    await second.start()
    await until(second.seated)
    await until(lambda: len(second.control.sessions) > 0)
    requests = world.cloud.at("acme.requests")
    requests.show(requests.end)
    await lose(world, world.envelopes.end, start=1, count=3)
    await until(lambda: asked(mirror) + asked(second) == 2)
    requests.show()
    await until(lambda: second.state() == mirror.state() == "flowing")
    serving = sealer.side.resealing  # type: ignore[union-attr]
    await until(lambda: not serving._serving.waiting and not serving._serving.going)
    assert sealer_counters(sealer)["spans sealed again"] == 1


@in_world
async def test_a_gap_is_asked_for_again_under_the_next_session_when_the_first_sender_is_gone(world: World) -> None:
    sealer, mirror = await flowing(world)
    await until(lambda: mirror.side.progress.outlook.speaker(source_of(world), world.clock.now()))  # type: ignore[union-attr]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(healer, "_NEW_SESSION_AFTER", 0.2)
        log = world.cloud.at("acme.requests")
        log.show(log.end)
        await lose(world, 2, count=3)
        await until(lambda: asked(mirror) == 1)
        await sealer.kill()
        log.truncate(log.end)
        log.show()
        await world.sealer(sealer.store).start()
        await until(lambda: world.paris.got() == some(4))
        assert asked(mirror) >= 2


@in_world
async def test_of_a_span_that_the_source_no_longer_has_a_mirror_says_so_and_waits_for_a_person(world: World) -> None:
    _, mirror = await flowing(world)
    world.envelopes.show(1)
    await one_by_one(world, 5, 1)
    world.envelopes.drop(1)
    world.envelopes.drop(2)
    world.berlin.kafka.at("orders").truncate(3)
    world.envelopes.show()
    await until(lambda: mirror.state() == "held")
    cursor = mirror.standing().cursor  # type: ignore[union-attr]
    assert (cursor.next, cursor.gap, str(cursor.reason)) == (1, Span(1, 3), "lost-span")
    assert world.paris.got() == some(1)
    count = asked(mirror)
    await one_by_one(world, 2, 6)
    await until(lambda: mirror.work().seats["acme.orders", 0].read_to == world.envelopes.end)
    assert asked(mirror) == count, "nobody is asked for what is known to be gone"


@in_world
async def test_what_lies_beyond_a_gap_is_read_again_once_when_all_of_the_gap_came(world: World) -> None:
    _, mirror = await flowing(world)
    await lose(world, 2, 3, 4, 5, count=30)
    (seat,) = mirror.work().seats.values()
    reads = world.envelopes.reads
    await until(lambda: world.paris.got() == some(31))
    assert mirror.state() == "flowing"
    whole = sum(map(len, world.envelopes.batches))
    assert world.envelopes.reads - reads <= 3 * whole
    assert seat.done_to <= world.envelopes.end


@in_world
async def test_a_gap_that_is_asked_for_waits_for_the_answer_before_it_is_asked_for_again(world: World) -> None:
    sealer, mirror = await flowing(world)
    requests = world.cloud.at("acme.requests")
    requests.show(requests.end)  # nobody ever sees one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(healer, "_AGAIN_AFTER", 0.3)
        times: list[float] = []
        publish = mirror.control.publish

        async def noted(topic: str, statement: bytes, record_key: bytes) -> None:
            if topic == "acme.requests":
                times.append(asyncio.get_running_loop().time())
            await publish(topic, statement, record_key)

        patch.setattr(mirror.control, "publish", noted)
        await lose(world, 2, count=3)
        await until(lambda: len(times) >= 3)
        assert times[1] - times[0] >= 0.3
        assert times[2] - times[1] >= 0.6
        assert mirror.standing().cursor.state is State.WAITING  # type: ignore[union-attr]
        (row,) = mirror.side.snapshot()["partitions"]
        assert row["why"] == f"gap: [2, 3) is missing; asked for again {asked(mirror)} times"
        requests.show()
        await until(lambda: world.paris.got() == some(4))


@in_world
async def test_what_was_sealed_before_its_sender_heard_of_the_next_root_is_sealed_again_after(world: World) -> None:
    sealer, mirror = await flowing(world)
    project, now = world.project, world.clock.now()
    former, project.authority = project.authority, SigningKey.from_seed(b"the next one".ljust(32))
    both = ((ED25519, former.public, now + HOUR), (ED25519, project.authority.public, now + HOUR))
    world.tell(project.follow(now, authority_keys=both))
    world.renew(mirror.store, "r2", "paris")
    reader = mirror.store.secrets.identity.member_id
    await until(lambda: sealer.control.trust.credentials[reader].root_version == 2)
    async with sealer.control.changing:  # its reading of the news waits
        world.tell(project.follow(now, authority_keys=both[1:], distrusted=((former.public, 0),)))
        await until(lambda: mirror.control.trust.root.version == 3)
        await one_by_one(world, 3, 1)
        await until(lambda: mirror.refused.get("unknown-signer"))
        assert world.paris.got() == some(1)
    world.renew(sealer.store, "s1", "berlin")
    await one_by_one(world, 2, 4)
    await until(lambda: world.paris.got() == some(6))
