"""The authority at work: what it publishes and when, and what it does in a flood. The cloud is in memory."""

from __future__ import annotations

import sys
import time
import tracemalloc
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import registry as registries
from fake_log import Killed
from registry import DAY, HOUR, MINUTE, Desk

from sealwire.app import project as projects
from sealwire.app import waiting
from sealwire.app.chartering import RENEW
from sealwire.app.faults import Failure
from sealwire.app.office import CHARTER_KEY, member_key, publish_charter, root_key
from sealwire.keys import charter as charters
from sealwire.keys import credential as credentials
from sealwire.keys import identity as identities
from sealwire.keys import request as requests
from sealwire.keys import root as roots
from sealwire.keys.charter import Refusal
from sealwire.keys.credential import Credential
from sealwire.keys.primitives import ED25519, SigningKey
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.root import RootFields

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return registries.make(tmp_path / "acme")


def next_root(desk: Desk, **changes: object) -> None:
    """Put the next root into the directory, as `sealwire root finish` does."""
    project = projects.open_project(desk.authority.project.directory)
    same = {name: getattr(project.root, name) for name in RootFields.__struct_fields__}
    fields = RootFields(**{**same, "made_at": desk.now, **changes})
    signing = projects.keyfiles.read_signing_key(project.directory / "root.key")
    projects.take_root(project, roots.make_next(project.root, fields, [signing]))


def while_it_runs(desk: Desk, *steps: Callable[[], None]) -> None:
    """Run the office; each time it finds nothing to do, take the next step; then stop it."""
    left = list(steps)

    def idle() -> None:
        desk.now += 1000
        if left:
            left.pop(0)()

    desk.log.idle = idle
    stops = count()
    desk.office().run(stop=lambda: not left and next(stops) >= 3)


def test_the_first_run_signs_the_charter_that_was_built_in_and_publishes_it(desk: Desk) -> None:
    desk.run_once()
    published = desk.published_charter()
    assert (published.version, published.as_of) == (1, desk.now)
    assert published.policies == charters.BUILT_IN.policies
    assert desk.log.newest_by_key(desk.control)[root_key(1)] == desk.authority.project.root.statement


def test_the_charter_has_a_new_date_every_ten_minutes_and_says_the_same(desk: Desk) -> None:
    desk.run_once()
    first = desk.published_charter()
    desk.now += RENEW - 1
    desk.run_once()
    assert desk.published_charter() == first
    desk.now += 1
    desk.run_once()
    second = desk.published_charter()
    assert (second.version, second.as_of) == (1, first.as_of + RENEW)
    assert [row.version for row in desk.authority.books.charters()] == [1]


def test_a_running_office_renews_the_charter_by_itself(desk: Desk) -> None:
    def ten_minutes() -> None:
        desk.now += RENEW

    began = desk.now
    while_it_runs(desk, ten_minutes, ten_minutes)
    assert desk.published_charter().as_of >= began + 2 * RENEW


def test_an_authority_that_was_away_for_days_goes_on_with_the_same_charter(desk: Desk) -> None:
    desk.run_once()
    desk.now += 5 * DAY
    desk.run_once()
    assert (desk.published_charter().version, desk.published_charter().as_of) == (1, desk.now)


def test_a_clock_that_was_ahead_and_is_right_again_takes_a_new_version(desk: Desk) -> None:
    desk.now += HOUR
    desk.run_once()
    desk.now -= HOUR
    desk.run_once()
    assert (desk.published_charter().version, desk.published_charter().as_of) == (2, desk.now)


def test_a_charter_that_another_command_signed_is_published_within_a_second(desk: Desk) -> None:
    def another_command() -> None:
        other = desk.reopened()
        other.authority.charters.refuse(Refusal(b"m" * 32, 0, "laptop lost"), "revoke", desk.now)
        other.authority.books.close()

    while_it_runs(desk, another_command)
    published = desk.published_charter()
    assert (published.version, published.refusals) == (2, (Refusal(b"m" * 32, 0, "laptop lost"),))


