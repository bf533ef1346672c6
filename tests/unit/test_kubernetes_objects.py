"""Whatever is done to a Kubernetes object, in whatever order: what identifies it and orders its states holds."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from local.kubernetes.authorization import MASTERS, Authorizer, User
from local.kubernetes.objects import Objects
from local.kubernetes.patches import json_patch, merge, strategic_merge
from local.kubernetes.resources import NAMESPACES, SECRETS
from local.kubernetes.selectors import label_selector
from local.kubernetes.status import StatusError
from local.kubernetes.store import Store
from local.kubernetes.tables import human_duration

ADMIN = User("admin", (MASTERS,))
NAMES = st.sampled_from(["a", "b"])
WORDS = st.sampled_from(["", "x", "y"])
LABELS = st.dictionaries(st.sampled_from(["env", "tier"]), WORDS)
CHANGES = st.dictionaries(st.sampled_from(["env", "tier"]), WORDS | st.none())


class AnyOrder(RuleBasedStateMachine):
    """Creates, puts, patches and deletes two Secrets, with right and stale versions, beside a model of their labels."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.objects = Objects(self.store, Authorizer(self.store), lambda: dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        self.objects.create(ADMIN, NAMESPACES, "", {"metadata": {"name": "n"}})
        self.labels: dict[str, dict[str, str]] = {}
        self.seen: dict[str, tuple[str, int, dict[str, str]]] = {}  # name → uid, version and labels at the last look
        self.retired: set[str] = set()  # uids of what was deleted
        self.start = self.store.version
        self.watched: dict[str, dict[str, Any]] = {}

    @rule(name=NAMES, labels=LABELS)
    def create(self, name: str, labels: dict[str, str]) -> None:
        item = {"metadata": {"name": name, "namespace": "n", "labels": labels}}
        if name in self.labels:
            with pytest.raises(StatusError, match="already exists"):
                self.objects.create(ADMIN, SECRETS, "n", item)
            return
        made = self.objects.create(ADMIN, SECRETS, "n", item)
        assert made["metadata"]["uid"] not in self.retired
        self.labels[name] = labels

    @rule(name=NAMES, labels=LABELS)
    def put(self, name: str, labels: dict[str, str]) -> None:
        item = {"metadata": {"name": name, "namespace": "n", "labels": labels}}
        if name not in self.labels:
            with pytest.raises(StatusError, match="not found"):
                self.objects.replace(ADMIN, SECRETS, "n", name, item)
            return
        self.objects.replace(ADMIN, SECRETS, "n", name, item)
        self.labels[name] = labels

    @rule(name=NAMES, changes=CHANGES, stale=st.booleans())
    def merge_patch(self, name: str, changes: dict[str, str | None], stale: bool) -> None:
        patch = {"metadata": {"labels": changes} | ({"resourceVersion": "1"} if stale else {})}
        if name not in self.labels or stale:
            with pytest.raises(StatusError):
                self.objects.patch(ADMIN, SECRETS, "n", name, lambda item: merge(item, patch))
            return
        self.objects.patch(ADMIN, SECRETS, "n", name, lambda item: merge(item, patch))
        self.labels[name] = merge(self.labels[name], changes)

    @precondition(lambda self: self.labels)
    @rule(name=NAMES, right=st.booleans())
    def delete(self, name: str, right: bool) -> None:
        found = self.store.get(SECRETS, "n", name)
        preconditions = {"uid": found["metadata"]["uid"] if found and right else "another"}
        if found is None or not right:
            with pytest.raises(StatusError):
                self.objects.delete(SECRETS, "n", name, preconditions)
            return
        self.objects.delete(SECRETS, "n", name, preconditions)
        self.retired.add(found["metadata"]["uid"])
        del self.labels[name], self.seen[name]

    @invariant()
    def the_store_holds_what_was_written(self) -> None:
        found = {item["metadata"]["name"]: item["metadata"].get("labels", {}) for item in self.store.all(SECRETS, "n")}
        assert found == self.labels

    @invariant()
    def the_version_grows_exactly_when_something_changed_and_the_uid_stays(self) -> None:
        for item in self.store.all(SECRETS, "n"):
            metadata = item["metadata"]
            name, version, labels = metadata["name"], int(metadata["resourceVersion"]), metadata.get("labels", {})
            if name in self.seen:
                uid, last_version, last_labels = self.seen[name]
                assert metadata["uid"] == uid
                assert (version > last_version) == (labels != last_labels)
                assert version >= last_version
            self.seen[name] = metadata["uid"], version, labels

    @invariant()
    def the_events_lead_from_the_start_to_what_is_there(self) -> None:
        replayed: dict[str, Any] = {}
        last = self.start
        for event in self.store.since(self.start, SECRETS):
            assert event.version > last
            last = event.version
            assert (event.type == "ADDED") == (event.key[1] not in replayed)
            if event.type == "DELETED":
                del replayed[event.key[1]]
            else:
                replayed[event.key[1]] = event.after
        assert list(dict(sorted(replayed.items())).values()) == self.store.all(SECRETS, "n")

    @invariant()
    def the_past_can_be_listed(self) -> None:
        assert self.store.all(SECRETS, at=self.start) == []


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnyOrder = AnyOrder.TestCase

