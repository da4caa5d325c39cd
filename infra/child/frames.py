"""What goes over the socket between a child and its caller: frames of a JSON head and bytes, each of bounded size."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

SIZES = struct.Struct(">IQ")  # of the head and of the bytes
MOST_HEAD, MOST_BODY = 64 << 20, 16 << 30
PIECE = 1 << 20


class FrameError(Exception):
    """What came is no frame."""


def send_frame(to: socket.socket, head: dict[str, Any], body: bytes | bytearray | memoryview = b"") -> None:
    """Whole. Raises ``OSError`` when the other side is gone."""
    text = json.dumps(head).encode()
    if len(text) > MOST_HEAD:
        raise FrameError(f"a head of {len(text)} bytes; at most {MOST_HEAD} are sent")
    to.sendall(SIZES.pack(len(text), len(body)) + text)
    if body:
        to.sendall(body)


def receive_frame(source: socket.socket) -> tuple[dict[str, Any], bytes]:
    """The next one. Raises ``EOFError`` when the other side is gone, ``FrameError`` for what is none."""
    head_bytes, body_bytes = SIZES.unpack(_exactly(source, SIZES.size))
    if head_bytes > MOST_HEAD or body_bytes > MOST_BODY:
        raise FrameError(
            f"a frame of {head_bytes} and {body_bytes} bytes; at most {MOST_HEAD} and {MOST_BODY} are read"
        )
    try:
        head = json.loads(_exactly(source, head_bytes))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a head that is not JSON: {error}") from error
    if not isinstance(head, dict):
        raise FrameError(f"a head that is no object: {type(head).__name__}")
    return head, _exactly(source, body_bytes)


def _exactly(source: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        try:
            piece = source.recv(min(PIECE, size - len(got)))
        except ConnectionResetError as error:
            raise EOFError from error
        if not piece:
            raise EOFError
        got += piece
    return bytes(got)
