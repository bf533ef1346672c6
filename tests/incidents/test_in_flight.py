"""Incidents whose cause is in flight: events, retries, queues, functions, and what only a sweep requests."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tests.chain.running import CENTRAL, FLEET, SECRETS, fresh
from tests.incidents.conftest import ATTEMPTS
from tests.incidents.console import hurried

if TYPE_CHECKING:
    from tests.chain.running import Chain
    from tests.incidents.console import Console, Printed

FOREIGN = b'{"membership":"projects/other-fleet/locations/global/memberships/edge"}'
SILENT_SECONDS = 5  # ops/activity.py; an earlier command finds nothing
LABELS = {"env": "prod", "tier": "gold"}


def unseen(cloud: Chain, name: str) -> str:
    """Create a cluster whose events are lost."""
    rule = cloud.add_event_rule("lose", times=0)
    cluster = cloud.create_cluster(fresh(name), labels=LABELS)
    cloud.running(cluster)
    cloud.wait_quiet()
    cloud.remove_event_rules(rule["id"])
    return cluster


def occupy(cloud: Chain, cluster: str) -> str:
    """Create a plain Secret under the name that ours would have."""
    _, project, _, location, _, name = cluster.split("/")
    secret = f"{project}.{location}.{name}"
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}}
    manifest |= {"data": {"key": b64encode(b"theirs").decode()}}
    status, answer = cloud.kubernetes(CENTRAL, "POST", SECRETS, manifest)
    assert status == 201, answer
    return secret


def test_01_a_lost_event(cloud: Chain, console: Console) -> None:
    cluster = unseen(cloud, "lost")
    output = console.ops("explain", cluster)
    assert output.code == 2
    assert output.has("no event or request has reached a step")
    console.paste(output.command("topics publish register-membership"))
    cloud.onboarded(cluster)


def test_02_a_permission_lost(cloud: Chain, console: Console) -> None:
    account = f"write-secret@{FLEET}.iam.gserviceaccount.com"
    cloud.do("iam", "revoke", account, FLEET, "gkehub.gateway.post")
    try:
        cluster = cloud.create_cluster(fresh("denied"), labels=LABELS)
        cloud.logged("write-secret", cluster, decision="retry", code="denied", attempt=2)
        output = console.ops("explain", cluster)
        assert output.code == 2
        assert output.has("write-secret attempt", f"of {ATTEMPTS}", "gkehub.gateway.post", "(next try: ")
        doctor = console.paste(output.command("python -m ops doctor"), 1)
        assert doctor.has("gkehub.gateway.post", "fix:")
        with hurried(cloud, "write-secret"):
            letter = cloud.dead_letter(cluster, "write-secret")
        assert (letter.code, letter.attributes["attempts"]) == ("denied", str(ATTEMPTS))
        assert "gkehub.gateway.post" in letter.reason
    finally:
        cloud.do("iam", "grant", account, FLEET, "gkehub.gateway.post")


def test_03_poison_messages(cloud: Chain, console: Console) -> None:
    for number, body in enumerate((b"not json", b"[1]", b"{}", b'{"cluster":"blue"}', FOREIGN)):
        cloud.publish("grant-rbac", body, {"cause": f"poison {number}"})
    cloud.wait_for(lambda: cloud.state()["dead_letters"] == 5, what="five letters")
    listed = console.ops("dead-letters", "list")
    assert listed.has("is not JSON", "is JSON but not an object", "neither cluster nor membership", "other-fleet")
    assert listed.has("5 letters")
    shown = console.paste(listed.command("dead-letters show"))
    assert shown.has("what to do:")
    kept = console.paste(shown.command("dead-letters drop"), 1)  # it asks first
    assert kept.has("--yes")
    assert console.ops("dead-letters", "drop", "--all", "--yes").has("Discarded 5 letters.")
    assert cloud.state()["dead_letters"] == 0


def test_04_a_plain_secret_of_our_name_by_event(cloud: Chain, console: Console) -> None:
    cluster = unseen(cloud, "plain")
    secret = occupy(cloud, cluster)
    cloud.publish("register-membership", {"cluster": cluster})
    cloud.logged("write-secret", cluster, decision="dead_lettered", code="unmanaged_secret")
    output = console.ops("explain", cluster)
    assert output.code == 2
    assert output.has(f"Conflicts     Secret {secret}", "Dead letters")
    console.paste(output.command("kubectl", "delete secret", secret))
    console.paste(output.command("dead-letters replay"))
    cloud.onboarded(cluster)


def test_05_a_plain_secret_of_our_name_found_by_the_sweep(cloud: Chain, console: Console) -> None:
    cluster = unseen(cloud, "plain")
    secret = occupy(cloud, cluster)
    cloud.publish("sweep", {})
    cloud.logged("write-secret", cluster, decision="dropped", code="unmanaged_secret")
    output = console.ops("explain", cluster)
    assert output.code == 2
    assert output.has(f"Conflicts     Secret {secret}", "write-secret", "dropped", "Dead letters  none")
    console.paste(output.command("kubectl", "delete secret", secret))
    console.publish(output.command("topics publish register-membership"))
    cloud.onboarded(cluster)


def test_06_an_attached_cluster_that_refuses_by_event(cloud: Chain, console: Console) -> None:
    membership = cloud.attach(fresh("edge"), labels=LABELS)
    cloud.logged("grant-rbac", membership, decision="dead_lettered", code="not_admitted")
    output = console.ops("explain", membership)
    assert output.code == 2
    admits(cloud, output.command("generate-gateway-rbac"), membership)
    console.paste(output.command("dead-letters replay"))
    cloud.onboarded(membership)


def test_07_an_attached_cluster_that_refuses_found_by_the_sweep(cloud: Chain, console: Console) -> None:
    rule = cloud.add_event_rule("lose", times=0)
    membership = cloud.attach(fresh("edge"), labels=LABELS)
    cloud.wait_quiet()
    cloud.remove_event_rules(rule["id"])
    cloud.publish("sweep", {})
    cloud.logged("grant-rbac", membership, decision="dropped", code="not_admitted")
    output = console.ops("explain", membership)
    assert output.code == 2
    assert output.has("grant-rbac", "dropped", "Dead letters  none")
    admits(cloud, output.command("generate-gateway-rbac"), membership)
    console.publish(output.command("topics publish register-membership"))
    cloud.onboarded(membership)


def admits(cloud: Chain, command: str, membership: str) -> None:
    """Do what the printed command does: its kubeconfig is the cluster owner's."""
    assert f"--membership={membership.rpartition('/')[2]} " in command
    assert command.endswith("--apply")
    users = command.partition("--users=")[2].split()[0].split(",")
    cloud.admit(membership, users)


