"""Vectors that are altered: any byte, any field, signed and sealed again by whoever signed and sealed them before."""

from __future__ import annotations

import base64
import binascii
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "keys")]

import opener  # noqa: E402
import suite  # noqa: E402
import vector_people as people  # noqa: E402
import vector_statements  # noqa: E402
import vector_world as world  # noqa: E402
from envelopes import LABEL, Place, context_of  # noqa: E402
from statements import BEGIN, END, KNOWN_TYPES  # noqa: E402

from sealwire.keys import wire  # noqa: E402
from sealwire.keys.primitives import SigningKey, sha256  # noqa: E402

if TYPE_CHECKING:
    from random import Random

    from vector_file import Vector

SIGNERS = {
    sha256(key.public): key
    for module in (people, vector_statements, world)
    for key in [
        *(each for each in vars(module).values() if isinstance(each, SigningKey)),
        *(each.signing for each in vars(module).values() if isinstance(getattr(each, "signing", None), SigningKey)),
        *people.ROOT_SIGNERS,
        world.outbound().signing,
    ]
}
EDGES = [0, 1, 2, 127, 255, 256, 2**31 - 1, 2**31, 2**32, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -33]
EDGES += [world.NOW + each for each in (0, 1, -60_000, 300_000, 300_001, 3_600_000, -3_600_000)]
# Where the numbers of an inner header stand after its two names, and their bytes.
NUMBERS = ((16, 4), (20, 8), (28, 8), (36, 8), (44, 4), (48, 8), (56, 4), (60, 4), (64, 4), (68, 4))
WORDS = [
    "",
    "a",
    ".",
    "..",
    "a*",
    "*",
    "-a",
    "a b",
    "\x00",
    "ä",
    "a" * 64,
    "a" * 65,
    "a" * 200,
    "a" * 201,
    "a" * 250,
    "a\n",
]


