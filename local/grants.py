"""The grants that Terraform makes besides the identities' own roles (`infra/terraform/identities.tf` and its neighbours)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.google.iam.state import member
from local.identities import service_account, shipped_roles
from local.names import FLEET, NUMBERS, SOURCES, subscription, topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.google.iam.state import Iam
    from local.google.run.state import Service

PUSH, TRIGGER, BUILD = (f"fleet-registrar-{name}" for name in ("push", "trigger", "build"))


def agent(service: str) -> str:
    """Return the e-mail of one of Google's own agents in the fleet's project (`pubsub`, `eventarc` …)."""
    return f"service-{NUMBERS[FLEET]}@gcp-sa-{service}.iam.gserviceaccount.com"


def create_accounts(iam: Iam) -> None:
    """Create the identities that wake and build the functions, and grant Google's agents their roles."""
    for name in (PUSH, TRIGGER, BUILD):
        iam.create_account(service_account(name, FLEET), f"Fleet Registrar: {name.rpartition('-')[2]}")
    here = f"projects/{FLEET}"
    for service in ("cloudscheduler", "eventarc", "pubsub"):
        iam.bind(here, f"roles/{service}.serviceAgent", member(agent(service)))
    for project in SOURCES:
        iam.bind(f"projects/{project}", "roles/gkehub.serviceAgent", member(agent("gkehub")))
    iam.bind(here, "roles/eventarc.eventReceiver", member(service_account(TRIGGER, FLEET)))
    # The bundle's bucket is not emulated: here the project's policy says who may read it.
    for role in ("roles/artifactregistry.writer", "roles/logging.logWriter", "roles/storage.objectViewer"):
        iam.bind(here, role, member(service_account(BUILD, FLEET)))


def grant_accounts(iam: Iam, namespace: str) -> None:
    """Let Pub/Sub mint tokens of the push identity, and Argo CD's two workloads act as its identity."""
    push = f"projects/{FLEET}/serviceAccounts/{service_account(PUSH, FLEET)}"
    iam.bind(push, "roles/iam.serviceAccountTokenCreator", member(agent("pubsub")))
    argocd = f"projects/{FLEET}/serviceAccounts/{service_account('argocd', FLEET)}"
    for workload in ("argocd-application-controller", "argocd-server"):
        account = f"serviceAccount:{FLEET}.svc.id.goog[{namespace}/{workload}]"
        iam.bind(argocd, "roles/iam.workloadIdentityUser", account)


def grant_topics(iam: Iam, pushed: Iterable[str], dead_letters: str) -> None:
    """Let the functions publish, and Pub/Sub move dead letters from the subscriptions `pushed`."""
    for name, role in shipped_roles().items():
        for published in role["publish"]:
            iam.bind(topic(published), "roles/pubsub.publisher", member(service_account(name, FLEET)))
    iam.bind(topic(dead_letters), "roles/pubsub.publisher", member(agent("pubsub")))
    for name in pushed:
        iam.bind(subscription(name), "roles/pubsub.subscriber", member(agent("pubsub")))


def grant_invokers(iam: Iam, services: Iterable[Service], router: str) -> None:
    """Let Pub/Sub's pushes call every function, and Eventarc's triggers the router."""
    for service in services:
        iam.bind(service.name, "roles/run.servicesInvoker", member(service_account(PUSH, FLEET)))
        if service.short == router:
            iam.bind(service.name, "roles/run.servicesInvoker", member(service_account(TRIGGER, FLEET)))
