"""A gateway in front of an S3 server that can begin to refuse everything, as one with expired credentials does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

EXPIRED = b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"


class Gateway:
    """Forwards bytes, host header and all; once `refuse` was called it answers 400 ExpiredToken to every request."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._refusing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse(self) -> None:
        """From now on; connections that are open are cut."""
        self._refusing = True
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.refuse()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self._refusing:
                client.recv(1 << 20)
                head = f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(EXPIRED)}\r\nConnection: close\r\n\r\n"
                client.sendall(head.encode() + EXPIRED)
                return
            with socket.create_connection(self._target) as server:
                self._open += [client, server]
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Until either side ends."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
