"""One reading of everything, and the plan that a sweep would make of it, whole: no cut, no checks in turn.

The commands read the same lists as the sweep, with the operator's own identity. Nothing is written here.
"""

from __future__ import annotations

import dataclasses
import getpass
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ops.terminal import MistakeError, UnreadError
from shared.clients.inventory import read_inventory
from shared.decisions import sweep_plan
from shared.decisions.differences import differences
from shared.decisions.sweep_plan import Plan
from shared.runtime.services import Services
from shared.values import settings as settings_module
from shared.values.application import Application
from shared.values.cluster_secret import ClusterSecret
from shared.values.errors import PermanentError, ReconcileError
from shared.values.inventory import Inventory
from shared.values.names import ClusterName, InvalidNameError, MembershipName, Name
from shared.values.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime

LONGEST: Final = 100  # characters of a wrong name that an error repeats


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read, and what differs. `central` is the central cluster, None when it is not a GKE cluster.

    `secrets_unread` and `fleet_unread` say why a list could not be read: it is empty then, and the plan is, too.
    `applications` are those of Argo CD, read only while a Secret of ours is held; `applications_unread` says why they were not.
    """

    inventory: Inventory
    plan: Plan
    central: ClusterName | None
    now: datetime
    secrets_unread: str = ""
    fleet_unread: str = ""
    applications: tuple[Application, ...] = ()
    applications_unread: str = ""

    @property
    def is_planned(self) -> bool:
        """True if both lists that a plan needs were read."""
        return not (self.secrets_unread or self.fleet_unread)


def connected() -> Services:
    """Return the services, with the operator's identity. Raises MistakeError if nobody is logged in."""
    services = Services(settings_module.load())
    try:
        services.credentials  # noqa: B018 - found before anything else is tried
    except ReconcileError as error:
        chosen = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        if chosen:  # it goes before every login
            cause = error.__cause__ or error
            raise MistakeError(
                f"GOOGLE_APPLICATION_CREDENTIALS={chosen} has no Google identity: {cause}. Correct it, or unset it and log in:"
                " gcloud auth application-default login"
            ) from error
        raise MistakeError("no Google identity was found. Log in: gcloud auth application-default login") from error
    return services


def survey(services: Services) -> Snapshot:
    """Read everything and plan. Raises ReconcileError when the central cluster or the fleet cannot be read."""
    return snapshot_of(read_inventory(services), services.settings, services.central_cluster, services.now())


def snapshot_of(inventory: Inventory, settings: Settings, central: ClusterName | None, now: datetime) -> Snapshot:
    """Plan from what has been read. Pure."""
    plan = sweep_plan.limit(differences(inventory, settings, central=central, now=now), settings)
    requests = sorted(plan.requests, key=lambda request: (request.kind, request.subject))
    return Snapshot(inventory, dataclasses.replace(plan, requests=tuple(requests)), central, now)


def operator(services: Services) -> str:
    """Say who types here, for causes: the Google identity where it is known, else the login name."""
    identity = services.gateway.identity or str(getattr(services.credentials, "account", "") or "")
    if identity and identity != "default":
        return identity
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "an operator"


def secrets_of(name: Name, inventory: Inventory) -> list[ClusterSecret]:
    """Return our Secrets for it."""
    return [secret for secret in inventory.secrets if name == spoken_of(secret)]


def spoken_of(secret: ClusterSecret) -> Name | None:
    """Return the cluster that a Secret of ours names; None if its annotations are invalid."""
    try:
        return secret.cluster or secret.membership
    except PermanentError:
        return None  # spoilt annotations: the plan reports them


def find(text: str, seen: Snapshot, numbers: dict[str, str]) -> Name:
    """Return the cluster that a person means: by its full name, its membership's, or a short one that only one has."""
    inventory = seen.inventory
    try:
        return ClusterName.parse(text, numbers)
    except InvalidNameError as fault:
        wrong = fault
    try:
        return _led_to(MembershipName.parse(text, numbers), inventory)
    except InvalidNameError as fault:
        if "/" in text:
            raise MistakeError(f"{fault if '/memberships/' in text else wrong}") from fault
    known: set[Name] = {*inventory.clusters, *(_led_to(name, inventory) for name in inventory.memberships)}
    known |= {name for secret in inventory.secrets if (name := spoken_of(secret)) is not None}
    found: set[Name] = {name for name in known if text in (_short(name), name.secret_name)}
    found |= {_led_to(name, inventory) for name in inventory.memberships if name.membership == text}
    if len(found) > 1:
        raise MistakeError(f"{text} is ambiguous, write one of: {', '.join(sorted(map(str, found)))}")
    if not found:
        shortened = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        why = (
            f"no cluster, membership or Secret of ours is called {shortened!r} in the projects that were read"
            f" ({', '.join(sorted(inventory.listed))}). For a deleted cluster, or one in another project, use the full name:"
            " projects/PROJECT/locations/LOCATION/clusters/CLUSTER"
        )
        missing = [f"{project}: {reason}" for project, reason in inventory.unread.items()]
        missing += [reason for reason in (seen.secrets_unread, seen.fleet_unread) if reason]
        if missing:
            raise UnreadError(f"{why}. Not everything could be read: {'; '.join(missing)}")
        raise MistakeError(why)
    return found.pop()


def _led_to(name: MembershipName, inventory: Inventory) -> Name:
    """The membership of a GKE cluster leads to that cluster."""
    membership = inventory.memberships.get(name)
    return membership.cluster if membership and membership.cluster else name


def _short(name: Name) -> str:
    return name.cluster if isinstance(name, ClusterName) else name.membership
