"""What senders have stated, in whatever order it comes, and what is stale."""

from __future__ import annotations

from dataclasses import replace

import pytest
import vector_world as world
from hypothesis import given
from hypothesis import strategies as st
from vector_world import NOW, seeded

from sealwire.keys.outlook import LATE, MOST, UNNAMED, Awaited, Outlook, Sign, SourceTopic, Stale
from sealwire.keys.progress import PartitionProgress, Progress, State, TopicProgress
from sealwire.keys.secrets import HOLD
from sealwire.keys.session import LIFE
from sealwire.keys.source import SourcePartition
from sealwire.keys.wire import SKEW

SECOND, MINUTE, YEAR = 1000, 60_000, 365 * 24 * 3600 * 1000
STALE_AFTER = MINUTE
SESSION = replace(world.inbound(world.outbound(made_at=NOW)), channel="orders", site="berlin")
TOPIC = SourceTopic("orders", "berlin", "orders", bytes(16))
SOURCE = TOPIC.partition(0)
BEGUN = Outlook(NOW)


def session(name: str = "one", *, member: str = "anna", made_at: int = NOW) -> object:
    life = {"made_at": made_at, "not_after": made_at + LIFE}
    return replace(SESSION, id=seeded(name), member_id=seeded(member), **life)


def said(  # noqa: PLR0913
    following: int | None = 100,
    *,
    number: int = 1,
    at: int = NOW,
    within: int = MINUTE,
    final: bool = False,
    state: State = State.LIVE,
    count: int = 1,
    partition: int = 0,
) -> Progress:
    partitions = () if following is None else (PartitionProgress(partition, following, following, state),)
    return Progress(b"", number, at, at + within, final, (TopicProgress("orders", bytes(16), count, partitions),))


def heard(*words: Progress, now: int = NOW, of: object = None, outlook: Outlook = BEGUN) -> Outlook:
    for word in words:
        outlook = outlook.heard(word, of or session(), now)  # type: ignore[arg-type]
    return outlook


def sign(outlook: Outlook, now: int, *, cursor: int | None = 100, awaited: Awaited | None = None) -> Sign | None:
    awaited = outlook.awaited(SOURCE, cursor, awaited, now)
    found = outlook.stale(SOURCE, awaited, now, STALE_AFTER)
    return None if found is None else found.sign


# What is kept


def test_of_a_session_the_word_of_the_highest_number_counts() -> None:
    outlook = heard(said(100, number=1), said(300, number=3), said(200, number=2), said(300, number=3))
    assert outlook.reached(SOURCE, NOW) == 300
    assert outlook == heard(said(300, number=3), said(100, number=1), said(200, number=2))


def test_how_far_it_is_sealed_is_the_highest_of_all_live_sessions() -> None:
    outlook = heard(said(100, at=NOW + 1), of=session("two", member="bert"), outlook=heard(said(150)))
    assert outlook.reached(SOURCE, NOW) == 150
    assert outlook.reached(SOURCE, NOW + LIFE + SKEW) == 150
    assert outlook.reached(SOURCE, NOW + LIFE + SKEW + 1) == 100


def test_the_newest_word_counts_after_its_session_too() -> None:
    outlook = heard(said(100, final=True))
    later = NOW + HOLD
    assert outlook.forget(later).reached(SOURCE, later) == 100


def test_a_final_word_ends_its_session() -> None:
    outlook = heard(said(150, final=True))
    assert outlook.speaker(SOURCE, NOW) is None
    after = heard(said(140, at=NOW + 1), of=session("two"), outlook=outlook)
    assert after.reached(SOURCE, NOW) == 140
    assert after.speaker(SOURCE, NOW) == after.newest(SOURCE)


def test_an_older_word_of_a_session_that_ended_is_not_its_last_one_when_it_is_served_again() -> None:
    outlook = heard(said(150, number=1), said(150, number=2, final=True))
    outlook = heard(said(140, at=NOW + 2 * SKEW), of=session("two"), outlook=outlook, now=NOW + 2 * SKEW)
    outlook = heard(said(150, number=1), outlook=outlook, now=NOW + 2 * SKEW)
    assert outlook.reached(SOURCE, NOW + 2 * SKEW) == 140


