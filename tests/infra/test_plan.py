"""Rules that every plan keeps: identities, permissions, deliveries, nothing public; for projects, a folder, an organisation."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from local.google.audit import AuditedCall
from local.google.logging.filters import parse
from shared.values import messages
from shared.values.version import VERSION
from tests.infra.inputs import LEAST, SOURCES
from tests.infra.terraform import ROOT
from tests.infra.test_names import FUNCTIONS, ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.infra.terraform import Module, Plan, Resource

WOKEN = FUNCTIONS - {"status"}
FINISHED = AuditedCall("CreateCluster", "my-fleet", "europe-west1", "blue", "you@example.com", {})
OPERATION = {"name": "operation-1", "operationType": "CREATE_CLUSTER", "status": "DONE"}
PUBSUB_AGENT = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
# The only writes in a source project: Argo CD's binding, made and removed.
RBAC = {
    "grant-rbac": {
        "container.clusterRoleBindings.create",
        "container.clusterRoleBindings.delete",
        "container.clusterRoleBindings.update",
        "container.clusterRoles.bind",
        "container.subjectAccessReviews.create",
    },
    "revoke-rbac": {"container.clusterRoleBindings.delete"},
}


def members(plan: Plan) -> dict[str, str]:
    """IAM member of each identity → its name in the roles' file."""
    accounts = plan.named("google_service_account", "identity")
    return {f"serviceAccount:{account['email']}": name for name, account in accounts.items()}


def grants(plan: Plan) -> Iterator[tuple[str, str, set[str], Resource]]:
    """What our identities hold: name, where, permissions (or the predefined role), and the resource that says so."""
    names = members(plan)
    roles = {
        role["id"] if role.type.startswith("google_project") else role["name"]: set(role["permissions"])
        for role in plan.of("google_project_iam_custom_role", "google_organization_iam_custom_role")
    }
    for resource in plan.resources:
        if resource.type.endswith("_iam_member") and resource["member"] in names:
            where = resource["topic"] or resource["folder"] or resource["org_id"] or resource["project"]
            yield names[resource["member"]], where, roles.get(resource["role"], {resource["role"]}), resource


def held(plan: Plan) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, where, permissions, _ in grants(plan):
        found[name, where] |= permissions
    return found


def test_every_function_has_its_own_identity(plan: Plan) -> None:
    identities = {
        name: function["service_config"][0]["service_account_email"]
        for name, function in plan.named("google_cloudfunctions2_function", "function").items()
    }
    accounts = plan.named("google_service_account", "identity")
    assert identities == {name: accounts[name]["email"] for name in FUNCTIONS}
    assert len(set(identities.values())) == len(FUNCTIONS)


def test_every_function_has_the_version_as_label(plan: Plan) -> None:
    functions = plan.named("google_cloudfunctions2_function", "function").values()
    labels = {function["labels"]["fleet-registrar-version"] for function in functions}
    assert labels == {VERSION.replace(".", "-")}
    assert plan.output("version") == VERSION


@pytest.mark.parametrize(
    ("kind", "sources"),
    [
        ("the fleet project", ["my-fleet"]),
        ("several projects", ["my-fleet", "team-a-prod", "team-b"]),
        ("a folder", ["folders/345"]),
        ("an organisation", ["678"]),
    ],
)
def test_an_identity_holds_its_row_of_the_roles_and_nothing_else(
    plans: dict[str, Plan], kind: str, sources: list[str]
) -> None:
    expected: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, role in ROLES.items():
        for topic in role["publish"]:
            expected[name, f"projects/my-fleet/topics/{topic}"] = {"roles/pubsub.publisher"}
        expected[name, "my-fleet"] |= {*role["fleet"], *role["central"], *role.get("run", [])}
        for source in sources:
            expected[name, source] |= set(role["source"])
    assert held(plans[kind]) == {key: permissions for key, permissions in expected.items() if permissions}


def test_the_roles_of_two_functions_are_never_one(plan: Plan) -> None:
    holders: dict[str, set[str]] = defaultdict(set)
    for name, _, _, resource in grants(plan):
        if resource["role"] != "roles/pubsub.publisher":
            holders[resource["role"]].add(name)
    assert holders
    assert all(len(names) == 1 for names in holders.values())


def test_a_source_gets_only_read_but_for_argo_cds_binding(plan: Plan) -> None:
    for role in plan.of("google_project_iam_custom_role", "google_organization_iam_custom_role"):
        if role.name == "source":
            name = role.key.rpartition("/")[2]
            writes = {each for each in role["permissions"] if not each.endswith((".get", ".list"))}
            assert writes == RBAC.get(name, set())


