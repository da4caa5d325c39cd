"""What `ratchet seed` does: the data sets that there are, and one of them put into the raw bucket."""

from __future__ import annotations

from typing import Any


def data_sets() -> list[dict[str, Any]]:
    """By name: what it holds, whose it is, where it comes from; and as `lines` to print."""
    from mlratchet.infra.real_data.catalogue import REAL_DATA

    found = [
        {
            "name": "digits",
            "holds": "1,797 handwritten digits of 8x8 pixels, in deliveries 1, 2 and damaged",
            "licence": "BSD-3 (scikit-learn), which is installed",
            "format": "images",
            "packages": [],
        }
    ]
    for name, one in REAL_DATA.items():
        packages = list(dict.fromkeys(str(part.package) for part in one.parts))
        found.append(
            {"name": name, "holds": one.words, "licence": one.licence, "format": one.format, "packages": packages}
        )
    for entry in found:
        origin = ", ".join(entry["packages"]) or "installed with Ratchet"
        entry["lines"] = [
            f"{entry['name']:<10} {entry['holds']}",
            f"{'':<10} format {entry['format']}; {origin}; {entry['licence']}",
        ]
    return found


def put_data_set(name: str, delivery: str | None, *, hidden: bool) -> int:
    """How many objects were written or removed. Raises ``ConfigurationError`` for a name or delivery that there is
    not, ``PackageUnavailableError`` (exit 5) where its package cannot be had."""
    from mlratchet.flows.cli.output import progress_bar
    from mlratchet.infra.real_data.catalogue import objects_of, real_data
    from mlratchet.infra.seed import bring_to, seed_digits
    from mlratchet.infra.settings import find_home
    from mlratchet.models.errors import ConfigurationError
    from mlratchet.tasks.wiring import open_adapters

    if name == "digits":
        if delivery is None:
            raise ConfigurationError("digits: say which delivery: --delivery 1, 2 or damaged")
        with progress_bar(f"Uploading digits, delivery {delivery}", hidden=hidden) as advance:
            return seed_digits(open_adapters().raw, delivery, on_progress=advance)
    real_data(name)
    if delivery is not None:
        raise ConfigurationError(f"{name}: has one delivery; leave --delivery out")
    raw = open_adapters().raw
    files = objects_of(name, find_home() / "packages")
    with progress_bar(f"Uploading {name}", hidden=hidden) as advance:
        return bring_to(raw, f"{name}/", files, on_progress=advance)
