"""The story of `make demo`: clusters are created, changed and deleted, and Argo CD's list follows.

Everything is real but Google Cloud: the functions run under functions-framework with the official clients, and the story
only does what people do (create, label, delete, publish) and reads the state afterwards. The sweep, which Cloud
Scheduler would wake, is woken by a publish. With `--argocd real` Argo CD itself is at the end: what it says of its
Applications is waited for as well.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.control import PATIENCE, LocalCloud
from local.identities import account_id
from local.teller import Teller, cut

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

ARGOCD = "argocd@demo-fleet.iam.gserviceaccount.com"
EVERYTHING = "/api/v1/namespaces"  # something that only a person or thing with rights may list
CENTRAL = "projects/demo-fleet/locations/europe-west1/clusters/central"
APPLICATIONS = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
PAGE = Path(".local") / "status.html"
START_SECONDS = 180.0  # with kube-apiserver and Argo CD
ARGOCD_SECONDS = 180.0  # at its own pace: it looks at a cluster that it has just heard of for the first time
APIS = {"container": "GKE", "gkehub": "fleet", "connectgateway": "gateway"}


class Story:
    """The chapters, in order. Each asserts on the state; its failure names the state that it waited for."""

    def __init__(self, cloud: LocalCloud, teller: Teller, *, argocd: bool) -> None:
        self.cloud = cloud
        self.say = teller.say
        self.argocd = argocd
        self.times: list[tuple[str, float]] = []

    def chapters(self) -> list[tuple[str, Callable[[], None]]]:
        """What happens, by name."""
        return [
            ("a regional cluster is created and appears in Argo CD", self.regional),
            ("a zonal cluster in a second project", self.zonal),
            ("an Autopilot cluster that GKE registers itself (--enable-fleet)", self.autopilot),
            ("an attached cluster, which is not GKE", self.attached),
            ("a label changes", self.label),
            ("a cluster loses its selector label; two sweeps remove it", self.unselected),
            ("a cluster is deleted and disappears from Argo CD", self.deleted),
            ("a poison message is dead-lettered, repaired and replayed", self.poison),
        ]

    def regional(self) -> None:
        """The first cluster; the granting step is kept from its gateway for a moment, to look before and after."""
        cloud = self.cloud
        fault = cloud.add_fault("status", api="connectgateway", caller="grant-rbac@*", status=503, times=0)
        self.shop = cloud.create_cluster("shop", labels=self._baseline(env="prod", tier="web"))
        membership = cloud.wait_for(lambda: self._membership(self.shop), what="a membership for shop") or ""
        cloud.wait_for(lambda: any(one["hits"] for one in cloud.state()["faults"]), what="grant-rbac to begin")
        # A function logs after it has published to the next one.
        cloud.wait_for(lambda: self.shop in cloud.log("register-membership"), what="register-membership to end")
        status, answer = cloud.through_gateway(ARGOCD, membership, "GET", EVERYTHING)
        self._check(status == 403, f"before the grant Argo CD's identity is refused (got {status})")
        self.say(f"Argo CD's identity is refused by the cluster: {cut(answer['message'], 90)}")
        cloud.remove_faults(fault["id"])
        self._appears(self.shop)
        status, _ = cloud.through_gateway(ARGOCD, membership, "GET", EVERYTHING)
        self._check(status == 200, f"after the grant Argo CD's identity is accepted (got {status})")
        self.say("Argo CD's identity is accepted by the cluster")

    def zonal(self) -> None:
        """Its audit entries come by a log sink."""
        self.batch = self.cloud.create_cluster("batch", "europe-west1-b", "demo-apps", self._baseline(env="dev"))
        self._appears(self.batch)

    def autopilot(self) -> None:
        """The membership that GKE made is used, and stays GKE's."""
        self.lab = self.cloud.create_cluster(
            "lab", labels=self._baseline(env="dev"), autopilot=True, fleet="demo-fleet"
        )
        secret = self._appears(self.lab)
        self._check(
            secret["annotations"]["fleet-registrar/membership"].endswith("/memberships/lab"),
            "GKE's own membership is used",
        )

    def attached(self) -> None:
        """A person has granted our identities access, with one gcloud command."""
        self.edge = self.cloud.attach("edge", labels=self._baseline(env="prod"), admit=True)
        self._appears(self.edge)

    def label(self) -> None:
        """A label change at the source reaches the Secret, and with it every ApplicationSet."""
        self.cloud.set_labels(self.shop, {"env": "staging", "tier": "web", "baseline": "hardened"})
        self._timed("shop: env=staging", lambda: self._secret(self.shop)["labels"].get("env") == "staging")
        self._synced("isolation", self._secret(self.shop))

    def unselected(self) -> None:
        """No event removes a running cluster: the sweep holds it, and removes it after the hold."""
        cloud = self.cloud
        membership, before = self._membership(self.lab) or "", self._secret(self.lab)
        cloud.set_labels(self.lab, {})
        cloud.wait_quiet()
        self._check(cloud.secret(self.lab) is not None, "the event alone removes nothing")
        cloud.publish("sweep", {})
        self._timed("lab is held", lambda: "fleet-registrar/held" in self._secret(self.lab)["annotations"])

        def swept() -> bool:
            cloud.wait_quiet()
            if cloud.secret(self.lab) is not None:
                cloud.publish("sweep", {})
            return cloud.secret(self.lab) is None

        self._timed("lab is out of Argo CD's list", swept)
        cloud.wait_quiet()
        self._let_go("guardrails", before)
        status, _ = cloud.through_gateway(ARGOCD, membership, "GET", EVERYTHING)
        self._check(status == 403, f"after leaving Argo CD's identity is refused again (got {status})")
        self.say("Argo CD's identity is refused by the cluster again; the cluster keeps its membership")

    def deleted(self) -> None:
        """Held while it is going, removed when GKE proves it gone, and its membership with it."""
        before = self._secret(self.batch)
        self.cloud.delete_cluster(self.batch)
        self._timed("batch is gone", lambda: self.cloud.secret(self.batch) is None)
        self._let_go("guardrails", before)
        self.cloud.wait_for(lambda: self._membership(self.batch) is None, what="the membership of batch to go")

    def poison(self) -> None:
        """What cannot be read is kept with its reason; repaired, it is published like any message."""
        cloud = self.cloud
        cloud.pull("dead-letters")
        cloud.publish("register-membership", {"clutser": self.shop})
        [letter, *_] = cloud.wait_for(lambda: cloud.pull("dead-letters"), what="the dead letter")
        self.say(f"dead letter of {letter['attributes']['step']}: {cut(letter['attributes']['reason'], 110)}")
        before = cloud.state()["queues"]["write-secret"]["deliveries"]
        cloud.publish(letter["attributes"]["topic"], {"cluster": json.loads(letter["data"])["clutser"]})
        self._timed(
            "the repaired message goes through", lambda: cloud.state()["queues"]["write-secret"]["deliveries"] > before
        )

    def _appears(self, cluster: str) -> dict[str, Any]:
        name = cluster.rpartition("/")[2]
        self._timed(f"{name} is in Argo CD's list", lambda: self.cloud.secret(cluster) is not None)
        secret = self._secret(cluster)
        self._synced("guardrails", secret)
        return secret

    def _baseline(self, **labels: str) -> dict[str, str]:
        """The labels, and the one by which `infra/argocd/fleet/baseline.yaml` gives a cluster the platform's tooling."""
        return labels | {"baseline": "standard"}

    def _synced(self, component: str, secret: dict[str, Any]) -> None:
        """With Argo CD: it has synced a component of the baseline to the cluster."""
        if self.argocd:
            name = _application(component, secret)
            well = ("Synced", "Healthy")
            self._timed(f"Argo CD: {name} is {' and '.join(well)}", lambda: applications(self.cloud).get(name) == well)

    def _let_go(self, component: str, secret: dict[str, Any]) -> None:
        """With Argo CD: it has no Application of a removed cluster, and none is stuck."""
        if self.argocd:
            name = _application(component, secret)
            self._timed(f"Argo CD: {name} is no more", lambda: name not in applications(self.cloud))

    def _secret(self, cluster: str) -> dict[str, Any]:
        found = self.cloud.secret(cluster)
        if found is None:
            raise AssertionError(f"expected: there is a Secret for {cluster}")
        return found

    def _membership(self, cluster: str) -> str | None:
        for name, membership in self.cloud.state()["memberships"].items():
            if str(membership["cluster"] or "").endswith(cluster) and membership["state"] == "READY":
                return str(name)
        return None

    def _timed(self, what: str, condition: Callable[[], bool]) -> None:
        began = time.monotonic()
        self.cloud.wait_for(condition, ARGOCD_SECONDS if self.argocd else PATIENCE, what)
        self.times.append((what, time.monotonic() - began))
        self.cloud.wait_quiet()  # a function logs what it has done after it has done it
        self.say(what)

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            raise AssertionError(f"expected: {what}")


