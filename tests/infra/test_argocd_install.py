"""Argo CD on the central cluster: every overlay and combination, rendered by the kubectl that people use."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from google.auth import identity_pool

from local.identities import account_id
from local.real import build
from tests import forked_gcloud
from tests.infra import argocd
from tests.infra.argocd import ROOT, TREE, VALUES, by_id, one, render

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infra.argocd import Object

pytestmark = argocd.needs_kubectl

TALK_TO_CLUSTERS = {("Deployment", "argocd-server"), ("StatefulSet", "argocd-application-controller")}
WAYS_IN = ("", "load-balancer-external", "load-balancer-internal", "gke-ingress")
COMBINATIONS = [
    (overlay, availability, way_in)
    for overlay in ("gke", "fleet")
    for availability in ("", "high-availability")
    for way_in in WAYS_IN
    if (overlay, way_in) != ("fleet", "gke-ingress")  # outside GKE there is no GKE Ingress
]
PLACEHOLDER = re.compile(
    r"\b(?:DOMAIN|NUMBER|HOST|RANGE|POOL|AUDIENCE|IMPERSONATION|METHOD|FLEET|MEMBERSHIP|IDENTITY|INSTANCE|IDS|CENTRAL"
    r"|SHARDS)\b"
)
GKE_ONLY = {"BackendConfig", "FrontendConfig", "ManagedCertificate"}
ROLES: dict[str, dict[str, list[str]]] = json.loads((ROOT / "infra" / "roles.json").read_text())


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return argocd.copy(tmp_path_factory.mktemp("install"))


@pytest.fixture(scope="session")
def combinations(tree: Path) -> dict[tuple[str, str, str], list[Object]]:
    """Every overlay with every set of components, as a folder of somebody's own would put them together."""
    rendered = {}
    for overlay, availability, way_in in COMBINATIONS:
        folder = tree / f"own-{overlay}-{availability}-{way_in}"
        folder.mkdir()
        components = [f"../components/{name}" for name in (availability, way_in) if name]
        (folder / "kustomization.yaml").write_text(
            yaml.safe_dump({"resources": [f"../overlays/{overlay}"], "components": components})
        )
        rendered[overlay, availability, way_in] = render(folder)
    return rendered


@pytest.fixture(scope="session")
def gke(combinations: dict[tuple[str, str, str], list[Object]]) -> list[Object]:
    return combinations["gke", "", ""]


@pytest.fixture(scope="session")
def fleet(combinations: dict[tuple[str, str, str], list[Object]]) -> list[Object]:
    return combinations["fleet", "", ""]


@pytest.fixture(scope="session")
def release(tree: Path) -> list[Object]:
    """Upstream's manifests as they come."""
    return argocd.parse((tree / "base" / "upstream" / "upstream.yaml").read_text())


def containers(item: Object) -> list[Object]:
    spec = item.get("spec", {}).get("template", {}).get("spec", {})
    return [*spec.get("initContainers", []), *spec.get("containers", [])]


def test_the_pinned_version_itself_is_rendered() -> None:
    found = argocd.upstream()
    if found.version != found.pinned:
        pytest.skip(f"the Go module proxy does not give Argo CD {found.pinned}: rendered with {found.version} instead")


@pytest.mark.parametrize("overlay", ["gke", "fleet"])
def test_a_whole_overlay_holds_the_resource_definitions(overlay: str, tmp_path: Path) -> None:
    objects = render(argocd.copy(tmp_path, whole=True) / "overlays" / overlay)
    kinds = {item["spec"]["names"]["kind"] for item in objects if item["kind"] == "CustomResourceDefinition"}
    assert kinds == {"Application", "ApplicationSet", "AppProject"}


