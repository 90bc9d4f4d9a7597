"""The cloud's topics in memory, as `CloudLog` gives them: for tests that look at what the authority publishes."""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from sealwire.app.cloudlog import CloudLog, CloudRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Killed(BaseException):
    """The process ends here, as by kill -9."""


class FakeLog(CloudLog):
    def __init__(self) -> None:
        self.topics: dict[str, list[CloudRecord]] = defaultdict(list)
        self.lives = sys.maxsize  # how many records are written before the process is killed
        self.idle: Callable[[], None] = lambda: None  # called while a follower finds nothing

    def publish(self, topic: str, record_key: bytes, value: bytes, *, seconds: float | None = None) -> int:
        if self.lives <= 0:
            raise Killed
        self.lives -= 1
        log = self.topics[topic]
        log.append(CloudRecord(len(log), 0, record_key, value))
        return len(log) - 1

    def read_whole(self, topic: str, partition: int = 0) -> list[CloudRecord]:
        return list(self.topics[topic])

    def follow(
        self, topic: str, offset: int | None = None, *, partition: int = 0, to_end: bool = False
    ) -> Iterator[CloudRecord | None]:
        at = offset or 0
        while True:
            if at < len(self.topics[topic]):
                yield self.topics[topic][at]
                at += 1
            elif to_end:
                return
            else:
                self.idle()
                yield None

    def newest_by_key(self, topic: str) -> dict[bytes | None, bytes]:
        return {record.record_key: record.value for record in self.topics[topic]}

    def close(self) -> None:
        pass
