"""The commands that repair: exact, and none of them deletes anything. Pure."""

from __future__ import annotations

from typing import Final

from shared.values.commands import gcloud

TERRAFORM: Final = "make plan STATE_BUCKET=$STATE_BUCKET && make apply STATE_BUCKET=$STATE_BUCKET"


def enable(api: str, project: str) -> str:
    """Enable an API."""
    return gcloud("services enable", api, project=project)


def grant(kind: str, name: str, member: str, role: str, **where: str) -> str:
    """Grant a role on a project, a topic or another object that has a policy; `kind` is its group in gcloud."""
    return gcloud(f"{kind} add-iam-policy-binding", name, **where, member=member, role=role)


def grant_publish(project: str, topic: str, member: str) -> str:
    """Return the command that allows a member to publish to a topic."""
    return grant("pubsub topics", topic, member, "roles/pubsub.publisher", project=project)


def quotas(api: str, project: str) -> str:
    """Show the quotas of an API, and where to request more."""
    return gcloud("beta quotas info list", service=api, project=project)


def resume(function: str) -> str:
    """Restore the push configuration of a step."""
    return f"python -m ops resume {function}"
