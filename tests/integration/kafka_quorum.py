"""A cluster of three brokers, each its own process, of which any one may be killed: replication 3, two in sync."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from kafka_cluster import KafkaCluster, start_together

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Member(KafkaCluster):
    """One broker of several, and one controller."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(name)
        self.number = number
        self.voters = ""

    @property
    def voter(self) -> str:
        """How the others find its controller."""
        return f"{self.number}@127.0.0.1:{self._controller}"

    def _settings(self) -> dict[str, str]:
        return {
            **super()._settings(),
            "node.id": str(self.number),
            "controller.quorum.voters": self.voters,
            "default.replication.factor": "3",
            "min.insync.replicas": "2",
            "offsets.topic.replication.factor": "3",
            "transaction.state.log.replication.factor": "3",
            "transaction.state.log.min.isr": "2",
            "share.coordinator.state.topic.replication.factor": "3",
            "leader.imbalance.check.interval.seconds": "3",  # leaders move back by themselves, soon
        }


class KafkaQuorum(KafkaCluster):
    """Three brokers that answer as one cluster; what a cluster of one broker can do, each of them does."""

    def __init__(self, name: str) -> None:
        self.members: Sequence[_Member] = [_Member(f"{name}-{number}", number) for number in (1, 2, 3)]
        self.name = name
        self.cluster_id = self.members[0].cluster_id
        self.bootstrap = ",".join(member.bootstrap for member in self.members)
        for member in self.members:
            member.cluster_id = self.cluster_id
            member.voters = ",".join(each.voter for each in self.members)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.__exit__)
            start_together(self.members)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.__exit__()

    def leaders(self, topic: str) -> dict[int, int]:
        """The leader of each partition of a topic, by node id."""
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415

        found = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(topic, timeout=20)
        return {number: each.leader for number, each in found.topics[topic].partitions.items()}
