"""Settings from the environment, read in one place; all errors are reported together.

Pure except for `os.environ`. An error is retryable: corrected settings need no replay.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeVar

from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.labels import LabelKeys
from shared.values.names import InvalidNameError, MembershipName
from shared.values.selector import InvalidSelectorError, Selector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

DEFAULT_INSTANCE = "default"
MAX_ATTEMPTS = 100  # Pub/Sub's bounds of maxDeliveryAttempts are 5 and 100
MAX_SHARDS = 1000  # far more controllers than any Argo CD has

_PROJECT_ID = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_EMAIL = re.compile(r"[a-z0-9._%+-]+@[a-z0-9.-]+\.[a-z]{2,}")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_INSTANCE = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
_ROLE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.:]*[A-Za-z0-9])?")
_DIGITS = re.compile(r"[0-9]+")  # `isdigit` takes the digits of every script
_ENDPOINT = re.compile(r"https?://[^\s/]+(?:/[^\s]*)?")
_PAGE = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?")


class SettingsError(RetryableError):
    """Settings are missing or wrong; the message lists every fault with an example, `faults` one by one."""

    default = ErrorCode.INVALID_SETTINGS

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(f"the settings are wrong: {'; '.join(faults)}")
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class RemovalLimit:
    """How many clusters a sweep may remove: a number, or a percentage of all Secrets of this instance, at least `least`.

    Never all of them, unless `all_allowed`.
    """

    number: int
    percent: bool
    least: int = 3
    all_allowed: bool = False

    def of(self, total: int) -> int:
        """The allowance among `total` Secrets."""
        allowed = max(self.least, total * self.number // 100) if self.percent else self.number
        return allowed if self.all_allowed else min(allowed, max(total - 1, 0))


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of docs/configuration.md. An empty endpoint means Google's own."""

    instance: str
    fleet_project: str
    fleet_project_number: str
    source_projects: frozenset[str]
    selector: Selector
    label_keys: LabelKeys
    registration: Literal["create", "wait"]
    secrets: Literal["write", "external"]
    central_membership: MembershipName
    central_project_number: str
    argocd_namespace: str
    argocd_service_account: str
    argocd_cluster_role: str
    argocd_shards: int
    argocd_url: str
    pubsub_project: str
    max_removals: RemovalLimit
    sweep_requests: int
    hold: timedelta
    gateway_requests: int
    delivery_attempts: int
    container_endpoint: str
    gkehub_endpoint: str
    connectgateway_endpoint: str
    oauth2_endpoint: str
    pubsub_emulator: str

    @property
    def grant(self) -> str:
        """What the Secret notes as granted: `<role> <e-mail>`."""
        return f"{self.argocd_cluster_role} {self.argocd_service_account}"

    def function_account(self, function: str) -> str:
        """Return the e-mail address of a function's identity: Terraform names it so, in the project of the topics."""
        domain = ".".join(reversed(self.pubsub_project.split(":")))
        return f"{function}@{domain}.iam.gserviceaccount.com"

    @property
    def numbers(self) -> Mapping[str, str]:
        """Project number → id, as far as the numbers are known."""
        return {
            self.fleet_project_number: self.fleet_project,
            self.central_project_number: self.central_membership.project,
        }

    def number_of(self, project: str) -> str | None:
        """Return the number of a project id, None if it is not known."""
        if project == self.fleet_project:
            return self.fleet_project_number
        return self.central_project_number if project == self.central_membership.project else None

    def gateway_url(self, membership: MembershipName, *, gke: bool) -> str:
        """Return the address of a member of our fleet, or of the central cluster; `gke`: its endpoint is a GKE cluster."""
        is_central = membership.project == self.central_membership.project
        number = self.central_project_number if is_central else self.fleet_project_number
        return membership.gateway_url(number, gke=gke, override=self.connectgateway_endpoint)


