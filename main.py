"""The entry points' names, where the platform looks for them. Each imports its own function when it is first called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework

from shared.runtime import dispatch, lazy_imports

if TYPE_CHECKING:
    from cloudevents.http import CloudEvent

lazy_imports.lighten()


@functions_framework.cloud_event
def route_event(event: CloudEvent) -> None:
    """Turn an event into the right request, or into nothing."""
    from functions import route_event as function

    function.serve(event)


@functions_framework.cloud_event
def register_membership(event: CloudEvent) -> None:
    """Make sure that a wanted cluster is in the fleet."""
    from functions import register_membership as step

    dispatch.serve("register-membership", event, step.run)


@functions_framework.cloud_event
def grant_rbac(event: CloudEvent) -> None:
    """Let Argo CD's identity into the cluster, and prove it."""
    from functions import grant_rbac as step

    dispatch.serve("grant-rbac", event, step.run)


@functions_framework.cloud_event
def write_secret(event: CloudEvent) -> None:
    """Write the cluster Secret."""
    from functions import write_secret as step

    dispatch.serve("write-secret", event, step.run)


@functions_framework.cloud_event
def remove_secret(event: CloudEvent) -> None:
    """Hold or remove the cluster Secret."""
    from functions import remove_secret as step

    dispatch.serve("remove-secret", event, step.run)


@functions_framework.cloud_event
def revoke_rbac(event: CloudEvent) -> None:
    """Remove our binding from a cluster that has left."""
    from functions import revoke_rbac as step

    dispatch.serve("revoke-rbac", event, step.run)


@functions_framework.cloud_event
def unregister_membership(event: CloudEvent) -> None:
    """Delete the membership that we made for a cluster that is gone."""
    from functions import unregister_membership as step

    dispatch.serve("unregister-membership", event, step.run)


@functions_framework.cloud_event
def sweep(event: CloudEvent) -> None:
    """Compare all lists, and publish requests for what differs."""
    from functions import sweep as function

    function.serve(event)
