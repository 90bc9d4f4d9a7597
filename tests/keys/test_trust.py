from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import (
    ANNA,
    AUTHORITY,
    BERT,
    DAY,
    HOUR,
    MINUTE,
    NOW,
    OFFLINE,
    PROJECT,
    ROOT,
    ROOT_BYTES,
    YEAR,
    Draws,
    Member,
    admit,
    flips,
    member,
    signing,
)

from sealwire.keys import (
    aside,
    charter,
    claims,
    credential,
    grant,
    keypackage,
    primitives,
    progress,
    proofs,
    root,
    session,
    unwrapping,
    wire,
)
from sealwire.keys.events import (
    Admitted,
    Chartered,
    Claimed,
    Event,
    Granted,
    KeysAnnounced,
    Opened,
    Refused,
    Rooted,
    Skipped,
    Waits,
)
from sealwire.keys.keypackage import KeyPackage
from sealwire.keys.primitives import ED25519, Buffer
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.root import Root, RootFields
from sealwire.keys.secrets import Floor, Secrets
from sealwire.keys.trust import Trust
from sealwire.keys.wire import ENTRY_SIZE, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwire.keys.proofs import Check

TOPIC = "acme.orders"
EMPTY = Trust.begin(ROOT_BYTES, NOW)
CONTROL = [ROOT_BYTES, ANNA.credential_bytes, BERT.credential_bytes, BERT.package]
OUTBOUND, SESSION = ANNA.session()


def learned(trust: Trust, *statements: Buffer, now: int = NOW) -> tuple[Trust, list[Event]]:
    after, events = trust.learn(statements, now)
    return after, list(events)


def refused(trust: Trust, *statements: bytes, now: int = NOW) -> Reason:
    """The one refusal of a batch that changes nothing."""
    after, events = learned(trust, *statements, now=now)
    assert [type(event) for event in events] == [Refused]
    assert isinstance(events[0], Refused)
    assert after == trust
    return events[0].reason


def sealer(who: Member = ANNA) -> Trust:
    return learned(Trust.begin(who.secrets, NOW), *CONTROL)[0]


def mirror(who: Member = BERT) -> Trust:
    return learned(Trust.begin(who.secrets, NOW), *CONTROL)[0]


def grants(number: int = 0, to: Trust | None = None) -> bytes:
    readers = (to or sealer()).readers("orders", TOPIC, NOW)
    return grant.wrap(OUTBOUND, readers, number, NOW, os.urandom)[0]


GRANTS = grants()


def next_root(former: Root = ROOT, made_at: int = NOW, **changes: object) -> bytes:
    same = {name: getattr(former, name) for name in RootFields.__struct_fields__}
    return root.make_next(former, RootFields(**{**same, "made_at": made_at, **changes}), OFFLINE)


# -- beginning


def test_trust_begins_with_a_root_or_with_what_a_worker_remembers() -> None:
    assert EMPTY.project_id == PROJECT
    trust = Trust.begin(BERT.secrets, NOW)
    assert trust.me == BERT.id
    assert trust.credential_of(BERT.id) == BERT.credential
    with pytest.raises(Misuse):
        Trust.begin(Secrets.begin(BERT.identity), NOW)
    with pytest.raises(Rejected):
        Trust.begin(b"no root", NOW)


# -- roots


def test_the_next_root_counts_and_a_repeated_one_is_passed_over() -> None:
    second = next_root()
    trust, events = learned(EMPTY, second)
    assert events == [Rooted(2, second)]
    assert (trust.root.version, trust.project_id) == (2, PROJECT)
    assert trust.known_credentials is not EMPTY.known_credentials
    assert learned(trust, ROOT_BYTES, second) == (trust, [])


def test_roots_are_taken_in_order_whatever_order_they_come_in() -> None:
    second = next_root()
    third = next_root(root.read_next(second, ROOT))
    trust, events = learned(EMPTY, third, second)
    assert trust.root.version == 3
    assert [type(event) for event in events] == [Rooted, Rooted]
    waiting, events = learned(EMPTY, third)
    assert [event.reason for event in events if isinstance(event, Waits)] == [Reason.OUTDATED]
    assert waiting.root.version == 1
    assert learned(learned(waiting, second)[0])[0].root.version == 3


def test_another_root_of_the_same_version_is_a_fork() -> None:
    trust, _ = learned(EMPTY, next_root())
    assert refused(trust, next_root(made_at=NOW + 1)) is Reason.FORK


def test_a_root_ahead_of_our_clock_waits_for_it() -> None:
    ahead = next_root(made_at=NOW + HOUR)
    trust, events = learned(EMPTY, ahead)
    assert [event.reason for event in events if isinstance(event, Waits)] == [Reason.AHEAD]
    assert learned(trust, now=NOW + HOUR - 5 * MINUTE)[0].root.version == 2


def test_members_of_a_distrusted_authority_key_are_dropped_with_their_sessions_and_others_stay() -> None:
    trust, _ = learned(mirror(), SESSION, GRANTS)
    assert trust.given
    newer = signing("new authority")
    keys = ((ED25519, AUTHORITY.public, NOW + YEAR), (ED25519, newer.public, NOW + YEAR))
    trust, events = learned(trust, next_root(authority_keys=keys))
    assert events == [Rooted(2, trust.root.statement)]
    assert trust.given
    third = next_root(trust.root, authority_keys=keys, distrusted=((AUTHORITY.public, 0),))
    trust, events = learned(trust, third)
    assert isinstance(events[0], Rooted)
    assert set(events[0].dropped) == {ANNA.id, BERT.id}
    assert not any((trust.credentials, trust.packages, trust.claims, trust.given))
    assert refused(trust, ANNA.credential_bytes) is Reason.DISTRUSTED
    assert refused(trust, ANNA.session(number=2)[1]) is Reason.DISTRUSTED


