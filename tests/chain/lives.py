"""The whole life of several clusters at once, with one call of each going wrong at each stage: the end state is the same.

`CALLS` lists every outside call of every step. A life without faults shows that it is complete.
"""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from shared.values.messages import STEPS
from tests.chain.running import ARGOCD, BINDINGS, FLEET, REGION, Chain, Json, email, fresh

if TYPE_CHECKING:
    from collections.abc import Iterable

OPTIONS = ("--selector", "argocd=yes", "--hold", "0")
WANTED = {"argocd": "yes"}
APIS = ("container", "gkehub", "connectgateway")

CLUSTER, CLUSTERS, OPERATION = "GET */clusters/{name}", "GET */clusters", "GET */operations/*"
MEMBERSHIP, UNREGISTER = "GET */memberships/{membership}", "DELETE */memberships/{membership}"
BINDING = "*/{membership}/apis/*/clusterrolebindings"
LIST, SECRET = "GET */secrets", "*/secrets/*.{name}"
APPLICATIONS = "GET */applications"
PUBLISHING = "publishing"  # by any function: a publish has no caller


def _publish(*topics: str) -> tuple[str, ...]:
    return tuple(f"POST */topics/{topic}:publish" for topic in topics)


# Stage → calls of each step. Where a step makes the same call twice, `#1` is the second.
CALLS: dict[str, dict[str, tuple[str, ...]]] = {
    "appears": {
        "register-membership": (CLUSTER, "POST */memberships", OPERATION),
        "grant-rbac": (
            CLUSTER,
            MEMBERSHIP,
            f"POST {BINDING}",
            "POST */{membership}/*/subjectaccessreviews",
        ),
        "write-secret": (LIST, CLUSTER, f"{CLUSTER}#1", f"{LIST}#9", "POST */secrets"),
        PUBLISHING: _publish("register-membership", "grant-rbac", "write-secret", "cluster-events"),
    },
    "changes": {
        "write-secret": (LIST, CLUSTER, MEMBERSHIP, f"PATCH {SECRET}"),
        PUBLISHING: _publish("write-secret", "cluster-events"),
    },
    "is set aside": {"remove-secret": (LIST, CLUSTER, f"PATCH {SECRET}"), PUBLISHING: _publish("cluster-events")},
    "leaves": {
        "remove-secret": (LIST, CLUSTER, f"DELETE {SECRET}", APPLICATIONS),
        "revoke-rbac": (LIST, CLUSTER, MEMBERSHIP, f"GET {BINDING}", f"DELETE {BINDING}/*"),
        "unregister-membership": (MEMBERSHIP, CLUSTER),
        PUBLISHING: _publish("cluster-events", "revoke-rbac", "unregister-membership"),
    },
    "comes back": {
        "grant-rbac": (
            CLUSTER,
            MEMBERSHIP,
            f"GET {BINDING}",
            f"POST {BINDING}",
            "POST */{membership}/*/subjectaccessreviews",
        ),
        "write-secret": (LIST, CLUSTER, MEMBERSHIP, "POST */secrets"),
        PUBLISHING: _publish("grant-rbac", "write-secret", "cluster-events"),
    },
    "is going": {"remove-secret": (LIST, CLUSTER, f"PATCH {SECRET}")},
    "is deleted": {
        "remove-secret": (LIST, CLUSTER, CLUSTERS, f"DELETE {SECRET}", APPLICATIONS),
        "unregister-membership": (
            MEMBERSHIP,
            CLUSTER,
            CLUSTERS,
            UNREGISTER,
            f"{MEMBERSHIP}#1",
            OPERATION,
            f"{CLUSTER}#1",
        ),
        PUBLISHING: _publish("remove-secret", "cluster-events", "unregister-membership"),
    },
}
ROLE = "*/{membership}/apis/*/clusterroles"
ATTACHED: dict[str, dict[str, tuple[str, ...]]] = {
    "appears": {
        "register-membership": (MEMBERSHIP,),
        "grant-rbac": (
            MEMBERSHIP,
            f"GET {BINDING}",
            f"POST {BINDING}",
            f"POST {ROLE}",
            f"POST {BINDING}#1",
            "POST */{membership}/*/subjectaccessreviews",
            "POST */{membership}/*/subjectaccessreviews#1",
        ),
        "write-secret": (LIST, MEMBERSHIP, f"{MEMBERSHIP}#1", f"{LIST}#9", "POST */secrets"),
    },
    "is set aside": {"remove-secret": (LIST, MEMBERSHIP, f"PATCH {SECRET}")},
    "leaves": {
        "remove-secret": (LIST, MEMBERSHIP, f"DELETE {SECRET}", APPLICATIONS),
        "revoke-rbac": (
            LIST,
            MEMBERSHIP,
            f"GET {BINDING}",
            f"DELETE {BINDING}/*",
            f"DELETE {BINDING}/*#1",
            f"GET {ROLE}",
            f"DELETE {ROLE}/*",
        ),
        "unregister-membership": (MEMBERSHIP,),
    },
}
# A cluster that is re-created under its name, and whose deletion event is lost.
RECREATED: dict[str, tuple[str, ...]] = {
    "register-membership": (CLUSTER, MEMBERSHIP, UNREGISTER, "POST */memberships", OPERATION),
    "write-secret": (LIST, CLUSTER, MEMBERSHIP, f"PATCH {SECRET}"),
}

