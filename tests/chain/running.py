"""A running local cloud as the chain's tests see it: started as a person starts it, and asked about what it holds.

Tests share one cloud, so every cluster has a name of its own, and what one test takes from a queue is kept for the others.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import time
from base64 import b64decode
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from local.control import ControlError, LocalCloud
from local.environment import FOUND_BY, find_instance
from local.identities import service_account
from tests import forked_clouds
from tests.waiting import PATIENCE, whole_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from tests.forked_clouds import Process

T = TypeVar("T")
Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
KUBE = os.environ.get("CHAIN_KUBE", "embedded")  # real: a kube-apiserver for each cluster
FLEET, APPS, OTHER, REGION = "demo-fleet", "demo-apps", "demo-other", "europe-west1"
NUMBER = "100000000001"
CENTRAL = f"projects/{FLEET}/locations/{REGION}/clusters/central"
CENTRAL_MEMBERSHIP = f"projects/{FLEET}/locations/{REGION}/memberships/central"
ARGOCD = f"argocd@{FLEET}.iam.gserviceaccount.com"
SECRETS = "/api/v1/namespaces/argocd/secrets"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
BINDING = f"{BINDINGS}/fleet-registrar:{ARGOCD}"
MERGE = "application/merge-patch+json"
MARK = "fleet-registrar/"
QUICK = (
    "--create-seconds",
    "0.1",
    "--delete-seconds",
    "0.2",
    "--update-seconds",
    "0.05",
    "--membership-seconds",
    "0.05",
    "--sweep-every",
    "0",
    "--pull-seconds",
    "0.1",
)
RETRIES = ("--retry-min", "0.2", "--retry-max", "1")
START_PATIENCE = 2 * PATIENCE  # seconds: etcd, kube-apiserver and Argo CD start one after the other
# What must never be in a log or a Secret: the local identities' tokens, signed tokens, keys.
CREDENTIALS = re.compile(r"local\.[\w-]{20,}|eyJ[\w-]+\.[\w-]+\.|Bearer \S{12,}|PRIVATE KEY")

_numbers = itertools.count(1)


def fresh(name: str) -> str:
    """A cluster's name that no other test uses."""
    return f"{name}-{next(_numbers)}"


def email(function: str) -> str:
    return service_account(function, FLEET)


@dataclass(frozen=True)
class Letter:
    """A dead letter."""

    data: bytes
    attributes: dict[str, str]

    @property
    def reason(self) -> str:
        return self.attributes.get("reason", "")

    @property
    def code(self) -> str:
        return self.attributes.get("code", "")

    @property
    def body(self) -> Json:
        body: Json = json.loads(self.data)
        return body


