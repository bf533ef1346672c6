"""The grants that Terraform makes besides the identities' own roles (`infra/terraform/identities.tf` and its neighbours)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.google.iam.state import member
from local.identities import shipped_roles
from local.names import FLEET
from local.registrars import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.google.iam.state import Iam
    from local.google.run.state import Service
    from local.registrars import Registrar

# Nobody has these where others register the clusters (`REGISTRATION=wait`).
REGISTERING = frozenset({"gkehub.memberships.create", "gkehub.memberships.delete", "gkehub.operations.get"})
PUSH, TRIGGER, BUILD = (f"fleet-registrar-{name}" for name in ("push", "trigger", "build"))


def grant_shipped_roles(iam: Iam, registrar: Registrar, central_project: str, *, registers: bool) -> None:
    """Create each identity with exactly the permissions of `infra/roles.json`.

    Custom roles are named as Terraform names them: `fleet_registrar.<identity>` with `.source`, `.run` or `.central`.
    `registers`: it may create and delete memberships.
    """
    default = registrar.instance == "default"
    prefix = "fleet_registrar" if default else f"fr.{registrar.instance.replace('-', '_')}"
    for name, role in shipped_roles().items():
        email = registrar.account(name)
        if email not in iam.accounts:
            iam.create_account(email, f"Fleet Registrar: {name}")
        id_ = f"{prefix}.{name.replace('-', '_')}"
        in_fleet = {one for one in role["fleet"] if registers or one not in REGISTERING}
        if central_project == registrar.project:
            scopes = [(central_project, "fleet", id_, in_fleet | set(role["central"]))]
        else:
            scopes = [
                (registrar.project, "fleet", id_, in_fleet),
                (central_project, "central", f"{id_}.central", set(role["central"])),
            ]
        scopes.append((registrar.project, "run", f"{id_}.run", set(role.get("run", []))))
        scopes += [(project, "source", f"{id_}.source", set(role["source"])) for project in registrar.sources]
        for project, scope, role_id, permissions in scopes:
            if permissions:
                full = f"projects/{project}/roles/{role_id}"
                iam.define_role(full, permissions, f"Fleet Registrar: {name}, {scope}")
                iam.bind(f"projects/{project}", full, member(email))


def create_accounts(iam: Iam, registrar: Registrar) -> None:
    """Create the identities that wake and build the functions, and grant Google's agents their roles."""
    for name in (PUSH, TRIGGER, BUILD):
        iam.create_account(registrar.account(name), f"Fleet Registrar: {name.rpartition('-')[2]}")
    here = f"projects/{registrar.project}"
    for service in ("cloudscheduler", "eventarc", "pubsub"):
        iam.bind(here, f"roles/{service}.serviceAgent", member(registrar.agent(service)))
    for project in registrar.sources:
        iam.bind(f"projects/{project}", "roles/gkehub.serviceAgent", member(registrar.agent("gkehub")))
    iam.bind(here, "roles/eventarc.eventReceiver", member(registrar.account(TRIGGER)))
    # The bundle's bucket is not emulated: here the project's policy says who may read it.
    for role in ("roles/artifactregistry.writer", "roles/logging.logWriter", "roles/storage.objectViewer"):
        iam.bind(here, role, member(registrar.account(BUILD)))


def grant_accounts(iam: Iam, registrar: Registrar, namespace: str) -> None:
    """Allow Pub/Sub to mint tokens of the push identity, and Argo CD's two workloads to act as its identity."""
    push = f"projects/{registrar.project}/serviceAccounts/{registrar.account(PUSH)}"
    iam.bind(push, "roles/iam.serviceAccountTokenCreator", member(registrar.agent("pubsub")))
    if registrar is not DEFAULT:  # Argo CD's identity is the first deployment's
        return
    argocd = f"projects/{FLEET}/serviceAccounts/{registrar.account('argocd')}"
    for workload in ("argocd-application-controller", "argocd-server"):
        account = f"serviceAccount:{FLEET}.svc.id.goog[{namespace}/{workload}]"
        iam.bind(argocd, "roles/iam.workloadIdentityUser", account)


def grant_topics(iam: Iam, registrar: Registrar, pushed: Iterable[str], dead_letters: str) -> None:
    """Allow the functions to publish, and Pub/Sub to move dead letters from the subscriptions `pushed`."""
    for name, role in shipped_roles().items():
        for published in role["publish"]:
            iam.bind(registrar.topic(published), "roles/pubsub.publisher", member(registrar.account(name)))
    iam.bind(registrar.topic(dead_letters), "roles/pubsub.publisher", member(registrar.agent("pubsub")))
    for name in pushed:
        iam.bind(registrar.subscription(name), "roles/pubsub.subscriber", member(registrar.agent("pubsub")))


def grant_invokers(iam: Iam, registrar: Registrar, services: Iterable[Service], router: str) -> None:
    """Allow Pub/Sub's pushes to call every function, and Eventarc's triggers to call `route-event`."""
    for service in services:
        iam.bind(service.name, "roles/run.servicesInvoker", member(registrar.account(PUSH)))
        if service.short == router:
            iam.bind(service.name, "roles/run.servicesInvoker", member(registrar.account(TRIGGER)))
