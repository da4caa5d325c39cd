"""What carries a signature of its own and is not ours: answers of people, and signatures beside decisions.

Nobody believes any of it, so none of it fails an audit: it is named, so that a person sees what somebody left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlratchet.models.approval.statement import KEY, SignedStatement, parse
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore

SIGNATURE = re.compile(r"signatures/(?P<digest>[0-9a-f]{64})/(?P<key_id>[0-9a-f]{16})\.json")
REQUEST = re.compile(r"approvals/[^/]+/[0-9a-f]{64}/request\.json")


def foreign_answers(store: ObjectStore, trusted: TrustedKeys, name: str) -> Iterator[str]:
    """A line for each object among the answers about a pipeline that no person of the list, and no form, gave."""
    for info in store.list(f"approvals/{name}/"):
        where = f"{store.bucket}/{info.key}"
        match = KEY.search(info.key)
        if match is None:
            if not REQUEST.fullmatch(info.key):
                yield f"{where}: is not the name of an answer or of a request for one"
            continue
        try:
            one = parse(info.key, store.get(info.key))
            if one.statement.subject.folder != info.key[: match.start() + 1] or one.signature.key_id != match["key_id"]:
                raise SecurityError(f"{where}: is about something else, or by another key; it was copied here")
            _verify(one, trusted, where)
        except ObjectNotFound:  # gone since the listing
            continue
        except SecurityError as error:
            yield str(error)
        except (ValueError, TypeError, KeyError, RecursionError):
            yield f"{where}: is not an answer; it was changed"


def _verify(one: SignedStatement, trusted: TrustedKeys, where: str) -> None:
    statement = one.statement
    key = trusted.verify(
        one.signature, statement.body(), purpose="approval",
        role="approver" if statement.method == "signature" else "pipeline", at_s=statement.at_s, what=where,
        anchored="noted",
    )  # fmt: skip
    if statement.method == "signature" and key.owner != statement.approver:
        raise SecurityError(f"{where}: by {statement.approver}, signed by the key of {key.owner}")


def foreign_signatures(store: ObjectStore, trusted: TrustedKeys) -> Iterator[str]:
    """A line for each object among the signatures that has no decision, or a key that is not in the list, by name."""
    decisions = {info.key.removeprefix("decisions/").removesuffix(".json") for info in store.list("decisions/")}
    for info in store.list("signatures/"):
        match = SIGNATURE.fullmatch(info.key)
        if match is None:
            why = "is not the name of a signature"
        elif match["digest"] not in decisions:
            why = "is beside no decision"
        elif trusted.get(match["key_id"]) is None:
            why = "is by a key that is not in the trusted list"
        else:
            continue
        yield f"{store.bucket}/{info.key}: {why}"
