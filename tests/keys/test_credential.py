from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import ANNA, AUTHORITY, DAY, MINUTE, NOW, PROJECT, ROOT, Draws, flips, signing

from sealwire.keys import credential, identity, wire
from sealwire.keys.credential import CredentialFields
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import Type


def refusal(statement: bytes, now: int = NOW) -> Reason:
    with pytest.raises(Rejected) as caught:
        credential.read(statement, ROOT, now)
    return caught.value.reason


def forged(**changes: object) -> bytes:
    said = credential.peek(ANNA.credential_bytes, PROJECT)
    return wire.write(Type.CREDENTIAL, PROJECT, msgspec.structs.replace(said, **changes), [AUTHORITY])


def test_a_credential_says_who_a_member_is() -> None:
    said = credential.read(ANNA.credential_bytes, ROOT, NOW)
    assert (said.member_id, said.identity_key) == (ANNA.id, ANNA.identity.public)
    assert (said.name, said.site) == ("anna", "berlin")
    assert (said.admitted, said.not_before, said.not_after) == (NOW, NOW, NOW + 7 * DAY)
    assert (said.serial, said.root_version, said.charter_version) == (1, 1, 0)
    assert said.statement == ANNA.credential_bytes


def test_an_altered_bit_anywhere_in_a_credential_is_rejected() -> None:
    for altered in flips(ANNA.credential_bytes):
        refusal(altered)


def test_only_an_authority_key_of_the_root_makes_members() -> None:
    said = credential.peek(ANNA.credential_bytes, PROJECT)
    stranger = wire.write(Type.CREDENTIAL, PROJECT, said, [signing("stranger")])
    assert refusal(stranger) is Reason.UNKNOWN_SIGNER
    both = wire.write(Type.CREDENTIAL, PROJECT, said, [AUTHORITY, signing("stranger")])
    assert refusal(both) is Reason.UNKNOWN_SIGNER
    assert refusal(wire.write(Type.CREDENTIAL, PROJECT, said, [])) is Reason.UNKNOWN_SIGNER


def test_a_credential_holds_from_five_minutes_before_its_start_to_its_end() -> None:
    said = ANNA.credential
    assert said.valid_at(NOW - 5 * MINUTE)
    assert not said.valid_at(NOW - 5 * MINUTE - 1)
    assert said.valid_at(NOW + 7 * DAY)
    assert not said.valid_at(NOW + 7 * DAY + 1)


def test_a_credential_dated_ahead_of_our_clock_is_not_believed_yet() -> None:
    assert refusal(ANNA.credential_bytes, NOW - 5 * MINUTE - 1) is Reason.AHEAD
    credential.read(ANNA.credential_bytes, ROOT, NOW - 5 * MINUTE)


def test_a_credential_without_a_site_is_neither_made_nor_read() -> None:
    who = identity.create(Draws("x"), NOW)
    with pytest.raises(Misuse):
        credential.make(
            ROOT,
            AUTHORITY,
            member_id=who.member_id,
            identity_key=who.public,
            name="x",
            attributes={"role": "member"},
            serial=1,
            now=NOW,
        )
    assert refusal(forged(attributes=(("role", "member"),))) is Reason.MALFORMED
    assert refusal(forged(attributes=(("site", "a/b"),))) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"algorithm": 2}, Reason.UNKNOWN_SUITE),
        ({"attributes": (("site", "a"), ("role", "member"))}, Reason.MALFORMED),
        ({"attributes": (("site", "a"), ("site", "b"))}, Reason.MALFORMED),
        ({"not_after": NOW - 1}, Reason.MALFORMED),
        ({"admitted": NOW + 1}, Reason.MALFORMED),
        ({"name": "a\nb"}, Reason.MALFORMED),
        ({"serial": -1}, Reason.MALFORMED),
    ],
)
def test_a_credential_that_cannot_be_is_rejected(changes: dict[str, object], reason: Reason) -> None:
    assert refusal(forged(**changes)) is reason


@given(st.binary(max_size=400))
def test_any_bytes_are_a_credential_or_rejected(noise: bytes) -> None:
    framed = wire.finish(Type.CREDENTIAL, wire.head(Type.CREDENTIAL, PROJECT, noise), [AUTHORITY])
    for statement in (noise, ANNA.credential_bytes[:41] + noise, framed):
        refusal(statement)


def test_the_order_of_fields_is_that_of_the_table() -> None:
    assert CredentialFields.__struct_fields__ == (
        "member_id",
        "algorithm",
        "identity_key",
        "name",
        "attributes",
        "admitted",
        "not_before",
        "not_after",
        "serial",
        "root_version",
        "charter_version",
    )
