"""Events into requests: what an audit entry or a membership event asks for, decided from the event alone.

Pure. The shapes are those of recorded entries (GKE's audit log) and of google-cloudevents (gkehub v1). An event says
*which* cluster; what is true the steps read for themselves.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.values.codes import ErrorCode, EventCode
from shared.values.errors import PermanentError
from shared.values.messages import OutgoingMessage, StepRequest, truncate
from shared.values.names import ClusterName, InvalidNameError, MembershipName

if TYPE_CHECKING:
    from collections.abc import Mapping

AUDIT: Final = "google.cloud.audit.log.v1.written"
MEMBERSHIP: Final = "google.cloud.gkehub.membership.v1."
PUBSUB: Final = "google.cloud.pubsub.topic.v1.messagePublished"
_GKE: Final = "container.googleapis.com"
_CODES: Final[Mapping[str, EventCode]] = {
    "CreateCluster": EventCode.CREATED,
    "DeleteCluster": EventCode.DELETED,
    "created": EventCode.CREATED,
    "deleted": EventCode.DELETED,
}
# A change of a cluster takes the short way: `write-secret` asks for what is missing.
_TOPICS: Final[Mapping[EventCode, str]] = {
    EventCode.CREATED: "register-membership",
    EventCode.CHANGED: "write-secret",
    EventCode.DELETED: "remove-secret",
}
_WITH_PART = re.compile(r"(.*?/clusters/[^/]+)/")
_MEMBERSHIP_NAME = re.compile(r"projects/[^/\s]+/locations/[^/\s]+/memberships/[^/\s]+")


@dataclass(frozen=True, slots=True)
class Route:
    """Where an event leads: to one request, or to nothing, and why. `cause` is for logs only.

    `since` is when the cluster was created, or changed: '' where the event does not say it. It is for metrics only.
    `gone`: the entry says that the cluster's deletion has succeeded.
    """

    code: EventCode
    reason: str
    cause: str = ""
    next: OutgoingMessage | None = None
    since: str = ""
    gone: bool = False


def route_entry(entry: Mapping[str, Any], numbers: Mapping[str, str]) -> Route:
    """Decide on one LogEntry of the Admin Activity log. `numbers` maps known project numbers to ids.

    An entry may be the first of its operation, the last, both, or without one. A failed entry without an operation, or
    with all of it, was refused: nothing has changed. Raises PermanentError when an entry of ours names no cluster.
    """
    payload = _object(entry.get("protoPayload"))
    service, full_method = payload.get("serviceName"), payload.get("methodName")
    method = str(full_method or "").rpartition(".")[2]
    kind = _object(entry.get("resource")).get("type") or "gke_cluster"
    if (
        service != _GKE
        or kind != "gke_cluster"
        or method not in ("CreateCluster", "DeleteCluster", "UpdateCluster", "SetLabels")
    ):
        return Route(EventCode.UNRELATED, f"not relevant: {str(full_method)[:120]} of {str(service)[:120]}")
    operation = _object(entry.get("operation"))
    failed = _code(_object(payload.get("status"))) != 0
    first, last = (_is_true(operation.get(key)) for key in ("first", "last"))
    whole = not operation or (first and last)
    if failed and whole:
        return Route(EventCode.REFUSED, f"{method} refused: nothing has changed")
    when = "finished" if last else "started" if operation else "done"
    text = f"{method} {when}" + (", failed" if failed and when == "finished" else "")
    if method == "CreateCluster" and (when != "finished" or failed):
        if failed:
            return Route(EventCode.FAILED, f"{text}: there is no cluster to register")
        return Route(EventCode.STARTED, f"{text}: there is no cluster to register yet")
    if method in ("UpdateCluster", "SetLabels") and when == "started":
        return Route(EventCode.STARTED, f"{text}: the last entry of this operation is the one to act on")
    cluster = _cluster(entry, payload, numbers)
    code = _CODES.get(method, EventCode.CHANGED)
    topic = _TOPICS[code]
    who = _object(payload.get("authenticationInfo")).get("principalEmail")
    cause = truncate(
        " ".join(
            str(part) for part in (text, who and f"by {who}", operation.get("id") or entry.get("insertId")) if part
        )
    )
    since = _since(code, entry.get("timestamp"))
    gone = code is EventCode.DELETED and when == "finished" and not failed
    return Route(code, text, cause, OutgoingMessage(topic, StepRequest(cluster=cluster)), since, gone)


def route_membership(
    kind: str, data: Any, attributes: Mapping[str, Any], numbers: Mapping[str, str], *, wait: bool = False
) -> Route:
    """Decide on a membership event. `kind` is created, updated or deleted; a deleted membership has no payload.

    The payload contains the name, or the event's source and subject do. Their format is not documented, so every place
    is tried. `wait`: others register the clusters, so a new membership of a GKE cluster continues its chain. Raises
    PermanentError when no place names the membership.
    """
    payload = _object(_object(data).get("payload"))
    if (kind == "updated" or (kind == "created" and not wait)) and _object(
        _object(payload.get("endpoint")).get("gkeCluster")
    ):
        return Route(
            EventCode.GKE_MEMBERSHIP, f"membership {kind}, of a GKE cluster: its audit entries and the sweep cover it"
        )
    if kind not in ("created", "updated", "deleted"):
        return Route(EventCode.UNRELATED, f"not relevant: membership event of kind {kind[:60]!r}")
    membership = _membership(payload, attributes, numbers)
    code = _CODES.get(kind, EventCode.CHANGED)
    topic = "remove-secret" if code is EventCode.DELETED else "register-membership"
    text = f"membership {kind}" + ("" if payload or kind == "deleted" else ", without a readable body")
    cause = truncate(f"{text} {attributes.get('id', '')}".strip())
    since = _since(code, attributes.get("time"))
    return Route(code, text, cause, OutgoingMessage(topic, StepRequest(membership=membership)), since)


def route_covered(membership: MembershipName, cause: str) -> Route:
    """Decide on the deletion of a membership whose cluster's deletion was routed just now: it needs no request."""
    return Route(EventCode.GKE_MEMBERSHIP, f"{membership} deleted: the deletion of its cluster covers it", cause)


