"""Read a pipeline file: strict, with file and line in every error, and with the shared policy it refers to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.finding import is_ours
from mlratchet.models.gates.policy import SharedPolicy
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.pipeline.names import composed, refuse_guessed_names, refuse_guessed_schema
from mlratchet.models.pipeline.reading import Lines, Loader, parse_yaml, read_text, validated
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.fields import Schema
from mlratchet.models.workloads.loading import workload_parameters

OF_THE_ORGANISATION = ("policy", "shared")  # keys of `gates` that a run cannot change


def _assign(document: dict[str, Any], assignment: str) -> None:
    dotted, equals, text = assignment.partition("=")
    parts = dotted.strip().split(".")
    if not equals or not all(parts):
        raise ConfigurationError(f"--set {assignment!r}: expected key=value, e.g. --set train.epochs=5")
    if parts == ["gates"] or (parts[0] == "gates" and parts[1] in OF_THE_ORGANISATION):
        raise ConfigurationError(f"--set {assignment!r}: the shared policy holds for every run; change its file")
    node: Any = document
    for part in parts[:-1]:
        node = node.setdefault(part, {}) if isinstance(node, dict) else node[int(part)]
        if not isinstance(node, dict | list):
            raise ConfigurationError(f"--set {assignment!r}: {part!r} holds a value, not a section")
    value = yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader
    if isinstance(node, list):
        node[int(parts[-1])] = value
    else:
        node[parts[-1]] = value


def parse_pipeline(
    text: str,
    *,
    where: str,
    overrides: Sequence[str] = (),
    folder: Path | None = None,
    published: bool = False,
) -> PipelineSpec:
    """The pipeline of a YAML text, with ``a.b=value`` overrides applied before validation.

    `folder` is where a shared policy file is looked for; None for a pipeline that holds it already. What was
    `published` is read as it was then, names that YAML guessed and schedules included.
    Raises ``ConfigurationError`` with every problem, one line each, as ``where:line: path: problem``.
    """
    document, lines = read_document(text, where=where, overrides=overrides)
    if not published or overrides:
        refuse_guessed_names(document, lines, where)
    if isinstance(document.get("gates"), dict):
        fill_in_shared_policy(document["gates"], folder, lines, where)
    fill_in_schema(document, folder, lines, where)
    return validated(PipelineSpec, document, lines, where=where, written=not published)


def read_document(text: str, *, where: str, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], Lines]:
    """The document with its overrides, and the lines of its keys. Raises ``ConfigurationError``."""
    document, lines = parse_yaml(text, where=where, expected="name, workload, source and gates")
    try:
        for assignment in overrides:
            _assign(document, assignment)
    except (KeyError, IndexError, ValueError) as exc:
        raise ConfigurationError(f"--set: no such place: {exc}") from exc
    return composed(document), lines


OVER_A_SCHEMA = "mlratchet.models.workloads.fields:SchemaWorkload"
ROLES = {"label": "label_column", "id": "id_column", "group": "group_column"}  # of a schema -> option of a table
TABLES = (None, "csv", "parquet", "jsonl")


def takes_a_schema(use: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a workload reads by the schema of its pipeline; another one says by itself what it reads."""
    if use == OVER_A_SCHEMA or "schema" in parameters:
        return True
    try:
        return not is_ours(use) and "schema" in workload_parameters(use)
    except ConfigurationError:
        return False  # there is no such class, which is told when it is looked for


