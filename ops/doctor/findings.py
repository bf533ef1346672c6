"""What a check found, how a person reads it, and the exit code. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from ops.doctor.codes import Code
from ops.terminal import one_line, pluralize
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

T = TypeVar("T")


class Status(StrEnum):
    """How a check ended. UNKNOWN: it could not be read, so nothing is concluded."""

    PASS = "pass"  # noqa: S105 - a word of ours
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


ALL_PASS: Final = 0
FAILURES: Final = 1
WARNINGS: Final = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `fix` is a command, empty for a pass; `code` is empty for a pass."""

    check: str
    status: Status
    subject: str
    message: str
    fix: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """A value that could not be read: why, and the command that helps. `denied`: the operator may not read it."""

    why: str
    fix: str = ""
    denied: bool = False


Read: TypeAlias = T | Unread
NOT_READ: Final = Unread("was not read")


@dataclass(slots=True)
class Check:
    """Collects the findings of one check; `end` gives one pass where there are none."""

    name: str
    findings: list[Finding] = field(default_factory=list)

    def fail(self, code: Code, subject: str, message: str, fix: str) -> None:
        """Add a failure: something does not work, or is open that must be closed."""
        self.findings.append(Finding(self.name, Status.FAIL, subject, message, fix, code))

    def warn(self, code: Code, subject: str, message: str, fix: str) -> None:
        """Add a warning: it works, but an operator should check it."""
        self.findings.append(Finding(self.name, Status.WARN, subject, message, fix, code))

    def unknown(self, subject: str, why: str, fix: str = "", code: Code = Code.UNREAD) -> None:
        """Add what could not be read."""
        self.findings.append(Finding(self.name, Status.UNKNOWN, subject, why, fix, code))

    def known(self, value: Read[T], subject: str) -> T | None:
        """Return the value; report an unread one and return None."""
        if isinstance(value, Unread):
            self.unknown(subject, value.why, value.fix)
            return None
        return value

    def known_of(self, values: Mapping[str, Read[T]], key: str, subject: str = "") -> T | None:
        """Return the value of a key; report one that is unread, or was not read at all, and return None."""
        return self.known(values.get(key, NOT_READ), subject or key)

    def end(self, subject: str, passed: str) -> list[Finding]:
        """Return the findings, or one pass. What could not be read is one line, whatever the number of reasons."""
        unknown = [each for each in self.findings if each.status is Status.UNKNOWN]
        if others := len({each.message for each in unknown}) - 1 if unknown else 0:
            more = f"{unknown[0].message} (and {pluralize(others, 'more read')} failed)"
            unknown = [replace(unknown[0], message=more)]
        known = [each for each in self.findings if each.status is not Status.UNKNOWN]
        return [*known, *unknown[:1]] or [Finding(self.name, Status.PASS, subject, passed)]


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 where anything failed, 2 where anything is a warning or unknown, else 0."""
    found = {finding.status for finding in findings}
    if Status.FAIL in found:
        return FAILURES
    return WARNINGS if found & {Status.WARN, Status.UNKNOWN} else ALL_PASS


def _explained_once(findings: Sequence[Finding]) -> list[Finding]:
    """Replace the reason of an unknown finding, and its fix, by the name of the first check with the same reason."""
    first: dict[str, str] = {}  # reason → check
    return [
        replace(finding, message=f"could not be read: see {first[finding.message]}", fix="")
        if finding.status is Status.UNKNOWN and first.setdefault(finding.message, finding.check) != finding.check
        else finding
        for finding in findings
    ]


def as_text(findings: Sequence[Finding], seconds: float) -> str:
    """Return one line per finding, its fix below it, and the counts. A failed read that affects several checks is explained once."""
    width = max((len(finding.check) for finding in findings), default=0)
    lines = []
    shown = _explained_once(findings)
    for finding, following in zip_longest(shown, shown[1:]):
        subject = f"{finding.subject}: " if finding.subject else ""
        lines.append(f"{finding.status:<7}  {finding.check:<{width}}  {one_line(subject + finding.message)}")
        same_fix = following is not None and (following.check, following.fix) == (finding.check, finding.fix)
        if finding.fix and not same_fix:  # below the last finding with this fix
            lines.append(f"{'':7}  {'':{width}}  fix: {finding.fix}")
    counts = Counter(finding.status for finding in findings)
    text = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    lines.append(f"{pluralize(len({finding.check for finding in findings}), 'check')} in {seconds:.1f} s: {text}.")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], seconds: float) -> Object:
    """Return the report as programs read it."""
    counts = Counter(finding.status for finding in findings)
    return {
        "exitCode": exit_code(findings),
        "seconds": round(seconds, 3),
        "counts": {status.value: counts[status] for status in Status},
        "findings": [asdict(finding) for finding in findings],
    }
