from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec
import pytest
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
    member,
    signing,
)

from sealwire.keys import aside, charter, credential, grant, keypackage, root, session
from sealwire.keys.charter import CharterFields, PolicyRow, Refusal
from sealwire.keys.events import Admitted, Chartered, Granted, KeysAnnounced, Refused, Rooted, Waits
from sealwire.keys.policy import MEMBERS
from sealwire.keys.primitives import ED25519
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.root import RootFields
from sealwire.keys.secrets import Secrets
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from sealwire.keys.events import Event
    from sealwire.keys.primitives import SigningKey
    from sealwire.keys.root import Root

TOPIC = "acme.orders"
ALL = PolicyRow("*", "*", 0, MEMBERS, MEMBERS, 0)
BASE = CharterFields(1, NOW, 1, (ALL,), (), 1, 1, 0)
NEWER = signing("newer authority")
BOTH = ((ED25519, AUTHORITY.public, NOW + YEAR), (ED25519, NEWER.public, NOW + YEAR))


def said(*, known: Root = ROOT, by: SigningKey = AUTHORITY, **changes: object) -> bytes:
    return charter.make(known, by, msgspec.structs.replace(BASE, **changes))


def refusing(*rows: tuple[Member, int], **changes: object) -> bytes:
    refusals = (Refusal(who.id, since, "") for who, since in rows)
    return said(refusals=tuple(sorted(refusals, key=lambda row: row.member_id)), **changes)


def learned(trust: Trust, *statements: bytes, now: int = NOW) -> tuple[Trust, list[Event]]:
    after, events = trust.learn(statements, now)
    return after, list(events)


def refused(trust: Trust, statement: bytes, now: int = NOW) -> Reason:
    after, events = learned(trust, statement, now=now)
    assert [type(event) for event in events] == [Refused]
    assert after == trust
    (event,) = events
    assert isinstance(event, Refused)
    return event.reason


def held(trust: Trust, now: int = NOW) -> Reason | None:
    refusal = trust.holds(now)
    return None if refusal is None else refusal.reason


def next_root(former: Root = ROOT, made_at: int = NOW, **changes: object) -> bytes:
    same = {name: getattr(former, name) for name in RootFields.__struct_fields__}
    return root.make_next(former, RootFields(**{**same, "made_at": made_at, **changes}), OFFLINE)


def opened_session(who: Member = ANNA, now: int = NOW) -> session.InboundSession:
    outbound, statement = who.session(now=now)
    claim = session.read(statement, PROJECT, lambda inner: credential.read(inner, ROOT, now), now)
    return session.proven(claim, outbound.secret)


EMPTY = Trust.begin(ROOT_BYTES, NOW)
SEALER = learned(Trust.begin(ANNA.secrets, NOW), BERT.credential_bytes, BERT.package)[0]
SECOND = learned(EMPTY, refusing((BERT, NOW), version=2))[0]


# -- which charter counts


def test_a_charter_counts_and_one_as_of_later_renews_it() -> None:
    trust, events = learned(EMPTY, said())
    assert events == [Chartered(1, NOW, changed=True, refused=(), statement=said())]
    renewed = said(as_of=NOW + 1)
    trust, events = learned(trust, renewed)
    assert events == [Chartered(1, NOW + 1, changed=False, refused=(), statement=renewed)]
    assert learned(trust, renewed) == (trust, [])
    assert refused(trust, said()) is Reason.OUTDATED


def test_a_higher_version_counts_whatever_its_as_of_and_a_lower_one_never_again() -> None:
    trust, events = learned(SECOND, refusing((BERT, NOW), version=3, as_of=NOW - DAY))
    assert [type(event) for event in events] == [Chartered]
    assert trust.charter.version == 3
    assert refused(trust, refusing((BERT, NOW), version=2, as_of=NOW + 1)) is Reason.OUTDATED


