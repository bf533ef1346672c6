"""Whose cluster Secrets that others have written are, and what makes them ours: decided from the lists alone.

Pure. A Secret is known by its `server` where that is a gateway URL of our fleet, else by what a person has annotated, else
by a name that a known tool gives. It gets our mark and the names by which the chain finds it, and nothing else: the ids,
the labels, the configuration and the grant are written by `write_secret`, in one change, once the access is proven. Until
then Argo CD uses the previous content.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ops.survey import Name, Snapshot, secrets_of
from shared.values import cluster_secret
from shared.values.cluster_secret import ClusterSecret
from shared.values.messages import OutgoingMessage, StepRequest
from shared.values.model import MANAGED_BY, State, state_of_attached, state_of_cluster
from shared.values.names import ClusterName, InvalidNameError, MembershipName
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_HOST = re.compile(r"https://(?:[a-z0-9-]+-)?connectgateway\.googleapis\.com/")
_PATH = re.compile(r"v1[a-z0-9]*/(projects/[^/]+/locations/[^/]+)/(?:gkeMemberships|memberships)/([^/?]+)/*(?:\?.*)?")

# Marks of controllers that go on writing what they have written: argoproj-labs/clusterprofile-integration-for-argocd,
# GoogleCloudPlatform/gke-fleet-management (argocd-clusterprofile-syncer), capi2argo-cluster-operator.
OWNED_BY: Final[Mapping[str, str]] = {
    "argocd.argoproj.io/cluster-profile-origin": "the ClusterProfile integration",
    "multicluster.x-k8s.io/managed-by-cp-syncer": "argocd-clusterprofile-syncer",
    "capi-to-argocd/owned": "capi2argo-cluster-operator",
}
# GoogleCloudPlatform/gke-fleet-management, fleet-argocd-plugin: it deletes Secrets with this annotation, and overwrites
# whole Secrets while it runs.
PLUGIN: Final = "fleet.gke.io/managed-by-fleet-plugin"


@dataclass(frozen=True, slots=True)
class Adoption:
    """A Secret to take over: for which cluster, known by what, the merge patch, and what the chain will change."""

    secret: ClusterSecret
    request: StepRequest
    known_by: str
    patch: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def next(self) -> OutgoingMessage:
        """The request that has the chain complete it."""
        return OutgoingMessage("register-membership", self.request)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A Secret that is left as it is, and why."""

    secret: ClusterSecret
    reason: str


class NotAdoptableError(Exception):
    """A Secret is not for us; the message says why."""


def match_secrets(
    seen: Snapshot, settings: Settings, *, change_server: bool = False
) -> tuple[list[Adoption], list[Skipped]]:
    """Hold the Secrets of others against the fleet. `change_server` takes over those whose server would change, too."""
    left: list[Skipped] = []
    of_one: dict[Name, list[Adoption]] = defaultdict(list)
    for secret in sorted(seen.inventory.unmanaged, key=lambda each: each.name):
        try:
            one = _matched(secret, seen, settings, change_server=change_server)
        except NotAdoptableError as error:
            left.append(Skipped(secret, str(error)))
            continue
        name = one.request.cluster or one.request.membership
        assert name is not None  # noqa: S101 - for the type checker
        of_one[name].append(one)
    adoptions = []
    for name, several in of_one.items():
        others = [each.name for each in secrets_of(name, seen.inventory)] + [each.secret.name for each in several]
        if len(others) == 1:
            adoptions += several
            continue
        told = (
            f"{name} has {len(others)} Secrets ({', '.join(sorted(others))}): delete the wrong one, then run it again"
        )
        left += [Skipped(each.secret, told) for each in several]
    return adoptions, left


def known(seen: Snapshot, settings: Settings) -> dict[Name, list[ClusterSecret]]:
    """Return the unmanaged Secrets by the cluster that they are for, if that is known."""
    found: dict[Name, list[ClusterSecret]] = defaultdict(list)
    for secret in seen.inventory.unmanaged:
        with contextlib.suppress(NotAdoptableError):
            name, _ = _meant(secret, seen, settings)
            found[_led_to_cluster(name, seen)].append(secret)
    return found


