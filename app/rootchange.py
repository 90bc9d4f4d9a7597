"""The next root: the present one, with what an administrator wants changed. All faults are told at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from sealwire.app.faults import CONFIGURATION, Failure, did_you_mean
from sealwire.app.rootwords import fingerprint
from sealwire.keys import primitives
from sealwire.keys import root as roots
from sealwire.keys.primitives import ED25519
from sealwire.keys.reason import Misuse
from sealwire.keys.root import RootFields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sealwire.keys.root import Root


@dataclass(frozen=True)
class Changes:
    """What shall be different. Keys to add are public keys; those that are there are named by fingerprint."""

    add_root_keys: Sequence[bytes] = ()
    remove_root_keys: Sequence[str] = ()
    threshold: int | None = None
    add_authority_key: tuple[bytes, int] | None = None  # with its end, ms
    drop_authority_keys: Sequence[str] = ()
    distrust: Mapping[str, int] | None = None  # fingerprint -> since (ms)
    add_escrow: Sequence[tuple[str, bytes]] = ()
    remove_escrow: Sequence[str] = ()


def draft(former: Root, changes: Changes, now: int) -> bytes:
    """Give the next root, signed by nobody yet; raises `Failure` that names all that cannot be."""
    faults: list[str] = []
    root_keys = _left([public for _, public in former.root_keys], changes.remove_root_keys, "root key", faults)
    root_keys += [public for public in changes.add_root_keys if _new(public, root_keys, faults)]
    ends = {public: until for _, public, until in former.authority_keys}
    kept = _left(list(ends), changes.drop_authority_keys, "authority key", faults)
    authority_keys = {public: ends[public] for public in kept}
    if changes.add_authority_key:
        public, until = changes.add_authority_key
        authority_keys[public] = until
    distrusted = _distrusted(former, changes, list(ends), faults)
    escrow = _escrow(former, changes, faults)
    threshold = former.threshold if changes.threshold is None else changes.threshold
    if not 1 <= threshold <= len(root_keys):
        faults.append(f"{threshold} of {len(root_keys)} root keys cannot sign: say --threshold")
    if faults:
        raise Failure(f"No root {former.version + 1} can be drafted: {'; '.join(faults)}.", code=CONFIGURATION)
    fields = RootFields(
        version=former.version + 1,
        former=former.digest,
        project_name=former.project_name,
        root_keys=tuple((ED25519, public) for public in root_keys),
        threshold=threshold,
        authority_keys=tuple((ED25519, public, until) for public, until in authority_keys.items()),
        escrow=tuple((name, primitives.SUITE, receiving) for name, receiving in escrow.items()),
        distrusted=tuple(distrusted.items()),
        made_at=max(now, former.made_at + 1),
    )
    if msgspec.structs.replace(fields, made_at=former.made_at, version=former.version, former=former.former) == _of(
        former
    ):
        raise Failure(
            "Nothing would be different from the present root.", "Name what shall change.", code=CONFIGURATION
        )
    try:
        return roots.make_next(former, fields, [])
    except Misuse as error:
        raise Failure(f"No root {fields.version} can be drafted: {error}.", code=CONFIGURATION) from None


def _of(root: Root) -> RootFields:
    return RootFields(*(getattr(root, name) for name in RootFields.__struct_fields__))


def _distrusted(former: Root, changes: Changes, known: list[bytes], faults: list[str]) -> dict[bytes, int]:
    distrusted = dict(former.distrusted)
    for name, since in (changes.distrust or {}).items():
        for public in _named(name, known, "authority key", faults):
            distrusted[public] = min(since, distrusted.get(public, since))
    return distrusted


def _escrow(former: Root, changes: Changes, faults: list[str]) -> dict[str, bytes]:
    there = {name: receiving for name, _, receiving in former.escrow}
    unknown = [name for name in changes.remove_escrow if name not in there]
    faults.extend(f"there is no escrow {name} {did_you_mean(name, there)}".rstrip() for name in unknown)
    left = {name: receiving for name, receiving in there.items() if name not in changes.remove_escrow}
    twice = [name for name, _ in changes.add_escrow if name in left]
    faults.extend(f"there is an escrow {name} already: remove it in the same draft" for name in twice)
    return left | dict(changes.add_escrow)


def _left(publics: list[bytes], names: Sequence[str], what: str, faults: list[str]) -> list[bytes]:
    gone = {public for name in names for public in _named(name, publics, what, faults)}
    return [public for public in publics if public not in gone]


def _named(name: str, publics: list[bytes], what: str, faults: list[str]) -> list[bytes]:
    found = [public for public in publics if fingerprint(public) == name]
    if not found:
        known = ", ".join(fingerprint(public) for public in publics)
        faults.append(f"there is no {what} {name} (there is {known})")
    return found


def _new(public: bytes, there: list[bytes], faults: list[str]) -> bool:
    if public in there:
        faults.append(f"root key {fingerprint(public)} is one already")
        return False
    return True
