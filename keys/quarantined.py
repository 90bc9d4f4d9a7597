"""What a site keeps of an envelope that it refused although a member truly signed it: evidence, still sealed.

A written one is a version byte and one msgpack array, read as strictly as a statement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from sealwire.keys import wire
from sealwire.keys.reason import Reason  # noqa: TC001 -- msgspec reads the annotation
from sealwire.keys.standing import VERSION, versioned


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A refused envelope: why, where in the cloud it was found, in whose session it was sealed, and when that was seen.

    ``sender`` is the member id, ``name`` what the member was called in that session. ``at`` is ms. ``envelope`` is as
    the cloud served it: whoever has the session's secret can open it.
    """

    reason: Reason
    detail: str
    cloud_topic: str
    topic_id: bytes
    partition: int
    offset: int
    session_id: bytes
    sender: bytes
    name: str
    at: int
    envelope: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return it as a version byte and msgpack; ``decode`` undoes it."""
        values = (getattr(self, name) for name in _Fields.__struct_fields__)
        return bytes((VERSION,)) + wire.pack(_Fields(*values))

    @staticmethod
    def decode(data: bytes) -> Quarantined:
        """Read what ``encode`` gave.

        Raises:
            Rejected: UNKNOWN_VERSION, MALFORMED.
        """
        return Quarantined(**msgspec.structs.asdict(wire.unpack(versioned(data), _DECODER)))


class _Fields(wire.Fields, frozen=True):
    reason: Reason
    detail: str
    cloud_topic: str
    topic_id: wire.Id16
    partition: wire.U32
    offset: wire.Offset
    session_id: wire.Id
    sender: wire.Id
    name: str
    at: wire.Time
    envelope: bytes


_DECODER: Final = msgspec.msgpack.Decoder(_Fields)
