"""Who may read what a channel carries from here: those whom the charter lets, and of them those whom the YAML names."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sealwire.agents import clock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sealwire.agents.control import Control
    from sealwire.agents.settings import Settings
    from sealwire.keys.keypackage import KeyPackage

    Readers = tuple[tuple[bytes, KeyPackage], ...]
    Only = Collection[str] | None

_log = logging.getLogger(__name__)


class Readership:
    """The cloud topics of each channel that is sealed here, and who may read all of them.

    One session seals for all cloud topics of its channel: who may not read one of them is granted none of it.
    """

    def __init__(self, settings: Settings, control: Control) -> None:
        self._control = control
        self._channels: dict[str, dict[str, frozenset[str] | None]] = {}
        self._warned: set[str] = set()
        for route in settings.seal:
            self.cover(route.channel, route.cloud_topic, route.readers)
        for pattern in settings.seal_patterns:
            self._channels.setdefault(pattern.channel, {})

    def __iter__(self) -> Iterator[str]:
        """Go through the channels."""
        return iter(self._channels)

    def topics(self, channel: str) -> tuple[str, ...]:
        """Name the cloud topics of a channel that were covered so far."""
        return tuple(self._channels[channel])

    def cover(self, channel: str, cloud_topic: str, only: Only) -> bool:
        """Count a cloud topic as one of the channel's for good; tell whether that is new.

        ``only`` names who may read it, of those who are allowed to; None leaves that to the charter.
        """
        topics = self._channels.setdefault(channel, {})
        known, named = topics.get(cloud_topic), None if only is None else frozenset(only)
        if cloud_topic in topics and (named is None or named == known):
            return False
        topics[cloud_topic] = named if known is None or named is None else known & named
        return True

    def of(self, channel: str) -> Readers:
        """Give who may read every cloud topic of a channel now, by member id."""
        now, trust = clock.now(), self._control.trust
        allowed = [
            {
                member_id: package
                for member_id, package in trust.readers(channel, cloud_topic, now)
                if only is None or trust.name_of(member_id) in only
            }
            for cloud_topic, only in sorted(self._channels[channel].items())
        ]
        return tuple(each for each in sorted(allowed[0].items()) if all(each[0] in others for others in allowed[1:]))

    def bars(self, channel: str, member_ids: Iterable[bytes]) -> bool:
        """Tell whether the charter bars one of them by now: refuses it, or lets it read not all of the channel."""
        trust = self._control.trust
        topics = self.topics(channel)
        return any(trust.bars(member_id, channel, topic, clock.now()) for member_id in member_ids for topic in topics)

    def unknown(self) -> dict[str, str]:
        """Say in words, by channel, which of the names in the YAML are no member's. Each is told to the log once."""
        if not self._control.caught_up.is_set():
            return {}
        known = {credential.name for credential in self._control.trust.credentials.values()}
        found = {}
        for channel, topics in self._channels.items():
            named = {name for only in topics.values() if only is not None for name in only}
            if lacking := sorted(named - known):
                words = f"readers: no member is named {', '.join(lacking)} (sealwire members lists them)"
                found[channel] = words
                if f"{channel}: {words}" not in self._warned:
                    self._warned.add(f"{channel}: {words}")
                    _log.warning("channel %s: %s", channel, words)
        return found
