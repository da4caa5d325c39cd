"""Verify a copy of a bucket without Ratchet, from docs/gates.md alone: python verify.py FOLDER KEYS.json PIPELINE."""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FOLDER, KEYS, NAME = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_bytes())["keys"], sys.argv[3]
before, head = [], ""


def need(holds, why):
    if not holds:
        sys.exit(f"refused: {why}")


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read(key, digest=None):
    data = (FOLDER / key).read_bytes()
    need(digest in (None, hashlib.sha256(data).hexdigest()), f"{key} holds other bytes")
    return data


def verify(purpose, data, signature, number):
    key = next(key for key in KEYS if key["id"] == signature["key_id"] and key["role"] == "pipeline")
    raw, noted = base64.b64decode(key["public_key"]), key["anchors"].get(NAME, {"generation": 0})["generation"]
    need(hashlib.sha256(raw).hexdigest()[:16] == key["id"], f"{key['id']} is another key's id")
    need(key["revoked_s"] is None or number <= noted, f"key {key['id']} was revoked before generation {number}")
    message = b"mlratchet/" + purpose.encode() + b"/1\0" + data
    Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(signature["signature"], validate=True), message)


def decision(digest, work_key, number):
    data = read(f"store/decisions/{digest}.json", digest)
    signature = min((FOLDER / "store/signatures" / digest).glob("*.json"))
    verify("decision", data, json.loads(signature.read_bytes()), number)
    found = json.loads(data)
    need((found["pipeline"], found["work_key"]) == (NAME, work_key), f"decision {digest} is about other work")
    for kind, folder in (("policy", "policies"), ("evidence", "evidence")) if found["kind"] == "gate" else ():
        read(f"store/{folder}/{found['digests'][kind]}.json", found["digests"][kind])
    return found


for number, file in enumerate(sorted((FOLDER / "store/ledger" / NAME).glob("*.json")), 1):
    entry, what = json.loads(file.read_bytes()), f"generation {number}"
    need(canonical(entry) == file.read_bytes() and file.stem == f"{number:08d}", f"{what} was changed or is missing")
    need((entry["name"], entry["generation"], entry["previous"]) == (NAME, number, head), f"{what} does not follow")
    verify("ledger", canonical({k: v for k, v in entry.items() if k != "signature"}), entry, number)
    judged = decision(entry["decision"], entry["work_key"], number)
    moved = ("pass", entry["version"], before[-1]["version"] if before else None)
    need((judged["verdict"], judged["version"], judged["champion_version"]) == moved, f"{what}: about another move")
    gates = {name[5:]: digest for name, digest in judged.get("digests", {}).items() if name.startswith("gate.")}
    back = [one["manifest"] for one in before] if judged["kind"] == "rollback" else None
    need(entry["manifest"] in (back or [judged["digests"]["manifest"]]), f"{what}: other files than were judged")
    need(judged["kind"] != "gate" or set(gates) >= {"data", "candidate", "staging"}, f"{what}: a gate is missing")
    for gate, digest in gates.items():
        earlier = decision(digest, entry["work_key"], number)
        need(earlier["gate"] == gate and (earlier["verdict"] == "pass" or judged["kind"] == "override"), gate)
    key = f"registrations/{entry['work_key']}.json"
    record = json.loads(read(f"store/{key}"))
    if "signed" in record:  # an earlier release signed no records: there the digests speak alone
        stamp = {"key_id": record["signed"]["key_id"], "signature": record["signed"].pop("signature")}
        need(record["signed"]["object"] == key, f"{key} was signed under another name")
        verify("registration", canonical(record), stamp, number)
    manifest = json.loads(read(f"store/manifests/{entry['manifest']}.json", entry["manifest"]))
    need((record["version"], record["manifest"]) == (entry["version"], manifest), f"{key} is another version's")
    place = record["source_uri"].removeprefix("s3://")
    found = {str(file.relative_to(FOLDER / place)) for file in (FOLDER / place).rglob("*") if file.is_file()}
    need(found == set(manifest["files"]), f"{place} holds other files")
    for name, digest in manifest["files"].items():
        read(f"{place}/{name}", digest)
    before, head = [*before, entry], hashlib.sha256(file.read_bytes()).hexdigest()
print(f"{len(before)} generations, champion version {before[-1]['version']}, head {head}")