class _Reader:
    """Reads one variable after another and collects the faults."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.faults: list[str] = []

    def read(self, name: str, parse: Callable[[str], T], fallback: T, example: str, *, required: bool = False) -> T:
        """Return the parsed value; `parse` raises ValueError with the fault. Empty counts as not set."""
        text = self.environment.get(name, "").strip()
        if not text:
            if required:
                self.faults.append(f"{name} is not set; example: {name}={example}")
            return fallback
        try:
            return parse(text)
        except ValueError as error:
            self.faults.append(f"{name}={text!r}: {error}; example: {name}={example}")
            return fallback


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"this is not {what}")
        return text

    return parse


def _comma_list(text: str) -> frozenset[str]:
    parts = frozenset(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise ValueError("the list is empty")
    return parts


def _projects(text: str) -> frozenset[str]:
    projects = _comma_list(text)
    for project in sorted(projects):
        if not _PROJECT_ID.fullmatch(project):
            raise ValueError(f"{project!r} is not a project ID (project numbers are not accepted)")
    return projects


def _selector(text: str) -> Selector:
    try:
        return Selector.parse(text)
    except InvalidSelectorError as error:
        raise ValueError(str(error)) from error


def _one_of(*known: T) -> Callable[[str], T]:
    def parse(text: str) -> T:
        for word in known:
            if word == text:
                return word
        raise ValueError(f"this is neither {' nor '.join(map(str, known))}")

    return parse


def _whole_number(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not _DIGITS.fullmatch(text) or int(text) < lowest:
            raise ValueError(f"this is not a whole number of at least {lowest}")
        if highest is not None and int(text) > highest:
            raise ValueError(f"this is more than {highest}")
        return int(text)

    return parse


def _page(text: str) -> str:
    return _matching(_PAGE, "an address of a web page, without query")(text).rstrip("/")


def _seconds(text: str) -> timedelta:
    try:
        return timedelta(seconds=_whole_number(0)(text))
    except OverflowError:
        raise ValueError("this is longer than time can tell") from None


def _allowance(text: str) -> RemovalLimit:
    number = text.removesuffix("%").strip()
    if not _DIGITS.fullmatch(number) or (text.endswith("%") and int(number) > 100):
        raise ValueError("this is neither a number nor a percentage up to 100%")
    return RemovalLimit(int(number), text.endswith("%"))


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. Raises SettingsError with all the faults."""
    reader = _Reader(os.environ if environment is None else environment)
    project = _matching(_PROJECT_ID, "a project id")
    fleet = reader.read("FLEET_PROJECT", project, "", "my-fleet", required=True)
    project_number = _matching(_DIGITS, "a project number")
    number = reader.read("FLEET_PROJECT_NUMBER", project_number, "", "123456789012", required=True)

    def membership(text: str) -> MembershipName:
        try:
            return MembershipName.parse(text, {number: fleet})
        except InvalidNameError as error:
            raise ValueError(str(error)) from error

    example = f"projects/{fleet or 'my-fleet'}/locations/europe-west1/memberships/central"
    central = reader.read("CENTRAL_MEMBERSHIP", membership, MembershipName("", "", ""), example, required=True)
    in_fleet = not fleet or central.project in ("", fleet)  # without a fleet project, only that is wrong

    def central_number(text: str) -> str:
        found = project_number(text)
        if number and in_fleet != (found == number):
            where = f"in the fleet project {fleet}, whose number is {number}" if in_fleet else f"in {central.project}"
            raise ValueError(f"CENTRAL_MEMBERSHIP is {where}; this is the number of another project")
        return found

    endpoint = _matching(_ENDPOINT, "an address")
    prefix = "CLOUDSDK_API_ENDPOINT_OVERRIDES_"
    settings = Settings(
        instance=reader.read(
            "INSTANCE", _matching(_INSTANCE, "a DNS label of at most 30 characters"), DEFAULT_INSTANCE, "staging"
        ),
        fleet_project=fleet,
        fleet_project_number=number,
        source_projects=reader.read("SOURCE_PROJECTS", _projects, frozenset({fleet}), "team-a-prod,team-b-prod"),
        selector=reader.read("CLUSTER_SELECTOR", _selector, Selector(), "argocd=yes,env in (dev,prod)"),
        label_keys=reader.read("LABEL_KEYS", LabelKeys.parse, LabelKeys(), "env,cost-*,team:example.com/team"),
        registration=reader.read("REGISTRATION", _one_of("create", "wait"), "create", "wait"),
        secrets=reader.read("SECRETS", _one_of("write", "external"), "write", "external"),
        central_membership=central,
        central_project_number=reader.read(
            "CENTRAL_PROJECT_NUMBER", central_number, number, "123456789013", required=not in_fleet
        ),
        argocd_namespace=reader.read("ARGOCD_NAMESPACE", _matching(_NAMESPACE, "a namespace"), "argocd", "argocd"),
        argocd_service_account=reader.read(
            "ARGOCD_SERVICE_ACCOUNT",
            # RBAC compares names exactly, and the gateway says the e-mail in lower case.
            lambda text: _matching(_EMAIL, "an e-mail address")(text.lower()),
            "",
            "argocd@my-fleet.iam.gserviceaccount.com",
            required=True,
        ),
        argocd_cluster_role=reader.read(
            "ARGOCD_CLUSTER_ROLE", _matching(_ROLE, "a ClusterRole's name"), "cluster-admin", "cluster-admin"
        ),
        argocd_shards=reader.read("ARGOCD_SHARDS", _whole_number(0, MAX_SHARDS), 0, "3"),
        argocd_url=reader.read("ARGOCD_URL", _page, "", "https://argocd.example.com"),
        pubsub_project=reader.read("PUBSUB_PROJECT", project, fleet, "my-fleet"),
        max_removals=reader.read("MAX_REMOVALS", _allowance, RemovalLimit(10, percent=True), "10%"),
        sweep_requests=reader.read("SWEEP_REQUESTS", _whole_number(1), 200, "200"),
        hold=reader.read("HOLD", _seconds, timedelta(seconds=600), "600"),
        gateway_requests=reader.read("GATEWAY_REQUESTS", _whole_number(0), 50, "50"),
        delivery_attempts=reader.read("DELIVERY_ATTEMPTS", _whole_number(5, MAX_ATTEMPTS), 20, "20"),
        container_endpoint=reader.read(f"{prefix}CONTAINER", endpoint, "", "http://127.0.0.1:8081/"),
        gkehub_endpoint=reader.read(f"{prefix}GKEHUB", endpoint, "", "http://127.0.0.1:8082/"),
        connectgateway_endpoint=reader.read(f"{prefix}CONNECTGATEWAY", endpoint, "", "https://127.0.0.1:8443/"),
        oauth2_endpoint=reader.read(f"{prefix}OAUTH2", endpoint, "", "http://127.0.0.1:8083/"),
        pubsub_emulator=reader.read(
            "PUBSUB_EMULATOR_HOST", _matching(re.compile(r"[^\s/]+:[0-9]+"), "a host:port"), "", "127.0.0.1:8085"
        ),
    )
    if reader.faults:
        raise SettingsError(reader.faults)
    return settings
