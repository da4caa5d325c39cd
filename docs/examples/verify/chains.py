"""Verify the chains beside a ledger without Ratchet, by docs/gates.md alone: python chains.py FOLDER KEYS.json NAME.

FOLDER holds a copy of each bucket; KEYS.json is what `ratchet keys export` writes.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FOLDER, KEYS, NAME = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_bytes())["keys"], sys.argv[3]
CHAINS = {"deployments": "deployment", "holds": "hold", "canary": "canary", "erasures": "erasure"}  # folder -> purpose


def need(holds, why):
    if not holds:
        sys.exit(f"refused: {why}")


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def verify(purpose, data, stamp, signature):
    key = next(key for key in KEYS if key["id"] == stamp["key_id"] and key["role"] == "pipeline")
    raw = base64.b64decode(key["public_key"])
    need(hashlib.sha256(raw).hexdigest()[:16] == key["id"], f"{key['id']} is another key's id")
    need(key["revoked_s"] is None, f"{stamp['object']} is by key {key['id']}, which was revoked")
    message = b"mlratchet/" + purpose.encode() + b"/1\0" + data
    Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(signature, validate=True), message)


found = {}
for place, purpose in CHAINS.items():
    previous = ""
    for number, file in enumerate(sorted((FOLDER / "store" / place / NAME).glob("*")), 1):
        key, record = f"{place}/{NAME}/{number:08d}.json", json.loads(file.read_bytes())
        need(file.name == f"{number:08d}.json", f"expected {key}, found {file.name}")
        need(canonical(record) == file.read_bytes(), f"{key} is not in canonical form")
        signature = record["signed"].pop("signature")
        need(record["signed"]["object"] == key, f"{key} was signed under another name")
        verify(purpose, canonical(record), record["signed"], signature)
        said = {name: value for name, value in record.items() if name != "signed"}
        need((said["name"], said["number"], said["previous"]) == (NAME, number, previous), f"{key} does not follow")
        previous = hashlib.sha256(canonical(said)).hexdigest()
        found[place] = number
print(", ".join(f"{found.get(place, 0)} {place}" for place in CHAINS))
