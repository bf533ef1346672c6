"""The entry points, where Cloud Functions looks for them: each is answered by the module of its name in `functions/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.runtime import lazy_imports
from shared.runtime.delivery import Event
from shared.runtime.dispatch import Dispatcher
from shared.runtime.http import http_entry_point
from shared.runtime.services import connect

if TYPE_CHECKING:
    from flask import Request

lazy_imports.lighten()
dispatcher = Dispatcher(connect)


@dispatcher.entry_point
def route_event(event: Event) -> None:
    """Turn an event into a request to a step, or into nothing."""


@dispatcher.entry_point
def register_membership(event: Event) -> None:
    """Register a selected cluster in the fleet."""


@dispatcher.entry_point
def grant_rbac(event: Event) -> None:
    """Give Argo CD's identity access to the cluster, and prove it."""


@dispatcher.entry_point
def write_secret(event: Event) -> None:
    """Write the cluster Secret."""


@dispatcher.entry_point
def remove_secret(event: Event) -> None:
    """Hold or delete the cluster Secret."""


@dispatcher.entry_point
def revoke_rbac(event: Event) -> None:
    """Delete our binding from a cluster that has left."""


@dispatcher.entry_point
def unregister_membership(event: Event) -> None:
    """Delete the membership that we made for a cluster that is deleted."""


@dispatcher.entry_point
def sweep(event: Event) -> None:
    """Compare all lists, and publish requests for what differs."""


@http_entry_point
def status(request: Request) -> None:
    """Show the status page."""
