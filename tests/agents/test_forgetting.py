"""Secrets are erased when nothing needs them any more, in memory and in the vault; and not before."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiokafka.structs import TopicPartition
from batch_made import some
from desk import Desk
from in_loop import until
from world import World, in_world

from sealwire.agents import forgetting
from sealwire.agents.settings import Lifetimes, SealPattern
from sealwire.keys import grant, keypackage, policy, primitives, progress, wire
from sealwire.keys.charter import PolicyRow
from sealwire.keys.primitives import ReceivingKey

if TYPE_CHECKING:
    from world import Station

    from sealwire.agents.opening_side import Opening
    from sealwire.agents.senders import Senders
    from sealwire.agents.sending import Sending

MINUTE, HOUR, DAY = 60_000, 3_600_000, 24 * 3_600_000


def senders(sealer: Station) -> Senders:
    return sealer.side.senders  # type: ignore[union-attr]


def current(sealer: Station) -> Sending:
    found = senders(sealer).current("orders")
    assert found is not None
    return found


async def look(mirror: Station) -> None:
    side: Opening = mirror.side  # type: ignore[assignment]
    await side.forgetting.look()


async def next_session(world: World, sealer: Station, mirror: Station) -> Sending:
    """End the session in use, so that its last word is heard; gives the one that ended."""
    before = current(sealer)
    await senders(sealer).rotate()
    session_id = before.outbound.id
    side: Opening = mirror.side  # type: ignore[assignment]
    await until(lambda: (spoken := side.forgetting._words.sessions.get(session_id)) and spoken.final is not None)
    await until(lambda: current(sealer).outbound.id in mirror.control.sessions)
    assert world
    return before


@in_world
async def test_a_sessions_secret_goes_when_all_that_it_sealed_is_delivered(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    ended = (await next_session(world, sealer, mirror)).outbound
    assert mirror.control.sessions[ended.id].secret == ended.secret
    await until(lambda: bool(world.paris.kafka.at("_sealwire.acme.paris.cursors").end))
    await look(mirror)
    assert set(mirror.control.sessions) == {current(sealer).outbound.id}
    assert ended.secret not in mirror.store.secrets.encode()
    world.berlin.send(some(3, 3))
    await until(lambda: len(world.paris.got()) == 6)


@in_world
async def test_it_stays_while_something_of_it_is_not_delivered(world: World) -> None:
    sealer, mirror = await world.flow()
    world.envelopes.show(0)
    world.berlin.send(some(3))
    await until(lambda: sealer.seat().position == 3)
    ended = (await next_session(world, sealer, mirror)).outbound
    await look(mirror)
    assert ended.id in mirror.control.sessions
    world.envelopes.show()
    await until(lambda: len(world.paris.got()) == 3)
    await until(lambda: mirror.standings()[0].written.next == 3)
    await look(mirror)
    assert ended.id not in mirror.control.sessions


@in_world
async def test_it_stays_without_a_last_word_until_hold_secrets_is_over(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    session = current(sealer).outbound
    await sealer.kill()
    world.clock.ahead = HOUR + 7 * DAY - MINUTE
    await look(mirror)
    assert session.id in mirror.control.sessions
    world.clock.ahead = HOUR + 7 * DAY + MINUTE
    await look(mirror)
    assert session.secret not in mirror.store.secrets.encode()


@in_world
async def test_the_settings_say_how_long_it_is_kept_and_held(world: World) -> None:
    mirror = world.mirror(lifetimes=Lifetimes(keep=2 * HOUR, hold_secrets=3 * HOUR))
    sealer = world.sealer()
    await mirror.start()
    await sealer.start()
    await until(lambda: senders(sealer).current("orders"))
    ended = (await next_session(world, sealer, mirror)).outbound
    world.clock.ahead = 3 * HOUR - MINUTE
    await look(mirror)
    assert ended.id in mirror.control.sessions
    world.clock.ahead = 3 * HOUR + MINUTE  # an hour of life, and two that it is kept
    await look(mirror)
    assert ended.id not in mirror.control.sessions


@in_world
async def test_what_lies_in_the_lanes_of_another_worker_counts_as_well(world: World) -> None:
    """The site's cursors are read, in whoever's lanes they are."""
    world.berlin.kafka.grow("orders", 2)
    world.cloud.grow("acme.orders", 2)
    world.paris.kafka.grow("orders", 2)
    sealer, first, second = world.sealer(), world.mirror(), world.mirror()
    for station in (first, second, sealer):
        await station.start()
    for number, station in enumerate((first, second)):
        await station.lanes.on_revoked()
        station.lanes.on_assigned({TopicPartition(station.settings.lane_topic, number)})
    await until(lambda: senders(sealer).current("orders") and len(current(sealer).readers) == 2)
    await until(lambda: all(current(sealer).outbound.id in each.control.sessions for each in (first, second)))
    for partition in range(2):
        world.cloud.at("acme.orders", partition).show(0)
        world.berlin.send(some(3), partition=partition)
    await until(lambda: {seat.position for work in sealer.works for seat in work.seats.values()} == {3})
    ended = (await next_session(world, sealer, first)).outbound
    world.cloud.at("acme.orders", 0).show()
    await until(lambda: len(world.paris.got(partition=0)) == 3)
    await asyncio.sleep(0.1)
    for station in (first, second):
        await look(station)
        assert ended.id in station.control.sessions
    world.cloud.at("acme.orders", 1).show()
    await until(lambda: len(world.paris.got(partition=1)) == 3)
    written = [each for station in (first, second) for each in station.standings()]
    await until(lambda: {each.written.next for each in written} == {3} or len(written) < 2)

    async def gone(station: Station) -> bool:
        await look(station)
        return ended.id not in station.control.sessions

    for station in (first, second):
        while not await gone(station):
            await asyncio.sleep(0.02)


@in_world
async def test_an_envelope_of_a_session_that_is_forgotten_is_dropped_and_not_parked(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    await next_session(world, sealer, mirror)
    await until(lambda: mirror.standings()[0].written.next == 3)
    await look(mirror)
    mirror.side.refused.clear()
    world.envelopes.inject(world.envelopes.value(0))
    await until(lambda: mirror.side.counters["of forgotten sessions"] == 1)
    world.berlin.send(some(3, 3))
    await until(lambda: len(world.paris.got()) == 6)
    assert "parked" not in mirror.refused


@in_world
async def test_a_last_word_names_what_another_worker_seals_by_now(world: World) -> None:
    sealer, mirror = await world.flow()
    world.envelopes.show(0)
    world.berlin.send(some(3))
    await until(lambda: sealer.seat().position == 3)
    session = current(sealer).outbound
    await sealer.lanes.on_revoked()
    sealer.lanes.on_assigned(set())
    sealer.side.report._left.clear()  # type: ignore[union-attr]
    await next_session(world, sealer, mirror)
    values = [value for value in world.cloud.at("acme.sessions").values() if value[2] == wire.Type.PROGRESS]
    shown = [each for each in values if progress.peek(each, world.project.root.project_id).session_id == session.id]
    said = progress.read(shown[-1], mirror.control.sessions[session.id], world.clock.now())
    assert [(each.partition, each.next) for topic in said.topics for each in topic.partitions] == [(0, 3)]
    await look(mirror)
    assert session.id in mirror.control.sessions
    world.envelopes.show()
    await until(lambda: len(world.paris.got()) == 3)


@in_world
async def test_receiving_keys_go_a_grace_after_their_window(world: World) -> None:
    mirror = world.mirror(lifetimes=Lifetimes(receive_grace=2 * HOUR))
    await mirror.start()
    await until(mirror.control.caught_up.is_set)
    first = min(mirror.store.secrets.held, key=lambda each: each.end)
    world.clock.ahead = first.end + 2 * HOUR - MINUTE - world.clock.now()
    await look(mirror)
    assert first in mirror.store.secrets.held
    world.clock.ahead += 2 * MINUTE
    await look(mirror)
    assert first not in mirror.store.secrets.held
    assert first.receiving.encode() not in mirror.store.secrets.encode()


@in_world
async def test_after_a_start_receiving_keys_wait_for_sessions_to_be_read_and_no_longer_than_an_hour(
    world: World,
) -> None:
    mirror = world.mirror()
    await mirror.start()
    await until(mirror.control.caught_up.is_set)
    await mirror.stop()
    world.clock.ahead = 3 * DAY
    again = world.mirror(mirror.store)
    budget = again.cloud.budget
    taken = budget.take(budget.total)  # nothing can be read
    await again.start()
    old = {each for each in mirror.store.secrets.held if each.end + DAY < world.clock.now()}
    assert old
    await look(again)
    assert old <= set(again.control.secrets.held)
    await until(lambda: again.side.forgetting._begun is not None)  # type: ignore[union-attr]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forgetting, "_AT_LATEST", 0.0)
        await look(again)
    assert not old & set(again.control.secrets.held)
    budget.release(taken)


def backfilled(ms: int) -> PolicyRow:
    return PolicyRow("*", "*", policy.ATTRIBUTES, policy.MEMBERS, policy.MEMBERS, ms)


@in_world
async def test_a_late_reader_is_granted_ended_sessions_inside_the_backfill_and_opens_what_is_there(
    world: World,
) -> None:
    Desk(world).sign(policies=(backfilled(2 * HOUR),))
    sealer, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    ended = (await next_session(world, sealer, mirror)).outbound
    assert ended.secret in sealer.store.secrets.encode()
    assert ended.signing.seed not in sealer.store.secrets.encode()
    world.clock.ahead = HOUR
    late = world.mirror(world.member("late", "rome", admitted=world.clock.now()))
    await late.start()
    await until(lambda: ended.id in late.control.sessions)
    me = sealer.store.secrets.identity.member_id
    values = [value for value in world.cloud.at("acme.sessions").values() if value[2] == wire.Type.GRANTS]
    read = [grant.read(value, world.project.root.project_id)[0] for value in values]
    assert me in {each.granter for each in read if each.session_id == ended.id}


@in_world
async def test_a_reader_that_comes_while_its_sealer_is_off_is_granted_the_past_at_the_next_start_and_nobody_else_is(
    world: World,
) -> None:
    Desk(world).sign(policies=(backfilled(2 * HOUR),))
    sealer, mirror = await world.flow()
    ended = (await next_session(world, sealer, mirror)).outbound
    await sealer.kill()  # as it would be in the midst of granting
    before = len(world.cloud.at("acme.sessions").values())
    world.clock.ahead = HOUR
    late = world.mirror(world.member("late", "rome", admitted=world.clock.now()))
    await late.start()
    await until(late.control.caught_up.is_set)
    again = world.sealer(sealer.store)
    await again.start()
    await until(lambda: ended.id in late.control.sessions)
    me, project = sealer.store.secrets.identity.member_id, world.project.root.project_id
    values = [value for value in world.cloud.at("acme.sessions").values()[before:] if value[2] == wire.Type.GRANTS]
    given = [found for value in values if (found := grant.read(value, project)[0]).granter == me]
    assert {each.recipient for found in given for each in found.grants} == {late.store.secrets.identity.member_id}


@in_world
async def test_no_session_waits_for_what_a_late_reader_is_granted_of_the_past(world: World) -> None:
    Desk(world).sign(policies=(backfilled(2 * HOUR),))
    sealer, mirror = await world.flow()
    await next_session(world, sealer, mirror)
    share, may, shared = grant.share, threading.Event(), threading.Event()

    def slowly(*args: Any) -> bytes | None:
        shared.set()
        may.wait()
        return share(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grant, "share", slowly)
        late = world.mirror(world.member("late", "rome", admitted=world.clock.now()))
        await late.start()
        await until(shared.is_set)
        try:
            async with asyncio.timeout(5):
                await senders(sealer).rotate()
        finally:
            may.set()
    await until(lambda: len(late.control.sessions) >= 2)


@in_world
async def test_a_late_reader_that_is_refused_meanwhile_is_granted_no_more_of_the_past(world: World) -> None:
    desk = Desk(world)
    desk.sign(policies=(backfilled(2 * HOUR),))
    sealer, mirror = await world.flow()
    ended = [(await next_session(world, sealer, mirror)).outbound.id for _ in range(3)]
    store = world.member("late", "rome", admitted=world.clock.now())
    who, now = store.secrets.identity, world.clock.now()
    credential = world.project.read(store.secrets.credential or b"", now)
    _, package = keypackage.renew(who, credential, world.project.root.project_id, (), now, os.urandom)
    share, taken = grant.share, list[bytes]()

    def noting(own: Any, *args: Any) -> bytes | None:
        taken.append(own.id)
        world.cloud.at("acme.sessions").acked.clear()
        return share(own, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grant, "share", noting)
        world.tell(package or b"")
        await until(lambda: taken)
        desk.refuse(store)
        await until(lambda: sealer.control.trust.refuses(who.member_id, now))
        world.cloud.at("acme.sessions").acked.set()
        await until(lambda: senders(sealer).current("orders"))
        after = current(sealer)
        await senders(sealer).rotate()
        await until(lambda: current(sealer) is not after)
    assert taken == ended[:1]


@in_world
async def test_sessions_that_are_over_while_nothing_may_be_sealed_are_nowhere_in_memory(world: World) -> None:
    sealer, _ = await world.flow()
    Desk(world).sign(max_age=20 * MINUTE)
    await until(lambda: sealer.control.trust.charter.version == 1)
    outbound = weakref.ref(current(sealer).outbound)
    world.clock.ahead = 21 * MINUTE
    await until(lambda: sealer.control.holding)
    world.clock.ahead = 2 * HOUR
    await until(lambda: gc.collect() >= 0 and outbound() is None)


@in_world
async def test_sessions_that_are_over_while_the_cloud_acknowledges_no_word_of_them_are_nowhere_in_memory(
    world: World,
) -> None:
    sealer, _ = await world.flow()
    outbound, log = weakref.ref(current(sealer).outbound), world.cloud.at("acme.sessions")
    log.acked.clear()
    end = log.end
    await until(lambda: log.end > end)  # a word of it is on its way
    world.clock.ahead = HOUR + 6 * MINUTE
    await until(lambda: gc.collect() is not None and outbound() is None)


@in_world
async def test_what_is_granted_of_the_past_is_not_kept_for_a_cloud_that_does_not_acknowledge_it(world: World) -> None:
    Desk(world).sign(policies=(backfilled(HOUR),))
    sealer, mirror = await world.flow()
    for _ in range(2):
        await next_session(world, sealer, mirror)
    refs = [weakref.ref(own) for own in sealer.control.secrets.sent.values()]
    publish, granting = sealer.control.publish, asyncio.Event()

    async def hang(topic: str, statement: bytes, *more: Any) -> None:
        if statement[2] == wire.Type.GRANTS and grant.read(statement, world.project.root.project_id)[0].granter:
            granting.set()
            await asyncio.Event().wait()
        await publish(topic, statement, *more)

    sealer.control.publish = hang  # type: ignore[method-assign]
    await world.mirror(world.member("late", "rome", admitted=world.clock.now())).start()
    await granting.wait()
    world.clock.ahead = 2 * HOUR + MINUTE
    await until(lambda: gc.collect() is not None and not [ref for ref in refs if ref() is not None])


@in_world
async def test_a_vault_that_is_not_written_keeps_no_session_in_memory_that_is_over(world: World) -> None:
    Desk(world).sign(policies=(backfilled(10 * MINUTE),))
    sealer, mirror = await world.flow()
    world.clock.ahead = 50 * MINUTE
    await next_session(world, sealer, mirror)
    outbound = weakref.ref(current(sealer).outbound)
    async with sealer.control.changing:  # as for as long as the disk does not take the vault
        world.clock.ahead = 71 * MINUTE
        await until(lambda: len(sealer.control.changing._waiters or ()) > 0)  # type: ignore[attr-defined]
        world.clock.ahead = 50 * MINUTE + HOUR + 6 * MINUTE
        await until(lambda: gc.collect() is not None and outbound() is None)


@in_world
async def test_a_sealer_that_starts_again_keeps_what_it_may_grant_before_it_has_found_the_topics_of_a_pattern(
    world: World,
) -> None:
    Desk(world).sign(policies=(backfilled(2 * HOUR),))
    pattern = SealPattern("orders", "^(orders)$", "acme.\\1")
    sealer, mirror = world.sealer(seal_patterns=(pattern,), by_name=False), world.mirror()
    for station in (sealer, mirror):
        await station.start()
    await until(lambda: senders(sealer).current("orders"))
    ended = (await next_session(world, sealer, mirror)).outbound
    await sealer.stop()
    topic = world.berlin.kafka.topics.pop("orders")  # the source does not answer
    again = world.sealer(sealer.store, seal_patterns=(pattern,), by_name=False)
    await again.start()
    await until(again.control.caught_up.is_set)
    await senders(again).backfill.forget()
    assert ended.id in again.store.secrets.sent
    world.berlin.kafka.topics["orders"] = topic
    await until(lambda: senders(again).current("orders"))
    assert ended.id in again.store.secrets.sent
    world.clock.ahead = 3 * HOUR + MINUTE
    await until(lambda: ended.id not in again.store.secrets.sent)


@in_world
async def test_without_a_backfill_no_secret_of_an_ended_session_stays_with_its_sender(world: World) -> None:
    sealer, mirror = await world.flow()
    ended = (await next_session(world, sealer, mirror)).outbound
    assert sealer.store.secrets.sent == {}
    assert ended.secret not in sealer.store.secrets.encode()
    serving = sealer.side.resealing  # type: ignore[union-attr]
    assert ended.id in serving._serving.sessions  # somebody may ask under it
    sealer.control.over = "no session begins any more, and nothing is stated"
    world.clock.ahead = HOUR + 6 * MINUTE
    await until(lambda: ended.id not in serving._serving.sessions)


@in_world
async def test_what_no_backfill_reaches_any_more_goes(world: World) -> None:
    desk = Desk(world)
    desk.sign(policies=(backfilled(2 * HOUR),))
    sealer, mirror = await world.flow()
    ended = (await next_session(world, sealer, mirror)).outbound
    world.clock.ahead = 3 * HOUR - MINUTE
    await senders(sealer).backfill.forget()
    assert ended.id in sealer.store.secrets.sent
    world.clock.ahead = 3 * HOUR + MINUTE
    await until(lambda: ended.id not in sealer.store.secrets.sent and senders(sealer).current("orders"))
    second = (await next_session(world, sealer, mirror)).outbound
    assert second.id in sealer.store.secrets.sent
    desk.sign(policies=(backfilled(0),))
    await until(lambda: sealer.store.secrets.sent == {})


@in_world
async def test_escrow_keys_of_the_root_are_granted_every_session(world: World) -> None:
    key, sealer = ReceivingKey.create(os.urandom), world.sealer()
    known = sealer.control.trust.root
    with_escrow = msgspec.structs.replace(known, escrow=(("safe", primitives.SUITE, key.public),))
    sealer.control.trust = replace(sealer.control.trust, root=with_escrow)
    mirror = world.mirror()
    await mirror.start()
    await sealer.start()
    await until(lambda: senders(sealer).current("orders"))
    values = [value for value in world.cloud.at("acme.sessions").values() if value[2] == wire.Type.GRANTS]
    kinds = {
        (each.kind, each.recipient)
        for value in values
        for each in grant.read(value, world.project.root.project_id)[0].grants
    }
    assert (grant.ESCROW, primitives.sha256(key.public)) in kinds
