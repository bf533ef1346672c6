"""Creation of objects: names, defaults, validation, formats."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.contract.kubernetes.api import Api, proto, raw, refused, secret

if TYPE_CHECKING:
    from tests.contract.kubernetes_server import Server


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
        ("body", "wording"),
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
        self, server: Server, namespace: str, body: dict[str, Any], wording: str
    ) -> None:
        answer = raw(server, "POST", f"/api/v1/namespaces/{namespace}/secrets", json={"metadata": {"name": "a"}} | body)
        assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")
        assert wording in answer.json()["message"]

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
