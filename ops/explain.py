"""`ops explain CLUSTER`: one answer to "why is my cluster (not) in Argo CD". Reads only, with the operator's identity.

What this identity may not read, or what does not answer within some seconds, is unknown; the rest is shown.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ops import activity, authors, letters, remedies
from ops.activity import Activity, RetryPolicy
from ops.authors import Change
from ops.dead_letter_subscription import peek
from ops.doctor.api import Api, RefusedError
from ops.doctor.observed import at
from ops.evidence import Access, Evidence
from ops.explanation import explain
from ops.letters import DeadLetter
from ops.partial import SECONDS, shortly, survey_in_parts
from ops.survey import Snapshot, connected, find, secrets_of
from ops.terminal import MistakeError
from shared.clients.observe import find_membership, read_cluster, read_membership
from shared.decisions import rbac
from shared.decisions.rbac import Drift
from shared.decisions.steps import membership_in_list
from shared.runtime.services import Services
from shared.values.cluster_secret import ClusterSecret
from shared.values.codes import ErrorCode
from shared.values.errors import ReconcileError
from shared.values.model import Cluster, Gone, Membership
from shared.values.names import ClusterName, Name

if TYPE_CHECKING:
    import argparse


LOOK_BACK: Final = timedelta(days=1)
LETTER_SECONDS: Final = 10.0  # an empty pull alone waits for 4 s
_DRIFT_CODES: Final = {
    Drift.UNMANAGED: ErrorCode.UNMANAGED_BINDING,
    Drift.MISSING: remedies.NO_BINDING,
    Drift.CHANGED: remedies.NO_BINDING,
    Drift.OTHER_ROLE: remedies.NO_BINDING,
}


def run(options: argparse.Namespace) -> int:
    """Explain; 0 when the cluster is in Argo CD as it should be, 2 when not, 3 when that is unknown."""
    services = connected()
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(read_letters, services)
        seen = survey_in_parts(services)
        name = find(options.cluster, seen, dict(services.settings.numbers))
        found, letters_unread = task.result()
    explanation = explain(collect(name, seen, services, found, letters_unread))
    print(json.dumps(explanation.as_json(), indent=2) if options.json else explanation)
    return explanation.code


def read_letters(services: Services) -> tuple[list[DeadLetter], str]:
    """Read the dead letters within some seconds; the text says why they could not be read."""
    try:
        return shortly(lambda: peek(services), "reading the dead letters", LETTER_SECONDS), ""
    except (ReconcileError, MistakeError) as error:
        return [], str(error)


def collect(
    name: Name, seen: Snapshot, services: Services, found: list[DeadLetter], letters_unread: str = ""
) -> Evidence:
    """Read the evidence about this cluster that this identity may read."""
    cluster, unread = _cluster(name, seen, services)
    membership, membership_unread = _membership(name, cluster, seen, services)
    there = membership if isinstance(membership, Membership) else None
    names = {str(name)} | ({str(there.name)} if there else set())
    return Evidence(
        name=name,
        settings=services.settings,
        seen=seen,
        cluster=cluster,
        membership=membership,
        unread=unread or (membership_unread if not isinstance(name, ClusterName) else ""),
        membership_unread=membership_unread,
        access=_access(there, services) if there and not isinstance(cluster, Gone) else Access(),
        occupant=_occupant(name, seen, services),
        letters=tuple(letters.about(found, names)),
        letters_unread=letters_unread,
        activity=_activity(names, services),
        changes=_changes(name, there, services),
    )


def _cluster(name: Name, seen: Snapshot, services: Services) -> tuple[Cluster | Gone | None, str]:
    """Return the cluster, and why it could not be read. Lists are not read again."""
    if not isinstance(name, ClusterName):
        return None, ""
    if found := seen.inventory.clusters.get(name):
        return found, ""
    if why := seen.inventory.unread.get(name.project):
        return None, why
    try:
        return shortly(lambda: read_cluster(name, services)), ""
    except ReconcileError as error:
        return None, str(error)


def _membership(
    name: Name, cluster: Cluster | Gone | None, seen: Snapshot, services: Services
) -> tuple[Membership | Gone | None, str]:
    """Return the membership, and why it could not be read."""
    inventory = seen.inventory
    try:
        if not isinstance(name, ClusterName):
            if seen.fleet_unread:
                return None, seen.fleet_unread
            return inventory.memberships.get(name) or shortly(lambda: read_membership(name, services)), ""
        if isinstance(cluster, Cluster) and (found := membership_in_list(cluster, inventory.memberships.values())):
            return found, ""
        if seen.fleet_unread or not isinstance(cluster, Cluster):
            return None, seen.fleet_unread
        hint = next((secret.membership for secret in secrets_of(name, inventory)), None)
        return shortly(lambda: find_membership(cluster, hint, services)), ""
    except ReconcileError as error:
        return None, str(error)


def _occupant(name: Name, seen: Snapshot, services: Services) -> ClusterSecret | None:
    """Return the Secret that has the name of ours, if ours does not exist."""
    if seen.secrets_unread or secrets_of(name, seen.inventory):
        return None
    try:
        return shortly(lambda: services.central.secret_named(name.secret_name))
    except ReconcileError:
        return None  # the lists were read a second ago: a step would report it


def _access(membership: Membership, services: Services) -> Access:
    """Check through the gateway whether Argo CD's identity has access."""
    settings, attached = services.settings, membership.cluster is None
    url = settings.gateway_url(membership.name, gke=not attached)
    facts: list[str] = []
    problem: tuple[str, str] | None = None
    role = settings.argocd_cluster_role
    try:
        for desired in rbac.objects(settings, attached=attached):
            name, collection = desired["metadata"]["name"], rbac.collection(desired)
            drift = rbac.compare(shortly(lambda: services.gateway.get(url, collection, name)), desired)  # noqa: B023
            facts.append(f"{desired['kind']} {name}: {drift.value}")
            problem = problem or ((_DRIFT_CODES[drift], name) if drift in _DRIFT_CODES else None)
        if role != "cluster-admin" and shortly(lambda: services.gateway.get(url, rbac.ROLES, role)) is None:
            facts.append(
                f"ClusterRole {role} (ARGOCD_CLUSTER_ROLE): missing in the cluster, so the binding gives nothing"
            )
            problem = (ErrorCode.NO_ROLE, role)
    except ReconcileError as error:
        facts.append(f"unknown: the cluster could not be read with your identity: {error}")
        if problem is None:
            return Access(None, tuple(facts), error.code if error.code is ErrorCode.UNREACHABLE else "")
    return Access(problem is None, tuple(facts), *(problem or ("", "")))