def test_the_same_version_with_other_content_is_a_fork_whatever_its_as_of() -> None:
    for as_of in (NOW - 1, NOW, NOW + 1):
        assert refused(SECOND, refusing((BERT, NOW), version=2, as_of=as_of, max_age=1)) is Reason.FORK
    assert refused(SECOND, said(version=2, as_of=NOW + 1)) is Reason.FORK
    assert refused(SECOND, said(version=2, by=signing("stranger"))) is Reason.UNKNOWN_SIGNER


def test_the_same_words_signed_by_another_authority_key_are_passed_over() -> None:
    trust = learned(EMPTY, next_root(authority_keys=BOTH), said())[0]
    assert learned(trust, said(known=trust.root, by=NEWER)) == (trust, [])


def test_a_refusal_is_never_taken_back_and_its_time_never_rises() -> None:
    for later in (said(version=3), refusing((ANNA, NOW), version=3), refusing((BERT, NOW + 1), version=3)):
        assert refused(SECOND, later) is Reason.PARDONED
    both = refusing((BERT, NOW - 1), (ANNA, 0), version=3)
    _, events = learned(SECOND, both)
    assert isinstance(events[0], Chartered)
    assert {(row.member_id, row.since) for row in events[0].refused} == {(BERT.id, NOW - 1), (ANNA.id, 0)}
    _, events = learned(SECOND, refusing((BERT, NOW), (ANNA, 0), version=3))
    assert isinstance(events[0], Chartered)
    assert [row.member_id for row in events[0].refused] == [ANNA.id]


def test_of_a_charter_that_pardons_a_few_are_named() -> None:
    many = [member(f"m{number}") for number in range(5)]
    (event,) = learned(learned(EMPTY, refusing(*((who, 0) for who in many)))[0], said(version=2))[1]
    assert isinstance(event, Refused)
    named = ", ".join(member_id.hex()[:16] for member_id in sorted(who.id for who in many)[:4])
    assert event.detail == f"charter 2 no longer refuses {named} as 1 does"


def test_a_batch_of_charters_comes_to_the_newest_and_of_one_version_only_the_newest_is_verified() -> None:
    batch = [said(as_of=NOW + step) for step in range(3)] + [refusing((BERT, 0), version=2)]
    trust, events = learned(EMPTY, *batch[::-1])
    assert trust.charter.version == 2
    assert [event.as_of for event in events if isinstance(event, Chartered)] == [NOW + 2, NOW]
    assert [event.reason for event in events if isinstance(event, Refused)] == [Reason.OUTDATED] * 2


def test_a_charter_that_nobody_trusted_signed_is_refused() -> None:
    assert refused(EMPTY, said(by=signing("stranger"))) is Reason.UNKNOWN_SIGNER
    broken = bytearray(said())
    broken[-1] ^= 1
    assert refused(EMPTY, bytes(broken)) is Reason.BAD_SIGNATURE
    assert refused(EMPTY, said()[:-1]) is Reason.TRUNCATED


def test_a_charter_ahead_of_our_clock_waits_for_it_and_only_where_it_is_the_authoritys() -> None:
    ahead = said(as_of=NOW + HOUR)
    trust, events = learned(EMPTY, ahead)
    assert [type(event) for event in events] == [Waits]
    assert trust.charter.version == 0
    assert learned(trust, now=NOW + 55 * MINUTE)[0].charter.version == 1
    assert refused(EMPTY, said(as_of=NOW + HOUR, by=signing("stranger"))) is Reason.UNKNOWN_SIGNER


def test_what_was_judged_is_judged_again_under_another_charter_and_not_under_a_renewed_one() -> None:
    trust = learned(SEALER, said())[0]
    sender = opened_session(BERT)
    trust.may_produce(sender, TOPIC, NOW)
    renewed = learned(trust, said(as_of=NOW + 1))[0]
    assert renewed.judged is trust.judged
    changed = learned(renewed, refusing((BERT, 0), version=2))[0]
    with pytest.raises(Rejected) as caught:
        changed.may_produce(sender, TOPIC, NOW)
    assert caught.value.reason is Reason.REFUSED_MEMBER
    trust.may_produce(sender, TOPIC, NOW)
    assert [who for who, _ in changed.readers("orders", TOPIC, NOW)] == []
    assert [who for who, _ in trust.readers("orders", TOPIC, NOW)] == [BERT.id]


