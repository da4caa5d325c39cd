"""How MLflow is told of a version: a pyfunc of the installed package, with names and types, without a `code:` folder.

Only the exported program of a directory comes from a training; what describes it is written here, from the signature.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mlratchet.infra.artifact import pyfunc
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.schema.fields import Schema as ExampleSchema
from mlratchet.models.schema.request import column_spec
from mlratchet.models.serving.contract import instances_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec

LOADER = pyfunc.__name__
RUNTIME = ("mlratchet", "torch", "mlflow", "numpy")  # what `mlflow models serve` needs


def describe_for_mlflow(
    directory: Path, signature: Signature, example: Inputs, instances: Sequence[Any] | None = None
) -> None:
    """Write `MLmodel`, the input example and the environment files beside an exported program, over what is there.

    `example`: a few rows; `instances`: the same as clients send them, where the version prepares those.
    """
    import mlflow.pyfunc

    with temporary_folder("mlmodel") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Path(folder) / "model"
        mlflow.pyfunc.save_model(
            str(made),
            loader_module=LOADER,
            signature=mlflow_signature(signature),
            input_example=shown(signature, example, instances),
            pip_requirements=[f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in RUNTIME],
        )
        for file in made.iterdir():
            shutil.copyfile(file, directory / file.name)


def shown(signature: Signature, example: Inputs, instances: Sequence[Any] | None = None) -> Any:
    """The example as a client of MLflow would send it: a table, and tensors that have names, by name."""
    if not by_name(signature) and not signature.input.tensors:
        return example.array
    import pandas as pd

    if instances is not None and signature.input.example is not None:
        names = ExampleSchema.model_validate_json(signature.input.example.schema).inputs
        return pd.DataFrame(list(instances), columns=list(names))
    if signature.input.tensors:
        return pd.DataFrame(instances_of(example))
    return pd.DataFrame(example.array.astype(column_type(signature)), columns=list(signature.input.columns))


def by_name(signature: Signature) -> bool:
    """Whether rows have columns."""
    return signature.input.kind == "table" and bool(signature.input.columns)


def column_type(signature: Signature) -> str:
    """What pandas holds such a column in."""
    return "int64" if np.dtype(signature.input.dtype).kind in "iu" else "float64"


def mlflow_signature(signature: Signature) -> Any:
    """Columns and answers by name. MLflow refuses whole numbers for a column of floats, and takes them for a named
    tensor of them; it knows no tensor that may be missing, so that columns with a default have any type, which the
    loaded model checks as the server does."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    spec, kind = signature.input, np.dtype(column_type(signature))
    optional = dict(spec.defaults)
    inputs: list[Any]
    if spec.example is not None:
        told = column_spec(ExampleSchema.model_validate_json(spec.example.schema))
        inputs = [ColSpec(any_type(), one["name"], required=bool(one["required"])) for one in told]
    elif spec.tensors:
        inputs = [ColSpec(_column_of(one), one.name) for one in spec.tensors]
    elif not by_name(signature):
        inputs = [TensorSpec(np.dtype(spec.dtype), (-1, *spec.shape))]
    elif optional:
        inputs = [ColSpec(any_type(), name, required=name not in optional) for name in spec.columns]
    elif kind.kind == "i":
        inputs = [ColSpec("long", name) for name in spec.columns]
    else:
        inputs = [TensorSpec(kind, (-1,), name) for name in spec.columns]
    answers = objective_of(signature.task).answer_schema(signature.classes)
    return ModelSignature(
        inputs=Schema(inputs), outputs=Schema([ColSpec(type_of(told), name) for name, told in answers.items()])
    )


def _column_of(tensor: TensorSpec) -> Any:
    """MLflow's type of a named tensor: nested lists in a column of a frame. Numbers have any type, since it refuses
    whole ones for a column of floats."""
    from mlflow.types.schema import Array, DataType

    if np.dtype(tensor.dtype).kind not in "iu":
        return any_type()
    kind: Any = DataType.long
    for _ in range(len(tensor.shape) + tensor.ragged):
        kind = Array(kind)
    return kind


def type_of(told: dict[str, Any]) -> Any:
    """MLflow's type of one field of an answer, from its JSON schema."""
    from mlflow.types.schema import Array, DataType, Object, Property

    plain = {"string": "string", "number": "double", "integer": "long", "boolean": "boolean"}
    kind = told.get("type")
    if kind in plain:
        return DataType[plain[kind]]
    if kind == "array" and "items" in told:
        return Array(type_of(told["items"]))
    if kind == "object" and told.get("properties"):
        return Object([Property(name, type_of(one)) for name, one in told["properties"].items()])
    return any_type()


def any_type() -> Any:
    """MLflow's."""
    from mlflow.types import schema

    kind: Any = schema.AnyType
    return kind()
