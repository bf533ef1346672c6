"""`python -m ops` as an operator types it, with the operator's identity, on a running cloud."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from local.functions import MEASURED
from tests import forked_ops
from tests.chain.running import (
    ARGOCD,
    BINDING,
    CENTRAL,
    FLEET,
    MARK,
    MERGE,
    SECRETS,
    Chain,
    decoded,
    email,
    fresh,
    running,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.chain.running import Json

PERSON = "you@example.com"
ATTEMPTS = 5


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud of our own: a plan speaks of everything in it."""
    with running(tmp_path_factory.mktemp("ops"), "--attempts", str(ATTEMPTS)) as chain:
        yield chain


@pytest.fixture(autouse=True)
def settled(cloud: Chain) -> None:
    """Each story begins where nothing differs and no letter is left."""
    cloud.wait_quiet()
    cloud.dead_letters("")
    assert ops(cloud, "plan").stdout == "Nothing differs.\n"


def environment(cloud: Chain) -> dict[str, str]:
    """What `source .local/env` gives, and nothing of this machine but where its programs are and what is measured.

    The machine's own authorities are left out: to read them takes a fifth of a short command's time.
    """
    lines = (shlex.split(line) for line in (cloud.directory / "env").read_text().splitlines())
    sourced = dict(words[1].split("=", 1) for words in lines if words[:1] == ["export"])
    trusted = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(cloud.directory / "ca.pem"))
    return {"PATH": os.environ["PATH"], "HOME": str(cloud.directory), **MEASURED, **sourced, **trusted}


