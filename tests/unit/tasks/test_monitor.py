"""What the monitor tells: a run per window in MLflow, a table in Prefect, a notification; how a finding is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows.cli.monitor import seconds_of, show_stretches
from mlratchet.infra import notify as telling
from mlratchet.infra.notify import NotifyError, notify
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.tracking.memory import MemoryTracker
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.monitoring.actions import Act, FindingAnswer
from mlratchet.models.monitoring.answers import publish_answer, said_about
from mlratchet.models.monitoring.finding import findings_of
from mlratchet.models.monitoring.window import windows_of
from mlratchet.tasks.actions import monitor
from mlratchet.tasks.actions.monitor import Story, find_finding, stretches_by_rows
from mlratchet.tasks.showing.monitor_pages import finding_rows, points_of, show_windows, window_name, write_gauges
from mlratchet.tasks.support.watching import by_field
from pydantic import SecretStr

from tests.unit.monitoring.site import Site, Traffic


@pytest.fixture(scope="module")
def site() -> Site:
    site = Site()
    site.serve(*[Traffic(minute) for minute in range(2)], *[Traffic(at, accuracy=0.5) for at in range(2, 4)])
    site.look()
    return site


def story(site: Site) -> Story:
    return Story(
        pipeline="shop", config=site.config, windows=windows_of(site.store, "shop"),
        findings=tuple(findings_of(site.store, "shop")), gaps=(), reference=site.reference,
    )  # fmt: skip


def test_a_window_is_a_run_and_a_point_of_curves_over_all_of_them(site: Site) -> None:
    tracker = MemoryTracker(MemoryStore("mlflow"))
    adapters: Any = SimpleNamespace(tracker=tracker)
    told = story(site)
    show_windows(adapters, told, flow_run="f")
    again = show_windows(adapters, told, flow_run="f")  # a look that was killed is repeated
    assert again is not None
    assert tracker.running_runs() == []


def test_windows_of_a_look_that_was_killed_or_of_another_one_are_shown_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ratchet monitor NAME` shows none in MLflow, and nobody does while it is away."""
    tracker, opened = MemoryTracker(MemoryStore("mlflow")), list[str]()
    plain = tracker.open_run

    def open_run(experiment: str, **more: Any) -> str:
        opened.append(more["work_key"])
        return plain(experiment, **more)

    monkeypatch.setattr(tracker, "open_run", open_run)
    told = story(site)
    for _ in range(2):
        show_windows(SimpleNamespace(tracker=tracker), told, flow_run="f")  # type: ignore[arg-type]  # of it the tracker
    assert len(told.windows) == 4
    assert [opened.count(one.digest()) for one in told.windows] == [1] * 4


def test_windows_of_one_minute_have_names_of_their_own_in_mlflow(site: Site) -> None:
    record = story(site).windows[-1]

    def named(from_s: float) -> str:
        return window_name(record.model_copy(update={"window": record.window.model_copy(update={"from_s": from_s})}))

    names = [named(one) for one in (0.0, 10.0, 3600.0)]
    assert names == ["1970-01-01 00:00", "1970-01-01 00:00:10", "1970-01-01 01:00"]


def test_every_figure_of_a_window_is_a_metric_that_mlflow_takes(site: Site) -> None:
    names = [name for name, _ in points_of(story(site).windows[-1])]
    assert len(set(names)) == len(names)
    assert {"accuracy", "accuracy_low", "drift/price", "errors", "latency_ms_p99", "findings"} <= set(names)


def test_a_document_of_the_story_holds_no_sketches(site: Site) -> None:
    document = story(site).document()
    assert document["windows"][0]["figures"]["errors"]["value"] == 0.0
    assert "sketches" not in document["windows"][0]
    assert {len(one["id"]) for one in document["findings"]} == {64}


