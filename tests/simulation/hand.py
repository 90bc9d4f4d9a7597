"""The hand that does a fault: where it reaches, and its dice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostile_cloud import ENVELOPES, STATEMENTS
from sim_kafka import span

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from hostile_cloud import History, HostileCloud
    from sim_kafka import Log
    from simulation import Simulation
    from virtual_loop import VirtualLoop

FAULTS: dict[str, Callable[[Hand], None]] = {}


def fault(does: Callable[[Hand], None]) -> Callable[[Hand], None]:
    """Enter a fault under the name of its function."""
    FAULTS[does.__name__] = does
    return does


class Hand:
    """One reach into the cloud."""

    def __init__(self, run: Simulation, dice: random.Random, foreign: Foreign) -> None:
        self.run, self.dice, self.foreign = run, dice, foreign
        self.loop: VirtualLoop = run.loop
        self.cloud: HostileCloud = run.world.cloud

    def history(self) -> History:
        """One of the histories that are shown."""
        return self.dice.choice(self.cloud.histories)

    def log(self, history: History | None = None, topics: Sequence[str] = ENVELOPES) -> Log:
        """One log."""
        history = history or self.history()
        topic = self.dice.choice(topics)
        return self.dice.choice(history.topics[topic][1])  # type: ignore[return-value]

    def logs(self, topics: Sequence[str] = ENVELOPES) -> list[Log]:
        """The logs of envelopes of every history that hold anything, in a random order."""
        found = [
            log
            for history in self.cloud.histories
            for topic in topics
            for log in history.topics[topic][1]
            if log.batches
        ]
        self.dice.shuffle(found)
        return found  # type: ignore[return-value]

    def statements(self) -> list[Log]:
        """The same of the project's own topics."""
        return self.logs(STATEMENTS)

    def flipped(self, value: bytes) -> bytes:
        """The same bytes, one bit of them another; nothing stays nothing."""
        found = bytearray(value)
        if found:
            found[self.dice.randrange(len(found))] ^= 1 << self.dice.randrange(8)
        return bytes(found)

    def recent(self, log: Log) -> int:
        """The offset of one of its last batches: the newest are those that nobody has read yet."""
        batches = log.batches[-8:]
        return span(self.dice.choice(batches))[0]

    def value(self, log: Log, offset: int | None = None) -> bytes:
        """One of its values."""
        return log.value(self.recent(log) if offset is None else offset)

    def inject(self, log: Log, value: bytes | None, fault_name: str, record_key: bytes | None = None) -> None:
        """Show a record of nobody's at its end."""
        log.note(log.end, fault_name)
        log.inject(value, record_key)


class Foreign:
    """What another project of the same cloud has: true bytes that are not for us."""

    def __init__(self, envelopes: list[bytes], statements: list[bytes]) -> None:
        self.envelopes, self.statements = envelopes, statements
