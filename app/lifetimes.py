"""How long secrets live, by a node's YAML: when they are made anew, and when they are erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealwire.agents.settings import Lifetimes
from sealwire.app import duration, size
from sealwire.keys import session

if TYPE_CHECKING:
    from sealwire.app.document import Section

_DEFAULT: Final = Lifetimes()
_MINUTE, _HOUR, _DAY = 60, 3600, 24 * 3600  # seconds
ROTATE: Final = "rotate: {session: 10m, bytes: 64GiB, identity: 30d}"


def read(document: Section) -> Lifetimes:
    """Read `keep`, `receive_grace`, `hold_secrets` and `rotate`; what is wrong is noted where it stands."""
    keep = _length(document, "keep", _DEFAULT.keep, 0, 30 * _DAY)
    grace = _length(document, "receive_grace", _DEFAULT.receive_grace, _HOUR, 30 * _DAY)
    hold = _length(document, "hold_secrets", _DEFAULT.hold_secrets, _HOUR, 90 * _DAY)
    if document.has("keep") and keep > hold:
        limit = duration.shown(hold // 1000)
        document.fault("keep", f"is longer than hold_secrets ({limit}), when every secret goes at the latest")
    rotate = document.section("rotate", cure=ROTATE)
    if rotate is None:
        return Lifetimes(keep, grace, hold)
    age = _length(rotate, "session", _DEFAULT.session.busy_age, 10, session.IDLE_AGE // 1000)
    most = size.read(rotate, "bytes", _DEFAULT.session.bytes, 1 << 20, 1 << 40)
    identity = _length(rotate, "identity", _DEFAULT.identity, _DAY, 365 * _DAY)
    rotate.close()
    return Lifetimes(keep, grace, hold, session.Rules(busy_age=age, bytes=most), identity)


def _length(section: Section, setting: str, default: int, least: int, most: int) -> int:
    """Give a length in ms; the bounds are seconds."""
    return duration.seconds(section, setting, default // 1000, least, most) * 1000
