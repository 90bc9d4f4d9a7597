from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import ANNA, BERT, DAY, HOUR, NOW, PROJECT, ROOT, Draws, flips

from sealwire.keys import credential, grant, keypackage, primitives, session, wire
from sealwire.keys.grant import Grant, GrantsFields
from sealwire.keys.keypackage import KeyPackageFields, Window
from sealwire.keys.primitives import ReceivingKey
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from sealwire.keys.session import Claim

OUTBOUND, STATEMENT = ANNA.session()
PACKAGE = keypackage.read(BERT.package, PROJECT, BERT.credential, NOW)
WRAPPED = grant.wrap(OUTBOUND, [(BERT.id, PACKAGE)], 0, NOW, Draws())


def claimed(statement: bytes = STATEMENT) -> Claim:
    return session.read(statement, PROJECT, lambda inner: credential.read(inner, ROOT, NOW), NOW)


CLAIM = claimed()
GRANTS, FRAME = grant.read(WRAPPED[0], PROJECT)
FOR_BERT = GRANTS.addressed_to(BERT.id)[0]


def failed(given_grant: Grant, claim: Claim = CLAIM) -> Reason:
    with pytest.raises(Rejected) as caught:
        grant.unwrap(given_grant, claim, BERT.held)
    return caught.value.reason


def test_a_reader_unwraps_its_grant_to_the_session() -> None:
    grant.check(GRANTS, FRAME, CLAIM)
    inbound = grant.unwrap(FOR_BERT, CLAIM, BERT.held)
    assert (inbound.id, inbound.secret, inbound.member_id) == (OUTBOUND.id, OUTBOUND.secret, ANNA.id)
    assert not GRANTS.addressed_to(ANNA.id)


