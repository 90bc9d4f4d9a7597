from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import ANNA, BERT, DAY, HOUR, NOW, PROJECT, ROOT, ROOT_BYTES, Draws, admit

from sealwire.keys import credential, identity, session
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.secrets import Floor, Secrets

if TYPE_CHECKING:
    from sealwire.keys.session import InboundSession


def granted(number: int = 1, now: int = NOW) -> InboundSession:
    outbound, statement = ANNA.session(number=number, now=now)
    claim = session.read(statement, PROJECT, lambda inner: credential.read(inner, ROOT, now), now)
    return session.proven(claim, outbound.secret)


FULL = (
    BERT.secrets.remember(granted(1), granted(2))
    .raised({ANNA.id: Floor(1, 1, NOW)})
    .chartered(b"charter")
    .followed_by(identity.replace(BERT.identity, Draws("following"), NOW))
    .sending(granted(3))
)


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
        *(each.secret for each in (*FULL.inbound.values(), *FULL.sent.values())),
        FULL.following.signing.seed if FULL.following is not None else b"",
    ]
    for secret in hidden:
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    named = {each.name for each in dataclasses.fields(FULL) if f"{each.name}=" in shown.replace("Identity(", "")}
    assert named == {"identity", "project_id", "following"}


def test_an_identity_goes_from_asking_to_admitted() -> None:
    asking = Secrets.begin(BERT.identity).asked(PROJECT, ROOT_BYTES, b"request")
    assert (asking.project_id, asking.root, asking.request) == (PROJECT, ROOT_BYTES, b"request")
    assert asking.credential is None
    member = asking.admitted(BERT.credential_bytes)
    assert (member.request, member.credential) == (None, BERT.credential_bytes)
    assert member.rooted(b"root 2").root == b"root 2"
    assert member.chartered(b"charter").charter == b"charter"
    assert list(member.sending(granted(3)).sending(granted(4)).sent) == [granted(3).id, granted(4).id]


def test_remembering_gives_the_next_value_and_leaves_the_former() -> None:
    before = BERT.secrets
    after = before.remember(granted())
    assert not before.inbound
    assert list(after.inbound) == [granted().id]
    assert before.remember() is before


def test_floors_only_rise() -> None:
    assert Floor() == (0, 0, 0)
    assert FULL.raised({ANNA.id: Floor(1, 1, NOW)}) is FULL
    assert FULL.raised({ANNA.id: Floor(0, 1, 5)}).floors[ANNA.id] == Floor(1, 1, NOW)
    assert FULL.raised({BERT.id: Floor(3)}).floors == {ANNA.id: Floor(1, 1, NOW), BERT.id: Floor(3)}


def test_a_package_of_a_later_serial_is_remembered_with_its_own_date_though_that_is_earlier() -> None:
    """A clock that went back between two credentials: else the package itself would be outdated after a restart."""
    assert FULL.raised({ANNA.id: Floor(2, 2, 5)}).floors[ANNA.id] == Floor(2, 2, 5)


def test_a_root_that_takes_a_key_away_lets_the_floors_sink_that_it_may_have_raised() -> None:
    after = FULL.rooted(b"root 2", [ANNA.id])
    assert (after.root, after.floors) == (b"root 2", {})
    assert after.raised({ANNA.id: Floor(1, 0, 0)}).floors == {ANNA.id: Floor(1, 0, 0)}


def test_a_session_that_is_done_with_or_over_for_a_week_is_forgotten() -> None:
    first, second = granted(1), granted(2)
    assert list(FULL.forget(NOW, done={first.id}).inbound) == [second.id]
    end = first.not_after
    assert FULL.forget(end + 7 * DAY - 1).inbound == FULL.inbound
    assert not FULL.forget(end + 7 * DAY).inbound
    assert FULL.forget(NOW, backfill={"orders": DAY}) is FULL


