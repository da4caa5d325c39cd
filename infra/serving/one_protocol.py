"""Requests that offer another protocol, as Java's client does with HTTP/2 at every first one: answered in this one.

The parser reads no body of such a request, for what follows might be the other protocol; uvicorn answers it as if it
had none. So it is read a second time, without the offer.
"""

from __future__ import annotations

import sys

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class OneProtocol(HttpToolsProtocol):
    """One connection, that never changes its protocol."""

    _fed = b""
    _again: bytes | None = None

    def data_received(self, data: bytes) -> None:
        """As uvicorn's."""
        self._fed = data
        super().data_received(data)
        while self._again is not None:
            self._fed, self._again = self._again, None
            super().data_received(self._fed)
        self._fed = b""

    def on_headers_complete(self) -> None:
        """As uvicorn's, of a request that is not read again."""
        if not self._is_offer():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The same."""
        if not self._is_offer():
            super().on_message_complete()

    def _is_offer(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _unsupported_upgrade_warning(self) -> None:
        """uvicorn asks for it where the parser has stopped behind the header."""
        stopped = sys.exc_info()[1]
        if not self._is_offer() or not isinstance(stopped, httptools.HttpParserUpgrade):
            super()._unsupported_upgrade_warning()
            return
        parts = [self.parser.get_method(), b" ", self.url, b" HTTP/", self.parser.get_http_version().encode(), b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                parts += name, b": ", value, b"\r\n"
        self._again = b"".join((*parts, b"\r\n", self._fed[stopped.args[0] :]))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
