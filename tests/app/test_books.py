"""The authority's books."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from sealwire.app import booktables
from sealwire.app.books import Books, CharterRow, MemberRow, TicketRow
from sealwire.app.faults import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TICKET = b"t" * 16


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    opened = Books(tmp_path / "books.sqlite", create=True)
    opened.add_ticket(TicketRow(TICKET, b"p" * 32, {"role": "member", "site": "berlin"}, 1, 1000))
    yield opened
    opened.close()


def member(number: int, name: str, site: str, *, owns: bool = False) -> MemberRow:
    return MemberRow(bytes([number]) * 32, name, site, owns, b"i" * 32, 1, 1, 1, b"credential")


def test_a_ticket_is_kept_as_it_was_made(books: Books) -> None:
    assert books.ticket(TICKET) == TicketRow(TICKET, b"p" * 32, {"role": "member", "site": "berlin"}, 1, 1000)
    assert books.ticket(b"x" * 16) is None


def test_a_ticket_is_spent_once(books: Books) -> None:
    assert books.spend(TICKET, b"1" * 32, b"first", 5)
    assert not books.spend(TICKET, b"2" * 32, b"second", 6)
    row = books.ticket(TICKET)
    assert row is not None
    assert (row.spent_by, row.spent_at, row.request) == (b"1" * 32, 5, b"first")


def test_of_many_that_spend_a_ticket_at_once_one_wins(books: Books) -> None:
    won = []

    def spend(number: int) -> None:
        mine = Books(books.file)
        with mine.transaction():
            won.append(mine.spend(TICKET, bytes([number]) * 32, b"request", number))
        mine.close()

    threads = [threading.Thread(target=spend, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]


def test_what_a_killed_process_had_not_committed_never_was(books: Books) -> None:
    child = os.fork()
    if not child:
        mine = Books(books.file)
        with mine.transaction():
            mine.spend(TICKET, b"1" * 32, b"request", 5)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert books.spend(TICKET, b"2" * 32, b"request", 6)


def test_what_a_killed_process_had_committed_stands(books: Books) -> None:
    child = os.fork()
    if not child:
        mine = Books(books.file)
        with mine.transaction():
            mine.spend(TICKET, b"1" * 32, b"request", 5)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert not books.spend(TICKET, b"2" * 32, b"request", 6)


def test_a_failure_inside_a_transaction_leaves_nothing(books: Books) -> None:
    def spend_and_fail() -> None:
        with books.transaction():
            assert books.spend(TICKET, b"1" * 32, b"request", 5)
            books.add_ticket(TicketRow(TICKET, b"p" * 32, {}, 1, 1000))

    with pytest.raises(sqlite3.IntegrityError):
        spend_and_fail()
    row = books.ticket(TICKET)
    assert row is not None
    assert row.spent_by is None


def test_an_answer_is_given_again_byte_for_byte(books: Books) -> None:
    books.enter(member(1, "one", "berlin"))
    books.keep_answer(b"d" * 32, bytes([1]) * 32, b"answer")
    assert books.answer(b"d" * 32) == b"answer"
    assert books.answer(b"e" * 32) is None


def test_entering_a_member_again_keeps_one_row_and_another_of_its_name_is_an_error(books: Books) -> None:
    books.enter(member(1, "one", "berlin"))
    books.keep_answer(b"d" * 32, bytes([1]) * 32, b"answer")
    books.enter(member(1, "one", "paris"))
    assert [row.site for row in books.members()] == ["paris"]
    with pytest.raises(Exception, match="UNIQUE"):
        books.enter(member(2, "one", "paris"))


@pytest.mark.parametrize(
    ("name", "site", "why"),
    [
        ("one", "berlin", "the name one is another member's"),
        ("paris", "berlin", "the name paris is the site of member two"),
        ("alone", None, "the name alone is another member's"),
        ("three", "alone", "the site alone is member alone's own"),
        ("three", "one", "the site one is the name of another member"),
        ("three", "berlin", ""),
        ("three", "oslo", ""),
        ("three", None, ""),
        ("berlin", None, "the name berlin is the site of member one"),
    ],
)
def test_names_and_sites_of_members_share_one_space(books: Books, name: str, site: str | None, why: str) -> None:
    books.enter(member(1, "one", "berlin"))
    books.enter(member(2, "two", "paris"))
    books.enter(member(3, "alone", "alone", owns=True))
    assert books.taken(bytes([9]) * 32, name, site) == why


def test_the_site_of_a_ticket_that_is_out_is_no_name_for_anybody_else(books: Books) -> None:
    assert books.taken(b"9" * 32, "berlin", None) == "the name berlin is a site"


def test_a_member_keeps_its_own_name(books: Books) -> None:
    books.enter(member(1, "one", "one", owns=True))
    assert books.taken(bytes([1]) * 32, "one", None) == ""


def test_books_whose_pages_are_damaged_are_said_to_be(books: Books) -> None:
    books._base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with books.file.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(books.file.stat().st_size - 4096))
    again = Books(books.file)

    def spend() -> None:
        with again.transaction():
            again.spend(TICKET, b"1" * 32, b"request", 5)

    with pytest.raises(Failure, match="could not be written: database disk image is malformed"):
        spend()
    again.close()


def test_books_on_a_full_disk_change_nothing_and_say_so(books: Books) -> None:
    books._base.execute("PRAGMA max_page_count = 1")

    def spend() -> None:
        with books.transaction():
            books.spend(TICKET, b"1" * 32, bytes(1 << 20), 5)

    with pytest.raises(Failure, match="could not be written: database or disk is full"):
        spend()
    row = books.ticket(TICKET)
    assert row is not None
    assert row.spent_by is None


def test_missing_books_are_not_made_in_passing(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="There are no books"):
        Books(tmp_path / "books.sqlite")
    assert not (tmp_path / "books.sqlite").exists()


def test_books_that_are_another_file_are_a_failure_in_words(tmp_path: Path) -> None:
    file = tmp_path / "books.sqlite"
    file.write_bytes(b"no database at all, but long enough to look at" * 100)
    with pytest.raises(Failure, match="cannot be opened"):
        Books(file)


def test_a_charter_is_one_row_a_version_and_the_newest_is_found(books: Books) -> None:
    assert books.charter() is None
    first, second = (CharterRow(version, 1, 1, "yaml", "words", b"s") for version in (1, 2))
    books.keep_charter(first)
    books.keep_charter(second)
    dated = CharterRow(2, 1, 700, "yaml", "words", b"t")
    books.keep_charter(dated)
    assert books.charter() == dated
    assert books.charters() == [dated, first]


def test_books_of_the_first_version_are_brought_up_in_place_and_keep_all_they_had(tmp_path: Path) -> None:
    file = tmp_path / "books.sqlite"
    with sqlite3.connect(file) as base:
        base.executescript(f"{booktables._STEPS[0]} PRAGMA user_version = 1;")
        base.execute(
            "INSERT INTO ticket (ticket_id, public, attributes, made_at, expires) VALUES (?, ?, '{}', 1, 2)",
            (TICKET, b"p" * 32),
        )
    base.close()
    for _ in range(2):
        opened = Books(file)
        assert opened.ticket(TICKET) == TicketRow(TICKET, b"p" * 32, {}, 1, 2)
        assert opened.charter() is None
        opened.close()
    with sqlite3.connect(file) as base:
        assert base.execute("PRAGMA user_version").fetchone() == (booktables.VERSION,)
        base.execute(f"PRAGMA user_version = {booktables.VERSION + 1}")
    base.close()
    with pytest.raises(Failure, match="this sealwire knows"):
        Books(file)


def test_a_site_of_its_own_of_a_member_that_is_gone_may_be_another_s(books: Books) -> None:
    books.enter(member(3, "alone", "alone", owns=True))
    assert books.taken(b"9" * 32, "three", "alone", gone={bytes([3]) * 32}) == ""
    assert books.taken(b"9" * 32, "alone", "alone", gone={bytes([3]) * 32}) == "the name alone is another member's"


def test_forgotten_answers_are_given_anew(books: Books) -> None:
    books.enter(member(1, "one", "berlin"))
    books.keep_answer(b"d" * 32, bytes([1]) * 32, b"answer")
    books.forget_answers(bytes([1]) * 32)
    assert books.answer(b"d" * 32) is None
