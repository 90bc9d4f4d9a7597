"""What ordinary Kafka clients put in at one site, ordinary Kafka clients get out at the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from kafka_world import await_
from traffic import await_count, differences, read_all

if TYPE_CHECKING:
    from conftest import Bridge

pytestmark = pytest.mark.kafka

EVERYTHING = {f"print.{what}": "true" for what in ("timestamp", "partition", "offset", "headers", "key", "value")} | {
    "null.literal": "NULL"
}


def test_what_javas_console_producer_sends_is_what_javas_console_consumer_gets(bridge: Bridge) -> None:
    world, count = bridge.world, 60
    for topic in ("orders", "events"):
        lines = [f"kind:{topic},n:{n}\tkey-{n}\tvalue {n} of {topic}" for n in range(count - 2)]
        lines += ["NULL\tkey-a\tno headers", "kind:tombstone\tkey-b\tNULL"]
        properties = {"parse.key": "true", "parse.headers": "true", "null.marker": "NULL"}
        world.source.produce(topic, lines, properties=properties)
    for topic in ("orders", "events"):
        await_count(world.sink, topic, count)
        sent = world.source.consume(topic, count, properties=EVERYTHING)
        got = world.sink.consume(topic, count, properties=EVERYTHING)
        assert len(sent) == count
        assert {line.split("\t")[1] for line in sent} == {"Partition:0", "Partition:1", "Partition:2"}
        assert _by_partition(got) == _by_partition(sent)
        assert all(line.startswith("CreateTime:") for line in got)


def _by_partition(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(line.split("\t")[1], []).append(line)
    return found


def test_compressed_records_of_every_codec_arrive_unaltered(bridge: Bridge) -> None:
    world, each, stamp = bridge.world, 1500, 1_700_000_000_000
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    for codec in codecs:
        settings = {"bootstrap.servers": world.source.bootstrap, "compression.type": codec, "linger.ms": 20}
        producer = Producer(settings)
        for n in range(each):
            headers: list[tuple[str, bytes | None]] = [("codec", codec.encode()), ("codec", None), ("n", b"%d" % n)]
            value = None if n % 100 == 99 else f"{codec} {n} ".encode() * (n % 40)
            record_key = None if n % 3 == 0 else b"%d" % (n % 50)
            producer.produce("codecs", value, record_key, n % 3, headers=headers[: n % 4], timestamp=stamp + n)
            if n % 500 == 0:
                producer.flush(30)
        assert producer.flush(30) == 0
    await_count(world.sink, "codecs", each * len(codecs))
    sent, got = read_all(world.source, "codecs"), read_all(world.sink, "codecs")
    assert sum(map(len, sent.values())) == each * len(codecs)
    assert differences(sent, got) == []


def test_kafkas_own_group_tool_shows_how_far_sealing_is(bridge: Bridge) -> None:
    world = bridge.world

    def shown() -> dict[int, tuple[str, str]]:
        text = world.source.groups("--describe", "--group", "sealwire.acme.berlin.seal")
        rows = [line.split() for line in text.splitlines() if " orders " in line]
        return {int(row[2]): (row[3], row[5]) for row in rows}

    ends = {partition: len(records) for partition, records in read_all(world.source, "orders").items()}
    assert sum(ends.values()) > 0
    wanted = {partition: (str(end), "0") for partition, end in ends.items()}
    await_(lambda: shown() == wanted, f"positions {wanted}, and no lag")
