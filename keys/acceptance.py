"""The rules of acceptance for what stands in the control topic: roots, charters, credentials and key packages.

Each rule takes one statement and changes the batch, or raises `Rejected` (it does not count) or `Later` (it cannot be
judged yet). Comparisons come first, the signature last.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from sealwire.keys import charter as charters
from sealwire.keys import credential as credentials
from sealwire.keys import keypackage, wire
from sealwire.keys import root as roots
from sealwire.keys.aside import Later
from sealwire.keys.changing import Changing
from sealwire.keys.clocks import AUTHORITY
from sealwire.keys.credential import Memo
from sealwire.keys.events import Admitted, Chartered, KeysAnnounced, Rooted
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.secrets import Floor
from sealwire.keys.wire import ENTRY_SIZE, SKEW

if TYPE_CHECKING:
    from sealwire.keys.batch import Batch
    from sealwire.keys.charter import Charter, CharterFields
    from sealwire.keys.credential import Credential
    from sealwire.keys.keypackage import KeyPackage
    from sealwire.keys.root import Root

_NO_FLOOR: Final = Floor()
_NEVER: Final = inf  # ms: after every date


def root(batch: Batch, statement: bytes) -> None:
    """Accept the next root; drop whom it does not stand for any more."""
    known = batch.root
    version = roots.version(statement)
    project_id = roots.project_id(statement) if version == 1 else statement[5:37]
    if project_id != known.project_id:
        raise Rejected(Reason.OTHER_PROJECT, f"a root {version} of another project")
    if version < known.version or wire.statement_digest(statement) == known.digest:
        return  # the descent of what counts now, whichever of its signers are there: checked when it was new
    if version == known.version:
        raise Rejected(Reason.FORK, f"another root {version}")
    if version > known.version + 1:
        raise Later(Reason.OUTDATED, f"root {version}, while {known.version} is known")
    following = roots.read_next(statement, known)
    if following.made_at > batch.now + SKEW:
        detail = f"a root of {following.made_at}, our clock says {batch.now}"
        raise Later(Reason.AHEAD, detail, after=following.made_at, proven=True)
    batch.root, batch.root_awaited = following, 0  # who still names a later one is judged again
    batch.known_credentials, batch.judged = Memo(), {}
    dropped = [each for each in batch.credentials.values() if not _stands(each, following, batch.now)]
    for each in dropped:
        del batch.credentials[each.member_id]
        batch.packages.pop(each.member_id, None)
    batch.claims = Changing(
        {
            session_id: kept
            for session_id, claims in batch.claims.items()
            if (kept := tuple(claim for claim in claims if _stands(claim.sender, following, batch.now)))
        }
    )
    batch.given = Changing({each: given for each, given in batch.given.items() if each in batch.claims})
    unproven = _give_up_floors(batch) if _takes_away(known, following) else ()
    batch.events.append(Rooted(following.version, statement, tuple(each.member_id for each in dropped), unproven))


def _takes_away(former: Root, following: Root) -> bool:
    """Tell whether a root names an authority key no more, ends it earlier, or distrusts it from an earlier time on."""
    ends = {public: until for _, public, until in following.authority_keys}
    before, since = dict(former.distrusted), dict(following.distrusted)
    return any(
        ends.get(public, -1) < until or since.get(public, _NEVER) < before.get(public, _NEVER)
        for _, public, until in former.authority_keys
    )


def _give_up_floors(batch: Batch) -> tuple[bytes, ...]:
    """Give up the floors of all members but those who are known under the new root; tell whose.

    Whoever had the key that was taken away may have signed the highest serial of anybody, and no floor says whose key
    raised it: left there, it would keep the true member out for good. What could come back by this is bounded by the
    life of a credential, as for a reader that begins.
    """
    unproven = tuple(member_id for member_id in batch.floors if member_id not in batch.credentials)
    for member_id in unproven:
        del batch.floors[member_id]
    return unproven


def _stands(credential: Credential, known: Root, now: int) -> bool:
    try:
        known.authority(credential.signer, credential.not_before, now)
    except Rejected:
        return False
    return True


def charter(batch: Batch, statement: bytes) -> None:
    """Accept a newer charter: version and as_of only grow, and no refusal is taken back."""
    known, project_id = batch.charter, batch.root.project_id
    if isinstance(known, charters.Charter) and known.statement == statement:
        return
    said = charters.peek(statement, project_id)
    stands = charters.stands(known, batch.root)
    if stands and (said.version < known.version or (said.says_as(known) and said.as_of < known.as_of)):
        raise Rejected(Reason.OUTDATED, f"charter {said.version} as of {said.as_of}, after {known.version}")
    new = _read_charter(batch, statement, said)
    if not stands and new.root_version < batch.root.version:
        # Its key's owner may have signed any version at all, so versions say nothing here; the present root's do.
        raise Rejected(Reason.OUTDATED, f"charter {new.version} under root {new.root_version}: its key is distrusted")
    if stands and new.version == known.version:
        if not new.says_as(known):
            raise Rejected(Reason.FORK, f"another charter {new.version}")
        if new.as_of == known.as_of:
            return
    pardoned = known.added(new) if stands else ()
    if pardoned:
        rows = ", ".join(row.member_id.hex()[:16] for row in pardoned[:4])
        raise Rejected(Reason.PARDONED, f"charter {new.version} no longer refuses {rows} as {known.version} does")
    changed = not stands or new.version != known.version
    batch.charter = new
    if changed:
        batch.judged = {}
    batch.said_now(AUTHORITY, new.as_of)
    batch.events.append(Chartered(new.version, new.as_of, changed, new.added(known), statement))


def _read_charter(batch: Batch, statement: bytes, said: CharterFields) -> Charter:
    def read(now: int) -> Charter:
        return charters.read(statement, batch.root, now)

    new = batch.of_authority(read, said.as_of, said.root_version)
    if new.root_version > batch.root.version:
        # A key that we know says that there is a newer root: until that comes, nothing is sealed and nothing delivered.
        batch.root_awaited = max(batch.root_awaited, new.root_version)
        detail = f"charter {new.version} needs root {new.root_version}"
        raise Later(Reason.OUTDATED, detail, proven=True, root_version=new.root_version)
    return new


def credential(batch: Batch, statement: bytes) -> None:
    """Accept a member's newer credential."""
    said = credentials.peek(statement, batch.root.project_id)
    known = batch.credentials.get(said.member_id)
    if known is not None and known.statement == statement:
        return
    floor = batch.floors.get(said.member_id, _NO_FLOOR)
    if said.serial < floor.credential_serial:
        raise Rejected(Reason.OUTDATED, f"credential {said.serial} of {said.name}, after {floor.credential_serial}")
    new = batch.read_credential(statement)
    if known is not None and known.serial == new.serial:
        raise Rejected(Reason.FORK, f"another credential {new.serial} of {new.name}")
    batch.credentials[new.member_id] = new
    batch.floors[new.member_id] = floor._replace(credential_serial=new.serial)
    batch.news_of.add(new.member_id)
    replaced = known is not None and known.identity_key != new.identity_key
    batch.events.append(Admitted(new, known is None, replaced))


