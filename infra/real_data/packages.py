"""Real data out of packages: fetched by name through the machine's own package clients, which know where to ask."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.infra.settings import base_environment, without_credentials
from mlratchet.models.errors import InfrastructureError

TIME_LIMIT_S = 600.0  # of one download
MOST_WORDS = 400  # characters of what a client says
_one_at_a_time = threading.Lock()  # several parts are of one package


class PackageUnavailableError(InfrastructureError):
    """A package cannot be had on this machine; the message says why."""

    code = "PACKAGE"


@dataclass(frozen=True, kw_only=True)
class Package:
    """Something that a package client downloads by name; it is never installed."""

    client: Literal["pip", "apt"]
    name: str
    version: str | None = None
    """Of a pip package; apt knows one alone."""

    def __str__(self) -> str:
        return f"{self.client} package {self.name}{f' {self.version}' if self.version else ''}"

    @property
    def file_name(self) -> str:
        """In a folder of downloaded packages."""
        return quote(f"{self.client}-{self.name}-{self.version or 'any'}.package", safe="")


def archive_of(package: Package, kept: Path) -> bytes:
    """The bytes of a package: a wheel or a .deb. Looked for in the folder `kept` first, and kept there.

    Whoever uses what is in it verifies that. Raises ``PackageUnavailableError``.
    """
    kept.mkdir(parents=True, exist_ok=True)
    file = kept / package.file_name
    with _one_at_a_time:
        if not file.is_file():
            _keep(package, kept, file)
    return file.read_bytes()


def _keep(package: Package, kept: Path, file: Path) -> None:
    work = kept / f"{package.file_name}.download"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        write_atomically(file, _downloaded(package, work).read_bytes())
    finally:
        shutil.rmtree(work, ignore_errors=True)


def forget(package: Package, kept: Path) -> None:
    """What was kept of a package. Idempotent."""
    (kept / package.file_name).unlink(missing_ok=True)


def _command(package: Package, work: Path) -> list[str]:
    if package.client == "pip":
        named = f"{package.name}=={package.version}" if package.version else package.name
        # a wheel alone: building a source distribution would run its code
        options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--no-input"]
        return [sys.executable, "-m", "pip", "download", *options, "--dest", str(work), named]
    found = shutil.which("apt-get")
    if found is None:
        raise PackageUnavailableError(f"{package}: this machine has no apt-get; it is a Debian package")
    return [found, "--quiet", "download", package.name]


def _downloaded(package: Package, work: Path) -> Path:
    environment = without_credentials(base_environment())
    try:
        told = subprocess.run(
            _command(package, work),
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise PackageUnavailableError(f"{package}: not downloaded in {TIME_LIMIT_S:.0f} s; try again") from exc
    except OSError as exc:
        raise PackageUnavailableError(f"{package}: {exc}") from exc
    files = [file for file in sorted(work.iterdir()) if file.suffix in (".whl", ".deb")]
    if told.returncode or len(files) != 1:
        said = [line for line in told.stderr.splitlines() if line.startswith(("ERROR", "E:"))] or [told.stderr]
        words = " ".join(" ".join(said).split())[:MOST_WORDS] or f"{len(files)} files came"
        raise PackageUnavailableError(
            f"{package}: cannot be had here: {words}; is there a network, and does this machine's registry have it?"
        )
    return files[0]
