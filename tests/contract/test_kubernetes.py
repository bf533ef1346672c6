"""What a Kubernetes API answers, asked by the official client: the embedded one always, a real one where it is given.

Everything here must be true of both; what only the embedded server has is in `test_kubernetes_embedded.py`.
"""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pytest
import requests
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.contract.kubernetes_server import Server, kubernetes_server, until

if TYPE_CHECKING:
    from collections.abc import Iterator

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
RBAC = "rbac.authorization.k8s.io"

# The client's types ask for model objects; tests are read more easily with the JSON that travels.
Api = Any
core_of: Any = client.CoreV1Api
rbac_of: Any = client.RbacAuthorizationV1Api
authorization_of: Any = client.AuthorizationV1Api
authentication_of: Any = client.AuthenticationV1Api


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with kubernetes_server() as found:
        yield found


@pytest.fixture(scope="module")
def admin(server: Server) -> Iterator[client.ApiClient]:
    with api_client(server) as found:
        yield found


@pytest.fixture(scope="module")
def core(admin: client.ApiClient) -> Api:
    return core_of(admin)


@pytest.fixture(scope="module")
def rbac(admin: client.ApiClient) -> Api:
    return rbac_of(admin)


@pytest.fixture
def namespace(core: Api) -> Iterator[str]:
    name = core.create_namespace({"metadata": {"generateName": "contract-"}}).metadata.name
    yield name
    core.delete_namespace(name)


@pytest.fixture
def user(server: Server, namespace: str) -> Iterator[client.ApiClient]:
    """Somebody who holds nothing until a test gives it; named after the namespace, so that no test meets another's."""
    with api_client(server, namespace) as found:
        yield found


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
        return session.request(method, server.url + path, headers=headers, verify=server.ca, timeout=30, **options)


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


