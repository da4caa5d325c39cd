"""What follows from a finding: the rules of `monitoring.actions` in a pipeline file, and the decision by them.

An alarm may act: its rate of false alarms is stated however often somebody looks. A window by itself may warn or ask;
a rule over several windows may act where its rate is shown to be within the policy's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import comb
from typing import Literal, NamedTuple

from mlratchet.models.config import StrictModel
from mlratchet.models.monitoring.finding import SEVERITIES, Finding, FindingKind, Severity, at_least
from mlratchet.models.monitoring.pace import too_often
from pydantic import Field, model_validator

Action = Literal["retrain", "hold", "rollback", "ask", "notify"]
ACTS: tuple[Action, ...] = ("hold", "rollback", "retrain")  # what changes something, in the order in which it is done
ORDER: tuple[Action, ...] = (*ACTS, "ask", "notify")
KINDS: tuple[FindingKind, ...] = ("quality", "data", "service", "inputs", "outputs", "hardware")  # gravest first
CALIBRATION_ALARM = "quality:calibration"  # that a confidence means another thing, which is no loss by itself
YEAR_S = 365 * 86_400.0
QUIET_WARNINGS = 0.05  # of the windows in which nothing changed, the share in which one subject warns, at most


class OfWindows(StrictModel):
    """In so many of the last windows, this one among them."""

    k: int = Field(ge=1, le=50)
    """Windows with such a finding."""
    n: int = Field(ge=1, le=50)
    """Windows that are looked at."""

    @model_validator(mode="after")
    def _fits(self) -> OfWindows:
        if self.k > self.n:
            raise ValueError(f"got {self.k} of {self.n} windows, expected k <= n")
        return self

    def false_alarms(self, windows: float) -> float:
        """At most so many in that many windows in which nothing changed and which share no rows: the tail of the
        binomial at `QUIET_WARNINGS`, once per window."""
        p = QUIET_WARNINGS
        tail = sum(comb(self.n, i) * p**i * (1 - p) ** (self.n - i) for i in range(self.k, self.n + 1))
        return windows * tail


class ActionRule(StrictModel):
    """One rule: a finding of this kind and at least this severity has this consequence."""

    when: str = Field(pattern=r"^(inputs|outputs|quality|service|data|hardware)(:[^:].*)?$")
    """Kind of a finding, or `kind:subject`: `quality`, `inputs:price`."""
    severity: Severity = "alarm"
    do: Action
    of_windows: OfWindows | None = None
    """Only when k of the last n windows had such a finding; every one by itself without it."""
    cooldown: float = Field(default=86_400.0, ge=0)
    """Seconds after one consequence of this rule in which it has no other; for `notify` and `ask`, about the same."""
    budget_per_week: int = Field(default=2, ge=1)
    """Consequences of this rule in any seven days; of `notify` and `ask`, about the same."""

    @model_validator(mode="after")
    def _may_act(self) -> ActionRule:
        if self.do not in ACTS or self.severity == "alarm":
            return self
        if self.of_windows is None:
            raise ValueError(
                f"{self.do} on a {self.severity}: one window by itself may notify or ask, because it warns by chance, "
                "too; say severity: alarm, or of_windows: {k: .., n: ..}"
            )
        if ":" not in self.when:
            raise ValueError(
                f"{self.do} on {self.when} of several windows: name one subject, such as {self.when}:price; how often "
                "any of them warns by chance is not known"
            )
        return self

    @property
    def name(self) -> str:
        """By which its consequences are counted: an edit of cooldown or budget begins no new count."""
        return f"{self.when} {self.severity} {self.do}"

    def fits(self, finding: Finding) -> bool:
        """Whether a finding is one of those it is about."""
        return self.is_about(f"{finding.kind}:{finding.subject}", finding.severity)

    def is_about(self, condition: str, severity: Severity) -> bool:
        """The same of a condition `kind:subject`."""
        kind, _, subject = condition.partition(":")
        wanted, _, only = self.when.partition(":")
        if condition == CALIBRATION_ALARM and not only and self.do in ("retrain", "rollback"):
            return False
        return kind == wanted and only in ("", subject) and at_least(severity, self.severity)


class SeenWindow(NamedTuple):
    """A window that was looked at, with or without a finding."""

    to_s: float  # its end, seconds since the epoch
    open: Mapping[str, Severity]  # condition `kind:subject` that holds in it -> how severe


class Serving(NamedTuple):
    """Who serves, as the ledger says."""

    version: int
    generation: int
    has_before: bool  # whether a version that stands was champion before it, to which a rollback goes


class Act(StrictModel):
    """One consequence."""

    do: Action
    rule: str
    """`ActionRule.name`."""
    condition: str = Field(default="", exclude_if=lambda value: not value)
    """`kind:subject` of what is told, by which it is counted; empty for what changes something."""


class FindingAnswer(StrictModel):
    """What was decided about one finding; published before anything is done."""

    pipeline: str
    finding: str
    """Its id."""
    actions: tuple[Act, ...] = Field(default=(), strict=False)
    withheld: tuple[str, ...] = Field(default=(), strict=False)
    """Why a rule that fits had no consequence, one line each."""
    at_s: float
    """Seconds since the epoch."""
    later: bool = Field(default=False, exclude_if=lambda value: not value)
    """Of what the first answer withheld."""
    turn: int = Field(default=1, ge=1, exclude_if=lambda value: value == 1)
    """Which of the later answers: what several rules withheld may be done one after the other."""


def rate_of_window_rules(rules: Iterable[ActionRule], window_s: float | None) -> float:
    """False alarms a year that rules over windows may add to those of alarms; infinite for windows of so many rows, of
    which nobody knows how many a year has."""
    acting = [rule.of_windows for rule in rules if rule.do in ACTS and rule.severity != "alarm" and rule.of_windows]
    if acting and window_s is None:
        return float("inf")
    return sum(one.false_alarms(YEAR_S / window_s) for one in acting if window_s is not None)


def refuse_beyond_rate(rules: Iterable[ActionRule], window_s: float | None, false_alarms_per_year: float) -> None:
    """Raises ``ValueError`` when rules over windows would act more often by chance than the policy says."""
    rate = rate_of_window_rules(rules, window_s)
    if rate > false_alarms_per_year:
        raise ValueError(
            f"rules over several windows would act {rate:.3g} times a year by chance, and false_alarms_per_year is "
            f"{false_alarms_per_year:g}; raise k, let them ask or notify, or act on severity: alarm"
        )


def decide(
    findings: Iterable[Finding],
    rules: Sequence[ActionRule],
    history: Iterable[FindingAnswer],
    *,
    windows: Sequence[SeenWindow] = (),
    under_way: str = "",
    serving: Serving | None = None,
    now_s: float,
) -> list[FindingAnswer]:
    """What is to be done about new findings: an answer for each that a rule fits, oldest window first.

    Args:
        findings: That have no answer yet.
        rules: Of the pipeline.
        history: Every answer so far, for cooldown and budget.
        windows: The newest windows, oldest first, for rules over several.
        under_way: What may replace the champion already; a retrain is withheld meanwhile.
        serving: The champion: what was found of another is no reason to train that one anew, or to go back from it.
        now_s: Seconds since the epoch.

    A finding of which all rules are over several windows and may still come true has no answer yet: it is decided about
    later. Where another rule fits, it waits for none of those: `decide_again` asks them.
    """
    made: list[FindingAnswer] = []
    past = list(history)
    for finding in sorted(findings, key=_turn):
        fitting = [rule for rule in rules if rule.fits(finding)]
        if not fitting:
            continue
        if all(_may_come(rule, finding, windows) for rule in fitting):
            continue
        acts: dict[Action, Act] = {}
        withheld: list[str] = []
        for rule in fitting:
            if why := _against(rule, finding, [*past, *made], windows, now_s, under_way, serving):
                withheld.append(f"{rule.do}: {why}")
            else:
                acts.setdefault(rule.do, Act(do=rule.do, rule=rule.name, condition=_counted_by(rule, finding)))
        made.append(
            FindingAnswer(
                pipeline=finding.pipeline,
                finding=finding.id,
                actions=tuple(acts[do] for do in ORDER if do in acts),
                withheld=tuple(withheld),
                at_s=now_s,
            )
        )
    return made


def decide_again(
    withheld: Iterable[tuple[Finding, FindingAnswer]],
    rules: Sequence[ActionRule],
    history: Iterable[FindingAnswer],
    *,
    windows: Sequence[SeenWindow] = (),
    under_way: str = "",
    serving: Serving | None = None,
    now_s: float,
) -> list[FindingAnswer]:
    """Second answers to what goes on: it is told once, so nobody else asks when what withheld an action is over.

    Args:
        withheld: Findings that still hold, each with its first answer.
        rules: Of the pipeline.
        history: Every answer so far.
        windows: As for `decide`.
        under_way: As for `decide`.
        serving: As for `decide`.
        now_s: Seconds since the epoch.

    What lacked windows may have them by now. Nothing is told again, and nothing is done about a finding since whose
    first answer the same rule acted.
    """
    made: list[FindingAnswer] = []
    past = list(history)
    for finding, first in sorted(withheld, key=lambda one: _turn(one[0])):
        acts: dict[Action, Act] = {}
        for rule in rules:
            if not rule.fits(finding) or not _was_withheld(rule, first):
                continue
            counted = _counted_by(rule, finding)
            acted = any(
                (act.rule, act.condition) == (rule.name, counted)
                for one in [*past, *made]
                if one.at_s >= first.at_s or one.finding == finding.id
                for act in one.actions
            )
            if not acted and not _against(rule, finding, past, windows, now_s, under_way, serving):
                acts.setdefault(rule.do, Act(do=rule.do, rule=rule.name, condition=counted))
        if acts:
            actions = tuple(acts[do] for do in ORDER if do in acts)
            pipeline, of = finding.pipeline, finding.id
            turn = 1 + sum(one.later and one.finding == of for one in past)
            made.append(
                FindingAnswer(pipeline=pipeline, finding=of, actions=actions, at_s=now_s, later=True, turn=turn)
            )
    return made


def _was_withheld(rule: ActionRule, first: FindingAnswer) -> bool:
    """Of what changes something, for any reason; of what is told, for want of windows."""
    why = [words for words in first.withheld if words.startswith(f"{rule.do}: ")]
    if rule.do in ACTS:
        return bool(why)
    return rule.of_windows is not None and any(_lacks(0, rule.of_windows).partition(" ")[2] in words for words in why)


def _lacks(found: int, rule: OfWindows) -> str:
    return f"{found} of the last {rule.n} windows, and it takes {rule.k}"


def is_recent(finding: Finding, rules: Iterable[ActionRule], windows: Sequence[SeenWindow]) -> bool:
    """Whether its window is one of those that a rule about it counts, however long windows are."""
    return any(
        rule.of_windows is not None
        and rule.fits(finding)
        and bool(newest := windows[-rule.of_windows.n :])
        and finding.window.to_s >= newest[0].to_s
        for rule in rules
    )


def _turn(one: Finding) -> tuple[object, ...]:
    """Oldest window first; in it the gravest, which is what a retrain is because of: a metric before its slices."""
    condition = f"{one.kind}:{one.subject}"
    return (
        one.window.to_s, -SEVERITIES.index(one.severity), KINDS.index(one.kind), condition == CALIBRATION_ALARM,
        " on " in one.subject, one.subject, one.id,
    )  # fmt: skip


def _counted_by(rule: ActionRule, finding: Finding) -> str:
    """Changes are counted by rule; what is told, by what it is about too: else one that goes on hides another."""
    return "" if rule.do in ACTS else f"{finding.kind}:{finding.subject}"


def _against(
    rule: ActionRule,
    finding: Finding,
    past: Iterable[FindingAnswer],
    windows: Sequence[SeenWindow],
    now_s: float,
    under_way: str,
    serving: Serving | None,
) -> str:
    """Why the rule has no consequence now; empty when it has."""
    if rule.do == "retrain" and serving is not None and finding.version != serving.version:
        return f"it is about version {finding.version}, and version {serving.version} serves"
    if rule.do == "rollback" and serving is not None:
        if finding.generation != serving.generation:
            return f"it is about generation {finding.generation}, and generation {serving.generation} serves"
        if not serving.has_before:
            return f"no version that stands was champion before version {serving.version}"
    if rule.do == "retrain" and under_way:
        return under_way
    if rule.do in ACTS and not finding.window.whole:
        return "the log of its window has gaps, so it is inconclusive"
    if rule.of_windows is not None:
        found = windows_with(rule, finding, windows)
        if found < rule.of_windows.k:
            return _lacks(found, rule.of_windows)
    counted = (rule.name, _counted_by(rule, finding))
    ages_s = [now_s - one.at_s for one in past for act in one.actions if (act.rule, act.condition) == counted]
    return too_often(ages_s, cooldown_s=rule.cooldown, per_week=rule.budget_per_week, whose="its")


def windows_with(rule: ActionRule, finding: Finding, windows: Sequence[SeenWindow]) -> int:
    """In how many of the newest n windows such a condition is open; the window of the finding is one of them."""
    assert rule.of_windows is not None
    newest = windows[-rule.of_windows.n :]
    found = {one.to_s for one in newest if any(rule.is_about(key, severity) for key, severity in one.open.items())}
    if not newest or finding.window.to_s >= newest[0].to_s:
        found.add(finding.window.to_s)
    return len(found)


def _may_come(rule: ActionRule, finding: Finding, windows: Sequence[SeenWindow]) -> bool:
    """Whether a rule over several windows lacks windows that have not ended yet: a condition that goes on is told
    once, so nobody else would ask about it again."""
    if rule.of_windows is None or windows_with(rule, finding, windows) >= rule.of_windows.k:
        return False
    since = [one for one in windows if one.to_s > finding.window.to_s]
    return len(since) < rule.of_windows.n - 1
