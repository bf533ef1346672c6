"""One cluster: its objects, who may call it, and its API."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING, Any

from local.kubernetes import bootstrap, schema
from local.kubernetes.api import Api
from local.kubernetes.authorization import MASTERS, Authorizer, User
from local.kubernetes.objects import Objects
from local.kubernetes.resources import BY_KIND, BY_PLURAL, RBAC
from local.kubernetes.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from local.kubernetes.store import Object

VERSION = "v1.33.5"  # what /version says: a minor that kubectl 1.32 to 1.34 speaks to without a warning
ADMIN = User("local-admin", (MASTERS,))


class Cluster:
    """The Kubernetes API of one cluster. `app` serves it; `tokens` says whose each bearer token is.

    `iam_allows(user, permission)` joins Google's IAM in, as on GKE; without it RBAC alone decides.
    """

    def __init__(
        self,
        name: str,
        *,
        iam_allows: Callable[[str, str], bool] | None = None,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        version: str = VERSION,
    ) -> None:
        self.name = name
        self.store = Store()
        self.authorizer = Authorizer(self.store, iam_allows)
        self.admin_token = secrets.token_urlsafe(24)
        self.tokens: dict[str, User] = {self.admin_token: ADMIN}
        self._objects = Objects(self.store, self.authorizer, now)
        self._api = Api(
            store=self.store,
            authorizer=self.authorizer,
            objects=self._objects,
            tokens=self.tokens,
            now=now,
            version=version,
        )
        for manifest in bootstrap.manifests():
            self.put(manifest)

    @property
    def app(self) -> ASGIApp:
        return self._api

    def close(self) -> None:
        """End all watches; call it on the serving loop before the server stops, which waits for them otherwise."""
        self._api.close()

    def put(self, manifest: dict[str, Any]) -> Object:
        """Create an object, or merge the manifest into it, by the API's rules without RBAC: to set a cluster up."""
        resource = BY_KIND[manifest["apiVersion"], manifest["kind"]]
        item, unknown = schema.typed(resource.kind, manifest)
        if unknown:
            raise ValueError(f"{resource.kind} has no {', '.join(unknown)}")
        item = {"kind": resource.kind, "apiVersion": resource.api_version} | item
        name, namespace = item["metadata"]["name"], item["metadata"].get("namespace", "")
        if self.store.get(resource, namespace, name) is None:
            return self._objects.create(ADMIN, resource, namespace, item)
        return self._objects.patch(ADMIN, resource, namespace, name, lambda before: _over(before, item))

    def objects(self, plural: str, namespace: str | None = None) -> list[Object]:
        """Return the stored objects of a kind, by its plural (`secrets`, `clusterrolebindings`): for status and tests. Read only."""
        resource = BY_PLURAL.get(("", plural)) or BY_PLURAL[RBAC, plural]
        return self.store.all(resource, namespace)


def _over(before: Object, item: Object) -> Object:
    return before | item | {"metadata": before["metadata"] | item["metadata"]}
