"""A worker that keeps no audit trail: one that was built without one, as tests and simulations are."""

from __future__ import annotations


class Untold:
    """A trail that keeps nothing."""

    trouble = ""

    def note(self, event: str, **fields: str | int) -> None:
        """Keep nothing."""
