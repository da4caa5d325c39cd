"""Verify the chains beside a ledger without Ratchet, by docs/gates.md alone: python chains.py FOLDER KEYS.json NAME.

FOLDER holds a copy of each bucket; KEYS.json is what `ratchet keys export` writes.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FOLDER, LIST, NAME = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_bytes())["keys"], sys.argv[3]
KEYS = {hashlib.sha256(base64.b64decode(one["public_key"])).hexdigest()[:16]: one for one in LIST}  # by its id
CHAINS = {"deployments": "deployment", "holds": "hold", "canary": "canary", "erasures": "erasure"}  # folder -> purpose
key = "the list of keys"  # what is looked at, of which it is said what is wrong
sys.excepthook = lambda kind, why, _: print(f"refused: {key}: {kind.__name__} {why}".rstrip(), file=sys.stderr)


def need(holds, why):
    if not holds:
        sys.exit(f"refused: {why}")


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def verify(purpose, data, stamp, signature):
    by, name = KEYS.get(stamp["key_id"]), stamp["key_id"]
    need(by and by["role"] == "pipeline", f"{key} is signed by {name}, which is no pipeline's key of the list")
    need(by["revoked_s"] is None, f"{key} is by key {name}, which was revoked")
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(by["public_key"]))
    message = b"mlratchet/" + purpose.encode() + b"/1\0" + data
    public.verify(base64.b64decode(signature, validate=True), message)


found = {}
for place, purpose in CHAINS.items():
    previous = ""
    for number, file in enumerate(sorted((FOLDER / "store" / place / NAME).glob("*")), 1):
        key = f"{place}/{NAME}/{number:08d}.json"
        need(file.name == f"{number:08d}.json", f"{key} is missing; there is {file.name}")
        record = json.loads(file.read_bytes())
        need(canonical(record) == file.read_bytes(), f"{key} is not in canonical form")
        signature = record["signed"].pop("signature")
        need(record["signed"]["object"] == key, f"{key} was signed under another name")
        verify(purpose, canonical(record), record["signed"], signature)
        said = {name: value for name, value in record.items() if name != "signed"}
        need((said["name"], said["number"], said["previous"]) == (NAME, number, previous), f"{key} does not follow")
        previous = hashlib.sha256(canonical(said)).hexdigest()
        found[place] = number
need(found, f"no chain of {NAME} below {FOLDER}/store")
print(", ".join(f"{found.get(place, 0)} {place}" for place in CHAINS))
