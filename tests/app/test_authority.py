"""The authority's judgement over its books: every request has one right answer, whatever is killed."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sealwire.app import project as projects
from sealwire.app.authority import Authority, Verdict
from sealwire.app.books import Books
from sealwire.app.faults import Failure
from sealwire.keys import identity as identities
from sealwire.keys import request as requests
from sealwire.keys import ticket as tickets
from sealwire.keys.credential import Credential
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.ticket import Ticket

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.keys.identity import Identity

HOUR = 3_600_000
BERLIN = {"role": "member", "site": "berlin"}


@dataclass
class Desk:
    """An authority with its project, and a clock that the test sets."""

    authority: Authority
    now: int

    def ticket(self, attributes: dict[str, str] | None = None) -> Ticket:
        text = self.authority.make_ticket(attributes or BERLIN, 24 * HOUR, "", os.urandom, self.now)
        return tickets.read(text)

    def identity(self) -> Identity:
        return identities.create(os.urandom, self.now)

    def ask(self, ticket: Ticket, name: str, identity: Identity | None = None) -> tuple[bytes, Verdict]:
        request = requests.ask(ticket, identity or self.identity(), name, self.now)
        return request, self.authority.decide(request, self.now)

    def read(self, request: bytes, verdict: Verdict) -> Credential | Rejected:
        return requests.read_answer(verdict.answer, request, self.authority.project.root, self.now)

    def admitted(self, name: str, attributes: dict[str, str] | None = None) -> Credential:
        credential = self.read(*self.ask(self.ticket(attributes), name))
        assert isinstance(credential, Credential)
        return credential

    def refusal(self, ticket: Ticket, name: str, identity: Identity | None = None) -> Rejected:
        refusal = self.read(*self.ask(ticket, name, identity))
        assert isinstance(refusal, Rejected)
        return refusal


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    project = projects.create("acme", tmp_path / "acme")
    return Desk(Authority(project, project.books()), project.root.made_at + 1000)


def test_a_ticket_admits_its_first_identity_with_the_tickets_attributes(desk: Desk) -> None:
    credential = desk.admitted("producer1")
    assert credential.name == "producer1"
    assert credential.site == "berlin"
    assert dict(credential.attributes) == BERLIN
    assert credential.serial == 1


def test_the_same_request_gets_the_same_bytes_again(desk: Desk) -> None:
    request, verdict = desk.ask(desk.ticket(), "producer1")
    desk.now += HOUR
    assert desk.authority.decide(request, desk.now).answer == verdict.answer


def test_another_process_with_the_same_books_gives_the_same_bytes(desk: Desk) -> None:
    request, verdict = desk.ask(desk.ticket(), "producer1")
    desk.authority.books.close()
    again = Authority(desk.authority.project, desk.authority.project.books())
    assert again.decide(request, desk.now + HOUR).answer == verdict.answer


def test_an_authority_killed_before_the_books_were_written_has_spent_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket, identity = desk.ticket(), desk.identity()

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Books, "keep_answer", killed)
        with pytest.raises(Killed):
            desk.ask(ticket, "producer1", identity)
    assert desk.authority.books.members() == []
    assert isinstance(desk.read(*desk.ask(ticket, "producer1", identity)), Credential)


def test_the_same_identity_with_a_later_request_gets_its_credential_again(desk: Desk) -> None:
    ticket, identity = desk.ticket(), desk.identity()
    first = desk.read(*desk.ask(ticket, "producer1", identity))
    desk.now += 1000
    second = desk.read(*desk.ask(ticket, "producer1", identity))
    assert isinstance(first, Credential)
    assert isinstance(second, Credential)
    assert second.statement == first.statement


def test_the_same_identity_that_asks_for_another_name_is_refused(desk: Desk) -> None:
    ticket, identity = desk.ticket(), desk.identity()
    desk.ask(ticket, "producer1", identity)
    assert desk.refusal(ticket, "producer2", identity).reason is Reason.CHANGED_REQUEST


def test_a_spent_ticket_refuses_another_identity_and_names_the_winner(desk: Desk) -> None:
    ticket, winner = desk.ticket(), desk.identity()
    desk.ask(ticket, "producer1", winner)
    refusal = desk.refusal(ticket, "producer2")
    assert refusal.reason is Reason.SPENT
    assert winner.fingerprint in refusal.detail


def test_an_expired_ticket_is_refused_and_not_spent(desk: Desk) -> None:
    ticket = desk.ticket()
    desk.now += 25 * HOUR
    assert desk.refusal(ticket, "producer1").reason is Reason.EXPIRED
    row = desk.authority.books.ticket(ticket.ticket_id)
    assert row is not None
    assert row.spent_by is None


def test_a_ticket_of_other_books_is_unknown(desk: Desk) -> None:
    ticket = desk.ticket()
    with sqlite3.connect(desk.authority.books.file) as base:
        base.execute("DELETE FROM ticket")
    refusal = desk.refusal(ticket, "producer1")
    assert refusal.reason is Reason.UNKNOWN_TICKET


def test_a_request_signed_with_another_ticket_key_spends_nothing(desk: Desk) -> None:
    mine, other = desk.ticket(), desk.ticket()
    forged = Ticket(**{**{name: getattr(mine, name) for name in mine.__struct_fields__}, "seed": other.seed})
    refusal = desk.refusal(forged, "producer1")
    assert refusal.reason in (Reason.BAD_SIGNATURE, Reason.UNKNOWN_SIGNER)
    assert isinstance(desk.read(*desk.ask(mine, "producer1")), Credential)


def test_a_request_to_another_project_is_no_request(desk: Desk, tmp_path: Path) -> None:
    other = projects.create("acme", tmp_path / "other")
    text = Authority(other, other.books()).make_ticket(BERLIN, HOUR, "", os.urandom, desk.now)
    with pytest.raises(Rejected) as refusal:
        desk.ask(tickets.read(text), "producer1")
    assert refusal.value.reason is Reason.OTHER_PROJECT


@pytest.mark.parametrize("garbage", [b"", b"hello", b"SW", bytes(4096), os.urandom(300), b"SW\x24\x01\x01" + bytes(60)])
def test_garbage_is_rejected_with_a_reason_and_leaves_the_books_alone(desk: Desk, garbage: bytes) -> None:
    with pytest.raises(Rejected):
        desk.authority.decide(garbage, desk.now)


def test_a_name_of_another_member_is_refused_and_the_ticket_stays_good(desk: Desk) -> None:
    desk.admitted("producer1")
    ticket = desk.ticket()
    assert desk.refusal(ticket, "producer1").reason is Reason.NAME_TAKEN
    assert isinstance(desk.read(*desk.ask(ticket, "producer2")), Credential)


def test_a_name_that_is_a_site_is_refused(desk: Desk) -> None:
    desk.admitted("producer1")
    assert desk.refusal(desk.ticket({"role": "member", "site": "paris"}), "berlin").reason is Reason.NAME_TAKEN
    assert desk.refusal(desk.ticket({"role": "member"}), "berlin").reason is Reason.NAME_TAKEN


def test_a_ticket_without_site_gives_the_name_as_a_site_of_its_own(desk: Desk) -> None:
    assert desk.admitted("tokyo", {"role": "member"}).site == "tokyo"
    assert desk.refusal(desk.ticket({"role": "member", "site": "tokyo"}), "other").reason is Reason.NAME_TAKEN


def test_a_renewal_grows_the_serial_and_keeps_the_rest(desk: Desk) -> None:
    identity = desk.identity()
    first = desk.read(*desk.ask(desk.ticket(), "producer1", identity))
    assert isinstance(first, Credential)
    desk.now += 48 * HOUR
    request = requests.ask_renewal(identity, first, desk.now)
    verdict = desk.authority.decide(request, desk.now)
    second = desk.read(request, verdict)
    assert isinstance(second, Credential)
    assert (second.serial, second.name, second.attributes) == (2, first.name, first.attributes)
    assert (second.admitted, second.not_after) == (first.admitted, first.not_after + 48 * HOUR)
    assert desk.authority.decide(request, desk.now + 5).answer == verdict.answer


def test_a_renewal_of_a_stranger_is_refused(desk: Desk) -> None:
    credential = desk.admitted("producer1")
    request = requests.ask_renewal(desk.identity(), credential, desk.now)
    verdict = desk.authority.decide(request, desk.now)
    assert not verdict.proven
    assert verdict.member is None


def test_a_replaced_identity_key_needs_the_former_one(desk: Desk) -> None:
    identity = desk.identity()
    first = desk.read(*desk.ask(desk.ticket(), "producer1", identity))
    assert isinstance(first, Credential)
    desk.now += HOUR
    following = identities.replace(identity, os.urandom, desk.now)
    request = requests.ask_replacement(identity, following, first, desk.now)
    second = desk.read(request, desk.authority.decide(request, desk.now))
    assert isinstance(second, Credential)
    assert (second.member_id, second.identity_key) == (identity.member_id, following.public)


def test_a_project_is_made_once_and_its_keys_are_private(tmp_path: Path) -> None:
    directory = tmp_path / "acme"
    projects.create("acme", directory)
    for name in ("root.key", "authority.key", "books.sqlite"):
        assert (directory / name).stat().st_mode & 0o077 == 0
    with pytest.raises(Failure, match="already"):
        projects.create("acme", directory)


def test_a_project_whose_making_was_killed_is_made_by_the_next_run(tmp_path: Path) -> None:
    directory = tmp_path / "acme"
    made = projects.create("acme", directory)
    (directory / "root.1").unlink()
    again = projects.create("acme", directory)
    assert again.root.root_keys == made.root.root_keys


@pytest.mark.parametrize("name", ["", "a.b", "a b", "-a", "a" * 65])
def test_a_project_cannot_have_a_name_that_topics_cannot(tmp_path: Path, name: str) -> None:
    with pytest.raises(Failure, match="name"):
        projects.create(name, tmp_path / "acme")
    assert not (tmp_path / "acme").exists()


def test_an_authority_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    project = projects.create("acme", tmp_path / "acme")
    (tmp_path / "acme" / "authority.key").chmod(0o644)
    with pytest.raises(Failure, match="too open"):
        project.authority_key()


def test_an_authority_key_that_the_root_does_not_name_is_refused(tmp_path: Path) -> None:
    project = projects.create("acme", tmp_path / "acme")
    projects.create("other", tmp_path / "other")
    (tmp_path / "acme" / "authority.key").write_bytes((tmp_path / "other" / "authority.key").read_bytes())
    with pytest.raises(Failure, match="not a key that the root"):
        project.authority_key()
