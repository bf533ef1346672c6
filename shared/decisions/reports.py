"""Secrets that a sweep reports and a person corrects, with the commands for it.

Pure. Commands are quoted for a shell (`shared/values/commands.py`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from shared.decisions import removal
from shared.values.cluster_secret import (
    FUNCTIONS_PROJECT,
    INSTANCE,
    KEEP,
    MANAGED_BY_LABEL,
    MEMBERSHIP_HASH,
    SELECT_MANAGED,
    ClusterSecret,
    hash_label,
)
from shared.values.codes import FindingCode
from shared.values.commands import gcloud, gcloud_on, kubectl
from shared.values.findings import Finding, PlannedRequest
from shared.values.messages import OutgoingMessage, StepRequest
from shared.values.model import MANAGED_BY, Membership
from shared.values.names import ClusterName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shared.values.inventory import Inventory
    from shared.values.names import Name
    from shared.values.settings import Settings


# Argo CD keeps one cache for each server, and rebuilds it then (observed with 3.6).
_SHARED_CACHE = "Both have one server: deleting or holding either one closes Argo CD's cache of both"
DOCTOR: Final = "python -m ops doctor"
PLAN: Final = "python -m ops plan"


def of_another_cluster(
    name: ClusterName, secret: ClusterSecret, membership: Membership | None, settings: Settings
) -> PlannedRequest | Finding | None:
    """Return the hold of a Secret whose membership is another cluster's now; a finding where it is held or pinned already."""
    if membership is None or not removal.is_of_another(secret, membership):
        return None
    text = (
        f"has Secret {secret.name}, whose membership {membership.name} is that of {membership.cluster} now: Argo CD would"
        " deploy this cluster's applications to that one"
    )
    if secret.hold is None and not secret.is_pinned:
        request = StepRequest(name, membership.name, leave="other-cluster", secret_uid=secret.uid)
        message = OutgoingMessage("remove-secret", request)
        return PlannedRequest("hold", FindingCode.OTHER_CLUSTER, message, text, uid=secret.uid)
    held = f"It is held ({secret.hold.reason})" if secret.hold else "It is pinned, so it is not held"
    text = f"{text}. {held}. Delete the Secret if the cluster is gone or has left the fleet"
    return Finding(FindingCode.OTHER_CLUSTER, str(name), text, delete_command([secret.name], settings))


def unfindable(name: Name, secret: ClusterSecret, settings: Settings) -> Finding | None:
    """Report a Secret of ours whose hash labels a person has removed or changed; None if they are right.

    The steps find a Secret by the one, and the admission policy lets them change no Secret that lacks the other.
    """
    right = {hash_label(name): name.hash}
    if MEMBERSHIP_HASH not in secret.labels and secret.membership is not None:
        right[MEMBERSHIP_HASH] = secret.membership.hash
    wrong = [key for key, value in right.items() if secret.labels.get(key) != value]
    if not wrong:
        return None
    text = (
        f"is of {name}, and does not say so in {', '.join(wrong)}: no step can update or remove it. Correct its labels"
    )
    labels = [f"{key}={right[key]}" for key in wrong]
    command = kubectl(settings.argocd_namespace, "label --overwrite secret", secret.name, *labels)
    return Finding(FindingCode.INVALID_SECRET, secret.name, text, command)


def duplicates(name: Name, secrets: list[ClusterSecret], settings: Settings) -> Finding:
    """Report several Secrets of ours for one cluster; the command keeps the one with our name, or else the oldest."""
    ordered = sorted(secrets, key=lambda secret: (secret.name != name.secret_name, secret.created, secret.name))
    names = ", ".join(sorted(secret.name for secret in secrets))
    text = f"has {len(secrets)} Secrets of ours ({names}): delete the wrong one"
    if len({secret.data.get("server", "").rstrip("/") for secret in secrets}) < len(secrets):
        text = f"{text}. {_SHARED_CACHE}"
    command = delete_command([secret.name for secret in ordered[1:]], settings)
    return Finding(FindingCode.DUPLICATE_SECRETS, str(name), text, command)


def clash(
    other: ClusterSecret, managed: str, settings: Settings, *, is_same_cluster: bool, shares_server: bool
) -> Finding:
    """Report an unmanaged Secret for the same cluster as ours, or one that Argo CD would treat as ours."""
    if is_same_cluster:
        text = f"is unmanaged and for the same cluster as our {managed}: ApplicationSets deploy to it twice. Delete one"
    else:
        text = (
            f"is unmanaged and has the same name or server as our {managed}: Argo CD would treat the two as one"
            " cluster. Delete one"
        )
    text = f"{text}. {_SHARED_CACHE}" if shares_server else text
    return Finding(FindingCode.CLASHING_SECRET, other.name, text, delete_command([other.name], settings))


def delete_command(secrets: Iterable[str], settings: Settings) -> str:
    """Return the command that deletes Secrets."""
    return kubectl(settings.argocd_namespace, "delete secret", *secrets)


