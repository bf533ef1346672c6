"""docs/status.schema.json describes what `ops status --json` and `GET /status.json` answer, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from jsonschema import Draft202012Validator

from ops.activity import Log
from ops.doctor.findings import Unread
from ops.health import Backlog
from ops.page.board import Board, Budget, as_json, row_json
from shared.values.settings import RemovalLimit
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, SELECTING, as_secret, created, secret
from tests.unit.surveys import seen
from tests.unit.test_status_page import board, entry

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

SCHEMA: Final[Json] = json.loads((Path(__file__).parents[2] / "docs" / "status.schema.json").read_text())
HELD: Final = "not-wanted 2026-11-24T11:50:00Z skip-reconcile=ours"
LOG: Final = Log(
    (entry(attempt=7, attempts=20), entry(decision="granted")),
    (entry(decision="dead_lettered", cluster=""),),
    (entry("sweep", "swept", cluster="", code=""),),
)


def limited() -> Board:
    """A board on which a removal limit is reached."""
    away = replace(BLUE, labels={})
    settings = replace(SELECTING, max_removals=RemovalLimit(0, percent=False))
    return board(seen([away], [BLUE_MEMBER], [as_secret(created(away))], settings=settings))


def troubled() -> Board:
    """A board with a held Secret that has a shard, a cluster that failed, and messages that wait."""
    held = secret(held=HELD)
    red = replace(BLUE, name=replace(BLUE.name, cluster="red"), status="ERROR", version="1.33.5-gke.1")
    member = replace(BLUE_MEMBER, created=BLUE.created or held_since())
    shown = seen(
        [BLUE, red], [member, EDGE], [replace(held, data={**held.data, "shard": "2"}, created="2026-11-24T09:00:00Z")]
    )
    return board(shown, LOG, letters=3, backlogs={"grant-rbac": Backlog(3, 3600.0)})


def held_since() -> Any:
    """When the Secret of `troubled` was held."""
    hold = secret(held=HELD).hold
    assert hold is not None
    return hold.since


def unread() -> Board:
    """A board of which nothing could be read."""
    shown = board(seen(listed=frozenset()), Log(unread="403"), letters=Unread("403"), backlogs=Unread("403"))
    return replace(shown, budget=Budget(unread="403"))


BOARDS: Final = {"healthy": board(), "limited": limited(), "troubled": troubled(), "unread": unread()}


def faults(shown: Any, schema: Json = SCHEMA) -> list[str]:
    """Return what a value has against a schema."""
    errors = Draft202012Validator(schema).iter_errors(json.loads(json.dumps(shown)))
    return [f"{error.json_path}: {error.message}" for error in errors]


def declared(schema: Any, path: str = "") -> Iterator[str]:
    """Give the path of every property that a schema declares."""
    for name, one in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from declared(one, f"{path}.{name}")
    if "items" in schema:
        yield from declared(schema["items"], f"{path}[]")
    if schema.get("$ref", "").startswith("#/$defs/"):
        yield from declared(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], path)


def present(value: Any, path: str = "") -> Iterator[str]:
    """Give the path of every key that a value has."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield f"{path}.{name}"
            yield from present(one, f"{path}.{name}")
    if isinstance(value, list):
        for one in value:
            yield from present(one, f"{path}[]")


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("shown", BOARDS.values(), ids=BOARDS)
def test_the_json_follows_its_schema(shown: Board) -> None:
    assert faults(as_json(shown)) == []


def test_each_declared_key_occurs() -> None:
    shown = [json.loads(json.dumps(as_json(one))) for one in BOARDS.values()]
    # Sweeps are entries like those of the activity, but name no cluster.
    found = {path.replace(".sweeps[]", ".activity[]") for one in shown for path in present(one)}
    assert {path.replace(".sweeps[]", ".activity[]") for path in declared(SCHEMA)} - found == set()


def test_the_rows_of_ops_list_follow_the_schema_of_a_cluster() -> None:
    schema = {"$ref": "#/$defs/cluster", "$defs": SCHEMA["$defs"]}
    assert [fault for shown in BOARDS.values() for row in shown.rows for fault in faults(row_json(row), schema)] == []


@pytest.mark.parametrize("key", ["bogus", "readat"])
def test_an_unknown_key_is_a_fault(key: str) -> None:
    assert faults({**as_json(board()), key: 1}) != []
