"""The Kubernetes API as `kubectl` meets it: the client that people use, and that nobody here wrote."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.kubernetes_server import Server

pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed: its session with the Kubernetes API is left out"
)

needs_diff = pytest.mark.skipif(shutil.which("diff") is None, reason="no diff program: kubectl diff is left out")


@pytest.fixture(scope="module")
def environment(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of kubectl, with a home in which it keeps what the server's APIs are."""
    home = tmp_path_factory.mktemp("kubectl")
    cluster = {"server": server.url, "certificate-authority": server.ca}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "it", "user": {"token": server.token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "current-context": "it",
    }
    (home / "config").write_text(json.dumps(config))
    own = {"HOME": str(home), "KUBECONFIG": str(home / "config")}
    return own | {"PATH": os.environ["PATH"], "GOGC": "off"}  # a command lives too shortly to collect garbage


@pytest.fixture
def kubectl(environment: dict[str, str], namespace: str) -> Callable[..., str]:
    """Run kubectl in a namespace of its own and return what it prints, or the first lines of it.

    `fails=True` expects and returns an error.
    """

    def run(*arguments: str, stdin: Any = None, fails: bool = False, space: str = "", lines: int = 0) -> str:
        command = ["kubectl", "-n", space or namespace, *arguments]
        if lines:  # of a command that does not end
            with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE) as running:
                assert running.stdout is not None
                found = "".join(itertools.islice(running.stdout, lines))
                running.kill()
            return found
        done = subprocess.run(
            command,
            input=None if stdin is None else json.dumps(stdin),
            env=environment,
            text=True,
            capture_output=True,
            timeout=100,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails and not done.stdout else done.stdout

    return run


def secret(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "blue"} | metadata, "data": {"server": "eA=="}}


def test_get_prints_the_columns_of_the_kind(kubectl: Callable[..., str]) -> None:
    kubectl("create", "-f", "-", stdin=secret(labels={"env": "prod"}))
    header, row = kubectl("get", "secrets", "--show-labels").splitlines()
    assert header.split() == ["NAME", "TYPE", "DATA", "AGE", "LABELS"]
    assert row.split()[:3] == ["blue", "Opaque", "1"]
    assert row.split()[-1] == "env=prod"
    assert kubectl("get", "secrets", "-l", "env in (test)") == ""
    assert kubectl("get", "secrets", "-l", "env in (prod),!tier", "-o", "name") == "secret/blue\n"
    everywhere = kubectl("get", "secrets", "-A", "--field-selector=metadata.name=blue", "-o", "name")
    assert set(everywhere.splitlines()) == {"secret/blue"}  # bare API servers keep the namespaces of earlier tests


def test_get_prints_whole_objects(kubectl: Callable[..., str]) -> None:
    kubectl("create", "-f", "-", stdin=secret())
    assert json.loads(kubectl("get", "secret", "blue", "-o", "json"))["data"] == {"server": "eA=="}
    assert "kind: Secret\n" in kubectl("get", "secret", "blue", "-o", "yaml")
    assert kubectl("get", "secrets", "-o", "jsonpath={.items[*].metadata.name}") == "blue"
    assert 'secrets "green" not found' in kubectl("get", "secret", "green", fails=True)


def test_watch_prints_what_happens(kubectl: Callable[..., str]) -> None:
    kubectl("create", "-f", "-", stdin=secret())
    printed = kubectl("get", "secrets", "-w", "--output-watch-events", lines=2)
    assert printed.splitlines()[1].split()[:2] == ["ADDED", "blue"]


def test_describe(kubectl: Callable[..., str]) -> None:
    kubectl("create", "-f", "-", stdin=secret(labels={"env": "prod"}))
    described = kubectl("describe", "secret", "blue")
    assert "env=prod" in described
    assert "server:  1 bytes" in described
    assert "Kind:  ClusterRole" in kubectl("describe", "clusterrolebinding", "cluster-admin")
    assert "Active" in kubectl("describe", "namespace", "default")


def test_label_annotate_and_patch(kubectl: Callable[..., str]) -> None:
    kubectl("create", "-f", "-", stdin=secret())
    kubectl("label", "secret", "blue", "env=prod", "tier=1")
    kubectl("label", "secret", "blue", "tier-")
    kubectl("annotate", "secret", "blue", "example.com/note=any text")
    kubectl("patch", "secret", "blue", "-p", '{"stringData":{"name":"b"}}')
    kubectl("patch", "secret", "blue", "--type=json", "-p", '[{"op":"remove","path":"/data/server"}]')
    kubectl("patch", "secret", "blue", "--type=merge", "-p", '{"data":{"x":"eA=="}}')
    found = json.loads(kubectl("get", "secret", "blue", "-o", "json"))
    assert found["metadata"]["labels"] == {"env": "prod"}
    assert found["metadata"]["annotations"] == {"example.com/note": "any text"}
    assert found["data"] == {"name": "Yg==", "x": "eA=="}


