"""First grants: whom a worker grants sessions of a channel, put on record once in its life."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealwire.agents.control import Control


class FirstGrants:
    """Notes the first grant of each channel to each reader before it goes out, so that none is there unnoted."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._noted: set[tuple[str, bytes]] = set()  # channel and member

    def note(self, channel: str, session_id: bytes, member_ids: Iterable[bytes]) -> None:
        """Note those to whom a session is about to be granted as the first of its channel by this worker."""
        control = self._control
        for member_id in member_ids:
            if (channel, member_id) not in self._noted:
                self._noted.add((channel, member_id))
                session, who, name = session_id.hex(), member_id.hex(), control.trust.name_of(member_id)
                control.trail.note("granted", channel=channel, session=session, member_id=who, name=name)
