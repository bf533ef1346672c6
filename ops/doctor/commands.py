"""The commands that repair: exact, and none of them deletes anything. Pure."""

from __future__ import annotations

import shlex
from typing import Final

TERRAFORM: Final = "make plan STATE_BUCKET=$STATE_BUCKET && make apply STATE_BUCKET=$STATE_BUCKET"


def line(*words: str) -> str:
    """Return one command, quoted for a shell."""
    return shlex.join(words)


def enable(api: str, project: str) -> str:
    """Enable an API."""
    return line("gcloud", "services", "enable", api, f"--project={project}")


def grant_project(project: str, member: str, role: str) -> str:
    """Grant a role on a project."""
    return line("gcloud", "projects", "add-iam-policy-binding", project, f"--member={member}", f"--role={role}")


def grant_topic(project: str, topic: str, member: str, role: str = "roles/pubsub.publisher") -> str:
    """Grant a role on a topic."""
    return line(
        *("gcloud", "pubsub", "topics", "add-iam-policy-binding", topic),
        *(f"--project={project}", f"--member={member}", f"--role={role}"),
    )


def grant_subscription(project: str, subscription: str, member: str) -> str:
    """Let a member pull and acknowledge."""
    return line(
        *("gcloud", "pubsub", "subscriptions", "add-iam-policy-binding", subscription),
        *(f"--project={project}", f"--member={member}", "--role=roles/pubsub.subscriber"),
    )


def update_subscription(project: str, subscription: str, *flags: str) -> str:
    """Change a subscription."""
    return line("gcloud", "pubsub", "subscriptions", "update", subscription, f"--project={project}", *flags)


def grant_account(account: str, member: str, role: str) -> str:
    """Grant a role on a service account."""
    project = account.partition("@")[2].partition(".")[0]
    return line(
        *("gcloud", "iam", "service-accounts", "add-iam-policy-binding", account),
        *(f"--project={project}", f"--member={member}", f"--role={role}"),
    )


def grant_invoker(project: str, region: str, service: str, member: str) -> str:
    """Let a member call a function's Cloud Run service."""
    return line(
        *("gcloud", "run", "services", "add-iam-policy-binding", service),
        *(f"--project={project}", f"--region={region}", f"--member={member}", "--role=roles/run.servicesInvoker"),
    )


def quotas(api: str, project: str) -> str:
    """Show the quotas of an API, and where to ask for more."""
    return line("gcloud", "beta", "quotas", "info", "list", f"--service={api}", f"--project={project}")


def resume(function: str) -> str:
    """Restore the push configuration of a step."""
    return f"python -m ops resume {function}"


def publish(project: str, topic: str, body: str) -> str:
    """Publish a message."""
    return line("gcloud", "pubsub", "topics", "publish", topic, f"--project={project}", f"--message={body}")
