"""The digest file: what a site says, signed, of the records of its source partitions; for the other site to compare.

    file = "sealwire digests" | version u8 | suite u8 | project id (32 B) | credential length u32 | credential
           | body length u32 | body | signature (64 B)
    body = [made_at, cluster id, partitions [[channel, topic, topic id (16 B), partition, compacted, first, next,
            blocks [[number, count, ordered (32 B), total (32 B)]]]]]

Integers are big-endian; the body is msgpack, as strict as a statement's. The signature is the identity's whose
credential it is (its statement's bytes), over label | everything before the signature, under the label
`sealwire v1 digests`; the site of the source partitions is the credential's. Partitions rise by their first four
fields, blocks by their number. ``digests`` says what a block is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import credential as credentials
from sealwire.keys import primitives, wire
from sealwire.keys.digests import BLOCK, Block, Exported
from sealwire.keys.primitives import DIGEST_SIZE, SIGNATURE_SIZE, SUITE
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.wire import CAPS, SKEW, Fields, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwire.keys.credential import Credential
    from sealwire.keys.identity import Identity
    from sealwire.keys.root import Root

MAGIC: Final = b"sealwire digests"
VERSION: Final = 1
MOST: Final = 256 << 20
"""The most bytes of a file: blocks of some three billion records."""
LABEL: Final = wire.label("digests")

_HEAD: Final = struct.Struct(">16sBB32sI")
_LENGTH: Final = struct.Struct(">I")
_LEAST: Final = _HEAD.size + _LENGTH.size + SIGNATURE_SIZE


@dataclass(frozen=True, slots=True)
class DigestFile:
    """A file whose signature and credential were checked. ``cluster`` is the source cluster's id, for people."""

    credential: Credential
    made_at: int  # ms
    cluster: str
    partitions: tuple[Exported, ...]


class _Block(Fields, frozen=True):
    number: wire.Offset
    count: Annotated[int, msgspec.Meta(ge=1, le=BLOCK)]
    ordered: wire.Id
    total: wire.Id


class _Partition(Fields, frozen=True):
    channel: wire.ChannelName
    topic: wire.TopicName
    topic_id: wire.Id16
    partition: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
    compacted: Annotated[int, msgspec.Meta(ge=0, le=1)]
    first: wire.Offset
    next: wire.Offset
    blocks: tuple[_Block, ...]


class _Body(Fields, frozen=True):
    made_at: wire.Time
    cluster: Annotated[str, msgspec.Meta(max_length=200)]
    partitions: tuple[_Partition, ...]


_BODY: Final = msgspec.msgpack.Decoder(_Body)


