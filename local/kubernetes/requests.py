"""One request to the Kubernetes API, read: its verb, resource and options, and its body as an object or a patch."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.kubernetes import patches, schema
from local.kubernetes.authorization import Attributes
from local.kubernetes.selectors import field_requirements
from local.kubernetes.status import StatusError, bad_request, method_not_allowed, unsupported_media_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from local.kubernetes.resources import Resource
    from local.kubernetes.store import Object

MAX_BODY = 3 * 1024 * 1024
PROTOBUF = "application/vnd.kubernetes.protobuf"
PATCHES = {
    "application/json-patch+json": patches.json_patch,
    "application/merge-patch+json": patches.merge,
    "application/strategic-merge-patch+json": patches.strategic_merge,
}
VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
RESOURCE_PATH = re.compile(
    r"(?:/api|/apis/(?P<group>[^/]+))/(?P<version>[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[^/]+))?"
)


@dataclass(frozen=True)
class Asked:
    """One request that names a resource, read from its path and query."""

    verb: str
    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str
    query: Mapping[str, str]

    @property
    def attributes(self) -> Attributes:
        # A namespace is a resource in itself: RoleBindings inside it count for it.
        namespace = self.name if self.plural == "namespaces" and not self.group else self.namespace
        name = self.name
        if self.verb in {"list", "watch", "deletecollection"}:  # so that resourceNames can allow a list of one
            fields = field_requirements(self.query.get("fieldSelector", ""))
            name = next((value for path, sign, value in fields if (path, sign) == ("metadata.name", "=")), "")
        return Attributes(self.verb, self.group, self.plural, self.subresource, namespace, name)

    @property
    def dry_run(self) -> bool:
        asked = self.query.get("dryRun", "")
        if asked not in {"", "All"}:
            raise bad_request(f'Invalid value: dryRun: Unsupported value: "{asked}": supported values: "All"')
        return bool(asked)


def read_request(request: Request, found: re.Match[str]) -> Asked:
    parts = {key: value or "" for key, value in found.groupdict().items()}
    verb = VERBS.get(request.method, request.method.lower())
    query = request.query_params
    if not parts["name"]:
        if verb == "get":
            verb = "watch" if query.get("watch", "") in {"1", "true"} else "list"
        elif verb == "delete":
            verb = "deletecollection"
    elif verb == "create" and not parts["subresource"]:
        raise method_not_allowed()
    return Asked(verb=verb, query=query, **parts)


def as_create(attributes: Attributes) -> Attributes:
    return Attributes("create", attributes.group, attributes.resource, "", attributes.namespace, attributes.name)


def require_json(request: Request) -> None:
    accept = request.headers.get("accept", "*/*")
    if not any(part.strip().startswith(("application/json", "*/*", "application/*")) for part in accept.split(",")):
        message = "only the following media types are accepted: application/json"
        raise StatusError(406, "NotAcceptable", message)


def table_wanted(request: Request) -> str:
    """Return `includeObject` of a table, '' if no table is requested: the first acceptable type decides."""
    first = request.headers.get("accept", "").split(",")[0]
    is_table = "as=Table" in first and "g=meta.k8s.io" in first
    return request.query_params.get("includeObject", "Metadata") if is_table else ""


async def read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            message = f"Request entity too large: limit is {MAX_BODY}"
            raise StatusError(413, "RequestEntityTooLarge", message)
    return bytes(body)


def parse(request: Request, body: bytes) -> Any:
    media = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    try:
        if media == PROTOBUF:
            return schema.from_protobuf(body)
        if media == "application/json":
            return json.loads(body)
    except ValueError as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    raise unsupported_media_type(media, f"application/json, {PROTOBUF}")


def decoded(resource: Resource, asked: Asked, value: Any) -> tuple[Object, list[str]]:
    """Read a body as an object of the resource, in the namespace of the path; return it with the warnings."""
    if not isinstance(value, dict):
        raise bad_request("couldn't get version/kind; json parse error: the body is no object")
    api_version, kind = value.get("apiVersion") or resource.api_version, value.get("kind") or resource.kind
    if api_version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version ({resource.api_version})"
        )
    handled = f'{resource.kind} in version "v1" cannot be handled as a {resource.kind}'
    if kind != resource.kind:
        raise bad_request(f'{kind} in version "v1" cannot be handled as a {resource.kind}')
    try:
        item, unknown = schema.typed(resource.kind, value)
    except schema.SchemaError as error:
        raise bad_request(f"{handled}: {error}") from error
    warnings = [f'unknown field "{path}"' for path in unknown]
    policy = asked.query.get("fieldValidation") or "Warn"
    if warnings and policy == "Strict":
        raise bad_request(f"{handled}: strict decoding error: {', '.join(warnings)}")
    metadata = dict(item.get("metadata", {}))
    if resource.namespaced:
        if metadata.setdefault("namespace", asked.namespace) != asked.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    else:
        metadata.pop("namespace", None)
    head = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return head | {key: value for key, value in item.items() if key != "metadata"}, warnings if policy == "Warn" else []


def read_patch(
    request: Request, resource: Resource, asked: Asked, body: bytes
) -> tuple[Callable[[Object], Object], list[str]]:
    """Return the change that a patch makes; the warnings are filled in when it is made."""
    media = request.headers.get("content-type", "").partition(";")[0].strip()
    if media not in PATCHES:
        raise unsupported_media_type(media, ", ".join(PATCHES))
    try:
        patch = json.loads(body)
    except ValueError as error:
        raise bad_request(f"error decoding patch: {error}") from error
    if media != "application/json-patch+json" and not isinstance(patch, dict):
        raise bad_request("error decoding patch: the patch is no object")
    warnings: list[str] = []

    def change(item: Object) -> Object:
        result = PATCHES[media](item, patch)
        try:
            changed, notes = decoded(resource, asked, result)
        except StatusError as error:  # the patch could be made, but what it makes is no such object
            reason = f"Invalid value: {json.dumps(json.dumps(result))}: {error.message}"
            cause = {"reason": "FieldValueInvalid", "message": reason, "field": "patch"}
            raise StatusError(422, "Invalid", f' "" is invalid: patch: {reason}', {"causes": [cause]}) from error
        warnings.extend(notes)
        return changed

    return change, warnings


def integer(query: Mapping[str, str], name: str) -> int:
    try:
        return max(int(query.get(name) or 0), 0)
    except ValueError as error:
        raise bad_request(f'{name}: Invalid value: "{query[name]}": must be an integer') from error
