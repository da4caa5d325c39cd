"""What a model server is given: an identity that may read, and nothing that signs, writes or logs in."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.infra.keys.public import PublicKeyFile
from mlratchet.infra.project_path import PROJECT_PATH
from mlratchet.infra.serving.connections import configured
from mlratchet.infra.serving.local import LocalServers, model_servers
from mlratchet.infra.serving.memory import give_back, settle_imports
from mlratchet.infra.serving.requests import ServingRequests
from mlratchet.infra.serving.server import Listener, until_one_ends
from mlratchet.infra.settings import ServerSettings, Settings, load_server_settings
from mlratchet.infra.stack.install import readers
from mlratchet.infra.storage.bounded import DocumentStore
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.ports.storage import ObjectInfo
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.slot import Slot
from mlratchet.models.tensors.named import Inputs

from tests.unit.audit.conftest import World
from tests.unit.serving.conftest import app_of

SECRETS = {
    "s3_secret_key": "owner-secret", "mlflow_password": "mlflow-word", "prefect_auth": "ratchet:prefect-word",
    "signing_key": "signing-words", "approver_key": "approver-words",
}  # fmt: skip


def settings_of(home: Path, **more: Any) -> Settings:
    return Settings(
        home=home, s3_endpoint_url="http://127.0.0.1:1", s3_access_key="owner", mlflow_tracking_uri="http://m",
        prefect_api_url="http://p", mlflow_username="ratchet", **SECRETS, **more,
    )  # fmt: skip


def test_its_environment_holds_no_writing_key_and_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"RATCHET_{name.upper()}", value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "owner-secret")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "ratchet:prefect-word")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "mlflow-word")
    monkeypatch.setenv("SOMEBODY_ELSES_TOKEN", "token-words")
    LocalServers(tmp_path).request("quote", ServingConfig(ranges={"a": (0.0, 1.0)}))
    settings = settings_of(
        tmp_path,
        serving_s3_access_key="reader",
        serving_s3_secret_key="reader-secret",
        signing_key_file="/run/secrets/pipeline.pem",
    )
    monkeypatch.setenv("PYTHONPATH", "/a/users/folder")
    (service,) = model_servers(settings, tmp_path)
    told = " ".join([*service.environment.values(), *service.command])
    for secret in (*SECRETS.values(), "token-words"):
        assert secret not in told
    assert service.environment["RATCHET_S3_SECRET_KEY"] == "reader-secret"
    assert service.command[1] == "-P"
    assert (service.environment.get("PYTHONPATH"), service.environment[PROJECT_PATH]) == (None, "/a/users/folder")
    assert service.environment["RATCHET_KEY_FOLDERS"] == "/run/secrets"
    assert service.command[4:6] == ("--service", "serve")
    request = ServingRequests(tmp_path).read("quote")
    assert request is not None
    assert request.config.ranges == {"a": (0.0, 1.0)}


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '{"serving": 1, "pipeline": "odd"}', "{"])
def test_a_request_that_cannot_be_read_takes_no_other_with_it(tmp_path: Path, text: str) -> None:
    LocalServers(tmp_path).request("quote", ServingConfig())
    (tmp_path / "serving" / "odd.json").write_text(text)
    assert [one.pipeline for one in ServingRequests(tmp_path)] == ["quote"]


def test_it_starts_from_what_it_is_told_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalServers(tmp_path).request("quote", ServingConfig())
    settings = settings_of(tmp_path, serving_s3_access_key="reader", serving_s3_secret_key="reader-secret")
    (service,) = model_servers(settings, tmp_path)
    words = (
        "import json; from mlratchet.infra.settings import load_server_settings; s = load_server_settings();"
        "print(json.dumps([str(s.home), s.s3_access_key.get_secret_value(), s.store_bucket, str(s.trusted_keys)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], env=service.environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [str(tmp_path), "reader", "ratchet-store", str(tmp_path / "trusted-keys.json")]


def test_the_stacks_identity_of_servers_reads_what_is_served_and_no_raw_data() -> None:
    allowed = readers(settings_of(Path("/nowhere")))
    assert allowed == ["Read:ratchet-store", "List:ratchet-store", "Read:ratchet-mlflow", "List:ratchet-mlflow"]


def test_it_holds_no_key_to_sign_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no private key"):
        PublicKeyFile(tmp_path / "trusted-keys.json").signer()


def test_a_giant_object_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store = DocumentStore("b", endpoint_url="http://127.0.0.1:1", region="r", access_key="a", secret_key="s")
    giant = ObjectInfo(key="ledger/x", size_bytes=10**12, etag="e", modified_s=0.0)
    monkeypatch.setattr(store, "head", lambda _: giant)
    monkeypatch.setattr(store._client, "get_object", lambda **_: pytest.fail("it was read"))
    with pytest.raises(SecurityError, match="1000000000000 bytes, expected a document"):
        store.get("ledger/x")


def test_a_file_that_grew_is_refused_before_it_is_downloaded(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.uploads.put("1/models/m-3/artifacts/data/model.pt2", b"x" * 10_000)
    monkeypatch.setattr(world.uploads, "download_file", lambda *_, **__: pytest.fail("it was downloaded"))
    with pytest.raises(SecurityError, match=r"data/model.pt2 has 10000 bytes, expected 27"):
        fetch_artifact(world.bucket, world.records[3], tmp_path)


def write_program(folder: Path) -> Path:
    """A model directory of an exported program with weights of 4 MB."""
    from mlratchet.infra.artifact.package import complete, export
    from mlratchet.models.artifact.signature import signature_of
    from mlratchet.models.workloads.tabular import TableClassifier
    from safetensors.torch import save_file

    workload = TableClassifier(columns=["a", "b"], classes=["no", "yes"], hidden=1000)
    module = workload.build_model().eval()
    save_file(module.state_dict(), folder / "w.safetensors")
    example = np.zeros((2, 2), dtype=np.float32)
    export(module, Inputs({"x": example}), folder / "model")
    complete(
        folder / "model",
        signature_of(workload),
        Inputs({"x": example}),
        card="card",
        weights_file=folder / "w.safetensors",
    )
    return folder / "model"


@pytest.fixture
def settled() -> Iterator[None]:
    """As in a server; given back to the collector afterwards."""
    settle_imports()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("settled")
def test_a_program_that_was_swapped_out_leaves_nothing(tmp_path: Path) -> None:
    assert gc.get_freeze_count() > 10_000
    directory = write_program(tmp_path)
    held: list[int] = []
    gone: list[weakref.ref[Any]] = []
    for _ in range(5):
        program = load_exported(directory)
        with torch.inference_mode():
            program(torch.zeros(3, 2))
        gone.append(weakref.ref(program))
        del program
        give_back()
        held.append(len(gc.get_objects()))
    assert [one() for one in gone] == [None] * 5
    assert held[-1] - held[2] < 200  # objects; a program that stays is some thousand


@pytest.mark.full
@pytest.mark.slow
def test_memory_is_flat_over_200_swaps(tmp_path: Path) -> None:
    directory = write_program(tmp_path)
    words = (
        "import sys, torch; from pathlib import Path\n"
        "from mlratchet.infra.machine.interpreter import collect_seldom; collect_seldom()\n"
        "from mlratchet.infra.serving.memory import give_back, settle_imports; settle_imports()\n"
        "from mlratchet.infra.artifact.exported import load_exported\n"
        "from mlratchet.infra.artifact.measure import resident_mb\n"
        "for number in range(201):\n"
        "    program = load_exported(Path(sys.argv[1])); program(torch.zeros(3, 2)); del program; give_back()\n"
        "    if number in (10, 200): print(resident_mb('VmRSS'))\n"
    )
    done = subprocess.run([sys.executable, "-c", words, str(directory)], capture_output=True, text=True, check=True)
    early, late = map(float, done.stdout.split())
    assert late - early < 10.0, done.stdout  # MB; it was 6 MB a swap


def test_settings_of_a_server_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_HOME", str(tmp_path))
    monkeypatch.setenv("RATCHET_SERVING_NAMES", "a.example.org,b.example.org")
    found = load_server_settings()
    assert isinstance(found, ServerSettings)
    assert found.serving_names.split(",") == ["a.example.org", "b.example.org"]


@pytest.mark.slow
def test_mlflow_is_no_part_of_a_server(tmp_path: Path) -> None:
    directory = write_program(tmp_path)
    words = (
        "import sys; from pathlib import Path; import mlratchet.infra.serving.server\n"
        "from mlratchet.infra.serving.memory import settle_imports; settle_imports()\n"
        "from mlratchet.infra.artifact.exported import load_exported; load_exported(Path(sys.argv[1]))\n"
        "print([name for name in ('mlflow', 'prefect', 'pandas', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", words, str(directory)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_signal_ends_the_listening_and_not_what_comes_after_it() -> None:
    """What waits for the log is sent then."""
    killed: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: killed.append(number))
    servers = [Listener(configured(app_of(Slot()), host="127.0.0.1", port=0, header_s=lambda: 1.0)) for _ in range(2)]

    async def run() -> str:
        ending = asyncio.create_task(until_one_ends(servers))
        while not all(one.started for one in servers):
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(ending, 120)
        return "went on"

    try:
        assert asyncio.run(run()) == "went on"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert killed == []
