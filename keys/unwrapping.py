"""Unwrapping: each grant for us tried with each claim of its session, until one proves the session."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealwire.keys import grant as grants
from sealwire.keys.events import Event, Opened, Refused
from sealwire.keys.reason import Rejected

if TYPE_CHECKING:
    from sealwire.keys.secrets import Secrets
    from sealwire.keys.session import InboundSession
    from sealwire.keys.trust import Given, Trust

OPENED_MOST: Final = 1 << 17


def unwrap_new(trust: Trust, secrets: Secrets) -> tuple[Trust, Secrets, tuple[Event, ...]]:
    """Unwrap what was granted and not tried yet: see `Trust.unwrap_new`."""
    events: list[Event] = []
    proven: dict[bytes, InboundSession] = {}
    left: dict[bytes, tuple[Given, ...]] = {}
    for session_id, given in trust.given.items():
        if session_id in secrets.inbound:
            continue
        if all(claim.digest in each.tried for claim in trust.claims_of(session_id) for each in given):
            left[session_id] = given  # nothing came since they were tried
            continue
        kept = []
        for each in given:
            session = _try(trust, each, session_id, secrets, events)
            if session is not None:
                proven[session_id] = session
                events.append(Opened(session))
                break
            if each.granter is None:
                tried = frozenset(claim.digest for claim in trust.claims_of(session_id))
                kept.append(replace(each, tried=each.tried | tried))
        if kept and session_id not in proven:
            left[session_id] = tuple(kept)
    if left == trust.given:
        return trust, secrets, tuple(events)
    opened = {**trust.opened, **dict.fromkeys(proven)}
    for oldest in list(opened)[: max(0, len(opened) - OPENED_MOST)]:
        del opened[oldest]
    claims = {session_id: claim for session_id, claim in trust.claims.items() if session_id not in opened}
    after = replace(trust, opened=opened, claims=claims, given=left)
    return after, secrets.remember(*proven.values()), tuple(events)


def _try(trust: Trust, given: Given, session_id: bytes, secrets: Secrets, events: list[Event]) -> InboundSession | None:
    refusal = None
    for claim in trust.claims_of(session_id):
        if claim.digest in given.tried:
            continue
        try:
            return grants.unwrap(given.grant, claim, secrets.held)
        except Rejected as caught:
            refusal = caught
    if refusal is not None:
        events.append(Refused(refusal.reason, refusal.detail, given.grant.enc + given.grant.ciphertext))
    return None