def applications(cloud: LocalCloud) -> dict[str, tuple[str, str]]:
    """Argo CD's Applications on the fleet's clusters, with sync and health."""
    _, found = cloud.kubernetes(CENTRAL, "GET", APPLICATIONS)
    statuses = {one["metadata"]["name"]: one.get("status", {}) for one in found.get("items", [])}
    return {
        name: (status.get("sync", {}).get("status", ""), status.get("health", {}).get("status", ""))
        for name, status in sorted(statuses.items())
        if name != "fleet"
    }


def _application(component: str, secret: dict[str, Any]) -> str:
    """The name that `infra/argocd/fleet/baseline.yaml` gives an Application."""
    short = secret["labels"]["fleet-registrar/name"][:24]
    return f"baseline-{component}-{short}-{hashlib.sha256(secret['data.name'].encode()).hexdigest()[:8]}"


def table(cloud: LocalCloud, story: Story) -> str:
    """Argo CD's list, the times, and the calls that it took, by API."""
    lines = ["", "Argo CD's list of clusters:", f"  {'NAME':<44}{'KIND':<16}{'ENV':<10}SERVER"]
    clusters = [secret for secret in cloud.secrets() if "data.name" in secret]  # Argo CD has a Secret of its own there
    for secret in sorted(clusters, key=lambda secret: str(secret["data.name"])):
        labels = secret["labels"]
        server = secret["data.server"].partition("/v1/")[2]
        lines.append(
            f"  {secret['data.name']:<44}{labels['fleet-registrar/kind']:<16}{labels.get('env', ''):<10}…/{server}"
        )
    verified = verifications(cloud)
    lines += ["", "Access was verified, although Argo CD shows a cluster without Applications as Unknown:"]
    for secret in clusters:
        notes = secret["annotations"]
        name = notes.get("fleet-registrar/cluster") or notes["fleet-registrar/membership"]
        lines.append(f"  {verified.get(name, 'at an unknown time'):<26}{secret['data.name']}")
    if story.argocd:
        lines += ["", "Argo CD's Applications, by its own status:"]
        lines += [f"  {name:<60}{', '.join(state)}" for name, state in applications(cloud).items()]
    wide = max(len(what) for what, _ in story.times) + 2
    lines += ["", "How long it took (creating, deleting: a second each):"]
    lines += [f"  {what:<{wide}}{seconds:6.2f} s" for what, seconds in story.times]
    own = [call for call in cloud.calls() if call["caller"].partition("@")[0] in _identities(cloud)]
    counted = Counter(
        (APIS[call["api"]], "reads" if call["method"] == "GET" else "writes") for call in own if call["api"] in APIS
    )
    lines += ["", f"API calls made by the functions: {counted.total()}"]
    lines += [f"  {api:<10}{kind:<8}{number:5}" for (api, kind), number in sorted(counted.items())]
    return "\n".join(lines)


