"""Predefined roles, with those of their permissions that an emulated API or a test of a caller can ask for.

https://cloud.google.com/iam/docs/roles-permissions. The real roles hold more.
"""

from __future__ import annotations

EVERYTHING = "roles/owner"
_TOKENS = ("iam.serviceAccounts.getAccessToken", "iam.serviceAccounts.getOpenIdToken")
_GATEWAY = tuple(f"gkehub.gateway.{verb}" for verb in ("delete", "get", "patch", "post", "put"))

PREDEFINED: dict[str, tuple[str, ...]] = {
    EVERYTHING: (),
    "roles/artifactregistry.writer": ("artifactregistry.repositories.uploadArtifacts",),
    "roles/cloudscheduler.serviceAgent": (*_TOKENS, "pubsub.topics.publish"),
    "roles/container.developer": ("container.clusters.get", "container.clusters.list"),
    "roles/eventarc.eventReceiver": ("eventarc.events.receiveAuditLogWritten", "eventarc.events.receiveEvent"),
    "roles/eventarc.serviceAgent": (*_TOKENS, "pubsub.topics.publish", "pubsub.subscriptions.create"),
    "roles/gkehub.gatewayAdmin": (*_GATEWAY, "gkehub.gateway.stream"),
    "roles/gkehub.gatewayEditor": _GATEWAY,
    "roles/gkehub.gatewayReader": ("gkehub.gateway.get",),
    "roles/gkehub.serviceAgent": ("container.clusters.get", "container.clusters.list", "container.clusters.update"),
    "roles/iam.serviceAccountTokenCreator": (*_TOKENS, "iam.serviceAccounts.signBlob", "iam.serviceAccounts.signJwt"),
    "roles/iam.workloadIdentityUser": _TOKENS,
    "roles/logging.bucketWriter": ("logging.buckets.write",),
    "roles/logging.logWriter": ("logging.logEntries.create",),
    "roles/pubsub.publisher": ("pubsub.topics.publish",),
    "roles/pubsub.serviceAgent": _TOKENS,
    "roles/pubsub.subscriber": ("pubsub.subscriptions.consume", "pubsub.topics.attachSubscription"),
    "roles/run.invoker": ("run.jobs.run", "run.routes.invoke"),
    "roles/run.servicesInvoker": ("run.routes.invoke",),
    "roles/storage.objectViewer": ("storage.objects.get", "storage.objects.list"),
}
