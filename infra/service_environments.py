"""The environments of services that are handed less than the stack has: model servers and the log writer."""

from __future__ import annotations

import os

from mlratchet.infra.project_path import project_path
from mlratchet.infra.settings import Settings, process_environment, store_environment
from mlratchet.models.errors import ConfigurationError


def tls_environment(settings: Settings) -> dict[str, str]:
    """Where a model server finds its certificate and key. Raises ``ConfigurationError`` for one without the other."""
    certificate, key = settings.serving_tls_certificate, settings.serving_tls_key
    if (certificate is None) != (key is None):
        raise ConfigurationError("RATCHET_SERVING_TLS_CERTIFICATE and RATCHET_SERVING_TLS_KEY: set both, or none")
    if certificate is None:
        return {}
    return {"RATCHET_SERVING_TLS_CERTIFICATE": str(certificate), "RATCHET_SERVING_TLS_KEY": str(key)}


def server_environment(settings: Settings) -> dict[str, str]:
    """Of a model server: who may read, and where."""
    own = settings.serving_s3_access_key, settings.serving_s3_secret_key
    found = store_environment(settings, *own) | {
        "RATCHET_SERVING_NAMES": settings.serving_names,
        **tls_environment(settings),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MALLOC_ARENA_MAX": "2",  # memory that one thread frees can be had by another
        "DO_NOT_TRACK": "1",
    }
    found |= project_path(process_environment())  # for the child that answers by a user's objective
    found["RATCHET_KEY_FOLDERS"] = os.pathsep.join(
        str(file.parent) for file in (settings.signing_key_file, settings.approver_key_file) if file is not None
    )
    return found


def log_environment(settings: Settings) -> dict[str, str]:
    """Of the log writer: who may write below `log/`, and its key."""
    return store_environment(settings, settings.log_s3_access_key, settings.log_s3_secret_key) | {
        "RATCHET_LOG_KEY_FILE": str(settings.log_key_file or settings.home / "keys" / "log.pem"),
        "RATCHET_LOG_SPOOL_BYTES": str(settings.log_spool_bytes),
    }
