"""No order of events matters: repeated, late and reordered ones end in what is true."""

from __future__ import annotations

import itertools

from tests.chain.running import APPS, FLEET, REGION, Chain, fresh


def test_five_copies_of_an_event_create_one_of_each_object(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_event_rule("repeat", event=f"CreateCluster.finished */{name}", copies=5)
    cluster = cloud.create_cluster(name)
    cloud.onboarded(cluster)
    cloud.wait_quiet()
    before = cloud.everything()
    assert cloud.membership(cluster)
    assert len([one for one in cloud.secrets() if one["name"].endswith(f".{name}")]) == 1
    cloud.publish("register-membership", {"cluster": cluster})
    cloud.wait_quiet()
    assert cloud.everything() == before
    assert not cloud.dead_letters(cluster)


def test_every_event_of_a_life_five_times_leaves_nothing(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_event_rule("repeat", event=f"* */clusters/{name}", copies=5, times=0)
    cluster = cloud.create_cluster(name)
    cloud.onboarded(cluster)
    cloud.set_labels(cluster, {"env": "prod"})
    cloud.wait_for(lambda: cloud.labels(cluster).get("env"))
    cloud.delete_cluster(cluster)
    cloud.offboarded(cluster)
    cloud.wait_quiet()
    assert cloud.secret(cluster) is None
    assert not cloud.dead_letters(cluster)


def test_deletion_event_before_the_creation_leaves_nothing(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_event_rule("hold", event=f"* */clusters/{name}", times=0)
    cluster = cloud.create_cluster(name)
    cloud.running(cluster)
    cloud.delete_cluster(cluster)
    cloud.gone(cluster)
    cloud.wait_for(lambda: len(cloud.do("eventarc", "held")) == 4)
    cloud.release([3, 2, 1, 0])
    cloud.wait_for(lambda: not cloud.do("eventarc", "waiting"))
    cloud.wait_quiet()
    assert cloud.secret(cluster) is None
    assert not cloud.membership(cluster)


def test_create_delete_create_in_any_order_ends_in_the_last(cloud: Chain) -> None:
    """Two clusters for each order: one that was onboarded before its deletion, one that nobody had heard of."""
    orders = list(itertools.permutations(range(4)))
    names = {fresh("blue"): order for order in orders}
    known = {name for place, name in enumerate(names) if place % 2}
    full = {name: f"projects/{FLEET}/locations/{REGION}/clusters/{name}" for name in names}
    for name in set(names) - known:
        cloud.add_event_rule("hold", event=f"* */{name}", times=0)
    for name in names:
        cloud.create_cluster(name)
    cloud.running(*full.values())
    cloud.onboarded(*(full[name] for name in known))
    cloud.add_event_rule("hold", times=0)
    for cluster in full.values():
        cloud.delete_cluster(cluster, seconds=0)
    cloud.gone(*full.values())
    for name in names:
        cloud.create_cluster(name)
    cloud.running(*full.values())
    held: list[str] = cloud.do("eventarc", "held")
    cloud.remove_event_rules()
    places: list[int] = []
    for name, order in names.items():
        mine = [place for place, one in enumerate(held) if one.endswith(f"/{name}") and ".started" not in one]
        mine += [place for place, one in enumerate(held) if one == f"DeleteCluster.started {full[name]}"]
        places += [mine[place] for place in order if place < len(mine)]
    cloud.release(places)
    cloud.onboarded(*full.values())
    cloud.wait_quiet()
    state = cloud.state()
    for cluster in full.values():
        notes = cloud.manifest(cluster)["metadata"]["annotations"]
        id_, membership = state["clusters"][cluster]["id"], cloud.membership(cluster)
        assert notes["fleet-registrar/cluster-id"] == id_
        assert notes["fleet-registrar/membership-uid"] == state["memberships"][membership]["uniqueId"]
        assert state["memberships"][membership]["labels"]["fleet-registrar-cluster-id"] == id_[:40]
        assert cloud.binding(cluster)


def test_re_creation_during_a_removal_ends_complete(cloud: Chain) -> None:
    """The new cluster comes in at each write of its predecessor's removal."""
    moments = {
        "remove-secret": ("DELETE */secrets/{secret}", "remove-secret@*"),
        "unregister-membership": ("DELETE */memberships/{membership}", "unregister-membership@*"),
        "proof": ("GET */clusters/{name}", "unregister-membership@*"),
    }
    clusters = {cloud.create_cluster(fresh("blue")): moment for moment in moments}
    cloud.onboarded(*clusters)
    cloud.wait_quiet()
    faults = []
    for cluster, moment in clusters.items():
        call, caller = moments[moment]
        names = {
            "name": cluster.rpartition("/")[2],
            "secret": cloud.manifest(cluster)["metadata"]["name"],
            "membership": cloud.membership(cluster).rpartition("/")[2],
        }
        faults.append(cloud.add_fault("slow", call=call.format(**names), caller=caller))
    uids = {cluster: cloud.manifest(cluster)["metadata"]["uid"] for cluster in clusters}
    for cluster in clusters:
        cloud.delete_cluster(cluster, seconds=0)
    cloud.wait_met(*faults)
    for cluster in clusters:
        cloud.create_cluster(cluster.rpartition("/")[2])
    cloud.running(*clusters)
    for fault in faults:
        cloud.remove_faults(fault["id"])

    def is_recreated() -> bool:
        state = cloud.state()
        secrets = {one["annotations"].get("fleet-registrar/cluster"): one for one in state["secrets"]}
        return all(
            cluster in secrets
            and secrets[cluster]["annotations"]["fleet-registrar/cluster-id"] == state["clusters"][cluster]["id"]
            and "fleet-registrar/held" not in secrets[cluster]["annotations"]
            for cluster in clusters
        )

    cloud.wait_for(is_recreated, what="the new clusters' Secrets")
    cloud.wait_quiet()
    assert is_recreated()
    state = cloud.state()
    for cluster in clusters:
        labels = state["memberships"][cloud.membership(cluster)]["labels"]
        assert labels["fleet-registrar-cluster-id"] == state["clusters"][cluster]["id"][:40]
        assert cloud.admits(cloud.membership(cluster))
    assert uids


def test_late_deletion_of_an_earlier_cluster_changes_nothing(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_event_rule("hold", event=f"DeleteCluster.* */{name}", times=0)
    cluster = cloud.create_cluster(name)
    cloud.onboarded(cluster)
    uid = cloud.manifest(cluster)["metadata"]["uid"]
    cloud.delete_cluster(cluster, seconds=0)
    cloud.gone(cluster)
    cloud.create_cluster(name)
    cloud.wait_for(
        lambda: (
            cloud.manifest(cluster)["metadata"]["annotations"]["fleet-registrar/cluster-id"]
            == cloud.state()["clusters"][cluster]["id"]
        )
    )
    cloud.wait_quiet()
    before = cloud.everything()
    cloud.release()
    cloud.logged("remove-secret", cluster, decision="reversed")
    cloud.wait_quiet()
    assert cloud.everything() == before
    assert cloud.manifest(cluster)["metadata"]["uid"] == uid  # in place: no ApplicationSet has seen it go


def test_namesakes_in_other_projects_and_locations_are_distinct(cloud: Chain) -> None:
    name = fresh("twin")
    places = [(REGION, FLEET), (REGION, APPS), ("us-east1", FLEET), (f"{REGION}-b", FLEET)]
    twins = [cloud.create_cluster(name, location, project) for location, project in places]
    cloud.onboarded(*twins)
    manifests = [cloud.manifest(twin) for twin in twins]
    assert len({one["metadata"]["name"] for one in manifests}) == 4
    assert len({one["data"]["server"] for one in manifests}) == 4
    assert len({cloud.membership(twin) for twin in twins}) == 4
    cloud.delete_cluster(twins[3])
    cloud.offboarded(twins[3])
    cloud.wait_quiet()
    assert [cloud.manifest(twin) for twin in twins[:3]] == manifests[:3]
    assert all(cloud.membership(twin) for twin in twins[:3])
