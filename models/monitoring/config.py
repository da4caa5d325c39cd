"""The `monitoring` section of a pipeline file: how often the deployed version is looked at, and what it is held to."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.identity.canonical import digest
from mlratchet.models.monitoring.actions import ACTS, ActionRule, refuse_beyond_rate
from pydantic import Field, field_validator, model_validator

QUIET = 0.25  # of minimum_effect, where the file says nothing
AGAINST = " against "  # in the subject of what differs from another window alone
ReferenceName = Literal["last_good", "last_week"]
REFERENCES: tuple[ReferenceName, ...] = ("last_good", "last_week")


class WindowRule(StrictModel):
    """How the log is divided: into stretches of time, or into stretches of so many rows."""

    seconds: float | None = Field(default=None, ge=1, le=31 * 86_400)
    """Length of a window; windows begin at multiples of it since 1970 (UTC). 3600 where neither is said."""
    rows: int | None = Field(default=None, ge=50, le=10_000_000)
    """Rows of a window, in the order in which they were received."""
    minimum_rows: int = Field(default=200, ge=30, le=10_000_000)
    """Fewer in a window: no figure of drift is shown; the alarm counts every row all the same."""

    @model_validator(mode="after")
    def _one_rule(self) -> WindowRule:
        if self.seconds is not None and self.rows is not None:
            raise ValueError("got both seconds and rows, expected one of them; remove the other")
        if self.seconds is None and self.rows is None:
            object.__setattr__(self, "seconds", 3600.0)
        if self.rows is not None and self.minimum_rows > self.rows:
            raise ValueError(
                f"minimum_rows {self.minimum_rows} > rows {self.rows}: no window could ever have enough; "
                "lower minimum_rows or raise rows"
            )
        return self


class QualityRule(StrictModel):
    """What the deployed version promised on labelled rows."""

    metric: str | None = None
    """Metric of the pipeline's task whose value on one row lies in [0, 1], as accuracy; null: the task's first that
    has one."""
    at_least: Literal["promise"] | float = "promise"
    """`promise`: the lower end of the interval that the champion's gate recorded for it; or a number. For a metric
    that is better when it is lower it is the most that is allowed."""
    minimum_labels: int = Field(default=30, ge=10)
    """Fewer labelled rows in a window: its figures are shown without a word on them."""

    @field_validator("at_least")
    @classmethod
    def _is_a_share(cls, value: str | float) -> str | float:
        if not isinstance(value, str) and not 0.0 < value < 1.0:
            raise ValueError(f"got {value:g}, expected a number between 0 and 1, both excluded, or promise")
        return value


class SampleRule(StrictModel):
    """Rows of each window that are asked again, in a process of their own: those whose inputs were logged whole."""

    rows: int = Field(default=100, ge=30, le=2000)
    """At most so many, and as many test rows beside them."""
    reliance: float = Field(default=0.1, gt=0, lt=1)
    """Share of what the answers rest on that may move from field to field (total variation, against the test rows)."""


class LabellingRule(StrictModel):
    """Requests of our own for labels: rows that people are asked about, where the estimate without labels fell."""

    rows: int = Field(default=100, ge=20, le=10_000)
    """About so many rows of the window; each is drawn with one known probability."""
    cooldown: float = Field(default=86_400.0, ge=0)
    """Seconds after one request in which there is no other."""
    budget_per_week: int = Field(default=2, ge=1)
    """Requests in any seven days."""


class HardwareRule(StrictModel):
    """Training and serving against this pipeline's own history."""

    slower_by: float = Field(default=1.5, gt=1.0, le=100.0)
    """Times its usual duration from which an epoch, a step or a write is a finding."""
    runs: int = Field(default=5, ge=3, le=1000)
    """Trainings that make a history; fewer say nothing."""


class ProbationConfig(StrictModel):
    """How long a promotion is watched, and what sends it back."""

    seconds: float = Field(default=3600.0, ge=10, le=30 * 86_400)
    """After the promotion; the version before is seen on as long a time before it."""
    errors: float | None = Field(default=0.02, gt=0, lt=1)
    """By how much its share of server errors may exceed that of the version before; null: not looked at."""
    loss: float | None = Field(default=0.05, gt=0, lt=1)
    """By how much its share of right answers, of those with a label, may be below; null: not looked at."""
    minimum_labels: int = Field(default=50, ge=10)
    """Labelled answers of each version below which nothing is said of quality."""
    confidence: float = Field(default=0.99, gt=0.5, lt=1)
    """Of all bounds of one promotion together: the rate of ways back by chance is at most the rest."""


