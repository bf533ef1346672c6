"""What a person sees: tables, progress, times in words, and user errors in one line.

Labels, messages and errors of clusters may be anybody's. `Guarded` keeps what a terminal would obey from all output.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

MAX_WIDTH: Final = 100
UNREAD: Final = 3  # exit code of plan, explain and status: something that the answer depends on could not be read


class MistakeError(Exception):
    """What was typed cannot be done; the message says what to type instead."""


class UnreadError(MistakeError):
    """What was typed may be right: not everything could be read."""


class Guarded:
    """A text stream to which nothing is written that a terminal obeys: such characters are written as escapes.

    Those are all that Unicode does not call printable: C0 and C1 controls, bidirectional and other format characters,
    line separators, surrogates. The line feed remains.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write the text without its controls."""
        safe = printable(text)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(safe.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Guard standard output and standard error."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Guarded(before[0]), Guarded(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def printable(text: str) -> str:
    """Return the text with everything but printable characters and line feeds as Python's escapes."""
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode() for each in text
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return the rows in columns, the last one as wide as it needs to be."""
    lines = [list(head), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def one_line(text: str, most: int = 0) -> str:
    """Return the text on one line, cut to `most` characters (0: whole); what a terminal would obey is shown, not sent."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    joined = " ".join(plain.split())
    return joined if not most or len(joined) <= most else f"{joined[: most - 1]}…"


def pluralize(number: int, what: str, several: str = "") -> str:
    """`1 letter`, `2 letters`."""
    return f"{number} {what if number == 1 else several or f'{what}s'}"


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago that was, in the largest unit that fits."""
    seconds = max(int((now - then).total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


class Progress:
    """A bar on a terminal, a line for every tenth elsewhere."""

    def __init__(self, total: int, what: str, out: TextIO | None = None) -> None:
        self.total = total
        self.what = what
        self.out = _unguarded(sys.stderr) if out is None else out
        self.done = 0
        self._bar = self.out.isatty()

    def step(self) -> None:
        """One more is done."""
        self.done += 1
        text = f"{self.done} of {self.total} {self.what}"
        if self._bar:
            filled = 40 * self.done // self.total
            end = "\n" if self.done == self.total else ""
            self.out.write(f"\r[{'#' * filled}{'.' * (40 - filled)}] {text}{end}")
        elif self.done * 10 // self.total > (self.done - 1) * 10 // self.total:
            self.out.write(f"{text}\n")
        self.out.flush()


def _unguarded(stream: Any) -> TextIO:
    """The stream behind a guard: a bar moves the cursor, and says only numbers and words of ours."""
    found: TextIO = stream.stream if isinstance(stream, Guarded) else stream
    return found
