from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import ANNA, BERT, DAY, HOUR, NOW, PROJECT, ROOT, ROOT_BYTES

from sealwire.keys import credential, session
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.secrets import Floor, Secrets

if TYPE_CHECKING:
    from sealwire.keys.session import InboundSession


def granted(number: int = 1, now: int = NOW) -> InboundSession:
    outbound, statement = ANNA.session(number=number, now=now)
    claim = session.read(statement, PROJECT, lambda inner: credential.read(inner, ROOT, now), now)
    return session.proven(claim, outbound.secret)


FULL = BERT.secrets.remember(granted(1), granted(2)).raised({ANNA.id: Floor(1, 1, NOW)})


def test_secrets_come_back_from_their_encoding() -> None:
    assert Secrets.decode(FULL.encode()) == FULL
    empty = Secrets.begin(BERT.identity)
    assert Secrets.decode(empty.encode()) == empty
    assert Secrets.decode(empty.encode()).fingerprint == BERT.identity.fingerprint


def test_secrets_show_none_of_themselves() -> None:
    shown = repr(FULL)
    hidden = [
        BERT.identity.signing.seed,
        *(each.receiving.seed for each in BERT.held),
        *(each.secret for each in FULL.inbound.values()),
    ]
    for secret in hidden:
        assert secret.hex() not in shown
        assert repr(secret) not in shown


def test_an_identity_goes_from_asking_to_admitted() -> None:
    asking = Secrets.begin(BERT.identity).asked(PROJECT, ROOT_BYTES, b"request")
    assert (asking.project_id, asking.root, asking.request) == (PROJECT, ROOT_BYTES, b"request")
    assert asking.credential is None
    member = asking.admitted(BERT.credential_bytes)
    assert (member.request, member.credential) == (None, BERT.credential_bytes)
    assert member.rooted(b"root 2").root == b"root 2"


def test_remembering_gives_the_next_value_and_leaves_the_former() -> None:
    before = BERT.secrets
    after = before.remember(granted())
    assert not before.inbound
    assert list(after.inbound) == [granted().id]
    assert before.remember() is before


def test_floors_only_rise() -> None:
    assert FULL.raised({ANNA.id: Floor(1, 1, NOW)}) is FULL
    assert FULL.raised({ANNA.id: Floor(0, 2, 5)}).floors[ANNA.id] == Floor(1, 2, NOW)
    assert FULL.raised({BERT.id: Floor(3)}).floors == {ANNA.id: Floor(1, 1, NOW), BERT.id: Floor(3)}


def test_a_session_that_is_done_with_or_over_for_a_week_is_forgotten() -> None:
    first, second = granted(1), granted(2)
    assert list(FULL.forget(NOW, done={first.id}).inbound) == [second.id]
    end = first.not_after
    assert FULL.forget(end + 7 * DAY - 1).inbound == FULL.inbound
    assert not FULL.forget(end + 7 * DAY).inbound
    assert FULL.forget(NOW) is FULL


def test_receiving_keys_go_a_day_after_their_windows_unless_grants_may_be_unread() -> None:
    late = FULL.held[0].end + 24 * HOUR
    assert FULL.held[0] not in FULL.forget(late).held
    assert FULL.held[0] in FULL.forget(late, receiving=False).held


def test_secrets_of_a_later_encoding_are_refused_by_name() -> None:
    with pytest.raises(Rejected) as caught:
        Secrets.decode(b"\x02" + FULL.encode()[1:])
    assert caught.value.reason is Reason.UNKNOWN_VERSION


@given(st.binary(max_size=200))
def test_any_bytes_are_secrets_or_rejected(noise: bytes) -> None:
    for encoded in (noise, b"\x01" + noise, FULL.encode() + noise + b"\0"):
        with pytest.raises(Rejected):
            Secrets.decode(encoded)


def test_secrets_cut_anywhere_are_refused() -> None:
    encoded = dataclasses.replace(FULL, held=FULL.held[:1]).encode()
    for end in range(len(encoded)):
        with pytest.raises(Rejected):
            Secrets.decode(encoded[:end])
