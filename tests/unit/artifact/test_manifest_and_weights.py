"""An artifact is what its manifest says, to the byte; weights are read without executing anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from mlratchet.infra.artifact.fetch import fetch_artifact, fetch_files
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.artifact.manifest import ArtifactManifest, describe_directory, verify_directory
from mlratchet.models.artifact.weights import import_weights, initial_weights_key, read_state_dict
from mlratchet.models.errors import DataError, SecurityError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.ports.storage import ObjectInfo
from mlratchet.models.registration.record import Registration
from safetensors.torch import load
from torch import nn


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / "data" / "model.pt2").write_bytes(bytes(range(200)))
    return folder


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def test_an_untouched_artifact_verifies(artifact: Path) -> None:
    manifest = describe_directory(artifact)
    verify_directory(artifact, manifest)
    assert manifest.total_bytes == 211
    assert describe_directory(artifact).digest() == manifest.digest()


def test_every_kind_of_tampering_is_named(artifact: Path) -> None:
    manifest = describe_directory(artifact)
    flip(artifact / "data" / "model.pt2")
    with pytest.raises(SecurityError, match=r"data/model.pt2: got SHA-256 .*bytes were changed"):
        verify_directory(artifact, manifest)
    flip(artifact / "data" / "model.pt2")
    (artifact / "extra.py").write_text("import os")
    with pytest.raises(SecurityError, match=r"holds extra.py"):
        verify_directory(artifact, manifest)
    (artifact / "extra.py").unlink()
    (artifact / "MLmodel").unlink()
    with pytest.raises(SecurityError, match="MLmodel is missing"):
        verify_directory(artifact, manifest)


def test_links_and_devices_are_refused(artifact: Path) -> None:
    (artifact / "link").symlink_to("/etc/passwd")
    with pytest.raises(SecurityError, match="link or special file"):
        describe_directory(artifact)
    (artifact / "link").unlink()
    os.mkfifo(artifact / "pipe")
    with pytest.raises(SecurityError, match="link or special file"):
        describe_directory(artifact)


def registered(store: MemoryStore, artifact: Path) -> Registration:
    manifest = describe_directory(artifact)
    for name in manifest.files:
        store.put(f"m/{name}", (artifact / name).read_bytes())
    return Registration(
        name="digits", version=1, work_key="w", run_id="r", model_id=None, source_uri=f"s3://{store.bucket}/m",
        manifest=manifest.model_dump(mode="json"), manifest_digest=manifest.digest(), weights_key="k",
        weights_sha256="s", snapshot_id="s", dataset_id="d", rows_key="r", revision="v", parent_version=None,
        registered_s=0.0,
    )  # fmt: skip


def test_a_registered_artifact_is_fetched_whole(store: MemoryStore, artifact: Path, tmp_path: Path) -> None:
    record = registered(store, artifact)
    fetch_artifact(lambda _: store, record, tmp_path / "into")
    assert describe_directory(tmp_path / "into") == describe_directory(artifact)


def test_a_tampered_bucket_is_refused(store: MemoryStore, artifact: Path, tmp_path: Path) -> None:
    record = registered(store, artifact)
    store.put("m/data/model.pt2", b"something else")
    with pytest.raises(SecurityError):
        fetch_artifact(lambda _: store, record, tmp_path / "a")
    store.put("m/data/model.pt2", (artifact / "data" / "model.pt2").read_bytes())
    store.put("m/code/evil.py", b"import os")
    with pytest.raises(SecurityError, match=r"code/evil.py is not in the manifest"):
        fetch_artifact(lambda _: store, record, tmp_path / "b")


@pytest.mark.parametrize("name", ["{outside}", "../outside", "data/../../outside"])
def test_a_file_name_that_leaves_the_artifact_is_refused_before_a_byte_is_written(
    store: MemoryStore, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    name = name.format(outside=outside)
    manifest = ArtifactManifest(files={name: digest_bytes(b"x")}, sizes_bytes={name: 1})
    listed = [ObjectInfo(key=f"m/{name}", size_bytes=1, etag="", modified_s=0.0)]
    store.list = lambda prefix="": iter(listed)  # type: ignore[method-assign, assignment]
    store._objects[f"m/{name}"] = (b"x", 0.0)
    with pytest.raises(SecurityError, match="is none that an artifact has"):
        fetch_files(lambda _: store, manifest, "s3://memory/m", tmp_path / "into")
    assert not outside.exists()


@pytest.mark.parametrize(
    "name",
    [
        "code/evil.py", "python_model.pkl", "data/pickle_module_info.txt", "extra_files/weights.safetensors",
        "data/model.pt2/more", "Data/model.pt2", "MLmodel ", "MLmodel\u200b", "./MLmodel", "data//model.pt2",
        "sitecustomize.py", "signature.json@",
    ],
)  # fmt: skip
def test_a_file_that_no_artifact_has_is_refused_before_a_byte_is_fetched(
    store: MemoryStore, artifact: Path, tmp_path: Path, name: str
) -> None:
    """Also one that a manifest names and a key of ours signed."""
    registered(store, artifact)
    manifest = describe_directory(artifact)
    named = ArtifactManifest(
        files={**manifest.files, name: digest_bytes(b"x")}, sizes_bytes={**manifest.sizes_bytes, name: 1}
    )
    store.download_file = None  # type: ignore[method-assign, assignment]  # nothing is fetched
    with pytest.raises(SecurityError, match="is none that an artifact has") as told:
        fetch_files(lambda _: store, named, "s3://memory/m", tmp_path / "into")
    assert told.value.exit_code == 6
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize("size", [None, -1, 1 << 40])
def test_a_text_of_no_size_or_a_giants_is_refused(
    store: MemoryStore, artifact: Path, tmp_path: Path, size: int | None
) -> None:
    registered(store, artifact)
    manifest = describe_directory(artifact)
    sizes = {name: held for name, held in manifest.sizes_bytes.items() if name != "MLmodel"}
    changed = ArtifactManifest(files=manifest.files, sizes_bytes=sizes if size is None else {**sizes, "MLmodel": size})
    with pytest.raises(SecurityError, match="MLmodel has"):
        fetch_files(lambda _: store, changed, "s3://memory/m", tmp_path / "into")


def test_a_manifest_that_is_not_the_registered_one_is_refused(
    store: MemoryStore, artifact: Path, tmp_path: Path
) -> None:
    record = registered(store, artifact)
    forged = record.model_copy(update={"manifest_digest": "0" * 64})
    with pytest.raises(SecurityError, match="registration record was changed"):
        fetch_artifact(lambda _: store, forged, tmp_path / "into")


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 2))


@pytest.mark.parametrize("wrapped", [None, "state_dict", "model_state_dict"])
def test_a_saved_state_dict_is_imported_by_its_digest(store: MemoryStore, tmp_path: Path, wrapped: str | None) -> None:
    module = network()
    held = module.state_dict() if wrapped is None else {wrapped: module.state_dict(), "epoch": 3}
    torch.save(held, tmp_path / "w.pth")
    digest, tensors = import_weights(store, tmp_path / "w.pth")
    read = load(store.get(initial_weights_key(digest), sha256=digest))
    assert set(read) == set(tensors) == set(module.state_dict())
    assert all(torch.equal(read[name], value) for name, value in module.state_dict().items())


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.target,))


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    target = tmp_path / "executed"
    torch.save({"weight": torch.zeros(2), "bomb": Bomb(target)}, tmp_path / "bad.pth")
    with pytest.raises(SecurityError, match="a pickled model"):
        read_state_dict(tmp_path / "bad.pth")
    torch.save(network(), tmp_path / "module.pth")
    with pytest.raises(SecurityError, match="a pickled model"):
        read_state_dict(tmp_path / "module.pth")
    assert not target.exists()


def test_other_files_are_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04cut")
    (tmp_path / "cut.safetensors").write_bytes(b"cut")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"w": torch.tensor([float("nan")])}, tmp_path / "nan.pth")
    for name in ("rows.csv", "cut.pth", "cut.safetensors", "list.pth", "nan.pth", "absent.pth"):
        with pytest.raises(DataError) as caught:
            read_state_dict(tmp_path / name)
        assert "\n" not in str(caught.value)
