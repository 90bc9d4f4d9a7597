"""What both sides of a worker have: what they were told, what they count, and what they say once."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from sealwire.agents.buffers import Buffers
from sealwire.agents.tally import Tallies

if TYPE_CHECKING:
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
        self.tallies = Tallies()
        self.trouble: dict[str, str] = {}
        self.lanes: Lanes
        self._said: set[str] = set()

    def say(self, words: str) -> None:
        """Tell the log, once."""
        if words not in self._said:
            self._said.add(words)
            _log.warning(words)
