"""The page of a decision shows every check and takes nothing from data for HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mlratchet.models.decisions.decision import build_decision
from mlratchet.models.decisions.page import decision_page
from mlratchet.models.gates.checks.absolute import AbsoluteCheck
from mlratchet.models.gates.checks.slices import SliceCheck
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import judge
from mlratchet.models.metrics.rows import RowOutputs


def test_the_page_shows_checks_slices_reasons_and_digests(classified: Callable[..., RowOutputs]) -> None:
    rows = replace(classified(), columns={"region": ["<script>x</script>", "us"] * 200}, dataset_id="d")
    checks = (
        AbsoluteCheck(kind="absolute", metric="accuracy", minimum=0.95),
        SliceCheck(kind="slice", metric="accuracy", by=("region",), minimum=0.5),
    )
    result = judge("candidate", checks, Evidence(candidate=rows, dataset_id="d", holdout_uses=3), first_model=True,
                   task="classification", class_names=("0", "1", "2"))  # fmt: skip
    decision = build_decision(
        "p", "candidate", result, version=7, work_key="k", champion_version=6, digests={"rows": "rows/abc"},
        actor="<b>eve</b>", now_s=0.0, run_id="r",
    )  # fmt: skip
    page = decision_page(decision, "digest0")
    for words in ("candidate gate of p: fail", "version 7, compared with version 6", "digest0", "rows/abc",
                  "&lt;b&gt;eve", "0.9000", "&gt;= 0.95", "region=us", "gated 3 times", "Clopper-Pearson"):  # fmt: skip
        assert words in page
    assert "<script>" not in page
    assert "<b>eve" not in page
    assert page.count("<tr>") == 3 + 3 + 2  # two checks, two slices, one digest, with their heads
