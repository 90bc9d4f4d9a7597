"""Serving reseal requests: for whom, how much, in which order, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_world import ANNA, BERT, DAY, HOUR, MINUTE, NOW, PROJECT, ROOT_BYTES, Draws, flips, member

from sealwire.keys import charter, credential, primitives, reseal, serving, session
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.serving import BUDGET, LATELY, SLICE, Owned, Serving, Turn
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from statement_world import Member

CARL = member("carl", site="rome")
GUEST = member("guest", site="oslo", role="guest")
STRANGER = member("stranger", site="bonn")
READERS = (BERT, CARL)
OUTBOUND, SESSION = ANNA.session()
SOURCES = tuple(SourcePartition("orders", "berlin", "orders", b"t" * 16, number) for number in range(6))
SOURCE = SOURCES[0]
SPAN = Span(100, 250)
OWNED = {source: Owned("acme.orders", 1000) for source in SOURCES}
TRUST, _ = Trust.begin(ROOT_BYTES, NOW).learn(
    [each.credential_bytes for each in (ANNA, BERT, CARL, GUEST)] + [each.package for each in READERS], NOW
)
BEGUN = Serving().stated(OUTBOUND, SOURCES, NOW)
DRAWS = Draws("requests")
ALL = 1 << 40  # an offset that nothing reaches


def inbound(outbound: session.OutboundSession, statement: bytes, now: int = NOW) -> session.InboundSession:
    claim = session.read(statement, PROJECT, lambda inner: credential.read(inner, TRUST.root, now), now)
    return session.proven(claim, outbound.secret)


INBOUND = inbound(OUTBOUND, SESSION)


def asked(
    who: Member = BERT, source: SourcePartition = SOURCE, span: Span = SPAN, now: int = NOW, life: int = HOUR
) -> bytes:
    return reseal.make(who.identity, who.credential_bytes, INBOUND, source, span, now, now + life, DRAWS)


def after(*statements: bytes, state: Serving = BEGUN, now: int = NOW) -> Serving:
    for statement in statements:
        state = state.ask(statement, TRUST, OWNED, now)
    return state


def given_turn(state: Serving, now: int = NOW) -> tuple[Serving, Turn]:
    state, turn = state.turn(now)
    assert turn is not None
    return state, turn


def drained(state: Serving, now: int = NOW) -> list[tuple[SourcePartition, Span]]:
    """Everything that is sealed again when each turn does all that it may."""
    found = []
    while True:
        state, turn = state.turn(now)
        if turn is None:
            return found
        found.append((turn.wanted.source, turn.wanted.span))
        state = state.ended(turn, turn.wanted.span.next, 1, now, again=True)


def refusal(
    statement: bytes,
    state: Serving = BEGUN,
    *,
    trust: Trust = TRUST,
    owned: dict[SourcePartition, Owned] = OWNED,
    now: int = NOW,
) -> Reason:
    with pytest.raises(Rejected) as caught:
        state.ask(statement, trust, owned, now)
    return caught.value.reason


def test_a_reader_is_served_the_span_that_it_asked_for() -> None:
    state, turn = given_turn(after(asked()))
    wanted = turn.wanted
    assert (wanted.requester, wanted.name, wanted.source, wanted.span) == (BERT.id, "bert", SOURCE, SPAN)
    assert turn.allowance == SLICE
    state = state.ended(turn, SPAN.next, 5000, NOW, again=True)
    assert state.turn(NOW)[1] is None
    assert state.spent_in_hour(BERT.id, NOW) == 5000


def test_only_what_was_sealed_so_far_is_sealed_again() -> None:
    _, turn = given_turn(after(asked(span=Span(990, 2**60))))
    assert turn.wanted.span == Span(990, 1000)
    assert refusal(asked(span=Span(1000, 1001))) is Reason.IMPLAUSIBLE


def test_a_member_is_given_nothing_older_than_its_admission_less_the_backfill_and_two_clocks() -> None:
    _, turn = given_turn(after(asked()))
    assert turn.wanted.oldest == NOW - 5 * MINUTE
    rows = tuple(msgspec.structs.replace(row, backfill=DAY) for row in charter.BUILT_IN.policies)
    generous = dataclasses.replace(TRUST, charter=msgspec.structs.replace(charter.BUILT_IN, policies=rows))
    _, turn = given_turn(BEGUN.ask(asked(), generous, OWNED, NOW))
    assert turn.wanted.oldest == NOW - DAY - 5 * MINUTE


def test_a_backfill_of_more_than_all_time_reaches_to_the_first_date_and_not_to_what_has_none() -> None:
    rows = tuple(msgspec.structs.replace(row, backfill=2 * NOW) for row in charter.BUILT_IN.policies)
    generous = dataclasses.replace(TRUST, charter=msgspec.structs.replace(charter.BUILT_IN, policies=rows))
    _, turn = given_turn(BEGUN.ask(asked(), generous, OWNED, NOW))
    assert turn.wanted.oldest == 0


def test_a_source_partition_counts_only_where_the_session_named_it_and_this_sender_still_has_it() -> None:
    assert refusal(asked(), Serving().stated(OUTBOUND, SOURCES[1:], NOW)) is Reason.MISPLACED
    assert refusal(asked(), owned={each: OWNED[each] for each in SOURCES[1:]}) is Reason.MISPLACED
    other_topic = dataclasses.replace(SOURCE, topic_id=b"u" * 16)
    assert refusal(asked(source=other_topic)) is Reason.MISPLACED
    later = Serving().stated(OUTBOUND, SOURCES[1:], NOW).stated(OUTBOUND, SOURCES[:1], NOW)
    assert given_turn(after(asked(), asked(source=SOURCES[1], who=CARL), state=later))


def test_who_may_not_read_now_is_served_nothing() -> None:
    assert refusal(asked(GUEST)) is Reason.NOT_AUTHORISED
    assert refusal(asked(STRANGER)) is Reason.UNKNOWN_MEMBER
    refusing = msgspec.structs.replace(charter.BUILT_IN, refusals=(charter.Refusal(BERT.id, NOW, ""),))
    assert refusal(asked(), trust=dataclasses.replace(TRUST, charter=refusing)) is Reason.REFUSED_MEMBER
    late = NOW + 8 * DAY
    outbound, statement = ANNA.session(now=late)
    state = Serving().stated(outbound, SOURCES, late)
    fresh = session.InboundSession(
        **{**{each.name: getattr(INBOUND, each.name) for each in dataclasses.fields(INBOUND)}, "id": outbound.id,
           "secret": outbound.secret}
    )  # fmt: skip
    assert statement
    old = reseal.make(BERT.identity, BERT.credential_bytes, fresh, SOURCE, SPAN, late, late, DRAWS)
    assert refusal(old, state, now=late) is Reason.EXPIRED


def test_what_waits_for_a_member_that_is_refused_meanwhile_is_not_sealed_again() -> None:
    state = after(asked(), asked(source=SOURCES[1], who=CARL))
    refusing = msgspec.structs.replace(charter.BUILT_IN, refusals=(charter.Refusal(BERT.id, NOW, ""),))
    trust = dataclasses.replace(TRUST, charter=refusing)
    assert state.without(TRUST.refuses, NOW) is state
    assert state.without(trust.refuses, NOW - 1) is state
    _, turn = given_turn(state.without(trust.refuses, NOW))
    assert turn.wanted.requester == CARL.id
    assert list(state.without(trust.refuses, NOW).waiting) == [CARL.id]


def test_a_request_is_taken_once() -> None:
    statement = asked()
    state = after(statement)
    assert refusal(statement, state) is Reason.SPENT
    assert not state.concerns(statement, PROJECT, NOW)
    state, turn = given_turn(state)
    state = state.ended(turn, SPAN.next, 1, NOW, again=False)
    assert refusal(statement, state, now=NOW + HOUR) is Reason.SPENT


def test_request_ids_are_forgotten_when_nobody_would_take_them_any_more() -> None:
    state = after(asked(), asked(source=SOURCES[2], life=MINUTE), asked(CARL, life=MINUTE))
    later = NOW + 50 * MINUTE
    state = after(asked(source=SOURCES[1], now=later, life=MINUTE), state=state, now=later)
    assert {who: len(ids) for who, ids in state.seen.items()} == {BERT.id: 2}


def test_a_request_under_a_session_that_is_long_over_finds_no_secret() -> None:
    late = OUTBOUND.not_after + 5 * MINUTE + 1
    assert refusal(asked(), now=late) is Reason.UNKNOWN_SESSION
    assert refusal(asked(), Serving()) is Reason.UNKNOWN_SESSION
    newer, _ = ANNA.session(now=late, number=2)
    assert set(BEGUN.stated(newer, SOURCES, late).sessions) == {newer.id}
    assert set(BEGUN.stated(newer, SOURCES, late - 1).sessions) == {newer.id, OUTBOUND.id}


def test_an_altered_request_is_refused_and_changes_nothing() -> None:
    for altered in flips(asked(), step=7):
        refusal(altered)


def test_what_does_not_concern_us_costs_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    statement = asked()
    for name in ("verify", "hkdf", "digest"):
        monkeypatch.setattr(primitives, name, None)
    assert BEGUN.concerns(statement, PROJECT, NOW)
    assert BEGUN.concerns(memoryview(statement), PROJECT, NOW)
    others = [b"", b"SW", statement[:60], SESSION, ANNA.credential_bytes, ANNA.package, bytes(500)]
    assert not any(BEGUN.concerns(each, PROJECT, NOW) for each in others)
    assert not Serving().concerns(statement, PROJECT, NOW)
    assert not BEGUN.concerns(statement, bytes(32), NOW)
    assert not BEGUN.concerns(asked_then, PROJECT, NOW + HOUR + 5 * MINUTE + 1)


asked_then = asked()


def test_a_requester_has_one_span_at_a_time_and_a_source_partition_one_requester() -> None:
    state = after(asked(), asked(source=SOURCES[1]), asked(CARL), asked(CARL, SOURCES[2]))
    state, first = given_turn(state)
    state, second = given_turn(state)
    assert state.turn(NOW)[1] is None
    assert (first.wanted.name, first.wanted.source) == ("bert", SOURCE)
    assert (second.wanted.name, second.wanted.source) == ("carl", SOURCES[2])


def test_a_requester_whose_source_partitions_are_all_sealed_again_for_others_has_no_turn() -> None:
    state, _ = given_turn(after(asked(), asked(CARL)))
    assert state.turn(NOW)[1] is None


def test_equal_spans_that_two_mirrors_ask_for_are_sealed_again_once() -> None:
    state, turn = given_turn(after(asked(), asked(CARL)))
    state = state.ended(turn, SPAN.next, 1, NOW, again=True)
    assert drained(state) == []
    assert drained(after(asked(CARL), state=state, now=NOW + LATELY - 1), NOW + LATELY - 1) == []
    again = after(asked(CARL, now=NOW + LATELY), state=state, now=NOW + LATELY)
    assert drained(again, NOW + LATELY) == [(SOURCE, SPAN)]


def test_of_a_span_that_was_sealed_again_in_part_the_rest_is() -> None:
    state, turn = given_turn(after(asked(span=Span(100, 200)), asked(CARL, span=Span(50, 300))))
    state = state.ended(turn, 200, 1, NOW, again=True)
    assert drained(state) == [(SOURCE, Span(50, 300))]
    state, turn = given_turn(after(asked(span=Span(100, 200)), asked(CARL, span=Span(150, 300))))
    assert drained(state.ended(turn, 200, 1, NOW, again=True)) == [(SOURCE, Span(200, 300))]


def test_what_is_left_of_a_large_span_has_its_next_turn_behind_the_others() -> None:
    state, turn = given_turn(after(asked(), asked(source=SOURCES[1])))
    state = state.ended(turn, 150, SLICE, NOW, again=True)
    assert [each.span for each in state.waiting[BERT.id]] == [SPAN, Span(150, 250)]
    assert drained(state) == [(SOURCES[1], SPAN), (SOURCE, Span(150, 250))]


@pytest.mark.parametrize(("reached", "again"), [(100, True), (150, False), (250, True)])
def test_a_span_has_no_other_turn_when_nothing_came_of_it_or_more_would_not(reached: int, again: bool) -> None:  # noqa: FBT001
    state, turn = given_turn(after(asked()))
    assert drained(state.ended(turn, reached, 0, NOW, again=again)) == []


def test_a_newer_request_takes_the_place_of_an_older_one_for_the_same_source_partition() -> None:
    state = after(asked(), asked(source=SOURCES[1]), asked(span=Span(120, 250)))
    assert [each.source for each in state.waiting[BERT.id]] == [SOURCE, SOURCES[1]]
    assert drained(state) == [(SOURCE, Span(120, 250)), (SOURCES[1], SPAN)]


def test_a_request_that_waited_until_it_expired_is_served_no_more() -> None:
    state = after(asked(life=MINUTE))
    assert drained(state, NOW + 6 * MINUTE + 1) == []
    assert state.turn(NOW + 6 * MINUTE + 1)[0].waiting == {}
    assert drained(state, NOW + 6 * MINUTE) == [(SOURCE, SPAN)]


def test_a_requester_that_used_its_hour_waits_and_no_other_does() -> None:
    state, now = BEGUN, NOW
    for _ in range(BUDGET // SLICE):
        now += LATELY
        state, turn = given_turn(after(asked(now=now), state=state, now=now), now)
        state = state.ended(turn, SPAN.next, SLICE, now, again=True)
    assert state.spent_in_hour(BERT.id, now) == BUDGET
    now += LATELY
    state = after(asked(now=now, source=SOURCES[1]), asked(CARL, now=now, source=SOURCES[2]), state=state, now=now)
    assert drained(state, now) == [(SOURCES[2], SPAN)]
    assert (SOURCES[1], SPAN) in drained(state, NOW + HOUR + MINUTE + LATELY)


def test_there_is_a_most_of_what_waits_and_of_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "WAITING_MOST", 2)
    state = after(asked(), asked(source=SOURCES[1]))
    assert refusal(asked(source=SOURCES[2]), state) is Reason.TOO_MANY
    assert after(asked(span=Span(1, 2)), asked(CARL, SOURCES[2]), state=state)
    monkeypatch.setattr(serving, "IDS_MOST", 2)
    assert refusal(asked(), state) is Reason.TOO_MANY


def test_only_so_many_turns_go_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "AT_ONCE", 1)
    state, _ = given_turn(after(asked(), asked(CARL, SOURCES[1])))
    assert state.turn(NOW)[1] is None


def test_what_nobody_was_given_cannot_end() -> None:
    state, turn = given_turn(after(asked()))
    for used in (-1, SLICE + 1):
        with pytest.raises(Misuse):
            state.ended(turn, 200, used, NOW, again=True)
    with pytest.raises(Misuse):
        BEGUN.ended(turn, 200, 1, NOW, again=True)


def test_the_bounds_are_those_that_are_documented() -> None:
    assert (BUDGET, SLICE, LATELY) == (10 * 2**30, 64 * 2**20, 20_000)
    assert (serving.AT_ONCE, serving.WAITING_MOST, serving.IDS_MOST, serving.HOUR) == (4, 1024, 4096, 3_600_000)


def test_a_request_is_heard_for_five_minutes_beyond_its_end_and_that_of_its_session() -> None:
    end = OUTBOUND.not_after + 5 * MINUTE
    late = asked(now=end, life=MINUTE)
    assert BEGUN.concerns(late, PROJECT, end)
    assert not BEGUN.concerns(late, PROJECT, end + 1)
    assert set(after(late, now=end).waiting) == {BERT.id}
    assert refusal(late, now=end + 1) is Reason.UNKNOWN_SESSION
    short = asked(life=MINUTE)
    assert BEGUN.concerns(short, PROJECT, NOW + 6 * MINUTE)
    assert not BEGUN.concerns(short, PROJECT, NOW + 6 * MINUTE + 1)


def test_what_is_taken_is_remembered_for_five_minutes_beyond_its_end() -> None:
    state = after(asked(life=MINUTE), asked(CARL, life=MINUTE))
    for now, known in ((NOW + 6 * MINUTE, {BERT.id: 2, CARL.id: 1}), (NOW + 6 * MINUTE + 1, {BERT.id: 1})):
        later = after(asked(source=SOURCES[1], now=now, life=MINUTE), state=state, now=now)
        assert {who: len(ids) for who, ids in later.seen.items()} == known


def test_while_others_ask_a_request_is_remembered_beside_one_that_ended_sooner() -> None:
    long, now = asked(), NOW + 10 * MINUTE
    state = after(long, asked(source=SOURCES[1], life=MINUTE))
    state = after(asked(CARL, now=now, life=MINUTE), state=state, now=now)
    assert refusal(long, state, now=now) is Reason.SPENT


def test_a_turn_that_ends_leaves_those_of_others_and_what_they_used() -> None:
    state = after(asked(), asked(CARL, SOURCES[1]))
    state, mine = given_turn(state)
    state, theirs = given_turn(state)
    state = state.ended(mine, SPAN.next, 5000, NOW, again=True)
    assert set(state.going) == {CARL.id}
    state = state.ended(theirs, SPAN.next, 700, NOW, again=True)
    assert state.going == {}
    assert [state.spent_in_hour(who.id, NOW) for who in READERS] == [5000, 700]
    state, more = given_turn(after(asked(source=SOURCES[2]), state=state))
    state = state.ended(more, SPAN.next, 30, NOW, again=True)
    assert [state.spent_in_hour(who.id, NOW) for who in READERS] == [5030, 700], "of one minute it is one sum"
    assert len(state.spent[BERT.id]) == 1


def test_bytes_are_counted_for_an_hour_and_then_forgotten() -> None:
    state, turn = given_turn(after(asked()))
    state = state.ended(turn, SPAN.next, 5000, NOW, again=True)
    begun = NOW // MINUTE * MINUTE
    assert state.spent_in_hour(BERT.id, begun + MINUTE + HOUR - 1) == 5000
    assert state.spent_in_hour(BERT.id, begun + MINUTE + HOUR) == 0
    late = begun + MINUTE + HOUR
    outbound, statement = ANNA.session(now=late, number=3)
    state = state.stated(outbound, SOURCES, late)
    fresh = reseal.make(
        CARL.identity, CARL.credential_bytes, inbound(outbound, statement, late), SOURCE, SPAN, late, late + HOUR, DRAWS
    )
    state, turn = given_turn(state.ask(fresh, TRUST, OWNED, late), late)
    assert state.ended(turn, SPAN.next, 0, late, again=True).spent == {}


def test_a_turn_may_use_nothing_and_all_of_its_allowance() -> None:
    for used in (0, SLICE):
        state, turn = given_turn(after(asked()))
        assert state.ended(turn, SPAN.next, used, NOW, again=True).spent_in_hour(BERT.id, NOW) == used


def test_what_was_sealed_again_for_one_source_partition_is_not_taken_from_another() -> None:
    state, turn = given_turn(after(asked(), asked(CARL, SOURCES[1])))
    state = state.ended(turn, SPAN.next, 1, NOW, again=True)
    assert drained(state) == [(SOURCES[1], SPAN)]
    assert drained(after(asked(CARL, now=NOW), state=state), NOW - 1)[-1:] == [(SOURCE, SPAN)], "nor by a later clock"


def test_what_was_sealed_again_is_kept_in_mind_beside_what_others_were_and_until_it_no_longer_counts() -> None:
    state = after(asked(), asked(CARL, SOURCES[1]))
    state, mine = given_turn(state)
    state, theirs = given_turn(state)
    state = state.ended(mine, SPAN.next, 1, NOW, again=True).ended(theirs, SPAN.next, 1, NOW, again=True)
    assert drained(after(asked(CARL), asked(source=SOURCES[1]), state=state)) == []
    now = NOW + LATELY
    state, last = given_turn(after(asked(source=SOURCES[2], now=now), state=state, now=now), now)
    assert state.ended(last, SPAN.next, 1, now, again=True).lately == ((SOURCES[2], SPAN, now),)


def test_of_what_is_done_nothing_waits() -> None:
    state, turn = given_turn(after(asked()))
    assert state.ended(turn, SPAN.next, 1, NOW, again=True).waiting == {}


def test_what_was_sealed_again_in_the_middle_of_a_span_cuts_nothing_out() -> None:
    for done, left in (
        (Span(100, 200), Span(200, 300)),
        (Span(200, 300), Span(100, 200)),
        (Span(150, 200), Span(100, 300)),
        (Span(50, 100), Span(100, 300)),
        (Span(300, 400), Span(100, 300)),
        (Span(50, 101), Span(101, 300)),
        (Span(299, 400), Span(100, 299)),
    ):
        state, turn = given_turn(after(asked(span=done)))
        state = state.ended(turn, done.next, 1, NOW, again=True)
        assert drained(after(asked(CARL, span=Span(100, 300)), state=state)) == [(SOURCE, left)]


def test_what_is_left_waits_once_even_when_it_was_asked_for_anew() -> None:
    state, turn = given_turn(after(asked()))
    state = after(asked(span=Span(200, 250)), asked(source=SOURCES[1]), state=state)
    state = state.ended(turn, 150, 1, NOW, again=True)
    assert [(each.source, each.span) for each in state.waiting[BERT.id]] == [
        (SOURCE, Span(200, 250)),
        (SOURCES[1], SPAN),
    ]


def test_no_secret_is_shown() -> None:
    assert OUTBOUND.secret.hex() not in repr(BEGUN)
    assert repr(OUTBOUND.secret) not in repr(BEGUN)


ONE = st.tuples(st.sampled_from(READERS), st.sampled_from(SOURCES), st.integers(0, 990), st.integers(1, 300))


@given(st.lists(ONE, max_size=8), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_whatever_the_order_of_requests_the_same_offsets_are_sealed_again(
    wants: Sequence[tuple[Member, SourcePartition, int, int]], dice: object
) -> None:
    each_once = list({(who.id, source): (who, source, first, size) for who, source, first, size in wants}.values())
    found = []
    for _ in range(2):
        statements = [asked(who, source, Span(first, first + size)) for who, source, first, size in each_once]
        offsets = {
            (source, offset) for source, span in drained(after(*statements)) for offset in range(span.first, span.next)
        }
        found.append(offsets)
        dice.shuffle(each_once)  # type: ignore[attr-defined]
    assert found[0] == found[1]
    wanted = {
        (source, offset) for _, source, first, size in each_once for offset in range(first, min(first + size, 1000))
    }
    assert found[0] == wanted


USED = st.sampled_from((0, SLICE // 2, SLICE)) | st.integers(0, SLICE)
PASSED = st.integers(0, 3 * MINUTE) | st.integers(0, 20 * MINUTE)
STEP = st.tuples(ONE, st.integers(0, 4), USED, st.booleans(), PASSED)


@given(st.lists(STEP, max_size=40))
@settings(deadline=None)
def test_no_hour_ever_brings_a_requester_more_than_its_budget_nor_an_equal_span_twice_in_a_moment(
    steps: Sequence[tuple[tuple[Member, SourcePartition, int, int], int, int, bool, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "BUDGET", 2 * SLICE)
        state, now, going = BEGUN, NOW, []
        sealed: list[tuple[int, bytes, int]] = []
        done: list[tuple[int, SourcePartition, Span]] = []
        for (who, source, first, size), which, used, again, passed in steps:
            if now > OUTBOUND.not_after:
                break
            state = after(asked(who, source, Span(first, first + size), now), state=state, now=now)
            state, turn = state.turn(now)
            if turn is not None:
                assert all(turn.wanted.requester != other.wanted.requester for other in going)
                span = turn.wanted.span
                assert not any(
                    each == turn.wanted.source
                    and old.first <= span.first
                    and span.next <= old.next
                    and now - at < LATELY
                    for at, each, old in done
                )
                going.append(turn)
            now += passed
            if going:
                turn = going.pop(which % len(going))
                reached = min(turn.wanted.span.first + used % 300, turn.wanted.span.next)
                state = state.ended(turn, reached, used, now, again=again)
                sealed.append((now, turn.wanted.requester, used))
                done.append((now, turn.wanted.source, Span(turn.wanted.span.first, reached)))
        for at, requester, _ in sealed:
            within = sum(used for then, who, used in sealed if who == requester and at - HOUR < then <= at)
            assert within <= 2 * SLICE
