"""The folders of the users' modules, as environments tell them: to interpreters that may import from them,
and to those that must not, in a variable of ours. Reads the environment of nobody: it is handed one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PROJECT_PATH = "RATCHET_PROJECT_PATH"


def project_folders(environment: Mapping[str, str]) -> list[str]:
    """The same, of another process."""
    told = [environment.get(name, "") for name in (PROJECT_PATH, "PYTHONPATH")]
    folders = dict.fromkeys(folder for paths in told for folder in paths.split(os.pathsep) if folder)
    return [folder for folder in folders if not is_ratchets(folder)]


def is_ratchets(folder: str) -> bool:
    """Whether Ratchet itself is imported from this folder: then it is none of the users'."""
    return Path(folder).resolve() == Path(__file__).parents[2].resolve()


def ratchets_path(environment: Mapping[str, str]) -> dict[str, str]:
    """PYTHONPATH with the folder that Ratchet is imported from, where it stands there: other interpreters import the
    same Ratchet from it."""
    ours = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder and is_ratchets(folder)]
    return {"PYTHONPATH": ours[0]} if ours else {}


def without_users_path(environment: Mapping[str, str], *first: str) -> dict[str, str]:
    """For an interpreter that may hold a key or a credential: it imports nothing of the users', at no moment. `first`:
    folders of their modules, too."""
    own = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    return own | project_path(environment, *first) | ratchets_path(environment)


def project_path(environment: Mapping[str, str], *first: str) -> dict[str, str]:
    """The variable that tells these folders, and `first` before them."""
    folders = list(dict.fromkeys([*first, *project_folders(environment)]))
    return {PROJECT_PATH: os.pathsep.join(folders)} if folders else {}
