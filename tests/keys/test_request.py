from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import (
    ANNA,
    AUTHORITY,
    BERT,
    DAY,
    MINUTE,
    NOW,
    PROJECT,
    ROOT,
    ROOT_BYTES,
    Draws,
    admit,
    flips,
    signing,
)

from sealwire.keys import credential, identity, request, ticket, wire
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.request import AnswerFields, Form, RequestFields
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from sealwire.keys.credential import Credential

TICKET, _ = ticket.make(ROOT_BYTES, {"role": "member"}, NOW + DAY, "", Draws("ticket"))
ASKED = request.ask(TICKET, ANNA.identity, "anna", NOW)
DIGEST = request.read(ASKED, PROJECT).digest
ANSWER = request.answer(ROOT, AUTHORITY, DIGEST, NOW, credential=ANNA.credential_bytes)
NEXT = identity.replace(ANNA.identity, Draws("next"), NOW)


def unread(statement: bytes) -> Reason:
    with pytest.raises(Rejected) as caught:
        request.read(statement, PROJECT)
    return caught.value.reason


def unanswered(statement: bytes, asked: bytes = ASKED, now: int = NOW) -> Reason:
    with pytest.raises(Rejected) as caught:
        request.read_answer(statement, asked, ROOT, now)
    return caught.value.reason


def unproven(statement: bytes, known: Credential = ANNA.credential, now: int = NOW, asked_at: int = 0) -> Reason:
    with pytest.raises(Rejected) as caught:
        request.read(statement, PROJECT).check_member(known, now, asked_at)
    return caught.value.reason


def test_a_request_has_three_forms() -> None:
    renewal = request.ask_renewal(ANNA.identity, ANNA.credential, NOW)
    replacement = request.ask_replacement(ANNA.identity, NEXT, ANNA.credential, NOW)
    forms = [request.read(each, PROJECT).form for each in (ASKED, renewal, replacement)]
    assert forms == [Form.TICKET, Form.RENEWAL, Form.REPLACEMENT]
    request.read(ASKED, PROJECT).check_ticket(TICKET.signing.public)
    request.read(renewal, PROJECT).check_member(ANNA.credential, NOW)
    request.read(replacement, PROJECT).check_member(ANNA.credential, NOW)


def test_each_form_is_proven_by_its_own_signers() -> None:
    renewal = request.ask_renewal(ANNA.identity, ANNA.credential, NOW)
    with pytest.raises(Rejected):
        request.read(renewal, PROJECT).check_ticket(TICKET.signing.public)
    assert unproven(ASKED) is Reason.MALFORMED
    assert unproven(renewal, BERT.credential) is Reason.CHANGED_REQUEST
    renewed = credential.read(admit(NEXT, "anna", serial=2), ROOT, NOW)
    assert unproven(renewal, renewed) is Reason.UNKNOWN_SIGNER
    alone = RequestFields(None, "anna", ANNA.id, NEXT.public, ANNA.identity.public, NOW)
    for signer in (NEXT.signing, ANNA.identity.signing):
        assert unproven(wire.write(Type.REQUEST, PROJECT, alone, [signer])) is Reason.UNKNOWN_SIGNER
    forged = [NEXT.signing, signing("stranger")]
    assert unproven(wire.write(Type.REQUEST, PROJECT, alone, forged)) is Reason.UNKNOWN_SIGNER


def test_a_renewal_is_newer_than_the_last_and_not_ahead() -> None:
    renewal = request.ask_renewal(ANNA.identity, ANNA.credential, NOW)
    assert unproven(renewal, asked_at=NOW) is Reason.OUTDATED
    assert unproven(renewal, now=NOW - 5 * MINUTE - 1) is Reason.AHEAD
    request.read(renewal, PROJECT).check_member(ANNA.credential, NOW, NOW - 1)