def test_a_charter_that_another_process_signs_while_an_older_one_is_published_stands_last(desk: Desk) -> None:
    desk.authority.charters.renew(desk.now)
    publish, waited = desk.log.publish, [1]

    def slow(*given: Any, **more: Any) -> int:
        if waited:
            waited.pop()
            theirs = desk.authority.charters.refuse(Refusal(b"m" * 32, 0, "stolen"), "revoke", desk.now)
            assert theirs is not None
            publish(given[0], CHARTER_KEY, theirs.statement)
        return publish(*given, **more)

    desk.log.publish = slow  # type: ignore[method-assign]
    assert publish_charter(desk.authority.project, desk.authority.books, desk.log) == 2
    assert desk.published_charter().version == 2


@pytest.mark.parametrize("lives", range(4))
def test_killed_anywhere_it_publishes_the_charter_of_its_books_at_the_next_start(desk: Desk, lives: int) -> None:
    desk.authority.charters.renew(desk.now)
    identity = desk.identity()
    ticket = desk.ticket()
    request = requests.ask(ticket, identity, "producer1", desk.now)
    desk.send(request)
    desk.log.lives = lives  # root, charter, credential, answer
    with pytest.raises(Killed):
        desk.run_once()
    desk.log.lives = sys.maxsize
    charter = desk.authority.books.charter()
    assert charter is not None
    again = desk.reopened()
    assert again.run_once() == 1
    assert desk.log.newest_by_key(desk.control)[CHARTER_KEY] == charter.statement
    answers = [record.value for record in desk.log.topics[desk.requests] if record.value != request]
    answer = requests.read_answer(answers[-1], request, desk.authority.project.root, desk.now)
    assert isinstance(answer, Credential)
    assert desk.log.newest_by_key(desk.control)[member_key(identity.member_id)] == answer.statement


def test_a_credential_carries_the_charter_of_its_time(desk: Desk) -> None:
    identity, first = desk.admit("producer1")
    assert first.charter_version == 0
    desk.run_once()
    desk.authority.charters.refuse(Refusal(b"m" * 32, 0, "x"), "revoke", desk.now)
    desk.now += HOUR
    renewed = desk.renew(identity, first)
    assert isinstance(renewed, Credential)
    assert renewed.charter_version == 2


@pytest.mark.parametrize("form", ["renewal", "replacement", "ticket"])
def test_a_refused_member_is_not_renewed(desk: Desk, form: str) -> None:
    identity, ticket = desk.identity(), desk.ticket()
    first_request = requests.ask(ticket, identity, "p1", desk.now)
    first = desk.read(first_request, desk.decide(first_request))
    assert isinstance(first, Credential)
    desk.authority.charters.refuse(Refusal(identity.member_id, desk.now, "left"), "retire", desk.now)
    desk.now += HOUR
    request = {
        "renewal": lambda: requests.ask_renewal(identity, first, desk.now),
        "replacement": lambda: requests.ask_replacement(
            identity, identities.replace(identity, lambda size: b"n" * size, desk.now), first, desk.now
        ),
        "ticket": lambda: requests.ask(ticket, identity, "p1", desk.now),
    }[form]()
    verdict = desk.decide(request)
    refusal = desk.read(request, verdict)
    assert isinstance(refusal, Rejected)
    assert refusal.reason is Reason.REFUSED_MEMBER
    assert "left" in verdict.words
    assert verdict.proven


def test_a_renewal_that_is_sent_again_gives_the_same_answer_and_an_older_one_is_outdated(desk: Desk) -> None:
    identity, first = desk.admit("producer1")
    desk.now += HOUR
    old = requests.ask_renewal(identity, first, desk.now)
    desk.now += HOUR
    new = requests.ask_renewal(identity, first, desk.now)
    answer = desk.decide(new).answer
    assert desk.decide(new).answer == answer
    refusal = desk.read(old, desk.decide(old))
    assert isinstance(refusal, Rejected)
    assert refusal.reason is Reason.OUTDATED


