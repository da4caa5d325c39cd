"""What `ratchet up` writes once per installation: credentials and addresses, readable by the owner alone."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from mlratchet.infra.stack.ports import remembered_ports


def write_private(path: Path, text: str) -> None:
    """A file of mode 0600, from its first byte."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as sink:
        sink.write(text)
    part.replace(path)


def install(home: Path, *, auth: bool) -> None:
    """Create the folders, credentials and `stack.env`. Idempotent; credentials are kept."""
    for folder in ("logs", "data/seaweedfs", "prefect", "serving", "run"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    file = home / "credentials.json"
    if not file.is_file():
        words = {"s3_access_key": secrets.token_hex(10), "s3_secret_key": secrets.token_hex(20)}
        words |= {"prefect_password": secrets.token_urlsafe(18)}
        write_private(file, json.dumps(words))
    credentials = json.loads(file.read_text())
    ports = remembered_ports(home)
    identity = {
        "name": "ratchet",
        "credentials": [{"accessKey": credentials["s3_access_key"], "secretKey": credentials["s3_secret_key"]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    write_private(home / "s3.json", json.dumps({"identities": [identity]}))
    lines = {
        "RATCHET_S3_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
        "RATCHET_S3_ACCESS_KEY": credentials["s3_access_key"],
        "RATCHET_S3_SECRET_KEY": credentials["s3_secret_key"],
        "RATCHET_MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports['mlflow']}",
        "RATCHET_PREFECT_API_URL": f"http://127.0.0.1:{ports['prefect']}/api",
    }
    if auth:
        lines["RATCHET_PREFECT_AUTH"] = f"ratchet:{credentials['prefect_password']}"
    write_private(home / "stack.env", "".join(f"{key}={value}\n" for key, value in lines.items()))
