"""A reading in parts: each answer has some seconds, and a list that fails is noted and leaves the others as they are."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from ops.survey import Snapshot, snapshot_of
from ops.terminal import UnreadError
from shared.clients import deadline
from shared.clients.inventory import read_inventory
from shared.decisions.sweep_plan import Plan
from shared.runtime.services import Services
from shared.values.codes import ErrorCode
from shared.values.errors import ReconcileError, RetryableError
from shared.values.inventory import Listed
from shared.values.packed_secrets import PackedSecrets

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from shared.clients import ports

    T = TypeVar("T")

SECONDS: Final = 5.0
# All lists together: a large fleet has dozens of pages. Below the timeout of the function `status` (infra/terraform/functions.tf).
LISTS_SECONDS: Final = 45.0


def shortly(read: Callable[[], T], what: str = "reading", seconds: float = SECONDS, each: float = math.inf) -> T:
    """Read within some seconds, each answer within `each`. Raises ReconcileError when that fails or takes longer."""
    try:
        with deadline.within(seconds, each):
            return read()
    except TimeoutError as error:
        raise RetryableError(f"{what}: no answer within {seconds:g} s", ErrorCode.TIMED_OUT) from error


def survey_in_parts(services: Services) -> Snapshot:
    """Read what can be read. Without the Secrets or the fleet there is no plan."""
    parts = _Parts(services)
    with deadline.within(LISTS_SECONDS):
        inventory = read_inventory(cast("ports.Services", parts))
        central = parts.attempt("fleet", lambda: services.central_cluster, None)
    seen = snapshot_of(inventory, services.settings, central, services.now())
    failed = parts.failed
    if failed:
        secrets, fleet = failed.get("secrets", ""), failed.get("fleet", "")
        seen = replace(seen, plan=Plan(), secrets_unread=secrets, fleet_unread=fleet)
    return _with_applications(seen, services)


def _with_applications(seen: Snapshot, services: Services) -> Snapshot:
    """Read the Applications where a hold makes them matter: an installation may have thousands."""
    if not any(secret.hold for secret in seen.inventory.secrets):
        return seen
    try:
        return replace(seen, applications=tuple(shortly(services.central.applications, "reading Applications")))
    except ReconcileError as error:
        return replace(seen, applications_unread=str(error))


def planned_survey(services: Services) -> Snapshot:
    """Read what answers, each answer within `SECONDS`. Raises UnreadError without the Secrets or the fleet."""
    seen = survey_in_parts(services)
    if not seen.is_planned:
        what = "the Secrets" if seen.secrets_unread else "the fleet"
        raise UnreadError(f"{what} could not be read: {seen.secrets_unread or seen.fleet_unread}. Run it again")
    return seen


class _Parts:
    """The lists of `read_inventory`: one that fails is empty, and `failed` says why."""

    def __init__(self, services: Services) -> None:
        self.failed: dict[str, str] = {}
        self.settings = services.settings
        self.central = SimpleNamespace(
            managed=lambda: self.attempt("secrets", lambda: PackedSecrets(services.central.managed()), ()),
            unmanaged=lambda: self.attempt("secrets", lambda: services.central.unmanaged(), ()),  # noqa: PLW0108
        )
        self.fleet = SimpleNamespace(
            list=lambda project: self.attempt("fleet", lambda: services.fleet.list(project), Listed())
        )
        # A project that fails is noted by `read_inventory` itself.
        self.gke = SimpleNamespace(list=lambda project: _list_shortly(lambda: services.gke.list(project)))

    def attempt(self, part: str, read: Callable[[], Any], otherwise: Any) -> Any:
        """Read, unless this part has failed before."""
        if part in self.failed:
            return otherwise
        try:
            return _list_shortly(read)
        except ReconcileError as error:
            self.failed[part] = str(error)
            return otherwise


def _list_shortly(read: Callable[[], T]) -> T:
    return shortly(read, seconds=LISTS_SECONDS, each=SECONDS)