def write(
    identity: Identity,
    credential: bytes,
    project_id: bytes,
    partitions: Sequence[Exported],
    *,
    cluster: str,
    now: int,
) -> bytes:
    """Make a file of what was exported, dated `now` (ms), signed by the identity. What no reader takes is `Misuse`."""
    site = dict(credentials.peek(credential, project_id).attributes)["site"]
    packed = []
    for each in sorted(partitions, key=lambda one: one.source):
        source, span = each.source, each.span
        if source.site != site:
            raise Misuse(f"a source partition of {source.site}, told by a member of {site}")
        blocks = tuple(
            _Block(block.first // BLOCK, block.records, block.ordered, block.total.to_bytes(DIGEST_SIZE, "big"))
            for block in each.blocks
        )
        place = (source.channel, source.topic, source.topic_id, source.partition)
        packed.append(_Partition(*place, int(each.compacted), span.first, span.next, blocks))
    body = wire.pack(_Body(now, cluster, tuple(packed)))
    head = _HEAD.pack(MAGIC, VERSION, SUITE, project_id, len(credential)) + credential
    signed = head + _LENGTH.pack(len(body)) + body
    made = signed + identity.signing.sign(LABEL + signed)
    if len(made) > MOST:
        raise Misuse(f"a digest file of {len(made)} bytes; the most is {MOST}: export fewer topics, or a shorter span")
    return made


def read(data: bytes, root: Root, now: int) -> DigestFile:
    """Read a file that a member of this root's project signed, or raise `Rejected`, whatever the bytes are."""
    credential, body = _proven(data, root, now)
    fields = wire.unpack(body, _BODY)
    if fields.made_at > now + SKEW:
        raise Rejected(Reason.AHEAD, f"a digest file of {fields.made_at}, while our clock says {now}")
    if not credential.valid_at(fields.made_at):
        raise Rejected(Reason.EXPIRED, f"{credential.name}'s credential did not hold at {fields.made_at}")
    partitions = tuple(_exported(each, credential.site) for each in fields.partitions)
    if any(before.source >= after.source for before, after in pairwise(partitions)):
        raise Rejected(Reason.MALFORMED, "source partitions not in rising order")
    return DigestFile(credential, fields.made_at, fields.cluster, partitions)


def _proven(data: bytes, root: Root, now: int) -> tuple[Credential, bytes]:
    """Give the credential and the body, once the signature is known to be right."""
    length = _credential_length(data, root.project_id)
    begin = _HEAD.size + length + _LENGTH.size
    if begin + SIGNATURE_SIZE > len(data):
        raise Rejected(Reason.TRUNCATED, "ends inside its credential")
    (size,) = _LENGTH.unpack_from(data, begin - _LENGTH.size)
    end = begin + size
    if end + SIGNATURE_SIZE != len(data):
        short = end + SIGNATURE_SIZE > len(data)
        raise Rejected(Reason.TRUNCATED if short else Reason.MALFORMED, "not as long as it says")
    credential = credentials.read(data[_HEAD.size : _HEAD.size + length], root, now)
    if not primitives.verify(credential.identity_key, LABEL + data[:end], data[end:]):
        raise Rejected(Reason.BAD_SIGNATURE, f"not the signature of {credential.name}")
    return credential, data[begin:end]


def _credential_length(data: bytes, project_id: bytes) -> int:
    """Read the head, which must be this project's, and give how long the credential says to be."""
    if data[: len(MAGIC)] != MAGIC:
        raise Rejected(Reason.FOREIGN, "does not begin as a digest file")
    if len(data) < _LEAST:
        raise Rejected(Reason.TRUNCATED, f"{len(data)} bytes")
    if len(data) > MOST:
        raise Rejected(Reason.TOO_LARGE, f"{len(data)} bytes; a digest file has at most {MOST}")
    _, version, suite, project, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise Rejected(Reason.UNKNOWN_VERSION, f"version {version} of a digest file")
    if suite != SUITE:
        raise Rejected(Reason.UNKNOWN_SUITE, f"suite {suite}")
    if project != project_id:
        raise Rejected(Reason.OTHER_PROJECT, "of another project")
    if length > CAPS[Type.CREDENTIAL]:
        raise Rejected(Reason.TOO_LARGE, f"a credential of {length} bytes")
    return int(length)


def _exported(fields: _Partition, site: str) -> Exported:
    source = SourcePartition(fields.channel, site, fields.topic, fields.topic_id, fields.partition)
    if fields.first > fields.next:
        raise Rejected(Reason.MALFORMED, f"{source} ends before it begins")
    blocks = []
    reached = -1
    for block in fields.blocks:
        first = max(fields.first, block.number * BLOCK)
        following = min(fields.next, (block.number + 1) * BLOCK)
        if block.number <= reached or not 1 <= block.count <= following - first:
            raise Rejected(Reason.MALFORMED, f"{source}: block {block.number} with {block.count} records")
        reached = block.number
        blocks.append(Block(first, following, block.count, block.ordered, int.from_bytes(block.total, "big")))
    return Exported(source, Span(fields.first, fields.next), tuple(blocks), bool(fields.compacted))
