"""Private keys are read by their owner alone; rotation and revocation leave a list that verifiers understand."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.keys.files import (
    InstalledKeys,
    approver_key_file,
    ensure_pipeline_key,
    load_approver,
    load_signer,
    new_key,
    pipeline_key_file,
    revoke_key,
    rotate_key,
    trust_key,
    trusted_keys_file,
)
from mlratchet.infra.settings import Settings, without_private_keys
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.signing import Signer
from pydantic import SecretStr


def settings_of(home: Path, **more: Any) -> Settings:
    return Settings(
        home=home, s3_access_key=SecretStr("a"), s3_secret_key=SecretStr("b"), mlflow_tracking_uri="m",
        prefect_api_url="p", **more,
    )  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = settings_of(tmp_path)
    ensure_pipeline_key(made)
    return made


def test_a_fresh_installation_gets_a_key_that_only_its_owner_reads(settings: Settings) -> None:
    file = pipeline_key_file(settings)
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    ensure_pipeline_key(settings)
    assert file.read_bytes() == before
    assert [key.id for key in InstalledKeys(settings).trusted()] == [load_signer(settings).key_id]
    assert "PRIVATE" not in trusted_keys_file(settings).read_text()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(settings: Settings, mode: int) -> None:
    pipeline_key_file(settings).chmod(mode)
    with pytest.raises(SecurityError, match=f"mode {mode:04o} lets others use the private key; chmod 600"):
        load_signer(settings)


def test_a_key_comes_from_the_environment_as_pem_or_base64(settings: Settings) -> None:
    signer = load_signer(settings)
    raw = base64.b64encode(signer._private.private_bytes_raw()).decode()
    pipeline_key_file(settings).unlink()
    for text in (signer.pem(), raw, raw + "\n"):
        assert load_signer(settings_of(settings.home, signing_key=SecretStr(text))).key_id == signer.key_id
    assert "RATCHET_SIGNING_KEY" not in without_private_keys({"RATCHET_SIGNING_KEY": raw, "PATH": "x"})


def test_a_key_that_nobody_trusts_does_not_sign(settings: Settings) -> None:
    stranger = Signer.generate()
    with pytest.raises(ConfigurationError, match="not in the list of trusted keys"):
        load_signer(settings_of(settings.home, signing_key=SecretStr(stranger.pem())))
    trust_key(settings, stranger.public_key, "approver", "bob", now_s=1.0)
    with pytest.raises(ConfigurationError, match="has the role approver, expected pipeline"):
        load_signer(settings_of(settings.home, signing_key=SecretStr(stranger.pem())))


def test_rotation_keeps_the_old_public_key_and_replaces_the_private_one(settings: Settings) -> None:
    before = load_signer(settings)
    old, new = rotate_key(settings, "pipeline", None, now_s=50.0)
    assert (old.id, old.rotated_s, old.state()) == (before.key_id, 50.0, "rotated")
    assert load_signer(settings).key_id == new.id != old.id
    assert before.pem() not in [file.read_text() for file in (settings.home / "keys").iterdir()]
    assert {key.id for key in InstalledKeys(settings).trusted()} == {old.id, new.id}


def test_a_revoked_key_does_not_sign_until_the_next_one_is_made(settings: Settings) -> None:
    key_id = load_signer(settings).key_id
    assert revoke_key(settings, key_id, reason="laptop stolen", since_s=9.0, anchors={}).state() == "revoked"
    with pytest.raises(ConfigurationError, match="was revoked; `ratchet keys rotate`"):
        load_signer(settings)
    assert revoke_key(settings, key_id, reason="laptop stolen", since_s=20.0, anchors={}).revoked_s == 9.0
    rotate_key(settings, "pipeline", None, now_s=30.0)
    assert load_signer(settings).key_id != key_id
    with pytest.raises(ConfigurationError, match="no key nothing in the list"):
        revoke_key(settings, "nothing", reason="", since_s=0.0, anchors={})


def test_each_approver_has_a_key_of_their_own(settings: Settings) -> None:
    ada, bob = (new_key(settings, "approver", name, now_s=1.0) for name in ("Ada", "bob@example.org"))
    assert len({ada.id, bob.id, load_signer(settings).key_id}) == 3
    assert load_approver(settings, "Ada").key_id == ada.id
    assert approver_key_file(settings, "../../etc/x").parent == settings.home / "keys"
    with pytest.raises(ConfigurationError, match="holds a key already"):
        new_key(settings, "approver", "Ada", now_s=2.0)
    with pytest.raises(ConfigurationError, match=r"cannot be read .* `ratchet keys new --owner NAME`"):
        load_approver(settings, "carol")


def test_a_list_or_key_that_is_damaged_says_so_in_one_line(settings: Settings) -> None:
    trusted_keys_file(settings).write_text("{")
    with pytest.raises(SecurityError, match="not a list of trusted keys"):
        load_signer(settings)
    os.unlink(trusted_keys_file(settings))  # noqa: PTH108
    with pytest.raises(ConfigurationError, match="no list of trusted keys"):
        load_signer(settings)
    pipeline_key_file(settings).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_signer(settings)