@pytest.mark.parametrize("chosen", COMBINATIONS, ids="+".join)
def test_every_combination_renders_and_everything_is_in_argocd(
    chosen: tuple[str, str, str], combinations: dict[tuple[str, str, str], list[Object]]
) -> None:
    cluster_wide = {
        "ClusterRole",
        "ClusterRoleBinding",
        "Namespace",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    for item in combinations[chosen]:
        namespace = item["metadata"].get("namespace")
        assert namespace == (None if item["kind"] in cluster_wide else "argocd"), item["metadata"]["name"]
        for subject in item.get("subjects", []):
            if subject["kind"] == "ServiceAccount":
                assert subject["namespace"] == ("gke-connect" if subject["name"] == "connect-agent-sa" else "argocd")


@pytest.mark.parametrize("chosen", COMBINATIONS, ids="+".join)
def test_values_have_arrived_everywhere(
    chosen: tuple[str, str, str], combinations: dict[tuple[str, str, str], list[Object]]
) -> None:
    text = yaml.dump(combinations[chosen], Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))
    shipped = yaml.safe_load((TREE / "values" / "values.yaml").read_text())["data"]
    assert [value for value in shipped.values() if value not in argocd.COMMON_WORDS and value in text] == []
    assert PLACEHOLDER.findall(text) == []


@pytest.mark.parametrize("chosen", COMBINATIONS, ids="+".join)
def test_what_upstream_runs_is_not_changed(
    chosen: tuple[str, str, str], combinations: dict[tuple[str, str, str], list[Object]], release: list[Object]
) -> None:
    ours = {(kind, name): item for (kind, _, name), item in by_id(combinations[chosen]).items() if containers(item)}
    for item in filter(containers, release):
        kind, name = item["kind"], item["metadata"]["name"]
        if (name, chosen[1]) == ("argocd-redis", "high-availability"):
            assert (kind, name) not in ours
            continue
        for before, after in zip(containers(item), containers(ours[kind, name]), strict=True):
            assert {key for key in before | after if before.get(key) != after.get(key)} <= {"env", "volumeMounts"}
            for field in ("env", "volumeMounts"):
                kept = [entry for entry in after.get(field, []) if entry in before.get(field, [])]
                assert kept == before.get(field, [])


def test_on_gke_exactly_two_service_accounts_have_the_identity(gke: list[Object]) -> None:
    annotated = {
        item["metadata"]["name"]: item["metadata"]["annotations"]["iam.gke.io/gcp-service-account"]
        for item in gke
        if item["kind"] == "ServiceAccount" and item["metadata"].get("annotations")
    }
    assert annotated == dict.fromkeys(["argocd-server", "argocd-application-controller"], VALUES["argocd-identity"])


def test_in_the_fleet_exactly_two_workloads_have_the_identity(fleet: list[Object]) -> None:
    having = {
        (item["kind"], item["metadata"]["name"])
        for item in fleet
        for container in containers(item)
        if any(entry["name"] == "GOOGLE_APPLICATION_CREDENTIALS" for entry in container.get("env", []))
    }
    assert having == TALK_TO_CLUSTERS
    assert not [item for item in fleet if "iam.gke.io" in str(item["metadata"].get("annotations"))]


@pytest.mark.parametrize("workload", sorted(TALK_TO_CLUSTERS))
def test_in_the_fleet_the_additions_come_last(
    workload: tuple[str, str], fleet: list[Object], release: list[Object]
) -> None:
    theirs = one(release, *workload)["spec"]["template"]["spec"]
    ours = one(fleet, *workload)["spec"]["template"]["spec"]
    assert ours["volumes"][:-1] == theirs["volumes"]
    for field in ("env", "volumeMounts"):
        assert ours["containers"][0][field][:-1] == theirs["containers"][0][field]
    pool = f"{VALUES['fleet-project']}.svc.id.goog"
    token, credentials = ours["volumes"][-1]["projected"]["sources"]
    assert token["serviceAccountToken"] == {"path": "token", "audience": pool, "expirationSeconds": 172800}
    mount = ours["containers"][0]["volumeMounts"][-1]
    path = f"{mount['mountPath']}/{credentials['configMap']['items'][0]['path']}"
    assert ours["containers"][0]["env"][-1]["value"] == path