def test_no_flood_of_what_nobody_signed_makes_a_reader_forget_a_root_that_waits_for_its_clock() -> None:
    nobody = signing("nobody")
    same = {name: getattr(ROOT, name) for name in RootFields.__struct_fields__}
    junk = [
        wire.write(
            Type.ROOT, PROJECT, RootFields(**{**same, "version": 9, "former": bytes(32), "made_at": at}), [nobody]
        )
        for at in range(aside.MOST + 1)
    ]
    flooded, events = learned(EMPTY, next_root(made_at=NOW + HOUR), *junk)
    assert len(flooded.waiting) == aside.MOST
    assert [event.reason for event in events if isinstance(event, Refused)] == [Reason.TOO_MANY] * 2
    assert learned(flooded, now=NOW + HOUR)[0].root.version == 2


NEWER = signing("newer authority")
DAYS_END = (ED25519, NEWER.public, NOW + DAY)
KEYS = (*ROOT.authority_keys, DAYS_END)


@pytest.mark.parametrize(
    ("former", "following", "forgotten"),
    [
        ({}, {}, False),
        ({}, {"authority_keys": (*ROOT.authority_keys, (ED25519, NEWER.public, NOW + 2 * DAY))}, False),
        ({}, {"authority_keys": (*ROOT.authority_keys, (ED25519, NEWER.public, NOW + DAY - 1))}, True),
        ({}, {"authority_keys": ROOT.authority_keys}, True),
        ({"authority_keys": (*ROOT.authority_keys, (ED25519, NEWER.public, 0))}, {"authority_keys": (DAYS_END,)}, True),
        (
            {"authority_keys": (*ROOT.authority_keys, (ED25519, NEWER.public, 1))},
            {"authority_keys": ROOT.authority_keys},
            True,
        ),
        (
            {"authority_keys": (*ROOT.authority_keys, (ED25519, NEWER.public, 0))},
            {"authority_keys": ROOT.authority_keys},
            True,
        ),
        ({}, {"distrusted": ((NEWER.public, NOW),)}, True),
        ({"distrusted": ((NEWER.public, NOW),)}, {"distrusted": ((NEWER.public, NOW),)}, False),
        ({"distrusted": ((NEWER.public, NOW),)}, {"distrusted": ((NEWER.public, NOW + 1),)}, False),
        ({"distrusted": ((NEWER.public, NOW),)}, {"distrusted": ((NEWER.public, NOW - 1),)}, True),
        ({}, {"distrusted": ((signing("nobody").public, 0),)}, False),
    ],
)
def test_floors_are_given_up_where_a_root_takes_an_authority_key_away_and_of_whom_it_does_not_know(
    former: dict[str, object], following: dict[str, object], *, forgotten: bool
) -> None:
    """Whose key raised a floor nobody knows, so it goes; of members whose credential still counts it is known."""
    remembered = Secrets.decode(ANNA.secrets.raised({BERT.id: Floor(9)}).encode())
    trust, _ = learned(Trust.begin(remembered, NOW), next_root(**{"authority_keys": KEYS, **former}))
    assert trust.floors[BERT.id] == Floor(9)
    trust, events = learned(trust, next_root(trust.root, **{"authority_keys": KEYS, **former, **following}))
    (rooted,) = events
    assert isinstance(rooted, Rooted)
    if ANNA.id in trust.credentials:
        assert rooted.unproven == ((BERT.id,) if forgotten else ())
        assert trust.floors[ANNA.id] == Floor(1)
    assert (BERT.id not in trust.floors) is forgotten


# -- credentials


def test_a_credential_makes_a_member_and_a_renewal_replaces_it() -> None:
    trust, events = learned(EMPTY, ANNA.credential_bytes)
    assert events == [Admitted(ANNA.credential, new=True)]
    assert trust.name_of(ANNA.id) == "anna"
    assert trust.name_of(BERT.id) == BERT.identity.fingerprint
    renewal = admit(ANNA.identity, "anna", serial=2, site="berlin")
    trust, events = learned(trust, renewal)
    assert isinstance(events[0], Admitted)
    assert (events[0].new, events[0].credential.serial) == (False, 2)
    assert refused(trust, ANNA.credential_bytes) is Reason.OUTDATED
    assert learned(trust, renewal) == (trust, [])


def test_two_credentials_of_one_serial_are_a_fork_and_the_first_stays() -> None:
    trust, _ = learned(EMPTY, ANNA.credential_bytes)
    assert refused(trust, admit(ANNA.identity, "anna", site="rome")) is Reason.FORK


def test_a_credential_ahead_of_our_clock_waits_for_it() -> None:
    later = admit(ANNA.identity, "anna", now=NOW + HOUR)
    trust, events = learned(EMPTY, later)
    assert [type(event) for event in events] == [Waits]
    assert learned(trust, later) == (trust, [])
    assert learned(trust, now=NOW + 54 * MINUTE)[1] == []
    trust, events = learned(trust, now=NOW + 55 * MINUTE)
    assert [type(event) for event in events] == [Admitted]
    assert not trust.waiting


def test_a_credential_under_a_root_that_is_not_known_yet_waits_for_it() -> None:
    newer = signing("new authority")
    second_bytes = next_root(authority_keys=((ED25519, newer.public, NOW + YEAR),))
    said = msgspec.structs.replace(wire_credential(), root_version=2)
    later = wire.write(Type.CREDENTIAL, PROJECT, said, [newer])
    trust, events = learned(EMPTY, later)
    assert [event.reason for event in events if isinstance(event, Waits)] == [Reason.UNKNOWN_SIGNER]
    trust, events = learned(trust, second_bytes)
    assert [type(event) for event in events] == [Rooted, Admitted]
    assert refused(EMPTY, wire.write(Type.CREDENTIAL, PROJECT, wire_credential(), [newer])) is Reason.UNKNOWN_SIGNER


def wire_credential() -> msgspec.Struct:
    return credential.peek(ANNA.credential_bytes, PROJECT)


# -- key packages and readers


def readers(trust: Trust, now: int = NOW) -> list[bytes]:
    return [member_id for member_id, _ in trust.readers("orders", TOPIC, now)]


