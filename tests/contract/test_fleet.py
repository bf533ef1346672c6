"""The fleet API, driven by the official client library, next to the GKE API whose clusters it registers."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud import container_v1, gkehub_v1
from google.events.cloud.gkehub_v1 import MembershipEventData

from tests.contract.google_cloud import FLEET, FLEET_NUMBER, HOME, Cloud, served
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.api_core.operation import Operation

BLUE = f"{HOME}/clusters/blue"
LINK = f"//container.googleapis.com/{BLUE}"
ISSUER = f"https://container.googleapis.com/v1/{BLUE}"
MEMBER = f"{HOME}/memberships/blue"
State = gkehub_v1.MembershipState.Code


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as running:
        yield running


def create_cluster(cloud: Cloud, location: str = "europe-west1", **fields: Any) -> None:
    operation = cloud.do(cloud.gke.create, FLEET, location, {"name": "blue"} | fields)
    name = f"projects/{FLEET}/locations/{location}/operations/{operation['name']}"
    until(lambda: cloud.do(lambda: cloud.gke.operations[name]["status"]) == "DONE")


def register(cloud: Cloud, id_: str = "blue", parent: str = HOME, *, request_id: str = "", **fields: Any) -> Operation:
    endpoint = gkehub_v1.MembershipEndpoint(gke_cluster=gkehub_v1.GkeCluster(resource_link=fields.pop("link", LINK)))
    request = gkehub_v1.CreateMembershipRequest(
        parent=parent,
        membership_id=id_,
        resource=gkehub_v1.Membership(endpoint=endpoint, **fields),
        request_id=request_id,
    )
    return cloud.memberships().create_membership(request)


def fleet_of(cloud: Cloud, name: str = BLUE) -> container_v1.Fleet:
    return cloud.clusters().get_cluster(name=name).fleet


def test_a_cluster_is_registered_and_both_sides_say_so(cloud: Cloud) -> None:
    create_cluster(cloud)
    labels = {"managed-by": "fleet-registrar"}
    made = register(cloud, labels=labels).result(timeout=60)
    assert (made.name, made.state.code, dict(made.labels)) == (MEMBER, State.READY, labels)
    assert made.unique_id
    found = cloud.memberships().get_membership(name=MEMBER)
    assert found.endpoint.gke_cluster.resource_link == LINK
    assert found.endpoint.kubernetes_metadata.kubernetes_api_server_version
    assert not found.endpoint.google_managed
    fleet = fleet_of(cloud)
    assert (fleet.project, fleet.pre_registered) == (FLEET_NUMBER, True)
    assert fleet.membership == f"//gkehub.googleapis.com/{MEMBER.replace(FLEET, FLEET_NUMBER)}"
    assert cloud.events[-1][0] == "created"


def test_registering_takes_time(cloud: Cloud) -> None:
    create_cluster(cloud)
    cloud.fleet.operation_seconds = 600
    operation = register(cloud)
    assert cloud.memberships().get_membership(name=MEMBER).state.code == State.CREATING
    assert not fleet_of(cloud).membership
    assert cloud.events == []
    cloud.do(cloud.fleet.finish)
    assert operation.result(timeout=60).state.code == State.READY


def test_the_operation_refuses_a_registered_cluster(cloud: Cloud) -> None:
    create_cluster(cloud)
    register(cloud).result(timeout=60)
    operation = register(cloud, "another")
    with pytest.raises(exceptions.AlreadyExists, match=f"already registered with resource //gkehub.*{MEMBER}"):
        operation.result(timeout=60)
    assert list(cloud.fleet.memberships) == [MEMBER]


def test_a_taken_id_is_refused_at_once(cloud: Cloud) -> None:
    create_cluster(cloud)
    register(cloud).result(timeout=60)
    with pytest.raises(exceptions.Conflict):
        register(cloud)


def test_a_request_repeated_under_its_id_is_one_request(cloud: Cloud) -> None:
    create_cluster(cloud)
    request_id = str(uuid.uuid4())
    first, second = register(cloud, request_id=request_id), register(cloud, request_id=request_id)
    assert first.operation.name == second.operation.name
    assert second.result(timeout=60).name == MEMBER
    with pytest.raises(exceptions.BadRequest):
        register(cloud, request_id="7")


@pytest.mark.parametrize(
    "link",
    [
        f"//container.googleapis.com/{BLUE.replace('/locations/', '/zones/')}",
        f"https://container.googleapis.com/v1/{BLUE}",
        f"//elsewhere.example/{BLUE}",
        f"//container.googleapis.com/{BLUE}/",
        "",
    ],
)
def test_only_the_exact_resource_link_is_taken(cloud: Cloud, link: str) -> None:
    create_cluster(cloud)
    with pytest.raises(exceptions.BadRequest):
        register(cloud, link=link)
    assert cloud.fleet.memberships == {}


@pytest.mark.parametrize("id_", ["Blue", "-blue", "b" * 64, "b.c"])
def test_an_impossible_id_is_refused(cloud: Cloud, id_: str) -> None:
    create_cluster(cloud)
    with pytest.raises(exceptions.BadRequest):
        register(cloud, id_)


def test_a_zonal_cluster_is_registered_in_its_region(cloud: Cloud) -> None:
    create_cluster(cloud, "europe-west1-b")
    zonal = BLUE.replace("europe-west1", "europe-west1-b")
    with pytest.raises(exceptions.BadRequest):
        register(cloud, parent=f"{HOME}-b", link=f"//container.googleapis.com/{zonal}")
    register(cloud, link=f"//container.googleapis.com/{zonal}").result(timeout=60)
    assert fleet_of(cloud, zonal).membership


def test_the_cluster_must_be_there_and_alive(cloud: Cloud) -> None:
    with pytest.raises(exceptions.NotFound):
        register(cloud)
    create_cluster(cloud)
    for status in ("PROVISIONING", "STOPPING", "ERROR"):
        cloud.do(cloud.gke.set_status, BLUE, status)
        with pytest.raises(exceptions.BadRequest, match=status):
            register(cloud)


def test_an_issuer_must_be_the_clusters_own_and_needs_workload_identity(cloud: Cloud) -> None:
    create_cluster(cloud)
    with pytest.raises(exceptions.BadRequest, match="Workload Identity is not enabled"):
        register(cloud, authority={"issuer": ISSUER})
    with pytest.raises(exceptions.BadRequest, match="issuer"):
        register(cloud, authority={"issuer": ISSUER.replace("locations", "zones")})
    cloud.gke.clusters[BLUE]["workloadIdentityConfig"] = {"workloadPool": f"{FLEET}.svc.id.goog"}
    made = register(cloud, authority={"issuer": ISSUER}).result(timeout=60)
    assert made.authority.workload_identity_pool == f"{FLEET}.svc.id.goog"


def test_a_project_that_the_service_agent_may_not_read_is_refused(cloud: Cloud) -> None:
    create_cluster(cloud)
    cloud.fleet.no_access.add(FLEET)
    with pytest.raises(exceptions.Forbidden, match="does not have access to the GKE cluster project"):
        register(cloud)


def test_unknown_fields_are_refused(cloud: Cloud) -> None:
    headers = {"Authorization": f"Bearer {cloud.token}"}
    url = f"{cloud.url('gkehub')}/v1/{HOME}/memberships?membershipId=blue"
    answer = requests.post(url, json={"endpoint": {"gkeCluster": {}, "bogus": {}}}, headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "Unknown name \"bogus\" at 'resource.endpoint'" in answer.json()["error"]["message"]


def test_a_deleted_membership_is_gone_on_both_sides(cloud: Cloud) -> None:
    create_cluster(cloud)
    register(cloud).result(timeout=60)
    cloud.fleet.operation_seconds = 600
    client = cloud.memberships()
    deleting = client.delete_membership(name=MEMBER)
    assert client.get_membership(name=MEMBER).state.code == State.DELETING
    cloud.do(cloud.fleet.finish)
    deleting.result(timeout=60)
    for call in (client.get_membership, client.delete_membership):
        with pytest.raises(exceptions.NotFound):
            call(name=MEMBER)
    assert not fleet_of(cloud).membership
    assert cloud.events[-1][0] == "deleted"


def test_a_cluster_may_name_a_membership_that_is_gone_for_a_while(cloud: Cloud) -> None:
    create_cluster(cloud)
    register(cloud).result(timeout=60)
    cloud.fleet.clear_seconds = 600
    cloud.memberships().delete_membership(name=MEMBER).result(timeout=60)
    assert fleet_of(cloud).membership
    cloud.do(cloud.fleet.finish)
    until(lambda: not fleet_of(cloud).membership)


def test_a_membership_with_bindings_is_deleted_only_by_force(cloud: Cloud) -> None:
    create_cluster(cloud)
    register(cloud).result(timeout=60)
    client = cloud.memberships()
    binding = gkehub_v1.MembershipBinding(scope=f"projects/{FLEET}/locations/global/scopes/team")
    client.create_membership_binding(parent=MEMBER, membership_binding=binding, membership_binding_id="team").result(
        timeout=60
    )
    assert [b.name for b in client.list_membership_bindings(parent=MEMBER)] == [f"{MEMBER}/bindings/team"]
    with pytest.raises(exceptions.BadRequest, match="nested"):
        client.delete_membership(name=MEMBER)
    client.delete_membership(gkehub_v1.DeleteMembershipRequest(name=MEMBER, force=True)).result(timeout=60)
    assert cloud.fleet.memberships == {}


def test_an_operation_may_fail(cloud: Cloud) -> None:
    create_cluster(cloud)
    cloud.fleet.fail_next("create", code=14, message="try again")
    with pytest.raises(exceptions.ServiceUnavailable, match="try again"):
        register(cloud).result(timeout=60)
    assert cloud.fleet.memberships == {}
    register(cloud).result(timeout=60)
    cloud.fleet.fail_next("delete")
    with pytest.raises(exceptions.InternalServerError):
        cloud.memberships().delete_membership(name=MEMBER).result(timeout=60)
    assert cloud.memberships().get_membership(name=MEMBER).state.code == State.READY


def test_a_patch_replaces_what_its_mask_names(cloud: Cloud) -> None:
    create_cluster(cloud)
    register(cloud, labels={"a": "1", "b": "2"}).result(timeout=60)
    client = cloud.memberships()
    new = gkehub_v1.Membership(labels={"b": "3"}, description="changed")
    client.update_membership(name=MEMBER, resource=new, update_mask="labels").result(timeout=60)
    found = client.get_membership(name=MEMBER)
    assert (dict(found.labels), found.description) == ({"b": "3"}, "")
    assert cloud.events[-1][0] == "updated"
    for mask in ("", "endpoint", "endpoint.gkeCluster"):
        with pytest.raises(exceptions.BadRequest):
            client.update_membership(name=MEMBER, resource=new, update_mask=mask)


def test_a_list_filters_pages_and_says_what_it_could_not_reach(cloud: Cloud) -> None:
    create_cluster(cloud)
    register(cloud, labels={"env": "prod"}).result(timeout=60)
    for name in ("hall", "yard"):
        cloud.do(cloud.fleet.attach, name, "us-east1", {"env": "dev"}, project=FLEET)
    client = cloud.memberships()
    parent = f"projects/{FLEET}/locations/-"

    def names(**fields: Any) -> list[str]:
        found = client.list_memberships(gkehub_v1.ListMembershipsRequest(parent=parent, **fields))
        return [membership.name.rpartition("/")[2] for membership in found]

    assert names() == ["blue", "hall", "yard"]
    assert names(page_size=1) == ["blue", "hall", "yard"]
    assert names(filter="labels.env = dev") == ["hall", "yard"]
    assert names(filter="labels.env = dev AND name : y*") == ["yard"]
    assert names(filter="state = READY AND NOT labels.env:dev") == ["blue"]
    assert names(filter=f'endpoint.gkeCluster.resourceLink="{LINK}"') == ["blue"]
    with pytest.raises(exceptions.BadRequest):
        names(filter="what is this")
    cloud.fleet.unreachable = {"us-east1"}
    answer = client.list_memberships(parent=parent)
    assert ([m.name for m in answer.resources], list(answer.unreachable)) == ([MEMBER], ["us-east1"])
    assert not client.list_memberships(parent=HOME).unreachable


def test_a_cluster_made_for_a_fleet_is_registered_by_gke(cloud: Cloud) -> None:
    create_cluster(cloud, fleet={"project": FLEET}, autopilot={"enabled": True})
    found = cloud.memberships().get_membership(name=MEMBER)
    assert (found.endpoint.google_managed, found.state.code, found.authority.issuer) == (True, State.READY, ISSUER)
    fleet = fleet_of(cloud)
    assert (fleet.project, fleet.pre_registered, fleet.membership.rpartition("/")[2]) == (FLEET_NUMBER, False, "blue")
    with pytest.raises(exceptions.BadRequest, match="managed by GKE"):
        cloud.memberships().delete_membership(name=MEMBER)


def test_gke_takes_another_id_where_its_own_is_taken(cloud: Cloud) -> None:
    cloud.do(cloud.fleet.attach, "blue", "europe-west1", project=FLEET)
    create_cluster(cloud, fleet={"project": FLEET})
    assert fleet_of(cloud).membership.rpartition("/")[2].startswith("blue-")


def test_a_cluster_enters_and_leaves_a_fleet_by_an_update(cloud: Cloud) -> None:
    create_cluster(cloud)

    def update(project: str) -> None:
        cloud.clusters().update_cluster({"name": BLUE, "update": {"desired_fleet": {"project": project}}})
        until(lambda: cloud.gke.clusters[BLUE]["status"] == "RUNNING")

    update(FLEET)
    until(lambda: MEMBER in cloud.fleet.memberships)
    assert fleet_of(cloud).membership
    update("")
    until(lambda: MEMBER not in cloud.fleet.memberships)
    assert not fleet_of(cloud).membership


@pytest.mark.parametrize("managed", [True, False])
def test_a_membership_outlives_its_cluster_unless_gke_made_it(cloud: Cloud, managed: bool) -> None:
    create_cluster(cloud, fleet={"project": FLEET if managed else ""})
    if not managed:
        register(cloud).result(timeout=60)
    cloud.do(cloud.gke.delete, BLUE)
    until(lambda: not cloud.do(lambda: list(cloud.gke.clusters)))
    if managed:
        assert cloud.fleet.memberships == {}
    else:
        assert cloud.memberships().get_membership(name=MEMBER).endpoint.gke_cluster.cluster_missing
        cloud.memberships().delete_membership(name=MEMBER).result(timeout=60)


def test_an_attached_cluster_comes_and_goes_and_loses_its_agent(cloud: Cloud) -> None:
    name = f"projects/{FLEET}/locations/global/memberships/hall"
    cloud.do(cloud.fleet.attach, "hall", "global", {"env": "prod"}, project=FLEET)
    client = cloud.memberships()
    found = client.get_membership(name=name)
    assert (found.state.code, dict(found.labels)) == (State.READY, {"env": "prod"})
    assert not found.endpoint.gke_cluster
    assert cloud.fleet.connected(name)
    cloud.do(cloud.fleet.disconnect, name, ago=3600)
    lost = client.get_membership(name=name).last_connection_time
    assert (found.last_connection_time - lost).total_seconds() > 3000
    assert not cloud.fleet.connected(name)
    cloud.do(cloud.fleet.reconnect, name)
    assert client.get_membership(name=name).last_connection_time >= found.last_connection_time
    cloud.do(cloud.fleet.detach, name)
    with pytest.raises(exceptions.NotFound):
        client.get_membership(name=name)
    assert [kind for kind, _ in cloud.events] == ["created", "updated", "updated", "deleted"]


def test_events_carry_what_the_events_library_reads(cloud: Cloud) -> None:
    create_cluster(cloud, workloadIdentityConfig={"workloadPool": "x"})
    register(cloud, labels={"a": "b"}, authority={"issuer": ISSUER}).result(timeout=60)
    cloud.do(cloud.fleet.refresh, MEMBER)
    cloud.do(cloud.fleet.attach, "hall", project=FLEET)
    for _, membership in cloud.events:
        data = MembershipEventData.from_json(json.dumps({"payload": membership}), ignore_unknown_fields=False)
        assert data.payload.name == membership["name"]


def test_each_call_needs_its_permission(cloud: Cloud) -> None:
    create_cluster(cloud)
    register(cloud).result(timeout=60)
    client = cloud.memberships(cloud.iam.token_for("reader@example.com"))
    with pytest.raises(exceptions.Forbidden):
        client.get_membership(name=MEMBER)
    cloud.iam.grant("reader@example.com", FLEET, "gkehub.memberships.get")
    assert client.get_membership(name=MEMBER.replace(FLEET, FLEET_NUMBER)).name == MEMBER
    with pytest.raises(exceptions.Forbidden):
        client.delete_membership(name=MEMBER)
    with pytest.raises(exceptions.Forbidden):
        client.list_memberships(parent=HOME)


def test_of_two_registrations_of_one_cluster_at_a_time_one_wins(cloud: Cloud) -> None:
    create_cluster(cloud)
    cloud.fleet.operation_seconds = 600
    first, second = register(cloud), register(cloud, "another")
    cloud.do(cloud.fleet.finish)
    assert first.result(timeout=60).state.code == State.READY
    with pytest.raises(exceptions.AlreadyExists):
        second.result(timeout=60)


def test_a_membership_with_an_operation_under_way_takes_no_other(cloud: Cloud) -> None:
    create_cluster(cloud)
    cloud.fleet.operation_seconds = 60
    register(cloud)
    with pytest.raises(exceptions.Conflict):
        cloud.memberships().delete_membership(name=MEMBER)
    cloud.do(cloud.fleet.set_state, MEMBER, "SERVICE_UPDATING")
    assert cloud.memberships().get_membership(name=MEMBER).state.code == State.SERVICE_UPDATING


def test_registering_may_come_back_as_an_update_of_the_cluster(cloud: Cloud) -> None:
    create_cluster(cloud)
    cloud.fleet.updates_cluster = True
    register(cloud).result(timeout=60)
    assert cloud.methods()[-2:] == [("UpdateCluster", "started"), ("UpdateCluster", "finished")]


def test_cluster_that_names_an_earlier_membership_is_refused(cloud: Cloud) -> None:
    create_cluster(cloud)
    register(cloud).result(timeout=60)
    cloud.fleet.clear_seconds = 600
    cloud.memberships().delete_membership(name=MEMBER).result(timeout=60)
    with pytest.raises(exceptions.AlreadyExists, match=MEMBER.replace(FLEET, FLEET_NUMBER)):
        register(cloud, "another").result(timeout=60)
    cloud.do(cloud.fleet.finish)
    until(lambda: not fleet_of(cloud).membership)
    register(cloud, "another").result(timeout=60)
    assert fleet_of(cloud).membership.endswith("/another")
