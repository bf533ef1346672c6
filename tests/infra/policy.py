"""The admission policy, evaluated without an API server, and cluster Secrets to try it with.

The evaluator of the Common Expression Language is not Kubernetes' own: what Kubernetes adds to the language is added here.
Left out: what the API server does around a policy (`tests/real/test_policy.py`).
"""

from __future__ import annotations

import base64
import copy
import functools
import json
import re
from typing import TYPE_CHECKING, Any

from local.central import registrar
from shared.decisions import secret_plan
from shared.values.cluster_secret import ClusterSecret
from shared.values.target import GkeTarget
from tests.infra import argocd
from tests.infra.argocd import VALUES
from tests.unit import given

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.infra.argocd import Object

WRITER = f"write-secret@{VALUES['functions-domain']}"
REMOVER = f"remove-secret@{VALUES['functions-domain']}"
IDS = ("200000000000000000001", "200000000000000000002")
OF_THIS_CLOUD = {
    **VALUES,
    "instance": "default",
    "fleet-project": "demo-fleet",
    "central-membership": given.ENVIRONMENT["CENTRAL_MEMBERSHIP"],
}


def rendered(**values: str) -> Object:
    """The policy, with values in place of the placeholders."""
    found = registrar({**OF_THIS_CLOUD, **values})
    return next(item for item in found if item["kind"] == "ValidatingAdmissionPolicy")


# Values of the policy's variable `texts`, by its expression and the data. It reads nothing else but constants, and takes most of the time.
_texts: dict[tuple[str, str], Any] = {}


@functools.cache
def _program(expression: str) -> Any:
    celpy = argocd.tool("celpy")
    types = celpy.celtypes

    def find_all(text: str, pattern: str) -> Any:
        return types.ListType(types.StringType(found) for found in re.findall(pattern, text))

    def split(text: str, separator: str) -> Any:
        return types.ListType(types.StringType(part) for part in (text.split(separator) if separator else text))

    # https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries
    added = {
        "findAll": find_all,
        "split": split,
        "indexOf": lambda text, part: types.IntType(text.find(part)),
        "join": lambda parts, between="": types.StringType(between.join(parts)),
        "replace": lambda text, old, new: types.StringType(text.replace(old, new)),
        "substring": lambda text, start, end: types.StringType(_substring(text, start, end)),
    }
    environment = celpy.Environment()
    return environment.program(environment.compile(expression), functions=added)


def decided_by(policy: Object) -> Callable[..., list[str]]:
    """Return a function that gives the refusals of a request: messages and expressions of messages; none: it passes."""
    celpy = argocd.tool("celpy")
    spec = policy["spec"]
    conditions = [_program(item["expression"]) for item in spec["matchConditions"]]
    variables = [(item["name"], item["expression"]) for item in spec["variables"]]
    validations = [
        (_program(item["expression"]), item.get("message") or item["messageExpression"]) for item in spec["validations"]
    ]

    def evaluate(expression: str, known: Object) -> Any:
        """Return the value; None if it cannot be evaluated: a rule that uses the variable then raises the error."""
        try:
            return _program(expression).evaluate(known)
        except celpy.CELEvalError:
            return None

    def decided(
        user: str,
        operation: str,
        new: Object | None,
        old: Object | None = None,
        *,
        namespace: str = "argocd",
        resource: tuple[str, str] = ("", "secrets"),
    ) -> list[str]:
        request = {
            "operation": operation,
            "namespace": namespace,
            "resource": {"group": resource[0], "version": "v1", "resource": resource[1]},
            "userInfo": {"username": user},
        }
        known = {
            "request": celpy.json_to_cel(request),
            "object": celpy.json_to_cel(new),
            "oldObject": celpy.json_to_cel(old),
            "variables": celpy.celtypes.MapType(),
        }
        if not all(condition.evaluate(known) for condition in conditions):
            return []
        for name, expression in variables:
            if name == "texts":
                key = expression, json.dumps((new or {}).get("data"))
                if key not in _texts:
                    _texts[key] = evaluate(expression, known)
                value = _texts[key]
            else:
                value = evaluate(expression, known)
            if value is not None:
                known["variables"][celpy.celtypes.StringType(name)] = value
        messages = []
        for validation, message in validations:
            try:
                passed = bool(validation.evaluate(known))
            except celpy.CELEvalError:
                passed = False  # failurePolicy: Fail
            if not passed:
                messages.append(message)
        return messages

    return decided


def _substring(text: str, start: int, end: int) -> str:
    if not 0 <= start <= end <= len(text):
        raise ValueError("index out of range")
    return text[start:end]


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def written(**kind: Any) -> Object:
    """A Secret as `write_secret` makes it, for the fleet of VALUES."""
    return given.created(**kind)


def changed(
    manifest: Object,
    *,
    labels: Object | None = None,
    annotations: Object | None = None,
    data: Object | None = None,
    metadata: Object | None = None,
    **fields: Any,
) -> Object:
    """Return the Secret with some labels, annotations, data (as text), metadata or fields changed; None removes one."""
    texts = {key: None if value is None else encoded(value) for key, value in (data or {}).items()}
    made = copy.deepcopy(manifest)
    patch = {"metadata": {"labels": labels or {}, "annotations": annotations or {}, **(metadata or {})}, "data": texts}
    return {**patched(made, patch), **fields}


def patched(manifest: Object, patch: Object) -> Object:
    """Apply a merge patch (RFC 7386)."""
    made = dict(manifest)
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = patched(made.get(key) or {}, value) if isinstance(value, dict) else value
    return made


OURS = written()
BY_ARGOCD = (
    '{"tlsClientConfig":{"insecure":false},"execProviderConfig":{"command":"argocd-k8s-auth","args":["gcp"],'
    '"apiVersion":"client.authentication.k8s.io/v1beta1"}}'
)
TOKEN = '{"bearerToken":"of somebody","tlsClientConfig":{"insecure":false}}'
SERVER = base64.b64decode(OURS["data"]["server"]).decode()
MARK = "app.kubernetes.io/managed-by"
TYPE = "argocd.argoproj.io/secret-type"
HASH = "fleet-registrar/membership-hash"
MEMBERSHIP = "fleet-registrar/membership"
CLUSTER = "fleet-registrar/cluster"
INSTANCE = "fleet-registrar/instance"


def read(manifest: Object) -> ClusterSecret:
    meta = {**manifest["metadata"], "uid": "uid", "resourceVersion": "1"}
    return ClusterSecret.read({**manifest, "metadata": meta})


def repaired(manifest: Object) -> Object:
    """The Secret after `write_secret`, with the grant, has read it."""
    plan = secret_plan.plan(
        read(manifest),
        GkeTarget(given.BLUE, given.BLUE_MEMBER),
        given.SETTINGS,
        granted=True,
        drop=frozenset(),
        now=given.NOW,
    )
    assert plan.patch is not None
    return patched(manifest, plan.patch)


def held(manifest: Object) -> Object:
    patch = secret_plan.hold(read(manifest), "going", given.NOW)
    assert patch is not None
    return patched(manifest, patch)
