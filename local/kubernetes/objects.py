"""Creating, changing and deleting objects by kube-apiserver's rules, in its order. Knows the store, no HTTP.

Order: https://github.com/kubernetes/kubernetes, staging/src/k8s.io/apiserver/pkg/registry/{rest,generic/registry}:
escalation check, resourceVersion (409), validation (422), store. A `metadata.uid` that differs is 409 in a PUT (a
precondition) and 422 in a patch (an immutable field; see kubernetes pull request 126107), unless the resourceVersion is
stale too.
"""

from __future__ import annotations

import datetime as dt
import secrets
import uuid
from typing import TYPE_CHECKING, Any

from local.kubernetes import resources
from local.kubernetes.resources import RBAC, STORED
from local.kubernetes.status import (
    StatusError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    modified,
    not_found,
)
from local.kubernetes.validation import validate, with_defaults

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.kubernetes.authorization import Authorizer, User
    from local.kubernetes.resources import Resource
    from local.kubernetes.store import Object, Store

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # those of generated names: no vowels, nothing that looks like another letter
_KEPT_NAMESPACES = {"default", "kube-public", "kube-system"}  # the namespace lifecycle plug-in lets nobody delete them
_SERVERS_OWN = ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields", "selfLink")


class Objects:
    """The verbs that write. Every one takes the user, for the escalation checks of RBAC."""

    def __init__(self, store: Store, authorizer: Authorizer, now: Callable[[], dt.datetime]) -> None:
        self._store = store
        self._authorizer = authorizer
        self._now = now

    def create(self, user: User, resource: Resource, namespace: str, item: Object, *, dry_run: bool = False) -> Object:
        if namespace and self._store.get(resources.NAMESPACES, "", namespace) is None:
            raise not_found(resources.NAMESPACES, namespace)
        metadata = {key: value for key, value in item["metadata"].items() if key not in _SERVERS_OWN}
        if "name" not in metadata and "generateName" in metadata:
            suffix = "".join(secrets.choice(_LETTERS) for _ in range(5))
            metadata["name"] = metadata["generateName"][:58] + suffix
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self._timestamp()}
        item = with_defaults(resource, item | {"metadata": metadata})
        self._refuse_escalation(user, resource, item)
        if causes := validate(resource, item, None):
            raise invalid(resource, metadata.get("name", ""), causes)
        if "resourceVersion" in metadata:
            raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
        if dry_run:
            self._refuse_unjudged(user, resource)
            if self._store.get(resource, namespace, metadata["name"]) is not None:
                raise already_exists(resource, metadata["name"])
            return item
        return self._store.create(resource, item)

    def replace(
        self, user: User, resource: Resource, namespace: str, name: str, item: Object, *, dry_run: bool = False
    ) -> tuple[Object, bool]:
        """PUT: return the object and whether it was created, which some kinds allow."""
        given = item["metadata"].get("name", "")
        if given != name:
            raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")
        before = self._store.get(resource, namespace, name)
        uid = item["metadata"].get("uid", "")
        if before is None and not resource.creates_on_update:
            raise not_found(resource, name)
        actual = before["metadata"]["uid"] if before else ""
        if uid and uid != actual:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}"
            raise conflict(resource, name, why)
        if before is None:
            new = {key: value for key, value in item["metadata"].items() if key != "resourceVersion"}
            return self.create(user, resource, namespace, item | {"metadata": new}, dry_run=dry_run), True
        return self._update(user, resource, before, item, dry_run=dry_run), False

    def patch(
        self,
        user: User,
        resource: Resource,
        namespace: str,
        name: str,
        change: Callable[[Object], Object],
        *,
        dry_run: bool = False,
    ) -> Object:
        before = self._store.get(resource, namespace, name)
        if before is None:
            raise not_found(resource, name)
        return self._update(user, resource, before, change(before), dry_run=dry_run)

    def delete(
        self, resource: Resource, namespace: str, name: str, preconditions: Any, *, dry_run: bool = False
    ) -> Object:
        """Delete, or mark as being deleted while there are finalizers; return the last state."""
        item = self._store.get(resource, namespace, name)
        if item is None:
            raise not_found(resource, name)
        _check_preconditions(resource, item, preconditions)
        if resource is resources.NAMESPACES:
            if name in _KEPT_NAMESPACES:
                raise forbidden(resource, name, "this namespace may not be deleted")
            if not dry_run:
                self._empty_namespace(name)
        going = item["metadata"] | {"deletionTimestamp": self._timestamp(), "deletionGracePeriodSeconds": 0}
        if item["metadata"].get("finalizers"):
            if dry_run or "deletionTimestamp" in item["metadata"]:
                return item
            return self._store.update(resource, item | {"metadata": going})
        if dry_run:
            return item
        deleted = self._store.delete(resource, namespace, name)
        if resource is resources.NAMESPACES:  # what a real one answers: it is deleted a moment later, by a controller
            return deleted | {"metadata": going, "status": deleted["status"] | {"phase": "Terminating"}}
        return deleted

    def _update(self, user: User, resource: Resource, before: Object, item: Object, *, dry_run: bool) -> Object:
        old = before["metadata"]
        metadata = {key: value for key, value in item["metadata"].items() if key not in _SERVERS_OWN}
        metadata |= {key: old[key] for key in (*_SERVERS_OWN, "creationTimestamp", "generateName") if key in old}
        metadata.setdefault("uid", old["uid"])
        given = metadata.pop("resourceVersion", "")
        item = with_defaults(resource, item | {"metadata": metadata})
        if {**item, "metadata": None} != {**before, "metadata": None} or not _only_bookkeeping(metadata, old):
            self._refuse_escalation(user, resource, item)
        if given and given != old["resourceVersion"]:
            raise modified(resource, old["name"])
        if causes := validate(resource, item, before):
            raise invalid(resource, old["name"], causes)
        if dry_run:
            self._refuse_unjudged(user, resource)
            return item | {"metadata": metadata | {"resourceVersion": old["resourceVersion"]}}
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self._store.update(resource, item)
            return self._store.delete(resource, metadata.get("namespace", ""), metadata["name"])
        return self._store.update(resource, item)

    def _refuse_unjudged(self, user: User, resource: Resource) -> None:
        """Refuse a service account's dry run that an admission policy would judge: none is evaluated here.

        An answer would say that the policy accepts the write, which is what the caller wants to know.
        """
        policies = self._store.all(resources.POLICIES, None)
        if user.name.endswith(".gserviceaccount.com") and any(_matches(policy, resource) for policy in policies):
            why = f"admission policies are not evaluated here: a dry run on {resource.plural} would say nothing"
            raise StatusError(501, "NotImplemented", why)

    def _refuse_escalation(self, user: User, resource: Resource, item: Object) -> None:
        if resource.group == RBAC:
            self._authorizer.refuse_escalation(user, resource, item)

    def _empty_namespace(self, namespace: str) -> None:
        for resource in STORED:
            if resource.namespaced:
                for item in self._store.all(resource, namespace):
                    self._store.delete(resource, namespace, item["metadata"]["name"])

    def _timestamp(self) -> str:
        return self._now().astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _only_bookkeeping(metadata: dict[str, Any], old: dict[str, Any]) -> bool:
    """True if only the garbage collector's fields differ: that needs no escalation check."""
    edited = {"finalizers", "ownerReferences", "resourceVersion"}
    return {key: metadata.get(key) for key in metadata.keys() | old.keys() if key not in edited} == {
        key: old.get(key) for key in metadata.keys() | old.keys() if key not in edited
    }


def _check_preconditions(resource: Resource, item: Object, preconditions: Any) -> None:
    for field, title, hint in (
        ("uid", "UID", "The object might have been deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "The object might have been modified"),
    ):
        wanted, actual = (preconditions or {}).get(field), item["metadata"][field]
        if wanted is not None and wanted != actual:
            why = f"the {title} in the precondition ({wanted}) does not match the {title} in record ({actual}). {hint}"
            raise conflict(resource, item["metadata"]["name"], why, resource.kind)


def _matches(policy: Object, resource: Resource) -> bool:
    """Whether an admission policy is about a kind, whatever the operation."""
    rules = policy.get("spec", {}).get("matchConstraints", {}).get("resourceRules", [])
    return any(
        {resource.group, "*"} & set(rule.get("apiGroups", []))
        and {resource.plural, "*"} & set(rule.get("resources", []))
        for rule in rules
    )
