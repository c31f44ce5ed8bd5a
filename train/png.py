"""Images as PNG files."""

import struct
import zlib

import numpy as np


def content(pixels: np.ndarray) -> bytes:
    """An image, uint8 [H, W, 1] grey or [H, W, 3] in colour, as a PNG file (ISO/IEC 15948)."""
    height, width, channels = pixels.shape
    kind = {1: 0, 3: 2}[channels]

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    # Each line begins with the number of its filter: none.
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
