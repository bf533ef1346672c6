"""`python -m ops doctor`: reads the deployment, prints the findings, and returns the exit code."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from ops import remedies
from ops.doctor import canary
from ops.doctor.api import Api, Kubernetes, RefusedError, attempt
from ops.doctor.codes import Code
from ops.doctor.diagnosis import diagnose
from ops.doctor.expected import Expected
from ops.doctor.findings import Finding, Read, Status, Unread, as_json, as_text, exit_code
from ops.doctor.observed import Observed, Operator, at
from ops.doctor.reading_cluster import CentralReader, FleetReader, read_membership
from ops.doctor.reading_google import Reader, member_of, operator_of
from shared.runtime.services import Services
from shared.values import settings as settings_module
from shared.values.errors import ReconcileError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def run(options: argparse.Namespace) -> int:
    """Check everything; 0 all pass, 2 warnings or unknown, 1 failures."""
    started = time.monotonic()
    try:
        services = Services(settings_module.load())
    except settings_module.SettingsError as error:
        found = [
            Finding("settings", Status.FAIL, "", fault, remedies.SETTINGS, Code.SETTINGS_INVALID)
            for fault in error.faults
        ]
    else:
        # Before the checks: they take longer than a wrong name needs to be seen.
        name = canary.find(services, options.canary) if options.canary else None
        found = examine(services, os.environ)
        if isinstance(name, Unread):
            found.append(Finding("canary", Status.UNKNOWN, options.canary, name.why, "", Code.UNREAD))
        elif name is not None:
            found += canary.run(services, os.environ, name)
    seconds = time.monotonic() - started
    print(json.dumps(as_json(found, seconds), indent=2) if options.json else as_text(found, seconds))
    return exit_code(found)


def examine(services: Services, environment: Mapping[str, str]) -> list[Finding]:
    """Read the deployment and return the findings. Writes nothing."""
    try:
        email = _logged_in(services)
    except (ReconcileError, RefusedError) as error:
        fix = "gcloud auth application-default login"
        return [Finding("operator", Status.FAIL, "", f"no Google identity: {error}", fix, Code.NO_IDENTITY)]
    expected = Expected(services.settings, environment.get("INSTANCE") or "default")
    seen = observe(services, expected, environment, email)
    return diagnose(expected, seen, services.now())


def observe(services: Services, expected: Expected, environment: Mapping[str, str], email: str) -> Observed:
    """Read all parts of the deployment, with the operator's identity."""
    now = services.now()
    api = Api(services.session, environment)
    member = member_of(email)
    reader = Reader(api, expected, member)
    membership = attempt(lambda: read_membership(api, expected), member)
    url = services.settings.gateway_url(
        services.settings.central_membership, gke=bool(at(membership, "endpoint", "gkeCluster"))
    )
    parts = reader.together(
        delivery=lambda: reader.delivery(now),
        central=CentralReader(reader, Kubernetes(services.session, url), membership).read,
        fleet=lambda: FleetReader(reader, services).read(now),
    )
    central = parts["central"]
    known = email or (central.reached_as if isinstance(central.reached_as, str) else "")
    operator: Read[Operator] = operator_of(services.credentials, known)
    google = reader.google(operator, parts["delivery"])
    return Observed(google, parts["delivery"], central, parts["fleet"], environment)


def _logged_in(services: Services) -> str:
    """Fetch a token, and return the e-mail address if the credentials have it. Raises if there is no identity."""
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    credentials = services.credentials
    try:
        if not credentials.valid:
            credentials.refresh(Request())
    except GoogleAuthError as error:
        raise RefusedError("fetching a token", 0, str(error)) from error
    found = str(getattr(credentials, "service_account_email", "") or getattr(credentials, "account", "") or "")
    return "" if found == "default" else found
