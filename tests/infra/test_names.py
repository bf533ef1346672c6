"""Names of topics, functions, settings and roles are the same in Terraform, the code and the roles' file, both ways."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from shared.decisions import events, rbac
from shared.values import messages, settings
from shared.values.codes import Decision
from shared.values.labels import LabelKeys
from tests.infra.terraform import ROOT, MissingError, Plan, binary

if TYPE_CHECKING:
    from pathlib import Path

ROLES: dict[str, dict[str, list[str]]] = json.loads((ROOT / "infra" / "roles.json").read_text())
FUNCTIONS = {
    node.name.replace("_", "-")
    for node in ast.parse((ROOT / "main.py").read_text()).body
    if isinstance(node, ast.FunctionDef)
}
TOPICS = {
    *messages.STEPS,
    "sweep",
    messages.AUDIT_LOG_ENTRIES,
    messages.DEAD_LETTERS,
    "cluster-events",
}
# For laptops: nowhere else are other endpoints meant.
ENDPOINTS = re.compile(r"CLOUDSDK_API_ENDPOINT_OVERRIDES_\w+|PUBSUB_EMULATOR_HOST")


class Listening(dict[str, str]):
    """An environment that notes which names are read."""

    def __init__(self, known: dict[str, str]) -> None:
        super().__init__(known)
        self.read: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


def environment(plan: Plan, function: str = "sweep") -> dict[str, str]:
    found: dict[str, str] = plan.named("google_cloudfunctions2_function", "function")[function]["service_config"][0][
        "environment_variables"
    ]
    return found


def test_the_functions_are_those_of_main_py(plan: Plan) -> None:
    functions = plan.named("google_cloudfunctions2_function", "function")
    assert set(functions) == FUNCTIONS == set(ROLES) - {"argocd"}
    assert {each["name"]: each["build_config"][0]["entry_point"] for each in functions.values()} == {
        name: name.replace("-", "_") for name in FUNCTIONS
    }


def test_the_topics_are_those_that_the_code_knows(plan: Plan) -> None:
    assert {topic["name"] for topic in plan.of("google_pubsub_topic")} == TOPICS


def test_a_topic_wakes_every_function_but_the_page() -> None:
    assert {*messages.STEPS, "sweep", "route-event"} == FUNCTIONS - {"status"}


def test_every_setting_reaches_every_function_and_no_other_does(full: Plan) -> None:
    for function in FUNCTIONS:
        given = Listening(environment(full, function))
        settings.load(given)
        assert set(given) == {name for name in given.read if not ENDPOINTS.fullmatch(name)}


def test_the_settings_mean_what_was_asked_for(full: Plan) -> None:
    read = settings.load(environment(full))
    assert read.fleet_project == "my-fleet"
    assert read.fleet_project_number == "123456789012"
    assert read.pubsub_project == "my-run"
    assert read.source_projects == {"team-a-prod"}
    assert read.label_keys == LabelKeys.parse("env,tier,cost-*,team:example.com/team")
    assert read.argocd_service_account == "argocd@my-run.iam.gserviceaccount.com"
    assert (read.argocd_namespace, read.argocd_cluster_role, read.argocd_shards) == ("cd", "deployer", 3)
    assert read.max_removals == settings.RemovalLimit(7, percent=False)
    assert (read.sweep_requests, read.hold.total_seconds(), read.registration) == (50, 60, "wait")
    assert read.secrets == "external"
    assert (read.central_membership.project, read.central_project_number) == ("my-central", "345678901234")
    assert read.selector.matches({"argocd": "yes"})
    assert not read.selector.matches({})


# What a person may type as `settings.label_keys`.
LABEL_KEYS = [
    ["env"],
    ["env", "cost-*", "team:example.com/team"],
    ["*"],
    ["*", "team:owner"],
    ["cost-*", "cost-a:price"],
    ["größe", "größe:size"],
    ["größe:size"],
    ["a.b/c_d-e", "a.b/c_d-e*"],
    ["goog-x", "goog-x:example.com/x"],
    ["team:notkubernetes.io/x"],
    ["team:kubernetes.io"],
    ["team:fleet-registrar/project"],
    ["team:my.fleet-registrar/project"],
    ["team:fleet-registrar-x"],
    ["team:argocd.argoproj.io/secret-type"],
    ["team:app.kubernetes.io/managed-by"],
    ["team:x.k8s.io/y"],
    ["team:goog-x"],
    ["team:example.com/"],
    ["team:Example.com/team"],
    ["team:a/b/c"],
    ["team:-team"],
    ["team:größe"],
    ["team:" + "x" * 63],
    ["team:" + "x" * 64],
    ["team:"],
    [":team"],
    ["team:a:b"],
    ["cost-*:price"],
    ["team:cost-*"],
    ["c*st"],
    ["**"],
    ["a b"],
    ["a=b"],
    ["a:x", "b:x"],
    ["a:x", "a:y"],
    ["a", "a:x"],
]


def test_terraform_refuses_the_label_keys_that_the_functions_refuse(tmp_path: Path) -> None:
    def accepted(keys: list[str]) -> bool:
        try:
            LabelKeys.parse(",".join(keys))
        except ValueError:
            return False
        return True

    variables = (ROOT / "infra" / "terraform" / "variables.tf").read_text()
    conditions = re.findall(r"condition += (.*label_keys.*)\n", variables)
    assert conditions
    both = " && ".join(f"({one.replace('var.settings.label_keys', 'toset(keys)')})" for one in conditions)
    question = f"jsonencode([for keys in {json.dumps(LABEL_KEYS, ensure_ascii=False)} : {both}])"
    try:
        command = [binary(), "console"]
    except MissingError as error:
        pytest.skip(str(error))
    alone = {"PATH": os.defpath, "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"}
    answer = subprocess.run(
        command, cwd=tmp_path, env=alone, input=question, capture_output=True, text=True, check=True
    )
    found = dict(zip(map(tuple, LABEL_KEYS), json.loads(json.loads(answer.stdout)), strict=True))
    assert found == {tuple(keys): accepted(keys) for keys in LABEL_KEYS}


def test_terraforms_defaults_are_the_codes(plans: dict[str, Plan]) -> None:
    given = environment(plans["the fleet project"])
    required = {
        name: given[name]
        for name in ("FLEET_PROJECT", "FLEET_PROJECT_NUMBER", "CENTRAL_MEMBERSHIP", "ARGOCD_SERVICE_ACCOUNT")
    }
    assert settings.load(given) == settings.load(required)


def test_a_folders_projects_are_the_source_projects(plans: dict[str, Plan]) -> None:
    for kind in ("a folder", "an organisation"):
        assert settings.load(environment(plans[kind])).source_projects == {"team-a-prod", "team-b"}


def test_the_triggers_listen_to_what_the_router_understands(plan: Plan) -> None:
    criteria = [
        {each["attribute"]: each["value"] for each in trigger["matching_criteria"]}
        for trigger in plan.of("google_eventarc_trigger")
    ]
    audit = [each for each in criteria if each["type"] == events.AUDIT]
    assert {each["methodName"].rpartition(".")[2] for each in audit} == {
        "CreateCluster",
        "DeleteCluster",
        "UpdateCluster",
        "SetLabels",
    }
    for each in audit:
        entry = {"protoPayload": {**each, "status": {"code": 7}}}
        assert events.route_entry(entry, {}).reason.endswith("nothing has changed")
    members = [each["type"] for each in criteria if each["type"] != events.AUDIT]
    assert sorted(members) == [f"{events.MEMBERSHIP}{kind}" for kind in ("created", "deleted", "updated")]


def test_the_sinks_take_the_same_methods_as_the_triggers(plan: Plan) -> None:
    methods = {
        each["value"].rpartition(".")[2]
        for trigger in plan.of("google_eventarc_trigger")
        for each in trigger["matching_criteria"]
        if each["attribute"] == "methodName"
    }
    sinks = [
        sink for sink in plan.resources if sink.type.endswith("_sink") and sink["name"] == "fleet-registrar-clusters"
    ]
    for sink in sinks:
        found = re.search(r'methodName=~"\\\.\(([A-Za-z|]+)\)\$"', sink["filter"])
        assert found
        assert set(found[1].split("|")) == methods
    assert sinks


def test_admission_command_names_our_identities(plan: Plan) -> None:
    emails = {account["email"] for account in plan.named("google_service_account", "identity").values()}
    granting = next(email for email in emails if email.startswith("grant-rbac@"))
    # The command's second user is derived from the first by the functions' names.
    assert granting.replace("grant-rbac", "revoke-rbac", 1) in emails
    assert "users" in inspect.signature(rbac.admission_command).parameters


def test_the_alerts_look_for_what_the_sweep_writes() -> None:
    alerts = (ROOT / "infra" / "terraform" / "alerts.tf").read_text()
    decisions = set(re.findall(r'jsonPayload\.decision=\\"(\w+)\\"', alerts))
    assert decisions == {Decision.LIMITED, Decision.SWEPT}


def test_service_accounts_ids_are_ones_that_google_takes(full: Plan) -> None:
    for account in full.of("google_service_account"):
        assert re.fullmatch(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])", account["account_id"])


@pytest.mark.parametrize("kind", ["identities", "environment", "source_projects", "topics"])
def test_what_the_documents_read_is_an_output(plans: dict[str, Plan], kind: str) -> None:
    assert plans["the fleet project"].shown["planned_values"]["outputs"][kind]["value"]
