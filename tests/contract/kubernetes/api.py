"""The official client, raw requests, and the objects that the suites of this folder write."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pytest
import requests
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.kubernetes_server import Server


MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
RBAC = "rbac.authorization.k8s.io"

# The client's types ask for model objects; tests are read more easily with the JSON that travels.
Api = Any


# Touching one of these classes imports some hundred models, which only a worker that runs tests of this folder needs.
def core_of(admin: client.ApiClient) -> Api:
    return client.CoreV1Api(admin)


def rbac_of(admin: client.ApiClient) -> Api:
    return client.RbacAuthorizationV1Api(admin)


def authorization_of(admin: client.ApiClient) -> Api:
    return client.AuthorizationV1Api(admin)


def authentication_of(admin: client.ApiClient) -> Api:
    return client.AuthenticationV1Api(admin)


@contextmanager
def api_client(server: Server, acting_as: str = "") -> Iterator[client.ApiClient]:
    configuration = client.Configuration(host=server.url, ssl_ca_cert=server.ca)
    configuration.api_key = {"authorization": f"Bearer {server.token}"}
    with client.ApiClient(configuration) as found:
        if acting_as:
            found.set_default_header("Impersonate-User", acting_as)
        yield found


def raw(server: Server, method: str, path: str, **options: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {server.token}"} | options.pop("headers", {})
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, server.url + path, headers=headers, verify=server.ca, timeout=60, **options)


@dataclass
class Refusal:
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> str:
        return str(self.status["message"])

    @property
    def fields(self) -> list[str]:
        """The fields at fault, each once: kube-apiserver may validate one several times, and tells of it as often."""
        return list(dict.fromkeys(cause["field"] for cause in self.status["details"]["causes"]))


@contextmanager
def refused(code: int, reason: str) -> Iterator[Refusal]:
    """Expect a Status with this code and reason; the yielded Refusal holds it afterwards."""
    refusal = Refusal()
    with pytest.raises(ApiException) as caught:
        yield refusal
    refusal.status = json.loads(caught.value.body or "")
    assert (caught.value.status, refusal.status["reason"]) == (code, reason)
    assert (refusal.status["kind"], refusal.status["status"], refusal.status["code"]) == ("Status", "Failure", code)


def secret(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name} | more.pop("metadata", {}), **more}


def proto(number: int, content: bytes) -> bytes:
    """Write one short protobuf field."""
    return bytes([number << 3 | 2, len(content)]) + content


def names(found: Any) -> list[str]:
    return [item.metadata.name for item in found.items]


class Watching:
    """An open watch, read line by line."""

    def __init__(self, server: Server, path: str, **query: str) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.answer = self.session.get(
            server.url + path,
            params={"watch": "true", "timeoutSeconds": "60"} | query,
            headers={"Authorization": f"Bearer {server.token}"},
            verify=server.ca,
            stream=True,
            timeout=60,
        )
        assert self.answer.status_code == 200
        self.lines = self.answer.iter_lines(chunk_size=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.answer.close()
        self.session.close()

    def next(self) -> tuple[str, str]:
        event = json.loads(next(self.lines))
        return event["type"], event["object"]["metadata"]["name"]

    def rest(self) -> list[bytes]:
        return list(self.lines)


def role(name: str, *rules: dict[str, list[str]]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "rules": list(rules)}


def rule(verbs: str, things: str, group: str = "", resource_names: str = "") -> dict[str, list[str]]:
    found = {"verbs": verbs.split(), "apiGroups": [group], "resources": things.split()}
    return found | ({"resourceNames": resource_names.split()} if resource_names else {})


def binding(name: str, role_name: str, user_name: str, kind: str = "ClusterRole") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": user_name}],
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role_name},
    }


def may(api: client.ApiClient, who: str, question: dict[str, str], **more: Any) -> bool:
    """Ask the server whether somebody may do something."""
    kind = "nonResourceAttributes" if "path" in question else "resourceAttributes"
    review = {"spec": {"user": who, kind: question, **more}}
    return bool(authorization_of(api).create_subject_access_review(review).status.allowed)


def give(rbac: Api, namespace: str, *rules: dict[str, list[str]]) -> None:
    """Let the test's user do this in the test's namespace; return when the server knows."""
    rbac.create_namespaced_role(namespace, role("given", *rules))
    rbac.create_namespaced_role_binding(namespace, binding("given", "given", namespace, "Role"))
    first = rules[0]
    question = {"verb": first["verbs"][0], "group": first["apiGroups"][0], "resource": first["resources"][0]}
    question |= {"namespace": namespace, "name": first.get("resourceNames", [""])[0]}
    until(lambda: may(rbac.api_client, namespace, question))
