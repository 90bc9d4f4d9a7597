"""The vectors of the statements: one good one of each, and ones that break exactly one thing each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import vector_people as people
from sealwire.keys import charter, grant, identity, policy, primitives, progress, request, reseal, root, session
from sealwire.keys import ticket as tickets
from sealwire.keys import wire
from sealwire.keys.keypackage import DAY
from sealwire.keys.primitives import ReceivingKey, SigningKey
from sealwire.keys.reason import Reason
from sealwire.keys.source import SourcePartition, Span
from vector_file import Vector
from vector_people import ANNA, ANNA_BYTES, AUTHORITY, BEGAN, BERT, BERT_BYTES, HELD, MINE, PROJECT, ROOT, ROOT_BYTES
from vector_people import ROOT_SIGNERS, SESSION_BYTES, STRANGER, body_of, certified, granted, package, remade
from vector_world import MADE_AT, NOW, Seeded, seeded

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    made = progress.make(MINE, 1, NOW, NOW + 30_000, False, (TOPIC,), Seeded("progress"))  # noqa: FBT003
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


def roots(case: Case) -> Iterator[Case]:
    keys = [SigningKey.from_seed(seeded(f"new root key {number}")) for number in (1, 2)]
    names = tuple(ROOT.__struct_fields__[:9])
    fields = root.RootFields(**{name: getattr(ROOT, name) for name in names})
    change = msgspec.structs.replace
    second = change(fields, root_keys=tuple((1, each.public) for each in keys), distrusted=((AUTHORITY.public, NOW),))
    follows = {"former": ROOT_BYTES}
    yield case.but(
        "next",
        "accept",
        "Version 2 with new root keys, signed by the thresholds of both.",
        root.make_next(ROOT, second, [*ROOT_SIGNERS[:2], *keys]),
        **follows,
    )
    yield case.but(
        "next-below-the-old-threshold",
        "reject unknown-signer",
        "Version 2, signed by one of the old root keys.",
        root.make_next(ROOT, second, [*ROOT_SIGNERS[:1], *keys]),
        **follows,
    )
    yield case.but(
        "next-below-the-new-threshold",
        "reject unknown-signer",
        "Version 2, signed by one of the new root keys.",
        root.make_next(ROOT, second, [*ROOT_SIGNERS, keys[0]]),
        **follows,
    )
    third = remade(root.make_next(ROOT, second, []), [*ROOT_SIGNERS, *keys], f0=3)
    yield case.but("next-skips-one", "reject outdated", "Version 3 after version 1.", third, **follows)
    forked = remade(root.make_next(ROOT, second, []), [*ROOT_SIGNERS, *keys], f1=seeded("another root"))
    yield case.but("next-of-another", "reject fork", "Version 2, of another version 1.", forked, **follows)
    escrow = root.make_first(
        "acme",
        ROOT_SIGNERS,
        2,
        [(AUTHORITY.public, NOW + DAY)],
        [("safe", ReceivingKey(seeded("escrow")).public)],
        BEGAN,
    )
    yield case.but("with-escrow", "accept", "Version 1 with an escrow key.", escrow, project_id=root.project_id(escrow))
    for name, comment, changes in (
        ("threshold-0", "A threshold of none.", {"f4": 0}),
        ("threshold-above-the-keys", "A threshold of four of three keys.", {"f4": 4}),
        ("key-twice", "One root key named twice.", {"f3": [[1, ROOT_SIGNERS[0].public]] * 2}),
    ):
        changed = remade(ROOT_BYTES, ROOT_SIGNERS, **changes)
        yield case.but(name, "reject malformed", comment, changed, project_id=root.project_id(changed))
    one = wire.finish(wire.Type.ROOT, ROOT_BYTES[: 41 + int.from_bytes(ROOT_BYTES[37:41], "big")], ROOT_SIGNERS[:1])
    yield case.but("below-the-threshold", "reject unknown-signer", "Version 1, signed by one of two.", one)


def charters(case: Case) -> Iterator[Case]:
    def changed(**changes: object) -> bytes:
        return remade(case.statement, [AUTHORITY], **changes)

    yield case.but("version-0", "reject malformed", "Charter 0 is built in; nobody signs one.", changed(f0=0))
    yield case.but("ahead", "reject ahead", "As of more than five minutes after the reader's clock.", now=NOW - 301_001)
    rows = [[seeded(name), 0, "why"] for name in ("a", "a")]
    yield case.but("refusal-twice", "reject malformed", "One member refused twice.", changed(f4=rows))
    yield case.but(
        "table-not-in-order",
        "reject malformed",
        "The values of a policy's table do not rise.",
        changed(f3=[["*", "*", 0, [["site", ["paris", "berlin"]]], [], 0]]),
    )
    yield case.but(
        "pattern-star-inside",
        "reject malformed",
        "A star in the middle of a pattern.",
        changed(f3=[["or*ers", "*", 0, [], [], 0]]),
    )


def requests(case: Case) -> Iterator[Case]:
    ticket, carl, anna = TICKET.signing, CARL.signing, ANNA.signing
    yield case.but("same-again", "same", "The ticket was spent by this very member.", spent_by=CARL.member_id)
    yield case.but(
        "spent", "reject spent", "The ticket was spent by another member.", spent_by=seeded("another winner")
    )
    yield case.but("expired", "reject expired", "The ticket ended a millisecond ago.", now=TICKET.expiry + 1)
    yield case.but(
        "unknown-ticket", "reject unknown-ticket", "The books' entry is of another ticket.", ticket_id=bytes(16)
    )
    yield case.but(
        "ahead", "reject ahead", "Dated more than five minutes after the authority's clock.", now=NOW - 300_001
    )
    yield case.but(
        "member-id-of-another-key",
        "reject malformed",
        "A member id that is not the digest of the identity key.",
        remade(ASKED, [ticket, carl], f2=seeded("id")),
    )
    yield case.but(
        "ticket-and-former-key",
        "reject malformed",
        "A ticket id and a former key together.",
        remade(ASKED, [ticket, carl], f4=anna.public),
    )
    yield case.but(
        "name-with-a-space",
        "reject malformed",
        "A name that cannot be.",
        remade(ASKED, [ticket, carl], f1="carl the great"),
    )
    renewal = request.ask_renewal(ANNA, people.ANNA_CREDENTIAL, NOW)
    known: dict[str, object] = {
        "ticket_key": None,
        "ticket_id": None,
        "expiry": None,
        "root": ROOT_BYTES,
        "credential": ANNA_BYTES,
        "asked_at": 0,
    }
    yield case.but("renewal", "accept", "The same key asks for its next credential.", renewal, **known)
    replaced = request.ask_replacement(ANNA, RENEWED, people.ANNA_CREDENTIAL, NOW)
    yield case.but("replacement", "accept", "The next key, signed by the former one too.", replaced, **known)
    yield case.but(
        "replacement-without-the-former",
        "reject unknown-signer",
        "The next key alone signed.",
        remade(replaced, [RENEWED.signing]),
        **known,
    )
    yield case.but(
        "renewal-again",
        "reject outdated",
        "Not newer than the last that was answered.",
        renewal,
        **{**known, "asked_at": NOW},
    )
    yield case.but(
        "renewal-under-another-name",
        "reject changed-request",
        "Another name than the credential's.",
        remade(renewal, [anna], f1="berta"),
        **known,
    )


def answers(case: Case) -> Iterator[Case]:
    digest = wire.statement_digest(ASKED)
    refused = request.answer(ROOT, AUTHORITY, digest, NOW, reason=Reason.NAME_TAKEN)
    yield case.but("refusal", "refused name-taken", "The authority refuses, and says why.", refused)
    spent = request.answer(ROOT, AUTHORITY, digest, NOW, reason=Reason.SPENT, winner=seeded("winner"))
    yield case.but("refusal-with-winner", "refused spent", "The authority names who spent the ticket.", spent)
    another = request.answer(ROOT, AUTHORITY, seeded("another request"), NOW, credential=CARL_BYTES)
    yield case.but("to-another-request", "reject spliced", "The answer to another request.", another)
    anothers = request.answer(ROOT, AUTHORITY, digest, NOW, credential=ANNA_BYTES)
    yield case.but("anothers-credential", "reject spliced", "The credential of another member.", anothers)
    yield case.but(
        "both", "reject malformed", "A credential and a reason.", remade(case.statement, [AUTHORITY], f2="spent")
    )
    yield case.but(
        "neither",
        "reject malformed",
        "Neither a credential nor a reason.",
        remade(case.statement, [AUTHORITY], f1=None),
    )
    yield case.but("ahead", "reject ahead", "Dated more than five minutes after the reader's clock.", now=NOW - 300_001)


def credentials(case: Case) -> Iterator[Case]:
    def changed(**changes: object) -> bytes:
        return remade(ANNA_BYTES, [AUTHORITY], **changes)

    yield case.but(
        "ahead", "reject ahead", "Valid from more than five minutes after the reader's clock.", now=BEGAN - 300_001
    )
    yield case.but(
        "without-site", "reject malformed", "No site among its attributes.", changed(f4=[["role", "member"]])
    )
    yield case.but(
        "attributes-not-in-order",
        "reject malformed",
        "Attributes that do not rise.",
        changed(f4=[["site", "berlin"], ["role", "member"]]),
    )
    yield case.but(
        "attribute-twice",
        "reject malformed",
        "One attribute twice.",
        changed(f4=[["site", "berlin"], ["site", "paris"]]),
    )
    yield case.but("ends-before-it-begins", "reject malformed", "not_after before not_before.", changed(f7=BEGAN - 1))
    yield case.but(
        "algorithm-2", "reject unknown-suite", "An identity key of an algorithm that nobody knows.", changed(f1=2)
    )
    yield case.but("member-id-short", "reject malformed", "A member id of 31 bytes.", changed(f0=ANNA.member_id[1:]))
    yield case.but("time-as-float", "reject malformed", "A time written as a float.", changed(f5=float(BEGAN)))
    end = 41 + int.from_bytes(ANNA_BYTES[37:41], "big")
    long = ANNA_BYTES[41 : end - 1] + b"\xcc\x00"  # the charter version, 0, in two bytes instead of one
    frame = wire.head(wire.Type.CREDENTIAL, PROJECT, long)
    yield case.but(
        "integer-not-shortest",
        "reject malformed",
        "An integer in a longer form than it needs.",
        wire.finish(wire.Type.CREDENTIAL, frame, [AUTHORITY]),
    )
    late = root.make_first("acme", ROOT_SIGNERS, 2, [(AUTHORITY.public, NOW - 1)], [], BEGAN)
    named = credentials_under(late)
    yield case.but(
        "authority-key-ended", "reject expired", "The authority's key ended a millisecond ago.", named, root=late
    )
    fields = msgspec.structs.replace(
        root.RootFields(**{name: getattr(ROOT, name) for name in ROOT.__struct_fields__[:9]}),
        distrusted=((AUTHORITY.public, BEGAN),),
    )
    yield case.but(
        "authority-key-distrusted",
        "reject distrusted",
        "Root 2 distrusts the authority's key since just then.",
        root=root.make_next(ROOT, fields, ROOT_SIGNERS),
    )


def credentials_under(root_bytes: bytes) -> bytes:
    """Make a credential of the same words in the project of another root."""
    kind = wire.Type.CREDENTIAL
    body = msgspec.msgpack.encode(body_of(ANNA_BYTES))
    return wire.finish(kind, wire.head(kind, root.project_id(root_bytes), body), [AUTHORITY])


def packages(case: Case) -> Iterator[Case]:
    bert = [BERT.signing]
    (window,) = body_of(case.statement)[3]  # type: ignore[misc]
    start, end, suite, public = window
    yield case.but("another-members", "reject spliced", "The key package of another member.", package(who=ANNA))
    yield case.but(
        "ahead", "reject ahead", "Dated more than five minutes after the reader's clock.", now=MADE_AT - 301_001
    )
    yield case.but(
        "key-of-1215-bytes", "reject bad-key", "A receiving key that is a byte short.", package(public=public[1:])
    )
    yield case.but(
        "window-twice", "reject malformed", "One window twice.", remade(case.statement, bert, f3=[window, window])
    )
    yield case.but(
        "window-empty",
        "reject malformed",
        "A window that ends where it begins.",
        remade(case.statement, bert, f3=[[start, start, suite, public]]),
    )
    yield case.but("no-window", "reject malformed", "Not one window.", remade(case.statement, bert, f3=[]))


def sessions(case: Case) -> Iterator[Case]:
    def changed(**changes: object) -> bytes:
        return remade(SESSION_BYTES, [ANNA.signing], **changes)

    yield case.but(
        "ahead", "reject ahead", "Made more than five minutes after the reader's clock.", now=MADE_AT - 300_001
    )
    yield case.but(
        "longer-than-an-hour",
        "reject malformed",
        "It lasts an hour and a millisecond.",
        changed(f7=MADE_AT + 3_600_001),
    )
    yield case.but("ends-before-it-begins", "reject malformed", "not_after before made_at.", changed(f7=MADE_AT - 1))
    yield case.but("suite-2", "reject unknown-suite", "A session of suite 2.", changed(f1=2))
    yield case.but(
        "algorithm-2", "reject unknown-suite", "A signing key of an algorithm that nobody knows.", changed(f4=2)
    )
    yield case.but(
        "channel-with-a-space", "reject malformed", "The name of a channel that cannot be.", changed(f2="or ders")
    )
    yield case.but(
        "anothers-credential",
        "reject unknown-signer",
        "The credential is of another member than the signer.",
        changed(f3=BERT_BYTES),
    )
    forged = remade(ANNA_BYTES, [STRANGER], f0=ANNA.member_id)
    yield case.but(
        "forged-credential", "reject unknown-signer", "The credential is not by the authority.", changed(f3=forged)
    )
    ended = certified(ANNA, "anna", "berlin", validity=DAY - 60_001)
    yield case.but(
        "credential-ended",
        "reject expired",
        "The credential ended a millisecond before the session was made.",
        changed(f3=ended),
    )


def grants(case: Case) -> Iterator[Case]:
    (given,) = body_of(case.statement)[3]  # type: ignore[misc]
    kind, recipient, start, enc, ciphertext = given
    mine = [MINE.signing]

    def changed(*fields: object) -> bytes:
        return remade(case.statement, mine, f3=[list(fields)])

    yield case.but(
        "commitment-mismatch",
        "reject bad-commitment",
        "It unwraps, to a secret that the session id does not commit to.",
        granted(replace(MINE, secret=seeded("another secret"))),
    )
    spliced = remade(granted(people.NEXT), mine, f0=MINE.id)
    yield case.but(
        "spliced",
        "reject bad-ciphertext",
        "The grant of the sender's next session, in a statement of this one.",
        spliced,
    )
    yield case.but(
        "of-another-session", "reject spliced", "A grants statement of the sender's next session.", granted(people.NEXT)
    )
    yield case.but(
        "no-window-held",
        "reject no-grant",
        "Wrapped for a window whose receiving key is gone.",
        window_start=start - 4 * 3600 * 1000,
    )
    yield case.but(
        "another-receiving-key",
        "reject bad-ciphertext",
        "The receiving key is another's.",
        receiving_key=people.OTHER_HELD.receiving.seed,
    )
    yield case.but(
        "window-start-altered",
        "reject bad-ciphertext",
        "Another window start than was bound.",
        changed(kind, recipient, start + 1, enc, ciphertext),
        window_start=start + 1,
    )
    yield case.but(
        "recipient-altered",
        "reject bad-ciphertext",
        "Readdressed to another member, who holds the same key.",
        changed(kind, ANNA.member_id, start, enc, ciphertext),
        recipient=ANNA.member_id,
    )
    yield case.but(
        "enc-altered",
        "reject bad-ciphertext",
        "One bit of the encapsulation is altered.",
        changed(kind, recipient, start, enc[:-1] + bytes((enc[-1] ^ 1,)), ciphertext),
    )
    yield case.but(
        "enc-short",
        "reject malformed",
        "The encapsulation lacks a byte.",
        changed(kind, recipient, start, enc[:-1], ciphertext),
    )
    yield case.but(
        "ciphertext-long",
        "reject malformed",
        "A ciphertext of 49 bytes.",
        changed(kind, recipient, start, enc, ciphertext + b"\0"),
    )
    yield case.but(
        "no-grant", "reject malformed", "A grants statement without a grant.", remade(case.statement, mine, f3=[])
    )
    yield case.but(
        "granter-unknown",
        "reject unknown-member",
        "Granted by a member that nobody knows.",
        remade(case.statement, [STRANGER], f1=seeded("granter")),
    )
    yield case.but(
        "granter",
        "accept",
        "Granted by another reader, and signed by its identity.",
        remade(case.statement, [BERT.signing], f1=BERT.member_id),
        granter=BERT_BYTES,
    )


def progresses(case: Case) -> Iterator[Case]:
    def raw(topics: object, **changes: object) -> bytes:
        plaintext = msgspec.msgpack.encode(topics)
        said = body_of(case.statement)
        fields = progress.ProgressFields(*said)
        fields = msgspec.structs.replace(fields, **changes)
        return progress.lastfield.write(
            wire.Type.PROGRESS,
            PROJECT,
            fields,
            progress.LABEL,
            MINE.secret,
            MINE.id,
            MINE.member_id,
            plaintext,
            MINE.signing,
            Seeded("raw progress"),
        )

    identity_bytes = seeded("topic id", 16)
    row = ["orders.eu", identity_bytes, 3, [[2, 103, 200, 0]]]
    yield case.but(
        "final",
        "accept",
        "A session's last word, of a source partition that is gone.",
        raw([[*row[:3], [[2, 103, 200, 3]]]], final=1),
    )
    yield case.but(
        "of-another-session", "reject spliced", "The reader takes it for another session's.", session_id=people.NEXT.id
    )
    yield case.but(
        "another-secret", "reject bad-ciphertext", "Encrypted under another secret.", session_secret=people.NEXT.secret
    )
    yield case.but(
        "another-sender", "reject bad-ciphertext", "The sender is another member.", session_sender=BERT.member_id
    )
    yield case.but(
        "salt-altered",
        "reject bad-ciphertext",
        "Another salt, signed as it is.",
        remade(case.statement, [MINE.signing], f5=bytes(16)),
    )
    yield case.but(
        "number-altered",
        "reject bad-ciphertext",
        "Another number, signed as it is: every byte before the ciphertext is bound.",
        remade(case.statement, [MINE.signing], f1=2),
    )
    yield case.but("ahead", "reject ahead", "As of more than five minutes after the reader's clock.", now=NOW - 300_001)
    yield case.but(
        "next-by-too-late",
        "reject malformed",
        "The next word an hour and a millisecond later.",
        raw([row], next_by=NOW + 3_600_001),
    )
    yield case.but(
        "final-2", "reject malformed", "Final is neither 0 nor 1.", remade(case.statement, [MINE.signing], f4=2)
    )
    yield case.but("topic-twice", "reject malformed", "One topic twice.", raw([row, row]))
    yield case.but(
        "partition-beyond-the-count", "reject malformed", "Partition 3 of 3.", raw([[*row[:3], [[3, 1, 1, 0]]]])
    )
    yield case.but("state-4", "reject malformed", "A state that nobody knows.", raw([[*row[:3], [[2, 1, 1, 4]]]]))
    yield case.but("plaintext-no-array", "reject malformed", "The plaintext is a number.", raw(7))


def reseals(case: Case) -> Iterator[Case]:
    def raw(wanted: object, **changes: object) -> bytes:
        fields = msgspec.structs.replace(reseal.ResealFields(*body_of(case.statement)), **changes)
        return reseal.lastfield.write(
            wire.Type.RESEAL,
            PROJECT,
            fields,
            reseal.LABEL,
            MINE.secret,
            MINE.id,
            BERT.member_id,
            msgspec.msgpack.encode(wanted),
            BERT.signing,
            Seeded("raw reseal"),
        )

    source = ["orders", "berlin", "orders.eu", seeded("topic id", 16), 2]
    yield case.but("ahead", "reject ahead", "Made more than five minutes after the sender's clock.", now=NOW - 300_001)
    yield case.but("expired", "reject expired", "It ended more than five minutes ago.", now=NOW + 360_001)
    yield case.but(
        "another-secret",
        "reject bad-ciphertext",
        "Encrypted under another session's secret.",
        session_secret=people.NEXT.secret,
    )
    yield case.but(
        "lasts-too-long",
        "reject malformed",
        "It ends an hour and a millisecond after it was made.",
        raw([source, 100, 103], expires=NOW + 3_600_001),
    )
    yield case.but("span-empty", "reject malformed", "A span that ends where it begins.", raw([source, 100, 100]))
    yield case.but(
        "partition-beyond-int32", "reject malformed", "Partition 2^31.", raw([[*source[:4], 2**31], 100, 103])
    )
    yield case.but(
        "session-id-altered",
        "reject bad-ciphertext",
        "It names another session, signed as it is.",
        remade(case.statement, [BERT.signing], f1=people.NEXT.id),
    )


def ticket_files() -> Iterator[Case]:
    case = Case(
        "ticket", "good", "accept", "A ticket for a member of site rome.", TICKET_TEXT, (), {"root": ROOT_BYTES}
    )
    lines = TICKET_TEXT.splitlines(keepends=True)
    yield case
    yield case.but(
        "crlf", "accept", "Line ends of another system, and blank lines.", b"\r\n\r\n".join(TICKET_TEXT.splitlines())
    )
    yield case.but(
        "foreign",
        "reject foreign",
        "A file that is no ticket.",
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    )
    yield case.but("end-missing", "reject truncated", "The END line is missing.", b"".join(lines[:-1]))
    yield case.but("line-missing", "reject truncated", "A line of base64 is missing.", b"".join(lines[:2] + lines[3:]))
    yield case.but(
        "letter-altered",
        "reject truncated",
        "One letter is another: the checksum does not fit.",
        TICKET_TEXT.replace(lines[3][:8], lines[3][1:8] + b"A", 1),
    )
    yield case.but(
        "another-root",
        "reject other-project",
        "A root of another project than it pins.",
        root=root.make_first("other", ROOT_SIGNERS, 2, [(AUTHORITY.public, NOW)], [], BEGAN),
    )
    second = remade(ROOT_BYTES, ROOT_SIGNERS, f8=BEGAN + 1)
    yield case.but(
        "root-of-another-date",
        "reject other-project",
        "A first root that differs in one field is another project.",
        root=second,
    )


def cases() -> list[Case]:
    """Every case of the statements; only inside `stored_hpke`."""
    own = {
        "root": roots,
        "charter": charters,
        "request": requests,
        "answer": answers,
        "credential": credentials,
        "key package": packages,
        "session": sessions,
        "grants": grants,
        "progress": progresses,
        "reseal": reseals,
    }
    made: list[Case] = []
    for case in good():
        made += [case, *framed(case), *own[case.type](case)]
    return [*made, *ticket_files()]
