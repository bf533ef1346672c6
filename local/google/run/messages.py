"""A service in the format of each API: Cloud Functions v2, Cloud Run v2, and Cloud Run v1 (Knative)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.google.run.state import Service

Json = dict[str, Any]

IMAGE = "{location}-docker.pkg.dev/{project}/gcf-artifacts/{name}:version_{generation}"
INGRESS = {
    "ALLOW_ALL": ("INGRESS_TRAFFIC_ALL", "all"),
    "ALLOW_INTERNAL_ONLY": ("INGRESS_TRAFFIC_INTERNAL_ONLY", "internal"),
    "ALLOW_INTERNAL_AND_GCLB": ("INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER", "internal-and-cloud-load-balancing"),
}


def function(service: Service) -> Json:
    """google.cloud.functions.v2.Function."""
    build = service.build
    answer: Json = {
        "name": service.function,
        "description": service.description,
        "environment": "GEN_2",
        "state": service.state,
        "createTime": service.created,
        "updateTime": service.updated,
        "labels": dict(service.labels),
        "url": service.url,
        "buildConfig": {
            "runtime": build.runtime,
            "entryPoint": build.entry_point,
            "environmentVariables": dict(build.variables),
            "source": {
                "storageSource": {"bucket": build.bucket, "object": build.object, "generation": str(build.generation)}
            },
            "serviceAccount": build.account,
            "dockerRepository": f"projects/{service.project}/locations/{service.location}/repositories/gcf-artifacts",
            "dockerRegistry": "ARTIFACT_REGISTRY",
            "automaticUpdatePolicy": {},
        },
        "serviceConfig": {
            "service": service.name,
            "uri": service.url,
            "serviceAccountEmail": service.account,
            "environmentVariables": dict(service.environment),
            "ingressSettings": service.ingress,
            "availableMemory": service.memory,
            "availableCpu": service.cpu,
            "timeoutSeconds": service.timeout,
            "maxInstanceCount": service.max_instances,
            "maxInstanceRequestConcurrency": service.concurrency,
            "allTrafficOnLatestRevision": True,
            "revision": service.revision,
        },
    }
    if service.message:
        answer["stateMessages"] = [{"severity": "ERROR", "type": "CloudRunServiceNotFound", "message": service.message}]
    return answer


def run_v2(service: Service) -> Json:
    """google.cloud.run.v2.Service."""
    ready: Json = {"type": "Ready", "state": "CONDITION_SUCCEEDED", "lastTransitionTime": service.updated}
    if service.state == "FAILED":
        ready |= {"state": "CONDITION_FAILED", "severity": "ERROR", "message": service.message}
    revision = f"{service.name}/revisions/{service.revision}"
    return {
        "name": service.name,
        "uid": service.uid,
        "generation": str(service.generation),
        "labels": {"goog-managed-by": "cloudfunctions", **service.labels},
        "createTime": service.created,
        "updateTime": service.updated,
        "ingress": INGRESS[service.ingress][0],
        "launchStage": "GA",
        "template": {
            "scaling": {"maxInstanceCount": service.max_instances},
            "timeout": f"{service.timeout}s",
            "serviceAccount": service.account,
            "maxInstanceRequestConcurrency": service.concurrency,
            "containers": [
                {
                    "image": _image(service),
                    "env": [{"name": name, "value": value} for name, value in service.environment.items()],
                    "resources": {"limits": {"cpu": service.cpu, "memory": service.memory}},
                }
            ],
        },
        "traffic": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
        "observedGeneration": str(service.generation),
        "terminalCondition": ready,
        "conditions": [],
        "latestReadyRevision": revision,
        "latestCreatedRevision": revision,
        "trafficStatuses": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
        "uri": service.url,
        "urls": [service.url],
        "etag": service.etag,
    }


def run_v1(service: Service, number: str) -> Json:
    """The Knative form (run.v1 Service), which gcloud reads; `number` is the project's."""
    ready: Json = {"type": "Ready", "status": "True", "lastTransitionTime": service.updated}
    if service.state == "FAILED":
        ready |= {"status": "False", "reason": "RevisionFailed", "message": service.message}
    traffic = {"percent": 100, "latestRevision": True}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": service.short,
            "namespace": number,
            "selfLink": f"/apis/serving.knative.dev/v1/namespaces/{number}/services/{service.short}",
            "uid": service.uid,
            "resourceVersion": service.etag,
            "generation": service.generation,
            "creationTimestamp": service.created,
            "labels": {
                "goog-managed-by": "cloudfunctions",
                "cloud.googleapis.com/location": service.location,
                **service.labels,
            },
            "annotations": {
                "run.googleapis.com/ingress": INGRESS[service.ingress][1],
                "run.googleapis.com/urls": f'["{service.url}"]',
                "serving.knative.dev/lastModifier": service.account,
            },
        },
        "spec": {
            "template": {
                "metadata": {"annotations": {"autoscaling.knative.dev/maxScale": str(service.max_instances)}},
                "spec": {
                    "containerConcurrency": service.concurrency,
                    "timeoutSeconds": service.timeout,
                    "serviceAccountName": service.account,
                    "containers": [
                        {
                            "image": _image(service),
                            "env": [{"name": name, "value": value} for name, value in service.environment.items()],
                            "resources": {"limits": {"cpu": service.cpu, "memory": service.memory}},
                        }
                    ],
                },
            },
            "traffic": [traffic],
        },
        "status": {
            "observedGeneration": service.generation,
            "conditions": [ready, ready | {"type": "ConfigurationsReady"}, ready | {"type": "RoutesReady"}],
            "latestReadyRevisionName": service.revision,
            "latestCreatedRevisionName": service.revision,
            "traffic": [traffic | {"revisionName": service.revision}],
            "url": service.url,
            "address": {"url": service.url},
        },
    }


def _image(service: Service) -> str:
    return IMAGE.format(
        location=service.location, project=service.project, name=service.short, generation=service.generation
    )
