"""The local cloud as a whole: every emulated API, the functions, and how they are deployed, in one loop.

This is the one place that knows all parts; no part knows it. What it composes is what Terraform deploys: topics, push
subscriptions with retry and dead letters, identities with exactly the roles of `infra/roles.json`, event triggers and log
sinks. All state is in memory and gone when it stops.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from base64 import b64decode
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from local import environment
from local.certificates import Authority
from local.functions import TARGETS, Function, offered
from local.google import gateway
from local.google.eventarc import Eventarc, Knob
from local.google.faults import Calls, Fault, Faults, observed
from local.google.fleet.api import fleet_app
from local.google.fleet.credentials import generate_credentials_routes
from local.google.fleet.state import Fleet
from local.google.gke.api import gke_app
from local.google.gke.state import Gke
from local.google.metadata import identity_token, metadata_app
from local.google.platform import Projects, platform_app
from local.google.pubsub import sdk
from local.google.pubsub.broker import Broker
from local.google.pubsub.model import DeadLetterPolicy, PushConfig, RetryPolicy, Subscription
from local.google.pubsub.observed import ObservedPublish
from local.google.pubsub.rest import rest_app
from local.google.pubsub.rpc import serve_grpc
from local.google.wire import google_api
from local.identities import service_account, shipped_roles, with_shipped_roles
from local.kubernetes.authorization import User
from local.kubernetes.cluster import Cluster
from local.kubernetes.host import PREFIX, ClusterHost
from local.listener import HOST, Listener
from local.processes import StartError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from local.google.iam import Iam
    from local.processes import Child
    from local.real.argocd import ArgoCD
    from local.real.kubernetes import ControlPlanes, RealCluster

Json = dict[str, Any]

FLEET, APPS, OTHER = "demo-fleet", "demo-apps", "demo-other"
NUMBERS = {FLEET: 100000000001, APPS: 100000000002, OTHER: 100000000003}
SOURCES = (FLEET, APPS)  # demo-other is there to show that it is left alone
REGION = "europe-west1"
PERSON = "you@example.com"
CENTRAL_CLUSTER = f"projects/{FLEET}/locations/{REGION}/clusters/central"
CENTRAL_MEMBERSHIP = f"projects/{FLEET}/locations/{REGION}/memberships/central"
STEPS = tuple(target.replace("_", "-") for target in TARGETS if target != "route_event")
ENDS = ("cluster-onboarded", "cluster-offboarded", "dead-letters")
ROOT = Path(__file__).parent.parent
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Config:
    """How to run. A port that is not named is a free one. Seconds of clusters and memberships are for people to watch."""

    directory: Path = Path(".local")
    source: Path = ROOT / "main.py"
    targets: tuple[str, ...] | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    pubsub: Literal["embedded", "emulator"] = "embedded"
    kube: Literal["embedded", "real"] = "embedded"
    spare: int = 1  # real servers that wait for the next cluster
    argocd: Literal["none", "real"] = "none"
    create_seconds: float = 1.0
    delete_seconds: float = 1.0
    update_seconds: float = 0.2
    membership_seconds: float = 0.2
    retry_min: float = 1.0
    retry_max: float = 10.0
    attempts: int = 20
    token_seconds: int = 3600
    selector: str = ""
    label_keys: str = ""
    hold: int = 600
    settings: Mapping[str, str] = field(default_factory=dict)


class Cloud:
    """A running cloud. `died` is done, with what to tell, when a part ends that nobody asked to end."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.directory = config.directory.resolve()
        self.iam: Iam = with_shipped_roles(FLEET, list(SOURCES))
        self.iam.owners.add(PERSON)
        self.projects = Projects(NUMBERS)
        self.faults = Faults()
        self.calls = Calls()
        self.authority = Authority()
        self.members: dict[str, Cluster | RealCluster] = {}
        self._host = ClusterHost()
        self.functions: dict[str, Function] = {}
        self.listeners: dict[str, Listener] = {}
        self.broker: Broker | None = None
        self._pubsub: Broker | sdk.Emulator
        self._planes: ControlPlanes | None = None
        self._argocd: ArgoCD | None = None
        self._contexts: set[str] = set()
        self._due: asyncio.TimerHandle | None = None
        self._open = False
        self._running = AsyncExitStack()

    # Life

    async def start(self) -> None:
        """Start all parts; when this fails, none is left running."""
        self.died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop all parts, the last first; nothing is left running, and the directory is free."""
        self._open = False
        self._kubeconfig_is_due(None)
        await self._running.aclose()

    async def _start(self) -> None:
        then = self._running.push_async_callback
        self._take_directory()
        log = self.directory / "log"
        for needed in (log, self.directory / "gcloud"):
            needed.mkdir(exist_ok=True)
        self._write_certificates()
        self._compose()
        then(self._stop_listeners)
        then(self.gke.close)
        then(self.fleet.close)
        pubsub, *_ = await asyncio.gather(self._start_pubsub(log), self._start_listeners(), self._start_planes())
        self.pubsub_address = f"{HOST}:{pubsub}"
        await self._make_central()
        await self._start_argocd()
        then(self._stop_functions)
        self._make_functions(log)
        if self.broker is not None:  # before the functions stop, pushes do
            then(self.broker.close)
        then(self.eventarc.close)
        await self._deploy()
        self._open = "route-event" in self.functions  # a trigger sees what happens after it was made
        self._write_for_people()
        self._write_kubeconfig()
        await asyncio.gather(*(function.start(self.config.source.parent) for function in self.functions.values()))
        environment.write_instance(self.directory, self.listeners["control"].url)

    async def _stop_listeners(self) -> None:
        self._host.close()
        await asyncio.gather(*(listener.stop() for listener in self.listeners.values()))

    async def _stop_functions(self) -> None:
        await asyncio.gather(*(function.stop() for function in self.functions.values()))
        for function in self.functions.values():
            function.close()

    def _take_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = self._running.enter_context((self.directory / environment.LOCK).open("a"))
        if not environment.taken(lock):
            raise StartError(f"a local cloud already runs in {self.directory}: stop it, or take another --directory")
        instance = self.directory / environment.FOUND_BY
        instance.unlink(missing_ok=True)
        self._running.callback(instance.unlink, missing_ok=True)

    def _write_certificates(self) -> None:
        (self.directory / "ca.pem").write_bytes(self.authority.pem)
        environment.write_bundle(self.directory / "ca-bundle.pem", self.authority.pem)
        certificate, key = self.authority.issue(HOST, "localhost")
        (self.directory / "server.pem").write_bytes(certificate)
        private = self.directory / "server-key.pem"
        private.touch(mode=0o600)
        private.write_bytes(key)

    # The parts

    def _compose(self) -> None:
        config = self.config
        self.gke = Gke(
            self.projects,
            emit_audit=self._audit,
            create_seconds=config.create_seconds,
            delete_seconds=config.delete_seconds,
            update_seconds=config.update_seconds,
            on_cluster_running=self._cluster_running,
            on_cluster_gone=self._cluster_gone,
            kubernetes_endpoint=lambda name: (
                f"{self.listeners['kubernetes'].address}/clusters/{_key(name)}",
                self.authority.pem.decode(),
            ),
        )
        container = self._listen("container", gke_app(self.gke, self.iam))
        self.fleet = Fleet(
            self.projects,
            self.gke,
            emit_membership=self._membership,
            operation_seconds=config.membership_seconds,
            container_host=container.address,
        )
        self._listen("gkehub", fleet_app(self.fleet, self.iam))
        self._listen("platform", platform_app(self.iam, self.projects))
        credentials = google_api(
            generate_credentials_routes(self.fleet, self.iam, self._gateway_url, ca_pem=self.authority.pem.decode())
        )
        way = gateway.gateway_app(self.iam, FLEET, NUMBERS[FLEET], self._member, credentials)
        self._listen("connectgateway", way, secure=True)
        self._listen("kubernetes", self._direct, secure=True)
        from local.control import control_app

        self.listeners["control"] = Listener(control_app(self), port=self.config.ports.get("control", 0))
        for name in shipped_roles():
            self._listen_for_metadata(name, service_account(name, FLEET))
        self._listen_for_metadata("you", PERSON)
        if self.config.pubsub == "embedded":
            self.broker = self._pubsub = Broker(identity_token)
            self._listen("pubsub", rest_app(self.broker))

    def _listen(self, api: str, app: ASGIApp, *, secure: bool = False) -> Listener:
        watched = observed(app, api, self.iam, self.faults, self.calls)
        certificate, key = (
            (self.directory / "server.pem", self.directory / "server-key.pem") if secure else (None, None)
        )
        listener = Listener(watched, port=self.config.ports.get(api, 0), certificate=certificate, key=key)
        self.listeners[api] = listener
        return listener

    def _listen_for_metadata(self, name: str, email: str) -> None:
        app = metadata_app(self.iam, email, FLEET, NUMBERS[FLEET], region=REGION, lifetime=self.config.token_seconds)
        # Its calls stay out of the log: they are no part of what an onboarding costs.
        self.listeners[f"metadata {name}"] = Listener(observed(app, f"metadata {name}", self.iam, self.faults, Calls()))

    async def _start_listeners(self) -> None:
        await asyncio.gather(*(listener.start() for listener in self.listeners.values()))

    async def _start_planes(self) -> None:
        if self.config.kube == "embedded":
            return
        from local.real.kubernetes import ControlPlanes

        files = (self.directory / name for name in ("server.pem", "server-key.pem", "ca.pem"))
        self._planes = ControlPlanes(self.directory / "kubernetes", *files, spare=self.config.spare)
        self._planes.on_death = lambda child, code: self._tell_death(child.name, code, child.log)
        self._running.push_async_callback(self._planes.stop)
        await self._planes.start()

    async def _start_argocd(self) -> None:
        if self.config.argocd == "none":
            return
        central = self.members[CENTRAL_CLUSTER]
        if isinstance(central, Cluster):
            raise StartError(
                "--argocd real needs --kube real: Argo CD asks more of Kubernetes than the embedded one has"
            )
        from local.real.argocd import ArgoCD

        given = {
            "GCE_METADATA_HOST": self.listeners["metadata argocd"].address,
            "SSL_CERT_FILE": str(self.directory / "ca.pem"),
        }
        argocd = self._argocd = ArgoCD(self.directory / "argocd", central, self.namespace, given)
        argocd.on_death = lambda child, code: self._tell_death(child.name, code, child.log)
        self._running.push_async_callback(argocd.stop)
        values = {
            "fleet-project": FLEET,
            "fleet-project-number": str(NUMBERS[FLEET]),
            "functions-domain": service_account("argocd", FLEET).partition("@")[2],
            "argocd-identity": service_account("argocd", FLEET),
            "central-membership": CENTRAL_MEMBERSHIP,
            "apps-project": APPS,
            "revision": "main",
        }
        await argocd.start(ROOT / "infra" / "argocd", values, {"example-apps": APPS})

    async def _start_pubsub(self, log: Path) -> int:
        port = self.config.ports.get("pubsub-grpc", 0)
        if self.broker is not None:
            server, port = await serve_grpc(self.broker, port, [ObservedPublish(self.faults, self.calls)])
            self._running.push_async_callback(server.stop, 0)
            return port
        emulator = self._pubsub = await sdk.start(log / "pubsub.log", port)
        self._running.push_async_callback(emulator.close)

        async def until_it_ends() -> None:
            code = await emulator.process.wait()
            self._tell_death("the Pub/Sub emulator", code, log / "pubsub.log")

        watch = asyncio.create_task(until_it_ends())
        self._running.callback(watch.cancel)
        return emulator.port

    async def _make_central(self) -> None:
        """The central cluster, its membership, Argo CD's namespace, and what the functions may do there."""
        self.gke.create(FLEET, REGION, {"name": "central"}, seconds=0)
        await _until(lambda: self.gke.clusters[CENTRAL_CLUSTER]["status"] == "RUNNING")
        link = f"//container.googleapis.com/{CENTRAL_CLUSTER}"
        self.fleet.create(CENTRAL_MEMBERSHIP, {"endpoint": {"gkeCluster": {"resourceLink": link}}})
        await _until(lambda: self.fleet.memberships[CENTRAL_MEMBERSHIP]["state"]["code"] == "READY")
        central = self.members[CENTRAL_CLUSTER]
        await _settled(central.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}))
        for name, role in shipped_roles().items():
            if role["secrets"]:
                meta = {"name": f"fleet-registrar-{name}", "namespace": self.namespace}
                rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": role["secrets"]}]
                role_ = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": meta, "rules": rules}
                user = {"apiGroup": RBAC, "kind": "User", "name": service_account(name, FLEET)}
                for manifest in (role_, _binding("RoleBinding", meta, "Role", meta["name"], user)):
                    await _settled(central.put(manifest))

        if isinstance(central, Cluster):
            return
        for manifest in _policy(self.namespace, self.listeners["connectgateway"].address):
            await central.put(manifest)

    def _make_functions(self, log: Path) -> None:
        source = self.config.source
        if not source.is_file():
            raise StartError(f"there is no {source} with the functions' entry points")
        wanted = self.config.targets
        for target in offered(source) if wanted is None else wanted:
            name = target.replace("_", "-")
            metadata = self.listeners.get(f"metadata {name}")
            if metadata is None:
                raise StartError(f"infra/roles.json has no identity for {name}")
            home = self.directory / "home" / name  # one each: gunicorn leaves a socket in it
            home.mkdir(parents=True, exist_ok=True)
            variables = {
                **self.settings(),
                "GCE_METADATA_HOST": metadata.address,
                "GCE_METADATA_IP": metadata.address,
                "HOME": str(home),
                "SSL_CERT_FILE": str(self.directory / "ca.pem"),
                "REQUESTS_CA_BUNDLE": str(self.directory / "ca.pem"),
            }
            function = Function(target, source, log / f"{name}.log", variables)
            function.on_death = self._function_died
            self.functions[name] = function
        route_event = self.functions.get("route-event")
        self.eventarc = Eventarc(
            FLEET,
            route_event.url if route_event else "",
            SOURCES,
            publish=lambda data, attributes: self.publish("audit-log-entries", data, attributes),
            oidc=lambda audience: identity_token(service_account("eventarc", FLEET), audience),
            first_wait=self.config.retry_min,
            longest_wait=self.config.retry_max,
        )

    async def _deploy(self) -> None:
        """Topics and subscriptions, by the same few calls for the embedded broker and for the Cloud SDK's emulator."""
        for topic in ("audit-log-entries", *STEPS, *ENDS):
            await _settled(self._pubsub.create_topic(_topic(topic)))
        for end in ENDS:
            await _settled(
                self._pubsub.create_subscription(Subscription(_subscription(end), _topic(end), ack_deadline=60))
            )
        for name, function in self.functions.items():
            topic = "audit-log-entries" if name == "route-event" else name
            await _settled(
                self._pubsub.create_subscription(
                    Subscription(
                        _subscription(topic),
                        _topic(topic),
                        push=PushConfig(function.url, service_account("push", FLEET)),
                        ack_deadline=60,
                        retry=RetryPolicy(self.config.retry_min, self.config.retry_max),
                        dead_letter=DeadLetterPolicy(_topic("dead-letters"), self.config.attempts),
                    )
                )
            )

    # What the parts tell each other

    def _audit(self, entry: Json) -> None:
        if self._open:
            self.eventarc.audit(entry)

    def _membership(self, kind: str, membership: Json) -> None:
        if self._open:
            self.eventarc.membership(kind, membership)

    def _cluster_running(self, cluster: Json) -> None:
        name = _full_name(cluster)
        project = name.split("/")[1]
        self._serve(name, lambda user, permission: self.iam.allows(user, permission, project))

    def _cluster_gone(self, cluster: Json) -> None:
        self.members.pop(_full_name(cluster), None)
        self._host.remove(_key(_full_name(cluster)))
        self._kubeconfig_is_due()

    def _serve(self, name: str, iam_allows: Callable[[str, str], bool] | None) -> Cluster | RealCluster:
        """Give a cluster its Kubernetes API. Whatever offers what `Cluster` does may stand here."""
        if self._planes is None:
            made: Cluster | RealCluster = Cluster(name, iam_allows=iam_allows)
        else:
            made = self._planes.cluster(name, iam_allows)
        self.members[name] = made
        self._host.add(_key(name), made)
        self._kubeconfig_is_due()
        return made

    def _member(self, location: str, membership_id: str) -> gateway.Member | None:
        """What the gateway reaches under a membership; None where nothing is there, not ready, or not connected."""
        name = f"projects/{FLEET}/locations/{location}/memberships/{membership_id}"
        if not self.fleet.connected(name):
            return None
        membership = self.fleet.membership(name)
        link = membership.get("endpoint", {}).get("gkeCluster", {}).get("resourceLink")
        cluster = self.members.get(link.split("/", 3)[3] if link else name)
        if cluster is None or membership["state"]["code"] == "CREATING":
            return None
        if link:
            return gateway.Member(cluster.app, "gkeMemberships", cluster.admin_token)
        return gateway.Member(cluster.app, "memberships", _agent_token(cluster))

    async def _direct(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The clusters' own endpoints, for kubectl with a cluster's token; a GKE cluster knows Google's tokens too."""
        if scope["type"] != "http":
            return
        cluster = self._host.clusters.get(scope["path"].removeprefix(PREFIX).partition("/")[0])
        if cluster is not None and scope.get("identity") and cluster.name in self.gke.clusters:
            scope = {**scope, "headers": gateway.impersonating(scope, cluster.admin_token)}
        await self._host(scope, receive, send)

    def _function_died(self, function: Child, code: int) -> None:
        self._tell_death(f"the function {function.name}", code, function.log)

    def _tell_death(self, what: str, code: int, log: Path) -> None:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        if not self.died.done():
            self.died.set_result(f"{what} ended by itself (exit {code}); the end of {log}:\n{tail}")

    # What people and tests ask for (the control API calls these by name)

    @property
    def namespace(self) -> str:
        """Argo CD's namespace."""
        return self.config.settings.get("ARGOCD_NAMESPACE", "argocd")

    def settings(self) -> dict[str, str]:
        """The functions' settings, and the endpoints they use instead of Google's."""
        listeners = self.listeners
        return {
            "FLEET_PROJECT": FLEET,
            "FLEET_PROJECT_NUMBER": str(NUMBERS[FLEET]),
            "SOURCE_PROJECTS": ",".join(SOURCES),
            "CLUSTER_SELECTOR": self.config.selector,
            "LABEL_KEYS": self.config.label_keys,
            "CENTRAL_MEMBERSHIP": CENTRAL_MEMBERSHIP,
            "ARGOCD_SERVICE_ACCOUNT": service_account("argocd", FLEET),
            "HOLD": str(self.config.hold),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER": f"{listeners['container'].url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_GKEHUB": f"{listeners['gkehub'].url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CONNECTGATEWAY": f"{listeners['connectgateway'].url}/",
            "PUBSUB_EMULATOR_HOST": self.pubsub_address,
            **self.config.settings,
        }

    def endpoints(self) -> dict[str, str]:
        """Where everything answers."""
        shown = {name: listener.url for name, listener in self.listeners.items() if not name.startswith("metadata")}
        shown |= {f"metadata of {name}": self.listeners[f"metadata {name}"].url for name in (*shipped_roles(), "you")}
        return {**shown, "pubsub (gRPC)": self.pubsub_address, **{n: f.url for n, f in self.functions.items()}}

    def gateway_url(self, membership: str) -> str:
        """The URL of a member's Kubernetes API through the gateway."""
        return self._gateway_url(self.fleet.membership(membership))

    def _gateway_url(self, membership: Json) -> str:
        _, _, _, location, _, short = membership["name"].split("/")
        collection = "gkeMemberships" if "gkeCluster" in membership.get("endpoint", {}) else "memberships"
        base = self.listeners["connectgateway"].url
        return f"{base}/v1/projects/{NUMBERS[FLEET]}/locations/{location}/{collection}/{short}"

    def direct(self, cluster: str) -> tuple[str, str]:
        """Where a cluster's own endpoint is, and its administrator's token."""
        return f"{self.listeners['kubernetes'].url}{PREFIX}{_key(cluster)}", self.members[cluster].admin_token

    def pubsub_url(self) -> str:
        """Where Pub/Sub speaks REST."""
        return f"{self.listeners['pubsub'].url}/" if "pubsub" in self.listeners else f"http://{self.pubsub_address}/"

    async def publish(self, topic: str, data: bytes, attributes: dict[str, str]) -> None:
        """Publish to one of our topics."""
        await _settled(self._pubsub.publish(_topic(topic), data, attributes))

    async def attach(
        self, name: str, location: str = "global", labels: dict[str, str] | None = None, *, admit: bool = False
    ) -> str:
        """Bring a cluster that is not GKE into the fleet; return its membership. At first it refuses everybody's identity."""
        full = f"projects/{FLEET}/locations/{location}/memberships/{name}"
        if full not in self.members:
            cluster = self._serve(full, None)
            cluster.tokens[_agent_token(cluster)] = User(gateway.AGENT, tuple(gateway.AGENT_GROUPS))
        if admit:
            await self.admit(full)
        self.fleet.attach(name, location, labels, project=FLEET)
        return full

    def forget(self, membership: str) -> None:
        """Let an attached cluster cease to be, with its membership if that is still there."""
        if membership in self.fleet.memberships:
            self.fleet.detach(membership)
        self.members.pop(membership, None)
        self._host.remove(_key(membership))
        self._kubeconfig_is_due()

    async def admit(self, membership: str, users: Iterable[str] | None = None) -> None:
        """Do what a person does with `gcloud container fleet memberships generate-gateway-rbac --apply`.

        The agent may impersonate the users, and they are administrators. By default: the functions that write there.
        """
        cluster, short = self.members[membership], membership.rpartition("/")[2]
        agent = {"kind": "ServiceAccount", "name": "connect-agent-sa", "namespace": "gke-connect"}
        for user in users or [service_account(name, FLEET) for name in ("grant-rbac", "revoke-rbac")]:
            labels = {"connect.gke.io/owner-feature": "connect-gateway"}
            impersonate: Json = {"name": f"gateway-impersonate-{FLEET}_{user}_{short}", "labels": labels}
            permission = {"name": f"gateway-permission-{FLEET}_{user}_{short}", "labels": labels}
            rules = [{"apiGroups": [""], "resources": ["users"], "resourceNames": [user], "verbs": ["impersonate"]}]
            person = {"apiGroup": RBAC, "kind": "User", "name": user}
            role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": impersonate, "rules": rules}
            for manifest in (
                role,
                _binding("ClusterRoleBinding", impersonate, "ClusterRole", impersonate["name"], agent),
                _binding("ClusterRoleBinding", permission, "ClusterRole", "cluster-admin", person),
            ):
                await _settled(cluster.put(manifest))

    def add_fault(self, **fields: Any) -> Fault:
        """Ask for a fault (`faults.Fault`)."""
        return self.faults.add(Fault(**fields))

    def add_knob(self, **fields: Any) -> Knob:
        """Ask for something to happen to events (`eventarc.Knob`)."""
        return self.eventarc.add(Knob(**fields))

    async def start_function(self, name: str) -> None:
        """Start a function that was stopped or killed, on its old port."""
        await self.functions[name].start(self.config.source.parent)

    async def stop_function(self, name: str) -> None:
        """Stop a function as Cloud Run does: requests in flight finish."""
        await self.functions[name].stop()

    async def redeploy(self, name: str, settings: dict[str, str]) -> None:
        """Stop a function and start it with some settings changed; what is on its way waits for it."""
        await self.functions[name].stop()
        self.functions[name].variables |= settings
        await self.start_function(name)

    async def kill_function(self, name: str) -> None:
        """End a function as a crash does."""
        await self.functions[name].kill()

    def quiet(self) -> bool:
        """Whether nothing is on its way: no event, no message to a function, no operation."""
        if self.broker is None:
            raise RuntimeError("only the embedded Pub/Sub can tell whether something is on its way")
        figures = self.broker.snapshot()
        steps = [figures[name] for name in figures if name.rpartition("/")[2] not in ENDS]
        return not (
            self.eventarc.waiting()
            or any(step["backlog"] or step["in_flight"] for step in steps)
            or any(operation["status"] != "DONE" for operation in self.gke.operations.values())
            or any(not operation["done"] for operation in self.fleet.operations.values())
        )

    def calls_since(self, at: float = 0.0) -> list[Json]:
        """The calls that ended at `at` or later."""
        return [asdict(call) for call in self.calls.since(at)]

    async def state(self) -> Json:
        """All that a person wants to see, without the data of Secrets but name and server."""
        queues = self.broker.snapshot() if self.broker is not None else {}
        queues = {name.rpartition("/")[2]: figures for name, figures in queues.items()}
        return {
            "at": time.time(),
            "directory": str(self.directory),
            "endpoints": self.endpoints(),
            "clusters": {
                name: {key: cluster.get(key) for key in ("status", "id", "resourceLabels", "fleet", "autopilot")}
                for name, cluster in sorted(self.gke.clusters.items())
            },
            "memberships": {
                name: {
                    "state": membership["state"]["code"],
                    "connected": self.fleet.connected(name),
                    "cluster": membership.get("endpoint", {}).get("gkeCluster", {}).get("resourceLink"),
                    "uniqueId": membership["uniqueId"],
                    "labels": membership.get("labels", {}),
                }
                for name, membership in sorted(self.fleet.memberships.items())
            },
            "secrets": await self._secrets(),
            "queues": queues,
            "dead_letters": queues["dead-letters"]["backlog"] if queues else None,
            "functions": {name: {"pid": f.pid, "url": f.url, "log": str(f.log)} for name, f in self.functions.items()},
            "faults": self.faults.as_json(),
            "events": self.eventarc.as_json(),
        }

    async def _secrets(self) -> list[Json]:
        central = self.members.get(CENTRAL_CLUSTER)
        shown = ("name", "uid", "resourceVersion", "labels", "annotations")
        return [
            {key: secret["metadata"].get(key) for key in shown}
            | {
                f"data.{key}": b64decode(value).decode(errors="replace")
                for key, value in (secret.get("data") or {}).items()
                if key in ("name", "server")
            }
            for secret in (await _settled(central.objects("secrets", self.namespace)) if central else [])
        ]

    # What is left for people

    def _write_for_people(self) -> None:
        here = self.directory
        url = {name: f"{listener.url}/" for name, listener in self.listeners.items()}
        bundle = str(here / "ca-bundle.pem")
        person = self.listeners["metadata you"].address
        environment.write_env(
            here / "env",
            {
                **{name: value for name, value in self.settings().items() if value},
                "CLOUDSDK_CONFIG": str(here / "gcloud"),
                "CLOUDSDK_CORE_PROJECT": FLEET,
                "CLOUDSDK_CORE_ACCOUNT": PERSON,
                "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
                "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
                "CLOUDSDK_CORE_CHECK_GCE_METADATA": "0",
                "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": bundle,
                "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
                "CLOUDSDK_AUTH_ACCESS_TOKEN": self.iam.token_for(PERSON),
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_SERVICEUSAGE": url["platform"],
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": url["platform"],
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": self.pubsub_url(),
                "USE_GKE_GCLOUD_AUTH_PLUGIN": "True",
                "KUBECONFIG": str(here / "kubeconfig"),
                "GCE_METADATA_HOST": person,
                "GCE_METADATA_IP": person,
                "SSL_CERT_FILE": bundle,
                "REQUESTS_CA_BUNDLE": bundle,
                "NO_PROXY": f"{HOST},localhost",
                "no_proxy": f"{HOST},localhost",
                "LOCAL_CLOUD": str(here),
            },
        )

    def _kubeconfig_is_due(self, after: float | None = 0.05) -> None:
        """Write it in a moment (None: not any more): when hundreds of clusters come at once, once is enough."""
        if self._due is not None:
            self._due.cancel()
        self._due = None if after is None else asyncio.get_running_loop().call_later(after, self._write_kubeconfig)

    def _write_kubeconfig(self) -> None:
        """One context per cluster, by its short name; clusters of one name go by their full keys."""
        short = [name.rpartition("/")[2] for name in self.members]
        contexts = []
        for name in self.members:
            last = name.rpartition("/")[2]
            unique = name == CENTRAL_CLUSTER or (last != "central" and short.count(last) == 1)
            contexts.append(environment.Context(last if unique else _key(name), *self.direct(name)))
        self._contexts = environment.write_kubeconfig(
            self.directory / "kubeconfig", self.directory / "ca.pem", contexts, self._contexts
        )


def _policy(namespace: str, gateway_address: str) -> list[Json]:
    """The admission policy that is deployed, for our names, and for our gateway instead of Google's."""
    google = "([a-z0-9-]+-)?connectgateway[.]googleapis[.]com"
    text = (ROOT / "infra" / "argocd" / "base" / "registrar-policy.yaml").read_text()
    domain = service_account("argocd", FLEET).partition("@")[2]
    for old, new in {
        "'DOMAIN'": f"'{domain}'",
        "'NUMBER'": f"'{NUMBERS[FLEET]}'",
        "'argocd'": f"'{namespace}'",
        google: gateway_address.replace(".", "[.]"),
    }.items():
        if old not in text:
            raise StartError(f"the admission policy in infra/argocd has no {old} any more")
        text = text.replace(old, new)
    return [item for item in yaml.safe_load_all(text) if item]


def _key(name: str) -> str:
    """`projects/P/locations/L/clusters/C` → `P.L.C`; a membership's keeps the word: `P.L.memberships.M`."""
    _, project, _, location, kind, short = name.split("/")
    return ".".join((project, location, *([kind] if kind == "memberships" else []), short))


def _full_name(cluster: Json) -> str:
    link: str = cluster["selfLink"]
    return link.partition("/v1/")[2].replace("/zones/", "/locations/")


def _binding(kind: str, meta: Json, role_kind: str, role: str, subject: Json) -> Json:
    ref = {"apiGroup": RBAC, "kind": role_kind, "name": role}
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": meta, "roleRef": ref, "subjects": [subject]}


def _agent_token(cluster: Cluster | RealCluster) -> str:
    return f"agent.{cluster.admin_token}"


def _topic(name: str) -> str:
    return f"projects/{FLEET}/topics/{name}"


def _subscription(name: str) -> str:
    return f"projects/{FLEET}/subscriptions/{name}"


async def _settled(result: Awaitable[Any] | Any) -> Any:
    """The embedded parts answer at once, the real ones later."""
    return await result if inspect.isawaitable(result) else result


async def _until(condition: Callable[[], bool], within: float = 30.0) -> None:
    deadline = asyncio.get_running_loop().time() + within
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise StartError("the central cluster did not become ready")
        await asyncio.sleep(0.005)
