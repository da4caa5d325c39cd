"""moto as a store whose writes are one step each.

It looks whether an object is there and writes it in two steps, and threads get between them: two creates of one key
could both succeed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from moto import mock_aws
from moto.s3.responses import S3Response


@contextmanager
def mock_s3() -> Iterator[None]:
    """S3 in this process, for any number of threads."""
    lock, put_object = threading.Lock(), S3Response.put_object

    def in_turn(response: S3Response) -> Any:
        with lock:
            return put_object(response)

    with mock_aws(), mock.patch.object(S3Response, "put_object", in_turn):
        yield
