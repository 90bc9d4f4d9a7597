"""What a hostile cloud can serve: all that was truly said in a day of a project's life, and every lie about it.

The day: roots 1 to 3, of which the last distrusts a stolen authority key; charters that get stricter; credentials
renewed, an identity key replaced; key packages renewed and made anew; sessions and their grants. The lies: each
statement signed by somebody else; words that are true of another time (an authority restored from yesterday, a thief
with the authority's key); claims, packages and grants by members that must not make them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec
from statement_world import (
    ANNA,
    AUTHORITY,
    BERT,
    DAY,
    HOUR,
    MINUTE,
    NOW,
    OFFLINE,
    PROJECT,
    ROOT,
    YEAR,
    Draws,
    Member,
    member,
    signing,
)

from sealwire.keys import charter, credential, grant, identity, keypackage, policy, primitives, root, session, wire
from sealwire.keys.charter import CharterFields, PolicyRow, Refusal
from sealwire.keys.primitives import ED25519, SigningKey
from sealwire.keys.root import Root, RootFields
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from sealwire.keys.session import OutboundSession

TOPIC: Final = "acme.orders"
STRANGER, NEWER = signing("stranger"), signing("newer authority")
THEFT = NOW + 4 * HOUR  # when the authority's first key was stolen
CLEO, EVE, MALLORY = (
    member(name, site=site) for name, site in (("cleo", "paris"), ("eve", "rome"), ("mallory", "paris"))
)


@dataclass(frozen=True)
class Said:
    """A statement, and whether it is a lie: bytes that no honest reader may ever accept."""

    name: str
    statement: bytes
    lie: bool = False


# -- what is true


def _next_root(former: Root, made_at: int, **changes: object) -> bytes:
    same = {name: getattr(former, name) for name in RootFields.__struct_fields__}
    return root.make_next(former, RootFields(**{**same, "made_at": made_at, **changes}), OFFLINE)


_BOTH = ((ED25519, AUTHORITY.public, NOW + YEAR), (ED25519, NEWER.public, NOW + YEAR))
ROOT_2_BYTES = _next_root(ROOT, NOW + HOUR, authority_keys=_BOTH)
ROOT_2 = root.read_next(ROOT_2_BYTES, ROOT)
ROOT_3_BYTES = _next_root(ROOT_2, NOW + 6 * HOUR, distrusted=((AUTHORITY.public, THEFT),))
ROOT_3 = root.read_next(ROOT_3_BYTES, ROOT_2)

_ALL = PolicyRow("*", "*", 0, policy.MEMBERS, policy.MEMBERS, 0)
_WEST = PolicyRow("*", "*", 0, policy.MEMBERS, policy.table({"role": ["member"], "site": ["paris", "rome"]}), 0)


def ruled(
    version: int,
    at: int,
    *rows: PolicyRow,
    refused: tuple[Member, ...] = (),
    by: SigningKey = AUTHORITY,
    under: int = 1,
) -> bytes:
    """Sign a charter."""
    refusals = tuple(Refusal(who.id, 0, "") for who in sorted(refused, key=lambda who: who.id))
    return charter.make(ROOT, by, CharterFields(version, at, under, rows or (_ALL,), refusals, 1, 1, 0))


def certified(who: Member, serial: int, at: int, *, by: SigningKey = AUTHORITY, key: bytes | None = None) -> bytes:
    """Sign a credential."""
    return credential.make(
        ROOT,
        by,
        member_id=who.id,
        identity_key=key or who.identity.public,
        name=who.credential.name,
        attributes=dict(who.credential.attributes),
        serial=serial,
        now=at,
    )


def announced(who: Member, at: int, draws: str, *, credential_bytes: bytes | None = None) -> tuple[Member, bytes]:
    """Announce receiving keys made anew; give the member as it is then."""
    mine = who.credential if credential_bytes is None else credential.peek(credential_bytes, PROJECT)
    held, package = keypackage.renew(who.identity, mine, PROJECT, who.held, at, Draws(draws), anew=True)
    assert package is not None
    return replace(who, held=held, package=package), package


BERT_NEW = replace(BERT, identity=identity.replace(BERT.identity, Draws("bert's next"), NOW + 3 * HOUR))
BERT_2_BYTES = certified(BERT_NEW, 2, NOW + 3 * HOUR)
ANNA_2_BYTES = certified(ANNA, 2, NOW + 3 * HOUR)
_BERT_ANEW, BERT_PACKAGE_2 = announced(BERT, NOW + 2 * HOUR, "bert 2")
BERT_LAST, BERT_PACKAGE_3 = announced(
    replace(BERT_NEW, held=_BERT_ANEW.held), NOW + 3 * HOUR, "bert 3", credential_bytes=BERT_2_BYTES
)
CLEO_LAST, CLEO_PACKAGE_2 = announced(CLEO, NOW + 4 * HOUR, "cleo 2")


def begun(
    who: Member, at: int, readers: tuple[Member, ...], channel: str = "orders"
) -> tuple[OutboundSession, bytes, bytes]:
    """Begin a session and grant it."""
    outbound, statement = who.session(channel=channel, now=at)
    packages = [(each.id, keypackage.peek(each.package, PROJECT)) for each in readers]
    (grants,) = grant.wrap(outbound, packages, 1, at, os.urandom)
    return outbound, statement, grants


FIRST, FIRST_BYTES, FIRST_GRANTS = begun(ANNA, NOW + 10 * MINUTE, (BERT, CLEO, EVE))
SECOND, SECOND_BYTES, SECOND_GRANTS = begun(ANNA, NOW + 2 * HOUR, (_BERT_ANEW, CLEO))
THIRD, THIRD_BYTES, THIRD_GRANTS = begun(
    replace(ANNA, credential_bytes=ANNA_2_BYTES), NOW + 3 * HOUR + MINUTE, (BERT_LAST, CLEO)
)
EVES, EVES_BYTES, EVES_GRANTS = begun(EVE, NOW + 30 * MINUTE, (BERT, CLEO))
SESSIONS = {each.id: each for each in (FIRST, SECOND, THIRD, EVES)}


def _granted_by(granter: Member, grants: bytes) -> bytes:
    fields, _ = grant.read(grants, PROJECT)
    said = msgspec.structs.replace(fields, granter=granter.id)
    return wire.write(Type.GRANTS, PROJECT, said, [granter.identity.signing])


DAY_AS_IT_WAS: Final = [
    Said("credential of anna", ANNA.credential_bytes),
    Said("credential of bert", BERT.credential_bytes),
    Said("credential of cleo", CLEO.credential_bytes),
    Said("credential of eve", EVE.credential_bytes),
    Said("package of bert", BERT.package),
    Said("package of cleo", CLEO.package),
    Said("package of eve", EVE.package),
    Said("charter 1", ruled(1, NOW)),
    Said("session of anna", FIRST_BYTES),
    Said("its grants", FIRST_GRANTS),
    Said("the same, by cleo", _granted_by(CLEO, FIRST_GRANTS)),
    Said("charter 1 renewed", ruled(1, NOW + 10 * MINUTE)),
    Said("session of eve", EVES_BYTES),
    Said("eve's grants", EVES_GRANTS),
    Said("root 2", ROOT_2_BYTES),
    Said("charter 2", ruled(2, NOW + HOUR, _WEST)),
    Said("charter 3, without eve", ruled(3, NOW + 2 * HOUR, _WEST, refused=(EVE,))),
    Said("bert's keys anew", BERT_PACKAGE_2),
    Said("second session of anna", SECOND_BYTES),
    Said("second grants", SECOND_GRANTS),
    Said("anna renewed", ANNA_2_BYTES),
    Said("bert's next identity key", BERT_2_BYTES),
    Said("bert's keys under it", BERT_PACKAGE_3),
    Said("third session of anna", THIRD_BYTES),
    Said("third grants", THIRD_GRANTS),
    Said("cleo's keys anew", CLEO_PACKAGE_2),
    Said("charter 3 renewed", ruled(3, NOW + 4 * HOUR - 1, _WEST, refused=(EVE,))),
    Said("charter 4 by the newer key", ruled(4, NOW + 5 * HOUR, _WEST, refused=(EVE,), by=NEWER, under=2)),
    Said("root 3", ROOT_3_BYTES),
    Said("charter 5 after the theft", ruled(5, NOW + 6 * HOUR, _WEST, refused=(EVE, MALLORY), by=NEWER, under=3)),
    Said("cleo renewed", certified(CLEO, 2, NOW + 6 * HOUR, by=NEWER)),
]

# -- what the authority truly signed, and should not have: it may count, but never both of two, nor against what is known

YESTERDAY: Final = [
    Said("charter 2 with another policy", ruled(2, NOW + HOUR + 1)),
    Said("charter 3 with eve", ruled(3, NOW + 2 * HOUR + 1, _WEST)),
    Said("charter 4 with eve", ruled(4, NOW + 3 * HOUR)),
    Said("a rival identity of bert", certified(BERT, 2, NOW + 3 * HOUR, key=MALLORY.identity.public)),
    Said("eve renewed after all", certified(EVE, 2, NOW + 3 * HOUR)),
]
STOLEN: Final = [
    Said("charter 2^40, without anna", ruled(1 << 40, THEFT + MINUTE, _ALL, refused=(ANNA, EVE))),
    Said("charter of root 9", ruled(1 << 41, THEFT + MINUTE, under=9)),
    Said("credential of mallory", certified(MALLORY, 1, THEFT + MINUTE)),
    Said("package of mallory", MALLORY.package),
    Said("charter far ahead", ruled(6, NOW + 300 * DAY, refused=(EVE,))),
]
CLAIMED_BY_EVE = wire.write(
    Type.SESSION,
    PROJECT,
    msgspec.structs.replace(session.peek(FIRST_BYTES, PROJECT), credential=EVE.credential_bytes),
    [EVE.identity.signing],
)


def _signed_by(signers: list[SigningKey], statement: bytes, **changes: object) -> bytes:
    """The same statement with other fields, if any, signed by others."""
    kind = Type(statement[2])
    size = int.from_bytes(statement[37:41], "big")
    body = msgspec.msgpack.decode(statement[41 : 41 + size])
    for at, value in changes.items():
        body[int(at[1:])] = value
    return wire.finish(kind, wire.head(kind, statement[5:37], msgspec.msgpack.encode(body)), signers)


MEMBERS: Final = [
    Said("eve claims anna's session", CLAIMED_BY_EVE),
    Said("eve grants anna's session", _granted_by(EVE, FIRST_GRANTS)),
    # As bert's rival, where the authority gave bert's place to mallory's key.
    Said("mallory announces for bert", _signed_by([MALLORY.identity.signing], BERT.package, f2=NOW + 5 * HOUR)),
]
TRUE: Final = [*DAY_AS_IT_WAS, *YESTERDAY, *STOLEN, *MEMBERS]

# -- what nobody who may has signed


def _grafted(statement: bytes, other: bytes) -> bytes:
    """A statement under the signature of another one of its signer."""
    return statement[: -wire.ENTRY_SIZE] + other[-wire.ENTRY_SIZE :]


_RIVAL = keypackage.peek(MALLORY.package, PROJECT).windows
_AT = NOW + 5 * HOUR
LIES: Final = [
    Said(f"forged: {name}", statement, lie=True)
    for name, statement in [
        *((said.name, _signed_by([STRANGER], said.statement)) for said in TRUE),
        ("eve signs a package of bert", _signed_by([EVE.identity.signing], BERT.package, f2=_AT, f3=_RIVAL)),
        ("eve signs a credential", _signed_by([EVE.identity.signing], EVE.credential_bytes, f8=9)),
        ("a root key signs a credential", _signed_by(OFFLINE[:1], EVE.credential_bytes, f8=9)),
        ("a root key signs a charter", _signed_by(OFFLINE[:1], ruled(7, _AT))),
        ("the authority signs a root", _signed_by([AUTHORITY], ROOT_2_BYTES)),
        ("one root key signs a root", _signed_by(OFFLINE[:1], ROOT_2_BYTES, f8=_AT)),
        ("the authority signs a package", _signed_by([AUTHORITY], BERT.package, f2=_AT)),
        ("the authority signs a session", _signed_by([AUTHORITY], SECOND_BYTES, f9=9)),
        ("two sign a charter", _signed_by([AUTHORITY, NEWER], ruled(8, _AT))),
        ("bert's package made later", _grafted(_signed_by([STRANGER], BERT.package, f2=_AT), BERT.package)),
        ("charter 1 as of later", _grafted(ruled(1, _AT), ruled(1, NOW))),
        ("credential of a higher serial", _grafted(certified(EVE, 9, NOW), EVE.credential_bytes)),
        ("a stranger grants it", wire.write(Type.GRANTS, PROJECT, grant.read(FIRST_GRANTS, PROJECT)[0], [STRANGER])),
    ]
]
POOL: Final = [*TRUE, *LIES]

# -- what a reader may have, by what was truly said

TRUE_BYTES: Final = frozenset(said.statement for said in TRUE)
TRUE_DIGESTS: Final = frozenset(map(wire.statement_digest, TRUE_BYTES))
PUBLICS: Final = {
    who.id: frozenset(each.receiving.public for each in last.held)
    for who, last in ((BERT, BERT_LAST), (CLEO, CLEO_LAST), (EVE, EVE), (MALLORY, MALLORY))
}


def digest_of(statement: bytes) -> bytes:
    """Give the digest by which events name a statement."""
    return primitives.digest(statement)
