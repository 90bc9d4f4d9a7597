"""The words on a source partition: which of them may be forgotten, and when a topic is no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from vector_world import NOW, seeded

from sealwire.keys.progress import State
from sealwire.keys.wire import SKEW
from sealwire.keys.word import Topic, Word, kept

NEWEST = Word(seeded("new"), seeded("anna"), NOW, NOW + 60_000, 1, NOW, NOW, NOW, False, 9, 9, State.LIVE)  # noqa: FBT003
OLDER = replace(NEWEST, session_id=seeded("old"), member_id=seeded("bert"))
LONG = NOW + 10 * SKEW  # the end of a session that lives on


def remains(word: Word, now: int = NOW) -> bool:
    return word.session_id in kept({each.session_id: each for each in (NEWEST, word)}, now)


@pytest.mark.parametrize(("age", "stays"), [(SKEW, True), (SKEW + 1, False)])
def test_contemporaries_of_the_newest_word_stay_even_when_their_session_is_over(age: int, stays: bool) -> None:  # noqa: FBT001
    assert remains(replace(OLDER, as_of=NOW - age, not_after=0)) is stays


@pytest.mark.parametrize(("over", "stays"), [(SKEW, True), (SKEW + 1, False)])
def test_an_older_word_stays_until_its_session_is_over_by_every_clock(over: int, stays: bool) -> None:  # noqa: FBT001
    assert remains(replace(OLDER, as_of=0, not_after=NOW), NOW + over) is stays


@pytest.mark.parametrize(("before", "stays"), [(2 * SKEW, True), (2 * SKEW + 1, False)])
def test_of_a_sender_an_older_session_goes_when_it_spoke_much_later_in_another(before: int, stays: bool) -> None:  # noqa: FBT001
    older = replace(OLDER, as_of=NOW - before, not_after=LONG)
    assert remains(replace(older, member_id=NEWEST.member_id)) is stays
    assert remains(older), "whoever else spoke later says nothing of this sender"


def test_the_newest_word_stays_when_its_session_is_long_over() -> None:
    assert kept({NEWEST.session_id: NEWEST}, NOW + 10**12) == {NEWEST.session_id: NEWEST}


def test_a_topic_is_gone_once_it_was_said_unless_it_was_said_to_be_there_more_than_two_clocks_later() -> None:
    topic = Topic(1, NEWEST.age, NOW)
    assert not topic.gone
    assert not replace(topic, said_there=0).gone
    assert replace(topic, said_gone=0).gone, "however old the word is"
    assert replace(topic, said_gone=NOW, said_there=NOW + SKEW).gone
    assert not replace(topic, said_gone=NOW, said_there=NOW + SKEW + 1).gone


@pytest.mark.parametrize(("over", "lives"), [(SKEW, True), (SKEW + 1, False)])
def test_a_session_lives_until_it_is_over_by_a_clock_behind_ours_or_says_its_last_word(over: int, lives: bool) -> None:  # noqa: FBT001
    assert replace(NEWEST, not_after=NOW).live(NOW + over) is lives
    assert not replace(NEWEST, final=True).live(NOW)
