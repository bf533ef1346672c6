"""Ways round the admission policy of the central cluster that somebody with a function's identity could try."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from local.identities import account_id
from shared.values.names import MembershipName
from tests.infra.argocd import VALUES
from tests.infra.policy import (
    CLUSTER,
    IDS,
    INSTANCE,
    MARK,
    MEMBERSHIP,
    OURS,
    REMOVER,
    SERVER,
    WRITER,
    changed,
    decided_by,
    encoded,
    held,
    rendered,
    repaired,
    written,
)
from tests.unit import given

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.infra.argocd import Object

PROJECT = "fleet-registrar/project"
LOCATION = "fleet-registrar/location"
CENTRAL = given.ENVIRONMENT["CENTRAL_MEMBERSHIP"]
TO_CENTRAL = SERVER.rpartition("/")[0] + "/central"
OTHER = str(given.BLUE_MEMBER.name).rpartition("/")[0] + "/other"
TO_OTHER = SERVER.rpartition("/")[0] + "/other"
ATTACHED = written(cluster=None, membership=given.EDGE)
PROD = "projects/prod/locations/europe-west1/clusters/blue"
OWNER = [{"apiVersion": "v1", "kind": "Secret", "name": "none", "uid": "none"}]
SHARDS = "'a shard is a number from 0 to below ' + string(variables.shards)"
WRONG_SERVER = "the server of a cluster Secret is the gateway address of the membership in its annotation fleet-registrar/membership"
TWICE = "the central cluster is not registered a second time"
NAME = "a cluster Secret has the name of its cluster, and a person alone says that it is for another one"
WHERE = "the labels fleet-registrar/project and fleet-registrar/location say where the annotated cluster is"
PEOPLES = "immutable, finalizers and owner references are people's"
NOT_OF_INSTANCE = "this Secret is of another instance of Fleet Registrar"
OWN_INSTANCE = "a Secret that Fleet Registrar writes is of its own instance"


def _server(manifest: Object) -> str:
    return base64.b64decode(manifest["data"]["server"]).decode()


def marked(manifest: Object, instance: str | None) -> Object:
    return changed(manifest, labels={INSTANCE: instance}) if instance else manifest


@pytest.fixture(scope="session")
def decide() -> Callable[..., list[str]]:
    return decided_by(rendered())


@pytest.fixture(scope="session")
def decide_west() -> Callable[..., list[str]]:
    """Another instance, in another namespace."""
    return decided_by(rendered(instance="west", namespace="platform"))


@pytest.mark.parametrize("user", IDS)
def test_an_identity_is_confined_by_its_unique_id_too(user: str, decide: Callable[..., list[str]]) -> None:
    resource = ("rbac.authorization.k8s.io", "clusterrolebindings")
    binding = {"kind": "ClusterRoleBinding", "metadata": {"name": "x"}}
    assert decide(user, "CREATE", binding, None, namespace="", resource=resource)
    assert decide(user, "CREATE", changed(OURS, data={"server": "https://elsewhere.example"}), None)
    assert decide(user, "CREATE", OURS, None) == []


@pytest.mark.parametrize("user", ["20000000000000000000", "2000000000000000000011", "", ",".join(IDS)])
def test_another_number_is_another_identity(user: str, decide: Callable[..., list[str]]) -> None:
    assert decide(user, "DELETE", None, changed(OURS, labels={MARK: None})) == []


@pytest.mark.parametrize("domain", [f"x.{VALUES['functions-domain']}", f"x@{VALUES['functions-domain']}"])
def test_a_longer_name_is_another_identity(domain: str, decide: Callable[..., list[str]]) -> None:
    assert decide(f"write-secret@{domain}", "DELETE", None, changed(OURS, labels={MARK: None})) == []


PASSES = {
    "another membership of the same cluster": (
        changed(OURS, data={"server": TO_OTHER}, annotations={MEMBERSHIP: OTHER}),
        OURS,
    ),
    "a membership put back": (OURS, changed(OURS, annotations={MEMBERSHIP: None})),
    "a cluster put back": (OURS, changed(OURS, annotations={CLUSTER: None})),
    "a project label put right": (OURS, changed(OURS, labels={PROJECT: "prod"})),
    "a project label put back": (OURS, changed(OURS, labels={PROJECT: None})),
    "a location label put right": (OURS, changed(OURS, labels={LOCATION: "nowhere"})),
    "a Secret with wrong labels repaired": (
        repaired(changed(OURS, labels={PROJECT: "prod"}, data={"server": TO_CENTRAL})),
        changed(OURS, labels={PROJECT: "prod"}, data={"server": TO_CENTRAL}),
    ),
    "a hold beside a wrong project label": (
        held(changed(OURS, labels={PROJECT: "prod"})),
        changed(OURS, labels={PROJECT: "prod"}),
    ),
    "a hold on a Secret without its membership": (
        held(changed(OURS, annotations={MEMBERSHIP: None})),
        changed(OURS, annotations={MEMBERSHIP: None}),
    ),
    "a hold on a person's entry for the central cluster": (
        held(changed(OURS, data={"server": TO_CENTRAL}, annotations={MEMBERSHIP: CENTRAL})),
        changed(OURS, data={"server": TO_CENTRAL}, annotations={MEMBERSHIP: CENTRAL}),
    ),
    "a hold on what people made immutable, final and owned": (
        {**held(OURS), "immutable": True}
        | {"metadata": {**held(OURS)["metadata"], "finalizers": ["x.io/y"], "ownerReferences": OWNER}},
        changed(OURS, metadata={"finalizers": ["x.io/y"], "ownerReferences": OWNER}, immutable=True),
    ),
    "the instance label added": (changed(OURS, labels={INSTANCE: "default"}), OURS),
}


def adopted(**data: str) -> Object:
    """A Secret of a person with a name of its own, after `ops adopt`, before a function has written anything."""
    labels = {key: OURS["metadata"]["labels"][key] for key in (MARK, "fleet-registrar/membership-hash")}
    labels |= {"argocd.argoproj.io/secret-type": "cluster", "team": "shop"}
    annotations = {key: OURS["metadata"]["annotations"][key] for key in (MEMBERSHIP, CLUSTER)}
    meta = {"name": "blue", "namespace": "argocd", "labels": labels, "annotations": annotations}
    texts = {"name": "gke_demo-apps_europe-west1_blue", **data}
    return {**OURS, "metadata": meta, "data": {key: encoded(text) for key, text in texts.items()}}


@pytest.mark.parametrize("case", PASSES)
def test_repairs_pass(case: str, decide: Callable[..., list[str]]) -> None:
    assert decide(WRITER, "UPDATE", *PASSES[case]) == []


@pytest.mark.parametrize(
    "server", [SERVER, SERVER + "/", SERVER.replace("/v1/", "/v1beta1/"), "https://10.0.0.2"], ids=range(4)
)
@pytest.mark.parametrize("config", ['{"bearerToken":"x"}', '{ "tlsClientConfig": {"insecure": false}}'])
def test_take_over_of_an_adopted_secret_passes(server: str, config: str, decide: Callable[..., list[str]]) -> None:
    before = adopted(server=server, config=config, project="shop")
    assert decide(REMOVER, "UPDATE", held(before), before) == []
    assert decide(WRITER, "UPDATE", repaired(before), before) == []


REFUSED = {
    "immutable from the start": ([PEOPLES], {**OURS, "immutable": True}, None),
    "finalizers from the start": ([PEOPLES], changed(OURS, metadata={"finalizers": ["x.io/y"]}), None),
    "an owner from the start": ([PEOPLES], changed(OURS, metadata={"ownerReferences": OWNER}), None),
    "immutable": ([PEOPLES], {**OURS, "immutable": True}, OURS),
    "a finalizer": ([PEOPLES], changed(OURS, metadata={"finalizers": ["x.io/y"]}), OURS),
    "a finalizer taken away": ([PEOPLES], OURS, changed(OURS, metadata={"finalizers": ["x.io/y"]})),
    "an owner": ([PEOPLES], changed(OURS, metadata={"ownerReferences": OWNER}), OURS),
    "another owner": (
        [PEOPLES],
        changed(OURS, metadata={"ownerReferences": [{**OWNER[0], "uid": "other"}]}),
        changed(OURS, metadata={"ownerReferences": OWNER}),
    ),
    "another member's server": ([WRONG_SERVER], changed(OURS, data={"server": TO_OTHER}), None),
    "another member's server, later": ([WRONG_SERVER], changed(OURS, data={"server": TO_OTHER}), OURS),
    "another membership, the same server": ([WRONG_SERVER], changed(OURS, annotations={MEMBERSHIP: OTHER}), OURS),
    "no membership": ([WRONG_SERVER], changed(OURS, annotations={MEMBERSHIP: None}), OURS),
    "another region's host": (
        [WRONG_SERVER],
        changed(OURS, data={"server": SERVER.replace("https://europe-west1-", "https://us-east1-")}),
        None,
    ),
    "a regional host for a global membership": (
        [WRONG_SERVER],
        changed(ATTACHED, data={"server": _server(ATTACHED).replace("https://", "https://europe-west1-")}),
        None,
    ),
    "the membership of another fleet": (
        [WRONG_SERVER],
        changed(OURS, annotations={MEMBERSHIP: str(given.BLUE_MEMBER.name).replace("demo-fleet", "other")}),
        None,
    ),
    "a second entry for the central cluster": (
        [TWICE],
        changed(OURS, data={"server": TO_CENTRAL}, annotations={MEMBERSHIP: CENTRAL}),
        None,
    ),
    "an entry turned to the central cluster": (
        [TWICE],
        changed(OURS, data={"server": TO_CENTRAL}, annotations={MEMBERSHIP: CENTRAL}),
        OURS,
    ),
    "another project's label": ([WHERE], changed(OURS, labels={PROJECT: "prod"}), None),
    "another project's label, later": ([WHERE], changed(OURS, labels={PROJECT: "prod"}), OURS),
    "another location's label": ([WHERE], changed(OURS, labels={LOCATION: "us-east1"}), OURS),
    "another project in label and annotation": (
        [NAME],
        changed(OURS, labels={PROJECT: "prod"}, annotations={CLUSTER: PROD}),
        None,
    ),
    "another project in label and annotation, later": (
        [NAME],
        changed(OURS, labels={PROJECT: "prod"}, annotations={CLUSTER: PROD}),
        OURS,
    ),
    "an attached cluster that becomes another project's": (
        [NAME],
        changed(ATTACHED, labels={PROJECT: "prod"}, annotations={CLUSTER: PROD}),
        ATTACHED,
    ),
    "no cluster any more, and the fleet's project": (
        [NAME],
        changed(OURS, labels={PROJECT: "demo-fleet"}, annotations={CLUSTER: None}),
        OURS,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_escapes_are_refused(case: str, decide: Callable[..., list[str]]) -> None:
    rules, new, old = REFUSED[case]
    broken = decide(WRITER, "CREATE" if old is None else "UPDATE", new, old)
    assert set(rules) <= set(broken)


@pytest.mark.parametrize("shard", ["0", "6"])
def test_a_new_secret_may_have_a_shard_in_range(shard: str, decide: Callable[..., list[str]]) -> None:
    assert decide(WRITER, "CREATE", changed(OURS, data={"shard": shard}), None) == []


@pytest.mark.parametrize("shard", ["7", "-1", "two", "", " 1", "01", "1.5", "1\n", "99999999999999999999"])
def test_a_shard_out_of_range_is_refused(shard: str, decide: Callable[..., list[str]]) -> None:
    assert decide(WRITER, "CREATE", changed(OURS, data={"shard": shard}), None) == [SHARDS]


def test_a_shard_is_set_when_the_secret_is_made_and_never_later(decide: Callable[..., list[str]]) -> None:
    assert decide(WRITER, "UPDATE", changed(OURS, data={"shard": "1"}), OURS)
    assert decide(WRITER, "UPDATE", changed(OURS, data={"shard": "2"}), changed(OURS, data={"shard": "1"}))


def test_functions_without_shards_write_none() -> None:
    assert decided_by(rendered(shards="0"))(WRITER, "CREATE", changed(OURS, data={"shard": "0"}), None) == [SHARDS]


@pytest.mark.parametrize("instance", [None, "default"])
def test_a_secret_without_instance_is_of_the_default_one(
    instance: str | None, decide: Callable[..., list[str]], decide_west: Callable[..., list[str]]
) -> None:
    theirs = marked(OURS, instance)
    for operation, new, old in (("CREATE", theirs, None), ("UPDATE", held(theirs), theirs), ("DELETE", None, theirs)):
        assert decide(WRITER, operation, new, old) == []
        rule = OWN_INSTANCE if operation == "CREATE" else NOT_OF_INSTANCE
        assert rule in decide_west(WRITER, operation, new, old, namespace="platform")


def test_an_instance_writes_its_own_secrets_alone(
    decide: Callable[..., list[str]], decide_west: Callable[..., list[str]]
) -> None:
    west = marked(OURS, "west")
    for operation, new, old in (("CREATE", west, None), ("UPDATE", held(west), west), ("DELETE", None, west)):
        assert decide_west(WRITER, operation, new, old, namespace="platform") == []
        assert decide(WRITER, operation, new, old) != []
    assert decide(WRITER, "UPDATE", west, OURS) == [OWN_INSTANCE]
    assert decide(WRITER, "UPDATE", OURS, west) == [NOT_OF_INSTANCE]
    assert decide_west(WRITER, "UPDATE", OURS, west, namespace="platform") == [OWN_INSTANCE]


def test_the_namespace_is_the_one_of_the_values(decide_west: Callable[..., list[str]]) -> None:
    west = marked(OURS, "west")
    assert decide_west(WRITER, "CREATE", west, None, namespace="platform") == []
    assert decide_west(WRITER, "CREATE", west, None, namespace="argocd") != []


@pytest.mark.parametrize("function", ["grant-rbac", "sweep"])
def test_every_instance_confines_its_own_functions(function: str, decide_west: Callable[..., list[str]]) -> None:
    user = f"{account_id(function)}@{VALUES['functions-domain']}"
    assert decide_west(user, "DELETE", None, OURS, namespace="platform") == [NOT_OF_INSTANCE]


ELSEWHERE_CENTRAL = "projects/platform/locations/europe-west1/memberships/central"


def test_central_cluster_of_another_fleet_changes_nothing_for_ours() -> None:
    """A membership of our fleet with the central one's location and ID is a cluster like any other."""
    decide = decided_by(rendered(**{"central-membership": ELSEWHERE_CENTRAL}))
    assert decide(WRITER, "CREATE", OURS, None) == []
    namesake = replace(given.BLUE_MEMBER, name=MembershipName.parse(CENTRAL))
    assert decide(WRITER, "CREATE", written(membership=namesake), None) == []


@pytest.mark.parametrize("before", [None, OURS], ids=["created", "changed"])
def test_central_cluster_of_another_fleet_gets_no_entry(before: Object | None) -> None:
    decide = decided_by(rendered(**{"central-membership": ELSEWHERE_CENTRAL}))
    host = SERVER.partition("/v1/")[0]
    for number in ("100000000001", "345678901234"):
        server = f"{host}/v1/projects/{number}/locations/europe-west1/gkeMemberships/central"
        entry = changed(OURS, data={"server": server}, annotations={MEMBERSHIP: ELSEWHERE_CENTRAL})
        assert decide(WRITER, "CREATE" if before is None else "UPDATE", entry, before)