class Chain(LocalCloud):
    """The cloud's client, with the questions that the chain's stories end in."""

    def __init__(self, control: str, token: str, directory: Path) -> None:
        super().__init__(control, token, directory)
        self.letters: list[Letter] = []
        self.heard: list[Json] = []
        self.is_one_story = False  # each test of a module needs what the earlier ones did: a reset would fail them all
        self._made: dict[Callable[[Chain], Any], Any] = {}
        self.kept: set[str] = set()  # the clusters of what was made once

    def wait_for(self, condition: Callable[[], T], timeout: float = PATIENCE, what: str = "") -> T:
        """Wait with the patience of a test."""
        return super().wait_for(condition, timeout, what)

    def wait_quiet(self, timeout: float = PATIENCE) -> None:
        """Wait with the patience of a test until nothing is on its way."""
        super().wait_quiet(timeout)

    # Onboarding and offboarding as a whole

    def onboarded(self, *clusters: str) -> None:
        """Wait until each has a Secret that is not held, with all its labels: they come in a second write."""

        def done() -> bool:
            current = [one for one in self.secrets() if f"{MARK}name" in (one["labels"] or {})]
            return set(clusters) <= _named([one for one in current if f"{MARK}held" not in (one["annotations"] or {})])

        self.wait_for(done, PATIENCE, f"{clusters} in Argo CD's list")

    def offboarded(self, *clusters: str) -> None:
        """Wait until none has a Secret or a membership of its own."""

        def done() -> bool:
            state = self.state("memberships", "secrets")
            links = {str(one["cluster"]).partition(".com/")[2] for one in state["memberships"].values()}
            return not set(clusters) & (_named(state["secrets"]) | links)

        self.wait_for(done, PATIENCE, f"{clusters} out of Argo CD's list and the fleet")

    def onboard(self, name: str = "blue", *arguments: Any, **more: Any) -> str:
        """Make a cluster with a name of its own and wait until it is in Argo CD's list, and nothing is on its way."""
        cluster = self.create_cluster(fresh(name), *arguments, **more)
        self.onboarded(cluster)
        self.wait_quiet()
        return cluster

    def running(self, *clusters: str) -> None:
        """Wait until the clusters run."""

        def done() -> bool:
            there = self.state("clusters")["clusters"]
            return all(there.get(cluster, {}).get("status") == "RUNNING" for cluster in clusters)

        self.wait_for(done, PATIENCE, f"{clusters} running")

    def re_create_unseen(self, cluster: str, labels: dict[str, str]) -> None:
        """Delete and create a cluster while all events are lost."""
        rule = self.add_event_rule("lose", times=0)
        self.delete_cluster(cluster, seconds=0)
        self.gone(cluster)
        self.create_cluster(cluster.rpartition("/")[2], labels=labels)
        self.running(cluster)
        self.wait_quiet()
        self.remove_event_rules(rule["id"])

    def forget_reads(self) -> None:
        """Start a new instance of write-secret: no change waits because the cluster was read a moment ago (decisions/0009)."""
        self.stop_function("write-secret")
        self.start_function("write-secret")

    def gone(self, *clusters: str) -> None:
        """Wait until GKE has deleted the clusters."""
        self.wait_for(
            lambda: not set(clusters) & set(self.state("clusters")["clusters"]), PATIENCE, f"{clusters} deleted"
        )

    # Current objects

    def listed(self) -> set[str]:
        """The clusters (and memberships) whose Secret is there and not held."""
        return _named([one for one in self.secrets() if f"{MARK}held" not in (one["annotations"] or {})])

    def manifest(self, cluster: str) -> Json:
        """The Secret of a cluster (or of an attached one's membership), as the central cluster gives it."""
        found = self.secret(cluster)
        assert found is not None, f"{cluster} has no Secret"
        _, manifest = self.kubernetes(CENTRAL, "GET", f"{SECRETS}/{found['name']}")
        return manifest

    def labels(self, cluster: str) -> dict[str, str]:
        labels: dict[str, str] = self.manifest(cluster)["metadata"]["labels"]
        return labels

    def held(self, cluster: str) -> str:
        """Why the Secret of a cluster is held, '' if it is not."""
        found = self.secret(cluster)
        return ((found["annotations"] or {}).get(f"{MARK}held", "") if found else "").partition(" ")[0]

    def leave(self, cluster: str, leave: str) -> Json:
        """The body of a sweep's request to hold or remove a Secret: it names the Secret by its uid."""
        kind, found = "cluster" if "/clusters/" in cluster else "membership", self.secret(cluster)
        return {kind: cluster, "leave": leave} | ({"secret_uid": found["uid"]} if found else {})

    def membership(self, cluster: str) -> str:
        """The one membership that names a cluster; '' if none does."""
        named = [
            name
            for name, one in self.state("memberships")["memberships"].items()
            if str(one["cluster"]).endswith(f".com/{cluster}")
        ]
        assert len(named) <= 1, named
        return named[0] if named else ""

    def binding(self, cluster: str) -> Json | None:
        """Our binding in a cluster."""
        status, found = self.kubernetes(cluster, "GET", BINDING)
        return found if status == 200 else None

    def change_secret(self, cluster: str, metadata: Json) -> None:
        """Change labels and annotations of a Secret, as a person does."""
        name = self.manifest(cluster)["metadata"]["name"]
        status, _ = self.kubernetes(CENTRAL, "PATCH", f"{SECRETS}/{name}", {"metadata": metadata}, content_type=MERGE)
        assert status == 200

    def admits(self, membership: str, who: str = ARGOCD) -> bool:
        """Whether the cluster behind a membership lets an identity (Argo CD's) read everything in it."""
        status, answer = self.through_gateway(who, membership, "GET", "/api/v1/secrets")
        assert status == 200 or (status, answer["kind"]) == (403, "Status"), answer
        return status == 200

    def everything(self) -> Json:
        """All memberships, Secrets and bindings, with what tells one version from another."""
        state = self.state("clusters", "memberships", "secrets")
        running = [name for name, one in state["clusters"].items() if one["status"] not in ("PROVISIONING", "ERROR")]
        members = [*running, *(name for name, one in state["memberships"].items() if not one["cluster"])]
        return {
            "memberships": {
                name: {key: one[key] for key in ("uniqueId", "state", "labels")}
                for name, one in state["memberships"].items()
            },
            "secrets": {one["name"]: (one["uid"], one["resourceVersion"]) for one in state["secrets"]},
            "bindings": {
                member: [
                    (one["metadata"]["name"], one["metadata"]["uid"], one["metadata"]["resourceVersion"])
                    for one in self.kubernetes(member, "GET", BINDINGS)[1]["items"]
                ]
                for member in members
            },
        }

    # Dead letters and logs

    def events(self, cluster: str) -> list[Json]:
        """The CloudEvents of a cluster, in order of publication: attributes without `ce-`, short `type`, and `data`."""
        for message in self.pull("cluster-events"):
            fields = {key.removeprefix("ce-"): value for key, value in message["attributes"].items()}
            fields["type"] = fields["type"].split(".")[-2]
            self.heard.append({**fields, "data": json.loads(message["data"])})
        found = [event for event in self.heard if event.get("subject") == cluster]
        return sorted(found, key=lambda event: str(event["time"]))

    def dead_letters(self, text: str) -> list[Letter]:
        """The dead letters so far whose body or attributes hold `text`."""
        self.letters += [Letter(one["data"], one["attributes"]) for one in self.pull("dead-letters")]
        return [letter for letter in self.letters if text in f"{letter.data!r} {letter.attributes}"]

    def dead_letter(self, text: str, step: str = "") -> Letter:
        """Wait for a dead letter that holds `text` (from `step`)."""

        def found() -> list[Letter]:
            return [one for one in self.dead_letters(text) if step in ("", one.attributes.get("step"))]

        return self.wait_for(found, PATIENCE, f"a dead letter of {step or 'any step'} with {text}")[-1]

    def replay(self, letter: Letter) -> None:
        """Publish a dead letter again, as it was, to where it came from."""
        self.publish(letter.attributes["topic"], letter.data)

    def lines(self, function: str, text: str = "") -> list[Json]:
        """The lines that a function has logged about `text`."""
        whole = whole_lines(self.log(function))
        return [json.loads(line) for line in whole if text in line and line.startswith("{")]

    def logged(self, function: str, *texts: str, **fields: str | int) -> Json:
        """Wait for a log line with these fields (`decision`, `code`, `severity`, …) that holds all the texts: names, causes."""

        def found() -> list[Json]:
            return [
                line
                for line in self.lines(function, *texts[:1])
                if fields.items() <= line.items() and all(text in json.dumps(line) for text in texts)
            ]

        return self.wait_for(found, PATIENCE, f"{function} saying {texts} {fields}")[-1]

    def logs(self) -> dict[str, str]:
        """All that the functions have logged, by file."""
        return {path.name: path.read_text(errors="replace") for path in sorted((self.directory / "log").glob("*.log"))}

    def wait_met(self, *faults: Json) -> None:
        """Wait until all faults have hit a call."""
        ids = {fault["id"] for fault in faults}

        def missing() -> set[str]:
            return ids - {one["id"] for one in self.do("faults", "as_json") if one["hits"] > one["skip"]}

        calls = {fault["id"]: f"{fault['caller']} {fault['call']}" for fault in faults}
        try:
            self.wait_for(lambda: not missing(), PATIENCE)
        except TimeoutError:
            raise AssertionError(f"faults that no call has met: {[calls[one] for one in missing()]}") from None

    # Life

    def members(self) -> set[str]:
        """All clusters: those that are not GKE by their memberships."""
        state = self.state("clusters", "memberships")
        return set(state["clusters"]) | {name for name, one in state["memberships"].items() if not one["cluster"]}

    def once(self, make: Callable[[Chain], T]) -> T:
        """Return what `make` gives: it is made for the first test that needs it, and again after a reset."""
        if make not in self._made:
            before = self.members()
            self._made[make] = make(self)
            self.kept |= self.members() - before
        made: T = self._made[make]
        return made

    def restore(self) -> None:
        """Undo what a test has made go wrong, so that the next one finds a healthy cloud."""
        self.remove_faults()
        self.remove_event_rules()
        self.release()
        for name, function in self.state("functions")["functions"].items():
            if function["pid"] is None and not function["asleep"]:
                self.start_function(name)

    def reset(self) -> None:
        """Go back to the state right after the start. A cloud with a real part keeps its objects."""
        self.letters.clear()
        self.heard.clear()
        with suppress(ControlError):
            super().reset()
            self._made.clear()
            self.kept.clear()

    @contextmanager
    def repaired(self, session: pytest.Session, *, quiet: bool = False) -> Iterator[None]:
        """Repair the cloud after the block, which is a test. After a failure it is reset: no later test fails with it."""
        failures = session.testsfailed
        is_healthy = False
        try:
            yield
            self.restore()
            if session.testsfailed == failures:
                if quiet:
                    self.wait_quiet()
                is_healthy = True
        finally:
            if not is_healthy and not self.is_one_story:
                self.reset()


