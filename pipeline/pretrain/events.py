"""The log as TensorBoard reads it: an event file, written without TensorBoard.

A record is its length (uint64), the masked checksum of the length, an Event message in protocol buffers, and the masked
checksum of the message (TFRecord format, https://www.tensorflow.org/tutorials/load_data/tfrecord); all little-endian.
"""

import struct
import time
from pathlib import Path
from typing import Any

_POLYNOMIAL = 0x82F63B78  # of CRC-32C, reversed
_NOT_CURVES = frozenset({"step", "seconds", "tokens", "read_seconds"})


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of `data`."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


class EventFile:
    """Appends the numbers of log lines to `path`, which is begun anew; its name must contain `tfevents`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._file.write(_record(_event(0, _bytes_field(3, b"brain.Event:2"))))

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Append one event a line, with a scalar for each number that makes a curve."""
        for line in lines:
            scalars = b"".join(
                # Summary.value: tag, simple_value
                _bytes_field(1, _bytes_field(1, name.encode()) + b"\x15" + struct.pack("<f", value))
                for name, value in line.items()
                if name not in _NOT_CURVES and value is not None
            )
            self._file.write(_record(_event(line["step"], _bytes_field(5, scalars))))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _event(step: int, content: bytes) -> bytes:
    """Return an Event: wall_time, step, and `content`, one more field."""
    return b"\x09" + struct.pack("<d", time.time()) + b"\x10" + _varint(step) + content


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded) + bytes([value])


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _masked_crc(data: bytes) -> bytes:
    """Return the checksum, turned and shifted: a plain one of data that contain checksums would be weak."""
    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)
