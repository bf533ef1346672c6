"""What Terraform deploys: topics, push subscriptions with retry and dead letters, functions, triggers and log sinks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from local.clusters import settled
from local.functions import TARGETS, Function, offered
from local.google.eventarc import Eventarc
from local.google.metadata import identity_token
from local.google.pubsub.model import DeadLetterPolicy, PushConfig, RetryPolicy, Subscription
from local.identities import service_account
from local.names import FLEET, SOURCES, subscription, topic
from local.processes import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from local.config import Config
    from local.google.pubsub.broker import Broker
    from local.google.pubsub.sdk import Emulator
    from local.processes import Child

STEPS = tuple(target.replace("_", "-") for target in TARGETS if target != "route_event")
ENDS = ("cluster-onboarded", "cluster-offboarded", "dead-letters")
ENTRIES = "audit-log-entries"
# The names that Terraform gives the callers (infra/terraform/identities.tf).
PUSH, TRIGGER = "fleet-registrar-push", "fleet-registrar-trigger"


class Deployment:
    """The functions, by name, and what wakes them.

    `metadata` are the addresses of the metadata servers by name of an identity.
    """

    def __init__(
        self,
        config: Config,
        directory: Path,
        pubsub: Broker | Emulator,
        settings: Mapping[str, str],
        metadata: Mapping[str, str],
    ) -> None:
        self.config = config
        self.directory = directory
        self.pubsub = pubsub
        self.functions: dict[str, Function] = {}
        self._create_functions(settings, metadata)
        route_event = self.functions.get("route-event")
        self.eventarc = Eventarc(
            FLEET,
            route_event.url if route_event else "",
            SOURCES,
            publish=lambda data, attributes: self.publish(ENTRIES, data, attributes),
            oidc=lambda audience: identity_token(service_account(TRIGGER, FLEET), audience),
            first_wait=config.retry_min,
            longest_wait=config.retry_max,
        )

    def _create_functions(self, settings: Mapping[str, str], metadata: Mapping[str, str]) -> None:
        source = self.config.source
        if not source.is_file():
            raise StartError(f"there is no {source} with the functions' entry points")
        wanted = self.config.targets
        for target in offered(source) if wanted is None else wanted:
            name = target.replace("_", "-")
            if name not in metadata:
                raise StartError(f"infra/roles.json has no identity for {name}")
            home = self.directory / "home" / name  # one each: gunicorn leaves a socket in it
            home.mkdir(parents=True, exist_ok=True)
            variables = {
                **settings,
                "GCE_METADATA_HOST": metadata[name],
                "GCE_METADATA_IP": metadata[name],
                "HOME": str(home),
                "SSL_CERT_FILE": str(self.directory / "ca.pem"),
                "REQUESTS_CA_BUNDLE": str(self.directory / "ca.pem"),
            }
            self.functions[name] = Function(target, source, self.directory / "log" / f"{name}.log", variables)

    async def create_topics(self) -> None:
        """Topics and subscriptions, by the same few calls for the embedded broker and for the Cloud SDK's emulator."""
        for name in (ENTRIES, *STEPS, *ENDS):
            await settled(self.pubsub.create_topic(topic(name)))
        for end in ENDS:
            await settled(
                self.pubsub.create_subscription(
                    Subscription(subscription(end), topic(end), ack_deadline=60, expires_after=0)
                )
            )
        for name, function in self.functions.items():
            source = ENTRIES if name == "route-event" else name
            await settled(
                self.pubsub.create_subscription(
                    Subscription(
                        subscription(source),
                        topic(source),
                        push=PushConfig(function.url, service_account(PUSH, FLEET)),
                        ack_deadline=60,
                        retry=RetryPolicy(self.config.retry_min, self.config.retry_max),
                        dead_letter=DeadLetterPolicy(topic("dead-letters"), self.config.attempts),
                        expires_after=0,
                    )
                )
            )

    async def start(self, on_death: Callable[[Child, int], None]) -> None:
        """Start all functions."""
        for function in self.functions.values():
            function.on_death = on_death
        await asyncio.gather(*(function.start(self.config.source.parent) for function in self.functions.values()))

    async def stop(self) -> None:
        """Stop all functions, and let their ports go."""
        await asyncio.gather(*(function.stop() for function in self.functions.values()))
        for function in self.functions.values():
            function.close()

    async def start_function(self, name: str) -> None:
        """Start a function that was stopped or killed, on its old port."""
        await self.functions[name].start(self.config.source.parent)

    async def publish(self, name: str, data: bytes, attributes: dict[str, str]) -> None:
        """Publish to one of our topics."""
        await settled(self.pubsub.publish(topic(name), data, attributes))

    def queues(self) -> dict[str, dict[str, int]]:
        """What the subscriptions hold, by short name; nothing is known of the Cloud SDK's emulator."""
        figures = self.pubsub.snapshot() if hasattr(self.pubsub, "snapshot") else {}
        return {name.rpartition("/")[2]: figure for name, figure in figures.items()}
