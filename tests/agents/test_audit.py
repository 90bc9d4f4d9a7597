"""A source exported and a sink audited, over logs in memory and ledgers made by hand."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from batch_made import NOW, Made, build, some
from fake_kafka import FakeCluster, FakeReader
from in_loop import in_loop

from sealwire.agents import audit
from sealwire.agents.audit import Delivery, SinkAudit, Window
from sealwire.agents.exporting import Wanted, export
from sealwire.agents.ledger_reading import BadLedger, LedgerReading
from sealwire.agents.seat import OffsetOutOfRange
from sealwire.agents.single import record_batch
from sealwire.keys.comparison import Comparison, Kind
from sealwire.keys.delivery import Delivered, record_key
from sealwire.keys.delivery import Delivery as Record
from sealwire.keys.history import history
from sealwire.keys.order import Expected, apply, give
from sealwire.keys.order import Kind as Kinds
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.standing import Cursor

if TYPE_CHECKING:
    from sealwire.keys.digests import Exported

SOURCE = SourcePartition("orders", "berlin", "orders", bytes(16), 0)
SINK_ID = bytes(range(16))
LEDGER = "_sealwire.acme.paris.ledger"
OURS, THEIRS = 500, 900  # producer ids
RECORDS = int(os.environ.get("VERIFY_RECORDS", "30000"))


def odd(number: int) -> Made:
    return Made(NOW + number, b"theirs", hashlib.sha256(b"%d" % number).digest(), [])


@dataclass
class Sites:
    """A source topic and a sink topic, and the delivery records that say what went from one to the other."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        for topic in ("orders", "sink", LEDGER):
            self.cluster.make(topic)

    def produce(self, made: list[Made], **more: int) -> None:
        self.cluster.at("orders").append(build(made, **more))

    def deliver(self, first: int, made: list[Made], source: SourcePartition = SOURCE, *, told: bool = True) -> None:
        """Deliver records whose source offsets begin at `first`, one after the other, as a batch of ours."""
        base = self.cluster.at("sink").append(build(made, producer=OURS))
        if told:
            self.tell(Span(first, first + len(made)), Span(base, base + len(made)), source)

    def tell(self, span: Span, sink: Span, source: SourcePartition = SOURCE) -> None:
        done = Delivered(
            span, bytes(32), bytes(32), bytes(32), "c", SINK_ID, 0, sink.first, sink.next, max(sink.next, 0)
        )
        self.records.append(Record(Cursor(source, span.next), done))

    def strangers(self, *numbers: int) -> None:
        self.cluster.at("sink").append(build([odd(number) for number in numbers], producer=THEIRS))

    async def exported(self) -> Exported:
        end = self.cluster.at("orders").end
        (found,) = await export(FakeReader(self.cluster), [Wanted(SOURCE, Span(0, end))])
        return found

    async def audited(
        self, *, settled: int | None = None, exported: Exported | None = None, end: int | None = None
    ) -> tuple[Comparison, SinkAudit]:
        comparison = Comparison(exported or await self.exported())
        by_source: dict[SourcePartition, list[Record]] = {}
        for record in self.records:
            by_source.setdefault(record.cursor.source, []).append(record)
        deliveries = [
            Delivery(history(records, SINK_ID), comparison if source == SOURCE else None)
            for source, records in by_source.items()
        ]
        log = self.cluster.at("sink")
        end = log.end if end is None else end
        window = Window(log.start, end, end if settled is None else settled)
        found = SinkAudit(FakeReader(self.cluster), "sink", 0, deliveries, window)
        await found.run()
        return comparison, found


def sites(count: int = 3000, size: int = 100) -> Sites:
    """A source whose records were delivered in envelopes of `size`."""
    made = Sites()
    for at in range(0, count, size):
        made.produce(some(size, at))
        made.deliver(at, some(size, at))
    return made


@in_loop
async def test_a_sink_that_has_what_the_source_has_is_quiet() -> None:
    comparison, found = await sites().audited()
    assert (comparison.findings, comparison.left, comparison.compared) == ([], [], 3000)
    assert found.told == audit.Outside()


@in_loop
async def test_control_batches_aborted_records_and_holes_are_no_part_of_an_export() -> None:
    world = Sites()
    world.produce(some(10), producer=7, attributes=0x10)
    world.produce(some(1, 50), producer=7, attributes=0x30)  # the marker that aborts them
    world.produce(some(5, 60), offsets=[0, 3, 4, 8, 9], last_delta=20)
    world.cluster.at("orders").aborted = ((7, 0),)
    exported = await world.exported()
    assert exported.count == 5
    assert exported.span == Span(0, 32)
    world.deliver(0, some(5, 60), told=False)
    world.tell(Span(0, 32), Span(0, 5))
    comparison, _ = await world.audited()
    assert (comparison.findings, comparison.compared) == ([], 5)