def test_only_googles_agent_has_a_predefined_role_on_clusters_or_fleet(plan: Plan) -> None:
    for resource in plan.resources:
        if resource.type.endswith("_iam_member") and re.match(r"roles/(container|gkehub)\.", resource["role"]):
            assert resource["role"] == "roles/gkehub.serviceAgent"
            assert resource["member"].endswith("@gcp-sa-gkehub.iam.gserviceaccount.com")


def test_the_terminal_is_argo_cds_alone_and_only_where_it_is_asked_for(full: Plan, plans: dict[str, Plan]) -> None:
    def terminals(plan: Plan) -> list[tuple[str, str]]:
        return [(name, where) for name, where, held_, _ in grants(plan) if held_ == {"roles/gkehub.gatewayAdmin"}]

    assert terminals(full) == [("argocd", "my-fleet")]
    assert terminals(plans["the fleet project"]) == []


def test_only_additive_grants(plan: Plan, full: Plan) -> None:
    for resource in [*plan.resources, *full.resources]:
        assert not resource.type.endswith(("_iam_policy", "_iam_binding"))


def test_nothing_is_public(plan: Plan, full: Plan) -> None:
    for each in (plan, full):
        assert "allUsers" not in json.dumps(each.shown)
        assert "allAuthenticatedUsers" not in json.dumps(each.shown)
        for function in each.of("google_cloudfunctions2_function"):
            assert function["service_config"][0]["ingress_settings"] == "ALLOW_INTERNAL_ONLY"
        for bucket in each.of("google_storage_bucket"):
            assert bucket["public_access_prevention"] == "enforced"
            assert bucket["uniform_bucket_level_access"]


def test_only_pubsub_and_eventarc_call_the_functions(plan: Plan) -> None:
    callers = defaultdict(set)
    for grant in plan.of("google_cloud_run_service_iam_member"):
        assert grant["role"] == "roles/run.servicesInvoker"
        callers[grant["member"].partition("@")[0]].add(grant.key.partition("/")[2])
    assert callers == {
        "serviceAccount:fleet-registrar-push": WOKEN,
        "serviceAccount:fleet-registrar-trigger": {"route-event"},
    }


def test_every_function_is_woken_by_one_subscription(plan: Plan) -> None:
    pushes = plan.named("google_pubsub_subscription", "push")
    assert set(pushes) == WOKEN
    assert {name: push["topic"] for name, push in pushes.items()} == {
        name: f"projects/my-fleet/topics/{messages.AUDIT_LOG_ENTRIES if name == 'route-event' else name}"
        for name in WOKEN
    }


def test_every_subscription_has_a_dead_letter_that_pubsub_can_write(plan: Plan) -> None:
    letters = "projects/my-fleet/topics/dead-letters"
    readable = {
        grant["subscription"]
        for grant in plan.of("google_pubsub_subscription_iam_member")
        if (grant["role"], grant["member"]) == ("roles/pubsub.subscriber", PUBSUB_AGENT)
    }
    writable = [
        grant
        for grant in plan.of("google_pubsub_topic_iam_member")
        if (grant["topic"], grant["member"]) == (letters, PUBSUB_AGENT)
    ]
    assert [grant["role"] for grant in writable] == ["roles/pubsub.publisher"]
    for subscription in plan.of("google_pubsub_subscription"):
        if subscription["topic"] == letters:
            assert not subscription["push_config"], "people pull the dead letters"
            assert subscription["message_retention_duration"] == "604800s"
            continue
        assert subscription["dead_letter_policy"] == [{"dead_letter_topic": letters, "max_delivery_attempts": 20}]
        assert subscription["name"] in readable


def test_no_subscription_expires(plan: Plan) -> None:
    assert all(each["expiration_policy"] == [{"ttl": ""}] for each in plan.of("google_pubsub_subscription"))


def test_a_delivery_is_not_repeated_while_its_function_may_still_run(plan: Plan) -> None:
    functions = plan.named("google_cloudfunctions2_function", "function")
    for name, push in plan.named("google_pubsub_subscription", "push").items():
        assert functions[name]["service_config"][0]["timeout_seconds"] < push["ack_deadline_seconds"] <= 600
        assert push["retry_policy"] == [{"minimum_backoff": "10s", "maximum_backoff": "600s"}]
        assert push["push_config"][0]["oidc_token"][0]["service_account_email"].startswith("fleet-registrar-push@")


