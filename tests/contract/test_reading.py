"""What our own plain reads make of an answer is what the official clients make of it: of the same servers, side by side."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.auth.transport.requests import AuthorizedSession
from google.cloud import container_v1, gkehub_v1
from google.oauth2.credentials import Credentials

from shared.clients.fleet import LISTED, Fleet
from shared.clients.gke import Gke
from shared.runtime.services import Services
from shared.values.errors import PermanentError, RetryableError
from shared.values.inventory import Listed
from shared.values.model import Cluster, Membership
from shared.values.names import ClusterName, MembershipName
from tests.contract.google_cloud import APPS, FLEET, FLEET_NUMBER, Cloud, served
from tests.unit.given import settings
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBERS = {FLEET_NUMBER: FLEET}
REGION = "europe-west1"
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as running:
        yield running


@pytest.fixture
def fleet(cloud: Cloud) -> Fleet:
    return Fleet(_session(cloud), cloud.url("gkehub"), NUMBERS)


@pytest.fixture
def gke(cloud: Cloud) -> Gke:
    return Gke(_session(cloud), cloud.url("container"), NUMBERS)


def _session(cloud: Cloud) -> AuthorizedSession:
    return AuthorizedSession(Credentials(token=cloud.token))


def a_cluster(cloud: Cloud, name: str, location: str = REGION, project: str = FLEET, **fields: Any) -> ClusterName:
    cloud.do(cloud.gke.create, project, location, {"name": name} | fields)
    made = ClusterName(project, location, name)
    until(lambda: cloud.gke.clusters[str(made)]["status"] == "RUNNING")
    return made


def as_the_client_reads(found: gkehub_v1.Membership) -> Membership:
    link = found.endpoint.gke_cluster.resource_link
    return Membership(
        MembershipName.parse(found.name, NUMBERS),
        found.unique_id,
        found.state.code.name,
        dict(found.labels),
        ClusterName.parse(link, NUMBERS) if link else None,
        found.last_connection_time or None,
        found.endpoint.kubernetes_metadata.kubernetes_api_server_version,
        created=found.create_time or None,
    )


def still(membership: Membership) -> Membership:
    """An agent that is connected was heard of just now, at every look."""
    heard = membership.last_connection
    now = datetime.now(UTC)
    return replace(membership, last_connection=NOW) if heard and now - heard < timedelta(minutes=10) else membership


def test_memberships_are_read_as_the_official_client_reads_them(cloud: Cloud, fleet: Fleet) -> None:
    blue = a_cluster(cloud, "blue", resourceLabels={"env": "prod"})
    cluster = Cluster(blue, "4711" * 16, "RUNNING")
    made = fleet.create(blue.membership(FLEET), cluster)
    a_cluster(cloud, "lab", fleet={"project": FLEET})
    cloud.do(cloud.fleet.attach, "edge", "global", {"größe": "s"}, project=FLEET)
    cloud.do(cloud.fleet.attach, "lost", "us-central1", {}, project=FLEET)
    cloud.do(cloud.fleet.disconnect, f"projects/{FLEET}/locations/us-central1/memberships/lost", state="UPDATING")
    theirs = [
        as_the_client_reads(one) for one in cloud.memberships().list_memberships(parent=f"projects/{FLEET}/locations/-")
    ]
    listed = fleet.list(FLEET)
    ours, left_out = listed.items, listed.missing
    assert ({one.name: still(one) for one in ours}, left_out) == ({one.name: still(one) for one in theirs}, frozenset())
    assert [still(found) for one in theirs if (found := fleet.membership(one.name))] == [still(one) for one in theirs]
    assert len(theirs) == 4
    assert sum(one.last_connection is not None for one in ours) == 2
    assert made in theirs
    assert made.cluster_id == cluster.id_label


def test_clusters_are_read_as_the_official_client_reads_them(cloud: Cloud, gke: Gke) -> None:
    a_cluster(cloud, "blue", resourceLabels={"env": "prod", "größe": "s"})
    a_cluster(cloud, "zonal", f"{REGION}-b")
    a_cluster(cloud, "lab", autopilot={"enabled": True}, fleet={"project": FLEET})
    answer = cloud.clusters().list_clusters(parent=f"projects/{FLEET}/locations/-")
    theirs = [
        Cluster(
            ClusterName(FLEET, one.location, one.name),
            one.id,
            container_v1.Cluster.Status(one.status).name,
            dict(one.resource_labels),
            one.fleet.project,
            MembershipName.parse(one.fleet.membership, NUMBERS) if one.fleet.membership else None,
            one.autopilot.enabled,
            (one.endpoint,) if one.endpoint else (),
            one.current_master_version,
            container_v1.ReleaseChannel.Channel(one.release_channel.channel).name,
            one.network_config.network,
            one.network_config.subnetwork,
            one.workload_identity_config.workload_pool,
            one.endpoint,
            created=datetime.fromisoformat(one.create_time),
        )
        for one in answer.clusters
    ]
    assert len(theirs) == 3
    assert {(one.version != "", one.channel, one.network) for one in theirs} == {
        (True, "REGULAR", f"projects/{FLEET}/global/networks/default")
    }
    assert gke.list(FLEET) == Listed(tuple(theirs))
    assert [gke.cluster(one.name) for one in theirs] == theirs
    assert gke.list(APPS) == Listed()


def test_a_missing_object_is_in_no_list_and_a_hidden_one_proves_nothing(cloud: Cloud, fleet: Fleet) -> None:
    never = MembershipName(FLEET, REGION, "never")
    assert (fleet.membership(never), fleet.in_list(never)) == (None, False)
    cloud.do(cloud.fleet.attach, "edge", REGION, {}, project=FLEET)
    assert fleet.in_list(MembershipName(FLEET, REGION, "edge"))
    cloud.fleet.unreachable = {REGION}
    with pytest.raises(RetryableError, match="is not known"):
        fleet.in_list(never)
    assert fleet.list(FLEET).missing == {REGION}


def test_a_list_of_several_pages_is_read_to_its_end(
    cloud: Cloud, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"edge-{number}" for number in range(7)]
    for name in names:
        cloud.do(cloud.fleet.attach, name, "global", {}, project=FLEET)
    monkeypatch.setitem(LISTED, "pageSize", "3")
    assert sorted(one.name.membership for one in fleet.list(FLEET).items) == names


def test_a_refusal_has_its_code_and_is_no_answer(cloud: Cloud, fleet: Fleet, gke: Gke) -> None:
    cloud.iam.owners.clear()
    for read in (
        lambda: fleet.list(FLEET),
        lambda: gke.list(FLEET),
        lambda: fleet.membership(MembershipName(FLEET, REGION, "m")),
    ):
        with pytest.raises(RetryableError, match="403 PERMISSION_DENIED"):
            read()


def test_a_name_that_the_api_cannot_take_is_permanent(cloud: Cloud, fleet: Fleet) -> None:
    blue = a_cluster(cloud, "blue")
    with pytest.raises(PermanentError, match="400 INVALID_ARGUMENT"):
        fleet.create(MembershipName(FLEET, REGION, "Not-An-Id"), Cluster(blue, "1" * 64, "RUNNING"))


def test_a_netrc_does_not_replace_the_identity(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    services = Services(settings(CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER=f"{cloud.url('container')}/"))
    services.credentials = Credentials(token=cloud.token)
    assert services.gke.list(FLEET) == Listed()
