"""What the keys of a project's administrators are worth to a thief: the authority's, the root's, escrow's, a ticket."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import pytest
from statement_world import ANNA, AUTHORITY, BERT, DAY, HOUR, NOW, OFFLINE, ROOT, YEAR, Draws, admit, signing

from sealwire.agents.learned import gather
from sealwire.keys import charter, credential, identity, keypackage, root, session
from sealwire.keys.charter import BUILT_IN, Refusal
from sealwire.keys.primitives import ED25519, SigningKey
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.root import RootFields
from sealwire.keys.secrets import Floor, Secrets
from sealwire.keys.trust import Trust

MALLORY = identity.create(Draws("mallory"), NOW)
NEXT = signing("the next authority")


def trust(*statements: bytes, now: int = NOW) -> Trust:
    """What a sealer believes that was told this."""
    return Trust.begin(ROOT.statement, now).learn(statements, now)[0]


class Worker:
    """What believes and remembers as a worker does."""

    def __init__(self, secrets: Secrets) -> None:
        self.secrets, self.trust = secrets, Trust.begin(secrets, NOW)

    def hear(self, statements: list[bytes], now: int) -> None:
        self.trust, events = self.trust.learn(statements, now)
        self.secrets = gather(events, self.secrets, self.trust.floors, Counter()).secrets


def stolen_credential(not_before: int, admitted: int = 0) -> bytes:
    """What a thief of the authority's key signs for itself."""
    return credential.make(
        ROOT,
        AUTHORITY,
        member_id=MALLORY.member_id,
        identity_key=MALLORY.public,
        name="mallory",
        attributes={"role": "member", "site": "paris"},
        serial=1,
        now=not_before,
        admitted=admitted,
        validity=YEAR,
    )


def package_of(statement: bytes, now: int) -> bytes:
    """The receiving keys of the thief."""
    _held, package = keypackage.renew(
        MALLORY, credential.read(statement, ROOT, now), ROOT.project_id, (), now, Draws("mallory keys")
    )
    assert package is not None
    return package


def next_root(**changes: object) -> bytes:
    """Root 2, as two of the three holders sign it."""
    fields = RootFields(*(getattr(ROOT, name) for name in RootFields.__struct_fields__))
    said = {"authority_keys": ((ED25519, NEXT.public, NOW + YEAR),), "made_at": NOW + HOUR, **changes}
    return root.make_next(ROOT, msgspec.structs.replace(fields, **said), OFFLINE[:2])


def charter_of(**changes: object) -> bytes:
    """A charter that the stolen key signs as well as its owner does."""
    return charter.make(ROOT, AUTHORITY, msgspec.structs.replace(BUILT_IN, **changes))


def is_reader(known: Trust, member_id: bytes, now: int = NOW + 2 * HOUR) -> bool:
    """Tell whether sessions are wrapped for this member."""
    return member_id in dict(known.readers("orders", "acme.orders", now))


def test_a_thief_of_the_authoritys_key_is_whoever_it_likes_until_the_next_root() -> None:
    mallory = stolen_credential(NOW)
    known = trust(mallory, package_of(mallory, NOW), ANNA.credential_bytes, BERT.credential_bytes, BERT.package)
    assert is_reader(known, MALLORY.member_id)
    known, _events = known.learn([next_root()], NOW + HOUR)
    anew = credential.make(
        known.root, NEXT, member_id=BERT.id, identity_key=BERT.identity.public, name="bert",
        attributes={"role": "member", "site": "paris"}, serial=2, now=NOW + HOUR, admitted=NOW,
    )  # fmt: skip
    package = keypackage.announce(
        BERT.identity, credential.read(anew, known.root, NOW + HOUR), ROOT.project_id, BERT.held, NOW + HOUR
    )
    known, _events = known.learn([mallory, anew, package, package_of(mallory, NOW)], NOW + HOUR)
    assert not is_reader(known, MALLORY.member_id)
    assert is_reader(known, BERT.id)


@pytest.mark.parametrize("started_again", ["never", "before the root", "after the root"])
def test_no_number_that_a_thief_of_the_authoritys_key_gave_keeps_a_member_out_after_the_next_root(
    started_again: str,
) -> None:
    """It may have signed the highest serial there is for everybody; the authority's own must count again."""
    highest = 1 << 53
    rival = credential.make(
        ROOT, AUTHORITY, member_id=BERT.id, identity_key=MALLORY.public, name="bert",
        attributes={"role": "member", "site": "paris"}, serial=highest, now=NOW,
    )  # fmt: skip
    hers = replace(MALLORY, member_id=BERT.id)
    _held, package = keypackage.renew(
        hers, credential.peek(rival, ROOT.project_id), ROOT.project_id, (), NOW, Draws("rival")
    )
    assert package is not None
    worker = Worker(ANNA.secrets)
    worker.hear([BERT.credential_bytes, BERT.package, rival, package], NOW)
    assert worker.trust.floors[BERT.id] == (highest, highest, NOW)
    if started_again == "before the root":
        worker = Worker(Secrets.decode(worker.secrets.encode()))
    worker.hear([next_root()], NOW + HOUR)
    if started_again == "after the root":
        worker = Worker(Secrets.decode(worker.secrets.encode()))
    anew = credential.make(
        worker.trust.root, NEXT, member_id=BERT.id, identity_key=BERT.identity.public, name="bert",
        attributes={"role": "member", "site": "paris"}, serial=2, now=NOW + HOUR,
    )  # fmt: skip
    mine = credential.peek(anew, ROOT.project_id)
    announced = keypackage.announce(BERT.identity, mine, ROOT.project_id, BERT.held, NOW + HOUR)
    worker.hear([rival, package, anew, announced], NOW + HOUR)
    assert is_reader(worker.trust, BERT.id)
    assert worker.trust.packages[BERT.id].serial == 2
    assert worker.secrets.floors[BERT.id] == (2, 2, NOW + HOUR)