@in_loop
async def test_compressed_and_merged_batches_compare_as_their_records() -> None:
    world = Sites()
    for at in range(0, 100, 10):
        world.produce(some(10, at), codec=at % 5)
    world.deliver(0, some(100))
    comparison, _ = await world.audited()
    assert (comparison.findings, comparison.compared) == ([], 100)


CHANGES = {
    "a value": lambda made: made._replace(value=b"other"),
    "a record key": lambda made: made._replace(record_key=b"other"),
    "a record key to null": lambda made: made._replace(record_key=None),
    "a timestamp": lambda made: made._replace(timestamp=made.timestamp + 1),
    "a header": lambda made: made._replace(headers=[("h", b"2"), ("h", None)]),
    "a header's name": lambda made: made._replace(headers=[("g", b"1"), ("h", None)]),
    "the order of headers": lambda made: made._replace(headers=made.headers[::-1]),
}


@pytest.mark.parametrize("what", CHANGES)
@in_loop
async def test_one_altered_record_is_found(what: str) -> None:
    world = Sites()
    for at in range(0, 3000, 100):
        world.produce(some(100, at))
        records = some(100, at)
        if at == 1700:
            assert records[12].headers == [("h", b"1"), ("h", None)]
            assert records[12].record_key is not None or what != "a record key to null"
            records[12] = CHANGES[what](records[12])
        world.deliver(at, records)
    comparison, _ = await world.audited()
    (finding,) = comparison.findings
    assert (finding.kind, finding.span, finding.sink) == (Kind.ALTERED, Span(1000, 2000), Span(1000, 2000))


@in_loop
async def test_a_missing_a_doubled_and_two_swapped_records_are_found() -> None:
    world = Sites()
    for at in range(0, 9000, 100):
        world.produce(some(100, at))
        records = some(100, at)
        if at == 1700:
            del records[12]
        if at == 4400:
            records.insert(50, records[3])
        if at == 7700:
            records[5], records[9] = records[9], records[5]
        base = world.cluster.at("sink").append(build(records, producer=OURS))
        world.tell(Span(at, at + 100), Span(base, base + len(records)))
    comparison, _ = await world.audited()
    assert [(finding.kind, finding.span, finding.records) for finding in comparison.findings] == [
        (Kind.MISSING, Span(1000, 2000), 1),
        (Kind.DUPLICATED, Span(4000, 5000), 1),
        (Kind.REORDERED, Span(7000, 8000), 0),
    ]
    assert comparison.findings[1].extra in {(4449,), (4402,)}


@in_loop
async def test_what_a_crash_delivered_twice_is_told_as_duplicates_without_a_ledger_record() -> None:
    world = Sites()
    for at in range(0, 300, 100):
        world.produce(some(100, at))
    world.deliver(0, some(100))
    world.deliver(100, some(100, 100), told=False)  # killed before the delivery record
    world.deliver(100, some(100, 100))
    world.deliver(200, some(100, 200))
    comparison, found = await world.audited()
    (finding,) = comparison.findings
    assert (finding.kind, finding.records, finding.span) == (Kind.DUPLICATED, 100, Span(100, 300))
    assert (finding.sink, finding.extra) == (Span(100, 200), tuple(range(100, 200)))
    assert found.told.foreign == 0


@in_loop
async def test_the_first_delivery_of_all_repeated_is_told_as_duplicates_too() -> None:
    world = Sites()
    world.produce(some(100))
    world.deliver(0, some(100), told=False)
    world.deliver(0, some(100))
    comparison, _ = await world.audited()
    assert [(finding.kind, finding.records) for finding in comparison.findings] == [(Kind.DUPLICATED, 100)]


@in_loop
async def test_what_the_ledger_tells_twice_was_delivered_twice() -> None:
    world = Sites()
    world.produce(some(200))
    world.deliver(0, some(100))
    world.deliver(100, some(100, 100))
    world.deliver(0, some(100))
    comparison, _ = await world.audited()
    assert [(finding.kind, finding.sink) for finding in comparison.findings] == [(Kind.DUPLICATED, Span(200, 300))]


@in_loop
async def test_what_the_ledger_tells_twice_and_is_another_was_added() -> None:
    world = Sites()
    world.produce(some(100))
    world.deliver(0, some(100))
    world.deliver(0, some(100, 5000))
    comparison, _ = await world.audited()
    assert [(finding.kind, finding.records) for finding in comparison.findings] == [(Kind.ADDED, 100)]


