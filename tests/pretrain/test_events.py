"""Event files, read back by the format's rules."""

import struct

from pipeline.pretrain.events import EventFile, crc32c
from pipeline.pretrain.log import Log


def _fields(data):
    """The fields of a protocol buffers message as (number, value)."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or varint()
        yield key >> 3, data[at : at + size]
        at += size


def _unmask(data):
    value = (struct.unpack("<I", data)[0] - 0xA282EAD8) & 0xFFFFFFFF
    return (value >> 17 | value << 15) & 0xFFFFFFFF


def _read(path):
    """Every event as (step, {tag: value}); checksums are checked."""
    data, at, events = path.read_bytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack("<Q", data[at : at + 8])
        assert _unmask(data[at + 8 : at + 12]) == crc32c(data[at : at + 8])
        message = data[at + 12 : at + 12 + size]
        assert _unmask(data[at + 12 + size : at + 16 + size]) == crc32c(message)
        at += 16 + size
        fields = dict(_fields(message))
        values = [dict(_fields(value)) for number, value in _fields(fields.get(5, b"")) if number == 1]
        scalars = {value[1].decode(): struct.unpack("<f", value[2])[0] for value in values}
        events.append((fields[2], scalars if 5 in fields else fields[3]))
    return events


def test_published_checksum():
    """The check value of CRC-32C."""
    assert crc32c(b"123456789") == 0xE3069283


def test_round_trip(tmp_path):
    """Steps of any size and all curves come back; clocks and counts are left out."""
    path = tmp_path / "a.tfevents"
    file = EventFile(path)
    file.write([{"step": 1, "loss": 2.5, "seconds": 9.0, "tokens": 5}, {"step": 200, "loss": 2.0}])
    file.write([{"step": 300_000, "validation_loss": 0.25, "loss": None}])
    file.close()
    version, *events = _read(path)
    assert version == (0, b"brain.Event:2")
    assert events == [(1, {"loss": 2.5}), (200, {"loss": 2.0}), (300_000, {"validation_loss": 0.25})]


def test_resumed_log(tmp_path):
    """After a resume the event file holds what the log holds: nothing of the steps that are trained again."""
    for last_step, steps in ((0, (1, 2, 3)), (2, (3, 4))):
        log = Log(tmp_path / "log.jsonl", last_step=last_step, steps=4)
        log.write([{"step": step, "loss": float(step + last_step)} for step in steps])
        log.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    assert "tfevents" in path.name
    assert [(step, scalars["loss"]) for step, scalars in _read(path)[1:]] == [(1, 1.0), (2, 2.0), (3, 5.0), (4, 6.0)]
