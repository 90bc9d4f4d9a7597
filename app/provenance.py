"""What was delivered here from one member, as the site's own ledger has it: without the cloud, while mirrors run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sealwire.agents.admin import Admin
from sealwire.agents.ledger_reading import LedgerReading
from sealwire.agents.reader import OffsetOutOfRange, RawReader, ReadRefused
from sealwire.app import belief, topics
from sealwire.app.factory import custody
from sealwire.app.faults import CONFIGURATION, Failure, did_you_mean
from sealwire.app.screen import when
from sealwire.app.vault import open_vault
from sealwire.keys import identity as identities
from sealwire.keys.provenance import Provenance
from sealwire.keys.wire import SKEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sealwire.agents.admin import TopicFacts
    from sealwire.agents.ledger_reading import BadLedger
    from sealwire.app.config import Node
    from sealwire.keys.provenance import Sender, Stretch, Told

_ID: Final = re.compile(r"[0-9a-f]{8,64}")


@dataclass
class Ledger:
    """What was read of the ledger: whose deliveries, since when (ms) it tells at all, and what it lost.

    ``cut`` has the lanes that begin behind what was asked for, each with its first word (ms; None: there is none).
    """

    topic: str
    told: Provenance
    first_at: int | None = None
    cut: dict[int, int | None] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    there: Mapping[str, TopicFacts] = field(default_factory=dict)  # the sink topics that are there now

    def sink_is(self, stretch: Stretch) -> str:
        """Say what became of a stretch's sink topic: `there`, `gone`, or `made anew`."""
        facts = self.there.get(stretch.sink_topic)
        if facts is None:
            return "gone"
        return "there" if stretch.sink_topic_id in (facts.topic_id, bytes(16)) else "made anew"

    def cannot_tell(self, senders: Iterable[Sender], since: int | None) -> list[str]:
        """Say, a line each, what is on no record."""
        stretches = [stretch for sender in senders for stretch in sender.stretches]
        lines = []
        if self.first_at is None:
            lines.append(f"{self.topic} tells of no delivery{' since then' if since else ''}.")
        elif since is None:
            lines.append(f"The ledger begins {when(self.first_at)} UTC: what was delivered before is on no record.")
        if self.cut:
            known = [at for at in self.cut.values() if at is not None]
            until = f" before {when(max(known))} UTC" if known else ""
            lines.append(
                f"Of {len(self.cut)} lanes the ledger lost its beginning (its retention, or somebody deleted it): what "
                f"was delivered there{until} is on no record."
            )
        if self.strange:
            lines.append(
                f"{len(self.strange)} records there are none of ours, and were passed over: {self.strange[0]}."
            )
        if self.told.unfenced:
            lines.append(
                f"{self.told.unfenced} deliveries were at least once: a copy that a crash left is on no record; "
                "sealwire verify finds those."
            )
        if any(len(stretch.sink) for stretch in stretches):
            lines.append(
                "Sink offsets are bounds: transaction markers, and records of other producers, may lie between."
            )
        if any(stretch.shared for stretch in stretches):
            lines.append("Where it says shared, one round carried deliveries of several senders into these offsets.")
        if any(self.sink_is(stretch) != "there" for stretch in stretches):
            lines.append("A sink topic that is gone or made anew has nothing of it any more.")
        return lines


def read(node: Node, asked: Callable[[bytes], bool], since: int | None, channel: str | None) -> Ledger:
    """Read the ledger of a node's site to its present end, from a time (ms) on; raises `Failure`.

    It begins five minutes earlier than asked: so far apart the clocks of two workers may be.
    """
    return topics.run(node.local, _read(node, asked, None if since is None else since - SKEW, channel))


