"""The vectors of the statements that hold secrets: grants, progress, reseal requests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import vector_people as people
from vector_people import ANNA, BERT, BERT_BYTES, MINE, PROJECT, STRANGER, body_of, granted, remade
from vector_world import NOW, Seeded, seeded

from sealwire.keys import lastfield, progress, reseal, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vector_statements import Case


def grants(case: Case) -> Iterator[Case]:
    (given,) = body_of(case.statement)[3]
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
        return lastfield.write(
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
        return lastfield.write(
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


OWN = {"grants": grants, "progress": progresses, "reseal": reseals}
