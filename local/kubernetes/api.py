"""The Kubernetes API of one cluster on the wire: an ASGI application over the store, the authorizer and the verbs.

It reads `scope["path"]` as the Kubernetes path, whatever `root_path` says, so a gateway can cut its own prefix off and
call it. Answers are JSON; bodies may be JSON or protobuf. Order of checks as in kube-apiserver: who, acting as whom, may
they, and only then what.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from local.kubernetes import discovery, patches, reviews, schema
from local.kubernetes.authorization import AUTHENTICATED, UNAUTHENTICATED, Attributes, User
from local.kubernetes.resources import BY_PLURAL, GROUPS
from local.kubernetes.selectors import field_requirements, selector
from local.kubernetes.status import (
    StatusError,
    bad_request,
    details,
    method_not_allowed,
    no_such_path,
    not_found,
    unsupported_media_type,
)
from local.kubernetes.tables import table

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from local.kubernetes.authorization import Authorizer
    from local.kubernetes.objects import Objects
    from local.kubernetes.resources import Resource
    from local.kubernetes.store import Event, Object, Store

log = logging.getLogger(__name__)

ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
MAX_BODY = 3 * 1024 * 1024
WATCH_SECONDS = 1800.0
PROTOBUF = "application/vnd.kubernetes.protobuf"
PATCHES = {
    "application/json-patch+json": patches.json_patch,
    "application/merge-patch+json": patches.merge,
    "application/strategic-merge-patch+json": patches.strategic_merge,
}
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_RESOURCE_PATH = re.compile(
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


class Api:
    """One cluster's API. `close` ends its watches, so that a server around it can stop."""

    def __init__(
        self,
        *,
        store: Store,
        authorizer: Authorizer,
        objects: Objects,
        tokens: Mapping[str, User],
        now: Callable[[], dt.datetime],
        version: str,
    ) -> None:
        self._store = store
        self._authorizer = authorizer
        self._objects = objects
        self._tokens = tokens
        self._now = now
        self._version = version
        self._watches: set[asyncio.Event] = set()
        self._closed = False

    def close(self) -> None:
        """End all watches, and refuse new ones. Call it on the loop that serves them, before the server stops."""
        self._closed = True
        for wake in self._watches:
            wake.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"a Kubernetes API does not serve {scope['type']}")
        request = Request(scope, receive)
        try:
            answer = await self._answer(request, send)
        except StatusError as error:
            answer = _warned(JSONResponse(error.body, status_code=error.code), scope.get("warnings", []))
        except ClientDisconnect:
            return
        except Exception as error:
            log.exception("Kubernetes API: %s %s", scope["method"], scope["path"])
            status = StatusError(500, "InternalError", f"Internal error occurred: {error}")
            answer = JSONResponse(status.body, status_code=500)
        if answer is not None:
            await answer(scope, receive, send)

    async def _answer(self, request: Request, send: Send) -> Response | None:
        """Answer a request; a watch is answered here, piece by piece, and returns None."""
        user = self._user(request)
        path = request.scope["path"]
        found = _RESOURCE_PATH.fullmatch(path.rstrip("/"))
        if found is None:
            return self._document(request, user, path.rstrip("/") or "/")
        asked = _asked(request, found)
        self._authorizer.require(user, asked.attributes)
        if (asked.group not in {"", *GROUPS}) or asked.version != "v1":
            return _page_not_found()
        resource = BY_PLURAL.get((asked.group, asked.plural))
        if resource is None or asked.subresource or (asked.namespace and not resource.namespaced):
            raise no_such_path()
        if asked.verb not in resource.verbs or (
            resource.namespaced and not asked.namespace and asked.verb not in {"list", "watch"}
        ):
            raise method_not_allowed()
        _require_json(request)
        if asked.verb == "watch":
            await self._watch(request, send, resource, asked)
            return None
        if asked.verb in {"get", "list"}:
            return JSONResponse(self._read(request, resource, asked))
        return await self._write(request, user, resource, asked)

    # who

    def _user(self, request: Request) -> User:
        header = request.headers.get("authorization")
        user = ANONYMOUS
        if header is not None:
            kind, _, token = header.partition(" ")
            known = self._tokens.get(token.strip()) if kind.lower() == "bearer" else None
            if known is None:
                raise StatusError(401, "Unauthorized", "Unauthorized")
            groups = known.groups if AUTHENTICATED in known.groups else (*known.groups, AUTHENTICATED)
            user = User(known.name, groups)
        name, groups_asked = request.headers.get("impersonate-user"), request.headers.getlist("impersonate-group")
        if name:
            return self._authorizer.impersonated(user, name, groups_asked)
        if groups_asked:
            told = f"Internal error occurred: requested {groups_asked} without impersonating a user"
            raise StatusError(500, "InternalError", told)
        return user

    # what is no resource

    def _document(self, request: Request, user: User, path: str) -> Response:
        self._authorizer.require(user, Attributes(_VERBS.get(request.method, request.method).lower(), path=path))
        if path in {"/healthz", "/livez", "/readyz"}:
            return PlainTextResponse("ok")
        accept = request.headers.get("accept", "")
        offered = (version for version in ("v2", "v2beta1") if f"v={version};as=APIGroupDiscoveryList" in accept)
        aggregated = next(offered, "")
        found = discovery.document(path, self._version, aggregated)
        if found is None:
            return _page_not_found()
        as_list = found.get("kind") == "APIGroupDiscoveryList"
        return JSONResponse(found, media_type=discovery.AGGREGATED.format(aggregated) if as_list else None)

    # get and list

    def _read(self, request: Request, resource: Resource, asked: Asked) -> Object:
        if asked.verb == "get":
            item = self._store.get(resource, asked.namespace, asked.name)
            if item is None:
                raise not_found(resource, asked.name)
            wanted = _table_wanted(request)
            metadata = {"resourceVersion": item["metadata"]["resourceVersion"]}
            return table(resource, [item], self._now(), wanted, metadata) if wanted else item
        items, metadata = self._page(resource, asked)
        if wanted := _table_wanted(request):
            return table(resource, items, self._now(), wanted, metadata)
        bare = [{key: value for key, value in item.items() if key not in {"apiVersion", "kind"}} for item in items]
        return {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata, "items": bare}

    def _page(self, resource: Resource, asked: Asked) -> tuple[list[Object], dict[str, Any]]:
        """Return one page of a list, all pages as of one version, and the list's metadata."""
        labels, fields = asked.query.get("labelSelector", ""), asked.query.get("fieldSelector", "")
        matches = selector(resource, labels, fields)
        limit = _integer(asked.query, "limit")
        version, start = self._store.version, None
        if token := asked.query.get("continue"):
            version, start = _read_continue(token)
        elif asked.query.get("resourceVersionMatch") == "Exact":
            version = _integer(asked.query, "resourceVersion")
        if version > self._store.version:
            raise StatusError(504, "Timeout", f"Too large resource version: {version}, current: {self._store.version}")
        items = [item for item in self._store.all(resource, asked.namespace or None, version) if matches(item)]
        if start is not None:
            items = [item for item in items if _position(item) > start]
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if limit and len(items) > limit:
            metadata["continue"] = _continue(version, items[limit - 1])
            if not labels and not fields:
                metadata["remainingItemCount"] = len(items) - limit
            items = items[:limit]
        return items, metadata

    # watch

    async def _watch(self, request: Request, send: Send, resource: Resource, asked: Asked) -> None:
        matches = selector(resource, asked.query.get("labelSelector", ""), asked.query.get("fieldSelector", ""))
        wanted = _table_wanted(request)
        seconds = float(_integer(asked.query, "timeoutSeconds") or WATCH_SECONDS)
        since = _integer(asked.query, "resourceVersion")
        header = True

        async def emit(type_: str, item: Object) -> None:
            nonlocal header
            if wanted and type_ in {"ADDED", "MODIFIED", "DELETED"}:
                metadata = {"resourceVersion": item["metadata"]["resourceVersion"]}
                item = table(resource, [item], self._now(), wanted, metadata, header=header)
                header = False
            line = json.dumps({"type": type_, "object": item}, separators=(",", ":")).encode() + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})

        wake = asyncio.Event()
        stop_listening = self._store.listen(wake.set)
        gone = asyncio.create_task(_disconnected(request))
        self._watches.add(wake)
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-cache, private")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            initial = asked.query.get("sendInitialEvents") == "true"
            if initial or since == 0:
                since = self._store.version
                for item in self._store.all(resource, asked.namespace or None):
                    if matches(item):
                        await emit("ADDED", item)
                if initial:
                    await emit("BOOKMARK", _bookmark(resource, since))
            while not self._closed and not gone.done():
                wake.clear()
                for event in self._store.since(since, resource):
                    since = event.version
                    seen = _seen(event, asked.namespace, matches)
                    if seen is not None:
                        await emit(*seen)
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or not await _woken(wake, gone, left):
                    break
        except StatusError as error:  # 410: within a watch even the refusal is an event
            await emit("ERROR", error.body)
        finally:
            self._watches.discard(wake)
            stop_listening()
            disconnected = gone.done()
            gone.cancel()
        if not disconnected:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    # writes

    async def _write(self, request: Request, user: User, resource: Resource, asked: Asked) -> Response:
        body = await _body(request)
        if asked.verb == "patch":
            change, warnings = _patch(request, resource, asked, body)
            request.scope["warnings"] = warnings  # a refusal carries them too
            item = self._objects.patch(user, resource, asked.namespace, asked.name, change, dry_run=asked.dry_run)
            return _written(request, resource, item, self._now(), warnings)
        if asked.verb in {"delete", "deletecollection"}:
            return self._delete(resource, asked, _parse(request, body) if body else None)
        item, warnings = _decoded(resource, asked, _parse(request, body))
        request.scope["warnings"] = warnings
        if resource.virtual:
            return JSONResponse(
                reviews.answer(self._authorizer, user, resource, asked.namespace, item), status_code=201
            )
        if asked.verb == "create":
            item = self._objects.create(user, resource, asked.namespace, item, dry_run=asked.dry_run)
            return _written(request, resource, item, self._now(), warnings, created=True)
        if resource.creates_on_update and self._store.get(resource, asked.namespace, asked.name) is None:
            self._authorizer.require(user, _as_create(asked.attributes))
        item, created = self._objects.replace(user, resource, asked.namespace, asked.name, item, dry_run=asked.dry_run)
        return _written(request, resource, item, self._now(), warnings, created=created)

    def _delete(self, resource: Resource, asked: Asked, body: Any) -> Response:
        try:
            options, _ = schema.typed("DeleteOptions", body or {})
        except schema.SchemaError as error:
            raise bad_request(str(error)) from error
        # Options in a body are all there are: kube-apiserver then does not look at those of the query.
        dry_run = asked.dry_run if body is None else options.get("dryRun") == ["All"]
        preconditions = options.get("preconditions")
        if asked.verb == "deletecollection":
            items, metadata = self._page(resource, asked)
            for item in items:
                name = item["metadata"]["name"]
                namespace = item["metadata"].get("namespace", "")
                self._objects.delete(resource, namespace, name, preconditions, dry_run=dry_run)
            kind = f"{resource.kind}List"
            return JSONResponse(
                {"kind": kind, "apiVersion": resource.api_version, "metadata": metadata, "items": items}
            )
        item = self._objects.delete(resource, asked.namespace, asked.name, preconditions, dry_run=dry_run)
        if resource.returns_deleted or item["metadata"].get("finalizers"):
            return JSONResponse(item)
        named = details(resource, asked.name, uid=item["metadata"]["uid"])
        return JSONResponse(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": named}
        )


