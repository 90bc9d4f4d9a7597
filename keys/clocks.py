"""Clocks that disagree with ours, by the dates of what their owners signed.

One clock proves nothing against ours: it may be the wrong one. The authority's and another member's together do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

AUTHORITY: Final = b""
"""Stands for the authority where else is a member id."""


class Ahead(NamedTuple):
    """A statement, truly its signer's, that was dated more than five minutes after our clock when it was heard."""

    date: int  # ms, its own
    heard_at: int  # ms, our clock


def judge(ahead: Mapping[bytes, Ahead], counts: Callable[[bytes, int], bool], now: int) -> Rejected | None:
    """Say why our clock is wrong, naming the clocks; None where too few say so.

    Those count of whom a statement was more than five minutes ahead when it was heard and whose date has not come yet.
    `counts` tells for a member id, and the date of what it said, whether this member is heard at all.
    """
    coming = {who: said.date for who, said in ahead.items() if said.date > now}
    others = [date for who, date in coming.items() if who != AUTHORITY and counts(who, date)]
    if AUTHORITY not in coming or not others:
        return None
    return Rejected(
        Reason.AHEAD,
        f"our clock says {now}, the authority's said {coming[AUTHORITY]} before, and those of "
        f"{len(others)} other members up to {max(others)}",
    )
