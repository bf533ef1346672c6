"""docs/architecture.md and the pages beside it, compared with the code that they specify."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING

import pytest

from shared.decisions import removal
from tests.docs.language import ROOT, sources
from tests.unit import test_removal, test_steps
from tests.unit.given import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.decisions.removal import Situation

ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
CODES = (ROOT / "docs/codes.md").read_text()
OBJECTS = (ROOT / "docs/objects.md").read_text()
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()
PERMISSIONS = (ROOT / "docs/permissions.md").read_text()
ROLES = json.loads((ROOT / "infra/roles.json").read_text())
SHARED = "\n".join((ROOT / path).read_text() for path in sources("shared/**/*.py"))

# The words of the state table, as the code names them.
STATES = {
    "selected": "SELECTED",
    "unselected": "UNSELECTED",
    "provisioning": "PROVISIONING",
    "unknown": "UNKNOWN",
    "deleting": "DELETING",
    "deleted": "DELETED",
    "no source": "NOT_SOURCE",
    "other fleet": "OTHER_FLEET",
    "central": "CENTRAL",
}
STEPS = {
    "register": "register",
    "grant": "grant",
    "write": "write",
    "write, Secret": "write+S",
    "write, pinned": "write+pin",
    "remove": "remove",
    "remove, membership": "remove+M",
    "remove, Secret": "remove+S",
    "remove, earlier": "remove+E",
    "remove, pinned": "remove+pin",
    "remove, pinned earlier": "remove+pinE",
    "revoke": "revoke",
    "revoke, Secret": "revoke+S",
    "unregister": "unregister",
}
ACTIONS = {
    "ONBOARD": "act",
    "WRITE": "act",
    "REVOKE": "act",
    "UNREGISTER": "act",
    "NOTHING": "\N{EN DASH}",
    "WARN": "warn",
    "REPORT": "report",
    "RAISE": "retry",
    "PERMANENT": "dead-letter",
    "HOLD": "hold",
    "DELETE": "delete",
    "RELEASE": "release",
    "CONTINUE": "continue",
    "TO_REGISTER": "→ register",
    "TO_REMOVE": "→ remove",
}


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, its head first."""
    below = f"\n{text}".partition(f"\n{heading}\n")[2]
    found = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    lines = found[0].splitlines() if found else []
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|---")]


def test_the_state_table_is_what_the_steps_do() -> None:
    head, *body = rows(ARCHITECTURE, "### State table")
    written = {
        (STEPS[row[0]], STATES[state]): cell for row in body for state, cell in zip(head[1:], row[1:], strict=True)
    }
    assert written == {
        (step, state.name): ACTIONS[move.name] for step, state, move in test_steps.cells(test_steps.TABLE)
    }


def test_the_removal_table_is_what_remove_secret_can_do() -> None:
    written: dict[tuple[str, str, str, str], str] = {}
    for cluster, of, reason, *cells in rows(ARCHITECTURE, "### Removal table")[1:]:
        state, _, kind = cluster.partition(", ")
        generation = "same" if of == "this cluster" else "earlier"
        for each in [kind.lower()] if kind else ["gke", "attached"]:
            for hold, cell in zip(("other", "new", "old"), cells, strict=True):
                written[each, f"{state}, {generation}, {reason.strip('`')}", hold, cell] = cell
    assert {key[:3] for key in written} == {_situation(name, situation)[:3] for name, situation in test_removal.ALL}
    for name, situation in test_removal.ALL:
        found = removal.next_removal(situation, test_removal.HOLD, NOW)
        cell = ACTIONS[found[0].name] + (" (sweep)" if found[1] else "") if found else ACTIONS["NOTHING"]
        if name.endswith("pinned"):
            assert found is None
        else:
            assert (*_situation(name, situation), cell) in written, (name, cell)


def _situation(name: str, situation: Situation) -> tuple[str, str, str]:
    kind, _, generation, hold, *age = name.split(", ")
    state = situation.state.value.replace("_", " ")
    column = age[0] if age and hold == situation.reason else "other"
    return kind, f"{state}, {generation}, {situation.reason}", column


def edges() -> Iterator[tuple[str, str]]:
    """The arrows of the diagram between functions and topics; every line must be one that this test understands."""
    found = re.search(r"```mermaid\nflowchart LR\n(.*?)```", ARCHITECTURE, re.DOTALL)
    assert found is not None
    node = r"([a-z-]+)(?:\[[\w ,]+\]|\(\[[\w-]+\]\))?"
    for line in found[1].splitlines():
        arrow = re.fullmatch(rf"  {node} (?:-->|-\.->)(?:\|[\w-]+\|)? {node}", line)
        assert arrow is not None, line
        yield arrow[1], arrow[2]


