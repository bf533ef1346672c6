"""Break topics and subscriptions; each is undone afterwards."""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from tests.chain.breakages.projects import TOPICS, set_policy
from tests.chain.running import FLEET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chain.breakages.operator import Broken, Json, Operator


SUBSCRIPTIONS = f"v1/projects/{FLEET}/subscriptions"


def subscription(name: str, **changes: Any) -> Broken:
    """Fields of a subscription are changed; None takes one away."""
    mask = ",".join(changes)

    def patch(operator: Operator, fields: Json) -> None:
        given = {"name": f"projects/{FLEET}/subscriptions/{name}"}
        given |= {key: value for key, value in fields.items() if value is not None}
        body = {"subscription": given, "updateMask": mask}
        operator.call("PATCH", "pubsub", f"{SUBSCRIPTIONS}/{name}", body)

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "pubsub", f"{SUBSCRIPTIONS}/{name}")
        patch(operator, changes)
        try:
            yield
        finally:
            patch(operator, {key: before.get(key) for key in changes})

    return broken


def push_config(name: str, change: Callable[[Json], Json]) -> Broken:
    """The push configuration of a subscription is changed."""
    path = f"{SUBSCRIPTIONS}/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "pubsub", path).get("pushConfig", {})
        operator.call("POST", "pubsub", f"{path}:modifyPushConfig", {"pushConfig": change(deepcopy(before))})
        try:
            yield
        finally:
            operator.call("POST", "pubsub", f"{path}:modifyPushConfig", {"pushConfig": before})

    return broken


def replaced_subscription(name: str, **changes: Any) -> Broken:
    """A subscription is deleted, and created again with other fields; without any it stays away."""
    path = f"{SUBSCRIPTIONS}/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "pubsub", path)
        grants = operator.call("GET", "pubsub", f"{path}:getIamPolicy").get("bindings", [])
        operator.call("DELETE", "pubsub", path)
        if changes:
            _create(operator, path, before | changes, grants)
        try:
            yield
        finally:
            if changes:
                operator.call("DELETE", "pubsub", path)
            _create(operator, path, before, grants)

    return broken


def deleted_topic(name: str, *, created_again: bool = False) -> Broken:
    """A topic is deleted; its subscription keeps `_deleted-topic_`, also where the topic is created again."""
    path = f"{TOPICS}/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        grants = operator.call("GET", "pubsub", f"{path}:getIamPolicy").get("bindings", [])
        before = operator.call("GET", "pubsub", f"{SUBSCRIPTIONS}/{name}")
        of_subscription = operator.call("GET", "pubsub", f"{SUBSCRIPTIONS}/{name}:getIamPolicy").get("bindings", [])
        operator.call("DELETE", "pubsub", path)
        if created_again:
            _create(operator, path, {}, grants)
        try:
            yield
        finally:
            if not created_again:
                _create(operator, path, {}, grants)
            operator.call("DELETE", "pubsub", f"{SUBSCRIPTIONS}/{name}")
            _create(operator, f"{SUBSCRIPTIONS}/{name}", before, of_subscription)

    return broken


def _create(operator: Operator, path: str, body: Json, grants: list[Json]) -> None:
    given = {key: value for key, value in body.items() if key not in {"name", "state"}}
    operator.call("PUT", "pubsub", path, given)
    set_policy(operator, "pubsub", path, grants)