def test_a_key_that_was_replaced_renews_nothing(desk: Desk) -> None:
    identity, first = desk.admit("producer1")
    desk.now += HOUR
    following = identities.replace(identity, lambda size: b"n" * size, desk.now)
    request = requests.ask_replacement(identity, following, first, desk.now)
    second = desk.read(request, desk.decide(request))
    assert isinstance(second, Credential)
    assert (second.serial, second.identity_key, second.member_id) == (2, following.public, identity.member_id)
    desk.now += HOUR
    refusal = desk.renew(identity, second)
    assert isinstance(refusal, Rejected)
    assert refusal.reason is Reason.UNKNOWN_SIGNER
    assert isinstance(desk.renew(following, second), Credential)


def test_a_running_office_goes_on_under_the_root_that_is_put_into_its_directory(desk: Desk) -> None:
    newer = SigningKey.from_seed(b"n" * 32)

    def finish() -> None:
        file = desk.authority.project.directory / "authority-2.key"
        projects.keyfiles.make_signing_key(file)
        nonlocal newer
        newer = projects.keyfiles.read_signing_key(file)
        keys = (*desk.authority.project.root.authority_keys, (ED25519, newer.public, desk.now + 800 * DAY))
        next_root(desk, authority_keys=keys)

    while_it_runs(desk, finish)
    root = projects.open_project(desk.authority.project.directory).root
    found = desk.log.newest_by_key(desk.control)
    assert found[root_key(2)] == root.statement
    charter = charters.read(found[CHARTER_KEY], root, desk.now)
    assert (charter.version, charter.root_version) == (2, 2)
    assert found[CHARTER_KEY][-96:-64] == projects.roots.primitives.sha256(newer.public)


def test_members_of_a_distrusted_authority_key_are_signed_anew_and_refused_ones_are_not(desk: Desk) -> None:
    _, first = desk.admit("producer1")
    _, gone = desk.admit("producer2")
    desk.authority.charters.refuse(Refusal(gone.member_id, 0, "left"), "revoke", desk.now)
    stolen = desk.authority.project.authority_key().public
    newer = projects.keyfiles.make_signing_key(desk.authority.project.directory / "authority-2.key")
    keys = ((ED25519, stolen, desk.now + DAY), (ED25519, newer.public, desk.now + 800 * DAY))
    next_root(desk, authority_keys=keys, distrusted=((stolen, 0),))
    desk.now += HOUR
    again = desk.reopened()
    again.run_once()
    found = desk.log.newest_by_key(desk.control)
    root = again.authority.project.root
    renewed = credentials.read(found[member_key(first.member_id)], root, desk.now)
    assert (renewed.serial, renewed.identity_key, renewed.attributes) == (2, first.identity_key, first.attributes)
    with pytest.raises(Rejected, match="distrusts"):
        credentials.read(found[member_key(gone.member_id)], root, desk.now)
    again.run_once()
    assert desk.log.newest_by_key(desk.control)[member_key(first.member_id)] == renewed.statement


def test_the_end_of_the_authority_key_is_warned_of_in_time_and_once_a_day(desk: Desk) -> None:
    end = desk.authority.project.end_of(desk.authority.project.authority_key().public)
    desk.now = end - projects.NEAR_END
    desk.run_once()
    assert not [line for line in desk.said if "warning" in line]
    desk.now += 1
    while_it_runs(desk, lambda: None, lambda: None)
    assert len([line for line in desk.said if "--new-authority-key" in line]) == 1
    desk.now = end + 1
    with pytest.raises(Failure, match="has ended"):
        desk.run_once()


def test_what_happened_is_noted_once_it_is_on_the_disk(desk: Desk) -> None:
    identity, first = desk.admit("producer1")
    desk.now += HOUR
    desk.renew(identity, first)
    desk.renew(identity, first)
    desk.run_once()
    stranger = requests.ask(desk.ticket(), desk.identity(), "producer1", desk.now)
    desk.decide(stranger)
    desk.decide(forged(desk, 1, desk.ticket().ticket_id))  # what strangers try is not bounded, and not noted
    assert [event for event, _ in desk.noted] == ["admitted", "renewed", "charter", "refused"]
    assert desk.noted[0][1]["name"] == "producer1"


# -- floods


def serial(desk: Desk, member_id: bytes) -> int:
    row = desk.authority.books.member(member_id)
    assert row is not None
    return row.serial


