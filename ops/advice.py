"""Advice for people: a sentence, and a command on a line of its own. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Advice:
    """What helps. `command` can be pasted as it is; '' where no command helps."""

    text: str
    command: str = ""


def lines(advice: Iterable[Advice]) -> list[str]:
    """Return the sentences, each with its command below it."""
    found: list[str] = []
    for one in advice:
        found.append(f"{one.text.rstrip('.:')}:" if one.command else one.text)
        found += [f"  {one.command}"] if one.command else []
    return found
