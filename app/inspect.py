"""One envelope from both sides: what the cloud sees of it, and what an entitled identity opens it to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aiokafka.errors import KafkaError
from aiokafka.record.memory_records import MemoryRecords

from sealwire.agents.batches import walk
from sealwire.agents.words import count
from sealwire.keys import envelope as envelopes
from sealwire.keys import wire
from sealwire.keys.envelope import HEADER_SIZE, OVERHEAD, Place
from sealwire.keys.opening import Caps, Opened, UnknownSession, open_envelope
from sealwire.keys.primitives import SIGNATURE_SIZE, TAG_SIZE
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sealwire.app.cloudrecord import CloudRecord
    from sealwire.keys.secrets import Secrets

HEAD: Final = 256  # bytes shown of an envelope
MOST_SHOWN: Final = 512  # bytes shown of one record key or value


@dataclass(frozen=True)
class CloudView:
    """What anybody sees who holds the cloud record: names and values in the order they lie, and its first bytes."""

    rows: tuple[tuple[str, str], ...]
    refused: Rejected | None
    head: bytes = field(repr=False)
    facts: Mapping[str, Any]  # the same for programs: bytes in hex, times in ms


@dataclass(frozen=True)
class PlainRecord:
    """One source record as it will be delivered. Shown to the entitled only."""

    offset: int
    timestamp: int  # ms since 1970
    record_key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: tuple[tuple[str, bytes | None], ...] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Give it for programs: bytes in hex, so that none is lost."""
        return {
            "offset": self.offset,
            "timestamp_ms": self.timestamp,
            "record_key": _hex(self.record_key),
            "value": _hex(self.value),
            "headers": [[name, _hex(value)] for name, value in self.headers],
        }


@dataclass(frozen=True)
class PlainView:
    """What an entitled identity sees: who sealed it, the inner header, and the first records."""

    rows: tuple[tuple[str, str], ...]
    records: tuple[PlainRecord, ...] = field(repr=False)
    left_out: int
    facts: Mapping[str, Any]  # the same for programs


def from_the_cloud(record: CloudRecord) -> CloudView:
    """Describe a cloud record without any secret. Bytes that are no envelope are described as what they are."""
    content = record.value
    rows = [("size", f"{len(content)} bytes"), ("timestamp", stamp(record.timestamp))]
    rows.append(
        (
            "record key",
            "none" if record.record_key is None else repr(text(record.record_key)),
        )
    )
    if record.headers:
        rows.append(("headers", ", ".join(name for name, _ in record.headers)))
    rows.append(("entropy", f"{entropy(content):.2f} bits a byte (8.00 is random)"))
    facts: dict[str, Any] = {
        "size": len(content),
        "timestamp_ms": record.timestamp,
        "record_key": _hex(record.record_key),
        "headers": [name for name, _ in record.headers],
    }
    try:
        header = envelopes.read_header(content)
    except Rejected as refusal:
        rows.append(("envelope", f"no: {refusal}"))
        if refusal.reason is Reason.FOREIGN and content[:2] == wire.MAGIC:
            rows.append(("statement", _statement(content)))
        return CloudView(tuple(rows), refusal, content[:HEAD], {**facts, "refused": str(refusal.reason)})
    body = len(content) - HEADER_SIZE - SIGNATURE_SIZE
    rows += [
        ("format, suite", f"{header.format}, {header.suite}"),
        ("session id", header.session_id.hex()),
        ("salt", header.salt.hex()),
        (
            "body",
            f"{body} bytes, of them {TAG_SIZE} of the tag; {OVERHEAD} bytes of the envelope are its own",
        ),
        ("signature", content[-SIGNATURE_SIZE:].hex()),
    ]
    facts |= {
        "refused": None,
        "format": header.format,
        "suite": header.suite,
        "session": header.session_id.hex(),
        "salt": header.salt.hex(),
        "signature": content[-SIGNATURE_SIZE:].hex(),
    }
    return CloudView(tuple(rows), None, content[:HEAD], facts)


def _hex(content: bytes | None) -> str | None:
    return None if content is None else content.hex()


def _statement(content: bytes) -> str:
    try:
        return wire.type_of(content).name.lower().replace("_", " ")
    except Rejected as refusal:
        return str(refusal)


def learn(secrets: Secrets, statements: Iterable[bytes], now: int) -> tuple[Trust, Secrets]:
    """Learn what control and sessions say, and unwrap for this identity what is granted to it; nothing is kept."""
    trust, _ = Trust.begin(secrets, now).learn(statements, now)
    trust, secrets, _ = trust.unwrap_new(secrets, now)
    return trust, secrets


def session_known(envelope: bytes, secrets: Secrets) -> bool:
    """Tell whether the vault holds the session of these bytes; raises `Rejected` for what is no envelope."""
    return envelopes.read_header(envelope).session_id in secrets.inbound


