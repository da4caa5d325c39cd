"""What an audit found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlratchet.models.audit.generation import Findings
from mlratchet.models.identity.erasures import Erasure
from mlratchet.models.moments import utc
from mlratchet.models.printable import one_line

PLACE = re.compile(r"[\w.-]+/[\w./-]*[\w-]")  # `bucket/key` in a line


@dataclass(kw_only=True)
class AuditReport:
    """Filled in while the bucket is read. A problem is one line; the audit fails with the first."""

    name: str
    bucket: str
    generations: int = 0
    decisions: int = 0  # whose signature and digests verify
    champion: int | None = None  # by the newest ledger entry
    versions: list[int] = field(default_factory=list)  # that were champion, in order
    files: int = 0  # of artifacts, whose bytes were hashed
    retired: list[int] = field(default_factory=list)  # earlier champions whose files are gone as a whole
    replayed: int = 0  # decisions judged again from the stored evidence
    head: str = ""  # SHA-256 hex of the newest ledger entry
    since: int = 0  # generations up to this one were verified by an earlier audit, and what is behind them not again
    newest_decision_s: float = 0.0  # when the newest decision was written, by the server's clock
    ends: dict[str, str] = field(default_factory=dict)  # of the chains beside the ledger (`ends.py`)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what a reader should know and what fails nothing

    def add(self, found: Findings) -> None:
        """What one piece of the bucket showed; a problem that is known already is not told twice."""
        self.problems += [line for line in dict.fromkeys(found.problems) if line not in self.problems]
        self.files += found.files
        self.replayed += found.replayed
        self.retired += found.retired

    def skipped(self, since: int, at_s: float) -> None:
        """Say what was not looked at again, because an earlier audit at `at_s` did."""
        self.since = since
        self.notes.append(
            f"what is behind generations 1 to {since} was verified by the audit of {utc(at_s)} and not looked at "
            "again (decisions, evidence, registrations, files; their entries were, and the newest was, whole); without "
            "--since it is"
        )

    def erased_in(self, erased: Mapping[str, Erasure]) -> set[str]:
        """Of the erased objects those that a problem names."""
        return {word for line in self.problems for word in PLACE.findall(line) if word in erased}

    def tell_erased(self, erased: Mapping[str, Erasure]) -> None:
        """What is gone because a person was erased, as a signed record says, fails nothing. `erased`: `bucket/key` of
        what is not there any more. A line that names another object, too, is about that one: who can write to a bucket
        can give an object a name that holds the name of an erased one."""
        buckets = {self.bucket, *(place.partition("/")[0] for place in erased)}
        by_record: dict[int, int] = {}
        problems = []
        for line in self.problems:
            named = [word for word in PLACE.findall(line) if word.partition("/")[0] in buckets]
            if named and all(word in erased for word in named):
                number = erased[named[0]].number
                by_record[number] = by_record.get(number, 0) + 1
            else:
                problems.append(line)
        self.problems = problems
        self.notes += [
            f"erased, not changed: {count} objects that decisions name went by erasure {number} of {self.name}, as its "
            "signed record says; what was decided on them cannot be judged again"
            for number, count in sorted(by_record.items())
        ]

    def compare_alias(self, champion: int | None) -> None:
        """The registry's alias follows the ledger; one that does not was edited, or waits for a repair."""
        if champion != self.champion:
            self.problems.append(
                f"{self.name}: the alias champion names {f'version {champion}' if champion else 'nothing'}, but the "
                f"ledger's champion is version {self.champion}; `ratchet reconcile` repairs it"
            )

    @property
    def passed(self) -> bool:
        """Whether everything verified."""
        return not self.problems

    def line(self) -> str:
        """The verdict, for people and for a log."""
        if not self.passed:
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            return f"audit of {self.name}: FAILED: {one_line(self.problems[0])}{more}"
        gone = f" (files of {_count(len(self.retired), 'earlier champion')} are gone)" if self.retired else ""
        since = f" since generation {self.since}" if self.since else ""
        return (
            f"audit of {self.name}{since}: {_count(self.generations, 'generation')}, "
            f"{_count(self.decisions, 'decision')}, all verify{gone}; head {self.head}"
        )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