def test_floors_of_members_stay_whom_a_key_that_still_counts_admitted() -> None:
    both = (*ROOT.authority_keys, (ED25519, NEXT.public, NOW + YEAR))
    renewed = admit(BERT.identity, "bert", serial=5, site="paris", now=NOW)
    worker = Worker(ANNA.secrets)
    worker.hear([renewed, next_root(authority_keys=both)], NOW + HOUR)
    second = worker.trust.root
    distrusting = root.make_next(
        second,
        msgspec.structs.replace(
            RootFields(*(getattr(second, name) for name in RootFields.__struct_fields__)),
            distrusted=((AUTHORITY.public, NOW + 1),),
        ),
        OFFLINE[:2],
    )
    worker.hear([distrusting, BERT.credential_bytes], NOW + HOUR)
    assert worker.trust.root.version == 3
    assert worker.trust.credentials[BERT.id].serial == worker.secrets.floors[BERT.id].credential_serial == 5
    # One that was not heard of since a start has its floor too, as long as no key was taken away.
    again = Worker(BERT.secrets.raised({ANNA.id: Floor(9)}))
    again.hear([next_root(authority_keys=both), ANNA.credential_bytes], NOW + HOUR)
    assert ANNA.id not in again.trust.credentials


@pytest.mark.parametrize("taken_away", ["named no more", "distrusted"])
def test_a_session_of_a_member_whom_a_stolen_authority_key_admitted_delivers_nothing_after_the_next_root(
    taken_away: str,
) -> None:
    """Granted and opened while the key counted, it may have an hour to run, and its secret is kept for a week."""
    mallory = stolen_credential(NOW)
    outbound, statement = session.start(MALLORY, mallory, ROOT.project_id, "orders", 0, 1, NOW, Draws("hers"))
    claim = session.read(statement, ROOT.project_id, lambda inner: credential.read(inner, ROOT, NOW), NOW)
    opened = Secrets.decode(BERT.secrets.remember(session.proven(claim, outbound.secret)).encode()).inbound[outbound.id]
    known = trust(mallory)
    known.may_produce(opened, "acme.orders", NOW)
    both = (*ROOT.authority_keys, (ED25519, NEXT.public, NOW + YEAR))
    distrusting = {"authority_keys": both, "distrusted": ((AUTHORITY.public, 0),)}
    known, _events = known.learn([next_root(**(distrusting if taken_away == "distrusted" else {}))], NOW + HOUR)
    with pytest.raises(Rejected) as refused:
        known.may_produce(opened, "acme.orders", NOW + HOUR)
    assert refused.value.reason in {Reason.DISTRUSTED, Reason.UNKNOWN_SIGNER}


@pytest.mark.parametrize("since", [0, NOW])
def test_a_stolen_authority_key_is_distrusted_for_all_time_or_it_dates_its_words_before(since: int) -> None:
    """A thief dates as it likes: that a key is distrusted from a time on does not stop it."""
    both = (*ROOT.authority_keys, (ED25519, NEXT.public, NOW + YEAR))
    following = next_root(authority_keys=both, distrusted=((AUTHORITY.public, since),))
    known, _events = trust().learn([following], NOW + HOUR)
    backdated = stolen_credential(NOW - DAY)
    known, _events = known.learn([backdated, package_of(backdated, NOW)], NOW + HOUR)
    assert is_reader(known, MALLORY.member_id) == (since > 0)


def test_what_a_stolen_authority_key_pardons_stays_refused() -> None:
    refusing = charter_of(version=1, as_of=NOW, refusals=(Refusal(ANNA.id, 0, "stolen"),))
    pardon = charter_of(version=2, as_of=NOW + 1)
    known = trust(refusing, pardon, ANNA.credential_bytes)
    assert known.refuses(ANNA.id, NOW)


@pytest.mark.parametrize("thief", OFFLINE, ids=["first", "second", "third"])
def test_one_root_key_of_the_two_that_must_sign_makes_no_root(thief: SigningKey) -> None:
    fields = RootFields(*(getattr(ROOT, name) for name in RootFields.__struct_fields__))
    mine = signing("mallory's authority")
    wanted = msgspec.structs.replace(
        fields,
        authority_keys=((ED25519, mine.public, NOW + YEAR),),
        root_keys=((ED25519, thief.public),),
        threshold=1,
        made_at=NOW + 1,
    )
    statement = root.make_next(ROOT, wanted, [thief])
    with pytest.raises(Rejected, match="which asks for 2") as refused:
        root.read_next(statement, ROOT)
    assert refused.value.reason is Reason.UNKNOWN_SIGNER
    assert trust(statement).root.version == 1


def test_a_threshold_of_root_keys_is_the_project_from_then_on_and_opens_nothing_by_itself() -> None:
    mine = signing("mallory's authority")
    known = trust(next_root(authority_keys=((ED25519, mine.public, NOW + YEAR),)), now=NOW + HOUR)
    assert known.root.version == 2
    with pytest.raises(Rejected):
        known.root.authority(ROOT.authority_keys[0][1], NOW, NOW + HOUR)
