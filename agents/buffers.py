"""Large buffers that are kept: a new 900 kB object is faulted in page by page, which costs more than sealing it."""

from __future__ import annotations

_KIB = 1024
_EXACT = 16 * _KIB  # below, a new one costs nothing
_CLASSES = tuple(size * _KIB for size in (32, 64, 128, 256, 512, 1024, 2048, 5120))
_KEPT_BYTES = 24 * 1024 * 1024


class Buffers:
    """Lends buffers of at least a size; those that come back are lent again, up to a bound."""

    def __init__(self, kept_bytes: int = _KEPT_BYTES) -> None:
        self._free: dict[int, list[bytearray]] = {size: [] for size in _CLASSES}
        self._kept, self._most = 0, kept_bytes

    def lend(self, size: int) -> bytearray:
        """Return a buffer of ``size`` bytes or more; what it holds is anybody's."""
        if size <= _EXACT:
            return bytearray(size)
        for each in _CLASSES:
            if size <= each:
                free = self._free[each]
                if free:
                    self._kept -= each
                    return free.pop()
                return bytearray(each)
        return bytearray(size)

    def give_back(self, buffer: bytearray) -> None:
        """Take a buffer back, when nobody reads it any more."""
        size = len(buffer)
        if size in self._free and self._kept + size <= self._most:
            self._kept += size
            self._free[size].append(buffer)
