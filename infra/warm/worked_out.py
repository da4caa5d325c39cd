"""What every run would work out anew from installed code alone: before its forks are made, so once for all of them.

The warm process is out of date as soon as Ratchet's code or a package changes, and what was worked out with it.
"""

from __future__ import annotations

from contextlib import suppress

from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.identity.product import EVERY


def work_out() -> None:
    """Half a second of CPU, for each run (2026-11-26)."""
    for part in EVERY.values():
        part.digest()
    nobody = "nobody"  # who is never asked for: no connection is made
    S3Store(nobody, endpoint_url="http://127.0.0.1:1", region=nobody, access_key=nobody, secret_key=nobody)
    with suppress(ImportError, AttributeError):  # a name of MLflow's own inside; without it a run is only slower
        from mlflow.utils.requirements_utils import _init_modules_to_packages_map as which_package_is_imported_how

        which_package_is_imported_how()  # type: ignore[no-untyped-call]  # MLflow types it not
