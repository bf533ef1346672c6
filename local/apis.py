"""The emulated Google Cloud APIs of one local cloud, each behind a port of its own with faults and the log of calls."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from typing import TYPE_CHECKING, Any

from local.certificates import Authority
from local.clusters import settled
from local.google import gateway
from local.google.audit import event_name
from local.google.eventarc import Eventarc
from local.google.eventarc_api import eventarc_app
from local.google.events import Event, LostError
from local.google.faults import Calls, Faults, observed
from local.google.fleet.api import fleet_app
from local.google.fleet.credentials import generate_credentials_routes
from local.google.fleet.state import Fleet
from local.google.gke.api import gke_app
from local.google.gke.state import Gke
from local.google.iam.state import Iam
from local.google.iam.tokens import certificates_app
from local.google.iam_api import iam_app
from local.google.logging.api import logging_app
from local.google.logging.state import Logging
from local.google.metadata import metadata_app
from local.google.platform import SERVICES, Projects, platform_app, where_enabled
from local.google.pubsub import sdk
from local.google.pubsub.broker import Broker
from local.google.pubsub.observed import ObservedPublish
from local.google.pubsub.rest import rest_app
from local.google.pubsub.rpc import serve_grpc
from local.google.quotas import Quotas, monitoring_app, quota_routes
from local.google.run.api import functions_app, run_app
from local.google.run.state import Run
from local.google.scheduler import Scheduler, scheduler_app
from local.google.wire import google_api
from local.grants import create_accounts, grant_shipped_roles
from local.identities import shipped_roles
from local.listener import Listener
from local.names import FLEET, NUMBERS, PERSON, REGION
from local.ports import PortInUseError
from local.registrars import DEFAULT, STAGING, Registrar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    from starlette.types import ASGIApp

    from local.clusters import Clusters
    from local.config import Config

Json = dict[str, Any]

# gcloud's name of an API → its listener, for the APIs that the functions do not use.
OVERRIDES = {
    "cloudfunctions": "cloudfunctions",
    "cloudresourcemanager": "platform",
    "cloudscheduler": "cloudscheduler",
    "eventarc": "eventarc",
    "iam": "iam",
    "logging": "logging",
    "monitoring": "monitoring",
    "run": "run",
    "serviceusage": "platform",
}


class Apis:
    """All APIs; `listeners` are their ports by name."""

    def __init__(self, config: Config, directory: Path) -> None:
        self.config = config
        self.directory = directory
        self.registrars = (DEFAULT, STAGING) if config.staging else (DEFAULT,)
        self.iam = Iam()
        for registrar in self.registrars:
            grant_shipped_roles(self.iam, registrar, FLEET, registers=config.registration == "create")
            create_accounts(self.iam, registrar)
        self.iam.owners.add(PERSON)
        self.projects = Projects({**NUMBERS, **{one.project: one.number for one in self.registrars}})
        self.quotas = Quotas()
        self.faults = Faults()
        self.calls = Calls()
        self.authority = Authority()
        self.listeners: dict[str, Listener] = {}
        embedded = config.pubsub == "embedded"
        self.broker = Broker(self._push_token, self._forwards, config.pull_seconds) if embedded else None
        self.pubsub: Broker | sdk.Emulator
        self.pubsub_address = ""
        self.run = Run(self.projects)
        self.eventarc = Eventarc(
            self._service_url,
            self.iam.tokens.new_identity_token,
            first_wait=config.retry_min,
            longest_wait=config.retry_max,
        )
        self.logging = Logging(self.projects, self._sink)
        self.scheduler = Scheduler(self.publish, config.sweep_every)
        self.gke = Gke(
            self.projects,
            emit_audit=self.emit_audit,
            create_seconds=config.create_seconds,
            delete_seconds=config.delete_seconds,
            update_seconds=config.update_seconds,
        )
        self.fleet = Fleet(
            self.projects,
            self.gke,
            emit_membership=self.eventarc.membership,
            operation_seconds=config.membership_seconds,
        )

    # Callbacks between the APIs

    def emit_audit(self, entry: Json) -> None:
        """Write an audit entry, and pass it to sinks and triggers."""
        self.logging.write(entry)
        self.eventarc.audit(entry)

    async def publish(self, topic: str, data: bytes, attributes: dict[str, str]) -> None:
        """Publish to a topic (full name)."""
        await settled(self.pubsub.publish(topic, data, attributes))

    def _sink(self, topic: str, entry: Json, writer: str) -> None:
        async def send() -> str:
            if not self.iam.allows_on(writer.partition(":")[2], "pubsub.topics.publish", topic):
                raise LostError(f"{writer} may not publish to {topic}")
            await self.publish(
                topic, json.dumps(entry).encode(), {"logging.googleapis.com/timestamp": entry["timestamp"]}
            )
            return ""

        self.eventarc.take(Event(event_name(entry), time.time(), send, sink=True))

    def _service_url(self, service: str, region: str, project: str) -> str:
        return self.run.service(f"projects/{project}/locations/{region}/services/{service}").url

    def _push_token(self, account: str, audience: str) -> str | None:
        """The token of a push, minted by Pub/Sub's agent; None if it may not, or the account does not exist."""
        found = self.iam.accounts.get(account)
        if found is None or found.get("disabled"):
            return None
        agent = self._agent(found["name"])
        allowed = self.iam.allows_on(agent, "iam.serviceAccounts.getOpenIdToken", found["name"])
        return self.iam.tokens.new_identity_token(account, audience) if allowed else None

    def _forwards(self, subscription: str, topic: str) -> bool:
        """Whether Pub/Sub's agent may move a message of a subscription to a dead-letter topic."""
        agent = self._agent(subscription)
        return self.iam.allows_on(agent, "pubsub.topics.publish", topic) and self.iam.allows_on(
            agent, "pubsub.subscriptions.consume", subscription
        )

    def _agent(self, resource: str) -> str:
        """Pub/Sub's agent in the project of a resource (`projects/P/…`)."""
        project = resource.split("/")[1]
        return next((one for one in self.registrars if one.project == project), DEFAULT).agent("pubsub")

    # Ports

    def listen(self, clusters: Clusters, control: ASGIApp) -> None:
        """Take all ports, so that their numbers are known before anything runs."""
        self.gke.on_cluster_running = clusters.add_gke
        self.gke.on_cluster_gone = clusters.remove_gke
        self.gke.kubernetes_endpoint = lambda name: (
            f"{self.listeners['kubernetes'].address}{clusters.path(name)}",
            self.authority.pem.decode(),
        )
        container = self._listen("container", gke_app(self.gke, self.iam))
        self.fleet.container_host = container.address
        self._listen("gkehub", fleet_app(self.fleet, self.iam, self.logging.write))
        self._listen(
            "platform", platform_app(self.iam, self.projects, quota_routes(self.iam, self.projects, self.quotas))
        )
        self._listen("run", run_app(self.run, self.iam))
        self._listen("cloudfunctions", functions_app(self.run, self.iam))
        self._listen("eventarc", eventarc_app(self.eventarc, self.iam, self.projects))
        self._listen("logging", logging_app(self.logging, self.iam))
        self._listen("monitoring", monitoring_app(self.iam, self.projects, self.calls, self._queues))
        self._listen("iam", iam_app(self.iam, self.projects))
        self._listen("cloudscheduler", scheduler_app(self.scheduler, self.iam, self.projects))
        credentials = google_api(
            generate_credentials_routes(self.fleet, self.iam, self.gateway_url, ca_pem=self.authority.pem.decode())
        )

        def member(project: str, location: str, membership_id: str) -> gateway.Member | None:
            return clusters.through_gateway(self.fleet, project, location, membership_id)

        def admit() -> None:
            if self.config.quotas:
                self.quotas.require_gateway_request(NUMBERS[FLEET])

        fleets = {str(registrar.number): registrar.project for registrar in self.registrars}
        way = gateway.gateway_app(self.iam, fleets, member, credentials, admit)
        self._listen("connectgateway", way, secure=True)
        self._listen("kubernetes", clusters, secure=True)
        # Google's certificates are no API with a quota, so the log of calls leaves them out.
        self._open("oauth2", certificates_app(self.iam.tokens))
        self._open("control", control)
        for registrar in self.registrars:
            for name in shipped_roles():
                self._listen_for_metadata(f"{registrar.prefix}{name}", registrar.account(name), registrar)
        self._listen_for_metadata("you", PERSON, DEFAULT)
        if self.broker is not None:
            self._listen("pubsub", rest_app(self.broker, self.iam))

    def _queues(self) -> dict[str, dict[str, Any]]:
        """The figures of each subscription; empty with the Cloud SDK's emulator."""
        return self.broker.snapshot() if self.broker is not None else {}

    def _listen(self, api: str, app: ASGIApp, *, secure: bool = False) -> Listener:
        if f"{api}.googleapis.com" in SERVICES:
            app = where_enabled(app, self.projects, f"{api}.googleapis.com")
        watched = observed(app, api, self.iam, self.faults, self.calls)
        certificate, key = (
            (self.directory / "server.pem", self.directory / "server-key.pem") if secure else (None, None)
        )
        return self._open(api, watched, certificate=certificate, key=key)

    def _open(self, name: str, app: ASGIApp, *, certificate: Path | None = None, key: Path | None = None) -> Listener:
        """Take a port: the configured one, or a free one."""
        port = self.config.ports.get(name, 0)
        try:
            listener = self.listeners[name] = Listener(app, port=port, certificate=certificate, key=key)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortInUseError(name, port) from error
        return listener

    async def serve(self, name: str, app: ASGIApp) -> Listener:
        """Serve an app that is created after the start; its calls are not logged."""
        watched = observed(app, name, self.iam, self.faults, Calls())
        listener = self._open(name, watched)
        await listener.start()
        return listener

    def _listen_for_metadata(self, name: str, email: str, home: Registrar) -> None:
        lifetime = self.config.token_seconds
        app = metadata_app(self.iam, email, home.project, home.number, region=REGION, lifetime=lifetime)
        # Its calls are not logged, because they are not part of an onboarding's cost.
        self._open(f"metadata {name}", observed(app, f"metadata {name}", self.iam, self.faults, Calls()))

    async def start(self) -> None:
        """Return when all ports answer, except Pub/Sub's gRPC."""
        await asyncio.gather(*(listener.start() for listener in self.listeners.values()))

    async def stop(self) -> None:
        """Stop running work, then close the ports."""
        await self.fleet.cancel()
        await self.gke.cancel()
        await asyncio.gather(*(listener.stop() for listener in self.listeners.values()))

    async def start_pubsub(self, running: AsyncExitStack, on_death: Callable[[str, int, Path], None]) -> None:
        """Start Pub/Sub's gRPC, or the Cloud SDK's emulator; `running` ends it."""
        port = self.config.ports.get("pubsub-grpc", 0)
        if self.broker is not None:
            self.pubsub = self.broker
            try:
                server, port = await serve_grpc(self.broker, port, [ObservedPublish(self.faults, self.calls)])
            except RuntimeError as error:  # grpc names no reason; on loopback the port is taken
                raise PortInUseError("pubsub-grpc", port) from error
            running.push_async_callback(server.stop, 0)
        else:
            log = self.directory / "log" / "pubsub.log"
            try:
                emulator = self.pubsub = await sdk.start(log, port)
            except OSError as error:
                raise PortInUseError("pubsub-grpc", port) from error
            running.push_async_callback(emulator.close)

            async def until_it_ends() -> None:
                on_death("the Pub/Sub emulator", await emulator.process.wait(), log)

            watch = asyncio.create_task(until_it_ends())
            running.callback(watch.cancel)
            port = emulator.port
        self.pubsub_address = f"127.0.0.1:{port}"

    def overrides(self) -> dict[str, str]:
        """gcloud's endpoint overrides that the functions do not need."""
        urls = {api: f"{self.listeners[listener].url}/" for api, listener in OVERRIDES.items()}
        return {**urls, "pubsub": self.pubsub_url()}

    def pubsub_url(self) -> str:
        """The URL of Pub/Sub's REST API."""
        return f"{self.listeners['pubsub'].url}/" if "pubsub" in self.listeners else f"http://{self.pubsub_address}/"

    def gateway_url(self, membership: Json) -> str:
        """The URL of a member's Kubernetes API through the gateway."""
        _, project, _, location, _, short = membership["name"].split("/")
        collection = "gkeMemberships" if "gkeCluster" in membership.get("endpoint", {}) else "memberships"
        base = self.listeners["connectgateway"].url
        return f"{base}/v1/projects/{self.projects.numbers[project]}/locations/{location}/{collection}/{short}"
