"""How large a batch a topic takes (max.message.bytes), as far as refusals taught it, and when to try again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from sealwire.agents.admin import Admin
from sealwire.agents.blocking import ClusterAway, ClusterRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealwire.agents.settings import Cluster

_SETTING = "max.message.bytes"
_ANYWAY_EVERY = 24 * 3600.0  # seconds


class Room(NamedTuple):
    """Bytes of a batch: to ``most`` it is cut, ``alone`` may a single record have, which cannot be cut.

    They are one where the topic's own setting is known; else ``most`` is a guess, and a larger one than ``alone`` was
    refused.
    """

    most: int
    alone: int

    @property
    def words(self) -> str:
        """Say how much is taken, as far as it is known."""
        if self.most != self.alone:
            return "fewer are allowed (how many, it did not tell us)"
        return f"{self.most} are allowed"


class Rooms:
    """What is known of the topics of one cluster that we write to.

    ``start`` holds for those that refused nothing. Every ``unasked_every`` seconds another try is worth it where nobody
    tells us a topic's settings.
    """

    def __init__(self, cluster: Cluster, client_id: str, start: Room, unasked_every: float) -> None:
        self._cluster, self._client_id, self._start = cluster, client_id, start
        self._unasked_every = unasked_every
        self._rooms: dict[str, Room] = {}
        self._seen: dict[str, tuple[Mapping[str, str] | None, float]] = {}
        self._admin: Admin | None = None

    def of(self, topic: str) -> Room:
        """Tell how large a batch may be that is tried next."""
        return self._rooms.get(topic, self._start)

    async def refused(self, topic: str, size: int) -> Room:
        """Learn that a batch of ``size`` bytes was too large; what is told from now on is smaller.

        The topic is asked for its setting, where we may ask.
        """
        found = await self._settings(topic)
        limit, before = _limit(found), self.of(topic)
        if 0 < limit < size:
            self._rooms[topic] = Room(limit, limit)
        else:  # somebody else may have learned meanwhile to cut smaller
            self._rooms[topic] = Room(min(before.most, size // 2 or 1), min(before.alone, size - 1))
        return self._rooms[topic]

    async def note(self, topic: str) -> None:
        """Look at the settings with which a topic refuses what is held now."""
        self._seen[topic] = (await self._settings(topic), asyncio.get_running_loop().time())

    async def changed(self, topic: str) -> bool:
        """Tell whether what a topic refused is worth another try: it has other settings than before.

        Or it was not looked at before, or cannot be asked for a while, or tells now what could only be guessed at the
        refusal, or a day passed. What a refusal taught is forgotten then.
        """
        now = asyncio.get_running_loop().time()
        found, room = await self._settings(topic), self.of(topic)
        before, since = self._seen.get(topic, (None, -_ANYWAY_EVERY))
        same = found == before and now - since < (self._unasked_every if found is None else _ANYWAY_EVERY)
        guessed = topic in self._rooms and room.most < room.alone
        if same and not (guessed and 0 < _limit(found) <= room.alone):
            return False
        self._seen[topic] = (found, now)
        self._rooms.pop(topic, None)
        return True

    async def _settings(self, topic: str) -> Mapping[str, str] | None:
        try:
            self._admin = self._admin or Admin(self._cluster, self._client_id)
            return await self._admin.config(topic)
        except (ClusterAway, ClusterRefused):
            return None


def _limit(settings: Mapping[str, str] | None) -> int:
    """Find how large a batch a topic takes, in bytes; 0 where it is not told."""
    with suppress(TypeError, ValueError):
        return int((settings or {}).get(_SETTING, 0))
    return 0
