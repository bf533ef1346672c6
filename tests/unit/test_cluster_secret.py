"""The cluster Secret: how it is read and found, and unmanaged Secrets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.values import cluster_secret
from shared.values.cluster_secret import SELECT_MANAGED, SELECT_UNMANAGED, ClusterSecret
from shared.values.errors import PermanentError
from tests.unit.given import (
    BLUE,
    BLUE_MEMBER,
    EDGE,
    SETTINGS,
    as_secret,
    created,
    secret,
)


@pytest.mark.parametrize("value", ["true", "false", "True", ""])
@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_a_person_pins_by_label_or_annotation(value: str, where: str) -> None:
    current = replace(secret(), **{where: {"fleet-registrar/keep": value}})  # type: ignore[arg-type]
    assert current.is_pinned is (value == "true")


def test_a_secret_names_its_cluster_and_membership() -> None:
    assert (secret().cluster, secret().membership) == (BLUE.name, BLUE_MEMBER.name)
    assert (secret(None, EDGE).cluster, secret(None, EDGE).membership) == (None, EDGE.name)


def test_a_spoilt_name_is_permanent_and_names_the_annotation() -> None:
    with pytest.raises(PermanentError, match="fleet-registrar/cluster is invalid"):
        assert as_secret(created(), **{"fleet-registrar/cluster": "blue"}).cluster


@pytest.mark.parametrize(
    "manifest",
    [
        {"metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}},
        {"metadata": {"name": "x", "uid": "u", "resourceVersion": "1", "labels": None}, "data": None},
        {"metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}, "data": {"name": "!", "server": None}},
        {"metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}, "data": {"config": "/w=="}},
    ],
)
def test_an_unmanaged_secret_may_have_any_content(manifest: dict[str, Any]) -> None:
    found = ClusterSecret.read(manifest)
    assert not found.is_managed
    assert not found.clashes_with("demo-apps.europe-west1.blue", "https://server")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"name": "blue", "server": "https://other"}, True),
        ({"name": "other", "server": "https://server"}, True),
        ({"name": "other", "server": "https://server/"}, True),
        ({"name": "other", "server": "https://other"}, False),
        ({}, False),
    ],
)
def test_the_same_server_or_name_clashes(data: dict[str, str], expected: bool) -> None:
    assert ClusterSecret("x", "u", "1", data=data).clashes_with("blue", "https://server") is expected


def test_secrets_are_found_by_hash_and_mark() -> None:
    mark = "app.kubernetes.io/managed-by=fleet-registrar"
    by_cluster = f"{mark},fleet-registrar/cluster-hash={BLUE.name.hash}"
    assert cluster_secret.found_by(BLUE.name) == by_cluster
    assert cluster_secret.found_by(EDGE.name) == f"{mark},fleet-registrar/membership-hash={EDGE.name.hash}"
    assert (
        mark,
        f"argocd.argoproj.io/secret-type=cluster,{mark.replace('=', '!=')}",
    ) == (SELECT_MANAGED, SELECT_UNMANAGED)


def test_data_is_never_shown() -> None:
    assert "argocd-k8s-auth" not in repr(secret())


def test_a_spoilt_membership_does_not_give_a_secret_away() -> None:
    """It stays ours, and the sweep reports it."""
    spoilt = replace(secret(), annotations={**secret().annotations, "fleet-registrar/membership": "spoilt"})
    assert spoilt.is_of_instance(SETTINGS)
    assert not replace(spoilt, labels={}).is_of_instance(SETTINGS)


@pytest.mark.parametrize(
    ("owners", "controller"),
    [
        ([{"kind": "ExternalSecret", "name": "clusters", "controller": True}], "ExternalSecret clusters"),
        ([None, {"kind": "SealedSecret", "name": "clusters"}], "SealedSecret clusters"),
        ([{}], "None None"),
        *[(None, ""), ([], ""), ({}, ""), ("x", ""), (7, ""), (["x"], ""), ([None], "")],
    ],
)
def test_the_owner_of_a_secret_is_read(owners: Any, controller: str) -> None:
    meta = {"name": "x", "uid": "u", "resourceVersion": "1", "ownerReferences": owners}
    assert ClusterSecret.read({"metadata": meta}).controller == controller


@pytest.mark.parametrize(("value", "immutable"), [(True, True), (False, False), (None, False), ("true", False)])
def test_an_immutable_secret_is_read(value: Any, immutable: bool) -> None:
    meta = {"name": "x", "uid": "u", "resourceVersion": "1"}
    assert ClusterSecret.read({"metadata": meta, "immutable": value}).is_immutable is immutable


@pytest.mark.parametrize(("encoded", "text"), [("YQ==", "a"), ("a", ""), ("", ""), (None, ""), ("/w==", "\ufffd")])
def test_data_that_cannot_be_decoded_is_empty(encoded: str | None, text: str) -> None:
    meta = {"name": "x", "uid": "u", "resourceVersion": "1"}
    assert ClusterSecret.read({"metadata": meta, "data": {"server": encoded}}).data == {"server": text}
