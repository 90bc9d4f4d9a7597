"""A vault that was restored from an old backup, known by what its own identity has said since.

A worker saves before it speaks: receiving keys before they are announced, a credential before a key package is signed
under it. So a key package of our own that rests on what our vault does not hold was made with a newer vault: an old
copy was restored, or another copy is in use somewhere else. A newer credential alone is no sign: it may have been asked
for before the last stop, and answered after it.

The worker that is told so says it, in its log and its status, in the words of `Restored`. It makes all its receiving
keys anew and announces them (`keypackage.renew` with ``anew``): what lay in a backup may have been read there. Those it
holds stay held, since what waits in the cloud was wrapped for them; what was wrapped for the lost ones its neighbours
at the site grant again, as they do for every key package that differs (`keypackage.differs`). An identity key that was
replaced since is told by `Secrets.is_ours`.

Its floors and its charter are as old as the backup. What is authentic raises them again while statements are read, and
a charter below the version that our own credential names holds everything; beyond that nothing tells a cloud that
serves old statements to an old vault, but `max_age` of the charter and the seven days of credentials bound it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealwire.keys import credential as credentials

if TYPE_CHECKING:
    from sealwire.keys.keypackage import KeyPackageFields
    from sealwire.keys.secrets import Secrets


@dataclass(frozen=True)
class Restored:
    """The signs that a vault is an old one; at least one of them is there."""

    windows: tuple[tuple[int, int], ...] = ()  # start and end (ms) of receiving keys that were announced and are lost
    used: int = 0  # the serial of a credential that we spoke under, above that of the vault; else 0
    saves: int = 0  # how many saves it lacks, where that was noted beside it; else 0

    def __str__(self) -> str:
        """Say it to an operator: what is lacking, and the likely cause."""
        lacks = [
            f"{len(self.windows)} receiving keys that were announced" if self.windows else "",
            f"credential {self.used}, which was used" if self.used else "",
            f"its last {self.saves} saves" if self.saves else "",
        ]
        return (
            f"this vault lacks {' and '.join(filter(None, lacks))}: it was restored from an old backup, or another "
            "copy of it is in use"
        )


def restored(secrets: Secrets, now: int, package: KeyPackageFields | None, saves: int = 0) -> Restored | None:
    """Say by which signs these secrets are of an old vault, or None.

    ``secrets`` are as the vault gave them at the start, before anything was learned or made. ``package`` is our own
    newest that `Trust` accepted, looked at before we announce again. ``saves`` is what the vault knows of itself.
    """
    if package is None:
        return Restored(saves=saves) if saves else None
    held = {each.receiving.public for each in secrets.held}
    lost = tuple((each.start, each.end) for each in package.windows if each.end > now and each.public not in held)
    signs = Restored(lost, package.serial if package.serial > _serial(secrets) else 0, saves)
    return None if signs == Restored() else signs


def _serial(secrets: Secrets) -> int:
    if secrets.credential is None or secrets.project_id is None:
        return 0
    return credentials.peek(secrets.credential, secrets.project_id).serial
