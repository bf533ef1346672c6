"""Which unmanaged cluster Secrets `ops adopt` takes over, and the patch that makes them ours: decided from the lists alone.

Pure. `shared.decisions.recognition` says which cluster a Secret is for. The Secret gets our mark and the names by which the
chain finds it, and nothing else: `write_secret` writes the ids, the labels, the configuration and the grant in one change,
once the access is proven. Until then Argo CD uses the previous content.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ops.survey import Snapshot, secrets_of
from shared.decisions import recognition
from shared.decisions.recognition import PLUGIN, Index
from shared.decisions.steps import membership_in_list
from shared.values import cluster_secret
from shared.values.cluster_secret import ClusterSecret
from shared.values.messages import OutgoingMessage, StepRequest
from shared.values.model import MANAGED_BY, State, state_of_attached, state_of_cluster
from shared.values.names import ClusterName, MembershipName, Name
from shared.values.objects import Object, encoded
from shared.values.settings import Settings


@dataclass(frozen=True, slots=True)
class Adoption:
    """A Secret to adopt: its cluster, the evidence, the merge patch, and what the chain will change."""

    secret: ClusterSecret
    request: StepRequest
    known_by: str
    patch: Object
    notes: tuple[str, ...] = ()

    @property
    def next(self) -> OutgoingMessage:
        """The request that has the chain complete it."""
        return OutgoingMessage("register-membership", self.request)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A Secret that is left as it is, why, and the command that helps ('' if no command helps)."""

    secret: ClusterSecret
    reason: str
    command: str = ""


class NotAdoptableError(Exception):
    """A Secret is not for us; the message says why, and `command` is what helps."""

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(message)
        self.command = command


def match_secrets(
    seen: Snapshot, settings: Settings, *, change_server: bool = False
) -> tuple[list[Adoption], list[Skipped]]:
    """Match unmanaged Secrets with the fleet. `change_server` also adopts those whose server would change."""
    index = _index(seen, settings)
    left: list[Skipped] = []
    of_one: dict[Name, list[Adoption]] = defaultdict(list)
    for secret in sorted(seen.inventory.unmanaged, key=lambda each: each.name):
        try:
            one = _matched(secret, seen, index, settings, change_server=change_server)
        except NotAdoptableError as error:
            left.append(Skipped(secret, str(error), error.command))
            continue
        of_one[one.request.name].append(one)
    adoptions = []
    for name, several in of_one.items():
        others = [each.name for each in secrets_of(name, seen.inventory)] + [each.secret.name for each in several]
        if len(others) == 1:
            adoptions += several
            continue
        text = (
            f"{name} has {len(others)} Secrets ({', '.join(sorted(others))}): delete the wrong one, then run it again"
        )
        left += [Skipped(each.secret, text) for each in several]
    return adoptions, left


def known(seen: Snapshot, settings: Settings) -> dict[Name, list[ClusterSecret]]:
    """Return the unmanaged Secrets by the cluster that they are for, as far as that is known."""
    found = recognition.recognised(seen.inventory.unmanaged, _index(seen, settings))
    return {name: [secret for secret, _ in secrets] for name, secrets in found.items()}


def _index(seen: Snapshot, settings: Settings) -> Index:
    inventory = seen.inventory
    return recognition.index(inventory.clusters.values(), inventory.memberships.values(), settings, inventory.unmanaged)


def _matched(
    secret: ClusterSecret, seen: Snapshot, index: Index, settings: Settings, *, change_server: bool
) -> Adoption:
    _check_owner(secret, settings)
    name, known_by = _meant(secret, index, settings)
    cluster, membership = _both_names(name, seen, settings)
    server = settings.gateway_url(membership, gke=cluster is not None)
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
    request = StepRequest(cluster, membership)
    return Adoption(secret, request, known_by, _patch(secret, cluster, membership, settings.instance), tuple(notes))