def test_charters_that_wait_are_few() -> None:
    later = [said(root_version=2, version=1 + step) for step in range(6)]
    trust, events = learned(EMPTY, *later)
    assert len(trust.waiting) == aside.MOST_PER_CAUSE
    assert {event.reason for event in events if isinstance(event, Refused)} == {Reason.TOO_MANY}


@pytest.mark.parametrize("by", [AUTHORITY, NEWER])
def test_of_charters_that_wait_the_newest_are_kept_in_whatever_order_they_came(by: SigningKey) -> None:
    second = next_root(authority_keys=BOTH)
    known = root.read_next(second, ROOT)
    renewals = [said(known=known, by=by, root_version=2, as_of=NOW + step) for step in range(6)]
    for batch in (renewals, renewals[::-1]):
        trust = learned(learned(EMPTY, *batch)[0], second)[0]
        assert trust.charter.as_of == NOW + 5


# -- after a restart


def test_no_restart_goes_back_behind_the_charter_that_the_vault_has() -> None:
    newest = refusing((BERT, NOW), version=2)
    vault = Secrets.decode(ANNA.secrets.chartered(newest).encode())
    trust = Trust.begin(vault, NOW)
    assert trust.charter.version == 2
    assert refused(trust, said()) is Reason.OUTDATED
    assert learned(trust, newest) == (trust, [])
    assert Trust.begin(vault, NOW - YEAR).charter.version == 2
    assert Trust.begin(vault, NOW + 2 * YEAR).charter.version == 2
    with pytest.raises(Rejected):
        Trust.begin(ANNA.secrets.chartered(ANNA.credential_bytes), NOW)


def test_a_clock_that_went_back_lets_no_other_credential_come_before_our_own() -> None:
    mine = admit(ANNA.identity, "anna", serial=2, site="berlin", now=NOW + HOUR)
    trust = Trust.begin(ANNA.secrets.admitted(mine), NOW)
    assert trust.credentials[ANNA.id].serial == 2
    rival = admit(BERT.identity, "anna", serial=2, site="berlin", now=NOW + HOUR)
    rival = credential.wire.write(
        credential.Type.CREDENTIAL,
        PROJECT,
        msgspec.structs.replace(credential.peek(rival, PROJECT), member_id=ANNA.id),
        [AUTHORITY],
    )
    assert refused(trust, rival, now=NOW + HOUR) is Reason.FORK


def test_of_two_that_tie_the_one_that_waited_stays() -> None:
    first, second = (said(as_of=NOW + HOUR, max_age=age) for age in (0, 1))
    trust = learned(learned(EMPTY, first)[0], second, now=NOW + HOUR)[0]
    assert trust.charter.max_age == 0
    mine, other = (admit(BERT.identity, "bert", serial=2, site=site, now=NOW + HOUR) for site in ("paris", "rome"))
    trust = learned(learned(EMPTY, mine)[0], other, now=NOW + HOUR)[0]
    assert trust.credentials[BERT.id].site == "paris"


# -- roots and charters


def test_a_charter_of_a_root_that_is_not_known_yet_waits_and_holds_where_a_key_that_we_know_signed_it() -> None:
    second = next_root(authority_keys=BOTH)
    known = root.read_next(second, ROOT)
    waiting, events = learned(EMPTY, said(known=known, root_version=2))
    assert [type(event) for event in events] == [Waits]
    assert held(waiting) is Reason.CHARTER_OLD
    trust, events = learned(waiting, second)
    assert [type(event) for event in events] == [Rooted, Chartered]
    assert held(trust) is None
    stranger, events = learned(EMPTY, said(known=known, root_version=2, by=NEWER))
    assert [type(event) for event in events] == [Waits]
    assert held(stranger) is None
    assert [type(event) for event in learned(stranger, second)[1]] == [Rooted, Chartered]


