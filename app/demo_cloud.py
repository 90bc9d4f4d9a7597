"""What the demo reads in the cloud: how much is there, whether any of it can be read, and what a reader opens it to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealwire.agents.settings import Cluster
from sealwire.app import inspect as views
from sealwire.app.cloudlog import CloudLog
from sealwire.app.cloudrecord import CloudRecord
from sealwire.app.custody import Custody, default_key_file
from sealwire.app.demo_check import headers, read_all, where
from sealwire.app.demo_process import DemoFailed
from sealwire.app.demo_records import PARTITIONS, TOPICS
from sealwire.app.demo_stage import MIRROR, PROJECT, cloud_topic
from sealwire.app.names import project_topics
from sealwire.app.vault import open_vault, vault_file
from sealwire.keys.reason import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from confluent_kafka import Message

    from sealwire.app.demo_check import Where

READER: Final = "the reader at the cloud"


@dataclass
class Stored:
    """The envelopes of the demo's cloud topics as they stand there."""

    envelopes: list[tuple[Where, CloudRecord]] = field(default_factory=list, repr=False)

    @property
    def size(self) -> int:
        """Bytes of all envelopes."""
        return sum(len(record.value) for _, record in self.envelopes)

    def found(self, samples: Iterable[bytes]) -> list[bytes]:
        """Give those of the samples that stand readable in any envelope, its record key or its headers."""
        blob = b"\n".join(
            b"\0".join((record.value, record.record_key or b"", repr(record.headers).encode()))
            for _, record in self.envelopes
        )
        return [sample for sample in samples if sample in blob]


def read(bootstrap: str) -> Stored:
    """Read the cloud topics whole. Raises DemoFailed."""
    stored = Stored()

    def take(message: Message) -> None:
        offset, value = message.offset() or 0, bytes(message.value() or b"")
        record = CloudRecord(offset, message.timestamp()[1], message.key(), value, headers(message))
        stored.envelopes.append((where(message), record))

    read_all(bootstrap, [cloud_topic(topic) for topic in TOPICS], PARTITIONS, take, READER)
    return stored


def count_sealed(stored: Stored, bootstrap: str, state: Path) -> int:
    """Open every envelope as the mirror's identity and count the source records in them, each span once.

    Raises DemoFailed where one does not open.
    """
    now = time.time_ns() // 1_000_000
    control, sessions, _ = project_topics(PROJECT)
    notices: list[str] = []
    with CloudLog(Cluster(bootstrap, embedded=True), notices.append) as log:
        statements = views.rows_of([*log.read_whole(control), *log.read_whole(sessions)])
    with open_vault(vault_file(state, MIRROR), Custody(default_key_file(state)), lock=False) as vault:
        trust, secrets = views.learn(vault.load(), statements, now)
    spans: dict[object, dict[int, tuple[int, int]]] = {}
    for (topic, partition), record in stored.envelopes:
        try:
            opened = views.opened(record, topic, partition, trust, secrets, now)
        except Rejected as refusal:
            place = f"{topic}[{partition}] offset {record.offset}"
            raise DemoFailed(READER, f"could not open {place}: {refusal}") from None
        inner = opened.inner
        spans.setdefault(opened.source, {})[inner.first] = (
            inner.next,
            inner.record_count,
        )
    return sum(_once(of_source) for of_source in spans.values())


def _once(spans: dict[int, tuple[int, int]]) -> int:
    end, count = 0, 0
    for first in sorted(spans):
        following, records = spans[first]
        if first >= end:  # what overlaps was sealed twice and is counted once
            end, count = following, count + records
    return count
