"""Which application controller owns a cluster, by Argo CD's own controller, and `ops shards` on a real kube-apiserver.

One controller that believes to be the first of three logs the whole distribution: with `shard` on all Secrets nothing moves when
clusters come and go; without, and with `shard` on some, other clusters move (argo-cd #29476, #28558).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.real import build
from local.reserved_port import ReservedPort
from shared.decisions import shards
from tests.chain.running import CENTRAL, MERGE, ROOT, SECRETS, Chain, decoded, running
from tests.chain.test_ops import environment
from tests.real.applications import APPLICATIONS
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]
REPLICAS = 3
CLUSTERS = 9
MOST_STEPS = 40
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_OBSERVED = re.compile(
    r"Cluster https://(\S+)\.example has (?:been assigned to shard|changed shard from -?\d+ to) (-?\d+)"
)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud of real clusters; its central one knows Argo CD's kinds."""
    with running(tmp_path_factory.mktemp("sharding"), "--kube", "real") as chain:
        for file in sorted((build.ARGOCD.home / "data").glob("*-crd.yaml")):
            assert chain.kubernetes(CENTRAL, "POST", CRDS, yaml.safe_load(file.read_text()))[0] == 201
        part = {"app.kubernetes.io/part-of": "argocd"}
        path = "/api/v1/namespaces/argocd"
        for kind, name in (("ConfigMap", "argocd-cm"), ("ConfigMap", "argocd-rbac-cm"), ("Secret", "argocd-secret")):
            body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": part}}
            more = {"stringData": {"server.secretkey": "local"}} if kind == "Secret" else {}
            chain.kubernetes(CENTRAL, "POST", f"{path}/{kind.lower()}s", body | more)
        chain.wait_for(lambda: chain.kubernetes(CENTRAL, "GET", APPLICATIONS)[0] == 200, PATIENCE)
        yield chain


class Controller:
    """A running application controller, as the first of three; `owners` is what it has logged last of each cluster."""

    def __init__(self, cloud: Chain, log: Path) -> None:
        self.cloud = cloud
        self.log = log
        self.shards: dict[str, str] = {}

    def logged(self) -> list[tuple[str, int]]:
        """Each assignment and each move so far, in order."""
        return [(name, int(shard)) for name, shard in _OBSERVED.findall(self.log.read_text(errors="replace"))]

    @property
    def owners(self) -> dict[str, int]:
        return dict(self.logged())

    def add(self, name: str, shard: str = "") -> None:
        """Register a cluster with three Applications by its server, and wait until the controller has counted it."""
        data = {"name": name, "server": f"https://{name}.example", "config": "{}"} | ({"shard": shard} if shard else {})
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": {"argocd.argoproj.io/secret-type": "cluster"}},
            "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
        }
        assert self.cloud.kubernetes(CENTRAL, "POST", SECRETS, manifest)[0] == 201
        self.shards[name] = shard
        self.cloud.wait_for(lambda: name in self.owners, PATIENCE, f"{name} assigned")
        for number in range(3):
            spec = {"project": "default", "destination": {"server": f"https://{name}.example", "namespace": "x"}}
            body = {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Application",
                "metadata": {"name": f"{name}-{number}"},
                "spec": spec | {"source": {"repoURL": "https://git.example/x", "path": "x"}},
            }
            assert self.cloud.kubernetes(CENTRAL, "POST", APPLICATIONS, body)[0] == 201

    def remove(self, name: str) -> None:
        """Remove a cluster and its Applications. What comes after it is counted after it."""
        for number in range(3):
            self.cloud.kubernetes(CENTRAL, "DELETE", f"{APPLICATIONS}/{name}-{number}")
        assert self.cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/{name}")[0] == 200
        del self.shards[name]

    def give_shards(self, every: int) -> None:
        """Give every n-th Secret the shard that a person's or `ops shards --assign` gives, and wait for the moves."""
        for number, name in enumerate(sorted(self.shards)):
            if number % every == 0:
                self.shards[name] = str(number % REPLICAS)
                patch = {"stringData": {"shard": self.shards[name]}}
                assert self.cloud.kubernetes(CENTRAL, "PATCH", f"{SECRETS}/{name}", patch, content_type=MERGE)[0] == 200
        given = {name: int(shard) for name, shard in self.shards.items() if shard}
        self.cloud.wait_for(lambda: given.items() <= self.owners.items(), PATIENCE, "the shards counted")

    def least_used(self, name: str) -> str:
        """The shard that a registrar gives a new Secret."""
        counts = {shard: list(self.shards.values()).count(str(shard)) for shard in range(REPLICAS)}
        return str(shards.least_used(counts, name))

    def moved(self, steps: int, *, sharded: bool) -> set[str]:
        """Register a cluster and remove another one, up to so often; return the first clusters that moved because of it."""
        for _ in range(steps):
            before, known = len(self.logged()), self.owners
            name = f"c{next(_numbers)}"
            self.add(name, self.least_used(name) if sharded else "")
            self.remove(min(self.shards))
            marker = f"c{next(_numbers)}"
            self.add(marker, self.least_used(marker) if sharded else "")
            self.remove(min(self.shards))
            changed = {one for one, shard in self.logged()[before:] if one in known and known[one] != shard}
            if changed:
                return changed
        return set()


