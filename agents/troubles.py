"""What a client of ours tries again, and when the log hears of it: not for every try, nor for every partition."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.structs import TopicPartition

_log = logging.getLogger(__name__)
_GATHER = 0.2  # seconds in which troubles of several partitions become one line
_LOOK_EVERY = 1.0  # seconds, while something is tried again
_SAY_EVERY = 60.0  # seconds
SAY_AFTER = 5.0  # seconds: a client that has just started does not know every topic yet
NO_LEADER = "no leader: the topic or partition is missing, or its brokers are away"


class Troubles:
    """The partitions that one reader or writer has trouble with; ``doing`` names it in the log.

    A line says that troubles began, another one each minute while they last that they do, one that they are over. What
    comes back within a minute is told when that is over. A ``cause`` of its own has lines of its own.
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._words: dict[TopicPartition, str] = {}
        self._since: dict[TopicPartition, float] = {}
        self._causes: dict[TopicPartition, str] = {}
        self._heard: dict[str, dict[TopicPartition, str]] = {}
        self._said: dict[str, float] = {}
        self._told = False  # that something is wrong, and not yet that it is over
        self._timer: asyncio.TimerHandle | None = None

    @property
    def words(self) -> Mapping[TopicPartition, str]:
        """The last word on each partition that is tried again."""
        return self._words

    def note(self, where: TopicPartition, words: str, cause: str = "", *, after: float = 0.0) -> None:
        """Take note that a partition is to be tried again; it is told when it has been noted for ``after`` seconds."""
        self._words[where] = words
        now = asyncio.get_running_loop().time()
        if now - self._since.setdefault(where, now) < after:
            return
        self._causes[where] = cause
        self._heard.setdefault(cause, {}).setdefault(where, words)
        self._look_in(_GATHER)

    def known(self, where: TopicPartition, words: str) -> None:
        """Take note of what the log was told already."""
        self._words[where] = words
        self._causes.pop(where, None)

    def over(self, where: TopicPartition) -> None:
        """Take note that a partition goes on."""
        if self._words and self._words.pop(where, None) is not None:
            self._causes.pop(where, None)
            self._since.pop(where, None)

    def forget(self, where: TopicPartition) -> None:
        """Take note that a partition is not asked for any more."""
        if where in self._words:
            self.over(where)
            self._told = self._told and bool(self._causes)

    def close(self) -> None:
        """Tell what was not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._look()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer, now = None, asyncio.get_running_loop().time()
        self._said = {cause: at for cause, at in self._said.items() if now - at < _SAY_EVERY}
        for where, cause in self._causes.items():
            if cause not in self._said:
                self._heard.setdefault(cause, {})[where] = self._words[where]
        for cause in self._heard.keys() - self._said.keys():
            self._say(self._heard[cause])
            self._said[cause], self._told = now, True
        self._heard.clear()
        if self._causes:
            self._look_in(_LOOK_EVERY)
        elif self._told:
            self._told = False
            _log.warning("%s: goes on", self._doing)

    def _say(self, heard: Mapping[TopicPartition, str]) -> None:
        (topic, partition), words = next(iter(heard.items()))
        more = f" and {len(heard) - 1} more" if len(heard) > 1 else ""
        _log.warning("%s: %s[%d]%s: %s; trying again", self._doing, topic, partition, more, words)
