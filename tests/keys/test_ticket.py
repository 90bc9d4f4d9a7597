from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import AUTHORITY, DAY, MINUTE, NOW, OFFLINE, PROJECT, ROOT, ROOT_BYTES, YEAR, Draws, signing

from sealwire.keys import identity, primitives, request, root, ticket, wire
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.ticket import Admit, Refuse, Same, TicketEntry, TicketFields
from sealwire.keys.wire import Type

TICKET, TEXT = ticket.make(ROOT_BYTES, {"site": "berlin", "role": "member"}, NOW + DAY, "cloud:9092", Draws("ticket"))
WHO = identity.create(Draws("who"), NOW)
OTHER = identity.create(Draws("other"), NOW)
ENTRY = TicketEntry(PROJECT, TICKET.ticket_id, TICKET.signing.public, TICKET.expiry)
ASKED = request.ask(TICKET, WHO, "producer1", NOW)


def refusal(text: bytes) -> Reason:
    with pytest.raises(Rejected) as caught:
        ticket.read(text)
    return caught.value.reason


def judged(statement: bytes, entry: TicketEntry | None = ENTRY, now: int = NOW) -> Reason:
    verdict = ticket.judge(statement, entry, now)
    assert isinstance(verdict, Refuse)
    return verdict.reason


def test_a_ticket_file_reads_back_and_pins_the_root() -> None:
    assert ticket.read(TEXT) == TICKET
    assert (TICKET.project_id, TICKET.project_name, TICKET.root_version) == (PROJECT, "acme", 1)
    assert TICKET.check_root(ROOT_BYTES) == ROOT
    other = root.make_first("acme", OFFLINE, 2, [(AUTHORITY.public, NOW + YEAR)], [], NOW + 1)
    with pytest.raises(Rejected):
        TICKET.check_root(other)


def test_a_ticket_survives_what_editors_and_mail_do_to_white_space() -> None:
    assert ticket.read(b"\r\n  " + TEXT.replace(b"\n", b"\r\n  ") + b"\n\n") == TICKET


def test_a_cut_ticket_is_told_from_a_foreign_file() -> None:
    for end in range(len(ticket.BEGIN), len(TEXT) - 1):
        assert refusal(TEXT[:end]) is Reason.TRUNCATED
    lines = TEXT.splitlines()
    for gone in range(1, len(lines) - 1):
        assert refusal(b"\n".join(lines[:gone] + lines[gone + 1 :])) is Reason.TRUNCATED
    for foreign in (b"", b"hello", TEXT[1:], b"-----BEGIN OPENSSH PRIVATE KEY-----\n"):
        assert refusal(foreign) is Reason.FOREIGN
    assert refusal(TEXT + b" " * ticket.FILE_CAP) is Reason.TOO_LARGE


