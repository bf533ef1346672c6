"""The chain on real clusters: resourceVersion and uid conflicts, impersonation, RBAC and admission decided by Kubernetes itself.

The tests are those of the embedded clusters, and a few that only Kubernetes can answer. The admission policy of
`infra/argocd/` stands from the start, so that all of them pass with it. Left out: what needs many clusters at once, for
each takes seconds to start and some 300 MB.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from local.cloud import CENTRAL_CLUSTER
from tests.chain import test_attached as attached
from tests.chain import test_identities as identities
from tests.chain import test_offboarding as offboarding
from tests.chain import test_onboarding as onboarding
from tests.chain import test_order as order
from tests.chain import test_ownership as ownership
from tests.chain import test_replay as replay
from tests.chain.running import ARGOCD, CENTRAL, CENTRAL_MEMBERSHIP, MERGE, SECRETS, Chain, decoded, email, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(240)
POLICY = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/fleet-registrar"

for _module, _names in {
    onboarding: (
        "argocds_identity_is_refused_before_and_accepted_after",
        "the_secret_is_byte_for_byte_what_argocd_expects",
        "the_binding_is_argocds_alone_and_carries_our_label",
        "an_onboarding_takes_at_most_thirteen_calls",
        "an_onboarded_cluster_asked_for_again_is_not_written_to",
        "a_label_change_arrives",
        "an_event_never_takes_a_label_key_away_and_a_sweep_does",
        "labels_with_every_odd_character_end_valid_and_what_cannot_is_said",
        "what_people_add_to_a_secret_stays",
        "a_spoilt_binding_and_a_spoilt_secret_are_mended_by_one_publish",
        "no_credential_stands_in_a_secret_or_in_a_log",
    ),
    offboarding: (
        "a_deleted_cluster_disappears_with_its_membership",
        "a_going_cluster_is_held_until_it_is_gone",
        "a_cluster_whose_deletion_fails_is_held_and_let_in_again",
        "a_skip_reconcile_that_a_person_set_stays_after_a_hold",
    ),
    order: ("a_late_deletion_of_an_earlier_namesake_changes_nothing",),
    ownership: (
        "a_foreign_binding_of_our_name_is_left_alone",
        "a_foreign_secret_of_our_name_is_left_alone",
        "a_foreign_secret_that_speaks_of_our_server_or_name_is_left_alone",
        "of_two_secrets_of_ours_for_one_cluster_neither_is_touched",
        "a_binding_that_loses_our_label_stays_when_its_cluster_leaves_the_fleet",
    ),
    attached: (
        "one_that_has_not_admitted_us_is_dead_lettered_with_the_one_command_and_a_replay_goes_through",
        "argocd_comes_in_as_itself_by_the_pair_that_lets_the_agent_impersonate_it",
        "an_onboarding_takes_at_most_fifteen_calls",
        "a_lost_agent_is_noted_once_and_argocd_told_once_when_it_is_back",
        "while_the_agent_is_lost_nothing_is_granted_and_nothing_is_deleted",
        "one_that_leaves_the_fleet_is_held_and_let_in_again_when_it_comes_back",
    ),
    identities: (
        "an_identity_is_refused_the_secrets_that_are_not_its_business",
        "an_identity_is_refused_the_bindings_and_roles_that_it_does_not_need",
        "argocds_identity_may_do_everything_in_a_cluster_and_nothing_in_the_central_one",
        "nobody_is_let_in_without_a_token",
    ),
    replay: ("write_secret", "remove_secret"),
}.items():
    for _name in _names:
        globals()[f"test_{_name}"] = getattr(_module, f"test_{_name}")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud of real clusters."""
    with running(tmp_path_factory.mktemp("real"), "--kube", "real") as chain:
        yield chain


@pytest.fixture(autouse=True)
def healthy(cloud: Chain) -> Iterator[None]:
    """After each test nothing goes wrong any more, and its clusters are gone: memory is what real ones need most."""
    yield
    cloud.restore()
    state = cloud.state()
    for cluster, one in state["clusters"].items():
        if cluster != CENTRAL_CLUSTER and one["status"] not in ("STOPPING", "PROVISIONING"):
            cloud.delete_cluster(cluster)
    cloud.wait_for(lambda: set(cloud.state()["clusters"]) == {CENTRAL_CLUSTER}, 60, "no cluster but the central one")
    for name in [name for name, one in state["memberships"].items() if not one["cluster"]]:
        cloud.do("cloud", "forget", membership=name)
    cloud.wait_quiet()


