"""An embedded broker in memory for the tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from sealwire.agents.settings import Cluster

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for the helpers that these tests share
sys.path.append(str(HERE.parent / "simulation"))  # for its loop

from own_broker import end_broker, free_port, start_broker  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def broker() -> Iterator[Cluster]:
    """One embedded broker for the whole run: tests take topics of their own."""
    port = free_port()
    process = start_broker(port)
    yield Cluster(f"127.0.0.1:{port}", embedded=True)
    end_broker(process)


@pytest.fixture
def make_topic(broker: Cluster, request: pytest.FixtureRequest) -> Callable[..., str]:
    """A function that makes a topic of this test's own and returns its name."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    made = 0

    def make(partitions: int = 1) -> str:
        nonlocal made
        made += 1
        name = f"{request.node.name[:80]}-{made}".replace("[", "-").replace("]", "")
        (answer,) = admin.create_topics([NewTopic(name, partitions, 1)]).values()
        answer.result(10)
        return name

    return make
