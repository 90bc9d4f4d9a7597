"""Statements: the frame, and what the body of each type may hold. Who must sign it stands in judging.py."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from canonical import (
    ATTRIBUTES,
    CHANNEL,
    COUNTER,
    ID,
    NAME,
    OFFSET,
    PUBLIC,
    SHORT_ID,
    TIME,
    TOPIC,
    Check,
    Reader,
    Refused,
    array,
    ensure,
    integer,
    nil_or,
    octets,
    rise,
    rows,
    text,
    unpack,
)  # fmt: skip
from suite import digest, sha256, verify

HOUR = 3_600_000
U8 = integer(0, 255)
CREDENTIAL = octets(0, 8192)  # inside another statement
RECEIVING = octets(1, 4096)

PATTERN = text(r"(?!\Z)[a-zA-Z0-9._-]{0,249}\*?")
TABLE = rows(array(NAME, rows(text(r".{1,200}"), 0, 256)), 0, 32)
PARTITION = array(integer(0, 2**31 - 1), OFFSET, integer(-1, 2**63 - 1), integer(0, 3))

# name: type, cap, and the body's fields by their names
TYPES: dict[str, tuple[int, int, dict[str, Check]]] = {
    "root": (0x21, 65536, {
        "version": integer(1, 2**32), "former": nil_or(ID), "project_name": NAME,
        "root_keys": rows(array(U8, PUBLIC), 1, 16), "threshold": U8,
        "authority_keys": rows(array(U8, PUBLIC, TIME), 0, 16), "escrow": rows(array(NAME, U8, RECEIVING), 0, 16),
        "distrusted": rows(array(PUBLIC, TIME), 0, 16), "made_at": TIME,
    }),
    "charter": (0x22, 1048576, {
        "version": COUNTER, "as_of": TIME, "root_version": COUNTER,
        "policies": rows(array(PATTERN, PATTERN, U8, TABLE, TABLE, TIME), 0, 4096),
        "refusals": rows(array(ID, TIME, text(r".{0,200}")), 0, 8192),
        "min_suite": U8, "min_format": U8, "max_age": TIME,
    }),
    "ticket": (0x23, 16384, {
        "project_name": NAME, "root_version": COUNTER, "root_digest": ID, "ticket_id": SHORT_ID,
        "seed": octets(32), "attributes": ATTRIBUTES, "expiry": TIME, "bootstrap": text(r".{0,2048}"),
    }),
    "request": (0x24, 2048, {
        "ticket_id": nil_or(SHORT_ID), "name": NAME, "member": ID, "identity": PUBLIC, "former_key": nil_or(PUBLIC),
        "made_at": TIME,
    }),
    "answer": (0x25, 16384, {
        "request": ID, "credential": nil_or(CREDENTIAL), "reason": nil_or(text(r"[a-z-]{1,64}")),
        "winner": nil_or(ID), "made_at": TIME,
    }),
    "credential": (0x26, 8192, {
        "member": ID, "algorithm": U8, "identity": PUBLIC, "name": NAME, "attributes": ATTRIBUTES, "admitted": TIME,
        "not_before": TIME, "not_after": TIME, "serial": COUNTER, "root_version": COUNTER, "charter_version": COUNTER,
    }),
    "key package": (0x27, 98304, {
        "member": ID, "serial": COUNTER, "made_at": TIME,
        "windows": rows(array(TIME, TIME, U8, RECEIVING), 1, 64),
    }),
    "session": (0x28, 16384, {
        "session": ID, "suite": U8, "channel": CHANNEL, "credential": CREDENTIAL, "algorithm": U8,
        "signing_key": PUBLIC, "made_at": TIME, "not_after": TIME, "charter_version": COUNTER, "number": COUNTER,
    }),
    "grants": (0x29, 393216, {
        "session": ID, "granter": nil_or(ID), "number": COUNTER,
        "grants": rows(array(U8, ID, TIME, octets(0, 1120), octets(0, 256)), 1, 256),
    }),
    "progress": (0x2A, 1048576, {
        "session": ID, "number": COUNTER, "as_of": TIME, "next_by": TIME, "final": integer(0, 1), "salt": octets(16),
        "ciphertext": octets(16, 1048576),
    }),
    "reseal": (0x2B, 16384, {
        "request_id": SHORT_ID, "session": ID, "credential": CREDENTIAL, "made_at": TIME, "expires": TIME,
        "salt": octets(16), "ciphertext": octets(16, 16384),
    }),
}  # fmt: skip
KNOWN_TYPES = {number: name for name, (number, _, _) in TYPES.items()}
ROOT, RULED = 0x21, {0x21, 0x22, 0x26, 0x27, 0x28, 0x29}  # what is learnt wherever it is found
WORDS = rows(
    array(TOPIC, SHORT_ID, integer(0, 2**31), rows(PARTITION, 0, 2**31)),
    0, 2**31,
)  # fmt: skip
WANTED = array(array(CHANNEL, NAME, TOPIC, SHORT_ID, integer(0, 2**31 - 1)), OFFSET, OFFSET)


@dataclass(frozen=True)
class Statement:
    """A statement as it is laid out; nobody has verified its signatures yet."""

    name: str
    project: bytes
    fields: dict[str, Any]
    signed: bytes  # everything before the count
    body: bytes
    entries: list[tuple[bytes, bytes]]  # signing key digest, signature

    @property
    def label(self) -> bytes:
        return f"sealwire v1 {self.name}".encode().ljust(32, b"\x00")

    @property
    def digest(self) -> bytes:
        return digest(self.label, self.signed)

    @property
    def site(self) -> str:
        """The site of a credential."""
        return dict(self["attributes"])["site"]

    def same(self, other: Statement) -> bool:
        """Tell whether it is this very statement, signatures and all."""
        return (self.digest, self.entries) == (other.digest, other.entries)

    def __getitem__(self, field: str) -> Any:
        return self.fields[field]

    def signed_by(self, *public: bytes) -> None:
        """Exactly these sign it: `unknown-signer` or `bad-signature` if not."""
        ensure(len(self.entries) == len(set(public)), "unknown-signer")
        self.verify(set(public))

    def verify(self, public: set[bytes], *, strangers: bool = False) -> None:
        """Every entry is of one of these (or of a stranger, where they may sign), and good; in the entries' order."""
        keys = {sha256(each): each for each in public}
        for each, signature in self.entries:
            ensure(each in keys or strangers, "unknown-signer")
            if each in keys:
                verify(keys[each], signature, self.label, self.signed)