def test_a_charter_of_a_distrusted_key_holds_until_one_of_the_present_root_comes_whatever_its_version() -> None:
    stolen = refusing((ANNA, 0), version=1 << 50)
    trust = learned(learned(EMPTY, next_root(authority_keys=BOTH))[0], stolen)[0]
    assert held(trust) is None
    third = next_root(trust.root, authority_keys=BOTH, distrusted=((AUTHORITY.public, NOW - 1),))
    trust = learned(trust, third)[0]
    assert held(trust) is Reason.CHARTER_OLD
    for older in (said(as_of=NOW - 2, version=7), said(known=trust.root, by=NEWER, root_version=2)):
        assert refused(trust, older) is Reason.OUTDATED
    trust, events = learned(trust, said(known=trust.root, by=NEWER, root_version=3))
    assert [type(event) for event in events] == [Chartered]
    assert held(trust) is None
    assert not trust.refuses(ANNA.id, NOW)


def test_a_charter_of_the_present_root_is_no_fork_of_one_whose_key_is_distrusted_and_all_is_judged_anew() -> None:
    trust = learned(SEALER, next_root(authority_keys=BOTH), said(version=5, root_version=2, max_age=HOUR))[0]
    trust = learned(trust, next_root(trust.root, authority_keys=BOTH, distrusted=((AUTHORITY.public, 1),)))[0]
    assert held(trust) is Reason.CHARTER_OLD
    judged = dataclasses.replace(trust, judged={(b"", TOPIC): None})
    anew = said(known=trust.root, by=NEWER, version=5, root_version=3)
    trust, events = learned(judged, anew)
    assert events == [Chartered(5, NOW, changed=True, refused=(), statement=anew)]
    assert held(trust) is None
    assert trust.judged == {}


def test_a_root_that_only_a_distrusted_key_names_is_not_waited_for() -> None:
    stolen = said(version=1 << 40, root_version=9)
    waiting = learned(EMPTY, stolen)[0]
    assert held(waiting) is Reason.CHARTER_OLD
    trust, events = learned(waiting, next_root(authority_keys=BOTH, distrusted=((AUTHORITY.public, 0),)))
    assert [event.reason for event in events if isinstance(event, Refused)] == [Reason.DISTRUSTED]
    assert held(trust) is None
    other = learned(waiting, next_root(authority_keys=BOTH))[0]
    assert held(other) is Reason.CHARTER_OLD


@pytest.mark.parametrize("flood", ["charters", "roots"])
def test_no_flood_of_what_nobody_signed_makes_a_reader_forget_that_a_newer_root_is_there(flood: str) -> None:
    second = next_root(authority_keys=BOTH)
    third = next_root(root.read_next(second, ROOT), authority_keys=BOTH[1:])
    known = root.read_next(third, root.read_next(second, ROOT))
    waiting = learned(EMPTY, said(known=known, root_version=3))[0]
    assert held(waiting) is Reason.CHARTER_OLD
    nobody = signing("nobody")
    junk = [
        said(known=known, by=nobody, root_version=9, version=number)
        if flood == "charters"
        else root.wire.write(
            root.Type.ROOT,
            PROJECT,
            RootFields(9, bytes(32), "acme", ((ED25519, nobody.public),), 1, (), (), (), number),
            [nobody],
        )
        for number in range(1, aside.MOST + 2)
    ]
    flooded = learned(waiting, *junk)[0]
    assert len(flooded.waiting) <= aside.MOST
    assert held(learned(flooded, second)[0]) is Reason.CHARTER_OLD