def test_the_newest_live_session_is_whom_to_ask() -> None:
    outlook = heard(said(100), of=session("one"))
    outlook = heard(said(90, at=NOW + 1), of=session("two", member="bert"), outlook=outlook)
    speaker = outlook.speaker(SOURCE, NOW)
    assert speaker is not None
    assert (speaker.session_id, speaker.member_id) == (seeded("two"), seeded("bert"))
    assert outlook.speaker(replace(SOURCE, partition=1), NOW) is None
    assert outlook.speaker(SOURCE, NOW + LIFE + SKEW + 1) is None


def test_a_floor_is_confirmed_by_the_newest_session_that_names_exactly_this_next() -> None:
    outlook = heard(said(100), of=session("one", made_at=NOW))
    outlook = heard(said(100), of=session("two", made_at=NOW + 7), outlook=outlook)
    outlook = heard(said(101), of=session("three", made_at=NOW + 9), outlook=outlook)
    assert outlook.confirmed_by(SOURCE, 100) == NOW + 7
    assert outlook.confirmed_by(SOURCE, 99) == outlook.confirmed_by(SOURCE, None) == 0


def refuses(*members: str) -> object:
    return lambda member_id, made_at: member_id in map(seeded, members) and made_at >= NOW


def test_what_a_refused_member_said_does_not_count_any_more() -> None:
    anna = heard(said(100), of=session("one", member="anna"))
    both = heard(said(900, at=NOW + 1, count=7), of=session("two", member="bert"), outlook=anna)
    left = both.without(refuses("bert"))
    assert left.reached(SOURCE, NOW) == 100
    assert left.speaker(SOURCE, NOW) == anna.newest(SOURCE)
    assert left.confirmed_by(SOURCE, 900) == 0
    assert left.size == 1
    assert (
        heard(said(101, number=2, at=NOW + 1), of=session("one", member="anna"), outlook=left).topics[TOPIC].count == 1
    )
    assert both.without(refuses("carl")) is both
    before = heard(said(900, at=NOW + 1), of=session("two", member="bert", made_at=NOW - 1), outlook=anna)
    assert before.without(refuses("bert")) is before
    assert both.without(refuses("anna", "bert")) == BEGUN


def test_a_topic_is_not_gone_nor_counted_by_the_word_of_a_refused_member() -> None:
    anna = heard(said(100), of=session("one", member="anna"))
    gone = heard(
        said(100, at=NOW + 2 * SKEW, state=State.GONE, partition=1, count=2),
        of=session("2", member="bert"),
        outlook=anna,
    )
    assert gone.topics[TOPIC].gone
    left = gone.without(refuses("bert"))
    assert not left.topics[TOPIC].gone
    assert list(left.sources()) == [SOURCE]
    gone = heard(said(100, state=State.GONE), of=session("one", member="anna"))
    there = heard(said(5, at=NOW + 2 * SKEW), of=session("2", member="bert"), outlook=gone)
    assert not there.topics[TOPIC].gone
    assert there.without(refuses("bert")).topics[TOPIC].gone
    counted = heard(said(None, count=5), of=session("2", member="bert"))
    assert counted.without(refuses("bert")) == BEGUN
    assert counted.without(refuses("anna")) is counted
    told = heard(said(100, number=2, at=NOW + 1), of=session("one", member="anna"), outlook=counted)
    assert told.without(refuses("bert")) is told


def test_the_words_of_another_channel_site_or_topic_are_of_another_source_partition() -> None:
    outlook = heard(said(100))
    for changed in ({"channel": "b"}, {"site": "b"}, {"topic": "b"}, {"topic_id": b"b" * 16}, {"partition": 1}):
        assert outlook.newest(replace(SOURCE, **changed)) is None
    assert list(outlook.sources()) == [SOURCE]