class MonitoringConfig(StrictModel):
    """How the deployed version is watched."""

    every: float = Field(default=300.0, ge=5, le=7 * 86_400)
    """Seconds between two looks. Looking more often finds things earlier, and raises no more false alarms."""
    windows: WindowRule = WindowRule()
    false_alarms_per_year: float = Field(default=1.0, gt=0, le=365)
    """At most so many alarms in a year in which nothing changed, over everything of this pipeline that can act."""
    minimum_effect: float = Field(default=0.1, gt=0, lt=10)
    """Drift that matters, from which windows gather evidence of a change: in standard deviations of the reference for a
    number (Wasserstein), as a distance between 0 and 1 for all else (Jensen-Shannon, square root)."""
    quiet_up_to: float = Field(default=QUIET, gt=0, le=1, exclude_if=lambda value: value == QUIET)
    """Part of minimum_effect by which a column may have moved for good while the rate of false alarms holds; 1: all.
    The more, the later drifts of one to three times minimum_effect sound."""
    effects: dict[str, float] = Field(default_factory=dict)
    """Field -> its own minimum_effect."""
    ignore: tuple[str, ...] = Field(default=(), strict=False)
    """Fields whose drift says nothing: a running number, the time of a request."""
    references: tuple[ReferenceName, ...] = Field(
        default=REFERENCES, strict=False, exclude_if=lambda value: value == REFERENCES
    )
    """What a window is compared with beside the test rows: the last window in which nothing was found, and that of the
    same hour a week before. What differs from them may warn; alarms come from the test rows alone."""
    quality: QualityRule = QualityRule()
    sample: SampleRule | None = Field(default=None, exclude_if=lambda value: value is None)
    """What the model relies on (Integrated Gradients) and what the version before says of the same rows, window by
    window; null: neither is asked."""
    labelling: LabellingRule | None = Field(default=None, exclude_if=lambda value: value is None)
    """People are asked for labels by itself; null: by `ratchet monitor NAME --ask-labels N` alone."""
    latency_ms: float | None = Field(default=None, gt=0)
    """A request should be answered within it; null: not held against anything."""
    latency_share: float = Field(default=0.99, gt=0.5, lt=1)
    """Share of the requests that have to be."""
    errors: float = Field(default=0.01, gt=0, lt=0.5)
    """Share of the requests that may end in an error of the server (status 500 and above)."""
    hardware: HardwareRule = HardwareRule()
    actions: tuple[ActionRule, ...] = Field(default=(), strict=False)
    """What follows from a finding; nothing of it: findings are shown and nothing is done."""
    probation: ProbationConfig | None = None
    """A promotion is watched on live requests and goes back by itself; null: only its recorded requests are asked."""
    notify: str | None = Field(default=None, pattern=r"^(webhook|[a-z0-9-]+/[A-Za-z0-9_-]+)$")
    """Who is told of an alarm: `webhook` (its address is a setting of the installation), or a notification block of
    Prefect as `type/name`, such as `slack-webhook/on-call`."""

    @model_validator(mode="after")
    def _acts_within_the_rate(self) -> MonitoringConfig:
        refuse_beyond_rate(self.actions, self.windows.seconds, self.false_alarms_per_year)
        for rule in self.actions:
            if rule.do in ACTS and AGAINST in rule.when:
                raise ValueError(
                    f"{rule.do} on {rule.when}: windows compared with one window err together, so nobody knows "
                    "how often that happens by chance; notify or ask, or act on what differs from the test rows"
                )
        return self

    @field_validator("references")
    @classmethod
    def _are_named_once(cls, names: tuple[ReferenceName, ...]) -> tuple[ReferenceName, ...]:
        if len(set(names)) != len(names):
            raise ValueError(f"got {', '.join(names)}, expected each of {', '.join(REFERENCES)} at most once")
        return names

    @field_validator("effects")
    @classmethod
    def _are_effects(cls, effects: dict[str, float]) -> dict[str, float]:
        for name, effect in effects.items():
            if not effect > 0:
                raise ValueError(f"{name}: got {effect:g}, expected a number above 0")
        return effects

    def effect_of(self, field: str) -> float:
        """From which drift of a field matters."""
        return self.effects.get(field, self.minimum_effect)

    def digest(self) -> str:
        """SHA-256 hex of all of it: what a finding was judged by."""
        return digest(self.model_dump(mode="json"))
