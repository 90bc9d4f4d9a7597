"""`site init` and `topics apply` on brokers that run: what they make, and that they may be run again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sealwire.agents.admin import Admin, TopicPlan
from sealwire.agents.settings import Cluster
from sealwire.app import cli, topics
from sealwire.app.embedded import EmbeddedBroker
from sealwire.app.faults import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def local() -> Iterator[Cluster]:
    with EmbeddedBroker() as broker:
        yield Cluster(broker.bootstrap, embedded=True)


@pytest.fixture
def cloud() -> Iterator[Cluster]:
    with EmbeddedBroker() as broker:
        yield Cluster(broker.bootstrap, embedded=True)


def there(cluster: Cluster) -> dict[str, int]:
    return asyncio.run(Admin(cluster).topics())


def make(cluster: Cluster, **partitions: int) -> None:
    plans = [TopicPlan(name.replace("_", "."), count) for name, count in partitions.items()]
    asyncio.run(Admin(cluster).create_topics(plans))


def node(directory: Path, local: Cluster, cloud: Cluster, extra: str = "") -> str:
    path = directory / "node.yaml"
    path.write_text(
        "project: acme\nsite: berlin\nidentity: {seal: s, open: o}\nstate: state\n"
        f'local: {{bootstrap: "{local.bootstrap}", broker: embedded}}\n'
        f'cloud: {{bootstrap: "{cloud.bootstrap}", broker: embedded}}\nmappings:\n'
        "  - {channel: a, seal: x, to: c.x}\n  - {channel: b, open: c.y, to: y}\n" + extra
    )
    return str(path)


def test_cloud_topics_are_shown_made_once_and_left_alone_afterwards(
    tmp_path: Path, local: Cluster, cloud: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    make(local, x=3)
    make(cloud, c_y=2)
    path = node(tmp_path, local, cloud)
    assert cli.main(["topics", "apply", path, "--yes"]) == 0
    assert "Made: c.x" in capsys.readouterr().out
    assert there(cloud) == {"c.x": 3, "c.y": 2}
    assert cli.main(["topics", "apply", path, "--yes"]) == 0
    assert "Nothing to make." in capsys.readouterr().out


def test_a_cloud_topic_whose_source_is_missing_is_not_guessed_at(
    tmp_path: Path, local: Cluster, cloud: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["topics", "apply", node(tmp_path, local, cloud), "--yes"]) == 1
    assert "waiting: c.x: no local topic x yet" in capsys.readouterr().err
    assert there(cloud) == {}


def test_a_site_is_made_once_and_its_lanes_are_fixed_then(
    tmp_path: Path, local: Cluster, cloud: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    make(cloud, c_y=5)
    path = node(tmp_path, local, cloud)
    assert cli.main(["site", "init", path]) == 0
    made = there(local)
    assert made.pop("y") == 5
    single = ("_sealwire.acme.berlin.orders", "_sealwire.acme.berlin.quarantine")
    assert {made[name] for name in single} == {1}
    assert {count for name, count in made.items() if name not in single} == {16}
    assert all(name.startswith("_sealwire.acme.berlin.") for name in made)
    assert cli.main(["site", "init", path]) == 0
    assert cli.main(["site", "init", node(tmp_path, local, cloud, "lanes: 4\n")]) == 2
    assert "made with 16 lanes, the YAML says 4" in capsys.readouterr().err
    assert there(local) == {**made, "y": 5}


def test_a_projects_topics_are_made_once(cloud: Cluster) -> None:
    assert sorted(topics.make_project_topics(cloud, "acme")) == ["acme.control", "acme.requests", "acme.sessions"]
    assert topics.make_project_topics(cloud, "acme") == []
    assert there(cloud) == {"acme.control": 1, "acme.requests": 1, "acme.sessions": 1}


def test_a_cluster_that_is_away_is_named(local: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwire.agents.blocking.TIMEOUT", 0.2)
    monkeypatch.setattr("sealwire.agents.admin.TIMEOUT", 0.2)
    del local
    with pytest.raises(Failure, match=r"No answer from 127\.0\.0\.1:1: "):
        topics.make_project_topics(Cluster("127.0.0.1:1"), "acme")
