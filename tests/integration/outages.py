"""What a test of outages measures of workers: memory, what they say, and how soon they end."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException
from kafka_world import await_
from traffic import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka_cluster import KafkaCluster
    from kafka_world import Node

AWAY: Final = float(os.environ.get("AWAY_SECONDS", "10"))  # how long a cluster is away: a minute is what is promised
WHOLE: Final = AWAY >= 60  # noqa: PLR2004 - each state of each cluster, too
ENDS_WITHIN: Final = 30.0  # seconds from SIGTERM to the end of `sealwire up`
MEMORY: Final = 300  # MB that a worker may have used at most
_SENTENCE: Final = re.compile(r"^\d{4}-\d\d-\d\dT\S+ (?:debug|info|warning|error|critical)\s")


def peak(node: Node) -> int:
    """The most memory that the worker ever had in use, in MB."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) >> 10


def lines(node: Node) -> list[str]:
    """What `sealwire up` and its worker have said so far."""
    return node.up.text.splitlines()


def tracebacks(node: Node) -> list[str]:
    """Lines of the log that are no sentence of ours."""
    return [line for line in lines(node) if not _SENTENCE.match(line)]


@contextmanager
def gone(cluster: KafkaCluster, topic: str, seconds: float = AWAY) -> Iterator[None]:
    """A cluster that is killed, for so many seconds at least; after the block it is back, and serves the topic."""
    until = time.monotonic() + seconds
    cluster.kill()
    try:
        yield
        time.sleep(max(until - time.monotonic(), 0))
    finally:
        cluster.start()
        await_(lambda: leads(cluster, topic), f"{topic} of {cluster.name} served again")


@contextmanager
def hanging(cluster: KafkaCluster, topic: str, seconds: float = AWAY) -> Iterator[None]:
    """A cluster whose connections stay open while nothing comes (SIGSTOP); as for gone() else."""
    until = time.monotonic() + seconds
    assert cluster.process is not None
    os.killpg(cluster.process.pid, signal.SIGSTOP)
    try:
        yield
        time.sleep(max(until - time.monotonic(), 0))
    finally:
        os.killpg(cluster.process.pid, signal.SIGCONT)
        await_(lambda: leads(cluster, topic), f"{topic} of {cluster.name} served again")


def end(*nodes: Node) -> dict[str, float]:
    """Send SIGTERM to workers at once; the seconds until each had ended. An assertion where one had to be killed."""
    begun = time.monotonic()
    left = {node.identity: node for node in nodes}
    took: dict[str, float] = {}
    for node in nodes:
        assert node.up.process is not None
        node.up.process.terminate()
    while left:
        time.sleep(0.05)
        seconds = time.monotonic() - begun
        assert seconds < ENDS_WITHIN + 15, f"{sorted(left)} do not end"
        for name, node in list(left.items()):
            assert node.up.process is not None
            code = node.up.process.poll()
            if code is not None:
                took[name] = round(seconds, 1)
                assert code == 0, f"{name} had to be killed after {seconds:.0f} s:\n{node.up.text[-3000:]}"
                del left[name]
    return took


def leads(cluster: KafkaCluster, topic: str) -> bool:
    """Whether every partition of a topic can be written and read again."""
    with suppress(KafkaException):
        return count_of(cluster, topic) >= 0
    return False
