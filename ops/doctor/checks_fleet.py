"""Checks of the fleet: quotas, Secrets that are not managed, and who else writes cluster Secrets. Pure."""

from __future__ import annotations

from typing import Final

from ops.doctor import commands
from ops.doctor.codes import Code
from ops.doctor.expected import Expected
from ops.doctor.findings import Check, Finding
from ops.doctor.observed import Fleet
from ops.terminal import pluralize
from shared.values.commands import kubectl

NEAR: Final = 0.8
# Argo CD 3.6 with 56 kinds in a cluster: one list and one watch for each kind in a burst every ten minutes. After a restart of the
# controller all clusters are in step (measured; docs/scale.md).
BURST_REQUESTS: Final = 112
BURST_MINUTES: Final = 10


def check_membership_quota(expected: Expected, seen: Fleet) -> list[Finding]:
    """The fleet has room for more memberships."""
    check = Check("quota-memberships")
    project = expected.settings.fleet_project
    used = check.known(seen.memberships, project)
    limits = check.known(seen.membership_limits, project)
    if used is None or limits is None:
        return check.end(project, "")
    text = []
    for location, number in sorted(used.items()):
        limit = limits.get(location, limits.get("" if location != "global" else "global", number + 1))
        text.append(f"{number} of {limit} in {location}")
        ask = commands.quotas("gkehub.googleapis.com", project)
        if number >= limit:
            check.fail(Code.MEMBERSHIPS_AT_QUOTA, location, f"{number} of {limit} memberships are used", ask)
        elif number >= NEAR * limit:
            check.warn(Code.MEMBERSHIPS_NEAR_QUOTA, location, f"{number} of {limit} memberships are used", ask)
    return check.end(project, ", ".join(text) or "no memberships")


def check_gateway_quota(expected: Expected, seen: Fleet) -> list[Finding]:
    """Connect Gateway's requests a minute: used in the last hour, and estimated for Argo CD."""
    check = Check("quota-gateway")
    project = expected.settings.fleet_project
    peak = check.known(seen.gateway_peak, project)
    limit = check.known(seen.gateway_limit, project)
    secrets = check.known(seen.secrets, project)
    ask = commands.quotas("connectgateway.googleapis.com", project)
    if peak is not None and limit and peak >= NEAR * limit:
        text = f"the busiest minute of the last hour had {peak} of {limit} requests"
        check.warn(Code.GATEWAY_NEAR_QUOTA, project, text, ask)
    average = None
    if limit and secrets is not None:
        average = len(secrets) * BURST_REQUESTS // BURST_MINUTES
        if average >= NEAR * limit:
            text = (
                f"Argo CD makes about {average} requests a minute for {pluralize(len(secrets), 'cluster')}"
                f" with Applications, {limit} are allowed"
            )
            check.warn(Code.GATEWAY_WILL_EXCEED, project, text, ask)
    return check.end(
        project,
        f"{peak} of {limit} requests in the busiest minute of the last hour;"
        f" Argo CD makes up to about {average} a minute for {pluralize(len(secrets or ()), 'cluster')}",
    )


def check_unmanaged(expected: Expected, seen: Fleet) -> list[Finding]:
    """No unmanaged Secret is for one of our clusters: a second Secret would generate each Application twice."""
    check = Check("unmanaged-secrets")
    unmanaged = check.known(seen.unmanaged, expected.settings.argocd_namespace)
    if unmanaged:
        text = ", ".join(f"{secret} ({cluster})" for secret, cluster in unmanaged[:3])
        more = f" and {len(unmanaged) - 3} more" if len(unmanaged) > 3 else ""
        verb = "is" if len(unmanaged) == 1 else "are"
        check.warn(
            Code.UNMANAGED_SECRETS,
            "",
            f"{pluralize(len(unmanaged), 'unmanaged Secret')} {verb} for our clusters: {text}{more}",
            "python -m ops adopt --dry-run",
        )
    return check.end("", "no unmanaged Secret is for our clusters")


def check_writers(expected: Expected, seen: Fleet) -> list[Finding]:
    """Nobody else writes cluster Secrets for our clusters: another registrar, or a ClusterProfile syncer."""
    check = Check("other-writers")
    writers = check.known(seen.writers, expected.settings.argocd_namespace)
    namespace = expected.settings.argocd_namespace
    for secret, cluster, writer in writers or ():
        text = f"is written by {writer}" + (f" for {cluster}" if cluster else "") + ": stop one of the two"
        fix = kubectl(namespace, "get secret", secret, "-o", "jsonpath={.metadata}")
        check.warn(Code.SECOND_WRITER, secret, text, fix)
    return check.end("", "no other tool writes cluster Secrets here")
