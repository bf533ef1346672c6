"""Keeps optional packages out of the official clients' imports: a cold start pays for every one (docs/decisions/0007)."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def without(package: str) -> Iterator[None]:
    """Import as if an optional package were not installed; one that is loaded already stays.

    `None` in `sys.modules` makes an import raise ModuleNotFoundError
    (https://docs.python.org/3/reference/import.html#the-module-cache).
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
