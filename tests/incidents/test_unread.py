"""Incidents in which something cannot be read, or a setting is wrong: it is reported as unknown, and nothing is concluded."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.chain.running import FLEET, fresh
from tests.incidents.console import deployed
from tests.incidents.test_in_flight import LABELS

if TYPE_CHECKING:
    from tests.chain.running import Chain
    from tests.incidents.console import Console, Printed

# Three reads of 5 s each, one after the other, on a busy machine; with the 20 s of a function they would take 60 s.
LONGEST = 55


@pytest.fixture
def blue(cloud: Chain) -> str:
    """A cluster that is in Argo CD."""
    return cloud.onboard("blue", labels=LABELS)


def concludes_nothing(printed: Printed) -> bool:
    """Nothing is well, gone, or to be deleted."""
    assert printed.code == 3, printed.text
    for wrong in ("as it should be", "no membership", "delete secret", " is gone", "Nothing differs."):
        assert wrong not in printed.text, printed.text
    return True


@pytest.mark.parametrize("effect", [{"effect": "status", "status": 503}, {"effect": "timeout"}], ids=["503", "hangs"])
def test_10_the_gateway_is_down(cloud: Chain, console: Console, blue: str, effect: dict[str, object]) -> None:
    cloud.add_fault(api="connectgateway", times=0, **effect)  # type: ignore[arg-type]
    started = time.monotonic()
    printed = console.ops("explain", blue)
    assert time.monotonic() - started < LONGEST
    assert concludes_nothing(printed)
    assert printed.has(
        "Argo CD       unknown: the Secrets could not be read", "Selected      yes", "Fleet         projects/"
    )
    assert printed.command("python -m ops doctor")
    plan = console.ops("plan")
    assert concludes_nothing(plan)
    assert plan.has("the Secrets", "There is no plan without")
    status = console.ops("status", "--json")
    assert status.code in {2, 3}  # 2 where the schedule has not swept yet
    [secrets] = [one for one in json.loads(status.text)["problems"] if "the Secrets could not" in one["text"]]
    assert secrets["unknown"]


@pytest.mark.parametrize("command", ["adopt", "backfill"])
def test_adopt_and_backfill_say_that_something_is_unread(
    cloud: Chain, console: Console, blue: str, command: str
) -> None:
    assert console.ops(command, "--dry-run").code == 0
    cloud.add_fault("status", api="container", status=503, times=0)
    assert console.ops(command, "--dry-run").code == 3
    cloud.remove_faults()
    cloud.add_fault("timeout", api="connectgateway", times=0)
    started = time.monotonic()
    printed = console.ops(command)
    assert (printed.code, time.monotonic() - started < LONGEST) == (3, True)
    assert printed.has("the Secrets could not be read", "Run it again")
    assert cloud.secret(blue)


def test_11_the_gateway_is_down_for_one_cluster(cloud: Chain, console: Console, blue: str) -> None:
    member = cloud.membership(blue).rpartition("/")[2]
    cloud.add_fault("status", api="connectgateway", call=f"* */{member}/*", status=503, times=0)
    printed = console.ops("explain", blue)
    assert concludes_nothing(printed)
    assert printed.has("Cluster       unknown: the cluster could not be read", "503")
    assert printed.command("python -m ops doctor")
    assert console.paste(printed.command("memberships describe")).has(member)
    cloud.remove_faults()
    console.publish(printed.command("topics publish register-membership"))
    assert console.ops("explain", blue).code == 0


def test_12_the_gke_api_is_down(cloud: Chain, console: Console, blue: str) -> None:
    cloud.add_fault("status", api="container", status=503, times=0)
    printed = console.ops("explain", blue)
    assert concludes_nothing(printed)
    assert printed.has(
        "State         unknown: it could not be read", "503", cloud.membership(blue), "Do not delete anything"
    )
    assert printed.command("python -m ops doctor")
    again = printed.command("python -m ops explain")
    plan = console.ops("plan")
    assert concludes_nothing(plan)
    assert plan.has("Could not be read", f"projects/{FLEET}", "projects/demo-apps")
    assert plan.command("python -m ops doctor")
    cloud.remove_faults()
    console.paste(again)
    assert console.paste(plan.command("python -m ops plan")).has("Nothing differs.")


def test_13_a_label_lost_across_the_fleet(cloud: Chain, console: Console) -> None:
    clusters = [cloud.create_cluster(fresh("lost"), labels=LABELS) for _ in range(13)]
    cloud.onboarded(*clusters)
    cloud.wait_quiet()
    rule = cloud.add_event_rule("lose", times=0)
    renamed = {"environment": "prod", "tier": "gold"}
    for cluster in clusters:
        cloud.set_labels(cluster, renamed)
    others = [one for one in cloud.listed() - {*clusters} if one in cloud.state()["clusters"]]
    for cluster in others:  # a small fleet: all but the attached ones lose it
        cloud.set_labels(cluster, {"tier": "gold"})
    cloud.wait_quiet()
    cloud.remove_event_rules(rule["id"])
    plan = console.ops("plan")
    assert plan.code == 2
    number = len(clusters) + len(others)
    assert plan.has("REMOVAL LIMIT EXCEEDED", "env=prod")
    assert f"{number} clusters in Argo CD do not have env=prod" in plan.text or "matches 0 of" in plan.text
    assert plan.command("release")
    printed = console.ops("explain", clusters[0])
    assert printed.code == 2
    assert printed.has("no: CLUSTER_SELECTOR asks for env=prod, it has environment=prod, tier=gold")
    console.paste(printed.command("clusters update"))
    assert cloud.state()["clusters"][clusters[0]]["resourceLabels"] == LABELS | renamed
    for cluster in (*clusters, *others):
        cloud.set_labels(cluster, LABELS)
    cloud.wait_quiet()


def test_14_a_selector_that_matches_nothing(cloud: Chain, console: Console, blue: str) -> None:
    with deployed(cloud, "sweep", "remove-secret", "register-membership", CLUSTER_SELECTOR="env=prd"):
        cloud.publish("sweep", {})
        cloud.logged("sweep", decision="limited")
        cloud.wait_quiet()
        assert not cloud.held(blue)
        plan = console.ops("plan", CLUSTER_SELECTOR="env=prd")
    assert plan.code == 2
    assert plan.has("CLUSTER_SELECTOR (env=prd) matches 0 of ", "REMOVAL LIMIT EXCEEDED")
    printed = console.ops("explain", blue, CLUSTER_SELECTOR="env=prd")
    assert printed.code == 2
    assert printed.has("no: CLUSTER_SELECTOR asks for env=prd, it has env=prod, tier=gold")
    assert printed.command("--update-labels=env=prd,tier=gold")


def test_15_a_source_project_that_does_not_exist(cloud: Chain, console: Console) -> None:
    plan = console.ops("plan", SOURCE_PROJECTS=f"{FLEET},demo-aps")
    assert plan.code == 3
    assert plan.has("Could not be read", "projects/demo-aps")
    assert "Nothing differs." not in plan.text
    assert json.loads(console.ops("plan", "--json", SOURCE_PROJECTS=f"{FLEET},demo-aps").text)["unread"]
    status = console.ops("status", SOURCE_PROJECTS=f"{FLEET},demo-aps")
    assert status.code in {2, 3}  # 2 where the schedule has not swept yet
    assert status.has("projects/demo-aps could not be read", "python -m ops doctor")


def test_22_the_central_membership_is_wrong(cloud: Chain, console: Console, blue: str) -> None:
    wrong = f"projects/{FLEET}/locations/global/memberships/centrl"
    with deployed(cloud, "write-secret", CENTRAL_MEMBERSHIP=wrong):
        cluster = cloud.create_cluster(fresh("central"), labels=LABELS)
        cloud.logged("write-secret", cluster, decision="retry", code="no_central_membership", severity="ERROR")
        seen = console.ops("explain", cluster)  # an operator whose own setting is right
        assert seen.code == 2
        assert seen.has("write-secret attempt", f"CENTRAL_MEMBERSHIP {wrong} is not in the fleet")
        printed = console.ops("explain", blue, CENTRAL_MEMBERSHIP=wrong)
    assert concludes_nothing(printed)
    assert printed.has(f"CENTRAL_MEMBERSHIP {wrong} is not in the fleet")
    assert printed.command("python -m ops doctor")
    cloud.publish("register-membership", {"cluster": cluster})
    cloud.onboarded(cluster)


def test_23_four_settings_are_wrong(cloud: Chain, console: Console) -> None:
    wrong = {"HOLD": "abc", "CLUSTER_SELECTOR": "env in (", "MAX_REMOVALS": "lots", "SWEEP_REQUESTS": "0"}
    with deployed(cloud, "grant-rbac", **wrong):
        cluster = cloud.create_cluster(fresh("settings"), labels=LABELS)
        cloud.logged("grant-rbac", cluster, decision="retry", code="invalid_settings", severity="ERROR")
        seen = console.ops("explain", cluster)  # an operator whose own settings are right
        assert seen.code == 2
        assert seen.has("grant-rbac", *wrong)
    cloud.publish("register-membership", {"cluster": cluster})
    cloud.onboarded(cluster)
    printed = console.ops("plan", **wrong)
    assert printed.code == 1
    assert printed.has(*wrong, "example:", "make plan")
    assert printed.command("terraform", "output", "environment")
    assert console.paste(printed.command("gcloud functions list")).has("CENTRAL_MEMBERSHIP")
