"""The Kubernetes API of one cluster on the wire: an ASGI application over the store, the authorizer and the verbs.

It reads `scope["path"]` as the Kubernetes path, whatever `root_path` says, so a gateway can cut its own prefix off and
call it. Answers are JSON; bodies may be JSON or protobuf. Order of checks as in kube-apiserver: who, acting as whom, may
they, and only then what.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from local.kubernetes import discovery, reviews, schema
from local.kubernetes.authorization import AUTHENTICATED, UNAUTHENTICATED, Attributes, User
from local.kubernetes.pages import page
from local.kubernetes.requests import (
    RESOURCE_PATH,
    VERBS,
    as_create,
    decoded,
    parse,
    read_body,
    read_patch,
    read_request,
    require_json,
    table_wanted,
)
from local.kubernetes.resources import BY_PLURAL, GROUPS
from local.kubernetes.status import StatusError, bad_request, details, method_not_allowed, no_such_path, not_found
from local.kubernetes.tables import table
from local.kubernetes.watch import Watches

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from local.kubernetes.authorization import Authorizer
    from local.kubernetes.objects import Objects
    from local.kubernetes.requests import Asked
    from local.kubernetes.resources import Resource
    from local.kubernetes.store import Object, Store

log = logging.getLogger(__name__)

ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))


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
        self._watches = Watches(store, now)

    def close(self) -> None:
        """End all watches, and refuse new ones. Call it on the loop that serves them, before the server stops."""
        self._watches.close()

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
        found = RESOURCE_PATH.fullmatch(path.rstrip("/"))
        if found is None:
            return self._document(request, user, path.rstrip("/") or "/")
        asked = read_request(request, found)
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
        require_json(request)
        if asked.verb == "watch":
            await self._watches.serve(request, send, resource, asked)
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
            message = f"Internal error occurred: requested {groups_asked} without impersonating a user"
            raise StatusError(500, "InternalError", message)
        return user

    # what is no resource

    def _document(self, request: Request, user: User, path: str) -> Response:
        self._authorizer.require(user, Attributes(VERBS.get(request.method, request.method).lower(), path=path))
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
            wanted = table_wanted(request)
            metadata = {"resourceVersion": item["metadata"]["resourceVersion"]}
            return table(resource, [item], self._now(), wanted, metadata) if wanted else item
        items, metadata = page(self._store, resource, asked)
        if wanted := table_wanted(request):
            return table(resource, items, self._now(), wanted, metadata)
        bare = [{key: value for key, value in item.items() if key not in {"apiVersion", "kind"}} for item in items]
        return {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata, "items": bare}

    # writes

    async def _write(self, request: Request, user: User, resource: Resource, asked: Asked) -> Response:
        body = await read_body(request)
        if asked.verb == "patch":
            change, warnings = read_patch(request, resource, asked, body)
            request.scope["warnings"] = warnings  # a refusal carries them too
            item = self._objects.patch(user, resource, asked.namespace, asked.name, change, dry_run=asked.dry_run)
            return _written(request, resource, item, self._now(), warnings)
        if asked.verb in {"delete", "deletecollection"}:
            return self._delete(resource, asked, parse(request, body) if body else None)
        item, warnings = decoded(resource, asked, parse(request, body))
        request.scope["warnings"] = warnings
        if resource.virtual:
            return JSONResponse(
                reviews.answer(self._authorizer, user, resource, asked.namespace, item), status_code=201
            )
        if asked.verb == "create":
            item = self._objects.create(user, resource, asked.namespace, item, dry_run=asked.dry_run)
            return _written(request, resource, item, self._now(), warnings, created=True)
        if resource.creates_on_update and self._store.get(resource, asked.namespace, asked.name) is None:
            self._authorizer.require(user, as_create(asked.attributes))
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
            items, metadata = page(self._store, resource, asked)
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


def _page_not_found() -> Response:
    """Answer a path outside every served group as Go's HTTP server does, without a Status."""
    return PlainTextResponse("404 page not found\n", status_code=404)


def _written(
    request: Request, resource: Resource, item: Object, now: dt.datetime, warnings: list[str], *, created: bool = False
) -> Response:
    wanted = table_wanted(request)
    shown = table(resource, [item], now, wanted, {}) if wanted else item
    return _warned(JSONResponse(shown, status_code=201 if created else 200), warnings)


def _warned(answer: Response, warnings: list[str]) -> Response:
    for warning in warnings:
        escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
        answer.headers.append("warning", f'299 - "{escaped}"')
    return answer