def test_an_altered_bit_inside_a_ticket_is_rejected() -> None:
    packed = base64.b64decode(b"".join(TEXT.splitlines()[1:-1]))
    for bit in range(len(packed) * 8):
        altered = bytearray(packed)
        altered[bit // 8] ^= 1 << bit % 8
        assert refusal(armoured(bytes(altered))) is Reason.TRUNCATED


def armoured(packed: bytes) -> bytes:
    return b"\n".join([ticket.BEGIN, base64.b64encode(packed), ticket.END, b""])


def test_a_true_checksum_over_something_else_is_rejected_for_what_it_is() -> None:
    def summed(frame: bytes) -> bytes:
        return armoured(frame + primitives.sha256(wire.LABELS[Type.TICKET], frame))

    packed = base64.b64decode(b"".join(TEXT.splitlines()[1:-1]))
    assert ticket.read(summed(packed[:-32])) == TICKET
    body = wire.read(packed[:-32], Type.TICKET, PROJECT).body
    signed = wire.finish(Type.TICKET, wire.head(Type.TICKET, PROJECT, body), [AUTHORITY])
    assert refusal(summed(signed)) is Reason.MALFORMED
    assert refusal(summed(ASKED)) is Reason.MALFORMED
    assert refusal(summed(b"hello")) is Reason.FOREIGN


def test_a_ticket_that_no_reader_would_take_is_misuse() -> None:
    with pytest.raises(Misuse):
        ticket.make(ROOT_BYTES, {"no/name": "x"}, NOW, "", Draws("t"))


def test_a_ticket_shows_no_secret() -> None:
    assert TICKET.seed.hex() not in repr(TICKET)
    assert repr(TICKET.seed) not in repr(TICKET)


def test_a_ticket_of_other_letters_or_of_attributes_out_of_order_is_rejected() -> None:
    assert refusal(ticket.BEGIN + b"\n!!!!\n" + ticket.END) is Reason.TRUNCATED
    fields = TicketFields("acme", 1, ROOT.digest, bytes(16), bytes(32), (("site", "a"), ("role", "b")), NOW, "")
    frame = wire.write(Type.TICKET, PROJECT, fields, [])
    assert refusal(armoured(frame + primitives.sha256(wire.LABELS[Type.TICKET], frame))) is Reason.MALFORMED


@given(st.binary(max_size=300))
def test_any_bytes_are_a_ticket_or_rejected(noise: bytes) -> None:
    for text in (noise, ticket.BEGIN + noise, ticket.BEGIN + noise + ticket.END, armoured(noise)):
        refusal(text)


def test_a_request_by_ticket_is_admitted() -> None:
    verdict = ticket.judge(ASKED, ENTRY, NOW)
    assert isinstance(verdict, Admit)
    assert (verdict.request.member_id, verdict.request.name) == (WHO.member_id, "producer1")


def test_a_spent_ticket_gives_the_winner_the_same_answer_and_names_it_to_others() -> None:
    spent = TicketEntry(PROJECT, TICKET.ticket_id, TICKET.signing.public, TICKET.expiry, WHO.member_id)
    assert isinstance(ticket.judge(ASKED, spent, NOW), Same)
    assert isinstance(ticket.judge(ASKED, spent, NOW + YEAR), Same)
    verdict = ticket.judge(request.ask(TICKET, OTHER, "producer2", NOW), spent, NOW)
    assert isinstance(verdict, Refuse)
    assert (verdict.reason, verdict.winner) == (Reason.SPENT, WHO.member_id)


def test_a_request_is_judged_by_ticket_before_signatures_and_by_signatures_before_the_clock() -> None:
    assert judged(ASKED, None) is Reason.UNKNOWN_TICKET
    assert judged(ASKED, TicketEntry(PROJECT, bytes(16), ENTRY.public, ENTRY.expiry)) is Reason.UNKNOWN_TICKET
    assert judged(ASKED, TicketEntry(bytes(32), ENTRY.ticket_id, ENTRY.public, 0)) is Reason.OTHER_PROJECT
    stranger = TicketEntry(PROJECT, ENTRY.ticket_id, signing("stranger").public, 0)
    assert judged(ASKED, stranger) is Reason.UNKNOWN_SIGNER
    assert judged(ASKED, now=NOW - 5 * MINUTE - 1) is Reason.AHEAD
    assert judged(ASKED, now=TICKET.expiry + 1) is Reason.EXPIRED


def test_an_altered_bit_anywhere_in_a_request_is_refused() -> None:
    for bit in range(len(ASKED) * 8):
        altered = bytearray(ASKED)
        altered[bit // 8] ^= 1 << bit % 8
        assert isinstance(ticket.judge(bytes(altered), ENTRY, NOW), Refuse)


@given(st.binary(max_size=300))
def test_any_bytes_are_judged(noise: bytes) -> None:
    for statement in (noise, ASKED[:41] + noise):
        assert isinstance(ticket.judge(statement, ENTRY, NOW), Refuse)
