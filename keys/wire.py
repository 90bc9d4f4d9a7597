"""The frame that every statement travels in, and the strict reading of what is inside.

    frame = "SW" | type u8 | version u8 | suite u8 | project id (32 B) | body length u32 | body
            | count u8 | count times [signing key digest (32 B) | signature (64 B)]

Integers are big-endian. The body is one msgpack array of the fields in their fixed order. It is canonical: shortest
form of every integer, string, bin and array; no float, map, boolean, extension or extra element; strings are UTF-8.
A signature covers label | everything before the count, as received. The label has 32 bytes, is one per type, and is
the text `sealwire v1 NAME` filled up with zeros. A statement's digest is H over those same bytes. The entries after the
count stand in rising order of the signing key digest (SHA-256 of the public key), each key once.

Statement types begin at 0x21 and envelope formats end at 0x1f, so that the third byte tells the two apart.
"""

from __future__ import annotations

import re
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, TypeVar

import msgspec

from sealwire.keys import primitives
from sealwire.keys.primitives import SIGNATURE_SIZE, SUITE
from sealwire.keys.reason import Misuse, Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealwire.keys.primitives import SigningKey, Verify

MAGIC: Final = b"SW"
VERSION: Final = 1
LABEL_SIZE: Final = 32
HEAD_SIZE: Final = 41  # magic, type, version, suite, project id, body length
ENTRY_SIZE: Final = 32 + SIGNATURE_SIZE
NO_PROJECT: Final = bytes(32)  # the project id inside root version 1, which is what the project id is made of
SKEW: Final = 5 * 60 * 1000  # ms: how far two clocks of a project may be apart
KIB: Final = 1024


class Type(IntEnum):
    """The statement types, as their byte in the frame."""

    ROOT = 0x21
    CHARTER = 0x22
    TICKET = 0x23
    REQUEST = 0x24
    ANSWER = 0x25
    CREDENTIAL = 0x26
    KEY_PACKAGE = 0x27
    SESSION = 0x28
    GRANTS = 0x29
    PROGRESS = 0x2A
    RESEAL = 0x2B


CAPS: Final = {  # the most bytes of a whole frame; checked before anything is parsed
    Type.ROOT: 64 * KIB,
    Type.CHARTER: 1024 * KIB,
    Type.TICKET: 16 * KIB,
    Type.REQUEST: 2 * KIB,
    Type.ANSWER: 16 * KIB,
    Type.CREDENTIAL: 8 * KIB,
    Type.KEY_PACKAGE: 96 * KIB,
    Type.SESSION: 16 * KIB,
    Type.GRANTS: 384 * KIB,
    Type.PROGRESS: 1024 * KIB,
    Type.RESEAL: 16 * KIB,
}


def label(name: str) -> bytes:
    """Give the 32-byte label that is signed before a statement or an envelope of this name."""
    text = b"sealwire v1 " + name.encode("ascii")
    if len(text) > LABEL_SIZE:
        raise Misuse(f"label {name!r} is too long")
    return text.ljust(LABEL_SIZE, b"\0")


LABELS: Final = {kind: label(kind.name.lower().replace("_", " ")) for kind in Type}

# The kinds of field that statements are made of; msgspec checks them in compiled code.
Id = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Id16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
PublicKey = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Time = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]  # ms since 1970 UTC
Serial = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
U32 = Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
U8 = Annotated[int, msgspec.Meta(ge=0, le=255)]
Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}\Z")]
ChannelName = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9][a-zA-Z0-9._-]{0,199}\Z")]
TopicName = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9._-]{1,249}\Z")]
Value = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Attributes = Annotated[tuple[tuple[Name, Value], ...], msgspec.Meta(max_length=32)]  # rising by name, each once

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}")
_CHANNEL: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,199}")

T = TypeVar("T")