def test_the_diagram_shows_every_topic_that_a_function_may_publish_to() -> None:
    steps = set(ROLES) - {"sweep", "argocd"}
    ends = ("dead-letters", "cluster-events")
    allowed = {(name, topic) for name in steps for topic in ROLES[name]["publish"] if topic not in ends}
    assert {(source, target) for source, target in edges() if source in steps} == allowed


def test_every_promise_names_tests_that_exist() -> None:
    promises = rows(ARCHITECTURE, "## Promises")[1:]
    assert [row[0] for row in promises] == [str(number) for number in range(1, 10)]
    for number, _, proofs in promises:
        named = re.findall(r"`([\w/.]+)::(\w+)`", proofs)
        assert named, number
        for path, function in named:
            tree = ast.parse((ROOT / path).read_text())
            assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, function


def test_the_map_of_the_code_names_every_folder() -> None:
    named = {row[0].strip("`").rstrip("/") for row in rows(ARCHITECTURE, "## Map of the code")[1:]}
    top = {path.name for path in ROOT.iterdir() if path.is_dir() and not _is_ignored(path.name)}
    packages = {
        path.parent.relative_to(ROOT).as_posix()
        for folder in ("functions", "shared", "ops", "local")
        for path in (ROOT / folder).rglob("__init__.py")
        if len(path.relative_to(ROOT).parts) <= 3
    }
    assert top | packages <= named


def _is_ignored(name: str) -> bool:
    return (
        name in (".git", ".venv", ".local", "dist", "site")
        or name.endswith("_cache")
        or name in {"__pycache__", ".hypothesis"}
    )


def test_every_label_and_annotation_is_documented() -> None:
    written = {f"fleet-registrar/{name}" for name in re.findall(r"\{PREFIX\}([a-z-]+)", SHARED)}
    documented = set(re.findall(r"`(fleet-registrar/[a-z-]+)", OBJECTS))
    assert written
    assert written == documented


def test_every_setting_is_documented() -> None:
    read = set(re.findall(r"reader\.read\(\s*f?\"(?:\{prefix\})?([A-Z_]+)\"", SHARED))
    prefix = "CLOUDSDK_API_ENDPOINT_OVERRIDES_"
    documented = {name.removeprefix(prefix) for name in re.findall(r"^\| `([A-Z_]+)`", CONFIGURATION, re.MULTILINE)}
    assert read
    assert read == documented


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("Decision", "## Decisions"),
        ("EventCode", "## Events"),
        ("ErrorCode", "## Errors"),
        ("FindingCode", "## Findings of a sweep"),
    ],
)
def test_every_code_is_documented(name: str, heading: str) -> None:
    assert {row[0].strip("`") for row in rows(CODES, heading)[1:]} == members(name)


def test_every_state_is_documented() -> None:
    listed = re.search(r"## States\n(.*?)\n## ", CODES, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"`([a-z_]+)`", listed[1])) - {"code"} == members("State")


def members(name: str) -> set[str]:
    """The values of an enum of strings that is defined somewhere in shared/."""
    found = [
        node
        for path in sources("shared/**/*.py")
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    assert len(found) == 1, name
    values = [line.value for line in found[0].body if isinstance(line, ast.Assign)]
    return {str(value.value) for value in values if isinstance(value, ast.Constant)}


@pytest.mark.parametrize("name", sorted(ROLES))
def test_a_functions_permissions_are_documented(name: str) -> None:
    row = next(row for row in rows(PERMISSIONS, "# Permissions")[1:] if row[0].startswith(f"`{name}`"))
    _, fleet, central, source, secrets = row
    assert _verbs(fleet) == _granted(
        ROLES[name]["fleet"],
        {"gateway": "gateway", "memberships": "memberships", "timeSeries": "metrics", "quotas": "quotas"},
    )
    assert _verbs(central) == _granted(ROLES[name]["central"], {"gateway": "gateway", "memberships": "memberships"})
    assert _verbs(source) == _granted(
        ROLES[name]["source"],
        {
            "clusters": "clusters",
            "clusterRoleBindings": "ClusterRoleBindings",
            "clusterRoles": "ClusterRoles",
            "subjectAccessReviews": "access reviews",
        },
    )
    assert set(re.findall(r"[a-z]+", secrets)) == set(ROLES[name]["secrets"])


def _verbs(cell: str) -> set[tuple[str, str]]:
    parts = [part.partition(": ") for part in cell.split("; ") if ": " in part]
    return {(resource, verb) for resource, _, verbs in parts for verb in verbs.split(", ")}


def _granted(permissions: list[str], names: dict[str, str]) -> set[tuple[str, str]]:
    """Permissions as (resource, verb); reading operations goes without saying."""
    parts = [permission.split(".") for permission in permissions if ".operations." not in permission]
    return {(names[resource], verb) for _, resource, verb in parts}
