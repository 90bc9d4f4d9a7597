"""What a sealing worker states of its source partitions: how far, and whether the source answers at all."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from in_loop import in_loop
from world import ORDERS

from sealwire.agents import clock, report
from sealwire.agents.admin import TopicFacts
from sealwire.agents.report import Report
from sealwire.agents.source_seat import SourceSeat
from sealwire.keys.progress import PartitionProgress, State

ID = bytes(16)


class Site:
    """One partition of one topic, and who asks about it."""

    def __init__(self) -> None:
        facts = SimpleNamespace(local={"orders": TopicFacts(ID, 2)}, routes=(ORDERS,))
        self.watch: Any = SimpleNamespace(facts=facts, troubles={})
        self.seat = SourceSeat(ORDERS, 0, ID, 7, log_start=False, position=7)
        self.seat.begun = True
        self.answered(0.0)
        work: Any = SimpleNamespace(seats={("orders", 0, "orders"): self.seat})
        self.works = [work]
        self.report = Report(self.watch, lambda: self.works)

    def answered(self, seconds_ago: float | None) -> None:
        at = -1.0 if seconds_ago is None else asyncio.get_running_loop().time() - seconds_ago
        self.seat.seat = SimpleNamespace(answered_at=at, last_stable=9, behind_transaction=False)  # type: ignore[assignment]

    def entry(self) -> PartitionProgress:
        (topic,) = self.report.of("orders")[1]
        assert (topic.topic, topic.topic_id, topic.partition_count) == ("orders", ID, 2)
        (entry,) = topic.partitions
        return entry


@in_loop
async def test_it_rests_on_the_oldest_answer_of_the_source() -> None:
    site = Site()
    site.answered(4.0)
    as_of, _ = site.report.of("orders")
    assert 3900 <= clock.now() - as_of <= 9000
    assert site.entry() == PartitionProgress(0, 7, 9, State.LIVE)


@in_loop
async def test_a_source_that_does_not_answer_is_said_to_be_away_and_nothing_rests_on_it() -> None:
    site = Site()
    site.answered(10.5)
    as_of, _ = site.report.of("orders")
    assert clock.now() - as_of < 5000
    assert site.entry().state is State.SOURCE_AWAY
    site.answered(None)
    assert site.entry().state is State.LIVE
    site.watch.troubles = {"local": "no answer"}
    assert site.entry().state is State.SOURCE_AWAY


@in_loop
async def test_what_is_held_or_lacks_its_cloud_partition_is_held_and_before_its_first_envelope_nothing_is_sealed() -> (
    None
):
    site = Site()
    site.seat.held = "too large"
    assert site.entry().state is State.HELD
    site.seat.held, site.seat.lacking, site.seat.position, site.seat.begun = "", "one partition only", -1, False
    assert site.entry() == PartitionProgress(0, 0, 9, State.HELD)
    site.seat.lacking, site.seat.position = "", 7
    assert site.entry() == PartitionProgress(0, 0, 9, State.LIVE)


@in_loop
async def test_another_channel_is_not_spoken_of() -> None:
    assert Site().report.of("invoices")[1] == ()


@in_loop
async def test_what_was_given_up_is_spoken_of_for_a_while_and_not_once_it_is_here_again() -> None:
    site = Site()
    site.works = []
    assert site.report.of("orders")[1][0].partitions == ()
    site.report.left([site.seat])
    assert site.entry() == PartitionProgress(0, 7, 9, State.LIVE)
    site.report.there(site.seat)
    assert site.report.of("orders")[1][0].partitions == ()
    site.report._left = {(("orders", "orders", ID), 0): (0.0, PartitionProgress(0, 7, 9, State.LIVE))}
    assert site.report.of("orders")[1][0].partitions == ()


@in_loop
async def test_what_is_gone_is_remembered_in_bounds_until_it_is_there() -> None:
    site = Site()
    site.works = []
    site.report.gone([site.seat])
    assert site.entry() == PartitionProgress(0, 7, -1, State.GONE)
    site.report.there(site.seat)
    assert site.report.of("orders")[1][0].partitions == ()
    for number in range(report._GONE_MOST + 5):
        site.report.gone_before(("orders", "orders", number.to_bytes(16, "big")), 0, 1)
    assert len(site.report._gone) == report._GONE_MOST
