"""Routes follow from mappings and from what is there, for every worker of a site alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sealwire.agents import patterns
from sealwire.agents.routes import route
from sealwire.agents.settings import Cluster, OpenPattern, SealPattern, SealRoute, Settings

ERP = SealPattern("erp", "^erp[.](.*)$", r"acme.erp.\1")
BASE = Settings("acme", "b", "s", "seal", Path(), Cluster("local:1"), Cluster("cloud:1"), seal_patterns=(ERP,))
CLASH = replace(BASE, seal_patterns=(SealPattern("all", "^[a-z]+[.](.*)$", r"acme.\1"),))


def carried(settings: Settings, names: list[str], *begun: str) -> dict[str, str]:
    return {each.reads: each.writes for each in route(settings, names, frozenset(begun)).routes}


def test_a_pattern_must_match_the_whole_name() -> None:
    assert carried(BASE, ["erp.orders", "erp.", "erp", "my.erp.orders", "erporders"]) == {
        "erp.orders": "acme.erp.orders",
        "erp.": "acme.erp.",
    }


def test_a_mapping_by_name_comes_before_every_pattern_and_needs_no_topic() -> None:
    named = replace(BASE, seal=(SealRoute("special", "erp.orders", "acme.special"),))
    found = route(named, ["erp.orders", "erp.stock"])
    assert [(each.channel, each.reads, each.writes) for each in found.routes] == [
        ("special", "erp.orders", "acme.special"),
        ("erp", "erp.stock", "acme.erp.stock"),
    ]
    assert carried(named, []) == {"erp.orders": "acme.special"}


def test_where_two_patterns_match_the_first_of_the_yaml_does() -> None:
    both = replace(BASE, seal_patterns=(SealPattern("first", "^erp[.]o(.*)$", r"first.\1"), ERP))
    assert carried(both, ["erp.orders", "erp.stock"]) == {"erp.orders": "first.rders", "erp.stock": "acme.erp.stock"}


def test_two_topics_that_would_go_into_one_are_both_named_and_one_is_carried() -> None:
    found = route(CLASH, ["b.x", "a.x", "a.y"])
    assert {each.reads for each in found.routes} == {"a.x", "a.y"}
    assert found.troubles == {"b.x": "b.x and a.x would both go to acme.x: a.x does; name b.x in a mapping of its own"}
    assert found.rivals == {"a.x", "b.x"}


def test_of_two_rivals_the_one_that_was_carried_before_goes_on_being_carried() -> None:
    assert carried(CLASH, ["a.x", "b.x"], "b.x") == {"b.x": "acme.x"}
    assert carried(CLASH, ["a.x", "b.x"], "a.x", "b.x") == {"a.x": "acme.x"}


def test_names_that_kafka_takes_for_one_are_rivals_too() -> None:
    assert carried(CLASH, ["a.x.y", "a.x_y"]) == {"a.x.y": "acme.x.y"}


def test_what_a_mapping_by_name_writes_no_pattern_does() -> None:
    named = replace(CLASH, seal=(SealRoute("special", "orders", "acme.x"),))
    found = route(named, ["a.x", "orders"])
    assert {each.reads for each in found.routes} == {"orders"}
    assert "a.x and orders would both go to acme.x: orders does, by its name" in found.troubles["a.x"]


def test_a_name_that_kafka_would_not_take_is_left_out_and_said() -> None:
    long = replace(BASE, seal_patterns=(SealPattern("a", "^(.*)$", r"acme.\1\1\1"),))
    found = route(long, ["x" * 100])
    assert found.routes == ()
    assert "characters, and Kafka takes at most 249" in found.troubles["x" * 100]


def test_an_opening_pattern_takes_cloud_topics_to_local_ones() -> None:
    opening = replace(
        BASE, direction="open", seal_patterns=(), open_patterns=(OpenPattern("erp", "^acme[.]erp[.](.*)$", r"erp.\1"),)
    )
    assert carried(opening, ["acme.erp.orders", "acme.control"]) == {"acme.erp.orders": "erp.orders"}


names = st.text("ab._-", min_size=1, max_size=6)


@given(st.lists(names, max_size=8), st.sets(names, max_size=3), st.randoms())
def test_in_whatever_order_names_come_the_routes_are_the_same_and_no_two_write_one_topic(
    there: list[str], begun: set[str], random: object
) -> None:
    settings = replace(
        CLASH, seal_patterns=(SealPattern("all", "^a(.*)$", r"c.\1"), SealPattern("b", "^b(.*)$", r"c.\1"))
    )
    found = route(settings, there, frozenset(begun))
    shuffled = list(there)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert route(settings, shuffled, frozenset(begun)) == found
    assert len({each.writes for each in found.routes}) == len(found.routes)


@given(names)
def test_what_a_pattern_can_make_is_matched_by_all_that_it_makes(name: str) -> None:
    made = patterns.made("^(a*)(.*)$", r"x.\2-\1", name)
    assert made is not None
    assert patterns.matches_any((patterns.all_made(r"x.\2-\1"),), made)
