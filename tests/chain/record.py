"""Records what a version writes, for the upgrade test of later versions: `python -m tests.chain.record unreleased --revision 1234567`.

It runs that version's own functions on that version's own local cloud, with one cluster of each kind, and keeps clusters,
memberships, RBAC objects, Secrets and messages in `recorded/NAME.json`. Without --revision it records the checkout.
The test needs neither the history nor the network.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import Any

from shared.values.messages import STEPS
from tests.chain.running import BINDINGS, CENTRAL, FLEET, MERGE, SECRETS, Chain, running

Json = dict[str, Any]

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
MESSAGES = ("shared.values.messages", "shared.messages")  # now, and before 0.1.0
SELECTOR = "argocd!=no"
# The settings of both clouds: the recorded one and the one that upgrades.
OPTIONS = ("--selector", SELECTOR, "--hold", "600", "--attempts", "20")
APPS = "demo-apps"
# Each kind of cluster: how it is created.
GKE: dict[str, Json] = {
    "ours": {"project": APPS, "labels": {"env": "prod", "team": "shop"}},
    "in-fleet": {"fleet": FLEET, "labels": {"env": "dev"}},
    "autopilot": {"autopilot": True, "labels": {"env": "dev"}},
    "edited": {"labels": {"env": "prod"}},
    "pinned": {"labels": {"env": "prod"}},
    "paused": {"labels": {"env": "prod"}},
    "unselected": {"labels": {"env": "dev"}},
    "adopted": {"labels": {"env": "prod"}},
    "deleted": {"labels": {"env": "dev"}},  # leaves before the end: for the messages of its way out
}
ATTACHED: dict[str, Json] = {"edge": {"labels": {"env": "edge"}}}
# What a person changes on a Secret, as a merge patch.
EDITS: dict[str, Json] = {
    "edited": {
        "metadata": {"labels": {"tier": "gold"}, "annotations": {"example.com/note": "mine"}},
        "data": {"shard": b64encode(b"1").decode(), "project": b64encode(b"shop").decode()},
    },
    "pinned": {"metadata": {"annotations": {"fleet-registrar/keep": "true"}}},
    "paused": {"metadata": {"annotations": {"argocd.argoproj.io/skip-reconcile": "true"}}},
}


def full(name: str) -> str:
    """The full name of one of the recorded GKE clusters."""
    return f"projects/{GKE[name].get('project', FLEET)}/locations/europe-west1/clusters/{name}"


def create(cloud: Chain, names: list[str]) -> None:
    """Create the clusters of the recording."""
    for name in names:
        cloud.create_cluster(name, **GKE[name])
    cloud.running(*map(full, names))


def record(cloud: Chain) -> Json:
    """Let the version work, and return what it has written."""
    messages: dict[str, dict[str, Json]] = {topic: {} for topic in STEPS}

    def settle() -> None:
        """Wait until nothing is on its way; what waits in our own subscriptions is not."""

        def done() -> bool:
            for topic, found in messages.items():
                _take(cloud, topic, found)
            return cloud.quiet()

        cloud.wait_for(done, 90, "quiet")

    for topic in STEPS:
        _pubsub(cloud, "PUT", f"subscriptions/recorded-{topic}", {"topic": f"projects/{FLEET}/topics/{topic}"})
    _write_other_secret(cloud, "adopted")
    create(cloud, list(GKE))
    attached = [cloud.attach(name, admit=True, **arguments) for name, arguments in ATTACHED.items()]
    adopted = full("adopted")
    cloud.onboarded(*(full(name) for name in GKE if name != "adopted"), *attached)
    settle()
    _adopt(cloud)
    cloud.wait_for(lambda: cloud.secret(adopted), 60)
    for name, change in EDITS.items():
        path = f"{SECRETS}/{cloud.manifest(full(name))['metadata']['name']}"
        assert cloud.kubernetes(CENTRAL, "PATCH", path, change, content_type=MERGE)[0] == 200
    cloud.set_labels(full("unselected"), {"env": "dev", "argocd": "no"})
    cloud.delete_cluster(full("deleted"))
    cloud.offboarded(full("deleted"))
    settle()
    for _ in range(2):
        cloud.publish("sweep", {})
        settle()
    assert cloud.held(full("unselected")) == "not-wanted"
    there = [full(name) for name in GKE if name != "deleted"]
    return {
        "keys": {topic: sorted(known_keys(topic)) for topic in STEPS},
        "memberships": {name: one for name, one in _memberships(cloud).items() if name.rpartition("/")[2] != "central"},
        "rbac": {name: _rbac(cloud, name) for name in [*there, *attached]},
        "secrets": {name: _bare(cloud.manifest(name)) for name in [*there, *attached]},
        "messages": {topic: [found[shape] for shape in sorted(found)] for topic, found in messages.items()},
    }


def _write_other_secret(cloud: Chain, name: str) -> None:
    """Write a Secret as another tool does, for a cluster that comes later."""
    data = {"name": f"gke_{FLEET}_europe-west1_{name}", "server": "https://192.0.2.7", "config": "{}"}
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"{FLEET}.europe-west1.{name}",
            "labels": {"argocd.argoproj.io/secret-type": "cluster", "by": "hand"},
            "annotations": {"fleet-registrar/cluster": full(name)},
        },
        "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
    }
    assert cloud.kubernetes(CENTRAL, "POST", SECRETS, manifest)[0] == 201


def _adopt(cloud: Chain) -> None:
    command = f"set -a; . {cloud.directory}/env; exec {sys.executable} -m ops adopt --change-server"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _memberships(cloud: Chain) -> dict[str, Json]:
    found: dict[str, Json] = cloud.state()["memberships"]
    return {name: {key: one[key] for key in ("uniqueId", "labels", "cluster")} for name, one in sorted(found.items())}


def _rbac(cloud: Chain, cluster: str) -> list[Json]:
    return [
        _bare({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind} | one)
        for kind, path in (("ClusterRole", ROLES), ("ClusterRoleBinding", BINDINGS))
        for one in cloud.kubernetes(cluster, "GET", path)[1]["items"]
        if one["metadata"]["name"].startswith("fleet-registrar:")
    ]


def _bare(manifest: Json) -> Json:
    """An object as it was written: without what the API server adds."""
    kept = {key: manifest["metadata"][key] for key in ("name", "labels", "annotations") if key in manifest["metadata"]}
    return {key: value for key, value in manifest.items() if key != "metadata"} | {"metadata": kept}


def _take(cloud: Chain, topic: str, found: dict[str, Json]) -> None:
    """Take a topic's messages; keep one of each shape: the keys of its body, and its attributes."""
    for message in cloud.pull(f"recorded-{topic}"):
        body, attributes = json.loads(message["data"]), message["attributes"]
        attributes.pop("traceparent", None)
        found.setdefault(f"{sorted(body)} {sorted(attributes)}", {"body": body, "attributes": attributes})


