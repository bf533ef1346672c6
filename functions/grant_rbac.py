"""`grant_rbac`: lets Argo CD's identity into the cluster, through the gateway, and proves that it works.

Needs: gateway get, post, patch, delete and memberships get, list in the fleet project; in the source projects clusters
get and list, ClusterRoleBindings, `container.clusterRoles.bind` and access reviews (IAM, because a new cluster knows no
RBAC of ours); on attached clusters a person grants that once. Only this
function may bind roles, so it shares its identity with no other.
"""

from __future__ import annotations

from contextlib import suppress

from shared.clients.observe import read_subject, read_target
from shared.clients.ports import Services
from shared.decisions import rbac, steps
from shared.decisions.outcomes import access_denied, no_op
from shared.decisions.rbac import Drift
from shared.decisions.steps import Action
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import ConflictError, PermanentError, RefusedError, RetryableError
from shared.values.messages import Outcome, OutgoingMessage, StepRequest
from shared.values.model import Cluster, Membership
from shared.values.objects import Object
from shared.values.target import AttachedTarget

# Seconds between access reviews: 2 s in all.
REVIEW_PAUSES = (0.1, 0.2, 0.4, 0.6, 0.7)


def run(request: StepRequest, services: Services) -> Outcome:
    """Do the step for what the message names."""
    subject = read_subject(request, services)
    move = steps.GRANT[subject.state]
    if move is not Action.ONBOARD or not isinstance(subject.observed, Cluster | Membership):
        return no_op(move, subject, services.settings)
    target = read_target(subject.observed, request.membership, services)
    membership, attached = target.membership, isinstance(target, AttachedTarget)
    url = target.server(services.settings)
    try:
        did = _ensure_access(url, services, attached=attached, new=request.new)
        _delete_previous(url, request.previous, services, attached=attached)
    except RefusedError as error:
        if not attached:
            raise
        raise access_denied(membership, services.settings, error) from error
    following = StepRequest(
        subject.request.cluster,
        membership.name,
        granted=services.signer.sign_grant(rbac.grant_audience(target, services.settings)),
        membership_uid=membership.unique_id,
        renewed=bool(did) and not request.new,
        previous=request.previous,
        identity=services.settings.argocd_service_account,
    )
    reason = (
        f"{services.settings.argocd_service_account} may use {subject.name} as {services.settings.argocd_cluster_role}"
    )
    decision = Decision.GRANTED if did else Decision.UNCHANGED
    message = f"{did or 'the binding is up to date'}: {reason}"
    return Outcome(decision, subject.state, message, (OutgoingMessage("write-secret", following),))


def _ensure_access(url: str, services: Services, *, attached: bool, new: bool) -> str:
    """Create what is missing, prove that the access works, and return what was done: '' for nothing.

    In a new cluster, and once one object was missing, the rest is created before it is read: that saves calls.
    """
    settings = services.settings
    did: list[str] = []
    for desired in rbac.objects(settings, attached=attached):
        did.append(_ensure_object(url, desired, services, create_first=new))
        new = new or bool(did[-1])
    role = None
    if settings.argocd_cluster_role != "cluster-admin":
        role = services.gateway.get(url, rbac.ROLES, settings.argocd_cluster_role)
        if role is None:
            raise RetryableError(
                f"ClusterRole {settings.argocd_cluster_role} (ARGOCD_CLUSTER_ROLE) is not in the cluster at {url}",
                ErrorCode.NO_ROLE,
            )
    for review in rbac.reviews(settings, role, attached=attached):
        _prove(url, review, services)
    return ", ".join(filter(None, did))


def _delete_previous(url: str, previous: str, services: Services, *, attached: bool) -> None:
    """Delete our objects of an identity that is no longer Argo CD's, once the new one has access."""
    for manifest in rbac.objects_of_previous(services.settings, previous, attached=attached):
        name, collection = manifest["metadata"]["name"], rbac.collection(manifest)
        current = services.gateway.get(url, collection, name)
        if current is not None and rbac.is_managed(current, services.settings.instance):
            services.gateway.delete(url, collection, name, rbac.version(current))


def _ensure_object(url: str, desired: Object, services: Services, *, create_first: bool) -> str:
    """Bring one object to what it should be; '' when nothing differed."""
    name = desired["metadata"]["name"]
    collection = rbac.collection(desired)
    if create_first:
        with suppress(ConflictError):
            services.gateway.create(url, collection, desired)
            return f"made {desired['kind']} {name}"
    current = services.gateway.get(url, collection, name)
    match rbac.compare(current, desired):
        case Drift.NONE:
            return ""
        case Drift.MISSING:
            services.gateway.create(url, collection, desired)
            return f"made {desired['kind']} {name}"
        case Drift.CHANGED if current is not None:
            services.gateway.patch(url, collection, name, rbac.patch(current, desired))
            return f"repaired {desired['kind']} {name}"
        case Drift.OTHER_ROLE if current is not None:
            services.gateway.delete(url, collection, name, rbac.version(current))
            services.gateway.create(url, collection, desired)
            return f"re-created {desired['kind']} {name} with another role"
        case _:
            raise PermanentError(
                f"{desired['kind']} {name} in the cluster at {url} has no label of ours, so it is unmanaged and stays"
                " unchanged. Rename or delete it, then replay the message",
                ErrorCode.UNMANAGED_BINDING,
            )


def _prove(url: str, review: Object, services: Services) -> None:
    """Ask whether the access works, again for up to 2 s: the authoriser learns of a new binding by a watch."""
    spec = review["spec"]
    for pause in (*REVIEW_PAUSES, None):
        status = services.gateway.create(url, rbac.REVIEWS, review).get("status") or {}
        if status.get("allowed"):
            return
        if pause is not None:
            services.sleep(pause)
    raise RetryableError(
        f"{spec['user']} may not yet {spec['resourceAttributes']} in the cluster at {url}: asked for 2 s",
        ErrorCode.ACCESS_UNPROVEN,
    )
