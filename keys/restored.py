"""A vault that was restored from an old backup, known by what its own identity has said since.

A worker saves before it speaks: receiving keys before they are announced, a credential before anything is signed under
it. So a statement of our own that rests on what our vault does not hold was made with a newer vault than this one: an
old copy was restored, or another copy is in use somewhere else. A newer credential alone is no sign: it may have been
asked for before the last stop, and answered after it.

The worker that is told so

- says it, in its log and its status, in the words of `Restored`;
- makes all its receiving keys anew and announces them (`keypackage.renew` with ``anew``), also where only a credential
  is behind: what lay in a backup may have been read there. Those it holds stay held, since what waits in the cloud was
  wrapped for them;
- has what was granted to the lost keys granted again: its neighbours at the site do that for a key package that differs
  (`keypackage.differs`);
- with ``foreign`` moves nothing: its identity key was replaced since, and what it signs counts nowhere. It says that
  this identity must be enrolled again, under a new name.

Its floors and its charter are as old as the backup. What is authentic raises them again while statements are read, and
a charter below the version that our own credential names is not used; beyond that nothing tells a cloud that serves old
statements to an old vault, but `max_age` of the charter and the seven days of credentials bound it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealwire.keys import credential as credentials

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealwire.keys.credential import CredentialFields
    from sealwire.keys.keypackage import KeyPackageFields
    from sealwire.keys.secrets import Secrets


@dataclass(frozen=True)
class Restored:
    """The signs that a vault is an old one; at least one of them is there."""

    windows: tuple[tuple[int, int], ...] = ()  # start and end (ms) of receiving keys that were announced and are lost
    used: int = 0  # the serial of a credential that we spoke under, above that of the vault; else 0
    foreign: bool = False  # our newest credential names an identity key that we do not hold
    saves: int = 0  # how many saves it lacks, where that was noted beside it; else 0

    def __str__(self) -> str:
        """Say it to an operator: what is lacking, the likely cause, and what a person does where one has to."""
        lacks = [
            f"{len(self.windows)} receiving keys that were announced" if self.windows else "",
            f"credential {self.used}, which was used" if self.used else "",
            "the identity key that its newest credential names" if self.foreign else "",
            f"its last {self.saves} saves" if self.saves else "",
        ]
        said = (
            f"this vault lacks {', '.join(filter(None, lacks))}: it was restored from an old backup, or another copy "
        )
        said += "of it is in use"
        return said + (": enroll a new identity in its place (sealwire enroll)" if self.foreign else "")


def restored(
    secrets: Secrets,
    now: int,
    *,
    credential: CredentialFields | None = None,
    package: KeyPackageFields | None = None,
    spoken_under: Iterable[int] = (),
    saves: int = 0,
) -> Restored | None:
    """Say by which signs these secrets are of an old vault, or None.

    ``secrets`` are as the vault gave them at the start, before anything was learned or made. ``credential`` and
    ``package`` are the newest of our own that `Trust` accepted, looked at before we announce again; ``spoken_under``
    are serials of the credentials in session statements of our own that were made before this start, where they are
    read; ``saves`` is what the vault knows of itself (`Vault.behind`).
    """
    held = {each.receiving.public for each in secrets.held}
    windows = () if package is None else package.windows
    lost = tuple((each.start, each.end) for each in windows if each.end > now and each.public not in held)
    used = max((0 if package is None else package.serial, *spoken_under))
    signs = Restored(
        windows=lost,
        used=used if used > _serial(secrets) else 0,
        foreign=credential is not None and credential.identity_key != secrets.identity.public,
        saves=saves,
    )
    return None if signs == Restored() else signs


def _serial(secrets: Secrets) -> int:
    if secrets.credential is None or secrets.project_id is None:
        return 0
    return credentials.peek(secrets.credential, secrets.project_id).serial
