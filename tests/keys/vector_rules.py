"""The vectors of what each statement may say, and of who may say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import vector_people as people
from vector_people import (
    ANNA,
    ANNA_BYTES,
    AUTHORITY,
    BEGAN,
    BERT,
    BERT_BYTES,
    PROJECT,
    ROOT,
    ROOT_BYTES,
    ROOT_SIGNERS,
    SESSION_BYTES,
    STRANGER,
    body_of,
    certified,
    package,
    remade,
)
from vector_world import MADE_AT, NOW, seeded

from sealwire.keys import request, root, wire
from sealwire.keys.keypackage import DAY
from sealwire.keys.primitives import ReceivingKey, SigningKey
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
from vector_statements import ASKED, CARL, CARL_BYTES, RENEWED, TICKET, TICKET_TEXT, Case


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
        (
            "escrow-key-twice",
            "One escrow key under two names.",
            {"f6": [[name, 2, b"one"] for name in ("safe", "vault")]},
        ),
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
    (window,) = body_of(case.statement)[3]
    start, _, suite, public = window
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


def ticket_files() -> list[Case]:
    """Give the cases of a ticket, which is a file and has no signature."""
    return list(_ticket_files())


def _ticket_files() -> Iterator[Case]:
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


OWN = {
    "root": roots,
    "charter": charters,
    "request": requests,
    "answer": answers,
    "credential": credentials,
    "key package": packages,
    "session": sessions,
}
