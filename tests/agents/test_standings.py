"""Where source partitions stand: what neighbours in a cloud partition are worth to one that is met the first time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sealwire.agents.standings import Standing, Standings
from sealwire.keys.cursor import Cursor
from sealwire.keys.delivery import Delivery, record_key
from sealwire.keys.source import SourcePartition, Span


def source(topic_id: int, partition: int = 3, site: str = "berlin") -> SourcePartition:
    return SourcePartition("orders", site, "orders", bytes([topic_id] * 16), partition)


@pytest.mark.parametrize(
    ("known", "sink_topic", "floor"),
    [
        (source(1), "orders", 500),
        (source(1, partition=4), "orders", 0),
        (source(1, site="rome"), "orders", 0),
        (source(1), "others", 0),
    ],
)
def test_the_session_floor_of_neighbours_counts_right_after_a_restart(
    known: SourcePartition, sink_topic: str, floor: int
) -> None:
    standings = Standings(SimpleNamespace())  # type: ignore[arg-type]
    standings.begin(record_key(sink_topic, known), Delivery(Cursor(known, next=10, session_floor=500)))
    fresh = standings.of(source(2), "orders", ("acme.orders", 3))
    assert standings.site_floor(fresh) == floor
    assert standings.site_floor(standings.of(known, sink_topic, ("acme.orders", 3))) == 0


def test_what_was_passed_over_is_read_again_when_it_comes_next_and_not_before() -> None:
    cursor = Cursor(source(1), next=1)
    standing = Standing(cursor, cursor, cursor, "orders", ("acme.orders", 0))
    assert not standing.lies_between(standing.cursor)
    standing.passed_over(Span(1, 9), 9)
    assert standing.words == "[1, 9) is missing"
    assert not standing.lies_between(Cursor(source(1), next=8))
    assert standing.lies_between(Cursor(source(1), next=9))
    standing.passed_over(Span(1, 9), 4)
    assert standing.lies_between(Cursor(source(1), next=4))
    assert not standing.lies_between(Cursor(source(1), next=3))
