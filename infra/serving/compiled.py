"""Programs compiled on this machine, for pipelines that ask for it (`serving.compile: aot`): a cache that a server
builds from the verified program, and never takes from a bucket.

It lies in the home, readable by its owner alone, and what lies there is believed only with a code made by a key of this
home; anything else is built again. The program serves until the compiled one has answered as it does.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import platform
import secrets
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import torch
from mlratchet.infra.artifact.compiling import COMPILE, PACKAGE, TRIED, compiler, load_package
from mlratchet.infra.artifact.converted import BOUND
from mlratchet.infra.child.handed_back import read_handed_back
from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.identity.canonical import digest
from mlratchet.models.ports.children import children
from mlratchet.models.registration.record import Registration
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.predictor import CompiledForward
from mlratchet.models.tensors.batch import Model, batch_of
from mlratchet.models.tensors.named import Inputs
from safetensors.numpy import load

logger = logging.getLogger(__name__)
LIMIT_S = 1800.0  # that compiling may take
MOST_BYTES = 8 << 30
CODE = "code"  # the file that says that the others are ours
KEPT = 8  # versions in the cache; the oldest goes
FILES = (PACKAGE, TRIED)


class CompiledPrograms:
    """The cache of one home. `asked`: how a pipeline is served now, None where it is not."""

    def __init__(self, home: Path, asked: Callable[[str], ServingConfig | None]) -> None:
        self._folder, self._asked = home / "compiled", asked
        self._one = threading.Lock()  # one is compiled at a time

    def beside(self, record: Registration, directory: Path, program: Model) -> CompiledForward | None:
        """What answers in place of the program once it is there; None where nobody asks for it.

        Args:
            record: Of the version.
            directory: Its verified artifact, which is copied: it may be gone afterwards.
            program: As it was loaded.
        """
        config = self._asked(record.name)
        if config is None or config.compile != "aot":
            return None
        found = compiler()
        if found is None:
            logger.warning(
                "%s: serving.compile is aot, and there is no C++ compiler (g++, clang++): the exported program serves",
                record.name,
            )
            return None
        kept = temporary_folder("compile")
        shutil.copytree(directory, Path(kept.name) / "artifact")
        forward = CompiledForward()

        def build() -> None:
            with kept, self._one:
                self._build(record, config.threads, found, Path(kept.name) / "artifact", program, forward)

        threading.Thread(target=build, name=f"compile-{record.name}", daemon=True).start()
        return forward

    def _build(
        self, record: Registration, threads: int, used: str, directory: Path, program: Model, forward: CompiledForward
    ) -> None:
        what = f"{record.name} version {record.version}"
        try:
            place = self._folder / name_of(record.manifest_digest, threads, used)
            held = self._held(place)
            if held is None:
                logger.info("%s: is being compiled; the exported program serves meanwhile", what)
                self._compile(directory, threads, place)
                held = self._held(place)
            if held is None:
                raise ConfigurationError(f"{place} is not what was written there")
            compiled = load_package(place / PACKAGE, program)
            refuse_other_answers(program, compiled, held)
            forward.ready = compiled
            logger.info("%s: answers by its compiled program", what)
            self._drop_oldest(place)
        except RatchetError as error:
            logger.warning("%s: the exported program serves: it cannot be compiled: %s", what, error)
        except Exception:  # whatever a compiler or a library of it does, the program serves
            logger.exception("%s: the exported program serves: it cannot be compiled", what)

    def _compile(self, directory: Path, threads: int, place: Path) -> None:
        """Raises ``ConfigurationError`` with the child's words."""
        with temporary_folder("compiling") as folder:
            scratch = Path(folder)
            request = {"directory": str(directory), "threads": threads}
            told = children().call(COMPILE, request, scratch=scratch, reads=(directory,), time_limit_s=LIMIT_S)
            if told != "done":
                raise ConfigurationError(f"{told}"[:1000])
            made = {name: read_handed_back(scratch / name, most_bytes=MOST_BYTES) for name in FILES}
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        for name, data in made.items():
            write_atomically(place / name, data)
        write_atomically(place / CODE, self._code(place.name, made).encode())

    def _held(self, place: Path) -> bytes | None:
        """The inputs that it was tried on, if all of it is as this home wrote it."""
        try:
            files = {name: (place / name).read_bytes() for name in FILES}
            said = (place / CODE).read_text()
        except (OSError, UnicodeDecodeError):
            return None
        return files[TRIED] if hmac.compare_digest(said, self._code(place.name, files)) else None

    def _code(self, name: str, files: dict[str, bytes]) -> str:
        told = [name, *(f"{one} {hashlib.sha256(data).hexdigest()}" for one, data in sorted(files.items()))]
        return hmac.new(self._key(), "\n".join(told).encode(), hashlib.sha256).hexdigest()

    def _key(self) -> bytes:
        """Of this home alone; made once."""
        file = self._folder / "key"
        if not file.is_file():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(file, secrets.token_bytes(32))
            file.chmod(0o600)
        return file.read_bytes()

    def _drop_oldest(self, mine: Path) -> None:
        others = [one for one in self._folder.iterdir() if one.is_dir() and one != mine]
        for one in sorted(others, key=lambda place: place.stat().st_mtime)[: max(0, len(others) + 1 - KEPT)]:
            shutil.rmtree(one, ignore_errors=True)


def name_of(manifest: str, threads: int, used: str) -> str:
    """Of what is compiled: another program, torch, processor, compiler or number of threads is another one."""
    version = subprocess.run([used, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout
    return digest([manifest, threads, torch.__version__, platform.machine(), processor(), version.splitlines()[:1]])


def processor() -> list[str]:
    """What the processor of this machine can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return [platform.processor()]
    told = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return sorted(told.partition(":")[2].split())


def refuse_other_answers(program: Model, compiled: Model, tried: bytes) -> None:
    """Raises ``ConfigurationError`` where the two answer more than `BOUND` apart."""
    parts: dict[str, dict[str, object]] = {}
    for name, one in load(tried).items():
        number, _, tensor = name.partition(":")
        parts.setdefault(number, {})[tensor] = one
    if not parts:
        raise ConfigurationError("it was tried on nothing")
    with torch.inference_mode():
        for arrays in parts.values():
            batch = batch_of(Inputs.from_arrays(arrays))  # type: ignore[arg-type]  # arrays, as safetensors gives them
            expected, got = program(batch).float(), compiled(batch).float()
            apart = (got - expected).abs() / expected.abs().clamp(min=1.0) if got.shape == expected.shape else None
            if apart is None or not bool((apart <= BOUND).all()):
                raise ConfigurationError(f"it answers more than {BOUND:g} apart from the program")
