"""Ask the watched version and the one before it about a sample of logged rows: verified programs, in children without
keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.shards import load_split
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.away import ModelAway
from mlratchet.models.evaluation.score import outputs_of as outputs_here
from mlratchet.models.inference_log.columns import FIELD, logged_fields
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.metrics.rows import load_rows
from mlratchet.models.monitoring.asking_again import AskedAgain, shares_by_field
from mlratchet.models.monitoring.measure.answers import TaskFacts, outputs_of, predictions_of
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.registration.record import Registration
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import ExampleSpec
from mlratchet.models.sources.stored_examples import EXAMPLE, UNPREPARED
from mlratchet.models.tensors.named import Inputs, Ragged
from mlratchet.models.workloads.cold_start import with_cold_start
from mlratchet.models.workloads.parts import features_away, fields_of_parts
from mlratchet.models.workloads.prepared import prepare_away
from mlratchet.tasks.support.attribute import Questions, explain_all, names_of
from mlratchet.tasks.support.open_version import Version, open_version
from mlratchet.tasks.support.versions import registration_of
from mlratchet.tasks.wiring import Adapters

Array = np.ndarray[Any, Any]
STEPS = 32  # of Integrated Gradients
BATCH_ROWS = 256
SEED = 0  # of the test rows that are asked about


@dataclass(frozen=True, kw_only=True)
class AskAgain:
    """Of one version. Called with rows of the log; raises ``RatchetError`` where it cannot be asked about them."""

    adapters: Adapters
    name: str
    record: Registration
    manifest: DatasetManifest
    rows: int
    """Test rows beside those of the window."""

    def __call__(self, sample: pa.Table) -> AskedAgain:
        """See `AskedAgain`."""
        entries = self.adapters.ledger.entries(self.name)
        with temporary_folder("monitor") as folder:
            version = open_version(self.adapters, self.record, entries, Path(folder) / "watched")
            stored = stored_rows(sample, _example_of(version.signature))
            facts = TaskFacts(task=version.signature.task, classes=version.signature.classes)
            output, places = outputs_of(sample["output"], facts)
            stored = stored.take(places)
            fields, test_NF, window_MF, method = self._relied_on(version, stored, output, facts)
            before, said_before = self._before(entries, stored, facts, Path(folder) / "before")
        said, _ = predictions_of(output, facts)
        return AskedAgain(
            fields=fields, test=test_NF, window=window_MF, method=method, before=before,
            said_before=said_before, said=list(said) if before else (),
        )  # fmt: skip

    def _relied_on(
        self, version: Version, stored: Inputs, output: Array, facts: TaskFacts
    ) -> tuple[tuple[str, ...], Array, Array, str]:
        """Of the test rows and of the window's in one go: their baseline is the same."""
        signature = version.signature
        theirs, ours = prepare_away(_example_of(signature), stored), self._test_rows(signature, facts)
        x, y = Inputs.concat([ours[0], theirs]), np.concatenate([ours[1], facts.logged.answered(output)])
        asked = Questions(
            chosen=np.arange(len(y)), models={"it": version.program}, places={}, inputs={"it": x}, columns={}, y=y
        )
        found = explain_all(asked, signature.task, signature.input, STEPS)["it"]
        parts = names_of(x, signature.input) or one_by_one(x)
        fields, table = fields_of_parts(parts, features_away(_example_of(signature)))
        shares = shares_by_field(found.values, table)
        return fields, shares[: len(ours[1])], shares[len(ours[1]) :], found.method

    def _test_rows(self, signature: Signature, facts: TaskFacts) -> tuple[Inputs, Array]:
        """Some of them, always the same, as the version takes them, and what it said of them."""
        split = with_cold_start(load_split(self.adapters.store, self.manifest, "test"), signature.input.example)
        said = load_rows(self.adapters.store, self.record.rows_key)
        place = {identity: at for at, identity in enumerate(said.ids)}
        chosen = np.sort(np.random.default_rng(SEED).permutation(len(split.ids))[: self.rows])
        known = [int(at) for at in chosen if split.ids[at] in place]
        output = np.asarray(said.output)[[place[split.ids[at]] for at in known]]
        return split.x.take(known), facts.logged.answered(output)

    def _before(
        self, entries: Sequence[LedgerEntry], stored: Inputs, facts: TaskFacts, folder: Path
    ) -> tuple[int, list[str]]:
        """The champion before this version, and what it says of the rows; 0 where it cannot be asked."""
        numbers = [one.version for one in entries]
        if not facts.logged.says_words or self.record.version not in numbers:
            return 0, []
        earlier = [one for one in numbers[: numbers.index(self.record.version)] if one != self.record.version]
        if not earlier:
            return 0, []
        with suppress(ConfigurationError, ObjectNotFound):  # gone, or of another schema: there is nothing to tell
            opened = open_version(
                self.adapters, registration_of(self.adapters, self.name, earlier[-1]), entries, folder
            )
            about = opened.signature.input.example
            if about is None or opened.signature.task != facts.task:
                return 0, []
            x, program = prepare_away(about, stored), opened.program
            if isinstance(program, ModelAway):
                output = program.outputs(x, batch_rows=BATCH_ROWS)
            else:
                output = outputs_here(program, x, BATCH_ROWS)
            said, _ = predictions_of(output, TaskFacts(task=facts.task, classes=opened.signature.classes))
            return earlier[-1], list(said)
        return 0, []


def _example_of(signature: Signature) -> ExampleSpec:
    if signature.input.example is None:
        raise ConfigurationError("the version takes no examples by a schema: the log holds no field of its rows")
    return signature.input.example


def stored_rows(sample: pa.Table, about: ExampleSpec) -> Inputs:
    """Rows of the log as a dataset keeps examples. Raises ``ConfigurationError`` for an input not logged whole."""
    schema, logged = Schema.model_validate_json(about.schema), logged_fields(sample.schema)
    lacking = [name for name in schema.inputs if logged.get(name, ("", ""))[1] != "whole"]
    if lacking:
        raise ConfigurationError(f"{', '.join(lacking)}: not logged whole, so the rows cannot be asked about again")
    columns = {name: sample[FIELD + name].to_pylist() for name in schema.inputs}
    rows = [
        np.frombuffer(json.dumps({name: _cell(values[at]) for name, values in columns.items()}).encode(), np.uint8)
        for at in range(sample.num_rows)
    ]
    return Inputs({EXAMPLE: Ragged.of(rows, UNPREPARED)})


def _cell(value: Any) -> Any:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def one_by_one(x: Inputs) -> tuple[str, ...]:
    """Names of the parts of one tensor: each of its values."""
    (name,) = x.names
    return tuple(f"{name}[{at}]" for at in range(int(np.prod(x.array.shape[1:]))))