def test_a_reader_has_a_valid_credential_the_policy_and_a_receiving_key_for_now() -> None:
    trust = sealer()
    assert readers(trust) == [BERT.id]
    assert isinstance(trust.readers("orders", TOPIC, NOW)[0][1], KeyPackage)
    assert readers(trust, NOW + 7 * DAY) == [BERT.id]
    assert readers(trust, NOW + 7 * DAY + 1) == []
    assert readers(trust, NOW - DAY) == []
    guest = member("guest", role="guest")
    assert readers(learned(trust, guest.credential_bytes, guest.package)[0]) == [BERT.id]


def test_a_package_over_serves_no_more_though_the_credential_is_renewed() -> None:
    late = NOW + 15 * DAY
    trust, _ = learned(sealer(), admit(BERT.identity, "bert", serial=2, site="paris", now=late), now=late)
    assert readers(trust, late) == []


def test_a_key_package_may_come_before_its_credential() -> None:
    in_one = learned(EMPTY, BERT.package, BERT.credential_bytes)[0]
    assert readers(in_one) == [BERT.id]
    waiting, events = learned(EMPTY, BERT.package)
    assert [type(event) for event in events] == [Waits]
    trust, events = learned(waiting, BERT.credential_bytes)
    assert [type(event) for event in events] == [Admitted, KeysAnnounced]
    assert readers(trust) == [BERT.id]
    assert not trust.waiting


def test_an_older_key_package_is_refused_and_an_equal_one_passed_over() -> None:
    later = NOW + 4 * HOUR
    _, newer = keypackage.renew(BERT.identity, BERT.credential, PROJECT, BERT.held, later, Draws("more"))
    assert newer is not None
    trust, events = learned(sealer(), newer, now=later)
    assert events == [KeysAnnounced(BERT.id, new=False)]
    assert refused(trust, BERT.package, now=later) is Reason.OUTDATED
    (event,) = learned(trust, BERT.package, now=later)[1]
    assert isinstance(event, Refused)
    assert f" of {BERT.id.hex()[:16]}, older" in event.detail
    assert refused(trust, BERT.package[:-ENTRY_SIZE] + newer[-ENTRY_SIZE:], now=later) is Reason.OUTDATED
    assert learned(trust, newer, now=later) == (trust, [])


def test_an_older_key_package_is_refused_after_a_restart_too() -> None:
    later = NOW + 4 * HOUR
    _, newer = keypackage.renew(BERT.identity, BERT.credential, PROJECT, BERT.held, later, Draws("more"))
    assert newer is not None
    before, _ = learned(sealer(), newer, now=later)
    remembered = Secrets.decode(ANNA.secrets.raised(before.floors).encode())
    trust, events = learned(Trust.begin(remembered, later), BERT.credential_bytes, BERT.package, now=later)
    assert [type(event) for event in events] == [Admitted, Refused]
    assert readers(trust, later) == []
    assert readers(learned(trust, newer, now=later)[0], later) == [BERT.id]


def test_a_newer_package_that_another_signed_is_refused() -> None:
    said = msgspec.structs.replace(keypackage.peek(BERT.package, PROJECT), made_at=NOW + 1)
    assert refused(sealer(), wire.write(Type.KEY_PACKAGE, PROJECT, said, [signing("x")])) is Reason.UNKNOWN_SIGNER


def test_a_package_of_the_same_time_with_other_content_is_a_fork() -> None:
    other = keypackage.renew(BERT.identity, BERT.credential, PROJECT, (), NOW, Draws("other"))[1]
    assert other is not None
    assert refused(sealer(), other) is Reason.FORK
    assert refused(sealer(), other[:-ENTRY_SIZE] + BERT.package[-ENTRY_SIZE:]) is Reason.BAD_SIGNATURE
    assert refused(sealer(), BERT.package[:-1] + bytes((BERT.package[-1] ^ 1,))) is Reason.BAD_SIGNATURE


def test_a_package_of_a_serial_that_is_not_known_waits_for_that_credential() -> None:
    renewal = admit(BERT.identity, "bert", serial=2, site="paris", now=NOW + 1)
    renewed = credential.read(renewal, ROOT, NOW)
    newer = keypackage.announce(BERT.identity, renewed, PROJECT, BERT.held, NOW + 1)
    trust, events = learned(sealer(), newer)
    assert [type(event) for event in events] == [Waits]
    trust, events = learned(trust, renewal)
    assert [type(event) for event in events] == [Admitted, KeysAnnounced]


def test_a_key_package_ahead_of_our_clock_waits_for_it() -> None:
    ahead = keypackage.renew(BERT.identity, BERT.credential, PROJECT, (), NOW + HOUR, Draws("ahead"))[1]
    assert ahead is not None
    trust, events = learned(sealer(), ahead)
    assert [type(event) for event in events] == [Waits]
    assert [type(event) for event in learned(trust, now=NOW + HOUR)[1]] == [KeysAnnounced]


def test_altering_any_statement_changes_nothing_that_is_trusted() -> None:
    trust = mirror()
    trust, _ = learned(trust, SESSION, GRANTS)
    for statement, step in (
        (ANNA.credential_bytes, 1),
        (BERT.package, 997),
        (SESSION, 7),
        (GRANTS, 97),
        (ROOT_BYTES, 7),
    ):
        for altered in flips(statement, step):
            after, events = learned(trust, altered)
            assert dataclasses.replace(after, waiting=trust.waiting) == trust
            for event in events:
                assert isinstance(event, Refused | Waits | Skipped)


# -- sessions and grants


def test_a_granted_session_is_opened_into_the_secrets() -> None:
    trust, events = learned(mirror(), SESSION, GRANTS)
    assert [type(event) for event in events] == [Claimed, Granted]
    assert isinstance(events[0], Claimed)
    assert (events[0].member_id, events[0].digest) == (ANNA.id, wire.statement_digest(SESSION))
    assert [claim.id for claim in trust.claims_of(OUTBOUND.id)] == [OUTBOUND.id]
    trust, secrets, opened = trust.unwrap_new(BERT.secrets, NOW)
    assert [type(event) for event in opened] == [Opened]
    assert secrets.inbound[OUTBOUND.id].secret == OUTBOUND.secret
    assert trust.claims_of(OUTBOUND.id) == ()
    assert trust.unwrap_new(secrets, NOW) == (trust, secrets, ())
    assert learned(trust, SESSION, GRANTS, grants(1)) == (trust, [])
    restarted = Trust.begin(secrets, NOW)
    assert learned(restarted, SESSION, GRANTS) == (restarted, [])