@contextmanager
def controlled(cloud: Chain, algorithm: str, directory: Path) -> Iterator[Controller]:
    """Run redis and an application controller; remove the clusters afterwards."""
    home, log = build.ARGOCD.home, directory / f"{algorithm}.log"
    server, token = cloud.do("cloud", "direct", cluster=CENTRAL)
    kubeconfig = directory / "kubeconfig"
    cluster = {"server": server, "certificate-authority": str(cloud.directory / "ca.pem")}
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "it", "cluster": cluster}],
                "users": [{"name": "it", "user": {"token": token}}],
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": "argocd"}}],
                "current-context": "it",
            }
        )
    )
    variables = {
        "PATH": f"{home}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(directory),
        "KUBECONFIG": str(kubeconfig),
        "ARGOCD_FAKE_IN_CLUSTER": "true",
        "ARGOCD_CONTROLLER_REPLICAS": str(REPLICAS),
        "ARGOCD_CONTROLLER_SHARD": "0",
        "ARGOCD_CONTROLLER_SHARDING_ALGORITHM": algorithm,
    }
    with ExitStack() as stack:
        ports = [ReservedPort() for _ in range(2)]
        for port in ports:
            stack.callback(port.release)
        redis_port, metrics_port = (port.number for port in ports)
        redis = [str(shutil.which("redis-server")), "--bind", "127.0.0.1", "--port", str(redis_port), "--save", ""]
        command = [
            str(home / "argocd-application-controller"),
            f"--kubeconfig={kubeconfig}",
            "--namespace=argocd",
            f"--redis=127.0.0.1:{redis_port}",
            "--repo-server=127.0.0.1:1",
            "--repo-server-plaintext",
            f"--metrics-port={metrics_port}",
            "--loglevel=info",
        ]
        out = stack.enter_context(log.open("wb"))
        for words, env, output in ((redis, None, subprocess.DEVNULL), (command, variables, out)):
            process = stack.enter_context(
                subprocess.Popen(words, cwd=directory, env=env, stdout=output, stderr=subprocess.STDOUT)
            )
            stack.callback(process.kill)
        controller = Controller(cloud, log)
        try:
            for _ in range(CLUSTERS):
                controller.add(f"c{next(_numbers)}")
            yield controller
        finally:
            for name in list(controller.shards):
                controller.remove(name)


@pytest.mark.parametrize("algorithm", ["round-robin", "consistent-hashing"])
def test_clusters_stay_only_if_all_secrets_have_a_shard(cloud: Chain, algorithm: str, tmp_path: Path) -> None:
    with controlled(cloud, algorithm, tmp_path) as controller:
        assert controller.moved(MOST_STEPS, sharded=False), "without shards other clusters move"
        controller.give_shards(every=2)
        assert controller.moved(MOST_STEPS, sharded=False), "with shards on some, others move"
        controller.give_shards(every=1)
        assert controller.moved(6, sharded=True) == set()


def test_no_controller_owns_a_negative_shard(cloud: Chain, tmp_path: Path) -> None:
    """A number that is too large goes to the first controller; `ops shards` and the sweep report both."""
    with controlled(cloud, "legacy", tmp_path) as controller:
        controller.add("negative", "-1")
        controller.add("large", str(REPLICAS + 4))
        assert controller.owners["negative"] == -1
        assert controller.owners["large"] == 0
        found = ops(cloud, "shards", code=2)
        assert "negative" in found
        assert "large" in found


def test_assign_gives_each_secret_of_ours_its_shard(cloud: Chain) -> None:
    clusters = [cloud.onboard("blue"), cloud.onboard("green")]
    cloud.wait_quiet()
    before = {cluster: cloud.manifest(cluster) for cluster in clusters}
    assert "shard" not in decoded(before[clusters[0]])
    ops(cloud, "shards", code=2)
    ops(cloud, "shards", "--assign")
    after = {cluster: cloud.manifest(cluster) for cluster in clusters}
    assert {decoded(one)["shard"] for one in after.values()} < {"0", "1", "2"}
    assert len({decoded(one)["shard"] for one in after.values()}) == len(clusters)
    for cluster in clusters:
        assert after[cluster]["metadata"]["uid"] == before[cluster]["metadata"]["uid"]
        assert {**decoded(after[cluster]), **decoded(before[cluster])} == decoded(after[cluster])
        cloud.publish("write-secret", {"cluster": cluster}, {"cause": f"again {cluster}"})
        cloud.logged("write-secret", f"again {cluster}")
    cloud.wait_quiet()
    assert {cluster: cloud.manifest(cluster) for cluster in clusters} == after
    ops(cloud, "shards")


def test_doctor_compares_shards_with_the_policy(cloud: Chain) -> None:
    """The policy of this cloud allows no shard, as its functions' ARGOCD_SHARDS says; the operator's says three."""
    found = json.loads(ops(cloud, "doctor", "--json", code=1))
    codes = {(one["check"], one["code"]) for one in found["findings"]}
    assert ("admission-policy", "admission_policy_refuses_right_secret") in codes


def ops(cloud: Chain, *words: str, code: int = 0) -> str:
    """Type a command as an operator whose settings have three shards; return what it prints."""
    answer = subprocess.run(
        [sys.executable, "-m", "ops", *words],
        cwd=ROOT,
        env=environment(cloud) | {"ARGOCD_SHARDS": str(REPLICAS)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert answer.returncode == code, answer.stdout + answer.stderr
    return answer.stdout
