"""The source partitions of a site: how each stands, from its workers' word and from the cursors that are written."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealwire.agents.cursor_reading import CursorReading
from sealwire.app import topics
from sealwire.app.cures import command, cure
from sealwire.app.localreader import local_reader
from sealwire.app.status import ask, rows
from sealwire.keys.order import Expected
from sealwire.keys.reason import Reason
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.standing import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sealwire.app.config import Node


@dataclass(frozen=True)
class Partition:
    """How a source partition that is opened here stands; ``since`` is ms, None where nobody knows."""

    source: SourcePartition
    expects: Expected
    why: str = ""
    since: int | None = None

    @property
    def stuck(self) -> bool:
        """Tell whether it waits or is held."""
        return self.expects.state is not State.FLOWING

    def as_json(self, helps: str) -> dict[str, Any]:
        """Give it as `held --json` prints it; ``helps`` is the command that does."""
        source, seen, known = self.source, self.expects, cure(self.expects.reason)
        gap = seen.gap
        return {
            **source.fields,
            "state": str(seen.state),
            "reason": None if seen.reason is None else str(seen.reason),
            "since_ms": self.since,
            "cursor": seen.next,
            "span": None if gap is None else [gap.first, gap.next],
            "why": self.why,
            "happened": known.happened if known else "",
            "do": known.do if known else "",
            "command": helps,
        }


@dataclass(frozen=True)
class Other:
    """Something else that waits: a source partition that is sealed here, or a topic; in words alone."""

    name: str
    state: str
    why: str


@dataclass(frozen=True)
class Parked:
    """Envelopes of a cloud partition whose sessions are not known yet: how many sessions, since when (ms)."""

    topic: str
    partition: int
    sessions: int
    since: int | None


@dataclass(frozen=True)
class Site:
    """What is known: all source partitions opened here, what else waits, and whether workers said so themselves."""

    partitions: tuple[Partition, ...]
    others: tuple[Other, ...] = ()
    parked: tuple[Parked, ...] = ()
    silent: tuple[str, ...] = ()  # workers that do not answer

    def helps(self, node: Node, partition: Partition) -> str:
        """Give the command that helps a source partition of this site."""
        named = (partition.source.channel, partition.source.site, partition.source.topic, partition.source.partition)
        twins = [each for each in self.partitions if _name(each.source) == named and each.stuck]
        return command(node.path, partition.source, partition.expects, topic_id=len(twins) > 1)


def _name(source: SourcePartition) -> tuple[str, str, str, int]:
    return source.channel, source.site, source.topic, source.partition


def look(node: Node) -> Site:
    """Ask this node's workers, and read the cursors of the whole site. Raises `Failure`."""
    if "open" not in node.directions:
        return _with_words(node, {})
    return _with_words(node, topics.run(node.local, _cursors(node)))


async def _cursors(node: Node) -> dict[SourcePartition, Partition]:
    async with reading(node) as cursors:
        return written(cursors)


@asynccontextmanager
async def reading(node: Node) -> AsyncIterator[CursorReading]:
    """Read the cursors of a site, once when this begins; raises `Failure` where that cannot be."""
    topic = node.settings("open").cursor_topic
    async with local_reader(node, topic) as (reader, lanes):
        cursors = CursorReading(reader, topic, lanes)
        await cursors.read()
        yield cursors


def written(cursors: CursorReading) -> dict[SourcePartition, Partition]:
    """Give the source partitions of the cursors that were read so far."""
    found = {}
    for each in cursors.found.values():
        found[each.cursor.source] = Partition(each.cursor.source, Expected.of(each.cursor), since=each.since)
    return found


def _with_words(node: Node, found: dict[SourcePartition, Partition]) -> Site:
    """Lay over what is written what this node's workers say of it: newer, and with words."""
    others: list[Other] = []
    parked: list[Parked] = []
    silent: list[str] = []
    for word in ask(node):
        if not word.answers:
            silent.append(f"{word.direction} {word.identity}")
            continue
        for row in rows(word.snapshot, "partitions"):
            told = told_by(row) if word.direction == "open" else None
            if told is not None and told.stuck:
                before = found.get(told.source)
                same = before is not None and before.expects == told.expects
                since = before.since if before is not None and same and before.since else told.since
                found[told.source] = Partition(told.source, told.expects, told.why, since)
            elif told is not None and told.expects.next is not None:
                found[told.source] = told
            if (told is None or not told.stuck) and _waits(row):
                others.append(Other(_row_name(word.direction, row), str(row["state"]), str(row.get("why") or "")))
        parked += [
            Parked(str(row["topic"]), int(row["partition"]), int(row["sessions"]), row["since_ms"])
            for row in rows(word.snapshot, "parked")
        ]
    order = sorted(found.values(), key=lambda each: each.source)
    return Site(tuple(order), tuple(others), tuple(parked), tuple(silent))


def _waits(row: dict[str, Any]) -> bool:
    return str(row.get("state", "")).split(":")[0] in {"waiting", "held"}


def _row_name(direction: str, row: dict[str, Any]) -> str:
    return f"{direction} {row.get('channel')}/{row.get('site')}/{row.get('topic')}/{row.get('partition')}"


def told_by(row: dict[str, Any]) -> Partition | None:
    """Read a source partition out of a worker's snapshot; None where it is not one as this release tells them."""
    try:
        source = SourcePartition(
            row["channel"], row["site"], row["topic"], bytes.fromhex(row["topic_id"]), row["partition"]
        )
        gap, order = row["gap"], row["order"]
        reason = Reason(row["reason"]) if row["reason"] else None
        state = State(row["state"]) if reason is not None else State.FLOWING
        return Partition(
            source,
            Expected(state, reason, row["next"], None if gap is None else Span(*gap), order and bytes.fromhex(order)),
            row.get("why") or "",
            row["since_ms"],
        )
    except (KeyError, ValueError, TypeError):
        return None