def test_in_the_fleet_the_credentials_name_the_membership_and_the_identity(fleet: list[Object]) -> None:
    credentials = json.loads(one(fleet, "ConfigMap", "google-credentials")["data"]["credentials.json"])
    member = f"https://gkehub.googleapis.com/{VALUES['central-membership']}"
    whose = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{VALUES['argocd-identity']}"
    assert credentials == {
        "type": "external_account",
        "audience": f"identitynamespace:{VALUES['fleet-project']}.svc.id.goog:{member}",
        "service_account_impersonation_url": f"{whose}:generateAccessToken",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": "/var/run/secrets/google/token"},
    }


def test_google_s_own_library_reads_the_credentials(fleet: list[Object]) -> None:
    written = json.loads(one(fleet, "ConfigMap", "google-credentials")["data"]["credentials.json"])
    credentials = identity_pool.Credentials.from_info(written)
    assert credentials.service_account_email == VALUES["argocd-identity"]


def test_high_availability_is_upstream_s_own(
    combinations: dict[tuple[str, str, str], list[Object]], gke: list[Object], release: list[Object], tree: Path
) -> None:
    """What the component makes of the plain release is upstream's highly available one, object by object."""
    theirs = {(item["kind"], item["metadata"]["name"]): item for item in release}
    own = {key for key in by_id(gke) if (key[0], key[2]) not in theirs}
    ours = by_id(combinations["gke", "high-availability", ""])
    highly = argocd.parse((tree / "components" / "high-availability" / "redis" / "upstream.yaml").read_text())
    assert {(kind, name) for kind, namespace, name in ours if (kind, namespace, name) not in own} == {
        (item["kind"], item["metadata"]["name"]) for item in highly
    }
    for item in highly:
        namespace = "" if item["kind"].startswith("Cluster") else "argocd"
        made = ours[item["kind"], namespace, item["metadata"]["name"]]
        for part in ("spec", "data", "rules"):
            assert settled(made.get(part)) == settled(item.get(part)), item["metadata"]["name"]


def settled(value: Any) -> Any:
    """Compare without the order of environment variables, which means nothing here."""
    if isinstance(value, dict):
        return {key: sorted(map(json.dumps, inner)) if key == "env" else settled(inner) for key, inner in value.items()}
    return [settled(inner) for inner in value] if isinstance(value, list) else value


def test_without_a_way_in_argocd_is_reached_from_inside_only(gke: list[Object]) -> None:
    assert "type" not in one(gke, "Service", "argocd-server")["spec"]
    assert not [item for item in gke if item["kind"] == "Ingress"]


def test_the_external_load_balancer_admits_only_the_named_range(
    combinations: dict[tuple[str, str, str], list[Object]],
) -> None:
    service = one(combinations["gke", "", "load-balancer-external"], "Service", "argocd-server")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["loadBalancerSourceRanges"] == [VALUES["allowed-range"]]


def test_the_internal_load_balancer_is_internal(combinations: dict[tuple[str, str, str], list[Object]]) -> None:
    service = one(combinations["gke", "", "load-balancer-internal"], "Service", "argocd-server")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["metadata"]["annotations"] == {"networking.gke.io/load-balancer-type": "Internal"}


def test_the_ingress_ends_tls_and_the_server_behind_it_speaks_http(
    combinations: dict[tuple[str, str, str], list[Object]],
) -> None:
    objects = combinations["gke", "", "gke-ingress"]
    ingress = one(objects, "Ingress", "argocd-server")
    annotations = ingress["metadata"]["annotations"]
    assert one(objects, "ConfigMap", "argocd-cmd-params-cm")["data"] == {"server.insecure": "true"}
    certificate = one(objects, "ManagedCertificate", annotations["networking.gke.io/managed-certificates"])
    assert certificate["spec"]["domains"] == [VALUES["host"]] == [ingress["spec"]["rules"][0]["host"]]
    frontend = one(objects, "FrontendConfig", annotations["networking.gke.io/v1beta1.FrontendConfig"])
    assert frontend["spec"]["redirectToHttps"] == {"enabled": True}
    service = one(objects, "Service", "argocd-server")
    backend = json.loads(service["metadata"]["annotations"]["cloud.google.com/backend-config"])["ports"]["http"]
    check = one(objects, "BackendConfig", backend)["spec"]["healthCheck"]
    assert (check["type"], check["requestPath"], check["port"]) == ("HTTP", "/healthz", 8080)
    assert [port["name"] for port in service["spec"]["ports"]] == ["http"]
    assert ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] == {"name": "http"}


