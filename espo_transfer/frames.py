"""Chunk frames: a header of 17 bytes, then the chunk.

Big-endian: kind (1 byte), offset in the file (8), length of the payload (4), CRC-32 of the payload (4). The
checksum is against accidents on the way; the whole file is verified by SHA-256.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

_HEADER = struct.Struct(">BQII")
_DATA, _REFUSAL = 0, 1


class BadFrameError(Exception):
    """The bytes are no frame, or the payload is not what was sent; `offset` is a guess at which."""

    def __init__(self, message: str, offset: int = -1) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Bytes of a file at `offset`, or why there are none."""

    kind: Literal["data", "refusal"]
    offset: int
    payload: bytes


def data_frame(offset: int, payload: bytes) -> bytes:
    """The frame that carries `payload`."""
    return _HEADER.pack(_DATA, offset, len(payload), zlib.crc32(payload)) + payload


def refusal_frame(offset: int, reason: str) -> bytes:
    """The frame that says why the chunk at `offset` cannot be had."""
    payload = reason.encode()[:1000]
    return _HEADER.pack(_REFUSAL, offset, len(payload), zlib.crc32(payload)) + payload


def decode(frame: bytes) -> Frame:
    """The Frame of these bytes.

    Raises:
        BadFrameError: too short, too long, of an unknown kind, or with another checksum.
    """
    if len(frame) < _HEADER.size:
        raise BadFrameError(f"a frame of {len(frame)} bytes has no header")
    kind, offset, length, checksum = _HEADER.unpack_from(frame)
    payload = frame[_HEADER.size :]
    if kind not in {_DATA, _REFUSAL} or len(payload) != length or zlib.crc32(payload) != checksum:
        raise BadFrameError(f"the frame at offset {offset} is damaged", offset)
    return Frame(kind="data" if kind == _DATA else "refusal", offset=offset, payload=payload)
