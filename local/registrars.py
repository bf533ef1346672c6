"""The deployments of Fleet Registrar that a local cloud may run: one for each fleet, all with one Argo CD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.identities import service_account
from local.names import FLEET, NUMBERS, REGION, SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.config import Config

_ENDPOINTS = ("container", "gkehub", "connectgateway", "oauth2")


@dataclass(frozen=True)
class Registrar:
    """One deployment. `project` is the project of its fleet, its functions and its topics; clusters come from `sources`."""

    instance: str
    project: str
    number: int
    sources: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """The prefix of its parts' names if several deployments are shown."""
        return "" if self is DEFAULT else f"{self.instance}/"

    def account(self, name: str) -> str:
        """Return the e-mail of an identity of this deployment. There is one identity of Argo CD: the first deployment's."""
        return service_account(name, FLEET if name == "argocd" else self.project)

    def agent(self, service: str) -> str:
        """Return the e-mail of one of Google's own agents in its project (`pubsub`, `eventarc` …)."""
        return f"service-{self.number}@gcp-sa-{service}.iam.gserviceaccount.com"

    def topic(self, name: str) -> str:
        """Return a topic's full name."""
        return f"projects/{self.project}/topics/{name}"

    def subscription(self, name: str) -> str:
        """Return a subscription's full name."""
        return f"projects/{self.project}/subscriptions/{name}"

    def service(self, name: str) -> str:
        """Return the full name of a function's service."""
        return f"projects/{self.project}/locations/{REGION}/services/{name}"

    def own(self, named: Mapping[str, str]) -> dict[str, str]:
        """Return what belongs to this deployment, by its short name."""
        return {name.removeprefix(self.prefix): one for name, one in named.items() if name.startswith(self.prefix)}


DEFAULT = Registrar("default", FLEET, NUMBERS[FLEET], SOURCES)
STAGING = Registrar("staging", "demo-staging", 100000000004, ("demo-staging",))


def settings_of(registrar: Registrar, config: Config, urls: Mapping[str, str], pubsub: str) -> dict[str, str]:
    """Return the settings of a deployment's functions, and the endpoints that they use instead of Google's.

    A person's settings change everything of the first deployment, and of another one all but what tells them apart.
    """
    own: dict[str, str] = {}
    if registrar is not DEFAULT:
        own |= {"FLEET_PROJECT": registrar.project, "FLEET_PROJECT_NUMBER": str(registrar.number)}
        own |= {"SOURCE_PROJECTS": ",".join(registrar.sources), "PUBSUB_PROJECT": registrar.project}
        own |= {"INSTANCE": registrar.instance, "CENTRAL_PROJECT_NUMBER": str(DEFAULT.number)}
    return {
        **config.base_settings(),
        **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"{urls[api]}/" for api in _ENDPOINTS},
        "PUBSUB_EMULATOR_HOST": pubsub,
        **config.settings,
        **own,
    }
