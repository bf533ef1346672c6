"""What `ops doctor` expects of a deployment is what Terraform deploys: compared with the text of its files."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ops.doctor import expected
from ops.doctor.checks_functions import BUNDLE
from tests.unit.deployment import EXPECTED

TERRAFORM = Path(__file__).parents[2] / "infra" / "terraform"
TEXT = {path.name: path.read_text() for path in TERRAFORM.glob("*.tf")}
ALL = "\n".join(TEXT.values())


def listed(name: str) -> set[str]:
    """The texts of a list in services.tf."""
    [found] = re.findall(rf"^\s*{name}\s*=\s*\[(.*?)\]", TEXT["services.tf"], re.DOTALL | re.MULTILINE)
    return set(re.findall(r'"([a-z]+)"', found))


def test_apis_are_those_that_terraform_enables() -> None:
    assert set(expected.RUN_APIS) <= listed("run_services")
    assert set(expected.FLEET_APIS) <= listed("fleet_services")
    assert set(expected.SOURCE_APIS) <= listed("source_services")
    assert set(expected.CENTRAL_APIS) <= listed("fleet_services")
    assert f"central_is_in_fleet ? [] : {json.dumps(expected.CENTRAL_APIS)}" in TEXT["services.tf"]
    assert f"registering = {json.dumps(sorted(expected.REGISTERING))}" in TEXT["identities.tf"]


def test_sink_and_filter_are_terraforms() -> None:
    assert '"${local.sink_prefix}-clusters"' in TEXT["sinks.tf"]
    assert EXPECTED.sink == "fleet-registrar-clusters"
    for line in expected.SINK_FILTER:
        assert line in TEXT["sinks.tf"]


def test_identities_are_terraforms() -> None:
    assert 'account_id   = "fleet-registrar-${each.key}"' in TEXT["identities.tf"]
    assert '"fleet-registrar-build"' in ALL
    assert (EXPECTED.push_account, EXPECTED.trigger_account) == (
        "fleet-registrar-push@demo-fleet.iam.gserviceaccount.com",
        "fleet-registrar-trigger@demo-fleet.iam.gserviceaccount.com",
    )
    assert 'length(name) < 6 ? "fleet-${name}" : name' in ALL
    assert EXPECTED.account("sweep") == "fleet-sweep@demo-fleet.iam.gserviceaccount.com"


def test_build_roles_are_terraforms() -> None:
    for role in expected.BUILD_ROLES:
        assert f'"{role}"' in ALL


def test_every_method_that_is_expected_has_a_trigger() -> None:
    for method in expected.AUDIT_METHODS:
        version, _, name = method.removeprefix("google.container.").partition(".ClusterManager.")
        assert f'"{version}"' in TEXT["events.tf"]
        assert f'"{name}"' in TEXT["events.tf"]
    assert "google.cloud.gkehub.membership.v1." in TEXT["events.tf"]


def test_the_build_variable_of_the_code_is_terraforms() -> None:
    assert re.search(rf"\b{BUNDLE}\s*=", TEXT["functions.tf"], re.MULTILINE)
