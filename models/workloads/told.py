"""A user's workload as a child tells of it, for a process that does not import its class: what its rows and classes
are. Records are read in a child; models are built where they train and are asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import KeptOutError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.closure import Closure
from mlratchet.models.ports.children import Rights, Workplace, children
from mlratchet.models.ports.memory import ObjectsInMemory, ObjectsOnDisk, check_range, verify
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.schema.numbers import Mark
from mlratchet.models.sources.ranged import LentObjects, RangedFetch
from mlratchet.models.sources.record import InputSpec, RawObject, Record, Reject
from mlratchet.models.sources.record_table import RecordPiece, read_one_by_one
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.guarded import guarded_groups, reading
from mlratchet.models.workloads.handed_over import handed_back, to_hand_back
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from torch import nn

DESCRIBE, SOURCE, PARAMETERS = (f"{__name__}:{name}" for name in ("describe", "source", "parameters"))
RECORDS, IDENTITY, MARKS, FORMATS = (
    f"{__name__}:{name}" for name in ("records", "identity_columns", "number_marks", "time_formats")
)
LENT = Rights(read=("raw/",), create=("out/",))
LOOK_S, READ_S = 120.0, 6 * 3600.0
Fetch = Callable[[RawObject], bytes]


class WorkloadFacts(BaseModel):
    """What a workload says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    task: str
    input_spec: InputSpec
    class_names: tuple[str, ...]
    has_own_loss: bool
    reads_objects_alone: bool = False


class ToldWorkload(Workload):
    """It knows what it was told, and asks a child for records."""

    def __init__(self, use: str, parameters: Mapping[str, Any], facts: WorkloadFacts) -> None:
        self._use, self._parameters, self._facts = use, dict(parameters), facts
        self.task = facts.task

    def input_spec(self) -> InputSpec:
        """As told."""
        return self._facts.input_spec

    def class_names(self) -> tuple[str, ...]:
        """As told."""
        return self._facts.class_names

    @property
    def has_own_loss(self) -> bool:
        """As told."""
        return self._facts.has_own_loss

    @property
    def reads_objects_alone(self) -> bool:
        """As told."""
        return self._facts.reads_objects_alone

    def build_model(self) -> nn.Module:
        """Never here."""
        raise KeptOutError(f"{self._use} builds its model in a child alone")

    def records(self, objects: list[RawObject], fetch: Fetch, source: Mapping[str, Any]) -> Iterator[Record | Reject]:
        """See the base. A record that nobody can use is a reject already."""
        return read_one_by_one(self.record_pieces(objects, fetch, source))

    def record_pieces(self, objects: list[RawObject], fetch: Fetch, source: Mapping[str, Any]) -> Iterator[RecordPiece]:
        """See the base: as a child read them, piece by piece from the disk."""
        return (piece for _, piece in self.groups_of_pieces([objects], fetch, source))

    def groups_of_pieces(
        self, groups: Sequence[Sequence[RawObject]], fetch: Fetch, source: Mapping[str, Any]
    ) -> Iterator[tuple[int, RecordPiece]]:
        """The same of groups of objects, each read by itself: the number of the group beside every piece."""
        objects = [one for group in groups for one in group]
        lent = _Fetched(objects, fetch)
        told = self._ask(RECORDS, objects, lent, source, sizes=[len(group) for group in groups])
        pieces = _checked(list[tuple[int, str]], told, f"{self._use}: its records")
        left = Counter(digest for _, digest in pieces)
        for number, digest in pieces:
            yield number, handed_back(lent, digest, self._facts.input_spec, self._facts.class_names)
            left[digest] -= 1
            if not left[digest]:  # equal pieces are one object
                lent.delete(f"out/{digest}")

    def identity_columns(self, objects: list[RawObject], fetch: Fetch, source: Mapping[str, Any]) -> tuple[str, ...]:
        """See the base."""
        told = self._ask(IDENTITY, objects, _Fetched(objects, fetch), source)
        return _checked(tuple[str, ...], told, f"{self._use}: identity_columns")  # type: ignore[no-any-return]

    def number_marks(self, objects: list[RawObject], fetch: Fetch, source: Mapping[str, Any]) -> dict[str, Mark]:
        """See the base."""
        told = self._ask(MARKS, objects, _Fetched(objects, fetch), source)
        return _checked(dict[str, Mark], told, f"{self._use}: number_marks")  # type: ignore[no-any-return]

    def time_formats(self, objects: list[RawObject], fetch: Fetch, source: Mapping[str, Any]) -> dict[str, str]:
        """See the base."""
        told = self._ask(FORMATS, objects, _Fetched(objects, fetch), source)
        return _checked(dict[str, str], told, f"{self._use}: time_formats")  # type: ignore[no-any-return]

    def _ask(
        self,
        function: str,
        objects: Sequence[RawObject],
        lent: ObjectsInMemory,
        source: Mapping[str, Any],
        **more: Any,
    ) -> Any:
        request = {
            "use": self._use,
            "parameters": self._parameters,
            "objects": [asdict(one) for one in objects],
            "source": dict(source),
            **more,
        }
        return children().call(function, request, store=lent, rights=LENT, time_limit_s=READ_S)


