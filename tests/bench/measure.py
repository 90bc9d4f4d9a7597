"""What a process has used, as the kernel counts it."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return user and system time of all threads of a process, in seconds, in steps of 10 ms."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def peak_mb(pid: int) -> float:
    """Return the most memory that a process has held so far, in MB of 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


@dataclass(frozen=True)
class Spent:
    """Records moved, and the CPU and wall seconds that it took."""

    records: int
    cpu_s: float
    wall_s: float
    peak_mb: float = 0.0

    @property
    def per_cpu_s(self) -> float:
        """Records per CPU second."""
        return self.records / max(self.cpu_s, 0.001)

    @property
    def per_wall_s(self) -> float:
        """Records per second that passed."""
        return self.records / max(self.wall_s, 0.001)


def median(values: Sequence[float]) -> float:
    """Return the median; nothing gives 0."""
    return statistics.median(values) if values else 0.0