def test_every_method_in_every_version_has_a_trigger_in_global(plan: Plan) -> None:
    triggers = plan.named("google_eventarc_trigger", "audit").values()
    assert len(triggers) == 8
    assert {trigger["location"] for trigger in triggers} == {"global"}
    methods = {each["value"] for t in triggers for each in t["matching_criteria"] if each["attribute"] == "methodName"}
    assert methods == {
        f"google.container.{version}.ClusterManager.{method}"
        for method in ("CreateCluster", "DeleteCluster", "UpdateCluster", "SetLabels")
        for version in ("v1", "v1beta1")
    }


def test_membership_events_are_heard_in_each_listed_location(module: Module, full: Plan) -> None:
    plan = module.plan(**LEAST, membership_locations=["global", "europe-west1", "us-east1"])
    triggers = plan.named("google_eventarc_trigger", "membership").values()
    assert len({(trigger["location"], trigger["name"]) for trigger in triggers}) == 9
    assert {trigger["location"] for trigger in triggers} == {"global", "europe-west1", "us-east1"}
    # A trigger sees its own project's events and calls a service of its own project: elsewhere the sweep is what finds them.
    assert not full.named("google_eventarc_trigger", "membership")


def test_every_trigger_wakes_the_router_with_json(plan: Plan) -> None:
    for trigger in plan.of("google_eventarc_trigger"):
        assert trigger["destination"][0]["cloud_run_service"][0]["service"] == "route-event"
        assert trigger["event_data_content_type"] == "application/json"
        assert trigger["service_account"].startswith("fleet-registrar-trigger@")


@pytest.mark.parametrize(
    ("kind", "type_", "sources"),
    [
        ("several projects", "google_logging_project_sink", {"my-fleet", "team-a-prod", "team-b"}),
        ("a folder", "google_logging_folder_sink", {"folders/345"}),
        ("an organisation", "google_logging_organization_sink", {"678"}),
    ],
)
def test_a_sink_for_every_source_and_it_may_write(
    plans: dict[str, Plan], kind: str, type_: str, sources: set[str]
) -> None:
    plan = plans[kind]
    sinks = [sink for sink in plan.resources if sink.type.endswith("_sink")]
    assert {sink.type for sink in sinks} == {type_}
    publishers = {grant["member"] for grant in plan.named("google_pubsub_topic_iam_member", "cluster_entries").values()}
    writers = {grant["member"] for grant in plan.named("google_project_iam_member", "binding_entries").values()}
    for name, allowed in (("fleet-registrar-clusters", publishers), ("fleet-registrar-bindings", writers)):
        ours = [sink for sink in sinks if sink["name"] == name]
        assert {sink["folder"] or sink["org_id"] or sink["project"] for sink in ours} == sources
        assert all(sink["include_children"] for sink in ours if sink.type != "google_logging_project_sink")
        # Into a log bucket of its own project a sink writes without an identity.
        needed = {
            sink["writer_identity"] for sink in ours if name.endswith("clusters") or sink["project"] != "my-fleet"
        }
        assert allowed == needed


@pytest.mark.parametrize("kind", SOURCES)
def test_no_sink_passes_entries_that_triggers_carry(plans: dict[str, Plan], kind: str) -> None:
    plan = plans[kind]
    assert plan.of("google_eventarc_trigger")
    sinks = [sink for sink in plan.resources if sink.type.endswith("_sink") and sink["name"].endswith("clusters")]
    assert sinks
    for sink in sinks:
        matches = parse(sink["filter"])
        assert not matches(FINISHED.finished(OPERATION))
        assert matches(replace(FINISHED, project="team-b").finished(OPERATION))


def test_a_folders_roles_are_the_organisations(plans: dict[str, Plan]) -> None:
    roles = plans["a folder"].of("google_organization_iam_custom_role")
    assert {role.key for role in roles} == {name for name, role in ROLES.items() if role["source"]}
    assert {role["org_id"] for role in roles} == {"678"}


def test_the_fleets_agent_may_register_clusters_of_every_source(plans: dict[str, Plan]) -> None:
    def where(kind: str) -> set[str]:
        return {
            grant["project"] or grant["folder"] or grant["org_id"]
            for grant in plans[kind].resources
            if grant["role"] == "roles/gkehub.serviceAgent"
        }

    assert where("several projects") == {"my-fleet", "team-a-prod", "team-b"}
    assert where("a folder") == {"my-fleet", "folders/345"}
    assert where("an organisation") == {"my-fleet", "678"}


