"""What ended is said, in a line: what began was said where it began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealwire.agents.narrator import Narrator

if TYPE_CHECKING:
    import pytest


def snapshot(*states: str, ready: bool = True, causes: tuple[str, ...] = (), **troubles: str) -> dict[str, Any]:
    rows = [
        {"channel": "orders", "site": "berlin", "topic": "orders", "partition": number, "state": state}
        for number, state in enumerate(states)
    ]
    return {"ready": ready, "causes": list(causes), "partitions": rows, "troubles": troubles}


def said(caplog: pytest.LogCaptureFixture, *heard: dict[str, Any]) -> list[str]:
    caplog.set_level("INFO", "sealwire")
    narrator = Narrator()
    for each in heard:
        narrator.hear(each)
    return [f"{record.levelname.lower()} {record.message}" for record in caplog.records]


def test_a_start_is_no_loss_of_readiness(caplog: pytest.LogCaptureFixture) -> None:
    starting = snapshot(ready=False, causes=("project", "lanes"))
    assert said(caplog, starting, starting, snapshot(), snapshot()) == ["info ready"]


def test_readiness_lost_is_said_once_with_its_causes_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    away = snapshot(ready=False, causes=("cloud",))
    assert said(caplog, snapshot(), away, away, snapshot()) == [
        "info ready",
        "warning not ready: cloud",
        "info ready again",
    ]


def test_who_is_asked_to_stop_has_lost_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert said(caplog, snapshot(), snapshot(ready=False, causes=("stopping",))) == ["info ready"]


def test_source_partitions_that_go_on_are_one_line_a_topic(caplog: pytest.LogCaptureFixture) -> None:
    stuck = snapshot("waiting", "held", "flowing")
    assert said(caplog, stuck, stuck, snapshot("flowing", "flowing", "flowing"))[1:] == [
        "info orders: 2 source partitions of orders at berlin go on"
    ]


def test_a_source_partition_that_another_worker_has_now_is_not_said_to_go_on(caplog: pytest.LogCaptureFixture) -> None:
    assert said(caplog, snapshot("waiting"), snapshot()) == ["info ready"]


def test_source_partitions_that_are_stale_no_more_go_on(caplog: pytest.LogCaptureFixture) -> None:
    stale = snapshot("flowing")
    stale["partitions"][0]["stale"] = "its sender is silent"
    assert said(caplog, stale, stale, snapshot("flowing"))[1:] == [
        "info orders: 1 source partition of orders at berlin goes on"
    ]


def test_a_topic_that_is_there_now_is_said(caplog: pytest.LogCaptureFixture) -> None:
    lacking = snapshot(acme_orders="cloud topic acme_orders is missing")
    assert said(caplog, lacking, lacking, snapshot())[1:] == ["info topic acme_orders: goes on"]


def test_what_many_topics_have_in_common_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    away = snapshot(*["waiting"] * 5, **{f"cloud{number}": "no leader" for number in range(5)})
    back = snapshot(*["flowing"] * 5)
    for each in (away, back):
        for number, row in enumerate(each["partitions"]):
            row["topic"] = f"orders{number}"
    assert said(caplog, away, back)[1:] == [
        "info 5 source partitions of 5 topics go on",
        "info topic cloud0 and 4 more: go on",
    ]
