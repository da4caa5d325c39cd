"""Draft the file of a folder of pictures, a folder in it per class."""

from __future__ import annotations

from mlratchet.models.drafting.baseline import bar_of_shares
from mlratchet.models.drafting.commented import Commented
from mlratchet.models.drafting.delivery import LocalFiles
from mlratchet.models.drafting.sections import Size, write_gates, write_split, write_training
from mlratchet.models.errors import DataError

WORKLOAD = "mlratchet.models.workloads.vision:ImageClassifier"
LARGEST = 64  # pixels a side; a small network learns no more from larger ones
SMALLEST = 8


def draft_pictures(delivery: LocalFiles, name: str) -> tuple[str, list[str]]:
    """The text and the notes. Raises ``DataError`` where the pictures lie in fewer than two folders."""
    require_folders(delivery)
    assert delivery.pictures is not None, "its kind"
    size = Size(rows=sum(delivery.classes.values()), sure=True)
    out = Commented()
    out.remark(f"Drafted by `ratchet init` from {size.rows:,} pictures. Every line can be changed.")
    out.entry("name", name)
    _write_workload(out, delivery)
    out.section("source")
    out.entry("prefix", f"{name}/", f"`ratchet upload {name} FOLDER` puts pictures there", depth=1)
    out.entry("format", "image_folder", "the folder that a picture lies in is its class", depth=1)
    write_split(out, size)
    write_training(out, size)
    bar = bar_of_shares(delivery.classes)
    write_gates(out, size, bar, classes=delivery.classes)
    return out.text(), _notes(delivery, size)


def require_folders(delivery: LocalFiles) -> None:
    """Raises ``DataError`` where the files lie in fewer than two folders."""
    if len(delivery.classes) < 2:
        ending = delivery.files[0].suffix
        raise DataError(
            f"{delivery.files[0]}: the {delivery.kind} lie in {len(delivery.classes)} folders; expected one per class, "
            f"as in cat/1{ending} and dog/1{ending}, below the folder that is named"
        )


def _write_workload(out: Commented, delivery: LocalFiles) -> None:
    seen = delivery.pictures
    assert seen is not None, "its kind"
    height, width = (max(SMALLEST, min(LARGEST, side)) for side in (seen.height, seen.width))
    out.section("workload")
    out.entry("use", WORKLOAD, "a small convolutional network; others: encoders, docs/workloads.md", depth=1)
    out.section("parameters", depth=1)
    out.entry("classes", list(delivery.classes), "the folders", depth=2)
    out.entry("height", height, f"pixels that a picture is scaled to; half of them are {seen.height} or more", depth=2)
    out.entry("width", width, f"half of them are {seen.width} or more", depth=2)
    out.entry("channels", seen.channels, "grey" if seen.channels == 1 else "colours", depth=2)


def _notes(delivery: LocalFiles, size: Size) -> list[str]:
    counts = ", ".join(f"{name} {rows:,}" for name, rows in [*delivery.classes.items()][:10])
    notes = [f"{len(delivery.classes)} classes: {counts}"]
    outside = len(delivery.files) - size.rows
    if outside:
        notes.append(f"{outside} pictures lie in no folder: they are set aside")
    if delivery.pictures is not None and delivery.pictures.unreadable:
        notes.append(f"{delivery.pictures.unreadable} of the pictures that were opened cannot be read")
    if delivery.others:
        notes.append(f"{len(delivery.others)} files are no pictures: they are set aside; do not upload them")
    return notes