async def _read(node: Node, asked: Callable[[bytes], bool], since: int | None, channel: str | None) -> Ledger:
    admin, topic = Admin(node.local), node.settings("open").ledger_topic
    facts = (await admin.describe([topic])).get(topic)
    if facts is None:
        raise Failure(
            f"There is no topic {topic} at {node.local.bootstrap}: what was delivered there is not on record.",
            f"Is it the receiving site, and may this login see it? sealwire site init {node.path} makes it.",
            code=CONFIGURATION,
        )
    ledger = Ledger(topic, Provenance(asked, channel))
    reader = RawReader(node.local, client_id="sealwire-provenance", linger_ms=0)
    await reader.start()
    try:
        starts = {lane: await reader.log_start(topic, lane) for lane in range(facts.partitions)}
        begin = dict(starts)
        if since is not None:
            begin = {lane: await _first_since(reader, topic, lane, since) for lane in starts}
        firsts: dict[int, int] = {}

        def told(lane: int, entry: Told) -> None:
            firsts.setdefault(lane, entry.at)
            if since is None or entry.at >= since:
                ledger.first_at = entry.at if ledger.first_at is None else min(ledger.first_at, entry.at)
                ledger.told.tell(entry)

        def strange(bad: BadLedger) -> None:
            ledger.strange.append(str(bad))

        await LedgerReading(reader, topic, facts.partitions, begin).entries(told, strange)
    except (OffsetOutOfRange, ReadRefused, ValueError) as error:
        raise Failure(
            f"Reading {topic} at {node.local.bootstrap} failed: {error}.",
            "May this login read it (docs/RIGHTS.md)? If the ledger's retention was faster, run it again.",
        ) from None
    finally:
        await reader.stop()
    for lane, start in starts.items():
        at = firsts.get(lane)
        if start > 0 and begin[lane] == start and (since is None or at is None or at > since):
            ledger.cut[lane] = at
    ledger.there = await admin.describe({name for each in ledger.told.senders.values() for name, _ in each.places})
    return ledger


async def _first_since(reader: RawReader, topic: str, lane: int, since: int) -> int:
    found = await reader.offset_at(topic, lane, since)
    return await reader.end_offset(topic, lane, committed=True) if found is None else found


# Whose it is


class Names:
    """Who is who: by the sessions that this site's vault holds, which prove it, and where needed by the cloud."""

    def __init__(self, node: Node, say: Callable[[str], None]) -> None:
        """Read the vault, where it can be opened; else there are ids alone, and that is said."""
        self._node = node
        self.known: dict[bytes, str] = {}
        try:
            with open_vault(node.directory("open") / "vault", custody(node), lock=False) as vault:
                self.known = {session.member_id: session.name for session in vault.load().inbound.values()}
        except Failure as failure:
            say(f"no names from the vault: {failure.cause}")

    def asked(self, word: str) -> Callable[[bytes], bool]:
        """Give what tells a member's ids from others': its id, how that begins, or its name.

        Raises `Failure` where nobody knows the name.
        """
        digits = word.replace("-", "").lower()
        if word not in self.known.values():
            if _ID.fullmatch(digits):
                return lambda sender: sender.hex().startswith(digits)
            self._ask_cloud(word)
        return {member_id for member_id, name in self.known.items() if name == word}.__contains__

    def _ask_cloud(self, word: str) -> None:
        cure = f"Give its member id: sealwire provenance {self._node.path} lists all that something was delivered from."
        try:
            trust = belief.of_node(self._node).trust
        except Failure as failure:
            raise Failure(
                f"This site's vault holds no session of '{word}' that would prove its id, and the cloud does not help: "
                f"{failure.cause}",
                cure,
            ) from None
        self.known.update((each.member_id, each.name) for each in trust.credentials.values())
        if word not in self.known.values():
            raise Failure(
                f"Nobody here knows a member '{word}'.",
                did_you_mean(word, self.known.values(), cure),
                code=CONFIGURATION,
            )


# As JSON


def sender_json(member_id: bytes, name: str, sender: Sender) -> dict[str, Any]:
    """Give the totals of one sender."""
    return {
        "member_id": member_id.hex(),
        "fingerprint": identities.fingerprint(member_id),
        "name": name,
        "first_ms": sender.first_at,
        "last_ms": sender.last_at,
        "deliveries": sender.deliveries,
        "source_offsets": sender.offsets,
        "lost_offsets": sender.lost,
        "source_partitions": len({source for _, source in sender.places}),
        "sink_topics": sorted({topic for topic, _ in sender.places}),
        "sessions": [
            {
                "session": session_id.hex(),
                "channel": session.channel,
                "first_ms": session.first_at,
                "last_ms": session.last_at,
                "deliveries": session.deliveries,
            }
            for session_id, session in sorted(sender.sessions.items(), key=lambda each: each[1].first_at)
        ],
    }


def stretch_json(stretch: Stretch, sink_is: str) -> dict[str, Any]:
    """Give one stretch; offsets are [first, next)."""
    return {
        **stretch.source.fields,
        "sink_topic": stretch.sink_topic,
        "sink_topic_id": stretch.sink_topic_id.hex(),
        "sink_partition": stretch.source.partition,
        "sink_topic_is": sink_is,
        "source_offsets": [stretch.span.first, stretch.span.next],
        "sink_offsets": None if stretch.lost else [stretch.sink.first, stretch.sink.next],
        "first_ms": stretch.first_at,
        "last_ms": stretch.last_at,
        "deliveries": stretch.deliveries,
        "sessions": stretch.sessions,
        "lost": stretch.lost,
        "again": stretch.again,
        "shared": stretch.shared,
    }