def unpin_command(secret: ClusterSecret, settings: Settings) -> str:
    """Return the command that removes a person's pin from a Secret: it may be an annotation or a label."""
    verb = "annotate" if secret.annotations.get(KEEP) == "true" else "label"
    return kubectl(settings.argocd_namespace, f"{verb} secret", secret.name, f"{KEEP}-")


def list_command(settings: Settings) -> str:
    """Return the command that lists the Secrets of this instance with their memberships."""
    selector = f"{MANAGED_BY_LABEL}={MANAGED_BY},{INSTANCE}={settings.instance}"
    columns = "NAME:.metadata.name,MEMBERSHIP:.metadata.annotations.fleet-registrar/membership"
    return kubectl(settings.argocd_namespace, "get secrets -l", selector, "-o", f"custom-columns={columns}")


def other_fleets(unmanaged: Sequence[ClusterSecret], settings: Settings) -> Iterator[Finding]:
    """One line for all Secrets of this instance in other fleets: FLEET_PROJECT may have been changed."""
    others = [
        secret
        for secret in unmanaged
        if secret.is_managed and secret.instance == settings.instance and not secret.is_of_namesake(settings)
    ]
    if others:
        names = ", ".join(sorted(secret.name for secret in others)[:20])
        text = (
            f"{len(others)} Secrets of the instance {settings.instance!r} name memberships of another fleet and are"
            f" left as they are ({names}). Set FLEET_PROJECT back, give each fleet an INSTANCE of its own, or move the"
            " clusters: unregister them there, delete these Secrets, and the sweep registers them here"
        )
        subject = f"projects/{settings.fleet_project}"
        yield Finding(FindingCode.OTHER_FLEET, subject, text, list_command(settings))


def namesakes(unmanaged: Sequence[ClusterSecret], settings: Settings) -> Iterator[Finding]:
    """Report each other registrar with the same INSTANCE; neither changes the other's Secrets."""
    found: dict[str, list[str]] = defaultdict(list)
    for secret in unmanaged:
        if secret.is_of_namesake(settings):
            found[secret.annotations[FUNCTIONS_PROJECT]].append(secret.name)
    for project, names in sorted(found.items()):
        instance = settings.instance
        text = (
            f"{len(names)} Secrets of the instance {instance!r} were written by functions in this project, so they are left"
            f" as they are ({', '.join(sorted(names)[:20])}). Give one of the two registrars another INSTANCE. If these"
            " functions replace those, take the Secrets over"
        )
        selected = f"{SELECT_MANAGED},{INSTANCE}={instance}"
        command = kubectl(settings.argocd_namespace, "annotate secrets -l", selected, f"{FUNCTIONS_PROJECT}-")
        yield Finding(FindingCode.SAME_INSTANCE, f"projects/{project}", text, command)


def left_out(inventory: Inventory, settings: Settings) -> Iterator[Finding]:
    """Report what the lists lack, and the consequence."""
    for project, why in sorted(inventory.unread.items()):
        text = f"could not be read, so nothing of it is removed: {why}"
        yield Finding(FindingCode.UNREAD_PROJECT, f"projects/{project}", text, DOCTOR)
    for project, zones in sorted(inventory.missing_zones.items()):
        text = f"the list lacks {', '.join(sorted(zones))}: nothing there is removed"
        command = gcloud("container clusters list", project=project)
        yield Finding(FindingCode.INCOMPLETE_LIST, f"projects/{project}", text, command)
    if inventory.unreachable:
        lacks = ", ".join(sorted(inventory.unreachable))
        text = f"the list of memberships lacks {lacks}: nothing there is removed"
        command = gcloud("container fleet memberships list", project=settings.fleet_project)
        yield Finding(FindingCode.INCOMPLETE_LIST, "the fleet", text, command)
    for name, why in sorted(inventory.unreadable.items(), key=str):
        text = f"is listed and cannot be read, so it stays as it is: {why}"
        yield Finding(FindingCode.UNREADABLE_ITEM, str(name), text, describe_command(name))


def describe_command(name: Name) -> str:
    """Return the command that shows the status of a cluster, with GKE's own messages, or a membership."""
    wanted = ["--format=yaml(status,statusMessage,conditions)"] if isinstance(name, ClusterName) else []
    return gcloud_on("describe", name, *wanted)


def register_command(name: ClusterName, settings: Settings) -> str:
    """Return the command that registers a GKE cluster in the fleet."""
    cluster = f"--gke-cluster={name.project}/{name.location}/{name.cluster}"
    return gcloud_on("register", name.membership(settings.fleet_project), cluster, "--enable-workload-identity")


def remove_shard_command(secret: str, settings: Settings) -> str:
    """Return the command that removes a Secret's shard: Argo CD then chooses one."""
    patch = '[{"op":"remove","path":"/data/shard"}]'
    return kubectl(settings.argocd_namespace, "patch secret", secret, "--type=json", "--patch", patch)


def leave_fleet_command(name: ClusterName) -> str:
    """Return the command that takes a cluster out of another project's fleet."""
    return gcloud_on("update", name, "--clear-fleet-project")