def test_of_a_sender_only_its_late_sessions_are_kept() -> None:
    outlook = BEGUN
    for turn in range(50):
        at = NOW + turn * 10 * MINUTE
        outlook = heard(said(turn, at=at), of=session(str(turn), made_at=at), now=at, outlook=outlook)
        assert len(outlook.words(SOURCE)) <= 2


def test_a_session_that_is_over_is_forgotten_also_where_nothing_more_is_heard() -> None:
    soon = NOW + SKEW + 1
    outlook = heard(said(100, at=soon), of=session("two", member="bert"), now=soon, outlook=heard(said(100)))
    assert outlook.forget(NOW + LIFE + SKEW) == outlook
    assert set(outlook.forget(NOW + LIFE + SKEW + 1).words(SOURCE)) == {seeded("two")}


def test_what_is_gone_is_forgotten_when_no_older_session_can_be_opened_any_more() -> None:
    outlook = heard(said(100, state=State.GONE))
    assert outlook.forget(NOW + HOLD).newest(SOURCE) is not None
    assert outlook.forget(NOW + HOLD + 2 * SKEW + 1) == BEGUN
    assert heard(said(100)).forget(NOW + YEAR).newest(SOURCE) is not None  # only gone ends a duty


def test_source_partitions_beyond_the_most_are_not_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwire.keys.outlook.MOST", 2)
    outlook = heard(*(said(100, number=number, count=9, partition=number) for number in range(5)))
    assert outlook.size == len(list(outlook.sources())) == 2
    other = Progress(b"", 9, NOW, NOW, False, (TopicProgress("b", bytes(16), 1, ()),))
    assert heard(other, outlook=outlook) == outlook


def test_the_bounds_are_those_that_are_documented() -> None:
    assert (LATE, MOST, UNNAMED) == (5_000, 2**17, 64)


def test_what_is_full_takes_up_no_other_topic_and_no_other_partition_and_still_hears_of_those_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sealwire.keys.outlook.MOST", 2)
    outlook = heard(said(100, count=9), said(100, number=2, count=9, partition=1))
    both = tuple(PartitionProgress(number, 700, 700, State.LIVE) for number in (2, 0, 1))
    outlook = heard(
        Progress(b"", 3, NOW, NOW, False, (TopicProgress("b", bytes(16), 9, both),)),
        Progress(b"", 3, NOW, NOW, False, (TopicProgress("orders", bytes(16), 9, both),)),
        outlook=outlook,
    )
    assert outlook.size == 2
    assert [outlook.reached(TOPIC.partition(number), NOW) for number in range(3)] == [700, 700, None]


def test_of_one_word_as_many_partitions_are_taken_up_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwire.keys.outlook.MOST", 3)
    many = tuple(PartitionProgress(number, 700, 700, State.LIVE) for number in range(5))
    word = Progress(b"", 2, NOW, NOW, False, (TopicProgress("orders", bytes(16), 5, many),))
    outlook = heard(word, outlook=heard(said(100, count=5, partition=1)))
    assert outlook.size == 3
    assert [source.partition for source in outlook.sources()] == [1, 0, 2]


def test_of_several_topics_in_one_word_a_full_one_does_not_hide_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwire.keys.outlook.MOST", 1)
    outlook = heard(said(100))
    words = tuple(
        TopicProgress(topic, bytes(16), 1, (PartitionProgress(0, 500, 500, State.LIVE),)) for topic in ("b", "orders")
    )
    outlook = heard(Progress(b"", 2, NOW, NOW, False, words), outlook=outlook)
    assert outlook.reached(SOURCE, NOW) == 500


def test_size_counts_what_is_kept_when_it_is_heard_and_when_it_is_forgotten() -> None:
    outlook = heard(said(1, count=3), said(1, number=2, count=3, partition=2), said(2, number=3, count=3))
    assert outlook.size == 2
    assert outlook.forget(NOW).size == 2
    assert outlook.forget(NOW) == outlook


