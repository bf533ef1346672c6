"""Argo CD itself beside the local cloud: application controller, applicationset controller and repo server, with redis and git.

They run as processes, not as Pods: they reach the central cluster by a kubeconfig, and the member clusters as in production,
by the Secrets alone: token from the metadata server of Argo CD's identity, then through the gateway by https. Left out: the
user interface and API server, notifications, dex.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from local.real import build
from local.real.kubernetes import Program
from local.reserved_port import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from local.processes import Child
    from local.real.kubernetes import RealCluster

Json = dict[str, Any]

PART_OF = {"app.kubernetes.io/part-of": "argocd"}
CONFIG_MAPS = ("cm", "rbac-cm", "cmd-params-cm", "ssh-known-hosts-cm", "tls-certs-cm", "gpg-keys-cm")
BRANCH = "main"


class ArgoCD:
    """Argo CD on the central cluster, and the git repository that it reads: a copy of `infra/argocd` to commit to."""

    def __init__(self, directory: Path, central: RealCluster, namespace: str, variables: Mapping[str, str]) -> None:
        self.directory = directory
        self.central = central
        self.namespace = namespace
        self.on_death: Callable[[Child, int], None] = lambda _child, _code: None
        self._given = dict(variables)
        self._programs: list[Program] = []
        self.work = directory / "fleet"  # where a person commits; `git push` takes it to Argo CD

    async def start(self, tree: Path, values: Mapping[str, str], replaced: Mapping[str, str]) -> None:
        """Install the CustomResourceDefinitions, start everything, and apply the fleet's stories of `tree`.

        `values` go where `infra/argocd/values` says; `replaced` maps words to others, in the whole tree.
        """
        await asyncio.to_thread(build.program, build.ARGOCD)
        self.directory.mkdir(parents=True, exist_ok=True)
        git = self._program("git-daemon", _git_daemon())
        self.repository = f"git://{git.address}/fleet.git"
        await asyncio.to_thread(self._make_repository, tree, {**values, "repository": self.repository}, replaced)
        git.arguments = [
            "--reuseaddr",
            f"--listen={HOST}",
            f"--port={git.port}",
            f"--base-path={self.directory / 'git'}",
            "--export-all",
        ]
        redis = self._program("redis", shutil.which("redis-server") or "")
        redis.arguments = [
            "--bind",
            HOST,
            "--port",
            str(redis.port),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(self.directory),
        ]
        repo = self._program("argocd-repo-server")
        shared = ["--redis", redis.address, "--loglevel", "info"]
        repo.arguments = [
            *shared,
            f"--address={HOST}",
            f"--port={repo.port}",
            f"--metrics-address={HOST}",
            f"--metrics-port={repo.reserve_port()}",
            "--disable-tls",
            "--client-ca-path=",  # its default is refused together with --disable-tls (argocd_repo_server.go of 3.6)
        ]
        kubeconfig = self._kubeconfig()
        self._given["KUBECONFIG"] = str(kubeconfig)
        controller = self._program("argocd-application-controller")
        controller.arguments = [
            *shared,
            f"--kubeconfig={kubeconfig}",
            f"--namespace={self.namespace}",
            f"--repo-server={repo.address}",
            "--repo-server-plaintext",
            f"--metrics-port={controller.port}",
            "--self-heal-backoff-cap-seconds=2",  # minutes otherwise, when one cluster is changed time and again
        ]
        sets = self._program("argocd-applicationset-controller")
        sets.arguments = [
            "--loglevel=info",
            f"--kubeconfig={kubeconfig}",
            f"--namespace={self.namespace}",
            f"--argocd-repo-server={repo.address}",
            "--repo-server-plaintext",
            f"--metrics-addr={HOST}:{sets.reserve_port()}",
            f"--probe-addr={sets.address}",
            f"--webhook-addr={HOST}:{sets.reserve_port()}",
        ]
        for file in sorted((build.ARGOCD.home / "data").glob("*-crd.yaml")):
            await self.central.put(yaml.safe_load(file.read_text()))
        for manifest in self._settings():
            await self.central.put(manifest)
        await asyncio.gather(git.start(self.directory), redis.start(self.directory))
        await repo.start(self.directory)
        for manifest in await asyncio.to_thread(self.rendered, "infra/argocd/fleet"):
            await self._put(manifest)
        await asyncio.gather(controller.start(self.directory), sets.start(self.directory))

    async def stop(self) -> None:
        """End all."""
        await asyncio.gather(*(program.kill() for program in self._programs))
        for program in self._programs:
            program.close()

    def rendered(self, folder: str) -> list[Json]:
        """The manifests that a folder of the working copy renders."""
        kustomize = build.program(build.ARGOCD, "kustomize")
        done = subprocess.run([kustomize, "build", folder], cwd=self.work, capture_output=True, text=True, check=True)
        return [item for item in yaml.safe_load_all(done.stdout) if item]

    async def _put(self, manifest: Json) -> None:
        """Create an object of a newly defined kind; the API knows the kind after a moment."""
        deadline = asyncio.get_running_loop().time() + 100
        while True:
            try:
                await self.central.put(manifest)
            except RuntimeError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.1)
            else:
                return

    def _settings(self) -> list[Json]:
        def meta(name: str) -> Json:
            return {"name": name, "namespace": self.namespace, "labels": PART_OF}

        maps = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(f"argocd-{name}")} for name in CONFIG_MAPS]
        # A test waits for what changes in git; deployed, Argo CD looks every two minutes.
        maps[0]["data"] = {"timeout.reconciliation": "10s", "timeout.reconciliation.jitter": "0s"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta("argocd-secret")}
        return [*maps, {**secret, "stringData": {"server.secretkey": "local"}}]

    def _program(self, name: str, path: Path | str = "") -> Program:
        home = build.ARGOCD.home
        program = Program(name, path or home / name, self.directory / f"{name}.log", self._given)
        program.variables |= {
            "PATH": f"{home}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.directory),
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_FAKE_IN_CLUSTER": "true",  # the cluster it runs in is the one of its kubeconfig
            "ARGOCD_RECONCILIATION_TIMEOUT": "10s",
            "ARGOCD_RECONCILIATION_JITTER": "0s",
        }
        program.on_death = self.on_death
        self._programs.append(program)
        return program

    def _kubeconfig(self) -> Path:
        path = self.directory / "kubeconfig"
        path.touch(mode=0o600)
        cluster = {"server": self.central.url, "certificate-authority": self._given["SSL_CERT_FILE"]}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "central", "cluster": cluster}],
            "users": [{"name": "argocd", "user": {"token": self.central.admin_token}}],
            "contexts": [{"name": "central", "context": {"cluster": "central", "user": "argocd"}}],
            "current-context": "central",
        }
        path.write_text(json.dumps(config))
        return path

    def _make_repository(self, tree: Path, values: Mapping[str, str], replaced: Mapping[str, str]) -> None:
        """Make a bare repository, and a working copy whose first commit is `tree`, tagged v0.1.0."""
        bare = self.directory / "git" / "fleet.git"
        self.git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(bare), where=self.directory)
        shutil.copytree(tree, self.work / "infra" / "argocd")
        for file in self.work.rglob("*.yaml"):
            text = file.read_text()
            for old, new in replaced.items():
                text = text.replace(old, new)
            file.write_text(text)
        file = self.work / "infra" / "argocd" / "values" / "values.yaml"
        known = yaml.safe_load(file.read_text())
        known["data"] |= values
        file.write_text(yaml.safe_dump(known))
        self.git("init", "--quiet", f"--initial-branch={BRANCH}")
        self.git("remote", "add", "origin", str(bare))
        self.commit("The fleet")
        self.git("tag", "v0.1.0")
        self.git("push", "--quiet", "origin", "v0.1.0")

    def commit(self, message: str) -> None:
        """Commit the working copy, and push it."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        self.git("push", "--quiet", "origin", BRANCH)

    def git(self, *arguments: str, where: Path | None = None) -> None:
        """Run git as nobody in particular, without the person's own configuration."""
        who = ("-c", "user.name=you", "-c", "user.email=you@example.com", "-c", "commit.gpgsign=false")
        variables = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        subprocess.run(
            ["git", *who, *arguments], cwd=where or self.work, env=variables, check=True, capture_output=True
        )


def _git_daemon() -> Path | str:
    build.require(build.ARGOCD)
    asked = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True)
    return f"{asked.stdout.strip()}/git-daemon"