@in_loop
async def test_other_producers_between_and_inside_our_runs_are_counted_and_no_fault() -> None:
    world = Sites()
    world.strangers(1)
    for at in range(0, 2000, 100):
        world.produce(some(100, at))
        if at == 700:
            base = world.cluster.at("sink").append(build(some(50, at), producer=OURS))
            world.strangers(2, 3)
            world.cluster.at("sink").append(build(some(50, at + 50), producer=OURS))
            world.tell(Span(at, at + 100), Span(base, base + 102))
        else:
            world.deliver(at, some(100, at))
            world.strangers(at + 10)
    comparison, found = await world.audited()
    assert (comparison.findings, comparison.compared) == ([], 2000)
    assert found.told.foreign == 1 + 2 + 19


@in_loop
async def test_records_of_our_own_hand_inside_a_run_that_nobody_sent_are_added() -> None:
    world = Sites()
    world.produce(some(100))
    world.deliver(0, [*some(100)[:50], odd(1), *some(100)[50:]], told=False)
    world.tell(Span(0, 100), Span(0, 101))
    comparison, _ = await world.audited()
    assert [(finding.kind, finding.extra) for finding in comparison.findings] == [(Kind.ADDED, (50,))]


@in_loop
async def test_two_source_partitions_in_one_sink_partition_are_told_apart() -> None:
    other = replace(SOURCE, site="oslo")
    world = Sites()
    for at in range(0, 1000, 100):
        world.produce(some(100, at))
        world.deliver(at, some(100, at))
        world.deliver(at, some(100, at + 50_000), other)
    comparison, found = await world.audited()
    assert (comparison.findings, comparison.compared, found.told.foreign) == ([], 1000, 0)


@in_loop
async def test_what_retention_took_at_the_sink_is_not_compared() -> None:
    world = sites()
    world.cluster.at("sink").truncate(1250)
    comparison, _ = await world.audited()
    assert comparison.findings == []
    assert [(left.span, left.why) for left in comparison.left] == [
        (Span(0, 1000), audit.GONE),
        (Span(1000, 2000), "the sink no longer has all of it"),
    ]
    assert comparison.compared == 1000


@in_loop
async def test_a_sink_that_ends_before_its_ledger_lost_what_lies_behind() -> None:
    world = sites()
    log = world.cluster.at("sink")
    log.batches, log.end = log.batches[:20], 2000
    comparison, _ = await world.audited()
    assert [(finding.kind, finding.records) for finding in comparison.findings] == [(Kind.MISSING, 1000)]


@in_loop
async def test_what_was_delivered_while_we_looked_is_nobodys_fault() -> None:
    world = sites(500)
    exported = await world.exported()
    settled = world.cluster.at("sink").end
    world.deliver(500, some(100, 500), told=False)
    comparison, found = await world.audited(settled=settled, exported=exported)
    assert (comparison.findings, found.told.foreign) == ([], 0)


@in_loop
async def test_what_was_stored_since_the_end_was_asked_for_is_not_looked_at() -> None:
    world = sites(500)
    exported = await world.exported()
    end = world.cluster.at("sink").end
    world.deliver(500, [odd(number) for number in range(100)])
    comparison, _ = await world.audited(settled=end, end=end, exported=replace(exported, span=Span(0, 600)))
    assert [(finding.kind, finding.records) for finding in comparison.findings] == []


@in_loop
async def test_an_export_that_ends_inside_a_batch_has_nothing_from_there_on() -> None:
    world = sites(1000)
    (found,) = await export(FakeReader(world.cluster), [Wanted(SOURCE, Span(130, 750))])
    assert [(block.first, block.next, block.records) for block in found.blocks] == [(130, 750, 620)]
    comparison, _ = await world.audited(exported=found)
    assert (comparison.findings, comparison.compared) == ([], 620)


@in_loop
async def test_what_a_rewind_left_behind_is_no_duplicate() -> None:
    world = sites(500)
    back = give(Kinds.REWIND, SOURCE, Expected.of(Cursor(SOURCE, 500)), 300, "anna", "a disk", 5, bytes)
    after = apply(Cursor(SOURCE, 500), back)
    assert after is not None
    world.records.append(Record(after, None, back))
    world.deliver(300, some(100, 300))
    world.deliver(400, some(100, 400))
    comparison, found = await world.audited()
    assert (comparison.findings, found.told.superseded) == ([], 500)


@in_loop
async def test_so_many_strangers_that_nobody_looks_at_them_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST_OUTSIDE", 3)
    world = sites(500)
    world.strangers(*range(10))
    _, found = await world.audited()
    assert (found.told.foreign, found.told.unlooked) == (3, 7)


