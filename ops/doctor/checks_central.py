"""Checks of the central cluster, of Argo CD in it, and of what our identities may do there. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ops.doctor.codes import Code
from ops.doctor.expected import ARGOCD_WORKLOADS, Expected
from ops.doctor.findings import Check, Finding, Unread
from ops.doctor.observed import Central, Fleet, at
from shared.decisions.reports import describe_command
from shared.values.commands import gcloud, kubectl
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Iterable


IDENTITY_ANNOTATION: Final = "iam.gke.io/gcp-service-account"
CREDENTIALS_VARIABLE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
REGISTRAR: Final = "kubectl apply --server-side -k infra/argocd/registrar"
REGISTRAR_ATTACHED: Final = "kubectl apply --server-side -k infra/argocd/registrar-attached"
GATEWAY_ADDED: Final = (2, 4)  # argocd-k8s-auth gcp
HOLD_ADDED: Final = (3, 4)  # skip-reconcile on a cluster Secret
VERBS: Final = ("get", "list", "watch", "create", "update", "patch", "delete")
_VERSION = re.compile(r":v?(\d+)\.(\d+)(?:\.\d+)?")


def check_central(expected: Expected, seen: Central) -> list[Finding]:
    """The central cluster's membership is READY, and the gateway reaches the cluster."""
    check = Check("central-cluster")
    name = str(expected.settings.central_membership)
    membership = check.known(seen.membership, name)
    describe = describe_command(expected.settings.central_membership)
    if membership is None and not isinstance(seen.membership, Unread):
        list_all = gcloud("container fleet memberships list", project=expected.settings.central_membership.project)
        check.fail(Code.CENTRAL_MISSING, name, "CENTRAL_MEMBERSHIP is not in the fleet", list_all)
        return check.end(name, "")
    if membership is not None and (state := at(membership, "state", "code")) != "READY":
        check.fail(Code.CENTRAL_NOT_READY, name, f"is {state}", describe)
    reached = seen.reached_as
    if isinstance(reached, Unread) and reached.denied:
        check.unknown(name, reached.why, reached.fix)
    elif isinstance(reached, Unread):
        check.fail(Code.GATEWAY_UNREACHABLE, name, reached.why, reached.fix or describe)
    return check.end(name, f"READY, and reached through the gateway as {reached}")


def check_argocd(expected: Expected, seen: Central) -> list[Finding]:
    """Argo CD is in its namespace, and knows the gateway's credentials and the hold."""
    check = Check("argocd-version")
    namespace = expected.settings.argocd_namespace
    found = check.known(seen.namespace, namespace)
    if found is None and not isinstance(seen.namespace, Unread):
        text = "this namespace does not exist in the central cluster (ARGOCD_NAMESPACE)"
        check.fail(Code.NAMESPACE_MISSING, namespace, text, "kubectl get namespaces")
        return check.end(namespace, "")
    controllers = check.known(seen.controllers, namespace)
    if controllers is None:
        return check.end(namespace, "")
    if not controllers:
        text = "no argocd-application-controller is in this namespace"
        fix = "kubectl get statefulsets,deployments --all-namespaces -l app.kubernetes.io/part-of=argocd"
        check.fail(Code.CONTROLLER_MISSING, namespace, text, fix)
        return check.end(namespace, "")
    image = next((image for one in controllers for image in _images(one)), "")
    version = _VERSION.search(image)
    images = kubectl(namespace, "get pods -o", "jsonpath={.items[*].spec.containers[*].image}")
    if version is None:
        check.unknown(namespace, f"the image {image} has no version in its tag", "", Code.ARGOCD_VERSION_UNKNOWN)
        return check.end(namespace, "")
    number = int(version[1]), int(version[2])
    text = f"{number[0]}.{number[1]}"
    if number < GATEWAY_ADDED:
        check.fail(Code.ARGOCD_TOO_OLD, text, "has no `argocd-k8s-auth gcp`: upgrade Argo CD", images)
    elif number < HOLD_ADDED:
        held = "ignores skip-reconcile on clusters: a held cluster is still changed; upgrade to 3.4 or newer"
        check.warn(Code.ARGOCD_NO_HOLD, text, held, images)
    return check.end(namespace, f"Argo CD {text} knows the gateway's credentials and the hold")


