"""`grant_rbac`: grants Argo CD's identity access to the cluster through the gateway, and verifies it.

Needs: gateway get, post, patch, delete and memberships get, list in the fleet project; in the source projects clusters
get and list, ClusterRoleBindings list, create, update and delete, `container.clusterRoles.bind` and access reviews (IAM,
because a new cluster knows no RBAC of ours); on attached clusters a person grants that once. Only this function may bind
roles, so it shares its identity with no other.
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
    """Run the step for the cluster or membership that the message names."""
    subject = read_subject(request, services)
    move = steps.GRANT[subject.state]
    if move is not Action.ONBOARD or not isinstance(subject.observed, Cluster | Membership):
        return no_op(move, subject, services.settings)
    target = read_target(subject.observed, request.membership, services)
    membership, attached = target.membership, isinstance(target, AttachedTarget)
    url = target.server(services.settings)
    try:
        objects = _Objects(url, services)
        did = _ensure_access(objects, attached=attached, new=request.new)
        if not request.new or request.previous:
            _delete_stale(objects, request.previous, attached=attached)
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


class _Objects:
    """Our RBAC objects in one cluster, listed once for each collection and only if they are needed."""

    def __init__(self, url: str, services: Services) -> None:
        self.url = url
        self.services = services
        self._listed: dict[str, dict[str, Object]] = {}

    def of(self, collection: str, *, again: bool = False) -> dict[str, Object]:
        """Return the objects with our label by their names."""
        if again or collection not in self._listed:
            found = self.services.gateway.list(self.url, collection, rbac.SELECT)
            self._listed[collection] = {each["metadata"]["name"]: each for each in found}
        return self._listed[collection]


def _ensure_access(objects: _Objects, *, attached: bool, new: bool) -> str:
    """Create missing objects, verify the access, and return what was done: '' for nothing.

    In a new cluster, and after one object was missing, the others are created without a read. That saves calls.
    """
    url, services = objects.url, objects.services
    settings = services.settings
    did: list[str] = []
    for desired in rbac.objects(settings, attached=attached):
        did.append(_ensure_object(objects, desired, create_first=new))
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


def _delete_stale(objects: _Objects, previous: str, *, attached: bool) -> None:
    """Delete our objects of identities that are no longer Argo CD's, after the current one has access."""
    services = objects.services
    for collection in (rbac.BINDINGS, rbac.ROLES) if attached else (rbac.BINDINGS,):
        stale = rbac.stale(objects.of(collection).values(), services.settings, previous, services.now())
        for each in stale:
            services.gateway.delete(objects.url, collection, each["metadata"]["name"], rbac.version(each))
        if not stale:
            return  # a role without a binding gives nothing


def _ensure_object(objects: _Objects, desired: Object, *, create_first: bool) -> str:
    """Create or update one object; return what was done, '' for nothing."""
    url, gateway = objects.url, objects.services.gateway
    name, collection = desired["metadata"]["name"], rbac.collection(desired)
    current = None if create_first else objects.of(collection).get(name)
    if current is None:
        with suppress(ConflictError):
            gateway.create(url, collection, desired)
            return f"made {desired['kind']} {name}"
        current = objects.of(collection, again=True).get(name)
    match rbac.compare(current, desired):
        case Drift.NONE:
            return ""
        case Drift.MISSING:  # it was deleted meanwhile, or has no label of ours
            with suppress(ConflictError):
                gateway.create(url, collection, desired)
                return f"made {desired['kind']} {name}"
        case Drift.CHANGED if current is not None:
            gateway.patch(url, collection, name, rbac.patch(current, desired))
            return f"repaired {desired['kind']} {name}"
        case Drift.OTHER_ROLE if current is not None:
            gateway.delete(url, collection, name, rbac.version(current))
            gateway.create(url, collection, desired)
            return f"re-created {desired['kind']} {name} with another role"
    raise PermanentError(
        f"{desired['kind']} {name} in the cluster at {url} has no label of ours, so it is unmanaged and stays"
        " unchanged. If nobody needs it, delete it with the cluster's own kubeconfig, then replay the message:\n"
        f"kubectl delete {desired['kind'].lower()} {name}",
        ErrorCode.UNMANAGED_BINDING,
    )


def _prove(url: str, review: Object, services: Services) -> None:
    """Review the access, repeatedly for up to 2 s, because the authoriser learns of a new binding by a watch."""
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
