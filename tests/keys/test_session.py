from __future__ import annotations

import dataclasses
import hashlib
import hmac
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import ANNA, BERT, DAY, HOUR, MINUTE, NOW, PROJECT, ROOT, Draws, flips

from sealwire.keys import credential, session, wire
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.session import InboundSession, SessionFields
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from sealwire.keys.credential import Credential

OUTBOUND, STATEMENT = ANNA.session()


def read_credential(statement: bytes) -> Credential:
    return credential.read(statement, ROOT, NOW)


CLAIM = session.read(STATEMENT, PROJECT, read_credential, NOW)


def refusal(statement: bytes, now: int = NOW) -> Reason:
    with pytest.raises(Rejected) as caught:
        session.read(statement, PROJECT, read_credential, now)
    return caught.value.reason


def forged(**changes: object) -> bytes:
    said = msgspec.structs.replace(session.peek(STATEMENT, PROJECT), **changes)
    return wire.write(Type.SESSION, PROJECT, said, [ANNA.identity.signing])


def test_a_session_id_is_the_hkdf_commitment_of_the_format() -> None:
    fields = (PROJECT, ANNA.id, b"orders", NOW.to_bytes(8, "big"), (NOW + HOUR).to_bytes(8, "big"))
    info = b"\x16sealwire v1 session id" + b"".join(len(part).to_bytes(2, "big") + part for part in fields)
    extracted = hmac.digest(bytes(32), OUTBOUND.secret, hashlib.sha256)
    assert OUTBOUND.id == hmac.digest(extracted, info + b"\x01", hashlib.sha256)
    with pytest.raises(Misuse):
        session.commitment(bytes(31), PROJECT, ANNA.id, "orders", NOW, NOW)


def test_a_session_statement_claims_what_was_started() -> None:
    assert (CLAIM.id, CLAIM.channel, CLAIM.made_at, CLAIM.not_after) == (OUTBOUND.id, "orders", NOW, NOW + HOUR)
    assert CLAIM.verifying_key == OUTBOUND.signing.public
    assert CLAIM.sender == ANNA.credential
    assert CLAIM.digest == wire.statement_digest(STATEMENT)


def test_two_sessions_share_neither_secret_nor_signing_key() -> None:
    other, _ = session.start(ANNA.identity, ANNA.credential_bytes, PROJECT, "orders", 0, 2, NOW, Draws("other"))
    assert len({OUTBOUND.secret, other.secret, OUTBOUND.signing.seed, other.signing.seed}) == 4


def test_an_altered_bit_anywhere_in_a_session_statement_is_rejected() -> None:
    for altered in flips(STATEMENT):
        refusal(altered)


def test_only_the_identity_that_the_credential_names_claims_a_session() -> None:
    said = session.peek(STATEMENT, PROJECT)
    stranger = wire.write(Type.SESSION, PROJECT, said, [BERT.identity.signing])
    assert refusal(stranger) is Reason.UNKNOWN_SIGNER
    assert refusal(forged(credential=BERT.credential_bytes)) is Reason.UNKNOWN_SIGNER
    assert refusal(forged(credential=b"")) is Reason.FOREIGN


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"suite": 2}, Reason.UNKNOWN_SUITE),
        ({"algorithm": 2}, Reason.UNKNOWN_SUITE),
        ({"not_after": NOW + HOUR + 1}, Reason.MALFORMED),
        ({"not_after": NOW - 1}, Reason.MALFORMED),
        ({"made_at": NOW + 6 * MINUTE, "not_after": NOW + HOUR}, Reason.AHEAD),
        ({"made_at": NOW - 6 * MINUTE, "not_after": NOW}, Reason.EXPIRED),
        ({"channel": "no channel"}, Reason.MALFORMED),
    ],
)
def test_a_session_that_cannot_be_is_rejected(changes: dict[str, object], reason: Reason) -> None:
    assert refusal(forged(**changes)) is reason


def test_a_session_made_after_its_credential_ended_is_rejected() -> None:
    late = NOW + 7 * DAY + 1
    assert refusal(forged(made_at=late, not_after=late), late) is Reason.EXPIRED


def test_a_secret_proves_the_claim_that_commits_to_it_and_no_other() -> None:
    inbound = session.proven(CLAIM, OUTBOUND.secret)
    assert (inbound.id, inbound.secret, inbound.site, inbound.name) == (OUTBOUND.id, OUTBOUND.secret, "berlin", "anna")
    assert inbound.verifying_key == OUTBOUND.signing.public
    for secret in (bytes(32), OUTBOUND.secret[:-1], OUTBOUND.secret + b"\0"):
        with pytest.raises(Rejected) as caught:
            session.proven(CLAIM, secret)
        assert caught.value.reason is Reason.BAD_COMMITMENT
    for changes in ({"channel": "erp"}, {"made_at": NOW + 1}, {"not_after": NOW}):
        other = session.read(forged(**changes), PROJECT, read_credential, NOW)
        with pytest.raises(Rejected):
            session.proven(other, OUTBOUND.secret)


