"""What a mirror wrote into its ledger tells from whom the sink has what: the ledger of real lanes, read back."""

from __future__ import annotations

import pytest
from batch_made import some
from fake_kafka import FakeReader
from in_loop import until
from test_cursors import LEDGER, flowing
from world import LANES, World, in_world

from sealwire.agents.ledger_reading import BadLedger, LedgerReading
from sealwire.agents.single import record_batch
from sealwire.keys.provenance import Provenance


async def told(world: World, strange: list[str] | None = None) -> Provenance:
    found = Provenance()
    reading = LedgerReading(FakeReader(world.paris.kafka), LEDGER, LANES)
    await reading.entries(
        lambda _lane, entry: found.tell(entry), None if strange is None else lambda bad: strange.append(str(bad))
    )
    return found


@in_world
async def test_all_that_the_sink_has_is_told_of_its_sender_while_the_mirror_runs(world: World) -> None:
    sealer, mirror = await flowing(world)
    for at in range(1, 9):
        world.berlin.send(some(1, at))
        await until(lambda at=at: len(world.paris.got()) == at + 1)  # type: ignore[misc]
    found = await told(world)
    ((sender, totals),) = found.senders.items()
    assert sender == sealer.control.secrets.identity.member_id
    assert (totals.offsets, found.unfenced) == (9, 0)
    (stretch,) = totals.stretches
    assert (stretch.span.first, stretch.span.next) == (0, 9)
    log = world.paris.kafka.at("orders", 0)
    assert (stretch.sink.first, stretch.sink.next) == (0, log.end - 1)  # the marker of the last transaction is behind
    assert totals.sessions.keys() == mirror.control.sessions.keys()


@in_world
async def test_a_ledger_is_read_from_where_it_is_asked_for(world: World) -> None:
    await flowing(world)
    ends = {lane: world.paris.kafka.at(LEDGER, lane).end for lane in range(LANES)}
    found = Provenance()
    reading = LedgerReading(FakeReader(world.paris.kafka), LEDGER, LANES, ends)
    await reading.entries(lambda _lane, entry: found.tell(entry))
    assert found.senders == {}
    world.berlin.send(some(1, 1))
    await until(lambda: len(world.paris.got()) == 2)
    await reading.entries(lambda _lane, entry: found.tell(entry))
    assert [totals.offsets for totals in found.senders.values()] == [1]


@in_world
async def test_strange_records_are_passed_over_where_that_is_asked_for(world: World) -> None:
    await flowing(world)
    world.paris.kafka.at(LEDGER, 0).append(record_batch(b"?", 5, b"?"))
    strange: list[str] = []
    assert len((await told(world, strange)).senders) == 1
    (words,) = strange
    assert words.startswith(f"{LEDGER}[0] at offset ")
    with pytest.raises(BadLedger):
        await told(world)