def type_of(octets: bytes) -> str:
    """The type that a statement says it is of."""
    ensure(octets[:2] == b"SW", "foreign")
    ensure(len(octets) >= 42, "truncated")
    ensure(octets[2] in KNOWN_TYPES, "unknown-type")
    return KNOWN_TYPES[octets[2]]


def read(octets: bytes, name: str | None, project: bytes | None, *, rules: bool = True) -> Statement:
    """A statement of this type (any if None) of this project (any if None), laid out as FORMAT.md says.

    Without `rules` what its fields are to each other is not looked at yet.
    """
    kind = type_of(octets)
    ensure(name in {None, kind}, "malformed")
    name, (_, cap, fields) = kind, TYPES[kind]
    version, suite = octets[3:5]
    ensure(version == 1, "unknown-version")
    ensure(suite == 1, "unknown-suite")
    ensure(len(octets) <= cap, "too-large")
    theirs = octets[5:37]
    ensure(project is None or theirs == project, "other-project")
    reader = Reader(octets, "truncated")
    reader.take(37)
    body = reader.take(reader.integer(4))
    signed = octets[: reader.at]
    entries = [(reader.take(32), reader.take(64)) for _ in range(reader.integer(1))]
    ensure(not reader.left, "malformed")
    rise(each for each, _ in entries)
    values = dict(zip(fields, array(*fields.values())(unpack(body)), strict=True))
    statement = Statement(name, theirs, values, signed, body, entries)
    if rules and name in RULES:
        RULES[name](statement)
    return statement


