"""What a ledger tells of senders: stretches that touch, and every doubt about them said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sealwire.keys import order as orders
from sealwire.keys.delivery import Delivered, Delivery
from sealwire.keys.order import Expected, Kind
from sealwire.keys.provenance import Provenance, Sender, Stretch, Told
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.standing import Cursor

SOURCE = SourcePartition("orders", "berlin", "orders", bytes(16), 3)
A, B = bytes([1] * 32), bytes([2] * 32)
ID = bytes([7] * 16)


@dataclass
class Ledger:
    """Delivery records, one after the other."""

    found: Provenance = field(default_factory=Provenance)
    at: int = 1000

    def __call__(self, first: int, following: int, sink: tuple[int, int], sender: bytes = A, **more: Any) -> None:
        source, self.at = more.get("source", SOURCE), self.at + 1
        done = Delivered(
            Span(first, following),
            sender,
            more.get("session", bytes(32)),
            bytes(32),
            "c",
            more.get("sink_topic_id", ID),
            source.partition,
            *sink,
            sink[1],
        )
        delivery = Delivery(Cursor(source, following), done)
        self.found.tell(Told(more.get("topic", "orders"), delivery, self.at, more.get("fenced", True)))

    def rewound(self, to: int) -> None:
        stood = Cursor(SOURCE, 500)
        order = orders.give(Kind.REWIND, SOURCE, Expected.of(stood), to, "anna", "a disk", 5, bytes)
        after = orders.apply(stood, order)
        assert after is not None
        self.found.tell(Told("orders", Delivery(after, None, order), self.at, fenced=True))

    def of(self, sender: bytes = A) -> Sender:
        return self.found.senders[sender]

    def stretches(self, sender: bytes = A) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        return [((e.span.first, e.span.next), (e.sink.first, e.sink.next)) for e in self.of(sender).stretches]

    def only(self, sender: bytes = A) -> Stretch:
        (found,) = self.of(sender).stretches
        return found


def test_deliveries_that_touch_at_both_ends_are_one_stretch() -> None:
    told = Ledger()
    told(0, 10, (100, 110))
    told(10, 25, (111, 120), session=bytes([5] * 32))  # behind the marker of the transaction before
    told(25, 30, (120, 125), session=bytes([5] * 32))
    assert told.stretches() == [((0, 30), (100, 125))]
    found = told.only()
    assert (found.deliveries, found.sessions, found.first_at, found.last_at) == (3, 2, 1001, 1003)
    assert (found.lost, found.again, found.shared) == (False, False, False)
    sender = told.of()
    assert (sender.deliveries, sender.offsets, sender.lost, len(sender.sessions)) == (3, 30, 0, 2)
    assert sender.sessions[bytes([5] * 32)].first_at == 1002


def test_envelopes_of_one_round_share_its_sink_offsets() -> None:
    told = Ledger()
    for first in (0, 10, 20):
        told(first, first + 10, (100, 130))
    assert told.stretches() == [((0, 30), (100, 130))]


def test_source_offsets_that_were_passed_are_in_no_stretch() -> None:
    told = Ledger()
    told(0, 10, (100, 110))
    told(15, 20, (111, 116))  # a person accepted the gap before it
    assert told.stretches() == [((0, 10), (100, 110)), ((15, 20), (111, 116))]


def test_what_others_wrote_between_is_not_taken_for_the_member_s() -> None:
    told = Ledger()
    told(0, 10, (100, 110))
    told(10, 20, (112, 122))
    assert told.stretches() == [((0, 10), (100, 110)), ((10, 20), (112, 122))]


def test_outside_transactions_no_marker_lies_between_so_nothing_may() -> None:
    told = Ledger()
    told(0, 10, (100, 110), fenced=False)
    told(10, 20, (110, 120), fenced=False)
    told(20, 30, (121, 131), fenced=False)
    assert told.stretches() == [((0, 20), (100, 120)), ((20, 30), (121, 131))]
    assert told.found.unfenced == 3


def test_source_offsets_that_another_member_sealed_are_that_member_s() -> None:
    told = Ledger()
    told(0, 10, (100, 110))
    told(10, 20, (111, 121), B)
    told(20, 30, (122, 132))
    assert told.stretches() == [((0, 10), (100, 110)), ((20, 30), (122, 132))]
    assert told.stretches(B) == [((10, 20), (111, 121))]


def test_a_round_with_envelopes_of_two_members_is_shared() -> None:
    told = Ledger()
    told(0, 10, (100, 120))
    told(10, 20, (100, 120), B)
    assert (told.only().shared, told.only(B).shared) == (True, True)
    told(20, 30, (121, 131), B)
    assert told.stretches(B) == [((10, 30), (100, 131))]
    assert told.only(B).shared


def test_the_part_that_was_there_already_is_not_told_again() -> None:
    told = Ledger()
    told(0, 10, (100, 110), B)
    told(5, 20, (111, 121))  # of an envelope that overlaps, only the rest was delivered
    assert told.stretches() == [((10, 20), (111, 121))]
    assert told.of().offsets == 10


def test_what_was_delivered_again_is_told_as_such() -> None:
    told = Ledger()
    told(0, 10, (100, 110), fenced=False)
    told(0, 10, (110, 120), fenced=False)
    told(10, 20, (120, 130), fenced=False)
    assert [(each.span, each.again) for each in told.of().stretches] == [
        (Span(0, 10), False), (Span(0, 10), True), (Span(10, 20), False),
    ]  # fmt: skip


def test_an_older_delivery_told_again_moves_nothing_back() -> None:
    told = Ledger()
    told(0, 10, (100, 110), fenced=False)
    told(0, 5, (110, 115), fenced=False)
    told(5, 20, (115, 130), B, fenced=False)
    assert told.stretches(B) == [((10, 20), (115, 130))]


def test_after_a_rewind_the_same_offsets_are_delivered_and_not_trimmed() -> None:
    told = Ledger()
    told(0, 100, (0, 100))
    told.rewound(50)
    told(40, 60, (101, 111), B)
    assert told.stretches(B) == [((50, 60), (101, 111))]
    assert not told.only(B).again


def test_what_a_source_lost_is_the_sender_s_word_and_nowhere_at_the_sink() -> None:
    told = Ledger()
    told(0, 10, (100, 110))
    told(10, 20, (110, 110))
    told(20, 25, (110, 110))
    told(25, 30, (111, 116))
    assert [(each.span, each.lost) for each in told.of().stretches] == [
        (Span(0, 10), False), (Span(10, 25), True), (Span(25, 30), False),
    ]  # fmt: skip
    assert (told.of().offsets, told.of().lost) == (15, 15)


def test_a_sink_topic_made_anew_begins_a_new_stretch() -> None:
    told = Ledger()
    told(0, 10, (0, 10))
    told(10, 20, (10, 20), sink_topic_id=bytes(16))
    assert len(told.stretches()) == 2


def test_source_partitions_and_sink_topics_are_kept_apart() -> None:
    told = Ledger()
    other = SourcePartition("orders", "oslo", "orders", bytes(16), 3)
    told(0, 10, (0, 10))
    told(10, 20, (10, 20), source=other)
    told(10, 20, (10, 20), topic="copy")
    assert len(told.stretches()) == 3
    assert len(told.of().places) == 3


def test_only_the_channel_and_the_stretches_that_are_asked_for_are_kept() -> None:
    told = Ledger(Provenance(lambda sender: sender == B, "orders"))
    told(0, 10, (0, 10))
    told(10, 20, (10, 20), B)
    told(20, 30, (20, 30))
    told(0, 10, (0, 10), B, source=SourcePartition("erp", "berlin", "x", bytes(16), 0))
    assert told.stretches() == []
    assert told.of().deliveries == 2  # the totals of all, so that senders can be listed
    assert told.stretches(B) == [((10, 20), (10, 20))]


def test_a_ledger_that_is_read_from_its_middle_takes_the_first_span_as_it_is() -> None:
    told = Ledger()
    told(700, 800, (5, 105))
    assert told.stretches() == [((700, 800), (5, 105))]