def _named(secrets: list[Json]) -> set[str]:
    notes = [one["annotations"] or {} for one in secrets]
    return {one[key] for one in notes for key in (f"{MARK}cluster", f"{MARK}membership") if key in one}


@contextmanager
def running(
    directory: Path, *options: str, start: Callable[[list[str], Path], Process] = forked_clouds.start
) -> Iterator[Chain]:
    """Run `python -m local up` until the block ends; then SIGTERM must end it well. Later options win."""
    output = directory / "up.log"
    words = ["up", "--free-ports", "--directory", str(directory / "cloud"), *QUICK, *RETRIES, "--kube", KUBE, *options]
    process = start(words, output)
    try:
        yield _started(process, directory / "cloud", output)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE)
    assert code == 0, f"python -m local up ended with {code}:\n{output.read_text()}"
    for path in (directory / "cloud" / "log").iterdir():
        text = path.read_text(errors="replace")
        assert not CREDENTIALS.search(text), f"{path} holds a credential"
        assert "execProviderConfig" not in text, f"{path} holds a Secret's data"


def _started(process: Process, directory: Path, output: Path) -> Chain:
    deadline = time.monotonic() + START_PATIENCE
    while not (directory / FOUND_BY).exists():
        assert process.poll() is None, f"python -m local up did not start:\n{output.read_text()}"
        assert time.monotonic() < deadline, (
            f"python -m local up is not ready after {START_PATIENCE:g} s:\n{output.read_text()}"
        )
        time.sleep(0.03)
    return Chain(*find_instance(directory), directory)


def decoded(manifest: Json) -> dict[str, str]:
    """The data of a Secret."""
    return {key: b64decode(value).decode() for key, value in manifest["data"].items()}
