"""Incidents on the local cloud: each leads from the status page to its cause and its command in at most two clicks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ops.activity import ON_ITS_WAY
from ops.overview import YOUNG
from tests.chain.running import ARGOCD, BINDINGS, FLEET, REGION, ROOT, email, fresh, running
from tests.chain.test_ops import environment
from tests.incidents.test_in_flight import LABELS, occupy, unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Locator, Page

    from tests.chain.running import Chain

    Tab = Callable[..., Page]

PATIENCE = 180.0
QUICKLY = ("--attempts", "12", "--retry-min", "0.5", "--retry-max", "2", "--selector", "env=prod")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """The cloud of one bad night."""
    with running(tmp_path_factory.mktemp("night"), *QUICKLY) as chain:
        yield chain


@pytest.fixture(scope="module")
def night(cloud: Chain) -> dict[str, str]:
    """Everything goes wrong at once; return the cluster of each incident."""
    found: dict[str, str] = {}
    found["healthy cluster"] = cloud.onboard("healthy", labels=LABELS)
    found["ERROR cluster"] = cloud.onboard("error", labels=LABELS)
    found["re-created cluster"] = cloud.onboard("again", labels=LABELS)
    onboarded = time.monotonic()
    found["lost agent"] = cloud.attach(fresh("edge"), labels=LABELS, admit=True)
    cloud.onboarded(found["lost agent"])
    found["lost event"] = unseen(cloud, "lost")
    found["stopped function"] = unseen(cloud, "stopped")
    found["unmanaged Secret"] = unseen(cloud, "plain")
    occupy(cloud, found["unmanaged Secret"])
    cloud.wait_for(lambda: time.monotonic() - onboarded > 2)  # GKE tells the time of a creation in seconds
    cloud.re_create_unseen(found["re-created cluster"], LABELS)
    found["unmanaged binding"] = unseen(cloud, "bound")
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"fleet-registrar:{ARGOCD}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [],
    }
    assert cloud.kubernetes(found["unmanaged binding"], "POST", BINDINGS, binding)[0] == 201
    found["unmanaged membership"] = taken(cloud)
    for incident in ("unmanaged Secret", "unmanaged binding", "unmanaged membership"):
        cloud.publish("register-membership", {"cluster": found[incident]})
    for step, incident in (
        ("write-secret", "Secret"),
        ("grant-rbac", "binding"),
        ("register-membership", "membership"),
    ):
        cloud.logged(step, found[f"unmanaged {incident}"], code=f"unmanaged_{incident.lower()}")
    cloud.publish("grant-rbac", b"not json", {"cause": "poison"})
    cloud.logged("grant-rbac", "poison", decision="dead_lettered")
    created_long_ago(cloud, found["lost event"], found["stopped function"])
    cloud.set_status(found["ERROR cluster"], "ERROR", "nodes are out of quota")
    cloud.disconnect(found["lost agent"], state="UNKNOWN")
    # From here on no other cluster can come in.
    cloud.do("iam", "revoke", email("write-secret"), FLEET, "gkehub.gateway.post")
    found["revoked permission"] = cloud.create_cluster(fresh("denied"), labels=LABELS)
    cloud.logged("write-secret", found["revoked permission"], code="denied", attempt=2)
    cloud.redeploy("grant-rbac", {"ARGOCD_CLUSTER_ROLE": "argocd-deployer"})
    found["wrong role"] = cloud.create_cluster(fresh("role"), labels=LABELS)
    cloud.logged("grant-rbac", found["wrong role"], code="no_role", attempt=2)
    cloud.kill_function("register-membership")
    routed_long_ago(cloud, found["healthy cluster"], found["stopped function"])
    return found


def created_long_ago(cloud: Chain, *clusters: str) -> None:
    """Let GKE tell a creation time at which the page no longer waits for the first event."""
    earlier = (datetime.now(UTC) - YOUNG - 2 * ON_ITS_WAY).isoformat()
    cloud.set("gke", "stale", {one: cloud.do("gke", "cluster", name=one) | {"createTime": earlier} for one in clusters})


def routed_long_ago(cloud: Chain, known: str, cluster: str) -> None:
    """Log that route-event requested a cluster, as it has logged for a known one, so long ago that the page calls it silence."""
    [*_, entry] = cloud.do("logging", "read", [FLEET], f'labels.cluster="{known}" jsonPayload.decision="routed"')
    earlier = datetime.now(UTC) - ON_ITS_WAY - timedelta(minutes=1)
    entry["timestamp"] = earlier.isoformat().replace("+00:00", "Z")
    cloud.do("logging", "write", json.loads(json.dumps(entry).replace(known, cluster)))


def taken(cloud: Chain) -> str:
    """Create a cluster whose membership's id an attached cluster has."""
    rule = cloud.add_event_rule("lose", times=0)
    name = fresh("taken")
    cluster = f"projects/{FLEET}/locations/{REGION}/clusters/{name}"
    from shared.values.names import ClusterName

    own = ClusterName.parse(cluster).membership(FLEET)
    cloud.do("fleet", "attach", name=own.membership, location=own.location, project=FLEET)
    cloud.create_cluster(name, labels=LABELS)
    cloud.running(cluster)
    cloud.wait_quiet()
    cloud.remove_event_rules(rule["id"])
    return cluster