def silence(cloud: Chain, console: Console, cluster: str, text: str) -> Printed:
    """Wait until explain says that a step is silent: it does so some seconds after the request."""
    started = time.monotonic()
    cloud.wait_for(lambda: time.monotonic() - started > SILENT_SECONDS)
    cloud.wait_for(lambda: text in console.ops("explain", cluster).text, what=text)
    return console.ops("explain", cluster)


def test_20_a_function_that_is_down(cloud: Chain, console: Console) -> None:
    cloud.kill_function("grant-rbac")
    cluster = cloud.create_cluster(fresh("down"), labels=LABELS)
    cloud.logged("register-membership", cluster, decision="registered")
    silence(cloud, console, cluster, "grant-rbac: no answer since register-membership published its request")
    with hurried(cloud, "grant-rbac"):
        cloud.wait_for(lambda: cloud.state()["dead_letters"] == 1, what="a letter of Pub/Sub")
    output = console.ops("explain", cluster)
    assert output.code == 2
    assert output.has(
        "grant-rbac: no answer since register-membership published its request",
        f"grant-rbac did not answer {ATTEMPTS} deliveries: it is down",
    )
    assert console.paste(output.command("python -m ops status"), 2).has("1 dead letter")
    cloud.start_function("grant-rbac")
    console.paste(output.command("dead-letters replay"))
    cloud.onboarded(cluster)


def test_21_a_paused_step(cloud: Chain, console: Console) -> None:
    console.ops("pause", "write-secret")
    cluster = cloud.create_cluster(fresh("paused"), labels=LABELS)
    cloud.logged("grant-rbac", cluster, decision="granted")
    cloud.wait_for(lambda: cloud.state()["queues"]["write-secret"]["backlog"] == 1)
    status = console.ops("status", "--json")
    assert status.code == 2
    shown = {step["name"]: step for step in json.loads(status.text)["steps"]}
    assert (shown["write-secret"]["subscription"], shown["write-secret"]["messages"]) == ("PAUSED", 1)
    output = silence(cloud, console, cluster, "write-secret: no answer since grant-rbac published its request")
    assert console.paste(output.command("python -m ops status"), 2).has("PAUSED", "python -m ops resume write-secret")
    console.paste(output.command("resume write-secret"))
    cloud.onboarded(cluster)


def test_an_incident_that_fails_leaves_nothing_behind(cloud: Chain, console: Console) -> None:
    """This suite's own rule: a step that stays paused would make every later test fail."""
    session = SimpleNamespace(testsfailed=0)
    with cloud.repaired(session):  # type: ignore[arg-type]
        assert console.ops("pause", "write-secret").code == 0
        session.testsfailed += 1
    cloud.onboard("after", labels=LABELS)
