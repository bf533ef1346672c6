"""The floors of a cold start: a function that does nothing, and one that imports the official clients and does nothing."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

import functions_framework

if TYPE_CHECKING:
    from cloudevents.http import CloudEvent


@functions_framework.cloud_event
def empty(event: CloudEvent) -> None:
    """Do nothing."""


@functions_framework.cloud_event
def clients(event: CloudEvent) -> None:
    """Import what BENCH_CLIENTS names, and do nothing."""
    for name in os.environ["BENCH_CLIENTS"].split(","):
        importlib.import_module(name)
