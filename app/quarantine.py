"""The quarantine of a site, read for a person: what was refused, where it stands in the cloud, and whose it is."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sealwire.agents import records
from sealwire.agents.logspan import read_span
from sealwire.app import screen, topics
from sealwire.app.localreader import local_reader
from sealwire.keys.quarantined import Quarantined
from sealwire.keys.reason import Rejected

if TYPE_CHECKING:
    from sealwire.app.config import Node

_HEX_SHOWN = 16


@dataclass(frozen=True)
class Entry:
    """One refused envelope, at its offset in the quarantine; of the envelope itself only its ``size`` in bytes."""

    offset: int
    kept: Quarantined
    size: int

    def cells(self, now: int) -> tuple[str, ...]:
        """Give it as a row of a table."""
        kept = self.kept
        return (
            screen.ago(now - kept.at),
            str(kept.reason),
            f"{kept.cloud_topic}[{kept.partition}] offset {kept.offset}",
            f"{self.size:,}",
            kept.name or kept.sender.hex()[:_HEX_SHOWN],
            kept.session_id.hex()[:_HEX_SHOWN],
            kept.detail,
        )

    def as_json(self) -> dict[str, Any]:
        """Give it as `quarantine list --json` prints it."""
        kept = self.kept
        return {
            "offset": self.offset,
            "at": datetime.fromtimestamp(kept.at / 1000, UTC).isoformat(),
            "reason": str(kept.reason),
            "detail": kept.detail,
            "cloud_topic": kept.cloud_topic,
            "topic_id": kept.topic_id.hex(),
            "cloud_partition": kept.partition,
            "cloud_offset": kept.offset,
            "session": kept.session_id.hex(),
            "sender": kept.sender.hex(),
            "sender_name": kept.name,
            "bytes": self.size,
        }


def read(node: Node, last: int) -> tuple[list[Entry], int]:
    """Give the newest entries, at most so many, and how many there are. Raises `Failure`."""
    return topics.run(node.local, _read(node, last))


async def _read(node: Node, last: int) -> tuple[list[Entry], int]:
    topic = node.settings("open").quarantine_topic
    found: list[Entry] = []

    def take(batch: memoryview) -> None:
        for record in records.read(batch):
            with suppress(Rejected):  # of a newer release, or not ours
                kept = Quarantined.decode(bytes(record.value or b""))
                found.append(Entry(record.offset, replace(kept, envelope=b""), len(kept.envelope)))

    async with local_reader(node, topic) as (reader, _partitions):
        begin, end = await reader.log_start(topic, 0), await reader.end_offset(topic, 0, committed=True)
        await read_span(reader, topic, 0, max(begin, end - last), end, take)
    return found[-last:], end - begin
