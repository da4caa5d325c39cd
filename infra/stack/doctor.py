"""Checks of this machine and stack, each with what to do about it."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

from mlratchet.infra.child.confine import means, not_held
from mlratchet.infra.keys.files import load_trusted, trusted_keys_file
from mlratchet.infra.machine.free_ports import given_ports, is_free, remembered_ports
from mlratchet.infra.settings import Settings, load_settings
from mlratchet.infra.stack.control import status
from mlratchet.infra.stack.install import has_auth
from mlratchet.infra.stack.ledgers import examine_ledgers
from mlratchet.infra.storage.opening import open_bucket
from mlratchet.models.errors import RatchetError
from mlratchet.models.ports.storage import ObjectExists

PINNED = {"torch": "2.13.0", "prefect": "3.8.8", "mlflow": "3.17.2"}
LEAST_DISK_GB = 5.0


def examine(home: Path) -> list[dict[str, Any]]:
    """All findings: what, found, ok, do."""
    findings = [
        finding("python", sys.version.split()[0], sys.version_info >= (3, 11), "use Python 3.11 or newer"),
        *(_version(name, version) for name, version in PINNED.items()),
    ]
    home.mkdir(parents=True, exist_ok=True)
    free_gb = min(shutil.disk_usage(place).free for place in (home, home / "data") if place.is_dir()) / 1e9
    findings.append(finding("disk", f"{free_gb:.1f} GB free", free_gb >= LEAST_DISK_GB, f"free {LEAST_DISK_GB:.0f} GB"))
    findings += _gpu()
    findings += [children(), ranks()]
    states = status(home)
    if states:
        findings += [
            finding(
                s.name,
                ": ".join(filter(None, (s.words.lower(), s.unready))),
                s.works,
                f"`ratchet logs {s.name}`, then `ratchet up`",
            )
            for s in states
        ]
        findings.append(_conditional_writes(home))
        words = "asks for passwords" if has_auth(home) else "NO PASSWORDS: every account of this machine is let in"
        findings.append(finding("access", words, True, ""))
        findings += _ledgers(home)
    else:
        ports = remembered_ports(home)
        taken = [f"{name} {port}" for name, port in ports.items() if not is_free(port)]
        findings.append(
            finding("ports", ", ".join(taken) or "free", not taken, "end what holds them, or remove ports.json")
        )
    return findings


def finding(what: str, found: str, ok: bool, do: str) -> dict[str, Any]:
    """One line of the report."""
    return {"what": what, "found": found, "ok": ok, "do": do}


def _version(name: str, pinned: str) -> dict[str, Any]:
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found = "not installed"
    return finding(name, found, found.split("+")[0] == pinned, f"install {name}=={pinned} (requirements.lock)")


def children() -> dict[str, Any]:
    """Whether users' code is held to what it may do."""
    held = "users' code reads no key, writes its scratch alone, makes no socket, leaves nothing running"
    lacking = "; ".join(not_held())
    return finding(
        "children", f"{means()}: {f'not held here: {lacking} (docs/gates.md)' if lacking else held}", True, ""
    )


def ranks() -> dict[str, Any]:
    """What of that does not hold for processes that train, whatever the machine has means for."""
    ports = given_ports()
    reached = f"TCP ports {ports[0]} to {ports[-1]} on which nobody listened, where more than one trains"
    words = f"reach beside that {reached}; Unix sockets, with CUDA (docs/gates.md)"
    return finding("ranks", words, True, "")


def _gpu() -> list[dict[str, Any]]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [finding("gpu", f"{count} CUDA devices" if count else "none; training runs on the CPU", True, "")]


def _ledgers(home: Path) -> list[dict[str, Any]]:
    """Every ledger verifies, and the registry's alias names its champion."""
    try:
        settings = load_settings(home)
        trusted = load_trusted(trusted_keys_file(settings))
        return [finding(*line) for line in examine_ledgers(settings, trusted)]
    except RatchetError as error:
        return [finding("ledgers", error.line(), False, "`ratchet status`, `ratchet keys`")]


def _conditional_writes(home: Path) -> dict[str, Any]:
    """Two creates of one key: the second must lose, or nothing here is safe."""
    what, remedy = "s3 conditional writes", "use an S3 server that honours If-None-Match on PUT"
    try:
        settings: Settings = load_settings(home)
        store = open_bucket(settings)
        key = f"doctor/{uuid.uuid4().hex}"
        store.create(key, b"first")
        try:
            store.create(key, b"second")
        except ObjectExists:
            return finding(what, "honoured", True, "")
        finally:
            store.delete(key)
    except RatchetError as error:
        return finding(what, error.line(), False, "`ratchet status`")
    return finding(what, "ignored", False, remedy)