def test_argo_cds_two_workloads_act_as_its_identity_and_no_other_does(full: Plan) -> None:
    bindings = full.named("google_service_account_iam_member", "argocd").values()
    assert {binding["member"] for binding in bindings} == {
        "serviceAccount:central-host.svc.id.goog[cd/argocd-server]",
        "serviceAccount:central-host.svc.id.goog[cd/argocd-application-controller]",
    }
    for binding in bindings:
        assert binding["role"] == "roles/iam.workloadIdentityUser"
        assert binding["service_account_id"].endswith("/argocd@my-run.iam.gserviceaccount.com")


def test_the_service_accounts_of_an_operators_argo_cd_can_be_named(module: Module) -> None:
    named = ["argocd-argocd-application-controller", "argocd-argocd-server"]
    planned = module.plan(**LEAST, argocd={"service_accounts": named})
    bindings = planned.named("google_service_account_iam_member", "argocd").values()
    assert {binding["member"] for binding in bindings} == {
        f"serviceAccount:my-fleet.svc.id.goog[argocd/{name}]" for name in named
    }


def test_a_sweep_is_asked_for_with_a_body(plan: Plan) -> None:
    (job,) = plan.of("google_cloud_scheduler_job")
    assert job["pubsub_target"] == [
        {"topic_name": "projects/my-fleet/topics/sweep", "data": "e30=", "attributes": None}
    ]


def test_every_alert_reaches_the_channels(full: Plan) -> None:
    alerts = full.of("google_monitoring_alert_policy")
    assert {alert.name for alert in alerts} == {
        "dead_letters",
        "foreign_bindings",
        "no_sweep",
        "removal_limit",
        "slow_onboarding",
    }
    assert {tuple(alert["notification_channels"]) for alert in alerts} == {("projects/my-run/notificationChannels/1",)}


def test_an_apply_waits_for_approval_on_the_main_branch(full: Plan, plan: Plan) -> None:
    triggers = full.named("google_cloudbuild_trigger", "delivery")
    assert {name: trigger["approval_config"][0]["approval_required"] for name, trigger in triggers.items()} == {
        "plan": False,
        "apply": True,
    }
    for trigger in triggers.values():
        assert trigger["repository_event_config"][0]["push"][0]["branch"] == "^main$"
    assert len({trigger["service_account"] for trigger in triggers.values()}) == 2
    assert not plan.of("google_cloudbuild_trigger"), "nothing is delivered where nobody asked for it"


def test_the_planning_identity_changes_nothing_but_plans(full: Plan) -> None:
    held_ = {
        (grant.type, grant["bucket"] or "", grant["role"])
        for grant in full.resources
        if grant.type.endswith("_iam_member")
        and str(grant["member"]).startswith("serviceAccount:fleet-registrar-plan@")
    }
    assert held_ == {
        ("google_project_iam_member", "", "roles/viewer"),
        ("google_project_iam_member", "", "roles/iam.securityReviewer"),
        ("google_project_iam_member", "", "roles/logging.logWriter"),
        ("google_project_iam_member", "", "roles/serviceusage.serviceUsageConsumer"),
        ("google_storage_bucket_iam_member", "my-run-fleet-registrar-plans", "roles/storage.objectUser"),
        ("google_storage_bucket_iam_member", "my-state", "roles/storage.objectViewer"),
        ("google_storage_bucket_iam_member", "my-run-fleet-registrar-bundles", "roles/storage.objectViewer"),
    }


def test_what_the_fleet_needs_is_granted_in_the_fleet_project(full: Plan) -> None:
    """Registration is left to others there, so nobody may create or delete a membership."""
    registering = {"gkehub.memberships.create", "gkehub.memberships.delete", "gkehub.operations.get"}
    for name, role in ROLES.items():
        terminal = {"roles/gkehub.gatewayAdmin"} if name == "argocd" else set()
        assert held(full)[name, "my-fleet"] == {*role["fleet"], *terminal} - registering
    assert {name: held(full)[name, where] for name, where in held(full) if where == "my-run"} == {
        "status": set(ROLES["status"]["run"])
    }


def test_what_the_central_cluster_needs_is_granted_in_its_fleet(full: Plan) -> None:
    for name, role in ROLES.items():
        assert held(full)[name, "my-central"] == set(role["central"])
    enabled = {
        service["service"] for service in full.of("google_project_service") if service["project"] == "my-central"
    }
    assert enabled == {"connectgateway.googleapis.com", "gkehub.googleapis.com"}


def test_the_documents_count_is_the_plans(plans: dict[str, Plan]) -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text()
    assert f"Plan: {len(plans['the fleet project'].resources)} to add" in guide
    assert len(plans["a folder"].resources) == len(plans["an organisation"].resources)
    assert f"{len(plans['a folder'].resources)} with a folder or an organisation" in guide