def test_a_session_goes_into_a_vault_and_comes_back() -> None:
    inbound = session.proven(CLAIM, OUTBOUND.secret)
    assert InboundSession.decode(inbound.encode()) == inbound
    with pytest.raises(Rejected):
        InboundSession.decode(inbound.encode()[:-1])


def test_a_session_that_a_former_release_put_into_a_vault_comes_back_without_the_key_that_admitted_its_sender() -> None:
    inbound = session.proven(CLAIM, OUTBOUND.secret)
    fields = msgspec.msgpack.decode(inbound.encode())
    former = InboundSession.decode(msgspec.msgpack.encode(fields[:-1]))
    assert former == dataclasses.replace(inbound, credential_signer=None)
    assert InboundSession.decode(former.encode()) == former


def test_sessions_show_no_secret() -> None:
    inbound = session.proven(CLAIM, OUTBOUND.secret)
    for shown in (repr(OUTBOUND), repr(inbound)):
        for secret in (OUTBOUND.secret, OUTBOUND.signing.seed):
            assert repr(secret) not in shown
            assert secret.hex() not in shown


@pytest.mark.parametrize(
    ("age", "sealed", "idle", "expected"),
    [
        (0, 0, False, False),
        (10 * MINUTE - 1, 0, False, False),
        (10 * MINUTE, 0, False, True),
        (54 * MINUTE, 0, True, False),
        (55 * MINUTE, 0, True, True),
        (0, 64 << 30, True, True),
        (-1, 0, True, True),
    ],
)
def test_the_next_session_is_due_by_age_bytes_and_a_clock_that_went_back(
    age: int,
    sealed: int,
    idle: bool,  # noqa: FBT001
    expected: bool,  # noqa: FBT001
) -> None:
    assert session.due(OUTBOUND, NOW + age, sealed, idle=idle) is expected


def test_the_next_session_is_due_as_its_rules_say() -> None:
    rules = session.Rules(busy_age=30_000, idle_age=MINUTE, bytes=1 << 20)
    due = [
        session.due(OUTBOUND, NOW + age, sealed, idle=idle, rules=rules)
        for age, sealed, idle in ((29_999, 0, False), (30_000, 0, False), (59_999, 0, True), (MINUTE, 0, True))
    ]
    assert due == [False, True, False, True]
    assert not session.due(OUTBOUND, NOW, (1 << 20) - 1, idle=True, rules=rules)
    assert session.due(OUTBOUND, NOW, 1 << 20, idle=True, rules=rules)


@pytest.mark.parametrize(
    "wrong", [{"busy_age": 0}, {"busy_age": HOUR}, {"idle_age": 55 * MINUTE + 1}, {"idle_age": MINUTE}, {"bytes": 0}]
)
def test_rules_by_which_a_session_ends_before_the_next_is_there_are_misuse(wrong: dict[str, int]) -> None:
    with pytest.raises(Misuse):
        session.Rules(**wrong)


def test_a_sender_keeps_a_session_of_its_own_as_its_readers_have_it() -> None:
    kept = session.own(OUTBOUND, ANNA.credential)
    assert kept == session.proven(CLAIM, OUTBOUND.secret)
    assert OUTBOUND.signing.seed not in kept.encode()
    with pytest.raises(Misuse):
        session.own(OUTBOUND, BERT.credential)


def test_a_channel_without_a_name_is_misuse() -> None:
    with pytest.raises(Misuse):
        ANNA.session(channel="a b")


@given(st.binary(max_size=400))
def test_any_bytes_are_a_session_or_rejected(noise: bytes) -> None:
    framed = wire.finish(Type.SESSION, wire.head(Type.SESSION, PROJECT, noise), [ANNA.identity.signing])
    for statement in (noise, STATEMENT[:41] + noise, framed):
        refusal(statement)
    with pytest.raises(Rejected):
        InboundSession.decode(noise)


def test_the_order_of_fields_is_that_of_the_table() -> None:
    assert SessionFields.__struct_fields__ == (
        "id",
        "suite",
        "channel",
        "credential",
        "algorithm",
        "verifying_key",
        "made_at",
        "not_after",
        "charter_version",
        "number",
    )
