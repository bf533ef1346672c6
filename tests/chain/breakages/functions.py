"""Break functions, triggers and the schedule; each is undone afterwards."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.chain.running import FLEET, REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chain.breakages.operator import Broken, Operator


FUNCTIONS = f"v2/projects/{FLEET}/locations/{REGION}/functions"
SERVICES = f"v1/projects/{FLEET}/locations/{REGION}/services"

TRIGGERS = f"v1/projects/{FLEET}/locations"
JOBS = f"v1/projects/{FLEET}/locations/{REGION}/jobs"


def function(name: str, mask: str, **config: Any) -> Broken:
    """A field of a function's service configuration is changed."""
    path = f"{FUNCTIONS}/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "cloudfunctions", path)["serviceConfig"][mask]
        value = {**before, **config} if isinstance(before, dict) else config["value"]
        patch(operator, value)
        try:
            yield
        finally:
            patch(operator, before)

    def patch(operator: Operator, value: Any) -> None:
        body = {"serviceConfig": {mask: value}}
        operator.call("PATCH", "cloudfunctions", path, body, updateMask=f"serviceConfig.{mask}")

    return broken


def failed_function(name: str) -> Broken:
    """The last deployment of a function has failed."""
    full = f"projects/{FLEET}/locations/{REGION}/functions/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        operator.cloud.do("run", "set_state", full, "FAILED", "Build failed")
        try:
            yield
        finally:
            operator.cloud.do("run", "set_state", full, "ACTIVE", "")

    return broken


def other_code(name: str) -> Broken:
    """A function was built from another bundle than the rest."""
    full = f"projects/{FLEET}/locations/{REGION}/functions/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "cloudfunctions", f"{FUNCTIONS}/{name}")["buildConfig"]["environmentVariables"]
        operator.cloud.do("run", "set_build_variables", full, {"BUNDLE": "an-earlier-one"})
        try:
            yield
        finally:
            operator.cloud.do("run", "set_build_variables", full, before)

    return broken


def deleted_triggers(part: str) -> Broken:
    """The triggers whose names contain a text are deleted."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        found = operator.call("GET", "eventarc", f"{TRIGGERS}/-/triggers")["triggers"]
        going = [one for one in found if part in one["name"].rpartition("/")[2]]
        assert going
        for one in going:
            operator.call("DELETE", "eventarc", f"v1/{one['name']}")
        try:
            yield
        finally:
            for one in going:
                parent, _, name = one["name"].rpartition("/")
                given = ("eventFilters", "serviceAccount", "destination", "eventDataContentType")
                operator.call("POST", "eventarc", f"v1/{parent}", {key: one[key] for key in given}, triggerId=name)

    return broken


def trigger(name: str, **changes: Any) -> Broken:
    """Fields of a trigger in `global` are changed."""
    path = f"{TRIGGERS}/global/triggers/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "eventarc", path)
        operator.call("PATCH", "eventarc", path, changes, updateMask=",".join(changes))
        try:
            yield
        finally:
            kept = {key: before[key] for key in changes}
            operator.call("PATCH", "eventarc", path, kept, updateMask=",".join(changes))

    return broken


def job(**changes: Any) -> Broken:
    """The schedule is deleted, and created again with other fields; without any it stays away."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "cloudscheduler", f"{JOBS}/sweep")
        given = {key: before[key] for key in ("name", "schedule", "pubsubTarget")}
        operator.call("DELETE", "cloudscheduler", f"{JOBS}/sweep")
        if changes:
            operator.call("POST", "cloudscheduler", JOBS, given | changes)
        try:
            yield
        finally:
            if changes:
                operator.call("DELETE", "cloudscheduler", f"{JOBS}/sweep")
            operator.call("POST", "cloudscheduler", JOBS, given)

    return broken