def test_a_topic_that_is_gone_is_forgotten_to_the_millisecond_and_others_behind_it_are_not() -> None:
    gone = heard(said(100, state=State.GONE))
    other = TopicProgress("z", bytes(16), 1, (PartitionProgress(0, 5, 5, State.LIVE),))
    both = heard(Progress(b"", 2, NOW, NOW, False, (other,)), outlook=gone)
    assert both.forget(NOW + HOLD + 2 * SKEW).size == 2
    later = both.forget(NOW + HOLD + 2 * SKEW + 1)
    assert [source.topic for source in later.sources()] == ["z"]
    assert later.size == 1


# What is stale


def test_nothing_is_stale_where_the_cursor_is_and_words_come() -> None:
    outlook = BEGUN
    for turn in range(20):
        now = NOW + turn * MINUTE // 2
        outlook = heard(said(100, number=turn, at=now), now=now, outlook=outlook)
        assert sign(outlook, now + MINUTE // 2) is None


def test_a_withheld_tail_is_stale_half_of_stale_after_from_the_word_on_it() -> None:
    outlook = heard(said(101))
    awaited = outlook.awaited(SOURCE, 100, None, NOW)
    assert awaited == Awaited(101, NOW)
    assert outlook.stale(SOURCE, awaited, NOW + STALE_AFTER // 2, STALE_AFTER) is None
    found = outlook.stale(SOURCE, awaited, NOW + STALE_AFTER // 2 + 1, STALE_AFTER)
    assert found is not None
    assert (found.sign, found.since, found.word) == (Sign.BEHIND, NOW, outlook.newest(SOURCE))
    assert sign(outlook, NOW + STALE_AFTER // 2 + 1, cursor=101, awaited=awaited) is None


def test_a_tail_that_grows_while_it_is_withheld_is_stale_as_soon() -> None:
    outlook, awaited = BEGUN, None
    for turn in range(40):
        now = NOW + turn * SECOND
        outlook = heard(said(101 + turn, number=turn, at=now), now=now, outlook=outlook)
        awaited = outlook.awaited(SOURCE, 100, awaited, now)
        found = outlook.stale(SOURCE, awaited, now, STALE_AFTER)
        assert (found is not None) == (turn * SECOND > STALE_AFTER // 2)


def test_a_cursor_that_follows_is_not_stale_however_fast_its_source_is() -> None:
    outlook, awaited = BEGUN, None
    for turn in range(1, 100):
        now = NOW + turn * SECOND
        outlook = heard(said(turn * 1000, number=turn, at=now), now=now, outlook=outlook)
        awaited = outlook.awaited(SOURCE, (turn - 5) * 1000, awaited, now)
        assert outlook.stale(SOURCE, awaited, now, STALE_AFTER) is None


def test_a_source_partition_that_is_withheld_from_birth_is_awaited_from_offset_0() -> None:
    outlook = heard(said(5))
    assert sign(outlook, NOW + MINUTE, cursor=None, awaited=Awaited(5, NOW)) is Sign.BEHIND
    assert outlook.awaited(SOURCE, None, None, NOW) == Awaited(5, NOW)
    assert heard(said(0)).awaited(SOURCE, None, None, NOW) is None


def test_a_sender_that_does_not_speak_when_due_makes_stale_five_seconds_later() -> None:
    outlook = heard(said(100))
    assert sign(outlook, NOW + MINUTE + LATE) is None
    assert sign(outlook, NOW + MINUTE + LATE + 1) is Sign.SILENT
    idle = heard(said(100, within=LIFE))
    assert sign(idle, NOW + LIFE + LATE) is None
    assert sign(idle, NOW + LIFE + LATE + 1) is Sign.SILENT


def test_a_final_word_does_not_end_the_duty() -> None:
    outlook = heard(said(100, final=True))
    assert sign(outlook, NOW + MINUTE + LATE + 1) is Sign.SILENT
    assert (
        sign(heard(said(100, at=NOW + MINUTE), now=NOW + MINUTE, of=session("two"), outlook=outlook), NOW + MINUTE * 2)
        is None
    )


def test_only_gone_ends_the_duty_and_never_what_was_stated_before() -> None:
    outlook = heard(said(100, number=1), said(100, number=2, state=State.GONE))
    assert sign(outlook, NOW + YEAR) is None
    assert sign(outlook, NOW + YEAR, cursor=99, awaited=Awaited(100, NOW)) is Sign.BEHIND


def test_a_topic_is_gone_with_all_its_partitions_whoever_said_so_of_one_until_somebody_says_otherwise() -> None:
    outlook = heard(said(100, count=2), of=session("two", member="bert"))
    outlook = heard(said(100, count=2, partition=1, state=State.GONE), outlook=outlook)
    assert sign(outlook, NOW + YEAR) is None
    assert list(outlook.unnamed(NOW + YEAR, STALE_AFTER)) == []
    soon, late = NOW + SKEW, NOW + SKEW + 1
    still = heard(said(100, number=2, at=soon, count=2, partition=1), now=soon, outlook=outlook)
    assert sign(still, NOW + YEAR) is None  # whose clock is right, nobody knows
    there = heard(said(100, number=3, at=late, count=2, partition=1), now=late, outlook=outlook)
    assert sign(there, NOW + YEAR) is Sign.SILENT


@pytest.mark.parametrize("state", [State.LIVE, State.SOURCE_AWAY, State.HELD])
def test_whoever_says_that_its_source_is_away_or_held_speaks_on(state: State) -> None:
    outlook = heard(said(100, state=state))
    assert sign(outlook, NOW + MINUTE) is None
    assert sign(outlook, NOW + MINUTE + LATE + 1) is Sign.SILENT


def test_without_any_word_a_known_source_partition_is_stale_as_long_after_listening_began() -> None:
    assert sign(BEGUN, NOW + STALE_AFTER + LATE) is None
    assert sign(BEGUN, NOW + STALE_AFTER + LATE + 1) is Sign.SILENT


def test_those_that_no_word_names_are_seen_through_the_counts_of_the_others() -> None:
    outlook = heard(said(100, count=4, partition=2))
    late = NOW + STALE_AFTER + LATE + 1
    assert list(outlook.unnamed(late - 1, STALE_AFTER)) == []
    found = list(outlook.unnamed(late, STALE_AFTER))
    assert [source.partition for source, _ in found] == [0, 1, 3]
    assert {stale.sign for _, stale in found} == {Sign.SILENT}
    assert next(iter(heard(said(None, count=1)).unnamed(late, STALE_AFTER)))[0] == SOURCE
    gone = heard(said(100, number=2, count=4, partition=2, state=State.GONE), outlook=outlook)
    assert list(gone.unnamed(late, STALE_AFTER)) == []


def test_a_topic_that_grew_is_given_time_and_a_count_beyond_belief_is_not_counted_out() -> None:
    grown = heard(said(100, number=2, at=NOW + 9, count=2), now=NOW + MINUTE, outlook=heard(said(100)))
    assert list(grown.unnamed(NOW + MINUTE + STALE_AFTER, STALE_AFTER)) == []
    assert len(list(heard(said(100, count=2**31)).unnamed(NOW + YEAR, STALE_AFTER))) == UNNAMED
    older = heard(said(100, number=1, at=NOW - 9, count=1), outlook=grown)
    assert [source.partition for source, _ in older.unnamed(NOW + YEAR, STALE_AFTER)] == [1]


@pytest.mark.parametrize("before", [State.LIVE, State.GONE])
def test_partitions_that_no_word_names_are_looked_for_behind_topics_that_have_none(before: State) -> None:
    other = TopicProgress("z", bytes(16), 2, (PartitionProgress(1, 5, 5, State.LIVE),))
    both = heard(Progress(b"", 2, NOW, NOW, False, (other,)), outlook=heard(said(100, state=before)))
    late = NOW + STALE_AFTER + LATE + 1
    ((source, stale),) = both.unnamed(late, STALE_AFTER)
    assert (source.topic, source.partition) == ("z", 0)
    assert (stale.since, stale.word) == (NOW, None)


def test_a_partition_that_is_counted_and_not_named_is_seen_however_many_beyond_the_count_are_named() -> None:
    outlook = heard(said(100, count=3, partition=1), said(100, number=2, count=3, partition=2))
    outlook = heard(said(None, number=3, at=NOW + 1, count=2), outlook=outlook)
    assert [source.partition for source, _ in outlook.unnamed(NOW + YEAR, STALE_AFTER)] == [0]


def test_the_newest_count_of_a_topic_counts_and_of_equally_new_ones_the_highest() -> None:
    late = NOW + YEAR

    def counted(*words: Progress) -> int:
        return len(list(heard(*words).unnamed(late, STALE_AFTER)))

    assert counted(said(None, count=3), said(None, number=2, at=NOW + 1, count=2)) == 2
    assert counted(said(None, number=2, at=NOW + 1, count=2), said(None, count=3)) == 2
    assert counted(said(None, count=2), said(None, count=3)) == 3
    assert counted(said(None, count=3), said(None, count=2)) == 3


def test_a_topic_that_did_not_grow_is_given_no_more_time() -> None:
    same = heard(said(None, number=2, at=NOW + 9, count=2), now=NOW + MINUTE, outlook=heard(said(None, count=2)))
    assert len(list(same.unnamed(NOW + STALE_AFTER + LATE + 1, STALE_AFTER))) == 2
    fewer = heard(said(None, number=3, at=NOW + 99, count=1), now=NOW + MINUTE, outlook=same)
    assert len(list(fewer.unnamed(NOW + STALE_AFTER + LATE + 1, STALE_AFTER))) == 1


def test_stale_says_since_when_and_by_which_word() -> None:
    outlook = heard(said(100))
    newest = outlook.newest(SOURCE)
    behind = outlook.stale(SOURCE, Awaited(100, NOW - MINUTE), NOW, STALE_AFTER)
    assert behind == Stale(Sign.BEHIND, NOW - MINUTE, newest)
    silent = outlook.stale(SOURCE, None, NOW + YEAR, STALE_AFTER)
    assert silent == Stale(Sign.SILENT, NOW + MINUTE, newest)
    assert BEGUN.stale(SOURCE, None, NOW + YEAR, STALE_AFTER) == Stale(Sign.SILENT, NOW, None)


def test_one_record_beyond_the_cursor_is_awaited_and_none_is_not() -> None:
    one = heard(said(1))
    assert one.awaited(SOURCE, None, None, NOW) == Awaited(1, NOW)
    assert one.awaited(SOURCE, 0, None, NOW) == Awaited(1, NOW)
    assert one.awaited(SOURCE, 1, None, NOW) is None
    assert heard(said(0)).awaited(SOURCE, None, None, NOW) is None
    assert BEGUN.awaited(SOURCE, None, None, NOW) is None
    assert heard(said(9)).awaited(SOURCE, 5, Awaited(5, NOW - 7), NOW) == Awaited(9, NOW), "what was awaited came"
    assert heard(said(9)).awaited(SOURCE, 5, Awaited(6, NOW - 7), NOW) == Awaited(6, NOW - 7)
    assert heard(said(9)).awaited(SOURCE, None, Awaited(1, NOW - 7), NOW) == Awaited(1, NOW - 7)


def test_contemporaries_of_the_newest_word_are_those_within_two_clocks() -> None:
    for apart, expected in ((SKEW, None), (SKEW + 1, Sign.SILENT)):
        early = heard(said(100, at=NOW, within=10 * MINUTE))
        outlook = heard(said(100, at=NOW + apart, within=0), of=session("two"), now=NOW, outlook=early)
        assert sign(outlook, NOW + 9 * MINUTE) is expected


# Clocks


@pytest.mark.parametrize("apart", [-SKEW, SKEW])
def test_a_sender_five_minutes_apart_is_heard_as_any_other(apart: int) -> None:
    outlook = heard(said(100, at=NOW + apart))
    assert sign(outlook, NOW + MINUTE + LATE - max(0, -apart - SKEW)) is None
    assert sign(outlook, NOW + MINUTE + LATE + 1) is Sign.SILENT


def test_of_two_senders_whose_clocks_differ_either_one_is_enough() -> None:
    ahead = heard(said(100, at=NOW + SKEW), of=session("ahead", member="bert"))
    outlook = ahead
    for turn in range(20):
        now = NOW + turn * MINUTE // 2
        outlook = heard(said(100, number=turn, at=now), now=now, outlook=outlook)
        assert sign(outlook, now + MINUTE // 2) is None
    assert sign(outlook, NOW + 11 * MINUTE) is Sign.SILENT


def test_words_that_the_cloud_kept_back_hide_nothing_for_longer_than_two_clocks_differ() -> None:
    kept_back = heard(said(100), now=NOW + 4 * MINUTE)
    assert sign(kept_back, NOW + 5 * MINUTE + LATE) is None
    assert sign(kept_back, NOW + 5 * MINUTE + LATE + 1) is Sign.SILENT
    assert sign(heard(said(100), now=NOW + 20 * MINUTE), NOW + 20 * MINUTE) is Sign.SILENT


def test_a_word_heard_again_is_due_as_before() -> None:
    outlook = heard(said(100), now=NOW + MINUTE, outlook=heard(said(100)))
    assert outlook == heard(said(100))


def test_our_own_clock_wrong_by_a_year_hides_nothing_once_it_is_right() -> None:
    outlook = heard(said(100), now=NOW + YEAR)
    assert sign(outlook, NOW + SKEW + MINUTE + LATE + 1) is Sign.SILENT
    awaited = heard(said(101), now=NOW + YEAR).awaited(SOURCE, 100, None, NOW + YEAR)
    right = heard(said(101), now=NOW).awaited(SOURCE, 100, awaited, NOW)
    assert right == Awaited(101, NOW)


# Any order


@st.composite
def spoken(draw: st.DrawFn) -> list[tuple[Progress, object]]:
    words = []
    for name in draw(st.sets(st.sampled_from("abcd"), min_size=1)):
        of = session(name, member=draw(st.sampled_from(["anna", "bert"])), made_at=NOW + draw(st.integers(0, SKEW)))
        count = draw(st.integers(1, 4))
        dates = sorted(draw(st.lists(st.integers(-3 * SKEW, 3 * SKEW), min_size=count, max_size=count)))
        for number in range(count):
            last = draw(st.booleans()) and number == count - 1
            at = NOW + dates[number]
            following = draw(st.none() | st.integers(0, 5))
            state = draw(st.sampled_from(State))
            partition = draw(st.integers(0, 1))
            words.append(
                (said(following, number=number, at=at, final=last, state=state, count=2, partition=partition), of)
            )
    return words


@given(spoken(), st.randoms(use_true_random=False), st.integers(-3 * SKEW, LIFE + 2 * SKEW))
def test_any_order_and_any_repetition_of_words_comes_to_the_same_outlook(
    words: list[tuple[Progress, object]], shuffler: object, ahead: int
) -> None:
    now = NOW + ahead
    once = BEGUN
    for word, of in words:
        once = heard(word, of=of, now=now, outlook=once)
    again = words * 2
    shuffler.shuffle(again)  # type: ignore[attr-defined]
    other = BEGUN
    for word, of in again:
        other = heard(word, of=of, now=now, outlook=other)
    assert other == once
    assert other.forget(now) == once.forget(now)


@given(spoken())
def test_what_was_heard_again_changes_nothing(words: list[tuple[Progress, object]]) -> None:
    outlook = BEGUN
    for word, of in words:
        outlook = heard(word, of=of, outlook=outlook)
    for word, of in words:
        assert heard(word, of=of, now=NOW + 1, outlook=outlook) == outlook


def test_a_source_partition_is_one_of_its_topic() -> None:
    assert SourcePartition("orders", "berlin", "orders", bytes(16), 0) == SOURCE
