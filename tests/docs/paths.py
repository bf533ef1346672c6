"""File names and headings that the documentation and the sources speak of, and whether they exist."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

from tests.docs.reading import ROOT, Document, read

# Directories of the repository: a name that begins with one of them is a file of ours.
TOP = ("docs", "infra", "local", "shared", "functions", "ops", "tests", "samples", ".ci")
ENDINGS = ("md", "py", "tf", "tfvars", "yaml", "yml", "json", "mk", "toml", "hcl", "example", "txt", "in", "sh", "svg")
# Files that are named before they exist, and what writes them.
WRITTEN = {
    "infra/terraform/terraform.tfvars": "a person, from terraform.tfvars.example",
    "infra/terraform/.terraform.lock.hcl": "terraform init",
    "infra/terraform/registrar.tfplan": "make plan",
    "terraform.tfvars": "a person, from terraform.tfvars.example",
    "instance.json": "python -m local up, in .local",
    "ca.pem": "python -m local up, in .local",
    "ca-bundle.pem": "python -m local up, in .local",
}
PATH = re.compile(rf"(?<![\w./~$-])(?:\.\./)*(?:{'|'.join(map(re.escape, TOP))})/[\w./*{{}},-]*(?:#[\w-]+)?")
# What reads like a path and is a name of Kubernetes, Argo CD or a product.
NO_PATHS = re.compile(r"shared/[a-z]+\.k8s\.io")


@functools.cache
def files() -> frozenset[str]:
    """Every file of the repository, relative to its root; what git ignores is none."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    if not listed:  # an archive without .git
        listed = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if ".venv" not in path.parts]
    return frozenset(name for name in listed if (ROOT / name).is_file())


@functools.cache
def _directories() -> frozenset[str]:
    return frozenset(parent.as_posix() for name in files() for parent in Path(name).parents)


def exists(name: str, base: Path = Path()) -> bool:
    """True if a file or directory of the repository has this name, seen from `base` or from the root.

    `*` stands for any text, and `docs/decisions/0001` for the record of that number.
    """
    plain = name.rstrip("/").rstrip(".,")
    if plain in WRITTEN or (base / plain).as_posix() in WRITTEN:
        return True
    for path in (_normal(base / plain), _normal(Path(plain))):
        if path is None:
            continue
        if "*" in path:
            return any(Path(file).match(path) for file in files())
        if path in files() or path in _directories():
            return True
        if re.fullmatch(r"docs/decisions/\d{4}", path):
            return any(file.startswith(f"{path}-") for file in files())
    return False


def is_tail(name: str) -> bool:
    """True if a file or directory of the repository ends with this name, like `gke.py` or `values/values.yaml`."""
    plain = "/" + name.rstrip("/")
    return name in WRITTEN or any(f"/{path}".endswith(plain) for path in files() | _directories())


def looks_like_path(text: str) -> bool:
    """True if a piece of inline code is meant as the name of a file or directory of this repository."""
    if not re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", text):
        return False
    first, ending = text.partition("/")[0], text.rpartition(".")[2]
    return ("/" in text and first in TOP) or ("." in text.lstrip(".") and ending in ENDINGS)


def references(text: str) -> list[str]:
    """The paths, with their `#heading`, that a comment, docstring or message names."""
    return [found.rstrip(".,") for found in PATH.findall(text) if not NO_PATHS.match(found)]


def missing_heading(name: str, base: Path = Path()) -> bool:
    """True if `file.md#heading` names a heading that the file does not have."""
    path, _, heading = name.partition("#")
    if not heading:
        return False
    target = _normal(base / path) or path
    return heading not in anchors(target)


@functools.cache
def anchors(name: str) -> frozenset[str]:
    """The anchors of a document; none if it is not there."""
    return read(Path(name)).anchors if name.endswith(".md") and (ROOT / name).is_file() else frozenset()


def link_fault(document: Document, target: str) -> str:
    """What is wrong with a link; empty if it leads somewhere. Addresses of other sites are not looked up."""
    if re.match(r"[a-z]+:", target):
        return ""
    name, _, heading = target.partition("#")
    if not name:
        return "" if heading in document.anchors else f"no heading #{heading}"
    path = _normal(document.path.parent / name)
    if path is None or not (path in files() or path in _directories()):
        return f"no file {name}"
    return f"no heading #{heading} in {name}" if heading and heading not in anchors(path) else ""


def _normal(path: Path) -> str | None:
    """A path without `..`, relative to the root; None if it leaves the repository."""
    resolved = (ROOT / path).resolve() if "*" not in path.as_posix() else ROOT / path
    return resolved.relative_to(ROOT).as_posix() if resolved.is_relative_to(ROOT) else None