def _root(it: Statement) -> None:
    ensure(1 <= it["threshold"] <= len(it["root_keys"]), "malformed")
    for table, column in (("root_keys", 1), ("authority_keys", 1), ("escrow", 0), ("escrow", 2), ("distrusted", 0)):
        named = [row[column] for row in it[table]]
        ensure(len(named) == len(set(named)), "malformed")


def _request(it: Statement) -> None:
    by_ticket, former = it["ticket_id"] is not None, it["former_key"]
    ensure(not (by_ticket and former), "malformed")
    ensure(not by_ticket or it["member"] == sha256(it["identity"]), "malformed")
    ensure(former != it["identity"], "malformed")


def _answer(it: Statement) -> None:
    ensure((it["credential"] is None) != (it["reason"] is None), "malformed")
    ensure(it["winner"] is None or it["reason"] is not None, "malformed")


def _charter(it: Statement) -> None:
    ensure(it["version"], "malformed")  # charter 0 is built in
    rise(member for member, _, _ in it["refusals"])
    for _, _, _, produce, consume, _ in it["policies"]:
        for table in (produce, consume):
            rise(name for name, _ in table)
            for _, values in table:
                rise(values)


def _ticket(it: Statement) -> None:
    rise(name for name, _ in it["attributes"])


def _credential(it: Statement) -> None:
    rise(name for name, _ in it["attributes"])
    NAME(dict(it["attributes"]).get("site"))
    ensure(it["admitted"] <= it["not_before"] <= it["not_after"], "malformed")
    ensure(it["algorithm"] == 1, "unknown-suite")


def _key_package(it: Statement) -> None:
    rise(row[:2] for row in it["windows"])
    ensure(all(start < end for start, end, _, _ in it["windows"]), "malformed")
    ensure(all(len(key) == 1216 for _, _, suite, key in it["windows"] if suite == 1), "bad-key")


def _session(it: Statement) -> None:
    ensure(it["made_at"] <= it["not_after"] <= it["made_at"] + HOUR, "malformed")
    ensure(it["suite"] == 1 and it["algorithm"] == 1, "unknown-suite")


def _progress(it: Statement) -> None:
    ensure(it["as_of"] <= it["next_by"] <= it["as_of"] + HOUR, "malformed")


def _reseal(it: Statement) -> None:
    ensure(it["made_at"] <= it["expires"] <= it["made_at"] + HOUR, "malformed")


RULES = {
    "root": _root, "charter": _charter, "ticket": _ticket, "request": _request, "answer": _answer,
    "credential": _credential, "key package": _key_package, "session": _session, "progress": _progress,
    "reseal": _reseal,
}  # fmt: skip


BEGIN, END = b"-----BEGIN SEALWIRE TICKET-----", b"-----END SEALWIRE TICKET-----"


def read_ticket(written: bytes) -> Statement:
    """The ticket in this text."""
    ensure(len(written) <= 32768, "too-large")
    words, begin, end = written.split(), BEGIN.split(), END.split()
    ensure(words[: len(begin)] == begin, "foreign")
    ensure(words[-len(end) :] == end and len(words) >= len(begin) + len(end), "truncated")
    try:
        octets = base64.b64decode(b"".join(words[len(begin) : -len(end)]), validate=True)
    except binascii.Error:
        raise Refused("truncated") from None
    frame, checksum = octets[:-32], octets[-32:]
    ensure(checksum == sha256(b"sealwire v1 ticket".ljust(32, b"\x00"), frame), "truncated")
    ticket = read(frame, "ticket", None)
    ensure(not ticket.entries, "malformed")
    return ticket