PROOF = "GET */memberships"  # any step may need it, where two deliveries meet at a membership's deletion
FIRST_LOOK = "GET */memberships/central"
AT_ONCE = max(sum(map(len, steps.values())) for steps in CALLS.values())


def lived(cloud: Chain, effect: str, count: int = AT_ONCE, **fault: Any) -> list[str]:
    """Let clusters live; at each stage each one meets another of the stage's calls with this effect. '' is no effect."""
    names = [fresh("life") for _ in range(count)]
    clusters = [f"projects/{FLEET}/locations/{REGION}/clusters/{name}" for name in names]
    added: list[Json] = []

    def stage(what: str) -> None:
        nonlocal added
        calls = [(step, call) for step, several in CALLS[what].items() for call in several] if effect else []
        added = []
        for place, (step, call) in enumerate(calls):
            cluster = clusters[place]
            pattern, _, skip = call.partition("#")
            called = pattern.format(name=names[place], membership=membership_id(cluster))
            added.append(
                cloud.add_fault(
                    effect, call=called, caller="*" if step == PUBLISHING else email(step), skip=int(skip or 0), **fault
                )
            )

    def done() -> None:
        cloud.wait_met(*added)
        cloud.wait_quiet()
        for one in added:
            cloud.remove_faults(one["id"])

    stage("appears")
    for name in names:
        cloud.create_cluster(name, labels=WANTED)
    cloud.onboarded(*clusters)
    done()
    stage("changes")
    for cluster in clusters:
        cloud.set_labels(cluster, WANTED | {"env": "prod"})
    done()
    shown = {one["annotations"].get("fleet-registrar/cluster"): one for one in cloud.secrets()}
    assert {shown[cluster]["labels"].get("env") for cluster in clusters} == {"prod"}
    cloud.forget_reads()
    for cluster in clusters:
        cloud.set_labels(cluster, {})
    cloud.wait_quiet()
    for what, leave in (("is set aside", "hold"), ("leaves", "remove")):
        stage(what)
        for cluster in clusters:
            cloud.publish("remove-secret", cloud.leave(cluster, leave))
        done()
        if leave == "hold":
            assert {cloud.held(cluster) for cluster in clusters} == {"not-wanted"}
    assert not set(clusters) & cloud.listed()
    for cluster in clusters:
        assert cloud.binding(cluster) is None
        assert cloud.membership(cluster)
    cloud.forget_reads()
    stage("comes back")
    for cluster in clusters:
        cloud.set_labels(cluster, WANTED)
    cloud.onboarded(*clusters)
    done()
    assert all(cloud.admits(cloud.membership(cluster)) for cluster in clusters)
    stage("is going")
    for cluster in clusters:
        cloud.set_status(cluster, "STOPPING")
        cloud.publish("remove-secret", {"cluster": cluster})
    done()
    assert {cloud.held(cluster) for cluster in clusters} == {"going"}
    stage("is deleted")
    for cluster in clusters:
        cloud.set_status(cluster, "RUNNING")
        cloud.delete_cluster(cluster, seconds=0)
    cloud.offboarded(*clusters)
    done()
    assert not [letter for cluster in clusters for letter in cloud.dead_letters(cluster)]
    return clusters


def add_faults(
    cloud: Chain, calls: dict[str, tuple[str, ...]], clusters: list[str], effect: str, **fault: Any
) -> list[Json]:
    """Let each cluster meet another of the calls with this effect; '' is no effect."""
    added: list[Json] = []
    if not effect:
        return added
    for cluster, (step, call) in zip(
        clusters, [(step, call) for step, several in calls.items() for call in several], strict=False
    ):
        pattern, _, skip = call.partition("#")
        name = cluster.rpartition("/")[2]
        called = pattern.format(name=name, membership=membership_id(cluster) if "/clusters/" in cluster else name)
        caller = "*" if step == PUBLISHING else email(step)
        added.append(cloud.add_fault(effect, call=called, caller=caller, skip=int(skip or 0), **fault))
    return added