def _asked(request: Request, found: re.Match[str]) -> Asked:
    parts = {key: value or "" for key, value in found.groupdict().items()}
    verb = _VERBS.get(request.method, request.method.lower())
    query = request.query_params
    if not parts["name"]:
        if verb == "get":
            verb = "watch" if query.get("watch", "") in {"1", "true"} else "list"
        elif verb == "delete":
            verb = "deletecollection"
    elif verb == "create" and not parts["subresource"]:
        raise method_not_allowed()
    return Asked(verb=verb, query=query, **parts)


def _page_not_found() -> Response:
    """What is outside of every served group is answered by Go's HTTP server, without a Status."""
    return PlainTextResponse("404 page not found\n", status_code=404)


def _as_create(attributes: Attributes) -> Attributes:
    return Attributes("create", attributes.group, attributes.resource, "", attributes.namespace, attributes.name)


def _require_json(request: Request) -> None:
    accept = request.headers.get("accept", "*/*")
    if not any(part.strip().startswith(("application/json", "*/*", "application/*")) for part in accept.split(",")):
        told = "only the following media types are accepted: application/json"
        raise StatusError(406, "NotAcceptable", told)


def _table_wanted(request: Request) -> str:
    """Return what a table's rows shall include, or nothing if no table is wanted: the first acceptable type decides."""
    first = request.headers.get("accept", "").split(",")[0]
    is_table = "as=Table" in first and "g=meta.k8s.io" in first
    return request.query_params.get("includeObject", "Metadata") if is_table else ""


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            told = f"Request entity too large: limit is {MAX_BODY}"
            raise StatusError(413, "RequestEntityTooLarge", told)
    return bytes(body)


