"""How often a vault was written, noted beside its directory: one that comes back older was restored from a backup.

The note is `<state>/<identity>.generation`: neither the vault nor its directory, restored alone, brings it back. It is
a hint, no secret and no proof: a missing one says nothing, and whoever can change it can change the vault.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_MOST: Final = 1024  # bytes


def noted(vault: Path, member_id: bytes) -> int:
    """Give the highest generation that was noted of this member's vault; 0 where nothing was, or of another member."""
    try:
        with _file(vault).open("rb") as file:
            whose, number = file.read(_MOST).decode().split()
        return int(number) if bytes.fromhex(whose) == member_id else 0
    except (OSError, ValueError):
        return 0


def note(vault: Path, member_id: bytes, generation: int) -> None:
    """Note the generation of a vault that was written. Not synced, and never raises: the vault is what counts."""
    file = _file(vault)
    aside = file.with_name(f"{file.name}.new")
    with contextlib.suppress(OSError):
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(f"{member_id.hex()} {generation}\n".encode())
        aside.rename(file)


def _file(vault: Path) -> Path:
    return vault.parent.parent / f"{vault.parent.name}.generation"
