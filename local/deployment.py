"""What Terraform deploys: functions, topics, push subscriptions, triggers, log sinks, a schedule, and the grants for them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING, Any

from local.clusters import settled
from local.config import SETTINGS
from local.functions import MEASURED, PAGES, TARGETS, Function, offered
from local.google.pubsub.model import DeadLetterPolicy, PushConfig, RetryPolicy, Subscription
from local.google.run.front import Front, proxied
from local.google.run.state import Build, Service
from local.grants import BUILD, PUSH, TRIGGER, grant_accounts, grant_invokers, grant_topics
from local.names import PERSON, REGION
from local.processes import StartError
from local.telemetry import entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from local.apis import Apis
    from local.parent import Parent
    from local.processes import Child
    from local.registrars import Registrar

STEPS = tuple(target.replace("_", "-") for target in TARGETS if target != "route_event")
ENDS = ("cluster-events", "dead-letters")
ENTRIES, DEAD_LETTERS, ROUTER, SWEEP = "audit-log-entries", "dead-letters", "route-event", "sweep"
SINK = "fleet-registrar-clusters"  # of the instance `default`
SINK_FILTER = r"""log_id("cloudaudit.googleapis.com/activity")
resource.type="gke_cluster"
protoPayload.serviceName="container.googleapis.com"
protoPayload.methodName=~"\.(CreateCluster|DeleteCluster|UpdateCluster|SetLabels)$"
(operation.last=true OR NOT operation.id:* OR protoPayload.methodName=~"\.DeleteCluster$")
NOT resource.labels.project_id="${var.project}"
"""
METHODS = ("CreateCluster", "DeleteCluster", "UpdateCluster", "SetLabels")
VERSIONS = ("v1", "v1beta1")
MEMBERSHIP_LOCATIONS = ("global", REGION, "europe-west4", "us-central1", "us-east1", "asia-northeast1")
# A function's variables that are this cloud's and no setting.
_OURS = ("CLOUDSDK_", "PUBSUB_EMULATOR_HOST")


class Deployment:
    """The functions, by name, and what wakes them.

    `settings` are the functions' and the endpoints that they use; `metadata` are the addresses of the metadata servers by
    name of an identity.
    """

    def __init__(
        self,
        apis: Apis,
        registrar: Registrar,
        settings: Mapping[str, str],
        metadata: Mapping[str, str],
        namespace: str,
        *,
        parent: Parent | None,
    ) -> None:
        self.apis = apis
        self.registrar = registrar
        self.config = apis.config
        self.functions: dict[str, Function] = {}  # messages wake them
        self.pages: dict[str, Function] = {}  # people call them; each starts at its first call
        self._settings = settings
        self._namespace = namespace
        self._parent = parent
        self._fronts: list[Front] = []
        self._fail: Callable[[str], None] = lambda _: None
        self._create_functions(metadata)
        self._bundle = _bundle_hash(self.config.source)
        apis.logging.sources.append(self._log_entries)

    def _create_functions(self, metadata: Mapping[str, str]) -> None:
        source, directory = self.config.source, self.apis.directory
        if not source.is_file():
            raise StartError(f"there is no {source} with the functions' entry points")
        wanted = self.config.targets
        for target in offered(source) if wanted is None else wanted:
            name = target.replace("_", "-")
            if name not in metadata:
                raise StartError(f"infra/roles.json has no identity for {name}")
            home = directory / "home" / self.registrar.prefix / name  # one each: gunicorn leaves a socket in it
            home.mkdir(parents=True, exist_ok=True)
            variables = {
                **self._settings,
                "GCE_METADATA_HOST": metadata[name],
                "GCE_METADATA_IP": metadata[name],
                "HOME": str(home),
                "SSL_CERT_FILE": str(directory / "ca.pem"),
                "REQUESTS_CA_BUNDLE": str(directory / "ca.pem"),
            }
            if target in PAGES:  # it reads more APIs than the others
                overrides = self.apis.overrides().items()
                variables |= {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": url for api, url in overrides}
            log = directory / "log" / f"{self.registrar.prefix.replace('/', '-')}{name}.log"
            if target not in PAGES:
                log.touch()
            process = Function(target, source, log, variables, self._parent)
            (self.pages if target in PAGES else self.functions)[name] = process

    async def deploy(self) -> None:
        """Create everything that Terraform creates, but the functions' processes."""
        apis = self.apis
        for name, process in (self.functions | self.pages).items():
            await self._deploy_service(name, process)
        await self._create_topics()
        pushed = [ENTRIES if name == ROUTER else name for name in self.functions]
        grant_accounts(apis.iam, self.registrar, self._namespace)
        grant_topics(apis.iam, self.registrar, pushed, DEAD_LETTERS)
        services = [apis.run.service(self.registrar.service(name)) for name in self.functions]
        grant_invokers(apis.iam, self.registrar, services, ROUTER)
        if apis.broker is None:  # the Cloud SDK's emulator pushes without a token
            for service in services:
                apis.iam.bind(service.name, "roles/run.invoker", "allUsers")
        if ROUTER in self.functions:
            self._create_triggers()
            for project in self.registrar.sources:
                self.add_source(project)
        if SWEEP in self.functions:
            apis.scheduler.create(
                {
                    "name": f"projects/{self.registrar.project}/locations/{REGION}/jobs/{SWEEP}",
                    "description": "Compares clusters, fleet and Argo CD's list",
                    "schedule": "*/15 * * * *",
                    "pubsubTarget": {
                        "topicName": self.registrar.topic(SWEEP),
                        "data": base64.b64encode(b"{}").decode(),
                    },
                }
            )

    async def _deploy_service(self, name: str, function: Function) -> None:
        apis, one_at_a_time = self.apis, name == SWEEP
        full = self.registrar.service(name)
        front = Front(
            apis.run,
            apis.iam,
            full,
            lambda: function.url if function.answers else "",
            keep=apis.logging.write,
            wake=lambda: self._wake(function),
        )
        self._fronts.append(front)
        listener = await apis.serve(f"function {self.registrar.prefix}{name}", front)
        if name in self.pages:
            await apis.serve(
                f"{self.registrar.prefix}{name} page", proxied(front, apis.iam, PERSON, lambda: listener.url)
            )
        bucket = f"{self.registrar.project}-fleet-registrar-bundles"
        account = f"projects/{self.registrar.project}/serviceAccounts/{self.registrar.account(BUILD)}"
        build = Build(
            "python313",
            function.target,
            bucket,
            f"functions-{self._bundle}.zip",
            account=account,
            variables={"BUNDLE": self._bundle, "SOURCE_DATE_EPOCH": "315532801"},
        )
        service = Service(
            full,
            listener.url,
            self.registrar.account(name),
            {key: value for key, value in self._settings.items() if value and not key.startswith(_OURS)},
            build,
            memory="1Gi" if one_at_a_time else "512Mi",
            timeout=50,  # below the subscriptions' ack deadline, which is shorter here
            max_instances=1 if one_at_a_time else 20,
            concurrency=1 if one_at_a_time else 4,
            ingress="ALLOW_INTERNAL_ONLY",
            description="Fleet Registrar",
        )
        apis.run.deploy(service)

    def _create_triggers(self) -> None:
        audit = {
            f"audit-{method}-{version}".lower(): f"google.container.{version}.ClusterManager.{method}"
            for method in METHODS
            for version in VERSIONS
        }
        for name, method in audit.items():
            filters = {"type": "google.cloud.audit.log.v1.written", "serviceName": "container.googleapis.com"}
            self._create_trigger("global", name, filters | {"methodName": method})
        for kind in ("created", "updated", "deleted"):
            for location in MEMBERSHIP_LOCATIONS:
                type_ = f"google.cloud.gkehub.membership.v1.{kind}"
                self._create_trigger(location, f"membership-{kind}-{location}", {"type": type_})

    def _create_trigger(self, location: str, name: str, filters: Mapping[str, str]) -> None:
        self.apis.eventarc.create_trigger(
            f"projects/{self.registrar.project}/locations/{location}/triggers/{name}",
            {
                "eventFilters": [{"attribute": key, "value": value} for key, value in filters.items()],
                "serviceAccount": self.registrar.account(TRIGGER),
                "destination": {"cloudRun": {"service": ROUTER, "region": REGION}},
                "eventDataContentType": "application/json",
            },
        )

    def add_source(self, project: str) -> None:
        """Give a source project its log sink, which may publish to the topic of log entries."""
        destination = f"pubsub.googleapis.com/{self.registrar.topic(ENTRIES)}"
        name = SINK.replace("registrar-", f"registrar-{self.registrar.prefix}").replace("/", "-")
        sink = {
            "name": name,
            "destination": destination,
            "filter": SINK_FILTER.replace("${var.project}", self.registrar.project),
        }
        made = self.apis.logging.create_sink(project, sink)
        self.apis.iam.bind(self.registrar.topic(ENTRIES), "roles/pubsub.publisher", made["writerIdentity"])

    async def _create_topics(self) -> None:
        """Topics and subscriptions, by the same few calls for the embedded broker and for the Cloud SDK's emulator."""
        for name in (ENTRIES, *STEPS, *ENDS):
            await settled(self.apis.pubsub.create_topic(self.registrar.topic(name)))
        for end in ENDS:
            await settled(
                self.apis.pubsub.create_subscription(
                    Subscription(
                        self.registrar.subscription(end), self.registrar.topic(end), ack_deadline=60, expires_after=0
                    )
                )
            )
        for name in self.functions:
            source = ENTRIES if name == ROUTER else name
            url = self.url(name)
            await settled(
                self.apis.pubsub.create_subscription(
                    Subscription(
                        self.registrar.subscription(source),
                        self.registrar.topic(source),
                        push=PushConfig(url, self.registrar.account(PUSH), url),
                        ack_deadline=60,
                        retry=RetryPolicy(self.config.retry_min, self.config.retry_max),
                        dead_letter=DeadLetterPolicy(self.registrar.topic(DEAD_LETTERS), self.config.attempts),
                        expires_after=0,
                    )
                )
            )

    def _log_entries(self) -> Iterator[dict[str, Any]]:
        for service in self.apis.run.services.values():
            process = (self.functions | self.pages).get(service.short)
            if process is not None and service.name == self.registrar.service(service.short):
                yield from entries(service, process.log)

    def url(self, name: str) -> str:
        """Where a function answers those that may call it; '' once its service is deleted."""
        service = self.apis.run.services.get(self.registrar.service(name))
        return service.url if service else ""

    async def start(self, on_death: Callable[[Child, int], None], on_failure: Callable[[str], None]) -> None:
        """Start the first function, which proves that `main.py` can be imported. The others start at their first call."""
        self._fail = on_failure
        for function in self.functions.values():
            function.on_death = on_death
        for function in [*self.functions.values()][:1]:
            await function.start(self.config.source.parent)

    async def _wake(self, function: Function) -> None:
        """Start a function at its first call, and a page at each call. A function that does not start ends the cloud."""
        if not function.is_asleep and function.name not in self.pages:
            return
        try:
            await function.start(self.config.source.parent)
        except StartError as error:
            if function.is_asleep and function.name not in self.pages:  # else somebody has ended it meanwhile
                self._fail(str(error))

    async def stop(self) -> None:
        """Kill all functions at the same time, and free their ports. None starts again."""

        async def end(process: Function) -> None:
            # A measured process writes what ran when it ends by itself.
            await (process.stop() if MEASURED else process.kill())
            process.close()

        await asyncio.gather(*map(end, [*self.functions.values(), *self.pages.values()]))
        for front in self._fronts:
            await front.close()

    async def start_function(self, name: str) -> None:
        """Start a function that was stopped or killed, on its old port."""
        await self.functions[name].start(self.config.source.parent)

    async def redeploy(self, name: str, settings: Mapping[str, str]) -> None:
        """Restart a function with changed settings; its messages wait meanwhile."""
        unknown = sorted(settings.keys() - set(SETTINGS))
        if unknown:  # another variable, like PYTHONPATH, could run any code
            raise ValueError(f"{', '.join(unknown)}: not a setting of docs/configuration.md")
        service = self.apis.run.service(self.registrar.service(name))
        changed = {key: value for key, value in {**service.environment, **settings}.items() if value}
        await self.apis.run.change(service.name, environment=changed)

    async def redeploy_service(self, service: Service) -> None:
        """Start a function again with the settings that its service has now."""
        function = (self.functions | self.pages)[service.short]
        await function.stop()
        known = {key for key in self._settings if not key.startswith(_OURS)} | function.deployed
        kept = {key: value for key, value in function.variables.items() if key not in known}
        function.variables = {**kept, **service.environment}
        function.deployed = set(service.environment)
        await function.start(self.config.source.parent)

    async def publish(self, name: str, data: bytes, attributes: dict[str, str]) -> None:
        """Publish to one of our topics."""
        await self.apis.publish(self.registrar.topic(name), data, attributes)

    def queues(self) -> dict[str, dict[str, int]]:
        """The messages of the subscriptions, by short name; empty with the Cloud SDK's emulator."""
        figures = self.apis.broker.snapshot() if self.apis.broker is not None else {}
        mine = self.registrar.subscription("")
        return {name.removeprefix(mine): figure for name, figure in figures.items() if name.startswith(mine)}


def _bundle_hash(source: Path) -> str:
    """Return a hash of the code that runs: the entry points, and the packages beside them that go into the bundle."""
    root = source.parent
    modules = (path for folder in ("functions", "ops", "shared") for path in (root / folder).rglob("*.py"))
    found = hashlib.sha256()
    for path in sorted([source, *modules]):
        found.update(path.read_bytes())
    return found.hexdigest()