def test_grants_may_come_before_their_session() -> None:
    trust, events = learned(mirror(), GRANTS)
    assert [type(event) for event in events] == [Waits]
    trust, events = learned(trust, SESSION)
    assert [type(event) for event in events] == [Claimed, Granted]


def test_grants_for_others_are_not_kept_and_repeated_ones_not_verified_again() -> None:
    trust, events = learned(sealer(), SESSION, GRANTS)
    assert [type(event) for event in events] == [Claimed]
    assert not trust.given
    trust, _ = learned(mirror(), SESSION, GRANTS)
    assert learned(trust, SESSION, GRANTS) == (trust, [])


def test_a_session_ahead_of_our_clock_is_parked_until_it_is_not() -> None:
    ahead = ANNA.session(now=NOW + HOUR)[1]
    trust, events = learned(mirror(), ahead)
    assert [type(event) for event in events] == [Waits]
    assert [type(event) for event in learned(trust, now=NOW + HOUR - 5 * MINUTE)[1]] == [Claimed]


def test_claims_of_one_session_id_are_bounded_and_the_true_one_is_found_among_them() -> None:
    said = session.peek(SESSION, PROJECT)
    liars = [member(f"liar {number}".replace(" ", "-")) for number in range(claims.PER_ID)]
    lies = [
        wire.write(
            Type.SESSION,
            PROJECT,
            msgspec.structs.replace(said, credential=liar.credential_bytes),
            [liar.identity.signing],
        )
        for liar in liars
    ]
    full, events = learned(mirror(), *lies)
    assert [type(event) for event in events] == [Claimed] * claims.PER_ID
    assert refused(full, SESSION) is Reason.TOO_MANY
    trust, _ = learned(mirror(), *lies[1:], SESSION, GRANTS)
    trust, secrets, opened = trust.unwrap_new(BERT.secrets, NOW)
    assert [type(event) for event in opened] == [Opened]
    assert secrets.inbound[OUTBOUND.id].member_id == ANNA.id


@pytest.mark.parametrize("own_key", [False, True])
def test_a_false_claim_served_first_keeps_nobody_from_the_true_one(own_key: bool) -> None:  # noqa: FBT001
    said = msgspec.structs.replace(session.peek(SESSION, PROJECT), credential=BERT.credential_bytes)
    if own_key:
        said = msgspec.structs.replace(said, verifying_key=BERT.identity.public)
    lie = wire.write(Type.SESSION, PROJECT, said, [BERT.identity.signing])
    trust, _ = learned(mirror(), lie, GRANTS)
    trust, secrets, events = trust.unwrap_new(BERT.secrets, NOW)
    assert not secrets.inbound
    assert [type(event) for event in events] == ([] if own_key else [Refused])
    assert trust.unwrap_new(BERT.secrets, NOW) == (trust, BERT.secrets, ())
    trust, _ = learned(trust, SESSION)
    trust, secrets, events = trust.unwrap_new(BERT.secrets, NOW)
    assert [type(event) for event in events] == [Opened]
    assert secrets.inbound[OUTBOUND.id].member_id == ANNA.id
    assert not trust.given


def test_a_grant_that_unwraps_to_nothing_is_refused_and_ends_nothing() -> None:
    fields, _ = grant.read(GRANTS, PROJECT)
    spoilt = msgspec.structs.replace(fields.grants[0], ciphertext=bytes(48))
    false = wire.write(Type.GRANTS, PROJECT, msgspec.structs.replace(fields, grants=(spoilt,)), [OUTBOUND.signing])
    trust, _ = learned(mirror(), SESSION, false)
    trust, secrets, events = trust.unwrap_new(BERT.secrets, NOW)
    assert [event.reason for event in events if isinstance(event, Refused)] == [Reason.BAD_CIPHERTEXT]
    assert not secrets.inbound
    trust, _ = learned(trust, GRANTS)
    _, secrets, events = trust.unwrap_new(secrets, NOW)
    assert [type(event) for event in events] == [Opened]
    both, _ = learned(mirror(), SESSION, false, GRANTS)
    after, _, events = both.unwrap_new(BERT.secrets, NOW)
    assert [type(event) for event in events] == [Refused, Opened]
    assert not after.given


def test_a_session_that_was_granted_twice_is_opened_once() -> None:
    trust, _ = learned(mirror(), SESSION, GRANTS, grants(1))
    assert len(trust.given[OUTBOUND.id]) == 2
    assert [type(event) for event in trust.unwrap_new(BERT.secrets, NOW)[2]] == [Opened]


def test_neither_a_session_that_is_held_nor_one_that_waits_for_its_grant_keeps_another_from_being_opened() -> None:
    def granted(number: int, *, spoilt: bool = False) -> list[bytes]:
        outbound, statement = ANNA.session(number=number)
        (wrapped,) = grant.wrap(outbound, sealer().readers("orders", TOPIC, NOW), 0, NOW, os.urandom)
        if spoilt:
            fields, _ = grant.read(wrapped, PROJECT)
            other = msgspec.structs.replace(fields.grants[0], ciphertext=bytes(48))
            wrapped = wire.write(
                Type.GRANTS, PROJECT, msgspec.structs.replace(fields, grants=(other,)), [outbound.signing]
            )
        return [statement, wrapped]

    _, secrets, _ = learned(mirror(), *granted(2))[0].unwrap_new(BERT.secrets, NOW)
    trust, _ = learned(mirror(), *granted(2), *granted(3))
    assert [type(event) for event in trust.unwrap_new(secrets, NOW)[2]] == [Opened]
    trust, _, events = learned(mirror(), *granted(4, spoilt=True))[0].unwrap_new(BERT.secrets, NOW)
    assert [type(event) for event in events] == [Refused]
    trust, secrets, events = learned(trust, *granted(5))[0].unwrap_new(BERT.secrets, NOW)
    assert [type(event) for event in events] == [Opened]
    assert list(trust.given) == [ANNA.session(number=4)[0].id]
    trust, _, _ = learned(trust, *granted(6))[0].unwrap_new(secrets, NOW)
    assert list(trust.opened) == [ANNA.session(number=number)[0].id for number in (5, 6)]