INCIDENTS = {
    "lost event": ("no event or request has reached a step", "topics publish register-membership"),
    "revoked permission": ("gkehub.gateway.post", "python -m ops doctor"),
    "unmanaged Secret": ("so it is unmanaged", "kubectl -n argocd delete secret"),
    "unmanaged membership": ("has the id that ours needs", "memberships delete"),
    "unmanaged binding": ("unmanaged", "kubectl delete clusterrolebinding"),
    "ERROR cluster": ("(ERROR)", "clusters describe"),
    "lost agent": ("its agent is lost", "kubectl -n gke-connect get pods"),
    "wrong role": ("argocd-deployer", "kubectl get clusterroles"),
    "stopped function": ("register-membership: no answer since route-event", "python -m ops status"),
    # The page waits half a minute for its first event: it comes last.
    "re-created cluster": ("earlier cluster of this name", "topics publish register-membership"),
}


def shown(page: Page, cloud: Chain, what: Locator) -> None:
    """Load the page until it shows something: a reading serves for some seconds, and some problems begin with silence."""
    deadline = time.monotonic() + PATIENCE
    page.goto(f"{cloud.state()['endpoints']['status page']}/")
    while not what.count() and time.monotonic() < deadline:
        page.wait_for_timeout(2000)
        page.reload()


@pytest.mark.parametrize("incident", INCIDENTS)
def test_one_click_leads_to_cause_and_command(cloud: Chain, night: dict[str, str], tab: Tab, incident: str) -> None:
    cause, command = INCIDENTS[incident]
    page = tab()
    link = page.locator("#problems ~ ul").get_by_role("link", name=night[incident], exact=True)
    shown(page, cloud, link)
    link.click()
    assert cause in page.locator("body").inner_text()
    assert any(command in one for one in page.locator("pre.command").all_inner_texts())


def test_a_poison_message_is_on_the_first_page_with_its_command(cloud: Chain, night: dict[str, str], tab: Tab) -> None:
    page = tab()
    problem = page.locator("#problems ~ ul > li", has_text="grant-rbac gave up a message")
    shown(page, cloud, problem)
    assert "is not JSON" in problem.inner_text()
    assert "python -m ops dead-letters list" in problem.locator("pre.command").inner_text()


@contextmanager
def serving(cloud: Chain, **changed: str) -> Iterator[str]:
    """Run `ops serve` with some settings changed; give its address."""
    command = [sys.executable, "-u", "-m", "ops", "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(cloud) | changed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://127.0.0.1:" in line, line + process.stdout.read()
            yield line.partition("is at ")[2].partition(" ")[0]
        finally:
            process.terminate()


def test_a_gateway_that_is_down_is_one_problem(cloud: Chain, night: dict[str, str], tab: Tab) -> None:
    fault = cloud.add_fault("status", api="connectgateway", status=503, times=0)
    try:
        with serving(cloud) as address:
            page = tab()
            page.goto(address)
            problem = page.locator("#problems ~ ul > li", has_text="the Secrets could not be read")
            assert "503" in problem.inner_text()
            assert "python -m ops doctor" in problem.locator("pre.command").inner_text()
    finally:
        cloud.remove_faults(fault["id"])


def test_a_label_that_the_fleet_lost_stops_at_the_limit(cloud: Chain, night: dict[str, str], tab: Tab) -> None:
    with serving(cloud, CLUSTER_SELECTOR="env=production", MAX_REMOVALS="0") as address:
        page = tab()
        page.goto(address)
        limit = page.locator("#problems ~ ul > li", has_text="Removal limit leaving reached")
        limit.locator("summary").click()
        assert "is not selected any more" in limit.inner_text()
        assert '"release":' in limit.locator("pre.command").inner_text()
        digest = page.locator("#problems ~ ul > li", has_text="env=production")
        assert "gcloud functions list" in digest.locator("pre.command").first.inner_text()


def test_a_selector_that_matches_nothing_says_so(cloud: Chain, night: dict[str, str], tab: Tab) -> None:
    with serving(cloud, CLUSTER_SELECTOR="env=prd") as address:
        page = tab()
        page.goto(address)
        problem = page.locator("#problems ~ ul > li", has_text="matches 0 of")
        assert "CLUSTER_SELECTOR (env=prd)" in problem.inner_text()
        assert "gcloud functions list" in problem.locator("pre.command").inner_text()


def test_ops_serve_answers_to_loopback_names_alone(cloud: Chain) -> None:
    import http.client

    with serving(cloud) as address:
        host, _, port = address.removeprefix("http://").rstrip("/").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        connection.request("GET", "/healthz", headers={"Host": "evil.example"})
        assert connection.getresponse().status == 403