def check_sharding(expected: Expected, seen: Central, fleet: Fleet) -> list[Finding]:
    """The sharding of Argo CD's controller leaves no cluster without an owner."""
    check = Check("argocd-sharding")
    namespace = expected.settings.argocd_namespace
    controllers = check.known(seen.controllers, namespace)
    parameters = check.known(seen.parameters, namespace)
    if not controllers:
        return check.end(namespace, "no application controller: see argocd-version")
    controller = controllers[0]
    name = str(at(controller, "metadata", "name"))
    replicas = at(controller, "spec", "replicas")
    replicas = replicas if isinstance(replicas, int) else 1
    variables = _variables(controller)
    text = variables.get("ARGOCD_CONTROLLER_REPLICAS")
    if text is not None and text != str(replicas):
        fix = kubectl(namespace, "set env", f"{_kind(controller)}/{name}", f"ARGOCD_CONTROLLER_REPLICAS={replicas}")
        text = f"has {replicas} replicas and ARGOCD_CONTROLLER_REPLICAS={text}"
        check.fail(Code.SHARDING_REPLICAS_DIFFER, name, text, fix)
    algorithm = variables.get("ARGOCD_CONTROLLER_SHARDING_ALGORITHM") or str(
        at(parameters, "data", "controller.sharding.algorithm") or "legacy"
    )
    if (number := expected.settings.argocd_shards) and number != replicas:
        effect = "the others get no new cluster" if number < replicas else "new clusters crowd the first replica"
        text = f"ARGOCD_SHARDS is {number}, and the controller has {replicas} replicas: {effect}"
        check.warn(Code.SHARDS_DIFFER, name, text, "python -m ops shards")
    ours = fleet.secrets if not isinstance(fleet.secrets, Unread) else ()
    secrets = (*ours, *(check.known(fleet.others, namespace) or ()))
    without = sum(1 for _, shard in secrets if not shard)
    if algorithm != "legacy" and replicas > 1 and (without or not secrets):
        legacy = '{"data":{"controller.sharding.algorithm":"legacy"}}'
        fix = kubectl(namespace, "patch configmap argocd-cmd-params-cm --type=merge --patch", legacy)
        effect = f"{algorithm} moves clusters between replicas at each registration, or leaves them without one"
        check.warn(Code.SHARDING_MOVES_CLUSTERS, name, f"{effect}; {without} Secrets have no shard", fix)
    for secret, shard in secrets:
        # Argo CD reads ASCII digits alone (strconv.Atoi); a number of 5,000 digits is more than Python reads.
        owner = int(shard) if shard.isascii() and shard.isdigit() and len(shard) < 10 else None
        if shard and (owner is None or owner >= max(replicas, 1)):
            effect = "no replica owns the cluster" if shard.startswith("-") else "Argo CD falls back to another shard"
            fix = kubectl(namespace, "get secret", secret, "-o", "jsonpath={.data.shard}")
            text = f"its shard {shard} is not one of 0 to {replicas - 1}: {effect}"
            check.warn(Code.SHARD_OUT_OF_RANGE, secret, text, fix)
    return check.end(name, f"{algorithm}, {replicas} replica{'s' if replicas != 1 else ''}")


def check_applications(expected: Expected, seen: Central) -> list[Finding]:
    """All Applications are in Argo CD's namespace, where the registrar's commands and steps count them."""
    check = Check("argocd-applications")
    namespace = expected.settings.argocd_namespace
    parameters = check.known(seen.parameters, namespace)
    text = str(at(parameters, "data", "application.namespaces") or "")
    elsewhere = [name for part in text.split(",") if (name := part.strip()) and name != namespace]
    if elsewhere:
        where = ", ".join(elsewhere)[:200]
        check.warn(
            Code.APPLICATIONS_ELSEWHERE,
            namespace,
            f"Argo CD also manages Applications in {where}: no command and no step counts them before a hold ends or a"
            " Secret is deleted",
            "kubectl get applications.argoproj.io --all-namespaces",
        )
    return check.end(namespace, "no Applications in other namespaces")


def check_argocd_identity(expected: Expected, seen: Central) -> list[Finding]:
    """Exactly `argocd-application-controller` and `argocd-server` have Argo CD's Google identity."""
    check = Check("argocd-identity")
    namespace = expected.settings.argocd_namespace
    email = expected.settings.argocd_service_account
    accounts = check.known(seen.service_accounts, namespace)
    if accounts is None:
        return check.end(namespace, "")
    if seen.impersonation:  # a central cluster outside GKE: the pods bring their credentials as a file
        controllers = check.known(seen.controllers, namespace) or ()
        for one in controllers:
            if CREDENTIALS_VARIABLE not in _variables(one):
                text = f"has no {CREDENTIALS_VARIABLE}: outside GKE Argo CD gets its token by it"
                name = str(at(one, "metadata", "name"))
                check.fail(Code.ARGOCD_IDENTITY_MISSING, name, text, _overlay(seen))
        return check.end(namespace, f"the controller's credentials lead to {email}")
    annotated = {
        str(at(one, "metadata", "name")): str(at(one, "metadata", "annotations", IDENTITY_ANNOTATION) or "")
        for one in accounts
    }
    for name in ARGOCD_WORKLOADS:
        fix = kubectl(namespace, "annotate --overwrite serviceaccount", name, f"{IDENTITY_ANNOTATION}={email}")
        has = annotated.get(name)
        if not has:
            text = f"has no annotation {IDENTITY_ANNOTATION}" if has == "" else "does not exist"
            check.fail(Code.ARGOCD_IDENTITY_MISSING, name, f"{text}: Argo CD reaches no cluster", fix)
        elif has != email:
            check.fail(Code.ARGOCD_IDENTITY_WRONG, name, f"has {has}, ARGOCD_SERVICE_ACCOUNT is {email}", fix)
    for name, has in sorted(annotated.items()):
        if has == email and name not in ARGOCD_WORKLOADS:
            text = "has Argo CD's Google identity too, and needs none"
            fix = kubectl(namespace, "get serviceaccount", name, "-o", "yaml")
            check.warn(Code.ARGOCD_IDENTITY_SHARED, name, text, fix)
    return check.end(namespace, f"{email} on {' and '.join(ARGOCD_WORKLOADS)} alone")