def _check_owner(secret: ClusterSecret, settings: Settings) -> None:
    """Raise NotAdoptableError for a Secret that another tool, or another registrar, still writes."""
    if secret.is_managed:
        raise NotAdoptableError(
            f"{secret.owner(settings)}: select the cluster in one registrar only. If that registrar does not exist any more,"
            f" remove the label {cluster_secret.MANAGED_BY_LABEL} first"
        )
    writer = recognition.writer(secret)
    if writer and PLUGIN not in secret.annotations:
        raise NotAdoptableError(
            f"{writer} still writes it: stop that tool, and remove its label, annotation or owner first"
        )
    if secret.is_immutable:
        raise NotAdoptableError(
            "is immutable, so nobody can change its server and config: replace it by one that is not"
        )
    if owner := secret.labels.get(cluster_secret.MANAGED_BY_LABEL, ""):
        raise NotAdoptableError(
            f"has the label {cluster_secret.MANAGED_BY_LABEL}={owner}: end the management by {owner}, and remove the label first"
        )


def _meant(secret: ClusterSecret, index: Index, settings: Settings) -> tuple[Name, str]:
    """Return a Secret's cluster, and the evidence."""
    found = recognition.recognise(secret, index)
    command = recognition.annotate_command(secret, settings)
    if not found.names:
        raise NotAdoptableError(f"{found.problem}. If it is for one of ours, say which", command)
    if len(found.names) > 1:
        several = ", ".join(sorted(map(str, found.names)))
        raise NotAdoptableError(f"its names and its address lead to several clusters: {several}. Say which", command)
    [name] = found.names
    if isinstance(name, MembershipName) and name not in index.memberships:
        raise NotAdoptableError(
            f"our fleet lists no membership {name}, which it is for by {found.known_by}. If its cluster has another membership"
            f" now, say which cluster it is, then adopt it with --change-server",
            command,
        )
    return name, found.known_by


def _both_names(name: Name, seen: Snapshot, settings: Settings) -> tuple[ClusterName | None, MembershipName]:
    """Return both names of a cluster that is running and selected; an attached cluster has one."""
    inventory = seen.inventory
    if isinstance(name, MembershipName):
        membership = inventory.memberships[name]
        state = state_of_attached(membership, settings)
        if state is not State.SELECTED:
            raise NotAdoptableError(f"{name} is {state.text} ({membership.state})")
        if membership.agent_lost(seen.now):
            raise NotAdoptableError(f"the agent of {name} is lost: run it again when it is back")
        return None, name
    cluster = inventory.clusters.get(name)
    if cluster is None:
        why = inventory.unread.get(name.project)
        if why:
            raise NotAdoptableError(f"{name}: its project could not be read: {why}")
        if name.project not in inventory.listed:
            raise NotAdoptableError(f"{name} is in no source project (SOURCE_PROJECTS)")
        raise NotAdoptableError(f"{name} is not listed: it does not exist, or its location is missing from the list")
    state = state_of_cluster(cluster, settings, seen.central)
    if state is not State.SELECTED:
        raise NotAdoptableError(f"{name} is {state.text} ({cluster.status})")
    found = membership_in_list(cluster, inventory.memberships.values())
    listed = found.name if found and not found.is_of_earlier(cluster) and not found.is_stale(cluster) else None
    return name, cluster.membership or listed or name.membership(settings.fleet_project)


def _patch(secret: ClusterSecret, cluster: ClusterName | None, membership: MembershipName, instance: str) -> Object:
    """Return the merge patch that makes the very Secret that was read ours."""
    labels = {
        cluster_secret.MANAGED_BY_LABEL: MANAGED_BY,
        cluster_secret.INSTANCE: instance,
        cluster_secret.MEMBERSHIP_HASH: membership.hash,
    }
    annotations: dict[str, str | None] = {cluster_secret.MEMBERSHIP: str(membership)}
    if cluster is not None:
        labels[cluster_secret.CLUSTER_HASH] = cluster.hash
        annotations[cluster_secret.CLUSTER] = str(cluster)
    if PLUGIN in secret.annotations:
        annotations[PLUGIN] = None
    patch: Object = {"metadata": {**secret.precondition, "labels": labels, "annotations": annotations}}
    if not secret.data.get("name"):
        # An empty name is one that no ApplicationSet can use; the functions never change a name that is there.
        name = (cluster or membership).secret_name
        patch["data"] = {"name": encoded(name)}
    return patch
