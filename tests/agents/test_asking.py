"""Topics are asked for in frames of our own, and no lie about them is more than a cluster that is away."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from fake_broker import METADATA, VERSIONS, Answer, FakeBroker
from in_loop import in_loop

from sealwire.agents import admin
from sealwire.agents.admin import Admin, TopicFacts
from sealwire.agents.blocking import ClusterAway
from sealwire.agents.settings import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable

ID = bytes(range(16))
UNKNOWN, FORBIDDEN, AWAY = 3, 29, 5


def _text(value: str) -> bytes:
    return bytes((len(value) + 1,)) + value.encode()


def _topic(name: str, partitions: int, error: int = 0) -> bytes:
    each = struct.pack(">hiii", 0, 0, 1, 0) + (b"\2" + struct.pack(">i", 1)) * 3 + b"\0"
    return struct.pack(">h", error) + _text(name) + ID + b"\0" + bytes((partitions + 1,)) + each * partitions + bytes(5)


def _answer(port: int, *topics: bytes) -> bytes:
    broker = struct.pack(">i", 1) + _text("127.0.0.1") + struct.pack(">i", port) + b"\0\0"
    head = b"\0" + struct.pack(">i", 0) + b"\2" + broker + _text("cluster") + struct.pack(">i", 1)
    return head + bytes((len(topics) + 1,)) + b"".join(topics) + b"\0"


class Speaking(FakeBroker):
    """A broker that knows the ids of topics; ``told`` is what it answers to who asks for them."""

    def __init__(self, *topics: bytes) -> None:
        super().__init__()
        self.told: Callable[[], bytes] = lambda: _answer(self.port, *topics)
        self.asked: list[bytes] = []
        self.on[VERSIONS] = lambda _body: struct.pack(">hihhh", 0, 1, METADATA, 0, 12)
        stock = self.on[METADATA]

        def metadata(body: bytes) -> Answer:
            if body == bytes(5):  # how aiokafka begins: no topics, and none made
                return stock(body)
            self.asked.append(body)
            return self.told()

        self.on[METADATA] = metadata


@in_loop
async def test_topics_are_described_with_their_ids_and_those_that_are_not_there_left_out() -> None:
    topics = (_topic("orders", 3), _topic("none", 0, UNKNOWN), _topic("secret", 0, FORBIDDEN))
    async with Speaking(*topics) as fake:
        asking = Admin(Cluster(fake.bootstrap))
        assert await asking.describe(["orders", "none", "secret"]) == {"orders": TopicFacts(ID, 3)}
        assert asking.forbidden.keys() == {"secret"}
        assert b"orders" in fake.asked[0]
        assert asking._made is None, "librdkafka reads what brokers say for as long as it lives"


@in_loop
async def test_a_topic_whose_brokers_are_changing_is_one_of_a_cluster_that_is_away() -> None:
    async with Speaking(_topic("orders", 3, AWAY)) as fake:
        with pytest.raises(ClusterAway, match="topic orders"):
            await Admin(Cluster(fake.bootstrap)).describe(["orders"])


TRUE = _answer(9, _topic("orders", 3))


@pytest.mark.parametrize(
    "lie",
    [
        TRUE[:-30],
        TRUE[:20],
        b"",
        TRUE.replace(b"\7orders", b"\xff\xff\xff\xff\xff\xff"),
        TRUE.replace(b"\7orders", b"\xff\xff\xff\x7forders"),
        TRUE.replace(ID + b"\0\4", ID + b"\0\xff\xff\xff\xff\x0f"),
    ],
)
def test_a_lie_about_topics_is_a_cluster_that_is_away(lie: bytes) -> None:
    @in_loop
    async def scenario() -> None:
        async with Speaking() as fake:
            fake.told = lambda: lie
            with pytest.raises(ClusterAway):
                await Admin(Cluster(fake.bootstrap)).describe(["orders"])

    scenario()


@in_loop
async def test_a_broker_that_knows_no_ids_is_named() -> None:
    async with FakeBroker() as fake:
        with pytest.raises(ClusterAway, match=r"Kafka 2\.8"):
            await admin.Admin(Cluster(fake.bootstrap)).describe(["orders"])
