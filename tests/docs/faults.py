"""A piece of documentation that is wrong."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.docs.shell import Command

    Check = Callable[[Sequence[Command]], list["Fault"]]


class Code(enum.StrEnum):
    """What is wrong with a piece of documentation."""

    SYNTAX = enum.auto()
    LANGUAGE = enum.auto()
    UNKNOWN = enum.auto()
    VARIABLE = enum.auto()
    MAKE = enum.auto()
    OPTION = enum.auto()
    GCLOUD = enum.auto()
    KUBECTL = enum.auto()
    TERRAFORM = enum.auto()
    GIT = enum.auto()
    JQ = enum.auto()
    FILE = enum.auto()
    LINK = enum.auto()
    HEADING = enum.auto()


@dataclass(frozen=True, slots=True)
class Fault:
    """One piece of documentation that is wrong: where, what it says and why it is wrong."""

    code: Code
    where: str
    text: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}\n    {self.code}: {self.why}"


def fault_of(code: Code, command: Command, why: str) -> Fault:
    return Fault(code, command.where, " ".join(command.text.split()), why)
