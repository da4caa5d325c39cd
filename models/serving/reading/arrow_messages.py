"""The messages of an Arrow stream, looked at before Arrow reads them: how many bytes each takes, and that none is
compressed, so that no body of a few kB becomes gigabytes.

Layout: format/Message.fbs and the "Encapsulated message format" of the Arrow columnar format 1.5; flatbuffers' tables.
"""

from __future__ import annotations

import struct

CONTINUED = 0xFFFFFFFF
RECORDS, DICTIONARY = 3, 2  # of the union MessageHeader
HEADER_TYPE, HEADER, BODY_BYTES = 1, 2, 3  # fields of Message
COMPRESSION = 3  # field of RecordBatch
MOST_MESSAGES = 10_000


def refuse_compressed(data: bytes) -> None:
    """Raises ``ValueError`` for a stream whose messages do not add up, hold compressed buffers, or dictionaries."""
    at = 0
    for _ in range(MOST_MESSAGES):
        size, at = _metadata_bytes(data, at)
        if not size:
            return
        metadata = data[at : at + size]
        if len(metadata) != size:
            raise ValueError(f"ends in the metadata of a message at byte {at}")
        kind, body = _checked(metadata)
        if kind == DICTIONARY:
            raise ValueError("holds a dictionary; send the values themselves")
        at += size + body
        if body < 0 or at > len(data):
            raise ValueError(f"a message says {body} bytes and the stream ends before")
    raise ValueError(f"holds more than {MOST_MESSAGES} messages")


def _metadata_bytes(data: bytes, at: int) -> tuple[int, int]:
    """Size of the next message's metadata, 0 at the end, and where it begins."""
    if at == len(data):
        return 0, at
    first = _number("<I", data, at)
    if first != CONTINUED:
        raise ValueError(f"no message of an Arrow stream at byte {at}")
    size = _number("<i", data, at + 4)
    if size < 0:
        raise ValueError(f"a message at byte {at} says {size} bytes")
    return size, at + 8


def _checked(metadata: bytes) -> tuple[int, int]:
    """(kind of a message, bytes of its body)."""
    message = _number("<I", metadata, 0)
    kind_at, header_at = _field(metadata, message, HEADER_TYPE), _field(metadata, message, HEADER)
    body_at = _field(metadata, message, BODY_BYTES)
    kind = _number("<B", metadata, kind_at) if kind_at else 0
    if kind == RECORDS and header_at:
        records = header_at + _number("<I", metadata, header_at)
        if _field(metadata, records, COMPRESSION):
            raise ValueError("its buffers are compressed; write the stream without compression")
    return kind, _number("<q", metadata, body_at) if body_at else 0


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffers table stands; 0: it is not given."""
    fields = table - _number("<i", data, table)
    size = _number("<H", data, fields)
    place = 4 + 2 * number
    offset = _number("<H", data, fields + place) if place + 2 <= size else 0
    return table + offset if offset else 0


def _number(form: str, data: bytes, at: int) -> int:
    if at < 0 or at + struct.calcsize(form) > len(data):
        raise ValueError("a message points beyond its end")
    found: int = struct.unpack_from(form, data, at)[0]
    return found