def octets(data: bytes, random: Random) -> bytes:
    """Change some bytes, cut, or splice."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(out) + 1)
        upto = min(len(out), at + random.choice((1, 1, 2, 4, 8, 32)))
        match random.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << random.randrange(8)
            case 1 if at < len(out):
                out[at] = random.choice((0, 1, 2, 0x7F, 0x80, 0xC0, 0xFF, random.randrange(256)))
            case 2:
                out[at:upto] = random.choice((b"\x00", b"\xff", b"\x7f")) * (upto - at)
            case 3:
                del out[at:upto]
            case 4:
                out[at:at] = random.randbytes(upto - at) or b"\x00"
            case _:
                out[at:at] = out[random.randrange(at + 1) :][:32]
    return bytes(out)


def _leaf(value: Any, random: Random) -> Any:
    """Another value for a field."""
    if random.randrange(12) == 0:
        return random.choice((None, 0, "", b"", [], 1.5, True, {}))
    if isinstance(value, int):
        return random.choice((value + 1, value - 1, value + 300_000, random.choice(EDGES)))
    if isinstance(value, str):
        return random.choice((*WORDS, value + "x", value[:-1]))
    if isinstance(value, bytes) and value[:2] == b"SW" and random.randrange(4):
        return statement(value, random)
    if isinstance(value, bytes):
        known = random.choice([key.public for key in SIGNERS.values()])
        return random.choice(
            (octets(value, random), value[:-1], value + b"x", b"", bytes(len(value)), known, sha256(known))
        )
    return random.choice((b"", bytes(32), bytes(16), 0, ""))


def _tree(value: Any, random: Random) -> Any:
    """Change one thing in it."""
    if not isinstance(value, list):
        return _leaf(value, random)
    out = list(value)
    at = random.randrange(len(out) + 1)
    if at == len(out) or random.randrange(8) == 0:
        match random.randrange(5):
            case 0 if out:
                del out[random.randrange(len(out))]
            case 1 if out:
                out.insert(random.randrange(len(out)), random.choice(out))
            case 2:
                random.shuffle(out)
            case 3:
                out.append(None)
            case _:
                out = []
        return out
    out[at] = _tree(out[at], random)
    return out


def _packed(data: bytes, random: Random) -> bytes:
    """Change one thing in msgpack: a field, or its bytes."""
    if random.randrange(4) == 0:
        return octets(data, random)
    try:
        return msgspec.msgpack.encode(_tree(msgspec.msgpack.decode(data), random))
    except (msgspec.MsgspecError, ValueError, OverflowError):
        return octets(data, random)


def statement(data: bytes, random: Random, session: tuple[bytes, bytes] | None = None) -> bytes:
    """Change a statement: its bytes; or what its body says, signed again; or what is encrypted in it."""
    if data[:5] == BEGIN[:5] and random.randrange(2):
        return ticket(data, random)
    form = random.randrange(6)
    size = int.from_bytes(data[37:41], "big")
    if form == 0 or len(data) < 42 + size or data[2] not in KNOWN_TYPES:
        return octets(data, random)
    kind, body = wire.Type(data[2]), data[41 : 41 + size]
    entries = [data[42 + size + each * 96 :][:32] for each in range(data[41 + size])]
    signers = [SIGNERS[each] for each in entries if each in SIGNERS]
    if form == 1:  # other signers
        signers = random.sample(list(SIGNERS.values()), random.randrange(4))
    elif session is not None and form <= 3:  # noqa: PLR2004
        before = _sealed(kind, data[5:37], body, random, *session)
        return wire.finish(kind, before, signers) if before else octets(data, random)
    else:
        body = _packed(body, random)
    project = data[5:37] if random.randrange(10) else random.choice((bytes(32), people.PROJECT))
    try:
        whole = bytearray(wire.finish(kind, wire.head(kind, project, body), signers))
    except Exception:  # noqa: BLE001 -- too large for its own readers: then as it was
        return octets(data, random)
    if random.randrange(8) == 0 and len(whole) > 42 + len(body):  # one signature not good, or entries out of order
        whole[random.randrange(42 + len(body), len(whole))] ^= 1
    return bytes(whole)


def ticket(text: bytes, random: Random) -> bytes:
    """Change what a ticket says, and its checksum with it; or the blank space around it."""
    lines = text.split(b"\n")
    if random.randrange(3) == 0:
        lines.insert(random.randrange(len(lines) + 1), random.choice((b"", b" ", b"\t\r", b"x", BEGIN, END)))
        return b"\n".join(lines)
    try:
        packed = base64.b64decode(b"".join(text.split()[3:-3]))
    except binascii.Error:
        return octets(text, random)
    frame = statement(packed[:-32], random)
    return b"\n".join((BEGIN, base64.b64encode(frame + sha256(wire.LABELS[wire.Type.TICKET], frame)), END))


def _sealed(kind: wire.Type, project: bytes, body: bytes, random: Random, secret: bytes, member: bytes) -> bytes:
    """Encrypt another plaintext in a statement of progress or a reseal request."""
    fields = msgspec.msgpack.decode(body)
    if not isinstance(fields[-1], bytes):
        return b""
    before = wire.head(kind, project, body)[: -len(fields[-1])]
    session_id = fields[0 if kind is wire.Type.PROGRESS else 1]
    name = f"sealwire v1 {KNOWN_TYPES[kind]}"
    try:
        plaintext = suite.decrypt(suite.hkdf(secret, fields[-2], name, session_id, member), fields[-1], before)
    except opener.Refused:
        return b""
    plaintext = _packed(plaintext, random)
    fields[-1] = bytes(len(plaintext) + 16)
    before = wire.head(kind, project, msgspec.msgpack.encode(fields))[: -len(fields[-1])]
    salted = suite.hkdf(secret, fields[-2], name, session_id, member)
    return before + AESGCM(salted).encrypt(bytes(12), plaintext, before)


def envelope(vector: Vector, random: Random) -> bytes:
    """Change an envelope: its bytes; or its plaintext, sealed and signed again."""
    data = vector.octets("envelope")
    told = opener.parse(vector.render())
    session, signer = opener.session_of(told), SIGNERS.get(sha256(vector.octets("session verifying key")))
    if random.randrange(3) == 0 or signer is None or len(data) < 132:
        return octets(data, random)
    record_key = None if vector.text("cloud record key") == "null" else vector.octets("cloud record key")
    numbers = (vector.text("channel"), vector.text("cloud topic"), vector.number("cloud partition"))
    context = context_of(Place(vector.octets("project id"), *numbers, record_key), session.sender)
    header = data[:52]
    seal_key = suite.hkdf(session.secret, header[36:], "sealwire v1 envelope", header, context)
    try:
        plaintext = suite.decrypt(seal_key, data[52:-64], header + context)
    except opener.Refused:
        return octets(data, random)
    plaintext = _plaintext(plaintext, random)
    body = AESGCM(seal_key).encrypt(bytes(12), plaintext, header + context)
    return header + body + signer.sign(LABEL + suite.digest(header, context) + suite.digest(body))


def _plaintext(plaintext: bytes, random: Random) -> bytes:
    """Change the inner header, one of its numbers, what follows it; or put another zstd frame there."""
    names = 4
    for _ in range(2):
        names += 2 + int.from_bytes(plaintext[names : names + 2], "big")
    head, rest = bytearray(plaintext[: names + 75]), plaintext[names + 75 :]
    form = random.randrange(4)
    if form == 0 or len(head) < names + 75:
        return octets(plaintext, random)
    if form == 1:
        return octets(bytes(head), random) + rest
    if form == 2:  # noqa: PLR2004
        at, size = random.choice(NUMBERS)
        value = int.from_bytes(head[names + at :][:size], "big")
        value = random.choice((value + 1, value - 1, *EDGES)) % 256**size
        head[names + at : names + at + size] = value.to_bytes(size, "big")
        return bytes(head) + rest
    content = random.randbytes(61) + bytes(random.choice((0, 1, 200, 70_000)))
    head[2] = 1  # compression; then one batch, its size, and no padding
    head[names + 60 : names + 72] = b"".join(each.to_bytes(4, "big") for each in (1, len(content), 0))
    return bytes(head) + _frame(content, random)


def _frame(content: bytes, random: Random) -> bytes:
    """Make a zstd frame of it, whole or not."""
    with_size, checksum = random.randrange(10) > 0, random.randrange(2) > 0
    frame = zstandard.ZstdCompressor(write_content_size=with_size, write_checksum=checksum).compress(content)
    empty, skippable = b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00", b"\x50\x2a\x4d\x18\x00\x00\x00\x00"
    match random.randrange(4):
        case 0:
            return frame
        case 1:
            return octets(frame[:12], random) + frame[12:]
        case 2:
            return octets(frame, random)
        case _:
            return frame + random.choice((frame, empty, skippable, b"x"))


def subject(vector: Vector) -> bytes:
    """The envelope or the statement that a vector is about."""
    return vector.octets("envelope" if vector.has("envelope") else "statement")


def with_subject(vector: Vector, data: bytes) -> Vector:
    """The vector about these bytes instead."""
    which = "envelope" if vector.has("envelope") else "statement"
    return replace(vector, inputs=tuple((name, data if name == which else value) for name, value in vector.inputs))


def altered(vector: Vector, random: Random) -> Vector:
    """The vector with another envelope or statement, and perhaps at another time."""
    if vector.has("envelope"):
        return with_subject(vector, envelope(vector, random))
    session = None
    if vector.has("session secret"):
        sender = vector.octets("session sender") if vector.has("session sender") else people.BERT.member_id
        session = vector.octets("session secret"), sender
    vector = with_subject(vector, statement(vector.octets("statement"), random, session))
    if not vector.has("now") or random.randrange(4):
        return vector
    now = max(0, vector.number("now") + random.choice((1, -1, 300_000, -300_000, -300_001, 31 * 86_400_000)))
    return replace(vector, inputs=tuple((name, now if name == "now" else value) for name, value in vector.inputs))