def test_a_session_that_the_secrets_hold_already_is_not_unwrapped_again() -> None:
    trust, _ = learned(mirror(), SESSION, GRANTS)
    _, secrets, _ = trust.unwrap_new(BERT.secrets, NOW)
    assert trust.unwrap_new(secrets, NOW)[2] == ()


def test_grants_signed_by_nobody_who_may_are_refused() -> None:
    fields, _ = grant.read(GRANTS, PROJECT)
    trust, _ = learned(mirror(), SESSION)
    stranger = signing("stranger")
    after, events = learned(trust, wire.write(Type.GRANTS, PROJECT, fields, [stranger]))
    assert [event.reason for event in events if isinstance(event, Waits)] == [Reason.UNKNOWN_SIGNER]
    assert not after.given
    unknown = msgspec.structs.replace(fields, granter=bytes(32))
    assert refused(trust, wire.write(Type.GRANTS, PROJECT, unknown, [stranger])) is Reason.UNKNOWN_MEMBER


def test_a_member_grants_late_to_its_own_site_alone() -> None:
    fields, _ = grant.read(GRANTS, PROJECT)

    def late(granter: Member) -> bytes:
        said = msgspec.structs.replace(fields, granter=granter.id)
        return wire.write(Type.GRANTS, PROJECT, said, [granter.identity.signing])

    neighbour, other = member("cleo", site="paris"), member("otto", site="rome")
    trust, _ = learned(mirror(), SESSION, neighbour.credential_bytes, other.credential_bytes)
    assert refused(trust, late(other)) is Reason.NOT_AUTHORISED
    trust, events = learned(trust, late(neighbour))
    assert [type(event) for event in events] == [Granted]
    assert [type(event) for event in trust.unwrap_new(BERT.secrets, NOW)[2]] == [Opened]
    spoilt = msgspec.structs.replace(fields.grants[0], ciphertext=bytes(48))
    said = msgspec.structs.replace(fields, granter=neighbour.id, grants=(spoilt,))
    false = wire.write(Type.GRANTS, PROJECT, said, [neighbour.identity.signing])
    trust, _ = learned(mirror(), SESSION, neighbour.credential_bytes, false)
    trust, _, events = trust.unwrap_new(BERT.secrets, NOW)
    assert [type(event) for event in events] == [Refused]
    assert not trust.given


def test_a_sender_grants_late_to_whoever_may_read_without_the_session_signing_key() -> None:
    fields, _ = grant.read(GRANTS, PROJECT)
    said = msgspec.structs.replace(fields, granter=ANNA.id)
    trust, events = learned(mirror(), SESSION, wire.write(Type.GRANTS, PROJECT, said, [ANNA.identity.signing]))
    assert [type(event) for event in events] == [Claimed, Granted]
    assert [type(event) for event in trust.unwrap_new(BERT.secrets, NOW)[2]] == [Opened]


def test_a_sender_grants_late_though_another_claims_its_session_too() -> None:
    fields, _ = grant.read(GRANTS, PROJECT)
    late = wire.write(Type.GRANTS, PROJECT, msgspec.structs.replace(fields, granter=ANNA.id), [ANNA.identity.signing])
    claimed = msgspec.structs.replace(session.peek(SESSION, PROJECT), credential=BERT.credential_bytes)
    lie = wire.write(Type.SESSION, PROJECT, claimed, [BERT.identity.signing])
    trust, events = learned(mirror(), lie, SESSION, late)
    assert [type(event) for event in events] == [Claimed, Claimed, Granted]
    assert Opened in {type(event) for event in trust.unwrap_new(BERT.secrets, NOW)[2]}


def test_any_member_grants_late_to_who_knows_no_credential_of_its_own() -> None:
    otto = member("otto", site="rome")
    fields = msgspec.structs.replace(grant.read(GRANTS, PROJECT)[0], granter=otto.id)
    late = wire.write(Type.GRANTS, PROJECT, fields, [otto.identity.signing])
    asking = Secrets.begin(BERT.identity).asked(PROJECT, ROOT_BYTES, b"request")
    trust, events = learned(Trust.begin(asking, NOW), ANNA.credential_bytes, otto.credential_bytes, SESSION, late)
    assert [type(event) for event in events] == [Admitted, Admitted, Claimed, Granted]
    assert [type(event) for event in trust.unwrap_new(BERT.secrets, NOW)[2]] == [Opened]


def test_what_has_the_words_or_the_signature_of_a_known_claim_and_not_both_is_refused() -> None:
    trust, _ = learned(mirror(), SESSION)
    words = wire.finish(Type.SESSION, SESSION[: -ENTRY_SIZE - 1], [signing("x")])
    other = wire.write(
        Type.SESSION,
        PROJECT,
        msgspec.structs.replace(session.peek(SESSION, PROJECT), number=2),
        [ANNA.identity.signing],
    )
    assert refused(trust, words) is Reason.UNKNOWN_SIGNER
    assert refused(trust, SESSION[:-1] + bytes((SESSION[-1] ^ 1,))) is Reason.BAD_SIGNATURE
    assert refused(trust, other[:-ENTRY_SIZE] + SESSION[-ENTRY_SIZE:]) is Reason.BAD_SIGNATURE


def test_grants_for_us_are_bounded_per_session() -> None:
    trust, _ = learned(mirror(), SESSION, *(grants(number) for number in range(claims.GIVEN_PER_ID)))
    assert len(trust.given[OUTBOUND.id]) == claims.GIVEN_PER_ID
    assert refused(trust, grants(99)) is Reason.TOO_MANY


