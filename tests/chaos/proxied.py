"""A Kafka cluster that workers reach through doors of a proxy, and tests directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka_cluster import KafkaCluster, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from proxy import Door, Proxy


class ProxiedCluster(KafkaCluster):
    """A listener for each door, which says of itself that it is where the door is: so clients stay outside."""

    def __init__(self, name: str, directory: Path, proxy: Proxy, doors: Sequence[str]) -> None:
        super().__init__(name, directory=directory)
        self.log_file = directory.parent / f"kafka-{name}.log"
        self._behind = {f"DOOR{number}": free_port() for number in range(len(doors))}
        self.doors: dict[str, Door] = {
            door: proxy.door(door, free_port(), port) for door, port in zip(doors, self._behind.values(), strict=True)
        }

    def _settings(self) -> dict[str, str]:
        found = super()._settings()
        listeners = [f"{name}://127.0.0.1:{port}" for name, port in self._behind.items()]
        shown = [f"{name}://{door.address}" for name, door in zip(self._behind, self.doors.values(), strict=True)]
        protocols = [f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *self._behind)]
        return {
            **found,
            "listeners": ",".join([found["listeners"], *listeners]),
            "advertised.listeners": ",".join([found["advertised.listeners"], *shown]),
            "listener.security.protocol.map": ",".join(protocols),
        }
