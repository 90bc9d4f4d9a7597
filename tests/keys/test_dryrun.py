from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from statement_world import ANNA, BERT, DAY, NOW

from sealwire.keys import dryrun, policy
from sealwire.keys.charter import BUILT_IN, CharterFields, PolicyRow, Refusal
from sealwire.keys.dryrun import Concern, Member, Names, Rights, Trouble

MEMBERS = policy.MEMBERS
PEOPLE = (
    Member("anna", ANNA.id, (("role", "member"), ("site", "berlin"))),
    Member("bert", BERT.id, (("role", "member"), ("site", "paris"))),
)
BOTH = frozenset({"anna", "bert"})
BERLIN = policy.table({"role": ["member"], "site": ["berlin"]})
PARIS = policy.table({"site": ["paris"]})
NOBODY = policy.table({"site": ["rome"]})


def row(channel: str = "*", topic: str = "*", send: policy.Table = MEMBERS, read: policy.Table = MEMBERS) -> PolicyRow:
    return PolicyRow(channel, topic, policy.ATTRIBUTES, send, read, 0)


def charter(*rows: PolicyRow, **changes: object) -> CharterFields:
    return msgspec.structs.replace(BUILT_IN, policies=rows, **changes)


def where(before: CharterFields, after: CharterFields) -> dict[str, tuple[Rights, Rights]]:
    return {str(change.place): (change.before, change.after) for change in dryrun.compare(before, after, PEOPLE, NOW)}


def troubles(before: CharterFields, after: CharterFields, people: tuple[Member, ...] = PEOPLE) -> list[str]:
    return [
        f"{concern.trouble.name} {concern.where or f'{concern.row} {concern.right}'.strip()}"
        for concern in dryrun.concerns(before, after, people, NOW)
    ]


PATTERN = st.builds(lambda text, star: text + star, st.text("ab.", max_size=3), st.sampled_from(["", "*"])).filter(bool)


@given(st.lists(PATTERN, max_size=8), st.text("ab.c", min_size=1, max_size=5))
def test_every_name_is_in_exactly_one_class_whose_example_the_same_patterns_cover(
    patterns: list[str], name: str
) -> None:
    def covered(text: str) -> set[str]:
        return {pattern for pattern in patterns if policy.pattern_matches(pattern, text)}

    found = dryrun.classes(patterns, dryrun.TOPIC_LENGTH, dryrun._REST)
    assert [covered(each.example) for each in found].count(covered(name)) == 1
    assert len({each.example for each in found}) == len(found)


def test_a_class_that_no_name_is_in_is_left_out() -> None:
    every = [f"x{letter}*" for letter in dryrun._REST]
    assert [each.pattern for each in dryrun.classes(["x*", "x", *every], 9)].count("x*") == 0
    assert dryrun.classes(["x*", *every], 9)[1].pattern in {"x*", *every}
    assert Names("x*", tuple(sorted(every)), "x") in dryrun.classes(["x*", *every], 9)
    assert "x*" not in {each.pattern for each in dryrun.classes(["x*", "x", *every], 9)}
    assert [each.pattern for each in dryrun.classes(["-a", "-*", "a"], 9)] == ["*", "a"]  # no channel begins so
    assert [each.pattern for each in dryrun.classes(["abc*", "ab*", "abcd"], 2)] == ["*", "ab*"]  # none is so long


def test_it_says_who_may_do_what_where_before_and_after() -> None:
    after = charter(row("orders", send=BERLIN, read=PARIS), row("erp.*", "acme.*"), row("erp.a", read=PARIS))
    found = where(BUILT_IN, after)
    assert found["orders"] == (Rights(BOTH, BOTH, 0), Rights(frozenset({"anna"}), frozenset({"bert"}), 0))
    assert found["erp.* (but not erp.a) through acme.*"][1] == Rights(BOTH, BOTH, 0)
    assert found["erp.* (but not erp.a) through * (but not acme.*)"][1] == Rights(frozenset(), frozenset(), 0)
    assert found["erp.a through * (but not acme.*)"][1] == Rights(BOTH, frozenset({"bert"}), 0)
    assert found["erp.a through acme.*"][1].consume == BOTH  # the first that covers both decides
    assert found["* (but not erp.*, orders)"][1] == Rights(frozenset(), frozenset(), 0)


