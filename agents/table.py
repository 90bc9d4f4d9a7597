"""The Faust table of a direction: the state of every source partition, in RocksDB, for agents and operators.

A working copy, never the last word: what counts is committed positions and delivery records. No secret is in it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sealwire.agents.settings import TABLE

if TYPE_CHECKING:
    import faust

_log = logging.getLogger(__name__)
# One database per lane: the store's defaults ask for a 2 GiB cache and 64 MiB of write buffers each.
_ROCKSDB = {"block_cache_size": 8 * 1024 * 1024, "write_buffer_size": 1024 * 1024, "max_write_buffer_number": 2}

_WAITING_MOST = (
    32  # rows on their way to the changelog; beyond a hundred Faust holds up every event, with a log line each
)


class StateTable:
    """Rows by channel and source partition; written only while an event of their lane is being processed.

    A row that cannot be written is left out, until it changes again: it is said once, and nothing waits for it.
    """

    def __init__(self, app: faust.App, lanes: int) -> None:
        self._app = app
        self._refused = False
        self._table = app.Table(
            TABLE,
            partitions=lanes,
            # Types, not a schema: a table falls back to JSON for what these two do not say, in the schema as well, and
            # a changelog of our bytes is then never recovered.
            key_type=bytes,
            value_type=bytes,
            options=dict(_ROCKSDB),  # a copy: the store takes entries out of what it is given
        )

    def has_room(self) -> bool:
        """Tell whether rows may be written now: what is not stays changed, and is written with a later event."""
        return int(self._app.producer.buffer.size) < _WAITING_MOST

    def write(self, rows: dict[bytes, bytes]) -> None:
        """Write rows under the lane of the event being processed."""
        try:
            for name, row in rows.items():
                self._table[name] = row
            self._refused = False
        except Exception as error:  # noqa: BLE001 (RocksDB has no errors of its own: a full disk is a bare Exception)
            if not self._refused:
                _log.warning("the table cannot be written: %s; records flow on without it: is the disk full?", error)
            self._refused = True