def _secret(name: str, **change: Any) -> dict[str, Any]:
    """What `write_secret` would write, but for the changes."""
    labels = {
        "argocd.argoproj.io/secret-type": "cluster",
        "app.kubernetes.io/managed-by": "fleet-registrar",
        "fleet-registrar/membership-hash": "0" * 32,
    }
    data = {"name": name, "server": change.pop("server"), "config": change.pop("config")}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels | change.pop("labels", {})},
        "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
        "type": "Opaque",
        **change,
    }


def test_kubernetes_itself_lets_the_functions_write_cluster_secrets_of_ours_and_nothing_else(cloud: Chain) -> None:
    """The admission policy, as the API server reads it: `https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/`."""
    cluster = cloud.onboard("blue")
    good = decoded(cloud.manifest(cluster))
    writer = email("write-secret")

    def write(verb: str, path: str, body: Any, *, who: str = writer) -> int:
        kind = MERGE if verb == "PATCH" else "application/json"
        status, answer = cloud.through_gateway(who, CENTRAL_MEMBERSHIP, verb, path, body, content_type=kind)
        assert status < 400 or "ValidatingAdmissionPolicy 'fleet-registrar'" in answer["message"], answer
        return status

    def create(**change: Any) -> int:
        given = {"server": good["server"], "config": good["config"]} | change
        return write("POST", f"{SECRETS}?dryRun=All", _secret("demo-fleet.europe-west1.made", **given))

    assert create() == 201
    assert create(server="https://evil.example") == 422
    assert create(server=good["server"].replace("/100000000001/", "/999/")) == 422
    assert create(config='{"bearerToken":"x"}') == 422
    assert create(config=good["config"].replace("gcp", "aws")) == 422
    assert create(labels={"argocd.argoproj.io/secret-type": "repository"}) == 422
    assert create(labels={"app.kubernetes.io/managed-by": "somebody"}) == 422
    assert create(type="example.com/other") == 422
    name = cloud.manifest(cluster)["metadata"]["name"]
    ours = f"{SECRETS}/{name}?dryRun=All"
    assert write("PATCH", ours, {"metadata": {"labels": {"env": "prod"}}}) == 200
    assert write("PATCH", ours, {"data": {"server": b64encode(b"https://evil.example").decode()}}) == 422
    assert write("PATCH", ours, {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}) == 422
    status, _ = cloud.kubernetes(CENTRAL, "POST", SECRETS, {"metadata": {"name": "theirs"}, "stringData": {"a": "b"}})
    assert status == 201
    theirs = f"{SECRETS}/theirs"
    assert write("PATCH", theirs, {"metadata": {"labels": {"env": "prod"}}}) == 422
    assert write("DELETE", theirs, None, who=email("remove-secret")) == 422
    assert write("DELETE", ours, None, who=email("remove-secret")) == 200
    assert cloud.kubernetes(CENTRAL, "DELETE", theirs)[0] == 200


def test_the_policy_has_no_fault_that_kubernetes_could_tell_of(cloud: Chain) -> None:
    """Its type checker says in the status what an expression would stumble over; a controller we do not run fills it, so ask by use."""
    status, found = cloud.kubernetes(CENTRAL, "GET", POLICY)
    assert status == 200
    assert "expressionWarnings" not in found.get("status", {}).get("typeChecking", {})
    assert found["spec"]["failurePolicy"] == "Fail"


def test_iam_opens_a_gke_cluster_to_the_functions_and_rbac_alone_to_argocd(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    membership = cloud.membership(cluster)
    status, answer = cloud.through_gateway(email("write-secret"), membership, "GET", "/api/v1/secrets")
    assert status == 403
    assert 'requires one of ["container.secrets.list"] permission(s).' in answer["message"]
    assert cloud.admits(membership)
    _, review = cloud.through_gateway(
        email("grant-rbac"),
        membership,
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"spec": {"user": ARGOCD, "resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}}},
    )
    assert review["status"]["allowed"], review
    assert "RBAC" in review["status"]["reason"]