def verifications(cloud: LocalCloud) -> dict[str, str]:
    """When `grant-rbac` last verified the access to each cluster, or attached cluster's membership, by its own log."""
    found = {}
    for line in cloud.log("grant-rbac").splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("decision") == "granted":
            labels = entry["logging.googleapis.com/labels"]
            found[labels.get("cluster") or labels["membership"]] = entry["time"][:19].replace("T", " ") + " UTC"
    return found


def _identities(cloud: LocalCloud) -> set[str]:
    return {account_id(function) for function in cloud.state()["functions"]}


def main(options: argparse.Namespace) -> int:
    """Start a cloud, run the story, stop the cloud. Returns 0, or 1 after saying which chapter failed."""
    argocd = options.argocd == "real"
    with tempfile.TemporaryDirectory(prefix="fleet-registrar-") as directory:
        command = [
            sys.executable,
            "-m",
            "local",
            "up",
            "--free-ports",
            "--directory",
            directory,
            "--selector",
            "env",
            "--hold",
            "1",
            "--retry-min",
            "0.3",
            "--retry-max",
            "2",
            "--kube",
            "real" if argocd else options.kube,
            "--argocd",
            options.argocd,
        ]
        print("starting the local cloud …", flush=True)
        log = Path(directory) / "up.log"
        with log.open("w") as output:
            up = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            if (cloud := _ready(up, Path(directory))) is None:
                print(f"the local cloud did not start:\n{log.read_text()[-3000:]}")
                return 1
            return _run_chapters(cloud, argocd=argocd)
        finally:
            up.send_signal(signal.SIGTERM)
            try:
                up.wait(timeout=60)
            except subprocess.TimeoutExpired:
                up.kill()


def _run_chapters(cloud: LocalCloud, *, argocd: bool) -> int:
    teller = Teller(cloud)
    story = Story(cloud, teller, argocd=argocd)
    chapters = story.chapters()
    if page := cloud.state()["endpoints"].get("status page"):
        print(f"status page, while the demo runs: {page}/")
    try:
        for number, (name, chapter) in enumerate(chapters, 1):
            teller.chapter(f"{number}/{len(chapters)}  {name}")
            chapter()
            # What a chapter set off is printed below its own heading.
            cloud.wait_quiet()
            teller.flush()
    except (AssertionError, TimeoutError) as error:
        print(f"\nFAILED in chapter {number}, {name}: {error}")
        return 1
    finally:
        teller.close()
    print(table(cloud, story))
    print(f"\nall {len(chapters)} chapters went well")
    if _save_page(cloud.directory):
        print(f"the status page, as it is now: {PAGE}")
    return 0


def _save_page(directory: Path) -> bool:
    """Write the status page into a file that outlives the cloud; its problems are the demo's own."""
    PAGE.parent.mkdir(exist_ok=True)
    command = 'source "$0/env" && exec "$1" -m ops status --html "$2"'
    words = ["bash", "-c", command, str(directory), sys.executable, str(PAGE)]
    saved = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=60)
    return saved.returncode in (0, 2, 3)


def _ready(up: subprocess.Popen[bytes], directory: Path) -> LocalCloud | None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and up.poll() is None:
        try:
            return LocalCloud.from_env(directory)
        except (OSError, RuntimeError, ValueError, KeyError):
            time.sleep(0.1)
    return None
