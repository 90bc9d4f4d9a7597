"""Signatures that are checked many at a time, before the statements that bear them are judged one by one.

How many at a time, and on how many threads, is for whoever hands in `VerifyMany`: libsodium works without Python's
lock. Which signatures are looked at at all is decided here: of each member those of the newest statement alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from sealwire.keys import credential as credentials
from sealwire.keys import keypackage, primitives
from sealwire.keys.reason import Rejected
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from sealwire.keys.batch import Batch

Check = tuple[bytes, bytes, bytes]
"""A public key, what was signed, and the signature."""
VerifyMany = Callable[[Sequence[Check]], Sequence[bool]]
AT_ONCE: Final = 32
"""How many statements are looked at ahead: as many as stay parsed until they are judged."""


class Proofs:
    """What is known of signatures; to be called like `primitives.verify`."""

    def __init__(self, verify_many: VerifyMany | None) -> None:
        """Begin with nothing known; without `verify_many` each signature is checked when it is asked for."""
        self._verify_many = verify_many
        self._known: dict[tuple[bytes, bytes], tuple[bytes, bool]] = {}

    def look_ahead(self, batch: Batch, kind: Type, statements: Sequence[bytes]) -> None:
        """Check the signatures of statements that are about to be judged in this order, newest first."""
        find = _WORTH.get(kind)
        if self._verify_many is None or find is None or len(statements) == 1:
            return
        checks = find(batch, statements)
        good = self._verify_many(checks)
        self._known = {
            (public, signature): (message, each)
            for (public, message, signature), each in zip(checks, good, strict=True)
        }

    def __call__(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature is this key's, over this very message."""
        known = self._known.get((public, signature))
        if known is not None and known[0] == message:
            return known[1]
        return primitives.verify(public, message, signature)


def _of_credentials(batch: Batch, statements: Sequence[bytes]) -> list[Check]:
    checks: dict[bytes, tuple[int, Check]] = {}
    for statement in statements:
        try:
            said, frame = credentials.parse(statement, batch.root.project_id)
            ((signer, signature),) = frame.entries
            public = batch.root.authority(signer, said.not_before, batch.now)
        except (Rejected, ValueError):
            continue
        known, ahead = batch.credentials.get(said.member_id), checks.get(said.member_id)
        if (known is None or known.serial < said.serial) and (ahead is None or ahead[0] < said.serial):
            checks[said.member_id] = said.serial, (public, frame.signed, signature)
    return [check for _, check in checks.values()]


def _of_packages(batch: Batch, statements: Sequence[bytes]) -> list[Check]:
    checks: dict[bytes, tuple[tuple[int, int], Check]] = {}
    for statement in statements:
        try:
            said, frame = keypackage.parse(statement, batch.root.project_id)
            ((_, signature),) = frame.entries
        except (Rejected, ValueError):
            continue
        age = (said.serial, said.made_at)
        owner, known = batch.credentials.get(said.member_id), batch.packages.get(said.member_id)
        ahead = checks.get(said.member_id)
        if owner is None or said.serial > owner.serial or keypackage.long_over(owner, batch.now):
            continue
        if (known is None or (known.serial, known.made_at) < age) and (ahead is None or ahead[0] < age):
            checks[said.member_id] = age, (owner.identity_key, frame.signed, signature)
    return [check for _, check in checks.values()]


_WORTH: Final[dict[Type, Callable[[Batch, Sequence[bytes]], list[Check]]]] = {
    Type.CREDENTIAL: _of_credentials,
    Type.KEY_PACKAGE: _of_packages,
}
