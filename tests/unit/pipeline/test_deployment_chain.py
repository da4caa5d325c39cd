"""Which revision a run takes is said by signed records, whoever starts it and whoever writes to the bucket."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.pipeline.changes import Changes, changed_pipeline
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import (
    ORDER_S,
    broken_deployments,
    deployed_revisions,
    deployment_key,
    newest_deployment,
    publish_deployment,
    publish_order,
    publish_pipeline,
    take_order,
)
from mlratchet.tasks.wiring import deployed_revision, open_run

TEXT = """
name: table
workload:
  use: mlratchet.models.workloads.tabular:TableClassifier
  parameters: {columns: [a, b], classes: ["no", "yes"], hidden: 8}
source: {prefix: t/}
train: {processes: 2, epochs: 3}
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: MINIMUM}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
tune:
  metric: accuracy
  space: {workload.parameters.hidden: {kind: int, low: 4, high: 16}}
"""


def spec(minimum: float = 0.5) -> PipelineSpec:
    return parse_pipeline(TEXT.replace("MINIMUM", str(minimum)), where="test")


class Site:
    """A bucket, and an installation that runs what is deployed there."""

    def __init__(self, home: Path) -> None:
        self.raw, self.keys = MemoryStore("store"), MemoryKeys()
        self.store = RecordStore(self.raw, self.keys)
        settings = SimpleNamespace(home=home, s3_endpoint_url="http://s3", s3_region="r", store_bucket="store")
        self.adapters: Any = SimpleNamespace(store=self.store, settings=settings)

    def deploy(self, made: PipelineSpec) -> str:
        revision = publish_pipeline(self.store, made)
        publish_deployment(self.store, "table", revision, actor="ada", at_s=1.0)
        return revision


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_run_takes_the_newest_entry_and_the_same_again_adds_none(site: Site) -> None:
    first, second = site.deploy(spec(0.5)), site.deploy(spec(0.6))
    assert deployed_revision(site.adapters, "table") == second
    assert site.deploy(spec(0.6)) == second
    newest = newest_deployment(site.store, "table")
    assert newest is not None
    assert (newest.number, newest.actor) == (2, "ada")
    assert site.deploy(spec(0.5)) == first  # an older file, deployed again, is an entry of its own
    assert deployed_revision(site.adapters, "table") == first
    assert broken_deployments(site.store, "table") == []
    assert deployed_revisions(site.store) == {"table": first}


def test_nobody_without_the_key_can_say_what_is_deployed(site: Site) -> None:
    weak = publish_pipeline(site.raw, spec(0.0001))  # a revision is named by its digest: anybody can make one
    with pytest.raises(ConfigurationError, match=r"no signed deployment.*ratchet deploy table"):
        deployed_revision(site.adapters, "table")
    revision = site.deploy(spec())
    planted = {"name": "table", "number": 2, "revision": weak, "previous": "", "actor": "x", "at_s": 2.0}
    site.raw.put(deployment_key("table", 2), canonical_json(planted))
    site.raw.put("deployments/table.json", canonical_json({"name": "table", "revision": weak}))  # as it once was
    assert deployed_revision(site.adapters, "table") == revision
    assert any("not signed" in line for line in broken_deployments(site.store, "table"))
    site.deploy(spec(0.7))
    assert deployed_revision(site.adapters, "table") == spec(0.7).revision()
    assert [info.key for info in site.raw.list("aside/")] == [
        f"aside/{digest_bytes(canonical_json(planted))}/deployments/table/00000002.json"
    ]


def test_an_older_entry_under_a_newer_name_is_not_believed(site: Site) -> None:
    site.deploy(spec(0.5))
    last = site.deploy(spec(0.6))
    site.raw.put(deployment_key("table", 3), site.raw.get(deployment_key("table", 1)))
    assert deployed_revision(site.adapters, "table") == last


@pytest.mark.parametrize("harm", ["delete", "edit"])
def test_a_chain_that_was_cut_is_noticed_where_its_end_was_seen(site: Site, harm: str) -> None:
    site.deploy(spec(0.5))
    site.deploy(spec(0.6))
    deployed_revision(site.adapters, "table")
    if harm == "delete":
        site.raw.delete(deployment_key("table", 2))
    else:
        site.raw.put(deployment_key("table", 2), b"{}")
    with pytest.raises(SecurityError, match=r"entry 2 was the newest here.*ratchet deploy table"):
        deployed_revision(site.adapters, "table")
    site.deploy(spec(0.7))  # another second entry than was seen
    with pytest.raises(SecurityError, match="entry 2"):
        deployed_revision(site.adapters, "table")
    site.deploy(spec(0.8))
    assert deployed_revision(site.adapters, "table") == spec(0.8).revision()


def test_an_audit_sees_a_gap_and_an_entry_that_does_not_follow(site: Site) -> None:
    for minimum in (0.5, 0.6, 0.7):
        site.deploy(spec(minimum))
    entry = json.loads(site.raw.get(deployment_key("table", 2)))
    site.raw.delete(deployment_key("table", 2))
    assert ["expected entry 2" in line for line in broken_deployments(site.store, "table")] == [True]
    del entry["signed"]
    site.store.create(deployment_key("table", 2), canonical_json({**entry, "previous": "0" * 64}))
    assert ["does not follow" in line for line in broken_deployments(site.store, "table")] == [True, True]


def test_an_order_is_for_one_run_signed_and_does_not_wait_for_ever(site: Site) -> None:
    revision = publish_pipeline(site.store, spec(0.6))
    order = publish_order(site.store, "table", revision, actor="ada", at_s=1.0)
    taken = take_order(site.store, "table", order, run_id="one", now_s=2.0)
    assert (taken.revision, taken.actor) == (revision, "ada")
    assert take_order(site.store, "table", order, run_id="one", now_s=2.0) == taken  # a retry of the run
    with pytest.raises(ConfigurationError, match="was for another run"):
        take_order(site.store, "table", order, run_id="two", now_s=2.0)
    late = publish_order(site.store, "table", revision, actor="ada", at_s=1.0)
    with pytest.raises(ConfigurationError, match="waited longer than 7 d"):
        take_order(site.store, "table", late, run_id="one", now_s=2.0 + ORDER_S)
    for other in (revision, "0" * 64, "../x"):
        with pytest.raises(SecurityError):
            take_order(site.store, "table", other, run_id="one", now_s=2.0)
    with pytest.raises(SecurityError, match="no signed order"):  # of another pipeline
        take_order(site.store, "letters", order, run_id="one", now_s=2.0)


def test_an_order_that_somebody_planted_is_none(site: Site) -> None:
    weak = publish_pipeline(site.raw, spec(0.0001))
    planted = {"name": "table", "revision": weak, "actor": "x", "at_s": 1.0, "token": "t"}
    site.raw.put("orders/table/planted.json", canonical_json(planted))
    with pytest.raises(SecurityError, match="no signed order planted"):
        take_order(site.store, "table", "planted", run_id="one", now_s=2.0)


def test_a_revision_of_another_pipeline_is_refused(site: Site) -> None:
    other = publish_pipeline(site.store, spec().model_copy(update={"name": "letters"}))
    publish_deployment(site.store, "table", other, actor="a", at_s=1.0)
    with pytest.raises(SecurityError, match="is of pipeline letters, but table was asked for"):
        open_run(site.adapters, "table", "", Changes(), run_id="r", actor="a")


def test_the_form_says_what_the_signed_file_allows_and_no_more() -> None:
    made = changed_pipeline(
        spec(), Changes(named={"train.epochs": 9}, tuned={"workload.parameters.hidden": 16}, processes=1)
    )
    assert (made.train.epochs, made.train.processes, made.workload.parameters["hidden"]) == (9, 1, 16)
    assert made.gates == spec().gates
    assert changed_pipeline(spec(), Changes()) == spec()
    for changes, words in (
        (Changes(processes=3), "declares 2"),
        (Changes(tuned={"workload.parameters.hidden": 17}), "not in tune.space"),
        (Changes(tuned={"workload.parameters.hidden": "8"}), "not in tune.space"),
        (Changes(tuned={"gates.candidate.0.minimum": 0.0}), "not in tune.space"),
        (Changes(tuned={"workload.use": "evil:Code"}), "not in tune.space"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            changed_pipeline(spec(), changes)


def test_the_flows_have_no_parameter_for_a_revision_or_for_other_settings() -> None:
    from mlratchet.flows.parameters import RetrainParameters, TuneParameters
    from mlratchet.flows.retrain import retrain
    from mlratchet.flows.tune import tune

    assert list(retrain.parameters.properties) == ["pipeline", "parameters", "order", "finding"]
    assert list(tune.parameters.properties) == ["pipeline", "parameters", "order"]
    for form in (RetrainParameters, TuneParameters):
        assert not {"set", "revision"} & set(form.model_fields)
        with pytest.raises(ValueError, match="Extra inputs"):
            form(set=["gates.candidate.0.minimum=0"])  # type: ignore[call-arg]
