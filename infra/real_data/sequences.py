"""Real text and sequences of letters."""

from __future__ import annotations

from collections.abc import Mapping

from mlratchet.infra.real_data.tables import csv_of

NOUN_CLASSES = (
    "Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling", "food",
    "group", "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process", "quantity",
    "relation", "shape", "state", "substance", "time",
)  # fmt: skip
"""WordNet's lexicographer files 3 to 28 (lexnames(5WN))."""
FIRST_NOUN_CLASS = 3


def glosses(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Every noun of WordNet: where it stands there, what it means, and its class."""
    (data,) = files.values()
    rows = []
    for line in data.decode().splitlines():
        if line.startswith(" "):
            continue  # the licence
        head, _, gloss = line.partition(" | ")
        offset, kind, *_ = head.split(" ")
        rows.append((f"n{offset}", gloss.strip(), NOUN_CLASSES[int(kind) - FIRST_NOUN_CLASS]))
    return {"glosses.csv": csv_of(("id", "gloss", "class"), rows)}


def peptides(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """As FASTA, with the class in the description."""
    (data,) = files.values()
    header, *rows = data.decode().splitlines()
    names = header.split(",")[2:]  # of the targets 0 and 1
    lines = []
    for number, row in enumerate(rows, start=1):
        sequence, _, target = row.partition(",")
        lines += [f">p{number:04d} class={names[int(target)]}", sequence.strip()]
    return {"peptides.fasta": ("\n".join(lines) + "\n").encode()}


def splice(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """As it is packed there."""
    (data,) = files.values()
    return {"mpsa.csv.gz": data}
