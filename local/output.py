"""Standard output of the commands. A failed write has an error of its own, which is not taken for one of the cloud's files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator


class OutputError(Exception):
    """Standard output takes no more: its reader has closed the pipe (`is_closed`), or its disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the output cannot be written: {error.strerror or error}")
        self.is_closed = isinstance(error, BrokenPipeError)


class Output:
    """A text stream that raises OutputError instead of OSError."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write the text."""
        with _writing():
            return self.stream.write(text)

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
    except OSError as error:
        raise OutputError(error) from error
