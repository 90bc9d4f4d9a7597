"""What a worker needs in its environment before it starts."""

from __future__ import annotations

# For the processes that move data: freed blocks stay with the process instead of being faulted in anew (+17 % sealing).
# glibc reads these at start only, so that whoever starts a worker has to set them.
WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "536870912",
    "MALLOC_TOP_PAD_": "16777216",
    "MALLOC_ARENA_MAX": "2",
}
