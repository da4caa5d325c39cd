"""A signature counts only for the bytes, the purpose, the role and the time it was made for."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.signing import Anchored, DetachedSignature, Role, Signer, TrustedKey, TrustedKeys

DAY = 86_400.0
BODY = b'{"verdict":"pass"}'


def trusted(signer: Signer, *, role: Role = "pipeline", valid_from_s: float = 0.0, **more: float) -> TrustedKeys:
    return TrustedKeys(
        [
            TrustedKey.model_validate(
                {
                    "id": signer.key_id, "public_key": signer.public_key, "role": role, "owner": "ada",
                    "valid_from_s": valid_from_s, **more,
                }
            )
        ]
    )  # fmt: skip


def check(
    keys: TrustedKeys,
    signature: DetachedSignature,
    body: bytes = BODY,
    *,
    at_s: float = DAY,
    anchored: Anchored = False,
) -> TrustedKey:
    return keys.verify(
        signature, body, purpose="decision", role="pipeline", at_s=at_s, what="decision d", anchored=anchored
    )


def test_what_was_signed_verifies_and_says_by_whom() -> None:
    signer = Signer.generate()
    assert check(trusted(signer), signer.sign(BODY, purpose="decision")).owner == "ada"


def test_signing_again_gives_the_same_bytes() -> None:
    signer = Signer.generate()
    assert signer.sign(BODY, purpose="ledger") == signer.sign(BODY, purpose="ledger")
    assert Signer.from_text(signer.pem(), where="x").sign(BODY, purpose="ledger") == signer.sign(BODY, purpose="ledger")


@pytest.mark.parametrize("at", range(0, len(BODY), 3))
def test_a_flipped_bit_is_refused(at: int) -> None:
    signer = Signer.generate()
    changed = bytearray(BODY)
    changed[at] ^= 1
    with pytest.raises(SecurityError, match=r"decision d: the signature of key .* does not fit"):
        check(trusted(signer), signer.sign(BODY, purpose="decision"), bytes(changed))


def test_a_signature_of_another_purpose_role_or_key_is_refused() -> None:
    signer, other = Signer.generate(), Signer.generate()
    with pytest.raises(SecurityError, match="does not fit"):
        check(trusted(signer), signer.sign(BODY, purpose="ledger"))
    with pytest.raises(SecurityError, match=r"signed by the approver key .* expected a pipeline key"):
        check(trusted(signer, role="approver"), signer.sign(BODY, purpose="decision"))
    with pytest.raises(SecurityError, match="not in the trusted list"):
        check(trusted(signer), other.sign(BODY, purpose="decision"))
    with pytest.raises(SecurityError, match="does not fit"):  # another's signature under a trusted name
        check(trusted(signer), DetachedSignature(signer.key_id, other.sign(BODY, purpose="decision").value))


@pytest.mark.parametrize("value", ["", "no base64 ü", "AAAA", "=" * 88])
def test_a_signature_that_is_none_is_refused(value: str) -> None:
    signer = Signer.generate()
    with pytest.raises(SecurityError, match="does not fit"):
        check(trusted(signer), DetachedSignature(signer.key_id, value))


@pytest.mark.parametrize("at_s", [0.0, 4 * DAY, 9 * DAY, 11 * DAY, 400 * DAY])
def test_a_rotated_key_verifies_what_it_signed_whatever_the_clock_said(at_s: float) -> None:
    """A clock that was ahead, or a key that was made while it was, locks nobody out."""
    signer = Signer.generate()
    keys = trusted(signer, valid_from_s=5 * DAY, rotated_s=10 * DAY)
    assert check(keys, signer.sign(BODY, purpose="decision"), at_s=at_s).id == signer.key_id


def test_a_person_answers_anew_after_a_rotation_but_what_is_in_the_ledger_stays() -> None:
    signer = Signer.generate()
    keys, signature = trusted(signer, role="approver", rotated_s=10 * DAY), signer.sign(BODY, purpose="approval")
    said: dict[str, Any] = {"purpose": "approval", "role": "approver", "what": "approval"}
    keys.verify(signature, BODY, at_s=9 * DAY, **said)
    with pytest.raises(SecurityError, match=r"after key .* was rotated out"):
        keys.verify(signature, BODY, at_s=11 * DAY, **said)
    keys.verify(signature, BODY, at_s=11 * DAY, anchored=True, **said)


def test_a_revoked_key_counts_only_for_what_is_shown_to_be_older() -> None:
    signer = Signer.generate()
    keys, signature = trusted(signer, revoked_s=10 * DAY), signer.sign(BODY, purpose="decision")
    check(keys, signature, at_s=9 * DAY, anchored=True)
    with pytest.raises(SecurityError, match="nothing shows that it was signed before"):  # a back-dated one
        check(keys, signature, at_s=9 * DAY)
    with pytest.raises(SecurityError, match=r"signed after key .* was revoked"):
        check(keys, signature, at_s=10 * DAY, anchored=True)
    check(keys, signature, at_s=10 * DAY, anchored="noted")  # dated ahead, and seen before


def test_the_public_list_reads_back_and_refuses_what_is_not_one() -> None:
    signer = Signer.generate()
    keys = trusted(signer, rotated_s=3.0)
    assert list(TrustedKeys.from_json(keys.to_json(), where="f")) == list(keys)
    text = keys.to_json()
    for damaged in (
        "", "{", "[]", '{"format": 2, "keys": []}', text.replace("pipeline", "admin"),
        text.replace(signer.public_key, "AAAA"), text.replace('"rotated_s": 3.0', '"rotated_s": NaN'),
        text.replace(signer.key_id, "0" * 16), text.replace(signer.public_key, Signer.generate().public_key),
    ):  # fmt: skip
        with pytest.raises(SecurityError):
            TrustedKeys.from_json(damaged, where="f")


def test_the_private_key_never_shows() -> None:
    signer = Signer.generate()
    secret = "".join(signer.pem().splitlines()[1:-1])
    assert secret not in repr(signer) + str(vars(signer)) + str(trusted(signer).to_json())
    with pytest.raises(TypeError, match="does not leave its process"):
        pickle.dumps(signer)
    with pytest.raises(ConfigurationError) as caught:
        Signer.from_text(secret + "!", where="RATCHET_SIGNING_KEY")
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
