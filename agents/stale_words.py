"""What an operator is told of a source partition that is stale: since when, what that means, and what to look at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, assert_never

from sealwire.keys.outlook import Sign

if TYPE_CHECKING:
    from sealwire.keys.outlook import Stale


def explain(stale: Stale) -> str:
    """Say it in a sentence. Times of words are by their sender's clock."""
    since, word = moment(stale.since), stale.word
    match stale.sign:
        case Sign.BEHIND:
            stated = "" if word is None else f", and {word.next} as of {moment(word.as_of)}"
            return (
                f"its sender stated more by {since}{stated}, and that has not come: the cloud keeps envelopes back, or "
                "this site is slow; compare the position in the sending site's status"
            )
        case Sign.SILENT:
            spoken = (
                f"nobody has spoken of it since {since}"
                if word is None
                else f"its sender spoke last at {moment(word.as_of)} and was to speak by {moment(word.next_by)}"
            )
            return (
                f"{spoken}: its sealer is away or refused (the sending site's status tells), its clock is wrong, or "
                "the cloud keeps its words back"
            )
        case _:
            assert_never(stale.sign)


def moment(ms: int) -> str:
    """Write a time (ms since 1970) in UTC, to the second; one that is in no calendar as it is."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # statements may have dates that are in no calendar
        return f"{ms} ms"