@given(
    st.lists(st.tuples(PATTERN, PATTERN, st.sampled_from([MEMBERS, BERLIN, PARIS, NOBODY])), max_size=5),
    st.text("ab.", min_size=1, max_size=4).filter(lambda name: name[0] != "."),
    st.text("ab.", min_size=1, max_size=4),
)
def test_the_rights_of_a_class_are_those_of_every_name_in_it(
    rows: list[tuple[str, str, policy.Table]], channel: str, topic: str
) -> None:
    after = charter(*(row(name, through, send) for name, through, send in rows))

    def holds(names: Names, name: str) -> bool:
        covering = [each for each in (names.pattern, *names.narrower) if policy.pattern_matches(each, name)]
        return covering == [names.pattern]

    expected = frozenset(each.name for each in PEOPLE if after.may_produce(each.attributes, channel, topic))
    found = [
        change.after.produce
        for change in dryrun.compare(BUILT_IN, after, PEOPLE, NOW)
        if holds(change.place.channels, channel) and holds(change.place.topics, topic)
    ]
    assert found == [expected]


def test_refused_members_have_no_rights_from_then_on() -> None:
    after = charter(row(), refusals=(Refusal(ANNA.id, NOW, "left"),))
    assert where(BUILT_IN, after)["*"] == (Rights(BOTH, BOTH, 0), Rights(frozenset({"bert"}), frozenset({"bert"}), 0))
    later = charter(row(), refusals=(Refusal(ANNA.id, NOW + 1, "left"),))
    assert where(BUILT_IN, later)["*"][1].produce == BOTH


def test_a_charter_that_changes_nothing_is_of_no_concern() -> None:
    assert troubles(BUILT_IN, BUILT_IN) == []
    assert troubles(BUILT_IN, charter(row("orders", send=BERLIN), row())) == []


def test_the_last_sender_and_every_reader_are_not_locked_out_unnoticed() -> None:
    before = charter(row("orders", send=BERLIN), row())
    assert "NO_SENDER orders" in troubles(before, charter(row("orders", send=NOBODY), row()))
    assert "NO_READER orders" in troubles(before, charter(row("orders", read=NOBODY, send=BERLIN), row()))
    gone = charter(*before.policies, refusals=(Refusal(ANNA.id, 0, "stolen"),))
    assert troubles(before, gone) == ["NO_SENDER orders"]
    assert troubles(before, charter(row("orders", send=BERLIN))) == [
        "NO_SENDER * (but not orders)",
        "NO_READER * (but not orders)",
    ]


def test_a_policy_that_lets_everybody_in_is_told_where_it_is_new() -> None:
    before = charter(row("orders", send=BERLIN), row())
    assert troubles(before, charter(row("orders"), row())) == ["ALL_SEND orders"]
    before = charter(row("orders", read=PARIS), row())
    assert troubles(before, charter(row("orders"), row())) == ["ALL_READ orders"]
    assert troubles(before, charter(row("orders"), row()), PEOPLE[:1]) == []  # of one member it says nothing


def test_a_policy_that_can_never_hold_or_never_decides_is_told_by_its_number() -> None:
    never: tuple[policy.Table, ...] = ((), (("site", ()),))
    for table in never:
        assert "NEVER 1 produce" in troubles(BUILT_IN, charter(row("orders", send=table), row()))
        assert "NEVER 1 consume" in troubles(BUILT_IN, charter(row("orders", read=table), row()))
    unknown = PolicyRow("orders", "*", 1, MEMBERS, MEMBERS, 0)
    assert "NEVER 1 produce" in troubles(BUILT_IN, charter(unknown, row()))
    assert "NOBODY 1 produce" in troubles(BUILT_IN, charter(row("new", send=NOBODY), row()))
    assert troubles(BUILT_IN, charter(row("new", send=NOBODY), row()), ()) == []
    assert troubles(BUILT_IN, charter(row(), row("orders", send=BERLIN))) == ["OVERRULED 2"]
    assert troubles(BUILT_IN, charter(row("a*"), row("b*"), row("ab*", send=BERLIN), row())) == ["OVERRULED 3"]
    before = charter(row("orders", send=BERLIN), row())
    assert troubles(before, charter(row("o*", send=BERLIN), *before.policies)) == ["OVERRULED 2"]
    assert troubles(charter(row(), row("a")), charter(row(), row("a"))) == []


def test_a_large_charter_is_looked_at_whole_in_bounded_work() -> None:
    rows = [row(f"channel{number}", send=BERLIN) for number in range(400)]
    rows += [row("erp.*", f"topic{number}*") for number in range(400)]
    found = dryrun.compare(BUILT_IN, charter(*rows), PEOPLE, NOW)
    assert len(found) == 400 + 401 + 1
    assert isinstance(Concern(Trouble.NEVER), Concern)
    assert DAY
