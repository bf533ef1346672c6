"""Builds kube-apiserver and Argo CD from their published Go modules, once, into a cache outside of the checkout.

Each part is a small Go program of ours beside this file; its go.sum pins what goes in. Nothing is installed: an error
names what the machine lacks. https://go.dev/ref/mod#module-cache says where Go keeps what it fetches.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
# No C compiler is needed. Each part is built by the Go that its go.mod names: where the machine has an older one, Go fetches
# that release as a module and checks it like any module (https://go.dev/doc/toolchain).
_GO = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
_FETCHES_TOOLCHAINS = (1, 21)  # the first Go release that does so


class MissingError(RuntimeError):
    """This machine lacks a tool; the message names it and its package."""


@dataclass(frozen=True)
class Part:
    """A program of ours in `folder`; its version is that of `module` in its go.mod."""

    name: str
    folder: str
    module: str
    names: tuple[str, ...]
    programs: tuple[str, ...]  # that it needs beside it
    data: str = ""  # a folder of the module, copied to `data`
    scripts: tuple[str, ...] = ()  # files of the module that the program runs from its PATH

    @property
    def version(self) -> str:
        return _required(self, rf"{re.escape(self.module)} v(\S+)")

    @property
    def go(self) -> str:
        """The Go release that builds it."""
        return _required(self, r"^go (\S+)")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the `go` command."""
        return os.environ | _GO | {"GOTOOLCHAIN": f"go{self.go}+auto"}

    @property
    def home(self) -> Path:
        """The path of the built part; its name contains a hash of its sources."""
        made_of = hashlib.sha256()
        for file in ("go.mod", "go.sum", "main.go"):
            made_of.update((HERE / self.folder / file).read_bytes())
        return cache() / f"{self.name}-{self.version}-{made_of.hexdigest()[:12]}"

    @property
    def flags(self) -> str:
        """The linker's flags: a server says which version it is."""
        if self.name != "kube-apiserver":
            return f"-s -w -X {self.module}/common.version={self.version}"
        major, minor, _ = self.version.split(".")
        stamp = f"gitVersion=v{self.version} gitMajor={major} gitMinor={minor} gitTreeState=clean"
        return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{one}" for one in stamp.split())


KUBE_APISERVER = Part("kube-apiserver", "kube_apiserver", "k8s.io/kubernetes", ("kube-apiserver",), ("etcd",))
ARGOCD = Part(
    "argocd",
    "argocd",
    "github.com/argoproj/argo-cd/v3",
    (
        "argocd-application-controller",
        "argocd-applicationset-controller",
        "argocd-k8s-auth",
        "argocd-read-secret",
        "argocd-repo-server",
        "kustomize",
    ),
    ("redis-server", "git"),
    data="manifests/crds",
    scripts=("hack/git-verify-wrapper.sh",),
)
PARTS = {part.name: part for part in (KUBE_APISERVER, ARGOCD)}
_CALLED = {
    "etcd": "etcd (Debian: etcd-server)",
    "redis-server": "redis-server (Debian: redis-server)",
    "git": "git (Debian: git)",
}


def cache() -> Path:
    """The folder of built parts; without it they are built again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fleet-registrar"


def require(*parts: Part) -> None:
    """Say what this machine lacks to build and run the parts, if anything: all of it at once, in words for people."""
    lacks = [_CALLED[program] for part in parts for program in part.programs if shutil.which(program) is None]
    if not all(built(part) for part in parts):
        found = _go_version()
        if found is None or _number(found) < _FETCHES_TOOLCHAINS:
            lacks.append(f"Go 1.21 or newer (https://go.dev/dl{'' if found is None else f'; here is {found}'})")
    if lacks:
        names = " and ".join(part.name for part in parts)
        raise MissingError(f"a real {names} needs what is not here: {', '.join(lacks)}")


def built(part: Part) -> bool:
    """Whether it is in the cache."""
    return all((part.home / name).exists() for name in part.names)


def program(part: Part, name: str = "") -> Path:
    """Where a program of a part is, built before."""
    require(part)
    if not built(part):
        raise MissingError(f"{part.name} is not built yet: python -m local.real build")
    return part.home / (name or part.names[0])


def build(part: Part) -> Path:
    """Build a part unless it exists; a second process waits."""
    require(part)
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{part.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built(part):
            _build(part)
    return part.home


def _build(part: Part) -> None:
    print(f"building {part.name} {part.version} into {part.home} (minutes, once) …", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=cache(), prefix=f"{part.name}-") as folder:
        command = ["go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly", f"-ldflags={part.flags}"]
        done = subprocess.run(
            [*command, "-o", f"{folder}/program", "."],
            cwd=HERE / part.folder,
            env=part.environment,
            check=False,
        )
        if done.returncode:
            raise MissingError(f"go build of {part.name} {part.version} ended with {done.returncode} (see above)")
        part.home.mkdir(exist_ok=True)
        if part.data:  # what the program does not bring along
            (part.home / "data").mkdir(exist_ok=True)
            for file in (_module_folder(part) / part.data).iterdir():
                shutil.copyfile(file, part.home / "data" / file.name)
        for script in part.scripts:
            copied = part.home / Path(script).name
            shutil.copyfile(_module_folder(part) / script, copied)
            copied.chmod(0o755)
        Path(folder, "program").rename(part.home / "program")
    for name in part.names:
        (part.home / name).unlink(missing_ok=True)
        (part.home / name).symlink_to("program")
    print(f"{part.name} {part.version}: built in {time.monotonic() - began:.0f} s", flush=True)


def _module_folder(part: Part) -> Path:
    asked = subprocess.run(
        ["go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", part.module],
        cwd=HERE / part.folder,
        env=part.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(asked.stdout.strip())


def _go_version() -> str | None:
    if shutil.which("go") is None:
        return None
    asked = subprocess.run(
        ["go", "env", "GOVERSION"],
        env=os.environ | _GO | {"GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip().removeprefix("go") or None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _required(part: Part, pattern: str) -> str:
    found = re.search(pattern, (HERE / part.folder / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"the go.mod of {part.name} has no {pattern}")
    return found[1]
