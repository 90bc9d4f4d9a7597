"""Learning: a batch of statements, sorted and judged type by type, and the next Trust with what happened.

A statement that was accepted before costs a comparison; an outdated one is refused before its signature is looked at; a
signature is verified once. What rests on something not known yet is put aside (bounded) and judged again when that
comes. The rules themselves are in `acceptance` and `claims`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealwire.keys import acceptance, claims, wire
from sealwire.keys import charter as charters
from sealwire.keys import root as roots
from sealwire.keys.aside import Later
from sealwire.keys.batch import Batch
from sealwire.keys.events import Event, Skipped
from sealwire.keys.proofs import AT_ONCE
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sealwire.keys.primitives import Buffer
    from sealwire.keys.proofs import VerifyMany
    from sealwire.keys.trust import Trust

_RULES: Final[dict[Type, Callable[[Batch, bytes], None]]] = {  # each after those that it rests on
    Type.ROOT: acceptance.root,
    Type.CHARTER: acceptance.charter,
    Type.CREDENTIAL: acceptance.credential,
    Type.KEY_PACKAGE: acceptance.package,
    Type.SESSION: claims.session,
    Type.GRANTS: claims.grant,
}
_NEWEST_FIRST: Final = (Type.CREDENTIAL, Type.KEY_PACKAGE)


def learn(
    trust: Trust, statements: Iterable[Buffer], now: int, verify_many: VerifyMany | None = None
) -> tuple[Trust, tuple[Event, ...]]:
    """Give the Trust after a batch, and what happened: see `Trust.learn`."""
    batch = Batch(trust, now, verify_many)
    queues: dict[Type, list[bytes]] = {kind: [] for kind in _RULES}
    for statement in statements:
        _sort_in(batch, queues, bytes(statement))  # no copy where it is bytes already
    for kind in _RULES:
        _judge_all(batch, kind, queues[kind])
    return batch.result(), tuple(batch.events)


def _sort_in(batch: Batch, queues: dict[Type, list[bytes]], statement: bytes) -> None:
    """Put a statement with its like; refuse at once what is no statement."""
    try:
        kind = wire.type_of(statement)
    except Rejected as refusal:
        if refusal.reason is Reason.UNKNOWN_TYPE:
            batch.events.append(Skipped(str(statement[2])))
        else:
            batch.refuse(refusal, statement)
        return
    if kind not in queues:
        batch.events.append(Skipped(kind.name.lower()))
    elif statement[3] != wire.VERSION:
        batch.events.append(Skipped(f"{kind.name.lower()} version {statement[3]}"))
    else:
        queues[kind].append(statement)


def _judge_all(batch: Batch, kind: Type, statements: list[bytes]) -> None:
    project_id = batch.root.project_id
    statements = batch.awaited(kind) + (statements[::-1] if kind in _NEWEST_FIRST else statements)
    while statements:
        if kind is Type.ROOT:
            statements.sort(key=_version)
        elif kind is Type.CHARTER:
            statements.sort(key=lambda statement: _turn(statement, project_id))
        known = batch.root
        waits: list[tuple[Later, bytes]] = []
        for at in range(0, len(statements), AT_ONCE):
            batch.proofs.look_ahead(batch, kind, statements[at : at + AT_ONCE])
            for statement in statements[at : at + AT_ONCE]:
                try:
                    _RULES[kind](batch, statement)
                except Rejected as refusal:
                    batch.refuse(refusal, statement)
                except Later as later:
                    waits.append((later, statement))
        if kind is Type.CHARTER:
            waits.sort(key=lambda each: _age(each[1], project_id))
        for why, statement in waits[::-1] if kind in _NEWEST_FIRST else waits:
            batch.put_aside(why, kind, statement)  # the oldest first: they go where there are too many
        statements = batch.awaited(kind) if batch.root is not known else []


def _version(statement: bytes) -> int:
    try:
        return roots.version(statement)
    except Rejected:
        return 0


def _age(statement: bytes, project_id: bytes) -> tuple[int, int]:
    """Give the version and the as_of that a charter says it has."""
    try:
        said = charters.peek(statement, project_id)
    except Rejected:
        return 0, 0
    return said.version, said.as_of


def _turn(statement: bytes, project_id: bytes) -> tuple[int, int]:
    """Sort charters by version, and of one version the newest first: the others then cost no signature."""
    version, as_of = _age(statement, project_id)
    return version, -as_of