def opened(
    record: CloudRecord,
    topic: str,
    partition: int,
    trust: Trust,
    secrets: Secrets,
    now: int,
) -> Opened:
    """Open an envelope as a mirror would, for the channel of its session. Raises `Rejected` with the Reason."""
    header = envelopes.read_header(record.value)
    session = secrets.inbound.get(header.session_id)
    if session is None:
        raise Rejected(Reason.UNKNOWN_SESSION, "no grant of its session opens for this identity")
    place = Place(session.project_id, session.channel, topic, partition)
    out = memoryview(bytearray(len(record.value)))
    outcome = open_envelope(record.value, place, record.record_key, secrets.inbound, trust, now, out, Caps())
    if isinstance(outcome, UnknownSession):
        raise Rejected(Reason.UNKNOWN_SESSION, "no grant of its session opens for this identity")
    return outcome


def to_the_entitled(found: Opened, most: int) -> PlainView:
    """Describe an opened envelope and its first records. Raises `Rejected` when its batches cannot be."""
    inner, session = found.inner, found.session
    flags = [name for name, is_set in (("log start", inner.log_start), ("reseal", inner.reseal)) if is_set]
    packed = f"compression {inner.compression.name.lower()}, padding {inner.padding_size}"
    sizes = f"{inner.uncompressed_size} bytes of batches, {packed}"
    rows = (
        (
            "sender",
            f"{session.name}, member {session.member_id.hex()[:16]}, site {session.site}",
        ),
        ("channel", session.channel),
        (
            "source",
            f"{inner.topic}/{inner.partition} at {inner.site}, topic id {inner.topic_id.hex()}",
        ),
        (
            "span",
            f"{inner.span}, last stable offset {inner.last_stable}, leader epoch {inner.leader_epoch}",
        ),
        (
            "kind, layout",
            f"{inner.kind.name.lower()}, {inner.layout.name.lower()}" + "".join(f", {f}" for f in flags),
        ),
        ("sealed at", stamp(inner.sealed_at)),
        ("records", f"{inner.record_count:,} in {count(inner.batch_count, 'record batch')}"),
        ("sizes", sizes),
    )
    records, in_all = read_records(found.batches, inner.first, inner.next, most)
    facts = {
        "sender": session.name,
        "member_id": session.member_id.hex(),
        "site": inner.site,
        "channel": session.channel,
        "topic": inner.topic,
        "topic_id": inner.topic_id.hex(),
        "partition": inner.partition,
        "first": inner.first,
        "next": inner.next,
        "kind": inner.kind.name.lower(),
        "flags": flags,
        "compression": inner.compression.name.lower(),
        "sealed_at_ms": inner.sealed_at,
        "record_count": inner.record_count,
        "batch_count": inner.batch_count,
        "left_out": in_all - len(records),
        "records": [record.as_json() for record in records],
    }
    return PlainView(rows, records, in_all - len(records), facts)


def read_records(batches: memoryview, first: int, following: int, most: int) -> tuple[tuple[PlainRecord, ...], int]:
    """Give the first records of batches that cover [first, following), and how many there are. Raises `Rejected`."""
    try:
        count = sum(header.record_count for header in walk(batches, first, following))
        reader = MemoryRecords(bytes(batches))
        found: list[PlainRecord] = []
        while len(found) < most and (batch := reader.next_batch()) is not None:
            for record in batch:
                headers = tuple((name, value) for name, value in record.headers)
                found.append(
                    PlainRecord(
                        record.offset,
                        record.timestamp,
                        record.key,
                        record.value,
                        headers,
                    )
                )
                if len(found) == most:
                    break
    except (ValueError, KafkaError) as error:
        raise Rejected(Reason.IMPLAUSIBLE, str(error)) from None
    return tuple(found), count


def hex_dump(content: bytes) -> list[str]:
    """Show bytes as 16 a line, in hex and in ASCII."""
    lines = []
    for at in range(0, len(content), 16):
        piece = content[at : at + 16]
        shown = "".join(chr(octet) if 0x20 <= octet < 0x7F else "." for octet in piece)  # noqa: PLR2004
        lines.append(f"{at:06x}  {piece[:8].hex(' '):<23}  {piece[8:].hex(' '):<23}  {shown}")
    return lines


def entropy(content: bytes) -> float:
    """Give the Shannon entropy of the bytes, in bits a byte; short content cannot reach 8."""
    if not content:
        return 0.0
    shares = (content.count(octet) / len(content) for octet in set(content))
    return -sum(share * math.log2(share) for share in shares)


def stamp(ms: int) -> str:
    """Write a time in ms for a person, exactly."""
    seconds, rest = divmod(ms, 1000)
    try:
        moment = datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{rest:03d} UTC"


def text(content: bytes | None, most: int = MOST_SHOWN) -> str:
    """Write a record key, value or header for a terminal: text where it is text, else hex; cut where it is long."""
    if content is None:
        return "null"
    piece = content[:most]
    more = f" ... ({len(content)} bytes)" if len(content) > most else ""
    try:
        shown = piece.decode()
    except UnicodeDecodeError:
        return piece.hex() + more
    # Whatever is not printable could steer the terminal that shows it.
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in shown) + more


def rows_of(statements: Sequence[CloudRecord]) -> list[bytes]:
    """Give the statements of cloud records, without tombstones."""
    return [record.value for record in statements if record.value]