def check_access(expected: Expected, seen: Central) -> list[Finding]:
    """Each identity has exactly its verbs on Secrets of Argo CD's namespace, and none elsewhere."""
    check = Check("secrets-access")
    namespace = expected.settings.argocd_namespace
    for name in expected.deployed:
        granted = set(expected.roles[name]["secrets"])
        missing: list[str] = []
        extra: list[str] = []
        for (identity, verb, where), allowed in sorted(seen.access.items()):
            if identity != name:
                continue
            may = check.known(allowed, f"{name} {verb}")
            required = verb in granted and where == namespace
            if may is False and required:
                missing.append(verb)
            if may is True and not required:
                extra.append(verb if where else f"{verb} in all namespaces")
        can = f"kubectl auth can-i --list -n {namespace} --as={expected.account(name)}"
        if missing:
            text = f"may not {', '.join(missing)} Secrets in {namespace}"
            check.fail(Code.SECRETS_VERB_MISSING, name, text, _overlay(seen))
        if extra:
            check.warn(Code.SECRETS_VERB_EXTRA, name, f"may {', '.join(extra)} Secrets, and needs not", can)
        if granted and name in seen.impersonation and check.known(seen.impersonation[name], name) is False:
            text = "the Connect agent may not impersonate it, so every call is refused"
            check.fail(Code.IMPERSONATION_MISSING, name, text, _overlay(seen))
    return check.end(namespace, "each function has its verbs on Secrets, and no more")


def check_policy(expected: Expected, seen: Central) -> list[Finding]:
    """The admission policy is enforced: it refuses wrong Secrets of our identities, and accepts a right one."""
    check = Check("admission-policy")
    name, fix = expected.policy, _overlay(seen)
    policy = check.known(seen.policy, name)
    if policy is None and not isinstance(seen.policy, Unread):
        text = "this ValidatingAdmissionPolicy does not exist: the functions' identities may write any Secret"
        check.fail(Code.POLICY_MISSING, name, text, fix)
        return check.end(name, "")
    bindings = check.known(seen.policy_bindings, name)
    if policy is None or bindings is None:
        return check.end(name, "")
    matching = [one for one in bindings if at(one, "spec", "policyName") == name]
    if not any("Deny" in (at(one, "spec", "validationActions") or []) for one in matching):
        text = "no binding denies by it" if matching else "has no binding"
        check.fail(Code.POLICY_NOT_ENFORCED, name, text, fix)
    elif at(policy, "spec", "failurePolicy") not in (None, "Fail"):
        check.fail(Code.POLICY_NOT_ENFORCED, name, "its failurePolicy is not Fail", fix)
    is_enforced = not check.findings  # else the answers follow from that
    for attempt, answer in sorted(seen.wrong_secrets.items()) if is_enforced else ():
        tried = check.known(answer, attempt)
        if tried is not None and tried.accepted:
            check.fail(Code.POLICY_ACCEPTS_WRONG, attempt, "was accepted (dry run), and must be refused", fix)
    right = check.known(seen.right_secret, "a right Secret")
    if right is not None and not right.accepted:
        text = f"write-secret's own Secret is refused (dry run): {right.message}"
        check.fail(Code.POLICY_REFUSES_RIGHT, name, text, fix)
    return check.end(name, "refuses wrong Secrets of our identities, and accepts a right one (dry runs)")


def _overlay(seen: Central) -> str:
    """Return the command that applies our Roles and the policy; outside GKE also the Connect agent's right to impersonate."""
    return REGISTRAR_ATTACHED if seen.impersonation else REGISTRAR


def _containers(workload: Object) -> Iterable[Object]:
    found: Any = at(workload, "spec", "template", "spec", "containers")
    return [one for one in found or [] if isinstance(one, dict)]


def _images(workload: Object) -> list[str]:
    return [str(one["image"]) for one in _containers(workload) if one.get("image")]


def _variables(workload: Object) -> dict[str, str]:
    """Environment variables with a value of their own; what comes from a ConfigMap is read there."""
    return {
        str(one["name"]): str(one.get("value", ""))
        for container in _containers(workload)
        for one in container.get("env") or []
        if isinstance(one, dict) and "name" in one and ("value" in one or "valueFrom" not in one)
    }


def _kind(workload: Object) -> str:
    return str(workload.get("kind") or "statefulset").lower()
