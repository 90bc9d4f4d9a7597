"""Sessions: made before they are needed, granted before they are used, renewed when readers or time say so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
from batch_made import some
from fake_kafka import FakePositions
from in_loop import until
from world import ORDERS, World, in_world

from sealwire.agents.sealing import Sealing
from sealwire.keys import policy, progress, session, wire
from sealwire.keys.charter import PolicyRow
from sealwire.keys.progress import State

if TYPE_CHECKING:
    from world import Station

    from sealwire.agents.senders import Sending
    from sealwire.keys.progress import Progress

MINUTE = 60_000


def current(sealer: Station) -> Sending | None:
    return sealer.side.senders.current("orders")  # type: ignore[union-attr]


def kinds(world: World) -> list[int]:
    """The types of the statements in the sessions topic, in order."""
    return [value[2] for value in world.cloud.at("acme.sessions").values()]


def said(world: World, mirror: Station) -> list[Progress]:
    """The progress that the mirror can read."""
    found = []
    for value in world.cloud.at("acme.sessions").values():
        if value[2] == wire.Type.PROGRESS:
            about = progress.peek(value, world.project.root.project_id).session_id
            if about in mirror.control.sessions:
                found.append(progress.read(value, mirror.control.sessions[about], world.clock.now()))
    return found


@in_world
async def test_without_a_reader_sealing_holds_and_goes_on_when_one_comes(world: World) -> None:
    sealer = world.sealer()
    await sealer.start()
    await until(lambda: "no reader is enrolled" in sealer.side.senders.why["orders"])  # type: ignore[union-attr]
    world.berlin.send(some(5))
    await until(lambda: sealer.lanes.open and any(work.seats for work in sealer.works))
    await until(lambda: sealer.seat().sealed_to == 0)
    assert sealer.seat().state == "waiting"
    assert world.envelopes.end == 0
    assert kinds(world) == []
    mirror = world.mirror()
    await mirror.start()
    await until(lambda: len(world.paris.got()) == 5)
    assert sealer.seat().state == "flowing"


@in_world
async def test_a_session_and_its_grants_are_published_before_the_first_envelope(world: World) -> None:
    sessions = world.cloud.at("acme.sessions")
    sessions.acked.clear()
    mirror, sealer = world.mirror(), world.sealer()
    await mirror.start()
    world.berlin.send(some(5))
    await sealer.start()
    await until(lambda: sessions.end == 1)
    assert current(sealer) is None
    assert world.envelopes.end == 0
    sessions.acked.set()
    await until(lambda: world.envelopes.end == 1)
    assert kinds(world)[:3] == [wire.Type.SESSION, wire.Type.GRANTS, wire.Type.PROGRESS]


@in_world
async def test_a_new_reader_starts_a_new_session_with_a_grant_for_it(world: World) -> None:
    sealer, mirror = await world.flow()
    before = current(sealer)
    assert before is not None
    store = world.member("late", "rome")  # at the site of another reader that one would grant it the former session
    second = world.mirror(store)
    await second.start()
    member = store.secrets.identity.member_id
    await until(lambda: (sending := current(sealer)) is not None and member in sending.reader_ids)
    after = current(sealer)
    assert after is not None
    assert after.outbound.id != before.outbound.id
    await until(lambda: after.outbound.id in second.control.sessions and after.outbound.id in mirror.control.sessions)
    assert before.outbound.id not in second.control.sessions


@in_world
async def test_a_reader_whose_credential_ended_is_granted_nothing_more(world: World) -> None:
    sealer, _ = await world.flow()
    world.clock.ahead = 8 * 24 * 60 * MINUTE
    await until(lambda: current(sealer) is None)
    await until(lambda: "no reader" in sealer.side.senders.why["orders"])  # type: ignore[union-attr]


@in_world
async def test_a_session_is_followed_by_the_next_after_ten_minutes_of_traffic(world: World) -> None:
    sealer, mirror = await world.flow()
    first = current(sealer)
    assert first is not None
    for minute in range(1, 14):
        world.clock.ahead = minute * MINUTE
        world.berlin.send(some(1, minute))
        await until(lambda minute=minute: len(world.paris.got()) == minute)  # type: ignore[misc]
    await until(lambda: (now := current(sealer)) is not None and now.outbound.id != first.outbound.id)
    assert current(sealer).outbound.number == 2  # type: ignore[union-attr]
    await until(lambda: len({each.session_id for each in said(world, mirror)}) == 2)


@in_world
async def test_an_idle_session_lives_for_most_of_an_hour_and_none_is_used_beyond_its_end(world: World) -> None:
    sealer, _ = await world.flow()
    first = current(sealer)
    assert first is not None
    world.clock.ahead = 20 * MINUTE
    await sealer.side.senders._look("orders")  # type: ignore[union-attr]
    assert current(sealer) is first
    world.clock.ahead = session.LIFE
    assert current(sealer) is not first
    await until(lambda: current(sealer) is not None)


@in_world
async def test_a_session_that_the_cloud_will_not_take_is_not_used_and_tried_again(world: World) -> None:
    log = world.cloud.at("acme.sessions")
    log.refuse = lambda _: "not authorised"
    mirror, sealer = world.mirror(), world.sealer()
    await mirror.start()
    await sealer.start()
    await until(lambda: "the cloud does not take our session" in sealer.side.senders.why["orders"])  # type: ignore[union-attr]
    assert current(sealer) is None
    log.refuse = lambda _: ""
    await until(lambda: current(sealer) is not None)


@in_world
async def test_progress_is_published_and_readable_by_those_who_were_granted_the_session(world: World) -> None:
    world.berlin.kafka.grow("orders", 3)
    world.cloud.grow("acme.orders", 3)
    _, mirror = await world.flow()
    world.berlin.send(some(4))
    await until(lambda: any(p.topics and p.topics[0].partitions[0].next == 4 for p in said(world, mirror)))
    last = said(world, mirror)[-1]
    (topic,) = last.topics
    assert (topic.topic, topic.topic_id) == ("orders", world.berlin.kafka.topics["orders"][0])
    assert topic.partition_count == 3
    assert [each.partition for each in topic.partitions] == [0, 1, 2]
    assert topic.partitions[0].state is State.LIVE
    assert last.as_of < last.next_by
    numbers = [each.number for each in said(world, mirror)]
    assert numbers == sorted(set(numbers))


@in_world
async def test_progress_says_when_a_source_partition_is_held(world: World) -> None:
    sealer, mirror = await world.flow()
    world.envelopes.refuse = lambda _: "no"
    world.berlin.send(some(4))
    await until(lambda: sealer.seat().held)

    def states() -> set[State]:
        return {each.state for p in said(world, mirror)[-1:] for topic in p.topics for each in topic.partitions}

    await until(lambda: states() == {State.HELD})
    assert said(world, mirror)[-1].topics[0].partitions[0].next == 0


@in_world
async def test_who_may_not_read_one_cloud_topic_of_a_channel_is_granted_no_session_of_it(world: World) -> None:
    """One session seals for all of them."""
    world.cloud.make("acme.secret")
    sealer, paris, rome = world.sealer(), world.mirror(), world.mirror(world.member("rome", "rome"))
    secret = replace(ORDERS, cloud_topic="acme.secret", source_topic="secret")
    sealer.settings = replace(sealer.settings, seal=(ORDERS, secret))
    sealer.side = Sealing(sealer.settings, sealer.control, sealer.watch, sealer.local, sealer.cloud_writer)
    sealer.side.positions = FakePositions({})  # type: ignore[assignment]
    sealer.side.lanes = sealer.lanes
    only_paris = policy.table({"role": ["member"], "site": ["paris"]})
    rows = (
        PolicyRow("orders", "acme.secret", policy.ATTRIBUTES, policy.MEMBERS, only_paris, 0),
        PolicyRow("orders", "*", policy.ATTRIBUTES, policy.MEMBERS, policy.MEMBERS, 0),
    )
    control = sealer.control
    control.trust = replace(control.trust, charter=msgspec.structs.replace(control.trust.charter, policies=rows))
    for station in (paris, rome, sealer):
        await station.start()
    members = [station.store.secrets.identity.member_id for station in (paris, rome)]
    await until(lambda: set(members) <= control.trust.packages.keys())
    assert dict(control.trust.readers("orders", "acme.orders", world.clock.now())).keys() == set(members)
    await until(lambda: (sending := current(sealer)) is not None and sending.reader_ids == {members[0]})
    await until(lambda: current(sealer).outbound.id in paris.control.sessions)  # type: ignore[union-attr]
    assert rome.control.sessions == {}
