"""`revoke_rbac`: removes our binding from a cluster that is running and not selected, once no Secret of ours is left for it.

Needs: gateway get, delete and memberships get, list in the fleet project; gateway get in the central cluster's; clusters
get, list and ClusterRoleBindings get, delete in the source projects; list on Secrets in Argo CD's namespace. On attached
clusters a person grants that.
"""

from __future__ import annotations

from shared.clients.observe import find_membership, read_subject
from shared.clients.ports import Services
from shared.decisions import rbac, steps
from shared.decisions.outcomes import access_denied, no_op, why
from shared.decisions.steps import Action
from shared.values.codes import Decision
from shared.values.errors import RefusedError
from shared.values.messages import Outcome, OutgoingMessage, StepRequest
from shared.values.model import Cluster, Membership
from shared.values.target import Subject


def run(request: StepRequest, services: Services) -> Outcome:
    """Do the step for what the message names."""
    secret = services.central.secret_of(request.name, namesakes=True)
    # Also in a project that is no source any more: a binding of ours without a Secret of ours is left over there.
    subject = read_subject(request, services, has_secret=True)
    if subject.request.cluster is not None and request.cluster is None:
        secret = services.central.secret_of(subject.request.cluster, namesakes=True)
    move = steps.revoke(subject.state, secret_left=secret is not None)
    if move not in (Action.REVOKE, Action.CONTINUE):
        if secret is not None and move is Action.NOTHING:
            message = f"nothing to do: Secret {secret.name} of {subject.name} is still there"
            return Outcome(Decision.NO_OP, subject.state, message)
        return no_op(move, subject, services.settings)
    reason = why(subject, services.settings)
    try:
        decision, did = Decision.NO_BINDING, "no cluster is left to revoke anything in"
        if move is Action.REVOKE:
            decision, did = _delete_bindings(subject, services)
    except RefusedError as error:
        if not isinstance(subject.observed, Membership):
            raise
        raise access_denied(subject.observed, services.settings, error) from error
    following = (
        OutgoingMessage("unregister-membership", StepRequest(subject.request.cluster, subject.request.membership)),
    )
    return Outcome(decision, subject.state, f"{did}: {reason}", following)


def _delete_bindings(subject: Subject, services: Services) -> tuple[Decision, str]:
    """Delete our objects, the binding first; an object without our label is unmanaged and stays."""
    membership = subject.observed
    if isinstance(membership, Cluster):
        membership = find_membership(membership, subject.request.membership, services)
    if not isinstance(membership, Membership):
        return Decision.NO_BINDING, "no membership leads to the cluster: its binding is unreachable"
    settings, attached = services.settings, membership.cluster is None
    url = settings.gateway_url(membership.name, gke=not attached)
    did = []
    decision = Decision.NO_BINDING
    gone = rbac.objects_of_previous(settings, subject.request.previous, attached=attached)
    for manifest in [*rbac.objects(settings, attached=attached), *gone]:
        name, collection = manifest["metadata"]["name"], rbac.collection(manifest)
        current = services.gateway.get(url, collection, name)
        if current is None:
            continue
        if not rbac.is_managed(current, settings.instance):
            did.append(f"left {manifest['kind']} {name}, which is unmanaged")
            continue
        services.gateway.delete(url, collection, name, rbac.version(current))
        did.append(f"deleted {manifest['kind']} {name}")
        decision = Decision.REVOKED
    return decision, ", ".join(did) if did else "no binding of ours was left"
