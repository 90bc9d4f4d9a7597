"""Sessions: made before they are needed, granted before they are used, renewed when readers or time say so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
from batch_made import some
from fake_kafka import FakePositions
from in_loop import until
from world import ORDERS, World, in_world

from sealwire.agents import own_progress, records, senders
from sealwire.agents.sealing import Sealing
from sealwire.keys import policy, progress, session, wire
from sealwire.keys.charter import PolicyRow
from sealwire.keys.primitives import ED25519, SigningKey
from sealwire.keys.progress import State

if TYPE_CHECKING:
    from world import Station

    from sealwire.agents.senders import Sending
    from sealwire.keys.progress import Progress

MINUTE = 60_000
HOUR = 60 * MINUTE


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


def nexts(about: Progress) -> dict[int, int]:
    """How far a progress statement says that each partition is sealed."""
    return {each.partition: each.next for topic in about.topics for each in topic.partitions}


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
async def test_a_session_whose_sender_was_admitted_by_a_key_that_a_root_takes_away_is_followed_at_once(
    world: World,
) -> None:
    sealer, mirror = await world.flow()
    control, project, now = world.cloud.at("acme.control"), world.project, world.clock.now()
    former, project.authority = project.authority, SigningKey.from_seed(b"the next one".ljust(32))
    both = ((ED25519, former.public, now + HOUR), (ED25519, project.authority.public, now + HOUR))
    world.tell(project.follow(now, authority_keys=both))
    world.renew(mirror.store, "r2", "paris")
    reader = mirror.store.secrets.identity.member_id
    await until(lambda: sealer.control.trust.credentials[reader].root_version == 2)  # noqa: PLR2004 -- the root above
    await until(lambda: current(sealer) is not None)
    before = current(sealer)
    assert before is not None
    control.show(control.end)  # the root and the sealer's next credential come together
    world.tell(project.follow(now, authority_keys=both[1:], distrusted=((former.public, 0),)))
    world.renew(sealer.store, "s1", "berlin")
    control.show()
    await until(lambda: (after := current(sealer)) is not None and after.outbound.id != before.outbound.id)
    world.berlin.send(some(5))
    await until(lambda: len(world.paris.got()) == 5)


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
async def test_a_next_session_that_was_asked_for_is_begun_though_the_cloud_refused_it_at_first(world: World) -> None:
    sealer, _ = await world.flow()
    first, log = current(sealer), world.cloud.at("acme.sessions")
    log.refuse = lambda _: "not authorised"
    sealer.side.senders.anew()  # type: ignore[union-attr]
    await until(lambda: "the cloud does not take our session" in sealer.side.senders.why["orders"])  # type: ignore[union-attr]
    log.refuse = lambda _: ""
    await until(lambda: current(sealer) is not first)


@in_world
async def test_no_news_has_a_session_that_the_cloud_refuses_made_again_before_its_time(world: World) -> None:
    sealer, _ = await world.flow()
    log, begun = world.cloud.at("acme.sessions"), list[bytes]()

    def refuse(batch: bytes) -> str:
        if next(iter(records.read(memoryview(batch)))).value[2] == wire.Type.SESSION:  # type: ignore[index]
            begun.append(batch)
        return "not authorised"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(senders, "_TRY_AGAIN", 3600.0)
        patch.setattr(sealer.side.senders.progress, "say", nothing)  # type: ignore[union-attr]
        log.refuse = refuse
        sealer.side.senders.count(current(sealer), 64 << 30)  # type: ignore[union-attr, arg-type]
        await until(lambda: begun)
        for _ in range(100):
            sealer.side.senders.news()  # type: ignore[union-attr]
            await asyncio.to_thread(lambda: None)  # as wrapping is done
    assert len(begun) == 1


async def nothing(*_args: object, **_named: object) -> None:
    """Say nothing."""


@in_world
async def test_a_reader_with_other_receiving_keys_has_the_session_followed_that_was_just_begun_for_the_former(
    world: World,
) -> None:
    mirror, sealer, sessions = world.mirror(), world.sealer(), world.cloud.at("acme.sessions")
    await mirror.start()
    member = mirror.store.secrets.identity.member_id
    sessions.acked.clear()
    await sealer.start()
    await until(lambda: sessions.end == 1)
    former = sealer.control.trust.packages[member]
    await mirror.control.renewal.receiving_anew()
    await until(lambda: sealer.control.trust.packages[member] is not former)
    sessions.acked.set()
    await until(lambda: (now := current(sealer)) is not None and now.outbound.number == 2)


@in_world
async def test_a_session_has_no_word_after_its_last(world: World) -> None:
    sealer, mirror = await world.flow()
    first = current(sealer)
    assert first is not None
    await sealer.side.senders.rotate()  # type: ignore[union-attr]
    await sealer.side.senders.progress.say(first)  # type: ignore[union-attr]  # as one that was about to be said
    await until(lambda: first.outbound.id in mirror.control.sessions)
    mine = [p for p in said(world, mirror) if p.session_id == first.outbound.id]
    assert mine[-1].final
    assert mine[-1].number == max(p.number for p in mine)


@in_world
async def test_progress_is_published_and_readable_by_those_who_were_granted_the_session(world: World) -> None:
    world.berlin.kafka.grow("orders", 3)
    world.cloud.grow("acme.orders", 3)
    _, mirror = await world.flow()
    world.berlin.send(some(4))
    await until(lambda: {0: 4, 1: 0, 2: 0} in [nexts(p) for p in said(world, mirror)])
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
async def test_a_session_that_is_replaced_says_its_last_word_when_the_cloud_has_all_of_it(world: World) -> None:
    sealer, mirror = await world.flow()
    first = current(sealer)
    assert first is not None
    world.envelopes.acked.clear()
    world.berlin.send(some(4))
    await until(lambda: first.in_flight == 1)
    world.clock.ahead += 56 * MINUTE
    await until(lambda: current(sealer) is not first)
    await until(lambda: any(p.session_id != first.outbound.id for p in said(world, mirror)))
    assert not any(p.final for p in said(world, mirror))
    world.envelopes.acked.set()
    await until(lambda: any(p.final for p in said(world, mirror)))
    (last,) = [p for p in said(world, mirror) if p.final]
    assert (last.session_id, nexts(last)) == (first.outbound.id, {0: 4})
    assert last.number == max(p.number for p in said(world, mirror) if p.session_id == first.outbound.id)


@in_world
async def test_a_worker_that_is_asked_to_stop_says_a_last_word_of_all_that_it_sealed(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(4))
    await until(lambda: len(world.paris.got()) == 4)
    await sealer.stop()
    await until(lambda: any(p.final for p in said(world, mirror)))
    last = said(world, mirror)[-1]
    assert (last.final, nexts(last)) == (True, {0: 4})
    assert last.next_by > last.as_of  # the session is over, its duty is not


@in_world
async def test_a_last_word_that_the_cloud_does_not_take_is_said_again(world: World) -> None:
    sealer, mirror = await world.flow()
    first, log, refused = current(sealer), world.cloud.at("acme.sessions"), list[bytes]()
    assert first is not None

    def refuse(batch: bytes) -> str:
        value = next(iter(records.read(memoryview(batch)))).value or b""
        if value[2] != wire.Type.PROGRESS or refused or not first.over:
            return ""
        if progress.peek(value, world.project.root.project_id).session_id != first.outbound.id:
            return ""
        refused.append(batch)
        return "no room"

    log.refuse = refuse
    sealer.side.senders._end("orders", "as one whose reader is refused")  # type: ignore[union-attr]
    await until(lambda: [p for p in said(world, mirror) if p.final and p.session_id == first.outbound.id])
    assert refused


@in_world
async def test_a_last_word_that_the_cloud_does_not_take_keeps_no_worker_from_stopping(
    world: World,
) -> None:
    sealer, _ = await world.flow()
    world.cloud.at("acme.sessions").acked.clear()
    await sealer.stop()


@in_world
async def test_a_topic_that_is_gone_is_said_to_be_and_nobody_waits_for_a_word_of_it(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(4))
    await until(lambda: len(world.paris.got()) == 4)
    topic_id = world.berlin.kafka.topics["orders"][0]
    del world.berlin.kafka.topics["orders"]

    def gone() -> list[tuple[bytes, int]]:
        topics = [topic for p in said(world, mirror)[-1:] for topic in p.topics]
        return [(t.topic_id, each.next) for t in topics for each in t.partitions if each.state is State.GONE]

    await until(lambda: gone() == [(topic_id, 4)])
    world.berlin.kafka.make("orders")
    await until(lambda: len([t for p in said(world, mirror)[-1:] for t in p.topics]) == 2)
    assert gone() == [(topic_id, 4)]
    await until(lambda: {row["source"] for row in mirror.side.snapshot()["partitions"]} == {"gone", "live"})
    await sealer.kill()
    world.clock.ahead += 2 * MINUTE
    await until(lambda: any(row["stale"] for row in mirror.side.snapshot()["partitions"]))
    rows = {row["topic_id"]: row for row in mirror.side.snapshot()["partitions"]}
    assert rows[topic_id.hex()]["stale"] == ""


@in_world
async def test_a_topic_made_anew_while_nobody_sealed_is_gone_under_its_former_id(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(4))
    await until(lambda: ("orders", 0) in world.berlin.committed)
    await sealer.kill()
    former = world.berlin.kafka.topics["orders"][0]
    world.berlin.kafka.make("orders")
    world.berlin.send(some(2))
    again = world.sealer(sealer.store)
    await again.start()

    def last() -> dict[bytes, list[tuple[int, State]]]:
        topics = [topic for p in said(world, mirror)[-1:] for topic in p.topics]
        return {topic.topic_id: [(each.next, each.state) for each in topic.partitions] for topic in topics}

    anew = world.berlin.kafka.topics["orders"][0]
    await until(lambda: last() == {former: [(4, State.GONE)], anew: [(2, State.LIVE)]})


@in_world
async def test_a_topic_of_which_nothing_is_sealed_here_is_stated_with_its_count(world: World) -> None:
    world.cloud.make("acme.orders")  # the sealer seats no partition beyond it
    world.berlin.kafka.grow("orders", 2)
    _, mirror = await world.flow()

    def held() -> dict[int, State]:
        topics = [topic for p in said(world, mirror)[-1:] for topic in p.topics]
        return {each.partition: each.state for topic in topics for each in topic.partitions}

    await until(lambda: held() == {0: State.LIVE, 1: State.HELD})
    assert said(world, mirror)[-1].topics[0].partition_count == 2


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


@in_world
async def test_a_source_partition_that_is_taken_over_is_named_soon(world: World) -> None:
    """Else a mirror that lacks something of it would have nobody to ask for half a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_progress, "_PROGRESS_EVERY", 3600.0)
        sealer, mirror = await world.flow()
        await until(lambda: said(world, mirror))
        world.cloud.grow("acme.orders", 2)
        world.berlin.kafka.grow("orders", 2)
        await until(lambda: sealer.seated(1))
        await until(lambda: 1 in nexts(said(world, mirror)[-1]))
