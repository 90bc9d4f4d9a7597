"""Clocks of others that are ahead of ours, in words: what they date waits, and nobody would know for what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealwire.agents.stale_words import moment
from sealwire.agents.words import count
from sealwire.keys.clocks import AUTHORITY

if TYPE_CHECKING:
    from sealwire.keys.trust import Trust

_MOST: Final = 3  # clocks that are named


def told(trust: Trust, now: int) -> str:
    """Name whose clock is ahead of ours, with what both said (UTC), or say what waits for a date to come; else "".

    ``now`` is our clock (ms). Nobody is named whom the charter refuses, nor we ourselves.
    """
    ahead = {
        who: said
        for who, said in trust.ahead.items()
        if said.date > now and who != trust.me and (who == AUTHORITY or not trust.refuses(who, said.date))
    }
    named = [
        f"{'the authority' if who == AUTHORITY else trust.name_of(who)} dated a statement {moment(said.date)} when our "
        f"clock said {moment(said.heard_at)}"
        for who, said in list(ahead.items())[:_MOST]
    ]
    if named:
        more = f", and {len(ahead) - _MOST} more did so" if len(ahead) > _MOST else ""
        return f"clocks differ: {', '.join(named)}{more}. What is dated so waits until then; set the wrong clock right"
    dates = [each.after for each in trust.waiting.values() if each.after is not None and each.after > now]
    if not dates:
        return ""
    return (
        f"{count(len(dates), 'statement')} of a clock that was ahead of ours {'waits' if len(dates) == 1 else 'wait'}, "
        f"and what was sealed by that clock with {'it' if len(dates) == 1 else 'them'}, until {moment(max(dates))}"
    )
