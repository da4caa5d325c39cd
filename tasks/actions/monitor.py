"""Monitor: take up what is new in the log of a pipeline, and tell how its version has done."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mlratchet.models.errors import ConfigurationError, RatchetError, SecurityError
from mlratchet.models.identity.erasures import erased_objects
from mlratchet.models.identity.lease import earlier_clock_s
from mlratchet.models.inference_log.reading import list_log
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import (
    FINDINGS,
    Finding,
    WindowSpan,
    findings_of,
    load_finding,
    publish_finding,
)
from mlratchet.models.monitoring.following import look
from mlratchet.models.monitoring.hardware import SlowHardware, TrainingSpeed, slow_hardware
from mlratchet.models.monitoring.look import Measured
from mlratchet.models.monitoring.policy import load_policy
from mlratchet.models.monitoring.reference import Reference, load_reference
from mlratchet.models.monitoring.stretch import MergedWindows, by_rows, stretch_of
from mlratchet.models.monitoring.verifying import Verification, verify_finding
from mlratchet.models.monitoring.window import WindowRecord, erased_windows, gaps_in, windows_of
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore, StorageError
from mlratchet.models.profile.windows_page import windows_page
from mlratchet.models.registration.numbers import work_of
from mlratchet.models.training.result import find_result
from mlratchet.tasks.actions.ask_labels import LabelsAsked, ask_labels, ask_where_in_doubt
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.support.watching import WatchedLog
from mlratchet.tasks.wiring import Adapters

DAY_S = 86_400.0
MOST_WINDOWS = 500  # of one look: what is left is for the next one
TRAININGS = 20  # that make a history
LEAST_DIGITS = 6  # of a finding's id, to name it


@dataclass(frozen=True, kw_only=True)
class LookOver:
    """What a look took up."""

    windows: tuple[WindowRecord, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Story:
    """How a pipeline has done since a moment."""

    pipeline: str
    config: MonitoringConfig
    windows: tuple[WindowRecord, ...]
    findings: tuple[Finding, ...]
    gaps: tuple[str, ...]
    reference: Reference | None = None
    versions: tuple[int, ...] = field(default=())

    @cached_property
    def stretch(self) -> MergedWindows | None:
        """All windows of the newest version, merged."""
        return stretch_of(self.windows, self.reference, self.config)

    def page(self) -> str:
        """As one self-contained HTML page."""
        return windows_page(
            self.windows, self.findings, self.reference, pipeline=self.pipeline, gaps=self.gaps, stretch=self.stretch
        )

    def document(self) -> dict[str, Any]:
        """As JSON; sketches and the state of the alarm are left out."""
        windows = [one.model_dump(mode="json", exclude={"sketches", "state"}) for one in self.windows]
        findings = [one.model_dump(mode="json") | {"id": one.id} for one in self.findings]
        return {
            "pipeline": self.pipeline, "windows": windows, "findings": findings, "gaps": list(self.gaps),
            "monitoring": self.config.model_dump(mode="json"),
            "stretch": self.stretch.document() if self.stretch is not None else None,
        }  # fmt: skip


def take_up(adapters: Adapters, name: str, *, now_s: float | None = None) -> LookOver:
    """Every window that ended since the last look, and slow hardware of the newest training. Cheap where nothing is
    new. Raises ``ConfigurationError`` for a name that nobody has heard of."""
    watch = WatchedLog(adapters, name)
    promoted_s = watch.promoted_s()
    if promoted_s is None:
        return LookOver()
    made: list[Measured] = look(
        watch.source, adapters.store, watch.config, watch.watched, promoted_s=promoted_s,
        now_s=earlier_clock_s(adapters.store) if now_s is None else now_s, late_s=watch.late_s, most=MOST_WINDOWS,
    )  # fmt: skip
    found = [one for each in made for one in each.findings]
    if made:
        found += look_at_trainings(adapters, name, watch.config)
    return LookOver(windows=tuple(one.record for one in made), findings=tuple(found))


def ask_for_labels(adapters: Adapters, name: str, rows: int) -> LabelsAsked:
    """By a person: of the champion's answers that have time left for a label. Raises ``ConfigurationError``."""
    require_pipeline(adapters, name)
    watch, head, now = WatchedLog(adapters, name), adapters.ledger.head(name), earlier_clock_s(adapters.store)
    if head is None:
        raise ConfigurationError(f"{name}: no version was promoted, so nobody answered anything")
    settled_s = list_log(adapters.store, adapters.keys, name, since_s=now - watch.source.after_s, until_s=now).settled_s
    return ask_labels(
        watch.source, adapters.store, version=head.version, rows=rows, now_s=now, since_s=0.0,
        until_s=min(now, settled_s if settled_s is not None else now),
    )  # fmt: skip


def labels_in_doubt(adapters: Adapters, name: str) -> list[str]:
    """What findings of late make the policy ask for, one line each; whoever looked when they were made."""
    watch, now = WatchedLog(adapters, name), earlier_clock_s(adapters.store)
    if watch.config.labelling is None:
        return []
    late = [one for one in findings_of(adapters.store, name) if one.at_s > now - watch.source.after_s]
    return ask_where_in_doubt(watch.source, adapters.store, watch.config, late, now_s=now)