def known_keys(topic: str) -> set[str]:
    """The keys that a step of this version knows in a message."""
    messages = importlib.import_module(MESSAGES[0] if importlib.util.find_spec("shared.values") else MESSAGES[1])
    return {"cluster", "membership"} | set(messages._KEYS.get(topic, ()))


def _pubsub(cloud: Chain, method: str, path: str, body: Json) -> None:
    base = cloud.do("cloud", "pubsub_url")
    status, answer = cloud._call(f"{base}v1/projects/{FLEET}/{path}", method, body)
    assert status == 200, answer


def command_line() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    options = argparse.ArgumentParser(prog="python -m tests.chain.record", description="Record what a version writes.")
    options.add_argument("name", help="version whose objects these are, for example 0.1.0")
    options.add_argument("--revision", help="revision to record; default: this checkout")
    return options


def main() -> None:
    """Record a revision in a copy of its tree, or this checkout in place."""
    given = command_line().parse_args()
    target = RECORDED / f"{given.name}.json"
    if not given.revision:
        with tempfile.TemporaryDirectory() as directory, running(Path(directory), *OPTIONS) as cloud:
            target.write_text(json.dumps(record(cloud), indent=1, sort_keys=True) + "\n")
        sys.stdout.write(f"{target}\n")
        return
    root = HERE.parents[1]
    with tempfile.TemporaryDirectory() as directory:
        archive = subprocess.run(["git", "archive", given.revision], cwd=root, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(directory, filter="data")
        tree = Path(directory) / "tests/chain"
        (tree / "recorded").mkdir(exist_ok=True)
        shutil.copy(__file__, tree / "record.py")
        command = [sys.executable, "-m", "tests.chain.record", given.name]
        subprocess.run(command, cwd=directory, env=os.environ | {"PYTHONSAFEPATH": ""}, check=True)
        RECORDED.mkdir(exist_ok=True)
        shutil.copy(tree / "recorded" / target.name, target)
    sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    main()
