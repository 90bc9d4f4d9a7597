"""Delivery records: when a sink is no longer the one that the last delivery went to, and what is read strictly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from vector_world import inner, seeded

from sealwire.keys.delivery import Delivered, Delivery, Position, SinkNow, changed, read_record_key, record_key
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.source import Span
from sealwire.keys.standing import Cursor

SOURCE = inner().source("orders")
TOPIC = seeded("topic", 16)
LAST = Delivered(Span(1, 9), seeded("anna"), seeded("session"), seeded("digest"), "c1", TOPIC, 2, 40, 48, 50)
SAME = SinkNow("c1", TOPIC, 50)


def test_a_sink_that_is_the_same_or_grew_is_not_changed() -> None:
    assert changed(LAST, SAME) == ""
    assert changed(LAST, replace(SAME, end=51)) == ""
    assert changed(LAST, replace(SAME, end=None)) == "", "its end was not asked for"


@pytest.mark.parametrize(
    ("sink", "why"),
    [
        (None, "is gone"),
        (replace(SAME, cluster="c2"), "is cluster c2"),
        (replace(SAME, topic_id=seeded("anew", 16)), "made anew"),
        (replace(SAME, end=49), "ends at 49"),
        (replace(SAME, end=0), "ends at 0"),
    ],
)
def test_another_sink_or_one_that_lost_its_end_is_named_for_what_it_is(sink: SinkNow | None, why: str) -> None:
    assert why in changed(LAST, sink)


def test_what_is_not_known_of_a_sink_proves_no_change() -> None:
    assert changed(LAST, replace(SAME, cluster="")) == ""
    assert changed(replace(LAST, sink_cluster=""), SAME) == ""
    assert changed(replace(LAST, sink_topic_id=bytes(16)), SAME) == ""


def test_a_topic_id_counts_as_known_when_any_byte_of_it_is_set() -> None:
    partly = replace(LAST, sink_topic_id=bytes(15) + b"\1")
    assert "made anew" in changed(partly, SAME)


def test_records_say_of_what_release_they_are_in_their_first_byte() -> None:
    assert Delivery(Cursor(SOURCE)).encode()[0] == 1
    assert Delivery(Cursor(SOURCE, order=bytes(16))).encode()[0] == 2
    assert Position(TOPIC, 7).encode()[0] == 1
    for newer in (Position(TOPIC, 7).encode(), Delivery(Cursor(SOURCE)).encode()):
        with pytest.raises(Rejected) as refused:
            (Position if len(newer) < 30 else Delivery).decode(b"\3" + newer[1:])
        assert refused.value.reason is Reason.UNKNOWN_VERSION


def test_a_record_key_names_its_sink_topic_first() -> None:
    assert read_record_key(record_key("a", SOURCE)) == ("a", SOURCE)
    assert record_key("a", SOURCE) != record_key("b", SOURCE)