@pytest.mark.parametrize(
    "fields",
    [
        RequestFields(bytes(16), "anna", ANNA.id, ANNA.identity.public, NEXT.public, NOW),
        RequestFields(bytes(16), "anna", BERT.id, ANNA.identity.public, None, NOW),
        RequestFields(None, "anna", ANNA.id, ANNA.identity.public, ANNA.identity.public, NOW),
        RequestFields(None, "a b", ANNA.id, ANNA.identity.public, None, NOW),
    ],
)
def test_a_request_in_no_form_is_malformed(fields: RequestFields) -> None:
    assert unread(wire.write(Type.REQUEST, PROJECT, fields, [ANNA.identity.signing])) is Reason.MALFORMED


def test_asking_for_what_cannot_be_is_misuse() -> None:
    with pytest.raises(Misuse):
        request.ask(TICKET, ANNA.identity, "no/name", NOW)
    with pytest.raises(Misuse):
        request.ask_replacement(ANNA.identity, BERT.identity, ANNA.credential, NOW)
    with pytest.raises(Misuse):
        request.answer(ROOT, AUTHORITY, DIGEST, NOW)
    with pytest.raises(Misuse):
        request.answer(ROOT, AUTHORITY, DIGEST, NOW, credential=ANNA.credential_bytes, reason=Reason.SPENT)
    with pytest.raises(Misuse):
        request.answer(ROOT, AUTHORITY, DIGEST, NOW, credential=ANNA.credential_bytes, winner=bytes(32))


def test_an_answer_brings_the_credential() -> None:
    assert request.read_answer(ANSWER, ASKED, ROOT, NOW) == ANNA.credential
    assert request.peek_answer(ANSWER, PROJECT).request == DIGEST


def test_the_authority_refusal_is_a_value_and_names_the_winner() -> None:
    refused = request.answer(ROOT, AUTHORITY, DIGEST, NOW, reason=Reason.SPENT, winner=BERT.id)
    verdict = request.read_answer(refused, ASKED, ROOT, NOW)
    assert isinstance(verdict, Rejected)
    assert verdict.reason is Reason.SPENT
    assert BERT.identity.fingerprint in verdict.detail


def test_a_reason_of_a_later_release_is_a_refusal_too() -> None:
    said = AnswerFields(DIGEST, None, "moon-phase", None, NOW)
    verdict = request.read_answer(wire.write(Type.ANSWER, PROJECT, said, [AUTHORITY]), ASKED, ROOT, NOW)
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (Reason.NOT_AUTHORISED, "moon-phase")


def test_what_is_no_answer_of_the_authority_to_this_request_is_rejected() -> None:
    renewal = request.ask_renewal(ANNA.identity, ANNA.credential, NOW)
    assert unanswered(ANSWER, renewal) is Reason.SPLICED
    assert unanswered(ANSWER, now=NOW - 5 * MINUTE - 1) is Reason.AHEAD
    said = request.peek_answer(ANSWER, PROJECT)
    assert unanswered(wire.write(Type.ANSWER, PROJECT, said, [signing("stranger")])) is Reason.UNKNOWN_SIGNER
    for_bert = request.answer(ROOT, AUTHORITY, DIGEST, NOW, credential=BERT.credential_bytes)
    assert unanswered(for_bert) is Reason.SPLICED
    broken = request.answer(ROOT, AUTHORITY, DIGEST, NOW, credential=ANNA.credential_bytes[:-1])
    assert unanswered(broken) is Reason.TRUNCATED


def test_an_altered_bit_anywhere_in_an_answer_is_rejected() -> None:
    for altered in flips(ANSWER):
        unanswered(altered)


@given(st.binary(max_size=300))
def test_any_bytes_are_requests_and_answers_or_rejected(noise: bytes) -> None:
    for kind, whole in ((Type.REQUEST, ASKED), (Type.ANSWER, ANSWER)):
        framed = wire.finish(kind, wire.head(kind, PROJECT, noise), [AUTHORITY])
        for statement in (noise, whole[:41] + noise, framed):
            unread(statement)
            unanswered(statement)