def test_one_statement_of_many_grants_for_us_takes_no_more_room_than_many_of_one() -> None:
    fields, _ = grant.read(GRANTS, PROJECT)
    many = tuple(
        msgspec.structs.replace(fields.grants[0], ciphertext=number.to_bytes(48, "big")) for number in range(grant.MOST)
    )
    flood = wire.write(Type.GRANTS, PROJECT, msgspec.structs.replace(fields, grants=many), [OUTBOUND.signing])
    trust, _ = learned(mirror(), SESSION, GRANTS, flood, flood)
    assert [each.grant for each in trust.given[OUTBOUND.id]] == [*fields.grants, *many[: claims.GIVEN_PER_ID - 1]]
    twice = wire.write(
        Type.GRANTS, PROJECT, msgspec.structs.replace(fields, grants=fields.grants * 2), [OUTBOUND.signing]
    )
    assert len(learned(mirror(), SESSION, twice)[0].given[OUTBOUND.id]) == 1


def test_no_other_claim_of_a_session_takes_the_room_that_the_grants_of_its_own_key_have() -> None:
    """A member that claims the session with a key of its own may grant with that, as much as it likes."""
    eve, hers = member("eve", site="rome"), signing("hers")
    claimed = msgspec.structs.replace(
        session.peek(SESSION, PROJECT), credential=eve.credential_bytes, verifying_key=hers.public
    )
    lie = wire.write(Type.SESSION, PROJECT, claimed, [eve.identity.signing])
    fields, _ = grant.read(GRANTS, PROJECT)
    many = tuple(
        msgspec.structs.replace(fields.grants[0], ciphertext=number.to_bytes(48, "big")) for number in range(grant.MOST)
    )
    flood = wire.write(Type.GRANTS, PROJECT, msgspec.structs.replace(fields, grants=many), [hers])
    trust, _ = learned(mirror(), lie, flood)
    assert len(trust.given[OUTBOUND.id]) == claims.GIVEN_PER_ID
    assert refused(trust, flood) is Reason.TOO_MANY
    trust, events = learned(trust, SESSION, GRANTS)
    assert [type(event) for event in events] == [Claimed, Granted]
    assert Opened in {type(event) for event in trust.unwrap_new(BERT.secrets, NOW)[2]}


def test_claims_in_all_are_bounded_and_the_oldest_goes_with_its_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (claims.PER_ID, claims.MOST, claims.GIVEN_PER_ID) == (4, 32_768, 8)
    monkeypatch.setattr(claims, "MOST", 2)
    sessions = [ANNA.session(number=number) for number in range(3)]
    first = grant.wrap(sessions[0][0], sealer().readers("orders", TOPIC, NOW), 0, NOW, os.urandom)
    trust, _ = learned(mirror(), sessions[0][1], *first)
    assert list(trust.given) == [sessions[0][0].id]
    trust, _ = learned(trust, *(statement for _, statement in sessions[1:]))
    assert list(trust.claims) == [outbound.id for outbound, _ in sessions[1:]]
    assert not trust.given
    again = msgspec.structs.replace(session.peek(sessions[2][1], PROJECT), credential=BERT.credential_bytes)
    trust, events = learned(trust, wire.write(Type.SESSION, PROJECT, again, [BERT.identity.signing]))
    assert [type(event) for event in events] == [Claimed]  # of a session that has its place already
    assert list(trust.claims) == [outbound.id for outbound, _ in sessions[1:]]


# -- who may send


def opened_session(who: Member = ANNA, channel: str = "orders") -> session.InboundSession:
    outbound, statement = who.session(channel=channel)
    claim = session.read(statement, PROJECT, lambda inner: credential.read(inner, ROOT, NOW), NOW)
    return session.proven(claim, outbound.secret)


def may_not(trust: Trust, inbound: session.InboundSession, now: int = NOW) -> Reason:
    for _ in range(2):  # the second answer is a remembered one
        with pytest.raises(Rejected) as caught:
            trust.may_produce(inbound, TOPIC, now)
    return caught.value.reason


def test_a_member_may_send_whose_credential_held_when_the_session_was_made() -> None:
    trust = mirror()
    inbound = opened_session()
    trust.may_produce(inbound, TOPIC, NOW)
    trust.may_produce(inbound, TOPIC, NOW + YEAR)
    assert may_not(trust, dataclasses.replace(inbound, id=b"x" * 32, credential_not_after=NOW - 1)) is Reason.EXPIRED
    late = dataclasses.replace(inbound, id=b"y" * 32, credential_not_before=NOW + 5 * MINUTE + 1)
    assert may_not(trust, late) is Reason.EXPIRED
    assert may_not(trust, inbound, NOW - 5 * MINUTE - 1) is Reason.AHEAD
    assert may_not(trust, dataclasses.replace(inbound, id=b"z" * 32, project_id=bytes(32))) is Reason.OTHER_PROJECT


def test_who_does_not_satisfy_the_produce_policy_may_not_send() -> None:
    assert may_not(mirror(), opened_session(member("guest", role="guest"))) is Reason.NOT_AUTHORISED


def test_a_member_that_the_charter_refuses_neither_sends_nor_reads() -> None:
    refusing = msgspec.structs.replace(charter.BUILT_IN, refusals=(charter.Refusal(BERT.id, NOW, ""),))
    trust = dataclasses.replace(mirror(), charter=refusing, judged={})
    assert may_not(trust, opened_session(BERT)) is Reason.REFUSED_MEMBER
    assert readers(trust) == []
    trust.may_produce(opened_session(ANNA), TOPIC, NOW)
    before = dataclasses.replace(opened_session(BERT), made_at=NOW - 1, id=b"b" * 32)
    trust.may_produce(before, TOPIC, NOW)


def test_judgements_remembered_are_bounded() -> None:
    trust = mirror()
    inbound = opened_session()
    for number in range(9000):
        trust.may_produce(inbound, f"topic-{number}", NOW)
    assert len(trust.judged) < 9000


# -- bytes that mean nothing here


