"""What the log writer needs: the store, of which it may write `log/`, its own key, and the public list of keys."""

from __future__ import annotations

from pathlib import Path

from mlratchet.infra.settings import AuditSettings, arm_fault, find_home
from mlratchet.models.errors import ConfigurationError
from pydantic import ValidationError


class LogSettings(AuditSettings):
    """Of its process."""

    log_key_file: Path
    trusted_keys: Path
    log_spool_bytes: int = 512_000_000


def load_log_settings() -> LogSettings:
    """From the environment alone. Raises ``ConfigurationError`` where it says too little."""
    try:
        settings = LogSettings(home=find_home())
    except ValidationError as exc:
        words = ", ".join(str(error["loc"][0]) for error in exc.errors())
        raise ConfigurationError(f"the log writer needs RATCHET_* variables; missing or wrong: {words}") from exc
    arm_fault()
    return settings