def test_no_charters_of_the_roots_between_make_a_reader_forget_that_a_newer_root_is_there() -> None:
    """The authority signs its charter anew every few minutes, so a cloud has as many as it likes to serve again."""
    second = next_root(authority_keys=BOTH)
    known = root.read_next(second, ROOT)
    between = [said(root_version=2, version=2, as_of=NOW + step) for step in range(2 * aside.MOST_PER_CAUSE)]
    newest = said(root_version=3, version=3, as_of=NOW + HOUR // 60)
    for served in ([newest, *between], [*between[:2], newest, *between[2:]], [*between, newest]):
        trust = EMPTY
        for statement in served:
            trust, events = learned(trust, statement)
            assert [type(event) for event in events] in ([Waits], [Refused, Waits])
        assert len(trust.waiting) == aside.MOST_PER_CAUSE
        assert held(learned(trust, second)[0]) is Reason.CHARTER_OLD
    third = next_root(known, authority_keys=BOTH)
    assert held(learned(trust, second, third)[0]) is None
    full = learned(EMPTY, *(said(root_version=3, version=3, as_of=NOW + step) for step in range(4)))[0]
    assert refused(full, between[0]) is Reason.TOO_MANY


def test_an_authority_key_that_ends_takes_no_charter_with_it() -> None:
    short = root.make_first("acme", OFFLINE, 2, [(AUTHORITY.public, NOW + DAY)], [], NOW)
    known = root.read_first(short)
    trust = learned(Trust.begin(short, NOW), said(known=known))[0]
    assert held(trust, NOW + 2 * DAY) is None


def test_a_member_reads_and_sends_no_longer_than_the_authority_key_that_admitted_it_counts() -> None:
    """A thief of the key gives credentials that hold for ever; a root that is withheld takes it away by its end."""
    end = NOW + DAY
    short = root.make_first("acme", OFFLINE, 2, [(AUTHORITY.public, end)], [], NOW)
    known = root.read_first(short)
    for_ever = credential.make(
        known, AUTHORITY, member_id=BERT.id, identity_key=BERT.identity.public, name="bert", serial=1, now=NOW,
        attributes={"role": "member", "site": "paris"}, validity=YEAR,
    )  # fmt: skip
    package = keypackage.announce(
        BERT.identity, credential.peek(for_ever, known.project_id), known.project_id, BERT.held, NOW
    )
    trust = learned(Trust.begin(short, NOW), for_ever, package)[0]
    assert [who for who, _ in trust.readers("orders", TOPIC, end)] == [BERT.id]
    trust.may_send(BERT.id, "orders", TOPIC, end)
    assert trust.readers("orders", TOPIC, end + 1) == ()
    with pytest.raises(Rejected) as caught:
        trust.may_send(BERT.id, "orders", TOPIC, end + 1)
    assert caught.value.reason is Reason.EXPIRED


# -- grants by refused members


@pytest.mark.parametrize(("since", "counts"), [(NOW, False), (NOW + 1, True)])
def test_grants_by_a_member_that_is_refused_do_not_count_from_then_on(since: int, counts: bool) -> None:  # noqa: FBT001
    neighbour = member("cleo", site="paris")
    outbound, statement = ANNA.session()
    package = keypackage.peek(BERT.package, PROJECT)
    (wrapped,) = grant.wrap(outbound, [(BERT.id, package)], 0, NOW, Draws())
    fields = msgspec.structs.replace(grant.read(wrapped, PROJECT)[0], granter=neighbour.id)
    late = grant.wire.write(grant.Type.GRANTS, PROJECT, fields, [neighbour.identity.signing])
    control = (ANNA.credential_bytes, neighbour.credential_bytes, refusing((neighbour, since)))
    trust = learned(Trust.begin(BERT.secrets, NOW), *control, statement)[0]
    (event,) = learned(trust, late)[1]
    assert isinstance(event, Granted) is counts
    assert counts or (isinstance(event, Refused) and event.reason is Reason.REFUSED_MEMBER)


# -- what holds


def test_a_charter_older_than_its_max_age_holds_until_it_is_renewed() -> None:
    trust = learned(EMPTY, said(max_age=HOUR))[0]
    assert held(trust, NOW + HOUR) is None
    assert held(trust, NOW + HOUR + 1) is Reason.CHARTER_OLD
    trust = learned(trust, said(max_age=HOUR, as_of=NOW + HOUR), now=NOW + HOUR)[0]
    assert held(trust, NOW + HOUR + 1) is None
    assert held(learned(EMPTY, said())[0], NOW + YEAR) is None
    assert held(EMPTY, NOW) is None


def test_our_own_credential_of_the_time_of_a_newer_charter_holds_and_anothers_does_not() -> None:
    def certified(who: Member, version: int) -> bytes:
        return credential.make(
            ROOT,
            AUTHORITY,
            member_id=who.id,
            identity_key=who.identity.public,
            name=who.credential.name,
            attributes=dict(who.credential.attributes),
            serial=2,
            now=NOW,
            charter_version=version,
        )

    assert held(learned(SEALER, certified(BERT, 1))[0]) is None
    trust = learned(SEALER, certified(ANNA, 1))[0]
    assert held(trust) is Reason.CHARTER_OLD
    assert held(learned(trust, said())[0]) is None


def test_a_charter_that_asks_for_what_this_release_cannot_do_holds_and_refuses_what_is_below() -> None:
    for changes, reason in (({"min_suite": 2}, Reason.UNKNOWN_SUITE), ({"min_format": 2}, Reason.UNKNOWN_VERSION)):
        trust = learned(SEALER, said(**changes))[0]
        assert held(trust) is reason
        with pytest.raises(Rejected) as caught:
            trust.may_produce(opened_session(BERT), TOPIC, NOW)
        assert caught.value.reason is Reason.NOT_AUTHORISED
    trust = learned(SEALER, said())[0]
    trust.may_produce(opened_session(BERT), TOPIC, NOW)


# -- clocks


LATER = NOW + 6 * MINUTE
CHARTER_AHEAD = said(as_of=LATER)


def package_at(who: Member, at: int) -> bytes:
    return keypackage.announce(who.identity, who.credential, PROJECT, who.held, at)


def test_our_clock_is_wrong_only_where_the_authority_and_another_member_say_so() -> None:
    cleo = member("cleo")
    trust = learned(SEALER, cleo.credential_bytes)[0]
    assert trust.clock(NOW) is None
    assert learned(trust, CHARTER_AHEAD)[0].clock(NOW) is None
    assert learned(trust, package_at(BERT, LATER), package_at(cleo, LATER))[0].clock(NOW) is None
    assert learned(trust, CHARTER_AHEAD, package_at(ANNA, LATER))[0].clock(NOW) is None
    wrong = learned(trust, CHARTER_AHEAD, package_at(BERT, LATER + 1))[0]
    found = wrong.clock(NOW)
    assert found is not None
    assert found.reason is Reason.AHEAD
    for clock in (NOW, LATER, LATER + 1):
        assert str(clock) in found.detail
    assert wrong.clock(LATER) is None


def test_a_session_ahead_of_our_clock_tells_of_its_senders() -> None:
    ahead = BERT.session(now=LATER)[1]
    assert learned(SEALER, CHARTER_AHEAD, ahead)[0].clock(NOW) is not None


def test_a_sender_whose_session_is_dated_now_has_no_clock_ahead_any_more() -> None:
    trust = learned(SEALER, CHARTER_AHEAD, BERT.session(now=LATER)[1])[0]
    later = NOW + MINUTE - 1  # nothing that waits for the clock is taken up yet
    assert trust.clock(later) is not None
    assert learned(trust, ANNA.session(now=later)[1], now=later)[0].clock(later) is not None
    assert learned(trust, BERT.session(now=later, number=2)[1], now=later)[0].clock(later) is None


@pytest.mark.parametrize(("date", "mended"), [(NOW, False), (NOW + 1, True), (NOW + 5 * MINUTE, True)])
def test_a_clock_is_ahead_no_more_whose_next_word_is_later_than_it_was_heard_and_not_ahead(
    date: int, *, mended: bool
) -> None:
    trust = learned(SEALER, CHARTER_AHEAD, package_at(BERT, LATER))[0]
    renewed = learned(trust, BERT.session(now=date)[1])[0]
    assert (renewed.clock(NOW) is None) is mended


def test_what_nobody_signed_tells_nothing_of_clocks() -> None:
    forged = msgspec.structs.replace(keypackage.peek(BERT.package, PROJECT), made_at=LATER)
    package = keypackage.wire.write(keypackage.Type.KEY_PACKAGE, PROJECT, forged, [signing("stranger")])
    trust, events = learned(SEALER, CHARTER_AHEAD, package)
    assert [type(event) for event in events] == [Waits, Refused]
    assert trust.clock(NOW) is None
    trust = learned(SEALER, said(as_of=LATER, by=signing("stranger")), package_at(BERT, LATER))[0]
    assert trust.clock(NOW) is None


def test_a_refused_member_tells_nothing_of_clocks() -> None:
    for since, heard in ((NOW, False), (LATER, False), (LATER + 1, True)):
        charters = refusing((BERT, since)), refusing((BERT, since), as_of=LATER)
        trust = learned(SEALER, *charters, package_at(BERT, LATER))[0]
        assert trust.charter.version == 1
        assert (trust.clock(NOW) is not None) is heard


def test_whose_clock_was_ahead_and_is_no_more_tells_nothing() -> None:
    far = NOW + 10 * DAY
    trust = learned(SEALER, said(as_of=far), package_at(BERT, far))[0]
    assert trust.clock(NOW + DAY) is not None
    mended = learned(trust, said(as_of=NOW + HOUR), now=NOW + HOUR)[0]
    assert mended.charter.version == 1
    assert mended.clock(NOW + HOUR) is None
    older = learned(trust, admit(BERT.identity, "bert", serial=2, site="paris", now=NOW - 1))[0]
    assert older.clock(NOW) is not None
    assert learned(trust, package_at(BERT, NOW + HOUR), now=NOW + HOUR)[0].clock(NOW + HOUR) is None


# -- keys replaced


def test_a_credential_that_names_another_identity_key_says_so() -> None:
    from sealwire.keys import identity  # noqa: PLC0415

    following = identity.replace(BERT.identity, Draws("next"), NOW)
    trust, events = learned(SEALER, admit(following, "bert", serial=2, site="paris"))
    assert isinstance(events[0], Admitted)
    assert (events[0].new, events[0].replaced) == (False, True)
    assert refused(trust, package_at(BERT, NOW + 1)) is Reason.UNKNOWN_SIGNER
    mine = dataclasses.replace(BERT, identity=following, credential=events[0].credential)
    assert [type(event) for event in learned(trust, package_at(mine, NOW + 1))[1]] == [KeysAnnounced]
    renewal = learned(SEALER, admit(BERT.identity, "bert", serial=2, site="paris"))[1][0]
    assert isinstance(renewal, Admitted)
    assert not renewal.replaced


def test_a_package_with_other_keys_for_known_windows_says_that_they_are_anew() -> None:
    moved = keypackage.renew(BERT.identity, BERT.credential, PROJECT, BERT.held, NOW + 4 * HOUR, Draws("more"))[1]
    lost = keypackage.renew(BERT.identity, BERT.credential, PROJECT, (), NOW + 4 * HOUR, Draws("lost"))[1]
    assert moved is not None
    assert lost is not None
    assert learned(SEALER, moved, now=NOW + 4 * HOUR)[1] == [KeysAnnounced(BERT.id, new=False, anew=False)]
    assert learned(SEALER, lost, now=NOW + 4 * HOUR)[1] == [KeysAnnounced(BERT.id, new=False, anew=True)]