def test_statements_for_others_are_skipped_by_name() -> None:
    word = progress.make(OUTBOUND, 0, NOW, NOW, False, (), Draws())
    newer = SESSION[:3] + b"\x02" + SESSION[4:]
    unknown = SESSION[:2] + b"\x7f" + SESSION[3:]
    after, events = learned(EMPTY, word, newer, unknown)
    assert events == [Skipped("progress"), Skipped("session version 2"), Skipped("127")]
    assert after == EMPTY


def test_what_waits_is_bounded_per_member_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [
        keypackage.announce(BERT.identity, BERT.credential, PROJECT, BERT.held, NOW + step) for step in range(6)
    ]
    trust, events = learned(EMPTY, *packages)
    assert len(trust.waiting) == aside.MOST_PER_CAUSE
    dropped = [event for event in events if isinstance(event, Refused)]
    assert [event.digest for event in dropped] == [primitives.digest(statement) for statement in packages[:2]]
    assert {event.reason for event in dropped} == {Reason.TOO_MANY}
    assert learned(trust, packages[5]) == (trust, [])
    assert (aside.MOST, aside.MOST_BYTES, aside.MOST_PER_CAUSE) == (1024, 16 * 1024 * 1024, 4)
    monkeypatch.setattr(aside, "MOST", 3)
    strangers = [member(f"stranger-{number}").package for number in range(2)]
    trust, _ = learned(trust, *strangers)
    assert len(trust.waiting) == 3
    monkeypatch.setattr(aside, "MOST_BYTES", len(strangers[0]) + 10)
    trust, _ = learned(trust, member("stranger-3").package)
    assert len(trust.waiting) == 1
    monkeypatch.setattr(aside, "MOST_BYTES", 2 * len(strangers[0]))
    assert len(learned(trust, strangers[0])[0].waiting) == 2
    monkeypatch.setattr(aside, "MOST_BYTES", 2 * len(strangers[0]) - 1)
    assert len(learned(trust, strangers[0])[0].waiting) == 1


@given(st.lists(st.binary(max_size=200), max_size=4), st.sampled_from(list(Type)))
def test_any_bytes_are_learned_without_an_exception_and_change_nothing(noise: list[bytes], kind: Type) -> None:
    framed = [wire.finish(kind, wire.head(kind, PROJECT, body), [AUTHORITY]) for body in noise]
    after, events = learned(EMPTY, *noise, *framed)
    assert len(events) == len(noise) + len(framed)
    assert after == EMPTY


def test_what_is_remembered_of_credentials_and_sessions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credential, "_MEMO_MOST", 2)
    trust, _ = learned(EMPTY, *(member(f"m{number}").credential_bytes for number in range(5)))
    assert len(trust.credentials) == 5
    assert len(trust.known_credentials) <= 2
    assert unwrapping.OPENED_MOST == 131_072
    monkeypatch.setattr(unwrapping, "OPENED_MOST", 1)
    trust, secrets = mirror(), BERT.secrets
    for number in range(2):
        outbound, statement = ANNA.session(number=number)
        wrapped = grant.wrap(outbound, sealer().readers("orders", TOPIC, NOW), 0, NOW, os.urandom)
        trust, secrets, _ = learned(trust, statement, *wrapped)[0].unwrap_new(secrets, NOW)
    assert list(trust.opened) == [outbound.id]
    assert len(secrets.inbound) == 2


def test_views_of_buffers_are_learned_like_bytes() -> None:
    assert learned(EMPTY, memoryview(bytearray(ANNA.credential_bytes)))[0].name_of(ANNA.id) == "anna"


def test_learning_leaves_the_former_value_as_it_was() -> None:
    before = mirror()
    copy = dataclasses.replace(before, claims=dict(before.claims), given=dict(before.given))
    learned(before, SESSION, GRANTS, next_root())
    assert before == copy


def test_of_each_member_the_newest_credential_and_package_alone_cost_a_signature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified: list[bytes] = []
    ahead: list[bytes] = []
    real = primitives.verify

    def counted(public: bytes, message: bytes, signature: bytes) -> bool:
        verified.append(signature)
        return real(public, message, signature)

    def many(checks: Sequence[Check]) -> list[bool]:
        ahead.extend(signature for _, _, signature in checks)
        return [counted(*check) for check in checks]

    monkeypatch.setattr(primitives, "verify", counted)
    renewed = [admit(BERT.identity, "bert", serial=serial, site="paris", now=NOW + serial) for serial in range(2, 60)]
    packages = [
        keypackage.announce(BERT.identity, BERT.credential, PROJECT, BERT.held, NOW + step) for step in range(1, 60)
    ]
    for verify_many in (None, many):
        fresh = Trust.begin(ROOT_BYTES, NOW)
        verified.clear()
        trust, events = fresh.learn([*packages, *renewed, ANNA.credential_bytes], NOW + 100, verify_many)
        trust, more = trust.learn([*packages, *renewed], NOW + 100, verify_many)
        assert len(verified) == len(set(verified)) == 3
        assert verify_many is None or ahead == verified
        assert trust.credentials[BERT.id].serial == 59
        assert trust.packages[BERT.id].made_at == NOW + 59
        assert {event.reason for event in (*events, *more) if isinstance(event, Refused)} == {Reason.OUTDATED}


def test_a_signature_that_was_found_bad_ahead_is_bad_and_the_next_newest_counts() -> None:
    asked: list[Check] = []

    def many(checks: Sequence[Check]) -> list[bool]:
        asked.extend(checks)
        return [primitives.verify(*check) for check in checks]

    forged = bytearray(admit(BERT.identity, "bert", serial=3, site="paris"))
    forged[-1] ^= 1
    true = admit(BERT.identity, "bert", serial=2, site="paris")
    trust, events = EMPTY.learn([BERT.credential_bytes, true, bytes(forged)], NOW, many)
    assert [event.reason for event in events if isinstance(event, Refused)] == [Reason.BAD_SIGNATURE, Reason.OUTDATED]
    assert trust.credentials[BERT.id].statement == true
    assert len(asked) == 1


