"""The vectors of the statements: one good one of each, and ones that break exactly one thing each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import vector_people as people
from vector_file import Vector
from vector_people import (
    ANNA,
    ANNA_BYTES,
    AUTHORITY,
    BERT,
    BERT_BYTES,
    HELD,
    MINE,
    PROJECT,
    ROOT,
    ROOT_BYTES,
    ROOT_SIGNERS,
    SESSION_BYTES,
    STRANGER,
    certified,
    granted,
    remade,
)
from vector_world import NOW, Seeded, seeded

from sealwire.keys import charter, identity, policy, primitives, progress, request, reseal, session, wire
from sealwire.keys import ticket as tickets
from sealwire.keys.keypackage import DAY
from sealwire.keys.source import SourcePartition, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwire.keys.primitives import SigningKey

Inputs = dict[str, str | int | bytes]
COMMON: Inputs = {"now": NOW, "root": ROOT_BYTES}


@dataclass(frozen=True)
class Case:
    """A statement, who signs such, and what its reader knows."""

    type: str
    name: str
    expect: str
    comment: str
    statement: bytes
    signers: tuple[SigningKey, ...]
    context: Inputs

    @property
    def path(self) -> str:
        """Where its file is, below the folder."""
        return f"{self.type.replace(' ', '-')}/{self.name}.txt"

    def vector(self) -> Vector:
        """Give its text form."""
        inputs = (("type", self.type), *self.context.items(), ("statement", self.statement))
        return Vector(self.name, self.comment, self.expect, inputs)

    def but(self, name: str, expect: str, comment: str, statement: bytes | None = None, **context: object) -> Case:
        """Give the case that breaks one thing in this one; a context of None is left out."""
        known = {**self.context, **{each.replace("_", " "): value for each, value in context.items()}}
        kept = {each: value for each, value in known.items() if value is not None}
        statement = self.statement if statement is None else statement
        return replace(self, name=name, expect=expect, comment=comment, statement=statement, context=kept)  # type: ignore[arg-type]


CHARTER = charter.CharterFields(
    version=1,
    as_of=NOW - 1000,
    root_version=1,
    policies=(
        charter.PolicyRow(
            "orders", "acme.*", 0, policy.table({"site": ["berlin"]}), policy.table({"role": ["member"]}), 0
        ),
    ),
    refusals=(charter.Refusal(seeded("a leaver"), NOW - DAY, "left"),),
    min_suite=1,
    min_format=1,
    max_age=0,
)
TICKET, TICKET_TEXT = tickets.make(
    ROOT_BYTES, {"role": "member", "site": "rome"}, NOW + DAY, "c:9092", Seeded("ticket")
)
CARL = identity.create(Seeded("carl"), NOW)
ASKED = request.ask(TICKET, CARL, "carl", NOW)
CARL_BYTES = certified(CARL, "carl", "rome", now=NOW)
RENEWED = identity.replace(ANNA, Seeded("anna again"), NOW)
INBOUND = session.proven(session.read(SESSION_BYTES, PROJECT, lambda _: people.ANNA_CREDENTIAL, NOW), MINE.secret)
TOPIC = progress.TopicProgress(
    "orders.eu", seeded("topic id", 16), 3, (progress.PartitionProgress(2, 103, 200, progress.State.LIVE),)
)
SOURCE = SourcePartition("orders", "berlin", "orders.eu", seeded("topic id", 16), 2)
SECRETS: Inputs = {
    "session id": MINE.id,
    "session secret": MINE.secret,
    "session sender": MINE.member_id,
    "session verifying key": MINE.signing.public,
}


def good() -> list[Case]:
    """One of each type, to be broken."""
    anna, bert = ANNA.signing, BERT.signing
    made = progress.make(MINE, 1, NOW, NOW + 30_000, False, (TOPIC,), Seeded("progress"))
    asked = reseal.make(BERT, BERT_BYTES, INBOUND, SOURCE, Span(100, 103), NOW, NOW + 60_000, Seeded("reseal"))
    answered = request.answer(ROOT, AUTHORITY, wire.statement_digest(ASKED), NOW, credential=CARL_BYTES)
    by_ticket: Inputs = {
        "now": NOW,
        "project id": PROJECT,
        "ticket key": TICKET.signing.public,
        "ticket id": TICKET.ticket_id,
        "expiry": TICKET.expiry,
    }
    held: Inputs = {"recipient": BERT.member_id, "window start": HELD.start, "receiving key": HELD.receiving.seed}
    rows: tuple[tuple[str, str, bytes, tuple[SigningKey, ...], Inputs], ...] = (
        ("root", "Root version 1, of three root keys, two of which must sign.", ROOT_BYTES, tuple(ROOT_SIGNERS), {"project id": PROJECT}),
        ("charter", "One policy and one refusal.", charter.make(ROOT, AUTHORITY, CHARTER), (AUTHORITY,), COMMON),
        ("request", "A request by ticket.", ASKED, (TICKET.signing, CARL.signing), by_ticket),
        ("answer", "A credential, in answer to a request.", answered, (AUTHORITY,), {**COMMON, "request": ASKED}),
        ("credential", "A member of site berlin.", ANNA_BYTES, (AUTHORITY,), COMMON),
        ("key package", "One window of four hours.", people.PACKAGE_BYTES, (bert,), {**COMMON, "credential": BERT_BYTES}),
        ("session", "A session on channel orders.", SESSION_BYTES, (anna,), COMMON),
        ("grants", "One grant, for the reader.", granted(), (MINE.signing,), {**COMMON, "session": SESSION_BYTES, **held}),
        ("progress", "One topic of three partitions, one of them this sender's.", made, (MINE.signing,), {"now": NOW, "project id": PROJECT, **SECRETS}),
        ("reseal", "A span of three offsets, asked for by the reader.", asked, (bert,), {**COMMON, "session secret": MINE.secret}),
    )  # fmt: skip
    return [Case(kind, "good", "accept", comment, *rest) for kind, comment, *rest in rows]  # type: ignore[arg-type]


def framed(case: Case) -> Iterator[Case]:
    """Break a statement's frame in the ways that are the same for every type."""
    whole = case.statement
    end = 41 + int.from_bytes(whole[37:41], "big")

    def flipped(at: int) -> bytes:
        changed = bytearray(whole)
        changed[at] ^= 1
        return bytes(changed)

    first = case.type == "root"
    yield case.but("foreign", "reject foreign", "One bit of the magic is altered.", flipped(0))
    yield case.but(
        "unknown-type", "reject unknown-type", "A type that no reader knows.", whole[:2] + b"\x7e" + whole[3:]
    )
    yield case.but("unknown-version", "reject unknown-version", "Version 2 of the type.", whole[:3] + b"\2" + whole[4:])
    yield case.but("unknown-suite", "reject unknown-suite", "Suite 2.", whole[:4] + b"\2" + whole[5:])
    yield case.but("other-project", "reject other-project", "One bit of the project id is altered.", flipped(5))
    yield case.but("cut-in-the-head", "reject truncated", "Its first 41 bytes.", whole[:41])
    yield case.but("cut-in-the-body", "reject truncated", "It ends inside its body.", whole[: end - 1])
    yield case.but("cut-before-the-count", "reject truncated", "It ends where the count should be.", whole[:end])
    yield case.but("cut-in-a-signature", "reject truncated", "Its last byte is missing.", whole[:-1])
    yield case.but("byte-after-the-end", "reject malformed", "A zero after its last signature.", whole + b"\0")
    altered = "reject other-project" if first else "reject bad-signature"
    yield case.but("altered-body", altered, "One bit of the body's last byte is altered.", flipped(end - 1))
    yield case.but("altered-signature", "reject bad-signature", "One bit of a signature is altered.", flipped(-1))
    yield case.but("no-signature", "reject unknown-signer", "Nobody signed.", whole[:end] + b"\0")
    stranger = remade(whole, [*case.signers[:-1], STRANGER])
    yield case.but(
        "signed-by-a-stranger", "reject unknown-signer", "A key that nobody knows signed in another's place.", stranger
    )
    pinned: Inputs = (
        {"project id": primitives.sha256(wire.LABELS[wire.Type.ROOT], remade(whole, [], more=0)[:-1])} if first else {}
    )
    extra = case.but(
        "extra-element",
        "reject malformed",
        "One array element more, signed as it is.",
        remade(whole, list(case.signers), more=0),
    )
    yield replace(extra, context={**extra.context, **pinned})
    label = wire.label("envelope") + whole[:end]
    entries = sorted((primitives.sha256(each.public), each.sign(label)) for each in case.signers)
    other = whole[: end + 1] + b"".join(part for entry in entries for part in entry)
    yield case.but("another-label", "reject bad-signature", "Signed under the label of envelopes.", other)
