"""What `ratchet up` writes: credentials, addresses and a signing key, readable by the owner alone.

Keys are made once per installation and never sent. The passwords of Prefect and MLflow are sent with every request, and
made anew for each start of the stack: whoever took a port of it while it was down, and was told one, has nothing.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from mlratchet.infra.keys.files import ensure_log_key, ensure_pipeline_key
from mlratchet.infra.machine.atomic import write_private
from mlratchet.infra.machine.free_ports import remembered_ports
from mlratchet.infra.settings import BucketNames, load_settings
from mlratchet.infra.stack.store_security import secure_store
from mlratchet.models.errors import ConfigurationError

USER = "ratchet"  # at Prefect and MLflow
PASSWORD_BYTES = 24
WHOLE = ["Admin", "Read", "Write", "List", "Tagging"]  # what SeaweedFS calls everything
NO_AUTH = "RATCHET_NO_AUTH"


def install(home: Path, *, auth: bool | None) -> None:
    """Create the folders, credentials, signing key and `stack.env`, for a stack that starts. Keys are kept.

    Args:
        home: Of the installation.
        auth: Passwords at Prefect and MLflow; None keeps what the last `ratchet up` said, which is yes at first.
    """
    for folder in ("logs", "data/seaweedfs", "prefect", "serving", "run"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    credentials = remembered_credentials(home)
    ports = remembered_ports(home)
    lines = {
        "RATCHET_S3_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
        "RATCHET_S3_ACCESS_KEY": credentials["s3_access_key"],
        "RATCHET_S3_SECRET_KEY": credentials["s3_secret_key"],
        "RATCHET_SERVING_S3_ACCESS_KEY": credentials["s3_server_access_key"],
        "RATCHET_SERVING_S3_SECRET_KEY": credentials["s3_server_secret_key"],
        "RATCHET_LOG_S3_ACCESS_KEY": credentials["s3_log_access_key"],
        "RATCHET_LOG_S3_SECRET_KEY": credentials["s3_log_secret_key"],
        "RATCHET_MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports['mlflow']}",
        "RATCHET_PREFECT_API_URL": f"http://127.0.0.1:{ports['prefect']}/api",
    }
    if auth or (auth is None and has_auth(home)):
        lines |= {
            "RATCHET_PREFECT_AUTH": f"{USER}:{secrets.token_urlsafe(PASSWORD_BYTES)}",
            "RATCHET_MLFLOW_USERNAME": USER,
            "RATCHET_MLFLOW_PASSWORD": secrets.token_urlsafe(PASSWORD_BYTES),
        }
    else:
        lines[NO_AUTH] = "true"
    write_private(home / "stack.env", "".join(f"{key}={value}\n" for key, value in lines.items()))
    settings = load_settings(home)
    identities = [
        identity("ratchet", credentials, "s3", WHOLE),
        identity("auditor", credentials, "s3_auditor", ["Read", "List"]),
        identity("server", credentials, "s3_server", readers(BucketNames())),
        identity("log", credentials, "s3_log", log_writer(settings.store_bucket)),
        identity("mlflow", credentials, "s3_mlflow", [f"{action}:{settings.mlflow_bucket}" for action in WHOLE[1:]]),
    ]
    write_private(home / "s3.json", json.dumps({"identities": [*identities, *others(home, identities)]}))
    secure_store(home)
    ensure_pipeline_key(settings)
    ensure_log_key(settings)


def others(home: Path, ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The identities of `s3.json` that an operator added. Raises ``ConfigurationError`` when it cannot be read."""
    file = home / "s3.json"
    if not file.is_file():
        return []
    names = {one["name"] for one in ours}
    try:
        held = json.loads(file.read_text()).get("identities", [])
        return [one for one in held if one["name"] not in names]
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ConfigurationError(
            f'{file}: identities cannot be read ({exc!r}), expected {{"identities": [{{"name": ...}}]}}; mend it, or '
            "remove it to go on with Ratchet's own identities alone"
        ) from exc


def readers(names: BucketNames) -> list[str]:
    """What a model server may do: read what it serves, not what it was trained on."""
    return [f"{action}:{bucket}" for bucket in (names.store_bucket, names.mlflow_bucket) for action in ("Read", "List")]


def log_writer(store_bucket: str) -> list[str]:
    """What the log writer may do: read and write below `log/` of the store. Ratchet's records are signed, so that what
    it reads there is believed only by their signatures."""
    return [f"{action}:{store_bucket}/log/*" for action in ("Read", "Write")] + [f"List:{store_bucket}/log/*"]


def identity(name: str, credentials: dict[str, str], prefix: str, actions: list[str]) -> dict[str, Any]:
    """Who may do what, as SeaweedFS reads it."""
    pair = {"accessKey": credentials[f"{prefix}_access_key"], "secretKey": credentials[f"{prefix}_secret_key"]}
    return {"name": name, "credentials": [pair], "actions": actions}


def has_auth(home: Path) -> bool:
    """Whether this installation asks for passwords."""
    file = home / "stack.env"
    return not (file.is_file() and f"{NO_AUTH}=true" in file.read_text().splitlines())


def told_credentials(file: Path) -> dict[str, str]:
    """Raises ``ConfigurationError`` for a file that is none of ours."""
    try:
        held: dict[str, str] = json.loads(file.read_text())
        if not (isinstance(held, dict) and all(isinstance(one, str) and one for one in held.values())):
            raise ValueError("no key for each name")
    except ValueError as error:
        raise ConfigurationError(
            f"{file}: is not what `ratchet up` wrote ({error}), expected the keys of the S3 server; restore it, or "
            "remove it to have new ones made"
        ) from error
    return held


def remembered_credentials(home: Path) -> dict[str, str]:
    """Made once, readable by the owner alone."""
    file = home / "credentials.json"
    held = told_credentials(file) if file.is_file() else {}
    made = {
        "s3_access_key": secrets.token_hex(10),
        "s3_secret_key": secrets.token_hex(20),
        "s3_auditor_access_key": secrets.token_hex(10),
        "s3_auditor_secret_key": secrets.token_hex(20),
        "s3_server_access_key": secrets.token_hex(10),
        "s3_server_secret_key": secrets.token_hex(20),
        "s3_log_access_key": secrets.token_hex(10),
        "s3_log_secret_key": secrets.token_hex(20),
        "s3_mlflow_access_key": secrets.token_hex(10),
        "s3_mlflow_secret_key": secrets.token_hex(20),
    }
    if set(made) - set(held):
        held = made | held
        write_private(file, json.dumps(held))
    return held
