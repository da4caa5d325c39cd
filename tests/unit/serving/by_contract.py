"""Holds an answer against the OpenAPI description that the request was made from."""

from __future__ import annotations

from typing import Any

import schemathesis

# what JSON Schema cannot say is refused with 4xx: that bytes are a picture, a day exists, a row has the header's cells
UNSAYABLE = [schemathesis.checks.positive_data_acceptance, schemathesis.checks.negative_data_rejection]
A_SERVER_ERROR = schemathesis.checks.not_a_server_error


def check(case: schemathesis.Case, *excluded: Any, token: str = "") -> None:
    """Everything but `excluded`; a 504 is an answer where the client said how long it waits."""
    told = list(excluded)
    if case.media_type not in (None, "application/json"):
        told += UNSAYABLE
    headers = {"host": "localhost"}
    if token:  # in place of one that was made up
        headers["authorization"] = f"Bearer {token}"
        told.append(schemathesis.checks.ignored_auth)
    reply = case.call(headers=headers)
    if reply.status_code == 504 and "x-timeout-ms" in (case.headers or {}):
        told += [A_SERVER_ERROR, *UNSAYABLE]
    case.validate_response(reply, excluded_checks=told)
