"""Hold the gates and the source of a pipeline against its workload, before anything trains."""

from __future__ import annotations

from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.data.split_rules import GivenSplit
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.finding import is_ours
from mlratchet.models.gates.validation import validate_policy
from mlratchet.models.identity.declared import declared_by
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.promotion.canary.config import canary_problems
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.formats import format_read, options_of, references_of
from mlratchet.models.workloads.base import Workload


def check_gates(spec: PipelineSpec, workload: Workload) -> list[str]:
    """Everything about the gates of a pipeline, and what requests may hold. Warnings; raises ``ConfigurationError``."""
    columns = workload.input_spec().columns
    problems = [
        f"serving.defaults: no column {name!r} in {', '.join(columns) or 'this kind of input'}; "
        f"{nearest_hint(name, sorted(columns))}"
        for name in spec.serving.defaults
        if name not in columns
    ]
    problems += canary_problems(spec.serving.canary, spec.gates, logged=spec.serving.log.enabled)
    if spec.source.inference_log is not None:
        from mlratchet.models.inference_log.training_rows import problems_of  # Arrow: who only reads waits for none

        problems += problems_of(spec.example_schema, spec.source.format or "csv", spec.serving.log)
    try:
        signature_of(workload, spec.serving.defaults, spec.serving.ranges)
    except ConfigurationError as error:
        problems.append(str(error))
    try:
        warnings = policy_warnings(spec, workload)
    except ConfigurationError as error:
        problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return warnings


def carried(spec: PipelineSpec) -> tuple[str, ...] | None:
    """Columns that a slice can be by; None where only the data tells."""
    from mlratchet.models.workloads.cold_start import carried_columns  # Arrow: who only reads waits for none

    if spec.example_schema is None or "schema" not in spec.workload.parameters:
        return spec.source.carried()
    return carried_columns(spec.example_schema, spec.preparation or PreparationSection())


def policy_warnings(spec: PipelineSpec, workload: Workload) -> list[str]:
    """Of the gates alone."""
    return validate_policy(
        spec.gates,
        workload.objective.reference,
        workload.class_names(),
        columns=carried(spec),
        input_spec=workload.input_spec(),
    )


def check_split(spec: PipelineSpec) -> None:
    """Raises ``ConfigurationError`` for a split by what no record will tell."""
    rule, schema = spec.data.split, spec.example_schema
    if rule.by == "group" and spec.source.column_of("group") is None and (schema is None or schema.group is None):
        raise ConfigurationError(
            "data.split.by: group, and neither schema.group nor source.group_column names one; name the column, or "
            "write by: id"
        )
    if rule.by == "time" and (schema.time is None if schema is not None else is_ours(spec.workload.use)):
        times = [name for name, field in schema.fields.items() if field.kind == "time"] if schema is not None else []
        hint = f"; name one of {', '.join(times)}" if times else "; name a field of kind time"
        raise ConfigurationError(f"data.split.by: time, and schema.time names no field{hint}")
    if rule.by == "time" and is_ours(spec.workload.use) and "schema" not in spec.workload.parameters:
        raise ConfigurationError(
            f"data.split.by: time, and {spec.workload.use} reads no times; leave workload.use out, and the fields of "
            "the schema are learnt from"
        )
    if isinstance(rule, GivenSplit) and schema is not None and "schema" in spec.workload.parameters:
        _check_given(rule, schema)


def _check_given(rule: GivenSplit, schema: Schema) -> None:
    """Raises ``ConfigurationError`` for a column that does not travel with its row, or that the model would see."""
    field = schema.fields.get(rule.column)
    if field is None:
        hint = nearest_hint(rule.column, schema.fields, otherwise="declare it under schema.fields with input: false")
        raise ConfigurationError(f"data.split.column: no field {rule.column!r}; {hint}")
    if rule.column in schema.inputs or rule.column == schema.label:
        role = "the label" if rule.column == schema.label else "an input"
        raise ConfigurationError(
            f"data.split.column: {rule.column!r} is {role}: a model would be told its side; write input: false"
        )


def check_declared(spec: PipelineSpec) -> None:
    """Raises ``ConfigurationError`` for a file that is not there, and that a format, an optimizer's factory or a
    preparation declares. Those of the workload and of gates are looked at with them."""
    named = [("source.format", reference) for reference in references_of(spec.source)]
    named += [("train.optimizer.factory", one) for one in (spec.train.optimizer.factory,) if one is not None]
    own = spec.preparation.own if spec.preparation is not None else {}
    named += [(f"preparation.own.{name}.use", one.use) for name, one in own.items()]
    problems = []
    for key, reference in named:
        try:
            declared_by(reference, key)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))


def check_source(spec: PipelineSpec, workload: Workload) -> str:
    """The source in words. Raises ``ConfigurationError`` for a format that the workload does not read, and for an
    option that the format does not have."""
    name = format_read(spec.source, workload.formats)
    if name is None:
        return f"{spec.source.prefix}, read by the workload itself"
    options_of(spec.source, name)
    declared = getattr(spec.source, "decimal", None)
    columns = workload.number_columns(spec.source.model_dump(mode="json"))
    for column in declared if isinstance(declared, dict) else ():
        if column not in columns:
            raise ConfigurationError(
                f"source.decimal: {column!r} is no column of numbers; {nearest_hint(column, columns)}"
            )
    return f"{spec.source.prefix} as {name}{'' if spec.source.format else ', which the workload reads'}"
