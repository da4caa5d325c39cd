"""Everything that a new pipeline needs to run at once: data that is made up, a pipeline file, and a class where it has
one of its own, with a test."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlratchet.models.drafting import sample_data
from mlratchet.models.drafting.draft import NAME, draft
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.finding import Finder
from mlratchet.models.nearest import nearest_hint

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class LikeThis:
    """What a new pipeline can be like."""

    words: str  # of its data
    data: Callable[[], sample_data.Files]
    label: str | None = None  # that a drafted file learns; None: as it is found
    use: str = ""  # class of the template of the kind's name; empty: nothing of its own


KINDS: Mapping[str, LikeThis] = {
    "text": LikeThis(words="sentences in JSON lines, praise or blame", data=sample_data.texts, label="verdict"),
    "vision": LikeThis(words="pictures in a folder per class", data=sample_data.pictures),
    "tabular": LikeThis(words="a CSV with numbers, words and gaps", data=sample_data.table, label="paid"),
    "audio": LikeThis(words="sounds in a folder per class", data=sample_data.sounds),
    "recommender": LikeThis(words="ratings of items by users, as MovieLens has them", data=sample_data.ratings),
    "sequence": LikeThis(words="sequences of letters in FASTA", data=sample_data.sequences),
    "custom": LikeThis(
        words="a CSV, and a network of your own in one class", data=sample_data.table, label="paid", use="OwnModel"
    ),
    "detector": LikeThis(words="pictures with boxes and classes of shapes", data=sample_data.shapes, use="Detector"),
    "ctc": LikeThis(words="sounds, and which letters are heard in them", data=sample_data.spoken, use="Recogniser"),
}


@dataclass(frozen=True, kw_only=True)
class Begun:
    """Files, not written yet, each below the folder that it belongs to."""

    pipeline: str  # text of the pipeline file
    data: Mapping[str, bytes]
    code: Mapping[str, str]  # of the project; empty where nothing is its own


def begin(name: str, like: str, *, pipeline_file: Path) -> Begun:
    """Raises ``ConfigurationError`` for a name that no pipeline or module has, and for an unknown kind."""
    if not NAME.match(name):
        raise ConfigurationError(f"NAME {name!r}: expected small letters, digits and -, a letter first, at most 48")
    if like not in KINDS:
        raise ConfigurationError(f"--like {like!r}: there is no such kind; {nearest_hint(like, list(KINDS))}")
    kind, module = KINDS[like], name.replace("-", "_")
    if kind.use and Finder().find(module) is not None:
        raise ConfigurationError(
            f"NAME {name!r}: a module {module!r} is there already, and the class would be written as {module}.py; "
            "choose another name"
        )
    data = kind.data()
    words = {"PIPELINE": pipeline_file.as_posix(), "MODULE": module, "NAME": name}
    own = TEMPLATES / f"{like}.yaml"
    text = filled(own, words) if own.exists() else _drafted(data, name, kind.label)
    if kind.use and not own.exists():
        text = re.sub("^workload:.*$", rf"\g<0>\n  use: {module}:{kind.use}", text, count=1, flags=re.MULTILINE)
    code = {}
    if kind.use:
        code[f"{module}.py"] = filled(TEMPLATES / f"{like}.py", words)
        code[f"test_{module}.py"] = filled(TEMPLATES / "custom_test.py", words)
    return Begun(pipeline=text, data=data, code=code)


def filled(template: Path, words: Mapping[str, str]) -> str:
    """The text of a template with the words that it leaves open."""
    text = template.read_text(encoding="utf-8")
    for one, meant in words.items():
        text = text.replace(one, meant)
    return text


def _drafted(data: Mapping[str, bytes], name: str, label: str | None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for file, content in data.items():
            place = Path(folder) / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        return draft([Path(folder)], labels=[label] if label else [], name=name).text