def plain_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same document, wherever it was written and whatever of it goes without saying."""
    try:
        return Schema.model_validate(schema).model_dump(mode="json", exclude_defaults=True)
    except ValueError:
        return schema  # what is wrong there is told when the file is validated


def whole_preparation(section: Any) -> Any:
    """The same document, whether it was written by hand or published: a revision that is read again is itself."""
    try:
        return section and PreparationSection.model_validate(section).model_dump(mode="json")
    except ValueError:
        return section  # as above


def fill_in_schema(document: dict[str, Any], folder: Path | None, lines: Lines, where: str) -> None:
    """Read the schema file that a document names, hand schema and preparation to its workload where that takes them,
    and to its source the columns that they name: what is said once holds for all of them.

    Raises ``ConfigurationError`` for a schema file that is none."""
    if isinstance(document.get("schema"), str):
        document["schema"] = _schema_beside(document["schema"], folder, lines, where)
    schema, source = document.get("schema"), document.get("source")
    if not isinstance(schema, Mapping):
        return
    workload = document.setdefault("workload", {})
    if not isinstance(workload, dict) or not isinstance(workload.setdefault("parameters", {}), dict):
        return  # what is wrong there is told when it is validated
    if takes_a_schema(str(workload.setdefault("use", OVER_A_SCHEMA)), workload["parameters"]):
        said = {"schema": plain_schema(schema), "preparation": whole_preparation(document.get("preparation"))}
        workload["parameters"] |= {name: value for name, value in said.items() if value is not None}
    fill_in_form(document, schema.get("fields"))
    if isinstance(source, dict) and source.get("format") in TABLES:
        for role, option in ROLES.items():
            if isinstance(schema.get(role), str):
                source.setdefault(option, schema[role])


def fill_in_form(document: dict[str, Any], fields: Any) -> None:
    """The order of the fields, which is that of a person's table, stands where the server reads it: what is published
    has its keys in the order of the alphabet."""
    if not isinstance(fields, Mapping) or [*fields] == sorted(map(str, fields)):
        return
    serving = document.setdefault("serving", {})
    if isinstance(serving, dict):  # what is wrong there is told when it is validated
        serving.setdefault("form", [*fields])


def fill_in_shared_policy(gates: dict[str, Any], folder: Path | None, lines: Lines, where: str) -> None:
    """Put the shared policy that a file names beside its name."""
    if folder is None:  # published: what was deployed is what applies
        if gates.get("policy") is not None and gates.get("shared") is None:
            raise ConfigurationError(f"{where}: gates.policy: published without its file; run `ratchet deploy`")
        return
    if "shared" in gates:
        line = lines.of(("gates", "shared"))
        raise ConfigurationError(f"{where}:{line}: gates.shared: name the file of the shared policy as `policy`")
    if isinstance(gates.get("policy"), str):
        try:
            gates["shared"] = read_shared_policy(folder / gates["policy"]).model_dump(mode="json")
        except ConfigurationError as exc:
            raise ConfigurationError(f"{where}:{lines.of(('gates', 'policy'))}: gates.policy: {exc}") from exc


def _schema_beside(name: str, folder: Path | None, lines: Lines, where: str) -> dict[str, Any]:
    """The document of the schema file that a pipeline file names. Raises ``ConfigurationError`` with both places."""
    line = f"{where}:{lines.of(('schema',))}"
    if folder is None:
        raise ConfigurationError(f"{line}: schema: published without its file; run `ratchet deploy`")
    try:
        return read_schema(folder / name).model_dump(mode="json", exclude_defaults=True)
    except ConfigurationError as exc:
        raise ConfigurationError(f"{line}: schema: {exc}") from exc


def read_schema(path: Path) -> Schema:
    """A schema file, as strict as a pipeline file. Raises ``ConfigurationError``."""
    document, lines = parse_yaml(read_text(path), where=str(path), expected="fields, label, id, group and time")
    document = composed(document)
    refuse_guessed_schema(document, lines, str(path))
    return validated(Schema, document, lines, where=str(path))


def read_shared_policy(path: Path) -> SharedPolicy:
    """A policy file of an organisation, as strict as a pipeline file. Raises ``ConfigurationError``."""
    document, lines = parse_yaml(read_text(path), where=str(path), expected="name and checks by gate")
    return validated(SharedPolicy, document, lines, where=str(path))


def read_pipeline(path: Path, *, overrides: Sequence[str] = ()) -> PipelineSpec:
    """`parse_pipeline` of a file. Raises ``ConfigurationError`` when it cannot be read."""
    return parse_pipeline(read_text(path), where=str(path), overrides=overrides, folder=path.parent)


def find_pipeline(directory: Path, name: str) -> Path:
    """The file of a pipeline by its name: in the folder, else in a folder of it, which `ratchet deploy` leaves alone.

    Raises ``ConfigurationError`` with the nearest name.
    """
    files = {path.stem: path for pattern in ("*/*.yaml", "*.yaml") for path in sorted(directory.glob(pattern))}
    if name in files:
        return files[name]
    raise ConfigurationError(f"no pipeline {name!r} in {directory}; {nearest_hint(name, list(files))}")