class Fields(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a statement says: its body's array, field by field in the order of the attributes."""


class Frame(NamedTuple):
    """A frame taken apart, nothing in it believed yet."""

    type: Type
    suite: int
    project_id: bytes
    entries: tuple[tuple[bytes, bytes], ...]  # signing key digest, signature
    statement: bytes
    end: int  # of the body in it

    @property
    def body(self) -> bytes:
        """The packed fields."""
        return self.statement[HEAD_SIZE : self.end]

    @property
    def signed(self) -> bytes:
        """What is signed: label | everything before the count. A copy: of most statements nobody looks at it."""
        return LABELS[self.type] + self.statement[: self.end]

    @property
    def digest(self) -> bytes:
        """The statement's digest: H over what its signatures cover."""
        return _digest(self.type, self.statement, self.end)


def good_name(name: str) -> bool:
    """Tell whether a project, site, member or attribute may have this name."""
    return _NAME.fullmatch(name) is not None


def good_channel(name: str) -> bool:
    """Tell whether a channel may have this name."""
    return _CHANNEL.fullmatch(name) is not None


def attributes(mapping: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Put attributes into the one order that the wire has."""
    return tuple(sorted(mapping))


def rising(pairs: tuple[tuple[str, str], ...]) -> bool:
    """Tell whether names rise, each once, as the wire asks."""
    return all(before[0] < after[0] for before, after in pairwise(pairs))


def pack(fields: msgspec.Struct | tuple[object, ...]) -> bytes:
    """Write fields as the one msgpack form that `unpack` takes."""
    return msgspec.msgpack.encode(fields)


def unpack(packed: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """Read fields strictly, or raise `Rejected` (malformed).

    msgspec checks types, lengths and the number of elements. Writing the fields again and comparing refuses every
    other form of the same value (longer integers, maps in disguise); signatures never depend on it, they cover what
    was received.
    """
    try:
        fields = decoder.decode(packed)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Rejected(Reason.MALFORMED, str(error)) from None
    if msgspec.msgpack.encode(fields) != packed:
        raise Rejected(Reason.MALFORMED, "not in the shortest form")
    return fields


def head(kind: Type, project_id: bytes, body: bytes) -> bytes:
    """Write a frame's bytes up to the count."""
    return b"".join(
        (
            MAGIC,
            bytes((kind, VERSION, SUITE)),
            project_id,
            len(body).to_bytes(4, "big"),
            body,
        ),
    )


def write(kind: Type, project_id: bytes, fields: Fields, signers: Iterable[SigningKey]) -> bytes:
    """Make a statement, signed by each of the signers. One that its own readers would refuse for size is `Misuse`."""
    before = head(kind, project_id, pack(fields))
    return finish(kind, before, signers)


def finish(kind: Type, before: bytes, signers: Iterable[SigningKey]) -> bytes:
    """Sign the bytes up to the count and append count and entries."""
    signed = LABELS[kind] + before
    return _closed(kind, before, {primitives.sha256(signer.public): signer.sign(signed) for signer in signers})


def cosign(statement: bytes, entries: Mapping[bytes, bytes]) -> bytes:
    """Give a statement with more signatures, by signing key digest, beside those it has; `Rejected` for no frame."""
    kind = type_of(statement)
    frame = read(statement, kind, statement[5:37])
    return _closed(kind, statement[: frame.end], {**dict(frame.entries), **entries})


def _closed(kind: Type, before: bytes, entries: Mapping[bytes, bytes]) -> bytes:
    rising = sorted(entries.items())
    statement = b"".join((before, bytes((len(rising),)), *(part for entry in rising for part in entry)))
    if len(statement) > CAPS[kind]:
        raise Misuse(f"a {kind.name} of {len(statement)} bytes; the most is {CAPS[kind]}")
    return statement


def type_of(statement: bytes) -> Type:
    """Give a statement's type by its first bytes, or raise `Rejected`: foreign, truncated or of an unknown type."""
    if statement[:2] != MAGIC:
        raise Rejected(Reason.FOREIGN, "does not begin as a statement")
    if len(statement) < HEAD_SIZE + 1:
        raise Rejected(Reason.TRUNCATED, f"{len(statement)} bytes")
    try:
        return Type(statement[2])
    except ValueError:
        raise Rejected(Reason.UNKNOWN_TYPE, f"type {statement[2]}") from None


def read(statement: bytes, kind: Type, project_id: bytes) -> Frame:
    """Take apart a statement of one type and one project, or raise `Rejected`. No signature is checked here."""
    if type_of(statement) is not kind:
        raise Rejected(Reason.MALFORMED, f"a {Type(statement[2]).name}, not a {kind.name}")
    if statement[3] != VERSION:
        raise Rejected(Reason.UNKNOWN_VERSION, f"version {statement[3]} of {kind.name}")
    if statement[4] != SUITE:
        raise Rejected(Reason.UNKNOWN_SUITE, f"suite {statement[4]}")
    if len(statement) > CAPS[kind]:
        raise Rejected(
            Reason.TOO_LARGE,
            f"{len(statement)} bytes; a {kind.name} has at most {CAPS[kind]}",
        )
    if statement[5:37] != project_id:
        raise Rejected(Reason.OTHER_PROJECT, "of another project")
    end = HEAD_SIZE + int.from_bytes(statement[37:41], "big")
    if end >= len(statement):
        raise Rejected(Reason.TRUNCATED, "ends inside its body")
    size = end + 1 + statement[end] * ENTRY_SIZE
    if size > len(statement):
        raise Rejected(Reason.TRUNCATED, "ends inside its signatures")
    if size < len(statement):
        raise Rejected(Reason.MALFORMED, "bytes after its end")
    entries = tuple(
        [(statement[at : at + 32], statement[at + 32 : at + ENTRY_SIZE]) for at in range(end + 1, size, ENTRY_SIZE)]
    )
    if len(entries) > 1 and any(before[0] >= after[0] for before, after in pairwise(entries)):
        raise Rejected(Reason.MALFORMED, "signatures not in rising order")
    return Frame(kind, statement[4], statement[5:37], entries, statement, end)


def check_signers(frame: Frame, *publics: bytes, verify: Verify | None = None) -> None:
    """Check that exactly these keys signed, and well; else raise `Rejected`: unknown-signer or bad-signature.

    `verify` stands for `primitives.verify` where signatures were checked before (`Proofs`).
    """
    wanted = {primitives.sha256(public): public for public in publics}
    if len(frame.entries) != len(wanted):
        raise Rejected(Reason.UNKNOWN_SIGNER, f"{len(frame.entries)} signatures, not {len(wanted)}")
    for signer, signature in frame.entries:
        public = wanted.get(signer)
        if public is None:
            raise Rejected(Reason.UNKNOWN_SIGNER, f"signed by {signer.hex()[:16]}")
        if not (verify or primitives.verify)(public, frame.signed, signature):
            raise Rejected(Reason.BAD_SIGNATURE, f"not the signature of {signer.hex()[:16]}")


def statement_digest(statement: bytes) -> bytes:
    """Give a statement's digest: H over label | everything before the count; `Rejected` for what is no frame."""
    kind = type_of(statement)
    end = HEAD_SIZE + int.from_bytes(statement[37:41], "big")
    if end >= len(statement):
        raise Rejected(Reason.TRUNCATED, "ends inside its body")
    return _digest(kind, statement, end)


def _digest(kind: Type, statement: bytes, end: int) -> bytes:
    return primitives.digest(LABELS[kind], memoryview(statement)[:end])
