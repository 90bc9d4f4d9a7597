"""Times on a command line: a moment in ISO 8601, or so long ago; and how long something shall last."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sealwire.app import duration
from sealwire.app.faults import CONFIGURATION, Failure

MOST_AHEAD: Final = 20 * 366 * 24 * 3600 * 1000  # ms


def past(text: str, option: str, now: int) -> int:
    """Read a moment that is over, in ms since 1970 UTC: `2026-01-31T12:00` (UTC where no zone is named), or `3h`."""
    ago = duration.length(text)
    if ago is not None:
        return max(0, now - ago * 1000)
    try:
        moment = datetime.fromisoformat(text)
        found = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Failure(
            f"{option} {text} is no time.",
            "Like 2026-01-31T12:00 (UTC), or 3h for three hours ago.",
            code=CONFIGURATION,
        ) from None
    if not 0 <= found <= now:
        raise Failure(f"{option} {text} is still to come.", "Name a time that is over.", code=CONFIGURATION)
    return found


def length(text: str, option: str, most: int = MOST_AHEAD) -> int:
    """Read how long something shall last, in ms; raises `Failure` where it is none, or longer than ``most``."""
    found = (duration.length(text) or 0) * 1000
    if not 0 < found <= most:
        limit = duration.shown(most // 1000)
        raise Failure(f"{option} {text} is no time of up to {limit}.", "Like 30m, 24h or 7d.", code=CONFIGURATION)
    return found