def test_apply_writes_once_and_then_finds_nothing_to_do(kubectl: Callable[..., str]) -> None:
    assert kubectl("apply", "-f", "-", stdin=secret(labels={"a": "1", "b": "1"})) == "secret/blue created\n"
    assert kubectl("apply", "-f", "-", stdin=secret(labels={"a": "1", "b": "1"})) == "secret/blue unchanged\n"
    kubectl("label", "secret", "blue", "other=1")
    assert kubectl("apply", "-f", "-", stdin=secret(labels={"a": "2"})) == "secret/blue configured\n"
    found = json.loads(kubectl("get", "secret", "blue", "-o", "json"))
    assert found["metadata"]["labels"] == {"a": "2", "other": "1"}


def test_apply_refuses_an_unknown_field(kubectl: Callable[..., str]) -> None:
    assert 'unknown field "metadata.label"' in kubectl("apply", "-f", "-", stdin=secret(label={}), fails=True)
    assert kubectl("get", "secrets", "--field-selector=metadata.name=blue") == ""


@needs_diff
def test_diff_shows_what_apply_would_change_and_changes_nothing(kubectl: Callable[..., str]) -> None:
    kubectl("apply", "-f", "-", stdin=secret(labels={"a": "1"}))
    kubectl("diff", "-f", "-", stdin=secret(labels={"a": "1"}))
    assert '+    a: "2"' in kubectl("diff", "-f", "-", stdin=secret(labels={"a": "2"}), fails=True)
    assert json.loads(kubectl("get", "secret", "blue", "-o", "json"))["metadata"]["labels"] == {"a": "1"}


def test_replace_and_delete(kubectl: Callable[..., str]) -> None:
    kubectl("create", "-f", "-", stdin=secret())
    kubectl("replace", "-f", "-", stdin=secret(labels={"a": "1"}))
    kubectl("delete", "secret", "-l", "a=2")
    assert kubectl("get", "secrets", "-o", "name") == "secret/blue\n"
    assert "blue" in kubectl("delete", "secret", "-l", "a=1")
    assert kubectl("get", "secrets", "-o", "name") == ""


def test_create_takes_its_short_forms(kubectl: Callable[..., str]) -> None:
    kubectl("create", "secret", "generic", "s", "--from-literal=a=b")
    kubectl("create", "configmap", "c", "--from-literal=a=b")
    kubectl("create", "serviceaccount", "sa")
    kubectl("create", "role", "r", "--verb=get,list", "--resource=secrets")
    kubectl("create", "rolebinding", "rb", "--role=r", "--user=u@example.com")
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.a}") == "Yg=="
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.data.a}") == "b"
    assert kubectl("get", "sa/sa", "role/r", "rolebinding/rb", "-o", "name").split() == [
        "serviceaccount/sa",
        "role.rbac.authorization.k8s.io/r",
        "rolebinding.rbac.authorization.k8s.io/rb",
    ]
    assert kubectl("get", "rolebinding", "rb", "-o", "wide").splitlines()[1].split()[1] == "Role/r"


def test_auth_asks_for_oneself_and_for_others(kubectl: Callable[..., str]) -> None:
    kubectl("create", "role", "r", "--verb=get", "--resource=secrets")
    kubectl("create", "rolebinding", "rb", "--role=r", "--user=u@example.com")
    assert kubectl("auth", "can-i", "*", "*", "--all-namespaces") == "yes\n"
    assert kubectl("auth", "can-i", "get", "secrets", "--as=u@example.com") == "yes\n"
    assert kubectl("auth", "can-i", "list", "secrets", "--as=u@example.com", fails=True) == "no\n"
    assert (
        kubectl("auth", "whoami", "--as=u@example.com", "-o", "jsonpath={.status.userInfo.username}") == "u@example.com"
    )
    assert "secrets" in kubectl("auth", "can-i", "--list", "--as=u@example.com")
    refusal = kubectl("get", "secrets", "--as=u@example.com", fails=True)
    assert 'secrets is forbidden: User "u@example.com" cannot list resource "secrets" in API group ""' in refusal


def test_a_cluster_role_binding_is_created_and_works(kubectl: Callable[..., str]) -> None:
    who = json.loads(kubectl("create", "serviceaccount", "robot", "-o", "json"))["metadata"]
    subject = f"{who['namespace']}:robot"
    name = f"admin-{who['uid']}"
    # Not `view`: a controller puts its rules together, which a bare API server is without.
    kubectl("create", "clusterrolebinding", name, "--clusterrole=cluster-admin", f"--serviceaccount={subject}")
    try:
        asked = ("auth", "can-i", "list", "configmaps", f"--as=system:serviceaccount:{subject}")
        assert kubectl(*asked, space="kube-system") == "yes\n"
    finally:
        kubectl("delete", "clusterrolebinding", name)


def test_a_namespace_gets_a_generated_name(kubectl: Callable[..., str]) -> None:
    nameless = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "kubectl-"}}
    made = json.loads(kubectl("create", "-f", "-", "-o", "json", stdin=nameless))
    assert made["metadata"]["name"].removeprefix("kubectl-")
    kubectl("delete", "namespace", made["metadata"]["name"], "--wait=false")


def test_version_and_kinds(kubectl: Callable[..., str]) -> None:
    assert json.loads(kubectl("version", "-o", "json"))["serverVersion"]["major"] == "1"
    assert {"secrets", "namespaces"} <= {line.split()[0] for line in kubectl("api-resources").splitlines()}