def package(batch: Batch, statement: bytes) -> None:
    """Accept a member's newer key package."""
    said = keypackage.peek(statement, batch.root.project_id)
    name = said.member_id.hex()[:16]
    known = batch.packages.get(said.member_id)
    age = (said.serial, said.made_at)
    entry = statement[-ENTRY_SIZE:]
    if known is not None and known.entry == entry and known.digest == wire.statement_digest(statement):
        return
    floor = batch.floors.get(said.member_id, _NO_FLOOR)
    if age < (floor.package_serial, floor.package_made_at):
        raise Rejected(Reason.OUTDATED, f"a key package of {name}, older than the one known")
    owner = batch.credentials.get(said.member_id)
    if owner is None or said.serial > owner.serial:
        raise Later(Reason.UNKNOWN_MEMBER, f"no credential {said.serial} of {name} yet", member=said.member_id)
    if keypackage.long_over(owner, batch.now):
        raise Rejected(Reason.EXPIRED, f"a key package of {owner.name}, whose credential ended at {owner.not_after}")

    def read(now: int) -> KeyPackage:
        return keypackage.read(statement, batch.root.project_id, owner, now, batch.proofs)

    new = batch.of_member(read, said.made_at, lambda _package: owner.member_id)
    if known is not None and (known.serial, known.made_at) == age:
        raise Rejected(Reason.FORK, f"another key package of {name} of the same time")
    batch.packages[new.member_id] = new
    batch.floors[new.member_id] = floor._replace(package_serial=new.serial, package_made_at=new.made_at)
    batch.said_now(new.member_id, new.made_at)
    batch.events.append(
        KeysAnnounced(new.member_id, known is None, known is not None and keypackage.differs(known, new))
    )
