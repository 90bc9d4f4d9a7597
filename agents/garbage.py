"""The garbage collector, told what it need not look at: it cost a sealing worker a fifth of its CPU.

Faust, its clients and our own modules are some hundred thousand objects that live as long as the process. What moves
data makes few cycles, but many objects: so the young are looked at less often, and what the start made never again.
"""

from __future__ import annotations

import gc

_YOUNG = 20_000  # objects made before the young are looked at (700 by default)
_OLDER = 20  # looks at the young before the older are looked at, and so on


def begin() -> None:
    """Look less often from now on; at a worker's very start."""
    gc.set_threshold(_YOUNG, _OLDER, _OLDER)


def settle() -> None:
    """Collect once, and leave what is there now out of every later look; when a worker is ready to move data."""
    gc.collect()
    gc.freeze()
