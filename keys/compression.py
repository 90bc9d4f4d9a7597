"""Compression of a chunk's batches: one zstd frame (RFC 8878) that states its content's size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zstandard

from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwire.keys.primitives import Buffer


def compress(batches: Sequence[Buffer], level: int = 1) -> bytes:
    """Return the batches, one after the other, as one zstd frame."""
    size = sum(memoryview(batch).nbytes for batch in batches)
    compressor = zstandard.ZstdCompressor(level=level).compressobj(size=size)
    return b"".join((*map(compressor.compress, batches), compressor.flush()))


def decompress_into(frame: memoryview, out: memoryview) -> None:
    """Decompress one zstd frame that fills ``out`` exactly.

    The frame decides over no memory: the size that it states must be that of ``out``, and what it holds must be of
    that size. One call for the whole frame needs no window, and refuses a frame cut short or followed by anything.

    Raises:
        Rejected: MALFORMED: not one whole zstd frame of this size without a dictionary.
    """
    try:
        stated = zstandard.get_frame_parameters(frame)
        if stated.content_size != out.nbytes or stated.dict_id:
            raise Rejected(Reason.MALFORMED, f"a zstd frame other than one of {out.nbytes} bytes without a dictionary")
        out[:] = zstandard.ZstdDecompressor().decompress(frame, max_output_size=out.nbytes, allow_extra_data=False)
    except (zstandard.ZstdError, ValueError):
        raise Rejected(Reason.MALFORMED, "not one whole zstd frame of the size it states") from None
