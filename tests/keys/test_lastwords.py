"""Which sessions are done with, by what they said last and where the cursors are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import vector_world as world
from hypothesis import given
from hypothesis import strategies as st
from vector_world import NOW, seeded

from sealwire.keys import lastwords
from sealwire.keys.lastwords import LastWords
from sealwire.keys.progress import PartitionProgress, Progress, State, TopicProgress
from sealwire.keys.source import SourcePartition
from sealwire.keys.wire import SKEW

if TYPE_CHECKING:
    import pytest

    from sealwire.keys.session import InboundSession

SESSION = replace(world.inbound(world.outbound(made_at=NOW)), channel="orders", site="berlin")
ONE, TWO = (replace(SESSION, id=seeded(name)) for name in ("one", "two"))
LOWEST, HIGHEST = (replace(SESSION, id=bytes((byte,)) * 32) for byte in (0, 255))


def source(partition: int = 0) -> SourcePartition:
    return SourcePartition("orders", "berlin", "orders", bytes(16), partition)


def word(number: int, *nexts: int, at: int | None = None, final: bool = False, first: int = 0) -> Progress:
    rows = tuple(PartitionProgress(first + each, said, said, State.LIVE) for each, said in enumerate(nexts))
    as_of = NOW + number if at is None else at
    return Progress(b"", number, as_of, as_of, final, (TopicProgress("orders", bytes(16), 9, rows),))


def heard(*words: tuple[Progress, InboundSession]) -> LastWords:
    known = LastWords()
    for progress, session in words:
        known = known.heard(progress, session)
    return known


def test_a_session_is_done_when_every_cursor_is_at_its_last_word() -> None:
    known = heard((word(1, 100, 200), ONE), (word(2, 110, 200, final=True), ONE))
    assert known.done({source(0): 110, source(1): 200}) == {ONE.id}
    assert known.done({source(0): 111, source(1): 999}) == {ONE.id}
    for cursors in ({source(0): 109, source(1): 200}, {source(0): 110}, {source(0): 110, source(1): None}):
        assert known.done(cursors) == frozenset()


def test_a_source_partition_of_which_nothing_was_sealed_needs_no_cursor() -> None:
    known = heard((word(1, 0, 110, final=True), ONE))
    assert known.done({source(1): 110}) == {ONE.id}
    assert known.done({source(0): None, source(1): 110}) == {ONE.id}
    assert heard((word(1, 1, final=True), ONE)).done({}) == frozenset()


OVER = ONE.not_after + SKEW


def test_a_session_without_a_last_word_is_overtaken_when_others_spoke_since_and_all_is_delivered() -> None:
    later = word(1, 120, 200, at=OVER + 1)
    known = heard((word(1, 100), ONE), (later, TWO))
    assert known.overtaken([ONE], {source(0): 120, source(1): 200}, OVER + 1) == {ONE.id}
    assert known.overtaken([ONE], {source(0): 120, source(1): 200}, OVER) == frozenset()  # it may live by another clock
    assert known.overtaken([ONE], {source(0): 119, source(1): 200}, OVER + 1) == frozenset()
    assert known.overtaken([ONE], {source(0): 120}, OVER + 1) == frozenset()  # not named by it, and perhaps begun in it


def test_a_session_is_not_overtaken_by_words_of_its_own_time_nor_where_one_source_partition_has_no_newer_word() -> None:
    known = heard((word(1, 100, 100), ONE), (word(1, 120, at=OVER + 1), TWO))
    assert known.overtaken([ONE], {source(0): 120, source(1): 100}, OVER + 1) == frozenset()
    known = heard((word(1, 100), ONE), (word(1, 100, at=OVER), TWO))
    assert known.overtaken([ONE], {source(0): 100}, OVER + 1) == frozenset()
    assert heard((word(1, 100), ONE)).overtaken([ONE], {source(0): 100}, OVER + 1) == frozenset()


def test_a_session_is_overtaken_where_nothing_was_sealed_at_all_and_not_where_the_first_offset_is_still_to_come() -> (
    None
):
    assert heard((word(1, 0, at=OVER + 1), TWO)).overtaken([ONE], {}, OVER + 1) == {ONE.id}
    assert heard((word(1, 1, at=OVER + 1), TWO)).overtaken([ONE], {source(0): None}, OVER + 1) == frozenset()


def test_a_session_of_which_too_much_was_said_to_be_kept_is_not_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lastwords, "MOST", 1)
    known = heard((word(1, 1, 1), ONE), (word(1, 1, at=OVER + 1), TWO))
    assert known.overtaken([ONE], {source(0): 1}, OVER + 1) == frozenset()
    assert known.overtaken([replace(ONE, id=seeded("three"))], {source(0): 1}, OVER + 1) == {seeded("three")}


def test_a_session_that_was_never_heard_of_is_overtaken_like_others_and_one_of_another_site_is_not() -> None:
    known = heard((word(1, 5, at=OVER + 1), TWO))
    assert known.overtaken([ONE], {source(0): 5}, OVER + 1) == {ONE.id}
    assert known.overtaken([replace(ONE, site="oslo"), replace(ONE, channel="bills")], {}, OVER + 1) == frozenset()


def test_a_session_without_a_last_word_is_never_done() -> None:
    known = heard((word(1, 100), ONE))
    assert known.done({source(): 1 << 40}) == frozenset()


def test_a_session_that_named_nothing_is_done_with_its_last_word() -> None:
    assert heard((word(1), ONE)).done({}) == frozenset()
    assert heard((word(1, final=True), ONE)).done({}) == {ONE.id}


def test_what_a_session_gave_up_before_its_end_is_done_when_the_cursor_is_past_the_word_of_another_since() -> None:
    gave_up = ((word(1, 100, at=NOW), ONE), (word(2, final=True, at=NOW + 9), ONE))
    reached = {source(): 130}
    assert heard(*gave_up).done(reached) == frozenset()
    for other in (LOWEST, HIGHEST):
        assert heard((word(1, 120, at=NOW), other), *gave_up).done(reached) == frozenset()
        known = heard(*gave_up, (word(1, 120, at=NOW + 1), other))
        assert known.done({source(): 120}) == {ONE.id}
    assert known.done({source(): 119}) == frozenset()


def test_a_sessions_own_words_are_none_of_another_however_they_are_dated() -> None:
    words = ((word(1, 90, at=NOW + 9), ONE), (word(2, 100, at=NOW), ONE), (word(3, final=True, at=NOW), ONE))
    assert heard(*words).done({source(): 100}) == frozenset()


def test_an_older_word_served_again_changes_nothing() -> None:
    words = ((word(1, 100), ONE), (word(2, 110, final=True), ONE))
    assert heard(*words, words[0]) == heard(*words) == heard(*words[::-1])


def test_a_second_last_word_of_a_higher_number_counts() -> None:
    known = heard((word(2, 110, final=True), ONE), (word(3, 120, final=True), ONE))
    assert known.done({source(): 119}) == frozenset()
    assert known.done({source(): 120}) == {ONE.id}
    assert heard((word(3, 120, final=True), ONE), (word(2, 110, final=True), ONE)) == known
    gave_up = heard((word(2, 110, final=True), ONE), (word(3, final=True), ONE))
    assert gave_up.done({source(): 110}) == frozenset()
    first = heard((word(0, 7, final=True), ONE))
    assert first.done({source(): 7}) == {ONE.id}
    assert first.heard(word(1), ONE) == heard((word(1), ONE), (word(0, 7, final=True), ONE))


def test_what_is_not_held_any_more_is_forgotten() -> None:
    known = heard((word(1, 100), ONE), (word(1, 100, first=1), TWO))
    left = known.forget({TWO.id})
    assert left == heard((word(1, 100, first=1), TWO))
    assert left.forget({TWO.id}) is left
    assert left.forget(()) == LastWords()


def test_a_session_that_there_is_no_room_for_is_never_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lastwords, "MOST", 2)
    known = heard((word(1, 1, 1), ONE), (word(2, 1, 1, final=True), ONE), (word(1, 1, final=True), TWO))
    assert known.size == len(known.newest) == 2
    assert known.done({source(0): 1, source(1): 1}) == {ONE.id}
    grown = heard((word(1, 1, 1), ONE), (word(2, 1, 1, 1, final=True), ONE))
    assert grown.size == 0
    assert len(grown.newest) == 2
    assert grown.done({source(each): 1 for each in range(3)}) == frozenset()
    again = grown.heard(word(3, 1, final=True), ONE)
    assert again.done({source(each): 1 for each in range(3)}) == frozenset()
    assert again.size == 0
    monkeypatch.setattr(lastwords, "MOST", 1)
    full = heard((word(1, 5, first=5), TWO)).forget(())
    assert full == LastWords()
    full = LastWords(newest=heard((word(1, 5, first=5), TWO)).newest)
    assert full.heard(word(1, 1), ONE).heard(word(2, final=True), ONE).done({source(): 9}) == frozenset()
    assert LastWords(newest=known.newest).heard(word(9, 5, at=NOW + 99), TWO).newest[source()].next == 5


def test_the_room_is_as_stated() -> None:
    assert lastwords.MOST == 131_072


@given(st.permutations(range(4)))
def test_any_order_of_the_same_words_comes_to_the_same(order: list[int]) -> None:
    words = ((word(1, 100, 7), ONE), (word(2, 110, final=True), ONE), (word(1, 9, first=1, at=NOW + 5), TWO))
    words = (*words, (word(2, 8, first=1, at=NOW + 4), TWO))
    assert heard(*(words[each] for each in order)) == heard(*words)
