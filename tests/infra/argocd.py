"""Rendering of `infra/argocd/` for its tests: a copy of the tree, upstream's manifests beside it, values to be recognised.

The remote manifests come from Argo CD's own Go module, which carries them; what is downloaded stays in a cache outside of the
checkout, keyed by version. Left out: fetching the manifests from where the kustomization says, which is kubectl's affair.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
TREE = ROOT / "infra" / "argocd"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fleet-registrar"
MODULE = "github.com/argoproj/argo-cd/v3"
REMOTE = re.compile(r"https://raw\.githubusercontent\.com/argoproj/argo-cd/(v[0-9.]+)/manifests/(\S+)")
TOOLS = ("kubernetes-validate==1.37.0", "cel-python==0.5.0")

# Values that are nowhere else: where one is missing, or a shipped one is left, a replacement went wrong.
VALUES = {
    "instance": "west",
    "namespace": "argocd",  # the overlays install into this one
    "functions-ids": "200000000000000000001,200000000000000000002",
    "shards": "7",
    "fleet-project": "test-fleet",
    "fleet-project-number": "100000000001",
    "functions-domain": "test-run.iam.gserviceaccount.com",
    "argocd-identity": "argo@test-argo.iam.gserviceaccount.com",
    "central-membership": "projects/test-fleet/locations/global/memberships/middle",
    "host": "argo.test.example",
    "allowed-range": "198.51.100.0/24",
    "repository": "https://git.test.example/fleet.git",
    "revision": "trunk",
    "apps-project": "test-apps",
}

COMMON_WORDS = {"main", "argocd", "default", "0"}  # shipped values that also occur elsewhere

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed: the rendering of infra/argocd is left out"
)


@dataclass(frozen=True)
class Upstream:
    """Argo CD's release manifests: the version that the tree pins, or the one that replaces it."""

    pinned: str
    version: str
    manifests: Path


def pinned() -> str:
    """Return the tag that the tree pins."""
    tags: set[str] = {tag for path in TREE.rglob("kustomization.yaml") for tag, _ in REMOTE.findall(path.read_text())}
    assert len(tags) == 1, f"one tag everywhere, not {tags}"
    return tags.pop()


@functools.cache
def upstream() -> Upstream:
    """Return upstream's manifests, from the cache or the Go module; skip with a reason where neither can be had.

    The Go proxy may not have the newest patch release: the newest before it in the same minor replaces it.
    """
    tag = pinned()
    with _locked("argo-cd"):
        here = CACHE / "argo-cd"
        if (here / tag).is_dir():
            return Upstream(tag, tag, here / tag)
        if shutil.which("go") is None:
            return _placeholder(tag, "Go is not installed")
        if _download(tag, here):
            return Upstream(tag, tag, here / tag)
        listed = _go("list", "-m", "-versions", MODULE).stdout.split()[1:]
        earlier = [version for version in listed if _of_minor(version, tag) and _order(version) < _order(tag)]
        for version in sorted(earlier, key=_order, reverse=True):
            if (here / version).is_dir() or _download(version, here):
                return Upstream(tag, version, here / version)
        return _placeholder(tag, f"the Go module proxy does not give {MODULE} {tag}")


def _placeholder(tag: str, why: str) -> Upstream:
    found = [path.name for path in (CACHE / "argo-cd").glob("v*") if _of_minor(path.name, tag)]
    if not found:
        pytest.skip(f"{why}: everything that needs Argo CD's own manifests is left out")
    version = max(found, key=_order)
    return Upstream(tag, version, CACHE / "argo-cd" / version)


def _download(version: str, here: Path) -> bool:
    """Put the manifests of a version into the cache; False when the module cannot be had in that version.

    `go mod download` leaves the archive also where it then refuses the module, because it asks for a later Go.
    """
    work = here / "download"
    answer = _go("mod", "download", "-json", f"{MODULE}@{version}", GOMODCACHE=str(work)).stdout
    archive = Path(json.loads(answer or "{}").get("Zip") or "none")
    if archive.is_file():
        part, prefix = here / "part", f"{MODULE}@{version}/manifests/"
        with zipfile.ZipFile(archive) as module:
            for name in ("install.yaml", "ha/install.yaml"):
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(module.read(prefix + name))
        part.rename(here / version)
    shutil.rmtree(work, ignore_errors=True)
    return (here / version).is_dir()


def _go(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local", **variables}
    return subprocess.run(
        ["go", *arguments], cwd=CACHE, env=environment, text=True, capture_output=True, check=False, timeout=100
    )


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version[1:].split("."))


def _of_minor(version: str, tag: str) -> bool:
    return bool(re.fullmatch(r"v\d+\.\d+\.\d+", version)) and _order(version)[:2] == _order(tag)[:2]


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    """Let one process at a time fill a folder of the cache."""
    (CACHE / name).mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def tool(module: str, requirements: tuple[str, ...] = TOOLS) -> Any:
    """Import a package that only these tests need, from a folder of its own; skip with a reason if it cannot be installed."""
    name = "-".join(["python", *(part.partition("==")[2] for part in requirements if "==" in part)])
    with _locked(name):
        folder = CACHE / name / f"{sys.version_info.major}.{sys.version_info.minor}"
        if not folder.is_dir():
            part = folder.with_suffix(".part")
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target", str(part)]
            done = subprocess.run([*command, *requirements], text=True, capture_output=True, check=False)
            if done.returncode:
                pytest.skip(f"pip cannot install {' '.join(requirements)}: what needs {module} is left out")
            part.rename(folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # at the end: our own packages win
    return importlib.import_module(module)


def copy(folder: Path, *, whole: bool = False) -> Path:
    """Copy the tree with the test's values and, in place of the remote manifests, the local ones.

    `whole` takes them as they are; else without the resource definitions, which are nine tenths of them.
    """
    tree = folder / "argocd"
    shutil.copytree(TREE, tree)
    values = yaml.safe_load((tree / "values" / "values.yaml").read_text())
    assert values["data"].keys() == VALUES.keys()
    (tree / "values" / "values.yaml").write_text(yaml.safe_dump({**values, "data": VALUES}))
    for path in tree.rglob("kustomization.yaml"):
        text = path.read_text()
        for _, name in REMOTE.findall(text):
            release = (upstream().manifests / name).read_text()
            kept = [
                part for part in release.split("\n---\n") if whole or "\nkind: CustomResourceDefinition\n" not in part
            ]
            (path.parent / "upstream.yaml").write_text("\n---\n".join(kept))
        path.write_text(REMOTE.sub("upstream.yaml", text))
    return tree


def render(folder: Path) -> list[Object]:
    """Return the objects that `kubectl kustomize` makes of a folder."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)],
        env=os.environ | {"GOGC": "off"},  # it lives too shortly to collect garbage
        text=True,
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


def parse(text: str) -> list[Object]:
    """Parse a stream of manifests."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [found for found in yaml.load_all(text, loader) if found]


def one(objects: list[Object], kind: str, name: str) -> Object:
    """Return the one object of that kind and name."""
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def by_id(objects: list[Object]) -> dict[tuple[str, str, str], Object]:
    """Return the objects by kind, namespace and name."""
    return {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in objects}
