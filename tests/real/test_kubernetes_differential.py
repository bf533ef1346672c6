"""Random writes by several writers, done on a real kube-apiserver and on the embedded one side by side: what differs?

A seed gives the same writes again. What one server numbers in its own way (uid, resourceVersion, times) is compared by what
it says: the same object or another, changed or not.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests

from local.kubernetes.cluster import Cluster
from tests.contract.kubernetes_server import Server, served
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = dict[str, Any]

SEEDS = range(int(os.environ.get("DIFFERENTIAL_SEEDS", "6")))
WRITES = 250
RBAC = "/apis/rbac.authorization.k8s.io/v1"
MERGE, STRATEGIC, JSON_PATCH = (
    f"application/{kind}+json" for kind in ("merge-patch", "strategic-merge-patch", "json-patch")
)
NAMES = ("blue", "green")
KEYS = ("env", "tier", "fleet-registrar/kind")
VALUES = ("prod", "", "a.b-c_d", "-bad", "x" * 64, None)
WRITERS = ("", "editor@example.com", "reader@example.com")
# What may differ, and why; each is a row of the table in local/README.md.
MANAGED = "a new version though nothing differs"
NULLS = "null where the embedded server says '', in the last answer of an object that a write lets go"
NO_DATA = "an empty data for an immutable Secret that has none is taken, not refused"
KNOWN = {
    MANAGED: "only managedFields differ, which the embedded server does not keep",
    NULLS: "it was never stored, so never normalised",
    NO_DATA: "the embedded server reads an empty map as none, as it stores it",
}


class Side:
    """One server, with what it called the versions and objects that the writers have seen."""

    def __init__(self, server: Server, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = server.ca
        self.seen: dict[tuple[str, str, str], Json] = {}  # (writer, kind, name) -> metadata as last read
        self.versions: dict[tuple[str, str], Any] = {}

    def call(
        self, method: str, path: str, body: Any = None, *, writer: str = "", kind: str = "application/json"
    ) -> Json:
        headers = {"Authorization": f"Bearer {self.server.token}", "Content-Type": kind}
        if writer:
            headers["Impersonate-User"] = writer
        data = None if body is None else json.dumps(body)
        answer = self.session.request(method, self.server.url + path, data=data, headers=headers, timeout=PATIENCE)
        found: Json = {"code": answer.status_code, "body": answer.json(), "warning": answer.headers.get("Warning")}
        return found

    def path(self, kind: str) -> str:
        return {
            "secrets": f"/api/v1/namespaces/{self.namespace}/secrets",
            "configmaps": f"/api/v1/namespaces/{self.namespace}/configmaps",
            "roles": f"{RBAC}/namespaces/{self.namespace}/roles",
            "rolebindings": f"{RBAC}/namespaces/{self.namespace}/rolebindings",
        }[kind]

    def do(self, write: Json) -> Json:
        """Carry a write out, with this side's own versions and uids in it."""
        key = (write["writer"], write["kind"], write["name"])
        known = self.seen.get(key, {})
        body: Any = json.loads(json.dumps(write["body"]))
        for field, of in write["preconditions"]:
            value = known.get(field, "1" if field == "resourceVersion" else "no-such-uid") if of == "seen" else of
            if write["verb"] == "DELETE":
                body.setdefault("preconditions", {})[field] = value
            elif write["type"] == JSON_PATCH:
                body.insert(0, {"op": "test", "path": f"/metadata/{field}", "value": value})
            else:
                body.setdefault("metadata", {})[field] = value
        path = self.path(write["kind"])
        if write["verb"] != "POST":
            path = f"{path}/{write['name']}"
        answer = self.call(write["verb"], path + write["query"], body, writer=write["writer"], kind=write["type"])
        metadata = answer["body"].get("metadata", {})
        if answer["code"] < 300 and metadata.get("resourceVersion") and "dryRun" not in write["query"]:
            self.seen[key] = metadata
        return self.plain(answer)

    def plain(self, answer: Json) -> Json:
        """Return an answer without what each server numbers by itself."""
        body = json.loads(json.dumps(answer["body"]).replace(self.namespace, "NAMESPACE"))
        if answer["code"] >= 400:
            body = _refusal(body)
        return {"code": answer["code"], "warning": answer["warning"], "body": _unnumbered(body)}

    def stored(self, write: Json) -> Json:
        """What is there after a write, and whether it is of another version than after the last one."""
        found = self.call("GET", f"{self.path(write['kind'])}/{write['name']}")
        key, version = (write["kind"], write["name"]), found["body"]["metadata"].get("resourceVersion")
        before, self.versions[key] = self.versions.get(key), version
        return {**self.plain(found), "changed": before != version}

    def resync(self, write: Json) -> None:
        """Take away what the two sides may not agree on any more."""
        path = f"{self.path(write['kind'])}/{write['name']}"
        self.call("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE)
        self.call("DELETE", path)
        self.versions.pop((write["kind"], write["name"]), None)
        self.seen = {key: known for key, known in self.seen.items() if key[1:] != (write["kind"], write["name"])}

    def everything(self) -> Json:
        return {
            kind: self.plain(self.call("GET", self.path(kind)))["body"]["items"]
            for kind in ("secrets", "configmaps", "roles", "rolebindings")
        }


def _refusal(status: Json) -> Json:
    """What a client acts upon. The wording of messages is not promised by Kubernetes, and is not compared."""
    details = dict(status.get("details", {}))
    # As a set: kube-apiserver validates some fields twice, and tells of them twice.
    causes = sorted({(cause.get("reason", ""), cause.get("field", "")) for cause in details.pop("causes", [])})
    return {
        "kind": status["kind"],
        "reason": status.get("reason"),
        "details": details,
        "causes": [list(one) for one in causes],
    }


def _unnumbered(body: Any) -> Any:
    if isinstance(body, list):
        return [_unnumbered(one) for one in body]
    if not isinstance(body, dict):
        return body
    numbered = ("uid", "resourceVersion", "creationTimestamp", "managedFields")
    return {key: _unnumbered(value) for key, value in body.items() if key not in numbered}


def writes(seed: int) -> Iterator[Json]:
    """The writes of a seed."""
    chance = random.Random(seed)
    one = chance.choice
    while True:
        kind = one(("secrets", "secrets", "secrets", "configmaps", "roles", "rolebindings"))
        verb, type_ = one(
            (
                ("POST", "application/json"),
                ("POST", "application/json"),
                ("PUT", "application/json"),
                ("PATCH", MERGE),
                ("PATCH", MERGE),
                ("PATCH", STRATEGIC),
                ("PATCH", JSON_PATCH),
                ("GET", "application/json"),
                ("DELETE", "application/json"),
            )
        )
        name = one(NAMES)
        body = _body(chance, kind, verb, type_, name)
        preconditions = []
        if verb in ("PUT", "PATCH", "DELETE"):
            if chance.random() < 0.6:
                preconditions.append(("resourceVersion", one(("seen", "seen", "seen", "1"))))
            if chance.random() < 0.3:
                preconditions.append(("uid", one(("seen", "seen", "another"))))
        query = one(("", "", "", "", "?dryRun=All", "?fieldValidation=Strict", "?fieldManager=x"))
        yield {
            "writer": one(WRITERS),
            "kind": kind,
            "verb": verb,
            "type": type_,
            "name": name,
            "query": query if verb != "GET" else "",
            "body": body,
            "preconditions": preconditions,
        }


def _body(chance: random.Random, kind: str, verb: str, type_: str, name: str) -> Any:
    one = chance.choice
    if verb == "GET":
        return None
    if verb == "DELETE":
        return {}
    if type_ == JSON_PATCH:
        place = one(
            (
                "/metadata/labels",
                "/metadata/annotations",
                "/metadata/labels/env",
                "/data",
                "/data/server",
                "/rules",
                "/subjects",
            )
        )
        value: Any = one(({"env": "prod"}, "prod", "eA==", {}, [], None))
        step = {"op": one(("add", "replace", "remove", "test")), "path": place}
        return [step if step["op"] == "remove" else {**step, "value": value}]
    metadata: Json = {}
    for field in ("labels", "annotations"):
        if chance.random() < 0.7:
            metadata[field] = {
                one(KEYS): one(VALUES[:3] if chance.random() < 0.9 else VALUES) for _ in range(chance.randint(0, 2))
            }
        elif chance.random() < 0.2:
            metadata[field] = None
    if chance.random() < 0.1:
        metadata["finalizers"] = one(([], ["example.com/hold"], None))
    body: Json = {"metadata": metadata} if metadata or chance.random() < 0.5 else {}
    if verb in ("POST", "PUT"):
        body.setdefault("metadata", {})["name"] = name
    match kind:
        case "secrets":
            if chance.random() < 0.8:
                body["data"] = {
                    one(("server", "name", "config")): one(("eA==", "", "eQ==", None, "not base64"))
                    for _ in range(chance.randint(0, 2))
                }
            if chance.random() < 0.2:
                body["stringData"] = {"name": one(("n", "", None))}
            if chance.random() < 0.2:
                body["type"] = one(("Opaque", "example.com/other"))
            if chance.random() < 0.05:
                body["immutable"] = one((True, False))
        case "configmaps":
            if chance.random() < 0.8:
                body["data"] = {one(("a", "b")): one(("1", "", None, 1)) for _ in range(chance.randint(0, 2))}
        case "roles":
            rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": [one(("get", "list", "*"))]}
            if chance.random() < 0.9:
                body["rules"] = one(([rule], [rule, rule], [], None, [{"verbs": ["get"]}]))
        case _:
            if verb != "PATCH" or chance.random() < 0.3:
                body["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": one(NAMES)}
            if chance.random() < 0.8:
                user = {"kind": "User", "name": one(("u", "v"))} | one(({}, {"apiGroup": "rbac.authorization.k8s.io"}))
                body["subjects"] = one(([user], [], None, [user, user], [{"kind": "ServiceAccount", "name": "sa"}]))
    if chance.random() < 0.05:
        body["unknown"] = 1
    return body


@pytest.fixture(scope="module")
def real() -> Server:
    return Server(os.environ["KUBE_API_SERVER"], os.environ["KUBE_API_TOKEN"], os.environ["KUBE_API_CA"])


@pytest.fixture(scope="module")
def embedded() -> Iterator[Server]:
    cluster = Cluster("differential")
    with served(cluster.app, cluster.close) as serving:
        yield Server(serving.url, cluster.admin_token, serving.ca)


@contextmanager
def side(server: Server, name: str) -> Iterator[Side]:
    """A namespace of its own, where the editor may do everything and the reader may look."""
    found = Side(server, "")
    made = found.call("POST", "/api/v1/namespaces", {"metadata": {"generateName": f"{name}-"}})
    found.namespace = made["body"]["metadata"]["name"]
    for user, role in (("editor@example.com", "edit"), ("reader@example.com", "view")):
        rule = {
            "apiGroups": [""],
            "resources": ["secrets", "configmaps"],
            "verbs": ["*"] if role == "edit" else ["get", "list"],
        }
        found.call("POST", found.path("roles"), {"metadata": {"name": role}, "rules": [rule]})
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}
        subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}
        found.call(
            "POST", found.path("rolebindings"), {"metadata": {"name": role}, "roleRef": ref, "subjects": [subject]}
        )
        until(lambda user=user: found.call("GET", found.path("secrets"), writer=user)["code"] == 200)  # type: ignore[misc]
    yield found
    found.session.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_both_answer_alike_and_hold_the_same_afterwards(
    real: Server, embedded: Server, seed: int, record_property: Callable[[str, object], None]
) -> None:
    deviations: Counter[str] = Counter()
    examples: dict[str, str] = {}
    with side(real, f"diff{seed}") as one, side(embedded, f"diff{seed}") as other:
        for number, write in zip(range(WRITES), writes(seed), strict=False):
            answers = one.do(write), other.do(write)
            left = one.stored(write), other.stored(write)
            if answers[0] != answers[1] or left[0] != left[1]:
                what = _what(write, *answers, *left)
                deviations[what] += 1
                examples.setdefault(
                    what,
                    f"#{number} {json.dumps(write)}\n  real     {json.dumps(answers[0])}\n  embedded {json.dumps(answers[1])}\n"
                    f"  then     {json.dumps(left[0])}\n  embedded {json.dumps(left[1])}",
                )
                one.resync(write)
                other.resync(write)
        assert one.everything() == other.everything() or deviations
    record_property("writes", WRITES)
    for what, count in deviations.items():
        record_property(f"{what} ({KNOWN[what]})" if what in KNOWN else what, count)
    report = "\n".join(f"{count} times {what}\n  {examples[what]}" for what, count in deviations.most_common())
    assert not set(deviations) - set(KNOWN), report


