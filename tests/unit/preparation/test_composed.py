"""A whole schema in one: which part prepares what, a preparation of the user's own, and what does not fit together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mlratchet.models import functions
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.preparation.base import Preparation, State
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.fields import Field, Schema
from pydantic import ValidationError

from tests.unit.preparation.examples import FIELDS, schema_of, table

OWN = '''
"""Prepares a basket."""
import numpy as np
from mlratchet.models.config import StrictModel
from mlratchet.models.preparation.base import Preparation, State
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec


class Options(StrictModel):
    times: int = 1


class Ages(Preparation):
    Options = Options

    def fit(self, pieces):
        ages = [age for piece in pieces() for age in piece["age"].drop_null().to_pylist()]
        return State(document={"oldest": max(ages)})

    def apply(self, examples, state):
        ages = np.nan_to_num(examples["age"].to_numpy())
        return Inputs({"share": (self.options.times * ages / state.document["oldest"]).astype(np.float32)})

    def tensors(self, state):
        return (TensorSpec(name="share", shape=(), dtype="float32"),)


class Stateless(Ages):
    def fit(self, pieces):
        return {"oldest": 3}


class Unstorable(Ages):
    def fit(self, pieces):
        return State(document={"oldest": np.float32(3)})


class Wide(Ages):
    def tensors(self, state):
        return (TensorSpec(name="share", shape=(2,), dtype="float32"),)


class Short(Ages):
    def apply(self, examples, state):
        return super().apply(examples.slice(1), state)


class Bare(Ages):
    def apply(self, examples, state):
        return {"share": [1.0]}
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's, by name."""
    (tmp_path / "basket_of_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "basket_of_mine"
    sys.modules.pop("basket_of_mine", None)


def plan_of(section: dict[str, Any], *names: str, **fields: Field) -> PreparationPlan:
    return PreparationPlan(
        schema_of(*(names or () if fields else names or FIELDS), **fields), PreparationSection.model_validate(section)
    )


def fitted(plan: PreparationPlan, rows: pa.Table | None = None) -> State:
    held = rows if rows is not None else table(40)
    return plan.fit(lambda: iter([held]))


def test_numbers_and_categories_are_packed_and_every_other_field_has_its_name() -> None:
    plan = plan_of({})
    state = fitted(plan)
    names = [spec.name for spec in plan.tensors(state)]
    assert names == ["numbers", "categories", "user", "note", "photo", "voice", "dna", "point"]
    numbers = [one.name for one in plan.features(state) if one.tensor == "numbers"]
    assert numbers[:4] == ["age", "pay", "age is not given", "pay is not given"]
    assert numbers[-1] == "seen is not given"


def test_the_label_and_what_is_no_input_are_not_prepared() -> None:
    fields = {"age": FIELDS["age"], "pay": FIELDS["pay"], "seen": Field(kind="time", input=False)}
    assert [part.name for part in PreparationPlan(Schema(fields=fields, label="pay")).parts] == ["age"]


def test_fields_with_options_of_their_own_are_prepared_by_them() -> None:
    plan = plan_of({"fields": {"pay": {"scale": "none", "indicator": False}}}, "age", "pay")
    rows = table(40)
    found = plan.apply(rows, fitted(plan, rows)).array
    names = [one.name for one in plan.features(fitted(plan, rows))]
    assert names == ["age", "age is not given", "pay"]
    pays = rows["pay"].to_pylist()
    assert [one for one, pay in zip(found[:, 2].tolist(), pays, strict=True) if pay is not None] == pytest.approx(
        [pay for pay in pays if pay is not None]
    )


def test_the_options_of_a_field_count_more_than_those_of_its_kind() -> None:
    plan = plan_of({"kinds": {"number": {"log": True, "limit": 5}}, "fields": {"pay": {"log": False}}}, "age", "pay")
    options = {name: part.options for part in plan.parts for name in part.fields}
    assert (options["age"]["log"], options["age"]["limit"]) == (True, 5.0)
    assert (options["pay"]["log"], options["pay"]["limit"]) == (False, 5.0)


def test_a_field_can_be_dropped() -> None:
    plan = plan_of({"fields": {"pay": "drop"}}, "age", "pay")
    assert [one.field for one in plan.features(fitted(plan))] == ["age", "age"]


def test_rows_are_read_once_for_all_that_need_one_reading() -> None:
    rows, readings = table(40), []

    def pieces() -> Iterator[pa.Table]:
        readings.append(1)
        yield rows

    plan_of({"fields": {"seen": "drop"}}).fit(pieces)
    assert len(readings) == 1
    plan_of({"kinds": {"number": {"clip": [0.1, 0.9]}}}).fit(pieces)  # ages and cut tails: twice
    assert len(readings) == 3


def test_no_training_row_is_an_error() -> None:
    with pytest.raises(DataError, match="no training row to fit on"):
        fitted(plan_of({}, "age"), table(0))


def test_a_table_without_a_field_is_an_error_that_names_it() -> None:
    plan = plan_of({}, "age", "job")
    with pytest.raises(DataError, match=r"examples have no column 'job', got age"):
        plan.apply(table(3).select(["age"]), fitted(plan))


def test_the_state_of_another_plan_is_refused() -> None:
    state = fitted(plan_of({}, "age"))
    for other, message in (
        (plan_of({}, "job"), "part 1 was fitted with name age, expected job; fit it again"),
        (plan_of({}, "age", "job"), "part 2 was fitted with name None, expected job"),
        (
            plan_of({"kinds": {"number": {"log": True}}}, "age"),
            "part 1 was fitted with options .*'log': False.*'log': True",
        ),
        (plan_of({}, age=Field(kind="number")), "part 1 was fitted with fields .*'nullable': True"),
    ):
        with pytest.raises(DataError, match=message):
            other.apply(table(3), State.from_bytes(state.to_bytes()))
        with pytest.raises(DataError, match=message):
            other.apply(table(3), state)


def test_what_cannot_be_decoded_is_said_before_the_fit() -> None:
    rows = table(3).set_column(list(FIELDS).index("photo"), "photo", pa.array([b"no picture"] * 3, pa.binary()))
    assert [(one.field, one.code) for one in plan_of({}).refused(rows)] == [("photo", "not_an_image")] * 3


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"fields": {"agee": {}}}, r"preparation.fields.agee: no input 'agee' in the schema; did you mean 'age'"),
        ({"fields": {"age": {"clipp": [0, 1]}}}, r"preparation.fields.age.clipp: no such option; did you mean 'clip'"),
        ({"kinds": {"number": {"limit": -1}}}, r"preparation.kinds.number.limit: .*greater than 0, got '-1'"),
        ({"fields": {"age": {"clip": [0.9, 0.1]}}}, r"preparation.fields.age.clip: .*the lower first"),
        ({"fields": {"age": {"impute": "modus"}}}, r"preparation.fields.age.impute"),
        ({"fields": {"age": "drop", "pay": "drop"}}, r"every input is dropped; leave one"),
        ({"own": {"a": {"use": "m:C", "fields": ["age"]}, "b": {"use": "m:C", "fields": ["age"]}}}, r"stands in prep"),
        ({"own": {"a": {"use": "m:C", "fields": ["agee"]}}}, r"own.a.fields: no input 'agee'"),
    ],
)
def test_a_section_that_does_not_fit_is_refused_with_its_place(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plan_of(section, "age", "pay")


@pytest.mark.parametrize("section", [{"kinds": {"numbers": {}}}, {"fields": {"age": "dropp"}}, {"own": {"a": {}}}])
def test_what_no_section_holds_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PreparationSection.model_validate(section)


def test_a_name_that_python_does_not_take_is_made_one_and_two_of_one_name_are_refused() -> None:
    plan = plan_of({}, **{"user id": FIELDS["user"], "2nd": FIELDS["user"]})
    rows = pa.table({"user id": ["a", "b"], "2nd": ["a", "b"]})
    assert [spec.name for spec in plan.tensors(fitted(plan, rows))] == ["user_id", "_2nd"]
    with pytest.raises(ConfigurationError, match=r"'user_id', as that of field 'user id'; rename the column"):
        plan_of({}, **{"user id": FIELDS["user"], "user_id": FIELDS["note"]})
    with pytest.raises(ConfigurationError, match=r"'note_lengths', as the lengths of field 'note'"):
        plan_of({}, note=FIELDS["note"], note_lengths=FIELDS["user"])
    with pytest.raises(ConfigurationError, match="as the tensor of all numbers"):
        plan_of({}, numbers=FIELDS["note"])


def test_a_class_of_the_users_prepares_its_fields(own: str) -> None:
    section = {"own": {"basket": {"use": f"{own}:Ages", "fields": ["age"], "options": {"times": 2}}}}
    plan, rows = plan_of(section, "age", "job"), table(40)
    state = State.from_bytes(fitted(plan, rows).to_bytes())
    found = plan.apply(rows, state)
    assert found.names == ("categories", "share")
    ages = [age or 0.0 for age in rows["age"].to_pylist()]
    assert found.columns["share"].tolist() == pytest.approx([2 * age / max(ages) for age in ages])  # type: ignore[union-attr]


def test_options_of_the_users_class_are_checked(own: str) -> None:
    plan = plan_of({"own": {"b": {"use": f"{own}:Ages", "fields": ["age"], "options": {"tims": 2}}}}, "age")
    with pytest.raises(
        ConfigurationError, match=r"preparation.own.b.options.tims: no such option; did you mean 'times'"
    ):
        fitted(plan)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Wide", r"Wide: apply gave share \(float32 \[\]\), expected share \(float32 \[2\]\)"),
        ("Short", r"Short: apply gave Inputs\(39 rows of share\), expected 40 rows of share"),
        ("Bare", r"Bare: apply gave dict, expected Inputs"),
    ],
)
def test_a_class_that_gives_other_tensors_than_it_says_is_told_so(own: str, name: str, message: str) -> None:
    plan, rows = plan_of({"own": {"b": {"use": f"{own}:{name}", "fields": ["age"]}}}, "age"), table(40)
    with pytest.raises(ConfigurationError, match=message):
        plan.apply(rows, fitted(plan, rows))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Stateless", "Stateless: fit gave dict, expected a State"),
        ("Unstorable", "Unstorable: what fit gave cannot be stored: .*float32.*; document takes JSON values"),
    ],
)
def test_a_class_that_fits_what_cannot_be_stored_is_told_so(own: str, name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        fitted(plan_of({"own": {"b": {"use": f"{own}:{name}", "fields": ["age"]}}}, "age"))


def test_the_users_class_is_loaded_where_it_is_used_and_nowhere_else(own: str) -> None:
    """A process that may hold a key makes plans and tells their identity."""
    functions.keep_out(True)
    try:
        plan = plan_of({"own": {"b": {"use": f"{own}:Ages", "fields": ["age"]}}}, "age", "job")
        assert own in plan.closure().modules
        assert len(plan.digest()) == 64
        assert own not in sys.modules
        with pytest.raises(functions.KeptOutError):
            fitted(plan)
    finally:
        functions.keep_out(False)


def test_the_identity_moves_with_what_decides_and_with_nothing_else(own: str, tmp_path: Path) -> None:
    base = plan_of({}, "age", "job").digest()
    assert plan_of({"kinds": {"text": {"lowercase": True}}}, "age", "job").digest() == base  # no text there
    assert plan_of({}, "age", job=Field(kind="category", nullable=True, description="what they do")).digest() == base
    assert plan_of({"kinds": {"number": {"log": True}}}, "age", "job").digest() != base
    assert plan_of({}, "age", job=Field(kind="category")).digest() != base
    section = {"own": {"b": {"use": f"{own}:Ages", "fields": ["age"]}}}
    before = plan_of(section, "age").digest()
    (tmp_path / "basket_of_mine.py").write_text(OWN.replace("nan_to_num", "abs"))
    assert plan_of(section, "age").digest() != before


def test_the_identity_has_the_code_and_packages_of_the_kinds_that_there_are() -> None:
    def code(plan: PreparationPlan) -> set[str]:
        return {name.rpartition(".")[2] for name in plan.closure().product}

    numbers, texts = plan_of({}, "age"), plan_of({}, "note")
    assert {"numbers", "exact", "base", "composed"} <= code(numbers)
    assert not {"text", "images", "audio"} & code(numbers)
    assert "text" in code(texts)
    assert numbers.identity()["packages"] == {}
    assert list(texts.identity()["packages"]) == ["tokenizers"]


def test_a_plan_is_a_preparation() -> None:
    assert isinstance(plan_of({}, "age"), Preparation)


def test_a_plan_of_every_kind_imports_nothing_heavy() -> None:
    """A server makes one as it starts; what decodes or trains comes with the first example that needs it."""
    code = (
        "import sys\n"
        "from mlratchet.models.preparation.composed import PreparationPlan\n"
        "from mlratchet.models.schema.fields import Schema\n"
        "plan = PreparationPlan(Schema.model_validate_json(sys.argv[1]))\n"
        "plan.loaded\n"
        "print(' '.join({'torch', 'scipy', 'sklearn', 'tokenizers', 'soundfile'} & set(sys.modules)))"
    )
    asked = Schema(fields=dict(FIELDS)).model_dump_json()
    done = subprocess.run([sys.executable, "-c", code, asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
