"""One record of a cloud partition: opened, or refused, or parked until it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sealwire.agents import clock
from sealwire.agents.cloud_seat import AHEAD
from sealwire.keys.envelope import Place
from sealwire.keys.opening import Opened, UnknownSession, open_envelope
from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from sealwire.agents.cloud_seat import CloudSeat
    from sealwire.agents.opening_side import Opening
    from sealwire.agents.records import Record


class Found(NamedTuple):
    """An opened envelope, and the lent buffer that its batches are in."""

    opened: Opened
    buffer: bytearray


def open_record(side: Opening, seat: CloudSeat, record: Record) -> Found | None:
    """Open the envelope in a record; None where it was refused or parked, which is counted and told then."""
    if record.value is None:
        side.refuse(Rejected(Reason.FOREIGN, "an empty record"), seat.where, record.offset, None)
        return None
    key = None if record.record_key is None else bytes(record.record_key)
    place = Place(side.project_id, seat.route.channel, seat.route.cloud_topic, seat.partition)
    buffer = side.buffers.lend(len(record.value))
    try:
        opened = open_envelope(
            record.value,
            place,
            key,
            side.control.sessions,
            side.control.trust,
            clock.now(),
            memoryview(buffer),
            elsewhere=side.elsewhere(place),
        )
    except Rejected as refusal:
        side.buffers.give_back(buffer)
        if refusal.reason is Reason.AHEAD:
            _park(side, seat, AHEAD, record.offset, refusal.detail)
        else:
            side.refuse(refusal, seat.where, record.offset, record.value)
        return None
    if isinstance(opened, UnknownSession):
        side.buffers.give_back(buffer)
        if side.control.forgotten(opened.session_id):
            side.counters["of forgotten sessions"] += 1
            return None
        if side.control.trust.claims_of(opened.session_id):
            # Known but not granted: it may still come, late or from a neighbour.
            side.counters["without a grant"] += 1
        _park(side, seat, opened.session_id, record.offset, "its session is not known")
        return None
    return Found(opened, buffer)


def _park(side: Opening, seat: CloudSeat, session_id: bytes, offset: int, why: str) -> None:
    if seat.park(session_id, offset):
        side.parked(why, seat.where, offset)
    side.refused["parked"] += 1