DOCUMENTS = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=3).filter(lambda key: not key.startswith("$")), DOCUMENTS, max_size=4)


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_made_twice_is_made_once(document: dict[str, Any], patch: dict[str, Any]) -> None:
    assert merge(merge(document, patch), patch) == merge(document, patch)


@given(OBJECTS)
def test_an_empty_patch_changes_nothing(document: dict[str, Any]) -> None:
    assert merge(document, {}) == document
    assert strategic_merge(document, {}) == document
    assert json_patch(document, []) == document


@given(OBJECTS, DOCUMENTS)
def test_a_json_patch_that_adds_and_removes_comes_back(document: dict[str, Any], value: Any) -> None:
    path = "/new~1key~0"
    added = json_patch(
        document, [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}]
    )
    assert added == document | {"new/key~": value}
    assert json_patch(added, [{"op": "remove", "path": path}]) == document


@pytest.mark.parametrize(
    ("patch", "left"),
    [
        ({"m": {"$patch": "replace", "z": "1"}}, {"m": {"z": "1"}, "finalizers": ["f", "g"]}),
        ({"m": {"$patch": "delete"}}, {"m": {}, "finalizers": ["f", "g"]}),
        ({"$deleteFromPrimitiveList/finalizers": ["f"]}, {"m": {"x": "1"}, "finalizers": ["g"]}),
        ({"finalizers": ["h"]}, {"m": {"x": "1"}, "finalizers": ["f", "g", "h"]}),
        ({"m": None, "rules": [1]}, {"finalizers": ["f", "g"], "rules": [1]}),
    ],
)
def test_strategic_merge_knows_its_directives(patch: dict[str, Any], left: dict[str, Any]) -> None:
    assert strategic_merge({"m": {"x": "1"}, "finalizers": ["f", "g"]}, patch) == left


@given(LABELS, st.sampled_from(["env", "tier"]), WORDS)
def test_a_selector_and_its_opposite_split_everything(labels: dict[str, str], key: str, value: str) -> None:
    for one, other in (
        (f"{key}={value}", f"{key}!={value}"),
        (key, f"!{key}"),
        (f"{key} in (x,y)", f"{key} notin (x,y)"),
    ):
        assert label_selector(one)(labels) != label_selector(other)(labels)


@pytest.mark.parametrize(
    ("seconds", "wording"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (310, "5m10s"),
        (600, "10m"),
        (10800, "3h"),
        (11000, "3h3m"),
        (86400, "24h"),
        (187200, "2d4h"),
        (864000, "10d"),
        (86400 * 800, "2y70d"),
        (86400 * 365 * 9, "9y"),
    ],
)
def test_ages_have_kubectls_format(seconds: int, wording: str) -> None:
    assert human_duration(dt.timedelta(seconds=seconds)) == wording
