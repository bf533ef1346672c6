"""The access reviews: questions that are answered at once and never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.kubernetes.authorization import Attributes, Authorizer, User
from local.kubernetes.status import Cause, invalid
from local.kubernetes.validation import bad

if TYPE_CHECKING:
    from local.kubernetes.resources import Resource
    from local.kubernetes.store import Object


def answer(authorizer: Authorizer, caller: User, resource: Resource, namespace: str, review: Object) -> Object:
    """Return the review with its status."""
    spec = review.get("spec", {})
    match resource.kind:
        case "SelfSubjectReview":
            status: dict[str, Any] = {"userInfo": {"username": caller.name, "groups": list(caller.groups)}}
        case "SelfSubjectRulesReview":
            status = _rules(authorizer.rules(caller, spec.get("namespace", "")))
        case "SelfSubjectAccessReview":
            status = _access(authorizer, caller, _attributes(resource, spec))
        case _:
            if not spec.get("user") and not spec.get("groups"):
                message = "at least one of user or group must be specified"
                raise invalid(resource, "", [Cause("FieldValueRequired", f"Required value: {message}", "spec.user")])
            about = spec.get("resourceAttributes", {}).get("namespace", "")
            if resource.namespaced and about != namespace:
                message = f"must match metadata.namespace: {namespace}"
                raise invalid(resource, "", [bad("spec.resourceAttributes.namespace", about, message)])
            subject = User(spec.get("user", ""), tuple(spec.get("groups", ())))
            status = _access(authorizer, subject, _attributes(resource, spec))
    return review | {"status": status}


def _attributes(resource: Resource, spec: dict[str, Any]) -> Attributes:
    about, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (about is None) == (path is None):  # neither, or both
        message = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise invalid(resource, "", [bad("spec.resourceAttributes", about, message)])
    if path is not None:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(**{field: (about or {}).get(field, "") for field in fields})


def _access(authorizer: Authorizer, user: User, attributes: Attributes) -> dict[str, Any]:
    allowed, reason = authorizer.decide(user, attributes)
    return {"allowed": allowed} | ({"reason": reason} if reason else {})


def _rules(rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "resourceRules": [rule for rule in rules if "nonResourceURLs" not in rule],
        "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
        "incomplete": False,
    }