def _parse(request: Request, body: bytes) -> Any:
    media = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    try:
        if media == PROTOBUF:
            return schema.from_protobuf(body)
        if media == "application/json":
            return json.loads(body)
    except ValueError as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    raise unsupported_media_type(media, f"application/json, {PROTOBUF}")


def _decoded(resource: Resource, asked: Asked, value: Any) -> tuple[Object, list[str]]:
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


def _patch(
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
            changed, told = _decoded(resource, asked, result)
        except StatusError as error:  # the patch could be made, but what it makes is no such object
            told_why = f"Invalid value: {json.dumps(json.dumps(result))}: {error.message}"
            cause = {"reason": "FieldValueInvalid", "message": told_why, "field": "patch"}
            raise StatusError(422, "Invalid", f' "" is invalid: patch: {told_why}', {"causes": [cause]}) from error
        warnings.extend(told)
        return changed

    return change, warnings


def _written(
    request: Request, resource: Resource, item: Object, now: dt.datetime, warnings: list[str], *, created: bool = False
) -> Response:
    wanted = _table_wanted(request)
    shown = table(resource, [item], now, wanted, {}) if wanted else item
    return _warned(JSONResponse(shown, status_code=201 if created else 200), warnings)


def _warned(answer: Response, warnings: list[str]) -> Response:
    for warning in warnings:
        escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
        answer.headers.append("warning", f'299 - "{escaped}"')
    return answer


def _integer(query: Mapping[str, str], name: str) -> int:
    try:
        return max(int(query.get(name) or 0), 0)
    except ValueError as error:
        raise bad_request(f'{name}: Invalid value: "{query[name]}": must be an integer') from error


def _position(item: Object) -> list[str]:
    return [item["metadata"].get("namespace", ""), item["metadata"]["name"]]


def _continue(version: int, last: Object) -> str:
    token = {"v": "meta.k8s.io/v1", "rv": version, "start": _position(last)}
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode().rstrip("=")


def _read_continue(token: str) -> tuple[int, list[str]]:
    try:
        read = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = read["start"]
        return int(read["rv"]), [str(namespace), str(name)]
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request("continue key is not valid") from error


def _bookmark(resource: Resource, version: int) -> Object:
    """The end of the initial events of a streaming list (KEP-3157)."""
    metadata = {"resourceVersion": str(version), "annotations": {"k8s.io/initial-events-end": "true"}}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}


def _seen(event: Event, namespace: str, matches: Callable[[Object], bool]) -> tuple[str, Object] | None:
    """Return the event as a watch with this selector sees it: what starts or stops matching is added or deleted."""
    if namespace and event.key[0] != namespace:
        return None
    before = event.before is not None and matches(event.before)
    after = event.type != "DELETED" and matches(event.after)
    if not before and not after:
        return None
    if before and not after and event.before is not None:
        version = {"resourceVersion": event.after["metadata"]["resourceVersion"]}
        return "DELETED", event.before | {"metadata": event.before["metadata"] | version}
    return ("MODIFIED" if before else "ADDED"), event.after


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _woken(wake: asyncio.Event, gone: asyncio.Task[None], seconds: float) -> bool:
    """Wait for a change; return False when the client has gone or the time is over."""
    waiting = asyncio.create_task(wake.wait())
    try:
        done, _ = await asyncio.wait({waiting, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return waiting in done and gone not in done
    finally:
        waiting.cancel()
