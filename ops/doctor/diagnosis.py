"""All checks, in the order in which an operator repairs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.doctor import checks_central, checks_fleet, checks_functions, checks_google, checks_pubsub
from ops.doctor.expected import Expected
from ops.doctor.findings import Finding, Read, Status, Unread
from ops.doctor.observed import Observed

if TYPE_CHECKING:
    from datetime import datetime


def diagnose(expected: Expected, seen: Observed, now: datetime) -> list[Finding]:
    """Return the findings of every check: at least one for each."""
    google, delivery, central, fleet = seen.google, seen.delivery, seen.central, seen.fleet
    return [
        Finding("settings", Status.PASS, "", "valid"),
        *checks_google.check_operator(expected, google),
        *checks_google.check_projects(expected, google),
        *checks_google.check_apis(expected, google),
        *checks_google.check_accounts(expected, google),
        *checks_google.check_permissions(expected, google),
        *checks_google.check_publishers(expected, google, delivery.topic_policies),
        *checks_google.check_agents(expected, google),
        *checks_google.check_builder(expected, google),
        *checks_functions.check_functions(expected, delivery),
        *checks_functions.check_code(expected, delivery),
        *checks_functions.check_settings(expected, delivery, seen.environment),
        *checks_functions.check_invokers(expected, delivery, google),
        *checks_pubsub.check_topics(expected, delivery),
        *checks_pubsub.check_subscriptions(expected, delivery),
        *checks_pubsub.check_dead_letters(expected, delivery, google),
        *checks_functions.check_triggers(expected, delivery),
        *checks_functions.check_sinks(expected, delivery, google),
        *checks_functions.check_schedule(expected, delivery, now),
        *checks_central.check_central(expected, central),
        *checks_central.check_argocd(expected, central),
        *checks_central.check_sharding(expected, central, fleet),
        *checks_central.check_applications(expected, central),
        *checks_central.check_argocd_identity(expected, central),
        *checks_google.check_workload_identity(expected, google, central.workload_pool, is_gke=_is_gke(seen)),
        *checks_central.check_access(expected, central),
        *checks_central.check_policy(expected, central),
        *checks_fleet.check_membership_quota(expected, fleet),
        *checks_fleet.check_gateway_quota(expected, fleet),
        *checks_fleet.check_unmanaged(expected, fleet),
        *checks_fleet.check_writers(expected, fleet),
    ]


def _is_gke(seen: Observed) -> Read[bool]:
    membership = seen.central.membership
    if isinstance(membership, Unread):
        return membership
    return bool((membership or {}).get("endpoint", {}).get("gkeCluster"))
