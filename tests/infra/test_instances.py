"""Several registrars of one Argo CD: two plans in one fleet and one organisation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from ops.doctor.expected import Expected
from shared.values import settings
from tests.infra.inputs import CENTRAL, LEAST, SOURCES
from tests.infra.test_names import environment
from tests.infra.test_plan import held

if TYPE_CHECKING:
    from tests.infra.terraform import Module, Plan, Resource

LONGEST = "a" * 28 + "-b"
OTHER: dict[str, Any] = {
    "project": "other-run",
    "fleet_project": "my-fleet",
    "central_membership": CENTRAL,
    "settings": {"instance": LONGEST},
    "argocd": {"identity": "argocd@my-fleet.iam.gserviceaccount.com"},
}
# An enabled API is enabled, whichever plan asks for it; neither plan disables it. Google's fleet agent has its role once.
# Google names a dashboard.
SHARED = ("google_monitoring_dashboard.", "google_project_service.", "google_project_service_identity.fleet", "google_project_iam_member.fleet_agent",
          "google_folder_iam_member.fleet_agent", "google_organization_iam_member.fleet_agent", "time_sleep.")  # fmt: skip


@pytest.fixture(scope="module")
def others(module: Module) -> dict[str, Plan]:
    """A plan of a second instance for each kind of source."""
    return {kind: module.plan(**OTHER, sources=sources) for kind, sources in SOURCES.items()}


def identified(resource: Resource) -> tuple[str, ...]:
    """What Google knows a resource by: its kind, where it is, and its name."""
    if resource.type.endswith("_iam_member"):
        where = ("project", "folder", "org_id", "topic", "subscription", "bucket", "service", "service_account_id")
        return (resource.type, *(str(resource[key]) for key in (*where, "role", "member")))
    places = ("project", "folder", "org_id", "location", "region", "bucket")
    names = ("role_id", "bucket_id", "account_id", "name", "display_name", "service")
    name = next(str(resource[key]) for key in names if resource[key])
    return (resource.type, *(str(resource[key]) for key in places), name)


def of(plan: Plan) -> set[tuple[str, ...]]:
    return {identified(each) for each in plan.resources if not each.address.startswith(SHARED)}


@pytest.mark.parametrize("kind", SOURCES)
def test_two_instances_have_no_resource_name_in_common(
    plans: dict[str, Plan], others: dict[str, Plan], kind: str
) -> None:
    first, second = of(plans[kind]), of(others[kind])
    assert len(first) > 100
    assert len(second) > 100
    assert first & second == set()


def test_names_of_the_longest_instance_fit(others: dict[str, Plan], module: Module) -> None:
    central = module.plan(**{**OTHER, "central_membership": CENTRAL.replace("my-fleet", "my-central")})
    for plan in (*others.values(), central):
        for role in plan.of("google_project_iam_custom_role", "google_organization_iam_custom_role"):
            assert re.fullmatch(r"[a-zA-Z0-9_.]{3,64}", role["role_id"])
            assert len(role["title"]) <= 100
        for sink in plan.of("google_logging_project_sink", "google_logging_folder_sink"):
            assert re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", sink["name"])


def test_an_identity_of_another_instance_is_granted_and_not_created(others: dict[str, Plan]) -> None:
    plan = others["the fleet project"]
    assert "argocd" not in plan.named("google_service_account", "identity")
    assert plan.named("google_project_iam_member", "fleet")["argocd"]["member"] == (
        "serviceAccount:argocd@my-fleet.iam.gserviceaccount.com"
    )
    assert not plan.named("google_service_account_iam_member", "argocd")


def test_a_second_instance_names_the_identity_in_its_settings(others: dict[str, Plan], plans: dict[str, Plan]) -> None:
    assert environment(others["a folder"])["INSTANCE"] == LONGEST
    names = ("ARGOCD_SERVICE_ACCOUNT", "CENTRAL_MEMBERSHIP", "FLEET_PROJECT_NUMBER")
    for name in names:
        assert environment(others["a folder"])[name] == environment(plans["a folder"])[name]


def test_the_fixture_of_least_inputs_is_the_default_instance(plans: dict[str, Plan]) -> None:
    roles = plans["an organisation"].of("google_project_iam_custom_role")
    assert {role["role_id"].partition(".")[0] for role in roles} == {"fleet_registrar"}
    assert "settings" not in LEAST


def test_the_doctor_expects_what_terraform_grants(full: Plan, others: dict[str, Plan]) -> None:
    for plan in (full, others["several projects"]):
        read = settings.load(environment(plan))
        expected = Expected(read, read.instance)
        granted = {
            key: permissions - {"roles/gkehub.gatewayAdmin"}
            for key, permissions in held(plan).items()
            if not key[1].startswith("projects/")
        }
        created = plan.named("google_service_account", "identity")
        assert granted == {(who, where): set(needed) for who, where, needed in expected.grants() if who in created}
        assert {sink["name"] for sink in plan.of("google_logging_project_sink")} >= {expected.sink}
        roles = plan.of("google_project_iam_custom_role")
        assert {role["role_id"].rpartition(f".{name(role)}")[0] for role in roles} == {expected.custom_roles}


def name(role: Resource) -> str:
    """The function of a custom role, as its id says it."""
    return role.key.rpartition("/")[2].replace("-", "_")