class _Fetched(ObjectsOnDisk):
    """What a child reads raw objects from, and hands records back in."""

    def __init__(self, objects: Sequence[RawObject], fetch: Fetch) -> None:
        super().__init__("records")
        self._raw, self._fetch = {f"raw/{one.sha256}": one for one in objects}, fetch

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """A raw object by its digest, or what was handed back."""
        if not key.startswith("raw/"):
            return super().get(key, sha256=sha256)
        if key not in self._raw:
            raise ObjectNotFound(f"{key}: no object of this delivery")
        return self._fetch(self._raw[key])

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """Of a raw object, too."""
        if not key.startswith("raw/"):
            return super().get_range(key, start, length, sha256=sha256)
        check_range(start, length)
        if key not in self._raw:
            raise ObjectNotFound(f"{key}: no object of this delivery")
        if isinstance(self._fetch, RangedFetch):
            return self._fetch.read_range(self._raw[key], start, length, sha256)
        data = self.get(key)[start : start + length]
        verify(self.bucket, key, digest_bytes(data), sha256)
        return data


def told_workload(use: str, parameters: Mapping[str, Any]) -> Workload:
    """Raises ``ConfigurationError`` as `load_workload`."""
    return _told(use, json.dumps(parameters, sort_keys=True))


@cache
def _told(use: str, parameters: str) -> Workload:
    asked = json.loads(parameters)
    told = children().call(DESCRIBE, {"use": use, "parameters": asked}, time_limit_s=LOOK_S)
    return ToldWorkload(use, asked, _checked(WorkloadFacts, told, f"workload {use}"))


def reading_away(use: str, parameters: Mapping[str, Any], made: Workload) -> Workload:
    """One of ours, which is known here; the bytes of a delivery are decoded in a child all the same."""
    told = ToldWorkload(use, parameters, WorkloadFacts(**_facts_of(made)))
    told.formats = made.formats  # type: ignore[misc]  # of its class
    return told


def told_parameters(use: str) -> dict[str, Any]:
    """Raises ``ConfigurationError`` as `workload_parameters`."""
    told = children().call(PARAMETERS, {"use": use}, time_limit_s=LOOK_S)
    return dict(_checked(dict[str, Any], told, f"workload {use}"))


def told_source(use: str, task: str | None) -> Closure:
    """What a workload is made of. Raises ``ConfigurationError`` as `workload_source`."""
    told = children().call(SOURCE, {"use": use, "task": task}, time_limit_s=LOOK_S)
    return Closure(**_checked(dict[str, dict[str, str]], told, f"workload {use}"))


def describe(request: Mapping[str, Any], _workplace: Workplace) -> dict[str, Any]:
    """In the child."""
    from mlratchet.models.workloads.loading import load_workload

    return _facts_of(load_workload(request["use"], dict(request["parameters"])))


def _facts_of(workload: Workload) -> dict[str, Any]:
    return {
        "task": workload.objective.reference,
        "input_spec": asdict(workload.input_spec()),
        "class_names": list(workload.class_names()),
        "has_own_loss": workload.has_own_loss,
        "reads_objects_alone": workload.reads_objects_alone,
    }


def source(request: Mapping[str, Any], _workplace: Workplace) -> dict[str, Any]:
    """In the child."""
    from mlratchet.models.workloads.loading import workload_source

    return workload_source(request["use"], request["task"]).parts()


def parameters(request: Mapping[str, Any], _workplace: Workplace) -> dict[str, Any]:
    """In the child."""
    from mlratchet.models.workloads.loading import workload_parameters

    return workload_parameters(request["use"])


def records(request: Mapping[str, Any], workplace: Workplace) -> list[tuple[int, str]]:
    """In the child: the number of the group and the digest of every piece, in order."""
    workload, objects, fetch = _opened(request, workplace)
    rest, found = iter(objects), []
    groups = [list(islice(rest, size)) for size in request["sizes"]]
    for number, piece in guarded_groups(workload, groups, fetch, request["source"]):
        data = to_hand_back(piece)
        found.append((number, digest_bytes(data)))
        workplace.objects.create(f"out/{found[-1][1]}", data)
    return found


def identity_columns(request: Mapping[str, Any], workplace: Workplace) -> list[str]:
    """In the child."""
    workload, objects, fetch = _opened(request, workplace)
    with reading(workload):
        return list(workload.identity_columns(objects, fetch, request["source"]))


def number_marks(request: Mapping[str, Any], workplace: Workplace) -> dict[str, Mark]:
    """In the child."""
    workload, objects, fetch = _opened(request, workplace)
    with reading(workload):
        return dict(workload.number_marks(objects, fetch, request["source"]))


def time_formats(request: Mapping[str, Any], workplace: Workplace) -> dict[str, str]:
    """In the child."""
    workload, objects, fetch = _opened(request, workplace)
    with reading(workload):
        return dict(workload.time_formats(objects, fetch, request["source"]))


def _opened(request: Mapping[str, Any], workplace: Workplace) -> tuple[Workload, list[RawObject], Fetch]:
    from mlratchet.models.workloads.loading import load_workload

    workload = load_workload(request["use"], dict(request["parameters"]))
    objects = [RawObject(**one | {"pieces": tuple(one.get("pieces", ()))}) for one in request["objects"]]
    return workload, objects, LentObjects(workplace.objects)


def _checked(kind: Any, told: Any, what: str) -> Any:
    try:
        return TypeAdapter(kind).validate_python(told)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(f"{what}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
