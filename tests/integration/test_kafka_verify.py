"""The audit on Apache Kafka: transactions, codecs, markers; copies of a sink with one lie each; how long it takes.

VERIFY_RECORDS=1000000 is the measure: one record of a million.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from confluent_kafka import Producer
from kafka_world import await_, environment, sealwire
from traffic import read_all

from sealwire.agents.admin import Admin
from sealwire.agents.settings import Cluster
from sealwire.keys.delivery import Delivered, Delivery, record_key
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.standing import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Bridge
    from kafka_cluster import KafkaCluster
    from kafka_world import World

pytestmark = pytest.mark.kafka

RECORDS: Final = int(os.environ.get("VERIFY_RECORDS", "30000"))
ENVELOPE: Final = 5000  # records
TOPIC, LEDGER = "many", "_sealwire.audit.lisbon.ledger"


class One(NamedTuple):
    """A record as it is produced."""

    value: bytes | None
    record_key: bytes | None
    time: int
    headers: list[tuple[str, bytes | None]]


def one(number: int) -> One:
    value = None if number % 97 == 96 else b"value %d " % number * (number % 13)
    headers: list[tuple[str, bytes | None]] = [("h", b"%d" % number), ("h", None)][: number % 3]
    return One(value, None if number % 5 == 4 else b"%d" % (number % 1000), 1_700_000_000_000 + number, headers)


def put(producer: Producer, topic: str, partition: int, each: One, told: Callable[..., None] | None = None) -> None:
    while True:
        try:
            producer.produce(
                topic,
                each.value,
                each.record_key,
                partition,
                headers=each.headers,
                timestamp=each.time,
                on_delivery=told,
            )
        except BufferError:
            producer.poll(0.1)
        else:
            return


def fill_source(cluster: KafkaCluster) -> None:
    """Partition 0: many records of every codec in turn; partition 1: transactions, every third aborted."""
    cluster.make_topic(TOPIC, 2)
    for at, codec in enumerate(("none", "lz4", "zstd", "snappy", "gzip")):
        settings = {"compression.type": codec, "linger.ms": 20, "enable.idempotence": True}  # else a retry reorders
        producer = Producer({"bootstrap.servers": cluster.bootstrap, **settings})
        for number in range(RECORDS * at // 5, RECORDS * (at + 1) // 5):
            put(producer, TOPIC, 0, one(number))
        assert producer.flush(120) == 0
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "transactional.id": "verify-source"})
    producer.init_transactions(30)
    for at in range(0, 3000, 50):
        producer.begin_transaction()
        for number in range(at, at + 50):
            put(producer, TOPIC, 1, one(number))
        if at % 3 == 0:
            producer.flush(30)
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)


class Sent(NamedTuple):
    """What one envelope would hold: the source offsets, and the records that are left there."""

    span: Span
    records: list[One]


def envelopes(cluster: KafkaCluster) -> dict[int, list[Sent]]:
    dense = [Sent(Span(at, min(at + ENVELOPE, RECORDS)), []) for at in range(0, RECORDS, ENVELOPE)]
    stored = read_all(cluster, TOPIC, raw=True)[1] if RECORDS <= 100_000 else []
    found: dict[int, list[Sent]] = {0: dense, 1: []}
    for at in range(0, len(stored), 400):
        following = stored[at + 400].offset() if at + 400 < len(stored) else stored[-1].offset() + 2  # and the marker
        first = 0 if at == 0 else stored[at].offset()
        records = [
            One(each.value(), each.key(), each.timestamp()[1], list(each.headers() or []))
            for each in stored[at : at + 400]
        ]
        found[1].append(Sent(Span(first, following), records))
    return found


def deliver(
    cluster: KafkaCluster,
    topic: str,
    ids: tuple[bytes, bytes],
    sent: dict[int, list[Sent]],
    change: Callable[..., None],
) -> None:
    """Fill a sink topic and the ledger as a mirror does, one transaction an envelope; with a change on the way."""
    producer = Producer(
        {"bootstrap.servers": cluster.bootstrap, "transactional.id": f"verify-{topic}", "linger.ms": 20}
    )
    producer.init_transactions(30)
    for partition, each_of in sent.items():
        source = SourcePartition(TOPIC, "berlin", TOPIC, ids[0], partition)
        for each in each_of:
            records = list(each.records) or [one(number) for number in range(each.span.first, each.span.next)]
            if partition == 0:
                change(each.span.first, records)
            offsets: list[int] = []
            producer.begin_transaction()
            for record in records:
                put(producer, topic, partition, record, lambda _error, message: offsets.append(message.offset()))  # noqa: B023
            assert producer.flush(120) == 0
            done = Delivered(
                span=each.span,
                sender=bytes(32),
                session_id=bytes(32),
                body_digest=bytes(32),
                sink_cluster="c",
                sink_topic_id=ids[1],
                sink_partition=partition,
                sink_first=min(offsets),
                sink_next=max(offsets) + 1,
                sink_end=max(offsets) + 1,
            )
            value = Delivery(Cursor(source, each.span.next), done).encode()
            producer.produce(LEDGER, value, record_key(topic, source), partition=partition)
            producer.commit_transaction(60)


AT: Final = RECORDS * 7 // 10 // ENVELOPE * ENVELOPE  # the envelope in which something is wrong


def nothing(_first: int, _records: list[One]) -> None:
    pass


def altered(first: int, records: list[One]) -> None:
    if first == AT:
        records[1234] = records[1234]._replace(headers=[("h", b"other")])


def missing(first: int, records: list[One]) -> None:
    if first == AT:
        del records[1234]


def duplicated(first: int, records: list[One]) -> None:
    if first == AT:
        records.insert(1700, records[1234])


def reordered(first: int, records: list[One]) -> None:
    if first == AT:
        records[1234], records[1235] = records[1235], records[1234]


CHANGES: Final = (nothing, altered, missing, duplicated, reordered) if RECORDS <= 100_000 else (nothing, altered)


def ids(cluster: KafkaCluster, topics: list[str]) -> dict[str, bytes]:
    return asyncio.run(Admin(Cluster(cluster.bootstrap)).topic_ids(topics))


def timed(*words: str | Path, code: int = 0) -> tuple[str, float]:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "sealwire.app", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
        env=environment(),
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, time.monotonic() - begun


def test_what_was_sealed_opened_and_delivered_is_proved_to_be_what_was_sent(bridge: Bridge) -> None:
    world, topic = bridge.world, "audited"
    producer = Producer({"bootstrap.servers": world.source.bootstrap, "compression.type": "lz4", "linger.ms": 20})
    for number in range(9000):
        put(producer, topic, number % 3, one(number))
    assert producer.flush(60) == 0
    await_(lambda: sum(map(len, read_all(world.sink, topic).values())) == 9000, "every record at the sink", every=0.5)
    file = world.directory / "bridge.digests"
    assert "9,000 records of 3 source partitions" in sealwire(
        "verify", "--export", file, bridge.sealer.file, "-t", topic
    )
    report = json.loads(sealwire("verify", "--against", file, bridge.mirror.file, "--json"))
    assert (report["ok"], report["records"], report["foreign"]) == (True, 9000, 0)
    assert [row["not_compared"] + row["passed"] for row in report["partitions"]] == [[], [], []]


def test_one_record_among_many_that_is_not_what_it_was_is_found(another: Callable[[str], World]) -> None:
    world = another("audit")
    world.admit("berlin", "producer1")
    world.admit("lisbon", "consumer1")
    berlin, lisbon = world.sealing("producer1", [TOPIC]), world.opening("consumer1", [TOPIC])
    fill_source(world.source)
    sinks = [f"sink-{change.__name__}" for change in CHANGES]
    for topic in sinks:
        world.sink.make_topic(topic, 2)
    world.sink.make_topic(LEDGER, 2)
    source_id, sink_ids = ids(world.source, [TOPIC])[TOPIC], ids(world.sink, sinks)
    sent = envelopes(world.source)
    for topic, change in zip(sinks, CHANGES, strict=True):
        deliver(world.sink, topic, (source_id, sink_ids[topic]), sent, change)

    file = world.directory / "many.digests"
    told, took = timed("verify", "--export", file, berlin.file)
    exported = int(told.split(": ", 1)[1].split(" ")[0].replace(",", ""))
    print(
        f"\nverify: exported {exported:,} records in {took:.1f} s, {exported / took:,.0f}/s, {file.stat().st_size:,} B"
    )
    said, took = timed("verify", "--against", file, lisbon.file, "--json", code=1)
    report: dict[str, Any] = json.loads(said)
    print(f"verify: compared {report['records']:,} records in {took:.1f} s, {report['records'] / took:,.0f}/s")
    assert file.stat().st_size < 10_000 + 80 * (RECORDS // 1000 + 40)

    of = {(row["sink_topic"], row["sink_partition"]): row for row in report["partitions"] if "sink_topic" in row}
    first = (AT + 1234) // 1000 * 1000
    for topic, change in zip(sinks, CHANGES, strict=True):
        row = of[topic, 0]
        assert (row["records"], row["not_compared"]) == (RECORDS, [])
        found = [(each["kind"], each["source_offsets"]) for each in row["findings"]]
        assert found == ([] if change is nothing else [(change.__name__, [first, first + 1000])])
        if sent[1]:
            assert (of[topic, 1]["findings"], of[topic, 1]["records"]) == ([], 2000)
    assert report["foreign"] == 0
    text, _ = timed("verify", "--against", file, lisbon.file, code=1)
    for change in CHANGES[1:]:
        assert f"record {change.__name__}, at sink sink-{change.__name__}-0" in text or change.__name__ in text
