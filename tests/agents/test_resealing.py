"""A sealer that is asked: what it seals again, under which session, and what that leaves alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from batch_made import some
from desk import Desk
from in_loop import until
from test_mirror import flowing, one_by_one
from world import Store, World, in_world

from sealwire.agents import resealing, span_sealing
from sealwire.agents.chunks import Limits
from sealwire.agents.sealing import Sealing
from sealwire.keys import opening, reseal, serving
from sealwire.keys.envelope import Place
from sealwire.keys.inner import RESEAL, Cause, Inner, Kind
from sealwire.keys.source import SourcePartition, Span

if TYPE_CHECKING:
    from world import Station

    from sealwire.keys.opening import Opened


def source_of(world: World, partition: int = 0) -> SourcePartition:
    return SourcePartition("orders", "berlin", "orders", world.berlin.kafka.topics["orders"][0], partition)


async def asking(world: World) -> tuple[Station, Station]:
    """Both run, and the session that the mirror knows has named the source partition."""
    sealer, mirror = await flowing(world)
    source = source_of(world)

    def named() -> bool:
        sessions = sealer.side.resealing._serving.sessions  # type: ignore[union-attr]
        newest = max(mirror.control.sessions.values(), key=lambda each: each.made_at)
        return newest.id in sessions and source in sessions[newest.id].named

    await until(named)
    return sealer, mirror


def ask(world: World, mirror: Station, span: Span, *, store: Store | None = None, life: int = 60_000) -> bytes:
    """Ask under the newest session that the mirror knows, as itself or as another member."""
    who = (store or mirror.store).secrets
    newest = max(mirror.control.sessions.values(), key=lambda each: each.made_at)
    now = world.clock.now()
    assert who.credential is not None
    statement = reseal.make(who.identity, who.credential, newest, source_of(world), span, now, now + life, os.urandom)
    world.tell(statement, "acme.requests")
    return statement


def opened(world: World, mirror: Station, offset: int) -> Opened:
    """Open what stands at an offset of the cloud topic, as a mirror would."""
    value = world.envelopes.value(offset)
    place = Place(world.project.root.project_id, "orders", "acme.orders", 0)
    found = opening.open_envelope(
        value, place, None, mirror.control.sessions, mirror.control.trust, world.clock.now(),
        memoryview(bytearray(len(value) + 100_000)),
    )  # fmt: skip
    assert isinstance(found, opening.Opened)
    return found


def resealed(world: World, mirror: Station, start: int) -> list[Inner]:
    """What the cloud was given from an offset on."""
    return [opened(world, mirror, offset).inner for offset in range(start, world.envelopes.end)]


def sealer_counters(sealer: Station) -> dict[str, int]:
    assert isinstance(sealer.side, Sealing)
    return sealer.side.counters


@in_world
async def test_a_span_is_sealed_again_under_the_present_session_and_says_so(world: World) -> None:
    sealer, mirror = await asking(world)
    await one_by_one(world, 5, 1)
    position = sealer.seat().position
    ask(world, mirror, Span(2, 4))
    await until(lambda: sealer_counters(sealer)["spans sealed again"] == 1)
    (inner,) = resealed(world, mirror, 6)
    assert (inner.kind, inner.flags, inner.span, inner.record_count) == (Kind.RECORDS, RESEAL, Span(2, 4), 2)
    assert opened(world, mirror, 6).batches == b"".join(world.berlin.kafka.at("orders").batches[2:4])
    await sealer.side.commit()
    assert (sealer.seat().position, world.berlin.committed["orders", 0].offset) == (position, position)
    await one_by_one(world, 1, 6)
    await until(lambda: world.paris.got() == some(7))
    assert mirror.side.counters["duplicates"] == 1


@in_world
async def test_what_flows_goes_on_beside_a_span_that_is_sealed_again(world: World) -> None:
    sealer, mirror = await asking(world)
    for number in range(1, 40):
        world.berlin.send(some(1, number))
    await until(lambda: len(world.paris.got()) == 40)
    ask(world, mirror, Span(0, 40))
    for number in range(40, 80):
        world.berlin.send(some(1, number))
    await until(lambda: sealer_counters(sealer)["spans sealed again"] == 1)
    await until(lambda: len(world.paris.got()) == 80)
    assert world.paris.got() == some(80)
    assert sealer.seat().envelopes == len({inner.span for inner in resealed(world, mirror, 0) if not inner.reseal})


@in_world
async def test_what_the_source_no_longer_has_is_sealed_as_lost_and_held_until_a_person_decides(world: World) -> None:
    sealer, mirror = await asking(world)
    world.envelopes.show(1)
    await one_by_one(world, 5, 1)
    for offset in (1, 2, 3):
        world.envelopes.drop(offset)
    world.berlin.kafka.at("orders").truncate(3)
    world.envelopes.show()
    await until(lambda: mirror.state() == "waiting")
    ask(world, mirror, Span(1, 4))
    await until(lambda: mirror.state() == "held")
    await until(lambda: sealer_counters(sealer)["spans sealed again"] == 1)
    lost, rest = resealed(world, mirror, 6)
    assert (lost.kind, lost.cause, lost.flags, lost.span) == (Kind.LOST, Cause.DELETED, RESEAL, Span(1, 3))
    assert (rest.kind, rest.flags, rest.span) == (Kind.RECORDS, RESEAL, Span(3, 4))
    cursor = mirror.standing().cursor  # type: ignore[union-attr]
    assert (cursor.next, cursor.gap, str(cursor.reason)) == (1, Span(1, 3), "lost-span")
    assert world.paris.got() == some(1)
    assert sealer.seat().held == ""


@in_world
async def test_a_member_gets_no_history_from_before_its_admission(world: World) -> None:
    sealer, mirror = await asking(world)
    await one_by_one(world, 3, 1)
    late = world.member("late", "paris", admitted=world.clock.now())
    await until(lambda: sealer.control.trust.credential_of(late.secrets.identity.member_id))
    ask(world, mirror, Span(1, 3), store=late)
    young = [each._replace(timestamp=world.clock.now()) for each in some(1, 4)]
    world.berlin.send(young)
    await until(lambda: world.envelopes.end == 5)
    await until(lambda: not sealer.side.resealing._serving.waiting)  # type: ignore[union-attr]
    await until(lambda: not sealer.side.resealing._serving.going)  # type: ignore[union-attr]
    assert world.envelopes.end == 5, "older than the admission"
    ask(world, mirror, Span(4, 5), store=late)
    await until(lambda: world.envelopes.end == 6)
    assert opened(world, mirror, 5).inner.span == Span(4, 5)


@in_world
async def test_a_member_that_is_not_admitted_and_a_request_that_is_repeated_are_refused(world: World) -> None:
    sealer, mirror = await asking(world)
    await one_by_one(world, 3, 1)
    unknown = world.member("unknown", "paris", known=False)
    ask(world, mirror, Span(1, 2), store=unknown)
    await until(lambda: sealer.control.refused["unknown-member"] == 1)
    statement = ask(world, mirror, Span(1, 2))
    await until(lambda: sealer_counters(sealer)["spans sealed again"] == 1)
    for _ in range(3):
        world.tell(statement, "acme.requests")
    world.tell(b"noise", "acme.requests")
    second = ask(world, mirror, Span(2, 3))
    assert second != statement
    await until(lambda: sealer_counters(sealer)["spans sealed again"] == 2)
    assert [inner.span for inner in resealed(world, mirror, 4)] == [Span(1, 2), Span(2, 3)]


@in_world
async def test_a_flood_of_requests_slows_no_start_and_what_was_asked_before_it_is_not_read(world: World) -> None:
    log = world.cloud.at("acme.requests")
    for number in range(2000):
        log.inject(b"SW" + bytes((0x2B, 1, 1)) + os.urandom(600), b"%d" % number)
    sealer, mirror = await asking(world)
    assert log.reads == 0
    await one_by_one(world, 2, 1)
    ask(world, mirror, Span(1, 2))
    await until(lambda: sealer_counters(sealer)["spans sealed again"] == 1)


@in_world
async def test_requests_that_come_faster_than_they_are_looked_at_are_passed_over(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resealing, "_FAR_BEHIND", 10)
        sealer, mirror = await asking(world)
        await one_by_one(world, 2, 1)
        log = world.cloud.at("acme.requests")
        log.show(log.end)
        for _ in range(40):
            log.inject(os.urandom(200_000))
        log.show()
        await until(lambda: "passed over" in sealer.side.resealing.trouble)  # type: ignore[union-attr]
        await until(lambda: not sealer.side.resealing.trouble)  # type: ignore[union-attr]
        assert log.reads < 20 * 200_000
        ask(world, mirror, Span(1, 2))
        await until(lambda: sealer_counters(sealer)["spans sealed again"] == 1)


@in_world
async def test_a_requests_topic_that_was_cut_or_made_anew_is_read_on_from_its_end(world: World) -> None:
    sealer, mirror = await asking(world)
    await one_by_one(world, 2, 1)
    ask(world, mirror, Span(1, 2))
    await until(lambda: sealer_counters(sealer)["spans sealed again"] == 1)
    world.cloud.make("acme.requests")
    await until(lambda: "is not in" in sealer.side.resealing.trouble)  # type: ignore[union-attr]
    await until(lambda: not sealer.side.resealing.trouble)  # type: ignore[union-attr]
    ask(world, mirror, Span(2, 3))
    await until(lambda: sealer_counters(sealer)["spans sealed again"] == 2)


@in_world
async def test_a_turn_ends_at_its_bytes_and_the_rest_has_the_next_one(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "SLICE", 700)
        sealer, mirror = await asking(world)
        for number in range(1, 20):
            world.berlin.send(some(1, number))
        await until(lambda: len(world.paris.got()) == 20)
        start = world.envelopes.end
        patch.setattr(span_sealing.SpanSealing, "_limits_of", lambda *_: Limits(stored_bytes=300))
        ask(world, mirror, Span(0, 20))
        await until(lambda: sealer_counters(sealer)["spans sealed again"] >= 3)
        await until(lambda: resealed(world, mirror, start)[-1].next == 20)
        spans = [inner.span for inner in resealed(world, mirror, start)]
        assert [span.first for span in spans] == [0, *(span.next for span in spans[:-1])]


@in_world
async def test_a_source_partition_that_another_worker_has_is_not_sealed_again_here(world: World) -> None:
    sealer, mirror = await asking(world)
    await one_by_one(world, 2, 1)
    await until(lambda: sealer.side.resealing._serving.sessions)  # type: ignore[union-attr]
    await sealer.lanes.on_revoked()
    ask(world, mirror, Span(1, 2))
    await until(lambda: sealer.control.refused["misplaced"] == 1)
    assert world.envelopes.end == 3


@in_world
async def test_what_was_asked_for_by_a_member_that_is_refused_before_its_turn_is_not_sealed_again(world: World) -> None:
    sealer, mirror = await asking(world)
    await one_by_one(world, 3)
    store, resealing_ = world.member("late", "rome"), sealer.side.resealing  # type: ignore[union-attr]
    member_id = store.secrets.identity.member_id
    await until(lambda: sealer.control.trust.credential_of(member_id))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "AT_ONCE", 0)
        ask(world, mirror, Span(0, 2), store=store)
        await until(lambda: member_id in resealing_._serving.waiting)
        Desk(world).refuse(store)
        await until(lambda: member_id not in resealing_._serving.waiting)
    assert sealer_counters(sealer)["spans sealed again"] == 0