def _what(write: Json, real: Json, embedded: Json, then: Json, embedded_then: Json) -> str:
    """One deviation in words that do not name the object."""
    refused = (real["code"], real["body"].get("causes")) == (422, [["FieldValueForbidden", "data"]])
    if refused and embedded["body"].get("immutable") and "data" not in embedded["body"]:
        return NO_DATA
    if _emptied(real["body"]) == embedded["body"] and then["code"] == embedded_then["code"] == 404:
        return NULLS
    act = f"{write['verb']} {write['kind']} {write['type'].partition('/')[2]}"
    if real["code"] != embedded["code"]:
        return f"{act}: code {real['code']}, not {embedded['code']}"
    if real["body"] != embedded["body"]:
        fields = [
            key for key in {**real["body"], **embedded["body"]} if real["body"].get(key) != embedded["body"].get(key)
        ]
        return f"{act}: {real['code']} with other {', '.join(fields)}"
    if real["warning"] != embedded["warning"]:
        return f"{act}: {real['code']} with another warning"
    if then["changed"] and {**then, "changed": False} == embedded_then:
        return MANAGED
    return f"{act}: {real['code']}, and left something else"


def _emptied(body: Json) -> Json:
    """An answer with '' for null in a Secret's data."""
    return {**body, "data": {key: value or "" for key, value in body["data"].items()}} if body.get("data") else body
