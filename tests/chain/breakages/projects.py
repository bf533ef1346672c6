"""Break IAM policies, roles, service accounts, APIs, quotas and sinks; each is undone afterwards."""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from tests.chain.running import FLEET, email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chain.breakages.operator import Broken, Json, Operator


TOPICS = f"v1/projects/{FLEET}/topics"
GATEWAY_QUOTA = ("connectgateway.googleapis.com", "connectgateway.googleapis.com/requests")
IDENTITY = "iam.gke.io/gcp-service-account"


def policy(api: str, path: str, change: Callable[[list[Json]], list[Json]], verb: str = "GET") -> Broken:
    """The bindings of a resource's policy are changed."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        asked: Json | None = None if verb == "GET" else {}
        before = operator.call(verb, api, f"{path}:getIamPolicy", asked).get("bindings", [])
        set_policy(operator, api, path, change(deepcopy(before)))
        try:
            yield
        finally:
            set_policy(operator, api, path, before)

    return broken


def set_policy(operator: Operator, api: str, path: str, bindings: list[Json]) -> None:
    operator.call("POST", api, f"{path}:setIamPolicy", {"policy": {"bindings": bindings}})


def project_policy(project: str, change: Callable[[list[Json]], list[Json]]) -> Broken:
    return policy("cloudresourcemanager", f"v1/projects/{project}", change, "POST")


def topic_policy(topic: str, change: Callable[[list[Json]], list[Json]]) -> Broken:
    return policy("pubsub", f"{TOPICS}/{topic}", change)


def account_policy(account: str, change: Callable[[list[Json]], list[Json]]) -> Broken:
    return policy("iam", f"v1/projects/{FLEET}/serviceAccounts/{account}", change, "POST")


def take(part: str, role: str = "") -> Callable[[list[Json]], list[Json]]:
    """Take members that contain a text out of the bindings (of one role)."""

    def change(bindings: list[Json]) -> list[Json]:
        for binding in bindings:
            if role in ("", binding["role"]):
                binding["members"] = [one for one in binding["members"] if part not in one]
        return [binding for binding in bindings if binding["members"]]

    return change


def give(role: str, member: str) -> Callable[[list[Json]], list[Json]]:
    """Add a binding."""
    return lambda bindings: [*bindings, {"role": role, "members": [member]}]


def toggled(api: str, path: str, off: str, on: str) -> Broken:
    """Something is switched off and on again by two methods."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        operator.call("POST", api, f"{path}:{off}", {})
        try:
            yield
        finally:
            operator.call("POST", api, f"{path}:{on}", {})

    return broken


def role_without(project: str, part: str, permission: str) -> Broken:
    """A custom role (whose name contains `part`) loses a permission."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        found = operator.call("GET", "iam", f"v1/projects/{project}/roles", view="FULL")["roles"]
        [role] = [one for one in found if part in one["name"] and permission in one["includedPermissions"]]
        before = role["includedPermissions"]
        patch(operator, role["name"], [one for one in before if one != permission])
        try:
            yield
        finally:
            patch(operator, role["name"], before)

    def patch(operator: Operator, name: str, permissions: list[str]) -> None:
        operator.call(
            "PATCH", "iam", f"v1/{name}", {"includedPermissions": permissions}, updateMask="includedPermissions"
        )

    return broken


def deleted_account(name: str) -> Broken:
    """A service account is deleted."""
    path = f"v1/projects/{FLEET}/serviceAccounts"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        operator.call("DELETE", "iam", f"{path}/{email(name)}")
        try:
            yield
        finally:
            operator.call("POST", "iam", path, {"accountId": name})

    return broken


def sink(project: str, **changes: Any) -> Broken:
    """Fields of the sink of a source project are changed; without any it is deleted."""
    parent = f"v2/projects/{project}/sinks"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "logging", f"{parent}/fleet-registrar-clusters")
        kept = {key: before[key] for key in ("name", "destination", "filter")}
        if changes:
            operator.call("PUT", "logging", f"{parent}/fleet-registrar-clusters", kept | changes)
        else:
            operator.call("DELETE", "logging", f"{parent}/fleet-registrar-clusters")
        try:
            yield
        finally:
            if changes:
                operator.call("PUT", "logging", f"{parent}/fleet-registrar-clusters", kept | {"disabled": False})
            else:
                operator.call("POST", "logging", parent, kept, uniqueWriterIdentity="true")

    return broken


def quota(service: str, metric: str, limit: int, default: int) -> Broken:
    """A quota is small."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        operator.cloud.do("quotas", "change", service, metric, limit)
        try:
            yield
        finally:
            operator.cloud.do("quotas", "change", service, metric, default)

    return broken
