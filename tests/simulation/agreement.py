"""Exactly once, ledger and cursors say of the sink what is there: each record once, where they say, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model import PARTS, Lied

from sealwire.agents import records
from sealwire.keys.delivery import Delivery, read_record_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fake_kafka import FakeCluster

Part = tuple[str, int]


def _committed(cluster: FakeCluster, topic: str) -> Iterator[records.Record]:
    for log in cluster.topics[topic][1]:
        for batch in log.committed():
            yield from records.read(memoryview(batch))


def _deliveries(cluster: FakeCluster, topic: str) -> Iterator[tuple[Part, Delivery]]:
    for record in _committed(cluster, topic):
        key = bytes(record.record_key or b"")
        if not key.startswith(b"\0\0"):
            sink_topic, source = read_record_key(key)
            yield (sink_topic, source.partition), Delivery.decode(bytes(record.value or b""))


def look_at_the_ledger(cluster: FakeCluster, site: str) -> dict[Part, int]:
    """Compare ledger and sink; how far each part is delivered. Raises Lied."""
    at = {
        part: [record.offset for batch in cluster.at(*part).committed() for record in records.read(memoryview(batch))]
        for part in PARTS
    }
    reached = dict.fromkeys(PARTS, 0)
    for part, delivery in _deliveries(cluster, f"_sealwire.acme.{site}.ledger"):
        done = delivery.delivered
        if done is None:
            raise Lied(f"the ledger tells of no delivery: {delivery}")
        span, before = done.span, reached[part]
        if not span.first <= before < span.next or delivery.cursor.next != span.next:
            raise Lied(f"the ledger has {span} of {part} after {before}, cursor {delivery.cursor.next}")
        places = at[part][before : span.next]
        if len(places) < span.next - before or not done.sink_first <= places[0] <= places[-1] < done.sink_next:
            raise Lied(f"{span} of {part} is at {places}, the ledger says [{done.sink_first}, {done.sink_next})")
        reached[part] = span.next
    for part, places in at.items():
        if reached[part] != len(places):
            raise Lied(f"the ledger knows of {reached[part]} of {len(places)} records of {part}")
    return reached


def look_at_the_cursors(cluster: FakeCluster, site: str, reached: dict[Part, int]) -> None:
    """Compare the cursors with what was delivered. Raises Lied."""
    last = dict(_deliveries(cluster, f"_sealwire.acme.{site}.cursors"))
    for part, delivered in reached.items():
        stands = (last[part].cursor.next or 0) if part in last else 0
        if stands != delivered:
            raise Lied(f"the cursor of {part} stands at {stands}, and {delivered} records are delivered")
