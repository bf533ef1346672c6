"""The fields of every kind, once: JSON is checked by it, protobuf bodies are read by it, OpenAPI is written from it.

Field numbers are those of the `generated.proto` files of k8s.io/api and k8s.io/apimachinery. Only what clients send is
in it; fields of status and the server's own bookkeeping are here as far as kubectl shows or edits them.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from dataclasses import dataclass
from typing import Any

PROTOBUF = b"k8s\x00"  # k8s.io/apimachinery/pkg/runtime/serializer/protobuf: the magic before runtime.Unknown

# message → "field:type=number"; types: string bool int time bytes any, a message, `[]type`, `{}type` (map by string)
_MESSAGES = {
    "ObjectMeta": "name:string=1 generateName:string=2 namespace:string=3 selfLink:string=4 uid:string=5 "
    "resourceVersion:string=6 generation:int=7 creationTimestamp:time=8 deletionTimestamp:time=9 "
    "deletionGracePeriodSeconds:int=10 labels:{}string=11 annotations:{}string=12 ownerReferences:[]OwnerReference=13 "
    "finalizers:[]string=14 managedFields:[]any=17",
    "OwnerReference": "kind:string=1 name:string=3 uid:string=4 apiVersion:string=5 controller:bool=6 "
    "blockOwnerDeletion:bool=7",
    "Secret": "metadata:ObjectMeta=1 data:{}bytes=2 type:string=3 stringData:{}string=4 immutable:bool=5",
    "ConfigMap": "metadata:ObjectMeta=1 data:{}string=2 binaryData:{}bytes=3 immutable:bool=4",
    "Namespace": "metadata:ObjectMeta=1 spec:NamespaceSpec=2 status:NamespaceStatus=3",
    "NamespaceSpec": "finalizers:[]string=1",
    "NamespaceStatus": "phase:string=1 conditions:[]any=2",
    "ServiceAccount": "metadata:ObjectMeta=1 secrets:[]ObjectReference=2 imagePullSecrets:[]LocalObjectReference=3 "
    "automountServiceAccountToken:bool=4",
    # No controller makes Pods of these: they are there to be read.
    "Deployment": "metadata:ObjectMeta=1 spec:DeploymentSpec=2 status:any=3",
    "DeploymentSpec": "replicas:int=1 selector:LabelSelector=2 template:any=3 strategy:any=4 minReadySeconds:int=5 "
    "revisionHistoryLimit:int=6 paused:bool=7 progressDeadlineSeconds:int=9",
    "StatefulSet": "metadata:ObjectMeta=1 spec:StatefulSetSpec=2 status:any=3",
    "StatefulSetSpec": "replicas:int=1 selector:LabelSelector=2 template:any=3 volumeClaimTemplates:[]any=4 "
    "serviceName:string=5 podManagementPolicy:string=6 updateStrategy:any=7 revisionHistoryLimit:int=8",
    "ObjectReference": "kind:string=1 namespace:string=2 name:string=3 uid:string=4 apiVersion:string=5 "
    "resourceVersion:string=6 fieldPath:string=7",
    "LocalObjectReference": "name:string=1",
    "Role": "metadata:ObjectMeta=1 rules:[]PolicyRule=2",
    "ClusterRole": "metadata:ObjectMeta=1 rules:[]PolicyRule=2 aggregationRule:AggregationRule=3",
    "AggregationRule": "clusterRoleSelectors:[]LabelSelector=1",
    "LabelSelector": "matchLabels:{}string=1 matchExpressions:[]LabelSelectorRequirement=2",
    "LabelSelectorRequirement": "key:string=1 operator:string=2 values:[]string=3",
    "PolicyRule": "verbs:[]string=1 apiGroups:[]string=2 resources:[]string=3 resourceNames:[]string=4 "
    "nonResourceURLs:[]string=5",
    "RoleBinding": "metadata:ObjectMeta=1 subjects:[]Subject=2 roleRef:RoleRef=3",
    "ClusterRoleBinding": "metadata:ObjectMeta=1 subjects:[]Subject=2 roleRef:RoleRef=3",
    "Subject": "kind:string=1 apiGroup:string=2 name:string=3 namespace:string=4",
    "RoleRef": "apiGroup:string=1 kind:string=2 name:string=3",
    "ValidatingAdmissionPolicy": "metadata:ObjectMeta=1 spec:any=2 status:any=3",
    "ValidatingAdmissionPolicyBinding": "metadata:ObjectMeta=1 spec:any=2",
    "SubjectAccessReview": "metadata:ObjectMeta=1 spec:SubjectAccessReviewSpec=2 status:any=3",
    "LocalSubjectAccessReview": "metadata:ObjectMeta=1 spec:SubjectAccessReviewSpec=2 status:any=3",
    "SubjectAccessReviewSpec": "resourceAttributes:ResourceAttributes=1 nonResourceAttributes:NonResourceAttributes=2 "
    "user:string=3 groups:[]string=4 extra:{}any=5 uid:string=6",
    "SelfSubjectAccessReview": "metadata:ObjectMeta=1 spec:SelfSubjectAccessReviewSpec=2 status:any=3",
    "SelfSubjectAccessReviewSpec": "resourceAttributes:ResourceAttributes=1 "
    "nonResourceAttributes:NonResourceAttributes=2",
    "ResourceAttributes": "namespace:string=1 verb:string=2 group:string=3 version:string=4 resource:string=5 "
    "subresource:string=6 name:string=7 fieldSelector:any=8 labelSelector:any=9",
    "NonResourceAttributes": "path:string=1 verb:string=2",
    "SelfSubjectRulesReview": "metadata:ObjectMeta=1 spec:SelfSubjectRulesReviewSpec=2 status:any=3",
    "SelfSubjectRulesReviewSpec": "namespace:string=1",
    "SelfSubjectReview": "metadata:ObjectMeta=1 status:any=2",
    "DeleteOptions": "gracePeriodSeconds:int=1 preconditions:Preconditions=2 orphanDependents:bool=3 "
    "propagationPolicy:string=4 dryRun:[]string=5 ignoreStoreReadErrorWithClusterBreakingPotential:bool=6",
    "Preconditions": "uid:string=1 resourceVersion:string=2",
}


@dataclass(frozen=True)
class Field:
    type: str
    number: int


MESSAGES: dict[str, dict[str, Field]] = {
    message: {
        name: Field(type_, int(number))
        for name, type_, number in (
            (field.partition(":")[0], *field.partition(":")[2].split("=")) for field in fields.split()
        )
    }
    for message, fields in _MESSAGES.items()
}


class SchemaError(ValueError):
    """A value that its field cannot hold."""


def typed(kind: str, value: Any) -> tuple[dict[str, Any], list[str]]:
    """Return `value` as `kind` keeps it, and the paths of unknown fields, which are dropped.

    Like Go's `omitempty`: null, "", [] and {} are the same as absent, except entries of maps.
    """
    unknown: list[str] = []
    return _message(kind, value, "", unknown), unknown


def _message(kind: str, value: Any, path: str, unknown: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SchemaError(f"json: cannot unmarshal {_json_type(value)} into Go value of type {kind} ({path or kind})")
    fields = MESSAGES[kind]
    kept: dict[str, Any] = {}
    for name, given in value.items():
        here = f"{path}.{name}" if path else name
        if name not in fields:
            if path or name not in {"apiVersion", "kind"}:
                unknown.append(here)
            continue
        read = None if given is None else _value(fields[name].type, given, here, unknown)
        if read not in (None, "", [], {}) or (read == {} and fields[name].type in MESSAGES):
            kept[name] = read
    return kept


def _value(type_: str, value: Any, path: str, unknown: list[str]) -> Any:
    if type_ == "any":
        return value
    if type_.startswith("[]"):
        if not isinstance(value, list):
            raise _mismatch(value, path, type_)
        return [_value(type_[2:], entry, f"{path}[{i}]", unknown) for i, entry in enumerate(value)]
    if type_.startswith("{}"):
        if not isinstance(value, dict):
            raise _mismatch(value, path, "map[string]" + type_[2:])
        # A null entry is Go's zero value; merge patches have taken their nulls away before this.
        return {key: _value(type_[2:], "" if entry is None else entry, path, unknown) for key, entry in value.items()}
    if type_ in MESSAGES:
        return _message(type_, value, path, unknown)
    expected: type[Any] = {"bool": bool, "int": int}.get(type_, str)
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise _mismatch(value, path, type_)
    if type_ == "bytes":
        return _base64(value)
    if type_ == "time":
        return _time(value)
    return value


def _mismatch(value: Any, path: str, type_: str) -> SchemaError:
    return SchemaError(f"json: cannot unmarshal {_json_type(value)} into Go struct field {path} of type {type_}")


def _json_type(value: Any) -> str:
    names = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _base64(value: str) -> str:
    text = value.replace("\r", "").replace("\n", "")  # Go's decoder skips both
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode()
    except (binascii.Error, ValueError) as error:
        standard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        at = next((i for i, letter in enumerate(text) if letter not in standard), len(text) - len(text) % 4)
        raise SchemaError(f"illegal base64 data at input byte {at}") from error


def _time(value: str) -> str:
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError as error:
        raise SchemaError(f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00"') from error
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_protobuf(body: bytes) -> dict[str, Any]:
    """Read a protobuf body (`k8s\\0` and a runtime.Unknown around the object) as JSON would have it."""
    if not body.startswith(PROTOBUF):
        raise SchemaError("provided data does not appear to be a protobuf message")
    try:
        envelope = dict(_wire(body[len(PROTOBUF) :]))
        type_meta = dict(_wire(envelope.get(1, b"")))
        kind = type_meta.get(2, b"").decode()
        if kind not in MESSAGES:
            raise SchemaError(f'no kind "{kind}" is registered')
        head = {"apiVersion": type_meta.get(1, b"").decode(), "kind": kind}
        return head | _decode(kind, envelope.get(2, b""))
    except (IndexError, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise SchemaError(f"proto: {error}") from error


def _decode(kind: str, raw: bytes) -> dict[str, Any]:
    by_number = {field.number: (name, field.type) for name, field in MESSAGES[kind].items()}
    value: dict[str, Any] = {}
    for number, given in _wire(raw):
        name, type_ = by_number.get(number, ("", "any"))
        if type_.startswith("[]") and type_ != "[]any":
            value.setdefault(name, []).append(_scalar(type_[2:], given))
        elif type_.startswith("{}") and type_ != "{}any":
            entry = dict(_wire(given))
            value.setdefault(name, {})[entry.get(1, b"").decode()] = _scalar(type_[2:], entry.get(2, b""))
        elif not type_.endswith("any"):
            value[name] = _scalar(type_, given)
    return value


def _scalar(type_: str, given: Any) -> Any:
    if type_ in MESSAGES:
        return _decode(type_, given)
    if type_ == "bytes":
        return base64.b64encode(given).decode()
    if type_ == "time":
        seconds = dict(_wire(given)).get(1)
        return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if type_ in {"bool", "int"}:
        return bool(given) if type_ == "bool" else given
    return given.decode()


def _wire(raw: bytes) -> list[tuple[int, Any]]:
    """Split a protobuf message into (field number, integer or bytes)."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    entries: list[tuple[int, Any]] = []
    while at < len(raw):
        tag = varint()
        match tag & 7:
            case 0:
                entries.append((tag >> 3, varint()))
            case 2:
                length = varint()
                if at + length > len(raw):
                    raise IndexError("unexpected EOF")
                entries.append((tag >> 3, raw[at : at + length]))
                at += length
            case 1 | 5 as fixed:
                at += 8 if fixed == 1 else 4
            case other:
                raise SchemaError(f"proto: wrong wire type {other}")
    return entries


def openapi(type_: str) -> dict[str, Any]:
    """Return the OpenAPI schema of a field's type."""
    if type_.startswith("[]"):
        return {"type": "array", "items": openapi(type_[2:])}
    if type_.startswith("{}"):
        return {"type": "object", "additionalProperties": openapi(type_[2:])}
    if type_ in MESSAGES:
        return {"allOf": [{"$ref": f"#/components/schemas/{type_}"}]}
    plain: dict[str, dict[str, Any]] = {
        "any": {"type": "object"},
        "bool": {"type": "boolean"},
        "bytes": {"type": "string", "format": "byte"},
        "int": {"type": "integer", "format": "int64"},
        "time": {"type": "string", "format": "date-time"},
    }
    return plain.get(type_, {"type": "string"})
