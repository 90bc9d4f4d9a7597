"""What both sides of a worker have: what they were told, what they count, and what they say once."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from sealwire.agents.buffers import Buffers
from sealwire.agents.rotation import Rotation
from sealwire.agents.tally import Tallies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealwire.agents.control import Control
    from sealwire.agents.lanes import Lanes
    from sealwire.agents.settings import Settings
    from sealwire.agents.topics import TopicWatch

_log = logging.getLogger(__name__)


class Side:
    """One direction of a worker, as far as its lanes share it. ``trouble`` is in words, by the topic it is about."""

    def __init__(self, settings: Settings, control: Control, watch: TopicWatch) -> None:
        self.settings, self.control, self.watch = settings, control, watch
        self.project_id = control.trust.project_id
        self.buffers = Buffers()
        self.counters: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()  # envelopes, by Reason
        self.tallies = Tallies()
        self.trouble: dict[str, str] = {}
        self.lanes: Lanes
        self.rotation = Rotation(settings.state, lambda: self.deeds)
        self._said: set[str] = set()

    @property
    def held(self) -> str:
        """Say why nothing may be sealed or delivered; empty when it may."""
        return self.control.over or self.control.holding

    @property
    def deeds(self) -> dict[str, Callable[[], Awaitable[str]]]:
        """Say how each thing that both sides have is made anew by order."""
        renewal = self.control.renewal
        return {"credential": renewal.credential_anew, "identity": renewal.identity_anew}

    @property
    def troubles(self) -> dict[str, str]:
        """What topics wait for, by topic."""
        return dict(self.trouble)

    @property
    def reads(self) -> bool:
        """Tell whether anything at all is being read."""
        works: list[Any] = [lane.work for lane in self.lanes.open.values()]
        seats = [seat for work in works for seat in work.seats.values() if seat.route.cloud_topic not in self.trouble]
        return any(seat.seat is not None and not seat.seat.trouble for seat in seats)

    def say(self, words: str) -> None:
        """Tell the log, once."""
        if words not in self._said:
            self._said.add(words)
            _log.warning(words)

    def forget(self, words: str) -> None:
        """Let the log be told again what is over, should it come back."""
        self._said.discard(words)