@in_loop
async def test_times_of_the_sinks_broker_are_counted() -> None:
    world = Sites()
    world.produce(some(100))
    world.cluster.at("sink").append(build(some(100), producer=OURS, attributes=0x08, max_timestamp=NOW + 9))
    world.tell(Span(0, 100), Span(0, 100))
    comparison, found = await world.audited()
    assert [finding.kind for finding in comparison.findings] == [Kind.ALTERED]
    assert found.told.stamped == 100


@in_loop
async def test_an_export_of_what_the_source_no_longer_has_fails() -> None:
    world = sites(500)
    world.cluster.at("orders").truncate(100)
    with pytest.raises(OffsetOutOfRange):
        await world.exported()


@in_loop
async def test_a_ledger_is_read_on_from_where_it_was_read_to() -> None:
    world = sites(500)
    log, told = world.cluster.at(LEDGER), []
    for record in world.records[:3]:
        log.append(record_batch(record.encode(), NOW, record_key("sink", SOURCE)))
    reading = LedgerReading(FakeReader(world.cluster), LEDGER, 1)
    await reading.read(lambda topic, record: told.append((topic, record)))
    assert told == [("sink", record) for record in world.records[:3]]
    for record in world.records[3:]:
        log.append(record_batch(record.encode(), NOW, record_key("sink", SOURCE)))
    await reading.read(lambda topic, record: told.append((topic, record)))
    assert [record for _, record in told] == world.records


class Growing(FakeReader):
    """A reader of a log that grows as soon as its end was asked for."""

    async def end_offset(self, topic: str, partition: int, *, committed: bool = False) -> int:
        end = await super().end_offset(topic, partition, committed=committed)
        if end == 3:
            self._cluster.at(topic, partition).append(record_batch(self.more, NOW, record_key("sink", SOURCE)))
        return end

    more = b""


@in_loop
async def test_a_ledger_that_grows_meanwhile_is_told_once() -> None:
    world = sites(500)
    log, told = world.cluster.at(LEDGER), []
    for record in world.records[:3]:
        log.append(record_batch(record.encode(), NOW, record_key("sink", SOURCE)))
    reader = Growing(world.cluster)
    reader.more = world.records[3].encode()
    reading = LedgerReading(reader, LEDGER, 1)
    for _ in range(2):
        await reading.read(lambda _topic, record: told.append(record))
    assert told == world.records[:4]


@pytest.mark.parametrize(("key", "value"), [(b"x", b"\x01"), (record_key("sink", SOURCE), b"\x09")])
@in_loop
async def test_a_ledger_that_somebody_else_writes_is_refused_by_its_place(key: bytes, value: bytes) -> None:
    world = Sites()
    world.cluster.at(LEDGER).append(record_batch(value, NOW, key))
    with pytest.raises(BadLedger, match=r"ledger\[0\] at offset 0"):
        await LedgerReading(FakeReader(world.cluster), LEDGER, 1).read(lambda _topic, _record: None)


@pytest.mark.parametrize("what", ["altered", "missing", "duplicated", "reordered"])
def test_one_record_of_very_many_is_found(what: str) -> None:
    """VERIFY_RECORDS=1000000 is the measure."""

    async def measured() -> None:
        at_once, wrong = 5000, RECORDS * 7 // 10 // 5000 * 5000
        world = Sites()
        for at in range(0, RECORDS, at_once):
            made = some(at_once, at, 400)
            world.produce(made)
            if at == wrong:
                record = made[1234]
                match what:
                    case "altered":
                        made[1234] = record._replace(value=b"other")
                    case "missing":
                        del made[1234]
                    case "duplicated":
                        made.insert(1700, record)
                    case "reordered":
                        made[1234:1236] = made[1235], record
            base = world.cluster.at("sink").append(build(made, producer=OURS))
            world.tell(Span(at, at + at_once), Span(base, base + len(made)))
        begun = time.process_time()
        exported = await world.exported()
        between = time.process_time()
        comparison, _ = await world.audited(exported=exported)
        took = between - begun, time.process_time() - between
        rates = " and ".join(f"{RECORDS / each:,.0f} records/s" for each in took)
        print(f"\nverify {what}: {RECORDS:,} records, exported and compared at {rates} of CPU time")
        (finding,) = comparison.findings
        first = (wrong + 1234) // 1000 * 1000
        assert (finding.kind, finding.span) == (Kind(what), Span(first, first + 1000))
        assert comparison.compared == RECORDS

    asyncio.run(measured())
