"""What was delivered from each of two members, as a ledger on Apache Kafka has it, while the mirror delivers on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from kafka_world import await_, sealwire
from traffic import await_count, fill, read_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Clusters
    from kafka_world import World

pytestmark = pytest.mark.kafka

TOPIC = "crates"


def told(file: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sealwire("provenance", file, *words, "--json"))
    return found


def offsets(file: Path, member: str) -> tuple[set[int], list[list[int]]]:
    """The source offsets that a member's deliveries cover, and the sink offsets that bound them."""
    rows = told(file, member)["delivered"]
    covered = {at for row in rows for at in range(*row["source_offsets"])}
    return covered, [row["sink_offsets"] for row in rows]


def test_the_provenance_of_what_is_at_the_sink_is_told_by_member_without_the_cloud(
    clusters: Clusters, another: Callable[[str], World]
) -> None:
    world = another("post")
    world.make_source_topics([TOPIC], partitions=1)
    world.admit("berlin", "first")
    world.admit("berlin", "second")
    world.admit("lisbon", "reader")
    first, second, mirror = (
        world.sealing("first", [TOPIC]), world.sealing("second", [TOPIC]), world.opening("reader", [TOPIC]),
    )  # fmt: skip
    sealwire("topics", "apply", "--yes", first.file)
    for node in (first, mirror):
        sealwire("site", "init", node.file)
    mirror.start(ready=False)
    first.start()
    mirror.await_ready()
    fill(clusters.source, TOPIC, 0, 100)
    await_count(clusters.sink, TOPIC, 100)
    first.up.stop()
    second.start()
    fill(clusters.source, TOPIC, 100, 250)
    await_count(clusters.sink, TOPIC, 250)
    await_(lambda: mirror.rows(TOPIC).get(0, {}).get("cursor") == 250, "the cursor at 250")

    live = json.loads(sealwire("sessions", mirror.file, "--json"))["sessions"]
    assert {each["sender"] for each in live if each["opens"]} == {"first", "second"}
    members = json.loads(sealwire("members", mirror.file, "--json"))
    assert {each["name"] for each in members["members"] if each["member"]} == {"first", "second", "reader"}

    alone = mirror.file.with_name("alone.yaml")  # the same node, and no cloud
    alone.write_text(re.sub(re.escape(clusters.cloud.bootstrap), "localhost:1", mirror.file.read_text()))
    assert alone.read_text() != mirror.file.read_text()
    covered, places = offsets(alone, "first")
    assert covered == set(range(100))
    later, more = offsets(alone, "second")
    assert later == set(range(100, 250))
    numbers = {each.offset(): int(each.value()) for each in read_all(clusters.sink, TOPIC, raw=True)[0]}
    for range_of, bounds in ((range(100), places), (range(100, 250), more)):
        there = {numbers[at] for begin, end in bounds for at in range(begin, end) if at in numbers}
        assert there == set(range_of)

    ids = {each["name"]: each["member_id"] for each in told(alone)["senders"]}
    assert ids.keys() == {"first", "second"}
    ledger = told(alone)["ledger"]
    admin = AdminClient({"bootstrap.servers": clusters.sink.bootstrap, "log_level": 0})
    lanes = range(len(admin.list_topics(ledger, timeout=30).topics[ledger].partitions))
    for answer in admin.delete_records([TopicPartition(ledger, lane, -1) for lane in lanes]).values():
        answer.result(30)
    fill(clusters.source, TOPIC, 250, 260)
    await_count(clusters.sink, TOPIC, 260)
    after = told(alone, ids["second"])
    assert after["delivered"][0]["source_offsets"][0] == 250
    assert any("lost its beginning" in line for line in after["cannot_tell"])