def _matched(secret: ClusterSecret, seen: Snapshot, settings: Settings, *, change_server: bool) -> Adoption:
    owner = secret.labels.get(cluster_secret.MANAGED_BY_LABEL, "")
    for key, whose in OWNED_BY.items():
        if key in secret.labels or key in secret.annotations:
            raise NotAdoptableError(f"{whose} goes on writing it ({key}): let that go of it first")
    if owner:
        raise NotAdoptableError(
            f"says that {owner} manages it (label {cluster_secret.MANAGED_BY_LABEL}): let that go of it and take the label off"
        )
    name, known_by = _meant(secret, seen, settings)
    request, gke = _wanted(name, seen, settings)
    assert request.membership is not None  # noqa: S101 - _wanted gives both names
    server = settings.gateway_url(request.membership, gke=gke)
    current = secret.data.get("server", "").rstrip("/")
    notes = []
    if current != server:
        if not change_server:
            raise NotAdoptableError(
                f"is known as {name} by {known_by}, but its server would change from {current or 'nothing'} to {server}:"
                " Applications that name the server would lose their cluster. Let them name the cluster, then adopt it with"
                " --change-server"
            )
        notes.append(f"server changes from {current or 'nothing'}")
    if PLUGIN in secret.annotations:
        notes.append("stop fleet-argocd-plugin: while it runs it overwrites the Secret")
    return Adoption(secret, request, known_by, _patch(secret, request), tuple(notes))


def _meant(secret: ClusterSecret, seen: Snapshot, settings: Settings) -> tuple[Name, str]:
    """Return which cluster a Secret is for, and by what it is known."""
    server = secret.data.get("server", "")
    at = membership_at(server, settings)
    if at is not None:
        return at, "its server"
    try:
        if cluster_secret.CLUSTER in secret.annotations:
            name = ClusterName.parse(secret.annotations[cluster_secret.CLUSTER], settings.numbers)
            return name, "its annotation"
        if cluster_secret.MEMBERSHIP in secret.annotations:
            named = MembershipName.parse(secret.annotations[cluster_secret.MEMBERSHIP], settings.numbers)
            return named, "its annotation"
    except InvalidNameError as fault:
        raise NotAdoptableError(f"its annotation cannot be read: {fault}") from fault
    told = {secret.name, secret.data.get("name", "")}
    found = {name for name in _names(seen) for given in given_names(name, settings) if given in told}
    found = {_led_to_cluster(name, seen) for name in found}
    if len(found) == 1:
        return found.pop(), "its name"
    if found:
        raise NotAdoptableError(f"its names lead to several clusters: {', '.join(sorted(map(str, found)))}")
    raise NotAdoptableError(
        f"its server {server or '(none)'} is no gateway URL, and no cluster or membership goes by its names. If it is one of"
        f" ours, say which: kubectl -n {settings.argocd_namespace} annotate secret {secret.name}"
        f" {cluster_secret.CLUSTER}=projects/PROJECT/locations/LOCATION/clusters/CLUSTER"
    )


def membership_at(server: str, settings: Settings) -> MembershipName | None:
    """Return the membership that a gateway URL leads to, in any of its forms; None for any other URL.

    The host is regional or global, the project an id or a number, and older tools wrote other versions of the API.
    """
    override = settings.connectgateway_endpoint.rstrip("/")
    host = _HOST.match(server)
    if override and server.startswith(f"{override}/"):
        path = server[len(override) + 1 :]
    elif host:
        path = server[host.end() :]
    else:
        return None
    found = _PATH.fullmatch(path)
    try:
        name = MembershipName.parse(f"{found[1]}/memberships/{found[2]}", settings.numbers) if found else None
    except InvalidNameError as fault:
        raise NotAdoptableError(f"its server {server} is a gateway URL, but not of our fleet: {fault}") from fault
    if name is None or name.project != settings.fleet_project:
        raise NotAdoptableError(f"its server {server} is a gateway URL, but of no membership of our fleet")
    return name