def ops(cloud: Chain, *words: str, identity: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Type a command; whatever happens, no traceback is shown."""
    answer = forked_ops.run(words, environment(cloud) | (identity or {}))
    assert "Traceback" not in answer.stderr, answer.stderr
    return answer


def succeeds(cloud: Chain, *words: str, code: int = 0, identity: dict[str, str] | None = None) -> str:
    answer = ops(cloud, *words, identity=identity)
    assert answer.returncode == code, answer.stdout + answer.stderr
    return answer.stdout


def as_identity(cloud: Chain, name: str) -> dict[str, str]:
    """The settings that give ops another identity: another metadata server."""
    address = cloud.state()["endpoints"][f"metadata of {name}"].removeprefix("http://")
    return {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address}


def unseen(cloud: Chain, *names: str) -> list[str]:
    """Clusters whose events were lost."""
    rule = cloud.add_event_rule("lose", times=0)
    clusters = [cloud.create_cluster(fresh(name), project="demo-apps", labels={"env": "prod"}) for name in names]
    cloud.running(*clusters)
    cloud.wait_quiet()
    cloud.remove_event_rules(rule["id"])
    return clusters


def by_hand(cloud: Chain, name: str, server: str, called: str) -> Json:
    """A Secret that a script has written, with a token, a shard, a project and a label of its own."""
    data = {"name": called, "server": server, "config": '{"bearerToken":"none"}', "shard": "2", "project": "tenants"}
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"argocd.argoproj.io/secret-type": "cluster", "team": "a"}},
        "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
    }
    status, made = cloud.kubernetes(CENTRAL, "POST", SECRETS, manifest)
    assert status == 201, made
    return made


def id_of(listed: str, text: str) -> str:
    """The id in the line of a list that holds a text."""
    [line] = [line for line in listed.splitlines() if text in line]
    return line.split()[0]


def test_plan_and_explain_before_backfill_and_after(cloud: Chain) -> None:
    [blue] = unseen(cloud, "blue")
    plan = succeeds(cloud, "plan", code=2)
    assert f"repair  register-membership  {blue}" in plan
    before = succeeds(cloud, "explain", blue, code=2)
    assert "the next sweep publishes register-membership" in before
    assert (
        f'gcloud pubsub topics publish register-membership --project={FLEET} --message=\'{{"cluster":"{blue}"}}\''
        in before
    )
    succeeds(cloud, "backfill")
    cloud.onboarded(blue)
    cloud.wait_quiet()
    assert succeeds(cloud, "plan") == "Nothing differs.\n"
    after = succeeds(cloud, "explain", blue.rpartition("/")[2])
    assert f"ClusterRoleBinding fleet-registrar:{ARGOCD}: up to date" in after
    assert "nothing: all is as it should be" in after


def test_a_command_that_imports_its_packages_itself_answers_the_same(cloud: Chain) -> None:
    """The other tests fork their commands from a process that has imported the packages."""
    for words in (["plan"], ["explain", "no-such-cluster"], ["plan", "--bogus"]):
        alone, forked = forked_ops.run_alone(words, environment(cloud)), ops(cloud, *words)
        assert (alone.returncode, alone.stdout, alone.stderr) == (forked.returncode, forked.stdout, forked.stderr)


def test_a_backfill_requests_all_clusters_whose_events_were_lost(cloud: Chain) -> None:
    clusters = unseen(cloud, *(f"lost{number}" for number in range(6)))
    answer = ops(cloud, "backfill", "--project", "demo-apps", "--rate", "340")
    assert answer.stdout.startswith("Published requests for 6 clusters.")
    assert "6 of 6 clusters requested" in answer.stderr
    cloud.onboarded(*clusters)
    cloud.wait_quiet()
    [line] = [line for line in cloud.lines("register-membership", clusters[0]) if line["decision"] != "retry"]
    assert line["logging.googleapis.com/labels"]["cause"].startswith("backfill by ")
    assert succeeds(cloud, "backfill") == "Every selected cluster that can be requested has its Secret.\n"


def test_adopted_secret_keeps_its_uid_and_has_no_drift(cloud: Chain) -> None:
    [blue] = unseen(cloud, "hand")
    server = cloud.do("cloud", "gateway_url", membership=_registered(cloud, blue))
    made = by_hand(cloud, "legacy-hand", server, "prod-hand")
    assert "legacy-hand" in succeeds(cloud, "explain", blue, code=2)
    assert "legacy-hand" in succeeds(cloud, "backfill", "--dry-run")
    assert "Took over 1 of 1 Secret;" in succeeds(cloud, "adopt")
    cloud.onboarded(blue)
    cloud.wait_for(lambda: f"{MARK}grant" in cloud.manifest(blue)["metadata"]["annotations"])
    cloud.wait_quiet()
    after = cloud.manifest(blue)
    assert after["metadata"]["uid"] == made["metadata"]["uid"]
    assert after["metadata"]["name"] == "legacy-hand"
    data = decoded(after)
    assert [data[key] for key in ("name", "server", "shard", "project")] == ["prod-hand", server, "2", "tenants"]
    assert json.loads(data["config"])["execProviderConfig"]["command"] == "argocd-k8s-auth"
    assert {"team": "a", "env": "prod"}.items() <= after["metadata"]["labels"].items()
    assert succeeds(cloud, "plan") == "Nothing differs.\n"
    assert "Nothing to take over." in succeeds(cloud, "adopt")
    cloud.publish("sweep", {})
    cloud.wait_quiet()
    assert cloud.manifest(blue)["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


def _registered(cloud: Chain, cluster: str) -> str:
    """Register a cluster as a person does, unseen by the functions."""
    rule = cloud.add_event_rule("lose", times=0)
    name = f"projects/{FLEET}/locations/europe-west1/memberships/{cluster.rpartition('/')[2]}"
    link = f"//container.googleapis.com/{cluster}"
    cloud.do("fleet", "create", name=name, asked={"endpoint": {"gkeCluster": {"resourceLink": link}}})
    cloud.wait_for(lambda: cloud.state()["memberships"].get(name, {}).get("state") == "READY")
    cloud.wait_quiet()
    cloud.remove_event_rules(rule["id"])
    return name


def test_what_is_not_ours_to_take_over_is_listed_with_the_reason(cloud: Chain) -> None:
    by_hand(cloud, "in-cluster", "https://kubernetes.default.svc", "in-cluster")
    before = cloud.everything()
    printed = succeeds(cloud, "adopt")
    assert "in-cluster  its server https://kubernetes.default.svc " in printed
    assert cloud.everything() == before
    cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/in-cluster")


def test_a_poison_message_is_listed_shown_repaired_and_gone(cloud: Chain) -> None:
    [blue] = unseen(cloud, "poison")
    poison = f'{{"cluster":"{blue}"'.encode()
    cloud.publish("register-membership", poison, {"cause": "a typo", "reversed": "true"})
    cloud.logged("register-membership", code="invalid_message")
    listed = succeeds(cloud, "dead-letters", "list")
    id_ = id_of(listed, "is not JSON")
    shown = succeeds(cloud, "dead-letters", "show", id_)
    assert "topic:    register-membership" in shown
    assert "cause: a typo" in shown
    assert repr(poison) in shown
    kept = succeeds(cloud, "dead-letters", "replay", id_, code=1)
    assert f"{id_} is kept: the message to register-membership is not JSON" in kept
    assert id_ in succeeds(cloud, "dead-letters", "list")
    [letter] = json.loads(succeeds(cloud, "dead-letters", "replay", id_, "--json", code=1))["kept"]
    assert (letter["id"], "is not JSON" in letter["reason"]) == (id_, True)
    assert "Replayed 1 letter." in succeeds(cloud, "dead-letters", "replay", id_, "--body", f'{{"cluster":"{blue}"}}')
    cloud.onboarded(blue)
    assert succeeds(cloud, "dead-letters", "list").startswith("No dead letters")
    [line] = [line for line in cloud.lines("register-membership", blue) if line["code"] == "selected"]
    assert line["logging.googleapis.com/labels"]["cause"] == "a typo"


def test_exhausted_letters_are_grouped_and_replayed_by_reason(cloud: Chain) -> None:
    [blue] = unseen(cloud, "tired")
    cloud.add_fault("status", api="container", caller=email("register-membership"), status=403, times=0)
    for _ in range(3):
        cloud.publish("register-membership", {"cluster": blue})
    cloud.wait_for(lambda: cloud.state()["dead_letters"] == 3, what="three dead letters")
    cloud.remove_faults()
    listed = succeeds(cloud, "dead-letters", "list")
    [line] = [line for line in listed.splitlines() if blue in line]
    assert re.search(r"register-membership +3 .*403", line)
    id_ = line.split(",")[0]
    shown = succeeds(cloud, "dead-letters", "show", id_)
    assert f"attempts: {ATTEMPTS}" in shown
    assert "python -m ops doctor" in shown
    assert f"{id_} from register-membership" in succeeds(cloud, "explain", blue, code=2)
    assert "Replayed 0 letters." in succeeds(cloud, "dead-letters", "replay", "--all", "--reason", "something else")
    printed = json.loads(succeeds(cloud, "dead-letters", "replay", "--all", "--reason", "403", "--json"))
    assert ([one["topic"] for one in printed["replayed"]], printed["kept"]) == (["register-membership"] * 3, [])
    cloud.onboarded(blue)
    cloud.wait_quiet()
    assert cloud.state()["dead_letters"] == 0


def test_a_letter_leaves_only_when_its_replay_was_published(cloud: Chain) -> None:
    [blue] = unseen(cloud, "kept")
    cloud.publish("register-membership", {"cluster": blue, "membership": "red"})
    cloud.logged("register-membership", blue, code="invalid_message")
    id_ = id_of(succeeds(cloud, "dead-letters", "list"), "not a membership's name")
    cloud.add_fault("status", api="pubsub", call="POST */topics/register-membership:publish", status=503, times=1)
    repaired = ["--body", f'{{"cluster":"{blue}"}}']
    assert f"{id_} is kept: publishing" in succeeds(cloud, "dead-letters", "replay", id_, *repaired, code=1)
    cloud.remove_faults()
    assert cloud.state()["dead_letters"] == 1
    succeeds(cloud, "dead-letters", "replay", id_, *repaired)
    cloud.onboarded(blue)
    assert cloud.state()["dead_letters"] == 0


def test_looking_and_dry_runs_write_and_publish_nothing(cloud: Chain) -> None:
    clusters = unseen(cloud, "look", "taken")
    server = cloud.do("cloud", "gateway_url", membership=_registered(cloud, clusters[1]))
    by_hand(cloud, "legacy-look", server, "prod-look")
    cloud.publish("register-membership", {"membership": "edge"})
    cloud.logged("register-membership", decision="dead_lettered", code="invalid_message")
    cloud.wait_quiet()
    letter = id_of(succeeds(cloud, "dead-letters", "list"), "is not a membership")
    before, queues, since = cloud.everything(), _published(cloud), time.time()
    succeeds(cloud, "plan", code=2)
    assert json.loads(succeeds(cloud, "plan", "--json", code=2))["differs"]
    succeeds(cloud, "explain", clusters[0], code=2)
    assert "Would publish to register-membership for 1 cluster;" in succeeds(cloud, "backfill", "--dry-run")
    assert "Would take over 1 Secret;" in succeeds(cloud, "adopt", "--dry-run")
    body = ["--body", f'{{"cluster":"{clusters[0]}"}}']
    assert "Would replay 1 letter;" in succeeds(cloud, "dead-letters", "replay", letter, *body, "--dry-run")
    succeeds(cloud, "dead-letters", "show", letter)
    assert cloud.everything() == before
    assert _published(cloud) == queues
    calls = [call for call in cloud.calls(since) if call["caller"] == PERSON]
    assert {call["path"] for call in calls if call["method"] != "GET"} == {"/v2/entries:list"}
    assert not [call for call in cloud.calls(since) if call["path"].endswith(":publish")]
    succeeds(cloud, "dead-letters", "replay", letter, *body)
    succeeds(cloud, "adopt")
    cloud.onboarded(*clusters)


def _published(cloud: Chain) -> dict[str, int]:
    """How many messages each subscription has and had, without dead letters that were listed."""
    shown = cloud.state()["queues"].items()
    return {name: one["backlog"] + one["in_flight"] + one["acknowledged"] for name, one in shown}


def test_plan_needs_the_sweeps_rights_and_reports_denied_reads(cloud: Chain) -> None:
    blue = cloud.onboard("seen")
    as_sweep = as_identity(cloud, "sweep")
    assert succeeds(cloud, "plan", identity=as_sweep) == "Nothing differs.\n"
    printed = succeeds(cloud, "explain", blue, code=3, identity=as_sweep)
    assert "unknown: the cluster could not be read with your identity" in printed
    assert "as it should be" not in printed


def test_plan_without_the_right_to_read_says_what_is_unknown(cloud: Chain) -> None:
    printed = succeeds(cloud, "plan", code=3, identity=as_identity(cloud, "route-event"))
    assert "There is no plan without" in printed
    assert "403" in printed


def test_a_binding_that_was_taken_away_is_seen_in_the_cluster(cloud: Chain) -> None:
    blue = cloud.onboard("unbound")
    cloud.kubernetes(blue, "DELETE", BINDING)
    printed = succeeds(cloud, "explain", blue, code=2)
    assert f"ClusterRoleBinding fleet-registrar:{ARGOCD}: missing" in printed
    cloud.publish("register-membership", {"cluster": blue})
    cloud.wait_for(lambda: cloud.binding(blue))


def test_a_forged_letter_is_replayed_only_to_its_source_and_with_yes(cloud: Chain) -> None:
    blue = cloud.onboard("forged")
    forged = {"step": "remove-secret", "topic": "remove-secret", "reason": "forged", "code": "denied"}
    rule = {"CloudPubSubDeadLetterSourceSubscription": "remove-secret"}
    body = {"cluster": blue, "leave": "remove"}
    # To a topic that the forger may publish to: the step's own letter names the step.
    cloud.publish("grant-rbac", body, forged | rule)
    cloud.logged("grant-rbac", blue, decision="dead_lettered", code="unknown_key")
    # To the dead letters themselves.
    cloud.publish("dead-letters", body, forged)
    cloud.wait_for(lambda: cloud.state()["dead_letters"] == 2, what="two letters")
    before = cloud.manifest(blue)["metadata"]["resourceVersion"]
    kept = succeeds(cloud, "dead-letters", "replay", "--all", code=1)
    assert "Replayed 0 letters. Kept 2." in kept
    assert "its control keys (leave) need --yes" in kept
    cloud.wait_quiet()
    assert cloud.manifest(blue)["metadata"]["resourceVersion"] == before
    assert cloud.state()["dead_letters"] == 2
    succeeds(cloud, "dead-letters", "drop", "--all", "--yes")
    assert cloud.state()["dead_letters"] == 0


def test_a_letter_is_not_discarded_without_an_answer(cloud: Chain) -> None:
    cloud.publish("grant-rbac", b"poison")
    cloud.wait_for(lambda: cloud.state()["dead_letters"] == 1, what="a letter")
    assert "Nothing was discarded." in succeeds(cloud, "dead-letters", "drop", "--all", code=1)
    assert cloud.state()["dead_letters"] == 1
    printed = json.loads(succeeds(cloud, "dead-letters", "drop", "--all", "--yes", "--json"))
    assert [one["step"] for one in printed["discarded"]] == ["grant-rbac"]
    cloud.wait_quiet()
    assert cloud.state()["dead_letters"] == 0


def test_hostile_text_never_reaches_the_terminal(cloud: Chain) -> None:
    bad = "\x1b[2J\x9b31m\u202eevil\u2028\u2066"
    blue = cloud.onboard("hostile")
    name = cloud.manifest(blue)["metadata"]["name"]
    server = {"data": {"name": b64encode(bad.encode()).decode()}, "metadata": {"annotations": {f"{MARK}keep": bad}}}
    assert cloud.kubernetes(CENTRAL, "PATCH", f"{SECRETS}/{name}", server, content_type=MERGE)[0] == 200
    cloud.publish("grant-rbac", {"cluster": bad}, {"cause": bad, f"k{bad[:4]}": bad})
    cloud.wait_for(lambda: cloud.state()["dead_letters"] == 1, what="a letter")
    cloud.add_fault(
        "status",
        api="connectgateway",
        call=f"* */{cloud.membership(blue).rpartition('/')[2]}/*",
        status=403,
        message=bad,
        times=0,
    )
    listed = ops(cloud, "dead-letters", "list")
    id_ = listed.stdout.splitlines()[1].split()[0]
    commands = (
        ["plan"],
        ["explain", blue],
        ["explain", bad],
        ["status"],
        ["dead-letters", "show", id_],
        ["plan", "--cluster", bad],
        ["list"],
        ["list", "--search", bad],
        ["wait", blue, "--for=onboarded", "--timeout=0s"],
        ["wait", bad, "--for=offboarded", "--timeout=0s"],
        ["adopt", "--dry-run"],
        ["backfill", "--dry-run"],
        ["shards"],
        ["orphans"],
        ["pause", bad],
        *(
            [*words, "--json"]
            for words in (["list"], ["status"], ["plan"], ["explain", blue], ["dead-letters", "list"])
        ),
    )
    answers = [listed, *(ops(cloud, *words) for words in commands)]
    answers.append(ops(cloud, "dead-letters", "replay", "--all"))
    cloud.remove_faults()
    for answer in answers:
        text = answer.stdout + answer.stderr
        assert all(each.isprintable() or each == "\n" for each in text), repr(text)
    succeeds(cloud, "dead-letters", "drop", "--all", "--yes")
    cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/{name}")
    cloud.publish("register-membership", {"cluster": blue})
    cloud.onboarded(blue)
