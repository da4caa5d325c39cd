"""Verify a copy of a bucket without Ratchet, from docs/gates.md alone: python verify.py FOLDER KEYS.json PIPELINE."""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FOLDER, LIST, NAME = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_bytes())["keys"], sys.argv[3]
KEYS = {hashlib.sha256(base64.b64decode(one["public_key"])).hexdigest()[:16]: one for one in LIST}  # by its id
canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
before, head, at = [], "", ["the list of keys"]  # at: what was looked at last, of which it is said what is wrong
sys.excepthook = lambda kind, why, _: print(f"refused: {at[-1]}: {kind.__name__} {why}".rstrip(), file=sys.stderr)


def need(holds, why):
    if not holds:
        sys.exit(f"refused: {why}")


def read(key, digest=None):
    at.append(key)
    data = (FOLDER / key).read_bytes() if (FOLDER / key).is_file() else need(False, f"{key} is missing")
    need(digest in (None, hashlib.sha256(data).hexdigest()), f"{key} holds other bytes")
    return data


def verify(purpose, data, signature, number):
    key, name = KEYS.get(signature["key_id"]), signature["key_id"]
    need(key and key["role"] == "pipeline", f"{at[-1]} is signed by {name}, which is no pipeline's key of the list")
    raw, noted = base64.b64decode(key["public_key"]), key["anchors"].get(NAME, {"generation": 0})["generation"]
    need(key["revoked_s"] is None or number <= noted, f"{at[-1]}: key {name} was revoked before generation {number}")
    message = b"mlratchet/" + purpose.encode() + b"/1\0" + data
    Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(signature["signature"], validate=True), message)


def decision(digest, work_key, number):
    found = json.loads(data := read(key := f"store/decisions/{digest}.json", digest))
    names = [file.name for file in (FOLDER / "store/signatures" / digest).glob("*.json")]
    verify("decision", data, json.loads(read(f"store/signatures/{digest}/{min(names, default='*.json')}")), number)
    need((found["pipeline"], found["work_key"]) == (NAME, work_key), f"{key} is about other work")
    for kind, folder in (("policy", "policies"), ("evidence", "evidence")) if found["kind"] == "gate" else ():
        read(f"store/{folder}/{found['digests'][kind]}.json", found["digests"][kind])
    return found


for number, file in enumerate(sorted((FOLDER / "store/ledger" / NAME).glob("*.json")), 1):
    entry, place = json.loads(data := read(what := f"store/ledger/{NAME}/{file.name}")), (NAME, number, head)
    need(file.stem == f"{number:08d}", f"store/ledger/{NAME}/{number:08d}.json is missing")
    need(canonical(entry).encode() == data, f"{what} is not in canonical form")
    need((entry["name"], entry["generation"], entry["previous"]) == place, f"{what} does not follow the one before")
    verify("ledger", canonical({k: v for k, v in entry.items() if k != "signature"}).encode(), entry, number)
    judged = decision(entry["decision"], entry["work_key"], number)
    moved = ("pass", entry["version"], before[-1]["version"] if before else None)
    need((judged["verdict"], judged["version"], judged["champion_version"]) == moved, f"{what}: about another move")
    gates = {name[5:]: digest for name, digest in judged.get("digests", {}).items() if name.startswith("gate.")}
    back = [one["manifest"] for one in before] if judged["kind"] == "rollback" else None
    need(entry["manifest"] in (back or [judged["digests"]["manifest"]]), f"{what}: other files than were judged")
    need(judged["kind"] != "gate" or set(gates) >= {"data", "candidate", "staging"}, f"{what}: a gate is missing")
    for gate, digest in gates.items():
        one = decision(digest, entry["work_key"], number)
        need(one["gate"] == gate and (one["verdict"] == "pass" or judged["kind"] == "override"), f"{what}: {gate}")
    record = json.loads(read(key := f"store/registrations/{entry['work_key']}.json"))
    if "signed" in record:  # an earlier release signed no records: there the digests speak alone
        stamp = {"key_id": record["signed"]["key_id"], "signature": record["signed"].pop("signature")}
        need("store/" + record["signed"]["object"] == key, f"{key} was signed under another name")
        verify("registration", canonical(record).encode(), stamp, number)
    manifest = json.loads(read(f"store/manifests/{entry['manifest']}.json", entry["manifest"]))
    need((record["version"], record["manifest"]) == (entry["version"], manifest), f"{key} is another version's")
    place = record["source_uri"].removeprefix("s3://")
    found = {str(file.relative_to(FOLDER / place)) for file in (FOLDER / place).rglob("*") if file.is_file()}
    need(found == set(manifest["files"]), f"{place} lacks or adds {sorted(found ^ set(manifest['files']))}")
    for name, digest in manifest["files"].items():
        read(f"{place}/{name}", digest)
    before, head = [*before, entry], hashlib.sha256(data).hexdigest()
need(before, f"no entry below {FOLDER}/store/ledger/{NAME}")
print(f"{len(before)} generations, champion version {before[-1]['version']}, head {head}")
