"""What topics are made follows from the mappings and from what is there; nothing that is there is made less."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from sealwire.agents.blocking import ClusterRefused
from sealwire.agents.settings import TABLE
from sealwire.app import topics
from sealwire.app.config import Node, load
from sealwire.app.faults import Failure
from sealwire.app.topics import Deed, Step

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.agents.admin import Admin

LANES = "_sealwire.acme.berlin.seal.lanes"
OPEN_LANES = "_sealwire.acme.berlin.open.lanes"
TABLES = [f"_sealwire.acme.berlin.{way}-{TABLE}-changelog" for way in ("seal", "open")]
CURSORS, LEDGER = "_sealwire.acme.berlin.cursors", "_sealwire.acme.berlin.ledger"
ORDERS, QUARANTINE = "_sealwire.acme.berlin.orders", "_sealwire.acme.berlin.quarantine"
SINGLE = dict.fromkeys((ORDERS, QUARANTINE), ("make", 1))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    path = tmp_path / "node.yaml"
    path.write_text(
        "project: acme\nsite: berlin\nidentity: {seal: s, open: o}\nstate: state\nlanes: 4\n"
        'local: {bootstrap: "localhost:1"}\ncloud: {bootstrap: "cloud:1"}\nmappings:\n'
        "  - {channel: a, seal: x, to: c.x}\n"
        "  - {channel: a, seal: bigger, to: c.x}\n"
        "  - {channel: b, open: c.y, to: y}\n"
    )
    found = load(path)
    assert isinstance(found, Node), found
    return found


def deeds(steps: list[Step]) -> dict[str, tuple[str, int]]:
    return {step.topic: (str(step.deed), step.partitions) for step in steps}


def test_a_cloud_topic_gets_the_partitions_of_its_largest_source_and_room_for_large_envelopes(node: Node) -> None:
    steps = topics.cloud_steps(node, {"x": 3, "bigger": 5}, {"c.y": 2}, retention_days=3)
    assert deeds(steps) == {"c.x": ("make", 5), "c.y": ("keep", 2)}
    assert steps[0].config["max.message.bytes"] == str(8 * 1024 * 1024)
    assert steps[0].config["retention.ms"] == str(3 * 24 * 3600 * 1000)


def test_a_cloud_topic_grows_and_never_shrinks(node: Node) -> None:
    assert deeds(topics.cloud_steps(node, {"x": 3}, {"c.x": 2}))["c.x"] == ("grow", 3)
    assert deeds(topics.cloud_steps(node, {"x": 3}, {"c.x": 9}))["c.x"] == ("keep", 9)


def test_a_source_topic_that_is_missing_is_waited_for_by_name(node: Node) -> None:
    steps = topics.cloud_steps(node, {}, {})
    assert deeds(steps) == {"c.x": ("wait", 0), "c.y": ("wait", 0)}
    assert "no local topic x, bigger yet" in steps[0].why
    assert "the sending site makes it" in steps[1].why


def test_a_site_gets_lanes_cursors_and_sinks(node: Node) -> None:
    steps = topics.site_steps(node, {}, {"c.y": 6})
    ours = dict.fromkeys((LANES, OPEN_LANES, CURSORS, LEDGER, *TABLES), ("make", 4))
    assert deeds(steps) == {**ours, **SINGLE, "y": ("make", 6)}
    assert next(step for step in steps if step.topic == CURSORS).config["cleanup.policy"] == "compact"


def test_what_persons_order_is_kept_for_ever_and_what_is_quarantined_is_bounded(node: Node) -> None:
    config = {step.topic: step.config for step in topics.site_steps(node, {}, {"c.y": 6})}
    assert config[ORDERS] == {"cleanup.policy": "delete", "retention.ms": "-1"}
    assert config[QUARANTINE]["retention.bytes"] == str(1 << 30)
    assert int(config[QUARANTINE]["max.message.bytes"]) > int(topics.cloud_config()["max.message.bytes"])


def test_a_site_that_has_all_gets_nothing(node: Node) -> None:
    there = dict.fromkeys((LANES, OPEN_LANES, CURSORS, LEDGER, *TABLES), 4) | {"y": 8, ORDERS: 1, QUARANTINE: 1}
    assert {step.deed for step in topics.site_steps(node, there, {"c.y": 6})} == {Deed.KEEP}


def test_another_number_of_lanes_is_refused(node: Node) -> None:
    steps = topics.site_steps(node, {LANES: 16}, {"c.y": 6})
    with pytest.raises(Failure, match="made with 16 lanes, the YAML says 4") as caught:
        topics.refuse(steps, "cure")
    assert caught.value.code == 2


def test_a_sink_waits_for_its_cloud_topic_and_is_not_grown_behind_its_owners_back(node: Node) -> None:
    assert deeds(topics.site_steps(node, {}, {}))["y"] == ("wait", 0)
    assert "could not be asked for" in topics.site_steps(node, {}, None)[-1].why
    assert deeds(topics.site_steps(node, {"y": 2}, {"c.y": 6}))["y"] == ("wait", 2)


def test_a_project_gets_three_topics_of_one_partition(node: Node) -> None:
    steps = topics.project_steps(node.project, {})
    assert deeds(steps) == {f"acme.{name}": ("make", 1) for name in ("control", "sessions", "requests")}
    assert [step.config["cleanup.policy"] for step in steps] == ["compact", "delete", "delete"]
    assert steps[2].config["retention.ms"] == str(7 * 24 * 3600 * 1000)


def test_a_project_topic_of_many_partitions_is_refused() -> None:
    with pytest.raises(Failure, match=r"acme\.control has 3 partitions, and must have 1"):
        topics.refuse(topics.project_steps("acme", {"acme.control": 3}), "cure")


class Answering:
    """An administrator's client that knows one setting, or may not be asked."""

    def __init__(self, answer: str | Exception) -> None:
        self._answer = answer

    async def config(self, _name: str) -> dict[str, str]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return {"max.message.bytes": self._answer}


@pytest.mark.parametrize(
    ("answer", "found"),
    [("1048588", {"c.x": 1048588}), ("8388608", {}), (ClusterRefused("no"), {}), ("-", {})],
)
def test_a_topic_that_takes_no_large_envelope_is_found_where_the_broker_tells(
    node: Node, answer: str | Exception, found: dict[str, int]
) -> None:
    steps = topics.cloud_steps(node, {"x": 3}, {"c.x": 3, "c.y": 1})
    admin = cast("Admin", Answering(answer))
    assert asyncio.run(topics.small_topics(admin, steps)) == found
