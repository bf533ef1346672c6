"""`revoke_rbac`: removes our binding from a cluster that is running and not selected, once no Secret of ours is left for it.

Needs: gateway get, delete and memberships get, list in the fleet project; gateway get in the central cluster's; clusters
get, list and ClusterRoleBindings list, delete in the source projects; list on Secrets in Argo CD's namespace. On attached
clusters a person grants that.
"""

from __future__ import annotations

from shared.clients.observe import find_membership, read_subject
from shared.clients.ports import Services
from shared.decisions import rbac, steps
from shared.decisions.outcomes import access_denied, no_op, why
from shared.decisions.steps import Action
from shared.values.codes import Decision, FindingCode
from shared.values.errors import RefusedError
from shared.values.messages import Outcome, OutgoingMessage, StepRequest
from shared.values.model import Cluster, Membership
from shared.values.target import Subject


def run(request: StepRequest, services: Services) -> Outcome:
    """Run the step for the cluster or membership that the message names."""
    secret = services.central.secret_of(request.name, namesakes=True)
    # Also in a project that is no longer a source project: there a binding without a Secret of ours is a leftover.
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
        denied = access_denied(subject.observed, services.settings, error)
        if request.check:
            return Outcome(Decision.NO_BINDING, denied.code, f"no binding of ours can be looked for: {denied}")
        raise denied from error
    if request.check:
        return Outcome(decision, subject.state, f"{did}: {reason}")
    following = (
        OutgoingMessage("unregister-membership", StepRequest(subject.request.cluster, subject.request.membership)),
    )
    if decision is Decision.BLOCKED:
        text = (
            f"{did}: {reason}. Delete it with the cluster's own kubeconfig:\n{rbac.delete_command(services.settings)}"
        )
        return Outcome(decision, FindingCode.BINDING_LEFT, text, following, "WARNING")
    return Outcome(decision, subject.state, f"{did}: {reason}", following)


def _delete_bindings(subject: Subject, services: Services) -> tuple[Decision, str]:
    """Delete our objects, the bindings first. Objects without our label stay."""
    membership = subject.observed
    if isinstance(membership, Cluster):
        membership = find_membership(membership, subject.request.membership, services)
    if not isinstance(membership, Membership):
        return Decision.BLOCKED, "no membership leads to the cluster, so a binding of ours may be left there"
    settings, attached = services.settings, membership.cluster is None
    url = settings.gateway_url(membership.name, gke=not attached)
    identities = (settings.argocd_service_account, subject.request.previous)
    did = []
    for collection in (rbac.BINDINGS, rbac.ROLES) if attached else (rbac.BINDINGS,):
        found = services.gateway.list(url, collection, rbac.SELECT)
        for each in rbac.removable(found, settings, *identities, made_before=services.now()):
            name = each["metadata"]["name"]
            services.gateway.delete(url, collection, name, rbac.version(each))
            did.append(f"deleted {collection.rpartition('/')[2]}/{name}")
    return (Decision.REVOKED, ", ".join(did)) if did else (Decision.NO_BINDING, "no binding of ours was left")