def payload(data: bytes) -> Any:
    """Return the JSON value in an event's data; None if it is not JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _cluster(entry: Mapping[str, Any], payload: Mapping[str, Any], numbers: Mapping[str, str]) -> ClusterName:
    """Name the cluster by the resource's labels, or by `resourceName` where the labels name none.

    Log sinks and processors may drop or mask labels. `resourceName` says `zones/` for regions too, and may go on with a
    part of the cluster (`/nodePools/default`).
    """
    labels = _object(_object(entry.get("resource")).get("labels"))
    parts = [labels.get(key) for key in ("project_id", "location", "cluster_name")]
    resource = payload.get("resourceName")
    if isinstance(resource, str) and (found := _WITH_PART.match(resource)):
        resource = found[1]
    faults = []
    for name in ("projects/{}/locations/{}/clusters/{}".format(*parts) if all(parts) else None, resource):
        try:
            return ClusterName.parse(name, numbers)
        except InvalidNameError as error:
            faults.append(str(error))
    raise PermanentError(
        f"an audit entry ({payload.get('methodName')}) does not say which cluster: {'; '.join(faults)}",
        ErrorCode.INVALID_EVENT,
    )


def _membership(
    payload: Mapping[str, Any], attributes: Mapping[str, Any], numbers: Mapping[str, str]
) -> MembershipName:
    source, subject, id_, location = (
        str(attributes.get(key) or "") for key in ("source", "subject", "membership", "location")
    )
    places = (f"{source}/", f"{source}/locations/{location}/")
    parts = (subject, f"memberships/{id_}")
    faults = []
    for text in (payload.get("name"), subject, source, id_, *(place + part for place in places for part in parts)):
        found = _MEMBERSHIP_NAME.search(str(text or ""))
        try:
            if found:
                return MembershipName.parse(found[0], numbers)
        except InvalidNameError as error:
            faults.append(str(error))
    tried = "; ".join(faults) or f"source {source[:120]!r}, subject {subject[:120]!r}"
    raise PermanentError(f"a membership event does not say which membership: {tried}", ErrorCode.INVALID_EVENT)


def _since(code: EventCode, time: object) -> str:
    """Return when an onboarding may have started, for an event that may start one."""
    return truncate(str(time)) if code in (EventCode.CREATED, EventCode.CHANGED) and isinstance(time, str) else ""


def _code(status: Mapping[str, Any]) -> int:
    """The status's code; an absent one is OK, and 64-bit and other integers may come as strings."""
    code = status.get("code")
    try:
        return 0 if code is None else int(code)
    except (TypeError, ValueError, OverflowError):
        return -1


def _is_true(value: Any) -> bool:
    """Whether a flag is set; exports of a log write it as text."""
    return value is True or value == "true"


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
