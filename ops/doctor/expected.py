"""The desired deployment: names, permissions, APIs, triggers and filters, from the settings and `infra/roles.json`.

Pure but for reading that file. `infra/terraform` deploys the same; tests compare the two.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict

from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


ROLES: Final = Path(__file__).parents[2] / "infra" / "roles.json"

ARGOCD: Final = "argocd"
STATUS: Final = "status"
ROUTER: Final = "route-event"
SWEEP: Final = "sweep"
AUDIT_LOG_ENTRIES: Final = "audit-log-entries"
DEAD_LETTERS: Final = "dead-letters"
ARGOCD_WORKLOADS: Final = ("argocd-application-controller", "argocd-server")
# Nobody needs these where others register the clusters (REGISTRATION=wait).
REGISTERING: Final = frozenset({"gkehub.memberships.create", "gkehub.memberships.delete", "gkehub.operations.get"})
# Google takes 5 to 100 attempts; 20 with 10 s to 600 s are about two hours (infra/terraform/pubsub.tf).
FEWEST_ATTEMPTS: Final = 10

RUN_APIS: Final = (
    "artifactregistry",
    "cloudbuild",
    "cloudfunctions",
    "cloudresourcemanager",
    "cloudscheduler",
    "connectgateway",
    "container",
    "eventarc",
    "gkehub",
    "iam",
    "iamcredentials",
    "logging",
    "monitoring",
    "pubsub",
    "run",
    "serviceusage",
    "storage",
)
FLEET_APIS: Final = ("cloudresourcemanager", "connectgateway", "container", "gkeconnect", "gkehub")
CENTRAL_APIS: Final = ("connectgateway", "gkehub")
SOURCE_APIS: Final = ("container", "gkehub")

# GKE's audit page lists v1 and v1beta1 alone; a trigger for v1alpha1 is allowed and not needed.
AUDIT_METHODS: Final = tuple(
    f"google.container.{version}.ClusterManager.{method}"
    for method in ("CreateCluster", "DeleteCluster", "UpdateCluster", "SetLabels")
    for version in ("v1", "v1beta1")
)
MEMBERSHIP_EVENTS: Final = tuple(
    f"google.cloud.gkehub.membership.v1.{kind}" for kind in ("created", "updated", "deleted")
)
AUDIT_EVENT: Final = "google.cloud.audit.log.v1.written"
SINK_FILTER: Final = (
    'log_id("cloudaudit.googleapis.com/activity")',
    'resource.type="gke_cluster"',
    'protoPayload.serviceName="container.googleapis.com"',
    r'protoPayload.methodName=~"\.(CreateCluster|DeleteCluster|UpdateCluster|SetLabels)$"',
    r'(operation.last=true OR NOT operation.id:* OR protoPayload.methodName=~"\.DeleteCluster$")',
    'NOT resource.labels.project_id="${var.project}"',  # its entries come by triggers
)
BUILD_ROLES: Final = ("roles/artifactregistry.writer", "roles/logging.logWriter", "roles/storage.objectViewer")


class Role(TypedDict):
    """What `infra/roles.json` gives an identity."""

    publish: list[str]
    fleet: list[str]
    central: list[str]
    source: list[str]
    secrets: list[str]
    run: NotRequired[list[str]]  # in the functions' project


@dataclass(frozen=True)
class Expected:
    """The deployment that the settings describe. `instance` is INSTANCE, the name of this registrar in the central cluster."""

    settings: Settings
    instance: str = "default"
    roles: Mapping[str, Role] = field(default_factory=lambda: shipped_roles())  # noqa: PLW0108 - defined below

    @property
    def project(self) -> str:
        """The project of the functions and topics."""
        return self.settings.pubsub_project

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions that messages wake."""
        return tuple(name for name in self.deployed if name != STATUS)

    @property
    def deployed(self) -> tuple[str, ...]:
        """All functions, the status page included."""
        return tuple(sorted(name for name in self.roles if name != ARGOCD))

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic: those that wake a function, and those that a function publishes to."""
        published = {topic for role in self.roles.values() for topic in role["publish"]}
        return tuple(sorted({subscription_of(name) for name in self.functions} | published))

    @property
    def projects(self) -> tuple[str, ...]:
        """Every project that is read."""
        settings = self.settings
        central = settings.central_membership.project
        return tuple(sorted({self.project, settings.fleet_project, central, *settings.source_projects}))

    def account(self, name: str) -> str:
        """Return the e-mail of an identity; Google wants ids of at least 6 characters (terraform: locals.tf)."""
        if name == ARGOCD:
            return self.settings.argocd_service_account
        return self.settings.function_account(name if len(name) >= 6 else f"fleet-{name}")

    @property
    def sink(self) -> str:
        """The name of the log sinks; several instances may share an organisation (terraform: locals.tf)."""
        return f"{self._prefix}-clusters"

    @property
    def custom_roles(self) -> str:
        """The prefix of the custom roles' IDs."""
        return "fleet_registrar" if self.instance == "default" else f"fr.{self.instance.replace('-', '_')}"

    @property
    def _prefix(self) -> str:
        return "fleet-registrar" if self.instance == "default" else f"fleet-registrar-{self.instance}"

    @property
    def policy(self) -> str:
        """The name of the admission policy and of its binding."""
        return f"fleet-registrar.{self.instance}"

    @property
    def push_account(self) -> str:
        """The e-mail whose token Pub/Sub pushes with."""
        return self.settings.function_account("fleet-registrar-push")

    @property
    def trigger_account(self) -> str:
        """The e-mail that Eventarc calls route-event with."""
        return self.settings.function_account("fleet-registrar-trigger")

    @property
    def build_account(self) -> str:
        """The e-mail that builds the functions."""
        return self.settings.function_account("fleet-registrar-build")

    def apis(self, project: str) -> frozenset[str]:
        """Return the APIs that must be enabled in a project, as `x.googleapis.com`."""
        short: set[str] = set()
        short |= set(RUN_APIS) if project == self.project else set()
        short |= set(FLEET_APIS) if project == self.settings.fleet_project else set()
        short |= set(CENTRAL_APIS) if project == self.settings.central_membership.project else set()
        short |= set(SOURCE_APIS) if project in self.settings.source_projects else set()
        return frozenset(f"{name}.googleapis.com" for name in short)

    def permissions(self, name: str, project: str) -> frozenset[str]:
        """Return the permissions that an identity needs on a project."""
        role = self.roles[name]
        needed: set[str] = set()
        needed |= set(role["fleet"]) if project == self.settings.fleet_project else set()
        needed -= REGISTERING if self.settings.registration == "wait" else set()
        needed |= set(role["central"]) if project == self.settings.central_membership.project else set()
        needed |= set(role["source"]) if project in self.settings.source_projects else set()
        needed |= set(role.get("run", [])) if project == self.project else set()
        return frozenset(needed)

    def grants(self) -> Iterator[tuple[str, str, frozenset[str]]]:
        """Give (identity, project, permissions) wherever an identity needs any."""
        for name in sorted(self.roles):
            for project in self.projects:
                if needed := self.permissions(name, project):
                    yield name, project, needed

    def topic(self, name: str) -> str:
        """Return the full name of a topic."""
        return f"projects/{self.project}/topics/{name}"

    def subscription(self, name: str) -> str:
        """Return the full name of a subscription."""
        return f"projects/{self.project}/subscriptions/{name}"


def subscription_of(function: str) -> str:
    """Return the topic and subscription that wake a function."""
    return AUDIT_LOG_ENTRIES if function == ROUTER else function


def shipped_roles() -> dict[str, Role]:
    """Read `infra/roles.json`."""
    roles: dict[str, Role] = json.loads(ROLES.read_text())
    return roles