def look_at_trainings(adapters: Adapters, name: str, config: MonitoringConfig) -> list[Finding]:
    """Findings about the newest training that were not made before."""
    numbers = [int(info.key[-13:-5]) for info in adapters.store.list(f"versions/{name}/") if info.key[-13:-5].isdigit()]
    speeds = [one for number in sorted(numbers)[-TRAININGS:] if (one := speed_of(adapters, name, number)) is not None]
    if not speeds:
        return []
    newest, *_ = reversed(speeds)
    work_key = work_of(adapters.store, name, newest.version) or ""
    slow = slow_hardware(newest, speeds[:-1], config.hardware)
    made = [hardware_finding(name, newest, found, config, work_key) for found in slow]
    new = [finding for finding in made if not adapters.store.exists(finding.key)]
    for finding in new:
        publish_finding(adapters.store, finding)
    return new


def speed_of(adapters: Adapters, name: str, number: int) -> TrainingSpeed | None:
    """Of the training of a version; None where its result is gone."""
    with suppress(RatchetError):
        work_key = work_of(adapters.store, name, number)
        result = find_result(adapters.store, work_key) if work_key is not None else None
        if result is not None and result.history:
            ended = float(result.history[-1].get("at_s", 0.0))
            writes = result.checkpoints_written
            return TrainingSpeed(
                version=number, began_s=ended - max(result.seconds, 1.0), ended_s=ended, processes=result.processes,
                device=result.device, epochs=result.history,
                write_s=result.checkpoint_write_seconds / writes if writes else 0.0,
            )  # fmt: skip
    return None


def hardware_finding(
    name: str, newest: TrainingSpeed, one: SlowHardware, config: MonitoringConfig, work_key: str
) -> Finding:
    """The document; it rests on what the training wrote down of itself."""
    return Finding(
        pipeline=name, version=newest.version, generation=0,
        window=WindowSpan(from_s=newest.began_s, to_s=newest.ended_s, rows=0), kind="hardware", subject=one.subject,
        severity="warning", measure=one.measure, effect=one.times, n=one.n,
        threshold=f"< {config.hardware.slower_by:g} times the usual", method="against the history of this pipeline",
        words=f"training of version {newest.version}: {one.words}",
        evidence={"training": work_key}, policy=config.digest(), at_s=newest.ended_s,
    )  # fmt: skip


def story_of(adapters: Adapters, name: str, *, since_s: float) -> Story:
    """What the records say since a moment. Raises ``ConfigurationError`` for a name that nobody has heard of."""
    require_pipeline(adapters, name)
    watch = WatchedLog(adapters, name)
    windows = windows_of(adapters.store, name, since_s=since_s)
    findings = sorted(
        (one for one in findings_of(adapters.store, name) if one.window.to_s > since_s),
        key=lambda one: (one.at_s, one.kind, one.subject),
    )
    reference = None
    if windows:
        with suppress(ObjectNotFound):
            reference = load_reference(adapters.store, name, windows[-1].reference)
    return Story(
        pipeline=name, config=watch.config, windows=windows, findings=tuple(findings),
        gaps=gaps_in(windows, erased_windows(adapters.store, name)), reference=reference,
        versions=tuple(sorted({one.version for one in windows})),
    )  # fmt: skip


def stretches_by_rows(adapters: Adapters, story: Story, rows: int) -> list[MergedWindows]:
    """The windows of a story, merged until each stretch has so many rows; nothing is read of the log."""
    found = []
    for some in by_rows(story.windows, rows):
        reference = None
        with suppress(ObjectNotFound):
            reference = load_reference(adapters.store, story.pipeline, some[-1].reference)
        one = stretch_of(some, reference, story.config)
        if one is not None:
            found.append(one)
    return found


def find_finding(adapters: Adapters, what: str) -> Finding:
    """The finding that a person means: its id, or its first digits. Raises ``ConfigurationError`` where none or several
    begin so, and ``ObjectNotFound`` where the one that does is not ours."""
    if len(what) < LEAST_DIGITS:
        raise ConfigurationError(f"{what!r}: expected {LEAST_DIGITS} or more digits of a finding's id")
    keys = [
        info.key for info in adapters.store.list(FINDINGS)
        if info.key.count("/") == 2 and info.key.rpartition("/")[2].startswith(what)
    ]  # fmt: skip
    if len(keys) > 1:  # what somebody copied or planted beside it is not there
        keys = [key for key in keys if _is_finding(adapters.store, key)] or keys
    erased = [one for one in erased_objects(adapters.store) if f"/{FINDINGS}" in f"/{one}" and f"/{what}" in one]
    if not keys and erased:
        raise ConfigurationError(f"{what}: was erased on demand, with what it told of a person; it was not changed")
    if len(keys) != 1:
        words = f"{len(keys)} findings begin so; write more digits" if keys else "no finding begins so"
        raise ConfigurationError(f"{what}: {words}; `ratchet monitor NAME` lists them")
    return _finding_at(adapters.store, keys[0])


def _finding_at(store: ObjectStore, key: str) -> Finding:
    _, pipeline, name = key.split("/")
    return load_finding(store, pipeline, name.removesuffix(".json"))


def _is_finding(store: ObjectStore, key: str) -> bool:
    with suppress(ObjectNotFound, SecurityError):
        _finding_at(store, key)
        return True
    return False


def verify(adapters: Adapters, finding: Finding) -> Verification:
    """Compute it again from the log, by the policy that it was found by."""
    config = None
    with suppress(ObjectNotFound, StorageError, SecurityError):  # without it nothing is verified, which is told
        config = load_policy(adapters.store, finding.policy)
    watch = WatchedLog(adapters, finding.pipeline, config)
    return verify_finding(finding, watch.source, adapters.store, watch.watched)
