"""What a cloud topic of ours is made with."""

from __future__ import annotations

from typing import Final

DAY_MS: Final = 24 * 3600 * 1000
MESSAGE_BYTES: Final = 8 << 20  # the largest envelope that a cloud topic of ours takes
RETENTION_DAYS: Final = 7


def cloud_config(retention_days: int = RETENTION_DAYS) -> dict[str, str]:
    """Give a new cloud topic's settings, by Kafka's names."""
    return {
        "cleanup.policy": "delete",
        "max.message.bytes": str(MESSAGE_BYTES),
        "retention.ms": str(retention_days * DAY_MS),
    }


def opened_most(batch: memoryview) -> int:
    """Tell to how many bytes a batch out of the cloud may open: what we store there cannot be made smaller."""
    return max(2 * MESSAGE_BYTES, 2 * len(batch))
