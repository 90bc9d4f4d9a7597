"""Kafka's four compressions, opened under a cap: nobody's claim of a size is believed before memory is taken."""

from __future__ import annotations

import struct
import zlib

import cramjam
import zstandard
from aiokafka import codec as stock

from sealwire.agents.header import GZIP, LZ4, PLAIN, SNAPPY, ZSTD

_XERIAL = b"\x82SNAPPY\0"
_XERIAL_HEADER = 16
_PIECE = 256 * 1024
_LIKELY_RATIO = 6


class TooLarge(ValueError):
    """It would open to more bytes than allowed."""

    def __init__(self, cap: int) -> None:
        super().__init__(f"it would open to more than {cap} bytes")


class Unreadable(ValueError):
    """It is not what its codec writes."""


def compress(codec: int, data: bytes | bytearray | memoryview) -> bytes:
    """Compress as Kafka's own clients can read it (independent lz4 blocks, xerial snappy)."""
    if codec == PLAIN:
        return bytes(data)
    if codec == GZIP:
        return bytes(stock.gzip_encode(data, compresslevel=6))
    if codec == SNAPPY:
        return bytes(stock.snappy_encode(bytes(data)))
    if codec == LZ4:
        return bytes(stock.lz4_encode(bytes(data), level=1))
    if codec == ZSTD:
        return bytes(stock.zstd_encode(bytes(data), level=1))
    message = f"codec {codec}"
    raise Unreadable(message)


def decompress(codec: int, data: bytes | memoryview, cap: int) -> bytes | bytearray:
    """Open ``data``; TooLarge when it holds more than ``cap`` bytes, Unreadable when it is damaged."""
    try:
        return _decompress(codec, data, cap)
    except (cramjam.DecompressionError, zstandard.ZstdError, zlib.error, struct.error, IndexError, OSError) as error:
        raise Unreadable(str(error)) from error


def _decompress(codec: int, data: bytes | memoryview, cap: int) -> bytes | bytearray:
    if codec == PLAIN:
        return bytes(data)
    if codec == GZIP:
        return _gzip(data, cap)
    if codec == SNAPPY:
        return _snappy(data, cap)
    if codec == LZ4:
        return _lz4(data, cap)
    if codec == ZSTD:
        return _zstd(data, cap)
    message = f"codec {codec}"
    raise Unreadable(message)


def _gzip(data: bytes | memoryview, cap: int) -> bytes:
    out = b""
    rest = bytes(data)
    while rest:
        member = zlib.decompressobj(31)
        out += member.decompress(rest, cap - len(out) + 1)
        if len(out) > cap:
            raise TooLarge(cap)
        if not member.eof:
            message = "cut short"
            raise Unreadable(message)
        rest = member.unused_data
    return out


def _snappy(data: bytes | memoryview, cap: int) -> bytes:
    raw = bytes(data)
    blocks = [raw]
    if raw.startswith(_XERIAL):
        blocks, position = [], _XERIAL_HEADER
        while position < len(raw):
            (size,) = struct.unpack_from(">i", raw, position)
            if size <= 0 or position + 4 + size > len(raw):
                message = "block size"
                raise Unreadable(message)
            blocks.append(raw[position + 4 : position + 4 + size])
            position += 4 + size
    if sum(cramjam.snappy.decompress_raw_len(block) for block in blocks) > cap:
        raise TooLarge(cap)
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


def _lz4(data: bytes | memoryview, cap: int) -> bytes:
    raw = bytes(data)
    room = min(cap, max(_PIECE, _LIKELY_RATIO * len(raw)))
    while True:
        out = bytearray(room + 1)
        try:
            size = cramjam.lz4.decompress_into(raw, out)
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise
            size = room + 1
        if size <= room:
            return bytes(memoryview(out)[:size])
        if room >= cap:
            raise TooLarge(cap)
        room = min(cap, room * 4)


def _zstd(data: bytes | memoryview, cap: int) -> bytes:
    opener = zstandard.ZstdDecompressor(max_window_size=2**27)
    out: list[bytes] = []
    size = 0
    with opener.stream_reader(data, read_across_frames=True) as reader:
        while piece := reader.read(_PIECE):
            size += len(piece)
            if size > cap:
                raise TooLarge(cap)
            out.append(piece)
    return b"".join(out)
