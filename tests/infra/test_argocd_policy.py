"""The admission policy of the central cluster: what the functions write passes, and what else their identities could write does not."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml

from local.central import registrar
from local.identities import account_id
from ops.doctor.reading_cluster import right_secret
from shared.decisions import secret_plan
from shared.decisions.secret_plan import CONFIG
from tests.infra.argocd import ROOT, VALUES
from tests.infra.policy import (
    BY_ARGOCD,
    HASH,
    MARK,
    MEMBERSHIP,
    OF_THIS_CLOUD,
    OURS,
    REMOVER,
    SERVER,
    TOKEN,
    TYPE,
    WRITER,
    changed,
    decided_by,
    held,
    rendered,
    repaired,
    written,
)
from tests.unit import given
from tests.unit.deployment import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.infra.argocd import Object

ROLES = json.loads((ROOT / "infra" / "roles.json").read_text())
FUNCTIONS = [name for name in ROLES if name != "argocd"]
ELSEWHERE = "https://europe-west1-connectgateway.googleapis.com/v1/projects/999/locations/europe-west1/memberships/m"


@pytest.fixture(scope="session")
def policy() -> Object:
    return rendered()


@pytest.fixture(scope="session")
def decide(policy: Object) -> Callable[..., list[str]]:
    return decided_by(policy)


PASSES = {
    "a new Secret": (WRITER, "CREATE", OURS, None),
    "a new Secret of an attached cluster": (WRITER, "CREATE", written(cluster=None, membership=given.EDGE), None),
    "a hold": (REMOVER, "UPDATE", held(OURS), OURS),
    "a hold lifted": (WRITER, "UPDATE", OURS, held(OURS)),
    "a new label": (WRITER, "UPDATE", changed(OURS, labels={"wave": "2"}), OURS),
    "a spoilt configuration repaired": (
        WRITER,
        "UPDATE",
        repaired(changed(OURS, data={"config": TOKEN})),
        changed(OURS, data={"config": TOKEN}),
    ),
    "a spoilt server repaired": (
        WRITER,
        "UPDATE",
        repaired(changed(OURS, data={"server": "https://elsewhere.example"})),
        changed(OURS, data={"server": "https://elsewhere.example"}),
    ),
    "a missing type put back": (
        WRITER,
        "UPDATE",
        repaired(changed(OURS, labels={TYPE: None})),
        changed(OURS, labels={TYPE: None}),
    ),
    "a Secret that Argo CD wrote again, moved": (
        WRITER,
        "UPDATE",
        changed(OURS, data={"config": BY_ARGOCD}),
        changed(OURS, data={"config": BY_ARGOCD, "server": SERVER.replace("gkeMemberships", "memberships")}),
    ),
    "a hold on a Secret with a person's server": (
        REMOVER,
        "UPDATE",
        held(changed(OURS, data={"server": "https://elsewhere.example"})),
        changed(OURS, data={"server": "https://elsewhere.example"}),
    ),
    "a label beside a person's shard and project": (
        WRITER,
        "UPDATE",
        changed(OURS, labels={"wave": "2"}, data={"shard": "3", "project": "shop"}),
        changed(OURS, data={"shard": "3", "project": "shop"}),
    ),
    "the end of ours": (REMOVER, "DELETE", None, OURS),
    "the end of an adopted one with a name of its own": (REMOVER, "DELETE", None, changed(OURS, data={"name": "blue"})),
    "a person's Secret": (
        "you@example.com",
        "CREATE",
        changed(OURS, labels={MARK: None}, data={"config": TOKEN}),
        None,
    ),
    "Argo CD's own writing": (
        "system:serviceaccount:argocd:argocd-server",
        "UPDATE",
        changed(OURS, labels={MARK: None}),
        OURS,
    ),
    "somebody of the same name elsewhere": ("write-secret@elsewhere.iam.gserviceaccount.com", "DELETE", None, {"a": 1}),
}

NOT_OURS = "this Secret is not Fleet Registrar's"
MARKED = "a Secret that Fleet Registrar writes is a cluster Secret with its labels"
OPAQUE = "a cluster Secret is Opaque"
CONTENT = "a cluster Secret holds the exec configuration of argocd-k8s-auth and a Connect Gateway address of this fleet"
DATA = "a new cluster Secret holds server, config and its own name; other data is people's"

REFUSED = {
    "a Secret that is no cluster's": (MARKED, "CREATE", changed(OURS, labels={TYPE: "repository"}), None),
    "a Secret without a type": (MARKED, "CREATE", changed(OURS, labels={TYPE: None}), None),
    "a Secret without our mark": (MARKED, "CREATE", changed(OURS, labels={MARK: None}), None),
    "a Secret without a membership": (MARKED, "CREATE", changed(OURS, labels={HASH: None}), None),
    "a Secret without labels": (MARKED, "CREATE", {**OURS, "metadata": {"name": OURS["metadata"]["name"]}}, None),
    "a Secret without data": (CONTENT, "CREATE", {key: value for key, value in OURS.items() if key != "data"}, None),
    "a Secret that would be given a service account's token": (
        OPAQUE,
        "CREATE",
        {**OURS, "type": "kubernetes.io/service-account-token"},
        None,
    ),
    "stored credentials": (CONTENT, "CREATE", changed(OURS, data={"config": TOKEN}), None),
    "another command": (
        CONTENT,
        "CREATE",
        changed(OURS, data={"config": CONFIG.replace("argocd-k8s-auth", "/bin/sh")}),
        None,
    ),
    "our configuration and one thing more": (
        CONTENT,
        "CREATE",
        changed(OURS, data={"config": CONFIG[:-1] + ',"proxyUrl":"http://elsewhere.example"}'}),
        None,
    ),
    "no certificate checked": (
        CONTENT,
        "CREATE",
        changed(OURS, data={"config": CONFIG.replace("false", "true")}),
        None,
    ),
    "a server that is no gateway": (
        CONTENT,
        "CREATE",
        changed(OURS, data={"server": "https://elsewhere.example"}),
        None,
    ),
    "the gateway of another fleet": (CONTENT, "CREATE", changed(OURS, data={"server": ELSEWHERE}), None),
    "a host that begins like the gateway": (
        CONTENT,
        "CREATE",
        changed(OURS, data={"server": SERVER.replace(".googleapis.com", ".googleapis.com.elsewhere.example")}),
        None,
    ),
    "a host before the gateway's": (
        CONTENT,
        "CREATE",
        changed(OURS, data={"server": SERVER.replace("https://", "https://elsewhere.example/")}),
        None,
    ),
    "a dot that is another character": (
        CONTENT,
        "CREATE",
        changed(OURS, data={"server": SERVER.replace(".googleapis", "-googleapis")}),
        None,
    ),
    "no https": (CONTENT, "CREATE", changed(OURS, data={"server": SERVER.replace("https", "http")}), None),
    "a server with something after it": (CONTENT, "CREATE", changed(OURS, data={"server": SERVER + "\n"}), None),
    "a server with a letter beyond ASCII": (CONTENT, "CREATE", changed(OURS, data={"server": SERVER + "é"}), None),
    "a server with an empty byte": (CONTENT, "CREATE", changed(OURS, data={"server": SERVER + "\0"}), None),
    "another cluster's name": (DATA, "CREATE", changed(OURS, data={"name": "other.europe-west1.cluster"}), None),
    "the central cluster's name": (
        DATA,
        "CREATE",
        changed({**OURS, "metadata": {**OURS["metadata"], "name": "in-cluster"}}, data={"name": "in-cluster"}),
        None,
    ),
    "data that is people's, from the start": (DATA, "CREATE", changed(OURS, data={"project": "shop"}), None),
    "taking over a Secret of somebody": (NOT_OURS, "UPDATE", OURS, changed(OURS, labels={MARK: "helm"})),
    "taking over a repository's credentials": (
        NOT_OURS,
        "UPDATE",
        OURS,
        changed(OURS, labels={MARK: None, HASH: None, TYPE: "repository"}),
    ),
    "a Secret of ours that became a repository's": (
        NOT_OURS,
        "UPDATE",
        OURS,
        changed(OURS, labels={TYPE: "repository"}),
    ),
    "letting go of our mark": (MARKED, "UPDATE", changed(OURS, labels={MARK: None}), OURS),
    "letting go of the type": (MARKED, "UPDATE", changed(OURS, labels={TYPE: None}), OURS),
    "another server": (CONTENT, "UPDATE", changed(OURS, data={"server": "https://elsewhere.example"}), OURS),
    "another configuration": (CONTENT, "UPDATE", changed(OURS, data={"config": TOKEN}), OURS),
    "Argo CD's token for a person's server": (
        CONTENT,
        "UPDATE",
        changed(OURS, data={"server": "https://elsewhere.example"}),
        changed(OURS, data={"server": "https://elsewhere.example", "config": TOKEN}),
    ),
    "a person's token for the gateway": (
        CONTENT,
        "UPDATE",
        changed(OURS, data={"config": TOKEN}),
        changed(OURS, data={"server": "https://elsewhere.example", "config": TOKEN}),
    ),
    "no server any more": (CONTENT, "UPDATE", changed(OURS, data={"server": None}), OURS),
    "no data any more": (CONTENT, "UPDATE", {key: value for key, value in OURS.items() if key != "data"}, OURS),
    "another name": (DATA, "UPDATE", changed(OURS, data={"name": "other.europe-west1.cluster"}), OURS),
    "a person's shard taken away": (DATA, "UPDATE", OURS, changed(OURS, data={"shard": "3"})),
    "a person's project changed": (
        DATA,
        "UPDATE",
        changed(OURS, data={"project": "platform"}),
        changed(OURS, data={"project": "shop"}),
    ),
    "a project set": (DATA, "UPDATE", changed(OURS, data={"project": "platform"}), OURS),
    "the end of Argo CD's own Secret": (
        NOT_OURS,
        "DELETE",
        None,
        {"kind": "Secret", "type": "Opaque", "metadata": {"name": "argocd-secret", "labels": {"a": "b"}}},
    ),
    "the end of a Secret without labels": (
        NOT_OURS,
        "DELETE",
        None,
        {"kind": "Secret", "type": "Opaque", "metadata": {"name": "argocd-initial-admin-secret"}},
    ),
    "the end of a person's cluster Secret": (NOT_OURS, "DELETE", None, changed(OURS, labels={MARK: None})),
}


@pytest.mark.parametrize("case", PASSES)
def test_passes(case: str, decide: Callable[..., list[str]]) -> None:
    assert decide(*PASSES[case]) == []


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, decide: Callable[..., list[str]]) -> None:
    rule, operation, new, old = REFUSED[case]
    assert rule in decide(WRITER, operation, new, old)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_is_confined(function: str, decide: Callable[..., list[str]]) -> None:
    user = f"{account_id(function)}@{VALUES['functions-domain']}"
    assert decide(user, "DELETE", None, changed(OURS, labels={MARK: None}))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_binds_a_role_in_the_central_cluster(function: str, decide: Callable[..., list[str]]) -> None:
    """What IAM lets grant-rbac do in every cluster of a source project would else hold in this one too."""
    binding = {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "x"},
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
    }
    resource = ("rbac.authorization.k8s.io", "clusterrolebindings")
    user = f"{account_id(function)}@{VALUES['functions-domain']}"
    assert decide(user, "CREATE", binding, None, namespace="", resource=resource)
    assert decide("you@example.com", "CREATE", binding, None, namespace="", resource=resource) == []


def test_a_cluster_secret_in_another_namespace_is_refused(decide: Callable[..., list[str]]) -> None:
    assert decide(WRITER, "CREATE", OURS, None, namespace="default")


def test_the_policy_is_bound_and_fails_closed(policy: Object) -> None:
    (binding,) = [item for item in registrar(OF_THIS_CLOUD) if item["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}
    assert policy["spec"]["failurePolicy"] == "Fail"
    # Parameters would be looked up before the conditions: a lost one would lock everybody out.
    assert "paramKind" not in policy["spec"]


def test_the_policy_names_every_function_and_our_configuration(policy: Object) -> None:
    """Without an evaluator these hold at least."""
    spec = policy["spec"]
    (condition,) = spec["matchConditions"]
    names = re.search(r"\[('register-membership'[^]]*)\]", condition["expression"])
    assert names is not None
    assert sorted(re.findall(r"'([a-z-]+)'", names[1])) == sorted(map(account_id, FUNCTIONS))
    (configs,) = [item["expression"] for item in spec["variables"] if item["name"] == "configs"]
    assert yaml.safe_load(configs) == [CONFIG, BY_ARGOCD]
    assert secret_plan._same_config(BY_ARGOCD)


@pytest.mark.parametrize("is_gke", [True, False])
def test_the_secret_that_ops_doctor_tries_passes(
    is_gke: bool, policy: Object, decide: Callable[..., list[str]]
) -> None:
    tried = right_secret(EXPECTED, is_gke=is_gke)
    assert decide(WRITER, "CREATE", tried, None) == []


@pytest.mark.parametrize("length", range(4))
def test_the_texts_are_decoded_as_they_are(length: int, decide: Callable[..., list[str]]) -> None:
    """Base64 pads by the length of the text: all three paddings must come out right."""
    server = SERVER[: SERVER.rindex("/") + 1] + "m" * (20 + length)
    name = str(given.BLUE_MEMBER.name).rpartition("/")[0] + "/" + server.rpartition("/")[2]
    assert decide(WRITER, "CREATE", changed(OURS, data={"server": server}, annotations={MEMBERSHIP: name}), None) == []
