"""Names of clusters and memberships, and what is derived from them (docs/architecture.md#messages)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.values.names import ClusterName, InvalidNameError, MembershipName
from tests.unit.given import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable

projects = st.from_regex(r"([a-z]{2,8}\.(com|org):)?[a-z][a-z0-9-]{4,20}[a-z0-9]", fullmatch=True)
locations = st.sampled_from(["europe-west1", "europe-west1-b", "us-central1", "global", "northamerica-northeast2-c"])
clusters = st.builds(
    ClusterName, projects, locations, st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
)
memberships = st.builds(
    MembershipName, projects, locations, st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
)
DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@given(clusters)
def test_a_clusters_name_is_read_as_it_is_written(name: ClusterName) -> None:
    assert ClusterName.parse(str(name)) == name
    assert ClusterName.parse(name.link) == name


@given(memberships)
def test_a_memberships_name_is_read_as_it_is_written(name: MembershipName) -> None:
    assert MembershipName.parse(str(name)) == name
    assert MembershipName.parse(f"//gkehub.googleapis.com/{name}") == name


@given(clusters)
def test_zones_and_locations_are_one(name: ClusterName) -> None:
    zones = ClusterName.parse(str(name).replace("/locations/", "/zones/"))
    assert (zones, zones.hash, str(zones)) == (name, name.hash, str(name))


def test_the_fleets_number_becomes_its_id() -> None:
    assert str(ClusterName.parse("projects/100000000001/locations/l/clusters/c", NUMBERS)) == (
        "projects/demo-fleet/locations/l/clusters/c"
    )
    assert MembershipName.parse("projects/100000000001/locations/l/memberships/m", NUMBERS).project == "demo-fleet"


@pytest.mark.parametrize(
    ("parse", "kind"), [(ClusterName.parse, "clusters"), (MembershipName.parse, "memberships")], ids=str
)
def test_another_number_is_a_fault_that_says_what_to_write(parse: Callable[..., object], kind: str) -> None:
    with pytest.raises(InvalidNameError, match=r"100000000002.*write the project id"):
        parse(f"projects/100000000002/locations/l/{kind}/c", NUMBERS)


@pytest.mark.parametrize(
    "text",
    [
        None,
        17,
        ["projects/p/locations/l/clusters/c"],
        "",
        "blue",
        "projects/p/locations/l/clusters/",
        "projects/p/locations/l/clusters/c/",
        "/projects/p/locations/l/clusters/c",
        "projects/p/locations/l/clusters/c\n",
        "projects/p/locations/l/clusters/Blue",
        "projects/p/locations/l/clusters/1blue",
        "projects/p/locations/l/clusters/blue-",
        "projects/p/locations/l/clusters/" + "b" * 41,
        "projects/p/locations/-/clusters/c",
        "projects/-/locations/l/clusters/c",
        "projects/p/locations/l/clusters/../c",
        "projects/p/locations/l/clusters/c?x=1",
        "projects/p/locations/l/clusters/c/nodePools/n",
        "projects/p/locations/l/memberships/m",
        "//gkehub.googleapis.com/projects/p/locations/l/clusters/c",
        "https://container.googleapis.com/v1/projects/p/locations/l/clusters/c",
        "projects/p/locations/l/clusters/\ud800",
        "projects/p/locations/l/clusters/" + "x" * 10_000_000,
    ],
)
def test_what_is_no_clusters_name_is_a_fault_that_shows_the_form(text: object) -> None:
    with pytest.raises(InvalidNameError, match="projects/PROJECT/locations/LOCATION/clusters/CLUSTER") as caught:
        ClusterName.parse(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    ["projects/p/zones/l/memberships/m", "projects/p/locations/l/memberships/" + "m" * 64, {}, "x/memberships/m"],
)
def test_what_is_no_memberships_name_is_a_fault(text: object) -> None:
    with pytest.raises(InvalidNameError, match="memberships/MEMBERSHIP"):
        MembershipName.parse(text)


@given(clusters, clusters)
def test_what_is_derived_of_two_clusters_differs(one: ClusterName, other: ClusterName) -> None:
    same = one == other
    assert (one.hash == other.hash) is same
    assert (one.membership("demo-fleet") == other.membership("demo-fleet")) is same


@given(clusters)
def test_derived_names_are_valid_where_they_are_used(name: ClusterName) -> None:
    membership = name.membership("demo-fleet")
    assert MembershipName.parse(str(membership)) == membership
    assert re.fullmatch(re.escape(name.cluster) + "-[0-9a-f]{8}", membership.membership)
    assert re.fullmatch("[0-9a-f]{32}", name.hash)
    assert DNS_NAME.fullmatch(name.secret_name)
    assert len(name.secret_name) <= 253


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("europe-west1", "europe-west1"),
        ("europe-west1-b", "europe-west1"),
        ("northamerica-northeast1-a", "northamerica-northeast1"),
        ("us-east5", "us-east5"),
        ("global", "global"),
    ],
)
def test_a_membership_is_made_in_the_clusters_region(location: str, expected: str) -> None:
    assert ClusterName("p", location, "c").membership("f").location == expected


def test_derived_names_never_change() -> None:
    """They are written down in clusters and fleets: another hash would be another cluster."""
    blue = ClusterName("demo-apps", "europe-west1-b", "blue")
    assert blue.hash == "fcf580f6f7c409ae8f9ae250946d0a86"
    assert str(blue.membership("demo-fleet")) == "projects/demo-fleet/locations/europe-west1/memberships/blue-fcf580f6"
    assert blue.secret_name == "demo-apps.europe-west1-b.blue"
    assert ClusterName("example.com:apps", "europe-west1", "blue").secret_name == "example.com-apps.europe-west1.blue"
    assert MembershipName("demo-fleet", "global", "edge").secret_name == "demo-fleet.global.memberships.edge"


@pytest.mark.parametrize(
    ("location", "gke", "override", "expected"),
    [
        (
            "europe-west1",
            True,
            "",
            "https://europe-west1-connectgateway.googleapis.com/v1/projects/123/locations/europe-west1/gkeMemberships/m",
        ),
        ("global", True, "", "https://connectgateway.googleapis.com/v1/projects/123/locations/global/gkeMemberships/m"),
        ("global", False, "", "https://connectgateway.googleapis.com/v1/projects/123/locations/global/memberships/m"),
        (
            "europe-west1",
            False,
            "https://127.0.0.1:8443/",
            "https://127.0.0.1:8443/v1/projects/123/locations/europe-west1/memberships/m",
        ),
    ],
)
def test_the_gateways_url(location: str, gke: bool, override: str, expected: str) -> None:
    assert MembershipName("f", location, "m").gateway_url("123", gke=gke, override=override) == expected


@given(memberships, memberships, st.booleans(), st.booleans())
def test_no_two_memberships_share_a_url(one: MembershipName, other: MembershipName, gke: bool, other_gke: bool) -> None:
    """Argo CD takes two Secrets with one server for one cluster. All members are of one fleet project."""
    url, other_url = one.gateway_url("1", gke=gke), other.gateway_url("1", gke=other_gke)
    same = (one.location, one.membership, gke) == (other.location, other.membership, other_gke)
    assert (url == other_url) is same
    assert not url.endswith("/")
