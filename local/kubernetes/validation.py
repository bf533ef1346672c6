"""Validation and defaults of a new or changed object. Pure.

Rules and wording: `ValidateObjectMeta` in k8s.io/apimachinery/pkg/api/validation, pkg/apis/core/validation and
pkg/apis/rbac/validation of kubernetes/kubernetes. Left out: the required keys of Secret types beside `kubernetes.io/tls`.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from local.kubernetes import resources
from local.kubernetes.resources import RBAC
from local.kubernetes.status import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.kubernetes.resources import Resource
    from local.kubernetes.store import Object

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
QUALIFIED_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
IMMUTABLE = "field is immutable"

MAX_ANNOTATIONS = 256 * 1024
MAX_DATA = 1024 * 1024


def quoted(value: Any) -> str:
    """Write a value as the server's messages do."""
    return f'"{value}"' if isinstance(value, str) else str(value)


def bad(field: str, value: Any, why: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {quoted(value)}: {why}", field)


def required(field: str, why: str = "") -> Cause:
    return Cause("FieldValueRequired", f"Required value: {why}" if why else "Required value", field)


def refused(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def too_long(field: str, limit: int) -> Cause:
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", field)


def unsupported(field: str, value: str, supported: tuple[str, ...]) -> Cause:
    shown = ", ".join(f'"{one}"' for one in supported)
    return Cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {shown}', field)


def with_defaults(resource: Resource, item: Object) -> Object:
    """Return the object with the server's defaults for every verb: stringData, types, API groups."""
    item = dict(item)
    if resource is resources.SECRETS:
        written = {key: base64.b64encode(value.encode()).decode() for key, value in item.pop("stringData", {}).items()}
        if written or "data" in item:
            item["data"] = item.get("data", {}) | written
        item.setdefault("type", "Opaque")
    elif resource is resources.NAMESPACES:
        labels = item["metadata"].get("labels", {}) | {"kubernetes.io/metadata.name": item["metadata"].get("name", "")}
        item["metadata"] = item["metadata"] | {"labels": labels}
        item["spec"] = {"finalizers": ["kubernetes"]} | item.get("spec", {})
        item["status"] = {"phase": "Active"} | item.get("status", {})
    elif resource in {resources.CLUSTERROLES, resources.ROLES}:
        item.setdefault("rules", None)  # the one field of these kinds that is shown when it is empty
    elif resource in {resources.CLUSTERROLEBINDINGS, resources.ROLEBINDINGS}:
        item["roleRef"] = {"apiGroup": RBAC} | item.get("roleRef", {})
        if "subjects" in item:
            item["subjects"] = [
                subject if subject.get("kind") == "ServiceAccount" else {"apiGroup": RBAC} | subject
                for subject in item["subjects"]
            ]
    return item


def validate(resource: Resource, item: Object, before: Object | None) -> list[Cause]:
    """Return all validation errors of an object; `before` is the object that it replaces."""
    causes = list(_metadata(resource, item["metadata"]))
    if before is not None:
        causes += _unchanged(item["metadata"], before["metadata"])
    if resource in {resources.SECRETS, resources.CONFIGMAPS}:
        causes += _data(resource, item, before)
    elif resource in {resources.CLUSTERROLES, resources.ROLES}:
        for i, rule in enumerate(item.get("rules") or []):
            causes += _rule(f"rules[{i}]", rule, namespaced=resource.namespaced)
    elif resource in {resources.CLUSTERROLEBINDINGS, resources.ROLEBINDINGS}:
        causes += _binding(resource, item, before)
    return causes


def _metadata(resource: Resource, metadata: dict[str, Any]) -> Iterator[Cause]:
    name = metadata.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif why := name_fault(resource, name):
        yield bad("metadata.name", name, why)
    for key, value in metadata.get("labels", {}).items():
        if why := qualified_name_fault(key):
            yield bad("metadata.labels", key, why)
        if len(value) > 63:
            yield bad("metadata.labels", value, "must be no more than 63 bytes")
        elif not LABEL_VALUE.fullmatch(value):
            yield bad(
                "metadata.labels",
                value,
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
                "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
                f"regex used for validation is '{LABEL_VALUE.pattern}')",
            )
    annotations = metadata.get("annotations", {})
    for key in annotations:
        if why := qualified_name_fault(key.lower()):
            yield bad("metadata.annotations", key, why)
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > MAX_ANNOTATIONS:
        yield too_long("metadata.annotations", MAX_ANNOTATIONS)
    for finalizer in metadata.get("finalizers", []):
        if why := qualified_name_fault(finalizer):
            yield bad("metadata.finalizers", finalizer, why)


def name_fault(resource: Resource, name: str) -> str:
    """Return what is wrong with an object's name, or nothing."""
    if resource.group == RBAC:
        if name in {".", ".."}:
            return f"may not be '{name}'"
        return next((f"may not contain '{letter}'" for letter in "/%" if letter in name), "")
    if resource is resources.NAMESPACES:
        if len(name) > 63:
            return "must be no more than 63 bytes"
        return "" if DNS_LABEL.fullmatch(name) else _dns_fault("label", "my-name',  or '123-abc", DNS_LABEL)
    if len(name) > 253:
        return "must be no more than 253 bytes"
    return "" if DNS_SUBDOMAIN.fullmatch(name) else _dns_fault("subdomain", "example.com", DNS_SUBDOMAIN)


def _dns_fault(kind: str, example: str, pattern: re.Pattern[str]) -> str:
    letters = (
        "lower case alphanumeric characters or '-'"
        if kind == "label"
        else "lower case alphanumeric characters, '-' or '.'"
    )
    return (
        f"a lowercase RFC 1123 {kind} must consist of {letters}, and must start and end with an alphanumeric character "
        f"(e.g. '{example}', regex used for validation is '{pattern.pattern}')"
    )


def qualified_name_fault(key: str) -> str:
    """Return what is wrong with the key of a label or annotation, or nothing."""
    prefix, slash, name = key.rpartition("/")
    if slash and not prefix:
        return "prefix part must be non-empty"
    if slash and (len(prefix) > 253 or not DNS_SUBDOMAIN.fullmatch(prefix)):
        return "prefix part " + _dns_fault("subdomain", "example.com", DNS_SUBDOMAIN)
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 bytes"
    if not QUALIFIED_NAME.fullmatch(name):
        return (
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
            f"regex used for validation is '{QUALIFIED_NAME.pattern}')"
        )
    return ""


def _unchanged(metadata: dict[str, Any], before: dict[str, Any]) -> Iterator[Cause]:
    for field in ("name", "namespace", "uid"):
        if metadata.get(field, "") != before.get(field, ""):
            yield bad(f"metadata.{field}", metadata.get(field, ""), IMMUTABLE)
    added = set(metadata.get("finalizers", [])) - set(before.get("finalizers", []))
    if added and "deletionTimestamp" in before:
        why = f"no new finalizers can be added if the object is being deleted, found new finalizers {sorted(added)}"
        yield refused("metadata.finalizers", why)


def _data(resource: Resource, item: Object, before: Object | None) -> Iterator[Cause]:
    held = {**item.get("data", {}), **item.get("binaryData", {})}
    for key in held:
        why = ""
        if len(key) > 253:
            why = "must be no more than 253 bytes"
        elif not DATA_KEY.fullmatch(key):
            why = (
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
                f"'KEY_NAME',  or 'key-name', regex used for validation is '{DATA_KEY.pattern}')"
            )
        elif key == "." or key.startswith(".."):
            why = f"must not be '{key}'" if key in {".", ".."} else "must not start with '..'"
        if why:
            yield bad(f"data[{key}]", key, why)
    for key in item.get("data", {}).keys() & item.get("binaryData", {}).keys():
        yield bad(f"data[{key}]", key, "duplicate of key present in binaryData")
    secret = resource is resources.SECRETS
    sizes = (len(base64.b64decode(value)) if secret else len(value.encode()) for value in item.get("data", {}).values())
    if sum(sizes) + sum(len(base64.b64decode(value)) for value in item.get("binaryData", {}).values()) > MAX_DATA:
        yield too_long("data" if secret else "", MAX_DATA)
    if secret and item["type"] == "kubernetes.io/tls":
        yield from (required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in item.get("data", {}))
    if before is None:
        return
    if secret and item["type"] != before["type"]:
        yield bad("type", item["type"], IMMUTABLE)
    if before.get("immutable"):
        why = "field is immutable when `immutable` is set"
        if not item.get("immutable"):
            yield refused("immutable", why)
        yield from (refused(part, why) for part in ("data", "binaryData") if item.get(part, {}) != before.get(part, {}))


def _rule(field: str, rule: dict[str, Any], *, namespaced: bool) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield required(f"{field}.verbs", "verbs must contain at least one value")
    if rule.get("nonResourceURLs"):
        if namespaced:
            yield bad(
                f"{field}.nonResourceURLs",
                rule["nonResourceURLs"],
                "namespaced rules cannot apply to non-resource URLs",
            )
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            yield bad(f"{field}.nonResourceURLs", rule["nonResourceURLs"], why)
        return
    if not rule.get("apiGroups"):
        yield required(f"{field}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{field}.resources", "resource rules must supply at least one resource")


def _binding(resource: Resource, item: Object, before: Object | None) -> Iterator[Cause]:
    role = item["roleRef"]
    kinds = ("Role", "ClusterRole") if resource.namespaced else ("ClusterRole",)
    if role["apiGroup"] != RBAC:
        yield unsupported("roleRef.apiGroup", role["apiGroup"], (RBAC,))
    if role.get("kind", "") not in kinds:
        yield unsupported("roleRef.kind", role.get("kind", ""), kinds)
    if not role.get("name"):
        yield required("roleRef.name")
    elif why := name_fault(resource, role["name"]):
        yield bad("roleRef.name", role["name"], why)
    for i, subject in enumerate(item.get("subjects", [])):
        yield from _subject(f"subjects[{i}]", subject, namespaced=resource.namespaced)
    if before is not None and role != before["roleRef"]:
        shown = {key: role.get(key, "") for key in ("apiGroup", "kind", "name")}
        yield bad("roleRef", shown, "cannot change roleRef")


def _subject(field: str, subject: dict[str, Any], *, namespaced: bool) -> Iterator[Cause]:
    name, group = subject.get("name", ""), subject.get("apiGroup", "")
    if not name:
        yield required(f"{field}.name")
    match subject.get("kind", ""):
        case "ServiceAccount":
            if name and not DNS_SUBDOMAIN.fullmatch(name):
                yield bad(f"{field}.name", name, _dns_fault("subdomain", "example.com", DNS_SUBDOMAIN))
            if group:
                yield unsupported(f"{field}.apiGroup", group, ("",))
            if not subject.get("namespace") and not namespaced:
                yield required(f"{field}.namespace")
        case "User" | "Group":
            if group != RBAC:
                yield unsupported(f"{field}.apiGroup", group, (RBAC,))
        case other:
            yield unsupported(f"{field}.kind", other, ("ServiceAccount", "User", "Group"))