def test_grants_for_500_readers_are_under_a_megabyte_and_wrap_once_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = 0

    def counted(public: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        nonlocal wrapped
        wrapped += 1
        return bytes(primitives.ENC_SIZE), bytes(primitives.WRAPPED_SIZE)

    monkeypatch.setattr(primitives, "hpke_wrap", counted)
    readers = [(number.to_bytes(32, "big"), PACKAGE) for number in range(500)]
    statements = grant.wrap(OUTBOUND, readers, 0, NOW, Draws())
    assert (wrapped, len(statements)) == (500, 2)
    assert sum(map(len, statements)) < 1_000_000


@pytest.mark.parametrize("anew_first", [False, True])
def test_what_was_wrapped_for_a_former_or_a_newer_key_of_a_window_is_unwrapped(anew_first: bool) -> None:  # noqa: FBT001
    held, statement = keypackage.renew(BERT.identity, BERT.credential, PROJECT, BERT.held, NOW, Draws("2"), anew=True)
    assert statement is not None
    package = keypackage.read(statement, PROJECT, BERT.credential, NOW) if anew_first else PACKAGE
    (wrapped,) = grant.wrap(OUTBOUND, [(BERT.id, package)], 0, NOW, Draws())
    given_grant = grant.read(wrapped, PROJECT)[0].addressed_to(BERT.id)[0]
    assert grant.unwrap(given_grant, CLAIM, held).secret == OUTBOUND.secret


def test_the_info_of_a_grant_is_that_of_the_format() -> None:
    parts = (b"\x01", PROJECT, ANNA.id, OUTBOUND.id, b"orders", BERT.id, FOR_BERT.window_start.to_bytes(8, "big"))
    info = b"\x11sealwire v1 grant" + b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    secret = primitives.hpke_unwrap(BERT.held[0].receiving, info, FOR_BERT.enc, FOR_BERT.ciphertext)
    assert secret == OUTBOUND.secret


def test_a_grant_spliced_into_another_session_opens_nothing() -> None:
    for other in (ANNA.session(number=2), ANNA.session(channel="erp"), BERT.session()):
        claim = claimed(other[1])
        assert failed(FOR_BERT, claim) is Reason.BAD_CIPHERTEXT
        with pytest.raises(Rejected) as caught:
            grant.check(GRANTS, FRAME, claim)
        assert caught.value.reason is Reason.SPLICED


def test_a_claim_of_a_foreign_session_id_is_no_session() -> None:
    """A member claims the id of another's session, and even wraps a secret for it: the commitment refuses."""
    said = session.peek(BERT.session()[1], PROJECT)
    stolen = msgspec.structs.replace(said, id=OUTBOUND.id)
    claim = claimed(wire.write(Type.SESSION, PROJECT, stolen, [BERT.identity.signing]))
    mine = BERT.session()[0]
    parts = (b"\x01", PROJECT, BERT.id, OUTBOUND.id, b"orders", BERT.id, FOR_BERT.window_start.to_bytes(8, "big"))
    info = b"\x11sealwire v1 grant" + b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    for secret in (mine.secret, OUTBOUND.secret):
        enc, ciphertext = primitives.hpke_wrap(BERT.held[0].receiving.public, info, secret)
        assert failed(Grant(1, BERT.id, FOR_BERT.window_start, enc, ciphertext), claim) is Reason.BAD_COMMITMENT


def test_a_grant_for_a_window_that_is_not_held_is_no_grant() -> None:
    assert failed(msgspec.structs.replace(FOR_BERT, window_start=NOW - 90 * DAY)) is Reason.NO_GRANT
    assert failed(msgspec.structs.replace(FOR_BERT, window_start=BERT.held[1].start)) is Reason.BAD_CIPHERTEXT


def test_a_grant_laid_out_otherwise_is_malformed() -> None:
    assert failed(msgspec.structs.replace(FOR_BERT, kind=2)) is Reason.MALFORMED
    assert failed(msgspec.structs.replace(FOR_BERT, enc=FOR_BERT.enc[1:])) is Reason.MALFORMED
    assert failed(msgspec.structs.replace(FOR_BERT, ciphertext=bytes(49))) is Reason.MALFORMED


def test_a_short_and_a_long_window_of_one_start_are_both_tried() -> None:
    midnight = NOW - NOW % DAY + 10 * DAY
    long, short = ReceivingKey(b"l" * 32), ReceivingKey(b"s" * 32)
    held = tuple(
        keypackage.HeldKey(midnight, midnight + length, receiving)
        for length, receiving in ((4 * HOUR, short), (DAY, long))
    )
    outbound, statement = ANNA.session(now=NOW)
    package = KeyPackageFields(BERT.id, 1, NOW, (Window(midnight, midnight + DAY, 1, long.public),))
    wrapped = grant.wrap(outbound, [(BERT.id, package)], 0, midnight, Draws())
    mine = grant.read(wrapped[0], PROJECT)[0].addressed_to(BERT.id)[0]
    assert grant.unwrap(mine, claimed(statement), held).secret == outbound.secret


def test_grants_are_signed_by_the_session_or_by_the_granter_that_they_name() -> None:
    stranger = wire.write(Type.GRANTS, PROJECT, GRANTS, [ANNA.identity.signing])
    with pytest.raises(Rejected) as caught:
        grant.check(*grant.read(stranger, PROJECT), CLAIM)
    assert caught.value.reason is Reason.UNKNOWN_SIGNER
    late = wire.write(Type.GRANTS, PROJECT, msgspec.structs.replace(GRANTS, granter=BERT.id), [BERT.identity.signing])
    fields, frame = grant.read(late, PROJECT)
    grant.check(fields, frame, CLAIM, BERT.identity.public)
    for granter_key, reason in ((None, Reason.UNKNOWN_MEMBER), (ANNA.identity.public, Reason.UNKNOWN_SIGNER)):
        with pytest.raises(Rejected) as caught:
            grant.check(fields, frame, CLAIM, granter_key)
        assert caught.value.reason is reason


def test_what_a_reader_passes_on_is_signed_by_it_and_opens_to_the_same_session() -> None:
    inbound = grant.unwrap(FOR_BERT, CLAIM, BERT.held)
    passed_on = grant.share(inbound, ANNA.identity, [(BERT.id, PACKAGE)], 1, NOW)
    assert passed_on is not None
    fields, frame = grant.read(passed_on, PROJECT)
    assert fields.granter == ANNA.id
    grant.check(fields, frame, CLAIM, ANNA.identity.public)
    assert grant.unwrap(fields.addressed_to(BERT.id)[0], CLAIM, BERT.held) == inbound
    assert grant.share(inbound, ANNA.identity, [(BERT.id, PACKAGE)], 2, NOW + 30 * DAY) is None


def test_an_altered_bit_anywhere_in_grants_is_rejected() -> None:
    for altered in flips(WRAPPED[0], step=3):
        with pytest.raises(Rejected):
            grant.check(*grant.read(altered, PROJECT), CLAIM)


def test_more_readers_than_one_statement_holds_make_several_numbered_ones() -> None:
    readers = [(hashlib.sha256(bytes((number % 256, number // 256))).digest(), PACKAGE) for number in range(257)]
    statements = grant.wrap(OUTBOUND, readers, 5, NOW, Draws())
    fields = [grant.read(statement, PROJECT)[0] for statement in statements]
    assert [(each.number, len(each.grants)) for each in fields] == [(5, 256), (6, 1)]


def test_escrow_keys_are_granted_too_and_members_pass_them_over() -> None:
    escrow = ReceivingKey(b"e" * 32)
    statements = grant.wrap(OUTBOUND, [(BERT.id, PACKAGE)], 0, NOW, Draws(), [escrow.public])
    fields, _ = grant.read(statements[0], PROJECT)
    assert [(each.kind, each.window_start) for each in fields.grants][1] == (grant.ESCROW, 0)
    assert fields.grants[1].recipient == hashlib.sha256(escrow.public).digest()
    assert not fields.addressed_to(fields.grants[1].recipient)


def test_a_reader_whose_keys_serve_nothing_is_passed_over_and_the_others_are_granted() -> None:
    dead = KeyPackageFields(ANNA.id, 1, NOW, (Window(NOW - HOUR, NOW, 1, PACKAGE.windows[0].public),))
    zeros = KeyPackageFields(ANNA.id, 1, NOW, (Window(NOW, NOW + HOUR, 1, bytes(1216)),))
    for package in (dead, zeros):
        statements = grant.wrap(OUTBOUND, [(ANNA.id, package), (BERT.id, PACKAGE)], 0, NOW, Draws())
        assert [each.recipient for each in grant.read(statements[0], PROJECT)[0].grants] == [BERT.id]
        assert grant.wrap(OUTBOUND, [(ANNA.id, package)], 0, NOW, Draws()) == []


def test_windows_used_only_rise() -> None:
    used = grant.windows_used([(BERT.id, PACKAGE)], NOW, {})
    assert used == {BERT.id: FOR_BERT.window_start}
    later = grant.windows_used([(BERT.id, PACKAGE)], NOW + 4 * HOUR, used)
    assert later[BERT.id] == FOR_BERT.window_start + 4 * HOUR
    assert grant.windows_used([(BERT.id, PACKAGE)], NOW, later) == later
    assert grant.wrap(OUTBOUND, [(BERT.id, PACKAGE)], 0, NOW, Draws(), used=later) == []


@given(st.binary(max_size=400))
def test_any_bytes_are_grants_or_rejected(noise: bytes) -> None:
    framed = wire.finish(Type.GRANTS, wire.head(Type.GRANTS, PROJECT, noise), [OUTBOUND.signing])
    for statement in (noise, WRAPPED[0][:41] + noise, framed):
        with pytest.raises(Rejected):
            grant.read(statement, PROJECT)


def test_a_grants_statement_of_256_fits_its_cap() -> None:
    full = GrantsFields(bytes(32), None, 1 << 53, (Grant(255, bytes(32), 1 << 53, bytes(1120), bytes(256)),) * 256)
    assert len(wire.write(Type.GRANTS, PROJECT, full, [OUTBOUND.signing])) < wire.CAPS[Type.GRANTS]
