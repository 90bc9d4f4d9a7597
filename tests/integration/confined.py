"""Processes as a hardened unit or container runs them: nothing writable but what is named, no home, no W+X memory."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PR_SET_MDWE: Final = 65  # Linux 6.3, prctl(2): what MemoryDenyWriteExecute= asks for
_PR_MDWE_REFUSE_EXEC_GAIN: Final = 1

# Binds each writable directory to itself, so that it is a mount of its own, and makes every other mount read-only.
_READ_ONLY: Final = """
for each in $WRITABLE; do mount --bind "$each" "$each"; done
for each in $(awk '{print $2}' /proc/self/mounts); do
  case " $WRITABLE " in *" $each "*) continue;; esac
  case "$each" in /proc|/proc/*|/dev|/dev/*|/sys|/sys/*) continue;; esac
  mount -o remount,bind,ro "$each" 2>/dev/null || true
done
cd /
exec "$@"
"""
_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


def confined(words: Sequence[str | Path], *writable: Path) -> list[str]:
    """A command that runs `words` where only `writable` can be written; in a mount namespace of its own."""
    inside = ["env", f"WRITABLE={' '.join(map(str, writable))}", "sh", "-ec", _READ_ONLY, "sh", *map(str, words)]
    return ["unshare", "--user", "--map-root-user", "--mount", *inside]


def environment(**more: str) -> dict[str, str]:
    """What a unit or a container gives its process: no home, and nothing of ours."""
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # noqa: PTH120 - a string into a string
    return {"PATH": path, "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", **more}


def deny_write_execute() -> None:
    """In the child, before its program: memory is never both written and run (ignored by an older kernel)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)


@functools.cache
def may_confine() -> bool:
    """Whether this machine lets us make a namespace in which nothing can be written."""
    try:
        tried = subprocess.run(confined(["sh", "-c", "! touch /tmp/x 2>/dev/null"]), capture_output=True, check=False)
    except OSError:
        return False
    return tried.returncode == 0