def test_a_session_that_is_done_with_is_kept_for_as_long_as_a_setting_says_and_then_goes() -> None:
    first, second = granted(1), granted(2)
    end = first.not_after
    assert FULL.forget(end + DAY - 1, done={first.id}, keep=DAY).inbound == FULL.inbound
    assert list(FULL.forget(end + DAY, done={first.id}, keep=DAY).inbound) == [second.id]
    assert FULL.forget(end + 7 * DAY, keep=9 * DAY).inbound == FULL.inbound
    assert not FULL.forget(end + 9 * DAY, keep=9 * DAY).inbound
    assert not FULL.forget(end + 2 * DAY, hold=2 * DAY).inbound
    assert FULL.forget(end + 2 * DAY - 1, hold=2 * DAY).inbound == FULL.inbound


def test_a_session_of_our_own_is_kept_for_its_channels_backfill_alone() -> None:
    end = granted(3).not_after
    assert FULL.forget(NOW, backfill={"orders": 1}).sent == FULL.sent
    assert FULL.forget(end + DAY - 1, backfill={"orders": DAY}).sent == FULL.sent
    assert not FULL.forget(end + DAY, backfill={"orders": DAY}).sent
    assert not FULL.forget(NOW, backfill={"erp": DAY}).sent
    assert not FULL.forget(NOW).sent


def test_receiving_keys_go_a_day_after_their_windows_unless_grants_may_be_unread() -> None:
    late = FULL.held[0].end + 24 * HOUR
    assert FULL.held[0] not in FULL.forget(late).held
    assert FULL.held[0] in FULL.forget(late, receiving=False).held


def test_secrets_of_a_later_encoding_are_refused_by_name() -> None:
    with pytest.raises(Rejected) as caught:
        Secrets.decode(b"\x03" + FULL.encode()[1:])
    assert caught.value.reason is Reason.UNKNOWN_VERSION


def test_secrets_of_the_former_encoding_are_read() -> None:
    plain = BERT.secrets.remember(granted()).raised({ANNA.id: Floor(1, 1, NOW)})
    body = msgspec.msgpack.decode(plain.encode()[1:])
    assert Secrets.decode(b"\x01" + msgspec.msgpack.encode(body[:-3])) == plain
    with pytest.raises(Rejected):
        Secrets.decode(b"\x01" + msgspec.msgpack.encode(body))


def test_a_following_identity_key_becomes_the_identity_when_a_credential_names_it() -> None:
    following = identity.replace(BERT.identity, Draws("next key"), NOW + 1)
    waiting = Secrets.decode(BERT.secrets.followed_by(following).encode())
    assert (waiting.identity, waiting.following) == (BERT.identity, following)
    still = waiting.admitted(admit(BERT.identity, "bert", serial=2, site="paris"))
    assert (still.identity, still.following) == (BERT.identity, following)
    after = still.admitted(admit(following, "bert", serial=3, site="paris"))
    assert (after.identity, after.following) == (following, None)
    assert after.identity.member_id == BERT.id
    with pytest.raises(Misuse):
        BERT.secrets.followed_by(ANNA.identity)


def test_a_vault_from_before_the_identity_key_was_replaced_tells_a_credential_that_is_not_its_own() -> None:
    following = identity.replace(BERT.identity, Draws("next key"), NOW + 1)
    newer = credential.peek(admit(following, "bert", serial=2, site="paris"), PROJECT)
    assert BERT.secrets.is_ours(BERT.credential)
    assert not BERT.secrets.is_ours(newer)
    assert BERT.secrets.followed_by(following).is_ours(newer)
    assert not BERT.secrets.is_ours(ANNA.credential)
    assert not BERT.secrets.is_ours(msgspec.structs.replace(BERT.credential, member_id=ANNA.id))


@given(st.binary(max_size=200))
def test_any_bytes_are_secrets_or_rejected(noise: bytes) -> None:
    for encoded in (noise, b"\x01" + noise, b"\x02" + noise, FULL.encode() + noise + b"\0"):
        with pytest.raises(Rejected):
            Secrets.decode(encoded)


def test_secrets_cut_anywhere_are_refused() -> None:
    encoded = dataclasses.replace(FULL, held=FULL.held[:1]).encode()
    for end in range(len(encoded)):
        with pytest.raises(Rejected):
            Secrets.decode(encoded[:end])