def met(cloud: Chain, added: list[Json]) -> None:
    """Wait until all faults have hit a call, and what came of it is settled."""
    cloud.wait_met(*added)
    cloud.wait_quiet()
    for one in added:
        cloud.remove_faults(one["id"])


def lived_attached(cloud: Chain, effect: str, **fault: Any) -> None:
    """The same for clusters that are not GKE."""
    count = max(sum(map(len, steps.values())) for steps in ATTACHED.values())
    names = [fresh("edge") for _ in range(count)]
    edges = [f"projects/{FLEET}/locations/global/memberships/{name}" for name in names]
    added = add_faults(cloud, ATTACHED["appears"], edges, effect, **fault)
    for name in names:
        cloud.attach(name, labels=WANTED, admit=True)
    cloud.onboarded(*edges)
    met(cloud, added)
    assert all(cloud.admits(edge) for edge in edges)
    for edge in edges:
        cloud.do("fleet", "patch", name=edge, asked={"labels": {}}, paths=["labels"])
    cloud.wait_quiet()
    for what, leave in (("is set aside", "hold"), ("leaves", "remove")):
        added = add_faults(cloud, ATTACHED[what], edges, effect, **fault)
        for edge in edges:
            cloud.publish("remove-secret", cloud.leave(edge, leave))
        met(cloud, added)
    ours = {f"fleet-registrar:{ARGOCD}", f"fleet-registrar:impersonate:{ARGOCD}"}
    for edge in edges:
        assert cloud.secret(edge) is None
        for path in (BINDINGS, BINDINGS.replace("bindings", "s")):
            _, found = cloud.kubernetes(edge, "GET", path)
            assert not ours & {one["metadata"]["name"] for one in found["items"]}
    assert not [letter for edge in edges for letter in cloud.dead_letters(edge)]


def recreated(cloud: Chain, effect: str, **fault: Any) -> None:
    """Clusters are re-created under their names, and their deletion events are lost."""
    names = [fresh("again") for _ in range(sum(map(len, RECREATED.values())))]
    clusters = [cloud.create_cluster(name, labels=WANTED) for name in names]
    cloud.onboarded(*clusters)
    cloud.wait_quiet()
    cloud.add_event_rule("lose", event="DeleteCluster.* */clusters/again-*", times=0)
    for cluster in clusters:
        cloud.delete_cluster(cluster, seconds=0)
    cloud.gone(*clusters)
    added = add_faults(cloud, RECREATED, clusters, effect, **fault)
    for name in names:
        cloud.create_cluster(name, labels=WANTED)
    met(cloud, added)
    state = cloud.state()
    secrets = {one["annotations"].get("fleet-registrar/cluster"): one["annotations"] for one in state["secrets"]}
    for cluster in clusters:
        id_, membership = state["clusters"][cluster]["id"], cloud.membership(cluster)
        assert secrets[cluster]["fleet-registrar/cluster-id"] == id_
        assert secrets[cluster]["fleet-registrar/membership-uid"] == state["memberships"][membership]["uniqueId"]
        assert state["memberships"][membership]["labels"]["fleet-registrar-cluster-id"] == id_[:40]
        assert cloud.admits(membership)
    assert not [letter for cluster in clusters for letter in cloud.dead_letters(cluster)]


def membership_id(cluster: str) -> str:
    """The id of the membership that the functions would make, by the rule of docs/objects.md#membership."""
    return f"{cluster.rpartition('/')[2]}-{hashlib.sha256(cluster.encode()).hexdigest()[:8]}"


def unknown(calls: Iterable[Json]) -> set[str]:
    """The calls of the steps that are listed nowhere here."""
    stages = [*CALLS.values(), *ATTACHED.values(), RECREATED]
    known = {step: {call for stage in stages for call in stage.get(step, ())} for step in STEPS}
    patterns = {
        step: [call.partition("#")[0].format(name="*", membership="*") for call in several] + [FIRST_LOOK, PROOF]
        for step, several in known.items()
    }
    return {
        f"{step} {call['method']} {call['path']}"
        for call in calls
        if call["api"] in APIS and (step := call["caller"].partition("@")[0]) in patterns
        if not any(fnmatchcase(f"{call['method']} {call['path']}", pattern) for pattern in patterns[step])
    }
