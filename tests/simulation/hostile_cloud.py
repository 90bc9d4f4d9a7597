"""The cloud that nobody has to trust: what it was given, and the histories that it shows instead, perhaps several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim_kafka import Cluster, View, readable, span

if TYPE_CHECKING:
    from sim_kafka import Log

Given = tuple[str, int, bytes]
BESIDE = 8  # offsets: more than a lie puts a reader beyond the end
ENVELOPES = ("acme.orders", "acme.bills")
STATEMENTS = ("acme.control", "acme.sessions", "acme.requests")


class History(Cluster):
    """What some members are shown. ``frozen`` names the fault for which nothing new is; ``swallow`` counts writes."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = ""
        self.kept: list[Given] = []
        self.swallow: dict[str, int] = {}  # by topic: how many of the next writes are acknowledged and never shown

    def take(self, topic: str, partition: int, batch: bytes) -> int:
        """Show what a writer gave, or not."""
        log: Log = self.at(topic, partition)  # type: ignore[assignment]
        if self.frozen:
            self.kept.append((topic, partition, batch))
            log.hidden = self.frozen
            log.wake()
            return log.end
        if self.swallow.get(topic, 0):
            self.swallow[topic] -= 1
            log.note(log.end, "swallow")
            return log.end
        return super().store(topic, partition, batch)

    def thaw(self, *, show: bool = True) -> None:
        """Go on; what came meanwhile is shown now, or never."""
        self.frozen, kept = "", self.kept
        self.kept = []
        for topic, partition, batch in kept:
            if show:
                self.take(topic, partition, batch)


class HostileCloud(History):
    """The main history, and where all writers write. ``given`` is every batch that any of them gave, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Given] = []
        self.forks: list[History] = []
        self.members: dict[str, View] = {}
        self.hostile = True

    @property
    def histories(self) -> list[History]:
        """All that are shown to somebody."""
        return [self, *self.forks]

    def view(self, member: str) -> View:
        """What one member is shown."""
        if member not in self.members:
            self.members[member] = View(member, self)
        return self.members[member]

    def store(self, topic: str, partition: int, batch: bytes) -> int:
        self.given.append((topic, partition, batch))
        for fork in self.forks:
            fork.take(topic, partition, batch)
        return self.take(topic, partition, batch)

    def fork(self, member: str) -> History:
        """Show one member a history of its own from now on."""
        view = self.view(member)
        twin = History()
        twin.topics = {name: (id_, [log.copy() for log in logs]) for name, (id_, logs) in view.topics.items()}
        twin.adopt()
        self.forks.append(twin)
        view.turn_to(twin)
        return twin

    def _wheres(self) -> list[tuple[str, int]]:
        return [(topic, partition) for topic, (_id, logs) in self.topics.items() for partition in range(len(logs))]

    def be_honest(self, *, whole: bool) -> None:
        """From now on serve one history to all: with ``whole``, everything that was ever given is served once more."""
        self.hostile = False
        for view in self.members.values():
            view.lies.clear()
            view.lag = 0.0
            if view.history is not self:
                view.turn_to(self)
        self.thaw()
        self.swallow.clear()
        given, self.given = self.given, []
        tops = {where: max(each.at(*where).top for each in self.histories) for where in self._wheres()}  # type: ignore[attr-defined]
        comes = {(topic, partition) for topic, partition, _batch in given if whole or topic in STATEMENTS}
        for where, top in tops.items():
            log: Log = self.at(*where)  # type: ignore[assignment]
            log.hidden, log.visible, log.stable = "", None, None
            log.end, batches, log.batches = log.start, log.batches, []
            for batch in batches:
                first, last = span(batch)
                if readable(batch) and first >= log.end:  # no honest log overlaps itself
                    log.batches.append(batch)
                    log.end = last + 1
            if where in comes:  # it stands where nobody has read yet, whatever history he was shown
                log.end = top + BESIDE
        self.forks.clear()
        for topic, partition, batch in given:
            if whole or topic in STATEMENTS:
                self.store(topic, partition, batch)
        for view in self.members.values():
            view.poke_all()
