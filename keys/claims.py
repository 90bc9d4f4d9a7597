"""The rules of acceptance for what stands in the sessions topic: claims of sessions, and grants of them to us.

Each rule takes one statement and changes the batch, or raises `Rejected` (it does not count) or `Later` (it cannot be
judged yet). Which claim is true shows only when a grant unwraps, so what is kept here is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealwire.keys import grant as grants
from sealwire.keys import identity as identities
from sealwire.keys import session as sessions
from sealwire.keys import wire
from sealwire.keys.aside import Later
from sealwire.keys.events import Claimed, Granted
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.trust import Given
from sealwire.keys.wire import ENTRY_SIZE

if TYPE_CHECKING:
    from sealwire.keys.batch import Batch
    from sealwire.keys.credential import Credential
    from sealwire.keys.grant import GrantsFields
    from sealwire.keys.session import Claim
    from sealwire.keys.wire import Frame

PER_ID: Final = 4
MOST: Final = 32768
GIVEN_PER_ID: Final = 8


def session(batch: Batch, statement: bytes) -> None:
    """Accept a claim of a session that is not proven yet."""
    said = sessions.peek(statement, batch.root.project_id)
    if said.id in batch.before.opened:
        return  # proven already: no other claim can be
    claims = batch.claims.get(said.id, ())
    if any(
        claim.entry == statement[-ENTRY_SIZE:] and claim.digest == wire.statement_digest(statement) for claim in claims
    ):
        return
    if len(claims) >= PER_ID:
        raise Rejected(Reason.TOO_MANY, f"session {said.id.hex()[:16]} is claimed {len(claims)} times already")

    def read(now: int) -> Claim:
        return sessions.read(statement, batch.root.project_id, batch.read_credential, now)

    claim = batch.of_member(read, said.made_at, lambda claim: claim.sender.member_id)
    if not claims and len(batch.claims) >= MOST:
        oldest = next(iter(batch.claims))
        del batch.claims[oldest]
        batch.given.pop(oldest, None)
    batch.claims[said.id] = (*claims, claim)
    batch.news_of.add(said.id)
    batch.said_now(claim.sender.member_id, claim.made_at)
    batch.events.append(Claimed(said.id, claim.sender.member_id, said.channel, said.made_at, claim.digest))


def grant(batch: Batch, statement: bytes) -> None:
    """Accept the grants for us of a session that is claimed."""
    me = batch.before.me
    fields, frame = grants.read(statement, batch.root.project_id)
    mine = fields.addressed_to(me) if me is not None else ()
    session_id = fields.session_id
    if session_id in batch.before.opened:
        return
    claims = batch.claims.get(session_id, ())
    known = batch.given.get(session_id, ())
    held = {each.grant for each in known}
    fresh = [each for each in dict.fromkeys(mine) if each not in held]
    if not fresh:
        return
    if not claims:
        raise Later(Reason.UNKNOWN_SESSION, f"session {session_id.hex()[:16]}", session=session_id)
    signers = {digest for digest, _ in frame.entries}
    room = GIVEN_PER_ID - sum(each.signer in signers for each in known)  # nobody takes that of another
    if room <= 0:
        raise Rejected(Reason.TOO_MANY, f"session {session_id.hex()[:16]} has {len(known)} grants for us already")
    if fields.granter is None:
        _check_session_key(fields, frame, claims)
    else:
        *_, claim = claims  # all are of this session, and the granter's key is not theirs
        grants.check(fields, frame, claim, _granter(batch, fields.granter, claims).identity_key)
    (signer,) = signers  # that it is one was checked
    batch.given[session_id] = (*known, *(Given(each, fields.granter, signer) for each in fresh[:room]))
    batch.events.append(Granted(session_id))


def _granter(batch: Batch, granter: bytes, claims: tuple[Claim, ...]) -> Credential:
    """Give the credential of a member that may grant: one of our site, or the session's own sender. It stops floods."""
    known = batch.credentials.get(granter)
    if known is None:
        raise Rejected(Reason.UNKNOWN_MEMBER, f"granted by {identities.fingerprint(granter)}")
    since = batch.charter.refused_since(granter)
    if since is not None and since <= batch.now:
        raise Rejected(Reason.REFUSED_MEMBER, f"granted by {known.name}, who is refused since {since}")
    if any(claim.sender.member_id == granter for claim in claims):
        return known
    we = batch.credentials.get(batch.before.me or b"")
    if we is not None and known.site != we.site:
        raise Rejected(Reason.NOT_AUTHORISED, f"{known.name} grants to another site")
    return known


def _check_session_key(fields: GrantsFields, frame: Frame, claims: tuple[Claim, ...]) -> None:
    keys = {claim.verifying_key: claim for claim in claims}
    for claim in keys.values():
        try:
            grants.check(fields, frame, claim)
        except Rejected as refusal:
            if refusal.reason is not Reason.UNKNOWN_SIGNER:
                raise
        else:
            return
    # The true claim may be the one that has not come yet: the cloud chooses the order.
    raise Later(
        Reason.UNKNOWN_SIGNER,
        f"not signed in session {fields.session_id.hex()[:16]} as it is claimed",
        session=fields.session_id,
    )