def given_names(name: Name, settings: Settings) -> Iterator[str]:
    """Yield the names that known tools give to a cluster, or to its membership, in Argo CD."""
    yield name.secret_name
    if isinstance(name, ClusterName):
        # The context of `gcloud container clusters get-credentials`, which `argocd cluster add` takes as the name.
        yield f"gke_{name.project}_{name.location}_{name.cluster}"
    else:
        # fleet-argocd-plugin, and the context of `gcloud container fleet memberships get-credentials`.
        yield f"{name.membership}.{name.location}.{settings.fleet_project_number}"
        yield f"connectgateway_{name.project}_{name.location}_{name.membership}"


def _names(seen: Snapshot) -> Iterator[Name]:
    yield from seen.inventory.clusters
    yield from seen.inventory.memberships


def _led_to_cluster(name: Name, seen: Snapshot) -> Name:
    membership = seen.inventory.memberships.get(name) if isinstance(name, MembershipName) else None
    return membership.cluster if membership and membership.cluster else name


def _wanted(name: Name, seen: Snapshot, settings: Settings) -> tuple[StepRequest, bool]:
    """Return both names of a cluster that is alive and wanted, and whether it is a GKE cluster."""
    inventory = seen.inventory
    if isinstance(name, MembershipName):
        membership = inventory.memberships.get(name)
        if membership is None:
            raise NotAdoptableError(f"our fleet lists no membership {name}")
        if membership.cluster is None:
            state = state_of_attached(membership, settings)
            if state is not State.SELECTED:
                raise NotAdoptableError(f"{name} is {state.text} ({membership.state})")
            if membership.agent_lost(seen.now):
                raise NotAdoptableError(f"the agent of {name} is lost: run it again when it is back")
            return StepRequest(membership=name), False
        found, cluster_name = membership.name, membership.cluster
    else:
        found, cluster_name = None, name
    cluster = inventory.clusters.get(cluster_name)
    if cluster is None:
        why = inventory.unread.get(cluster_name.project)
        if why:
            raise NotAdoptableError(f"{cluster_name}: its project could not be read: {why}")
        if cluster_name.project not in inventory.listed:
            raise NotAdoptableError(f"{cluster_name} is in no source project (SOURCE_PROJECTS)")
        raise NotAdoptableError(
            f"{cluster_name} is not listed: it does not exist, or its location is missing from the list"
        )
    state = state_of_cluster(cluster, settings, seen.central)
    if state is not State.SELECTED:
        raise NotAdoptableError(f"{cluster_name} is {state.text} ({cluster.status})")
    if found is not None and cluster.membership not in (None, found):
        raise NotAdoptableError(f"{cluster_name} says that its membership is {cluster.membership}, not {found}")
    return StepRequest(
        cluster_name, found or cluster.membership or cluster_name.membership(settings.fleet_project)
    ), True


def _patch(secret: ClusterSecret, request: StepRequest) -> dict[str, Any]:
    """Return the merge patch that makes the very Secret that was read ours."""
    assert request.membership is not None  # noqa: S101 - for the type checker
    labels = {cluster_secret.MANAGED_BY_LABEL: MANAGED_BY, cluster_secret.MEMBERSHIP_HASH: request.membership.hash}
    annotations: dict[str, str | None] = {cluster_secret.MEMBERSHIP: str(request.membership)}
    if request.cluster is not None:
        labels[cluster_secret.CLUSTER_HASH] = request.cluster.hash
        annotations[cluster_secret.CLUSTER] = str(request.cluster)
    if PLUGIN in secret.annotations:
        annotations[PLUGIN] = None
    version = {"uid": secret.uid, "resourceVersion": secret.resource_version}
    patch: dict[str, Any] = {"metadata": {**version, "labels": labels, "annotations": annotations}}
    if not secret.data.get("name"):
        # An empty name is one that no ApplicationSet can use; the functions never change a name that is there.
        name = (request.cluster or request.membership).secret_name
        patch["data"] = {"name": base64.b64encode(name.encode()).decode()}
    return patch