def test_what_is_no_statement_of_its_type_or_is_nobodys_is_not_looked_at_ahead_and_what_comes_after_it_is() -> None:
    def many(checks: Sequence[Check]) -> list[bool]:
        asked.extend(signature for _, _, signature in checks)
        return [primitives.verify(*check) for check in checks]

    assert proofs.AT_ONCE == 32
    true = ANNA.credential_bytes, BERT.package
    for kind, statement, stranger in (
        (Type.CREDENTIAL, true[0], wire.write(Type.CREDENTIAL, PROJECT, wire_credential(), [signing("nobody")])),
        (Type.KEY_PACKAGE, true[1], member("otto").package),
        (Type.KEY_PACKAGE, true[1], package_of_serial(2)),
    ):
        nothing = wire.finish(kind, wire.head(kind, PROJECT, b"x"), [AUTHORITY])
        twice = wire.cosign(statement, {bytes(32): bytes(64)})
        for junk in (nothing, twice, stranger):
            asked: list[bytes] = []
            before = learned(EMPTY, BERT.credential_bytes)[0]
            after, events = before.learn([statement, junk], NOW, many)  # the last come first
            assert [type(event) for event in events if not isinstance(event, Waits)] in (
                [Refused, Admitted],
                [Refused, KeysAnnounced],
                [KeysAnnounced],
            )
            assert asked == [statement[-64:]]
            assert after.learn([statement], NOW, many)[1] == ()
    asked = []
    alone, events = EMPTY.learn([ANNA.credential_bytes], NOW, many)  # nothing is won by it
    assert [type(event) for event in events] == [Admitted]
    assert asked == []
    alone.learn([admit(ANNA.identity, "anna", serial=2, site="berlin"), BERT.credential_bytes], NOW, many)
    assert len(asked) == 2


def package_of_serial(serial: int, made_at: int = NOW) -> bytes:
    renewed = msgspec.structs.replace(BERT.credential, serial=serial)
    return keypackage.announce(BERT.identity, renewed, PROJECT, BERT.held, made_at)


def test_of_each_member_the_newest_alone_is_looked_at_ahead_in_whatever_order_they_come() -> None:
    asked: list[bytes] = []

    def many(checks: Sequence[Check]) -> list[bool]:
        asked.extend(signature for _, _, signature in checks)
        return [primitives.verify(*check) for check in checks]

    renewals = [admit(BERT.identity, "bert", serial=serial, site="paris") for serial in (2, 3)]
    packages = [package_of_serial(3, NOW + step) for step in range(2)]
    for newest_first in (False, True):
        asked.clear()
        trust, _ = EMPTY.learn(sorted(renewals, key=renewals.index, reverse=newest_first), NOW, many)
        trust, _ = trust.learn(sorted(packages, key=packages.index, reverse=newest_first), NOW, many)
        trust, _ = trust.learn([package_of_serial(3, NOW + step) for step in range(1, 4)], NOW, many)
        assert asked == [renewals[1][-64:], packages[1][-64:], package_of_serial(3, NOW + 3)[-64:]]
        assert (trust.credentials[BERT.id].serial, trust.packages[BERT.id].made_at) == (3, NOW + 3)


def test_roots_and_charters_are_learned_though_their_signatures_are_not_looked_at_ahead() -> None:
    def none(checks: Sequence[Check]) -> list[bool]:
        raise AssertionError(checks)

    second = next_root()
    third = next_root(root.read_next(second, ROOT))
    said = [
        charter.make(ROOT, AUTHORITY, msgspec.structs.replace(charter.BUILT_IN, version=version)) for version in (1, 2)
    ]
    trust, events = EMPTY.learn([second, third, *said], NOW, none)
    assert (trust.root.version, trust.charter.version) == (3, 2)
    assert [type(event) for event in events] == [Rooted, Rooted, Chartered, Chartered]


@pytest.mark.parametrize("true_first", [False, True])
def test_a_signature_that_was_found_good_ahead_is_good_for_nothing_else(true_first: bool) -> None:  # noqa: FBT001
    true, other = admit(BERT.identity, "bert", serial=2, site="paris"), ANNA.credential_bytes
    grafted = other[:-ENTRY_SIZE] + true[-ENTRY_SIZE:]

    def many(checks: Sequence[Check]) -> list[bool]:
        return [primitives.verify(*check) for check in checks]

    batch = [true, grafted] if true_first else [grafted, true]
    trust, events = Trust.begin(ROOT_BYTES, NOW).learn(batch, NOW, many)
    assert set(trust.credentials) == {BERT.id}
    assert [event.reason for event in events if isinstance(event, Refused)] == [Reason.BAD_SIGNATURE]


def test_the_package_of_a_member_long_gone_costs_no_signature() -> None:
    trust, _ = learned(EMPTY, BERT.credential_bytes)
    gone = BERT.credential.not_after + 30 * DAY

    def none(checks: Sequence[Check]) -> list[bool]:
        assert not checks
        return []

    after, events = trust.learn([BERT.package, member("otto").package], gone + 1, none)
    assert [event.reason for event in events if isinstance(event, Refused)] == [Reason.EXPIRED]
    assert not after.packages
    assert [type(event) for event in learned(trust, BERT.package, now=gone)[1]] == [KeysAnnounced]


def test_what_a_batch_does_not_change_is_not_copied() -> None:
    trust = mirror()
    after, _ = learned(trust, SESSION)
    assert after.credentials is trust.credentials
    assert after.packages is trust.packages
    assert after.floors is trust.floors
    assert after.claims is not trust.claims


def test_each_signature_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[bytes] = []
    real = primitives.verify

    def counted(public: bytes, message: bytes, signature: bytes) -> bool:
        verified.append(signature)
        return real(public, message, signature)

    monkeypatch.setattr(primitives, "verify", counted)
    trust = Trust.begin(BERT.secrets, NOW)
    verified.clear()
    trust, _ = learned(trust, *CONTROL, SESSION, GRANTS, ANNA.session(number=2)[1])
    assert len(verified) == len(set(verified)) == 5  # two credentials less ours, a package, two sessions, one grants
    verified.clear()
    learned(trust, *CONTROL, SESSION, GRANTS)
    assert not verified
