"""Where a training begins: from an older version, or fresh with the reason.

A version that the file names by number is refused when nothing may begin from it. The champion, which is the default,
is left instead: a nightly run must not stop until somebody edits a file, and a fresh begin is right in each such case.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial

from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.claim import Claim, read_claims
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.registration.record import Registration
from mlratchet.models.training.result import find_result
from mlratchet.tasks.support.open_version import signature_of_version
from mlratchet.tasks.support.score_versions import ancestor_of
from mlratchet.tasks.support.seen_rows import seen_rows
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run

FRESH = "begins fresh, not from the champion: "


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """From which version, with its names for outputs and inputs: heads and first layers are taken by name."""

    parent: Registration | None = None
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    example: dict[str, str] = field(default_factory=dict)
    """Schema, preparation and what that was fitted to."""
    began_fresh: str = ""  # why not from the champion, where the file asks for it and there is one

    @property
    def version(self) -> int | None:
        """Of the parent."""
        return self.parent.version if self.parent is not None else None


def beginning_of(run: Run, work: Work) -> Beginning:
    """As the first attempt at this work chose; else from the version that the file names, from the champion where
    nothing speaks against it, or fresh.

    Raises ``ConfigurationError`` for a version by number that nothing may begin from, and ``SecurityError`` for a
    record or bytes that were changed.
    """
    claims = read_claims(run.adapters.store, work.key)
    if claims:
        return as_claimed(run, work, claims[0])
    wanted = run.spec.train.warm_start
    if isinstance(wanted, int):
        return by_number(run, work, wanted)
    if wanted == "none" or work.champion is None:
        return Beginning()
    version = work.champion.version
    if work.incumbent is None:
        return Beginning(began_fresh=f"{FRESH}version {version} has no registration record")
    try:
        return begin_from(run, work, version)
    except ConfigurationError as error:
        return Beginning(began_fresh=f"{FRESH}{error}")


def as_claimed(run: Run, work: Work, claim: Claim) -> Beginning:
    """The beginning that a claim holds: checkpoints of earlier attempts come from it. Raises as `beginning_of`."""
    if claim.parent_version is None:
        return Beginning(began_fresh=claim.began_fresh)
    if find_result(run.adapters.store, work.key) is not None:
        return Beginning(parent=parent_of(run, claim.parent_version))
    return by_number(run, work, claim.parent_version)


def by_number(run: Run, work: Work, version: int) -> Beginning:
    """From this version and no other. Raises as `beginning_of`."""
    try:
        return begin_from(run, work, version)
    except ConfigurationError as error:
        raise ConfigurationError(f"train.warm_start: {error}; write train.warm_start: none") from error


def begin_from(run: Run, work: Work, version: int) -> Beginning:
    """Raises ``ConfigurationError`` with the reason why nothing may begin from the version."""
    parent = parent_of(run, version)
    if not run.adapters.store.exists(parent.weights_key):
        raise ConfigurationError(f"the weights of version {version} are gone")
    try:
        found = names_of_parent(run, parent)
    except ObjectNotFound as error:
        raise ConfigurationError(f"the artifact of version {version} is gone: {error}") from error
    refuse_seen_rows(run, work, parent)
    return found


def parent_of(run: Run, version: int) -> Registration:
    """The record of a version. It may have stopped being champion meanwhile.

    Raises ``ConfigurationError`` when there is none, and ``SecurityError`` when it was champion and its record was
    changed since: it names the weights to begin from.
    """
    name = run.spec.name
    return ancestor_of(run.adapters, name, run.adapters.ledger.entries(name), version)


def names_of_parent(run: Run, parent: Registration | None) -> Beginning:
    """From the parent, with its names. Empty without one. Raises ``ObjectNotFound`` when its artifact is gone."""
    if parent is None:
        return Beginning()
    entries = run.adapters.ledger.entries(run.spec.name)
    signature = signature_of_version(run.adapters, parent, entries)
    example = signature.input.example
    return Beginning(
        parent=parent,
        classes=signature.classes,
        columns=signature.input.columns,
        example=asdict(example) if example is not None else {},
    )


def refuse_seen_rows(run: Run, work: Work, parent: Registration) -> None:
    """Raises ``ConfigurationError`` when the parent was trained on rows that are test rows now, or nobody knows: gates
    would judge the new model on what it has seen. Rows are read only where the split's rule may have moved them."""
    store, name = run.adapters.store, run.spec.name
    ancestor = partial(ancestor_of, run.adapters, name, run.adapters.ledger.entries(name))
    try:
        seen = seen_rows(store, run.spec, work.dataset_id, parent, ancestor)
    except ObjectNotFound as error:
        why = f"which rows version {parent.version} was trained on is not known any more: {error}"
        raise ConfigurationError(why) from error
    if not seen:
        return
    test = load_split(store, load_dataset(store, work.dataset_id), "test").ids
    both = sum(identity in seen for identity in test)
    if both:
        raise ConfigurationError(
            f"version {parent.version} was trained on {both} of the {len(test)} test rows, because data.split moves "
            "rows, or what says which row is which changed since: gates would judge the new model on what it has seen"
        )
