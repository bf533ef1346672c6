"""Objects that an earlier version wrote, under this version: adopted or migrated, and nothing is deployed again.

`recorded/VERSION.json` has what each version wrote; `python -m tests.chain.record` makes it.
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import threading
import urllib.request
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from shared.values.messages import STEPS
from tests.chain import record
from tests.chain.record import ATTACHED, GKE, OPTIONS, RECORDED, create, full
from tests.chain.running import CENTRAL, FLEET, MARK, SECRETS, Chain, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chain.running import Json

VERSIONS = sorted(path.stem for path in RECORDED.glob("*.json"))
EDGE = f"projects/{FLEET}/locations/global/memberships/edge"
HELD = f"{MARK}held"
ID, UID = f"{MARK}cluster-id", f"{MARK}membership-uid"


class Watch:
    """Every state that the Secrets of Argo CD's namespace go through: event type and object."""

    def __init__(self, cloud: Chain) -> None:
        server, token = cloud.do("cloud", "direct", cluster=CENTRAL)
        version = cloud.kubernetes(CENTRAL, "GET", SECRETS)[1]["metadata"]["resourceVersion"]
        url = f"{server}{SECRETS}?watch=1&resourceVersion={version}"
        self.events: list[tuple[str, Json]] = []
        trusted = ssl.create_default_context(cafile=str(cloud.directory / "ca.pem"))
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
        )
        self._stream = opener.open(request, timeout=600)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            for line in self._stream:
                event = json.loads(line)
                self.events.append((event["type"], event["object"]))

    def reached(self, cloud: Chain) -> None:
        """Wait until everything that was written before has been seen."""
        marker = {"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "marker-"}}
        name = cloud.kubernetes(CENTRAL, "POST", SECRETS, marker)[1]["metadata"]["name"]
        cloud.wait_for(
            lambda: any(one["metadata"]["name"] == name for _, one in self.events), what="the watch's events"
        )
        cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/{name}")


class Upgrade:
    """A cloud that has what an earlier version wrote, while no function runs."""

    def __init__(self, cloud: Chain, recorded: Json) -> None:
        self.cloud, self.recorded = cloud, recorded
        self.secrets: dict[str, Json] = {}
        for function in cloud.state()["functions"]:
            cloud.stop_function(function)
        create(cloud, [name for name in GKE if name != "deleted"])
        for name, arguments in ATTACHED.items():
            cloud.attach(name, admit=True, **arguments)
        self._translate_ids()
        for membership, one in self.recorded["memberships"].items():
            if membership not in cloud.state()["memberships"]:
                asked = {"endpoint": {"gkeCluster": {"resourceLink": one["cluster"]}}, "labels": one["labels"]}
                cloud.do("fleet", "create", name=membership, asked=asked)
        cloud.wait_for(lambda: set(recorded["memberships"]) <= _ready(cloud), what="the recorded memberships")
        self._translate_secrets()
        for cluster, objects in self.recorded["rbac"].items():
            for one in objects:
                path = f"/apis/{one['apiVersion']}/{one['kind'].lower()}s"
                assert cloud.kubernetes(cluster, "POST", path, one)[0] == 201
        for cluster, manifest in self.recorded["secrets"].items():
            status, self.secrets[cluster] = cloud.kubernetes(CENTRAL, "POST", SECRETS, manifest)
            assert status == 201
        # The label is what made this cluster leave.
        cloud.set_labels(full("unselected"), {"env": "dev", "argocd": "no"})
        cloud.wait_for(lambda: cloud.state()["clusters"][full("unselected")]["resourceLabels"].get("argocd"))
        self.before = cloud.everything()
        self.watch = Watch(cloud)

    def _translate_ids(self) -> None:
        """Put this cloud's cluster ids in place of the recorded ones; a membership's label has 40 characters of them."""
        text = json.dumps(self.recorded)
        for name, manifest in self.recorded["secrets"].items():
            if old := manifest["metadata"]["annotations"].get(ID):
                new = self.cloud.state()["clusters"][name]["id"]
                text = text.replace(old, new).replace(old[:40], new[:40])
        self.recorded = json.loads(text)

    def _translate_secrets(self) -> None:
        """Put this cloud's membership uids, address and time in place of the recorded ones."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        memberships = self.cloud.state()["memberships"]
        for manifest in self.recorded["secrets"].values():
            notes = manifest["metadata"]["annotations"]
            notes[UID] = memberships[notes[f"{MARK}membership"]]["uniqueId"]
            if HELD in notes:
                notes[HELD] = re.sub(r" \S+Z ", f" {now} ", notes[HELD])
            gateway = self.cloud.do("cloud", "gateway_url", membership=notes[f"{MARK}membership"])
            host = gateway.partition("//")[2].partition("/")[0]
            server = b64decode(manifest["data"]["server"]).decode()
            manifest["data"]["server"] = b64encode(re.sub(r"//[^/]+", f"//{host}", server).encode()).decode()

    def start(self) -> None:
        """Deploy this version, and let two sweeps find what differs."""
        for function in self.cloud.state()["functions"]:
            self.cloud.start_function(function)
        for _ in range(2):
            self.sweep()

    def sweep(self) -> None:
        self.cloud.wait_quiet()
        self.cloud.publish("sweep", {})
        self.cloud.wait_quiet()


def _ready(cloud: Chain) -> set[str]:
    return {name for name, one in cloud.state()["memberships"].items() if one["state"] == "READY"}


@pytest.fixture(scope="module", params=VERSIONS)
def upgrade(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    recorded = json.loads((RECORDED / f"{request.param}.json").read_text())
    directory: Path = tmp_path_factory.mktemp("upgrade")
    with running(directory, *OPTIONS) as cloud:
        found = Upgrade(cloud, recorded)
        found.start()
        found.watch.reached(cloud)
        yield found


@pytest.fixture(scope="module")
def cloud(upgrade: Upgrade) -> Chain:
    upgrade.cloud.is_one_story = True
    return upgrade.cloud


def test_no_secret_is_deleted_or_created_by_an_upgrade(upgrade: Upgrade, cloud: Chain) -> None:
    names = {one["metadata"]["name"] for one in upgrade.secrets.values()}
    changes = [(kind, one["metadata"]["name"]) for kind, one in upgrade.watch.events]
    assert {kind for kind, name in changes if name in names} <= {"MODIFIED"}
    assert {name for _, name in changes if not name.startswith("marker-")} <= names
    uids = {one["metadata"]["uid"] for one in upgrade.secrets.values()}
    assert {one["uid"] for one in cloud.secrets() if one["name"] in names} == uids


def test_labels_that_applicationsets_select_on_never_disappear(upgrade: Upgrade) -> None:
    before = {one["metadata"]["name"]: one["metadata"]["labels"] for one in upgrade.secrets.values()}
    seen = 0
    for _, one in upgrade.watch.events:
        if (name := one["metadata"]["name"]) in before:
            seen += 1
            assert before[name].items() <= one["metadata"]["labels"].items(), name
    assert seen >= len(before)


def test_secrets_of_an_earlier_version_get_the_labels_of_this_one(upgrade: Upgrade, cloud: Chain) -> None:
    for cluster in set(upgrade.secrets) - {full("unselected")}:
        labels = cloud.labels(cluster)
        assert labels[f"{MARK}instance"] == "default"
        assert labels[f"{MARK}name"] == cluster.rpartition("/")[2]


def test_name_server_config_and_what_people_added_stay(upgrade: Upgrade, cloud: Chain) -> None:
    for cluster, before in upgrade.secrets.items():
        now = cloud.manifest(cluster)
        assert now["data"] == before["data"], cluster
        notes = now["metadata"]["annotations"]
        kept = {key: value for key, value in before["metadata"]["annotations"].items() if not key.startswith(MARK)}
        assert kept.items() <= notes.items(), cluster
    assert cloud.manifest(full("pinned"))["metadata"]["annotations"][f"{MARK}keep"] == "true"


def test_a_hold_of_an_earlier_version_is_still_a_hold(upgrade: Upgrade, cloud: Chain) -> None:
    before = upgrade.secrets[full("unselected")]["metadata"]["annotations"]
    now = cloud.manifest(full("unselected"))["metadata"]
    assert now["annotations"][HELD] == before[HELD]
    assert now["labels"][HELD] == "not-wanted"


def test_memberships_and_bindings_are_the_same_objects(upgrade: Upgrade, cloud: Chain) -> None:
    now = cloud.everything()
    assert now["memberships"] == upgrade.before["memberships"]
    for cluster, bindings in upgrade.before["bindings"].items():
        uids = {(name, uid) for name, uid, _ in now["bindings"][cluster]}
        assert {(name, uid) for name, uid, _ in bindings} == uids, cluster


def test_this_version_knows_every_key_of_the_earlier_one(upgrade: Upgrade) -> None:
    for topic, keys in upgrade.recorded["keys"].items():
        assert set(keys) <= record.known_keys(topic), topic


def test_a_recorded_message_is_read_and_changes_no_object(upgrade: Upgrade, cloud: Chain) -> None:
    cloud.dead_letters("")
    count = len(cloud.letters)
    before = cloud.everything()
    for topic in STEPS:
        for message in upgrade.recorded["messages"][topic]:
            cloud.publish(topic, message["body"], message["attributes"])
    cloud.wait_quiet()
    assert [(letter.code, letter.body) for letter in cloud.dead_letters("")[count:]] == []
    now = cloud.everything()
    assert now["memberships"] == before["memberships"]
    assert {name: uid for name, (uid, _) in now["secrets"].items()} == {
        name: uid for name, (uid, _) in before["secrets"].items()
    }


def test_after_the_upgrade_a_sweep_changes_nothing(upgrade: Upgrade, cloud: Chain) -> None:
    upgrade.sweep()
    before = cloud.everything()
    upgrade.sweep()
    assert cloud.everything() == before


def test_clusters_of_an_earlier_version_leave_with_their_memberships(upgrade: Upgrade, cloud: Chain) -> None:
    leaving = [full("ours"), full("in-fleet"), full("adopted")]
    for cluster in leaving:
        cloud.delete_cluster(cluster)
    cloud.offboarded(*leaving)
    cloud.wait_quiet()
    memberships = {one["cluster"].partition(".com/")[2] for one in _memberships(cloud)}
    assert not {full("ours"), full("adopted")} & memberships
    assert cloud.dead_letters(full("ours")) == []


def _memberships(cloud: Chain) -> list[dict[str, Any]]:
    return [one for one in cloud.state()["memberships"].values() if one["cluster"]]