def forged(desk: Desk, number: int, ticket_id: bytes) -> bytes:
    """A request for a ticket that is known, by somebody who has not got it."""
    thief = SigningKey.from_seed(number.to_bytes(32, "big"))
    identity = identities.Identity(identities.primitives.sha256(thief.public), thief, desk.now)
    fields = requests.RequestFields(ticket_id, f"n{number}", identity.member_id, identity.public, None, desk.now)
    return requests.wire.write(requests.Type.REQUEST, desk.authority.project.id, fields, [thief, FORGER])


FORGER = SigningKey.from_seed(b"f" * 32)


@pytest.mark.parametrize("running", [False, True])
def test_a_flood_of_ten_thousand_is_bounded_and_the_rest_is_served(desk: Desk, running: bool) -> None:  # noqa: FBT001
    """10,000 requests for a ticket that is out, well formed and wrongly signed, around one that is right."""
    member, first = desk.admit("producer1")
    desk.run_once()
    desk.now += HOUR
    ticket, honest = desk.ticket(), desk.identity()
    flood = [forged(desk, number, ticket.ticket_id) for number in range(10_000)]
    right = requests.ask(ticket, honest, "producer2", desk.now)
    renewal = requests.ask_renewal(member, first, desk.now)
    everything = [*flood[:5000], right, renewal, *flood[5000:]]
    tracemalloc.start()
    began = time.process_time()
    office = desk.office()
    if running:
        stops = count()
        desk.log.idle = lambda: desk.send(*everything) if not desk.log.topics[desk.requests] else None
        office.run(stop=lambda: next(stops) > len(everything))
    else:
        desk.send(*everything)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        office.run(once=True)
        peak = tracemalloc.get_traced_memory()[1] - before
        print(f"flood of 10,000: {peak / 1e6:.1f} MB")
        assert peak < 1e6  # what waits, beside the topic itself
    took = time.process_time() - began
    tracemalloc.stop()
    print(f"flood of 10,000: {took:.1f} s of CPU, {desk.log.topics[desk.requests][-1].offset} records")
    assert took < 60
    assert {member.name for member in desk.authority.books.members()} == {"producer1", "producer2"}
    assert serial(desk, first.member_id) == 2
    answers = len(desk.log.topics[desk.requests]) - len(everything)
    assert answers <= 2 + waiting.UNPROVEN_A_MINUTE
    assert office.skipped["too-many"] >= 10_000 - waiting.UNPROVEN_A_MINUTE


def test_a_member_that_renews_without_end_uses_up_its_own_budget_alone(desk: Desk) -> None:
    loud, first = desk.admit("loud")
    quiet, second = desk.admit("quiet")
    desk.now += HOUR
    desk.send(*(requests.ask_renewal(loud, first, desk.now + number) for number in range(200)))
    desk.send(requests.ask_renewal(quiet, second, desk.now))
    office = desk.office()
    assert office.run(once=True) == 2  # of the loud one the newest
    assert serial(desk, quiet.member_id) == 2
    stops = count()
    wanted = [requests.ask_renewal(loud, first, desk.now + 1000 + number) for number in range(200)]
    sent: list[int] = []

    def idle() -> None:
        if not sent:
            sent.append(1)
            desk.send(*wanted)

    desk.log.idle = idle
    assert office.run(stop=lambda: next(stops) > 250) <= waiting.PROVEN_A_MINUTE
    assert office.skipped["too-many"] >= 180


def test_many_identities_with_one_ticket_do_not_push_out_the_first(desk: Desk) -> None:
    ticket, winner = desk.ticket(), desk.identity()
    desk.send(requests.ask(ticket, winner, "first", desk.now))
    desk.send(*(requests.ask(ticket, desk.identity(), f"n{number}", desk.now) for number in range(100)))
    assert desk.run_once() <= waiting.PER_TICKET
    assert [member.name for member in desk.authority.books.members()] == ["first"]
    assert desk.authority.books.members()[0].member_id == winner.member_id


def test_a_budget_is_of_one_minute(desk: Desk) -> None:
    budget = waiting.Budget()
    assert [budget.allows(b"a", 2, at) for at in (0, 1, 2, 59_999)] == [True, True, False, False]
    assert budget.allows(b"b", 2, 3)
    assert budget.allows(b"a", 2, MINUTE)
