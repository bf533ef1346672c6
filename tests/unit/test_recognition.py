"""Which cluster a cluster Secret is for: every form in which people and known tools write one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.decisions.recognition import (
    ADOPT,
    BY_ADDRESS,
    BY_ANNOTATION,
    BY_NAME,
    BY_SERVER,
    PLUGIN,
    PROFILE_ORIGIN,
    PROFILE_SYNCER,
    Recognition,
    beside,
    index,
    recognise,
    recognised,
    remedy,
    writer,
)
from shared.values import cluster_secret
from shared.values.model import Cluster, Membership
from shared.values.names import ClusterName, MembershipName, Name
from tests.unit.given import BLUE, EDGE, SETTINGS, settings
from tests.unit.given import secret as our_secret
from tests.unit.surveys import theirs

if TYPE_CHECKING:
    from shared.values.cluster_secret import ClusterSecret
    from shared.values.settings import Settings

NUMBER = SETTINGS.fleet_project_number
GATEWAY = "https://connectgateway.googleapis.com"
HERE = replace(BLUE, addresses=frozenset({"34.90.1.2", "172.16.0.2", "gke-1a2b-42.europe-west1.gke.goog"}))
GREEN = replace(
    BLUE, name=ClusterName("demo-fleet", "us-east1", "green"), addresses=frozenset({"34.90.1.3", "172.16.0.2"})
)
MEMBER = Membership(MembershipName("demo-fleet", "global", "blue"), "uid-m", "READY", cluster=BLUE.name)
REGIONAL = Membership(MembershipName("demo-fleet", "us-east1", "green"), "uid-g", "READY", cluster=GREEN.name)


def known(
    secret: ClusterSecret, clusters: tuple[Cluster, ...] = (HERE, GREEN), configured: Settings = SETTINGS
) -> tuple[set[Name], str]:
    found = recognise(secret, index(clusters, (MEMBER, REGIONAL, EDGE), configured, (secret,)))
    return set(found.names), found.known_by


@pytest.mark.parametrize(
    "server",
    [
        f"{GATEWAY}/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f"{GATEWAY}/v1/projects/{NUMBER}/locations/global/memberships/blue",
        f"{GATEWAY}/v1beta1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f"{GATEWAY}/v1alpha1/projects/{NUMBER}/locations/global/memberships/blue",
        f"{GATEWAY}/v1beta1/projects/{NUMBER}/memberships/blue",
        f"{GATEWAY}/v1alpha1/projects/demo-fleet/memberships/blue",
        f"{GATEWAY}/v1/projects/demo-fleet/locations/global/gkeMemberships/blue",
        f"{GATEWAY}/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue/",
        f"{GATEWAY}/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue?__uid=shop",
        f"{GATEWAY}:443/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f"https://ConnectGateway.GoogleAPIs.com/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f"{GATEWAY}./v1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f"https://us-east1-connectgateway.googleapis.com/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f"https://connectgateway.mtls.googleapis.com/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f"https://connectgateway.us-east1.rep.googleapis.com/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f"connectgateway.googleapis.com/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f"//connectgateway.googleapis.com/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f"http://connectgateway.googleapis.com/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f"HTTPS://connectgateway.googleapis.com/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue",
        f" {GATEWAY}/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue \n",
        f"{GATEWAY}//v1/projects/{NUMBER}//locations/global/gkeMemberships/blue//",
        f"{GATEWAY}/v1/projects/{NUMBER}/locations/global/gkeMemberships/bl%75e",
        f"{GATEWAY}/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue#fragment",
    ],
)
def test_gateway_url_of_every_form_is_recognised(server: str) -> None:
    assert known(theirs("x", server)) == ({BLUE.name}, BY_SERVER)


def test_gateway_url_of_an_attached_cluster_is_recognised() -> None:
    server = f"{GATEWAY}/v1/projects/{NUMBER}/locations/global/memberships/edge"
    assert known(theirs("x", server)) == ({EDGE.name}, BY_SERVER)


@pytest.mark.parametrize("override", ["https://127.0.0.1:8443/", "https://127.0.0.1:8443/gateway/"])
def test_gateway_url_at_an_overridden_endpoint_is_recognised(override: str) -> None:
    local = settings(CLOUDSDK_API_ENDPOINT_OVERRIDES_CONNECTGATEWAY=override)
    server = f"{override}v1/projects/{NUMBER}/locations/global/gkeMemberships/blue"
    assert known(theirs("x", server), configured=local) == ({BLUE.name}, BY_SERVER)
    assert known(theirs("x", server)) == (set(), "")


@pytest.mark.parametrize(
    "server",
    [
        "https://34.90.1.2",
        "https://34.90.1.2/",
        "https://34.90.1.2:443",
        "34.90.1.2",
        "https://172.16.0.2",
        "https://GKE-1a2b-42.europe-west1.gke.goog",
    ],
)
def test_address_that_gke_reports_is_recognised(server: str) -> None:
    assert known(theirs("x", server), clusters=(HERE,)) == ({BLUE.name}, BY_ADDRESS)


@pytest.mark.parametrize("server", ["", "https://", "https://34.90.1.2:8443", "https://[::1", "https://34.90.1.20"])
def test_other_address_is_not_recognised(server: str) -> None:
    assert known(theirs("x", server)) == (set(), "")


@pytest.mark.parametrize(
    "name",
    [
        "gke_demo-apps_europe-west1_blue",  # gcloud, and `argocd cluster add` after it
        "team-a-gke_demo-apps_europe-west1_blue",  # capi2argo with namespaced names
        "connectgateway_demo-fleet_global_blue",  # gcloud container fleet memberships get-credentials
        "connectgateway_demo-fleet_blue",  # its first generation
        f"blue.global.{NUMBER}",  # fleet-argocd-plugin
        "demo-apps.europe-west1.blue",  # this project
    ],
)
def test_names_that_known_tools_write_are_recognised(name: str) -> None:
    assert known(theirs("x", "https://10.0.0.1", name)) == ({BLUE.name}, BY_NAME)
    assert known(theirs(name, "https://10.0.0.1", "y")) == ({BLUE.name}, BY_NAME)


@pytest.mark.parametrize("name", ["blue", "in-cluster", "global.blue", "gke_demo-apps_blue", f"blue.global.{NUMBER}1"])
def test_short_and_other_names_are_not_recognised(name: str) -> None:
    assert known(theirs(name, "https://kubernetes.default.svc")) == (set(), "")


@pytest.mark.parametrize(
    ("secret", "writer"),
    [
        (
            theirs("fleet-cluster-inventory.blue-global", "https://a.example", annotations={PROFILE_SYNCER: "true"}),
            "argocd-clusterprofile-syncer",
        ),
        (
            theirs(
                "cluster-blue-global", "https://a.example", "blue-global", labels={PROFILE_ORIGIN: "argocd-blue-global"}
            ),
            "ClusterProfile controller",
        ),
    ],
)
def test_secrets_of_cluster_profiles_are_recognised_by_their_marks(secret: ClusterSecret, writer: str) -> None:
    assert known(secret) == ({BLUE.name}, BY_NAME)
    unmarked = replace(secret, labels={}, annotations={})
    assert known(unmarked) == (set(), "")
    text, command = remedy(secret, Recognition(frozenset({BLUE.name}), BY_NAME), SETTINGS)
    assert writer in text
    assert "SECRETS=external" in text
    assert command == ADOPT


@pytest.mark.parametrize(
    "server", ["https://34.90.1.3", f"{GATEWAY}/v1/projects/{NUMBER}/locations/us-east1/gkeMemberships/green"]
)
def test_annotation_of_a_person_beats_server_and_name(server: str) -> None:
    notes = {cluster_secret.CLUSTER: str(BLUE.name)}
    assert known(theirs("gke_demo-fleet_us-east1_green", server, annotations=notes)) == ({BLUE.name}, BY_ANNOTATION)


def test_invalid_annotation_leaves_the_other_evidence() -> None:
    notes = {cluster_secret.CLUSTER: "blue"}
    assert known(theirs("x", "https://34.90.1.2", annotations=notes)) == ({BLUE.name}, BY_ADDRESS)
    secret = theirs("x", "https://10.0.0.1", annotations=notes)
    found = recognise(secret, index((HERE,), (), SETTINGS, (secret,)))
    assert not found.names
    assert "annotation" in found.problem


def test_gateway_url_beats_a_name() -> None:
    server = f"{GATEWAY}/v1/projects/{NUMBER}/locations/us-east1/gkeMemberships/green"
    assert known(theirs("gke_demo-apps_europe-west1_blue", server)) == ({GREEN.name}, BY_SERVER)


def test_name_and_public_address_of_two_clusters_are_ambiguous() -> None:
    named = theirs("gke_demo-apps_europe-west1_blue", "https://34.90.1.3")
    assert known(named)[0] == {BLUE.name, GREEN.name}
    found = recognise(named, index((HERE, GREEN), (), SETTINGS, (named,)))
    assert f"{cluster_secret.CLUSTER}=" in remedy(named, found, SETTINGS)[1]


def test_private_address_of_two_networks_is_decided_by_the_name() -> None:
    assert known(theirs("x", "https://172.16.0.2"))[0] == {BLUE.name, GREEN.name}
    assert known(theirs("gke_demo-apps_europe-west1_blue", "https://172.16.0.2"))[0] == {BLUE.name}
    assert known(theirs("gke_other-team_europe-west1_red", "https://172.16.0.2"), clusters=(HERE,))[0] == {
        ClusterName("other-team", "europe-west1", "red")
    }


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ("https://connectgateway.googleapis.com/v1/projects/77/locations/global/memberships/blue", "not of our fleet"),
        ("https://connectgateway.googleapis.com/v1/projects/other/locations/global/memberships/blue", "fleet of other"),
        (f"{GATEWAY}/v1/projects/{NUMBER}/clusters/blue", "of no membership"),
        ("https://kubernetes.default.svc", "no cluster or membership"),
    ],
)
def test_server_of_no_cluster_of_ours_says_why(server: str, why: str) -> None:
    secret = theirs("x", server)
    assert why in recognise(secret, index((HERE,), (MEMBER,), SETTINGS, (secret,))).problem


def test_gateway_url_of_an_unlisted_membership_names_that_membership() -> None:
    server = f"{GATEWAY}/v1/projects/{NUMBER}/locations/global/gkeMemberships/gone"
    assert known(theirs("x", server)) == ({MembershipName("demo-fleet", "global", "gone")}, BY_SERVER)
    assert known(theirs("gke_demo-apps_europe-west1_blue", server)) == ({BLUE.name}, BY_NAME)


@pytest.mark.parametrize(
    "host",
    [
        "connectgateway.googleapis.com.example.com",
        "example.com/https://connectgateway.googleapis.com",
        "xconnectgateway.googleapis.com",
        "connectgateway.p.googleapis.com",
        "connectgateway.googleapis.com:8443",
        "connectgateway.googleapis.com@example.com",
    ],
)
def test_host_that_only_looks_like_the_gateways_is_not_recognised(host: str) -> None:
    server = f"https://{host}/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue"
    assert known(theirs("x", server)) == (set(), "")


@pytest.mark.parametrize(
    ("mark", "who"),
    [
        (PROFILE_ORIGIN, "Argo CD's ClusterProfile controller"),
        (PROFILE_SYNCER, "argocd-clusterprofile-syncer"),
        ("capi-to-argocd/owned", "capi2argo-cluster-operator"),
        (PLUGIN, "fleet-argocd-plugin"),
        ("env", ""),
    ],
)
def test_controllers_that_go_on_writing_are_known_by_their_marks(mark: str, who: str) -> None:
    assert writer(theirs("x", labels={mark: "x"})) == who
    assert writer(theirs("x", annotations={mark: "x"})) == who


def test_annotation_of_a_membership_names_its_cluster() -> None:
    for member, subject in ((MEMBER, BLUE.name), (EDGE, EDGE.name)):
        notes = {cluster_secret.MEMBERSHIP: str(member.name)}
        assert known(theirs("x", "https://10.0.0.1", annotations=notes)) == ({subject}, BY_ANNOTATION)


def test_name_that_this_project_gives_an_attached_cluster_is_recognised() -> None:
    assert known(theirs(EDGE.name.secret_name, "https://10.0.0.1")) == ({EDGE.name}, BY_NAME)


@pytest.mark.parametrize(
    "name",
    ["connectgateway_demo-other_global_blue", "gke_demo-apps_europe-west1_BLUE", "gke_Demo Apps_europe-west1_blue"],
)
def test_name_of_another_fleet_or_of_no_cluster_is_not_recognised(name: str) -> None:
    assert known(theirs("x", "https://10.0.0.1", name)) == (set(), "")


def test_path_outside_of_the_overridden_endpoint_is_no_gateway_url() -> None:
    local = settings(CLOUDSDK_API_ENDPOINT_OVERRIDES_CONNECTGATEWAY="https://127.0.0.1:8443/gateway/")
    path = f"v1/projects/{NUMBER}/locations/global/gkeMemberships/blue"
    for prefix in ("", "other/", "gateway-2/"):
        assert known(theirs("x", f"https://127.0.0.1:8443/{prefix}{path}"), configured=local) == (set(), "")


def test_name_and_dns_address_of_two_clusters_are_ambiguous() -> None:
    dns = replace(GREEN, addresses=frozenset({"gke-9-42.us-east1.gke.goog"}))
    secret = theirs("gke_demo-apps_europe-west1_blue", "https://gke-9-42.us-east1.gke.goog")
    assert known(secret, clusters=(HERE, dns))[0] == {BLUE.name, GREEN.name}


def test_only_a_certain_secret_is_kept_beside_ours() -> None:
    """An ambiguous Secret, or one of ours that is spoilt, accuses nobody."""
    certain = theirs("certain", "https://34.90.1.2")
    ambiguous = theirs("gke_demo-apps_europe-west1_blue", "https://34.90.1.3")
    others = recognised((certain, ambiguous), index((HERE, GREEN), (MEMBER,), SETTINGS, (certain, ambiguous)))
    ours = our_secret()
    spoilt = replace(ours, name="spoilt", annotations={**ours.annotations, cluster_secret.CLUSTER: "blue"})
    nameless = replace(ours, name="nameless", annotations={})
    assert beside(ours, others) == {"certain": ours.name}
    assert beside(spoilt, others) == beside(nameless, others) == {}


def test_owner_that_another_tool_claims_is_named_in_the_remedy() -> None:
    secret = theirs("x", labels={cluster_secret.MANAGED_BY_LABEL: "crossplane"})
    text, command = remedy(secret, Recognition(frozenset({BLUE.name}), BY_NAME), SETTINGS)
    assert "crossplane" in text
    assert command == ADOPT


def test_cluster_profile_is_recognised_by_the_name_of_its_secret_alone() -> None:
    secret = theirs("cluster-blue-global", "https://a.example", "x", labels={PROFILE_ORIGIN: "argocd"})
    assert known(secret) == ({BLUE.name}, BY_NAME)
