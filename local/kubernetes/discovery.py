"""What kubectl asks before it asks for anything: discovery in both forms, the version, OpenAPI.

The OpenAPI documents hold the kinds' fields as `schema` knows them, and the PATCH operations with the parameters
`dryRun` and `fieldValidation`: without those kubectl refuses `apply` and `diff`. OpenAPI v2 is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.kubernetes import schema
from local.kubernetes.resources import GROUPS, RESOURCES

if TYPE_CHECKING:
    from local.kubernetes.resources import Resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


def document(path: str, version: str, aggregated: str) -> dict[str, Any] | None:
    """Return the document at a path, or None; `aggregated` is the version of the aggregated form, if it is asked for."""
    if path in {"/api", "/apis"} and aggregated:
        return _aggregated(path, aggregated)
    groups = {group: _group(group) for group in GROUPS}
    documents: dict[str, dict[str, Any]] = {
        "/": {
            "paths": [
                "/api",
                "/api/v1",
                "/apis",
                *(f"/apis/{group}/v1" for group in GROUPS),
                "/healthz",
                "/livez",
                "/openapi/v3",
                "/readyz",
                "/version",
            ]
        },
        "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(groups.values())},
        "/version": _version(version),
        "/openapi/v3": {
            "paths": {path[1:]: {"serverRelativeURL": f"/openapi/v3{path}"} for path in _VERSION_PATHS.values()}
        },
    }
    for group, prefix in _VERSION_PATHS.items():
        documents[prefix] = _resource_list(group)
        documents[f"/openapi/v3{prefix}"] = _openapi(group, prefix)
        if group:
            documents[f"/apis/{group}"] = {"kind": "APIGroup", "apiVersion": "v1", **groups[group]}
    return documents.get(path)


_VERSION_PATHS = {"": "/api/v1"} | {group: f"/apis/{group}/v1" for group in GROUPS}


def _of(group: str) -> list[Resource]:
    return [resource for resource in RESOURCES if resource.group == group]


def _group(group: str) -> dict[str, Any]:
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    return {"name": group, "versions": [version], "preferredVersion": version}


def _version(version: str) -> dict[str, Any]:
    major, minor = version.lstrip("v").split(".")[:2]
    built = {"gitCommit": "", "gitTreeState": "clean", "buildDate": "2025-01-01T00:00:00Z"}
    made_by = {"goVersion": "", "compiler": "", "platform": "linux/amd64"}
    return {"major": major, "minor": minor, "gitVersion": version, **built, **made_by}


def _resource_list(group: str) -> dict[str, Any]:
    listed = [
        {
            "name": resource.plural,
            "singularName": resource.kind.lower(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
        }
        | ({"shortNames": list(resource.short)} if resource.short else {})
        for resource in _of(group)
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/v1" if group else "v1",
        "resources": listed,
    }


def _aggregated(path: str, version: str) -> dict[str, Any]:
    items = []
    for group in ("",) if path == "/api" else GROUPS:
        listed = [
            {
                "resource": resource.plural,
                "responseKind": {"group": group, "version": "v1", "kind": resource.kind},
                "scope": "Namespaced" if resource.namespaced else "Cluster",
                "singularResource": resource.kind.lower(),
                "verbs": list(resource.verbs),
                "shortNames": list(resource.short),
            }
            for resource in _of(group)
        ]
        metadata = {"name": group} if group else {}
        items.append(
            {"metadata": metadata, "versions": [{"version": "v1", "resources": listed, "freshness": "Current"}]}
        )
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _openapi(group: str, prefix: str) -> dict[str, Any]:
    schemas: dict[str, Any] = {
        message: {"type": "object", "properties": {name: schema.openapi(field.type) for name, field in fields.items()}}
        for message, fields in schema.MESSAGES.items()
    }
    paths: dict[str, Any] = {}
    for resource in _of(group):
        gvk = {"group": group, "version": "v1", "kind": resource.kind}
        own = schemas[resource.kind]
        own["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
        own["x-kubernetes-group-version-kind"] = [gvk]
        if not resource.virtual:
            scope = "/namespaces/{namespace}" if resource.namespaced else ""
            paths[f"{prefix}{scope}/{resource.plural}/{{name}}"] = {"patch": _patch(resource, gvk)}
    info = {"title": "Kubernetes", "version": "v1"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _patch(resource: Resource, gvk: dict[str, str]) -> dict[str, Any]:
    names = ("dryRun", "fieldManager", "fieldValidation", "force")
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
    ref = {"schema": {"$ref": f"#/components/schemas/{resource.kind}"}}
    # Strategic merge is accepted but not announced here: kubectl then uses its own, complete knowledge of merge keys.
    bodies = {
        media: {"schema": {"type": "object"}}
        for media in ("application/json-patch+json", "application/merge-patch+json")
    }
    return {
        "parameters": parameters,
        "requestBody": {"content": bodies},
        "responses": {"200": {"description": "OK", "content": {"application/json": ref}}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": gvk,
    }
