"""What `ratchet up` writes once per installation: credentials, addresses and a signing key, readable by the owner
alone."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from mlratchet.infra.keys.files import ensure_pipeline_key
from mlratchet.infra.machine.atomic import write_private
from mlratchet.infra.machine.free_ports import remembered_ports
from mlratchet.infra.settings import BucketNames, load_settings

USER = "ratchet"  # at Prefect and MLflow, with `up --auth`


def install(home: Path, *, auth: bool | None) -> None:
    """Create the folders, credentials, signing key and `stack.env`. Idempotent; credentials and keys are kept.

    Args:
        home: Of the installation.
        auth: Passwords at Prefect and MLflow; None keeps what the last `ratchet up` said.
    """
    for folder in ("logs", "data/seaweedfs", "prefect", "serving", "run"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    credentials = remembered_credentials(home)
    ports = remembered_ports(home)
    identities = [
        identity("ratchet", credentials, "s3", ["Admin", "Read", "Write", "List", "Tagging"]),
        identity("auditor", credentials, "s3_auditor", ["Read", "List"]),
        identity("server", credentials, "s3_server", readers(BucketNames())),
    ]
    write_private(home / "s3.json", json.dumps({"identities": identities}))
    lines = {
        "RATCHET_S3_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
        "RATCHET_S3_ACCESS_KEY": credentials["s3_access_key"],
        "RATCHET_S3_SECRET_KEY": credentials["s3_secret_key"],
        "RATCHET_SERVING_S3_ACCESS_KEY": credentials["s3_server_access_key"],
        "RATCHET_SERVING_S3_SECRET_KEY": credentials["s3_server_secret_key"],
        "RATCHET_MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports['mlflow']}",
        "RATCHET_PREFECT_API_URL": f"http://127.0.0.1:{ports['prefect']}/api",
    }
    if auth or (auth is None and has_auth(home)):
        write_private(home / "mlflow-auth.ini", mlflow_auth(home, credentials["mlflow_password"]))
        lines |= {
            "RATCHET_PREFECT_AUTH": f"{USER}:{credentials['prefect_password']}",
            "RATCHET_MLFLOW_USERNAME": USER,
            "RATCHET_MLFLOW_PASSWORD": credentials["mlflow_password"],
        }
    write_private(home / "stack.env", "".join(f"{key}={value}\n" for key, value in lines.items()))
    ensure_pipeline_key(load_settings(home))


def readers(names: BucketNames) -> list[str]:
    """What a model server may do: read what it serves, not what it was trained on."""
    return [f"{action}:{bucket}" for bucket in (names.store_bucket, names.mlflow_bucket) for action in ("Read", "List")]


def identity(name: str, credentials: dict[str, str], prefix: str, actions: list[str]) -> dict[str, Any]:
    """Who may do what, as SeaweedFS reads it."""
    pair = {"accessKey": credentials[f"{prefix}_access_key"], "secretKey": credentials[f"{prefix}_secret_key"]}
    return {"name": name, "credentials": [pair], "actions": actions}


def has_auth(home: Path) -> bool:
    """Whether this installation asks for passwords."""
    file = home / "stack.env"
    return file.is_file() and "RATCHET_PREFECT_AUTH=" in file.read_text()


def remembered_credentials(home: Path) -> dict[str, str]:
    """Made once, readable by the owner alone."""
    file = home / "credentials.json"
    held: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
    made = {
        "s3_access_key": secrets.token_hex(10),
        "s3_secret_key": secrets.token_hex(20),
        "s3_auditor_access_key": secrets.token_hex(10),
        "s3_auditor_secret_key": secrets.token_hex(20),
        "s3_server_access_key": secrets.token_hex(10),
        "s3_server_secret_key": secrets.token_hex(20),
        "prefect_password": secrets.token_urlsafe(18),
        "mlflow_password": secrets.token_urlsafe(18),
        "mlflow_server_key": secrets.token_hex(20),
    }
    if set(made) - set(held):
        held = made | held
        write_private(file, json.dumps(held))
    return held


def mlflow_auth(home: Path, password: str) -> str:
    """The configuration of MLflow's basic-auth app."""
    return (
        "[mlflow]\n"
        "default_permission = EDIT\n"
        f"database_uri = sqlite:///{home / 'data' / 'mlflow-auth.db'}\n"
        f"admin_username = {USER}\n"
        f"admin_password = {password}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