@pytest.mark.parametrize("way_in", [way for way in WAYS_IN if way])
def test_argocd_knows_the_address_it_is_reached_at(
    way_in: str, combinations: dict[tuple[str, str, str], list[Object]]
) -> None:
    settings = one(combinations["gke", "high-availability", way_in], "ConfigMap", "argocd-cm")
    assert settings["data"]["url"] == f"https://{VALUES['host']}"
    assert "resource.exclusions" in settings["data"]


@pytest.mark.parametrize("function", sorted(ROLES))
def test_every_function_has_the_verbs_of_the_one_file_of_permissions(function: str, gke: list[Object]) -> None:
    objects = by_id(gke)
    name = f"fleet-registrar.{VALUES['instance']}.{function}"
    if not ROLES[function]["secrets"]:
        assert not [key for key in objects if key[2] == name]
        return
    applications = {"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["list"]}
    assert objects["Role", "argocd", name]["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ROLES[function]["secrets"]},
        *([applications] if function in ("remove-secret", "status") else []),
    ]
    binding = objects["RoleBinding", "argocd", name]
    assert binding["roleRef"]["name"] == name
    assert [(subject["kind"], subject["name"]) for subject in binding["subjects"]] == [
        ("User", f"{account_id(function)}@{VALUES['functions-domain']}")
    ]


def test_installed_argocd_is_the_one_that_the_real_tests_run() -> None:
    assert argocd.pinned() == f"v{build.ARGOCD.version}"


def test_nothing_else_speaks_of_the_functions(gke: list[Object]) -> None:
    bindings = [item for item in gke if VALUES["functions-domain"] in str(item.get("subjects"))]
    assert {item["kind"] for item in bindings} == {"RoleBinding"}
    assert len(bindings) == len([verbs for verbs in ROLES.values() if verbs["secrets"]])


def test_the_bootstrap_is_what_gcloud_writes(tree: Path, tmp_path: Path) -> None:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed: the bootstrap is not compared with generate-gateway-rbac")
    users = [f"{account_id(function)}@{VALUES['functions-domain']}" for function in ("grant-rbac", "revoke-rbac")]
    command = ["gcloud", "container", "fleet", "memberships", "generate-gateway-rbac", f"--users={','.join(users)}"]
    command += ["--role=clusterrole/cluster-admin", f"--project={VALUES['fleet-project']}"]
    environment = {
        "PATH": forked_gcloud.path(),
        "HOME": str(tmp_path),
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        "CLOUDSDK_AUTH_ACCESS_TOKEN": "none",
    }
    output = tmp_path / "rbac.yaml"
    done = subprocess.run(
        [*command, f"--rbac-output-file={output}"], env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ours = by_id(render(tree / "bootstrap"))
    for item in ours.values():
        for subject in item.get("subjects", []):
            if subject["kind"] == "User":  # gcloud leaves it to the API server, which fills in just this
                assert subject.pop("apiGroup", "rbac.authorization.k8s.io") == "rbac.authorization.k8s.io"
    assert ours == by_id(argocd.parse(output.read_text()))


def test_every_object_is_valid_for_kubernetes(
    combinations: dict[tuple[str, str, str], list[Object]], tree: Path
) -> None:
    validate = argocd.tool("kubernetes_validate")
    seen = {json.dumps(item, sort_keys=True): item for objects in combinations.values() for item in objects}
    seen |= {json.dumps(item, sort_keys=True): item for item in render(tree / "bootstrap")}
    for item in seen.values():
        if item["kind"] not in GKE_ONLY:
            validate.validate(item, "1.34", strict=True)
    assert {item["kind"] for item in seen.values()} >= {"ValidatingAdmissionPolicy", "Ingress", *GKE_ONLY}
