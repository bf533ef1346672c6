"""What `ops explain` says of a cluster in each state, and what it tells a person to do."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ops.activity import Activity, Entry, RetryPolicy
from ops.evidence import Access, Evidence
from ops.explanation import SETTLED, UNSETTLED, Explanation, explain
from ops.letters import DeadLetter
from ops.plan import requirement
from ops.survey import find
from ops.terminal import UNREAD, MistakeError
from shared.decisions.sweep_plan import Plan
from shared.values.cluster_secret import HELD as HELD_KEY
from shared.values.cluster_secret import INSTANCE, KEEP
from shared.values.model import GONE, Cluster
from shared.values.names import ClusterName, MembershipName
from shared.values.selector import Selector
from tests.unit.given import (
    BLUE,
    BLUE_MEMBER,
    EDGE,
    NOW,
    NUMBERS,
    SELECTING,
    SETTINGS,
    as_secret,
    created,
    secret,
)
from tests.unit.surveys import seen, theirs

if TYPE_CHECKING:
    from shared.values.cluster_secret import ClusterSecret
    from shared.values.settings import Settings

HELD = f"not-wanted {'2026-11-24T11:00:00Z'} skip-reconcile=ours"


def explaining(
    cluster: Any = BLUE,
    *,
    secrets: tuple[ClusterSecret, ...] = (),
    unmanaged: tuple[ClusterSecret, ...] = (),
    settings: Settings = SETTINGS,
    **more: Any,
) -> Explanation:
    listed = [cluster] if isinstance(cluster, Cluster) else []
    survey = seen(listed, secrets=secrets, unmanaged=unmanaged, settings=settings)
    given: dict[str, Any] = {"membership": BLUE_MEMBER, "access": Access(True, ("up to date",))} | more
    return explain(Evidence(BLUE.name, settings, survey, cluster=cluster, **given))


def of_staging() -> ClusterSecret:
    """The Secret that another registrar has written for the cluster."""
    return replace(secret(), labels={**secret().labels, INSTANCE: "staging"})


@pytest.mark.parametrize("settings", [SETTINGS, replace(SETTINGS, source_projects=frozenset({"demo-fleet"}))])
def test_a_secret_of_another_registrar_is_not_adopted_or_deleted(settings: Settings) -> None:
    explained = explaining(unmanaged=(of_staging(),), settings=settings)
    assert "belongs to the instance 'staging'" in explained.sections["Conflicts"][0]
    advice = "\n".join(explained.sections["You can"])
    assert not any(word in advice for word in ("adopt", "delete", "SOURCE_PROJECTS"))
    assert ("in one registrar only" in advice) == (settings is SETTINGS)


def test_a_cluster_in_argocd_is_settled_without_advice() -> None:
    explained = explaining(secrets=(secret(),))
    assert explained.code == SETTLED
    assert explained.sections["Next"] == ["nothing: all is as it should be"]
    assert explained.sections["You can"] == []


@pytest.mark.parametrize(
    ("activity", "when"),
    [
        (Activity((Entry(NOW, "grant-rbac", "granted", "", ""),)), "at 2026-11-24T12:00:00Z"),
        (Activity(), "earlier than the log"),
        (Activity(unread="403"), "at an unknown time: 403"),
    ],
)
def test_verified_access_has_its_time_because_argocd_may_show_unknown(activity: Activity, when: str) -> None:
    lines = explaining(secrets=(secret(),), activity=activity).sections["Argo CD"]
    assert any(line.startswith("access verified") and when in line for line in lines)
    assert any("Unknown" in line for line in lines)
    held = explaining(secrets=(secret(held=HELD),), activity=activity).sections["Argo CD"]
    assert not [line for line in held if line.startswith("access verified")]


def test_a_cluster_without_a_secret_names_the_next_step_and_the_command() -> None:
    explained = explaining()
    assert not explained.settled
    assert explained.sections["Argo CD"] == ["no Secret of ours"]
    assert "register-membership" in explained.sections["Next"][0]
    message = json.dumps({"cluster": str(BLUE.name)}, separators=(",", ":"))
    publish = f"gcloud pubsub topics publish register-membership --project=demo-fleet --message='{message}'"
    assert explained.sections["You can"] == ["Ask again now:", f"  {publish}"]


def test_failing_selector_requirement_is_named_with_the_fix() -> None:
    explained = explaining(replace(BLUE, labels={"env": "dev", "tier": "gold"}), settings=SELECTING)
    assert explained.sections["Selected"] == ["no: CLUSTER_SELECTOR asks for env=prod, it has env=dev, tier=gold"]
    update = "gcloud container clusters update blue --location=europe-west1 --project=demo-apps"
    assert commands(explained) == [f"{update} --update-labels=env=prod,tier=gold"]


def test_a_selector_without_a_fitting_label_is_shown_as_the_requirement() -> None:
    settings = replace(SETTINGS, selector=Selector.parse("env!=prod"))
    assert explaining(settings=settings).sections["You can"] == [
        "Change its labels, or CLUSTER_SELECTOR, so that env!=prod holds"
    ]


def test_a_project_that_is_no_source_is_named_with_those_that_are() -> None:
    explained = explaining(settings=replace(SETTINGS, source_projects=frozenset({"demo-fleet"})))
    assert explained.sections["Selected"] == ["no: its project is none of SOURCE_PROJECTS (demo-fleet)"]
    assert any("SOURCE_PROJECTS" in line for line in explained.sections["You can"])


def test_a_hold_and_a_pin_have_the_commands_that_end_them() -> None:
    away = replace(BLUE, labels={})
    held = explaining(away, secrets=(secret(held=HELD),), settings=SELECTING)
    assert any(line.startswith("HELD since 2026-11-24T11:00:00Z (not-wanted)") for line in held.sections["Argo CD"])
    assert any(f"{KEEP}=true" in line for line in held.sections["You can"])
    pinned = explaining(away, secrets=(secret(keep="true"),), settings=SELECTING)
    assert any(line.startswith("PINNED") for line in pinned.sections["Argo CD"])
    assert f"kubectl -n argocd annotate secret demo-apps.europe-west1.blue {KEEP}-" in commands(pinned)
    unheld = secret()
    labelled = explaining(away, secrets=(replace(unheld, labels={**unheld.labels, KEEP: "true"}),), settings=SELECTING)
    assert commands(labelled).count(f"kubectl -n argocd label secret demo-apps.europe-west1.blue {KEEP}-") == 1
    assert not any(f"annotate secret demo-apps.europe-west1.blue {KEEP}-" in one for one in commands(labelled))


def test_a_hold_that_cannot_be_read_is_not_called_a_persons() -> None:
    held = secret(held=HELD)
    spoilt = replace(held, annotations={**held.annotations, HELD_KEY: "by hand"})
    facts = explaining(replace(BLUE, labels={}), secrets=(spoilt,), settings=SELECTING).sections["Argo CD"]
    assert any(line.startswith("HELD") and "by hand" in line for line in facts)
    assert not any("a person has set" in line for line in facts)


def test_what_differs_in_the_secret_is_named() -> None:
    stale = as_secret(created(replace(BLUE, labels={"env": "old"})))
    explained = explaining(secrets=(stale,))
    assert "differs in env" in explained.sections["Argo CD"]
    assert not explained.settled


def test_an_earlier_clusters_secret_differs_from_an_adopted_one() -> None:
    earlier = as_secret(created(replace(BLUE, id="b" * 64)))
    assert "earlier cluster" in explaining(secrets=(earlier,)).sections["Argo CD"][-1]
    adopted = as_secret(created(), **{"fleet-registrar/cluster-id": None, "fleet-registrar/grant": None})
    assert "adopted" in explaining(secrets=(adopted,)).sections["Argo CD"][-1]


def test_an_unmanaged_secret_for_the_cluster_conflicts() -> None:
    explained = explaining(unmanaged=(theirs("x", "https://10.0.0.1", "gke_demo-apps_europe-west1_blue"),))
    assert "Secret x" in explained.sections["Conflicts"][0]
    assert any("ops adopt" in line for line in explained.sections["You can"])


def test_missing_binding_is_a_problem_and_an_unread_one_unknown() -> None:
    assert explaining(secrets=(secret(),), access=Access(False, ("missing",))).code == UNSETTLED
    explained = explaining(secrets=(secret(),), access=Access(None, ("could not be read",)))
    assert explained.code == UNREAD
    assert "all is as it should be" not in str(explained)
    described, doctor, again = commands(explained)
    assert described.startswith(f"gcloud container fleet memberships describe {BLUE_MEMBER.name.membership} ")
    assert doctor == "python -m ops doctor"
    assert again.startswith("gcloud pubsub topics publish register-membership ")


def test_a_role_that_the_cluster_lacks_unsettles() -> None:
    settings = replace(SETTINGS, argocd_cluster_role="deployer")
    explained = explaining(
        secrets=(secret(),), settings=settings, access=Access(False, ("missing",), "no_role", "deployer")
    )
    assert explained.code == UNSETTLED
    assert any("Create ClusterRole deployer" in line for line in explained.sections["You can"])
    assert "kubectl get clusterroles" in commands(explained)


def test_dead_letters_have_their_replay_command() -> None:
    letter = DeadLetter("m1", b"{}", {"reason": "name taken", "step": "write-secret"}, NOW - timedelta(hours=3))
    explained = explaining(letters=(letter,))
    assert explained.sections["Dead letters"] == [f"{letter.id} from write-secret, 3 h ago: name taken"]
    assert f"python -m ops dead-letters replay {letter.id}" in commands(explained)


def test_dead_letters_that_may_not_be_read_are_no_reason_to_stop() -> None:
    assert explaining(letters_unread="403").sections["Dead letters"] == ["unknown: they could not be read: 403"]


def test_a_cluster_that_is_gone_leaves_by_remove_secret() -> None:
    explained = explaining(GONE, secrets=(secret(),), membership=None)
    assert "remove-secret" in explained.sections["Next"][0]
    assert any("publish remove-secret" in line for line in explained.sections["You can"])


def test_nothing_that_deletes_is_advised_when_a_cluster_was_not_read() -> None:
    explained = explaining(None, secrets=(secret(),), membership=None, unread="403 PERMISSION_DENIED")
    assert explained.code == UNREAD
    assert explained.sections["State"] == ["unknown: it could not be read: 403 PERMISSION_DENIED"]
    assert explained.sections["Selected"] == ["unknown"]
    assert explained.sections["Fleet"][0].startswith("unknown")
    assert not any("delete" in one for one in commands(explained))


@pytest.mark.parametrize("part", ["secrets_unread", "fleet_unread"])
def test_a_list_that_was_not_read_is_unknown_and_the_rest_is_shown(part: str) -> None:
    unread: dict[str, Any] = {part: "503 UNAVAILABLE"}
    survey = replace(seen([BLUE], secrets=()), plan=Plan(), **unread)
    membership = BLUE_MEMBER if part == "secrets_unread" else None
    explained = explain(Evidence(BLUE.name, SETTINGS, survey, cluster=BLUE, membership=membership, access=Access(True)))
    assert explained.code == (UNREAD if part == "secrets_unread" else UNSETTLED)
    assert "503 UNAVAILABLE" in str(explained)
    assert explained.sections["Selected"] == ["yes: no CLUSTER_SELECTOR is set"]
    assert not any("delete" in one or "publish" in one for one in commands(explained))


def failed(step: str = "grant-rbac", code: str = "denied", **more: Any) -> Activity:
    entry = Entry(NOW - timedelta(minutes=2), step, "retry", code, "403 gkehub.gateway.post", 7, 20, **more)
    return Activity((entry,), {step: RetryPolicy()})


def test_a_failing_step_shows_attempt_answer_and_next_try() -> None:
    [line] = explaining(activity=failed()).sections["Activity"]
    assert "grant-rbac attempt 7 of 20, 2 min ago: retry: 403 gkehub.gateway.post" in line
    assert line.endswith("(next try: at about 12:08:00 UTC)")


def test_an_unread_retry_policy_makes_the_next_try_unknown() -> None:
    activity = replace(failed(), policies={})
    assert explaining(activity=activity).sections["Activity"][0].endswith("(next try: unknown)")


def test_a_step_that_does_not_answer_is_named_with_its_resume() -> None:
    entry = Entry(
        NOW - timedelta(minutes=9), "register-membership", "registered", "selected", "done", next=("grant-rbac",)
    )
    explained = explaining(activity=Activity((entry,)))
    assert (
        "grant-rbac: no answer since register-membership published its request 9 min ago"
        in explained.sections["Activity"]
    )
    assert {"python -m ops status", "python -m ops resume grant-rbac"} <= {*commands(explained)}


def test_a_cluster_that_nothing_was_logged_about_lost_its_event() -> None:
    assert "no event or request has reached a step" in explaining(activity=Activity()).sections["Activity"][0]
    assert explaining(activity=Activity(unread="403")).sections["Activity"][0].startswith("unknown")


def test_refused_attached_cluster_gets_its_command_from_the_log() -> None:
    survey = seen([], [EDGE])
    explained = explain(
        Evidence(EDGE.name, SETTINGS, survey, membership=EDGE, activity=failed(code="not_admitted", is_from_sweep=True))
    )
    [admit] = [one for one in commands(explained) if "generate-gateway-rbac" in one]
    assert "--membership=edge" in admit
    assert "grant-rbac@demo-fleet.iam.gserviceaccount.com,revoke-rbac@demo-fleet.iam.gserviceaccount.com" in admit


def test_a_plain_secret_of_our_name_is_a_conflict_with_its_commands() -> None:
    explained = explaining(occupant=theirs(BLUE.name.secret_name))
    assert BLUE.name.secret_name in explained.sections["Conflicts"][0]
    assert f"kubectl -n argocd delete secret {BLUE.name.secret_name}" in commands(explained)


def test_an_unmanaged_membership_of_our_id_is_a_conflict_with_its_commands() -> None:
    other = replace(BLUE_MEMBER, cluster=ClusterName("demo-apps", "europe-west1", "green"), labels={})
    explained = explain(Evidence(BLUE.name, SETTINGS, seen([BLUE], [other]), cluster=BLUE))
    assert str(other.name) in explained.sections["Conflicts"][0]
    where = f"{other.name.membership} --location={other.name.location} --project=demo-fleet"
    assert f"gcloud container fleet memberships delete {where}" in commands(explained)


def test_every_command_is_on_its_own_line() -> None:
    explained = explaining(replace(BLUE, labels={"env": "dev"}), settings=SELECTING, letters=(letter_of("x " * 900),))
    lines = str(explained).splitlines()
    for one in commands(explained):
        assert one in [line.strip() for line in lines]
    assert ("x " * 900).strip() in str(explained)


def test_hostile_names_and_errors_have_no_control_characters() -> None:
    bad = "\x1b[2J\x9b31m\u202e\u2028\x07"
    odd = as_secret({**created(), "metadata": {**created()["metadata"], "labels": {"a": bad}}})
    explained = explaining(
        replace(BLUE, labels={"env": bad}),
        secrets=(odd,),
        settings=SELECTING,
        access=Access(None, (bad,)),
        letters=(letter_of(bad),),
        activity=Activity((replace(failed().entries[0], message=bad),)),
    )
    assert all(each.isprintable() or each == "\n" for each in str(explained))


def letter_of(reason: str) -> DeadLetter:
    return DeadLetter("m1", b"{}", {"reason": reason, "step": "write-secret"}, NOW)


def commands(explained: Explanation) -> list[str]:
    """The commands that an explanation prints."""
    return [line.strip() for line in explained.sections["You can"] if line.startswith("  ")]


def test_a_lost_agent_is_reported_and_nothing_is_asked_for() -> None:
    lost = replace(EDGE, last_connection=NOW - timedelta(hours=2))
    survey = seen([], [lost])
    explained = explain(Evidence(EDGE.name, SETTINGS, survey, membership=lost))
    assert "its agent is lost, last heard of 2 h ago" in explained.sections["Fleet"]
    assert any("gke-connect" in line for line in explained.sections["You can"])
    assert not explained.settled


def test_a_limited_plan_is_explained_with_its_release() -> None:
    clusters = [replace(BLUE, name=ClusterName("demo-apps", "europe-west1", f"c{n}"), labels={}) for n in range(4)]
    of_these = [replace(BLUE_MEMBER, name=one.name.membership("demo-fleet"), cluster=one.name) for one in clusters]
    secrets = [as_secret(created(one, there)) for one, there in zip(clusters, of_these, strict=True)]
    survey = seen(clusters, of_these, secrets, settings=SELECTING)
    evidence = Evidence(clusters[0].name, SELECTING, survey, cluster=clusters[0], membership=of_these[0])
    explained = explain(evidence)
    assert "the removal limit stops a sweep's request to remove-secret" in explained.sections["Next"][0]
    assert any("4 clusters" in line for line in explained.sections["You can"])
    assert any(survey.plan.reached[0].hash in one for one in commands(explained))


@pytest.mark.parametrize("text", ["env=a", "env!=a", "env", "!env", "env in (a,b)", "env notin (a,b)"])
def test_a_requirement_is_written_as_it_was_read(text: str) -> None:
    [one] = Selector.parse(text).requirements
    assert requirement(one) == text


@pytest.mark.parametrize(
    "text",
    [
        str(BLUE.name),
        BLUE.name.link,
        str(BLUE_MEMBER.name),
        "blue",
        "demo-apps.europe-west1.blue",
        BLUE_MEMBER.name.membership,
    ],
)
def test_a_cluster_is_found_by_every_name_it_has(text: str) -> None:
    assert find(text, seen(), NUMBERS) == BLUE.name


def test_an_attached_cluster_is_found_by_its_membership() -> None:
    assert find("edge", seen(), NUMBERS) == find(str(EDGE.name), seen(), NUMBERS) == EDGE.name


def test_a_short_name_that_two_have_is_a_mistake_that_lists_them() -> None:
    namesake = replace(BLUE, name=ClusterName("demo-fleet", "europe-west1", "blue"))
    with pytest.raises(MistakeError, match=r"ambiguous.*demo-apps.*demo-fleet"):
        find("blue", seen([BLUE, namesake]), NUMBERS)


@pytest.mark.parametrize(
    ("text", "explained"),
    [
        ("nope", "no cluster, membership or Secret"),
        ("projects/p/clusters/c", "is not a cluster's name"),
        ("projects/p/locations/l/memberships/M", "is not a membership's name"),
    ],
)
def test_a_name_that_nothing_has_is_a_mistake(text: str, explained: str) -> None:
    with pytest.raises(MistakeError, match=explained):
        find(text, seen(), NUMBERS)


def test_a_full_name_need_not_be_in_any_list() -> None:
    assert find("projects/elsewhere/locations/l/clusters/c", seen(), NUMBERS) == ClusterName("elsewhere", "l", "c")
    gone = MembershipName("demo-fleet", "global", "gone")
    assert find(str(gone), seen(), NUMBERS) == gone
