"""The function `status` on the local cloud: who may call it, and that its identity has what it needs and no more."""

from __future__ import annotations

import html
import json
import re
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from local.identities import shipped_roles
from tests import forked_ops
from tests.chain.running import APPS, FLEET, email, fresh
from tests.chain.test_ops import environment
from tests.incidents.test_in_flight import LABELS

if TYPE_CHECKING:
    from tests.chain.running import Chain

ROLE = shipped_roles()["status"]
DENIED = re.compile(r"Permission '([\w.]+)' denied|cannot (\w+) resource .?\"?(clusterrolebindings|clusterroles)")
LOOK = """
import sys
from ops.page import render
from ops.page.reading import Live
from ops.page.view import View
from shared.runtime.services import connect
live = Live(connect)
print(render.page(live.board(), View()))
print(render.cluster(live.evidence(sys.argv[1]), live.board()))
"""


def get(address: str, token: str = "", method: str = "GET") -> tuple[int, str]:
    """Call the function; return the status and the body."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(address, headers=headers, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_call_needs_the_token_of_a_viewer(cloud: Chain) -> None:
    endpoints = cloud.state()["endpoints"]
    function = endpoints["function status"]
    assert get(function)[0] == 403
    for who in ("stranger@example.com", email("write-secret"), email("fleet-registrar-push")):
        token = cloud.do("cloud", "identity_token", email=who, audience=function)
        assert get(function, token)[0] == 403, who
    other = cloud.do("cloud", "identity_token", email="you@example.com", audience=endpoints["function sweep"])
    assert get(function, other)[0] == 401


def test_a_viewer_sees_all_of_it(cloud: Chain) -> None:
    cluster = cloud.onboard("seen", labels=LABELS)
    page = cloud.state()["endpoints"]["status page"]
    assert get(f"{page}/healthz") == (200, "ok\n")
    document = json.loads(get(f"{page}/status.json")[1])
    assert not [one for one in document["problems"] if one["unknown"]]
    assert cluster in {one["name"] for one in document["clusters"]}
    code, text = get(f"{page}/cluster?name={cluster}")
    assert (code, "up to date" in text) == (200, True)
    assert get(page, method="POST")[0] == 405


def test_each_of_its_permissions_is_needed(cloud: Chain) -> None:
    """It begins without any, and gets each one that a page names as missing: at the end it has the shipped ones."""
    cluster = cloud.create_cluster(fresh("narrow"), project=APPS, labels=LABELS)
    cloud.onboarded(cluster)
    shipped = {one for kind in ("fleet", "central", "source", "run") for one in ROLE[kind]}
    # A single cluster or subscription is read only where no list holds it; the local Pub/Sub lets everybody list.
    needed = shipped - {"container.clusters.get", "pubsub.subscriptions.get", "pubsub.subscriptions.list"}
    for project in (FLEET, APPS):
        cloud.do("iam", "revoke", email("status"), project, *needed)
    given: set[str] = set()
    try:
        for _ in range(len(needed)):
            missing = {_permission(found) for found in DENIED.findall(look(cloud, cluster))} - given
            if not missing:
                break
            given |= missing
            for project in (FLEET, APPS):
                cloud.do("iam", "grant", email("status"), project, *missing)
        assert sorted(given) == sorted(needed)
    finally:
        for project in (FLEET, APPS):
            cloud.do("iam", "grant", email("status"), project, *shipped)


def _permission(found: tuple[str, str, str]) -> str:
    name, verb, kind = found
    kinds = {"clusterrolebindings": "clusterRoleBindings", "clusterroles": "clusterRoles"}
    return name or f"container.{kinds[kind]}.{verb}"


def look(cloud: Chain, cluster: str) -> str:
    """Return the two pages as the function's identity sees them; the role is one that the page must look for."""
    address = cloud.state()["endpoints"]["metadata of status"].partition("//")[2]
    identity = {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address, "ARGOCD_CLUSTER_ROLE": "view"}
    answer = forked_ops.run(["-c", LOOK, cluster], environment(cloud) | identity)
    return html.unescape(answer.stdout) + answer.stderr
