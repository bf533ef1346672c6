"""What happens to Applications, and to what they deployed, when their cluster's Secret goes (docs/operate.md)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.chain.running import CENTRAL, ROOT, SECRETS, Chain, running
from tests.chain.test_leaving import ask
from tests.chain.test_ops import environment
from tests.real.applications import APPLICATIONS, AT_LAST, applications, commit, name_of, roll_out, short_of, synced
from tests.real.test_argocd import HOLD, leave

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGOCD = "/apis/argoproj.io/v1alpha1/namespaces/argocd"
FINALIZER = "resources-finalizer.argocd.argoproj.io"
# Of an ApplicationSet that deletes or preserves resources, and by hand with and without a finalizer.
KINDS = ("cascading", "preserving", "with-finalizer", "without-finalizer")
BY_HAND = KINDS[2:]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud of real clusters with Argo CD, a project that allows everything, and a folder of manifests for each kind."""
    options = ("--kube", "real", "--argocd", "real", "--selector", "argocd!=no", "--hold", str(HOLD))
    with running(tmp_path_factory.mktemp("left"), *options) as chain:
        anything = {"sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "*"}]}
        created(chain, "appprojects", "AppProject", "left", anything)
        work = chain.directory / "argocd" / "fleet"
        for kind in KINDS:
            folder = work / "infra" / "argocd" / "workloads" / kind
            folder.mkdir()
            limit = {"type": "Pod", "max": {"cpu": "1"}}
            note = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": kind}, "spec": {"limits": [limit]}}
            (folder / "note.yaml").write_text(json.dumps(note))
        subprocess.run(["git", "add", "--all"], cwd=work, check=True)
        commit(chain, f"workloads/{KINDS[0]}/note.yaml", str)
        yield chain


def created(cloud: Chain, plural: str, kind: str, name: str, spec: dict[str, Any], **meta: Any) -> None:
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": {"name": name, **meta}, "spec": spec}
    status, answer = cloud.kubernetes(CENTRAL, "POST", f"{ARGOCD}/{plural}", body)
    assert status == 201, answer


def deployed(cloud: Chain, name: str) -> tuple[str, dict[str, str]]:
    """Onboard a cluster with an Application of each kind; return it, and the names of the Applications by kind."""
    cluster = cloud.onboard(name)
    short, server = short_of(cluster), cloud.secret(cluster)["data.server"]  # type: ignore[index]
    repository = next(iter(applications(cloud).values()))["spec"]["source"]["repoURL"]

    def spec(kind: str, **destination: str) -> dict[str, Any]:
        return {
            "project": "left",
            "source": {"repoURL": repository, "path": f"infra/argocd/workloads/{kind}", "targetRevision": "main"},
            "destination": {"namespace": "default", **destination},
            "syncPolicy": {"automated": {}},
        }

    for kind in KINDS[:2]:
        labels = {"fleet-registrar/name": cluster.rpartition("/")[2]}
        generated: dict[str, Any] = {
            "goTemplate": True,
            "generators": [{"clusters": {"selector": {"matchLabels": labels}}}],
            "template": {"metadata": {"name": f"{kind}-{short}"}, "spec": spec(kind, name="{{.name}}")},
            "syncPolicy": {"preserveResourcesOnDeletion": kind == "preserving"},
        }
        created(cloud, "applicationsets", "ApplicationSet", f"{kind}-{short}", generated)
    called = spec("with-finalizer", name=name_of(cluster))
    created(cloud, "applications", "Application", f"with-finalizer-{short}", called, finalizers=[FINALIZER])
    created(
        cloud, "applications", "Application", f"without-finalizer-{short}", spec("without-finalizer", server=server)
    )
    for kind in KINDS:
        synced(cloud, kind, cluster)
    assert workloads(cloud, cluster) == set(KINDS)
    finalizers = applications(cloud)[f"cascading-{short}"]["metadata"].get("finalizers")
    assert finalizers == [FINALIZER]
    return cluster, {kind: f"{kind}-{short}" for kind in KINDS}


def workloads(cloud: Chain, cluster: str) -> set[str]:
    """What is deployed in the cluster."""
    _, found = cloud.kubernetes(cluster, "GET", "/api/v1/namespaces/default/limitranges")
    return {one["metadata"]["name"] for one in found["items"]}


def orphans(cloud: Chain) -> dict[str, str]:
    """The Applications without a cluster, and the cluster or membership of ours that each had, as an operator reads them."""
    words = [sys.executable, "-m", "ops", "orphans", "--json"]
    answer = subprocess.run(words, cwd=ROOT, env=environment(cloud), capture_output=True, text=True, check=False)
    assert answer.returncode in (0, 2), answer.stderr
    return {one["name"]: one["cluster"] for one in json.loads(answer.stdout)["orphans"]}


def is_invalid(cloud: Chain, name: str) -> bool:
    """Whether Argo CD says that the Application has no cluster."""
    status = applications(cloud)[name]["status"]
    return any(one["type"] == "InvalidSpecError" for one in status.get("conditions", []))


@pytest.mark.parametrize("held", [True, False], ids=["held", "not-held"])
def test_generated_applications_go_others_stay_and_workloads_stay(cloud: Chain, held: bool) -> None:
    """`held`: as the registrar removes a cluster; else as a person deletes the Secret."""
    cluster, names = deployed(cloud, "held" if held else "alive")
    membership = cloud.membership(cluster)
    if held:
        leave(cloud, cluster, lambda what: ask(cloud, cluster, what))  # a sweep never removes the last cluster
        message = cloud.logged("remove-secret", cluster, decision="deleted")["message"]
        assert message.endswith(f": {len(BY_HAND)}")
        [event] = cloud.wait_for(lambda: [one for one in cloud.events(cluster) if one["type"] == "offboarded"])
        assert event["data"]["applications"] == len(BY_HAND)
    else:
        cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/{cloud.manifest(cluster)['metadata']['name']}")
    cloud.wait_for(lambda: not {names[kind] for kind in KINDS[:2]} & applications(cloud).keys(), AT_LAST, "those gone")
    for kind in BY_HAND:
        cloud.wait_for(lambda kind=kind: is_invalid(cloud, names[kind]), AT_LAST, f"{kind} invalid")  # type: ignore[misc]
    assert workloads(cloud, cluster) == set(KINDS)
    assert orphans(cloud) == {names["with-finalizer"]: cluster, names["without-finalizer"]: membership}

    for kind in BY_HAND:
        assert cloud.kubernetes(CENTRAL, "DELETE", f"{APPLICATIONS}/{names[kind]}")[0] == 200
    cloud.wait_for(lambda: not set(names.values()) & applications(cloud).keys(), AT_LAST, "nothing hangs")
    assert workloads(cloud, cluster) == set(KINDS)
    assert orphans(cloud) == {}


def test_lost_label_follows_the_applicationsets_policy(cloud: Chain) -> None:
    """Not held: a selected cluster whose label is dropped. What people created by hand does not follow labels."""
    cluster, names = deployed(cloud, "labelled")
    cloud.change_secret(cluster, {"labels": {"fleet-registrar/name": "another"}})

    def generated_are_gone() -> bool:
        roll_out(cloud, cluster)
        return not {names[kind] for kind in KINDS[:2]} & applications(cloud).keys()

    cloud.wait_for(generated_are_gone, AT_LAST, "the generated Applications gone")
    assert workloads(cloud, cluster) == set(KINDS) - {"cascading"}
    assert set(BY_HAND) <= {kind for kind in KINDS if names[kind] in applications(cloud)}
