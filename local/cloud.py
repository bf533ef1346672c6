"""The local cloud as a whole: every emulated API, the functions, and how they are deployed, in one loop.

This is the one place that knows all parts; no part knows it. All state is in memory and gone when it stops.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from local import environment, people, seed
from local.apis import Apis
from local.central import admission_to_attached, registrar, values
from local.clusters import Clusters
from local.deployment import ENDS, Deployment
from local.google.events import EventRule
from local.google.faults import Fault
from local.identities import service_account, shipped_roles
from local.installation import argocd_objects
from local.kubeconfig import Kubeconfig
from local.kubernetes.cluster import Cluster
from local.names import (
    APPS,
    CENTRAL_ATTACHED,
    CENTRAL_CLUSTER,
    CENTRAL_MEMBERSHIP,
    FLEET,
    PERSON,
    REGION,
    ROOT,
)
from local.parent import Parent
from local.processes import StartError, ended, tail, until
from local.registrars import DEFAULT, Registrar, settings_of
from local.reset import Snapshot
from local.state import state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from starlette.types import ASGIApp

    from local.config import Config
    from local.google.run.state import Service
    from local.processes import Child

Json = dict[str, Any]


class Cloud:
    """A running cloud. `died` is done, with the reason, when a part ends that nobody asked to end.

    `control` makes the API by which people and tests call it.
    """

    def __init__(self, config: Config, control: Callable[[Cloud], ASGIApp]) -> None:
        self.config, self._control = config, control
        self.directory = config.directory.resolve()
        self.token = secrets.token_urlsafe(32)  # of the control API
        self.started = False
        apis = self.apis = Apis(config, self.directory)
        self.central = CENTRAL_ATTACHED if config.central == "attached" else CENTRAL_CLUSTER  # a key of `members`
        self.central_membership = config.central_membership
        self.kubeconfig = Kubeconfig(
            self.directory / "kubeconfig",
            self.directory / "ca.pem",
            self.central,
            lambda: {name: self.direct(name) for name in self.members},
        )
        self.clusters = Clusters(self.apis.iam, self.kubeconfig.write_soon, self.apis.logging.write)
        self.members = self.clusters.members
        self.gke, self.fleet, self.iam, self.projects = apis.gke, apis.fleet, apis.iam, apis.projects
        self.faults, self.calls, self.quotas = apis.faults, apis.calls, apis.quotas
        self.eventarc, self.logging, self.run, self.scheduler = apis.eventarc, apis.logging, apis.run, apis.scheduler
        self.deployment: Deployment
        self._running, self._stopping = AsyncExitStack(), False

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
        self._stopping = True  # a part may end by itself when another one has ended
        await self.kubeconfig.stop()
        await self._running.aclose()

    async def _start(self) -> None:
        then = self._running.push_async_callback
        self._take_directory()
        people.set_logs_aside(self.directory)
        for needed in ("log", "gcloud"):
            (self.directory / needed).mkdir(exist_ok=True)
        people.write_certificates(self.directory, self.apis.authority)
        then(self.apis.stop)
        self.apis.listen(self.clusters, self._control(self))
        self._running.callback(self.clusters.close)
        parent = await self._start_parent()
        pubsub = self.apis.start_pubsub(self._running, self._report_death)
        await asyncio.gather(pubsub, self.apis.start(), self._start_planes())
        await self._make_central()
        await self._start_argocd()
        listeners = self.apis.listeners
        metadata = {
            name.removeprefix("metadata "): one.address for name, one in listeners.items() if "metadata " in name
        }
        self.deployments = [
            Deployment(
                self.apis, registrar, self.settings(registrar), registrar.own(metadata), self.namespace, parent=parent
            )
            for registrar in self.apis.registrars
        ]
        self.deployment = self.deployments[0]  # what tests and people call by its functions' short names
        self.run.on_change = self._redeploy_service
        for deployment in self.deployments:
            then(deployment.stop)
        if self.apis.broker is not None:  # before the functions stop, pushes do
            then(self.apis.broker.close)
        then(self.eventarc.close)
        for deployment in self.deployments:
            await deployment.deploy()
            registrar = deployment.registrar
            people.write_env(
                self.directory / ("env" if registrar is DEFAULT else f"env-{registrar.instance}"),
                self.settings(registrar),
                self.apis.overrides(),
                project=registrar.project,
                token=self.iam.token_for(PERSON),
                metadata=metadata["you"],
            )
        self.kubeconfig.start()
        await asyncio.gather(*(deployment.start(self._function_died, self._fail) for deployment in self.deployments))
        self._at_start = Snapshot(self.apis, self.clusters, self.deployments, self.central)
        await self._seed()
        self.scheduler.start()
        then(self.scheduler.close)
        environment.write_instance(self.directory, listeners["control"].url, self.token)
        self.started = True

    def _take_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = self._running.enter_context((self.directory / environment.LOCK).open("a"))
        if not environment.taken(lock):
            raise StartError(f"a local cloud already runs in {self.directory}: stop it, or take another --directory")
        instance = self.directory / environment.FOUND_BY
        instance.unlink(missing_ok=True)
        self._running.callback(instance.unlink, missing_ok=True)

    async def _start_parent(self) -> Parent | None:
        """Start the process that forks the functions. Only Linux ends a fork with its parent; elsewhere each function starts alone."""
        if sys.platform != "linux" or self.config.targets == ():
            return None
        parent = await Parent.start(self.config.source.resolve().parent)
        self._running.push_async_callback(parent.stop)
        return parent

    async def _start_planes(self) -> None:
        if self.config.kube == "embedded":
            return
        from local.real.kubernetes import ControlPlanes

        files = (self.directory / name for name in ("server.pem", "server-key.pem", "ca.pem"))
        planes = self.clusters.planes = ControlPlanes(self.directory / "kubernetes", *files, spare=self.config.spare)
        planes.on_death = self._child_died
        self._running.push_async_callback(planes.stop)
        await planes.start()

    async def _seed(self) -> None:
        if self.config.seed is not None:
            await self.seed(dict(self.config.seed))

    async def _start_argocd(self) -> None:
        if self.config.argocd == "none":
            return
        central = self.members[self.central]
        if isinstance(central, Cluster):
            raise StartError(
                "--argocd real needs --kube real: Argo CD asks more of Kubernetes than the embedded one has"
            )
        from local.real.argocd import ArgoCD

        given = {
            "GCE_METADATA_HOST": self.apis.listeners["metadata argocd"].address,
            "SSL_CERT_FILE": str(self.directory / "ca.pem"),
        }
        argocd = ArgoCD(self.directory / "argocd", central, self.namespace, given)
        argocd.on_death = self._child_died
        self._running.push_async_callback(argocd.stop)
        shown = {**self._values(DEFAULT), "apps-project": APPS, "revision": "main"}
        await argocd.start(ROOT / "infra" / "argocd", shown, {"example-apps": APPS})

    def _values(self, registrar: Registrar) -> dict[str, str]:
        given = {} if registrar is not DEFAULT else self.config.settings
        return values(registrar, given, self.namespace, self.central_membership)

    async def _make_central(self) -> None:
        """Create the central cluster, its membership, Argo CD's namespace, and what `infra/argocd` grants the functions."""
        attached = self.central == CENTRAL_ATTACHED
        if attached:
            self.clusters.add_attached(CENTRAL_ATTACHED)
            self.fleet.attach("central", "global", project=FLEET)
            await self.admit(CENTRAL_ATTACHED, [PERSON])
        else:
            self.gke.create(FLEET, REGION, {"name": "central"}, seconds=0)
            await until(lambda: self.gke.clusters[CENTRAL_CLUSTER]["status"] == "RUNNING", CENTRAL_CLUSTER)
            link = f"//container.googleapis.com/{CENTRAL_CLUSTER}"
            self.fleet.create(CENTRAL_MEMBERSHIP, {"endpoint": {"gkeCluster": {"resourceLink": link}}})
        member = self.central_membership
        await until(lambda: self.fleet.memberships[member]["state"]["code"] == "READY", member)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        gateway = self.apis.listeners["connectgateway"].address
        await self.clusters.apply(self.central, [namespace])
        for one in self.apis.registrars:
            await self.clusters.apply(self.central, registrar(self._values(one), attached=attached, gateway=gateway))
        argocd = argocd_objects(self.namespace, DEFAULT.account("argocd"), attached=attached)
        await self.clusters.apply(self.central, argocd)

    # Callbacks of the parts

    async def _redeploy_service(self, service: Service) -> None:
        for deployment in self.deployments:
            if service.name == deployment.registrar.service(service.short):
                await deployment.redeploy_service(service)

    def _function_died(self, child: Child, code: int) -> None:
        self._report_death(f"the function {child.name}", code, child.log)

    def _child_died(self, child: Child, code: int) -> None:
        self._report_death(child.name, code, child.log)

    def _report_death(self, what: str, code: int, log: Path) -> None:
        self._fail(f"{what} {ended(code)}; the end of {log}:\n{tail(log) or '(nothing)'}")

    def _fail(self, reason: str) -> None:
        if not self._stopping and not self.died.done():
            self.died.set_result(reason)

    # What people and tests ask for (the control API calls these by name)

    @property
    def namespace(self) -> str:
        """Argo CD's namespace."""
        return self.config.settings.get("ARGOCD_NAMESPACE", "argocd")

    def settings(self, registrar: Registrar = DEFAULT) -> dict[str, str]:
        """The functions' settings, and the endpoints they use instead of Google's."""
        urls = {name: listener.url for name, listener in self.apis.listeners.items()}
        return settings_of(registrar, self.config, urls, self.apis.pubsub_address)

    def endpoints(self) -> dict[str, str]:
        """Where everything answers."""
        listeners = self.apis.listeners
        shown = {name: listener.url for name, listener in listeners.items() if not name.startswith("metadata")}
        shown |= {f"metadata of {name}": listeners[f"metadata {name}"].url for name in (*shipped_roles(), "you")}
        for one in self.apis.registrars[1:]:
            shown |= {
                f"metadata of {one.prefix}{name}": listeners[f"metadata {one.prefix}{name}"].url
                for name in shipped_roles()
            }
        return {**shown, "pubsub (gRPC)": self.apis.pubsub_address}

    def gateway_url(self, membership: str) -> str:
        """The URL of a member's Kubernetes API through the gateway."""
        return self.apis.gateway_url(self.fleet.membership(membership))

    def direct(self, cluster: str) -> tuple[str, str]:
        """Where a cluster's own endpoint is, and its administrator's token."""
        url = self.apis.listeners["kubernetes"].url
        return f"{url}{self.clusters.path(cluster)}", self.members[cluster].admin_token

    def pubsub_url(self) -> str:
        """The URL of Pub/Sub's REST API."""
        return self.apis.pubsub_url()

    async def publish(self, topic: str, data: bytes, attributes: dict[str, str]) -> None:
        """Publish to one of our topics."""
        await self.deployment.publish(topic, data, attributes)

    async def attach(
        self,
        name: str,
        location: str = "global",
        labels: dict[str, str] | None = None,
        *,
        admit: bool = False,
        project: str = FLEET,
    ) -> str:
        """Register a cluster outside GKE, write its context, and return its membership. It refuses every identity at first."""
        full = await self._attach(name, location, labels, admit=admit, project=project)
        self.kubeconfig.write_due()
        return full

    async def _attach(
        self, name: str, location: str, labels: dict[str, str] | None, *, admit: bool, project: str = FLEET
    ) -> str:
        full = f"projects/{project}/locations/{location}/memberships/{name}"
        self.clusters.add_attached(full)
        if admit:
            await self.admit(full)
        self.fleet.attach(name, location, labels, project=project)
        return full

    def forget(self, membership: str) -> None:
        """Delete an attached cluster, with its membership if it still exists."""
        if membership in self.fleet.memberships:
            self.fleet.detach(membership)
        self.clusters.remove(membership)

    async def admit(self, membership: str, users: Iterable[str] | None = None) -> None:
        """Grant users access to an attached cluster (default: the functions that write there), as a person does with gcloud."""
        project = membership.split("/")[1]
        functions = [service_account(name, project) for name in ("grant-rbac", "revoke-rbac")]
        for user in users or functions:
            await self.clusters.apply(membership, admission_to_attached(user, membership.rpartition("/")[2], project))

    def add_fault(self, **fields: Any) -> Fault:
        """Ask for a fault (`faults.Fault`)."""
        return self.faults.add(Fault(**fields))

    def add_event_rule(self, **fields: Any) -> EventRule:
        """Ask for something to happen to events (`eventarc.EventRule`)."""
        return self.eventarc.add(EventRule(**fields))

    def add_source(self, project: str) -> None:
        """Give one more source project its log sink."""
        self.deployment.add_source(project)

    def emit_audit(self, entry: Json) -> None:
        """Write an audit entry, as if GKE had written it."""
        self.apis.emit_audit(entry)

    def identity_token(self, email: str, audience: str) -> str:
        """Return a token by which an identity may call a service (its URL is the audience)."""
        return self.iam.tokens.new_identity_token(email, audience)

    async def start_function(self, name: str) -> None:
        """Start a function that was stopped or killed, on its old port."""
        await self.deployment.start_function(name)

    async def stop_function(self, name: str) -> None:
        """Stop a function as Cloud Run does: requests in flight finish."""
        await self.deployment.functions[name].stop()

    async def redeploy(self, name: str, settings: dict[str, str]) -> None:
        """Restart a function with changed settings; its messages wait meanwhile."""
        await self.deployment.redeploy(name, settings)

    async def kill_function(self, name: str) -> None:
        """End a function as a crash does."""
        await self.deployment.functions[name].kill()

    def quiet(self) -> bool:
        """Whether nothing is on its way: no event, no message to a function, no operation."""
        if self.apis.broker is None:
            raise RuntimeError("only the embedded Pub/Sub can tell whether something is on its way")
        queues = [queue for deployment in self.deployments for queue in deployment.queues().items()]
        steps = [figures for name, figures in queues if name not in ENDS]
        return not (
            self.eventarc.waiting()
            or any(step["backlog"] or step["in_flight"] for step in steps)
            or any(operation["status"] != "DONE" for operation in self.gke.operations.values())
            or any(not operation["done"] for operation in self.fleet.operations.values())
        )

    async def reset(self) -> None:
        """Restore the state right after the start, without the clusters of `--seed`."""
        await self._at_start.restore()

    async def seed(self, document: Json) -> None:
        """Create the clusters that a document names (`seed.py`); return when they exist."""
        await seed.create(self.gke, self._attach, seed.checked(document))

    async def export(self) -> Json:
        """Return the document whose seed creates these clusters."""
        return await seed.document(self.gke, self.fleet, self.clusters, {self.central, self.central_membership})

    def calls_since(self, at: float = 0.0) -> list[Json]:
        """The calls that ended at `at` or later."""
        return [asdict(call) for call in self.calls.since(at)]

    async def state(self, *only: str) -> Json:
        """All that a person wants to see, or some parts of it, without the data of Secrets but name and server."""
        parts = await state(self.apis, self.clusters, self.deployments, self.central, self.namespace, only=only)
        whole = {} if only else {"directory": str(self.directory), "endpoints": self.endpoints()}
        return {"at": time.time(), **whole, **parts}