def _activity(names: set[str], services: Services) -> Activity:
    """Read what the steps have logged about it, and how Pub/Sub retries the steps that fail."""
    api = Api(services.session, os.environ, SECONDS)
    project = services.settings.pubsub_project
    query = activity.query(project, names, services.now() - LOOK_BACK)
    try:
        found = Activity(activity.parse(api.entries(query)))
    except RefusedError as error:
        return Activity(unread=str(error))
    policies = {}
    for entry in found.failing:
        if policy := _policy(api, project, entry.step):
            policies[entry.step] = policy
    return Activity(found.entries, policies)


def _changes(name: Name, membership: Membership | None, services: Services) -> tuple[Change, ...]:
    """Read who changed it. A project whose audit log cannot be read is left out: the log is a help, not a fact."""
    api, settings = Api(services.session, os.environ, SECONDS), services.settings
    found: list[Change] = []
    for project in authors.projects(name, settings.fleet_project, settings.central_membership.project):
        known = membership.name if membership else None
        body = authors.query(project, name, known, services.now() - LOOK_BACK, settings)
        with suppress(RefusedError):
            found += authors.parse(api.entries(body))
    return tuple(authors.newest(found))


def _policy(api: Api, project: str, step: str) -> RetryPolicy | None:
    try:
        policy = at(api.get("pubsub", f"v1/projects/{project}/subscriptions/{step}"), "retryPolicy")
        waits = [float(str(policy[key]).removesuffix("s")) for key in ("minimumBackoff", "maximumBackoff")]
    except (RefusedError, KeyError, TypeError, ValueError):
        return None
    return RetryPolicy(*(timedelta(seconds=seconds) for seconds in waits))
