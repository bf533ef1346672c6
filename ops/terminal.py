"""Output for people: tables, progress, times in words, and usage errors in one line.

Labels, messages and errors of clusters may be anybody's. `Guarded` escapes terminal control characters in all output.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

MAX_WIDTH: Final = 100  # of a reason that is cut
NARROW: Final = 6  # no column is folded below this
_COMMAND: Final = re.compile(r" {2,}(gcloud|kubectl|python|eval|make|terraform) ")
UNREAD: Final = 3  # exit code of plan, explain and status: something that the answer depends on could not be read


class MistakeError(Exception):
    """A usage error; the message says what to type instead."""


class UnreadError(MistakeError):
    """Not everything could be read, so the input may be right."""


class OutputError(MistakeError):
    """Standard output takes no more, for example because its disk is full."""


class HelpFormatter(argparse.HelpFormatter):
    """Help whose lines break at spaces alone, so that names stay whole; an indented line is a command, to be pasted."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        kept = ([line] if line.startswith("  ") else self._split_lines(line, width) for line in text.splitlines())
        return "\n".join(f"{indent}{line}" for lines in kept for line in lines)


class Guarded:
    """A text stream that writes characters that control a terminal as escapes.

    Those are all that Unicode does not call printable: C0 and C1 controls, bidirectional and other format characters,
    line separators, surrogates. The line feed remains.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write the text without its controls; long lines are folded on a terminal."""
        safe = printable(text)
        if columns := width(self.stream):
            safe = "\n".join(fold(line, columns) for line in safe.split("\n"))
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        with _writing():
            self.stream.write(safe.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with _writing():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror}") from error


@contextmanager
def guarded() -> Iterator[None]:
    """Guard standard output and standard error; one that is closed (`>&-`) takes everything and shows nothing."""
    before = sys.stdout, sys.stderr
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = Guarded(before[0] or nowhere), Guarded(before[1] or nowhere)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def printable(text: str) -> str:
    """Return the text with everything but printable characters and line feeds as Python's escapes."""
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode() for each in text
    )


def width(stream: Any = None) -> int:
    """Return the columns of the terminal that a stream (standard output) writes to; 0 for other streams."""
    out = _unguarded(sys.stdout if stream is None else stream)
    return shutil.get_terminal_size().columns if out.isatty() else 0


def fold(line: str, columns: int) -> str:
    """Wrap a line at `columns`, and indent all but the first. A command is not wrapped, so that it can be pasted."""
    if len(line) <= columns or _COMMAND.match(line):
        return line
    indent = " " * min(len(line) - len(line.lstrip()) + 2, columns // 2)
    kept = wrap(line.strip(), columns - len(indent))
    return "\n".join((indent[2:] if index == 0 else indent) + part for index, part in enumerate(kept))


def wrap(text: str, columns: int) -> list[str]:
    """Wrap the text at `columns`, at spaces and after the slashes of names."""
    lines = [""]
    for part in re.findall(r"\s+|[^\s/]*/|[^\s/]+", text):
        while len(lines[-1]) + len(part.rstrip()) > columns and (lines[-1].strip() or len(part) > columns):
            fits = columns - len(lines[-1]) if not lines[-1].strip() else 0
            lines[-1] += part[:fits]
            part = part[fits:]  # noqa: PLW2901 - what does not fit goes on
            lines.append("")
        lines[-1] += part if lines[-1] or part.strip() else ""
    return [line.rstrip() for line in lines if line.strip()] or [""]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], columns: int | None = None) -> str:
    """Return the rows in columns. On a terminal (or in `columns`) the widest cells are folded until a row fits.

    Where no row fits, each cell has a line of its own, with the name of its column.
    """
    lines = [list(head), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    most = (width() if columns is None else columns) - 2 * (len(head) - 1)
    while 0 < most < sum(widths) and max(widths) > NARROW:
        widths[widths.index(max(widths))] -= 1
    if 0 < most < sum(widths):
        blocks = [[f"{name}: {cell}" for name, cell in zip(head, row, strict=True) if cell] for row in lines[1:]]
        return "\n\n".join("\n".join(block) for block in blocks)
    return "\n".join(text for line in lines for text in _folded(line, widths))


def _folded(line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    cells = [wrap(cell, most) if len(cell) > most else [cell] for cell, most in zip(line, widths, strict=True)]
    for parts in itertools.zip_longest(*cells, fillvalue=""):
        yield "  ".join(part.ljust(most) for part, most in zip(parts, widths, strict=True)).rstrip()


def one_line(text: str, most: int = 0) -> str:
    """Return the text on one line, cut to `most` characters (0: whole); control characters become spaces."""
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


def seconds(text: str) -> float:
    """Parse a duration such as `90s`, `10m`, `1h`; a bare number is seconds. Raises MistakeError."""
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    if not number.isascii() or not number.isdigit():
        raise MistakeError(f"{text!r} is not a duration such as 90s, 10m or 1h")
    return float(int(number) * unit)


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