class TestCreate:
    def test_the_server_fills_in_what_identifies_an_object(self, core: Api, namespace: str) -> None:
        made = core.create_namespaced_secret(namespace, secret("a")).metadata
        assert made.namespace == namespace
        assert made.uid
        assert made.creation_timestamp
        assert made.resource_version == core.read_namespaced_secret("a", namespace).metadata.resource_version

    def test_a_generated_name_starts_as_asked(self, core: Api, namespace: str) -> None:
        made = core.create_namespaced_secret(namespace, {"metadata": {"generateName": "a-"}})
        assert made.metadata.name.startswith("a-")
        assert len(made.metadata.name) == 7

    def test_string_data_becomes_data(self, core: Api, namespace: str) -> None:
        made = core.create_namespaced_secret(
            namespace, secret("a", data={"x": "b2xk", "y": "eQ=="}, stringData={"x": "new"})
        )
        assert made.data == {"x": base64.b64encode(b"new").decode(), "y": "eQ=="}
        assert made.string_data is None
        assert made.type == "Opaque"

    def test_a_name_is_given_once(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        with refused(409, "AlreadyExists") as refusal:
            core.create_namespaced_secret(namespace, secret("a"))
        assert refusal.message == 'secrets "a" already exists'
        assert refusal.status["details"] == {"name": "a", "kind": "secrets"}

    def test_an_object_needs_its_namespace(self, core: Api) -> None:
        with refused(404, "NotFound") as refusal:
            core.create_namespaced_secret("nowhere", secret("a"))
        assert refusal.message == 'namespaces "nowhere" not found'

    def test_a_namespace_says_its_name_in_a_label_and_is_active(self, core: Api, namespace: str) -> None:
        found = core.read_namespace(namespace)
        assert found.metadata.labels["kubernetes.io/metadata.name"] == namespace
        assert found.status.phase == "Active"

    @pytest.mark.parametrize(
        ("fault", "where"),
        [
            ({"metadata": {"name": "Upper"}}, "metadata.name"),
            ({"metadata": {"name": "under_score"}}, "metadata.name"),
            ({"metadata": {"name": "a" * 254}}, "metadata.name"),
            ({"metadata": {"name": ""}}, "metadata.name"),
            ({"metadata": {"name": "a", "labels": {"a b": ""}}}, "metadata.labels"),
            ({"metadata": {"name": "a", "labels": {"a/b/c": ""}}}, "metadata.labels"),
            ({"metadata": {"name": "a", "labels": {"/a": ""}}}, "metadata.labels"),
            ({"metadata": {"name": "a", "labels": {"a" * 64: ""}}}, "metadata.labels"),
            ({"metadata": {"name": "a", "labels": {"a": "-b"}}}, "metadata.labels"),
            ({"metadata": {"name": "a", "labels": {"a": "b_"}}}, "metadata.labels"),
            ({"metadata": {"name": "a", "labels": {"a": "b" * 64}}}, "metadata.labels"),
            ({"metadata": {"name": "a", "annotations": {"a b": ""}}}, "metadata.annotations"),
            ({"metadata": {"name": "a", "annotations": {"a": "b" * 262144}}}, "metadata.annotations"),
            ({"metadata": {"name": "a"}, "data": {"a/b": ""}}, "data[a/b]"),
            ({"metadata": {"name": "a"}, "data": {"a": "A" * 1400000}}, "data"),
        ],
    )
    def test_what_is_invalid_is_refused_with_its_field(
        self, core: Api, namespace: str, fault: dict[str, Any], where: str
    ) -> None:
        with refused(422, "Invalid") as refusal:
            core.create_namespaced_secret(namespace, fault)
        assert refusal.fields == [where]
        assert refusal.status["details"]["kind"] == "Secret"
        assert core.list_namespaced_secret(namespace).items == []

    def test_labels_and_annotations_may_be_as_odd_as_the_rules_allow(self, core: Api, namespace: str) -> None:
        labels = {"a.b-c.d/E_f": "", "X": "1_2.3-4", "a" * 63: "b" * 63}
        annotations = {"a.b/C": "any text: ü\n"}
        made = core.create_namespaced_secret(
            namespace, secret("a", metadata={"labels": labels, "annotations": annotations})
        )
        assert made.metadata.labels == labels
        assert made.metadata.annotations == annotations

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ({"data": {"x": "not base64"}}, "illegal base64 data"),
            ({"data": {"x": 1}}, "cannot be handled as a Secret"),
            ({"data": ["x"]}, "cannot be handled as a Secret"),
            ({"type": {}}, "cannot be handled as a Secret"),
            ({"kind": "ConfigMap"}, "cannot be handled as a Secret"),
            ({"apiVersion": "v2"}, "v2"),
            ({"metadata": {"name": "a", "namespace": "other"}}, "the namespace of the provided object does not match"),
        ],
    )
    def test_what_cannot_be_read_is_a_bad_request(
        self, server: Server, namespace: str, body: dict[str, Any], told: str
    ) -> None:
        answer = raw(server, "POST", f"/api/v1/namespaces/{namespace}/secrets", json={"metadata": {"name": "a"}} | body)
        assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")
        assert told in answer.json()["message"]

    def test_an_unknown_field_is_dropped_with_a_warning(self, server: Server, namespace: str) -> None:
        answer = raw(server, "POST", f"/api/v1/namespaces/{namespace}/secrets", json=secret("a", colour="blue"))
        assert answer.status_code == 201
        assert "colour" not in answer.json()
        assert 'unknown field \\"colour\\"' in answer.headers["Warning"]
        again = raw(server, "POST", f"/api/v1/namespaces/{namespace}/secrets", json=secret("a", colour="blue"))
        assert again.status_code == 409
        assert 'unknown field \\"colour\\"' in again.headers["Warning"]

    def test_an_unknown_field_is_refused_where_the_client_is_strict(self, server: Server, namespace: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/secrets?fieldValidation=Strict"
        answer = raw(server, "POST", path, json=secret("a", colour="blue"))
        assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")
        assert 'unknown field "colour"' in answer.json()["message"]

    def test_a_body_of_no_known_format_is_refused(self, server: Server, namespace: str) -> None:
        answer = raw(
            server, "POST", f"/api/v1/namespaces/{namespace}/secrets", data="x", headers={"Content-Type": "text/plain"}
        )
        assert (answer.status_code, answer.json()["reason"]) == (415, "UnsupportedMediaType")

    def test_a_protobuf_body_is_read(self, server: Server, core: Api, namespace: str) -> None:
        """What `kubectl create secret` sends: a runtime.Unknown around the object, both in protobuf."""
        label = proto(1, b"env") + proto(2, b"prod")
        metadata = proto(1, b"a") + proto(3, namespace.encode()) + proto(11, label)
        item = proto(1, metadata) + proto(2, proto(1, b"x") + proto(2, b"\x00\xff")) + proto(3, b"Opaque")
        body = b"k8s\x00" + proto(1, proto(1, b"v1") + proto(2, b"Secret")) + proto(2, item)
        headers = {"Content-Type": "application/vnd.kubernetes.protobuf", "Accept": "application/json"}
        answer = raw(server, "POST", f"/api/v1/namespaces/{namespace}/secrets", data=body, headers=headers)
        assert answer.status_code == 201
        found = core.read_namespaced_secret("a", namespace)
        assert (found.data, found.metadata.labels) == ({"x": base64.b64encode(b"\x00\xff").decode()}, {"env": "prod"})

    def test_a_dry_run_leaves_nothing(self, core: Api, namespace: str) -> None:
        assert core.create_namespaced_secret(namespace, secret("a"), dry_run="All").metadata.uid
        assert core.list_namespaced_secret(namespace).items == []

    def test_a_resource_version_has_no_place_in_a_new_object(self, core: Api, namespace: str) -> None:
        with pytest.raises(ApiException) as caught:
            core.create_namespaced_secret(namespace, secret("a", metadata={"resourceVersion": "1"}))
        assert "resourceVersion should not be set on objects to be created" in str(caught.value.body)


class TestRead:
    def test_what_is_not_there_is_not_found(self, core: Api, namespace: str) -> None:
        with refused(404, "NotFound") as refusal:
            core.read_namespaced_secret("a", namespace)
        assert refusal.message == 'secrets "a" not found'
        assert refusal.status["details"] == {"name": "a", "kind": "secrets"}

    def test_details_name_the_group(self, rbac: Api) -> None:
        with refused(404, "NotFound") as refusal:
            rbac.read_cluster_role("nobody")
        assert refusal.message == f'clusterroles.{RBAC} "nobody" not found'
        assert refusal.status["details"] == {"name": "nobody", "group": RBAC, "kind": "clusterroles"}

    def test_an_unknown_resource_is_not_found_and_names_nothing(self, server: Server) -> None:
        answer = raw(server, "GET", "/api/v1/things/a")
        assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")
        assert "name" not in answer.json()["details"]

    def test_outside_of_every_group_there_is_no_status_at_all(self, server: Server) -> None:
        answer = raw(server, "GET", "/apis/nobody.example.com/v1/things/a")
        assert (answer.status_code, answer.text.strip()) == (404, "404 page not found")

    def test_a_list_is_of_its_namespace_in_the_order_of_names(self, core: Api, namespace: str) -> None:
        for name in ("b", "c", "a"):
            core.create_namespaced_secret(namespace, secret(name))
        assert names(core.list_namespaced_secret(namespace)) == ["a", "b", "c"]
        assert core.list_namespaced_secret(f"{namespace}-other").items == []
        everywhere = core.list_secret_for_all_namespaces(field_selector=f"metadata.namespace={namespace}")
        assert names(everywhere) == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("selector", "found"),
        [
            ("", ["blue", "green", "plain"]),
            ("env=prod", ["blue"]),
            ("env==prod", ["blue"]),
            ("env!=prod", ["green", "plain"]),
            ("env", ["blue", "green"]),
            ("!env", ["plain"]),
            ("env in (prod, test)", ["blue", "green"]),
            ("env in (prod)", ["blue"]),
            ("env notin (prod)", ["green", "plain"]),
            ("env in (prod,test),tier!=1", ["green"]),
            ("env,tier", ["blue"]),
            ("tier=", []),
            ("x.example.com/y=z", ["plain"]),
        ],
    )
    def test_label_selectors(self, core: Api, namespace: str, selector: str, found: list[str]) -> None:
        labels = {"blue": {"env": "prod", "tier": "1"}, "green": {"env": "test"}, "plain": {"x.example.com/y": "z"}}
        for name, worn in labels.items():
            core.create_namespaced_secret(namespace, secret(name, metadata={"labels": worn}))
        assert names(core.list_namespaced_secret(namespace, label_selector=selector)) == found

    @pytest.mark.parametrize(
        ("selector", "found"),
        [
            ("metadata.name=a", ["a"]),
            ("metadata.name!=a", ["b"]),
            ("type=Opaque", ["a"]),
            ("type=example.com/x,metadata.name=b", ["b"]),
        ],
    )
    def test_field_selectors(self, core: Api, namespace: str, selector: str, found: list[str]) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        core.create_namespaced_secret(namespace, secret("b", type="example.com/x"))
        assert names(core.list_namespaced_secret(namespace, field_selector=selector)) == found

    @pytest.mark.parametrize("options", [{"label_selector": "a in b"}, {"field_selector": "spec.colour=blue"}])
    def test_a_selector_that_means_nothing_is_a_bad_request(
        self, core: Api, namespace: str, options: dict[str, str]
    ) -> None:
        with refused(400, "BadRequest"):
            core.list_namespaced_secret(namespace, **options)

    def test_pages_show_one_version_whatever_happens_between_them(self, core: Api, namespace: str) -> None:
        for name in ("a", "b", "c", "d"):
            core.create_namespaced_secret(namespace, secret(name))
        first = core.list_namespaced_secret(namespace, limit=2)
        core.create_namespaced_secret(namespace, secret("bb"))
        core.delete_namespaced_secret("d", namespace)
        second = core.list_namespaced_secret(namespace, limit=2, _continue=first.metadata._continue)
        assert (names(first), names(second)) == (["a", "b"], ["c", "d"])
        assert first.metadata.remaining_item_count == 2
        assert second.metadata.resource_version == first.metadata.resource_version
        assert not second.metadata._continue

    def test_a_broken_continue_token_is_a_bad_request(self, core: Api, namespace: str) -> None:
        with refused(400, "BadRequest"):
            core.list_namespaced_secret(namespace, limit=1, _continue="nonsense")

    def test_kubectl_gets_tables(self, server: Server, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", data={"x": "", "y": ""}))
        accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
        found = raw(server, "GET", f"/api/v1/namespaces/{namespace}/secrets", headers=accept).json()
        assert found["kind"] == "Table"
        assert [column["name"] for column in found["columnDefinitions"]] == ["Name", "Type", "Data", "Age"]
        assert found["rows"][0]["cells"][:3] == ["a", "Opaque", 2]
        assert found["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


class TestReplace:
    def test_a_stale_version_loses(self, core: Api, namespace: str) -> None:
        read = core.create_namespaced_secret(namespace, secret("a"))
        core.patch_namespaced_secret("a", namespace, {"data": {"x": "eA=="}}, _content_type=MERGE)
        with refused(409, "Conflict") as refusal:
            core.replace_namespaced_secret("a", namespace, read)
        told = "the object has been modified; please apply your changes to the latest version and try again"
        assert refusal.message == f'Operation cannot be fulfilled on secrets "a": {told}'
        assert core.read_namespaced_secret("a", namespace).data == {"x": "eA=="}

    def test_without_a_version_the_last_one_wins(self, core: Api, namespace: str) -> None:
        made = core.create_namespaced_secret(
            namespace, secret("a", data={"x": "eA=="}, metadata={"labels": {"l": "m"}})
        )
        put = core.replace_namespaced_secret("a", namespace, secret("a", data={"y": "eQ=="}))
        assert (put.data, put.metadata.labels) == ({"y": "eQ=="}, None)
        assert (put.metadata.uid, put.metadata.creation_timestamp) == (
            made.metadata.uid,
            made.metadata.creation_timestamp,
        )

    def test_another_uid_is_a_conflict(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        with refused(409, "Conflict") as refusal:
            core.replace_namespaced_secret("a", namespace, secret("a", metadata={"uid": "other"}))
        assert "Precondition failed: UID in precondition: other" in refusal.message

    def test_the_name_must_be_that_of_the_path(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        with refused(400, "BadRequest") as refusal:
            core.replace_namespaced_secret("a", namespace, secret("b"))
        assert "the name of the object (b) does not match the name on the URL (a)" in refusal.message

    def test_an_absent_secret_is_not_created(self, core: Api, namespace: str) -> None:
        with refused(404, "NotFound"):
            core.replace_namespaced_secret("a", namespace, secret("a"))

    def test_an_absent_role_is_created(self, rbac: Api, namespace: str) -> None:
        rbac.replace_namespaced_role("a", namespace, role("a"))
        rbac.replace_namespaced_role("b", namespace, role("b") | {"metadata": {"name": "b", "resourceVersion": "1"}})
        assert names(rbac.list_namespaced_role(namespace)) == ["a", "b"]

    def test_a_role_says_that_it_has_no_rules(self, server: Server, namespace: str) -> None:
        path = f"/apis/{RBAC}/v1/namespaces/{namespace}/roles"
        assert raw(server, "POST", path, json={"metadata": {"name": "a"}}).json()["rules"] is None
        assert raw(server, "GET", f"{path}/a").json()["rules"] is None

    def test_a_service_account_of_the_same_namespace_needs_none_in_a_role_binding(
        self, rbac: Api, namespace: str
    ) -> None:
        here = binding("a", "a", "", "Role") | {"subjects": [{"kind": "ServiceAccount", "name": "robot"}]}
        rbac.create_namespaced_role_binding(namespace, here)
        everywhere = binding(f"{namespace}-a", "view", "", "ClusterRole") | {"subjects": here["subjects"]}
        with refused(422, "Invalid") as refusal:
            rbac.create_cluster_role_binding(everywhere)
        assert refusal.fields == ["subjects[0].namespace"]

    def test_nothing_changes_when_nothing_differs(self, core: Api, namespace: str) -> None:
        made = core.create_namespaced_secret(namespace, secret("a", data={"x": "eA=="}))
        put = core.replace_namespaced_secret("a", namespace, made)
        assert put.metadata.resource_version == made.metadata.resource_version

    def test_a_secrets_type_is_immutable(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        with refused(422, "Invalid") as refusal:
            core.replace_namespaced_secret("a", namespace, secret("a", type="example.com/x"))
        assert refusal.fields == ["type"]
        assert "field is immutable" in refusal.message

    def test_an_immutable_secret_keeps_its_data(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", data={"x": "eA=="}, immutable=True))
        with refused(422, "Invalid") as refusal:
            core.patch_namespaced_secret("a", namespace, {"data": {"x": "eQ=="}}, _content_type=MERGE)
        assert refusal.fields == ["data"]
        core.patch_namespaced_secret("a", namespace, {"metadata": {"labels": {"l": "m"}}}, _content_type=MERGE)


class TestPatch:
    def test_a_merge_patch_leaves_what_it_does_not_name(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(
            namespace, secret("a", data={"x": "eA==", "y": "eQ=="}, metadata={"labels": {"mine": "1", "theirs": "2"}})
        )
        change = {"metadata": {"labels": {"mine": "3"}}, "data": {"x": None, "z": "eg=="}}
        patched = core.patch_namespaced_secret("a", namespace, change, _content_type=MERGE)
        assert patched.data == {"y": "eQ==", "z": "eg=="}
        assert patched.metadata.labels == {"mine": "3", "theirs": "2"}

    def test_string_data_can_be_patched_in(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", data={"x": "eA=="}))
        patched = core.patch_namespaced_secret("a", namespace, {"stringData": {"y": "y"}}, _content_type=MERGE)
        assert patched.data == {"x": "eA==", "y": "eQ=="}

    def test_the_version_in_a_patch_is_a_precondition(self, core: Api, namespace: str) -> None:
        old = core.create_namespaced_secret(namespace, secret("a")).metadata.resource_version
        change = {"metadata": {"resourceVersion": old}, "data": {"x": "eA=="}}
        new = core.patch_namespaced_secret("a", namespace, change, _content_type=MERGE).metadata.resource_version
        with refused(409, "Conflict"):
            core.patch_namespaced_secret("a", namespace, change | {"data": {"x": "eQ=="}}, _content_type=MERGE)
        found = core.read_namespaced_secret("a", namespace)
        assert (found.data, found.metadata.resource_version) == ({"x": "eA=="}, new)

    @pytest.mark.parametrize(("stale", "code", "reason"), [(False, 422, "Invalid"), (True, 409, "Conflict")])
    def test_another_uid_is_an_immutable_field_unless_the_version_is_stale_too(
        self, core: Api, namespace: str, stale: bool, code: int, reason: str
    ) -> None:
        old = core.create_namespaced_secret(namespace, secret("a")).metadata.resource_version
        core.patch_namespaced_secret("a", namespace, {"data": {"x": "eA=="}}, _content_type=MERGE)
        metadata = {"uid": "other"} | ({"resourceVersion": old} if stale else {})
        with refused(code, reason):
            core.patch_namespaced_secret("a", namespace, {"metadata": metadata}, _content_type=MERGE)

    @pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
    def test_nothing_changes_when_nothing_differs(self, core: Api, namespace: str, content_type: str) -> None:
        made = core.create_namespaced_secret(namespace, secret("a", data={"x": "eA=="}))
        patched = core.patch_namespaced_secret("a", namespace, {"data": {"x": "eA=="}}, _content_type=content_type)
        assert patched.metadata.resource_version == made.metadata.resource_version

    def test_a_strategic_merge_patch_merges_the_lists_that_have_a_key(self, core: Api, namespace: str) -> None:
        core.create_namespaced_service_account(namespace, {"metadata": {"name": "a"}, "secrets": [{"name": "x"}]})
        patched = core.patch_namespaced_service_account(
            "a", namespace, {"secrets": [{"name": "y"}]}, _content_type=STRATEGIC
        )
        assert {entry.name for entry in patched.secrets} == {"x", "y"}
        change = {"secrets": [{"$patch": "delete", "name": "x"}]}
        patched = core.patch_namespaced_service_account("a", namespace, change, _content_type=STRATEGIC)
        assert [entry.name for entry in patched.secrets] == ["y"]

    def test_a_json_patch_edits_by_path(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", metadata={"labels": {"x/y": "1", "z": "2"}}))
        operations = [
            {"op": "test", "path": "/metadata/labels/x~1y", "value": "1"},
            {"op": "replace", "path": "/metadata/labels/x~1y", "value": "3"},
            {"op": "remove", "path": "/metadata/labels/z"},
            {"op": "add", "path": "/data", "value": {"k": "eA=="}},
        ]
        patched = core.patch_namespaced_secret("a", namespace, operations, _content_type=JSON_PATCH)
        assert (patched.metadata.labels, patched.data) == ({"x/y": "3"}, {"k": "eA=="})

    def test_a_json_patch_replaces_what_is_not_there(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        operations = [{"op": "replace", "path": "/metadata/labels", "value": {"x": "1"}}]
        patched = core.patch_namespaced_secret("a", namespace, operations, _content_type=JSON_PATCH)
        assert patched.metadata.labels == {"x": "1"}

    def test_a_json_patch_finds_null_where_there_is_nothing(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", metadata={"labels": {"x": "1"}}))
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": path, "value": None} for path in ("/subjects", "/metadata/labels/y")
        ]
        patched = core.patch_namespaced_secret("a", namespace, operations, _content_type=JSON_PATCH)
        assert patched.metadata.labels == {"x": "1"}

    @pytest.mark.parametrize(
        "wrong",
        [
            {"op": "test", "path": "/metadata/name", "value": "b"},
            {"op": "test", "path": "/metadata/name", "value": None},
            {"op": "remove", "path": "/data/nothing"},
            {"op": "replace", "path": "/no/such/path", "value": 1},
        ],
    )
    def test_a_json_patch_is_done_whole_or_not_at_all(self, core: Api, namespace: str, wrong: dict[str, Any]) -> None:
        core.create_namespaced_secret(namespace, secret("a", data={"x": "eA=="}))
        first = {"op": "add", "path": "/data/y", "value": "eQ=="}
        with refused(422, "Invalid"):
            core.patch_namespaced_secret("a", namespace, [first, wrong], _content_type=JSON_PATCH)
        assert core.read_namespaced_secret("a", namespace).data == {"x": "eA=="}

    def test_what_is_absent_cannot_be_patched(self, core: Api, namespace: str) -> None:
        with refused(404, "NotFound"):
            core.patch_namespaced_secret("a", namespace, {"data": {}}, _content_type=MERGE)

    def test_the_result_is_validated(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        with refused(422, "Invalid") as refusal:
            core.patch_namespaced_secret("a", namespace, {"metadata": {"labels": {"a": "-"}}}, _content_type=MERGE)
        assert refusal.fields == ["metadata.labels"]
        with refused(422, "Invalid") as refusal:
            core.patch_namespaced_secret("a", namespace, {"data": {"x": "?"}}, _content_type=MERGE)
        assert refusal.fields == ["patch"]

    def test_an_unknown_patch_type_is_refused(self, server: Server, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        path, headers = f"/api/v1/namespaces/{namespace}/secrets/a", {"Content-Type": "application/x-patch"}
        answer = raw(server, "PATCH", path, data="{}", headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (415, "UnsupportedMediaType")

    def test_a_dry_run_leaves_nothing(self, core: Api, namespace: str) -> None:
        made = core.create_namespaced_secret(namespace, secret("a"))
        shown = core.patch_namespaced_secret(
            "a", namespace, {"data": {"x": "eA=="}}, _content_type=MERGE, dry_run="All"
        )
        assert shown.data == {"x": "eA=="}
        assert core.read_namespaced_secret("a", namespace).metadata == made.metadata

    def test_a_role_reference_is_immutable(self, rbac: Api, namespace: str) -> None:
        rbac.create_namespaced_role_binding(namespace, binding("a", "view", namespace))
        with refused(422, "Invalid") as refusal:
            rbac.patch_namespaced_role_binding("a", namespace, {"roleRef": {"name": "edit"}}, _content_type=MERGE)
        assert refusal.fields == ["roleRef"]
        assert "cannot change roleRef" in refusal.message


class TestDelete:
    def test_a_deleted_object_is_gone(self, core: Api, namespace: str) -> None:
        made = core.create_namespaced_secret(namespace, secret("a"))
        answer = core.delete_namespaced_secret("a", namespace)
        assert answer["status"] == "Success"
        assert answer["details"] == {"name": "a", "kind": "secrets", "uid": made.metadata.uid}
        with refused(404, "NotFound"):
            core.read_namespaced_secret("a", namespace)
        with refused(404, "NotFound"):
            core.delete_namespaced_secret("a", namespace)

    @pytest.mark.parametrize("precondition", ["uid", "resourceVersion"])
    def test_a_precondition_that_fails_is_a_conflict(self, core: Api, namespace: str, precondition: str) -> None:
        made = core.create_namespaced_secret(namespace, secret("a"))
        wrong = {"preconditions": {precondition: "1"}}
        with refused(409, "Conflict"):
            core.delete_namespaced_secret("a", namespace, body=wrong)
        right = {"uid": made.metadata.uid, "resourceVersion": made.metadata.resource_version}
        core.delete_namespaced_secret("a", namespace, body={"preconditions": right})
        assert core.list_namespaced_secret(namespace).items == []

    def test_a_new_namesake_has_another_uid(self, core: Api, namespace: str) -> None:
        uids = set()
        for _ in range(2):
            uids.add(core.create_namespaced_secret(namespace, secret("a")).metadata.uid)
            core.delete_namespaced_secret("a", namespace)
        assert len(uids) == 2

    def test_a_finalizer_holds_the_object(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", metadata={"finalizers": ["example.com/hold"]}))
        core.delete_namespaced_secret("a", namespace)
        assert core.read_namespaced_secret("a", namespace).metadata.deletion_timestamp
        core.patch_namespaced_secret("a", namespace, {"metadata": {"finalizers": None}}, _content_type=MERGE)
        assert core.list_namespaced_secret(namespace).items == []

    def test_a_dry_run_leaves_the_object(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        core.delete_namespaced_secret("a", namespace, dry_run="All")
        assert names(core.list_namespaced_secret(namespace)) == ["a"]

    def test_options_in_a_body_are_all_there_are(self, server: Server, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        path = f"/api/v1/namespaces/{namespace}/secrets/a?dryRun=All"
        assert raw(server, "DELETE", path, json={}).status_code == 200
        assert names(core.list_namespaced_secret(namespace)) == []

    def test_a_collection_is_deleted_by_selector(self, core: Api, namespace: str) -> None:
        for name in ("a", "b", "c"):
            core.create_namespaced_secret(namespace, secret(name, metadata={"labels": {"name": name}}))
        core.delete_collection_namespaced_secret(namespace, label_selector="name in (a,c)")
        assert names(core.list_namespaced_secret(namespace)) == ["b"]


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
            timeout=30,
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


class TestWatch:
    def test_a_watch_tells_what_happened_since_a_version(self, server: Server, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("before"))
        since = core.list_namespaced_secret(namespace).metadata.resource_version
        core.create_namespaced_secret(namespace, secret("a"))
        core.patch_namespaced_secret("a", namespace, {"data": {"x": "eA=="}}, _content_type=MERGE)
        core.patch_namespaced_secret("a", namespace, {"data": {"x": "eA=="}}, _content_type=MERGE)  # changes nothing
        core.create_namespaced_config_map(namespace, secret("other-kind"))
        core.delete_namespaced_secret("a", namespace)
        with Watching(server, f"/api/v1/namespaces/{namespace}/secrets", resourceVersion=since) as watch:
            assert [watch.next() for _ in range(3)] == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]

    def test_a_watch_without_a_version_starts_with_what_is_there_and_goes_on(
        self, server: Server, core: Api, namespace: str
    ) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        with Watching(server, f"/api/v1/namespaces/{namespace}/secrets") as watch:
            assert watch.next() == ("ADDED", "a")
            core.create_namespaced_secret(namespace, secret("b"))
            assert watch.next() == ("ADDED", "b")

    def test_what_enters_or_leaves_a_selector_is_added_or_deleted(
        self, server: Server, core: Api, namespace: str
    ) -> None:
        since = core.list_namespaced_secret(namespace).metadata.resource_version
        core.create_namespaced_secret(namespace, secret("a"))
        for value in ("prod", "test"):
            change = {"metadata": {"labels": {"env": value}}}
            core.patch_namespaced_secret("a", namespace, change, _content_type=MERGE)
        core.create_namespaced_secret(namespace, secret("b", metadata={"labels": {"env": "prod"}}))
        path = f"/api/v1/namespaces/{namespace}/secrets"
        with Watching(server, path, resourceVersion=since, labelSelector="env=prod") as watch:
            assert [watch.next() for _ in range(3)] == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b")]

    def test_a_watch_ends_at_its_time_limit(self, server: Server, core: Api, namespace: str) -> None:
        since = core.list_namespaced_secret(namespace).metadata.resource_version
        path = f"/api/v1/namespaces/{namespace}/secrets"
        with Watching(server, path, resourceVersion=since, timeoutSeconds="1") as watch:
            assert watch.rest() == []


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


@pytest.fixture
def cluster_role(rbac: Api, namespace: str) -> Iterator[str]:
    """The name of a ClusterRole that is there for one test, without rules until the test patches some in."""
    rbac.create_cluster_role(role(namespace))
    yield namespace
    rbac.delete_cluster_role(namespace)


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


class TestAccess:
    def test_who_holds_nothing_is_refused_with_what_was_asked(self, user: client.ApiClient, namespace: str) -> None:
        with refused(403, "Forbidden") as refusal:
            core_of(user).list_namespaced_secret(namespace)
        asked = f'User "{namespace}" cannot list resource "secrets" in API group "" in the namespace "{namespace}"'
        assert refusal.message == f"secrets is forbidden: {asked}"
        assert refusal.status["details"] == {"kind": "secrets"}
        with refused(403, "Forbidden") as refusal:
            rbac_of(user).delete_cluster_role("view")
        asked = f'User "{namespace}" cannot delete resource "clusterroles" in API group "{RBAC}" at the cluster scope'
        assert refusal.message == f'clusterroles.{RBAC} "view" is forbidden: {asked}'

    def test_an_unknown_token_is_nobodys(self, server: Server) -> None:
        answer = raw(server, "GET", "/api/v1/namespaces", headers={"Authorization": "Bearer nonsense"})
        assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")

    def test_a_role_gives_its_verbs_in_its_namespace(self, rbac: Api, user: client.ApiClient, namespace: str) -> None:
        give(rbac, namespace, rule("create get", "secrets"))
        theirs = core_of(user)
        theirs.create_namespaced_secret(namespace, secret("a"))
        theirs.read_namespaced_secret("a", namespace)
        with refused(403, "Forbidden"):
            theirs.delete_namespaced_secret("a", namespace)
        with refused(403, "Forbidden"):
            theirs.read_namespaced_secret("a", "default")

    def test_resource_names_allow_that_object_and_a_list_of_it(
        self, core: Api, rbac: Api, user: client.ApiClient, namespace: str
    ) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        give(rbac, namespace, rule("get list", "secrets", resource_names="a"))
        theirs = core_of(user)
        theirs.read_namespaced_secret("a", namespace)
        assert names(theirs.list_namespaced_secret(namespace, field_selector="metadata.name=a")) == ["a"]
        with refused(403, "Forbidden"):
            theirs.list_namespaced_secret(namespace)
        with refused(403, "Forbidden"):
            theirs.read_namespaced_secret("b", namespace)

    def test_access_ends_with_its_binding(self, rbac: Api, user: client.ApiClient, namespace: str) -> None:
        give(rbac, namespace, rule("list", "secrets"))
        core_of(user).list_namespaced_secret(namespace)
        rbac.delete_namespaced_role_binding("given", namespace)
        question = {"verb": "list", "resource": "secrets", "namespace": namespace}
        until(lambda: not may(rbac.api_client, namespace, question))
        with refused(403, "Forbidden"):
            core_of(user).list_namespaced_secret(namespace)

    @pytest.mark.parametrize(
        ("question", "allowed"),
        [
            ({"verb": "get", "resource": "secrets"}, True),
            ({"verb": "get", "resource": "secrets", "subresource": "status"}, False),
            ({"verb": "list", "resource": "secrets"}, False),
            ({"verb": "get", "resource": "pods", "subresource": "log"}, True),
            ({"verb": "get", "resource": "pods"}, False),
            ({"verb": "delete", "resource": "widgets", "group": "example.com"}, True),
            ({"verb": "delete", "resource": "widgets", "subresource": "scale", "group": "example.com"}, True),
            ({"verb": "delete", "resource": "widgets"}, False),
            ({"verb": "update", "resource": "configmaps", "name": "mine"}, True),
            ({"verb": "update", "resource": "configmaps", "name": "yours"}, False),
            ({"verb": "update", "resource": "configmaps"}, False),
            ({"verb": "patch", "resource": "gadgets", "subresource": "scale", "group": "apps"}, True),
            ({"verb": "patch", "resource": "gadgets", "group": "apps"}, False),
            ({"verb": "*", "resource": "*", "group": "*"}, False),
            ({"path": "/metrics", "verb": "get"}, True),
            ({"path": "/logs/a", "verb": "get"}, True),
            ({"path": "/logs", "verb": "get"}, False),
            ({"path": "/metrics", "verb": "post"}, False),
        ],
    )
    def test_how_rules_are_read(
        self,
        admin: client.ApiClient,
        rbac: Api,
        cluster_role: str,
        question: dict[str, str],
        allowed: bool,
    ) -> None:
        rules = [
            rule("get", "secrets pods/log"),
            rule("*", "*", "example.com"),
            rule("update", "configmaps", resource_names="mine"),
            rule("patch", "*/scale", "apps"),
            {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]},
        ]
        rbac.patch_cluster_role(cluster_role, {"rules": rules}, _content_type=MERGE)
        rbac.create_cluster_role_binding(binding(cluster_role, cluster_role, "somebody@example.com"))
        try:
            until(lambda: may(admin, "somebody@example.com", {"verb": "get", "resource": "secrets"}))
            assert may(admin, "somebody@example.com", question) is allowed
        finally:
            rbac.delete_cluster_role_binding(cluster_role)

    @pytest.mark.parametrize(
        ("subject", "who"),
        [
            ({"kind": "User", "name": "u@example.com"}, {"who": "u@example.com"}),
            ({"kind": "Group", "name": "g@example.com"}, {"who": "x", "groups": ["g@example.com"]}),
            ({"kind": "ServiceAccount", "name": "robot", "namespace": "n"}, {"who": "system:serviceaccount:n:robot"}),
        ],
    )
    def test_whom_a_binding_means(
        self,
        admin: client.ApiClient,
        rbac: Api,
        namespace: str,
        subject: dict[str, str],
        who: dict[str, Any],
    ) -> None:
        rbac.create_namespaced_role(namespace, role("given", rule("get", "secrets")))
        bound = binding("given", "given", "", "Role") | {"subjects": [subject]}
        rbac.create_namespaced_role_binding(namespace, bound)
        question = {"verb": "get", "resource": "secrets"}
        until(lambda: may(admin, question=question | {"namespace": namespace}, **who))
        assert not may(admin, question=question | {"namespace": "default"}, **who)
        assert not may(admin, question=question, **who)

    def test_masters_may_everything(self, admin: client.ApiClient) -> None:
        assert may(admin, "x", {"verb": "*", "group": "*", "resource": "*"}, groups=["system:masters"])

    def test_everybody_may_ask_about_themselves(self, rbac: Api, user: client.ApiClient, namespace: str) -> None:
        give(rbac, namespace, rule("get", "secrets"))
        asks = authorization_of(user)
        answers = [
            asks.create_self_subject_access_review(
                {"spec": {"resourceAttributes": {"verb": verb, "resource": "secrets", "namespace": namespace}}}
            ).status.allowed
            for verb in ("get", "list")
        ]
        assert answers == [True, False]
        rules = asks.create_self_subject_rules_review({"spec": {"namespace": namespace}}).status.resource_rules
        assert any(found.verbs == ["get"] and found.resources == ["secrets"] for found in rules)
        me = authentication_of(user).create_self_subject_review({}).status.user_info
        assert me.username == namespace
        assert me.groups == ["system:authenticated"]

    def test_a_local_review_asks_about_its_own_namespace(self, admin: client.ApiClient, namespace: str) -> None:
        asks = authorization_of(admin)
        spec = {"user": "x", "resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": namespace}}
        assert asks.create_namespaced_local_subject_access_review(namespace, {"spec": spec}).status.allowed is False
        spec["resourceAttributes"] = {"verb": "get", "resource": "secrets", "namespace": "default"}
        with refused(422, "Invalid"):
            asks.create_namespaced_local_subject_access_review(namespace, {"spec": spec})

    @pytest.mark.parametrize("spec", [{"resourceAttributes": {"verb": "get"}}, {"user": "x"}])
    def test_a_review_needs_somebody_and_a_question(self, admin: client.ApiClient, spec: dict[str, Any]) -> None:
        with refused(422, "Invalid"):
            authorization_of(admin).create_subject_access_review({"spec": spec})


class TestEscalation:
    def test_nobody_binds_a_role_that_gives_more_than_they_hold(
        self, rbac: Api, user: client.ApiClient, namespace: str
    ) -> None:
        give(rbac, namespace, rule("create", "rolebindings", RBAC))
        with refused(403, "Forbidden") as refusal:
            rbac_of(user).create_namespaced_role_binding(namespace, binding("more", "cluster-admin", namespace))
        assert "is attempting to grant RBAC permissions not currently held" in refusal.message
        assert names(rbac.list_namespaced_role_binding(namespace)) == ["given"]

    def test_the_verb_bind_allows_it_for_the_roles_it_names(
        self, rbac: Api, user: client.ApiClient, namespace: str
    ) -> None:
        give(
            rbac,
            namespace,
            rule("create", "rolebindings", RBAC),
            rule("bind", "clusterroles", RBAC, resource_names="view"),
        )
        theirs = rbac_of(user)
        theirs.create_namespaced_role_binding(namespace, binding("more", "view", namespace))
        with refused(403, "Forbidden"):
            theirs.create_namespaced_role_binding(namespace, binding("most", "cluster-admin", namespace))

    def test_whoever_holds_a_roles_rules_may_bind_it(self, rbac: Api, user: client.ApiClient, namespace: str) -> None:
        rbac.create_namespaced_role(namespace, role("small", rule("get", "secrets", resource_names="a")))
        give(rbac, namespace, rule("create", "rolebindings", RBAC), rule("get list", "secrets"))
        rbac_of(user).create_namespaced_role_binding(namespace, binding("more", "small", namespace, "Role"))

    def test_a_role_that_is_not_there_cannot_be_weighed(
        self, rbac: Api, user: client.ApiClient, namespace: str
    ) -> None:
        give(rbac, namespace, rule("create", "rolebindings", RBAC))
        with refused(404, "NotFound"):
            rbac_of(user).create_namespaced_role_binding(namespace, binding("more", "no-such-role", namespace))

    def test_nobody_writes_a_role_that_gives_more_than_they_hold(
        self, rbac: Api, user: client.ApiClient, namespace: str
    ) -> None:
        give(rbac, namespace, rule("create update", "roles", RBAC), rule("get", "secrets"))
        theirs = rbac_of(user)
        theirs.create_namespaced_role(namespace, role("same", rule("get", "secrets")))
        with refused(403, "Forbidden"):
            theirs.create_namespaced_role(namespace, role("more", rule("get list", "secrets")))
        with refused(403, "Forbidden"):
            theirs.replace_namespaced_role("same", namespace, role("same", rule("*", "*")))

    def test_the_verb_escalate_allows_it(self, rbac: Api, user: client.ApiClient, namespace: str) -> None:
        give(rbac, namespace, rule("create escalate", "roles", RBAC))
        rbac_of(user).create_namespaced_role(namespace, role("more", rule("*", "*")))

    @pytest.mark.parametrize(
        ("fault", "where"),
        [
            ({"rules": [{"apiGroups": [""], "resources": ["secrets"]}]}, "rules[0].verbs"),
            ({"rules": [{"verbs": ["get"], "resources": ["secrets"]}]}, "rules[0].apiGroups"),
            ({"rules": [{"verbs": ["get"], "apiGroups": [""]}]}, "rules[0].resources"),
            ({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}, "rules[0].nonResourceURLs"),
        ],
    )
    def test_a_rule_needs_its_parts(self, server: Server, namespace: str, fault: dict[str, Any], where: str) -> None:
        path = f"/apis/{RBAC}/v1/namespaces/{namespace}/roles"
        answer = raw(server, "POST", path, json={"metadata": {"name": "a"}} | fault)
        assert (answer.status_code, answer.json()["reason"]) == (422, "Invalid")
        assert where in [cause["field"] for cause in answer.json()["details"]["causes"]]

    def test_a_cluster_role_binding_needs_a_cluster_role(self, rbac: Api, namespace: str) -> None:
        with refused(422, "Invalid") as refusal:
            rbac.create_cluster_role_binding(binding(namespace, "view", "x", "Role"))
        assert refusal.fields == ["roleRef.kind"]
        assert refusal.status["details"]["group"] == RBAC


class TestDiscovery:
    @pytest.mark.parametrize(
        ("path", "listed"),
        [
            ("/api/v1", {"namespaces", "secrets", "configmaps", "serviceaccounts"}),
            (f"/apis/{RBAC}/v1", {"clusterroles", "clusterrolebindings", "roles", "rolebindings"}),
            ("/apis/authorization.k8s.io/v1", {"subjectaccessreviews", "selfsubjectaccessreviews"}),
        ],
    )
    def test_the_kinds_are_listed(self, server: Server, path: str, listed: set[str]) -> None:
        found = raw(server, "GET", path).json()
        assert found["kind"] == "APIResourceList"
        assert listed <= {resource["name"] for resource in found["resources"]}

    def test_the_groups_are_listed(self, server: Server) -> None:
        assert raw(server, "GET", "/api").json()["versions"] == ["v1"]
        assert RBAC in {group["name"] for group in raw(server, "GET", "/apis").json()["groups"]}

    def test_discovery_comes_in_one_piece_where_that_is_accepted(self, server: Server) -> None:
        accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}
        answer = raw(server, "GET", "/api", headers=accept)
        assert "as=APIGroupDiscoveryList" in answer.headers["Content-Type"]
        listed = answer.json()["items"][0]["versions"][0]["resources"]
        found = next(resource for resource in listed if resource["resource"] == "secrets")
        assert (found["scope"], found["responseKind"]["kind"]) == ("Namespaced", "Secret")

    @pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
    def test_health_needs_no_token(self, server: Server, path: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(server.url + path, verify=server.ca, timeout=30)
        assert (answer.status_code, answer.text) == (200, "ok")

    def test_openapi_says_that_a_patch_may_be_a_dry_run_and_strict(self, server: Server) -> None:
        paths = raw(server, "GET", "/openapi/v3").json()["paths"]
        document = raw(server, "GET", paths["api/v1"]["serverRelativeURL"]).json()
        patch = document["paths"]["/api/v1/namespaces/{namespace}/secrets/{name}"]["patch"]
        assert {"dryRun", "fieldValidation"} <= {parameter["name"] for parameter in patch["parameters"]}

    def test_the_version_has_major_and_minor(self, admin: client.ApiClient) -> None:
        found = client.VersionApi(admin).get_code()
        assert found.git_version.startswith(f"v{found.major}.{found.minor.rstrip('+')}.")