def test_windows_are_shown_merged_by_rows_and_all_together(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.store.create(f"windows/shop/reference-{site.reference.digest()}.json", site.reference.canonical())
    told = story(site)
    by_rows = stretches_by_rows(SimpleNamespace(store=site.store), told, 400)  # type: ignore[arg-type]  # of it the store
    assert [(one.windows, one.counts["rows"]) for one in by_rows] == [(2, 480), (2, 480)]
    assert told.stretch is not None
    assert told.stretch.counts["rows"] == 960
    assert told.document()["stretch"]["drifts"][0]["n"] == 960
    show_stretches([told.stretch])
    shown = capsys.readouterr().out
    assert "960" in shown
    assert "price" in shown


def test_prometheus_is_told_of_the_newest_window_where_there_is_a_folder(site: Site, tmp_path: Path) -> None:
    told = story(site)
    write_gauges(SimpleNamespace(settings=SimpleNamespace(metrics_folder=tmp_path)), told)  # type: ignore[arg-type]  # of it the settings
    text = (tmp_path / "ratchet-shop.prom").read_text()
    assert 'ratchet_quality_promise_broken{metric="accuracy",pipeline="shop"} 1.0' in text
    held = sum(one["severity"] == "alarm" for one in told.windows[-1].open.values())
    assert held > 0
    assert f'ratchet_findings_open{{pipeline="shop",severity="alarm"}} {float(held)}' in text
    write_gauges(SimpleNamespace(settings=SimpleNamespace(metrics_folder=tmp_path / "gone")), told)  # type: ignore[arg-type]  # likewise
    write_gauges(SimpleNamespace(settings=SimpleNamespace(metrics_folder=None)), told)  # type: ignore[arg-type]  # likewise


def test_a_finding_is_named_by_its_first_digits(site: Site) -> None:
    adapters: Any = SimpleNamespace(store=site.store)
    first = next(findings_of(site.store, "shop"))
    assert find_finding(adapters, first.id[:10]) == first
    with pytest.raises(ConfigurationError, match="no finding begins so"):
        find_finding(adapters, "0" * 12)
    with pytest.raises(ConfigurationError, match="6 or more digits"):
        find_finding(adapters, "ab")
    assert finding_rows([first])[0]["id"] == first.id[:12]
    planted = [f"findings/other/{first.id}.json", f"findings/shop/x/{first.id}.json"]
    for key in planted:
        site.raw.put(key, site.raw.get(first.key))
    try:
        assert find_finding(adapters, first.id) == first
    finally:
        for key in planted:
            site.raw.delete(key)


def test_of_a_finding_it_is_told_what_followed_and_what_was_withheld(site: Site) -> None:
    first = next(findings_of(site.store, "shop"))
    assert said_about(site.store, "shop", first.id) == []
    why = "hold: 374 s after the last, and its cooldown is 86400 s"
    answer = FindingAnswer(pipeline="shop", finding=first.id, withheld=(why,), at_s=0.0)
    publish_answer(site.store, answer)
    again = FindingAnswer(
        pipeline="shop", finding=first.id, actions=(Act(do="hold", rule="data: hold"),), at_s=60.0, later=True
    )
    publish_answer(site.store, again)
    assert said_about(site.store, "shop", first.id) == [
        "1970-01-01T00:00:00Z: nothing", f"not done: {why}", "1970-01-01T00:01:00Z: hold; at a later look",
    ]  # fmt: skip


def test_parts_of_a_field_count_for_the_field() -> None:
    assert by_field({"price": 2.0, "region=eu": -1.0, "region=us": 0.5, "note/3": None}) == {
        "price": 2.0,
        "region": 1.5,
        "note": 0.0,
    }


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400.0), ("7d", 604_800.0), ("1.5h", 5400.0)])
def test_how_far_back_is_said_in_a_unit(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_how_far_back_without_a_unit_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected a number and"):
        seconds_of("7")


def test_a_webhook_gets_what_was_found_and_its_address_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    @contextmanager
    def stream(_method: str, url: str, **more: Any) -> Iterator[Any]:
        sent.append((url, more["json"]))
        yield SimpleNamespace(status_code=200 if len(sent) == 1 else 500)

    monkeypatch.setattr(telling.httpx, "stream", stream)
    settings: Any = SimpleNamespace(notify_webhook=SecretStr("https://hooks.example/s3cret"))
    notify(settings, "webhook", "shop: 1 finding", "- accuracy fell", {"pipeline": "shop"})
    assert sent[0][1]["text"] == "shop: 1 finding\n- accuracy fell"
    with pytest.raises(NotifyError) as caught:
        notify(settings, "webhook", "again", "", {})
    assert "s3cret" not in str(caught.value)
    assert "500" in str(caught.value)


def test_a_webhook_that_nobody_set_up_is_refused_with_what_to_set() -> None:
    settings: Any = SimpleNamespace(notify_webhook=None)
    with pytest.raises(ConfigurationError, match="RATCHET_NOTIFY_WEBHOOK"):
        notify(settings, "webhook", "x", "y", {})


def test_a_finding_is_verified_by_the_policy_that_it_names(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_by = []

    class Log:
        source, watched = None, None

        def __init__(self, _adapters: Any, _name: str, config: Any = None) -> None:
            asked_by.append(config)

    monkeypatch.setattr(monitor, "WatchedLog", Log)
    monkeypatch.setattr(monitor, "verify_finding", lambda *_: None)
    finding = next(findings_of(site.store, "shop"))
    adapters: Any = SimpleNamespace(store=site.store)
    monitor.verify(adapters, finding)
    monitor.verify(adapters, finding.model_copy(update={"policy": "f" * 64}))  # gone: told by the verification
    assert asked_by == [site.config, None]
