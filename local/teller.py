"""Prints the functions' log entries as they appear, for the demo."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from local.control import LocalCloud

LATE_SECONDS = 0.2  # within which the line of another function may still come
NOTHING_DONE = (None, "ignored", "no_op", "unchanged", "no_binding", "no_membership")


class Teller:
    """Prints the story: each action, each log entry of the functions, and the times.

    Lines come in the order of their times; one that comes late has the time of the line above it. A line that a chapter has
    already is left out: deliveries repeat.
    """

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.began = time.time()
        self._seen: dict[Path, int] = {}
        self._waiting: list[tuple[float, str]] = []
        self._printed: set[str] = set()
        self._last = 0.0
        self._stop = threading.Event()
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def chapter(self, title: str) -> None:
        """Begin a chapter, below everything that the one before has set off."""
        with self._lock:
            self.flush()
            self._printed.clear()
            print(f"\n{title}", flush=True)

    def say(self, text: str) -> None:
        """One line of the story, below everything that the functions have logged so far."""
        with self._lock:
            self.flush()
            self._print(time.time(), text)

    def close(self) -> None:
        """Stop following the logs."""
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(0.05):
            self.flush(time.time() - LATE_SECONDS)

    def flush(self, until: float | None = None) -> None:
        """Print the functions' entries up to a time, by default now."""
        with self._lock:
            for log in (self.cloud.directory / "log").glob("*.log"):
                self._waiting += self._new(log)
            self._waiting.sort(key=lambda line: line[0])
            while self._waiting and (until is None or self._waiting[0][0] <= until):
                at, text = self._waiting.pop(0)
                if text not in self._printed:
                    self._printed.add(text)
                    self._print(at, text)

    def _print(self, at: float, text: str) -> None:
        self._last = max(at, self._last)
        print(f"{self._last - self.began:6.1f} s  {text}", flush=True)

    def _new(self, log: Path) -> list[tuple[float, str]]:
        """Return a function's new entries, with their times."""
        with log.open("rb") as file:
            file.seek(self._seen.get(log, 0))
            lines = file.readlines()
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        self._seen[log] = self._seen.get(log, 0) + sum(map(len, lines))
        entries = [json.loads(line) for line in lines if line.startswith(b"{")]
        return [
            (datetime.fromisoformat(entry["time"]).timestamp(), f"    {entry['step']:<22}{_short(entry['message'])}")
            for entry in entries
            if entry.get("decision") not in NOTHING_DONE
        ]


def _short(text: str) -> str:
    """Leave out what every name has."""
    for long in ("projects/demo-fleet/", "projects/demo-apps/", "locations/", "@demo-fleet.iam.gserviceaccount.com"):
        text = text.replace(long, "")
    return cut(text, 120)


def cut(text: str, most: int) -> str:
    """Return at most so many characters of a text, with an ellipsis where some are missing."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
