"""What an audit found."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what a reader should know and what fails nothing

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
            return f"audit of {self.name}: FAILED: {self.problems[0]}{more}"
        gone = f" (files of {_count(len(self.retired), 'earlier champion')} are gone)" if self.retired else ""
        return (
            f"audit of {self.name}: {_count(self.generations, 'generation')}, {_count(self.decisions, 'decision')}, "
            f"all verify{gone}; head {self.head}"
        )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
