from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import ANNA, BERT, DAY, HOUR, MINUTE, NOW, PROJECT, ROOT, Draws, flips

from sealwire.keys import credential, reseal, session, wire
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from sealwire.keys.credential import Credential

OUTBOUND, SESSION = ANNA.session()
CLAIM = session.read(SESSION, PROJECT, lambda inner: credential.read(inner, ROOT, NOW), NOW)
INBOUND = session.proven(CLAIM, OUTBOUND.secret)
SOURCE = SourcePartition("orders", "berlin", "orders", b"t" * 16, 3)
SPAN = Span(100, 250)


def asked(source: SourcePartition = SOURCE, span: Span = SPAN, expires: int = NOW + HOUR) -> bytes:
    return reseal.make(BERT.identity, BERT.credential_bytes, INBOUND, source, span, NOW, expires, Draws())


STATEMENT = asked()


def read_credential(statement: bytes) -> Credential:
    return credential.read(statement, ROOT, NOW)


def refusal(statement: bytes, now: int = NOW, secret: bytes = OUTBOUND.secret) -> Reason:
    with pytest.raises(Rejected) as caught:
        reseal.read(statement, PROJECT, secret, read_credential, now)
    return caught.value.reason


def forged(**changes: object) -> bytes:
    said = msgspec.structs.replace(reseal.peek(STATEMENT, PROJECT), **changes)
    return wire.write(Type.RESEAL, PROJECT, said, [BERT.identity.signing])


def test_the_sender_learns_who_wants_which_span() -> None:
    request = reseal.read(STATEMENT, PROJECT, OUTBOUND.secret, read_credential, NOW)
    assert (request.requester.name, request.source, request.span) == ("bert", SOURCE, SPAN)
    assert (request.made_at, request.expires, request.session_id) == (NOW, NOW + HOUR, OUTBOUND.id)
    shown = reseal.peek(STATEMENT, PROJECT)
    assert (shown.request_id, shown.session_id) == (request.request_id, OUTBOUND.id)
    assert b"orders" not in STATEMENT


def test_an_altered_bit_anywhere_in_a_reseal_request_is_rejected() -> None:
    for altered in flips(STATEMENT):
        refusal(altered)


def test_a_request_is_the_requesters_own() -> None:
    said = reseal.peek(STATEMENT, PROJECT)
    assert refusal(wire.write(Type.RESEAL, PROJECT, said, [ANNA.identity.signing])) is Reason.UNKNOWN_SIGNER
    as_anna = msgspec.structs.replace(said, credential=ANNA.credential_bytes)
    taken_over = wire.write(Type.RESEAL, PROJECT, as_anna, [ANNA.identity.signing])
    assert refusal(taken_over) is Reason.BAD_CIPHERTEXT
    assert refusal(STATEMENT, secret=bytes(32)) is Reason.BAD_CIPHERTEXT


def test_a_request_counts_for_its_time_alone() -> None:
    assert refusal(STATEMENT, NOW - 5 * MINUTE - 1) is Reason.AHEAD
    assert refusal(STATEMENT, NOW + HOUR + 5 * MINUTE + 1) is Reason.EXPIRED
    late = NOW + 8 * DAY
    assert refusal(forged(made_at=late, expires=late), late) is Reason.EXPIRED


@pytest.mark.parametrize(
    "how",
    [
        {"span": Span(5, 5)},
        {"span": Span(-1, 5)},
        {"expires": NOW + HOUR + 1},
        {"expires": NOW - 1},
        {"source": dataclasses.replace(SOURCE, topic_id=b"")},
        {"source": dataclasses.replace(SOURCE, site="a b")},
        {"source": dataclasses.replace(SOURCE, partition=-1)},
    ],
)
def test_asking_for_what_cannot_be_is_misuse(how: dict[str, object]) -> None:
    with pytest.raises(Misuse):
        asked(**how)


def test_a_request_for_what_cannot_be_is_malformed() -> None:
    fields = reseal.ResealFields(bytes(16), OUTBOUND.id, BERT.credential_bytes, NOW, NOW + HOUR, b"", b"")
    for plaintext in (b"", wire.pack((("orders", "berlin", "orders", b"t" * 16, 3), 5, 5))):
        lied = reseal.lastfield.write(
            Type.RESEAL,
            PROJECT,
            fields,
            reseal.LABEL,
            OUTBOUND.secret,
            OUTBOUND.id,
            BERT.id,
            plaintext,
            BERT.identity.signing,
            Draws(),
        )
        assert refusal(lied) is Reason.MALFORMED


@given(st.binary(max_size=400))
def test_any_bytes_are_a_reseal_request_or_rejected(noise: bytes) -> None:
    framed = wire.finish(Type.RESEAL, wire.head(Type.RESEAL, PROJECT, noise), [BERT.identity.signing])
    for statement in (noise, STATEMENT[:41] + noise, framed):
        refusal(statement)
